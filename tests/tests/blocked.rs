//! Who reaches what: `berth ports` and `berth doctor` name what is in the way of a published port,
//! rules of the host's owner by name, and say what to do. Those rules are never touched.

#![allow(clippy::unwrap_used)]

use berth_tests::TestHost;
use serde_json::Value;

const STACK: &str = "
services:
  web:
    image: localhost/host
    command: [python3, /srv/who.py]
    volumes: ['.:/srv:ro']
    ports: ['9000:9000']
    networks: [front]
  sleeper:
    image: localhost/host
    command: [sleep, '100000']
    ports: ['127.0.0.1:7000:7000', '192.0.2.1:7001:7001']
    networks: [front]
networks:
  front:
";

fn host() -> TestHost {
    host_of(STACK)
}

fn host_of(stack: &str) -> TestHost {
    let files =
        [("who.py", include_str!("ports/who.py")), ("ask.py", include_str!("ports/ask.py"))];
    TestHost::serving(stack, "web", &files)
}

fn reached(host: &TestHost) -> bool {
    host.neighbour("python3 ask.py tcp 192.0.2.1 9000").code == 0
}

/// The bridge of the network.
fn bridge(host: &TestHost) -> String {
    let network = host.berth("network inspect stack_front").json();
    network[0]["Bridge"].as_str().unwrap().to_owned()
}

/// The row of the port that is published to everybody.
fn row(host: &TestHost) -> Value {
    row_of(host, 9000)
}

fn row_of(host: &TestHost, port: u16) -> Value {
    let rows = host.berth("ports --format json").succeeds();
    let rows: Vec<Value> = rows.stdout.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    rows.into_iter().find(|row| row["PublishedPort"] == port).expect("a row")
}

/// What doctor finds of published ports in all, and of the one of the server.
fn findings(host: &TestHost) -> Vec<Value> {
    let told = host.berth("doctor --format json").json();
    let of_ports = |f: &&Value| {
        let of_web = f["found"].as_str().is_some_and(|found| found.contains("stack-web-1"));
        f["check"] == "published ports" || f["check"] == "published port" && of_web
    };
    told.as_array().unwrap().iter().filter(of_ports).cloned().collect()
}

#[test]
fn ports_tell_who_they_are_for_and_who_listens() {
    let host = host();
    let told = host.berth("ports").succeeds().stdout;
    let lines: Vec<String> =
        told.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(
        lines,
        [
            "NAME HOST TARGET OPEN TO STATE",
            "stack-sleeper-1 127.0.0.1:7000 7000/tcp this host nothing listens on port 7000",
            "stack-sleeper-1 192.0.2.1:7001 7001/tcp 192.0.2.1 (wire0) nothing listens on port 7001",
            "stack-web-1 0.0.0.0:9000 9000/tcp PUBLIC (wire0) open",
            "stack-web-1 [::]:9000 9000/tcp PUBLIC by a relay: rules of the host for input count, not looked at",
        ]
    );
    assert!(reached(&host));
    let row = row(&host);
    assert_eq!((&row["OpenTo"], &row["State"]), (&"public".into(), &"open".into()));
    host.berth("ports --format '{{.Name}} {{.State}}' web")
        .succeeds()
        .stdout_is("stack-web-1 open\nstack-web-1 relayed");
    host.berth("ports --listening").succeeds().stdout_has("9000/udp");
    host.berth("stop -t 0 web").succeeds();
    host.berth("ports web").succeeds().stdout_has("the container is exited");
    host.berth("ports nobody").fails_with(1).stderr_has("no such service");
}

