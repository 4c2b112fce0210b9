//! A container's standard streams, as its monitor holds them.
//!
//! Output goes through FIFOs in the run folder, which the container has open for reading and
//! writing: while there is no monitor nothing is lost and no writer gets a SIGPIPE; the next
//! monitor opens them by name. (A container that ends before it comes takes what it wrote since
//! with it: a FIFO forgets with its last opener.) A terminal has no name, so it ends with its
//! monitor.

mod hooks;
mod input;
#[cfg(test)]
mod tests;

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use rustix::event::PollFlags;
use rustix::fs::OFlags;
use rustix::termios::{Winsize, tcsetwinsize};

use super::pattern::Pattern;
use super::poll::{PollSet, Token};
use super::server::Server;
use crate::bundle::{Bundle, Log};
use crate::container::Stdio;
use crate::logs::{self, Forward, LogQuery, Stream, Writer};

/// The FIFOs, by name in the run folder.
const FIFOS: [(&str, Stream); 2] = [("out", Stream::Stdout), ("err", Stream::Stderr)];
/// The FIFO of an input that is kept open.
const INPUT: &str = "in";
/// The FIFO that hooks write to.
const HOOKS: &str = "hooks";
/// Bytes a FIFO holds.
const CAPACITY: usize = 256 * 1024;
/// Bytes read at once when there is much.
const LARGE: usize = 256 * 1024;
/// Bytes read from one source before others get their turn.
const TURN: usize = 4 * 1024 * 1024;
/// A turn with fewer bytes, soon after the one before, is followed by a pause: then many small
/// writes cost one wake-up together.
const SMALL: usize = 32 * 1024;
const SOON: Duration = Duration::from_millis(4);
const PAUSE: Duration = Duration::from_millis(2);
/// The beginning of a line is written to the log after so long, whole or not.
const HOLD: Duration = Duration::from_millis(200);
/// How long the last lines of a container may take to where they go besides the log.
const FAREWELL: Duration = Duration::from_secs(2);
/// Bytes that may wait for the container to read its input.
const INPUT_WAITING: usize = 64 * 1024;

/// The container's standard streams.
pub(super) struct Output {
    run_dir: PathBuf,
    tty: bool,
    stdin_open: bool,
    sources: Vec<(Stream, File)>,
    writer: Writer,
    input: Option<File>,
    typed: Vec<u8>,
    /// The input ends after what was typed.
    input_ends: bool,
    /// The first client is waited for until then, before anything is read.
    gate: Option<Instant>,
    pause: Option<Instant>,
    last_turn: Option<Instant>,
    release: Option<Instant>,
    /// A line that is looked for in the output, until it is found.
    pattern: Option<Pattern>,
    /// It was found.
    seen: bool,
    /// What hooks write.
    hooks: Option<File>,
}

impl Output {
    /// Opens log and FIFOs, which are made where they are missing.
    ///
    /// # Errors
    /// What the host answers, or that something else is in a FIFO's place.
    pub(super) fn open(bundle: &Bundle) -> io::Result<Output> {
        let mut sources = Vec::new();
        if !bundle.tty {
            for (name, stream) in FIFOS {
                let fifo = open_fifo(&bundle.run_dir.join(name), libc::O_NONBLOCK)?;
                // A smaller one works as well: the limit of the user may be reached.
                let _ = rustix::pipe::fcntl_setpipe_size(&fifo, CAPACITY);
                sources.push((stream, fifo));
            }
        }
        Ok(Output {
            run_dir: bundle.run_dir.clone(),
            tty: bundle.tty,
            stdin_open: bundle.stdin_open,
            sources,
            writer: Writer::open(&bundle.state_dir.join("logs"), &bundle.log)?
                .forwarding(bundle.forward.as_ref().map(Forward::new)),
            input: None,
            typed: Vec::new(),
            input_ends: false,
            gate: None,
            pause: None,
            last_turn: None,
            release: None,
            pattern: None,
            seen: false,
            hooks: None,
        })
    }

    /// Keeps the log otherwise from now on. Whether there is one stays as it is.
    pub(super) fn keep_log(&mut self, log: &Log) {
        self.writer.keep(log);
    }

    /// Looks for a line from now on, in place of any other.
    pub(super) fn look_for(&mut self, pattern: Option<Pattern>) {
        self.pattern = pattern;
        self.seen = false;
    }

