//! How a changed attribute of a service takes effect, by its path in the Compose Specification.

use super::{Class, row};

/// Where an attribute ends up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// In these fields of a container; the first is the usual one.
    Fields(&'static [&'static str]),
    /// In the name of a container, which no other can take over.
    Name,
    /// In how many containers there are; those that stay are not touched.
    Number,
    /// In other attributes, which have their own classes.
    Others,
    /// Each command reads it anew; no container has it.
    Commands,
}

use Way::{Commands, Fields, Name, Number, Others};

/// Attributes below a service, with all below them; the longest counts.
const ATTRIBUTES: &[(&str, Way)] = &[
    ("annotations", Fields(&["annotations"])),
    ("attach", Commands),
    ("blkio_config", Fields(&["blkio_config"])),
    ("cap_add", Fields(&["cap_add"])),
    ("cap_drop", Fields(&["cap_drop"])),
    ("cgroup", Fields(&["cgroup_host"])),
    ("cgroup_parent", Fields(&["cgroup_parent"])),
    ("command", Fields(&["command"])),
    ("configs", Fields(&["configs"])),
    ("container_name", Name),
    ("cpu_period", Fields(&["limits.cpu_period"])),
    ("cpu_quota", Fields(&["limits.cpus"])),
    ("cpu_rt_period", Fields(&["cpu_rt_period"])),
    ("cpu_rt_runtime", Fields(&["cpu_rt_runtime"])),
    ("cpu_shares", Fields(&["limits.cpu_shares"])),
    ("cpus", Fields(&["limits.cpus"])),
    ("cpuset", Fields(&["limits.cpuset"])),
    ("depends_on", Fields(&["depends_on"])),
    ("deploy.mode", Number),
    ("deploy.replicas", Number),
    ("deploy.resources.limits.cpus", Fields(&["limits.cpus"])),
    ("deploy.resources.limits.memory", Fields(&["limits.memory"])),
    ("deploy.resources.limits.pids", Fields(&["limits.pids"])),
    ("deploy.resources.reservations.devices", Fields(&["devices"])),
    ("deploy.resources.reservations.memory", Fields(&["limits.memory_reservation"])),
    ("deploy.restart_policy.condition", Fields(&["restart"])),
    ("deploy.restart_policy.delay", Fields(&["restart_pace"])),
    ("deploy.restart_policy.max_attempts", Fields(&["restart_pace", "restart"])),
    ("deploy.restart_policy.window", Fields(&["restart_pace"])),
    ("deploy.rollback_config", Commands),
    ("deploy.update_config", Commands),
    ("device_cgroup_rules", Fields(&["device_cgroup_rules"])),
    ("devices", Fields(&["devices"])),
    ("dns", Fields(&["dns"])),
    ("dns_opt", Fields(&["dns_opt"])),
    ("dns_search", Fields(&["dns_search"])),
    ("domainname", Fields(&["domainname"])),
    ("entrypoint", Fields(&["entrypoint"])),
    ("env_file", Fields(&["environment"])),
    ("environment", Fields(&["environment"])),
    ("expose", Fields(&["expose"])),
    ("extends", Others),
    ("external_links", Fields(&["links"])),
    ("extra_hosts", Fields(&["extra_hosts"])),
    ("gpus", Fields(&["devices"])),
    ("group_add", Fields(&["group_add"])),
    ("healthcheck", Fields(&["healthcheck"])),
    ("hostname", Fields(&["hostname"])),
    ("image", Fields(&["image"])),
    ("init", Fields(&["init"])),
    ("ipc", Fields(&["ipc"])),
    ("label_file", Fields(&["labels"])),
    ("labels", Fields(&["labels"])),
    ("links", Fields(&["links"])),
    ("logging.driver", Fields(&["logging.driver"])),
    (
        "logging.options",
        Fields(&["logging.max_size", "logging.max_files", "logging.forwarding", "logging.options"]),
    ),
    ("mac_address", Fields(&["networks"])),
    ("mem_limit", Fields(&["limits.memory"])),
    ("mem_reservation", Fields(&["limits.memory_reservation"])),
    ("mem_swappiness", Fields(&["mem_swappiness"])),
    ("memswap_limit", Fields(&["limits.memory_swap"])),
    ("network_mode", Fields(&["network_mode"])),
    ("networks", Fields(&["networks"])),
    ("oom_kill_disable", Fields(&["oom_kill_disable"])),
    ("oom_score_adj", Fields(&["limits.oom_score_adj"])),
    ("pid", Fields(&["pid"])),
    ("pids_limit", Fields(&["limits.pids"])),
    ("platform", Commands),
    ("ports", Fields(&["ports"])),
    ("ports[].app_protocol", Commands),
    ("ports[].mode", Commands),
    ("ports[].name", Commands),
    ("post_start", Fields(&["post_start"])),
    ("pre_start", Fields(&["pre_start"])),
    ("pre_stop", Fields(&["pre_stop"])),
    ("privileged", Fields(&["privileged"])),
    ("profiles", Commands),
    ("pull_policy", Commands),
    ("pull_refresh_after", Commands),
    ("read_only", Fields(&["read_only"])),
    ("restart", Fields(&["restart"])),
    ("runtime", Fields(&["runtime"])),
    ("scale", Number),
    ("secrets", Fields(&["secrets"])),
    ("security_opt", Fields(&["security_opt"])),
    ("shm_size", Fields(&["shm_size"])),
    ("stdin_open", Fields(&["stdin_open"])),
    ("stop_grace_period", Fields(&["stop_grace_period"])),
    ("stop_signal", Fields(&["stop_signal"])),
    ("storage_opt", Fields(&["storage_opt.size"])),
    ("sysctls", Fields(&["sysctls"])),
    ("tmpfs", Fields(&["tmpfs"])),
    ("tty", Fields(&["tty"])),
    ("ulimits", Fields(&["ulimits"])),
    ("user", Fields(&["user"])),
    ("userns_mode", Fields(&["userns"])),
    ("uts", Fields(&["uts"])),
    ("volumes", Fields(&["volumes", "tmpfs"])),
    ("volumes_from", Fields(&["volumes_from"])),
    ("working_dir", Fields(&["working_dir"])),
    ("x-berth.deadline", Commands),
    ("x-berth.on_change", Fields(&["on_change"])),
    ("x-berth.on_unhealthy", Fields(&["restart_unhealthy"])),
    ("x-berth.owner", Fields(&["owner"])),
    ("x-berth.privileged", Fields(&["contained"])),
    ("x-berth.ready", Fields(&["ready"])),
];

