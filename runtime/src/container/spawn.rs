//! Starting a container, as its parent sees it.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, WaitOptions, pidfd_open, prlimit, waitpid};

use super::cgroup::{Devices, Group};
use super::channel::{Channel, Packet};
use super::child::Start;
use super::error::{Context, SetupError};
use super::mounts::{Trees, With};
use super::oci;
use super::process::{Rights, Stdio};
use super::spaces::{self, Joined};
use super::{device_hooks, locked, lost, rlimits, sysctl};
use crate::bundle::{Bundle, Status};
use crate::sabotage::{defence, without};
use crate::sys::{self, Cloned};

/// How long a container may take to its program: mounts and names of others may be slow.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long a process may take to its end when it was killed.
const PATIENCE_FOR_THE_END: Duration = Duration::from_secs(2);

/// Ids that each user namespace maps.
pub const IDS: u32 = 65_536;

/// A container's first process, running its program.
#[derive(Debug)]
pub struct Init {
    /// Its process id.
    pub pid: i32,
    /// A handle to it.
    pub pidfd: OwnedFd,
    /// Its network namespace.
    pub netns: OwnedFd,
    /// The master of its terminal, if it has one.
    pub terminal: Option<OwnedFd>,
    /// What could not be done and was not asked for by the file.
    pub warnings: Vec<String>,
}

