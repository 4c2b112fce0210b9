//! Pulls from a registry that does as the test says.

use std::net::TcpListener;
use std::sync::Mutex;
use std::time::Duration;

use super::super::test_images::{Archive, Scratch};
use super::super::{Loaded, places};
use super::scripted::{Image, Registry, Reply, noise};
use super::*;

pub(super) struct Site {
    pub(super) scratch: Scratch,
    pub(super) store: Store,
    pub(super) options: PullOptions,
    events: Arc<Mutex<Vec<LayerEvent>>>,
}

impl Site {
    pub(super) fn new() -> Site {
        let scratch = Scratch::new("pull");
        let store = Store::open(scratch.path().join("images"));
        let (first, longest) = (Duration::from_millis(1), Duration::from_millis(5));
        let options = PullOptions {
            retry: Retry { attempts: 4, first, longest },
            docker_config: Some(scratch.path().to_owned()),
            ..PullOptions::default()
        };
        Site { scratch, store, options, events: Arc::default() }
    }

    pub(super) async fn pull(&self, image: &str) -> Result<ImageEntry, String> {
        let events = Arc::clone(&self.events);
        let progress: LayerProgress = Arc::new(move |event| events.lock().unwrap().push(event));
        self.store.pull(image, &self.options, progress).await.map_err(|e| e.to_string())
    }

    pub(super) fn count(&self, folder: &str) -> usize {
        places::entries(&self.scratch.path().join("images").join(folder)).unwrap().len()
    }

    pub(super) fn phases(&self) -> Vec<LayerPhase> {
        self.events.lock().unwrap().iter().map(|event| event.phase.clone()).collect()
    }

