//! The fate of containers.

mod causes;
mod left_out;
mod succession;
mod yielding;

use std::collections::{BTreeMap, BTreeSet};

use berth_schema::stack::OnChange;

use crate::cause::{Cause, FieldChange};
use crate::class::{Class, class};
use crate::desired::{ContainerSpec, DependencySpec, ServiceSpec};
use crate::diff;
use crate::observed::{ContainerState, ObservedContainer};
use crate::problem::{PlanProblem, PlanProblems};
use crate::resolve::container_name;
use crate::rollout::Manner;

use super::claims;
use super::inits::{self, Init};
use super::records;
use super::renewals;
use super::resources::{self, NetworkFate, VolumeFate};
use super::{Survey, is_active};
use yielding::Yielding;

/// What becomes of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Keep,
    Create,
    Adopt,
    Unpause,
    Start,
    Restart,
    Replace,
    Remove,
}

impl Fate {
    /// Whether a container is made.
    pub(super) fn makes(self) -> bool {
        matches!(self, Fate::Create | Fate::Replace)
    }
}

/// A container and what becomes of it, with the reasons.
pub(super) struct Change<'a> {
    pub(super) name: String,
    pub(super) service: &'a str,
    pub(super) number: u32,
    pub(super) oneoff: bool,
    /// The part it has in `pre_start`.
    pub(super) init: Option<Init>,
    /// The wanted description; `None` when it goes.
    pub(super) want: Option<&'a ContainerSpec>,
    pub(super) depends_on: &'a BTreeMap<String, DependencySpec>,
    pub(super) have: Option<&'a ObservedContainer>,
    pub(super) part: Part<'a>,
    pub(super) verdict: Verdict,
}

/// What a container has to do with another one of its replica.
#[derive(Debug, Clone, Copy)]
pub(super) enum Part<'a> {
    /// Nothing.
    Alone,
    /// It takes over from this one, which serves until then.
    Heir(&'a ObservedContainer),
    /// It serves until another has taken over.
    Old,
    /// It starts when this one has stopped, which is kept.
    Successor(&'a ObservedContainer),
    /// It stops before another starts, and is kept until that is good.
    Kept,
    /// It is the new one already, and nobody has seen that it is good. What it replaced, if that is
    /// there, is kept until then.
    Untried(Option<&'a ObservedContainer>),
}

impl<'a> Change<'a> {
    /// What it is in the end: as its service says if it is made or changed, else as it was made.
    pub(super) fn becomes(&self) -> Option<&'a ContainerSpec> {
        match self.verdict.fate {
            Fate::Remove => None,
            Fate::Create | Fate::Replace => self.want,
            Fate::Keep | Fate::Adopt | Fate::Unpause | Fate::Start | Fate::Restart => {
                match self.verdict.is_update() {
                    true => self.want,
                    false => self.have.map(|have| &have.record.spec),
                }
            }
        }
    }
}

/// A fate with its reasons.
pub(super) struct Verdict {
    pub(super) fate: Fate,
    pub(super) causes: Vec<Cause>,
    pub(super) changes: Vec<FieldChange>,
    /// Fields that differ and take effect in the container as it is.
    pub(super) updates: Vec<FieldChange>,
    /// A change of it as it is was cut short: all of it is given to it once more.
    pub(super) resumes: bool,
    /// Whether it runs in the end.
    pub(super) starts: bool,
}

impl Verdict {
    /// Whether something of it changes in the container as it is.
    pub(super) fn is_update(&self) -> bool {
        self.resumes || !self.updates.is_empty()
    }

    pub(super) fn of(fate: Fate, causes: Vec<Cause>) -> Verdict {
        let starts = !matches!(fate, Fate::Keep | Fate::Adopt | Fate::Unpause | Fate::Remove);
        let (changes, updates) = (Vec::new(), Vec::new());
        Verdict { fate, causes, changes, updates, resumes: false, starts }
    }
}

/// Decides for every container of the project, dependencies first, then orphans.
///
/// Of those that change as they are none waits for itself: as long as some do, one of them is made
/// anew, and all is decided again, as others may have to follow it.
pub(super) fn decide<'a>(
    survey: &'a Survey<'a>,
    networks: &BTreeMap<&str, NetworkFate>,
    volumes: &BTreeMap<&str, VolumeFate>,
    problems: &mut PlanProblems,
) -> Vec<Change<'a>> {
    let mut yielding = Yielding::default();
    loop {
        let mut found = PlanProblems::default();
        let changes = decide_with(survey, (networks, volumes), &yielding, &mut found);
        if yielding.follows(survey, &changes) {
            continue;
        }
        let wanted = claims::knot(&changes).or_else(|| claims::contested(&changes));
        if let Some(name) = wanted.filter(|name| !yielding.exchanged.contains(*name)) {
            yielding.exchanged.insert(name.to_owned());
        } else if let Some(name) = records::crowded(survey, networks, &changes) {
            yielding.crowded.insert(name.to_owned());
        } else if !yielding.outlives(&renewals::outlived(survey, &changes)) {
            problems.0.extend(found.0);
            return changes;
        }
    }
}

