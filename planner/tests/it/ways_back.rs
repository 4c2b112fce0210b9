//! What a rollout leaves that fails or is broken off, case by case: by the way back, and by the next run.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::time::Duration;

use berth_planner::action::Action;
use berth_planner::desired::Desired;
use berth_planner::generation::rest;
use berth_planner::observed::{ContainerState, Health, Observed, ObservedContainer, ObservedImage};
use berth_planner::rollback::{Run, Serving, Way, is_counted, is_passed, is_through};
use berth_planner::{Plan, Step, StepId, UpOptions, up};
use berth_schema::stack::*;
use insta::assert_snapshot;

use crate::checker::judge;
use crate::host::{Break, FakeHost, Ran, active};
use crate::stacks::{dependency, desired, service, with};

/// A run that was broken.
struct Broken {
    wanted: Desired,
    before: Observed,
    plan: Plan,
    failed: StepId,
    ran: Ran,
}

impl Broken {
    /// The way back from it.
    fn back(&self, now: &FakeHost) -> Way {
        let Broken { wanted: desired, before, plan, failed, ran } = self;
        let run = Run { desired, before, plan, failed: &[*failed], skipped: &ran.skipped };
        assert!(!run.due().is_empty(), "nothing is to go back\n{plan}");
        run.way_back(&now.observed, &Places::default()).unwrap()
    }
}

fn rolls(order: RolloutOrder, on_failure: FailureAction) -> Rollout {
    let (order, on_failure) = (Some(order), Some(on_failure));
    Rollout { order, on_failure, ..Rollout::default() }
}

/// A service of an image that is replaced so.
fn web(image: &str, replicas: u32, update: &Rollout) -> Service {
    let deploy = Deploy { update: Some(update.clone()), ..Deploy::default() };
    let healthcheck = Some(Healthcheck::default());
    Service { replicas, deploy: Some(Box::new(deploy)), healthcheck, ..service(image) }
}

fn plan(wanted: &Desired, host: &FakeHost) -> Plan {
    let plan = up(wanted, &host.observed, &UpOptions::default(), &Places::default()).unwrap();
    judge(&plan, Some(wanted), &host.observed);
    plan
}

/// A host on which this is up, and where images of two versions are.
fn host_of(stack: &Stack) -> FakeHost {
    let mut host = FakeHost::new();
    host.apply_all(&plan(&desired(stack), &host), 7);
    let mut second = host.observed.images["web:1"].clone();
    second.id = "sha256:second".into();
    host.observed.images.insert("web:2".into(), second);
    host
}

/// What `up` does, with an end at the step of these words.
#[track_caller]
fn broken(host: &mut FakeHost, stack: &Stack, step: &str) -> Broken {
    let (wanted, before) = (desired(stack), host.observed.clone());
    let plan = plan(&wanted, host);
    let words = |id: &StepId| {
        let action = &plan.step(*id).unwrap().action;
        format!("{} {}", action.verb(), action.target())
    };
    let failed = plan.steps.iter().map(|at| at.id).find(|id| words(id) == step);
    let failed = failed.unwrap_or_else(|| panic!("no {step}\n{plan}"));
    let ran = host.apply(&plan, 3, Some(Break::At(failed)));
    Broken { wanted, before, plan, failed, ran }
}

/// The images of the containers, by name; of those that do not run in brackets.
fn images(host: &FakeHost) -> BTreeMap<&str, String> {
    let all = host.observed.containers.iter();
    let image = all.map(|(name, have)| match (active(have), &have.record.image_id) {
        (true, image) => (name.as_str(), image.clone()),
        (false, image) => (name.as_str(), format!("({image})")),
    });
    image.collect()
}

#[test]
fn one_whose_tag_moved_goes_back_to_the_image_that_it_ran() {
    for order in [RolloutOrder::StartFirst, RolloutOrder::StopFirst] {
        let stack = with([("web", web("web:1", 2, &rolls(order, FailureAction::Rollback)))]);
        let mut host = host_of(&stack);
        let second = host.observed.images["web:2"].clone();
        host.observed.images.insert("web:1".into(), second);
        let before = host.clone();
        let new = broken(&mut host, &stack, "prove_container shop-web-2-b");

        let way = new.back(&host);
        host.apply_all(&way.plan, 5);
        assert_eq!(images(&host), images(&before), "{}", way.plan);
    }
}

/// What `up` does to its end.
#[track_caller]
fn up_to(host: &mut FakeHost, stack: &Stack) -> Plan {
    let plan = plan(&desired(stack), host);
    host.apply_all(&plan, 11);
    plan
}

