//! Why a step is in a plan, and which fields differ. The user reads it beside the step.

use std::borrow::Cow;
use std::fmt;
use std::path::PathBuf;

use berth_schema::lockfile::FILE_NAME;
use berth_schema::stack::Place;
use serde::Serialize;

use crate::class::Class;
use crate::observed::MovedLimit;

/// Why a step is in the plan.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case", tag = "cause")]
pub enum Cause {
    /// The stack has it, the host does not.
    Missing,
    /// It was made from another description.
    Changed,
    /// The image reference now names another image.
    ImageMoved {
        /// Image the container was made from.
        before: String,
        /// Image the reference names now.
        after: String,
    },
    /// The lock gives the reference to another image than the container was made from.
    ImageLocked {
        /// The reference as the file has it.
        image: String,
        /// Digest that the lock gives it.
        digest: String,
    },
    /// The lock names the image that is to come.
    Locked {
        /// Its digest.
        digest: String,
    },
    /// The content of a config, a secret or a file that is mounted differs.
    ContentChanged,
    /// The number of containers of the service changed.
    Scale,
    /// Its service is not in the stack any more.
    Orphan,
    /// The host is not as it was left.
    Drift {
        /// What of it (`its monitor is gone`).
        what: &'static str,
    },
    /// The kernel has another limit for it than it was given.
    LimitMoved(MovedLimit),
    /// It runs without its link to a network.
    Unplugged {
        /// That network.
        network: String,
    },
    /// A service it depends on is replaced or restarted.
    DependencyRestart {
        /// That service.
        service: String,
    },
    /// A network it is on is made anew.
    NetworkReplaced {
        /// Name of the network on the host.
        network: String,
    },
    /// A volume it has is made anew.
    VolumeReplaced {
        /// Name of the volume on the host.
        volume: String,
    },
    /// The container whose network it shares is made or started anew.
    NamespaceParentReplaced {
        /// Name of that container on the host.
        container: String,
    },
    /// A container whose volumes it has is made anew.
    VolumesReplaced {
        /// Name of that container on the host.
        container: String,
    },
    /// A host path it mounts leads elsewhere than when the policy judged it.
    PathMoved {
        /// As the file has it.
        path: PathBuf,
        /// Where it led.
        before: PathBuf,
        /// Where it leads.
        after: PathBuf,
    },
    /// At a host path it mounts is another file than the one it has.
    FileReplaced {
        /// As the file has it.
        path: PathBuf,
    },
    /// It and others take ports or addresses from each other in a circle, and it gives up its own first.
    Exchanged,
    /// The user asked for it.
    Requested,
    /// Nobody needs it.
    Unused,
    /// The host has it, the stack does not.
    NotInStack,
    /// A crash left it half made.
    CrashLeftover,
    /// It ended.
    Exited {
        /// Exit status.
        exit_code: i32,
    },
    /// A hook after its start failed.
    HookFailed,
    /// It was made before its `pre_start` had run.
    Unprepared,
    /// The user had stopped it.
    Held,
    /// It was made and never started on this boot.
    NeverStarted,
    /// It replaces a container that serves until it can.
    TakesOver {
        /// Name of that container on the host.
        from: String,
    },
    /// Another container of its replica serves, or will.
    Superseded,
    /// It stops before the new one starts, whatever the file says.
    StopsFirst {
        /// Why.
        why: Cow<'static, str>,
    },
    /// In which order the old container and the new one come and go.
    Order {
        /// The new one starts before the old one stops.
        start_first: bool,
        /// Why this order.
        why: OrderWhy,
        /// What stands in the way of a start first.
        #[serde(skip_serializing_if = "Option::is_none")]
        obstacle: Option<String>,
        /// What that is for clients.
        gap: Gap,
    },
    /// It is not kept for a rollback, whatever the file says.
    NotKept {
        /// Why.
        why: Cow<'static, str>,
    },
    /// Its service goes back to what it was.
    RollsBack,
    /// Another service waits for it.
    NeededBy {
        /// That service.
        service: String,
    },
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cause::Missing => f.write_str("missing"),
            Cause::Changed => f.write_str("changed"),
            Cause::ImageMoved { before, after } => {
                write!(f, "image {} → {}", short_digest(before), short_digest(after))
            }
            Cause::ImageLocked { image, digest } => {
                write!(f, "image {image} moves to sha256:{} ({FILE_NAME})", short_digest(digest))
            }
            Cause::Locked { digest } => write!(f, "sha256:{} ({FILE_NAME})", short_digest(digest)),
            Cause::ContentChanged => f.write_str("content changed"),
            Cause::Scale => f.write_str("scale"),
            Cause::Orphan => f.write_str("orphan: its service is not in the stack"),
            Cause::Drift { what } => write!(f, "drift: {what}"),
            Cause::LimitMoved(limit) => write!(f, "drift: {limit}"),
            Cause::Unplugged { network } => {
                write!(f, "drift: its link to network `{network}` is gone")
            }
            Cause::DependencyRestart { service } => write!(f, "`{service}` restarts"),
            Cause::NetworkReplaced { network } => write!(f, "network `{network}` is made anew"),
            Cause::VolumeReplaced { volume } => write!(f, "volume `{volume}` is made anew"),
            Cause::NamespaceParentReplaced { container } => {
                write!(f, "shares a namespace of `{container}`, which is made anew")
            }
            Cause::VolumesReplaced { container } => {
                write!(f, "has the volumes of `{container}`, which is made anew")
            }
            Cause::PathMoved { path, before, after } => {
                let [path, before, after] = [path, before, after].map(|path| path.display());
                write!(f, "{path} leads to {after}, not to {before} any more")
            }
            Cause::FileReplaced { path } => {
                write!(f, "{} is another file than the one it has mounted", path.display())
            }
            Cause::Exchanged => f.write_str("exchanges ports or addresses with others"),
            Cause::Requested => f.write_str("as asked"),
            Cause::Unused => f.write_str("nobody needs it"),
            Cause::NotInStack => f.write_str("not in the stack"),
            Cause::CrashLeftover => f.write_str("left half made by a crash"),
            Cause::Exited { exit_code } => write!(f, "exited with {exit_code}"),
            Cause::Unprepared => f.write_str("its `pre_start` has not run"),
            Cause::HookFailed => f.write_str("a hook after its start failed"),
            Cause::Held => f.write_str("was stopped by the user"),
            Cause::NeverStarted => f.write_str("not started yet"),
            Cause::TakesOver { from } => write!(f, "takes over from `{from}`"),
            Cause::Superseded => f.write_str("another takes its place"),
            Cause::StopsFirst { why } => write!(f, "stops first: {why}"),
            Cause::Order { start_first, why, obstacle, gap } => {
                order(f, *start_first, (*why, obstacle.as_deref()), gap)
            }
            Cause::NotKept { why } => write!(f, "cannot be rolled back: {why}"),
            Cause::RollsBack => f.write_str("rolls back"),
            Cause::NeededBy { service } => write!(f, "`{service}` waits for it"),
        }
    }
}

