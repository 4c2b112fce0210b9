//! How a changed field of a container takes effect: in its record, while it runs, or in a new one.

mod attributes;

use std::cmp::Reverse;
use std::path::Path;

use berth_schema::stack::{LogDriver, Logging, OnChange};
use serde::Serialize;

use crate::cause::FieldChange;
use crate::desired::{ContainerSpec, EndpointSpec, IpcSpace, NetworkMode};
use crate::hidden;

pub(crate) use attributes::concerns;
pub use attributes::when_changed;

/// How a changed field takes effect; what changes together takes the last of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    /// In what berth has written down about the container: nothing that runs hears of it.
    Meta,
    /// While the container runs.
    Live,
    /// In the same container, when it has ended and starts again.
    Restart,
    /// In a container made anew.
    Replace,
}

/// Whether a field is of its class, going from one description to another; if not, it needs a new
/// container.
type Holds = fn(&str, &ContainerSpec, &ContainerSpec) -> bool;

/// Fields by their paths in a [`FieldChange`], with what is below them; the longest counts.
const FIELDS: [(&str, Class, Holds); 79] = [
    ("annotations", Class::Meta, no_runtime),
    ("blkio_config", Class::Live, always),
    ("cap_add", Class::Replace, always),
    ("cap_drop", Class::Replace, always),
    ("cgroup_host", Class::Replace, always),
    ("cgroup_parent", Class::Replace, always),
    ("command", Class::Replace, always),
    ("configs", Class::Replace, always),
    ("contained", Class::Replace, always),
    ("cpu_rt_period", Class::Live, always),
    ("cpu_rt_runtime", Class::Live, always),
    ("depends_on", Class::Meta, always),
    ("device_cgroup_rules", Class::Replace, always),
    ("devices", Class::Replace, always),
    ("dns", Class::Live, always),
    ("dns_opt", Class::Live, always),
    ("dns_search", Class::Live, always),
    ("domainname", Class::Replace, always),
    ("entrypoint", Class::Replace, always),
    ("environment", Class::Replace, always),
    ("expose", Class::Meta, always),
    ("extra_hosts", Class::Live, always),
    ("group_add", Class::Replace, always),
    ("healthcheck", Class::Live, always),
    ("hostname", Class::Replace, always),
    ("image", Class::Replace, always),
    ("init", Class::Replace, always),
    ("ipc", Class::Replace, always),
    ("labels", Class::Meta, not_forwarded),
    ("limits.cpu_period", Class::Live, always),
    ("limits.cpu_shares", Class::Live, always),
    ("limits.cpus", Class::Live, always),
    ("limits.cpuset", Class::Live, always),
    ("limits.memory", Class::Live, always),
    ("limits.memory_reservation", Class::Live, always),
    ("limits.memory_swap", Class::Live, always),
    ("limits.oom_score_adj", Class::Live, always),
    ("limits.pids", Class::Live, always),
    ("links", Class::Live, always),
    ("logging.driver", Class::Meta, to_the_same_files),
    ("logging.forwarding", Class::Replace, always),
    ("logging.max_files", Class::Live, always),
    ("logging.max_size", Class::Live, always),
    ("logging.options", Class::Replace, always),
    ("mem_swappiness", Class::Live, always),
    ("network_mode", Class::Replace, always),
    ("networks", Class::Live, always),
    ("on_change", Class::Meta, always),
    ("oom_kill_disable", Class::Live, always),
    ("owner", Class::Replace, always),
    ("pid", Class::Replace, always),
    ("ports", Class::Live, always),
    ("post_start", Class::Replace, always),
    ("pre_start", Class::Replace, always),
    ("pre_stop", Class::Live, equally_privileged),
    ("privileged", Class::Replace, always),
    ("read_only", Class::Replace, always),
    ("ready", Class::Live, always),
    ("restart", Class::Live, always),
    ("restart_pace", Class::Live, always),
    ("restart_unhealthy", Class::Live, always),
    ("runtime", Class::Replace, always),
    ("secrets", Class::Replace, always),
    ("security_opt", Class::Replace, always),
    ("shm_size", Class::Live, its_own_memory),
    ("stdin_open", Class::Replace, always),
    ("stop_grace_period", Class::Live, always),
    ("stop_signal", Class::Live, always),
    ("storage_opt.size", Class::Replace, always),
    ("sysctls", Class::Live, of_its_network),
    ("tmpfs", Class::Live, resized),
    ("tty", Class::Replace, always),
    ("ulimits", Class::Live, raised),
    ("user", Class::Replace, always),
    ("userns", Class::Replace, always),
    ("uts", Class::Replace, always),
    ("volumes", Class::Replace, always),
    ("volumes_from", Class::Replace, always),
    ("working_dir", Class::Replace, always),
];

