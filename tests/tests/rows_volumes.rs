//! Volumes, memory, configs and secrets, attribute by attribute, seen from inside.

use berth_tests::TestHost;
use berth_tests::rows::{mount, mounts, web_says};

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
    assert_eq!(web_says(&host, "cat /part/file; ls -A /home"), "in");
    web_says(&host, "test -s /etc/passwd && echo new >/part/new && test -f /all/a/b/new");
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
    web_says(&host, "echo kept | tee /plain/file >/named/file");
    host.edit("compose.yaml", "N: one", "N: two");
    host.berth("up -d").succeeds();
    assert_eq!(web_says(&host, "echo $N; cat /plain/file /named/file"), "two\nkept\nkept");
    host.berth("up -d -V -y").succeeds();
    assert_eq!(web_says(&host, "cat /plain/file"), "kept");
    host.berth("plan --force-recreate -V").succeeds().stdout_has("remove");
    host.berth("up -d --force-recreate -V -y").succeeds();
    assert_eq!(web_says(&host, "ls -A /plain /named | grep -v :"), "");
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
    let seen = web_says(&host, "stat -c '%n %a %u:%g' /short /long /options /sized");
    assert_eq!(seen, "/short 1777 0:0\n/long 1777 0:0\n/options 700 5:6\n/sized 750 0:0");
    let size = |path: &str| {
        web_says(&host, &format!("df -k {path} | tail -1 | tr -s ' ' | cut -d' ' -f2"))
    };
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
    assert_eq!(
        web_says(&host, "cat /bound/file /fixed/file; stat -c %a /memory"),
        "host\nhost\n700"
    );
    web_says(
        &host,
        "echo more >/bound/new && ! touch /fixed/x && echo x >/memory/x && ls -A /plain",
    );
    assert_eq!(host.shell("cat own/new").succeeds().stdout, "more\n");
    assert_eq!(web_says(&host, "df -k /memory | tail -1 | tr -s ' ' | cut -d' ' -f2"), "1024");
    host.berth("down -v -y -t 0").succeeds();
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
    let two = "service `web` would have 2";
    host.berth("up -d --scale web=2").fails_with(1).stderr_has(two);
    host.berth("up -d --scale web=1").succeeds();
    host.write(
        "other.yaml",
        "services:\n  web: { image: 'busybox:1', volumes_from: ['container:stack-web-1'] }\n",
    );
    let memory = "is memory, which several containers cannot share";
    host.berth("-p other -f other.yaml plan").fails_with(1).stderr_has(memory);
    host.edit("compose.yaml", "    volumes: [", "    scale: 2\n    volumes: [");
    host.berth("up -d").fails_with(65).stderr_has("memory cannot be shared");
}

const FILES: &str = "
services:
  web:
    image: busybox:1
    command: [sh, -c, 'echo started; sleep 100000']
    read_only: true
    user: app
    configs:
      - plain
      - { source: variable, target: /etc/variable }
      - { source: inline, target: /deep/er/inline.conf, mode: 0440, uid: '1000', gid: '1001' }
    secrets:
      - password
      - { source: token, target: renamed, uid: '7', mode: 0400 }
      - { source: password, target: /etc/absolute, uid: '1000', gid: '8', mode: 0600 }
  plain:
    image: busybox:1
    command: [sleep, '100000']
configs:
  plain: { file: ./plain.conf }
  variable: { environment: LEVEL }
  inline: { content: 'level=$$x' }
secrets:
  password: { file: ./password.txt }
  token: { environment: TOKEN }
";

#[test]
fn configs_and_secrets_are_files_also_in_a_read_only_container() {
    let host = TestHost::with("compose.yaml", FILES);
    host.write("plain.conf", "plain=1");
    host.write("password.txt", "hunter2");
    host.shell("LEVEL=info TOKEN=t0ken $berth up -d").succeeds();
    let seen = web_says(
        &host,
        "cat /plain /etc/variable /deep/er/inline.conf /run/secrets/password /etc/absolute",
    );
    assert_eq!(seen, "plain=1infolevel=$xhunter2hunter2");
    let all = "/plain /etc/variable /deep/er/inline.conf /run/secrets/password /run/secrets/renamed /etc/absolute";
    assert_eq!(
        web_says(&host, &format!("stat -c '%u:%g %a' {all}")),
        "0:0 444\n0:0 444\n1000:1001 440\n0:0 444\n7:0 400\n1000:8 600"
    );
    web_says(&host, "! cat /run/secrets/renamed && ! touch /x && ! sh -c 'echo x >/etc/absolute'");
    for target in all.split(' ') {
        let options = mount(&host, "web", target).expect("a mount").0;
        assert_eq!(options, "ro,nosuid,nodev,relatime", "{target}");
    }
    host.berth("exec -T plain sh -c 'test ! -e /run/secrets && test ! -e /plain'").succeeds();
}

#[test]
fn a_secret_is_nowhere_but_in_its_file_and_goes_with_its_container() {
    let host = TestHost::with("compose.yaml", FILES);
    host.write("plain.conf", "plain=1");
    host.write("password.txt", "hunter2");
    host.shell("LEVEL=info TOKEN=t0ken $berth up -d").succeeds();
    let words = "-e hunter2 -e t0ken";
    host.shell(&format!("grep -rl {words} /var/lib/berth")).fails_with(1);
    let held = host.shell(&format!("grep -rl {words} /run/berth")).succeeds().stdout;
    assert!(held.lines().all(|path| path.contains("/stack-web-1/files/")), "{held}");
    host.shell("stat -f -c %T /run/berth").succeeds().stdout_is("tmpfs");
    // Nor in what anybody asks for.
    let asked = "for c in 'ps -a' 'config' 'logs' 'top' 'exec -T web env' 'exec -T web cat /proc/1/environ /proc/1/cmdline' 'plan'; do LEVEL=info TOKEN=t0ken $berth $c; done 2>&1";
    host.shell(&format!("({asked}) | grep -v LEVEL | grep -c {words}")).fails_with(1);
    // Words that do not find themselves.
    let arguments = "cat /proc/[0-9]*/cmdline | tr '\\0' '\\n' | grep -c -e [h]unter2 -e [t]0ken";
    host.shell(arguments).fails_with(1);
    host.write("password.txt", "other");
    let plan = host.shell("LEVEL=info TOKEN=t0ken $berth plan").succeeds();
    plan.stdout_has("replace").stdout_lacks("hunter2").stdout_lacks("other");
    host.berth("down -t 0").succeeds();
    host.shell(&format!("grep -rl {words} /run/berth /var/lib/berth")).fails_with(1);
}
