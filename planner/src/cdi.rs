//! The Container Device Interface: files in which the makers of devices tell what a container
//! needs to use them (CDI specification, `SPEC.md`, versions 0.3 to 1).
//!
//! Such a file belongs to the host and is data all the same: everything in it is checked, what is
//! not known or not done makes its device unusable with the reason, and nothing is run.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use berth_schema::stack::DeviceAccess;
use serde::Deserialize;
use serde::de::IgnoredAny;

/// Entries of one list, devices of one file.
const MOST: usize = 4096;
/// Bytes of a path, a variable, a name.
const LONGEST: usize = 4096;

/// A file as it was read. Later folders win over earlier ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CdiFile {
    /// Where it is.
    pub path: PathBuf,
    /// Which folder it is in, from 0.
    pub folder: usize,
    /// Its bytes, or why they could not be read.
    pub text: Result<Vec<u8>, String>,
}

/// Every device that the files of a host describe.
#[derive(Debug, Clone, Default)]
pub struct Library {
    files: Vec<(PathBuf, usize, Spec)>,
    /// Files that cannot be used, with the reason.
    broken: BTreeMap<PathBuf, String>,
}

/// What a container gets for its devices.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Edits {
    /// Variables, `KEY=value`.
    pub env: Vec<String>,
    /// Device nodes.
    pub nodes: Vec<CdiNode>,
    /// Binds of the host's files.
    pub mounts: Vec<CdiMount>,
    /// Groups the process is in.
    pub groups: Vec<u32>,
}

/// A device node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CdiNode {
    /// Path on the host.
    pub source: PathBuf,
    /// Path in the container.
    pub target: String,
    /// What may be done with it.
    pub access: DeviceAccess,
    /// Owner, group and mode, where they are not those of the host's node.
    pub owner: (Option<u32>, Option<u32>, Option<u32>),
}

