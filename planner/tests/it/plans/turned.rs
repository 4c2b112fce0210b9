//! What a container was made with is not what its file says: the steps of both make no circle.

use super::*;

fn volumes_of(other: &str) -> Vec<VolumesFrom> {
    let source = VolumesSource::Service(other.into());
    vec![VolumesFrom { source, read_only: false }]
}

fn anonymous(target: &str) -> Mount {
    let source = MountSource::Anonymous { nocopy: false, labels: BTreeMap::new() };
    Mount { target: target.into(), source, read_only: false }
}

/// A service that has the network of another.
fn inside(image: &str, other: &str) -> Service {
    let network_mode = Some(NetworkMode::Service(other.into()));
    Service { network_mode, networks: BTreeMap::new(), ..service(image) }
}

fn rolls(order: RolloutOrder, on_failure: FailureAction) -> Option<Box<Deploy>> {
    let (order, on_failure) = (Some(order), Some(on_failure));
    let update = Some(Rollout { order, on_failure, ..Rollout::default() });
    Some(Box::new(Deploy { update, ..Deploy::default() }))
}

fn edit(stack: &mut Stack, name: &str, edit: impl FnOnce(&mut Service)) {
    edit(stack.services.get_mut(name).unwrap());
}

/// As `stop` leaves them.
fn stopped(host: &mut FakeHost, names: &[&str]) {
    for name in names {
        let have = host.observed.containers.get_mut(*name).unwrap();
        have.state = ContainerState::Exited { exit_code: 0, finished_at: 0 };
        (have.monitored, have.held) = (false, true);
    }
}

fn renewing() -> UpOptions {
    UpOptions { renew_volumes: true, ..UpOptions::default() }
}

fn kept() -> UpOptions {
    UpOptions { no_recreate: true, ..UpOptions::default() }
}

/// Where a step is in a plan.
fn at(plan: &Plan, verb: &str, target: &str) -> usize {
    let is = |step: &Step| step.action.verb() == verb && step.action.target() == target;
    plan.steps.iter().position(is).unwrap_or_else(|| panic!("no {verb} {target}:\n{plan}"))
}

#[test]
fn who_never_had_a_volume_is_no_hindrance_to_its_end() {
    for (order, on_failure) in [
        (RolloutOrder::StartFirst, FailureAction::Pause),
        (RolloutOrder::StartFirst, FailureAction::Rollback),
        (RolloutOrder::StopFirst, FailureAction::Rollback),
    ] {
        let mut data = service("data:1");
        data.volumes.push(anonymous("/data"));
        let mut mid = service("mid:1");
        let source = MountSource::Volume { name: "kept".into(), nocopy: false, subpath: None };
        mid.volumes.push(Mount { target: "/kept".into(), source, read_only: false });
        let mut web = service("web:1");
        (web.volumes_from, web.deploy) = (volumes_of("mid"), rolls(order, on_failure));
        let mut stack = with([("data", data), ("mid", mid), ("web", web)]);
        let mut host = up_with(&stack);

        edit(&mut stack, "mid", |mid| mid.volumes_from = volumes_of("data"));
        edit(&mut stack, "data", |data| data.image = Some("data:2".into()));
        let plan = plan_with(&stack, &host, &renewing());
        // The old one runs beside the new one, or is kept.
        at(&plan, "create_container", "shop-web-1-b");
        let removal = at(&plan, "remove_volume", "shop-data-1-data");
        assert!(removal < at(&plan, "remove_container", "shop-web-1"), "{plan}");
        host.apply_all(&plan, 3);
        assert!(super::plan(&stack, &host).is_empty());
    }
}

