//! The monitor's side of its control socket.
//!
//! No client can hold the monitor up: every buffer has a limit, and who does not read is dropped.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::PollFlags;

use super::SOCKET;
use super::poll::{PollSet, Token};
use super::protocol::{Frame, LONGEST, Reply, Request, append_output, line};
use crate::bundle::Status;
use crate::logs::Stream;

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
    /// Resize the terminal; an answer is due to the client.
    Resize { client: u64, rows: u16, columns: u16 },
    /// Somebody has attached.
    Attached,
    /// Bytes for the container; none ends its input.
    Input(Vec<u8>),
}

struct Client {
    stream: UnixStream,
    input: Vec<u8>,
    output: Vec<u8>,
    role: Role,
    /// Since when it has taken nothing although more waits than may.
    stalled: Option<Instant>,
    gone: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
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
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
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

impl Client {
    /// Reads what is there. `false` when nothing is to be made of it any more.
    fn read(&mut self) -> bool {
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
            if self.input.len() > 2 * LONGEST {
                return true;
            }
        }
    }

    /// Takes one request or frame. `None` when there is no whole one.
    fn next_wish(&mut self, id: u64, status: &Status, tty: bool) -> Option<Option<Wish>> {
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
                    self.gone |= self.input.len() > LONGEST;
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
            Request::Resize { rows, columns } => {
                (Role::Waiting, Wish::Resize { client: id, rows, columns })
            }
        };
        self.role = role;
        Some(wish)
    }

    fn say(&mut self, reply: &Reply) {
        self.output.extend_from_slice(&line(reply));
        self.flush();
    }

    /// Writes as much as the client takes.
    fn flush(&mut self) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::Phase;
    use crate::logs::testing::Folder;

    /// A server and a client's end of a connection to it.
    fn connected() -> (Folder, Server, UnixStream, u64) {
        let dir = Folder::new();
        let mut server = Server::listen(dir.path()).unwrap();
        let (ours, theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let id = server.add(ours);
        (dir, server, theirs, id)
    }

    fn ask(stream: &mut UnixStream, request: &Request) {
        stream.write_all(&line(request)).unwrap();
    }

    fn heard(stream: &mut UnixStream) -> String {
        let mut bytes = vec![0; 4096];
        let n = stream.read(&mut bytes).unwrap();
        String::from_utf8(bytes[..n].to_vec()).unwrap()
    }

    fn running() -> Status {
        Status { phase: Phase::Running, pid: 7, ..Status::default() }
    }

    #[test]
    fn a_subscriber_hears_each_status_and_the_last() {
        let (_dir, mut server, mut client, id) = connected();
        ask(&mut client, &Request::Subscribe);
        assert_eq!(server.serve(id, &Status::default(), false), []);
        assert!(heard(&mut client).contains(r#""phase":"starting""#));
        server.announce(&running());
        assert!(heard(&mut client).contains(r#""phase":"running""#));
        server.finish(&Status { phase: Phase::Exited, ..Status::default() });
        assert!(heard(&mut client).contains(r#""phase":"exited""#));
    }

    #[test]
    fn a_stop_is_answered_when_the_container_has_ended() {
        let (_dir, mut server, mut client, id) = connected();
        ask(&mut client, &Request::Stop { grace_ms: Some(5), hold: true });
        let grace = Some(Duration::from_millis(5));
        assert_eq!(server.serve(id, &running(), false), [Wish::Stop { grace, hold: true }]);
        server.announce(&running());
        server.finish(&Status { exit_code: 143, ..Status::default() });
        assert!(heard(&mut client).contains(r#""exit_code":143"#));
    }

    #[test]
    fn requests_on_one_connection_are_answered_in_order() {
        let (_dir, mut server, mut client, id) = connected();
        ask(&mut client, &Request::Signal { number: 1 });
        ask(&mut client, &Request::Status);
        let status = running();
        assert_eq!(server.serve(id, &status, false), [Wish::Signal { client: id, number: 1 }]);
        server.answer(id, Err("no".into()));
        assert_eq!(heard(&mut client), "{\"reply\":\"refused\",\"reason\":\"no\"}\n");
        server.serve(id, &status, false);
        assert!(heard(&mut client).contains(r#""pid":7"#));
    }

    #[test]
    fn attached_clients_give_input_and_get_output_apart() {
        let (_dir, mut server, mut client, id) = connected();
        ask(&mut client, &Request::Attach);
        let mut frames = Vec::new();
        Frame::Input(b"in".to_vec()).append(&mut frames);
        client.write_all(&frames).unwrap();
        assert_eq!(
            server.serve(id, &running(), false),
            [Wish::Attached, Wish::Input(b"in".to_vec())]
        );
        server.output(Stream::Stdout, b"out");
        server.output(Stream::Stderr, b"err");
        server.finish(&Status { exit_code: 3, ..Status::default() });
        assert_eq!(
            heard(&mut client),
            "{\"reply\":\"attached\",\"tty\":false}\n\
             \u{1}\0\0\0\u{3}out\u{2}\0\0\0\u{3}err\u{3}\0\0\0\u{4}\0\0\0\u{3}"
        );
    }

    #[test]
    fn an_attached_client_that_does_not_read_is_dropped_after_a_while() {
        let (_dir, mut server, mut client, id) = connected();
        ask(&mut client, &Request::Attach);
        server.serve(id, &running(), false);
        assert!(!server.is_behind());
        for _ in 0..64 {
            server.output(Stream::Stdout, &[b'x'; LONGEST]);
        }
        assert!(server.is_behind());
        server.tick(Instant::now() + STALLED / 2);
        assert_eq!(server.clients.len(), 1);
        server.tick(Instant::now() + STALLED);
        assert!(server.clients.is_empty() && !server.is_behind());
    }

    #[test]
    fn a_subscriber_that_does_not_read_is_dropped() {
        let (_dir, mut server, mut client, id) = connected();
        ask(&mut client, &Request::Subscribe);
        let status = Status { health_output: "x".repeat(4096), ..running() };
        server.serve(id, &status, false);
        for _ in 0..1000 {
            server.announce(&status);
        }
        assert!(server.clients.is_empty());
    }

    #[test]
    fn nonsense_is_refused_and_endless_nonsense_dropped() {
        let (_dir, mut server, mut client, id) = connected();
        client.write_all(b"hello\n").unwrap();
        server.serve(id, &running(), false);
        assert!(heard(&mut client).contains("refused"));
        client.set_nonblocking(true).unwrap();
        for _ in 0..40 {
            client.write_all(&[b'x'; 4096]).unwrap_or_default();
            server.serve(id, &running(), false);
        }
        assert!(server.clients.is_empty());
    }

    #[test]
    fn the_socket_is_for_its_owner_only_and_replaces_a_dead_one() {
        let dir = Folder::new();
        drop(Server::listen(dir.path()).unwrap());
        let _server = Server::listen(dir.path()).unwrap();
        let mode = fs::metadata(dir.path().join(SOCKET)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
