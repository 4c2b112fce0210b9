//! `cp`: files into containers and out of them, whatever the container does meanwhile.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::time::{Duration, Instant};

use berth_tests::TestHost;
use berth_tests::machine::Place;
use nix::sys::signal::Signal;

const STACK: &str = "
services:
  web:
    image: busybox:1
    command: [sleep, '100000']
    volumes: ['data:/volume']
    tmpfs: [/scratch]
    stop_grace_period: 1s
  app:
    image: busybox:1
    user: app
    command: [sleep, '100000']
    stop_grace_period: 1s
  job: { image: busybox:1, command: ['true'], volumes: ['data:/volume'], tmpfs: [/scratch] }
  many: { image: busybox:1, command: [sleep, '100000'], scale: 2, stop_grace_period: 1s }
volumes: { data: }
";

fn host(services: &str) -> TestHost {
    let host = TestHost::with("compose.yaml", STACK);
    host.berth(&format!("up -d {services}")).succeeds();
    host
}

fn inside(host: &TestHost, line: &str) -> String {
    host.berth(&format!("exec -T -u 0 web sh -c \"{line}\"")).succeeds().stdout
}

#[test]
fn files_go_by_the_rules_of_docker_cp() {
    let host = host("web");
    host.shell("mkdir -p d/sub; echo x >d/x; echo y >d/sub/y; echo f >f; ln -s f link; ln -s none dangling")
        .succeeds();
    // From, to, what comes of it; or why not. As Docker 28 does it.
    let table = [
        ("f", "web:/tmp/f", Ok("/tmp/f")),
        ("f", "web:tmp/relative", Ok("/tmp/relative")),
        ("f", "web:/tmp", Ok("/tmp/f")),
        ("f", "web:/tmp/no/", Err("must be there")),
        ("f", "web:/no/f", Err("no `/no/` in the container")),
        ("f/", "web:/tmp/z", Err("not a folder")),
        ("nothing", "web:/tmp", Err("no `nothing` on the host")),
        ("d", "web:/tmp/new", Ok("/tmp/new/sub/y")),
        ("d", "web:/tmp/new", Ok("/tmp/new/d/sub/y")),
        ("d/.", "web:/tmp/content", Ok("/tmp/content/sub/y")),
        ("d/.", "web:/tmp/content", Ok("/tmp/content/x")),
        ("d", "web:/tmp/f", Err("cannot take the place of a file")),
        ("d", "web:/tmp/slash/", Ok("/tmp/slash/x")),
        ("f", "web:/volume/f", Ok("/volume/f")),
        ("f", "web:/scratch/f", Ok("/scratch/f")),
        ("f", "web:/etc/hosts", Ok("/etc/hosts")),
        ("-L link", "web:/tmp/followed", Ok("/tmp/followed")),
        ("-L dangling", "web:/tmp/followed", Err("no `dangling` on the host")),
    ];
    for (from, to, wanted) in table {
        let copy = host.berth(&format!("cp {from} {to}"));
        match wanted {
            Ok(path) => {
                copy.succeeds();
                inside(&host, &format!("cat {path}"));
            }
            Err(why) => drop(copy.fails_with(1).stderr_has(why)),
        }
    }
    host.berth("cp link web:/tmp/aslink").succeeds();
    host.berth("cp dangling web:/tmp").succeeds();
    assert_eq!(inside(&host, "readlink /tmp/aslink; readlink /tmp/dangling"), "f\nnone\n");
    assert_eq!(inside(&host, "ls /tmp/content"), "sub\nx\n");
    // Links at the target are followed, inside.
    inside(
        &host,
        "mkdir /tmp/real; ln -s /tmp/real /tmp/tolink; ln -s newfile /tmp/tonew; ln -s /no/x /tmp/tono",
    );
    host.berth("cp f web:/tmp/tolink").succeeds();
    host.berth("cp f web:/tmp/tonew").succeeds();
    host.berth("cp f web:/tmp/tono").fails_with(1).stderr_has("no `/no/` in the container");
    assert_eq!(inside(&host, "cat /tmp/real/f /tmp/newfile"), "f\nf\n");
    host.berth("cp f f").fails_with(64);
    host.berth("cp web:/tmp many:/tmp").fails_with(64);
    host.berth("--dry-run cp f web:/tmp/dry").succeeds();
    inside(&host, "! test -e /tmp/dry");
}

