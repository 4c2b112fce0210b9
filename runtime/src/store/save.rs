//! Saves images as one archive that is both an OCI layout and what `docker load` reads.
//!
//! ```text
//! blobs/sha256/HEX     manifests, configs and layers as they came; images share them
//! index.json           each image by each of its names
//! manifest.json        Docker's list
//! oci-layout           the version of the layout
//! ```
//!
//! The same images give the same bytes. Everything is checked on its way out, so an archive that
//! was written to its end is whole.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Write};

use serde_json::{Value, json};

use super::digest::{Digest, HashingReader};
use super::forms::{media_type, with_layers};
use super::ingest::Ingest;
use super::load::{CONTAINERD_NAME, REF_NAME};
use super::reference::Reference;
use super::tape::{Kind, Member, TapeWriter};
use super::{ImageRecord, Store, StoreError, as_id};

/// An image to be saved.
struct Chosen {
    record: ImageRecord,
    manifest: Digest,
    /// The manifest, where it is written for this archive because layers go in other forms.
    rewritten: Option<Vec<u8>>,
    names: BTreeSet<Reference>,
}

impl Store {
    /// Writes the images to `out`: each by its name, its id or the beginning of its id. A name
    /// without a tag means every tag of its repository.
    ///
    /// # Errors
    /// When an image is not here, before anything is written; when a blob is damaged or the
    /// output fails, with a part of the archive written.
    pub fn save(&self, images: &[String], out: impl Write) -> Result<(), StoreError> {
        let _no_collector = Ingest::begin_waiting(self)?;
        let chosen = self.choose(images)?;
        let mut tape = TapeWriter::new(out);
        for folder in ["blobs/", "blobs/sha256/"] {
            add(&mut tape, Kind::Directory, folder, b"")?;
        }
        for digest in blobs(&chosen) {
            self.add_blob(&mut tape, digest)?;
        }
        for (digest, bytes) in chosen.iter().filter_map(Chosen::rewritten) {
            add(&mut tape, Kind::File, &format!("blobs/sha256/{}", digest.hex()), bytes)?;
        }
        let index = self.index(&chosen)?.to_string();
        let list = Value::from_iter(chosen.iter().map(docker_entry)).to_string();
        for (name, text) in [
            ("index.json", index.as_str()),
            ("manifest.json", list.as_str()),
            ("oci-layout", r#"{"imageLayoutVersion":"1.0.0"}"#),
        ] {
            add(&mut tape, Kind::File, name, text.as_bytes())?;
        }
        tape.finish().map(drop).map_err(StoreError::Output)
    }

    /// The images in the order they were asked for, each once.
    fn choose(&self, images: &[String]) -> Result<Vec<Chosen>, StoreError> {
        let mut chosen: Vec<Chosen> = Vec::new();
        let mut missing = Vec::new();
        for text in images {
            let found = self.meant(text)?;
            if found.is_empty() {
                missing.push(text.clone());
            }
            for (record, name) in found {
                let Some(manifest) = record.manifest.clone() else {
                    return Err(StoreError::HostImage("saved"));
                };
                if !record.extra_mounts.is_empty() {
                    return Err(StoreError::HostImage("saved"));
                }
                match chosen.iter_mut().find(|there| there.record.id == record.id) {
                    Some(there) => there.names.extend(name),
                    None => {
                        let names = name.into_iter().collect();
                        chosen.push(self.in_forms_here(record, manifest, names)?);
                    }
                }
            }
        }
        if missing.is_empty() { Ok(chosen) } else { Err(StoreError::MissingAll(missing)) }
    }

    /// The image with its layers as they are here, whatever form its manifest has them in.
    fn in_forms_here(
        &self,
        mut record: ImageRecord,
        manifest: Digest,
        names: BTreeSet<Reference>,
    ) -> Result<Chosen, StoreError> {
        let blobs = record.layers.iter().filter_map(|layer| layer.blob.as_ref());
        let absent = blobs.filter(|blob| !self.is_whole(blob)).map(|blob| blob.digest.clone());
        let forms = self.other_forms(&record, &absent.collect())?;
        if forms.is_empty() {
            return Ok(Chosen { record, manifest, rewritten: None, names });
        }
        let path = self.places.blob(&manifest);
        let bytes = std::fs::read(&path).map_err(StoreError::host("read", &path))?;
        let bytes = with_layers(&bytes, &forms)?;
        for blob in record.layers.iter_mut().filter_map(|layer| layer.blob.as_mut()) {
            if let Some(form) = forms.get(&blob.digest) {
                *blob = form.clone();
            }
        }
        Ok(Chosen { record, manifest: Digest::of(&bytes), rewritten: Some(bytes), names })
    }

    /// The images that `text` means, each with the name it is saved by.
    fn meant(&self, text: &str) -> Result<Vec<(ImageRecord, Option<Reference>)>, StoreError> {
        if let Some(id) = as_id(text) {
            return Ok(self.record(&id)?.map(|record| (record, None)).into_iter().collect());
        }
        let mut found = Vec::new();
        let wanted = Reference::parse(text);
        if let Ok(wanted) = &wanted {
            if wanted.is_host() {
                return Err(StoreError::HostImage("saved"));
            }
            let every_tag = !text.contains('@') && !after_slash(text).contains(':');
            for (_, name) in self.names()? {
                let reference = Reference::parse(&name.reference)?;
                let of_repository = reference.digest().is_none()
                    && (reference.domain(), reference.path()) == (wanted.domain(), wanted.path());
                if reference == *wanted || (every_tag && of_repository) {
                    let by_tag = reference.digest().is_none().then_some(reference);
                    found.extend(self.record(&name.id)?.map(|record| (record, by_tag)));
                }
            }
        }
        if found.is_empty() {
            let entry = self.find(text)?;
            let id = entry.and_then(|entry| as_id(&entry.id));
            found.extend(id.map(|id| self.record(&id)).transpose()?.flatten().map(|r| (r, None)));
        }
        match wanted {
            Err(problem) if found.is_empty() => Err(problem.into()),
            _ => Ok(found),
        }
    }

    fn add_blob(
        &self,
        tape: &mut TapeWriter<impl Write>,
        digest: &Digest,
    ) -> Result<(), StoreError> {
        let path = self.places.blob(digest);
        let file = File::open(&path).map_err(|e| match e.kind() {
            io::ErrorKind::NotFound => StoreError::NotKept(digest.clone()),
            _ => StoreError::host("open", &path)(e),
        })?;
        let size = file.metadata().map_err(StoreError::host("stat", &path))?.len();
        let mut hashing = HashingReader::new(file);
        let name = format!("blobs/sha256/{}", digest.hex());
        tape.add(&member(Kind::File, &name, size), &mut hashing).map_err(StoreError::Output)?;
        let (found, _) = hashing.finish();
        if found == *digest {
            return Ok(());
        }
        Err(StoreError::Digest { what: "stored blob", expected: digest.clone(), found })
    }

    fn index(&self, chosen: &[Chosen]) -> Result<Value, StoreError> {
        let mut manifests = Vec::new();
        for image in chosen {
            let plain = self.manifest_descriptor(image)?;
            if image.names.is_empty() {
                manifests.push(plain.clone());
            }
            for name in &image.names {
                let mut named = plain.clone();
                named["annotations"] =
                    json!({ CONTAINERD_NAME: name.canonical(), REF_NAME: name.tag() });
                manifests.push(named);
            }
        }
        Ok(json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": manifests,
        }))
    }

    fn manifest_descriptor(&self, image: &Chosen) -> Result<Value, StoreError> {
        let bytes = match &image.rewritten {
            Some(bytes) => bytes.clone(),
            None => {
                let path = self.places.blob(&image.manifest);
                std::fs::read(&path).map_err(StoreError::host("read", &path))?
            }
        };
        let manifest: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        let (media_type, digest) = (media_type(&manifest), &image.manifest);
        Ok(json!({ "mediaType": media_type, "digest": digest, "size": bytes.len() }))
    }
}

