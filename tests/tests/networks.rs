//! What a stack says of its networks: families, pools, the way out.

use berth_tests::TestHost;
use berth_tests::machine::Place;
use nix::sys::signal::Signal;

const SLEEP: &str = "image: localhost/host, command: [sleep, '100000']";
const SERVE: &str = "image: localhost/host, command: [sh, -c, 'mkdir /www; echo hello \
                     >/www/index.html; exec busybox httpd -f -p 80 -h /www']";

/// A stack of these services and networks.
fn stack(services: &str, networks: &str) -> TestHost {
    let services = services.replace("SLEEP", SLEEP).replace("SERVE", SERVE);
    TestHost::with("compose.yaml", &format!("services:\n{services}\nnetworks:\n{networks}\n"))
}

/// What `url` answers to a container. Empty when there is no answer.
fn fetch(host: &TestHost, from: &str, url: &str) -> String {
    host.berth(&format!("exec -T {from} curl -gsS --fail --max-time 2 http://{url}")).stdout
}

/// What `ip` shows of a container.
fn ip(host: &TestHost, service: &str, words: &str) -> String {
    host.berth(&format!("exec -T {service} ip {words}")).succeeds().stdout
}

#[test]
fn a_network_without_ipv4_has_an_ipv6_subnet_of_its_own_and_a_way_out() {
    let host = stack(
        "  web: { SLEEP, networks: [six] }\n  app: { SERVE, networks: [six], ports: ['8080:80'] }",
        "  six: { enable_ipv4: false, enable_ipv6: true }",
    );
    host.berth("up -d").succeeds().stdout_lacks("172.");
    assert_eq!(ip(&host, "web", "-o -4 address show scope global"), "");
    let six = ip(&host, "web", "-o -6 address show scope global");
    assert!(six.contains(" fd"), "{six}");
    // A link of the container keeps its hardware address when it is made anew.
    let mac = ip(&host, "app", "-o link show eth0");
    host.eventually("it answers by name", || fetch(&host, "web", "app") == "hello\n");
    host.eventually("its port", || host.get_from_outside("[2001:db8::1]:8080") == "hello\n");

    host.berth("restart -t 0 app").succeeds();

    let again = ip(&host, "app", "-o link show eth0");
    let address = |line: &str| line.split("link/ether ").nth(1).map(|rest| rest[..17].to_owned());
    assert_eq!(address(&mac), address(&again));
    // Nobody listens there, and says so.
    host.berth("exec -T web curl -gsS --max-time 2 http://[2001:db8::2]:9").fails_with(7);
}

#[test]
fn a_network_with_both_families_has_both_and_one_description_gives_the_same_prefix() {
    let host = stack(
        "  web: { SLEEP, networks: [dual] }\n  app: { SERVE, networks: [dual] }",
        "  dual: { enable_ipv6: true }",
    );
    host.berth("up -d").succeeds();
    let before = ip(&host, "web", "-o address show dev eth0 scope global");
    assert!(before.contains("inet 172.") && before.contains("inet6 fd"), "{before}");
    for family in ["-4", "-6"] {
        let line = format!("exec -T web curl {family} -gsS --fail --max-time 2 http://app");
        host.eventually(family, || host.berth(&line).stdout == "hello\n");
    }
    host.berth("down -t 0").succeeds();
    host.berth("up -d").succeeds();
    assert_eq!(ip(&host, "web", "-o address show dev eth0 scope global"), before);
}

#[test]
fn addresses_come_from_the_range_and_never_from_what_is_kept_free() {
    let host = stack(
        "  web: { SLEEP, networks: [ranged], scale: 2 }",
        "  ranged:\n    ipam:\n      options: { chosen: nothing }\n      config:\n        \
         - { subnet: 10.77.0.0/24, ip_range: 10.77.0.128/30, gateway: 10.77.0.254, \
         aux_addresses: { printer: 10.77.0.129 } }",
    );
    host.berth("up -d").succeeds();
    let of = |number: u32| {
        let line = format!("exec -T --index {number} web ip -o -4 address show dev eth0");
        let shown = host.berth(&line).succeeds().stdout;
        shown.split_whitespace().nth(3).unwrap().to_owned()
    };
    let mut found = [of(1), of(2)];
    found.sort();
    assert_eq!(found, ["10.77.0.128/24", "10.77.0.130/24"]);
    assert!(ip(&host, "web", "route").contains("default via 10.77.0.254"));
    // The range has one more; then it says so and starts nothing.
    host.berth("up -d --scale web=4")
        .fails_with(1)
        .stderr_has("network `stack_ranged` has no free IPv4 address");
}

