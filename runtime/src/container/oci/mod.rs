//! Containers that another program makes: an OCI runtime of the host, such as crun or runc.
//!
//! Everything around the container stays ours: its root file system and mounts, its user, network
//! and cgroup namespaces, its cgroup and the limits there, its output, its end. The runtime is
//! given all of it by its configuration and makes the rest: the process, its root, what it may.
//!
//! The files are put together in a mount namespace that ends with the runtime's `create`, so a
//! crash leaves no mount behind. What the runtime writes down of the container lies in its run
//! folder and goes with it. The monitor is the parent of the container's first process, as of one
//! of our own, because it reaps for what `create` leaves behind.
//!
//! Reading order: here (the order of the steps), `config` (what the runtime is told), `spaces`
//! (the namespaces it is given), `stage` (the files it is given), `program` (running it).

mod config;
mod program;
mod spaces;
mod stage;

use std::fs::{self, DirBuilder, File};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::net::{SocketFlags, accept_with};
use rustix::process::{Pid, PidfdFlags, WaitOptions, pidfd_open};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use self::config::{Given, config};
use self::program::Program;
use self::spaces::Spaces;
use self::stage::Stage;
use super::cgroup::{Devices, Group};
use super::error::{Context, SetupError};
use super::mounts::Trees;
use super::process::{Rights, Stdio};
use super::spawn::{Init, Net, give_pipes, open};
use super::{caps, rlimits, seccomp, sysctl};
use crate::bundle::{Bundle, Network, OciRuntime};
use crate::sys;

/// The folder in the run folder of a container that is the runtime's.
const FOLDER: &str = "oci";
/// How long what a failed runtime leaves has to end when it was killed.
const ORPHANS: Duration = Duration::from_secs(2);

/// Where things of one container are for its runtime, the same in its mount namespace and out of it.
#[derive(Debug)]
struct Places {
    /// A folder of ours, which the runtime finds covered.
    cover: PathBuf,
    /// What is only for it: its configuration, its state.
    folder: PathBuf,
}

impl Places {
    fn of(bundle: &Bundle) -> Result<Places, SetupError> {
        let run = bundle.run_dir.parent().and_then(Path::parent);
        let run = run.ok_or_else(|| {
            SetupError::refused("prepare", bundle.run_dir.display(), "it is no run folder")
        })?;
        Ok(Places { cover: searchable(run), folder: bundle.run_dir.join(FOLDER) })
    }

    fn state(&self) -> PathBuf {
        self.folder.join("state")
    }

    fn pid_file(&self) -> PathBuf {
        self.folder.join("pid")
    }

    fn log(&self) -> PathBuf {
        self.folder.join("log")
    }

    fn config(&self) -> PathBuf {
        self.folder.join("config.json")
    }

    /// The socket for the master of a terminal. Its name is short: the kernel takes 107 bytes.
    fn console(&self) -> PathBuf {
        self.cover.join("console")
    }

    /// A mount that a whole tree is put together at, to be taken apart.
    fn whole(&self) -> PathBuf {
        self.cover.join("whole")
    }

    fn root(&self) -> PathBuf {
        self.cover.join("root")
    }

    /// One mount of a tree, by its place there; the trees are those of the description, by their
    /// places there, and that of the cgroups.
    fn part(&self, tree: &str, index: usize) -> PathBuf {
        self.cover.join(format!("{tree}-{index}"))
    }

    /// A device of the description, by its place there.
    fn node(&self, index: usize) -> PathBuf {
        self.cover.join("nodes").join(index.to_string())
    }

    fn sysfs(&self) -> PathBuf {
        self.cover.join("sysfs")
    }

    fn proc(&self) -> PathBuf {
        self.cover.join("proc")
    }

    fn memory(&self) -> PathBuf {
        self.cover.join("memory")
    }
}

/// The folder itself, or what is above it and not for everybody: what is built there has to be
/// reached by the root of a user namespace.
fn searchable(folder: &Path) -> PathBuf {
    let closed = |path: &&Path| fs::metadata(path).is_ok_and(|meta| meta.mode() & 0o001 == 0);
    folder.ancestors().filter(closed).last().unwrap_or(folder).to_owned()
}

/// Starts the container by its runtime, as [`spawn`](super::spawn()) does it by itself.
pub(super) fn spawn(
    bundle: &Bundle,
    runtime: &OciRuntime,
    group: &Group,
    stdio: Stdio<'_>,
    configure_net: Net<'_>,
) -> Result<Init, SetupError> {
    sysctl::check(bundle)?;
    Rights::of(&bundle.process, bundle.privileged)?;
    rlimits::parse(&bundle.process.rlimits)?;
    forget(bundle);
    let places = Places::of(bundle)?;
    make_folder(&places.folder)?;
    let program =
        Program { runtime, places: &places, id: &bundle.id, hidden: group.beside_legacy() };
    group.make(&bundle.cgroup)?;
    let spaces = Spaces::make(bundle, group, configure_net)?;
    let started = Start {
        monitor: std::process::id(),
        bundle,
        group,
        stdio,
        places: &places,
        program: &program,
        spaces: &spaces,
    };
    started.run().inspect_err(|_| {
        forget(bundle);
        // What the runtime has left there; a group that was killed goes as well.
        let _ = group.kill_all().and_then(|()| group.remove());
    })
}