/// The same, with these containers doing so.
fn decide_with<'a>(
    survey: &'a Survey<'a>,
    (networks, volumes): (&BTreeMap<&str, NetworkFate>, &BTreeMap<&str, VolumeFate>),
    yielding: &Yielding,
    problems: &mut PlanProblems,
) -> Vec<Change<'a>> {
    let mut judge = Judge {
        survey,
        networks,
        volumes,
        yielding,
        renewed: yielding.later.clone(),
        restarted: BTreeSet::new(),
        problems,
    };
    let mut changes = Vec::new();
    for name in survey.order.names() {
        let Some(service) = survey.desired.services.get(*name) else {
            changes.extend(judge.left_out(name));
            continue;
        };
        let own = judge.service(name, service);
        changes.extend(inits::decide(survey, name, service, &own, judge.problems));
        changes.extend(own);
    }
    changes.extend(judge.one_off());
    let wanted: BTreeSet<&str> = changes.iter().map(|change| change.name.as_str()).collect();
    let orphans = orphans(survey, &wanted);
    changes.extend(orphans);
    changes
}

/// Containers of the project that no service of the stack explains, if they are to go.
fn orphans<'a>(survey: &'a Survey<'a>, wanted: &BTreeSet<&str>) -> Vec<Change<'a>> {
    if !survey.options.remove_orphans {
        return Vec::new();
    }
    let unknown = survey.orphans().filter(|have| !wanted.contains(have.record.name.as_str()));
    unknown.map(|have| going(have, Cause::Orphan)).collect()
}

pub(super) fn going<'a>(have: &'a ObservedContainer, cause: Cause) -> Change<'a> {
    Change {
        name: have.record.name.clone(),
        service: &have.record.service,
        number: have.record.number,
        oneoff: have.record.oneoff,
        init: None,
        want: None,
        depends_on: &have.record.depends_on,
        have: Some(have),
        part: Part::Alone,
        verdict: Verdict::of(Fate::Remove, vec![cause]),
    }
}

struct Judge<'a, 'b> {
    survey: &'a Survey<'a>,
    networks: &'b BTreeMap<&'b str, NetworkFate>,
    volumes: &'b BTreeMap<&'b str, VolumeFate>,
    yielding: &'b Yielding,
    /// Containers that get a new network namespace, and whether they are made anew.
    renewed: BTreeMap<String, bool>,
    /// Services of which a container is replaced or restarted.
    restarted: BTreeSet<&'a str>,
    problems: &'b mut PlanProblems,
}