/// The same, killed when the step of these words is done.
#[track_caller]
fn killed_after(host: &mut FakeHost, stack: &Stack, step: &str) {
    let plan = plan(&desired(stack), host);
    let is_it = |action: &Action| format!("{} {}", action.verb(), action.target()) == step;
    let at = Cell::new(None);
    let count = Cell::new(0);
    host.clone().apply_watched(&plan, 3, None, |_, action| {
        count.set(count.get() + 1);
        at.set(at.get().or(is_it(action).then(|| count.get())));
    });
    let at = at.get().unwrap_or_else(|| panic!("no {step}\n{plan}"));
    host.apply(&plan, 3, Some(Break::Dies(at)));
}

#[test]
fn a_new_one_that_nobody_has_seen_good_is_looked_at_before_the_old_one_goes() {
    for (order, step) in [
        (RolloutOrder::StopFirst, "start_container shop-web-1-b"),
        (RolloutOrder::StartFirst, "promote_container shop-web-1-b"),
    ] {
        let monitor = Some(Duration::from_secs(9));
        let update = Rollout { monitor, ..rolls(order, FailureAction::Rollback) };
        let mut host = host_of(&with([("web", web("web:1", 1, &update))]));
        let second = with([("web", web("web:2", 1, &update))]);
        let before = images(&host).into_iter().map(|(name, i)| (name.to_owned(), i));
        let before: BTreeMap<String, String> = before.collect();
        killed_after(&mut host, &second, step);
        let mut well = host.clone();
        up_to(&mut well, &second);
        assert_eq!(images(&well), BTreeMap::from([("shop-web-1-b", "sha256:second".into())]));

        let new = broken(&mut host, &second, "prove_container shop-web-1-b");
        host.apply_all(&new.back(&host).plan, 5);
        let now: BTreeMap<String, String> =
            images(&host).into_iter().map(|(name, image)| (name.to_owned(), image)).collect();
        assert_eq!(now, before, "{}", new.plan);
    }
}

