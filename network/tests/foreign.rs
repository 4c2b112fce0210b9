//! What is said of the packet rules of others is what a machine on the wire really meets.

#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod common;

use std::io::Write;
use std::net::SocketAddr;
use std::process::{Command, Stdio};

use berth_network::foreign::{self, Answer, Story};
use berth_network::links;
use berth_planner::observed::NetworkRecord;
use berth_schema::stack::Protocol;
use berth_schema::stack::Protocol::{Tcp, Udp};
use common::{
    Container, Host, ask_tcp, ask_udp, has, network, on_a_host, output, publish, try_tcp, try_udp,
};

/// A port published to a container, and a machine outside that asks for it.
struct Bench<'a> {
    host: &'a Host,
    web: NetworkRecord,
    outside: Container,
    _server: Container,
}

impl<'a> Bench<'a> {
    fn new(host: &'a Host) -> Bench<'a> {
        let web = host.network(network("web", "10.20.0.0/24"));
        let server = host.container(&web, 2);
        server.serve_tcp(80, "tcp");
        server.serve_udp(53, "udp");
        publish("web-1", Tcp, "8080", "10.20.0.2:80");
        publish("web-1", Udp, "8053", "10.20.0.2:53");
        Bench { host, web, outside: host.outside(9), _server: server }
    }

    fn story(&self, protocol: Protocol, from: Option<&str>) -> Story {
        let links = links::links().unwrap();
        let link = |name: &str| links.iter().find(|link| link.name == name).unwrap().clone();
        let (host, target) = match protocol {
            Udp => ("192.168.7.1:8053", "10.20.0.2:53"),
            _ => ("192.168.7.1:8080", "10.20.0.2:80"),
        };
        Story {
            from: from.map(link),
            bridge: link(&self.web.bridge),
            source: Some(
                if from.is_some() { "192.168.7.9" } else { "192.168.7.1" }.parse().unwrap(),
            ),
            host: host.parse::<SocketAddr>().unwrap(),
            target: target.parse().unwrap(),
            protocol,
        }
    }

    /// What is said of a packet from outside, held against what that machine meets.
    fn told(&self, protocol: Protocol) -> String {
        let answer = foreign::judge(&foreign::read().unwrap(), &self.story(protocol, Some("lan0")));
        let passes = self.outside.within(|| passes(protocol, &answer));
        hold(passes, answer, "from outside")
    }

    /// The same of a packet from the host itself.
    fn told_at_home(&self, protocol: Protocol) -> String {
        let answer = foreign::judge(&foreign::read().unwrap(), &self.story(protocol, None));
        let passes = passes(protocol, &answer);
        hold(passes, answer, "from the host")
    }
}

/// Whether the port answers; who expects that it does is patient.
fn passes(protocol: Protocol, answer: &Answer) -> bool {
    let patient = matches!(answer, Answer::Passes);
    match (protocol, patient) {
        (Udp, true) => ask_udp("192.168.7.1:8053").is_some(),
        (Udp, false) => try_udp("192.168.7.1:8053").is_some(),
        (_, true) => ask_tcp("192.168.7.1:8080").is_some(),
        (_, false) => try_tcp("192.168.7.1:8080").is_some(),
    }
}

fn hold(passes: bool, answer: Answer, who: &str) -> String {
    match answer {
        Answer::Passes => {
            assert!(passes, "said to pass {who}, and does not");
            "passes".to_owned()
        }
        Answer::Blocked(by) => {
            assert!(!passes, "said to be blocked {who} by {by}, and is not");
            let what = if by.of_answer { "the answer is " } else { "" };
            format!("{what}{} by {by}", format!("{:?}", by.reason).to_lowercase())
        }
        Answer::Partly(by) => format!("some: {by}"),
        Answer::Unclear(by) => format!("unclear: {by}"),
    }
}

/// Gives a program its rules on standard input.
fn load(program: &str, arguments: &[&str], rules: &str) {
    let mut child =
        Command::new(program).args(arguments).stdin(Stdio::piped()).spawn().expect(program);
    child.stdin.take().unwrap().write_all(rules.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success(), "{program} refuses:\n{rules}");
}

/// What is said of the port over TCP with these rules of `nft`.
fn with_nft(rules: &'static str, check: impl FnOnce(&Bench<'_>) + Send + 'static) {
    if !has("nft") {
        return;
    }
    on_a_host(move |host| {
        let bench = Bench::new(host);
        load("nft", &["-f", "-"], rules);
        check(&bench);
    });
}

#[test]
fn without_rules_of_others_everything_passes() {
    with_nft("", |bench| {
        assert!(foreign::read().unwrap().is_empty(), "our own are not among them");
        assert_eq!(bench.told(Tcp), "passes");
        assert_eq!(bench.told(Udp), "passes");
        assert_eq!(bench.told_at_home(Tcp), "passes");
    });
}

