//! Networks and ports as elements of sets and maps, there and back.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use berth_schema::stack::Protocol;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::sets::{
    BRIDGES, HELD, HELD4_AT, HELD6_AT, HOME4, HOME6, INTERNAL, MASKED4, MASKED6, OPEN4, OPEN6,
    PORTS4, PORTS4_AT, PORTS6, PORTS6_AT, ROUTED4, ROUTED6, SAME, SHARES4, SHARES4_AT, SHARES6,
    SHARES6_AT, TRUSTED, UNPROTECTED4, UNPROTECTED6,
};
use super::{Families, Held, Network, Published, Share, Weighted};
use crate::error::{NetError, Result};
use crate::nft::{Element, Tables, link_name};

/// Stands in a comment between the name of a network and the realm it is of.
const OF_REALM: &str = " @";

/// What it says of a network that its bridge is in a set.
type Note = fn(&mut Network);

const NOTES: [(&str, Note); 8] = [
    (SAME, |network| network.apart = false),
    (INTERNAL, |network| network.internal = true),
    (MASKED4, |network| network.unmasked.ipv4 = false),
    (MASKED6, |network| network.unmasked.ipv6 = false),
    (ROUTED4, |network| network.routed.ipv4 = true),
    (ROUTED6, |network| network.routed.ipv6 = true),
    (UNPROTECTED4, |network| network.unprotected.ipv4 = true),
    (UNPROTECTED6, |network| network.unprotected.ipv6 = true),
];

impl Families {
    fn each(self) -> [bool; 2] {
        [self.ipv4, self.ipv6]
    }
}

/// All elements of a network, with the sets they are in.
pub(super) fn of_network(network: &Network) -> Result<Vec<(&'static str, Element)>> {
    if network.bridge.is_empty() || network.bridge.len() > 15 {
        return Err(NetError::Invalid(format!("`{}` is no link name", network.bridge)));
    }
    let name = link_name(&network.bridge);
    let comment = Some(match &network.realm {
        None => network.name.clone(),
        Some(realm) => format!("{}{OF_REALM}{realm}", network.name),
    });
    let element = |key: &[u8]| Element { key: key.to_vec(), ..Element::default() };
    let mut elements = vec![(BRIDGES, Element { comment, ..element(&name) })];
    if !network.apart {
        elements.push((SAME, element(&[name, name].concat())));
    }
    let [unmasked4, unmasked6] = network.unmasked.each();
    let [routed4, routed6] = network.routed.each();
    let [unprotected4, unprotected6] = network.unprotected.each();
    let sets = [
        (INTERNAL, network.internal),
        (MASKED4, !unmasked4),
        (MASKED6, !unmasked6),
        (ROUTED4, routed4),
        (ROUTED6, routed6),
        (UNPROTECTED4, unprotected4),
        (UNPROTECTED6, unprotected6),
    ];
    elements.extend(sets.iter().filter(|(_, has)| *has).map(|(set, _)| (*set, element(&name))));
    for link in &network.trusted {
        elements.push((TRUSTED, element(&[link_name(link), name].concat())));
    }
    for subnet in &network.subnets {
        let set = if subnet.addr().is_ipv4() { HOME4 } else { HOME6 };
        let key = |address| [octets(address), name.to_vec()].concat();
        let last = Some(key(subnet.broadcast()));
        elements.push((set, Element { key: key(subnet.network()), last, ..Element::default() }));
    }
    Ok(elements)
}

/// The element of a published port, with the map it is in.
pub(super) fn of_published(port: &Published) -> Result<(&'static str, Element)> {
    let family = |address: &IpAddr| address.is_ipv4();
    if port.host.is_some_and(|host| family(&host) != port.target.is_ipv4()) {
        let words = format!("{port} cannot lead to {}: IPv4 and IPv6 do not mix", port.target);
        return Err(NetError::Invalid(words));
    }
    let comment = Some(port.owner.clone());
    let transport = [number(port.protocol), 0, 0, 0];
    if port.is_own() {
        let set = if port.target.is_ipv4() { OPEN4 } else { OPEN6 };
        let key = [octets(port.target.ip()), transport.to_vec(), padded(port.port).to_vec()];
        return Ok((set, Element { key: key.concat(), comment, ..Element::default() }));
    }
    let map = match (port.target.is_ipv4(), port.host.is_some()) {
        (true, false) => PORTS4,
        (true, true) => PORTS4_AT,
        (false, false) => PORTS6,
        (false, true) => PORTS6_AT,
    };
    let mut key = port.host.map(octets).unwrap_or_default();
    key.extend(transport);
    key.extend(padded(port.port));
    let mut value = octets(port.target.ip());
    value.extend(padded(port.target.port()));
    Ok((map, Element { key, value: Some(value), comment, ..Element::default() }))
}

