//! How far the layers of an image are on their way out, in words.

use std::collections::BTreeMap;

use berth_runtime::store::{PushEvent, PushPhase};

use crate::values::amount;

/// What is known of the layers of one image.
#[derive(Debug, Default)]
pub(crate) struct Pushing {
    layers: BTreeMap<String, PushEvent>,
}

impl Pushing {
    /// Takes in what happened; gives how far all of it is:
    /// `12.1MB of 80.0MB, 2 of 5 layers (1 was there)`.
    pub(crate) fn take(&mut self, event: &PushEvent) -> String {
        match event.phase {
            PushPhase::Packed => drop(self.layers.remove(&event.layer)),
            _ => drop(self.layers.insert(event.layer.clone(), event.clone())),
        }
        let count = |wanted: &[PushPhase]| {
            self.layers.values().filter(|event| wanted.contains(&event.phase)).count()
        };
        let there = count(&[PushPhase::Exists, PushPhase::Mounted]);
        let ready = there + count(&[PushPhase::Done]);
        let was_there = match there {
            0 => String::new(),
            1 => " (1 was there)".to_owned(),
            many => format!(" ({many} were there)"),
        };
        let note = match (count(&[PushPhase::Retrying]), count(&[PushPhase::Packing])) {
            (0, 0) => "",
            (0, _) => ", packing",
            _ => ", connecting again",
        };
        let done: u64 = self.layers.values().map(|event| event.done).sum();
        let total: u64 = self.layers.values().map(|event| event.total).sum();
        let (done, total) = (amount::bytes(done), amount::bytes(total));
        format!("{done} of {total}, {ready} of {} layers{was_there}{note}", self.layers.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(layer: &str, done: u64, phase: PushPhase) -> PushEvent {
        PushEvent { layer: layer.into(), done, total: 1000, phase }
    }

    #[test]
    fn layers_are_counted_together_and_those_that_were_there_named() {
        let mut pushing = Pushing::default();
        pushing.take(&event("a", 1000, PushPhase::Exists));
        assert_eq!(
            pushing.take(&event("c", 0, PushPhase::Packing)),
            "1.00kB of 2.00kB, 1 of 2 layers (1 was there), packing"
        );
        pushing.take(&event("c", 0, PushPhase::Packed));
        let told = pushing.take(&event("b", 500, PushPhase::Uploading));
        assert_eq!(told, "1.50kB of 2.00kB, 1 of 2 layers (1 was there)");
        let told = pushing.take(&event("b", 500, PushPhase::Retrying));
        assert_eq!(told, "1.50kB of 2.00kB, 1 of 2 layers (1 was there), connecting again");
        let told = pushing.take(&event("b", 1000, PushPhase::Done));
        assert_eq!(told, "2.00kB of 2.00kB, 2 of 2 layers (1 was there)");
    }
}
