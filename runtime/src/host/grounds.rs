//! What a judgement of the policy stands on: what host paths lead to, whose sockets they are,
//! homes and limits. Only looks.

use std::cell::LazyCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Component, Path, PathBuf};

use berth_planner::policy::{Facts, Kind, Node, PathFact};
use rustix::fs::{CWD, FileType, Mode, OFlags, Stat, fstat, major, minor, openat, readlink};

use super::prepare;
use crate::container::host_limits;
use crate::paths::Roots;
use crate::small;

/// Programs whose sockets give away the host, or somebody's keys, by how they are called.
const ENGINES: [&str; 22] = [
    "berth",
    "buildkitd",
    "containerd",
    "cri-dockerd",
    "crio",
    "dbus-broker",
    "dbus-broker-lau",
    "dbus-daemon",
    "docker",
    "dockerd",
    "gpg-agent",
    "incusd",
    "k3s-server",
    "kubelet",
    "libvirtd",
    "lxd",
    "podman",
    "polkitd",
    "snapd",
    "ssh-agent",
    "systemd",
    "virtqemud",
];
/// Their sockets by parts of their names, for when nobody can see who listens.
const NAMES: [(&str, &str); 12] = [
    ("docker.sock", "docker"),
    ("docker.raw.sock", "docker"),
    ("containerd.sock", "containerd"),
    ("podman.sock", "podman"),
    ("crio.sock", "crio"),
    ("cri-dockerd.sock", "cri-dockerd"),
    ("buildkitd.sock", "buildkitd"),
    ("system_bus_socket", "dbus-daemon"),
    ("S.gpg-agent", "gpg-agent"),
    ("snapd.socket", "snapd"),
    ("libvirt-sock", "libvirtd"),
    ("kubelet.sock", "kubelet"),
];

/// What is known of these paths, for the stack of the folder `project`.
pub fn grounds(roots: &Roots, project: &Path, wanted: &BTreeSet<PathBuf>) -> Facts {
    let listeners = LazyCell::new(Listeners::of_this_host);
    let paths = wanted.iter().map(|path| (path.clone(), look(path, &listeners))).collect();
    Facts {
        paths,
        project: real(project),
        own: vec![real(&roots.state), real(&roots.run), real(&roots.policy())],
        homes: homes(),
        hard_limits: host_limits(),
        ..Facts::default()
    }
}

/// The path without links, as far as it is there.
pub fn real(path: &Path) -> PathBuf {
    if let Ok(real) = fs::canonicalize(path) {
        return real;
    }
    match (path.parent(), path.components().next_back()) {
        (Some(parent), Some(Component::Normal(name))) => real(parent).join(name),
        (Some(parent), Some(Component::ParentDir)) => {
            let before = real(parent);
            before.parent().unwrap_or(&before).to_owned()
        }
        _ => path.to_owned(),
    }
}

/// What is at a path, links followed. The path that is told is that of the thing that was looked
/// at, not of another one that came to its place.
fn look(path: &Path, listeners: &Listeners) -> PathFact {
    let missing = || PathFact {
        real: real(path),
        kind: Kind::Missing,
        object: None,
        device: None,
        sockets: Vec::new(),
    };
    let opened = openat(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
    let Ok(opened) = opened else { return missing() };
    let (Ok(stat), Some(real)) = (fstat(&opened), path_of(&opened)) else { return missing() };
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Kind::File,
        FileType::Directory => Kind::Folder,
        FileType::Socket => Kind::Socket,
        _ => Kind::Other,
    };
    let object = (stat.st_dev, stat.st_ino);
    let sockets = match kind {
        Kind::Socket => listeners.at(&real, object),
        Kind::Folder => listeners.below(&real),
        _ => Vec::new(),
    };
    PathFact { real, kind, object: Some(object), device: device(&stat), sockets }
}

