//! The reserved image `localhost/host`: the host's own programs over a small root of its own.
//!
//! Its one layer holds folders, links and a minimal `/etc`; `/usr` and the few folders of `/etc`
//! that programs cannot do without are mounted from the host, read-only. The id is the digest of
//! all that, so it stays the same while the host does.
//!
//! The mounts are not idmapped. In the container their files belong to `nobody`, which programs
//! and interpreters do not mind, and what only the host's root may read stays unreadable even if
//! it lies below `/usr`. It also works on file systems that know no idmapped mounts. What it
//! costs: set-id programs of the host do not raise anybody's rights there.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::config::ImageConfig;
use super::digest::Digest;
use super::document::{self, Descriptor, Manifest, Platform};
use super::ingest::{Ingest, NewImage, Tee};
use super::load::{claim_waiting, parse_config};
use super::{ImageEntry, ImageRecord, Store, StoreError};
use crate::bundle::{BundleMount, BundleSource};

/// Its name.
pub(super) const NAME: &str = "localhost/host:latest";
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Where programs are outside of `/usr` on hosts that have not merged them; else links.
const TOP: [&str; 6] = ["bin", "sbin", "lib", "lib32", "lib64", "libx32"];
const FOLDERS: [(&str, u32); 25] = [
    ("dev", 0o755),
    ("etc", 0o755),
    ("home", 0o755),
    ("mnt", 0o755),
    ("opt", 0o755),
    ("proc", 0o555),
    ("root", 0o700),
    ("run", 0o755),
    ("run/lock", 0o1777),
    ("srv", 0o755),
    ("sys", 0o555),
    ("tmp", 0o1777),
    ("usr", 0o755),
    ("var", 0o755),
    ("var/cache", 0o755),
    ("var/lib", 0o755),
    ("var/lib/misc", 0o755),
    ("var/local", 0o755),
    ("var/log", 0o755),
    ("var/mail", 0o755),
    ("var/opt", 0o755),
    ("var/spool", 0o755),
    ("var/tmp", 0o1777),
    ("etc/ssl", 0o755),
    ("etc/pki", 0o755),
];
/// Mounted where the host has them. Never a folder that also holds keys.
const MOUNTED: [&str; 8] = [
    "etc/alternatives",
    "etc/crypto-policies",
    "etc/fonts",
    "etc/ld.so.cache",
    "etc/perl",
    "etc/pki/ca-trust",
    "etc/pki/tls/certs",
    "etc/ssl/certs",
];
/// Mounted too: interpreters with their version in the name.
const MOUNTED_PREFIXES: [&str; 3] = ["python", "php", "java"];
/// Copied where the host has them and everybody may read them.
const COPIED: [&str; 6] = [
    "etc/ld.so.conf",
    "etc/mime.types",
    "etc/nginx/mime.types",
    "etc/protocols",
    "etc/services",
    "etc/ssl/openssl.cnf",
];
const MAX_COPIED: u64 = 256 << 10;
const NSSWITCH: &str = "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\n\
    networks: files\nprotocols: files\nservices: files\nethers: files\nrpc: files\n";
const HOSTS: &str = "127.0.0.1\tlocalhost\n::1\tlocalhost\n";

/// The image as this host would make it now.
pub(super) struct HostImage {
    layer: Vec<u8>,
    config: Vec<u8>,
    mounts: Vec<BundleMount>,
}

/// Something in the layer.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Item {
    Folder(u32),
    File(Vec<u8>),
    Link(PathBuf),
}

impl HostImage {
    /// Looks at the host; a few dozen small calls.
    pub(super) fn of_this_host() -> HostImage {
        HostImage::of(Path::new("/"))
    }

    fn of(host: &Path) -> HostImage {
        let mut plan = Plan { host, items: BTreeMap::new(), mounts: Vec::new() };
        plan.fill();
        let layer = plan.layer();
        let config = serde_json::json!({
            "architecture": Platform::host().architecture,
            "os": "linux",
            "config": { "Env": [PATH], "Cmd": ["/bin/sh"] },
            "rootfs": { "type": "layers", "diff_ids": [Digest::of(&layer)] },
            "x-berth-mounts": &plan.mounts,
        });
        HostImage { layer, config: config.to_string().into_bytes(), mounts: plan.mounts }
    }

    /// Digest of its config.
    pub(super) fn id(&self) -> Digest {
        Digest::of(&self.config)
    }
}

