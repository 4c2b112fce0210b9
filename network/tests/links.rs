//! Bridges and veth pairs on a real kernel.

mod common;

use std::fs;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use berth_network::{endpoint, group};
use common::{Container, ask_tcp, has, link, network, on_a_host};

#[test]
fn a_bridge_is_observed_as_it_was_made() {
    on_a_host(|host| {
        let web = network("web", "10.20.0.0/24");
        host.create(&web).unwrap();

        let bridges = host.bridges();

        assert_eq!(bridges.len(), 1);
        assert_eq!(bridges[0].network, "web");
        assert!(bridges[0].is_as(&web), "{bridges:?}");
        let mut changed = web.clone();
        changed.spec.labels.insert("a".into(), "b".into());
        assert!(bridges[0].is_as(&changed), "labels are for people");
        changed.spec.internal = true;
        assert!(!bridges[0].is_as(&changed), "another description has another mark");
    });
}

#[test]
fn a_bridge_that_was_cut_off_before_it_had_its_mark_is_still_ours() {
    if !has("ip") {
        eprintln!("skipped: no `ip` to make half a bridge with");
        return;
    }
    on_a_host(|host| {
        host.ip(&format!("link add br-half group {} type bridge", group::HALF_MADE));
        host.ip(&format!("link add br-old group {} type bridge", group::BRIDGES));
        host.ip("link add br-other type bridge");
        host.create(&network("web", "10.20.0.0/24")).unwrap();

        let names: Vec<_> = host.bridges().into_iter().map(|b| (b.name, b.network)).collect();

        let pair = |name: &str, network: &str| (name.to_owned(), network.to_owned());
        assert_eq!(names, [pair("br-half", ""), pair("br-old", ""), pair("br-web", "web")]);
        assert!(host.ip("link show br-web").contains(&format!("group {}", group::BRIDGES)));
    });
}

#[test]
fn only_bridges_with_our_mark_are_put_into_groups() {
    if !has("ip") {
        return;
    }
    on_a_host(|host| {
        let mut back = network("back", "10.22.0.0/24");
        back.spec.internal = true;
        let networks = [&network("web", "10.20.0.0/24"), &back, &network("gone", "10.23.0.0/24")]
            .map(Into::into);
        // Somebody has made one of that name.
        host.ip("link add br-web type bridge");
        host.create(&back).unwrap();
        host.ip("link set br-back group 7");

        assert_eq!(group::restore(&networks).unwrap(), ["br-back"]);

        assert_eq!(host.bridges()[0].group, group::INTERNAL);
        assert!(host.ip("link show br-web").contains("group default"));
    });
}

#[test]
fn a_bridge_is_set_up_for_published_ports_and_deaf_to_routers() {
    on_a_host(|host| {
        let changed = host.create(&network("web", "10.20.0.0/24")).unwrap();

        let conf = |key: &str| {
            fs::read_to_string(format!("/proc/sys/net/{key}")).unwrap().trim().to_owned()
        };
        assert_eq!(changed, ["net.ipv4.ip_forward"]);
        assert_eq!(conf("ipv4/ip_forward"), "1");
        assert_eq!(conf("ipv4/conf/br-web/route_localnet"), "1");
        assert_eq!(conf("ipv4/conf/all/route_localnet"), "0");
        assert_eq!(conf("ipv4/conf/lo/route_localnet"), "0");
        assert_eq!(conf("ipv6/conf/br-web/accept_ra"), "0");
        assert_eq!(conf("ipv6/conf/br-web/disable_ipv6"), "1");
        if has("ip") {
            let shown = host.ip("-d link show br-web");
            assert!(shown.contains("stp_state 0"), "{shown}");
            assert!(shown.contains("mcast_snooping 0"), "{shown}");
            assert!(shown.contains("02:42:0a:14:00:01"), "{shown}");
        }
        assert_eq!(host.create(&network("other", "10.21.0.0/24")).unwrap(), [""; 0]);
    });
}

#[test]
fn a_link_of_that_name_means_a_stale_plan() {
    on_a_host(|host| {
        let web = network("web", "10.20.0.0/24");
        host.create(&web).unwrap();

        let error = host.create(&web).unwrap_err();

        assert!(error.already_exists());
        insta::assert_snapshot!(error, @"add bridge `br-web`: File exists (os error 17)");
        assert!(host.bridges()[0].is_as(&web), "the one that was there is untouched");
    });
}

#[test]
fn a_bridge_that_cannot_be_finished_is_taken_away_again() {
    on_a_host(|host| {
        let mut twice = network("web", "10.20.0.0/24");
        twice.subnets.push(twice.subnets[0]);

        let error = host.create(&twice).unwrap_err();

        insta::assert_snapshot!(error, @"add address `10.20.0.1/24`: File exists (os error 17)");
        assert!(host.bridges().is_empty());
        host.create(&network("web", "10.20.0.0/24")).unwrap();
    });
}

