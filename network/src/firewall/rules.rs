//! The table itself: its chains, and the rules that look things up in its sets.

use std::fmt::Write as _;

use sha2::{Digest, Sha256};

use super::Base;
use super::sets::{
    BRIDGES, HELD, HELD4_AT, HELD6_AT, HOME4, HOME6, INTERNAL, MASKED4, MASKED6, OPEN4, OPEN6,
    PORTS4, PORTS4_AT, PORTS6, PORTS6_AT, ROUTED4, ROUTED6, SAME, SETS, SHARES4, SHARES4_AT,
    SHARES6, SHARES6_AT, TRUSTED, UNPROTECTED4, UNPROTECTED6,
};
use crate::group;
use crate::nft::{BaseChain, Batch, Family, Hook, Rule, Table, Verdict};

/// Our table.
pub(crate) const TABLE: Table = Table { family: Family::Inet, name: "berth" };

/// Of these sets and rules, among all that berth has had: programs of several versions may be at
/// work on one host, and the table goes one way only.
///
/// To be raised with any change of them.
pub const REVISION: u32 = 5;

/// Every set of rules that berth has had: how many rules, and a digest of sets and rules. Who changes
/// them adds a line, as a test sees to: where two programs had different rules of one revision, each
/// would put its own back for ever.
const REVISIONS: [&str; REVISION as usize] = [
    "42 895517f9283413fe",
    "43 53843659900a97ba",
    "47 a35558c05530c6c9",
    "47 edacf63dfbfe3753",
    "48 75e6d0addf53555c",
];

const ICMP: u8 = 1;
const ICMP6: u8 = 58;

/// Before conntrack, which is to know nothing of a connection that waits.
const GUARD: BaseChain =
    BaseChain { name: "guard", kind: "filter", hook: Hook::Prerouting, priority: -300 };
const ARRIVING: BaseChain =
    BaseChain { name: "arriving", kind: "nat", hook: Hook::Prerouting, priority: -100 };
const OWN: BaseChain = BaseChain { name: "own", kind: "nat", hook: Hook::Output, priority: -100 };
const PASSING: BaseChain =
    BaseChain { name: "passing", kind: "filter", hook: Hook::Forward, priority: 0 };
const LEAVING: BaseChain =
    BaseChain { name: "leaving", kind: "nat", hook: Hook::Postrouting, priority: 100 };
/// After everybody else's, since it writes the whole mark.
const LAST: BaseChain =
    BaseChain { name: "last", kind: "filter", hook: Hook::Postrouting, priority: 1000 };
/// After translation.
const TURNED: BaseChain =
    BaseChain { name: "turned", kind: "filter", hook: Hook::Prerouting, priority: -90 };
const BACK: &str = "back";
const PUBLISHED: &str = "published";
/// Before conntrack as well.
const GOING: BaseChain =
    BaseChain { name: "going", kind: "filter", hook: Hook::Output, priority: -290 };
const WAITING: &str = "waiting";
/// Last of all: the mark decides on nothing any more but what sockets take.
const HERE: BaseChain =
    BaseChain { name: "here", kind: "filter", hook: Hook::Input, priority: 1000 };

/// Adds the table with its sets and rules; `exclusive` fails when it is there.
pub(super) fn add(batch: &mut Batch, exclusive: bool) {
    batch.add_table(&identity(), exclusive);
    content(batch);
}

/// The comment of a table of just these rules: their revision, how many they are, and a digest of
/// sets and rules.
fn identity() -> String {
    // A program that leaves rules out has others.
    let about = match cfg!(feature = "sabotage") {
        true => digested(),
        false => REVISIONS[REVISIONS.len() - 1].to_owned(),
    };
    format!("rules {REVISION} {about}")
}

/// A line of [`REVISIONS`] for the rules as they are.
fn digested() -> String {
    let mut batch = Batch::new(TABLE);
    let rules = content(&mut batch);
    let digest = Sha256::digest(batch.bytes());
    let mut line = format!("{rules} ");
    for byte in digest.iter().take(8) {
        // Writing to a string cannot fail.
        let _ = write!(line, "{byte:02x}");
    }
    line
}

