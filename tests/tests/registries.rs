//! Images are pushed to registries, which may want to know who asks.

use berth_tests::registry::{self, GUARDED, OPEN, Registry};
use berth_tests::{TestHost, images};

/// An empty registry on the machine's loopback, `127.0.0.1:5000`, and busybox in the store.
fn with_registry(auth: &str, test: impl FnOnce(&TestHost)) {
    if !registry::is_here() {
        return;
    }
    let host = TestHost::bare();
    let registry = Registry::start(&host, auth);
    host.load(&images::busybox());
    test(&host);
    registry.end();
}

/// Runs berth with a folder of its own for Docker's `config.json`.
fn berth(host: &TestHost, words: &str) -> berth_tests::Finished {
    host.shell(&format!("HOME=$PWD/home PATH=$PWD/bin:$PATH $berth {words}"))
}

/// The digest that skopeo finds under a name of the registry.
fn digest_of(host: &TestHost, name: &str) -> String {
    let line = format!(
        "skopeo inspect --tls-verify=false --creds user:secret --format '{{{{.Digest}}}}' \
         docker://127.0.0.1:5000/{name}; s=$?; rm -rf /var/lib/containers; exit $s"
    );
    host.shell(&line).succeeds().stdout.trim().to_owned()
}

const SHOP: &str = "
services:
  web: { image: '127.0.0.1:5000/shop/web:1', build: . }
  used: { image: 'busybox:1' }
";

/// `busybox:1` under the name of the shop's own image.
fn tagged(host: &TestHost) {
    let archive = images::busybox();
    let retag = format!(
        "skopeo --insecure-policy copy -q docker-archive:{} \
         docker-archive:web.tar:127.0.0.1:5000/shop/web:1; s=$?; rm -rf /var/lib/containers; exit $s",
        archive.display()
    );
    host.shell(&retag).succeeds();
    host.berth("image load web.tar").succeeds();
}

/// The states of all layers that `push` told a program of.
fn states_of_push(host: &TestHost) -> Vec<String> {
    let push = host.berth("--progress json push web").succeeds();
    assert_eq!(push.stdout, "");
    let event = |line: &str| serde_json::from_str::<serde_json::Value>(line).expect("an event");
    let events = push.stderr.lines().map(event).filter(|event| event["type"] == "layer");
    let told: Vec<String> = events
        .map(|event| {
            assert_eq!(event["image"], "127.0.0.1:5000/shop/web:1");
            event["state"].as_str().expect("a state").to_owned()
        })
        .collect();
    told
}

#[test]
fn a_program_hears_of_each_layer_that_is_pushed() {
    with_registry(OPEN, |host| {
        tagged(host);
        host.write("compose.yaml", SHOP);
        let first = states_of_push(host);
        assert_eq!(first.last().map(String::as_str), Some("complete"), "{first:?}");
        assert!(first.contains(&"uploading".to_owned()), "{first:?}");
        let mut again = states_of_push(host);
        again.dedup();
        assert_eq!(again, ["waiting", "already_exists"]);
        let quiet = host.berth("push -q web").succeeds();
        assert_eq!((quiet.stdout.as_str(), quiet.stderr.as_str()), ("", ""));
    });
}

#[test]
fn what_a_stack_builds_is_pushed_and_comes_back_with_the_same_digest() {
    with_registry(OPEN, |host| {
        tagged(host);
        host.write("compose.yaml", SHOP);
        host.berth("--dry-run push").succeeds().stderr_has("would push 127.0.0.1:5000/shop/web:1");
        host.berth("push").succeeds().stderr_has("used is left out");
        let digest = digest_of(host, "shop/web:1");
        host.berth("image ls --format json").succeeds().stdout_has(&digest);
        host.berth("--root other image pull 127.0.0.1:5000/shop/web:1").succeeds();
        host.berth("--root other image ls --format json").succeeds().stdout_has(&digest);
        host.berth("push -q").succeeds().stdout_is("");
    });
}

#[test]
fn an_image_that_cannot_be_pushed_is_named_and_the_others_go() {
    with_registry(OPEN, |host| {
        tagged(host);
        let stack =
            SHOP.replace("used: {", "gone: { build: ., image: '127.0.0.1:5000/gone' }\n  used: {");
        host.write("compose.yaml", &stack);
        host.berth("push")
            .fails_with(3)
            .stderr_has("`127.0.0.1:5000/gone:latest` is not in the store");
        digest_of(host, "shop/web:1");
        host.berth("push --ignore-push-failures").succeeds().stderr_has("is not in the store");
        host.berth("push gone").fails_with(1);
        host.berth("image push localhost/host").fails_with(1).stderr_has("host's own programs");
    });
}

