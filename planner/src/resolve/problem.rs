//! Why a stack cannot be what it asks for.

use thiserror::Error;

/// Why a stack cannot be what it asks for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Error)]
#[allow(missing_docs, reason = "the messages say what the fields are")]
pub enum ResolveProblem {
    #[error("{kind} `{name}` is read from `{path}`: {reason}")]
    Unreadable { kind: &'static str, name: String, path: String, reason: String },
    #[error("{kind} `{name}` is taken from the variable `{variable}`, which is not set")]
    VariableMissing { kind: &'static str, name: String, variable: String },
    #[error(
        "service `{service}` shares {} of `{parent}`, which has no container",
        shared(attribute)
    )]
    NoParent { service: String, attribute: &'static str, parent: String },
    #[error(
        "service `{service}` uses the shared memory of `{parent}`, which keeps it to itself: write \
         `ipc: shareable` there"
    )]
    NotShareable { service: String, parent: String },
    #[error("service `{service}` has all rights within a user namespace, and can have none: {why}")]
    Contained { service: String, why: String },
    #[error("service `{service}` has the seccomp profile `{path}`: {reason}")]
    Profile { service: String, path: String, reason: String },
    #[error(
        "service `{service}` mounts `{path}`, which is not there, and `create_host_path` is off: \
         make it first"
    )]
    NoSource { service: String, index: usize, path: String },
    #[error(
        "service `{service}` wants a bind labelled for SELinux, which berth cannot do on a host \
         that has it: label the folder with `chcon -t container_file_t` and take `selinux` away"
    )]
    Relabel { service: String, index: usize },
    #[error(
        "service `{service}` mounts something at `{target}`, where the container has what the kernel \
         shows: choose another target (`/dev/shm` can be had)"
    )]
    Target { service: String, list: &'static str, index: usize, target: String },
    #[error("volume `{volume}` has `driver_opts` that cannot be met: {why}")]
    Backing { volume: String, why: String },
    #[error(
        "service `{service}` mounts `localhost/host`, which is made of folders of this host: bind \
         the one that is wanted"
    )]
    HostImage { service: String, index: usize },
    #[error("service `{service}` has the volumes of a service that has no container")]
    NoVolumes { service: String, index: usize },
    #[error(
        "service `{service}` has `owner: host`, and nobody can tell who that is: run berth by `sudo`"
    )]
    NoOwner { service: String },
    #[error("service `{service}` has `owner: host`, and {why}")]
    UnmappedOwner { service: String, why: String },
    #[error("service `{service}` has the MAC address {address}, and {why}")]
    Mac { service: String, address: String, why: String, at: String },
    #[error("network `{network}` has `{option}`, which cannot be met: {why}")]
    DriverOption { network: String, option: String, why: String },
    #[error("{kind} `{name}` is external, which berth does not do yet")]
    External { kind: &'static str, name: String },
    #[error("service `{service}` needs the device `{device}`: {why}")]
    Device { service: String, device: String, why: String, at: String },
    #[error("service `{service}` is to have its cgroup in `{parent}`, which is for berth itself")]
    OwnCgroup { service: String, parent: String },
    #[error("service `{service}` has the runtime `{runtime}`: {why}")]
    Runtime { service: String, runtime: String, why: String },
    #[error(
        "service `{service}` has `{attribute}`, and {what} can only be had of berth's own runtime: \
         take that away, or `runtime: {runtime}`"
    )]
    BeyondRuntime { service: String, runtime: String, attribute: String, what: &'static str },
    #[error("service `{service}` is for {wanted}, and this host runs {here}")]
    Platform { service: String, wanted: String, here: String },
    #[error("network `{network}`: `{value}` is not {expected}")]
    Pool { network: String, value: String, expected: &'static str },
    #[error("`{path}` cannot be met: {why}")]
    Unfit { path: String, why: String },
    #[error("service `{service}` refers to {kind} `{name}`, which is not in the stack")]
    Dangling { service: String, kind: &'static str, name: String },
}

impl ResolveProblem {
    /// Where in the model the problem is, to be looked up in `Stack::places`.
    pub fn path(&self) -> String {
        match self {
            ResolveProblem::Unreadable { kind, name, .. }
            | ResolveProblem::External { kind, name }
            | ResolveProblem::VariableMissing { kind, name, .. } => format!("{kind}s.{name}"),
            ResolveProblem::Device { service, at, .. }
            | ResolveProblem::Mac { service, at, .. } => {
                format!("services.{service}.{at}")
            }
            ResolveProblem::OwnCgroup { service, .. } => {
                format!("services.{service}.cgroup_parent")
            }
            ResolveProblem::NoParent { service, attribute, .. } => {
                format!("services.{service}.{attribute}")
            }
            ResolveProblem::NotShareable { service, .. } => format!("services.{service}.ipc"),
            ResolveProblem::Contained { service, .. } => {
                format!("services.{service}.x-berth.privileged")
            }
            ResolveProblem::Profile { service, .. } => format!("services.{service}.security_opt"),
            ResolveProblem::Runtime { service, .. } => format!("services.{service}.runtime"),
            ResolveProblem::BeyondRuntime { service, attribute, .. } => {
                format!("services.{service}.{attribute}")
            }
            ResolveProblem::Platform { service, .. } => format!("services.{service}.platform"),
            ResolveProblem::NoSource { service, index, .. } => {
                format!("services.{service}.volumes.{index}.source")
            }
            ResolveProblem::Relabel { service, index } => {
                format!("services.{service}.volumes.{index}.bind.selinux")
            }
            ResolveProblem::Target { service, list, index, .. } if *list == "tmpfs" => {
                format!("services.{service}.tmpfs.{index}")
            }
            ResolveProblem::Target { service, list, index, .. } => {
                format!("services.{service}.{list}.{index}.target")
            }
            ResolveProblem::Backing { volume, .. } => format!("volumes.{volume}.driver_opts"),
            ResolveProblem::HostImage { service, index } => {
                format!("services.{service}.volumes.{index}.source")
            }
            ResolveProblem::NoVolumes { service, index } => {
                format!("services.{service}.volumes_from.{index}")
            }
            ResolveProblem::NoOwner { service } | ResolveProblem::UnmappedOwner { service, .. } => {
                format!("services.{service}.x-berth.owner")
            }
            ResolveProblem::DriverOption { network, option, .. } => {
                format!("networks.{network}.driver_opts.{option}")
            }
            ResolveProblem::Pool { network, .. } => format!("networks.{network}.ipam"),
            ResolveProblem::Unfit { path, .. } => path.clone(),
            ResolveProblem::Dangling { service, kind, .. } => format!("services.{service}.{kind}s"),
        }
    }
}

/// What of another service is shared by an attribute.
fn shared(attribute: &str) -> &'static str {
    match attribute {
        "pid" => "the processes",
        "ipc" => "the shared memory",
        _ => "the network",
    }
}
