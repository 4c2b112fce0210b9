//! What forbids a plan.

use super::*;

#[test]
fn all_that_forbids_a_plan_comes_at_once() {
    let mut stack = shop();
    let mut host = up_with(&shop());
    stack.networks.get_mut("back").unwrap().internal = true;
    let mut foreign = host.observed.containers["shop-db-1"].clone();
    (foreign.record.project, foreign.record.name) = ("other".into(), "other-db-1".into());
    foreign.record.addresses.clear();
    host.observed.containers.insert("other-db-1".into(), foreign.clone());
    foreign.record.spec.networks.clear();
    foreign.record.name = "shop-new-1".into();
    host.observed.containers.insert("shop-new-1".into(), foreign);

    let network = Network { name: "elsewhere".into(), external: true, ..network("far") };
    stack.networks.insert("far".into(), network);
    let mut new = service("never:1");
    new.pull_policy = PullPolicy::Never;
    new.networks.insert("far".into(), ServiceNetwork::default());
    new.ports.push(port(8080, 9000));
    stack.services.insert("new".into(), new);
    let options = BTreeMap::from([("type".to_string(), "tmpfs".to_string())]);
    stack.volumes.get_mut("data").unwrap().driver_opts = options;
    assert_snapshot!(problems(&stack, &host), @r#"
    the name `shop-new-1` is taken by a container of project `other`
    network `elsewhere` is external and does not exist: `berth up` of the stack that describes it makes it, with `name: elsewhere` there
    volume `shop_data` was made from another description (driver_opts.type — → "tmpfs"), and making it anew would lose its data: remove it first if that is what you want (`berth volume rm shop_data`)
    network `shop_back` has changed and has to be made anew, but container `other-db-1` (project `other`) is on it: remove that container first
    image `never:1` of service `new` is not here and is not to be pulled (`never`): `berth image pull never:1` gets it all the same
    port 8080/tcp of `shop-new-1` is already published by `shop-web-1`: publish 8081, which is free
    "#);
}

#[test]
fn subnets_that_overlap_are_refused_and_pools_run_out() {
    let mut stack = with([("app", service("app:1"))]);
    let pool = IpamPool { subnet: Some("172.18.4.0/24".into()), ..IpamPool::default() };
    stack.networks.get_mut("default").unwrap().ipam = vec![pool];
    assert_snapshot!(problems(&stack, &FakeHost::new()), @"subnet 172.18.4.0/24 of network `shop_default` overlaps the route 172.18.0.0/16 of this host: choose another `subnet`");
    let mut host = FakeHost::new();
    host.observed.host.routes =
        vec!["172.16.0.0/12".parse().unwrap(), "192.168.0.0/16".parse().unwrap()];
    stack.networks.get_mut("default").unwrap().ipam.clear();
    assert_snapshot!(problems(&stack, &host), @"no address pool is left for network `shop_default`: the route 172.16.0.0/12 of this host, the route 192.168.0.0/16 of this host have all of 172.18.0.0/16 to 172.31.0.0/16 and 192.168.0.0/16; write `ipam: { config: [{ subnet: … }] }` with a subnet of your own, or take a network down that nobody needs");
}

#[test]
fn addresses_outside_taken_and_used_up_are_refused() {
    let mut stack = with([("a", service("a:1")), ("b", service("b:1")), ("c", service("c:1"))]);
    let subnet = Some("10.9.0.0/29".to_string());
    let ip_range = Some("10.9.0.4/31".to_string());
    let pool = IpamPool { subnet, ip_range, ..IpamPool::default() };
    stack.networks.get_mut("default").unwrap().ipam = vec![pool];
    let fixed = |stack: &mut Stack, service: &str, address: &str| {
        let service = stack.services.get_mut(service).unwrap();
        let network = service.networks.get_mut("default").unwrap();
        network.ipv4_address = Some(address.parse().unwrap());
    };
    fixed(&mut stack, "a", "10.9.1.1");
    fixed(&mut stack, "b", "10.9.0.1");
    assert_snapshot!(problems(&stack, &FakeHost::new()), @"
    address 10.9.1.1 of `shop-a-1` on network `shop_default` is outside of its subnets
    address 10.9.0.1 of `shop-b-1` on network `shop_default` is the gateway
    ");
    fixed(&mut stack, "a", "10.9.0.5");
    fixed(&mut stack, "b", "10.9.0.4");
    assert_snapshot!(problems(&stack, &FakeHost::new()), @"network `shop_default` has no free IPv4 address for container `shop-c-1`");
}

#[test]
fn addresses_of_a_link_are_for_one_container_of_the_network() {
    let mut stack = shop();
    let mut back = ServiceNetwork {
        mac_address: Some("02-42-0A-00-00-09".into()),
        link_local_ips: vec!["fe80::9".parse().unwrap()],
        ..ServiceNetwork::default()
    };
    stack.services.get_mut("db").unwrap().networks.insert("back".into(), back.clone());
    let host = up_with(&stack);
    back.mac_address = Some("02:42:0a:00:00:09".into());
    stack.services.get_mut("app").unwrap().networks.insert("back".into(), back);
    assert_snapshot!(problems(&stack, &host), @r"
    address 02:42:0a:00:00:09 of `shop-app-1` on network `shop_back` is taken by `shop-db-1`
    address fe80::9 of `shop-app-1` on network `shop_back` is taken by `shop-db-1`
    ");
}

#[test]
fn a_bridge_is_not_made_anew_under_containers_that_the_plan_does_not_touch() {
    let mut host = up_with(&shop());
    let mut foreign = host.observed.containers["shop-db-1"].clone();
    (foreign.record.project, foreign.record.name) = ("other".into(), "other-db-1".into());
    (foreign.record.addresses, foreign.record.id_base) = (BTreeMap::new(), None);
    let mut once = foreign.clone();
    (once.record.project, once.record.name) = ("shop".into(), "shop-db-run-1".into());
    once.record.oneoff = true;
    for container in [foreign, once] {
        host.observed.containers.insert(container.record.name.clone(), container);
    }
    host.observed.networks.get_mut("shop_back").unwrap().bridge_up = false;
    assert_snapshot!(problems(&shop(), &host), @r"
    network `shop_back` has lost its bridge, and container `other-db-1`, which this does not touch, would have no link to a new one: stop it before (`berth -p other stop`)
    network `shop_back` has lost its bridge, and container `shop-db-run-1`, which this does not touch, would have no link to a new one: end it before (it was made by `run`)
    ");

    for name in ["other-db-1", "shop-db-run-1"] {
        let ended = ContainerState::Exited { exit_code: 0, finished_at: 0 };
        let container = host.observed.containers.get_mut(name).unwrap();
        (container.state, container.monitored) = (ended, false);
    }
    plan(&shop(), &host);
}

#[test]
fn a_network_is_not_made_anew_under_a_replica_that_nobody_brings_up() {
    let (mut app, db) = (service("app:1"), service("postgres:17"));
    app.replicas = 2;
    let mut stack = with([("app", app), ("db", db)]);
    let host = up_with(&stack);
    stack.services.get_mut("app").unwrap().replicas = 1;
    stack.networks.get_mut("default").unwrap().internal = true;
    let options = UpOptions { services: vec!["db".into()], ..UpOptions::default() };
    let refused = up(&desired(&stack), &host.observed, &options, &stack.places).unwrap_err();
    assert_snapshot!(refused, @"network `shop_default` has changed and has to be made anew, but container `shop-app-2` (of service `app`, which is left as it is) is on it: remove that container first");
    assert_eq!(plan(&stack, &host).steps.last().unwrap().action.verb(), "start_container");
}

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

#[test]
fn a_network_stands_beside_a_link_that_is_there_in_a_way_that_nobody_excludes() {
    let l2 = Way::Ipvlan(IpvlanMode::L2, IpvlanFlag::Bridge);
    let l3 = Way::Ipvlan(IpvlanMode::L3, IpvlanFlag::Bridge);
    let bridge = Way::Macvlan(MacvlanMode::Bridge);
    let on = |keys: &[&str]| {
        let mut service = service("app:1");
        service.networks =
            keys.iter().map(|key| ((*key).to_owned(), ServiceNetwork::default())).collect();
        service
    };
    let mut stack = with([("app", on(&["first", "second", "third", "tagged"]))]);
    for (key, link, way, part) in [
        ("first", "eth0", l2, 16),
        ("second", "eth0", l2, 32),
        ("third", "eth1", bridge, 48),
        ("tagged", "eth0.7", bridge, 64),
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
    other.networks.insert("second".into(), beside("second", "eth0", l3, 32));
    assert_snapshot!(problems(&other, &host), @r"network `shop_second` would stand beside link `eth0` as ipvlan (l3, bridge), and network `shop_first` stands there as ipvlan (l2, bridge): a link has one of these at a time, so make both the same, or name another `parent`");
    // One that stands there already, of whichever stack.
    host.apply_all(&plan(&stack, &host), 1);
    let mut new = with([("new", on(&["new"]))]);
    new.name = "other".into();
    new.networks.insert("new".into(), beside("new", "eth1", l2, 80));
    assert_snapshot!(problems(&new, &host), @r"network `shop_new` would stand beside link `eth1` as ipvlan (l2, bridge), and network `shop_third` stands there as macvlan (bridge): a link has one of these at a time, so make both the same, or name another `parent`");
    new.networks.insert("new".into(), beside("new", "eth1", bridge, 80));
    plan(&new, &host);
}

#[test]
fn a_link_passed_through_is_for_one_container() {
    let passthru = Way::Macvlan(MacvlanMode::Passthru);
    let mut app = service("app:1");
    app.networks = [("wire".to_owned(), ServiceNetwork::default())].into();
    let mut stack = with([("app", app.clone()), ("more", app)]);
    stack.networks.insert("wire".into(), beside("wire", "eth0", passthru, 16));
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
    let update = Some(Rollout { order: Some(RolloutOrder::StartFirst), ..Rollout::default() });
    app.deploy = Some(Box::new(Deploy { update, ..Deploy::default() }));
    assert_snapshot!(problems(&first, &host), @r"service `app` cannot be replaced `start-first`: both would have the link of network `shop_wire` alone; write `order: stop-first`");
    stack.services.get_mut("app").unwrap().replicas = 2;
    assert_snapshot!(problems(&stack, &host), @r"network `shop_wire` leaves its link to one container (`passthru`), and `shop-app-1` has it: leave `shop-app-2` out, or choose another `macvlan_mode`");
}
