//! A container's files: what it changed, all of them as an archive, and a new image of them.

use berth_tests::host::Process;
use berth_tests::{Running, TestHost};
use nix::sys::signal::Signal;

const STACK: &str = r#"
services:
  web:
    image: busybox:1
    command: [sleep, '100000']
    environment: { FROM_FILE: "yes" }
    volumes: [data:/data, ./own:/mnt/own]
    tmpfs: /scratch
    configs: [{ source: c, target: /etc/app/conf }]
  next:
    image: committed:1
    command: [sleep, '100000']
    profiles: [next]
configs: { c: { content: text } }
volumes: { data: {} }
"#;

/// A machine on which `web` runs and has changed nothing yet.
fn running() -> TestHost {
    let host = TestHost::with("compose.yaml", STACK);
    host.write("own/file", "of the host");
    host.berth("up -d").succeeds();
    host
}

/// Runs a shell line in `web`.
#[track_caller]
fn in_web(host: &TestHost, line: &str) {
    host.berth(&format!("exec -T web sh -c \"{line}\"")).succeeds();
}

#[test]
fn what_a_container_changed_is_listed_without_its_mounts() {
    let host = running();
    host.berth("diff web").succeeds().stdout_lacks("/data").stdout_lacks("/mnt/own/file");
    in_web(&host, "echo x >/home/app/new; rm /bin/tac; mkdir /home/app/d; touch /home/app/d/f");
    in_web(&host, "rm -r /home/app/d; echo y >>/etc/passwd; echo z >/data/in-volume");
    let told = host.berth("diff web").succeeds().stdout;
    for line in [
        "C /bin",
        "D /bin/tac",
        "C /etc",
        "C /etc/passwd",
        "C /home",
        "C /home/app",
        "A /home/app/new",
    ] {
        assert!(told.lines().any(|l| l == line), "{line} is not in\n{told}");
    }
    for path in ["/data", "/scratch", "/proc", "/etc/hosts", "/home/app/d"] {
        assert!(!told.lines().any(|l| &l[2..] == path), "{path} is in\n{told}");
    }
    let paths: Vec<&str> = told.lines().map(|line| &line[2..]).collect();
    assert!(paths.is_sorted(), "{told}");
    host.berth("stop").succeeds();
    host.berth("diff web").succeeds().stdout_is(&told);
}

#[test]
fn a_folder_made_anew_hides_what_was_in_it() {
    let host = running();
    in_web(&host, "rm -r /home/app && mkdir /home/app && echo x >/home/app/own; rm -r /root");
    host.berth("diff web").succeeds().stdout_has("D /root").stdout_has("A /home/app/own");
    host.berth("commit web committed:1").succeeds();
    host.berth("--profile next up -d next").succeeds();
    host.berth("exec -T next ls -A /home/app").succeeds().stdout_is("own");
    assert_ne!(host.berth("exec -T next ls /root").code, 0);
}

#[test]
fn a_committed_container_is_an_image_that_runs() {
    let host = running();
    in_web(&host, "echo new >/new; rm /bin/tac; ln /new /second; ln -s new /link; mkfifo /fifo");
    in_web(
        &host,
        "chown 1000:1001 /new; chmod 4750 /new; echo no >/data/in-volume; echo no >/scratch/f",
    );
    let changes = r#"-c 'CMD ["sleep", "7"]' -c 'ENV OWN=1' -c 'LABEL a=b'"#;
    let id =
        host.berth(&format!("commit -a Ada -m said {changes} web committed:1")).succeeds().stdout;
    assert!(id.starts_with("sha256:"), "{id}");
    let about = host.berth("image inspect committed:1").succeeds().json();
    assert_eq!(about[0]["Id"], id.trim());
    assert_eq!(about[0]["Config"]["Cmd"], serde_json::json!(["sleep", "7"]));
    assert_eq!(about[0]["Config"]["Labels"]["a"], "b");
    let env = about[0]["Config"]["Env"].to_string();
    assert!(env.contains("OWN=1") && env.contains("FROM_FILE=yes") && env.contains("FROM_IMAGE"));
    host.berth("image history committed:1").succeeds().stdout_has("said");
    host.berth("--profile next up -d --pull never next").succeeds();
    host.berth("exec -T next sh -c 'cat /new /second; stat -c %u:%g:%a:%h /new; readlink /link'")
        .succeeds()
        .stdout_is("new\nnew\n1000:1001:4750:2\nnew");
    host.berth("exec -T next sh -c 'test -p /fifo && cat /data/seed && ! test -e /bin/tac'")
        .succeeds()
        .stdout_is("from the image");
    assert_ne!(host.berth("exec -T next ls /data/in-volume /scratch/f").code, 0);
    // The container it was made of goes on.
    host.berth("exec -T web cat /new").succeeds().stdout_is("new");
}