#[test]
fn the_rule_that_blocks_a_port_is_named_with_the_owners_next_move() {
    let host = host();
    let theirs = |rules: &str| {
        host.write("rules.nft", rules);
        host.shell("nft -f rules.nft").succeeds();
        host.shell("nft list table inet theirs").succeeds().stdout
    };
    assert_eq!(findings(&host).len(), 1, "nothing is blocked");
    let before = theirs(
        "table inet theirs {
            chain input { type filter hook input priority 0; policy drop; ct state established accept; iif lo accept; }
            chain forward {
                type filter hook forward priority 0;
                ct state established,related accept
                iifname \"wire*\" tcp dport { 9000, 9443 } counter drop comment \"closed by hand\"
            }
        }",
    );
    assert!(!reached(&host), "the host's firewall wins");
    let rule = "rule 2 of chain forward in table inet theirs: \
                `iifname \"wire*\" tcp dport { 9000, 9443 } counter drop comment \"closed by hand\"`";
    host.berth("ports").succeeds().stdout_has(&format!("blocked by {rule}"));
    let row = row(&host);
    assert_eq!((&row["State"], &row["Obstacles"][0]["Link"]), (&"blocked".into(), &"wire0".into()));
    let found = findings(&host);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0]["found"], format!("9000/tcp of stack-web-1: blocked by {rule}"));
    let next = found[0]["next"].as_str().unwrap();
    assert_eq!(
        next,
        format!(
            "`nft insert rule inet theirs forward oifname \"{}\" ct status dnat accept`",
            bridge(&host)
        )
    );
    let after = host.shell("nft list table inet theirs").succeeds().stdout;
    assert_eq!(after.replace(char::is_numeric, ""), before.replace(char::is_numeric, ""));

    // The next move is one that helps.
    host.write("next.sh", next.trim_matches('`'));
    host.shell("sh next.sh").succeeds();
    assert!(reached(&host));
    assert_eq!(self::row(&host)["State"], "open");
    assert_eq!(findings(&host)[0]["verdict"], "ok");
    host.shell("nft delete table inet theirs").succeeds();
}

#[test]
fn the_next_move_is_in_the_words_of_the_firewall_that_is_there() {
    let host = host();
    let docker = "*filter
:FORWARD DROP [0:0]
:DOCKER-USER - [0:0]
:DOCKER-FORWARD - [0:0]
-A FORWARD -j DOCKER-USER
-A FORWARD -j DOCKER-FORWARD
-A DOCKER-FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A DOCKER-FORWARD -i docker0 -j ACCEPT
COMMIT
";
    host.write("docker.rules", docker);
    host.shell("iptables-nft-restore docker.rules").succeeds();
    assert!(!reached(&host));
    assert_eq!(row(&host)["State"], "blocked");
    let found = findings(&host);
    let words =
        "9000/tcp of stack-web-1: blocked by policy drop of chain FORWARD in table ip filter";
    assert_eq!(found[0]["found"], words);
    let next = found[0]["next"].as_str().unwrap();
    assert!(next.contains(&format!(" -I DOCKER-USER -o {} ", bridge(&host))), "{next}");
    // Two commands: the way there is not enough.
    for (n, command) in next.split('`').enumerate().filter(|(n, _)| n % 2 == 1) {
        host.shell(&command.replacen("iptables", "iptables-nft", 1)).succeeds();
        assert_eq!(reached(&host), n == 3, "{command}");
    }
    assert_eq!(row(&host)["State"], "open");
    host.shell("nft delete table ip filter").succeeds();
}

/// How a connection that a container opens ends: 0, or the number of the error.
fn asks(host: &TestHost, place: &str) -> String {
    let (to, port) = place.rsplit_once(':').unwrap();
    let ask = format!(
        "import socket; s = socket.socket(); s.settimeout(2); print(s.connect_ex(('{to}', {port})))"
    );
    host.berth(&format!("exec -T sleeper python3 -c \"{ask}\"")).succeeds().stdout.trim().to_owned()
}

