//! What is stored of a container, and how its live state is read.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use berth_planner::bound::Stamp;
use berth_planner::observed::{ContainerRecord, ContainerState, ObservedContainer};
use rustix::fs::{Access, AtFlags, CWD, FlockOperation, Mode, OFlags, accessat, flock, openat};
use rustix::io::Errno;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::bundle::{Bundle, HookStage, Phase, Status};
use crate::monitor::client::is_monitored_at;
use crate::paths::Roots;
use crate::record::{self, Durability};
use crate::sabotage::defence;
use crate::small;

/// `record.json` of a container.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Stored {
    /// 64 hexadecimal digits.
    pub id: String,
    /// Seconds since the epoch.
    pub created_at: i64,
    /// The last applied description.
    pub record: ContainerRecord,
    /// It is being given another one as it is.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub updating: bool,
    /// Files of it are being given other contents, of which it is to be told.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub rewriting: bool,
    /// What was read of the files of the host that it mounts.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub stamps: BTreeMap<PathBuf, Stamp>,
}

impl Stored {
    /// Reads the record of `name`; `Ok(None)` when there is none.
    ///
    /// # Errors
    /// What the host answers.
    pub fn read(roots: &Roots, name: &str) -> io::Result<Option<Stored>> {
        record::read(&roots.container(name).join("record.json"))
    }
}

/// Marks a folder as worked in, by flock(2), until the value is dropped.
///
/// # Errors
/// What the host answers.
pub(super) fn work_in(dir: &Path) -> io::Result<File> {
    let folder = File::open(dir)?;
    flock(&folder, FlockOperation::NonBlockingLockExclusive)?;
    Ok(folder)
}

/// The same for one that we have just made: nobody else can work in it, and who only looks, as
/// [`busy`] does, holds it for a moment.
///
/// # Errors
/// What the host answers.
pub(super) fn work_in_new(dir: &Path) -> io::Result<File> {
    lock_within(File::open(dir)?, Duration::from_secs(10))
}

/// Marks a folder when nobody else has it any more.
///
/// # Errors
/// What the host answers; `TimedOut` when somebody has it for so long.
pub(super) fn lock_within(folder: File, patience: Duration) -> io::Result<File> {
    const AGAIN: Duration = Duration::from_millis(2);
    let end = Instant::now() + patience;
    // flock(2) has no timeout.
    loop {
        match flock(&folder, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(folder),
            Err(Errno::WOULDBLOCK | Errno::INTR) if Instant::now() < end => thread::sleep(AGAIN),
            Err(Errno::WOULDBLOCK) => {
                let why = format!("another process has had its lock for {}s", patience.as_secs());
                return Err(io::Error::new(io::ErrorKind::TimedOut, why));
            }
            Err(e) => return Err(e.into()),
        }
    }
}

/// Whether another run works in a folder; `None` when there is no such folder.
pub(super) fn busy(dir: &Path) -> Option<bool> {
    let folder = File::open(dir).ok()?;
    Some(flock(&folder, FlockOperation::NonBlockingLockShared).is_err())
}

/// The cgroup of a container; without a record it is where containers usually have it.
pub(super) fn cgroup(roots: &Roots, name: &str) -> io::Result<String> {
    let stored = Stored::read(roots, name)?;
    Ok(stored.map_or(roots.cgroup(name), |s| roots.cgroup_of(name, &s.record.spec)))
}

/// Marks a container that the user stopped; it survives a reboot.
pub(super) fn held_mark(roots: &Roots, name: &str) -> PathBuf {
    roots.container(name).join(HELD)
}

const HELD: &str = "held";

/// Marks a container, by its folder, as one that has served for its replica; it survives a reboot.
///
/// # Errors
/// What the host answers.
pub(crate) fn mark_served(state_dir: &Path) -> io::Result<()> {
    let mark = served_mark(state_dir);
    match mark.exists() {
        true => Ok(()),
        false => record::write_bytes(&mark, b"", 0o600, Durability::Volatile),
    }
}

fn served_mark(state_dir: &Path) -> PathBuf {
    state_dir.join("served")
}

/// The folders that those of all containers are in, open: the way there is gone once.
pub(super) struct Folders {
    state: OwnedFd,
    /// After a boot there may be none.
    run: Option<OwnedFd>,
}

