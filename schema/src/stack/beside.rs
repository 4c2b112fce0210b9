//! Networks beside a link of the host: macvlan and ipvlan.

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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// With a MAC address of its own.
    Macvlan(MacvlanMode),
    /// With the MAC address of the link.
    Ipvlan(IpvlanMode, IpvlanFlag),
}

/// Which of its neighbours on the same link a container reaches.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
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
            Way::Macvlan(mode) => mode == MacvlanMode::Passthru,
            Way::Ipvlan(..) => true,
        }
    }

    /// Whether packets leave by the link itself, without a next hop.
    pub fn routes(self) -> bool {
        matches!(self, Way::Ipvlan(IpvlanMode::L3 | IpvlanMode::L3s, _))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
