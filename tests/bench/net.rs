//! What the network costs: between two containers by name, and through a published port from outside,
//! from the host and from its loopback, beside a bare veth pair, a bridge without a rule, and a host
//! that has the one rule a published port cannot do without; once with two containers and one port,
//! once with 200 containers on the bridge and 1,000 ports. And what one more published port costs `up`.
//!
//! All ways lead to the same container, to a program that only answers and to nginx, which wrk asks on
//! 32 connections for a file of 1 KiB. All are taken in turn, round after round, so that what else the machine does meets them all.

use std::fmt::Write;
use std::time::Instant;

use berth_tests::TestHost;
use berth_tests::machine::Place;

/// Where the server of a stack listens, published under the same number.
const PORT: u16 = 7000;

/// Where its web server listens, published too.
const WEB: u16 = 7080;

const NGINX: &str =
    "daemon off; master_process off; pid /tmp/nginx.pid; error_log stderr; events {}
    http { access_log off;
    client_body_temp_path /tmp/body; proxy_temp_path /tmp/proxy; fastcgi_temp_path /tmp/fastcgi;
    uwsgi_temp_path /tmp/uwsgi; scgi_temp_path /tmp/scgi; server { listen 7080; listen [::]:7080; root /srv/www; } }";

/// A stack whose client asks its server: so many more containers, and so many more ports.
fn stack(others: usize, ports: u16) -> String {
    let mut text = format!(
        "x-host: &host {{ image: localhost/host, stop_grace_period: 0s, volumes: ['.:/srv:ro'] }}\n\
         services:\n  \
           server: {{ <<: *host, command: [sh, -c, '/srv/bench serve {PORT} & exec nginx -c /srv/nginx.conf'], \
           ports: ['{PORT}:{PORT}', '{WEB}:{WEB}'] }}\n  \
           client: {{ <<: *host, command: [sleep, '100000'] }}\n"
    );
    if ports > 0 {
        let (first, last) = (20_000, 19_999 + ports);
        let _ = writeln!(
            text,
            "  many: {{ <<: *host, command: [sleep, '100000'], ports: ['{first}-{last}:{first}-{last}'] }}"
        );
    }
    for number in 0..others {
        let _ = writeln!(text, "  s{number}: {{ <<: *host, command: [sleep, '100000'] }}");
    }
    text
}

/// A machine with such a stack up, and the milliseconds that took.
fn host(others: usize, ports: u16) -> (TestHost, f64) {
    let host = TestHost::with("compose.yaml", &stack(others, ports));
    std::fs::copy(std::env::current_exe().unwrap(), host.project("bench")).unwrap();
    host.write("nginx.conf", NGINX);
    host.write("www/1k", &"x".repeat(1024));
    let start = Instant::now();
    host.berth("up -d").succeeds();
    let took = start.elapsed().as_secs_f64() * 1000.0;
    host.eventually("the server listens", || host.berth("logs server").stdout.contains("listens"));
    (host, took)
}

/// The ways to a server: what a line of them is called, who asks whom, and the line whose host does the
/// same with one rule.
const WAYS: [(&str, Way, Option<usize>); 10] = [
    ("bare veth pair", Way::Bare, None),
    ("bare bridge", Way::Bridge, None),
    ("bare host, one rule, from outside", Way::PlainOutside, None),
    ("bare host, one rule, by its address", Way::PlainHost, None),
    ("bare host, two rules, by 127.0.0.1", Way::PlainLoopback, None),
    ("container to container by name", Way::Name { filtered: false }, Some(1)),
    ("the same, with br_netfilter", Way::Name { filtered: true }, Some(1)),
    ("published port, from outside", Way::Outside, Some(2)),
    ("published port, by the host's address", Way::Host, Some(3)),
    ("published port, by 127.0.0.1", Way::Loopback, Some(4)),
];

/// The one of them that looks names up.
const BY_NAME: usize = 5;

