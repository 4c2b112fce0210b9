//! `berth ls`.

use std::collections::{BTreeMap, BTreeSet};

use berth_planner::observed::ObservedContainer;
use clap::Args;
use regex::Regex;
use serde::Serialize;

use crate::args::Format;
use crate::failure::{Exit, Failure};
use crate::session::Session;
use crate::ui::Table;
use crate::{flow, rows};

/// Arguments of `ls`.
#[derive(Debug, Args)]
pub(crate) struct LsArgs {
    /// Also projects of which nothing runs
    #[arg(short, long)]
    all: bool,
    /// How to print it
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// Only projects whose name fits, `name=REGEX`; may be repeated
    #[arg(long, value_name = "FILTER", value_parser = name_filter)]
    filter: Vec<Regex>,
    /// Print names only
    #[arg(short, long)]
    quiet: bool,
}

/// What a filter asks for.
fn name_filter(text: &str) -> Result<Regex, String> {
    match text.split_once('=') {
        Some(("name", name)) => Regex::new(name).map_err(|error| error.to_string()),
        _ => Err(format!("`{text}` is no filter: write `name=shop`")),
    }
}

/// A project, with the names that `docker compose ls --format json` uses.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Row {
    name: String,
    status: String,
    config_files: String,
}

/// Lists the projects of this host.
pub(crate) async fn run(session: &Session, args: &LsArgs) -> Result<Exit, Failure> {
    let host = flow::open_to_look(session)?;
    let containers = host.list_containers()?;
    let mut rows = projects(containers.values(), args.all);
    let wanted = |row: &Row| args.filter.iter().any(|name| name.is_match(&row.name));
    rows.retain(|row| args.filter.is_empty() || wanted(row));
    match (args.quiet, args.format) {
        (true, _) => session.ui.list(rows.iter().map(|row| row.name.as_str()))?,
        (false, Format::Json) => session.ui.json(&rows)?,
        (false, Format::Table) => {
            let mut table = Table::new(["NAME", "STATUS", "CONFIG FILES"]);
            for row in rows {
                table.row([row.name, row.status, row.config_files]);
            }
            session.ui.table(&table)?;
        }
    }
    Ok(Exit::Done)
}

fn projects<'a>(containers: impl Iterator<Item = &'a ObservedContainer>, all: bool) -> Vec<Row> {
    let mut projects: BTreeMap<&str, Vec<&ObservedContainer>> = BTreeMap::new();
    for container in containers {
        projects.entry(&container.record.project).or_default().push(container);
    }
    projects.retain(|_, containers| all || containers.iter().any(|c| rows::is_up(c.state)));
    projects.into_iter().map(|(name, containers)| row(name, &containers)).collect()
}

fn row(name: &str, containers: &[&ObservedContainer]) -> Row {
    let mut states: BTreeMap<&str, usize> = BTreeMap::new();
    for container in containers {
        *states.entry(rows::state(container)).or_default() += 1;
    }
    let status: Vec<String> = states.iter().map(|(s, count)| format!("{s}({count})")).collect();
    let files: BTreeSet<&str> =
        containers.iter().flat_map(|c| c.record.config_files.iter().map(String::as_str)).collect();
    Row {
        name: name.to_owned(),
        status: status.join(", "),
        config_files: files.into_iter().collect::<Vec<_>>().join(","),
    }
}

#[cfg(test)]
mod tests {
    use berth_planner::observed::ContainerState;

    use super::*;
    use crate::rows::tests::container;

    #[test]
    fn a_project_is_listed_while_something_of_it_runs() {
        let up = ContainerState::Running { pid: 1, started_at: 0 };
        let down = ContainerState::Exited { exit_code: 0, finished_at: 0 };
        let all =
            [container("a-web-1", up), container("a-web-2", down), container("b-job-1", down)];
        let told = |with_all| {
            let rows = projects(all.iter(), with_all);
            rows.iter().map(|row| format!("{} {}", row.name, row.status)).collect::<Vec<_>>()
        };
        assert_eq!(told(false), ["a exited(1), running(1)"]);
        assert_eq!(told(true), ["a exited(1), running(1)", "b exited(1)"]);
    }
}