#[test]
fn a_removed_bridge_is_gone_and_cannot_be_removed_twice() {
    on_a_host(|host| {
        host.create(&network("web", "10.20.0.0/24")).unwrap();
        host.remove("br-web").unwrap();

        assert!(host.bridges().is_empty());
        assert!(host.remove("br-web").unwrap_err().is_missing());
    });
}

#[test]
fn bridges_of_others_are_not_ours() {
    if !has("ip") {
        return;
    }
    on_a_host(|host| {
        host.ip("link add docker0 type bridge");
        host.ip("link add odd type veth peer name even");
        host.ip("link set odd alias berth:web");

        assert!(host.bridges().is_empty());
    });
}

#[test]
fn routes_are_told_unless_they_are_default_routes_or_lead_nowhere() {
    if !has("ip") {
        return;
    }
    on_a_host(|host| {
        host.ip("link add up0 type veth peer name up1");
        host.ip("link set up0 up");
        host.ip("link set up1 up");
        host.ip("address add 192.168.7.2/24 dev up0");
        host.ip("route add default via 192.168.7.1");
        host.ip("route add 0.0.0.0/1 via 192.168.7.1");
        host.ip("route add 172.16.0.0/12 dev up0 table 77");
        host.ip("route add blackhole 10.9.0.0/16");
        host.ip("route add unreachable 192.168.0.0/16");
        host.ip("-6 address add fd00:7::2/64 dev up0 nodad");

        let routes = host.routes();

        let of_lo_and_links = ["fe80::/64"];
        let told: Vec<_> =
            routes.iter().filter(|r| !of_lo_and_links.contains(&r.as_str())).collect();
        assert_eq!(told, ["172.16.0.0/12", "192.168.7.0/24", "fd00:7::/64"]);
    });
}

#[test]
fn containers_of_a_network_and_the_host_reach_each_other() {
    on_a_host(|host| {
        let web = network("web", "10.20.0.0/24");
        host.create(&web).unwrap();
        let a = host.container(&web, 2);
        let b = host.container(&web, 3);
        a.serve_tcp(80, "a");

        assert_eq!(b.ask_tcp("10.20.0.2:80").as_deref(), Some("a 10.20.0.3"));
        assert_eq!(ask_tcp("10.20.0.2:80").as_deref(), Some("a 10.20.0.1"));
        assert_eq!(a.ask_tcp("127.0.0.1:80").as_deref(), Some("a 127.0.0.1"));
    });
}

