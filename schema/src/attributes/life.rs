//! How a container comes to life, is watched and ends.

use super::grammars::DURATION;
use super::{NOT_NEGATIVE, nothing};
use crate::shape::Bare::Null;
use crate::shape::Shape::{
    Amount, Bool, Command, Dict, HostPath, List, Loose, Map, Nullable, OneOrList, Record as Rec,
    Short, Text, Whole, Word,
};
use crate::shape::{Attribute, Brief, Keyed as KeyedShape, Record, done, record, requiring};
use crate::short;

pub(super) static DEPENDENCY: Record = requiring(
    "a dependency",
    &["condition"],
    &[
        done(
            "condition",
            Word(&["service_started", "service_healthy", "service_completed_successfully"]),
        ),
        done("required", Bool),
        done("restart", Bool),
    ],
);

pub(super) static EXTENDS: Record =
    requiring("an extension", &["service"], &[done("file", Text), done("service", Text)]);

pub(super) static ENV_FILES: KeyedShape = KeyedShape {
    also: Some(&Text),
    expand: short::env_file,
    item: &Rec(&ENV_FILE),
    finish: nothing,
    key: |node| node.get_text("path").map(str::to_owned),
    single: true,
};

static ENV_FILE: Record = requiring(
    "an environment file",
    &["path"],
    &[done("format", Text), done("path", HostPath), done("required", Bool)],
);

pub(super) static HEALTHCHECK: Record = record(
    "a health check",
    &[
        done("disable", Bool),
        done("interval", Amount(&DURATION)),
        done("retries", NOT_NEGATIVE),
        done("start_interval", Amount(&DURATION)),
        done("start_period", Amount(&DURATION)),
        done(
            "test",
            Short(Brief { expand: short::health_test, also: Some(&Text) }, &Whole(&List(&Text))),
        ),
        done("timeout", Amount(&DURATION)),
    ],
);

const HOOK_ATTRIBUTES: &[Attribute] = &[
    done("command", Command),
    done("environment", Dict(Null)),
    done("privileged", Bool),
    done("user", Text),
    done("working_dir", Text),
];

pub(super) static HOOK: Record = requiring("a hook", &["command"], HOOK_ATTRIBUTES);

static WATCH_HOOK: Record = record("a hook", HOOK_ATTRIBUTES);

pub(super) static PRE_START: Record = record(
    "a hook",
    &[
        done("command", Command),
        done("environment", Dict(Null)),
        done("image", Text),
        done("per_replica", Bool),
        done("privileged", Bool),
        done("user", Text),
        done("working_dir", Text),
    ],
);

pub(super) static PROVIDER: Record = requiring(
    "a provider",
    &["type"],
    &[done("options", Map(&OneOrList(&Loose))), done("type", Text)],
);

pub(super) static SERVICE_MODEL: Record =
    record("a model of a service", &[done("endpoint_var", Text), done("model_var", Text)]);

pub(super) static LOGGING: Record = Record {
    name: "logging",
    attributes: &[done("driver", Text), done("options", Map(&Nullable(&Loose)))],
    required: &[],
    replaces: Some(short::other_driver),
};

pub(super) static DEVELOP: Record = record(
    "a development section",
    &[done("watch", List(&Short(Brief { expand: short::watch, also: None }, &Rec(&WATCH))))],
);

static WATCH: Record = requiring(
    "a watch",
    &["action", "path"],
    &[
        done("action", Word(&["rebuild", "sync", "restart", "sync+restart", "sync+exec"])),
        done("exec", Rec(&WATCH_HOOK)),
        done("ignore", OneOrList(&Text)),
        done("include", OneOrList(&Text)),
        done("initial_sync", Bool),
        done("path", HostPath),
        done("target", Text),
    ],
);
