//! Several logs as one, by time.

use std::io;

use super::format::LogLine;

/// Merges sources of lines, each with a mark that tells whose line it is.
///
/// Every source keeps its own order, even when the clock was set back while it was written.
pub fn merge<K, I>(sources: Vec<(K, I)>) -> Merge<K, I>
where
    K: Clone,
    I: Iterator<Item = io::Result<LogLine>>,
{
    let heads = sources
        .into_iter()
        .map(|(mark, mut lines)| Head { mark, next: lines.next(), lines })
        .collect();
    Merge { heads }
}

/// Lines of several logs, the oldest first.
pub struct Merge<K, I> {
    heads: Vec<Head<K, I>>,
}

struct Head<K, I> {
    mark: K,
    next: Option<io::Result<LogLine>>,
    lines: I,
}

impl<K, I> Iterator for Merge<K, I>
where
    K: Clone,
    I: Iterator<Item = io::Result<LogLine>>,
{
    type Item = io::Result<(K, LogLine)>;

    fn next(&mut self) -> Option<Self::Item> {
        // An error comes before every line.
        let time = |head: &&mut Head<K, I>| match &head.next {
            Some(Ok(line)) => Some(line.time),
            Some(Err(_)) | None => None,
        };
        let head = self.heads.iter_mut().filter(|h| h.next.is_some()).min_by_key(time)?;
        let line = std::mem::replace(&mut head.next, head.lines.next())?;
        Some(line.map(|line| (head.mark.clone(), line)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logs::Stream;
    use crate::logs::testing::at;

    fn source(times: &[i64]) -> std::vec::IntoIter<io::Result<LogLine>> {
        let line = |second: &i64| {
            Ok(LogLine { time: at(*second), stream: Stream::Stdout, text: vec![], partial: false })
        };
        times.iter().map(line).collect::<Vec<_>>().into_iter()
    }

    #[test]
    fn lines_come_by_time_and_each_source_keeps_its_order() {
        let merged =
            merge(vec![("a", source(&[1, 4, 3])), ("b", source(&[2, 4])), ("c", source(&[]))]);
        let order: Vec<_> =
            merged.map(|l| l.map(|(k, l)| (k, l.time.as_second())).unwrap()).collect();
        assert_eq!(order, [("a", 1), ("b", 2), ("a", 4), ("a", 3), ("b", 4)]);
    }
}