impl<'a> Judge<'a, '_> {
    /// Those of one service. Out of scope, only what changes elsewhere drag along.
    fn service(&mut self, name: &'a str, service: &'a ServiceSpec) -> Vec<Change<'a>> {
        let survey = self.survey;
        let in_scope = survey.scope.contains(name);
        let replicas = survey.replicas(name);
        let fixed = service.container_name.as_deref();
        if let (Some(fixed), true, true) = (fixed, in_scope, replicas > 1) {
            let (service, name) = (name.to_string(), fixed.to_string());
            self.problems.add(PlanProblem::FixedName { service, name });
        }
        let manner = if in_scope { self.manner(name, service) } else { Manner::InPlace };
        let mut changes = Vec::new();
        let mut wanted = BTreeSet::new();
        for number in 1..=replicas {
            let usual = container_name(&survey.desired.project, name, fixed, number);
            let pair = self.pair(&usual, name, service);
            let (have, mate) = self.back_to(pair, name, service);
            let names = [Some(&usual), have.map(|h| &h.record.name), mate.map(|m| &m.record.name)];
            wanted.extend(names.into_iter().flatten().cloned());
            let container = have.map_or(usual, |have| have.record.name.clone());
            let verdict = match have {
                None if in_scope => self.missing(name),
                None => continue,
                Some(have) => self.existing(name, service, have, in_scope),
            };
            self.remember(&container, name, verdict.fate);
            // One that is kept whatever changed stays as it was made.
            let kept = have.filter(|_| survey.options.no_recreate && !verdict.fate.makes());
            let want = kept.map_or(&service.container, |have| &have.record.spec);
            let change = Change {
                name: container,
                service: name,
                number,
                oneoff: false,
                init: None,
                want: Some(want),
                depends_on: &service.depends_on,
                have,
                part: Part::Alone,
                verdict,
            };
            match in_scope {
                true => changes.extend(self.succession(change, mate, manner)),
                false => changes.push(change),
            }
        }
        if in_scope && manner == Manner::InPlace && service.rollout.is_some() {
            self.doubt(&mut changes);
        }
        let own = survey.own.get(name).filter(|_| in_scope);
        let excess = own.into_iter().flatten().filter(|have| !wanted.contains(&have.record.name));
        let mut excess: Vec<&&ObservedContainer> = excess.collect();
        excess.sort_by_key(|have| std::cmp::Reverse(have.record.number));
        changes.extend(excess.into_iter().map(|have| going(have, Cause::Scale)));
        changes
    }

    /// The container of that name, if it is one of this project's services.
    fn have(&mut self, name: &str) -> Option<&'a ObservedContainer> {
        let have = self.survey.observed.containers.get(name)?;
        let record = &have.record;
        if record.project == self.survey.desired.project && !record.oneoff {
            return Some(have);
        }
        let owner = match record.oneoff {
            true => format!("`berth run` in project `{}`", record.project),
            false => format!("project `{}`", record.project),
        };
        self.problems.add(PlanProblem::NameTaken { name: name.to_string(), owner });
        None
    }

    fn remember(&mut self, container: &str, service: &'a str, fate: Fate) {
        let Some(anew) = yielding::renews(fate) else { return };
        self.renewed.insert(container.to_string(), anew);
        if matches!(fate, Fate::Restart | Fate::Replace) {
            self.restarted.insert(service);
        }
    }

    fn missing(&self, name: &str) -> Verdict {
        let others = self.survey.own.get(name).is_some_and(|own| !own.is_empty());
        let cause = if others { Cause::Scale } else { Cause::Missing };
        let mut verdict = Verdict::of(Fate::Create, vec![cause]);
        verdict.starts = !self.survey.options.no_start;
        verdict
    }

    fn existing(
        &self,
        name: &str,
        service: &ServiceSpec,
        have: &ObservedContainer,
        in_scope: bool,
    ) -> Verdict {
        let options = self.survey.options;
        if have.state == ContainerState::Broken {
            let mut verdict = Verdict::of(Fate::Replace, vec![Cause::CrashLeftover]);
            verdict.starts = in_scope && !options.no_start;
            return verdict;
        }
        if in_scope && have.record.is_unprepared() && !options.no_start {
            return Verdict::of(Fate::Replace, vec![Cause::Unprepared]);
        }
        let (mut causes, changes) = match in_scope {
            true => self.described(name, service, have),
            false => (Vec::new(), Vec::new()),
        };
        let edited = |cause: &Cause| matches!(cause, Cause::Changed | Cause::ContentChanged);
        let remount = self.remount(service, (have, in_scope), &changes);
        if service.container.on_change == OnChange::Replace {
            causes.extend(remount.clone());
        }
        let class = class(&changes, &have.record.spec, &service.container);
        let live = !changes.is_empty() && class < Class::Replace && name == have.record.service;
        causes.extend(self.dragged(have));
        let exchanged = self.yielding.exchanged.contains(&have.record.name);
        causes.extend(exchanged.then_some(Cause::Exchanged));
        let updates = live && causes.iter().all(edited);
        if !causes.is_empty() && !updates && !options.no_recreate {
            let starts = (in_scope || is_active(have)) && !options.no_start;
            let updates = Vec::new();
            let resumes = false;
            return Verdict { fate: Fate::Replace, causes, changes, updates, resumes, starts };
        }
        let updates = updates && !options.no_recreate && !causes.is_empty();
        let rewires = |cause: &Cause| matches!(cause, Cause::NetworkReplaced { .. });
        let moved = have.content_moved && in_scope && causes.iter().all(rewires);
        let restarts = match updates {
            true => (class == Class::Restart).then_some(Cause::ContentChanged),
            false => (moved && service.container.on_change == OnChange::Restart).then_some(CONTENT),
        };
        let restarts = remount.filter(|_| !options.no_recreate).or(restarts);
        // One that is not to be made anew has its place on a network that is made.
        let rewired = causes.iter().find(|cause| rewires(cause));
        let restarts = restarts.or(rewired.cloned());
        let outside = rewired.filter(|_| self.is_outside(have)).cloned();
        let mut verdict = self.as_it_is(service, (have, in_scope), restarts);
        if updates {
            verdict.updates = changes;
        }
        // One that starts again is given its limits by that.
        let limited = !have.moved_limits.is_empty() && verdict.fate != Fate::Restart;
        let drifted = moved || have.updating || limited;
        let as_made = causes.is_empty() || options.no_recreate;
        verdict.resumes = in_scope && as_made && drifted || outside.is_some();
        let untold = outside.filter(|cause| !verdict.causes.contains(cause));
        verdict.causes.extend(untold);
        verdict
    }

    /// Whether it has an address that its network, which is made anew under it, does not have.
    fn is_outside(&self, have: &ObservedContainer) -> bool {
        let mut on = have.record.addresses.iter().filter_map(|(network, addresses)| {
            Some((self.networks.get(network.as_str())?, addresses))
        });
        self.survey.options.no_recreate && on.any(|(fate, has)| !resources::has(&fate.record, has))
    }

    /// What becomes of one that is not made anew. What `restarts` it cannot be had otherwise.
    fn as_it_is(
        &self,
        service: &ServiceSpec,
        (have, in_scope): (&ObservedContainer, bool),
        restarts: Option<Cause>,
    ) -> Verdict {
        let no_start = self.survey.options.no_start;
        if let Some(cause) = restarts.clone().filter(|_| no_start && is_active(have)) {
            return Verdict { starts: false, ..Verdict::of(Fate::Restart, vec![cause]) };
        }
        let mut causes = self.shaken(&service.depends_on, have);
        causes.extend(restarts);
        causes.extend((in_scope && have.hook_failed).then_some(Cause::HookFailed));
        causes.extend((in_scope && have.beside).then_some(BESIDE));
        causes.extend((in_scope && have.left_behind && causes.is_empty()).then_some(LEFT_BEHIND));
        // One that it is to leave is nothing to it.
        let stays = |network: &&String| service.container.networks.contains_key(*network);
        let unplugged = have.unplugged.as_ref().filter(stays);
        let unplugged = unplugged.filter(|_| in_scope && causes.is_empty());
        causes.extend(unplugged.map(|network| Cause::Unplugged { network: network.clone() }));
        if !causes.is_empty() && is_active(have) && !no_start {
            return Verdict::of(Fate::Restart, causes);
        }
        match in_scope {
            true => state_verdict(have, no_start),
            false => Verdict::of(Fate::Keep, Vec::new()),
        }
    }

    /// Why it has to be made anew for what its service says.
    fn described(
        &self,
        name: &str,
        service: &ServiceSpec,
        have: &ObservedContainer,
    ) -> (Vec<Cause>, Vec<FieldChange>) {
        let (want, record) = (&service.container, &have.record);
        let mut causes = Vec::new();
        let mut changes = Vec::new();
        if record.spec != *want {
            changes = diff::containers(name, &record.spec, want, self.survey.places);
            let content = changes.iter().filter(|change| diff::is_content(change)).count();
            if content < changes.len() || changes.is_empty() {
                causes.push(Cause::Changed);
            }
            if content > 0 {
                causes.push(Cause::ContentChanged);
            }
        }
        let depends_on = &service.depends_on;
        if record.depends_on != *depends_on {
            let (before, places) = (&record.depends_on, self.survey.places);
            changes.extend(diff::dependencies(name, before, depends_on, places));
            if !causes.contains(&Cause::Changed) {
                causes.push(Cause::Changed);
            }
        }
        if service.goes_back {
            let other = service.pinned.as_ref().is_some_and(|image| *image != record.image_id);
            let differs = other || !causes.is_empty();
            return (differs.then_some(Cause::RollsBack).into_iter().collect(), changes);
        }
        if record.service != name {
            causes.push(Cause::Changed);
        }
        causes.extend(self.moved(name, want, have));
        causes.extend(self.mounts_moved(want, have));
        // Those of a container it has mounts of are that one's cause, and it follows.
        causes.extend(have.moved.iter().filter_map(|(path, after)| {
            let before = record.judged.get(path)?.clone();
            Some(Cause::PathMoved { path: path.clone(), before, after: after.clone() })
        }));
        if self.survey.forced(name) {
            causes.push(Cause::Requested);
        }
        causes.dedup();
        (causes, changes)
    }

    fn one_off(&mut self) -> Option<Change<'a>> {
        let survey = self.survey;
        let one = survey.one_off.as_ref()?;
        if let Some(other) = survey.observed.containers.get(&one.name) {
            let owner = format!("project `{}`", other.record.project);
            self.problems.add(PlanProblem::NameTaken { name: one.name.clone(), owner });
        }
        Some(Change {
            name: one.name.clone(),
            service: one.service,
            number: 1,
            oneoff: true,
            init: None,
            want: Some(&one.spec),
            depends_on: one.depends_on,
            have: None,
            part: Part::Alone,
            verdict: Verdict::of(Fate::Create, vec![Cause::Requested]),
        })
    }
}

