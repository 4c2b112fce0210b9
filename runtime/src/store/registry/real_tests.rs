//! Debian's own registry on loopback, filled by `skopeo`: what they write, we read.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::super::test_images::{Archive, Scratch, docker_archive, gzip};
use super::*;

/// A registry process that ends with the test.
struct Registry {
    process: Child,
    address: String,
    scratch: Scratch,
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// How the registry is guarded.
#[derive(Clone, Copy, PartialEq)]
enum Guard {
    None,
    Password,
    /// With a certificate of an authority that nobody knows.
    Tls,
    /// The same, and it wants one of us too; it sends who wants a blob on to plain HTTP.
    Mutual,
}

/// `None`, said loudly, where it is not installed.
fn registry(guard: Guard) -> Option<Registry> {
    for program in ["docker-registry", "skopeo", "openssl"] {
        if Command::new(program).arg("version").output().is_err() {
            eprintln!("skipped: `{program}` is not installed");
            return None;
        }
    }
    let scratch = Scratch::new("registry");
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut config = format!(
        "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: {free}}}\n",
        scratch.path().join("data").display()
    );
    if guard == Guard::Password {
        // `user:secret`, as `htpasswd -B` writes it.
        let line = "user:$2y$05$XGQzq2xhfo6dXJfEyQ0sIebLusCuLfm/nZ5Zcdn7ad916JKgBsdBm\n";
        std::fs::write(scratch.path().join("htpasswd"), line).unwrap();
        config += &format!(
            "auth: {{htpasswd: {{realm: berth, path: {}}}}}\n",
            scratch.path().join("htpasswd").display()
        );
    }
    if matches!(guard, Guard::Tls | Guard::Mutual) {
        config = config
            .replace(&format!("{free}}}"), &format!("{free}, tls: {}}}", certificate(&scratch)));
    }
    if guard == Guard::Mutual {
        let authority = scratch.path().join("ca.crt");
        config =
            config.replace("tls: {", &format!("tls: {{clientcas: [{}], ", authority.display()));
        config += "middleware: {storage: [{name: redirect, options: {baseurl: 'http://127.0.0.1:1/'}}]}\n";
    }
    let file = scratch.path().join("config.yml");
    std::fs::write(&file, config).unwrap();
    let process = Command::new("docker-registry")
        .arg("serve")
        .arg(&file)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let registry = Registry { process, address: free.to_string(), scratch };
    for _ in 0..400 {
        if std::net::TcpStream::connect(free).is_ok() {
            return Some(registry);
        }
        std::thread::sleep(Duration::from_millis(25));
    }
    panic!("docker-registry did not listen within ten seconds");
}

fn certificate(scratch: &Scratch) -> String {
    let [key, certificate] = ["key.pem", "certificate.pem"].map(|name| scratch.path().join(name));
    let extensions = "subjectAltName=IP:127.0.0.1\nbasicConstraints=CA:FALSE\n";
    std::fs::write(scratch.path().join("extensions"), extensions).unwrap();
    for line in [
        "req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=own -keyout ca.key -out ca.crt",
        "req -newkey rsa:2048 -nodes -subj /CN=berth -keyout key.pem -out request",
        "x509 -req -in request -CA ca.crt -CAkey ca.key -CAcreateserial -days 30 \
         -extfile extensions -out certificate.pem",
    ] {
        let mut openssl = Command::new("openssl");
        let openssl = openssl.args(line.split_whitespace()).current_dir(scratch.path());
        let done = openssl.output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }
    format!("{{certificate: {}, key: {}}}", certificate.display(), key.display())
}

impl Registry {
    fn skopeo(&self, arguments: &[&str]) {
        let done =
            Command::new("skopeo").arg("--insecure-policy").args(arguments).output().unwrap();
        assert!(
            done.status.success(),
            "skopeo {arguments:?}: {}",
            String::from_utf8_lossy(&done.stderr)
        );
    }

    /// The digest that skopeo finds under a name.
    fn inspect(&self, name: &str) -> String {
        let name = format!("docker://{name}");
        let done = Command::new("skopeo")
            .args(["inspect", "--tls-verify=false", "--format", "{{.Digest}}", &name])
            .output()
            .unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).unwrap().trim().to_owned()
    }

    fn path(&self, name: &str) -> String {
        self.scratch.path().join(name).to_string_lossy().into_owned()
    }
}

fn an_archive(registry: &Registry) -> String {
    let base =
        Archive::default().dir("etc/", 0o755).file("etc/name", "base").file("gone", "x").end();
    let top = Archive::default().file(".wh.gone", "").file("etc/name", "top").end();
    let path = registry.path("image.tar");
    std::fs::write(&path, docker_archive(&["a/b:1"], &[base, top])).unwrap();
    path
}

