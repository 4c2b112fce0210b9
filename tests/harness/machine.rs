//! The private machine: namespaces, cgroups and folders, made with `unshare` and left with
//! `nsenter` of util-linux.
//!
//! Killing its first process ends every process, mount, link and rule on it at once. What the
//! kernel does not take back, the cgroup directories and the folder, is removed by [`Machine`].

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// What its first process runs.
const SETUP: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/harness/machine.sh");

/// Names the file of orders to a build of berth whose defences can be taken away.
pub const SABOTAGE: &str = "BERTH_SABOTAGE";

/// Address of the machine as its neighbour sees it.
pub const MACHINE_IP: &str = "192.0.2.1";
/// Address of the neighbour.
pub const NEIGHBOUR_IP: &str = "192.0.2.2";

/// A running private machine.
#[derive(Debug)]
pub struct Machine {
    holder: Child,
    first: i32,
    name: String,
    dir: PathBuf,
    hierarchies: Vec<Hierarchy>,
}

/// A cgroup hierarchy of the real host.
#[derive(Debug, Clone)]
struct Hierarchy {
    mount: PathBuf,
    v2: bool,
    options: String,
}

/// Where on a machine a command runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// On the machine itself.
    Inside,
    /// On its neighbour, another host on the same wire.
    Neighbour,
}

impl Machine {
    /// Makes a machine and waits until it is ready.
    ///
    /// # Panics
    /// When the host cannot make one, with what it said.
    pub fn start() -> Machine {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        sweep();
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("berth-test-{}-{number}", std::process::id());
        let dir = target_dir().join("machines").join(&name);
        for sub in ["var-lib", "home"] {
            fs::create_dir_all(dir.join(sub)).unwrap();
        }
        fs::write(dir.join("resolv.conf"), "nameserver 127.0.0.1\n").unwrap();

        let hierarchies = hierarchies();
        hierarchies.iter().for_each(|h| h.create(&name));
        let mut holder = holder(&name, &dir, &hierarchies);
        if let Err(why) = ready(&mut holder) {
            let _ = holder.kill();
            let log = fs::read_to_string(dir.join("setup.log")).unwrap_or_default();
            panic!("cannot make a private machine: {why}\n{log}");
        }
        let first = children(holder.id() as i32).first().copied().expect("the machine's pid 1");
        Machine { holder, first, name, dir, hierarchies }
    }

    /// Process id of its first process, as the real host counts.
    pub fn first(&self) -> i32 {
        self.first
    }

    /// Folder of the machine on the real host; the machine sees it under the same path.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// A path of the machine as the real host reaches it.
    pub fn path(&self, inside: impl AsRef<Path>) -> PathBuf {
        let inside = inside.as_ref();
        PathBuf::from(format!("/proc/{}/root", self.first))
            .join(inside.strip_prefix("/").unwrap_or(inside))
    }

    /// The machine's own directory in each cgroup hierarchy.
    pub fn cgroups(&self) -> impl Iterator<Item = PathBuf> + '_ {
        self.hierarchies.iter().map(|h| h.mount.join(&self.name))
    }

    /// The machine's cgroup directory that holds `file`, such as `memory.limit_in_bytes`.
    pub fn cgroup_with(&self, below: &str, file: &str) -> Option<PathBuf> {
        self.cgroups().map(|dir| dir.join(below).join(file)).find(|path| path.exists())
    }

    /// A command that will run on the machine: same namespaces, same cgroups, working folder
    /// `cwd`, and nothing in its environment but what every shell has.
    pub fn command(&self, place: Place, cwd: &Path, argv: &[impl AsRef<OsStr>]) -> Command {
        let mut join = String::new();
        for dir in self.hierarchies.iter().map(|h| h.leaf(&self.name)) {
            join.push_str(&format!("echo 0 >{}/cgroup.procs\n", dir.display()));
        }
        join.push_str("exec \"$@\"");
        let target = self.first.to_string();
        let mut command = Command::new("sh");
        command.args(["-ec", &join, "enter"]);
        command.args(["nsenter", "-t", &target, "-m", "-n", "-i", "-u", "-C", "-p", "--"]);
        if place == Place::Neighbour {
            let neighbour = fs::read_to_string(self.dir.join("neighbour")).unwrap_or_default();
            command.args(["nsenter", "-t", neighbour.trim(), "-n", "--"]);
        }
        command.arg("env").arg("-C").arg(cwd).arg("-i");
        command.arg("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        command.arg("LANG=C.UTF-8");
        command.arg(format!("HOME={}", self.dir.join("home").display()));
        // The orders of a security check, for a build that takes any.
        command.args(std::env::var(SABOTAGE).map(|file| format!("{SABOTAGE}={file}")));
        command.args(argv);
        command
    }

    /// Switches the machine off and removes what the kernel leaves. Gives what could not be
    /// removed.
    pub fn stop(&mut self) -> Vec<String> {
        kill(self.first);
        let _ = self.holder.wait();
        let mut left = Vec::new();
        for dir in self.cgroups() {
            if let Err(e) = remove_cgroup(&dir) {
                left.push(format!("cgroup {}: {e}", dir.display()));
            }
        }
        if let Err(e) = fs::remove_dir_all(&self.dir) {
            left.push(format!("folder {}: {e}", self.dir.display()));
        }
        left
    }
}

