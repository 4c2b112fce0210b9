//! Published ports whose targets change while clients use them, on a real kernel.

#![allow(clippy::unwrap_used)]

mod common;

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use berth_network::conntrack;
use berth_network::endpoint;
use berth_network::firewall::{self, Held, Published, Routes, Share, Weighted};
use berth_planner::observed::{NetworkRecord, Subnet};
use berth_schema::stack::Protocol::{Tcp, Udp};

use common::{
    Container, Host, ask_tcp, has, link, network, on_a_host, output, publish, published, try_tcp,
};

/// A network of both families, `fd00:20::/64` besides `10.20.0.0/24`.
fn both_families(host: &Host) -> NetworkRecord {
    let mut web = network("web", "10.20.0.0/24");
    let (net, gateway) = ("fd00:20::/64".parse().unwrap(), "fd00:20::1".parse().unwrap());
    web.subnets.push(Subnet { net, gateway });
    host.network(web)
}

/// A container at `10.20.0.LAST` and `fd00:20::LAST` that answers on port 80 with `name`.
fn server(web: &NetworkRecord, last: u8, name: &'static str) -> Container {
    let container = Container::new();
    let mut eth0 = link(web, "eth0", last);
    eth0.addresses.push(format!("fd00:20::{last}/64").parse().unwrap());
    eth0.gateways.push("fd00:20::1".parse().unwrap());
    endpoint::connect(container.netns.as_fd(), &[eth0]).unwrap();
    container.serve_tcp(80, name);
    container
}

/// A machine on the cable that speaks both families; the host is `192.168.7.1` and `fd00:7::1`.
fn outside(host: &Host) -> Container {
    let outside = host.outside(9);
    host.ip("address add fd00:7::1/64 dev lan0 nodad");
    outside.within(|| {
        std::fs::write("/proc/sys/net/ipv6/conf/eth0/disable_ipv6", "0").unwrap();
    });
    outside.ip("address add fd00:7::9/64 dev eth0 nodad");
    outside
}

fn weighted(at: &str, shares: &[(&str, &str, u32)]) -> Weighted {
    let port = published("", Tcp, at, shares[0].1);
    let share = |(owner, target, percent): &(&str, &str, u32)| Share {
        owner: (*owner).to_owned(),
        target: target.parse().unwrap(),
        percent: *percent,
    };
    let shares = shares.iter().map(share).collect();
    Weighted { host: port.host, port: port.port, protocol: Tcp, shares }
}

#[test]
fn ten_thousand_connections_meet_no_error_while_their_target_is_swapped_forty_times() {
    if !has("ip") {
        return;
    }
    on_a_host(|host| {
        // Nobody stops before the last swap, however long the kernel takes for one.
        const EACH: usize = 2500;
        const MOST: usize = 40 * EACH;
        const SWAPS: usize = 40;
        let web = both_families(host);
        let _servers = [server(&web, 2, "one"), server(&web, 3, "two")];
        let outside = outside(host);
        let ports = |last: u8| {
            let v4 = published("web", Tcp, "8080", &format!("10.20.0.{last}:80"));
            [v4, published("web", Tcp, "8080", &format!("[fd00:20::{last}]:80"))]
        };
        firewall::publish(&ports(2)).unwrap();
        let here = Container { netns: berth_network::netns::current().unwrap() };
        let clients = [
            (&outside, "192.168.7.1:8080"),
            (&outside, "[fd00:7::1]:8080"),
            (&here, "127.0.0.1:8080"),
            (&here, "[fd00:7::1]:8080"),
        ];
        let (made, swaps) = ([const { AtomicUsize::new(0) }; 4], AtomicUsize::new(0));
        let connect = |made: &AtomicUsize, to: &str| {
            let mut by = [0; 2];
            for count in 0..MOST {
                if count >= EACH && swaps.load(Ordering::Relaxed) == SWAPS {
                    break;
                }
                let answer = ask_tcp(to);
                made.fetch_add(1, Ordering::Relaxed);
                match answer.as_deref().and_then(|answer| answer.split(' ').next()) {
                    Some("one") => by[0] += 1,
                    Some("two") => by[1] += 1,
                    _ => panic!("{to} answers {answer:?}"),
                }
            }
            by
        };

        thread::scope(|scope| {
            let mut counts = made.iter();
            let clients = clients.map(|(who, to)| {
                let made = counts.next().unwrap();
                scope.spawn(move || who.within(|| connect(made, to)))
            });
            for swap in 0..SWAPS {
                // Each of them is to meet every swap, the slowest as well.
                let due = (swap + 1) * EACH / (SWAPS + 1);
                while made.iter().any(|made| made.load(Ordering::Relaxed) < due)
                    && !clients.iter().any(thread::ScopedJoinHandle::is_finished)
                {
                    thread::sleep(Duration::from_millis(1));
                }
                let (from, to) = if swap % 2 == 0 { (2, 3) } else { (3, 2) };
                firewall::change(&ports(from), &ports(to)).unwrap();
                swaps.fetch_add(1, Ordering::Relaxed);
            }
            for client in clients {
                let [one, two] = client.join().unwrap();
                assert!((EACH..MOST).contains(&(one + two)), "{one} and {two}");
                assert!(one > EACH / 20 && two > EACH / 20, "{one} and {two}");
            }
        });
    });
}

