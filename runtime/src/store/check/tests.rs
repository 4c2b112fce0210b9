//! Each kind of object is broken in each way, and is named.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use super::super::test_images::{Archive, Scratch, docker_archive};
use super::*;

struct Site {
    scratch: Scratch,
    store: Store,
}

fn layer(text: &str) -> Vec<u8> {
    Archive::default()
        .dir("etc", 0o750)
        .file("etc/file", text)
        .hard_link("etc/again", "etc/file")
        .symlink("link", "etc/file")
        .pax(&[("SCHILY.xattr.user.note", b"n")])
        .file("etc/noted", "x")
        .file("etc/.wh.gone", "")
        .end()
}

impl Site {
    fn new() -> Site {
        let scratch = Scratch::new("check");
        let store = Store::open(scratch.path().join("images"));
        let site = Site { scratch, store };
        site.load();
        site
    }

    fn load(&self) {
        let archive = docker_archive(&["shop/web:1"], &[layer("a"), layer("b")]);
        self.store.load_stream(archive.as_slice()).unwrap();
    }

    fn root(&self) -> PathBuf {
        self.scratch.path().join("images")
    }

    /// The upper layer's folder of files.
    fn files(&self) -> PathBuf {
        let id = self.store.resolve("shop/web:1").unwrap().unwrap().id;
        self.store.layers(&id).unwrap().remove(0)
    }

    /// The largest blob, that is a layer.
    fn blob(&self) -> PathBuf {
        let blobs = places::entries(&self.root().join("blobs/sha256")).unwrap();
        blobs.iter().map(fs::DirEntry::path).max_by_key(|p| p.metadata().unwrap().len()).unwrap()
    }

    fn check(&self, repair: bool) -> Checked {
        match repair {
            true => self.store.alone(Duration::ZERO).unwrap().repair(&BTreeSet::new()).unwrap(),
            false => self.store.check().unwrap(),
        }
    }

    fn told(&self) -> Vec<String> {
        let line = |b: Broken| format!("{:?} {} [{}]", b.kind, b.problem, b.images.join(","));
        self.check(false).broken.into_iter().map(line).collect()
    }
}