impl Folders {
    /// Opens them.
    ///
    /// # Errors
    /// What the host answers; no containers at all are `NotFound`.
    pub(super) fn open(roots: &Roots) -> io::Result<Folders> {
        let open = |folder: &Path| {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            openat(CWD, folder, flags, Mode::empty())
        };
        let run = match open(&roots.run.join("containers")) {
            Err(Errno::NOENT) => None,
            run => Some(run?),
        };
        Ok(Folders { state: open(&roots.state.join("containers"))?, run })
    }

    /// As [`Stored::read`].
    ///
    /// # Errors
    /// What the host answers.
    pub(super) fn read(&self, name: &str) -> io::Result<Option<Stored>> {
        record::read_at(&self.state, &Path::new(name).join("record.json"))
    }

    /// A record of this boot.
    fn read_run<T: DeserializeOwned>(&self, path: &Path) -> io::Result<Option<T>> {
        self.run.as_ref().map_or(Ok(None), |run| record::read_at(run, path))
    }
}

fn is_there(folder: impl AsFd, path: &Path) -> bool {
    accessat(folder, path, Access::EXISTS, AtFlags::empty()).is_ok()
}

/// The container as its record, its status file and the kernel together show it. At the contents of its
/// files nobody has looked.
///
/// # Errors
/// What the host answers.
pub(super) fn observe(folders: &Folders, stored: Stored) -> io::Result<ObservedContainer> {
    let name = &PathBuf::from(&stored.record.name);
    let status: Option<Status> = folders.read_run(&name.join("status.json"))?;
    let status = status.filter(|s| s.boot_id == boot_id());
    let left = |s: &Status| s.phase == Phase::Exited && !is_alive(s.monitor, s.monitor_start);
    let left = status.as_ref().is_some_and(left);
    let run = folders.run.as_ref();
    let monitored = run.is_some_and(|run| is_monitored_at(run, name));
    // If the one that wrote the last words was gone before, this is another, which has said nothing yet.
    let status = status.filter(|_| !(left && monitored));
    let secrets_lost = stored.record.spec.files.iter().enumerate().any(|(index, file)| {
        let path = || name.join("files").join(index.to_string());
        file.secret && !run.is_some_and(|run| is_there(run, &path()))
    });
    let held = is_there(&folders.state, &name.join(HELD));
    let served = is_there(&folders.state, &served_mark(name));
    let mut observed = ObservedContainer {
        id: stored.id,
        created_at: stored.created_at,
        monitored,
        held,
        served,
        updating: stored.updating,
        stamps: stored.stamps,
        ..ObservedContainer::made(stored.record)
    };
    if status.is_none() && observed.monitored {
        observed.state = AT_WORK;
        // What it is started as is written down before it has said anything.
        let bundle: Option<Bundle> = folders.read_run(&name.join("bundle.json"))?;
        observed.beside = bundle.is_some_and(|bundle| bundle.beside);
    }
    if let Some(status) = status {
        observed.state = live_state(&status, observed.monitored);
        observed.health = status.health;
        observed.published = status.published;
        observed.restarts = status.restarts;
        let runs = matches!(observed.state, ContainerState::Running { .. });
        observed.paused = status.paused && runs;
        // One that ends again and again has taken nothing over.
        let lives = runs || matches!(observed.state, ContainerState::Restarting { .. });
        observed.beside = status.beside && lives;
        observed.hook_failed =
            status.hook_error.is_some_and(|error| error.stage == HookStage::PostStart);
        observed.oom_killed = status.oom_killed;
    }
    let runs = matches!(observed.state, ContainerState::Running { .. });
    if secrets_lost && !runs && !observed.monitored {
        // Secrets live in memory only. After a reboot they are gone, and so is what they were
        // made from, so the container can only be made anew.
        observed.state = ContainerState::Broken;
    }
    Ok(observed)
}

/// A monitor that has not yet said that the container runs.
const AT_WORK: ContainerState = ContainerState::Restarting { exit_code: 0 };

