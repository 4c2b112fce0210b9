//! Devices of the host in a container, seen from inside and tried there, with what holds when the
//! file names none.

#![allow(clippy::unwrap_used, reason = "all of this is tests")]

use std::fs;

use berth_tests::{TestHost, skipped};

/// A stack of one service with these lines, and one without.
fn host(lines: &str) -> TestHost {
    let web: String = lines.lines().map(|line| format!("    {line}\n")).collect();
    let image = "    image: busybox:1\n    command: [sleep, '100000']\n";
    let stack = format!("services:\n  web:\n{image}{web}  plain:\n{image}");
    TestHost::with("compose.yaml", &stack)
}

fn inside(host: &TestHost, service: &str, line: &str) -> (i32, String) {
    let ran = host.berth(&format!("exec -T {service} sh -c '{line}'"));
    (ran.code, ran.stdout.trim().to_owned())
}

/// Says so when one of these nodes is missing on this host.
fn lacks(nodes: &[&str]) -> bool {
    let missing = nodes.iter().find(|node| !fs::exists(node).unwrap_or(false));
    if let Some(node) = missing {
        skipped(&format!("this host has no {node}"));
    }
    missing.is_some()
}

const STAT: &str = "stat -c \"%F %t:%T %a %u:%g\"";

#[test]
fn a_device_looks_as_on_the_host_and_can_be_used_as_the_file_says() {
    if lacks(&["/dev/fuse", "/dev/loop0"]) {
        return;
    }
    let host = host(
        "devices:\n  - /dev/fuse\n  - /dev/loop0:/dev/mine:r\n  - { source: /dev/loop1, target: \
                     /srv/two, permissions: rw }",
    );
    host.berth("up -d").succeeds();
    for (outside, within) in
        [("/dev/fuse", "/dev/fuse"), ("/dev/loop0", "/dev/mine"), ("/dev/loop1", "/srv/two")]
    {
        let expected = host.shell(&format!("{STAT} {outside}")).stdout.trim().to_owned();
        assert_eq!(inside(&host, "web", &format!("{STAT} {within}")), (0, expected));
    }
    assert_eq!(inside(&host, "web", ": <>/dev/fuse").0, 0);
    assert_eq!(inside(&host, "web", ": </dev/mine").0, 0);
    assert_ne!(inside(&host, "web", ": <>/dev/mine").0, 0);
    assert_eq!(inside(&host, "web", ": <>/srv/two").0, 0);
    assert_ne!(inside(&host, "web", "rm /dev/fuse").0, 0);
    let map = inside(&host, "web", "cat /proc/self/uid_map").1;
    assert!(map.split_whitespace().nth(1).is_none_or(|base| base != "0"), "{map}");
    for node in ["/dev/fuse", "/dev/mine", "/dev/loop0", "/dev/loop1"] {
        assert_ne!(inside(&host, "plain", &format!("ls {node}")).0, 0, "{node}");
    }
}

#[test]
fn a_device_works_without_a_user_namespace_and_for_another_user_as_its_mode_says() {
    if lacks(&["/dev/fuse"]) {
        return;
    }
    let host = host("devices: [/dev/fuse]\nuserns_mode: host");
    host.berth("up -d").succeeds();
    assert_eq!(inside(&host, "web", ": <>/dev/fuse").0, 0);
    let mode = host.shell("stat -c %a /dev/fuse").stdout;
    let other = host.berth("exec -T -u 1234 web sh -c ': <>/dev/fuse'").code == 0;
    assert_eq!(other, mode.trim().ends_with('6'), "{mode}");
}

#[test]
fn a_folder_of_devices_brings_its_nodes() {
    if lacks(&["/dev/net/tun"]) {
        return;
    }
    let host = host("devices: ['/dev/net:/dev/wires']");
    host.berth("up -d").succeeds();
    let tun = host.shell(&format!("{STAT} /dev/net/tun")).stdout.trim().to_owned();
    assert_eq!(inside(&host, "web", &format!("{STAT} /dev/wires/tun")), (0, tun));
    assert_eq!(inside(&host, "web", ": <>/dev/wires/tun").0, 0);
}

#[test]
fn a_device_that_is_not_there_is_told_with_its_place_before_anything_is_done() {
    let host = host("devices:\n  - /dev/null:/dev/mine\n  - /dev/nothing\n  - /etc/passwd");
    let told = host.berth("up -d").fails_with(65).stderr_has("compose.yaml:7:");
    let told = told.stderr_has("`/dev/nothing`: it is not there").stderr_has("compose.yaml:8:");
    told.stderr_has("`/etc/passwd`: it is no device");
    host.berth("check").stdout_has("/dev/nothing");
    assert_eq!(host.status("stack-web-1"), serde_json::Value::Null);
}

#[test]
fn a_rule_that_lets_nodes_be_made_is_told_to_be_without_effect_in_a_user_namespace() {
    let host = host("device_cgroup_rules: ['c 1:3 m']");
    host.berth("plan").stdout_has("web: the `m` of `device_cgroup_rules` has no effect");
    host.berth("up -d").succeeds().stderr_has("the kernel makes no device nodes");
    assert_ne!(inside(&host, "web", "mknod /tmp/null c 1 3").0, 0);
    host.edit("compose.yaml", "c 1:3 m", "c 1:3 rw");
    host.berth("plan").stdout_lacks("no effect");
}

