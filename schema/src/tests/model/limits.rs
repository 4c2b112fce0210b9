//! Limits beyond memory and processors.

use std::time::Duration;

use insta::assert_snapshot;

use super::{refused, service};
use crate::stack::{DeviceRate, DeviceWeight};

#[test]
fn block_devices_have_weights_and_rates() {
    let io = service(
        "blkio_config:
  weight: 300
  weight_device: [{path: /dev/sda, weight: 400}]
  device_read_bps: [{path: /dev/sda, rate: 12mb}]
  device_write_bps: [{path: /dev/sda, rate: 1024}]
  device_read_iops: [{path: /dev/sda, rate: 120}]
  device_write_iops: [{path: /dev/sdb, rate: 30}]
",
    )
    .block_io
    .unwrap();
    let rate = |path: &str, rate| DeviceRate { path: path.into(), rate };
    assert_eq!(io.weight, Some(300));
    assert_eq!(io.weights, [DeviceWeight { path: "/dev/sda".into(), weight: 400 }]);
    assert_eq!(io.read_bytes, [rate("/dev/sda", 12 << 20)]);
    assert_eq!(io.write_bytes, [rate("/dev/sda", 1024)]);
    assert_eq!(io.read_operations, [rate("/dev/sda", 120)]);
    assert_eq!(io.write_operations, [rate("/dev/sdb", 30)]);
}

#[test]
fn the_older_limits_have_their_units() {
    let service = service(
        "mem_swappiness: 60
oom_kill_disable: true
cpu_rt_period: 1400
cpu_rt_runtime: '95'
storage_opt: {size: 1G}
shm_size: 128m
",
    );
    assert_eq!(service.mem_swappiness, Some(60));
    assert!(service.oom_kill_disable);
    assert_eq!(service.cpu_rt_period, Some(Duration::from_micros(1400)));
    assert_eq!(service.cpu_rt_runtime, Some(Duration::from_micros(95)));
    assert_eq!(service.storage_size, Some(1 << 30));
    assert_eq!(service.shm_size, Some(128 << 20));
}

#[test]
fn limits_out_of_range_name_the_range_and_the_unit() {
    assert_snapshot!(refused(
        "mem_swappiness: 101
cpu_rt_period: 1000
cpu_rt_runtime: 2000
storage_opt: {size: big, siz: 1G}
ulimits:
  nofiles: 5
  nproc: {soft: 10, hard: 5}
  core: -2
blkio_config:
  weight: 5
  weight_device: [{path: sda, weight: 20}]
  device_read_bps: [{path: /dev/sda, rate: 0}, {rate: 5}]
"
    ), @"
    compose.yaml:4:21 berth::bad_value
      `services.web.mem_swappiness`: `101` is not between 0 and 100 percent, or -1
    compose.yaml:6:21 berth::bad_value
      `services.web.cpu_rt_runtime`: `2000` is more than the period of 1000 microseconds
      → raise `cpu_rt_period`, or lower it
    compose.yaml:7:25 berth::bad_value
      `services.web.storage_opt.size`: `big` is not a size
      → write it like `512m`, `1g` or `1048576`; units are b k m g t p, times 1024 each
    compose.yaml:7:35 berth::bad_value
      `services.web.storage_opt.siz`: no storage here has this option
      → there is `size`
    compose.yaml:9:16 berth::bad_value
      `services.web.ulimits.nofiles`: the kernel has no limit of this name
      → did you mean `nofile`?
    compose.yaml:10:14 berth::bad_value
      `services.web.ulimits.nproc`: has a soft limit above the hard one
      → write a soft limit no higher than the hard one
    compose.yaml:11:13 berth::bad_value
      `services.web.ulimits.core`: `-2` is below -1
      → write a number, or -1 for no limit
    compose.yaml:13:15 berth::bad_value
      `services.web.blkio_config.weight`: `5` is not between 10 and 1000, or 0
    compose.yaml:14:30 berth::bad_value
      `services.web.blkio_config.weight_device.0`: `sda` names no device of the host
      → add `path: /dev/DEVICE`
    compose.yaml:15:52 berth::bad_value
      `services.web.blkio_config.device_read_bps.1`: names no device of the host
      → add `path: /dev/DEVICE`
    ");
}
