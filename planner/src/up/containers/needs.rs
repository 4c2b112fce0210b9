//! Whether there is what a container is made with, and what it needs to run.

use super::{Fate, Judge, Verdict};
use crate::desired::{ContainerSpec, IpcSpace, ServiceSpec};
use crate::observed::ObservedContainer;
use crate::problem::PlanProblem;

impl Judge<'_, '_> {
    /// Of one that is there. What is made anew has to find what it is made with, also where it only
    /// follows others; not for the sake of one that is to go back.
    pub(super) fn standing(
        &mut self,
        name: &str,
        service: &ServiceSpec,
        have: &ObservedContainer,
        in_scope: bool,
    ) -> Verdict {
        let verdict = self.existing(name, service, have, in_scope);
        let goes_back = || self.survey.desired.services.values().any(|service| service.goes_back);
        if verdict.fate == Fate::Replace && (in_scope || !goes_back()) {
            self.check_lenders(&have.record.name, &service.container);
            if in_scope || verdict.starts {
                self.check_parents(&have.record.name, &service.container);
            }
        }
        verdict
    }

    /// Whose volumes it is to have too.
    pub(super) fn check_lenders(&mut self, container: &str, spec: &ContainerSpec) {
        for from in &spec.volumes_from {
            let other = &from.container;
            let exists = self.renewed.contains_key(other)
                || self.survey.observed.containers.contains_key(other);
            if !exists {
                let (container, other) = (container.to_owned(), other.clone());
                self.problems.add(PlanProblem::NoVolumesOf { container, other });
            }
        }
    }

    /// Whose namespaces it is to share.
    pub(super) fn check_parents(&mut self, container: &str, spec: &ContainerSpec) {
        for parent in spec.parents() {
            let exists = self.renewed.contains_key(parent)
                || self.survey.observed.containers.contains_key(parent);
            if !exists {
                let (container, parent) = (container.to_string(), parent.to_string());
                self.problems.add(PlanProblem::NoParent { container, parent });
            }
        }
        if let IpcSpace::Container(parent) = &spec.ipc
            && let Some(have) = self.survey.observed.containers.get(parent)
            && have.record.project != self.survey.desired.project
            && !have.record.spec.ipc.is_open()
        {
            let (container, parent) = (container.to_string(), parent.clone());
            self.problems.add(PlanProblem::NotShareable { container, parent });
        }
    }
}
