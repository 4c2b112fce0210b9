//! The container room: a description becomes a process in namespaces of its own.
//!
//! Everything here runs in a small process with one thread, the container's monitor, or in the
//! clone of it that becomes the container. The parent does what needs the host's root: it makes
//! the cgroup, writes the id maps, copies the mounts with their ids mapped, makes the network.
//! The child builds its root out of these, gives up its rights and executes the program. Paths
//! of the container are resolved by the kernel inside its root, never by string.
//!
//! Reading order: [`spawn`](spawn()) (the parent), `child` (the order of the child's steps),
//! `rootfs`, `system`, `mounts` and `locked` (what it sees), `process`, `seccomp` and `apparmor` (what
//! it may), `exec` (a further process), `processes` (what runs in it), `lost` (what
//! does not end), [`cgroup`], [`users`], `oci`
//! (containers that another program makes).

pub mod cgroup;
pub mod users;

mod apparmor;
mod caps;
mod channel;
mod child;
mod confine;
mod device_hooks;
mod devices;
mod error;
mod exec;
mod fs;
mod helper;
mod hold;
mod idmap;
mod init;
mod inside;
mod locked;
pub(crate) mod lost;
mod mounts;
mod oci;
mod process;
mod processes;
mod rlimits;
mod rootfs;
mod seccomp;
pub(crate) mod settings;
mod spaces;
mod spawn;
mod sysctl;
mod system;

pub(crate) use caps::keep_those_over_files;
pub use caps::{ALL_CAPABILITIES, DEFAULT_CAPABILITIES};
pub(crate) use channel::{Channel, Packet};
pub(crate) use confine::confine;
pub(crate) use device_hooks::{ended, started};
pub use error::SetupError;
pub use exec::{Child, ExecSpec, Starting, Target, begin, exec, exec_in};
pub use helper::{Helper, WORD as HELPER_WORD, helper_main, start_helper};
pub(crate) use hold::{Held, hold};
pub(crate) use inside::{is_kernel_file_system, open as open_inside};
pub(crate) use oci::forget;
pub use process::Stdio;
pub use processes::{Process, processes};
pub(crate) use rlimits::make_room;
pub use rlimits::{hard_limits, host_limits};
pub use spawn::{IDS, Init, spawn};

#[cfg(feature = "sabotage")]
pub(crate) use inside::{Kind, open as open_in_root};

/// The file system of security modules, mounted nowhere.
pub(crate) fn mount_securityfs() -> Result<std::os::fd::OwnedFd, SetupError> {
    fs::new("securityfs", &[], fs::NOSUID | fs::NODEV | fs::NOEXEC | fs::RDONLY)
}

/// Makes this process the root of the user namespace that it has joined.
pub(crate) fn become_root() -> Result<(), SetupError> {
    process::become_user(0, 0, &[])
}

#[cfg(test)]
mod tests;
