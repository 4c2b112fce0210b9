//! The namespaces that a runtime is given: those that something is done in before the container is
//! there.
//!
//! A network belongs to a user namespace and is connected from outside; the root of a cgroup
//! namespace is where a process was when it made it. So a process of ours, which nobody else ever
//! sees, makes these, and they live on in our descriptors.

use std::os::fd::{AsFd, OwnedFd};

use nix::sched::{CloneFlags, unshare};
use rustix::process::{Pid, WaitOptions, waitpid};

use super::super::cgroup::Group;
use super::super::channel::{Channel, Packet};
use super::super::child::attach;
use super::super::error::{Context, SetupError};
use super::super::spaces::{Joined, has_own_network};
use super::super::spawn::{IDS, Net, open, write};
use crate::bundle::Bundle;
use crate::sys::{self, Cloned};

/// Namespaces of a container that is about to be made, and what only we can mount in them.
#[derive(Debug)]
pub(super) struct Spaces {
    /// Its user namespace, if it is not the host's.
    pub(super) user: Option<OwnedFd>,
    /// Its network.
    pub(super) network: OwnedFd,
    /// That is nobody else's.
    pub(super) own_network: bool,
    /// Its cgroup namespace, if it is not the host's.
    pub(super) groups: Option<OwnedFd>,
    /// A sysfs of a network that belongs to another user namespace.
    pub(super) sysfs: Option<OwnedFd>,
    /// A procfs of the host.
    pub(super) proc: Option<OwnedFd>,
}

impl Spaces {
    /// Makes them, and has a network of its own connected.
    pub(super) fn make(
        bundle: &Bundle,
        group: &Group,
        configure_net: Net<'_>,
    ) -> Result<Spaces, SetupError> {
        let files = group.attach_files()?;
        let birth = group.birth_folder()?;
        let mut joined = Joined::enter(bundle)?;
        let mounts = match joined.mounts(bundle) {
            Ok(mounts) => mounts,
            Err(error) => return Err(joined.entered.leave().err().unwrap_or(error)),
        };
        let mut flags = CloneFlags::empty();
        flags.set(CloneFlags::CLONE_NEWUSER, bundle.id_base.is_some());
        flags.set(CloneFlags::CLONE_NEWNET, has_own_network(bundle));
        let (ours, theirs) = Channel::pair().step("open", "socket pair")?;
        let cloned = sys::clone_process(flags.bits(), birth.as_ref().map(AsFd::as_fd));
        let pid = match cloned {
            Ok(Cloned::Child) => {
                drop(ours);
                hold(&theirs, &files)
            }
            Ok(Cloned::Parent { pid, .. }) => pid,
            Err(error) => {
                joined.entered.leave()?;
                return Err(SetupError::kernel("clone", &bundle.name, &error));
            }
        };
        drop(theirs);
        let made = joined.entered.leave().and_then(|()| take(bundle, pid, &ours, mounts));
        drop(ours);
        // It ends with the channel.
        let _ = waitpid(Pid::from_raw(pid), WaitOptions::empty());
        let made = made?;
        if has_own_network(bundle) {
            configure_net(made.network.as_fd())
                .map_err(|reason| SetupError::refused("configure network", &bundle.name, reason))?;
        }
        Ok(made)
    }
}

/// The process: makes the cgroup namespace where the container will be, and waits.
fn hold(channel: &Channel, files: &[OwnedFd]) -> ! {
    let made = attach(files)
        .and_then(|()| unshare(CloneFlags::CLONE_NEWCGROUP).step("unshare", "cgroup namespace"));
    let _ = match &made {
        Ok(()) => channel.send_entered(),
        Err(error) => channel.send_failure(error),
    };
    // Until the other side is done.
    let _ = channel.receive();
    sys::exit_now(0)
}

/// Opens what the process has made.
fn take(
    bundle: &Bundle,
    pid: i32,
    channel: &Channel,
    [sysfs, proc]: [Option<OwnedFd>; 2],
) -> Result<Spaces, SetupError> {
    if let Some(base) = bundle.id_base {
        write(&format!("/proc/{pid}/uid_map"), &format!("0 {base} {IDS}"))?;
        write(&format!("/proc/{pid}/gid_map"), &format!("0 {base} {IDS}"))?;
    }
    match channel.receive().step("make namespaces of", &bundle.name)? {
        Packet::Entered => {}
        Packet::Failed(error) => return Err(error),
        _ => {
            let reason = "the process that makes them ended";
            return Err(SetupError::refused("make namespaces of", &bundle.name, reason));
        }
    }
    let space = |name: &str| open(&format!("/proc/{pid}/ns/{name}"));
    Ok(Spaces {
        user: bundle.id_base.map(|_| space("user")).transpose()?,
        network: space("net")?,
        own_network: has_own_network(bundle),
        groups: (!bundle.cgroup.host_view).then(|| space("cgroup")).transpose()?,
        sysfs,
        proc,
    })
}
