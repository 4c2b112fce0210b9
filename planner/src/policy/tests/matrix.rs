//! The table of decisions, spelt once more by hand, with a service for each cell.

use super::*;
use crate::observed::{NetworkRecord, ObservedNetwork};

/// A cell: which row, what the three levels say in the signs of the research, and a service that
/// has it. What the service needs besides is not looked at.
const MATRIX: &[(&str, Case, &str, &str)] = &[
    ("G-PRIV", Case::Privileged, "C x x", "privileged: true"),
    ("G-PRIV", Case::Privileged, "C x x", "build: { context: ., privileged: true }"),
    ("G-PRIV", Case::Privileged, "C x x", "pre_start: [{ image: b, privileged: true }]"),
    ("G-PRIV", Case::Contained, "! C x", "x-berth: { privileged: contained }"),
    ("G-CAP-HOST", Case::CapHostMapped, "! C x", "cap_add: [SYS_ADMIN]"),
    ("G-CAP-HOST", Case::CapHostMapped, "! C x", "cap_add: [ALL]"),
    ("G-CAP-HOST", Case::CapHost, "C x x", "cap_add: [SYS_PTRACE]\nnetwork_mode: host"),
    ("G-CAP-NET", Case::CapNet, "! C x", "cap_add: [NET_RAW]"),
    ("G-CAP-LOW", Case::CapLow, "! ! x", "cap_add: [IPC_LOCK]"),
    ("G-CAP-LOW", Case::CapUsual, "y y x", "cap_add: [CHOWN]"),
    ("G-SEC", Case::Defences, "C x x", "security_opt: ['seccomp:unconfined']"),
    ("G-SEC", Case::Defences, "C x x", "security_opt: ['seccomp=./seccomp.json']"),
    ("G-SEC", Case::Defences, "C x x", "security_opt: [systempaths=unconfined]"),
    ("G-SEC", Case::Defences, "C x x", "security_opt: [apparmor=unconfined]"),
    ("G-SEC", Case::Defences, "C x x", "security_opt: [label=disable]"),
    ("G-NS", Case::Namespace, "C x x", "pid: host"),
    ("G-NS", Case::Namespace, "C x x", "ipc: host"),
    ("G-NS", Case::Namespace, "C x x", "uts: host"),
    ("G-NS", Case::Namespace, "C x x", "cgroup: host"),
    ("G-NS", Case::Namespace, "C x x", "userns_mode: host"),
    ("G-NS", Case::HostNetwork, "! C x", "network_mode: host"),
    ("G-NS", Case::HostNetwork, "! C x", "build: { context: ., network: host }"),
    ("G-NS", Case::Namespace, "C x x", "pid: service:other\n---\n  other: { image: b, pid: host }"),
    (
        "G-NS",
        Case::Namespace,
        "C x x",
        "ipc: service:more\n---\n  more: { image: b, ipc: service:other }\n  other: { image: b, ipc: host }",
    ),
    (
        "G-NS",
        Case::Namespace,
        "C x x",
        "pid: service:other\n---\n  other: { image: b, userns_mode: host }",
    ),
    (
        "G-NS",
        Case::HostNetwork,
        "! C x",
        "network_mode: service:other\n---\n  other: { image: b, network_mode: host }",
    ),
    (
        "G-LINK",
        Case::HostLink,
        "! C x",
        "networks: [n]\n---\nnetworks: { n: { driver: macvlan, driver_opts: { parent: eth0 }, ipam: { config: [{ subnet: 10.0.0.0/24 }] } } }",
    ),
    ("G-USERNS", Case::NoUserns, "! ! x", "init: true"),
    ("G-USERNS", Case::UsernsRequired, "x x x", "network_mode: host"),
    ("G-NS-PEER", Case::Peer, "C x x", "network_mode: container:other"),
    ("G-NS-PEER", Case::Peer, "C x x", "pid: container:other"),
    ("G-NS-PEER", Case::Peer, "C x x", "ipc: container:other"),
    (
        "G-NS-PEER",
        Case::Peer,
        "C x x",
        "pid: service:other\n---\n  other: { image: b, pid: container:theirs }",
    ),
    (
        "G-SOCK",
        Case::Socket,
        "C x x",
        "volumes_from: [other]\n---\n  other: { image: b, volumes: [/var/run/docker.sock:/s] }",
    ),
    (
        "G-SOCK",
        Case::Socket,
        "C x x",
        "pid: service:other\n---\n  other: { image: b, volumes: [/var/run/docker.sock:/s] }",
    ),
    ("G-SOCK", Case::Socket, "C x x", "volumes: [/var/run/docker.sock:/run/docker.sock]"),
    ("G-SOCK", Case::Socket, "C x x", "volumes: [./engine:/run/docker.sock]"),
    ("G-SOCK", Case::Socket, "C x x", "volumes: [/srv/other.sock:/s]"),
    ("G-SOCK", Case::Socket, "C x x", "use_api_socket: true"),
    ("G-BIND-ROOT", Case::HostRoot, "C x x", "volumes: [/:/host:ro]"),
    ("G-BIND-ROOT", Case::HostRoot, "C x x", "volumes: [/etc/ssl/private:/k:ro]"),
    ("G-BIND-ROOT", Case::HostRoot, "C x x", "volumes: [/var:/v]"),
    ("G-BIND-ROOT", Case::HostRoot, "C x x", "volumes: [/home/ann:/h]"),
    ("G-BIND-ROOT", Case::HostRoot, "C x x", "volumes: [/home/ann/.ssh:/h]"),
    ("G-BIND-ROOT", Case::HostRoot, "C x x", "volumes: [/usr/bin:/b]"),
    ("G-BIND-ROOT", Case::HostRoot, "C x x", "volumes: [/etc/localtime:/etc/localtime]"),
    ("G-BIND-ROOT", Case::HostRoot, "C x x", "volumes: [/var/lib/docker:/d:ro]"),
    ("G-BIND-ROOT", Case::HostRoot, "C x x", "volumes: [./link:/f]"),
    (
        "G-BIND-ROOT",
        Case::HostRoot,
        "C x x",
        "volumes_from: ['more:ro']\n---\n  more: { image: b, volumes_from: [other] }\n  other: { image: b, volumes: [/etc:/e] }",
    ),
    ("G-BIND-ROOT", Case::OwnState, "x x x", "volumes: [/var/lib/berth/volumes:/f]"),
    ("G-BIND-ROOT", Case::OwnState, "x x x", "volumes: [/run/berth:/f:ro]"),
    ("G-BIND-ROOT", Case::HostRoot, "C x x", "volumes: [/bin:/b]"),
    ("G-BIND-ROOT", Case::HostRoot, "C x x", "volumes: [/lib64/security:/b]"),
    ("G-BIND-ROOT", Case::HostRoot, "C x x", "volumes: [/opt/agent:/b]"),
    ("G-BIND-ROOT", Case::HostRoot, "C x x", "volumes: [/var/spool/at:/b:ro]"),
    ("G-BIND-ROOT", Case::HostRoot, "C x x", "volumes: [/var/lib/snapd:/b:ro]"),
    ("G-BIND", Case::Bind, "! C C", "volumes: [/opt/agent:/b:ro]"),
    ("G-BIND", Case::Bind, "! C C", "volumes: [/srv/data:/data]"),
    ("G-BIND", Case::Bind, "! C C", "volumes: [/home/ann/photos:/data]"),
    ("G-BIND", Case::Bind, "! C C", "volumes: [/var/lib/mysql:/data]"),
    ("G-BIND", Case::Bind, "! C C", "volumes: [/usr/share/fonts:/data:ro]"),
    ("G-BIND", Case::PublicData, "y C C", "volumes: [/etc/localtime:/etc/localtime:ro]"),
    ("G-BIND", Case::PublicData, "y C C", "volumes: [/etc/ssl/certs:/etc/ssl/certs:ro]"),
    (
        "G-BIND-HIDDEN",
        Case::HiddenHostRoot,
        "C x x",
        "volumes: [data:/v]\n---\nvolumes: { data: { driver_opts: { type: none, o: bind, device: /etc } } }",
    ),
    (
        "G-BIND-HIDDEN",
        Case::HiddenBind,
        "! x x",
        "volumes: [data:/v]\n---\nvolumes: { data: { driver_opts: { type: none, o: bind, device: /srv/data } } }",
    ),
    (
        "G-BIND-HIDDEN",
        Case::HiddenOwn,
        "y x x",
        "volumes: [data:/v]\n---\nvolumes: { data: { driver_opts: { type: none, o: bind, device: /srv/shop/v } } }",
    ),
    (
        "G-BIND-ROOT",
        Case::OwnState,
        "x x x",
        "volumes: [data:/v]\n---\nvolumes: { data: { driver_opts: { type: none, o: bind, device: /var/lib/berth } } }",
    ),
    (
        "G-BIND-HIDDEN",
        Case::HiddenHostRoot,
        "C x x",
        "volumes_from: [other]\n---\n  other: { image: b, volumes: [data:/v] }\nvolumes: { data: { driver_opts: { type: none, o: bind, device: /etc } } }",
    ),
    (
        "G-PROP",
        Case::Propagation,
        "C x x",
        "volumes: [{ type: bind, source: ./m, target: /m, bind: { propagation: rshared } }]",
    ),
    ("G-DEV", Case::HostDevice, "C x x", "devices: [/dev/sda]"),
    ("G-DEV", Case::HostDevice, "C x x", "device_cgroup_rules: ['b 8:* r']"),
    ("G-DEV", Case::HostDevice, "C x x", "device_cgroup_rules: ['c *:1 r']"),
    ("G-DEV", Case::Device, "C C x", "devices: [/dev/fuse]"),
    ("G-DEV", Case::Device, "C C x", "device_cgroup_rules: ['c 1:3 mr']"),
    ("G-DEV", Case::Gpu, "! C x", "gpus: all"),
    ("G-DEV", Case::Gpu, "! C x", "devices: [nvidia.com/gpu=0]"),
    (
        "G-DEV",
        Case::Device,
        "C C x",
        "gpus: [{ driver: cdi, device_ids: [example.com/disk=0], capabilities: [gpu] }]",
    ),
    ("G-DEV", Case::DeviceHook, "! C x", "devices: [example.com/hooked=0]"),
    ("G-DEV", Case::DeviceProgram, "C x x", "devices: [example.com/hooked=0]"),
    ("G-EXEC", Case::Provider, "C x x", "provider: { type: tool }"),
    ("G-HOOK", Case::Hook, "! C x", "post_start: [{ command: a, user: root }]"),
    ("G-HOOK", Case::Hook, "! C x", "pre_stop: [{ command: a, privileged: true }]"),
    ("G-HOOK", Case::Hook, "! C x", "pre_start: [{ image: b, user: root }]"),
    (
        "G-PRIV",
        Case::Privileged,
        "C x x",
        "pre_stop: [{ command: a, privileged: true }]\nnetwork_mode: host",
    ),
    ("G-FILE", Case::File, "! x x", "secrets: [s]\n---\nsecrets: { s: { file: /srv/key } }"),
    ("G-FILE", Case::File, "! x x", "configs: [s]\n---\nconfigs: { s: { file: ../key } }"),
    ("G-FILE", Case::File, "! x x", "build: /srv/code"),
    ("G-FILE", Case::File, "! x x", "init: false"),
    ("G-ENV", Case::Variable, "! x x", "init: false"),
    ("G-ENV", Case::OpenVariable, "! ! x", "init: false"),
    ("G-REMOTE", Case::Remote, "C x x", "build: https://example.org/code.git"),
    (
        "G-REMOTE",
        Case::RemotePinned,
        "! C x",
        "build: 'https://example.org/code.git#0123456789012345678901234567890123456789'",
    ),
    ("G-PUBLIC", Case::Public, "! C C", "ports: ['8080:80']"),
    ("G-PUBLIC", Case::Public, "! C C", "ports: ['192.0.2.1:8080:80']"),
    ("G-IMG", Case::Unpinned, "y ! x", "pre_start: [{ image: b:1 }]"),
    ("G-IMG", Case::Insecure, "C x x", "pre_start: [{ image: plain.example/b:1 }]"),
    ("G-IMG", Case::Unpinned, "y ! x", "volumes: [{ type: image, source: b:1, target: /b }]"),
    (
        "G-IMG",
        Case::Insecure,
        "C x x",
        "build: .\nvolumes: [{ type: image, source: plain.example/b:1, target: /b }]",
    ),
    (
        "G-SOCK",
        Case::Socket,
        "C x x",
        "logging: { driver: syslog, options: { syslog-address: 'unix:///var/run/docker.sock' } }",
    ),
    (
        "G-LOG",
        Case::LogAway,
        "! C x",
        "logging: { driver: syslog, options: { syslog-address: 'tcp://logs.example:514' } }",
    ),
    ("G-ROOT", Case::Root, "y y x", "user: '0:5'"),
    ("G-ROOT", Case::Root, "y y x", "init: true"),
    ("G-ROOT", Case::Root, "y y x", "user: nobody"),
    ("G-RW", Case::Writable, "y y !", "init: true"),
    ("G-LIM", Case::NoLimit, "y ! x", "init: true"),
    ("G-LIM", Case::NoLimit, "y ! x", "mem_limit: 1g\ntmpfs: /t"),
    ("G-LIM", Case::Starving, "! ! x", "pids_limit: -1"),
    ("G-LIM", Case::Starving, "! ! x", "oom_score_adj: -5"),
    ("G-LIM", Case::Starving, "! ! x", "oom_kill_disable: true"),
    ("G-LIM", Case::Starving, "! ! x", "ulimits: { nofile: 2000 }"),
    ("G-SYSCTL", Case::Sysctl, "! C C", "sysctls: { net.core.somaxconn: 5 }"),
    (
        "G-SYSCTL",
        Case::Sysctl,
        "! C C",
        "networks: { default: { driver_opts: { com.docker.network.endpoint.sysctls: net.ipv4.conf.IFNAME.log_martians=1 } } }",
    ),
    ("G-CG", Case::Placement, "C x x", "cgroup_parent: /else"),
    ("G-CG", Case::Placement, "C x x", "runtime: crun"),
    (
        "G-XSTACK",
        Case::Foreign,
        "! C C",
        "networks: [n]\n---\nnetworks: { n: { external: true, name: proxy } }",
    ),
    (
        "G-XSTACK",
        Case::Foreign,
        "! C C",
        "volumes: [data:/v]\n---\nvolumes: { data: { external: true } }",
    ),
    ("G-XSTACK", Case::Foreign, "! C C", "volumes_from: ['container:other']"),
    ("G-XSTACK", Case::Taken, "x x x", "networks: [n]\n---\nnetworks: { n: { name: theirs } }"),
    ("G-UNSIGNED", Case::Unsigned, "C C x", "init: true"),
];

