//! `berth doctor`.

use clap::Args;

use crate::args::Format;
use crate::doctor::{Facts, Finding, Verdict, judge};
use crate::failure::{Exit, Failure};
use crate::session::Session;
use crate::ui::{Ui, safe};

/// Arguments of `doctor`.
#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    /// How to print it
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// Looks at the host and tells what it can do.
pub(crate) fn run(session: &Session, args: &DoctorArgs) -> Result<Exit, Failure> {
    let facts = Facts::gather(&session.roots());
    let findings = judge(&facts);
    match args.format {
        Format::Json => session.ui.json(&findings)?,
        Format::Table => show(&session.ui, &findings)?,
    }
    let worst = findings.iter().map(|finding| finding.verdict).max();
    Ok(if worst == Some(Verdict::Fail) { Exit::Container(1) } else { Exit::Done })
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
