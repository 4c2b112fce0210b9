//! Who reaches whom, on a real kernel: published ports and isolation.

#![allow(clippy::print_stderr)]

mod common;

use std::fs;
use std::os::fd::AsFd;
use std::thread;
use std::time::Duration;

use berth_network::endpoint;
use berth_network::firewall::{self, Network};
use berth_network::group;
use berth_schema::stack::Protocol::{Tcp, Udp};
use common::{
    Container, Host, ask_tcp, ask_udp, has, link, network, on_a_host, output, publish, try_tcp,
};

/// Runs a test once as the machine is, and once with bridged frames kept away from the packet
/// rules, since hosts differ in that.
fn on_both_kinds_of_host(test: impl Fn(&Host) + Clone + Send + 'static) {
    for bridged in ["1", "0"] {
        let test = test.clone();
        on_a_host(move |host| {
            match fs::write("/proc/sys/net/bridge/bridge-nf-call-iptables", bridged) {
                Ok(()) => {}
                Err(_) if bridged == "0" => {}
                Err(e) => eprintln!("skipped: bridged frames cannot pass packet rules here: {e}"),
            }
            test(host);
        });
    }
}

#[test]
fn a_published_port_is_reached_from_everywhere() {
    on_both_kinds_of_host(|host| {
        let web = host.network(network("web", "10.20.0.0/24"));
        let other = host.network(network("other", "10.21.0.0/24"));
        let server = host.container(&web, 2);
        server.serve_tcp(80, "tcp");
        server.serve_udp(53, "udp");
        publish("web-1", Tcp, "8080", "10.20.0.2:80");
        publish("web-1", Udp, "8053", "10.20.0.2:53");
        let neighbour = host.container(&web, 3);
        let stranger = host.container(&other, 2);
        let outside = host.outside(9);

        let reach = |who: &str, tcp: Option<String>, udp: Option<String>, seen_as: &str| {
            assert_eq!(tcp, Some(format!("tcp {seen_as}")), "{who}");
            assert_eq!(udp, Some(format!("udp {seen_as}")), "{who}");
        };
        let lan = ("192.168.7.1:8080", "192.168.7.1:8053");
        let (tcp, udp) = (outside.ask_tcp(lan.0), outside.ask_udp(lan.1));
        reach("a machine outside keeps its address", tcp, udp, "192.168.7.9");
        reach("the host", ask_tcp(lan.0), ask_udp(lan.1), "192.168.7.1");
        let (tcp, udp) = (ask_tcp("127.0.0.1:8080"), ask_udp("127.0.0.1:8053"));
        reach("the host's loopback", tcp, udp, "10.20.0.1");
        let (tcp, udp) = (ask_tcp("127.9.9.9:8080"), ask_udp("127.9.9.9:8053"));
        reach("another loopback address", tcp, udp, "10.20.0.1");
        let (tcp, udp) = (stranger.ask_tcp(lan.0), stranger.ask_udp(lan.1));
        reach("a container of another network", tcp, udp, "10.20.0.1");
        let (tcp, udp) = (neighbour.ask_tcp(lan.0), neighbour.ask_udp(lan.1));
        reach("a container of the same network", tcp, udp, "10.20.0.1");
        let (tcp, udp) = (server.ask_tcp(lan.0), server.ask_udp(lan.1));
        reach("the container itself", tcp, udp, "10.20.0.1");
        let gateway = ("10.20.0.1:8080", "10.20.0.1:8053");
        let (tcp, udp) = (server.ask_tcp(gateway.0), server.ask_udp(gateway.1));
        reach("the container itself by its gateway", tcp, udp, "10.20.0.1");
    });
}

#[test]
fn a_port_published_on_one_address_is_reached_there_only() {
    on_a_host(|host| {
        let web = host.network(network("web", "10.20.0.0/24"));
        let [one, two] = [2, 3].map(|last| host.container(&web, last));
        one.serve_tcp(80, "one");
        two.serve_tcp(80, "two");
        let outside = host.outside(9);
        publish("one", Tcp, "127.0.0.1:8080", "10.20.0.2:80");

        assert!(ask_tcp("127.0.0.1:8080").unwrap().starts_with("one"));
        assert_eq!(try_tcp("127.0.0.2:8080"), None);
        assert_eq!(try_tcp("192.168.7.1:8080"), None);
        assert_eq!(outside.try_tcp("192.168.7.1:8080"), None);
        assert_eq!(two.try_tcp("10.20.0.1:8080"), None);

        publish("two", Tcp, "8080", "10.20.0.3:80");
        assert!(ask_tcp("127.0.0.1:8080").unwrap().starts_with("one"), "the narrower one wins");
        assert!(ask_tcp("192.168.7.1:8080").unwrap().starts_with("two"));
    });
}

