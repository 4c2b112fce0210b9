//! Running the program of the host that is the runtime.

use std::ffi::CString;
use std::fs;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use rustix::process::{
    Pid, Signal, WaitOptions, getpid, getppid, set_parent_process_death_signal, waitpid,
};

use super::super::channel::{Channel, Packet};
use super::super::error::{Context, SetupError};
use super::super::lost;
use super::super::process::{DEFAULT_PATH, Stdio};
use super::{Places, null, stage};
use crate::bundle::OciRuntime;
use crate::sys::{self, Cloned};

/// How long one word to the runtime may take, with what is prepared for it.
const PATIENCE: Duration = Duration::from_secs(60);
/// Seconds in which what was killed has to end.
const END: i64 = 2;
/// Seconds in which a terminal that it has made has to arrive.
const ARRIVAL: i64 = 10;
/// Bytes read of what it says went wrong.
const MOST: usize = 64 * 1024;

/// The runtime of one container.
pub(super) struct Program<'a> {
    pub(super) runtime: &'a OciRuntime,
    pub(super) places: &'a Places,
    pub(super) id: &'a str,
    /// The v2 tree beside v1 hierarchies, of which some runtimes must not see a controller.
    pub(super) hidden: Option<PathBuf>,
}

/// What is prepared in the runtime's mount namespace: descriptors for the parent.
type Prepare<'a> = &'a dyn Fn() -> Result<Vec<OwnedFd>, SetupError>;

impl Program<'_> {
    /// Makes the container out of what `build` has put together in its mount namespace: what
    /// `build` gives, the root and the socket for a terminal.
    pub(super) fn create(
        &self,
        stdio: Stdio<'_>,
        build: Prepare<'_>,
    ) -> Result<(OwnedFd, Option<OwnedFd>), SetupError> {
        let path = |path: PathBuf| path.display().to_string();
        let mut words = vec!["create".to_owned()];
        words.extend(["--bundle".to_owned(), path(self.places.folder.clone())]);
        words.extend(["--pid-file".to_owned(), path(self.places.pid_file())]);
        if matches!(stdio, Stdio::Terminal) {
            words.extend(["--console-socket".to_owned(), path(self.places.console())]);
        }
        let mut given = self.execute(&words, Some(stdio), build)?.into_iter();
        let missing = || SetupError::refused("make container", self.id, "it has no root");
        Ok((given.next().ok_or_else(missing)?, given.next()))
    }

    /// Says one word about the container: `start`, `delete`.
    pub(super) fn run(&self, words: &[&str]) -> Result<(), SetupError> {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        self.execute(&words, None, &|| Ok(Vec::new())).map(drop)
    }

    fn execute(
        &self,
        words: &[String],
        stdio: Option<Stdio<'_>>,
        prepare: Prepare<'_>,
    ) -> Result<Vec<OwnedFd>, SetupError> {
        let step = format!("`{}`", words.first().map_or("", String::as_str));
        let step = format!("{step} by runtime");
        let argv = self.argv(words)?;
        // What an earlier word left there is not what went wrong now.
        let _ = fs::remove_file(self.places.log());
        let (ours, theirs) = Channel::pair().step(&step, self.id)?;
        let (monitor, until) = (getpid(), Instant::now() + PATIENCE);
        let (pid, pidfd) = match sys::clone_process(libc::CLONE_NEWNS, None).step(&step, self.id)? {
            Cloned::Child => {
                drop(ours);
                let error = die_with(monitor)
                    .err()
                    .unwrap_or_else(|| self.become_runtime(&argv, stdio, prepare, &theirs));
                let _ = theirs.send_failure(&error);
                sys::exit_now(125)
            }
            Cloned::Parent { pid, pidfd } => (pid, pidfd),
        };
        drop(theirs);
        let prepared = follow(&ours, until, &step, self.id);
        let left = until.saturating_duration_since(Instant::now()).as_secs();
        let left = i64::try_from(left).unwrap_or(END);
        if prepared.is_err() || wait(pidfd.as_fd(), left) != Ok(true) {
            let _ = sys::kill(pid, libc::SIGKILL);
        }
        let code = status(pid, pidfd).step(&step, self.id)?;
        let prepared = prepared?;
        if code == Some(0) { Ok(prepared) } else { Err(self.failure(&step, code)) }
    }

    fn argv(&self, words: &[String]) -> Result<Vec<CString>, SetupError> {
        let (state, log) = (self.places.state(), self.places.log());
        let mut all: Vec<&[u8]> = vec![self.runtime.program.as_os_str().as_bytes()];
        all.extend([b"--root".as_slice(), state.as_os_str().as_bytes()]);
        all.extend([b"--log".as_slice(), log.as_os_str().as_bytes()]);
        all.extend([b"--log-format".as_slice(), b"json"]);
        all.extend(words.iter().map(String::as_bytes));
        all.push(self.id.as_bytes());
        let all = all.into_iter().map(CString::new).collect::<Result<_, _>>();
        all.map_err(io::Error::from).step("run", self.runtime.program.display())
    }

    /// The new process, until it is the runtime. Returns only why not.
    fn become_runtime(
        &self,
        argv: &[CString],
        stdio: Option<Stdio<'_>>,
        prepare: Prepare<'_>,
        channel: &Channel,
    ) -> SetupError {
        let prepared = stage::separate()
            .and_then(|()| prepare())
            .and_then(|fds| channel.send_fds(&fds).step("report", "parent"))
            .and_then(|()| self.hidden.as_deref().map_or(Ok(()), stage::hide))
            .and_then(|()| take_streams(stdio))
            .and_then(|()| become_plain(channel));
        if let Err(error) = prepared {
            return error;
        }
        let Some(program) = argv.first() else {
            return SetupError::refused("run", "runtime", "it has no name");
        };
        let path = CString::new(format!("PATH={DEFAULT_PATH}")).unwrap_or_default();
        let error = sys::execve(program, argv, &[path]);
        SetupError::kernel("run", self.runtime.program.display(), &error)
    }

    /// What the runtime says went wrong.
    fn failure(&self, step: &str, code: Option<i32>) -> SetupError {
        let reason = said(&self.places.log()).unwrap_or_else(|| match code {
            Some(code) => format!("it ended with status {code} and said nothing"),
            None => format!("it was killed, or took longer than {} seconds", PATIENCE.as_secs()),
        });
        let exit_code = exit_code(&reason);
        let program = self.runtime.program.display();
        SetupError { exit_code, ..SetupError::refused(step, program, reason) }
    }
}

