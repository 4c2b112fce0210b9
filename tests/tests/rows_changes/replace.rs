//! Rows that need a new container.

use serde_json::json;

use super::Shows::{Bundle, Host, Inside, Record};
use super::{Row, row};

fn inside(
    name: &'static str,
    values: (&'static str, &'static str),
    line: &'static str,
    wanted: &'static str,
) -> Row {
    row(name, "replace", values, Inside(line, wanted))
}

fn noted(
    name: &'static str,
    values: (&'static str, &'static str),
    at: &'static str,
    wanted: serde_json::Value,
) -> Row {
    row(name, "replace", values, Record(at, wanted))
}

/// What runs, as whom, with what around it.
pub fn of_the_program() -> Vec<Row> {
    let line = "xargs -0 </proc/1/cmdline";
    let variable = "xargs -0 -n1 </proc/1/environ | grep ^FROM";
    vec![
        inside(
            "command",
            ("command: [sleep, '100000']", "command: [sleep, '100001']"),
            line,
            "sleep 100001",
        ),
        inside(
            "entrypoint",
            ("entrypoint: [sleep, '100000']", "entrypoint: [sleep, '100002']"),
            line,
            "sleep 100002",
        ),
        inside(
            "environment",
            ("environment: { FROM: a }", "environment: { FROM: b }"),
            variable,
            "FROM=b\nFROM_IMAGE=yes",
        ),
        inside(
            "env_file[].path env_file[].format env_file[].required",
            (
                "env_file: one.env",
                "env_file: [{ path: two.env, format: raw }, { path: no.env, required: false }]",
            ),
            variable,
            "FROM=two\nFROM_IMAGE=yes",
        ),
        inside(
            "image",
            ("image: busybox:1", "image: localhost/host"),
            "test -e /usr/bin/env && echo host",
            "host",
        ),
        inside(
            "working_dir",
            ("working_dir: /tmp", "working_dir: /bin"),
            "readlink /proc/1/cwd",
            "/bin",
        ),
        inside(
            "user",
            ("user: '1'", "user: '2:3'"),
            "grep -E ^[UG]id /proc/1/status | cut -f2 | xargs",
            "2 3",
        ),
        inside(
            "group_add",
            ("", "group_add: ['77']"),
            "grep ^Groups /proc/1/status | grep -o 77",
            "77",
        ),
        inside("tty", ("", "tty: true"), "readlink /proc/1/fd/0 | cut -d/ -f2,3", "dev/pts"),
        inside(
            "stdin_open",
            ("", "stdin_open: true"),
            "test /dev/null -ef /proc/1/fd/0 || echo open",
            "open",
        ),
        inside(
            "init",
            ("", "init: true"),
            "grep -lx sleep /proc/[0-9]*/comm | wc -l; grep -qx sleep /proc/1/comm || echo behind",
            "1\nbehind",
        ),
        noted(
            "post_start[].command post_start[].environment post_start[].privileged post_start[].user post_start[].working_dir",
            (
                "",
                "post_start: [{ command: [touch, /tmp/x], environment: { A: b }, user: root, working_dir: /bin, privileged: true }]",
            ),
            "/record/spec/post_start/0/command",
            json!(["touch", "/tmp/x"]),
        ),
        noted(
            "pre_start[].command pre_start[].environment pre_start[].image pre_start[].per_replica pre_start[].privileged pre_start[].user pre_start[].working_dir",
            (
                "",
                "pre_start: [{ command: ['true'], environment: { A: b }, image: 'busybox:1', per_replica: true, privileged: true, user: root, working_dir: /bin }]",
            ),
            "/record/prepared",
            json!(true),
        ),
        inside(
            "cap_add",
            ("", "cap_add: [SYS_TIME]"),
            "grep CapBnd /proc/1/status | cut -f2",
            "00000000820405fb",
        ),
        inside(
            "cap_drop",
            ("", "cap_drop: [ALL]"),
            "grep CapBnd /proc/1/status | cut -f2",
            "0000000000000000",
        ),
        inside(
            "security_opt",
            ("", "security_opt: ['no-new-privileges:true']"),
            "grep NoNewPrivs /proc/1/status | cut -f2",
            "1",
        ),
        noted("privileged", ("", "privileged: true"), "/record/spec/privileged", json!(true)),
        noted(
            "x-berth.privileged",
            ("", "privileged: true\nx-berth: { privileged: contained }"),
            "/record/spec/contained",
            json!(true),
        ),
        noted(
            "pre_stop[].privileged",
            ("", "pre_stop: [{ command: ['true'], privileged: true }]"),
            "/record/spec/pre_stop/0/privileged",
            json!(true),
        ),
    ]
}

