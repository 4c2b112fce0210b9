//! How a run ends that did not do all of its plan.

use berth_planner::plan::{Plan, StepId};
use berth_planner::rollback::{is_counted, is_passed, is_through};
use berth_runtime::apply::Outcome;
use berth_runtime::host::StepError;

use crate::failure::Failure;
use crate::wording;

/// Whether all that failed are gates of dependencies that the file does not require.
pub(super) fn is_optional(plan: &Plan, outcome: &Outcome) -> bool {
    let mut failed = outcome.failed.iter();
    outcome.skipped.is_empty()
        && failed
            .all(|(id, error)| matches!(error, StepError::NotReady { .. }) && is_passed(plan, *id))
}

/// Why a plan was not done to its end.
pub(crate) fn failure(plan: &Plan, outcome: &Outcome, done: usize) -> Failure {
    let may_be = |(id, error): &(StepId, StepError)| {
        matches!(error, StepError::NotReady { .. }) || is_counted(plan, *id)
    };
    if is_through(plan, &outcome.skipped) && outcome.failed.iter().all(may_be) {
        let causes = outcome.failed.iter().map(|(_, error)| error.to_string()).collect();
        return Failure::Unhealthy { causes };
    }
    Failure::Partial {
        failed: outcome.failed.len(),
        skipped: outcome.skipped.len(),
        steps: plan.steps.len(),
        causes: outcome.failed.iter().map(|failed| cause(plan, failed)).collect(),
        untouched: done == 0 && !outcome.failed.iter().any(|(_, error)| is_half_done(error)),
        start: outcome.failed.iter().find_map(|(_, error)| match error {
            StepError::NotStarted { exit_code, .. } => u8::try_from(*exit_code).ok(),
            _ => None,
        }),
    }
}

/// A failure that says that nothing was changed, when `done` steps of an earlier attempt were done.
pub(super) fn half_done(done: usize, failure: Failure) -> Failure {
    if done == 0 {
        return failure;
    }
    let causes = [failure.to_string()].into_iter().chain(failure.causes().iter().cloned());
    Failure::CutShort { done, causes: causes.collect() }
}

/// Whether a step that failed has changed something all the same.
fn is_half_done(error: &StepError) -> bool {
    matches!(error, StepError::HookFailed { .. } | StepError::InitFailed { .. })
}

/// A failed step in words, with what it was done to.
pub(crate) fn cause(plan: &Plan, (id, error): &(StepId, StepError)) -> String {
    let text = error.to_string();
    match plan.step(*id) {
        Some(step) if !text.contains(&format!("`{}`", step.action.target())) => {
            format!("{}: {text}", wording::object(&step.action))
        }
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use berth_planner::action::Action;
    use berth_planner::plan::Step;

    use super::*;

    fn plan() -> Plan {
        let step = |id, name: &str| Step {
            id: StepId(id),
            action: Action::StartContainer { name: name.into() },
            causes: vec![],
            changes: vec![],
            after: vec![],
            after_tried: vec![],
        };
        Plan {
            project: "shop".into(),
            steps: vec![step(0, "shop-db-1"), step(1, "shop-web-1"), step(2, "shop-web-2")],
            ..Plan::default()
        }
    }

    fn not_ready() -> StepError {
        StepError::NotReady { name: "shop-db-1".into(), why: "is unhealthy".into() }
    }

    fn refused() -> StepError {
        StepError::Failed {
            step: "start container".into(),
            object: "shop-web-1".into(),
            why: "no such program".into(),
        }
    }

    #[test]
    fn a_failed_step_is_named_with_its_object_and_what_was_not_tried_is_counted() {
        let outcome = Outcome {
            done: vec![StepId(0)],
            failed: vec![(StepId(1), refused())],
            skipped: vec![StepId(2)],
            ..Outcome::default()
        };
        let failure = failure(&plan(), &outcome, 1);
        assert_eq!(failure.code(), 3);
        assert_eq!(failure.to_string(), "1 of 3 steps failed, 1 was not tried");
        assert_eq!(failure.causes(), ["cannot start container `shop-web-1`: no such program"]);
        assert!(failure.help().unwrap().contains("goes on from here"));
    }

    #[test]
    fn a_failure_before_anything_was_done_changed_nothing() {
        let outcome = Outcome {
            done: vec![],
            failed: vec![(StepId(0), refused())],
            skipped: vec![StepId(1), StepId(2)],
            ..Outcome::default()
        };
        assert_eq!(failure(&plan(), &outcome, 0).code(), 1);
    }

    #[test]
    fn run_ends_with_the_code_of_a_program_that_is_not_there() {
        let missing = StepError::NotStarted {
            name: "shop-web-1".into(),
            why: "execute `nix`: no such file or directory (ENOENT)".into(),
            exit_code: 127,
        };
        let outcome = Outcome {
            done: vec![StepId(0)],
            failed: vec![(StepId(1), missing)],
            skipped: vec![],
            ..Outcome::default()
        };
        assert_eq!(failure(&plan(), &outcome, 1).of_a_start().code(), 127);
        let outcome = Outcome {
            done: vec![],
            failed: vec![(StepId(0), refused())],
            skipped: vec![],
            ..Outcome::default()
        };
        assert_eq!(failure(&plan(), &outcome, 0).of_a_start().code(), 125);
    }

    #[test]
    fn a_gate_of_a_dependency_that_is_not_required_is_no_failure() {
        let mut plan = plan();
        let outcome = Outcome {
            done: vec![StepId(0), StepId(2)],
            failed: vec![(StepId(1), not_ready())],
            skipped: vec![],
            ..Outcome::default()
        };
        assert!(!is_optional(&plan, &outcome));
        plan.steps[2].after_tried.push(StepId(1));
        assert!(is_optional(&plan, &outcome));
    }

    #[test]
    fn a_gate_that_stays_shut_with_nothing_behind_it_is_unhealthy() {
        let mut outcome = Outcome {
            done: vec![StepId(0)],
            failed: vec![(StepId(1), not_ready())],
            skipped: vec![],
            ..Outcome::default()
        };
        assert_eq!(failure(&plan(), &outcome, 1).code(), 5);
        outcome.skipped.push(StepId(2));
        assert_eq!(failure(&plan(), &outcome, 1).code(), 3);
    }
}
