//! What `run --rm` leaves behind when it does not wait itself: a small process of ours that waits
//! for the end of the container and removes it.

use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use berth_runtime::monitor::client;
use clap::Args;

use super::run::remove;
use crate::failure::{Exit, Failure};
use crate::flow;
use crate::session::Session;

/// The hidden command.
pub(crate) const WORD: &str = "remove-after";

/// Arguments of it.
#[derive(Debug, Args)]
pub(crate) struct RemoveAfterArgs {
    /// Container by name.
    container: String,
}

/// Starts the process that waits.
pub(super) fn spawn(session: &Session, project: &str, container: &str) -> Result<(), Failure> {
    let mut command = Command::new("/proc/self/exe");
    // Nobody is there to call it again when another run holds the lock for long.
    let words = ["-p", project, "--lock-timeout", "1h", WORD, container];
    command.arg0("berth").args(words).current_dir("/");
    // In a group of its own: the end of the user's terminal is told to that of its programs alone.
    command.process_group(0);
    if let Some(root) = &session.global.root {
        command.env("BERTH_ROOT", session.working_dir.join(root));
    }
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    // Nobody waits for it: it outlives us.
    let spawned = command.spawn().map(drop);
    spawned.map_err(|e| Failure::refused(format!("wait for the end of `{container}`: {e}")))
}

/// Waits for the end of a container, and removes it with its volumes without a name.
pub(crate) async fn run(session: &Session, args: &RemoveAfterArgs) -> Result<Exit, Failure> {
    let project = session.project()?;
    let host = flow::open(session)?;
    // Without a monitor there is nothing to wait for.
    if let Ok(mut updates) = client::subscribe(&host.roots().container_run(&args.container)).await {
        while updates.next().await.is_some() {}
    }
    remove(session, &host, &project.name, &args.container).await?;
    Ok(Exit::Done)
}
