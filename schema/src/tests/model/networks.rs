//! Networks and names.

use std::net::IpAddr;

use insta::assert_snapshot;

use super::{refused, refused_file, service, shown};
use crate::stack::{Link, NetworkDriver};

#[test]
fn a_service_says_how_it_stands_on_a_network() {
    let mut service = service(
        "networks:
  default:
    link_local_ips: [169.254.8.8, 'fe80::1']
    interface_name: eth7
    driver_opts:
      com.docker.network.endpoint.sysctls: net.ipv4.conf.IFNAME.log_martians=1, net.ipv6.neigh.ifname.app_solicit=2
      com.docker.network.endpoint.ifname: eth7
    priority: -5
    gw_priority: 7
mac_address: 02:42:ac:11:65:43
domainname: example.org
links: [other, 'other:db']
external_links: ['far_db_1:db']
",
    );
    let on = service.networks.remove("default").unwrap();
    let addresses: [IpAddr; 2] = ["169.254.8.8".parse().unwrap(), "fe80::1".parse().unwrap()];
    assert_eq!(on.link_local_ips, addresses);
    assert_eq!(on.interface_name.as_deref(), Some("eth7"));
    assert_eq!(on.sysctls["net.ipv4.conf.IFNAME.log_martians"], "1");
    assert_eq!(on.sysctls["net.ipv6.neigh.IFNAME.app_solicit"], "2");
    assert_eq!((on.sysctls.len(), on.priority, on.gw_priority), (2, -5, 7));
    assert_eq!(service.mac_address.as_deref(), Some("02:42:ac:11:65:43"));
    assert_eq!(service.domainname.as_deref(), Some("example.org"));
    let link = |name: &str, alias: &str| Link { name: name.into(), alias: alias.into() };
    assert_eq!(service.links, [link("other", "other"), link("other", "db")]);
    assert_eq!(service.external_links, [link("far_db_1", "db")]);
}