/// The device that a file is.
fn device(stat: &Stat) -> Option<Node> {
    let block = match FileType::from_raw_mode(stat.st_mode) {
        FileType::CharacterDevice => false,
        FileType::BlockDevice => true,
        _ => return None,
    };
    Some(Node { block, major: major(stat.st_rdev), minor: minor(stat.st_rdev) })
}

/// The devices that paths are or hold, as a container would get them.
pub fn nodes(paths: &BTreeSet<PathBuf>) -> BTreeMap<PathBuf, BTreeSet<Node>> {
    let node = |(path, _): (PathBuf, String)| {
        let found = fs::metadata(path).ok()?;
        let (kind, block) = (found.file_type(), found.file_type().is_block_device());
        if !block && !kind.is_char_device() {
            return None;
        }
        let (major, minor) = (major(found.rdev()), minor(found.rdev()));
        Some(Node { block, major, minor })
    };
    let of = |path: &PathBuf| {
        let below = prepare::device_nodes(path, "").unwrap_or_default();
        (path.clone(), below.into_iter().filter_map(node).collect())
    };
    paths.iter().map(of).collect()
}

/// Where an open file is.
pub(crate) fn path_of(file: impl AsFd) -> Option<PathBuf> {
    use std::os::fd::AsRawFd;
    let number = file.as_fd().as_raw_fd();
    let path = readlink(format!("/proc/self/fd/{number}"), Vec::new()).ok()?;
    Some(PathBuf::from(path.into_string().ok()?))
}

/// Unix sockets that somebody listens on: path and number of each.
struct Listeners(Vec<(PathBuf, u64)>);

impl Listeners {
    /// As `/proc/net/unix` has them (unix(7)): flag 0x10000 is that of a listener.
    fn of_this_host() -> Listeners {
        let text = small::text(CWD, "/proc/net/unix").unwrap_or_default();
        let listener = |line: &str| {
            let mut fields = line.split_ascii_whitespace();
            let flags = u32::from_str_radix(fields.nth(3)?, 16).ok()?;
            let number = fields.nth(2)?.parse().ok()?;
            let path = PathBuf::from(fields.next()?);
            (flags & 0x10000 != 0 && path.is_absolute()).then_some((path, number))
        };
        Listeners(text.lines().filter_map(listener).collect())
    }

    /// Engines behind the socket at `path`, whatever it is called there.
    fn at(&self, path: &Path, object: (u64, u64)) -> Vec<String> {
        let same = |listener: &&(PathBuf, u64)| {
            fs::metadata(&listener.0).is_ok_and(|found| (found.dev(), found.ino()) == object)
        };
        let mut engines: BTreeSet<String> = BTreeSet::new();
        for (known, number) in self.0.iter().filter(same) {
            engines.extend(by_name(known));
            engines.extend(owners(*number).into_iter().filter(|owner| is_engine(owner)));
        }
        engines.extend(by_name(path));
        engines.into_iter().collect()
    }

    /// Engines that listen in a folder or below it.
    fn below(&self, folder: &Path) -> Vec<String> {
        let inside = self.0.iter().filter(|(path, _)| path.starts_with(folder));
        let mut engines = BTreeSet::new();
        for (path, number) in inside {
            engines.extend(by_name(path));
            engines.extend(owners(*number).into_iter().filter(|owner| is_engine(owner)));
        }
        engines.into_iter().collect()
    }
}

fn is_engine(owner: &str) -> bool {
    ENGINES.contains(&owner)
}

fn by_name(path: &Path) -> Option<String> {
    let name = path.file_name()?.to_str()?;
    let known = NAMES.iter().find(|(part, _)| name.starts_with(part) || name.ends_with(part));
    known.map(|(_, engine)| (*engine).to_owned())
}

/// Names of the processes that have a socket open.
fn owners(number: u64) -> BTreeSet<String> {
    let link = format!("socket:[{number}]");
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let has = |process: &fs::DirEntry| {
        let files = fs::read_dir(process.path().join("fd")).into_iter().flatten().flatten();
        files.into_iter().any(|file| {
            fs::read_link(file.path()).is_ok_and(|target| target.as_os_str() == link.as_str())
        })
    };
    let name = |process: fs::DirEntry| fs::read_to_string(process.path().join("comm")).ok();
    let names = processes.filter(has).filter_map(name);
    names.map(|name| name.trim().to_owned()).collect()
}