/// The image as [`Store::resolve`] gives it; it needs no place in the store to be there.
pub(super) fn entry() -> ImageEntry {
    let host = HostImage::of_this_host();
    ImageEntry {
        id: host.id().to_string(),
        reference: Some(NAME.into()),
        digests: Vec::new(),
        size: host.layer.len() as u64,
        pulled_at: 0,
        created: None,
    }
}

impl Store {
    /// Writes the layer and the record of the host's own image, without a name.
    pub(super) fn add_host_image(&self, host: HostImage) -> Result<ImageRecord, StoreError> {
        let ingest = Ingest::begin_waiting(self)?;
        let config = parse_config(&host.config)?;
        let describe = |media_type: &str, bytes: &[u8]| Descriptor {
            media_type: media_type.into(),
            digest: Digest::of(bytes),
            size: bytes.len() as u64,
            platform: None,
            annotations: None,
        };
        let layer = describe(document::OCI_LAYER, &host.layer);
        let manifest =
            Manifest { config: describe(document::OCI_CONFIG, &host.config), layers: vec![layer] };
        let mut made = Vec::new();
        for (diff_id, layer) in config.diff_ids.iter().zip(&manifest.layers) {
            if let Some(claim) = claim_waiting(&ingest, diff_id)? {
                let source = Tee::new(host.layer.as_slice(), &claim.blob(&layer.digest))?;
                claim.unpack_local(source, layer)?;
                made.push(claim.into_made(&layer.digest));
            }
        }
        ingest.finish(NewImage {
            manifest_bytes: manifest.to_json().as_bytes(),
            manifest: &manifest,
            config_bytes: &host.config,
            config,
            made,
            names: Vec::new(),
            extra_mounts: host.mounts,
        })
    }
}

/// What goes into the layer and what is mounted over it.
struct Plan<'a> {
    host: &'a Path,
    items: BTreeMap<PathBuf, Item>,
    mounts: Vec<BundleMount>,
}

