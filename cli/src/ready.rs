//! Waits until containers run, and are healthy where they have a probe.

use std::sync::Arc;
use std::time::Duration;

use berth_planner::action::Action;
use berth_planner::observed::Health;
use berth_runtime::host::Host;
use berth_schema::stack::Condition;
use tokio::task::JoinSet;

use crate::failure::{Exit, Failure};
use crate::rows;
use crate::session::Session;
use crate::signals::Signals;

/// Waits for the containers of `services` (empty: all of the project).
pub(crate) async fn wait(
    session: &Session,
    host: &Arc<Host>,
    project: &str,
    services: &[String],
    limit: Option<Duration>,
) -> Result<Exit, Failure> {
    let mut waits = gates(host, project, services)?;
    let mut signals = Signals::listen()?;
    let limit = limit.unwrap_or(Duration::MAX);
    let all = async {
        let mut causes = Vec::new();
        while let Some(ended) = waits.join_next().await {
            causes.extend(ended.ok().flatten());
        }
        causes
    };
    let causes = tokio::select! {
        causes = tokio::time::timeout(limit, all) => causes,
        number = signals.next() => return Ok(Exit::Signal(number)),
    };
    match causes {
        Ok(causes) if causes.is_empty() => Ok(Exit::Done),
        Ok(causes) => Err(Failure::Unhealthy { causes }),
        Err(_) => {
            let cause = format!("not ready after {}s", limit.as_secs());
            session.ui.warn("some services are still starting");
            Err(Failure::Unhealthy { causes: vec![cause] })
        }
    }
}

/// One task for each container, which gives why it is not ready.
fn gates(
    host: &Arc<Host>,
    project: &str,
    services: &[String],
) -> Result<JoinSet<Option<String>>, Failure> {
    let mut waits = JoinSet::new();
    for container in host.list_containers()?.into_values() {
        let record = &container.record;
        let wanted = services.is_empty() || services.contains(&record.service);
        if record.project != project || record.oneoff || !wanted {
            continue;
        }
        let condition = match container.health {
            Health::None => Condition::ServiceStarted,
            Health::Starting | Health::Healthy | Health::Unhealthy => Condition::ServiceHealthy,
        };
        let (host, label) = (Arc::clone(host), rows::label(&container));
        let action = Action::AwaitContainer { name: record.name.clone(), condition };
        waits.spawn(async move {
            // Only pulls tell how far they are, and this is none.
            host.perform(&action, Arc::new(|_| {}))
                .await
                .err()
                .map(|error| format!("{label}: {error}"))
        });
    }
    Ok(waits)
}