/// What a table with this comment and so many rules is to these rules. One that has not as many as
/// its comment says, somebody took some away, which is worse than any version.
pub(super) fn judge(comment: &str, rules: usize) -> Base {
    let mut words = comment.split(' ');
    let word = words.next();
    let [revision, count] = [(); 2].map(|()| words.next().and_then(|word| word.parse().ok()));
    if word != Some("rules") || count != Some(rules) {
        return Base::Different;
    }
    match revision {
        Some(revision) if revision > REVISION as usize => Base::Newer,
        Some(_) if comment == identity() => Base::Current,
        Some(_) | None => Base::Different,
    }
}

fn content(batch: &mut Batch) -> usize {
    for set in SETS {
        batch.add_set(set);
    }
    let chains = [GUARD, GOING, ARRIVING, OWN, PASSING, LEAVING, TURNED, LAST, HERE];
    batch.add_chain(PUBLISHED);
    batch.add_chain(WAITING);
    batch.add_chain(BACK);
    for chain in chains {
        batch.add_base_chain(chain);
    }
    let lists = [
        (PUBLISHED, published()),
        (WAITING, waiting()),
        (BACK, back()),
        (GUARD.name, guard()),
        (GOING.name, first_for_this_host()),
        (ARRIVING.name, for_this_host()),
        (OWN.name, of_this_host()),
        (PASSING.name, passing()),
        (LEAVING.name, leaving()),
        (TURNED.name, turned()),
        (LAST.name, last()),
        (HERE.name, here()),
    ];
    let mut count = 0;
    for (chain, rules) in lists {
        for rule in rules {
            batch.add_rule(chain, rule);
            count += 1;
        }
    }
    count
}

/// Every packet comes by here: each rule begins with what excludes most of them.
fn guard() -> Vec<Rule> {
    [loopback(), first_for_this_host()].concat()
}

/// Our bridges may carry packets of 127.0.0.0/8 (`route_localnet`), so that the host's own
/// loopback reaches published ports. Nobody else may use that.
fn loopback() -> Vec<Rule> {
    #[cfg(feature = "sabotage")]
    if crate::sabotage::is_removed("net.loopback") {
        return Vec::new();
    }
    let rule = || Rule::new("loopback stays inside");
    vec![
        rule().if_to_loopback().if_not_from_loopback_link().verdict(Verdict::Drop),
        rule().if_from_loopback().if_not_from_loopback_link().verdict(Verdict::Drop),
    ]
}

fn for_this_host() -> Vec<Rule> {
    vec![Rule::new("for this host").if_to_this_host().verdict(Verdict::Jump(PUBLISHED))]
}

/// The kernel lets no packet from `::1` leave the loopback link, so a relay of the host answers
/// there.
fn of_this_host() -> Vec<Rule> {
    let loopback = Rule::new("a relay answers there").if_to_ipv6_loopback();
    [loopback.verdict(Verdict::Accept)].into_iter().chain(for_this_host()).collect()
}

/// One address of the host first, then all of them; shares before whoever has it whole.
fn published() -> Vec<Rule> {
    let one = || Rule::new("published on one address");
    let all = || Rule::new("published on all addresses");
    vec![
        one()
            .if_ipv4()
            .load_percent()
            .load_ipv4_destination()
            .load_protocol()
            .load_port()
            .destination_ipv4_from(SHARES4_AT),
        one()
            .if_ipv4()
            .load_ipv4_destination()
            .load_protocol()
            .load_port()
            .destination_ipv4_from(PORTS4_AT),
        all().if_ipv4().load_percent().load_protocol().load_port().destination_ipv4_from(SHARES4),
        all().if_ipv4().load_protocol().load_port().destination_ipv4_from(PORTS4),
        one()
            .if_ipv6()
            .load_percent()
            .load_ipv6_destination()
            .load_protocol()
            .load_port()
            .destination_ipv6_from(SHARES6_AT),
        one()
            .if_ipv6()
            .load_ipv6_destination()
            .load_protocol()
            .load_port()
            .destination_ipv6_from(PORTS6_AT),
        all().if_ipv6().load_percent().load_protocol().load_port().destination_ipv6_from(SHARES6),
        all().if_ipv6().load_protocol().load_port().destination_ipv6_from(PORTS6),
    ]
}

fn first_for_this_host() -> Vec<Rule> {
    let rule = Rule::new("a new connection to this host");
    vec![rule.if_first_of_tcp().if_to_this_host().verdict(Verdict::Jump(WAITING))]
}