/// Connects the network namespace of a container; why it cannot, in words.
pub(super) type Net<'a> = &'a mut dyn FnMut(BorrowedFd<'_>) -> Result<(), String>;

/// Starts the container: new namespaces, its root and mounts, its limits, its program.
///
/// For a process with one thread, which becomes the parent. `group` is that of the description,
/// which is made here. `configure_net` is called once with
/// the namespace of a container that has its own network, while the container mounts; the
/// program starts after it has returned. When this fails, no process is left; the cgroup is
/// ([`Group::remove`]).
pub fn spawn(
    bundle: &Bundle,
    group: &Group,
    stdio: Stdio<'_>,
    configure_net: Net<'_>,
) -> Result<Init, SetupError> {
    if let Some(runtime) = &bundle.runtime {
        return oci::spawn(bundle, runtime, group, stdio, configure_net);
    }
    defence!("sysctl.grammar", sysctl::check(bundle)?, ());
    without!("cwd.inside", crate::sabotage::naive::leave_open());
    let rights = Rights::of(&bundle.process, bundle.privileged)?;
    let limits = rlimits::parse(&bundle.process.rlimits)?;
    group.make(&bundle.cgroup)?;
    let attach = group.attach_files()?;
    let birth = group.birth_folder()?;
    let mut joined = Joined::enter(bundle)?;
    let [sysfs, proc] = match joined.mounts(bundle) {
        Ok(mounts) => mounts,
        Err(error) => return Err(joined.entered.leave().err().unwrap_or(error)),
    };
    let (ours, theirs) = Channel::pair().step("open", "socket pair")?;
    let start = Start {
        bundle,
        stdio,
        group,
        attach: &attach,
        rights,
        with: With { sysfs: sysfs.is_some(), proc: proc.is_some() },
        user: joined.user.as_ref().map(AsFd::as_fd),
        memory: joined.memory.as_ref().map(AsFd::as_fd),
        locked: locked::is_needed(bundle),
    };
    let spaces = spaces::born_with(bundle, joined.user.is_some());
    let cloned = sys::clone_process(spaces.bits(), birth.as_ref().map(AsFd::as_fd));
    let (pid, pidfd) = match cloned {
        Ok(Cloned::Child) => {
            drop(ours);
            start.run(&theirs)
        }
        Ok(Cloned::Parent { pid, pidfd }) => (pid, pidfd),
        Err(error) => {
            joined.entered.leave()?;
            return Err(explain(SetupError::kernel("clone", &bundle.name, &error)));
        }
    };
    drop(theirs);
    let child = Child::new(pid, ours, PATIENCE + device_hooks::patience(bundle));
    if let Err(error) = joined.entered.leave() {
        return Err(child.end(error));
    }
    let started = child.guide(&start, (sysfs, proc), &limits, configure_net);
    if started.is_err() {
        // What its hooks have made on the host is theirs to take away.
        drop(device_hooks::ended(bundle));
    }
    started.map(|(netns, terminal, warnings)| Init { pid, pidfd, netns, terminal, warnings })
}

/// In a chroot the kernel refuses a user namespace with no more than EPERM: a process without
/// one looks.
fn explain(error: SetupError) -> SetupError {
    if error.errno != Some(libc::EPERM) {
        return error;
    }
    let (Ok((ours, theirs)), Ok(cloned)) =
        (Channel::pair(), sys::clone_process(libc::CLONE_NEWNS, None))
    else {
        return error;
    };
    match cloned {
        Cloned::Child => {
            if let Err(found) = super::rootfs::refuse_chroot() {
                let _ = theirs.send_failure(&found);
            }
            sys::exit_now(0)
        }
        Cloned::Parent { pid, .. } => {
            drop(theirs);
            Child::new(pid, ours, PATIENCE).reap(error)
        }
    }
}

/// A process on its way to its program.
#[derive(Debug)]
pub(super) struct Child {
    pub(super) pid: i32,
    pub(super) channel: Channel,
    pub(super) warnings: Vec<String>,
    /// It is given up then.
    until: Instant,
    /// It has said that its program is next.
    executing: bool,
    terminal: Option<OwnedFd>,
}

type Started = (OwnedFd, Option<OwnedFd>, Vec<String>);

impl Child {
    /// A process that has just begun.
    pub(super) fn new(pid: i32, channel: Channel, patience: Duration) -> Child {
        let until = Instant::now() + patience;
        Child { pid, channel, warnings: Vec::new(), until, executing: false, terminal: None }
    }

    /// Does for the child what only the host's root may, and waits for its program.
    fn guide(
        mut self,
        start: &Start<'_>,
        ready: (Option<OwnedFd>, Option<OwnedFd>),
        limits: &rlimits::Limits,
        configure_net: Net<'_>,
    ) -> Result<Started, SetupError> {
        let netns = self
            .prepare(start, ready, limits)
            .and_then(|()| self.set_group_limits(start))
            .and_then(|()| self.network(start.bundle, configure_net));
        match netns {
            Ok(netns) => {
                let terminal = self.wait_for_program()?;
                Ok((netns, terminal, self.warnings))
            }
            Err(error) => Err(self.end(error)),
        }
    }

    fn prepare(
        &mut self,
        start: &Start<'_>,
        (sysfs, proc): (Option<OwnedFd>, Option<OwnedFd>),
        limits: &rlimits::Limits,
    ) -> Result<(), SetupError> {
        let bundle = start.bundle;
        if start.user.is_some() {
            self.wait_for_namespaces()?;
        }
        self.set_limits(limits, bundle.process.oom_score_adj)?;
        if let Some(base) = bundle.id_base.filter(|_| start.user.is_none()) {
            write(&self.proc("uid_map"), &format!("0 {base} {IDS}"))?;
            write(&self.proc("gid_map"), &format!("0 {base} {IDS}"))?;
        }
        give_pipes(start.stdio, bundle.id_base, bundle.process.uid)?;
        let userns = match bundle.id_base {
            Some(_) => Some(open(&self.proc("ns/user"))?),
            None => None,
        };
        if let Some(user) = userns.as_ref().filter(|_| start.locked) {
            let workshop = locked::workshop(user.as_fd())?;
            self.channel.send_fds(&[workshop]).step("send mounts", &bundle.name)?;
        }
        let trees = Trees::open(bundle, userns.as_ref().map(AsFd::as_fd), sysfs, proc)?;
        self.channel.send_fds(&trees.into_fds()).step("send mounts", &bundle.name)
    }

    /// It enters a user namespace and makes its others before anything of it can be looked at.
    fn wait_for_namespaces(&mut self) -> Result<(), SetupError> {
        const STEP: &str = "join namespace";
        match self.next()? {
            Packet::Entered => Ok(()),
            Packet::Failed(error) => Err(error),
            _ => Err(SetupError::refused(STEP, "user", "its first process ended")),
        }
    }

    /// Limits of the group, while the child mounts.
    fn set_group_limits(&mut self, start: &Start<'_>) -> Result<(), SetupError> {
        let allowed = match (start.bundle.privileged, start.bundle.id_base) {
            (true, _) => Devices::All,
            (false, Some(_)) => Devices::ListedIfPossible,
            (false, None) => Devices::Listed,
        };
        let devices = defence!("devices.program", allowed, Devices::All);
        self.warnings.extend(start.group.set_limits(&start.bundle.cgroup, devices)?);
        Ok(())
    }

    /// Limits of the process, which it could not raise itself from inside.
    pub(super) fn set_limits(
        &mut self,
        limits: &rlimits::Limits,
        oom_score_adj: Option<i32>,
    ) -> Result<(), SetupError> {
        for (resource, limit, asked) in limits.all() {
            match prlimit(Pid::from_raw(self.pid), resource, limit) {
                Ok(_) => {}
                Err(_) if !asked => {}
                Err(rustix::io::Errno::PERM) => {
                    let reason = "the hard limit is above that of the host, and berth lacks the \
                                  capability CAP_SYS_RESOURCE to raise it";
                    let name = rlimits::name(resource);
                    return Err(SetupError::refused("set rlimit", name, reason));
                }
                set => set.map(drop).step("set rlimit", rlimits::name(resource))?,
            }
        }
        match oom_score_adj {
            Some(score) => write(&self.proc("oom_score_adj"), &score.to_string()),
            // Not that of its monitor, which is the last to go. Only raising it is always allowed.
            None => {
                drop(write(&self.proc("oom_score_adj"), "0"));
                Ok(())
            }
        }
    }

    fn network(&self, bundle: &Bundle, configure_net: Net<'_>) -> Result<OwnedFd, SetupError> {
        let netns = open(&self.proc("ns/net"))?;
        if spaces::has_own_network(bundle) {
            configure_net(netns.as_fd())
                .map_err(|reason| SetupError::refused("configure network", &bundle.name, reason))?;
        }
        if device_hooks::before_pivot(bundle) {
            self.wait_for_mounts()?;
            device_hooks::create_runtime(bundle, self.pid)?;
        }
        // If the child has failed meanwhile, its reason is in the channel.
        drop(self.channel.send_network());
        Ok(netns)
    }

    fn wait_for_mounts(&self) -> Result<(), SetupError> {
        const STEP: &str = "wait for mounts";
        match self.next()? {
            Packet::Mounted => Ok(()),
            Packet::Failed(error) => Err(error),
            _ => Err(SetupError::refused(STEP, self.pid, "its first process ended")),
        }
    }

    /// Reads what the child tells until its program runs: the master of its terminal.
    pub(super) fn wait_for_program(&mut self) -> Result<Option<OwnedFd>, SetupError> {
        loop {
            let packet = self.next();
            match packet.and_then(|packet| self.heed(packet)) {
                Ok(false) => {}
                Ok(true) => return Ok(self.terminal.take()),
                Err(error) => return Err(self.end(error)),
            }
        }
    }

    /// Its next words, as long as there is patience.
    fn next(&self) -> Result<Packet, SetupError> {
        self.channel.receive_until(self.until).step("start", "process").map_err(|error| match error
            .errno
        {
            Some(_) => error,
            None => SetupError::refused("start", "process", "it does not come to its program"),
        })
    }

    /// Takes what it has said. Whether its program runs.
    pub(super) fn heed(&mut self, packet: Packet) -> Result<bool, SetupError> {
        match packet {
            Packet::Terminal(master) => self.terminal = Some(master),
            Packet::Executing => self.executing = true,
            Packet::Closed if self.executing => return Ok(true),
            Packet::Closed => {
                let reason = "its first process was killed before its program started";
                return Err(SetupError::refused("start", "container", reason));
            }
            Packet::Failed(error) => return Err(error),
            Packet::Fds(..) | Packet::Network | Packet::Entered | Packet::Mounted => {}
        }
        Ok(false)
    }

    /// Kills and reaps the child. What the child itself has to say comes first.
    pub(super) fn end(&self, error: SetupError) -> SetupError {
        // It may have ended already; nobody else waits for it.
        let _ = sys::kill(self.pid, libc::SIGKILL);
        self.reap(error)
    }

    /// Waits for the child's end. What it has said is worth more than `error`.
    ///
    /// One that hangs in the kernel ends when that lets it, and is then nobody's.
    fn reap(&self, error: SetupError) -> SetupError {
        let until = Instant::now() + PATIENCE_FOR_THE_END;
        while let Ok(None) = waitpid(Pid::from_raw(self.pid), WaitOptions::NOHANG) {
            if Instant::now() > until {
                let pid = Pid::from_raw(self.pid);
                let pidfd = pid.and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
                pidfd.into_iter().for_each(lost::remember);
                break;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        while let Ok(packet) = self.channel.receive_until(Instant::now()) {
            match packet {
                Packet::Failed(earlier) => return earlier,
                Packet::Closed => break,
                _ => {}
            }
        }
        error
    }

    fn proc(&self, file: &str) -> String {
        format!("/proc/{}/{file}", self.pid)
    }
}

/// The program may open `/dev/stdout`, which asks for the right to its pipe once more.
pub(super) fn give_pipes(
    stdio: Stdio<'_>,
    id_base: Option<u32>,
    uid: u32,
) -> Result<(), SetupError> {
    let Stdio::Files { stdin, stdout, stderr } = stdio else { return Ok(()) };
    let owner = rustix::fs::Uid::from_raw(id_base.unwrap_or(0).saturating_add(uid));
    for fd in [stdin, stdout, stderr] {
        let stat = rustix::fs::fstat(fd).step("look at", "stdio")?;
        if rustix::fs::FileType::from_raw_mode(stat.st_mode).is_fifo() {
            rustix::fs::fchown(fd, Some(owner), None).step("give to the container", "stdio")?;
        }
    }
    Ok(())
}

/// Reads what a monitor wrote down.
pub(super) fn status(file: &Path) -> Result<Status, SetupError> {
    let mut text = String::new();
    let mut opened = File::open(file).step("read", file.display())?;
    opened.read_to_string(&mut text).step("read", file.display())?;
    serde_json::from_str(&text).map_err(|e| SetupError::refused("read", file.display(), e))
}

pub(super) fn open(path: &str) -> Result<OwnedFd, SetupError> {
    File::open(path).map(OwnedFd::from).step("open", path)
}

pub(super) fn write(path: &str, text: &str) -> Result<(), SetupError> {
    let mut file = File::options().write(true).open(path).step("open", path)?;
    file.write_all(text.as_bytes()).step("write", format!("{path}: {text}"))
}
