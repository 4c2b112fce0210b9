//! Two descriptions compared, field by field, in the words of the file.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use berth_schema::stack::{BlockIo, Device, DeviceRate, Place, Places, Recursive};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::cause::FieldChange;
use crate::class::{self, Class};
use crate::desired::{
    ContainerSpec, DependencySpec, FileSpec, IpcSpace, MountSpec, NetworkMode, NetworkSpec,
    PidSpace, SourceSpec, VolumeSpec,
};
use crate::hidden::{self, HIDDEN};
use crate::text;

/// What it waits for stands beside the description of a container.
pub(crate) const DEPENDS_ON: &str = "depends_on";

/// Where contents of files that are mounted stand, by their paths on the host.
const BOUND: &str = "bound_files";

/// What differs between two descriptions of a container of `service`.
pub(crate) fn containers(
    service: &str,
    before: &ContainerSpec,
    after: &ContainerSpec,
    places: &Places,
) -> Vec<FieldChange> {
    let mut changes = Vec::new();
    compare(("", ""), &container_view(before), &container_view(after), &mut changes);
    // A file that only one of them knows comes or goes with a mount, or was never read before.
    changes.retain(|change| !change.path.starts_with(BOUND) || is_content(change));
    for change in &mut changes {
        change.class = Some(class::of_field(&change.path, before, after));
        change.place = place(&format!("services.{service}"), &change.path, places);
    }
    changes
}

/// What differs in what a container of `service` waits for.
pub(crate) fn dependencies(
    service: &str,
    before: &BTreeMap<String, DependencySpec>,
    after: &BTreeMap<String, DependencySpec>,
    places: &Places,
) -> Vec<FieldChange> {
    let mut changes = Vec::new();
    compare((DEPENDS_ON, DEPENDS_ON), &view(before), &view(after), &mut changes);
    for change in &mut changes {
        change.class = Some(Class::Meta);
        change.place = place(&format!("services.{service}"), &change.path, places);
    }
    changes
}

/// What differs between two descriptions of a network.
pub(crate) fn networks(
    name: &str,
    before: &NetworkSpec,
    after: &NetworkSpec,
    places: &Places,
) -> Vec<FieldChange> {
    described("networks", name, &network_view(before), &network_view(after), places)
}

/// What differs between two descriptions of a volume.
pub(crate) fn volumes(
    name: &str,
    before: &VolumeSpec,
    after: &VolumeSpec,
    places: &Places,
) -> Vec<FieldChange> {
    described("volumes", name, before, after, places)
}

/// Whether a change is one of the content of a config, a secret or a file that is mounted, all else being
/// equal.
pub(crate) fn is_content(change: &FieldChange) -> bool {
    hidden::is_content(&change.path) && change.before.is_some() && change.after.is_some()
}

fn described<T: Serialize>(
    kind: &str,
    name: &str,
    before: &T,
    after: &T,
    places: &Places,
) -> Vec<FieldChange> {
    let mut changes = Vec::new();
    compare(("", ""), &view(before), &view(after), &mut changes);
    let root = root(kind, name, places);
    for change in &mut changes {
        change.place = root.as_ref().and_then(|root| place(root, &change.path, places));
    }
    changes
}

/// The path in the file of what is called `name` on the host.
pub(crate) fn root(kind: &str, name: &str, places: &Places) -> Option<String> {
    // The key in the file is the name on the host without the project before it.
    let keys = name.match_indices('_').map(|(at, _)| &name[at + 1..]).chain([name]);
    let mut roots = keys.map(|key| format!("{kind}.{key}"));
    roots.find(|root| places.has(root))
}

/// A description with the options of a bridge where the file has them.
pub(crate) fn network_view(spec: &NetworkSpec) -> Value {
    let mut all = view(spec);
    if let Some(fields) = all.as_object_mut()
        && let Some(Value::Object(bridge)) = fields.remove("bridge")
        && let Some(Value::Object(options)) = fields.get_mut("driver_opts")
    {
        options.extend(bridge);
    }
    all
}

pub(crate) fn view<T: Serialize>(value: &T) -> Value {
    serde_json::to_value(value).unwrap_or(Value::Null)
}

