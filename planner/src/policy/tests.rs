//! What must hold for every stack; the table itself is in `matrix`.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;

use berth_schema::config::{self, Switches};
use berth_schema::{LoadOptions, Source as Files};
use insta::assert_snapshot;

use super::*;
use crate::cdi::{CdiFile, Library};
use crate::desired::VolumeSpec;
use crate::observed::{HostFacts, ObservedContainer, ObservedVolume, VolumeRecord};
use crate::resolve::HostDevice;
use crate::{Inputs, resolve, text};

mod matrix;

/// What every file is that a stack names: the shortest profile of system calls.
const PROFILE: &[u8] = br#"{"defaultAction":"SCMP_ACT_ALLOW"}"#;

/// Files by path.
struct Texts(BTreeMap<String, String>);

impl Files for Texts {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let text = self.0.get(&path.display().to_string());
        text.map(|text| text.clone().into_bytes()).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn exists(&self, path: &Path) -> bool {
        self.0.contains_key(&path.display().to_string())
    }
}

/// A judged stack and what it is judged on.
struct Case1 {
    stack: Stack,
    observed: Observed,
    facts: Facts,
}

fn found(real: &str, kind: Kind, sockets: &[&str]) -> PathFact {
    let sockets = sockets.iter().map(|name| (*name).to_owned()).collect();
    PathFact { real: real.into(), kind, object: None, device: None, sockets }
}

/// The project is `/srv/shop`; ann lives here; docker listens at the usual place.
fn facts() -> Facts {
    let paths = [
        ("/var/run/docker.sock", found("/run/docker.sock", Kind::Socket, &["docker"])),
        ("/srv/shop/engine", found("/srv/shop/engine", Kind::Socket, &["podman"])),
        ("/srv/other.sock", found("/srv/other.sock", Kind::Socket, &[])),
        ("/srv/shop/link", found("/etc/shadow", Kind::File, &[])),
        ("/srv/../etc/", found("/etc", Kind::Folder, &[])),
        ("/etc/localtime", found("/usr/share/zoneinfo/UTC", Kind::File, &[])),
    ];
    Facts {
        paths: paths.into_iter().map(|(path, fact)| (path.into(), fact)).collect(),
        project: "/srv/shop".into(),
        own: vec!["/var/lib/berth".into(), "/run/berth".into()],
        homes: ["/home/ann".into()].into(),
        hard_limits: [("nofile".to_owned(), 1000)].into(),
        insecure: ["plain.example".to_owned()].into(),
        ..Facts::default()
    }
}

/// What the maker of a graphics card describes.
fn gpus() -> Library {
    let text = r#"{"cdiVersion": "0.6.0", "kind": "nvidia.com/gpu", "devices": [
        {"name": "0", "containerEdits": {"env": ["GPU=0"]}},
        {"name": "all", "containerEdits": {"env": ["GPU=all"]}}
    ]}"#;
    let other = r#"{"cdiVersion": "0.6.0", "kind": "example.com/disk", "devices": [
        {"name": "0", "containerEdits": {"env": ["DISK=0"]}}
    ]}"#;
    let file = |name: &str, text: &str| {
        let path = format!("/etc/cdi/{name}.json").into();
        CdiFile { path, folder: 0, text: Ok(text.into()) }
    };
    Library::read(&[file("nvidia", text), file("other", other)])
}

fn load(files: &[(&str, &str)]) -> Stack {
    let files = files.iter().map(|(name, text)| (format!("/srv/shop/{name}"), (*text).to_owned()));
    let mut texts: BTreeMap<String, String> = files.collect();
    texts.insert("/srv/shop/seccomp.json".into(), "{}".into());
    let options = LoadOptions {
        files: vec!["/srv/shop/compose.yaml".into()],
        working_dir: "/srv/shop".into(),
        ..LoadOptions::default()
    };
    config::load_with(&options, Switches::default(), &Texts(texts)).expect("it loads").stack
}

impl Case1 {
    fn of(text: &str) -> Case1 {
        let mut observed = Observed::default();
        observed.host.userns = true;
        Case1 { stack: load(&[("compose.yaml", text)]), observed, facts: facts() }
    }

