//! Memory mounted into a container.

use super::read::{Reader, int};
use crate::stack::Tmpfs;
use crate::tree::Node;
use crate::value::{self, Bad, bad};

/// Options of mount(8) that are switches.
const SWITCHES: [&str; 17] = [
    "async",
    "atime",
    "defaults",
    "dev",
    "diratime",
    "dirsync",
    "exec",
    "noatime",
    "nodev",
    "nodiratime",
    "noexec",
    "nosuid",
    "relatime",
    "ro",
    "rw",
    "strictatime",
    "suid",
];
/// Options of a tmpfs that have a value.
const SETTINGS: [&str; 7] = ["gid", "mode", "mpol", "nr_blocks", "nr_inodes", "size", "uid"];

impl Reader<'_> {
    /// `PATH[:OPTIONS]`.
    pub(super) fn tmpfs(&mut self, node: &Node) -> Option<Tmpfs> {
        let text = node.as_text()?;
        let (target, options) = text.split_once(':').unwrap_or((text, ""));
        let target = self.container_path(&Node::text(node.span, target))?;
        let mut tmpfs = Tmpfs { target, size: None, mode: None, options: Vec::new() };
        for option in options.split(',').filter(|option| !option.is_empty()) {
            if let Err(reason) = add(&mut tmpfs, option) {
                self.bad(node, reason);
            }
        }
        Some(tmpfs)
    }

    /// The long form.
    pub(super) fn tmpfs_mount(&mut self, node: &Node, target: &str, read_only: bool) -> Tmpfs {
        let options = node.get("tmpfs");
        let size = options.and_then(|node| node.get("size")).and_then(int);
        let mode = options.and_then(|node| node.get("mode")).and_then(int);
        let options = if read_only { vec!["ro".to_owned()] } else { Vec::new() };
        Tmpfs { target: target.to_owned(), size, mode, options }
    }
}

fn add(tmpfs: &mut Tmpfs, option: &str) -> Result<(), Bad> {
    match option.split_once('=') {
        Some(("size", size)) => match size.strip_suffix('%').map(str::parse::<u8>) {
            // A part of the memory of the host is for the kernel to work out.
            Some(Ok(0..=100)) => tmpfs.options.push(option.to_owned()),
            Some(_) => return bad("has a size that is not between 0 and 100 percent", ""),
            None => tmpfs.size = u64::try_from(value::size(size)?).ok(),
        },
        Some(("mode", mode)) => match u32::from_str_radix(mode, 8) {
            Ok(mode @ 0..=0o7777) => tmpfs.mode = Some(mode),
            _ => return bad("has a mode that is not octal", "write it like `mode=1777`"),
        },
        Some((name @ ("uid" | "gid"), number)) if number.parse::<u32>().is_err() => {
            return bad(format!("has a {name} that is no number"), "write it like `uid=1000`");
        }
        Some((name, _)) if SETTINGS.contains(&name) => tmpfs.options.push(option.to_owned()),
        None if SWITCHES.contains(&option) => tmpfs.options.push(option.to_owned()),
        _ => return unknown(option),
    }
    Ok(())
}

fn unknown(option: &str) -> Result<(), Bad> {
    let name = option.split_once('=').map_or(option, |(name, _)| name);
    let all = SWITCHES.iter().chain(&SETTINGS).copied();
    let help = match value::nearest(name, all) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("there are {} and ro, rw, exec, noexec, …", SETTINGS.join(", ")),
    };
    Err(Bad { why: format!("has the option `{option}`, which a tmpfs has not"), help: Some(help) })
}
