//! What holds of networks beside the host's own firewall and when somebody flushes it, and what of the
//! host containers find there.

use berth_tests::TestHost;
use berth_tests::machine::Place;

use crate::bench::{Bench, Check, Outcome, holds};

pub(crate) const CHECKS: &[Check] = &[
    Check {
        id: "N05",
        what: "a port is published on a host whose firewall drops what comes in and what passes",
        without: "network.own_table",
        places: &[],
        run: owner,
    },
    Check {
        id: "N06",
        what: "rules flushed again and again, and a neighbour that routes to containers",
        without: "network.second_wall",
        places: &[],
        run: flushed,
    },
    Check {
        id: "N16",
        what: "a container connects to every port of the host",
        without: "socket.no_port",
        places: &[],
        run: ports_of_the_host,
    },
];

const STACK: &str = "
services:
  web:
    image: busybox:1
    command: [httpd, -f, -p, '80']
    ports: ['8080:80']
  other:
    image: busybox:1
    command: [sleep, '100000']
";

fn prepare(bench: &Bench) -> &TestHost {
    bench.host.load(&berth_tests::images::busybox());
    bench.stack(STACK);
    &bench.host
}

/// The address in the line of `ip -o -4 address` for a link.
fn address(shown: &str) -> String {
    let word = shown.split_whitespace().nth(3).and_then(|word| word.split('/').next());
    word.expect("an address").to_owned()
}

/// What loads rules of a host's owner, the rules, the chain that blocks, and where the port is asked for.
const OWNERS: [(&str, &str, &str, &[&str]); 2] = [
    (
        "nft -f -",
        "table inet filter {\n chain input {\n type filter hook input priority 0; policy drop;\n \
         ct state established,related accept\n meta l4proto icmpv6 accept\n iifname \"lo\" accept\n }\n \
         chain forward {\n type filter hook forward priority 0; policy drop;\n \
         ct state established,related accept\n }\n}\n",
        "policy drop of chain forward in table inet filter",
        &["192.0.2.1", "[2001:db8::1]"],
    ),
    (
        "iptables-nft-restore",
        "*filter\n:INPUT DROP [0:0]\n:FORWARD DROP [0:0]\n:OUTPUT ACCEPT [0:0]\n:ufw-user-forward - \
         [0:0]\n-A INPUT -i lo -j ACCEPT\n-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n\
         -A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n-A FORWARD -j \
         ufw-user-forward\nCOMMIT\n",
        "policy drop of chain FORWARD in table ip filter",
        &["192.0.2.1"],
    ),
];

fn owner(bench: &Bench) -> Outcome {
    let host = prepare(bench);
    // As they stand, without the counts of packets.
    let theirs = || {
        let all = host.shell("nft -s list ruleset | sed 's/counter packets [0-9]* bytes [0-9]*//'");
        let all = all.succeeds().stdout;
        let tables = all.split("\n}\n").filter(|table| !table.contains("table inet berth"));
        tables.collect::<Vec<_>>().join("\n")
    };
    let answers = |at: &str| {
        host.neighbour(&format!("curl -s -o /dev/null -m 1 http://{at}:8080/")).code == 0
    };
    for (load, rules, chain, addresses) in OWNERS {
        host.write("rules", rules);
        host.shell(&format!("{load} <rules")).succeeds();
        let before = theirs();
        assert!(before.contains("policy drop"), "{before}");
        host.berth("up -d").succeeds();
        for at in addresses {
            bench.fired(1);
            holds!(!answers(at), "{at} answers in spite of {chain}");
        }
        let after = theirs();
        holds!(after == before, "rules of the host's owner became {after}");
        let told = host.berth("doctor").stdout;
        holds!(told.contains(chain), "doctor does not name it: {told}");
        host.shell("nft delete table inet berth").succeeds();
        host.eventually("our table is back", || host.shell("nft list table inet berth").code == 0);
        holds!(theirs() == before, "a repair changed rules of the host's owner");
        holds!(!answers(addresses[0]), "after a repair it answers in spite of {chain}");
        // It is their rules that it was.
        host.shell("nft delete table inet filter; nft delete table ip filter");
        for at in addresses {
            host.eventually("the port answers without them", || answers(at));
        }
        host.berth("down -t 0").succeeds();
    }
    Ok(())
}

/// Times the rules are flushed, 0.3 s one after another: more often than they are restored.
const FLUSHES: usize = 20;

fn flushed(bench: &Bench) -> Outcome {
    let host = prepare(bench);
    host.berth("up -d").succeeds();
    let shown = host.berth("exec -T web ip -o -4 address show eth0").succeeds().stdout;
    let address = address(&shown);
    host.neighbour(&format!("ip route add {address} via 192.0.2.1")).succeeds();
    let probe = format!(
        "while [ ! -e over ]; do curl -s -o /dev/null -m 0.3 http://{address}/ && echo in || echo \
         out; sleep 0.1; done"
    );
    let prober = host.start_shell(Place::Neighbour, &probe);
    prober.prints("out");
    host.shell(&format!(
        "for i in $(seq {FLUSHES}); do nft flush ruleset; sleep 0.3; done; nft flush ruleset"
    ))
    .succeeds();
    host.eventually("the published port is back", || {
        host.neighbour("curl -s -o /dev/null -m 1 http://192.0.2.1:8080/").code == 0
    });
    host.write("over", "");
    let told = prober.ends().stdout;
    bench.fired(told.lines().count());
    let got_in = told.lines().filter(|line| *line == "in").count();
    holds!(got_in == 0, "the neighbour reached an unpublished port {got_in} times");
    Ok(())
}

fn ports_of_the_host(bench: &Bench) -> Outcome {
    const PUBLISHED: u16 = 8080;
    let host = prepare(bench);
    host.berth("up -d").succeeds();
    let shown = host.shell("ip -o -4 address show | grep ' br-'").succeeds().stdout;
    let gateway = address(&shown);
    // Who listens, as the kernel has it: a scan of all ports would only take longer.
    let listening = "awk 'FNR > 1 && $4 == \"0A\" { print $2 }' /proc/net/tcp /proc/net/tcp6";
    let listening = host.shell(listening).succeeds().stdout;
    let mut ports: Vec<u16> = listening
        .lines()
        .filter_map(|line| u16::from_str_radix(line.rsplit_once(':')?.1, 16).ok())
        .collect();
    // The published one shows that the way is open.
    ports.push(PUBLISHED);
    ports.sort_unstable();
    ports.dedup();
    let reached = |port: &u16| {
        bench.fired(1);
        host.berth(&format!("exec -T other nc -w 2 {gateway} {port} -e true")).code == 0
    };
    ports.retain(reached);
    assert!(ports.contains(&PUBLISHED), "no way to the host at all");
    ports.retain(|port| *port != PUBLISHED);
    holds!(ports.is_empty(), "a container reached {ports:?} of the host");
    Ok(())
}
