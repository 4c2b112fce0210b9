//! Images and files that try to have something mounted, made or copied where it does no good.
//!
//! R06, R07, R10, R13, R14 and R15 of the list of security checks.

use berth_tests::{TestHost, images};

/// A tree of the machine that nothing may change, and what can be told of it and of its mounts.
const CANARY: &str = "mkdir -p canary/folder && echo alive >canary/file";
const LOOK: &str = "
    find canary -printf '%p %M %U:%G %s %T@ %C@\\n' | sort; cat canary/file
    grep -v ' /proc\\| /sys' /proc/self/mountinfo | cut -d' ' -f5- | sort";

/// Makes `evil:1` of busybox: a script runs in its files, and its config gets these volumes.
fn load(host: &TestHost, script: &str, volumes: &[&str]) {
    let volumes: Vec<String> = volumes.iter().map(|v| format!("{v:?}: {{}}")).collect();
    host.write("volumes.json", &format!("{{{}}}", volumes.join(", ")));
    host.write("script.sh", &format!("set -e; cd l; {script}"));
    host.write(
        "change.py",
        "import json, hashlib\n\
         c = json.load(open('a/config.json'))\n\
         c['config']['Volumes'] = json.load(open('volumes.json'))\n\
         digest = hashlib.sha256(open('a/more.tar', 'rb').read()).hexdigest()\n\
         c['rootfs']['diff_ids'].append('sha256:' + digest)\n\
         c.pop('history', None)\n\
         json.dump(c, open('a/config.json', 'w'))\n\
         m = json.load(open('a/manifest.json'))\n\
         m[0]['RepoTags'] = ['evil:1']; m[0]['Layers'].append('more.tar')\n\
         json.dump(m, open('a/manifest.json', 'w'))\n",
    );
    let archive = images::busybox();
    host.shell(&format!(
        "rm -rf a l && mkdir a l && tar -C a -xf {} && sh script.sh && tar -C l -cf a/more.tar . && \
         python3 change.py && tar -C a -c . | $berth load",
        archive.display()
    ))
    .succeeds();
}

const PLAIN: &str =
    "services: { web: { image: 'evil:1', pull_policy: never, command: [sleep, '100000'] } }";

/// Brings the stack up, which is refused for this reason or, without one, done; either way nothing
/// of the machine is another.
#[track_caller]
fn tries(host: &TestHost, what: &str, refused: Option<&str>) {
    let before = host.shell(LOOK).stdout;
    let done = host.berth("up -d");
    assert_eq!(host.shell(LOOK).stdout, before, "{what} changed the machine: {done}");
    match refused {
        Some(reason) => {
            assert_ne!(done.code, 0, "{what}: {done}");
            done.stderr_has(reason);
        }
        None => drop(done.succeeds()),
    }
}

fn machine(stack: &str) -> TestHost {
    let host = TestHost::bare();
    host.write("compose.yaml", stack);
    host.shell(CANARY).succeeds();
    host
}

#[track_caller]
fn ends(host: &TestHost) {
    host.berth("down -v -y -t 0").succeeds();
    host.berth("image rm evil:1").succeeds();
}

/// R06, with and without a user namespace.
#[test]
fn an_image_whose_kernel_folders_are_links_or_files_does_not_start() {
    for mode in ["auto", "host"] {
        let host = machine(&PLAIN.replace("command", &format!("userns_mode: {mode}, command")));
        for folder in ["proc", "sys", "dev"] {
            let canary = host.project("canary");
            for (what, script) in [
                ("a link inside", format!("mkdir x; ln -s /x {folder}")),
                ("a link upwards", format!("ln -s ../../../../../..{} {folder}", canary.display())),
                ("a link to the machine", format!("ln -s {} {folder}", canary.display())),
                ("a file", format!("echo x >{folder}")),
            ] {
                load(&host, &script, &[]);
                tries(&host, &format!("{what} at /{folder}"), Some("it is a link or a file"));
                ends(&host);
            }
        }
    }
}

/// R07.
#[test]
fn what_an_image_has_in_dev_is_covered() {
    let host = machine(PLAIN);
    let canary = host.project("canary").display().to_string();
    for name in ["pts", "shm", "mqueue", "null", "ptmx"] {
        for script in [
            format!("mkdir dev; ln -s {canary} dev/{name}"),
            format!("mkdir dev; echo x >dev/{name}"),
        ] {
            load(&host, &script, &[]);
            tries(&host, &format!("{script} in an image"), None);
            let seen = host.berth("exec -T web sh -c 'ls -d /dev/pts/ptmx /dev/shm /dev/mqueue; test -c /dev/null && test ! -L /dev/shm'");
            seen.succeeds();
            host.berth("exec -T web sh -c 'echo x >/dev/shm/x; ls -A /dev/shm'")
                .succeeds()
                .stdout_is("x");
            ends(&host);
        }
    }
}

/// R10: links on the way to a target mean what they mean to the container.
#[test]
fn a_target_behind_links_stays_in_the_container() {
    let host = machine(
        "services: { web: { image: 'evil:1', pull_policy: never, command: [sleep, '100000'],
            volumes: ['data:/data/below', './own:/own'], tmpfs: ['/memory'], configs: [{ source: c, target: /conf/file }] } }