    /// A service `web` with this body, top-level keys after a line `---`.
    fn service(body: &str) -> Case1 {
        let (body, top) = body.split_once("\n---\n").unwrap_or((body, ""));
        let body = body.replace('\n', "\n    ");
        Case1::of(&format!(
            "services:\n  web:\n    image: a@sha256:{}\n    {body}\n{top}",
            "0".repeat(64)
        ))
    }

    fn found(&self, keep: impl Fn(&str) -> bool) -> (Desired, Vec<rows::Found>) {
        let facts = HostFacts { userns: self.observed.host.userns, ..HostFacts::default() };
        let wanted = resolve::wanted(&self.stack);
        let files = wanted.into_iter().map(|path| (path, PROFILE.to_vec())).collect();
        let devices = resolve::wanted_devices(&self.stack);
        let devices = devices.into_iter().map(|path| (path, HostDevice::Char)).collect();
        let inputs = Inputs { files, devices, cdi: gpus(), ..Inputs::default() };
        let desired = resolve::resolve(&self.stack, &inputs, &facts).expect("it resolves");
        let subjects = self.subjects(&desired);
        let scene = self.scene(&desired);
        let found = rows::all(&scene, &subjects, keep);
        (desired, found)
    }

    fn subjects<'a>(&'a self, desired: &Desired) -> Vec<Subject<'a>> {
        let services = self.stack.services.keys();
        services
            .filter_map(|name| Subject::of(&self.stack, name, &desired.services[name]))
            .collect()
    }

    fn scene<'a>(&'a self, desired: &'a Desired) -> Scene<'a> {
        Scene { stack: &self.stack, desired, observed: &self.observed, facts: &self.facts }
    }

    fn grants(&self, level: Level, origin: Origin, consents: &[Consent]) -> Vec<Grant> {
        let (desired, found) = self.found(|_| true);
        judged(&self.scene(&desired), found, origin.held(level), consents)
    }

    /// `CASE OBJECT` of all that is found.
    fn cases(&self) -> BTreeSet<String> {
        self.found(|_| true).1.iter().map(|f| format!("{:?} {}", f.case, f.object)).collect()
    }
}

#[test]
fn a_stricter_level_never_allows_more() {
    for case in Case::ALL {
        assert!(case.decisions().is_sorted(), "{case:?}");
    }
}

#[test]
fn an_ordinary_stack_needs_no_word() {
    let ordinary = Case1::service(
        "volumes: [./src:/app, data:/data, '/etc/localtime:/etc/localtime:ro']\nports: ['127.0.0.1:80:80']\nsecurity_opt: ['no-new-privileges:true', 'no-new-privileges:false']\ncap_drop: [ALL]\ncap_add: [NET_BIND_SERVICE]\ntmpfs: /tmp\n---\nvolumes: { data: {} }",
    );
    let grants = ordinary.grants(Level::Default, Origin::Operator, &[]);
    assert!(grants.iter().all(|grant| !grant.is_shown()), "{grants:#?}");
    assert_eq!(text::grants(&grants), Vec::<String>::new());
}

/// The same thing, spelt in different ways: the decision must not see it.
#[test]
fn the_spelling_of_an_attribute_does_not_change_the_decision() {
    let base = |body: &str| Case1::service(body).cases();
    let same = [
        vec!["privileged: true", "privileged: 'true'"],
        vec!["cap_add: [SYS_ADMIN]", "cap_add: [CAP_SYS_ADMIN]", "cap_add: [sys_admin]"],
        vec![
            "security_opt: ['seccomp:unconfined']",
            "security_opt: ['seccomp=unconfined']",
            "security_opt: [&a 'seccomp=unconfined']",
        ],
        vec![
            "volumes: ['/etc:/e:ro']",
            "volumes: [{ type: bind, source: /etc, target: /e, read_only: true }]",
            "volumes: [{ type: bind, source: /srv/../etc/, target: /e, read_only: 'true' }]",
            "volumes: ['../../etc:/e:ro']",
        ],
        vec![
            "volumes: ['/var/run/docker.sock:/run/docker.sock']",
            "volumes: [{ type: bind, source: /var/run/docker.sock, target: /run/docker.sock }]",
            "volumes: ['../../var/run/docker.sock:/run/docker.sock']",
        ],
        vec!["ports: ['8080:80']", "ports: [{ target: 80, published: '8080' }]"],
        vec!["pids_limit: -1", "deploy: { resources: { limits: { pids: -1 } } }"],
        vec![
            "devices: ['/dev/fuse']",
            "devices: [{ source: /dev/fuse, target: /dev/fuse, permissions: rwm }]",
        ],
        vec!["sysctls: { net.core.somaxconn: 5 }", "sysctls: [net.core.somaxconn=5]"],
        vec!["gpus: all", "gpus: [{ count: all }]"],
    ];
    for spellings in same {
        let first = base(spellings[0]);
        for spelling in &spellings[1..] {
            assert_eq!(base(spelling), first, "{spelling}");
        }
    }
}

