//! One packet's way through the host, and who of others stops it.
//!
//! The way is that of the kernel: past prerouting, where our table sends it to the container, then
//! forward and postrouting; and the same for the answer, which is often forgotten in such rules.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use berth_schema::stack::Protocol;
use serde::Serialize;

use super::evaluate::{Fate, Outcome, outcomes};
use super::packet::{ANSWERED, ESTABLISHED, End, Flow, NEW, Packet, TRANSLATED};
use super::register::Doubt;
use super::ruleset::{Base, Family, Hook, Ruleset};
use super::text;
use crate::links::Link;

/// Where packets meet connection tracking.
const TRACKED: i32 = -200;
/// Port of the sender: one of those that programs get when they ask for none.
const SENDERS: u16 = 54_321;
/// Where our table sends them to the container.
const SENT_ON: i32 = -100;

/// A packet that asks a published port for a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Story {
    /// The link it arrives at; `None`: it is this host that asks.
    pub from: Option<Link>,
    /// The bridge of the container's network.
    pub bridge: Link,
    /// Who sends it; `None` is anybody.
    pub source: Option<IpAddr>,
    /// Address and port of the host that it asks; the target itself, if that is asked.
    pub host: SocketAddr,
    /// Where the port leads.
    pub target: SocketAddr,
    /// Transport.
    pub protocol: Protocol,
}

impl Story {
    /// What our table does to the flow.
    fn translated(&self) -> u32 {
        if self.host == self.target { 0 } else { TRANSLATED }
    }
}

/// What the rules of others say to a story.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It passes.
    Passes,
    /// It does not.
    Blocked(Obstacle),
    /// Some do and some do not: it hangs on who asks, or how often.
    Partly(Obstacle),
    /// It may not; what decides is not understood.
    Unclear(Obstacle),
}

/// How it ends at an obstacle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Reason {
    /// Without a word.
    Dropped,
    /// With an error to the sender.
    Rejected,
    /// It is sent somewhere else.
    Elsewhere,
    /// A program decides.
    Queued,
}

/// The rule or policy of others that stops a packet.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Obstacle {
    /// How it ends there.
    pub reason: Reason,
    /// Family of the table, as `nft` writes it.
    pub family: &'static str,
    /// Name of the table.
    pub table: String,
    /// The chain it is in.
    pub chain: String,
    /// The base chain that leads there.
    pub base: String,
    /// The hook of that.
    #[serde(serialize_with = "word")]
    pub hook: Hook,
    /// Number in its chain from 1, handle and text; `None` is the policy of the chain.
    pub rule: Option<ObstacleRule>,
    /// Not the packet is stopped but its answer.
    pub of_answer: bool,
}

/// A rule as one finds it again.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct ObstacleRule {
    /// Number in its chain, from 1.
    pub number: usize,
    /// As `nft --handle list` shows it.
    pub handle: u64,
    /// As `nft list` shows it, or close to that.
    pub text: String,
}

#[allow(clippy::trivially_copy_pass_by_ref)]
fn word<S: serde::Serializer>(hook: &Hook, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(hook.word())
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let table = format!("table {} {}", self.family, self.table);
        match &self.rule {
            None => write!(f, "policy drop of chain {} in {table}", self.chain),
            Some(rule) => {
                write!(
                    f,
                    "rule {} of chain {} in {table}: `{}`",
                    rule.number, self.chain, rule.text
                )
            }
        }
    }
}

/// Follows the packet of a story, and its answer.
#[must_use]
pub fn judge(ruleset: &Ruleset, story: &Story) -> Answer {
    let mut worst = Answer::Passes;
    let mut mark = Ok(0);
    for stage in stages(story) {
        let mut packet = Packet { mark, ..stage.packet.clone() };
        for (base, chain) in ruleset.at(stage.hook) {
            let applies = stage.priorities.contains(&base.priority)
                && sees(chain.table.family, &packet)
                && is_at(base, &packet)
                && !(base.nat && (stage.of_answer || stage.hook == Hook::Postrouting));
            if !applies {
                continue;
            }
            let outcomes = outcomes(ruleset, chain, &mut packet);
            let found = Found { ruleset, base: &chain.name, stage: &stage };
            let answer = found.answer(base, &outcomes);
            if let Answer::Blocked(_) = answer {
                return answer;
            }
            worst = graver(worst, answer);
        }
        // An answer starts with a mark of its own.
        mark = if stage.last { Ok(0) } else { packet.mark };
    }
    worst
}

