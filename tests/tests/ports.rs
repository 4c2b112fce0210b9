//! Published ports answer from outside, from the host, on loopback and from other containers.

use berth_tests::TestHost;
use berth_tests::machine::Place;

const STACK: &str = "
services:
  server:
    image: localhost/host
    command: [python3, /srv/who.py]
    volumes: ['.:/srv:ro']
    ports: ['9000:9000', '9000:9000/udp']
    networks: [front]
  stranger:
    image: localhost/host
    command: [sleep, '100000']
    volumes: ['.:/srv:ro']
    networks: [other]
networks:
  front:
  other:
";

fn host_with(stack: &str) -> TestHost {
    let files =
        [("who.py", include_str!("ports/who.py")), ("ask.py", include_str!("ports/ask.py"))];
    TestHost::serving(stack, "server", &files)
}

fn ask(kind: &str, address: &str, port: u16) -> String {
    format!("python3 ask.py {kind} {address} {port}")
}

#[test]
fn a_published_port_answers_from_outside_with_the_callers_address() {
    let host = host_with(STACK);
    for kind in ["tcp", "udp"] {
        host.neighbour(&ask(kind, "192.0.2.1", 9000)).succeeds().stdout_is("192.0.2.2");
    }
}

#[test]
fn a_published_port_answers_from_the_host_and_on_loopback() {
    let host = host_with(STACK);
    for kind in ["tcp", "udp"] {
        for address in ["192.0.2.1", "127.0.0.1"] {
            host.shell(&ask(kind, address, 9000)).succeeds();
        }
    }
}

#[test]
fn a_published_port_answers_over_ipv6() {
    let host = host_with(&STACK.replace("  front:\n", "  front: { enable_ipv6: true }\n"));
    host.neighbour(&ask("tcp", "2001:db8::1", 9000)).succeeds().stdout_is("2001:db8::2");
    for address in ["2001:db8::1", "::1"] {
        host.shell(&ask("tcp", address, 9000)).succeeds();
    }
}

#[test]
fn clients_of_ipv6_reach_a_container_that_has_none() {
    let host = host_with(STACK);
    assert!(relays(&host).is_empty(), "nobody has come yet");
    for kind in ["tcp", "udp"] {
        for address in ["::1", "2001:db8::1"] {
            host.shell(&ask(kind, address, 9000)).succeeds();
        }
        host.neighbour(&ask(kind, "2001:db8::1", 9000)).succeeds();
    }
    assert_eq!(relays(&host).len(), 1);
}

#[test]
fn clients_of_ipv4_reach_a_container_that_has_ipv6_alone() {
    let network = "  front: { enable_ipv4: false, enable_ipv6: true }\n";
    let stack = STACK.replace("  front:\n", network).replace("who.py", "six.py");
    let six = include_str!("ports/who.py").replace("socket.AF_INET,", "socket.AF_INET6,");
    let six = six.replace("\"0.0.0.0\"", "\"::\"");
    let files = [("six.py", six.as_str()), ("ask.py", include_str!("ports/ask.py"))];
    let host = TestHost::serving(&stack, "server", &files);
    for kind in ["tcp", "udp"] {
        for address in ["127.0.0.1", "192.0.2.1", "2001:db8::1"] {
            host.shell(&ask(kind, address, 9000)).succeeds();
        }
        host.neighbour(&ask(kind, "192.0.2.1", 9000)).succeeds();
        // The kernel leads its own family there, with the caller's address.
        let seen = host.neighbour(&ask(kind, "2001:db8::1", 9000)).succeeds();
        seen.stdout_is("2001:db8::2");
    }
    assert_eq!(relays(&host).len(), 1);
}

#[test]
fn a_port_on_the_loopback_of_ipv6_is_closed_to_the_outside() {
    let host = host_with(
        &STACK.replace("'9000:9000', '9000:9000/udp'", "'[::1]:9000:9000', '[::1]:9000:9000/udp'"),
    );
    for kind in ["tcp", "udp"] {
        host.shell(&ask(kind, "::1", 9000)).succeeds();
        assert_ne!(host.neighbour(&ask(kind, "2001:db8::1", 9000)).code, 0);
        assert_ne!(host.shell(&ask(kind, "2001:db8::1", 9000)).code, 0);
    }
    assert_ne!(host.shell(&ask("tcp", "127.0.0.1", 9000)).code, 0);
}

#[test]
fn a_relay_is_no_way_out_of_an_internal_network() {
    let network = "  other: { enable_ipv6: true, ipam: { config: [{ subnet: 'fd00:77::/64' }] } }";
    let host = host_with(&STACK.replace("  other:", network));
    let asks = |kind| {
        let line = format!("exec -T stranger python3 /srv/ask.py {kind} fd00:77::1 9000");
        host.berth(&line).code == 0
    };
    assert!(asks("tcp") && asks("udp"));
    host.edit("compose.yaml", "enable_ipv6: true,", "enable_ipv6: true, internal: true,");
    host.berth("up -d").succeeds();
    assert!(!asks("tcp") && !asks("udp"));
}