/// A stack of the matrix, with the facts its case needs.
fn of_matrix(case: Case, body: &str) -> Case1 {
    let mut made = Case1::service(body);
    match case {
        Case::NoUserns => made.observed.host.userns = false,
        Case::UsernsRequired => made.facts.userns = Userns::Require,
        Case::Variable | Case::OpenVariable => drop(made.facts.variables.insert("HOME".into())),
        Case::Unsigned => made.facts.unsigned = true,
        Case::File => drop(made.facts.files.insert("/srv/outside.yaml".into())),
        Case::Taken => {
            let record = NetworkRecord {
                name: "theirs".into(),
                project: "others".into(),
                spec: Default::default(),
                bridge: "b".into(),
                realm: None,
                subnets: vec![],
            };
            let network = ObservedNetwork { record, bridge_up: true, rules_present: true };
            made.observed.networks.insert("theirs".into(), network);
        }
        _ => {}
    }
    if case == Case::OpenVariable {
        made.facts.open_variables.insert("HOME".into());
    }
    made
}

fn decision(sign: &str) -> Decision {
    match sign {
        "y" => Decision::Allowed,
        "!" => Decision::Shown,
        "C" => Decision::Consent,
        "x" => Decision::Refused,
        other => panic!("{other}"),
    }
}

