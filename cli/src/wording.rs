//! The words for steps of a plan: `Container shop-web-1  Creating … Created`.

use berth_planner::action::{Action, Object};
use berth_planner::observed::{Health, Leftover};
use berth_runtime::monitor::events::Happening;
use berth_schema::stack::Condition;

use crate::ui::Paint;

/// What a step is done to, as progress names it: `Container shop-web-1`.
pub(crate) fn object(action: &Action) -> String {
    let kind = match action.object() {
        Object::Image => "Image",
        Object::Network => "Network",
        Object::Volume => "Volume",
        Object::Container => "Container",
        Object::Rollout => "Rollout of",
        Object::Store => return "Unfinished work".to_owned(),
        Object::Leftover(leftover) => match leftover {
            Leftover::Cgroup(_) => "Leftover cgroup",
            Leftover::Bridge(_) => "Leftover bridge",
            Leftover::PortRules(_) => "Leftover port rules of",
            Leftover::Folder(_) => "Leftover folder",
        },
    };
    format!("{kind} {}", action.target())
}

/// While it is done and when it is: `Creating`, `Created`.
pub(crate) fn words(action: &Action) -> (&'static str, &'static str) {
    match action {
        Action::PullImage { .. } => ("Pulling", "Pulled"),
        Action::CreateNetwork(_) | Action::CreateVolume(_) | Action::CreateContainer(_) => {
            ("Creating", "Created")
        }
        Action::RepairNetwork(_) => ("Repairing", "Repaired"),
        Action::RemoveNetwork { .. }
        | Action::RemoveVolume { .. }
        | Action::RemoveContainer { .. }
        | Action::RemoveImage { .. }
        | Action::SweepStore
        | Action::RemoveLeftover(_) => ("Removing", "Removed"),
        Action::UntagImage { .. } => ("Untagging", "Untagged"),
        Action::UpdateContainer(_) => ("Updating", "Updated"),
        Action::StartContainer { .. } | Action::StartBeside { .. } => ("Starting", "Started"),
        Action::AwaitStable { .. } => ("Waiting", "Stable"),
        Action::TakeOver { .. } => ("Taking over", "Serving"),
        Action::Watch { .. } => ("Watching", "Good"),
        Action::Admit { .. } => ("Waiting", "Next"),
        Action::Conclude { .. } => ("Concluding", "Complete"),
        Action::Drain { .. } => ("Draining", "Drained"),
        Action::HoldPorts { .. } => ("Holding", "Held"),
        Action::ReleasePorts { .. } => ("Awaiting", "Reachable"),
        Action::AdoptContainer { .. } => ("Adopting", "Adopted"),
        Action::AwaitContainer { condition, .. } => match condition {
            Condition::ServiceStarted => ("Waiting", "Running"),
            Condition::ServiceHealthy => ("Waiting", "Healthy"),
            Condition::ServiceCompletedSuccessfully => ("Waiting", "Exited"),
        },
        Action::StopContainer { .. } => ("Stopping", "Stopped"),
        Action::SignalContainer { .. } => ("Signalling", "Signalled"),
        Action::PauseContainer { .. } => ("Pausing", "Paused"),
        Action::UnpauseContainer { .. } => ("Unpausing", "Unpaused"),
    }
}

/// What happened, as Docker's events name it.
pub(crate) fn action(what: &Happening) -> String {
    let word = match what {
        Happening::Create => "create",
        Happening::Destroy => "destroy",
        Happening::Start => "start",
        Happening::Adopt => "adopt",
        Happening::Attach => "attach",
        Happening::Die { .. } => "die",
        Happening::Oom => "oom",
        Happening::HealthStatus { health } => match health {
            Health::None => "health_status: none",
            Health::Starting => "health_status: starting",
            Health::Healthy => "health_status: healthy",
            Health::Unhealthy => "health_status: unhealthy",
        },
        Happening::Restart { .. } => "restart",
        Happening::Hook { .. } => "hook",
        Happening::Hang { .. } => "hang",
        Happening::Kill { .. } => "kill",
        Happening::Stop => "stop",
        Happening::Pause => "pause",
        Happening::Unpause => "unpause",
        Happening::Update => "update",
        Happening::ExecCreate { command, .. } => return format!("exec_create: {command}"),
        Happening::ExecStart { command, .. } => return format!("exec_start: {command}"),
        Happening::ExecDie { .. } => "exec_die",
        Happening::NetworkRepair { .. } => "repair",
    };
    word.to_owned()
}

/// A line of a plan's text form, its first word in the colour of what happens.
pub(crate) fn coloured(line: &str, paint: Paint) -> String {
    let rest = line.trim_start();
    let Some(word) = rest.split([' ', ':']).next() else { return line.to_owned() };
    let painted = match word {
        "create" | "start" | "pull" | "unpause" => paint.green(word),
        "remove" | "stop" | "signal" | "pause" => paint.red(word),
        "replace" | "restart" | "repair" | "update" | "warning" | "PUBLIC" => paint.yellow(word),
        "Plan" | "nothing" => paint.bold(word),
        _ => return line.to_owned(),
    };
    format!("{}{painted}{}", &line[..line.len() - rest.len()], &rest[word.len()..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_word_of_a_plans_line_has_its_colour() {
        let on = Paint::on();
        assert_eq!(coloured("create  web-1", on), "\x1b[32mcreate\x1b[0m  web-1");
        assert_eq!(coloured("    PUBLIC 80/tcp", on), "    \x1b[33mPUBLIC\x1b[0m 80/tcp");
        assert_eq!(coloured("    environment.LOG a → b", on), "    environment.LOG a → b");
        assert_eq!(coloured("create  web-1", Paint::off()), "create  web-1");
    }

    #[test]
    fn a_step_is_named_by_its_object_and_two_words() {
        let start = Action::StartContainer { name: "shop-web-1".into() };
        assert_eq!(object(&start), "Container shop-web-1");
        assert_eq!(words(&start), ("Starting", "Started"));
        let rules = Action::RemoveLeftover(Leftover::PortRules("shop-web-1".into()));
        assert_eq!(object(&rules), "Leftover port rules of shop-web-1");
        let gate = Action::AwaitContainer {
            name: "shop-db-1".into(),
            condition: Condition::ServiceHealthy,
            deadline: None,
        };
        assert_eq!(words(&gate), ("Waiting", "Healthy"));
    }
}