/// Why containers are replaced in an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OrderWhy {
    /// Nobody said otherwise.
    Default,
    /// The file says so.
    File,
    /// The user said so.
    Asked,
    /// Nothing stands in the way of a start first.
    Free,
    /// Something does, which is told beside it.
    Blocked,
    /// The file says otherwise, and it cannot be for once; another cause says why.
    Once,
}

/// What a replacement is for clients.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Gap {
    /// Somebody serves at any time.
    None,
    /// Nobody serves for a while, and new connections wait meanwhile.
    Held {
        /// At these TCP ports of the host.
        ports: Vec<u16>,
    },
    /// Nobody serves for a while.
    Open {
        /// Why nobody waits.
        why: &'static str,
    },
}

fn order(
    f: &mut fmt::Formatter<'_>,
    start_first: bool,
    (why, obstacle): (OrderWhy, Option<&str>),
    gap: &Gap,
) -> fmt::Result {
    let order = if start_first { "start-first" } else { "stop-first" };
    match why {
        OrderWhy::Default => write!(f, "{order} by default: ")?,
        OrderWhy::File => write!(f, "{order} as the file says: ")?,
        OrderWhy::Asked => write!(f, "{order} as asked: ")?,
        OrderWhy::Free => write!(f, "{order}, as nothing stands in the way: ")?,
        OrderWhy::Blocked => write!(f, "{order}, as {}: ", obstacle.unwrap_or_default())?,
        OrderWhy::Once => {}
    }
    match gap {
        Gap::None => f.write_str("no gap"),
        Gap::Open { why } => write!(f, "gap expected, {why}"),
        Gap::Held { ports } => {
            let ports: Vec<String> = ports.iter().map(|port| format!("{port}/tcp")).collect();
            write!(f, "gap expected, new connections to {} held", ports.join(", "))
        }
    }
}