#[test]
fn one_that_failed_in_this_life_has_another_before_it_is_looked_at() {
    let update = rolls(RolloutOrder::StopFirst, FailureAction::Rollback);
    let mut host = host_of(&with([("web", web("web:1", 1, &update))]));
    let second = with([("web", web("web:2", 1, &update))]);
    killed_after(&mut host, &second, "start_container shop-web-1-b");
    host.observed.containers.get_mut("shop-web-1-b").unwrap().restarts = 2;
    let mut unmonitored = host.clone();
    unmonitored.observed.containers.get_mut("shop-web-1-b").unwrap().monitored = false;
    up_to(&mut unmonitored, &second);

    let plan = up_to(&mut host, &second);
    assert_snapshot!(plan, @"
    restart  web-1-b  drift: nobody has seen that it is good
    remove   web-1    another takes its place
    Plan: 1 restart, 1 remove, 1 unchanged
    ");
}

#[test]
fn what_is_not_good_is_mended_before_the_next_one_stops() {
    let update = rolls(RolloutOrder::StopFirst, FailureAction::Pause);
    let mut host = host_of(&with([("web", web("web:1", 2, &update))]));
    let second = with([("web", web("web:2", 2, &update))]);
    broken(&mut host, &second, "prove_container shop-web-1");
    host.observed.containers.get_mut("shop-web-1").unwrap().health = Health::Unhealthy;

    broken(&mut host, &second, "prove_container shop-web-1");
    assert_eq!(images(&host)["shop-web-2"], "sha256:web:1");
    host.observed.containers.get_mut("shop-web-1").unwrap().health = Health::None;
    up_to(&mut host, &second);
    assert_eq!(images(&host)["shop-web-2"], "sha256:second");
}

#[test]
fn what_was_stopped_for_another_is_kept_when_that_one_was_never_started() {
    let update = rolls(RolloutOrder::StopFirst, FailureAction::Rollback);
    let mut host = host_of(&with([("web", web("web:1", 1, &update))]));
    let second = with([("web", web("web:2", 1, &update))]);
    let before = host.clone();
    killed_after(&mut host, &second, "stop_container shop-web-1");

    let new = broken(&mut host, &second, "start_container shop-web-1-b");
    host.apply_all(&new.back(&host).plan, 5);
    assert_eq!(images(&host), images(&before), "{}", new.plan);
}

#[test]
fn one_that_does_not_run_is_what_there_was_before() {
    for order in [RolloutOrder::StartFirst, RolloutOrder::StopFirst] {
        let update = rolls(order, FailureAction::Rollback);
        let mut host = host_of(&with([("web", web("web:1", 1, &update))]));
        let before = host.clone();
        host.perform(&Action::StopContainer {
            name: "shop-web-1".into(),
            grace: None,
            hold: false,
        })
        .unwrap();
        let second = with([("web", web("web:2", 1, &update))]);

        let new = broken(&mut host, &second, "prove_container shop-web-1-b");
        host.apply_all(&new.back(&host).plan, 5);
        assert_eq!(images(&host), images(&before), "{}", new.plan);
    }
}

/// A service that comes after `web`.
fn proxy(image: &str, update: Option<Rollout>, restart: bool) -> Service {
    let on = Dependency { restart, ..dependency(Condition::ServiceHealthy) };
    let deploy = Deploy { update, ..Deploy::default() };
    let depends_on = BTreeMap::from([("web".into(), on)]);
    Service { depends_on, deploy: Some(Box::new(deploy)), ..service(image) }
}

#[test]
fn what_waited_for_a_service_that_goes_back_starts_again() {
    let update = rolls(RolloutOrder::StartFirst, FailureAction::Rollback);
    for (order, step, to, restart) in [
        (RolloutOrder::StartFirst, "prove_container shop-web-1-b", "web:2", false),
        (RolloutOrder::StopFirst, "start_container shop-web-1-b", "web:1", true),
    ] {
        let update = Rollout { order: Some(order), ..update.clone() };
        let stack = |of: &str, to: &str| {
            with([("web", web(of, 1, &update)), ("proxy", proxy(to, None, restart))])
        };
        let mut host = host_of(&stack("web:1", "web:1"));
        let new = broken(&mut host, &stack("web:2", to), step);
        assert!(!active(&host.observed.containers["shop-proxy-1"]), "{}", new.plan);

        let way = new.back(&host);
        assert_eq!(way.stays, []);
        host.apply_all(&way.plan, 5);
        assert!(active(&host.observed.containers["shop-proxy-1"]), "{}", way.plan);
        assert_eq!(images(&host)["shop-web-1"], "sha256:web:1");
    }
}

#[test]
fn who_was_stopped_for_a_rollout_of_its_own_goes_back_with_what_it_waited_for() {
    let update = rolls(RolloutOrder::StopFirst, FailureAction::Rollback);
    let stack = |image: &str| {
        let proxy = proxy(image, Some(update.clone()), false);
        with([("web", web(image, 1, &update)), ("proxy", proxy)])
    };
    let mut host = host_of(&stack("web:1"));
    let before = host.clone();
    let new = broken(&mut host, &stack("web:2"), "start_container shop-web-1-b");
    let way = new.back(&host);
    assert_eq!(way.back.keys().collect::<Vec<_>>(), ["proxy", "web"]);
    host.apply_all(&way.plan, 5);
    assert_eq!(images(&host), images(&before), "{}", way.plan);
}

#[test]
fn what_cannot_go_back_is_told_with_the_reason() {
    let update = rolls(RolloutOrder::StopFirst, FailureAction::Rollback);
    let stack = |image: &str| {
        let source = MountSource::Anonymous { nocopy: false, labels: BTreeMap::new() };
        let data = Mount { target: "/data".into(), source, read_only: false };
        let web = Service { volumes: vec![data], ..web(image, 1, &update) };
        with([("web", web)])
    };
    let mut host = host_of(&stack("web:1"));
    let new = broken(&mut host, &stack("web:2"), "prove_container shop-web-1");
    let way = new.back(&host);
    assert!(way.back.is_empty() && way.plan.is_empty());
    let why = "`web` is not rolled back: nothing was kept of its container 1: its data is in a volume without a name";
    assert_eq!(way.stays[0].to_string(), why);
}

#[test]
fn containers_of_several_versions_are_told_to_be_that() {
    let pause = rolls(RolloutOrder::StartFirst, FailureAction::Pause);
    let mut host = host_of(&with([("web", web("web:1", 2, &pause))]));
    broken(&mut host, &with([("web", web("web:2", 2, &pause))]), "prove_container shop-web-2-b");
    let third = host.observed.images["web:2"].clone();
    host.observed
        .images
        .insert("web:3".into(), ObservedImage { id: "sha256:third".into(), ..third });
    let update = rolls(RolloutOrder::StartFirst, FailureAction::Rollback);
    let stack = with([("web", web("web:3", 2, &update))]);

    let new = broken(&mut host, &stack, "prove_container shop-web-1");
    let why = "`web` is not rolled back: its containers were not all the same before";
    assert_eq!(new.back(&host).stays[0].to_string(), why);
}

#[test]
fn what_failed_besides_is_told_apart_from_what_goes_back() {
    let update = rolls(RolloutOrder::StartFirst, FailureAction::Rollback);
    let stack = |image: &str| with([("web", web(image, 1, &update)), ("db", service(image))]);
    let mut host = host_of(&stack("web:1"));
    let new = broken(&mut host, &stack("web:2"), "prove_container shop-web-1-b");
    let Broken { wanted: desired, before, plan, failed, ran } = &new;
    let is_db = |step: &&Step| {
        step.action.verb() == "start_container" && step.action.target() == "shop-db-1"
    };
    let db = plan.steps.iter().find(is_db).unwrap().id;
    let run = Run { desired, before, plan, failed: &[*failed, db], skipped: &ran.skipped };
    let way = run.way_back(&host.observed, &Places::default()).unwrap();
    assert_eq!(way.stays[0].to_string(), "`db` failed as well, and is left as it is");
    assert_eq!(way.back.len(), 1);
}

#[test]
fn too_many_that_failed_are_no_dependency_that_is_not_required() {
    let failure = |on_failure, ratio: f64| {
        let update = Rollout {
            max_failure_ratio: Some(ratio),
            ..rolls(RolloutOrder::StopFirst, on_failure)
        };
        let mut host = host_of(&with([("web", web("web:1", 2, &update))]));
        let stack = with([("web", web("web:2", 2, &update))]);
        let Broken { plan, failed, ran, .. } =
            broken(&mut host, &stack, "prove_container shop-web-2");
        assert!(!is_passed(&plan, failed) && is_counted(&plan, failed));
        is_through(&plan, &ran.skipped)
    };
    assert!(failure(FailureAction::Continue, 0.0));
    assert!(failure(FailureAction::Pause, 0.5));
    assert!(!failure(FailureAction::Pause, 0.0));
}

#[test]
fn who_may_have_to_take_over_again_runs_on_while_the_new_one_is_looked_at() {
    let monitor = Some(Duration::from_secs(9));
    let update = Rollout { monitor, ..rolls(RolloutOrder::StartFirst, FailureAction::Rollback) };
    let mut host = host_of(&with([("web", web("web:1", 2, &update))]));
    let stack = with([("web", web("web:2", 2, &update))]);
    let new = broken(&mut host, &stack, "watch_container shop-web-2-b");
    assert!(active(&host.observed.containers["shop-web-2"]), "{}", new.plan);

    let way = new.back(&host);
    let starts = |step: &Step| {
        ["launch_container", "start_container"].contains(&step.action.verb())
            && step.action.target() == "shop-web-2"
    };
    assert!(!way.plan.steps.iter().any(starts), "{}", way.plan);
    host.apply_all(&way.plan, 5);
    assert_eq!(images(&host)["shop-web-2"], "sha256:web:1");
}

#[test]
fn who_has_to_take_over_again_and_has_failed_before_is_started_anew_for_that() {
    type Fail = fn(&mut ObservedContainer);
    let failures: [Fail; 3] = [
        |have| have.restarts = 1,
        |have| have.health = Health::Unhealthy,
        |have| have.state = ContainerState::Restarting { exit_code: 1 },
    ];
    let monitor = Some(Duration::from_secs(9));
    let update = Rollout { monitor, ..rolls(RolloutOrder::StartFirst, FailureAction::Rollback) };
    for fail in failures {
        let mut host = host_of(&with([("web", web("web:1", 1, &update))]));
        let stack = with([("web", web("web:2", 1, &update))]);
        let new = broken(&mut host, &stack, "watch_container shop-web-1-b");
        fail(host.observed.containers.get_mut("shop-web-1").unwrap());

        let way = new.back(&host);
        assert_eq!(way.stays, []);
        host.apply_all(&way.plan, 5);
        assert_eq!(images(&host), BTreeMap::from([("shop-web-1", "sha256:web:1".into())]));
    }
}

#[test]
fn a_rollout_that_scales_down_as_well_goes_back_to_as_many_as_there_were() {
    for order in [RolloutOrder::StartFirst, RolloutOrder::StopFirst] {
        let update = rolls(order, FailureAction::Rollback);
        let mut host = host_of(&with([("web", web("web:1", 3, &update))]));
        let before = host.clone();
        let stack = with([("web", web("web:2", 1, &update))]);
        let new = broken(&mut host, &stack, "prove_container shop-web-1-b");
        host.apply_all(&new.back(&host).plan, 5);
        assert_eq!(images(&host), images(&before));
        up_to(&mut host, &stack);
        assert_eq!(images(&host), BTreeMap::from([("shop-web-1-b", "sha256:second".into())]));
    }
}

#[test]
fn what_can_never_be_twice_is_replaced_and_the_plan_says_that_it_cannot_go_back() {
    let update = rolls(RolloutOrder::StopFirst, FailureAction::Rollback);
    let stack = |image: &str| {
        let container_name = Some("web".to_owned());
        with([("web", Service { container_name, ..web(image, 1, &update) })])
    };
    let mut host = host_of(&stack("web:1"));
    assert_snapshot!(plan(&desired(&stack("web:2")), &host), @r#"
    replace  web  cannot be rolled back: there can be only one of the name `web`
                  stop-first as the file says: gap expected, no TCP port to hold
                  image "web:1" → "web:2"
    Plan: 1 replace, 1 unchanged
    "#);
    let new = broken(&mut host, &stack("web:2"), "prove_container web");
    let why = "`web` is not rolled back: nothing was kept of its container 1: there can be only one of the name `web`";
    assert_eq!(new.back(&host).stays[0].to_string(), why);
}

#[test]
fn a_way_back_that_cannot_start_first_stops_first() {
    let update = rolls(RolloutOrder::StopFirst, FailureAction::Rollback);
    let stack = |image: &str| {
        let mut web = web(image, 1, &update);
        web.network_mode = Some(NetworkMode::Host);
        web.networks.clear();
        let back = Rollout { order: Some(RolloutOrder::StartFirst), ..Rollout::default() };
        web.deploy.as_mut().unwrap().rollback = Some(back);
        with([("web", web)])
    };
    let mut host = host_of(&stack("web:1"));
    let before = host.clone();
    let new = broken(&mut host, &stack("web:2"), "prove_container shop-web-1-b");
    host.apply_all(&new.back(&host).plan, 5);
    assert_eq!(images(&host), images(&before));
}

#[test]
fn a_group_waits_for_the_ends_of_the_one_before_it_alone() {
    let update = rolls(RolloutOrder::StartFirst, FailureAction::Rollback);
    let mut edges = [10, 20].map(|replicas| {
        let host = host_of(&with([("web", web("web:1", replicas, &update))]));
        let plan = plan(&desired(&with([("web", web("web:2", replicas, &update))])), &host);
        let begins = plan.steps.iter().filter(|step| step.action.verb() == "launch_container");
        begins.map(|step| step.after.len() + step.after_tried.len()).max().unwrap()
    });
    edges.sort();
    assert_eq!(edges[0], edges[1]);
}

#[test]
fn what_is_to_stay_as_it_is_starts_as_it_was_made_and_all_else_is_done() {
    let update = rolls(RolloutOrder::StopFirst, FailureAction::Rollback);
    let stack = |image: &str, key: &str, replicas| {
        let web = web(image, replicas, &update);
        let networks = BTreeMap::from([(key.to_owned(), ServiceNetwork::default())]);
        with([("web", Service { networks, ..web }), ("db", service("web:1"))])
    };
    let mut host = host_of(&stack("web:1", "front", 2));
    for name in ["shop-web-1", "shop-web-2", "shop-db-1"] {
        host.perform(&Action::StopContainer { name: name.into(), grace: None, hold: true })
            .unwrap();
    }
    host.observed.networks.get_mut("shop_front").unwrap().bridge_up = false;
    // The file has it on another network, and more of it.
    let wanted = desired(&stack("web:2", "back", 3));
    let rest = |host: &FakeHost| {
        let (services, options) = (["web"].into(), UpOptions::default());
        rest((&wanted, &host.observed), &services, &options, &Places::default())
    };
    let part = rest(&host).unwrap();
    assert_eq!(part.kept["web"], Serving { replicas: 2, image: "web:1".into() });
    host.apply_all(&part.plan, 3);
    let all = ["shop-db-1", "shop-web-1", "shop-web-2"].map(|name| (name, "sha256:web:1".into()));
    assert_eq!(images(&host), BTreeMap::from(all));
    assert!(rest(&host).unwrap().plan.is_empty());

    host.observed.containers.get_mut("shop-web-2").unwrap().record.image_id = "other".into();
    assert!(rest(&host).is_none(), "of several versions");
    host.observed.containers.retain(|name, _| !name.starts_with("shop-web"));
    assert!(rest(&host).is_none(), "without a container");
}
