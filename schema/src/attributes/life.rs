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
        )
        .says("What must be so before this service starts.")
        .normally("service_started"),
        done("required", Bool)
            .says("Whether this service cannot start without it.")
            .normally("true"),
        done("restart", Bool)
            .says("Whether this service restarts when that one is restarted or updated.")
            .normally("false"),
    ],
);

pub(super) static EXTENDS: Record = requiring(
    "an extension",
    &["service"],
    &[
        done("file", Text).says("The Compose file it is in; normally this one."),
        done("service", Text).says("The service to start from."),
    ],
);

pub(super) static ENV_FILES: KeyedShape = KeyedShape {
    also: Some(&Text),
    expand: short::env_file,
    item: &Rec(&ENV_FILE),
    finish: nothing,
    key: |node| node.get_text("path").map(str::to_owned),
    joins: false,
    single: true,
};

static ENV_FILE: Record = requiring(
    "an environment file",
    &["path"],
    &[
        done("format", Text)
            .says("How it is read: with quotes and variables, or `raw`, each line as it is.")
            .like(&["raw"]),
        done("path", HostPath).says("The file, relative to the folder of the stack."),
        done("required", Bool).says("Whether it must be there.").normally("true"),
    ],
);

pub(super) static HEALTHCHECK: Record = record(
    "a health check",
    &[
        done("disable", Bool)
            .says("Whether the health check of the image is switched off.")
            .normally("false"),
        done("interval", Amount(&DURATION))
            .says("How long to wait between two tests.")
            .normally("30s"),
        done("retries", NOT_NEGATIVE)
            .says("How many tests in a row must fail before the service is unhealthy.")
            .normally("3"),
        done("start_interval", Amount(&DURATION))
            .says("How long to wait between two tests during `start_period`.")
            .normally("5s"),
        done("start_period", Amount(&DURATION))
            .says("How long failing tests do not count after the start.")
            .normally("0s"),
        done(
            "test",
            Short(Brief { expand: short::health_test, also: Some(&Text) }, &Whole(&List(&Text))),
        )
        .says("The command that tests: a line, or a list after CMD, CMD-SHELL or NONE.")
        .like(&["curl -fsS http://localhost/ || exit 1"]),
        done("timeout", Amount(&DURATION)).says("How long one test may take.").normally("30s"),
    ],
);

const HOOK_ATTRIBUTES: &[Attribute] = &[
    done("command", Command).says("What is run."),
    done("environment", Dict(Null)).says("Further variables of the command."),
    done("privileged", Bool).says("Whether the command gets every capability.").normally("false"),
    done("user", Text).says("The user of the command; normally that of the container."),
    done("working_dir", Text).says("The folder the command starts in."),
];

pub(super) static HOOK: Record = requiring("a hook", &["command"], HOOK_ATTRIBUTES);

static WATCH_HOOK: Record = record("a hook of a watch", HOOK_ATTRIBUTES);

pub(super) static PRE_START: Record = record(
    "a hook before the start",
    &[
        done("command", Command).says("What is run."),
        done("environment", Dict(Null)).says("Further variables."),
        done("image", Text).says("The image it runs in; normally that of the service."),
        done("per_replica", Bool)
            .says("Whether it runs for each container of the service and not just once.")
            .normally("false"),
        done("privileged", Bool).says("Whether it gets every capability.").normally("false"),
        done("user", Text).says("The user it runs as."),
        done("working_dir", Text).says("The folder it starts in."),
    ],
);

pub(super) static PROVIDER: Record = requiring(
    "a provider",
    &["type"],
    &[
        done("options", Map(&OneOrList(&Loose))).says("Options the program is called with."),
        done("type", Text).says("The program."),
    ],
);

pub(super) static SERVICE_MODEL: Record = record(
    "a model of a service",
    &[
        done("endpoint_var", Text).says("The variable that gets the address of the model."),
        done("model_var", Text).says("The variable that gets its name."),
    ],
);

pub(super) static LOGGING: Record = Record {
    name: "logging",
    attributes: &[
        done("driver", Text)
            .says("Where the output goes: files with rotation, besides to a log of the host, or nowhere.")
            .normally("json-file")
            .like(&["json-file", "local", "journald", "syslog", "none"]),
        done("options", Map(&Nullable(&Loose)))
            .says(
                "Options of the driver: `max-size` in bytes (10m), `max-file` of them (3); of \
                 journald and syslog `tag`, `labels`, `env`, `mode`, `syslog-address` and so on; with \
                 `mode: blocking` (the usual one) a server that takes connections and does not \
                 read holds the container back, and at most 16 MiB of lines wait in memory: those \
                 beyond are counted, and in the files.",
            ),
    ],
    required: &[],
    replaces: Some(short::other_driver),
};

pub(super) static DEVELOP: Record = record(
    "a development section",
    &[done("watch", List(&Short(Brief { expand: short::watch, also: None }, &Rec(&WATCH))))
        .says("What is done when files change.")],
);

static WATCH: Record = requiring(
    "a watch",
    &["action", "path"],
    &[
        done("action", Word(&["rebuild", "sync", "restart", "sync+restart", "sync+exec"]))
            .says("What is done when a file changes."),
        done("exec", Rec(&WATCH_HOOK))
            .says("The command that is run in the container after a sync, for `sync+exec`."),
        done("ignore", OneOrList(&Text))
            .says("Files that do not count, as in `.dockerignore`.")
            .like(&["node_modules/"]),
        done("include", OneOrList(&Text)).says("Files that count; normally all."),
        done("initial_sync", Bool)
            .says("Whether everything is copied once at the start.")
            .normally("false"),
        done("path", HostPath).says("The file or folder that is watched."),
        done("target", Text).says("Where files are copied to in the container."),
    ],
);
