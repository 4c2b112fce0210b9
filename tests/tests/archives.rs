//! Images leave as archives that other tools read, and come back from archives they write.

use berth_tests::{TestHost, images};

const STACK: &str = "services: { web: { image: 'IMAGE', command: [sleep, '100000'] } }";

/// Whether these programs are installed; says so when one is not.
fn have(programs: &[&str]) -> bool {
    let missing = programs.iter().find(|program| !images::on_path(program));
    if let Some(program) = missing {
        berth_tests::skipped(&format!("{program} is not installed"));
    }
    missing.is_none()
}

/// A machine with `busybox:1`, and `busybox:2` of the same image.
fn with_busybox() -> TestHost {
    let host = TestHost::bare();
    host.load(&images::busybox());
    let archive = images::busybox();
    host.shell(&format!(
        "mkdir a && tar -C a -xf {} && sed -i s/busybox:1/busybox:2/ a/manifest.json &&
         tar -C a -c . | $berth load && rm -r a",
        archive.display()
    ))
    .succeeds();
    host
}

/// Runs a line with skopeo in it, which leaves a cache behind that is not ours.
#[track_caller]
fn skopeo(host: &TestHost, words: &str) -> String {
    let line =
        format!("skopeo --insecure-policy {words}; s=$?; rm -rf /var/lib/containers; exit $s");
    host.shell(&line).succeeds().stdout
}

/// The id of an image by one of its names.
#[track_caller]
fn id(host: &TestHost, name: &str) -> String {
    let told = host.berth(&format!("image inspect {name}")).succeeds().json();
    told[0]["Id"].as_str().expect("an id").to_owned()
}

#[test]
fn a_saved_image_is_the_same_on_another_machine() {
    let host = with_busybox();
    host.shell("$berth save busybox:1 >one.tar; $berth image save -o two.tar busybox:1").succeeds();
    host.shell("cmp one.tar two.tar").succeeds();
    host.shell("cat one.tar >pipe.tar; ls -A | sort | tr '\\n' ' '")
        .succeeds()
        .stdout_is("one.tar pipe.tar two.tar");
    let before = id(&host, "busybox:1");
    for load in ["image load one.tar", "load -i one.tar"] {
        host.shell("$berth image rm busybox:1; $berth image rm busybox:2; $berth image ls -q")
            .succeeds();
        host.berth(load).succeeds().stdout_has("busybox:1");
        assert_eq!(id(&host, "busybox:1"), before);
    }
    host.shell("gzip -c one.tar | $berth load").succeeds().stdout_has("busybox:1");
    host.write("compose.yaml", &STACK.replace("IMAGE", "busybox:1"));
    host.berth("up -d --pull never").succeeds();
    host.berth("exec -T web cat /data/seed").succeeds().stdout_is("from the image");
}

#[test]
fn an_image_that_is_not_here_leaves_no_archive() {
    let host = with_busybox();
    host.berth("image save -o out.tar busybox:1 nothing:1 gone:2")
        .fails_with(1)
        .stderr_has("nothing:1")
        .stderr_has("gone:2");
    host.shell("ls -A").succeeds().stdout_is("");
}

#[test]
fn other_tools_read_what_is_saved() {
    if !have(&["skopeo", "umoci"]) {
        return;
    }
    let host = with_busybox();
    let id = id(&host, "busybox:1");
    host.berth("save -o saved.tar busybox:1").succeeds();
    for form in ["docker-archive:saved.tar", "oci-archive:saved.tar"] {
        let config = skopeo(&host, &format!("inspect --raw --config {form} | sha256sum"));
        assert!(config.starts_with(&id["sha256:".len()..]), "{form} {config}");
    }
    skopeo(&host, "copy -q docker-archive:saved.tar:busybox:1 oci:from-docker:1");
    skopeo(&host, "copy -q oci-archive:saved.tar oci:from-oci:1");
    for layout in ["from-docker", "from-oci"] {
        host.shell(&format!("umoci unpack --image {layout}:1 {layout}-bundle")).succeeds();
        host.shell(&format!("cat {layout}-bundle/rootfs/data/seed"))
            .succeeds()
            .stdout_is("from the image");
        host.shell(&format!("stat -c '%u %a' {layout}-bundle/rootfs/data/sub/seed"))
            .succeeds()
            .stdout_is("1000 640");
    }
}

#[test]
fn several_images_are_one_archive_by_each_of_their_names() {
    if !have(&["skopeo"]) {
        return;
    }
    let host = with_busybox();
    host.berth("save -o saved.tar busybox").succeeds();
    for name in ["busybox:1", "busybox:2"] {
        skopeo(&host, &format!("inspect docker-archive:saved.tar:{name}"));
    }
    skopeo(&host, "inspect oci-archive:saved.tar:2");
    host.shell("tar -tf saved.tar | sort | uniq -d").succeeds().stdout_is("");
}

#[test]
fn what_skopeo_writes_is_loaded_in_every_form() {
    if !have(&["skopeo"]) {
        return;
    }
    let host = TestHost::bare();
    let from = format!("docker-archive:{}", images::busybox().display());
    for (options, to, load) in [
        ("--dest-compress-format gzip", "oci:gzip:app:1", "gzip"),
        ("--dest-compress-format zstd", "oci:zstd:app:2", "zstd"),
        ("--dest-compress-format zstd", "oci-archive:zstd.tar:app:3", "zstd.tar"),
        ("", "oci-archive:gzip.tar:app:4", "gzip.tar"),
        ("", "docker-archive:docker.tar:app:5", "docker.tar"),
    ] {
        skopeo(&host, &format!("copy -q {options} {from} {to}"));
        let name = &to[to.find("app").expect("a name")..];
        host.berth(&format!("load -i {load}")).succeeds().stdout_has(name);
        host.write("compose.yaml", &STACK.replace("IMAGE", name));
        host.berth("up -d --pull never").succeeds();
        host.berth("exec -T web cat /data/seed").succeeds().stdout_is("from the image");
        host.berth("down").succeeds();
    }
}

