//! How many containers there are, with which resources.

use super::grammars::{CPUS, DEVICE_COUNT, DURATION, MEMORY, PIDS};
use super::{NOT_NEGATIVE, SWARM};
use crate::shape::Bare::{Empty, Null};
use crate::shape::Shape::{
    Amount, Dict, Float, Int, List, Nullable, Record as Rec, Set, Short, Text, Word,
};
use crate::shape::{Attribute, Brief, Record, done, inert, later, record, requiring};
use crate::short;

pub(super) static DEPLOY: Record = record(
    "a deployment",
    &[
        inert("endpoint_mode", Text, SWARM),
        inert("labels", Dict(Empty), "they label a service of a cluster, not its containers"),
        done("mode", Text),
        inert("placement", Rec(&PLACEMENT), SWARM),
        done("replicas", NOT_NEGATIVE),
        done("resources", Nullable(&Rec(&RESOURCES))),
        done("restart_policy", Rec(&DEPLOY_RESTART)),
        inert("rollback_config", Rec(&UPDATE_CONFIG), SWARM),
        inert("update_config", Rec(&UPDATE_CONFIG), SWARM),
    ],
);

static PLACEMENT: Record = record(
    "a placement",
    &[
        done("constraints", List(&Text)),
        done("max_replicas_per_node", NOT_NEGATIVE),
        done("preferences", List(&Rec(&PREFERENCE))),
    ],
);

static PREFERENCE: Record = record("a preference", &[done("spread", Text)]);

static DEPLOY_RESTART: Record = record(
    "a restart policy",
    &[
        done("condition", Word(&["none", "on-failure", "any", "unless-stopped"])),
        inert("delay", Amount(&DURATION), "berth waits as its own back-off says"),
        done("max_attempts", NOT_NEGATIVE),
        inert("window", Amount(&DURATION), "berth forgets failures after ten seconds of running"),
    ],
);

static UPDATE_CONFIG: Record = record(
    "an update",
    &[
        done("delay", Amount(&DURATION)),
        done("failure_action", Text),
        done("max_failure_ratio", Float),
        done("monitor", Amount(&DURATION)),
        done("order", Word(&["start-first", "stop-first"])),
        done("parallelism", NOT_NEGATIVE),
    ],
);

static RESOURCES: Record = record(
    "resources",
    &[done("limits", Rec(&RESOURCE_LIMITS)), done("reservations", Rec(&RESERVATIONS))],
);

static RESOURCE_LIMITS: Record = record(
    "limits",
    &[done("cpus", Amount(&CPUS)), done("memory", Amount(&MEMORY)), done("pids", Int(&PIDS))],
);

static RESERVATIONS: Record = record(
    "reservations",
    &[
        inert("cpus", Amount(&CPUS), "nothing reserves processor time on one host"),
        later(
            "devices",
            List(&Short(
                Brief { expand: short::device_request, also: None },
                &Rec(&DEVICE_REQUEST_STRICT),
            )),
        ),
        inert("generic_resources", List(&Rec(&GENERIC_RESOURCE)), SWARM),
        done("memory", Amount(&MEMORY)),
    ],
);

static GENERIC_RESOURCE: Record =
    record("a generic resource", &[done("discrete_resource_spec", Rec(&DISCRETE_RESOURCE))]);

static DISCRETE_RESOURCE: Record =
    record("a discrete resource", &[done("kind", Text), done("value", Float)]);

const DEVICE_REQUEST_ATTRIBUTES: &[Attribute] = &[
    done("capabilities", Set(&Text)),
    done("count", Amount(&DEVICE_COUNT)),
    done("device_ids", List(&Text)),
    done("driver", Text),
    done("options", Dict(Null)),
];

pub(super) static DEVICE_REQUEST: Record = record("a device request", DEVICE_REQUEST_ATTRIBUTES);

static DEVICE_REQUEST_STRICT: Record =
    requiring("a device request", &["capabilities"], DEVICE_REQUEST_ATTRIBUTES);
