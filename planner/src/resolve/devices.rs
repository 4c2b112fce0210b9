//! Devices of the host that a stack names.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use berth_schema::stack::{BlockIo, Service, Stack};

use super::{ResolveProblem, Resolver};

/// What the host has where a device is said to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostDevice {
    /// A character device.
    Char,
    /// A block device.
    Block,
    /// A folder.
    Folder,
    /// Something else.
    Other,
    /// Nothing that can be looked at, and why.
    Missing(String),
}

/// Paths [`resolve`](super::resolve) needs to know what is there.
pub fn wanted_devices(stack: &Stack) -> BTreeSet<PathBuf> {
    let limited = stack.services.values().filter_map(|service| service.block_io.as_ref());
    limited.flat_map(limited_devices).map(|(_, path)| path.to_owned()).collect()
}

/// The block devices with limits, each with the place of its path below `blkio_config`.
fn limited_devices(io: &BlockIo) -> impl Iterator<Item = (String, &Path)> {
    let weights = io.weights.iter().map(|one| one.path.as_path()).enumerate();
    let weights = weights.map(|(index, path)| (format!("weight_device.{index}"), path));
    let rates = [
        ("device_read_bps", &io.read_bytes),
        ("device_write_bps", &io.write_bytes),
        ("device_read_iops", &io.read_operations),
        ("device_write_iops", &io.write_operations),
    ];
    let rates = rates.into_iter().flat_map(|(attribute, rates)| {
        let paths = rates.iter().map(|one| one.path.as_path()).enumerate();
        paths.map(move |(index, path)| (format!("{attribute}.{index}"), path))
    });
    weights.chain(rates)
}

impl Resolver<'_> {
    pub(super) fn block_io(&mut self, name: &str, service: &Service) -> Option<BlockIo> {
        let io = service.block_io.as_ref()?;
        for (place, path) in limited_devices(io) {
            let why = match self.inputs.devices.get(path) {
                Some(HostDevice::Block) => continue,
                Some(HostDevice::Missing(why)) => why.clone(),
                Some(HostDevice::Char | HostDevice::Folder | HostDevice::Other) => {
                    "it is no block device".to_owned()
                }
                None => "nobody looked".to_owned(),
            };
            self.problems.insert(ResolveProblem::Device {
                service: name.to_owned(),
                device: path.display().to_string(),
                why,
                at: format!("blkio_config.{place}.path"),
            });
        }
        Some(io.clone())
    }
}
