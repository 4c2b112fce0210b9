//! `berth diff`.

use berth_runtime::host::{Changed, FilesError, How};
use clap::Args;

use super::generations;
use crate::failure::{Exit, Failure};
use crate::session::Session;
use crate::{flow, pick};

/// Arguments of `diff`.
#[derive(Debug, Args)]
pub(crate) struct DiffArgs {
    /// The service; or the number of a generation
    #[arg(value_name = "SERVICE|GENERATION")]
    service: String,
    /// The number of another generation; else it is compared with the newest
    #[arg(value_name = "GENERATION")]
    other: Option<String>,
    /// Number of the container, when the service has several
    #[arg(long, default_value_t = 0, hide_default_value = true)]
    index: u32,
}

impl From<FilesError> for Failure {
    fn from(error: FilesError) -> Failure {
        match error {
            FilesError::Store(error) => error.into(),
            freeze @ (FilesError::Freeze { .. } | FilesError::Ran { .. }) => {
                Failure::refused(freeze).with_help(
                    "nothing was committed; run `berth up` and commit again, or commit with \
                     `--pause=false` while it runs",
                )
            }
            other => Failure::refused(other),
        }
    }
}

/// Lists what a container added (A), changed (C) and deleted (D), or how two generations differ.
pub(crate) fn run(session: &Session, args: &DiffArgs) -> Result<Exit, Failure> {
    let project = session.project();
    let stack = project.as_ref().ok().and_then(|project| project.stack.as_ref());
    let words = (args.service.as_str(), args.other.as_deref());
    if let Some(both) = generations::named(words, stack)? {
        return generations::diff(session, &*flow::open_to_look(session)?, both);
    }
    let project = project?;
    let host = flow::open_to_look(session)?;
    let all = host.list_containers()?;
    let container = pick::any(all.values(), &project, &args.service, args.index)?;
    let changes = host.changes(&container.record.name)?;
    session.ui.list(changes.iter().map(line))?;
    Ok(Exit::Done)
}

fn line(changed: &Changed) -> String {
    let letter = match changed.how {
        How::Added => 'A',
        How::Changed => 'C',
        How::Deleted => 'D',
    };
    format!("{letter} {}", String::from_utf8_lossy(&changed.path))
}
