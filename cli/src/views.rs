//! What of a plan is printed, and how.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use berth_planner::desired::Desired;
use berth_planner::loss::lost;
use berth_planner::observed::Observed;
use berth_planner::plan::Plan;
use berth_planner::views::why::{Scene, why};
use berth_planner::views::{Language, diff, graph, ops, page};
use berth_schema::stack::Stack;
use clap::{Args, ValueEnum};
use serde::Serialize;

use crate::failure::Failure;
use crate::flow;
use crate::project::unknown_service;
use crate::session::Session;
use crate::source;
use crate::ui::{Paint, safe};

/// In which way a plan is shown; one of them.
#[derive(Debug, Clone, Default, Args)]
#[group(multiple = false)]
pub(crate) struct ViewArgs {
    /// Print the plan as JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// Print the steps by number, with what each waits for
    #[arg(long)]
    ops: bool,
    /// Print the steps as a graph
    #[arg(long, value_enum, value_name = "LANGUAGE")]
    graph: Option<Drawn>,
    /// Print what was applied beside what is wanted, as a unified diff
    #[arg(long)]
    diff: bool,
    /// Print all there is about one service: what happens to it, or why nothing does
    #[arg(long, value_name = "SERVICE")]
    why: Option<String>,
}

/// A language of graphs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Drawn {
    /// Of Graphviz
    Dot,
    /// Of Mermaid
    Mermaid,
}

impl Drawn {
    /// As the planner has it.
    fn language(self) -> Language {
        match self {
            Drawn::Dot => Language::Dot,
            Drawn::Mermaid => Language::Mermaid,
        }
    }
}

/// A plan with what it was made from.
#[derive(Debug)]
pub(crate) struct Made {
    pub(crate) plan: Plan,
    pub(crate) observed: Observed,
    /// What the files say; `None` when no file was read.
    pub(crate) stack: Option<Stack>,
    /// What they come to; `None` when that does not matter, as to `down`.
    pub(crate) desired: Option<Arc<Desired>>,
    /// Number of the newest generation and of the one that the plan leads to; `None` when there is none.
    pub(crate) generation: Option<(u64, u64)>,
    /// The words that do it; `None` when nobody may.
    pub(crate) next: Option<String>,
}

impl Made {
    /// The page that people see without another wish.
    pub(crate) fn page(&self, session: &Session) -> String {
        let files = self.stack.iter().flat_map(|stack| &stack.files);
        let shown = |path: &PathBuf| match source::is_input(path) {
            true => "standard input".to_owned(),
            false => path.strip_prefix(&session.working_dir).unwrap_or(path).display().to_string(),
        };
        let files: Vec<String> = files.map(shown).collect();
        page::page(&page::Page {
            plan: &self.plan,
            observed: &self.observed,
            files: &files,
            generation: self.generation,
            next: self.next.as_deref(),
        })
    }

    /// What programs see.
    pub(crate) fn shown(&self) -> Shown<'_> {
        let generation = self.generation.map(|(now, after)| Numbers { now, after });
        Shown { plan: &self.plan, data_loss: lost(&self.plan, &self.observed), generation }
    }
}

/// The JSON form of a plan, with what it means for this host.
#[derive(Serialize)]
pub(crate) struct Shown<'a> {
    #[serde(flatten)]
    plan: &'a Plan,
    /// Volumes whose data is gone for good.
    data_loss: BTreeSet<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    generation: Option<Numbers>,
}

/// Numbers of generations.
#[derive(Serialize)]
struct Numbers {
    now: u64,
    after: u64,
}

/// Prints a plan as asked for. Where the text has no place for warnings, they are told beside it.
pub(crate) fn show(session: &Session, args: &ViewArgs, made: &Made) -> Result<(), Failure> {
    let ui = &session.ui;
    let Made { plan, observed, stack, desired, .. } = made;
    let nowhere = Stack::default();
    let places = &stack.as_ref().unwrap_or(&nowhere).places;
    if args.json {
        return ui.json(&made.shown());
    }
    let text = if let Some(service) = &args.why {
        check_name(service, made)?;
        why(service, &Scene { plan, desired: desired.as_deref(), observed, places })
    } else if let Some(drawn) = args.graph {
        graph::graph(plan, drawn.language())
    } else if args.diff {
        diff::diff(plan, observed, places)
    } else if args.ops {
        ops::ops(plan)
    } else {
        return flow::show_lines(session, made.page(session).lines());
    };
    plan.warnings.iter().for_each(|warning| ui.warn(warning));
    let paint = if args.diff { ui.out() } else { Paint::off() };
    safe(&text).lines().try_for_each(|line| ui.data(&coloured(line, paint)))
}

/// A service is one of the files, or one that has containers.
fn check_name(service: &str, made: &Made) -> Result<(), Failure> {
    let stack = made.stack.iter();
    let mut known: Vec<&String> =
        stack.flat_map(|stack| stack.services.keys().chain(&stack.inactive)).collect();
    let records = made.observed.containers.values().map(|container| &container.record);
    let records = records.filter(|record| record.project == made.plan.project);
    known.extend(records.map(|record| &record.service));
    match known.iter().any(|name| *name == service) {
        true => Ok(()),
        false => Err(unknown_service(service, known.into_iter().map(String::as_str))),
    }
}

/// A line of a diff in the colour of its side.
fn coloured(line: &str, paint: Paint) -> String {
    match line.as_bytes() {
        [b'-', ..] => paint.red(line),
        [b'+', ..] => paint.green(line),
        [b'@', ..] => paint.dim(line),
        _ => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use clap::error::ErrorKind::ArgumentConflict;

    use super::*;
    use crate::args::Cli;

    #[test]
    fn a_plan_is_shown_in_one_way() {
        let kind = |line: &str| Cli::try_parse_from(line.split(' ')).err().map(|e| e.kind());
        assert_eq!(kind("berth plan --ops --json"), Some(ArgumentConflict));
        assert_eq!(kind("berth plan --graph dot --diff"), Some(ArgumentConflict));
        assert_eq!(kind("berth plan --why web --ops"), Some(ArgumentConflict));
        assert_eq!(kind("berth plan --why web --down --detailed-exitcode db"), None);
        assert_eq!(kind("berth plan --json --scale web=2"), None);
    }

    #[test]
    fn a_difference_is_coloured_by_its_side() {
        assert_eq!(coloured("-  a: 1", Paint::on()), "\x1b[31m-  a: 1\x1b[0m");
        assert_eq!(coloured("   a: 1", Paint::on()), "   a: 1");
    }
}