#[test]
fn a_second_pool_is_used_when_the_first_is_full() {
    let host = stack(
        "  web: { SLEEP, networks: [two], scale: 6 }\n  app: { SERVE, networks: { two: { \
         ipv4_address: 10.79.0.9 } } }",
        "  two: { ipam: { config: [{ subnet: 10.78.0.0/29 }, { subnet: 10.79.0.0/24 }] } }",
    );
    host.berth("up -d").succeeds();
    let last = host.berth("exec -T --index 6 web ip -o -4 address show dev eth0").succeeds();
    last.stdout_has("10.79.0.2/24");
    host.berth("exec -T --index 6 web ip route").succeeds().stdout_has("via 10.79.0.1");
    // One network, whatever the subnet.
    for number in [1, 6] {
        let line =
            format!("exec -T --index {number} web curl -gsS --fail --max-time 2 http://10.79.0.9");
        host.eventually("it answers", || host.berth(&line).stdout == "hello\n");
    }
}

#[test]
fn an_internal_network_is_reached_from_the_host_and_leads_nowhere() {
    let host = stack(
        "  app: { SERVE, networks: { back: { ipv4_address: 10.80.0.9, ipv6_address: 'fd80::9' } } }",
        "  back: { internal: true, enable_ipv6: true, ipam: { config: [{ subnet: 10.80.0.0/24 }, \
         { subnet: 'fd80::/64' }] } }",
    );
    host.berth("up -d").succeeds();
    for address in ["10.80.0.9", "[fd80::9]"] {
        host.eventually(address, || host.get(address) == "hello\n");
    }
    assert_eq!(ip(&host, "app", "route show default"), "");
    assert_eq!(ip(&host, "app", "-6 route show default"), "");
    // Not even for one who makes himself a route.
    host.shell("sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1").succeeds();
    let pid = host.pid_of("app").pid;
    let server = host.start_shell(Place::Neighbour, "exec busybox httpd -f -p 80 -h .");
    host.eventually("it listens", || host.neighbour("ss -ltn").stdout.contains(":80 "));
    for (family, via, to) in [("-4", "10.80.0.1", "192.0.2.2"), ("-6", "fd80::1", "[2001:db8::2]")]
    {
        let enter = format!("nsenter -t {pid} -n");
        host.shell(&format!("{enter} ip {family} route add default via {via}")).succeeds();
        let refused = host.shell(&format!("{enter} curl -gsS --max-time 1 http://{to}"));
        assert_ne!(refused.code, 0, "{family} went out");
    }
    server.signal(Signal::SIGKILL);
    let _ = server.ends();
}

#[test]
fn an_external_network_that_is_missing_is_told_with_who_could_make_it() {
    let host = stack("  web: { SLEEP, networks: [front] }", "  front: { external: true }");
    host.berth("up -d").fails_with(1).stderr_has("network `front` is external and does not exist");
    host.write(
        "other/compose.yaml",
        &format!(
            "services: {{ web: {{ {SLEEP}, networks: [front] }} }}\nnetworks: {{ front: {{}} }}\n"
        ),
    );
    host.berth("-f other/compose.yaml -p other up -d").succeeds();
    host.berth("up -d").fails_with(1).stderr_has("`other_front`");
    host.edit("compose.yaml", "external: true", "external: true, name: other_front");
    host.berth("up -d").succeeds();
    host.berth("down -t 0").succeeds();
    host.berth("-p other down -t 0").succeeds();
}

