//! Networks beside a link of the host.

use super::inits::step;
use super::*;

const L2: Way = Way::Ipvlan(IpvlanMode::L2, IpvlanFlag::Bridge);
const L3: Way = Way::Ipvlan(IpvlanMode::L3, IpvlanFlag::Bridge);
const BRIDGE: Way = Way::Macvlan(MacvlanMode::Bridge);
const PASSTHRU: Way = Way::Macvlan(MacvlanMode::Passthru);

/// A network that stands beside `link` in some way, with a range of addresses of its own there.
fn beside(key: &str, link: &str, way: Way, part: u8) -> Network {
    let pool = IpamPool {
        subnet: Some("192.0.2.0/24".into()),
        ip_range: Some(format!("192.0.2.{part}/28")),
        ..IpamPool::default()
    };
    let beside = Some(Beside { parent: Some(link.into()), way });
    let driver = match way {
        Way::Macvlan(_) => NetworkDriver::Macvlan,
        Way::Ipvlan(..) => NetworkDriver::Ipvlan,
    };
    Network { driver, beside, ipam: vec![pool], ..network(key) }
}

fn on(keys: &[&str]) -> Service {
    let mut service = service("app:1");
    service.networks =
        keys.iter().map(|key| ((*key).to_owned(), ServiceNetwork::default())).collect();
    service
}

