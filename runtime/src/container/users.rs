//! Users and groups by the files of an image: no library of the host or the image is asked.

use std::collections::BTreeSet;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;

use rustix::fs::{CWD, FileType, Mode, OFlags, fstat, openat};
use rustix::io::Errno;

use super::error::{Context, SetupError};
use super::inside;
use crate::sabotage::{defence, without};

const STEP: &str = "look up user";
/// Larger files of accounts are refused.
const MAX: u64 = 1 << 20;

/// Who a process is, in the container's ids.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ids {
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Supplementary groups, complete, in ascending order.
    pub groups: Vec<u32>,
    /// Home folder, where the image knows one.
    pub home: Option<String>,
}

/// Reads a file of the image as text; `None` when there is none.
pub type ReadFile<'a> = &'a dyn Fn(&str) -> io::Result<Option<String>>;

/// Resolves `user[:group]`, each a name or a number, and the further groups.
///
/// A number is never looked up as a name. Without a group, that of the user's entry is taken,
/// and the groups that list the user. Empty text is root. The group itself is among the further
/// ones, so that a set-group-id program cannot get rid of it and of what files deny to it
/// (CVE-2022-36109).
pub fn resolve(read: ReadFile<'_>, user: &str, group_add: &[String]) -> Result<Ids, SetupError> {
    let passwd = read("etc/passwd").step(STEP, "/etc/passwd")?.unwrap_or_default();
    let group = read("etc/group").step(STEP, "/etc/group")?.unwrap_or_default();
    let (user, wanted_group) = match user.split_once(':') {
        Some((user, group)) => (user, Some(group)),
        None if user.is_empty() => ("0", None),
        None => (user, None),
    };
    let account = account(&passwd, user)?;
    let mut ids = Ids { uid: account.uid, gid: account.gid, home: account.home, ..Ids::default() };
    let mut groups = BTreeSet::new();
    match wanted_group {
        Some(wanted) => ids.gid = group_id(&group, wanted)?,
        None => groups.extend(account.name.iter().flat_map(|name| groups_of(&group, name))),
    }
    for wanted in group_add {
        groups.insert(group_id(&group, wanted)?);
    }
    groups.insert(ids.gid);
    ids.groups = groups.into_iter().collect();
    Ok(ids)
}

/// [`resolve`] with the files of a root folder.
pub fn resolve_in(
    root: BorrowedFd<'_>,
    user: &str,
    group_add: &[String],
) -> Result<Ids, SetupError> {
    resolve(&|path| read_in(root, path), user, group_add)
}

/// [`resolve`] with the files of unpacked layers, the top one first.
pub fn resolve_in_layers(
    layers: &[PathBuf],
    user: &str,
    group_add: &[String],
) -> Result<Ids, SetupError> {
    resolve(&|path| read_in_layers(layers, path), user, group_add)
}

/// Reads a regular file of bounded size below `root`.
fn read_in(root: BorrowedFd<'_>, path: &str) -> io::Result<Option<String>> {
    without!("users.bounds", return crate::sabotage::naive::read(root, path));
    // Not blocking: a FIFO of that name would otherwise wait for a writer.
    match inside::open(root, path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY) {
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
        opened => {
            let fd = opened?;
            if !FileType::from_raw_mode(fstat(&fd)?.st_mode).is_file() {
                return Err(io::Error::other("it is not a regular file"));
            }
            let mut bytes = Vec::new();
            let read = std::fs::File::from(fd).take(MAX + 1).read_to_end(&mut bytes)?;
            if read as u64 > MAX {
                return Err(io::Error::other("it is larger than 1 MiB"));
            }
            Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
        }
    }
}

/// The file of the topmost layer that has it or removes it.
fn read_in_layers(layers: &[PathBuf], path: &str) -> io::Result<Option<String>> {
    for layer in layers {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = openat(CWD, layer, flags, Mode::empty())?;
        match inside::open(root.as_fd(), path, OFlags::PATH | OFlags::NOFOLLOW) {
            Ok(fd) => {
                let stat = fstat(&fd)?;
                let is_device = FileType::from_raw_mode(stat.st_mode).is_char_device();
                if is_device && stat.st_rdev == 0 {
                    return Ok(None); // a whiteout
                }
                return read_in(root.as_fd(), path);
            }
            Err(Errno::NOENT) => {}
            Err(Errno::NOTDIR) => return Ok(None), // its folder is removed or a file here
            Err(error) => return Err(error.into()),
        }
    }
    Ok(None)
}

struct Account {
    name: Option<String>,
    uid: u32,
    gid: u32,
    home: Option<String>,
}

fn account(passwd: &str, user: &str) -> Result<Account, SetupError> {
    let number = number(user)?;
    // name:password:uid:gid:comment:home:shell
    for line in passwd.lines() {
        let fields: Vec<&str> = line.split(':').collect();
        let [name, _, uid, gid, _, home, ..] = fields.as_slice() else { continue };
        let (Ok(uid), Ok(gid)) = (uid.parse(), gid.parse()) else { continue };
        if number.map_or(*name == user, |number| number == uid) {
            let home = Some((*home).to_owned()).filter(|home| !home.is_empty());
            return Ok(Account { name: Some((*name).to_owned()), uid, gid, home });
        }
    }
    match number {
        Some(uid) => Ok(Account { name: None, uid, gid: 0, home: None }),
        None => Err(SetupError::refused(STEP, user, "no such user in `/etc/passwd` of the image")),
    }
}