impl Hierarchy {
    /// Makes the machine's directory, ready for processes.
    fn create(&self, name: &str) {
        let dir = self.mount.join(name);
        if self.v2 {
            let have =
                fs::read_to_string(self.mount.join("cgroup.controllers")).unwrap_or_default();
            for controller in have.split_whitespace() {
                let _ =
                    fs::write(self.mount.join("cgroup.subtree_control"), format!("+{controller}"));
            }
        }
        fs::create_dir_all(&dir).unwrap_or_else(|e| panic!("mkdir {}: {e}", dir.display()));
        for file in ["cpuset.cpus", "cpuset.mems"] {
            if !self.v2 && dir.join(file).exists() {
                let value = fs::read_to_string(self.mount.join(file)).unwrap_or_default();
                fs::write(dir.join(file), value.trim()).expect("cpuset of the machine");
            }
        }
        if self.v2 {
            fs::create_dir_all(dir.join("init")).expect("cgroup of the machine's own processes");
        }
    }

    /// Where the machine's own processes sit: below its root in v2, where a cgroup with
    /// processes cannot have controllers for its children.
    fn leaf(&self, name: &str) -> PathBuf {
        let dir = self.mount.join(name);
        if self.v2 { dir.join("init") } else { dir }
    }
}

/// Folder of the build: the outermost one that cargo marked as its own.
pub fn target_dir() -> PathBuf {
    let exe = std::env::current_exe().expect("own path");
    exe.ancestors()
        .filter(|dir| dir.join("CACHEDIR.TAG").exists())
        .last()
        .unwrap_or_else(|| exe.parent().expect("a folder"))
        .to_owned()
}

/// Children of a process, as the real host counts.
pub fn children(pid: i32) -> Vec<i32> {
    fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))
        .unwrap_or_default()
        .split_whitespace()
        .filter_map(|pid| pid.parse().ok())
        .collect()
}

fn hierarchies() -> Vec<Hierarchy> {
    const GENERAL: [&str; 8] =
        ["rw", "ro", "relatime", "nosuid", "nodev", "noexec", "nsdelegate", "memory_recursiveprot"];
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let mut all = Vec::new();
    for line in mounts.lines() {
        let fields: Vec<&str> = line.split(' ').collect();
        let [_, mount, kind @ ("cgroup" | "cgroup2"), options, ..] = fields[..] else { continue };
        let options = options.split(',').filter(|o| !GENERAL.contains(o) && !o.contains("release"));
        let options = options.collect::<Vec<_>>().join(",");
        all.push(Hierarchy { mount: mount.into(), v2: kind == "cgroup2", options });
    }
    all
}

/// Starts the machine's first process, in the machine's cgroups before the cgroup namespace is
/// made, so that they are its roots.
fn holder(name: &str, dir: &Path, hierarchies: &[Hierarchy]) -> Child {
    let mut join = String::new();
    for h in hierarchies {
        join.push_str(&format!("echo 0 >{}/cgroup.procs\n", h.mount.join(name).display()));
    }
    join.push_str("exec \"$@\"");
    let log = fs::File::create(dir.join("setup.log")).unwrap();
    let mut command = Command::new("sh");
    command.args(["-ec", &join, "holder", "setpriv", "--pdeathsig", "KILL"]);
    command.args(["unshare", "--pid", "--mount", "--net", "--ipc", "--uts", "--cgroup"]);
    command.args(["--fork", "--kill-child", "--mount-proc", "--propagation", "private"]);
    command.args(["bash", "-e", SETUP]).arg(dir).arg(MACHINE_IP).arg(NEIGHBOUR_IP);
    for h in hierarchies {
        let kind = if h.v2 { "cgroup2" } else { "cgroup" };
        command.arg(format!("{} {kind} {}", h.mount.display(), h.options));
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
    command.spawn().expect("sh, setpriv and unshare")
}

/// Waits for the line the machine's set-up prints last.
fn ready(holder: &mut Child) -> Result<(), String> {
    let mut out = BufReader::new(holder.stdout.take().expect("piped"));
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut line = String::new();
        let _ = out.read_line(&mut line);
        let _ = tell.send(line);
    });
    match told.recv_timeout(Duration::from_secs(20)) {
        Ok(line) if line == "ready\n" => Ok(()),
        Ok(line) => Err(format!("its set-up ended early {line:?}")),
        Err(_) => Err("its set-up did not end within 20 s".into()),
    }
}

fn kill(pid: i32) {
    use nix::sys::signal::{Signal, kill};
    let _ = kill(nix::unistd::Pid::from_raw(pid), Signal::SIGKILL);
}

/// Removes a cgroup with all below it, waiting for the last processes to be gone.
fn remove_cgroup(dir: &Path) -> std::io::Result<()> {
    let end = Instant::now() + Duration::from_secs(10);
    loop {
        match remove_tree(dir) {
            Err(_) if Instant::now() < end => sleep(Duration::from_millis(10)),
            other => return other,
        }
    }
}

fn remove_tree(dir: &Path) -> std::io::Result<()> {
    let entries = match fs::read_dir(dir) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    for entry in entries.flatten().filter(|e| e.file_type().is_ok_and(|t| t.is_dir())) {
        remove_tree(&entry.path())?;
    }
    fs::remove_dir(dir)
}

/// Removes what machines of test processes that were killed have left.
fn sweep() {
    let dead = |name: &str| {
        let pid = name.strip_prefix("berth-test-").and_then(|rest| rest.split('-').next());
        pid.is_some_and(|pid| !Path::new("/proc").join(pid).exists())
    };
    let names = |dir: &Path| -> Vec<PathBuf> {
        let entries = fs::read_dir(dir).into_iter().flatten().flatten();
        entries.filter(|e| dead(&e.file_name().to_string_lossy())).map(|e| e.path()).collect()
    };
    for h in hierarchies() {
        names(&h.mount).iter().for_each(|dir| drop(remove_tree(dir)));
    }
    names(&target_dir().join("machines")).iter().for_each(|dir| drop(fs::remove_dir_all(dir)));
}
