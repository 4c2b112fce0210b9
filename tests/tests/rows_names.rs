//! The names a container has and knows, attribute by attribute, seen from inside.

use berth_tests::TestHost;

#[track_caller]
fn inside(host: &TestHost, service: &str, line: &str) -> String {
    let done = host.berth(&format!("exec -T {service} sh -c \"{line}\""));
    done.succeeds().stdout.trim().to_owned()
}

/// Addresses of `name` as a container of the host's programs sees them, sorted.
fn addresses(host: &TestHost, service: &str, name: &str) -> Vec<String> {
    let found = host.berth(&format!("exec -T {service} getent ahostsv4 {name}")).stdout;
    let streams = found.lines().filter(|line| line.contains("STREAM"));
    let mut all: Vec<String> =
        streams.filter_map(|line| Some(line.split_whitespace().next()?.to_owned())).collect();
    all.sort();
    all
}

#[test]
fn a_link_is_a_name_for_the_linking_container_alone() {
    let host = TestHost::with(
        "compose.yaml",
        "services:
  web:
    image: localhost/host
    command: [sleep, '100000']
    links: ['db:database', db]
  other:
    image: localhost/host
    command: [sleep, '100000']
  db:
    image: localhost/host
    command: [sleep, '100000']
    scale: 2
",
    );
    host.berth("up -d web other").succeeds().stderr_has("stack-db-1");
    let (one, two) = (addresses(&host, "web", "stack-db-1"), addresses(&host, "web", "stack-db-2"));
    assert_eq!((one.len(), two.len()), (1, 1));
    let mut both = [one.clone(), two.clone()].concat();
    both.sort();
    for name in ["database", "db", "DATABASE"] {
        assert_eq!(addresses(&host, "web", name), both, "{name}");
    }
    assert_eq!((addresses(&host, "web", "db-1"), addresses(&host, "web", "db-2")), (one, two));
    for name in ["database", "db-1"] {
        assert_eq!(addresses(&host, "other", name), [] as [String; 0], "{name}");
    }
    // The one it links to starts before it.
    host.berth("down -t 0").succeeds();
    let started = host.berth("up -d").succeeds().to_string();
    let at = |text: &str| started.find(text).unwrap_or_else(|| panic!("no {text} in {started}"));
    assert!(at("stack-db-1  Started") < at("stack-web-1  Starting"), "{started}");
}

#[test]
fn an_external_link_names_a_container_of_another_project() {
    let host = TestHost::with(
        "compose.yaml",
        "services:
  web:
    image: localhost/host
    command: [sleep, '100000']
    external_links: ['elsewhere-db-1:store', elsewhere-db-1]
    networks: [shared]
networks: { shared: { name: shared, external: true } }
",
    );
    host.write(
        "other/compose.yaml",
        "services: { db: { image: localhost/host, command: [sleep, '100000'], networks: [shared] } }
networks: { shared: { name: shared } }",
    );
    host.berth("-f other/compose.yaml -p elsewhere up -d").succeeds();
    host.berth("up -d").succeeds();
    let store = addresses(&host, "web", "store");
    assert_eq!((store.len(), &store), (1, &addresses(&host, "web", "elsewhere-db-1")));
    host.berth("down -t 0").succeeds();
    host.berth("-f other/compose.yaml -p elsewhere down -t 0").succeeds();
}

#[test]
fn a_mac_address_is_that_of_the_network_that_comes_first() {
    let host = TestHost::with(
        "compose.yaml",
        "services:
  web:
    image: busybox:1
    command: [sleep, '100000']
    mac_address: 02:42:ac:11:00:02
    networks: { a: { priority: 1 }, b: { priority: 2 } }
  plain:
    image: busybox:1
    command: [sleep, '100000']
    networks: { a: { mac_address: '02-42-AC-11-00-03' } }
networks: { a: {}, b: {} }
",
    );
    host.berth("up -d").succeeds();
    let of = |service: &str, link: &str| {
        inside(&host, service, &format!("cat /sys/class/net/{link}/address"))
    };
    assert_eq!(of("web", "eth0"), "02:42:ac:11:00:02");
    assert_ne!(of("web", "eth1"), "02:42:ac:11:00:02");
    assert_eq!(of("plain", "eth0"), "02:42:ac:11:00:03");
    host.berth("up -d").succeeds().stderr_has("nothing to do");
    host.edit(
        "compose.yaml",
        "b: { priority: 2 }",
        "b: { priority: 2, mac_address: '02:42:ac:11:00:09' }",
    );
    host.berth("up -d")
        .fails_with(65)
        .stderr_has("gives it 02:42:ac:11:00:09")
        .stderr_has("compose.yaml:5:");
}