/// The new process ends with the monitor: a container that it finished later would be nobody's.
fn die_with(monitor: Pid) -> Result<(), SetupError> {
    set_parent_process_death_signal(Some(Signal::KILL)).step("follow", "monitor")?;
    match getppid() == Some(monitor) {
        true => Ok(()),
        false => Err(SetupError::refused("follow", "monitor", "it has ended")),
    }
}

/// The exit status of a process that has ended or was killed; `None` after a signal.
fn status(pid: i32, pidfd: OwnedFd) -> Result<Option<i32>, Errno> {
    if wait(pidfd.as_fd(), END)? {
        let ended = waitpid(Pid::from_raw(pid), WaitOptions::empty())?;
        return Ok(ended.and_then(|(_, status)| status.exit_status()));
    }
    // It hangs in the kernel.
    lost::remember(pidfd);
    Ok(None)
}

/// What the new process prepared, when it has become the runtime.
fn follow(
    channel: &Channel,
    until: Instant,
    step: &str,
    id: &str,
) -> Result<Vec<OwnedFd>, SetupError> {
    let mut prepared = Vec::new();
    loop {
        match channel.receive_until(until).step(step, id)? {
            Packet::Fds(fds, _) => prepared.extend(fds),
            Packet::Failed(error) => return Err(error),
            Packet::Closed => return Ok(prepared),
            Packet::Network
            | Packet::Entered
            | Packet::Mounted
            | Packet::Terminal(_)
            | Packet::Executing => {}
        }
    }
}

/// The streams of `create` are those of the container.
fn take_streams(stdio: Option<Stdio<'_>>) -> Result<(), SetupError> {
    let null = null()?;
    let [stdin, stdout, stderr] = match stdio {
        Some(Stdio::Files { stdin, stdout, stderr }) => [stdin, stdout, stderr],
        Some(Stdio::Terminal) | None => [null.as_fd(); 3],
    };
    let copy = |fd: BorrowedFd<'_>| sys::dup_above_stdio(fd).step("open", "stdio");
    let fds = [copy(stdin)?, copy(stdout)?, copy(stderr)?];
    rustix::stdio::dup2_stdin(&fds[0]).step("open", "stdin")?;
    rustix::stdio::dup2_stdout(&fds[1]).step("open", "stdout")?;
    rustix::stdio::dup2_stderr(&fds[2]).step("open", "stderr")
}

