//! A new container of a replica beside the old one, until it takes over.

use std::borrow::Cow;

use super::{Change, Fate, Judge, Part, UNTRIED, Verdict, going};
use crate::cause::Cause;
use crate::desired::{ContainerSpec, NetworkMode, ServiceSpec};
use crate::down::volumes_of;
use crate::observed::{ContainerRecord, ContainerState, Health, ObservedContainer};
use crate::problem::PlanProblem;
use crate::rollout::{self, Manner, has_failed};
use crate::up::{is_active, ports, resources};

impl<'a> Judge<'a, '_> {
    /// How the containers of a service are replaced.
    pub(super) fn manner(&mut self, name: &str, service: &ServiceSpec) -> Manner {
        let obstacle = |manner| rollout::obstacle(self.survey.desired, (name, service), manner);
        let manner = Manner::of(service);
        match manner {
            Manner::Beside if service.goes_back && obstacle(manner).is_some() => {
                if obstacle(Manner::Kept).is_none() { Manner::Kept } else { Manner::InPlace }
            }
            Manner::Beside => {
                let Some(why) = obstacle(manner) else { return manner };
                let service = name.to_owned();
                self.problems.add(PlanProblem::NoStartFirst { service, why });
                Manner::InPlace
            }
            Manner::Kept if obstacle(manner).is_some() => Manner::InPlace,
            Manner::Kept | Manner::InPlace => manner,
        }
    }

    /// Why a container of a service can never be kept beside the one that replaces it, though the
    /// file wants it.
    fn never_kept(&self, change: &Change, service: &ServiceSpec) -> Option<String> {
        let wanted = Manner::of(service) == Manner::Kept && change.have.is_some();
        let of = wanted.then_some((change.service, service))?;
        rollout::obstacle(self.survey.desired, of, Manner::Kept)
    }

    /// Of two containers of a replica that both do not run, one that was kept and is what the
    /// service is to be.
    pub(super) fn back_to(
        &self,
        (have, mate): (Option<&'a ObservedContainer>, Option<&'a ObservedContainer>),
        name: &str,
        service: &ServiceSpec,
    ) -> (Option<&'a ObservedContainer>, Option<&'a ObservedContainer>) {
        let (Some(one), Some(other)) = (have, mate) else { return (have, mate) };
        let fits = |have| self.described(name, service, have).0.is_empty();
        match !is_active(one) && rollout::is_promising(other, one) && fits(other) && !fits(one) {
            true => (mate, have),
            false => (have, mate),
        }
    }

    /// The container of a replica that serves, and one that is there besides. Where others name the
    /// container, only the one of the usual name counts.
    pub(super) fn pair(
        &mut self,
        usual: &str,
        name: &str,
        service: &ServiceSpec,
    ) -> (Option<&'a ObservedContainer>, Option<&'a ObservedContainer>) {
        let first = self.have(usual);
        let other = self.survey.observed.containers.get(&rollout::other_name(usual));
        let counts = |have: &&ObservedContainer| {
            let desired = self.survey.desired;
            let ours = have.record.project == desired.project;
            let free = service.container_name.is_none();
            let same = ours && free && have.record.usual_name() == usual;
            same && rollout::follower(desired, name).is_none()
        };
        rollout::pair(first, other.filter(counts))
    }

    /// What becomes of a replica: `change` is what becomes of the container of it that serves, `mate`
    /// is another one of it.
    pub(super) fn succession(
        &mut self,
        mut change: Change<'a>,
        mate: Option<&'a ObservedContainer>,
        manner: Manner,
    ) -> Vec<Change<'a>> {
        let service = self.survey.desired.services.get(change.service);
        let manner = match (change.have, service) {
            (Some(have), _) if is_active(have) && !have.beside => manner,
            // From one that does not run nothing is taken over, but it is what there was before.
            (Some(have), Some(service)) if have.served && have.state != ContainerState::Broken => {
                manner.of_stopped(service)
            }
            _ => Manner::InPlace,
        };
        let replaced = change.verdict.fate == Fate::Replace && change.verdict.starts;
        let never = service.filter(|_| replaced).and_then(|s| self.never_kept(&change, s));
        let verdict = &mut change.verdict;
        verdict.causes.extend(never.map(|why| Cause::NotKept { why: why.into() }));
        let old = change.have.filter(|_| manner != Manner::InPlace && replaced);
        let hindrance = old.and_then(|old| {
            let beside = (manner == Manner::Beside).then_some(change.want).flatten();
            self.hindrance(old, beside, &verdict.causes)
        });
        let old = old.filter(|_| hindrance.is_none());
        verdict.causes.extend(hindrance.map(|why| match manner {
            Manner::Beside => Cause::StopsFirst { why },
            Manner::InPlace | Manner::Kept => Cause::NotKept { why },
        }));
        match old {
            Some(old) => {
                let (new, goes) = match manner {
                    Manner::Beside => (Part::Heir(old), Part::Old),
                    Manner::InPlace | Manner::Kept => (Part::Successor(old), Part::Kept),
                };
                let heir = self.heir(change, (old, manner), mate);
                let heir = Change { part: new, ..heir };
                vec![heir, Change { part: goes, ..going(old, Cause::Superseded) }]
            }
            None => match mate {
                Some(mate) if self.is_untried(&change, mate) => {
                    if let Some(owner) = self.yielding.outlived.get(&mate.record.name) {
                        self.try_out(&mut change, None);
                        let container = owner.clone();
                        return vec![change, going(mate, Cause::VolumesReplaced { container })];
                    }
                    self.try_out(&mut change, Some(mate));
                    vec![change, Change { part: Part::Kept, ..going(mate, Cause::Superseded) }]
                }
                Some(mate) => vec![change, going(mate, Cause::Superseded)],
                None => vec![change],
            },
        }
    }

    /// Whether it has taken the place of its mate, and no rollout has said yet that it is good: that
    /// one was broken off, or failed and could not be rolled back.
    fn is_untried(&self, change: &Change, mate: &ObservedContainer) -> bool {
        let service = self.survey.desired.services.get(change.service);
        let Some(have) = change.have else { return false };
        let newer = have.record.succession > mate.record.succession;
        let stays = match change.verdict.fate {
            Fate::Start => true,
            Fate::Keep | Fate::Adopt | Fate::Unpause | Fate::Restart => newer,
            Fate::Create | Fate::Replace | Fate::Remove => false,
        };
        let rolls = service.is_some_and(|service| service.rollout.is_some());
        rolls && stays && mate.served && !self.survey.options.no_start
    }

    /// Lets the rollout look at one that is there, in another life if it has failed in this one.
    fn try_out(&mut self, change: &mut Change<'a>, before: Option<&'a ObservedContainer>) {
        change.part = Part::Untried(before);
        let verdict = &mut change.verdict;
        let failed = change.have.is_some_and(has_failed);
        let goes_on = matches!(verdict.fate, Fate::Keep | Fate::Adopt | Fate::Unpause);
        if goes_on && failed {
            (verdict.fate, verdict.starts) = (Fate::Restart, true);
            self.remember(&change.name, change.service, Fate::Restart);
        }
        if verdict.causes.is_empty() {
            verdict.causes.push(UNTRIED);
        }
    }

    /// Where some containers of a service are replaced that have nothing beside them, the others are
    /// looked at first if they may be bad: each run would else take one more out of service.
    pub(super) fn doubt(&mut self, changes: &mut [Change<'a>]) {
        let replaced = |change: &Change| change.verdict.fate == Fate::Replace;
        if self.survey.options.no_start || !changes.iter().any(replaced) {
            return;
        }
        for change in changes.iter_mut().filter(|change| matches!(change.part, Part::Alone)) {
            let Some(have) = change.have else { continue };
            let is_open = match change.verdict.fate {
                Fate::Start | Fate::Restart => true,
                Fate::Keep => has_failed(have) || have.health == Health::Starting,
                Fate::Adopt | Fate::Unpause => false,
                Fate::Create | Fate::Replace | Fate::Remove => false,
            };
            if is_open {
                self.try_out(change, None);
            }
        }
    }

    /// Why the old one has to stop first, or cannot be kept, this time. `beside` is what shall run
    /// at the same time.
    fn hindrance(
        &self,
        old: &ObservedContainer,
        beside: Option<&ContainerSpec>,
        causes: &[Cause],
    ) -> Option<Cow<'static, str>> {
        if let Some(sharer) = self.sharer(old) {
            return Some(format!("`{sharer}` shares what one container of it has").into());
        }
        let spec = &old.record.spec;
        let mut volumes = self.survey.observed.volumes.values();
        let mut networks = spec.networks.keys().filter_map(|n| self.networks.get(n.as_str()));
        let why = if causes.contains(&Cause::Exchanged) {
            Some("others get its ports or addresses")
        } else if self.yielding.crowded.contains(&old.record.name) {
            Some("a network it is on has no address for another one")
        } else if networks.any(|fate| fate.reconnects()) {
            Some("a network it is on is made anew")
        } else if volumes_of(&old.record).any(|name| self.makes_volume(name)) {
            Some("a volume it has is made anew")
        } else if self.yielding.outlived.contains_key(&old.record.name) {
            Some("the volumes it has of another one are made anew")
        } else if volumes.any(|v| v.record.container.as_ref() == Some(&old.record.name)) {
            Some("its data is in a volume without a name")
        } else if beside.is_some_and(|want| ports::moves(old, want)) {
            Some("a port of it moves to another address of the host")
        } else if beside.is_some() && spec.network_mode != NetworkMode::Bridge {
            Some("it is not on networks of its own")
        } else {
            None
        };
        why.map(Cow::Borrowed)
    }

    /// A container of another service, whoever's it is, that names this one.
    fn sharer(&self, old: &ObservedContainer) -> Option<&str> {
        let own = (&old.record.project, &old.record.service);
        let names = |record: &ContainerRecord| {
            let name = old.record.name.as_str();
            let spec = &record.spec;
            spec.parents().contains(name) || spec.volumes_from.iter().any(|f| f.container == name)
        };
        let mut others = self.survey.observed.containers.values().map(|other| &other.record);
        let sharer = others.find(|of| (&of.project, &of.service) != own && names(of));
        sharer.map(|record| record.name.as_str())
    }

    fn makes_volume(&self, name: &str) -> bool {
        self.volumes.get(name).is_some_and(|volume| volume.fate != resources::Fate::Keep)
    }

    /// The one that is to take over: another one that was made for that, or a new one.
    fn heir(
        &mut self,
        change: Change<'a>,
        (old, manner): (&'a ObservedContainer, Manner),
        mate: Option<&'a ObservedContainer>,
    ) -> Change<'a> {
        let from = old.record.name.clone();
        let usual = old.record.usual_name();
        let name = match old.record.name == usual {
            true => rollout::other_name(usual),
            false => usual.to_owned(),
        };
        if let (None, Some(other)) = (mate, self.survey.observed.containers.get(&name)) {
            let owner = format!("project `{}`", other.record.project);
            self.problems.add(PlanProblem::NameTaken { name: name.clone(), owner });
        }
        let service = self.survey.desired.services.get(change.service);
        let fits = |mate: &&ObservedContainer| {
            let service = service.filter(|_| rollout::is_promising(mate, old));
            // One that `create` made has its `pre_start` before it, and that makes it anew.
            let prepared = !mate.record.is_unprepared();
            // What happens to other things makes it anew as well.
            let lasts = prepared && self.dragged(mate).is_empty();
            service.is_some_and(|service| {
                lasts && self.described(change.service, service, mate).0.is_empty()
            })
        };
        let takes_over = Cause::TakesOver { from };
        let verdict = match mate.filter(fits) {
            Some(mate) => {
                let fate = match (is_active(mate), mate.monitored) {
                    // It runs beside the old one, which is to stop before it serves; or has failed,
                    // and nobody would take it for good in this life.
                    (true, _) if manner == Manner::Kept || has_failed(mate) || mate.paused => {
                        Fate::Restart
                    }
                    (true, true) => Fate::Keep,
                    (true, false) => Fate::Adopt,
                    (false, _) => Fate::Start,
                };
                Verdict::of(fate, vec![takes_over])
            }
            None => {
                let fate = if mate.is_some() { Fate::Replace } else { Fate::Create };
                let causes = [takes_over].into_iter().chain(change.verdict.causes).collect();
                Verdict { fate, causes, ..change.verdict }
            }
        };
        Change { name, have: mate, verdict, ..change }
    }
}
