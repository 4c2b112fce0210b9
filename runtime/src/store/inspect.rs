//! All that is known of an image.

use std::path::PathBuf;

use serde_json::Value;

use super::document::DocumentError;
use super::{Store, StoreError};

/// An image as it describes itself, and where it is.
#[derive(Debug, Clone)]
pub struct Inspected {
    /// Its config document as it came.
    pub document: Value,
    /// Digests of its layers as plain archives, the bottom one first.
    pub diff_ids: Vec<String>,
    /// Its layers as folders, the bottom one first.
    pub layers: Vec<PathBuf>,
    /// Bytes of its layers, unpacked.
    pub size: u64,
    /// Seconds since the epoch when it last got a name.
    pub named_at: Option<i64>,
}

impl Store {
    /// All that is known of an image.
    ///
    /// # Errors
    /// [`StoreError::Missing`] when there is no such image.
    pub fn inspect(&self, id: &str) -> Result<Inspected, StoreError> {
        let record = self.image(id)?;
        let path = self.places.blob(&record.id);
        let bytes = std::fs::read(&path).map_err(StoreError::host("read", &path))?;
        let document = serde_json::from_slice(&bytes)
            .map_err(|source| DocumentError::Json { what: "config", source })?;
        let names = self.names()?.into_iter().filter(|(_, name)| name.id == record.id);
        Ok(Inspected {
            document,
            diff_ids: record.layers.iter().map(|layer| layer.diff_id.to_string()).collect(),
            layers: record.layers.iter().map(|layer| self.places.diff(&layer.diff_id)).collect(),
            size: record.size,
            named_at: names.map(|(_, name)| name.pulled_at).max(),
        })
    }
}