/// name:password:gid:members
fn groups(group: &str) -> impl Iterator<Item = (&str, u32, &str)> {
    group.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let gid = fields.nth(1)?.parse().ok()?;
        Some((name, gid, fields.next().unwrap_or_default()))
    })
}

fn groups_of(group: &str, user: &str) -> Vec<u32> {
    let listed = groups(group).filter(|(_, _, members)| members.split(',').any(|m| m == user));
    listed.map(|(_, gid, _)| gid).collect()
}

fn group_id(group: &str, wanted: &str) -> Result<u32, SetupError> {
    if let Some(number) = number(wanted)? {
        return Ok(number);
    }
    let found = groups(group).find(|(name, _, _)| *name == wanted);
    found.map(|(_, gid, _)| gid).ok_or_else(|| {
        SetupError::refused("look up group", wanted, "no such group in `/etc/group` of the image")
    })
}

/// The id, when the text is all digits; `None` for a name. 4294967295 and more is no id.
fn number(text: &str) -> Result<Option<u32>, SetupError> {
    let refuse = |reason| Err(SetupError::refused(STEP, text, reason));
    if text.is_empty() {
        return refuse("the user or group is empty");
    }
    if !text.bytes().all(|b| b.is_ascii_digit()) {
        // `-1`, `+1` and `0x0` are no numbers, and no file has such names.
        let plain = text.chars().all(|c| !c.is_control() && !c.is_whitespace() && c != '/');
        return if plain { Ok(None) } else { refuse("it is no name of a user or group") };
    }
    if text.len() > 1 && text.starts_with('0') {
        return refuse("a number starts with a digit other than 0");
    }
    match text.parse() {
        Ok(u32::MAX) | Err(_) => {
            defence!("users.numbers", refuse("the number is out of range"), Ok(None))
        }
        Ok(number) => Ok(Some(number)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nbroken\nweb:x:33:34::/srv:/bin/sh\n\
                          1000:x:0:0::/:/bin/sh\n";
    const GROUP: &str = "root:x:0:\nweb:x:34:\nlogs:x:50:web,root\naudio:x:63:web\n";

    fn who(user: &str, add: &[&str]) -> String {
        let add: Vec<String> = add.iter().map(ToString::to_string).collect();
        let read =
            |path: &str| Ok(Some(if path == "etc/passwd" { PASSWD } else { GROUP }.to_owned()));
        match resolve(&read, user, &add) {
            Ok(ids) => format!(
                "{}:{} {:?} {}",
                ids.uid,
                ids.gid,
                ids.groups,
                ids.home.unwrap_or_else(|| "-".into())
            ),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn a_name_has_its_group_home_and_further_groups() {
        assert_eq!(who("web", &[]), "33:34 [34, 50, 63] /srv");
        assert_eq!(who("", &[]), "0:0 [0, 50] /root");
        assert_eq!(who("web:logs", &[]), "33:50 [50] /srv");
        assert_eq!(who("web:7", &["audio", "9"]), "33:7 [7, 9, 63] /srv");
    }

    #[test]
    fn a_number_is_never_a_name() {
        assert_eq!(who("1000", &[]), "1000:0 [0] -");
        assert_eq!(who("33", &[]), "33:34 [34, 50, 63] /srv");
    }

    #[test]
    fn what_is_no_id_is_refused_and_never_root() {
        for user in ["4294967295", "4294967296", "-1", "0x0", "00", "nobody", "root:", ":0", "a\0"]
        {
            assert!(who(user, &[]).starts_with("look up user"), "{user}: {}", who(user, &[]));
        }
        assert!(who("1000:5000000000", &[]).ends_with("the number is out of range"));
    }

    #[test]
    fn the_topmost_layer_that_has_the_file_counts() {
        let dir = std::env::temp_dir().join(format!("berth-users-{}", std::process::id()));
        let (top, low) = (dir.join("top"), dir.join("low"));
        std::fs::create_dir_all(top.join("etc")).unwrap();
        std::fs::create_dir_all(low.join("etc")).unwrap();
        std::fs::write(low.join("etc/passwd"), "app:x:5:6::/:/\n").unwrap();
        let layers = [top.clone(), low];
        let low = resolve_in_layers(&layers, "app", &[]).unwrap();
        std::fs::write(top.join("etc/passwd"), "app:x:7:8::/:/\n").unwrap();
        let top = resolve_in_layers(&layers, "app", &[]).unwrap();
        std::fs::remove_dir_all(&dir).unwrap();
        assert_eq!([(low.uid, low.gid), (top.uid, top.gid)], [(5, 6), (7, 8)]);
    }
}