#[derive(Clone, Copy)]
enum Way {
    Bare,
    Bridge,
    /// The least that publishing a port takes: a bridge, and a rule that leads to it what asks the host.
    PlainOutside,
    PlainHost,
    PlainLoopback,
    /// Frames within a bridge pass the packet rules where something has loaded `br_netfilter`.
    Name {
        filtered: bool,
    },
    Outside,
    Host,
    Loopback,
}

/// Where a way leads, and what runs a program at its near end.
fn near(host: &TestHost, way: Way) -> (&'static str, impl Fn(&str) -> String) {
    let to = match way {
        Way::Bare => "198.51.100.1",
        Way::Bridge => "203.0.113.1",
        Way::PlainOutside | Way::PlainHost => "198.18.1.1",
        Way::Name { .. } => "server",
        Way::Outside | Way::Host => "192.0.2.1",
        Way::Loopback | Way::PlainLoopback => "127.0.0.1",
    };
    let run = move |words: &str| match way {
        Way::Bare | Way::Bridge | Way::Outside | Way::PlainOutside => {
            host.neighbour(words).succeeds().stdout
        }
        Way::PlainHost | Way::PlainLoopback => {
            let inside = format!("exec nsenter -t $(cat plain.pid) -n {words}");
            host.neighbour(&inside).succeeds().stdout
        }
        Way::Name { .. } => {
            host.berth(&format!("exec -T -w /srv client {words}")).succeeds().stdout
        }
        Way::Host | Way::Loopback => host.shell(words).succeeds().stdout,
    };
    (to, run)
}

fn ask(host: &TestHost, way: Way) -> Figures {
    let filtered = u8::from(matches!(way, Way::Name { filtered: true }));
    let all = "/proc/sys/net/bridge/bridge-nf-call-ip";
    host.shell(&format!("for file in {all}*; do ! [ -w $file ] || echo {filtered} > $file; done"));
    let (to, run) = near(host, way);
    let text = run(&format!("./bench ask {to} {PORT}"));
    let mut figures = text.split_whitespace().map(|figure| figure.parse().expect("a figure"));
    let [bulk, questions, connections, lookups] =
        [(); 4].map(|()| figures.next().expect("four figures"));
    let text = run(&format!("wrk -t1 -c32 -d1s http://{to}:{WEB}/1k"));
    let requests = text.split_once("Requests/sec:").expect("a figure of wrk").1;
    let requests = requests.split_whitespace().next().and_then(|figure| figure.parse().ok());
    [bulk, requests.expect("a number"), questions, connections, lookups]
}