impl Class {
    /// The word for it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Class::Meta => "meta",
            Class::Live => "live",
            Class::Restart => "restart",
            Class::Replace => "replace",
        }
    }
}

/// How a change of one field takes effect when nothing else changes.
pub(crate) fn of_field(path: &str, before: &ContainerSpec, after: &ContainerSpec) -> Class {
    if hidden::is_content(path) {
        return of_content(path, before, after);
    }
    match row(path) {
        Some((_, class, holds)) if holds(path, before, after) => *class,
        Some(_) | None => Class::Replace,
    }
}

/// Another content of a config, a secret or a file that is mounted takes effect as its service says, if it is where it was.
fn of_content(path: &str, before: &ContainerSpec, after: &ContainerSpec) -> Class {
    let target = path.split_once('.').and_then(|(_, rest)| rest.strip_suffix(".content"));
    let has = |spec: &ContainerSpec| match hidden::bound_file(path) {
        Some(file) => spec.bound_files.0.contains_key(Path::new(file)),
        None => spec.files.iter().any(|file| Some(&*file.target) == target),
    };
    match &after.on_change {
        _ if !has(before) || !has(after) => Class::Replace,
        OnChange::None | OnChange::Signal(_) => Class::Live,
        OnChange::Restart => Class::Restart,
        OnChange::Replace => Class::Replace,
    }
}

/// How these changes from one description to another take effect together.
pub(crate) fn class(
    changes: &[FieldChange],
    before: &ContainerSpec,
    after: &ContainerSpec,
) -> Class {
    let classes = changes.iter().map(|change| change.class.unwrap_or(Class::Replace));
    let class = classes.max().unwrap_or(Class::Replace);
    if keeps_its_links(before, after) { class } else { Class::Replace }
}

