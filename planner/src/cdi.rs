//! The Container Device Interface: files in which the makers of devices tell what a container
//! needs to use them (CDI specification, `SPEC.md`, versions 0.3 to 1).
//!
//! Such a file belongs to the host and is data all the same: everything in it is checked, and what
//! is not known or not done makes its device unusable with the reason. Nothing is run here, and only
//! what root alone can change may name programs to be run.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use berth_schema::stack::DeviceAccess;
use serde::Deserialize;
use serde::de::IgnoredAny;

mod hooks;

use hooks::RawHook;
pub use hooks::{CdiHook, Moment};

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
    /// Why somebody besides root can change it, and what it says may not be run.
    pub doubt: Option<String>,
}

/// Every device that the files of a host describe.
#[derive(Debug, Clone, Default)]
pub struct Library {
    files: Vec<(PathBuf, usize, Spec)>,
    /// Files and programs that somebody besides root can change, with the reason.
    doubts: BTreeMap<PathBuf, String>,
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
    /// Programs that run at its start and end.
    pub hooks: Vec<CdiHook>,
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
    hooks: Vec<RawHook>,
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
            let doubt = file.doubt.iter().map(|why| (file.path.clone(), why.clone()));
            library.doubts.extend(doubt);
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
                common.map_or(Ok(()), |raw| self.add(&mut edits, path, raw)).map_err(failed)?;
            }
            self.add(&mut edits, path, &device.container_edits).map_err(failed)?;
        }
        Ok(edits)
    }

    /// Adds what a file says, unless it is to run what others than root can change.
    fn add(&self, edits: &mut Edits, path: &Path, raw: &RawEdits) -> Result<(), String> {
        if let Some(why) = self.doubts.get(path).filter(|_| !raw.hooks.is_empty()) {
            let path = path.display();
            return Err(format!("its hooks are not run, because `{path}` {why}"));
        }
        let known = edits.hooks.len();
        edits.add(raw)?;
        let added = edits.hooks.iter().skip(known).filter(|hook| hook.moment.is_of_the_host());
        for program in added.map(|hook| &hook.path) {
            if let Some(why) = self.doubts.get(Path::new(program)) {
                return Err(format!("its hook is not run, because `{program}` {why}"));
            }
        }
        Ok(())
    }

    /// Programs of the host that hooks name, for somebody to look at.
    pub fn programs(&self) -> BTreeSet<PathBuf> {
        let all = self.files.iter().flat_map(|(_, _, spec)| {
            let own = spec.devices.iter().map(|device| &device.container_edits);
            own.chain(spec.container_edits.as_ref())
        });
        all.flat_map(|edits| &edits.hooks).map(|hook| PathBuf::from(&hook.path)).collect()
    }

    /// Programs that are not run, with the reason.
    pub fn doubt(&mut self, programs: BTreeMap<PathBuf, String>) {
        self.doubts.extend(programs);
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
            (raw.intel_rdt.is_some(), "cache allocation (`intelRdt`)"),
            (!raw.net_devices.is_empty(), "network devices (`netDevices`)"),
        ];
        if let Some((_, what)) = not_done.iter().find(|(asked, _)| *asked) {
            return Err(format!(
                "its file asks for {what}, which berth does not do; make the file without them"
            ));
        }
        let counts = [raw.env.len(), raw.device_nodes.len(), raw.mounts.len(), raw.hooks.len()];
        if counts.iter().any(|count| *count > MOST) || raw.additional_gids.len() > 64 {
            return Err("its file asks for too much".to_owned());
        }
        self.env.extend(variables(&raw.env)?);
        for hook in &raw.hooks {
            self.hooks.push(hook.checked()?);
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

/// Lines `KEY=value`.
fn variables(lines: &[String]) -> Result<Vec<String>, String> {
    let is_good = |line: &str| {
        let named = line.split_once('=').is_some_and(|(name, _)| !name.is_empty());
        named && line.len() <= LONGEST && !line.contains('\0')
    };
    match lines.iter().find(|line| !is_good(line)) {
        Some(line) => Err(format!("`{}` is no variable", first_line(line))),
        None => Ok(lines.to_vec()),
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
mod tests;
