//! Services find each other by name, on the networks they share and on no other.

use berth_tests::TestHost;

const STACK: &str = "
services:
  web:
    image: busybox:1
    command: [sleep, '100000']
    networks: [front]
  app:
    image: busybox:1
    command: [sh, -c, 'mkdir /www; echo hello >/www/index.html; exec httpd -f -p 80 -h /www']
    networks:
      front: { aliases: [api, api.example] }
      back: { ipv4_address: 10.99.7.10 }
  database:
    image: busybox:1
    command: [httpd, -f, -p, '80', -h, /data]
    hostname: db-host
    networks: [back]
networks:
  front:
  back:
    internal: true
    ipam: { config: [{ subnet: 10.99.7.0/24 }] }
";

fn fetch(host: &TestHost, from: &str, url: &str) -> String {
    host.berth(&format!("exec -T {from} wget -qO- -T 3 http://{url}")).stdout
}

#[test]
fn a_service_is_found_by_its_name_its_container_and_its_aliases() {
    let host = TestHost::with("compose.yaml", STACK);
    host.berth("up -d").succeeds();
    for name in ["app", "api", "api.example", "stack-app-1", "APP"] {
        host.eventually(name, || fetch(&host, "web", name) == "hello\n");
    }
    assert_eq!(fetch(&host, "app", "database/seed"), "from the image\n");
}

#[test]
fn networks_are_isolated_from_each_other() {
    let host = TestHost::with("compose.yaml", STACK);
    host.berth("up -d").succeeds();
    host.berth("exec -T web nslookup database").fails_with(1);
    let ping = |from: &str, to: &str| host.berth(&format!("exec -T {from} ping -c1 -W1 {to}")).code;
    assert_eq!(ping("app", "10.99.7.10"), 0, "its own address");
    assert_ne!(ping("web", "10.99.7.10"), 0, "an address of a network it is not on");
    assert_ne!(ping("web", "10.99.7.1"), 0, "the bridge of a network it is not on");
}

#[test]
fn an_internal_network_has_no_way_out() {
    let host = TestHost::with("compose.yaml", STACK);
    host.berth("up -d").succeeds();
    host.berth("exec -T web ping -c1 -W2 192.0.2.2").succeeds();
    assert_ne!(host.berth("exec -T database ping -c1 -W1 192.0.2.2").code, 0);
}

#[test]
fn what_goes_out_has_the_address_of_the_machine() {
    let host = TestHost::with("compose.yaml", STACK);
    host.berth("up -d").succeeds();
    let server = host.start_shell(
        berth_tests::machine::Place::Neighbour,
        "exec python3 -u -c '
import socket
s = socket.create_server((\"192.0.2.2\", 7070))
print(\"listens\")
c, peer = s.accept()
print(\"from\", peer[0])'",
    );
    server.prints("listens");
    host.berth("exec -T web nc -w 2 192.0.2.2 7070").succeeds();
    server.ends().succeeds().stdout_has("from 192.0.2.1");
}

#[test]
fn a_fixed_address_is_kept() {
    let host = TestHost::with("compose.yaml", STACK);
    host.berth("up -d").succeeds();
    host.berth("exec -T app ip -o -4 address").succeeds().stdout_has("10.99.7.10/24");
    host.berth("exec -T database nslookup app").succeeds().stdout_has("10.99.7.10");
}

#[test]
fn names_follow_a_container_that_is_replaced() {
    let host = TestHost::with("compose.yaml", STACK);
    host.berth("up -d").succeeds();
    assert_eq!(fetch(&host, "web", "app"), "hello\n");
    host.edit("compose.yaml", "echo hello", "echo hello again");
    host.berth("up -d").succeeds();
    host.eventually("the new one answers", || fetch(&host, "web", "app") == "hello again\n");
}

#[test]
fn other_names_are_asked_of_the_name_server_of_the_host() {
    let host = TestHost::with("compose.yaml", STACK);
    host.write("dns.py", include_str!("names/dns.py"));
    let server = host.start_shell(berth_tests::machine::Place::Inside, "exec python3 -u dns.py");
    server.prints("listens");
    host.berth("up -d").succeeds();
    host.berth("exec -T web nslookup outside.test").succeeds().stdout_has("198.51.100.77");
    host.berth("exec -T web nslookup nowhere.test").fails_with(1);
    assert_ne!(
        host.berth("exec -T database nslookup outside.test").code,
        0,
        "it is on an internal network"
    );
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
  web: { image: 'busybox:1', command: [sleep, '100000'] }
  app: { image: 'busybox:1', command: [sleep, '100000'], scale: 3 }
",
    );
    host.berth("up -d").succeeds();
    let answer = host.berth("exec -T web nslookup -type=a app").succeeds().stdout;
    let found = answer.lines().filter(|l| l.starts_with("Address") && !l.contains("127.0.0.11"));
    assert_eq!(found.count(), 3, "{answer}");
}
