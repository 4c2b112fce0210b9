//! What a container gets for its devices: nodes, the right to use them, and what the files of the
//! host that describe a device say beside.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use berth_planner::cdi::{CdiHook, CdiNode, Edits};
use berth_planner::observed::ContainerRecord;
use berth_schema::stack::{Device, DeviceAccess, DeviceKind, DeviceRule};

use crate::bundle::{BundleDevice, BundleMount, BundleSource};
use crate::host::grounds::real;
use crate::host::{StepError, cdi};

/// Folders within folders of devices.
const DEPTH: usize = 8;
/// Nodes of a container.
const MOST: usize = 4096;
/// Names in `/dev` that each container has of its own.
const OWN: [&str; 6] = ["pts", "shm", "fd", "mqueue", "console", "ptmx"];

/// Everything for the devices of a container.
#[derive(Debug, Default)]
pub(super) struct Given {
    pub(super) nodes: Vec<BundleDevice>,
    pub(super) rules: Vec<String>,
    pub(super) env: Vec<String>,
    pub(super) mounts: Vec<BundleMount>,
    pub(super) groups: Vec<u32>,
    pub(super) hooks: Vec<CdiHook>,
}

/// Looks up the devices of a description as they are now.
///
/// # Errors
/// One is not there, or cannot be had any more.
pub(super) fn given(record: &ContainerRecord) -> Result<Given, StepError> {
    let (container, spec) = (&record.name, &record.spec);
    let mut given = Given::default();
    let mut described = Vec::new();
    for device in &spec.devices {
        match device {
            Device::Node { source, target, access } => {
                let judged = record.judged.get(source);
                given.add((source, judged), target, *access).map_err(|why| {
                    let step = format!("give the device `{}` to", source.display());
                    StepError::failed(&step, container, why)
                })?;
            }
            Device::Cdi { vendor, class, name } => {
                described.push(format!("{vendor}/{class}={name}"))
            }
        }
    }
    if !described.is_empty() {
        let edits = cdi::cdi().edits(&described).map_err(|(device, why)| {
            StepError::failed(&format!("give the device `{device}` to"), container, why)
        })?;
        given.describe(edits).map_err(|why| {
            StepError::failed("give the devices that the host describes to", container, why)
        })?;
    }
    given.rules.extend(spec.device_cgroup_rules.iter().map(rule));
    Ok(given)
}

/// Every device below a folder with its path in the container, where the folder is `target`; of
/// what is no folder, itself. Links in the folder are none of them.
pub(in crate::host) fn nodes(source: &Path, target: &str) -> io::Result<Vec<(PathBuf, String)>> {
    let mut nodes = Vec::new();
    gather(source, target, DEPTH, &mut nodes)?;
    Ok(nodes)
}

fn gather(
    source: &Path,
    target: &str,
    depth: usize,
    nodes: &mut Vec<(PathBuf, String)>,
) -> io::Result<()> {
    if nodes.len() > MOST {
        return Ok(()); // that many are refused
    }
    if !fs::metadata(source)?.is_dir() {
        nodes.push((source.to_owned(), target.to_owned()));
        return Ok(());
    }
    let mut names: Vec<_> =
        fs::read_dir(source)?.flatten().map(|entry| entry.file_name()).collect();
    names.sort();
    for name in names.iter().filter_map(|name| name.to_str()) {
        let below = source.join(name);
        let Ok(kind) = fs::symlink_metadata(&below).map(|found| found.file_type()) else {
            continue; // it has just gone
        };
        let is_device = kind.is_char_device() || kind.is_block_device();
        let own = OWN.contains(&name) || name.starts_with('.');
        if is_device || (kind.is_dir() && !own && depth > 0) {
            let target = format!("{}/{name}", target.trim_end_matches('/'));
            gather(&below, &target, depth - usize::from(kind.is_dir()), nodes)?;
        }
    }
    Ok(())
}

impl Given {
    /// A node, or every node below a folder, where the path led when it was judged.
    fn add(
        &mut self,
        (source, judged): (&Path, Option<&PathBuf>),
        target: &str,
        access: DeviceAccess,
    ) -> Result<(), String> {
        let now = real(source);
        if let Some(judged) = judged.filter(|judged| **judged != now) {
            let (now, judged) = (now.display(), judged.display());
            return Err(format!("it leads to `{now}` now, not to `{judged}`: `up` judges it anew"));
        }
        for (node, target) in nodes(&now, target).map_err(|error| error.to_string())? {
            let found = fs::metadata(&node).map_err(|error| error.to_string())?;
            self.node(&node, &target, access, &found)?;
        }
        Ok(())
    }

    fn node(
        &mut self,
        source: &Path,
        target: &str,
        access: DeviceAccess,
        found: &Metadata,
    ) -> Result<(), String> {
        let kind = found.file_type();
        if !kind.is_char_device() && !kind.is_block_device() {
            return Err(format!("`{}` is no device", source.display()));
        }
        if self.nodes.len() == MOST {
            return Err(format!("there are more than {MOST} devices"));
        }
        let (major, minor) = (rustix::fs::major(found.rdev()), rustix::fs::minor(found.rdev()));
        let device = BundleDevice {
            source: source.to_owned(),
            target: target.to_owned(),
            block: kind.is_block_device(),
            major,
            minor,
            uid: found.uid(),
            gid: found.gid(),
            mode: found.mode() & 0o777,
        };
        let kind = if device.block { DeviceKind::Block } else { DeviceKind::Char };
        let (major, minor) = (Some(major), Some(minor));
        self.rules.push(rule(&DeviceRule { kind, major, minor, access }));
        self.nodes.push(device);
        Ok(())
    }

    fn describe(&mut self, edits: Edits) -> Result<(), String> {
        for CdiNode { source, target, access, owner } in edits.nodes {
            let found = fs::metadata(&source)
                .map_err(|error| format!("`{}`: {error}", source.display()))?;
            self.node(&source, &target, access, &found)?;
            if let Some(node) = self.nodes.last_mut() {
                node.uid = owner.0.unwrap_or(node.uid);
                node.gid = owner.1.unwrap_or(node.gid);
                node.mode = owner.2.unwrap_or(node.mode);
            }
        }
        for mount in edits.mounts {
            fs::symlink_metadata(&mount.source)
                .map_err(|error| format!("`{}`: {error}", mount.source.display()))?;
            let source = BundleSource::Bind {
                path: mount.source,
                below: None,
                idmap: false,
                owner: None,
                recursive: mount.recursive,
                writable_below: false,
                propagation: None,
                dev: false,
                judged: None,
            };
            let (target, read_only) = (mount.target, mount.read_only);
            self.mounts.push(BundleMount { target, source, read_only });
        }
        self.env.extend(edits.env);
        self.groups.extend(edits.groups);
        self.hooks.extend(edits.hooks);
        Ok(())
    }
}

/// As the kernel writes it: `c 10:200 rwm`.
fn rule(rule: &DeviceRule) -> String {
    let kind = match rule.kind {
        DeviceKind::All => 'a',
        DeviceKind::Char => 'c',
        DeviceKind::Block => 'b',
    };
    let number = |number: Option<u32>| number.map_or("*".to_owned(), |number| number.to_string());
    let access = rule.access;
    let letters = [(access.read, 'r'), (access.write, 'w'), (access.mknod, 'm')];
    let letters: String = letters.iter().filter(|(on, _)| *on).map(|(_, letter)| letter).collect();
    format!("{kind} {}:{} {letters}", number(rule.major), number(rule.minor))
}
