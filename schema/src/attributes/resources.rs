//! What services share: networks, volumes, configs, secrets, models.

use super::berth::NETWORK_BERTH;
use super::grammars::TOKENS;
use super::{SWARM, nothing};
use crate::shape::Bare::Empty;
use crate::shape::Shape::{
    Bool, BoolOr, Dict, HostPath, Int, Keyed, List, Loose, Map, Record as Rec, Text,
};
use crate::shape::{
    Keyed as KeyedShape, Record, docker, done, inert, later, record, requiring, swarm,
};

pub(super) static NETWORK: Record = record(
    "a network",
    &[
        inert("attachable", Bool, SWARM)
            .says("Whether containers outside the stack may join a network of a cluster."),
        done("driver", Text)
            .says("How the network works.")
            .normally("bridge")
            .like(&["bridge", "macvlan", "ipvlan"]),
        done("driver_opts", Map(&Loose)).says(
            "Options of the driver: of macvlan `parent` and `macvlan_mode`, of ipvlan `parent`, \
             `ipvlan_mode` and `ipvlan_flag`.",
        ),
        done("enable_ipv4", Bool).says("Whether the network has IPv4.").normally("true"),
        done("enable_ipv6", Bool).says("Whether the network has IPv6 too.").normally("false"),
        done("external", BoolOr(&Rec(&EXTERNAL)))
            .says("Whether the network is there already, and stays when the stack goes.")
            .normally("false"),
        done("internal", Bool).says("Whether the network has no way out.").normally("false"),
        done("ipam", Rec(&IPAM)).says("The addresses of the network."),
        done("labels", Dict(Empty)).says("Labels of the network."),
        done("name", Text).says("The name of the network; normally STACK_NAME."),
        done("x-berth", Rec(&NETWORK_BERTH)).says("What berth adds to the specification."),
    ],
);

static IPAM: Record = record(
    "address management",
    &[
        done("config", Keyed(&IPAM_POOLS)).says("The subnets."),
        done("driver", Text).says("What chooses addresses.").normally("default").like(&["default"]),
        inert("options", Map(&Text), docker("berth chooses addresses itself, and has none"))
            .says("Options of the driver."),
    ],
);

static IPAM_POOLS: KeyedShape = KeyedShape {
    also: None,
    expand: |_, node| vec![node],
    item: &Rec(&IPAM_POOL),
    finish: nothing,
    key: |node| node.get_text("subnet").map(str::to_owned),
    joins: true,
    single: false,
};

static IPAM_POOL: Record = record(
    "an address pool",
    &[
        done("aux_addresses", Map(&Text)).says("Addresses that no container gets, by name."),
        done("gateway", Text).says("The address of this host; normally the first of the subnet."),
        done("ip_range", Text).says("The part of the subnet containers get their addresses from."),
        done("subnet", Text)
            .says("The addresses of the network.")
            .like(&["172.28.0.0/16", "fd00:28::/64"]),
    ],
);

static EXTERNAL: Record = record(
    "something outside the stack",
    &[done("name", Text).says("Its name; `name` beside `external` is the newer form.")],
);

pub(super) static VOLUME: Record = record(
    "a volume",
    &[
        done("driver", Text).says("What keeps the volume.").normally("local").like(&["local"]),
        done("driver_opts", Map(&Loose))
            .says("Options of the driver: `type`, `o` and `device`, as mount(8) takes them."),
        done("external", BoolOr(&Rec(&EXTERNAL)))
            .says("Whether the volume is there already, and stays when the stack goes.")
            .normally("false"),
        done("labels", Dict(Empty)).says("Labels of the volume."),
        done("name", Text).says("The name of the volume; normally STACK_NAME."),
    ],
);

pub(super) static CONFIG: Record = record(
    "a config",
    &[
        done("content", Text).says("The content itself, as text; variables in it are filled in."),
        done("environment", Text).says("The variable that holds the content."),
        later("external", BoolOr(&Rec(&EXTERNAL)))
            .says("Whether it is kept outside the stack.")
            .normally("false"),
        done("file", HostPath).says("The file that holds the content."),
        inert("labels", Dict(Empty), swarm("nothing reads them")).says("Labels of the config."),
        done("name", Text).says("Its name outside the stack."),
        later("template_driver", Text).says("What fills in the content."),
    ],
);

pub(super) static SECRET: Record = record(
    "a secret",
    &[
        later("driver", Text).says("What keeps the secret."),
        later("driver_opts", Map(&Loose)).says("Options of the driver."),
        done("environment", Text).says("The variable that holds the content."),
        later("external", BoolOr(&Rec(&EXTERNAL)))
            .says("Whether it is kept outside the stack.")
            .normally("false"),
        done("file", HostPath).says("The file that holds the content."),
        inert("labels", Dict(Empty), swarm("nothing reads them")).says("Labels of the secret."),
        done("name", Text).says("Its name outside the stack."),
        later("template_driver", Text).says("What fills in the content."),
    ],
);

pub(super) static MODEL: Record = requiring(
    "a model",
    &["model"],
    &[
        later("context_size", Int(&TOKENS)).says("How much the model keeps in view, in tokens."),
        later("model", Text).says("The model, as an image reference.").like(&["ai/smollm2"]),
        later("name", Text).says("Its name."),
        later("runtime_flags", List(&Text)).says("Flags for the program that runs the model."),
    ],
);
