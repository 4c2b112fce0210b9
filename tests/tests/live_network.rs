//! Ports, networks and names that change while a container runs; its process does not notice.

use berth_tests::TestHost;
use berth_tests::machine::Place;
use berth_tests::rows::says;

const STACK: &str = "
services:
  web:
    image: localhost/host
    command: [python3, /srv/two.py]
    volumes: ['.:/srv:ro']
    ports: ['9000:8001']
    networks:
      front: { aliases: [first] }
  other:
    image: localhost/host
    command: [sleep, '100000']
    volumes: ['.:/srv:ro']
    networks: [front, back]
networks:
  front:
  back:
    ipam: { config: [{ subnet: 10.99.7.0/24 }] }
";

fn host_with(stack: &str) -> TestHost {
    let files = [
        ("two.py", include_str!("live_network/two.py")),
        ("hammer.py", include_str!("live_network/hammer.py")),
    ];
    TestHost::serving(stack, "web", &files)
}

/// Which of its two ports answers at `address`; nothing when none does.
fn at(host: &TestHost, address: &str) -> String {
    host.shell(&format!("curl -gsS --max-time 5 http://{address}/")).stdout.trim().to_owned()
}

fn from_outside(host: &TestHost, port: u16) -> String {
    host.neighbour(&format!("curl -gsS --max-time 5 http://192.0.2.1:{port}/"))
        .stdout
        .trim()
        .to_owned()
}

/// Addresses of `name` as a container sees them.
fn addresses(host: &TestHost, from: &str, name: &str) -> Vec<String> {
    let found = host.berth(&format!("exec -T {from} getent ahostsv4 {name}")).stdout;
    let streams = found.lines().filter(|line| line.contains("STREAM"));
    streams.filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
}

#[test]
fn ten_thousand_connections_meet_no_error_while_forty_ups_swap_their_target() {
    let host = host_with(STACK);
    let before = host.pid_of("web");
    let hammers = [
        host.start_shell(Place::Neighbour, "python3 hammer.py 192.0.2.1 9000 5000"),
        host.start_shell(Place::Inside, "python3 hammer.py 127.0.0.1 9000 5000"),
    ];
    for round in 0..40 {
        let (from, to) = [("9000:8001", "9000:8002"), ("9000:8002", "9000:8001")][round % 2];
        host.edit("compose.yaml", from, to);
        if round == 20 {
            host.edit("compose.yaml", "[first]", "[second]");
        }
        host.berth("up -d").succeeds();
    }
    host.write("done", "");
    for hammer in hammers {
        let counts = hammer.ends().succeeds().stdout;
        let counts: Vec<u32> = counts.split_whitespace().map(|n| n.parse().unwrap()).collect();
        let [one, two, failed] = counts[..] else { panic!("three counts") };
        assert_eq!(failed, 0);
        assert!(one + two >= 5000 && one > 0 && two > 0, "{one} and {two}");
    }
    assert_eq!(host.pid_of("web"), before);
    assert_eq!(from_outside(&host, 9000), "8001");
    assert_eq!(addresses(&host, "other", "second").len(), 1);
    assert!(addresses(&host, "other", "first").is_empty());
}

#[test]
fn ports_come_move_and_go_while_the_container_runs() {
    let host = host_with(STACK);
    let before = host.pid_of("web");
    let ports = |from: &str, to: &str| {
        host.edit("compose.yaml", from, to);
        host.berth("plan").stdout_has("update  web-1").stdout_has("ports [");
        // Who was opened to everybody is told, as when it was made.
        host.berth("up -d").succeeds().stderr_has("PUBLIC stack-web-1");
        host.berth("plan --detailed-exitcode").fails_with(0);
        assert_eq!(host.pid_of("web"), before);
    };

    ports("['9000:8001']", "['9000:8001', '9001:8002']");
    assert_eq!(
        (from_outside(&host, 9000), from_outside(&host, 9001)),
        ("8001".into(), "8002".into())
    );
    ports("['9000:8001', '9001:8002']", "['127.0.0.1:9000:8001', '9002:8002']");
    assert_eq!(
        (at(&host, "127.0.0.1:9000"), from_outside(&host, 9002)),
        ("8001".into(), "8002".into())
    );
    for closed in [9000, 9001] {
        assert_eq!(from_outside(&host, closed), "");
    }
    // Given back: somebody else can have it.
    host.shell("timeout 1 python3 -c 'import socket; socket.create_server((\"\", 9001))'")
        .succeeds();
    let taken = "timeout 1 python3 -c 'import socket; socket.create_server((\"127.0.0.1\", 9000))'";
    assert_ne!(host.shell(taken).code, 0);

    // The same under a new monitor, and after a start.
    host.kill("KILL", host.monitor_of("web"));
    host.berth("up -d").succeeds();
    assert_eq!(host.pid_of("web"), before);
    ports("'9002:8002'", "'9003:8002'");
    assert_eq!(
        (at(&host, "127.0.0.1:9000"), from_outside(&host, 9003)),
        ("8001".into(), "8002".into())
    );
    host.berth("restart web").succeeds();
    host.eventually("it serves again", || from_outside(&host, 9003) == "8002");
    assert_eq!(at(&host, "127.0.0.1:9000"), "8001");
    assert_eq!(from_outside(&host, 9002), "");
}

