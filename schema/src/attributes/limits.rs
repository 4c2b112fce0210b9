//! What a container may use: devices, limits, block devices.

use super::grammars::{LIMIT, RATE, WEIGHT};
use super::nothing;
use crate::shape::Shape::{Amount, Int, List, Record as Rec, Text};
use crate::shape::{Keyed as KeyedShape, Record, done, record, requiring};
use crate::short;

pub(super) static BLKIO: Record = record(
    "block device limits",
    &[
        done("device_read_bps", List(&Rec(&BLKIO_RATE)))
            .says("The most bytes a second that are read from a device."),
        done("device_read_iops", List(&Rec(&BLKIO_RATE)))
            .says("The most reads a second from a device."),
        done("device_write_bps", List(&Rec(&BLKIO_RATE)))
            .says("The most bytes a second that are written to a device."),
        done("device_write_iops", List(&Rec(&BLKIO_RATE)))
            .says("The most writes a second to a device."),
        done("weight", Int(&WEIGHT))
            .says("The share of block device time, 10 to 1000.")
            .normally("500"),
        done("weight_device", List(&Rec(&BLKIO_WEIGHT))).says("Shares for single devices."),
    ],
);

static BLKIO_WEIGHT: Record = record(
    "a device weight",
    &[
        done("path", Text).says("The device.").like(&["/dev/sda"]),
        done("weight", Int(&WEIGHT)).says("Its share, 10 to 1000."),
    ],
);

static BLKIO_RATE: Record = record(
    "a device rate",
    &[
        done("path", Text).says("The device.").like(&["/dev/sda"]),
        done("rate", Amount(&RATE)).says("Bytes (a unit allowed) or operations in a second."),
    ],
);

pub(super) static ULIMIT: Record = requiring(
    "a limit",
    &["soft", "hard"],
    &[
        done("hard", Int(&LIMIT)).says("What a process can raise its limit to; -1 for no limit."),
        done("soft", Int(&LIMIT)).says("What counts; -1 for no limit."),
    ],
);

pub(super) static DEVICES: KeyedShape = KeyedShape {
    also: Some(&Text),
    expand: short::device,
    item: &Rec(&DEVICE),
    finish: nothing,
    key: short::by_target,
    joins: false,
    single: false,
};

static DEVICE: Record = requiring(
    "a device",
    &["source", "target"],
    &[
        done("permissions", Text)
            .says("What may be done with it: read, write, make nodes.")
            .normally("rwm"),
        done("source", Text)
            .says("The device on this host, or the name of one that a driver describes."),
        done("target", Text).says("Its path in the container."),
    ],
);

pub(super) static CREDENTIAL_SPEC: Record = record(
    "a credential specification",
    &[
        done("config", Text).says("A config that holds the specification."),
        done("file", Text).says("A file that holds it."),
        done("registry", Text).says("A place in the registry of Windows that holds it."),
    ],
);
