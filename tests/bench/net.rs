//! What the network costs: between two containers by name, and through a published port from outside,
//! from the host and from its loopback, beside a bare veth pair and a bridge without a rule; once with
//! two containers and one port, once with 200 containers on the bridge and 1,000 ports. And what one
//! more published port costs `up`.
//!
//! All ways are taken in turn, round after round, so that what else the machine does meets them all.

use std::fmt::Write;
use std::time::Instant;

use berth_tests::TestHost;
use berth_tests::machine::Place;

/// Where the server of a stack listens, published under the same number.
const PORT: u16 = 7000;

/// A stack whose client asks its server: so many more containers, and so many more ports.
fn stack(others: usize, ports: u16) -> String {
    let mut text = format!(
        "x-host: &host {{ image: localhost/host, stop_grace_period: 0s, volumes: ['.:/srv:ro'] }}\n\
         services:\n  \
           server: {{ <<: *host, command: [/srv/bench, serve, '{PORT}'], ports: ['{PORT}:{PORT}'] }}\n  \
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
    let start = Instant::now();
    host.berth("up -d").succeeds();
    let took = start.elapsed().as_secs_f64() * 1000.0;
    host.eventually("the server listens", || host.berth("logs server").stdout.contains("listens"));
    (host, took)
}

/// A way to a server: its name, and who asks whom.
const WAYS: [(&str, Way); 7] = [
    ("bare veth pair", Way::Bare),
    ("bare bridge", Way::Bridge),
    ("container to container by name", Way::Name { filtered: false }),
    ("the same, with br_netfilter", Way::Name { filtered: true }),
    ("published port, from outside", Way::Outside),
    ("published port, by the host's address", Way::Host),
    ("published port, by 127.0.0.1", Way::Loopback),
];

/// The one of them that looks names up.
const BY_NAME: usize = 2;

#[derive(Clone, Copy)]
enum Way {
    Bare,
    Bridge,
    /// Frames within a bridge pass the packet rules where something has loaded `br_netfilter`.
    Name {
        filtered: bool,
    },
    Outside,
    Host,
    Loopback,
}

fn ask(host: &TestHost, way: Way) -> Figures {
    let ran = match way {
        Way::Bare => host.neighbour(&format!("./bench ask 198.51.100.1 {PORT}")),
        Way::Bridge => host.neighbour(&format!("./bench ask 203.0.113.1 {PORT}")),
        Way::Name { filtered } => {
            let filtered = u8::from(filtered);
            let all = "/proc/sys/net/bridge/bridge-nf-call-ip";
            host.shell(&format!(
                "for file in {all}*; do ! [ -w $file ] || echo {filtered} > $file; done"
            ));
            host.berth(&format!("exec -T client /srv/bench ask server {PORT}"))
        }
        Way::Outside => host.neighbour(&format!("./bench ask 192.0.2.1 {PORT}")),
        Way::Host => host.shell(&format!("./bench ask 192.0.2.1 {PORT}")),
        Way::Loopback => host.shell(&format!("./bench ask 127.0.0.1 {PORT}")),
    };
    let text = ran.succeeds().stdout;
    let mut figures = text.split_whitespace().map(|figure| figure.parse().expect("a figure"));
    [(); 4].map(|()| figures.next().expect("four figures"))
}

/// Another pair out of the neighbour, into a namespace without any rule, and a bridge into the same; a
/// server at their far end.
const BARE: &str = "set -e
    space() {
        unshare --net sleep 100000 & eval $1=$!
        while [ \"$(readlink /proc/$!/ns/net)\" = \"$(readlink /proc/self/ns/net)\" ]; do sleep 0.01; done
    }
    space far; space middle
    far() { nsenter -t $far -n \"$@\"; }
    middle() { nsenter -t $middle -n \"$@\"; }
    ip link add bare0 type veth peer name bare1 netns $far
    ip link add bare2 type veth peer name port2 netns $middle
    middle ip link add port3 type veth peer name bare3 netns $far
    middle ip link add bridge0 type bridge
    for file in /proc/sys/net/bridge/bridge-nf-call-ip*; do
        ! [ -e $file ] || middle sh -c \"echo 0 > $file\"
    done
    for port in port2 port3; do middle ip link set $port master bridge0 up; done
    middle ip link set bridge0 up
    ip address add 198.51.100.2/24 dev bare0; ip link set bare0 up
    ip address add 203.0.113.2/24 dev bare2; ip link set bare2 up
    far ip link set lo up
    far ip address add 198.51.100.1/24 dev bare1; far ip link set bare1 up
    far ip address add 203.0.113.1/24 dev bare3; far ip link set bare3 up
    exec nsenter -t $far -n ./bench serve 7000";

/// Takes so many rounds and prints them, then what ports cost.
pub fn measure(rounds: usize) {
    let (small, _) = host(0, 0);
    let (large, _) = host(197, 1000);
    let hosts = [&small, &large];
    for host in hosts {
        host.start_shell(Place::Neighbour, BARE).prints("listens");
    }
    let mut taken: Vec<Round> = Vec::new();
    for _ in 0..rounds {
        taken.push(WAYS.map(|(_, way)| hosts.map(|host| ask(host, way))));
    }
    println!("{rounds} rounds; median, and its ratio to that of the bare pair");
    for (figure, name) in ["Gbit/s", "questions/s", "connections/s"].into_iter().enumerate() {
        println!("\n{name:<40}{:>24}{:>30}", "2 containers, 1 port", "200 containers, 1,001 ports");
        for (way, (name, _)) in WAYS.iter().enumerate() {
            let value = |way: usize, host: usize| {
                median(taken.iter().map(|round| round[way][host][figure]))
            };
            let of = |host| {
                format!("{:.1} ({:.2})", value(way, host), value(way, host) / value(0, host))
            };
            println!("{name:<40}{:>24}{:>30}", of(0), of(1));
        }
    }
    let lookups = |host: usize| median(taken.iter().map(|round| round[BY_NAME][host][3]));
    println!("\n{:<40}{:>24.0}{:>30.0}", "lookups of a name/s", lookups(0), lookups(1));
    // What serves the bare pairs goes with the machines.
    small.abandon();
    large.abandon();
    ports(rounds);
}

/// What a round took: by way, by host, by figure.
type Round = [[Figures; 2]; WAYS.len()];

/// What the asking program prints.
type Figures = [f64; 4];

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
