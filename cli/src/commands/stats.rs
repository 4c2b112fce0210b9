//! `berth stats`.

use std::collections::BTreeMap;
use std::time::Duration;

use berth_planner::observed::ObservedContainer;
use berth_runtime::host::{Figures, Host, Sample};
use clap::Args;
use serde::Serialize;

use crate::failure::{Exit, Failure};
use crate::form::{Form, Listed};
use crate::project::{Project, check_services, containers};
use crate::session::Session;
use crate::signals::Signals;
use crate::ui::Table;
use crate::values::amount;
use crate::{flow, rows};

/// Between two moments that figures come from.
const PAUSE: Duration = Duration::from_secs(1);
/// The cursor to the upper left corner, and nothing below it (ECMA-48 CUP and ED).
const CLEAR: &str = "\x1b[H\x1b[J";

/// Arguments of `stats`.
#[derive(Debug, Args)]
pub(crate) struct StatsArgs {
    /// Only this service
    service: Option<String>,
    /// Also containers that do not run
    #[arg(short, long)]
    all: bool,
    /// `table`, `json`, or a template in Go's words: `{{.Name}}`, `table {{.Name}}\t{{.CPUPerc}}`
    #[arg(long, value_name = "FORMAT", default_value = "table", hide_default_value = true)]
    format: Form,
    /// Once, and not again and again
    #[arg(long)]
    no_stream: bool,
    /// Cut nothing short
    #[arg(long)]
    no_trunc: bool,
}

/// A container, with the names that `docker stats --format json` uses.
#[derive(Debug, Serialize)]
struct Row {
    #[serde(rename = "BlockIO")]
    block: String,
    #[serde(rename = "CPUPerc")]
    cpu: String,
    #[serde(rename = "Container")]
    container: String,
    #[serde(rename = "ID")]
    id: String,
    #[serde(rename = "MemPerc")]
    memory_share: String,
    #[serde(rename = "MemUsage")]
    memory: String,
    #[serde(rename = "Name")]
    name: String,
    #[serde(rename = "NetIO")]
    network: String,
    #[serde(rename = "PIDs")]
    pids: String,
}

impl Listed for Row {
    const ID: &'static str = "CONTAINER ID";
}

/// Shows what containers use, each second until the user has seen enough.
pub(crate) async fn run(session: &Session, args: &StatsArgs) -> Result<Exit, Failure> {
    let project = session.project()?;
    let host = flow::open_to_look(session)?;
    let mut signals = Signals::listen()?;
    let mut before = samples(&host, &project, args, true)?;
    let redraws = session.ui.redraws() && !args.no_stream && !matches!(args.format, Form::Json);
    loop {
        tokio::select! {
            () = tokio::time::sleep(PAUSE) => {}
            number = signals.next() => return Ok(Exit::Signal(number)),
        }
        let now = samples(&host, &project, args, false)?;
        let none = Sample::default();
        let row = |(name, (container, sample)): (&String, &Seen)| {
            let before = before.get(name).map_or(&none, |(_, sample)| sample);
            row(container, sample.since(before), args.no_trunc)
        };
        let rows: Vec<Row> = now.iter().map(row).collect();
        if redraws {
            session.ui.raw(CLEAR)?;
        }
        session.ui.rows(&args.format, &rows, || table(&rows))?;
        if args.no_stream {
            return Ok(Exit::Done);
        }
        before = now;
    }
}

type Seen = (ObservedContainer, Sample);

/// The containers that are asked about, as they are now.
fn samples(
    host: &Host,
    project: &Project,
    args: &StatsArgs,
    first: bool,
) -> Result<BTreeMap<String, Seen>, Failure> {
    let observed = berth_planner::observed::Observed {
        containers: host.list_containers()?,
        ..Default::default()
    };
    let services: Vec<String> = args.service.iter().cloned().collect();
    if first {
        check_services(project, &observed, &services)?;
    }
    let wanted = containers(&observed, &project.name, &services).into_iter();
    let wanted = wanted.filter(|container| args.all || rows::is_up(container.state));
    Ok(wanted
        .map(|container| {
            let seen = (container.clone(), host.sample(container));
            (container.record.name.clone(), seen)
        })
        .collect())
}

fn row(container: &ObservedContainer, figures: Figures, whole: bool) -> Row {
    let share = match figures.memory_limit {
        0 => 0.0,
        limit => figures.memory as f64 / limit as f64 * 100.0,
    };
    let pair = |a: u64, b: u64| format!("{} / {}", amount::decimal(a), amount::decimal(b));
    let id = if whole { container.id.as_str() } else { container.id.get(..12).unwrap_or_default() };
    Row {
        block: pair(figures.read, figures.written),
        cpu: format!("{:.2}%", figures.cpu),
        container: container.record.name.clone(),
        id: id.to_owned(),
        memory_share: format!("{share:.2}%"),
        memory: format!(
            "{} / {}",
            amount::binary(figures.memory),
            amount::binary(figures.memory_limit)
        ),
        name: container.record.name.clone(),
        network: pair(figures.received, figures.sent),
        pids: figures.pids.to_string(),
    }
}

fn table(rows: &[Row]) -> Table {
    let mut table = Table::new([
        "CONTAINER ID",
        "NAME",
        "CPU %",
        "MEM USAGE / LIMIT",
        "MEM %",
        "NET I/O",
        "BLOCK I/O",
        "PIDS",
    ]);
    for row in rows {
        table.row([
            row.id.clone(),
            row.name.clone(),
            row.cpu.clone(),
            row.memory.clone(),
            row.memory_share.clone(),
            row.network.clone(),
            row.block.clone(),
            row.pids.clone(),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use berth_planner::observed::ContainerState;

    use super::*;
    use crate::rows::tests::container;

    #[test]
    fn a_row_reads_as_in_docker() {
        let web = container("shop-web-1", ContainerState::Running { pid: 7, started_at: 0 });
        let figures = Figures {
            cpu: 58.2,
            memory: 336 << 10,
            memory_limit: 25_275_888_435,
            received: 736,
            sent: 126,
            read: 2_060_000,
            written: 0,
            pids: 1,
        };
        insta::assert_snapshot!(table(&[row(&web, figures, false)]).lines().join("\n"), @"
        CONTAINER ID   NAME         CPU %    MEM USAGE / LIMIT   MEM %   NET I/O       BLOCK I/O     PIDS
        0123456789ab   shop-web-1   58.20%   336KiB / 23.54GiB   0.00%   736B / 126B   2.06MB / 0B   1
        ");
    }
}
