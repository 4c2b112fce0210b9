//! Folders and archives for the tests of the store.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use super::digest::Digest;

/// A folder that goes with the test.
pub(super) struct Scratch {
    path: PathBuf,
}

impl Scratch {
    pub(super) fn new(name: &str) -> Scratch {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("berth-{name}-{}-{n}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        Scratch { path }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = super::remove::remove(&self.path);
    }
}

/// Writes tar archives, the hostile ones too: names go in as they are.
#[derive(Default)]
pub(super) struct Archive {
    bytes: Vec<u8>,
}

impl Archive {
    pub(super) fn member(
        self,
        name: &str,
        kind: u8,
        link: &str,
        mode: u32,
        content: &[u8],
    ) -> Archive {
        self.owned(name, kind, link, mode, (0, 0), content)
    }

    pub(super) fn owned(
        mut self,
        name: &str,
        kind: u8,
        link: &str,
        mode: u32,
        (uid, gid): (u64, u64),
        content: &[u8],
    ) -> Archive {
        if link.len() > 100 {
            let long = self.pax(&[("linkpath", link.as_bytes())]);
            return long.owned(name, kind, "", mode, (uid, gid), content);
        }
        let mut header = tar::Header::new_gnu();
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.as_old_mut().linkname[..link.len()].copy_from_slice(link.as_bytes());
        header.set_entry_type(tar::EntryType::new(kind));
        header.set_mode(mode);
        header.set_uid(uid);
        header.set_gid(gid);
        header.set_mtime(1_000_000_000);
        header.set_size(content.len() as u64);
        header.set_cksum();
        self.bytes.extend_from_slice(header.as_bytes());
        self.bytes.extend_from_slice(content);
        self.bytes.resize(self.bytes.len().next_multiple_of(512), 0);
        self
    }

    pub(super) fn file(self, name: &str, content: &str) -> Archive {
        self.member(name, b'0', "", 0o644, content.as_bytes())
    }

    pub(super) fn dir(self, name: &str, mode: u32) -> Archive {
        self.member(name, b'5', "", mode, b"")
    }

    pub(super) fn symlink(self, name: &str, target: &str) -> Archive {
        self.member(name, b'2', target, 0o777, b"")
    }

    pub(super) fn hard_link(self, name: &str, target: &str) -> Archive {
        self.member(name, b'1', target, 0o644, b"")
    }

    /// Extended headers of the member that follows.
    pub(super) fn pax(self, records: &[(&str, &[u8])]) -> Archive {
        let mut content = Vec::new();
        for (key, value) in records {
            let body = key.len() + value.len() + 3;
            let length =
                (body..).find(|length| *length == body + length.to_string().len()).unwrap();
            write!(content, "{length} {key}=").unwrap();
            content.extend_from_slice(value);
            content.push(b'\n');
        }
        self.member("pax", b'x', "", 0o644, &content)
    }

    /// Blocks as they are.
    pub(super) fn raw(mut self, bytes: &[u8]) -> Archive {
        self.bytes.extend_from_slice(bytes);
        self
    }

    /// The bytes so far, without a mark of their end.
    pub(super) fn open_end(self) -> Vec<u8> {
        self.bytes
    }

    pub(super) fn end(mut self) -> Vec<u8> {
        self.bytes.resize(self.bytes.len() + 1024, 0);
        self.bytes
    }
}

pub(super) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub(super) fn config_json(layers: &[Vec<u8>]) -> Vec<u8> {
    let diff_ids: Vec<Digest> = layers.iter().map(|layer| Digest::of(layer)).collect();
    serde_json::json!({
        "architecture": "amd64", "os": "linux", "created": "2024-05-01T10:00:00Z",
        "config": {"Cmd": ["/run"], "Env": ["A=b"]},
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    })
    .to_string()
    .into_bytes()
}

/// What `docker save` writes for an image of `layers`.
pub(super) fn docker_archive(tags: &[&str], layers: &[Vec<u8>]) -> Vec<u8> {
    image_archive(tags, &config_json(layers), layers)
}

/// The same with a config of one's own.
pub(super) fn image_archive(tags: &[&str], config: &[u8], layers: &[Vec<u8>]) -> Vec<u8> {
    let name = format!("{}.json", Digest::of(config).hex());
    let paths: Vec<String> = (0..layers.len()).map(|n| format!("{n}/layer.tar")).collect();
    let list = serde_json::json!([{"Config": name, "RepoTags": tags, "Layers": paths}]);
    let mut archive = Archive::default().member(&name, b'0', "", 0o644, config);
    for (path, layer) in paths.iter().zip(layers) {
        archive = archive.member(path, b'0', "", 0o644, layer);
    }
    archive.member("manifest.json", b'0', "", 0o644, list.to_string().as_bytes()).end()
}

/// Writes an OCI layout of one image with gzip layers; gives the digest of its manifest.
pub(super) fn oci_layout(dir: &Path, annotation: Option<&str>, layers: &[Vec<u8>]) -> Digest {
    let blobs = dir.join("blobs/sha256");
    std::fs::create_dir_all(&blobs).unwrap();
    let put = |media_type: &str, bytes: &[u8]| {
        let digest = Digest::of(bytes);
        std::fs::write(blobs.join(digest.hex()), bytes).unwrap();
        serde_json::json!({"mediaType": media_type, "digest": digest, "size": bytes.len()})
    };
    let config = put("application/vnd.oci.image.config.v1+json", &config_json(layers));
    let gzip_layer =
        |layer: &Vec<u8>| put("application/vnd.oci.image.layer.v1.tar+gzip", &gzip(layer));
    let layers: Vec<_> = layers.iter().map(gzip_layer).collect();
    let manifest =
        serde_json::json!({"schemaVersion": 2, "config": config, "layers": layers}).to_string();
    let mut child = put("application/vnd.oci.image.manifest.v1+json", manifest.as_bytes());
    if let Some(annotation) = annotation {
        child["annotations"] = serde_json::json!({"org.opencontainers.image.ref.name": annotation});
    }
    let index = serde_json::json!({"schemaVersion": 2, "manifests": [child]});
    std::fs::write(dir.join("index.json"), index.to_string()).unwrap();
    std::fs::write(dir.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
    Digest::of(manifest.as_bytes())
}

/// A fixed row of numbers that look random (SplitMix64).
pub(super) struct Numbers(pub(super) u64);

impl Numbers {
    pub(super) fn below(&mut self, most: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % most.max(1) as u64) as usize
    }
}
