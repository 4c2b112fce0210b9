//! What a container finds in its file system, attribute by attribute, seen from inside.

use berth_tests::TestHost;

/// The mounts of a service: target, options of the mount, and tags of propagation.
fn mounts(host: &TestHost, service: &str) -> Vec<(String, String, String)> {
    let text = host.berth(&format!("exec -T {service} cat /proc/self/mountinfo")).succeeds().stdout;
    let fields = text.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    let row = |fields: Vec<&str>| {
        let tags = fields[6..].iter().take_while(|field| **field != "-");
        // Numbers of groups differ from run to run.
        let tags: Vec<&str> = tags.map(|tag| tag.split(':').next().unwrap()).collect();
        (fields[4].to_owned(), fields[5].replace(",idmapped", ""), tags.join(" "))
    };
    fields.map(row).collect()
}

/// The options and tags of the mount at `target`, if there is one.
fn mount(host: &TestHost, service: &str, target: &str) -> Option<(String, String)> {
    let found = mounts(host, service).into_iter().find(|(at, ..)| at == target);
    found.map(|(_, options, tags)| (options, tags))
}

#[track_caller]
fn inside(host: &TestHost, line: &str) -> String {
    host.berth(&format!("exec -T web sh -c \"{line}\"")).succeeds().stdout.trim().to_owned()
}

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
    assert_eq!(inside(&host, "cat /readonly/sub/file; ls /disabled/sub"), "host");
    inside(&host, "touch /writable/sub/new && ! touch /readonly/sub/new && ! touch /writable/new");
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
    let words = ["private", "rprivate", "slave", "rslave", "shared", "rshared"];
    let volumes = words.map(|word| {
        format!(
            "      - {{ type: bind, source: ./own, target: /{word}, bind: {{ propagation: {word} }} }}\n"
        )
    });
    let host = TestHost::with(
        "compose.yaml",
        &format!(
            "services:\n  web:\n    image: busybox:1\n    command: [sleep, '100000']\n    volumes:\n      \
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
    host.berth("down -t 0").succeeds();
    host.shell("umount own/late own/sub/late && umount own/sub own").succeeds();
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
    inside(&host, "test -d /none && test -d /made");
}

#[test]
fn a_volume_shows_one_folder_or_none_of_the_image() {
    let host = TestHost::with(
        "compose.yaml",
        "services:
  web:
    image: busybox:1
    command: [sleep, '100000']
    volumes:
      - data:/all
      - { type: volume, source: data, target: /part, volume: { subpath: a/b } }
      - { type: volume, source: copied, target: /etc }
      - { type: volume, source: empty, target: /home, volume: { nocopy: true } }
volumes: { data: {}, copied: {}, empty: {} }
",
    );
    // A folder that is shown has to be there.
    host.berth("up -d").fails_with(3).stderr_has("/a/b`");
    host.shell("d=/var/lib/berth/volumes/stack_data/data; mkdir -p $d/a/b; echo in >$d/a/b/file")
        .succeeds();
    host.berth("up -d").succeeds();
    assert_eq!(inside(&host, "cat /part/file; ls -A /home"), "in");
    inside(&host, "test -s /etc/passwd && echo new >/part/new && test -f /all/a/b/new");
    let root = mounts(&host, "web").into_iter().find(|(at, ..)| at == "/part");
    assert_eq!(root.expect("a mount").1, "rw,nosuid,nodev,relatime");
}

#[test]
fn a_subpath_never_leaves_its_volume() {
    let host = TestHost::with(
        "compose.yaml",
        "services:
  web:
    image: busybox:1
    command: [sleep, '100000']
    volumes: [{ type: volume, source: data, target: /part, volume: { subpath: way } }]
volumes: { data: {} }
",
    );
    host.shell("mkdir canary && echo alive >canary/file").succeeds();
    host.berth("up -d").fails_with(3);
    let data = "/var/lib/berth/volumes/stack_data/data";
    for link in ["$PWD/canary", "/", "../../..", "/proc/self/root", "/proc/1/cwd"] {
        host.shell(&format!("rm -f {data}/way; ln -s {link} {data}/way")).succeeds();
        host.berth("up -d").fails_with(1).stderr_has("leads out of the volume");
    }
    host.shell(&format!("rm {data}/way; mkdir {data}/real; ln -s real {data}/way")).succeeds();
    host.berth("up -d").succeeds();
    host.shell("test \"$(cat canary/file)\" = alive").succeeds();
    host.edit("compose.yaml", "subpath: way", "subpath: ../x");
    host.berth("up -d").fails_with(65).stderr_has("does not stay inside");
}

#[test]
fn anonymous_volumes_have_labels_stay_with_their_container_and_are_renewed_when_asked() {
    let host = TestHost::with(
        "compose.yaml",
        "services:
  web:
    image: busybox:1
    command: [sleep, '100000']
    environment: { N: one }
    volumes:
      - /plain
      - { type: volume, target: /named, volume: { labels: { who: me } } }
",
    );
    host.berth("up -d").succeeds();
    let labels = host.shell("cat /var/lib/berth/volumes/*/record.json").succeeds().stdout;
    assert_eq!(labels.matches(r#""who""#).count(), 1, "{labels}");
    inside(&host, "echo kept | tee /plain/file >/named/file");
    host.edit("compose.yaml", "N: one", "N: two");
    host.berth("up -d").succeeds();
    assert_eq!(inside(&host, "echo $N; cat /plain/file /named/file"), "two\nkept\nkept");
    host.berth("up -d -V").succeeds();
    assert_eq!(inside(&host, "cat /plain/file"), "kept");
    host.berth("plan --force-recreate -V").succeeds().stdout_has("remove");
    host.berth("up -d --force-recreate -V").succeeds();
    assert_eq!(inside(&host, "ls -A /plain /named | grep -v :"), "");
}

#[test]
fn memory_has_the_size_mode_and_options_of_either_form() {
    let host = TestHost::with(
        "compose.yaml",
        "services:
  web:
    image: busybox:1
    command: [sleep, '100000']
    tmpfs:
      - /short
      - /options:size=2m,mode=0700,uid=5,gid=6,exec,ro
    volumes:
      - { type: tmpfs, target: /long }
      - { type: tmpfs, target: /sized, tmpfs: { size: 1m, mode: 0o750 } }
      - { type: tmpfs, target: /dev/shm/more }
  plain:
    image: busybox:1
    command: [sleep, '100000']
",
    );
    host.berth("up -d").succeeds();
    let seen = inside(&host, "stat -c '%n %a %u:%g' /short /long /options /sized");
    assert_eq!(seen, "/short 1777 0:0\n/long 1777 0:0\n/options 700 5:6\n/sized 750 0:0");
    let size =
        |path: &str| inside(&host, &format!("df -k {path} | tail -1 | tr -s ' ' | cut -d' ' -f2"));
    assert_eq!((size("/options"), size("/sized")), ("2048".into(), "1024".into()));
    let options = |path: &str| mount(&host, "web", path).expect("a mount").0;
    assert_eq!(options("/short"), "rw,nosuid,nodev,noexec,relatime");
    assert_eq!(options("/options"), "ro,nosuid,nodev,relatime");
    assert!(mount(&host, "web", "/dev/shm/more").is_some());
    let default: Vec<String> = mounts(&host, "plain").into_iter().map(|(at, ..)| at).collect();
    assert!(
        default.iter().all(|at| !at.starts_with("/short") && !at.starts_with("/long")),
        "{default:?}"
    );
}

#[test]
fn driver_options_bind_a_folder_or_make_memory_and_others_are_refused() {
    let host = TestHost::with(
        "compose.yaml",
        "services:
  web:
    image: busybox:1
    command: [sleep, '100000']
    volumes: [bound:/bound, fixed:/fixed, memory:/memory, plain:/plain]
volumes:
  plain: {}
  bound: { driver: local, driver_opts: { type: none, o: bind, device: ./own } }
  fixed: { driver_opts: { o: 'bind,ro', device: HERE/own } }
  memory: { driver_opts: { type: tmpfs, device: tmpfs, o: 'size=1m,mode=700' } }
",
    );
    let here = host.project("").display().to_string();
    host.edit("compose.yaml", "HERE", here.trim_end_matches('/'));
    host.shell("mkdir own && echo host >own/file").succeeds();
    host.berth("up -d").succeeds();
    assert_eq!(inside(&host, "cat /bound/file /fixed/file; stat -c %a /memory"), "host\nhost\n700");
    inside(&host, "echo more >/bound/new && ! touch /fixed/x && echo x >/memory/x && ls -A /plain");
    assert_eq!(host.shell("cat own/new").succeeds().stdout, "more\n");
    assert_eq!(inside(&host, "df -k /memory | tail -1 | tr -s ' ' | cut -d' ' -f2"), "1024");
    host.berth("down -v -t 0").succeeds();
    host.shell("test -f own/file").succeeds();
    host.edit(
        "compose.yaml",
        "type: tmpfs, device: tmpfs, o: 'size=1m,mode=700'",
        "type: nfs, device: ':/x'",
    );
    host.berth("up -d")
        .fails_with(65)
        .stderr_has("mounts no `nfs` itself")
        .stderr_has("compose.yaml:10:");
    host.edit("compose.yaml", "type: nfs, device: ':/x'", "type: tmpfs, device: tmpfs");
    host.berth("up -d --scale web=1").succeeds();
    host.edit("compose.yaml", "    volumes: [", "    scale: 2\n    volumes: [");
    host.berth("up -d").fails_with(65).stderr_has("memory cannot be shared");
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
    assert_eq!(inside(&host, "df -k /dev/shm | tail -1 | tr -s ' ' | cut -d' ' -f2"), "1024");
    host.write("compose.yaml", "services: { web: { image: 'busybox:1', tmpfs: ['/proc/scsi'] } }");
    host.berth("up -d").fails_with(65).stderr_has("choose another target");
}
