//! A container that does not run, with all its mounts in place, so that its files can be reached:
//! a process of ours sits in its namespaces and executes nothing.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};

use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, WaitOptions, waitpid};

use super::cgroup::Group;
use super::error::{Context, SetupError};
use super::process::Stdio;
use super::{Target, spawn};
use crate::bundle::{Bundle, Cgroup, Network, Process};
use crate::sys;

/// The process that sits there. With this value it ends, and with the whole of us too.
pub(crate) struct Held {
    /// The process.
    pub(crate) target: Target,
    /// Its standard input, for as long as it is to stay.
    _stays: OwnedFd,
    /// The group that was made for it.
    made: Option<Group>,
}

/// Prepares a container without a network of its own or a program. For a process with one thread.
///
/// # Errors
/// What [`spawn`](spawn()) answers, nothing being left then.
pub(crate) fn hold(bundle: &Bundle) -> Result<Held, SetupError> {
    let bundle = Bundle {
        held: true,
        // Nothing of it runs, so it is ours whoever makes it.
        runtime: None,
        init: false,
        tty: false,
        network: Network::Own(Vec::new()),
        // Whose it would share may not run either.
        pid: Default::default(),
        ipc: Default::default(),
        cgroup: Cgroup { path: bundle.cgroup.path.clone(), pids: 16, ..Cgroup::default() },
        sysctls: BTreeMap::new(),
        process: Process {
            argv: Vec::new(),
            cwd: "/".into(),
            rlimits: BTreeMap::new(),
            ..bundle.process.clone()
        },
        ..bundle.clone()
    };
    let group = Group::find(&bundle.cgroup.path)?;
    // One that is there is not ours to take away, whatever it is.
    let made = (!group.exists()).then(|| group.clone());
    let (stdin, stays) = pipe_with(PipeFlags::CLOEXEC).step("make", "pipe")?;
    let null =
        File::options().read(true).write(true).open("/dev/null").step("open", "/dev/null")?;
    let stdio = Stdio::Files { stdin: stdin.as_fd(), stdout: null.as_fd(), stderr: null.as_fd() };
    let init = spawn(&bundle, &group, stdio, &mut |_| Ok(())).inspect_err(|_| {
        // What cannot be removed is a leftover that the next plan sees.
        let _ = made.as_ref().map(Group::remove);
    })?;
    let gone = || SetupError::refused("find", &bundle.name, "its process is gone");
    let target = Target::of(init.pid).ok_or_else(gone)?;
    Ok(Held { target, _stays: stays, made })
}

impl Drop for Held {
    fn drop(&mut self) {
        // It is our child and nobody else waits for it, so the number is still its.
        let _ = sys::kill(self.target.pid, libc::SIGKILL);
        let _ = waitpid(Pid::from_raw(self.target.pid), WaitOptions::empty());
        let _ = self.made.as_ref().map(Group::remove);
    }
}
