//! The process that monitors are forked from.
//!
//! A command is big and has many threads, so it never forks. It re-executes its own program once
//! as a starter: small, single-threaded, without the command's terminal and descriptors. The
//! starter forks a monitor for each request and ends when the command does; the monitors, which
//! share its memory, live on.
//!
//! The program is executed through a mount of its own that is read-only (or, where that cannot
//! be, from a sealed copy in memory): what runs in a container can reach the file behind
//! `/proc/PID/exe` of a process that starts it, and must not be able to write to it
//! (CVE-2019-5736).

use std::borrow::Cow;
use std::ffi::{CStr, OsStr};
use std::fs::{self, File, OpenOptions};
use std::io::{self, IoSlice, IoSliceMut, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::fs::{MemfdFlags, Mode as FileMode, SealFlags, fcntl_add_seals, memfd_create};
use rustix::mount::{OpenTreeFlags, open_tree};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
    sockopt,
};
use tokio::io::{AsyncReadExt, Interest};
use tokio::net::UnixStream;

use crate::bundle::Status;
use crate::container::SetupError;
use crate::container::cgroup::Quarters;
use crate::monitor::{self, Mode, StartFailure};
use crate::paths::Roots;
use crate::sabotage::{self, defence, without};
use crate::sys::{self, MountAttr};

/// The hidden word that makes the program a starter.
pub const WORD: &str = "starter";
/// What the program is called in a list of processes, by whatever descriptor it was started; the
/// command line says what it does.
pub(crate) const NAME: &CStr = c"berth";
/// Bytes of a starter's command line that are there for the names of its monitors.
const ROOM: usize = 128;
/// Bytes of the longest request: a letter and a path.
const REQUEST: usize = 1 + libc::PATH_MAX as usize;
/// Blocks of memory of so many bytes are given back to the kernel when a monitor frees them.
const LARGE: i32 = 64 * 1024;
/// A monitor is the last to go when memory is short.
const OOM_SCORE_ADJ: &str = "-999";

/// A running starter. It ends when this is dropped.
#[derive(Debug)]
pub struct Starter {
    /// `None` only while it is dropped.
    socket: Option<UnixStream>,
    process: Child,
}

