//! A further process in a running container: health checks, hooks, `berth exec`.

use std::io::ErrorKind;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use rustix::thread::{
    LinkNameSpaceType, ThreadNameSpaceType, move_into_link_name_space, move_into_thread_name_spaces,
};
use serde::{Deserialize, Serialize};

use super::cgroup::Group;
use super::channel::{Channel, Packet};
use super::child::attach;
use super::error::{Context, SetupError};
use super::process::{self, Rights, Stdio, Streams};
use super::spawn::{self, give_pipes};
use super::{inside, rlimits, users};
use crate::bundle::{Bundle, Process, Status};
use crate::host::state::after_name;
#[cfg(feature = "sabotage")]
use crate::sabotage::naive;
use crate::sabotage::{defence, place, without};
use crate::sys::{self, Cloned};

/// How long a further process may take to its program.
const PATIENCE: Duration = Duration::from_secs(30);

/// What to run, where it differs from the container's own program.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecSpec {
    /// Program and arguments.
    pub argv: Vec<String>,
    /// `KEY=value` over the container's environment; `KEY` alone takes it away.
    pub env: Vec<String>,
    /// Working directory; else the container's.
    pub cwd: Option<String>,
    /// `user[:group]`; else the container's.
    pub user: Option<String>,
    /// Give it a terminal of the container's own.
    pub tty: bool,
    /// All capabilities, no filter; a profile of AppArmor stays, as with Docker.
    pub privileged: bool,
}

/// The first process of a running container. Its number alone could be another's by now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target {
    /// Process id.
    pub pid: i32,
    /// Start time in clock ticks (`/proc/PID/stat` field 22).
    pub start: u64,
}

/// A process that runs in the container.
#[derive(Debug)]
pub struct Child {
    /// Its process id; the caller is its parent.
    pub pid: i32,
    /// A handle to it.
    pub pidfd: OwnedFd,
    /// The master of its terminal, if it has one.
    pub terminal: Option<OwnedFd>,
    /// What could not be done and was not asked for.
    pub warnings: Vec<String>,
}

impl Target {
    /// The process that a monitor wrote down, if it wrote one down.
    pub fn from_status(status: &Status) -> Option<Target> {
        (status.pid > 0).then_some(Target { pid: status.pid, start: status.pid_start })
    }

    /// The process of this number, as it is now.
    pub fn of(pid: i32) -> Option<Target> {
        Some(Target { pid, start: start_time(pid)? })
    }

    /// It runs and is the same process.
    pub fn is_alive(&self) -> bool {
        let start = start_time(self.pid);
        defence!("pid.start_time", start == Some(self.start), start.is_some())
    }

    /// Its wait status, when it has ended and nobody has reaped it yet.
    pub fn zombie_status(&self) -> Option<i32> {
        let fields = stat(self.pid)?;
        let is_it = fields.get(19)?.parse() == Ok(self.start);
        (is_it && fields.first()? == "Z").then(|| fields.get(49)?.parse().ok())?
    }

    /// A handle to it that cannot go stale.
    pub fn open(&self) -> Result<OwnedFd, SetupError> {
        let gone = || SetupError::refused("join container", self.pid, "it does not run any more");
        let pid = Pid::from_raw(self.pid).ok_or_else(gone)?;
        let pidfd = pidfd_open(pid, PidfdFlags::empty()).map_err(|_| gone())?;
        // Checked after opening: what the handle means cannot change any more.
        if self.is_alive() { Ok(pidfd) } else { Err(gone()) }
    }
}

fn start_time(pid: i32) -> Option<u64> {
    stat(pid)?.get(19)?.parse().ok()
}

/// The fields of `/proc/PID/stat` after the name: the first is the state, number 3 in proc(5).
fn stat(pid: i32) -> Option<Vec<String>> {
    let stat = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
    Some(after_name(&stat)?.split_whitespace().map(str::to_owned).collect())
}

/// A process on its way to its program in the container, which it may be hindered from: the
/// processes there can stop it.
///
/// It executes nothing before [`Starting::let_go`], nor when its parent has ended by then.
#[derive(Debug)]
pub struct Starting {
    child: spawn::Child,
    pidfd: OwnedFd,
}

impl Starting {
    /// Its process id; the caller is its parent.
    pub fn pid(&self) -> i32 {
        self.child.pid
    }

    /// Another handle to it.
    ///
    /// # Errors
    /// What the host answers.
    pub fn handle(&self) -> Result<OwnedFd, SetupError> {
        self.pidfd.try_clone().step("start", "process")
    }

