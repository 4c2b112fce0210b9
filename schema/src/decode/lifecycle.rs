//! When containers are started, probed and started again, and how many there are.

use std::collections::BTreeMap;

use super::read::{Reader, command, entries, flag, int, number, time};
use crate::stack::{Condition, Dependency, Healthcheck, RestartPolicy};
use crate::tree::Node;
use crate::value::Bad;
use crate::words::restart;

impl Reader<'_> {
    pub(super) fn healthcheck(&mut self, node: &Node) -> Healthcheck {
        let test = command(node, "test").filter(|test| !test.is_empty());
        let none = test.as_ref().is_some_and(|test| test[0] == "NONE");
        Healthcheck {
            test,
            interval: time(node, "interval"),
            timeout: time(node, "timeout"),
            start_period: time(node, "start_period"),
            start_interval: time(node, "start_interval"),
            retries: number(node, "retries"),
            disable: none || flag(node, "disable").unwrap_or_default(),
        }
    }

    pub(super) fn restart(&mut self, node: &Node, path: &str) -> RestartPolicy {
        if let Some(policy) = node.at(&["deploy", "restart_policy"]) {
            let attempts = number(policy, "max_attempts").unwrap_or_default();
            return match policy.get_text("condition") {
                Some("none") => RestartPolicy::No,
                Some("on-failure") => RestartPolicy::OnFailure(attempts),
                Some("unless-stopped") => RestartPolicy::UnlessStopped,
                _ => RestartPolicy::Always,
            };
        }
        self.read(node, "restart", path, restart).unwrap_or_default()
    }

    pub(super) fn replicas(&mut self, node: &Node, path: &str) -> u32 {
        if let Some(mode) = node.at(&["deploy", "mode"])
            && !matches!(mode.as_text(), Some("replicated" | "global"))
        {
            let help = Some("write `replicated`, or take it away".to_owned());
            self.bad(
                mode,
                &format!("{path}.deploy.mode"),
                Bad { why: "is not a mode here".into(), help },
            );
        }
        let count = node.at(&["deploy", "replicas"]).or_else(|| node.get("scale"));
        count.map_or(1, |count| int(count).unwrap_or(u32::MAX))
    }
}

pub(super) fn depends_on(node: &Node) -> BTreeMap<String, Dependency> {
    entries(node, "depends_on", |_, node| Dependency {
        condition: match node.get_text("condition") {
            Some("service_healthy") => Condition::ServiceHealthy,
            Some("service_completed_successfully") => Condition::ServiceCompletedSuccessfully,
            _ => Condition::ServiceStarted,
        },
        restart: flag(node, "restart").unwrap_or_default(),
        required: flag(node, "required").unwrap_or(true),
    })
}
