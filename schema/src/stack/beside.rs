//! Networks beside a link of the host: macvlan and ipvlan.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Containers stand beside a link of the host, on the network it leads to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Beside {
    /// The link; `None` is one of the network's own that leads nowhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    /// How.
    pub way: Way,
}

/// How a container stands beside a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// With a MAC address of its own.
    Macvlan(MacvlanMode),
    /// With the MAC address of the link.
    Ipvlan(IpvlanMode, IpvlanFlag),
}

/// Which of its neighbours on the same link a container reaches.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MacvlanMode {
    /// All, directly.
    #[default]
    Bridge,
    /// All, by way of the switch outside.
    Vepa,
    /// There are none: it has the link for itself.
    Passthru,
    /// None.
    Private,
}

/// What is looked at to find who a packet is for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IpvlanMode {
    /// Frames, as on a switch.
    #[default]
    L2,
    /// Addresses, as at a router.
    L3,
    /// Addresses, and the rules of the host's firewall hold.
    L3s,
}

/// Which of its neighbours on the same link a container reaches.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IpvlanFlag {
    /// All.
    #[default]
    Bridge,
    /// None.
    Private,
    /// All, by way of the switch outside.
    Vepa,
}

impl MacvlanMode {
    /// As `driver_opts` name them.
    pub const NAMES: [(&str, MacvlanMode); 4] = [
        ("bridge", MacvlanMode::Bridge),
        ("vepa", MacvlanMode::Vepa),
        ("passthru", MacvlanMode::Passthru),
        ("private", MacvlanMode::Private),
    ];
}

impl IpvlanMode {
    /// As `driver_opts` name them.
    pub const NAMES: [(&str, IpvlanMode); 3] =
        [("l2", IpvlanMode::L2), ("l3", IpvlanMode::L3), ("l3s", IpvlanMode::L3s)];
}

impl IpvlanFlag {
    /// As `driver_opts` name them.
    pub const NAMES: [(&str, IpvlanFlag); 3] = [
        ("bridge", IpvlanFlag::Bridge),
        ("private", IpvlanFlag::Private),
        ("vepa", IpvlanFlag::Vepa),
    ];
}

impl Beside {
    /// The link and the number of a VLAN, when the parent is named `LINK.NUMBER`.
    pub fn vlan(&self) -> Option<(&str, u16)> {
        let (link, number) = self.parent.as_deref()?.rsplit_once('.')?;
        let number = number.parse().ok().filter(|number| (1..=4094).contains(number))?;
        (!link.is_empty()).then_some((link, number))
    }
}

impl Way {
    /// Whether the container has the MAC address of the link, so it can have no other.
    pub fn shares_hardware(self) -> bool {
        match self {
            Way::Macvlan(_) => self.is_for_one(),
            Way::Ipvlan(..) => true,
        }
    }

    /// Whether the link is one container's alone.
    pub fn is_for_one(self) -> bool {
        self == Way::Macvlan(MacvlanMode::Passthru)
    }

    /// Whether a link cannot have both. It has one mode and flag of ipvlan for all, the last that was
    /// set, and `passthru` takes all of it (`drivers/net/ipvlan`, `drivers/net/macvlan.c`).
    pub fn excludes(self, other: Way) -> bool {
        match (self, other) {
            (Way::Ipvlan(..), Way::Ipvlan(..)) => self != other,
            (Way::Macvlan(one), Way::Macvlan(other)) => {
                [one, other].contains(&MacvlanMode::Passthru)
            }
            (Way::Macvlan(_), Way::Ipvlan(..)) | (Way::Ipvlan(..), Way::Macvlan(_)) => true,
        }
    }

    /// Whether packets leave by the link itself, without a next hop.
    pub fn routes(self) -> bool {
        matches!(self, Way::Ipvlan(IpvlanMode::L3 | IpvlanMode::L3s, _))
    }
}

impl fmt::Display for Way {
    /// As `macvlan (bridge)`, `ipvlan (l2, private)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Way::Macvlan(mode) => write!(f, "macvlan ({})", name(&MacvlanMode::NAMES, mode)),
            Way::Ipvlan(mode, flag) => {
                let (mode, flag) = (name(&IpvlanMode::NAMES, mode), name(&IpvlanFlag::NAMES, flag));
                write!(f, "ipvlan ({mode}, {flag})")
            }
        }
    }
}

fn name<T: PartialEq>(names: &[(&'static str, T)], wanted: &T) -> &'static str {
    names.iter().find(|(_, value)| value == wanted).map_or("", |(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ways_that_a_link_has_one_at_a_time_exclude_each_other() {
        let macvlan = Way::Macvlan;
        let ipvlan = |mode| Way::Ipvlan(mode, IpvlanFlag::Bridge);
        let (bridge, private) = (macvlan(MacvlanMode::Bridge), macvlan(MacvlanMode::Private));
        let passthru = macvlan(MacvlanMode::Passthru);
        let (l2, l3) = (ipvlan(IpvlanMode::L2), ipvlan(IpvlanMode::L3));
        let private_l2 = Way::Ipvlan(IpvlanMode::L2, IpvlanFlag::Private);
        for (one, other) in
            [(bridge, bridge), (bridge, private), (l2, l2), (private_l2, private_l2)]
        {
            assert!(!one.excludes(other) && !other.excludes(one), "{one}, {other}");
        }
        let excluded =
            [(bridge, l2), (bridge, passthru), (passthru, passthru), (l2, l3), (l2, private_l2)];
        for (one, other) in excluded {
            assert!(one.excludes(other) && other.excludes(one), "{one}, {other}");
        }
        assert_eq!(
            (private.to_string(), l3.to_string()),
            ("macvlan (private)".into(), "ipvlan (l3, bridge)".into())
        );
    }

    #[test]
    fn a_vlan_is_told_by_its_name() {
        let vlan = |parent: &str| {
            let way = Way::Macvlan(MacvlanMode::Bridge);
            let beside = Beside { parent: Some(parent.to_owned()), way };
            beside.vlan().map(|(link, number)| (link.to_owned(), number))
        };
        assert_eq!(vlan("eth0.10"), Some(("eth0".to_owned(), 10)));
        assert_eq!(vlan("a.b.4094"), Some(("a.b".to_owned(), 4094)));
        for other in ["eth0", "eth0.", "eth0.0", "eth0.4095", ".7", "eth0.x"] {
            assert_eq!(vlan(other), None, "{other}");
        }
    }
}