async fn pull(registry: &Registry, store: &Store, name: &str) -> Result<ImageEntry, StoreError> {
    let options = PullOptions {
        docker_config: Some(registry.scratch.path().to_owned()),
        ..PullOptions::default()
    };
    store.pull(&format!("{}/{name}", registry.address), &options, Arc::new(|_| {})).await
}

fn is_right(store: &Store, id: &str) {
    let layers = store.layers(id).unwrap();
    assert_eq!(std::fs::read_to_string(layers[0].join("etc/name")).unwrap(), "top");
    assert_eq!(std::fs::read_to_string(layers[1].join("etc/name")).unwrap(), "base");
    assert!(layers[0].join("gone").symlink_metadata().is_ok());
}

#[tokio::test]
async fn what_skopeo_pushes_is_pulled_in_every_form() {
    let Some(registry) = registry(Guard::None) else { return };
    let archive = format!("docker-archive:{}", an_archive(&registry));
    let store = Store::open(registry.path("images"));
    let mut ids = std::collections::BTreeSet::new();
    for (tag, options) in [
        ("docker", &["--format", "v2s2"][..]),
        ("oci", &["--format", "oci"]),
        ("zstd", &["--format", "oci", "--dest-compress-format", "zstd"]),
    ] {
        let target = format!("docker://{}/a/b:{tag}", registry.address);
        let mut arguments = vec!["copy", "--dest-tls-verify=false"];
        arguments.extend(options);
        arguments.extend([archive.as_str(), &target]);
        registry.skopeo(&arguments);
        let entry = pull(&registry, &store, &format!("a/b:{tag}")).await.unwrap();
        is_right(&store, &entry.id);
        ids.insert(entry.id);
    }
    assert!(!ids.is_empty() && store.list().unwrap().len() == 3);
    let unknown = pull(&registry, &store, "a/b:none").await.unwrap_err().to_string();
    assert!(unknown.contains("answered 404") && unknown.contains("manifest unknown"), "{unknown}");
}

#[tokio::test]
async fn what_is_pushed_is_what_skopeo_and_another_store_find() {
    let Some(registry) = registry(Guard::None) else { return };
    // A layer of several pieces, in each of the forms that a store may have it in.
    let noise = super::scripted::noise(3, 9 << 20);
    let large = Archive::default().member("large", b'0', "", 0o644, &noise).end();
    let path = registry.path("large.tar");
    std::fs::write(&path, docker_archive(&["a/b:1"], &[large])).unwrap();
    let options = PushOptions {
        docker_config: Some(registry.scratch.path().to_owned()),
        ..PushOptions::default()
    };
    for (form, compression) in [("docker-archive", "none"), ("oci", "gzip"), ("oci", "zstd")] {
        let store = Store::open(registry.path(&format!("from-{compression}")));
        let name = format!("{}/team/{compression}:1", registry.address);
        let image = match form {
            "oci" => {
                let layout = registry.path(compression);
                let source = format!("docker-archive:{path}");
                let to = format!("oci:{layout}");
                registry.skopeo(&["copy", "--dest-compress-format", compression, &source, &to]);
                layout
            }
            _ => path.clone(),
        };
        let loaded = store.load(image.as_ref()).unwrap();
        store.tag(&loaded[0].id, &name).unwrap();
        let pushed = store.push(&name, &options, Arc::new(|_| {})).await.unwrap();
        let digest = registry.inspect(&name);
        assert_eq!(pushed.digest, digest, "{compression}");
        let other = Store::open(registry.path(&format!("to-{compression}")));
        let pulled = pull(&registry, &other, &format!("team/{compression}:1")).await.unwrap();
        assert_eq!(pulled.id, loaded[0].id);
        let layer = other.layers(&pulled.id).unwrap().remove(0);
        assert!(std::fs::read(layer.join("large")).unwrap() == noise);
        // Again, and under another name: the registry has all of it.
        let again = format!("{}/team/again:1", registry.address);
        store.tag(&name, &again).unwrap();
        let events = Arc::new(std::sync::Mutex::new(Vec::new()));
        let seen = Arc::clone(&events);
        let progress: LayerProgress = Arc::new(move |event| seen.lock().unwrap().push(event.phase));
        assert_eq!(store.push(&again, &options, progress).await.unwrap().digest, digest);
        assert_eq!(*events.lock().unwrap(), [LayerPhase::Waiting, LayerPhase::Mounted]);
    }
}

