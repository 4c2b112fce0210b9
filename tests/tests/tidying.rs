//! What nobody needs goes when it is asked to, is shown before, and nothing else goes.

use berth_tests::machine::Place;
use berth_tests::{TestHost, images};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

const STACK: &str = "
services:
  web:
    image: busybox:1
    command: [sleep, '100000']
    volumes: ['data:/data', '/scratch']
  job:
    image: busybox:1
    command: [sh, -c, 'dd if=/dev/zero of=/big bs=1M count=3; echo done']
volumes:
  data:
";

const STATE: &str = "/var/lib/berth";

fn host() -> TestHost {
    let host = TestHost::with("compose.yaml", STACK);
    host.berth("up -d").succeeds();
    host.eventually("the job has ended", || host.status("stack-job-1")["phase"] == "exited");
    host
}

/// Rows of `system df`: the kind, its size and what could be had back.
fn df(host: &TestHost) -> Vec<(String, u64, u64)> {
    let rows = host.berth("system df --format json").succeeds().stdout;
    let row = |line: &str| {
        let row: Value = serde_json::from_str(line).expect("JSON");
        let number = |key: &str| row[key].as_u64().expect("a number");
        (row["Type"].as_str().expect("a type").into(), number("Size"), number("Reclaimable"))
    };
    rows.lines().map(row).collect()
}

fn du(host: &TestHost) -> u64 {
    let du = host.shell(&format!("du -s -B1 {STATE}")).succeeds().stdout;
    du.split_whitespace().next().expect("a number").parse().expect("a number")
}

#[test]
fn df_agrees_with_du_to_the_byte_and_prune_gives_back_what_it_says() {
    let host = host();
    host.berth("stop").succeeds();
    // Links, holes and links out of a volume are as du counts them.
    host.shell(&format!(
        "cd {STATE}/volumes/stack_data/data && dd if=/dev/zero of=one bs=1M count=2 2>&1 && \
         ln one two && ln -s / out && truncate -s 1G hole && mkdir -p a/b/c"
    ))
    .succeeds();
    host.berth("tag busybox:1 other:1").succeeds();
    host.shell(&format!(
        "mkdir -p {STATE}/images/making/00/layer && echo x >{STATE}/images/making/00/blob.1"
    ))
    .succeeds();
    let (rows, before) = (df(&host), du(&host));
    assert_eq!(rows.iter().map(|(_, size, _)| size).sum::<u64>(), before, "{rows:?}");
    let of = |kind: &str| rows.iter().find(|(row, ..)| row == kind).expect("the row").clone();
    assert!((2 << 20..3 << 20).contains(&of("Local Volumes").1), "{rows:?}");
    assert!(of("Containers").2 > 3 << 20, "{rows:?}");
    assert!(of("Unfinished").2 > 0, "{rows:?}");

    let shown = host.berth("system prune -a --volumes --dry-run --format json").succeeds().stdout;
    let size = |line: &str| serde_json::from_str::<Value>(line).unwrap()["Size"].as_u64().unwrap();
    let promised: u64 = shown.lines().map(size).sum();
    assert_eq!(du(&host), before, "a dry run changes nothing");
    host.berth("system prune -a --volumes -f").succeeds().stdout_has("Total reclaimed space: ");
    // The network's record and the journal are no part of what is counted as given back.
    let after = du(&host);
    let gone = before - after;
    assert!(gone.abs_diff(promised) <= 64 << 10, "{gone} bytes went, {promised} were promised");
    let rows = df(&host);
    assert_eq!(rows.iter().map(|(_, size, _)| size).sum::<u64>(), after, "{rows:?}");
    host.berth("volume ls").succeeds().stdout_has("stack_data").stdout_lacks("anon");
}

