//! What the owner of a firewall can do to let a published port or a network through, in the words of
//! that firewall. The rules themselves are theirs: berth never touches them.

use berth_network::firewall::Published;
use berth_network::foreign::{Hook, Obstacle, Reason, Ruleset};
use berth_schema::stack::Protocol;

use crate::ports;

/// Who keeps the rules that a packet was stopped by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Keeper {
    Ufw,
    Firewalld,
    Docker,
    /// Somebody with `iptables`, or a program like it.
    Iptables,
    Nft,
}

/// The next move against an obstacle in the way of `port`, which leads to `bridge`.
pub(crate) fn against(ruleset: &Ruleset, by: &Obstacle, bridge: &str, port: &Published) -> String {
    if by.reason == Reason::Elsewhere {
        return format!("publish another port, or take that rule away: it takes {port} for itself");
    }
    // Only forwarding is what their own words are about.
    match keeper(ruleset, by) {
        Keeper::Ufw if by.hook == Hook::Forward => {
            let (target, protocol) = (port.target.port(), ports::protocol(port.protocol));
            format!("`ufw route allow out on {bridge} to any port {target} proto {protocol}`")
        }
        Keeper::Firewalld if by.hook == Hook::Forward => firewalld(bridge),
        Keeper::Docker if by.hook == Hook::Forward => {
            let there = in_front_of_iptables(by, Keeper::Docker, &to_iptables(bridge, port));
            let again = in_front_of_iptables(by, Keeper::Docker, &format!("-i {bridge}"));
            format!("{there} and {again}")
        }
        Keeper::Docker | Keeper::Ufw | Keeper::Iptables => iptables(by, bridge, port),
        Keeper::Firewalld | Keeper::Nft => nft(by, bridge, port),
    }
}

/// The next move against an obstacle between containers of one network.
pub(crate) fn inside(ruleset: &Ruleset, by: &Obstacle, bridge: &str) -> String {
    match keeper(ruleset, by) {
        Keeper::Ufw if by.hook == Hook::Forward => {
            format!("`ufw route allow in on {bridge} out on {bridge}`")
        }
        Keeper::Firewalld if by.hook == Hook::Forward => firewalld(bridge),
        Keeper::Firewalld | Keeper::Nft => in_front_of_nft(by, &format!("iifname \"{bridge}\"")),
        keeper => in_front_of_iptables(by, keeper, &format!("-i {bridge} -o {bridge}")),
    }
}

/// The next move against an obstacle between a network and the outside.
pub(crate) fn outward(ruleset: &Ruleset, by: &Obstacle, bridge: &str) -> String {
    let forward = by.hook == Hook::Forward;
    let back = "-m conntrack --ctstate ESTABLISHED,RELATED";
    match keeper(ruleset, by) {
        Keeper::Ufw if forward => format!("`ufw route allow in on {bridge}`"),
        Keeper::Firewalld if forward => firewalld(bridge),
        Keeper::Firewalld | Keeper::Nft if by.of_answer => {
            in_front_of_nft(by, "ct state established")
        }
        Keeper::Firewalld | Keeper::Nft => in_front_of_nft(by, &format!("iifname \"{bridge}\"")),
        keeper if forward => {
            let there = in_front_of_iptables(by, keeper, &format!("-i {bridge}"));
            let again = in_front_of_iptables(by, keeper, &format!("-o {bridge} {back}"));
            format!("{there} and {again}")
        }
        keeper if by.of_answer => in_front_of_iptables(by, keeper, back),
        keeper => in_front_of_iptables(by, keeper, &format!("-i {bridge}")),
    }
}

fn firewalld(bridge: &str) -> String {
    let policy = |words: &str| format!("`firewall-cmd --permanent {words}`");
    [
        policy("--new-policy berth"),
        policy("--policy berth --add-ingress-zone ANY --add-egress-zone trusted"),
        policy("--policy berth --set-target ACCEPT"),
        policy(&format!("--zone trusted --add-interface {bridge}")),
        "`firewall-cmd --reload`".to_owned(),
    ]
    .join(", ")
}

fn in_front_of_iptables(by: &Obstacle, keeper: Keeper, words: &str) -> String {
    let table = if by.table == "filter" { String::new() } else { format!(" -t {}", by.table) };
    let chain = match keeper {
        Keeper::Docker if by.hook == Hook::Forward => "DOCKER-USER",
        _ => &by.base,
    };
    format!("`{}{table} -I {chain} {words} -j ACCEPT`", program(by))
}

fn in_front_of_nft(by: &Obstacle, words: &str) -> String {
    format!("`nft insert rule {} {} {} {words} accept`", by.family, by.table, by.base)
}

fn keeper(ruleset: &Ruleset, by: &Obstacle) -> Keeper {
    let of_iptables = matches!(by.family, "ip" | "ip6")
        && by.base.chars().all(|letter| letter.is_ascii_uppercase());
    match by.table.as_str() {
        "firewalld" => Keeper::Firewalld,
        "filter" if of_iptables && ruleset.has_chain("ufw-user-forward") => Keeper::Ufw,
        "filter" if of_iptables && ruleset.has_chain("DOCKER-USER") => Keeper::Docker,
        _ if of_iptables => Keeper::Iptables,
        _ => Keeper::Nft,
    }
}

/// The program that keeps the table.
fn program(by: &Obstacle) -> &'static str {
    match by.family {
        "ip6" => "ip6tables",
        _ => "iptables",
    }
}

/// A rule in front of the others. The answer comes in by the bridge; before our own table, what
/// is asked for has no bridge yet.
fn iptables(by: &Obstacle, bridge: &str, port: &Published) -> String {
    let words = match (by.hook, by.of_answer) {
        (_, true) => format!("-i {bridge} -m conntrack --ctstate ESTABLISHED"),
        (Hook::Forward | Hook::Postrouting, _) => to_iptables(bridge, port),
        _ => return in_front(by),
    };
    in_front_of_iptables(by, Keeper::Iptables, &words)
}

fn nft(by: &Obstacle, bridge: &str, port: &Published) -> String {
    let words = match (by.hook, by.of_answer) {
        (_, true) => format!("iifname \"{bridge}\" ct state established"),
        (Hook::Forward | Hook::Postrouting, _) if port.is_own() => {
            let (to, protocol) = (port.target, ports::protocol(port.protocol));
            let family = if to.is_ipv4() { "ip" } else { "ip6" };
            format!("{family} daddr {} {protocol} dport {}", to.ip(), to.port())
        }
        (Hook::Forward | Hook::Postrouting, _) => {
            format!("oifname \"{bridge}\" ct status dnat")
        }
        (Hook::Prerouting, _) if port.protocol == Protocol::Tcp => {
            format!("tcp dport {{ {}, {} }}", port.port, port.target.port())
        }
        _ => return in_front(by),
    };
    in_front_of_nft(by, &words)
}

/// What tells packets to the port on their last steps to the container.
fn to_iptables(bridge: &str, port: &Published) -> String {
    let (to, protocol) = (port.target, ports::protocol(port.protocol));
    match port.is_own() {
        true => format!("-d {} -p {protocol} --dport {}", to.ip(), to.port()),
        false => format!("-o {bridge} -m conntrack --ctstate DNAT"),
    }
}

fn in_front(by: &Obstacle) -> String {
    format!("put a rule that accepts it in front, in chain {} of table {}", by.base, by.table)
}
