//! The address pools of networks: that they are subnets, hold what they should, and do not overlap.

use std::net::IpAddr;

use ipnet::IpNet;

use super::{Sheet, bad, both, entries, items, says_something};
use crate::problem::{Code, Finding};
use crate::text::Span;
use crate::tree::{Node, Value};

/// Longest name a network link can have.
const LONGEST_LINK: usize = 15;

/// One subnet of a network.
pub(super) struct Pool<'n> {
    /// Key of the network.
    pub network: &'n str,
    /// The subnet.
    pub subnet: IpNet,
    /// Where it is written.
    pub span: Span,
    /// The bridge's own address, given or implied, and where it stands.
    pub gateway: (IpAddr, Span),
    /// Addresses that are kept free, with their places.
    pub kept: Vec<(IpAddr, Span)>,
}

/// All subnets that can be read.
pub(super) fn pools<'n>(sheet: &Sheet<'n>) -> Vec<Pool<'n>> {
    let mut pools = Vec::new();
    for (network, node) in sheet.section("networks") {
        let configs = node.get("ipam").map(|ipam| items(ipam, "config")).unwrap_or_default();
        pools.extend(configs.iter().filter_map(|config| pool(network, config)));
    }
    pools
}

fn pool<'n>(network: &'n str, config: &Node) -> Option<Pool<'n>> {
    let at = config.get("subnet")?;
    let subnet: IpNet = at.as_text()?.parse().ok()?;
    let given = config.get("gateway").and_then(address);
    let gateway = given.unwrap_or((first_of(subnet), at.span));
    let kept = entries(config, "aux_addresses").filter_map(|(_, node)| address(node)).collect();
    Some(Pool { network, subnet, span: at.span, gateway, kept })
}

fn address(node: &Node) -> Option<(IpAddr, Span)> {
    Some((node.as_text()?.parse().ok()?, node.span))
}

/// The first address after that of the subnet itself: the gateway unless another is given.
pub(super) fn first_of(subnet: IpNet) -> IpAddr {
    match subnet {
        IpNet::V4(net) => IpAddr::V4((u32::from(net.network()).saturating_add(1)).into()),
        IpNet::V6(net) => IpAddr::V6((u128::from(net.network()).saturating_add(1)).into()),
    }
}

pub(super) fn check(sheet: &Sheet<'_>, found: &mut Vec<Finding>) {
    for (key, node) in sheet.section("networks") {
        let configs = node.get("ipam").map(|ipam| items(ipam, "config")).unwrap_or_default();
        for (index, config) in configs.iter().enumerate() {
            let path = format!("networks.{key}.ipam.config.{index}");
            needs_subnet(&path, config, found);
            inside(&path, config, found);
            family(key, node, config, found);
        }
        external_alone(key, node, found);
        link_name(key, node, found);
    }
    overlaps(&pools(sheet), found);
}

fn needs_subnet(path: &str, config: &Node, found: &mut Vec<Finding>) {
    if config.get("subnet").is_some() {
        return;
    }
    let other = ["ip_range", "gateway", "aux_addresses"]
        .into_iter()
        .find_map(|name| says_something(config, name).map(|node| (name, node)));
    if let Some((name, node)) = other {
        let message = format!("`{path}`: `{name}` says nothing without `subnet`");
        found.push(
            Finding::at(Code::Missing, node.span, "part of which subnet?", message)
                .help("add `subnet:` beside it, like `subnet: 10.1.0.0/24`"),
        );
    }
}

/// Everything that a pool names lies inside its subnet.
fn inside(path: &str, config: &Node, found: &mut Vec<Finding>) {
    let Some(at) = config.get("subnet") else {
        return;
    };
    let Some(subnet) = at.as_text().and_then(|text| text.parse::<IpNet>().ok()) else {
        return;
    };
    let path = format!("{path}.subnet");
    if subnet.addr() != subnet.network() {
        let help = format!("write `{}`", subnet.trunc());
        found.push(bad(at, &path, "has bits set behind its length", help));
    }
    if subnet.max_prefix_len() - subnet.prefix_len() < 2 {
        let most = subnet.max_prefix_len() - 2;
        let help = format!("write a length of at most {most}");
        found.push(bad(at, &path, "has no room for a gateway and a container", help));
        return;
    }
    let mut outside = |node: &Node, what: &str| {
        let shown = node.as_text().unwrap_or_default();
        let message = format!("the {what} `{shown}` is outside the subnet `{subnet}`");
        let (here, there) = ((node.span, "outside".into()), (at.span, "of this subnet".into()));
        let range = format!("take one from {} to {}", first_of(subnet), last_of(subnet));
        found.push(both(here, there, Code::Conflict, message).help(range));
    };
    if let Some(node) = config.get("ip_range")
        && let Some(range) = node.as_text().and_then(|text| text.parse::<IpNet>().ok())
        && !subnet.contains(&range)
    {
        outside(node, "range");
    }
    if let Some(node) = config.get("gateway")
        && address(node).is_some_and(|(ip, _)| !is_host_of(ip, subnet))
    {
        outside(node, "gateway");
    }
    for (_, node) in entries(config, "aux_addresses") {
        if address(node).is_some_and(|(ip, _)| !subnet.contains(&ip)) {
            outside(node, "address");
        }
    }
}

