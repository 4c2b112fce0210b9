//! Regular files of the host that containers have mounted, and `x-berth.on_change`.

use berth_tests::TestHost;

/// One that has a file mounted, and says what is in it at its start and when it gets a signal.
fn host_with(mode: &str, on_change: &str) -> TestHost {
    let text = format!(
        "
services:
  web:
    image: busybox:1
    command: [sh, -c, 'trap \"cat /settings\" HUP; cat /settings; while :; do sleep 0.05; done']
    stop_grace_period: 1s
    volumes: ['./app.conf:/settings{mode}']
    x-berth: {{ on_change: {on_change} }}
"
    );
    let host = TestHost::with("compose.yaml", &text);
    host.write("app.conf", "port = 1\n");
    host.berth("up -d").succeeds();
    // A signal before that would end it.
    host.eventually("it listens", || said(&host) == "port = 1");
    host.berth("plan --detailed-exitcode").fails_with(0);
    host
}

/// What the program has said, the last of it.
fn said(host: &TestHost) -> String {
    let said = host.berth("logs --no-log-prefix web").succeeds().stdout;
    said.lines().last().unwrap_or_default().to_owned()
}

fn inside(host: &TestHost) -> String {
    host.berth("exec -T web cat /settings").succeeds().stdout.trim_end().to_owned()
}

/// As an editor does that writes into the file.
fn edit(host: &TestHost, text: &str) {
    host.shell(&format!("echo '{text}' > app.conf")).succeeds();
}

/// As an editor does that puts a new file in its place.
fn replace(host: &TestHost, text: &str) {
    host.shell(&format!("echo '{text}' > app.conf.new && mv app.conf.new app.conf")).succeeds();
}

fn is_done(host: &TestHost) {
    host.berth("plan --detailed-exitcode").fails_with(0);
}

#[test]
fn an_edit_in_place_is_seen_and_does_what_the_service_says() {
    for (on_change, line, keeps) in [
        ("signal:HUP", "update  web-1", true),
        ("restart", "restart  web-1", false),
        ("replace", "replace  web-1", false),
    ] {
        let host = host_with(":ro", on_change);
        let before = host.pid_of("web");
        edit(&host, "port = 2");
        assert_eq!(inside(&host), "port = 2");
        host.berth("plan --detailed-exitcode")
            .fails_with(2)
            .stdout_has(line)
            .stdout_has("/app.conf.content sha256:")
            .stdout_lacks("drift");
        host.berth("up -d").succeeds();
        assert_eq!(host.pid_of("web") == before, keeps, "{on_change}");
        host.eventually("it was told", || said(&host) == "port = 2");
        is_done(&host);
    }
    let host = host_with(":ro", "none");
    edit(&host, "port = 2");
    assert_eq!(inside(&host), "port = 2");
    is_done(&host);
}

#[test]
fn what_the_kernel_tells_is_another_text_at_each_look_and_no_change() {
    let host = TestHost::with(
        "compose.yaml",
        "
services:
  meter:
    image: busybox:1
    command: [sleep, '100000']
    volumes: ['/proc/meminfo:/meminfo:ro']
    x-berth: { on_change: restart }
",
    );
    host.berth("up -d").succeeds();
    is_done(&host);
}

/// The newest generation, how it stands, and what of it was taken back.
fn newest(host: &TestHost) -> String {
    let folder = "/var/lib/berth/projects/stack/generations";
    let newest = format!("cat {folder}/$(ls {folder} | sort -n | tail -n 1)/record.json");
    let newest = host.shell(&newest).succeeds().json();
    let words = newest["standing"].as_str().expect("how it stands");
    format!("{} {words} {}", newest["number"], newest["rejected"])
}

#[test]
fn the_history_knows_which_content_was_taken_back() {
    let host = TestHost::with(
        "compose.yaml",
        "
services:
  web:
    image: busybox:1
    command: [sh, -c, 'grep -q good /settings && exec sleep 100000; echo no good settings; exit 1']
    volumes: ['./app.conf:/settings:ro']
    deploy: { update_config: { order: start-first, failure_action: rollback, monitor: 300ms } }
",
    );
    host.write("app.conf", "good\n");
    host.berth("up -d").succeeds();
    replace(&host, "bad");
    host.berth("up -d").fails_with(6).stderr_has("no good settings");
    // Just that is not tried again, and what serves is what is gone back to.
    host.berth("up -d")
        .fails_with(9)
        .stderr_has("just this was rejected before: `web` in generation 2");
    assert_eq!(newest(&host), "2 failed [\"web\"]");
    host.berth("rollback").fails_with(1).stderr_has("no stable generation before");
    replace(&host, "good again");
    let told = host.berth("plan --json").succeeds().json()["generation"].clone();
    assert_eq!(told, serde_json::json!({ "now": 2, "after": 3 }));
    host.berth("up -d").succeeds();
    is_done(&host);
    assert_eq!(inside(&host), "good again");
    assert_eq!(newest(&host), "3 stable null");
    // Another that became good makes it no other.
    replace(&host, "bad");
    host.berth("up -d").fails_with(9).stderr_has("`web` in generation 2");
    replace(&host, "good again");
    host.berth("up -d").succeeds();
    assert_eq!(newest(&host), "3 stable null");

    // An edit is nothing that a rollback leads back from.
    host.edit("compose.yaml", "image: busybox:1", "image: busybox:1\n    labels: { tier: web }");
    host.berth("up -d").succeeds();
    replace(&host, "good for the third time");
    host.berth("up -d").succeeds();
    host.berth("restart web").succeeds();
    host.berth("rollback").succeeds();
    host.berth("plan").succeeds().stdout_has("labels.tier — →");
}

