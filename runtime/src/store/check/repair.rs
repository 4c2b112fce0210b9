//! Takes away what is broken, so that the next pull fetches it again.
//!
//! A blob goes alone: its images still run. An image whose layer or record is broken goes with
//! its names, so that nobody takes it for whole; what is right of it stays for the next pull.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::super::digest::Digest;
use super::super::{StoreError, ingest, remove_empty_folders};
use super::{Inspection, ObjectKind};

impl Inspection<'_> {
    /// Takes it all away, but for what containers use and what is not ours.
    pub(super) fn repair(&mut self) -> Result<(), StoreError> {
        for at in 0..self.checked.broken.len() {
            let kept = self.repair_one(at)?;
            let broken = &mut self.checked.broken[at];
            broken.removed = kept.is_none();
            broken.kept = kept;
        }
        for path in std::mem::take(&mut self.beside) {
            remove_file(&path)?;
        }
        Ok(())
    }

    /// Why it stays, if it does.
    fn repair_one(&self, at: usize) -> Result<Option<String>, StoreError> {
        let broken = &self.checked.broken[at];
        let places = &self.store.places;
        let digest = Digest::parse(&broken.object).ok();
        match (broken.kind, digest) {
            (ObjectKind::Stranger, _) => {
                return Ok(Some("it is not the store's to remove".into()));
            }
            (ObjectKind::Name, _) => self.remove_name(&broken.object)?,
            (ObjectKind::Blob, Some(digest)) => remove_file(&places.blob(&digest))?,
            (ObjectKind::Layer, Some(digest)) => {
                let users = self.users_of(&digest);
                if let Some(user) = users.iter().find(|id| self.in_use.contains(&id.to_string())) {
                    return Ok(Some(format!("a container was made from image {user}")));
                }
                users.iter().try_for_each(|id| self.remove_image(id))?;
                ingest::remove_tree(&places.layer(&digest))?;
            }
            (ObjectKind::Image, Some(id)) if self.in_use.contains(&id.to_string()) => {
                return Ok(Some("a container was made from it".into()));
            }
            (ObjectKind::Image, Some(id)) => self.remove_image(&id)?,
            (ObjectKind::Blob | ObjectKind::Layer | ObjectKind::Image, None) => {}
        }
        Ok(None)
    }

    fn users_of(&self, diff_id: &Digest) -> BTreeSet<Digest> {
        let users = self.users(|record| record.layers.iter().any(|l| l.diff_id == *diff_id));
        users.into_iter().collect()
    }

    /// The names first: one that leads nowhere is worse than an image without one.
    fn remove_image(&self, id: &Digest) -> Result<(), StoreError> {
        for (path, _) in self.catalogue.names.iter().filter(|(_, name)| name.id == *id) {
            self.remove_name_file(path)?;
        }
        remove_file(&self.store.places.image(id))
    }

    /// By its reference, or by its path where it has none.
    fn remove_name(&self, object: &str) -> Result<(), StoreError> {
        let path = match super::super::Reference::parse(object) {
            Ok(reference) if self.store.places.name(&reference).exists() => {
                self.store.places.name(&reference)
            }
            _ => self.store.places.refs().join(object),
        };
        self.remove_name_file(&path)
    }

    fn remove_name_file(&self, path: &Path) -> Result<(), StoreError> {
        remove_file(path)?;
        remove_empty_folders(path, &self.store.places.refs());
        Ok(())
    }
}

/// Removes a file if it is there.
fn remove_file(path: &Path) -> Result<(), StoreError> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            Err(StoreError::host("remove", path)(e))
        }
        _ => Ok(()),
    }
}