#[test]
fn a_change_of_several_ports_happens_whole_or_not_at_all() {
    on_a_host(|_| {
        firewall::create().unwrap();
        let [one, two] = ["8080", "8081"].map(|at| publish("web-1", Tcp, at, "10.20.0.2:80"));
        publish("db-1", Tcp, "5432", "10.20.0.4:5432");
        let before = firewall::observe().unwrap().published;
        let elsewhere = published("web-1", Tcp, "8080", "10.20.0.3:80");
        let moved = published("web-1", Tcp, "9090", "10.20.0.3:81");

        let clash = published("web-1", Tcp, "5432", "10.20.0.3:81");
        let refused =
            firewall::change(&[one.clone(), two.clone()], &[elsewhere.clone(), clash]).unwrap_err();
        insta::assert_snapshot!(refused, @"port 5432/tcp is already published by `db-1`");
        assert_eq!(firewall::observe().unwrap().published, before);
        // What leads elsewhere by now is not taken away, and what is not there already is.
        let stale = firewall::change(std::slice::from_ref(&elsewhere), &[]).unwrap_err();
        assert!(stale.already_exists());
        firewall::change(std::slice::from_ref(&moved), &[]).unwrap();
        assert_eq!(firewall::observe().unwrap().published, before);

        firewall::change(&[one, two], &[elsewhere.clone(), moved.clone()]).unwrap();
        let mut after = vec![elsewhere, moved, before[0].clone()];
        after.retain(|port| port.owner != "db-1");
        after.push(before.iter().find(|port| port.owner == "db-1").unwrap().clone());
        after.sort();
        let mut seen = firewall::observe().unwrap().published;
        seen.sort();
        assert_eq!(seen, after);
    });
}

#[test]
fn just_the_ports_that_still_lead_to_a_container_are_taken_away_with_it() {
    on_a_host(|_| {
        firewall::create().unwrap();
        let old = ["8080", "8081", "8082"].map(|at| publish("web-1", Tcp, at, "10.20.0.2:80"));
        let own = publish("web-1", Tcp, "10.20.0.2:80", "10.20.0.2:80");
        // One has gone, another leads to the next container by now.
        firewall::unpublish(&old[..1]).unwrap();
        let new = published("web-2", Tcp, "8081", "10.20.0.3:80");
        firewall::change(&old[1..2], std::slice::from_ref(&new)).unwrap();

        firewall::unpublish(&[&old[..], &[own]].concat()).unwrap();

        assert_eq!(firewall::observe().unwrap().published, [new]);
    });
}

