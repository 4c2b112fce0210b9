//! `berth network ls|prune|inspect`.

mod details;

use std::collections::BTreeMap;

use berth_planner::observed::{NetworkRecord, Observed, ObservedContainer, ObservedNetwork};
use berth_runtime::host::Asked;
use berth_schema::stack::Way;
use clap::{Args, Subcommand};
use serde::Serialize;

use self::details::Inspected;
use super::prune::{self, PruneArgs};
use crate::failure::{Exit, Failure};
use crate::flow;
use crate::form::{Form, Listed};
use crate::inspected::{self, Format};
use crate::session::Session;
use crate::ui::Table;

/// The commands about networks.
#[derive(Debug, Subcommand)]
pub(crate) enum NetworkCommand {
    /// List the networks of this host
    #[command(alias = "list")]
    Ls(LsArgs),
    /// Remove networks that no container is on
    Prune(PruneArgs),
    /// Print what networks were made from, and who is on them
    Inspect(InspectArgs),
}

/// Arguments of `network ls`.
#[derive(Debug, Args)]
pub(crate) struct LsArgs {
    /// `table`, `json`, or a template in Go's words: `{{.Name}}`, `table {{.Name}}\t{{.Driver}}`
    #[arg(long, value_name = "FORMAT", default_value = "table", hide_default_value = true)]
    format: Form,
    /// Print names only
    #[arg(short, long)]
    quiet: bool,
}

/// Arguments of `network inspect`.
#[derive(Debug, Args)]
pub(crate) struct InspectArgs {
    /// Their names on the host
    #[arg(required = true)]
    names: Vec<String>,
    #[command(flatten)]
    format: Format,
}

/// A network, with the names that `docker network` uses.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Row {
    name: String,
    driver: &'static str,
    scope: &'static str,
    project: String,
    bridge: String,
    subnets: Vec<String>,
    internal: bool,
    #[serde(rename = "EnableIPv6")]
    enable_ipv6: bool,
    up: bool,
    labels: BTreeMap<String, String>,
    containers: Vec<String>,
}

impl Listed for Row {}

/// Runs one of them.
pub(crate) async fn run(session: &Session, command: &NetworkCommand) -> Result<Exit, Failure> {
    if let NetworkCommand::Prune(args) = command {
        return prune::networks(session, args).await;
    }
    let host = flow::open_to_look(session)?;
    let observed = host.observe(&Asked::default()).await?;
    match command {
        NetworkCommand::Prune(_) => {}
        NetworkCommand::Ls(args) if args.quiet => session.ui.list(observed.networks.keys())?,
        NetworkCommand::Ls(args) => {
            let rows: Vec<Row> =
                observed.networks.values().map(|network| row(&observed, network)).collect();
            session.ui.rows(&args.format, &rows, || table(&rows))?;
        }
        NetworkCommand::Inspect(args) => {
            let printer = args.format.printer()?;
            let find = |name: &String| {
                let network = observed.networks.get(name);
                let network = network.map(|network| Inspected::of(&observed, network));
                network.ok_or_else(|| Failure::refused(format!("no such network: `{name}`")))
            };
            let found: Vec<Inspected> = args.names.iter().map(find).collect::<Result<_, _>>()?;
            printer.print(session, &found, inspected::value)?;
        }
    }
    Ok(Exit::Done)
}

fn table(rows: &[Row]) -> Table {
    let mut table = Table::new(["NAME", "DRIVER", "PROJECT", "BRIDGE", "SUBNETS", "CONTAINERS"]);
    for row in rows {
        table.row([
            row.name.clone(),
            row.driver.to_owned(),
            row.project.clone(),
            if row.up { row.bridge.clone() } else { format!("{} (down)", row.bridge) },
            row.subnets.join(", "),
            row.containers.len().to_string(),
        ]);
    }
    table
}

fn row(observed: &Observed, network: &ObservedNetwork) -> Row {
    let record = &network.record;
    let is_on =
        |container: &&ObservedContainer| container.record.addresses.contains_key(&record.name);
    let on = observed.containers.values().filter(is_on);
    Row {
        name: record.name.clone(),
        driver: driver(record),
        scope: "local",
        project: record.project.clone(),
        bridge: record.spec.parent().unwrap_or(&record.bridge).to_owned(),
        subnets: record.subnets.iter().map(|subnet| subnet.net.to_string()).collect(),
        internal: record.spec.internal,
        enable_ipv6: record.spec.enable_ipv6,
        up: network.bridge_up,
        labels: record.spec.labels.clone(),
        containers: on.map(|container| container.record.name.clone()).collect(),
    }
}

/// As `driver` names it in the file.
fn driver(record: &NetworkRecord) -> &'static str {
    match record.spec.beside.as_ref().map(|beside| beside.way) {
        None => "bridge",
        Some(Way::Macvlan(_)) => "macvlan",
        Some(Way::Ipvlan(..)) => "ipvlan",
    }
}
