//! The plans of `pause` and `unpause`, and how a paused container is made to run on.

use crate::action::Action;
use crate::cause::Cause;
use crate::lifecycle::of_services;
use crate::observed::{ContainerState, Observed, ObservedContainer};
use crate::plan::{Draft, Plan, Slot};
use crate::problem::PlanProblems;
use crate::up::{PAUSED, UNMONITORED};

/// Makes the processes of what runs stand still.
///
/// # Errors
/// When a named service has no container.
pub fn pause(
    project: &str,
    observed: &Observed,
    services: &[String],
) -> Result<Plan, PlanProblems> {
    let mut draft = Draft::default();
    for container in of_services(project, observed, services)? {
        match container.state {
            ContainerState::Running { .. } if !container.paused => {
                let name = container.record.name.clone();
                let adopt = adopted(&mut draft, container);
                let pause = draft.add(Action::PauseContainer { name }, vec![Cause::Requested]);
                if let Some(adopt) = adopt {
                    draft.after(pause, adopt);
                }
            }
            _ => draft.unchanged += 1,
        }
    }
    Ok(draft.finish(project))
}

/// Lets the processes of paused containers run on.
///
/// # Errors
/// When a named service has no container.
pub fn unpause(
    project: &str,
    observed: &Observed,
    services: &[String],
) -> Result<Plan, PlanProblems> {
    let mut draft = Draft::default();
    for container in of_services(project, observed, services)? {
        match container.paused {
            true => drop(run_on(&mut draft, container, Cause::Requested)),
            false => draft.unchanged += 1,
        }
    }
    Ok(draft.finish(project))
}

/// The step by which a paused container runs on, with a monitor.
pub(crate) fn run_on(draft: &mut Draft, container: &ObservedContainer, cause: Cause) -> Slot {
    let adopt = adopted(draft, container);
    let name = container.record.name.clone();
    let unpause = draft.add(Action::UnpauseContainer { name }, vec![cause]);
    if let Some(adopt) = adopt {
        draft.after(unpause, adopt);
    }
    unpause
}

/// The step that gives it a monitor, where it has none.
pub(crate) fn adopted(draft: &mut Draft, container: &ObservedContainer) -> Option<Slot> {
    let name = container.record.name.clone();
    let adopt = || draft.add(Action::AdoptContainer { name }, vec![UNMONITORED]);
    (!container.monitored).then(adopt)
}

/// As [`run_on`], because it has to run.
pub(crate) fn run_on_again(draft: &mut Draft, container: &ObservedContainer) -> Slot {
    run_on(draft, container, PAUSED)
}