#[test]
fn files_come_out_as_they_were_and_belong_to_who_asked() {
    let host = host("web");
    inside(
        &host,
        "mkdir -p /tmp/d/sub; echo one >/tmp/d/f; ln /tmp/d/f /tmp/d/hard; ln -s f /tmp/d/soft; mkfifo /tmp/d/fifo; chown 55:56 /tmp/d/f; chmod 6755 /tmp/d/f; chmod 700 /tmp/d/sub; ln -s /tmp/d /tmp/todir; ln -s /etc/shadow /tmp/d/shadow",
    );
    host.berth("cp web:/tmp/d out").succeeds();
    let meta = fs::metadata(host.project("out/f")).unwrap();
    assert_eq!((meta.uid(), meta.gid(), meta.permissions().mode() & 0o7777), (0, 0, 0o755));
    assert_eq!(meta.ino(), fs::metadata(host.project("out/hard")).unwrap().ino());
    assert_eq!(fs::read_link(host.project("out/shadow")).unwrap().to_str(), Some("/etc/shadow"));
    assert_eq!(fs::metadata(host.project("out/sub")).unwrap().permissions().mode() & 0o777, 0o700);
    host.berth("cp -a web:/tmp/d/f kept").succeeds();
    let meta = fs::metadata(host.project("kept")).unwrap();
    assert_eq!((meta.uid(), meta.gid(), meta.permissions().mode() & 0o7777), (55, 56, 0o6755));
    host.berth("cp web:/tmp/todir aslink").succeeds();
    assert!(fs::symlink_metadata(host.project("aslink")).unwrap().is_symlink());
    host.berth("cp web:/tmp/todir/ followed").succeeds();
    host.berth("cp -L web:/tmp/todir followed2").succeeds();
    for file in ["followed/f", "followed2/f"] {
        assert_eq!(fs::read_to_string(host.project(file)).unwrap(), "one\n");
    }
    let list = host.shell("$berth cp web:/tmp/d - | tar tf - | sort").succeeds().stdout;
    assert_eq!(list, "d/\nd/f\nd/fifo\nd/hard\nd/shadow\nd/soft\nd/sub/\n");
    host.shell("$berth cp web:/tmp/d/. - | $berth cp - web:/volume").succeeds();
    assert_eq!(inside(&host, "stat -c %u:%g /volume/f; cat /volume/soft"), "55:56\none\n");
    host.shell("$berth cp - web:/tmp/d/f </dev/null").fails_with(1).stderr_has("must be a folder");
}

#[test]
fn owners_are_those_the_container_sees() {
    let host = host("app many");
    host.shell("echo f >f; chown 1234:1235 f").succeeds();
    host.berth("cp f app:/tmp/f").succeeds();
    host.berth("cp -a f app:/tmp/theirs").succeeds();
    let owners = host.berth("exec -T app sh -c 'stat -c %u:%g /tmp/f /tmp/theirs; id -u; id -g'");
    let lines: Vec<String> = owners.succeeds().stdout.lines().map(str::to_owned).collect();
    assert_eq!(lines[0], "1234:1235");
    assert_eq!(lines[1], format!("{}:{}", lines[2], lines[3]));
    host.shell("chown 70000:70000 f").succeeds();
    host.berth("cp f app:/tmp/f").fails_with(1).stderr_has("copy to");
    // All containers of a service get it, or the one that is asked for.
    host.shell("chown 0:0 f").succeeds();
    host.berth("cp --index 2 f many:/tmp/second").succeeds();
    host.berth("cp f many:/tmp/all").succeeds();
    host.berth("exec -T --index 1 many ls /tmp")
        .succeeds()
        .stdout_has("all")
        .stdout_lacks("second");
    host.berth("exec -T --index 2 many ls /tmp").succeeds().stdout_has("all").stdout_has("second");
    host.berth("cp - many:/tmp").fails_with(64).stderr_has("--index");
}

