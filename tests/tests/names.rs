//! Services find each other by name, on the networks they share and on no other.

use berth_tests::TestHost;
use berth_tests::machine::Place;

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

#[test]
fn other_names_are_asked_of_the_name_server_of_the_host() {
    let host = TestHost::with("compose.yaml", STACK);
    host.write("dns.py", include_str!("names/dns.py"));
    let server = host.start_shell(Place::Inside, "exec python3 -u dns.py");
    server.prints("listens");
    host.berth("up -d").succeeds();
    assert_eq!(addresses(&host, "web", "outside.test"), ["198.51.100.77"]);
    assert_eq!(addresses(&host, "web", "nowhere.test"), [] as [String; 0]);
    let inner = addresses(&host, "database", "outside.test");
    assert_eq!(inner, [] as [String; 0], "it is on an internal network");
    server.signal(nix::sys::signal::Signal::SIGKILL);
    let _ = server.ends();
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
