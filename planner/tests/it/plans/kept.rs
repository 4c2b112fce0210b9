//! Containers that are kept whatever changed (`--no-recreate`).

use super::*;

fn kept() -> UpOptions {
    UpOptions { no_recreate: true, ..UpOptions::default() }
}

/// An `app` that was made on the network `back`, which its file does not give it any more; and its host.
fn moved() -> (Stack, FakeHost) {
    let mut stack = with([("app", service("app:1"))]);
    stack.networks.insert("back".into(), network("back"));
    let app = stack.services.get_mut("app").unwrap();
    app.networks = BTreeMap::from([("back".into(), ServiceNetwork::default())]);
    let mut host = up_with(&stack);
    let app = stack.services.get_mut("app").unwrap();
    app.networks = BTreeMap::from([("default".into(), ServiceNetwork::default())]);
    let have = host.observed.containers.get_mut("shop-app-1").unwrap();
    (have.state, have.monitored) = (ContainerState::Created, false);
    (stack, host)
}

#[test]
fn a_network_that_only_its_record_names_is_put_right_before_it_starts() {
    let (mut stack, mut host) = moved();
    host.observed.networks.get_mut("shop_back").unwrap().bridge_up = false;
    let plan = plan_with(&stack, &host, &kept());
    assert_snapshot!(plan, @r"
    repair  network shop_back     drift: its bridge is gone or down
    create  network shop_default  172.20.0.0/16
    start   app-1                 not started yet
    warning: network `shop_back` has 172.19.0.0/16, and the route 172.19.0.0/16 of this host overlaps it: its containers and whoever is behind that route may not reach each other; name another `subnet` in its `ipam.config`
    Plan: 1 create, 1 start, 1 repair
    ");
    // Also one that the file has no more.
    stack.networks.remove("back");
    assert_eq!(plan_with(&stack, &host, &kept()).to_string(), plan.to_string());
    host.apply_all(&plan, 3);
    assert_eq!(host.stale(), Vec::<String>::new());
}

#[test]
fn a_network_that_is_gone_is_made_for_it_or_forbids_it() {
    let (mut stack, mut host) = moved();
    host.drop_network("shop_back").unwrap();
    let plan = plan_with(&stack, &host, &kept());
    assert_snapshot!(plan, @r"
    create  network shop_back     172.19.0.0/16
    create  network shop_default  172.20.0.0/16
    start   app-1                 not started yet
    Plan: 2 create, 1 start
    ");
    stack.networks.remove("back");
    let refused = up(&desired(&stack), &host.observed, &kept(), &stack.places).unwrap_err();
    assert_snapshot!(refused, @r"network `shop_back` of container `shop-app-1` does not exist any more, and the file does not describe it: leave `--no-recreate` out, so that the container is made anew as its service says");
    host.apply_all(&plan, 3);
}

#[test]
fn a_network_that_cannot_be_made_is_told_once() {
    let mut stack = with([("app", service("app:1"))]);
    let mut host = up_with(&stack);
    host.drop_network("shop_default").unwrap();
    let have = host.observed.containers.get_mut("shop-app-1").unwrap();
    (have.state, have.monitored) = (ContainerState::Created, false);
    stack.networks.get_mut("default").unwrap().external = true;
    for options in [UpOptions::default(), kept()] {
        let refused = up(&desired(&stack), &host.observed, &options, &stack.places).unwrap_err();
        insta::allow_duplicates! {
            assert_snapshot!(refused, @"network `shop_default` is external and does not exist: `berth up` of the stack that describes it makes it, with `name: shop_default` there");
        }
    }
}

#[test]
fn one_that_runs_gets_a_place_on_the_network_that_is_made_under_it() {
    let stack = with([("app", service("app:1"))]);
    let mut host = up_with(&stack);
    host.drop_network("shop_default").unwrap();
    // Somebody else has its subnet by now.
    host.observed.host.routes.push("172.19.0.0/16".parse().unwrap());
    let plan = plan_with(&stack, &host, &kept());
    assert_snapshot!(steps(&plan), @r"
    0 stop_container shop-app-1 ←
    1 create_network shop_default ← 0
    2 update_container shop-app-1 ← 0,1
    3 start_container shop-app-1 ← 2
    ");
    assert_snapshot!(plan, @r"
    restart  app-1                 network `shop_default` is made anew
    create   network shop_default  172.20.0.0/16
    note: shop-app-1: it is cut off network `shop_default` for a moment
    Plan: 1 create, 1 restart
    ");
    host.apply_all(&plan, 3);
    let network = &host.observed.networks["shop_default"].record;
    let has = host.observed.containers["shop-app-1"].record.addresses["shop_default"];
    assert!(has.iter().all(|address| network.subnets[0].net.contains(&address)));
    assert!(super::plan(&stack, &host).is_empty());
}

#[test]
fn limits_that_somebody_set_are_put_back_whatever_its_file_says() {
    let mut stack = with([("app", service("app:1"))]);
    let mut host = up_with(&stack);
    stack.services.get_mut("app").unwrap().image = Some("app:2".into());
    let limit = MovedLimit {
        attribute: "mem_limit".into(),
        file: "memory.max".into(),
        set: "2".into(),
        seen: "1".into(),
    };
    host.observed.containers.get_mut("shop-app-1").unwrap().moved_limits = vec![limit];
    let plan = plan_with(&stack, &host, &kept());
    assert_snapshot!(plan, @r"
    update  app-1  drift: mem_limit: memory.max is 1, not 2
    Plan: 1 update, 1 unchanged
    ");
    host.apply_all(&plan, 3);
    let app = &host.observed.containers["shop-app-1"];
    assert_eq!(app.record.spec.image, "app:1");
}