    fn credentials(&self, registry: &Registry, auth: &str) {
        let config = format!(r#"{{"auths":{{"{}":{{"auth":"{auth}"}}}}}}"#, registry.address);
        std::fs::write(self.scratch.path().join("config.json"), config).unwrap();
    }
}

#[tokio::test]
async fn an_image_is_pulled_once_and_known_by_tag_and_digest() {
    let image = Image::new(&[1, 2]);
    let (site, honest) = (Site::new(), image.clone());
    let registry = Registry::start(move |request| honest.reply(request));
    let entry = site.pull(&registry.image("a/b")).await.unwrap();
    assert_eq!(entry.digests, [format!("{}@{}", registry.image("a/b"), image.index)]);
    assert_eq!(entry.reference.unwrap(), registry.image("a/b:latest"));
    let layers = site.store.layers(&entry.id).unwrap();
    assert_eq!(std::fs::read(layers[0].join("file")).unwrap(), noise(2, 600_000));
    let by_digest = format!("{}@{}", registry.image("a/b"), image.index);
    assert_eq!(site.store.resolve(&by_digest).unwrap().unwrap().id, entry.id);
    assert_eq!(site.store.list().unwrap().len(), 1);
    site.pull(&registry.image("a/b")).await.unwrap();
    assert_eq!(registry.requests("/blobs/").len(), 3);
    assert_eq!(site.phases().iter().filter(|phase| **phase == LayerPhase::Exists).count(), 2);
    assert_eq!((site.count("making"), site.count("layers")), (0, 2));
    let direct = format!("{}@{}", registry.image("a/b"), image.manifest);
    assert_eq!(site.pull(&direct).await.unwrap().id, entry.id);
    let image = site.store.images().unwrap().remove(&entry.id).unwrap();
    assert_eq!((image.tags.len(), image.digests.len()), (1, 2));
    site.store.alone(Duration::ZERO).unwrap().remove(&image.id, &image.names()).unwrap();
    assert_eq!(site.store.list().unwrap(), []);
}

#[tokio::test]
async fn a_lie_about_any_digest_or_size_leaves_nothing_with_a_name() {
    let image = Image::new(&[1]);
    for digest in image.documents.keys() {
        for lie in ["flip", "more", "less"] {
            let (site, mut lying) = (Site::new(), image.clone());
            let bytes = &mut lying.documents.get_mut(digest).unwrap().1;
            match lie {
                "flip" => *bytes.last_mut().unwrap() ^= 1,
                "more" => bytes.push(b' '),
                _ => drop(bytes.pop()),
            }
            let registry = Registry::start(move |request| lying.reply(request));
            let asked = format!("{}@{}", registry.image("a"), image.index);
            let error = site.pull(&asked).await.unwrap_err();
            assert!(!error.is_empty());
            assert_eq!(
                (site.count("layers"), site.count("images"), site.count("refs")),
                (0, 0, 0),
                "{error}"
            );
        }
    }
}

#[tokio::test]
async fn an_answer_that_says_two_things_is_refused() {
    let image = Image::new(&[1]);
    let (site, honest) = (Site::new(), image.clone());
    let registry = Registry::start(move |request| {
        let mut reply = honest.reply(request);
        for (name, value) in &mut reply.headers {
            if name == "Content-Type" && request.path.contains("manifests/sha256") {
                *value = "application/vnd.docker.distribution.manifest.v2+json".into();
            }
        }
        reply
    });
    let error = site.pull(&registry.image("a")).await.unwrap_err();
    assert!(error.contains("the registry calls it"), "{error}");
}

#[tokio::test]
async fn passing_errors_are_waited_out_and_lasting_ones_counted() {
    let image = Image::new(&[1]);
    let (site, honest) = (Site::new(), image.clone());
    let turn = Mutex::new(0);
    let registry = Registry::start(move |request| {
        let mut turn = turn.lock().unwrap();
        *turn += 1;
        match *turn % 3 {
            1 => Reply::of(429, b"").header("Retry-After", "0"),
            2 => Reply::of(503, b"busy").header("Retry-After", "soon"),
            _ => honest.reply(request),
        }
    });
    site.pull(&registry.image("a")).await.unwrap();
    let dead =
        Registry::start(|_| Reply::of(500, br#"{"errors":[{"message":"disk\u001b[31m full"}]}"#));
    let error = site.pull(&dead.image("a")).await.unwrap_err();
    assert_eq!(dead.requests("/v2/").len(), 4);
    let expected = format!(
        "registry `{0}` answered 500 for `{0}/a:latest`: disk\\u{{1b}}[31m full; try again later",
        dead.address
    );
    assert_eq!(error, expected);
}

#[tokio::test]
async fn an_unknown_image_and_a_dead_registry_are_told_apart() {
    let (site, image) = (Site::new(), Image::new(&[1]));
    let registry = Registry::start(move |request| image.reply(request));
    let error = site.pull(&registry.image("a:none")).await.unwrap_err();
    assert!(
        error.contains("answered 404")
            && error.contains("manifest unknown; check the name and the tag"),
        "{error}"
    );
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = site.pull(&format!("{free}/a")).await.unwrap_err();
    assert!(error.contains("cannot reach registry") && error.contains("refused"), "{error}");
}

#[tokio::test]
async fn a_tag_is_pinned_to_the_digest_that_the_head_of_its_manifest_names() {
    let (site, image) = (Site::new(), Image::new(&[1]));
    let (index, honest) = (image.index.to_string(), image.clone());
    let registry = Registry::start(move |request| {
        let reply = honest.reply(request);
        let says = request.path.contains("/says/");
        if says { reply.header("Docker-Content-Digest", &index) } else { reply }
    });
    for (name, methods) in [("says/a", vec!["HEAD"]), ("silent/a", vec!["HEAD", "GET"])] {
        let pinned = site.store.pinned(&registry.image(name), &site.options).await.unwrap();
        assert_eq!(pinned, format!("{}:latest@{}", registry.image(name), image.index));
        let asked = registry.requests(&format!("{name}/manifests/latest"));
        assert_eq!(asked.iter().map(|request| &request.method).collect::<Vec<_>>(), methods);
    }
    let error = site.store.pinned(&registry.image("says/a:none"), &site.options).await.unwrap_err();
    assert!(error.to_string().contains("manifest unknown; check the name and the tag"), "{error}");
}

#[tokio::test]
async fn what_is_pinned_already_loses_its_tag_and_asks_nobody() {
    let (site, digest) = (Site::new(), format!("sha256:{}", "a".repeat(64)));
    for (written, pinned) in
        [("redis:7", "docker.io/library/redis"), ("ghcr.io/a/b", "ghcr.io/a/b")]
    {
        let written = format!("{written}@{digest}");
        let pinned = format!("{pinned}@{digest}");
        assert_eq!(site.store.pinned(&written, &site.options).await.unwrap(), pinned);
    }
    let host = site.store.pinned("localhost/host", &site.options).await.unwrap();
    assert_eq!(host, "localhost/host");
}

#[tokio::test]
async fn a_password_goes_to_its_registry_and_to_nobody_else() {
    let image = Image::new(&[1]);
    let (site, elsewhere, honest) = (Site::new(), image.clone(), image.clone());
    let other = Registry::start(move |request| elsewhere.reply(request));
    let target = other.address;
    let registry = Registry::start(move |request| {
        if request.headers.get("authorization").map(String::as_str) != Some("Basic dTpw") {
            return Reply::of(401, b"").header("WWW-Authenticate", "Basic realm=\"x\"");
        }
        if honest.is_layer(request) {
            return Reply::of(307, b"")
                .header("Location", &format!("http://{target}{}", request.path));
        }
        honest.reply(request)
    });
    let error = site.pull(&registry.image("a")).await.unwrap_err();
    assert!(error.contains("answered 401") && error.contains("`auths`"), "{error}");
    site.credentials(&registry, "dTpw");
    site.pull(&registry.image("a")).await.unwrap();
    assert_eq!(other.requests("/v2/a/blobs/").len(), 1);
    assert!(
        other.requests("").iter().all(|request| !request.headers.contains_key("authorization"))
    );
    site.credentials(&registry, "dTp4");
    assert!(site.pull(&registry.image("a")).await.unwrap_err().contains("answered 401"));
}

#[tokio::test]
async fn a_token_is_asked_for_with_our_scope_and_again_when_it_ends() {
    let image = Image::new(&[1, 2]);
    let (site, honest) = (Site::new(), image.clone());
    let tokens = Mutex::new(0);
    let registry = Registry::start(move |request| {
        let mut issued = tokens.lock().unwrap();
        if request.path.starts_with("/token") {
            assert_eq!(request.path, "/token?service=reg&scope=repository%3Ateam%2Fapp%3Apull");
            assert_eq!(request.headers["authorization"], "Basic dTpw");
            *issued += 1;
            return Reply::of(200, format!(r#"{{"access_token":"t{issued}"}}"#).as_bytes());
        }
        let given = request.headers.get("authorization").cloned().unwrap_or_default();
        // The first token is good for the manifest only.
        let good = given == format!("Bearer t{issued}")
            && (*issued > 1 || request.path.contains("/manifests/"));
        if good {
            return honest.reply(request);
        }
        let realm = format!("http://{}/token", request.headers["host"]);
        let challenge =
            format!(r#"Bearer realm="{realm}",service="reg",scope="repository:other:push""#);
        Reply::of(401, b"").header("WWW-Authenticate", &challenge)
    });
    site.credentials(&registry, "dTpw");
    site.pull(&registry.image("team/app")).await.unwrap();
    assert_eq!(registry.requests("/token").len(), 2);
}

#[tokio::test]
async fn a_token_service_elsewhere_is_not_trusted() {
    let site = Site::new();
    for realm in ["file:///etc/passwd", "http://169.254.169.254/token", "nonsense", ""] {
        let registry = Registry::start(move |_| {
            let challenge = format!(r#"Bearer realm="{realm}",service="x""#);
            Reply::of(401, b"").header("WWW-Authenticate", &challenge)
        });
        site.credentials(&registry, "dTpw");
        let error = site.pull(&registry.image("a")).await.unwrap_err();
        assert!(error.contains("token service"), "{realm}: {error}");
    }
}

#[tokio::test]
async fn many_pulls_at_once_fetch_every_layer_once() {
    let image = Image::new(&[1, 2, 3]);
    let (site, honest) = (Site::new(), image.clone());
    let registry = Registry::start(move |request| honest.reply(request));
    let names: Vec<String> = (0..6).map(|n| registry.image(&format!("a{n}"))).collect();
    let pulls: Vec<_> = names.iter().map(|name| site.pull(name)).collect();
    for pull in futures_all(pulls).await {
        pull.unwrap();
    }
    for layer in &image.layers {
        assert_eq!(registry.requests(layer.hex()).len(), 1);
    }
    assert_eq!((site.count("layers"), site.count("making")), (3, 0));
}

/// Runs all of them at once on this task.
async fn futures_all<F: Future>(futures: Vec<F>) -> Vec<F::Output> {
    let mut futures: Vec<_> = futures.into_iter().map(|future| (Box::pin(future), None)).collect();
    std::future::poll_fn(|context| {
        for (future, output) in &mut futures {
            if output.is_none()
                && let std::task::Poll::Ready(done) = future.as_mut().poll(context)
            {
                *output = Some(done);
            }
        }
        if futures.iter().all(|(_, output)| output.is_some()) {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
    futures.into_iter().filter_map(|(_, output)| output).collect()
}

#[tokio::test]
async fn only_this_machine_and_listed_registries_are_spoken_to_in_plain() {
    let mut options = PullOptions::default();
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for (name, listed, scheme) in [
        ("registry.example/a".to_owned(), "", "https"),
        ("redis".into(), "", "https"),
        (format!("{free}/a"), "", "http"),
        (format!("localhost:{}/a", free.port()), "", "http"),
        (format!("nowhere.invalid:{}/a", free.port()), "nowhere.invalid", "http"),
        ("nowhere.invalid/a".into(), "other.invalid", "https"),
    ] {
        options.insecure = vec![listed.to_owned()];
        let reference = Reference::parse(&name).unwrap();
        match Client::connect(&reference, &options).await {
            Ok(client) => assert_eq!(client.scheme(), scheme, "{name}"),
            Err(error) => eprintln!("skipped: {error}"),
        }
    }
}

pub(super) fn mirrored(site: &mut Site, registry: &Registry, mirrors: &[String]) {
    let mirrors = mirrors.to_vec();
    let mirrors = BTreeMap::from([(registry.address.to_string(), mirrors)]);
    site.options.settings = Some(Settings { mirrors, ..Settings::default() });
}

#[tokio::test]
async fn a_mirror_is_asked_first_and_is_never_told_the_registrys_password() {
    let image = Image::new(&[1, 2]);
    let (mut site, there, honest) = (Site::new(), image.clone(), image.clone());
    // The mirror lacks one layer.
    let mirror = Registry::start(move |request| {
        match request.path.ends_with(&there.layers[1].to_string()) {
            true => Reply::of(404, b""),
            false => there.reply(request),
        }
    });
    let registry = Registry::start(move |request| {
        match request.headers.get("authorization").map(String::as_str) {
            Some("Basic dTpw") => honest.reply(request),
            _ => Reply::of(401, b"").header("WWW-Authenticate", "Basic realm=\"x\""),
        }
    });
    site.credentials(&registry, "dTpw");
    mirrored(&mut site, &registry, &[format!("http://{}/hub/", mirror.address)]);
    let entry = site.pull(&registry.image("a")).await.unwrap();
    assert_eq!(entry.reference.unwrap(), registry.image("a:latest"));
    let asked = mirror.requests("");
    assert!(asked.iter().all(|request| request.path.starts_with("/hub/v2/a/")));
    assert!(asked.iter().all(|request| !request.headers.contains_key("authorization")));
    assert!(registry.requests("/manifests/").is_empty());
    let from_registry = registry.requests("/blobs/");
    assert!(from_registry.iter().all(|request| image.layers[1].to_string() == request.path[12..]));
}

#[tokio::test]
async fn a_mirror_that_fails_is_left_alone_and_one_that_lies_is_not_believed() {
    let image = Image::new(&[1, 2]);
    for kind in ["dead", "broken", "closed", "cuts"] {
        let (mut site, there, honest) = (Site::new(), image.clone(), image.clone());
        let mirror = Registry::start(move |request| match kind {
            "broken" => Reply::of(503, b""),
            "closed" => Reply::of(401, b"").header("WWW-Authenticate", "Basic realm=\"x\""),
            _ => {
                let mut reply = there.reply(request);
                reply.cut = there.is_layer(request).then_some(1000);
                reply
            }
        });
        let registry = Registry::start(move |request| honest.reply(request));
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let address = if kind == "dead" { free } else { mirror.address };
        mirrored(&mut site, &registry, &[format!("http://{address}")]);
        site.pull(&registry.image("a")).await.unwrap();
        if kind != "cuts" {
            assert!(mirror.requests("").len() <= 1, "{kind}");
        }
    }
    let (mut site, honest) = (Site::new(), image.clone());
    let other = Image::new(&[3]);
    let mut lying = image.clone();
    for (digest, document) in &mut lying.documents {
        if *digest == image.index.to_string() {
            document.1 = other.documents[&other.index.to_string()].1.clone();
        }
    }
    let mirror = Registry::start(move |request| lying.reply(request));
    let registry = Registry::start(move |request| honest.reply(request));
    mirrored(&mut site, &registry, &[format!("http://{}", mirror.address)]);
    let name = format!("{}@{}", registry.image("a"), image.index);
    let error = site.pull(&name).await.unwrap_err();
    assert!(error.contains("was promised"), "{error}");
}

#[test]
fn what_was_pulled_and_what_was_loaded_are_the_same_layers() {
    let image = Image::new(&[1]);
    let (site, honest) = (Site::new(), image.clone());
    let registry = Registry::start(move |request| honest.reply(request));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let entry = runtime.block_on(site.pull(&registry.image("a"))).unwrap();
    let plain = Archive::default().member("file", b'0', "", 0o644, &noise(1, 600_000)).end();
    let archive = super::super::test_images::docker_archive(&["loaded"], &[plain]);
    let loaded: Vec<Loaded> = site.store.load_stream(archive.as_slice()).unwrap();
    assert_eq!(loaded[0].id, entry.id);
    assert_eq!(site.count("layers"), 1);
}
