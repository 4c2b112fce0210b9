//! `berth history`, and `berth diff` of generations.

use std::collections::{BTreeMap, BTreeSet};

use berth_planner::generation::{Generation, NoTarget, numbered};
use berth_planner::views::models::{Side, models, with_contents};
use berth_runtime::host::Host;
use berth_schema::stack::Stack;
use clap::Args;
use jiff::Timestamp;
use serde::Serialize;

use super::image::short;
use crate::failure::{Exit, Failure};
use crate::flow;
use crate::form::{Form, Listed};
use crate::generations::{self, name};
use crate::session::Session;
use crate::ui::{Table, safe};
use crate::values::moment;

/// Arguments of `history`.
#[derive(Debug, Args)]
pub(crate) struct HistoryArgs {
    /// `table`, `json`, or a template in Go's words: `{{.Number}}`, `table {{.Number}}\t{{.Change}}`
    #[arg(long, value_name = "FORMAT", default_value = "table", hide_default_value = true)]
    format: Form,
    /// Print numbers only
    #[arg(short, long)]
    quiet: bool,
    /// Forget all generations, and with them what was rejected; what runs is not touched
    #[arg(long, conflicts_with_all = ["format", "quiet"])]
    forget: bool,
}

/// A generation.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Row {
    number: u64,
    applied_at: String,
    result: &'static str,
    change: String,
    why: Vec<String>,
    rollback: Option<Back>,
    images: BTreeMap<String, String>,
    by: String,
    command: String,
    version: String,
}

/// From where a rollback led, and to.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Back {
    of: u64,
    to: u64,
}

impl Listed for Row {}

/// Lists the generations of a project, the newest first.
pub(crate) async fn run(session: &Session, args: &HistoryArgs) -> Result<Exit, Failure> {
    let host = match args.forget {
        true => flow::open(session)?,
        false => flow::open_to_look(session)?,
    };
    let project = generations::project(session, &host)?;
    if args.forget {
        return forget(session, &host, &project).await;
    }
    let mut all = host.generations(&project)?;
    all.reverse();
    if args.quiet {
        session.ui.list(all.iter().map(|one| one.number.to_string()))?;
        return Ok(Exit::Done);
    }
    let rows: Vec<Row> = all.iter().map(row).collect();
    session.ui.rows(&args.format, &rows, || table(&all))?;
    Ok(Exit::Done)
}

async fn forget(session: &Session, host: &Host, project: &str) -> Result<Exit, Failure> {
    if session.global.dry_run {
        let count = host.numbers_of_generations(project)?.len();
        session.ui.note(&safe(&format!("{project}: {count} generations would be forgotten")));
        return Ok(Exit::Done);
    }
    let lock = flow::lock(session, host, project).await?;
    let all = host.numbers_of_generations(project)?;
    host.forget_generations(&lock, project, &all)?;
    session.ui.note(&safe(&format!("{project}: {} generations forgotten", all.len())));
    Ok(Exit::Done)
}

fn row(generation: &Generation) -> Row {
    let Generation { number, at, standing, change, why, by, command, version, .. } =
        generation.clone();
    let parts = generation.made_of.services.iter();
    let images = parts.map(|(name, part)| {
        let id = part.id.as_ref().map_or(String::new(), |id| format!("@{id}"));
        (name.clone(), format!("{}{id}", part.image))
    });
    Row {
        number,
        applied_at: at,
        result: standing.word(),
        change,
        why,
        rollback: generation.rollback.map(|back| Back { of: back.of, to: back.to }),
        images: images.collect(),
        by,
        command,
        version,
    }
}

fn table(all: &[Generation]) -> Table {
    let now = Timestamp::now().as_second();
    let mut table = Table::new(["GENERATION", "APPLIED", "RESULT", "CHANGE", "IMAGES"]);
    for one in all {
        let at: Option<Timestamp> = one.at.parse().ok();
        let ago = at.map(|at| format!("{} ago", moment::rough(now - at.as_second())));
        table.row([
            one.number.to_string(),
            ago.unwrap_or_default(),
            one.standing.word().to_owned(),
            safe(&words(one)).into(),
            safe(&images(one)).into(),
        ]);
    }
    table
}

