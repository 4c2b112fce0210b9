//! The monitor's side: writes lines, rotates files, and never stops the container.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::BorrowedFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::format::{Prefix, Stream};
use super::splitter::Splitter;
use super::{CURRENT, Forward, file_name};
use crate::bundle::Log;
use crate::sabotage::{defence, without};

/// Bytes put together before they are written.
const BATCH: usize = 256 * 1024;

/// Writes a container's log.
///
/// A disk that is full costs lines, never the container: what cannot be written is counted, and a
/// line of [`Stream::Notice`] tells how much it was as soon as there is room again.
pub struct Writer {
    dir: PathBuf,
    limits: Log,
    file: Option<File>,
    size: u64,
    stdout: Splitter,
    stderr: Splitter,
    hook: Splitter,
    dropped: Dropped,
    /// The file ends in half a line.
    torn: bool,
    /// Where lines go besides.
    forward: Option<Forward>,
}

/// What could not be written.
#[derive(Default)]
struct Dropped {
    bytes: u64,
    why: String,
}

impl Writer {
    /// A writer into `dir`, which is made when it is missing.
    ///
    /// # Errors
    /// When the folder or the file cannot be made, or is not what it should be (a link).
    pub fn open(dir: &Path, limits: &Log) -> io::Result<Writer> {
        let mut writer = Writer {
            dir: dir.to_owned(),
            limits: limits.clone(),
            file: None,
            size: 0,
            stdout: Splitter::new(Stream::Stdout),
            stderr: Splitter::new(Stream::Stderr),
            hook: Splitter::new(Stream::Hook),
            dropped: Dropped::default(),
            torn: false,
            forward: None,
        };
        if !limits.none {
            if !dir.is_dir() {
                fs::DirBuilder::new().mode(0o700).create(dir)?;
            }
            writer.reopen()?;
        }
        Ok(writer)
    }

    /// The same, with the lines going besides to where `forward` leads.
    pub fn forwarding(self, forward: Option<Forward>) -> Writer {
        Writer { forward, ..self }
    }

    /// Rotates files by these limits from now on; those that are too many go at once.
    pub fn keep(&mut self, limits: &Log) {
        for number in limits.max_files.max(1)..self.limits.max_files {
            // One that stays is overwritten when there are as many again.
            let _ = remove(&self.dir.join(file_name(number)));
        }
        self.limits = Log { none: self.limits.none, ..limits.clone() };
    }

    /// The folder of the log.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Writes what was read from a stream at `now`.
    pub fn write(&mut self, stream: Stream, mut data: &[u8], now: Timestamp) {
        if self.limits.none && self.forward.is_none() {
            return;
        }
        let limit = self.batch();
        let mut out = Vec::with_capacity(limit.min(data.len() + data.len() / 4 + 128));
        while !data.is_empty() {
            let taken = self.splitter(stream).take(data, now, &mut out, limit);
            data = &data[taken..];
            self.put_and_send(&out, now);
            out.clear();
        }
    }

    /// Whether the beginning of a line is held back; [`Writer::release`] writes it.
    pub fn holds(&self) -> bool {
        self.stdout.holds() || self.stderr.holds() || self.hook.holds()
    }

    /// Writes beginnings of lines that wait for their end.
    pub fn release(&mut self, now: Timestamp) {
        let mut out = Vec::new();
        self.stdout.release(now, &mut out);
        self.stderr.release(now, &mut out);
        self.hook.release(now, &mut out);
        self.put_and_send(&out, now);
    }

    /// Writes the beginning of a line of a hook, which has no end.
    pub(crate) fn release_hooks(&mut self, now: Timestamp) {
        let mut out = Vec::new();
        self.hook.release(now, &mut out);
        self.put_and_send(&out, now);
    }

    /// Whether the container's output is to be left where it is for now.
    pub fn holds_back(&self) -> bool {
        self.forward.as_ref().is_some_and(|forward| forward.holds_back(Instant::now()))
    }