#[test]
fn a_container_that_does_not_run_is_reached_with_its_volumes() {
    let host = host("job");
    host.eventually("it has ended", || host.status("stack-job-1")["phase"] == "exited");
    host.shell("echo f >f").succeeds();
    host.berth("cp f job:/tmp/f").succeeds();
    host.berth("cp f job:/volume/f").succeeds();
    host.berth("cp f job:/scratch/f").fails_with(1).stderr_has("tmpfs");
    host.berth("cp job:/tmp/f back").succeeds();
    host.berth("cp job:/volume/f back2").succeeds();
    assert_eq!(fs::read_to_string(host.project("back2")).unwrap(), "f\n");
    host.berth("run --rm -T job cat /volume/f").succeeds().stdout_is("f");
    assert_eq!(host.berth("ps -a --format json").json()["State"], "exited");
    host.berth("start job").succeeds();
    host.eventually("it has ended again", || host.status("stack-job-1")["phase"] == "exited");
}

#[test]
fn what_is_mounted_is_written_in_place_and_never_taken_away() {
    let stack = "
services:
  web:
    image: busybox:1
    command: [sleep, '100000']
    volumes: ['./mine:/tmp/mine', './theirs:/tmp/theirs:ro']
    configs: [{ source: conf, target: /tmp/conf }]
    stop_grace_period: 1s
configs: { conf: { content: given } }
";
    let host = TestHost::with("compose.yaml", stack);
    host.shell("for n in mine theirs; do echo old >$n; done; chmod 666 mine theirs").succeeds();
    host.shell("echo new >f; ln -s f link; mkfifo fifo; mkdir t; echo tar >t/mine").succeeds();
    host.berth("up -d").succeeds();
    let mounts = || inside(&host, "cat /proc/self/mountinfo");
    let before = mounts();

    host.berth("cp f web:/tmp/mine").succeeds();
    assert_eq!(inside(&host, "cat /tmp/mine"), "new\n");
    assert_eq!(fs::read_to_string(host.project("mine")).unwrap(), "new\n");
    host.shell("tar cf - -C t mine | $berth cp - web:/tmp").succeeds();
    assert_eq!(fs::read_to_string(host.project("mine")).unwrap(), "tar\n");
    for (what, path, why) in [
        ("f", "/tmp/theirs", "EROFS"),
        ("f", "/tmp/conf", "EROFS"),
        ("link", "/tmp/mine", "something is mounted there"),
        ("link", "/tmp/theirs", "something is mounted there"),
        ("fifo", "/etc/hosts", "something is mounted there"),
    ] {
        host.berth(&format!("cp {what} web:{path}")).fails_with(1).stderr_has(why);
    }
    assert_eq!(inside(&host, "cat /tmp/theirs; cat /tmp/conf"), "old\ngiven");
    assert_eq!(mounts(), before);
}

#[test]
fn a_container_that_was_started_while_we_waited_is_reached_as_it_runs() {
    let stack = "
services:
  gate:
    image: busybox:1
    command: [sleep, '100000']
    volumes: ['./gate:/gate']
    healthcheck: { test: [CMD, test, -e, /gate/open], interval: 1s, retries: 1000 }
    stop_grace_period: 1s
  web:
    image: busybox:1
    command: [sleep, '100000']
    depends_on: { gate: { condition: service_healthy } }
    stop_grace_period: 1s
";
    let host = TestHost::with("compose.yaml", stack);
    host.shell("mkdir gate; touch gate/open; echo f >f").succeeds();
    host.berth("up -d").succeeds();
    host.berth("stop").succeeds();
    host.shell("rm gate/open").succeeds();
    let up = host.start_shell(Place::Inside, "exec $berth up -d");
    host.eventually("the first runs", || host.status("stack-gate-1")["phase"] == "running");
    let copy = host.start_shell(Place::Inside, "exec $berth cp f web:/tmp/f");
    let waits = || host.berth_commands().iter().any(|c| c.contains(" cp f "));
    host.eventually("it waits for the lock", waits);
    std::thread::sleep(Duration::from_millis(500));
    host.shell("touch gate/open").succeeds();
    up.ends().succeeds();
    copy.ends().succeeds();
    assert_eq!(inside(&host, "cat /tmp/f"), "f\n");
}

