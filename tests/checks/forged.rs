//! What packets can say that is not so: that they come from the loopback or go there, that there is a
//! router or a better way.

use berth_tests::images;

use crate::bench::{Bench, Check, Outcome, holds};
use crate::networks::{COUNT, Inside, LIST, packets};

pub(crate) const CHECKS: &[Check] = &[
    Check {
        id: "N03",
        what: "others go for ports on loopback, and for the host's own loopback",
        without: "net.loopback",
        places: &[],
        run: loopback,
    },
    Check {
        id: "N15",
        what: "a neighbour tells of routers, better ways and addresses",
        without: "net.deaf",
        places: &[],
        run: lies,
    },
];

const STACK: &str = "
services:
  web:
    image: busybox:1
    command: [httpd, -f, -p, '80']
    networks: { one: { ipv4_address: 10.91.0.9, ipv6_address: 'fd91::9' } }
    ports: ['127.0.0.1:8080:80', '[::1]:8080:80', '192.0.2.1:8090:80']
  liar:
    image: busybox:1
    command: [sleep, '100000']
    cap_add: [NET_RAW]
    networks: { one: { ipv4_address: 10.91.0.66, ipv6_address: 'fd91::66' } }
networks:
  one:
    enable_ipv6: true
    ipam: { config: [{ subnet: 10.91.0.0/24 }, { subnet: 'fd91::/64' }] }
";

fn up(bench: &Bench) {
    bench.host.load(&images::busybox());
    bench.host.write("forge.py", include_str!("probes/forge.py"));
    bench.stack(STACK);
    bench.host.berth("up -d").succeeds();
}

fn forge(words: &str) -> String {
    format!("python3 forge.py {words}")
}

/// What arrives on this host for its loopback, though not from there.
const COUNT_STRAYS: &str = "nft 'add table inet seen; \
    add chain inet seen in { type filter hook input priority -400; }; \
    add rule inet seen in iifname != lo ip daddr 127.0.0.0/8 counter; \
    add rule inet seen in iifname != lo ip saddr 127.0.0.0/8 counter; \
    add rule inet seen in iifname != lo ip6 daddr ::1 counter; \
    add rule inet seen in iifname != lo ip6 saddr ::1 counter'";

/// From whom to whom, with which port: all of it the host's own affair.
const STRAYS: [(&str, &str, u16); 6] = [
    ("192.0.2.2", "127.0.0.1", 8080),
    ("127.0.0.1", "127.0.0.1", 8080),
    ("127.0.0.1", "192.0.2.1", 8090),
    ("2001:db8::2", "::1", 8080),
    ("::1", "::1", 8080),
    ("::1", "2001:db8::1", 8080),
];

fn loopback(bench: &Bench) -> Outcome {
    up(bench);
    let host = &bench.host;
    let web = Inside::of(bench, "web");
    let liar = Inside::of(bench, "liar");
    // The relay of the port on `::1` is there, and the ports are open to the host.
    for address in ["127.0.0.1", "[::1]"] {
        let line = format!("curl -s -o /dev/null -m 5 http://{address}:8080/");
        host.shell(&line).succeeds();
    }
    web.shell(COUNT);
    host.shell(COUNT_STRAYS).succeeds();
    let mac =
        |link: &str| host.shell(&format!("cat /sys/class/net/{link}/address")).succeeds().stdout;
    let bridge = host.shell("ls /sys/class/net | grep '^br-'").succeeds().stdout;
    let (wire, bridge) = (mac("wire0"), mac(bridge.trim()));
    host.neighbour(&forge(&format!("syn eth0 {} 192.0.2.2 192.0.2.1 8090", wire.trim())))
        .succeeds();
    let seen = packets(&web.shell(LIST));
    assert!(seen > 0, "what the neighbour sends arrives");
    web.shell(&format!("nft delete table inet seen; {COUNT}"));
    for all in ["0", "1"] {
        // Some programs switch this on for all links; then it is on these rules alone.
        host.shell(&format!("echo {all} >/proc/sys/net/ipv4/conf/wire0/route_localnet")).succeeds();
        for (from, to, port) in STRAYS {
            bench.fired(2);
            let line = format!("syn eth0 {} {from} {to} {port}", wire.trim());
            host.neighbour(&forge(&line)).succeeds();
            let line = format!("syn eth0 {} {from} {to} {port}", bridge.trim());
            liar.shell(&forge(&line));
        }
    }
    let (at_web, at_host) = (packets(&web.shell(LIST)), packets(&host.shell(LIST).stdout));
    let on = "grep -l 1 /proc/sys/net/ipv4/conf/{all,default,lo}/route_localnet";
    let on = host.shell(&format!("bash -c '{on}'")).stdout;
    host.shell("nft delete table inet seen; echo 0 >/proc/sys/net/ipv4/conf/wire0/route_localnet")
        .succeeds();
    holds!(at_web == 0, "{at_web} packets came to the container");
    holds!(at_host == 0, "{at_host} packets came to the host's loopback");
    holds!(on.is_empty(), "packets of the loopback may go anywhere: {on}");
    Ok(())
}

/// What somebody knows of ways and addresses.
const KNOWS: &str = "ip -o address; ip route show table all; ip -6 route show table all; \
    ip route get 192.0.2.2; ip -6 route get 2001:db8::2";

fn lies(bench: &Bench) -> Outcome {
    up(bench);
    let host = &bench.host;
    let (web, liar) = (Inside::of(bench, "web"), Inside::of(bench, "liar"));
    // Each knows where the other is.
    liar.shell("busybox ping -c 1 -W 2 10.91.0.9; busybox ping -6 -c 1 -W 2 fd91::9; true");
    web.shell("busybox ping -c 1 -W 2 10.91.0.66; busybox ping -6 -c 1 -W 2 fd91::66; true");
    host.eventually("its addresses are its own", || {
        let tentative = "ip -o -6 address show tentative";
        web.shell(tentative).is_empty() && host.shell(tentative).stdout.is_empty()
    });
    let of_web = web.shell("ip -o link show eth0 | sed 's/.*ether \\([^ ]*\\).*/\\1/'");
    let at_host = "ip -o address; ip route show table all; ip -6 route show table all";
    let before = (web.shell(KNOWS), host.shell(at_host).succeeds().stdout);
    for _ in 0..3 {
        bench.fired(1);
        liar.shell(&forge(&format!(
            "lies eth0 {} 10.91.0.66 10.91.0.9 10.91.0.1 fd91::66 fd91::9 fd91::1 192.0.2.2 \
             2001:db8::2",
            of_web.trim()
        )));
    }
    let after = (web.shell(KNOWS), host.shell(at_host).succeeds().stdout);
    holds!(after.0 == before.0, "it knew\n{}and now\n{}", before.0, after.0);
    holds!(after.1 == before.1, "the host knew\n{}and now\n{}", before.1, after.1);
    Ok(())
}