/// Why its processes are let run on.
pub(crate) const PAUSED: Cause = Cause::Drift { what: "it is paused" };

/// Why one is started again that was to take over from another, which is gone.
const BESIDE: Cause = Cause::Drift { what: "it has no ports and no names" };

/// Why a rollout looks at one that is there.
const UNTRIED: Cause = Cause::Drift { what: "nobody has seen that it is good" };

/// Why one is started again that shares what its owner has left.
const LEFT_BEHIND: Cause = Cause::Drift { what: "it is in a network or memory that has ended" };

/// Why it is given a monitor.
pub(crate) const UNMONITORED: Cause = Cause::Drift { what: "its monitor is gone" };

/// Why its configs and secrets are written anew.
pub(super) const CONTENT: Cause = Cause::Drift { what: "a config or secret has another content" };

/// What its state asks for when its description is as wanted.
fn state_verdict(have: &ObservedContainer, no_start: bool) -> Verdict {
    let start = |cause| match no_start {
        true => Verdict::of(Fate::Keep, Vec::new()),
        false => Verdict::of(Fate::Start, vec![cause]),
    };
    match (have.state, have.monitored) {
        (ContainerState::Running { .. }, _) if have.paused && !no_start => {
            Verdict::of(Fate::Unpause, vec![PAUSED])
        }
        (ContainerState::Running { .. }, true) | (ContainerState::Restarting { .. }, true) => {
            Verdict::of(Fate::Keep, Vec::new())
        }
        (ContainerState::Running { .. }, false) => Verdict::of(Fate::Adopt, vec![UNMONITORED]),
        (ContainerState::Restarting { .. }, false) => start(UNMONITORED),
        (ContainerState::Created, _) => start(Cause::NeverStarted),
        (ContainerState::Exited { .. }, _) if have.held => start(Cause::Held),
        (ContainerState::Exited { exit_code, .. }, _) => start(Cause::Exited { exit_code }),
        (ContainerState::Broken, _) => Verdict::of(Fate::Replace, vec![Cause::CrashLeftover]),
    }
}
