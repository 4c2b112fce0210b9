//! Published ports: who has them, who wants them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use berth_schema::stack::Protocol;

use crate::desired::{ContainerSpec, NetworkMode, PortSpec};
use crate::observed::{Listener, Observed, ObservedContainer, PORTS_BEYOND, PortOwner};
use crate::problem::{PlanProblem, PlanProblems};
use crate::text;

use super::containers::{Change, Fate};
use super::{Survey, is_active};

/// Owners that are named of a range that is full.
const NAMED: usize = 4;

/// A port that is one port, not the first free of a range.
pub(crate) fn fixed(port: &PortSpec) -> Option<(Protocol, u16)> {
    let (first, last) = port.published?;
    (first == last && first != 0).then_some((port.protocol, first))
}

/// Ports of the host that a container of this description has when it runs.
pub(crate) fn wanted(spec: &ContainerSpec) -> &[PortSpec] {
    if spec.network_mode == NetworkMode::Bridge { &spec.ports } else { &[] }
}

/// Ports a container that runs really has, or has asked for.
pub(crate) fn held(have: &ObservedContainer) -> &[PortSpec] {
    match have.published.is_empty() && !have.beside {
        true => wanted(&have.record.spec),
        false => &have.published,
    }
}

/// Whether a port that a container has shall be on other addresses of the host: no two sockets can
/// reserve it on both at once.
pub(super) fn moves(have: &ObservedContainer, want: &ContainerSpec) -> bool {
    wanted(want).iter().any(|then| {
        let same = |now: &&PortSpec| fixed(now) == fixed(then) && fixed(then).is_some();
        let mut others = held(have).iter().filter(same);
        others.any(|now| now.host_ip != then.host_ip && Place::of(now).meets(Place::of(then)))
    })
}

/// The addresses of the host that a port is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    /// All, of both families.
    All,
    /// One, or with an unspecified address all of its family.
    One(IpAddr),
}

impl Place {
    pub(super) fn of(port: &PortSpec) -> Place {
        port.host_ip.map_or(Place::All, |ip| Place::One(ip.to_canonical()))
    }

    fn taken_by(listener: &Listener) -> Place {
        if listener.both { Place::All } else { Place::One(listener.address) }
    }

    /// Whether two cannot have the same port on these at once (`bind(2)` refuses the second).
    pub(super) fn meets(self, other: Place) -> bool {
        match (self, other) {
            (Place::All, _) | (_, Place::All) => true,
            (Place::One(a), Place::One(b)) => {
                let wide = a.is_unspecified() || b.is_unspecified();
                a == b || a.is_ipv4() == b.is_ipv4() && wide
            }
        }
    }
}

/// Who has a port.
#[derive(Clone, Copy)]
enum Owner<'a> {
    /// A container of this state, by name.
    Own(&'a str),
    Else(&'a PortOwner),
}

impl Owner<'_> {
    /// In words that follow `is`.
    fn words(&self) -> String {
        match self {
            Owner::Own(name) => format!("published by `{name}`"),
            Owner::Else(owner) => owner.to_string(),
        }
    }
}

/// What has which port, in the end.
#[derive(Default)]
struct Claims<'a> {
    owners: BTreeMap<(Protocol, u16), Vec<(Place, Owner<'a>)>>,
    /// What nobody has now, but a service of the file or one that stands still is to have.
    meant: Vec<((Protocol, u16), Place)>,
}

impl<'a> Claims<'a> {
    fn add(&mut self, key: (Protocol, u16), place: Place, owner: Owner<'a>) {
        self.owners.entry(key).or_default().push((place, owner));
    }

