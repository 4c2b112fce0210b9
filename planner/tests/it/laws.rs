//! Laws that hold for every stack.

use std::collections::{BTreeMap, BTreeSet};

use berth_planner::action::Action;
use berth_planner::desired::Desired;
use berth_planner::observed::{
    ContainerState, Health, Leftover, MovedLimit, Observed, ObservedContainer,
};
use berth_planner::rollout::{Order, choose};
use berth_planner::views::why::{Scene, why};
use berth_planner::views::{Language, diff, graph, ops};
use berth_planner::{DownOptions, Known, Plan, UpOptions, down, up};
use berth_schema::stack::Places;
use proptest::prelude::*;

use crate::checker::judge;
use crate::drawings;
use crate::host::{Break, FakeHost, active, has_ended};
use crate::stacks::{DrawnStack, desired, drawn, edits, live};

fn cases() -> ProptestConfig {
    ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() }
}

fn plan(desired: &Desired, host: &FakeHost) -> Plan {
    let options = UpOptions { remove_orphans: true, ..UpOptions::default() };
    let plan = up(desired, &host.observed, &options, &Places::default());
    let plan = plan.unwrap_or_else(|problems| panic!("no plan: {problems}\n{desired:#?}"));
    judge(&plan, Some(desired), &host.observed);
    let removes_data = |action: &Action| matches!(action, Action::RemoveVolume { .. });
    assert!(!plan.steps.iter().any(|step| removes_data(&step.action)), "{plan}");
    plan
}

/// Nothing is left to do, but for services that ended by themselves and run again at each `up`, once
/// those are healthy that nobody had to wait for before.
fn assert_done(drawn: &DrawnStack, desired: &Desired, host: &FakeHost) {
    let plan = plan(desired, host);
    let one_shots = drawn.one_shots();
    for step in &plan.steps {
        let (Action::StartContainer { name } | Action::AwaitContainer { name, .. }) = &step.action
        else {
            panic!("still to do:\n{plan}");
        };
        let have = &host.observed.containers[name];
        let waits = matches!(step.action, Action::AwaitContainer { .. });
        let is_new = waits && have.health == Health::Starting;
        assert!(is_new || one_shots.contains(&have.record.service), "still to do:\n{plan}");
    }
    assert_eq!(host.stale(), Vec::<String>::new(), "connected to what is gone");
    let wanted: u32 = desired.services.values().map(|service| service.replicas).sum();
    assert_eq!(host.observed.containers.len(), wanted as usize);
    for container in host.observed.containers.values() {
        let service = &container.record.service;
        assert_eq!(container.record.spec, desired.services[service].container);
        assert!(active(container) || one_shots.contains(service), "{service} does not run");
    }
    assert_eq!(host.observed.leftovers, BTreeSet::new());
}

/// Something that happens to a host while nobody looks.
#[derive(Debug, Clone)]
pub enum Drift {
    Exits(usize),
    Vanishes(usize),
    LosesMonitor(usize),
    Breaks(usize),
    IsPaused(usize),
    IsUnhealthy(usize),
    Restarts(usize),
    IsHeld(usize),
    HasOtherLimits(usize),
    IsHalfChanged(usize),
    IsLeftBehind(usize),
    IsUnplugged(usize),
    ImageMoves(u8),
    BridgeGone(u8),
    RulesGone(u8),
    NetworkGone(u8),
    Leftover(u8),
    Reboot,
}

pub fn drifts() -> impl Strategy<Value = Vec<Drift>> {
    let drift = prop_oneof![
        (0..20usize).prop_map(Drift::Exits),
        (0..20usize).prop_map(Drift::Vanishes),
        (0..20usize).prop_map(Drift::LosesMonitor),
        (0..20usize).prop_map(Drift::Breaks),
        (0..20usize).prop_map(Drift::IsPaused),
        (0..20usize).prop_map(Drift::IsUnhealthy),
        (0..20usize).prop_map(Drift::Restarts),
        (0..20usize).prop_map(Drift::IsHeld),
        (0..20usize).prop_map(Drift::HasOtherLimits),
        (0..20usize).prop_map(Drift::IsHalfChanged),
        (0..20usize).prop_map(Drift::IsLeftBehind),
        (0..20usize).prop_map(Drift::IsUnplugged),
        (0..3u8).prop_map(Drift::ImageMoves),
        (0..3u8).prop_map(Drift::BridgeGone),
        (0..3u8).prop_map(Drift::RulesGone),
        (0..3u8).prop_map(Drift::NetworkGone),
        (0..3u8).prop_map(Drift::Leftover),
        Just(Drift::Reboot),
    ];
    prop::collection::vec(drift, 0..4)
}

