//! Images come from archives and registries, are checked, listed and removed.

use berth_tests::registry::{self, OPEN, Registry};
use berth_tests::{TestHost, images};

const STACK: &str = "services: { web: { image: 'IMAGE', command: [sleep, '100000'] } }";

#[test]
fn an_archive_is_loaded_listed_used_and_removed() {
    let host = TestHost::bare();
    let archive = images::busybox();
    let load = format!("image load -i {}", archive.display());
    host.berth(&format!("--dry-run {load}")).succeeds().stdout_is("").stderr_has("would load ");
    host.berth("--dry-run image pull busybox:1").succeeds().stderr_has("would pull busybox:1");
    host.berth("--dry-run image import a.tar").fails_with(1).stderr_has("open `a.tar`");
    let import = format!("--dry-run image import {} flat:1", archive.display());
    host.berth(&import).succeeds().stdout_is("").stderr_has(" as flat:1");
    host.berth("image ls -q").succeeds().stdout_is("");
    host.load(&archive).stdout_has("busybox:1");
    let save = host.berth("--dry-run image save -o out.tar busybox:1").succeeds();
    save.stderr_has("would save busybox:1 to out.tar");
    host.shell("test ! -e out.tar").succeeds();
    host.berth("image ls").succeeds().stdout_has("busybox");
    host.write("compose.yaml", &STACK.replace("IMAGE", "busybox:1"));
    host.berth("up -d").succeeds();
    host.berth("images").succeeds().stdout_has("busybox");
    host.berth("exec -T web cat /data/seed").succeeds().stdout_is("from the image");
    host.berth("down").succeeds();
    host.berth("image rm busybox:1").succeeds();
    host.berth("image ls").succeeds().stdout_lacks("busybox");
    let up = host.berth("up -d --pull never");
    assert_ne!(up.code, 0);
    up.stderr_has("busybox:1");
}

#[test]
fn loading_the_same_archive_again_changes_nothing() {
    let host = TestHost::bare();
    host.load(&images::busybox());
    let count = || host.shell("find /var/lib/berth/images | wc -l").stdout;
    let before = count();
    host.load(&images::busybox());
    assert_eq!(count(), before);
}

#[test]
fn a_damaged_archive_is_refused_and_leaves_nothing() {
    let host = TestHost::bare();
    let archive = images::busybox();
    host.shell(&format!(
        "head -c 1000000 {} >cut.tar; $berth image load cut.tar",
        archive.display()
    ))
    .fails_with(1);
    host.berth("image ls").succeeds().stdout_lacks("busybox");
    host.load(&archive);
}

#[test]
fn an_oci_layout_is_loaded_too() {
    let host = TestHost::bare();
    if !images::on_path("skopeo") {
        return berth_tests::skipped("skopeo is not installed");
    }
    let archive = images::busybox();
    skopeo(&host, &format!("copy -q docker-archive:{} oci:layout:busybox:1", archive.display()));
    host.berth("image load layout").succeeds();
    host.write("compose.yaml", &STACK.replace("IMAGE", "busybox:1"));
    host.berth("up -d").succeeds();
    host.berth("exec -T web cat /data/seed").succeeds().stdout_is("from the image");
}

/// Runs skopeo, which leaves a cache behind that is not ours.
#[track_caller]
fn skopeo(host: &TestHost, words: &str) -> String {
    let ran = host.shell(&format!(
        "skopeo --insecure-policy {words}; s=$?; rm -rf /var/lib/containers; exit $s"
    ));
    ran.succeeds().stdout
}

/// A registry on the machine's loopback with `busybox:1` in it, as `127.0.0.1:5000/busybox:1`.
fn with_registry(test: impl FnOnce(&TestHost)) {
    if !registry::is_here() {
        return;
    }
    let host = TestHost::bare();
    let registry = Registry::start(&host, OPEN);
    let archive = images::busybox();
    let to = "--dest-tls-verify=false docker://127.0.0.1:5000/busybox:1";
    skopeo(&host, &format!("copy -q docker-archive:{} {to}", archive.display()));
    test(&host);
    host.berth("-p stack down -v -y").succeeds();
    registry.end();
}

#[test]
fn up_pulls_what_is_missing_from_a_registry() {
    with_registry(|host| {
        host.write("compose.yaml", &STACK.replace("IMAGE", "127.0.0.1:5000/busybox:1"));
        host.berth("up -d").succeeds();
        host.berth("exec -T web cat /data/seed").succeeds().stdout_is("from the image");
        host.berth("image ls").succeeds().stdout_has("127.0.0.1:5000/busybox");
    });
}