#[test]
fn hosts_has_the_container_and_what_the_file_adds() {
    let host = TestHost::with(
        "compose.yaml",
        "services:
  web:
    image: busybox:1
    command: [sleep, '100000']
    hostname: front
    extra_hosts:
      - gate=host-gateway
      - many=192.0.2.7
      - many=192.0.2.8
      - six=[2001:db8::7]
    networks: [six]
  plain:
    image: busybox:1
    command: [sleep, '100000']
networks: { six: { enable_ipv6: true, ipam: { config: [{ subnet: 10.98.0.0/24 }, { subnet: 'fd00:98::/64' }] } } }
",
    );
    host.berth("up -d").succeeds();
    let hosts = inside(&host, "web", "cat /etc/hosts");
    let lines: Vec<&str> = hosts.lines().collect();
    assert_eq!(lines[0], "127.0.0.1\tlocalhost");
    for line in ["10.98.0.1\tgate", "192.0.2.7\tmany", "192.0.2.8\tmany", "2001:db8::7\tsix"] {
        assert!(lines.contains(&line), "{line:?} is not in {hosts}");
    }
    let own: Vec<&&str> = lines.iter().filter(|line| line.ends_with("\tfront")).collect();
    assert_eq!(own.len(), 2, "an address of each family: {hosts}");
    assert_eq!(inside(&host, "web", "hostname; cat /etc/hostname"), "front\nfront");
    let id = inside(&host, "plain", "hostname");
    assert_eq!(id.len(), 12, "{id}");
    let hosts = inside(&host, "plain", "cat /etc/hosts");
    assert_eq!(hosts.lines().count(), 7, "{hosts}");
    assert!(hosts.ends_with(&format!("\t{id}")), "{hosts}");
}

#[test]
fn resolv_conf_asks_the_resolver_with_the_domains_and_options_of_the_file() {
    let host = TestHost::with(
        "compose.yaml",
        "services:
  web:
    image: busybox:1
    command: [sleep, '100000']
    dns: [192.0.2.53, '2001:db8::53']
    dns_search: [example.org, test]
    dns_opt: ['timeout:1', rotate]
  plain:
    image: busybox:1
    command: [sleep, '100000']
  alone:
    image: busybox:1
    command: [sleep, '100000']
    network_mode: none
",
    );
    host.berth("up -d").succeeds();
    let file = "cat /etc/resolv.conf";
    assert_eq!(
        inside(&host, "web", file),
        "nameserver 127.0.0.11\nsearch example.org test\noptions timeout:1 rotate ndots:0"
    );
    assert_eq!(inside(&host, "plain", file), "nameserver 127.0.0.11\noptions ndots:0");
    assert_eq!(inside(&host, "alone", file), "options ndots:0");
    host.edit("compose.yaml", "192.0.2.53, ", "nobody, ");
    host.berth("up -d")
        .fails_with(65)
        .stderr_has("is not an address")
        .stderr_has("compose.yaml:5:");
}

#[test]
fn aliases_are_names_on_their_network_alone_and_several_containers_may_share_one() {
    let host = TestHost::with(
        "compose.yaml",
        "services:
  one:
    image: localhost/host
    command: [sleep, '100000']
    networks: { a: { aliases: [shared, first] }, b: {} }
  two:
    image: localhost/host
    command: [sleep, '100000']
    networks: { a: { aliases: [shared] }, b: { aliases: [second] } }
  seer:
    image: localhost/host
    command: [sleep, '100000']
    networks: [a]
networks: { a: {}, b: {} }
",
    );
    host.berth("up -d").succeeds();
    assert_eq!(addresses(&host, "seer", "shared").len(), 2);
    assert_eq!(addresses(&host, "seer", "first").len(), 1);
    assert_eq!(addresses(&host, "seer", "first"), addresses(&host, "seer", "one"));
    assert_eq!(addresses(&host, "seer", "second"), [] as [String; 0]);
    assert_eq!(addresses(&host, "one", "second").len(), 1);
}
