//! How far the layers of an image are, in words.

use std::collections::BTreeMap;

use berth_runtime::store::{PullEvent, PullPhase};

use crate::values::amount;

/// What is known of the layers of one image on its way.
#[derive(Debug, Default)]
pub(crate) struct Pulling {
    layers: BTreeMap<String, PullEvent>,
}

impl Pulling {
    /// Takes in what happened; gives how far all of it is: `12.1MB of 80.0MB, 2 of 5 layers`.
    pub(crate) fn take(&mut self, event: &PullEvent) -> String {
        self.layers.insert(event.layer.clone(), event.clone());
        let layers = self.layers.values();
        let there = |event: &&PullEvent| matches!(event.phase, PullPhase::Done | PullPhase::Exists);
        let ready = layers.clone().filter(there).count();
        let done = layers.clone().map(|event| if there(&event) { event.total } else { event.done });
        let done: u64 = done.sum();
        let total: u64 = layers.clone().map(|event| event.total).sum();
        let retrying = layers.clone().any(|event| event.phase == PullPhase::Retrying);
        let note = if retrying { ", connecting again" } else { "" };
        let (done, total) = (amount::bytes(done), amount::bytes(total));
        format!("{done} of {total}, {ready} of {} layers{note}", self.layers.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(layer: &str, done: u64, phase: PullPhase) -> PullEvent {
        PullEvent { layer: layer.into(), done, total: 1000, phase }
    }

    #[test]
    fn layers_are_counted_together() {
        let mut pulling = Pulling::default();
        pulling.take(&event("a", 0, PullPhase::Exists));
        pulling.take(&event("b", 100, PullPhase::Downloading));
        let told = pulling.take(&event("b", 500, PullPhase::Downloading));
        assert_eq!(told, "1.50kB of 2.00kB, 1 of 2 layers");
        let told = pulling.take(&event("b", 500, PullPhase::Retrying));
        assert_eq!(told, "1.50kB of 2.00kB, 1 of 2 layers, connecting again");
    }
}