/// From where a cause comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Sort {
    /// The files say something else than before.
    Edit,
    /// The host, or what a name means, is not as it was left.
    Drift,
    /// Something else in the plan.
    Follows,
    /// What a person said.
    Asked,
}

impl Sort {
    /// The word for it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Sort::Edit => "edit",
            Sort::Drift => "drift",
            Sort::Follows => "follows",
            Sort::Asked => "asked",
        }
    }
}

impl Cause {
    /// From where it comes.
    pub(crate) fn sort(&self) -> Sort {
        match self {
            Cause::Changed
            | Cause::ContentChanged
            | Cause::FileReplaced { .. }
            | Cause::ImageLocked { .. }
            | Cause::Locked { .. }
            | Cause::Scale
            | Cause::Orphan
            | Cause::NotInStack => Sort::Edit,
            Cause::Missing
            | Cause::ImageMoved { .. }
            | Cause::Drift { .. }
            | Cause::LimitMoved(_)
            | Cause::Unplugged { .. }
            | Cause::PathMoved { .. }
            | Cause::CrashLeftover
            | Cause::Exited { .. }
            | Cause::HookFailed
            | Cause::Unprepared
            | Cause::NeverStarted => Sort::Drift,
            Cause::DependencyRestart { .. }
            | Cause::NetworkReplaced { .. }
            | Cause::VolumeReplaced { .. }
            | Cause::NamespaceParentReplaced { .. }
            | Cause::VolumesReplaced { .. }
            | Cause::Exchanged
            | Cause::TakesOver { .. }
            | Cause::Superseded
            | Cause::StopsFirst { .. }
            | Cause::Order { .. }
            | Cause::NotKept { .. }
            | Cause::RollsBack
            | Cause::NeededBy { .. } => Sort::Follows,
            Cause::Requested | Cause::Unused | Cause::Held => Sort::Asked,
        }
    }

    /// Whether the descriptions say it by themselves.
    pub(crate) fn is_of_description(&self) -> bool {
        matches!(self, Cause::Missing | Cause::Changed | Cause::ContentChanged)
    }
}

/// The first twelve digits of a digest, as people quote them.
pub(crate) fn short_digest(digest: &str) -> &str {
    let hex = digest.rsplit(':').next().unwrap_or(digest);
    hex.get(..12).unwrap_or(hex)
}

/// One field that differs between the recorded and the wanted description.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FieldChange {
    /// Path below the service (`environment.LOG`).
    pub path: String,
    /// As recorded, in JSON notation; `None` when it was not there.
    pub before: Option<String>,
    /// As wanted, in JSON notation; `None` when it goes.
    pub after: Option<String>,
    /// How it takes effect when nothing else changes; of a container.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class: Option<Class>,
    /// Where the wanted value was written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<Place>,
    /// The values are hidden.
    pub sensitive: bool,
}

impl fmt::Display for FieldChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let before = self.before.as_deref().unwrap_or("—");
        let after = self.after.as_deref().unwrap_or("—");
        write!(f, "{} {before} → {after}", self.path)?;
        match &self.place {
            Some(place) => write!(f, " ({place})"),
            None => Ok(()),
        }
    }
}
