//! When a request is made again.

use std::sync::Arc;
use std::time::Duration;

use super::super::document::Descriptor;
use super::super::progress::{LayerEvent, LayerPhase, LayerProgress};
use super::error::RegistryError;

/// When a request that failed for a passing reason is made again.
#[derive(Debug, Clone, Copy)]
pub struct Retry {
    /// Tries in all.
    pub attempts: u32,
    /// Wait before the second; doubled each time.
    pub first: Duration,
    /// No wait is longer: a registry that asks for more is not asked again.
    pub longest: Duration,
}

impl Default for Retry {
    fn default() -> Retry {
        let (first, longest) = (Duration::from_millis(500), Duration::from_secs(30));
        Retry { attempts: 5, first, longest }
    }
}

impl Retry {
    /// Half of the wait is fixed and half by chance, so that many do not ask at one moment.
    pub(super) fn pause(&self, attempt: u32, wanted: Option<Duration>) -> Duration {
        use std::hash::{BuildHasher, RandomState};
        let doubled = self.first.saturating_mul(1 << attempt.saturating_sub(1).min(16));
        let chance = RandomState::new().hash_one(attempt) % 1000;
        let by_chance = doubled / 2 + (doubled / 2).mul_f64(chance as f64 / 1000.0);
        wanted.unwrap_or_default().max(by_chance.min(self.longest))
    }

    /// Whether asking once more is no use: it was tried often enough, or the registry wants to be
    /// left alone for longer than anybody waits.
    pub(super) fn is_over(&self, attempts: u32, wanted: Option<Duration>) -> bool {
        attempts >= self.attempts || wanted.is_some_and(|wanted| wanted > self.longest)
    }
}

tokio::task_local! {
    /// Who hears of the retries of the task that runs.
    static LISTENER: Listener;
}

/// Tells progress that what is asked for is asked for again.
pub(super) struct Listener {
    progress: LayerProgress,
    /// `None` for what belongs to the whole image.
    layer: Option<Descriptor>,
}

impl Listener {
    pub(super) fn new(progress: &LayerProgress, layer: Option<&Descriptor>) -> Listener {
        Listener { progress: Arc::clone(progress), layer: layer.cloned() }
    }

    /// Does `work` and hears of its retries.
    pub(super) async fn hears<F: Future>(self, work: F) -> F::Output {
        LISTENER.scope(self, work).await
    }
}

/// The request that the running task makes is made again after `wait`.
pub(super) fn told(error: &RegistryError, wait: Duration) {
    // Nobody listens where there is no progress, as at a login.
    let _ = LISTENER.try_with(|listener| {
        let phase = LayerPhase::Retrying { why: error.brief(), wait };
        let event = match &listener.layer {
            Some(layer) => LayerEvent::of(layer, 0, phase),
            None => LayerEvent::whole(0, 0, phase),
        };
        (listener.progress)(event);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_asked_again_who_wants_to_be_left_alone_for_too_long() {
        let retry = Retry::default();
        assert!(!retry.is_over(1, Some(Duration::from_secs(30))));
        assert!(retry.is_over(1, Some(Duration::from_secs(31))) && retry.is_over(5, None));
        let pause = retry.pause(3, Some(Duration::from_secs(20)));
        assert_eq!(pause, Duration::from_secs(20));
        assert!(retry.pause(60, None) <= retry.longest);
    }
}
