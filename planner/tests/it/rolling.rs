//! Laws of replacing a service replica by replica, whatever the file says of how, and whatever fails.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use berth_planner::action::Action;
use berth_planner::desired::Desired;
use berth_planner::rollback::Run;
use berth_planner::rollout::{Order, choose};
use berth_planner::{Plan, UpOptions, up};
use berth_schema::stack::*;
use proptest::prelude::*;

use crate::checker::judge;
use crate::host::{Break, FakeHost, active};
use crate::stacks::{dependency, desired, service, with};

/// A service of so many replicas, and how it is replaced.
#[derive(Debug, Clone)]
struct Drawn {
    replicas: u32,
    config: Rollout,
    back: Option<RolloutOrder>,
    /// What is asked for beside the file.
    asked: Option<Order>,
}

impl Drawn {
    fn stack(&self, image: &str) -> Stack {
        let mut web = service(image);
        web.replicas = self.replicas;
        // Nobody takes it for one that ends by itself.
        web.restart = RestartPolicy::Always;
        let back = |order| Rollout { order: Some(order), ..Rollout::default() };
        let (update, rollback) = (Some(self.config.clone()), self.back.map(back));
        web.deploy = Some(Box::new(Deploy { update, rollback, ..Deploy::default() }));
        with([("web", web)])
    }

    fn desired(&self, image: &str) -> Desired {
        let mut desired = desired(&self.stack(image));
        if let Some(order) = self.asked {
            choose(&mut desired, order, &BTreeMap::new());
        }
        desired
    }

    fn starts_first(&self) -> bool {
        match self.config.order {
            Some(order) => order == RolloutOrder::StartFirst,
            None => matches!(self.asked, Some(Order::Auto | Order::StartFirst)),
        }
    }

    /// How many may be out of service at once, as long as so many more have failed.
    fn at_once(&self, failed: u32) -> u32 {
        match (self.starts_first(), self.config.parallelism) {
            (true, _) => 0,
            (false, Some(0)) => self.replicas,
            (false, many) => many.unwrap_or(1) + failed,
        }
    }
}

fn drawn() -> impl Strategy<Value = Drawn> {
    let order = || prop_oneof![Just(RolloutOrder::StartFirst), Just(RolloutOrder::StopFirst)];
    let action = prop_oneof![
        Just(FailureAction::Continue),
        Just(FailureAction::Pause),
        Just(FailureAction::Rollback)
    ];
    let monitor = prop_oneof![Just(None), (0..3u64).prop_map(|s| Some(Duration::from_secs(s)))];
    let ratio =
        prop_oneof![Just(None), (0..5u8).prop_map(|quarters| Some(f64::from(quarters) / 4.0))];
    let config =
        (prop::option::of(order()), prop::option::of(0..4u32), action, monitor, ratio, 0..2u64);
    let config = config.prop_map(|(order, parallelism, action, monitor, ratio, delay)| Rollout {
        parallelism,
        delay: Some(Duration::from_secs(delay)),
        on_failure: Some(action),
        monitor,
        max_failure_ratio: ratio,
        order,
    });
    let asked = prop::option::of(prop_oneof![
        Just(Order::Auto),
        Just(Order::StartFirst),
        Just(Order::StopFirst)
    ]);
    (1..6u32, config, prop::option::of(order()), asked)
        .prop_map(|(replicas, config, back, asked)| Drawn { replicas, config, back, asked })
}

fn plan(desired: &Desired, host: &FakeHost) -> Plan {
    let plan = up(desired, &host.observed, &UpOptions::default(), &Places::default()).unwrap();
    judge(&plan, Some(desired), &host.observed);
    plan
}

/// Containers that have ports and names.
fn serving(host: &FakeHost) -> u32 {
    let all = host.observed.containers.values();
    all.filter(|have| active(have) && !have.beside).count() as u32
}

/// All containers run from this image, and nothing else is there.
fn assert_is(host: &FakeHost, image: &str, replicas: u32) {
    let containers: Vec<_> = host.observed.containers.values().collect();
    let images: BTreeSet<&str> =
        containers.iter().map(|have| have.record.spec.image.as_str()).collect();
    assert_eq!((images, containers.len() as u32), (BTreeSet::from([image]), replicas));
    assert_eq!(serving(host), replicas);
}

