//! Saved plans: `plan -o FILE.plan` writes one, `up FILE.plan` does exactly that or nothing.
//!
//! What is in the file is never performed. It says from which words the plan was made, and on what it
//! rests ([`Basis`]). `up` makes the plan once more from the same words, under the lock of the project,
//! and goes on only if it comes out the same, byte for byte. So a file can make nothing happen that
//! `up` would not do, and it never does more or less than was shown.
//!
//! Reading order: [`inputs`] (the words), [`key`] (what digests are made with), [`file`] (how it is
//! written and read), [`words`] (what may stand beside it), this module.

mod file;
mod inputs;
mod key;
mod words;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use berth_planner::basis::Basis;
use berth_planner::desired::Desired;
use berth_planner::lock::Pins;
use berth_planner::loss::lost;
use berth_planner::observed::Observed;
use berth_planner::pull;
use berth_runtime::host::{Host, Lock};
use berth_schema::stack::Stack;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

pub(crate) use file::Saved;
use inputs::Inputs;
use key::Key;
pub(crate) use words::{check, file_name, named};

use crate::commands::up::Shape;
use crate::failure::{Exit, Failure};
use crate::flow::{self, Change};
use crate::generations::{self, Run};
use crate::images::{Aim, Images};
use crate::loss::Loss;
use crate::next;
use crate::policy;
use crate::session::Session;
use crate::taken_back::Back;
use crate::ui::safe;
use crate::views;

/// How long a saved plan is good, unless somebody says otherwise.
const GOOD_FOR: Duration = Duration::from_secs(24 * 60 * 60);

/// A plan with what it rests on.
pub(crate) struct Made {
    view: views::Made,
    basis: Basis,
    images: Images,
    /// Images of which only their pull tells what is next.
    open: Vec<String>,
}

impl Made {
    /// The plan for these services, made now; the inner failure is what forbids one.
    pub(crate) async fn now(
        session: &Session,
        host: &Arc<Host>,
        (stack, key): (&Stack, &Key),
        (services, shape): (&[String], &Shape),
    ) -> Result<Result<Made, Failure>, Failure> {
        let mut images = shape.images(session, stack)?;
        let options = shape.options(services);
        let aim = Aim::Up(&options);
        let observed = host.observe(&images.asked(stack, aim)).await?;
        images.judge(session, (host, &observed), (stack, aim), &shape.policy)?;
        let desired = images.as_judged(stack, &observed)?;
        let plan = match images.plan(stack, &observed, aim) {
            Ok(plan) => plan,
            Err(forbidden) => return Ok(Err(forbidden)),
        };
        let open = images.open(stack, &observed, aim)?;
        let (digest, last_run) = (|bytes: &[u8]| key.digest(bytes), host.last_run(&stack.name)?);
        let basis = Basis::of((&desired, &observed, &plan), last_run, &digest);
        let (pins, history, kept) = (images.pins(), stack.history, BTreeSet::new());
        let run = Run { stack, options: &options, pins, history, rollback: None, kept };
        let generation = generations::leads_to(session, host, &run, (&desired, &observed, &plan));
        let (stack, desired) = (Some(stack.clone()), Some(desired));
        let view = views::Made { plan, observed, stack, desired, generation, next: None };
        Ok(Ok(Made { view, basis, images, open }))
    }

    /// Whether all it comes to is known before it is done.
    ///
    /// # Errors
    /// An image that only its pull tells, with the next move.
    fn check(&self) -> Result<(), Failure> {
        if let Some(image) = self.open.first() {
            return Err(Failure::refused(format!(
                "image `{image}` is looked at before it is planned what follows, so no plan is exact"
            ))
            .with_help("`berth pull`, then plan with `--pull missing`; or `berth lock` pins it"));
        }
        if let Some(image) = pull::unpinned(&self.view.plan).next() {
            return Err(Failure::refused(format!(
                "image `{image}` is not here, and nobody knows what its pull will bring"
            ))
            .with_help("`berth pull`, then plan again; or `berth lock` pins it"));
        }
        Ok(())
    }

    /// What data goes with it.
    pub(crate) fn loss(&self, host: &Host) -> Result<Loss, Failure> {
        Loss::of(host, &self.view.plan, &self.view.observed)
    }

