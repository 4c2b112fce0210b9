//! What a container shares.

use insta::assert_snapshot;

use super::{refused, service, shown};
use crate::config;
use crate::stack::{CgroupMode, IpcMode, NetworkMode, PidMode, UsernsMode, UtsMode};
use crate::tests::{problems, stack_of};

#[test]
fn namespaces_are_own_or_shared_with_somebody() {
    let own = service("");
    assert_eq!((own.ipc, own.pid, own.uts), (IpcMode::Private, PidMode::Private, UtsMode::Private));
    assert_eq!((own.cgroup, own.userns_mode, own.network_mode), (None, UsernsMode::Private, None));
    let host = service(
        "{ipc: host, pid: host, uts: host, cgroup: host, userns_mode: host, network_mode: host}"
            .trim_matches(['{', '}'])
            .replace(", ", "\n")
            .as_str(),
    );
    assert_eq!((host.ipc, host.pid, host.uts), (IpcMode::Host, PidMode::Host, UtsMode::Host));
    assert_eq!((host.cgroup, host.userns_mode), (Some(CgroupMode::Host), UsernsMode::Host));
    assert_eq!(host.network_mode, Some(NetworkMode::Host));
    let shared = service("ipc: service:other\npid: container:c\nnetwork_mode: service:other");
    assert_eq!(shared.ipc, IpcMode::Service("other".into()));
    assert_eq!(shared.pid, PidMode::Container("c".into()));
    assert_eq!(shared.network_mode, Some(NetworkMode::Service("other".into())));
    assert_eq!(service("ipc: shareable").ipc, IpcMode::Shareable);
    assert_eq!(service("ipc: none").ipc, IpcMode::None);
}

#[test]
fn namespaces_that_nobody_has_are_refused() {
    assert_snapshot!(refused(
        "ipc: shared
pid: 'service:'
uts: private-ish
userns_mode: keep-id
network_mode: birdge
"
    ), @r"
    compose.yaml:4:10 berth::bad_value
      `services.web.ipc`: `shared` is not an IPC namespace
      → write private, shareable, none, host, service:NAME or container:NAME
    compose.yaml:5:10 berth::bad_value
      `services.web.pid`: `service:` is not a process namespace
      → write host, service:NAME or container:NAME
    compose.yaml:6:10 berth::bad_value
      `services.web.uts`: `private-ish` is not a UTS namespace
      → write host or private
    compose.yaml:7:18 berth::bad_value
      `services.web.userns_mode`: `keep-id` is not a user namespace here
      → write `host` for the ids of the host; take it away for ids of its own
    compose.yaml:8:19 berth::bad_value
      `services.web.network_mode`: `birdge` is not a network mode here
      → use bridge, none, host, service:NAME or `networks:`
    ");
}

#[test]
fn a_service_on_the_bridge_of_the_host_is_on_the_default_network() {
    for mode in ["bridge", "default", "''"] {
        let text =
            format!("services: {{web: {{image: i, network_mode: {mode}, ports: ['80:80']}}}}");
        let stack = stack_of(&text);
        let web = &stack.services["web"];
        assert_eq!(web.network_mode, None, "{mode}");
        assert_eq!(web.networks.keys().collect::<Vec<_>>(), ["default"], "{mode}");
        assert_eq!(stack.networks["default"].name, "p_default", "{mode}");
    }
    let text = "services: {web: {image: i, network_mode: bridge}}
networks: {default: {name: front, internal: true}}
";
    let network = stack_of(text).networks.remove("default").unwrap();
    assert_eq!((network.name.as_str(), network.internal), ("front", true));
}

#[test]
fn the_bridge_of_the_host_is_shown_as_it_is_written() {
    let text = "services: {web: {image: i, network_mode: bridge}}\nnetworks: {default: {}}";
    assert_snapshot!(config::to_yaml(&shown(text)), @"
    name: p
    services:
      web:
        image: i
        network_mode: bridge
    ");
}

#[test]
fn ports_on_the_bridge_of_the_host_are_published_once() {
    let text = "services:
  a: {image: i, network_mode: bridge, ports: ['80:80']}
  b: {image: i, ports: ['80:80']}
";
    assert_snapshot!(problems(text), @"
    compose.yaml:3:25 berth::duplicate
      `a` and `b` both publish the host port 80
      → give one of them another host port
    ");
}
