//! How a container is reached: networks and ports.

use super::grammars::{HOST_IP, PUBLISHED, SHORT_PORT, TARGET_PORT};
use super::{ANY_INT, nothing};
use crate::shape::Shape::{Amount, Loose, Map, Record as Rec, Set, Text};
use crate::shape::{Keyed as KeyedShape, Record, done, later, record, requiring};
use crate::short;

pub(super) static SERVICE_NETWORK: Record = record(
    "a network of a service",
    &[
        done("aliases", Set(&Text)),
        later("driver_opts", Map(&Loose)),
        done("gw_priority", ANY_INT),
        later("interface_name", Text),
        done("ipv4_address", Text),
        done("ipv6_address", Text),
        later("link_local_ips", Set(&Text)),
        done("mac_address", Text),
        done("priority", ANY_INT),
    ],
);

pub(super) static PORTS: KeyedShape = KeyedShape {
    also: Some(&Amount(&SHORT_PORT)),
    expand: short::port,
    item: &Rec(&PORT),
    finish: nothing,
    key: short::port_key,
    single: false,
};

static PORT: Record = requiring(
    "a port",
    &["target"],
    &[
        done("app_protocol", Text),
        done("host_ip", Amount(&HOST_IP)),
        done("mode", Text),
        done("name", Text),
        done("protocol", Text),
        done("published", Amount(&PUBLISHED)),
        done("target", Amount(&TARGET_PORT)),
    ],
);
