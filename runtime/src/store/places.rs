//! Where things are in the store.
//!
//! ```text
//! blobs/sha256/HEX                          manifests, configs, layers as they came
//! layers/HEX/{diff/, layer.json}            unpacked, by the digest of the plain tar
//! images/HEX.json                           what is known of an image, by the digest of its config
//! refs/DOMAIN/PATH/_tags/TAG                the image a name means
//! refs/DOMAIN/PATH/_digests/HEX             the image a registry's digest means
//! making/HEX/{blob.HEX, layer/}             a layer in the making; its folder is its lock
//! lock                                      shared by makers, exclusive for the collector
//! ```

use std::path::{Path, PathBuf};

use super::digest::Digest;
use super::reference::Reference;

/// The paths below the store's root.
#[derive(Debug, Clone)]
pub(super) struct Places {
    pub(super) root: PathBuf,
}

impl Places {
    pub(super) fn blobs(&self) -> PathBuf {
        self.root.join("blobs/sha256")
    }

    pub(super) fn blob(&self, digest: &Digest) -> PathBuf {
        self.blobs().join(digest.hex())
    }

    pub(super) fn layers(&self) -> PathBuf {
        self.root.join("layers")
    }

    pub(super) fn layer(&self, diff_id: &Digest) -> PathBuf {
        self.layers().join(diff_id.hex())
    }

    /// The folder overlayfs takes.
    pub(super) fn diff(&self, diff_id: &Digest) -> PathBuf {
        self.layer(diff_id).join("diff")
    }

    pub(super) fn layer_record(&self, diff_id: &Digest) -> PathBuf {
        self.layer(diff_id).join("layer.json")
    }

    pub(super) fn images(&self) -> PathBuf {
        self.root.join("images")
    }

    pub(super) fn image(&self, id: &Digest) -> PathBuf {
        self.images().join(format!("{}.json", id.hex()))
    }

    pub(super) fn refs(&self) -> PathBuf {
        self.root.join("refs")
    }

    /// Folder of a repository. No part of a name starts with `_`, so it cannot hide another.
    pub(super) fn repository(&self, reference: &Reference) -> PathBuf {
        self.refs().join(reference.domain()).join(reference.path())
    }

    /// File of a name: the digest wins over the tag.
    pub(super) fn name(&self, reference: &Reference) -> PathBuf {
        let repository = self.repository(reference);
        match (reference.digest(), reference.tag()) {
            (Some(digest), _) => repository.join("_digests").join(digest.hex()),
            (None, tag) => repository.join("_tags").join(tag.unwrap_or("latest")),
        }
    }

    pub(super) fn making(&self) -> PathBuf {
        self.root.join("making")
    }

    pub(super) fn lock(&self) -> PathBuf {
        self.root.join("lock")
    }
}

/// Files of a folder by name; a folder that is not there has none.
pub(super) fn entries(dir: &Path) -> std::io::Result<Vec<std::fs::DirEntry>> {
    match std::fs::read_dir(dir) {
        Ok(entries) => entries.collect(),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(e) => Err(e),
    }
}