#[test]
fn what_comes_by_anchor_merge_extends_or_another_file_is_judged_the_same() {
    let image = format!("image: a@sha256:{}", "0".repeat(64));
    let wanted = Case1::service("privileged: true\ncap_add: [NET_ADMIN]").cases();
    let texts = [
        format!(
            "x-a: &a {{ privileged: true, cap_add: [NET_ADMIN] }}\nservices: {{ web: {{ {image}, <<: *a }} }}"
        ),
        format!("services:\n  web: {{ {image}, extends: {{ file: base.yaml, service: base }} }}"),
        format!("include: [part.yaml]\nservices: {{}}\nx-unused: {{ {image} }}"),
    ];
    let part =
        format!("services: {{ web: {{ {image}, privileged: true, cap_add: [NET_ADMIN] }} }}");
    for text in &texts {
        let mut made = Case1::service("init: true");
        made.stack = load(&[
            ("compose.yaml", text),
            ("base.yaml", "services: { base: { privileged: true, cap_add: [NET_ADMIN] } }"),
            ("part.yaml", &part),
        ]);
        assert_eq!(made.cases(), wanted, "{text}");
    }
}

#[test]
fn what_is_reset_or_switched_off_is_no_grant() {
    let mut made = Case1::service("init: true");
    let plain = made.cases();
    let image = format!("image: a@sha256:{}", "0".repeat(64));
    let web = "extends: { file: base.yaml, service: base }, privileged: !reset null";
    made.stack = load(&[
        ("compose.yaml", &format!("services: {{ web: {{ {image}, {web} }} }}")),
        ("base.yaml", "services: { base: { image: b, privileged: true } }"),
    ]);
    assert_eq!(made.cases(), plain);
    let off = "{ image: b, profiles: [off], privileged: true }";
    let text = format!("services: {{ web: {{ {image} }}, more: {off} }}");
    made.stack = load(&[("compose.yaml", &text)]);
    assert_eq!(made.cases(), plain);
}

/// Attributes that only ever give; what tightens (`user`, `read_only`, limits) is not among them.
const GIVING: [&str; 14] = [
    "privileged: true",
    "cap_add: [SYS_ADMIN, NET_RAW]",
    "pid: host",
    "ipc: host",
    "network_mode: host",
    "userns_mode: host",
    "security_opt: [seccomp=unconfined]",
    "devices: [/dev/fuse]",
    "gpus: all",
    "sysctls: { kernel.shmmax: 5 }",
    "post_start: [{ command: a, privileged: true }]",
    "use_api_socket: true",
    "volumes: [/var/run/docker.sock:/s, /etc:/e, /srv/data:/d, ./link:/l]",
    "cgroup_parent: /else",
];

proptest::proptest! {
    #[test]
    fn taking_an_attribute_away_never_adds_a_grant(
        chosen in proptest::collection::btree_set(0..GIVING.len(), 1..6),
        level in 0..3usize,
    ) {
        let weight = |chosen: &BTreeSet<usize>| -> BTreeMap<String, Decision> {
            let body: Vec<&str> = chosen.iter().map(|at| GIVING[*at]).collect();
            let stack = Case1::service(&body.join("\n"));
            let grants = stack.grants(Level::ALL[level], Origin::Operator, &[]);
            grants.into_iter().map(|grant| (grant.digest, grant.decision)).collect()
        };
        let all = weight(&chosen);
        for gone in &chosen {
            let mut fewer = chosen.clone();
            fewer.remove(gone);
            for (digest, decision) in weight(&fewer) {
                proptest::prop_assert!(all.get(&digest).is_some_and(|with| *with >= decision));
            }
        }
    }
}