impl Drift {
    pub fn happen(&self, host: &mut FakeHost) {
        let names: Vec<String> = host.observed.containers.keys().cloned().collect();
        let name = |at: &usize| names.get(at % names.len().max(1)).cloned().unwrap_or_default();
        let exited = ContainerState::Exited { exit_code: 1, finished_at: 0 };
        match self {
            Drift::Exits(at) => set_state(host, &name(at), exited),
            Drift::Vanishes(at) => drop(host.observed.containers.remove(&name(at))),
            Drift::LosesMonitor(at) => {
                if let Some(container) = host.observed.containers.get_mut(&name(at)) {
                    container.monitored = false;
                }
            }
            Drift::IsPaused(at) => {
                running(host, &name(at)).into_iter().for_each(|c| c.paused = true);
            }
            Drift::IsUnhealthy(at) => {
                let container = host.observed.containers.get_mut(&name(at));
                if let Some(container) = container.filter(|c| active(c) && c.monitored) {
                    container.health = Health::Unhealthy;
                }
            }
            Drift::Restarts(at) => {
                let container = host.observed.containers.get_mut(&name(at));
                if let Some(container) = container.filter(|c| active(c) && c.monitored) {
                    container.state = ContainerState::Restarting { exit_code: 1 };
                    (container.restarts, container.paused) = (1, false);
                    has_ended(container);
                }
            }
            // As `stop` leaves it.
            Drift::IsHeld(at) => {
                set_state(host, &name(at), exited);
                if let Some(container) = host.observed.containers.get_mut(&name(at)) {
                    container.held = true;
                }
            }
            Drift::HasOtherLimits(at) => {
                let limit = MovedLimit {
                    attribute: "mem_limit".into(),
                    file: "memory.max".into(),
                    set: "2".into(),
                    seen: "1".into(),
                };
                running(host, &name(at))
                    .into_iter()
                    .for_each(|c| c.moved_limits = vec![limit.clone()]);
            }
            Drift::IsHalfChanged(at) => {
                running(host, &name(at)).into_iter().for_each(|c| c.updating = true);
            }
            Drift::IsLeftBehind(at) => {
                running(host, &name(at)).into_iter().for_each(|c| c.left_behind = true);
            }
            Drift::IsUnplugged(at) => {
                let network = || Some("shop_n0".to_owned());
                running(host, &name(at)).into_iter().for_each(|c| c.unplugged = network());
            }
            Drift::Breaks(at) => set_state(host, &name(at), ContainerState::Broken),
            Drift::ImageMoves(image) => {
                if let Some(image) = host.observed.images.get_mut(&format!("image:{image}")) {
                    image.id.push('+');
                }
            }
            Drift::BridgeGone(net) => {
                if let Some(net) = host.observed.networks.get_mut(&format!("shop_n{net}")) {
                    net.bridge_up = false;
                }
            }
            Drift::RulesGone(net) => {
                if let Some(net) = host.observed.networks.get_mut(&format!("shop_n{net}")) {
                    net.rules_present = false;
                }
            }
            Drift::NetworkGone(net) => drop(host.drop_network(&format!("shop_n{net}"))),
            Drift::Leftover(at) => {
                host.observed.leftovers.insert(Leftover::Cgroup(format!("berth/x{at}")));
                host.observed.leftovers.insert(Leftover::Bridge(format!("br-{at}")));
            }
            Drift::Reboot => {
                for container in host.observed.containers.values_mut().filter(|c| active(c)) {
                    container.state = ContainerState::Created;
                    (container.monitored, container.paused) = (false, false);
                    container.beside = false;
                    has_ended(container);
                }
                for network in host.observed.networks.values_mut() {
                    (network.bridge_up, network.rules_present) = (false, false);
                }
            }
        }
    }
}

fn set_state(host: &mut FakeHost, name: &str, state: ContainerState) {
    if let Some(container) = host.observed.containers.get_mut(name) {
        container.state = state;
        (container.monitored, container.paused) = (false, false);
        container.beside = false;
        has_ended(container);
    }
}

