//! What a container finds in its file system, attribute by attribute, seen from inside.

use berth_tests::TestHost;
use berth_tests::rows::{mount, web_says};

/// A folder of the host with a mount in it, both shared.
const FOLDER: &str = "
    mkdir own && mount -t tmpfs own own && mount --make-shared own && mkdir own/sub &&
    mount -t tmpfs sub own/sub && mount --make-shared own/sub && echo host >own/sub/file";
const UNMOUNT: &str = "umount own/sub own";

#[test]
fn mounts_below_a_bind_are_what_recursive_says() {
    let host = TestHost::with(
        "compose.yaml",
        "services:
  web:
    image: busybox:1
    command: [sleep, '100000']
    volumes:
      - ./own:/plain
      - ./own:/ro:ro
      - { type: bind, source: ./own, target: /enabled, read_only: true, bind: { recursive: enabled } }
      - { type: bind, source: ./own, target: /disabled, bind: { recursive: disabled } }
      - { type: bind, source: ./own, target: /writable, read_only: true, bind: { recursive: writable } }
      - { type: bind, source: ./own, target: /readonly, read_only: true, bind: { recursive: readonly } }
",
    );
    host.shell(FOLDER).succeeds();
    host.berth("up -d").succeeds();
    let rights = |target: &str| mount(&host, "web", target).map(|(options, _)| options);
    let written = Some("rw,nosuid,nodev,relatime".to_owned());
    let read = Some("ro,nosuid,nodev,relatime".to_owned());
    assert_eq!((rights("/plain"), rights("/plain/sub")), (written.clone(), written.clone()));
    for target in ["/ro", "/enabled", "/readonly"] {
        assert_eq!(rights(target), read, "{target}");
        assert_eq!(rights(&format!("{target}/sub")), read, "{target}");
    }
    assert_eq!((rights("/disabled"), rights("/disabled/sub")), (written.clone(), None));
    assert_eq!((rights("/writable"), rights("/writable/sub")), (read, written));
    assert_eq!(web_says(&host, "cat /readonly/sub/file; ls /disabled/sub"), "host");
    web_says(
        &host,
        "touch /writable/sub/new && ! touch /readonly/sub/new && ! touch /writable/new",
    );
    host.berth("down -t 0").succeeds();
    host.shell(UNMOUNT).succeeds();
}

#[test]
fn recursive_words_that_nothing_could_keep_are_refused_with_their_place() {
    let host = TestHost::with(
        "compose.yaml",
        "services:
  web:
    image: busybox:1
    volumes:
      - { type: bind, source: /srv, target: /a, bind: { recursive: readonly } }
      - { type: bind, source: /srv, target: /b, read_only: true, bind: { recursive: readonly, propagation: rslave } }
",
    );
    host.berth("up -d")
        .fails_with(65)
        .stderr_has("is for a mount that is read-only")
        .stderr_has("holds only with the propagation `rprivate`")
        .stderr_has("compose.yaml:5:");
}

#[test]
fn mounts_made_later_spread_as_the_propagation_says() {
    let host = spread("");
    host.berth("down -t 0").succeeds();
    host.shell("umount own/late own/sub/late && umount own/sub own").succeeds();
}

#[test]
fn they_spread_so_to_and_from_who_may_mount_too() {
    let host =
        spread("    cap_add: [SYS_ADMIN]\n    read_only: true\n    working_dir: /rshared/wd\n");
    assert_eq!(web_says(&host, "pwd; touch /x 2>/dev/null || echo no"), "/rshared/wd\nno");
    web_says(
        &host,
        "mkdir /shared/in /rslave/out && mount -t tmpfs in /shared/in && mount -t tmpfs out /rslave/out",
    );
    let seen = host
        .shell("grep -c '/own/in ' /proc/self/mountinfo; grep -c '/own/out ' /proc/self/mountinfo");
    assert_eq!(seen.stdout, "1\n0\n", "only what is shared comes to the host");
    host.berth("down -t 0").succeeds();
    host.shell("umount own/in own/late own/sub/late && umount own/sub own").succeeds();
}