/// A bind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CdiMount {
    /// Path on the host.
    pub source: PathBuf,
    /// Path in the container.
    pub target: String,
    /// Not writable.
    pub read_only: bool,
    /// With what is mounted below it.
    pub recursive: bool,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Spec {
    cdi_version: String,
    kind: String,
    #[serde(default, rename = "annotations")]
    _annotations: Option<IgnoredAny>,
    #[serde(default)]
    container_edits: Option<RawEdits>,
    devices: Vec<RawDevice>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RawDevice {
    name: String,
    #[serde(default, rename = "annotations")]
    _annotations: Option<IgnoredAny>,
    #[serde(default)]
    container_edits: RawEdits,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct RawEdits {
    env: Vec<String>,
    device_nodes: Vec<RawNode>,
    mounts: Vec<RawMount>,
    hooks: Vec<IgnoredAny>,
    #[serde(alias = "additionalGIDs")]
    additional_gids: Vec<u32>,
    intel_rdt: Option<IgnoredAny>,
    net_devices: Vec<IgnoredAny>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RawNode {
    path: String,
    host_path: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
    #[serde(default, rename = "major")]
    _major: Option<i64>,
    #[serde(default, rename = "minor")]
    _minor: Option<i64>,
    file_mode: Option<u32>,
    permissions: Option<String>,
    uid: Option<u32>,
    gid: Option<u32>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RawMount {
    host_path: String,
    container_path: String,
    #[serde(default)]
    options: Vec<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
}

impl Library {
    /// What these files describe. One that cannot be used takes only its own devices with it.
    pub fn read(files: &[CdiFile]) -> Library {
        let mut library = Library::default();
        for file in files {
            let parsed = file.text.clone().and_then(|text| parse(&file.path, &text));
            match parsed {
                Ok(spec) => library.files.push((file.path.clone(), file.folder, spec)),
                Err(why) => drop(library.broken.insert(file.path.clone(), why)),
            }
        }
        library
    }

    /// Names of the devices of a kind (`vendor.com/class`), numbers in their order.
    pub fn names(&self, kind: &str) -> Vec<String> {
        let files = self.files.iter().filter(|(_, _, spec)| spec.kind == kind);
        let names = files.flat_map(|(_, _, spec)| &spec.devices);
        let mut names: Vec<String> = names.map(|device| device.name.clone()).collect();
        names.sort_by_key(|name| (name.parse::<u32>().unwrap_or(u32::MAX), name.clone()));
        names.dedup();
        names
    }

    /// What a container gets for these devices (`vendor.com/class=name`) together.
    ///
    /// # Errors
    /// The first that it cannot have, and why.
    pub fn edits(&self, devices: &[String]) -> Result<Edits, (String, String)> {
        let mut edits = Edits::default();
        let mut files: Vec<&Path> = Vec::new();
        for name in devices {
            let failed = |why| (name.clone(), why);
            let (path, spec, device) = self.find(name).map_err(failed)?;
            if !files.contains(&path) {
                files.push(path);
                let common = spec.container_edits.as_ref();
                common.map_or(Ok(()), |raw| edits.add(raw)).map_err(failed)?;
            }
            edits.add(&device.container_edits).map_err(failed)?;
        }
        Ok(edits)
    }

    fn find(&self, wanted: &str) -> Result<(&Path, &Spec, &RawDevice), String> {
        let (kind, name) = wanted.split_once('=').unwrap_or((wanted, ""));
        let mut found: Vec<(&PathBuf, usize, &Spec, &RawDevice)> = Vec::new();
        for (path, folder, spec) in self.files.iter().filter(|(_, _, spec)| spec.kind == kind) {
            let device = spec.devices.iter().find(|device| device.name == name);
            found.extend(device.map(|device| (path, *folder, spec, device)));
        }
        let last = found.iter().map(|(_, folder, ..)| *folder).max();
        found.retain(|(_, folder, ..)| Some(*folder) == last);
        match found.as_slice() {
            [(path, _, spec, device)] => Ok((path.as_path(), spec, device)),
            [(one, ..), (other, ..), ..] => Err(format!(
                "`{}` and `{}` both describe it, so neither counts",
                one.display(),
                other.display()
            )),
            [] => Err(self.missing(kind)),
        }
    }

    fn missing(&self, kind: &str) -> String {
        let names = self.names(kind);
        let known = match names.len() {
            0 => "no file in `/etc/cdi` or `/var/run/cdi` describes it".to_owned(),
            _ => format!("there are {}", names.join(", ")),
        };
        let broken = self.broken.iter();
        let broken = broken.map(|(path, why)| format!("; `{}`: {why}", path.display()));
        known + &broken.collect::<String>()
    }
}

fn parse(path: &Path, text: &[u8]) -> Result<Spec, String> {
    let text = std::str::from_utf8(text).map_err(|_| "it is not UTF-8".to_owned())?;
    let is_json = path.extension().is_some_and(|extension| extension == "json");
    let spec: Spec = if is_json {
        serde_json::from_str(text).map_err(|error| error.to_string())?
    } else {
        serde_yaml::from_str(text).map_err(|error| first_line(&error.to_string()))?
    };
    let known = ["0.", "1."].iter().any(|major| spec.cdi_version.starts_with(major));
    if !known {
        return Err(format!(
            "it has the version `{}`, which berth does not know",
            spec.cdi_version
        ));
    }
    if spec.devices.len() > MOST {
        return Err(format!("it has more than {MOST} devices"));
    }
    let names = spec.devices.iter().map(|device| device.name.as_str());
    let odd = names.chain([spec.kind.as_str()]).find(|name| !is_plain(name));
    match odd.map(first_line) {
        Some(name) => Err(format!("`{name}` is no name")),
        None => Ok(spec),
    }
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

fn is_plain(name: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || "_-.:/".contains(c);
    !name.is_empty() && name.len() <= LONGEST && name.chars().all(fits)
}

impl Edits {
    fn add(&mut self, raw: &RawEdits) -> Result<(), String> {
        let not_done = [
            (!raw.hooks.is_empty(), "hooks, programs that would run on this host as root"),
            (raw.intel_rdt.is_some(), "cache allocation (`intelRdt`)"),
            (!raw.net_devices.is_empty(), "network devices (`netDevices`)"),
        ];
        if let Some((_, what)) = not_done.iter().find(|(asked, _)| *asked) {
            return Err(format!(
                "its file asks for {what}, which berth does not do; make the file without them"
            ));
        }
        let counts = [raw.env.len(), raw.device_nodes.len(), raw.mounts.len()];
        if counts.iter().any(|count| *count > MOST) || raw.additional_gids.len() > 64 {
            return Err("its file asks for too much".to_owned());
        }
        for line in &raw.env {
            let named = line.split_once('=').is_some_and(|(name, _)| !name.is_empty());
            if !named || line.len() > LONGEST || line.contains('\0') {
                return Err(format!("`{}` is no variable", first_line(line)));
            }
            self.env.push(line.clone());
        }
        for node in &raw.device_nodes {
            self.nodes.push(node_of(node)?);
        }
        for mount in &raw.mounts {
            self.mounts.push(mount_of(mount)?);
        }
        self.groups.extend(raw.additional_gids.iter().filter(|gid| **gid != 0));
        Ok(())
    }
}

fn node_of(raw: &RawNode) -> Result<CdiNode, String> {
    let target = path_of(&raw.path)?;
    if !matches!(raw.kind.as_deref(), None | Some("" | "b" | "c" | "u")) {
        return Err(format!("`{target}` is to be no device node"));
    }
    let letters = raw.permissions.as_deref().filter(|letters| !letters.is_empty());
    let letters = letters.unwrap_or("rwm");
    if !letters.chars().all(|letter| "rwm".contains(letter)) {
        return Err(format!("`{target}` has the permissions `{letters}`, which are none"));
    }
    let has = |letter| letters.contains(letter);
    Ok(CdiNode {
        source: path_of(raw.host_path.as_deref().unwrap_or(&raw.path))?.into(),
        target,
        access: DeviceAccess { read: has('r'), write: has('w'), mknod: has('m') },
        owner: (raw.uid, raw.gid, raw.file_mode.map(|mode| mode & 0o777)),
    })
}

fn mount_of(raw: &RawMount) -> Result<CdiMount, String> {
    let target = path_of(&raw.container_path)?;
    if !matches!(raw.kind.as_deref(), None | Some("" | "bind" | "none")) {
        return Err(format!("`{target}` is to be no bind of the host's files"));
    }
    // `nosuid` and `nodev` is every bind.
    const KNOWN: [&str; 8] =
        ["ro", "rw", "bind", "rbind", "private", "rprivate", "nosuid", "nodev"];
    if let Some(other) = raw.options.iter().find(|option| !KNOWN.contains(&option.as_str())) {
        return Err(format!("`{target}` has the mount option `{other}`, which berth does not do"));
    }
    let has = |name: &str| raw.options.iter().any(|option| option == name);
    Ok(CdiMount {
        source: path_of(&raw.host_path)?.into(),
        target,
        read_only: has("ro"),
        recursive: has("rbind"),
    })
}

/// An absolute path that goes straight down.
fn path_of(text: &str) -> Result<String, String> {
    let straight = text.split('/').all(|name| name != "..");
    let printable = !text.contains(char::is_control) && text.len() <= LONGEST;
    match text.len() > 1 && text.starts_with('/') && straight && printable {
        true => Ok(text.to_owned()),
        false => Err(format!("`{}` is no absolute path without `..`", first_line(text))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"{
        "cdiVersion": "0.6.0", "kind": "vendor.com/net", "annotations": {"a": "b"},
        "containerEdits": {"env": ["ALL=1"]},
        "devices": [
            {"name": "0", "containerEdits": {
                "deviceNodes": [{"path": "/dev/x", "hostPath": "/dev/null", "permissions": "rw"}],
                "mounts": [{"hostPath": "/lib/x", "containerPath": "/lib/y", "options": ["ro"]}],
                "additionalGids": [0, 7]}},
            {"name": "10", "containerEdits": {"env": ["TEN=1"]}},
            {"name": "9", "containerEdits": {"hooks": [{"hookName": "createContainer", "path": "/x"}]}}
        ]}"#;

    fn file(path: &str, folder: usize, text: &str) -> CdiFile {
        CdiFile { path: path.into(), folder, text: Ok(text.as_bytes().to_vec()) }
    }

    fn why(text: &str, device: &str) -> String {
        let library = Library::read(&[file("/etc/cdi/a.json", 0, text)]);
        library.edits(&[device.to_owned()]).unwrap_err().1
    }

    #[test]
    fn devices_of_one_file_share_what_it_asks_for_all() {
        let library = Library::read(&[file("/etc/cdi/a.json", 0, GOOD)]);
        let edits =
            library.edits(&["vendor.com/net=0".into(), "vendor.com/net=10".into()]).unwrap();
        assert_eq!(edits.env, ["ALL=1", "TEN=1"]);
        assert_eq!((edits.nodes.len(), edits.mounts.len()), (1, 1));
        assert_eq!(edits.nodes[0].source, Path::new("/dev/null"));
        assert!(!edits.nodes[0].access.mknod && edits.mounts[0].read_only);
        assert_eq!(edits.groups, [7]);
        assert_eq!(library.names("vendor.com/net"), ["0", "9", "10"]);
    }

    #[test]
    fn yaml_says_the_same() {
        let text = "cdiVersion: 0.5.0\nkind: v.com/c\ndevices:\n- name: a\n  containerEdits:\n    \
                    env: [A=b]\n";
        let library = Library::read(&[file("/etc/cdi/a.yaml", 0, text)]);
        assert_eq!(library.edits(&["v.com/c=a".into()]).unwrap().env, ["A=b"]);
    }

    #[test]
    fn a_later_folder_wins_and_two_files_of_one_folder_exclude_each_other() {
        let other = GOOD.replace("ALL=1", "ALL=2");
        let files = [file("/etc/cdi/a.json", 0, GOOD), file("/run/cdi/a.json", 1, &other)];
        let device = ["vendor.com/net=10".to_owned()];
        assert_eq!(Library::read(&files).edits(&device).unwrap().env[0], "ALL=2");
        let files = [file("/etc/cdi/a.json", 0, GOOD), file("/etc/cdi/b.json", 0, &other)];
        let (_, why) = Library::read(&files).edits(&device).unwrap_err();
        assert_eq!(
            why,
            "`/etc/cdi/a.json` and `/etc/cdi/b.json` both describe it, so neither counts"
        );
    }

    #[test]
    fn what_is_not_done_or_not_sound_makes_the_device_unusable_with_the_reason() {
        assert!(why(GOOD, "vendor.com/net=9").contains("asks for hooks"));
        assert_eq!(why(GOOD, "vendor.com/net=1"), "there are 0, 9, 10");
        let edits = |edits: &str| {
            let text = format!(
                r#"{{"cdiVersion": "1.0.0", "kind": "v/c",
                    "devices": [{{"name": "a", "containerEdits": {edits}}}]}}"#
            );
            why(&text, "v/c=a")
        };
        for (bad, told) in [
            (r#"{"deviceNodes": [{"path": "/dev/../x"}]}"#, "no absolute path"),
            (r#"{"deviceNodes": [{"path": "dev/x"}]}"#, "no absolute path"),
            (r#"{"deviceNodes": [{"path": "/dev/x", "permissions": "rx"}]}"#, "which are none"),
            (r#"{"deviceNodes": [{"path": "/dev/x", "type": "p"}]}"#, "no device node"),
            (r#"{"env": ["=x"]}"#, "no variable"),
            (
                r#"{"mounts": [{"hostPath": "/a", "containerPath": "/b", "options": ["suid"]}]}"#,
                "suid",
            ),
            (
                r#"{"mounts": [{"hostPath": "/a", "containerPath": "/b", "type": "tmpfs"}]}"#,
                "no bind",
            ),
            (r#"{"netDevices": [{}]}"#, "network devices"),
            (r#"{"surprise": 1}"#, "unknown field"),
        ] {
            assert!(edits(bad).contains(told), "{bad}: {}", edits(bad));
        }
        for bad in ["", "{", "[]", "{\"cdiVersion\": \"9.0\", \"kind\": \"v/c\", \"devices\": []}"]
        {
            assert!(why(bad, "v/c=a").contains("/etc/cdi/a.json"), "{bad}");
        }
    }

    #[test]
    fn a_hostile_text_ends_with_a_reason() {
        let bomb = (0..30).fold("a0: &a0 [x, x]\n".to_owned(), |text, n| {
            text + &format!("a{}: &a{} [*a{n}, *a{n}, *a{n}]\n", n + 1, n + 1)
        });
        let deep = "[".repeat(100_000);
        for text in [bomb, deep] {
            let library = Library::read(&[file("/etc/cdi/a.yaml", 0, &text)]);
            assert!(library.edits(&["v/c=a".into()]).is_err());
        }
    }
}
