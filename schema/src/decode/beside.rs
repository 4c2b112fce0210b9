//! Networks of the drivers macvlan and ipvlan.

use super::endpoint::interface_name;
use super::grammar::choice;
use super::read::{Reader, is_on};
use crate::stack::{Beside, IpvlanFlag, IpvlanMode, MacvlanMode, NetworkDriver, Way};
use crate::tree::Node;
use crate::value;

impl Reader<'_> {
    /// How the network stands beside a link of the host, when its driver is one that does.
    pub(super) fn beside(&mut self, node: &Node, driver: NetworkDriver) -> Option<Beside> {
        let (name, known): (_, &[&str]) = match driver {
            NetworkDriver::Macvlan => ("macvlan", &["parent", "macvlan_mode"]),
            NetworkDriver::Ipvlan => ("ipvlan", &["parent", "ipvlan_mode", "ipvlan_flag"]),
            NetworkDriver::Bridge | NetworkDriver::Host | NetworkDriver::None => return None,
        };
        let (mut parent, mut macvlan) = (None, MacvlanMode::default());
        let (mut mode, mut flag) = (IpvlanMode::default(), IpvlanFlag::default());
        self.entries(node, "driver_opts", |reader, option, at| {
            match option {
                "parent" => parent = reader.value(at, interface_name),
                _ if !known.contains(&option) => {
                    let near = value::nearest(option, known.iter().copied());
                    let help = match near {
                        Some(near) => format!("did you mean `{near}`?"),
                        None => format!("take it away; there are `{}`", known.join("`, `")),
                    };
                    let why = format!("the network driver `{name}` has no such option");
                    reader.wrong(at, &why, help);
                }
                "macvlan_mode" => {
                    let read = |text: &str| choice(text, "a mode of macvlan", &MacvlanMode::NAMES);
                    macvlan = reader.value(at, read).unwrap_or_default();
                }
                "ipvlan_mode" => {
                    let read = |text: &str| choice(text, "a mode of ipvlan", &IpvlanMode::NAMES);
                    mode = reader.value(at, read).unwrap_or_default();
                }
                _ => {
                    let read = |text: &str| choice(text, "a flag of ipvlan", &IpvlanFlag::NAMES);
                    flag = reader.value(at, read).unwrap_or_default();
                }
            }
            Some(())
        });
        let way = match driver {
            NetworkDriver::Macvlan => Way::Macvlan(macvlan),
            _ => Way::Ipvlan(mode, flag),
        };
        let beside = Beside { parent, way };
        self.beside_what(node, name, &beside);
        Some(beside)
    }

    /// What such a network needs, and what it cannot have.
    fn beside_what(&mut self, node: &Node, name: &str, beside: &Beside) {
        let Some(parent) = &beside.parent else { return };
        let Some(at) = node.get("driver") else { return };
        let configs = node.at(&["ipam", "config"]).map(Node::items).unwrap_or_default();
        if !configs.iter().any(|config| config.get("subnet").is_some()) {
            let why = format!("a {name} network needs the subnet that `{parent}` leads to");
            let help = "add `ipam: {config: [{subnet: …, gateway: …}]}`, and an `ip_range` that \
                        nobody else there gives addresses from";
            self.wrong(at, &why, help.to_owned());
        }
        if is_on(node, "internal") {
            let why = format!("`{parent}` leads out of a network that is `internal`");
            self.wrong(at, &why, "take `internal` away, or `parent`".to_owned());
        }
    }
}
