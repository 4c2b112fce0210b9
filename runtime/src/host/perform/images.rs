//! Images that go: nothing else works in the store meanwhile, and what a container was made from
//! is looked up once more under that lock.

use std::sync::Arc;
use std::time::Duration;

use berth_planner::images::users;

use super::super::{Host, StepError};
use super::blocking;
use crate::store::{Alone, Store, StoreError, Using};

/// How long those who make images or containers of them are waited for.
const WAIT: Duration = Duration::from_secs(5);
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Keeps every image in the store while a container is made of `image`.
pub(super) async fn hold(host: &Host, image: &str) -> Result<Using, StepError> {
    for _ in 0..1500 {
        match host.store().hold() {
            Ok(Some(using)) => return Ok(using),
            Ok(None) => tokio::time::sleep(LOOK_AGAIN).await,
            Err(e) => return Err(StepError::failed("read image", image, e)),
        }
    }
    Err(StepError::failed("read image", image, "images are being removed; try again later"))
}

/// Takes a name from an image.
pub(super) async fn untag(host: &Host, name: &str, id: &str) -> Result<(), StepError> {
    let (name, id) = (name.to_owned(), id.to_owned());
    let store = Arc::clone(host.store());
    blocking(move || {
        let done = store.alone(WAIT).and_then(|alone| alone.untag(&name, &id));
        done.map_err(|e| refused("untag image", &name, e))
    })
    .await
}

/// Removes an image that no container was made from.
pub(super) async fn remove(host: &Host, id: &str, names: &[String]) -> Result<(), StepError> {
    let (id, names) = (id.to_owned(), names.to_owned());
    let shown = names.first().unwrap_or(&id).clone();
    let alone = alone(host, "remove image", &shown).await?;
    let containers =
        host.list_containers().map_err(|e| StepError::failed("remove image", &shown, e))?;
    if let Some(user) = users(&containers).get(id.as_str()).and_then(|users| users.first()) {
        let user = &user.record.name;
        return Err(StepError::Stale(format!("image `{shown}` is in use by container `{user}`")));
    }
    blocking(move || alone.remove(&id, &names).map_err(|e| refused("remove image", &shown, e)))
        .await
}

/// Removes what is unfinished in the store. A lost record makes all of its image look so, which is
/// no reason to take the layers from under a container.
pub(super) async fn sweep(host: &Host) -> Result<(), StepError> {
    let failed = |e: &dyn std::fmt::Display| StepError::failed("tidy up", "images", e.to_string());
    let alone = alone(host, "tidy up", "images").await?;
    let containers = host.list_containers().map_err(|e| failed(&e))?;
    let images = host.store().images().map_err(|e| failed(&e))?;
    let users = users(&containers);
    if let Some((id, users)) = users.iter().find(|(id, _)| !images.contains_key(**id)) {
        let names: Vec<&str> = users.iter().map(|user| user.record.name.as_str()).collect();
        let names = names.join("`, `");
        return Err(failed(&format!(
            "the record of {id} is lost, and `{names}` was made from it; pull or load the image again"
        )));
    }
    blocking(move || alone.sweep().map_err(|e| refused("tidy up", "images", e))).await
}

async fn alone(host: &Host, step: &'static str, object: &str) -> Result<Alone, StepError> {
    let store: Arc<Store> = Arc::clone(host.store());
    let object = object.to_owned();
    blocking(move || store.alone(WAIT).map_err(|e| refused(step, &object, e))).await
}

fn refused(step: &str, object: &str, error: StoreError) -> StepError {
    match error {
        StoreError::Moved(_) => StepError::Stale(error.to_string()),
        other => StepError::failed(step, object, other),
    }
}