#[test]
fn a_relay_owns_nothing_and_ends_with_its_monitor() {
    let host = host_with(STACK);
    host.shell(&ask("tcp", "::1", 9000)).succeeds();
    let [relay] = relays(&host)[..] else { panic!("{:?}", relays(&host)) };
    let status = host.shell(&format!("cat /proc/{relay}/status")).succeeds();
    let status = status.stdout_has("Uid:\t65534\t65534\t65534\t65534");
    status.stdout_has("CapEff:\t0000000000000000").stdout_has("Seccomp:\t2");
    host.kill("KILL", host.monitor_of("server"));
    host.eventually("the relay is gone", || relays(&host).is_empty());
    host.berth("up -d").succeeds();
    host.shell(&ask("udp", "::1", 9000)).succeeds();
    host.kill("KILL", relays(&host)[0]);
    host.eventually("another one serves", || host.shell(&ask("tcp", "::1", 9000)).code == 0);
    host.berth("restart server").succeeds();
    host.eventually("it answers", || host.shell(&ask("tcp", "::1", 9000)).code == 0);
    host.berth("stop server").succeeds();
    assert!(relays(&host).is_empty());
}

#[test]
fn a_relay_carries_everything_and_each_end_of_a_connection() {
    let host = TestHost::with("compose.yaml", &STACK.replace("who.py", "echo.py"));
    host.write("echo.py", include_str!("ports/echo.py"));
    host.write("pour.py", include_str!("ports/pour.py"));
    host.berth("up -d").succeeds();
    host.listens("server");
    host.shell("python3 pour.py ::1 9000 20000000").succeeds().stdout_is("all came back");
}

#[test]
fn an_answer_to_an_upload_that_is_not_taken_arrives_by_a_relay() {
    let host = TestHost::with("compose.yaml", &STACK.replace("who.py", "refuse.py"));
    host.write("refuse.py", include_str!("ports/refuse.py"));
    host.write("upload.py", include_str!("ports/upload.py"));
    host.berth("up -d").succeeds();
    host.eventually("the server listens", || {
        host.berth("logs --no-log-prefix server").stdout.contains("listens")
    });
    host.shell("python3 upload.py ::1 9000 50000000").succeeds().stdout_is("too large");
}

/// Process ids of the relays.
fn relays(host: &TestHost) -> Vec<i64> {
    let found = host.shell("grep -lsz '^relay$' /proc/[0-9]*/cmdline; true").succeeds().stdout;
    let pids = found.lines().filter_map(|path| path.split('/').nth(2)?.parse().ok());
    pids.filter(|pid| {
        let line = host.shell(&format!("tr '\\0' ' ' </proc/{pid}/cmdline")).stdout;
        line.starts_with("berth relay ")
    })
    .collect()
}

#[test]
fn a_published_port_answers_from_another_container_and_from_itself() {
    let host = host_with(STACK);
    for service in ["stranger", "server"] {
        for kind in ["tcp", "udp"] {
            let line = format!("exec -T {service} python3 /srv/ask.py {kind} 192.0.2.1 9000");
            host.berth(&line).succeeds();
        }
    }
}

#[test]
fn a_port_on_loopback_is_closed_to_the_outside() {
    let host = host_with(&STACK.replace("'9000:9000', '9000:9000/udp'", "'127.0.0.1:9000:9000'"));
    host.shell(&ask("tcp", "127.0.0.1", 9000)).succeeds();
    assert_ne!(host.neighbour(&ask("tcp", "192.0.2.1", 9000)).code, 0);
    assert_ne!(host.shell(&ask("tcp", "192.0.2.1", 9000)).code, 0);
    // A neighbour that routes 127.0.0.1 to this machine does not get in either.
    host.neighbour(
        "sysctl -qw net.ipv4.conf.all.route_localnet=1 && ip address del 127.0.0.1/8 dev lo && \
         ip route add 127.0.0.1/32 via 192.0.2.1 src 192.0.2.2 table main",
    );
    assert_ne!(host.neighbour(&ask("tcp", "127.0.0.1", 9000)).code, 0);
}

#[test]
fn the_container_behind_a_port_cannot_be_reached_around_it() {
    let host = host_with(STACK);
    let address = host.berth("exec -T server ip -o -4 address show eth0").succeeds().stdout;
    let address = address.split_whitespace().nth(3).and_then(|a| a.split('/').next()).unwrap();
    host.neighbour(&format!("ip route add {address}/32 via 192.0.2.1")).succeeds();
    assert_ne!(host.neighbour(&ask("udp", address, 9001)).code, 0);
    host.edit("compose.yaml", "'9000:9000', '9000:9000/udp'", "'9001:9000'");
    host.berth("up -d").succeeds();
    host.eventually("it answers again", || {
        host.neighbour(&ask("tcp", "192.0.2.1", 9001)).code == 0
    });
    assert_ne!(host.neighbour(&ask("tcp", address, 9000)).code, 0, "unpublished from outside");
}

