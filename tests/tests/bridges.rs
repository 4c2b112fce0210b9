//! What a network says of its bridge in `driver_opts`, as Docker has it, seen from inside and outside.

use berth_tests::TestHost;
use berth_tests::command::Running;
use berth_tests::machine::Place;
use nix::sys::signal::Signal;

const SLEEP: &str = "image: localhost/host, command: [sleep, '100000']";
const SERVE: &str = "image: localhost/host, command: [sh, -c, 'mkdir /www; echo hello \
                     >/www/index.html; exec busybox httpd -f -p 80 -h /www']";

/// A stack of these services on one network, `front`, whose options are given without what all of
/// them begin with.
fn stack(services: &str, network: &str, options: &[&str]) -> TestHost {
    let services = services.replace("SLEEP", SLEEP).replace("SERVE", SERVE);
    let options: Vec<String> =
        options.iter().map(|option| format!("com.docker.network.{option}")).collect();
    TestHost::with(
        "compose.yaml",
        &format!(
            "services:\n{services}\nnetworks:\n  front: {{ {network} driver_opts: {{ {} }} }}\n",
            options.join(", ")
        ),
    )
}

/// What `url` answers to a container. Empty when there is no answer.
fn fetch(host: &TestHost, from: &str, url: &str) -> String {
    host.berth(&format!("exec -T {from} curl -gsS --fail --max-time 2 http://{url}")).stdout
}

/// The neighbour gets a way to the containers by the machine.
fn neighbour_has_a_route(host: &TestHost, subnet: &str, via: &str) {
    host.neighbour(&format!("ip route add {subnet} via {via}")).succeeds();
}

/// Where ports are, for whom, and how.
fn ports(host: &TestHost) -> String {
    let form = "'{{.URL}} {{.PublishedPort}} {{.TargetPort}} {{.OpenTo}} {{.State}}'";
    host.berth(&format!("ports --format {form}")).succeeds().stdout.trim().to_owned()
}

/// Answers on the neighbour with the address that asks, for one connection.
fn who(host: &TestHost) -> Running {
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
    server
}

#[test]
fn the_bridge_its_size_of_packets_and_the_links_are_named_by_the_file() {
    let host = stack(
        "  web: { SERVE, networks: [front], ports: ['8080:80'] }",
        "",
        &["bridge.name: shop0", "driver.mtu: 1400", "container_iface_prefix: net"],
    );
    host.berth("up -d").succeeds();
    host.shell("ip -o link show shop0").succeeds().stdout_has("mtu 1400");
    host.berth("exec -T web ip -o link show net0").succeeds().stdout_has("mtu 1400");
    host.eventually("it answers", || host.get_from_outside("192.0.2.1:8080") == "hello\n");
    host.berth("up -d").succeeds();
    host.berth("plan").succeeds().stdout_has("nothing to do");
    // What others flushed comes back, and what a crash left goes.
    host.shell("nft flush ruleset; ip link delete shop0").succeeds();
    host.berth("up -d").succeeds();
    host.eventually("again", || host.get_from_outside("192.0.2.1:8080") == "hello\n");
    host.shell("rm /var/lib/berth/networks/stack_front/record.json").succeeds();
    host.berth("down -t 0").succeeds();
    host.berth("up -d").succeeds();
    host.eventually("once more", || host.get_from_outside("192.0.2.1:8080") == "hello\n");
    host.berth("down -t 0").succeeds();

    host.shell("ip link add shop0 type bridge").succeeds();
    host.berth("up -d").fails_with(1).stderr_has("`shop0`, which something on this host");
    host.shell("ip link delete shop0").succeeds();
}

