//! What shares namespaces or volumes with a container that goes.

use berth_planner::desired::PidSpace;
use berth_schema::stack::{NetworkMode, PidMode};

use super::*;

/// A `web` that has the network of `vpn`, and the volumes of `data`.
fn sharing() -> Stack {
    let mut web = service("web:1");
    web.networks.clear();
    web.network_mode = Some(NetworkMode::Service("vpn".into()));
    let source = VolumesSource::Service("data".into());
    web.volumes_from.push(VolumesFrom { source, read_only: false });
    let mut data = service("data:1");
    let source = MountSource::Anonymous { nocopy: false, labels: BTreeMap::new() };
    data.volumes.push(Mount { target: "/data".into(), source, read_only: false });
    let mut stack = with([("web", web), ("vpn", service("vpn:1")), ("data", data)]);
    stack.places.insert("services.web.network_mode", place(7, 19));
    stack.places.insert("services.web.volumes_from", place(8, 19));
    stack
}

fn scaled(to: &[(&str, u32)]) -> UpOptions {
    let scale = to.iter().map(|(service, count)| (service.to_string(), *count)).collect();
    UpOptions { scale, ..UpOptions::default() }
}

fn refused(stack: &Stack, host: &FakeHost, options: &UpOptions) -> String {
    up(&desired(stack), &host.observed, options, &stack.places).unwrap_err().to_string()
}

