//! How a changed field of a container takes effect: while it runs, or in a new one.

use std::cmp::Reverse;

use crate::cause::FieldChange;
use crate::desired::{ContainerSpec, EndpointSpec, NetworkMode};

/// How a changed field takes effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// While the container runs.
    Live,
    /// In a container made anew.
    Replace,
}

/// Fields that take effect while the container runs, by their paths in a [`FieldChange`]; what is
/// below them too. Everything else needs a container made anew.
const LIVE: [&str; 21] = [
    "blkio_config",
    "cpu_rt_period",
    "cpu_rt_runtime",
    "dns",
    "dns_opt",
    "dns_search",
    "extra_hosts",
    "limits.cpu_period",
    "limits.cpu_shares",
    "limits.cpus",
    "limits.cpuset",
    "limits.memory",
    "limits.memory_reservation",
    "limits.memory_swap",
    "limits.pids",
    "links",
    "mem_swappiness",
    "networks",
    "oom_kill_disable",
    "ports",
    "restart",
];

impl Class {
    /// The word for it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Class::Live => "live",
            Class::Replace => "replace",
        }
    }
}

/// How a change of one field takes effect when nothing else changes.
pub(crate) fn of_field(path: &str) -> Class {
    if is_live(path) { Class::Live } else { Class::Replace }
}

/// How these changes from one description to another take effect together.
pub(crate) fn class(
    changes: &[FieldChange],
    before: &ContainerSpec,
    after: &ContainerSpec,
) -> Class {
    let live = changes.iter().all(|change| is_live(&change.path));
    match live && keeps_its_links(before, after) {
        true => Class::Live,
        false => Class::Replace,
    }
}

/// Whether what it stays connected to keeps its links: their names go by their order, and without
/// any network it has no resolver.
fn keeps_its_links(before: &ContainerSpec, after: &ContainerSpec) -> bool {
    let order = |one: &ContainerSpec, other: &ContainerSpec| {
        let kept = one.networks.iter().filter(|(name, _)| other.networks.contains_key(*name));
        let mut kept: Vec<_> =
            kept.map(|(name, on)| (Reverse(on.priority), name.clone())).collect();
        kept.sort();
        kept.into_iter().map(|(_, name)| name).collect::<Vec<_>>()
    };
    let own_name = |(network, on): (&String, &EndpointSpec)| match before.networks.get(network) {
        Some(was) => was.interface_name == on.interface_name,
        None => on.interface_name.as_deref().is_none_or(|name| !may_have(before, name)),
    };
    // In the host's network its servers are in a file that is made of the host's at the start.
    let servers =
        |spec: &ContainerSpec| (spec.dns.clone(), spec.dns_search.clone(), spec.dns_opt.clone());
    let own_servers = before.network_mode != NetworkMode::Host || servers(before) == servers(after);
    own_servers
        && before.networks.is_empty() == after.networks.is_empty()
        && after.networks.iter().all(own_name)
        && order(before, after) == order(after, before)
}

/// Whether a link of this name may be there: one that asked for it, or that got a name with a number
/// behind whatever its network begins names with.
fn may_have(spec: &ContainerSpec, name: &str) -> bool {
    let mut asked = spec.networks.values().filter_map(|on| on.interface_name.as_deref());
    name.ends_with(|last: char| last.is_ascii_digit()) || asked.any(|asked| asked == name)
}

fn is_live(path: &str) -> bool {
    LIVE.iter().any(|live| {
        path.strip_prefix(live).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_live_with_what_is_below_it_and_no_other_of_a_longer_name() {
        assert!(is_live("limits.memory"));
        assert!(is_live("blkio_config.device_read_bps./dev/sda"));
        assert!(!is_live("restarts"));
        assert!(!is_live("limits"));
        assert!(!is_live("limits.oom_score_adj"));
    }

    #[test]
    fn an_order_of_links_that_stay_is_kept_or_the_container_made_anew() {
        let on = |networks: &[(&str, i32)]| {
            let endpoint = |priority| EndpointSpec { priority, ..EndpointSpec::default() };
            let networks = networks.iter().map(|(n, p)| (n.to_string(), endpoint(*p))).collect();
            ContainerSpec { networks, ..ContainerSpec::default() }
        };
        let both = on(&[("a", 0), ("b", 0)]);
        for (after, live) in [
            (on(&[("a", 1), ("b", 0)]), true),
            (on(&[("a", 0), ("b", 1)]), false),
            (on(&[("b", 0)]), true),
            (on(&[("0", 9), ("a", 0), ("b", 0)]), true),
            (on(&[("b", 1), ("c", 0)]), true),
            (on(&[]), false),
        ] {
            assert_eq!(class(&[], &both, &after) == Class::Live, live, "{after:?}");
        }
        let named = |mut spec: ContainerSpec, network: &str, name: &str| {
            let on = spec.networks.entry(network.to_owned()).or_default();
            on.interface_name = Some(name.to_owned());
            spec
        };
        for (network, name, live) in
            [("a", "wan", false), ("c", "wan", true), ("c", "eth0", false), ("c", "lan0", false)]
        {
            let after = named(both.clone(), network, name);
            assert_eq!(class(&[], &both, &after) == Class::Live, live, "{network} as {name}");
        }
        let (old, new) = (named(on(&[]), "old", "wan"), named(on(&[]), "new", "wan"));
        assert_eq!(class(&[], &old, &new), Class::Replace);
        assert_eq!(class(&[], &old, &named(on(&[]), "new", "dmz")), Class::Live);
    }
}
