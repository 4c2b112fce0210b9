//! What berth adds to the specification, below `x-berth`, where other tools do not look.

use super::NOT_NEGATIVE;
use super::grammars::{DURATION, GENERATIONS, HTTP_STATUS, ON_CHANGE, PAGE, PATTERN, TARGET_PORT};
use crate::shape::Shape::{Amount, Bool, Int, Record as Rec, Short, Text, Word};
use crate::shape::{Brief, Record, done, record};
use crate::short;

/// Below `x-berth` of a network.
pub(super) static NETWORK_BERTH: Record = record(
    "what berth adds to a network",
    &[done("shared", Bool)
        .says("Whether stacks share it: named by its key, made by the first, and removed by the last.")
        .normally("false")],
);

/// Below `x-berth` of a service.
pub(super) static BERTH: Record = record(
    "what berth adds to a service",
    &[
        done("deadline", Amount(&DURATION))
            .says("How long a container may take until it is healthy, where others wait for that, and until it takes over in an update; normally without end for the first, and for the second as long as its checks may take, and 30s."),
        done("on_change", Amount(&ON_CHANGE))
            .says("What happens to a container when a config, a secret or a file that is mounted has another content: it sees the new one where it runs, gets a signal too, is restarted, or another one is made.")
            .normally("replace"),
        done("on_unhealthy", Word(&["none", "restart"]))
            .says("What happens to a container that is unhealthy.")
            .normally("none"),
        done("owner", Word(&["container", "host"]))
            .says("Whose files those in binds are: as in the container, or those of the user of this host who runs the stack.")
            .normally("container"),
        done("privileged", Word(&["contained"]))
            .says("All capabilities and nothing hidden, within the user namespace of the container."),
        done("ready", Rec(&READY))
            .says("How it is found out whether the service can be used, with nothing in its image."),
    ],
);

static READY: Record = Record {
    name: "a sign of readiness",
    attributes: &[
        done(
            "http",
            Short(
                Brief { expand: short::ready_http, also: Some(&Amount(&PAGE)) },
                &Rec(&READY_HTTP),
            ),
        )
        .says("A page that must answer, by its port or in full.")
        .like(&["8080"]),
        done("interval", Amount(&DURATION))
            .says("How long to wait between two looks.")
            .normally("1s"),
        done("log", Amount(&PATTERN))
            .says("A regular expression that a line of the output must match.")
            .like(&["ready to accept connections"]),
        done("retries", NOT_NEGATIVE)
            .says("How many looks in a row must fail before the service is unhealthy.")
            .normally("30"),
        done("start_period", Amount(&DURATION))
            .says("How long failing looks do not count after the start.")
            .normally("0s"),
        done("tcp", Amount(&TARGET_PORT))
            .says("A port in the container that must take connections.")
            .like(&["5432"]),
        done("timeout", Amount(&DURATION)).says("How long one look may take.").normally("5s"),
    ],
    required: &[],
    replaces: Some(short::other_sign),
};

static READY_HTTP: Record = record(
    "a page",
    &[
        done("path", Text).says("The path, with a query if need be.").normally("/"),
        done("port", Amount(&TARGET_PORT)).says("The port in the container.").normally("80"),
        done("status", Int(&HTTP_STATUS))
            .says("The status it must answer with; normally any of 200 to 399."),
    ],
);

/// Below `x-berth` of the file.
pub(super) static STACK_BERTH: Record = record(
    "what berth adds to a stack",
    &[done("history", Int(&GENERATIONS))
        .says("How many generations are kept, with their images; normally 50, and the images of the last 3.")
        .like(&["10"])],
);