#[test]
fn a_commit_is_refused_with_every_wrong_change() {
    let host = running();
    host.berth("commit -c 'RUN make' -c 'USER' web committed:1")
        .fails_with(64)
        .stderr_has("RUN make")
        .stderr_has("`USER` needs a value");
    host.berth("image ls").succeeds().stdout_lacks("committed");
    host.berth("commit -p=false web committed:1").succeeds();
    host.berth("image ls").succeeds().stdout_has("committed");
}

#[test]
fn an_exported_container_is_imported_as_an_image_that_runs() {
    let host = running();
    let long = "n".repeat(120);
    in_web(&host, &format!("echo new >/{long}; ln /{long} /hard; rm /bin/tac; chown 7:8 /hard"));
    host.berth("export -o files.tar web").succeeds();
    host.shell("$berth export web | cmp - files.tar").succeeds();
    host.shell("tar -tf files.tar").succeeds().stdout_lacks("in-volume").stdout_lacks("bin/tac");
    host.shell(&format!("tar --numeric-owner -tvf files.tar {long} home/app"))
        .succeeds()
        .stdout_has("7/8")
        .stdout_has("1000/1000");
    for (import, name) in [
        ("image import files.tar committed:1 -c 'ENV A=b'", "committed:1"),
        ("gzip -c files.tar | $berth image import - committed:1", "committed:1"),
    ] {
        let line =
            if import.contains('|') { import.to_owned() } else { format!("$berth {import}") };
        host.shell(&line).succeeds().stdout_has("sha256:");
        host.berth("image ls").succeeds().stdout_has(name.split(':').next().expect("a name"));
        host.berth("--profile next up -d next").succeeds();
        host.berth(&format!("exec -T next cat /{long} /hard /data/seed"))
            .succeeds()
            .stdout_is("new\nnew\nfrom the image");
        assert_ne!(host.berth("exec -T next ls /bin/tac").code, 0);
    }
    host.berth("image import https://example.org/a.tar").fails_with(64).stderr_has("curl");
}

#[test]
fn an_export_needs_no_running_container_but_one() {
    let host = TestHost::with("compose.yaml", STACK);
    host.write("own/file", "of the host");
    host.berth("export web").fails_with(1).stderr_has("has no container");
    host.berth("create web").succeeds();
    host.shell("$berth export web | tar -xO data/seed").succeeds().stdout_is("from the image");
}

const LONG: &str = r#"
services:
  web:
    image: busybox:1
    command: [sh, -c, "trap 'exit 7' TERM; truncate -s 2G /big; while :; do sleep 0.1; done"]
"#;

const BUSY: &str = r#"
services:
  web:
    image: busybox:1
    command:
      - sh
      - -c
      - |
        work() {
          while :; do
            for n in 0 1 2 3 4 5 6 7 8 9; do mkdir d$$n; ln -s x l$$n; : >f$$n; done
            for n in 0 1 2 3 4 5 6 7 8 9; do rmdir d$$n; : >d$$n; rm l$$n f$$n d$$n; done
          done
        }
        for part in a b; do mkdir -p /busy/$$part; (cd /busy/$$part; work) & done
        wait
"#;

/// A machine on which `web` runs, heeds its stop signal, and is long to commit.
fn long_to_commit(before: &str) -> TestHost {
    let host = TestHost::with("compose.yaml", LONG);
    host.shell(before).succeeds();
    host.berth("up -d").succeeds();
    host.eventually("its file is there", || host.berth("diff web").stdout.contains("/big"));
    host
}

/// Whether the processes of `web` stand still.
fn stands(host: &TestHost) -> bool {
    let is = |file: &str, word: &str| {
        let path = host.machine().cgroup_with("berth/stack-web-1", file);
        path.and_then(|path| std::fs::read_to_string(path).ok()).is_some_and(|t| t.contains(word))
    };
    is("cgroup.events", "frozen 1") || is("freezer.state", "FROZEN")
}

