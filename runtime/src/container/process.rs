//! The last part of every start: terminal, identity, rights, and then the program.

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use berth_planner::desired::Seccomp;
use rustix::fs::{Mode, OFlags, openat};
use rustix::process::{Gid, Uid};
use rustix::pty::OpenptFlags;
use rustix::thread::{CapabilitySet, CapabilitySets};

use super::channel::Channel;
use super::error::{Context, SetupError};
use super::{apparmor, caps, seccomp};
use crate::bundle::Process;
use crate::sabotage::{defence, place, without};
use crate::sys;

/// Where the program's standard streams go.
#[derive(Debug, Clone, Copy)]
pub enum Stdio<'a> {
    /// To these descriptors.
    Files {
        /// Standard input.
        stdin: BorrowedFd<'a>,
        /// Standard output.
        stdout: BorrowedFd<'a>,
        /// Standard error.
        stderr: BorrowedFd<'a>,
    },
    /// To a new terminal of the container's own, whose master the caller gets.
    Terminal,
}

/// The streams of the program, in the new process.
#[derive(Debug)]
pub(crate) struct Streams {
    fds: [OwnedFd; 3],
    is_terminal: bool,
}

impl Streams {
    /// Copies of the caller's descriptors, clear of the numbers 0 to 2.
    pub(crate) fn files(
        stdin: BorrowedFd<'_>,
        stdout: BorrowedFd<'_>,
        stderr: BorrowedFd<'_>,
    ) -> Result<Streams, SetupError> {
        let copy = |fd, name| sys::dup_above_stdio(fd).step("open", name);
        let fds = [copy(stdin, "stdin")?, copy(stdout, "stdout")?, copy(stderr, "stderr")?];
        Ok(Streams { fds, is_terminal: false })
    }

    /// A new terminal of the devpts in `dev`; its master goes to the parent.
    pub(crate) fn terminal(
        dev: BorrowedFd<'_>,
        process: &Process,
        channel: &Channel,
    ) -> Result<Streams, SetupError> {
        const STEP: &str = "open terminal";
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let resolve = rustix::fs::ResolveFlags::BENEATH | rustix::fs::ResolveFlags::NO_SYMLINKS;
        let master = rustix::fs::openat2(dev, "pts/ptmx", flags, Mode::empty(), resolve)
            .step(STEP, "/dev/pts/ptmx")?;
        let stat = rustix::fs::fstat(&master).step(STEP, "/dev/pts/ptmx")?;
        if (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev)) != (5, 2) {
            let reason = "it is not a terminal multiplexer";
            return Err(SetupError::refused(STEP, "/dev/pts/ptmx", reason));
        }
        rustix::pty::unlockpt(&master).step(STEP, "/dev/pts/ptmx")?;
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let slave = rustix::pty::ioctl_tiocgptpeer(&master, flags).step(STEP, "/dev/pts")?;
        let owner = Uid::from_raw(process.uid);
        rustix::fs::fchown(&slave, Some(owner), None).step(STEP, "/dev/pts")?;
        channel.send_terminal(master.as_fd()).step(STEP, "/dev/pts/ptmx")?;
        let copy = || sys::dup_above_stdio(slave.as_fd()).step(STEP, "/dev/pts");
        Ok(Streams { fds: [copy()?, copy()?, copy()?], is_terminal: true })
    }

    /// The terminal's slave, for `/dev/console`.
    pub(crate) fn console(&self) -> Option<BorrowedFd<'_>> {
        let [stdin, ..] = &self.fds;
        self.is_terminal.then(|| stdin.as_fd())
    }

    fn take_their_numbers(&self) -> Result<(), SetupError> {
        let [stdin, stdout, stderr] = &self.fds;
        // A leader already has a session, as a program started by our init.
        let _ = rustix::process::setsid();
        if self.is_terminal {
            rustix::process::ioctl_tiocsctty(stdin).step("take terminal", "stdin")?;
        }
        rustix::stdio::dup2_stdin(stdin).step("open", "stdin")?;
        rustix::stdio::dup2_stdout(stdout).step("open", "stdout")?;
        rustix::stdio::dup2_stderr(stderr).step("open", "stderr")
    }
}