#[test]
fn a_login_is_checked_kept_used_and_forgotten() {
    with_registry(GUARDED, |host| {
        tagged(host);
        host.berth("image push 127.0.0.1:5000/shop/web:1")
            .fails_with(1)
            .stderr_has("`berth login`");
        let login = "login -u user --password-stdin 127.0.0.1:5000";
        let piped = |password: &str| {
            host.shell(&format!("printf '{password}\\n' | HOME=$PWD/home $berth {login}"))
        };
        piped("wrong").fails_with(1).stderr_has("does not accept this user and password");
        host.shell("test ! -e home").succeeds();
        piped("secret")
            .succeeds()
            .stdout_has("Login Succeeded")
            .stderr_has("home/.docker/config.json");
        host.shell("stat -c %a home/.docker/config.json").succeeds().stdout_is("600\n");
        berth(host, "image push 127.0.0.1:5000/shop/web:1").succeeds();
        let digest = digest_of(host, "shop/web:1");
        let pull = format!("--root other image pull 127.0.0.1:5000/shop/web@{digest}");
        berth(host, &pull).succeeds();
        // Another program reads what we wrote.
        let inspect = "skopeo inspect --tls-verify=false --authfile home/.docker/config.json \
                       docker://127.0.0.1:5000/shop/web:1; s=$?; rm -rf /var/lib/containers; exit $s";
        host.shell(inspect).succeeds().stdout_has(&digest);
        berth(host, "logout 127.0.0.1:5000").succeeds().stdout_has("Removing login credentials");
        berth(host, "logout 127.0.0.1:5000").succeeds().stdout_has("Not logged in");
        berth(host, "image push 127.0.0.1:5000/shop/web:1").fails_with(1);
        host.berth("login 127.0.0.1:5000").fails_with(64).stderr_has("--password-stdin");
    });
}

/// A credential helper that keeps one login in a file.
const HELPER: &str = r#"#!/bin/sh
case $1 in
store) cat >kept ;;
get) cat >/dev/null; [ -e kept ] && cat kept || { echo "credentials not found in native keychain"; exit 1; } ;;
erase) cat >erased; rm kept ;;
esac
"#;

#[test]
fn a_credential_helper_keeps_the_login_if_there_is_one() {
    with_registry(GUARDED, |host| {
        tagged(host);
        host.shell("mkdir -p bin home/.docker").succeeds();
        host.write("bin/docker-credential-shelf", HELPER);
        host.write("home/.docker/config.json", r#"{"credsStore": "shelf", "psFormat": "x"}"#);
        host.shell("chmod +x bin/docker-credential-shelf").succeeds();
        berth(host, "login -u user -p secret 127.0.0.1:5000")
            .succeeds()
            .stderr_has("docker-credential-shelf");
        host.shell("cat kept").stdout_has(r#""ServerURL":"127.0.0.1:5000""#);
        host.shell("cat home/.docker/config.json").stdout_has("psFormat").stdout_lacks("auth\"");
        berth(host, "image push 127.0.0.1:5000/shop/web:1").succeeds();
        berth(host, "logout 127.0.0.1:5000").succeeds();
        host.shell("cat erased").stdout_is("127.0.0.1:5000");
        host.shell("test ! -e kept").succeeds();
        berth(host, "image push 127.0.0.1:5000/shop/web:1").fails_with(1);
    });
}

#[test]
fn a_mirror_and_a_proxy_stand_in_for_a_registry_that_cannot_be_reached() {
    with_registry(OPEN, |host| {
        tagged(host);
        host.berth("image push 127.0.0.1:5000/shop/web:1").succeeds();
        let digest = digest_of(host, "shop/web:1");
        host.write("mirror.json", r#"{"mirrors": {"registry.test": ["http://127.0.0.1:5000"]}}"#);
        let pull = "$berth --root mirrored image pull registry.test/shop/web:1";
        host.shell(&format!("BERTH_REGISTRIES=mirror.json {pull}")).succeeds();
        let found = format!("registry.test/shop/web@{digest}");
        host.berth("--root mirrored image ls --format json").succeeds().stdout_has(&found);
        // What is no proxy for HTTPS leaves plain HTTP, because the registry is listed.
        host.write("plain.json", r#"{"insecure": ["registry.test"]}"#);
        let proxies = "HTTP_PROXY=http://127.0.0.1:5000 HTTPS_PROXY=http://127.0.0.1:5000";
        let pull = pull.replace("mirrored", "proxied");
        host.shell(&format!("{proxies} BERTH_REGISTRIES=plain.json {pull}")).succeeds();
        host.berth("--root proxied image ls --format json").succeeds().stdout_has(&found);
        host.write("wrong.json", r#"{"mirrors": []}"#);
        host.shell(&format!("BERTH_REGISTRIES=wrong.json {pull}"))
            .fails_with(1)
            .stderr_has("settings for registries in `wrong.json`");
    });
}
