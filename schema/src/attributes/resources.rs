//! What services share: networks, volumes, configs, secrets, models.

use super::grammars::TOKENS;
use super::{SWARM, nothing};
use crate::shape::Bare::Empty;
use crate::shape::Shape::{
    Any, Bool, Dict, HostPath, Int, Keyed, List, Loose, Map, Record as Rec, Short, Text,
};
use crate::shape::{Brief, Keyed as KeyedShape, Record, done, inert, later, record, requiring};
use crate::short;

pub(super) static NETWORK: Record = record(
    "a network",
    &[
        inert("attachable", Bool, SWARM),
        done("driver", Text),
        done("driver_opts", Map(&Loose)),
        later("enable_ipv4", Bool),
        done("enable_ipv6", Bool),
        done("external", Short(Brief { expand: short::external, also: Some(&Bool) }, &Any)),
        done("internal", Bool),
        done("ipam", Rec(&IPAM)),
        done("labels", Dict(Empty)),
        done("name", Text),
    ],
);

static IPAM: Record = record(
    "address management",
    &[done("config", Keyed(&IPAM_POOLS)), done("driver", Text), later("options", Map(&Text))],
);

static IPAM_POOLS: KeyedShape = KeyedShape {
    also: None,
    expand: |_, node| vec![node],
    item: &Rec(&IPAM_POOL),
    finish: nothing,
    key: |node| node.get_text("subnet").map(str::to_owned),
    single: false,
};

static IPAM_POOL: Record = record(
    "an address pool",
    &[
        done("aux_addresses", Map(&Text)),
        done("gateway", Text),
        done("ip_range", Text),
        done("subnet", Text),
    ],
);

pub(super) static VOLUME: Record = record(
    "a volume",
    &[
        done("driver", Text),
        done("driver_opts", Map(&Loose)),
        done("external", Short(Brief { expand: short::external, also: Some(&Bool) }, &Any)),
        done("labels", Dict(Empty)),
        done("name", Text),
    ],
);

pub(super) static CONFIG: Record = record(
    "a config",
    &[
        done("content", Text),
        done("environment", Text),
        later("external", Short(Brief { expand: short::external, also: Some(&Bool) }, &Any)),
        done("file", HostPath),
        inert("labels", Dict(Empty), "nothing reads them"),
        done("name", Text),
        later("template_driver", Text),
    ],
);

pub(super) static SECRET: Record = record(
    "a secret",
    &[
        later("driver", Text),
        later("driver_opts", Map(&Loose)),
        done("environment", Text),
        later("external", Short(Brief { expand: short::external, also: Some(&Bool) }, &Any)),
        done("file", HostPath),
        inert("labels", Dict(Empty), "nothing reads them"),
        done("name", Text),
        later("template_driver", Text),
    ],
);

pub(super) static MODEL: Record = requiring(
    "a model",
    &["model"],
    &[
        later("context_size", Int(&TOKENS)),
        later("model", Text),
        later("name", Text),
        later("runtime_flags", List(&Text)),
    ],
);