#[test]
fn a_port_that_cannot_be_had_changes_nothing() {
    let host = host_with(STACK);
    let before = host.pid_of("web");
    let squatter = host.start_shell(
        Place::Inside,
        "echo $$ >squatter; exec python3 -c 'import socket, time; s = socket.create_server((\"\", 9005)); \
         time.sleep(50)'",
    );
    host.eventually("it is taken", || {
        host.shell("curl -s --max-time 1 http://127.0.0.1:9005; test $? != 7").code == 0
    });
    host.edit("compose.yaml", "['9000:8001']", "['9001:8001', '9005:8002']");
    let refused = host.berth("up -d");
    assert_ne!(refused.code, 0);
    refused.stderr_has("9005");

    assert_eq!(
        (from_outside(&host, 9000), from_outside(&host, 9001)),
        ("8001".into(), String::new())
    );
    assert_eq!(host.pid_of("web"), before);
    host.shell("kill -KILL $(cat squatter)").succeeds();
    squatter.ends();
    host.eventually("the port is free", || host.berth("up -d").code == 0);
    assert_eq!(
        (from_outside(&host, 9000), from_outside(&host, 9001)),
        (String::new(), "8001".into())
    );
    assert_eq!(host.pid_of("web"), before);
}

#[test]
fn ports_that_were_given_up_for_one_that_is_refused_serve_as_before() {
    let stack = STACK.replace("['9000:8001']", "['9000:8001', '9003:8001']");
    let host = host_with(&stack);
    let before = host.pid_of("web");
    // The first client has a relay begun, which then has the ports as well.
    assert_eq!(at(&host, "[::1]:9000"), "8001");
    let serves = || {
        for address in ["192.0.2.1:9000", "[::1]:9000", "[::1]:9003"] {
            assert_eq!(at(&host, address), "8001", "{address}");
        }
        assert_eq!((at(&host, "[::1]:9001"), from_outside(&host, 9001)), Default::default());
        let taken =
            "timeout 1 python3 -c 'import socket; socket.create_server((\"127.0.0.1\", 9000))'";
        assert_ne!(host.shell(taken).code, 0, "it is reserved");
        assert_eq!(host.pid_of("web"), before);
    };
    let all = "['9000:8001', '9003:8001']";
    // No plan sees that the host does not have the address.
    host.edit("compose.yaml", all, "['9001:8001', '9003:8001', '192.0.2.77:9005:8002']");
    for _ in 0..2 {
        host.berth("up -d").fails_with(1).stderr_has("the host does not have this address");
        serves();
    }
    // A relay that fails is followed by another.
    host.shell("kill -KILL $(pgrep -f '^berth relay')").succeeds();
    host.eventually("a relay serves again", || at(&host, "[::1]:9000") == "8001");
    host.edit("compose.yaml", "192.0.2.77:9005:8002", "9005:8002");
    host.berth("up -d").succeeds();
    for (port, to) in [(9000, ""), (9001, "8001"), (9003, "8001"), (9005, "8002")] {
        assert_eq!(from_outside(&host, port), to, "{port}");
        assert_eq!(at(&host, &format!("[::1]:{port}")), to, "{port}");
    }
    assert_eq!(host.pid_of("web"), before);
}