/// The elements of a port whose clients are shared out: one for each percent.
pub(super) fn of_weighted(port: &Weighted) -> Result<Vec<(&'static str, Element)>> {
    let owners = port.shares.iter().flat_map(|share| (0..share.percent).map(move |_| share));
    let each = (0u32..).zip(owners).map(|(percent, share)| {
        let whole = Published {
            owner: share.owner.clone(),
            host: port.host,
            port: port.port,
            protocol: port.protocol,
            target: share.target,
        };
        let (map, element) = of_published(&whole)?;
        let key = [&percent.to_ne_bytes()[..], &element.key].concat();
        Ok((shares_beside(map), Element { key, ..element }))
    });
    each.collect()
}

/// The map of shares for what is in `map` else.
fn shares_beside(map: &str) -> &'static str {
    match map {
        PORTS4 => SHARES4,
        PORTS4_AT => SHARES4_AT,
        PORTS6 => SHARES6,
        _ => SHARES6_AT,
    }
}

/// The element of a port at which new connections wait, with the set it is in.
pub(super) fn of_held(port: &Held) -> (&'static str, Element) {
    let comment = Some(port.owner.clone());
    let (set, key) = match port.host {
        None => (HELD, port.port.to_be_bytes().to_vec()),
        Some(host) => {
            let set = if host.is_ipv4() { HELD4_AT } else { HELD6_AT };
            (set, [octets(host), padded(port.port).to_vec()].concat())
        }
    };
    (set, Element { key, comment, left: Some(port.left), ..Element::default() })
}

/// The networks that the sets tell of.
pub(super) fn network_of(tables: &mut Tables) -> Result<Vec<Network>> {
    let mut networks = BTreeMap::new();
    for element in tables.elements(BRIDGES)? {
        let bridge = name(&element.key);
        let comment = element.comment.unwrap_or_default();
        let (name, realm) = match comment.rsplit_once(OF_REALM) {
            Some((name, realm)) => (name.to_owned(), Some(realm.to_owned())),
            None => (comment, None),
        };
        // Where an element says that it is not so, it is taken back below.
        let (apart, unmasked) = (true, Families { ipv4: true, ipv6: true });
        let bare = Network { name, bridge, realm, apart, unmasked, ..Network::default() };
        networks.insert(bare.bridge.clone(), bare);
    }
    for (set, note) in NOTES {
        for element in tables.elements(set)? {
            if let Some(network) = networks.get_mut(&name(&element.key)) {
                note(network);
            }
        }
    }
    for element in tables.elements(TRUSTED)? {
        let Some((link, bridge)) = element.key.split_at_checked(16) else { continue };
        if let Some(network) = networks.get_mut(&name(bridge)) {
            network.trusted.push(name(link));
            network.trusted.sort();
        }
    }
    for (set, width) in [(HOME4, 4), (HOME6, 16)] {
        for element in tables.elements(set)? {
            let Some((subnet, bridge)) = home(&element, width) else { continue };
            if let Some(network) = networks.get_mut(&bridge) {
                network.subnets.push(subnet);
                network.subnets.sort();
            }
        }
    }
    Ok(networks.into_values().collect())
}

/// The ports that the maps tell of.
pub(super) fn published_of(tables: &mut Tables) -> Result<Vec<Published>> {
    let maps = [(PORTS4, 0, 4), (PORTS4_AT, 4, 4), (PORTS6, 0, 16), (PORTS6_AT, 16, 16)];
    let mut ports = Vec::new();
    for (map, host, target) in maps {
        for element in tables.elements(map)? {
            ports.extend(port(element, host, target));
        }
    }
    for (set, width) in [(OPEN4, 4), (OPEN6, 16)] {
        ports.extend(tables.elements(set)?.into_iter().filter_map(|element| own(element, width)));
    }
    ports.sort();
    Ok(ports)
}

