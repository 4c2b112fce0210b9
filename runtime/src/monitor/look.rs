//! Looks at a container from outside its image: does a port take connections, does a page answer?
//!
//! The sockets are made in the container's network namespace by the monitor itself, so nothing is
//! needed in the image, and nothing can hold the monitor up: they never block, what is read is
//! bounded, and who waits for them gives up at a deadline.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::Instant;

use berth_schema::stack::ReadySign;
use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, socket_with};

use super::poll::{PollSet, Token};
use crate::bundle::{Bundle, Network};

/// Bytes of an answer that are read: its first line says all that counts.
const ANSWER: usize = 1024;
/// `HTTP/1.1 200`.
const STATUS_LINE: usize = 12;

/// A look that is under way.
pub(super) struct Look {
    socket: TcpStream,
    port: u16,
    /// Addresses to be tried yet, the next one last.
    others: Vec<IpAddr>,
    page: Option<Page>,
    stage: Stage,
    deadline: Instant,
}

/// What is asked of a page.
struct Page {
    request: Vec<u8>,
    status: Option<u16>,
    answer: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Connecting,
    Asking,
    Reading,
}

/// What a look came to: good, or why not.
pub(super) type Verdict = Result<(), String>;

impl Look {
    /// Begins to look at what `sign` names, on the loopback and then on the container's own
    /// addresses. A sign in the output is none of this.
    ///
    /// # Errors
    /// With words, for the health output.
    pub(super) fn start(
        sign: &ReadySign,
        bundle: &Bundle,
        netns: BorrowedFd<'_>,
        deadline: Instant,
    ) -> Result<Option<Look>, String> {
        let (port, page) = match sign {
            ReadySign::Tcp(port) => (*port, None),
            ReadySign::Http { port, path, status } => {
                (*port, Some(Page::new(*port, path, *status)))
            }
            ReadySign::Log(_) => return Ok(None),
        };
        let mut others = addresses(bundle);
        let socket = knock(netns, &mut others, port, None)?;
        Ok(Some(Look { socket, port, others, page, stage: Stage::Connecting, deadline }))
    }

    pub(super) fn poll<'a>(&'a self, set: &mut PollSet<'a>) {
        let flags = match self.stage {
            Stage::Connecting | Stage::Asking => PollFlags::OUT,
            Stage::Reading => PollFlags::IN,
        };
        set.add(Token::Look, &self.socket, flags);
    }

    /// When it has taken too long.
    pub(super) fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Gives it as much more time as the container stood still.
    pub(super) fn prolong(&mut self, by: std::time::Duration) {
        self.deadline += by;
    }

    /// Goes on; `None` while it is not over.
    pub(super) fn serve(&mut self, netns: BorrowedFd<'_>) -> Option<Verdict> {
        match self.go_on() {
            Ok(over) => over,
            Err(error) if error.kind() == ErrorKind::WouldBlock => None,
            Err(error) => {
                // Who does not listen there may listen elsewhere.
                match knock(netns, &mut self.others, self.port, Some(&error)) {
                    Ok(socket) => {
                        self.socket = socket;
                        self.stage = Stage::Connecting;
                        if let Some(page) = &mut self.page {
                            page.answer.clear();
                        }
                        None
                    }
                    Err(why) => Some(Err(why)),
                }
            }
        }
    }

    fn go_on(&mut self) -> io::Result<Option<Verdict>> {
        if self.stage == Stage::Connecting {
            if let Some(error) = self.socket.take_error()? {
                return Err(error);
            }
            self.stage = Stage::Asking;
        }
        let Some(page) = &mut self.page else { return Ok(Some(Ok(()))) };
        if self.stage == Stage::Asking {
            // It fits into the buffer of a new socket.
            self.socket.write_all(&page.request)?;
            self.stage = Stage::Reading;
        }
        let mut buffer = [0; ANSWER];
        loop {
            let count = self.socket.read(&mut buffer)?;
            page.answer.extend_from_slice(&buffer[..count]);
            if count == 0 || page.answer.len() >= STATUS_LINE {
                return Ok(Some(page.verdict()));
            }
        }
    }
}

