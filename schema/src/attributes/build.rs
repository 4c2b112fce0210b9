//! How an image is made.

use super::grammars::MEMORY;
use super::limits::ULIMIT;
use super::mounts::SECRET_MOUNTS;
use crate::shape::Bare::{Empty, Null};
use crate::shape::Shape::{
    Amount, Bool, Dict, IntOr, Keyed, List, Loose, Map, Nullable, OneOrList, Record as Rec, Set,
    Short, Text, Whole,
};
use crate::shape::{Brief, Record, done, record};
use crate::short;

pub(super) static BUILD: Record = record(
    "a build",
    &[
        done(
            "additional_contexts",
            Short(Brief { expand: short::contexts, also: None }, &Dict(Empty)),
        )
        .says("Further folders, images or services a Dockerfile can copy from, by name."),
        done("args", Dict(Null)).says(
            "Values for the `ARG` lines; a name alone takes its value from where berth runs.",
        ),
        done("cache_from", List(&Text)).says("Where layers of earlier builds are looked for."),
        done("cache_to", List(&Text)).says("Where layers are put for later builds."),
        done("context", Text)
            .says("The folder or repository the Dockerfile can copy from.")
            .normally("."),
        done("dockerfile", Text)
            .says("The Dockerfile, relative to the context.")
            .normally("Dockerfile"),
        done("dockerfile_inline", Text).says("The Dockerfile itself, as text."),
        done("entitlements", List(&Text))
            .says("Rights the build gets.")
            .like(&["network.host", "security.insecure"]),
        done(
            "extra_hosts",
            Short(
                Brief { expand: short::extra_hosts, also: Some(&Map(&OneOrList(&Text))) },
                &List(&Text),
            ),
        )
        .says("Names with addresses for `/etc/hosts` of the build."),
        done("isolation", Text).says("How a Windows build is kept apart."),
        done("labels", Dict(Empty)).says("Labels of the image."),
        done("network", Text)
            .says("The network of `RUN` lines.")
            .normally("default")
            .like(&["default", "none", "host"]),
        done("no_cache", Bool).says("Whether everything is built anew.").normally("false"),
        done("no_cache_filter", OneOrList(&Text)).says("Stages that are built anew."),
        done("platforms", List(&Text))
            .says("The systems and processors the image is made for.")
            .like(&["linux/amd64", "linux/arm64"]),
        done("privileged", Bool)
            .says("Whether `RUN` lines get every capability.")
            .normally("false"),
        done("provenance", Loose).says("Whether the image tells how it was made."),
        done("pull", Bool).says("Whether base images are fetched again.").normally("false"),
        done("sbom", Loose).says("Whether the image tells what it holds."),
        done("secrets", Keyed(&SECRET_MOUNTS))
            .says("Secrets that `RUN --mount=type=secret` can read; the target is the id."),
        done("shm_size", Amount(&MEMORY))
            .says("The size of `/dev/shm` of `RUN` lines, in bytes.")
            .normally("64m"),
        done(
            "ssh",
            Short(Brief { expand: short::ssh, also: Some(&Map(&Nullable(&Loose))) }, &List(&Text)),
        )
        .says("Agents or keys that `RUN --mount=type=ssh` can use."),
        done("tags", Set(&Text)).says("Further names of the image."),
        done("target", Text).says("The stage that is built; normally the last."),
        done("ulimits", Map(&Whole(&IntOr(&Rec(&ULIMIT)))))
            .says("Limits of the processes of `RUN` lines."),
    ],
);
