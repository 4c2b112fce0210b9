//! Rows that take effect while the container runs.

use super::Shows::{Cgroup, Health, Host, Inside, Says};
use super::{Row, row};

/// Contents of what it has mounted.
pub fn of_the_contents() -> Vec<Row> {
    let sources = |name: &'static str, before, after| {
        let shows = Inside("cat /at; stat -c \" %u %a\" /at", "two 1 440");
        row(name, "live", (before, after), shows)
    };
    vec![
        sources(
            "configs[].source",
            "configs: [{ source: one, target: /at, uid: '1', mode: 0440 }]\nx-berth: { on_change: none }",
            "configs: [{ source: two, target: /at, uid: '1', mode: 0440 }]\nx-berth: { on_change: none }",
        ),
        sources(
            "secrets[].source",
            "secrets: [{ source: one, target: /at, uid: '1', mode: 0440 }]\nx-berth: { on_change: 'signal:HUP' }",
            "secrets: [{ source: two, target: /at, uid: '1', mode: 0440 }]\nx-berth: { on_change: 'signal:HUP' }",
        ),
    ]
}

/// What its monitor does.
pub fn of_the_monitor() -> Vec<Row> {
    let rows = [stopping(), restarting(), checking(), ready()];
    rows.into_iter().flatten().collect()
}

/// A program that tells which signal it was sent.
const STOPPED_BY_TERM: &str = "stop_signal: SIGTERM\ncommand: [sh, -c, 'for s in TERM USR1; do trap \"echo told $$s; exit\" $$s; done; while :; do usleep 50000; done']";
const STOPPED_BY_USR1: &str = "stop_signal: SIGUSR1\ncommand: [sh, -c, 'for s in TERM USR1; do trap \"echo told $$s; exit\" $$s; done; while :; do usleep 50000; done']";

fn stopping() -> Vec<Row> {
    vec![
        row(
            "stop_signal",
            "live",
            (STOPPED_BY_TERM, STOPPED_BY_USR1),
            Host("$berth stop -t 20 $NAME 2>&- && $berth logs --no-log-prefix $NAME", "told USR1"),
        ),
        row(
            "stop_grace_period",
            "live",
            (
                "command: [sh, -c, 'trap : TERM; while :; do usleep 50000; done']",
                "command: [sh, -c, 'trap : TERM; while :; do usleep 50000; done']\nstop_grace_period: 1500ms",
            ),
            // Without one it is ten seconds.
            Host(
                "a=$(date +%s%N); $berth stop $NAME 2>&-; b=$(date +%s%N); n=$(((b - a) / 1000000)); \
                 [ $n -ge 1500 ] && [ $n -lt 8000 ] && echo in time || echo $n",
                "in time",
            ),
        ),
        row(
            "pre_stop[].command pre_stop[].environment pre_stop[].user pre_stop[].working_dir",
            "live",
            (
                "",
                "pre_stop: [{ command: [sh, -c, 'echo $$A $$(id -u) $$PWD >/tmp/seen'], environment: { A: b }, user: '1', working_dir: /bin }]",
            ),
            Host("$berth stop $NAME 2>&- && $berth cp $NAME:/tmp/seen - | tar -xO", "b 1 /bin"),
        ),
        row(
            "logging.options",
            "live",
            (
                "logging: { driver: local, options: { max-size: 10m } }\ncommand: [sh, -c, 'while :; do echo a line of the log; usleep 20000; done']",
                "logging: { driver: local, options: { max-size: 1k, max-file: '2' } }\ncommand: [sh, -c, 'while :; do echo a line of the log; usleep 20000; done']",
            ),
            // Within ten seconds the file is full and begins anew.
            Host(
                "for i in $(seq 100); do n=$(ls /var/lib/berth/containers/stack-$NAME-1/logs | wc -l); [ $n = 2 ] && break; sleep 0.1; done; echo $n",
                "2",
            ),
        ),
    ]
}