#[test]
fn an_image_for_another_machine_is_pulled_when_it_is_asked_for_and_each_failure_is_told() {
    with_registry(|host| {
        let name = "127.0.0.1:5000/busybox:1";
        let missing = "127.0.0.1:5000/a:1 127.0.0.1:5000/b:1";
        let told = host.berth(&format!("image pull -q {missing} {name}")).fails_with(3);
        told.stderr_has("127.0.0.1:5000/a:1").stderr_has("127.0.0.1:5000/b:1").stdout_has(name);
        host.berth(&format!("image pull --platform linux/s390x {name}"))
            .fails_with(1)
            .stderr_has("linux/s390x");
        host.berth(&format!("image pull --platform s309x {name}"))
            .fails_with(64)
            .stderr_has("write it like `linux/amd64`");
    });
}

#[test]
fn an_image_is_pulled_by_name_and_by_digest() {
    with_registry(|host| {
        host.berth("image pull 127.0.0.1:5000/busybox:1").succeeds();
        let from = "--tls-verify=false docker://127.0.0.1:5000/busybox:1";
        let digest = skopeo(host, &format!("inspect --format '{{{{.Digest}}}}' {from}"));
        host.berth(&format!("image pull 127.0.0.1:5000/busybox@{}", digest.trim())).succeeds();
        host.write(
            "compose.yaml",
            &STACK.replace("IMAGE", &format!("127.0.0.1:5000/busybox@{}", digest.trim())),
        );
        host.berth("up -d --pull never").succeeds();
    });
}

#[test]
fn what_the_registry_does_not_have_is_named_and_nothing_starts() {
    with_registry(|host| {
        host.write("compose.yaml", &STACK.replace("IMAGE", "127.0.0.1:5000/nothing:1"));
        let up = host.berth("up -d");
        assert_ne!(up.code, 0);
        up.stderr_has("127.0.0.1:5000/nothing:1");
    });
}

#[test]
fn config_pins_every_image_to_its_digest() {
    with_registry(|host| {
        let stack = STACK.replace("IMAGE", "127.0.0.1:5000/busybox:1");
        host.write(
            "compose.yaml",
            &stack
                .replace("{ web:", "{ own: { image: localhost/host, command: [sleep, '9'] }, web:"),
        );
        let from = "--tls-verify=false docker://127.0.0.1:5000/busybox:1";
        let digest = skopeo(host, &format!("inspect --format '{{{{.Digest}}}}' {from}"));
        let pinned = format!("127.0.0.1:5000/busybox:1@{}", digest.trim());
        let quoted = format!("    image: \"{pinned}\"\n");
        host.berth("config --resolve-image-digests")
            .succeeds()
            .stdout_has(&quoted)
            .stdout_has("    image: localhost/host\n")
            .stdout_has("command:");
        let lock = format!("services:\n  own:\n    image: localhost/host\n  web:\n{quoted}");
        host.berth("config --lock-image-digests").succeeds().stdout_is(&lock);
        // With the lock over the file, the image is the pinned one and stays what it is.
        host.berth("config --lock-image-digests -o lock.yaml").succeeds();
        host.berth("-f compose.yaml -f lock.yaml up -d").succeeds();
        host.berth("-f compose.yaml -f lock.yaml plan --detailed-exitcode web").succeeds();
        host.berth("-f compose.yaml -f lock.yaml config --images").succeeds().stdout_has(&pinned);
    });
}

#[test]
fn an_image_that_cannot_be_pinned_is_named_with_its_service() {
    with_registry(|host| {
        host.write("compose.yaml", &STACK.replace("IMAGE", "127.0.0.1:5000/nothing:1"));
        for flag in ["--resolve-image-digests", "--lock-image-digests"] {
            host.berth(&format!("config {flag}"))
                .fails_with(1)
                .stdout_is("")
                .stderr_has("image of service `web`")
                .stderr_has("127.0.0.1:5000/nothing:1");
        }
    });
}

#[test]
fn a_blob_that_is_not_what_its_digest_says_is_refused() {
    with_registry(|host| {
        let damage = "for blob in $(find registry -path '*/blobs/sha256/*' -name data -size +100k); do \
                      printf X | dd of=$blob bs=1 seek=5000 conv=notrunc 2>/dev/null; done";
        host.shell(damage).succeeds();
        let pull = host.berth("image pull 127.0.0.1:5000/busybox:1");
        assert_ne!(pull.code, 0, "{pull}");
        host.berth("image ls").succeeds().stdout_lacks("busybox");
    });
}
