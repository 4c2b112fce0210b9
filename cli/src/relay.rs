//! Carries bytes between our own standard streams and a process we started in a container, until
//! that process has ended. One thread, one poll(2): whoever enters a container's namespaces must
//! have a single thread.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use berth_runtime::container::Child;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::{Errno, read, write};
use rustix::process::{WaitId, WaitIdOptions, pidfd_send_signal, waitid};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::terminal;
use crate::values::keys::Listener;

/// Bytes carried at once.
const PIECE: usize = 16 << 10;

/// Our ends of the process's streams.
#[derive(Debug)]
pub(crate) struct Streams {
    /// What it reads; `None` when nothing is to be carried there.
    pub(crate) input: Option<OwnedFd>,
    /// What it writes: the terminal's master alone, or pipes for its output and its errors.
    pub(crate) outputs: Vec<(OwnedFd, Sink)>,
}

/// Where output goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sink {
    /// Our standard output.
    Stdout,
    /// Our standard error.
    Stderr,
}

/// Signals that are handed on. The terminal's size is handed on with `SIGWINCH`.
const HANDED_ON: [Signal; 5] =
    [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT, Signal::SIGWINCH];

/// How it came to an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Carried {
    /// The process has ended with this status, 128 + n for signal n.
    Ended(i32),
    /// The user has typed what leaves it running.
    Left,
}

/// Carries bytes until `child` has ended, or until the user leaves with the keys that `listener`
/// knows.
///
/// # Errors
/// What the host answers to our own calls.
pub(crate) fn carry(
    child: &Child,
    streams: Streams,
    listener: Option<Listener>,
) -> io::Result<Carried> {
    let signals = SigSet::from_iter(HANDED_ON);
    signals.thread_block()?;
    let signals = SignalFd::with_flags(&signals, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;
    let mut relay = Relay { child, signals, streams, listener, left: false, pending: Vec::new() };
    relay.prepare()?;
    while !relay.turn()? {
        if relay.left {
            return Ok(Carried::Left);
        }
    }
    relay.drain()?;
    ended(child).map(Carried::Ended)
}

struct Relay<'a> {
    child: &'a Child,
    signals: SignalFd,
    streams: Streams,
    listener: Option<Listener>,
    /// The user leaves.
    left: bool,
    /// Input that the process has not taken yet.
    pending: Vec<u8>,
}

impl Relay<'_> {
    fn prepare(&self) -> io::Result<()> {
        let outputs = self.streams.outputs.iter().map(|(fd, _)| fd);
        for fd in outputs.chain(&self.streams.input) {
            fcntl_setfl(fd, fcntl_getfl(fd)? | OFlags::NONBLOCK)?;
        }
        self.resize();
        Ok(())
    }

    /// Waits for something to do and does it. `true` when the process has ended.
    fn turn(&mut self) -> io::Result<bool> {
        let stdin = io::stdin();
        let mut fds = vec![
            PollFd::new(&self.child.pidfd, PollFlags::IN),
            PollFd::new(&self.signals, PollFlags::IN),
        ];
        for (fd, _) in &self.streams.outputs {
            fds.push(PollFd::new(fd, PollFlags::IN));
        }
        let outputs = self.streams.outputs.len();
        if let Some(input) = &self.streams.input {
            fds.push(match self.pending.is_empty() {
                true => PollFd::new(&stdin, PollFlags::IN),
                false => PollFd::new(input, PollFlags::OUT),
            });
        }
        match poll(&mut fds, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
        let ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
        drop(fds);
        if ready[1] {
            self.hand_on()?;
        }
        let readable: Vec<usize> = (0..outputs).filter(|index| ready[2 + index]).collect();
        for index in readable.into_iter().rev() {
            self.take_output(index)?;
        }
        if ready.get(2 + outputs).copied().unwrap_or(false) {
            self.give_input()?;
        }
        Ok(ready[0])
    }

    /// Carries one piece of output; a stream at its end is closed. `true` if there was some.
    fn take_output(&mut self, index: usize) -> io::Result<bool> {
        let mut piece = vec![0; PIECE];
        let (fd, sink) = &self.streams.outputs[index];
        match read(fd, &mut piece) {
            // A terminal answers EIO when its last user has closed it.
            Ok(0) | Err(Errno::IO) => {
                let (fd, _) = self.streams.outputs.remove(index);
                if self.is_terminal(&fd) {
                    self.streams.input = None;
                }
                Ok(false)
            }
            Ok(length) => {
                write_all(*sink, &piece[..length])?;
                Ok(true)
            }
            Err(Errno::AGAIN | Errno::INTR) => Ok(false),
            Err(e) => Err(e.into()),
        }
    }

    fn is_terminal(&self, fd: &OwnedFd) -> bool {
        self.child.terminal.is_some() && rustix::termios::isatty(fd)
    }

    /// Reads from our standard input, or hands on what was read before.
    fn give_input(&mut self) -> io::Result<()> {
        if self.pending.is_empty() {
            let mut piece = vec![0; PIECE];
            match read(io::stdin(), &mut piece) {
                Ok(0) => self.streams.input = None,
                Ok(length) => self.heed(&piece[..length]),
                Err(Errno::INTR | Errno::AGAIN) => {}
                Err(e) => return Err(e.into()),
            }
        }
        let Some(input) = self.streams.input.as_ref().filter(|_| !self.pending.is_empty()) else {
            return Ok(());
        };
        match write(input, &self.pending) {
            Ok(length) => drop(self.pending.drain(..length)),
            Err(Errno::AGAIN | Errno::INTR) => {}
            // It has closed its input.
            Err(Errno::PIPE | Errno::IO) => {
                self.streams.input = None;
                self.pending.clear();
            }
            Err(e) => return Err(e.into()),
        }
        Ok(())
    }

    /// Takes what was typed.
    fn heed(&mut self, typed: &[u8]) {
        match &mut self.listener {
            None => self.pending.extend_from_slice(typed),
            Some(listener) => {
                let (through, left) = listener.hear(typed);
                self.pending.extend(through);
                self.left = left;
            }
        }
    }

    fn hand_on(&mut self) -> io::Result<()> {
        while let Some(info) = self.signals.read_signal()? {
            let number = i32::try_from(info.ssi_signo).unwrap_or(0);
            match Signal::try_from(number) {
                Ok(Signal::SIGWINCH) => self.resize(),
                _ => {
                    if let Some(signal) = rustix::process::Signal::from_named_raw(number) {
                        // One that has just ended needs no signal.
                        let _ = pidfd_send_signal(&self.child.pidfd, signal);
                    }
                }
            }
        }
        Ok(())
    }

    fn resize(&self) {
        if let (Some(master), Some((rows, columns))) = (&self.child.terminal, terminal::size()) {
            let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
            let _ = tcsetwinsize(master, size);
        }
    }

    /// What was written before the end and is still on its way.
    fn drain(&mut self) -> io::Result<()> {
        for index in (0..self.streams.outputs.len()).rev() {
            while index < self.streams.outputs.len() && self.take_output(index)? {}
        }
        Ok(())
    }
}

