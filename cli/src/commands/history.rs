//! `berth image history`.

use berth_runtime::host::Host;
use berth_runtime::store::HistoryEntry;
use clap::Args;
use serde::Serialize;

use super::image::{find, short};
use crate::failure::{Exit, Failure};
use crate::form::{Form, Listed};
use crate::session::Session;
use crate::ui::{Table, safe};
use crate::values::{amount, moment};

/// Letters of a step's words in the table.
const WIDTH: usize = 45;
/// Where the steps below the last one have no image of their own.
const MISSING: &str = "<missing>";

/// Arguments of `image history`.
#[derive(Debug, Args)]
pub(crate) struct HistoryArgs {
    /// Its name, or its id (at least four digits)
    image: String,
    /// `table`, `json`, or a template in Go's words: `{{.ID}}`, `table {{.ID}}\t{{.Size}}`
    #[arg(long, value_name = "FORMAT", default_value = "table", hide_default_value = true)]
    format: Form,
    /// Print whole ids and words
    #[arg(long)]
    no_trunc: bool,
    /// Print ids only
    #[arg(short, long)]
    quiet: bool,
}

/// A step, with the names that `docker image history --format json` uses.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Row {
    #[serde(rename = "ID")]
    id: String,
    created_at: Option<String>,
    created_by: String,
    size: u64,
    comment: String,
}

impl Listed for Row {
    const ID: &'static str = "IMAGE";
}

/// Lists the steps of an image's making, the last one first.
pub(crate) fn run(session: &Session, host: &Host, args: &HistoryArgs) -> Result<Exit, Failure> {
    let entry = find(host, &args.image)?;
    let steps = host.store().history(&entry.id)?;
    let id = |index: usize| match (index, args.no_trunc) {
        (0, true) => entry.id.clone(),
        (0, false) => short(&entry.id),
        _ => MISSING.to_owned(),
    };
    if args.quiet {
        session.ui.list((0..steps.len()).map(id))?;
        return Ok(Exit::Done);
    }
    let rows: Vec<Row> = steps.iter().enumerate().map(|(at, step)| row(id(at), step)).collect();
    let width = if args.no_trunc { usize::MAX } else { WIDTH };
    session.ui.rows(&args.format, &rows, || table(&rows, &steps, width))?;
    Ok(Exit::Done)
}

fn row(id: String, step: &HistoryEntry) -> Row {
    Row {
        id,
        created_at: step.created.map(moment::rfc3339),
        created_by: step.created_by.clone(),
        size: step.size,
        comment: step.comment.clone(),
    }
}

fn table(rows: &[Row], steps: &[HistoryEntry], width: usize) -> Table {
    let now = jiff::Timestamp::now().as_second();
    let mut table = Table::new(["IMAGE", "CREATED", "CREATED BY", "SIZE", "COMMENT"]);
    for (row, step) in rows.iter().zip(steps) {
        let created = step.created.map(|at| format!("{} ago", moment::rough(now - at)));
        table.row([
            row.id.clone(),
            created.unwrap_or_default(),
            cut(&safe(&row.created_by), width),
            amount::bytes(row.size),
            safe(&row.comment).into(),
        ]);
    }
    table
}

/// At most so many letters, with a mark where there were more.
fn cut(text: &str, width: usize) -> String {
    match text.chars().count() > width {
        true => text.chars().take(width - 1).chain(['…']).collect(),
        false => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_words_are_cut_with_a_mark() {
        assert_eq!(cut("short", 5), "short");
        assert_eq!(cut("longer", 5), "long…");
    }
}