fn graver(one: Answer, other: Answer) -> Answer {
    let weight = |answer: &Answer| match answer {
        Answer::Passes => 0,
        Answer::Partly(_) => 1,
        Answer::Unclear(_) => 2,
        Answer::Blocked(_) => 3,
    };
    if weight(&other) > weight(&one) { other } else { one }
}

fn sees(family: Family, packet: &Packet) -> bool {
    match family {
        Family::Inet | Family::Netdev => true,
        Family::Ip => !packet.v6,
        Family::Ip6 => packet.v6,
    }
}

fn is_at(base: &Base, packet: &Packet) -> bool {
    base.hook != Hook::Ingress || base.devices.contains(&packet.from.name)
}

/// A part of the way, with the packet as it is there.
struct Stage {
    hook: Hook,
    priorities: std::ops::RangeInclusive<i32>,
    packet: Packet,
    of_answer: bool,
    /// The packet has left after it.
    last: bool,
}

fn stages(story: &Story) -> Vec<Stage> {
    let asked = asked(story);
    let new = flow(story, false);
    let sent_on = |packet: &Packet| Packet {
        destination: End { address: Some(story.target.ip()), port: Some(story.target.port()) },
        to_this_host: false,
        flow: Some(Flow { status: story.translated(), ..new }),
        ..packet.clone()
    };
    let stage = |hook, priorities, packet| Stage {
        hook,
        priorities,
        packet,
        of_answer: false,
        last: false,
    };
    let all = || i32::MIN..=i32::MAX;
    let bare = Packet { flow: None, ..asked.clone() };
    let fresh = Packet { flow: Some(new), ..asked.clone() };
    let leaving = Packet { to: story.bridge.clone(), ..sent_on(&asked) };
    let first = if story.from.is_some() { Hook::Prerouting } else { Hook::Output };
    let mut stages = vec![
        stage(first, i32::MIN..=TRACKED - 1, bare.clone()),
        stage(first, TRACKED..=SENT_ON, fresh),
        stage(first, SENT_ON + 1..=i32::MAX, sent_on(&asked)),
    ];
    if story.from.is_some() {
        stages.insert(0, stage(Hook::Ingress, all(), bare));
        stages.push(stage(Hook::Forward, all(), leaving.clone()));
    }
    stages.push(Stage { last: true, ..stage(Hook::Postrouting, all(), leaving) });
    stages.extend(answers(story));
    stages
}

/// The packet as it comes, or as this host sends it.
fn asked(story: &Story) -> Packet {
    let (from, to) = match &story.from {
        Some(from) => (from.clone(), Link::default()),
        // The way to an address of one's own leads through the loopback link.
        None => (Link::default(), Link { index: 1, name: "lo".to_owned(), ..Link::default() }),
    };
    Packet {
        from,
        to,
        v6: story.host.is_ipv6(),
        protocol: protocol(story.protocol),
        source: End { address: story.source, port: Some(SENDERS) },
        destination: End { address: Some(story.host.ip()), port: Some(story.host.port()) },
        to_this_host: story.host != story.target,
        source_is_this_host: story.from.is_none(),
        mark: Ok(0),
        flow: None,
        reply: false,
    }
}

