//! `berth commit`.

use std::sync::Arc;

use berth_runtime::store::{About, Change};
use clap::{ArgAction, Args};
use tokio::runtime::Handle;

use super::export;
use crate::failure::{Exit, Failure};
use crate::session::Session;
use crate::{flow, pick};

/// Arguments of `commit`.
#[derive(Debug, Args)]
pub(crate) struct CommitArgs {
    /// The service
    service: String,
    /// Name of the new image; without one it is known by its id
    #[arg(value_name = "REPOSITORY[:TAG]")]
    reference: Option<String>,
    /// Who made it, as `Ada Lovelace <ada@example.org>`
    #[arg(short, long)]
    author: Option<String>,
    /// Change its config by a line of a Dockerfile, as `CMD ["/run"]`
    #[arg(short, long = "change", value_name = "LINE")]
    changes: Vec<String>,
    /// What was done
    #[arg(short, long)]
    message: Option<String>,
    /// Stop the container's processes meanwhile
    #[arg(
        short,
        long,
        action = ArgAction::Set,
        default_value_t = true,
        num_args = 0..=1,
        default_missing_value = "true",
        require_equals = true
    )]
    pause: bool,
    /// Number of the container, when the service has several
    #[arg(long, default_value_t = 0, hide_default_value = true)]
    index: u32,
}

/// Makes an image of a container.
pub(crate) async fn run(session: &Session, args: &CommitArgs) -> Result<Exit, Failure> {
    let changes = changes(&args.changes)?;
    let project = session.project()?;
    let host = flow::open(session)?;
    let all = host.list_containers()?;
    let container = pick::any(all.values(), &project, &args.service, args.index)?.clone();
    if session.global.dry_run {
        session.ui.note(&format!("would commit container {}", container.record.name));
        return Ok(Exit::Done);
    }
    let about = About {
        reference: args.reference.clone(),
        author: args.author.clone(),
        message: args.message.clone(),
        created_by: format!("berth commit {}", args.service),
        changes,
    };
    let (host, pause, runtime) = (Arc::clone(&host), args.pause, Handle::current());
    let work =
        tokio::task::spawn_blocking(move || host.commit(&container, &about, pause, &runtime));
    let (id, packed) = work.await.map_err(Failure::refused)??;
    export::tell(session, packed);
    session.ui.list([id])?;
    Ok(Exit::Done)
}

/// The changes; every line that is none is told.
pub(super) fn changes(lines: &[String]) -> Result<Vec<Change>, Failure> {
    let (good, bad): (Vec<_>, Vec<_>) =
        lines.iter().map(|line| Change::parse(line)).partition(Result::is_ok);
    if bad.is_empty() {
        return Ok(good.into_iter().flatten().collect());
    }
    let told: Vec<String> =
        bad.into_iter().filter_map(Result::err).map(|e| e.to_string()).collect();
    Err(Failure::usage(told.join("\n")))
}