#[test]
fn a_consent_is_to_one_row_of_one_service_and_no_other() {
    let stack = Case1::service("privileged: true\nvolumes: [/var/run/docker.sock:/s, /etc:/e]");
    let allowed = |text: &str| -> Vec<String> {
        let consent = Consent { to: text.parse().unwrap(), source: Source::Flag };
        let grants = stack.grants(Level::Default, Origin::Operator, &[consent]);
        let given = grants.into_iter().filter(|grant| grant.consent.is_some());
        given.map(|grant| format!("{} {}", grant.id, grant.object)).collect()
    };
    assert_eq!(allowed("G-PRIV:web"), ["G-PRIV "]);
    assert_eq!(allowed("privileged:web"), ["G-PRIV "]);
    assert_eq!(allowed("sock:web"), ["G-SOCK /run/docker.sock"]);
    assert_eq!(allowed("all").len(), 3);
    assert_eq!(allowed("G-SOCK:web:/run/docker.sock"), ["G-SOCK /run/docker.sock"]);
    for none in ["G-PRIV:other", "G-SOCK:web:/etc", "G-DEV:web"] {
        assert_eq!(allowed(none), Vec::<String>::new(), "{none}");
    }
    for wrong in ["G-PRIV", "G-NO:web", "G-PRIV:", "G-BIND:web:"] {
        assert!(wrong.parse::<Subjects>().is_err(), "{wrong}");
    }
}

/// A container of this or another project that has this mount.
fn there(name: &str, project: &str, spec: ContainerSpec) -> (String, ObservedContainer) {
    let record = serde_json::json!({
        "name": name, "project": project, "service": "other", "number": 1, "oneoff": false,
        "spec": spec, "image_id": "", "addresses": {}, "id_base": null, "depends_on": {},
        "working_dir": "", "config_files": [],
    });
    let container = serde_json::json!({
        "record": record, "id": "", "created_at": 0, "state": { "state": "created" },
        "health": "none", "monitored": false, "held": false, "published": [], "restarts": 0,
    });
    (name.to_owned(), serde_json::from_value(container).unwrap())
}

#[test]
fn mounts_of_a_container_that_is_there_are_looked_at_with_what_it_has_of_others() {
    let mut made = Case1::service("volumes_from: ['container:theirs']");
    let bare = Case1::service("volumes: [/etc:/e, /srv/data:/d]");
    let (desired, _) = bare.found(|_| true);
    let mut spec = desired.services["web"].container.clone();
    let borrowed = spec.mounts.remove("/d").unwrap();
    let (name, mut container) = there("theirs", "others", spec);
    container.record.borrowed.mounts.insert("/d".into(), borrowed);
    made.observed.containers.insert(name, container);
    let cases = made.cases();
    for case in ["HostRoot /etc", "Bind /srv/data", "Foreign theirs"] {
        assert!(cases.contains(case), "{case}: {cases:?}");
    }
    let (desired, _) = made.found(|_| true);
    let subjects = made.subjects(&desired);
    let wanted = wanted(&made.stack, &desired, &made.observed, &subjects);
    assert_eq!(wanted, ["/etc".into(), "/srv/data".into()].into());
}

#[test]
fn a_volume_that_is_there_is_what_it_was_made_of() {
    let mut made = Case1::service("volumes: [data:/v]\n---\nvolumes: { data: { external: true } }");
    let opts = [("type", "none"), ("o", "bind"), ("device", "/etc")];
    let driver_opts = opts.into_iter().map(|(key, value)| (key.into(), value.into())).collect();
    let record = VolumeRecord {
        name: "data".into(),
        project: "others".into(),
        spec: VolumeSpec { driver_opts, ..VolumeSpec::default() },
        container: None,
    };
    made.observed.volumes.insert("data".into(), ObservedVolume { record });
    assert!(made.cases().contains("HiddenHostRoot /etc"), "{:?}", made.cases());
    let (desired, _) = made.found(|_| true);
    let subjects = made.subjects(&desired);
    let wanted = wanted(&made.stack, &desired, &made.observed, &subjects);
    assert_eq!(wanted, ["/etc".into()].into());
}

