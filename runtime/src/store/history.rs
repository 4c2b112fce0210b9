//! How an image was made, as its config tells: step by step, with the layer of each.

use std::collections::VecDeque;

use serde::Deserialize;

use super::ingest::LayerRecord;
use super::{ImageRecord, LayerRef, Store, StoreError};
use crate::record;

/// A step in the making of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryEntry {
    /// Seconds since the epoch, if it says so.
    pub created: Option<i64>,
    /// What made it: a line of a Dockerfile, a command.
    pub created_by: String,
    /// What somebody said about it.
    pub comment: String,
    /// Bytes of its layer, unpacked; 0 for a step without one.
    pub size: u64,
}

/// An entry of `history` in a config document.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Wire {
    created: Option<String>,
    created_by: Option<String>,
    comment: Option<String>,
    empty_layer: bool,
}

#[derive(Deserialize)]
struct WireDocument {
    history: Option<Vec<Wire>>,
}

impl Store {
    /// The steps of an image's making, the last one first. Layers that no step tells of are steps
    /// without words.
    ///
    /// # Errors
    /// [`StoreError::Missing`] when there is no such image.
    pub fn history(&self, id: &str) -> Result<Vec<HistoryEntry>, StoreError> {
        let record = self.image(id)?;
        let path = self.places.blob(&record.id);
        let bytes = std::fs::read(&path).map_err(StoreError::host("read", &path))?;
        let told = serde_json::from_slice::<WireDocument>(&bytes).ok();
        let mut told: VecDeque<Wire> =
            told.and_then(|document| document.history).unwrap_or_default().into();
        let mut steps = Vec::new();
        let mut layers = self.layer_sizes(&record)?;
        while let Some(step) = told.pop_front() {
            let size = if step.empty_layer { 0 } else { layers.pop_front().unwrap_or(0) };
            steps.push(entry(step, size));
        }
        steps.extend(layers.into_iter().map(|size| entry(Wire::default(), size)));
        steps.reverse();
        Ok(steps)
    }

    /// Bytes of each layer, the bottom one first.
    fn layer_sizes(&self, record: &ImageRecord) -> Result<VecDeque<u64>, StoreError> {
        let size = |layer: &LayerRef| {
            let path = self.places.layer_record(&layer.diff_id);
            let there: Option<LayerRecord> =
                record::read(&path).map_err(StoreError::host("read", &path))?;
            Ok(there.map_or(0, |layer| layer.size))
        };
        record.layers.iter().map(size).collect()
    }
}

fn entry(step: Wire, size: u64) -> HistoryEntry {
    let created = step.created.and_then(|at| at.parse::<jiff::Timestamp>().ok());
    HistoryEntry {
        created: created.map(jiff::Timestamp::as_second),
        created_by: step.created_by.unwrap_or_default(),
        comment: step.comment.unwrap_or_default(),
        size,
    }
}

#[cfg(test)]
mod tests {
    use super::super::digest::Digest;
    use super::super::test_images::{Archive, Scratch, image_archive};
    use super::*;

    #[test]
    fn steps_without_a_layer_stand_between_those_with_one() {
        let scratch = Scratch::new("history");
        let store = Store::open(scratch.path());
        let layers =
            [Archive::default().file("f", "1").end(), Archive::default().file("f", "22").end()];
        let diff_ids: Vec<Digest> = layers.iter().map(|layer| Digest::of(layer)).collect();
        let config = serde_json::json!({
            "architecture": "amd64", "os": "linux",
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
            "history": [
                {"created": "2024-05-01T10:00:00Z", "created_by": "ADD f"},
                {"created_by": "ENV a=b", "empty_layer": true, "comment": "said"},
            ],
        });
        let archive = image_archive(&["x"], config.to_string().as_bytes(), &layers);
        let id = store.load_stream(archive.as_slice()).unwrap().remove(0).id;
        let told: Vec<String> = store
            .history(&id)
            .unwrap()
            .iter()
            .map(|step| {
                format!("{} {:?} {} {}", step.size, step.created, step.created_by, step.comment)
            })
            .collect();
        assert_eq!(told, ["2 None  ", "0 None ENV a=b said", "1 Some(1714557600) ADD f "]);
    }
}
