//! The monitor's side of its control socket.
//!
//! No client can hold the monitor up: every buffer has a limit, and who does not read is dropped.

mod peer;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::PollFlags;

use self::peer::{Client, Role};
use super::SOCKET;
use super::poll::{PollSet, Token};
use super::protocol::{Frame, Reply, append_output};
use crate::bundle::{Cgroup, Restart, Status};
use crate::logs::Stream;
use crate::sabotage::{defence, without};

/// Clients at a time.
const CLIENTS: usize = 64;
/// Bytes that may wait for a client: more, and a subscriber is dropped, an attached client holds
/// up the output.
const WAITING: usize = 256 * 1024;
/// An attached client that takes nothing for so long is dropped.
const STALLED: Duration = Duration::from_secs(5);
/// The last words get so long.
const FAREWELL: Duration = Duration::from_secs(1);

/// The control socket and who is connected to it.
pub(super) struct Server {
    listener: UnixListener,
    clients: BTreeMap<u64, Client>,
    next: u64,
}

/// What a client wants that only the monitor itself can do.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wish {
    /// End the container.
    Stop { grace: Option<Duration>, hold: bool },
    /// Send a signal; an answer is due to the client.
    Signal { client: u64, number: i32 },
    /// Stop the processes for this client; an answer is due to it.
    Freeze { client: u64 },
    /// Let them run on; an answer is due to the client.
    Thaw { client: u64 },
    /// Stop the processes until the user wants them to run on; an answer is due to the client.
    Pause { client: u64 },
    /// Let them run on; an answer is due to the client.
    Unpause { client: u64 },
    /// Change limits, restart policy, wiring and upkeep; an answer is due to the client.
    Update { client: u64, cgroup: Box<Cgroup>, restart: Restart, rewire: bool, keep: bool },
    /// Take ports and names over; an answer is due to the client.
    TakeOver { client: u64, from: String },
    /// Hand the sockets of its ports over to the client.
    HandOver { client: u64 },
    /// Give up ports and names; an answer is due to the client.
    GiveUp { client: u64 },
    /// Resize the terminal; an answer is due to the client.
    Resize { client: u64, rows: u16, columns: u16 },
    /// Somebody has attached.
    Attached,
    /// Bytes for the container; none ends its input.
    Input(Vec<u8>),
}

impl Server {
    /// Listens on the socket of a run folder, replacing one that a killed monitor left.
    ///
    /// # Errors
    /// What the host answers.
    pub(super) fn listen(run_dir: &Path) -> io::Result<Server> {
        use std::os::fd::AsRawFd;
        let dir = fs::File::open(run_dir)?;
        // Through the descriptor: the folder's path may be longer than a socket's may be.
        let path = format!("/proc/self/fd/{}/{SOCKET}", dir.as_raw_fd());
        match fs::remove_file(&path) {
            Err(e) if e.kind() != ErrorKind::NotFound => return Err(e),
            Ok(()) | Err(_) => {}
        }
        let listener = UnixListener::bind(&path)?;
        without!("socket.in_folder", crate::sabotage::naive::listen_in_abstract());
        without!("socket.no_port", crate::sabotage::naive::listen_on_port());
        let mode = defence!("socket.private", 0o600, 0o777);
        fs::set_permissions(&path, fs::Permissions::from_mode(mode))?;
        listener.set_nonblocking(true)?;
        Ok(Server { listener, clients: BTreeMap::new(), next: 0 })
    }

