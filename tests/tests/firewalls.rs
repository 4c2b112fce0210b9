//! What holds when others change the host's firewall and network under berth.

use std::time::Duration;

use berth_tests::TestHost;
use berth_tests::machine::Place;

const STACK: &str = "
services:
  server:
    image: localhost/host
    command: [python3, /srv/who.py]
    volumes: ['.:/srv:ro']
    ports: ['9000:9000']
    networks: [front]
  second:
    image: localhost/host
    command: [python3, /srv/who.py]
    volumes: ['.:/srv:ro']
    networks: [front]
networks:
  front:
";

fn host_with(stack: &str) -> TestHost {
    let files =
        [("who.py", include_str!("ports/who.py")), ("ask.py", include_str!("ports/ask.py"))];
    TestHost::serving(stack, "server", &files)
}

fn answers(host: &TestHost) -> bool {
    host.neighbour("python3 ask.py tcp 192.0.2.1 9000").code == 0
}

fn repairs(host: &TestHost) -> usize {
    let told = host.berth("events --since 10m --until 0s --filter type=network").succeeds();
    told.stdout.matches(" network repair stack_front ").count()
}

/// Name of the bridge, and its address with the prefix length.
fn bridge(host: &TestHost) -> (String, String) {
    let shown = host.shell("ip -o -4 address show | grep ' br-'").succeeds().stdout;
    let words: Vec<&str> = shown.split_whitespace().collect();
    (words[1].to_owned(), words[3].to_owned())
}

#[test]
fn flushed_rules_come_back_without_a_command_and_the_events_say_so() {
    let host = host_with(STACK);
    for time in 1..=3 {
        host.shell("nft flush ruleset").succeeds();
        host.eventually("the port answers again", || answers(&host));
        host.eventually("it is told", || repairs(&host) == time);
    }
    host.berth("plan").succeeds().stdout_has("nothing to do");
}

#[test]
fn one_element_and_one_rule_that_somebody_took_away_come_back() {
    let host = host_with(STACK);
    host.shell("nft delete element inet berth ports4 '{ tcp . 9000 }'").succeeds();
    host.eventually("the element is back", || answers(&host));
    host.shell("nft flush chain inet berth passing").succeeds();
    host.eventually("the rules are back", || {
        host.shell("nft list chain inet berth passing").stdout.contains("from anywhere else")
    });
    host.shell("nft add table inet berth '{ flags dormant; }'").succeeds();
    host.eventually("the table is switched on", || {
        !host.shell("nft list table inet berth").stdout.contains("dormant")
    });
}

#[test]
fn the_next_monitor_watches_when_the_one_that_did_is_killed() {
    let host = host_with(STACK);
    for service in ["server", "second"] {
        host.kill("KILL", host.monitor_of(service));
        host.shell("nft flush ruleset").succeeds();
        if service == "server" {
            host.eventually("the port answers again", || answers(&host));
        }
    }
    // Nobody is left to watch; the next `up` brings new monitors.
    assert!(!answers(&host));
    host.berth("up -d").succeeds();
    host.eventually("the port answers again", || answers(&host));
    host.shell("nft flush ruleset").succeeds();
    host.eventually("the port answers again", || answers(&host));
}

#[test]
fn forwarding_address_and_link_come_back_and_containers_stay_connected() {
    let host = host_with(STACK);
    let process = host.pid_of("server");
    let (bridge, address) = bridge(&host);
    host.shell("sysctl -qw net.ipv4.ip_forward=0").succeeds();
    host.eventually("the port answers again", || answers(&host));
    host.shell(&format!("ip address flush dev {bridge}")).succeeds();
    host.eventually("the address is back", || {
        host.shell(&format!("ip address show dev {bridge}")).stdout.contains(&address)
    });
    host.shell(&format!("ip link set {bridge} down")).succeeds();
    host.eventually("the port answers again", || answers(&host));
    assert_eq!(host.pid_of("server"), process);
    let told = host.berth("events --since 10m --until 0s").succeeds();
    for what in ["net.ipv4.ip_forward", &format!("address {address}"), &format!("link {bridge}")] {
        assert!(told.stdout.contains(what), "{what}: {told}");
    }
}

#[test]
fn a_bridge_that_lost_its_group_gets_it_back_without_a_command() {
    let host = host_with(STACK);
    let (bridge, _) = bridge(&host);
    let group = || host.shell(&format!("ip -o link show {bridge}")).succeeds().stdout;
    let whole = group();
    // The sentry looks by itself soon after it began; what is found later it was told.
    std::thread::sleep(Duration::from_millis(1500));
    // The group of internal networks is ours as well, and not the right one.
    host.shell(&format!("ip link set {bridge} group $((0x62657275))")).succeeds();
    host.eventually("it is in its own group", || group() == whole);
    host.shell(&format!("ip link set {bridge} group default")).succeeds();
    host.eventually("the port answers again", || answers(&host));
    assert_eq!(group(), whole);
    host.eventually("it is told", || {
        host.berth("events --since 10m --until 0s").stdout.contains("link group")
    });
    host.berth("plan").succeeds().stdout_has("nothing to do");
}