/// A host with a service that has a bind of each propagation, where each was looked at.
fn spread(more: &str) -> TestHost {
    let words = ["private", "rprivate", "slave", "rslave", "shared", "rshared"];
    let volumes = words.map(|word| {
        format!(
            "      - {{ type: bind, source: ./own, target: /{word}, bind: {{ propagation: {word} }} }}\n"
        )
    });
    let host = TestHost::with(
        "compose.yaml",
        &format!(
            "services:\n  web:\n    image: busybox:1\n    command: [sleep, '100000']\n{more}    volumes:\n      \
             - ./own:/default\n{}",
            volumes.concat()
        ),
    );
    host.shell(FOLDER).succeeds();
    host.berth("up -d").succeeds();
    let tags = |target: &str| {
        let of = |target: &str| mount(&host, "web", target).expect("a mount").1;
        (of(&format!("/{target}")), of(&format!("/{target}/sub")))
    };
    let pair = |own: &str, below: &str| (own.to_owned(), below.to_owned());
    assert_eq!(tags("default"), pair("", ""));
    assert_eq!(tags("rprivate"), pair("", ""));
    assert_eq!(tags("private"), pair("", "master"));
    assert_eq!(tags("slave"), pair("master", "master"));
    assert_eq!(tags("rslave"), pair("master", "master"));
    assert_eq!(tags("shared"), pair("shared", "shared"));
    assert_eq!(tags("rshared"), pair("shared", "shared"));
    host.shell(
        "mkdir own/late own/sub/late && mount -t tmpfs a own/late && mount -t tmpfs b own/sub/late",
    )
    .succeeds();
    let seen = |word: &str| {
        let there = |path: &str| mount(&host, "web", &format!("/{word}/{path}")).is_some();
        (there("late"), there("sub/late"))
    };
    assert_eq!(["default", "rprivate"].map(seen), [(false, false); 2]);
    assert_eq!(seen("private"), (false, true));
    assert_eq!(["slave", "rslave", "shared", "rshared"].map(seen), [(true, true); 4]);
    host
}

#[test]
fn a_source_that_is_not_made_has_to_be_there() {
    let host = TestHost::with(
        "compose.yaml",
        "services:
  web:
    image: busybox:1
    command: [sleep, '100000']
    volumes:
      - ./made:/made
      - { type: bind, source: ./none, target: /none, bind: { create_host_path: false } }
",
    );
    host.berth("up -d").fails_with(65).stderr_has("compose.yaml:7:").stderr_has("make it first");
    host.berth("check").fails_with(65).stdout_has("is not there");
    host.shell("test ! -e made && mkdir none").succeeds();
    host.berth("up -d").succeeds();
    host.shell("test -d made").succeeds();
    web_says(&host, "test -d /none && test -d /made");
}

#[test]
fn nothing_is_mounted_over_what_the_kernel_shows() {
    let targets =
        ["/proc", "/proc/sys/kernel", "/sys/fs/cgroup", "/dev", "/dev/null", "/dev/pts/x"];
    for target in targets {
        let host = TestHost::bare();
        let text =
            format!("services: {{ web: {{ image: 'busybox:1', volumes: ['/srv:{target}'] }} }}");
        host.write("compose.yaml", &text);
        host.berth("up -d")
            .fails_with(65)
            .stderr_has("choose another target")
            .stderr_has("compose.yaml:1:");
        host.berth("check").fails_with(65);
    }
    let host = TestHost::with(
        "compose.yaml",
        "services: { web: { image: 'busybox:1', command: [sleep, '9999'], tmpfs: ['/dev/shm:size=1m', '/processes', '/devices'] } }",
    );
    host.berth("up -d").succeeds();
    assert_eq!(web_says(&host, "df -k /dev/shm | tail -1 | tr -s ' ' | cut -d' ' -f2"), "1024");
    host.write("compose.yaml", "services: { web: { image: 'busybox:1', tmpfs: ['/proc/scsi'] } }");
    host.berth("up -d").fails_with(65).stderr_has("choose another target");
}

/// An image `tools:1` with two layers above that of `busybox:1`, loaded.
fn load_tools(host: &TestHost, text: &str) {
    host.write(
        "tools/compose.yaml",
        "services: { t: { image: 'busybox:1', command: [sleep, '9999'] } }",
    );
    host.berth("-f tools/compose.yaml -p tools up -d").succeeds();
    let line = format!(
        "mkdir -p /opt/bin; echo {text} >/opt/bin/tool; ln -sfn /opt /way; rm -f /bin/tac; chown 1000:1000 /opt/bin/tool"
    );
    host.berth(&format!("-f tools/compose.yaml -p tools exec -T t sh -c '{line}'")).succeeds();
    host.berth("-f tools/compose.yaml -p tools commit t tools:1").succeeds();
    host.berth("-f tools/compose.yaml -p tools down -t 0").succeeds();
}