#[test]
fn what_runs_and_what_has_a_name_stays() {
    let host = host();
    let shown = host.berth("system prune --dry-run").succeeds();
    shown.stdout_has("stack-job-1").stdout_lacks("stack-web-1").stdout_lacks("busybox");
    host.berth("system prune -f -a --volumes").succeeds();
    host.berth("ps -a").succeeds().stdout_has("stack-web-1").stdout_lacks("stack-job-1");
    host.berth("exec -T web cat /data/seed").succeeds().stdout_is("from the image");
    host.berth("image ls").succeeds().stdout_has("busybox");
    host.berth("network ls").succeeds().stdout_has("stack_default");
    host.berth("down").succeeds();
    host.berth("system prune -f").succeeds();
    host.berth("image ls").succeeds().stdout_has("busybox");
    host.berth("volume prune -f").succeeds();
    host.berth("volume ls").succeeds().stdout_has("stack_data");
    host.berth("volume prune -f -a").succeeds();
    host.berth("volume ls").succeeds().stdout_lacks("stack_data");
    host.berth("image prune -f").succeeds();
    host.berth("image ls").succeeds().stdout_has("busybox");
    let gone = host.berth("image prune -f -a --format json").succeeds().json();
    assert_eq!((&gone["Kind"], &gone["Names"][0]), (&"image".into(), &"busybox:1".into()));
    host.berth("image ls").succeeds().stdout_lacks("busybox");
    let left = host.shell(&format!("find {STATE}/images -type f ! -name lock")).succeeds();
    assert_eq!(left.stdout, "");
}

#[test]
fn without_a_terminal_it_has_to_be_forced() {
    let host = host();
    for words in ["system prune", "container prune"] {
        host.berth(words).fails_with(7).stderr_has("1 container").stderr_has("--force");
    }
    host.berth("ps -a").succeeds().stdout_has("stack-job-1");
    host.berth("volume prune --filter until=1h").fails_with(64).stderr_has("`until`");
    host.berth("system prune --filter dangling=true").fails_with(64).stderr_has("`dangling`");
    host.berth("image prune --filter bogus=1").fails_with(64).stderr_has("bogus=1");
    host.berth("container prune -f --filter label=nobody.has=this").succeeds();
    host.berth("container prune -f --filter until=1h").succeeds();
    host.berth("ps -a").succeeds().stdout_has("stack-job-1");
    host.berth("container prune -f --filter label=com.docker.compose.project=stack").succeeds();
    host.berth("ps -a").succeeds().stdout_lacks("stack-job-1").stdout_has("stack-web-1");
}

#[test]
fn names_go_one_by_one_and_the_image_with_the_last() {
    let host = host();
    host.berth("tag busybox:1 shop/web:1").succeeds();
    host.berth("tag busybox:1 shop/web:2").succeeds();
    let id = host.berth("image ls -q --no-trunc").succeeds().stdout.trim().to_owned();
    let short = &id["sha256:".len()..][..12];
    host.berth("rmi shop/web:2").succeeds().stdout_is("Untagged: shop/web:2");
    host.berth(&format!("rmi {short}")).fails_with(1).stderr_has("in use").stderr_has("stack-");
    host.berth("rmi busybox:1 nothing:1 shop/web:1")
        .fails_with(3)
        .stdout_is("Untagged: busybox:1")
        .stderr_has("`nothing:1` is not in the store")
        .stderr_has("`shop/web:1` is in use: the");
    host.berth("rmi -f shop/web:1").succeeds().stdout_is("Untagged: shop/web:1");
    host.berth("image ls").succeeds().stdout_has("<none>");
    host.berth("image prune -a -f").succeeds();
    host.berth("start job").succeeds();
    host.berth("down -v -y").succeeds();
    host.berth(&format!("tag {short} a:1")).succeeds();
    host.berth(&format!("tag {short} b:1")).succeeds();
    host.berth(&format!("rmi {short}")).fails_with(1).stderr_has("several tags (`a:1`, `b:1`)");
    host.berth(&format!("rmi -f {short}"))
        .succeeds()
        .stdout_is(&format!("Untagged: a:1\nUntagged: b:1\nDeleted: {id}"));
    host.berth("rmi nothing:1").fails_with(1);
    host.berth("rmi -f nothing:1").succeeds().stderr_has("nothing:1");
    host.berth("rmi -f abc").succeeds().stderr_has("`abc`");
    host.berth("rmi -f Not//A//Name").fails_with(1).stderr_has("Not//A//Name");
    host.berth("rmi -f localhost/host").fails_with(1);
    host.berth("tag nothing:1 a:1").fails_with(1).stderr_has("`nothing:1` is not in the store");
    host.berth("image ls").succeeds().stdout_lacks("busybox");
}

