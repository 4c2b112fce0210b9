//! Devices, and rules about them.

use insta::assert_snapshot;

use super::{refused, service};
use crate::stack::{Device, DeviceAccess, DeviceChoice, DeviceKind, DeviceRequest, DeviceRule};

const ALL: DeviceAccess = DeviceAccess { read: true, write: true, mknod: true };

#[test]
fn devices_are_nodes_or_have_a_name_in_a_cdi_file() {
    let node = |source: &str, target: &str, access| Device::Node {
        source: source.into(),
        target: target.into(),
        access,
    };
    let devices = service(
        "devices:
  - /dev/fuse
  - /dev/sda:/dev/xvda:r
  - {source: /dev/kvm, target: /dev/kvm, permissions: rw}
  - vendor.com/gpu=all
",
    )
    .devices;
    let read = DeviceAccess { read: true, write: false, mknod: false };
    let both = DeviceAccess { mknod: false, ..ALL };
    assert_eq!(devices[0], node("/dev/fuse", "/dev/fuse", ALL));
    assert_eq!(devices[1], node("/dev/sda", "/dev/xvda", read));
    assert_eq!(devices[2], node("/dev/kvm", "/dev/kvm", both));
    let (vendor, class, name) = ("vendor.com".into(), "gpu".into(), "all".into());
    assert_eq!(devices[3], Device::Cdi { vendor, class, name });
}

#[test]
fn rules_about_devices_are_read() {
    let rules = service("device_cgroup_rules: ['c 1:3 mr', 'b *:* rwm', 'a 7:* w']").device_rules;
    let access = DeviceAccess { read: true, write: false, mknod: true };
    let null = DeviceRule { kind: DeviceKind::Char, major: Some(1), minor: Some(3), access };
    assert_eq!(rules[0], null);
    assert_eq!((rules[1].kind, rules[1].major, rules[1].access), (DeviceKind::Block, None, ALL));
    assert_eq!((rules[2].kind, rules[2].major), (DeviceKind::All, Some(7)));
}

#[test]
fn devices_are_asked_for_by_what_they_can_do() {
    let request = |capabilities: &[&str], which| DeviceRequest {
        driver: None,
        capabilities: capabilities.iter().map(|&text| text.into()).collect(),
        which,
        options: Default::default(),
    };
    assert_eq!(service("gpus: all").device_requests, [request(&["gpu"], DeviceChoice::All)]);
    let service = service(
        "gpus: [{count: 2, capabilities: [tpu]}]
deploy: {resources: {reservations: {devices: [{capabilities: [gpu], device_ids: ['0', '3']}]}}}
",
    );
    let ids = DeviceChoice::Ids(vec!["0".into(), "3".into()]);
    let wanted = [request(&["tpu", "gpu"], DeviceChoice::Count(2)), request(&["gpu"], ids)];
    assert_eq!(service.device_requests, wanted);
}

#[test]
fn devices_that_cannot_be_are_refused() {
    assert_snapshot!(refused(
        "devices: [fuse, '/dev/a:/dev/b:rx', '/dev/a:b']
device_cgroup_rules: ['c 1:3', 'x 1:3 r', 'c 13 r', 'c 5000:1 r', 'c a:1 r', 'c 1:3 q']
gpus: [{count: -2}]
"
    ), @"
    compose.yaml:4:15 berth::bad_value
      `services.web.devices.0`: `fuse` is neither a path like `/dev/fuse` nor a device like `vendor.com/class=name`
      → write `/dev/SOURCE[:/dev/TARGET[:rwm]]`
    compose.yaml:4:21 berth::bad_value
      `services.web.devices.1.permissions`: `rx` is not an access to a device
      → write some of `rwm`: read, write, make a node
    compose.yaml:4:41 berth::bad_value
      `services.web.devices.2`: `b` is neither a path like `/dev/fuse` nor a device like `vendor.com/class=name`
      → write `/dev/SOURCE[:/dev/TARGET[:rwm]]`
    compose.yaml:5:27 berth::bad_value
      `services.web.device_cgroup_rules.0`: `c 1:3` is not a rule about devices
      → write `KIND MAJOR:MINOR ACCESS` like `c 1:3 rwm`; kinds are a, b and c, numbers may be `*`
    compose.yaml:5:36 berth::bad_value
      `services.web.device_cgroup_rules.1`: `x 1:3 r` has the kind `x`, which is none
      → write `KIND MAJOR:MINOR ACCESS` like `c 1:3 rwm`; kinds are a, b and c, numbers may be `*`
    compose.yaml:5:47 berth::bad_value
      `services.web.device_cgroup_rules.2`: `c 13 r` has no major and minor number
      → write `KIND MAJOR:MINOR ACCESS` like `c 1:3 rwm`; kinds are a, b and c, numbers may be `*`
    compose.yaml:5:57 berth::bad_value
      `services.web.device_cgroup_rules.3`: `c 5000:1 r` has the number 5000, which no device has
      → major numbers are 0 to 4095, minor numbers 0 to 1048575
    compose.yaml:5:71 berth::bad_value
      `services.web.device_cgroup_rules.4`: `c a:1 r` has the number `a`, which is none
      → write a number or `*`
    compose.yaml:5:82 berth::bad_value
      `services.web.device_cgroup_rules.5`: `c 1:3 q` is not an access to a device
      → write some of `rwm`: read, write, make a node
    compose.yaml:6:20 berth::bad_value
      `services.web.gpus.0.count`: `-2` is below -1
    ");
}