/// The container, if it runs under its monitor.
fn running<'a>(host: &'a mut FakeHost, name: &str) -> Option<&'a mut ObservedContainer> {
    let container = host.observed.containers.get_mut(name);
    container.filter(|c| c.monitored && matches!(c.state, ContainerState::Running { .. }))
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn done_means_done(first in drawn(), edits in edits(), drifts in drifts(), seed: u64) {
        let mut host = FakeHost::new();
        let wanted = desired(&first.stack());
        let plan_of_first = plan(&wanted, &host);
        host.apply_all(&plan_of_first, seed);
        assert_done(&first, &wanted, &host);

        drifts.iter().for_each(|drift| drift.happen(&mut host));
        let second = first.edited(&edits);
        let wanted = desired(&second.stack());
        let plan_of_second = plan(&wanted, &host);
        host.apply_all(&plan_of_second, seed);
        assert_done(&second, &wanted, &host);
    }

    #[test]
    fn what_can_change_while_it_runs_makes_nothing_anew(
        first in drawn(),
        edits in prop::collection::vec(live(), 1..6),
        seed: u64,
    ) {
        let mut host = FakeHost::new();
        let plan_of_first = plan(&desired(&first.stack()), &host);
        host.apply_all(&plan_of_first, seed);
        let second = first.edited(&edits);
        let wanted = desired(&second.stack());

        let changes = plan(&wanted, &host);
        for step in &changes.steps {
            let name = step.action.target();
            let ended = || first.one_shots().contains(&host.observed.containers[&name].record.service);
            let lives = match step.action {
                Action::UpdateContainer(_) => true,
                Action::StartContainer { .. } | Action::AwaitContainer { .. } => ended(),
                _ => false,
            };
            prop_assert!(lives, "{changes}");
        }
        host.apply_all(&changes, seed);
        assert_done(&second, &wanted, &host);
    }

    #[test]
    fn done_means_done_in_whatever_order(
        first in drawn(),
        edits in edits(),
        drifts in drifts(),
        (seed, at, dies) in any::<(u64, prop::sample::Index, bool)>(),
    ) {
        let auto = |drawn: &DrawnStack| {
            let mut wanted = desired(&drawn.stack());
            choose(&mut wanted, Order::Auto, &BTreeMap::new());
            wanted
        };
        let mut host = FakeHost::new();
        let plan_of_first = plan(&auto(&first), &host);
        host.apply_all(&plan_of_first, seed);
        drifts.iter().for_each(|drift| drift.happen(&mut host));
        let second = first.edited(&edits);
        let wanted = auto(&second);

        let broken_plan = plan(&wanted, &host);
        let at = at.index(broken_plan.steps.len().max(1));
        let how = if dies { Break::Dies(at) } else { Break::Fails(at) };
        let ran = host.apply(&broken_plan, seed, Some(how));
        prop_assert_eq!(ran.errors, Vec::<String>::new());
        let rest = plan(&wanted, &host);
        host.apply_all(&rest, seed.rotate_left(7));
        assert_done(&second, &wanted, &host);
    }

    #[test]
    fn any_step_may_fail(
        first in drawn(),
        edits in edits(),
        drifts in drifts(),
        (seed, at, dies) in any::<(u64, prop::sample::Index, bool)>(),
    ) {
        let mut host = FakeHost::new();
        let plan_of_first = plan(&desired(&first.stack()), &host);
        host.apply_all(&plan_of_first, seed);
        drifts.iter().for_each(|drift| drift.happen(&mut host));
        let second = first.edited(&edits);
        let wanted = desired(&second.stack());

        let broken_plan = plan(&wanted, &host);
        let at = at.index(broken_plan.steps.len().max(1));
        let how = if dies { Break::Dies(at) } else { Break::Fails(at) };
        let ran = host.apply(&broken_plan, seed, Some(how));
        prop_assert_eq!(ran.errors, Vec::<String>::new());
        let rest = plan(&wanted, &host);
        host.apply_all(&rest, seed.rotate_left(7));
        assert_done(&second, &wanted, &host);
    }

    #[test]
    fn down_leaves_nothing(
        stack in drawn(),
        drifts in drifts(),
        (seed, volumes, at) in any::<(u64, bool, prop::sample::Index)>(),
    ) {
        let mut host = FakeHost::new();
        let before = host.observed.host.clone();
        let wanted = desired(&stack.stack());
        let plan_of_up = plan(&wanted, &host);
        host.apply_all(&plan_of_up, seed);
        drifts.iter().for_each(|drift| drift.happen(&mut host));
        let volumes_before = host.observed.volumes.clone();

        let known = Some(Known::of(&wanted));
        let options = DownOptions { volumes, known, ..DownOptions::default() };
        let broken_plan = down("shop", &host.observed, &options).unwrap();
        judge(&broken_plan, None, &host.observed);
        let at = at.index(broken_plan.steps.len().max(1));
        host.apply(&broken_plan, seed, Some(Break::Fails(at)));
        let rest = down("shop", &host.observed, &options).unwrap();
        judge(&rest, None, &host.observed);
        host.apply_all(&rest, seed);

        let left = Observed {
            host: before,
            images: host.observed.images.clone(),
            volumes: if volumes { Default::default() } else { volumes_before },
            ..Observed::default()
        };
        prop_assert_eq!(&host.observed, &left);
        prop_assert!(down("shop", &host.observed, &options).unwrap().is_empty());
    }

    #[test]
    fn equal_input_gives_equal_bytes(first in drawn(), edits in edits(), drifts in drifts(), seed: u64) {
        let mut host = FakeHost::new();
        let wanted = desired(&first.stack());
        let plan_of_first = plan(&wanted, &host);
        host.apply_all(&plan_of_first, seed);
        drifts.iter().for_each(|drift| drift.happen(&mut host));
        let stack = first.edited(&edits).stack();

        let one = plan(&desired(&stack), &host);
        let text = serde_json::to_string(&host.observed).unwrap();
        host.observed = serde_json::from_str(&text).unwrap();
        let other = plan(&desired(&stack), &host);
        prop_assert_eq!(one.to_string(), other.to_string());
        prop_assert_eq!(serde_json::to_string(&one).unwrap(), serde_json::to_string(&other).unwrap());
        prop_assert_eq!(one, other);
    }

    #[test]
    fn every_view_has_the_whole_plan(first in drawn(), edits in edits(), drifts in drifts(), seed: u64) {
        let mut host = FakeHost::new();
        let plan_of_first = plan(&desired(&first.stack()), &host);
        host.apply_all(&plan_of_first, seed);
        drifts.iter().for_each(|drift| drift.happen(&mut host));
        let stack = first.edited(&edits).stack();
        let wanted = desired(&stack);
        let plan = plan(&wanted, &host);

        let dot = drawings::dot(&graph::graph(&plan, Language::Dot));
        prop_assert_eq!(&dot, &drawings::mermaid(&graph::graph(&plan, Language::Mermaid)));
        let arrows = plan.steps.iter().flat_map(|step| {
            let to = step.id.index();
            let waits = step.after.iter().map(move |from| (from.index(), to, false));
            waits.chain(step.after_tried.iter().map(move |from| (from.index(), to, true)))
        });
        prop_assert_eq!(&dot.arrows, &arrows.collect::<BTreeSet<_>>());
        prop_assert_eq!(dot.labels.len(), plan.steps.len());

        let ops = ops::ops(&plan);
        for ((step, label), line) in plan.steps.iter().zip(&dot.labels).zip(ops.lines()) {
            let (id, what) = label.split_once(' ').unwrap();
            prop_assert_eq!(id, step.id.to_string());
            prop_assert!(what.contains(step.action.target().trim_start_matches("shop-")));
            prop_assert!(line.trim_start().starts_with(&format!("{id}  {what}")), "{}", line);
        }

        let observed = &host.observed;
        let places = &stack.places;
        let differences = diff::diff(&plan, observed, places);
        let scene = Scene { plan: &plan, desired: Some(&wanted), observed, places };
        for service in wanted.services.keys() {
            let told = why(service, &scene);
            for step in &plan.steps {
                let mut line = told.lines().map(str::trim_start);
                let of = observed.containers.get(&step.action.target()).map(|c| &c.record);
                let of = match &step.action {
                    Action::CreateContainer(record) => Some(record.as_ref()),
                    _ => of,
                };
                let own = of.is_some_and(|record| record.service == *service);
                let label = &dot.labels[step.id.index()];
                prop_assert!(!own || line.any(|line| line == label), "{} in\n{}", label, told);
                for change in step.changes.iter().filter(|_| own) {
                    let key = change.path.rsplit('.').next().unwrap();
                    prop_assert!(differences.contains(key), "{} in\n{}", key, differences);
                    prop_assert!(told.contains(&change.to_string()), "{} in\n{}", change, told);
                }
            }
        }
    }
}