const IMAGES: &str = "
services:
  web:
    image: busybox:1
    command: [sleep, '100000']
    volumes:
      - { type: image, source: 'tools:1', target: /all }
      - { type: image, source: 'tools:1', target: /part, image: { subpath: way/bin } }
";

#[test]
fn an_image_is_mounted_whole_or_in_part_and_never_written() {
    let host = TestHost::with("compose.yaml", IMAGES);
    load_tools(&host, "one");
    host.berth("up -d --pull never").succeeds();
    assert_eq!(web_says(&host, "cat /part/tool /all/opt/bin/tool"), "one\none");
    assert_eq!(
        web_says(&host, "stat -c %u:%g /part/tool; ls /all/bin/tac 2>&1 | grep -c No"),
        "1000:1000\n1"
    );
    web_says(&host, "! touch /part/x && ! rm /all/opt/bin/tool && ! touch /all/x");
    for target in ["/all", "/part"] {
        let options = mount(&host, "web", target).expect("a mount").0;
        assert_eq!(options, "ro,nosuid,nodev,relatime", "{target}");
    }
    host.edit("compose.yaml", "way/bin", "none");
    host.berth("up -d").fails_with(3).stderr_has("`none`");
}

#[test]
fn a_mounted_image_is_in_use_and_another_one_of_its_name_is_a_change() {
    let host = TestHost::with("compose.yaml", IMAGES);
    load_tools(&host, "one");
    host.berth("up -d").succeeds();
    host.berth("image rm tools:1").fails_with(1).stderr_has("is in use");
    host.berth("up -d").succeeds().stderr_has("nothing to do");
    load_tools(&host, "two");
    assert_eq!(web_says(&host, "cat /part/tool"), "one");
    host.berth("plan").succeeds().stdout_has("replace").stdout_has("image");
    host.berth("image prune -a -f").succeeds();
    assert_eq!(web_says(&host, "cat /part/tool"), "one");
    load_tools(&host, "two");
    host.berth("up -d").succeeds();
    assert_eq!(web_says(&host, "cat /part/tool"), "two");
    host.berth("kill web").succeeds();
    host.berth("start").succeeds();
    assert_eq!(web_says(&host, "cat /part/tool"), "two");
    host.berth("down -t 0").succeeds();
    host.berth("image rm tools:1").succeeds();
    host.edit("compose.yaml", "command:", "pull_policy: never\n    command:");
    host.berth("up -d").fails_with(1).stderr_has("image `tools:1` of service `web` is not here");
    host.edit("compose.yaml", "'tools:1', target: /all", "'localhost/host', target: /all");
    host.berth("up -d").fails_with(65).stderr_has("bind the one that is wanted");
}

