//! The order of a plan in parallel, as a pure state machine: whoever drives it does the steps.
//!
//! What waits for a failed step is skipped, branches that do not wait for it go on.

use std::collections::BTreeMap;

use crate::plan::{Plan, StepId};

/// A walk over a plan.
#[derive(Debug, Clone)]
pub struct Walk {
    /// Steps each step still waits for.
    open: Vec<u32>,
    /// Who waits for a step, and whether its failure skips them.
    next: Vec<Vec<(u32, bool)>>,
    /// How many more of the steps may fail that one waits for to end; `None` is any number.
    spare: Vec<Option<u32>>,
    /// The failed step for which a step will be skipped.
    doomed: Vec<Option<StepId>>,
    /// To be done, not yet handed out.
    ready: Vec<StepId>,
    /// Handed out, not finished.
    running: usize,
    /// Not handed out and not skipped.
    left: usize,
    skipped: BTreeMap<StepId, StepId>,
    stopped: bool,
}

impl Walk {
    /// A walk at its beginning.
    pub fn new(plan: &Plan) -> Walk {
        let mut next = vec![Vec::new(); plan.steps.len()];
        let mut open = vec![0; plan.steps.len()];
        for step in &plan.steps {
            open[step.id.index()] = (step.after.len() + step.after_tried.len()) as u32;
            for before in &step.after {
                next[before.index()].push((step.id.0, true));
            }
            for before in &step.after_tried {
                next[before.index()].push((step.id.0, false));
            }
        }
        let ready = plan.steps.iter().map(|step| step.id).filter(|id| open[id.index()] == 0);
        Walk {
            ready: ready.collect(),
            spare: plan.steps.iter().map(|step| step.action.may_fail()).collect(),
            doomed: vec![None; plan.steps.len()],
            running: 0,
            left: plan.steps.len(),
            skipped: BTreeMap::new(),
            stopped: false,
            open,
            next,
        }
    }

    /// Steps that may be done now. Each is handed out once, and is to be [`Walk::finished`].
    pub fn ready(&mut self) -> Vec<StepId> {
        if self.stopped {
            return Vec::new();
        }
        let ready = std::mem::take(&mut self.ready);
        self.running += ready.len();
        self.left -= ready.len();
        ready
    }

    /// A step that was handed out ended. If not `ok`, what needs it is skipped.
    pub fn finished(&mut self, id: StepId, ok: bool) {
        self.running -= 1;
        let mut ended = vec![(id, (!ok).then_some(id))];
        while let Some((step, failed)) = ended.pop() {
            for (waiting, needs) in std::mem::take(&mut self.next[step.index()]) {
                let waiting = StepId(waiting);
                let at = waiting.index();
                let skips = failed.is_some() && (needs || !self.spares(at));
                if skips && self.doomed[at].is_none() {
                    self.doomed[at] = failed;
                }
                self.open[at] -= 1;
                if self.open[at] > 0 {
                    continue;
                }
                match self.doomed[at] {
                    None => self.ready.push(waiting),
                    Some(root) => {
                        self.left -= 1;
                        self.skipped.insert(waiting, root);
                        ended.push((waiting, Some(root)));
                    }
                }
            }
        }
        self.ready.sort_unstable();
    }

    /// Whether a step may be done though one that it waits for to end has failed.
    fn spares(&mut self, at: usize) -> bool {
        let Some(spare) = &mut self.spare[at] else { return true };
        let left = spare.checked_sub(1);
        *spare = left.unwrap_or_default();
        left.is_some()
    }

    /// Hands out nothing more. Steps that run may still finish; the rest is left undone.
    pub fn stop(&mut self) {
        self.stopped = true;
    }

    /// Whether nothing runs and nothing more will be handed out.
    pub fn is_done(&self) -> bool {
        self.running == 0 && (self.stopped || self.left == 0)
    }

    /// Steps that were skipped, each with the failed step that is the reason.
    pub fn skipped(&self) -> &BTreeMap<StepId, StepId> {
        &self.skipped
    }

