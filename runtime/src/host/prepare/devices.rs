//! What a container gets for its devices: nodes, the right to use them, and what the files of the
//! host that describe a device say beside.

use std::fs::{self, Metadata};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use berth_planner::cdi::{CdiNode, Edits};
use berth_planner::desired::ContainerSpec;
use berth_schema::stack::{Device, DeviceAccess, DeviceKind, DeviceRule};

use crate::bundle::{BundleDevice, BundleMount, BundleSource};
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
}

/// Looks up the devices of a description as they are now.
///
/// # Errors
/// One is not there, or cannot be had any more.
pub(super) fn given(container: &str, spec: &ContainerSpec) -> Result<Given, StepError> {
    let mut given = Given::default();
    let mut described = Vec::new();
    for device in &spec.devices {
        match device {
            Device::Node { source, target, access } => {
                given.add(source, target, *access, DEPTH).map_err(|why| {
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

impl Given {
    /// A node, or every node below a folder.
    fn add(
        &mut self,
        source: &Path,
        target: &str,
        access: DeviceAccess,
        depth: usize,
    ) -> Result<(), String> {
        let found = fs::metadata(source).map_err(|error| error.to_string())?;
        if !found.is_dir() {
            return self.node(source, target, access, &found);
        }
        let entries = fs::read_dir(source).map_err(|error| error.to_string())?;
        let mut names: Vec<_> = entries.flatten().map(|entry| entry.file_name()).collect();
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
                self.add(&below, &target, access, depth - usize::from(kind.is_dir()))?;
            }
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