fn ended(child: &Child) -> io::Result<i32> {
    let status = waitid(WaitId::PidFd(child.pidfd.as_fd()), WaitIdOptions::EXITED)?;
    let code = status.and_then(|status| {
        let signal = status.terminating_signal().map(|number| 128 + number);
        status.exit_status().or(signal)
    });
    Ok(code.unwrap_or(255))
}

fn write_all(sink: Sink, mut bytes: &[u8]) -> io::Result<()> {
    let (stdout, stderr) = (io::stdout(), io::stderr());
    let fd: BorrowedFd<'_> = match sink {
        Sink::Stdout => stdout.as_fd(),
        Sink::Stderr => stderr.as_fd(),
    };
    while !bytes.is_empty() {
        match write(fd, bytes) {
            Ok(length) => bytes = &bytes[length..],
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => drop(poll(&mut [PollFd::new(&fd, PollFlags::OUT)], None)),
            Err(e) => return Err(e.into()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use rustix::process::{Pid, PidfdFlags, pidfd_open};

    use super::*;

    /// Carries the output of a shell that runs `script`, which is no process of a container.
    #[expect(clippy::zombie_processes, reason = "`carry` waits for it")]
    fn carried(script: &str) -> i32 {
        let mut command = Command::new("sh");
        command.args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let pid = i32::try_from(process.id()).unwrap();
        let child = Child {
            pid,
            pidfd: pidfd_open(Pid::from_raw(pid).unwrap(), PidfdFlags::empty()).unwrap(),
            terminal: None,
            warnings: vec![],
        };
        let input = process.stdin.take().map(OwnedFd::from);
        let output = OwnedFd::from(process.stdout.take().unwrap());
        let streams = Streams { input, outputs: vec![(output, Sink::Stdout)] };
        match carry(&child, streams, None).unwrap() {
            Carried::Ended(code) => code,
            Carried::Left => panic!("nobody left"),
        }
    }

    #[test]
    fn the_exit_status_is_handed_back() {
        assert_eq!(carried("exit 7"), 7);
        assert_eq!(carried("kill -9 $$"), 137);
    }

    #[test]
    fn output_larger_than_a_pipe_is_carried_to_its_end() {
        assert_eq!(carried("head -c 300000 /dev/zero | tr '\\0' '\\n'; exit 3"), 3);
    }

    #[test]
    fn a_process_whose_children_keep_its_output_open_still_ends() {
        let file = std::env::temp_dir().join(format!("berth-relay-{}", std::process::id()));
        assert_eq!(carried(&format!("sleep 60 & echo $! > {}; exit 4", file.display())), 4);
        let sleeper: i32 = std::fs::read_to_string(&file).unwrap().trim().parse().unwrap();
        std::fs::remove_file(&file).unwrap();
        let sleeper = Pid::from_raw(sleeper).unwrap();
        // That it is there to be killed shows that nobody waited for it.
        rustix::process::kill_process(sleeper, rustix::process::Signal::KILL).unwrap();
    }
}
