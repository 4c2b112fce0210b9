//! The other side: lines of all files in order, from any time or only the last ones.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use jiff::Timestamp;
use memchr::{memchr, memrchr};

use super::format::{LogLine, Stream, TAG, Times, parse};
use super::{CURRENT, MAX_LINE, file_name};

/// Bytes read at once.
const BLOCK: usize = 64 * 1024;
/// A line we wrote is shorter; what is longer was damaged.
const LONGEST: usize = 2 * MAX_LINE;

/// Which lines are wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogQuery {
    /// Not older than this.
    pub since: Option<Timestamp>,
    /// Not younger than this.
    pub until: Option<Timestamp>,
    /// Only so many at the end.
    pub tail: Option<usize>,
    /// Go on with what is written from now on; heard by [`super::Follow`] only.
    pub follow: bool,
}

/// The lines in `dir` that a query asks for, the oldest first. A folder that is not there has none.
///
/// # Errors
/// What the host answers when a file is opened.
pub fn read(dir: &Path, query: &LogQuery) -> io::Result<Lines> {
    let mut files = open(dir)?;
    let mut last = VecDeque::new();
    if let (Some(count), None) = (query.tail, query.until) {
        skip_to_tail(&mut files, count)?;
    } else if let Some(count) = query.tail {
        let all = LogQuery { tail: None, ..query.clone() };
        for line in Lines::new(files, all) {
            last.push_back(line?);
            if last.len() > count {
                last.pop_front();
            }
        }
        files = VecDeque::new();
    }
    let mut lines = Lines::new(files, query.clone());
    lines.ready = last;
    Ok(lines)
}

/// Lines of a log.
pub struct Lines {
    files: VecDeque<LogFile>,
    query: LogQuery,
    join: Join,
    ready: VecDeque<LogLine>,
}

impl Lines {
    fn new(files: VecDeque<LogFile>, query: LogQuery) -> Lines {
        Lines { files, query, join: Join::default(), ready: VecDeque::new() }
    }

    fn next_line(&mut self) -> io::Result<Option<LogLine>> {
        loop {
            if let Some(line) = self.ready.pop_front() {
                return Ok(Some(line));
            }
            let Some(file) = self.files.front_mut() else {
                return Ok(self.join.rest());
            };
            match file.next_line()? {
                Some(line) => self.ready.extend(self.join.add(line)),
                None => drop(self.files.pop_front()),
            }
        }
    }

    /// The file written now with all that was already read of it, to be followed.
    pub(super) fn into_current(mut self) -> (Option<LogFile>, Join) {
        (self.files.pop_back(), self.join)
    }

    /// The next line of what is there, leaving the last file open at its end.
    pub(super) fn next_kept(&mut self) -> io::Result<Option<LogLine>> {
        loop {
            if let Some(line) = self.ready.pop_front().filter(|line| self.query.wants(line)) {
                return Ok(Some(line));
            }
            let last = self.files.len() <= 1;
            let Some(file) = self.files.front_mut() else { return Ok(None) };
            match file.next_line()? {
                Some(line) => self.ready.extend(self.join.add(line)),
                None if last => return Ok(None),
                None => drop(self.files.pop_front()),
            }
        }
    }
}

impl Iterator for Lines {
    type Item = io::Result<LogLine>;

    fn next(&mut self) -> Option<io::Result<LogLine>> {
        loop {
            match self.next_line() {
                Ok(Some(line)) if self.query.wants(&line) => return Some(Ok(line)),
                Ok(Some(_)) => {}
                Ok(None) => return None,
                Err(e) => {
                    self.files.clear();
                    self.join = Join::default();
                    return Some(Err(e));
                }
            }
        }
    }
}

impl LogQuery {
    pub(super) fn wants(&self, line: &LogLine) -> bool {
        self.since.is_none_or(|since| line.time >= since)
            && self.until.is_none_or(|until| line.time <= until)
    }
}

/// Puts the pieces of a line together again, up to [`MAX_LINE`].
#[derive(Default)]
pub(super) struct Join([Option<LogLine>; 3]);

impl Join {
    /// Takes what the file has; gives lines that are whole, or as long as a line may be.
    pub(super) fn add(&mut self, line: LogLine) -> impl Iterator<Item = LogLine> + use<> {
        let (first, second) = self.joined(line);
        first.into_iter().chain(second)
    }

    fn joined(&mut self, line: LogLine) -> (Option<LogLine>, Option<LogLine>) {
        let held = match line.stream {
            Stream::Stdout => &mut self.0[0],
            Stream::Stderr => &mut self.0[1],
            Stream::Hook => &mut self.0[2],
            Stream::Notice => return (Some(line), None),
        };
        let mut before = None;
        let whole = match held.take() {
            Some(first) if first.text.len() + line.text.len() > MAX_LINE => {
                before = Some(first);
                line
            }
            Some(mut first) => {
                first.text.extend_from_slice(&line.text);
                LogLine { partial: line.partial, ..first }
            }
            None => line,
        };
        if whole.partial && whole.text.len() < MAX_LINE {
            *held = Some(whole);
            (before, None)
        } else {
            (before, Some(whole))
        }
    }

