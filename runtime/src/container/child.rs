//! The new process, from its first moment in the new namespaces to its program.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use berth_planner::desired::IpcSpace;
use nix::sched::{CloneFlags, unshare};
use rustix::fs::{Mode, OFlags, openat};

use super::cgroup::Group;
use super::channel::{Channel, Packet};
use super::error::{Context, SetupError};
use super::inside::{self, Kind};
use super::mounts::{self, Prepared, Trees, With};
use super::process::{self, Rights, Stdio, Streams};
use super::rootfs::{self, Scratch};
use super::spaces::{self, Taken};
use super::system::{self, Access, Memory};
use super::{device_hooks, fs, init, locked, sysctl};
use crate::bundle::Bundle;
use crate::sabotage::{defence, place};
use crate::sys;

/// What the child takes with it.
#[derive(Debug)]
pub(crate) struct Start<'a> {
    /// The description.
    pub(crate) bundle: &'a Bundle,
    /// Where its streams go.
    pub(crate) stdio: Stdio<'a>,
    /// Its cgroup.
    pub(crate) group: &'a Group,
    /// The v1 files by which it attaches itself.
    pub(crate) attach: &'a [OwnedFd],
    /// Its rights, read from the description.
    pub(crate) rights: Rights,
    /// What is among the mounts.
    pub(crate) with: With,
    /// The user namespace of another container, to be entered.
    pub(crate) user: Option<BorrowedFd<'a>>,
    /// The mount namespace with the shared memory of another container.
    pub(crate) memory: Option<BorrowedFd<'a>>,
    /// Its mounts are to be locked.
    pub(crate) locked: bool,
}

impl Start<'_> {
    /// Becomes the container's first program, or tells the parent why not and ends.
    pub(crate) fn run(&self, channel: &Channel) -> ! {
        let error = match self.build(channel) {
            Ok(streams) if self.bundle.held => process::stay(&streams, channel),
            Ok(streams) => process::execute(&self.bundle.process, &self.rights, streams, channel),
            Err(error) => error,
        };
        drop(channel.send_failure(&error)); // the parent sees the end at least
        sys::exit_now(error.exit_code)
    }

    fn build(&self, channel: &Channel) -> Result<Streams, SetupError> {
        let bundle = self.bundle;
        let dumpable = rustix::process::DumpableBehavior::NotDumpable;
        rustix::process::set_dumpable_behavior(dumpable).step("protect", "process")?;
        rustix::process::umask(Mode::from_raw_mode(0o022));
        attach(self.attach)?;
        let taken = spaces::enter(bundle, self.user, self.memory)?;
        if self.user.is_some() {
            channel.send_entered().step("report", "parent")?;
        }
        if !bundle.cgroup.host_view {
            // Only after attaching: the root of the view is where the process is now.
            unshare(CloneFlags::CLONE_NEWCGROUP).step("unshare", "cgroup namespace")?;
        }
        rootfs::refuse_chroot()?;
        let view = self.arrange(channel, taken)?;
        let streams = match self.stdio {
            Stdio::Terminal => Streams::terminal(view.dev.as_fd(), &bundle.process, channel)?,
            Stdio::Files { stdin, stdout, stderr } => Streams::files(stdin, stdout, stderr)?,
        };
        if let Some(slave) = streams.console() {
            console(&view.dev, slave)?;
        }
        set_names(bundle)?;
        if !device_hooks::before_pivot(bundle) {
            wait_for_network(channel)?;
        }
        place!("sysctl.before_write");
        sysctl::write_all(view.settings.as_fd(), bundle)?;
        process::enter(&view.cwd, cwd_of(bundle))?;
        process::drop_rights(&bundle.process, &self.rights)?;
        device_hooks::start_container(bundle, &self.rights)?;
        if bundle.init {
            init::stay_as_init(&bundle.process, &self.rights)?;
        }
        Ok(streams)
    }

    /// Puts together what the program sees, and leaves everything else behind.
    fn arrange(&self, channel: &Channel, taken: Taken) -> Result<View, SetupError> {
        let bundle = self.bundle;
        let workshop = if self.locked { receive(channel)?.pop() } else { None };
        let trees = Trees::from_fds(bundle, self.with, receive(channel)?)?;
        process::become_user(0, 0, &[])?;
        if let Some(workshop) = &workshop {
            locked::enter(workshop)?;
        }
        let (root, settings, late) = self.mount(channel, trees, taken)?;
        rootfs::pivot(&root)?;
        if workshop.is_some() {
            locked::leave()?;
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        let root = process::folder("/").step("open", "/")?;
        let dev = inside::open(root.as_fd(), "dev", flags).step("open folder", "/dev")?;
        mounts::put_all(root.as_fd(), dev.as_fd(), bundle, late)?;
        let cwd = self.finish(&root)?;
        Ok(View { dev, settings, cwd })
    }

    /// The whole tree of mounts: its root, the folder of kernel settings, and what is not to be
    /// locked.
    fn mount(
        &self,
        channel: &Channel,
        trees: Trees,
        taken: Taken,
    ) -> Result<(OwnedFd, OwnedFd, Vec<Prepared<'_>>), SetupError> {
        let bundle = self.bundle;
        let scratch = Scratch::make(device_hooks::scratch(bundle))?;
        let nosuid = defence!("rights.final", bundle.process.no_new_privs, false);
        let root = scratch.overlay(&bundle.rootfs, &trees.state, &trees.lowers, nosuid)?;
        let settings = system::proc(root.as_fd(), trees.proc.or(taken.proc))?;
        let access = match (bundle.privileged, bundle.contained) {
            (true, _) => Access::All,
            (false, true) => Access::Own,
            (false, false) => Access::None,
        };
        let groups = (self.group, bundle.cgroup.host_view);
        system::sys(root.as_fd(), trees.sysfs, groups, access)?;
        // A user namespace cannot make nodes, whatever its rights.
        let all = bundle.privileged && bundle.id_base.is_none();
        let memory = match (taken.memory, &bundle.ipc) {
            (Some(theirs), _) => Memory::Of(theirs),
            (None, IpcSpace::None) => Memory::None,
            (None, _) => Memory::Own(bundle.shm_size),
        };
        let dev = system::dev(root.as_fd(), memory, all)?;
        if let Some(nodes) = &trees.nodes {
            scratch.hold_nodes(nodes)?;
            mounts::put_nodes(root.as_fd(), dev.as_fd(), bundle, nodes)?;
        }
        let mut early = mounts::prepare(&scratch, bundle, trees.binds)?;
        let late = if self.locked { mounts::from_shared_on(&mut early) } else { Vec::new() };
        mounts::put_all(root.as_fd(), dev.as_fd(), bundle, early)?;
        if !bundle.privileged && !bundle.contained && !bundle.unconfined_paths {
            system::hide(root.as_fd(), &scratch.empty_folder()?)?;
        }
        if device_hooks::before_pivot(bundle) {
            channel.send_mounted().step("report", "parent")?;
            wait_for_network(channel)?;
            device_hooks::create_container(bundle, &scratch)?;
        }
        if self.locked && late.is_empty() {
            self.finish(&root)?;
        }
        Ok((root, settings, late))
    }

    /// What has to wait for all mounts: the working folder, then that the root is read-only.
    fn finish(&self, root: &OwnedFd) -> Result<OwnedFd, SetupError> {
        let cwd = defence!("cwd.inside", cwd_of(self.bundle), "/");
        let cwd = inside::make(root.as_fd(), cwd, Kind::Folder)?;
        if self.bundle.read_only {
            fs::set(root, fs::RDONLY, false).step("make read-only", "/")?;
        }
        Ok(cwd)
    }
}