/// Who asks is not told: TCP asks again, and by then the port may lead somewhere.
fn waiting() -> Vec<Rule> {
    let rule = || Rule::new("it waits");
    vec![
        rule().load_port().if_in(HELD).verdict(Verdict::Drop),
        rule().if_ipv4().load_ipv4_destination().load_port().if_in(HELD4_AT).verdict(Verdict::Drop),
        rule().if_ipv6().load_ipv6_destination().load_port().if_in(HELD6_AT).verdict(Verdict::Drop),
    ]
}

/// What passes through: within a network all, into one only by a published port.
fn passing() -> Vec<Rule> {
    let mut rules = vec![
        Rule::new("answers").if_known_flow().verdict(Verdict::Accept),
        Rule::new("within a network")
            .load_in_link()
            .load_out_link()
            .if_in(SAME)
            .verdict(Verdict::Accept),
    ];
    rules.extend(internal());
    rules.push(Rule::new("by a published port").if_translated().verdict(Verdict::Accept));
    // What follows is of packets into a network; the way out is not to pay for it.
    let elsewhere = Rule::new("to anywhere else").load_out_link().if_not_in(BRIDGES);
    rules.push(elsewhere.verdict(Verdict::Accept));
    rules.extend(own_addresses());
    rules.extend(isolated());
    rules
}

fn internal() -> Vec<Rule> {
    #[cfg(feature = "sabotage")]
    if crate::sabotage::is_removed("net.internal") {
        return Vec::new();
    }
    vec![
        Rule::new("out of an internal network")
            .load_in_link()
            .if_in(INTERNAL)
            .verdict(Verdict::Drop),
        Rule::new("into an internal network")
            .load_out_link()
            .if_in(INTERNAL)
            .verdict(Verdict::Drop),
    ]
}

/// What keeps a network to itself.
fn isolated() -> Vec<Rule> {
    #[cfg(feature = "sabotage")]
    if crate::sabotage::is_removed("net.isolation") {
        return Vec::new();
    }
    let mut rules = without_protection();
    rules.push(
        Rule::new("from anywhere else").load_out_link().if_in(BRIDGES).verdict(Verdict::Drop),
    );
    rules
}

/// Who reaches containers at their own addresses: whoever has a route, where the network says so.
fn own_addresses() -> Vec<Rule> {
    let routed = || Rule::new("to a routed network").load_out_link();
    let trusted = || Rule::new("from a trusted link").load_in_link().load_out_link().if_in(TRUSTED);
    let open4 = |rule: Rule| {
        rule.if_ipv4().load_ipv4_destination().load_protocol().load_port().if_in(OPEN4)
    };
    let open6 = |rule: Rule| {
        rule.if_ipv6().load_ipv6_destination().load_protocol().load_port().if_in(OPEN6)
    };
    vec![
        open4(routed().if_in(ROUTED4)).verdict(Verdict::Accept),
        open6(routed().if_in(ROUTED6)).verdict(Verdict::Accept),
        routed().if_in(ROUTED4).if_protocol(ICMP).verdict(Verdict::Accept),
        routed().if_in(ROUTED6).if_protocol(ICMP6).verdict(Verdict::Accept),
        open4(trusted()).verdict(Verdict::Accept),
        open6(trusted()).verdict(Verdict::Accept),
    ]
}

/// Every port of a network that is not protected, but not from our other networks.
fn without_protection() -> Vec<Rule> {
    let unprotected = || Rule::new("to a network without protection").load_out_link();
    vec![
        Rule::new("from one network to another")
            .load_in_link()
            .if_in(BRIDGES)
            .load_out_link()
            .if_in(BRIDGES)
            .verdict(Verdict::Drop),
        unprotected().if_in(UNPROTECTED4).if_ipv4().verdict(Verdict::Accept),
        unprotected().if_in(UNPROTECTED6).if_ipv6().verdict(Verdict::Accept),
    ]
}

