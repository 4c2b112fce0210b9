//! A mapping of ids for mounts alone, other than that of the container.

use std::fmt::Write as _;
use std::os::fd::OwnedFd;

use rustix::process::{Pid, WaitOptions, waitpid};

use super::channel::Channel;
use super::error::{Context, SetupError};
use super::spawn::{self, IDS};
use crate::bundle::BindOwner;
use crate::sys::{self, Cloned};

/// A user namespace in which files of `owner` on the host are its user's inside. Nobody lives in it:
/// it is given to mount_setattr(2).
pub(super) fn of_owner(owner: &BindOwner, id_base: Option<u32>) -> Result<OwnedFd, SetupError> {
    const STEP: &str = "make a mapping of ids";
    let (ours, theirs) = Channel::pair().step(STEP, "socket pair")?;
    let pid = match sys::clone_process(libc::CLONE_NEWUSER, None).step(STEP, "clone")? {
        Cloned::Child => {
            drop(ours);
            // Ends with the end of the other side, whatever becomes of it.
            let _ = theirs.receive();
            sys::exit_now(0)
        }
        Cloned::Parent { pid, .. } => pid,
    };
    drop(theirs);
    let (base, count) = id_base.map_or((0, u32::MAX), |base| (base, IDS));
    let map = |host, inside| swapped(host, inside, base, count);
    let made = spawn::write(&format!("/proc/{pid}/uid_map"), &map(owner.host.0, owner.inside.0))
        .and_then(|()| {
            let gids = map(owner.host.1, owner.inside.1);
            spawn::write(&format!("/proc/{pid}/gid_map"), &gids)
        })
        .and_then(|()| spawn::open(&format!("/proc/{pid}/ns/user")));
    drop(ours);
    let _ = waitpid(Pid::from_raw(pid), WaitOptions::empty());
    made
}

/// Lines of `uid_map` (user_namespaces(7)) that give the ids on disk below `count` those from
/// `base` on, but for two that change places: `host` on disk is `inside` in the container.
///
/// A mapping is one to one, so `inside` on disk has to be somebody else. A `host` beyond `count` has
/// nobody to change places with: then nobody has `inside` on disk.
fn swapped(host: u32, inside: u32, base: u32, count: u32) -> String {
    let mut lines = String::new();
    let mut line = |disk: u32, shown: u32, length: u32| {
        if length > 0 {
            let _ = writeln!(lines, "{disk} {} {length}", base + shown);
        }
    };
    let (low, high) = (host.min(inside), host.max(inside));
    if host == inside || inside >= count {
        line(0, 0, count);
    } else if high >= count {
        line(0, 0, low);
        line(low + 1, low + 1, count - low - 1);
        line(host, inside, 1);
    } else {
        line(0, 0, low);
        line(low, high, 1);
        line(low + 1, low + 1, high - low - 1);
        line(high, low, 1);
        line(high + 1, high + 1, count - high - 1);
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_ids_change_places_and_the_others_stay() {
        let lines = |host, inside| swapped(host, inside, 100_000, 65_536).replace('\n', "; ");
        assert_eq!(lines(7, 7), "0 100000 65536; ");
        assert_eq!(lines(1000, 0), "0 101000 1; 1 100001 999; 1000 100000 1; 1001 101001 64535; ");
        assert_eq!(lines(0, 1), "0 100001 1; 1 100000 1; 2 100002 65534; ");
        assert_eq!(lines(70_000, 0), "1 100001 65535; 70000 100000 1; ");
        assert_eq!(lines(5, 70_000), "0 100000 65536; ");
        assert_eq!(swapped(1000, 0, 0, u32::MAX).lines().count(), 4);
    }
}
