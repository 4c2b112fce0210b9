//! The files that a runtime is given, in a mount namespace that is its own and ends with it.
//!
//! What is ours below `/run` is covered there by memory in which everything lies ready: the root
//! file system, each mount of the description with its ids mapped and its attributes set, the
//! cgroups, the nodes of devices. The runtime's own folder is where it is outside as well. All
//! else of the host looks as it does.

use std::collections::BTreeMap;
use std::fs as files;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use berth_planner::desired::IpcSpace;
use nix::unistd::{Gid, Uid, setfsgid, setfsuid};
use rustix::fs::{CWD, Mode, OFlags, mkdirat, openat};
use rustix::mount::{MountPropagationFlags, UnmountFlags, mount_change, unmount};

use super::super::cgroup::Group;
use super::super::devices::{self, Node};
use super::super::error::{Context, SetupError};
use super::super::mounts::{self, Trees, kind_of};
use super::super::rootfs::Scratch;
use super::super::{fs, inside, process, system};
use super::Places;
use crate::bundle::{Bundle, BundleSource};

/// A mount namespace in which nothing that is mounted reaches others.
pub(super) fn separate() -> Result<(), SetupError> {
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    mount_change("/", private).step("make mounts private", "/")
}

/// Covers the list of the controllers of a cgroup tree: crun refuses a host where v2 has one beside
/// v1 hierarchies.
pub(super) fn hide(tree: &Path) -> Result<(), SetupError> {
    let empty = inside::device("null", 1, 3)?;
    let empty = fs::copy_of(&empty, false).step("hide", tree.display())?;
    put(&empty, &tree.join("cgroup.controllers"))
}

fn put(mount: &OwnedFd, path: &Path) -> Result<(), SetupError> {
    let target = openat(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
    let target = target.step("open mount target", path.display())?;
    fs::put_on(mount, &target).step("mount", path.display())
}

/// A mount of a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Part {
    /// Where it is in the tree: nothing, or `/` and a path.
    pub(super) below: String,
    /// Where it is for the runtime.
    pub(super) place: PathBuf,
}

/// The mounts of each tree, what is above others first.
pub(super) type Parts = BTreeMap<String, Vec<Part>>;

/// The tree of the cgroups among [`Parts`].
pub(super) const GROUPS: &str = "groups";

/// What is built.
pub(super) struct Stage<'a> {
    pub(super) bundle: &'a Bundle,
    pub(super) group: &'a Group,
    pub(super) places: &'a Places,
}

