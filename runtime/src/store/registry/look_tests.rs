//! Registries are asked about images, which costs them little.

use super::super::document::Platform;
use super::scripted::{Image, Registry, Reply, Request};
use super::tests::Site;
use super::*;

/// What was asked for, `HEAD /v2/a/manifests/1`.
fn asked(registry: &Registry) -> Vec<String> {
    let requests = registry.requests("/v2/");
    requests.iter().map(|request| format!("{} {}", request.method, request.path)).collect()
}

/// What an honest registry answers that tells the digest of a tag.
fn says(image: &Image, request: &Request) -> Reply {
    let reply = image.reply(request);
    match request.path.ends_with("/latest") {
        true => reply.header("Docker-Content-Digest", &image.index.to_string()),
        false => reply,
    }
}

async fn look(registry: &Registry, site: &Site) -> Look {
    Look::at(&registry.image("a"), &site.options).await.unwrap()
}

#[tokio::test]
async fn the_digest_of_a_tag_costs_one_head() {
    let (site, image) = (Site::new(), Image::new(&[1]));
    let honest = image.clone();
    let registry = Registry::start(move |request| says(&honest, request));
    let digest = look(&registry, &site).await.digest().await.unwrap();
    assert_eq!(digest, image.index.to_string());
    assert_eq!(asked(&registry), ["HEAD /v2/a/manifests/latest"]);
}

#[tokio::test]
async fn a_registry_that_has_enough_of_us_is_given_its_time_and_asked_for_no_more() {
    let (site, image) = (Site::new(), Image::new(&[1]));
    let (honest, times) = (image.clone(), std::sync::Mutex::new(0));
    let registry = Registry::start(move |request| {
        let mut times = times.lock().unwrap();
        *times += 1;
        match *times {
            1 => Reply::of(429, b"").header("Retry-After", "0"),
            2 => says(&honest, request),
            _ => Reply::of(429, b"").header("Retry-After", "0"),
        }
    });
    let there = look(&registry, &site).await;
    assert_eq!(there.digest().await.unwrap(), image.index.to_string());
    assert_eq!(asked(&registry), ["HEAD /v2/a/manifests/latest"; 2]);
    let error = there.digest().await.unwrap_err().to_string();
    assert!(error.contains("429") && error.contains("log in for a higher limit"), "{error}");
    assert_eq!(asked(&registry), ["HEAD /v2/a/manifests/latest"; 6]);
}

#[tokio::test]
async fn an_offer_names_the_image_of_each_platform() {
    let (site, image) = (Site::new(), Image::new(&[1]));
    let honest = image.clone();
    let registry = Registry::start(move |request| honest.reply(request));
    let offer = look(&registry, &site).await.offer().await.unwrap();
    assert_eq!(offer.digest, image.index.to_string());
    let here = format!("linux/{}", Platform::host().architecture);
    assert_eq!(offer.platforms, [(here.clone(), image.manifest.to_string())].into());
    offer.fits(&here).unwrap();
    let error = offer.fits("linux/s390x").unwrap_err().to_string();
    assert_eq!(error, format!("it has no image for linux/s390x; there are: {here}"));
}

#[tokio::test]
async fn what_is_locked_is_fetched_by_digest_and_named_by_its_tag() {
    let (site, image) = (Site::new(), Image::new(&[1]));
    let (honest, other) = (image.clone(), Image::new(&[2]));
    let moved = move |request: &Request| match request.path.ends_with("/latest") {
        true => other.reply(request),
        false => honest.reply(request),
    };
    let registry = Registry::start(moved);
    let (name, digest) = (registry.image("a"), image.index.to_string());
    let progress: LayerProgress = Arc::new(|_| {});
    let pull = |digest: String| {
        let (store, options, name) = (site.store.clone(), site.options.clone(), name.clone());
        let progress = Arc::clone(&progress);
        async move { store.pull_locked(&name, &digest, &options, progress).await }
    };
    let entry = pull(digest.clone()).await.unwrap();
    assert_eq!(registry.requests("/latest").len(), 0);
    assert_eq!(site.store.resolve(&name).unwrap().unwrap().id, entry.id);
    assert_eq!(site.store.digests(&entry.id, &name).unwrap(), [digest].into());
    assert!(site.store.digests(&entry.id, "elsewhere/a").unwrap().is_empty());
    // A digest that is not there is not made up for by the tag.
    let error = pull(format!("sha256:{}", "0".repeat(64))).await.unwrap_err().to_string();
    assert!(error.contains("404"), "{error}");
    assert_eq!(registry.requests("/latest").len(), 0);
}

