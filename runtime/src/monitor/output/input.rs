//! The standard input of a container: what clients type, as far as it reads it.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;

use super::{INPUT, INPUT_WAITING, Output, open_fifo};

impl Output {
    pub(super) fn open_input(&mut self) -> io::Result<File> {
        let path = self.run_dir.join(INPUT);
        // Open both ways for the moment in which it gets its two ends.
        let both = open_fifo(&path, libc::O_NONBLOCK)?;
        let options = |read: bool, flags| {
            OpenOptions::new()
                .read(read)
                .write(!read)
                .custom_flags(flags | libc::O_NOFOLLOW)
                .open(&path)
        };
        let theirs = options(true, 0)?;
        self.input = Some(options(false, libc::O_NONBLOCK)?);
        self.input_ends = false;
        self.typed.clear();
        drop(both);
        Ok(theirs)
    }

    /// Goes on writing to the input of a container that runs already, if it still reads it.
    pub(in crate::monitor) fn reopen_input(&mut self) {
        if self.stdin_open && !self.tty {
            let mut options = OpenOptions::new();
            options.write(true).custom_flags(libc::O_NONBLOCK | libc::O_NOFOLLOW);
            self.input = options.open(self.run_dir.join(INPUT)).ok();
        }
    }

    /// Whether no more input should be taken from clients for now.
    pub(in crate::monitor) fn input_full(&self) -> bool {
        self.typed.len() >= INPUT_WAITING
    }

    /// Takes bytes for the container's input; none ends it.
    pub(in crate::monitor) fn type_in(&mut self, bytes: &[u8]) {
        if self.input.is_none() {
            return;
        }
        if !bytes.is_empty() {
            self.typed.extend_from_slice(bytes);
        } else if self.tty {
            // What a terminal takes for the end of input.
            self.typed.push(4);
        } else {
            self.input_ends = true;
        }
        self.write_input();
    }

    /// Writes as much input as the container takes.
    pub(in crate::monitor) fn write_input(&mut self) {
        let Some(input) = &mut self.input else { return };
        let mut written = 0;
        while written < self.typed.len() {
            match input.write(&self.typed[written..]) {
                Ok(n) => written += n,
                Err(e) if e.kind() == ErrorKind::WouldBlock => break,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                // Nobody reads it any more.
                Err(_) => {
                    self.typed.clear();
                    self.input = None;
                    return;
                }
            }
        }
        self.typed.drain(..written);
        if self.typed.is_empty() {
            self.typed = Vec::new();
            if self.input_ends {
                self.input = None;
            }
        }
    }
}
