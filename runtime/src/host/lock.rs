//! One lock per project, shared by every command and the agent: flock(2) on a file that also
//! says who holds it.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

use berth_planner::hidden;
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use super::HostError;

/// Who holds a lock, as written into it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Holder {
    /// Process id.
    pub pid: u32,
    /// Its command line.
    pub command: String,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.pid == 0 {
            return write!(f, "another run of berth");
        }
        write!(f, "process {} (`{}`)", self.pid, self.command)
    }
}

/// The held lock; the kernel frees it with the last reference, whatever happens to us.
#[derive(Debug)]
pub struct Lock(#[expect(dead_code, reason = "held for its flock")] File);

/// Waits up to `wait` for the lock in `dir`.
pub(super) async fn acquire(dir: &Path, wait: Duration) -> Result<Lock, HostError> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(|e| HostError::io("make folder", dir, e))?;
    let path = dir.join("lock");
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(|e| HostError::io("open lock", &path, e))?;
    let deadline = Instant::now().checked_add(wait);
    // flock(2) has no timeout, so a busy lock is asked for again until the deadline.
    while flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        if deadline.is_some_and(|end| Instant::now() >= end) {
            let project = dir.file_name().unwrap_or_default().to_string_lossy().into_owned();
            return Err(HostError::Locked { project, holder: read_holder(&mut file) });
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    write_holder(&mut file).map_err(|e| HostError::io("write lock", &path, e))?;
    Ok(Lock(file))
}

fn read_holder(file: &mut File) -> Holder {
    let mut text = String::new();
    let _ = file.seek(SeekFrom::Start(0)).and_then(|_| file.read_to_string(&mut text));
    serde_json::from_str(&text).unwrap_or_default()
}

/// The command line of this process, without what is not for others.
pub fn command_line() -> String {
    hidden::command(std::env::args_os().map(|word| word.to_string_lossy().into_owned()))
}

fn write_holder(file: &mut File) -> std::io::Result<()> {
    let command = command_line();
    let text = serde_json::to_vec(&Holder { pid: std::process::id(), command })?;
    file.seek(SeekFrom::Start(0))?;
    file.write_all(&text)?;
    // To empty it before would cost more: the file system would give its block back and look for another.
    file.set_len(text.len() as u64)
}