#[test]
fn clients_are_shared_out_by_weight_and_as_published_afterwards() {
    if !has("ip") {
        return;
    }
    on_a_host(|host| {
        let web = both_families(host);
        let _servers = [server(&web, 2, "one"), server(&web, 3, "two")];
        let outside = outside(host);
        publish("web-1", Tcp, "8080", "10.20.0.2:80");
        let of_two = |count: usize| {
            let answers = (0..count).map(|_| ask_tcp("127.0.0.1:8080").unwrap());
            answers.filter(|answer| answer.starts_with("two")).count()
        };
        let (old, new) = ("10.20.0.2:80", "10.20.0.3:80");
        let some = [weighted("8080", &[("web-1", old, 90), ("web-2", new, 10)])];
        let most = [weighted("8080", &[("web-1", old, 25), ("web-2", new, 75)])];

        firewall::weigh(&[], &some).unwrap();
        // A tenth, give or take five times the deviation.
        let count = of_two(1000);
        assert!((50..150).contains(&count), "{count} of 1000");
        let seen = firewall::observe().unwrap();
        assert_eq!(seen.routes.weighted, some);
        firewall::replace(&seen.networks, &seen.published, &seen.routes).unwrap();
        assert_eq!(firewall::observe().unwrap(), seen);
        firewall::weigh(&some, &most).unwrap();
        let count = of_two(200);
        assert!((120..180).contains(&count), "{count} of 200");
        assert!(firewall::weigh(&[], &some).unwrap_err().already_exists());
        firewall::weigh(&most, &[]).unwrap();
        assert!(firewall::weigh(&most, &[]).unwrap_err().is_missing());
        assert_eq!(of_two(20), 0);

        // One address before all of them, and both families.
        let all = |target| [("web-2", target, 100)];
        for (at, ask, target) in [
            ("8080", "192.168.7.1:8080", new),
            ("192.168.7.1:8081", "192.168.7.1:8081", new),
            ("8082", "[fd00:7::1]:8082", "[fd00:20::3]:80"),
            ("[fd00:7::1]:8083", "[fd00:7::1]:8083", "[fd00:20::3]:80"),
        ] {
            firewall::weigh(&[], &[weighted(at, &all(target))]).unwrap();
            assert!(outside.ask_tcp(ask).unwrap().starts_with("two"), "{at}");
        }
        publish("web-1", Tcp, "192.168.7.1:8080", old);
        assert!(outside.ask_tcp("192.168.7.1:8080").unwrap().starts_with("one"));
    });
}

#[test]
fn new_connections_wait_at_a_held_port_and_none_fails() {
    if !has("ip") {
        return;
    }
    on_a_host(|host| {
        let web = both_families(host);
        let _servers = [server(&web, 2, "one"), server(&web, 3, "two")];
        let outside = outside(host);
        let ports = |last: u8| {
            let v4 = published("web", Tcp, "8080", &format!("10.20.0.{last}:80"));
            let one = published("web", Tcp, "192.168.7.1:9090", &format!("10.20.0.{last}:80"));
            [v4, published("web", Tcp, "8080", &format!("[fd00:20::{last}]:80")), one]
        };
        firewall::publish(&ports(2)).unwrap();
        let held = |host: Option<&str>, port| {
            let host = host.map(|host| host.parse().unwrap());
            Held { owner: "web".to_owned(), host, port, left: Duration::from_secs(60) }
        };
        let held = [held(None, 8080), held(Some("192.168.7.1"), 9090)];
        let here = Container { netns: berth_network::netns::current().unwrap() };
        let clients = [
            (&outside, "192.168.7.1:8080"),
            (&outside, "[fd00:7::1]:8080"),
            (&outside, "192.168.7.1:9090"),
            (&here, "127.0.0.1:8080"),
            (&here, "[fd00:7::1]:8080"),
        ];
        // Somebody who is connected already, to a server that says what it hears.
        let echo = host.container(&web, 4);
        let listener = echo.within(|| TcpListener::bind("0.0.0.0:80").unwrap());
        publish("echo", Tcp, "7070", "10.20.0.4:80");
        let mut early = TcpStream::connect("127.0.0.1:7070").unwrap();
        let (mut other, _) = listener.accept().unwrap();

        firewall::hold(&held).unwrap();
        firewall::hold(&[Held { port: 7070, ..held[0].clone() }]).unwrap();
        firewall::hold(&held).unwrap();
        let seen = firewall::observe().unwrap();
        assert_eq!(seen.routes.held.len(), 3);
        firewall::replace(&seen.networks, &seen.published, &seen.routes).unwrap();
        let again = firewall::observe().unwrap();
        let waiting = |routes: &Routes| -> Vec<(Option<IpAddr>, u16)> {
            routes.held.iter().map(|held| (held.host, held.port)).collect()
        };
        assert_eq!(waiting(&again.routes), waiting(&seen.routes));
        assert!(again.routes.held.iter().all(|held| !held.left.is_zero()));
        for (who, to) in clients {
            assert_eq!(who.try_tcp(to), None, "{to}");
        }
        assert_eq!(try_tcp("127.0.0.1:7070"), None);
        early.write_all(b"still").unwrap();
        let mut heard = [0; 5];
        other.read_exact(&mut heard).unwrap();
        assert_eq!(&heard, b"still");
        assert_eq!(conntrack::connected(&["10.20.0.2".parse().unwrap()]).unwrap(), 0);

        thread::scope(|scope| {
            let waiting = clients.map(|(who, to)| (to, scope.spawn(move || who.ask_tcp(to))));
            thread::sleep(Duration::from_millis(300));
            firewall::change(&ports(2), &ports(3)).unwrap();
            firewall::release(&held).unwrap();
            for (to, client) in waiting {
                assert!(client.join().unwrap().unwrap().starts_with("two"), "{to}");
            }
        });
        firewall::release(&held).unwrap();
    });
}