#[test]
fn no_container_is_scaled_away_under_who_shares_its_network() {
    let host = up_with(&sharing());
    assert_snapshot!(refused(&sharing(), &host, &scaled(&[("vpn", 0)])), @r"container `shop-web-1` has the network of `shop-vpn-1` (shop.yaml:7:19), and this takes `shop-vpn-1` away: keep a container of `vpn`, or scale `web` to 0 too (`--scale web=0`)");
    // The one service is named and the other is not; it runs on all the same.
    let options = UpOptions { services: vec!["vpn".into()], ..scaled(&[("vpn", 0)]) };
    assert_snapshot!(refused(&sharing(), &host, &options), @r"container `shop-web-1` has the network of `shop-vpn-1` (shop.yaml:7:19), and this takes `shop-vpn-1` away: keep a container of `vpn`, or scale `web` to 0 too (`--scale web=0`)");
    assert_snapshot!(plan_with(&sharing(), &host, &scaled(&[("vpn", 0), ("web", 0)])), @r"
    remove  web-1
    remove  vpn-1
    Plan: 2 remove, 2 unchanged
    ");
}

#[test]
fn a_container_is_made_only_with_the_one_whose_volumes_it_has() {
    let mut host = up_with(&sharing());
    assert_snapshot!(plan_with(&sharing(), &host, &scaled(&[("data", 0)])), @r"
    remove  data-1
    Plan: 1 remove, 3 unchanged
    ");
    host.observed.containers.remove("shop-web-1");
    assert_snapshot!(refused(&sharing(), &host, &scaled(&[("data", 0)])), @r"container `shop-web-1` has the volumes of `shop-data-1` (shop.yaml:8:19), and this takes `shop-data-1` away: keep a container of `data`, or scale `web` to 0 too (`--scale web=0`)");
}

#[test]
fn an_orphan_does_not_go_under_who_was_made_to_share_its_network() {
    let mut host = up_with(&sharing());
    for have in host.observed.containers.values_mut() {
        (have.state, have.monitored) = (ContainerState::Created, false);
    }
    let mut stack = sharing();
    stack.services.remove("vpn");
    let web = stack.services.get_mut("web").unwrap();
    web.network_mode = None;
    web.networks.insert("default".into(), ServiceNetwork::default());
    let kept = UpOptions { no_recreate: true, remove_orphans: true, ..UpOptions::default() };
    assert_snapshot!(refused(&stack, &host, &kept), @r"container `shop-web-1` has the network of `shop-vpn-1`, and this takes `shop-vpn-1` away: leave `--no-recreate` out, so that it is made anew as its service says");
    host.observed.containers.remove("shop-vpn-1");
    assert_snapshot!(refused(&stack, &host, &kept), @r"container `shop-web-1` shares a namespace of `shop-vpn-1`, which does not exist: leave `--no-recreate` out, so that it is made anew as its service says");
    let anew = UpOptions { remove_orphans: true, ..UpOptions::default() };
    assert_snapshot!(plan_with(&stack, &host, &anew), @r#"
    start    data-1  not started yet
    replace  web-1   network_mode "container:shop-vpn-1" → "bridge" (shop.yaml:7:19)
                     networks.shop_default — → on
                     depends_on.vpn {"condition":"service_started","restart":true,"required":true} → —
    Plan: 1 replace, 1 start, 1 unchanged
    "#);
}

#[test]
fn who_shares_by_its_record_alone_is_to_be_brought_up_too() {
    let mut stack = sharing();
    stack.services.get_mut("web").unwrap().volumes_from.clear();
    stack.services.insert("other".into(), service("other:1"));
    let host = up_with(&stack);
    let web = stack.services.get_mut("web").unwrap();
    web.network_mode = None;
    web.networks.insert("default".into(), ServiceNetwork::default());
    let scaled_away = UpOptions { services: vec!["vpn".into()], ..scaled(&[("vpn", 0)]) };
    assert_snapshot!(refused(&stack, &host, &scaled_away), @"container `shop-web-1` has the network of `shop-vpn-1`, and this takes `shop-vpn-1` away: bring `web` up too, which makes it anew as the file has it");
    stack.services.remove("vpn");
    let named = |services: &[&str]| UpOptions {
        services: services.iter().map(ToString::to_string).collect(),
        remove_orphans: true,
        ..UpOptions::default()
    };
    assert_snapshot!(refused(&stack, &host, &named(&["other"])), @"container `shop-web-1` has the network of `shop-vpn-1`, and this takes `shop-vpn-1` away: bring `web` up too, which makes it anew as the file has it");
    plan_with(&stack, &host, &named(&["other", "web"]));
}

#[test]
fn volumes_made_anew_end_a_rollout_of_who_has_them_too() {
    let with_order = |order, vanished: bool| {
        let mut stack = sharing();
        let on_failure = Some(FailureAction::Rollback);
        let update = Some(Rollout { order: Some(order), on_failure, ..Rollout::default() });
        let web = stack.services.get_mut("web").unwrap();
        web.network_mode = None;
        web.networks.insert("default".into(), ServiceNetwork::default());
        web.deploy = Some(Box::new(Deploy { update, ..Deploy::default() }));
        let mut host = up_with(&stack);
        if vanished {
            host.observed.containers.remove("shop-data-1");
        }
        let force_recreate = !vanished;
        let options = UpOptions { renew_volumes: true, force_recreate, ..UpOptions::default() };
        let plan = plan_with(&stack, &host, &options);
        let text = plan.to_string();
        assert!(text.contains("the volumes it has of another one are made anew"), "{text}");
        host.apply_all(&plan, 3);
        assert!(super::plan(&stack, &host).is_empty());
    };
    for order in [RolloutOrder::StartFirst, RolloutOrder::StopFirst] {
        with_order(order, false);
        with_order(order, true);
    }
}

#[test]
fn who_is_named_by_container_may_be_made_by_the_same_run() {
    let mut app = service("app:1");
    app.pid = PidMode::Container("shop-data-1".into());
    let source = VolumesSource::Container("shop-data-1".into());
    app.volumes_from.push(VolumesFrom { source, read_only: false });
    let mut data = sharing().services.remove("data").unwrap();
    data.networks.insert("default".into(), ServiceNetwork::default());
    let stack = with([("app", app), ("data", data)]);
    let mut host = up_with(&stack);
    let base = |host: &FakeHost, name: &str| host.observed.containers[name].record.id_base.unwrap();
    assert_eq!(base(&host, "shop-app-1"), base(&host, "shop-data-1"));
    // Removed, and the machine was started again: secrets are gone with that.
    host.observed.containers.remove("shop-data-1");
    host.observed.containers.get_mut("shop-app-1").unwrap().state = ContainerState::Broken;
    let named = UpOptions { services: vec!["data".into()], ..UpOptions::default() };
    assert_snapshot!(plan_with(&stack, &host, &named), @r"
    replace  app-1   left half made by a crash
    create   data-1  data:1
    Plan: 1 create, 1 replace, 1 unchanged
    ");
    let plan = super::plan(&stack, &host);
    assert_snapshot!(plan, @r"
    replace  app-1   left half made by a crash
    create   data-1  data:1
    Plan: 1 create, 1 replace, 1 unchanged
    ");
    host.apply_all(&plan, 3);
    assert_eq!(base(&host, "shop-app-1"), base(&host, "shop-data-1"));
}

#[test]
fn who_shares_the_ids_of_nobody_has_its_own() {
    let mut stack = with([("app", service("app:1")), ("web", service("web:1"))]);
    let mut host = up_with(&stack);
    let app = host.observed.containers.get_mut("shop-app-1").unwrap();
    (app.state, app.monitored) = (ContainerState::Created, false);
    host.drop_network("shop_default").unwrap();
    stack.services.get_mut("app").unwrap().pid = PidMode::Container("gone".into());
    let named = UpOptions { services: vec!["web".into()], ..UpOptions::default() };
    host.apply_all(&plan_with(&stack, &host, &named), 3);
    let record = |name: &str| &host.observed.containers[name].record;
    assert_eq!(record("shop-app-1").spec.pid, PidSpace::Container("gone".into()));
    assert!(record("shop-app-1").id_base.is_some());
    assert_ne!(record("shop-app-1").id_base, record("shop-web-1").id_base);
}

#[test]
fn who_names_a_container_that_is_decided_later_follows_it() {
    let mut app = service("app:1");
    app.networks.clear();
    app.network_mode = Some(NetworkMode::Container("shop-vpn-1".into()));
    let mut stack = with([("app", app), ("vpn", service("vpn:1"))]);
    let mut host = up_with(&stack);
    stack.services.get_mut("vpn").unwrap().image = Some("vpn:2".into());
    let plan = plan(&stack, &host);
    assert_snapshot!(plan, @r#"
    pull     image vpn:2
    replace  app-1        shares a namespace of `shop-vpn-1`, which is made anew
    replace  vpn-1        image "vpn:1" → "vpn:2"
    Plan: 2 replace, 1 pull, 1 unchanged
    "#);
    // So it does where only the other one is named.
    let mut named = stack.clone();
    named.services.remove("app");
    named.inactive = ["app".to_owned()].into();
    let options = UpOptions { services: vec!["vpn".into()], ..UpOptions::default() };
    assert_snapshot!(plan_with(&named, &host, &options), @r#"
    pull     image vpn:2
    restart  app-1        shares a namespace of `shop-vpn-1`, which is made anew
    replace  vpn-1        image "vpn:1" → "vpn:2"
    Plan: 1 replace, 1 restart, 1 pull, 1 unchanged
    "#);
    host.apply_all(&plan, 3);
    // Its ids are those of one that is made.
    let app = stack.services.get_mut("app").unwrap();
    (app.network_mode, app.pid) = (None, PidMode::Container("shop-vpn-1".into()));
    app.networks.insert("default".into(), ServiceNetwork::default());
    let mut host = up_with(&stack);
    host.observed.containers.remove("shop-vpn-1");
    let app = host.observed.containers.get_mut("shop-app-1").unwrap();
    (app.state, app.monitored) = (ContainerState::Created, false);
    let plan = super::plan(&stack, &host);
    assert_snapshot!(plan, @r"
    replace  app-1  shares a namespace of `shop-vpn-1`, which is made anew
    create   vpn-1  vpn:2
    Plan: 1 create, 1 replace, 1 unchanged
    ");
    host.apply_all(&plan, 3);
    let base = |name| host.observed.containers[name].record.id_base.unwrap();
    assert_eq!(base("shop-app-1"), base("shop-vpn-1"));
}

/// One that sees the processes of a container.
fn seeing(container: &str) -> Service {
    Service { pid: PidMode::Container(container.into()), ..service("app:1") }
}

#[test]
fn nobody_shares_with_itself() {
    let created = UpOptions { no_start: true, ..UpOptions::default() };
    for options in [created, UpOptions::default()] {
        let own = with([("app", seeing("shop-app-1"))]);
        let each = with([("app", seeing("shop-web-1")), ("web", seeing("shop-app-1"))]);
        insta::allow_duplicates! {
            assert_snapshot!(refused(&own, &FakeHost::new(), &options), @"container `shop-app-1` would share a namespace of itself, as what it names by `container:` leads back to it: give one of them its own");
        }
        let refused = refused(&each, &FakeHost::new(), &options);
        assert_eq!(refused.matches("leads back to it").count(), 2, "{refused}");
    }
}

#[test]
fn who_shared_the_other_way_round_is_brought_up_too() {
    let mut host = up_with(&with([("app", service("app:1")), ("web", seeing("shop-app-1"))]));
    let mut named = with([("app", seeing("shop-web-1"))]);
    named.inactive = ["web".to_owned()].into();
    let options =
        UpOptions { services: vec!["app".into()], no_start: true, ..UpOptions::default() };
    assert_snapshot!(refused(&named, &host, &options), @"container `shop-app-1` would share a namespace of itself, as what it names by `container:` leads back to it: bring those up too, which makes them anew as their files say");
    for have in host.observed.containers.values_mut() {
        (have.state, have.monitored) = (ContainerState::Created, false);
    }
    plan_with(&named, &host, &options);
}
