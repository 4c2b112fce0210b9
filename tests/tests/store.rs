//! `doctor --check-store`: what is broken in the image store is named, and can be mended.

use std::path::PathBuf;

use berth_tests::TestHost;
use berth_tests::registry::{self, ADDRESS, OPEN, Registry};

const IMAGE: &str = "127.0.0.1:5000/team/noise:1";

/// An image of two layers, pulled.
fn with_store(test: impl FnOnce(&TestHost, &registry::Image)) {
    if !registry::is_here() {
        return;
    }
    let host = TestHost::bare();
    let registry = Registry::start(&host, OPEN);
    assert!(IMAGE.starts_with(ADDRESS));
    let image = registry.push_noise("team/noise:1", &[1, 2], 200_000);
    host.berth(&format!("image pull {IMAGE}")).succeeds();
    test(&host, &image);
    registry.end();
}

/// A blob as a path of the machine.
fn blob(digest: &str) -> String {
    format!("/var/lib/berth/images/blobs/sha256/{}", digest.trim_start_matches("sha256:"))
}

/// The only file of that name below the store.
fn find(host: &TestHost, name: &str) -> PathBuf {
    host.shell(&format!("find /var/lib/berth/images/layers -name {name}")).stdout.trim().into()
}

#[test]
fn a_whole_store_passes_and_each_broken_object_is_named_with_the_next_move() {
    with_store(|host, image| {
        let check = || host.berth("doctor --check-store");
        check().succeeds().stdout_has("2 names, 1 images, 2 layers, 4 blobs: all whole");
        let pull = format!("berth image pull {IMAGE}");
        let noise = find(host, "noise-0");
        let damages = [
            (
                format!("printf x | dd of={} bs=1 seek=5000 conv=notrunc", blob(&image.layers[0])),
                "its bytes have digest",
            ),
            (format!("truncate -s 99 {}", blob(&image.layers[1])), "it has 99 bytes"),
            (format!("rm {}", blob(&image.config)), "it is missing"),
            (
                format!("printf x | dd of={} bs=1 seek=7 conv=notrunc", noise.display()),
                "`noise-0` has",
            ),
            (format!("rm {}", noise.display()), "`noise-0` is missing"),
            (
                format!("touch {}", noise.with_file_name("stray").display()),
                "`stray` is not from its archive",
            ),
            (
                format!("rm -r {}", noise.parent().unwrap().parent().unwrap().display()),
                "it is missing",
            ),
            (
                "truncate -s 30 /var/lib/berth/images/images/*".to_owned(),
                "its record cannot be read",
            ),
        ];
        for (damage, told) in damages {
            host.shell(&damage).succeeds();
            let broken = check().fails_with(1).stdout_has(told);
            assert!(broken.stdout.contains(&pull), "no next move after {damage}: {broken}");
            let mended = host.berth("doctor --check-store --repair").succeeds();
            let lost = damage.starts_with("rm ") && told == "it is missing";
            assert!(lost || mended.stdout.contains("removed; "), "{mended}");
            host.berth(&format!("image pull {IMAGE}")).succeeds();
            check().succeeds();
        }
        host.shell("touch /var/lib/berth/images/layers/mine").succeeds();
        check().fails_with(1).stdout_has("layers/mine: it is not the store's");
        host.berth("doctor --check-store --repair").fails_with(1).stdout_has("move it away");
        host.shell("rm /var/lib/berth/images/layers/mine").succeeds();
    });
}

#[test]
fn the_answer_is_there_for_programs_too_and_words_that_make_no_sense_are_refused() {
    with_store(|host, image| {
        host.shell(&format!("rm {}", blob(&image.layers[0]))).succeeds();
        let told = host.berth("doctor --check-store --format json").fails_with(1).json();
        let broken = &told["store"]["broken"][0];
        assert_eq!(broken["kind"], "blob");
        assert_eq!(broken["object"], image.layers[0].as_str());
        assert_eq!(broken["pulled"][0], IMAGE);
        assert_eq!(told["findings"][0]["verdict"], "fail");
        host.berth("doctor --repair").fails_with(64).stderr_has("--check-store");
        // A dry run mends nothing.
        host.berth("--dry-run doctor --check-store --repair").fails_with(1);
        host.berth("--root none doctor --check-store").succeeds().stdout_has("all whole");
    });
}

#[test]
fn a_layer_that_a_container_uses_stays() {
    let host = TestHost::with(
        "compose.yaml",
        "services: { web: { image: 'busybox:1', command: [sleep, '1000'] } }",
    );
    host.berth("up -d").succeeds();
    let seed = find(&host, "seed | grep data/seed");
    host.shell(&format!("echo other >{}", seed.display())).succeeds();
    let told = host.berth("doctor --check-store --repair").fails_with(1);
    told.stdout_has("`data/seed` has").stdout_has("a container was made from image");
    host.berth("exec -T web cat /data/seed").succeeds().stdout_is("other");
    host.berth("down").succeeds();
    host.berth("doctor --check-store --repair")
        .succeeds()
        .stdout_has("load or make busybox:1 again");
    host.berth("image ls -q").succeeds().stdout_is("");
}