/// A description with lists of things made into maps, so that one changed thing is one change.
pub(crate) fn container_view(spec: &ContainerSpec) -> Value {
    let mut all = view(spec);
    let Some(fields) = all.as_object_mut() else { return all };
    fields.remove("mounts");
    fields.remove("files");
    let ports: Vec<String> = spec.ports.iter().map(text::port).collect();
    fields.insert("ports".into(), Value::from(ports));
    let mounts = spec.mounts.iter().map(|(target, mount)| (target.clone(), mount_text(mount)));
    fields.insert("volumes".into(), Value::Object(mounts.collect()));
    fields.insert("configs".into(), files_view(spec.files.iter().filter(|file| !file.secret)));
    fields.insert("secrets".into(), files_view(spec.files.iter().filter(|file| file.secret)));
    let bound = spec.bound_files.0.iter();
    let bound = bound.map(|(path, content)| {
        (path.display().to_string(), serde_json::json!({ "content": content }))
    });
    fields.insert(BOUND.into(), Value::Object(bound.collect()));
    fields.insert("network_mode".into(), mode_text(&spec.network_mode));
    fields.remove("security");
    fields.insert("security_opt".into(), Value::from(spec.security.words()));
    fields.insert("pid".into(), pid_text(&spec.pid));
    fields.insert("ipc".into(), ipc_text(&spec.ipc));
    fields.remove("host_names");
    fields.insert("uts".into(), Value::from(if spec.host_names { "host" } else { "private" }));
    fields.entry("contained").or_insert(Value::Bool(false));
    fields.entry("domainname").or_insert(Value::Null);
    let tmpfs: BTreeMap<&str, _> =
        spec.tmpfs.iter().map(|tmpfs| (tmpfs.target.as_str(), tmpfs)).collect();
    fields.insert("tmpfs".into(), view(&tmpfs));
    fields.insert("stop_grace_period".into(), spec.stop_grace_period.map_or(Value::Null, seconds));
    for with_times in ["healthcheck", "ready", "restart_pace"] {
        fields.get_mut(with_times).into_iter().for_each(spell_durations);
    }
    fields.insert("shm_size".into(), amount(spec.shm_size));
    fields.remove("storage_size");
    fields.insert("storage_opt.size".into(), amount(spec.storage_size));
    if !spec.devices.is_empty() {
        fields.insert("devices".into(), Value::Object(spec.devices.iter().map(device).collect()));
    }
    if let Some(io) = &spec.blkio_config {
        fields.insert("blkio_config".into(), block_io_view(io));
    }
    if let Some(limits) = fields.get_mut("limits").and_then(Value::as_object_mut) {
        limits.insert("memory".into(), amount(spec.limits.memory));
        limits.insert("memory_reservation".into(), amount(spec.limits.memory_reservation));
        limits.remove("cpu_micros");
        let cpus = spec.limits.cpu_micros.map(|micros| micros as f64 / 1e6);
        limits.insert("cpus".into(), cpus.map_or(Value::Null, Value::from));
    }
    all
}

/// A device by its path in the container, or by its name.
fn device(device: &Device) -> (String, Value) {
    match device {
        Device::Cdi { vendor, class, name } => {
            (format!("{vendor}/{class}={name}"), Value::from("described by the host"))
        }
        Device::Node { source, target, access } => {
            let letters = [(access.read, 'r'), (access.write, 'w'), (access.mknod, 'm')];
            let letters: String = letters.iter().filter(|(on, _)| *on).map(|(_, c)| c).collect();
            (target.clone(), Value::from(format!("{} ({letters})", source.display())))
        }
    }
}

/// Limits by device, in the words of the file.
fn block_io_view(io: &BlockIo) -> Value {
    let name = |path: &Path| path.display().to_string();
    let rates = |rates: &[DeviceRate], show: fn(u64) -> Value| {
        Value::Object(rates.iter().map(|one| (name(&one.path), show(one.rate))).collect())
    };
    let bytes = |rate| amount(Some(rate));
    let weights = io.weights.iter().map(|one| (name(&one.path), Value::from(one.weight)));
    let mut fields = Map::new();
    fields.insert("weight".into(), io.weight.map_or(Value::Null, Value::from));
    fields.insert("weight_device".into(), Value::Object(weights.collect()));
    fields.insert("device_read_bps".into(), rates(&io.read_bytes, bytes));
    fields.insert("device_write_bps".into(), rates(&io.write_bytes, bytes));
    fields.insert("device_read_iops".into(), rates(&io.read_operations, Value::from));
    fields.insert("device_write_iops".into(), rates(&io.write_operations, Value::from));
    Value::Object(fields)
}