/// Whose address a packet leaves with.
fn leaving() -> Vec<Rule> {
    vec![
        Rule::new("the host's loopback to a container")
            .if_from_loopback()
            .load_out_link()
            .if_in(BRIDGES)
            .masquerade(),
        // The one that answers must not answer its neighbour directly: that one asked the host.
        Rule::new("by a published port to its own network")
            .if_ipv4()
            .if_translated()
            .load_ipv4_source()
            .load_out_link()
            .if_in(HOME4)
            .masquerade(),
        Rule::new("by a published port to its own network")
            .if_ipv6()
            .if_translated()
            .load_ipv6_source()
            .load_out_link()
            .if_in(HOME6)
            .masquerade(),
        Rule::new("within a network")
            .load_in_link()
            .load_out_link()
            .if_in(SAME)
            .verdict(Verdict::Accept),
        Rule::new("out of a network").if_ipv4().load_in_link().if_in(MASKED4).masquerade(),
        Rule::new("out of a network").if_ipv6().load_in_link().if_in(MASKED6).masquerade(),
    ]
}

/// The mark of what these rules have let through to a container, for the second wall.
pub(crate) const LET_THROUGH: u32 = u32::from_be_bytes(*b"bert");
/// Mark of what comes out of an internal network to this host: a relay there does not take it.
pub const NOT_RELAYED: u32 = u32::from_be_bytes(*b"beri");

/// Where frames within a bridge pass packet rules, one that is led back into it leaves by the bridge
/// without the rules of what leaves: the first of a flow, and then, as the one that answers is asked
/// with an address of the host, whatever has both addresses translated.
///
/// This is asked of every packet, so in one rule, and most end there. From a bridge without its group
/// nothing gets the mark: that is closed.
fn turned() -> Vec<Rule> {
    let rule = Rule::new("by a published port, out of a network").if_translated();
    vec![rule.if_from_group(group::EITHER, group::BRIDGES).verdict(Verdict::Jump(BACK))]
}

/// The mark decides on routes and queues of the host's owner, so it is written only where the way
/// leads into a bridge of ours in any case.
fn back() -> Vec<Rule> {
    let rule = || Rule::new("let through, back into a network");
    let leads_back = |rule: Rule| rule.load_link_to_destination().if_in(BRIDGES);
    let ways = [rule().if_translated_both_ways(), rule().if_new_flow()];
    // What a container answers the host's own loopback is translated both ways as well, and to look
    // its way up costs more than all the rest.
    let answer = Rule::new("an answer to the host's loopback").if_to_loopback();
    let ways = ways.map(|rule| leads_back(rule).set_mark(LET_THROUGH));
    [answer.verdict(Verdict::Accept)].into_iter().chain(ways).collect()
}

/// What comes here was not dropped. The mark ends at the border of the container's namespace.
///
/// Every packet that leaves comes by, so the group alone is asked for: what goes to a bridge without
/// it lacks the mark, and the second wall drops it.
fn last() -> Vec<Rule> {
    let rule = Rule::new("let through").if_to_group(group::EITHER, group::BRIDGES);
    vec![rule.set_mark(LET_THROUGH)]
}

/// What the kernel has led nowhere else may come to a relay, which would lead it out all the same.
///
/// Relays drop what has the mark, so a bridge without its group must not be without it. Most packets
/// that come here are of flows that were answered: nobody answers one that was marked from its first
/// packet on. The others are asked for the name as well.
fn here() -> Vec<Rule> {
    #[cfg(feature = "sabotage")]
    if crate::sabotage::is_removed("net.internal") {
        return Vec::new();
    }
    let rule = || Rule::new("out of an internal network");
    vec![
        rule().if_from_group(u32::MAX, group::INTERNAL).set_mark(NOT_RELAYED),
        Rule::new("not the first of a flow").if_answered_flow().verdict(Verdict::Accept),
        rule().load_in_link().if_in(INTERNAL).set_mark(NOT_RELAYED),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changed_rules_are_a_new_revision() {
        assert_eq!(REVISIONS.last(), Some(&digested().as_str()));
        assert_eq!(identity(), format!("rules {REVISION} {}", digested()));
    }

    #[test]
    fn a_table_is_judged_by_its_comment_and_the_number_of_its_rules() {
        let newer = format!("rules {} 3 0011223344556677", REVISION + 1);
        assert_eq!(judge(&newer, 3), Base::Newer);
        assert_eq!(judge(&newer, 2), Base::Different, "somebody took a rule away");
        let count = content(&mut Batch::new(TABLE));
        assert_eq!(judge(&identity(), count), Base::Current);
        assert_eq!(judge(&identity(), count - 1), Base::Different);
        for comment in ["", "rules", "rules 0011223344556677", "rules 0 3 x", "words 99 3 x"] {
            assert_eq!(judge(comment, 3), Base::Different, "{comment}");
        }
    }
}
