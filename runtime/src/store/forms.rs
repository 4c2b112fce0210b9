//! The forms a layer comes in: plain, gzip, zstd. Images share a layer whatever form each brought it
//! in, and one form of it is enough.
//!
//! Layers that were made here are plain; whoever pulls them wants them small. They are packed when
//! they are pushed for the first time, and the image is known by the packed ones from then on.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Write};

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::Value;

use super::digest::{Digest, HashingReader};
use super::document::{self, Descriptor, DocumentError};
use super::{ImageRecord, LayerRef, Store, StoreError, create};

/// Whether a layer of this media type is a tar archive as it is.
pub(super) fn is_plain(media_type: &str) -> bool {
    media_type.ends_with("tar")
}

impl Store {
    /// Whether a blob is here, as far as its size tells.
    pub(super) fn is_whole(&self, blob: &Descriptor) -> bool {
        let there = self.places.blob(&blob.digest).metadata();
        there.is_ok_and(|there| there.len() == blob.size)
    }

    /// A form in which some image brought the layer and that is here, best a packed one.
    pub(super) fn other_form(&self, diff_id: &Digest) -> Option<Descriptor> {
        let records = self.records().unwrap_or_default();
        let layers = records.iter().flat_map(|record| &record.layers);
        let same = layers.filter(|layer| layer.diff_id == *diff_id).flat_map(LayerRef::forms);
        same.filter(|blob| self.is_whole(blob))
            .min_by_key(|blob| is_plain(&blob.media_type))
            .cloned()
    }

    /// For each of the `absent` layers of an image, the same layer in another form.
    pub(super) fn other_forms(
        &self,
        record: &ImageRecord,
        absent: &BTreeSet<Digest>,
    ) -> Result<BTreeMap<Digest, Descriptor>, StoreError> {
        let mut forms = BTreeMap::new();
        for layer in &record.layers {
            let Some(blob) = layer.blob.as_ref().filter(|blob| absent.contains(&blob.digest))
            else {
                continue;
            };
            let form = self.other_form(&layer.diff_id);
            let form = form.ok_or_else(|| StoreError::NotKept(blob.digest.clone()))?;
            forms.insert(blob.digest.clone(), form);
        }
        Ok(forms)
    }

    /// Packs a plain layer with gzip, the same bytes each time, and keeps what came of it.
    pub(super) fn pack(&self, layer: &Descriptor) -> Result<Descriptor, StoreError> {
        let path = self.places.blob(&layer.digest);
        let plain = File::open(&path).map_err(StoreError::host("open", &path))?;
        let mut plain = HashingReader::new(plain);
        let packed = self.write_layer(|out| {
            let mut gzip = GzEncoder::new(out, Compression::default());
            io::copy(&mut plain, &mut gzip).map_err(StoreError::host("pack", &path))?;
            gzip.finish().and_then(Write::flush).map_err(StoreError::host("pack", &path))
        })?;
        let (found, _) = plain.finish();
        if found != layer.digest {
            return Err(StoreError::Digest {
                what: "layer",
                expected: layer.digest.clone(),
                found,
            });
        }
        let to = self.places.blob(&packed.digest);
        packed.file.sync_all().map_err(StoreError::host("sync", &to))?;
        match create::give_name(&packed.file, &to) {
            Err(_) if to.exists() => {}
            named => named?,
        }
        let media_type = format!("{}+gzip", document::OCI_LAYER);
        let (digest, size) = (packed.digest, packed.size);
        Ok(Descriptor { media_type, digest, size, platform: None, annotations: None })
    }
}

/// The manifest with some layers in other forms.
pub(super) fn with_layers(
    bytes: &[u8],
    forms: &BTreeMap<Digest, Descriptor>,
) -> Result<Vec<u8>, StoreError> {
    let json = |source| DocumentError::Json { what: "manifest", source };
    let mut manifest: Value = serde_json::from_slice(bytes).map_err(json)?;
    let docker = media_type(&manifest) == document::DOCKER_MANIFEST;
    for layer in manifest["layers"].as_array_mut().into_iter().flatten() {
        let digest = layer["digest"].as_str().and_then(|text| Digest::parse(text).ok());
        if let Some(other) = digest.and_then(|digest| forms.get(&digest)) {
            layer["mediaType"] = document::layer_type(&other.media_type, docker).into();
            layer["digest"] = other.digest.to_string().into();
            layer["size"] = other.size.into();
        }
    }
    Ok(manifest.to_string().into_bytes())
}

/// What a manifest says it is; one that does not say is the OCI's.
pub(super) fn media_type(manifest: &Value) -> String {
    manifest["mediaType"].as_str().unwrap_or(document::OCI_MANIFEST).to_owned()
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use super::super::test_images::{Archive, Scratch, config_json, gzip, image_archive};
    use super::*;

    fn reloaded(store: &Store, name: &str, root: &Path) -> String {
        let mut saved = Vec::new();
        store.save(&[name.to_owned()], &mut saved).unwrap();
        let loaded = Store::open(root).load_stream(saved.as_slice()).unwrap();
        assert_eq!(loaded[0].references, [name]);
        loaded[0].id.clone()
    }

    #[test]
    fn one_form_of_a_layer_is_kept_and_outlives_the_image_that_brought_it() {
        let scratch = Scratch::new("forms");
        let store = Store::open(scratch.path().join("images"));
        let layer = Archive::default().file("file", "text").end();
        let zstd = zstd::encode_all(layer.as_slice(), 1).unwrap();
        let forms = [("a:gzip", gzip(&layer)), ("b:zstd", zstd), ("c:plain", layer.clone())];
        let mut ids = Vec::new();
        for (name, form) in &forms {
            // Another name in the config makes it another image with the same layer.
            let config = String::from_utf8(config_json(std::slice::from_ref(&layer))).unwrap();
            let config = config.replace("A=b", name).into_bytes();
            let archive = image_archive(&[name], &config, std::slice::from_ref(form));
            ids.push(store.load_stream(archive.as_slice()).unwrap()[0].id.clone());
            let here = store.places.blob(&Digest::of(form)).exists();
            assert_eq!(here, *name == "a:gzip", "{name}");
            assert_eq!(reloaded(&store, name, &scratch.path().join(name)), *ids.last().unwrap());
        }
        let alone = store.alone(Duration::ZERO).unwrap();
        alone.remove(&ids[0], &["a:gzip".to_owned()]).unwrap();
        alone.sweep().unwrap();
        drop(alone);
        assert_eq!(reloaded(&store, "b:zstd", &scratch.path().join("again")), ids[1]);
    }
}
