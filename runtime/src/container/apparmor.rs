//! The profile of AppArmor that processes of a container are under.
//!
//! A process chooses its own profile, by a file of procfs. `/proc` of a container may be anything
//! (CVE-2019-16884: the write went to a file of the image, and the program ran unconfined), so it
//! is that of the host, opened before the container is entered, and nothing mounted on it counts.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, fstatfs, openat, openat2};
use rustix::io::Errno;

use super::error::{Context, SetupError};
use super::inside::PROC_MAGIC;

const STEP: &str = "choose AppArmor profile";

/// A profile by name, and the way to it.
#[derive(Debug, Clone)]
pub(crate) struct Profile {
    name: String,
    /// The procfs of the host.
    proc: Arc<OwnedFd>,
}

impl Profile {
    /// For a process with the host's `/proc`; what is cloned from it can use it anywhere.
    pub(crate) fn open(name: &str) -> Result<Profile, SetupError> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let proc = openat(CWD, "/proc", flags, Mode::empty()).step(STEP, name)?;
        if fstatfs(&proc).step(STEP, name)?.f_type != PROC_MAGIC {
            return Err(SetupError::refused(STEP, name, "`/proc` of this host is no procfs"));
        }
        Ok(Profile { name: name.to_owned(), proc: Arc::new(proc) })
    }

    /// From the next execution of this thread on (`aa_change_onexec(2)`).
    pub(crate) fn at_execution(&self) -> Result<(), SetupError> {
        self.write("exec", "exec")
    }

    /// From now on (`aa_change_profile(2)`).
    pub(crate) fn at_once(&self) -> Result<(), SetupError> {
        self.write("current", "changeprofile")
    }

    /// The kernel takes the word from the thread itself alone, in one write.
    fn write(&self, file: &str, word: &str) -> Result<(), SetupError> {
        let opened = match self.attribute(&format!("apparmor/{file}")) {
            // Before Linux 5.8 there is one folder for whichever module is first.
            Err(Errno::NOENT) => self.attribute(file),
            opened => opened,
        };
        let opened = opened.step(STEP, &self.name)?;
        let text = format!("{word} {}", self.name);
        match rustix::io::write(&opened, text.as_bytes()) {
            Ok(written) if written == text.len() => Ok(()),
            Ok(_) => Err(SetupError::refused(STEP, &self.name, "the kernel took no word")),
            Err(error) => Err(self.refused(error)),
        }
    }

    /// Opens an attribute of this thread.
    fn attribute(&self, file: &str) -> Result<OwnedFd, Errno> {
        let path = format!("thread-self/attr/{file}");
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_XDEV | ResolveFlags::NO_MAGICLINKS;
        let flags = OFlags::WRONLY | OFlags::CLOEXEC;
        openat2(&*self.proc, path, flags, Mode::empty(), resolve)
    }

    /// An execution that the kernel refused: adds what the profile may have to do with it.
    pub(super) fn explained(&self, error: SetupError) -> SetupError {
        let why = match error.errno {
            Some(libc::EPERM) => {
                "with `no-new-privileges` AppArmor lets nobody who is under one profile take \
                 another: berth itself must be under none, or take `no-new-privileges` away"
            }
            Some(libc::EACCES) => "the AppArmor profile may be what denies it",
            _ => return error,
        };
        let reason = format!("{}; profile `{}`: {why}", error.reason, self.name);
        SetupError { reason, ..error }
    }

    fn refused(&self, error: Errno) -> SetupError {
        let told = SetupError::kernel(STEP, &self.name, &error.into());
        let why = match error {
            Errno::NOENT => "no such profile is loaded: `apparmor_parser --replace FILE` does that",
            Errno::INVAL => "AppArmor is switched off",
            Errno::ACCESS | Errno::PERM => "berth itself is under a profile that does not let it",
            _ => return told,
        };
        SetupError { reason: format!("{why} ({})", name_of(error)), ..told }
    }
}

/// `ENOENT`.
fn name_of(error: Errno) -> String {
    format!("{:?}", nix::errno::Errno::from_raw(error.raw_os_error()))
}