/// Has the runtime forget a container whose processes have ended, or ends them.
///
/// Whatever it answers: with its folder everything goes that a runtime of processes writes down,
/// and the cgroup is ours.
pub(crate) fn forget(bundle: &Bundle) {
    let Some(runtime) = &bundle.runtime else { return };
    let Ok(places) = Places::of(bundle) else { return };
    if !places.folder.exists() {
        return;
    }
    let hidden = Group::find(&bundle.cgroup.path).ok().and_then(|group| group.beside_legacy());
    let program = Program { runtime, places: &places, id: &bundle.id, hidden };
    let _ = program.run(&["delete", "--force"]);
    // What stays is told as a leftover of the run folder by the next plan.
    let _ = fs::remove_dir_all(&places.folder);
}

fn make_folder(folder: &Path) -> Result<(), SetupError> {
    let made = DirBuilder::new().mode(0o700).create(folder);
    made.step("make folder", folder.display())
}

/// All that a start needs.
struct Start<'a> {
    /// Our own process.
    monitor: u32,
    bundle: &'a Bundle,
    group: &'a Group,
    stdio: Stdio<'a>,
    places: &'a Places,
    program: &'a Program<'a>,
    spaces: &'a Spaces,
}

impl Start<'_> {
    fn run(&self) -> Result<Init, SetupError> {
        let bundle = self.bundle;
        give_pipes(self.stdio, bundle.id_base, bundle.process.uid)?;
        let reaper = Reaper::begin()?;
        let made = self.create().and_then(|made| Ok((made, self.first_process()?)));
        let ((root, console), pid) = made.inspect_err(|_| self.abandon())?;
        let gone = || SetupError::refused("start", "container", "its first process ended");
        let number = Pid::from_raw(pid).ok_or_else(gone)?;
        let pidfd = pidfd_open(number, PidfdFlags::empty()).map_err(|_| gone())?;
        drop(reaper);
        let started = self.begin(pid, &root, console);
        let (terminal, warnings) = started.inspect_err(|_| {
            // It is our child, and the number still its.
            let _ = sys::kill(pid, libc::SIGKILL);
            let _ = rustix::process::waitpid(Some(number), WaitOptions::empty());
        })?;
        let netns = self.spaces.network.try_clone().step("open", "network namespace")?;
        Ok(Init { pid, pidfd, netns, terminal, warnings })
    }

    /// Ends what a runtime that has failed leaves: it is our child now, and there is no other.
    fn abandon(&self) {
        let _ = self.group.kill_all();
        let until = Instant::now() + ORPHANS;
        while Instant::now() < until {
            match rustix::process::wait(WaitOptions::NOHANG) {
                Ok(Some(_)) => {}
                Ok(None) => std::thread::sleep(Duration::from_millis(1)),
                Err(_) => break,
            }
        }
    }

    /// In the process that becomes the runtime; we still have the namespaces.
    fn write_config(&self, trees: stage::Parts) -> Result<(), SetupError> {
        let bundle = self.bundle;
        let path = |fd: &OwnedFd| path_of(self.monitor, fd);
        let seccomp = seccomp::of_oci(&bundle.process, bundle.privileged)?;
        let given = Given {
            places: self.places,
            trees,
            capabilities: caps::held(&bundle.process.capabilities, bundle.id_base.is_some()),
            user: self.spaces.user.as_ref().map(path),
            network: self.spaces.own_network.then(|| path(&self.spaces.network)),
            groups: self.spaces.groups.as_ref().map(path),
            sysfs: self.spaces.sysfs.is_some(),
            proc: self.spaces.proc.is_some(),
            devices: stage::all_devices(bundle)?,
            throttles: stage::throttles(),
            seccomp,
        };
        let text = serde_json::to_vec(&config(bundle, &given)).map_err(std::io::Error::from);
        let path = self.places.config();
        let text = text.step("write", path.display())?;
        fs::write(&path, text).step("write", path.display())
    }

    /// Has the runtime make the container: its root, and who waits for the master of its terminal.
    fn create(&self) -> Result<(OwnedFd, Option<OwnedFd>), SetupError> {
        let user = self.spaces.user.as_ref().map(AsFd::as_fd);
        let copy = |fd: &Option<OwnedFd>| fd.as_ref().map(OwnedFd::try_clone).transpose();
        let sysfs = copy(&self.spaces.sysfs).step("mount sysfs", "/sys")?;
        let proc = copy(&self.spaces.proc).step("mount proc", "/proc")?;
        let trees = Trees::open(self.bundle, user, sysfs, proc)?;
        let stage = Stage { bundle: self.bundle, group: self.group, places: self.places };
        self.program.create(self.stdio, &|| {
            let (given, parts) = stage.build(&trees)?;
            self.write_config(parts)?;
            self.join_network()?;
            Ok(given)
        })
    }

    /// The network of another container belongs to the user namespace of that one, and cannot be
    /// entered out of a new one: the runtime itself goes there, and the container stays where it is.
    fn join_network(&self) -> Result<(), SetupError> {
        if !matches!(self.bundle.network, Network::Container(_)) {
            return Ok(());
        }
        let network = self.spaces.network.as_fd();
        move_into_link_name_space(network, Some(LinkNameSpaceType::Network))
            .step("join network", &self.bundle.name)
    }

    fn first_process(&self) -> Result<i32, SetupError> {
        let path = self.places.pid_file();
        let text = fs::read_to_string(&path).step("read", path.display())?;
        let refused = || SetupError::refused("read", path.display(), "it has no process id");
        text.trim().parse().ok().filter(|pid| *pid > 1).ok_or_else(refused)
    }

    /// From a container that was made to a program that runs.
    fn begin(
        &self,
        pid: i32,
        root: &OwnedFd,
        console: Option<OwnedFd>,
    ) -> Result<(Option<OwnedFd>, Vec<String>), SetupError> {
        self.refuse_sandbox(pid, root)?;
        self.group.take_in(pid)?;
        // Devices are in the hands of the runtime.
        let warnings = self.group.set_limits(&self.bundle.cgroup, Devices::All)?;
        self.set_domain(pid)?;
        let terminal = console.map(|listener| terminal(listener.as_fd())).transpose()?;
        self.program.run(&["start"])?;
        Ok((terminal, warnings))
    }

    /// The NIS domain name of its UTS namespace: runtimes before version 1.1 of the specification
    /// know no such thing.
    fn set_domain(&self, pid: i32) -> Result<(), SetupError> {
        const STEP: &str = "set domainname";
        let name = self.bundle.domainname.as_ref().filter(|_| !self.bundle.host_names);
        let Some(name) = name else { return Ok(()) };
        let (own, theirs) = (open("/proc/self/ns/uts")?, open(&format!("/proc/{pid}/ns/uts"))?);
        let kind = Some(LinkNameSpaceType::HostNameAndNISDomainName);
        move_into_link_name_space(theirs.as_fd(), kind).step(STEP, name)?;
        let set = rustix::system::setdomainname(name.as_bytes()).step(STEP, name);
        move_into_link_name_space(own.as_fd(), kind).step("leave namespace", "container")?;
        set
    }

    /// What is in a virtual machine or behind a kernel of its own cannot be entered from here, and
    /// whoever tried would be beside it, on the host.
    fn refuse_sandbox(&self, pid: i32, root: &OwnedFd) -> Result<(), SetupError> {
        let step = "start by another runtime";
        let ours = rustix::fs::fstat(root).step(step, "/")?;
        let path = format!("/proc/{pid}/root/");
        let theirs = fs::metadata(&path).step(step, &path)?;
        if (ours.st_dev, ours.st_ino) == (theirs.dev(), theirs.ino()) {
            return Ok(());
        }
        let reason = "it does not run the program in namespaces of this kernel, where berth could \
                      check, enter and copy from the container: such a sandbox cannot be had yet";
        Err(SetupError::refused(step, self.program.runtime.program.display(), reason))
    }
}

