//! Fixed addresses of services: inside a subnet, free, and each for one container.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;

use super::networks::{Pool, first_of, is_host_of, last_of, pools};
use super::{Sheet, both, containers, entries, items, says_something};
use crate::problem::{Code, Finding};
use crate::text::Span;
use crate::tree::{Node, Value};

/// A fixed address of a service on a network.
struct Fixed<'n> {
    service: &'n str,
    network: &'n str,
    ip: IpAddr,
    span: Span,
    /// One of the link only, which no subnet has.
    of_link: bool,
}

pub(super) fn check(sheet: &Sheet<'_>, found: &mut Vec<Finding>) {
    let pools = pools(sheet);
    let mut taken: BTreeMap<(&str, IpAddr), Fixed<'_>> = BTreeMap::new();
    for (service, node) in sheet.services() {
        for fixed in fixed_of(service, node) {
            let network = sheet.tree.at(&["networks", fixed.network]);
            if let Some(network) = network.filter(|_| !fixed.of_link) {
                in_subnet(&fixed, network, &pools, found);
            }
            one_container(&fixed, node, found);
            if let Some(other) = taken.insert((fixed.network, fixed.ip), Fixed { ..fixed }) {
                found.push(twice(&fixed, &other));
            }
        }
        link_names(service, node, found);
        internal_only(sheet, service, node, found);
        beside_only(sheet, service, node, found);
    }
    hardware(sheet, found);
    room(sheet, &pools, found);
}

fn fixed_of<'n>(service: &'n str, node: &'n Node) -> Vec<Fixed<'n>> {
    let mut list = Vec::new();
    for (network, settings) in entries(node, "networks") {
        let of_pool = ["ipv4_address", "ipv6_address"].map(|name| settings.get(name));
        let of_link = items(settings, "link_local_ips").iter().map(|at| (at, true));
        for (at, of_link) in of_pool.into_iter().flatten().map(|at| (at, false)).chain(of_link) {
            if let Some(ip) = at.as_text().and_then(|text| text.parse().ok()) {
                list.push(Fixed { service, network, ip, span: at.span, of_link });
            }
        }
    }
    list
}

fn in_subnet(fixed: &Fixed<'_>, network: &Node, pools: &[Pool<'_>], found: &mut Vec<Finding>) {
    if network.get("external").is_some() {
        return;
    }
    let Fixed { service, network: key, ip, span, .. } = fixed;
    let family =
        |pool: &&Pool<'_>| pool.network == *key && pool.subnet.addr().is_ipv4() == ip.is_ipv4();
    let mine: Vec<&Pool<'_>> = pools.iter().filter(family).collect();
    let Some(first) = mine.first() else {
        // A subnet that cannot be read is noted where it stands.
        if network.at(&["ipam", "config"]).is_none_or(|configs| {
            !configs.items().iter().any(|config| config.get("subnet").is_some())
        }) {
            let message =
                format!("`{service}` has a fixed address on `{key}`, which has no subnet");
            let help = format!("give `{key}` an `ipam:` with `config: [{{subnet: …}}]` around it");
            found.push(Finding::at(Code::Missing, *span, "of which subnet?", message).help(help));
        }
        return;
    };
    let Some(pool) = mine.iter().find(|pool| is_host_of(*ip, pool.subnet)) else {
        let message = format!("`{service}` has the address `{ip}`, which `{key}` cannot give");
        let range = (first_of(first.subnet), last_of(first.subnet));
        found.push(
            Finding::at(Code::Conflict, *span, "outside", message)
                .also(first.span, format!("`{key}` has this subnet"))
                .help(format!("take one from {} to {}", range.0, range.1)),
        );
        return;
    };
    let gateway = (pool.gateway.0 == *ip).then_some((pool.gateway.1, "is the gateway of"));
    let kept = pool.kept.iter().find(|(kept, _)| kept == ip);
    let kept = kept.map(|(_, at)| (*at, "is kept free on"));
    if let Some((at, why)) = gateway.or(kept) {
        let message = format!("`{service}` has the address `{ip}`, which {why} `{key}`");
        found.push(
            Finding::at(Code::Conflict, *span, "taken", message)
                .also(at, format!("`{ip}` {why} `{key}`"))
                .help("take another address"),
        );
    }
}

fn one_container(fixed: &Fixed<'_>, service: &Node, found: &mut Vec<Finding>) {
    let (count, Some(at)) = containers(service) else {
        return;
    };
    if count > 1 {
        let message = format!("`{}` has {count} containers and one fixed address", fixed.service);
        let (a, b) = ((fixed.span, "one address".into()), (at, format!("{count} containers")));
        found.push(both(a, b, Code::Conflict, message).help("take the fixed address away"));
    }
}

/// The links of a container have different names.
fn link_names(service: &str, node: &Node, found: &mut Vec<Finding>) {
    let mut taken: BTreeMap<&str, (&str, Span)> = BTreeMap::new();
    for (network, settings) in entries(node, "networks") {
        let option = settings.at(&["driver_opts", "com.docker.network.endpoint.ifname"]);
        // Two that differ are noted where they stand.
        let Some(at) = settings.get("interface_name").or(option) else { continue };
        let Some(name) = at.as_text() else { continue };
        if let Some((other, place)) = taken.insert(name, (network, at.span)) {
            let message = format!(
                "`{service}` calls its links on `{other}` and on `{network}` both `{name}`"
            );
            let (a, b) = ((place, "one".into()), (at.span, "the other".into()));
            found.push(both(a, b, Code::Duplicate, message).help("give one of them another name"));
        }
    }
}

