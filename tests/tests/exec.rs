//! `exec` and `run`: a command in a container, with its status, its streams and its terminal.

use berth_tests::TestHost;

const STACK: &str = "
services:
  web:
    image: busybox:1
    command: [sleep, '100000']
    environment: { LEVEL: high }
    working_dir: /data
    user: app
  job:
    image: busybox:1
    command: [echo, from the file]
    depends_on: [web]
    ports: ['8080:80']
    volumes: ['results:/results']
volumes:
  results:
";

fn host() -> TestHost {
    let host = TestHost::with("compose.yaml", STACK);
    host.berth("up -d web").succeeds();
    host
}

#[test]
fn exec_has_the_status_of_its_command() {
    let host = host();
    host.berth("exec -T web true").fails_with(0);
    host.berth("exec -T web sh -c 'exit 42'").fails_with(42);
    host.berth("exec -T web sh -c 'kill -TERM $$'").fails_with(143);
    host.berth("exec -T web no-such-program").fails_with(127).stderr_has("no-such-program");
    host.berth("exec -T web /data/seed").fails_with(126);
}

#[test]
fn exec_has_what_the_container_has() {
    let host = host();
    host.berth("exec -T web sh -c 'echo $LEVEL $FROM_IMAGE $PWD; id -un; hostname'")
        .succeeds()
        .stdout_has("high yes /data\napp\n");
    host.berth("exec -T -u root -w /tmp -e LEVEL=low web sh -c 'echo $LEVEL $PWD; id -u'")
        .succeeds()
        .stdout_is("low /tmp\n0");
    // Same cgroup, same pid namespace: the container's first process is seen as 1.
    host.berth("exec -T web sh -c 'ps -o pid,comm | grep -c sleep'").succeeds();
}

#[test]
fn exec_passes_all_three_streams() {
    let host = host();
    let run =
        host.shell("printf 'one\\ntwo\\n' | $berth exec -T web sh -c 'cat; echo problem >&2'");
    run.succeeds().stdout_is("one\ntwo").stderr_has("problem");
    let big = host.shell("head -c 5000000 /dev/zero | $berth exec -T web cat | wc -c");
    big.succeeds().stdout_is("5000000");
}

#[test]
fn exec_gives_a_terminal_when_it_has_one() {
    let host = host();
    let line = "script -qec \"$berth exec web sh -c 'tty; stty size; test -t 0 && test -t 1'\" /dev/null </dev/null";
    let run = host.shell(&format!("stty -a >/dev/null 2>&1; {line}"));
    run.succeeds().stdout_has("/dev/pts/");
    host.berth("exec -T web tty").fails_with(1).stdout_has("not a tty");
}

#[test]
fn exec_in_a_service_that_does_not_run_says_so() {
    let host = host();
    let exec = host.berth("exec -T job true");
    assert_ne!(exec.code, 0);
    exec.stderr_has("job");
    let exec = host.berth("exec -T nobody true");
    assert_ne!(exec.code, 0);
    exec.stderr_has("nobody");
}

#[test]
fn run_makes_a_container_for_one_command() {
    let host = host();
    host.berth("run --rm -T job").succeeds().stdout_is("from the file");
    host.berth("run --rm -T job sh -c 'echo other >/results/x; exit 5'").fails_with(5);
    host.berth("run --rm -T -e A=b job sh -c 'cat /results/x; echo $A'")
        .succeeds()
        .stdout_is("other\nb");
    // It publishes nothing unless told, it finds the others by name, and it leaves nothing.
    host.berth("run --rm -T job sh -c 'nslookup web'").succeeds();
    host.berth("ps -a").succeeds().stdout_lacks("run").stdout_lacks("job");
}

#[test]
fn run_starts_what_the_service_needs() {
    let host = TestHost::with("compose.yaml", STACK);
    host.berth("run --rm -T job").succeeds().stdout_has("from the file");
    host.pid_of("web");
}

#[test]
fn run_without_rm_leaves_the_container_until_down() {
    let host = host();
    host.berth("run -T job").succeeds();
    host.berth("ps -a").succeeds().stdout_has("job-run-");
    host.berth("down").succeeds();
    host.leaves_nothing_but(&["/volumes/stack_results"]);
}