/// Whether an address can be that of something on the subnet.
pub(super) fn is_host_of(ip: IpAddr, subnet: IpNet) -> bool {
    let last = matches!(subnet, IpNet::V4(_)) && ip == subnet.broadcast();
    subnet.contains(&ip) && ip != subnet.network() && !last
}

/// The last address that something on the subnet can have.
pub(super) fn last_of(subnet: IpNet) -> IpAddr {
    match subnet {
        IpNet::V4(net) => IpAddr::V4((u32::from(net.broadcast()).saturating_sub(1)).into()),
        IpNet::V6(net) => IpAddr::V6(net.broadcast()),
    }
}

/// A subnet of a family that the network does not have.
fn family(key: &str, network: &Node, config: &Node, found: &mut Vec<Finding>) {
    let Some(at) = config.get("subnet") else {
        return;
    };
    let off = network.get("enable_ipv4").filter(|node| node.value == Value::Bool(false));
    if let Some(off) = off
        && matches!(at.as_text().map(str::parse), Some(Ok(IpNet::V4(_))))
    {
        let message = format!("the network `{key}` has an IPv4 subnet and no IPv4");
        let (here, there) = ((at.span, "an IPv4 subnet".into()), (off.span, "no IPv4".into()));
        found.push(both(here, there, Code::Conflict, message).help("take one of them away"));
    }
    let on = network.get("enable_ipv6").is_some_and(|node| node.value == Value::Bool(true));
    if !on && matches!(at.as_text().map(str::parse), Some(Ok(IpNet::V6(_)))) {
        let message = format!("the network `{key}` has an IPv6 subnet, and IPv6 is not on");
        let finding = Finding::at(Code::Doubtful, at.span, "not used", message);
        found.push(finding.help(format!("add `enable_ipv6: true` to `{key}`")));
    }
}

fn overlaps(pools: &[Pool<'_>], found: &mut Vec<Finding>) {
    for (index, pool) in pools.iter().enumerate() {
        let clash = pools[..index].iter().find(|other| {
            other.subnet.contains(&pool.subnet) || pool.subnet.contains(&other.subnet)
        });
        let Some(other) = clash else {
            continue;
        };
        let message = match pool.network == other.network {
            true => format!("the subnets of `{}` overlap", pool.network),
            false => format!("the subnets of `{}` and `{}` overlap", other.network, pool.network),
        };
        let label = |pool: &Pool<'_>| (pool.span, format!("`{}`", pool.subnet));
        found.push(
            both(label(pool), label(other), Code::Conflict, message)
                .help("give one of them another subnet"),
        );
    }
}

/// An external network is as it is.
fn external_alone(key: &str, node: &Node, found: &mut Vec<Finding>) {
    crate::check::external_alone("network", key, node, &["name", "external"], found);
    let shared = node.at(&["x-berth", "shared"]).filter(|node| node.value == Value::Bool(true));
    if let (Some(external), Some(shared)) = (node.get("external"), shared) {
        let message = format!("the network `{key}` is external, so it cannot be `shared`");
        let (here, there) =
            ((shared.span, "made by the first".into()), (external.span, "external".into()));
        found.push(both(here, there, Code::Conflict, message).help("take one of them away"));
    }
}

fn link_name(key: &str, node: &Node, found: &mut Vec<Finding>) {
    const OPTION: &str = "com.docker.network.bridge.name";
    let Some(option) = node.get("driver_opts").and_then(|options| options.get(OPTION)) else {
        return;
    };
    if option.as_text().is_some_and(|name| name.len() > LONGEST_LINK) {
        let path = format!("networks.{key}.driver_opts.{OPTION}");
        let help = "the name of a link has at most 15 characters";
        found.push(bad(option, &path, "is too long", help));
    }
}