#[test]
fn loopback_of_the_host_is_closed_to_neighbours_and_containers() {
    on_both_kinds_of_host(|host| {
        let web = host.network(network("web", "10.20.0.0/24"));
        let server = host.container(&web, 2);
        server.serve_tcp(80, "server");
        let attacker = host.container(&web, 3);
        let outside = host.outside(9);
        publish("server", Tcp, "127.0.0.1:8080", "10.20.0.2:80");
        let listener = std::net::UdpSocket::bind("127.0.0.1:5000").unwrap();
        listener.set_nonblocking(true).unwrap();

        // Even on a careless host, and with senders that route loopback addresses out.
        fs::write("/proc/sys/net/ipv4/conf/lan0/route_localnet", "1").unwrap();
        for (sender, gateway) in [(&attacker, "10.20.0.1"), (&outside, "192.168.7.1")] {
            sender.within(|| {
                fs::write("/proc/sys/net/ipv4/conf/eth0/route_localnet", "1").unwrap();
            });
            sender.ip("address flush dev lo");
            sender.ip("rule add pref 1 lookup main");
            sender.ip(&format!("route add 127.0.0.1/32 via {gateway}"));
            assert_eq!(sender.try_tcp("127.0.0.1:8080"), None, "by {gateway}");
            assert_eq!(sender.try_udp("127.0.0.1:5000"), None, "by {gateway}");
        }

        let arrived = listener.recv_from(&mut [0; 8]);
        assert_eq!(arrived.unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
        if has("nft") {
            output("nft", "flush chain inet berth guard");
            attacker.try_udp("127.0.0.1:5000");
            assert!(listener.recv_from(&mut [0; 8]).is_ok(), "without the guard it would arrive");
        }
        assert_eq!(
            fs::read_to_string("/proc/sys/net/ipv4/conf/all/route_localnet").unwrap(),
            "0\n"
        );
    });
}

#[test]
fn a_port_is_published_on_ipv6_as_on_ipv4() {
    if !has("ip") {
        return;
    }
    on_a_host(|host| {
        let mut web = network("web", "10.20.0.0/24");
        let net = "fd00:20::/64".parse().unwrap();
        let gateway = "fd00:20::1".parse().unwrap();
        web.subnets.push(berth_planner::observed::Subnet { net, gateway });
        let web = host.network(web);
        let container = |last: u8| {
            let container = Container::new();
            let mut eth0 = link(&web, "eth0", last);
            eth0.addresses.push(format!("fd00:20::{last}/64").parse().unwrap());
            eth0.gateways.push(gateway);
            endpoint::connect(container.netns.as_fd(), &[eth0]).unwrap();
            container
        };
        let (server, neighbour) = (container(2), container(3));
        server.serve_tcp(80, "tcp");
        server.serve_udp(53, "udp");
        let outside = host.outside(9);
        host.ip("address add fd00:7::1/64 dev lan0 nodad");
        outside.within(|| fs::write("/proc/sys/net/ipv6/conf/eth0/disable_ipv6", "0").unwrap());
        outside.ip("address add fd00:7::9/64 dev eth0 nodad");
        outside.ip("route add default via fd00:7::1");
        publish("web-1", Tcp, "8080", "[fd00:20::2]:80");
        publish("web-1", Udp, "[fd00:7::1]:8053", "[fd00:20::2]:53");

        let (tcp, udp) = ("[fd00:7::1]:8080", "[fd00:7::1]:8053");
        assert_eq!(outside.ask_tcp(tcp).as_deref(), Some("tcp fd00:7::9"));
        assert_eq!(outside.ask_udp(udp).as_deref(), Some("udp fd00:7::9"));
        assert_eq!(ask_tcp(tcp).as_deref(), Some("tcp fd00:7::1"));
        assert_eq!(neighbour.ask_tcp(tcp).as_deref(), Some("tcp fd00:20::1"));
        assert_eq!(server.ask_udp(udp).as_deref(), Some("udp fd00:20::1"));
        assert_eq!(outside.try_tcp("[fd00:20::2]:80"), None);
        assert_eq!(outside.try_udp("[fd00:20::1]:8053"), None);
    });
}

#[test]
fn nobody_comes_in_under_a_loopback_address() {
    on_a_host(|host| {
        let web = host.network(network("web", "10.20.0.0/24"));
        let attacker = host.container(&web, 2);
        let listener = std::net::UdpSocket::bind("10.20.0.1:5000").unwrap();
        listener.set_nonblocking(true).unwrap();
        // A careless host, and a sender that routes its loopback address out.
        fs::write("/proc/sys/net/ipv4/conf/br-web/accept_local", "1").unwrap();
        let send = || {
            attacker.within(|| {
                fs::write("/proc/sys/net/ipv4/conf/eth0/route_localnet", "1").unwrap();
                let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
                socket.send_to(b"!", "10.20.0.1:5000").unwrap();
            });
            thread::sleep(Duration::from_millis(100));
            listener.recv_from(&mut [0; 8]).is_ok()
        };

        assert!(!send());
        if has("nft") {
            output("nft", "flush chain inet berth guard");
            assert!(send(), "without the guard it would arrive");
        }
    });
}

#[test]
fn networks_are_closed_to_each_other_and_to_the_outside() {
    on_both_kinds_of_host(|host| {
        let web = host.network(network("web", "10.20.0.0/24"));
        let other = host.network(network("other", "10.21.0.0/24"));
        let server = host.container(&web, 2);
        server.serve_tcp(80, "server");
        server.serve_udp(53, "server");
        publish("server", Tcp, "8080", "10.20.0.2:80");
        let neighbour = host.container(&web, 3);
        let stranger = host.container(&other, 2);
        let outside = host.outside(9);

        assert_eq!(neighbour.ask_tcp("10.20.0.2:80").as_deref(), Some("server 10.20.0.3"));
        assert_eq!(neighbour.ask_udp("10.20.0.2:53").as_deref(), Some("server 10.20.0.3"));
        // Somebody who sends even that through the host is still known by the own address.
        neighbour.ip("route add 10.20.0.2/32 via 10.20.0.1");
        assert_eq!(neighbour.ask_udp("10.20.0.2:53").as_deref(), Some("server 10.20.0.3"));
        for (who, client) in [("another network", &stranger), ("outside", &outside)] {
            assert_eq!(client.try_tcp("10.20.0.2:80"), None, "{who}");
            assert_eq!(client.try_udp("10.20.0.2:53"), None, "{who}");
            assert_eq!(client.try_tcp("10.20.0.2:8080"), None, "{who}");
        }
    });
}

#[test]
fn containers_reach_the_outside_with_the_address_of_the_host() {
    on_both_kinds_of_host(|host| {
        let web = host.network(network("web", "10.20.0.0/24"));
        let container = host.container(&web, 2);
        let outside = host.outside(9);
        outside.serve_tcp(80, "outside");
        outside.serve_udp(53, "outside");

        let tcp = container.ask_tcp("192.168.7.9:80");
        let udp = container.ask_udp("192.168.7.9:53");

        assert_eq!(tcp.as_deref(), Some("outside 192.168.7.1"));
        assert_eq!(udp.as_deref(), Some("outside 192.168.7.1"));
    });
}

#[test]
fn an_internal_network_has_no_way_out_and_no_way_in() {
    on_both_kinds_of_host(|host| {
        let mut back = network("back", "10.22.0.0/24");
        back.spec.internal = true;
        let back = host.network(back);
        let web = host.network(network("web", "10.20.0.0/24"));
        let server = host.container(&web, 2);
        server.serve_tcp(80, "web");
        let inner = host.container(&back, 2);
        let mate = host.container(&back, 3);
        inner.serve_tcp(80, "inner");
        let outside = host.outside(9);
        outside.serve_tcp(80, "outside");
        publish("web", Tcp, "8080", "10.20.0.2:80");
        publish("inner", Tcp, "8081", "10.22.0.2:80");
        // A container that takes matters into its own hands.
        inner.ip("route add default via 10.22.0.1");

        assert_eq!(mate.ask_tcp("10.22.0.2:80").as_deref(), Some("inner 10.22.0.3"));
        assert_eq!(inner.try_tcp("192.168.7.9:80"), None);
        assert_eq!(inner.try_tcp("10.20.0.2:80"), None);
        assert_eq!(inner.try_tcp("192.168.7.1:8080"), None);
        assert_eq!(outside.try_tcp("192.168.7.1:8081"), None);
        assert_eq!(server.try_tcp("10.22.0.2:80"), None);
    });
}

#[test]
fn a_bridge_without_its_group_is_closed_until_it_has_it_again() {
    if !has("ip") {
        return;
    }
    on_both_kinds_of_host(|host| {
        let web = host.network(network("web", "10.20.0.0/24"));
        let server = host.container(&web, 2);
        server.serve_tcp(80, "server");
        let outside = host.outside(9);
        publish("web-1", Tcp, "8080", "10.20.0.2:80");
        let networks = [Network::from(&web)];
        assert_eq!(group::restore(&networks).unwrap(), [""; 0], "it was made with it");
        for other in [0, group::HALF_MADE] {
            host.ip(&format!("link set br-web group {other}"));
            assert_eq!(outside.try_tcp("192.168.7.1:8080"), None);
            assert_eq!(try_tcp("127.0.0.1:8080"), None);

            assert_eq!(group::restore(&networks).unwrap(), ["br-web"]);
            assert!(outside.ask_tcp("192.168.7.1:8080").is_some());
            assert!(ask_tcp("127.0.0.1:8080").is_some());
        }
    });
}

#[test]
fn what_comes_out_of_an_internal_network_is_marked_for_relays_in_whatever_group_its_bridge_is() {
    if !has("ip") || !has("nft") {
        return;
    }
    on_both_kinds_of_host(|host| {
        let mut back = network("back", "10.22.0.0/24");
        back.spec.internal = true;
        let back = host.network(back);
        let web = host.network(network("web", "10.20.0.0/24"));
        let [inner, outer] = [(&back, 2), (&web, 2)].map(|(net, last)| host.container(net, last));
        // As the sockets of relays do.
        output("nft", "add table inet relay");
        output("nft", "add chain inet relay in { type filter hook input priority 2000 ; }");
        let drop = format!("add rule inet relay in meta mark {} drop", firewall::NOT_RELAYED);
        output("nft", &drop);
        for (port, group) in (5000..).zip([group::INTERNAL, group::BRIDGES, 0]) {
            host.ip(&format!("link set br-back group {group}"));
            let listener = std::net::UdpSocket::bind(("0.0.0.0", port)).unwrap();
            listener.set_nonblocking(true).unwrap();
            assert_eq!(inner.try_udp(&format!("10.22.0.1:{port}")), None);
            assert!(listener.recv_from(&mut [0; 8]).is_err(), "in group {group}");
            assert_eq!(outer.try_udp(&format!("10.20.0.1:{port}")), None);
            assert!(listener.recv_from(&mut [0; 8]).is_ok(), "that of another network comes");
        }
    });
}

#[test]
fn an_unpublished_port_is_closed_at_once() {
    on_a_host(|host| {
        let web = host.network(network("web", "10.20.0.0/24"));
        let server = host.container(&web, 2);
        server.serve_tcp(80, "server");
        let port = publish("web-1", Tcp, "8080", "10.20.0.2:80");
        assert!(ask_tcp("127.0.0.1:8080").is_some());

        firewall::unpublish(std::slice::from_ref(&port)).unwrap();

        assert_eq!(try_tcp("127.0.0.1:8080"), None);
        firewall::unpublish(&[port]).unwrap();
    });
}

/// Marks each connection by the cable it came by, and its answers with it, as hosts with two
/// providers have it.
const BY_THE_CABLE: &str = "add table inet owner
add chain inet owner marks { type filter hook prerouting priority mangle ; }
add rule inet owner marks iifname wan0 ct state new ct mark set 2
add rule inet owner marks meta mark set ct mark";

#[test]
fn answers_leave_by_the_way_that_the_hosts_owner_has_marked_them_for() {
    if !has("nft") {
        return;
    }
    on_both_kinds_of_host(|host| {
        for links in ["all", "default"] {
            fs::write(format!("/proc/sys/net/ipv4/conf/{links}/rp_filter"), "0").unwrap();
        }
        let web = host.network(network("web", "10.20.0.0/24"));
        let server = host.container(&web, 2);
        server.serve_tcp(80, "tcp");
        server.serve_udp(53, "udp");
        publish("web-1", Tcp, "8080", "10.20.0.2:80");
        publish("web-1", Udp, "8053", "10.20.0.2:53");
        let _one = host.outside(9);
        let two = host.beside("wan0", 8, 9);
        // Somebody far away, to whom the way leads by the first cable as long as no mark is seen.
        two.ip("address add 203.0.113.9/32 dev lo");
        two.ip("route replace 192.168.8.0/24 dev eth0 src 203.0.113.9");
        host.ip("route add default via 192.168.7.9");
        host.ip("route add default via 192.168.8.9 table 2");
        host.ip("rule add pref 100 lookup main suppress_prefixlength 0");
        host.ip("rule add pref 200 fwmark 2 lookup 2");
        BY_THE_CABLE.lines().for_each(|line| drop(output("nft", line)));

        assert_eq!(two.ask_tcp("192.168.8.1:8080").as_deref(), Some("tcp 203.0.113.9"));
        assert_eq!(two.ask_udp("192.168.8.1:8053").as_deref(), Some("udp 203.0.113.9"));
    });
}