/// What the process may do.
#[derive(Debug, Clone)]
pub(crate) struct Rights {
    /// The bounding set; effective for uid 0.
    pub(crate) capabilities: CapabilitySet,
    /// The filter of system calls; without one all pass.
    filter: Option<seccomp::Filter>,
    /// The profile of AppArmor to be under.
    profile: Option<apparmor::Profile>,
}

impl Rights {
    /// Those of the description, without a filter for a privileged container that names none.
    pub(crate) fn of(process: &Process, privileged: bool) -> Result<Rights, SetupError> {
        let capabilities = caps::parse(&process.capabilities)?;
        let ioctl = match process.keeps_project {
            true => seccomp::Ioctl::KeepingProject,
            false => seccomp::Ioctl::Usual,
        };
        let filter = match &process.seccomp {
            Seccomp::Unconfined => None,
            Seccomp::Builtin if privileged => None,
            Seccomp::Builtin => Some(seccomp::Filter::builtin(capabilities, ioctl)?),
            Seccomp::Profile { profile, .. } => {
                Some(seccomp::Filter::of_profile(profile, capabilities)?)
            }
        };
        let profile = process.apparmor.as_deref().map(apparmor::Profile::open).transpose()?;
        Ok(Rights { capabilities, filter, profile })
    }

    /// These without the filter.
    #[cfg(feature = "sabotage")]
    pub(crate) fn unfiltered(self) -> Rights {
        Rights { filter: None, ..self }
    }

    /// These with all capabilities that the user namespace has, and no filter.
    pub(crate) fn widened(self) -> Rights {
        Rights { capabilities: caps::all(), filter: None, ..self }
    }

    /// Those of our own init: no profile is written for what it does.
    pub(crate) fn of_init(&self) -> Result<Rights, SetupError> {
        let builtin = |_| seccomp::Filter::builtin(self.capabilities, seccomp::Ioctl::Usual);
        let filter = self.filter.as_ref().map(builtin);
        Ok(Rights { filter: filter.transpose()?, ..self.clone() })
    }

    /// The filter from now on. After [`drop_rights`] and as the last thing before the program:
    /// whatever a profile closes is not needed any more then.
    ///
    /// The right to set a filter goes at the execution of the program: root gets what its bounding
    /// set allows then, everyone else nothing (capabilities(7)).
    pub(crate) fn confine(&self) -> Result<(), SetupError> {
        match &self.filter {
            Some(filter) => {
                sys::seccomp_filter(&filter.program, filter.flags).step("set seccomp filter", "")
            }
            None => Ok(()),
        }
    }

    /// The profile from the next execution on. While the way to it is open, and before
    /// [`Rights::confine`], whose filter need not let it through.
    fn choose_profile(&self) -> Result<(), SetupError> {
        self.profile.as_ref().map_or(Ok(()), apparmor::Profile::at_execution)
    }

    /// A refused execution, which may be the profile's doing.
    fn explained(&self, error: SetupError) -> SetupError {
        match &self.profile {
            Some(profile) => profile.explained(error),
            None => error,
        }
    }

    /// The profile from now on, for a process of ours that executes nothing.
    pub(crate) fn enter_profile(&self) -> Result<(), SetupError> {
        self.profile.as_ref().map_or(Ok(()), apparmor::Profile::at_once)
    }
}

/// Enters the working directory, opened before inside the root.
pub(crate) fn enter(cwd: &OwnedFd, name: &str) -> Result<(), SetupError> {
    let entered =
        defence!("cwd.inside", rustix::process::fchdir(cwd), rustix::process::chdir(name));
    entered.step("enter working directory", name)?;
    let path = rustix::process::getcwd(Vec::new()).step("enter working directory", name)?;
    if !defence!("cwd.inside", path.to_bytes().starts_with(b"/"), true) {
        let reason = "it is outside the container's root";
        return Err(SetupError::refused("enter working directory", name, reason));
    }
    Ok(())
}

