//! Which processes hold a socket, from the links in `/proc/PID/fd` (proc_pid_fd(5)).

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use berth_planner::observed::PortOwner;

/// What a process says of itself, for people only: anybody can be called anything.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Holder {
    pid: i32,
    name: String,
    unit: Option<String>,
    /// The container whose monitor it is, and whether that is one below our run folder.
    container: Option<(String, bool)>,
}

impl Holder {
    /// Who speaks for all that hold a socket, lowest first: a monitor for what it started, and a
    /// service for systemd, which opened the socket for it.
    fn rank(&self) -> (bool, bool, i32) {
        (self.container.is_none(), self.pid == 1, self.pid)
    }

    fn owner(self) -> PortOwner {
        match self.container {
            Some((name, true)) => PortOwner::Container { name },
            Some((name, false)) => PortOwner::Foreign { name },
            None => PortOwner::Process { pid: self.pid, name: self.name, unit: self.unit },
        }
    }
}

/// Who holds each of these sockets. Those that nobody is seen to hold are left out.
pub(crate) fn of(inodes: &BTreeSet<u64>, run: &Path) -> BTreeMap<u64, PortOwner> {
    let mut holders: BTreeMap<u64, Holder> = BTreeMap::new();
    let links: BTreeMap<String, u64> =
        inodes.iter().map(|inode| (format!("socket:[{inode}]"), *inode)).collect();
    let processes = fs::read_dir("/proc").into_iter().flatten().filter_map(Result::ok);
    for process in processes.filter(|_| !inodes.is_empty()) {
        let Some(pid) = process.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        let has = held(&process.path(), &links);
        if has.is_empty() {
            continue;
        }
        let Some(holder) = describe(pid, &process.path(), run) else { continue };
        for inode in has {
            let better = holders.get(&inode).is_none_or(|other| holder.rank() < other.rank());
            if better {
                holders.insert(inode, holder.clone());
            }
        }
    }
    holders.into_iter().map(|(inode, holder)| (inode, holder.owner())).collect()
}

/// Those of the sockets that a process holds. One that has ended meanwhile holds none.
fn held(process: &Path, links: &BTreeMap<String, u64>) -> Vec<u64> {
    let fds = fs::read_dir(process.join("fd")).into_iter().flatten().filter_map(Result::ok);
    let targets = fds.filter_map(|fd| fs::read_link(fd.path()).ok());
    targets.filter_map(|target| links.get(target.to_str()?).copied()).collect()
}

fn describe(pid: i32, process: &Path, run: &Path) -> Option<Holder> {
    let name = fs::read(process.join("comm")).ok()?;
    let name = String::from_utf8_lossy(&name).trim_end().to_owned();
    let cgroups = fs::read_to_string(process.join("cgroup")).unwrap_or_default();
    let line = fs::read(process.join("cmdline")).unwrap_or_default();
    let container = container_of(&line).map(|name| {
        let own = run.join("containers").join(&name);
        let fds = fs::read_dir(process.join("fd")).into_iter().flatten().filter_map(Result::ok);
        let mut targets = fds.filter_map(|fd| fs::read_link(fd.path()).ok());
        let ours = targets.any(|target| target.starts_with(&own));
        (name, ours)
    });
    Some(Holder { pid, name, unit: unit_of(&cgroups), container })
}

/// The container of a command line `berth monitor NAME`.
fn container_of(line: &[u8]) -> Option<String> {
    let mut words = line.split(|byte| *byte == 0);
    if words.next()? != b"berth" || words.next()? != b"monitor" {
        return None;
    }
    String::from_utf8(words.next()?.to_vec()).ok().filter(|name| !name.is_empty())
}

/// The service of systemd, from `/proc/PID/cgroup`.
fn unit_of(cgroups: &str) -> Option<String> {
    let paths = cgroups.lines().filter_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, path) = (parts.next()?, parts.next()?);
        matches!(controllers, "" | "name=systemd").then_some(path)
    });
    let mut units =
        paths.flat_map(|path| path.rsplit('/')).filter(|part| part.ends_with(".service"));
    units.next().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::TcpListener;
    use std::os::fd::AsFd;
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn the_process_that_holds_a_socket_is_found() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let inode = rustix::fs::fstat(listener.as_fd()).unwrap().st_ino;
        let found = of(&BTreeSet::from([inode, u64::MAX]), Path::new("/run/berth"));
        let own = i32::try_from(std::process::id()).unwrap();
        let Some(PortOwner::Process { pid, .. }) = found.get(&inode) else { panic!("{found:?}") };
        assert_eq!((*pid, found.len()), (own, 1));
    }

    #[test]
    fn a_process_whose_name_is_no_text_has_one_all_the_same() {
        let mut shell = Command::new("sh")
            .args(["-c", r"printf '\377abc' >/proc/$$/comm; echo; read line"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        shell.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
        let (pid, process) = (shell.id(), format!("/proc/{}", shell.id()));
        let pid = i32::try_from(pid).unwrap();
        let holder = describe(pid, Path::new(&process), Path::new("/run/berth")).unwrap();
        assert_eq!(holder.name, "\u{fffd}abc");
        shell.kill().unwrap();
        shell.wait().unwrap();
    }

    #[test]
    fn the_unit_is_the_innermost_service() {
        let v2 = "0::/user.slice/user-0.slice/user@0.service/app.slice/web.service/x\n";
        assert_eq!(unit_of(v2).as_deref(), Some("web.service"));
        let v1 = "2:cpu:/a.service\n1:name=systemd:/system.slice/nginx.service\n0::/\n";
        assert_eq!(unit_of(v1).as_deref(), Some("nginx.service"));
        assert_eq!(unit_of("0::/user.slice/session-1.scope\n"), None);
    }

    #[test]
    fn a_monitor_is_known_by_its_command_line() {
        assert_eq!(container_of(b"berth\0monitor\0shop-web-1\0").as_deref(), Some("shop-web-1"));
        for line in [&b"berth\0monitor\0"[..], b"berth\0up\0x\0", b"monitor\0x\0", b""] {
            assert_eq!(container_of(line), None);
        }
    }
}
