//! Our own terminal while a container's terminal is shown on it.

use std::io::{self, IsTerminal, Read};
use std::os::fd::AsFd;
use std::panic;
use std::sync::{Mutex, PoisonError};

use rustix::termios::{OptionalActions, Termios, isatty, tcgetattr, tcgetwinsize, tcsetattr};

/// How the terminal was, while it is raw. The panic hook reads it: a panic ends the program
/// without running destructors.
static BEFORE: Mutex<Option<Termios>> = Mutex::new(None);

/// Keeps standard input raw: every key goes to the container, Ctrl-C too. Dropping it puts the
/// terminal back.
#[derive(Debug)]
pub(crate) struct Raw(());

impl Raw {
    /// Makes standard input raw.
    ///
    /// # Errors
    /// What the host answers, for example when it is no terminal.
    pub(crate) fn enter() -> io::Result<Raw> {
        let before = tcgetattr(io::stdin())?;
        let mut raw = before.clone();
        raw.make_raw();
        *BEFORE.lock().unwrap_or_else(PoisonError::into_inner) = Some(before);
        let usual = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            restore();
            usual(info);
        }));
        tcsetattr(io::stdin(), OptionalActions::Now, &raw)?;
        Ok(Raw(()))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        restore();
    }
}

fn restore() {
    let before = BEFORE.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(before) = before {
        let _ = tcsetattr(io::stdin(), OptionalActions::Flush, &before);
    }
}

/// Reads a line that is not shown; `None` when it is broken off by Ctrl-C.
pub(crate) fn read_hidden() -> io::Result<Option<String>> {
    const INTERRUPT: u8 = 3;
    const END: u8 = 4;
    let _raw = Raw::enter()?;
    let mut line = Vec::new();
    for byte in io::stdin().lock().bytes() {
        match byte? {
            INTERRUPT => return Ok(None),
            b'\r' | b'\n' | END => break,
            0x08 | 0x7f => drop(line.pop()),
            byte => line.push(byte),
        }
    }
    String::from_utf8(line).map(Some).map_err(io::Error::other)
}

/// Whether both ends of a conversation are a terminal.
pub(crate) fn is_interactive() -> bool {
    io::stdin().is_terminal() && io::stdout().is_terminal()
}

/// Rows and columns of the terminal on standard output.
pub(crate) fn size() -> Option<(u16, u16)> {
    size_of(io::stdout())
}

/// Rows and columns of the terminal on standard error.
pub(crate) fn size_of_errors() -> Option<(u16, u16)> {
    size_of(io::stderr())
}

fn size_of(end: impl AsFd) -> Option<(u16, u16)> {
    if !isatty(&end) {
        return None;
    }
    let size = tcgetwinsize(&end).ok()?;
    (size.ws_row > 0 && size.ws_col > 0).then_some((size.ws_row, size.ws_col))
}
