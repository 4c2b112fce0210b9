//! A container of busybox in a temporary folder.

use std::fs;
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::symlink;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::process::{Pid, WaitOptions, waitpid};

use crate::bundle::{Bundle, Cgroup, Network, Process, Rootfs};
use crate::container::cgroup::Group;
use crate::container::{Child, DEFAULT_CAPABILITIES, ExecSpec, Init, SetupError, Stdio, Target};
use crate::container::{exec, spawn};
use crate::sys;

/// Runs `test` in a forked process: it has one thread, as [`spawn`] wants.
pub(super) fn alone(test: impl FnOnce()) {
    if !rustix::process::geteuid().is_root() || !Path::new("/bin/busybox").exists() {
        eprintln!("skipped: it needs root and /bin/busybox");
        return;
    }
    let (mut read, mut write) = std::io::pipe().unwrap();
    let pid = sys::fork().unwrap();
    if pid == 0 {
        drop(read);
        let result = catch_unwind(AssertUnwindSafe(test));
        if let Err(cause) = &result {
            let text = cause.downcast_ref::<String>().cloned();
            let text = text.or_else(|| cause.downcast_ref::<&str>().map(ToString::to_string));
            write.write_all(text.unwrap_or_else(|| "panic".into()).as_bytes()).unwrap();
        }
        sys::exit_now(i32::from(result.is_err()));
    }
    drop(write);
    let mut text = String::new();
    read.read_to_string(&mut text).unwrap();
    let (_, status) = waitpid(Pid::from_raw(pid), WaitOptions::empty()).unwrap().unwrap();
    assert!(status.exit_status() == Some(0), "{text}");
}

/// A description, its folders, and what it leaves is removed in the end.
pub(super) struct Sandbox {
    pub(super) dir: PathBuf,
    pub(super) bundle: Bundle,
}

/// How a program ended, and what it said on both streams.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Ended {
    pub(super) status: i32,
    pub(super) output: String,
}

static NEXT: AtomicU32 = AtomicU32::new(0);

impl Sandbox {
    pub(super) fn new() -> Sandbox {
        Sandbox::below(&std::env::temp_dir())
    }

    pub(super) fn below(folder: &Path) -> Sandbox {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("berth-box-{}-{number}", std::process::id());
        let dir = folder.join(&name);
        for folder in ["run", "state/upper", "state/work", "lower/bin", "lower/tmp", "lower/etc"] {
            fs::create_dir_all(dir.join(folder)).unwrap();
        }
        // As the host keeps them: nobody else may look into the state.
        rustix::fs::chmod(dir.join("state"), rustix::fs::Mode::from_raw_mode(0o700)).unwrap();
        let lower = dir.join("lower");
        fs::copy("/bin/busybox", lower.join("bin/busybox")).unwrap();
        for applet in [
            "sh", "cat", "echo", "id", "ls", "stat", "touch", "hostname", "grep", "sleep", "mkdir",
            "env", "mount", "chown", "ps", "true", "readlink", "pwd", "tty", "ping", "ln", "mknod",
            "dd", "wc", "test", "umask", "awk", "head", "chmod", "ulimit", "umount", "rm", "kill",
            "unshare",
        ] {
            symlink("busybox", lower.join("bin").join(applet)).unwrap();
        }
        fs::write(lower.join("etc/passwd"), "root:x:0:0::/root:/bin/sh\napp:x:70:71::/tmp:/\n")
            .unwrap();
        fs::write(lower.join("etc/group"), "app:x:71:\nextra:x:72:app\n").unwrap();
        let bundle = Bundle {
            name: name.clone(),
            state_dir: dir.join("state"),
            run_dir: dir.join("run"),
            process: Process {
                env: vec!["PATH=/bin".into(), "GREETING=hello".into()],
                cwd: "/".into(),
                capabilities: DEFAULT_CAPABILITIES.map(String::from).into(),
                ..Process::default()
            },
            rootfs: Rootfs {
                lowers: vec![lower],
                upper: dir.join("state/upper"),
                work: dir.join("state/work"),
            },
            shm_size: 64 << 20,
            hostname: "boxed".into(),
            id_base: Some(100_000 + 65_536 * number),
            cgroup: Cgroup { path: format!("berth/{name}"), pids: 64, ..Cgroup::default() },
            network: Network::Own(Vec::new()),
            ..Bundle::default()
        };
        Sandbox { dir, bundle }
    }