/// `1.5s`.
fn seconds(duration: Duration) -> Value {
    Value::from(format!("{}s", duration.as_secs_f64()))
}

/// Makes every duration below `value` what people write.
fn spell_durations(value: &mut Value) {
    match serde_json::from_value(value.clone()) {
        Ok(duration) if value.is_object() => *value = seconds(duration),
        _ => value.as_object_mut().into_iter().flatten().for_each(|(_, v)| spell_durations(v)),
    }
}

/// Bytes in the largest unit that shows them whole.
fn amount(bytes: Option<u64>) -> Value {
    let Some(bytes) = bytes else { return Value::Null };
    let units = [(30, "GiB"), (20, "MiB"), (10, "KiB")];
    let whole = units.iter().find(|(shift, _)| bytes > 0 && bytes % (1 << shift) == 0);
    Value::from(whole.map_or(format!("{bytes} B"), |(s, unit)| format!("{} {unit}", bytes >> s)))
}

fn mount_text(mount: &MountSpec) -> Value {
    let mode = if mount.read_only { " (read-only)" } else { "" };
    let source = match &mount.source {
        SourceSpec::Volume { name, nocopy, subpath } => {
            let part = subpath.as_ref().map(|part| format!("/{part}")).unwrap_or_default();
            format!("volume {name}{part}{}", if *nocopy { " (nocopy)" } else { "" })
        }
        SourceSpec::Anonymous { nocopy, labels } => {
            let labels: String =
                labels.iter().map(|(key, value)| format!(" {key}={value}")).collect();
            format!("anonymous volume{}{labels}", if *nocopy { " (nocopy)" } else { "" })
        }
        SourceSpec::Image { reference, subpath } => {
            let part = subpath.as_ref().map(|part| format!(" (/{part})")).unwrap_or_default();
            format!("image {reference}{part}")
        }
        SourceSpec::Bind { path, create_host_path, propagation, recursive } => {
            let create = if *create_host_path { "" } else { " (must exist)" };
            let propagation = propagation.as_ref().map(|p| format!(" ({p})")).unwrap_or_default();
            let recursive = match recursive {
                Recursive::Enabled => "",
                Recursive::Disabled => " (without mounts below it)",
                Recursive::Writable => " (mounts below it writable)",
                Recursive::ReadOnly => " (mounts below it read-only)",
            };
            format!("{}{create}{propagation}{recursive}", path.display())
        }
    };
    Value::from(format!("{source}{mode}"))
}

fn mode_text(mode: &NetworkMode) -> Value {
    Value::from(match mode {
        NetworkMode::Bridge => "bridge".to_string(),
        NetworkMode::None => "none".to_string(),
        NetworkMode::Host => "host".to_string(),
        NetworkMode::Container(name) => format!("container:{name}"),
    })
}

fn pid_text(pid: &PidSpace) -> Value {
    Value::from(match pid {
        PidSpace::Own => "private".to_string(),
        PidSpace::Host => "host".to_string(),
        PidSpace::Container(name) => format!("container:{name}"),
    })
}

fn ipc_text(ipc: &IpcSpace) -> Value {
    Value::from(match ipc {
        IpcSpace::Own => "private".to_string(),
        IpcSpace::Shareable => "shareable".to_string(),
        IpcSpace::None => "none".to_string(),
        IpcSpace::Host => "host".to_string(),
        IpcSpace::Container(name) => format!("container:{name}"),
    })
}

fn files_view<'a>(files: impl Iterator<Item = &'a FileSpec>) -> Value {
    let view = files.map(|file| {
        let mut fields = Map::new();
        fields.insert("content".into(), Value::from(file.digest.clone()));
        fields.insert("uid".into(), Value::from(file.uid));
        fields.insert("gid".into(), Value::from(file.gid));
        fields.insert("mode".into(), Value::from(format!("{:04o}", file.mode)));
        (file.target.clone(), Value::Object(fields))
    });
    Value::Object(view.collect())
}