#[test]
fn the_table_of_a_newer_version_is_left_alone() {
    let host = host_with(STACK);
    let (bridge, _) = bridge(&host);
    host.write(
        "newer",
        &format!(
            "delete table inet berth\ntable inet berth {{\n comment \"rules 4000000000 0 x\"\n \
             set bridges {{\n type ifname\n elements = {{ \"{bridge}\" }}\n }}\n}}\n"
        ),
    );
    host.shell("nft -f newer").succeeds();
    // Who restores the links has looked at the rules before.
    host.shell("sysctl -qw net.ipv4.ip_forward=0").succeeds();
    host.eventually("forwarding is back", || {
        host.shell("sysctl -n net.ipv4.ip_forward").stdout.trim() == "1"
    });
    host.shell("nft list table inet berth").succeeds().stdout_has("rules 4000000000 0 x");
    host.berth("plan").succeeds().stdout_has("nothing to do");
    host.shell("nft delete table inet berth").succeeds();
    host.eventually("the port answers again", || answers(&host));
}

#[test]
fn what_belongs_to_others_stays_and_another_states_networks_come_back_too() {
    let host = host_with(STACK);
    host.write("other.yaml", &STACK.replace("9000:9000", "9001:9000"));
    let root = host.machine().dir().join("other").display().to_string();
    let program = berth_tests::host::berth_program();
    let other = |words: &str| {
        let program = program.display();
        host.shell(&format!("mkdir -p {root} && BERTH_ROOT={root} {program} -f other.yaml {words}"))
    };
    host.shell(&format!("mkdir -p {root}/lib && cp -r /var/lib/berth/images {root}/lib"))
        .succeeds();
    other("up -d --allow all").succeeds();
    let elsewhere = || host.neighbour("python3 ask.py tcp 192.0.2.1 9001").code == 0;
    host.eventually("the other one answers", elsewhere);
    host.shell("nft flush ruleset && nft add table ip mine").succeeds();
    host.eventually("both answer again", || answers(&host) && elsewhere());
    host.shell("nft delete table ip mine").succeeds();
    other("down").succeeds();
    host.shell(&format!("rm -r {root}")).succeeds();
}

/// Sends back what it is sent.
const ECHO: &str = "
import socket
server = socket.create_server(('', 9000))
print('listens', flush=True)
connections = []
while True:
    connection, _ = server.accept()
    connection.settimeout(30)
    connection.sendall(connection.recv(9))
    connections.append(connection)
    connection.sendall(connection.recv(9))
";

/// Connects, waits until there is a file, and asks once more.
const WAITS: &str = "
import os, socket, time
connection = socket.create_connection(('192.0.2.1', 9000), timeout=10)
connection.sendall(b'one')
print(connection.recv(9).decode(), flush=True)
for _ in range(600):
    if os.path.exists('go'):
        break
    time.sleep(0.05)
try:
    connection.sendall(b'two')
    print(connection.recv(9).decode(), flush=True)
except ConnectionResetError:
    print('reset', flush=True)
";

#[test]
fn a_connection_that_was_silent_while_rules_were_gone_goes_on_and_one_that_was_not_is_reset() {
    let host = TestHost::with("compose.yaml", &STACK.replacen("who.py", "echo.py", 1));
    host.write("who.py", include_str!("ports/who.py"));
    host.write("echo.py", ECHO);
    host.write("waits.py", WAITS);
    host.berth("up -d").succeeds();
    let connect = || {
        host.shell("rm -f go").succeeds();
        host.listens("server");
        let client = host.start_shell(Place::Neighbour, "exec python3 waits.py");
        client.prints("one");
        client
    };
    let silent = connect();
    host.shell("nft flush ruleset").succeeds();
    host.eventually("it is told", || repairs(&host) == 1);
    host.write("go", "");
    assert_eq!(silent.ends().stdout, "one\ntwo\n");

    let speaking = connect();
    flush_for_good(&host);
    host.write("go", "");
    assert_eq!(speaking.ends().stdout, "one\nreset\n");
    // With the rules the server's end of it hears that it is over.
    host.berth("up -d").succeeds();
}

/// Nobody watches any more, so what was flushed stays so.
fn flush_for_good(host: &TestHost) {
    for service in ["server", "second"] {
        host.kill("KILL", host.monitor_of(service));
    }
    host.shell("nft flush ruleset").succeeds();
}