#[test]
fn containers_that_are_kept_apart_reach_published_ports_and_the_world_and_no_other() {
    let host = stack(
        "  web: { SLEEP, networks: [front], cap_add: [NET_ADMIN] }\n  app: { SERVE, networks: { \
         front: { ipv4_address: 10.81.0.9, ipv6_address: 'fd81::9' } }, ports: ['8080:80'] }",
        "enable_ipv6: true, ipam: { config: [{ subnet: 10.81.0.0/24 }, { subnet: 'fd81::/64' }] },",
        &["bridge.enable_icc: false", "bridge.name: apart0"],
    );
    host.berth("up -d").succeeds();
    host.eventually("the host reaches it", || host.get("10.81.0.9") == "hello\n");
    for address in ["10.81.0.9", "[fd81::9]", "app"] {
        assert_eq!(fetch(&host, "web", address), "", "{address}");
    }
    // Nor by the gateway.
    let pid = host.pid_of("web").pid;
    let enter = format!("nsenter -t {pid} -n ip");
    host.shell(&format!("{enter} route add 10.81.0.9/32 via 10.81.0.1")).succeeds();
    host.shell(&format!("{enter} -6 route add fd81::9/128 via fd81::1")).succeeds();
    for address in ["10.81.0.9", "[fd81::9]"] {
        assert_eq!(fetch(&host, "web", address), "", "{address} by the gateway");
    }
    for url in ["192.0.2.1:8080", "[2001:db8::1]:8080"] {
        assert_eq!(fetch(&host, "web", url), "hello\n", "{url}");
    }
    assert_eq!(host.get_from_outside("192.0.2.1:8080"), "hello\n");
    host.berth("exec -T web curl -gsS --max-time 2 http://192.0.2.2:9").fails_with(7);
    // The same where frames within a bridge pass no packet rules: then the bridge does it.
    let off = "for f in /proc/sys/net/bridge/bridge-nf-call-ip*tables \
               /sys/class/net/apart0/bridge/nf_call_ip*tables; do \
               if [ -e $f ]; then echo 0 >$f || exit 1; fi; done";
    host.shell(off).succeeds();
    host.berth("restart -t 0").succeeds();
    host.eventually("the port is back", || fetch(&host, "web", "192.0.2.1:8080") == "hello\n");
    for address in ["10.81.0.9", "[fd81::9]"] {
        assert_eq!(fetch(&host, "web", address), "", "{address} by the bridge");
    }
}

#[test]
fn without_masquerading_what_leaves_keeps_its_address() {
    let host = stack(
        "  web: { SLEEP, networks: { front: { ipv4_address: 10.82.0.9 } } }",
        "ipam: { config: [{ subnet: 10.82.0.0/24 }] },",
        &["bridge.enable_ip_masquerade: 'false'"],
    );
    host.berth("up -d").succeeds();
    neighbour_has_a_route(&host, "10.82.0.0/24", "192.0.2.1");
    let server = who(&host);
    host.berth("exec -T web busybox nc -w 2 192.0.2.2 7070").succeeds();
    server.ends().succeeds().stdout_has("from 10.82.0.9");
}

#[test]
fn ports_without_an_address_have_that_of_the_network() {
    let host = stack(
        "  web: { SERVE, networks: [front], ports: ['8080:80', '0.0.0.0:8081:80'] }",
        "",
        &["bridge.host_binding_ipv4: 127.0.0.1"],
    );
    host.berth("up -d").succeeds();
    host.eventually("it answers", || host.get("127.0.0.1:8080") == "hello\n");
    assert_eq!(host.get("192.0.2.1:8080"), "");
    assert_eq!(host.get_from_outside("192.0.2.1:8080"), "");
    assert_eq!(host.get_from_outside("192.0.2.1:8081"), "hello\n");
    host.berth("ps").succeeds().stdout_has("127.0.0.1:8080");
}

#[test]
fn a_bridge_without_an_ipv4_address_leads_to_who_has_the_gateways() {
    let host = stack(
        "  web: { SLEEP, networks: [front] }\n  app: { SERVE, networks: { front: { ipv4_address: \
         10.83.0.9 } } }",
        "ipam: { config: [{ subnet: 10.83.0.0/24, gateway: 10.83.0.254 }] },",
        &["bridge.inhibit_ipv4: true", "bridge.name: bare0"],
    );
    host.berth("up -d").succeeds();
    assert_eq!(host.shell("ip -o -4 address show bare0").succeeds().stdout, "");
    host.berth("exec -T web ip route").succeeds().stdout_has("default via 10.83.0.254");
    host.eventually("they reach each other", || fetch(&host, "web", "app") == "hello\n");
    host.berth("plan").succeeds().stdout_has("nothing to do");
    // Somebody else takes the gateway's address.
    host.shell("ip address add 10.83.0.254/24 dev bare0").succeeds();
    host.eventually("it answers", || host.get("10.83.0.9") == "hello\n");
}