    /// Adds what to wait for. Input of attached clients is left alone while `input_full`.
    pub(super) fn poll<'a>(&'a self, set: &mut PollSet<'a>, input_full: bool) {
        if self.clients.len() < CLIENTS {
            set.read(Token::Listener, &self.listener);
        }
        for (id, client) in &self.clients {
            let mut flags = PollFlags::empty();
            if !(input_full && client.role == Role::Attached) {
                flags |= PollFlags::IN;
            }
            if !client.output.is_empty() {
                flags |= PollFlags::OUT;
            }
            set.add(Token::Client(*id), &client.stream, flags);
            set.until(client.stalled.map(|since| since + STALLED));
        }
    }

    /// Takes a new client in.
    pub(super) fn accept(&mut self) {
        // One that is already gone again, or no descriptor left: the next wait tries again.
        let Ok((stream, _)) = self.listener.accept() else { return };
        if stream.set_nonblocking(true).is_ok() {
            self.add(stream);
        }
    }

    fn add(&mut self, stream: UnixStream) -> u64 {
        let client = Client {
            stream,
            input: Vec::new(),
            output: Vec::new(),
            role: Role::Asking,
            stalled: None,
            gone: false,
        };
        self.next += 1;
        self.clients.insert(self.next, client);
        self.next
    }

    /// Serves a client that is ready. Gives what is for the monitor to do.
    pub(super) fn serve(&mut self, id: u64, status: &Status, tty: bool) -> Vec<Wish> {
        let Some(client) = self.clients.get_mut(&id) else { return Vec::new() };
        client.flush();
        let mut wishes = Vec::new();
        if client.read() {
            while let Some(wish) = client.next_wish(id, status, tty) {
                wishes.extend(wish);
            }
        }
        client.flush();
        self.sweep();
        wishes
    }

    /// Answers a client whose wish is done or not.
    pub(super) fn answer(&mut self, id: u64, result: Result<(), String>) {
        if let Some(client) = self.clients.get_mut(&id) {
            client.say(&match result {
                Ok(()) => Reply::Done,
                Err(reason) => Reply::Refused { reason },
            });
            client.role = Role::Asking;
        }
        self.sweep();
    }

    /// Answers a client that gets sockets besides: another monitor, which does nothing else until it
    /// has them. One that does not take them in a moment is dropped.
    pub(super) fn hand_over(&mut self, id: u64, reply: &Reply, sockets: &[&OwnedFd]) {
        if let Some(client) = self.clients.get_mut(&id) {
            let sent = client.hand_over(reply, sockets, Instant::now() + FAREWELL);
            client.gone |= sent.is_err();
            client.role = Role::Asking;
        }
        self.sweep();
    }

    /// Whether this client is still there.
    pub(super) fn has(&self, id: u64) -> bool {
        self.clients.contains_key(&id)
    }

    /// Tells subscribers a status.
    pub(super) fn announce(&mut self, status: &Status) {
        for client in self.clients.values_mut().filter(|c| c.role == Role::Subscribed) {
            client.say(&Reply::Status(Box::new(status.clone())));
            client.gone |= client.output.len() > WAITING;
        }
        self.sweep();
    }

    /// Gives output to attached clients.
    pub(super) fn output(&mut self, stream: Stream, bytes: &[u8]) {
        for client in self.clients.values_mut().filter(|c| c.role == Role::Attached) {
            append_output(&mut client.output, stream == Stream::Stderr, bytes);
            client.flush();
        }
        self.sweep();
    }

    /// Whether an attached client is so far behind that no more output should be read.
    pub(super) fn is_behind(&self) -> bool {
        self.clients.values().any(|client| client.stalled.is_some())
    }

    /// Drops clients that have taken nothing for too long.
    pub(super) fn tick(&mut self, now: Instant) {
        for client in self.clients.values_mut() {
            client.gone |= client.stalled.is_some_and(|since| now >= since + STALLED);
        }
        self.sweep();
    }

    /// Says the last word to everybody who waits for it, and gives them a moment to take it.
    pub(super) fn finish(&mut self, status: &Status) {
        for client in self.clients.values_mut() {
            match client.role {
                Role::Subscribed | Role::Stopping => {
                    client.say(&Reply::Status(Box::new(status.clone())));
                }
                Role::Attached => {
                    Frame::Exit(status.exit_code).append(&mut client.output);
                    client.flush();
                }
                Role::Waiting => {
                    client.say(&Reply::Refused { reason: "the container has ended".into() });
                }
                Role::Asking => {}
            }
        }
        let end = Instant::now() + FAREWELL;
        self.clients.retain(|_, client| !client.gone);
        while self.clients.values().any(|c| !c.output.is_empty()) && Instant::now() < end {
            let mut set = PollSet::default();
            set.until(Some(end));
            for (id, client) in self.clients.iter().filter(|(_, c)| !c.output.is_empty()) {
                set.add(Token::Client(*id), &client.stream, PollFlags::OUT);
            }
            if set.wait().is_err() {
                break;
            }
            self.clients.values_mut().for_each(Client::flush);
            self.clients.retain(|_, client| !client.gone);
        }
    }

    fn sweep(&mut self) {
        self.clients.retain(|_, client| !client.gone);
    }
}
