//! `berth pull`.

use std::collections::{BTreeMap, BTreeSet};

use berth_planner::lock::{self, Pins};
use berth_planner::observed::Observed;
use berth_planner::pull::{Fetch, PullOptions, Source, fetches};
use berth_runtime::host;
use berth_runtime::host::Asked;
use berth_schema::config::Switches;
use berth_schema::images;
use berth_schema::stack::{Service, Stack};
use clap::{Args, ValueEnum};

use crate::failure::{Exit, Failure};
use crate::flow::{self, Manner};
use crate::locking::{LockedArg, asked};
use crate::project::unknown_service;
use crate::session::Session;
use crate::ui::safe;

/// Arguments of `pull`.
#[derive(Debug, Args)]
pub(crate) struct PullArgs {
    /// Only these services
    services: Vec<String>,
    /// Also what the named services depend on
    #[arg(long)]
    include_deps: bool,
    /// Whatever the file says: `always`, or `missing` to leave images alone that are here
    #[arg(long, value_enum, hide_possible_values = true)]
    policy: Option<Policy>,
    /// Leave out images that can be built
    #[arg(long)]
    ignore_buildable: bool,
    /// End well even if an image could not be pulled
    #[arg(long)]
    ignore_pull_failures: bool,
    /// Show no progress
    #[arg(short, long)]
    quiet: bool,
    /// Whether the lock may be behind.
    #[command(flatten)]
    locked: LockedArg,
}

/// When an image is fetched that is here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Policy {
    /// Each time
    Always,
    /// Not at all
    Missing,
}

/// Gets the images of services.
pub(crate) async fn run(session: &Session, args: &PullArgs) -> Result<Exit, Failure> {
    let options = session.options(&args.services);
    let stack = session.load_for_show(&options, Switches::default())?;
    let wanted = selected(&stack, &args.services, args.include_deps)?;
    let pins = session.pins(&stack, args.locked)?;
    let sources = sources(&stack, &pins, &wanted);
    let host = flow::open(session)?;
    let options = PullOptions {
        policy: args.policy.map(|policy| match policy {
            Policy::Always => Fetch::Always,
            Policy::Missing => Fetch::Missing,
        }),
        ignore_buildable: args.ignore_buildable,
    };
    let asked = Asked { images: asked(&stack, &pins), ..Asked::default() };
    let (_, left_out) = fetches(&stack.name, &sources, &host.observe(&asked).await?, &options);
    for (service, why) in left_out.iter().filter(|_| !args.quiet) {
        session.ui.note(&safe(&format!(" {service} is left out: {why}")));
    }
    let plan = |observed: &Observed| Ok(fetches(&stack.name, &sources, observed, &options).0);
    let manner = if args.quiet { Manner::Silent } else { Manner::Usual };
    match flow::change_as(session, &host, &stack.name, &asked, plan, manner).await {
        Ok(change) => Ok(change.exit()),
        Err(Failure::Partial { causes, .. }) if args.ignore_pull_failures => {
            causes.iter().for_each(|cause| session.ui.warn(cause));
            Ok(Exit::Done)
        }
        Err(failure) => Err(failure),
    }
}

/// What the chosen services say about their images.
fn sources(stack: &Stack, pins: &Pins, chosen: &BTreeSet<String>) -> BTreeMap<String, Source> {
    let policies = images::pull_policies(stack);
    let services = stack.services.iter().filter(|(name, _)| chosen.contains(*name));
    let here = host::platform();
    let source = |(name, service): (&String, &Service)| {
        let source = Source {
            image: service.image.clone(),
            build: service.build.is_some(),
            policy: policies.get(name).cloned(),
            locked: service.image.as_ref().and_then(|image| pins.digest(image)),
            others: others(service, pins),
            foreign: service.platform.as_ref().is_some_and(|platform| !platform.runs_on(&here)),
        };
        (name.clone(), source)
    };
    services.map(source).collect()
}

/// The images of `pre_start` and of mounts that are not the service's.
fn others(service: &Service, pins: &Pins) -> Vec<String> {
    let pinned = |image: &String| Some(lock::reference(image, &pins.digest(image)?));
    let name = |image: &String| pinned(image).unwrap_or_else(|| image.clone());
    service.other_images().map(name).collect()
}

/// The named services, with what they depend on if that was asked for; all without names.
pub(super) fn selected(
    stack: &Stack,
    services: &[String],
    include_deps: bool,
) -> Result<BTreeSet<String>, Failure> {
    if services.is_empty() {
        return Ok(stack.services.keys().cloned().collect());
    }
    let mut selected = BTreeSet::new();
    let mut open = services.to_vec();
    while let Some(name) = open.pop() {
        let Some(service) = stack.services.get(&name) else {
            return Err(unknown_service(&name, stack.services.keys().map(String::as_str)));
        };
        if selected.insert(name) && include_deps {
            open.extend(service.depends_on.keys().cloned());
        }
    }
    Ok(selected)
}
