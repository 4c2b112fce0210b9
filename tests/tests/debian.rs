//! Debian's servers as images the usual way, unchanged, with nothing asked for in the file: root
//! in their own user namespace, the default capabilities and system calls.

use berth_tests::{TestHost, images};

const STACK: &str = r#"
services:
  postgres:
    image: debian/postgres:1
    volumes: ["postgres:/var/lib/postgresql/data"]
    healthcheck: { <<: &often { interval: 500ms, timeout: 30s, retries: 120 }, test: [CMD, pg_isready, -U, postgres] }
  redis:
    image: debian/redis:1
    volumes: ["redis:/data"]
    healthcheck: { <<: *often, test: [CMD, redis-cli, ping] }
  nginx:
    image: debian/nginx:1
    ports: ["8080:80"]
    healthcheck: { <<: *often, test: [CMD, bash, -c, "exec 3<>/dev/tcp/127.0.0.1/80"] }
  rabbitmq:
    image: debian/rabbitmq:1
    hostname: rabbit
    healthcheck: { <<: *often, test: [CMD, rabbitmq-diagnostics, -q, check_running] }
  mariadb:
    image: debian/mariadb:1
    volumes: ["mariadb:/var/lib/mysql"]
    healthcheck: { <<: *often, test: [CMD, mariadb-admin, ping] }
  memcached:
    image: debian/memcached:1
    healthcheck: { <<: *often, test: [CMD, bash, -c, "exec 3<>/dev/tcp/127.0.0.1/11211"] }
volumes: { postgres: {}, redis: {}, mariadb: {} }
"#;

/// Each service with a command that uses it, and the end of what that says.
const USES: [(&str, &str, &str); 5] = [
    (
        "postgres",
        "psql -qtAU postgres -c 'create table t as select 41 a; select a + 1 from t'",
        "42",
    ),
    ("redis", "redis-cli set a 42", "OK"),
    ("rabbitmq", "rabbitmqctl -q list_vhosts", "name\n/"),
    (
        "mariadb",
        "mariadb -Ne 'create database d; create table d.t select 42 a; select a from d.t'",
        "42",
    ),
    (
        "memcached",
        r"bash -c 'exec 3<>/dev/tcp/127.0.0.1/11211; echo version >&3; read -r a b <&3; echo $a'",
        "VERSION",
    ),
];

#[test]
fn servers_of_debian_run_as_they_are_with_a_user_namespace_each() {
    let archive = match images::services() {
        Ok(archive) => archive,
        Err(why) => return berth_tests::skipped(&why),
    };
    let host = TestHost::with("compose.yaml", STACK);
    host.load(&archive);
    host.berth("up -d --wait").succeeds();
    for (service, command, says) in USES {
        host.berth(&format!("exec -T {service} {command}")).succeeds().stdout_is(says);
    }
    assert!(host.get_from_outside("192.0.2.1:8080/").contains("Welcome to nginx"));
    let services = ["postgres", "redis", "nginx", "rabbitmq", "mariadb", "memcached"];
    for service in services {
        let pid = host.pid_of(service).pid;
        let map = host.shell(&format!("cat /proc/{pid}/uid_map")).succeeds().stdout;
        let fields: Vec<u32> = map.split_whitespace().map(|n| n.parse().unwrap()).collect();
        assert!(
            fields.len() == 3 && fields[1] >= 100_000 && fields[2] == 65_536,
            "{service}: {map}"
        );
        let status = host.shell(&format!("cat /proc/{pid}/status")).succeeds().stdout;
        assert!(status.contains("\nSeccomp:\t2\n"), "{service}: {status}");
        assert!(status.contains("CapBnd:\t00000000800405fb"), "{service}: {status}");
    }

    // They stop when asked, not when killed, and find their data again.
    host.berth("stop").succeeds();
    for service in services {
        let code = host.status(&format!("stack-{service}-1"))["exit_code"].as_i64();
        assert_ne!(code, Some(137), "{service} was killed");
    }
    host.berth("down").succeeds();
    host.berth("up -d --wait postgres redis mariadb").succeeds();
    host.berth("exec -T postgres psql -qtAU postgres -c 'select a from t'")
        .succeeds()
        .stdout_is("41");
    host.berth("exec -T redis redis-cli get a").succeeds().stdout_is("42");
    host.berth("exec -T mariadb mariadb -Ne 'select a from d.t'").succeeds().stdout_is("42");
}