#[test]
fn the_mounts_of_another_container_are_had_unless_there_are_own_ones() {
    let host = TestHost::with(
        "compose.yaml",
        "services:
  web:
    image: busybox:1
    command: [sleep, '100000']
    volumes_from: [data]
    volumes: ['./mine:/own']
  reader:
    image: busybox:1
    command: [sleep, '100000']
    volumes_from: ['data:ro']
  data:
    image: busybox:1
    command: [sleep, '100000']
    environment: { N: '1' }
    tmpfs: /memory
    volumes: ['named:/named', '/anonymous', './bound:/bound', './theirs:/own', { type: volume, source: named, target: /fixed, read_only: true }]
volumes: { named: {} }
",
    );
    host.write("mine/file", "mine");
    host.write("theirs/file", "theirs");
    host.berth("up -d web").succeeds().stderr_has("stack-data-1");
    let data = |line: &str| host.berth(&format!("exec -T data sh -c '{line}'")).succeeds().stdout;
    data("for d in named anonymous bound; do echo $d >/$d/f; done");
    assert_eq!(
        web_says(&host, "cat /named/f /anonymous/f /bound/f /own/file"),
        "named\nanonymous\nbound\nmine"
    );
    web_says(&host, "echo back >/anonymous/back && ! touch /fixed/x && ! test -e /memory");
    assert_eq!(data("cat /anonymous/back"), "back\n");
    host.berth("up -d").succeeds();
    host.berth(
        "exec -T reader sh -c 'cat /own/file /named/f; ! touch /named/x && ! touch /anonymous/x'",
    )
    .succeeds()
    .stdout_has("theirs");
    let before = host.pid_of("web");
    host.berth("up -d").succeeds().stderr_has("nothing to do");
    assert_eq!(host.pid_of("web"), before);
    // Who has its mounts follows when it is made anew, also when these become others.
    host.edit("compose.yaml", "'./bound:/bound'", "'./bound:/bound2'");
    host.berth("plan").succeeds().stdout_has("has the volumes of `stack-data-1`");
    host.berth("up -d").succeeds();
    assert_eq!(
        web_says(&host, "cat /bound2/f /anonymous/f; ! test -e /bound/f"),
        "bound\nanonymous"
    );
    // Its volumes are in use by the others.
    host.berth("volume rm stack_named").fails_with(1).stderr_has("is in use");
    host.berth("up -d --force-recreate -V -y").succeeds();
    assert_eq!(web_says(&host, "ls -A /anonymous"), "");
    host.edit("compose.yaml", "volumes_from: ['data:ro']", "volumes_from: ['container:nobody']");
    host.berth("up -d")
        .fails_with(1)
        .stderr_has("has the volumes of `nobody`, which does not exist");
    host.edit("compose.yaml", "container:nobody", "container:stack-data-1");
    host.berth("up -d").succeeds();
    host.berth("exec -T reader cat /own/file").succeeds().stdout_has("theirs");
}

#[test]
fn files_in_binds_are_those_of_the_user_of_the_host() {
    let host = TestHost::with(
        "compose.yaml",
        "services:
  root:
    image: busybox:1
    command: [sleep, '100000']
    x-berth: { owner: host }
    volumes: ['./own:/own', './made/deep:/made', 'data:/data']
  app:
    image: busybox:1
    command: [sleep, '100000']
    user: app
    x-berth: { owner: host }
    volumes: ['./own:/own']
  off:
    image: busybox:1
    command: [sleep, '100000']
    userns_mode: host
    x-berth: { owner: host }
    volumes: ['./own:/own']
  plain:
    image: busybox:1
    command: [sleep, '100000']
    volumes: ['./own:/own']
volumes: { data: {} }
",
    );
    host.shell("mkdir own && echo x >own/file && chown -R 1234:2345 . own && echo y >own/roots")
        .succeeds();
    host.berth("plan").succeeds().stdout_has("files in binds are those of 1234:2345 on the host");
    host.berth("up -d").succeeds();
    let on = |service: &str, line: &str| {
        host.berth(&format!("exec -T {service} sh -c '{line}'")).succeeds().stdout.trim().to_owned()
    };
    let owners =
        |names: &str| host.shell(&format!("cd own && stat -c %u:%g {names}")).succeeds().stdout;
    assert_eq!(on("root", "stat -c %u:%g /own/file /own/roots"), "0:0\n1234:2345");
    assert_eq!(on("app", "stat -c %u:%g /own/file; id -u"), "1000:1000\n1000");
    assert_eq!(on("off", "stat -c %u:%g /own/file"), "0:0");
    assert_eq!(on("plain", "stat -c %u:%g /own/file /own/roots"), "1234:2345\n0:0");
    on("root", "echo r >/own/by-root; echo d >/data/by-root; echo m >/made/by-root");
    on("app", "echo a >/own/by-app && echo more >>/own/file");
    on("off", "echo o >/own/by-off");
    on("plain", "echo p >/own/by-plain");
    assert_eq!(owners("by-root by-app by-off by-plain"), "1234:2345\n1234:2345\n1234:2345\n0:0\n");
    host.shell("test \"$(stat -c %u:%g made made/deep made/deep/by-root | sort -u)\" = 1234:2345")
        .succeeds();
    host.shell("stat -c %u /var/lib/berth/volumes/stack_data/data/by-root")
        .succeeds()
        .stdout_is("0");
    host.berth("down -v -y -t 0").succeeds();
    let sudo = "SUDO_UID=77 SUDO_GID=88 $berth plan";
    host.shell(sudo).succeeds().stdout_has("those of 77:88 on the host");
}
