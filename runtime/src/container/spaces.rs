//! Namespaces: those a container has of its own, and those it shares.
//!
//! Namespaces of another container are entered by the parent for the moment of the clone, so the
//! child is born in them. Whose processes or shared memory a container uses, with them it has to
//! share the user namespace as well: elsewhere it could neither show the processes nor be the
//! owner of anything in the memory. A process cannot come back from a user namespace, so that one
//! is entered by the child, which makes its other namespaces only then: they belong to it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use berth_planner::desired::{IpcSpace, PidSpace};
use nix::sched::{CloneFlags, unshare};
use rustix::fs::OFlags;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::error::{Context, SetupError};
use super::exec::Target;
use super::spawn::{open, status};
use super::{fs, inside, process};
use crate::bundle::{Bundle, Network};

type Kind = LinkNameSpaceType;

/// Our own namespaces, left until [`Entered::leave`].
#[derive(Debug, Default)]
pub(super) struct Entered(Vec<(Kind, OwnedFd)>);

/// The namespaces of others that a container shares.
#[derive(Debug, Default)]
pub(super) struct Joined {
    /// Where we are in them ourselves.
    pub(super) entered: Entered,
    /// The user namespace that the child enters.
    pub(super) user: Option<OwnedFd>,
    /// The mount namespace with the shared memory.
    pub(super) memory: Option<OwnedFd>,
}

impl Joined {
    /// Finds and enters what the description shares.
    pub(super) fn enter(bundle: &Bundle) -> Result<Joined, SetupError> {
        let mut joined = Joined::default();
        let mut theirs = Vec::new();
        if let Network::Container(name) = &bundle.network {
            theirs.push((Kind::Network, Owner::find(bundle, "join network", name)?.open("net")?));
        }
        let pid = match &bundle.pid {
            PidSpace::Container(name) => Some(Owner::find(bundle, "join processes", name)?),
            PidSpace::Own | PidSpace::Host => None,
        };
        let ipc = match &bundle.ipc {
            IpcSpace::Container(name) => Some(Owner::find(bundle, "join shared memory", name)?),
            IpcSpace::Own | IpcSpace::Shareable | IpcSpace::None | IpcSpace::Host => None,
        };
        if let Some(owner) = &pid {
            theirs.push((Kind::ProcessID, owner.open("pid")?));
        }
        if let Some(owner) = &ipc {
            theirs.push((Kind::InterProcessCommunication, owner.open("ipc")?));
            joined.memory = Some(owner.open("mnt")?);
        }
        if let (Some(base), Some(owner)) = (bundle.id_base, pid.as_ref().or(ipc.as_ref())) {
            joined.user = Some(owner.user(base)?);
        }
        for (kind, namespace) in theirs {
            if let Err(error) = joined.entered.step_into(kind, &namespace) {
                return Err(joined.entered.leave().err().unwrap_or(error));
            }
        }
        if bundle.id_base.is_some() && matches!(bundle.network, Network::Container(_)) {
            let pings = let_all_ping().step("set sysctl", PING_GROUPS);
            pings.map_err(|error| joined.entered.leave().err().unwrap_or(error))?;
        }
        Ok(joined)
    }

    /// Mounts that only we can make, because what they show belongs to another user namespace
    /// than the container's: a sysfs of a shared network, a procfs of the host.
    pub(super) fn mounts(&self, bundle: &Bundle) -> Result<[Option<OwnedFd>; 2], SetupError> {
        let mapped = bundle.id_base.is_some();
        let needs_sysfs = mapped && matches!(bundle.network, Network::Container(_));
        let needs_proc = mapped && bundle.pid == PidSpace::Host && self.user.is_none();
        let attr = fs::NOSUID | fs::NODEV | fs::NOEXEC;
        let sysfs = needs_sysfs.then(|| fs::new("sysfs", &[], attr | fs::RDONLY));
        let proc = needs_proc.then(|| fs::new("proc", &[], attr));
        Ok([sysfs.transpose()?, proc.transpose()?])
    }
}

impl Entered {
    fn step_into(&mut self, kind: Kind, namespace: &OwnedFd) -> Result<(), SetupError> {
        let own = match kind {
            Kind::Network => "/proc/self/ns/net",
            Kind::ProcessID => "/proc/self/ns/pid_for_children",
            _ => "/proc/self/ns/ipc",
        };
        let own = open(own)?;
        move_into_link_name_space(namespace.as_fd(), Some(kind)).step("join namespace", "other")?;
        self.0.push((kind, own));
        Ok(())
    }

    /// Goes back.
    pub(super) fn leave(&mut self) -> Result<(), SetupError> {
        let mut left = Ok(());
        for (kind, own) in self.0.drain(..) {
            let back = move_into_link_name_space(own.as_fd(), Some(kind));
            left = left.and(back.step("leave namespace", "container"));
        }
        left
    }
}

const PING_GROUPS: &str = "/proc/sys/net/ipv4/ping_group_range";

/// Lets the groups of every container open sockets for pings in the network namespace we are in.
/// As it is made, only those of the user namespace of its first container may. What its file sets
/// itself stays.
fn let_all_ping() -> io::Result<()> {
    let range = std::fs::read_to_string(PING_GROUPS)?;
    let mut ends = range.split_whitespace().filter_map(|end| end.parse::<u32>().ok());
    let ours =
        matches!((ends.next(), ends.next()), (Some(a), Some(b)) if b.wrapping_sub(a) == 65_535);
    if ours { std::fs::write(PING_GROUPS, format!("0 {}", i32::MAX)) } else { Ok(()) }
}