fn flip(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_whole_store_has_nothing_to_tell() {
    let site = Site::new();
    let checked = site.check(false);
    assert_eq!(checked.broken, []);
    assert_eq!((checked.names, checked.images, checked.layers, checked.blobs), (1, 1, 2, 4));
    assert_eq!((checked.parts, checked.unneeded, checked.making), Default::default());
    assert_eq!(Store::open(site.scratch.path().join("none")).check().unwrap(), Checked::default());
}

#[test]
fn every_change_of_a_layers_files_is_seen() {
    type Damage = fn(&Path);
    let damages: [(&str, Damage); 8] = [
        ("`etc/again` has other bytes", |d| fs::write(d.join("etc/file"), "c").unwrap()),
        ("`etc/again` is missing", |d| fs::remove_file(d.join("etc/again")).unwrap()),
        ("`etc/gone` is missing", |d| fs::remove_file(d.join("etc/gone")).unwrap()),
        ("`stray` is not from its archive", |d| fs::write(d.join("stray"), "").unwrap()),
        ("`etc` has another mode", |d| {
            fs::set_permissions(d.join("etc"), fs::Permissions::from_mode(0o777)).unwrap();
        }),
        ("`link` has another target", |d| {
            let time = d.join("link").symlink_metadata().unwrap().modified().unwrap();
            fs::remove_file(d.join("link")).unwrap();
            std::os::unix::fs::symlink("etc/fila", d.join("link")).unwrap();
            let stamp = rustix::fs::Timespec {
                tv_sec: time.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() as i64,
                tv_nsec: 0,
            };
            let times = rustix::fs::Timestamps { last_access: stamp, last_modification: stamp };
            let flags = rustix::fs::AtFlags::SYMLINK_NOFOLLOW;
            rustix::fs::utimensat(rustix::fs::CWD, d.join("link"), &times, flags).unwrap();
        }),
        ("`etc/again` has another owner", |d| {
            std::os::unix::fs::chown(d.join("etc/file"), Some(1), None).unwrap();
        }),
        ("`etc/noted` has other attributes", |d| {
            let flags = rustix::fs::XattrFlags::empty();
            rustix::fs::setxattr(d.join("etc/noted"), "user.note", b"m", flags).unwrap();
        }),
    ];
    for (expected, damage) in damages {
        let site = Site::new();
        let file = site.files().join("etc/file");
        let before = file.metadata().unwrap().modified().unwrap();
        damage(&site.files());
        if let Ok(file) = fs::OpenOptions::new().append(true).open(&file) {
            file.set_modified(before).unwrap();
        }
        assert_eq!(site.told(), [format!("Layer {expected} [shop/web:1]")]);
        assert!(site.check(true).broken.iter().all(|broken| broken.removed));
        assert_eq!(site.store.list().unwrap(), []);
        site.load();
        assert_eq!(site.told(), [""; 0]);
    }
}

#[test]
fn a_lost_or_damaged_layer_blob_record_or_name_is_named_and_can_be_taken_away() {
    type Damage = fn(&Site);
    let damages: [(&str, Damage); 9] = [
        ("Blob its bytes have digest", |s| flip(&s.blob())),
        ("Blob it has 10 bytes", |s| {
            fs::OpenOptions::new().write(true).open(s.blob()).unwrap().set_len(10).unwrap();
        }),
        ("Blob it is missing", |s| fs::remove_file(s.blob()).unwrap()),
        ("Layer it is missing", |s| fs::remove_dir_all(s.files().parent().unwrap()).unwrap()),
        ("Layer its files are missing", |s| fs::remove_dir_all(s.files()).unwrap()),
        ("Layer it has no record", |s| {
            fs::remove_file(s.files().parent().unwrap().join("layer.json")).unwrap();
        }),
        ("Image its record cannot be read", |s| {
            let record = places::entries(&s.root().join("images")).unwrap().remove(0).path();
            fs::OpenOptions::new().write(true).open(record).unwrap().set_len(20).unwrap();
        }),
        ("Name it means image", |s| {
            let record = places::entries(&s.root().join("images")).unwrap().remove(0).path();
            fs::remove_file(record).unwrap();
        }),
        ("Name cannot be read", |s| {
            fs::write(s.root().join("refs/docker.io/shop/web/_tags/1"), "{").unwrap();
        }),
    ];
    for (expected, damage) in damages {
        let site = Site::new();
        damage(&site);
        let told = site.told();
        assert!(told.iter().any(|line| line.starts_with(expected)), "{expected}: {told:?}");
        assert!(told.len() <= 2, "{told:?}");
        assert!(site.check(true).broken.iter().all(|broken| broken.removed));
        site.load();
        assert_eq!(site.told(), [""; 0], "after {expected}");
    }
}

#[test]
fn strangers_are_named_and_left_and_leftovers_do_no_harm() {
    let site = Site::new();
    for path in ["layers/x", "blobs/sha256/y", "images/z.json", "extra", "blobs/md5"] {
        fs::write(site.root().join(path), "").unwrap();
    }
    let part = site.root().join("making").join("a".repeat(64));
    fs::create_dir(&part).unwrap();
    fs::write(part.join("blob.x"), "12345").unwrap();
    fs::write(site.root().join("images/.a.json.77.new"), "half").unwrap();
    let checked = site.check(true);
    let named: Vec<&str> = checked.broken.iter().map(|b| b.object.as_str()).collect();
    assert_eq!(named, ["blobs/md5", "blobs/sha256/y", "extra", "images/z.json", "layers/x"]);
    assert!(checked.broken.iter().all(|broken| !broken.removed && broken.kept.is_some()));
    assert_eq!(checked.parts.count, 2);
    assert!(part.join("blob.x").exists() && !site.root().join("images/.a.json.77.new").exists());
}

#[test]
fn an_image_that_a_container_was_made_from_stays() {
    let site = Site::new();
    fs::write(site.files().join("etc/file"), "c").unwrap();
    let id = site.store.resolve("shop/web:1").unwrap().unwrap().id;
    let checked = site.store.alone(Duration::ZERO).unwrap().repair(&[id].into()).unwrap();
    assert!(checked.broken[0].kept.as_ref().unwrap().contains("a container was made"));
    assert!(site.files().join("etc/file").exists());
}

#[test]
fn a_check_waits_for_the_collector_and_repairs_only_alone() {
    let site = Site::new();
    let _shared = ingest::Ingest::begin(&site.store).unwrap().unwrap();
    assert_eq!(site.check(false).broken, []);
    let busy = site.store.alone(Duration::ZERO).unwrap_err();
    assert!(matches!(busy, StoreError::Busy));
}
