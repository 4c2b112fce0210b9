//! One client of the control socket: what it asks, and what waits for it.

use std::io::{ErrorKind, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use super::{WAITING, Wish};
use crate::bundle::Status;
use crate::container::Channel;
use crate::monitor::protocol::{Frame, LONGEST, Reply, Request, line};
use crate::sabotage::defence;

/// What is handed over is taken bit by bit, each in so long.
const MOMENT: Duration = Duration::from_millis(500);

/// A client that is connected.
pub(super) struct Client {
    pub(super) stream: UnixStream,
    pub(super) input: Vec<u8>,
    pub(super) output: Vec<u8>,
    pub(super) role: Role,
    /// Since when it has taken nothing although more waits than may.
    pub(super) stalled: Option<Instant>,
    pub(super) gone: bool,
}

/// What a client is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// Sends a request.
    Asking,
    /// Waits for the answer to it.
    Waiting,
    /// Gets each status.
    Subscribed,
    /// Gets the last status.
    Stopping,
    /// Gets output, gives input.
    Attached,
}

impl Client {
    /// Reads what is there. `false` when nothing is to be made of it any more.
    pub(super) fn read(&mut self) -> bool {
        let mut buffer = [0; 4096];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => {
                    self.gone = true;
                    return self.role == Role::Attached;
                }
                Ok(n) => self.input.extend_from_slice(&buffer[..n]),
                Err(e) if e.kind() == ErrorKind::WouldBlock => return true,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(_) => {
                    self.gone = true;
                    return false;
                }
            }
            if defence!("socket.bounded", self.input.len() > 2 * LONGEST, false) {
                return true;
            }
        }
    }

    /// Takes one request or frame. `None` when there is no whole one.
    pub(super) fn next_wish(
        &mut self,
        id: u64,
        status: &Status,
        tty: bool,
    ) -> Option<Option<Wish>> {
        match self.role {
            Role::Attached => match Frame::take(&mut self.input) {
                Ok(Some(Frame::Input(bytes))) => Some(Some(Wish::Input(bytes))),
                Ok(None) => None,
                Ok(Some(_)) | Err(_) => {
                    self.gone = true;
                    None
                }
            },
            Role::Asking => {
                let Some(end) = self.input.iter().position(|b| *b == b'\n') else {
                    let longest = defence!("socket.bounded", LONGEST, usize::MAX);
                    self.gone |= self.input.len() > longest;
                    return None;
                };
                let request: Vec<u8> = self.input.drain(..=end).collect();
                match serde_json::from_slice(&request) {
                    Ok(request) => Some(self.heed(id, request, status, tty)),
                    Err(e) => {
                        self.say(&Reply::Refused { reason: format!("no such request: {e}") });
                        Some(None)
                    }
                }
            }
            // Nothing more is expected of these.
            Role::Waiting | Role::Subscribed | Role::Stopping => {
                self.gone |= self.input.len() > LONGEST;
                None
            }
        }
    }

    fn heed(&mut self, id: u64, request: Request, status: &Status, tty: bool) -> Option<Wish> {
        let (role, wish) = match request {
            Request::Status => {
                self.say(&Reply::Status(Box::new(status.clone())));
                return None;
            }
            Request::Subscribe => {
                self.say(&Reply::Status(Box::new(status.clone())));
                self.role = Role::Subscribed;
                return None;
            }
            Request::Attach => {
                self.say(&Reply::Attached { tty });
                (Role::Attached, Wish::Attached)
            }
            Request::Stop { grace_ms, hold } => {
                (Role::Stopping, Wish::Stop { grace: grace_ms.map(Duration::from_millis), hold })
            }
            Request::Signal { number } => (Role::Waiting, Wish::Signal { client: id, number }),
            Request::Freeze => (Role::Waiting, Wish::Freeze { client: id }),
            Request::Thaw => (Role::Waiting, Wish::Thaw { client: id }),
            Request::Pause => (Role::Waiting, Wish::Pause { client: id }),
            Request::Unpause => (Role::Waiting, Wish::Unpause { client: id }),
            Request::Update { cgroup, restart, rewire, keep } => {
                (Role::Waiting, Wish::Update { client: id, cgroup, restart, rewire, keep })
            }
            Request::TakeOver { from } => (Role::Waiting, Wish::TakeOver { client: id, from }),
            Request::HandOver => (Role::Waiting, Wish::HandOver { client: id }),
            Request::Taken => (Role::Waiting, Wish::GiveUp { client: id }),
            Request::Resize { rows, columns } => {
                (Role::Waiting, Wish::Resize { client: id, rows, columns })
            }
        };
        self.role = role;
        Some(wish)
    }

    pub(super) fn say(&mut self, reply: &Reply) {
        self.output.extend_from_slice(&line(reply));
        self.flush();
    }

    /// Answers, and hands descriptors over behind that. Both may be more than a socket holds at once,
    /// so the client gets until then to take them.
    ///
    /// # Errors
    /// It has not taken them, or something waits for it already.
    pub(super) fn hand_over(
        &mut self,
        reply: &Reply,
        fds: &[&OwnedFd],
        end: Instant,
    ) -> std::io::Result<()> {
        if !self.output.is_empty() {
            return Err(ErrorKind::WouldBlock.into());
        }
        self.stream.set_write_timeout(Some(MOMENT))?;
        self.stream.set_nonblocking(false)?;
        let answer = line(reply);
        for part in answer.chunks(WAITING) {
            if Instant::now() >= end {
                return Err(ErrorKind::TimedOut.into());
            }
            self.stream.write_all(part)?;
        }
        Channel::from_fd(self.stream.try_clone()?.into()).send_fds(fds)?;
        self.stream.set_nonblocking(true)
    }

    /// Writes as much as the client takes.
    pub(super) fn flush(&mut self) {
        let mut written = 0;
        while written < self.output.len() {
            match self.stream.write(&self.output[written..]) {
                Ok(n) => written += n,
                Err(e) if e.kind() == ErrorKind::WouldBlock => break,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(_) => {
                    self.gone = true;
                    break;
                }
            }
        }
        if written == self.output.len() {
            self.output = Vec::new();
        } else {
            self.output.drain(..written);
        }
        self.stalled = match self.stalled {
            _ if self.role != Role::Attached || self.output.len() <= WAITING => None,
            Some(since) if written == 0 => Some(since),
            _ => Some(Instant::now()),
        };
    }
}
