//! What a container may use: devices, limits, block devices.

use super::grammars::{LIMIT, RATE, WEIGHT};
use super::nothing;
use crate::shape::Shape::{Amount, Int, List, Record as Rec, Text};
use crate::shape::{Keyed as KeyedShape, Record, done, later, record, requiring};
use crate::short;

pub(super) static BLKIO: Record = record(
    "block device limits",
    &[
        later("device_read_bps", List(&Rec(&BLKIO_RATE))),
        later("device_read_iops", List(&Rec(&BLKIO_RATE))),
        later("device_write_bps", List(&Rec(&BLKIO_RATE))),
        later("device_write_iops", List(&Rec(&BLKIO_RATE))),
        later("weight", Int(&WEIGHT)),
        later("weight_device", List(&Rec(&BLKIO_WEIGHT))),
    ],
);

static BLKIO_WEIGHT: Record =
    record("a device weight", &[later("path", Text), later("weight", Int(&WEIGHT))]);

static BLKIO_RATE: Record =
    record("a device rate", &[later("path", Text), later("rate", Amount(&RATE))]);

pub(super) static ULIMIT: Record = requiring(
    "a limit",
    &["soft", "hard"],
    &[done("hard", Int(&LIMIT)), done("soft", Int(&LIMIT))],
);

pub(super) static DEVICES: KeyedShape = KeyedShape {
    also: Some(&Text),
    expand: short::device,
    item: &Rec(&DEVICE),
    finish: nothing,
    key: short::by_target,
    single: false,
};

static DEVICE: Record = requiring(
    "a device",
    &["source", "target"],
    &[done("permissions", Text), done("source", Text), done("target", Text)],
);

pub(super) static CREDENTIAL_SPEC: Record = record(
    "a credential specification",
    &[done("config", Text), done("file", Text), done("registry", Text)],
);
