//! How a changed field of a container takes effect: while it runs, or in a new one.

use crate::cause::FieldChange;

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
const LIVE: [&str; 14] = [
    "blkio_config",
    "cpu_rt_period",
    "cpu_rt_runtime",
    "limits.cpu_period",
    "limits.cpu_shares",
    "limits.cpus",
    "limits.cpuset",
    "limits.memory",
    "limits.memory_reservation",
    "limits.memory_swap",
    "limits.pids",
    "mem_swappiness",
    "oom_kill_disable",
    "restart",
];

/// How these changes take effect together.
pub(crate) fn class(changes: &[FieldChange]) -> Class {
    match changes.iter().all(|change| is_live(&change.path)) {
        true => Class::Live,
        false => Class::Replace,
    }
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
}