/// Kills the process that runs and waits until another one does; prints how often one was started again.
const STARTED_AGAIN: &str = "kill -9 $PID; for i in $(seq 300); do \
     grep -q '\"restarts\": 1' $STATUS && grep -q '\"phase\": \"running\"' $STATUS && break; sleep 0.05; \
     done; grep -o '\"restarts\": [0-9]*' $STATUS";
/// The same with how long that took at least, and with a second kill, after which none is started.
const STARTED_ONCE: &str = "of() { grep -o \"\\\"$1\\\": [0-9]*\" $STATUS | grep -o '[0-9]*$'; }; \
     phase() { for i in $(seq 300); do grep -q \"\\\"phase\\\": \\\"$1\\\"\" $STATUS && break; sleep 0.05; done; }; \
     kill -9 $PID; for i in $(seq 300); do [ $(of restarts) = 1 ] && break; sleep 0.05; done; \
     phase running; [ $(($(of started_ms) - $(of finished_ms))) -ge 700 ] && echo late; \
     kill -9 $(of pid); phase exited; sleep 1; phase exited; of restarts";

fn restarting() -> Vec<Row> {
    vec![
        row("restart", "live", ("", "restart: always"), Host(STARTED_AGAIN, "\"restarts\": 1")),
        row(
            "deploy.restart_policy.condition",
            "live",
            (
                "deploy: { restart_policy: { condition: none } }",
                "deploy: { restart_policy: { condition: any } }",
            ),
            Host(STARTED_AGAIN, "\"restarts\": 1"),
        ),
        row(
            "deploy.restart_policy.delay deploy.restart_policy.max_attempts deploy.restart_policy.window",
            "live",
            (
                "restart: always",
                "deploy: { restart_policy: { condition: any, delay: 700ms, max_attempts: 1, window: 10m } }",
            ),
            Host(STARTED_ONCE, "late\n1"),
        ),
        row(
            "x-berth.on_unhealthy",
            "live",
            (
                "healthcheck: { test: 'test ! -e /tmp/bad', interval: 50ms, retries: 1 }",
                "healthcheck: { test: 'test ! -e /tmp/bad', interval: 50ms, retries: 1 }\nx-berth: { on_unhealthy: restart }",
            ),
            Host(
                "$berth exec -T $NAME touch /tmp/bad; for i in $(seq 300); do \
                 grep -q '\"restarts\": 0' $STATUS || break; sleep 0.05; done; \
                 grep -q '\"restarts\": [1-9]' $STATUS && echo again",
                "again",
            ),
        ),
    ]
}

fn checking() -> Vec<Row> {
    vec![
        row(
            "healthcheck.test",
            "live",
            (
                "healthcheck: { test: [CMD, 'false'], interval: 50ms, retries: 1 }",
                "healthcheck: { test: [CMD, 'true'], interval: 50ms, retries: 1 }",
            ),
            Health("healthy"),
        ),
        row(
            "healthcheck.disable",
            "live",
            ("healthcheck: { test: [CMD, 'true'] }", "healthcheck: { disable: true }"),
            Health("none"),
        ),
        row(
            "healthcheck.interval healthcheck.retries healthcheck.timeout",
            "live",
            (
                "healthcheck: { test: [CMD, 'false'], interval: 10m, timeout: 1m, retries: 100 }",
                "healthcheck: { test: [CMD, 'false'], interval: 20ms, timeout: 1s, retries: 2 }",
            ),
            Health("unhealthy"),
        ),
        row(
            "healthcheck.start_interval",
            "live",
            (
                "healthcheck: { test: [CMD, 'true'], interval: 10m, start_period: 20m, start_interval: 15m }",
                "healthcheck: { test: [CMD, 'true'], interval: 10m, start_period: 20m, start_interval: 20ms }",
            ),
            Health("healthy"),
        ),
        row(
            "healthcheck.start_period",
            "live",
            (
                "healthcheck: { test: [CMD, 'false'], interval: 20ms, retries: 2, start_period: 10m, start_interval: 20ms }",
                "healthcheck: { test: [CMD, 'false'], interval: 20ms, retries: 2, start_period: 1ms, start_interval: 20ms }",
            ),
            Health("unhealthy"),
        ),
    ]
}