#[tokio::test]
async fn layouts_and_archives_of_skopeo_are_loaded() {
    let Some(registry) = registry(Guard::None) else { return };
    let archive = format!("docker-archive:{}", an_archive(&registry));
    let targets = [
        (format!("oci:{}:shop/web:1", registry.path("layout")), "layout"),
        (format!("oci-archive:{}:shop/web:1", registry.path("oci.tar")), "oci.tar"),
        (format!("docker-archive:{}:shop/web:1", registry.path("docker.tar")), "docker.tar"),
    ];
    for (target, path) in targets {
        registry.skopeo(&["copy", &archive, &target]);
        let store = Store::open(registry.path(&format!("images-{path}")));
        let path = registry.scratch.path().join(path);
        let loaded = store.load(&path).unwrap();
        assert_eq!(loaded[0].references, ["shop/web:1"]);
        is_right(&store, &loaded[0].id);
        if path.is_file() {
            let bytes = gzip(&std::fs::read(&path).unwrap());
            assert_eq!(store.load_stream(bytes.as_slice()).unwrap(), loaded);
        }
    }
}

#[tokio::test]
async fn a_registry_with_a_password_is_told_it() {
    let Some(registry) = registry(Guard::Password) else { return };
    let store = Store::open(registry.path("images"));
    let refused = pull(&registry, &store, "a/b").await.unwrap_err().to_string();
    assert!(refused.contains("answered 401"), "{refused}");
    let auths = serde_json::json!({"auths": {&registry.address: {"username": "user", "password": "secret"}}});
    std::fs::write(registry.path("config.json"), auths.to_string()).unwrap();
    let accepted = pull(&registry, &store, "a/b").await.unwrap_err().to_string();
    assert!(accepted.contains("answered 404"), "{accepted}");
}

#[tokio::test]
async fn a_certificate_that_nobody_knows_is_named_and_not_gone_around() {
    let Some(registry) = registry(Guard::Tls) else { return };
    let store = Store::open(registry.path("images"));
    let error = pull(&registry, &store, "a/b").await.unwrap_err().to_string();
    assert!(error.contains("cannot reach registry") && error.contains("certificate"), "{error}");
    // Unless this host trusts it for this registry.
    let folder = registry.scratch.path().join("certs.d").join(&registry.address);
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::copy(registry.path("ca.crt"), folder.join("own.crt")).unwrap();
    let certificates = vec![registry.scratch.path().join("certs.d")];
    let settings = Settings { certificates, ..Settings::default() };
    let options = PullOptions { settings: Some(settings), ..PullOptions::default() };
    let name = format!("{}/a/b", registry.address);
    let error = store.pull(&name, &options, Arc::new(|_| {})).await.unwrap_err().to_string();
    assert!(error.contains("answered 404"), "{error}");
}

#[tokio::test]
async fn a_registry_that_wants_a_certificate_gets_the_one_that_is_kept_for_it() {
    let Some(registry) = registry(Guard::Mutual) else { return };
    let store = Store::open(registry.scratch.path().join("store"));
    let folder = registry.scratch.path().join("certs.d").join(&registry.address);
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::copy(registry.path("ca.crt"), folder.join("ca.crt")).unwrap();
    let certificates = vec![registry.scratch.path().join("certs.d")];
    let settings = Settings { certificates, ..Settings::default() };
    let retry = Retry { attempts: 1, ..Retry::default() };
    let options = PullOptions { settings: Some(settings), retry, ..PullOptions::default() };
    let name = format!("{}/a/b", registry.address);
    let pull =
        async || store.pull(&name, &options, Arc::new(|_| {})).await.unwrap_err().to_string();

    let stranger = pull().await;
    assert!(stranger.contains("cannot reach registry"), "{stranger}");
    std::fs::copy(registry.path("key.pem"), folder.join("client.key")).unwrap();
    let half = pull().await;
    assert!(half.contains("client.key`: there is no `.cert` beside it"), "{half}");
    std::fs::write(folder.join("client.cert"), "no certificate").unwrap();
    let wrong = pull().await;
    assert!(wrong.contains("are no certificate and key"), "{wrong}");
    std::fs::copy(registry.path("certificate.pem"), folder.join("client.cert")).unwrap();
    let known = pull().await;
    assert!(known.contains("answered 404"), "{known}");

    // What it sends on to plain HTTP is not asked for there.
    let archive = registry.path("image.tar");
    let layer = Archive::default().file("file", "text").end();
    std::fs::write(&archive, docker_archive(&[], &[layer])).unwrap();
    let to = format!("docker://{name}:latest");
    let from = format!("docker-archive:{archive}");
    let folder = folder.display().to_string();
    registry.skopeo(&["copy", "-q", "--dest-cert-dir", &folder, &from, &to]);
    let astray = pull().await;
    assert!(astray.contains("from HTTPS to plain HTTP, to `http://127.0.0.1:1/"), "{astray}");
}
