//! Pushes to a registry that does as the test says.

use std::sync::Mutex;
use std::time::Duration;

use serde_json::Value;

use super::super::super::test_images::{Archive, Scratch, docker_archive, gzip, oci_layout};
use super::super::PullOptions;
use super::super::scripted::{Registry, Reply, Request, noise};
use super::*;

/// What an honest registry has.
#[derive(Default)]
struct Shelf {
    blobs: BTreeMap<String, Vec<u8>>,
    manifests: BTreeMap<String, (String, Vec<u8>)>,
    uploads: Vec<Vec<u8>>,
}

impl Shelf {
    fn reply(&mut self, request: &Request) -> Reply {
        let (path, query) = request.path.split_once('?').unwrap_or((&request.path, ""));
        let query = query.replace("%3A", ":").replace("%2F", "/");
        let last = path.rsplit('/').next().unwrap_or_default();
        match request.method.as_str() {
            "POST" => self.begin(&query),
            "PATCH" => self.take(last, request),
            "PUT" if path.contains("/manifests/") => {
                let digest = Digest::of(&request.body).to_string();
                let stored = (request.headers["content-type"].clone(), request.body.clone());
                self.manifests.insert(digest.clone(), stored.clone());
                self.manifests.insert(last.to_owned(), stored);
                Reply::of(201, b"").header("Docker-Content-Digest", &digest)
            }
            "PUT" => self.finish(last, &query, request),
            _ if path.contains("/uploads/") => {
                let bytes = &self.uploads[last.parse::<usize>().unwrap()];
                let range = format!("0-{}", bytes.len().saturating_sub(1));
                Reply::of(204, b"").header("Range", &range).header("Location", path)
            }
            _ if path.contains("/blobs/") => match self.blobs.get(last) {
                Some(bytes) => Reply::of(200, bytes),
                None => Reply::of(404, b""),
            },
            _ => match self.manifests.get(last) {
                Some((media_type, bytes)) => {
                    Reply::of(200, bytes).header("Content-Type", media_type)
                }
                None => Reply::of(404, b""),
            },
        }
    }

    fn begin(&mut self, query: &str) -> Reply {
        let mount = query.split('&').find_map(|part| part.strip_prefix("mount="));
        if mount.is_some_and(|digest| self.blobs.contains_key(digest)) {
            return Reply::of(201, b"");
        }
        self.uploads.push(Vec::new());
        let place = format!("/v2/x/blobs/uploads/{}?state=a", self.uploads.len() - 1);
        Reply::of(202, b"").header("Location", &place)
    }

    fn take(&mut self, upload: &str, request: &Request) -> Reply {
        let bytes = &mut self.uploads[upload.parse::<usize>().unwrap()];
        let end = bytes.len() + request.body.len();
        if request.headers["content-range"] != format!("{}-{}", bytes.len(), end - 1) {
            return Reply::of(416, b"");
        }
        bytes.extend_from_slice(&request.body);
        Reply::of(202, b"").header("Location", &format!("/v2/x/blobs/uploads/{upload}?state=b"))
    }

    fn finish(&mut self, upload: &str, query: &str, request: &Request) -> Reply {
        let mut bytes = self.uploads[upload.parse::<usize>().unwrap()].clone();
        bytes.extend_from_slice(&request.body);
        let digest = Digest::of(&bytes).to_string();
        if !query.starts_with("state=") || !query.contains(&format!("digest={digest}")) {
            let message = br#"{"errors":[{"message":"provided digest did not match"}]}"#;
            return Reply::of(400, message);
        }
        self.blobs.insert(digest.clone(), bytes);
        Reply::of(201, b"").header("Docker-Content-Digest", &digest)
    }
}

struct Site {
    scratch: Scratch,
    store: Store,
    options: PushOptions,
    shelf: Arc<Mutex<Shelf>>,
    events: Arc<Mutex<Vec<LayerEvent>>>,
}