fn ready() -> Vec<Row> {
    const SAYS: &str = "command: [sh, -c, 'echo hello; exec sleep 100000']";
    vec![
        row(
            "x-berth.ready.log",
            "live",
            (
                SAYS,
                "command: [sh, -c, 'echo hello; exec sleep 100000']\nx-berth: { ready: { log: hello } }",
            ),
            Health("healthy"),
        ),
        row(
            "x-berth.ready.tcp x-berth.ready.interval x-berth.ready.retries x-berth.ready.timeout",
            "live",
            (
                "x-berth: { ready: { log: never } }",
                "x-berth: { ready: { tcp: 81, interval: 20ms, retries: 2, timeout: 1s } }",
            ),
            Health("unhealthy"),
        ),
        // No other page, port or answer would do.
        row(
            "x-berth.ready.http.path x-berth.ready.http.port x-berth.ready.http.status",
            "live",
            (
                "command: [busybox, httpd, -f, -p, '81', -h, /etc]\nx-berth: { ready: { interval: 20ms, http: { path: /passwd, port: 82, status: 204 } } }",
                "command: [busybox, httpd, -f, -p, '81', -h, /etc]\nx-berth: { ready: { interval: 20ms, http: { path: /none, port: 81, status: 404 } } }",
            ),
            Health("healthy"),
        ),
        row(
            "x-berth.ready.start_period",
            "live",
            (
                "x-berth: { ready: { tcp: 81, interval: 20ms, retries: 2, timeout: 1s, start_period: 10m } }",
                "x-berth: { ready: { tcp: 81, interval: 20ms, retries: 2, timeout: 1s, start_period: 1ms } }",
            ),
            Health("unhealthy"),
        ),
    ]
}

/// What the kernel has for its group, its processes and its memory.
pub fn of_the_kernel() -> Vec<Row> {
    [groups(), deployed(), processes(), memory()].into_iter().flatten().collect()
}

const MEMORY: [&str; 2] = ["memory.limit_in_bytes", "memory.max"];
const SOFT: [&str; 2] = ["memory.soft_limit_in_bytes", "memory.low"];
const SWAP: [&str; 2] = ["memory.memsw.limit_in_bytes", "memory.swap.max"];
const QUOTA: [&str; 2] = ["cpu.cfs_quota_us", "cpu.max"];
const PIDS: [&str; 2] = ["pids.max"; 2];

fn groups() -> Vec<Row> {
    let limit = |name, values, files, wanted| row(name, "live", values, Cgroup(files, wanted));
    vec![
        limit("mem_limit", ("mem_limit: 64m", "mem_limit: 32m"), MEMORY, ["33554432"; 2]),
        limit(
            "mem_reservation",
            ("mem_reservation: 16m", "mem_reservation: 32m"),
            SOFT,
            ["33554432"; 2],
        ),
        limit(
            "memswap_limit",
            ("mem_limit: 64m\nmemswap_limit: 64m", "mem_limit: 64m\nmemswap_limit: 96m"),
            SWAP,
            ["100663296", "33554432"],
        ),
        limit("cpus", ("cpus: 0.5", "cpus: 0.25"), QUOTA, ["25000", "25000 100000"]),
        limit(
            "cpu_quota cpu_period",
            ("cpu_quota: 50000", "cpu_quota: 20000\ncpu_period: 50000"),
            QUOTA,
            ["20000", "20000 50000"],
        ),
        limit(
            "cpu_shares",
            ("cpu_shares: 512", "cpu_shares: 256"),
            ["cpu.shares", "cpu.weight"],
            ["256", "10"],
        ),
        limit("cpuset", ("cpuset: '0'", "cpuset: 0-1"), ["cpuset.cpus"; 2], ["0-1"; 2]),
        limit("pids_limit", ("pids_limit: 20", "pids_limit: 10"), PIDS, ["10"; 2]),
    ]
}

