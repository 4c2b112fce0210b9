//! What a runtime is told: a [`Bundle`] as the configuration of the OCI runtime specification 1.0
//! (config.md, config-linux.md).
//!
//! It says what our own code does, so that a container is the same whoever makes it. Limits are
//! not in it: they are written to the cgroup by us, also while the container runs. Attributes of
//! mounts are on what the runtime binds already.

use std::path::Path;

use berth_planner::desired::{IpcSpace, PidSpace};
use serde_json::{Map, Value, json};

use super::Places;
use super::stage::{GROUPS, Part, Parts};
use crate::bundle::{Bundle, BundleMount, BundleSource};
use crate::container::cgroup::device_rules;
use crate::container::devices::Node;
use crate::container::spawn::IDS;
use crate::container::{rlimits, sysctl, system};

/// What is not in the description: what was made or looked up for this start.
pub(super) struct Given<'a> {
    pub(super) places: &'a Places,
    /// What each mount of the description, and the cgroups, consist of.
    pub(super) trees: Parts,
    /// Ways to namespaces.
    pub(super) user: Option<String>,
    pub(super) network: Option<String>,
    pub(super) groups: Option<String>,
    /// Mounts that the runtime could not make are there.
    pub(super) sysfs: bool,
    pub(super) proc: bool,
    /// Those of its capabilities that there are.
    pub(super) capabilities: Vec<String>,
    /// All devices of the host, for who gets them.
    pub(super) devices: Vec<Node>,
    /// Where the CPUs of the host count their throttling.
    pub(super) throttles: Vec<String>,
    /// The filter of system calls.
    pub(super) seccomp: Option<Value>,
}

