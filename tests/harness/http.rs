//! A small HTTP server on a machine, for tests that decide what it answers.
//!
//! Its threads run in this process and in the machine's network, one for each connection, and
//! each connection carries one request.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::sched::{CloneFlags, setns};

use crate::host::TestHost;

/// How long a client may leave us waiting.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often a server looks whether it is to end.
const LOOK: Duration = Duration::from_millis(2);

/// A server that listens until this is dropped.
#[derive(Debug)]
pub struct Server {
    /// What it was asked.
    pub log: Log,
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// A request; header names are in lower case.
#[derive(Debug, Clone)]
pub struct Asked {
    /// `GET`, `POST`, …
    pub method: String,
    /// Path and query.
    pub path: String,
    /// Headers by their names.
    pub headers: BTreeMap<String, String>,
    /// What was sent with it.
    pub body: Vec<u8>,
    /// How often this method and path have been asked for, this time included.
    pub nth: usize,
    /// Bytes of the answer's body that were sent.
    pub served: u64,
}

/// What was asked of a server, in order.
#[derive(Debug, Clone, Default)]
pub struct Log(Arc<Mutex<Vec<Asked>>>);

impl Asked {
    /// A header, empty when it is not there.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
}

impl Log {
    /// Requests whose path has `part` in it.
    pub fn of(&self, part: &str) -> Vec<Asked> {
        let all = self.0.lock().unwrap();
        all.iter().filter(|asked| asked.path.contains(part)).cloned().collect()
    }

    /// Bytes of bodies that were sent for paths with `part` in them.
    pub fn served(&self, part: &str) -> u64 {
        self.of(part).iter().map(|asked| asked.served).sum()
    }

    /// Forgets everything.
    pub fn clear(&self) {
        self.0.lock().unwrap().clear();
    }

    /// Writes a request down; gives its place, for [`Log::add`].
    fn push(&self, asked: &mut Asked) -> usize {
        let mut all = self.0.lock().unwrap();
        let same = |other: &&Asked| other.method == asked.method && other.path == asked.path;
        asked.nth = all.iter().filter(same).count() + 1;
        all.push(asked.clone());
        all.len() - 1
    }

    /// So many bytes more were sent in answer to the request at `place`.
    pub fn add(&self, place: usize, bytes: usize) {
        if let Some(asked) = self.0.lock().unwrap().get_mut(place) {
            asked.served += bytes as u64;
        }
    }
}

/// Answers every request to `address` of the machine.
///
/// `answer` gets the request, the log with its place in it, and the connection.
///
/// # Panics
/// When the address cannot be listened at.
pub fn serve(
    host: &TestHost,
    address: &str,
    answer: impl Fn(&Asked, (&Log, usize), &mut TcpStream) + Send + Sync + 'static,
) -> Server {
    let network = File::open(format!("/proc/{}/ns/net", host.machine().first())).unwrap();
    let address = address.to_owned();
    let (log, answer) = (Log::default(), Arc::new(answer));
    let (ready, is_ready) = channel();
    let (seen, ends) = (log.clone(), Arc::new(AtomicBool::new(false)));
    let end = Arc::clone(&ends);
    let thread = std::thread::spawn(move || {
        // Threads that this one starts are in the machine's network too.
        let listener = setns(network, CloneFlags::CLONE_NEWNET)
            .map_err(std::io::Error::from)
            .and_then(|()| TcpListener::bind(&address));
        let listener = match listener.and_then(|l| l.set_nonblocking(true).map(|()| l)) {
            Ok(listener) => listener,
            Err(error) => return drop(ready.send(Err(format!("{address}: {error}")))),
        };
        let _ = ready.send(Ok(()));
        while !end.load(Ordering::Relaxed) {
            let Ok((mut stream, _)) = listener.accept() else {
                std::thread::sleep(LOOK);
                continue;
            };
            let (answer, seen) = (Arc::clone(&answer), seen.clone());
            std::thread::spawn(move || {
                let blocking = stream.set_nonblocking(false);
                if let (Ok(()), Some(mut asked)) = (blocking, read(&stream)) {
                    let place = seen.push(&mut asked);
                    answer(&asked, (&seen, place), &mut stream);
                }
            });
        }
    });
    is_ready.recv().unwrap().unwrap();
    Server { log, ends, thread: Some(thread) }
}

/// Reads a request; `None` when it is none, as a TLS hello.
fn read(stream: &TcpStream) -> Option<Asked> {
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let line = line(&mut reader)?;
    let mut words = line.split(' ');
    let method = words.next()?.to_owned();
    let path = words.next()?.to_owned();
    let headers = headers(&mut reader)?;
    let length = headers.get("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Asked { method, path, headers, body, nth: 0, served: 0 })
}

fn line(reader: &mut impl BufRead) -> Option<String> {
    let mut line = Vec::new();
    reader.take(64 << 10).read_until(b'\n', &mut line).ok()?;
    Some(String::from_utf8(line).ok()?.trim_end().to_owned())
}

/// Reads headers up to the empty line after them.
pub(crate) fn headers(reader: &mut impl BufRead) -> Option<BTreeMap<String, String>> {
    let mut headers = BTreeMap::new();
    loop {
        let line = line(reader)?;
        let Some((name, value)) = line.split_once(':') else { return Some(headers) };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
}