volumes: { data: {} }
configs: { c: { content: text } }",
    );
    host.shell("mkdir own && echo own >own/file").succeeds();
    let canary = host.project("canary").display().to_string();
    let up = format!("/../../../../..{canary}");
    for (what, script) in [
        ("absolute", format!("for n in data own memory conf; do ln -s {canary} $n; done")),
        ("relative", format!("for n in data own memory conf; do ln -s ..{up} $n; done")),
        ("upwards", format!("for n in data own memory conf; do ln -s {up} $n; done")),
        (
            "nested",
            format!(
                "ln -s {canary} a; ln -s /a b; for n in data own memory conf; do ln -s b/.. $n; done"
            ),
        ),
    ] {
        load(&host, &script, &[]);
        // Where several targets come to be one, or one is the root, it is refused; never outside.
        let before = host.shell(LOOK).stdout;
        let done = host.berth("up -d");
        assert_eq!(host.shell(LOOK).stdout, before, "{what} changed the machine: {done}");
        if done.code == 0 {
            host.berth("exec -T web sh -c 'echo inside >/data/below/x; echo inside >/memory/x'")
                .succeeds();
            assert_eq!(host.shell(LOOK).stdout, before, "{what} reached the machine");
        }
        ends(&host);
    }
    load(
        &host,
        &format!("mkdir -p {canary_in}; ln -s {canary} own", canary_in = &canary[1..]),
        &[],
    );
    tries(&host, "a link to a folder of the image", None);
    host.berth(&format!("exec -T web cat {canary}/file")).succeeds().stdout_is("own");
    host.shell("grep -qx alive canary/file").succeeds();
    ends(&host);
    host.shell("rm -r own").succeeds();
}

/// R13, by an image and by links in it; what files name is refused by the plan (`rows_mounts`).
#[test]
fn an_image_mounts_nothing_over_what_the_kernel_shows() {
    let host = machine(PLAIN);
    let reason = "nothing can be mounted in `/proc`, `/sys` or `/dev`";
    for volume in
        ["/proc/sys", "/proc/x", "/sys/fs", "/dev", "/dev/mqueue", "/dev/pts", "/proc/self/fd"]
    {
        load(&host, ":", &[volume]);
        let before = host.shell(LOOK).stdout;
        let done = host.berth("up -d");
        assert_ne!(done.code, 0, "{volume}: {done}");
        assert_eq!(host.shell(LOOK).stdout, before, "{volume} changed the machine: {done}");
        ends(&host);
    }
    for to in ["/proc", "/sys", "/dev", "/proc/self", "/dev/pts"] {
        load(&host, &format!("ln -s {to} way"), &["/way"]);
        tries(&host, &format!("a volume at a link to {to}"), Some(reason));
        ends(&host);
    }
    load(&host, "ln -s / way", &["/way"]);
    tries(&host, "a volume at a link to the root", Some("the root cannot be covered"));
    ends(&host);
}

/// R15: the first copy of an image's files into its volume.
#[test]
fn a_volume_of_an_image_is_filled_from_the_image_alone() {
    let host = machine(PLAIN);
    let canary = host.project("canary").display().to_string();
    for (what, script, volume) in [
        ("upwards", ":".to_owned(), "../../etc".to_owned()),
        ("upwards from below", ":".to_owned(), format!("/x/../../../../..{canary}")),
        ("a link to the machine", format!("ln -s {canary} vol"), "/vol".to_owned()),
        ("a link upwards", format!("ln -s ../../../../../..{canary} vol"), "/vol".to_owned()),
        (
            "a link in it",
            format!("mkdir vol; ln -s {canary}/file vol/file; ln -s {canary} vol/folder"),
            "/vol".to_owned(),
        ),
        (
            "a chain of links",
            format!("mkdir a; ln -s /a/b vol; ln -s {canary} a/b"),
            "/vol".to_owned(),
        ),
        ("a circle of links", "ln -s a b; ln -s b a; ln -s a vol".to_owned(), "/vol".to_owned()),
    ] {
        load(&host, &script, &[&volume]);
        let before = host.shell(LOOK).stdout;
        let done = host.berth("up -d");
        assert_eq!(host.shell(LOOK).stdout, before, "{what} changed the machine: {done}");
        let copied = "find /var/lib/berth/volumes -type f -exec grep -l alive {} +";
        assert_eq!(host.shell(copied).stdout, "", "{what} took files of the machine");
        if done.code == 0 {
            drop(host.berth("exec -T web sh -c 'echo dead >/vol/file; true'"));
            host.shell("grep -qx alive canary/file").succeeds();
        }
        ends(&host);
    }
}

/// R14 for a folder of an image: its links lead to the image's own files.
#[test]
fn a_part_of_a_mounted_image_is_a_part_of_it() {
    let host = machine(
        "services: { web: { image: 'busybox:1', command: [sleep, '100000'],
            volumes: [{ type: image, source: 'evil:1', target: /part, image: { subpath: way } }] } }",
    );
    host.load(&images::busybox());
    let canary = host.project("canary").display().to_string();
    for to in [canary.clone(), format!("../../../../..{canary}"), "/proc/self/root".to_owned()] {
        load(&host, &format!("ln -s {to} way"), &[]);
        tries(&host, &format!("a part at a link to {to}"), Some("`way`"));
        host.berth("down -v -y -t 0").succeeds();
    }
    load(
        &host,
        &format!("mkdir -p .{canary}; echo image >.{canary}/file; ln -s {canary} way"),
        &[],
    );
    tries(&host, "a part at a link in the image", None);
    host.berth("exec -T web cat /part/file").succeeds().stdout_is("image");
    host.write("compose.yaml", "services: { web: { image: 'busybox:1', volumes: [{ type: image, source: 'evil:1', target: /part, image: { subpath: ../x } }] } }");
    tries(&host, "a part outside", Some("does not stay inside"));
}