#[test]
fn up_tells_which_rule_keeps_containers_apart_and_its_next_move_helps() {
    const MADE: &str = "0";
    const REFUSED: &str = "111";
    let host = host();
    host.shell("sysctl -qw net.bridge.bridge-nf-call-iptables=1").succeeds();
    let quiet = host.berth("up -d --force-recreate -t 0").succeeds().stderr;
    assert!(!quiet.contains("do not reach"), "{quiet}");
    let (web, outside) = ("web:9000", "192.0.2.2:1");
    assert_eq!((asks(&host, web).as_str(), asks(&host, outside).as_str()), (MADE, REFUSED));

    // What Docker leaves where it switched forwarding on.
    host.write(
        "docker.rules",
        "*filter\n:FORWARD DROP [0:0]\n:DOCKER-USER - [0:0]\n-A FORWARD -j DOCKER-USER\nCOMMIT\n",
    );
    host.shell("iptables-nft-restore docker.rules").succeeds();
    let up = host.berth("up -d --force-recreate -t 0").succeeds();
    let (bridge, rule) = (bridge(&host), "policy drop of chain FORWARD in table ip filter");
    let inside = format!("`iptables -I DOCKER-USER -i {bridge} -o {bridge} -j ACCEPT`");
    let out = format!(
        "`iptables -I DOCKER-USER -i {bridge} -j ACCEPT` and `iptables -I DOCKER-USER -o {bridge} \
         -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT`"
    );
    up.stderr_has(&format!(
        "containers of stack_front do not reach each other: {rule}; next: {inside}"
    ))
    .stderr_has(&format!(
        "containers of stack_front do not reach anybody outside: {rule}; next: {out}"
    ));
    assert!(![MADE, REFUSED].contains(&asks(&host, web).as_str()));
    assert!(![MADE, REFUSED].contains(&asks(&host, outside).as_str()));

    let follow = |advice: &str| {
        for command in advice.split('`').skip(1).step_by(2) {
            host.shell(&command.replacen("iptables", "iptables-nft", 1)).succeeds();
        }
    };
    follow(&inside);
    assert_eq!(asks(&host, web), MADE);
    assert!(![MADE, REFUSED].contains(&asks(&host, outside).as_str()));
    follow(&out);
    assert_eq!(asks(&host, outside), REFUSED);
    let told = host.berth("doctor").succeeds();
    assert!(!told.stdout.contains("do not reach"), "{}", told.stdout);
    host.shell("nft delete table ip filter").succeeds();
}

#[test]
fn ufw_as_it_is_blocks_and_its_own_word_opens() {
    let host = host();
    // A copy: what ufw writes down is the real host's.
    host.shell(
        "mkdir copies && cp -r /etc/ufw copies/etc && cp -r /lib/ufw copies/lib && \
         cp /etc/default/ufw copies/default && \
         sed -i s/^IPT_MODULES=.*/IPT_MODULES=/ copies/default && mount --bind copies/etc /etc/ufw && \
         mount --bind copies/lib /lib/ufw && mount --bind copies/default /etc/default/ufw && \
         mkdir -p /run/lock && \
         ufw allow 22/tcp && ufw --force enable",
    )
    .succeeds();
    assert!(!reached(&host));
    host.berth("ports").succeeds().stdout_has("blocked by policy drop of chain FORWARD");
    let found = findings(&host);
    let next = found[0]["next"].as_str().unwrap();
    let bridge = bridge(&host);
    assert_eq!(next, format!("`ufw route allow out on {bridge} to any port 9000 proto tcp`"));
    host.shell(next.trim_matches('`')).succeeds();
    assert!(reached(&host), "{}", host.shell("iptables-save").stdout);
    assert_eq!(row(&host)["State"], "open");
    // It leaves its chains behind when it is switched off.
    host.abandon();
}

