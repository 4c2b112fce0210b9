//! `berth lock`.

use std::collections::{BTreeMap, BTreeSet};

use berth_planner::lock::{self, LockChange, Need};
use berth_runtime::store::{Look, PullOptions, StoreError};
use berth_schema::lockfile::{Lock, LockedImage};
use clap::Args;
use jiff::Timestamp;

use crate::args::Format;
use crate::asking::ask_all;
use crate::failure::{Exit, Failure};
use crate::locking::{LockFile, here, names};
use crate::project::unknown_service;
use crate::session::Session;
use crate::ui::safe;

/// Arguments of `lock`.
#[derive(Debug, Args)]
pub(crate) struct LockArgs {
    /// Only the images of these services
    services: Vec<String>,
    /// Ask the registries again, also for images that are locked
    #[arg(short, long)]
    update: bool,
    /// Ask nobody and write nothing; fail when berth.lock and the files differ
    #[arg(long, conflicts_with_all = ["update", "services"])]
    check: bool,
    /// How changes are printed
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// Writes down which image each name of the files means.
pub(crate) async fn run(session: &Session, args: &LockArgs) -> Result<Exit, Failure> {
    let stack = session.all_services()?;
    if let Some(name) = args.services.iter().find(|name| !stack.services.contains_key(*name)) {
        return Err(unknown_service(name, stack.services.keys().map(String::as_str)));
    }
    let file = LockFile::of(session, &stack);
    let before = file.read()?;
    if args.check {
        return check(session, &file, before.as_ref());
    }
    let needs = lock::needs(&stack, &names(&stack)?, &here());
    let known = before.clone().unwrap_or_default();
    let asked = lock::to_ask(&needs, &known, &args.services, args.update);
    let answers = answers(session, &needs, &known, asked).await?;
    let (after, changes) = lock::relock(&needs, &known, answers);
    if before.as_ref() != Some(&after) && !session.global.dry_run {
        file.write(&after)?;
    }
    tell(session, args.format, &changes)?;
    if changes.is_empty() {
        let count = after.images.len();
        session.ui.note(&safe(&format!("{}: nothing to do, {count} unchanged", file.name())));
    }
    Ok(Exit::Done)
}

fn check(session: &Session, file: &LockFile, lock: Option<&Lock>) -> Result<Exit, Failure> {
    match lock {
        Some(lock) => session.check(file, lock).map(|()| Exit::Done),
        None => Err(Failure::refused(format!("there is no `{}`", file.name()))
            .with_help("`berth lock` makes it")),
    }
}

fn tell(session: &Session, format: Format, changes: &[LockChange]) -> Result<(), Failure> {
    match format {
        Format::Json => session.ui.json_lines(changes),
        Format::Table => session.ui.list(changes.iter().map(ToString::to_string)),
    }
}

/// What the registries have. If one image cannot be had nothing is written, so that a lock that
/// was made is whole.
async fn answers(
    session: &Session,
    needs: &BTreeMap<String, Need>,
    known: &Lock,
    asked: BTreeSet<String>,
) -> Result<BTreeMap<String, LockedImage>, Failure> {
    let platforms = |name: &String| needs.get(name).map(|need| need.platforms.clone());
    let found = ask_all(asked, |name| {
        let locked = known.images.get(&name).cloned();
        let platforms = platforms(&name).unwrap_or_default();
        async move { answer(&name, locked, &platforms).await }
    });
    let (mut answers, mut causes) = (BTreeMap::new(), Vec::new());
    for (name, found) in found.await {
        let need = needs.get(&name);
        match found {
            Ok(image) => drop(answers.insert(name, image)),
            Err(why) if need.is_some_and(|need| need.buildable) => {
                session.ui.note(&safe(&format!(" {name} is left out, it is built here: {why}")));
            }
            Err(why) => {
                let who = need.map(|need| Vec::from_iter(need.services.clone()).join(", "));
                causes.push(format!("image of `{}`: {why}", who.unwrap_or_default()));
            }
        }
    }
    if causes.is_empty() { Ok(answers) } else { Err(Failure::NotLocked(causes)) }
}

/// What one registry has now. If that is what is locked, its head tells.
async fn answer(
    name: &str,
    locked: Option<LockedImage>,
    platforms: &BTreeSet<String>,
) -> Result<LockedImage, StoreError> {
    let look = Look::at(name, &PullOptions::default()).await?;
    if let Some(locked) = locked
        && platforms.iter().all(|platform| locked.platforms.contains_key(platform))
        && look.digest().await? == locked.digest
    {
        return Ok(locked);
    }
    let offer = look.offer().await?;
    platforms.iter().try_for_each(|platform| offer.fits(platform))?;
    let resolved = format!("{:.0}", Timestamp::now());
    Ok(LockedImage { digest: offer.digest, resolved, platforms: offer.platforms })
}
