//! Who reaches whom over networks: every way there is, counted where it would arrive.

use berth_tests::{TestHost, images};

use crate::bench::{Bench, Check, Outcome, holds};

pub(crate) const CHECKS: &[Check] = &[
    Check {
        id: "N01",
        what: "a container of one network goes for one of another",
        without: "net.isolation",
        places: &[],
        run: isolation,
    },
    Check {
        id: "N02",
        what: "a neighbour with a route goes for a container",
        without: "net.isolation",
        places: &[],
        run: direct,
    },
    Check {
        id: "N07",
        what: "an internal network goes for the world",
        without: "net.internal",
        places: &[],
        run: internal,
    },
    Check {
        id: "N17",
        what: "routes of the host lead where networks would be",
        without: "networks.beside_routes",
        places: &[],
        run: routes,
    },
];

const STACK: &str = "
services:
  a: { image: 'busybox:1', command: [sleep, '100000'], networks: [one] }
  b:
    image: busybox:1
    command: [sleep, '100000']
    networks: { two: { ipv4_address: 10.92.0.9, ipv6_address: 'fd92::9' } }
  c: { image: 'busybox:1', command: [sleep, '100000'], networks: [two] }
  inner: { image: 'busybox:1', command: [sleep, '100000'], networks: [closed] }
networks:
  one: { enable_ipv6: true, ipam: { config: [{ subnet: 10.91.0.0/24 }, { subnet: 'fd91::/64' }] } }
  two: { enable_ipv6: true, ipam: { config: [{ subnet: 10.92.0.0/24 }, { subnet: 'fd92::/64' }] } }
  closed:
    internal: true
    enable_ipv6: true
    ipam: { config: [{ subnet: 10.93.0.0/24 }, { subnet: 'fd93::/64' }] }
";

/// Counts what arrives, answers and what neighbours say of themselves aside.
pub(crate) const COUNT: &str = "nft 'add table inet seen; add chain inet seen in { type filter hook input \
    priority -400; }; add rule inet seen in meta l4proto { tcp, udp } counter; \
    add rule inet seen in icmp type echo-request counter; \
    add rule inet seen in icmpv6 type echo-request counter'";

/// By every transport to these addresses.
fn knocks(addresses: &[&str]) -> String {
    let each = addresses.iter().map(|to| {
        let six = if to.contains(':') { "-6 " } else { "" };
        format!(
            "timeout 1 bash -c 'echo x >/dev/tcp/{to}/9' 2>/dev/null; \
             bash -c 'echo x >/dev/udp/{to}/9' 2>/dev/null; \
             busybox ping {six}-c 1 -W 1 {to} >/dev/null 2>&1;"
        )
    });
    each.collect::<String>() + "true"
}

/// A container, seen from the machine.
pub(crate) struct Inside<'a> {
    bench: &'a Bench,
    pid: i64,
}

impl<'a> Inside<'a> {
    pub(crate) fn of(bench: &'a Bench, service: &str) -> Inside<'a> {
        Inside { bench, pid: bench.host.pid_of(service).pid }
    }

    /// A line in its network, with all rights there.
    pub(crate) fn shell(&self, line: &str) -> String {
        let line = line.replace('\'', "'\\''");
        self.bench
            .host
            .shell(&format!("nsenter -t {} -n sh -c '{line}'", self.pid))
            .succeeds()
            .stdout
    }
}

/// Packets in the counters of what `list` printed.
pub(crate) fn packets(list: &str) -> u64 {
    let counts = list.split("counter packets ").skip(1);
    counts.filter_map(|rest| rest.split_whitespace().next()?.parse::<u64>().ok()).sum()
}

fn up(bench: &Bench) {
    bench.host.load(&images::busybox());
    bench.stack(STACK);
    bench.host.berth("up -d").succeeds();
}

const OF_B: [&str; 2] = ["10.92.0.9", "fd92::9"];
pub(crate) const LIST: &str = "nft list table inet seen";

/// What is counted at `b` sees its neighbour, and is empty again.
fn counted_at_b(bench: &Bench) -> Inside<'_> {
    let b = Inside::of(bench, "b");
    b.shell(COUNT);
    Inside::of(bench, "c").shell(&knocks(&OF_B));
    let seen = packets(&b.shell(LIST));
    assert!(seen >= 6, "what is sent by a neighbour is counted: {seen}");
    b.shell(&format!("nft delete table inet seen; {COUNT}"));
    b
}