impl Stage<'_> {
    /// Puts everything in its place: the root, and the socket for the master of a terminal; and
    /// what each tree of mounts consists of.
    pub(super) fn build(&self, trees: &Trees) -> Result<(Vec<OwnedFd>, Parts), SetupError> {
        let (bundle, places) = (self.bundle, self.places);
        let scratch = self.cover()?;
        let nosuid = bundle.process.no_new_privs;
        let overlay = || scratch.overlay(&bundle.rootfs, &trees.state, &trees.lowers, nosuid);
        let root = as_root_of(bundle.id_base, overlay)?;
        if let Some(nodes) = &trees.nodes {
            scratch.hold_nodes(nodes)?;
        }
        let mut parts = self.mounts(&scratch, trees)?;
        parts.insert(GROUPS.to_owned(), self.groups()?);
        let ready = [(&trees.sysfs, places.sysfs()), (&trees.proc, places.proc())];
        for (mount, path) in ready {
            if let Some(mount) = mount {
                folder(&path)?;
                put(mount, &path)?;
            }
        }
        if bundle.ipc == IpcSpace::Host {
            let memory = fs::copy_of_path(Path::new("/dev/shm"));
            folder(&places.memory())?;
            put(&memory.step("join shared memory", "/dev/shm")?, &places.memory())?;
        }
        let mut given = vec![root];
        if bundle.tty {
            let path = places.console();
            let listener = UnixListener::bind(&path).step("listen", path.display())?;
            given.push(listener.into());
        }
        Ok((given, parts))
    }

    /// Covers what is ours, but for the folder of the runtime.
    fn cover(&self) -> Result<Scratch, SetupError> {
        let path = &self.places.folder;
        let own = fs::copy_of_path(path).step("keep folder", path.display())?;
        let scratch = Scratch::over(&self.places.cover)?;
        files::create_dir_all(path).step("make folder", path.display())?;
        put(&own, path)?;
        Ok(scratch)
    }

    fn mounts(&self, scratch: &Scratch, trees: &Trees) -> Result<Parts, SetupError> {
        let mut parts = Parts::new();
        let mut binds = trees.binds.iter();
        for (index, mount) in self.bundle.mounts.iter().enumerate() {
            let target = &mount.target;
            let missing = || SetupError::refused("bind", target, "its mount is missing");
            let image;
            let tree = match &mount.source {
                BundleSource::Bind { .. } => binds.next().ok_or_else(missing)?,
                BundleSource::Image { lowers, below } => {
                    let layers: Vec<&OwnedFd> = binds.by_ref().take(lowers.len()).collect();
                    image = mounts::image(scratch, index, &layers, below.as_deref())?;
                    &image
                }
                BundleSource::Tmpfs { .. } => continue,
            };
            parts.insert(index.to_string(), self.take_apart(&index.to_string(), tree)?);
        }
        Ok(parts)
    }

    /// The cgroups as the container sees them.
    fn groups(&self) -> Result<Vec<Part>, SetupError> {
        let path = self.places.whole();
        make(&path, inside::Kind::Folder)?;
        let target = openat(CWD, &path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
        let target = target.step("open mount target", path.display())?;
        let mut attr = fs::NOSUID | fs::NODEV | fs::NOEXEC;
        if !self.bundle.privileged {
            attr |= fs::RDONLY;
        }
        system::cgroups(&target, (self.group, self.bundle.cgroup.host_view), attr)?;
        let made = openat(CWD, &path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
        let made = made.step("open cgroups", path.display())?;
        let tree = fs::copy_of(&made, true).step("copy cgroups", path.display())?;
        unmount(&path, UnmountFlags::DETACH).step("unmount", path.display())?;
        files::remove_dir(&path).step("remove", path.display())?;
        self.take_apart(GROUPS, &tree)
    }

    /// Puts each mount of a tree in a place of its own.
    fn take_apart(&self, name: &str, tree: &OwnedFd) -> Result<Vec<Part>, SetupError> {
        const STEP: &str = "take mounts apart";
        let whole = self.places.whole();
        let kind = kind_of(tree).step(STEP, name)?;
        make(&whole, kind)?;
        put(tree, &whole)?;
        let mounts = files::read_to_string("/proc/self/mountinfo").step(STEP, name)?;
        let mut parts = Vec::new();
        for below in mounts_at(&mounts, &whole) {
            let path = PathBuf::from(format!("{}{below}", whole.display()));
            let part = fs::copy_of_path(&path).step(STEP, path.display())?;
            let place = self.places.part(name, parts.len());
            make(&place, kind_of(&part).step(STEP, path.display())?)?;
            put(&part, &place)?;
            parts.push(Part { below, place });
        }
        unmount(&whole, UnmountFlags::DETACH).step("unmount", whole.display())?;
        match kind {
            inside::Kind::Folder => files::remove_dir(&whole),
            inside::Kind::File => files::remove_file(&whole),
        }
        .step("remove", whole.display())?;
        Ok(parts)
    }
}

/// What of the mounts in the text of a `mountinfo` file is at `whole` (nothing) and below it (`/`
/// and a path), what is above others first.
fn mounts_at(mountinfo: &str, whole: &Path) -> Vec<String> {
    let whole = whole.display().to_string();
    let below = |line: &str| {
        let point = unescaped(line.split(' ').nth(4)?);
        let rest = point.strip_prefix(&whole)?;
        (rest.is_empty() || rest.starts_with('/')).then(|| rest.to_owned())
    };
    let mut found: Vec<String> = mountinfo.lines().filter_map(below).collect();
    found.sort();
    // Of several at one place the last covers the others, and a path leads to that one.
    found.dedup();
    found
}

/// Spaces, tabs, ends of lines and backslashes are octal numbers in `mountinfo` (proc_pid_mountinfo(5)).
fn unescaped(text: &str) -> String {
    let pairs = [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")];
    pairs.iter().fold(text.to_owned(), |text, (code, letter)| text.replace(code, letter))
}

fn make(path: &Path, kind: inside::Kind) -> Result<(), SetupError> {
    match kind {
        inside::Kind::Folder => folder(path),
        inside::Kind::File => {
            files::File::create_new(path).map(drop).step("make file", path.display())
        }
    }
}

/// Does something to files as the root of a container whose ids begin there, with the rights over
/// them that we have. An overlay works in its folders as who has mounted it, and our own user is
/// nobody where ids are mapped.
fn as_root_of<T>(
    id_base: Option<u32>,
    act: impl FnOnce() -> Result<T, SetupError>,
) -> Result<T, SetupError> {
    const STEP: &str = "become user";
    let Some(base) = id_base else { return act() };
    let before = rustix::thread::capabilities(None).step(STEP, base)?;
    setfsgid(Gid::from_raw(base));
    setfsuid(Uid::from_raw(base));
    // Another user for files costs the rights over them (credentials(7)).
    let acted =
        rustix::thread::set_capabilities(None, before).step(STEP, base).and_then(|()| act());
    setfsuid(Uid::from_raw(0));
    setfsgid(Gid::from_raw(0));
    acted
}

fn folder(path: &Path) -> Result<(), SetupError> {
    let made = mkdirat(CWD, path, Mode::from_raw_mode(0o755));
    made.step("make folder", path.display())
}

/// The devices of the host, for who gets them all.
pub(super) fn all_devices(bundle: &Bundle) -> Result<Vec<Node>, SetupError> {
    match bundle.privileged && bundle.id_base.is_none() {
        true => devices::all(),
        false => Ok(Vec::new()),
    }
}

/// Where the CPUs of this host count their throttling.
pub(super) fn throttles() -> Vec<String> {
    let root = process::folder("/");
    root.ok().and_then(|root| system::throttles(root.as_fd()).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mounts_of_a_tree_are_found_by_their_paths() {
        let info = "30 1 0:1 / /run/whole rw - ext4 a rw\n\
                    31 30 0:2 / /run/whole/b rw - tmpfs a rw\n\
                    32 30 0:2 / /run/whole/a\\040b\\134c rw - tmpfs a rw\n\
                    33 30 0:2 / /run/whole/b rw - tmpfs a rw\n\
                    34 30 0:2 / /run/whole-other rw - tmpfs a rw\n";
        assert_eq!(mounts_at(info, Path::new("/run/whole")), ["", "/a b\\c", "/b"]);
    }
}