/// What the registry answers instead of what is right.
type Odd = dyn Fn(&Request) -> Option<Reply> + Send + Sync;

impl Site {
    fn new() -> Site {
        let scratch = Scratch::new("push");
        let store = Store::open(scratch.path().join("images"));
        let (first, longest) = (Duration::from_millis(1), Duration::from_millis(5));
        let options = PushOptions {
            retry: Retry { attempts: 4, first, longest },
            docker_config: Some(scratch.path().to_owned()),
            chunk: 128 << 10,
            ..PushOptions::default()
        };
        Site { scratch, store, options, shelf: Arc::default(), events: Arc::default() }
    }

    fn registry(
        &self,
        odd: impl Fn(&Request) -> Option<Reply> + Send + Sync + 'static,
    ) -> Registry {
        let shelf = Arc::clone(&self.shelf);
        let odd: Box<Odd> = Box::new(odd);
        Registry::start(move |request| {
            let mut shelf = shelf.lock().unwrap();
            odd(request).unwrap_or_else(|| shelf.reply(request))
        })
    }

    /// Loads an image of layers that are `seeds` of noise, gzipped, under `name`.
    fn load(&self, name: &str, seeds: &[u64]) -> Digest {
        let layers: Vec<Vec<u8>> = seeds.iter().map(|seed| layer(*seed)).collect();
        let path = self.scratch.path().join("layout");
        let digest = oci_layout(&path, Some(name), &layers);
        self.store.load(&path).unwrap();
        std::fs::remove_dir_all(&path).unwrap();
        digest
    }

    async fn push(&self, name: &str) -> Result<Pushed, String> {
        let events = Arc::clone(&self.events);
        let progress: LayerProgress = Arc::new(move |event| events.lock().unwrap().push(event));
        self.store.push(name, &self.options, progress).await.map_err(|e| e.to_string())
    }

    fn phases(&self, phase: LayerPhase) -> usize {
        self.events.lock().unwrap().iter().filter(|event| event.phase == phase).count()
    }
}

fn layer(seed: u64) -> Vec<u8> {
    Archive::default().member("file", b'0', "", 0o644, &noise(seed, 600_000)).end()
}

fn of(registry: &Registry, method: &str) -> Vec<Request> {
    registry.requests("").into_iter().filter(|request| request.method == method).collect()
}

#[tokio::test]
async fn what_is_pushed_can_be_pulled_and_has_the_digest_it_had() {
    let site = Site::new();
    let registry = site.registry(|_| None);
    let name = registry.image("team/app:1");
    let digest = site.load(&name, &[1, 2]);
    let pushed = site.push(&name).await.unwrap();
    assert_eq!((pushed.digest, pushed.reference), (digest.to_string(), name.clone()));
    assert_eq!(site.phases(LayerPhase::Done), 2);
    let entry = site.store.resolve(&name).unwrap().unwrap();
    assert_eq!(entry.digests, [format!("{}@{digest}", registry.image("team/app"))]);
    let other = Store::open(site.scratch.path().join("other"));
    let options =
        PullOptions { docker_config: site.options.docker_config.clone(), ..PullOptions::default() };
    let pulled = other.pull(&name, &options, Arc::new(|_| {})).await.unwrap();
    assert_eq!((&pulled.id, &pulled.digests), (&entry.id, &entry.digests));
    // Nothing but the manifest goes a second time.
    let before = of(&registry, "POST").len();
    site.push(&name).await.unwrap();
    assert_eq!((of(&registry, "POST").len(), site.phases(LayerPhase::Exists)), (before, 2));
}

