//! A plan: steps with their causes and their order, a graph without cycles.
//!
//! Steps stand in an order in which they could be done one after the other: what a step needs
//! has a smaller id. The same input gives the same plan, byte for byte.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};
use std::fmt;

use petgraph::graph::{DiGraph, NodeIndex};
use serde::{Serialize, Serializer};

use crate::action::Action;
use crate::cause::{Cause, FieldChange};
use crate::policy::Grant;
use crate::problem::PlanProblem;

/// Number of a step in its plan, from 0: its place in [`Plan::steps`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct StepId(pub u32);

impl StepId {
    /// The place of the step in [`Plan::steps`].
    pub fn index(self) -> usize {
        self.0 as usize
    }

    fn from_index(index: usize) -> StepId {
        StepId(u32::try_from(index).unwrap_or(u32::MAX))
    }
}

impl fmt::Display for StepId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// One change with its reasons and its place in the order.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// Its number.
    pub id: StepId,
    /// What is done.
    pub action: Action,
    /// Why, at least one.
    pub causes: Vec<Cause>,
    /// Fields that differ; on the step that makes the thing anew.
    pub changes: Vec<FieldChange>,
    /// Steps that must have succeeded before.
    pub after: Vec<StepId>,
    /// Steps that must have ended before, well or not.
    pub after_tried: Vec<StepId>,
}

/// How one step of a plan waits for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// Until it succeeded.
    Success,
    /// Until it ended, well or not.
    End,
}

/// What must happen on the host, and why.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Plan {
    /// Project it is for.
    pub project: String,
    /// The changes.
    pub steps: Vec<Step>,
    /// Things looked at that stay as they are.
    pub unchanged: usize,
    /// What people should know, one sentence each.
    pub warnings: Vec<String>,
    /// What is less confined than usual, and why; one line each.
    pub notes: Vec<String>,
    /// What the containers it is about are given beyond the defaults.
    pub grants: Vec<Grant>,
}

impl Plan {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// The step with this number.
    pub fn step(&self, id: StepId) -> Option<&Step> {
        self.steps.get(id.index())
    }

    /// Whether one of these steps starts a container.
    pub fn starts_one(&self, steps: impl IntoIterator<Item = StepId>) -> bool {
        steps.into_iter().filter_map(|id| self.step(id)).any(|step| step.action.is_start())
    }

    /// The steps as a graph: an edge leads from a step to each one that waits for it.
    pub fn graph(&self) -> DiGraph<&Step, Wait> {
        let mut graph = DiGraph::with_capacity(self.steps.len(), self.steps.len() * 2);
        let nodes: Vec<NodeIndex> = self.steps.iter().map(|step| graph.add_node(step)).collect();
        for step in &self.steps {
            for before in &step.after {
                graph.add_edge(nodes[before.index()], nodes[step.id.index()], Wait::Success);
            }
            for before in &step.after_tried {
                graph.add_edge(nodes[before.index()], nodes[step.id.index()], Wait::End);
            }
        }
        graph
    }
}

impl Serialize for Plan {
    /// The JSON form. It names things and never holds descriptions, so no value of an
    /// environment and no secret is in it except as a change that may be shown.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        View::of(self).serialize(serializer)
    }
}

#[derive(Serialize)]
struct View<'a> {
    format: &'static str,
    stack: &'a str,
    summary: crate::text::Summary,
    steps: Vec<StepView<'a>>,
    warnings: &'a [String],
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    notes: &'a [String],
    grants: Vec<&'a Grant>,
}

#[derive(Serialize)]
struct StepView<'a> {
    id: StepId,
    action: &'static str,
    target: String,
    causes: Vec<CauseView<'a>>,
    #[serde(skip_serializing_if = "<[FieldChange]>::is_empty")]
    changes: &'a [FieldChange],
    after: &'a [StepId],
    #[serde(skip_serializing_if = "<[StepId]>::is_empty")]
    after_tried: &'a [StepId],
}

#[derive(Serialize)]
struct CauseView<'a> {
    #[serde(flatten)]
    cause: &'a Cause,
    /// From where it comes: `edit`, `drift`, `follows` from another, or `asked`.
    sort: &'static str,
}