fn row(path: &str) -> Option<&'static (&'static str, Class, Holds)> {
    let above = |field: &str| {
        path.strip_prefix(field).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    FIELDS.iter().filter(|(field, ..)| above(field)).max_by_key(|(field, ..)| field.len())
}

fn always(_: &str, _: &ContainerSpec, _: &ContainerSpec) -> bool {
    true
}

/// An OCI runtime is told them when it makes the container.
fn no_runtime(_: &str, before: &ContainerSpec, after: &ContainerSpec) -> bool {
    before.runtime.is_none() && after.runtime.is_none()
}

/// Lines are marked with labels as those are at the start.
fn not_forwarded(_: &str, before: &ContainerSpec, after: &ContainerSpec) -> bool {
    let forwarding = [before, after].map(|spec| spec.logging.forwarding.as_ref());
    forwarding.into_iter().flatten().all(|forwarding| forwarding.labels.is_empty())
}

fn to_the_same_files(_: &str, before: &ContainerSpec, after: &ContainerSpec) -> bool {
    let ours = |logging: &Logging| matches!(logging.driver, LogDriver::Local | LogDriver::JsonFile);
    ours(&before.logging) && ours(&after.logging)
}

/// A container with a command that gets every capability has its mounts put together otherwise.
fn equally_privileged(_: &str, before: &ContainerSpec, after: &ContainerSpec) -> bool {
    let any = |spec: &ContainerSpec| spec.pre_stop.iter().any(|hook| hook.privileged);
    any(before) == any(after)
}

/// What is less than before may be less than is used, and what was not set is not known. Not every root
/// may raise a hard limit.
fn raised(path: &str, before: &ContainerSpec, after: &ContainerSpec) -> bool {
    let limits = |spec: &ContainerSpec| {
        let name = path.strip_prefix("ulimits.")?;
        let (soft, hard) = spec.ulimits.get(name)?;
        // A negative one is none.
        let most = |limit: &i64| u64::try_from(*limit).unwrap_or(u64::MAX);
        Some((most(soft), most(hard)))
    };
    let (before, after) = (limits(before), limits(after));
    matches!((before, after), (Some(old), Some(new)) if new.0 >= old.0 && new.1 == old.1)
}

/// What is not set any more has a value that nobody knows, and so has what is set of a link that comes
/// with it.
fn of_its_network(path: &str, before: &ContainerSpec, after: &ContainerSpec) -> bool {
    let key = path.strip_prefix("sysctls.").unwrap_or_default();
    let own = matches!(before.network_mode, NetworkMode::Bridge | NetworkMode::None);
    let comes = after.networks.keys().any(|network| !before.networks.contains_key(network));
    let new = is_of_a_link(key) && !before.sysctls.contains_key(key);
    own && (key.starts_with("net.") || key.starts_with("net/"))
        && after.sysctls.contains_key(key)
        && !(new && comes)
}

/// Whether a setting is one link's, as `net.ipv4.conf.eth0.rp_filter`.
fn is_of_a_link(key: &str) -> bool {
    let separator = if key.starts_with("net/") { '/' } else { '.' };
    let parts: Vec<&str> = key.split(separator).collect();
    let [_, "ipv4" | "ipv6", "conf" | "neigh", link, ..] = parts[..] else { return false };
    !["all", "default", "lo"].contains(&link)
}

/// An OCI runtime has made it in its own way.
fn its_own_memory(_: &str, before: &ContainerSpec, after: &ContainerSpec) -> bool {
    no_runtime("", before, after) && matches!(before.ipc, IpcSpace::Own | IpcSpace::Shareable)
}

/// The kernel limits none that was made without a limit.
fn resized(path: &str, before: &ContainerSpec, after: &ContainerSpec) -> bool {
    let target = path.strip_prefix("tmpfs.").and_then(|rest| rest.strip_suffix(".size"));
    let limited = |spec: &ContainerSpec| {
        spec.tmpfs.iter().any(|it| Some(it.target.as_str()) == target && it.size.is_some())
    };
    no_runtime("", before, after) && limited(before) && limited(after)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn alone(path: &str) -> Class {
        of_field(path, &ContainerSpec::default(), &ContainerSpec::default())
    }

    #[test]
    fn a_field_has_its_class_with_what_is_below_it_and_no_other_of_a_longer_name() {
        assert_eq!(alone("limits.memory"), Class::Live);
        assert_eq!(alone("blkio_config.device_read_bps./dev/sda"), Class::Live);
        assert_eq!(alone("labels.com.example.tier"), Class::Meta);
        assert_eq!(alone("restarts"), Class::Replace);
        assert_eq!(alone("limits"), Class::Replace);
    }

    #[test]
    fn fields_stand_once_and_in_order() {
        assert!(FIELDS.is_sorted_by(|one, next| one.0 < next.0));
    }

    fn changed() -> FieldChange {
        FieldChange {
            path: "networks".into(),
            before: None,
            after: None,
            class: Some(Class::Live),
            place: None,
            sensitive: false,
        }
    }

    #[test]
    fn a_setting_of_a_link_that_comes_with_it_needs_a_new_container() {
        let with = |networks: &[&str], key: &str| ContainerSpec {
            networks: networks.iter().map(|n| (n.to_string(), EndpointSpec::default())).collect(),
            sysctls: [(key.to_owned(), "0".to_owned())].into(),
            ..ContainerSpec::default()
        };
        let old = with(&["front"], "net.core.somaxconn");
        for (networks, key, class) in [
            (&["front", "back"][..], "net.ipv4.conf.lan.rp_filter", Class::Replace),
            (&["front", "back"], "net/ipv6/neigh/lan.1/mcast_solicit", Class::Replace),
            (&["front", "back"], "net.ipv4.conf.all.rp_filter", Class::Live),
            (&["front", "back"], "net.ipv4.ip_forward", Class::Live),
            (&["front"], "net.ipv4.conf.eth0.rp_filter", Class::Live),
        ] {
            let after = with(networks, key);
            assert_eq!(of_field(&format!("sysctls.{key}"), &old, &after), class, "{key}");
        }
        let kept = with(&["front"], "net.ipv4.conf.eth0.rp_filter");
        let after = with(&["front", "back"], "net.ipv4.conf.eth0.rp_filter");
        assert_eq!(of_field("sysctls.net.ipv4.conf.eth0.rp_filter", &kept, &after), Class::Live);
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
            assert_eq!(class(&[changed()], &both, &after) == Class::Live, live, "{after:?}");
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
            assert_eq!(
                class(&[changed()], &both, &after) == Class::Live,
                live,
                "{network} as {name}"
            );
        }
        let (old, new) = (named(on(&[]), "old", "wan"), named(on(&[]), "new", "wan"));
        assert_eq!(class(&[changed()], &old, &new), Class::Replace);
        assert_eq!(class(&[changed()], &old, &named(on(&[]), "new", "dmz")), Class::Live);
    }
}