impl Starter {
    /// Starts one for the containers below `roots`.
    ///
    /// # Errors
    /// What the host answers.
    pub fn spawn(roots: &Roots) -> io::Result<Starter> {
        let program = sealed_program()?;
        let (ours, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        let process = Command::new(format!("/proc/self/fd/{}", program.as_raw_fd()))
            .arg0("berth")
            .arg(WORD)
            .arg(&roots.run)
            .arg(roots.cgroups())
            .arg(" ".repeat(ROOM))
            .env_clear()
            .envs(sabotage::passed_on())
            .current_dir("/")
            .stdin(theirs)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let ours = std::os::unix::net::UnixStream::from(ours);
        ours.set_nonblocking(true)?;
        Ok(Starter { socket: Some(UnixStream::from_std(ours)?), process })
    }

    /// Starts the container of this run folder under a new monitor.
    ///
    /// # Errors
    /// [`StartFailure`]; then nothing of it runs.
    pub async fn start(&self, run_dir: &Path) -> Result<Status, StartFailure> {
        self.request(Mode::Start, run_dir).await
    }

    /// Gives the container of this run folder, whose monitor was killed, a new one.
    ///
    /// # Errors
    /// [`StartFailure`]; then it is as it was.
    pub async fn adopt(&self, run_dir: &Path) -> Result<Status, StartFailure> {
        self.request(Mode::Adopt, run_dir).await
    }

    async fn request(&self, mode: Mode, run_dir: &Path) -> Result<Status, StartFailure> {
        let failed =
            |message| StartFailure::new("ask for a monitor of", run_dir.display(), message);
        let answer = self.ask(mode, run_dir).await.map_err(|e| failed(e.to_string()))?;
        if answer.is_empty() {
            return Err(failed("it ended without an answer".to_owned()));
        }
        serde_json::from_slice::<Result<Status, StartFailure>>(&answer)
            .map_err(|e| failed(e.to_string()))?
    }

    async fn ask(&self, mode: Mode, run_dir: &Path) -> io::Result<Vec<u8>> {
        let socket = self.socket.as_ref().ok_or(io::ErrorKind::NotConnected)?;
        let (mut ours, theirs) = UnixStream::pair()?;
        let theirs = theirs.into_std()?;
        theirs.set_nonblocking(false)?;
        let letter = [letter(mode)];
        let packet = [IoSlice::new(&letter), IoSlice::new(run_dir.as_os_str().as_bytes())];
        socket
            .async_io(Interest::WRITABLE, || {
                let fds = [theirs.as_fd()];
                let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
                let mut control = SendAncillaryBuffer::new(&mut space);
                control.push(SendAncillaryMessage::ScmRights(&fds));
                Ok(sendmsg(socket, &packet, &mut control, SendFlags::NOSIGNAL)?)
            })
            .await?;
        drop(theirs);
        let mut answer = Vec::new();
        ours.read_to_end(&mut answer).await?;
        Ok(answer)
    }
}

impl Drop for Starter {
    /// The end of the socket ends the starter; it is reaped here.
    fn drop(&mut self) {
        self.socket = None;
        // It only fails when somebody else has reaped it.
        let _ = self.process.wait();
    }
}

fn letter(mode: Mode) -> u8 {
    match mode {
        Mode::Start => b'S',
        Mode::Adopt => b'A',
    }
}

/// Goes on as the same program with the same words, executed from where nobody can write to it.
///
/// For a command that becomes a process in a container itself, before it does anything. Returns
/// when it is executed from there already.
///
/// # Errors
/// What the host answers.
pub fn become_sealed() -> io::Result<()> {
    without!("program.sealed", return Ok(()));
    if is_sealed(&File::open("/proc/self/exe")?)? {
        // Only how it is called in a list of processes.
        return Ok(rustix::thread::set_name(NAME)?);
    }
    let program = sealed_program()?;
    let mut words = std::env::args_os();
    let mut command = Command::new(format!("/proc/self/fd/{}", program.as_raw_fd()));
    command.arg0(words.next().unwrap_or_else(|| "berth".into())).args(words);
    Err(command.exec())
}

/// Lies on a read-only mount, or is a sealed copy.
fn is_sealed(program: &File) -> io::Result<bool> {
    let flags = rustix::fs::fstatvfs(program)?.f_flag;
    let seals = rustix::fs::fcntl_get_seals(program).unwrap_or(SealFlags::empty());
    Ok(flags.contains(rustix::fs::StatVfsMountFlags::RDONLY) || seals.contains(SealFlags::WRITE))
}

/// Our own program as a file that nobody can write to.
pub(crate) fn sealed_program() -> io::Result<OwnedFd> {
    defence!(
        "program.sealed",
        read_only_mount().or_else(|_| sealed_copy()),
        File::open("/proc/self/exe").map(OwnedFd::from)
    )
}

fn read_only_mount() -> io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let tree = open_tree(rustix::fs::CWD, "/proc/self/exe", flags)?;
    let set = libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV;
    sys::mount_setattr(tree.as_fd(), &MountAttr { set, ..MountAttr::default() })?;
    Ok(tree)
}