impl<'a> From<&'a Cause> for CauseView<'a> {
    fn from(cause: &'a Cause) -> CauseView<'a> {
        CauseView { cause, sort: cause.sort().word() }
    }
}

impl<'a> View<'a> {
    fn of(plan: &'a Plan) -> View<'a> {
        let steps = plan.steps.iter().map(|step| StepView {
            id: step.id,
            action: step.action.verb(),
            target: step.action.target(),
            causes: step.causes.iter().map(CauseView::from).collect(),
            changes: &step.changes,
            after: &step.after,
            after_tried: &step.after_tried,
        });
        View {
            format: "berth.plan/1",
            stack: &plan.project,
            summary: plan.summary(),
            steps: steps.collect(),
            warnings: &plan.warnings,
            notes: &plan.notes,
            grants: plan.grants.iter().filter(|grant| grant.is_shown()).collect(),
        }
    }
}

/// A step while the plan is being made. Only good for the [`Draft`] that gave it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Slot(usize);

/// A plan in the making: steps in the order people read them, edges in any order.
#[derive(Debug, Default)]
pub(crate) struct Draft {
    steps: Vec<DraftStep>,
    pub(crate) unchanged: usize,
    pub(crate) warnings: Vec<String>,
    pub(crate) notes: Vec<String>,
}

#[derive(Debug)]
struct DraftStep {
    action: Action,
    causes: Vec<Cause>,
    changes: Vec<FieldChange>,
    after: BTreeSet<usize>,
    after_tried: BTreeSet<usize>,
}

impl Draft {
    /// Adds a step.
    pub(crate) fn add(&mut self, action: Action, causes: Vec<Cause>) -> Slot {
        self.steps.push(DraftStep {
            action,
            causes,
            changes: Vec::new(),
            after: BTreeSet::new(),
            after_tried: BTreeSet::new(),
        });
        Slot(self.steps.len() - 1)
    }

    /// Says which fields differ.
    pub(crate) fn changes(&mut self, step: Slot, changes: Vec<FieldChange>) {
        self.steps[step.0].changes = changes;
    }

    /// Says once more why.
    pub(crate) fn cause(&mut self, step: Slot, cause: Cause) {
        let causes = &mut self.steps[step.0].causes;
        if !causes.contains(&cause) {
            causes.push(cause);
        }
    }

    /// `step` needs `before`.
    pub(crate) fn after(&mut self, step: Slot, before: Slot) {
        self.steps[step.0].after.insert(before.0);
    }

    /// `step` happens right before `other`, when all is done that `other` waits for by now.
    pub(crate) fn insert_before(&mut self, other: Slot, step: Slot) {
        let (after, tried) = {
            let other = &mut self.steps[other.0];
            (std::mem::take(&mut other.after), std::mem::take(&mut other.after_tried))
        };
        self.steps[step.0].after.extend(after);
        self.steps[step.0].after_tried.extend(tried);
        self.after(other, step);
    }

    /// `step` waits until `before` ended, well or not.
    pub(crate) fn after_tried(&mut self, step: Slot, before: Slot) {
        self.steps[step.0].after_tried.insert(before.0);
    }

    /// Whether `step` waits for `other`, through others too.
    pub(crate) fn waits(&self, step: Slot, other: Slot) -> bool {
        let (mut seen, mut open) = (BTreeSet::new(), vec![step.0]);
        while let Some(at) = open.pop() {
            if at == other.0 {
                return true;
            }
            if seen.insert(at) {
                let here = &self.steps[at];
                open.extend(here.after.iter().chain(&here.after_tried));
            }
        }
        false
    }

    /// Lets every step that waits for nothing wait for `first` to end.
    pub(crate) fn begin_with(&mut self, first: Slot) {
        for (index, step) in self.steps.iter_mut().enumerate() {
            if index > first.0 && step.after.is_empty() && step.after_tried.is_empty() {
                step.after_tried.insert(first.0);
            }
        }
    }

    /// The plan: steps numbered so that what a step needs has a smaller number.
    ///
    /// # Panics
    /// When the steps wait for each other in a circle, which would be a bug of the planner.
    pub(crate) fn finish(self, project: &str) -> Plan {
        self.try_finish(project).unwrap_or_else(|circle| panic!("{circle}"))
    }

