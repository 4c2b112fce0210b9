//! The process that has the container's side of a copy.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{Mode, OFlags, fstatfs};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, WaitOptions, waitpid};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::CopyError;
use super::give::{Given, give};
use super::place::Base;
use super::put::{self, Put};
use crate::container::{SetupError, Target};
use crate::host::pack::Packed;
use crate::sabotage::defence;
use crate::sys::{self, Cloned};

/// What the file system of a tmpfs says of itself (statfs(2)).
const TMPFS_MAGIC: i64 = 0x0102_1994;

/// The way into a container.
pub(super) struct Door {
    root: OwnedFd,
    userns: Option<OwnedFd>,
    /// It does not run: what is put on a tmpfs would be gone at once.
    held: bool,
}

impl Door {
    /// Opens the root of a process, and its user namespace if it has one of its own.
    pub(super) fn open(target: &Target, userns: bool, held: bool) -> Result<Door, CopyError> {
        let pidfd = target.open()?;
        let open = |name: &str, flags: OFlags| {
            let path = format!("/proc/{}/{name}", target.pid);
            let flags = flags | OFlags::CLOEXEC;
            rustix::fs::open(&path, flags, Mode::empty())
                .map_err(|e| SetupError::kernel("reach container", path, &e.into()))
        };
        let root = open("root", OFlags::PATH | OFlags::DIRECTORY)?;
        let userns = if userns { Some(open("ns/user", OFlags::RDONLY)?) } else { None };
        // Opened by number: make sure that it was still the same process then.
        if !target.is_alive() {
            return Err(
                SetupError::refused("reach container", target.pid, "it has just ended").into()
            );
        }
        drop(pidfd);
        Ok(Door { root, userns, held })
    }

    /// Takes this process, which must have one thread, into the user namespace as its root, with
    /// no right but those over files.
    fn enter(&self) -> Result<Base, CopyError> {
        // Nothing of the container can look into this process, whatever it may do there.
        let dumpable = rustix::process::DumpableBehavior::NotDumpable;
        let refused = |step: &str, e: rustix::io::Errno| {
            CopyError::from(SetupError::kernel(step, "container", &e.into()))
        };
        rustix::process::set_dumpable_behavior(dumpable).map_err(|e| refused("protect", e))?;
        rustix::process::umask(Mode::empty());
        if let Some(userns) = &self.userns {
            move_into_link_name_space(userns.as_fd(), Some(LinkNameSpaceType::User))
                .map_err(|e| refused("join", e))?;
            crate::container::become_root()?;
        }
        defence!("cp.rights", crate::container::keep_those_over_files()?, ());
        let root =
            rustix::io::fcntl_dupfd_cloexec(&self.root, 3).map_err(|e| refused("open", e))?;
        Ok(Base::Root(root))
    }

    fn refuse_tmpfs(&self, base: &Base, path: &[u8]) -> Result<(), CopyError> {
        if !self.held {
            return Ok(());
        }
        let place = base.place(path, true)?;
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let itself = rustix::fs::openat(&place.parent, &*place.name, flags, Mode::empty());
        let stat = itself.as_ref().ok().map_or_else(|| fstatfs(&place.parent), fstatfs);
        if stat.is_ok_and(|stat| stat.f_type == TMPFS_MAGIC) {
            let reason = "a tmpfs is there, which a container that does not run does not have";
            return Err(CopyError::refused("copy to", path, reason));
        }
        Ok(())
    }
}

/// A process at work in the container.
pub(super) struct Side {
    pid: i32,
    _pidfd: OwnedFd,
    /// What it says at its end.
    answer: File,
}

impl Side {
    /// One that gives something; what it gives comes from the file.
    pub(super) fn giving(
        door: &Door,
        given: &Given,
        named: bool,
    ) -> Result<(Side, File), CopyError> {
        let (theirs, ours) = pipe()?;
        Side::start(ours, theirs, |mut out| {
            let base = door.enter()?;
            let top = match (named, given.is_content()) {
                (true, false) => given.name(),
                _ => b".".to_vec(),
            };
            give(&base, given, &top, &mut out)
        })
    }

    /// One that puts what is written to the file to `path`: what is given, or all of a stream.
    pub(super) fn putting(
        door: &Door,
        path: &str,
        given: Option<&Given>,
        put: Put,
    ) -> Result<(Side, File), CopyError> {
        let (theirs, ours) = pipe()?;
        let path = path.as_bytes();
        Side::start(theirs, ours, |mut stream| {
            let base = door.enter()?;
            door.refuse_tmpfs(&base, path)?;
            match given {
                None => put::all(&base, path, put, &mut stream)?,
                Some(given) => {
                    put::thing(&base, path, &given.name(), given.is_content(), put, &mut stream)?;
                }
            }
            Ok(Packed::default())
        })
    }

    /// A clone of us that does `work` with its end of a pipe, and ends. The other end is ours
    /// alone: with both open in one process neither would ever see the other's end.
    fn start(
        its: File,
        ours: File,
        work: impl FnOnce(File) -> Result<Packed, CopyError>,
    ) -> Result<(Side, File), CopyError> {
        let answer = rustix::fs::memfd_create("answer", rustix::fs::MemfdFlags::CLOEXEC);
        let mut answer = File::from(answer.map_err(|e| CopyError::io("make", b"answer", e))?);
        let cloned =
            sys::clone_process(0, None).map_err(|e| CopyError::io("clone", b"berth", e))?;
        match cloned {
            Cloned::Child => {
                drop(ours);
                let text = serde_json::to_vec(&work(its)).unwrap_or_default();
                sys::exit_now(i32::from(answer.write_all(&text).is_err()))
            }
            Cloned::Parent { pid, pidfd } => {
                drop(its);
                Ok((Side { pid, _pidfd: pidfd, answer }, ours))
            }
        }
    }

    /// Waits for its end and gives what it came to.
    pub(super) fn end(mut self) -> Result<Packed, CopyError> {
        let died = || CopyError::Host("the process that copies was killed".to_owned());
        while let Err(rustix::io::Errno::INTR) =
            waitpid(Pid::from_raw(self.pid), WaitOptions::empty())
        {}
        let mut text = Vec::new();
        let read = self.answer.rewind().and_then(|()| self.answer.read_to_end(&mut text));
        read.map_err(|e: io::Error| CopyError::Host(e.to_string()))?;
        serde_json::from_slice::<Result<Packed, CopyError>>(&text).map_err(|_| died())?
    }
}

fn pipe() -> Result<(File, File), CopyError> {
    let (read, write) =
        pipe_with(PipeFlags::CLOEXEC).map_err(|e| CopyError::io("make", b"pipe", e))?;
    Ok((read.into(), write.into()))
}
