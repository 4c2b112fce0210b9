//! What of a container's connection to the network can change while it runs.

use berth_planner::desired::PortSpec;
use serde::{Deserialize, Serialize};

use super::{Bundle, Dns, Link, Network};

/// Links, names and ports of a container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wiring {
    /// Where the network comes from.
    pub network: Network,
    /// Names and servers its resolver uses.
    pub dns: Dns,
    /// Ports that are reserved on the host and published.
    pub ports: Vec<PortSpec>,
}

impl Wiring {
    /// That of a bundle.
    pub fn of(bundle: &Bundle) -> Wiring {
        let Bundle { network, dns, ports, .. } = bundle;
        Wiring { network: network.clone(), dns: dns.clone(), ports: ports.clone() }
    }

    /// The bundle with this in place of its own.
    #[must_use]
    pub fn in_place(self, bundle: &Bundle) -> Bundle {
        let Wiring { network, dns, ports } = self;
        Bundle { network, dns, ports, rewiring: None, ..bundle.clone() }
    }

    /// The same for a container that has `links`: a network it stays on keeps the name of its
    /// link, and a new one takes no name that is in use.
    #[must_use]
    pub fn fitted(mut self, links: &[Link]) -> Wiring {
        let Network::Own(wanted) = &mut self.network else { return self };
        let kept = |network: &str| links.iter().find(|link| link.network == network);
        let mut used: Vec<String> = links.iter().map(|link| link.name.clone()).collect();
        for link in wanted {
            match kept(&link.network) {
                Some(has) => link.name.clone_from(&has.name),
                None => {
                    if used.contains(&link.name) {
                        let mut free = (0..).map(|number| format!("eth{number}"));
                        link.name = free.find(|name| !used.contains(name)).unwrap_or_default();
                    }
                    used.push(link.name.clone());
                }
            }
        }
        self
    }
}

/// The links of a network namespace of its own.
pub fn links(network: &Network) -> &[Link] {
    match network {
        Network::Own(links) => links,
        Network::Host | Network::Container(_) => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(network: &str, name: &str) -> Link {
        Link { network: network.into(), name: name.into(), ..Link::default() }
    }

    fn fitted(wanted: &[(&str, &str)], has: &[(&str, &str)]) -> Vec<String> {
        let links = |all: &[(&str, &str)]| all.iter().map(|(n, l)| link(n, l)).collect::<Vec<_>>();
        let wiring = Wiring { network: Network::Own(links(wanted)), ..Wiring::default() };
        let fitted = wiring.fitted(&links(has));
        super::links(&fitted.network).iter().map(|link| link.name.clone()).collect()
    }

    #[test]
    fn a_link_that_stays_keeps_its_name_and_a_new_one_takes_a_free_one() {
        let wanted = [("a", "eth0"), ("b", "eth1")];
        assert_eq!(fitted(&wanted, &[("b", "eth0")]), ["eth1", "eth0"]);
        assert_eq!(fitted(&wanted, &[("c", "eth0"), ("b", "eth1")]), ["eth2", "eth1"]);
        assert_eq!(fitted(&wanted, &[("b", "eth3")]), ["eth0", "eth3"]);
        assert_eq!(fitted(&wanted, &[]), ["eth0", "eth1"]);
        assert_eq!(fitted(&[("a", "eth0"), ("b", "wan")], &[("a", "eth0")]), ["eth0", "wan"]);
    }
}
