//! Gates: what must be true of a container before those that depend on it start.

use std::collections::BTreeMap;
use std::time::Duration;

use berth_schema::stack::Condition;

use crate::action::Action;
use crate::cause::Cause;
use crate::desired::DependencySpec;
use crate::observed::{ContainerState, Health, ObservedContainer};
use crate::plan::{Draft, Slot};
use crate::up::is_active;

/// A container others depend on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Member<'a> {
    pub(crate) name: &'a str,
    /// As it is, if it stays or only starts.
    pub(crate) have: Option<&'a ObservedContainer>,
    /// The step that starts it in this plan, or gives it a monitor that can be asked.
    pub(crate) start: Option<Slot>,
    /// How long it may take to become healthy.
    pub(crate) deadline: Option<Duration>,
}

/// The gates of a plan, one for each container and condition.
#[derive(Debug, Default)]
pub(crate) struct Gates(BTreeMap<(String, Condition), Slot>);

impl Gates {
    /// Lets `start`, a step of service `dependent`, wait until `member` is as `on` asks.
    pub(crate) fn connect(
        &mut self,
        draft: &mut Draft,
        start: Slot,
        (dependent, on): (&str, DependencySpec),
        member: Member,
    ) {
        let before = match on.condition {
            Condition::ServiceStarted => member.start,
            condition => self.wait_for(draft, dependent, condition, member),
        };
        match before {
            Some(before) if on.required => draft.after(start, before),
            Some(before) => draft.after_tried(start, before),
            None => {}
        }
    }

    fn wait_for(
        &mut self,
        draft: &mut Draft,
        dependent: &str,
        condition: Condition,
        member: Member,
    ) -> Option<Slot> {
        let needed = Cause::NeededBy { service: dependent.to_string() };
        let key = (member.name.to_string(), condition);
        if let Some(gate) = self.0.get(&key) {
            draft.cause(*gate, needed);
            return Some(*gate);
        }
        if member.start.is_none() && member.have.is_some_and(|have| is_reached(have, condition)) {
            return None;
        }
        let deadline = member.deadline.filter(|_| condition == Condition::ServiceHealthy);
        let action = Action::AwaitContainer { name: member.name.to_string(), condition, deadline };
        let gate = draft.add(action, vec![needed]);
        if let Some(start) = member.start {
            draft.after(gate, start);
        }
        self.0.insert(key, gate);
        Some(gate)
    }
}

fn is_reached(have: &ObservedContainer, condition: Condition) -> bool {
    match condition {
        Condition::ServiceStarted => is_active(have),
        // That of one that does not run is of the life before.
        Condition::ServiceHealthy => {
            matches!(have.state, ContainerState::Running { .. }) && have.health == Health::Healthy
        }
        Condition::ServiceCompletedSuccessfully => {
            matches!(have.state, ContainerState::Exited { exit_code: 0, .. })
        }
    }
}
