//! What a broken, stopped or wrong pull leaves, and what becomes of it.

use std::sync::Mutex;
use std::time::Duration;

use super::super::progress::{LayerEvent, LayerPhase, LayerProgress};
use super::super::test_images::Archive;
use super::scripted::{Image, Registry, noise};
use super::tests::{Site, mirrored};
use super::*;

#[tokio::test]
async fn a_cut_layer_is_gone_on_with_from_where_it_was_cut() {
    let image = Image::new(&[1]);
    for honours_range in [true, false] {
        let (site, honest) = (Site::new(), image.clone());
        let cuts = Mutex::new(vec![if honours_range { 100_000 } else { 500_000 }, 200_000, 1000]);
        let registry = Registry::start(move |request| {
            let mut asked = request.clone();
            if !honours_range {
                asked.headers.remove("range");
            }
            let mut reply = honest.reply(&asked);
            if honest.is_layer(request) {
                reply.cut = cuts.lock().unwrap().pop();
            }
            reply
        });
        let entry = site.pull(&registry.image("a")).await.unwrap();
        let layers = site.store.layers(&entry.id).unwrap();
        assert_eq!(std::fs::read(layers[0].join("file")).unwrap(), noise(1, 600_000));
        assert_eq!(registry.requests(image.layers[0].hex()).len(), 4);
        let retried = |phase: &LayerPhase| matches!(phase, LayerPhase::Retrying { .. });
        assert!(site.phases().iter().any(retried));
    }
}

#[tokio::test]
async fn what_a_failed_pull_fetched_is_not_fetched_again() {
    let image = Image::new(&[1]);
    let (site, honest) = (Site::new(), image.clone());
    let bad = Mutex::new(4);
    let registry = Registry::start(move |request| {
        let mut reply = honest.reply(request);
        let mut bad = bad.lock().unwrap();
        if honest.is_layer(request) && *bad > 0 {
            *bad -= 1;
            reply.cut = Some(if *bad == 3 { 400_000 } else { 0 });
        }
        reply
    });
    let error = site.pull(&registry.image("a")).await.unwrap_err();
    assert!(
        error.contains("broke off while sending") && error.contains("run this again"),
        "{error}"
    );
    assert_eq!((site.count("layers"), site.count("images"), site.count("refs")), (0, 0, 0));
    site.pull(&registry.image("a")).await.unwrap();
    let last = registry.requests(image.layers[0].hex()).pop().unwrap();
    assert_eq!(last.headers["range"], "bytes=400000-");
    assert_eq!(site.count("making"), 0);
}

#[tokio::test]
async fn what_an_earlier_pull_left_damaged_is_fetched_from_the_start() {
    let image = Image::new(&[1]);
    let (site, honest) = (Site::new(), image.clone());
    let plain = Archive::default().member("file", b'0', "", 0o644, &noise(1, 600_000)).end();
    let making = site.scratch.path().join("images/making").join(Digest::of(&plain).hex());
    std::fs::create_dir_all(&making).unwrap();
    std::fs::write(making.join(format!("blob.{}", image.layers[0].hex())), noise(9, 1000)).unwrap();
    let registry = Registry::start(move |request| honest.reply(request));
    site.pull(&registry.image("a")).await.unwrap();
    let ranges: Vec<_> = registry.requests(image.layers[0].hex());
    assert!(ranges[0].headers.contains_key("range") && !ranges[1].headers.contains_key("range"));
}

#[tokio::test]
async fn a_lost_layer_is_made_of_its_kept_bytes_and_lost_or_damaged_bytes_are_fetched_again() {
    let image = Image::new(&[1]);
    let (site, honest) = (Site::new(), image.clone());
    let registry = Registry::start(move |request| honest.reply(request));
    let name = registry.image("a");
    let entry = site.pull(&name).await.unwrap();
    let root = site.scratch.path().join("images");
    let layer = site.store.layers(&entry.id).unwrap().remove(0);
    let blob = root.join("blobs/sha256").join(image.layers[0].hex());
    let fetched = || registry.requests(image.layers[0].hex()).len();
    let folder = layer.parent().unwrap();

    std::fs::remove_dir_all(folder).unwrap();
    site.pull(&name).await.unwrap();
    assert_eq!((fetched(), layer.join("file").exists(), site.count("making")), (1, true, 0));

    std::fs::remove_file(&blob).unwrap();
    site.pull(&name).await.unwrap();
    assert_eq!((fetched(), blob.exists(), site.count("making")), (2, true, 0));

    let mut bytes = std::fs::read(&blob).unwrap();
    bytes[300_000] ^= 1;
    std::fs::write(&blob, bytes).unwrap();
    std::fs::remove_dir_all(folder).unwrap();
    site.pull(&name).await.unwrap();
    assert_eq!((fetched(), site.count("making")), (3, 0));
    assert_eq!(Digest::of(&std::fs::read(&blob).unwrap()), image.layers[0]);

    let config = root.join("blobs/sha256").join(entry.id.strip_prefix("sha256:").unwrap());
    let mut bytes = std::fs::read(&config).unwrap();
    bytes[10] ^= 1;
    std::fs::write(&config, bytes).unwrap();
    site.pull(&name).await.unwrap();
    assert_eq!(Digest::of(&std::fs::read(&config).unwrap()).to_string(), entry.id);
}

#[tokio::test]
async fn a_stopped_pull_leaves_what_the_next_one_needs() {
    let image = Image::new(&[1]);
    let (site, honest) = (Site::new(), image.clone());
    let first = Mutex::new(true);
    let registry = Registry::start(move |request| {
        let mut reply = honest.reply(request);
        if honest.is_layer(request) && std::mem::take(&mut *first.lock().unwrap()) {
            (reply.cut, reply.stall) = (Some(300_000), true);
        }
        reply
    });
    let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
    let progress: LayerProgress = Arc::new(move |event: LayerEvent| {
        let _ = sender.send(event.done);
    });
    let name = registry.image("a");
    let pull = site.store.pull(&name, &site.options, progress);
    let come = async { while receiver.recv().await.is_some_and(|done| done < 256 << 10) {} };
    tokio::select! {
        done = pull => panic!("the stalled pull ended: {done:?}"),
        () = come => {}
    }
    assert_eq!((site.count("layers"), site.count("images")), (0, 0));
    site.pull(&name).await.unwrap();
    let ranges = registry.requests(image.layers[0].hex());
    assert!(ranges[1].headers.contains_key("range"));
    assert_eq!(site.count("making"), 0);
    site.store.alone(Duration::ZERO).unwrap().sweep().unwrap();
    assert_eq!(site.count("layers"), image.layers.len());
}

#[tokio::test]
async fn a_layer_that_a_mirror_lies_about_comes_from_the_registry() {
    let image = Image::new(&[1]);
    let (mut site, lying, honest) = (Site::new(), image.clone(), image.clone());
    let mirror = Registry::start(move |request| {
        let mut reply = lying.reply(request);
        if lying.is_layer(request) {
            reply.body[300_000] ^= 1;
        }
        reply
    });
    let registry = Registry::start(move |request| honest.reply(request));
    mirrored(&mut site, &registry, &[format!("http://{}", mirror.address)]);
    site.pull(&registry.image("a")).await.unwrap();
    assert_eq!(registry.requests(image.layers[0].hex()).len(), 1);
    assert_eq!(site.count("making"), 0);
}