/// What becomes of a container when the attribute at `path` (`services.*.mem_limit`) changes, in
/// words that begin with its class. `None` for what only holds others, or is no container's.
pub fn when_changed(path: &str) -> Option<&'static str> {
    let path = path.strip_prefix("services.*.")?;
    if ["configs", "secrets"].contains(&path) {
        return Some(
            "replace: needs a new container; another content alone does what `x-berth.on_change` says",
        );
    }
    if path == "volumes" {
        return Some(
            "replace: needs a new container; another content of a file does what `x-berth.on_change` says",
        );
    }
    match way(path)? {
        Way::Fields(fields) => Some(match row(fields.first()?)?.1 {
            Class::Meta => "meta: noted in the record of the container, which runs on",
            Class::Live => "live: takes effect in the container that runs",
            Class::Restart => "restart: the container ends and starts again",
            Class::Replace => "replace: needs a new container",
        }),
        Way::Name => Some("replace: needs a new container, by the new name"),
        Way::Number => Some("meta: containers come or go, and the others run on"),
        Way::Commands => Some("meta: the next command goes by it, and containers run on"),
        Way::Others => None,
    }
}

/// Whether a changed field is one that the attribute of a service is led to.
pub(crate) fn concerns(attribute: &str, field: &str) -> bool {
    let below = |of: &str| {
        field.strip_prefix(of).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    matches!(way(attribute), Some(Way::Fields(fields)) if fields.iter().any(|of| below(of)))
}

fn way(path: &str) -> Option<Way> {
    let above = |attribute: &str| {
        let rest = path.strip_prefix(attribute);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
    };
    let found = ATTRIBUTES.iter().filter(|(attribute, _)| above(attribute));
    found.max_by_key(|(attribute, _)| attribute.len()).map(|(_, way)| *way)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use berth_schema::reference::{self, Class as Done};

    use super::super::FIELDS;
    use super::*;

    /// Attributes of a service that berth does, but for what only holds others.
    fn attributes() -> Vec<String> {
        let all = reference::all();
        let holds = |path: &str| {
            let below = [format!("{path}."), format!("{path}[]."), format!("{path}.*.")];
            all.iter().any(|other| below.iter().any(|below| other.path.starts_with(below)))
        };
        let known = |path: &str| ATTRIBUTES.iter().any(|(attribute, _)| *attribute == path);
        let done = all.iter().filter(|row| row.class == Done::Done);
        let own = done.filter_map(|row| Some((row, row.path.strip_prefix("services.*.")?)));
        let own = own.filter(|(row, path)| known(path) || !holds(&row.path));
        own.map(|(_, path)| path.to_owned()).collect()
    }

    #[test]
    fn every_attribute_of_a_service_has_a_class() {
        let without: Vec<String> =
            attributes().into_iter().filter(|path| way(path).is_none()).collect();
        assert!(without.is_empty(), "they need a row in ATTRIBUTES: {without:?}");
    }

    #[test]
    fn every_row_is_an_attribute_that_is_done_and_stands_once_and_in_order() {
        let known = attributes();
        for (attribute, _) in ATTRIBUTES {
            assert!(known.iter().any(|path| path == attribute), "{attribute} is not done");
        }
        assert!(ATTRIBUTES.is_sorted_by(|one, next| one.0 < next.0));
    }

    #[test]
    fn every_field_has_one_class_and_comes_from_an_attribute() {
        let fields = |way: &Way| match way {
            Way::Fields(fields) => *fields,
            Way::Name | Way::Number | Way::Others | Way::Commands => &[],
        };
        let named: BTreeSet<&str> =
            ATTRIBUTES.iter().flat_map(|(_, way)| fields(way)).copied().collect();
        let classed: BTreeSet<&str> = FIELDS.iter().map(|(field, ..)| *field).collect();
        assert_eq!(named, classed);
    }

    #[test]
    fn an_attribute_concerns_the_fields_it_is_led_to() {
        assert!(concerns("deploy.resources.reservations.memory", "limits.memory_reservation"));
        assert!(concerns("blkio_config.weight", "blkio_config"));
        assert!(concerns("ports", "ports"));
        assert!(!concerns("mem_reservation", "limits.memory"));
        assert!(!concerns("attach", "labels"));
    }

    #[test]
    fn what_is_below_an_attribute_goes_with_it_unless_it_has_its_own() {
        let word = |path: &str| {
            let words = when_changed(&format!("services.*.{path}"))?;
            words.split_once(':').map(|(class, _)| class)
        };
        assert_eq!(word("healthcheck.interval"), Some("live"));
        assert_eq!(word("ports[].target"), Some("live"));
        assert_eq!(word("ports[].name"), Some("meta"));
        assert_eq!(word("labels"), Some("meta"));
        assert_eq!(word("networks.*.aliases"), Some("live"));
        assert_eq!(word("cgroup_parent"), Some("replace"));
        assert_eq!(word("deploy.replicas"), Some("meta"));
        assert_eq!(word("deploy"), None);
        assert_eq!(when_changed("networks.*.driver"), None);
    }
}