impl Page {
    fn new(port: u16, path: &str, status: Option<u16>) -> Page {
        let host = if port == 80 { "localhost".to_owned() } else { format!("localhost:{port}") };
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: berth\r\nAccept: */*\r\n\
             Connection: close\r\n\r\n"
        );
        Page { request: request.into_bytes(), status, answer: Vec::new() }
    }

    fn verdict(&self) -> Verdict {
        let status = status(&self.answer).ok_or("what answers does not speak HTTP")?;
        let good = match self.status {
            Some(wanted) => status == wanted,
            None => (200..400).contains(&status),
        };
        if good { Ok(()) } else { Err(format!("the page answers {status}")) }
    }
}

/// The status of an answer (RFC 9112, section 4).
fn status(answer: &[u8]) -> Option<u16> {
    let digits = answer.strip_prefix(b"HTTP/1.")?.get(2..5)?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// Where it may listen, the last first.
fn addresses(bundle: &Bundle) -> Vec<IpAddr> {
    let mut all = vec![IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
    if let Network::Own(links) = &bundle.network {
        all.extend(links.iter().filter_map(|link| link.ipv4).map(|(ip, _)| IpAddr::V4(ip)));
        all.extend(links.iter().filter_map(|link| link.ipv6).map(|(ip, _)| IpAddr::V6(ip)));
    }
    all.reverse();
    all
}

/// A socket on its way to the next address that does not refuse at once. The first refusal is the
/// one that is told: it is that of the loopback.
fn knock(
    netns: BorrowedFd<'_>,
    others: &mut Vec<IpAddr>,
    port: u16,
    refusal: Option<&io::Error>,
) -> Result<TcpStream, String> {
    let mut told = refusal.map(ToString::to_string);
    while let Some(address) = others.pop() {
        match connecting(netns, SocketAddr::new(address, port)) {
            Ok(socket) => return Ok(socket),
            Err(error) => {
                told.get_or_insert_with(|| error.to_string());
            }
        }
    }
    Err(format!("port {port}: {}", told.unwrap_or_else(|| "there is no address".to_owned())))
}

fn connecting(netns: BorrowedFd<'_>, address: SocketAddr) -> io::Result<TcpStream> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket: OwnedFd = berth_network::netns::inside(netns, || {
        Ok(socket_with(family, SocketType::STREAM, flags, None))
    })
    .map_err(io::Error::other)??;
    match connect(&socket, &address) {
        Ok(()) | Err(Errno::INPROGRESS) => Ok(TcpStream::from(socket)),
        Err(errno) => Err(errno.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_of_an_answer_decides() {
        let page = |status, answer: &str| {
            let mut page = Page::new(8080, "/", status);
            page.answer = answer.as_bytes().to_vec();
            page.verdict()
        };
        assert_eq!(page(None, "HTTP/1.1 204 No Content\r\n"), Ok(()));
        assert_eq!(page(None, "HTTP/1.0 302 Found"), Ok(()));
        assert_eq!(page(None, "HTTP/1.1 503 x"), Err("the page answers 503".to_owned()));
        assert_eq!(page(Some(401), "HTTP/1.1 401 x"), Ok(()));
        assert_eq!(page(Some(200), "HTTP/1.1 204 x"), Err("the page answers 204".to_owned()));
        for other in ["", "SSH-2.0-OpenSSH", "HTTP/1.1 2"] {
            assert_eq!(page(None, other), Err("what answers does not speak HTTP".to_owned()));
        }
    }

    #[test]
    fn a_request_names_the_port_unless_it_is_the_usual_one() {
        let text = |port| String::from_utf8(Page::new(port, "/ok?x=1", None).request).unwrap();
        assert!(text(8080).starts_with("GET /ok?x=1 HTTP/1.1\r\nHost: localhost:8080\r\n"));
        assert!(text(80).contains("\r\nHost: localhost\r\n"));
    }
}