#[test]
fn a_network_is_attached_and_detached_while_the_container_runs() {
    let host = host_with(STACK);
    let before = host.pid_of("web");
    let up = || {
        host.berth("up -d").succeeds();
        host.berth("plan --detailed-exitcode").fails_with(0);
        assert_eq!(host.pid_of("web"), before);
    };
    let links = || says(&host, "web", "ls /sys/class/net");

    host.edit("compose.yaml", "      front: { aliases: [first] }\n  other", "      front: { aliases: [first] }\n      back: { aliases: [behind], ipv4_address: 10.99.7.10 }\n  other");
    host.berth("plan").stdout_has("update  web-1").stdout_has("networks.stack_back");
    up();
    assert_eq!(links(), "eth0\neth1\nlo");
    assert_eq!(addresses(&host, "other", "behind"), ["10.99.7.10"]);
    let fetch = "curl -gsS --max-time 5 http://behind:8002/";
    assert_eq!(says(&host, "other", fetch), "8002");
    assert!(says(&host, "web", "cat /etc/hosts").contains("10.99.7.10"));

    // Another address there, with a link of its own, and the way out by it.
    host.edit(
        "compose.yaml",
        "ipv4_address: 10.99.7.10 }",
        "ipv4_address: 10.99.7.20, gw_priority: 5 }",
    );
    host.berth("plan").stdout_has("cut off network `stack_back` for a moment");
    up();
    assert_eq!(addresses(&host, "other", "behind"), ["10.99.7.20"]);
    assert!(
        says(&host, "web", "cat /proc/net/route")
            .lines()
            .any(|line| line.starts_with("eth1\t00000000"))
    );
    assert_eq!(from_outside(&host, 9000), "8001");
    let hosts = says(&host, "web", "cat /etc/hosts");
    assert!(hosts.contains("10.99.7.20") && !hosts.contains("10.99.7.10"), "{hosts}");

    // The first goes, the other keeps its name; a new monitor finds all of that.
    host.edit("compose.yaml", "      front: { aliases: [first] }\n      back", "      back");
    up();
    assert_eq!(links(), "eth1\nlo");
    assert!(addresses(&host, "other", "first").is_empty());
    assert_eq!(from_outside(&host, 9000), "8001");
    host.kill("KILL", host.monitor_of("web"));
    up();
    assert_eq!(addresses(&host, "web", "other").len(), 1);
    assert_eq!(from_outside(&host, 9000), "8001");
    host.berth("restart web").succeeds();
    host.eventually("it serves again", || from_outside(&host, 9000) == "8001");
    assert_eq!(links(), "eth0\nlo");
}

#[test]
fn names_go_along_with_a_container_that_does_not_run() {
    let stack = STACK.replace(
        "  other:\n    image",
        "  flaky:
    image: localhost/host
    command: ['false']
    restart: always
    networks:
      front: { aliases: [loose] }
  other:
    image",
    );
    let host = host_with(&stack);
    let names = |network: &str, container: &str| {
        let path = format!("/run/berth/names/stack_{network}/stack-{container}-1");
        let record = host.shell(&format!("cat {path}"));
        (record.code == 0)
            .then(|| serde_json::from_str::<serde_json::Value>(&record.stdout).unwrap())
    };
    let status = |key: &str| host.status("stack-flaky-1")[key].clone();
    host.berth("stop -t 0 web").succeeds();
    host.eventually("it waits for its next start, and for long", || {
        status("restarts").as_u64().unwrap_or_default() > 5 && status("phase") == "waiting"
    });
    let restarts = status("restarts");
    host.edit("compose.yaml", "front: { aliases: [first] }", "back: { aliases: [second] }");
    host.edit("compose.yaml", "front: { aliases: [loose] }", "back: { aliases: [tight] }");
    host.berth("up --no-start").succeeds();

    assert_eq!(status("restarts"), restarts, "it waits");
    for (container, alias) in [("web", "second"), ("flaky", "tight")] {
        assert_eq!(names("front", container), None, "{container}");
        let kept = names("back", container).unwrap_or_else(|| panic!("{container} has no names"));
        assert_eq!(kept["ipv4"], serde_json::Value::Null);
        assert!(kept["names"].as_array().unwrap().iter().any(|name| name == alias), "{kept}");
    }
    host.edit("compose.yaml", "aliases: [second]", "aliases: [third]");
    host.berth("up --no-start").succeeds();
    assert!(names("back", "web").unwrap().to_string().contains("third"));
    host.berth("up -d").succeeds();
    assert_eq!(addresses(&host, "other", "third").len(), 1);
    assert!(addresses(&host, "other", "first").is_empty());
}