#[test]
fn a_routed_network_opens_published_ports_at_the_containers_own_addresses() {
    let host = stack(
        "  web: { SERVE, networks: { front: { ipv4_address: 10.84.0.9, ipv6_address: 'fd84::9' } }, \
         ports: ['8080:80'] }\n  other: { SLEEP, networks: [back] }",
        "enable_ipv6: true, ipam: { config: [{ subnet: 10.84.0.0/24 }, { subnet: 'fd84::/64' }] },",
        &["bridge.gateway_mode_ipv4: routed", "bridge.gateway_mode_ipv6: routed"],
    );
    host.edit("compose.yaml", "networks:\n  front:", "networks:\n  back:\n  front:");
    host.berth("up -d").succeeds().stderr_has("has no effect: its network is routed");
    neighbour_has_a_route(&host, "10.84.0.0/24", "192.0.2.1");
    host.neighbour("ip -6 route add fd84::/64 via 2001:db8::1").succeeds();
    host.eventually("its own port", || host.get_from_outside("10.84.0.9") == "hello\n");
    assert_eq!(host.get_from_outside("[fd84::9]"), "hello\n");
    assert_eq!(fetch(&host, "other", "10.84.0.9"), "hello\n", "from another network");
    assert_eq!(host.get_from_outside("192.0.2.1:8080"), "", "the host has no such port");
    host.shell("ss -ltn").succeeds().stdout_lacks(":8080");
    host.neighbour("busybox ping -c 1 -W 2 10.84.0.9").succeeds();
    host.berth("ps").succeeds().stdout_lacks("8080");
    host.berth("port web 80").succeeds().stdout_is("10.84.0.9:80\n[fd84::9]:80");
    assert_eq!(ports(&host), "10.84.0.9 80 80 routed open\nfd84::9 80 80 routed open");
    // What is not published is not open.
    let pid = host.pid_of("web").pid;
    let server = host.start_shell(
        Place::Inside,
        &format!("exec nsenter -t {pid} -n busybox httpd -f -p 81 -h ."),
    );
    host.eventually("it listens", || {
        host.shell(&format!("nsenter -t {pid} -n ss -ltn")).stdout.contains(":81 ")
    });
    let refused = host.neighbour("curl -gsS --max-time 1 http://10.84.0.9:81");
    assert_eq!(refused.code, 28, "{refused}");
    server.signal(Signal::SIGKILL);
    let _ = server.ends();
    // What leaves keeps its address.
    let server = who(&host);
    host.berth("exec -T web busybox nc -w 2 192.0.2.2 7070").succeeds();
    server.ends().succeeds().stdout_has("from 10.84.0.9");
    // A new monitor goes on with it, and a stop closes it.
    host.kill("KILL", host.monitor_of("web"));
    host.berth("up -d").succeeds();
    assert_eq!(host.get_from_outside("10.84.0.9"), "hello\n");
    host.berth("stop -t 0 web").succeeds();
    host.shell("nft list set inet berth open4").succeeds().stdout_lacks("10.84.0.9");
}

#[test]
fn routed_ipv6_beside_ipv4_by_the_host_is_each_as_it_says() {
    let host = stack(
        "  web: { SERVE, networks: { front: { ipv6_address: 'fd85::9' } }, ports: ['8080:80'] }",
        "enable_ipv6: true, ipam: { config: [{ subnet: 10.85.0.0/24 }, { subnet: 'fd85::/64' }] },",
        &["bridge.gateway_mode_ipv6: routed"],
    );
    host.berth("up -d").succeeds();
    host.neighbour("ip -6 route add fd85::/64 via 2001:db8::1").succeeds();
    host.eventually("by the host", || host.get_from_outside("192.0.2.1:8080") == "hello\n");
    assert_eq!(host.get_from_outside("[fd85::9]"), "hello\n");
    assert_eq!(host.get_from_outside("[2001:db8::1]:8080"), "");
    host.berth("port web 80").succeeds().stdout_is("0.0.0.0:8080\n[fd85::9]:80");
    assert_eq!(ports(&host), "0.0.0.0 8080 80 public open\nfd85::9 80 80 routed open");
}