fn live_state(status: &Status, monitored: bool) -> ContainerState {
    let exited =
        |exit_code| ContainerState::Exited { exit_code, finished_at: status.finished_ms / 1000 };
    let alive = status.pid > 0 && is_alive(status.pid, status.pid_start);
    match status.phase {
        Phase::Running | Phase::Stopping | Phase::Starting if alive => {
            ContainerState::Running { pid: status.pid, started_at: status.started_ms / 1000 }
        }
        Phase::Waiting if monitored => ContainerState::Restarting { exit_code: status.exit_code },
        Phase::Starting if monitored => AT_WORK,
        Phase::Starting if status.started_ms == 0 => ContainerState::Created,
        Phase::Waiting | Phase::Exited => exited(status.exit_code),
        // Its end was seen by nobody.
        Phase::Starting | Phase::Running | Phase::Stopping => exited(-1),
    }
}

/// Whether `pid` is still the process that started at `start` (clock ticks since boot).
pub(crate) fn is_alive(pid: i32, start: u64) -> bool {
    pid > 0
        && start_time(pid)
            .is_some_and(|(now, dead)| defence!("pid.start_time", now == start, true) && !dead)
}

/// Field 22 of `/proc/PID/stat`, and whether the process is a zombie (proc_pid_stat(5)).
fn start_time(pid: i32) -> Option<(u64, bool)> {
    let stat = small::piece(CWD, format!("/proc/{pid}/stat")).ok()?;
    let mut fields = after_name(&stat)?.split_ascii_whitespace();
    let dead = matches!(fields.next()?, "Z" | "X");
    Some((fields.nth(18)?.parse().ok()?, dead))
}

/// What a `/proc/PID/stat` says after the name, which a process may have of any bytes, spaces and
/// parentheses among them: the first is the state, field 3 (proc_pid_stat(5)).
pub(crate) fn after_name(stat: &[u8]) -> Option<&str> {
    let end = stat.iter().rposition(|byte| *byte == b')')?;
    std::str::from_utf8(&stat[end + 1..]).ok()
}

/// The id of this boot.
pub(crate) fn boot_id() -> &'static str {
    static BOOT: OnceLock<String> = OnceLock::new();
    BOOT.get_or_init(|| {
        let path = Path::new("/proc/sys/kernel/random/boot_id");
        fs::read_to_string(path).unwrap_or_default().trim().to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_process_is_alive_and_another_start_time_is_another_process() {
        let pid = std::process::id() as i32;
        let (start, _) = start_time(pid).unwrap();
        assert!(is_alive(pid, start));
        assert!(!is_alive(pid, start + 1));
    }

    #[test]
    fn a_process_is_alive_whatever_it_calls_itself() {
        assert_eq!(after_name(b"7 (a) \xff) x) S 1 7"), Some(" S 1 7"));
        let (begun, named) = std::sync::mpsc::channel();
        let (end, until) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::spawn(move || {
            rustix::thread::set_name(c"\xff").unwrap();
            begun.send(rustix::thread::gettid()).unwrap();
            until.recv().ok();
        });
        let thread_id = named.recv().unwrap();
        assert!(start_time(thread_id.as_raw_nonzero().get()).is_some());
        drop(end);
        thread.join().unwrap();
    }

    #[test]
    fn a_folder_that_somebody_never_lets_go_of_is_an_error_and_not_a_wait_without_end() {
        let dir = std::env::temp_dir().join(format!("berth-lock-within-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let looking = File::open(&dir).unwrap();
        flock(&looking, FlockOperation::LockShared).unwrap();
        let lock = |patience| lock_within(File::open(&dir).unwrap(), patience);
        let refused = lock(Duration::ZERO).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::TimedOut);
        drop(looking);
        assert!(lock(Duration::ZERO).is_ok());
        fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn a_container_that_a_monitor_is_just_starting_is_not_one_to_start() {
        let status = Status { phase: Phase::Starting, ..Status::default() };
        assert_eq!(live_state(&status, true), AT_WORK);
        assert_eq!(live_state(&status, false), ContainerState::Created);
    }

    #[test]
    fn a_running_phase_whose_process_is_gone_is_an_unknown_exit() {
        let status = Status { phase: Phase::Running, pid: 1, pid_start: 1, ..Status::default() };
        let state = live_state(&status, false);
        assert_eq!(state, ContainerState::Exited { exit_code: -1, finished_at: 0 });
    }
}