/// Homes of root and of people, as passwd(5) has them.
fn homes() -> BTreeSet<PathBuf> {
    let text = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let home = |line: &str| {
        let fields: Vec<&str> = line.split(':').collect();
        let user: u32 = fields.get(2)?.parse().ok()?;
        let home = Path::new(fields.get(5)?);
        let of_people = user == 0 || (1000..65534).contains(&user);
        (of_people && home.is_absolute() && home != Path::new("/")).then(|| real(home))
    };
    text.lines().filter_map(home).collect()
}

/// What judged paths led to, for the run that judged them.
pub(super) type Held = BTreeMap<PathBuf, (PathBuf, Option<(u64, u64)>)>;

/// Of facts, what a run holds its mounts to.
pub(super) fn held(facts: &Facts) -> Held {
    let of = |fact: &PathFact| (fact.real.clone(), fact.object);
    facts.paths.iter().map(|(path, fact)| (path.clone(), of(fact))).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    use super::*;

    fn folder(name: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("berth-grounds-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).unwrap();
        dir.canonicalize().unwrap()
    }

    fn fact(path: &Path) -> PathFact {
        look(path, &Listeners::of_this_host())
    }

    #[test]
    fn a_link_is_what_it_leads_to_and_what_is_missing_is_where_it_would_be() {
        let dir = folder("links");
        symlink("/etc", dir.join("etc")).unwrap();
        let found = fact(&dir.join("etc/passwd"));
        assert_eq!((found.real, found.kind), (PathBuf::from("/etc/passwd"), Kind::File));
        assert_eq!(fact(&dir.join("etc/no/such")).real, Path::new("/etc/no/such"));
        assert_eq!(fact(&dir.join("no/../../x")).real, dir.parent().unwrap().join("x"));
        assert_eq!(fact(&dir.join("no")).kind, Kind::Missing);
        fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn a_socket_is_known_by_its_name_and_by_that_of_another_link_to_it() {
        let dir = folder("sockets");
        let _listener = UnixListener::bind(dir.join("docker.sock")).unwrap();
        fs::hard_link(dir.join("docker.sock"), dir.join("harmless")).unwrap();
        for name in ["docker.sock", "harmless"] {
            let found = fact(&dir.join(name));
            assert_eq!((found.kind, found.sockets), (Kind::Socket, vec!["docker".to_owned()]));
        }
        assert_eq!(fact(&dir).sockets, ["docker"]);
        fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn a_device_is_told_with_its_numbers() {
        let device = fact(Path::new("/dev/null")).device.map(|node| node.to_string());
        assert_eq!(device.as_deref(), Some("c 1:3"));
        let folder = [PathBuf::from("/dev")];
        let below = &nodes(&folder.clone().into())[&folder[0]];
        assert!(below.contains(&Node { block: false, major: 1, minor: 3 }), "{below:?}");
        assert_eq!(fact(Path::new("/dev")).device, None);
    }

    #[test]
    fn the_hosts_policy_is_our_own_wherever_the_state_is() {
        for roots in [Roots::default(), Roots::below(Path::new("/srv/else"))] {
            let facts = grounds(&roots, Path::new("/srv/shop"), &BTreeSet::new());
            assert!(facts.own.contains(&real(&roots.policy())), "{:?}", facts.own);
        }
    }

    #[test]
    fn a_socket_of_anybody_else_is_just_a_socket() {
        let dir = folder("own");
        let _listener = UnixListener::bind(dir.join("app.sock")).unwrap();
        let found = fact(&dir.join("app.sock"));
        assert_eq!((found.kind, found.sockets), (Kind::Socket, vec![]));
        fs::remove_dir_all(&dir).unwrap();
    }
}