#[test]
fn images_are_listed_by_what_they_are() {
    let host = TestHost::bare();
    host.load(&images::busybox());
    host.berth("tag busybox:1 shop/web:1").succeeds();
    host.berth("image ls 'shop/*'").succeeds().stdout_has("shop/web").stdout_lacks("busybox");
    host.berth("image ls --filter reference=busybox").succeeds().stdout_lacks("shop/web");
    host.berth("image ls --filter label=of.image=busybox").succeeds().stdout_has("shop/web");
    host.berth("image ls --filter label=of.image=other").succeeds().stdout_lacks("shop/web");
    host.berth("image ls --filter dangling=true").succeeds().stdout_lacks("busybox");
    host.berth("image ls --digests").succeeds().stdout_has("DIGEST").stdout_has("<none>");
    host.berth("image ls --filter since=nothing").fails_with(1).stderr_has("`nothing`");
    host.berth("image ls --filter bogus=1").fails_with(64);
    let seen = host.berth("image inspect nothing:1 busybox:1");
    assert_eq!(seen.code, 1, "{seen}");
    let seen = seen.stderr_has("`nothing:1` is not in the store").json();
    assert_eq!(seen[0]["RepoTags"], serde_json::json!(["busybox:1", "shop/web:1"]));
    assert_eq!(seen[0]["Config"]["Labels"]["of.image"], "busybox");
    assert_eq!(seen[0]["RootFS"]["Layers"].as_array().map(Vec::len), Some(1));
    host.berth("image inspect -f '{{.Os}} {{json .Config.Cmd}} {{index .RepoTags 1}}' busybox:1")
        .succeeds()
        .stdout_is("linux [\"sh\"] shop/web:1");
    let seen = host.berth("image inspect nothing:1 nobody:1").fails_with(1);
    seen.stderr_has("`nobody:1`").stderr_has("not everything that was asked for could be shown");
    host.berth("image prune -h").succeeds().stdout_lacks("volume").stdout_has("dangling");
    host.berth("volume prune -h").succeeds().stdout_lacks("image").stdout_lacks("until");
    let unsaid =
        "{{if .Config.Healthcheck}}x{{end}}{{.Config.StopSignal}}{{.Config.Labels.nobody}}";
    let seen = host.berth(&format!("image inspect -f '{unsaid}' busybox:1")).succeeds();
    seen.stdout_is("<no value>");
    host.berth("image inspect -f '{{.Nope}}' busybox:1").fails_with(64).stderr_has("`Nope`");
    host.shell("$berth image inspect busybox:1 | head -c 1; exit 0").succeeds().stdout_is("[");
}

