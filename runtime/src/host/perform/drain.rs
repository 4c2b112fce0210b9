//! Waiting for the end of connections to a container that serves no more.

use std::net::IpAddr;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use berth_network::{conntrack, listening};
use berth_planner::observed::Addresses;

use super::super::state::is_alive;
use super::super::{Host, StepError, Stored};
use super::blocking;
use crate::bundle::Status;
use crate::record;

/// How long an address that a name was answered with is used at most: no answer is kept.
const TOLD: Duration = Duration::from_secs(1);
/// Between two looks at who is still connected from inside its networks: only looking tells.
const PAUSE: Duration = Duration::from_millis(100);

/// Waits for the end of connections, and at least so long that who has just been told an address of
/// it has used that.
pub(super) async fn drain(host: &Host, name: &str, patience: Duration) -> Result<(), StepError> {
    let stored = Stored::read(&host.roots, name)
        .map_err(|e| StepError::refused("read container", name, e))?
        .ok_or_else(|| StepError::Stale(format!("container `{name}` is not there")))?;
    let targets: Vec<IpAddr> = stored.record.addresses.values().flat_map(Addresses::iter).collect();
    let run_dir = host.roots.container_run(name);
    let end = Instant::now() + patience;
    tokio::time::sleep(patience.min(TOLD)).await;
    blocking(move || {
        // Where the kernel does not tell, they are cut as they would be without a look.
        let _ = conntrack::drain(&targets, end.saturating_duration_since(Instant::now()));
        await_neighbours(&run_dir, end);
        Ok(())
    })
    .await
}

/// Waits for those that the packet rules do not see: they are on one network with it.
fn await_neighbours(run_dir: &Path, end: Instant) {
    let status: Option<Status> = record::read(&run_dir.join("status.json")).ok().flatten();
    let Some(status) = status else { return };
    while Instant::now() < end && is_alive(status.pid, status.pid_start) {
        if listening::clients_of(status.pid).unwrap_or_default() == 0 {
            return;
        }
        thread::sleep(PAUSE);
    }
}
