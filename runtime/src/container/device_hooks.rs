//! Hooks of devices, as the OCI runtime specification has them (`runtime.md`, "Lifecycle";
//! `config.md`, "POSIX-platform Hooks"): each gets the state of the container on its standard input,
//! and finds `config.json` with the container's root in the folder that the state names.
//!
//! Those of the host run in the parent. `createContainer` runs in the child, in the namespaces of
//! the container, while the files of the host are still there: the program is one of the host, and
//! has the rights of the container's root. `startContainer` is a program of the container, with the
//! user, the rights and the filter of its own.

use std::fs::{self, File};
use std::io::{Read, Seek, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::{Duration, Instant};

use berth_planner::cdi::{CdiHook, Moment};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitOptions, kill_process, kill_process_group, pidfd_open, waitpid,
};
use serde_json::json;

use super::channel::{Channel, Packet};
use super::error::{Context, SetupError};
use super::process::{self, Rights, Streams};
use super::rootfs::Scratch;
use crate::bundle::{Bundle, Process};
use crate::logs::sanitize;
use crate::sys::{self, Cloned};

const STEP: &str = "run hook";
/// Version of the specification that state and configuration are of.
const VERSION: &str = "1.2.0";
/// Bytes of what a hook said that are told.
const SAID: u64 = 2048;
/// Where the pieces of the root are while hooks run, and what is there.
const PLACE: &str = "/sys/kernel";
const FOLDER: &str = "hooks";
const FILE: &str = "config.json";

/// Hooks of a moment. What is only reached and not started has none.
fn hooks(bundle: &Bundle, moment: Moment) -> impl Iterator<Item = &CdiHook> {
    bundle.device_hooks.iter().filter(move |hook| hook.moment == moment && !bundle.held)
}

/// Whether something runs between the mounts and the end of the host's files.
pub(crate) fn before_pivot(bundle: &Bundle) -> bool {
    let moments = [Moment::Prestart, Moment::CreateRuntime, Moment::CreateContainer];
    moments.into_iter().any(|moment| hooks(bundle, moment).next().is_some())
}

/// How long all of them may take that run before the program does.
pub(crate) fn patience(bundle: &Bundle) -> Duration {
    let before = |hook: &&CdiHook| hook.moment < Moment::Poststart;
    let seconds = bundle.device_hooks.iter().filter(before).map(|hook| hook.seconds);
    Duration::from_secs(seconds.sum())
}

/// Where the pieces of the root are put together: programs of the host want its `/proc`.
pub(crate) fn scratch(bundle: &Bundle) -> &'static str {
    if before_pivot(bundle) { PLACE } else { "/proc" }
}

/// In the parent, when the child has its mounts.
pub(crate) fn create_runtime(bundle: &Bundle, pid: i32) -> Result<(), SetupError> {
    let root = format!("/proc/{pid}/root{PLACE}/root");
    on_host(bundle, Moment::Prestart, ("creating", pid), &root)?;
    on_host(bundle, Moment::CreateRuntime, ("creating", pid), &root)
}

/// In the child, when the parent has run its own.
pub(crate) fn create_container(bundle: &Bundle, scratch: &Scratch) -> Result<(), SetupError> {
    scratch.describe(FOLDER, FILE, &config(bundle, &format!("{PLACE}/root")))?;
    let own = rustix::process::getpid().as_raw_nonzero().get();
    let state = state(bundle, ("creating", own), &format!("{PLACE}/{FOLDER}"));
    hooks(bundle, Moment::CreateContainer).try_for_each(|hook| run(hook, &state))
}

/// In the child, as the last thing before its program.
pub(crate) fn start_container(bundle: &Bundle, rights: &Rights) -> Result<(), SetupError> {
    let own = rustix::process::getpid().as_raw_nonzero().get();
    let state = state(bundle, ("created", own), "/");
    hooks(bundle, Moment::StartContainer)
        .try_for_each(|hook| run_as_its_own(hook, &state, &bundle.process, rights))
}

/// In the parent, when the program runs: what failed. The container runs on.
pub(crate) fn started(bundle: &Bundle, pid: i32) -> Option<String> {
    let root = format!("/proc/{pid}/root");
    let ran = on_host(bundle, Moment::Poststart, ("running", pid), &root);
    ran.err().map(|error| error.to_string())
}

/// On the host, when the container has ended: what failed.
pub(crate) fn ended(bundle: &Bundle) -> Option<String> {
    // Its root is gone; its own files are not.
    let root = bundle.rootfs.upper.display().to_string();
    let ran = on_host(bundle, Moment::Poststop, ("stopped", 0), &root);
    ran.err().map(|error| error.to_string())
}

fn on_host(bundle: &Bundle, moment: Moment, at: (&str, i32), root: &str) -> Result<(), SetupError> {
    let mut hooks = hooks(bundle, moment).peekable();
    if hooks.peek().is_none() {
        return Ok(());
    }
    let folder = bundle.run_dir.join(FOLDER);
    let shown = folder.display().to_string();
    fs::create_dir_all(&folder).step(STEP, &shown)?;
    fs::write(folder.join(FILE), config(bundle, root)).step(STEP, &shown)?;
    let state = state(bundle, at, &shown);
    match moment {
        // The first that fails does not keep the others from running.
        Moment::Poststart | Moment::Poststop => {
            let failed: Vec<SetupError> =
                hooks.filter_map(|hook| run(hook, &state).err()).collect();
            failed.into_iter().next().map_or(Ok(()), Err)
        }
        _ => hooks.try_for_each(|hook| run(hook, &state)),
    }
}