impl Chosen {
    fn rewritten(&self) -> Option<(&Digest, &[u8])> {
        Some((&self.manifest, self.rewritten.as_deref()?))
    }
}

/// What stands after the last slash: a colon before it belongs to the registry's port.
fn after_slash(text: &str) -> &str {
    text.rsplit_once('/').map_or(text, |(_, last)| last)
}

/// Every blob of the images, each once.
fn blobs(chosen: &[Chosen]) -> BTreeSet<&Digest> {
    let layers = chosen.iter().flat_map(|image| &image.record.layers);
    let layers = layers.filter_map(|layer| layer.blob.as_ref()).map(|blob| &blob.digest);
    let manifests = chosen.iter().filter(|image| image.rewritten.is_none());
    let configs = chosen.iter().map(|image| &image.record.id);
    layers.chain(manifests.map(|image| &image.manifest)).chain(configs).collect()
}

fn docker_entry(image: &Chosen) -> Value {
    let blob = |digest: &Digest| format!("blobs/sha256/{}", digest.hex());
    let layers = image.record.layers.iter().filter_map(|layer| layer.blob.as_ref());
    json!({
        "Config": blob(&image.record.id),
        "RepoTags": image.names.iter().map(Reference::to_string).collect::<Vec<_>>(),
        "Layers": layers.map(|layer| blob(&layer.digest)).collect::<Vec<_>>(),
    })
}