#[test]
fn a_container_is_reached_without_what_only_its_program_needs() {
    let stack = "
services:
  job:
    image: busybox:1
    command: ['true']
    devices: ['/run/gone:/dev/gone']
    logging: { driver: syslog, options: { syslog-address: 'udp://localhost:6514' } }
";
    let host = TestHost::with("compose.yaml", stack);
    host.shell("mknod /run/gone c 1 3; echo f >f").succeeds();
    host.berth("up -d").succeeds();
    host.eventually("it has ended", || host.status("stack-job-1")["phase"] == "exited");
    host.shell("rm /run/gone").succeeds();
    let written = || {
        let bundle = "/run/berth/containers/stack-job-1/bundle.json";
        fs::metadata(host.machine().path(bundle)).unwrap().modified().unwrap()
    };
    let before = written();
    host.berth("cp f job:/tmp/f").succeeds();
    host.berth("cp job:/tmp/f back").succeeds();
    assert_eq!(fs::read_to_string(host.project("back")).unwrap(), "f\n");
    assert_eq!(written(), before);

    // A group that was there is not ours to remove.
    let groups = host.machine().cgroups().map(|group| group.join("berth/stack-job-1"));
    let groups: Vec<_> = groups.collect();
    groups.iter().for_each(|group| fs::create_dir_all(group).unwrap());
    host.berth("cp job:/tmp/f back").succeeds();
    let stay = groups.iter().all(|group| group.exists());
    for group in &groups {
        fs::remove_dir(group).unwrap();
        fs::remove_dir(group.parent().unwrap()).unwrap();
    }
    assert!(stay);
}

#[test]
fn what_is_no_file_is_refused_by_name_and_holes_stay_holes() {
    let host = host("web");
    inside(
        &host,
        "mkfifo /tmp/fifo; truncate -s 1099511627776 /tmp/sparse; echo end >>/tmp/sparse",
    );
    let begun = Instant::now();
    for (path, why) in [
        ("/dev/zero", "device"),
        ("/proc/1/environ", "answer of the kernel"),
        ("/proc", "answer of the kernel"),
        ("/sys/kernel", "answer of the kernel"),
        ("/tmp/none", "no `/tmp/none` in the container"),
    ] {
        host.berth(&format!("cp web:{path} out")).fails_with(1).stderr_has(why);
        assert!(!host.project("out").exists(), "{path}");
    }
    host.berth("cp web:/tmp/fifo fifo").succeeds();
    host.berth("cp web:/tmp/sparse sparse").succeeds();
    host.berth("cp sparse web:/tmp/again").succeeds();
    let meta = fs::metadata(host.project("sparse")).unwrap();
    assert_eq!(meta.len(), (1 << 40) + 4);
    assert!(meta.blocks() < 1024, "{} blocks", meta.blocks());
    assert_eq!(
        inside(&host, "tail -c 4 /tmp/again; stat -c %s /tmp/again"),
        "end\n1099511627780\n"
    );
    host.shell("printf '\\3757zXZ\\000 no archive' | $berth cp - web:/tmp").fails_with(1);
    host.shell("head -c 2000 /dev/urandom | $berth cp - web:/tmp").fails_with(1);
    assert!(begun.elapsed() < Duration::from_secs(50), "{:?}", begun.elapsed());
}

#[test]
fn a_hostile_stream_leads_nowhere() {
    let host = host("web");
    host.shell("mkdir t; cd t; ln -s /etc out; tar cf ../link.tar out; rm out; mkdir out; echo evil >out/passwd; tar rf ../link.tar out/passwd; echo evil >evil; tar cPf ../up.tar --transform 's,evil,../../evil,' evil; tar cPf ../abs.tar --transform 's,evil,/tmp/abs/evil,' evil").succeeds();
    host.shell("$berth cp - web:/volume <up.tar").fails_with(1).stderr_has("leads out");
    host.shell("$berth cp - web:/volume <link.tar")
        .fails_with(1)
        .stderr_has("in the place of a folder");
    host.shell("$berth cp - web:/volume <abs.tar").succeeds();
    assert_eq!(
        inside(&host, "cat /volume/tmp/abs/evil; grep -c evil /etc/passwd || true"),
        "evil\n0\n"
    );
}