    /// Runs a shell line to its end.
    pub(super) fn run(&self, line: &str) -> Ended {
        let ended = self.try_run(&["/bin/sh", "-c", line]);
        ended.unwrap_or_else(|error| panic!("{error}"))
    }

    pub(super) fn try_run(&self, argv: &[&str]) -> Result<Ended, SetupError> {
        let (init, output) = self.start(argv)?;
        Ok(ended(init.pid, output))
    }

    /// Starts a program whose output goes to a pipe.
    pub(super) fn start(&self, argv: &[&str]) -> Result<(Init, OwnedFd), SetupError> {
        let mut bundle = self.bundle.clone();
        bundle.process.argv = argv.iter().map(ToString::to_string).collect();
        with_pipe(|stdio| spawn(&bundle, &self.group(), stdio, &mut |_| Ok(())))
    }

    /// Runs a shell line in a running container.
    pub(super) fn exec(&self, init: &Init, spec: &ExecSpec) -> Result<Ended, SetupError> {
        let target = Target::of(init.pid).unwrap();
        let (child, output): (Child, _) =
            with_pipe(|stdio| exec(&target, &self.bundle, spec, stdio))?;
        Ok(ended(child.pid, output))
    }

    pub(super) fn group(&self) -> Group {
        Group::find(&self.bundle.cgroup.path).unwrap()
    }

    /// What is on disk at a path of the container.
    pub(super) fn owner_on_disk(&self, path: &str) -> (u32, u32) {
        let stat = rustix::fs::lstat(self.dir.join("state/upper").join(path)).unwrap();
        (stat.st_uid, stat.st_gid)
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        let group = self.group();
        let _ = group.kill_all();
        let _ = rustix::process::wait(WaitOptions::NOHANG);
        let _ = group.remove();
        let _ = fs::remove_dir_all(&self.dir);
    }
}

fn with_pipe<T>(
    start: impl FnOnce(Stdio<'_>) -> Result<T, SetupError>,
) -> Result<(T, OwnedFd), SetupError> {
    let (read, write) = std::io::pipe().unwrap();
    let null = fs::File::open("/dev/null").unwrap();
    let out: BorrowedFd<'_> = write.as_fd();
    let started = start(Stdio::Files { stdin: null.as_fd(), stdout: out, stderr: out })?;
    Ok((started, read.into()))
}

pub(super) fn ended(pid: i32, output: OwnedFd) -> Ended {
    let mut text = Vec::new();
    fs::File::from(output).read_to_end(&mut text).unwrap();
    let (_, status) = waitpid(Pid::from_raw(pid), WaitOptions::empty()).unwrap().unwrap();
    let killed = status.terminating_signal().map(|signal| 128 + signal);
    Ended {
        status: status.exit_status().or(killed).unwrap(),
        output: String::from_utf8_lossy(&text).into_owned(),
    }
}

/// The end of a terminal is EIO, when nobody holds the other side.
pub(super) fn read_terminal(pid: i32, master: std::os::fd::OwnedFd) -> Ended {
    let (mut text, mut part) = (Vec::new(), [0; 4096]);
    let mut master = std::fs::File::from(master);
    while let Ok(len @ 1..) = master.read(&mut part) {
        text.extend_from_slice(&part[..len]);
    }
    let (empty, _) = std::io::pipe().unwrap();
    let ended = ended(pid, empty.into());
    Ended { output: String::from_utf8_lossy(&text).into_owned(), ..ended }
}
