//! What a stack asks for that a host cannot give.

use std::collections::BTreeMap;

use berth_planner::action::Action;
use berth_planner::observed::{HostFacts, Observed, Storage};
use berth_planner::unfit::{self, Abilities, Modules, must_exist, unfit};
use berth_planner::{Inputs, UpOptions, resolve, up};
use berth_schema::stack::*;

use crate::stacks::{service, with};

/// A service with every limit, and the places of the attributes they were written in.
fn limited() -> Stack {
    let mut web = service("web:1");
    web.limits = Limits {
        memory: Some(1 << 20),
        memory_swap: Some(2 << 20),
        memory_reservation: Some(1 << 20),
        cpu_micros: Some(1_000_000),
        cpu_period: None,
        cpu_shares: Some(10),
        cpuset: Some("0".into()),
        pids: Some(5),
        oom_score_adj: None,
    };
    web.ulimits = BTreeMap::from([("nofile".into(), (10, 2000)), ("core".into(), (0, -1))]);
    let mut stack = with([("web", web)]);
    let written = [
        "deploy.resources.limits.memory",
        "memswap_limit",
        "mem_reservation",
        "cpus",
        "cpu_shares",
        "cpuset",
        "pids_limit",
        "mem_swappiness",
        "blkio_config",
        "blkio_config.weight",
    ];
    let place = Place { file: "shop.yaml".into(), line: 1, column: 1 };
    let places = written.map(|name| (format!("services.web.{name}"), place.clone()));
    stack.places = Places::from_iter(places);
    stack
}

fn controllers(v1: bool) -> BTreeMap<String, bool> {
    let io = if v1 { "blkio" } else { "io" };
    ["cpu", "cpuset", io, "memory", "pids"].map(|name| (name.to_owned(), v1)).into()
}

