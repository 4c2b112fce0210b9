//! The program itself: one static file that says what is wrong with where it runs.

use berth_tests::TestHost;

const STACK: &str = "services: { web: { image: localhost/host, command: [sleep, '100000'] } }";

#[test]
fn it_runs_where_there_is_no_other_file() {
    let host = TestHost::bare();
    host.shell("mkdir empty && cp $berth empty/berth && chroot empty /berth version").succeeds();
}

#[test]
fn without_root_it_says_so() {
    let host = TestHost::with("compose.yaml", STACK);
    // Where the build is may be closed to others.
    host.shell("cp $berth /run/berth-copy && chmod 755 /run/berth-copy").succeeds();
    let up =
        host.shell("setpriv --reuid 65534 --regid 65534 --clear-groups /run/berth-copy up -d 2>&1");
    assert_ne!(up.code, 0, "{up}");
    up.stdout_has("root");
    host.shell("rm /run/berth-copy").succeeds();
}

#[test]
fn in_a_plain_chroot_it_refuses_with_the_reason() {
    let host = TestHost::with("compose.yaml", STACK);
    host.shell("mkdir /run/other && mount --rbind / /run/other").succeeds();
    let here = host.project("").display().to_string();
    let up = host.shell(&format!("chroot /run/other sh -c 'cd {here} && '$berth' up -d' 2>&1"));
    host.shell("umount -l /run/other && rmdir /run/other").succeeds();
    assert_ne!(up.code, 0, "{up}");
    up.stdout_has("chroot");
}

#[test]
fn it_can_be_replaced_while_containers_run() {
    let host = TestHost::with("compose.yaml", STACK);
    host.shell("cp $berth bin && ./bin up -d && rm bin").succeeds();
    let before = host.pid_of("web");
    host.berth("up -d").succeeds();
    assert_eq!(host.pid_of("web"), before);
    host.berth("exec -T web true").succeeds();
}

#[test]
fn doctor_tells_what_this_host_can_do() {
    let host = TestHost::bare();
    host.berth("doctor").stdout_has("cgroup");
    assert!(
        host.berth("doctor --format json").json().is_array()
            || host.berth("doctor --format json").json().is_object()
    );
    host.leaves_nothing_but(&[]);
}

#[test]
fn answers_into_a_closed_pipe_are_no_crash() {
    let host = TestHost::with("compose.yaml", STACK);
    host.shell("{ $berth config; echo $? >&2; } 2>err | true; cat err")
        .stdout_lacks("panic")
        .stdout_lacks("101");
    host.shell("{ $berth --help; echo $? >&2; } 2>err | true; cat err")
        .stdout_lacks("panic")
        .stdout_lacks("101");
}