#[test]
fn no_network_takes_what_a_route_has_and_a_route_that_comes_later_is_told() {
    let host = stack("  web: { SLEEP }", "  default: {}");
    host.write("other.yaml", &format!("services: {{ web: {{ {SLEEP} }} }}\n"));
    host.shell(
        "ip route add 172.18.0.0/15 via 192.0.2.2; ip route add 172.20.0.0/16 via 192.0.2.2 table 77",
    )
    .succeeds();
    host.berth("up -d").succeeds();
    let shown = |words: &str| host.berth(&format!("{words} exec -T web ip -4 -o address")).stdout;
    assert!(shown("").contains("inet 172.21."), "{}", shown(""));
    host.berth("-p other -f other.yaml up -d").succeeds();
    assert!(shown("-p other -f other.yaml").contains("inet 172.22."));
    // Another state knows nothing of these but their routes.
    let root = host.machine().dir().join("second").display().to_string();
    let program = berth_tests::host::berth_program().display().to_string();
    let third = |words: &str| {
        host.shell(&format!("BERTH_ROOT={root} {program} -p third -f other.yaml {words}"))
    };
    host.shell(&format!("mkdir -p {root}/lib && cp -r /var/lib/berth/images {root}/lib"))
        .succeeds();
    third("up -d").succeeds();
    let address = third("exec -T web ip -4 -o address").stdout;
    assert!(address.contains("inet 172.23."), "{address}");

    // A VPN starts, with a table of its own.
    host.berth("plan").succeeds().stdout_has("nothing to do").stdout_lacks("overlaps");
    host.shell("ip route add 172.21.0.0/16 via 192.0.2.2 table 88").succeeds();
    let plan = host.berth("plan").succeeds();
    let said = "has 172.21.0.0/16, and the route 172.21.0.0/16 of this host overlaps it";
    assert!(format!("{}{}", plan.stdout, plan.stderr).contains(said), "{plan}");

    // The next move is one.
    host.shell(
        "ip route add 172.24.0.0/13 via 192.0.2.2; ip route add 192.168.0.0/16 via 192.0.2.2",
    )
    .succeeds();
    host.write("fourth.yaml", &format!("services: {{ web: {{ {SLEEP} }} }}\n"));
    let full = host.berth("-p fourth -f fourth.yaml up -d").fails_with(1);
    assert!(full.stderr.contains("the route 172.24.0.0/13 of this host"), "{full}");
    let own = "networks: { default: { ipam: { config: [{ subnet: 10.99.0.0/24 }] } } }\n";
    host.write("fourth.yaml", &format!("services: {{ web: {{ {SLEEP} }} }}\n{own}"));
    host.berth("-p fourth -f fourth.yaml up -d").succeeds();
    for words in ["", "-p other", "-p fourth"] {
        host.berth(&format!("{words} down -t 0")).succeeds();
    }
    third("down -t 0").succeeds();
    host.shell(&format!("rm -r {root}")).succeeds();
    for route in ["172.18.0.0/15", "172.20.0.0/16 table 77", "172.21.0.0/16 table 88"] {
        host.shell(&format!("ip route del {route}")).succeeds();
    }
    host.shell("ip route del 172.24.0.0/13; ip route del 192.168.0.0/16").succeeds();
}

const SHARED: &str = "  front: { x-berth: { shared: true } }";

/// A second stack on the same machine, called `other`.
fn other(host: &TestHost, services: &str, networks: &str) {
    let services = services.replace("SLEEP", SLEEP).replace("SERVE", SERVE);
    let text = format!("services:\n{services}\nnetworks:\n{networks}\n");
    host.write("other/compose.yaml", &text);
}

#[test]
fn a_shared_network_is_made_by_the_first_stack_and_removed_by_the_last() {
    let host = stack("  web: { SERVE, networks: [front] }", SHARED);
    other(&host, "  client: { SLEEP, networks: [front] }", SHARED);
    host.berth("up -d").succeeds();
    host.berth("-f other/compose.yaml -p other up -d").succeeds();
    let line = "-p other exec -T client curl -gsS --fail --max-time 2 http://web";
    host.eventually("they find each other", || host.berth(line).stdout == "hello\n");
    host.berth("-f other/compose.yaml -p other plan").succeeds().stdout_has("nothing to do");

    let down = host.berth("down -t 0").succeeds();
    let said = "network `front` stays: container `other-client-1` of project `other` is on it";
    assert!(format!("{}{}", down.stdout, down.stderr).contains(said), "{down}");
    host.berth("up -d").succeeds();
    host.eventually("again", || host.berth(line).stdout == "hello\n");
    host.berth("down -t 0").succeeds();
    host.berth("-p other down -t 0").succeeds();
    host.leaves_nothing_but(&[]);
}

#[test]
fn two_descriptions_of_a_shared_network_are_told_with_both_places() {
    let host = stack("  web: { SLEEP, networks: [front] }", SHARED);
    other(
        &host,
        "  client: { SLEEP, networks: [front] }",
        "  front: { internal: true, x-berth: { shared: true } }",
    );
    host.berth("up -d").succeeds();
    let told = host.berth("-f other/compose.yaml -p other up -d").fails_with(1);
    told.stderr_has("is shared with project `stack`")
        .stderr_has("stack/compose.yaml")
        .stderr_has("other/compose.yaml:4:");
    // One that is not shared by its owner is not joined.
    host.berth("down -t 0").succeeds();
    host.edit("compose.yaml", "x-berth: { shared: true }", "name: front");
    host.berth("up -d").succeeds();
    host.berth("-f other/compose.yaml -p other up -d")
        .fails_with(1)
        .stderr_has("network `front` is of project `stack`, which does not share it");
}

#[test]
fn other_labels_are_written_down_and_nothing_is_made_anew() {
    let host = stack("  web: { SLEEP, networks: [front] }", "  front: { labels: { color: blue } }");
    host.berth("up -d").succeeds();
    let before = host.pid_of("web");
    host.edit("compose.yaml", "blue", "green");
    host.berth("up -d").succeeds();
    assert_eq!(host.pid_of("web"), before);
    host.berth("plan").succeeds().stdout_has("nothing to do");
    host.shell("cat /var/lib/berth/networks/stack_front/record.json")
        .succeeds()
        .stdout_has("green");
}