    /// What becomes readable when there is something to [hear](Starting::hear).
    pub fn news(&self) -> BorrowedFd<'_> {
        self.child.channel.as_fd()
    }

    /// Lets it go on to its program.
    ///
    /// # Errors
    /// It has ended; what it has to say is heard first.
    pub fn let_go(&self) -> Result<(), SetupError> {
        self.child.channel.send_network().step("start", "process")
    }

    /// Hears what it has said until now. Whether its program runs.
    ///
    /// # Errors
    /// Why there will be no program.
    pub fn hear(&mut self) -> Result<bool, SetupError> {
        loop {
            match self.child.channel.receive_until(Instant::now()) {
                Ok(packet) => {
                    if self.child.heed(packet)? {
                        return Ok(true);
                    }
                }
                Err(error) if error.kind() == ErrorKind::TimedOut => return Ok(false),
                Err(error) => return Err(SetupError::kernel("start", "process", &error)),
            }
        }
    }
}

/// Starts a process in the container, with its limits, rights and filter, and waits until its
/// program runs.
///
/// For a process with one thread, which becomes the parent.
///
/// # Errors
/// Nothing runs then. One that does not come to its program is killed after a while.
pub fn exec(
    target: &Target,
    bundle: &Bundle,
    spec: &ExecSpec,
    stdio: Stdio<'_>,
) -> Result<Child, SetupError> {
    let Starting { mut child, pidfd } = begin(target, bundle, spec, stdio)?;
    // If it has failed meanwhile, its reason is in the channel.
    let _ = child.channel.send_network();
    let terminal = child.wait_for_program()?;
    Ok(Child { pid: child.pid, pidfd, terminal, warnings: child.warnings })
}

/// The first half of [`exec`]: a process with limits, rights and filter, which waits to be let go.
///
/// # Errors
/// As there.
pub fn begin(
    target: &Target,
    bundle: &Bundle,
    spec: &ExecSpec,
    stdio: Stdio<'_>,
) -> Result<Starting, SetupError> {
    let pidfd = target.open()?;
    without!("exec.one_handle", naive::keep_network(target.pid));
    place!("exec.opened_pidfd");
    let pidfd = defence!("exec.one_handle", pidfd, look_up(bundle)?.open()?);
    let process = process_of(target, bundle, spec)?;
    let mut rights = Rights::of(&process, bundle.privileged)?;
    without!("seccomp.exec", rights = rights.unfiltered());
    if spec.privileged {
        rights = rights.widened();
    }
    without!("cwd.inside", crate::sabotage::naive::leave_open());
    let group = Group::find(&bundle.cgroup.path)?;
    if group.is_frozen() {
        // The new process would be born frozen and never answer.
        return Err(unjoinable(&bundle.name, "it is paused"));
    }
    let (files, birth) = (group.attach_files()?, group.birth_folder()?);
    let limits = rlimits::parse(&process.rlimits)?;
    let (ours, theirs) = Channel::pair().step("open", "socket pair")?;
    let start = Join { bundle, process: &process, rights, pidfd: &pidfd, attach: &files, stdio };
    let cloned = clone_beside(&pidfd, birth.as_ref().map(AsFd::as_fd))?;
    let (pid, own_pidfd) = match cloned {
        Cloned::Child => {
            drop(ours);
            start.run(&theirs)
        }
        Cloned::Parent { pid, pidfd } => (pid, pidfd),
    };
    drop(theirs);
    let mut child = spawn::Child::new(pid, ours, PATIENCE);
    let prepared = child
        .set_limits(&limits, process.oom_score_adj)
        .and_then(|()| give_pipes(stdio, bundle.id_base, process.uid));
    match prepared {
        Ok(()) => Ok(Starting { child, pidfd: own_pidfd }),
        Err(error) => Err(child.end(error)),
    }
}

/// [`exec`] by the run folder of a container, where its monitor keeps its description.
pub fn exec_in(run_dir: &Path, spec: &ExecSpec, stdio: Stdio<'_>) -> Result<Child, SetupError> {
    let file = run_dir.join("bundle.json");
    let text = std::fs::read(&file).step("read", file.display())?;
    let bundle: Bundle = serde_json::from_slice(&text)
        .map_err(|error| SetupError::refused("read", file.display(), error))?;
    exec(&look_up(&bundle)?, &bundle, spec, stdio)
}

/// The container's first process, as its monitor wrote it down.
fn look_up(bundle: &Bundle) -> Result<Target, SetupError> {
    let status = spawn::status(&bundle.run_dir.join("status.json"))?;
    Target::from_status(&status).ok_or_else(|| unjoinable(&bundle.name, "it does not run"))
}

/// What Docker answers before there is a process: 1.
fn unjoinable(name: &str, reason: &str) -> SetupError {
    SetupError { exit_code: 1, ..SetupError::refused("join container", name, reason) }
}

