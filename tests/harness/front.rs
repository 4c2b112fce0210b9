//! A server that stands before a registry on a machine and spoils what it answers, as a script
//! says.

use std::collections::BTreeMap;
use std::io::{BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use crate::host::TestHost;
use crate::http::{self, Asked, Log, Server};

/// Bytes that are sent at a time.
const PIECE: usize = 16 << 10;
/// How long a stalled answer waits for its client to go.
const STALL: Duration = Duration::from_secs(60);

/// What is done with an answer.
#[derive(Debug, Clone)]
pub enum Act {
    /// It is passed on as it is.
    Pass,
    /// After so many bytes of the body nothing more comes.
    Stall(usize),
    /// After so many bytes of the body the connection is closed.
    Cut(usize),
    /// After so many bytes of the body the connection is reset.
    Reset(usize),
    /// The byte at this place of the body is another one.
    Flip(usize),
    /// The range that was asked for is not passed on, so all of it is sent.
    Whole,
    /// The length that is told is so much more than what comes.
    Longer(usize),
    /// With this header in place of the registry's own.
    Header(&'static str, String),
    /// The registry is not asked; this is the answer.
    Say(Answer),
}

/// An answer.
#[derive(Debug, Clone, Default)]
pub struct Answer {
    /// `200`.
    pub status: u16,
    /// Headers by their names in lower case; the length is added.
    pub headers: BTreeMap<String, String>,
    /// The body.
    pub body: Vec<u8>,
}

impl Answer {
    /// An answer without headers.
    pub fn of(status: u16, body: impl Into<Vec<u8>>) -> Answer {
        Answer { status, headers: BTreeMap::new(), body: body.into() }
    }

    /// The same with a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Answer {
        self.headers.insert(name.to_owned(), value.to_owned());
        self
    }
}

type Script = dyn Fn(&Asked) -> Act + Send + Sync;

/// The server.
pub struct Front {
    server: Server,
    script: Arc<Mutex<Arc<Script>>>,
    gate: Arc<Gate>,
}

/// Lets so many bytes of layers through, then holds all of them.
#[derive(Debug, Default)]
struct Gate {
    state: Mutex<GateState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct GateState {
    /// `None` is open.
    left: Option<usize>,
    waiting: usize,
}

impl Front {
    /// Listens at `address` of the machine and asks the registry at `upstream`.
    pub fn start(host: &TestHost, address: &str, upstream: &str) -> Front {
        let pass: Arc<Script> = Arc::new(|_: &Asked| Act::Pass);
        let script = Arc::new(Mutex::new(pass));
        let gate = Arc::new(Gate::default());
        let (acts, shared, upstream) =
            (Arc::clone(&script), Arc::clone(&gate), upstream.to_owned());
        let server = http::serve(host, address, move |asked, (log, place), stream| {
            let act = Arc::clone(&*acts.lock().unwrap());
            let told = |bytes| log.add(place, bytes);
            let _ = answer(&upstream, asked, act(asked), stream, &shared, &told);
        });
        Front { server, script, gate }
    }

    /// What it was asked.
    pub fn log(&self) -> &Log {
        &self.server.log
    }

    /// From now on `script` says what is done with each answer.
    pub fn follow(&self, script: impl Fn(&Asked) -> Act + Send + Sync + 'static) {
        *self.script.lock().unwrap() = Arc::new(script);
    }

    /// Lets so many bytes of bodies through, then holds them; `None` lets all through.
    pub fn hold_after(&self, bytes: Option<usize>) {
        self.gate.state.lock().unwrap().left = bytes;
        self.gate.changed.notify_all();
    }

    /// Whether somebody is held.
    pub fn holds(&self) -> bool {
        self.gate.state.lock().unwrap().waiting > 0
    }
}

impl Gate {
    /// Waits until `bytes` may pass.
    fn pass(&self, bytes: usize) {
        let mut state = self.state.lock().unwrap();
        while state.left.is_some_and(|left| left < bytes) {
            state.waiting += 1;
            let (again, waited) = self.changed.wait_timeout(state, STALL).unwrap();
            state = again;
            state.waiting -= 1;
            if waited.timed_out() {
                return;
            }
        }
        state.left = state.left.map(|left| left - bytes);
    }
}

fn answer(
    upstream: &str,
    asked: &Asked,
    act: Act,
    stream: &mut TcpStream,
    gate: &Gate,
    told: &dyn Fn(usize),
) -> std::io::Result<()> {
    let mut answer = match &act {
        Act::Say(answer) => answer.clone(),
        act => ask(upstream, asked, matches!(act, Act::Whole))?,
    };
    let mut length = answer.body.len();
    match &act {
        Act::Flip(at) => {
            if let Some(byte) = answer.body.get_mut(*at) {
                *byte ^= 1;
            }
        }
        Act::Longer(more) => length += more,
        Act::Header(name, value) => drop(answer.headers.insert((*name).into(), value.clone())),
        _ => {}
    }
    if asked.method == "HEAD" {
        length =
            answer.headers.get("content-length").and_then(|l| l.parse().ok()).unwrap_or(length);
    }
    answer.headers.insert("content-length".into(), length.to_string());
    answer.headers.insert("connection".into(), "close".into());
    let mut head = format!("HTTP/1.1 {} X\r\n", answer.status);
    for (name, value) in &answer.headers {
        head += &format!("{name}: {value}\r\n");
    }
    stream.write_all(format!("{head}\r\n").as_bytes())?;
    if asked.method == "HEAD" {
        return Ok(());
    }
    let end = match act {
        Act::Stall(at) | Act::Cut(at) | Act::Reset(at) => at.min(answer.body.len()),
        _ => answer.body.len(),
    };
    for piece in answer.body[..end].chunks(PIECE) {
        gate.pass(piece.len());
        stream.write_all(piece)?;
        told(piece.len());
    }
    match act {
        Act::Stall(_) => {
            stream.set_read_timeout(Some(STALL))?;
            let _ = stream.read(&mut [0]);
        }
        // Closed with a linger of zero, the kernel sends RST in place of FIN (socket(7)).
        Act::Reset(_) => {
            let linger = libc::linger { l_onoff: 1, l_linger: 0 };
            nix::sys::socket::setsockopt(stream, nix::sys::socket::sockopt::Linger, &linger)?;
        }
        _ => {}
    }
    Ok(())
}

/// What the registry itself answers. Asked by HTTP/1.0, it ends the answer by closing.
fn ask(upstream: &str, asked: &Asked, whole: bool) -> std::io::Result<Answer> {
    let mut stream = TcpStream::connect(upstream)?;
    let mut head = format!("{} {} HTTP/1.0\r\n", asked.method, asked.path);
    for (name, value) in &asked.headers {
        if name != "connection" && !(whole && name == "range") {
            head += &format!("{name}: {value}\r\n");
        }
    }
    stream.write_all(format!("{head}\r\n").as_bytes())?;
    stream.write_all(&asked.body)?;
    let mut reader = BufReader::new(stream);
    let odd = || std::io::Error::other("no answer of a registry");
    let mut status = String::new();
    std::io::BufRead::read_line(&mut reader, &mut status)?;
    let status = status.split(' ').nth(1).and_then(|code| code.parse().ok()).ok_or_else(odd)?;
    let headers = http::headers(&mut reader).ok_or_else(odd)?;
    let mut body = Vec::new();
    reader.read_to_end(&mut body)?;
    Ok(Answer { status, headers, body })
}