impl Plan<'_> {
    fn fill(&mut self) {
        for (path, mode) in FOLDERS {
            self.items.insert(path.into(), Item::Folder(mode));
        }
        self.mount("usr");
        for name in TOP {
            self.link_or_mount(name);
        }
        for (path, target) in
            [("var/run", "/run"), ("var/lock", "/run/lock"), ("etc/mtab", "/proc/mounts")]
        {
            self.items.insert(path.into(), Item::Link(target.into()));
        }
        self.etc();
        for path in MOUNTED {
            self.link_or_mount(path);
        }
        for name in self.interpreters() {
            self.link_or_mount(&name);
        }
        for path in COPIED {
            self.copy(path);
        }
    }

    /// Accounts of the system, so that `user: www-data` means what it means on the host.
    fn etc(&mut self) {
        let passwd = accounts(&self.read("etc/passwd"), 7, "root:x:0:0:root:/root:/bin/sh");
        let group = accounts(&self.read("etc/group"), 4, "root:x:0:");
        for (path, text) in [
            ("etc/passwd", passwd.as_str()),
            ("etc/group", &group),
            ("etc/nsswitch.conf", NSSWITCH),
            ("etc/hosts", HOSTS),
            ("etc/hostname", ""),
            ("etc/resolv.conf", ""),
        ] {
            self.items.insert(path.into(), Item::File(text.into()));
        }
        self.link_or_mount("etc/os-release");
    }

    fn read(&self, path: &str) -> String {
        let bytes = fs::read(self.host.join(path)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn interpreters(&self) -> Vec<String> {
        let names = fs::read_dir(self.host.join("etc")).into_iter().flatten().flatten();
        let names = names.filter_map(|entry| entry.file_name().into_string().ok());
        let is_one = |name: &String| MOUNTED_PREFIXES.iter().any(|prefix| name.starts_with(prefix));
        let mut names: Vec<String> =
            names.filter(is_one).map(|name| format!("etc/{name}")).collect();
        names.sort();
        names
    }

    /// A link stays a link if it leads to what is mounted, everything else is mounted.
    fn link_or_mount(&mut self, path: &str) {
        let there = self.host.join(path);
        let Ok(target) = fs::read_link(&there) else { return self.mount(path) };
        let real = fs::canonicalize(&there).unwrap_or_default();
        if real.starts_with(self.host.join("usr")) {
            self.items.insert(path.into(), Item::Link(target));
        } else {
            self.mount(path);
        }
    }

    /// Mounts the host's `path`, if there is one, on a place made for it.
    fn mount(&mut self, path: &str) {
        let there = self.host.join(path);
        let place = match fs::metadata(&there) {
            Ok(there) if there.is_dir() => Item::Folder(0o755),
            Ok(there) if there.is_file() => Item::File(Vec::new()),
            _ => return,
        };
        self.items.insert(path.into(), place);
        self.mounts.push(BundleMount {
            target: format!("/{path}"),
            source: BundleSource::Bind {
                path: there,
                below: None,
                idmap: false,
                owner: None,
                recursive: true,
                writable_below: false,
                propagation: None,
                dev: false,
                judged: None,
            },
            read_only: true,
        });
    }

    fn copy(&mut self, path: &str) {
        let there = self.host.join(path);
        let readable = |there: &fs::Metadata| {
            there.is_file() && there.mode() & 0o004 != 0 && there.len() <= MAX_COPIED
        };
        if fs::metadata(&there).is_ok_and(|there| readable(&there))
            && let Ok(bytes) = fs::read(&there)
        {
            self.items.insert(path.into(), Item::File(bytes));
        }
    }

    /// The layer as a tar stream, the same bytes for the same items.
    fn layer(&self) -> Vec<u8> {
        let mut tar = Vec::new();
        let mut folders = std::collections::BTreeSet::new();
        for (path, item) in &self.items {
            let missing: Vec<&Path> = path
                .ancestors()
                .skip(1)
                .filter(|above| !above.as_os_str().is_empty())
                .filter(|above| {
                    !self.items.contains_key(*above) && folders.insert(above.to_path_buf())
                })
                .collect();
            for above in missing.iter().rev() {
                append(&mut tar, above, &Item::Folder(0o755));
            }
            append(&mut tar, path, item);
        }
        tar.resize(tar.len() + 1024, 0);
        tar
    }
}

/// One ustar member, owned by root, of the beginning of time.
fn append(tar: &mut Vec<u8>, path: &Path, item: &Item) {
    let (kind, mode, content) = match item {
        Item::Folder(mode) => (tar::EntryType::Directory, *mode, &[][..]),
        Item::File(content) => (tar::EntryType::Regular, 0o644, content.as_slice()),
        Item::Link(_) => (tar::EntryType::Symlink, 0o777, &[][..]),
    };
    let mut header = tar::Header::new_ustar();
    let named = header.set_path(path).is_ok();
    let linked = match item {
        Item::Link(target) => header.set_link_name_literal(target.as_os_str().as_bytes()).is_ok(),
        Item::Folder(_) | Item::File(_) => true,
    };
    if !(named && linked) {
        // A link target of more than 100 bytes: without it the host has one link less.
        return;
    }
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(content.len() as u64);
    header.set_cksum();
    tar.extend_from_slice(header.as_bytes());
    tar.extend_from_slice(content);
    tar.resize(tar.len().next_multiple_of(512), 0);
}

/// Lines of `/etc/passwd` or `/etc/group` with `fields` fields whose id is the system's, without
/// what stands in the place of a password. People's accounts stay on the host.
fn accounts(text: &str, fields: usize, root: &str) -> String {
    let lines = text.lines().filter_map(|line| {
        let mut parts: Vec<&str> = line.split(':').collect();
        let id: u32 = parts.get(2)?.parse().ok()?;
        let of_system = (1..1000).contains(&id) || id == 65534;
        if parts.len() != fields || !of_system {
            return None;
        }
        parts[1] = "x";
        Some(parts.join(":"))
    });
    std::iter::once(root.to_owned()).chain(lines).map(|line| line + "\n").collect()
}

impl ImageConfig {
    /// What [`Store::config`] gives for `localhost/host`.
    #[cfg(test)]
    fn is_of_host(&self) -> bool {
        self.env == [PATH] && self.cmd.as_deref() == Some(&["/bin/sh".to_owned()])
    }
}

#[cfg(test)]
mod tests {
    use super::super::test_images::Scratch;
    use super::*;

    fn targets(host: &HostImage) -> Vec<&str> {
        host.mounts.iter().map(|mount| mount.target.as_str()).collect()
    }

    fn a_host() -> Scratch {
        let host = Scratch::new("host");
        for folder in
            ["usr/bin", "usr/lib", "etc/alternatives", "etc/python3.11", "etc/ssl/private", "lib"]
        {
            fs::create_dir_all(host.path().join(folder)).unwrap();
        }
        std::os::unix::fs::symlink("usr/bin", host.path().join("bin")).unwrap();
        fs::write(host.path().join("usr/lib/os-release"), "ID=x").unwrap();
        std::os::unix::fs::symlink("../usr/lib/os-release", host.path().join("etc/os-release"))
            .unwrap();
        let passwd = "root:secret:0:0:r:/root:/bin/bash\nwww-data:hash:33:33:w:/var/www:/usr/sbin/nologin\n\
            ann:x:1000:1000:Ann:/home/ann:/bin/bash\n+::::::\nnobody:x:65534:65534::/:/bin/false\n";
        fs::write(host.path().join("etc/passwd"), passwd).unwrap();
        fs::write(host.path().join("etc/services"), "http 80/tcp\n").unwrap();
        host
    }

    #[test]
    fn programs_are_mounted_and_keys_are_not() {
        let host = a_host();
        let image = HostImage::of(host.path());
        assert_eq!(targets(&image), ["/usr", "/lib", "/etc/alternatives", "/etc/python3.11"]);
        assert!(image.mounts.iter().all(|mount| mount.read_only));
    }

    #[test]
    fn people_and_passwords_stay_on_the_host() {
        let host = a_host();
        let mut plan = Plan { host: host.path(), items: BTreeMap::new(), mounts: Vec::new() };
        plan.fill();
        let Item::File(passwd) = &plan.items[Path::new("etc/passwd")] else { panic!() };
        insta::assert_snapshot!(String::from_utf8_lossy(passwd), @"
        root:x:0:0:root:/root:/bin/sh
        www-data:x:33:33:w:/var/www:/usr/sbin/nologin
        nobody:x:65534:65534::/:/bin/false
        ");
        assert_eq!(plan.items[Path::new("bin")], Item::Link("usr/bin".into()));
        assert_eq!(
            plan.items[Path::new("etc/os-release")],
            Item::Link("../usr/lib/os-release".into())
        );
        assert_eq!(plan.items[Path::new("etc/services")], Item::File(b"http 80/tcp\n".to_vec()));
    }

    #[test]
    fn the_id_changes_only_with_the_host() {
        let host = a_host();
        let before = HostImage::of(host.path()).id();
        assert_eq!(HostImage::of(host.path()).id(), before);
        fs::write(host.path().join("usr/bin/more"), "").unwrap();
        assert_eq!(HostImage::of(host.path()).id(), before);
        fs::create_dir(host.path().join("etc/perl")).unwrap();
        assert_ne!(HostImage::of(host.path()).id(), before);
    }

    #[test]
    fn the_host_is_always_there_and_written_when_its_layers_are_asked_for() {
        let scratch = Scratch::new("host-store");
        let store = Store::open(scratch.path().join("images"));
        let entry = store.resolve("localhost/host").unwrap().unwrap();
        assert!(!scratch.path().join("images").exists());
        let layers = store.layers(&entry.id).unwrap();
        assert_eq!(layers.len(), 1);
        assert_eq!(fs::metadata(layers[0].join("tmp")).unwrap().mode() & 0o7777, 0o1777);
        assert_eq!(fs::read_link(layers[0].join("var/run")).unwrap(), Path::new("/run"));
        assert!(store.config(&entry.id).unwrap().is_of_host());
        assert_eq!(store.extra_mounts(&entry.id).unwrap()[0].target, "/usr");
        assert_eq!(store.resolve("localhost/host:latest").unwrap().unwrap().id, entry.id);
        let alone = store.alone(std::time::Duration::ZERO).unwrap();
        let untag = alone.untag("localhost/host:latest", &entry.id);
        assert!(matches!(untag, Err(StoreError::Reserved)));
        let image = &store.images().unwrap()[&entry.id];
        assert_eq!(image.tags, ["localhost/host:latest"]);
        alone.remove(&entry.id, &image.tags).unwrap();
        assert!(store.images().unwrap().is_empty());
        drop(alone);
        assert_eq!(store.layers(&entry.id).unwrap(), layers);
        assert!(matches!(store.tag(&entry.id, "localhost/host"), Err(StoreError::Reserved)));
    }
}
