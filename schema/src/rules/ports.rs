//! Host ports: each can be published once.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::{Sheet, both, containers, items};
use crate::problem::{Code, Finding};
use crate::resources::is_bridged;
use crate::text::Span;
use crate::tree::Node;
use crate::value;

/// A published port or range of a service.
struct Claim<'n> {
    service: &'n str,
    host: Host,
    protocol: &'n str,
    low: u16,
    high: u16,
    target: Option<&'n Node>,
    span: Span,
}

/// The addresses of the host that a port is published on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Host {
    /// All, of both families.
    All,
    /// One, or with an unspecified address all of its family.
    One(IpAddr),
}

impl Host {
    fn of(text: &str) -> Option<Host> {
        match text {
            "" => Some(Host::All),
            text => text.parse().ok().map(Host::One),
        }
    }

    fn meets(self, other: Host) -> bool {
        match (self, other) {
            (Host::All, _) | (_, Host::All) => true,
            (Host::One(a), Host::One(b)) => {
                let wide = a.is_unspecified() || b.is_unspecified();
                a == b || a.is_ipv4() == b.is_ipv4() && wide
            }
        }
    }
}

impl Claim<'_> {
    fn is_fixed(&self) -> bool {
        self.low == self.high
    }

    fn meets(&self, other: &Claim<'_>) -> bool {
        self.protocol == other.protocol && self.host.meets(other.host)
    }
}

pub(super) fn check(sheet: &Sheet<'_>, found: &mut Vec<Finding>) {
    let mut claims = Vec::new();
    for (name, service) in sheet.services() {
        // With the network of the host or of another service nothing is published.
        let apart = service.get("network_mode").is_some() && !is_bridged(service);
        if apart && service.get("networks").is_none() {
            continue;
        }
        let from = claims.len();
        claims.extend(items(service, "ports").iter().filter_map(|port| claim(name, port)));
        replicas(service, &claims[from..], found);
    }
    let mut fixed: BTreeMap<u16, Vec<&Claim<'_>>> = BTreeMap::new();
    for claim in claims.iter().filter(|claim| claim.is_fixed()) {
        let others = fixed.entry(claim.low).or_default();
        if let Some(other) = others.iter().find(|other| other.meets(claim)) {
            found.push(clash(claim, other));
        }
        others.push(claim);
    }
    for range in claims.iter().filter(|claim| !claim.is_fixed()) {
        full(range, &fixed, found);
    }
}

fn claim<'n>(service: &'n str, port: &'n Node) -> Option<Claim<'n>> {
    let (low, high) = value::port_range(port.get_text("published")?).ok()?;
    Some(Claim {
        service,
        host: Host::of(port.get_text("host_ip").unwrap_or_default())?,
        protocol: port.get_text("protocol").unwrap_or("tcp"),
        low,
        high,
        target: port.get("target"),
        span: port.span,
    })
}

fn clash(a: &Claim<'_>, b: &Claim<'_>) -> Finding {
    let (first, again) = if a.span <= b.span { (a, b) } else { (b, a) };
    let port = first.low;
    let message = match first.service == again.service {
        true => format!("`{}` publishes the host port {port} twice", first.service),
        false => {
            format!("`{}` and `{}` both publish the host port {port}", first.service, again.service)
        }
    };
    let help = match first.span == again.span {
        true => "take one of them away",
        false => "give one of them another host port",
    };
    Finding::at(Code::Duplicate, again.span, "again here", message)
        .also(first.span, "first here")
        .help(help)
}

/// A range of which every port is taken.
fn full(range: &Claim<'_>, fixed: &BTreeMap<u16, Vec<&Claim<'_>>>, found: &mut Vec<Finding>) {
    let mut taken = Vec::new();
    for port in range.low..=range.high {
        let owner = fixed.get(&port).and_then(|claims| claims.iter().find(|at| at.meets(range)));
        match owner {
            Some(owner) => taken.push(owner),
            None => return,
        }
    }
    let (low, high) = (range.low, range.high);
    let message = format!("`{}` finds no free host port from {low} to {high}", range.service);
    let mut finding = Finding::at(Code::Duplicate, range.span, "all of these are taken", message);
    for owner in taken.iter().take(4) {
        finding = finding.also(owner.span, format!("taken by `{}`", owner.service));
    }
    found.push(finding.help("give it another range"));
}

/// Several containers cannot share a host port.
fn replicas(service: &Node, claims: &[Claim<'_>], found: &mut Vec<Finding>) {
    let (count, Some(at)) = containers(service) else {
        return;
    };
    for claim in claims {
        let ports = i128::from(claim.high - claim.low) + 1;
        if count <= ports {
            continue;
        }
        let (name, low) = (claim.service, claim.low);
        let message = match ports {
            1 => format!(
                "`{name}` has {count} containers, and one of them takes the host port {low}"
            ),
            _ => format!("`{name}` has {count} containers and {ports} host ports for them"),
        };
        let last = i128::from(low) + count - 1;
        let target = claim.target.and_then(super::number).unwrap_or_default();
        found.push(
            both(
                (claim.span, "too few host ports".into()),
                (at, format!("{count} containers")),
                Code::Conflict,
                message,
            )
            .help(format!(
                "publish a range, `{low}-{last}:{target}`, or any free port, `{target}`"
            )),
        );
    }
}