fn deployed() -> Vec<Row> {
    let limit = |name, values, files, wanted| row(name, "live", values, Cgroup(files, wanted));
    vec![
        limit(
            "deploy.resources.limits.cpus",
            (
                "deploy: { resources: { limits: { cpus: '0.5' } } }",
                "deploy: { resources: { limits: { cpus: '0.25' } } }",
            ),
            QUOTA,
            ["25000", "25000 100000"],
        ),
        limit(
            "deploy.resources.limits.memory deploy.resources.reservations.memory",
            (
                "deploy: { resources: { limits: { memory: 64m } } }",
                "deploy: { resources: { limits: { memory: 96m }, reservations: { memory: 32m } } }",
            ),
            MEMORY,
            ["100663296"; 2],
        ),
        limit(
            "deploy.resources.limits.pids",
            (
                "deploy: { resources: { limits: { pids: 20 } } }",
                "deploy: { resources: { limits: { pids: 30 } } }",
            ),
            PIDS,
            ["30"; 2],
        ),
    ]
}

fn processes() -> Vec<Row> {
    vec![
        row(
            "ulimits.*.soft",
            "live",
            (
                "ulimits: { nofile: { soft: 100, hard: 200 } }",
                "ulimits: { nofile: { soft: 150, hard: 200 } }",
            ),
            Host("awk '/open files/ { print $4, $5 }' /proc/$PID/limits", "150 200"),
        ),
        row(
            "oom_score_adj",
            "live",
            ("oom_score_adj: 100", "oom_score_adj: 200"),
            Host("cat /proc/$PID/oom_score_adj", "200"),
        ),
        row(
            "sysctls",
            "live",
            (
                "sysctls: { net.core.somaxconn: 256 }",
                "sysctls: { net.core.somaxconn: 512, net.ipv4.conf.all.forwarding: 0 }",
            ),
            Inside(
                "cd /proc/sys/net; cat core/somaxconn ipv4/conf/all/forwarding | xargs",
                "512 0",
            ),
        ),
    ]
}

fn memory() -> Vec<Row> {
    vec![
        row(
            "shm_size",
            "live",
            ("shm_size: 16m", "shm_size: 32m"),
            Inside("grep -o \" /dev/shm .*size=[0-9]*k\" /proc/mounts | grep -o [0-9]*k", "32768k"),
        ),
        row(
            "tmpfs",
            "live",
            ("tmpfs: ['/run/a:size=1m']", "tmpfs: ['/run/a:size=2m']"),
            Inside("grep -o \" /run/a .*size=[0-9]*k\" /proc/mounts | grep -o [0-9]*k", "2048k"),
        ),
        row(
            "volumes[].tmpfs.size",
            "live",
            (
                "volumes: [{ type: tmpfs, target: /run/a, tmpfs: { size: 2m } }]",
                "volumes: [{ type: tmpfs, target: /run/a, tmpfs: { size: 1m } }]",
            ),
            Inside("grep -o \" /run/a .*size=[0-9]*k\" /proc/mounts | grep -o [0-9]*k", "1024k"),
        ),
    ]
}

/// Links, names and ports.
pub fn of_the_network() -> Vec<Row> {
    [ports(), names(), links()].into_iter().flatten().collect()
}

fn ports() -> Vec<Row> {
    vec![
        row(
            "ports[].published ports[].host_ip",
            "live",
            ("ports: ['8101:80']", "ports: ['127.0.0.1:8102:80']"),
            Says("port $NAME 80", "127.0.0.1:8102"),
        ),
        row(
            "ports[].target ports[].protocol",
            "live",
            ("ports: ['8103:80']", "ports: ['8103:81/udp']"),
            Says("port $NAME --protocol udp 81", ":8103"),
        ),
    ]
}