#[test]
fn another_file_at_the_path_is_mounted_by_a_start() {
    for (on_change, line) in [
        ("signal:HUP", "restart  web-1"),
        ("restart", "restart  web-1"),
        ("replace", "replace  web-1"),
    ] {
        for mode in ["", ":ro"] {
            let host = host_with(mode, on_change);
            replace(&host, "port = 2");
            assert_eq!(inside(&host), "port = 1", "the file of before");
            host.berth("plan --detailed-exitcode")
                .fails_with(2)
                .stdout_has(line)
                .stdout_has("/app.conf is another file than the one it has mounted");
            host.berth("up -d").succeeds();
            assert_eq!((inside(&host), said(&host)), ("port = 2".into(), "port = 2".into()));
            is_done(&host);
        }
    }
    // One that is not to be touched is not, and the plan says what it sees.
    let host = host_with(":ro", "none");
    let before = host.pid_of("web");
    replace(&host, "port = 2");
    host.berth("up -d").succeeds().stderr_has("it sees the old one until it is started again");
    assert_eq!((inside(&host), host.pid_of("web")), ("port = 1".into(), before));
    host.berth("restart web").succeeds();
    assert_eq!(inside(&host), "port = 2");
    let plan = host.berth("plan --detailed-exitcode").fails_with(0);
    assert!(!plan.stderr.contains("sees the old one"), "{}", plan.stderr);
}

#[test]
fn what_a_container_writes_into_its_file_is_no_change() {
    let host = host_with("", "replace");
    let before = host.pid_of("web");
    host.berth("exec -T web sh -c 'echo mine >> /settings'").succeeds();
    is_done(&host);
    // The same content in another file: what it writes from now on nobody would find.
    host.shell("cp app.conf app.conf.new && mv app.conf.new app.conf").succeeds();
    host.berth("up -d").succeeds();
    assert_ne!(host.pid_of("web"), before);
    host.berth("exec -T web sh -c 'echo more >> /settings'").succeeds();
    host.shell("cat app.conf").succeeds().stdout_has("mine\nmore\n");

    // The same file with another time, and the same content in another file, are nothing new.
    let host = host_with(":ro", "restart");
    let before = host.pid_of("web");
    host.shell("touch app.conf").succeeds();
    is_done(&host);
    replace(&host, "port = 1");
    host.berth("up -d").succeeds();
    assert_eq!(host.pid_of("web"), before);
    // A container that was started again by itself has the new one, and hears of an edit of that.
    edit(&host, "port = 2");
    host.berth("up -d").succeeds();
    assert_eq!((inside(&host), said(&host)), ("port = 2".into(), "port = 2".into()));
    is_done(&host);
}

#[test]
fn one_that_looks_as_it_did_is_not_read_again() {
    let host = host_with(":ro", "replace");
    // Its times are those of before the reading by more than a coarse clock.
    host.shell("touch -d '1 hour ago' app.conf && sleep 2.1").succeeds();
    host.berth("up -d --force-recreate").succeeds();
    let record = "/var/lib/berth/containers/stack-web-1/record.json";
    host.shell(&format!("cat {record}")).succeeds().stdout_has("\"stamps\"");
    // What the record says it holds is believed, so nobody has read it.
    let zeros = "0".repeat(64);
    let line = format!("sed -i \"s/$(sha256sum app.conf | cut -d' ' -f1)/{zeros}/g\" {record}");
    host.shell(&line).succeeds();
    host.shell(&format!("cat {record}")).succeeds().stdout_has(&zeros);
    is_done(&host);
    // Now it looks otherwise, and is.
    host.shell("touch app.conf").succeeds();
    host.berth("plan --detailed-exitcode")
        .fails_with(2)
        .stdout_has("sha256:000000000000 → sha256:");
}

#[test]
fn a_folder_that_was_made_for_a_missing_file_is_told_and_the_file_is_taken_when_it_is_there() {
    let text = "
services:
  web: { image: 'busybox:1', command: [sleep, '100000'], volumes: ['./app.conf:/data/seed:ro'] }
";
    let host = TestHost::with("compose.yaml", text);
    let refused = host.berth("up -d");
    assert_ne!(refused.code, 0);
    refused
        .stderr_has("`/data/seed`: a folder cannot cover a file")
        .stderr_has("has to be removed");
    std::fs::remove_dir(host.project("app.conf")).expect("the empty folder that was made");
    host.write("app.conf", "y");
    host.berth("up -d").succeeds();
    host.berth("exec -T web cat /data/seed").succeeds().stdout_is("y");
}
