//! What a container sees in its file system.

use super::grammars::{FILE_MODE, TMPFS_MODE, TMPFS_SIZE};
use super::nothing;
use crate::shape::Bare::Empty;
use crate::shape::Shape::{Amount, Bool, Dict, Nullable, Record as Rec, Text, Word};
use crate::shape::{Keyed as KeyedShape, Record, done, inert, later, record, requiring};
use crate::short;

pub(super) static MOUNTS: KeyedShape = KeyedShape {
    also: Some(&Text),
    expand: short::mount,
    item: &Rec(&MOUNT),
    finish: short::finish_mount,
    key: short::by_target,
    single: false,
};

static MOUNT: Record = requiring(
    "a mount",
    &["type"],
    &[
        done("bind", Nullable(&Rec(&MOUNT_BIND))),
        inert("consistency", Text, "a Linux host has one file system"),
        later("image", Rec(&MOUNT_IMAGE)),
        done("read_only", Bool),
        done("source", Text),
        done("target", Text),
        done("tmpfs", Nullable(&Rec(&MOUNT_TMPFS))),
        done("type", Word(&["bind", "volume", "tmpfs", "image", "cluster", "npipe"])),
        done("volume", Nullable(&Rec(&MOUNT_VOLUME))),
    ],
);

static MOUNT_BIND: Record = record(
    "a bind mount",
    &[
        done("create_host_path", Bool),
        done("propagation", Text),
        later("recursive", Word(&["enabled", "disabled", "writable", "readonly"])),
        inert("selinux", Word(&["z", "Z"]), "berth does not label files for SELinux"),
    ],
);

static MOUNT_IMAGE: Record = record("an image mount", &[done("subpath", Text)]);

static MOUNT_TMPFS: Record = record(
    "a tmpfs mount",
    &[done("mode", Amount(&TMPFS_MODE)), done("size", Amount(&TMPFS_SIZE))],
);

static MOUNT_VOLUME: Record = record(
    "a volume mount",
    &[later("labels", Dict(Empty)), done("nocopy", Bool), done("subpath", Text)],
);

pub(super) static CONFIG_MOUNTS: KeyedShape = KeyedShape {
    also: Some(&Text),
    expand: short::file_mount,
    item: &Rec(&FILE_MOUNT),
    finish: nothing,
    key: |node| short::file_target(node, ""),
    single: false,
};

pub(super) static SECRET_MOUNTS: KeyedShape = KeyedShape {
    also: Some(&Text),
    expand: short::file_mount,
    item: &Rec(&FILE_MOUNT),
    finish: nothing,
    key: |node| short::file_target(node, "/run/secrets"),
    single: false,
};

static FILE_MOUNT: Record = record(
    "a mounted file",
    &[
        done("gid", Text),
        done("mode", Amount(&FILE_MODE)),
        done("source", Text),
        done("target", Text),
        done("uid", Text),
    ],
);
