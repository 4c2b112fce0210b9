//! Asking many registries at once, a few requests at a time.

use std::collections::BTreeMap;
use std::sync::Arc;

use berth_runtime::store::StoreError;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// Requests under way at one moment: a registry that counts them is not to be annoyed.
const AT_ONCE: usize = 4;

/// What came of the question about each name. An error is that of its name alone.
pub(crate) async fn ask_all<T, F>(
    names: impl IntoIterator<Item = String>,
    ask: impl Fn(String) -> F,
) -> BTreeMap<String, Result<T, String>>
where
    T: Send + 'static,
    F: Future<Output = Result<T, StoreError>> + Send + 'static,
{
    let places = Arc::new(Semaphore::new(AT_ONCE));
    let mut asking = JoinSet::new();
    for name in names {
        let (places, answer) = (Arc::clone(&places), ask(name.clone()));
        asking.spawn(async move {
            let _place = places.acquire_owned().await;
            (name, answer.await.map_err(|error| error.to_string()))
        });
    }
    asking.join_all().await.into_iter().collect()
}
