//! `berth rollback`.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use berth_planner::desired::Desired;
use berth_planner::generation::{Generation, Rollback, is_applied, numbered, target};
use berth_planner::observed::Observed;
use berth_planner::up::UpOptions;
use berth_runtime::host::Host;
use clap::Args;

use super::generations::no_target;
use super::image::short;
use crate::failure::{Exit, Failure};
use crate::flow::{self, Manner};
use crate::generations::{self, Run, Waited, Wanted};
use crate::images::{Aim, Images, Past};
use crate::policy::{self, PolicyArgs};
use crate::session::Session;
use crate::taken_back::Back;
use crate::ui::safe;
use crate::values::moment;

/// How often the way back is chosen anew.
const ATTEMPTS: u32 = 3;

/// Arguments of `rollback`.
#[derive(Debug, Args)]
pub(crate) struct RollbackArgs {
    /// Its number, as `history` has it; else the last that was good before the one that is applied
    generation: Option<u64>,
    /// Return when every service is as its file declares (healthy, running, or ended well)
    #[arg(long)]
    wait: bool,
    /// Wait so long at most, in seconds
    #[arg(long, value_name = "SECONDS", value_parser = moment::seconds, requires = "wait")]
    wait_timeout: Option<Duration>,
    /// How long a container may take to stop, in seconds
    #[arg(short, long, value_name = "SECONDS", value_parser = moment::seconds)]
    timeout: Option<Duration>,
    /// Ask nothing; what needs consent is then refused
    #[arg(short, long)]
    yes: bool,
    /// What the stack may have.
    #[command(flatten)]
    policy: PolicyArgs,
}

/// Makes the host what it was in a generation. Neither the files nor a registry are needed.
pub(crate) async fn run(session: &Session, args: &RollbackArgs) -> Result<Exit, Failure> {
    let host = flow::open(session)?;
    let project = generations::project(session, &host)?;
    for _ in 0..ATTEMPTS {
        if let ControlFlow::Break(exit) = once(session, (&host, &project), args).await? {
            return Ok(exit);
        }
        session.ui.note(&safe(&format!("{project}: another run changed it meanwhile")));
    }
    let text = format!("other runs change `{project}` again and again");
    Err(Failure::refused(text).with_help("run `berth rollback` again when they have ended"))
}

/// Where a rollback leads, chosen before anything is changed.
struct Way {
    of: Generation,
    to: Generation,
}

impl Way {
    fn choose(host: &Host, project: &str, asked: Option<u64>) -> Result<Way, Failure> {
        let all = host.generations(project)?;
        let to = match (asked, all.last()) {
            (Some(number), _) => numbered(project, &all, number),
            (None, Some(newest)) => {
                // A run that was cut off left no generation, but may have left containers.
                let is_last = newest.run == host.last_run(project)?;
                target(project, &all, is_last || is_applied(newest, &host.list_containers()?))
            }
            (None, None) => target(project, &all, true),
        };
        let to = to.map_err(no_target)?.clone();
        Ok(Way { of: all.last().unwrap_or(&to).clone(), to })
    }

    fn told(&self, project: &str) -> String {
        let (of, to) = (self.of.number, self.to.number);
        match of == to {
            true => format!("{project}: generation {to} as it was"),
            false => format!("{project}: from generation {of} to {to}"),
        }
    }
}