#[test]
fn what_a_connection_cannot_have_is_refused_where_it_stands() {
    assert_snapshot!(refused(
        "networks:
  default:
    interface_name: eth%d
    link_local_ips: [10.0.0.8, 'fd00::8', 169.254.255.255]
    driver_opts: {com.docker.network.endpoint.sysctl: a, foo: bar}
"
    ), @r"
    compose.yaml:6:25 berth::bad_value
      `services.web.networks.default.interface_name`: `eth%d` is not a name for a link
      → names of links have 1 to 15 letters, digits, `.`, `_` and `-`, and `lo`, `all` and `default` are taken
    compose.yaml:7:26 berth::bad_value
      `services.web.networks.default.link_local_ips.0`: `10.0.0.8` is not an address of a link
      → take one of 169.254.0.0/16 or fe80::/10; others are given by `ipv4_address` and `ipv6_address`
    compose.yaml:7:36 berth::bad_value
      `services.web.networks.default.link_local_ips.1`: `fd00::8` is not an address of a link
      → take one of 169.254.0.0/16 or fe80::/10; others are given by `ipv4_address` and `ipv6_address`
    compose.yaml:7:47 berth::bad_value
      `services.web.networks.default.link_local_ips.2`: `169.254.255.255` is not an address of a link
      → take one of 169.254.0.0/16 or fe80::/10; others are given by `ipv4_address` and `ipv6_address`
    compose.yaml:8:59 berth::bad_value
      `services.web.networks.default.driver_opts.com.docker.network.endpoint.sysctl`: a connection has no such option
      → did you mean `com.docker.network.endpoint.sysctls`?
    compose.yaml:8:67 berth::bad_value
      `services.web.networks.default.driver_opts.foo`: a connection has no such option
      → take it away; there are `com.docker.network.endpoint.sysctls` and `com.docker.network.endpoint.ifname`
    ");
    for setting in [
        "net.ipv4.conf.eth0.log_martians=1",
        "net.core.conf.IFNAME.x=1",
        "net.ipv4.conf.IFNAME.../../kernel/x=1",
        "net.ipv4.conf.IFNAME.x",
        "net.ipv4.conf.IFNAME.x=",
        "net.ipv4.conf.IFNAME.x=1,net.ipv4.conf.ifname.x=2",
        "",
    ] {
        let text = format!(
            "networks: {{default: {{driver_opts: {{com.docker.network.endpoint.sysctls: '{setting}'}}}}}}\n"
        );
        let told = refused(&text);
        assert!(told.contains("compose.yaml:4:") && told.contains("→ "), "{setting}: {told}");
    }
    assert_snapshot!(refused(
        "networks:
  default:
    interface_name: a
    driver_opts: {com.docker.network.endpoint.ifname: b}
"
    ), @r"
    compose.yaml:7:59 berth::bad_value
      `services.web.networks.default.driver_opts.com.docker.network.endpoint.ifname`: `interface_name` calls the link `a`
      → keep one of them
    ");
}

#[test]
fn two_links_of_one_name_and_two_services_of_one_address_of_the_link_are_told() {
    assert_snapshot!(refused_file(
        "services:
  web:
    image: i
    networks: {a: {interface_name: wan}, b: {driver_opts: {com.docker.network.endpoint.ifname: wan}}}
  db: {image: i, networks: {a: {link_local_ips: [169.254.8.8]}}}
  more: {image: i, scale: 2, networks: {a: {link_local_ips: [169.254.8.8]}}}
networks: {a: {}, b: {}}
"
    ), @r"
    compose.yaml:4:96 berth::duplicate
      `web` calls its links on `a` and on `b` both `wan`
      → give one of them another name
    compose.yaml:6:62 berth::conflict
      `more` has 2 containers and one fixed address
      → take the fixed address away
    compose.yaml:6:62 berth::duplicate
      `db` and `more` have the same address on `a`
      → give one of them another address
    ");
}

#[test]
fn a_network_says_what_it_is() {
    let stack = shown(
        "services: {web: {image: i, networks: [a, b]}}
networks:
  a: {driver: macvlan, driver_opts: {parent: eth0}, attachable: true, ipam: {options: {o: '1'}}}
  b: {enable_ipv4: false, enable_ipv6: true}
",
    );
    let (a, b) = (&stack.networks["a"], &stack.networks["b"]);
    assert_eq!((a.driver, a.attachable), (NetworkDriver::Macvlan, true));
    assert_eq!((&a.driver_opts["parent"][..], &a.ipam_options["o"][..]), ("eth0", "1"));
    assert_eq!((a.without_ipv4, b.without_ipv4, b.enable_ipv6), (false, true, true));
    assert_eq!(b.driver, NetworkDriver::Bridge);
}

#[test]
fn the_default_driver_of_addresses_may_be_written_down() {
    let text = "\
services: {web: {image: i}}
networks: {default: {driver: bridge, ipam: {driver: default, config: [{subnet: 10.9.0.0/24}]}}}
";
    assert_eq!(refused_file(text), "loads");
}

#[test]
fn names_and_networks_that_cannot_be_are_refused() {
    assert_snapshot!(refused(
        "hostname: has space
domainname: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
mac_address: 02:42
links: ['web:a:b']
networks: {default: {interface_name: much-too-long-a-name, link_local_ips: [x], priority: 5000000000}}
"
    ), @r"
    compose.yaml:4:15 berth::bad_value
      `services.web.hostname`: `has space` is not a name of a host
      → names have letters, digits, `.` and `-`
    compose.yaml:5:17 berth::bad_value
      `services.web.domainname`: `aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa` is longer than the 64 bytes that the kernel takes
      → shorten it
    compose.yaml:6:18 berth::bad_value
      `services.web.mac_address`: `02:42` is not a MAC address
      → write six pairs of hexadecimal digits: `02:42:ac:11:00:02`
    compose.yaml:7:13 berth::cycle
      `web` links to itself
      → take it away
    compose.yaml:7:13 berth::bad_value
      `services.web.links.0`: `web:a:b` is not a link
      → write `NAME` or `NAME:ALIAS`
    compose.yaml:8:42 berth::bad_value
      `services.web.networks.default.interface_name`: `much-too-long-a-name` is not a name for a link
      → names of links have 1 to 15 letters, digits, `.`, `_` and `-`, and `lo`, `all` and `default` are taken
    compose.yaml:8:81 berth::bad_value
      `services.web.networks.default.link_local_ips.0`: `x` is not an address
      → write one like `169.254.8.8` or `fe80::8`
    compose.yaml:8:95 berth::bad_value
      `services.web.networks.default.priority`: `5000000000` is not between -2147483648 and 2147483647
    ");
    assert_snapshot!(refused_file(
        "services: {web: {image: i}}
networks: {default: {enable_ipv4: false}}
"
    ), @"
    compose.yaml:2:35 berth::bad_value
      `networks.default`: without IPv4 and IPv6 there are no addresses at all
      → add `enable_ipv6: true`, or take `enable_ipv4` away
    ");
}