#[test]
fn device_cgroup_rules_let_a_container_make_and_use_these_devices() {
    if lacks(&["/dev/loop0"]) {
        return;
    }
    let own = "userns_mode: host\ncap_add: [MKNOD]";
    let ruled = host(&format!("{own}\ndevice_cgroup_rules: ['b 7:* rwm']"));
    ruled.berth("up -d").succeeds();
    assert_eq!(inside(&ruled, "web", "mknod /dev/x b 7 0 && : <>/dev/x").0, 0);
    assert_ne!(inside(&ruled, "web", "mknod /dev/y c 10 229").0, 0);
    if let Some(list) = ruled.machine().cgroup_with("berth/stack-web-1", "devices.list") {
        assert!(fs::read_to_string(list).unwrap().contains("b 7:* rwm"));
    }
    let plain = host(own);
    plain.berth("up -d").succeeds();
    assert_ne!(inside(&plain, "web", "mknod /dev/x b 7 0 && : <>/dev/x").0, 0);
}

const CDI: &str = r#"{
    "cdiVersion": "0.6.0", "kind": "example.com/wire",
    "containerEdits": { "env": ["WIRES=on"] },
    "devices": [
        { "name": "a", "containerEdits": {
            "deviceNodes": [{ "path": "/dev/wire", "hostPath": "/dev/fuse", "permissions": "rw" }],
            "mounts": [{ "hostPath": "/run/cdi", "containerPath": "/opt/cdi", "options": ["ro", "bind"] }],
            "additionalGids": [4321] } },
        { "name": "hooked", "containerEdits": {
            "hooks": [{ "hookName": "createContainer", "path": "/bin/true" }] } }
    ]}"#;

fn describe(host: &TestHost, name: &str, text: &str) {
    let folder = host.machine().path("/run/cdi");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join(name), text).unwrap();
}

/// What a test has put into `/run` goes before the machine is compared.
fn forget(host: &TestHost) {
    host.berth("down").succeeds();
    fs::remove_dir_all(host.machine().path("/run/cdi")).unwrap();
}

#[test]
fn a_device_that_the_host_describes_comes_with_its_node_mount_variable_and_group() {
    if lacks(&["/dev/fuse"]) {
        return;
    }
    let host = host("devices: ['example.com/wire=a']");
    host.berth("up -d")
        .fails_with(65)
        .stderr_has("compose.yaml:5:")
        .stderr_has("example.com/wire=a");
    describe(&host, "wire.json", CDI);
    host.berth("up -d").succeeds();
    assert_eq!(inside(&host, "web", ": <>/dev/wire").0, 0);
    assert_eq!(inside(&host, "web", "cat /opt/cdi/wire.json | head -c 1").1, "{");
    assert_ne!(inside(&host, "web", "touch /opt/cdi/x").0, 0);
    let process =
        inside(&host, "web", "tr \"\\0\" \"\\n\" </proc/1/environ; grep Groups /proc/1/status");
    assert!(process.1.contains("WIRES=on") && process.1.contains("4321"), "{process:?}");
    let plain = inside(&host, "plain", "ls /dev/wire /opt/cdi; cat /proc/1/environ").1;
    assert!(!plain.contains("WIRES"), "{plain}");
    host.berth("plan --detailed-exitcode").fails_with(0);
    forget(&host);
}

#[test]
fn hooks_of_a_device_and_files_that_cannot_be_read_are_refused_with_the_reason() {
    let host = host("devices: ['example.com/wire=hooked']");
    describe(&host, "wire.json", CDI);
    host.berth("up -d").fails_with(65).stderr_has("hooks").stderr_has("compose.yaml:5:");
    host.edit("compose.yaml", "wire=hooked", "wire=b");
    describe(&host, "broken.yaml", "kind: [");
    host.shell("mkfifo /run/cdi/fifo.json").succeeds();
    let told = host.berth("up -d").fails_with(65).stderr_has("there are a, hooked");
    told.stderr_has("broken.yaml").stderr_has("fifo.json");
    fs::remove_dir_all(host.machine().path("/run/cdi")).unwrap();
}

#[test]
fn gpus_and_reserved_devices_are_those_that_the_host_describes() {
    if lacks(&["/dev/fuse"]) {
        return;
    }
    let device = |name: &str| {
        format!(
            "- {{ name: '{name}', containerEdits: {{ env: ['GPU_{name}=1'], deviceNodes: [{{ path: \
                 /dev/gpu{name}, hostPath: /dev/fuse }}] }} }}\n"
        )
    };
    let devices: String = ["0", "1", "all"].map(device).concat();
    let text = format!("cdiVersion: 0.5.0\nkind: nvidia.com/gpu\ndevices:\n{devices}");
    let seen = |lines: &str| {
        let host = host(lines);
        describe(&host, "nvidia.yaml", &text);
        host.berth("up -d").succeeds();
        let seen = inside(&host, "web", "ls /dev | grep gpu | tr \"\\n\" \" \"").1;
        forget(&host);
        seen
    };
    assert_eq!(seen("gpus: all"), "gpuall");
    let reserved = |rest: &str| {
        format!(
            "deploy: {{ resources: {{ reservations: {{ devices: [{{ capabilities: [gpu], {rest} }}] }} }} }}"
        )
    };
    assert_eq!(seen(&reserved("driver: nvidia, count: 2")), "gpu0 gpu1");
    assert_eq!(seen(&reserved("device_ids: ['1']")), "gpu1");

    let host = host(&reserved("count: 3"));
    describe(&host, "nvidia.yaml", &text);
    let told = host.berth("up -d").fails_with(65).stderr_has("3 are asked for, and 2 found");
    told.stderr_has("compose.yaml:5:");
    host.edit("compose.yaml", "count: 3", "driver: other");
    host.berth("up -d").fails_with(65).stderr_has("driver `other`");
    fs::remove_dir_all(host.machine().path("/run/cdi")).unwrap();
}