    /// What still waits for its end, one by one.
    pub(super) fn rest(&mut self) -> Option<LogLine> {
        self.0[0].take().or_else(|| self.0[1].take())
    }
}

/// A file of a log, read from the front.
pub(super) struct LogFile {
    file: File,
    buffer: Vec<u8>,
    start: usize,
    times: Times,
}

impl LogFile {
    /// Opens a file of the log; `None` when there is none of this name.
    pub(super) fn open(path: &Path) -> io::Result<Option<LogFile>> {
        match File::open(path) {
            Ok(file) => {
                Ok(Some(LogFile { file, buffer: Vec::new(), start: 0, times: Times::default() }))
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Which file it is, whatever its name now.
    pub(super) fn inode(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.ino())
    }

    /// The next line of ours. `None` at the end, for now: half a line stays for the next call.
    pub(super) fn next_line(&mut self) -> io::Result<Option<LogLine>> {
        loop {
            while let Some(end) = memchr(b'\n', &self.buffer[self.start..]) {
                let line = &self.buffer[self.start..self.start + end];
                self.start += end + 1;
                if let Some(line) = parse(line, &mut self.times) {
                    return Ok(Some(line));
                }
            }
            if self.buffer.len() - self.start > LONGEST {
                self.start = self.buffer.len();
            }
            self.buffer.drain(..self.start);
            self.start = 0;
            let limit = BLOCK as u64;
            if (&self.file).take(limit).read_to_end(&mut self.buffer)? == 0 {
                return Ok(None);
            }
        }
    }

    fn seek(&mut self, position: u64) -> io::Result<()> {
        use std::io::Seek;
        self.file.seek(io::SeekFrom::Start(position))?;
        Ok(())
    }
}

/// Opens all files, the oldest first.
///
/// The newest is opened first, so a rotation in between can only show a file twice, never hide one.
fn open(dir: &Path) -> io::Result<VecDeque<LogFile>> {
    let mut files: VecDeque<LogFile> = VecDeque::new();
    let mut seen = Vec::new();
    for n in numbers(dir)? {
        let Some(file) = LogFile::open(&dir.join(file_name(n)))? else { continue };
        let inode = file.inode()?;
        if !seen.contains(&inode) {
            seen.push(inode);
            files.push_front(file);
        }
    }
    Ok(files)
}

/// Numbers of the files that are there, the newest first.
pub(super) fn numbers(dir: &Path) -> io::Result<Vec<u32>> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(e),
    };
    let mut numbers = vec![0];
    for entry in entries {
        let name = entry?.file_name();
        let number = name.to_str().and_then(|n| n.strip_prefix(CURRENT)?.strip_prefix('.'));
        numbers.extend(number.and_then(|n| n.parse::<u32>().ok()));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// Moves to the place after which `count` lines are left; files before it are dropped.
fn skip_to_tail(files: &mut VecDeque<LogFile>, count: usize) -> io::Result<()> {
    let mut missing = count;
    for index in (0..files.len()).rev() {
        if let Some(position) = tail_position(&files[index].file, &mut missing)? {
            files[index].seek(position)?;
            files.drain(..index);
            return Ok(());
        }
    }
    Ok(())
}

/// Where in the file the last `missing` lines start; `None` when it has fewer, and then `missing`
/// is less by what it has. A line that was cut into pieces counts once; of the first one, pieces
/// that another stream's line came between may be missing.
fn tail_position(file: &File, missing: &mut usize) -> io::Result<Option<u64>> {
    let mut end = file.metadata()?.len();
    if *missing == 0 {
        return Ok(Some(end));
    }
    let mut block = vec![0; BLOCK];
    // Of the line that ends at `after`, the start is not known yet.
    let mut after = None;
    while end > 0 {
        let begin = end.saturating_sub(BLOCK as u64);
        let mut part = &mut block[..usize::try_from(end - begin).unwrap_or(BLOCK)];
        file.read_exact_at(part, begin)?;
        while let Some(newline) = memrchr(b'\n', part) {
            let position = begin + newline as u64 + 1;
            if let Some(after) = after.replace(position)
                && count_line(file, position, missing)?
            {
                return Ok(Some(after));
            }
            part = &mut part[..newline];
        }
        end = begin;
    }
    if after.is_some() && count_line(file, 0, missing)? {
        return Ok(after);
    }
    Ok(None)
}

/// Counts the line that starts at `start` unless it is only a piece. `true` when it is one more
/// than wanted.
fn count_line(file: &File, start: u64, missing: &mut usize) -> io::Result<bool> {
    let mut tag = [0];
    let piece = file.read_at(&mut tag, start + TAG as u64)? == 1 && tag == *b"P";
    if !piece && *missing == 0 {
        return Ok(true);
    }
    *missing -= usize::from(!piece);
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::Log;
    use crate::logs::Writer;
    use crate::logs::testing::{Folder, at};

    /// Ten lines, one a second, three to a file.
    fn ten() -> Folder {
        let dir = Folder::new();
        let limits = Log { none: false, max_size: 150, max_files: 10 };
        let mut writer = Writer::open(dir.path(), &limits).unwrap();
        for n in 0..10 {
            writer.write(Stream::Stdout, format!("line {n}\n").as_bytes(), at(n));
        }
        assert_eq!(dir.names().len(), 4);
        dir
    }

    fn show(dir: &Folder, query: &LogQuery) -> String {
        let lines: Vec<String> = read(dir.path(), query)
            .unwrap()
            .map(|line| String::from_utf8(line.unwrap().text).unwrap().replace("line ", ""))
            .collect();
        lines.join(" ")
    }

    #[test]
    fn all_files_are_read_in_order() {
        assert_eq!(show(&ten(), &LogQuery::default()), "0 1 2 3 4 5 6 7 8 9");
    }

    #[test]
    fn the_tail_is_counted_over_files() {
        let dir = ten();
        for count in 0..=12 {
            let want: Vec<String> =
                (10 - count.min(10)..10).map(|n: usize| n.to_string()).collect();
            let query = LogQuery { tail: Some(count), ..LogQuery::default() };
            assert_eq!(show(&dir, &query), want.join(" "), "tail {count}");
        }
    }

    #[test]
    fn since_and_until_are_inclusive() {
        let dir = ten();
        let query = LogQuery { since: Some(at(3)), until: Some(at(6)), ..LogQuery::default() };
        assert_eq!(show(&dir, &query), "3 4 5 6");
        assert_eq!(show(&dir, &LogQuery { tail: Some(2), ..query.clone() }), "5 6");
        let query = LogQuery { until: None, tail: Some(8), since: Some(at(7)), ..query };
        assert_eq!(show(&dir, &query), "7 8 9");
    }

    #[test]
    fn a_missing_folder_has_no_lines() {
        let dir = Folder::new();
        assert_eq!(read(&dir.path().join("none"), &LogQuery::default()).unwrap().count(), 0);
    }

    #[test]
    fn pieces_are_joined_and_count_once_in_a_tail() {
        let dir = Folder::new();
        let limits = Log { none: false, max_size: 0, max_files: 1 };
        let mut writer = Writer::open(dir.path(), &limits).unwrap();
        writer.write(Stream::Stdout, b"first\nsec", at(0));
        writer.release(at(0));
        writer.write(Stream::Stderr, b"aside\n", at(1));
        writer.write(Stream::Stdout, b"ond\n", at(2));
        assert_eq!(show(&dir, &LogQuery::default()), "first aside second");
        assert_eq!(show(&dir, &LogQuery { tail: Some(2), ..LogQuery::default() }), "aside second");

        writer.write(Stream::Stdout, b"open end", at(3));
        writer.release(at(3));
        assert_eq!(
            show(&dir, &LogQuery { tail: Some(2), ..LogQuery::default() }),
            "aside second open end"
        );
    }

    #[test]
    fn lines_longer_than_a_block_are_found_from_the_end() {
        let dir = Folder::new();
        let limits = Log { none: false, max_size: 0, max_files: 1 };
        let mut writer = Writer::open(dir.path(), &limits).unwrap();
        writer.write(Stream::Stdout, b"before\n", at(0));
        let mut long = vec![b'x'; 3 * MAX_LINE - 5];
        long.push(b'\n');
        writer.write(Stream::Stdout, &long, at(1));
        writer.write(Stream::Stdout, b"after\n", at(2));

        let query = LogQuery { tail: Some(2), ..LogQuery::default() };
        let lines: Vec<LogLine> = read(dir.path(), &query).unwrap().map(Result::unwrap).collect();
        let sizes: Vec<usize> = lines.iter().map(|l| l.text.len()).collect();
        assert_eq!(sizes, [MAX_LINE, MAX_LINE, MAX_LINE - 5, 5]);
    }

    #[test]
    fn damaged_lines_are_passed_over() {
        let dir = ten();
        let mut text = dir.text(CURRENT).into_bytes();
        text.splice(0..0, b"\0\0garbage\n2026-01-01\n".iter().copied());
        fs::write(dir.path().join(CURRENT), text).unwrap();
        assert_eq!(show(&dir, &LogQuery::default()), "0 1 2 3 4 5 6 7 8 9");
    }
}