#[test]
fn every_cell_of_the_matrix_is_decided_exactly_as_written() {
    for (id, case, signs, body) in MATRIX {
        let stack = of_matrix(*case, body);
        let column: Vec<Decision> = signs.split(' ').map(decision).collect();
        for (number, level) in Level::ALL.into_iter().enumerate() {
            for origin in [Origin::Operator, Origin::Delegated] {
                // What others wrote is held to the second column at least.
                let number = if origin == Origin::Delegated { number.max(1) } else { number };
                let grants = stack.grants(level, origin, &[]);
                let grant = grants.iter().find(|grant| {
                    // What another service has of its own is not meant.
                    grant.case == *case && grant.service.as_deref() != Some("other")
                });
                let grant = grant.unwrap_or_else(|| panic!("{body}: no {case:?} in {grants:#?}"));
                assert_eq!(grant.id, *id, "{body}");
                assert_eq!(grant.decision, column[number], "{body} at {level}, {origin:?}");
                let denied = column[number] >= Decision::Consent;
                assert_eq!(grant.is_denied(), denied, "{body} at {level}, {origin:?}");
            }
        }
    }
}

#[test]
fn a_row_that_is_taken_out_is_missed_by_every_sample_of_it() {
    for (id, case, _, body) in MATRIX {
        let stack = of_matrix(*case, body);
        let (_, without) = stack.found(|row| row != *id);
        assert!(without.iter().all(|found| found.case.id() != *id), "{id} is found twice: {body}");
        let (_, only) = stack.found(|row| row == *id);
        let of_web = |found: &&rows::Found| found.service.as_deref() != Some("other");
        assert!(
            only.iter().filter(of_web).any(|found| found.case == *case),
            "{id} does not find {body}"
        );
    }
}

#[test]
fn every_case_has_a_sample() {
    let sampled: BTreeSet<Case> = MATRIX.iter().map(|(_, case, ..)| *case).collect();
    assert_eq!(sampled, Case::ALL.iter().copied().collect());
}