fn told(stack: &Stack, abilities: &Abilities) -> String {
    let line = |u: berth_planner::unfit::Unfit| {
        let path = u.path.trim_start_matches("services.").to_owned();
        format!("{} {path}: {}", if u.fails { "fails" } else { "inert" }, u.why)
    };
    unfit(stack, abilities).into_iter().map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_limit_without_its_controller_fails_or_is_inert_as_it_would_at_the_start() {
    let abilities = Abilities { ipv6: true, ..Abilities::default() };
    insta::assert_snapshot!(told(&limited(), &abilities), @"
    inert web.blkio_config: this host has no `io` cgroup controller
    inert web.cpu_shares: this host has no `cpu` cgroup controller
    fails web.cpus: this host has no `cpu` cgroup controller
    fails web.cpuset: this host has no `cpuset` cgroup controller
    fails web.deploy.resources.limits.memory: this host has no `memory` cgroup controller
    inert web.mem_reservation: this host has no `memory` cgroup controller
    fails web.memswap_limit: this host has no `memory` cgroup controller
    inert web.pids_limit: this host has no `pids` cgroup controller
    ");
}

#[test]
fn with_every_controller_of_v1_nothing_is_unfit() {
    let abilities =
        Abilities { controllers: controllers(true), swap: true, ipv6: true, ..<_>::default() };
    let weights = "inert web.blkio_config.weight: the kernel of this host has no weights for block \
                   devices";
    assert_eq!(told(&limited(), &abilities), weights);
    let abilities = Abilities { block_weights: true, ..abilities };
    assert_eq!(told(&limited(), &abilities), "");
}

#[test]
fn what_only_v1_knows_is_inert_on_v2() {
    let abilities = Abilities {
        controllers: controllers(false),
        block_weights: true,
        ipv6: true,
        ..<_>::default()
    };
    insta::assert_snapshot!(told(&limited(), &abilities), @"
    inert web.mem_swappiness: this host has cgroup v2, which has no such setting
    inert web.memswap_limit: the kernel of this host counts no swap for each container
    ");
}

#[test]
fn a_hard_limit_above_ours_fails() {
    let abilities = Abilities {
        controllers: controllers(true),
        swap: true,
        block_weights: true,
        ipv6: true,
        hard_limits: [("nofile".to_owned(), 1024), ("core".to_owned(), 0)].into(),
        ..<_>::default()
    };
    insta::assert_snapshot!(told(&limited(), &abilities), @"
    fails web.ulimits.core: 0 is the most a process gets here, and raising it needs CAP_SYS_RESOURCE
    fails web.ulimits.nofile: 1024 is the most a process gets here, and raising it needs CAP_SYS_RESOURCE
    ");
}

#[test]
fn a_limit_of_the_writable_layer_needs_project_quotas() {
    let mut web = service("web:1");
    web.storage_size = Some(1 << 30);
    let stack = with([("web", web)]);
    let on = |kind: &str, limits_projects| Abilities {
        ipv6: true,
        storage: Some(Storage {
            mount: "/var/lib".into(),
            kind: kind.into(),
            limits_projects,
            ..Storage::default()
        }),
        ..Abilities::default()
    };
    let all = ["ext4", "xfs", "btrfs"].map(|kind| told(&stack, &on(kind, false)));
    insta::assert_snapshot!(all.join("\n"), @"
    fails web.storage_opt.size: containers are written to `/var/lib`, which is ext4 without project quotas; mount it with `prjquota`, which it can after `tune2fs -O project,quota -Q prjquota` on its device while it is not mounted
    fails web.storage_opt.size: containers are written to `/var/lib`, which is xfs without project quotas; mount it with `prjquota`, from the start and not by remounting
    fails web.storage_opt.size: containers are written to `/var/lib`, which is btrfs and cannot limit folders; ext4 and xfs can, mounted with `prjquota`
    ");
    assert_eq!(told(&stack, &on("ext4", true)), "");
}

#[test]
fn below_a_slice_of_systemd_it_has_to_be_active() {
    let parents =
        ["a.slice/a-b.slice", "a.slice/a-c.slice", "a.slice", "batch/nightly", "x.slices"];
    let abilities = |slices: Option<&[&str]>| Abilities {
        slices: slices.map(|slices| slices.iter().map(ToString::to_string).collect()),
        ..Abilities::default()
    };
    let found = |abilities: &Abilities| {
        let told = parents.map(|parent| {
            let mut web = service("web:1");
            web.cgroup_parent = Some(parent.to_owned());
            told(&with([("web", web)]), abilities)
        });
        told.join("\n")
    };
    assert_eq!(found(&abilities(None)).trim(), "");
    insta::assert_snapshot!(found(&abilities(Some(&["a.slice", "a.slice/a-b.slice"]))).trim(), @"fails web.cgroup_parent: the slice `a-c.slice` is not active, so nothing that systemd knows of it would hold; `systemctl start a-c.slice` first");
}

#[test]
fn a_writable_layer_with_a_limit_gets_a_project_that_nothing_counts_to() {
    let mut web = service("web:1");
    web.storage_size = Some(1 << 30);
    let free = Service { storage_size: Some(0), ..service("free:1") };
    let desired = crate::stacks::desired(&with([("web", web), ("free", free)]));
    let storage = Storage { projects: [0x6265_0000, 0x6265_0002].into(), ..Storage::default() };
    let host = HostFacts { storage: Some(storage), ..HostFacts::default() };
    let observed = Observed { host, ..Observed::default() };
    let plan = up(&desired, &observed, &UpOptions::default(), &Places::default());
    let plan = plan.unwrap();
    let made = plan.steps.iter().filter_map(|step| match &step.action {
        Action::CreateContainer(record) => Some((record.name.as_str(), record.layer_project)),
        _ => None,
    });
    let made: BTreeMap<_, _> = made.collect();
    assert_eq!(made, [("shop-free-1", None), ("shop-web-1", Some(0x6265_0001))].into());
}

#[test]
fn without_ipv6_what_asks_for_it_fails() {
    let mut web = service("web:1");
    let port = |ip: &str| Port {
        target: 80,
        published: Some((80, 80)),
        host_ip: Some(ip.parse().unwrap()),
        protocol: Protocol::Tcp,
    };
    web.ports = vec![port("127.0.0.1"), port("::1")];
    let on = ServiceNetwork { ipv6_address: "fd00::5".parse().ok(), ..ServiceNetwork::default() };
    web.networks.insert("default".into(), on);
    let mut stack = with([("web", web)]);
    stack.networks.get_mut("default").unwrap().enable_ipv6 = true;
    insta::assert_snapshot!(told(&stack, &Abilities::default()), @"
    fails networks.default.enable_ipv6: this host has no IPv6
    fails web.networks.default.ipv6_address: this host has no IPv6
    fails web.ports.1: this host has no IPv6
    ");
    let abilities = Abilities { ipv6: true, ..Abilities::default() };
    assert_eq!(
        told(&stack, &abilities),
        "inert web.ports.1: the kernel lets no packet from ::1 leave the loopback link"
    );
}

#[test]
fn a_bind_that_nobody_makes_must_be_there() {
    let mut web = service("web:1");
    let bind = |target: &str, create_host_path| Mount {
        target: target.into(),
        source: MountSource::Bind {
            path: format!("/srv{target}").into(),
            create_host_path,
            propagation: None,
            recursive: Recursive::Enabled,
            selinux: None,
        },
        read_only: false,
    };
    web.volumes = vec![bind("/a", true), bind("/b", false)];
    let stack = with([("web", web)]);
    let missing = must_exist(&stack);
    assert_eq!(missing, ["/srv/b".into()].into());
    let abilities = Abilities { missing, ..Abilities::default() };
    insta::assert_snapshot!(told(&stack, &abilities), @"fails web.volumes.1.source: `/srv/b` is not there");
}

#[test]
fn a_log_needs_its_destination_on_this_host_unless_it_is_elsewhere() {
    let logged = |to: ForwardTo| {
        let forwarding = Forwarding {
            to,
            tag: vec![TagPart::Id],
            drop_over: None,
            no_files: false,
            labels: Chosen::default(),
            env: Chosen::default(),
        };
        let logging = Logging { forwarding: Some(Box::new(forwarding)), ..Logging::default() };
        Service { logging, ..service("web:1") }
    };
    let udp = SyslogAddress::Udp("192.0.2.7".into(), 514);
    let stack = with([
        ("a", logged(ForwardTo::Journal)),
        ("b", logged(ForwardTo::Syslog(Syslog::default()))),
        ("c", logged(ForwardTo::Syslog(Syslog { address: udp, ..Syslog::default() }))),
    ]);
    let abilities = Abilities { ipv6: true, ..Abilities::default() };
    insta::assert_snapshot!(told(&stack, &abilities), @"
    fails a.logging.driver: this host has no journal: nothing listens on /run/systemd/journal/socket
    fails b.logging.driver: this host has no syslog server at /dev/log; `syslog-address` names another
    ");
    let abilities = Abilities { journal: true, syslog: true, ..abilities };
    assert_eq!(told(&stack, &abilities), "");
}

#[test]
fn what_cannot_be_met_is_refused_and_what_has_no_effect_is_noted_once() {
    let judged = |stack: &Stack, names: &[&str]| {
        let controllers = names.iter().map(|name| ((*name).to_owned(), false)).collect();
        let abilities = Abilities { controllers, ipv6: true, ..Abilities::default() };
        let inputs = Inputs { abilities: Some(abilities), ..Inputs::default() };
        resolve(stack, &inputs, &HostFacts { userns: true, ..HostFacts::default() })
    };
    let stack = limited();
    let problems = judged(&stack, &["cpu", "cpuset"]).unwrap_err();
    let told: Vec<String> = problems.iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(told.join("\n"), @"
    `services.web.deploy.resources.limits.memory` cannot be met: this host has no `memory` cgroup controller
    `services.web.memswap_limit` cannot be met: this host has no `memory` cgroup controller
    ");
    assert!(problems.iter().all(|problem| stack.places.find(&problem.path()).is_some()));

    let desired = judged(&stack, &["cpu", "cpuset", "memory"]).unwrap();
    let mut observed = Observed::default();
    observed.host.userns = true;
    let plan = up(&desired, &observed, &UpOptions::default(), &stack.places).unwrap();
    insta::assert_snapshot!(plan.notes.join("\n"), @"
    web: `blkio_config` has no effect on this host: this host has no `io` cgroup controller
    web: `mem_swappiness` has no effect on this host: this host has cgroup v2, which has no such setting
    web: `memswap_limit` has no effect on this host: the kernel of this host counts no swap for each container
    web: `pids_limit` has no effect on this host: this host has no `pids` cgroup controller
    ");
    let nothing = UpOptions { scale: [("web".to_owned(), 0)].into(), ..UpOptions::default() };
    let plan = up(&desired, &observed, &nothing, &stack.places).unwrap();
    assert_eq!(plan.notes, Vec::<String>::new());
}

#[test]
fn a_profile_of_apparmor_has_to_be_loaded_and_labels_of_selinux_are_refused() {
    let asks = |profile: &str, labels: Vec<SelinuxLabel>| {
        let apparmor = Some(Listed { index: 0, value: AppArmor::Profile(profile.into()) });
        let at = |(index, value)| Listed { index: index + 1, value };
        let selinux = labels.into_iter().enumerate().map(at).collect();
        let security = SecurityOptions { apparmor, selinux, ..SecurityOptions::default() };
        Service { security, ..service("web:1") }
    };
    let free = Listed { index: 0, value: AppArmor::Unconfined };
    let free = SecurityOptions { apparmor: Some(free), ..SecurityOptions::default() };
    let labels = vec![SelinuxLabel::Disable, SelinuxLabel::Type("web_t".into())];
    let stack = with([
        ("a", asks("mine", Vec::new())),
        ("b", asks("mine//&other", labels)),
        ("c", Service { security: free, ..service("web:1") }),
    ]);
    let on = |apparmor| Abilities { modules: Modules { apparmor }, ..<_>::default() };
    insta::assert_snapshot!(told(&stack, &on(unfit::AppArmor::Off)), @r"
    fails a.security_opt.0: this host has no AppArmor, or has it switched off, so there is no profile `mine`: take it away; seccomp, capabilities and the user namespace confine the container
    fails b.security_opt.0: this host has no AppArmor, or has it switched off, so there is no profile `mine//&other`: take it away; seccomp, capabilities and the user namespace confine the container
    fails b.security_opt.2: berth sets no labels of SELinux, on no host: take it away; seccomp, capabilities and the user namespace confine the container
    ");
    let loaded = ["mine".to_owned(), "mine//child".to_owned()].into();
    insta::assert_snapshot!(told(&stack, &on(unfit::AppArmor::On(loaded))), @r"
    fails b.security_opt.0: AppArmor has no profile `other` on this host: load it with `apparmor_parser --replace FILE`
    fails b.security_opt.2: berth sets no labels of SELinux, on no host: take it away; seccomp, capabilities and the user namespace confine the container
    ");
    insta::assert_snapshot!(told(&stack, &on(unfit::AppArmor::Unseen)), @"fails b.security_opt.2: berth sets no labels of SELinux, on no host: take it away; seccomp, capabilities and the user namespace confine the container");
}

#[test]
fn a_port_of_sctp_needs_a_kernel_that_has_it() {
    let mut web = service("web:1");
    let port = |protocol| Port { target: 9000, published: None, host_ip: None, protocol };
    web.ports = vec![port(Protocol::Tcp), port(Protocol::Sctp)];
    let stack = with([("web", web)]);
    assert!(unfit::wants_sctp(&stack));
    assert!(!unfit::wants_sctp(&limited()));
    let abilities = Abilities { ipv6: true, ..Abilities::default() };
    insta::assert_snapshot!(told(&stack, &abilities), @r"fails web.ports.1: the kernel of this host has no SCTP: its module is `sctp`, which some systems have in a package of further modules");
    assert_eq!(told(&stack, &Abilities { sctp: true, ..abilities }), "");
}