#[test]
fn a_rule_in_the_way_of_a_routed_port_is_named_and_the_next_move_helps() {
    let host = host_of(&STACK.replace(
        "  front:\n",
        "  front:
    driver_opts: { com.docker.network.bridge.gateway_mode_ipv4: routed }
    ipam: { config: [{ subnet: 10.90.0.0/24 }] }\n",
    ));
    host.neighbour("ip route add 10.90.0.0/24 via 192.0.2.1").succeeds();
    let port = host.berth("port web 9000").succeeds().stdout;
    let address = port.trim().strip_suffix(":9000").unwrap();
    let reached = || host.neighbour(&format!("python3 ask.py tcp {address} 9000")).code == 0;
    assert!(reached());
    host.berth("ports web").succeeds().stdout_has("who has a route (wire0)").stdout_has("open");
    host.shell(
        "nft 'table inet theirs { chain forward { type filter hook forward priority 0; \
         policy drop; ct status dnat accept; ct state established accept; }; }'",
    )
    .succeeds();
    assert!(!reached());
    let row = row(&host);
    assert_eq!((&row["State"], &row["OpenTo"]), (&"blocked".into(), &"routed".into()));
    let next = findings(&host)[0]["next"].as_str().unwrap().to_owned();
    let words = format!("ip daddr {address} tcp dport 9000 accept");
    assert_eq!(next, format!("`nft insert rule inet theirs forward {words}`"));
    host.write("next.sh", next.trim_matches('`'));
    host.shell("sh next.sh").succeeds();
    assert!(reached());
    assert_eq!(self::row(&host)["State"], "open");
    host.shell("nft delete table inet theirs").succeeds();
}

#[test]
fn a_port_at_an_address_that_went_away_is_not_called_open() {
    let host = host();
    let state = || {
        let row = row_of(&host, 7001);
        format!("{}: {}", row["State"].as_str().unwrap(), row["Details"][0].as_str().unwrap())
    };
    let found = || {
        let told = host.berth("doctor --format json").json();
        let of = |f: &&Value| f["check"] == "published port";
        told.as_array().unwrap().iter().find(of).map(|f| f["found"].as_str().unwrap().to_owned())
    };
    assert_eq!(found(), None);
    host.shell("ip link set wire0 down").succeeds();
    assert_eq!(state(), "unreachable: link wire0 with 192.0.2.1 is down");
    assert_eq!(row(&host)["State"], "unreachable");
    host.shell("ip link set wire0 up && ip address del 192.0.2.1/24 dev wire0").succeeds();
    let gone = "no link of this host has 192.0.2.1";
    assert_eq!(state(), format!("unreachable: {gone}"));
    assert_eq!(found().unwrap(), format!("192.0.2.1:7001/tcp of stack-sleeper-1: {gone}"));
    // What went with the link comes back with it.
    host.shell(
        "ip address add 192.0.2.1/24 dev wire0 && ip route add default via 192.0.2.2 && \
         ip address add 2001:db8::1/64 dev wire0 nodad",
    )
    .succeeds();
    assert_eq!(found(), None);
    assert_eq!(state(), "silent: nothing listens on port 7001");
}

#[test]
fn doctor_tells_what_keeps_a_network_apart() {
    let host = host();
    let told = |check: &str| {
        let found = host.berth("doctor --format json").json();
        let of = |f: &&Value| f["check"] == check && f["next"].is_string();
        found.as_array().unwrap().iter().find(of).map(|f| f["found"].as_str().unwrap().to_owned())
    };
    for check in
        ["forwarding", "packet rules", "table inet berth", "overlap", "packet size", "network"]
    {
        assert_eq!(told(check), None, "{check}");
    }
    assert_eq!(told("names outside").unwrap(), "no answer from 127.0.0.1");

    let subnet =
        host.berth("network inspect stack_front").json()[0]["IPAM"]["Config"][0]["Subnet"].clone();
    let vpn = subnet.as_str().unwrap().replace("/16", "/17");
    host.shell(&format!("ip route add {vpn} via 192.0.2.2")).succeeds();
    assert!(told("overlap").unwrap().contains(&format!("the route {vpn} by wire0")));
    host.shell(&format!("ip route del {vpn}")).succeeds();

    host.shell("ip link set wire0 mtu 1400").succeeds();
    assert!(told("packet size").unwrap().contains("wire0 only 1400"));
    host.shell("ip link set wire0 mtu 1500").succeeds();

    // While containers run, it is switched on again.
    host.berth("stop -t 0").succeeds();
    host.shell("sysctl -qw net.ipv4.ip_forward=0").succeeds();
    assert!(told("forwarding").unwrap().starts_with("net.ipv4.ip_forward is off"));
    host.shell("sysctl -qw net.ipv4.ip_forward=1").succeeds();
}