/// Adds a change for every value that differs, deepest first found.
fn compare(
    (path, key): (&str, &str),
    before: &Value,
    after: &Value,
    changes: &mut Vec<FieldChange>,
) {
    if before == after {
        return;
    }
    if let (Value::Object(old), Value::Object(new)) = (before, after) {
        let mut keys: Vec<&String> = old.keys().chain(new.keys()).collect();
        keys.sort();
        keys.dedup();
        for key in keys {
            let below = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            let (old, new) = (old.get(key), new.get(key));
            match (old, new) {
                (Some(old), Some(new)) => compare((&below, key), old, new, changes),
                (old, new) => changes.push(change((&below, key), old, new)),
            }
        }
        return;
    }
    changes.push(change((path, key), Some(before), Some(after)));
}

fn change((path, key): (&str, &str), before: Option<&Value>, after: Option<&Value>) -> FieldChange {
    let sensitive = hidden::is_sensitive((path, key), before, after);
    let (before, after) = (shown(path, before, sensitive), shown(path, after, sensitive));
    FieldChange { path: path.to_owned(), before, after, class: None, place: None, sensitive }
}

/// A value as people read it; `None` when the field is not there.
pub(crate) fn shown(path: &str, value: Option<&Value>, sensitive: bool) -> Option<String> {
    match value {
        None => None,
        // A variable without a value is there; a field that is `null` is not.
        Some(Value::Null) if path.starts_with("environment.") => Some("(unset)".to_string()),
        Some(Value::Null) => None,
        Some(_) if sensitive => Some(HIDDEN.to_string()),
        Some(Value::String(digest)) if hidden::is_content(path) => {
            Some(digest.chars().take("sha256:".len() + 12).collect())
        }
        Some(value) => Some(brief(value).map_or("on".to_string(), |value| value.to_string())),
    }
}

/// A value without the fields that say nothing; `None` when a thing only is there.
fn brief(value: &Value) -> Option<Value> {
    let Value::Object(fields) = value else { return Some(value.clone()) };
    let told = fields.iter().filter(|(_, value)| says(value));
    let told: Map<String, Value> = told.map(|(key, value)| (key.clone(), value.clone())).collect();
    (!told.is_empty()).then_some(Value::Object(told))
}

/// Whether a value tells more than that there is none.
pub(crate) fn says(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => false,
        Value::Array(items) => !items.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::Bool(true) | Value::String(_) => true,
    }
}

/// Where the file has the value, else what is around it.
pub(crate) fn place(root: &str, path: &str, places: &Places) -> Option<Place> {
    exact_place(root, path, places).or_else(|| places.find(&format!("{root}.{path}")))
}

/// Where the file has the value itself.
pub(crate) fn exact_place(root: &str, path: &str, places: &Places) -> Option<Place> {
    let written: &[&str] = match path {
        "limits.memory" => &["deploy.resources.limits.memory", "mem_limit"],
        "limits.cpus" => &["deploy.resources.limits.cpus", "cpus", "cpu_quota"],
        "limits.cpu_period" => &["cpu_period"],
        "limits.pids" => &["deploy.resources.limits.pids", "pids_limit"],
        "limits.memory_swap" => &["memswap_limit"],
        "limits.memory_reservation" => &["deploy.resources.reservations.memory", "mem_reservation"],
        "limits.cpu_shares" => &["cpu_shares"],
        "limits.cpuset" => &["cpuset"],
        "limits.oom_score_adj" => &["oom_score_adj"],
        "cgroup_host" => &["cgroup"],
        "pools" => &["ipam"],
        other if other.starts_with("logging.") => &["logging"],
        other if other.starts_with("restart_pace") => &["deploy.restart_policy"],
        other if other.starts_with("ready") => &["x-berth.ready"],
        "on_change" => &["x-berth.on_change"],
        other if other.starts_with("bound_files") => &["volumes"],
        "restart_unhealthy" => &["x-berth.on_unhealthy"],
        _ => &[],
    };
    let exact = written.iter().find_map(|path| places.get(&format!("{root}.{path}")));
    exact.or_else(|| places.get(&format!("{root}.{path}")))
}