#[test]
fn a_range_is_published_port_by_port() {
    let host = host_with(&STACK.replace("'9000:9000', '9000:9000/udp'", "'9100-9102:8999-9001'"));
    host.shell(&ask("tcp", "127.0.0.1", 9101)).succeeds();
    assert_ne!(host.shell(&ask("tcp", "127.0.0.1", 9100)).code, 0, "nobody listens on 8999");
}

#[test]
fn a_thousand_ports_are_published_and_the_container_keeps_its_own_limits() {
    let host = TestHost::with(
        "compose.yaml",
        &STACK.replace("'9000:9000', '9000:9000/udp'", "'20000-20999:9000-9999'"),
    );
    host.write("who.py", include_str!("ports/who.py"));
    host.write("ask.py", include_str!("ports/ask.py"));
    let program = berth_tests::host::berth_program();
    host.shell(&format!("ulimit -Sn 1024; {} up -d", program.display())).succeeds();
    host.listens("server");
    host.neighbour(&ask("tcp", "192.0.2.1", 20000)).succeeds();
    host.shell(&ask("tcp", "::1", 20000)).succeeds();
    let limits = host.berth("exec -T server cat /proc/1/limits").succeeds().stdout;
    let open = limits.lines().find(|line| line.starts_with("Max open files")).unwrap_or_default();
    assert_eq!(open.split_whitespace().nth(3), Some("1024"), "{limits}");
    assert_eq!(host.berth("port server 9001").succeeds().stdout.lines().count(), 2);

    // So are two thousand others, while it runs.
    let before = host.pid_of("server");
    host.edit("compose.yaml", "'20000-20999:9000-9999'", "'21000-22999:8000-9999'");
    host.berth("up -d").succeeds();
    assert_eq!(host.pid_of("server"), before);
    host.neighbour(&ask("tcp", "192.0.2.1", 22000)).succeeds();
    host.shell(&ask("tcp", "::1", 22000)).succeeds();
    assert_ne!(host.neighbour(&ask("tcp", "192.0.2.1", 20000)).code, 0);
    host.berth("plan --detailed-exitcode").fails_with(0);
}

#[test]
fn a_port_without_a_number_gets_a_free_one_and_keeps_it() {
    let host = host_with(&STACK.replace("'9000:9000', '9000:9000/udp'", "'9000'"));
    let port = || {
        let status = host.status("stack-server-1");
        let port = &status["published"][0]["published"];
        u16::try_from(port[0].as_u64().unwrap_or_else(|| panic!("no port: {status}"))).unwrap()
    };
    let first = port();
    host.shell(&ask("tcp", "127.0.0.1", first)).succeeds();
    host.berth("up -d").succeeds();
    assert_eq!(port(), first);
    for again in ["restart -t 0 server", "stop -t 0 server", "start server"] {
        host.berth(again).succeeds();
    }
    assert_eq!(port(), first, "also over restarts and stops");
}

#[test]
fn port_tells_those_of_one_container_and_one_protocol() {
    let host = host_with(
        &STACK
            .replace("'9000:9000', '9000:9000/udp'", "'9000-9001:9000', '9100-9101:9000/udp'")
            .replace("    networks: [front]\n", "    networks: [front]\n    scale: 2\n"),
    );
    let port = |words: &str| {
        let told = host.berth(&format!("port {words} server 9000")).succeeds().stdout;
        let first = told.lines().next().and_then(|line| line.rsplit_once(':'));
        first.and_then(|(_, port)| port.parse::<u16>().ok()).unwrap_or_else(|| panic!("{told}"))
    };
    for (protocol, [low, high]) in [("tcp", [9000, 9001]), ("udp", [9100, 9101])] {
        let each = [1, 2].map(|index| port(&format!("--protocol {protocol} --index {index}")));
        assert!(each == [low, high] || each == [high, low], "{protocol}: {each:?}");
        assert!(each.contains(&port(&format!("--protocol {protocol}"))));
        host.eventually("the first of them answers", || {
            host.shell(&ask(protocol, "127.0.0.1", each[0])).code == 0
        });
    }
    assert_eq!(port("--index 2"), port("--index 2 --protocol tcp"));
    host.berth("port --index 3 server 9000").fails_with(1).stderr_has("3");
    host.berth("port --protocol sctp server 9000").fails_with(1).stderr_has("9000/sctp");
    host.berth("port --protocol icmp server 9000").fails_with(64);
}