#[test]
fn one_that_waits_for_a_rollout_goes_before_the_volumes_it_has() {
    let mut data = service("data:1");
    data.volumes.push(anonymous("/data"));
    let mut web = service("web:1");
    web.volumes_from = volumes_of("data");
    web.deploy = rolls(RolloutOrder::StopFirst, FailureAction::Rollback);
    let first = with([("data", data), ("web", web)]);
    let needs = |stack: &mut Stack, needs: bool| {
        edit(stack, "web", |web| {
            (web.image, web.volumes_from) = (Some("web:2".into()), Vec::new());
            let on = ("data".to_owned(), dependency(Condition::ServiceStarted));
            web.depends_on = [on].into_iter().filter(|_| needs).collect();
        });
    };
    for is_needed in [true, false] {
        let mut host = up_with(&first);
        let mut stack = first.clone();
        needs(&mut stack, is_needed);
        let broken = plan(&stack, &host);
        let start = at(&broken, "start_container", "shop-web-1-b");
        host.apply(&broken, 3, Some(Break::Dies(start)));
        assert!(host.observed.containers["shop-web-1"].served);

        edit(&mut stack, "data", |data| data.image = Some("data:2".into()));
        // Without new volumes it is kept until the other one is good.
        plan_with(&stack, &host, &UpOptions::default());
        let plan = plan_with(&stack, &host, &renewing());
        let removal = at(&plan, "remove_volume", "shop-data-1-data");
        assert!(at(&plan, "remove_container", "shop-web-1") < removal, "{plan}");
        let proves = at(&plan, "prove_container", "shop-web-1-b");
        assert!(proves > removal || !is_needed, "{plan}");
        host.apply_all(&plan, 3);
        assert!(super::plan(&stack, &host).is_empty());
    }
}

#[test]
fn a_lender_that_comes_later_is_seen_too() {
    let mut data = service("data:1");
    data.volumes.push(anonymous("/data"));
    let mut web = service("web:1");
    web.volumes_from = volumes_of("zoo");
    web.deploy = rolls(RolloutOrder::StartFirst, FailureAction::Pause);
    let mut stack = with([("zoo", data), ("web", web)]);
    let mut host = up_with(&stack);
    edit(&mut stack, "web", |web| web.volumes_from.clear());
    edit(&mut stack, "zoo", |zoo| zoo.image = Some("data:2".into()));
    let plan = plan_with(&stack, &host, &renewing());
    let text = plan.to_string();
    assert!(
        text.contains("stops first: the volumes it has of another one are made anew"),
        "{text}"
    );
    host.apply_all(&plan, 3);
    assert!(super::plan(&stack, &host).is_empty());
}

#[test]
fn who_lends_volumes_may_borrow_them_the_other_way_round() {
    let mut a = service("a:1");
    (a.volumes_from, a.volumes) = (volumes_of("b"), vec![anonymous("/a")]);
    let mut b = service("b:1");
    b.volumes = vec![anonymous("/b")];
    let first = with([("a", a), ("b", b)]);
    for options in [UpOptions::default(), renewing()] {
        let (mut stack, mut host) = (first.clone(), up_with(&first));
        edit(&mut stack, "a", |a| a.volumes_from.clear());
        edit(&mut stack, "b", |b| b.volumes_from = volumes_of("a"));
        let plan = plan_with(&stack, &host, &options);
        let created = |name| at(&plan, "create_container", name);
        assert!(created("shop-a-1") < created("shop-b-1"), "{plan}");
        host.apply_all(&plan, 3);
        assert!(super::plan(&stack, &host).is_empty());
    }
}

#[test]
fn what_needs_another_may_be_needed_by_it() {
    type Turn = fn(&mut Service, &str);
    let turns: [Turn; 5] = [
        |of, other| {
            of.networks.clear();
            of.network_mode = Some(NetworkMode::Service(other.into()));
        },
        |of, other| of.pid = PidMode::Service(other.into()),
        |of, other| of.ipc = IpcMode::Service(other.into()),
        |of, other| of.links = vec![Link { name: other.into(), alias: other.into() }],
        |of, other| {
            let on = Dependency { restart: true, ..dependency(Condition::ServiceStarted) };
            of.depends_on.insert(other.into(), on);
        },
    ];
    let stack = |turn: Turn, from: &str, to: &str, image: &str| {
        let mut stack = with([("a", service(image)), ("b", service(image))]);
        edit(&mut stack, from, |of| turn(of, to));
        if stack.services[from].ipc != IpcMode::Private {
            edit(&mut stack, to, |lender| lender.ipc = IpcMode::Shareable);
        }
        stack
    };
    for turn in turns {
        for image in ["app:1", "app:2"] {
            for ended in [&[][..], &["shop-a-1"], &["shop-b-1"], &["shop-a-1", "shop-b-1"]] {
                for options in [UpOptions::default(), renewing(), kept()] {
                    let mut host = up_with(&stack(turn, "a", "b", "app:1"));
                    stopped(&mut host, ended);
                    let second = stack(turn, "b", "a", image);
                    let plan = plan_with(&second, &host, &options);
                    host.apply_all(&plan, 3);
                    assert!(plan_with(&second, &host, &options).is_empty());
                }
            }
        }
    }
}