    /// The same, for a line that may have been written since the start of the container: what its
    /// monitor has heard and could not tell any more is in the log.
    pub(super) fn look_for_since(&mut self, pattern: Option<Pattern>, started_ms: i64) {
        self.look_for(pattern);
        let query =
            LogQuery { since: Timestamp::from_millisecond(started_ms).ok(), ..LogQuery::default() };
        let Some(pattern) = &mut self.pattern else { return };
        // What cannot be read has to be said anew.
        let lines =
            logs::read(self.writer.dir(), &query).into_iter().flatten().map_while(Result::ok);
        for line in lines {
            let end: &[u8] = if line.partial { b"" } else { b"\n" };
            if pattern.feed(line.stream, &line.text) || pattern.feed(line.stream, end) {
                self.seen = true;
                break;
            }
        }
        // The beginning of a line is in the log when it has waited.
        self.seen |= pattern.pause();
        self.pattern.take_if(|_| self.seen);
    }

    /// Whether that line was written.
    pub(super) fn has_seen(&self) -> bool {
        self.seen
    }

    /// Reads nothing before a client has attached or `until` has come.
    pub(super) fn wait_for_client(&mut self, until: Instant) {
        self.gate = Some(until);
    }

    /// A client has attached.
    pub(super) fn open_gate(&mut self) {
        self.gate = None;
    }

    /// Whether output is not read yet, and until when at most.
    pub(super) fn gate(&self) -> Option<Instant> {
        self.gate
    }

    /// The streams for a process that is about to start.
    ///
    /// # Errors
    /// What the host answers.
    pub(super) fn streams(&mut self) -> io::Result<Streams> {
        if self.tty {
            return Ok(Streams::Terminal);
        }
        let stdin = match self.stdin_open {
            true => self.open_input()?,
            false => File::open("/dev/null")?,
        };
        let [stdout, stderr] = FIFOS.map(|(name, _)| open_fifo(&self.run_dir.join(name), 0));
        Ok(Streams::Files { stdin, stdout: stdout?, stderr: stderr? })
    }

    /// Takes the master of the terminal of a process that has started.
    ///
    /// # Errors
    /// What the host answers.
    pub(super) fn take_terminal(&mut self, master: OwnedFd) -> io::Result<()> {
        let flags = rustix::fs::fcntl_getfl(&master)? | OFlags::NONBLOCK;
        rustix::fs::fcntl_setfl(&master, flags)?;
        let master = File::from(master);
        self.input = Some(master.try_clone()?);
        self.input_ends = false;
        self.typed.clear();
        self.sources = vec![(Stream::Stdout, master)];
        Ok(())
    }

    /// Sets the size of the terminal.
    ///
    /// # Errors
    /// There is none, or the kernel refuses.
    pub(super) fn resize(&self, rows: u16, columns: u16) -> Result<(), String> {
        let Some((_, master)) = self.sources.first().filter(|_| self.tty) else {
            return Err("the container has no terminal".to_owned());
        };
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(master, size).map_err(|e| format!("resize the terminal: {e}"))
    }

