//! Who reaches whom: every kind of client, every kind of place, TCP and UDP, IPv4 and IPv6.

use std::collections::BTreeMap;

use berth_tests::TestHost;
use berth_tests::machine::Place;
use insta::assert_snapshot;
use nix::sys::signal::Signal;

/// `web` has a port for everybody (9000), one for this host (9001) and one that is not published
/// (9002); `peer` is on its network, the others are not.
const STACK: &str = "
x-client: &client
  image: localhost/host
  command: [sleep, '100000']
  stop_grace_period: 0s
  volumes: ['.:/srv:ro']
x-server: &server
  <<: *client
  command: [python3, /srv/serve.py, '9000', '9001', '9002']
services:
  web:
    <<: *server
    networks: [front]
    ports:
      - '9000:9000'
      - '9000:9000/udp'
      - '127.0.0.1:9001:9001'
      - '127.0.0.1:9001:9001/udp'
      - '[::1]:9001:9001'
      - '[::1]:9001:9001/udp'
  peer: { <<: *client, networks: [front] }
  stranger: { <<: *client, networks: [other] }
  hidden: { <<: *server, networks: [closed] }
networks:
  front: { enable_ipv6: true }
  other: { enable_ipv6: true }
  closed: { enable_ipv6: true, internal: true }
";

const SECOND: &str = "
name: second
services:
  foreign:
    image: localhost/host
    command: [sleep, '100000']
    stop_grace_period: 0s
    volumes: ['.:/srv:ro']
networks:
  default: { enable_ipv6: true }
";

/// Who asks: a machine outside that routes all it can through this one, this machine, and containers: the
/// one that is asked, one of its network, one of another, one of an internal one, one of another stack.
const CLIENTS: [&str; 7] = ["outside", "host", "web", "peer", "stranger", "hidden", "foreign"];

/// Both stacks, up, and somebody outside who answers and sends all it can through this machine.
fn two_stacks() -> TestHost {
    let host = TestHost::with("compose.yaml", STACK);
    host.write("second/compose.yaml", SECOND);
    for folder in ["", "second/"] {
        host.write(&format!("{folder}probe.py"), include_str!("reach/probe.py"));
        host.write(&format!("{folder}serve.py"), include_str!("reach/serve.py"));
    }
    host.berth("up -d").succeeds();
    host.berth("-f second/compose.yaml up -d").succeeds();
    for service in ["web", "hidden"] {
        host.eventually("the server listens", || {
            host.berth(&format!("logs --no-log-prefix {service}")).stdout.contains("listens")
        });
    }
    host.neighbour("ip route add default via 192.0.2.1 && ip -6 route add default via 2001:db8::1")
        .succeeds();
    host
}

/// IPv4 and IPv6 address of a service's first link.
fn addresses(host: &TestHost, service: &str) -> [String; 2] {
    ["-4", "-6"].map(|family| {
        let line = format!("exec -T {service} ip -o {family} address show eth0 scope global");
        let text = host.berth(&line).succeeds().stdout;
        let address = text.split_whitespace().nth(3).and_then(|a| a.split('/').next());
        address.unwrap_or_else(|| panic!("{service} has no address: {text}")).to_owned()
    })
}

/// The first address of the subnet of such an address: the gateway.
fn gateway(address: &str) -> String {
    match address.rsplit_once("::") {
        Some((net, _)) => format!("{net}::1"),
        None => format!("{}.1", address.rsplit_once('.').map_or(address, |(net, _)| net)),
    }
}

/// What a client is answered by TCP and UDP at each place.
fn ask(host: &TestHost, client: &str, places: &[String]) -> Vec<[String; 2]> {
    let places = places.join(" ");
    let ran = match client {
        "outside" => host.neighbour(&format!("python3 probe.py {places}")),
        "host" => host.shell(&format!("python3 probe.py {places}")),
        "foreign" => host.berth(&format!(
            "-f second/compose.yaml exec -T foreign python3 /srv/probe.py {places}"
        )),
        service => host.berth(&format!("exec -T {service} python3 /srv/probe.py {places}")),
    };
    let ran = ran.succeeds();
    let answers = ran.stdout.lines().map(|line| {
        let (tcp, udp) = line.split_once(' ').unwrap_or((line, "-"));
        [tcp.to_owned(), udp.to_owned()]
    });
    answers.collect()
}

