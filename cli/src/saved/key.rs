//! The key of this host: what digests in saved plans are made with, so that nobody else can tell
//! from them what a value was, or write a plan that we would take for ours.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use berth_runtime::paths::Roots;
use berth_runtime::record::{self, Durability};
use ring::hmac;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

use crate::failure::Failure;

/// Its bytes, as many as a digest has.
const LENGTH: usize = 32;
/// Digits of a digest in a saved plan: of 128 bits.
const DIGITS: usize = 32;

/// The key of a state on this host.
pub(crate) struct Key(hmac::Key);

impl Key {
    /// The one that is there, if there is one.
    pub(crate) fn read(roots: &Roots) -> Result<Option<Key>, Failure> {
        let path = place(roots);
        let refused = |why: String| Failure::refused(format!("read `{}`: {why}", path.display()));
        match bytes(&path) {
            Ok(bytes) => Ok(Some(Key(hmac::Key::new(hmac::HMAC_SHA256, &bytes)))),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(refused(e.to_string())
                .with_help("remove it: plans that were saved with it are then no good any more")),
        }
    }

    /// The one that is there, or a new one.
    pub(super) fn make(roots: &Roots) -> Result<Key, Failure> {
        if let Some(key) = Key::read(roots)? {
            return Ok(key);
        }
        let path = place(roots);
        let refused = |e: io::Error| Failure::refused(format!("make `{}`: {e}", path.display()));
        let mut bytes = [0; LENGTH];
        let random = rustix::rand::GetRandomFlags::empty();
        let got = rustix::rand::getrandom(&mut bytes, random).map_err(|e| refused(e.into()))?;
        if got != LENGTH {
            return Err(refused(io::Error::other("the kernel gave too little randomness")));
        }
        // Of two that make it at once, the first one's counts. It has one name at any moment: what
        // a crash leaves beside it is no copy of the key.
        let own = path.with_extension(format!("key.{}", std::process::id()));
        record::write_bytes(&own, &bytes, 0o600, Durability::Durable).map_err(refused)?;
        let named = renameat_with(CWD, &own, CWD, &path, RenameFlags::NOREPLACE);
        if let Err(e) = named {
            let _ = fs::remove_file(&own);
            if e != Errno::EXIST {
                return Err(refused(e.into()));
            }
        }
        Key::read(roots)?.ok_or_else(|| refused(io::Error::other("it went away")))
    }

    /// Keyed digest of something a plan rests on.
    pub(super) fn digest(&self, bytes: &[u8]) -> String {
        let mut hex = self.tag("basis", bytes);
        hex.truncate(DIGITS);
        hex
    }

    /// Tells this host and state from others.
    pub(super) fn host(&self) -> String {
        self.digest(b"this host")
    }

    /// What shows that a file was written here and not changed.
    pub(super) fn seal(&self, bytes: &[u8]) -> String {
        self.tag("seal", bytes)
    }

    /// Whether a seal is that over these bytes.
    pub(super) fn verifies(&self, bytes: &[u8], seal: &str) -> bool {
        let ours = self.seal(bytes);
        // Compared without telling by time how far it was right.
        let differs = ours.bytes().zip(seal.bytes()).fold(0, |all, (a, b)| all | (a ^ b));
        ours.len() == seal.len() && differs == 0
    }

    #[cfg(test)]
    pub(super) fn of_bytes(bytes: [u8; LENGTH]) -> Key {
        Key(hmac::Key::new(hmac::HMAC_SHA256, &bytes))
    }

    /// HMAC-SHA256 (RFC 2104). What it is for stands in front, so that one is never another.
    fn tag(&self, what: &str, bytes: &[u8]) -> String {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(what.as_bytes());
        context.update(&[0]);
        context.update(bytes);
        context.sign().as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

fn place(roots: &Roots) -> PathBuf {
    roots.state.join("plan.key")
}

/// The bytes of a key that nobody else can read or have written.
fn bytes(path: &Path) -> io::Result<Vec<u8>> {
    let found = fs::symlink_metadata(path)?;
    let ours = found.uid() == rustix::process::geteuid().as_raw();
    if !found.is_file() || !ours || found.mode() & 0o077 != 0 {
        return Err(io::Error::other("it is not a file that only root can read"));
    }
    if found.len() != LENGTH as u64 {
        return Err(io::Error::other("it is no key"));
    }
    fs::read(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> Key {
        Key::of_bytes([byte; LENGTH])
    }

    #[test]
    fn digests_are_those_of_one_key_and_one_purpose() {
        assert_eq!(key(1).digest(b"x"), key(1).digest(b"x"));
        assert_ne!(key(1).digest(b"x"), key(2).digest(b"x"));
        assert_ne!(key(1).digest(b"x"), key(1).digest(b"y"));
        assert!(!key(1).seal(b"x").starts_with(&key(1).digest(b"x")));
    }

    #[test]
    fn a_key_is_made_once_and_one_that_others_can_read_is_none() {
        use std::os::unix::fs::PermissionsExt;

        let root = std::env::temp_dir().join(format!("berth-key-{}", std::process::id()));
        let roots = Roots::below(&root);
        fs::create_dir_all(&roots.state).unwrap();
        assert!(Key::read(&roots).unwrap().is_none());
        let host = Key::make(&roots).unwrap().host();
        assert_eq!(Key::make(&roots).unwrap().host(), host);
        assert_eq!(fs::read_dir(&roots.state).unwrap().count(), 1);
        let path = place(&roots);
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(Key::read(&roots).is_err() && Key::make(&roots).is_err());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&path, "short").unwrap();
        assert!(Key::read(&roots).is_err());
        fs::remove_dir_all(&root).unwrap();
    }
}
