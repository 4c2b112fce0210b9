//! `berth doctor`.

use std::collections::BTreeSet;
use std::time::Duration;

use clap::Args;
use serde_json::json;

use crate::args::Format;
use crate::doctor::{Facts, Finding, Verdict, judge, judge_store};
use crate::failure::{Exit, Failure};
use crate::flow;
use crate::session::Session;
use crate::ui::{Ui, safe};

/// How long the store may be in use before a repair gives up.
const PATIENCE: Duration = Duration::from_secs(10);

/// Arguments of `doctor`.
#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    /// Look at every object of the image store instead: is it whole, and what its name says?
    #[arg(long)]
    check_store: bool,
    /// Take away what is broken in the store, so that the next pull fetches it again
    #[arg(long, requires = "check_store")]
    repair: bool,
    /// How to print it
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// Looks at the host and tells what it can do.
pub(crate) fn run(session: &Session, args: &DoctorArgs) -> Result<Exit, Failure> {
    if args.check_store {
        return check_store(session, args);
    }
    let facts = Facts::gather(&session.roots());
    let findings = judge(&facts);
    match args.format {
        Format::Json => session.ui.json(&findings)?,
        Format::Table => show(&session.ui, &findings)?,
    }
    Ok(exit(&findings))
}

/// Looks at the image store and tells what in it is broken.
fn check_store(session: &Session, args: &DoctorArgs) -> Result<Exit, Failure> {
    let host = flow::open(session)?;
    let repair = args.repair && !session.global.dry_run;
    let checked = if repair {
        let alone = host.store().alone(PATIENCE)?;
        // No container is made meanwhile.
        let containers = host.list_containers()?.into_values();
        let in_use: BTreeSet<String> = containers.map(|c| c.record.image_id).collect();
        alone.repair(&in_use)?
    } else {
        host.store().check()?
    };
    let findings = judge_store(&checked, repair);
    match args.format {
        Format::Json => session.ui.json(&json!({ "store": checked, "findings": findings }))?,
        Format::Table => show(&session.ui, &findings)?,
    }
    Ok(exit(&findings))
}

fn exit(findings: &[Finding]) -> Exit {
    let worst = findings.iter().map(|finding| finding.verdict).max();
    if worst == Some(Verdict::Fail) { Exit::Container(1) } else { Exit::Done }
}

fn show(ui: &Ui, findings: &[Finding]) -> Result<(), Failure> {
    for finding in findings {
        let mark = match finding.verdict {
            Verdict::Ok => ui.out().green("ok  "),
            Verdict::Warn => ui.out().yellow("warn"),
            Verdict::Fail => ui.out().red("fail"),
        };
        ui.data(&format!("{mark}  {:19}  {}", finding.check, safe(&finding.found)))?;
        if let Some(next) = &finding.next {
            ui.data(&format!("{:27}{}", "", ui.out().dim(&safe(next))))?;
        }
    }
    Ok(())
}