#[test]
fn an_unprotected_network_is_open_to_who_has_a_route_but_not_to_other_networks() {
    let host = stack(
        "  web: { SERVE, networks: { front: { ipv4_address: 10.86.0.9 } }, ports: ['8080:8080'] }\n  \
         other: { SLEEP, networks: [back] }",
        "ipam: { config: [{ subnet: 10.86.0.0/24 }] },",
        &["bridge.gateway_mode_ipv4: nat-unprotected"],
    );
    host.edit("compose.yaml", "networks:\n  front:", "networks:\n  back:\n  front:");
    host.berth("up -d").succeeds();
    neighbour_has_a_route(&host, "10.86.0.0/24", "192.0.2.1");
    host.eventually("it answers", || host.get_from_outside("10.86.0.9") == "hello\n");
    assert_eq!(fetch(&host, "other", "10.86.0.9"), "");
}

#[test]
fn an_isolated_network_is_not_even_reached_from_the_host() {
    let host = stack(
        "  web: { SLEEP, networks: [front] }\n  app: { SERVE, networks: { front: { ipv4_address: \
         10.87.0.9 } } }",
        "internal: true, ipam: { config: [{ subnet: 10.87.0.0/24 }] },",
        &["bridge.gateway_mode_ipv4: isolated", "bridge.name: iso0"],
    );
    host.berth("up -d").succeeds();
    host.eventually("they reach each other", || fetch(&host, "web", "app") == "hello\n");
    assert_eq!(host.shell("ip -o address show iso0 scope global").succeeds().stdout, "");
    assert_eq!(host.get("10.87.0.9"), "");
    host.edit("compose.yaml", "internal: true,", "");
    host.berth("check").fails_with(65).stdout_has("compose.yaml:5:");
    host.berth("up -d").fails_with(65).stderr_has("add `internal: true`");
}

#[test]
fn a_trusted_link_leads_to_published_ports_and_no_other() {
    let host = stack(
        "  web: { SERVE, networks: { front: { ipv4_address: 10.88.0.9 } }, ports: \
         ['127.0.0.1:8080:80'] }\n  app: { SERVE, networks: { front: { ipv4_address: 10.88.0.8 } } }",
        "ipam: { config: [{ subnet: 10.88.0.0/24 }] },",
        &["bridge.trusted_host_interfaces: 'wg7:wire0'"],
    );
    host.berth("up -d").succeeds();
    neighbour_has_a_route(&host, "10.88.0.0/24", "192.0.2.1");
    host.eventually("it answers", || host.get("127.0.0.1:8080") == "hello\n");
    assert_eq!(host.get_from_outside("10.88.0.9"), "hello\n");
    assert_eq!(host.get_from_outside("10.88.0.8"), "", "nothing of it is published");
    host.edit("compose.yaml", "wg7:wire0", "wg7");
    host.berth("up -d").succeeds();
    host.eventually("it answers", || host.get("127.0.0.1:8080") == "hello\n");
    assert_eq!(host.get_from_outside("10.88.0.9"), "");
}

#[test]
fn an_option_that_cannot_be_met_is_told_with_its_place() {
    let host = stack("  web: { SLEEP, networks: [front] }", "", &["bridge.enable_icc: maybe"]);
    let why = "`maybe` is neither `true` nor `false`";
    host.berth("check").fails_with(65).stdout_has("compose.yaml:4:").stdout_has(why);
    for command in ["up -d", "plan"] {
        host.berth(command).fails_with(65).stderr_has("compose.yaml:4:").stderr_has(why);
    }
    host.edit("compose.yaml", "bridge.enable_icc: maybe", "bridge.color: blue");
    host.berth("up -d").fails_with(65).stderr_has("it is no option of a bridge; take it away");
}