#[test]
fn a_policy_of_drop_is_named() {
    let rules = "table inet filter { chain forward { type filter hook forward priority 0; policy drop; }; }";
    with_nft(rules, |bench| {
        let told = "dropped by policy drop of chain forward in table inet filter";
        assert_eq!(bench.told(Tcp), told);
        assert_eq!(bench.told(Udp), told);
        assert_eq!(bench.told_at_home(Tcp), "passes", "the host's own packets are not forwarded");
    });
}

#[test]
fn rules_for_input_alone_do_not_stop_what_is_forwarded() {
    let rules = "table inet filter {
        chain input {
            type filter hook input priority filter; policy drop;
            ct state { established, related } accept
            iif lo accept
            tcp dport 22 accept
        }
    }";
    with_nft(rules, |bench| {
        assert_eq!(bench.told(Tcp), "passes");
        assert_eq!(bench.told_at_home(Tcp), "passes");
    });
    let deaf =
        "table inet filter { chain input { type filter hook input priority 0; policy drop; }; }";
    with_nft(deaf, |bench| {
        assert_eq!(bench.told(Tcp), "passes");
        let told = "the answer is dropped by policy drop of chain input in table inet filter";
        assert_eq!(bench.told_at_home(Tcp), told);
    });
}

#[test]
fn the_rule_that_stops_it_is_named_with_its_text() {
    let rules = "table ip filter {
        set good { type ipv4_addr; flags interval; elements = { 10.0.0.0/8, 192.168.8.0/24 } }
        map ports { type inet_proto . inet_service : verdict
            elements = { tcp . 22 : accept, udp . 53 : goto names } }
        chain names { ip saddr @good accept; reject with icmp admin-prohibited comment \"no names\"; }
        chain forward {
            type filter hook forward priority filter - 5;
            ct state established,related accept
            meta l4proto . th dport vmap @ports
            iifname \"lan*\" ip saddr 192.168.0.0/16 tcp dport { 79-81, 443 } counter drop
        }
    }";
    with_nft(rules, |bench| {
        insta::assert_snapshot!(bench.told(Tcp), @r#"dropped by rule 3 of chain forward in table ip filter: `iifname "lan*" ip saddr 192.168.0.0/16 tcp dport { 443, 79-81 } counter drop`"#);
        insta::assert_snapshot!(bench.told(Udp), @r#"rejected by rule 2 of chain names in table ip filter: `reject comment "no names"`"#);
    });
}

#[test]
fn what_lets_it_pass_by_its_original_destination_is_understood() {
    let rules = "table inet filter {
        chain way { ip daddr 10.20.0.0/24 meta l4proto tcp ct original proto-dst 8080 meta mark 0x7 accept; }
        chain early { type filter hook prerouting priority mangle; tcp dport 8080 meta mark set 7; }
        chain forward {
            type filter hook forward priority 0; policy drop;
            ct state vmap { established : accept, invalid : drop }
            ct status dnat jump way
        }
    }";
    with_nft(rules, |bench| {
        assert_eq!(bench.told(Tcp), "passes");
        let told = "dropped by policy drop of chain forward in table inet filter";
        assert_eq!(bench.told(Udp), told);
    });
}

#[test]
fn rules_before_ours_see_the_port_of_the_host() {
    let rules = "table inet raw {
        chain early { type filter hook prerouting priority raw; tcp dport 8080 drop; }
        chain late { type filter hook prerouting priority filter; udp dport 53 reject; udp dport 8053 accept; }
    }";
    with_nft(rules, |bench| {
        let told = "dropped by rule 1 of chain early in table inet raw: `tcp dport 8080 drop`";
        assert_eq!(bench.told(Tcp), told);
        insta::assert_snapshot!(bench.told(Udp), @"rejected by rule 1 of chain late in table inet raw: `udp dport 53 reject`");
    });
}

#[test]
fn an_answer_that_is_not_let_back_is_told() {
    let rules = "table inet filter { chain forward {
        type filter hook forward priority 0; policy drop;
        iifname lan0 oifname br-web accept
    }; }";
    with_nft(rules, |bench| {
        let told = "the answer is dropped by policy drop of chain forward in table inet filter";
        assert_eq!(bench.told(Tcp), told);
    });
}

#[test]
fn rules_that_name_groups_of_links_are_understood() {
    let rules = "table inet filter { chain forward {
        type filter hook forward priority 0; policy drop;
        iifgroup 7 oifgroup 0x62657274 accept
        iifgroup 0x62657274 oifgroup 7 accept
    }; }";
    with_nft(rules, |bench| {
        assert_eq!(bench.told(Tcp), "dropped by policy drop of chain forward in table inet filter");
        bench.host.ip("link set lan0 group 7");
        assert_eq!(bench.told(Tcp), "passes");
        output("nft", "insert rule inet filter forward iifgroup 7 drop");
        insta::assert_snapshot!(bench.told(Tcp), @"dropped by rule 1 of chain forward in table inet filter: `iifgroup 7 drop`");
    });
}