#[test]
fn inspect_shows_a_network_in_dockers_shape_and_as_the_kernel_has_it() {
    let host = stack(
        "  web: { SLEEP, networks: { front: { mac_address: 02-42-AC-11-00-0A } } }",
        "  front:\n    enable_ipv6: true\n    labels: { color: blue }\n    \
         driver_opts: { com.docker.network.driver.mtu: 1400, com.docker.network.bridge.name: br-front }\n    \
         ipam: { config: [{ subnet: 10.9.0.0/16, ip_range: 10.9.4.0/24, gateway: 10.9.0.9 }] }",
    );
    host.berth("up -d").succeeds();
    let all = host.berth("network inspect stack_front").succeeds().json();
    let network = &all[0];

    let pool = &network["IPAM"]["Config"][0];
    assert_eq!(
        (&pool["Subnet"], &pool["IPRange"], &pool["Gateway"]),
        (&"10.9.0.0/16".into(), &"10.9.4.0/24".into(), &"10.9.0.9".into())
    );
    assert_eq!(network["Options"]["com.docker.network.driver.mtu"], "1400");
    assert_eq!((&network["Bridge"], &network["Up"]), (&"br-front".into(), &true.into()));
    assert_eq!(network["Labels"]["color"], "blue");
    let (id, on) = network["Containers"].as_object().unwrap().iter().next().unwrap();
    assert_eq!(host.berth("ps -q --no-trunc").succeeds().stdout.trim(), id);
    assert_eq!(on["Name"], "stack-web-1");
    let link = ip(&host, "web", "address show dev eth0 scope global")
        + &ip(&host, "web", "-6 address show dev eth0 scope global");
    for fact in ["MacAddress", "IPv4Address", "IPv6Address"] {
        let fact = on[fact].as_str().unwrap();
        assert!(!fact.is_empty() && link.contains(fact), "{fact}: {link}");
    }
    let words = "network inspect -f '{{range .IPAM.Config}}{{.Subnet}} {{end}}' stack_front";
    host.berth(words).succeeds().stdout_has("10.9.0.0/16 fd");
    host.berth("network inspect --format '{{.Nope}}' stack_front").fails_with(64);
}

#[test]
fn a_lost_link_is_told_and_put_right() {
    let host = stack(
        "  web: { SLEEP, networks: [one, two] }\n  app: { SERVE, networks: [one] }\n  other: { SLEEP, networks: [two] }",
        "  one: {}\n  two: {}",
    );
    host.berth("up -d").succeeds();
    let pids = || ["app", "other"].map(|service| host.pid_of(service));
    let (before, web) = (pids(), host.pid_of("web"));
    // The host's end of a link of a container, by the number that its own end says.
    let end = |service: &str, link: &str| {
        let number = ip(&host, service, &format!("-o link show {link}"));
        let number = number.split("@if").nth(1).and_then(|rest| rest.split(':').next()).unwrap();
        let found = host.shell(&format!("ip -o link | grep '^{number}: '")).succeeds().stdout;
        found.split(": ").nth(1).and_then(|name| name.split('@').next()).unwrap().to_owned()
    };

    host.shell(&format!("ip link delete {}", end("web", "eth1"))).succeeds();

    let plan = host.berth("plan --detailed-exitcode").fails_with(2);
    plan.stdout_has("restart  web-1  drift: its link to network `stack_two` is gone")
        .stdout_lacks("app-1")
        .stdout_lacks("other-1");
    host.berth("ps").succeeds().stdout_has("has lost a network");
    host.berth("up -d").succeeds();
    assert_ne!(host.pid_of("web"), web);
    assert_eq!(pids(), before);
    assert_eq!(ip(&host, "web", "-o -4 address show scope global").lines().count(), 2);
    host.berth("plan --detailed-exitcode").succeeds();

    host.shell(&format!("ip link set {} nomaster", end("app", "eth0"))).succeeds();
    host.berth("plan").succeeds().stdout_has("restart  app-1  drift: its link to network");
    host.berth("up -d").succeeds();
    host.eventually("it answers", || fetch(&host, "web", "app") == "hello\n");
    host.berth("plan --detailed-exitcode").succeeds();

    // The link of another, whose change was cut short, is not taken for the lost one.
    host.shell(&format!("ip link delete {}", end("web", "eth1"))).succeeds();
    let record = "/var/lib/berth/containers/stack-other-1/record.json";
    host.shell(&format!("sed -i '1s/{{/{{\"updating\":true,/' {record}")).succeeds();
    host.berth("plan")
        .succeeds()
        .stdout_has("other-1  drift: a change of it was cut short")
        .stdout_has("web-1    drift: its link to network `stack_two` is gone");
}
