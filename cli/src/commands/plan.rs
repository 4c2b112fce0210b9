//! `berth plan`.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use berth_planner::down::down;
use berth_runtime::host::Asked;
use clap::parser::ValueSource;
use clap::{Args, CommandFactory};

use super::up::Shape;
use crate::args::Cli;
use crate::failure::{Exit, Failure};
use crate::flow;
use crate::generations::{self, Run};
use crate::images::Aim;
use crate::next;
use crate::saved;
use crate::session::Session;
use crate::values::moment;
use crate::views::{self, Made, ViewArgs};

/// Words that `up` has, and `down` has not.
const OF_UP: [&str; 10] = [
    "force_recreate",
    "no_recreate",
    "always_recreate_deps",
    "no_deps",
    "renew_anon_volumes",
    "scale",
    "order",
    "pull",
    "retry",
    "locked",
];

/// Words of the policy that judges `up`.
const OF_POLICY: [&str; 2] = ["policy", "allow"];

/// Arguments of `plan`.
#[derive(Debug, Args)]
pub(crate) struct PlanArgs {
    /// Only these services and what they depend on; or a saved plan, `FILE.plan`, to look at
    #[arg(value_name = "SERVICE|FILE.plan")]
    services: Vec<String>,
    /// Save the plan: `berth up FILE.plan` does exactly that, or nothing
    #[arg(short, long, value_name = "FILE.plan", value_parser = saved::file_name, conflicts_with = "down")]
    output: Option<PathBuf>,
    /// With --output: how long it is good, `1h` or `7d`; a day unless told otherwise
    #[arg(long, value_name = "DURATION", value_parser = moment::seconds, requires = "output")]
    good_for: Option<Duration>,
    /// How it is shown
    #[command(flatten)]
    view: ViewArgs,
    /// End with 2 when there is something to do
    #[arg(long)]
    detailed_exitcode: bool,
    /// Show what `down` would do
    #[arg(long, conflicts_with_all = OF_UP)]
    down: bool,
    /// With --down: what `down --volumes` would do; the history that goes with it is no step
    #[arg(short, long, requires = "down")]
    volumes: bool,
    /// What is to be the same for `create`, `plan` and `up`
    #[command(flatten)]
    shape: Shape,
}

/// Shows what would be done, and does nothing.
pub(crate) async fn run(session: &Session, args: &PlanArgs) -> Result<Exit, Failure> {
    let changes = |exit| if args.detailed_exitcode { exit } else { Exit::Done };
    if let Some(file) = saved::named(&args.services)? {
        return saved::show(session, file, args.view.json).await.map(changes);
    }
    if let Some(file) = &args.output {
        let to = (file.as_path(), args.good_for);
        let show = |made: &Made| views::show(session, &args.view, made);
        return saved::save(session, to, (&args.services, &args.shape), show).await.map(changes);
    }
    if args.down {
        check_down(std::env::args_os())?;
    }
    let (mut made, verdict) = match args.down {
        true => (plan_down(session, args).await?, Ok(())),
        false => plan_up(session, args).await?,
    };
    made.next = verdict.is_ok().then(|| next::of_plan(std::env::args_os()));
    views::show(session, &args.view, &made)?;
    verdict?;
    Ok(changes(if made.plan.is_empty() { Exit::Done } else { Exit::Changes }))
}

/// Refuses what `down`, which no policy judges, has no use for. What variables of the environment say is
/// not meant for it, and does not count.
fn check_down(words: impl IntoIterator<Item = OsString>) -> Result<(), Failure> {
    // They were taken once already.
    let Ok(all) = Cli::command().try_get_matches_from(words) else { return Ok(()) };
    let Some((_, said)) = all.subcommand() else { return Ok(()) };
    let is_said = |option: &&str| said.value_source(option) == Some(ValueSource::CommandLine);
    match OF_POLICY.into_iter().find(is_said) {
        None => Ok(()),
        Some(option) => {
            let text = format!("`--{option}` does not go with `--down`");
            Err(Failure::usage(text).with_help("no policy judges what `down` does; leave it out"))
        }
    }
}

/// The plan, and what of it the policy does not let happen.
async fn plan_up(
    session: &Session,
    args: &PlanArgs,
) -> Result<(Made, Result<(), Failure>), Failure> {
    let stack = session.load(&args.services)?;
    let host = flow::open_to_look(session)?;
    let mut images = args.shape.images(session, &stack)?;
    let options = args.shape.options(&args.services);
    let judged = (&stack, Aim::Up(&options));
    let observed = host.observe(&images.asked(&stack, judged.1)).await?;
    let seen = (&host, &observed);
    let verdict = images.judge(session, seen, judged, &args.shape.policy)?.check(&stack);
    let (desired, plan) = images.planned(&stack, &observed, Aim::Up(&options))?;
    images.tell_open(session, &stack, &observed, Aim::Up(&options))?;
    let verdict = verdict.and_then(|()| match args.shape.retries() {
        true => Ok(()),
        false => generations::check_rejected(session, &host, (&desired, &observed), &plan),
    });
    let (pins, history, kept) = (images.pins(), stack.history, BTreeSet::new());
    let run = Run { stack: &stack, options: &options, pins, history, rollback: None, kept };
    let generation = generations::leads_to(session, &host, &run, (&desired, &observed, &plan));
    let (stack, desired) = (Some(stack), Some(desired));
    Ok((Made { plan, observed, stack, desired, generation, next: None }, verdict))
}

async fn plan_down(session: &Session, args: &PlanArgs) -> Result<Made, Failure> {
    let project = session.project()?;
    let host = flow::open_to_look(session)?;
    let observed = host.observe(&Asked::default()).await?;
    let (orphans, grace) = (args.shape.orphans(), args.shape.grace());
    let options = super::down::options(&project, args.volumes, orphans, grace, &args.services);
    let plan = down(&project.name, &observed, &options)?;
    let stack = project.stack;
    Ok(Made { plan, observed, stack, desired: None, generation: None, next: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_down_has_no_use_for_is_refused_where_it_was_said() {
        let refused = |words: &str| check_down(words.split(' ').map(OsString::from)).is_err();
        assert!(refused("berth plan --down --policy strict"));
        assert!(refused("berth -p shop plan --allow all --down db"));
        assert!(!refused("berth plan --down -t 5 db"));
    }
}
