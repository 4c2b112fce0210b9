//! Links of a container that runs: taken away, and who of them leads out.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::BorrowedFd;

use netlink_packet_route::RouteNetlinkMessage;
use rtnetlink::{LinkUnspec, RouteMessageBuilder};

use super::{REPLACE, Requests, default_route};
use crate::error::Result;
use crate::netns;

/// Whether there is a link `name` in `netns`.
///
/// # Errors
/// The namespace cannot be entered.
pub fn has(netns: BorrowedFd<'_>, name: &str) -> Result<bool> {
    let inner = netns::inside(netns, Requests::open)?;
    Ok(inner.index_of(name).is_ok())
}

/// Takes the link `name` of `netns` away, with its other end. What leads out by it does not any
/// more.
///
/// # Errors
/// The link is not there, or the kernel refuses.
pub fn detach(netns: BorrowedFd<'_>, name: &str) -> Result<()> {
    let mut inner = netns::inside(netns, Requests::open)?;
    let message = LinkUnspec::new_with_name(name).build();
    inner.add("delete link", name, 0, RouteNetlinkMessage::DelLink(message));
    inner.send()
}

/// Makes the default routes of `netns` lead by these links to these next hops, at most one of each
/// family, in place of others. A family without one has none afterwards.
///
/// # Errors
/// A link is not there, or the kernel refuses.
pub fn lead_out(netns: BorrowedFd<'_>, ways: &[(&str, IpAddr)]) -> Result<()> {
    let mut inner = netns::inside(netns, Requests::open)?;
    for (link, gateway) in ways {
        let route = default_route(inner.index_of(link)?, *gateway);
        let step = RouteNetlinkMessage::NewRoute(route);
        inner.add("set default route via", &gateway.to_string(), REPLACE, step);
    }
    inner.send()?;
    let any = [
        (true, RouteMessageBuilder::<Ipv4Addr>::new().build()),
        (false, RouteMessageBuilder::<Ipv6Addr>::new().build()),
    ];
    for (is_ipv4, route) in any {
        if ways.iter().any(|(_, gateway)| gateway.is_ipv4() == is_ipv4) {
            continue;
        }
        inner.add("delete", "default route", 0, RouteNetlinkMessage::DelRoute(route));
        match inner.send() {
            Err(error) if error.errno() != Some(libc::ESRCH) => return Err(error),
            Ok(()) | Err(_) => {}
        }
    }
    Ok(())
}