/// What the program sees.
struct View {
    /// `/dev`.
    dev: OwnedFd,
    /// The folder of kernel settings.
    settings: OwnedFd,
    /// Where the program starts.
    cwd: OwnedFd,
}

fn cwd_of(bundle: &Bundle) -> &str {
    if bundle.process.cwd.is_empty() { "/" } else { &bundle.process.cwd }
}

/// Attaches this process to its v1 groups: a hundred times cheaper than being attached.
pub(crate) fn attach(files: &[OwnedFd]) -> Result<(), SetupError> {
    files.iter().try_for_each(|file| {
        rustix::io::write(file, b"0").map(drop).step("attach to cgroup", "tasks")
    })
}

fn receive(channel: &Channel) -> Result<Vec<OwnedFd>, SetupError> {
    let mut all = Vec::new();
    loop {
        match channel.receive().step("receive mounts", "parent")? {
            Packet::Fds(fds, more) => {
                all.extend(fds);
                if !more {
                    return Ok(all);
                }
            }
            _ => return Err(gone()),
        }
    }
}

fn wait_for_network(channel: &Channel) -> Result<(), SetupError> {
    match channel.receive().step("wait for network", "parent")? {
        Packet::Network => Ok(()),
        _ => Err(gone()),
    }
}

fn gone() -> SetupError {
    SetupError::refused("start", "container", "its monitor ended meanwhile")
}

/// Shows the terminal as `/dev/console` too.
fn console(dev: &OwnedFd, slave: BorrowedFd<'_>) -> Result<(), SetupError> {
    const STEP: &str = "mount console";
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
    openat(dev, "console", flags, Mode::from_raw_mode(0o600)).step(STEP, "/dev/console")?;
    let mount = fs::copy_of(slave, false).step(STEP, "/dev/console")?;
    fs::put_at(&mount, dev.as_fd(), "console").step(STEP, "/dev/console")
}

/// The names of its UTS namespace, if it has one.
fn set_names(bundle: &Bundle) -> Result<(), SetupError> {
    if bundle.host_names {
        return Ok(());
    }
    rustix::system::sethostname(bundle.hostname.as_bytes())
        .step("set hostname", &bundle.hostname)?;
    match &bundle.domainname {
        Some(name) => rustix::system::setdomainname(name.as_bytes()).step("set domainname", name),
        None => Ok(()),
    }
}