#[test]
fn who_asks_may_decide() {
    let rules = "table inet filter { chain forward {
        type filter hook forward priority 0; policy drop;
        ct state established accept
        ip saddr 192.168.7.0/24 accept
    }; }";
    with_nft(rules, |bench| {
        assert_eq!(bench.told(Tcp), "passes");
        let ruleset = foreign::read().unwrap();
        let story = |source: Option<&str>| Story {
            source: source.map(|text| text.parse().unwrap()),
            ..bench.story(Tcp, Some("lan0"))
        };
        assert!(matches!(foreign::judge(&ruleset, &story(None)), Answer::Partly(_)));
        let other = foreign::judge(&ruleset, &story(Some("192.168.8.1")));
        assert!(matches!(other, Answer::Blocked(_)), "{other:?}");
    });
}

#[test]
fn what_is_not_understood_is_told_as_such() {
    let rules = "table inet filter { chain forward {
        type filter hook forward priority 0;
        meta cpu 4242 drop
        tcp option maxseg size 1-10 drop
    }; }";
    with_nft(rules, |bench| {
        assert!(bench.told(Tcp).starts_with("unclear: rule 1 of chain forward"));
    });
}

#[test]
fn a_table_that_is_switched_off_does_nothing() {
    let rules = "table inet filter { flags dormant; chain forward {
        type filter hook forward priority 0; policy drop; }; }";
    with_nft(rules, |bench| assert_eq!(bench.told(Tcp), "passes"));
}

/// Rules as Docker leaves them, for `iptables-restore`.
const DOCKER: &str = "*filter
:INPUT ACCEPT [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
:DOCKER - [0:0]
:DOCKER-BRIDGE - [0:0]
:DOCKER-CT - [0:0]
:DOCKER-FORWARD - [0:0]
:DOCKER-USER - [0:0]
-A FORWARD -j DOCKER-USER
-A FORWARD -j DOCKER-FORWARD
-A DOCKER ! -i docker0 -o docker0 -j DROP
-A DOCKER-BRIDGE -o docker0 -j DOCKER
-A DOCKER-CT -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A DOCKER-FORWARD -j DOCKER-CT
-A DOCKER-FORWARD -j DOCKER-BRIDGE
-A DOCKER-FORWARD -i docker0 -j ACCEPT
COMMIT
";

#[test]
fn the_rules_of_iptables_are_understood_in_nftables() {
    if !has("iptables-nft") {
        return;
    }
    on_a_host(|host| {
        let bench = Bench::new(host);
        let restore = |rules: &str| load("iptables-nft-restore", &[], rules);
        restore(DOCKER);
        let told = "dropped by policy drop of chain FORWARD in table ip filter";
        assert_eq!(bench.told(Tcp), told);
        let both_ways = "-A DOCKER-USER -i br-web -j ACCEPT
-A DOCKER-USER -o br-web -m conntrack --ctstate DNAT -m comment --comment berth -j ACCEPT
COMMIT";
        restore(&DOCKER.replace("COMMIT", both_ways));
        assert_eq!(bench.told(Tcp), "passes");
        assert_eq!(bench.told(Udp), "passes");
        let only = "-A DOCKER-USER -o br-web -p tcp -m multiport ! --dports 22,79:81 -j REJECT
-A DOCKER-USER -m conntrack --ctorigdstport 8053 -m addrtype ! --dst-type LOCAL -j DROP
-A DOCKER-USER -j ACCEPT
COMMIT";
        restore(&DOCKER.replace("COMMIT", only));
        assert_eq!(bench.told(Tcp), "passes");
        insta::assert_snapshot!(bench.told(Udp), @"dropped by rule 2 of chain DOCKER-USER in table ip filter: `-m conntrack -m addrtype counter drop`");
    });
}

#[test]
fn the_rules_of_ufw_are_understood() {
    if !has("iptables-nft") {
        return;
    }
    on_a_host(|host| {
        let bench = Bench::new(host);
        let rules = include_str!("rules/ufw.rules");
        load("iptables-nft-restore", &[], rules);
        insta::assert_snapshot!(bench.told(Tcp), @"dropped by policy drop of chain FORWARD in table ip filter");
        // As `ufw route allow out on br-web to any port 80 proto tcp` writes it.
        let user = "-A ufw-user-forward -o br-web -p tcp -m tcp --dport 80 -j ACCEPT\nCOMMIT";
        load("iptables-nft-restore", &[], &rules.replace("COMMIT", user));
        assert_eq!(bench.told(Tcp), "passes");
        insta::assert_snapshot!(bench.told(Udp), @"dropped by policy drop of chain FORWARD in table ip filter");
    });
}
