//! What runs in a container, as the kernel tells it.

use std::fs;

use rustix::param::clock_ticks_per_second;

use super::cgroup::Group;
use super::error::SetupError;
use crate::sabotage::without;

/// One process of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Its id, as the caller's pid namespace counts.
    pub pid: i32,
    /// Id of its parent.
    pub parent: i32,
    /// Its user, as the caller's user namespace counts.
    pub uid: u32,
    /// Processor time it has had, in seconds.
    pub seconds: u64,
    /// Its words, or its name in brackets when it has none.
    pub command: String,
}

/// The processes of the container with this cgroup, by id. One that ends meanwhile is left out.
///
/// # Errors
/// When the cgroup hierarchies or the group's processes cannot be read.
pub fn processes(cgroup: &str) -> Result<Vec<Process>, SetupError> {
    let mut pids = Group::find(cgroup)?.processes()?;
    pids.sort_unstable();
    without!("top.by_kernel", pids.iter().for_each(crate::sabotage::naive::run_ps));
    Ok(pids.into_iter().filter_map(process).collect())
}

fn process(pid: i32) -> Option<Process> {
    let read = |file: &str| fs::read(format!("/proc/{pid}/{file}")).ok();
    let stat = String::from_utf8_lossy(&read("stat")?).into_owned();
    let status = String::from_utf8_lossy(&read("status")?).into_owned();
    let uid = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    let (name, parent, ticks) = parse_stat(&stat)?;
    Some(Process {
        pid,
        parent,
        uid: uid.split_whitespace().next()?.parse().ok()?,
        seconds: ticks / clock_ticks_per_second().max(1),
        command: words(&read("cmdline")?).unwrap_or_else(|| format!("[{name}]")),
    })
}

/// Name, parent and ticks of processor time. A name may have spaces and parentheses of its own.
fn parse_stat(stat: &str) -> Option<(&str, i32, u64)> {
    let (head, rest) = stat.rsplit_once(") ")?;
    let (_, name) = head.split_once(" (")?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
    Some((name, fields.get(1)?.parse().ok()?, number(11)? + number(12)?))
}

/// `argv` as one text.
fn words(cmdline: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(cmdline);
    let text = text.trim_end_matches('\0');
    (!text.is_empty()).then(|| text.replace('\0', " "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_does_not_shift_the_fields() {
        let stat = "7 (a) (b) S 3 7 7 0 -1 4194560 1 0 0 0 150 50 0 0 20 0 1 0 99";
        assert_eq!(parse_stat(stat), Some(("a) (b", 3, 200)));
    }

    #[test]
    fn this_process_is_told_by_its_words() {
        let me = process(std::process::id() as i32).unwrap();
        assert_eq!(me.uid, rustix::process::getuid().as_raw());
        assert!(me.command.contains("runtime"), "{me:?}");
    }

    #[test]
    fn words_are_joined_and_none_is_none() {
        assert_eq!(words(b"sh\0-c\0x y\0").as_deref(), Some("sh -c x y"));
        assert_eq!(words(b""), None);
    }
}