/// A container that runs and whose namespaces are shared.
struct Owner<'a> {
    step: &'static str,
    name: &'a str,
    target: Target,
}

impl Owner<'_> {
    /// The container of this name, by what its monitor wrote down.
    fn find<'a>(
        bundle: &Bundle,
        step: &'static str,
        name: &'a str,
    ) -> Result<Owner<'a>, SetupError> {
        let folder = bundle.run_dir.parent().unwrap_or(Path::new("/")).join(name);
        let status = status(&folder.join("status.json"))?;
        let target = Target::from_status(&status)
            .ok_or_else(|| SetupError::refused(step, name, "that container does not run"))?;
        Ok(Owner { step, name, target })
    }

    fn open(&self, namespace: &str) -> Result<OwnedFd, SetupError> {
        let opened = open(&format!("/proc/{}/ns/{namespace}", self.target.pid))?;
        // Still the same process after opening: then the namespace is its.
        self.check_alive().map(|()| opened)
    }

    fn check_alive(&self) -> Result<(), SetupError> {
        match self.target.is_alive() {
            true => Ok(()),
            false => Err(SetupError::refused(self.step, self.name, "that container does not run")),
        }
    }

    /// Its user namespace, whose ids must begin at `base`.
    fn user(&self, base: u32) -> Result<OwnedFd, SetupError> {
        let path = format!("/proc/{}/uid_map", self.target.pid);
        let map = std::fs::read_to_string(&path).step(self.step, &path)?;
        self.check_alive()?;
        if map.split_whitespace().nth(1) != Some(base.to_string().as_str()) {
            let reason = "its user ids are others now: `berth up` makes this container anew";
            return Err(SetupError::refused(self.step, self.name, reason));
        }
        self.open("user")
    }
}

/// Namespaces that the container is born with.
pub(super) fn born_with(bundle: &Bundle, joins_user: bool) -> CloneFlags {
    let mut flags = CloneFlags::empty();
    flags.set(CloneFlags::CLONE_NEWPID, bundle.pid == PidSpace::Own);
    if !joins_user {
        flags |= made(bundle);
        flags.set(CloneFlags::CLONE_NEWUSER, bundle.id_base.is_some());
    }
    flags
}

/// Namespaces that belong to the container's user namespace.
fn made(bundle: &Bundle) -> CloneFlags {
    let mut flags = CloneFlags::CLONE_NEWNS;
    flags.set(CloneFlags::CLONE_NEWUTS, !bundle.host_names);
    flags.set(CloneFlags::CLONE_NEWIPC, has_own_ipc(bundle));
    flags.set(CloneFlags::CLONE_NEWNET, has_own_network(bundle));
    flags
}

/// A network of its own, and with it settings of its own.
pub(super) fn has_own_network(bundle: &Bundle) -> bool {
    matches!(bundle.network, Network::Own(_))
}

/// Shared memory and queues of its own, and with them settings of its own.
pub(super) fn has_own_ipc(bundle: &Bundle) -> bool {
    match bundle.ipc {
        IpcSpace::Own | IpcSpace::Shareable | IpcSpace::None => true,
        IpcSpace::Host | IpcSpace::Container(_) => false,
    }
}

/// What the child takes along from outside its user namespace.
#[derive(Debug, Default)]
pub(super) struct Taken {
    /// A procfs of its pid namespace.
    pub(super) proc: Option<OwnedFd>,
    /// The shared memory of the host or another container.
    pub(super) memory: Option<OwnedFd>,
}

/// Enters the user namespace of another container, if it is to, and makes the others.
pub(super) fn enter(
    bundle: &Bundle,
    user: Option<BorrowedFd<'_>>,
    memory: Option<BorrowedFd<'_>>,
) -> Result<Taken, SetupError> {
    let mut taken = Taken::default();
    if bundle.ipc == IpcSpace::Host {
        let tree = fs::copy_of_path(Path::new("/dev/shm"));
        taken.memory = Some(tree.step("join shared memory", "/dev/shm")?);
    }
    if let Some(memory) = memory {
        taken.memory = Some(memory_of(memory)?);
    }
    let Some(user) = user else { return Ok(taken) };
    // In a pid namespace of our own, which the user namespace does not own.
    let attr = fs::NOSUID | fs::NODEV | fs::NOEXEC;
    taken.proc = Some(fs::new("proc", &[], attr)?);
    move_into_link_name_space(user, Some(Kind::User)).step("join namespace", "user")?;
    unshare(made(bundle)).step("unshare", "namespaces")?;
    Ok(taken)
}

/// A copy of the mount at `/dev/shm` in the mount namespace of another container.
fn memory_of(theirs: BorrowedFd<'_>) -> Result<OwnedFd, SetupError> {
    const STEP: &str = "join shared memory";
    let own = open("/proc/self/ns/mnt")?;
    move_into_link_name_space(theirs, Some(Kind::Mount)).step(STEP, "/dev/shm")?;
    let tree = process::folder("/").map_err(std::io::Error::from).and_then(|root| {
        // That container may have put anything there, a link to a descriptor of ours as well.
        let place = inside::open(root.as_fd(), "dev/shm", OFlags::PATH | OFlags::NOFOLLOW)?;
        Ok(fs::copy_of(&place, false)?)
    });
    move_into_link_name_space(own.as_fd(), Some(Kind::Mount)).step(STEP, "/")?;
    tree.step(STEP, "/dev/shm")
}
