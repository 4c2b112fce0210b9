//! Layers that were made here are plain; whoever pulls them wants them small. They are packed when
//! they are pushed for the first time, and the image is known by the packed ones from then on.

use std::fs::File;
use std::io::{self, Write};

use flate2::Compression;
use flate2::write::GzEncoder;

use super::digest::HashingReader;
use super::document::{self, Descriptor};
use super::{Store, StoreError, create};

/// Whether a layer of this media type is a tar archive as it is.
pub(super) fn is_plain(media_type: &str) -> bool {
    media_type.ends_with("tar")
}

impl Store {
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