fn twice(a: &Fixed<'_>, b: &Fixed<'_>) -> Finding {
    let (first, again) = if a.span <= b.span { (a, b) } else { (b, a) };
    let message = format!(
        "`{}` and `{}` have the same address on `{}`",
        first.service, again.service, first.network
    );
    Finding::at(Code::Duplicate, again.span, "again here", message)
        .also(first.span, "first here")
        .help("give one of them another address")
}

/// A small subnet has an address for every container.
fn room(sheet: &Sheet<'_>, pools: &[Pool<'_>], found: &mut Vec<Finding>) {
    for (key, _) in sheet.section("networks") {
        let mine: Vec<&Pool<'_>> = pools.iter().filter(|pool| pool.network == key).collect();
        let [IpNet::V4(subnet)] = mine.iter().map(|pool| pool.subnet).collect::<Vec<_>>()[..]
        else {
            continue;
        };
        // The subnet's own address, the broadcast and the gateway are not to be had.
        let room = (1_i128 << (32 - subnet.prefix_len())) - 3 - mine[0].kept.len() as i128;
        let users = sheet.services().filter(|(_, node)| {
            node.get("networks").is_some_and(|networks| networks.get(key).is_some())
        });
        let wanted: i128 = users.map(|(_, node)| containers(node).0).sum();
        if room >= 1 && wanted > room {
            let message = format!("`{key}` has room for {room} containers, and {wanted} are on it");
            found.push(
                Finding::at(Code::Conflict, mine[0].span, format!("room for {room}"), message)
                    .help("take a shorter length, like `/24`"),
            );
        }
    }
}

/// MAC addresses that are not of one card, or that two services have.
fn hardware(sheet: &Sheet<'_>, found: &mut Vec<Finding>) {
    let mut taken: BTreeMap<(&str, String), (&str, Span)> = BTreeMap::new();
    for (service, node) in sheet.services() {
        for (network, settings) in entries(node, "networks") {
            let Some(at) = settings.get("mac_address") else {
                continue;
            };
            let text = at.as_text().unwrap_or_default().to_ascii_lowercase().replace('-', ":");
            let first = text.get(..2).and_then(|pair| u8::from_str_radix(pair, 16).ok());
            if first.is_some_and(|first| first & 1 == 1) {
                let path = format!("services.{service}.networks.{network}.mac_address");
                let help = "make the second digit even, like `02:42:ac:11:00:02`";
                found.push(super::bad(at, &path, "is an address of many cards", help));
            }
            if let Some((other, place)) = taken.insert((network, text), (service, at.span)) {
                let message =
                    format!("`{other}` and `{service}` have the same MAC address on `{network}`");
                let (a, b) = ((place, "one".into()), (at.span, "the other".into()));
                found.push(
                    both(a, b, Code::Duplicate, message).help("give one of them another address"),
                );
            }
        }
    }
}

/// Ports and MAC addresses of services beside a link of the host: what is for their addresses
/// never passes this host, and with ipvlan they have the hardware address of the link.
fn beside_only(sheet: &Sheet<'_>, name: &str, service: &Node, found: &mut Vec<Finding>) {
    let driver = |key: &str| sheet.tree.at(&["networks", key, "driver"]).and_then(Node::as_text);
    for (key, settings) in entries(service, "networks") {
        if let (Some("ipvlan"), Some(at)) = (driver(key), settings.get("mac_address")) {
            let message =
                format!("`{name}` has a MAC address of its own on `{key}`, an ipvlan network");
            let help = "take it away, or use the driver `macvlan`";
            found.push(Finding::at(Code::Conflict, at.span, "cannot be", message).help(help));
        }
    }
    let Some(ports) = says_something(service, "ports") else {
        return;
    };
    let mut networks = entries(service, "networks").peekable();
    let beside = |key: &str| matches!(driver(key), Some("macvlan" | "ipvlan"));
    if networks.peek().is_none() || !networks.all(|(key, _)| beside(key)) {
        return;
    }
    let at = items(service, "ports").first().map_or(ports.span, |port| port.span);
    let message = format!("`{name}` publishes ports and is on macvlan or ipvlan networks only");
    let help = "it has addresses of its own on the network outside, where all its ports are \
                reached: take `ports` away, or add a network of the driver `bridge`";
    found.push(Finding::at(Code::Conflict, at, "cannot be published", message).help(help));
}

/// Ports that are published from networks without a way out.
fn internal_only(sheet: &Sheet<'_>, name: &str, service: &Node, found: &mut Vec<Finding>) {
    let Some(ports) = says_something(service, "ports") else {
        return;
    };
    let mut networks = entries(service, "networks").peekable();
    let internal = |key: &str| {
        let flag = sheet.tree.at(&["networks", key, "internal"]);
        flag.is_some_and(|node| node.value == Value::Bool(true))
    };
    if networks.peek().is_none() || !networks.all(|(key, _)| internal(key)) {
        return;
    }
    let at = items(service, "ports").first().map_or(ports.span, |port| port.span);
    let message = format!("`{name}` publishes ports and is on internal networks only");
    let help = "nobody outside can reach them: add a network that is not internal";
    found.push(super::doubtful(at, "not reachable", message, help));
}
