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
        { "name": "other", "containerEdits": { "netDevices": [{}] } }
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
fn what_is_not_done_for_a_device_and_files_that_cannot_be_read_are_told_with_the_reason() {
    let host = host("devices: ['example.com/wire=other']");
    describe(&host, "wire.json", CDI);
    host.berth("up -d").fails_with(65).stderr_has("netDevices").stderr_has("compose.yaml:5:");
    host.edit("compose.yaml", "wire=other", "wire=b");
    describe(&host, "broken.yaml", "kind: [");
    host.shell("mkfifo /run/cdi/fifo.json").succeeds();
    let told = host.berth("up -d").fails_with(65).stderr_has("there are a, other");
    told.stderr_has("broken.yaml").stderr_has("fifo.json");
    fs::remove_dir_all(host.machine().path("/run/cdi")).unwrap();
}

/// A device with one hook.
fn hooked(host: &TestHost, moment: &str, script: &str) {
    let hook = serde_json::json!({
        "hookName": moment, "path": "/bin/sh", "args": ["sh", "-c", script],
        "env": ["PATH=/usr/bin:/bin"], "timeout": 2,
    });
    let device = serde_json::json!({ "name": moment, "containerEdits": { "hooks": [hook] } });
    let spec = serde_json::json!({
        "cdiVersion": "0.6.0", "kind": "example.com/hook", "devices": [device],
    });
    describe(host, &format!("{moment}.json"), &spec.to_string());
}

/// Finds the container's root as the hooks of devices do: by the configuration that the state names.
const ROOT: &str = r#"said() { sed "s/.*\"$1\":\"\([^\"]*\)\".*/\1/" $2; };
    root=$(said path $(said bundle)/config.json)"#;

#[test]
fn hooks_in_the_container_change_its_files_with_its_rights() {
    let devices =
        "devices: ['example.com/hook=createContainer', 'example.com/hook=startContainer']";
    let host = host(&format!("read_only: true\nuser: '7'\n{devices}")).gated();
    let script = format!(
        "{ROOT}; cd $root/bin; ln -sf lib.so.1 lib.so; cat /proc/self/uid_map > map; id -u > owner
        ls -l /proc/self/fd | sed -n 's/.* \\([0-9]* -> [^:]*\\).*/\\1/p' > fds"
    );
    hooked(&host, "createContainer", &script);
    hooked(
        &host,
        "startContainer",
        "test \"$(id -u)\" = 7 && grep -q '^Seccomp:.*2' /proc/self/status && grep -q '\"status\":\"created\"'",
    );
    let up = host.berth("up -d --allow all").succeeds();
    up.stderr_has("G-DEV").stderr_has("/bin/sh (createContainer)");
    let check = || {
        assert_eq!(inside(&host, "web", "readlink /bin/lib.so; cat /bin/owner").1, "lib.so.1\n0");
        let map = inside(&host, "web", "cat /bin/map").1;
        assert_eq!(map, inside(&host, "web", "cat /proc/1/uid_map").1);
        assert_ne!(inside(&host, "web", "touch /bin/more").0, 0);
        assert_ne!(inside(&host, "plain", "ls /bin/lib.so").0, 0);
    };
    check();
    // Its streams, and the folder that `ls` reads.
    let fds = inside(&host, "web", "cat /bin/fds").1;
    let (streams, listed): (Vec<_>, Vec<_>) =
        fds.lines().partition(|line| line.starts_with(['0', '1', '2']));
    assert_eq!((streams.len(), listed.len()), (3, 1), "{fds}");
    assert!(listed[0].contains("/proc/"), "{fds}");
    host.berth("restart web").succeeds();
    check();
    host.berth("plan --detailed-exitcode").succeeds();
    // With this right its mounts are locked.
    host.edit("compose.yaml", "read_only: true", "read_only: true\n    cap_add: [SYS_ADMIN]");
    host.berth("up -d --allow all").succeeds();
    check();
    // Without a user namespace such a hook has the whole host.
    host.edit("compose.yaml", "cap_add: [SYS_ADMIN]", "userns_mode: host");
    host.berth("up -d").fails_with(9).stderr_has("with the rights of the host's root");
    forget(&host);
}

#[test]
fn hooks_on_the_host_want_consent_and_run_before_and_after() {
    let moments = ["prestart", "createRuntime", "poststart", "poststop"];
    let devices = moments.map(|moment| format!("example.com/hook={moment}")).join(", ");
    let host = host(&format!("devices: [{devices}]")).gated();
    for moment in moments {
        let script = format!(
            "echo {moment} $(sed 's/.*\"status\":\"\\([^\"]*\\)\".*/\\1/') $(id -u) >> /run/cdi/ran"
        );
        hooked(&host, moment, &script);
    }
    host.berth("up -d").fails_with(9).stderr_has("with the rights of the host's root");
    host.berth("up -d --allow all").succeeds();
    host.berth("down").succeeds();
    let ran = host.shell("cat /run/cdi/ran").succeeds().stdout;
    let expected =
        "prestart creating 0\ncreateRuntime creating 0\npoststart running 0\npoststop stopped 0\n";
    assert_eq!(ran, expected);
    forget(&host);
}

#[test]
fn a_hook_that_fails_or_takes_too_long_keeps_the_container_from_starting() {
    let host = host("devices: ['example.com/hook=createContainer']");
    for (script, told, code) in [
        ("echo no such card >&2; exit 3", "exit status: 3: no such card", 3),
        ("sleep 1000", "it has not ended after 2 s", 1),
    ] {
        hooked(&host, "createContainer", script);
        host.berth("up -d").fails_with(code).stderr_has(told);
    }
    host.shell("chmod o+w /run/cdi/createContainer.json").succeeds();
    host.berth("up -d").fails_with(65).stderr_has("can be changed by others than root");
    host.shell("chmod o-w /run/cdi/createContainer.json").succeeds();
    // Who may write to the folder of a link says what is run.
    host.shell("mkdir -m 777 /run/cdi/open && ln -s /bin/sh /run/cdi/open/sh").succeeds();
    let file = "/run/cdi/createContainer.json";
    host.shell(&format!("sed -i s,/bin/sh,/run/cdi/open/sh, {file}")).succeeds();
    host.berth("up -d").fails_with(65).stderr_has("(`/run/cdi/open`)");
    host.shell("chmod 755 /run/cdi/open").succeeds();
    host.edit("compose.yaml", "devices:", "pid: service:plain\n    devices:");
    host.berth("up -d").fails_with(65).stderr_has("`pid` shares them");
    host.edit("compose.yaml", "pid: service:plain", "runtime: crun");
    host.berth("up -d").fails_with(65).stderr_has("leave out `runtime`");
    forget(&host);
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
