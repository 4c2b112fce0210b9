//! Ports of the host that somebody has already.

use std::net::IpAddr;

use berth_planner::desired::PortSpec;

use super::*;

fn listener(port: u16, address: &str, owner: PortOwner) -> Listener {
    let address: IpAddr = address.parse().unwrap();
    let both = address.is_ipv6() && address.is_unspecified();
    Listener { protocol: Protocol::Tcp, port, address, both, owner }
}

fn nginx() -> PortOwner {
    let unit = Some("nginx.service".to_owned());
    PortOwner::Process { pid: 812, name: "nginx".into(), unit }
}

fn host(listening: Vec<Listener>) -> FakeHost {
    let mut host = FakeHost::new();
    host.observed.host.listening = listening;
    host
}

fn web(range: (u16, u16), on: Option<&str>) -> Stack {
    let mut web = service("web:1");
    let host_ip = on.map(|on| on.parse().unwrap());
    web.ports = vec![Port { published: Some(range), host_ip, ..port(0, 80) }];
    with([("web", web)])
}

#[test]
fn who_has_a_port_is_told_before_anything_is_changed() {
    let stack = web((8080, 8080), Some("127.0.0.1"));
    let of = |owner| problems(&stack, &host(vec![listener(8080, "0.0.0.0", owner)]));
    assert_snapshot!(of(nginx()), @"port 127.0.0.1:8080/tcp of `shop-web-1` is taken by process 812 (`nginx` of `nginx.service`): end that, or publish 8081, which is free");
    let foreign = PortOwner::Foreign { name: "lab-web-1".into() };
    assert_snapshot!(of(foreign), @"port 127.0.0.1:8080/tcp of `shop-web-1` is published by `lab-web-1`, a container of another state of berth: end that, or publish 8081, which is free");
    assert_snapshot!(of(PortOwner::Unknown), @"port 127.0.0.1:8080/tcp of `shop-web-1` is taken by another program: end that, or publish 8081, which is free");
}

