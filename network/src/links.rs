//! Links and routes of the host, to say where packets come from and where they go (rtnetlink(7)).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::BorrowedFd;

use ipnet::IpNet;

use crate::error::{NetError, Result, refused};
use crate::netlink::{Channel, Message, attributes, interrupted, refusal};
use crate::netns;

const GET_LINK: u16 = 18;
const GET_ADDRESS: u16 = 22;
const GET_ROUTE: u16 = 26;
/// `IFLA_EXT_MASK` with `RTEXT_FILTER_SKIP_STATS`: counters are the larger part of what is told of
/// a link, and nobody here reads them.
const NO_COUNTERS: (u16, u32) = (29, 1 << 3);
/// `RTM_F_CLONED`, of a route that is not in a table.
const CLONED: u32 = 0x200;
const ATTEMPTS: usize = 16;

/// A link of the host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Link {
    /// Its number.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Its other names (`altname` in ip-link(8)).
    pub other_names: Vec<String>,
    /// Its group (`group` in ip-link(8)); most links are in 0.
    pub group: u32,
    /// It is switched on.
    pub up: bool,
    /// It is the loopback link.
    pub loopback: bool,
    /// Number of the bridge or bond that it is a port of: no packet arrives at it by itself.
    pub master: Option<u32>,
    /// Number of its other end (veth(4)), in the namespace where that is.
    pub peer: Option<u32>,
    /// Largest packet it carries.
    pub mtu: u32,
    /// Its addresses, with their subnets.
    pub addresses: Vec<IpNet>,
    /// What kind of link it is, as the kernel calls it (`bridge`); a device of its own has none.
    pub kind: String,
    /// What somebody noted on it.
    pub alias: Option<String>,
}

impl Link {
    /// All names it goes by.
    pub fn names(&self) -> impl Iterator<Item = &String> {
        std::iter::once(&self.name).chain(&self.other_names)
    }
}

/// A route of the host to other hosts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Where it leads; `0.0.0.0/0` and `::/0` are anywhere.
    pub net: IpNet,
    /// Number of the link it leads out by.
    pub out: u32,
    /// Largest packet it carries, when that is less than its link's.
    pub mtu: Option<u32>,
}

/// The links in the calling thread's network namespace, by their numbers.
///
/// # Errors
/// The kernel refuses to tell.
pub fn links() -> Result<Vec<Link>> {
    let mut links: Vec<Link> = dump(GET_LINK, 16)?.iter().filter_map(|body| link(body)).collect();
    links.sort_by_key(|link| link.index);
    for body in dump(GET_ADDRESS, 8)? {
        let Some((index, address)) = address(&body) else { continue };
        if let Some(link) = links.iter_mut().find(|link| link.index == index) {
            link.addresses.push(address);
        }
    }
    Ok(links)
}

/// The links in a namespace, as [`links`] gives them. For a thread that does nothing else.
///
/// # Errors
/// It cannot be entered, or the kernel refuses to tell.
pub fn links_in(netns: BorrowedFd<'_>) -> Result<Vec<Link>> {
    netns::inside(netns, links)
}

/// The routes to other hosts, of all tables.
///
/// # Errors
/// The kernel refuses to tell.
pub fn routes() -> Result<Vec<Route>> {
    Ok(dump(GET_ROUTE, 12)?.iter().filter_map(|body| route(body)).collect())
}

/// The subnets that routes of the host lead to, in all tables, default routes left out: each as
/// often as there are routes to it.
///
/// A route that covers half of all addresses or more counts as a default route, since that is
/// how VPN clients write one. One that leads nowhere (blackhole, unreachable, prohibit) takes no
/// addresses: hosts keep the private ranges they do not use from leaking out with just these, and
/// the route of a bridge, which is narrower, counts before them.
///
/// # Errors
/// The kernel refuses to tell.
pub fn destinations() -> Result<Vec<IpNet>> {
    let routes = dump(GET_ROUTE, 12)?;
    let nets = routes.iter().filter_map(|body| net(body)).filter(|net| net.prefix_len() > 1);
    let mut nets: Vec<IpNet> = nets.map(|net| net.trunc()).collect();
    nets.sort();
    Ok(nets)
}