fn isolation(bench: &Bench) -> Outcome {
    up(bench);
    let b = counted_at_b(bench);
    let a = Inside::of(bench, "a");
    a.shell(&knocks(&OF_B));
    bench.fired(6);
    let seen = packets(&b.shell(LIST));
    holds!(seen == 0, "{seen} packets by its own gateway");
    // By the gateway of the other network.
    a.shell("ip route add 10.92.0.9/32 via 10.92.0.1 dev eth0 onlink");
    a.shell("ip -6 route add fd92::9/128 via fd92::1 dev eth0 onlink");
    a.shell(&knocks(&OF_B));
    bench.fired(6);
    let seen = packets(&b.shell(LIST));
    holds!(seen == 0, "{seen} packets by the other gateway");
    Ok(())
}

fn direct(bench: &Bench) -> Outcome {
    up(bench);
    let b = counted_at_b(bench);
    let host = &bench.host;
    host.neighbour("ip route add 10.92.0.0/24 via 192.0.2.1").succeeds();
    host.neighbour("ip -6 route add fd92::/64 via 2001:db8::1").succeeds();
    host.neighbour(&knocks(&OF_B)).succeeds();
    bench.fired(6);
    let seen = packets(&b.shell(LIST));
    holds!(seen == 0, "{seen} packets of the neighbour");
    Ok(())
}

fn internal(bench: &Bench) -> Outcome {
    up(bench);
    let host = &bench.host;
    let outside = ["192.0.2.2", "2001:db8::2"];
    host.neighbour(COUNT).succeeds();
    Inside::of(bench, "a").shell(&knocks(&outside));
    let seen = packets(&host.neighbour(LIST).succeeds().stdout);
    assert!(seen >= 6, "what leaves another network is counted: {seen}");
    host.neighbour(&format!("nft delete table inet seen; {COUNT}")).succeeds();

    let inner = Inside::of(bench, "inner");
    inner.shell("ip route add default via 10.93.0.1; ip -6 route add default via fd93::1");
    inner.shell(&knocks(&outside));
    bench.fired(6);
    let seen = packets(&host.neighbour(LIST).succeeds().stdout);
    holds!(seen == 0, "{seen} packets came out");
    Ok(())
}

/// Ways of the host and of a tunnel, in a table of its own; then ways to all that is left.
const ROUTES: [&str; 5] = [
    "172.18.0.0/15 via 192.0.2.2",
    "172.20.7.0/24 via 192.0.2.2 table 100",
    "172.21.0.9/32 via 192.0.2.2",
    "172.16.0.0/12 via 192.0.2.2",
    "192.168.0.0/16 via 192.0.2.2",
];

/// Subnets of our networks that have an address in common with a route of the host, or with another.
const OVERLAPS: &str = "
import ipaddress, subprocess
def lines(words):
    return subprocess.check_output(words.split(), text=True).splitlines()
routes, ours = [], []
for line in lines('ip -4 route show table all type unicast'):
    words = line.split()
    if words[0] != 'default':
        net = ipaddress.ip_network(words[0])
        (ours if 'dev br-' in line else routes).append(net)
print(len(routes), 'routes', len(ours), 'networks')
for net in ours:
    for other in routes + [one for one in ours if one is not net]:
        if net.overlaps(other):
            print(net, 'and', other)
";

fn overlaps(host: &TestHost) -> String {
    host.write("overlaps.py", OVERLAPS);
    host.shell("python3 overlaps.py").succeeds().stdout
}

fn routes(bench: &Bench) -> Outcome {
    let host = &bench.host;
    host.load(&images::busybox());
    let add = |routes: &[&str]| {
        for route in routes {
            host.shell(&format!("ip route add {route}")).succeeds();
        }
    };
    add(&ROUTES[..3]);
    let one = "{ image: 'busybox:1', command: [sleep, '100000'], networks: [a, b] }";
    bench.stack(&format!("services: {{ web: {one} }}\nnetworks: {{ a: {{}}, b: {{}} }}"));
    for project in ["one", "two"] {
        host.berth(&format!("-p {project} up -d")).succeeds();
    }
    bench.fired(4);
    let told = overlaps(host);
    assert!(told.ends_with(" 4 networks\n") || told.contains(" and "), "{told}");
    holds!(!told.contains(" and "), "addresses are taken twice: {told}");
    for project in ["one", "two"] {
        host.berth(&format!("-p {project} down -t 0")).succeeds();
    }
    add(&ROUTES[3..]);
    bench.fired(1);
    let refused = host.berth("-p three up -d");
    for route in ROUTES {
        host.shell(&format!("ip route del {route}")).succeeds();
    }
    holds!(refused.code == 1, "there is room where there is none: {refused}");
    holds!(refused.stderr.contains("192.168.0.0/16"), "it does not say which pools: {refused}");
    Ok(())
}
