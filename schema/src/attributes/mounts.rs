//! What a container sees in its file system.

use super::grammars::{FILE_MODE, TMPFS_MODE, TMPFS_SIZE};
use super::nothing;
use crate::shape::Bare::Empty;
use crate::shape::Shape::{Amount, Bool, Dict, Nullable, Record as Rec, Text, Word};
use crate::shape::{Keyed as KeyedShape, Record, docker, done, inert, record, requiring};
use crate::short;

pub(super) static MOUNTS: KeyedShape = KeyedShape {
    also: Some(&Text),
    expand: short::mount,
    item: &Rec(&MOUNT),
    finish: short::finish_mount,
    key: short::by_target,
    joins: false,
    single: false,
};

static MOUNT: Record = requiring(
    "a mount",
    &["type"],
    &[
        done("bind", Nullable(&Rec(&MOUNT_BIND))).says("More about a folder of the host."),
        inert("consistency", Text, docker("a Linux host has one file system"))
            .says("How strictly the folder is kept equal, on other systems."),
        done("image", Rec(&MOUNT_IMAGE)).says("More about an image that is mounted."),
        done("read_only", Bool).says("Whether it cannot be written to.").normally("false"),
        done("source", Text).says("The volume by name, or the path on this host."),
        done("target", Text).says("Where it is mounted in the container."),
        done("tmpfs", Nullable(&Rec(&MOUNT_TMPFS))).says("More about a folder in memory."),
        done("type", Word(&["bind", "volume", "tmpfs", "image", "cluster", "npipe"]))
            .says("What is mounted."),
        done("volume", Nullable(&Rec(&MOUNT_VOLUME))).says("More about a volume."),
    ],
);

static MOUNT_BIND: Record = record(
    "a bind mount",
    &[
        done("create_host_path", Bool)
            .says("Whether the folder is made when it is missing.")
            .normally("true"),
        done("propagation", Text)
            .says("Whether mounts made later appear on the other side.")
            .normally("rprivate")
            .like(&["rprivate", "private", "rshared", "shared", "rslave", "slave"]),
        done("recursive", Word(&["enabled", "disabled", "writable", "readonly"]))
            .says("Whether mounts inside the folder come along, and can be written to.")
            .normally("enabled"),
        done("selinux", Word(&["z", "Z"])).says(
            "Labels for SELinux, shared or private; a host with SELinux refuses them, and others need \
             none.",
        ),
    ],
);

static MOUNT_IMAGE: Record = record(
    "an image mount",
    &[done("subpath", Text).says("A folder of the image; normally all of it.")],
);

static MOUNT_TMPFS: Record = record(
    "a tmpfs mount",
    &[
        done("mode", Amount(&TMPFS_MODE))
            .says("The mode of the folder, in octal.")
            .normally("01777"),
        done("size", Amount(&TMPFS_SIZE))
            .says("The most it holds, in bytes; normally half of the memory."),
    ],
);

static MOUNT_VOLUME: Record = record(
    "a volume mount",
    &[
        done("labels", Dict(Empty)).says("Labels of the volume, when it is made for this mount."),
        done("nocopy", Bool)
            .says("Whether an empty volume stays empty and gets no files of the image.")
            .normally("false"),
        done("subpath", Text).says("A folder of the volume; normally all of it."),
    ],
);

pub(super) static CONFIG_MOUNTS: KeyedShape = KeyedShape {
    also: Some(&Text),
    expand: short::file_mount,
    item: &Rec(&FILE_MOUNT),
    finish: nothing,
    key: |node| short::file_key(node, ""),
    joins: false,
    single: false,
};

pub(super) static SECRET_MOUNTS: KeyedShape = KeyedShape {
    also: Some(&Text),
    expand: short::file_mount,
    item: &Rec(&FILE_MOUNT),
    finish: nothing,
    key: |node| short::file_key(node, "/run/secrets"),
    joins: false,
    single: false,
};

static FILE_MOUNT: Record = record(
    "a mounted file",
    &[
        done("gid", Text).says("The group the file belongs to, as a number.").normally("0"),
        done("mode", Amount(&FILE_MODE)).says("The mode of the file, in octal.").normally("0444"),
        done("source", Text).says("Its name at the top level."),
        done("target", Text)
            .says("Where it is mounted; secrets are relative to `/run/secrets`, configs to `/`."),
        done("uid", Text).says("The user the file belongs to, as a number.").normally("0"),
    ],
);
