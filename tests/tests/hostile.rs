//! Hostile images and archives change nothing outside of the store, whichever way they come.
//!
//! `runtime/src/store/hostile` has every row of the list; these are the main ones from outside: by
//! `load`, by `image import`, and by a pull from a registry.

use berth_tests::evil::member;
use berth_tests::registry::{self, OPEN, Registry};
use berth_tests::{TestHost, images};

/// A tree that nothing may change, and what can be told of it and of the machine around it.
const SENTINEL: &str = "
    mkdir -p sentinel/folder && echo alive >sentinel/canary && chmod 640 sentinel/canary &&
    ln sentinel/canary sentinel/again && ln -s canary sentinel/link && chown 12:34 sentinel/folder";
const LOOK: &str = "
    find sentinel /etc/passwd /etc/shadow -printf '%p %M %U:%G %n %s %T@ %C@ %l\\n' | sort
    sha256sum sentinel/canary /etc/passwd; ls -A";

/// What a layer is refused for; it is taken where that is harmless.
type Outcome = Result<(), &'static str>;

/// Layers by name, each with its members.
fn layers(sentinel: &str) -> Vec<(&'static str, Vec<Vec<u8>>, Outcome)> {
    let file = |name: &str| member(name, b'0', "", 0o6777, b"dead");
    let link = |name: &str, to: &str| member(name, b'2', to, 0o777, b"");
    let up = format!("{}{}", "../".repeat(9), &sentinel[1..]);
    let canary = format!("{sentinel}/canary");
    vec![
        ("up", vec![file("../../../../sentinel/canary")], Err("leads upwards")),
        ("absolute", vec![file(&canary)], Ok(())),
        ("through", vec![link("l", sentinel), file("l/canary"), file("l/new")], Ok(())),
        ("relative", vec![link("l", &up), file("l/canary")], Ok(())),
        ("chain", vec![link("m", sentinel), link("l", "m"), file("l/canary")], Ok(())),
        ("proc", vec![link("l", "/proc/self/root"), file(&format!("l{canary}"))], Ok(())),
        ("folder", vec![link("l", sentinel), member("l", b'5', "", 0o777, b"")], Ok(())),
        ("mode", vec![link("l", &canary), file("l")], Ok(())),
        ("hard", vec![member("h", b'1', &canary, 0o777, b"")], Err("hard link")),
        ("twice", vec![link("l", &canary), member("h", b'1', "l", 0o777, b""), file("h")], Ok(())),
        ("hidden", vec![link("l", sentinel), file("l/.wh.canary"), file("l/.wh..wh..opq")], Ok(())),
        ("nothing", vec![file("a/.wh..")], Err("deletion mark")),
        ("device", vec![member("null", b'3', "", 0o666, b""), file("f")], Ok(())),
        ("size", vec![member("d", b'5', "", 0o755, &file("smuggled"))], Err("has no content")),
    ]
}

/// Makes `NAME.docker.tar`, an image `evil:NAME`, of the layer `NAME.tar`.
const PACK: &str = r#"
    arch=$(uname -m | sed 's/x86_64/amd64/;s/aarch64/arm64/')
    for name in *.tar; do
        name=${name%.tar}; mkdir p; mv $name.tar p/layer.tar
        digest=$(sha256sum p/layer.tar | cut -d' ' -f1)
        printf '{"architecture":"%s","os":"linux","config":{"Cmd":["/x"]},"rootfs":{"type":"layers","diff_ids":["sha256:%s"]}}' $arch $digest >p/config.json
        printf '[{"Config":"config.json","RepoTags":["evil:%s"],"Layers":["layer.tar"]}]' $name >p/manifest.json
        tar -C p -cf $name.docker config.json layer.tar manifest.json; mv p/layer.tar $name.layer; rm -r p
    done"#;