/// Nothing of what a monitor is to the kernel goes on to the container. The channel closes as the
/// runtime begins.
fn become_plain(channel: &Channel) -> Result<(), SetupError> {
    sys::reset_signals();
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    rustix::process::chdir("/").step("enter", "/")?;
    // The monitor is the last to go when memory is short. Raising it is always allowed.
    fs::write("/proc/self/oom_score_adj", "0").step("write", "/proc/self/oom_score_adj")?;
    sys::close_from_except(3, channel.as_fd()).step("close descriptors", "3…")
}

/// Waits so many seconds for a descriptor to have something: whether it has.
fn wait(fd: BorrowedFd<'_>, seconds: i64) -> Result<bool, Errno> {
    let mut fds = [PollFd::from_borrowed_fd(fd, PollFlags::IN)];
    let time = Timespec { tv_sec: seconds, tv_nsec: 0 };
    loop {
        match poll(&mut fds, Some(&time)) {
            Err(Errno::INTR) => {}
            ready => return Ok(ready? > 0),
        }
    }
}

/// Waits for something to read.
pub(super) fn wait_readable(fd: BorrowedFd<'_>) -> Result<(), Errno> {
    if wait(fd, ARRIVAL)? { Ok(()) } else { Err(Errno::TIMEDOUT) }
}

/// The descriptor that comes with a message.
pub(super) fn receive_fd(socket: &OwnedFd) -> Result<OwnedFd, Errno> {
    let mut load = [0; 4096];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut into = [io::IoSliceMut::new(&mut load)];
    recvmsg(socket, &mut into, &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let fd = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
        _ => None,
    });
    fd.ok_or(Errno::BADF)
}

/// The last line of a runtime's log that tells of an error.
fn said(log: &Path) -> Option<String> {
    let text = fs::read(log).ok()?;
    let text = String::from_utf8_lossy(text.get(..text.len().min(MOST)).unwrap_or_default());
    let message = |line: &str| {
        let line: serde_json::Value = serde_json::from_str(line).ok()?;
        let level = line.get("level").and_then(serde_json::Value::as_str).unwrap_or("error");
        let message = line.get("msg")?.as_str()?.trim().to_owned();
        (!message.is_empty() && !["debug", "info", "warning"].contains(&level)).then_some(message)
    };
    let plain = |message: String| message.replace(char::is_control, " ");
    text.lines().filter_map(message).next_back().map(plain)
}

/// As a shell has it: 127 for a program that is not there, 126 for one that cannot be executed.
///
/// A runtime tells it in words alone; this is how Docker reads them.
fn exit_code(reason: &str) -> i32 {
    let reason = reason.to_lowercase();
    let of_program = reason.contains("exec");
    if of_program && (reason.contains("not found") || reason.contains("no such file")) {
        127
    } else if of_program && (reason.contains("permission denied") || reason.contains("format")) {
        126
    } else {
        125
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_cannot_be_run_is_told_by_the_words_of_the_runtimes() {
        let not_found = [
            "executable file `nothing` not found in $PATH: No such file or directory",
            "exec: \"nothing\": executable file not found in $PATH",
            "exec: \"/nothing\": stat /nothing: no such file or directory",
        ];
        assert_eq!(not_found.map(exit_code), [127; 3]);
        assert_eq!(exit_code("exec: \"/etc/passwd\": permission denied"), 126);
        assert_eq!(exit_code("mount `/x` to `/y`: No such file or directory"), 125);
    }

    #[test]
    fn the_last_error_of_a_log_is_what_went_wrong() {
        let path = std::env::temp_dir().join(format!("berth-oci-log-{}", std::process::id()));
        let text = "{\"msg\":\"first\",\"level\":\"error\",\"time\":\"x\"}\n\
                    {\"msg\":\"two\\u001b[31m\",\"level\":\"error\"}\nnonsense\n\
                    {\"msg\":\"later\",\"level\":\"warning\"}\n";
        fs::write(&path, text).unwrap();
        let found = said(&path);
        fs::remove_file(&path).unwrap();
        assert_eq!(found.as_deref(), Some("two [31m"));
        assert_eq!(said(&path), None);
    }
}