fn sealed_copy() -> io::Result<OwnedFd> {
    let copy = memfd_create("berth", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    let mut copy = File::from(copy);
    io::copy(&mut File::open("/proc/self/exe")?, &mut copy)?;
    let seals = SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE;
    fcntl_add_seals(&copy, seals)?;
    Ok(copy.into())
}

/// The life of a starter. Entered at the very beginning of `main` when the first argument is
/// [`WORD`]; the second is the folder that run folders are below, the third the cgroup that those of
/// containers are below, the fourth is blank.
pub fn main() -> ! {
    sabotage::read();
    // Whoever calls this by hand has no socket for us, and is told by the status alone.
    let mut words = std::env::args_os().skip(2);
    let run = words.next().map(PathBuf::from);
    let cgroups = words.next().and_then(|word| word.into_string().ok());
    let status = match (run, cgroups, become_starter()) {
        (Some(run), Some(cgroups), Ok(socket)) => {
            let quarters = Quarters::enter(&cgroups);
            let status = serve(socket, &run.join("containers"), &quarters);
            // Its monitors leave them when they end.
            quarters.iter().flatten().for_each(Quarters::leave);
            status
        }
        (None, _, _) | (_, None, _) | (_, _, Err(_)) => 64,
    };
    sys::exit_now(status)
}

/// Drops everything of the command that started us; gives the socket to it.
fn become_starter() -> io::Result<OwnedFd> {
    let stdin = io::stdin();
    if sockopt::socket_type(&stdin)? != SocketType::SEQPACKET {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    sys::close_from(3)?;
    sys::return_large_memory(LARGE);
    let socket = sys::dup_above_stdio(stdin.as_fd())?;
    nix::unistd::dup2_stdin(File::open("/dev/null")?)?;
    rustix::process::umask(FileMode::from_raw_mode(0o022));
    rustix::thread::set_name(NAME)?;
    // A leader of a process group has no right to; then it is out of the terminal's already.
    let _ = rustix::process::setsid();
    sys::reset_signals();
    // What has ended is reaped by the kernel.
    sys::ignore_signal(libc::SIGCHLD);
    become_steady();
    // Only with CAP_SYS_RESOURCE; without it a monitor is as likely to go as others.
    let _ = fs::write("/proc/self/oom_score_adj", OOM_SCORE_ADJ);
    Ok(socket)
}

/// Signals that are not for a process without a terminal.
fn become_steady() {
    for signal in [libc::SIGHUP, libc::SIGINT, libc::SIGPIPE] {
        sys::ignore_signal(signal);
    }
}

/// Forks a monitor for each request, until the command is gone. They live in the quarters where we
/// are; none is forked when that is not where they have to be.
fn serve(
    socket: OwnedFd,
    containers: &Path,
    quarters: &Result<Option<Quarters>, SetupError>,
) -> i32 {
    let command_line = sys::CommandLine::find().ok();
    loop {
        let (mode, run_dir, reply) = match receive(&socket) {
            Ok(Some(request)) => request,
            Ok(None) => return 0,
            Err(_) => return 1,
        };
        if run_dir.parent() != Some(containers) {
            refuse(reply, &run_dir, "it is not below the run folder");
            continue;
        }
        let quarters = match quarters {
            Ok(quarters) => quarters,
            Err(error) => {
                refuse(reply, &run_dir, error);
                continue;
            }
        };
        match sys::fork() {
            Ok(0) => {
                drop(socket);
                if let Some(line) = command_line {
                    line.show(&["berth", "monitor", &name_of(&run_dir)]);
                }
                become_monitor(mode, &run_dir, reply, quarters.clone())
            }
            Ok(_) => {}
            Err(error) => refuse(reply, &run_dir, error),
        }
    }
}

/// The name of the container whose run folder this is.
fn name_of(run_dir: &Path) -> Cow<'_, str> {
    run_dir.file_name().unwrap_or_default().to_string_lossy()
}

fn refuse(mut reply: File, run_dir: &Path, message: impl std::fmt::Display) {
    let refusal: Result<Status, StartFailure> =
        Err(StartFailure::new("fork a monitor for", run_dir.display(), message));
    // Who asked may be gone.
    let _ = serde_json::to_vec(&refusal).map(|line| reply.write_all(&line));
}

fn become_monitor(mode: Mode, run_dir: &Path, reply: File, quarters: Option<Quarters>) -> ! {
    sys::reset_signals();
    become_steady();
    // This fails for nobody who has just been forked.
    let _ = rustix::process::setsid();
    report_panics(run_dir.join("monitor.log"));
    monitor::run(run_dir, mode, reply, quarters);
    sys::exit_now(0)
}

/// A bug of ours leaves its place in the run folder: a monitor has no terminal to show it on.
fn report_panics(path: PathBuf) {
    std::panic::set_hook(Box::new(move |panic| {
        let mut options = OpenOptions::new();
        options.append(true).create(true).mode(0o600).custom_flags(libc::O_NOFOLLOW);
        if let Ok(mut file) = options.open(&path) {
            // There is nobody left to tell.
            let _ = writeln!(file, "{panic}");
        }
    }));
}

/// The next request; `None` when the command is gone.
fn receive(socket: &OwnedFd) -> io::Result<Option<(Mode, PathBuf, File)>> {
    loop {
        let mut bytes = [0; REQUEST];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut parts = [IoSliceMut::new(&mut bytes)];
        let received = recvmsg(socket, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC);
        let length = match received {
            Ok(message) => message.bytes,
            Err(rustix::io::Errno::INTR) => continue,
            Err(e) => return Err(e.into()),
        };
        let reply = control.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
            _ => None,
        });
        let mode = match bytes.first().filter(|_| length > 0) {
            None => return Ok(None),
            Some(b'S') => Mode::Start,
            Some(b'A') => Mode::Adopt,
            Some(_) => continue,
        };
        let run_dir = PathBuf::from(OsStr::from_bytes(&bytes[1..length]));
        if let Some(reply) = reply {
            return Ok(Some((mode, run_dir, File::from(reply))));
        }
    }
}
