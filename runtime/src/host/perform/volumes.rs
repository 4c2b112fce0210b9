//! Volumes that go: no container is made meanwhile, and who has one is looked up once more, as a
//! project may mount the volume of another.

use std::fs::File;
use std::time::Duration;

use berth_planner::down::volumes_of;
use berth_planner::observed::ObservedContainer;
use rustix::fs::{FlockOperation, flock};

use super::super::{Host, StepError};
use super::blocking;
use super::folder::set_aside;

const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Keeps every volume where it is while a container is made.
pub(super) async fn hold(host: &Host, container: &str) -> Result<File, StepError> {
    lock(host, FlockOperation::NonBlockingLockShared, "create container", container).await
}

/// Removes a volume with its data, unless a container has it.
pub(super) async fn remove(host: &Host, name: &str) -> Result<(), StepError> {
    let step = "remove volume";
    let alone = lock(host, FlockOperation::NonBlockingLockExclusive, step, name).await?;
    let containers = host.list_containers().map_err(|e| StepError::failed(step, name, e))?;
    let has =
        |container: &&ObservedContainer| volumes_of(&container.record).any(|volume| volume == name);
    if let Some(user) = containers.values().find(has) {
        let user = &user.record.name;
        return Err(StepError::Stale(format!("volume `{name}` is in use by container `{user}`")));
    }
    let aside = set_aside(host.roots(), &host.roots().volume(name), step, name)?;
    // Without its name nobody can come to it; the data may take its time.
    drop(alone);
    let name = name.to_owned();
    blocking(move || aside.remove().map_err(|e| StepError::refused(step, name, e))).await
}

/// The folder of all volumes is the lock.
async fn lock(
    host: &Host,
    operation: FlockOperation,
    step: &str,
    object: &str,
) -> Result<File, StepError> {
    let folder = host.roots().state.join("volumes");
    let folder = File::open(folder).map_err(|e| StepError::refused(step, object, e))?;
    for _ in 0..1500 {
        if flock(&folder, operation).is_ok() {
            return Ok(folder);
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    Err(StepError::failed(step, object, "other runs work on volumes; try again later"))
}