#[test]
fn a_container_has_its_links_addresses_and_one_default_route() {
    if !has("ip") {
        return;
    }
    on_a_host(|host| {
        let front = network("front", "10.20.0.0/24");
        let mut back = network("back", "10.21.0.0/24");
        back.spec.internal = true;
        host.create(&front).unwrap();
        host.create(&back).unwrap();
        let container = Container::new();
        let mut second = link(&back, "eth1", 9);
        second.mac = Some([2, 0, 0, 0, 0, 9]);
        second.mtu = Some(1400);
        endpoint::connect(container.netns.as_fd(), &[link(&front, "eth0", 9), second]).unwrap();

        let links = container.ip("-br link");
        assert!(links.contains("02:42:0a:14:00:09"), "{links}");
        assert!(links.contains("02:00:00:00:00:09"), "{links}");
        assert!(container.ip("link show eth1").contains("mtu 1400"));
        insta::assert_snapshot!(container.ip("-4 route").replace(" \n", "\n").trim_end(), @r"
        default via 10.20.0.1 dev eth0 proto static
        10.20.0.0/24 dev eth0 proto kernel scope link src 10.20.0.9
        10.21.0.0/24 dev eth1 proto kernel scope link src 10.21.0.9
        ");
        assert_eq!(container.ip("-6 -br address show dev eth0"), "", "no address, no IPv6");
        assert!(container.ip("address show lo").contains("::1/128"));
        assert_eq!(host.ip("-d link show master br-front").matches("hairpin on").count(), 1);
    });
}

#[test]
fn an_ipv6_address_can_be_used_at_once() {
    on_a_host(|host| {
        let mut web = network("web", "10.20.0.0/24");
        let net = "fd00:20::/64".parse().unwrap();
        let gateway = "fd00:20::1".parse().unwrap();
        web.subnets.push(berth_planner::observed::Subnet { net, gateway });
        host.create(&web).unwrap();
        assert!(host.bridges()[0].is_as(&web));
        let container = Container::new();
        let mut eth0 = link(&web, "eth0", 2);
        eth0.addresses.push("fd00:20::2/64".parse().unwrap());
        eth0.gateways.push(gateway);
        endpoint::connect(container.netns.as_fd(), &[eth0]).unwrap();

        container.within(|| {
            std::net::UdpSocket::bind("[fd00:20::2]:0").unwrap();
            let ra = fs::read_to_string("/proc/sys/net/ipv6/conf/eth0/accept_ra").unwrap();
            assert_eq!(ra.trim(), "0");
        });
    });
}

#[test]
fn a_namespace_of_other_users_is_connected_just_so() {
    on_a_host(|host| {
        let Some(container) = Container::with_users() else { return };
        let web = network("web", "10.20.0.0/24");
        host.create(&web).unwrap();

        endpoint::connect(container.netns.as_fd(), &[link(&web, "eth0", 2)]).unwrap();
        berth_network::dns::redirect(container.netns.as_fd(), 5000, 5001).unwrap();

        container.serve_tcp(80, "web");
        assert_eq!(ask_tcp("10.20.0.2:80").as_deref(), Some("web 10.20.0.1"));
        container.within(|| {
            let off = |link: &str| {
                let file = format!("/proc/sys/net/ipv6/conf/{link}/disable_ipv6");
                fs::read_to_string(file).unwrap().trim().to_owned()
            };
            assert_eq!(off("eth0"), "1");
            assert_eq!(off("default"), off("lo"), "links of its own are its own affair");
        });
    });
}

#[test]
fn a_missing_bridge_is_named() {
    on_a_host(|_| {
        let container = Container::new();
        let lost = link(&network("web", "10.20.0.0/24"), "eth0", 2);

        let error = endpoint::connect(container.netns.as_fd(), &[lost]).unwrap_err();

        insta::assert_snapshot!(error, @"find link `br-web`: No such device (os error 19)");
    });
}

#[test]
fn a_link_name_that_is_taken_inside_is_named() {
    on_a_host(|host| {
        let web = network("web", "10.20.0.0/24");
        host.create(&web).unwrap();
        let container = host.container(&web, 2);

        let error =
            endpoint::connect(container.netns.as_fd(), &[link(&web, "eth0", 3)]).unwrap_err();

        assert!(error.already_exists(), "{error}");
        assert!(error.to_string().starts_with("add link `bv"), "{error}");
    });
}

#[test]
fn closing_the_namespace_takes_the_links_away() {
    if !has("ip") {
        return;
    }
    on_a_host(|host| {
        let web = network("web", "10.20.0.0/24");
        host.create(&web).unwrap();
        let ports = || host.ip("-br link show master br-web").lines().count();
        let container = host.container(&web, 2);
        assert_eq!(ports(), 1);

        drop(container);

        let deadline = Instant::now() + Duration::from_secs(20);
        while ports() != 0 {
            assert!(Instant::now() < deadline, "the link is still there");
            std::thread::sleep(Duration::from_millis(5));
        }
    });
}

#[test]
fn a_start_at_the_same_address_need_not_wait_for_the_one_before() {
    on_a_host(|host| {
        let web = network("web", "10.20.0.0/24");
        host.create(&web).unwrap();
        let neighbour = host.container(&web, 3);
        for _ in 0..10 {
            // The one before is switched off, but still there: its server holds the namespace.
            let container = host.container(&web, 2);
            container.serve_tcp(80, "web");
            assert_eq!(ask_tcp("10.20.0.2:80").as_deref(), Some("web 10.20.0.1"));
            assert_eq!(neighbour.ask_tcp("10.20.0.2:80").as_deref(), Some("web 10.20.0.3"));
            let eth0 = [link(&web, "eth0", 2)];
            endpoint::disconnect(container.netns.as_fd(), &eth0).unwrap();
        }
    });
}

#[test]
fn fifty_containers_and_a_thousand_ports_come_and_go() {
    on_a_host(|host| {
        let web = host.network(network("web", "10.20.0.0/24"));
        let namespaces: Vec<_> = (2..52).map(|last| (last, Container::new())).collect();
        for (last, container) in &namespaces {
            endpoint::connect(container.netns.as_fd(), &[link(&web, "eth0", *last)]).unwrap();
        }
        for port in 1000..2000_u16 {
            let at = port.to_string();
            common::publish("web-1", berth_schema::stack::Protocol::Tcp, &at, "10.20.0.2:80");
        }
        for (last, container) in &namespaces {
            endpoint::disconnect(container.netns.as_fd(), &[link(&web, "eth0", *last)]).unwrap();
        }
        let seen = berth_network::firewall::observe().unwrap();
        assert_eq!(seen.published.len(), 1000);
        berth_network::firewall::unpublish(&seen.published).unwrap();
        assert!(berth_network::firewall::observe().unwrap().published.is_empty());
    });
}