#[test]
fn nobody_can_consent_to_what_is_refused() {
    let stack = Case1::service("privileged: true\nvolumes: ['/run/berth:/b']");
    let consents: Vec<Consent> = ["G-PRIV:web", "G-BIND-ROOT:web"]
        .map(|text| Consent { to: text.parse().unwrap(), source: Source::Flag })
        .into();
    let denied = |level| {
        let grants = stack.grants(level, Origin::Operator, &consents);
        grants.iter().filter(|grant| grant.is_denied()).map(|grant| grant.id).collect::<Vec<_>>()
    };
    assert_eq!(denied(Level::Default), ["G-BIND-ROOT"]);
    assert!(denied(Level::Guarded).contains(&"G-PRIV"));
}

#[test]
fn a_remembered_consent_is_to_that_very_thing() {
    let grant = |body: &str| {
        let grants = Case1::service(body).grants(Level::Default, Origin::Operator, &[]);
        grants.into_iter().find(|grant| grant.id == "G-BIND-ROOT").unwrap().digest
    };
    let read_only = grant("volumes: ['/etc/a:/a:ro']");
    assert_eq!(grant("volumes: ['/etc/a:/other:ro']"), read_only);
    assert_ne!(grant("volumes: ['/etc/a:/a']"), read_only);
    assert_ne!(grant("volumes: ['/etc/b:/a:ro']"), read_only);
}

#[test]
fn a_consent_to_a_device_is_to_its_numbers_and_to_what_is_done_with_it() {
    let digest = |body: &str, node: (&str, &str)| {
        let mut made = Case1::service(body);
        let device = Some(node.1.to_owned());
        let fact = PathFact { device, ..found(node.0, Kind::Other, &[]) };
        made.facts.paths.insert("/srv/shop/node".into(), fact);
        let grants = made.grants(Level::Default, Origin::Operator, &[]);
        let grant = grants.into_iter().find(|grant| grant.case == Case::Device).unwrap();
        (grant.object, grant.digest)
    };
    let fuse = ("/dev/fuse", "c 10:229");
    let read = digest("devices: ['/srv/shop/node:/dev/a:r']", fuse);
    assert_eq!(read.0, "/dev/fuse c 10:229");
    assert_eq!(digest("devices: ['/srv/shop/node:/dev/b:r']", fuse), read);
    assert_ne!(digest("devices: ['/srv/shop/node:/dev/a:rw']", fuse), read);
    assert_ne!(digest("devices: ['/srv/shop/node:/dev/a:r']", ("/dev/fuse", "b 8:0")), read);
    assert_ne!(digest("devices: ['/srv/shop/node:/dev/a:r']", ("/dev/sda", "c 10:229")), read);
    let rule = |text: &str| digest(&format!("device_cgroup_rules: ['{text}']"), fuse);
    assert_ne!(rule("c 1:3 r"), rule("c 1:3 rw"));
}

#[test]
fn a_consent_to_a_profile_is_to_what_it_says() {
    let object = |text: &[u8]| {
        let made = Case1::service("security_opt: ['seccomp=./seccomp.json']");
        let (mut desired, _) = made.found(|_| true);
        let spec = &mut desired.services.get_mut("web").unwrap().container;
        let crate::desired::Seccomp::Profile { digest, .. } = &mut spec.security.seccomp else {
            panic!("{spec:?}")
        };
        *digest = crate::resolve::digest(text);
        let found = rows::all(&made.scene(&desired), &made.subjects(&desired), |_| true);
        found.into_iter().find(|found| found.case == Case::Defences).unwrap().object
    };
    let known = object(PROFILE);
    assert!(known.starts_with("seccomp=/srv/shop/seccomp.json sha256:"), "{known}");
    assert_ne!(object(b"{}"), known);
}