/// Becomes the user with the rights of the description, and no more than it takes to set the
/// filter ([`Rights::confine`]).
pub(crate) fn drop_rights(process: &Process, rights: &Rights) -> Result<(), SetupError> {
    const STEP: &str = "set capabilities";
    match sys::fresh_session_keyring() {
        Err(error) if error.raw_os_error() == Some(libc::ENOSYS) => {}
        joined => joined.step("join session keyring", "")?,
    }
    rustix::process::umask(Mode::from_raw_mode(0o022));
    let no_new_privs = defence!("rights.final", process.no_new_privs, false);
    if no_new_privs {
        rustix::thread::set_no_new_privs(true).step("set no_new_privs", "")?;
    }
    for capability in caps::each() {
        if !rights.capabilities.contains(capability) {
            match rustix::thread::remove_capability_from_bounding_set(capability) {
                // A number that this kernel does not know cannot be in the set.
                Err(rustix::io::Errno::INVAL) => {}
                dropped => dropped.step(STEP, "bounding")?,
            }
        }
    }
    let to_confine = match rights.filter.is_some() && !no_new_privs {
        true => CapabilitySet::SYS_ADMIN,
        false => CapabilitySet::empty(),
    };
    rustix::thread::set_keep_capabilities(!to_confine.is_empty()).step(STEP, "keep")?;
    become_user(process.uid, process.gid, &process.groups)?;
    set_capabilities(process, rights.capabilities, to_confine)?;
    rustix::thread::clear_ambient_capability_set().step(STEP, "ambient")
}

/// The capabilities of the description that there are, and these others.
pub(crate) fn set_capabilities(
    process: &Process,
    bounding: CapabilitySet,
    others: CapabilitySet,
) -> Result<(), SetupError> {
    const STEP: &str = "set capabilities";
    let permitted = rustix::thread::capabilities(None).step(STEP, "permitted")?.permitted;
    let own = if process.uid == 0 { bounding } else { CapabilitySet::empty() };
    let effective = (own | others) & permitted;
    let inheritable = defence!("caps.inheritable", CapabilitySet::empty(), bounding & permitted);
    let sets = CapabilitySets { effective, permitted: effective, inheritable };
    rustix::thread::set_capabilities(None, sets).step(STEP, "effective")
}

/// Sets all user and group ids of the process.
pub(crate) fn become_user(uid: u32, gid: u32, groups: &[u32]) -> Result<(), SetupError> {
    const STEP: &str = "become user";
    if uid == u32::MAX || gid == u32::MAX || groups.contains(&u32::MAX) {
        return Err(SetupError::refused(STEP, format!("{uid}:{gid}"), "4294967295 is no id"));
    }
    let groups: Vec<Gid> = groups.iter().map(|gid| Gid::from_raw(*gid)).collect();
    rustix::thread::set_thread_groups(&groups).step("set groups", format!("{uid}:{gid}"))?;
    let gid = Gid::from_raw(gid);
    rustix::thread::set_thread_res_gid(gid, gid, gid).step(STEP, format!("{uid}:{gid}"))?;
    let uid = Uid::from_raw(uid);
    rustix::thread::set_thread_res_uid(uid, uid, uid).step(STEP, format!("{uid}:{gid}"))
}

/// Becomes nothing: stays until its standard input ends. Returns only why not.
pub(crate) fn stay(streams: &Streams, channel: &Channel) -> SetupError {
    let begun = streams
        .take_their_numbers()
        .and_then(|()| channel.send_executing().step("report", "parent"))
        // With the channel the parent is told that all is set up.
        .and_then(|()| sys::close_from(3).step("close descriptors", "3…"));
    if let Err(error) = begun {
        return error;
    }
    let mut end = [0; 1];
    while matches!(
        rustix::io::read(std::io::stdin(), &mut end),
        Ok(1..) | Err(rustix::io::Errno::INTR)
    ) {}
    sys::exit_now(0)
}