    /// Whether just this was taken back before.
    fn check_rejected(&self, session: &Session, host: &Host) -> Result<(), Failure> {
        let views::Made { plan, observed, desired, .. } = &self.view;
        match desired {
            Some(desired) => generations::check_rejected(session, host, (desired, observed), plan),
            None => Ok(()),
        }
    }
}

/// Shows a plan and writes it to `file`.
pub(crate) async fn save(
    session: &Session,
    (file, good_for): (&Path, Option<Duration>),
    (services, shape): (&[String], &Shape),
    show: impl FnOnce(&views::Made) -> Result<(), Failure>,
) -> Result<Exit, Failure> {
    if session.global.dry_run {
        return Err(Failure::usage("with `--dry-run` nothing is saved")
            .with_help("`berth plan` alone shows the plan"));
    }
    let inputs = Inputs::of(session, services, shape);
    let stack = session.load(services)?;
    inputs.check(&stack)?;
    let host = flow::open(session)?;
    let key = Key::make(host.roots())?;
    let mut made = Made::now(session, &host, (&stack, &key), (services, shape)).await??;
    let verdict = made.images.ruling().check(&stack).and_then(|()| made.check());
    let verdict = verdict.and_then(|()| match shape.retries() {
        true => Ok(()),
        false => made.check_rejected(session, &host),
    });
    let name = file.display().to_string();
    let loses = !lost(&made.view.plan, &made.view.observed).is_empty();
    made.view.next = verdict.is_ok().then(|| command(&next::quoted(&name), loses));
    show(&made.view)?;
    verdict?;
    let plan = &made.view.plan;
    let created = Timestamp::now();
    let good_for = SignedDuration::try_from(good_for.unwrap_or(GOOD_FOR)).ok();
    let expires = good_for.and_then(|span| created.checked_add(span).ok());
    let saved = Saved {
        project: stack.name.clone(),
        created,
        expires: expires.unwrap_or(Timestamp::MAX),
        host: key.host(),
        inputs,
        basis: made.basis,
        plan: serde_json::to_value(made.view.shown()).map_err(Failure::refused)?,
        shown: made.view.page(session).lines().map(str::to_owned).collect(),
    };
    saved.write(&session.working_dir.join(file), &key)?;
    session.ui.note(&safe(&format!(
        "saved in `{name}`; `{}` does exactly this until {}",
        command(&name, loses),
        until(saved.expires)
    )));
    Ok(if plan.is_empty() { Exit::Done } else { Exit::Changes })
}

/// What does a saved plan. Data goes only with a yes.
fn command(file: &str, loses: bool) -> String {
    format!("berth up {}{file}", if loses { "-y " } else { "" })
}

/// Reads a saved plan of this host.
pub(crate) fn open(session: &Session, host: &Host, file: &str) -> Result<(Saved, Key), Failure> {
    let key = Key::read(host.roots())?;
    let saved = Saved::read(&session.working_dir.join(file), file, key.as_ref())?;
    match key {
        Some(key) => Ok((saved, key)),
        None => Err(file::refused(file, file::ELSEWHERE)),
    }
}

/// Shows a saved plan, and whether it still holds.
pub(crate) async fn show(session: &Session, file: &str, as_json: bool) -> Result<Exit, Failure> {
    check("plan", file)?;
    let host = flow::open_to_look(session)?;
    let (saved, key) = open(session, &host, file)?;
    let again = saved.inputs.session(session);
    let stack = again.load(&saved.inputs.services)?;
    let made = remade(&saved, &again, &host, (&stack, &key)).await?;
    let moved = made.err().unwrap_or_default();
    if as_json {
        session.ui.json(&json!({
            "created": saved.created, "expires": saved.expires, "holds": moved.is_empty(),
            "moved": moved, "plan": saved.plan,
        }))?;
    } else {
        flow::show_lines(session, &saved.shown)?;
    }
    if !moved.is_empty() {
        return Err(Failure::Moved { file: file.to_owned(), causes: moved });
    }
    let is_empty = |list: &str| saved.plan[list].as_array().is_none_or(Vec::is_empty);
    session.ui.note(&safe(&format!(
        "it still holds: `{}` does exactly this until {}",
        command(file, !is_empty("data_loss")),
        until(saved.expires)
    )));
    let empty = is_empty("steps");
    Ok(if empty { Exit::Done } else { Exit::Changes })
}

