//! What is written to a volume stays; what is not, goes with its container.

use berth_tests::TestHost;

const STACK: &str = "
services:
  web:
    image: busybox:1
    command: [sleep, '100000']
    environment: { A: '1' }
    volumes: ['data:/data', '/scratch', './bound:/bound', './readonly:/readonly:ro']
volumes:
  data:
";

fn read(host: &TestHost, path: &str) -> String {
    host.berth(&format!("exec -T web cat {path}")).stdout
}

#[test]
fn a_new_volume_starts_with_what_the_image_has_there() {
    let host = TestHost::with("compose.yaml", STACK);
    host.berth("up -d").succeeds();
    assert_eq!(read(&host, "/data/seed"), "from the image\n");
    host.berth("exec -T web stat -c '%u:%g %a %n' /data /data/seed /data/sub/seed")
        .succeeds()
        .stdout_is("1000:1000 755 /data\n1000:1000 644 /data/seed\n1000:1000 640 /data/sub/seed");
}

#[test]
fn a_volume_that_has_something_is_not_filled_again() {
    let host = TestHost::with("compose.yaml", STACK);
    host.berth("up -d").succeeds();
    host.berth("exec -T web sh -c 'rm /data/seed; echo mine >/data/own'").succeeds();
    host.berth("up -d --force-recreate").succeeds();
    host.berth("exec -T web ls /data").succeeds().stdout_is("own\nsub");
}

#[test]
fn volumes_outlive_their_container_and_its_own_files_do_not() {
    let host = TestHost::with("compose.yaml", STACK);
    host.berth("up -d").succeeds();
    host.berth(
        "exec -T web sh -c 'for f in /data/x /scratch/x /bound/x /tmp/x; do echo kept >$f; done'",
    )
    .succeeds();

    host.edit("compose.yaml", "A: '1'", "A: '2'");
    host.berth("up -d").succeeds();

    for path in ["/data/x", "/scratch/x", "/bound/x"] {
        assert_eq!(read(&host, path), "kept\n", "{path}");
    }
    assert_eq!(read(&host, "/tmp/x"), "");
    host.berth("down").succeeds();
    host.berth("up -d").succeeds();
    assert_eq!(read(&host, "/data/x"), "kept\n");
    assert_eq!(read(&host, "/bound/x"), "kept\n");
}

#[test]
fn down_with_v_removes_the_volumes_of_the_project() {
    let host = TestHost::with("compose.yaml", STACK);
    host.berth("up -d").succeeds();
    host.berth("volume ls").succeeds().stdout_has("stack_data");
    host.berth("down -v -y").succeeds();
    host.berth("volume ls").succeeds().stdout_lacks("stack_data");
    host.leaves_nothing_but(&[]);
    host.berth("up -d").succeeds();
    assert_eq!(read(&host, "/data/seed"), "from the image\n");
}

/// What a command shows on a terminal where this is typed.
fn typed(host: &TestHost, answer: &str, words: &str) -> String {
    let line = format!("export berth; echo {answer} | script -qec '$berth {words}; echo code $?'");
    host.shell(&format!("{line} /dev/null")).stdout
}

#[test]
fn data_is_lost_only_by_who_said_yes() {
    let host = TestHost::with("compose.yaml", STACK);
    host.berth("up -d").succeeds();
    host.berth("exec -T web sh -c 'dd if=/dev/zero of=/data/big bs=1M count=3; sync'").succeeds();
    let runs = |host: &TestHost| host.pid_of("web").pid > 0;

    // Nobody can be asked: nothing is touched, and each volume is told with its size.
    host.berth("down -v").fails_with(7).stderr_has("`stack_data` (3.1").stderr_has("pass `--yes`");
    assert!(runs(&host));
    assert_eq!(read(&host, "/data/seed"), "from the image\n");
    host.berth("--dry-run down -v").succeeds();
    let lost = |words: &str| host.berth(words).succeeds().json()["data_loss"].clone();
    assert_eq!(lost("plan --json --down --volumes").as_array().unwrap().len(), 2);
    assert_eq!(lost("plan --json --down --volumes")[1], "stack_data");
    assert_eq!(lost("plan --json --down"), serde_json::json!([]));

    // Somebody is, and says no, then yes.
    let no = typed(&host, "n", "down -v");
    for shown in
        ["stack_data", "3.1", "lost for good", "take `stack` down with its data?", "code 0"]
    {
        assert!(no.contains(shown), "{shown} in {no}");
    }
    let some = typed(&host, "n", "--progress quiet down -v web");
    for shown in ["stack_data", "3.1", "take `web` of `stack` down with its data?"] {
        assert!(some.contains(shown), "{shown} in {some}");
    }
    assert!(runs(&host));
    typed(&host, "y", "down -v");
    host.berth("volume ls").succeeds().stdout_lacks("stack_data");
    // There is nothing to ask any more, nor where nothing is lost.
    host.berth("down -v").succeeds();
    host.berth("up -d").succeeds();
    host.berth("down").succeeds();
}

