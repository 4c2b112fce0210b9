//! What hooks write. It goes through a FIFO of its own, so that no line is lost with a monitor.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::time::Instant;

use jiff::Timestamp;

use super::{HOLD, HOOKS, Output, open_fifo};
use crate::logs::Stream;

/// Bytes read in one turn: a hook that writes without end leaves others theirs.
const TURN: usize = 64 * 1024;

impl Output {
    /// Where a hook shall write. What it writes is read from now on.
    ///
    /// # Errors
    /// What the host answers.
    pub(in crate::monitor) fn open_hooks(&mut self) -> io::Result<File> {
        let path = self.run_dir.join(HOOKS);
        if self.hooks.is_none() {
            self.hooks = Some(open_fifo(&path, libc::O_NONBLOCK)?);
        }
        open_fifo(&path, 0)
    }

    /// Reads what a hook wrote, into the log.
    pub(in crate::monitor) fn read_hooks(&mut self, now: Instant) -> Vec<u8> {
        let mut text = Vec::new();
        let mut buffer = [0; 4096];
        while let Some(hooks) = self.hooks.as_mut().filter(|_| text.len() < TURN) {
            match hooks.read(&mut buffer) {
                Ok(n) if n > 0 => text.extend_from_slice(&buffer[..n]),
                Err(e) if e.kind() == ErrorKind::WouldBlock => break,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Ok(_) | Err(_) => self.hooks = None,
            }
        }
        self.writer.write(Stream::Hook, &text, Timestamp::now());
        if self.writer.holds() && self.release.is_none() {
            self.release = Some(now + HOLD);
        }
        text
    }

    /// Writes down how a hook of a device failed, if one did.
    pub(in crate::monitor) fn note_hook(&mut self, failed: Option<String>) {
        if let Some(why) = failed {
            self.writer.write(Stream::Hook, format!("{why}\n").as_bytes(), Timestamp::now());
            self.writer.release_hooks(Timestamp::now());
        }
    }

    /// No more hooks for now.
    pub(in crate::monitor) fn close_hooks(&mut self) {
        self.hooks = None;
        self.writer.release_hooks(Timestamp::now());
        // It goes with the run folder at the latest.
        let _ = fs::remove_file(self.run_dir.join(HOOKS));
    }
}