#[test]
fn the_line_for_the_host_file_is_a_consent_to_that_grant_and_no_more() {
    let given = |body: &str, consents: &[Consent]| {
        let grants = Case1::service(body).grants(Level::Default, Origin::Operator, consents);
        grants.into_iter().find(|grant| grant.decision == Decision::Consent).unwrap()
    };
    for (body, others) in [
        ("volumes: ['/etc:/e:ro']", &["volumes: ['/etc:/e']", "volumes: ['/boot:/e:ro']"][..]),
        ("security_opt: [systempaths=unconfined]", &["security_opt: [label=disable]"]),
        ("security_opt: ['seccomp=./seccomp.json']", &["security_opt: [seccomp=unconfined]"]),
        ("devices: ['/dev/fuse:/dev/fuse:r']", &["devices: [/dev/fuse]"]),
    ] {
        let line = HostPolicy::line("shop", &given(body, &[]));
        let policy = HostPolicy::parse(format!(r#"{{"consents":[{line}]}}"#).as_bytes()).unwrap();
        let consents = policy.consents(Clone::clone, "policy.json");
        assert!(!given(body, &consents).is_denied(), "{line}");
        for other in others {
            assert!(given(other, &consents).is_denied(), "{line} is taken for {other}");
        }
    }
    assert!(HostPolicy::parse(
        br#"{"consents":[{"stack":"a","service":"b","grant":"G-DEV","path":"/a","object":"b"}]}"#
    ).is_err());
}

#[test]
fn a_folder_that_holds_the_host_is_no_project() {
    for (project, path) in
        [("/", "/etc/shadow"), ("/home/ann", "/home/ann/.ssh"), ("/usr", "/usr/bin")]
    {
        let mut made = Case1::service(&format!("volumes: ['{path}:/x']"));
        made.facts.project = project.into();
        made.facts.files.insert(Path::new(project).join("part.yaml"));
        let cases = made.cases();
        assert!(cases.contains(&format!("HostRoot {path}")), "{project}: {cases:?}");
        assert!(!cases.iter().any(|case| case.starts_with("File ")), "{project}: {cases:?}");
    }
}

#[test]
fn a_file_beside_the_stack_that_leads_elsewhere_is_judged_as_what_it_leads_to() {
    let mut made = Case1::service("init: true");
    made.facts.files = ["/srv/shop/link".into(), "/srv/shop/part.yaml".into()].into();
    let files = |case: &&String| case.starts_with("File ");
    assert_eq!(Vec::from_iter(made.cases().iter().filter(files)), ["File /etc/shadow"]);
}

#[test]
fn a_host_file_names_stack_service_and_path() {
    let policy = |text: &str| HostPolicy::parse(text.as_bytes());
    let consented = |path: &str| {
        let text = format!(
            r#"{{"consents":[{{"stack":"shop","service":"web","grant":"G-SOCK"{path}}}]}}"#
        );
        let consents = policy(&text).unwrap().consents(Clone::clone, "policy.json");
        let stack = Case1::service("volumes: [/var/run/docker.sock:/s]");
        let grants = stack.grants(Level::Default, Origin::Operator, &consents);
        grants.into_iter().find(|grant| grant.id == "G-SOCK").unwrap().consent
    };
    assert_eq!(consented(r#","path":"/run/docker.sock""#), Some("in policy.json".to_owned()));
    assert_eq!(consented(r#","path":"/run/other.sock""#), None);
    assert_eq!(consented(""), None);
    assert!(policy(r#"{"polcy":"strict"}"#).is_err());
    assert!(policy(r#"{"consents":[{"stack":"a","service":"b","grant":"G-X"}]}"#).is_err());
    let full = policy(r#"{"policy":"guarded","security":{"userns":"require"}}"#).unwrap();
    assert_eq!((full.policy, full.security.userns), (Level::Guarded, Userns::Require));
}

#[test]
fn grants_are_told_one_a_line_the_weightiest_first() {
    let mut made = Case1::service(
        "ports: ['80:80']\nvolumes: ['./link:/l:ro', /srv/data:/d]\ncap_add: [IPC_LOCK]",
    );
    made.facts.variables.insert("HOME".into());
    let grants = made.grants(Level::Default, Origin::Operator, &[]);
    assert_snapshot!(text::grants(&grants).join("\n"), @"
    Grants:
      critical  new  web    G-BIND-ROOT  /etc/shadow, read-only: what the host itself lives of, needs consent  (compose.yaml:5:15)
      medium    new  web    G-BIND       /srv/data  (compose.yaml:5:31)
      medium    new  web    G-PUBLIC     PUBLIC 80:80/tcp  (compose.yaml:4:13)
      low       new  web    G-CAP-LOW    the capability IPC_LOCK  (compose.yaml:6:15)
      low       new  (all)  G-ENV        the variable HOME of the host
    ");
}