#[test]
fn a_sentry_leaves_the_ports_alone_that_a_change_has_just_taken_away() {
    let stack = STACK.replace(
        "    networks: [front, back]",
        "    networks: [front, back]\n    ports: ['9005:8001']",
    );
    let host = host_with(&stack);
    // The other stands sentry from now on.
    host.kill("KILL", host.monitor_of("web"));
    host.eventually("the other has the post", || {
        let held =
            format!("ls -l /proc/{}/fd | grep -c /run/berth/sentry", host.monitor_of("other"));
        host.shell(&held).stdout.trim() == "2"
    });
    host.berth("up -d").succeeds();
    // As a monitor is between the new rules and the end of the change.
    let monitor = host.monitor_of("web");
    host.kill("STOP", monitor);
    let bundle = "/run/berth/containers/stack-web-1/bundle.json";
    host.write("half.py", include_str!("live_network/half.py"));
    host.shell(&format!("python3 half.py {bundle}")).succeeds();
    let map = "inet berth ports4";
    host.shell(&format!("nft delete element {map} '{{ tcp . 9000, tcp . 9005 }}'")).succeeds();

    let ports = || host.shell(&format!("nft list map {map}")).succeeds().stdout;
    host.eventually("what was taken away is back", || ports().contains("9005"));
    assert!(!ports().contains("9000"), "{}", ports());
    // It looks again when that has settled.
    host.shell(&format!("mv {bundle}.before {bundle}")).succeeds();
    host.eventually("the port of before is back", || ports().contains("9000"));
    host.kill("CONT", monitor);
    assert_eq!(from_outside(&host, 9000), "8001");
}

#[test]
fn names_and_servers_change_in_the_files_that_are_mounted() {
    let stack = STACK.replace("    networks:\n      front: { aliases: [first] }\n  other", "    networks: [front]\n    dns: 192.0.2.2\n    dns_search: one.example\n    extra_hosts: ['old:192.0.2.7']\n  near:\n    image: localhost/host\n    command: [sleep, '100000']\n    network_mode: service:web\n  other");
    let host = host_with(&stack);
    let before = (host.pid_of("web"), host.pid_of("near"));
    says(&host, "web", "echo 192.0.2.9 mine >>/etc/hosts");
    host.edit(
        "compose.yaml",
        "dns_search: one.example",
        "dns_search: two.example\n    dns_opt: ['ndots:2']\n    links: ['other:there']",
    );
    host.edit("compose.yaml", "old:192.0.2.7", "new:192.0.2.8");
    host.berth("plan").stdout_has("update  web-1").stdout_has("extra_hosts");
    host.berth("up -d").succeeds();

    for service in ["web", "near"] {
        let hosts = says(&host, service, "cat /etc/hosts");
        let lines = ["192.0.2.8\tnew", "192.0.2.9 mine"];
        assert!(lines.iter().all(|line| hosts.contains(line)) && !hosts.contains("old"), "{hosts}");
        let resolver = says(&host, service, "cat /etc/resolv.conf");
        assert!(resolver.contains("search two.example\noptions ndots:2"), "{resolver}");
        assert_eq!(addresses(&host, service, "there").len(), 1, "{service}");
    }
    assert_eq!((host.pid_of("web"), host.pid_of("near")), before);
    host.berth("plan --detailed-exitcode").fails_with(0);
}

#[test]
fn a_port_moves_from_one_running_container_to_another() {
    let stack = STACK.replace(
        "    command: [sleep, '100000']\n",
        "    command: [python3, /srv/two.py]\n    ports: ['9001:8002']\n",
    );
    // Each has a port that stays as well, and with it a relay that runs on.
    let stack = stack.replace("'9000:8001'", "'9000:8001', '9003:8001'");
    let host = host_with(&stack);
    let before = (host.pid_of("web"), host.pid_of("other"));
    host.eventually("the other serves", || from_outside(&host, 9001) == "8002");
    assert_eq!((at(&host, "[::1]:9000"), at(&host, "[::1]:9001")), ("8001".into(), "8002".into()));
    host.edit("compose.yaml", "'9000:8001'", "'9002:8001'");
    host.edit("compose.yaml", "'9001:8002'", "'9000:8002'");
    host.berth("up -d").succeeds();

    assert_eq!(
        (from_outside(&host, 9000), from_outside(&host, 9002)),
        ("8002".into(), "8001".into())
    );
    assert_eq!(from_outside(&host, 9001), "");
    for (port, to) in [(9000, "8002"), (9001, ""), (9002, "8001"), (9003, "8001")] {
        assert_eq!(at(&host, &format!("[::1]:{port}")), to, "{port}");
    }
    assert_eq!((host.pid_of("web"), host.pid_of("other")), before);
}