fn add(
    tape: &mut TapeWriter<impl Write>,
    kind: Kind,
    name: &str,
    content: &[u8],
) -> Result<(), StoreError> {
    let member = member(kind, name, content.len() as u64);
    tape.add(&member, content).map_err(StoreError::Output)
}

/// A member that is the same whoever writes it and whenever.
fn member(kind: Kind, name: &str, size: u64) -> Member {
    Member {
        kind,
        path: name.into(),
        link: Vec::new(),
        mode: if kind == Kind::Directory { 0o755 } else { 0o644 },
        uid: 0,
        gid: 0,
        mtime: (0, 0),
        stored: size,
        sparse: None,
        xattrs: std::collections::BTreeMap::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::plain;
    use super::super::test_images::{Archive, Scratch, docker_archive, oci_layout};
    use super::*;

    fn layer(text: &str) -> Vec<u8> {
        Archive::default().file("file", text).end()
    }

    /// A store with `a:1`, `a:2`, `b:1` and an image without a name.
    fn site() -> (Scratch, Store, Vec<String>) {
        let scratch = Scratch::new("save");
        let store = Store::open(scratch.path().join("images"));
        let mut ids = Vec::new();
        for (tags, layers) in [
            (&["a:1", "a:2"][..], vec![layer("1"), layer("2")]),
            (&["b:1"][..], vec![layer("1"), layer("3")]),
        ] {
            let archive = docker_archive(tags, &layers);
            ids.push(store.load_stream(archive.as_slice()).unwrap().remove(0).id);
        }
        let layout = scratch.path().join("layout");
        oci_layout(&layout, None, &[layer("4")]);
        ids.push(store.load(&layout).unwrap().remove(0).id);
        (scratch, store, ids)
    }

    fn saved(store: &Store, images: &[&str]) -> Result<Vec<u8>, String> {
        let images: Vec<String> = images.iter().map(|image| (*image).to_owned()).collect();
        let mut bytes = Vec::new();
        store.save(&images, &mut bytes).map_err(|e| e.to_string()).map(|()| bytes)
    }

    #[test]
    fn what_is_saved_is_loaded_as_the_same_images() {
        let (scratch, store, ids) = site();
        let bytes = saved(&store, &["a:1", "b:1", &ids[2][7..19]]).unwrap();
        assert_eq!(bytes, saved(&store, &["a:1", "b:1", &ids[2]]).unwrap());
        let other = Store::open(scratch.path().join("other"));
        let loaded = other.load_stream(bytes.as_slice()).unwrap();
        let mut told: Vec<_> =
            loaded.iter().map(|l| (l.id.clone(), l.references.join(" "))).collect();
        told.sort_by(|a, b| a.1.cmp(&b.1));
        let wanted = [(&ids[2], ""), (&ids[0], "a:1"), (&ids[1], "b:1")]
            .map(|(id, n)| (id.clone(), n.to_owned()));
        assert_eq!(told, wanted);
        assert_eq!(saved(&other, &["a:1", "b:1", &ids[2]]).unwrap(), bytes);
    }

    #[test]
    fn a_name_without_a_tag_saves_every_tag_once() {
        let (scratch, store, ids) = site();
        let bytes = saved(&store, &["a", "a:2"]).unwrap();
        let other = Store::open(scratch.path().join("other"));
        let loaded = other.load_stream(bytes.as_slice()).unwrap();
        let names: BTreeSet<_> = loaded.iter().flat_map(|l| &l.references).cloned().collect();
        assert_eq!(names, BTreeSet::from(["a:1".to_owned(), "a:2".to_owned()]));
        assert_eq!(other.resolve("a:2").unwrap().unwrap().id, ids[0]);
    }

    #[test]
    fn every_image_that_is_not_here_is_told_before_anything_is_written() {
        let (_scratch, store, _) = site();
        assert_eq!(
            saved(&store, &["no:1", "a:1", "gone"]).unwrap_err(),
            "image `no:1` is not in the store\nimage `gone` is not in the store"
        );
        assert!(saved(&store, &["localhost/host"]).unwrap_err().contains("cannot be saved"));
        assert!(saved(&store, &["UPPER"]).unwrap_err().contains("upper-case"));
    }

    #[test]
    fn a_damaged_blob_is_told() {
        let (_scratch, store, ids) = site();
        let id = as_id(&ids[0]).unwrap();
        let layer = store.record(&id).unwrap().unwrap().layers[0].blob.clone().unwrap();
        let path = store.places.blob(&layer.digest);
        let mut bytes = std::fs::read(&path).unwrap();
        assert!(!plain::is_compressed(&bytes));
        bytes[600] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        assert!(saved(&store, &["a:1"]).unwrap_err().starts_with("the stored blob has digest"));
    }
}
