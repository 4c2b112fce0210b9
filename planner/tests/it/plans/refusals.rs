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
