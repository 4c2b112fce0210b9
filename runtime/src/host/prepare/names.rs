//! The host name of a container.

use berth_planner::desired::NetworkMode;

use crate::host::{StepError, Stored};
use crate::paths::Roots;

/// Longest row of containers that share a network of which each has its name from the next.
const MOST: usize = 64;

/// Its own, or that of whose network it has: the host's, or another container's. The first twelve
/// digits of its id where nobody gave it one.
pub(super) fn hostname(roots: &Roots, stored: &Stored) -> Result<String, StepError> {
    let mut owner = None;
    for _ in 0..MOST {
        let stored = owner.as_ref().unwrap_or(stored);
        let spec = &stored.record.spec;
        if let Some(name) = &spec.hostname {
            return Ok(name.clone());
        }
        owner = match &spec.network_mode {
            NetworkMode::Host => return Ok(of_host()),
            _ if spec.host_names => return Ok(of_host()),
            NetworkMode::Bridge | NetworkMode::None => return Ok(stored.id[..12].to_owned()),
            NetworkMode::Container(other) => {
                let read = Stored::read(roots, other);
                let read = read.map_err(|e| StepError::refused("read container", other, e))?;
                let gone = || StepError::Stale(format!("container `{other}` is not there"));
                Some(read.ok_or_else(gone)?)
            }
        };
    }
    Ok(stored.id[..12].to_owned())
}

fn of_host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