/// The way to a descriptor of a process for any other that may look at it.
fn path_of(pid: u32, fd: &OwnedFd) -> String {
    format!("/proc/{pid}/fd/{}", fd.as_raw_fd())
}

/// Takes the master of a terminal that a runtime has sent to this socket.
fn terminal(listener: BorrowedFd<'_>) -> Result<OwnedFd, SetupError> {
    const STEP: &str = "take the terminal of";
    program::wait_readable(listener).step(STEP, "container")?;
    let peer = accept_with(listener, SocketFlags::CLOEXEC).step(STEP, "container")?;
    program::wait_readable(peer.as_fd()).step(STEP, "container")?;
    program::receive_fd(&peer).step(STEP, "container")
}

/// As long as it lives, what loses its parent is our child.
struct Reaper;

impl Reaper {
    fn begin() -> Result<Reaper, SetupError> {
        rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
            .step("become the reaper", "monitor")
            .map(|()| Reaper)
    }
}

impl Drop for Reaper {
    fn drop(&mut self) {
        // Ending it is always allowed.
        let _ = rustix::process::set_child_subreaper(None);
    }
}

/// An open file of this path, for the runtime to read from while it has no other.
fn null() -> Result<File, SetupError> {
    File::options().read(true).write(true).open("/dev/null").step("open", "/dev/null")
}