    /// How many steps were neither handed out nor skipped.
    pub fn left(&self) -> usize {
        self.left
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::action::Action;
    use crate::cause::Cause;
    use crate::plan::{Draft, Slot};

    /// `db` ← `app` ← `web`, `db` ←(tried) `log`, `alone`.
    fn plan() -> Plan {
        let mut draft = Draft::default();
        let mut start = |name: &str| {
            draft.add(Action::StartContainer { name: name.into() }, vec![Cause::Missing])
        };
        let (db, app, web, log) = (start("db"), start("app"), start("web"), start("log"));
        start("alone");
        draft.after(app, db);
        draft.after(web, app);
        draft.after_tried(log, db);
        draft.finish("p")
    }

    fn names(plan: &Plan, ids: &[StepId]) -> Vec<String> {
        ids.iter().map(|id| plan.step(*id).unwrap().action.target()).collect()
    }

    #[test]
    fn a_step_is_handed_out_when_what_it_needs_is_done() {
        let plan = plan();
        let mut walk = Walk::new(&plan);
        let first = walk.ready();
        assert_eq!(names(&plan, &first), ["db", "alone"]);
        assert_eq!(walk.ready(), []);
        walk.finished(first[0], true);
        assert_eq!(names(&plan, &walk.ready()), ["app", "log"]);
        assert!(!walk.is_done());
    }

    #[test]
    fn what_needs_a_failed_step_is_skipped_and_the_rest_goes_on() {
        let plan = plan();
        let mut walk = Walk::new(&plan);
        let first = walk.ready();
        walk.finished(first[0], false);
        let then = walk.ready();
        assert_eq!(names(&plan, &then), ["log"]);
        walk.finished(then[0], true);
        walk.finished(first[1], true);
        assert!(walk.is_done());
        let skipped: Vec<StepId> = walk.skipped().keys().copied().collect();
        assert_eq!(names(&plan, &skipped), ["app", "web"]);
        assert!(walk.skipped().values().all(|reason| *reason == first[0]));
    }

    #[test]
    fn what_may_go_without_some_is_skipped_when_more_of_them_fail() {
        let skipped = |may_fail: u32| {
            let mut draft = Draft::default();
            let action = Action::Conclude { service: "web".into(), may_fail };
            let start = |name: &str| Action::StartContainer { name: name.into() };
            let gates: Vec<Slot> =
                ["a", "b", "c"].map(|name| draft.add(start(name), vec![Cause::Missing])).to_vec();
            let last = draft.add(action, vec![Cause::Missing]);
            gates.iter().for_each(|gate| draft.after_tried(last, *gate));
            let plan = draft.finish("p");
            let mut walk = Walk::new(&plan);
            let ready = walk.ready();
            ready.iter().zip([false, true, false]).for_each(|(id, ok)| walk.finished(*id, ok));
            let next = walk.ready();
            next.iter().for_each(|id| walk.finished(*id, true));
            assert!(walk.is_done());
            walk.skipped().len()
        };
        assert_eq!([0, 1, 2, 3].map(skipped), [1, 1, 0, 0]);
    }

    #[test]
    fn only_a_start_starts_something() {
        let mut draft = Draft::default();
        let pull = Action::PullImage { reference: "web:1".into(), locked: None };
        draft.add(pull, vec![Cause::Missing]);
        draft.add(Action::StartBeside { name: "web".into() }, vec![Cause::Missing]);
        let plan = draft.finish("p");
        let ids: Vec<StepId> = plan.steps.iter().map(|step| step.id).collect();
        assert!(!plan.starts_one([ids[0]]));
        assert!(plan.starts_one(ids));
    }

    #[test]
    fn a_stopped_walk_is_done_when_what_runs_has_ended() {
        let plan = plan();
        let mut walk = Walk::new(&plan);
        let first = walk.ready();
        walk.stop();
        walk.finished(first[0], true);
        assert!(!walk.is_done());
        walk.finished(first[1], true);
        assert_eq!(walk.ready(), []);
        assert!(walk.is_done());
        assert_eq!(walk.left(), 3);
    }
}