/// Its namespaces, names and groups.
pub fn of_the_container() -> Vec<Row> {
    vec![
        inside("hostname", ("hostname: one", "hostname: two"), "hostname", "two"),
        inside(
            "domainname",
            ("", "domainname: corp.example"),
            "cat /proc/sys/kernel/domainname",
            "corp.example",
        ),
        row(
            "ipc",
            "replace",
            ("ipc: private", "ipc: 'service:peer'"),
            Bundle("/ipc/container", json!("stack-peer-1")),
        ),
        inside("pid", ("", "pid: 'service:peer'"), "grep -lx sleep /proc/[0-9]*/comm | wc -l", "2"),
        row(
            "uts",
            "replace",
            ("", "uts: host"),
            Host(
                "[ $(readlink /proc/$PID/ns/uts) = $(readlink /proc/self/ns/uts) ] && echo host",
                "host",
            ),
        ),
        row(
            "userns_mode",
            "replace",
            ("", "userns_mode: host"),
            Host(
                "[ $(readlink /proc/$PID/ns/user) = $(readlink /proc/self/ns/user) ] && echo host",
                "host",
            ),
        ),
        inside("network_mode", ("", "network_mode: none"), "ls /sys/class/net | xargs", "lo"),
        row("cgroup", "replace", ("", "cgroup: host"), Bundle("/cgroup/host_view", json!(true))),
        row(
            "cgroup_parent",
            "replace",
            ("", "cgroup_parent: /mine"),
            Host("grep -c /mine/ /proc/$PID/cgroup | sed s/[1-9].*/some/", "some"),
        ),
        inside(
            "devices[].source devices[].target devices[].permissions",
            ("", "devices: ['/dev/null:/dev/mine:r']"),
            "test -c /dev/mine && echo there",
            "there",
        ),
        noted(
            "device_cgroup_rules",
            ("", "device_cgroup_rules: ['c 1:3 mr']"),
            "/record/spec/device_cgroup_rules/0/major",
            json!(1),
        ),
        // What is less than before, or has no value any more, is not changed in place.
        row(
            "ulimits.*.hard",
            "replace",
            ("ulimits: { nofile: 200 }", "ulimits: { nofile: 100 }"),
            Host("awk '/open files/ { print $4, $5 }' /proc/$PID/limits", "100 100"),
        ),
        inside(
            "sysctls",
            ("sysctls: { net.core.somaxconn: 256 }", "sysctls: { kernel.shmmni: 100 }"),
            "cat /proc/sys/kernel/shmmni",
            "100",
        ),
        noted(
            "logging.driver",
            ("", "logging: { driver: none }"),
            "/record/spec/logging/driver",
            json!("none"),
        ),
    ]
}

/// Its files.
pub fn of_the_mounts() -> Vec<Row> {
    let options = "grep \" /at \" /proc/mounts | cut -d\" \" -f4 | cut -d, -f1";
    vec![
        inside(
            "read_only",
            ("", "read_only: true"),
            "touch /x 2>/dev/null || echo refused",
            "refused",
        ),
        inside(
            "volumes[].type volumes[].source volumes[].target volumes[].bind.create_host_path",
            (
                "volumes: ['data:/at']",
                "volumes: [{ type: bind, source: ./made, target: /at, bind: { create_host_path: true } }]",
            ),
            "touch /at/x && ls /at",
            "x",
        ),
        inside(
            "volumes[].read_only",
            ("volumes: ['data:/at']", "volumes: ['data:/at:ro']"),
            options,
            "ro",
        ),
        inside(
            "volumes[].bind.propagation volumes[].bind.recursive",
            (
                "volumes: [{ type: bind, source: ., target: /at }]",
                "volumes: [{ type: bind, source: ., target: /at, bind: { propagation: private, recursive: disabled } }]",
            ),
            "ls /at/one",
            "/at/one",
        ),
        inside(
            "volumes[].volume.nocopy volumes[].volume.subpath",
            (
                "volumes: ['more:/at']",
                "volumes: [{ type: volume, source: data, target: /at, volume: { nocopy: true, subpath: . } }]",
            ),
            "touch /at/mine && ls /at/mine",
            "/at/mine",
        ),
        noted(
            "volumes[].volume.labels",
            (
                "volumes: [{ type: volume, target: /at }]",
                "volumes: [{ type: volume, target: /at, volume: { labels: { a: b } } }]",
            ),
            "/record/spec/mounts/~1at/source/labels/a",
            json!("b"),
        ),
        inside(
            "volumes[].image.subpath",
            (
                "volumes: [{ type: image, source: 'busybox:1', target: /at }]",
                "volumes: [{ type: image, source: 'busybox:1', target: /at, image: { subpath: bin } }]",
            ),
            "test -e /at/sh && echo there",
            "there",
        ),
        inside(
            "volumes[].tmpfs.mode",
            (
                "volumes: [{ type: tmpfs, target: /at }]",
                "volumes: [{ type: tmpfs, target: /at, tmpfs: { mode: 0700 } }]",
            ),
            "stat -c %a /at",
            "700",
        ),
        inside(
            "volumes_from",
            ("", "volumes_from: [peer]"),
            "grep -c \" /peer \" /proc/mounts",
            "1",
        ),
        inside(
            "configs[].source configs[].target configs[].uid configs[].gid configs[].mode",
            (
                "configs: [one]",
                "configs: [{ source: two, target: /at, uid: '1', gid: '2', mode: 0440 }]",
            ),
            "cat /at; stat -c \" %u %g %a\" /at",
            "two 1 2 440",
        ),
        inside(
            "secrets[].source secrets[].target secrets[].uid secrets[].gid secrets[].mode",
            (
                "secrets: [one]",
                "secrets: [{ source: two, target: /at, uid: '1', gid: '2', mode: 0440 }]",
            ),
            "cat /at; stat -c \" %u %g %a\" /at",
            "two 1 2 440",
        ),
    ]
}