/// A child of ours in the container's pid namespace. Only the children of a process that enters
/// one are in it, so we step in, clone, and step out.
fn clone_beside(pidfd: &OwnedFd, birth: Option<BorrowedFd<'_>>) -> Result<Cloned, SetupError> {
    let own = spawn::open("/proc/self/ns/pid_for_children")?;
    move_into_thread_name_spaces(pidfd.as_fd(), ThreadNameSpaceType::PROCESS_ID)
        .step("join container", "pid namespace")?;
    let cloned = sys::clone_process(0, birth).step("clone", "process");
    if matches!(cloned, Ok(Cloned::Child)) {
        return cloned;
    }
    move_into_link_name_space(own.as_fd(), Some(LinkNameSpaceType::ProcessID))
        .step("leave container", "pid namespace")?;
    cloned
}

/// The container's process with what the description of this one changes.
fn process_of(target: &Target, bundle: &Bundle, spec: &ExecSpec) -> Result<Process, SetupError> {
    let mut process = bundle.process.clone();
    process.argv.clone_from(&spec.argv);
    if let Some(cwd) = &spec.cwd {
        process.cwd.clone_from(cwd);
    }
    if let Some(user) = &spec.user {
        let root = process::folder(&format!("/proc/{}/root", target.pid));
        let root = root.step("open root of container", target.pid)?;
        // Opened by number: make sure that it was still the same process then.
        target.open()?;
        // As Docker since 28 has it.
        let ids = users::resolve_in(root.as_fd(), user, &[])
            .map_err(|error| SetupError { exit_code: 1, ..error })?;
        (process.uid, process.gid, process.groups) = (ids.uid, ids.gid, ids.groups);
        if let Some(home) = ids.home {
            set_variable(&mut process.env, &format!("HOME={home}"));
        }
    }
    if spec.tty && !process.env.iter().any(|entry| entry.starts_with("TERM=")) {
        process.env.push("TERM=xterm".into());
    }
    for entry in &spec.env {
        set_variable(&mut process.env, entry);
    }
    Ok(process)
}

fn set_variable(env: &mut Vec<String>, entry: &str) {
    let (name, has_value) = entry.split_once('=').map_or((entry, false), |(name, _)| (name, true));
    env.retain(|old| old.split_once('=').is_none_or(|(old, _)| old != name));
    if has_value {
        env.push(entry.to_owned());
    }
}

/// What the child takes with it.
struct Join<'a> {
    bundle: &'a Bundle,
    process: &'a Process,
    rights: Rights,
    pidfd: &'a OwnedFd,
    attach: &'a [OwnedFd],
    stdio: Stdio<'a>,
}

impl Join<'_> {
    fn run(&self, channel: &Channel) -> ! {
        let error = match self.enter(channel) {
            Ok(streams) => process::execute(self.process, &self.rights, streams, channel),
            Err(error) => error,
        };
        drop(channel.send_failure(&error)); // the parent sees the end at least
        sys::exit_now(error.exit_code)
    }

    fn enter(&self, channel: &Channel) -> Result<Streams, SetupError> {
        // Before anything in the container can see this process.
        let dumpable = rustix::process::DumpableBehavior::NotDumpable;
        rustix::process::set_dumpable_behavior(dumpable).step("protect", "process")?;
        rustix::process::umask(Mode::from_raw_mode(0o022));
        attach(self.attach)?;
        let mut kinds = ThreadNameSpaceType::MOUNT
            | ThreadNameSpaceType::HOST_NAME_AND_NIS_DOMAIN_NAME
            | ThreadNameSpaceType::INTER_PROCESS_COMMUNICATION
            | ThreadNameSpaceType::NETWORK;
        if !self.bundle.cgroup.host_view {
            kinds |= ThreadNameSpaceType::CONTROL_GROUP;
        }
        if self.bundle.id_base.is_some() {
            kinds |= ThreadNameSpaceType::USER;
        }
        move_into_thread_name_spaces(self.pidfd.as_fd(), kinds)
            .step("join container", "namespaces")?;
        without!("exec.one_handle", naive::enter_network());
        process::become_user(0, 0, &[])?;
        let root = process::folder("/").step("open", "/")?;
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        let cwd = match self.process.cwd.as_str() {
            "" => "/",
            cwd => cwd,
        };
        let inside = defence!("cwd.inside", cwd, "/");
        let folder = inside::open(root.as_fd(), inside, flags);
        // As Docker since 28 has it.
        let folder = folder
            .step("enter working directory", cwd)
            .map_err(|error| SetupError { exit_code: 127, ..error })?;
        let streams = match self.stdio {
            Stdio::Files { stdin, stdout, stderr } => Streams::files(stdin, stdout, stderr)?,
            Stdio::Terminal => {
                let dev = inside::open(root.as_fd(), "dev", flags).step("open folder", "/dev")?;
                Streams::terminal(dev.as_fd(), self.process, channel)?
            }
        };
        match channel.receive().step("start", "process")? {
            Packet::Network => {}
            _ => return Err(SetupError::refused("start", "process", "its parent ended")),
        }
        process::enter(&folder, cwd)?;
        process::drop_rights(self.process, &self.rights)?;
        Ok(streams)
    }
}
