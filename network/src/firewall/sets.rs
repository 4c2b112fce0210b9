//! What the rules look things up in.

use crate::nft::{SetSpec, Type};

/// Bridges of our networks.
pub(super) const BRIDGES: &str = "bridges";
/// Those of internal networks.
pub(super) const INTERNAL: &str = "internal";
/// Each bridge twice: where a packet comes from and where it goes, when that is the same.
pub(super) const SAME: &str = "same";
/// Each IPv4 subnet with its bridge.
pub(super) const HOME4: &str = "home4";
/// Each IPv6 subnet with its bridge.
pub(super) const HOME6: &str = "home6";
/// Ports published on all addresses, IPv4.
pub(super) const PORTS4: &str = "ports4";
/// Ports published on one address, IPv4.
pub(super) const PORTS4_AT: &str = "ports4_at";
/// Ports published on all addresses, IPv6.
pub(super) const PORTS6: &str = "ports6";
/// Ports published on one address, IPv6.
pub(super) const PORTS6_AT: &str = "ports6_at";
/// As [`PORTS4`] by shares: each port has an element for each percent.
pub(super) const SHARES4: &str = "shares4";
/// As [`PORTS4_AT`] by shares.
pub(super) const SHARES4_AT: &str = "shares4_at";
/// As [`PORTS6`] by shares.
pub(super) const SHARES6: &str = "shares6";
/// As [`PORTS6_AT`] by shares.
pub(super) const SHARES6_AT: &str = "shares6_at";
/// TCP ports on all addresses at which new connections wait.
pub(super) const HELD: &str = "held";
/// Those on one address, IPv4.
pub(super) const HELD4_AT: &str = "held4_at";
/// Those on one address, IPv6.
pub(super) const HELD6_AT: &str = "held6_at";
/// Bridges from which IPv4 leaves with an address of the host.
pub(super) const MASKED4: &str = "masked4";
/// The same, IPv6.
pub(super) const MASKED6: &str = "masked6";
/// Bridges of networks whose containers are reached at their own addresses, IPv4.
pub(super) const ROUTED4: &str = "routed4";
/// The same, IPv6.
pub(super) const ROUTED6: &str = "routed6";
/// Those where that holds for every port, but not from our other networks, IPv4.
pub(super) const UNPROTECTED4: &str = "unprotected4";
/// The same, IPv6.
pub(super) const UNPROTECTED6: &str = "unprotected6";
/// Links of the host that may reach opened ports of a bridge, with the bridge.
pub(super) const TRUSTED: &str = "trusted";
/// Ports of containers that are opened at their own addresses, IPv4.
pub(super) const OPEN4: &str = "open4";
/// The same, IPv6.
pub(super) const OPEN6: &str = "open6";

/// All of them.
pub(super) const SETS: &[SetSpec] = &[
    set(BRIDGES, &[Type::LinkName]),
    set(INTERNAL, &[Type::LinkName]),
    set(SAME, &[Type::LinkName, Type::LinkName]),
    SetSpec { ranges: true, ..set(HOME4, &[Type::Ipv4, Type::LinkName]) },
    SetSpec { ranges: true, ..set(HOME6, &[Type::Ipv6, Type::LinkName]) },
    SetSpec { value: &[Type::Ipv4, Type::Port], ..set(PORTS4, &[Type::Protocol, Type::Port]) },
    SetSpec {
        value: &[Type::Ipv4, Type::Port],
        ..set(PORTS4_AT, &[Type::Ipv4, Type::Protocol, Type::Port])
    },
    SetSpec { value: &[Type::Ipv6, Type::Port], ..set(PORTS6, &[Type::Protocol, Type::Port]) },
    SetSpec {
        value: &[Type::Ipv6, Type::Port],
        ..set(PORTS6_AT, &[Type::Ipv6, Type::Protocol, Type::Port])
    },
    SetSpec {
        value: &[Type::Ipv4, Type::Port],
        ..set(SHARES4, &[Type::Percent, Type::Protocol, Type::Port])
    },
    SetSpec {
        value: &[Type::Ipv4, Type::Port],
        ..set(SHARES4_AT, &[Type::Percent, Type::Ipv4, Type::Protocol, Type::Port])
    },
    SetSpec {
        value: &[Type::Ipv6, Type::Port],
        ..set(SHARES6, &[Type::Percent, Type::Protocol, Type::Port])
    },
    SetSpec {
        value: &[Type::Ipv6, Type::Port],
        ..set(SHARES6_AT, &[Type::Percent, Type::Ipv6, Type::Protocol, Type::Port])
    },
    SetSpec { ending: true, ..set(HELD, &[Type::Port]) },
    SetSpec { ending: true, ..set(HELD4_AT, &[Type::Ipv4, Type::Port]) },
    SetSpec { ending: true, ..set(HELD6_AT, &[Type::Ipv6, Type::Port]) },
    set(MASKED4, &[Type::LinkName]),
    set(MASKED6, &[Type::LinkName]),
    set(ROUTED4, &[Type::LinkName]),
    set(ROUTED6, &[Type::LinkName]),
    set(UNPROTECTED4, &[Type::LinkName]),
    set(UNPROTECTED6, &[Type::LinkName]),
    set(TRUSTED, &[Type::LinkName, Type::LinkName]),
    set(OPEN4, &[Type::Ipv4, Type::Protocol, Type::Port]),
    set(OPEN6, &[Type::Ipv6, Type::Protocol, Type::Port]),
];

const fn set(name: &'static str, key: &'static [Type]) -> SetSpec {
    SetSpec { name, key, value: &[], ranges: false, ending: false }
}