/// Becomes the program. Returns only why not.
pub(crate) fn execute(
    process: &Process,
    rights: &Rights,
    streams: Streams,
    channel: &Channel,
) -> SetupError {
    match prepare(process, rights, streams, channel) {
        Ok((argv, env)) => rights.explained(try_paths(process, &argv, &env)),
        Err(error) => error,
    }
}

type Strings = Vec<CString>;

fn prepare(
    process: &Process,
    rights: &Rights,
    streams: Streams,
    channel: &Channel,
) -> Result<(Strings, Strings), SetupError> {
    let argv = strings(&process.argv, "argument")?;
    let env = strings(&process.env, "environment")?;
    streams.take_their_numbers()?;
    rights.choose_profile()?;
    // What execve closes is still open while it looks for the program: a name like
    // `/proc/self/fd/7/../bin/sh` is looked up in it (CVE-2024-21626). The channel is no folder.
    std::mem::forget(streams); // closed by number, not a second time
    sys::close_from_except(3, channel.as_fd()).step("close descriptors", "3…")?;
    without!("fds.closed", crate::sabotage::naive::leave_open());
    place!("start.before_exec");
    channel.send_executing().step("report", "parent")?;
    sys::reset_signals();
    rights.confine()?;
    Ok((argv, env))
}

fn strings(texts: &[String], what: &str) -> Result<Strings, SetupError> {
    let c_string = |text: &String| {
        CString::new(text.as_str())
            .map_err(|_| SetupError::refused("execute", what, "it contains a NUL character"))
    };
    texts.iter().map(c_string).collect()
}

/// Where programs are looked up when the environment does not say.
pub(super) const DEFAULT_PATH: &str =
    "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Tries each folder of `PATH`, as a shell does: a file that is there but cannot be executed is
/// remembered, and told if no other is found.
fn try_paths(process: &Process, argv: &[CString], env: &[CString]) -> SetupError {
    let Some(name) = process.argv.first() else {
        return SetupError::refused("execute", "", "there is no program to run");
    };
    let path = process.env.iter().find_map(|entry| entry.strip_prefix("PATH="));
    let candidates: Vec<String> = if name.contains('/') {
        vec![name.clone()]
    } else {
        let folders = path.unwrap_or(DEFAULT_PATH).split(':').filter(|_| !name.is_empty());
        folders
            .map(|folder| format!("{}/{name}", if folder.is_empty() { "." } else { folder }))
            .collect()
    };
    let mut answer = std::io::Error::from_raw_os_error(libc::ENOENT);
    for candidate in candidates {
        let Ok(program) = CString::new(candidate) else { continue };
        let error = sys::execve(&program, argv, env);
        match error.raw_os_error() {
            Some(libc::ENOENT | libc::ENOTDIR) => {}
            Some(libc::EACCES) => answer = error,
            _ => {
                answer = error;
                break;
            }
        }
    }
    not_executed(name, &answer)
}

fn not_executed(name: &str, error: &std::io::Error) -> SetupError {
    let (exit_code, reason) = match error.raw_os_error() {
        Some(libc::ENOENT) => (127, "no such program, or its interpreter is missing (ENOENT)"),
        Some(libc::EACCES) => (126, "it is not executable for this user (EACCES)"),
        Some(libc::ENOEXEC) => (126, "it is no program for this machine (ENOEXEC)"),
        _ => return SetupError { exit_code: 126, ..SetupError::kernel("execute", name, error) },
    };
    let errno = error.raw_os_error();
    SetupError { exit_code, errno, ..SetupError::refused("execute", name, reason) }
}

/// Opens a folder of ours, by path.
pub(crate) fn folder(path: &str) -> Result<OwnedFd, rustix::io::Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat(rustix::fs::CWD, path, flags, Mode::empty())
}