/// Whether a commit has put something into its layer, which is a file without a name.
fn writes_layer(commit: i32) -> bool {
    let files = std::fs::read_dir(format!("/proc/{commit}/fd")).into_iter().flatten().flatten();
    files.map(|file| file.path()).any(|file| {
        let nameless = std::fs::read_link(&file).is_ok_and(|to| to.to_string_lossy().contains('#'));
        nameless && std::fs::metadata(&file).is_ok_and(|there| there.len() > 0)
    })
}

/// A commit that has just stopped `web`.
fn begun_commit(host: &TestHost) -> Running {
    let commit = host.start_berth("commit web committed:1");
    host.eventually("the container stands still", || stands(host));
    commit
}

fn runs_on(host: &TestHost, before: &Process) {
    host.eventually("the container runs on", || !stands(host));
    assert_eq!(host.pid_of("web"), *before);
    host.berth("exec -T web echo here").succeeds().stdout_is("here");
}

#[test]
fn a_container_runs_on_when_its_commit_is_killed() {
    let host = long_to_commit("true");
    let before = host.pid_of("web");
    let commit = begun_commit(&host);
    commit.signal(Signal::SIGKILL);
    runs_on(&host, &before);
    drop(commit.ends());
    host.berth("image ls").succeeds().stdout_lacks("committed");
}

#[test]
fn a_container_runs_on_when_its_commit_is_killed_also_with_the_old_freezer() {
    let host = TestHost::bare();
    if host.machine().cgroup_with("", "freezer.state").is_none() {
        return berth_tests::skipped("there is no freezer of cgroup v1");
    }
    drop(host);
    let host = long_to_commit("umount -l /sys/fs/cgroup/unified");
    let before = host.pid_of("web");
    let commit = begun_commit(&host);
    commit.signal(Signal::SIGKILL);
    runs_on(&host, &before);
    drop(commit.ends());
    host.shell("mount -t cgroup2 cgroup2 /sys/fs/cgroup/unified").succeeds();
}

#[test]
fn a_container_stands_still_until_the_last_of_two_commits_is_gone() {
    let host = long_to_commit("true");
    let before = host.pid_of("web");
    let first = begun_commit(&host);
    let second = host.start_berth("commit web committed:2");
    host.eventually("the second writes its layer", || writes_layer(second.pid()));
    first.signal(Signal::SIGKILL);
    drop(first.ends());
    // The monitor has heard of the end of the first when it answers this.
    host.berth("kill -s CONT web").succeeds();
    assert!(stands(&host));
    second.signal(Signal::SIGKILL);
    runs_on(&host, &before);
    drop(second.ends());
}

#[test]
fn a_container_whose_monitor_dies_during_a_commit_runs_on_with_the_next_up() {
    let host = long_to_commit("true");
    let before = host.pid_of("web");
    let commit = begun_commit(&host);
    host.kill("KILL", host.monitor_of("web"));
    assert!(stands(&host));
    host.berth("up -d").succeeds();
    runs_on(&host, &before);
    commit.ends().fails_with(1).stderr_has("did not stand still").stderr_has("berth up");
    host.berth("image ls").succeeds().stdout_lacks("committed");
}

#[test]
fn a_container_that_stands_still_for_a_commit_heeds_its_stop() {
    let host = long_to_commit("true");
    let commit = begun_commit(&host);
    host.berth("stop -t 20 web").succeeds();
    assert_eq!(host.status("stack-web-1")["exit_code"], 7);
    commit.ends().fails_with(1).stderr_has("did not stand still");
    host.berth("image ls").succeeds().stdout_lacks("committed");
}

#[test]
fn a_container_that_stands_still_for_a_commit_can_be_killed() {
    let host = long_to_commit("true");
    let commit = begun_commit(&host);
    host.berth("kill web").succeeds();
    host.eventually("it has ended", || host.status("stack-web-1")["exit_code"] == 137);
    commit.ends().fails_with(1);
}

#[test]
fn what_comes_and_goes_while_it_is_read_is_no_failure() {
    let host = TestHost::with("compose.yaml", BUSY);
    host.berth("up -d").succeeds();
    host.eventually("it works", || host.berth("diff web").stdout.contains("/busy"));
    for _ in 0..30 {
        host.berth("diff web").succeeds();
        host.shell("$berth export web >/dev/null").succeeds();
        host.berth("commit --pause=false web committed:1").succeeds();
    }
}
