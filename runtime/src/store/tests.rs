//! Images that get in, are found by their names, and go.

use std::fs;
use std::path::Path;
use std::time::Duration;

use super::test_images::{Archive, Scratch, docker_archive, gzip, oci_layout};
use super::*;

struct Site {
    scratch: Scratch,
    store: Store,
}

impl Site {
    fn new() -> Site {
        let scratch = Scratch::new("store");
        let store = Store::open(scratch.path().join("images"));
        Site { scratch, store }
    }

    fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.scratch.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    }

    fn load(&self, bytes: &[u8]) -> Result<Vec<Loaded>, String> {
        self.store.load(&self.write("archive", bytes)).map_err(|e| e.to_string())
    }

    fn count(&self, folder: &str) -> usize {
        places::entries(&self.scratch.path().join("images").join(folder)).unwrap().len()
    }
}

fn layer(text: &str) -> Vec<u8> {
    Archive::default().file("file", text).end()
}

#[test]
fn a_docker_archive_is_loaded_with_its_names_and_shares_layers() {
    let site = Site::new();
    let loaded =
        site.load(&docker_archive(&["shop/web:1", "shop/web:2"], &[layer("a"), layer("b")]));
    let loaded = loaded.unwrap();
    assert_eq!(loaded[0].references, ["shop/web:1", "shop/web:2"]);
    let entry = site.store.resolve("shop/web:1").unwrap().unwrap();
    assert_eq!(entry.id, loaded[0].id);
    assert_eq!((entry.size, entry.created), (2, Some(1_714_557_600)));
    let layers = site.store.layers(&entry.id).unwrap();
    assert_eq!(fs::read_to_string(layers[0].join("file")).unwrap(), "b");
    assert_eq!(fs::read_to_string(layers[1].join("file")).unwrap(), "a");
    assert_eq!(site.store.config(&entry.id).unwrap().cmd, Some(vec!["/run".into()]));
    assert_eq!(site.store.resolve("docker.io/shop/web:2").unwrap().unwrap().id, entry.id);
    assert_eq!(site.store.resolve(&entry.id).unwrap().unwrap().id, entry.id);
    assert_eq!(site.store.find(&entry.id[7..15]).unwrap().unwrap().id, entry.id);
    assert_eq!(site.store.resolve("shop/web").unwrap(), None);
    site.load(&docker_archive(&["other"], &[layer("a")])).unwrap();
    assert_eq!(site.count("layers"), 2);
    assert_eq!(site.count("making"), 0);
}

#[test]
fn the_same_archive_compressed_or_piped_gives_the_same_image() {
    let site = Site::new();
    let archive = docker_archive(&["x"], &[layer("a"), layer("b")]);
    let plain = site.load(&archive).unwrap();
    assert_eq!(site.load(&gzip(&archive)).unwrap(), plain);
    assert_eq!(site.load(&zstd::encode_all(archive.as_slice(), 1).unwrap()).unwrap(), plain);
    assert_eq!(site.store.load_stream(archive.as_slice()).unwrap(), plain);
}

#[test]
fn a_layer_twice_in_an_image_is_one_lower_layer() {
    let site = Site::new();
    let id = site
        .load(&docker_archive(&["x"], &[layer("a"), layer("b"), layer("a")]))
        .unwrap()
        .remove(0)
        .id;
    let layers = site.store.layers(&id).unwrap();
    assert_eq!(layers.len(), 2);
    assert_eq!(fs::read_to_string(layers[0].join("file")).unwrap(), "a");
}

#[test]
fn an_oci_layout_is_loaded_as_a_folder_and_as_a_tar() {
    for (annotation, name) in [("shop/web:1", "shop/web:1"), ("7", "redis:7")] {
        let site = Site::new();
        let dir = site.scratch.path().join("redis");
        oci_layout(&dir, Some(annotation), &[layer("a")]);
        let from_dir = site.store.load(&dir).unwrap();
        assert_eq!(from_dir[0].references, [name]);
        let tar = site.scratch.path().join("redis.tar");
        let done = std::process::Command::new("tar")
            .arg("-C")
            .arg(&dir)
            .arg("-cf")
            .arg(&tar)
            .arg(".")
            .status();
        assert!(done.unwrap().success());
        assert_eq!(site.store.load(&tar).unwrap(), from_dir);
    }
}

#[test]
fn a_layout_without_a_name_is_known_by_its_id() {
    let site = Site::new();
    let dir = site.scratch.path().join("layout");
    oci_layout(&dir, None, &[layer("a")]);
    let loaded = site.store.load(&dir).unwrap().remove(0);
    assert_eq!(loaded.references, Vec::<String>::new());
    assert_eq!(site.store.list().unwrap()[0].reference, None);
    site.store.tag(&loaded.id, "named").unwrap();
    assert_eq!(site.store.resolve("named").unwrap().unwrap().id, loaded.id);
    assert_eq!(site.store.list().unwrap().len(), 1);
}