/// The plan, made again, if it still holds and may be done.
pub(crate) async fn holding(
    session: &Session,
    host: &Arc<Host>,
    stack: &Stack,
    (file, saved, key): (&str, &Saved, &Key),
) -> Result<Made, Failure> {
    let moved = |causes| Failure::Moved { file: file.to_owned(), causes };
    let made = remade(saved, session, host, (stack, key)).await?.map_err(moved)?;
    made.images.ruling().check(stack)?;
    Ok(made)
}

/// What came of a saved plan that still held.
pub(crate) struct Done {
    /// What it was made of.
    pub(crate) desired: Arc<Desired>,
    /// What the lock says.
    pub(crate) pins: Pins,
    /// What it came to.
    pub(crate) changed: Result<Change, Failure>,
}

/// Does a plan that holds. The caller has had the lock of the project since before it was made. What
/// it consents to is remembered if anything of it was done.
pub(crate) async fn apply(
    session: &Session,
    (host, _lock): (&Arc<Host>, &Lock),
    stack: &Stack,
    (file, saved, made): (&str, &Saved, Made),
) -> Result<Done, Failure> {
    let Made { view, images, .. } = made;
    let aim = saved.inputs.shape.options(&saved.inputs.services);
    let asked = images.asked(stack, Aim::Up(&aim));
    let desired = |observed: &Observed| images.desired(stack, observed);
    let back = Back { desired: &desired, places: &stack.places };
    let changed = match flow::exactly(session, host, view.plan, (&asked, &back)).await {
        Err(Failure::Stale { causes, .. }) => Err(Failure::Moved { file: file.to_owned(), causes }),
        done => {
            // The plan is done, whatever becomes of the consent.
            if let Err(failure) = policy::remember(host, stack, images.ruling()) {
                session.ui.warn(&format!("what was consented to is asked for again: {failure}"));
            }
            done.map_err(|failure| match failure {
                partial @ Failure::Partial { .. } => {
                    Failure::PartOfPlan { file: file.to_owned(), partial: Box::new(partial) }
                }
                other => other,
            })
        }
    };
    Ok(Done { desired: view.desired.unwrap_or_default(), pins: images.pins().clone(), changed })
}

/// The plan as it comes out now, or all that moved since it was saved.
async fn remade(
    saved: &Saved,
    session: &Session,
    host: &Arc<Host>,
    (stack, key): (&Stack, &Key),
) -> Result<Result<Made, Vec<String>>, Failure> {
    let now = Timestamp::now();
    if now >= saved.expires {
        return Ok(Err(vec![format!("it was good until {}", until(saved.expires))]));
    }
    if now < saved.created {
        let text = format!("it was made at {}, which this host's clock calls later", saved.created);
        return Ok(Err(vec![text]));
    }
    if stack.name != saved.project {
        let (was, is) = (&saved.project, &stack.name);
        return Ok(Err(vec![format!("the project was called `{was}` and is called `{is}` now")]));
    }
    let wanted = (saved.inputs.services.as_slice(), &saved.inputs.shape);
    // What could be planned once and cannot be now has moved.
    let made = match Made::now(session, host, (stack, key), wanted).await {
        Ok(Ok(made)) => made,
        Ok(Err(forbidden @ (Failure::Forbidden(_) | Failure::Refused { .. }))) => {
            return Ok(Err(words(&forbidden)));
        }
        Ok(Err(other)) => return Err(other),
        Err(differs @ Failure::LockDiffers { .. }) => return Ok(Err(words(&differs))),
        Err(other) => return Err(other),
    };
    let mut moved = saved.basis.moved(&made.basis, &stack.places);
    moved.extend(made.open.iter().map(|image| format!("image `{image}` is due to be looked at")));
    Ok(if moved.is_empty() { Ok(made) } else { Err(moved) })
}

/// What forbids a plan, with the next move where there is one.
fn words(forbidden: &Failure) -> Vec<String> {
    let causes = match forbidden.causes() {
        [] => vec![forbidden.to_string()],
        causes => causes.to_vec(),
    };
    let help = forbidden.help().map(|help| format!("help: {help}"));
    causes.into_iter().chain(help).collect()
}

/// To the second, as people read it.
fn until(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}