    /// What of forwarding is to be waited for, and until when.
    pub fn poll(&self) -> (Option<(BorrowedFd<'_>, PollFlags)>, Option<Instant>) {
        let forward = self.forward.as_ref();
        (forward.and_then(Forward::poll), forward.and_then(Forward::until))
    }

    /// Goes on with forwarding: the kernel has news of its socket.
    pub fn forward_news(&mut self) {
        self.with_forward(|forward| forward.news(Instant::now()));
    }

    /// Goes on with forwarding: time has passed.
    pub fn forward_tick(&mut self, now: Instant) {
        self.with_forward(|forward| forward.tick(now));
    }

    /// Sends what waits, for as long as `until`; what is left then is counted and told.
    ///
    /// The next monitor of the container may write there by then, so no file is moved any more.
    pub fn finish(&mut self, until: Instant) {
        self.limits.max_size = 0;
        while self.forward.as_ref().is_some_and(Forward::has_waiting) {
            let now = Instant::now();
            if now >= until {
                self.with_forward(Forward::give_up);
                break;
            }
            let (socket, again) = self.poll();
            let end = again.map_or(until, |again| again.min(until));
            let mut wait: Vec<_> =
                socket.iter().map(|(fd, flags)| PollFd::from_borrowed_fd(*fd, *flags)).collect();
            let news = match poll(&mut wait, Some(&pause(end.saturating_duration_since(now)))) {
                Ok(ready) => ready > 0,
                Err(_) => false,
            };
            drop(wait);
            match news {
                true => self.forward_news(),
                false => self.forward_tick(Instant::now()),
            }
        }
    }

    fn put_and_send(&mut self, lines: &[u8], now: Timestamp) {
        self.put(lines, now);
        if !lines.is_empty() {
            self.with_forward(|forward| forward.take(lines, Instant::now()));
        }
    }

    /// Does something with forwarding, and writes down what that has to tell.
    fn with_forward(&mut self, work: impl FnOnce(&mut Forward)) {
        let Some(forward) = &mut self.forward else { return };
        work(forward);
        let Some(text) = forward.notice() else { return };
        let mut line = Vec::new();
        let now = Timestamp::now();
        Prefix::new(now, Stream::Notice).append(&mut line, false, text.as_bytes(), b"");
        // Said there too, unless it is what is not taken.
        if !forward.has_waiting() {
            forward.take(&line, Instant::now());
        }
        self.put(&line, now);
    }

    fn splitter(&mut self, stream: Stream) -> &mut Splitter {
        match stream {
            Stream::Stdout | Stream::Notice => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
            Stream::Hook => &mut self.hook,
        }
    }

    /// A batch is never much larger than a file may be.
    fn batch(&self) -> usize {
        match usize::try_from(self.limits.max_size) {
            Ok(0) | Err(_) => BATCH,
            Ok(max) => max.min(BATCH),
        }
    }

    /// Writes whole lines, or counts them as dropped.
    fn put(&mut self, lines: &[u8], now: Timestamp) {
        if lines.is_empty() || self.limits.none {
            return;
        }
        match self.append(lines, now) {
            Ok(()) => {}
            Err((lost, error)) => {
                without!("log.survives", crate::sys::exit_now(1));
                self.dropped.bytes += lost as u64;
                self.dropped.why = error.to_string();
            }
        }
    }

    fn append(&mut self, lines: &[u8], now: Timestamp) -> Result<(), (usize, io::Error)> {
        let lost = |e| (lines.len(), e);
        let full = self.limits.max_size > 0
            && self.size > 0
            && self.size + lines.len() as u64 > self.limits.max_size;
        if self.file.is_none() {
            self.reopen().map_err(lost)?;
        } else if full {
            self.rotate().map_err(lost)?;
        }
        if self.torn {
            self.write_all(b"\n").map_err(|(_, e)| lost(e))?;
            self.torn = false;
        }
        if self.dropped.bytes > 0 {
            let mut notice = Vec::new();
            let text = format!(
                "{} bytes of output were dropped: {}",
                self.dropped.bytes, self.dropped.why
            );
            Prefix::new(now, Stream::Notice).append(&mut notice, false, text.as_bytes(), b"");
            self.write_all(&notice).map_err(|(_, e)| lost(e))?;
            self.dropped = Dropped::default();
        }
        self.write_all(lines)
    }

    /// Writes everything, or tells how much was left when it failed.
    fn write_all(&mut self, mut bytes: &[u8]) -> Result<(), (usize, io::Error)> {
        let Some(file) = &mut self.file else {
            return Err((bytes.len(), io::Error::from(io::ErrorKind::NotFound)));
        };
        while !bytes.is_empty() {
            match file.write(bytes) {
                Ok(0) => return Err((bytes.len(), io::Error::from(io::ErrorKind::WriteZero))),
                Ok(n) => {
                    self.size += n as u64;
                    self.torn = bytes[n - 1] != b'\n';
                    bytes = &bytes[n..];
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err((bytes.len(), e)),
            }
        }
        Ok(())
    }

    /// Moves every file one place back, so that a new one begins. Killed anywhere in between, no
    /// file but the oldest is lost: names are only ever moved to free places.
    fn rotate(&mut self) -> io::Result<()> {
        let keep = self.limits.max_files.max(1);
        remove(&self.dir.join(file_name(keep - 1)))?;
        for n in (0..keep - 1).rev() {
            match fs::rename(self.dir.join(file_name(n)), self.dir.join(file_name(n + 1))) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
                Ok(()) | Err(_) => {}
            }
        }
        self.file = None;
        self.reopen()
    }

    fn reopen(&mut self) -> io::Result<()> {
        let file = OpenOptions::new()
            .append(true)
            .read(true)
            .create(true)
            .mode(0o600)
            .custom_flags(defence!("log.no_follow", libc::O_NOFOLLOW, 0) | libc::O_NONBLOCK)
            .open(self.dir.join(CURRENT))?;
        let meta = file.metadata()?;
        if !meta.is_file() {
            return Err(io::Error::other("the log is not a regular file"));
        }
        self.size = meta.len();
        self.torn = self.size > 0 && !ends_in_newline(&file, self.size);
        self.file = Some(file);
        Ok(())
    }
}

fn ends_in_newline(file: &File, size: u64) -> bool {
    use std::os::unix::fs::FileExt;
    let mut last = [0];
    file.read_exact_at(&mut last, size - 1).is_ok() && last == *b"\n"
}

fn pause(duration: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: duration.subsec_nanos().into(),
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logs::testing::{Folder, at};

    fn limits(max_size: u64, max_files: u32) -> Log {
        Log { none: false, max_size, max_files }
    }

    #[test]
    fn files_are_rotated_and_the_oldest_goes() {
        let dir = Folder::new();
        let mut writer = Writer::open(dir.path(), &limits(100, 3)).unwrap();
        for n in 0..8 {
            writer.write(Stream::Stdout, format!("line {n}\n").as_bytes(), at(n));
        }
        // 47 bytes a line: two in a file.
        assert_eq!(
            dir.text("current"),
            "1970-01-01T00:00:06.000000000Z stdout F line 6\n1970-01-01T00:00:07.000000000Z stdout F line 7\n"
        );
        assert!(dir.text("current.2").contains("line 2"));
        assert_eq!(dir.names(), ["current", "current.1", "current.2"]);
    }

    #[test]
    fn one_file_starts_anew() {
        let dir = Folder::new();
        let mut writer = Writer::open(dir.path(), &limits(50, 1)).unwrap();
        writer.write(Stream::Stdout, b"one\n", at(0));
        writer.write(Stream::Stdout, b"two\n", at(1));
        assert!(dir.text("current").ends_with("F two\n"));
        assert_eq!(dir.names(), ["current"]);
    }

    #[test]
    fn a_batch_larger_than_a_file_is_spread_over_files() {
        let dir = Folder::new();
        let mut writer = Writer::open(dir.path(), &limits(1000, 100)).unwrap();
        writer.write(Stream::Stdout, &b"x\n".repeat(1000), at(0));
        let sizes: Vec<u64> =
            dir.names().iter().map(|n| fs::metadata(dir.path().join(n)).unwrap().len()).collect();
        assert!(sizes.iter().all(|size| *size <= 1100), "{sizes:?}");
        assert_eq!(sizes.iter().sum::<u64>(), 1000 * 42);
    }

    #[test]
    fn what_could_not_be_written_is_counted_and_told_later() {
        let dir = Folder::new();
        let mut writer = Writer::open(dir.path(), &limits(0, 1)).unwrap();
        // A file that is open for reading only refuses every write, as a full disk does.
        writer.file = Some(File::open(dir.path().join(CURRENT)).unwrap());
        writer.write(Stream::Stdout, b"lost\n", at(0));
        writer.file = None;
        writer.write(Stream::Stdout, b"kept\n", at(1));

        let text = dir.text("current");
        assert!(
            text.contains("notice F 45 bytes of output were dropped: Bad file descriptor"),
            "{text}"
        );
        assert!(text.ends_with("stdout F kept\n"));
    }

    #[test]
    fn half_a_line_that_a_crash_left_does_not_swallow_the_next() {
        let dir = Folder::new();
        fs::write(dir.path().join(CURRENT), "1970-01-01T00:00:00.00").unwrap();
        let mut writer = Writer::open(dir.path(), &limits(0, 1)).unwrap();
        writer.write(Stream::Stderr, b"next\n", at(1));
        assert!(dir.text("current").ends_with("\n1970-01-01T00:00:01.000000000Z stderr F next\n"));
    }

    #[test]
    fn a_link_in_place_of_the_log_is_not_followed() {
        let dir = Folder::new();
        fs::write(dir.path().join("canary"), "").unwrap();
        std::os::unix::fs::symlink("canary", dir.path().join(CURRENT)).unwrap();
        assert!(Writer::open(dir.path(), &limits(0, 1)).is_err());
        assert_eq!(dir.text("canary"), "");
    }

    #[test]
    fn nothing_is_kept_when_none_is_wanted() {
        let dir = Folder::new();
        let mut writer = Writer::open(dir.path(), &Log { none: true, ..limits(0, 1) }).unwrap();
        writer.write(Stream::Stdout, b"one\n", at(0));
        assert!(dir.names().is_empty());
    }

    #[test]
    fn the_log_can_be_read_by_its_owner_only() {
        use std::os::unix::fs::PermissionsExt;
        let dir = Folder::new();
        Writer::open(dir.path(), &limits(0, 1)).unwrap();
        let mode = fs::metadata(dir.path().join(CURRENT)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