#[test]
fn volumes_without_a_name_go_with_a_yes_as_well() {
    let text = "
services:
  web: { image: 'busybox:1', command: [sleep, '100000'], volumes: ['/plain'], environment: { N: one } }
";
    let host = TestHost::with("compose.yaml", text);
    host.berth("up -d -V").succeeds();
    host.berth("exec -T web touch /plain/mine").succeeds();
    host.edit("compose.yaml", "N: one", "N: two");
    host.berth("plan").succeeds().stdout_has("No volume is lost; web-1 keeps 1 without a name");
    host.berth("plan -V").succeeds().stdout_has("Lost for good: volume");
    let before = host.pid_of("web");
    host.berth("up -d -V")
        .fails_with(7)
        .stderr_has("destroys the data of volume")
        .stderr_has("--yes");
    assert_eq!(host.pid_of("web"), before);
    assert!(typed(&host, "n", "up -d -V").contains("code 7"));
    // What may not be at all is told before anybody is asked.
    host.berth("up -d -V --policy strict").fails_with(9);
    host.berth("plan -V -o new.plan")
        .succeeds()
        .stdout_has("Next: berth up -y new.plan")
        .stderr_has("`berth up -y new.plan` does exactly this");
    host.berth("plan new.plan").succeeds().stderr_has("`berth up -y new.plan` does exactly this");
    let shown = host.berth("plan --json new.plan").succeeds().json();
    assert_eq!(shown["plan"]["data_loss"].as_array().unwrap().len(), 1);
    host.berth("up -d new.plan")
        .fails_with(7)
        .stderr_has("destroys the data of volume")
        .stderr_has("--yes");
    assert_eq!(host.pid_of("web"), before);
    host.berth("up -d -y new.plan").succeeds();
    host.berth("exec -T web test -e /plain/mine").fails_with(1);
    host.berth("exec -T web touch /plain/mine").succeeds();
    host.edit("compose.yaml", "N: two", "N: three");
    assert!(typed(&host, "y", "up -d -V").contains("code 0"));
    host.berth("exec -T web test -e /plain/mine").fails_with(1);
    // Nothing is renewed where nothing is made.
    host.berth("up -d -V").succeeds();

    host.berth("plan --down").succeeds().stdout_has("web-1 leaves 1 without a name behind");
    host.berth("stop").succeeds();
    let list = typed(&host, "n", "rm -v");
    assert!(list.contains("stack-web-1-anon-") && list.contains("lost for good"), "{list}");
    host.berth("rm -v").fails_with(7).stderr_has("--force");
    host.berth("volume ls").succeeds().stdout_has("anon");
    host.berth("rm -fv").succeeds();
    host.berth("volume ls").succeeds().stdout_lacks("anon");
}

#[test]
fn an_external_volume_is_never_made_and_never_removed() {
    let host = TestHost::with("compose.yaml", STACK);
    host.edit(
        "compose.yaml",
        "volumes:\n  data:",
        "volumes:\n  data: { external: true, name: elsewhere_data }",
    );
    let up = host.berth("up -d");
    assert_ne!(up.code, 0, "{up}");
    up.stderr_has("elsewhere_data");

    host.write("other/compose.yaml", "services: { x: { image: 'busybox:1', command: ['true'], volumes: ['data:/data'] } }\nvolumes: { data: }");
    host.berth("-f other/compose.yaml -p elsewhere up -d").succeeds();
    host.berth("up -d").succeeds();
    assert_eq!(read(&host, "/data/seed"), "from the image\n");
    host.berth("down -v -y").succeeds();
    host.berth("volume ls").succeeds().stdout_has("elsewhere_data");
    host.berth("-f other/compose.yaml -p elsewhere down -v -y").succeeds();
}

#[test]
fn a_read_only_mount_cannot_be_written() {
    let host = TestHost::with("compose.yaml", STACK);
    host.write("readonly/file", "as it is\n");
    host.berth("up -d").succeeds();
    assert_eq!(read(&host, "/readonly/file"), "as it is\n");
    host.berth("exec -T web sh -c 'echo x >/readonly/file'").fails_with(1).stderr_has("Read-only");
    assert_eq!(std::fs::read_to_string(host.project("readonly/file")).unwrap(), "as it is\n");
}

#[test]
fn a_bind_shows_the_files_with_their_owners_both_ways() {
    let host = TestHost::with("compose.yaml", STACK);
    host.shell("mkdir bound && echo hi >bound/file && chown 1000:1000 bound/file").succeeds();
    host.berth("up -d").succeeds();
    host.berth("exec -T web stat -c %u:%g /bound/file").succeeds().stdout_is("1000:1000");
    host.berth("exec -T web sh -c 'echo new >/bound/made; chown 1000:1000 /bound/made'").succeeds();
    host.shell("stat -c %u:%g bound/made").stdout_is("1000:1000");
}

#[test]
fn a_long_bind_to_nowhere_fails_unless_it_is_to_be_made() {
    let host = TestHost::with("compose.yaml", STACK);
    host.edit(
        "compose.yaml",
        "'./bound:/bound'",
        "{ type: bind, source: ./bound, target: /bound, bind: { create_host_path: false } }",
    );
    let up = host.berth("up -d");
    assert_ne!(up.code, 0, "{up}");
    up.stderr_has("bound");
}

#[test]
fn tmpfs_and_a_read_only_root() {
    let host = TestHost::with(
        "compose.yaml",
        "
services:
  web:
    image: busybox:1
    command: [sleep, '100000']
    read_only: true
    tmpfs: ['/tmp:size=1m,mode=1777']
",
    );
    host.berth("up -d").succeeds();
    host.berth("exec -T web sh -c 'echo x >/x'").fails_with(1).stderr_has("Read-only");
    host.berth("exec -T web sh -c 'echo x >/tmp/x && cat /tmp/x'").succeeds().stdout_is("x");
    host.berth("exec -T web dd if=/dev/zero of=/tmp/big bs=1M count=2").fails_with(1);
}
