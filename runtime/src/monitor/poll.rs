//! The one wait of a monitor: who has something to read or room to write.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

/// Whose descriptor it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token {
    /// The container's first process: it has ended.
    Exit,
    /// A source of output, by index.
    Output(usize),
    /// The container's input has room.
    Input,
    /// Where lines go besides the log.
    Forward,
    /// The control socket.
    Listener,
    /// A client, by number.
    Client(u64),
    /// The probe has ended.
    ProbeExit,
    /// The probe has written.
    ProbeOutput,
    /// What is looked at from outside has answered, or has room for the question.
    Look,
    /// The hook has ended.
    HookExit,
    /// The hook has written.
    HookOutput,
    /// A client that a relay is needed for.
    Relay,
    /// The relay has ended.
    RelayExit,
    /// The post of the sentry is free, somebody changed the host, or a repair has ended.
    Sentry,
    /// A descriptor of the resolver.
    Resolver(usize),
}

/// What is waited for.
#[derive(Default)]
pub(super) struct PollSet<'a> {
    fds: Vec<PollFd<'a>>,
    tokens: Vec<Token>,
    deadline: Option<Instant>,
}

impl<'a> PollSet<'a> {
    pub(super) fn read(&mut self, token: Token, fd: &'a impl AsFd) {
        self.add(token, fd, PollFlags::IN);
    }

    pub(super) fn add(&mut self, token: Token, fd: &'a impl AsFd, flags: PollFlags) {
        self.fds.push(PollFd::new(fd, flags));
        self.tokens.push(token);
    }

    pub(super) fn add_borrowed(&mut self, token: Token, fd: BorrowedFd<'a>, flags: PollFlags) {
        self.fds.push(PollFd::from_borrowed_fd(fd, flags));
        self.tokens.push(token);
    }

    /// Waits no longer than until `when`.
    pub(super) fn until(&mut self, when: Option<Instant>) {
        self.deadline = [self.deadline, when].into_iter().flatten().min();
    }

    /// Waits; gives who is ready. Nobody, when the time is up or a signal came.
    pub(super) fn wait(mut self) -> io::Result<Vec<Token>> {
        let timeout = self.deadline.map(|at| at.saturating_duration_since(Instant::now()));
        match poll(&mut self.fds, timeout.map(timespec).as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
        let all = self.tokens.iter().zip(&self.fds);
        Ok(all.filter(|(_, fd)| !fd.revents().is_empty()).map(|(token, _)| *token).collect())
    }
}

fn timespec(duration: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: duration.subsec_nanos().into(),
    }
}