#[test]
fn a_hold_ends_by_itself() {
    on_a_host(|host| {
        let web = host.network(network("web", "10.20.0.0/24"));
        let server = host.container(&web, 2);
        server.serve_tcp(80, "server");
        publish("web-1", Tcp, "8080", "10.20.0.2:80");
        let held = |port, seconds| {
            let left = Duration::from_secs(seconds);
            Held { owner: "web-1".to_owned(), host: None, port, left }
        };
        firewall::hold(&[held(8080, 1), held(9090, 600)]).unwrap();
        let ports = || -> Vec<u16> {
            let held = firewall::observe().unwrap().routes.held;
            held.iter().map(|held| held.port).collect()
        };
        let end = Instant::now() + Duration::from_secs(30);
        while ports() != [9090] {
            assert!(Instant::now() < end, "{:?}", ports());
            thread::sleep(Duration::from_millis(50));
        }
        assert!(ask_tcp("127.0.0.1:8080").unwrap().starts_with("server"));
    });
}

#[test]
fn a_target_is_drained_when_nobody_is_connected_to_it_any_more() {
    on_a_host(|host| {
        let web = host.network(network("web", "10.20.0.0/24"));
        let server = host.container(&web, 2);
        let listener = server.within(|| TcpListener::bind("0.0.0.0:80").unwrap());
        publish("web-1", Tcp, "8080", "10.20.0.2:80");
        let outside = host.outside(9);
        let target = ["10.20.0.2".parse().unwrap()];
        let soon = Duration::from_millis(50);
        let late = Duration::from_secs(10);
        assert_eq!(conntrack::drain(&target, soon).unwrap(), 0);

        let to: SocketAddr = "192.168.7.1:8080".parse().unwrap();
        let client = outside.within(|| TcpStream::connect(to).unwrap());
        let (accepted, _) = listener.accept().unwrap();
        let flows = conntrack::flows_to(target[0]).unwrap();
        assert_eq!(flows.len(), 1);
        assert_eq!((flows[0].to, flows[0].target), (to, "10.20.0.2:80".parse().unwrap()));
        assert_eq!(flows[0].from, client.local_addr().unwrap());
        assert!(flows[0].translated && flows[0].open);
        assert_eq!(conntrack::drain(&target, soon).unwrap(), 1);
        assert_eq!(conntrack::drain(&["10.20.0.3".parse().unwrap()], soon).unwrap(), 0);

        let end = thread::spawn(move || {
            thread::sleep(Duration::from_millis(200));
            drop((client, accepted));
        });
        assert_eq!(conntrack::drain(&target, late).unwrap(), 0);
        end.join().unwrap();
    });
}