#[tokio::test]
async fn tags_are_read_page_by_page_and_only_from_their_registry() {
    let site = Site::new();
    let registry = Registry::start(|request| {
        let page =
            |tags: &str| Reply::of(200, format!(r#"{{"name":"a","tags":{tags}}}"#).as_bytes());
        match request.path.split('?').nth(1) {
            Some("n=1000") => {
                page(r#"["1.0","1.1"]"#).header("Link", "</v2/a/tags/list?last=1.1>; rel=\"next\"")
            }
            Some("last=1.1") => page(r#"["1.2"]"#).header("Link", "<?last=1.2>; rel=\"next\""),
            // Round and round, then elsewhere.
            Some("last=1.2") => page("null").header(
                "Link",
                "<http://192.0.2.1/v2/a/tags/list>; rel=\"next\", <?n=1000>; rel=\"prev\"",
            ),
            _ => Reply::of(404, b""),
        }
    });
    let tags = look(&registry, &site).await.tags().await.unwrap();
    assert_eq!(Vec::from_iter(tags), ["1.0", "1.1", "1.2"]);
    assert_eq!(registry.requests("/tags/list").len(), 3);
    let endless = Registry::start(|request| {
        let next = request.path.len();
        Reply::of(200, br#"{"tags":[]}"#)
            .header("Link", &format!("<{}&x={next}>; rel=next", request.path))
    });
    let error = look(&endless, &site).await.tags().await.unwrap_err().to_string();
    assert!(error.contains("on more than 200 pages"), "{error}");
    assert_eq!(endless.requests("/tags/list").len(), 200);
}

#[tokio::test]
async fn an_image_that_has_not_moved_costs_one_head_and_is_looked_at_now() {
    let (site, image) = (Site::new(), Image::new(&[1]));
    let honest = image.clone();
    let registry = Registry::start(move |request| says(&honest, request));
    let name = registry.image("a");
    let progress: LayerProgress = Arc::new(|_| {});
    let pull = || site.store.pull(&name, &site.options, Arc::clone(&progress));
    let entry = pull().await.unwrap();
    let before = asked(&registry).len();
    let parsed = Reference::parse(&name).unwrap();
    let (path, mut record) =
        (site.store.places.name(&parsed), site.store.name(&parsed).unwrap().unwrap());
    record.pulled_at = 0;
    crate::record::write(&path, &record, crate::record::Durability::Volatile).unwrap();
    assert_eq!(pull().await.unwrap().id, entry.id);
    assert_eq!(asked(&registry)[before..], ["HEAD /v2/a/manifests/latest"]);
    assert!(site.store.resolve(&name).unwrap().unwrap().pulled_at > 0);
    // What has lost a layer is made whole again.
    let lost = site.store.layers(&entry.id).unwrap()[0].parent().unwrap().to_owned();
    std::fs::remove_dir_all(&lost).unwrap();
    pull().await.unwrap();
    assert!(lost.join("diff/file").exists());
    let config = site.store.places.blob(&Digest::parse(&entry.id).unwrap());
    std::fs::write(&config, b"{}").unwrap();
    pull().await.unwrap();
    assert_eq!(Digest::of(&std::fs::read(&config).unwrap()).to_string(), entry.id);
}