/// What was done, and why it failed.
fn words(generation: &Generation) -> String {
    let back = generation.rollback.map(|b| format!("rollback of {} to {}", b.of, b.to));
    let parts = back.into_iter().chain(Some(generation.change.clone()));
    // Lines that a container wrote may follow; `--format json` has them.
    let why = generation.why.first().and_then(|why| why.lines().next()).map(str::to_owned);
    let parts = parts.chain(why).filter(|part| !part.is_empty());
    parts.collect::<Vec<_>>().join(": ")
}

/// `app:2 (3a1f…), redis:7 (9bc0…)`.
fn images(generation: &Generation) -> String {
    let parts = generation.made_of.services.values();
    let images: BTreeSet<String> = parts
        .map(|part| match &part.id {
            Some(id) => format!("{} ({})", part.image, short(id)),
            None => part.image.clone(),
        })
        .collect();
    images.into_iter().collect::<Vec<_>>().join(", ")
}

/// The generations that two words name, if they do: `diff 3` compares with what is applied now.
/// A service that is called by such a number is meant by it where there is one word alone.
pub(crate) fn named(
    (first, second): (&str, Option<&str>),
    stack: Option<&Stack>,
) -> Result<Option<(u64, Option<u64>)>, Failure> {
    let number = |word: &str| word.parse::<u64>().ok();
    match (number(first), second) {
        (Some(_), None) if stack.is_some_and(|s| s.services.contains_key(first)) => Ok(None),
        (Some(before), None) => Ok(Some((before, None))),
        (Some(before), Some(word)) if number(word).is_some() => Ok(Some((before, number(word)))),
        (_, None) => Ok(None),
        _ => Err(Failure::usage("`diff` takes one service, or two generations by their numbers")
            .with_help("`berth history` lists the generations")),
    }
}

/// Prints how the models of two generations differ.
pub(crate) fn diff(
    session: &Session,
    host: &Host,
    (before, after): (u64, Option<u64>),
) -> Result<Exit, Failure> {
    let project = generations::project(session, host)?;
    let all = host.generations(&project)?;
    let one = |number| numbered(&project, &all, number).map_err(no_target);
    let before = one(before)?;
    let after = match (after, all.last()) {
        (None, Some(newest)) => newest,
        (number, _) => one(number.unwrap_or_default())?,
    };
    let model = |generation: &Generation| -> Result<_, Failure> {
        let document = generations::document(session, host, generation)?;
        Ok(with_contents(document.to_value(), &generation.made_of))
    };
    let (old, new) = (model(before)?, model(after)?);
    let names = (name(before.number), name(after.number));
    let before = Side { name: &names.0, model: &old };
    let text = models(before, Side { name: &names.1, model: &new });
    session.ui.document(&text)?;
    Ok(Exit::Done)
}

/// No generation to go by, with the next move.
pub(crate) fn no_target(why: NoTarget) -> Failure {
    let help = match why {
        NoTarget::Nothing(_) => "`berth up` begins it",
        NoTarget::Unknown { .. } => "`berth history` lists those there are",
        NoTarget::NoneBefore(_) => "name one that `berth history` lists: `berth rollback 3`",
    };
    Failure::refused(why).with_help(help)
}

#[cfg(test)]
mod tests {
    use berth_schema::stack::Service;

    use super::*;

    #[test]
    fn numbers_are_generations_unless_a_service_is_called_so() {
        let mut stack = Stack::default();
        stack.services.insert("7".into(), Service::default());
        let told = |first, second| named((first, second), Some(&stack)).ok().flatten();
        assert_eq!(told("3", Some("4")), Some((3, Some(4))));
        assert_eq!(told("3", None), Some((3, None)));
        assert_eq!(told("7", None), None);
        assert_eq!(told("7", Some("8")), Some((7, Some(8))));
        assert_eq!(told("web", None), None);
        assert!(named(("web", Some("3")), None).is_err());
        assert!(named(("3", Some("web")), None).is_err());
    }
}
