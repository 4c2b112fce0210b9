//! What became of a generation, told by those that waited for its services.

use berth_planner::generation::{Generation, Standing, is_applied};
use berth_runtime::host::Host;

use crate::failure::Failure;
use crate::flow;
use crate::session::Session;

/// What a run was, to those that wait for what it did.
#[derive(Debug, Clone)]
pub(crate) struct Waited<'a> {
    /// The project.
    pub(crate) project: &'a str,
    /// The name of the run after which the host is as it was left; another run has another.
    pub(crate) run: Option<String>,
    /// It changed something.
    pub(crate) changed: bool,
    /// It was about all services.
    pub(crate) whole: bool,
}

/// Marks what a run came to by how its services became: who does not become healthy is no state to go back
/// to, who does so later is one again, unless it is something else that became so.
pub(crate) async fn mark(
    session: &Session,
    host: &Host,
    waited: &Waited<'_>,
    ended: &Result<(), &Failure>,
) -> Result<(), Failure> {
    let containers = host.list_containers()?;
    let marked = |newest: Generation| match ended {
        _ if newest.run != waited.run => None,
        Ok(()) => {
            let mends = waited.whole
                && newest.standing == Standing::Failed
                && newest.rejected.is_empty()
                && is_applied(&newest, &containers);
            mends.then(|| Generation { standing: Standing::Stable, why: Vec::new(), ..newest })
        }
        Err(failure) => waited.changed.then(|| {
            let why = failure.causes().to_vec();
            Generation { standing: Standing::Failed, why, ..newest }
        }),
    };
    if host.newest_generation(waited.project)?.and_then(marked).is_none() {
        return Ok(());
    }
    let lock = flow::lock(session, host, waited.project).await?;
    // Another run may have been here meanwhile.
    match host.newest_generation(waited.project)?.and_then(marked) {
        Some(marked) => Ok(host.mark_generation(&lock, &marked)?),
        None => Ok(()),
    }
}