#[test]
fn the_next_free_port_is_offered_once_and_only_where_it_was_looked_for() {
    let on = |port: u16| listener(port, "0.0.0.0", PortOwner::Unknown);
    let mut stack = web((8080, 8080), None);
    let mut api = service("web:1");
    api.ports = vec![port(8081, 80), port(8083, 81)];
    stack.services.insert("api".into(), api);
    let squatted = host(vec![on(8080), on(8081), on(8082)]);
    assert_snapshot!(problems(&stack, &squatted), @"
    port 8080/tcp of `shop-web-1` is taken by another program: end that, or publish 8085, which is free
    port 8081/tcp of `shop-api-1` is taken by another program: end that, or publish 8084, which is free
    ");
    let full = host((8080..=8096).map(on).collect());
    assert_snapshot!(problems(&web((8080, 8080), None), &full), @"port 8080/tcp of `shop-web-1` is taken by another program: end that, or publish another port");
    let last = host(vec![on(65535)]);
    assert_snapshot!(problems(&web((65535, 65535), None), &last), @"port 65535/tcp of `shop-web-1` is taken by another program: end that, or publish another port");
}

#[test]
fn no_port_is_offered_that_somebody_is_to_have() {
    let publishing = |of: u16| {
        let mut service = service("app:1");
        service.ports = vec![port(of, 80)];
        service
    };
    let mut host = up_with(&with([("old", publishing(8082))]));
    let old = host.observed.containers.get_mut("shop-old-1").unwrap();
    (old.state, old.monitored) = (ContainerState::Exited { exit_code: 0, finished_at: 0 }, false);
    host.observed.host.listening = vec![listener(8080, "0.0.0.0", nginx())];
    let stack = with([("web", publishing(8080)), ("api", publishing(8081))]);
    let options = UpOptions { services: vec!["web".into()], ..UpOptions::default() };
    let refused = up(&desired(&stack), &host.observed, &options, &stack.places).unwrap_err();
    assert_snapshot!(refused, @"port 8080/tcp of `shop-web-1` is taken by process 812 (`nginx` of `nginx.service`): end that, or publish 8083, which is free");
}

#[test]
fn an_address_beside_it_is_free() {
    for (wanted, taken, free) in [
        (Some("127.0.0.1"), "127.0.0.2", true),
        (Some("0.0.0.0"), "::1", true),
        (Some("127.0.0.1"), "::", false),
        (None, "::1", false),
    ] {
        let host = host(vec![listener(8080, taken, nginx())]);
        let stack = web((8080, 8080), wanted);
        let planned = up(&desired(&stack), &host.observed, &UpOptions::default(), &stack.places);
        assert_eq!(planned.is_ok(), free, "{wanted:?} beside {taken}");
    }
}

#[test]
fn a_range_is_refused_only_when_all_of_it_is_taken() {
    let taken = |ports: std::ops::RangeInclusive<u16>| {
        host(ports.map(|port| listener(port, "0.0.0.0", nginx())).collect())
    };
    plan(&web((8000, 8006), None), &taken(8000..=8005));
    assert_snapshot!(problems(&web((8000, 8005), None), &taken(8000..=8005)), @"no port of 8000-8005/tcp is free for `shop-web-1`: 8000 is taken by process 812 (`nginx` of `nginx.service`), 8001 is taken by process 812 (`nginx` of `nginx.service`), 8002 is taken by process 812 (`nginx` of `nginx.service`), 8003 is taken by process 812 (`nginx` of `nginx.service`), and 2 more");
}

#[test]
fn containers_share_a_range_among_them() {
    let mut stack = web((8000, 8001), None);
    stack.services.get_mut("web").unwrap().replicas = 2;
    plan(&stack, &FakeHost::new());
    let one = host(vec![listener(8001, "0.0.0.0", nginx())]);
    assert_snapshot!(problems(&stack, &one), @"no port of 8000-8001/tcp is free for `shop-web-2`: 8000 is published by `shop-web-1`, 8001 is taken by process 812 (`nginx` of `nginx.service`)");
}

#[test]
fn what_a_container_has_itself_is_no_conflict_when_it_is_made_anew() {
    let mut stack = web((8080, 8080), None);
    let mut host = up_with(&stack);
    stack.services.get_mut("web").unwrap().image = Some("web:2".into());
    let owner = PortOwner::Container { name: "shop-web-1".into() };
    host.observed.host.listening = vec![listener(8080, "0.0.0.0", owner)];
    plan(&stack, &host);
}

#[test]
fn a_start_finds_its_port_taken_too() {
    let mut host = up_with(&web((8080, 8080), None));
    let container = host.observed.containers.get_mut("shop-web-1").unwrap();
    container.state = ContainerState::Exited { exit_code: 0, finished_at: 0 };
    container.monitored = false;
    host.observed.host.listening = vec![listener(8080, "::", nginx())];
    let refusal = start("shop", &host.observed, &[]).unwrap_err();
    assert_snapshot!(refusal, @"port 8080/tcp of `shop-web-1` is taken by process 812 (`nginx` of `nginx.service`): end that, or publish 8081, which is free");
}

/// Who starts `web` as it was made, with 8080, though the file says 8081: with and without it in scope.
fn as_recorded() -> [(Stack, FakeHost, UpOptions); 2] {
    let no_recreate = UpOptions { no_recreate: true, ..UpOptions::default() };
    let mut ended = up_with(&web((8080, 8080), None));
    let container = ended.observed.containers.get_mut("shop-web-1").unwrap();
    container.state = ContainerState::Exited { exit_code: 0, finished_at: 0 };
    container.monitored = false;

    let with_db = |mut stack: Stack, image: &str| {
        stack.services.insert("db".into(), service(image));
        let web = stack.services.get_mut("web").unwrap();
        let restart = Dependency { restart: true, ..dependency(Condition::ServiceStarted) };
        web.depends_on.insert("db".into(), restart);
        stack
    };
    let running = up_with(&with_db(web((8080, 8080), None), "db:1"));
    let only_db = UpOptions { services: vec!["db".into()], ..UpOptions::default() };
    let changed = with_db(web((8081, 8081), None), "db:2");
    [(web((8081, 8081), None), ended, no_recreate), (changed, running, only_db)]
}

#[test]
fn a_container_that_starts_as_it_was_made_wants_the_ports_it_was_made_with() {
    for (stack, mut host, options) in as_recorded() {
        // What the file says is nobody's business yet.
        host.observed.host.listening = vec![listener(8081, "0.0.0.0", nginx())];
        plan_with(&stack, &host, &options);
        host.observed.host.listening = vec![listener(8080, "0.0.0.0", nginx())];
        let refused = up(&desired(&stack), &host.observed, &options, &stack.places).unwrap_err();
        assert!(refused.to_string().starts_with("port 8080/tcp of `shop-web-1`"), "{refused}");
    }
}

#[test]
fn a_port_that_only_the_file_gives_to_who_starts_as_it_was_made_is_free() {
    let [_, (mut stack, host, options)] = as_recorded();
    let mut new = service("new:1");
    new.ports.push(port(8081, 80));
    stack.services.insert("new".into(), new);
    let options = UpOptions { services: vec!["db".into(), "new".into()], ..options };
    plan_with(&stack, &host, &options);
}

/// The places of the starts of `a-1` and `b-1` in the order of a plan.
fn starts(plan: &Plan) -> [usize; 2] {
    ["shop-a-1", "shop-b-1"].map(|name| {
        let starts =
            |step: &Step| step.action.verb() == "start_container" && step.action.target() == name;
        plan.steps.iter().position(starts).unwrap()
    })
}

fn two(of_a: Option<(u16, u16)>, of_b: (u16, u16)) -> Stack {
    let of = |published| {
        let mut service = service("app:1");
        service.ports = vec![Port { published, ..port(0, 80) }];
        service
    };
    with([("a", of(of_a)), ("b", of(Some(of_b)))])
}

#[test]
fn who_may_choose_a_port_starts_after_those_who_may_not() {
    let range = two(Some((8000, 8001)), (8001, 8001));
    let made = plan(&range, &FakeHost::new());
    let [a, b] = starts(&made);
    assert!(a > b && made.steps[a].after_tried.contains(&made.steps[b].id), "{made}");

    // Whoever waits for the one that chooses cannot be waited for.
    let mut circle = range.clone();
    let needs = dependency(Condition::ServiceStarted);
    circle.services.get_mut("b").unwrap().depends_on.insert("a".into(), needs);
    let [a, b] = starts(&plan(&circle, &FakeHost::new()));
    assert!(a < b);
}

#[test]
fn a_number_that_was_somebodys_by_chance_is_left_to_who_names_it() {
    let mut alone = two(None, (9000, 9000));
    alone.services.remove("b");
    let mut host = up_with(&alone);
    let a = host.observed.containers.get_mut("shop-a-1").unwrap();
    a.published = vec![PortSpec {
        host_ip: None,
        published: Some((34_567, 34_567)),
        target: 80,
        protocol: Protocol::Tcp,
    }];
    a.state = ContainerState::Exited { exit_code: 0, finished_at: 0 };
    a.monitored = false;
    let made = plan(&two(None, (34_567, 34_567)), &host);
    let [a, b] = starts(&made);
    assert!(a > b && made.steps[a].after_tried.contains(&made.steps[b].id), "{made}");
}
