//! `berth ps`.

use std::collections::BTreeSet;

use berth_planner::observed::ObservedContainer;
use berth_runtime::host::Asked;
use clap::Args;

use crate::failure::{Exit, Failure};
use crate::flow;
use crate::form::Form;
use crate::project::{Project, check_services, containers};
use crate::rows::{self, Row};
use crate::session::Session;
use crate::ui::Table;

/// Arguments of `ps`.
#[derive(Debug, Args)]
pub(crate) struct PsArgs {
    /// Only these services
    services: Vec<String>,
    /// Also containers that do not run
    #[arg(short, long)]
    all: bool,
    /// `table`, `json`, or a template in Go's words: `{{.Name}}`, `table {{.Name}}\t{{.Status}}`
    #[arg(long, value_name = "FORMAT", default_value = "table", hide_default_value = true)]
    format: Form,
    /// Print ids only
    #[arg(short, long)]
    quiet: bool,
    /// Print names of services only
    #[arg(long = "services", conflicts_with = "quiet")]
    names: bool,
    /// Only containers in this state: created, running, paused, restarting, exited, dead
    #[arg(long, value_name = "STATE", value_parser = ["created", "running", "paused", "restarting", "exited", "dead"])]
    status: Vec<String>,
    /// As --status, written `status=STATE`
    #[arg(long, value_name = "FILTER", value_parser = status_filter)]
    filter: Vec<String>,
    /// Also services that are not in the file; `--orphans=false` leaves them out
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value_t = true, default_missing_value = "true", action = clap::ArgAction::Set, hide_default_value = true)]
    orphans: bool,
    /// Cut nothing short
    #[arg(long)]
    no_trunc: bool,
}

/// The state a filter asks for.
fn status_filter(text: &str) -> Result<String, String> {
    match text.split_once('=') {
        Some(("status", state)) => Ok(state.to_owned()),
        _ => Err(format!("`{text}` is no filter: write `status=running`")),
    }
}

/// Lists the containers of the project.
pub(crate) async fn run(session: &Session, args: &PsArgs) -> Result<Exit, Failure> {
    let project = session.project()?;
    let host = flow::open_to_look(session)?;
    let observed = host.observe(&Asked::default()).await?;
    check_services(&project, &observed, &args.services)?;
    let shown: Vec<_> = containers(&observed, &project.name, &args.services)
        .into_iter()
        .filter(|container| args.orphans || is_in_file(&project, container))
        .filter(|container| {
            let mut wanted = args.status.iter().chain(&args.filter).peekable();
            match wanted.peek() {
                None => args.all || rows::is_up(container.state),
                Some(_) => wanted.any(|state| state == rows::state(container)),
            }
        })
        .collect();
    let now = jiff::Timestamp::now().as_second();
    if args.quiet {
        session.ui.list(shown.iter().map(|container| container.id.as_str()))?;
    } else if args.names {
        let names: BTreeSet<_> = shown.iter().map(|c| c.record.service.as_str()).collect();
        session.ui.list(names)?;
    } else {
        let row = |container: &&_| {
            let row = Row::of(container, &rows::argv(host.roots(), container), now);
            if args.no_trunc { row } else { row.short() }
        };
        let rows: Vec<Row> = shown.iter().map(row).collect();
        session.ui.rows(&args.format, &rows, || table(&rows))?;
    }
    Ok(Exit::Done)
}

/// Without a file nobody knows, and nothing is left out.
fn is_in_file(project: &Project, container: &ObservedContainer) -> bool {
    let service = &container.record.service;
    project.stack.as_ref().is_none_or(|stack| {
        stack.services.contains_key(service) || stack.inactive.contains(service)
    })
}

fn table(rows: &[Row]) -> Table {
    let mut table =
        Table::new(["NAME", "IMAGE", "COMMAND", "SERVICE", "CREATED", "STATUS", "PORTS"]);
    for row in rows {
        table.row([
            row.name.clone(),
            row.image.clone(),
            row.command.clone(),
            row.service.clone(),
            row.running_for.clone(),
            row.status.clone(),
            row.ports.clone(),
        ]);
    }
    table
}
