//! A new container of a replica beside the old one, until it takes over.

use super::{Change, Fate, Judge, Part, Verdict, going};
use crate::cause::Cause;
use crate::desired::{ContainerSpec, NetworkMode, ServiceSpec};
use crate::down::volumes_of;
use crate::observed::ObservedContainer;
use crate::problem::PlanProblem;
use crate::rollout;
use crate::up::{is_active, ports, resources};

impl<'a> Judge<'a, '_> {
    /// Whether the containers of a service are replaced by ones that start first.
    pub(super) fn may_start_first(&mut self, name: &str, service: &ServiceSpec) -> bool {
        if !service.rollout.start_first {
            return false;
        }
        match rollout::obstacle(self.survey.desired, name, service) {
            None => true,
            Some(why) => {
                let service = name.to_owned();
                self.problems.add(PlanProblem::NoStartFirst { service, why });
                false
            }
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
        start_first: bool,
    ) -> Vec<Change<'a>> {
        let verdict = &mut change.verdict;
        let served = change.have.filter(|have| is_active(have) && !have.beside);
        let old = served.filter(|_| start_first && verdict.fate == Fate::Replace && verdict.starts);
        let hindrance = old.and_then(|old| self.hindrance(old, change.want, &verdict.causes));
        if let Some(why) = hindrance {
            verdict.causes.push(Cause::StopsFirst { why });
        }
        match old.filter(|_| hindrance.is_none()) {
            Some(old) => {
                let heir = self.heir(change, old, mate);
                vec![heir, Change { part: Part::Old, ..going(old, Cause::Superseded) }]
            }
            None => {
                let superseded = mate.map(|mate| going(mate, Cause::Superseded));
                [change].into_iter().chain(superseded).collect()
            }
        }
    }

    /// Why the old one has to stop first this time.
    fn hindrance(
        &self,
        old: &ObservedContainer,
        want: Option<&ContainerSpec>,
        causes: &[Cause],
    ) -> Option<&'static str> {
        let spec = &old.record.spec;
        let mut volumes = self.survey.observed.volumes.values();
        let mut networks = spec.networks.keys().filter_map(|n| self.networks.get(n.as_str()));
        if causes.contains(&Cause::Exchanged) {
            Some("others get its ports or addresses")
        } else if self.yielding.crowded.contains(&old.record.name) {
            Some("a network it is on has no address for another one")
        } else if networks.any(|fate| fate.reconnects()) {
            Some("a network it is on is made anew")
        } else if volumes_of(&old.record).any(|name| self.makes_volume(name)) {
            Some("a volume it has is made anew")
        } else if volumes.any(|v| v.record.container.as_ref() == Some(&old.record.name)) {
            Some("its data is in a volume without a name")
        } else if want.is_some_and(|want| ports::moves(old, want)) {
            Some("a port of it moves to another address of the host")
        } else if spec.network_mode != NetworkMode::Bridge {
            Some("it is not on networks of its own")
        } else {
            None
        }
    }

    fn makes_volume(&self, name: &str) -> bool {
        self.volumes.get(name).is_some_and(|volume| volume.fate != resources::Fate::Keep)
    }

    /// The one that is to take over: another one that was made for that, or a new one.
    fn heir(
        &mut self,
        change: Change<'a>,
        old: &'a ObservedContainer,
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
        let fits = |mate: &&ObservedContainer| {
            let want = change.want.filter(|_| rollout::is_promising(mate));
            want.is_some_and(|want| {
                self.described(change.service, (want, change.depends_on), mate).0.is_empty()
            })
        };
        let takes_over = Cause::TakesOver { from };
        let verdict = match mate.filter(fits) {
            Some(mate) => {
                let fate = match (is_active(mate), mate.monitored) {
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
        Change { name, have: mate, part: Part::Heir(old), verdict, ..change }
    }
}
