//! Services find each other by name, on the networks they share and on no other.

use std::time::{Duration, Instant};

use berth_tests::machine::Place;
use berth_tests::{Running, TestHost};

// The programs of the host: the resolver of a static busybox crashes on names it cannot find.
const STACK: &str = "
services:
  web:
    image: localhost/host
    command: [sleep, '100000']
    networks: [front]
  app:
    image: localhost/host
    command: [sh, -c, 'mkdir /www; echo hello >/www/index.html; exec busybox httpd -f -p 80 -h /www']
    networks:
      front: { aliases: [api, api.example] }
      back: { ipv4_address: 10.99.7.10 }
  database:
    image: localhost/host
    command: [sh, -c, 'mkdir /www; echo rows >/www/index.html; exec busybox httpd -f -p 80 -h /www']
    hostname: db-host
    networks: [back]
networks:
  front:
  back:
    internal: true
    ipam: { config: [{ subnet: 10.99.7.0/24 }] }
";

/// What `url` answers to a container. Empty when there is no answer.
fn fetch(host: &TestHost, from: &str, url: &str) -> String {
    host.berth(&format!("exec -T {from} curl -gsS --fail --max-time 2 http://{url}")).stdout
}

/// Addresses of `name` as a container sees them.
fn addresses(host: &TestHost, from: &str, name: &str) -> Vec<String> {
    let found = host.berth(&format!("exec -T {from} getent ahostsv4 {name}")).stdout;
    let streams = found.lines().filter(|line| line.contains("STREAM"));
    streams.filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
}

#[test]
fn a_service_is_found_by_its_name_its_container_and_its_aliases() {
    let host = TestHost::with("compose.yaml", STACK);
    host.berth("up -d").succeeds();
    for name in ["app", "api", "api.example", "stack-app-1", "APP"] {
        host.eventually(name, || fetch(&host, "web", name) == "hello\n");
    }
    host.eventually("database", || fetch(&host, "app", "database") == "rows\n");
}

#[test]
fn networks_are_isolated_from_each_other() {
    let host = TestHost::with("compose.yaml", STACK);
    host.berth("up -d").succeeds();
    host.eventually("both answer", || {
        fetch(&host, "app", "10.99.7.10") == "hello\n"
            && fetch(&host, "app", "database") == "rows\n"
    });
    assert_eq!(addresses(&host, "web", "database"), [] as [String; 0]);
    let database = addresses(&host, "app", "database").remove(0);
    assert_eq!(fetch(&host, "web", &database), "", "an address of a network it is not on");
    assert_eq!(fetch(&host, "web", "10.99.7.10"), "", "another address of one it can reach");
    // Not around the isolation either, by the bridge of the other network.
    let server = host.start_shell(Place::Inside, "exec busybox httpd -f -p 8088 -h .");
    host.write("index.html", "the machine\n");
    host.eventually("it listens", || host.get("127.0.0.1:8088/index.html") == "the machine\n");
    assert_eq!(
        fetch(&host, "database", "192.0.2.1:8088/index.html"),
        "",
        "it is on an internal network"
    );
    server.signal(nix::sys::signal::Signal::SIGKILL);
    let _ = server.ends();
}

#[test]
fn an_internal_network_has_no_way_out() {
    let host = TestHost::with("compose.yaml", STACK);
    host.write("index.html", "the neighbour\n");
    let server = host.start_shell(Place::Neighbour, "exec busybox httpd -f -p 80 -h .");
    host.eventually("it listens", || host.get("192.0.2.2/index.html") == "the neighbour\n");
    host.berth("up -d").succeeds();
    assert_eq!(fetch(&host, "web", "192.0.2.2/index.html"), "the neighbour\n");
    assert_eq!(fetch(&host, "app", "192.0.2.2/index.html"), "the neighbour\n");
    assert_eq!(fetch(&host, "database", "192.0.2.2/index.html"), "");
    server.signal(nix::sys::signal::Signal::SIGKILL);
    let _ = server.ends();
}