    /// The same where so much comes together that people are not to see a panic.
    ///
    /// # Errors
    /// Steps that wait for each other in a circle.
    pub(crate) fn try_finish(self, project: &str) -> Result<Plan, PlanProblem> {
        let order = self.order();
        if order.len() < self.steps.len() {
            return Err(PlanProblem::Circle { steps: self.circle(&order) });
        }
        let mut number = vec![StepId(0); order.len()];
        for (new, old) in order.iter().enumerate() {
            number[*old] = StepId::from_index(new);
        }
        let renumber = |set: &BTreeSet<usize>| {
            let mut ids: Vec<StepId> = set.iter().map(|old| number[*old]).collect();
            ids.sort_unstable();
            ids
        };
        let mut steps: Vec<Step> = self
            .steps
            .into_iter()
            .enumerate()
            .map(|(old, step)| Step {
                id: number[old],
                after: renumber(&step.after),
                after_tried: renumber(&(&step.after_tried - &step.after)),
                action: step.action,
                causes: step.causes,
                changes: step.changes,
            })
            .collect();
        steps.sort_unstable_by_key(|step| step.id);
        Ok(Plan {
            project: project.to_string(),
            steps,
            unchanged: self.unchanged,
            warnings: self.warnings,
            notes: self.notes,
            grants: Vec::new(),
        })
    }

    /// Steps of which each waits for the next, and the last for the first, in words; `order` has
    /// those that wait for no circle.
    fn circle(&self, order: &[usize]) -> String {
        let done: BTreeSet<usize> = order.iter().copied().collect();
        let waits = |at: usize| self.steps[at].after.iter().chain(&self.steps[at].after_tried);
        let mut path: Vec<usize> = Vec::new();
        let mut next = (0..self.steps.len()).find(|at| !done.contains(at));
        while let Some(at) = next.filter(|at| !path.contains(at)) {
            path.push(at);
            next = waits(at).copied().find(|before| !done.contains(before));
        }
        let begin = path.iter().position(|at| Some(*at) == next).unwrap_or(0);
        let words = |at: &usize| {
            let action = &self.steps[*at].action;
            format!("{} {}", action.verb().replace('_', " "), action.target())
        };
        path[begin..].iter().map(words).collect::<Vec<_>>().join(" ← ")
    }

    /// Steps so that each comes after what it waits for, else in the order they were added.
    fn order(&self) -> Vec<usize> {
        let mut open: Vec<usize> = Vec::with_capacity(self.steps.len());
        let mut next: Vec<Vec<usize>> = vec![Vec::new(); self.steps.len()];
        for (index, step) in self.steps.iter().enumerate() {
            let waits: BTreeSet<usize> = &step.after | &step.after_tried;
            open.push(waits.len());
            for before in waits {
                next[before].push(index);
            }
        }
        let mut free: BinaryHeap<Reverse<usize>> =
            (0..self.steps.len()).filter(|index| open[*index] == 0).map(Reverse).collect();
        let mut order = Vec::with_capacity(self.steps.len());
        while let Some(Reverse(index)) = free.pop() {
            order.push(index);
            for waiting in &next[index] {
                open[*waiting] -= 1;
                if open[*waiting] == 0 {
                    free.push(Reverse(*waiting));
                }
            }
        }
        order
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_circle_is_told_by_its_steps_alone() {
        let mut draft = Draft::default();
        let names = ["first", "a", "b", "last"];
        let remove = |name: &str| Action::RemoveVolume { name: name.to_owned() };
        let [first, a, b, last] = names.map(|name| draft.add(remove(name), vec![Cause::Requested]));
        draft.after(a, first);
        draft.after(last, b);
        assert_eq!(draft.order().len(), 4);
        draft.after(a, b);
        draft.after_tried(b, a);
        let refusal = draft.try_finish("shop").unwrap_err().to_string();
        let steps = "(remove volume a ← remove volume b)";
        assert!(refusal.contains(steps) && refusal.contains("report"), "{refusal}");
    }
}