#[test]
fn a_prune_killed_at_any_moment_leaves_whole_images_and_is_gone_on_with() {
    let host = TestHost::bare();
    let archive = images::busybox();
    for round in 0..12 {
        host.load(&archive);
        host.berth("tag busybox:1 kept:1").succeeds();
        host.shell("echo x >x && tar -cf flat.tar x").succeeds();
        host.shell("$berth image import flat.tar flat:1").succeeds();
        host.berth("rmi busybox:1").succeeds();
        let prune = host.start_berth("image prune -a -f");
        std::thread::sleep(std::time::Duration::from_millis(4 * round));
        if let Some(pid) = prune.running() {
            // It may end meanwhile, which is a moment as good as any.
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        let _ = prune.ends();
        // What is left is of use or to be swept, and nothing is broken.
        host.berth("doctor --check-store").succeeds();
        // What is listed is whole, and what is loaded over the rest is too.
        let listed = host.berth("image ls --format json").succeeds().stdout;
        for line in listed.lines() {
            let row: Value = serde_json::from_str(line).expect("JSON");
            let id = row["ID"].as_str().expect("an id");
            host.shell(&format!("$berth image save {id} | tar -t >/dev/null")).succeeds();
        }
        host.load(&archive);
        host.shell("$berth image save busybox:1 | tar -xO manifest.json").succeeds();
        host.berth("image prune -a -f").succeeds();
        let left = host.shell(&format!("find {STATE}/images -type f ! -name lock")).succeeds();
        assert_eq!(left.stdout, "", "round {round}");
    }
}

#[test]
fn what_is_being_loaded_is_not_taken_away() {
    let host = TestHost::bare();
    let archive = images::busybox();
    let archive = archive.display();
    host.shell("mkfifo pipe").succeeds();
    let load = host.start_shell(Place::Inside, "$berth image load <pipe");
    let feed = host.start_shell(
        Place::Inside,
        &format!(
            "exec 3>pipe; head -c 700000 {archive} >&3; while ! test -e go; do sleep 0.1; done; \
             tail -c +700001 {archive} >&3"
        ),
    );
    let begun = format!("test -d {STATE}/images/layers && ! flock -n {STATE}/images/lock true");
    host.eventually("the load has begun", || host.shell(&begun).code == 0);
    host.berth("system df").succeeds();
    host.shell(&format!("mkdir {STATE}/images/layers/stray")).succeeds();
    host.berth("image prune -a -f").fails_with(1).stderr_has("another berth is");
    host.shell("touch go").succeeds();
    load.ends().succeeds();
    feed.ends().succeeds();
    host.berth("image prune -f").succeeds();
    host.shell(&format!("ls {STATE}/images/layers")).succeeds().stdout_lacks("stray");
    host.berth("doctor --check-store").succeeds();
    host.berth("image ls").succeeds().stdout_has("busybox");
}

#[test]
fn what_an_up_has_just_made_is_not_taken_away() {
    let host = TestHost::with("compose.yaml", STACK);
    host.berth("up -d").succeeds();
    let prunes = host.start_shell(
        Place::Inside,
        "while ! test -e stop; do $berth system prune -f >>said 2>&1 || echo $? >>codes; done",
    );
    for _ in 0..6 {
        host.berth("up -d --force-recreate web").succeeds();
    }
    host.shell("touch stop").succeeds();
    prunes.ends().succeeds();
    host.shell("cat said codes 2>/dev/null; test ! -s codes").succeeds();
    host.berth("exec -T web cat /data/seed").succeeds().stdout_is("from the image");
    host.berth("ps").succeeds().stdout_has("stack-web-1");
}

#[test]
fn on_a_terminal_the_plan_is_shown_and_asked_about() {
    let host = host();
    host.berth("stop").succeeds();
    let asked = |answer: &str| {
        let line = "export berth; script -qec '$berth system prune -a --volumes' /dev/null";
        host.shell(&format!("berth=$berth; echo {answer} | ( {line} )")).stdout
    };
    let shown = asked("n");
    for text in ["KIND", "stack-web-1", "busybox:1", "the data is lost of", "anon", "[y/N]"] {
        assert!(shown.contains(text), "{text}: {shown}");
    }
    assert!(!shown.contains("reclaimed"), "{shown}");
    host.berth("ps -a").succeeds().stdout_has("stack-web-1");
    let shown = asked("y");
    assert!(shown.contains("Total reclaimed space: "), "{shown}");
    host.berth("ps -a").succeeds().stdout_lacks("stack-web-1");
    host.berth("image ls").succeeds().stdout_lacks("busybox");
    host.berth("volume ls").succeeds().stdout_has("stack_data");
}

#[test]
fn a_volume_that_another_project_is_just_taking_is_not_removed_under_it() {
    let host = TestHost::with("compose.yaml", STACK);
    host.write(
        "other.yaml",
        "services: { user: { image: 'busybox:1', command: [sleep, '1000'], volumes: ['theirs:/data'] } }
volumes: { theirs: { external: true, name: stack_data } }",
    );
    for round in 0..8 {
        host.berth("up -d web").succeeds();
        host.berth("down").succeeds();
        let prune = host
            .start_shell(Place::Inside, &format!("sleep 0.0{round}; $berth volume prune -a -f"));
        let up = host.berth("-f other.yaml -p other up -d");
        prune.ends();
        let there = host.berth("volume ls -q").succeeds().stdout.contains("stack_data");
        assert_eq!(up.code == 0, there, "round {round}: {up}");
        if there {
            let read = host.berth("-f other.yaml -p other exec -T user cat /data/seed");
            read.succeeds().stdout_is("from the image");
        }
        host.berth("-f other.yaml -p other down").succeeds();
    }
}

#[test]
fn a_lost_record_is_no_reason_to_take_layers_from_under_a_container() {
    let host = host();
    host.shell(&format!("for record in {STATE}/images/images/*.json; do : >$record; done"))
        .succeeds();
    let layers = || host.shell(&format!("ls {STATE}/images/layers")).succeeds().stdout;
    let before = layers();
    host.berth("image prune -f").fails_with(1).stderr_has("is lost, and `stack-");
    assert_eq!(layers(), before);
    host.berth("exec -T web cat /data/seed").succeeds().stdout_is("from the image");
    host.load(&images::busybox());
    host.berth("image prune -f").succeeds();
    assert_eq!(layers(), before);
}
