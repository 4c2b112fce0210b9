//! What a stack asks of the host.

use std::collections::BTreeMap;

use berth_planner::desired::NetworkMode;
use berth_planner::observed::{HostFacts, NetworkRecord, ObservedNetwork};
use berth_planner::resolve::bind_sources;
use berth_planner::{Inputs, RunOptions, resolve};
use berth_schema::stack::NetworkMode as Shared;
use berth_schema::stack::*;
use insta::assert_snapshot;

use crate::stacks::{desired, service, with};

fn mount(source: &str, target: &str) -> FileMount {
    FileMount { source: source.into(), target: target.into(), uid: None, gid: None, mode: None }
}

fn object(content: FileContent) -> FileObject {
    FileObject { name: "any".into(), content, ..FileObject::default() }
}

#[test]
fn content_comes_from_files_variables_and_the_file_itself() {
    let mut app = service("app:1");
    app.configs = vec![mount("inline", "/inline"), mount("file", "/etc/app.conf")];
    app.secrets = vec![mount("variable", "/run/secrets/variable")];
    let mut stack = with([("app", app)]);
    let file = FileContent::File("/srv/shop/app.conf".into());
    stack.configs.insert("inline".into(), object(FileContent::Inline("abc".into())));
    stack.configs.insert("file".into(), object(file));
    let value = FileContent::Environment("TOKEN".into(), Some("abc".into()));
    stack.secrets.insert("variable".into(), object(value));

    let mut inputs = Inputs::default();
    inputs.files.insert("/srv/shop/app.conf".into(), b"abc".to_vec());
    let desired = resolve(&stack, &inputs, &HostFacts::default()).unwrap();
    let files = &desired.services["app"].container.files;
    let told: Vec<String> = files
        .iter()
        .map(|f| {
            format!("{} {}:{} {:o} {} {:?}", f.target, f.uid, f.gid, f.mode, f.digest, f.content)
        })
        .collect();
    assert_snapshot!(told.join("\n"), @"
    /etc/app.conf 0:0 444 sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad <3 bytes>
    /inline 0:0 444 sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad <3 bytes>
    /run/secrets/variable 0:0 444 sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad <3 bytes>
    ");
    let json = serde_json::to_string(&desired).unwrap();
    assert!(!json.contains("\"abc\""), "{json}");
}

#[test]
fn all_problems_come_at_once() {
    let mut app = service("app:1");
    app.configs = vec![mount("file", "/file")];
    app.secrets = vec![mount("variable", "/variable"), mount("kept", "/kept")];
    app.network_mode = Some(Shared::Service("web".into()));
    let mut odd = service("odd:1");
    let source = MountSource::Image { reference: "localhost/host".into(), subpath: None };
    odd.volumes = vec![Mount { target: "/tools".into(), source, read_only: true }];
    let mut web = service("web:1");
    web.replicas = 0;
    let mut stack = with([("app", app), ("odd", odd), ("web", web)]);
    let file = FileContent::File("/srv/shop/app.conf".into());
    stack.configs.insert("file".into(), object(file));
    let unset = FileContent::Environment("TOKEN".into(), None);
    stack.secrets.insert("variable".into(), object(unset));
    stack.secrets.insert("kept".into(), object(FileContent::External));
    let pool = IpamPool { subnet: Some("10.0.0.0/33".into()), ..IpamPool::default() };
    stack.networks.get_mut("default").unwrap().ipam = vec![pool];

    let problems = resolve(&stack, &Inputs::default(), &HostFacts::default()).unwrap_err();
    let told: Vec<String> =
        problems.iter().map(|problem| format!("{}: {problem}", problem.path())).collect();
    assert_snapshot!(told.join("\n"), @"
    configs.file: config `file` is read from `/srv/shop/app.conf`: it was not read
    secrets.variable: secret `variable` is taken from the variable `TOKEN`, which is not set
    services.app.network_mode: service `app` shares the network of `web`, which has no container
    services.odd.volumes.0.source: service `odd` mounts `localhost/host`, which is made of folders of this host: bind the one that is wanted
    secrets.kept: secret `kept` is external, which berth does not do yet
    networks.default.ipam: network `default`: `10.0.0.0/33` is not a subnet like `10.1.0.0/24`
    ");
}

#[test]
fn names_on_the_host_are_those_of_the_project() {
    let mut web = service("web:1");
    let source = MountSource::Volume { name: "data".into(), nocopy: true, subpath: None };
    web.volumes.push(Mount { target: "/data".into(), source, read_only: true });
    let desired = desired(&with([("web", web)]));
    assert!(desired.networks.contains_key("shop_default"));
    assert!(desired.volumes.contains_key("shop_data"));
    let container = &desired.services["web"].container;
    assert!(container.networks.contains_key("shop_default"));
}

#[test]
fn a_user_namespace_is_off_where_it_cannot_be_and_for_all_who_share_with_such() {
    let mut host = service("a:1");
    host.networks.clear();
    host.network_mode = Some(Shared::Host);
    let mut shares = service("b:1");
    shares.networks.clear();
    shares.network_mode = Some(Shared::Service("host".into()));
    let mut off = service("c:1");
    off.userns_mode = UsernsMode::Host;
    let mut free = service("d:1");
    free.privileged = true;
    let stack = with([
        ("host", host),
        ("shares", shares),
        ("off", off),
        ("free", free),
        ("usual", service("e:1")),
    ]);
    let desired = desired(&stack);
    let userns: BTreeMap<&str, bool> =
        desired.services.iter().map(|(name, s)| (name.as_str(), s.container.userns)).collect();
    let told = format!("{userns:?}");
    assert_snapshot!(told, @r#"{"free": false, "host": false, "off": false, "shares": false, "usual": true}"#);
    let shares = &desired.services["shares"];
    assert_eq!(shares.container.network_mode, NetworkMode::Container("shop-host-1".into()));
    assert!(shares.depends_on["host"].restart);
    let none = resolve(&stack, &Inputs::default(), &HostFacts::default()).unwrap();
    assert!(!none.services["usual"].container.userns);
}

#[test]
fn a_bind_that_cannot_map_ids_takes_the_user_namespace_away() {
    let binds = |recursive| {
        let source = MountSource::Bind {
            path: "/mnt/far".into(),
            create_host_path: true,
            propagation: None,
            recursive,
            selinux: None,
        };
        Service {
            volumes: vec![Mount { target: "/data".into(), source, read_only: false }],
            ..service("a:1")
        }
    };
    let stack = with([
        ("all", binds(Recursive::Enabled)),
        ("one", binds(Recursive::Disabled)),
        ("usual", service("b:1")),
    ]);
    let sources = bind_sources(&stack);
    assert_eq!(sources.len(), 2);
    let unmapped = sources.into_iter().filter(|source| source.recursive).collect();
    let facts = HostFacts { userns: true, ..HostFacts::default() };
    let desired = resolve(&stack, &Inputs { unmapped, ..Inputs::default() }, &facts).unwrap();
    let why = |name: &str| desired.services[name].no_userns.clone();
    assert!(!desired.services["all"].container.userns && desired.services["one"].container.userns);
    assert_eq!([why("one"), why("usual")], [None, None]);
    let why = why("all").unwrap();
    assert_snapshot!(why, @"`/mnt/far`, or what is mounted below it, cannot map ids");
}

#[test]
fn what_is_for_another_platform_does_not_run_here() {
    let platform = |architecture: &str| Platform {
        os: "linux".into(),
        architecture: Some(architecture.into()),
        variant: None,
    };
    let of = |wanted: Option<Platform>| Service { platform: wanted, ..service("app:1") };
    let stack = with([
        ("any", of(None)),
        ("arm", of(Some(platform("arm64")))),
        ("here", of(Some(platform("amd64")))),
    ]);
    let facts = HostFacts { platform: Some(platform("amd64")), ..HostFacts::default() };
    let problems = resolve(&stack, &Inputs::default(), &facts).unwrap_err();
    let told: Vec<String> = problems.iter().map(|p| format!("{}: {p}", p.path())).collect();
    assert_snapshot!(told.join("\n"), @"services.arm.platform: service `arm` is for linux/arm64, and this host runs linux/amd64");
}

#[test]
fn memory_of_one_container_is_not_shared_by_others() {
    let source = MountSource::Volume { name: "fast".into(), nocopy: false, subpath: None };
    let mut web = service("web:1");
    web.volumes.push(Mount { target: "/fast".into(), source, read_only: false });
    let mut side = service("side:1");
    let from = VolumesSource::Service("web".into());
    side.volumes_from.push(VolumesFrom { source: from, read_only: true });
    let mut far = service("far:1");
    let from = VolumesSource::Service("side".into());
    far.volumes_from.push(VolumesFrom { source: from, read_only: false });
    let shared = |sides: u32, fars: u32| {
        let (web, side) = (web.clone(), Service { replicas: sides, ..side.clone() });
        let far = Service { replicas: fars, ..far.clone() };
        let mut stack = with([("web", web), ("side", side), ("far", far)]);
        if fars == 0 {
            stack.services.remove("far");
        }
        if sides == 0 {
            stack.services.remove("side");
        }
        let options = [("type".to_owned(), "tmpfs".to_owned())];
        stack.volumes.get_mut("fast").unwrap().driver_opts = options.into();
        let told = resolve(&stack, &Inputs::default(), &HostFacts::default());
        told.err().into_iter().flatten().map(|p| p.to_string()).collect::<Vec<_>>().join("\n")
    };
    assert_eq!(shared(0, 0), "");
    assert!(shared(1, 0).contains("memory cannot be shared"), "{}", shared(1, 0));
    assert!(shared(1, 1).contains("memory cannot be shared"));
}

/// A service that publishes 8080 on networks of these, the first beside a link of the host.
fn published(options: &[(&str, &str)]) -> Stack {
    let mut web = service("web:1");
    web.networks = ["lan", "web"].map(|key| (key.to_owned(), ServiceNetwork::default())).into();
    let published = Some((8080, 8080));
    web.ports = vec![Port { target: 80, published, host_ip: None, protocol: Protocol::Tcp }];
    let mut stack = with([("web", web)]);
    let way = Way::Macvlan(MacvlanMode::Bridge);
    let lan = stack.networks.get_mut("lan").unwrap();
    lan.driver = NetworkDriver::Macvlan;
    lan.beside = Some(Beside { parent: Some("eth0".into()), way });
    let option = |(name, value): &(&str, &str)| {
        (format!("com.docker.network.bridge.{name}"), (*value).to_owned())
    };
    stack.networks.get_mut("web").unwrap().driver_opts = options.iter().map(option).collect();
    stack
}

#[test]
fn ports_are_as_the_bridge_they_lead_to_has_them_whatever_is_beside_it() {
    let bound = desired(&published(&[("host_binding_ipv4", "127.0.0.1")]));
    let ports = &bound.services["web"].container.ports;
    assert_eq!(ports[0].host_ip, Some("127.0.0.1".parse().unwrap()));

    let routed = desired(&published(&[("gateway_mode_ipv4", "routed")]));
    let web = &routed.services["web"];
    assert_eq!(web.container.ports[0].published, None);
    assert_snapshot!(web.no_effect[0].why, @"the host's part of `8080:80/tcp` has no effect: its network is routed, and port 80 is opened at the container's own address");
}

#[test]
fn ports_that_lead_to_a_network_of_others_are_as_that_was_made() {
    let bound = desired(&published(&[("host_binding_ipv4", "127.0.0.1")]));
    let mut stack = published(&[]);
    for (external, name) in [(true, "front"), (false, "shop_web")] {
        let web = stack.networks.get_mut("web").unwrap();
        (web.external, web.name) = (external, name.to_owned());
        let record = NetworkRecord {
            name: name.into(),
            project: "other".into(),
            spec: bound.networks["shop_web"].clone(),
            bridge: "br-front".into(),
            realm: None,
            subnets: Vec::new(),
        };
        let there = ObservedNetwork { record, bridge_up: true, rules_present: true };
        let networks = BTreeMap::from([(name.to_owned(), there)]);
        let inputs = Inputs { networks, ..Inputs::default() };
        let desired = resolve(&stack, &inputs, &HostFacts::default()).unwrap();
        let container = &desired.services["web"].container;
        assert_eq!(container.ports[0].host_ip, Some("127.0.0.1".parse().unwrap()), "{name}");
        assert_eq!(desired.networks[name].external, external);
    }
}

#[test]
fn a_port_of_run_is_as_its_network_has_it() {
    let desired = desired(&published(&[("host_binding_ipv4", "127.0.0.1")]));
    let mut port = desired.services["web"].container.ports[0].clone();
    (port.host_ip, port.published) = (None, Some((9000, 9000)));
    let options =
        RunOptions { service: "web".into(), ports: vec![port.clone()], ..RunOptions::default() };
    let made = berth_planner::run::description(&desired, &options).unwrap();
    port.host_ip = Some("127.0.0.1".parse().unwrap());
    assert_eq!(made.ports, [port]);
}

#[test]
fn a_mac_address_is_refused_where_a_container_has_that_of_the_link() {
    let told = |way: Way, on_network: bool| {
        let mut stack = published(&[]);
        let lan = stack.networks.get_mut("lan").unwrap();
        lan.beside = Some(Beside { parent: Some("eth0".into()), way });
        let web = stack.services.get_mut("web").unwrap();
        let on = web.networks.get_mut("lan").unwrap();
        let at = if on_network { &mut on.mac_address } else { &mut web.mac_address };
        *at = Some("02:00:00:00:00:01".into());
        let told = resolve(&stack, &Inputs::default(), &HostFacts::default());
        let told = told.err().unwrap_or_default();
        told.iter().map(|p| format!("{}: {p}", p.path())).collect::<Vec<_>>().join("\n")
    };
    let (ipvlan, macvlan) = (Way::Ipvlan(IpvlanMode::L2, IpvlanFlag::Bridge), Way::Macvlan);
    assert_snapshot!(told(ipvlan, false), @"services.web.mac_address: service `web` has the MAC address 02:00:00:00:00:01, and on network `lan` it has that of the host's link: take it away, or use the driver `macvlan` in another mode than `passthru`");
    assert_snapshot!(told(macvlan(MacvlanMode::Passthru), true), @"services.web.networks.lan.mac_address: service `web` has the MAC address 02:00:00:00:00:01, and on network `lan` it has that of the host's link: take it away, or use the driver `macvlan` in another mode than `passthru`");
    assert_eq!(told(macvlan(MacvlanMode::Bridge), true), "");
}