#[test]
fn what_umoci_writes_is_loaded() {
    if !have(&["umoci"]) {
        return;
    }
    let host = TestHost::bare();
    let busybox = "$(command -v busybox)";
    host.shell(&format!(
        "umoci init --layout made && umoci new --image made:1 && umoci unpack --image made:1 b &&
         mkdir b/rootfs/bin && cp {busybox} b/rootfs/bin/busybox && ln -s busybox b/rootfs/bin/cat &&
         ln -s busybox b/rootfs/bin/sleep && echo first >b/rootfs/gone && umoci repack --image made:1 b &&
         rm b/rootfs/gone && echo second >b/rootfs/kept && umoci repack --image made:1 b &&
         umoci config --image made:1 --config.env A=b"
    ))
    .succeeds();
    host.berth("load -i made").succeeds().stdout_has("made:1");
    host.write("compose.yaml", &STACK.replace("IMAGE", "made:1"));
    host.berth("up -d --pull never").succeeds();
    host.berth("exec -T web cat /kept").succeeds().stdout_is("second");
    let gone = host.berth("exec -T web cat /gone");
    assert_ne!(gone.code, 0, "{gone}");
}

/// Everything there is to see of the files below a folder, but for the folder itself.
#[track_caller]
fn tree(host: &TestHost, folder: &str) -> String {
    let line = format!(
        "cd {folder} && find . -mindepth 1 -printf '%p %M %U:%G %n %T@ %l\\n' | sort &&
         find . -type f -exec sha256sum {{}} + | sort && {{ getfattr -R -d -m user . 2>/dev/null; true; }}"
    );
    host.shell(&line).succeeds().stdout
}

#[test]
fn a_tree_of_many_layers_is_the_same_for_umoci_before_and_after() {
    if !have(&["skopeo", "umoci"]) {
        return;
    }
    let host = TestHost::bare();
    host.shell(
        "umoci init --layout made && umoci new --image made:1 && umoci unpack --image made:1 b && cd b/rootfs &&
         mkdir -p bin d/e gone/with/all opq && cp $(command -v busybox) bin/busybox && ln -s busybox bin/tar &&
         echo 1 >d/a && ln d/a d/b && ln -s ../../../etc/passwd d/l && mkfifo d/p && chmod 6755 d/a &&
         chown 7000:30000 d/e && chmod 1777 d/e && touch -d '2001-02-03 04:05:06.5' d/a d/e &&
         echo x >opq/below && echo y >gone/with/all/z && truncate -s 1M d/sparse && echo n >'d/two words' &&
         touch -h -d 2002-02-02 d/l && cd ../.. && umoci repack --image made:1 b && cd b/rootfs &&
         rm -r gone opq/below d/b && mkdir gone && echo new >gone/new && rm d/l && mkdir d/l && touch d/l/now &&
         chmod 600 d/a && cd ../.. && umoci repack --image made:1 b"
    )
    .succeeds();
    host.shell("umoci unpack --image made:1 before").succeeds();
    let before = tree(&host, "before/rootfs");
    assert!(before.contains("d/l/now") && !before.contains("opq/below"), "{before}");
    skopeo(&host, "copy -q --dest-compress-format zstd oci:made:1 oci-archive:zstd.tar:made:zstd");
    skopeo(&host, "copy -q oci:made:1 docker-archive:docker.tar:made:docker");
    for (load, name) in
        [("made", "made:1"), ("zstd.tar", "made:zstd"), ("docker.tar", "made:docker")]
    {
        host.berth(&format!("load -i {load}")).succeeds().stdout_has(name);
        host.berth(&format!("save -o saved.tar {name}")).succeeds();
        for form in ["oci-archive:saved.tar", &format!("docker-archive:saved.tar:{name}")] {
            skopeo(&host, &format!("copy -q {form} oci:again:1"));
            host.shell("umoci unpack --image again:1 after").succeeds();
            assert_eq!(tree(&host, "after/rootfs"), before, "{load} by {form}");
            host.shell("rm -r after again").succeeds();
        }
        host.shell("rm saved.tar").succeeds();
        // What a container of it sees is the same, too.
        let stack =
            "services: { web: { image: 'IMAGE', command: [/bin/busybox, sleep, '100000'] } }";
        host.write("compose.yaml", &stack.replace("IMAGE", name));
        host.berth("up -d --pull never").succeeds();
        host.shell("$berth exec -T web tar -c -C / bin d gone opq >seen.tar").succeeds();
        host.shell("mkdir seen && tar -C seen --numeric-owner -xpf seen.tar").succeeds();
        let files = |folder: &str| {
            let line = format!(
                "cd {folder} && find . -mindepth 1 ! -name sparse -printf '%p %M %U:%G %n %l\\n' | sort"
            );
            host.shell(&line).succeeds().stdout
        };
        assert_eq!(files("seen"), files("before/rootfs"), "{load}");
        host.berth("down").succeeds();
        host.shell("rm -r seen seen.tar").succeeds();
    }
}

#[test]
fn the_steps_of_an_image_are_listed() {
    let host = with_busybox();
    host.berth("image history busybox:1").succeeds().stdout_has("tests/images/busybox");
    let step = host.berth("image history --format json busybox:1").succeeds().json();
    assert_eq!(step["CreatedAt"], "1970-01-01T00:00:00Z");
    let whole = host.berth("image history -q --no-trunc busybox:1").succeeds().stdout;
    assert_eq!(whole.trim(), id(&host, "busybox:1"));
}