#[test]
fn content_that_is_not_what_its_digest_says_never_gets_a_name() {
    let site = Site::new();
    let dir = site.scratch.path().join("layout");
    oci_layout(&dir, Some("x:1"), &[layer("a")]);
    for blob in fs::read_dir(dir.join("blobs/sha256")).unwrap() {
        let blob = blob.unwrap().path();
        let good = fs::read(&blob).unwrap();
        for bad in [gzip(&layer("b")), good[..good.len() - 1].to_vec(), [&good[..], b" "].concat()]
        {
            fs::write(&blob, bad).unwrap();
            assert!(site.store.load(&dir).is_err());
            assert_eq!((site.count("layers"), site.count("images"), site.count("refs")), (0, 0, 0));
        }
        fs::write(&blob, good).unwrap();
    }
    site.store.load(&dir).unwrap();
    assert_eq!((site.count("layers"), site.count("making")), (1, 0));
}

#[test]
fn an_unpacked_digest_that_differs_is_refused() {
    let site = Site::new();
    let mut archive = docker_archive(&["x"], &[layer("good text")]);
    let at = archive.windows(9).position(|w| w == b"good text").unwrap();
    archive[at] = b'G';
    let error = site.load(&archive).unwrap_err();
    assert!(error.contains("layer has digest"), "{error}");
    assert_eq!((site.count("layers"), site.count("refs")), (0, 0));
}

#[test]
fn what_is_not_an_archive_is_said_so() {
    let site = Site::new();
    assert!(site.load(b"hello").unwrap_err().contains("not an image archive"));
    assert!(site.load(&Archive::default().end()).unwrap_err().contains("neither `manifest.json`"));
    assert!(site.load(&layer("a")).unwrap_err().contains("neither"));
    let cut = docker_archive(&["x"], &[layer("a")]);
    assert!(site.load(&cut[..2000]).unwrap_err().contains("not an image archive"));
    let missing = site.store.load(Path::new("/does/not/exist")).unwrap_err();
    assert_eq!(
        missing.to_string(),
        "open `/does/not/exist`: No such file or directory (os error 2)"
    );
    let list = br#"[{"Config":"../../etc/passwd","Layers":[]}]"#;
    let escape = Archive::default().member("manifest.json", b'0', "", 0o644, list).end();
    assert!(site.load(&escape).unwrap_err().contains("it has no `../../etc/passwd`"));
}

#[test]
fn half_made_layers_are_made_anew_and_swept() {
    let site = Site::new();
    let layer = layer("a");
    let half = site.scratch.path().join("images/making").join(Digest::of(&layer).hex());
    fs::create_dir_all(half.join("layer/diff/etc")).unwrap();
    fs::write(half.join("layer/diff/file"), "half").unwrap();
    let id = site.load(&docker_archive(&["a"], &[layer])).unwrap().remove(0).id;
    let file = site.store.layers(&id).unwrap()[0].join("file");
    assert_eq!(fs::read_to_string(file).unwrap(), "a");
    fs::create_dir_all(half.join("layer/diff")).unwrap();
    site.store.alone(Duration::ZERO).unwrap().sweep().unwrap();
    assert_eq!((site.count("making"), site.count("layers")), (0, 1));
}

#[test]
fn nothing_is_taken_away_under_what_gets_in_or_is_used() {
    let site = Site::new();
    site.load(&docker_archive(&["a"], &[layer("a")])).unwrap();
    let ingest = ingest::Ingest::begin(&site.store).unwrap().unwrap();
    assert!(matches!(site.store.alone(Duration::ZERO), Err(StoreError::Busy)));
    drop(ingest);
    let using = site.store.hold().unwrap().unwrap();
    assert!(matches!(site.store.alone(Duration::ZERO), Err(StoreError::Busy)));
    drop(using);
    let alone = site.store.alone(Duration::ZERO).unwrap();
    assert!(site.store.hold().unwrap().is_none());
    assert!(ingest::Ingest::begin(&site.store).unwrap().is_none());
    drop(alone);
    assert!(site.store.hold().unwrap().is_some());
}

#[test]
fn many_loads_of_one_image_at_once_make_it_once() {
    let site = Site::new();
    let archive = docker_archive(&["a"], &[layer("a"), layer("b"), layer("c")]);
    std::thread::scope(|scope| {
        let loads: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| site.store.load_stream(archive.as_slice()).unwrap()))
            .collect();
        for load in loads {
            load.join().unwrap();
        }
    });
    assert_eq!((site.count("layers"), site.count("making"), site.count("images")), (3, 0, 1));
}

#[test]
fn only_root_reaches_the_set_id_programs_of_images() {
    use std::os::unix::fs::PermissionsExt;
    let site = Site::new();
    let id = site.load(&docker_archive(&["a"], &[layer("a")])).unwrap().remove(0).id;
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&site.scratch.path().join("images")), 0o700);
    assert_eq!(mode(&site.store.layers(&id).unwrap()[0]), 0o755);
}

#[test]
fn a_store_that_is_not_there_is_empty() {
    let store = Store::open("/does/not/exist");
    assert_eq!(store.resolve("redis").unwrap(), None);
    assert_eq!(store.list().unwrap(), []);
    assert!(store.images().unwrap().is_empty());
    assert!(store.resolve("Redis").is_err());
}