/// Another pair out of the neighbour, into the server's namespace; one over a bridge in a namespace
/// without any rule; and a host with a bridge to the server and a rule. `$far` is the server.
const BARE: &str = "set -e
    space() { unshare --net sleep 100000 & while [ \"$(readlink /proc/$!/ns/net)\" = \"$(readlink /proc/self/ns/net)\" ]
        do sleep 0.01; done; }
    space; middle=$!; space; plain=$!; echo $plain > plain.pid
    far() { nsenter -t $far -n \"$@\"; }
    middle() { nsenter -t $middle -n \"$@\"; }
    plain() { nsenter -t $plain -n \"$@\"; }
    ip link add bare0 type veth peer name bare1 netns $far
    ip address add 198.51.100.2/24 dev bare0; ip link set bare0 up
    far ip address add 198.51.100.1/24 dev bare1; far ip link set bare1 up

    ip link add bare2 type veth peer name port2 netns $middle
    middle ip link add port3 type veth peer name bare3 netns $far
    middle ip link add bridge0 type bridge
    for port in port2 port3; do middle ip link set $port master bridge0 up; done
    middle ip link set bridge0 up
    ip address add 203.0.113.2/24 dev bare2; ip link set bare2 up
    far ip address add 203.0.113.1/24 dev bare3; far ip link set bare3 up

    ip link add bare4 type veth peer name wide0 netns $plain
    plain ip link add port5 type veth peer name bare5 netns $far
    plain ip link add bridge0 type bridge
    plain ip link set lo up; plain ip link set port5 master bridge0 up; plain ip link set bridge0 up
    plain ip address add 198.18.1.1/24 dev wide0; plain ip link set wide0 up
    plain ip address add 198.18.0.1/24 dev bridge0
    plain sh -c 'echo 1 > /proc/sys/net/ipv4/ip_forward; echo 1 > /proc/sys/net/ipv4/conf/bridge0/route_localnet'
    ip address add 198.18.1.2/24 dev bare4; ip link set bare4 up
    far ip address add 198.18.0.2/24 dev bare5; far ip link set bare5 up
    far ip route add 198.18.1.0/24 via 198.18.0.1
    plain nft 'table ip nat {
        chain in { type nat hook prerouting priority -100; ip daddr 198.18.1.1 tcp dport { 7000, 7080 } dnat to 198.18.0.2; };
        chain own { type nat hook output priority -100; fib daddr type local tcp dport { 7000, 7080 } dnat to 198.18.0.2; };
        chain out { type nat hook postrouting priority 100; ip saddr 127.0.0.0/8 masquerade; }; }'

    for space in middle plain; do for file in /proc/sys/net/bridge/bridge-nf-call-ip*; do
        ! [ -e $file ] || $space sh -c \"echo 0 > $file\"
    done; done
    echo ready; exec sleep 100000";

/// Takes so many rounds and prints them, then what ports cost.
pub fn measure(rounds: usize) {
    let (small, _) = host(0, 0);
    let (large, _) = host(197, 1000);
    let hosts = [&small, &large];
    for host in hosts {
        let far = host.pid_of("server").pid;
        host.start_shell(Place::Neighbour, &format!("far={far}; {BARE}")).prints("ready");
    }
    let mut taken: Vec<Round> = Vec::new();
    for _ in 0..rounds {
        taken.push(WAYS.map(|(_, way, _)| hosts.map(|host| ask(host, way))));
    }
    println!("{rounds} rounds; median, its ratio to that of the bare pair and of the bare host");
    for (figure, name) in
        ["Gbit/s", "requests/s", "questions/s", "connections/s"].into_iter().enumerate()
    {
        println!("\n{name:<40}{:>24}{:>30}", "2 containers, 1 port", "200 containers, 1,001 ports");
        for (way, (name, _, beside)) in WAYS.iter().enumerate() {
            let value = |way: usize, host: usize| {
                median(taken.iter().map(|round| round[way][host][figure]))
            };
            let of = |host| {
                let ratio = |to| format!("{:.2}", value(way, host) / value(to, host));
                let beside = beside.map_or_else(String::new, |to| format!(", {}", ratio(to)));
                format!("{:.1} ({}{beside})", value(way, host), ratio(0))
            };
            println!("{name:<40}{:>24}{:>30}", of(0), of(1));
        }
    }
    let lookups = |host: usize| median(taken.iter().map(|round| round[BY_NAME][host][4]));
    println!("\n{:<40}{:>24.0}{:>30.0}", "lookups of a name/s", lookups(0), lookups(1));
    // What holds the bare pairs goes with the machines.
    small.abandon();
    large.abandon();
    ports(rounds);
}

/// What a round took: by way, by host, by figure.
type Round = [[Figures; 2]; WAYS.len()];

/// What is measured of a way: the asking program's figures, and wrk's second among them.
type Figures = [f64; 5];

/// `up` of one container with more and more ports.
fn ports(rounds: usize) {
    println!(
        "\n{:<40}{:>24}{:>30}",
        "published ports", "up, ms (median)", "µs for each further port"
    );
    let mut before = (0.0, 0);
    for ports in [1, 250, 500, 1000] {
        let took = median((0..rounds).map(|_| host(0, ports).1));
        let each = match before.1 {
            0 => String::new(),
            fewer => format!("{:.0}", (took - before.0) * 1000.0 / f64::from(ports - fewer)),
        };
        println!("{ports:<40}{took:>24.1}{each:>30}");
        before = (took, ports);
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