#[test]
fn a_port_of_sctp_is_published_where_the_kernel_has_it_and_refused_before_anything_elsewhere() {
    let host = TestHost::with(
        "compose.yaml",
        "services:
  server:
    image: 'busybox:1'
    command: [sleep, '100000']
    stop_grace_period: 0s
    ports: ['9000:9000', '9000:9000/sctp']
",
    );
    let asks = "import socket; socket.socket(socket.AF_INET, socket.SOCK_STREAM, 132)";
    let has = host.shell(&format!("python3 -c '{asks}'")).code == 0;
    let up = host.berth("up -d");
    match has {
        true => {
            up.succeeds();
            host.berth("port --protocol sctp server 9000").succeeds().stdout_has(":9000");
        }
        false => {
            up.fails_with(65)
                .stderr_has("the kernel of this host has no SCTP")
                .stderr_has("compose.yaml:");
            host.berth("plan").fails_with(65).stderr_has("has no SCTP");
            assert_eq!(host.berth("network ls -q").succeeds().stdout, "");
        }
    }
}

#[test]
fn a_port_that_is_taken_is_named_before_anything_is_changed() {
    let host = TestHost::with("compose.yaml", STACK);
    host.write("who.py", include_str!("ports/who.py"));
    let squatter = host.start_shell(Place::Inside, "exec python3 who.py");
    squatter.prints("listens");
    host.write("hold.py", include_str!("ports/hold.py"));
    let beside = host.start_shell(Place::Inside, "exec python3 hold.py ::1 9001");
    beside.prints("holds");
    let before = host.ledger();
    for line in ["plan", "plan --json", "up -d", "up -d --dry-run"] {
        let refused = host.berth(line).fails_with(1);
        refused
            .stderr_has("port 9000/tcp of `stack-server-1` is taken by process ")
            .stderr_has("port 9000/udp of `stack-server-1` is taken by process ")
            .stderr_has(" (`python3`")
            .stderr_has("end that, or publish 9002, which is free")
            .stderr_has("end that, or publish 9001, which is free");
    }
    assert!(host.ledger().since(&before, &["/var/lib/berth"]).is_empty());
    squatter.signal(nix::sys::signal::Signal::SIGKILL);
    let _ = squatter.ends();
    beside.signal(nix::sys::signal::Signal::SIGKILL);
    let _ = beside.ends();
    host.berth("up -d").succeeds();
    let other = STACK.replacen("services:", "name: other\nservices:", 1);
    host.write("other.yaml", &other);
    host.berth("-f other.yaml up -d")
        .fails_with(1)
        .stderr_has("is already published by `stack-server-1`: publish 9001, which is free");
    let server = host.pid_of("server");
    host.berth("up -d --force-recreate").succeeds();
    assert_ne!(host.pid_of("server"), server, "its own port is no conflict");
    host.berth("restart server").succeeds();
}

#[test]
fn a_port_on_one_address_leaves_the_others() {
    let host = TestHost::with(
        "compose.yaml",
        &STACK.replace("'9000:9000', '9000:9000/udp'", "'127.0.0.1:9000:9000'"),
    );
    host.write("hold.py", include_str!("ports/hold.py"));
    let squatter = host.start_shell(Place::Inside, "exec python3 hold.py 127.0.0.2 9000");
    squatter.prints("holds");
    host.write("who.py", include_str!("ports/who.py"));
    host.write("ask.py", include_str!("ports/ask.py"));
    host.berth("up -d").succeeds();
    host.edit("compose.yaml", "127.0.0.1:9000:9000", "0.0.0.0:9000:9000");
    host.berth("up -d").fails_with(1).stderr_has("port 0.0.0.0:9000/tcp of `stack-server-1` is");
    squatter.signal(nix::sys::signal::Signal::SIGKILL);
    let _ = squatter.ends();
    host.berth("up -d").succeeds();
    host.eventually("all of IPv4 answers", || {
        host.neighbour(&ask("tcp", "192.0.2.1", 9000)).code == 0
    });
    host.shell(&ask("tcp", "127.0.0.1", 9000)).succeeds();
}

#[test]
fn a_port_moves_with_the_container_that_replaces_it() {
    let host = host_with(STACK);
    host.edit(
        "compose.yaml",
        "networks: [front]\n",
        "networks: [front]\n    environment: { A: b }\n",
    );
    host.berth("up -d").succeeds();
    host.eventually("it answers", || host.neighbour(&ask("tcp", "192.0.2.1", 9000)).code == 0);
    host.berth("stop server").succeeds();
    assert_ne!(host.neighbour(&ask("tcp", "192.0.2.1", 9000)).code, 0);
    host.berth("start server").succeeds();
    host.eventually("it answers", || host.neighbour(&ask("udp", "192.0.2.1", 9000)).code == 0);
}
