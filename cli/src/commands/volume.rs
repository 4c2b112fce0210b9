//! `berth volume ls|rm|prune|inspect`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use berth_planner::observed::{Observed, ObservedVolume};
use berth_planner::remove::remove_volumes;
use berth_runtime::host::Asked;
use berth_runtime::host::Host;
use clap::{Args, Subcommand};
use serde::Serialize;

use super::prune::{self, VolumePruneArgs};
use crate::failure::{Exit, Failure};
use crate::flow;
use crate::form::{Form, Listed};
use crate::inspected::{self, Format};
use crate::session::Session;
use crate::ui::Table;

/// The commands about volumes.
#[derive(Debug, Subcommand)]
pub(crate) enum VolumeCommand {
    /// List the volumes of this host
    #[command(alias = "list")]
    Ls(LsArgs),
    /// Remove volumes with their data
    #[command(alias = "remove")]
    Rm(RmArgs),
    /// Remove volumes without a name that no container has, with their data
    Prune(VolumePruneArgs),
    /// Print what volumes were made from, and where they are
    Inspect(InspectArgs),
}

/// Arguments of `volume ls`.
#[derive(Debug, Args)]
pub(crate) struct LsArgs {
    /// `table`, `json`, or a template in Go's words: `{{.Name}}`, `table {{.Name}}\t{{.Driver}}`
    #[arg(long, value_name = "FORMAT", default_value = "table", hide_default_value = true)]
    format: Form,
    /// Print names only
    #[arg(short, long)]
    quiet: bool,
}

/// Arguments of `volume rm`.
#[derive(Debug, Args)]
pub(crate) struct RmArgs {
    /// Their names on the host
    #[arg(required = true)]
    names: Vec<String>,
    /// No failure when there is none of that name
    #[arg(short, long)]
    force: bool,
}

/// Arguments of `volume inspect`.
#[derive(Debug, Args)]
pub(crate) struct InspectArgs {
    /// Their names on the host
    #[arg(required = true)]
    names: Vec<String>,
    #[command(flatten)]
    format: Format,
}

/// A volume, with the names that `docker volume` uses.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Row {
    name: String,
    driver: &'static str,
    project: String,
    mountpoint: String,
    labels: BTreeMap<String, String>,
    options: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    container: Option<String>,
}

impl Listed for Row {}

/// Runs one of them.
pub(crate) async fn run(session: &Session, command: &VolumeCommand) -> Result<Exit, Failure> {
    let host = match command {
        VolumeCommand::Ls(_) | VolumeCommand::Inspect(_) => flow::open_to_look(session)?,
        VolumeCommand::Rm(_) | VolumeCommand::Prune(_) => flow::open(session)?,
    };
    match command {
        VolumeCommand::Ls(args) => ls(session, &host, args).await,
        VolumeCommand::Rm(args) => rm(session, &host, args).await,
        VolumeCommand::Prune(args) => prune::volumes(session, args).await,
        VolumeCommand::Inspect(args) => inspect(session, &host, args).await,
    }
}

async fn ls(session: &Session, host: &Host, args: &LsArgs) -> Result<Exit, Failure> {
    let observed = host.observe(&Asked::default()).await?;
    if args.quiet {
        session.ui.list(observed.volumes.keys())?;
        return Ok(Exit::Done);
    }
    let rows: Vec<Row> = observed.volumes.values().map(|volume| row(host, volume)).collect();
    session.ui.rows(&args.format, &rows, || {
        let mut table = Table::new(["DRIVER", "VOLUME NAME", "PROJECT"]);
        for row in &rows {
            table.row([row.driver.to_owned(), row.name.clone(), row.project.clone()]);
        }
        table
    })?;
    Ok(Exit::Done)
}

async fn inspect(session: &Session, host: &Host, args: &InspectArgs) -> Result<Exit, Failure> {
    let printer = args.format.printer()?;
    let observed = host.observe(&Asked::default()).await?;
    let find = |name: &String| {
        let volume = observed.volumes.get(name).map(|volume| row(host, volume));
        volume.ok_or_else(|| Failure::refused(format!("no such volume: `{name}`")))
    };
    let rows: Vec<Row> = args.names.iter().map(find).collect::<Result<_, _>>()?;
    printer.print(session, &rows, inspected::value)?;
    Ok(Exit::Done)
}

async fn rm(session: &Session, host: &Arc<Host>, args: &RmArgs) -> Result<Exit, Failure> {
    let names: BTreeSet<String> = args.names.iter().cloned().collect();
    let observed = host.observe(&Asked::default()).await?;
    let mut by_project: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for name in names {
        match observed.volumes.get(&name) {
            Some(volume) => {
                by_project.entry(volume.record.project.clone()).or_default().insert(name);
            }
            None if args.force => {}
            None => return Err(Failure::refused(format!("no such volume: `{name}`"))),
        }
    }
    for (project, names) in by_project {
        let plan = |observed: &Observed| Ok(remove_volumes(&project, &names, observed)?);
        flow::change(session, host, &project, &Asked::default(), plan).await?;
    }
    Ok(Exit::Done)
}

fn row(host: &Host, volume: &ObservedVolume) -> Row {
    let record = &volume.record;
    Row {
        name: record.name.clone(),
        driver: "local",
        project: record.project.clone(),
        mountpoint: host.roots().volume(&record.name).join("data").display().to_string(),
        labels: record.spec.labels.clone(),
        options: record.spec.driver_opts.clone(),
        container: record.container.clone(),
    }
}