fn names() -> Vec<Row> {
    vec![
        row(
            "dns",
            "live",
            ("dns: 192.0.2.7", "dns: 192.0.2.8"),
            // Only at the second address there is one.
            Host(
                "ip addr add 192.0.2.8/32 dev lo; python3 -u dns.py 192.0.2.8 >told & server=$!; \
                 for i in $(seq 100); do grep -q listens told && break; sleep 0.05; done; \
                 $berth exec -T $NAME nslookup outside.test | grep -o 198.51.100.77; \
                 kill $server; ip addr del 192.0.2.8/32 dev lo",
                "198.51.100.77",
            ),
        ),
        row(
            "dns_search",
            "live",
            ("dns_search: one.example", "dns_search: two.example"),
            Inside("grep -o two.example /etc/resolv.conf", "two.example"),
        ),
        row(
            "dns_opt",
            "live",
            ("dns_opt: ['ndots:1']", "dns_opt: ['ndots:2']"),
            Inside("grep -o ndots:2 /etc/resolv.conf", "ndots:2"),
        ),
        row(
            "extra_hosts",
            "live",
            ("extra_hosts: ['a.example=192.0.2.1']", "extra_hosts: ['a.example=192.0.2.2']"),
            Inside("grep a.example /etc/hosts | cut -f1", "192.0.2.2"),
        ),
        row(
            "links",
            "live",
            ("depends_on: [peer]", "depends_on: [peer]\nlinks: ['peer:store']"),
            Inside("nslookup store >/dev/null 2>&1 && echo found", "found"),
        ),
        row(
            "external_links",
            "live",
            ("depends_on: [peer]", "depends_on: [peer]\nexternal_links: ['stack-peer-1:store']"),
            Inside("nslookup store >/dev/null 2>&1 && echo found", "found"),
        ),
    ]
}

fn links() -> Vec<Row> {
    vec![
        row(
            "networks.*.aliases",
            "live",
            ("networks: { default: {} }", "networks: { default: { aliases: [shop] } }"),
            Host("$berth exec -T peer nslookup shop >/dev/null 2>&1 && echo found", "found"),
        ),
        row(
            "networks.*.ipv4_address",
            "live",
            (
                "networks: { back: { ipv4_address: 10.77.0.10 } }",
                "networks: { back: { ipv4_address: 10.77.0.20 } }",
            ),
            Inside("ip -4 addr show eth0 | grep -o 10.77.0.20", "10.77.0.20"),
        ),
        row(
            "networks.*.mac_address networks.*.gw_priority",
            "live",
            (
                "networks: { back: { mac_address: '02:42:00:00:00:01' } }",
                "networks: { back: { mac_address: '02:42:00:00:00:02', gw_priority: 1 } }",
            ),
            Inside("cat /sys/class/net/eth0/address", "02:42:00:00:00:02"),
        ),
        row(
            "mac_address",
            "live",
            ("mac_address: '02:42:00:00:00:03'", "mac_address: '02:42:00:00:00:04'"),
            Inside("cat /sys/class/net/eth0/address", "02:42:00:00:00:04"),
        ),
        row(
            "networks.*.interface_name networks.*.priority",
            "live",
            (
                "networks: { default: { priority: 2 } }",
                "networks: { default: { priority: 2 }, back: { interface_name: lan, priority: 1 } }",
            ),
            Inside("cat /sys/class/net/lan/operstate", "up"),
        ),
        row(
            "networks.*.link_local_ips",
            "live",
            (
                "networks: { default: {} }",
                "networks: { default: { link_local_ips: [169.254.8.8] } }",
            ),
            Inside("ip -4 addr show eth0 | grep -o 169.254.8.8", "169.254.8.8"),
        ),
    ]
}
