//! What a container may use.

use std::collections::BTreeMap;

use super::read::{Reader, entries, int, number};
use crate::stack::Limits;
use crate::tree::{Node, Value};
use crate::value::Bad;
use crate::words::cpuset;

impl Reader<'_> {
    pub(super) fn limits(&mut self, node: &Node, path: &str) -> Limits {
        let limits = node.at(&["deploy", "resources", "limits"]);
        let reserved = node.at(&["deploy", "resources", "reservations"]);
        let either = |name: &str, group: Option<&Node>, inner: &str| -> Option<Node> {
            node.get(name).or_else(|| group?.get(inner)).cloned()
        };
        let cpus = match either("cpus", limits, "cpus").map(|node| node.value) {
            Some(Value::Float(cpus)) if cpus > 0.0 => Some((cpus * 1e6).round() as u64),
            _ => cpu_quota(node),
        };
        let positive = |value: Option<u64>| value.filter(|value| *value > 0);
        let memory = positive(either("mem_limit", limits, "memory").as_ref().and_then(int));
        let memory_swap: Option<i64> = number(node, "memswap_limit").filter(|swap| *swap != 0);
        if let (Some(swap), Some(at)) = (memory_swap, node.get("memswap_limit"))
            && swap > 0
            && memory.is_none_or(|memory| (swap as u64) < memory)
        {
            let why =
                "is memory and swap together, and there is less of it than `mem_limit`".to_owned();
            let help = Some("set `mem_limit` to no more than it".to_owned());
            self.bad(at, &format!("{path}.memswap_limit"), Bad { why, help });
        }
        Limits {
            memory,
            memory_swap,
            memory_reservation: positive(
                either("mem_reservation", reserved, "memory").as_ref().and_then(int),
            ),
            cpu_micros: cpus,
            cpu_shares: number(node, "cpu_shares").filter(|shares: &u64| *shares > 0),
            cpuset: self.read(node, "cpuset", path, cpuset),
            pids: either("pids_limit", limits, "pids")
                .as_ref()
                .and_then(int)
                .filter(|pids| *pids != 0),
            oom_score_adj: number(node, "oom_score_adj"),
        }
    }
}

pub(super) fn ulimits(node: &Node) -> BTreeMap<String, (i64, i64)> {
    let limit = |node: &Node, name| number(node, name).unwrap_or(-1);
    entries(node, "ulimits", |_, node| match int(node) {
        Some(both) => (both, both),
        None => (limit(node, "soft"), limit(node, "hard")),
    })
}

fn cpu_quota(node: &Node) -> Option<u64> {
    let quota: u64 = number(node, "cpu_quota").filter(|quota| *quota > 0)?;
    let period: u64 = number(node, "cpu_period").filter(|period| *period > 0).unwrap_or(100_000);
    Some(quota.saturating_mul(1_000_000) / period)
}
