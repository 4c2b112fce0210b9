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
use super::ingest::LayerRecord;
use super::{ImageRecord, Store, StoreError, create};
use crate::record::{self, Durability};

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

    /// A blob that was unpacked and found to be the layer, and that is here; best a packed one.
    ///
    /// What a manifest says a layer came in does not count: nobody may have looked.
    pub(super) fn form(&self, diff_id: &Digest) -> Option<Descriptor> {
        let here = self.forms(diff_id).into_iter().filter(|blob| self.is_whole(blob));
        here.min_by_key(|blob| is_plain(&blob.media_type))
    }

    /// All blobs that were found to be the layer, here or not.
    pub(super) fn forms(&self, diff_id: &Digest) -> Vec<Descriptor> {
        let record = record::read::<LayerRecord>(&self.places.layer_record(diff_id));
        record.ok().flatten().map(|record| record.forms).unwrap_or_default()
    }

    /// What an image keeps of a layer instead of `blob`, which its manifest has: nothing if that
    /// one is here and is the layer.
    pub(super) fn kept(&self, diff_id: &Digest, blob: &Descriptor) -> Option<Descriptor> {
        let own = self.forms(diff_id).iter().any(|form| form.digest == blob.digest);
        if own && self.is_whole(blob) { None } else { self.form(diff_id) }
    }

    /// Writes down that a blob was found to be the layer.
    pub(super) fn add_form(&self, diff_id: &Digest, form: &Descriptor) -> Result<(), StoreError> {
        let path = self.places.layer_record(diff_id);
        let record = record::read::<LayerRecord>(&path).map_err(StoreError::host("read", &path))?;
        match record {
            Some(mut record) if record.forms.iter().all(|known| known.digest != form.digest) => {
                record.forms.push(form.clone());
                record::write(&path, &record, Durability::Durable)
                    .map_err(StoreError::host("write", &path))
            }
            _ => Ok(()),
        }
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
            let form = self.form(&layer.diff_id);
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
        let form = Descriptor { media_type, digest, size, platform: None, annotations: None };
        // A plain layer's digest is that of its content.
        self.add_form(&layer.digest, &form)?;
        Ok(form)
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

    #[test]
    fn a_blob_that_was_never_compared_with_a_layer_is_no_form_of_it() {
        let scratch = Scratch::new("forms");
        let store = Store::open(scratch.path().join("images"));
        let [one, two] = ["1", "2"].map(|text| Archive::default().file("file", text).end());
        let all = [gzip(&one), gzip(&two)];
        let config = config_json(&[one.clone(), two.clone()]);
        store.load_stream(image_archive(&["a:1"], &config, &all).as_slice()).unwrap();
        // It says that the first layer comes as the second one's bytes, and nobody unpacks them.
        let config = String::from_utf8(config_json(std::slice::from_ref(&one))).unwrap();
        let lying = config.replace("A=b", "lying").into_bytes();
        let archive = image_archive(&["lying:1"], &lying, &all[1..]);
        store.load_stream(archive.as_slice()).unwrap();
        assert_eq!(store.form(&Digest::of(&one)).unwrap().digest, Digest::of(&all[0]));
        let base = image_archive(&["base:1"], config.as_bytes(), std::slice::from_ref(&one));
        let id = store.load_stream(base.as_slice()).unwrap()[0].id.clone();
        assert_eq!(reloaded(&store, "base:1", &scratch.path().join("base")), id);
    }
}
