//! What `deploy` says beyond limits and numbers.

use std::collections::BTreeMap;

use super::grammar::choice;
use super::read::{Reader, fraction, number, text, text_map, texts, time};
use crate::stack::{
    Deploy, DeployMode, EndpointMode, FailureAction, Placement, RestartCondition, RestartRule,
    Rollout, RolloutOrder,
};
use crate::tree::{Node, Value};
use crate::value::{Bad, bad};

impl Reader<'_> {
    pub(super) fn deploy(&mut self, node: &Node) -> Deploy {
        let reserved = node.at(&["resources", "reservations"]);
        Deploy {
            mode: self.read(node, "mode", mode).unwrap_or_default(),
            endpoint_mode: self.read(node, "endpoint_mode", endpoint_mode),
            labels: text_map(node, "labels"),
            update: self.get(node, "update_config", |r, node| Some(r.rollout(node, true))),
            rollback: self.get(node, "rollback_config", |r, node| Some(r.rollout(node, false))),
            placement: self
                .get(node, "placement", |r, node| Some(r.placement(node)))
                .unwrap_or_default(),
            restart: self.get(node, "restart_policy", |r, node| Some(r.restart_rule(node))),
            reserved_cpu_micros: reserved.and_then(reserved_cpus),
            generic_resources: reserved.map(generic_resources).unwrap_or_default(),
        }
    }

    fn rollout(&mut self, node: &Node, update: bool) -> Rollout {
        Rollout {
            parallelism: self.within(node, "parallelism", 0..=u32::MAX, " containers"),
            delay: time(node, "delay"),
            on_failure: self.read(node, "failure_action", |text| failure_action(text, update)),
            monitor: time(node, "monitor"),
            max_failure_ratio: fraction(node, "max_failure_ratio"),
            order: self.read(node, "order", rollout_order),
        }
    }

    fn placement(&mut self, node: &Node) -> Placement {
        let preferences = node.get("preferences").map(Node::items).unwrap_or_default();
        Placement {
            constraints: texts(node, "constraints"),
            spread: preferences.iter().filter_map(|item| text(item, "spread")).collect(),
            max_replicas_per_node: self
                .within(node, "max_replicas_per_node", 0..=u32::MAX, " containers")
                .filter(|most| *most > 0),
        }
    }

    fn restart_rule(&mut self, node: &Node) -> RestartRule {
        RestartRule {
            condition: match node.get_text("condition") {
                Some("none") => RestartCondition::None,
                Some("on-failure") => RestartCondition::OnFailure,
                Some("unless-stopped") => RestartCondition::UnlessStopped,
                _ => RestartCondition::Any,
            },
            delay: time(node, "delay"),
            max_attempts: self.within(node, "max_attempts", 0..=u32::MAX, " attempts"),
            window: time(node, "window"),
        }
    }
}

fn mode(text: &str) -> Result<DeployMode, Bad> {
    match text {
        "replicated" | "" => Ok(DeployMode::Replicated),
        "global" => Ok(DeployMode::Global),
        _ => bad("is not a mode here", "write `replicated`, or take it away"),
    }
}

fn endpoint_mode(text: &str) -> Result<EndpointMode, Bad> {
    let words = [("vip", EndpointMode::Vip), ("dnsrr", EndpointMode::Dnsrr)];
    choice(text, "an endpoint mode", &words)
}

fn failure_action(text: &str, update: bool) -> Result<FailureAction, Bad> {
    let words = [
        ("continue", FailureAction::Continue),
        ("pause", FailureAction::Pause),
        ("rollback", FailureAction::Rollback),
    ];
    let words = if update { &words[..] } else { &words[..2] };
    choice(text, "an action here", words)
}

fn rollout_order(text: &str) -> Result<RolloutOrder, Bad> {
    let words =
        [("start-first", RolloutOrder::StartFirst), ("stop-first", RolloutOrder::StopFirst)];
    choice(text, "an order", &words)
}

fn reserved_cpus(reserved: &Node) -> Option<u64> {
    match reserved.get("cpus")?.value {
        Value::Float(cpus) if cpus > 0.0 => Some((cpus * 1e6).round() as u64),
        _ => None,
    }
}

fn generic_resources(reserved: &Node) -> BTreeMap<String, u64> {
    let items = reserved.get("generic_resources").map(Node::items).unwrap_or_default();
    let resource = |item: &Node| {
        let spec = item.get("discrete_resource_spec")?;
        let count = match spec.get("value")?.value {
            Value::Float(count) if count >= 0.0 => count as u64,
            _ => number(spec, "value")?,
        };
        Some((text(spec, "kind")?, count))
    };
    items.iter().filter_map(resource).collect()
}