/// Goes back, unless somebody else has changed the project between the choice and the lock.
async fn once(
    session: &Session,
    (host, project): (&Arc<Host>, &str),
    args: &RollbackArgs,
) -> Result<ControlFlow<Exit>, Failure> {
    let way = Way::choose(host, project, args.generation)?;
    let Way { of, to } = &way;
    check_images(host, to)?;
    session.ui.note(&safe(&way.told(project)));
    let again = generations::past(session, host, to);
    let mut stack = again.load(&[])?;
    stack.files.clone_from(&to.made_of.files);
    let mut images = Images::of_generation(to.made_of.pins.clone(), past(host, of, to)?);
    let options = UpOptions { remove_orphans: true, grace: args.timeout, ..UpOptions::default() };
    let aim = Aim::Up(&options);
    let mut look = images.pass(&again, host, (&stack, aim), (&args.policy, !args.yes)).await?;
    let now = Way::choose(host, project, args.generation)?;
    if (now.of.number, now.to.number) != (of.number, to.number) {
        return Ok(ControlFlow::Continue(()));
    }
    let (wanted, told) = (Wanted::default(), AtomicBool::new(false));
    let plan = images.planning((&again, host), (&stack, aim), |images, observed| {
        let (desired, plan) = images.planned(&stack, observed, aim)?;
        if !told.swap(true, Ordering::Relaxed) {
            tell_secrets(session, to, &desired);
            if !session.global.dry_run && !plan.is_empty() {
                plan.to_string().lines().for_each(|line| session.ui.note(&safe(line)));
            }
        }
        wanted.keep(desired);
        Ok(plan)
    });
    let desired = |_: &Observed| Ok(wanted.last().unwrap_or_default());
    let back = Back { desired: &desired, places: &stack.places };
    let how = (Manner::Usual, &back);
    let changed = flow::change_or_back(&again, host, &mut look, plan, how).await;
    let about = wanted.about(&options);
    let rollback = Rollback { of: of.number, to: to.number };
    let rollback = Some(rollback).filter(|back| back.of != back.to);
    // What was kept less of then would forget what has come since.
    let (pins, history) = (images.pins(), of.history);
    let run =
        Run { stack: &stack, options: &options, pins, history, rollback, kept: BTreeSet::new() };
    let run = generations::remember(&again, host, &look, (&run, wanted), &changed);
    drop(look);
    let change = changed
        .map_err(|failure| failure.tried_again_by(&format!("berth rollback {}", to.number)))?;
    if session.global.dry_run || change.interrupted.is_some() {
        return Ok(ControlFlow::Break(change.exit()));
    }
    match change.done {
        0 => session.ui.note(&safe(&format!("{project}: nothing to do"))),
        _ => policy::tell(&again, &change.plan.grants),
    }
    let exit = match args.wait {
        true => {
            let waited = Waited { project, run, changed: change.done > 0, whole: true };
            super::up::wait(session, host, &waited, (&about?, args.wait_timeout)).await?
        }
        false => Exit::Done,
    };
    Ok(ControlFlow::Break(exit))
}

/// Images and files as a generation had them. Services that have come since go.
fn past(host: &Host, of: &Generation, to: &Generation) -> Result<Past, Failure> {
    let parts = to.made_of.services.iter();
    let images = parts.filter_map(|(name, part)| Some((name.clone(), part.needed()?.to_owned())));
    let known = of.made_of.services.keys().chain(to.made_of.services.keys()).cloned();
    Ok(Past {
        contents: host.contents_of(to)?,
        images: images.collect(),
        known: Some(known.collect()),
    })
}

/// All images of a generation have to be here: no registry is asked on the way back.
fn check_images(host: &Arc<Host>, to: &Generation) -> Result<(), Failure> {
    let number = to.number;
    for (service, part) in &to.made_of.services {
        let Some(id) = part.needed() else { continue };
        if host.store().resolve(id)?.is_none() {
            let (image, id) = (&part.image, short(id));
            let gone = format!(
                "image `{image}` ({id}) that `{service}` had in generation {number} is not here any more"
            );
            return Err(Failure::refused(gone).with_help(match part.digests.first() {
                Some(name) => format!("`berth image pull {name}` gets it, then roll back again"),
                None => "load it again with `berth image load`, or go back to another generation"
                    .to_owned(),
            }));
        }
    }
    for (image, id) in &to.made_of.other_images {
        let now = host.store().resolve(image)?.map(|entry| entry.id);
        if now.as_deref() != Some(id.as_str()) {
            let other = match now {
                Some(_) => "means another image now",
                None => "is not here any more",
            };
            let gone =
                format!("image `{image}` that is mounted or run in generation {number} {other}");
            let help = match host.store().resolve(id)? {
                Some(_) => format!("`berth image tag {id} {image}` makes it what it was"),
                None => "load or pull it again, or go back to another generation".to_owned(),
            };
            return Err(Failure::refused(gone).with_help(help));
        }
    }
    Ok(())
}

/// Tells which secrets are not what they were: their files are not kept.
fn tell_secrets(session: &Session, to: &Generation, desired: &Desired) {
    for (name, part) in &to.made_of.services {
        let files = desired.services.get(name).into_iter().flat_map(|s| &s.container.files);
        for file in files.filter(|file| file.secret) {
            if part.secrets.get(&file.target).is_some_and(|before| *before != file.digest) {
                session.ui.note(&safe(&format!(
                    "the secret at `{}` of `{name}` stays what it is now: secrets are not kept",
                    file.target
                )));
            }
        }
    }
}