#[test]
fn what_goes_out_has_the_address_of_the_machine() {
    let host = TestHost::with("compose.yaml", STACK);
    host.berth("up -d").succeeds();
    let server = host.start_shell(
        Place::Neighbour,
        "exec python3 -u -c '
import socket
s = socket.create_server((\"192.0.2.2\", 7070))
print(\"listens\")
c, peer = s.accept()
print(\"from\", peer[0])'",
    );
    server.prints("listens");
    host.berth("exec -T web busybox nc -w 2 192.0.2.2 7070").succeeds();
    server.ends().succeeds().stdout_has("from 192.0.2.1");
}

#[test]
fn a_fixed_address_is_kept() {
    let host = TestHost::with("compose.yaml", STACK);
    host.berth("up -d").succeeds();
    host.berth("exec -T app busybox ip -o -4 address").succeeds().stdout_has("10.99.7.10/24");
    assert_eq!(addresses(&host, "database", "app"), ["10.99.7.10"]);
}

#[test]
fn names_follow_a_container_that_is_replaced() {
    let host = TestHost::with("compose.yaml", STACK);
    host.berth("up -d").succeeds();
    host.eventually("it answers", || fetch(&host, "web", "app") == "hello\n");
    host.edit("compose.yaml", "echo hello", "echo hello again");
    host.berth("up -d").succeeds();
    host.eventually("the new one answers", || fetch(&host, "web", "app") == "hello again\n");
}

/// Starts scripted name servers on these addresses of the machine.
fn servers(host: &TestHost, addresses: &str) -> Running {
    host.write("dns.py", include_str!("names/dns.py"));
    host.write("asked.log", "");
    let server = host.start_shell(Place::Inside, &format!("exec python3 -u dns.py {addresses}"));
    server.prints("listens");
    server
}

/// What the scripted servers were asked since the last time.
fn asked(host: &TestHost) -> Vec<String> {
    let path = host.project("asked.log");
    let asked = std::fs::read_to_string(path).unwrap_or_default();
    // In place: the server goes on at its end.
    host.shell("truncate -s 0 asked.log").succeeds();
    asked.lines().map(str::to_owned).collect()
}

fn end(server: Running) {
    server.signal(nix::sys::signal::Signal::SIGKILL);
    let _ = server.ends();
}

/// Asks the resolver of a container, without its C library: `NAME:TYPE` and so on. A line for each.
#[track_caller]
fn ask(host: &TestHost, from: &str, questions: &str) -> String {
    host.write("ask.py", include_str!("names/ask.py"));
    let pid = host.pid_of(from).pid;
    host.shell(&format!("nsenter -t {pid} -n python3 ask.py {questions}")).succeeds().stdout
}

/// Writes the machine's file in place.
fn resolv_conf(host: &TestHost, text: &str) {
    host.shell(&format!("printf '{text}' >/etc/resolv.conf")).succeeds();
}

#[test]
fn other_names_are_asked_of_the_name_server_of_the_host() {
    let host = TestHost::with("compose.yaml", STACK);
    let server = servers(&host, "127.0.0.1 127.0.0.53 ::1");
    host.berth("up -d").succeeds();
    assert_eq!(addresses(&host, "web", "outside.test"), ["198.51.100.77"]);
    assert_eq!(addresses(&host, "web", "nowhere.test"), [] as [String; 0]);
    // By TCP, for who asks so, and for an answer that is too long for a datagram.
    assert_eq!(addresses(&host, "web", "many.test").len(), 200);
    assert_eq!(ask(&host, "web", "tcp outside.test:A"), "outside.test:A NOERROR 198.51.100.77\n");
    assert_eq!(ask(&host, "web", "loud.test:TXT"), "loud.test:TXT NOERROR cut\n");
    assert_eq!(ask(&host, "web", "tcp loud.test:TXT").matches("256 bytes").count(), 12);
    // The host changes to another: systemd-resolved's stub, or one that listens on IPv6.
    for other in ["127.0.0.53", "::1"] {
        resolv_conf(&host, &format!("nameserver {other}\n"));
        assert_eq!(addresses(&host, "web", "slow.test"), ["198.51.100.77"], "{other}");
    }
    end(server);
}

#[test]
fn nothing_of_an_internal_network_is_asked_outside() {
    let host = TestHost::with("compose.yaml", STACK);
    let server = servers(&host, "127.0.0.1");
    host.berth("up -d").succeeds();
    asked(&host);
    let long = format!("{}.{}.outside.test", "a".repeat(63), "b".repeat(63));
    let all = format!("outside.test:A outside.test:AAAA {long}:TXT 1.2.0.192.in-addr.arpa:PTR");
    for way in ["", "tcp "] {
        let told = ask(&host, "database", &format!("{way}{all}"));
        assert_eq!(told.matches("NXDOMAIN").count(), 4, "{told}");
    }
    assert_eq!(asked(&host), [] as [String; 0]);
    end(server);
}

#[test]
fn a_dead_name_server_holds_nobody_up_for_long_and_names_of_the_stack_not_at_all() {
    let host = TestHost::with("compose.yaml", STACK);
    resolv_conf(&host, "nameserver 127.0.0.1\nnameserver 127.0.0.2\n");
    let server = servers(&host, "127.0.0.1 127.0.0.2");
    host.berth("up -d").succeeds();
    // What the first does not do, the second does.
    let told = ask(&host, "web", "refused.test:A slow.test:A");
    assert_eq!(told.matches("NOERROR 198.51.100.77").count(), 2, "{told}");
    let begun = Instant::now();
    let waits = std::thread::scope(|scope| {
        let silent = scope.spawn(|| ask(&host, "web", "silent.test:A"));
        let app = ask(&host, "web", "app:A app:AAAA");
        assert!(app.contains("app:A NOERROR 1"), "{app}");
        silent.join().unwrap()
    });
    assert_eq!(waits, "silent.test:A SERVFAIL\n");
    assert!(begun.elapsed() < Duration::from_secs(7), "the C library waits 5 s");
    end(server);
    assert_eq!(ask(&host, "web", "outside.test:A"), "outside.test:A SERVFAIL\n", "closed");
    let server = servers(&host, "127.0.0.2");
    assert_eq!(addresses(&host, "web", "outside.test"), ["198.51.100.77"], "it is back");
    end(server);
}

#[test]
fn names_of_the_stack_stay_in_it_whatever_is_asked_and_whether_they_run() {
    let host = TestHost::with("compose.yaml", STACK);
    resolv_conf(&host, "nameserver 127.0.0.1\nsearch corp.example\noptions timeout:2\n");
    let server = servers(&host, "127.0.0.1");
    host.berth("up -d").succeeds();
    host.berth("exec -T web cat /etc/resolv.conf")
        .succeeds()
        .stdout_is("nameserver 127.0.0.11\nsearch corp.example\noptions timeout:2 ndots:0");
    asked(&host);
    let app = addresses(&host, "web", "app").remove(0);
    let id = host.berth("ps -q app").succeeds().stdout;
    let id = &id.trim()[..12];
    for name in ["app.stack_front", "stack-app-1.stack_front", "api.example.stack_front", id] {
        let told = ask(&host, "web", &format!("{name}:A {name}.:A"));
        assert_eq!(told.matches(&format!("NOERROR {app}\n")).count(), 2, "{told}");
    }
    let reversed: Vec<&str> = app.rsplit('.').collect();
    let told = ask(&host, "web", &format!("{}.in-addr.arpa:PTR", reversed.join(".")));
    assert!(told.ends_with("NOERROR stack-app-1.stack_front\n"), "{told}");
    let told = ask(&host, "web", "app:AAAA api.example:MX api.example:TXT app:HTTPS app:SVCB");
    assert_eq!(told.matches("NOERROR\n").count(), 5, "{told}");
    // On another network of the stack.
    let told = ask(&host, "web", "app.stack_back:A database.stack_front:A database:A");
    assert_eq!(told.matches("NXDOMAIN").count(), 3, "{told}");
    assert_eq!(asked(&host), [] as [String; 0]);
    host.berth("exec -T web getent ahostsv6 app");
    assert_eq!(asked(&host), [] as [String; 0], "the C library goes on with search domains");
    // Somebody means the other one.
    ask(&host, "web", "app.corp.example:A");
    assert_eq!(asked(&host), ["udp app.corp.example A"]);

    host.berth("stop -t 0 app").succeeds();
    for name in ["app", "api.example", "api", "app.stack_front", "api.example.corp.example"] {
        assert_eq!(addresses(&host, "web", name), [] as [String; 0], "{name}");
    }
    assert_eq!(asked(&host), [] as [String; 0], "it is down");
    host.berth("start app").succeeds();
    assert_eq!(addresses(&host, "web", "api.example").len(), 1);
    end(server);
}

#[test]
fn the_host_is_found_by_the_names_others_give_it() {
    let host = TestHost::with(
        "compose.yaml",
        "
services:
  web: { image: localhost/host, command: [sleep, '100000'], networks: [six] }
  named:
    image: localhost/host
    command: [sleep, '100000']
    networks: [six]
    extra_hosts: ['host.docker.internal=192.0.2.99', 'gate=host-gateway']
networks:
  six: { enable_ipv6: true, ipam: { config: [{ subnet: 10.98.0.0/24 }, { subnet: 'fd00:98::/64' }] } }
",
    );
    host.berth("up -d").succeeds();
    for name in ["host.docker.internal", "gateway.docker.internal"] {
        assert_eq!(addresses(&host, "web", name), ["10.98.0.1"]);
        assert!(ask(&host, "web", &format!("{name}:AAAA")).ends_with(" NOERROR fd00:98::1\n"));
    }
    assert_eq!(addresses(&host, "named", "host.docker.internal"), ["192.0.2.99"], "the file's");
    let hosts = host.berth("exec -T named cat /etc/hosts").succeeds().stdout;
    assert!(hosts.contains("10.98.0.1\tgate\n") && hosts.contains("fd00:98::1\tgate\n"), "{hosts}");
}

#[test]
fn a_server_of_the_file_is_asked_from_the_network_of_the_container() {
    let host = TestHost::with(
        "compose.yaml",
        "
services:
  ns:
    image: localhost/host
    command: [sleep, '100000']
    networks: { inner: { ipv4_address: 10.97.0.53 } }
  web:
    image: localhost/host
    command: [sleep, '100000']
    dns: 10.97.0.53
    networks: [inner]
  tunnel:
    image: localhost/host
    command: [sleep, '100000']
    dns: 127.0.0.1
    networks: [outer]
networks:
  inner: { internal: true, ipam: { config: [{ subnet: 10.97.0.0/24 }] } }
  outer:
",
    );
    host.berth("up -d").succeeds();
    host.write("dns.py", include_str!("names/dns.py"));
    for (service, address) in [("ns", "10.97.0.53"), ("tunnel", "127.0.0.1")] {
        let inside = format!("nsenter -t {} -n", host.pid_of(service).pid);
        let line = format!("exec {inside} python3 -u dns.py {address}");
        let server = host.start_shell(Place::Inside, &line);
        server.prints("listens");
        let asker = if service == "ns" { "web" } else { service };
        assert_eq!(addresses(&host, asker, "outside.test"), ["198.51.100.77"], "{asker}");
        end(server);
    }
}

#[test]
fn who_has_asked_is_answered_before_a_connection_makes_room_for_others() {
    let host = TestHost::with("compose.yaml", STACK);
    host.write("crowd.py", include_str!("names/crowd.py"));
    host.berth("up -d").succeeds();
    let (web, monitor) = (host.pid_of("web").pid, host.monitor_of("web"));
    // All of them wait for a resolver that is late, and it holds half as many at a time.
    host.kill("STOP", monitor);
    let line = format!("exec nsenter -t {web} -n python3 crowd.py web 60");
    let crowd = host.start_shell(Place::Inside, &line);
    crowd.prints("asked");
    host.kill("CONT", monitor);
    host.write("go", "");
    crowd.ends().succeeds().stdout_has("60 of 60");
}

#[test]
fn a_new_monitor_takes_the_resolver_over() {
    let host = TestHost::with("compose.yaml", STACK);
    let server = servers(&host, "127.0.0.1");
    host.berth("up -d").succeeds();
    let ports = |host: &TestHost| host.status("stack-web-1")["resolver"].clone();
    let before = ports(&host);
    host.kill("KILL", host.monitor_of("web"));
    host.berth("up -d").succeeds();
    assert_eq!(ports(&host), before);
    for way in ["", "tcp "] {
        let told = ask(&host, "web", &format!("{way}app:A outside.test:A nothing:A"));
        assert_eq!(told.matches(" NOERROR ").count(), 2, "{told}");
    }
    end(server);
}

#[test]
fn a_new_monitor_answers_though_the_container_has_come_to_have_its_port() {
    let host = TestHost::with("compose.yaml", STACK);
    host.berth("up -d").succeeds();
    let ports = |host: &TestHost| host.status("stack-web-1")["resolver"].clone();
    let before = ports(&host);
    host.kill("KILL", host.monitor_of("web"));
    let line = format!(
        "exec nsenter -t {} -n python3 -u -c '
import socket, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind((\"0.0.0.0\", {}))
print(\"listens\")
time.sleep(1000)'",
        host.pid_of("web").pid,
        before[0]
    );
    let taken = host.start_shell(Place::Inside, &line);
    taken.prints("listens");
    host.berth("up -d").succeeds();
    assert_ne!(ports(&host)[0], before[0]);
    for way in ["", "tcp "] {
        let told = ask(&host, "web", &format!("{way}app:A"));
        assert!(told.contains(" NOERROR "), "{told}");
    }
    end(taken);
}

#[test]
fn the_host_name_is_that_of_the_file_or_the_short_id() {
    let host = TestHost::with("compose.yaml", STACK);
    host.berth("up -d").succeeds();
    host.berth("exec -T database hostname").succeeds().stdout_is("db-host");
    let name = host.berth("exec -T web hostname").succeeds().stdout;
    let name = name.trim();
    assert!(name.len() == 12 && name.bytes().all(|b| b.is_ascii_hexdigit()), "{name}");
}

#[test]
fn every_replica_answers_to_the_name_of_the_service() {
    let host = TestHost::with(
        "compose.yaml",
        "
services:
  web: { image: localhost/host, command: [sleep, '100000'] }
  app: { image: localhost/host, command: [sleep, '100000'], scale: 3 }
",
    );
    host.berth("up -d").succeeds();
    let mut found = addresses(&host, "web", "app");
    found.sort();
    found.dedup();
    assert_eq!(found.len(), 3, "{found:?}");
}