/// These services, with a `wire` that is one container's.
fn alone(services: impl IntoIterator<Item = (&'static str, Service)>) -> Stack {
    let mut stack = with(services);
    stack.networks.insert("wire".into(), beside("wire", "eth0", PASSTHRU, 16));
    stack
}

/// Applies it in many orders.
fn apply(host: &FakeHost, plan: &Plan) -> FakeHost {
    for seed in 1..40 {
        host.clone().apply_all(plan, seed);
    }
    let mut host = host.clone();
    host.apply_all(plan, 0);
    host
}

fn rolled(order: RolloutOrder, on_failure: FailureAction) -> Option<Box<Deploy>> {
    let (order, on_failure) = (Some(order), Some(on_failure));
    let update = Some(Rollout { order, on_failure, ..Rollout::default() });
    Some(Box::new(Deploy { update, ..Deploy::default() }))
}

#[test]
fn a_network_stands_beside_a_link_that_is_there_in_a_way_that_nobody_excludes() {
    let mut stack = with([("app", on(&["first", "second", "third", "tagged"]))]);
    for (key, link, way, part) in [
        ("first", "eth0", L2, 16),
        ("second", "eth0", L2, 32),
        ("third", "eth1", BRIDGE, 48),
        ("tagged", "eth0.7", BRIDGE, 64),
    ] {
        stack.networks.insert(key.into(), beside(key, link, way, part));
    }
    let mut host = FakeHost::new();
    host.observed.host.links = ["lo", "eth0", "eth1"].map(String::from).into();
    plan(&stack, &host);
    host.observed.host.links = ["lo", "eth1"].map(String::from).into();
    assert_snapshot!(problems(&stack, &host), @r"
    this host has no link `eth0`, which network `shop_first` is to stand beside: `parent` is to be one that `ip link` lists, or `LINK.NUMBER` for a VLAN on one
    this host has no link `eth0`, which network `shop_second` is to stand beside: `parent` is to be one that `ip link` lists, or `LINK.NUMBER` for a VLAN on one
    this host has no link `eth0`, which network `shop_tagged` is to stand beside: `parent` is to be one that `ip link` lists, or `LINK.NUMBER` for a VLAN on one
    ");

    host.observed.host.links = ["lo", "eth0", "eth1"].map(String::from).into();
    let mut other = stack.clone();
    other.networks.insert("second".into(), beside("second", "eth0", L3, 32));
    assert_snapshot!(problems(&other, &host), @r"network `shop_second` would stand beside link `eth0` as ipvlan (l3, bridge), and network `shop_first` stands there as ipvlan (l2, bridge), which a link cannot have both: make both the same, or name another `parent`");
    // One that stands there already, of whichever stack.
    host.apply_all(&plan(&stack, &host), 1);
    let mut new = with([("new", on(&["new"]))]);
    new.name = "other".into();
    new.networks.insert("new".into(), beside("new", "eth1", L2, 80));
    assert_snapshot!(problems(&new, &host), @r"network `shop_new` would stand beside link `eth1` as ipvlan (l2, bridge), and network `shop_third` stands there as macvlan (bridge), which a link cannot have both: make both the same, or name another `parent`");
    new.networks.insert("new".into(), beside("new", "eth1", BRIDGE, 80));
    plan(&new, &host);
}

#[test]
fn a_link_passed_through_is_for_one_container() {
    let mut stack = alone([("app", on(&["wire"])), ("more", on(&["wire"]))]);
    assert_snapshot!(problems(&stack, &FakeHost::new()), @r"network `shop_wire` leaves its link to one container (`passthru`), and `shop-app-1` has it: leave `shop-more-1` out, or choose another `macvlan_mode`");
    stack.services.remove("more");
    stack.services.get_mut("app").unwrap().replicas = 2;
    assert_snapshot!(problems(&stack, &FakeHost::new()), @r"network `shop_wire` leaves its link to one container (`passthru`), and `shop-app-1` has it: leave `shop-app-2` out, or choose another `macvlan_mode`");

    stack.services.get_mut("app").unwrap().replicas = 1;
    let mut host = up_with(&stack);
    stack.services.get_mut("app").unwrap().environment.insert("NEW".into(), Some("1".into()));
    host.apply_all(&plan(&stack, &host), 1);
    let mut first = stack.clone();
    let app = first.services.get_mut("app").unwrap();
    app.deploy = rolled(RolloutOrder::StartFirst, FailureAction::Pause);
    assert_snapshot!(problems(&first, &host), @r"service `app` cannot be replaced `start-first`: both would have the link of network `shop_wire` alone; write `order: stop-first`");
    stack.services.get_mut("app").unwrap().replicas = 2;
    assert_snapshot!(problems(&stack, &host), @r"network `shop_wire` leaves its link to one container (`passthru`), and `shop-app-1` has it: leave `shop-app-2` out, or choose another `macvlan_mode`");
}

#[test]
fn who_prepares_a_container_or_does_not_run_leaves_a_link_to_it() {
    let mut app = on(&["wire"]);
    app.pre_start = vec![step(None)];
    let stack = alone([("app", app)]);
    let host = FakeHost::new();
    let first = plan(&stack, &host);
    // Broken off at each step, the next run goes on.
    for broken in 0..first.steps.len() {
        let mut host = host.clone();
        host.apply(&first, 1, Some(Break::Dies(broken)));
        apply(&host, &plan(&stack, &host));
    }
    // Two that take turns are made, not started.
    let stack = alone([("one", on(&["wire"])), ("two", on(&["wire"]))]);
    let made = UpOptions { no_start: true, ..UpOptions::default() };
    apply(&host, &plan_with(&stack, &host, &made));
}

#[test]
fn the_next_one_comes_to_a_link_when_the_last_has_left() {
    let mut app = on(&["wire"]);
    app.deploy = rolled(RolloutOrder::StopFirst, FailureAction::Rollback);
    let stack = alone([("app", app.clone())]);
    let host = up_with(&stack);
    app.image = Some("app:2".into());
    let next = plan(&alone([("app", app.clone())]), &host);
    assert_snapshot!(next, @r#"
    pull    image app:2
    create  app-1-b      app:2
                         takes over from `shop-app-1`
                         image "app:1" → "app:2"
    remove  app-1        another takes its place
                         stop-first as the file says: gap expected, no TCP port to hold
    Plan: 1 create, 1 pull, 1 remove, 1 unchanged
    "#);
    apply(&host, &next);
    // What prepares the new one would begin beside the old one, which is kept.
    app.pre_start = vec![step(None)];
    let prepared = plan(&alone([("app", app)]), &host);
    assert_snapshot!(prepared, @r#"
    pull     image app:2
    run      app-pre_start-1  app:2
                              `app` waits for it
    replace  app-1            cannot be rolled back: both would have the link of network `shop_wire` alone
                              stop-first as the file says: gap expected, no TCP port to hold
                              image "app:1" → "app:2"
                              pre_start — → [{"image":null,"command":["prepare"],"environment":{},"user":null,"working_dir":null,"privileged":false,"per_replica":false}]
    Plan: 1 replace, 1 run, 1 pull, 1 unchanged
    "#);
    apply(&host, &prepared);
    let renamed = alone([("web", on(&["wire"]))]);
    let options = UpOptions { remove_orphans: true, ..UpOptions::default() };
    apply(&host, &plan_with(&renamed, &host, &options));
    let mut other = alone([("app", on(&["wire"])), ("web", on(&["wire"]))]);
    other.services.get_mut("app").unwrap().replicas = 0;
    apply(&host, &plan(&other, &host));
    // The same with a link that one of two gets while both run.
    let stack =
        |of_one: &[&str], of_two: &[&str]| alone([("one", on(of_one)), ("two", on(of_two))]);
    let host = up_with(&stack(&["wire", "default"], &["default"]));
    plan(&stack(&["default"], &["wire", "default"]), &host);
}

#[test]
fn who_leaves_a_link_and_who_comes_never_wait_for_each_other() {
    // Two change places while they run.
    let both = |of_one: &str, of_two: &str| {
        let mut stack = alone([("one", on(&[of_one])), ("two", on(&[of_two]))]);
        stack.networks.insert("cable".into(), beside("cable", "eth1", PASSTHRU, 48));
        stack
    };
    let host = up_with(&both("wire", "cable"));
    plan(&both("cable", "wire"), &host);
    // One leaves it and serves until its heir has come, which waits for the one that comes.
    let host = up_with(&alone([("app", on(&["wire", "default"]))]));
    let mut app = on(&["default"]);
    app.image = Some("app:2".into());
    app.deploy = rolled(RolloutOrder::StartFirst, FailureAction::Pause);
    app.depends_on = [("web".to_owned(), dependency(Condition::ServiceStarted))].into();
    plan(&alone([("app", app), ("web", on(&["wire", "default"]))]), &host);
}

#[test]
fn a_rollout_to_another_network_of_the_same_link_is_told() {
    let stack = |key: &'static str, way: Way, image: &str, order: RolloutOrder| {
        let mut app = on(&[key]);
        app.image = Some(image.into());
        app.deploy = rolled(order, FailureAction::Rollback);
        let mut stack = with([("app", app)]);
        stack
            .networks
            .insert(key.into(), beside(key, "eth0", way, if key == "a" { 16 } else { 48 }));
        stack
    };
    for order in [RolloutOrder::StartFirst, RolloutOrder::StopFirst] {
        let host = up_with(&stack("a", L2, "app:1", order));
        insta::allow_duplicates! {
            assert_snapshot!(problems(&stack("b", L3, "app:2", order), &host), @r"network `shop_b` would stand beside link `eth0` as ipvlan (l3, bridge), and network `shop_a` stands there as ipvlan (l2, bridge), which a link cannot have both: make both the same, or name another `parent`");
        }
    }
}

#[test]
fn a_link_may_be_one_that_the_same_plan_makes() {
    let mut stack = with([("app", on(&["lan", "vm", "tagged", "twice"]))]);
    let name = "com.docker.network.bridge.name".to_owned();
    stack.networks.get_mut("lan").unwrap().driver_opts.insert(name, "br-lan".into());
    for (key, link, part) in
        [("vm", "br-lan", 16), ("twice", "eth0.10.20", 32), ("tagged", "eth0.10", 48)]
    {
        stack.networks.insert(key.into(), beside(key, link, BRIDGE, part));
    }
    let mut host = FakeHost::new();
    host.observed.host.links = ["lo", "eth0"].map(String::from).into();
    let made = steps(&plan(&stack, &host));
    for line in ["1 create_network shop_lan", "2 create_network shop_tagged"] {
        assert!(made.contains(line), "{made}");
    }
    for line in ["create_network shop_vm ← 0,1", "create_network shop_twice ← 0,2"] {
        assert!(made.contains(line), "{made}");
    }
    host.observed.host.links = ["lo".to_owned()].into();
    assert_snapshot!(problems(&stack, &host), @r"
    this host has no link `eth0`, which network `shop_tagged` is to stand beside: `parent` is to be one that `ip link` lists, or `LINK.NUMBER` for a VLAN on one
    this host has no link `eth0.10`, which network `shop_twice` is to stand beside: `parent` is to be one that `ip link` lists, or `LINK.NUMBER` for a VLAN on one
    ");
}

#[test]
fn a_network_comes_to_a_link_when_those_it_excludes_there_have_gone() {
    let stack = |first: Way, second: Way| {
        let mut stack = with([("app", on(&["first"])), ("web", on(&["second"]))]);
        stack.networks.insert("first".into(), beside("first", "eth0", first, 16));
        stack.networks.insert("second".into(), beside("second", "eth0", second, 32));
        stack
    };
    let host = up_with(&stack(BRIDGE, BRIDGE));
    apply(&host, &plan(&stack(L2, L2), &host));
    // One that another takes the place of.
    let mut next = with([("app", on(&["third"])), ("web", on(&["third"]))]);
    next.networks.insert("third".into(), beside("third", "eth0", L3, 48));
    let host = up_with(&stack(L2, L2));
    let options = UpOptions { remove_orphans: true, ..UpOptions::default() };
    assert_snapshot!(problems(&next, &host), @r"network `shop_third` would stand beside link `eth0` as ipvlan (l3, bridge), and network `shop_first` stands there as ipvlan (l2, bridge), which a link cannot have both: make both the same, or name another `parent`");
    let mut replaced = next.clone();
    replaced.services = with([("new", on(&["third"]))]).services;
    apply(&host, &plan_with(&replaced, &host, &options));
}

#[test]
fn a_link_that_is_gone_matters_to_who_starts_on_it() {
    let mut stack = with([("cam", on(&["wire"])), ("db", on(&["default"]))]);
    stack.networks.insert("wire".into(), beside("wire", "eth1", BRIDGE, 16));
    let mut host = up_with(&stack);
    host.observed.host.links = ["lo".to_owned()].into();
    host.observed.networks.get_mut("shop_wire").unwrap().bridge_up = false;
    assert_snapshot!(problems(&stack, &host), @r"this host has no link `eth1`, which network `shop_wire` is to stand beside: `parent` is to be one that `ip link` lists, or `LINK.NUMBER` for a VLAN on one");
    // Who does not start needs none.
    let cam = host.observed.containers.get_mut("shop-cam-1").unwrap();
    let ended = ContainerState::Exited { exit_code: 0, finished_at: 0 };
    (cam.state, cam.monitored) = (ended, false);
    let options = UpOptions { services: vec!["db".into()], ..UpOptions::default() };
    plan_with(&stack, &host, &options);
}