#[test]
fn without_any_rules_nobody_gets_to_a_container_but_its_network() {
    let host = host_with(&STACK.replace("  front:\n", "  front: { enable_ipv6: true }\n"));
    let shown = host.berth("exec -T server ip -o address show eth0").succeeds().stdout;
    let addresses: Vec<&str> = shown
        .split_whitespace()
        .filter_map(|word| word.split_once('/').map(|(address, _)| address))
        .filter(|address| !address.starts_with("fe80"))
        .collect();
    assert_eq!(addresses.len(), 2, "{shown}");
    for address in &addresses {
        let via = if address.contains(':') { "2001:db8::1" } else { "192.0.2.1" };
        host.neighbour(&format!("ip route add {address} via {via}")).succeeds();
        host.shell(&format!("python3 ask.py tcp {address} 9000")).succeeds();
    }
    flush_for_good(&host);
    for address in &addresses {
        let asked = format!("python3 ask.py tcp {address} 9000");
        assert_ne!(host.neighbour(&asked).code, 0, "{address} from outside");
        let asked = format!("exec -T second python3 /srv/ask.py tcp {address} 9000");
        host.berth(&asked).succeeds();
    }
    host.berth("up -d").succeeds();
    host.eventually("the port answers again", || answers(&host));
}

/// Rules of a host's owner, as the programs that manage them write them.
const OWNERS: [(&str, &str, &str); 3] = [
    (
        "nft -f -",
        "table inet filter {\n chain input {\n type filter hook input priority 0; policy drop;\n \
         ct state established,related accept\n iifname \"lo\" accept\n }\n chain forward {\n \
         type filter hook forward priority 0; policy drop;\n ct state established,related accept\n }\n}\n",
        "nft add rule inet filter forward ct status dnat accept",
    ),
    (
        // As firewalld has it: after everybody else's, and with a reject at the end.
        "nft -f -",
        "table inet firewalld {\n chain filter_FORWARD {\n type filter hook forward priority 10; \
         policy accept;\n ct state established,related accept\n jump allowed\n \
         reject with icmpx type admin-prohibited\n }\n chain allowed {\n }\n}\n",
        "nft add rule inet firewalld allowed ct status dnat accept",
    ),
    (
        // As Docker and ufw have it.
        "iptables-nft-restore",
        "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD DROP [0:0]\n:OUTPUT ACCEPT [0:0]\n:ufw-user-forward - \
         [0:0]\n-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n-A FORWARD -j \
         ufw-user-forward\nCOMMIT\n",
        "iptables-nft -A ufw-user-forward -m conntrack --ctstate DNAT -j ACCEPT",
    ),
];

#[test]
fn the_firewall_of_the_host_has_the_last_word_until_its_owner_says_otherwise() {
    let host = host_with(STACK);
    for (load, rules, allow) in OWNERS {
        host.write("rules", rules);
        host.shell(&format!("{load} <rules")).succeeds();
        // The counters of iptables are no rules.
        let theirs = || {
            let all =
                host.shell("nft -s list ruleset | sed 's/counter packets [0-9]* bytes [0-9]*//'");
            let all = all.succeeds().stdout;
            let tables: Vec<&str> = all.split("\n}\n").collect();
            let theirs = tables.into_iter().filter(|table| !table.contains("table inet berth"));
            theirs.collect::<Vec<_>>().join("\n")
        };
        let before = theirs();
        assert!(!answers(&host), "{rules}");
        let out = "exec -T server python3 -c \"import socket; \
                   socket.create_connection(('192.0.2.2', 9), timeout=2)\"";
        // Nobody listens there: who gets that far is refused, and not kept waiting.
        assert!(!host.berth(out).stderr.contains("refused"), "{rules}");
        host.shell("nft delete table inet berth").succeeds();
        host.eventually("our table is back", || host.shell("nft list table inet berth").code == 0);
        host.berth("down").succeeds();
        host.berth("up -d").succeeds();
        assert_eq!(theirs(), before);
        assert!(!answers(&host), "{rules}");
        host.shell(allow).succeeds();
        host.eventually("the port answers once it is allowed", || answers(&host));
        host.shell("nft delete table inet filter; nft delete table inet firewalld; nft delete table ip filter");
        host.eventually("the port answers without them", || answers(&host));
    }
}

#[test]
fn hosts_that_look_back_along_the_way_of_packets_strictly_work() {
    for strictness in ["1", "2"] {
        let host = TestHost::bare();
        host.shell(&format!(
            "for f in /proc/sys/net/ipv4/conf/*/rp_filter; do echo {strictness} >$f; done"
        ))
        .succeeds();
        host.write("compose.yaml", STACK);
        host.write("who.py", include_str!("ports/who.py"));
        host.write("ask.py", include_str!("ports/ask.py"));
        host.berth("up -d").succeeds();
        host.eventually("it answers from outside", || answers(&host));
        for address in ["192.0.2.1", "127.0.0.1"] {
            host.shell(&format!("python3 ask.py tcp {address} 9000")).succeeds();
        }
        host.berth("exec -T second python3 /srv/ask.py tcp 192.0.2.1 9000").succeeds();
    }
}
