//! How many containers there are, with which resources.

use super::{ANY_INT, NOT_NEGATIVE, SWARM};
use crate::amounts::{cpus, device_count, duration, memory};
use crate::shape::Bare::{Empty, Null};
use crate::shape::Shape::{
    Amount, Dict, Float, Int, List, Nullable, Record as Rec, Set, Short, Text, Word,
};
use crate::shape::{Attribute, Record, done, inert, later, record, requiring};
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
        done("max_replicas_per_node", ANY_INT),
        done("preferences", List(&Rec(&PREFERENCE))),
    ],
);

static PREFERENCE: Record = record("a preference", &[done("spread", Text)]);

static DEPLOY_RESTART: Record = record(
    "a restart policy",
    &[
        done("condition", Word(&["none", "on-failure", "any", "unless-stopped"])),
        inert("delay", Amount(duration), "berth waits as its own back-off says"),
        done("max_attempts", NOT_NEGATIVE),
        inert("window", Amount(duration), "berth forgets failures after ten seconds of running"),
    ],
);

static UPDATE_CONFIG: Record = record(
    "an update",
    &[
        done("delay", Amount(duration)),
        done("failure_action", Text),
        done("max_failure_ratio", Float),
        done("monitor", Amount(duration)),
        done("order", Word(&["start-first", "stop-first"])),
        done("parallelism", ANY_INT),
    ],
);

static RESOURCES: Record = record(
    "resources",
    &[done("limits", Rec(&RESOURCE_LIMITS)), done("reservations", Rec(&RESERVATIONS))],
);

static RESOURCE_LIMITS: Record = record(
    "limits",
    &[done("cpus", Amount(cpus)), done("memory", Amount(memory)), done("pids", Int(-1, i64::MAX))],
);

static RESERVATIONS: Record = record(
    "reservations",
    &[
        inert("cpus", Amount(cpus), "nothing reserves processor time on one host"),
        later("devices", List(&Short(short::device_request, &Rec(&DEVICE_REQUEST_STRICT)))),
        inert("generic_resources", List(&Rec(&GENERIC_RESOURCE)), SWARM),
        done("memory", Amount(memory)),
    ],
);

static GENERIC_RESOURCE: Record =
    record("a generic resource", &[done("discrete_resource_spec", Rec(&DISCRETE_RESOURCE))]);

static DISCRETE_RESOURCE: Record =
    record("a discrete resource", &[done("kind", Text), done("value", Float)]);

const DEVICE_REQUEST_ATTRIBUTES: &[Attribute] = &[
    done("capabilities", Set(&Text)),
    done("count", Amount(device_count)),
    done("device_ids", List(&Text)),
    done("driver", Text),
    done("options", Dict(Null)),
];

pub(super) static DEVICE_REQUEST: Record = record("a device request", DEVICE_REQUEST_ATTRIBUTES);

static DEVICE_REQUEST_STRICT: Record =
    requiring("a device request", &["capabilities"], DEVICE_REQUEST_ATTRIBUTES);