/// A cell: `t` and `u` for what IPv4 was answered by, `T` and `U` for IPv6.
fn cell(v4: &[String; 2], v6: &[String; 2]) -> String {
    let answered = [(&v4[0], 't'), (&v4[1], 'u'), (&v6[0], 'T'), (&v6[1], 'U')];
    answered.map(|(answer, letter)| if answer == "-" { '.' } else { letter }).iter().collect()
}

#[test]
fn everybody_reaches_what_is_published_for_them_and_nothing_else() {
    let host = two_stacks();
    let outside = host.start_shell(Place::Neighbour, "exec python3 serve.py 9100");
    outside.prints("listens");
    let [web4, web6] = addresses(&host, "web");
    let [hidden4, hidden6] = addresses(&host, "hidden");
    let (gate4, gate6) = (gateway(&web4), gateway(&web6));
    let place = |address: &str, port: u16| format!("{address},{port}");
    let columns: [(&str, String, String); 9] = [
        ("published", place("192.0.2.1", 9000), place("2001:db8::1", 9000)),
        ("by its gateway", place(&gate4, 9000), place(&gate6, 9000)),
        ("localhost", place("127.0.0.1", 9000), place("::1", 9000)),
        ("for localhost", place("127.0.0.1", 9001), place("::1", 9001)),
        ("that from afar", place("192.0.2.1", 9001), place("2001:db8::1", 9001)),
        ("around the port", place(&web4, 9000), place(&web6, 9000)),
        ("unpublished", place(&web4, 9002), place(&web6, 9002)),
        ("internal", place(&hidden4, 9000), place(&hidden6, 9000)),
        ("the world", place("192.0.2.2", 9100), place("2001:db8::2", 9100)),
    ];
    let places: Vec<String> =
        columns.iter().flat_map(|(_, v4, v6)| [v4.clone(), v6.clone()]).collect();
    let mut table = format!("{:16}", "");
    CLIENTS.iter().for_each(|client| table += &format!("{client:>9}"));
    let answers: BTreeMap<&str, Vec<[String; 2]>> =
        CLIENTS.iter().map(|client| (*client, ask(&host, client, &places))).collect();
    for (index, (what, ..)) in columns.iter().enumerate() {
        table += &format!("\n{what:16}");
        for client in CLIENTS {
            let answers = &answers[client][2 * index..2 * index + 2];
            table += &format!("{:>9}", cell(&answers[0], &answers[1]));
        }
    }
    assert_snapshot!(table, @r"
                      outside     host      web     peer stranger   hidden  foreign
    published            tuTU     tuTU     tuTU     tuTU     tuTU     ....     tuTU
    by its gateway       tuTU     tuTU     tuTU     tuTU     tuTU     ....     tuTU
    localhost            ....     tuTU     tuTU     ....     ....     tuTU     ....
    for localhost        ....     tuTU     tuTU     ....     ....     tuTU     ....
    that from afar       ....     ....     ....     ....     ....     ....     ....
    around the port      ....     tuTU     tuTU     tuTU     ....     ....     ....
    unpublished          ....     tuTU     tuTU     tuTU     ....     ....     ....
    internal             ....     tuTU     ....     ....     ....     tuTU     ....
    the world            tuTU     tuTU     tuTU     tuTU     tuTU     ....     tuTU
    ");

    // Who comes from outside is seen with its own address, and so is a neighbour by the network.
    assert_eq!(answers["outside"][0], ["192.0.2.2", "192.0.2.2"]);
    assert_eq!(answers["outside"][1], ["2001:db8::2", "2001:db8::2"]);
    let [peer4, peer6] = addresses(&host, "peer");
    assert_eq!(answers["peer"][12], [peer4.clone(), peer4]);
    assert_eq!(answers["peer"][13], [peer6.clone(), peer6]);
    // Who goes out is seen with this machine's.
    assert_eq!(answers["web"][16], ["192.0.2.1", "192.0.2.1"]);
    assert_eq!(answers["web"][17], ["2001:db8::1", "2001:db8::1"]);
    outside.signal(Signal::SIGKILL);
    let _ = outside.ends();
    host.berth("-p second down").succeeds();
}