#[test]
fn a_client_of_udp_is_led_anew_from_its_next_datagram_on() {
    on_a_host(|host| {
        let web = host.network(network("web", "10.20.0.0/24"));
        let [one, two] = [2, 3].map(|last| host.container(&web, last));
        one.serve_udp(53, "one");
        two.serve_udp(53, "two");
        let outside = host.outside(9);
        let ports = ["10.20.0.2:53", "10.20.0.3:53"].map(|to| published("dns", Udp, "8053", to));
        // From one socket each, and so one flow.
        let here = Container { netns: berth_network::netns::current().unwrap() };
        let begin = || {
            [(&outside, "192.168.7.1:8053"), (&here, "127.0.0.1:8053")].map(|(who, to)| {
                let socket = who.within(|| UdpSocket::bind("0.0.0.0:0").unwrap());
                (socket, to)
            })
        };
        let clients = begin();
        let ask = |(socket, to): &(UdpSocket, &str), patience| {
            socket.set_read_timeout(Some(Duration::from_millis(patience))).unwrap();
            socket.send_to(b"?", to).ok()?;
            let mut buffer = [0; 64];
            let (len, _) = socket.recv_from(&mut buffer).ok()?;
            Some(String::from_utf8_lossy(&buffer[..3.min(len)]).into_owned())
        };
        let all = |patience| clients.each_ref().map(|client| ask(client, patience));
        let says = |what: &str| [(); 2].map(|()| Some(what.to_owned()));

        // Before there was anybody, which the kernel remembers as well.
        assert_eq!(all(200), [None, None]);
        firewall::publish(&ports[..1]).unwrap();
        assert_eq!(all(10_000), says("one"));
        firewall::change(&ports[..1], &ports[1..]).unwrap();
        assert_eq!(all(10_000), says("two"));
        firewall::unpublish(&ports[1..]).unwrap();
        assert_eq!(all(200), [None, None]);
        firewall::publish(&ports[..1]).unwrap();
        assert_eq!(all(10_000), says("one"));

        // Others that begin while somebody has taken the rules away.
        if !has("nft") {
            return;
        }
        output("nft", "flush table inet berth");
        let late = begin();
        let all = |patience| late.each_ref().map(|client| ask(client, patience));
        assert_eq!(all(200), [None, None]);
        let seen = firewall::observe().unwrap();
        firewall::replace(&seen.networks, &seen.published, &seen.routes).unwrap();
        assert_eq!(all(10_000), says("one"));
    });
}

#[test]
fn only_clients_of_udp_at_the_changed_ports_are_forgotten() {
    on_a_host(|host| {
        let both = both_families(host);
        let _server = server(&both, 2, "one");
        // As long as they are there, each has a port and so a flow of its own.
        let mut clients = Vec::new();
        let mut ask = |to: &str, count: usize| {
            let any = if to.starts_with('[') { "[::]:0" } else { "0.0.0.0:0" };
            for _ in 0..count {
                let client = UdpSocket::bind(any).unwrap();
                client.send_to(b"?", to).unwrap();
                clients.push(client);
            }
        };
        let port = |at: u16, to: &str| published("one", Udp, &at.to_string(), to);
        let range = |to: &str| -> Vec<Published> { (7000..7003).map(|at| port(at, to)).collect() };
        let (v4, v6) = (range("10.20.0.2:7000"), range("[fd00:20::2]:7000"));
        let other = port(9000, "10.20.0.2:7000");
        publish("one", Tcp, "7000", "10.20.0.2:80");
        firewall::publish(&[v4.as_slice(), &v6, std::slice::from_ref(&other)].concat()).unwrap();
        let _connected = TcpStream::connect("127.0.0.1:7000").unwrap();
        let mut again = || {
            ask("127.0.0.1:7000", 200);
            ask("192.168.7.1:7002", 1);
            ask("[fd00:7::1]:7001", 100);
            ask("127.0.0.1:9000", 1);
        };
        let _outside = outside(host);

        again();
        assert_eq!(conntrack::forget(&v4).unwrap(), 201);
        assert_eq!(conntrack::forget(&v4).unwrap(), 0);
        assert_eq!(conntrack::forget(&v6[1..2]).unwrap(), 100);
        assert_eq!(conntrack::forget([&other]).unwrap(), 1);
        again();
        assert_eq!(conntrack::forget(v4.iter().chain(&v6)).unwrap(), 301);
        assert_eq!(conntrack::connected(&["10.20.0.2".parse().unwrap()]).unwrap(), 1);
    });
}