/// The ports whose clients are shared out.
pub(super) fn weighted_of(tables: &mut Tables) -> Result<Vec<Weighted>> {
    let maps = [(SHARES4, 0, 4), (SHARES4_AT, 4, 4), (SHARES6, 0, 16), (SHARES6_AT, 16, 16)];
    let mut all = Vec::new();
    for (map, host, target) in maps {
        let mut elements = Vec::new();
        for element in tables.elements(map)? {
            elements.extend(percent(element, host, target));
        }
        elements.sort_by_key(|(percent, _)| *percent);
        let mut ports: BTreeMap<_, Vec<Share>> = BTreeMap::new();
        for (_, part) in elements {
            let shares = ports.entry((part.host, part.port, part.protocol)).or_default();
            let Published { owner, target, .. } = part;
            match shares.iter_mut().find(|share| (&share.owner, share.target) == (&owner, target)) {
                Some(share) => share.percent += 1,
                None => shares.push(Share { owner, target, percent: 1 }),
            }
        }
        let ports = ports.into_iter();
        all.extend(ports.map(|((host, port, protocol), shares)| Weighted {
            host,
            port,
            protocol,
            shares,
        }));
    }
    all.sort();
    Ok(all)
}

/// The ports at which new connections wait.
pub(super) fn held_of(tables: &mut Tables) -> Result<Vec<Held>> {
    let mut held = Vec::new();
    for (set, host) in [(HELD, 0), (HELD4_AT, 4), (HELD6_AT, 16)] {
        held.extend(tables.elements(set)?.into_iter().filter_map(|element| wait(element, host)));
    }
    held.sort();
    Ok(held)
}

/// Which percent an element is of, and what it does with it.
fn percent(element: Element, host: usize, target: usize) -> Option<(u32, Published)> {
    let (percent, key) = element.key.split_first_chunk()?;
    let (percent, key) = (u32::from_ne_bytes(*percent), key.to_vec());
    Some((percent, port(Element { key, ..element }, host, target)?))
}

fn wait(element: Element, host: usize) -> Option<Held> {
    let (of_host, port) = element.key.split_at_checked(host)?;
    Some(Held {
        owner: element.comment.unwrap_or_default(),
        host: if host == 0 { None } else { Some(address(of_host)?) },
        port: u16::from_be_bytes([*port.first()?, *port.get(1)?]),
        // One that an older version made has no end.
        left: element.left.unwrap_or_default(),
    })
}

fn home(element: &Element, width: usize) -> Option<(IpNet, String)> {
    let (first, bridge) = element.key.split_at_checked(width)?;
    let last = element.last.as_ref()?.get(..width)?;
    let net = match (address(first)?, address(last)?) {
        (IpAddr::V4(first), IpAddr::V4(last)) => {
            let prefix = (first.to_bits() ^ last.to_bits()).leading_zeros();
            IpNet::V4(Ipv4Net::new(first, u8::try_from(prefix).ok()?).ok()?)
        }
        (IpAddr::V6(first), IpAddr::V6(last)) => {
            let prefix = (first.to_bits() ^ last.to_bits()).leading_zeros();
            IpNet::V6(Ipv6Net::new(first, u8::try_from(prefix).ok()?).ok()?)
        }
        _ => return None,
    };
    Some((net, name(bridge)))
}

fn port(element: Element, host: usize, target: usize) -> Option<Published> {
    let (address_of_host, rest) = element.key.split_at_checked(host)?;
    let value = element.value.as_ref()?;
    let (address_of_target, target_port) = value.split_at_checked(target)?;
    Some(Published {
        owner: element.comment.clone().unwrap_or_default(),
        host: if host == 0 { None } else { Some(address(address_of_host)?) },
        port: u16::from_be_bytes([*rest.get(4)?, *rest.get(5)?]),
        protocol: protocol(*rest.first()?)?,
        target: SocketAddr::new(
            address(address_of_target)?,
            u16::from_be_bytes([*target_port.first()?, *target_port.get(1)?]),
        ),
    })
}