#[tokio::test]
async fn a_large_layer_goes_in_pieces_and_a_small_one_whole() {
    let site = Site::new();
    let registry = site.registry(|_| None);
    let name = registry.image("a");
    site.load(&name, &[1]);
    site.push(&name).await.unwrap();
    let ranges: Vec<_> =
        of(&registry, "PATCH").iter().map(|r| r.headers["content-range"].clone()).collect();
    assert_eq!(ranges[..2], ["0-131071", "131072-262143"]);
    assert_eq!(ranges.len(), 5);
    // The second half of the places, as the registry told them.
    let state = |request: &Request| request.path.contains("state=b");
    assert!(of(&registry, "PATCH").iter().skip(1).all(state));
    // The config has gone whole.
    let puts = of(&registry, "PUT");
    assert_eq!(puts.iter().filter(|put| put.path.contains("/uploads/")).count(), 2);
}

#[tokio::test]
async fn pieces_are_as_large_as_the_registry_wants_them() {
    let site = Site::new();
    let registry = site.registry(|request| {
        let begins = request.method == "POST";
        begins.then(|| {
            Reply::of(202, b"")
                .header("Location", "/v2/x/blobs/uploads/0?state=a")
                .header("OCI-Chunk-Min-Length", "300000")
        })
    });
    site.shelf.lock().unwrap().uploads.push(Vec::new());
    let name = registry.image("a");
    site.load(&name, &[1]);
    // The config ends up behind the layer here, which this registry does not mind.
    let _ = site.push(&name).await;
    let ranges: Vec<_> =
        of(&registry, "PATCH").iter().map(|r| r.headers["content-range"].clone()).collect();
    assert_eq!(ranges[0], "0-299999");
}

#[tokio::test]
async fn a_registry_that_takes_less_at_a_time_is_given_less() {
    let site = Site::new();
    let registry = site.registry(|request| {
        let large = request.method == "PATCH" && request.body.len() > 70_000;
        large.then(|| Reply::of(413, b""))
    });
    let name = registry.image("a");
    site.load(&name, &[1]);
    site.push(&name).await.unwrap();
    assert_eq!(of(&registry, "PATCH")[1].headers["content-range"], "0-65535");
}

#[tokio::test]
async fn a_broken_upload_goes_on_from_where_the_registry_is() {
    let site = Site::new();
    let turn = Mutex::new(0);
    let shelf = Arc::clone(&site.shelf);
    let registry = Registry::start(move |request| {
        let mut turn = turn.lock().unwrap();
        *turn += usize::from(request.method == "PATCH");
        let right = shelf.lock().unwrap().reply(request);
        // The second piece has come, but nobody hears of it; the third is refused for now.
        match (request.method.as_str(), *turn) {
            ("PATCH", 2) => Reply::of(502, b""),
            ("PATCH", 4) => Reply::of(429, b"").header("Retry-After", "0"),
            _ => right,
        }
    });
    let name = registry.image("a");
    site.load(&name, &[1]);
    site.push(&name).await.unwrap();
    let starts: Vec<_> = of(&registry, "PATCH")
        .iter()
        .map(|r| r.headers["content-range"].split('-').next().unwrap().parse::<u64>().unwrap())
        .map(|start| start >> 17)
        .collect();
    assert_eq!(starts, [0, 1, 2, 3, 4]);
    let events = site.events.lock().unwrap();
    let retried = |event: &&LayerEvent| matches!(event.phase, LayerPhase::Retrying { .. });
    assert_eq!(events.iter().filter(retried).count(), 2);
}