#[test]
fn a_container_that_exchanges_folders_for_links_never_reaches_the_host() {
    let host = TestHost::with("compose.yaml", "
services:
  swap:
    image: busybox:1
    command: [sh, -c, 'cd /race; mkdir a; echo inner >a/canary; ln -s /run b; while true; do mv a t; mv b a; mv t b; mv a t; mv b a; mv t b; done']
    volumes: ['./shared:/race']
    stop_grace_period: 0s
");
    let secret = "host secret";
    host.shell("mkdir -p shared; echo 'host secret' >/run/canary; echo new >new").succeeds();
    host.berth("up -d").succeeds();
    let end = Instant::now() + Duration::from_secs(8);
    let mut rounds = 0;
    while Instant::now() < end && rounds < 200 {
        rounds += 1;
        // In its root `/run/canary` is not there, and on the host it is.
        let _ = fs::remove_file(host.project("out"));
        host.berth("cp swap:/race/a/canary out");
        let out = fs::read_to_string(host.project("out")).unwrap_or_default();
        assert!(!out.contains(secret), "round {rounds} read the host's file");
        host.berth("cp new swap:/race/a/canary");
        // Where a link was copied to, the next copy would follow it, as everybody does on the host.
        host.shell("rm -rf shared/copied").succeeds();
        host.berth("cp swap:/race/a ./shared/copied");
        let canary = host.shell("cat /run/canary").stdout;
        assert_eq!(canary, "host secret\n", "round {rounds} wrote the host's file");
    }
    assert!(rounds > 3, "{rounds} rounds");
    host.shell("rm /run/canary").succeeds();
}

#[test]
fn programs_of_the_container_are_never_run_by_us() {
    let host = host("web");
    let names = "ps sh tar xz gzip git nsenter ip mount newuidmap";
    // Whoever runs one of these outside shows our token.
    inside(
        &host,
        &format!(
            "mkdir /trap; for n in {names}; do printf '#!/bin/busybox sh\\nenv >>/volume/stolen\\n' >/trap/\\$n; chmod 755 /trap/\\$n; cp -f /trap/\\$n /tmp/\\$n; done; echo data >/tmp/data"
        ),
    );
    let token = "TOKEN=canary-4711 PATH=/trap:$PATH";
    for words in [
        "cp web:/tmp/data out",
        "cp out web:/tmp/back",
        "cp web:/tmp - >/dev/null",
        "top",
        "logs",
        "stats --no-stream",
        "diff web",
        "export -o e.tar web",
        "ps",
        "events --since 1m --until 0s",
    ] {
        host.shell(&format!("{token} $berth {words}")).succeeds();
    }
    let stolen = inside(&host, "cat /volume/stolen 2>/dev/null || true");
    assert!(!stolen.contains("canary-4711"), "{stolen}");
    if host.shell("command -v strace").code != 0 {
        return berth_tests::skipped("strace is missing: what is executed is not counted");
    }
    host.shell("strace -f -e trace=execve,execveat -o calls $berth cp web:/tmp/data out2")
        .succeeds();
    let calls = fs::read_to_string(host.project("calls")).unwrap();
    assert_eq!(calls.matches("execve").count(), 1, "{calls}");
}

#[test]
fn a_copy_that_is_killed_leaves_nothing_of_ours() {
    let host = host("job");
    host.eventually("it has ended", || host.status("stack-job-1")["phase"] == "exited");
    host.shell("mkfifo stream").succeeds();
    let copy = host.start_shell(Place::Inside, "exec $berth cp - job:/tmp <>stream");
    let copies = || host.berth_commands().iter().filter(|c| c.contains(" cp - ")).count();
    host.eventually("both of its sides are there", || copies() == 2);
    copy.signal(Signal::SIGKILL);
    copy.ends();
    host.eventually("nobody is left", || copies() == 0);
    host.berth("up -d job").succeeds();
}
