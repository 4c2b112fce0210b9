//! `berth images`.

use std::collections::BTreeSet;

use berth_planner::observed::ObservedContainer;
use berth_runtime::host::Asked;
use berth_runtime::host::Host;
use clap::Args;
use serde::Serialize;

use super::image::{size_of, split};
use crate::args::Format;
use crate::failure::{Exit, Failure};
use crate::flow;
use crate::project::{check_services, containers};
use crate::session::Session;
use crate::ui::Table;
use crate::values::amount;

/// Arguments of `images`.
#[derive(Debug, Args)]
pub(crate) struct ImagesArgs {
    /// Only these services
    services: Vec<String>,
    /// How to print it
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// Print ids only
    #[arg(short, long)]
    quiet: bool,
}

/// The image of a container, with the names that `docker compose images --format json` uses.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Row {
    #[serde(rename = "ID")]
    id: String,
    container_name: String,
    repository: String,
    tag: String,
    size: u64,
}

/// Lists the images that the project's containers were made from.
pub(crate) async fn run(session: &Session, args: &ImagesArgs) -> Result<Exit, Failure> {
    let project = session.project()?;
    let host = flow::open_to_look(session)?;
    let observed = host.observe(&Asked::default()).await?;
    check_services(&project, &observed, &args.services)?;
    let chosen = containers(&observed, &project.name, &args.services);
    let rows: Vec<Row> = chosen.into_iter().map(|container| row(&host, container)).collect();
    match (args.quiet, args.format) {
        (true, _) => {
            let ids: BTreeSet<&str> = rows.iter().map(|row| row.id.as_str()).collect();
            session.ui.list(ids)?;
        }
        (false, Format::Json) => session.ui.json(&rows)?,
        (false, Format::Table) => session.ui.table(&table(&rows))?,
    }
    Ok(Exit::Done)
}

fn row(host: &Host, container: &ObservedContainer) -> Row {
    let record = &container.record;
    let (repository, tag) = split(&record.spec.image);
    Row {
        id: record.image_id.clone(),
        container_name: record.name.clone(),
        repository,
        tag,
        size: size_of(host, &record.image_id),
    }
}

fn table(rows: &[Row]) -> Table {
    let mut table = Table::new(["CONTAINER", "REPOSITORY", "TAG", "IMAGE ID", "SIZE"]);
    for row in rows {
        table.row([
            row.container_name.clone(),
            row.repository.clone(),
            row.tag.clone(),
            super::image::short(&row.id),
            amount::bytes(row.size),
        ]);
    }
    table
}
