//! Laws of the commands, for every stack on every host.

use berth_planner::Step;
use berth_planner::action::Action;
use proptest::prelude::*;

use super::Command;
use super::promise::{judge_end, judge_rest, perform};
use super::world::{asked, drawings};
use crate::host::{Break, FakeHost};

fn cases() -> ProptestConfig {
    ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn a_command_does_what_it_promises_and_nothing_else(drawing in drawings(), asked in asked()) {
        let world = drawing.world();
        let command = asked.command(&world);
        // Judges what comes.
        drop(command.plan("shop", &world.observed));
    }

    #[test]
    fn a_command_that_broke_off_goes_on_when_it_is_given_again(
        drawing in drawings(),
        asked in asked(),
        (seed, at) in any::<(u64, prop::sample::Index)>(),
    ) {
        let world = drawing.world();
        let command = asked.command(&world);
        let again = match &command {
            // These say the same thing again.
            Command::Restart(_) | Command::Kill(..) | Command::RemoveVolumes(_) => false,
            // A container that is gone tells nobody what it had.
            Command::RemoveContainer(_) => false,
            Command::Rm(options) => !options.volumes,
            Command::Down(options) => options.services.is_empty(),
            _ => true,
        };
        if let (true, Ok(plan)) = (again, command.made("shop", &world.observed)) {
            // Who was stopped because it shares namespaces does not tell that it ran.
            let stops = |step: &Step| matches!(step.action, Action::StopContainer { .. });
            let follows = matches!(command, Command::Start(_)) && plan.steps.iter().any(stops);
            prop_assume!(!follows);
            let mut host = FakeHost::at(&world.observed);
            let at = at.index(plan.steps.len().max(1));
            perform(&mut host, &plan, seed, Some(Break::Fails(at)));
            if let Ok(rest) = command.made("shop", &host.observed) {
                perform(&mut host, &rest, seed.rotate_left(7), None);
                judge_end(&command, &plan, &world.observed, &host.observed);
                judge_rest(&command, &plan, &host.observed);
            }
        }
    }
}