    /// Adds what to wait for. Output is left where it is while `behind`.
    pub(super) fn poll<'a>(&'a self, set: &mut PollSet<'a>, behind: bool, now: Instant) {
        set.until(self.release);
        if let Some(hooks) = self.hooks.as_ref().filter(|_| !self.writer.holds_back()) {
            set.read(Token::HookOutput, hooks);
        }
        let (socket, again) = self.writer.poll();
        set.until(again);
        if let Some((socket, flags)) = socket {
            set.add_borrowed(Token::Forward, socket, flags);
        }
        if let Some(input) = self.input.as_ref().filter(|_| !self.typed.is_empty()) {
            set.add(Token::Input, input, PollFlags::OUT);
        }
        let held = [self.gate, self.pause].into_iter().flatten().find(|until| *until > now);
        if held.is_some() {
            set.until(held);
        } else if !behind && !self.writer.holds_back() {
            for (index, (_, source)) in self.sources.iter().enumerate() {
                set.read(Token::Output(index), source);
            }
        }
    }

    /// Reads what there is from a source, into the log and to attached clients.
    pub(super) fn read(&mut self, index: usize, server: &mut Server, now: Instant) {
        let taken = self.read_some(index, server, false);
        let soon = self.last_turn.is_some_and(|last| now < last + SOON);
        self.pause = (soon && taken < SMALL).then(|| now + PAUSE);
        self.last_turn = Some(now);
        let holds = self.writer.holds() || self.pattern.as_ref().is_some_and(Pattern::holds);
        if !holds {
            self.release = None;
        } else if self.release.is_none() {
            self.release = Some(now + HOLD);
        }
    }

    /// Writes the beginning of a line that has waited long enough for its end.
    pub(super) fn tick(&mut self, now: Instant) {
        if self.release.is_some_and(|at| at <= now) && self.writer.holds_back() {
            // Its end may be what is not read yet.
            self.release = Some(now + HOLD);
        } else if self.release.is_some_and(|at| at <= now) {
            self.release = None;
            self.writer.release(Timestamp::now());
            self.seen |= self.pattern.as_ref().is_some_and(Pattern::pause);
        }
        self.writer.forward_tick(now);
        if self.gate.is_some_and(|at| at <= now) {
            self.gate = None;
        }
    }

    /// There is news from where lines go besides the log.
    pub(super) fn forward(&mut self) {
        let held = self.writer.holds_back();
        self.writer.forward_news();
        if held && self.release.is_some() {
            // The end of that line is read now.
            self.release = Some(Instant::now() + HOLD);
        }
    }

    /// Sends the last lines on, for a moment at most.
    pub(super) fn finish(&mut self) {
        self.writer.finish(Instant::now() + FAREWELL);
    }

    /// Reads all that is left of a process that has ended.
    pub(super) fn drain(&mut self, server: &mut Server) {
        for index in (0..self.sources.len()).rev() {
            while self.read_some(index, server, true) >= TURN {}
        }
        self.writer.release(Timestamp::now());
        self.release = None;
        self.input = None;
        self.typed = Vec::new();
        if self.tty {
            self.sources.clear();
        }
    }

    /// Reads until there is nothing more, or it is another's turn. What must not wait is `all` read.
    fn read_some(&mut self, index: usize, server: &mut Server, all: bool) -> usize {
        let Some((stream, source)) = self.sources.get_mut(index) else { return 0 };
        let mut small = [0; 4096];
        // Memory for much output is held only while there is much.
        let mut large = Vec::new();
        let mut taken = 0;
        while taken < TURN {
            let buffer = if large.is_empty() { &mut small[..] } else { &mut large[..] };
            match source.read(buffer) {
                Ok(0) => break,
                Ok(n) => {
                    self.writer.write(*stream, &buffer[..n], Timestamp::now());
                    if self.pattern.as_mut().is_some_and(|p| p.feed(*stream, &buffer[..n])) {
                        self.pattern = None;
                        self.seen = true;
                    }
                    server.output(*stream, &buffer[..n]);
                    taken += n;
                    if !all && self.writer.holds_back() {
                        break;
                    }
                    if large.is_empty() && n == small.len() {
                        large = vec![0; LARGE];
                    }
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock => break,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                // A terminal that nobody has open any more.
                Err(_) => {
                    self.sources.remove(index);
                    break;
                }
            }
        }
        taken
    }

    /// Removes the FIFOs of a container that has ended.
    pub(super) fn remove(run_dir: &Path) {
        for name in FIFOS.map(|(name, _)| name).into_iter().chain([INPUT, HOOKS]) {
            // The folder goes with the container; nobody depends on these.
            let _ = fs::remove_file(run_dir.join(name));
        }
    }
}

/// Standard streams of a process to be started, owned.
pub(super) enum Streams {
    /// A terminal.
    Terminal,
    /// Files.
    Files {
        /// Standard input.
        stdin: File,
        /// Standard output.
        stdout: File,
        /// Standard error.
        stderr: File,
    },
}

impl Streams {
    /// As the container room takes them.
    pub(super) fn lend(&self) -> Stdio<'_> {
        match self {
            Streams::Terminal => Stdio::Terminal,
            Streams::Files { stdin, stdout, stderr } => Stdio::Files {
                stdin: stdin.as_fd(),
                stdout: stdout.as_fd(),
                stderr: stderr.as_fd(),
            },
        }
    }
}

/// Opens a FIFO both ways, making it when it is missing.
fn open_fifo(path: &Path, flags: i32) -> io::Result<File> {
    match mkfifo(path, Mode::from_bits_truncate(0o600)) {
        Ok(()) | Err(nix::errno::Errno::EEXIST) => {}
        Err(e) => return Err(e.into()),
    }
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(flags | libc::O_NOFOLLOW)
        .open(path)?;
    if file.metadata()?.file_type().is_fifo() {
        Ok(file)
    } else {
        Err(io::Error::other(format!("{} is not a FIFO", path.display())))
    }
}