#[test]
fn a_change_that_was_cut_short_is_taken_back_and_done_again() {
    let host = host_with(STACK);
    let before = host.pid_of("web");
    // As a monitor leaves it that is killed between the way there and its end.
    host.kill("KILL", host.monitor_of("web"));
    host.shell(&format!("nsenter -t {} -n ip link delete eth0", before.pid)).succeeds();
    host.shell("nft delete element inet berth ports4 '{ tcp . 9000 }'").succeeds();
    host.write("cut.py", include_str!("live_network/cut.py"));
    host.shell(
        "python3 cut.py /run/berth/containers/stack-web-1/bundle.json \
                /var/lib/berth/containers/stack-web-1/record.json",
    )
    .succeeds();

    host.edit("compose.yaml", "9000:8001", "9001:8002");
    host.berth("up -d").succeeds();
    assert_eq!(
        (from_outside(&host, 9000), from_outside(&host, 9001)),
        (String::new(), "8002".into())
    );
    assert_eq!(addresses(&host, "web", "other").len(), 1);
    assert_eq!(host.pid_of("web"), before);
    host.berth("plan --detailed-exitcode").fails_with(0);
}

#[test]
fn who_exchange_ports_and_addresses_have_each_others_in_one_up() {
    let stack = STACK.replace(
        "    command: [sleep, '100000']\n    volumes: ['.:/srv:ro']\n    networks: [front, back]\n",
        "    command: [python3, /srv/two.py]\n    volumes: ['.:/srv:ro']\n    \
         ports: ['9001:8002']\n    \
         networks: { front: , back: { ipv4_address: 10.99.7.8 } }\n",
    );
    let stack = stack.replace(
        "      front: { aliases: [first] }\n",
        "      front: { aliases: [first] }\n      back: { ipv4_address: 10.99.7.7 }\n",
    );
    let host = host_with(&stack);
    host.eventually("the other serves", || from_outside(&host, 9001) == "8002");

    let exchanged = stack.replace("9000:8001", "x").replace("9001:8002", "9000:8002");
    let exchanged = exchanged.replace('x', "9001:8001");
    let exchanged = exchanged.replace("10.99.7.7", "x").replace("10.99.7.8", "10.99.7.7");
    host.write("compose.yaml", &exchanged.replace('x', "10.99.7.8"));
    host.berth("up -d").succeeds();

    host.eventually("each serves the other's port", || {
        (from_outside(&host, 9000), from_outside(&host, 9001)) == ("8002".into(), "8001".into())
    });
    assert!(addresses(&host, "other", "web").contains(&"10.99.7.8".to_owned()));
    host.berth("plan --detailed-exitcode").fails_with(0);

    // A fixed address goes to another service, while its first owner runs on without one.
    let before = host.pid_of("web");
    host.edit("compose.yaml", "back: { ipv4_address: 10.99.7.8 }", "back: ");
    host.edit(
        "compose.yaml",
        "back: { ipv4_address: 10.99.7.7 }",
        "back: { ipv4_address: 10.99.7.8 }",
    );
    host.berth("up -d").succeeds();
    assert!(addresses(&host, "web", "other").contains(&"10.99.7.8".to_owned()));
    assert_eq!(host.pid_of("web"), before);
    host.berth("plan --detailed-exitcode").fails_with(0);
}

#[test]
fn a_link_comes_with_settings_of_its_own() {
    let stack = |service: &str| {
        format!(
            "
services:
  web: {{ image: 'busybox:1', command: [sleep, '100000'], {service} }}
networks: {{ front: {{}}, back: {{}} }}
"
        )
    };
    let host = TestHost::with("compose.yaml", &stack("networks: { front: {} }"));
    host.berth("up -d").succeeds();
    let more = "networks: { front: {}, back: { interface_name: lan } }, \
                sysctls: { net.ipv4.conf.lan.rp_filter: 2 }";
    host.write("compose.yaml", &stack(more));
    host.berth("up -d").succeeds();
    let set = host.berth("exec -T web cat /proc/sys/net/ipv4/conf/lan/rp_filter").succeeds();
    assert_eq!(set.stdout.trim(), "2");
    host.berth("plan --detailed-exitcode").succeeds();
}