fn link(body: &[u8]) -> Option<Link> {
    const UP: u32 = 1;
    const LOOPBACK: u32 = 8;
    let flags = word(body, 8)?;
    let attribute = |wanted| find(body.get(16..)?, wanted);
    let others = attribute(libc::IFLA_PROP_LIST).map(attributes).into_iter().flatten();
    let others = others.filter(|(kind, _)| *kind == libc::IFLA_ALT_IFNAME);
    Some(Link {
        index: word(body, 4)?,
        name: text(attribute(3)?),
        other_names: others.map(|(_, name)| text(name)).collect(),
        up: flags & UP != 0,
        loopback: flags & LOOPBACK != 0,
        master: attribute(libc::IFLA_MASTER).and_then(|master| word(master, 0)),
        peer: attribute(libc::IFLA_LINK).and_then(|peer| word(peer, 0)),
        mtu: attribute(4).and_then(|mtu| word(mtu, 0)).unwrap_or(0),
        addresses: Vec::new(),
        kind: attribute(18).and_then(|info| find(info, 1)).map(text).unwrap_or_default(),
        alias: attribute(20).map(text),
        group: attribute(libc::IFLA_GROUP).and_then(|group| word(group, 0)).unwrap_or(0),
    })
}

fn address(body: &[u8]) -> Option<(u32, IpNet)> {
    let list = body.get(8..)?;
    // On a link between two the first is the other end, and the second one's own.
    let bytes = find(list, 2).or_else(|| find(list, 1))?;
    Some((word(body, 4)?, IpNet::new(ip(bytes)?, *body.get(1)?).ok()?))
}

fn route(body: &[u8]) -> Option<Route> {
    const METRICS: u16 = 8;
    let (net, list) = (net(body)?, body.get(12..)?);
    let mtu = find(list, METRICS).and_then(|metrics| word(find(metrics, 2)?, 0));
    Some(Route { net, out: word(find(list, 4)?, 0)?, mtu })
}

/// Where a route to other hosts leads.
fn net(body: &[u8]) -> Option<IpNet> {
    const UNICAST: u8 = 1;
    let (family, prefix, kind) = (*body.first()?, *body.get(1)?, *body.get(7)?);
    if kind != UNICAST || word(body, 8)? & CLONED != 0 {
        return None;
    }
    let anywhere = match i32::from(family) {
        libc::AF_INET => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        libc::AF_INET6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        _ => return None,
    };
    let to = find(body.get(12..)?, 1).map_or(Some(anywhere), ip)?;
    IpNet::new(to, prefix).ok()
}

fn find(list: &[u8], wanted: u16) -> Option<&[u8]> {
    attributes(list).find(|(kind, _)| *kind == wanted).map(|(_, value)| value)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim_end_matches('\0').to_owned()
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn ip(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(four) = <[u8; 4]>::try_from(bytes) {
        return Some(IpAddr::V4(four.into()));
    }
    <[u8; 16]>::try_from(bytes).ok().map(|sixteen| IpAddr::V6(sixteen.into()))
}

/// What is told of all objects of a kind; the header of each has so many bytes.
fn dump(kind: u16, header: usize) -> Result<Vec<Vec<u8>>> {
    let failed = || refused("list", "links and routes");
    let mut channel = Channel::open(netlink_sys::protocols::NETLINK_ROUTE).map_err(failed())?;
    for _ in 0..ATTEMPTS {
        let number = channel.number();
        let flags = (libc::NLM_F_REQUEST | libc::NLM_F_DUMP) as u16;
        let mut asked = Vec::new();
        if kind == GET_LINK {
            asked.extend(8u16.to_ne_bytes());
            asked.extend(NO_COUNTERS.0.to_ne_bytes());
            asked.extend(NO_COUNTERS.1.to_ne_bytes());
        }
        let mut request = ((16 + header + asked.len()) as u32).to_ne_bytes().to_vec();
        request.extend(kind.to_ne_bytes());
        request.extend(flags.to_ne_bytes());
        request.extend(number.to_ne_bytes());
        request.resize(16 + header, 0);
        request.extend(asked);
        let answers = channel.exchange(&request).map_err(failed())?;
        if interrupted(&answers) {
            continue;
        }
        if let Some(refusal) = refusal(&answers) {
            return Err(failed()(refusal.errno));
        }
        // What is told is of the kind two below what was asked for.
        let told = |message: &Message| message.kind == kind - 2;
        return Ok(answers.into_iter().filter(told).map(|message| message.payload).collect());
    }
    Err(NetError::Invalid("links and routes change faster than they can be read".into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_link_is_found_with_its_address() {
        let links = links().unwrap();
        let lo = links.iter().find(|link| link.loopback).unwrap();

        assert_eq!((lo.name.as_str(), lo.index), ("lo", 1));
        assert!(!lo.up || lo.addresses.contains(&"127.0.0.1/8".parse().unwrap()));
        assert!(routes().is_ok());
    }

    #[test]
    fn cut_off_answers_do_no_harm() {
        for len in 0..64 {
            let body: Vec<u8> = (0..len).map(|n| n as u8).collect();
            let _ = (link(&body), address(&body), route(&body), net(&body));
        }
    }
}
