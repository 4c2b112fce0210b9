//! Plans of the commands that no file is needed for, each judged as it is made.

mod laws;
mod making;
mod order;
mod promise;
mod pruning;
mod stored;
mod world;

use std::collections::BTreeSet;
use std::time::Duration;

use berth_planner::observed::Observed;
use berth_planner::{
    DownOptions, Plan, PlanProblems, RestartOptions, RmOptions, lifecycle, pause as pausing,
};

use crate::checker::judge;
use crate::host::FakeHost;

/// What is asked for.
#[derive(Debug, Clone)]
pub enum Command {
    Down(DownOptions),
    Start(Vec<String>),
    Stop {
        services: Vec<String>,
        grace: Option<Duration>,
        /// Containers of `run` too.
        runs: bool,
    },
    Restart(RestartOptions),
    Kill(Vec<String>, String),
    Rm(RmOptions),
    Pause(Vec<String>),
    Unpause(Vec<String>),
    RemoveVolumes(BTreeSet<String>),
    RemoveContainer(String),
}

impl Command {
    fn made(&self, project: &str, observed: &Observed) -> Result<Plan, PlanProblems> {
        match self {
            Command::Down(options) => berth_planner::down(project, observed, options),
            Command::Start(services) => berth_planner::start(project, observed, services),
            Command::Stop { services, grace, runs: true } => {
                berth_planner::stop(project, observed, services, *grace)
            }
            Command::Stop { services, grace, runs: false } => {
                lifecycle::stop_all_but_runs(project, observed, services, *grace)
            }
            Command::Restart(options) => berth_planner::restart(project, observed, options),
            Command::Kill(services, signal) => {
                berth_planner::kill(project, observed, services, signal)
            }
            Command::Rm(options) => berth_planner::rm(project, observed, options),
            Command::Pause(services) => pausing::pause(project, observed, services),
            Command::Unpause(services) => pausing::unpause(project, observed, services),
            Command::RemoveVolumes(names) => {
                berth_planner::remove_volumes(project, names, observed)
            }
            Command::RemoveContainer(name) => {
                Ok(berth_planner::remove_container(project, name, observed))
            }
        }
    }

    /// The services it names; none is all.
    fn services(&self) -> Vec<String> {
        self.clone().named().cloned().unwrap_or_default()
    }

    /// The same, with its services named the other way round and twice.
    fn said_otherwise(&self) -> Command {
        let mut command = self.clone();
        if let Some(services) = command.named() {
            services.extend(services.clone());
            services.reverse();
        }
        command
    }

    /// The services of one that can name some.
    fn named(&mut self) -> Option<&mut Vec<String>> {
        match self {
            Command::Down(DownOptions { services, .. })
            | Command::Start(services)
            | Command::Stop { services, .. }
            | Command::Restart(RestartOptions { services, .. })
            | Command::Kill(services, _)
            | Command::Rm(RmOptions { services, .. })
            | Command::Pause(services)
            | Command::Unpause(services) => Some(services),
            Command::RemoveVolumes(_) | Command::RemoveContainer(_) => None,
        }
    }

    /// Its plan, when that is what the command promises.
    pub fn plan(&self, project: &str, observed: &Observed) -> Result<Plan, PlanProblems> {
        let made = self.made(project, observed);
        let refusals = promise::refusals(self, project, observed);
        let plan = match made {
            Ok(plan) => plan,
            Err(problems) => {
                assert!(!refusals.is_empty(), "{self:?} is refused: {problems}");
                assert_eq!(self.said_otherwise().made(project, observed), Err(problems.clone()));
                return Err(problems);
            }
        };
        assert!(refusals.is_empty(), "{self:?} is not refused: {refusals:?}\n{plan}");
        self.is_the_same_again(&plan, project, observed);
        judge(&plan, None, observed);
        order::judge_order(self, &plan, observed);
        for seed in [1, 2] {
            let mut host = FakeHost::at(observed);
            promise::perform(&mut host, &plan, seed, None);
            promise::judge_end(self, &plan, observed, &host.observed);
            promise::judge_rest(self, &plan, &host.observed);
        }
        Ok(plan)
    }

    /// Equal input gives equal bytes, in whatever order it came.
    fn is_the_same_again(&self, plan: &Plan, project: &str, observed: &Observed) {
        let bytes = |plan: &Plan| (plan.to_string(), serde_json::to_string(plan).unwrap());
        let text = serde_json::to_string(observed).unwrap();
        let read: Observed = serde_json::from_str(&text).unwrap();
        for (command, observed) in [(self, &read), (&self.said_otherwise(), observed)] {
            let other = command.made(project, observed).unwrap();
            assert_eq!(bytes(plan), bytes(&other), "{command:?}");
            assert_eq!(plan, &other);
        }
    }
}

type Made = Result<Plan, PlanProblems>;

pub fn down(project: &str, observed: &Observed, options: &DownOptions) -> Made {
    Command::Down(options.clone()).plan(project, observed)
}

pub fn start(project: &str, observed: &Observed, services: &[String]) -> Made {
    Command::Start(services.to_vec()).plan(project, observed)
}

pub fn stop(
    project: &str,
    observed: &Observed,
    services: &[String],
    grace: Option<Duration>,
) -> Made {
    Command::Stop { services: services.to_vec(), grace, runs: true }.plan(project, observed)
}

pub fn stop_all_but_runs(
    project: &str,
    observed: &Observed,
    services: &[String],
    grace: Option<Duration>,
) -> Made {
    Command::Stop { services: services.to_vec(), grace, runs: false }.plan(project, observed)
}

pub fn restart(project: &str, observed: &Observed, options: &RestartOptions) -> Made {
    Command::Restart(options.clone()).plan(project, observed)
}

pub fn kill(project: &str, observed: &Observed, services: &[String], signal: &str) -> Made {
    Command::Kill(services.to_vec(), signal.to_owned()).plan(project, observed)
}

pub fn rm(project: &str, observed: &Observed, options: &RmOptions) -> Made {
    Command::Rm(options.clone()).plan(project, observed)
}

pub fn pause(project: &str, observed: &Observed, services: &[String]) -> Made {
    Command::Pause(services.to_vec()).plan(project, observed)
}

pub fn unpause(project: &str, observed: &Observed, services: &[String]) -> Made {
    Command::Unpause(services.to_vec()).plan(project, observed)
}
