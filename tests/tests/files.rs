//! Configs and secrets: their content, their owner, and that a change of them counts.

use berth_tests::TestHost;

const STACK: &str = "
services:
  web:
    image: busybox:1
    command: [sleep, '100000']
    configs:
      - plain
      - { source: inline, target: /etc/app/inline.conf, mode: 0440, uid: '1000', gid: '1001' }
    secrets:
      - password
      - { source: token, target: renamed }
configs:
  plain: { file: ./plain.conf }
  inline: { content: 'level=${LEVEL:-info}' }
secrets:
  password: { file: ./password.txt }
  token: { environment: TOKEN }
";

fn host() -> TestHost {
    let host = TestHost::with("compose.yaml", STACK);
    host.write("plain.conf", "plain=1\n");
    host.write("password.txt", "hunter2\n");
    host.shell("TOKEN=t0ken $berth up -d").succeeds();
    host
}

fn cat(host: &TestHost, path: &str) -> String {
    host.berth(&format!("exec -T web cat {path}")).stdout
}

#[test]
fn configs_and_secrets_are_where_they_belong() {
    let host = host();
    assert_eq!(cat(&host, "/plain"), "plain=1\n");
    assert_eq!(cat(&host, "/etc/app/inline.conf"), "level=info");
    assert_eq!(cat(&host, "/run/secrets/password"), "hunter2\n");
    assert_eq!(cat(&host, "/run/secrets/renamed"), "t0ken");
}

#[test]
fn they_have_the_mode_and_owner_of_the_file() {
    let host = host();
    host.berth("exec -T web stat -L -c '%u:%g %a' /etc/app/inline.conf")
        .succeeds()
        .stdout_is("1000:1001 440");
    host.berth("exec -T web stat -L -c '%u:%g %a' /run/secrets/password")
        .succeeds()
        .stdout_is("0:0 444");
    host.berth("exec -T web sh -c 'echo x >/run/secrets/password'").fails_with(1);
}

#[test]
fn a_secret_is_in_memory_only_and_nowhere_in_the_state() {
    let host = host();
    host.shell("grep -rl -e hunter2 -e t0ken /var/lib/berth").fails_with(1);
    host.berth("plan --json").stdout_lacks("hunter2");
    host.shell("TOKEN=t0ken $berth down").succeeds();
    host.shell("grep -rl -e hunter2 -e t0ken /run/berth /var/lib/berth").fails_with(1);
}

#[test]
fn a_changed_secret_replaces_the_container() {
    let host = host();
    let before = host.pid_of("web");
    host.shell("TOKEN=t0ken $berth up -d").succeeds();
    assert_eq!(host.pid_of("web"), before);
    host.write("password.txt", "correct horse\n");
    host.shell("TOKEN=t0ken $berth plan").succeeds().stdout_has("password").stdout_lacks("horse");
    host.shell("TOKEN=t0ken $berth up -d").succeeds();
    assert_ne!(host.pid_of("web"), before);
    assert_eq!(cat(&host, "/run/secrets/password"), "correct horse\n");
}

#[test]
fn a_missing_file_or_variable_is_an_error_before_anything_happens() {
    let host = TestHost::with("compose.yaml", STACK);
    host.write("plain.conf", "plain=1\n");
    let before = host.ledger();
    let up = host.berth("up -d");
    assert_ne!(up.code, 0, "{up}");
    up.stderr_has("password.txt").stderr_has("TOKEN");
    let changed = host.ledger().since(&before, &[]);
    assert!(changed.is_empty(), "{changed}");
}