#[test]
fn who_shares_no_ids_any_more_gets_its_own() {
    let mut a = service("a:1");
    a.pid = PidMode::Service("b".into());
    let mut stack = with([("a", a), ("b", service("b:1"))]);
    let mut host = up_with(&stack);
    edit(&mut stack, "a", |a| a.pid = PidMode::Private);
    let plan = plan_with(&stack, &host, &UpOptions::default());
    host.apply_all(&plan, 3);
    let base = |name| host.observed.containers[name].record.id_base.unwrap();
    assert_ne!(base("shop-a-1"), base("shop-b-1"));
}

#[test]
fn whose_network_a_kept_container_has_starts_first_though_its_file_says_otherwise() {
    let first = with([("vpn", service("vpn:1")), ("web", inside("web:1", "vpn"))]);
    let mut host = up_with(&first);
    stopped(&mut host, &["shop-web-1", "shop-vpn-1"]);
    let mut vpn = service("vpn:1");
    vpn.depends_on.insert("web".into(), dependency(Condition::ServiceStarted));
    let stack = with([("vpn", vpn), ("web", service("web:1"))]);
    let both = plan_with(&stack, &host, &kept());
    assert_snapshot!(steps(&both), @r"
    0 start_container shop-vpn-1 ←
    1 start_container shop-web-1 ← 0
    ");
    assert_snapshot!(both, @r"
    start  vpn-1  was stopped by the user
    start  web-1  was stopped by the user
    note: shop-vpn-1: it does not wait for `shop-web-1`, which can only start after it
    Plan: 2 start, 1 unchanged
    ");
    // Also where the one is made by what its file says.
    let mut vanished = host.clone();
    vanished.observed.containers.remove("shop-vpn-1");
    for mut host in [host, vanished] {
        let plan = plan_with(&stack, &host, &kept());
        host.apply_all(&plan, 3);
        assert!(plan_with(&stack, &host, &kept()).is_empty());
    }
}

#[test]
fn a_volume_that_somebody_else_keeps_is_not_made_anew() {
    let mut data = service("data:1");
    data.volumes.push(anonymous("/data"));
    let mut web = service("web:1");
    web.volumes_from = volumes_of("data");
    let both = with([("data", data), ("web", web)]);
    let mut host = up_with(&both);
    let mut stack = both.clone();
    stack.services.remove("web");
    edit(&mut stack, "data", |data| data.image = Some("data:2".into()));
    let plan = plan_with(&stack, &host, &renewing());
    assert_snapshot!(plan, @r#"
    pull     image data:2
    replace  data-1        image "data:1" → "data:2"
    warning: container `shop-web-1` is an orphan: service `web` is not in the stack (`--remove-orphans` removes it)
    warning: volume `shop-data-1-data` stays, and `shop-data-1` keeps it: container `shop-web-1` has it
    Plan: 1 replace, 1 pull, 1 unchanged
    "#);
    let with_orphan = UpOptions { remove_orphans: true, ..renewing() };
    at(&plan_with(&stack, &host, &with_orphan), "remove_volume", "shop-data-1-data");
    host.apply_all(&plan, 3);
    assert!(super::plan(&stack, &host).is_empty());

    // Nor is one of a container that has vanished, below who is not made anew.
    let mut host = up_with(&both);
    host.observed.containers.remove("shop-data-1");
    let options = UpOptions { renew_volumes: true, ..kept() };
    assert_snapshot!(plan_with(&both, &host, &options), @r"
    create  data-1  data:1
    warning: volume `shop-data-1-data` stays, and `shop-data-1` keeps it: container `shop-web-1` has it
    Plan: 1 create, 2 unchanged
    ");
}

#[test]
fn a_rollout_that_was_broken_off_does_not_go_on_with_volumes_that_are_made_anew() {
    let mut data = service("data:1");
    data.volumes.push(anonymous("/data"));
    let mut web = service("web:1");
    web.volumes_from = volumes_of("data");
    web.deploy = rolls(RolloutOrder::StartFirst, FailureAction::Pause);
    let mut stack = with([("data", data), ("web", web)]);
    let mut host = up_with(&stack);
    edit(&mut stack, "web", |web| web.image = Some("web:2".into()));
    let broken = plan(&stack, &host);
    host.apply(&broken, 3, Some(Break::Dies(at(&broken, "launch_container", "shop-web-1-b"))));
    assert!(host.observed.containers.contains_key("shop-web-1-b"));

    edit(&mut stack, "data", |data| data.image = Some("data:2".into()));
    let plan = plan_with(&stack, &host, &renewing());
    let removal = at(&plan, "remove_volume", "shop-data-1-data");
    assert!(at(&plan, "remove_container", "shop-web-1-b") < removal, "{plan}");
    assert!(plan.warnings.is_empty(), "{plan}");
    host.apply_all(&plan, 3);
    assert!(super::plan(&stack, &host).is_empty());
}

#[test]
fn what_was_made_inside_another_starts_before_that_one_is_prepared_anew() {
    let stack = with([("a", service("a:1")), ("b", inside("b:1", "a"))]);
    let mut host = up_with(&stack);
    stopped(&mut host, &["shop-b-1"]);
    host.observed.containers.remove("shop-a-1");
    let mut stack = with([("a", service("a:1")), ("b", service("b:1"))]);
    edit(&mut stack, "a", |a| {
        a.depends_on = [("b".to_owned(), dependency(Condition::ServiceStarted))].into();
        a.pre_start = vec![inits::step(None)];
    });
    let plan = plan_with(&stack, &host, &kept());
    assert_snapshot!(steps(&plan), @r"
    0 create_container shop-a-pre_start-1 ←
    1 start_container shop-a-pre_start-1 ← 0
    2 await_container shop-a-pre_start-1 ← 1
    3 create_container shop-a-1 ← 2
    4 remove_container shop-a-pre_start-1 ← 2,3
    5 start_container shop-a-1 ← 3
    6 start_container shop-b-1 ← 5
    ");
    host.apply_all(&plan, 3);
}

#[test]
fn who_follows_without_what_its_file_gives_it_stays_as_it_is() {
    let first = with([("web", service("web:1")), ("app", service("app:1"))]);
    let mut host = up_with(&first);
    host.drop_network("shop_default").unwrap();
    let mut stack =
        with([("web", service("web:1")), ("app", service("app:1")), ("data", service("data:1"))]);
    edit(&mut stack, "app", |app| app.volumes_from = volumes_of("data"));
    let options = UpOptions { services: vec!["web".into()], no_deps: true, ..UpOptions::default() };
    // One that lost its secrets is made anew for that alone.
    let mut rebooted = up_with(&first);
    rebooted.observed.containers.get_mut("shop-app-1").unwrap().state = ContainerState::Broken;
    let refused = up(&desired(&stack), &rebooted.observed, &options, &stack.places);
    assert!(refused.unwrap_err().to_string().contains("shop-data-1"));
    let refused = up(&desired(&stack), &host.observed, &options, &stack.places).unwrap_err();
    assert_snapshot!(refused, @r"container `shop-app-1` has the volumes of `shop-data-1`, which does not exist: bring that one up first");
    let plan = plan_with(&stack, &host, &UpOptions::default());
    host.apply_all(&plan, 3);
}

#[test]
fn a_migration_is_waited_for_rather_than_a_start_that_cannot_be_first() {
    let first = with([("a", service("a:1")), ("b", inside("b:1", "a")), ("c", service("c:1"))]);
    let mut host = up_with(&first);
    stopped(&mut host, &["shop-a-1", "shop-b-1", "shop-c-1"]);
    let mut stack = with([("a", service("a:1")), ("b", service("b:1")), ("c", service("c:1"))]);
    let on = |name: &str, condition| BTreeMap::from([(name.to_owned(), dependency(condition))]);
    edit(&mut stack, "a", |a| a.depends_on = on("c", Condition::ServiceCompletedSuccessfully));
    edit(&mut stack, "c", |c| c.depends_on = on("b", Condition::ServiceStarted));
    // Not checked: no order has what each of the three needs.
    let plan = up(&desired(&stack), &host.observed, &kept(), &stack.places).unwrap();
    assert!(at(&plan, "await_container", "shop-c-1") < at(&plan, "start_container", "shop-a-1"));
    assert!(at(&plan, "start_container", "shop-a-1") < at(&plan, "start_container", "shop-b-1"));
}