/// A machine with the sentinel, and the archives of all layers.
fn with_layers() -> (TestHost, Vec<(&'static str, Outcome)>) {
    let host = TestHost::bare();
    host.shell(SENTINEL).succeeds();
    let sentinel = host.shell("echo $PWD/sentinel").succeeds().stdout.trim().to_owned();
    let mut names = Vec::new();
    for (name, members, outcome) in layers(&sentinel) {
        let layer = [members.concat(), vec![0; 1024]].concat();
        std::fs::write(host.project(&format!("{name}.tar")), layer).expect("an archive");
        names.push((name, outcome));
    }
    host.shell(PACK).succeeds();
    (host, names)
}

/// Runs `words` for the image and holds what comes of it against what should.
#[track_caller]
fn take(host: &TestHost, words: &str, outcome: Outcome) {
    let before = host.shell(LOOK).stdout;
    let done = host.shell(words);
    assert_eq!(host.shell(LOOK).stdout, before, "{words} has changed something: {done}");
    match outcome {
        Ok(()) => drop(done.succeeds()),
        Err(reason) => drop(done.fails_with(1).stderr_has(reason)),
    }
}

#[test]
fn a_hostile_layer_that_is_loaded_or_imported_stays_in_the_store() {
    let (host, names) = with_layers();
    host.berth("image ls -q").succeeds();
    for (name, outcome) in &names {
        take(&host, &format!("$berth load -i {name}.docker"), *outcome);
        take(&host, &format!("gzip -c {name}.layer | $berth image import - flat:{name}"), *outcome);
        take(&host, &format!("zstd -qc {name}.docker | $berth load"), *outcome);
    }
    let listed = host.berth("image ls").succeeds().stdout;
    for (name, outcome) in names {
        assert_eq!(listed.contains(&format!("{name} ")), outcome.is_ok(), "{name}: {listed}");
    }
}

#[test]
fn a_hostile_layer_that_is_pulled_stays_in_the_store() {
    if !registry::is_here() {
        return;
    }
    let (host, names) = with_layers();
    let registry = Registry::start(&host, OPEN);
    for (n, (name, _)) in names.iter().enumerate() {
        let form = if n % 2 == 0 { "gzip" } else { "zstd --format oci" };
        host.shell(&format!(
            "skopeo --insecure-policy copy -q --dest-tls-verify=false --dest-compress-format {form} \
             docker-archive:{name}.docker docker://127.0.0.1:5000/evil:{name};
             s=$?; rm -rf /var/lib/containers; exit $s"
        ))
        .succeeds();
    }
    host.berth("image ls -q").succeeds();
    for (name, outcome) in &names {
        take(&host, &format!("$berth image pull 127.0.0.1:5000/evil:{name}"), *outcome);
    }
    registry.end();
}

#[test]
fn a_layer_larger_than_the_disk_gives_its_space_back() {
    let host = TestHost::bare();
    host.shell("mkdir small && mount -t tmpfs -o size=24m small small").succeeds();
    host.load(&images::busybox());
    let words = "head -c 64M /dev/zero >zeros; tar -c zeros | gzip -1 >bomb.gz; rm zeros";
    host.shell(words).succeeds();
    for words in ["image import bomb.gz bomb:1", "load -i bomb.gz"] {
        host.berth(&format!("--root small/store {words}"))
            .fails_with(1)
            .stderr_has("No space left on device");
        let used = host.shell("df --output=used small | tail -1").succeeds().stdout;
        assert!(used.trim().parse::<u64>().expect("KiB") < 200, "{words} left {used} KiB");
    }
    let archive = images::busybox();
    host.shell(&format!("$berth --root small/store load -i {}", archive.display())).succeeds();
    host.shell("umount small").succeeds();
}

/// I41, I42.
#[test]
fn labels_and_variables_of_an_image_are_data() {
    let host = TestHost::bare();
    let archive = images::busybox();
    let labels = r#"{"com.docker.compose.project":"other","com.docker.compose.service":"db",
        "berth.stack":"other","berth.service":"db","io.berth.owner":"other","traefik.enable":"true"}"#;
    let variables = r#"["PATH=/bin","LD_PRELOAD=/evil.so","BERTH_ROOT=/evil","BERTH_LOG=trace",
        "IFS=x","TWO=a\nb","NO_VALUE"]"#;
    host.write("labels.json", labels);
    host.write("variables.json", variables);
    host.write(
        "change.py",
        "import json\nc = json.load(open('a/config.json'))\n\
         c['config']['Labels'] = json.load(open('labels.json'))\n\
         c['config']['Env'] = json.load(open('variables.json'))\n\
         json.dump(c, open('a/config.json', 'w'))\n",
    );
    host.shell(&format!(
        "mkdir a && tar -C a -xf {} && python3 change.py && sed -i s/busybox:1/data:1/ a/manifest.json &&
         tar -C a -c . | $berth load",
        archive.display()
    ))
    .succeeds();
    host.write(
        "compose.yaml",
        "name: mine\nservices: { web: { image: 'data:1', command: [sleep, '1000'] } }",
    );
    host.berth("up -d --pull never").succeeds();
    host.berth("exec -T web env").succeeds().stdout_has("BERTH_ROOT=/evil").stdout_has("TWO=a\nb");
    host.berth("ps").succeeds().stdout_has("web").stdout_lacks("db");
    host.berth("-p other ps -a").succeeds().stdout_lacks("web").stdout_lacks("db");
    host.berth("-p other down").succeeds();
    host.berth("exec -T web true").succeeds();
    host.shell("test ! -e /evil").succeeds();
    host.berth("down").succeeds();
}

#[test]
fn a_name_that_is_no_name_is_refused_before_anything_is_touched() {
    const NAMES: [&str; 7] = ["../x", "a/b", " ", "a\0b", "a\nb", "a\u{202e}b", "\u{1b}[2J"];
    let host = TestHost::with("compose.yaml", "services: { web: { image: 'busybox:1' } }");
    let kept = "find /run/berth /var/lib/berth ! -path '*/images*' | sort";
    let before = host.shell(kept).stdout;
    for name in NAMES {
        let key = serde_json::json!(name);
        let web = "image: 'busybox:1', command: [sleep, '9']";
        let stacks = [
            format!("services: {{ {key}: {{ {web} }} }}"),
            format!("services: {{ web: {{ {web}, container_name: {key} }} }}"),
            format!(
                "services: {{ web: {{ {web}, volumes: ['v:/v'] }} }}\nvolumes: {{ v: {{ name: {key} }} }}"
            ),
            format!(
                "services: {{ web: {{ {web}, volumes: [{{ type: volume, source: {key}, target: /v }}] }} }}\nvolumes: {{ {key}: {{}} }}"
            ),
            format!(
                "services: {{ web: {{ {web}, networks: [{key}] }} }}\nnetworks: {{ {key}: {{}} }}"
            ),
            format!(
                "services: {{ web: {{ {web}, networks: [n] }} }}\nnetworks: {{ n: {{ name: {key} }} }}"
            ),
            format!(
                "services: {{ web: {{ {web}, secrets: [{key}] }} }}\nsecrets: {{ {key}: {{ file: ./compose.yaml }} }}"
            ),
            format!(
                "services: {{ web: {{ {web}, configs: [{key}] }} }}\nconfigs: {{ {key}: {{ content: x }} }}"
            ),
        ];
        for stack in stacks {
            host.write("compose.yaml", &stack);
            let up = host.berth("up -d");
            assert_eq!(up.code, 65, "{stack}\n{up}");
            assert_eq!(host.shell(kept).stdout, before, "{stack}");
        }
    }
}