/// The way of the answer, from the container to who asked.
fn answers(story: &Story) -> Vec<Stage> {
    let flow = flow(story, true);
    let answer = Packet {
        from: story.bridge.clone(),
        to: Link::default(),
        source: End { address: Some(story.target.ip()), port: Some(story.target.port()) },
        destination: End { address: story.source, port: Some(SENDERS) },
        to_this_host: story.from.is_none(),
        source_is_this_host: false,
        flow: Some(flow),
        reply: true,
        ..asked(story)
    };
    let bare = Packet { flow: None, ..answer.clone() };
    let stage =
        |hook, priorities, packet| Stage { hook, priorities, packet, of_answer: true, last: false };
    let all = || i32::MIN..=i32::MAX;
    let mut stages = vec![
        stage(Hook::Ingress, all(), bare.clone()),
        stage(Hook::Prerouting, i32::MIN..=TRACKED - 1, bare),
        stage(Hook::Prerouting, TRACKED..=i32::MAX, answer.clone()),
    ];
    match &story.from {
        Some(out) => {
            let leaving = Packet { to: out.clone(), ..answer };
            stages.push(stage(Hook::Forward, all(), leaving.clone()));
            stages.push(stage(Hook::Postrouting, all(), leaving));
        }
        None => stages.push(stage(Hook::Input, all(), answer)),
    }
    stages
}

fn flow(story: &Story, reply: bool) -> Flow {
    let end = |at: SocketAddr| End { address: Some(at.ip()), port: Some(at.port()) };
    let sender = End { address: story.source, port: Some(SENDERS) };
    Flow {
        state: if reply { ESTABLISHED } else { NEW },
        status: if reply { story.translated() | ANSWERED } else { 0 },
        reply,
        original: (sender, end(story.host)),
        answer: (end(story.target), sender),
    }
}

fn protocol(protocol: Protocol) -> u8 {
    match protocol {
        Protocol::Tcp => 6,
        Protocol::Udp => 17,
        Protocol::Sctp => 132,
    }
}

/// Where outcomes were found.
struct Found<'a> {
    ruleset: &'a Ruleset,
    base: &'a str,
    stage: &'a Stage,
}

impl Found<'_> {
    /// What the outcomes of a base chain come to.
    fn answer(&self, base: &Base, outcomes: &[Outcome<'_>]) -> Answer {
        let stops = || outcomes.iter().filter(|outcome| outcome.fate != Fate::Passes);
        let sure = stops().find(|outcome| outcome.doubt.is_none());
        let Some(stopped) = sure.or_else(|| stops().next()) else { return Answer::Passes };
        let Some(obstacle) = self.obstacle(stopped) else { return Answer::Passes };
        let passes = outcomes.iter().any(|outcome| outcome.fate == Fate::Passes);
        let doubt = outcomes.iter().filter_map(|outcome| outcome.doubt).max();
        // Which of two at the same place comes first, ours or theirs, cannot be seen.
        let first = base.nat && base.priority == SENT_ON;
        match (passes, doubt) {
            _ if first || stopped.fate == Fate::Queued => Answer::Unclear(obstacle),
            (false, _) | (true, None) => Answer::Blocked(obstacle),
            (true, Some(Doubt::Unknown)) => Answer::Unclear(obstacle),
            (true, Some(Doubt::Sender | Doubt::Rate)) => Answer::Partly(obstacle),
        }
    }

    fn obstacle(&self, outcome: &Outcome<'_>) -> Option<Obstacle> {
        let reason = match outcome.fate {
            Fate::Passes => return None,
            Fate::Dropped => Reason::Dropped,
            Fate::Rejected => Reason::Rejected,
            Fate::Elsewhere => Reason::Elsewhere,
            Fate::Queued => Reason::Queued,
        };
        let chain = outcome.chain;
        let rule = outcome.rule.and_then(|at| Some((at, chain.rules.get(at)?)));
        Some(Obstacle {
            reason,
            family: chain.table.family.word(),
            table: chain.table.name.clone(),
            chain: chain.name.clone(),
            base: self.base.to_owned(),
            hook: self.stage.hook,
            rule: rule.map(|(at, rule)| ObstacleRule {
                number: at + 1,
                handle: rule.handle,
                text: text::rule(self.ruleset, chain, rule),
            }),
            of_answer: self.stage.of_answer,
        })
    }
}
