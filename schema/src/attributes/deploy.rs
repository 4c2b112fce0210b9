//! How many containers there are, with which resources.

use super::grammars::{ANY_INT, CPUS, DEVICE_COUNT, DURATION, FAILURES, MEMORY, PIDS};
use super::{NOT_NEGATIVE, REPLICAS, SWARM};
use crate::shape::Bare::{Empty, Null};
use crate::shape::Shape::{
    Amount, Dict, Distinct, Float, Int, List, Nullable, Record as Rec, Short, Text, Word,
};
use crate::shape::{Attribute, Brief, Record, done, inert, record, requiring, swarm};
use crate::short;

pub(super) static DEPLOY: Record = record(
    "a deployment",
    &[
        inert("endpoint_mode", Text, SWARM)
            .says("How a cluster spreads connections over containers."),
        inert(
            "labels",
            Dict(Empty),
            swarm("they label a service of a cluster, not its containers"),
        )
        .says("Labels of the service in a cluster."),
        done("mode", Text)
            .says("Whether there are `replicas` containers or one on each host.")
            .normally("replicated")
            .like(&["replicated", "global"]),
        inert("placement", Rec(&PLACEMENT), SWARM)
            .says("On which hosts of a cluster containers run."),
        done("replicas", REPLICAS).says("How many containers the service has.").normally("1"),
        done("resources", Nullable(&Rec(&RESOURCES)))
            .says("What the containers may use, and what is kept for them."),
        done("restart_policy", Rec(&DEPLOY_RESTART))
            .says("When ended containers start again; wins over `restart`."),
        done("rollback_config", Rec(&ROLLBACK_CONFIG))
            .says("How containers go back to what they were; normally as `update_config` says."),
        done("update_config", Rec(&UPDATE_CONFIG)).says("How containers are replaced."),
    ],
);

static PLACEMENT: Record = record(
    "a placement",
    &[
        done("constraints", List(&Text)).says("What a host must be like."),
        done("max_replicas_per_node", NOT_NEGATIVE).says("The most containers on one host."),
        done("preferences", List(&Rec(&PREFERENCE))).says("How containers are spread."),
    ],
);

static PREFERENCE: Record = record(
    "a preference",
    &[done("spread", Text).says("The label over whose values they are spread.")],
);

static DEPLOY_RESTART: Record = record(
    "a restart policy",
    &[
        done("condition", Word(&["none", "on-failure", "any", "unless-stopped"]))
            .says("When an ended container starts again.")
            .normally("any"),
        done("delay", Amount(&DURATION))
            .says("How long to wait before each restart; 0 backs off, from 100ms up to a minute.")
            .normally("0s"),
        done("max_attempts", NOT_NEGATIVE)
            .says("How many starts may fail before it is given up; normally without end."),
        done("window", Amount(&DURATION))
            .says("How long a container must run for its start not to count as failed."),
    ],
);

static UPDATE_CONFIG: Record = record(
    "an update",
    &[
        DELAY,
        done("failure_action", Text)
            .says("What happens when more containers fail than may.")
            .normally("pause")
            .like(&["continue", "pause", "rollback"]),
        MAX_FAILURE_RATIO,
        MONITOR,
        ORDER,
        PARALLELISM,
    ],
);

static ROLLBACK_CONFIG: Record = record(
    "a rollback",
    &[
        DELAY,
        done("failure_action", Text)
            .says("What happens when more containers fail than may on the way back: it goes on (`continue`) or ends there (`pause`).")
            .normally("pause")
            .like(&["continue", "pause"]),
        MAX_FAILURE_RATIO,
        MONITOR,
        ORDER,
        PARALLELISM,
    ],
);

const DELAY: Attribute =
    done("delay", Amount(&DURATION)).says("How long to wait between two groups.").normally("0s");
const MAX_FAILURE_RATIO: Attribute = done("max_failure_ratio", Float(&FAILURES))
    .says("The share of containers that may fail, 0 to 1.")
    .normally("0");
const MONITOR: Attribute = done("monitor", Amount(&DURATION)).says(
    "How long each container is looked at after it is good; normally 5s where nothing checks it.",
);
const ORDER: Attribute = done("order", Word(&["start-first", "stop-first"]))
    .says("Whether the new container starts before the old one stops.")
    .normally("stop-first");
const PARALLELISM: Attribute = done("parallelism", NOT_NEGATIVE)
    .says("How many containers at a time; 0 for all.")
    .normally("1");

static RESOURCES: Record = record(
    "resources",
    &[
        done("limits", Rec(&RESOURCE_LIMITS)).says("The most the containers may use."),
        done("reservations", Rec(&RESERVATIONS)).says("What is kept for the containers."),
    ],
);

static RESOURCE_LIMITS: Record = record(
    "limits",
    &[
        done("cpus", Amount(&CPUS))
            .says("How many processors each container may use, a fraction allowed."),
        done("memory", Amount(&MEMORY)).says("The most memory each container may use."),
        done("pids", Int(&PIDS))
            .says("The most processes each container may have; -1 for no limit."),
    ],
);

static RESERVATIONS: Record = record(
    "reservations",
    &[
        inert("cpus", Amount(&CPUS), swarm("nothing reserves processor time on one host"))
            .says("How many processors are kept."),
        done(
            "devices",
            List(&Short(
                Brief { expand: short::device_request, also: None },
                &Rec(&DEVICE_REQUEST_STRICT),
            )),
        )
        .says("Devices that are kept, such as graphics processors."),
        inert("generic_resources", List(&Rec(&GENERIC_RESOURCE)), SWARM)
            .says("Resources that a cluster counts."),
        done("memory", Amount(&MEMORY))
            .says("Memory the kernel tries to leave each container when memory is short."),
    ],
);

static GENERIC_RESOURCE: Record = record(
    "a generic resource",
    &[done("discrete_resource_spec", Rec(&DISCRETE_RESOURCE)).says("A resource that is counted.")],
);

static DISCRETE_RESOURCE: Record = record(
    "a discrete resource",
    &[
        done("kind", Text).says("What is counted."),
        done("value", Float(&ANY_INT)).says("How many."),
    ],
);

const DEVICE_REQUEST_ATTRIBUTES: &[Attribute] = &[
    done("capabilities", Distinct(&Text))
        .says("What the device must be able to do.")
        .like(&["gpu", "compute", "utility"]),
    done("count", Amount(&DEVICE_COUNT))
        .says("How many devices, or `all`; not together with `device_ids`.")
        .normally("all"),
    done("device_ids", Distinct(&Text)).says("The devices, by id; not together with `count`."),
    done("driver", Text).says("What provides the device.").like(&["nvidia", "cdi"]),
    done("options", Dict(Null)).says("Options of the driver."),
];

pub(super) static DEVICE_REQUEST: Record = record("a device request", DEVICE_REQUEST_ATTRIBUTES);

static DEVICE_REQUEST_STRICT: Record =
    requiring("a reserved device", &["capabilities"], DEVICE_REQUEST_ATTRIBUTES);
