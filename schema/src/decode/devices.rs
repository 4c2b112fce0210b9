//! Devices of the host in a container.

use super::read::{Reader, int, text, text_map, texts};
use crate::stack::{
    Device, DeviceAccess, DeviceChoice, DeviceKind, DeviceRequest, DeviceRule, Service,
};
use crate::tree::Node;
use crate::value::{self, Bad, bad};

impl Reader<'_> {
    pub(super) fn all_devices(&mut self, node: &Node, service: &mut Service) {
        service.devices = self.list(node, "devices", Self::device);
        service.device_rules = self.each(node, "device_cgroup_rules", rule);
        let gpus = self.list(node, "gpus", |reader, item| {
            let mut request = reader.device_request(item)?;
            if !request.capabilities.iter().any(|capability| capability == "gpu") {
                request.capabilities.push("gpu".to_owned());
            }
            Some(request)
        });
        let reserved = self.get(node, "deploy", |reader, deploy| {
            reader.get(deploy, "resources", |reader, resources| {
                reader.get(resources, "reservations", |reader, reserved| {
                    Some(reader.list(reserved, "devices", Self::device_request))
                })
            })
        });
        service.device_requests = gpus.into_iter().chain(reserved.into_iter().flatten()).collect();
    }

    fn device(&mut self, node: &Node) -> Option<Device> {
        let source = node.get_text("source")?;
        if let Some((vendor, class, name)) = cdi(source) {
            let (vendor, class, name) = (vendor.to_owned(), class.to_owned(), name.to_owned());
            return Some(Device::Cdi { vendor, class, name });
        }
        let target = node.get_text("target").filter(|target| !target.is_empty()).unwrap_or(source);
        for (name, path) in [("source", source), ("target", target)] {
            if !path.starts_with('/') {
                let at = node.get(name).unwrap_or(node);
                let why =
                    "is neither a path like `/dev/fuse` nor a device like `vendor.com/class=name`";
                self.refuse(at, why, "write `/dev/SOURCE[:/dev/TARGET[:rwm]]`");
                return None;
            }
        }
        let access = match node.get("permissions") {
            Some(_) => self.read(node, "permissions", access)?,
            None => ALL,
        };
        let target = value::clean_path(target);
        Some(Device::Node { source: value::clean_path(source).into(), target, access })
    }

    fn device_request(&mut self, node: &Node) -> Option<DeviceRequest> {
        let ids = texts(node, "device_ids");
        let which = match node.get("count") {
            _ if !ids.is_empty() => DeviceChoice::Ids(ids),
            None => DeviceChoice::All,
            Some(count) if int(count) == Some(-1_i64) => DeviceChoice::All,
            Some(_) => DeviceChoice::Count(self.within(
                node,
                "count",
                1..=1_000_000,
                " devices, or -1 for all",
            )?),
        };
        Some(DeviceRequest {
            driver: text(node, "driver"),
            capabilities: texts(node, "capabilities"),
            which,
            options: text_map(node, "options"),
        })
    }
}

const ALL: DeviceAccess = DeviceAccess { read: true, write: true, mknod: true };

/// `rwm`, or some of it.
fn access(text: &str) -> Result<DeviceAccess, Bad> {
    let once = |letter: char| text.matches(letter).count() <= 1;
    if text.is_empty() || !text.chars().all(|c| "rwm".contains(c) && once(c)) {
        return bad(
            "is not an access to a device",
            "write some of `rwm`: read, write, make a node",
        );
    }
    let has = |letter| text.contains(letter);
    Ok(DeviceAccess { read: has('r'), write: has('w'), mknod: has('m') })
}

/// `vendor.com/class=name`.
fn cdi(text: &str) -> Option<(&str, &str, &str)> {
    let (kind, name) = text.split_once('=')?;
    let (vendor, class) = kind.split_once('/')?;
    let word = |text: &str, more: &[u8]| {
        let inner = |byte: u8| byte.is_ascii_alphanumeric() || more.contains(&byte);
        text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.bytes().all(inner)
    };
    let fits = word(vendor, b"_-.") && word(class, b"_-") && word(name, b"_-.:");
    fits.then_some((vendor, class, name))
}

/// `c 1:3 mr`.
fn rule(text: &str) -> Result<DeviceRule, Bad> {
    const HELP: &str = "write `KIND MAJOR:MINOR ACCESS` like `c 1:3 rwm`; kinds are a, b and c, numbers may be `*`";
    let mut parts = text.split_ascii_whitespace();
    let (Some(kind), Some(numbers), Some(letters), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return bad("is not a rule about devices", HELP);
    };
    let kind = match kind {
        "a" => DeviceKind::All,
        "b" => DeviceKind::Block,
        "c" => DeviceKind::Char,
        _ => return bad(format!("has the kind `{kind}`, which is none"), HELP),
    };
    let Some((major, minor)) = numbers.split_once(':') else {
        return bad("has no major and minor number", HELP);
    };
    let access = access(letters)?;
    Ok(DeviceRule {
        kind,
        major: device_number(major, 4095)?,
        minor: device_number(minor, 1_048_575)?,
        access,
    })
}

/// A number, or `*` for any.
fn device_number(text: &str, most: u32) -> Result<Option<u32>, Bad> {
    match text.parse::<u32>() {
        _ if text == "*" => Ok(None),
        Ok(number) if number <= most => Ok(Some(number)),
        Ok(_) => bad(
            format!("has the number {text}, which no device has"),
            "major numbers are 0 to 4095, minor numbers 0 to 1048575",
        ),
        Err(_) => bad(format!("has the number `{text}`, which is none"), "write a number or `*`"),
    }
}