/// A port that is opened at its container's own address.
fn own(element: Element, width: usize) -> Option<Published> {
    let (of_target, rest) = element.key.split_at_checked(width)?;
    let (ip, number) = (address(of_target)?, u16::from_be_bytes([*rest.get(4)?, *rest.get(5)?]));
    Some(Published {
        owner: element.comment.unwrap_or_default(),
        host: Some(ip),
        port: number,
        protocol: protocol(*rest.first()?)?,
        target: SocketAddr::new(ip, number),
    })
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(four) = <[u8; 4]>::try_from(bytes) {
        return Some(IpAddr::V4(Ipv4Addr::from(four)));
    }
    <[u8; 16]>::try_from(bytes).ok().map(|sixteen| IpAddr::V6(Ipv6Addr::from(sixteen)))
}

fn padded(port: u16) -> [u8; 4] {
    let [high, low] = port.to_be_bytes();
    [high, low, 0, 0]
}

fn number(protocol: Protocol) -> u8 {
    match protocol {
        Protocol::Tcp => 6,
        Protocol::Udp => 17,
        Protocol::Sctp => 132,
    }
}

fn protocol(number: u8) -> Option<Protocol> {
    match number {
        6 => Some(Protocol::Tcp),
        17 => Some(Protocol::Udp),
        132 => Some(Protocol::Sctp),
        _ => None,
    }
}

fn name(bytes: &[u8]) -> String {
    let len = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..len]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn published(host: Option<&str>, target: &str) -> Published {
        Published {
            owner: "web-1".into(),
            host: host.map(|host| host.parse().unwrap()),
            port: 8080,
            protocol: Protocol::Tcp,
            target: target.parse().unwrap(),
        }
    }

    #[test]
    fn a_port_is_one_element_and_can_be_read_back() {
        for (host, target, map, sizes) in [
            (None, "10.0.0.2:80", PORTS4, (0, 4)),
            (Some("127.0.0.1"), "10.0.0.2:80", PORTS4_AT, (4, 4)),
            (None, "[fd00::2]:80", PORTS6, (0, 16)),
            (Some("fd00::1"), "[fd00::2]:80", PORTS6_AT, (16, 16)),
        ] {
            let asked = published(host, target);
            let (found, element) = of_published(&asked).unwrap();

            assert_eq!(found, map);
            assert_eq!(port(element, sizes.0, sizes.1), Some(asked));
        }
    }

    #[test]
    fn a_port_that_is_opened_where_it_is_can_be_read_back() {
        for (host, target, set, width) in
            [("10.0.0.2", "10.0.0.2:8080", OPEN4, 4), ("fd00::2", "[fd00::2]:8080", OPEN6, 16)]
        {
            let asked = published(Some(host), target);
            let (found, element) = of_published(&asked).unwrap();

            assert_eq!(found, set);
            assert_eq!(own(element, width), Some(asked));
        }
    }

    #[test]
    fn a_port_of_one_family_does_not_lead_to_the_other() {
        let error = of_published(&published(Some("::1"), "10.0.0.2:80")).unwrap_err();

        insta::assert_snapshot!(
            error,
            @"[::1]:8080/tcp cannot lead to 10.0.0.2:80: IPv4 and IPv6 do not mix"
        );
    }

    #[test]
    fn a_subnet_can_be_read_back_from_its_first_and_last_address() {
        for text in ["10.1.2.0/24", "172.16.0.0/12", "10.0.0.4/30", "10.0.0.1/32", "fd00:1::/64"] {
            let subnet: IpNet = text.parse().unwrap();
            let network = Network {
                name: "n".into(),
                bridge: "br-n".into(),
                subnets: vec![subnet],
                ..Network::default()
            };
            let elements = of_network(&network).unwrap();
            let (set, element) = elements.last().unwrap();
            let width = if *set == HOME4 { 4 } else { 16 };

            assert_eq!(home(element, width), Some((subnet, "br-n".to_owned())));
        }
    }

    #[test]
    fn strange_elements_are_left_out_and_do_no_harm() {
        for len in 0..40 {
            let element = Element { key: vec![6; len], ..Element::default() };
            assert_eq!(home(&element, 4), None);
            assert_eq!(percent(element.clone(), 4, 4), None);
            assert_eq!(port(element.clone(), 4, 4), None);
            assert_eq!(own(element, 5), None);
        }
    }
}
