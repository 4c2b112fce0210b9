//! How a container is reached: networks and ports.

use super::grammars::{HOST_IP, PUBLISHED, SHORT_PORT, TARGET_PORT};
use super::{ANY_INT, nothing};
use crate::shape::Shape::{Amount, Loose, Map, Record as Rec, Set, Text};
use crate::shape::{Keyed as KeyedShape, Record, done, record, requiring};
use crate::short;

pub(super) static SERVICE_NETWORK: Record = record(
    "a network of a service",
    &[
        done("aliases", Set(&Text)).says("Further names of the service on this network."),
        done("driver_opts", Map(&Loose)).says(
            "Options of the connection: `com.docker.network.endpoint.sysctls` has settings of the \
             link, `net.ipv4.conf.IFNAME.log_martians=1`, with commas between them; \
             `com.docker.network.endpoint.ifname` is `interface_name`.",
        ),
        done("gw_priority", ANY_INT)
            .says("The network with the highest number has the default route.")
            .normally("0"),
        done("interface_name", Text)
            .says("The name of the interface in the container; normally the next of eth0, eth1, ….")
            .like(&["eth0"]),
        done("ipv4_address", Text).says("A fixed IPv4 address, from a subnet of the network."),
        done("ipv6_address", Text).says("A fixed IPv6 address, from a subnet of the network."),
        done("link_local_ips", Set(&Text))
            .says("Further addresses, of the link only: from 169.254.0.0/16 and fe80::/10."),
        done("mac_address", Text).says("The hardware address on this network."),
        done("priority", ANY_INT)
            .says("The order in which networks are joined, the highest number first.")
            .normally("0"),
    ],
);

pub(super) static PORTS: KeyedShape = KeyedShape {
    also: Some(&Amount(&SHORT_PORT)),
    expand: short::port,
    item: &Rec(&PORT),
    finish: nothing,
    key: short::port_key,
    joins: false,
    single: false,
};

static PORT: Record = requiring(
    "a port",
    &["target"],
    &[
        done("app_protocol", Text)
            .says("What is spoken on the port, for people and tools.")
            .like(&["http", "https"]),
        done("host_ip", Amount(&HOST_IP))
            .says("The address of this host it is published on; normally all."),
        done("mode", Text)
            .says("How a cluster publishes it; here both are the same.")
            .normally("ingress")
            .like(&["ingress", "host"]),
        done("name", Text).says("A name of the port, for people and tools."),
        done("protocol", Text).says("The protocol.").normally("tcp").like(&["tcp", "udp", "sctp"]),
        done("published", Amount(&PUBLISHED))
            .says("The port of this host, or a range to take one from; normally any free one."),
        done("target", Amount(&TARGET_PORT)).says("The port in the container."),
    ],
);