    fn owner(&self, key: (Protocol, u16), place: Place) -> Option<&Owner<'a>> {
        let all = self.owners.get(&key)?;
        all.iter().find(|(other, _)| other.meets(place)).map(|(_, owner)| owner)
    }

    /// Whether a port can be offered to whoever does not get the one it asks for.
    fn is_free(&self, key: (Protocol, u16), place: Place) -> bool {
        let mut meant = self.meant.iter().filter(|(other, _)| *other == key);
        self.owner(key, place).is_none() && !meant.any(|(_, other)| other.meets(place))
    }

    /// Keeps the ports of a description that are one port each from being offered to others.
    fn keep(&mut self, spec: &ContainerSpec) {
        let ports = wanted(spec).iter();
        self.meant.extend(ports.filter_map(|port| Some((fixed(port)?, Place::of(port)))));
    }

    /// What is there already, but what these containers have, which give it back before.
    fn of(observed: &'a Observed, ending: &BTreeSet<&str>) -> Claims<'a> {
        let mut claims = Claims::default();
        let stays = |name: &str| !ending.contains(name);
        for (name, have) in &observed.containers {
            if !is_active(have) {
                claims.keep(&have.record.spec);
            } else if stays(name) {
                for port in held(have) {
                    if let Some(key) = fixed(port) {
                        claims.add(key, Place::of(port), Owner::Own(name));
                    }
                }
            }
        }
        for listener in &observed.host.listening {
            if !matches!(&listener.owner, PortOwner::Container { name } if !stays(name)) {
                let key = (listener.protocol, listener.port);
                claims.add(key, Place::taken_by(listener), Owner::Else(&listener.owner));
            }
        }
        claims
    }

    /// Gives each of `wants` a port, and finds those for which there is none.
    fn grant(&mut self, wants: &[(&'a str, &'a PortSpec)], problems: &mut PlanProblems) {
        let (mut ranges, mut taken) = (Vec::new(), Vec::new());
        for (container, port) in wants {
            let place = Place::of(port);
            match (fixed(port), port.published) {
                (Some(key), _) => match self.owner(key, place) {
                    Some(&owner) => taken.push((*container, *port, owner)),
                    None => self.add(key, place, Owner::Own(container)),
                },
                (None, Some(range)) => ranges.push((range, *container, *port)),
                (None, None) => {}
            }
        }
        // The range that ends first has the least choice: if this finds no way, there is none.
        ranges.sort_by_key(|((first, last), ..)| (*last, *first));
        for ((first, last), container, port) in ranges {
            let place = Place::of(port);
            let free = |number: &u16| self.owner((port.protocol, *number), place).is_none();
            match (first..=last).find(free) {
                Some(number) => self.add((port.protocol, number), place, Owner::Own(container)),
                None => problems.add(PlanProblem::PortsTaken {
                    ports: text::host_port(port),
                    container: container.to_owned(),
                    owners: self.owners(port, (first, last)),
                }),
            }
        }
        // Only now it is known what all the others have.
        for (container, port, owner) in taken {
            problems.add(self.refusal(container, port, owner));
        }
    }

    /// A single port that is taken, and the next one that is free, which nobody else is offered then.
    fn refusal(&mut self, name: &'a str, spec: &PortSpec, owner: Owner<'a>) -> PlanProblem {
        let place = Place::of(spec);
        let free = fixed(spec).and_then(|(protocol, number)| {
            let mut next = (number..=number.saturating_add(PORTS_BEYOND)).skip(1);
            let free = next.find(|next| self.is_free((protocol, *next), place))?;
            self.add((protocol, free), place, Owner::Own(name));
            Some(free)
        });
        let (port, container) = (text::host_port(spec), name.to_owned());
        match owner {
            Owner::Own(other) => {
                PlanProblem::PortTaken { port, container, other: other.to_owned(), free }
            }
            Owner::Else(owner) => {
                PlanProblem::PortInUse { port, container, owner: owner.to_string(), free }
            }
        }
    }

    /// Who has the ports of a full range, the first of them.
    fn owners(&self, port: &PortSpec, (first, last): (u16, u16)) -> String {
        let owner = |number: u16| self.owner((port.protocol, number), Place::of(port));
        let named = (first..=last).filter_map(|number| Some((number, owner(number)?)));
        let named =
            named.take(NAMED).map(|(number, owner)| format!("{number} is {}", owner.words()));
        let named: Vec<String> = named.collect();
        match usize::from(last - first) + 1 - named.len() {
            0 => named.join(", "),
            more => format!("{}, and {more} more", named.join(", ")),
        }
    }
}

/// Finds ports that cannot be had by those who will start.
pub(super) fn check(survey: &Survey, changes: &[Change], problems: &mut PlanProblems) {
    let as_it_is =
        |change: &Change| change.verdict.is_update() && change.have.is_some_and(is_active);
    let starting = changes.iter().filter(|change| change.verdict.starts || as_it_is(change));
    let wants: Vec<(&str, &PortSpec)> = starting
        .filter_map(|change| Some((change.name.as_str(), change.becomes()?)))
        .flat_map(|(name, spec)| wanted(spec).iter().map(move |port| (name, port)))
        .collect();
    let ending = changes
        .iter()
        .filter(|change| {
            matches!(change.verdict.fate, Fate::Replace | Fate::Restart | Fate::Remove)
                || as_it_is(change)
        })
        .map(|change| change.name.as_str())
        .collect();
    if !wants.is_empty() {
        let mut claims = Claims::of(survey.observed, &ending);
        let services = survey.desired.services.values();
        services.for_each(|service| claims.keep(&service.container));
        claims.grant(&wants, problems);
    }
}

/// The same for containers that are started as they are, those that run after a stop.
///
/// # Errors
/// Ports that cannot be had.
pub(crate) fn check_start(
    observed: &Observed,
    starting: &[&ObservedContainer],
) -> Result<(), PlanProblems> {
    let mut problems = PlanProblems::default();
    let ending = starting.iter().map(|have| have.record.name.as_str()).collect();
    let wants: Vec<(&str, &PortSpec)> = starting
        .iter()
        .map(|have| &have.record)
        .flat_map(|record| wanted(&record.spec).iter().map(|port| (record.name.as_str(), port)))
        .collect();
    Claims::of(observed, &ending).grant(&wants, &mut problems);
    problems.none()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(text: &str) -> Place {
        match text {
            "*" => Place::All,
            text => Place::One(text.parse().unwrap()),
        }
    }

    #[test]
    fn ports_meet_where_bind_would_refuse_the_second() {
        for (one, other, meet) in [
            ("*", "*", true),
            ("*", "127.0.0.1", true),
            ("*", "::1", true),
            ("0.0.0.0", "127.0.0.1", true),
            ("0.0.0.0", "::", false),
            ("0.0.0.0", "::1", false),
            ("::", "::1", true),
            ("::", "127.0.0.1", false),
            ("127.0.0.1", "127.0.0.1", true),
            ("127.0.0.1", "127.0.0.2", false),
            ("127.0.0.1", "::1", false),
        ] {
            assert_eq!(place(one).meets(place(other)), meet, "{one} {other}");
            assert_eq!(place(other).meets(place(one)), meet, "{other} {one}");
        }
    }
}