/// The configuration.
pub(super) fn config(bundle: &Bundle, given: &Given<'_>) -> Value {
    let mut config = json!({
        "ociVersion": "1.0.2",
        "process": process(bundle, given),
        "root": {"path": text(&given.places.root()), "readonly": bundle.read_only},
        "mounts": mounts(bundle, given),
        "linux": linux(bundle, given),
    });
    if !bundle.host_names {
        config["hostname"] = json!(bundle.hostname);
    }
    if !bundle.annotations.is_empty() {
        config["annotations"] = json!(bundle.annotations);
    }
    config
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

fn process(bundle: &Bundle, given: &Given<'_>) -> Value {
    let process = &bundle.process;
    let bounding: Vec<String> =
        given.capabilities.iter().map(|name| format!("CAP_{name}")).collect();
    let own: &[String] = if process.uid == 0 { &bounding } else { &[] };
    let cwd = if process.cwd.is_empty() { "/" } else { &process.cwd };
    let mut told = json!({
        "terminal": bundle.tty,
        "user": {
            "uid": process.uid,
            "gid": process.gid,
            "umask": 0o022,
            "additionalGids": process.groups,
        },
        "args": process.argv,
        "env": process.env,
        "cwd": cwd,
        "capabilities": {
            "bounding": bounding,
            "effective": own,
            "permitted": own,
            "inheritable": [],
            "ambient": [],
        },
        "rlimits": limits(bundle),
        "noNewPrivileges": process.no_new_privs,
        "oomScoreAdj": process.oom_score_adj.unwrap_or(0),
    });
    if let Some(profile) = &process.apparmor {
        told["apparmorProfile"] = json!(profile);
    }
    told
}

/// No core is dumped unless asked for, as with our own.
fn limits(bundle: &Bundle) -> Vec<Value> {
    let asked = &bundle.process.rlimits;
    let core = (!asked.contains_key("core")).then(|| ("core", (0, rlimits::most_core())));
    let asked = asked.iter().map(|(name, limit)| (name.as_str(), *limit));
    let one = |(name, (soft, hard)): (&str, (u64, u64))| json!({"type": format!("RLIMIT_{}", name.to_uppercase()), "soft": soft, "hard": hard});
    core.into_iter().chain(asked).map(one).collect()
}

fn mount(target: &str, kind: &str, source: &str, options: &[&str]) -> Value {
    json!({"destination": target, "type": kind, "source": source, "options": options})
}

fn bind(target: &str, source: &Path) -> Value {
    mount(target, "bind", &text(source), &["bind", "rprivate"])
}

/// Each mount of a tree by itself: crun before version 1.9 leaves out all but the first in a user
/// namespace.
fn tree<'a>(target: &'a str, parts: &'a [Part]) -> impl Iterator<Item = Value> + 'a {
    parts.iter().map(move |part| bind(&format!("{target}{}", part.below), &part.place))
}

fn mounts(bundle: &Bundle, given: &Given<'_>) -> Vec<Value> {
    let places = given.places;
    let quiet = ["nosuid", "noexec", "nodev"];
    let sys_access = if bundle.privileged || bundle.contained { "rw" } else { "ro" };
    let sys_options = [quiet.as_slice(), &[sys_access]].concat();
    let mut mounts = vec![
        match given.proc {
            true => bind("/proc", &places.proc()),
            false => mount("/proc", "proc", "proc", &quiet),
        },
        match given.sysfs {
            true => bind("/sys", &places.sysfs()),
            false => mount("/sys", "sysfs", "sysfs", &sys_options),
        },
        mount("/dev", "tmpfs", "tmpfs", &["nosuid", "noexec", "mode=0755", "size=64k"]),
        mount(
            "/dev/pts",
            "devpts",
            "devpts",
            &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
        ),
        mount("/dev/mqueue", "mqueue", "mqueue", &quiet),
    ];
    let parts = |name: &str| given.trees.get(name).map(Vec::as_slice).unwrap_or_default();
    mounts.extend(tree("/sys/fs/cgroup", parts(GROUPS)));
    match bundle.ipc {
        IpcSpace::None => {}
        IpcSpace::Host => mounts.push(bind("/dev/shm", &places.memory())),
        IpcSpace::Own | IpcSpace::Shareable | IpcSpace::Container(_) => {
            let size = format!("size={}", bundle.shm_size);
            let options = [quiet.as_slice(), &["mode=1777", size.as_str()]].concat();
            mounts.push(mount("/dev/shm", "tmpfs", "shm", &options));
        }
    }
    let nodes = bundle.devices.iter().enumerate();
    mounts.extend(nodes.map(|(index, device)| bind(&device.target, &places.node(index))));
    for (index, listed) in bundle.mounts.iter().enumerate() {
        match &listed.source {
            BundleSource::Bind { .. } | BundleSource::Image { .. } => {
                mounts.extend(tree(&listed.target, parts(&index.to_string())));
            }
            BundleSource::Tmpfs { size, mode, options } => {
                mounts.push(tmpfs(listed, *size, *mode, options));
            }
        }
    }
    mounts
}

fn tmpfs(listed: &BundleMount, size: Option<u64>, mode: u32, options: &[String]) -> Value {
    const FLAGS: [&str; 3] = ["exec", "suid", "dev"];
    let mut all = vec![format!("mode={mode:o}")];
    all.extend(size.map(|bytes| format!("size={bytes}")));
    all.extend(FLAGS.map(|flag| match options.iter().any(|option| option == flag) {
        true => flag.to_owned(),
        false => format!("no{flag}"),
    }));
    let further = options.iter().filter(|option| !FLAGS.contains(&option.as_str()));
    all.extend(further.filter(|option| *option != "defaults").cloned());
    if listed.read_only {
        all.push("ro".to_owned());
    }
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    mount(&listed.target, "tmpfs", "tmpfs", &all)
}

fn linux(bundle: &Bundle, given: &Given<'_>) -> Value {
    let mut linux = Map::new();
    let mut put = |key: &str, value: Value| drop(linux.insert(key.to_owned(), value));
    put("namespaces", Value::Array(namespaces(bundle, given)));
    if let Some(base) = bundle.id_base {
        let map = json!([{"containerID": 0, "hostID": base, "size": IDS}]);
        put("uidMappings", map.clone());
        put("gidMappings", map);
    }
    put("cgroupsPath", json!(format!("/{}", bundle.cgroup.path)));
    put("resources", json!({"devices": rules(bundle)}));
    if !given.devices.is_empty() {
        put("devices", given.devices.iter().map(device).collect());
    }
    let settings: Map<String, Value> =
        sysctl::all(bundle).into_iter().map(|(key, value)| (key, Value::from(value))).collect();
    put("sysctl", Value::Object(settings));
    if !bundle.privileged && !bundle.contained && !bundle.unconfined_paths {
        let absolute = |path: &str| Value::from(format!("/{path}"));
        let throttles = given.throttles.iter().map(String::as_str);
        put("maskedPaths", system::MASKED.into_iter().chain(throttles).map(absolute).collect());
        put("readonlyPaths", system::READ_ONLY.into_iter().map(absolute).collect());
    }
    if let Some(filter) = &given.seccomp {
        put("seccomp", filter.clone());
    }
    Value::Object(linux)
}

fn namespaces(bundle: &Bundle, given: &Given<'_>) -> Vec<Value> {
    let own = |kind: &str, on: bool| on.then(|| json!({"type": kind}));
    let path = |kind: &str, path: &Option<String>| {
        path.as_ref().map(|path| json!({"type": kind, "path": path}))
    };
    let all = [
        path("user", &given.user),
        own("pid", bundle.pid == PidSpace::Own),
        own("mount", true),
        own("uts", !bundle.host_names),
        own("ipc", bundle.ipc != IpcSpace::Host),
        path("network", &given.network),
        path("cgroup", &given.groups),
    ];
    all.into_iter().flatten().collect()
}

/// Which devices may be used.
fn rules(bundle: &Bundle) -> Vec<Value> {
    if bundle.privileged {
        return vec![json!({"allow": true, "access": "rwm"})];
    }
    let mut rules = vec![json!({"allow": false, "access": "rwm"})];
    rules.extend(device_rules(&bundle.cgroup.devices).iter().filter_map(|rule| allowed(rule)));
    rules
}

/// `c 136:* rw`; what is no rule was refused before.
fn allowed(rule: &str) -> Option<Value> {
    let mut words = rule.split_whitespace();
    let (kind, (major, minor), access) =
        (words.next()?, words.next()?.split_once(':')?, words.next()?);
    let mut allowed = json!({"allow": true, "type": kind, "access": access});
    for (key, number) in [("major", major), ("minor", minor)] {
        // One that is left out is any.
        if let Ok(number) = number.parse::<i64>() {
            allowed[key] = json!(number);
        }
    }
    Some(allowed)
}

fn device(node: &Node) -> Value {
    json!({
        "path": format!("/dev/{}", node.name),
        "type": if node.block { "b" } else { "c" },
        "major": node.major,
        "minor": node.minor,
        "fileMode": node.mode,
        "uid": node.uid,
        "gid": node.gid,
    })
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use insta::assert_snapshot;

    use super::*;
    use crate::bundle::Process;

    fn told(bundle: &Bundle, trees: Parts) -> Value {
        let places = Places { cover: "/run/berth".into(), folder: "/run/berth/c/oci".into() };
        let given = Given {
            places: &places,
            trees,
            user: Some("/proc/7/fd/3".to_owned()),
            network: Some("/proc/7/fd/4".to_owned()),
            groups: None,
            sysfs: false,
            proc: false,
            capabilities: vec!["CHOWN".to_owned()],
            devices: Vec::new(),
            throttles: vec!["sys/devices/system/cpu/cpu0/thermal_throttle".to_owned()],
            seccomp: None,
        };
        config(bundle, &given)
    }

    #[test]
    fn a_tree_of_mounts_is_bound_mount_by_mount_and_memory_has_its_words() {
        let bind = BundleSource::Image { lowers: Vec::new(), below: None };
        let tmpfs = BundleSource::Tmpfs {
            size: Some(4096),
            mode: 0o700,
            options: vec!["exec".to_owned(), "uid=5".to_owned()],
        };
        let mounts = [("/a", bind), ("/t", tmpfs)].map(|(target, source)| BundleMount {
            target: target.to_owned(),
            source,
            read_only: true,
        });
        let part = |below: &str, place: &str| Part {
            below: below.to_owned(),
            place: PathBuf::from(place),
        };
        let parts = vec![part("", "/run/berth/0-0"), part("/x", "/run/berth/0-1")];
        let bundle = Bundle { mounts: mounts.into(), ..Bundle::default() };
        let told = told(&bundle, Parts::from([("0".to_owned(), parts)]));
        let all = told["mounts"].as_array().unwrap();
        let last: Vec<String> = all[all.len() - 3..].iter().map(ToString::to_string).collect();
        assert_snapshot!(last.join("\n"), @r#"
        {"destination":"/a","type":"bind","source":"/run/berth/0-0","options":["bind","rprivate"]}
        {"destination":"/a/x","type":"bind","source":"/run/berth/0-1","options":["bind","rprivate"]}
        {"destination":"/t","type":"tmpfs","source":"tmpfs","options":["mode=700","size=4096","exec","nosuid","nodev","uid=5","ro"]}
        "#);
    }

    #[test]
    fn rights_are_those_of_the_user_and_devices_are_listed() {
        let process = Process { uid: 5, ..Process::default() };
        let cgroup = crate::bundle::Cgroup {
            path: "berth/x".to_owned(),
            devices: vec!["c 10:* r".to_owned()],
            ..Default::default()
        };
        let bundle = Bundle { process, cgroup, id_base: Some(100_000), ..Bundle::default() };
        let told = told(&bundle, Parts::new());
        assert_eq!(told["process"]["capabilities"]["bounding"], json!(["CAP_CHOWN"]));
        assert_eq!(told["process"]["capabilities"]["effective"], json!([]));
        let linux = &told["linux"];
        assert_eq!(linux["cgroupsPath"], "/berth/x");
        assert_eq!(linux["uidMappings"][0]["hostID"], 100_000);
        let rules = linux["resources"]["devices"].as_array().unwrap();
        assert_eq!(rules[0], json!({"allow": false, "access": "rwm"}));
        let last = json!({"allow": true, "type": "c", "access": "r", "major": 10});
        assert_eq!(rules.last(), Some(&last));
        let masked = linux["maskedPaths"].as_array().unwrap();
        assert!(masked.contains(&json!("/proc/kcore")) && masked.len() > 20);
    }
}
