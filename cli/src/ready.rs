//! Waits until every container has reached the state that its file declares.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use berth_planner::ready::end_states;
use berth_runtime::host::Host;
use tokio::task::JoinSet;

use crate::failure::{Exit, Failure};
use crate::rows;
use crate::signals::Signals;

/// Waits for the containers of these services (empty: all of the project).
pub(crate) async fn wait(
    host: &Arc<Host>,
    project: &str,
    services: &BTreeSet<String>,
    limit: Option<Duration>,
) -> Result<Exit, Failure> {
    let mut waits = JoinSet::new();
    let mut open = BTreeSet::new();
    let containers = host.list_containers()?;
    for (name, end) in end_states(project, &containers, services) {
        let (host, label) = (Arc::clone(host), rows::label(&containers[&name]));
        open.insert(label.clone());
        waits.spawn(async move {
            let reached = host.await_end_state(&name, end).await;
            (label, reached.err().map(|error| error.to_string()))
        });
    }
    let mut signals = Signals::listen()?;
    let mut causes = Vec::new();
    let all = async {
        while let Some(ended) = waits.join_next().await {
            let Ok((label, failed)) = ended else { continue };
            causes.extend(failed.map(|why| format!("{label}: {why}")));
            open.remove(&label);
        }
    };
    let in_time = tokio::select! {
        in_time = tokio::time::timeout(limit.unwrap_or(Duration::MAX), all) => in_time.is_ok(),
        number = signals.next() => return Ok(Exit::Signal(number)),
    };
    if !in_time {
        let after = limit.unwrap_or_default().as_secs_f64();
        causes.extend(open.iter().map(|label| format!("{label}: not ready after {after}s")));
    }
    match causes.is_empty() {
        true => Ok(Exit::Done),
        false => Err(Failure::Unhealthy { causes }),
    }
}