/// The host with the first version up, and the second one's image there.
fn host_with(drawn: &Drawn) -> FakeHost {
    let mut host = FakeHost::new();
    let first = plan(&drawn.desired("web:1"), &host);
    host.apply_all(&first, 7);
    let mut image = host.observed.images["web:1"].clone();
    image.id = "sha256:second".into();
    host.observed.images.insert("web:2".into(), image);
    host
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_more_are_out_of_service_than_the_file_says(drawn in drawn(), seed: u64) {
        let mut host = host_with(&drawn);
        let wanted = drawn.desired("web:2");
        let rollout = plan(&wanted, &host);
        let (least, mut tops) = (drawn.replicas.saturating_sub(drawn.at_once(0)), 0);
        host.apply_watched(&rollout, seed, None, |host, _| {
            assert!(serving(host) >= least, "{} serve\n{rollout}", serving(host));
            tops = tops.max(host.observed.containers.len() as u32);
        });
        assert_is(&host, "web:2", drawn.replicas);
        prop_assert!(tops <= 2 * drawn.replicas);
        prop_assert!(plan(&wanted, &host).is_empty());
    }

    #[test]
    fn a_failure_ends_a_rollout_where_it_is_or_takes_it_back(
        drawn in drawn(),
        (seed, at, kill) in any::<(u64, prop::sample::Index, prop::sample::Index)>(),
    ) {
        let mut host = host_with(&drawn);
        let wanted = drawn.desired("web:2");
        let rollout = plan(&wanted, &host);
        let at = at.index(rollout.steps.len());
        let before = host.observed.clone();
        let mut worst = drawn.replicas;
        let ran = host.apply_watched(&rollout, seed, Some(Break::Fails(at)), |host, _| {
            worst = worst.min(serving(host));
        });
        prop_assert_eq!(&ran.errors, &Vec::<String>::new());
        prop_assert!(worst >= drawn.replicas.saturating_sub(drawn.at_once(1)), "{} serve", worst);
        let failed = ran.order[at];
        let done: BTreeSet<_> = ran.order.iter().copied().collect();
        let skipped: Vec<_> = rollout.steps.iter().map(|step| step.id).filter(|id| !done.contains(id)).collect();

        let failures = [failed];
        let run = Run { desired: &wanted, before: &before, plan: &rollout, failed: &failures, skipped: &skipped };
        let services = run.due();
        let rolls_back = drawn.config.on_failure == Some(FailureAction::Rollback);
        prop_assert!(rolls_back || services.is_empty());
        let gate = matches!(
            rollout.step(failed).unwrap().action,
            Action::StartContainer { .. } | Action::StartBeside { .. } | Action::AwaitStable { .. } | Action::Watch { .. }
        );
        let strict = drawn.config.max_failure_ratio.unwrap_or(0.0) * f64::from(drawn.replicas) < 1.0;
        prop_assert!(!(rolls_back && gate && strict && services.is_empty()), "{}", rollout);
        if !services.is_empty() {
            let way = run.way_back(&host.observed, &Places::default()).unwrap();
            prop_assert_eq!(&way.stays, &[]);
            let makes = |action: &Action| matches!(action, Action::CreateContainer(_));
            prop_assert!(!way.plan.steps.iter().any(|step| makes(&step.action)), "{}", way.plan);
            // Killed on the way, or not, it is not stuck.
            let mut killed = host.clone();
            let dies = kill.index(way.plan.steps.len().max(1));
            killed.apply(&way.plan, seed, Some(Break::Dies(dies)));
            let again = plan(&wanted, &killed);
            killed.apply_all(&again, seed);
            assert_is(&killed, "web:2", drawn.replicas);

            host.apply_all(&way.plan, seed.rotate_left(9));
            assert_is(&host, "web:1", drawn.replicas);
        }
        let again = plan(&wanted, &host);
        host.apply_all(&again, seed.rotate_left(3));
        assert_is(&host, "web:2", drawn.replicas);
        prop_assert!(plan(&wanted, &host).is_empty());
    }
}

#[test]
fn a_service_that_was_nothing_else_before_stays_as_it_is() {
    let config = Rollout { on_failure: Some(FailureAction::Rollback), ..Rollout::default() };
    let drawn = Drawn { replicas: 2, config, back: None, asked: None };
    let host = host_with(&drawn);
    let wanted = drawn.desired("web:1");
    let options = UpOptions { force_recreate: true, ..UpOptions::default() };
    let rollout = up(&wanted, &host.observed, &options, &Places::default()).unwrap();
    let find =
        |verb: &str| rollout.steps.iter().find(|step| step.action.verb() == verb).unwrap().id;
    let (failed, skipped) = ([find("prove_container")], [find("conclude_rollout")]);
    let (desired, before, plan) = (&wanted, &host.observed, &rollout);
    let run = Run { desired, before, plan, failed: &failed, skipped: &skipped };
    let way = run.way_back(&host.observed, &Places::default()).unwrap();
    assert!(way.back.is_empty());
    let why = &way.stays[0];
    assert_eq!(why.to_string(), "`web` is not rolled back: it was nothing else before");
}

/// The images change of two services that roll back, the first of which needs the second; which has so
/// many containers before and after.
fn pair_of_rollouts((before, after): (u32, u32), db_order: RolloutOrder) {
    let rolls = |image: &str, replicas, order| {
        let config = Rollout {
            order: Some(order),
            on_failure: Some(FailureAction::Rollback),
            ..Rollout::default()
        };
        let stack = Drawn { replicas, config, back: None, asked: None }.stack(image);
        stack.services["web"].clone()
    };
    let stack = |image: &str, replicas| {
        let mut app = rolls(image, replicas, RolloutOrder::StopFirst);
        app.depends_on.insert("db".into(), dependency(Condition::ServiceStarted));
        with([("app", app), ("db", rolls(image, 1, db_order))])
    };
    let mut host = FakeHost::new();
    let first = plan(&desired(&stack("web:1", before)), &host);
    host.apply_all(&first, 7);
    let wanted = desired(&stack("web:2", after));
    let rollout = plan(&wanted, &host);
    host.apply_all(&rollout, 3);
    assert_is(&host, "web:2", after + 1);
    assert!(plan(&wanted, &host).is_empty());
}

#[test]
fn one_that_is_needed_by_a_name_before_its_own_is_replaced_with_it() {
    pair_of_rollouts((2, 2), RolloutOrder::StopFirst);
    pair_of_rollouts((2, 2), RolloutOrder::StartFirst);
}

#[test]
fn one_that_is_scaled_down_with_what_it_needs_replaced_waits_for_no_circle() {
    pair_of_rollouts((3, 2), RolloutOrder::StopFirst);
    pair_of_rollouts((3, 2), RolloutOrder::StartFirst);
}
