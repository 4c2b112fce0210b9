//! Running something on a machine, always with an end.

use std::io::Read;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::machine::children;

/// How long any command may take.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// A command that runs.
#[derive(Debug)]
pub struct Running {
    what: String,
    child: Child,
    stdout: Stream,
    stderr: Stream,
}

/// A command that ended.
#[derive(Debug, Clone)]
pub struct Finished {
    /// The command, for messages.
    pub what: String,
    /// Its exit status, 128 + n for signal n.
    pub code: i32,
    /// What it printed.
    pub stdout: String,
    /// What it complained about.
    pub stderr: String,
}

/// One of its outputs, read as it comes.
#[derive(Debug)]
struct Stream {
    text: Arc<Mutex<Vec<u8>>>,
    ended: Receiver<()>,
}

impl Running {
    /// Starts `command`, known as `what` in messages.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start(what: &str, mut command: Command) -> Running {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|e| panic!("`{what}`: {e}"));
        let stdout = Stream::of(child.stdout.take().expect("piped"));
        let stderr = Stream::of(child.stderr.take().expect("piped"));
        Running { what: what.to_owned(), child, stdout, stderr }
    }

    /// Process id of the command itself, as the real host counts.
    ///
    /// # Panics
    /// When it has ended.
    pub fn pid(&self) -> i32 {
        let end = Instant::now() + Duration::from_secs(5);
        loop {
            // `nsenter` forks once, to get into the pid namespace.
            if let Some(pid) = children(self.child.id() as i32).first() {
                return *pid;
            }
            assert!(Instant::now() < end, "`{}` has ended\n{}", self.what, self.said());
            sleep(Duration::from_millis(2));
        }
    }

    /// The same, if it has begun and not ended.
    pub fn running(&self) -> Option<i32> {
        children(self.child.id() as i32).first().copied()
    }

    /// Sends a signal to the command itself.
    ///
    /// # Panics
    /// When it has ended.
    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid()), signal).expect("a signal to a running command");
    }

    /// Waits until it has printed `text`, on either output.
    ///
    /// # Panics
    /// When it does not within the deadline.
    pub fn prints(&self, text: &str) -> &Running {
        let end = Instant::now() + DEADLINE;
        while !self.said().contains(text) {
            assert!(Instant::now() < end, "`{}` never said {text:?}\n{}", self.what, self.said());
            sleep(Duration::from_millis(5));
        }
        self
    }

    /// What it has printed so far, on both outputs.
    pub fn said(&self) -> String {
        format!("{}{}", self.stdout.text(), self.stderr.text())
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When that does not come within the deadline, or when its end leaves someone with its
    /// output open.
    pub fn ends(mut self) -> Finished {
        let end = Instant::now() + DEADLINE;
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("own child") {
                break status;
            }
            if Instant::now() > end {
                let _ = self.child.kill();
                panic!("`{}` did not end within {DEADLINE:?}\n{}", self.what, self.said());
            }
            sleep(Duration::from_millis(1));
        };
        for stream in [&self.stdout, &self.stderr] {
            let closed = stream.ended.recv_timeout(Duration::from_secs(5));
            assert!(closed.is_ok(), "`{}` ended, and someone holds its output open", self.what);
        }
        let (stdout, stderr) = (self.stdout.text(), self.stderr.text());
        Finished { what: self.what, code: code(status), stdout, stderr }
    }
}

impl Stream {
    fn of(mut pipe: impl Read + Send + 'static) -> Stream {
        let text = Arc::new(Mutex::new(Vec::new()));
        let (tell, ended) = channel();
        let into = Arc::clone(&text);
        std::thread::spawn(move || {
            let mut buffer = [0; 16 << 10];
            while let Ok(n @ 1..) = pipe.read(&mut buffer) {
                into.lock().expect("no panic with the lock").extend_from_slice(&buffer[..n]);
            }
            let _ = tell.send(());
        });
        Stream { text, ended }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.text.lock().expect("no panic with the lock")).into_owned()
    }
}

fn code(status: ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt;
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
}

impl Finished {
    /// It ended with status 0.
    ///
    /// # Panics
    /// When it did not.
    #[track_caller]
    pub fn succeeds(self) -> Finished {
        self.fails_with(0)
    }

    /// It ended with status `code`.
    ///
    /// # Panics
    /// When it did not.
    #[track_caller]
    pub fn fails_with(self, code: i32) -> Finished {
        assert_eq!(self.code, code, "exit status of {self}");
        self
    }

    /// It printed `text`.
    ///
    /// # Panics
    /// When it did not.
    #[track_caller]
    pub fn stdout_has(self, text: &str) -> Finished {
        assert!(self.stdout.contains(text), "no {text:?} in the output of {self}");
        self
    }

    /// It did not print `text`.
    ///
    /// # Panics
    /// When it did.
    #[track_caller]
    pub fn stdout_lacks(self, text: &str) -> Finished {
        assert!(!self.stdout.contains(text), "{text:?} in the output of {self}");
        self
    }

    /// It complained with `text`.
    ///
    /// # Panics
    /// When it did not.
    #[track_caller]
    pub fn stderr_has(self, text: &str) -> Finished {
        assert!(self.stderr.contains(text), "no {text:?} in the complaint of {self}");
        self
    }

    /// All it printed was `text`, space around it aside.
    ///
    /// # Panics
    /// When it was not.
    #[track_caller]
    pub fn stdout_is(self, text: &str) -> Finished {
        assert_eq!(self.stdout.trim(), text.trim(), "output of {self}");
        self
    }

    /// Its output as JSON.
    ///
    /// # Panics
    /// When it is none.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|e| panic!("no JSON, {e}: {self}"))
    }
}

impl std::fmt::Display for Finished {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Finished { what, code, stdout, stderr } = self;
        write!(f, "`{what}` (status {code})\n--- stdout\n{stdout}\n--- stderr\n{stderr}\n---")
    }
}
