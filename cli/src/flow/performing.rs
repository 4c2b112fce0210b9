//! Performs a plan and shows what happens meanwhile.

use std::sync::Arc;

use berth_planner::plan::Plan;
use berth_runtime::apply::{ApplyEvent, Interrupt, Outcome, STEPS_AT_ONCE, apply};
use berth_runtime::host::Host;
use tokio::sync::{mpsc, watch};

use super::Manner;
use crate::failure::Failure;
use crate::layers::REDRAW;
use crate::session::Session;
use crate::signals::Signals;
use crate::ui::{Progress, safe};
use crate::wording;

/// Events that may wait: of many steps, and of the layers of some images.
const EVENTS: usize = 4096;

/// Performs a plan, showing what happens. The first signal lets running steps finish, the second
/// leaves everything at once.
pub(crate) async fn perform(
    session: &Session,
    host: &Arc<Host>,
    project: &str,
    plan: &Plan,
    manner: Manner,
) -> Result<(Outcome, Option<i32>), Failure> {
    let (journal, interrupted) = host.journal(project)?;
    if let Some(before) = interrupted {
        let text = format!("the run of {} was cut off; this one goes on from there", before.began);
        session.ui.note(&safe(&text));
    }
    let mut signals = Signals::listen()?;
    let (events, mut happened) = mpsc::channel(EVENTS);
    let (interrupt, interrupts) = watch::channel(Interrupt::None);
    let mut teller = Teller {
        plan,
        progress: match manner {
            Manner::Usual => session.ui.progress(),
            Manner::BetweenOutput => session.ui.progress_in_lines(),
            Manner::Silent => session.ui.no_progress(),
        },
    };
    let mut ticks = tokio::time::interval(REDRAW);
    let mut signalled = None;
    let at_once = at_once(session.global.parallel);
    let applied = apply(host, plan, &journal, &events, interrupts, at_once);
    tokio::pin!(applied);
    let outcome = loop {
        tokio::select! {
            biased;
            Some(event) = happened.recv() => teller.tell(&event),
            outcome = &mut applied => break outcome,
            number = signals.next(), if manner != Manner::BetweenOutput => {
                signalled = Some(number);
                raise(session, &interrupt);
            }
            _ = ticks.tick(), if teller.progress.moves() => teller.progress.tick(),
        }
    };
    while let Ok(event) = happened.try_recv() {
        teller.tell(&event);
    }
    teller.progress.finish();
    Ok((outcome, signalled))
}

/// `--parallel` as a number of steps.
fn at_once(parallel: Option<i32>) -> usize {
    match parallel {
        None => STEPS_AT_ONCE,
        Some(limit) => usize::try_from(limit).map_or(usize::MAX, |limit| limit.max(1)),
    }
}

fn raise(session: &Session, interrupt: &watch::Sender<Interrupt>) {
    let next = match *interrupt.borrow() {
        Interrupt::None => Interrupt::Finish,
        Interrupt::Finish | Interrupt::Now => Interrupt::Now,
    };
    if next == Interrupt::Finish {
        session.ui.note("finishing the steps under way; press Ctrl-C again to leave at once");
    }
    interrupt.send_replace(next);
}

/// Shows what happens to the steps of a plan.
struct Teller<'a> {
    plan: &'a Plan,
    progress: Progress<'a>,
}

impl Teller<'_> {
    /// Shows one event.
    fn tell(&mut self, event: &ApplyEvent) {
        let (ApplyEvent::Started(id)
        | ApplyEvent::Done(id)
        | ApplyEvent::Failed(id, _)
        | ApplyEvent::Skipped(id)
        | ApplyEvent::Pulling(id, _)) = event;
        let Some(step) = self.plan.step(*id) else { return };
        let object = wording::object(&step.action);
        let (doing, done) = wording::words(&step.action);
        match event {
            ApplyEvent::Started(_) => self.progress.begin(&object, doing),
            ApplyEvent::Done(_) => self.progress.done(&object, done),
            ApplyEvent::Failed(_, why) => self.progress.failed(&object, why),
            ApplyEvent::Skipped(_) => self.progress.skipped(&object, "not tried"),
            ApplyEvent::Pulling(_, event) => self.progress.layer(&object, event),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parallel_is_a_number_of_steps() {
        assert_eq!(at_once(None), STEPS_AT_ONCE);
        assert_eq!([at_once(Some(0)), at_once(Some(3)), at_once(Some(-1))], [1, 3, usize::MAX]);
    }
}
