//! Work on an image while its layers are shown.

use std::sync::Arc;
use std::time::Duration;

use berth_runtime::store::LayerProgress;
use tokio::sync::mpsc;

use crate::ui::Progress;

/// Events that may wait. More than an image has layers, so that no state is lost.
const EVENTS: usize = 1024;
/// Between two pictures.
pub(crate) const REDRAW: Duration = Duration::from_millis(100);

/// Does `work` and shows what it tells as what happens to `object`. What `interrupted` gives if it
/// comes before the end of it.
pub(crate) async fn watched<F: Future, S>(
    progress: &mut Progress<'_>,
    object: &str,
    interrupted: impl Future<Output = S>,
    work: impl FnOnce(LayerProgress) -> F,
) -> Result<F::Output, S> {
    let (events, mut happened) = mpsc::channel(EVENTS);
    // A count that finds the queue full is overtaken by the next one.
    let working = work(Arc::new(move |event| drop(events.try_send(event))));
    let mut ticks = tokio::time::interval(REDRAW);
    tokio::pin!(working, interrupted);
    let ended = loop {
        tokio::select! {
            biased;
            Some(event) = happened.recv() => progress.layer(object, &event),
            ended = &mut working => break ended,
            signal = &mut interrupted => return Err(signal),
            _ = ticks.tick(), if progress.moves() => progress.tick(),
        }
    };
    while let Ok(event) = happened.try_recv() {
        progress.layer(object, &event);
    }
    Ok(ended)
}
