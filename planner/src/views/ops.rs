//! The steps of a plan by number, with what each waits for.

use berth_schema::stack::Condition;

use crate::action::Action;
use crate::plan::{Plan, Step, StepId};

/// One line for each step, in an order in which they could be done one after the other. The numbers
/// are those of the JSON form.
pub fn ops(plan: &Plan) -> String {
    let rows: Vec<[String; 4]> = plan.steps.iter().map(|step| row(plan, step)).collect();
    let wide =
        |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let (number, what, waits) = (wide(0), wide(1), wide(2));
    let mut text = String::new();
    for [id, step, after, why] in &rows {
        let line = format!("{id:>number$}  {step:what$}  {after:waits$}  {why}");
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text + &format!("{}\n", plan.summary())
}

fn row(plan: &Plan, step: &Step) -> [String; 4] {
    let causes: Vec<String> = step.causes.iter().map(ToString::to_string).collect();
    [step.id.to_string(), what(plan, step), waits(step), causes.join(", ")]
}

/// What a step does, in the words of one line: `create network shop_back`.
pub(crate) fn what(plan: &Plan, step: &Step) -> String {
    let action = &step.action;
    let verb = action.verb().split('_').next().unwrap_or_default();
    let mut words = format!("{verb} {}", plan.subject(action));
    match action {
        Action::AwaitContainer { condition, .. } => words += &format!(" ({})", state(*condition)),
        Action::StartBeside { .. } => words += " (beside)",
        Action::AwaitStable { .. } => words += " (stable)",
        Action::TakeOver { from, .. } => words += &format!(" (from {from})"),
        Action::Watch { span, .. } => words += &format!(" (for {}s)", span.as_secs_f64()),
        Action::Admit { delay, may_fail, .. } => {
            let failing =
                if *may_fail > 0 { format!("{may_fail} may fail") } else { String::new() };
            let waits = match delay.is_zero() {
                true => String::new(),
                false => format!("after {}s", delay.as_secs_f64()),
            };
            let said: Vec<String> =
                [waits, failing].into_iter().filter(|s| !s.is_empty()).collect();
            if !said.is_empty() {
                words += &format!(" ({})", said.join(", "));
            }
        }
        Action::Conclude { may_fail: some @ 1.., .. } => words += &format!(" ({some} may fail)"),
        Action::SignalContainer { signal, .. } => words += &format!(" ({signal})"),
        Action::StopContainer { grace: Some(grace), .. } => {
            words += &format!(" (within {}s)", grace.as_secs_f64());
        }
        _ => {}
    }
    words
}

/// The state that a condition waits for.
pub(super) fn state(condition: Condition) -> &'static str {
    match condition {
        Condition::ServiceStarted => "started",
        Condition::ServiceHealthy => "healthy",
        Condition::ServiceCompletedSuccessfully => "completed",
    }
}

/// `after 1, 4 and the end of 7`.
fn waits(step: &Step) -> String {
    let ids = |ids: &[StepId]| ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    match (step.after.is_empty(), step.after_tried.is_empty()) {
        (true, true) => String::new(),
        (false, true) => format!("after {}", ids(&step.after)),
        (true, false) => format!("after the end of {}", ids(&step.after_tried)),
        (false, false) => {
            format!("after {} and the end of {}", ids(&step.after), ids(&step.after_tried))
        }
    }
}
