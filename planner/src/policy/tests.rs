//! What must hold for every stack; the table itself is in `matrix`, consents are in `consents`, the
//! ways in which one thing is written in `spelling`, and what a stack has by others and by the host
//! in `reach`.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;

use berth_schema::config::{self, Switches};
use berth_schema::{LoadOptions, Source as Files};
use insta::assert_snapshot;

use super::*;
use crate::cdi::{CdiFile, CdiHook, Library, Moment};
use crate::desired::VolumeSpec;
use crate::observed::{HostFacts, ObservedContainer, ObservedVolume, VolumeRecord};
use crate::resolve::HostDevice;
use crate::{Inputs, resolve, text};

mod consents;
mod matrix;
mod reach;
mod spelling;

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

fn node(block: bool, major: u32, minor: u32) -> Node {
    Node { block, major, minor }
}

/// The project is `/srv/shop`; ann lives here; docker listens at the usual place.
fn facts() -> Facts {
    let paths = [
        ("/var/run/docker.sock", found("/run/docker.sock", Kind::Socket, &["docker"])),
        ("/srv/shop/engine", found("/srv/shop/engine", Kind::Socket, &["podman"])),
        ("/srv/other.sock", found("/srv/other.sock", Kind::Socket, &[])),
        ("/srv/shop/link", found("/etc/shadow", Kind::File, &[])),
        (
            "/dev/sda",
            PathFact { device: Some(node(true, 8, 0)), ..found("/dev/sda", Kind::Other, &[]) },
        ),
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
        device_hooks: [("example.com/hooked=0".to_owned(), hooks())].into(),
        ..Facts::default()
    }
}

/// One in the container, one on the host.
fn hooks() -> Vec<CdiHook> {
    let hook = |moment, path: &str| CdiHook {
        moment,
        path: path.into(),
        args: vec![path.into()],
        env: vec![],
        seconds: 1,
    };
    vec![hook(Moment::CreateContainer, "/bin/link"), hook(Moment::Poststop, "/bin/free")]
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
        CdiFile { path, folder: 0, text: Ok(text.into()), doubt: None }
    };
    let hooked = other.replace("/disk", "/hooked");
    Library::read(&[file("nvidia", text), file("other", other), file("hooked", &hooked)])
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

    fn subjects<'a>(&'a self, desired: &'a Desired) -> Vec<Subject<'a>> {
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
        "volumes: [./src:/app, data:/data, '/etc/localtime:/etc/localtime:ro']\nports: ['127.0.0.1:80:80']\nsecurity_opt: ['no-new-privileges:true', 'no-new-privileges:false', 'apparmor=shut']\ncap_drop: [ALL]\ncap_add: [NET_BIND_SERVICE]\ntmpfs: /tmp\n---\nvolumes: { data: {} }",
    );
    let grants = ordinary.grants(Level::Default, Origin::Operator, &[]);
    assert!(grants.iter().all(|grant| !grant.is_shown()), "{grants:#?}");
    assert_eq!(text::grants(&grants), Vec::<String>::new());
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