/// The state of a container (`runtime.md`, "State").
fn state(bundle: &Bundle, (status, pid): (&str, i32), folder: &str) -> Vec<u8> {
    let state = json!({
        "ociVersion": VERSION,
        "id": bundle.id,
        "status": status,
        "pid": pid,
        "bundle": folder,
        "annotations": {},
    });
    state.to_string().into_bytes()
}

/// As much of a configuration (`config.md`) as hooks of devices read.
fn config(bundle: &Bundle, root: &str) -> Vec<u8> {
    let Process { argv, env, cwd, uid, gid, .. } = &bundle.process;
    let config = json!({
        "ociVersion": VERSION,
        "root": { "path": root, "readonly": bundle.read_only },
        "hostname": bundle.hostname,
        "process": {
            "args": argv,
            "env": env,
            "cwd": if cwd.is_empty() { "/" } else { cwd },
            "user": { "uid": uid, "gid": gid },
        },
        "annotations": {},
    });
    config.to_string().into_bytes()
}

/// A file of memory with this text, to be read from its beginning.
fn memory(text: &[u8]) -> Result<File, SetupError> {
    let mut file = File::from(memfd_create("hook", MemfdFlags::CLOEXEC).step(STEP, "memory")?);
    file.write_all(text).and_then(|()| file.rewind()).step(STEP, "memory")?;
    Ok(file)
}

/// Runs a program of the host to its end.
fn run(hook: &CdiHook, state: &[u8]) -> Result<(), SetupError> {
    let said = memory(b"")?;
    let copy = || said.try_clone().step(STEP, &hook.path);
    let mut command = Command::new(&hook.path);
    let variables = hook.env.iter().filter_map(|line| line.split_once('='));
    command.env_clear().envs(variables).current_dir("/").process_group(0);
    command.stdin(memory(state)?).stdout(copy()?).stderr(copy()?);
    if let Some((name, rest)) = hook.args.split_first() {
        command.arg0(name).args(rest);
    }
    let mut child = command.spawn().step(STEP, &hook.path)?;
    let pid = Pid::from_child(&child);
    let pidfd = pidfd_open(pid, PidfdFlags::empty()).step(STEP, &hook.path);
    let in_time = pidfd.and_then(|pidfd| ends(&pidfd, hook));
    if in_time.is_err() {
        let _ = kill_process_group(pid, Signal::KILL);
    }
    let status = child.wait().step(STEP, &hook.path)?;
    in_time?;
    judge(hook, status.success(), &status.to_string(), said)
}

/// Runs a program of the container to its end, with all that its own program is held to.
fn run_as_its_own(
    hook: &CdiHook,
    state: &[u8],
    process: &Process,
    rights: &Rights,
) -> Result<(), SetupError> {
    let (input, said) = (memory(state)?, memory(b"")?);
    let (ours, theirs) = Channel::pair().step(STEP, "socket pair")?;
    let cloned = sys::clone_process(0, None);
    let (pid, pidfd) = match cloned.step(STEP, &hook.path)? {
        Cloned::Child => {
            become_hook(hook, (input.as_fd(), said.as_fd()), (process, rights), &theirs)
        }
        Cloned::Parent { pid, pidfd } => (pid, pidfd),
    };
    drop(theirs);
    let in_time = ends(&pidfd, hook);
    let pid = Pid::from_raw(pid);
    if let (Err(_), Some(pid)) = (&in_time, pid) {
        let _ = kill_process(pid, Signal::KILL);
    }
    let status = waitpid(pid, WaitOptions::empty()).step(STEP, &hook.path)?;
    in_time?;
    while let Ok(packet) = ours.receive_until(Instant::now()) {
        match packet {
            Packet::Failed(error) => return Err(error),
            Packet::Closed => break,
            _ => {}
        }
    }
    let code = status.and_then(|(_, status)| status.exit_status());
    let told = code.map_or("a signal".to_owned(), |code| format!("exit status: {code}"));
    judge(hook, code == Some(0), &told, said)
}

fn become_hook(
    hook: &CdiHook,
    (input, said): (BorrowedFd<'_>, BorrowedFd<'_>),
    (process, rights): (&Process, &Rights),
    channel: &Channel,
) -> ! {
    let arguments = hook.args.iter().skip(1).cloned();
    let argv = std::iter::once(hook.path.clone()).chain(arguments).collect();
    let process = Process { argv, env: hook.env.clone(), ..process.clone() };
    let error = match Streams::files(input, said, said) {
        Ok(streams) => process::execute(&process, rights, streams, channel),
        Err(error) => error,
    };
    drop(channel.send_failure(&error)); // the parent sees the end at least
    sys::exit_now(error.exit_code)
}

/// Waits for the end of a hook, for as long as it may take.
fn ends(pidfd: &OwnedFd, hook: &CdiHook) -> Result<(), SetupError> {
    let until = Instant::now() + Duration::from_secs(hook.seconds);
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let left = Timespec::try_from(left).unwrap_or_default();
        match poll(&mut [PollFd::new(pidfd, PollFlags::IN)], Some(&left)) {
            Ok(0) => {
                let why = format!("it has not ended after {} s", hook.seconds);
                return Err(SetupError::refused(STEP, &hook.path, why));
            }
            Ok(_) => return Ok(()),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error).step(STEP, &hook.path),
        }
    }
}

fn judge(hook: &CdiHook, succeeded: bool, told: &str, mut said: File) -> Result<(), SetupError> {
    if succeeded {
        return Ok(());
    }
    let mut text = Vec::new();
    let _ = said.rewind().and_then(|()| said.take(SAID).read_to_end(&mut text));
    let lines: Vec<String> =
        text.trim_ascii().split(|byte| *byte == b'\n').map(|line| sanitize(line, false)).collect();
    let moment = hook.moment.word();
    let said = lines.join("; ");
    Err(SetupError::refused(STEP, &hook.path, format!("its `{moment}` ended with {told}: {said}")))
}
