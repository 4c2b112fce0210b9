//! Devices of the host that a stack names.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use berth_schema::stack::{BlockIo, Device, DeviceChoice, DeviceRequest, PidMode, Service, Stack};

use super::{ResolveProblem, Resolver};
use crate::cdi::Library;

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
    let limited = limited.flat_map(limited_devices).map(|(_, path)| path.to_owned());
    let given = stack.services.values().flat_map(|service| &service.devices);
    let given = given.filter_map(|device| match device {
        Device::Node { source, .. } => Some(source.clone()),
        Device::Cdi { .. } => None,
    });
    limited.chain(given).collect()
}

/// Whether [`resolve`](super::resolve) needs the devices that files of the host describe.
pub fn wants_cdi(stack: &Stack) -> bool {
    let named = |service: &Service| {
        service.devices.iter().any(|device| matches!(device, Device::Cdi { .. }))
    };
    let mut services = stack.services.values();
    services.any(|service| named(service) || !service.device_requests.is_empty())
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
    /// Those of the file, and those that its requests come to.
    pub(super) fn devices(&mut self, name: &str, service: &Service) -> Vec<Device> {
        let mut all: Vec<Device> = Vec::new();
        for (index, device) in service.devices.iter().enumerate() {
            let at = format!("devices.{index}");
            match device {
                Device::Node { source, .. } => self.node(name, source, at),
                Device::Cdi { vendor, class, name: device } => {
                    self.described((name, service), &format!("{vendor}/{class}={device}"), at);
                }
            }
            all.push(device.clone());
        }
        for (index, request) in service.device_requests.iter().enumerate() {
            let at = self.place_of_request(name, index);
            match names(request, &self.inputs.cdi) {
                Ok(names) => {
                    for device in names {
                        self.described((name, service), &device, at.clone());
                        all.extend(cdi(&device));
                    }
                }
                Err(why) => {
                    let wanted = request.capabilities.join(", ");
                    self.unusable(name, &wanted, why, at);
                }
            }
        }
        let mut known = Vec::new();
        all.retain(|device| {
            let new = !known.contains(device);
            known.push(device.clone());
            new
        });
        all
    }

    fn node(&mut self, service: &str, source: &Path, at: String) {
        let why = match self.inputs.devices.get(source) {
            Some(HostDevice::Char | HostDevice::Block | HostDevice::Folder) => return,
            Some(HostDevice::Missing(why)) => why.clone(),
            Some(HostDevice::Other) => "it is no device, and no folder of devices".to_owned(),
            None => "nobody looked".to_owned(),
        };
        self.unusable(service, &source.display().to_string(), why, at);
    }

    /// A hook has the files of the host before it, which nobody in another container may reach.
    fn described(&mut self, (name, service): (&str, &Service), device: &str, at: String) {
        let shares = matches!(service.pid, PidMode::Service(_) | PidMode::Container(_));
        let against = match (shares, &service.runtime) {
            (true, _) => Some("its hooks want processes of their own, and `pid` shares them"),
            (_, Some(_)) => Some("its hooks are run by berth itself; leave out `runtime`"),
            (false, None) => None,
        };
        match (self.inputs.cdi.edits(&[device.to_owned()]), against) {
            (Err((_, why)), _) => self.unusable(name, device, why, at),
            (Ok(edits), Some(why)) if !edits.hooks.is_empty() => {
                self.unusable(name, device, why.to_owned(), at);
            }
            (Ok(_), _) => {}
        }
    }

    fn unusable(&mut self, service: &str, device: &str, why: String, at: String) {
        let (service, device) = (service.to_owned(), device.to_owned());
        self.problems.insert(ResolveProblem::Device { service, device, why, at });
    }

    /// Requests of `gpus` come before those of `deploy`.
    fn place_of_request(&self, service: &str, index: usize) -> String {
        let gpus = format!("gpus.{index}");
        let places = &self.stack.places;
        let short = index == 0 && places.has(&format!("services.{service}.gpus"));
        match short || places.has(&format!("services.{service}.{gpus}")) {
            true => gpus,
            false => "deploy.resources.reservations.devices".to_owned(),
        }
    }

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
            let at = format!("blkio_config.{place}.path");
            self.unusable(name, &path.display().to_string(), why, at);
        }
        Some(io.clone())
    }
}

/// Names of the devices that a request comes to: of NVIDIA's graphics processors by number or id,
/// or as `device_ids` has them with the driver `cdi`.
fn names(request: &DeviceRequest, library: &Library) -> Result<Vec<String>, String> {
    const GPUS: &str = "nvidia.com/gpu";
    if let Some(option) = request.options.keys().next() {
        return Err(format!("berth knows no option `{option}` of a driver"));
    }
    let gpu = request.capabilities.iter().any(|capability| capability == "gpu");
    match (request.driver.as_deref(), &request.which) {
        (Some("cdi"), DeviceChoice::Ids(ids)) => match ids.iter().find(|id| cdi(id).is_none()) {
            Some(id) => Err(format!("`{id}` is no name like `vendor.com/class=name`")),
            None => Ok(ids.clone()),
        },
        (Some("cdi"), DeviceChoice::All | DeviceChoice::Count(_)) => {
            Err("the driver `cdi` needs names in `device_ids`".to_owned())
        }
        (None | Some("" | "nvidia"), which) if gpu => {
            let of = |name: &str| format!("{GPUS}={name}");
            match which {
                DeviceChoice::Ids(ids) => Ok(ids.iter().map(|id| of(id)).collect()),
                DeviceChoice::All => Ok(vec![of("all")]),
                DeviceChoice::Count(count) => {
                    let numbers = library.names(GPUS).into_iter();
                    let numbers = numbers.filter(|name| name.parse::<u32>().is_ok());
                    let first: Vec<String> = numbers.take(*count as usize).collect();
                    match first.len() == *count as usize {
                        true => Ok(first.iter().map(|name| of(name)).collect()),
                        false => Err(format!("{count} are asked for, and {} found", first.len())),
                    }
                }
            }
        }
        (driver, _) => {
            let driver = driver.unwrap_or("none");
            Err(format!(
                "no device is found by the driver `{driver}` and these capabilities; berth knows \
                 the driver `cdi`, and `nvidia` with the capability `gpu`"
            ))
        }
    }
}

fn cdi(name: &str) -> Option<Device> {
    let (kind, name) = name.split_once('=')?;
    let (vendor, class) = kind.split_once('/')?;
    let device = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    Some(Device::Cdi { vendor: device(vendor)?, class: device(class)?, name: device(name)? })
}