#[tokio::test]
async fn an_upload_that_the_registry_forgot_is_begun_anew_but_not_for_ever() {
    for patient in [true, false] {
        let site = Site::new();
        let forgets = Mutex::new(if patient { 2 } else { u32::MAX });
        let registry = site.registry(move |request| {
            let mut forgets = forgets.lock().unwrap();
            let late = request.method == "PATCH" && request.path.contains("state=b");
            let forgotten = late || (request.method == "GET" && request.path.contains("uploads"));
            if !forgotten || *forgets == 0 {
                return None;
            }
            *forgets -= 1;
            Some(Reply::of(404, br#"{"errors":[{"code":"BLOB_UPLOAD_UNKNOWN"}]}"#))
        });
        let name = registry.image("a");
        site.load(&name, &[1]);
        let pushed = site.push(&name).await;
        assert_eq!(pushed.is_ok(), patient, "{pushed:?}");
        if let Err(error) = pushed {
            assert!(error.contains("BLOB_UPLOAD_UNKNOWN"), "{error}");
        }
    }
}

#[tokio::test]
async fn a_layer_that_another_repository_has_is_taken_over_with_a_token_for_both() {
    let site = Site::new();
    let registry = site.registry(|request| {
        if request.path.starts_with("/token") {
            return Some(Reply::of(200, br#"{"token":"t"}"#));
        }
        let known = request.headers.get("authorization").is_some_and(|value| value == "Bearer t");
        let realm = format!("http://{}/token", request.headers["host"]);
        let challenge = format!(r#"Bearer realm="{realm}",service="reg""#);
        (!known).then(|| Reply::of(401, b"").header("WWW-Authenticate", &challenge))
    });
    site.load(&registry.image("base"), &[1]);
    site.push(&registry.image("base")).await.unwrap();
    site.load(&registry.image("app"), &[1, 2]);
    // As if only the other repository had it.
    let blobs = registry.requests("").len();
    let hidden = site.shelf.lock().unwrap().blobs.keys().cloned().collect::<BTreeSet<_>>();
    let shelf = Arc::clone(&site.shelf);
    let second = Registry::start(move |request| {
        let last = request.path.rsplit('/').next().unwrap_or_default();
        if request.method == "HEAD" && hidden.contains(last) {
            return Reply::of(404, b"");
        }
        shelf.lock().unwrap().reply(request)
    });
    assert!(blobs > 0 && second.address != registry.address);
    site.push(&registry.image("app")).await.unwrap();
    let asked = registry.requests("/token");
    let scopes = "scope=repository%3Aapp%3Apull%2Cpush&scope=repository%3Abase%3Apull";
    assert!(asked[1].path.ends_with(scopes), "{}", asked[1].path);
    // The same under a name of the second registry: it is told where to take the layer from.
    site.load(&second.image("base"), &[1]);
    let named = Reference::parse(&second.image("base")).unwrap();
    let id = site.store.name(&named).unwrap().unwrap().id;
    site.store.write_name(&named, &id, Some(&Digest::of(b""))).unwrap();
    site.load(&second.image("app"), &[1, 3]);
    site.push(&second.image("app")).await.unwrap();
    let mounts: Vec<_> =
        of(&second, "POST").into_iter().filter(|r| r.path.contains("from=base")).collect();
    assert_eq!(mounts.len(), 1);
    let gzipped = Digest::of(&gzip(&layer(1)));
    assert!(mounts[0].path.contains(gzipped.hex()));
    assert_eq!(site.phases(LayerPhase::Mounted), 1);
}

#[tokio::test]
async fn a_layer_that_came_in_another_form_is_sent_in_that_form() {
    let site = Site::new();
    let registry = site.registry(|_| None);
    // The layer comes gzipped with one image; the archive of the other has it plain.
    site.load("first", &[1]);
    let name = registry.image("a:1");
    let archive = docker_archive(&[&name], &[layer(1), layer(2)]);
    site.store.load_stream(archive.as_slice()).unwrap();
    let pushed = site.push(&name).await.unwrap();
    let sent = site.shelf.lock().unwrap().manifests["1"].1.clone();
    let manifest: Value = serde_json::from_slice(&sent).unwrap();
    let forms: Vec<_> = manifest["layers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|layer| (layer["mediaType"].as_str().unwrap(), layer["digest"].as_str().unwrap()))
        .collect();
    let zipped = Digest::of(&gzip(&layer(1))).to_string();
    let gzip_type = format!("{}+gzip", document::OCI_LAYER);
    assert_eq!(forms[0], (gzip_type.as_str(), zipped.as_str()));
    // The other one nobody has brought in another form: it is packed.
    assert_eq!((forms[1].0, site.phases(LayerPhase::Packing)), (gzip_type.as_str(), 1));
    assert_eq!(Digest::of(&sent).to_string(), pushed.digest);
    // Without the bytes in any form there is nothing to send.
    std::fs::remove_file(site.store.places.blob(&Digest::of(&gzip(&layer(1))))).unwrap();
    *site.shelf.lock().unwrap() = Shelf::default();
    let error = site.push(&name).await.unwrap_err();
    assert!(error.contains("are not in the store"), "{error}");
}

#[tokio::test]
async fn a_layer_made_here_is_packed_once_and_the_image_keeps_its_id() {
    let site = Site::new();
    let registry = site.registry(|_| None);
    let name = registry.image("a:1");
    let text = vec![b'x'; 3_000_000];
    let plain = Archive::default().member("file", b'0', "", 0o644, &text).end();
    site.store.load_stream(docker_archive(&[&name], &[plain]).as_slice()).unwrap();
    let before = site.store.resolve(&name).unwrap().unwrap();
    let pushed = site.push(&name).await.unwrap();
    let sent: usize = of(&registry, "PUT").iter().map(|request| request.body.len()).sum();
    assert!(sent < 100_000, "{sent} bytes were sent");
    let again = site.push(&name).await.unwrap();
    assert_eq!((again.digest, site.phases(LayerPhase::Packing)), (pushed.digest.clone(), 1));
    let other = Store::open(site.scratch.path().join("other"));
    let options =
        PullOptions { docker_config: site.options.docker_config.clone(), ..PullOptions::default() };
    let pulled = other.pull(&name, &options, Arc::new(|_| {})).await.unwrap();
    assert_eq!(pulled.id, before.id);
    assert!(pulled.digests[0].ends_with(&pushed.digest));
    // The plain bytes are of no use any more.
    site.store.alone(Duration::ZERO).unwrap().sweep().unwrap();
    let largest = std::fs::read_dir(site.store.places.blobs()).unwrap();
    let largest = largest.map(|blob| blob.unwrap().metadata().unwrap().len()).max().unwrap();
    assert!(largest < 100_000, "a blob of {largest} bytes is left");
    assert_eq!(site.push(&name).await.unwrap().digest, pushed.digest);
}

#[tokio::test]
async fn an_image_that_a_registry_knows_keeps_its_plain_layers_and_its_digest() {
    let site = Site::new();
    let registry = site.registry(|_| None);
    let (name, digest) = (registry.image("a:1"), Digest::of(b"told by a registry"));
    let archive = docker_archive(&[&name], &[layer(3)]);
    let loaded = site.store.load_stream(archive.as_slice()).unwrap();
    let id = Digest::parse(&loaded[0].id).unwrap();
    let elsewhere = Reference::parse("x.y/a:1").unwrap();
    site.store.write_name(&elsewhere, &id, Some(&digest)).unwrap();
    site.push(&name).await.unwrap();
    assert_eq!(site.phases(LayerPhase::Packing), 0);
    assert!(site.shelf.lock().unwrap().blobs.contains_key(&Digest::of(&layer(3)).to_string()));
}

#[tokio::test]
async fn what_is_kept_of_a_layer_stays_kept_after_a_push() {
    let site = Site::new();
    let registry = site.registry(|_| None);
    site.load("first", &[1]);
    let name = registry.image("a:1");
    let archive = docker_archive(&[&name], &[layer(1), layer(2)]);
    let id = site.store.load_stream(archive.as_slice()).unwrap().remove(0).id;
    let id = Digest::parse(&id).unwrap();
    let zipped = Digest::of(&gzip(&layer(1)));
    let kept = || {
        let record = site.store.record(&id).unwrap().unwrap();
        let blob = &record.layers[0];
        blob.kept.as_ref().or(blob.blob.as_ref()).unwrap().digest.clone()
    };
    // The registry has the first layer as the manifest says, the second one is packed.
    let plain = layer(1);
    site.shelf.lock().unwrap().blobs.insert(Digest::of(&plain).to_string(), plain);
    assert_eq!(kept(), zipped);
    site.push(&name).await.unwrap();
    assert_eq!((site.phases(LayerPhase::Packing), kept()), (1, zipped));
}

#[tokio::test]
async fn an_image_that_a_registry_knows_is_not_written_anew_for_another() {
    let site = Site::new();
    let registry = site.registry(|_| None);
    site.load("first", &[1]);
    let name = registry.image("a:1");
    let loaded = site.store.load_stream(docker_archive(&[&name], &[layer(1)]).as_slice());
    let id = Digest::parse(&loaded.unwrap()[0].id).unwrap();
    let elsewhere = Reference::parse("x.y/a:1").unwrap();
    site.store.write_name(&elsewhere, &id, Some(&Digest::of(b"told"))).unwrap();
    let manifest = || site.store.record(&id).unwrap().unwrap().manifest;
    let before = manifest();
    let pushed = site.push(&name).await.unwrap();
    assert_eq!(manifest(), before);
    assert_eq!(site.push(&name).await.unwrap().digest, pushed.digest);
}

#[tokio::test]
async fn a_registry_that_takes_something_else_is_not_believed() {
    for what in ["/uploads/", "/manifests/"] {
        let site = Site::new();
        let registry = site.registry(move |request| {
            let lies = request.method == "PUT" && request.path.contains(what);
            let other = Digest::of(b"other").to_string();
            lies.then(|| Reply::of(201, b"").header("Docker-Content-Digest", &other))
        });
        let name = registry.image("a");
        site.load(&name, &[1]);
        let error = site.push(&name).await.unwrap_err();
        assert!(error.contains("was promised"), "{error}");
        assert_eq!(site.store.resolve(&name).unwrap().unwrap().digests.len(), 0);
    }
}

#[tokio::test]
async fn credentials_do_not_follow_an_upload_to_another_host() {
    let site = Site::new();
    let other = site.registry(|_| None);
    let target = other.address;
    let shelf = Arc::clone(&site.shelf);
    let registry = Registry::start(move |request| {
        if request.headers.get("authorization").map(String::as_str) != Some("Basic dTpw") {
            return Reply::of(401, b"").header("WWW-Authenticate", "Basic realm=\"x\"");
        }
        let mut reply = shelf.lock().unwrap().reply(request);
        for (name, value) in &mut reply.headers {
            if name == "Location" {
                *value = format!("http://{target}{value}");
            }
        }
        reply
    });
    let config = format!(r#"{{"auths":{{"{}":{{"auth":"dTpw"}}}}}}"#, registry.address);
    std::fs::write(site.scratch.path().join("config.json"), config).unwrap();
    let name = registry.image("a");
    site.load(&name, &[1]);
    site.push(&name).await.unwrap();
    assert!(of(&other, "PATCH").len() > 1);
    assert!(other.requests("").iter().all(|r| !r.headers.contains_key("authorization")));
}

#[tokio::test]
async fn what_cannot_be_pushed_is_told_before_anything_is_sent() {
    let site = Site::new();
    let registry = site.registry(|_| None);
    let missing = site.push(&registry.image("none")).await.unwrap_err();
    assert!(missing.ends_with("is not in the store"), "{missing}");
    let digest = format!("{}@{}", registry.image("a"), Digest::of(b""));
    assert!(site.push(&digest).await.unwrap_err().contains("pushed under a tag"));
    assert!(site.push("localhost/host").await.unwrap_err().contains("pushed"));
    assert!(registry.requests("").is_empty());
    let closed = site
        .registry(|_| Some(Reply::of(401, b"").header("WWW-Authenticate", "Basic realm=\"x\"")));
    let name = closed.image("a");
    site.load(&name, &[1]);
    let refused = site.push(&name).await.unwrap_err();
    assert!(refused.contains("answered 401") && refused.contains("`berth login`"), "{refused}");
}
