//! `berth top`.

use berth_planner::observed::ObservedContainer;
use berth_runtime::container::{IDS, Process, processes};
use berth_runtime::host::Asked;
use clap::Args;
use serde::Serialize;

use crate::failure::{Exit, Failure};
use crate::form::{Form, Listed};
use crate::project::{check_services, containers};
use crate::session::Session;
use crate::ui::Table;
use crate::{flow, rows};

/// Arguments of `top`.
#[derive(Debug, Args)]
pub(crate) struct TopArgs {
    /// Only these services
    services: Vec<String>,
    /// `table`, `json`, or a template in Go's words: `{{.PID}}`, `table {{.PID}}\t{{.CMD}}`
    #[arg(long, value_name = "FORMAT", default_value = "table", hide_default_value = true)]
    format: Form,
}

/// A process of a container.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Row {
    service: String,
    number: u32,
    #[serde(rename = "UID")]
    uid: u32,
    #[serde(rename = "PID")]
    pid: i32,
    #[serde(rename = "PPID")]
    parent: i32,
    time: String,
    #[serde(rename = "CMD")]
    command: String,
}

impl Listed for Row {}

/// Lists what runs in the project's containers.
pub(crate) async fn run(session: &Session, args: &TopArgs) -> Result<Exit, Failure> {
    let project = session.project()?;
    let host = flow::open_to_look(session)?;
    let observed = host.observe(&Asked::default()).await?;
    check_services(&project, &observed, &args.services)?;
    let mut rows = Vec::new();
    for container in containers(&observed, &project.name, &args.services) {
        if rows::is_up(container.state) {
            let cgroup = host.roots().cgroup_of(&container.record.name, &container.record.spec);
            let running = processes(&cgroup).map_err(Failure::refused)?;
            rows.extend(running.into_iter().map(|process| row(container, process)));
        }
    }
    session.ui.rows(&args.format, &rows, || table(&rows))?;
    Ok(Exit::Done)
}

/// The row of a process: its user as the container counts.
fn row(container: &ObservedContainer, process: Process) -> Row {
    let base = container.record.id_base.unwrap_or(0);
    let inside = process.uid.checked_sub(base).filter(|uid| base == 0 || *uid < IDS);
    Row {
        service: container.record.service.clone(),
        number: container.record.number,
        uid: inside.unwrap_or(process.uid),
        pid: process.pid,
        parent: process.parent,
        time: time(process.seconds),
        command: process.command,
    }
}

/// `00:01:05`, as ps(1) has it.
fn time(seconds: u64) -> String {
    format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

fn table(rows: &[Row]) -> Table {
    let mut table = Table::new(["SERVICE", "#", "UID", "PID", "PPID", "TIME", "CMD"]);
    for row in rows {
        table.row([
            row.service.clone(),
            row.number.to_string(),
            row.uid.to_string(),
            row.pid.to_string(),
            row.parent.to_string(),
            row.time.clone(),
            row.command.clone(),
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
    fn a_user_is_shown_as_the_container_counts() {
        let mut web = container("shop-web-1", ContainerState::Created);
        let process =
            |uid| Process { pid: 9, parent: 1, uid, seconds: 3661, command: "nginx".into() };
        web.record.id_base = Some(100_000);
        assert_eq!(row(&web, process(100_033)).uid, 33);
        assert_eq!(row(&web, process(7)).uid, 7);
        web.record.id_base = None;
        assert_eq!(row(&web, process(33)).uid, 33);
        assert_eq!(row(&web, process(33)).time, "01:01:01");
    }
}
