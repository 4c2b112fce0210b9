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
        ),
        done("args", Dict(Null)),
        done("cache_from", List(&Text)),
        done("cache_to", List(&Text)),
        done("context", Text),
        done("dockerfile", Text),
        done("dockerfile_inline", Text),
        done("entitlements", Set(&Text)),
        done(
            "extra_hosts",
            Short(
                Brief { expand: short::extra_hosts, also: Some(&Map(&OneOrList(&Text))) },
                &Set(&Text),
            ),
        ),
        done("isolation", Text),
        done("labels", Dict(Empty)),
        done("network", Text),
        done("no_cache", Bool),
        done("no_cache_filter", OneOrList(&Text)),
        done("platforms", List(&Text)),
        done("privileged", Bool),
        done("provenance", Loose),
        done("pull", Bool),
        done("sbom", Loose),
        done("secrets", Keyed(&SECRET_MOUNTS)),
        done("shm_size", Amount(&MEMORY)),
        done(
            "ssh",
            Short(Brief { expand: short::ssh, also: Some(&Map(&Nullable(&Loose))) }, &List(&Text)),
        ),
        done("tags", Set(&Text)),
        done("target", Text),
        done("ulimits", Map(&Whole(&IntOr(&Rec(&ULIMIT))))),
    ],
);
