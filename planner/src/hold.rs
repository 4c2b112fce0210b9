//! Ports at which new connections wait while a container is replaced by one that starts later.
//!
//! ```text
//! hold ─▶ stop old ─▶ (remove old ─▶ create new ─▶) start new ─▶ release
//! ```
//!
//! Who connects meanwhile is not told anything, asks again by TCP's own rules, and is let in by the new
//! container. The hold has an end that the kernel keeps: no run that is killed leaves it behind, so it is
//! no part of what is observed. There is no such thing for UDP.

use std::net::IpAddr;
use std::time::Duration;

use berth_schema::stack::Protocol;
use serde::{Deserialize, Serialize};

use crate::desired::{ContainerSpec, PortSpec};
use crate::observed::ObservedContainer;
use crate::up::ports;

/// How long new connections wait at most; whoever comes later is refused and knows.
pub(crate) const LIMIT: Duration = Duration::from_secs(3);
/// How long connections that are there may take to their end before the old container is stopped. It
/// is of the time of those that wait.
pub(crate) const DRAIN: Duration = Duration::from_millis(500);

/// Why new connections wait for nothing where none is published.
pub(crate) const NO_PORT: &str = "no TCP port to hold";

/// A TCP port of the host at which new connections wait.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct HeldPort {
    /// Address of the host; `None` is every address.
    pub host_ip: Option<IpAddr>,
    /// Port of the host.
    pub port: u16,
    /// Port of the container behind it.
    pub target: u16,
}

/// The ports of a container that the next one will have too.
///
/// # Errors
/// Why there are none, in words that follow a comma.
pub(crate) fn of(
    have: &ObservedContainer,
    becomes: &ContainerSpec,
) -> Result<Vec<HeldPort>, &'static str> {
    let is_tcp = |port: &&PortSpec| port.protocol == Protocol::Tcp && port.published.is_some();
    let mut now = ports::held(have).iter().filter(is_tcp).peekable();
    if now.peek().is_none() {
        return Err(NO_PORT);
    }
    let then = ports::wanted(becomes);
    let same = now.filter_map(|port| {
        let place = place(port)?;
        let then = then.iter().find(|then| self::place(then) == Some(place))?;
        // All addresses of a family are not one of them.
        let host_ip = port.host_ip.filter(|ip| !ip.is_unspecified());
        Some(HeldPort { host_ip, port: place.1.1, target: then.target })
    });
    let mut held: Vec<HeldPort> = same.collect();
    held.sort();
    held.dedup();
    match held.is_empty() {
        true => Err("its TCP ports change"),
        false => Ok(held),
    }
}

/// Where on the host a port is, when that is one place.
fn place(port: &PortSpec) -> Option<(Option<IpAddr>, (Protocol, u16))> {
    Some((port.host_ip, ports::fixed(port)?))
}
