//! The smallest changes to the host: each has happened or it has not.

use std::time::Duration;

use berth_schema::stack::Condition;
use serde::{Deserialize, Serialize};

use crate::hold::HeldPort;
use crate::observed::{ContainerRecord, Leftover, NetworkRecord, VolumeRecord};

/// One change. Each carries exactly what it needs.
///
/// An action whose target already is there (or already gone) is an error: the plan was stale.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "action")]
pub enum Action {
    /// Gets an image from its registry.
    PullImage {
        /// Reference as the file has it.
        reference: String,
        /// The digest it has to have, whatever the tag means now.
        locked: Option<String>,
    },
    /// Makes the bridge, its addresses and its firewall rules.
    CreateNetwork(NetworkRecord),
    /// Puts bridge or rules of a recorded network back.
    RepairNetwork(NetworkRecord),
    /// Takes bridge, rules and record away.
    RemoveNetwork {
        /// Name on the host.
        name: String,
    },
    /// Makes an empty volume.
    CreateVolume(VolumeRecord),
    /// Removes a volume with its data.
    RemoveVolume {
        /// Name on the host.
        name: String,
    },
    /// Makes folders, files and record of a container; nothing runs yet.
    CreateContainer(Box<ContainerRecord>),
    /// Gives a container what of this description can change while it runs, which differs in
    /// nothing else; what runs in it runs on.
    UpdateContainer(Box<ContainerRecord>),
    /// Starts the monitor, which starts the container.
    StartContainer {
        /// Name on the host.
        name: String,
    },
    /// The same, beside the container that serves: it gets no ports of the host and answers to no
    /// name until it takes over.
    StartBeside {
        /// Name on the host.
        name: String,
    },
    /// Waits until a container is good enough to take over, which it has to be in time.
    AwaitStable {
        /// Name on the host.
        name: String,
        /// How long it has to run on when its checks say that it is well.
        checked: Duration,
        /// How long it has to run where nothing checks it.
        unchecked: Duration,
        /// How long it may take until then; `None` is as long as its checks may.
        deadline: Option<Duration>,
    },
    /// Gives a container that runs beside another its ports and names, the ports in one transaction.
    TakeOver {
        /// Name on the host.
        name: String,
        /// Who has had them.
        from: String,
    },
    /// Looks for so long whether a container that serves goes on to run well.
    Watch {
        /// Name on the host.
        name: String,
        /// For how long.
        span: Duration,
    },
    /// Lets a rollout come to a container, the first of its group, some time after those before it
    /// are good. It comes not to pass when more of what it waits for failed than may.
    Admit {
        /// Name on the host.
        name: String,
        /// How long it waits.
        delay: Duration,
        /// How many may fail.
        may_fail: u32,
    },
    /// Ends the rollout of a service: from then on nobody needs what was replaced. It comes not to
    /// pass when more of what it waits for failed than may.
    Conclude {
        /// The service.
        service: String,
        /// How many may fail.
        may_fail: u32,
    },
    /// Waits until the connections to a container have ended.
    Drain {
        /// Name on the host.
        name: String,
        /// For how long at most.
        patience: Duration,
    },
    /// Lets new connections to ports of a container wait, and those that are there come to their end.
    HoldPorts {
        /// Name on the host.
        name: String,
        /// Its ports.
        ports: Vec<HeldPort>,
        /// How long they wait at most; the kernel ends it.
        limit: Duration,
        /// How long those that are there may take.
        drain: Duration,
    },
    /// Lets new connections in again, as soon as the container serves or cannot.
    ReleasePorts {
        /// Name on the host.
        name: String,
        /// Its ports.
        ports: Vec<HeldPort>,
        /// How long it may take until it serves.
        patience: Duration,
    },
    /// Gives a running container whose monitor died a new monitor.
    AdoptContainer {
        /// Name on the host.
        name: String,
    },
    /// Waits until a container is as its dependents need it.
    AwaitContainer {
        /// Name on the host.
        name: String,
        /// What must be true.
        condition: Condition,
        /// How long that may take; `None` is as long as it takes.
        deadline: Option<Duration>,
    },
    /// Asks the process to end, kills it after `grace`, ends the monitor. Also a process whose
    /// monitor is gone.
    StopContainer {
        /// Name on the host.
        name: String,
        /// How long it may take; `None` takes what the container says.
        #[serde(with = "crate::action::seconds", default)]
        grace: Option<Duration>,
        /// The user wants it to stay stopped.
        hold: bool,
    },
    /// Sends a signal to the process.
    SignalContainer {
        /// Name on the host.
        name: String,
        /// Signal name (`SIGKILL`).
        signal: String,
    },
    /// Makes all processes of a container stand still, until it is unpaused or ends.
    PauseContainer {
        /// Name on the host.
        name: String,
    },
    /// Lets the processes of a paused container run on.
    UnpauseContainer {
        /// Name on the host.
        name: String,
    },
    /// Removes everything of a container that does not run; volumes stay.
    RemoveContainer {
        /// Name on the host.
        name: String,
    },
    /// Removes what a crash left.
    RemoveLeftover(Leftover),
    /// Takes one name from an image that stays.
    UntagImage {
        /// The name, as people write it.
        name: String,
        /// The image it means.
        id: String,
    },
    /// Removes an image that no container was made from, with its names and what no other image
    /// shares with it.
    RemoveImage {
        /// Digest of its config.
        id: String,
        /// All names it has.
        names: Vec<String>,
    },
    /// Removes what was begun in the image store and not finished, and what no image needs.
    SweepStore,
}

impl Action {
    /// What is done, in one word that does not change between versions (`create_container`).
    pub fn verb(&self) -> &'static str {
        match self {
            Action::PullImage { .. } => "pull_image",
            Action::CreateNetwork(_) => "create_network",
            Action::RepairNetwork(_) => "repair_network",
            Action::RemoveNetwork { .. } => "remove_network",
            Action::CreateVolume(_) => "create_volume",
            Action::RemoveVolume { .. } => "remove_volume",
            Action::CreateContainer(_) => "create_container",
            Action::UpdateContainer(_) => "update_container",
            Action::StartContainer { .. } => "start_container",
            Action::StartBeside { .. } => "launch_container",
            Action::AwaitStable { .. } => "prove_container",
            Action::TakeOver { .. } => "promote_container",
            Action::Watch { .. } => "watch_container",
            Action::Admit { .. } => "admit_container",
            Action::Conclude { .. } => "conclude_rollout",
            Action::Drain { .. } => "drain_container",
            Action::HoldPorts { .. } => "hold_container",
            Action::ReleasePorts { .. } => "release_container",
            Action::AdoptContainer { .. } => "adopt_container",
            Action::AwaitContainer { .. } => "await_container",
            Action::StopContainer { .. } => "stop_container",
            Action::SignalContainer { .. } => "signal_container",
            Action::PauseContainer { .. } => "pause_container",
            Action::UnpauseContainer { .. } => "unpause_container",
            Action::RemoveContainer { .. } => "remove_container",
            Action::RemoveLeftover(_) => "remove_leftover",
            Action::UntagImage { .. } => "untag_image",
            Action::RemoveImage { .. } => "remove_image",
            Action::SweepStore => "sweep_store",
        }
    }

    /// Whether a container runs by it that did not before.
    pub(crate) fn is_start(&self) -> bool {
        matches!(self, Action::StartContainer { .. } | Action::StartBeside { .. })
    }

    /// The description that a container gets by it.
    pub(crate) fn record(&self) -> Option<&ContainerRecord> {
        match self {
            Action::CreateContainer(record) | Action::UpdateContainer(record) => Some(record),
            _ => None,
        }
    }

    /// How many of the steps it waits for may fail, if it is not to be done when more do.
    pub(crate) fn may_fail(&self) -> Option<u32> {
        match self {
            Action::Admit { may_fail, .. } | Action::Conclude { may_fail, .. } => Some(*may_fail),
            _ => None,
        }
    }

    /// What kind of thing it is done to.
    pub fn object(&self) -> Object<'_> {
        match self {
            Action::PullImage { .. } | Action::UntagImage { .. } | Action::RemoveImage { .. } => {
                Object::Image
            }
            Action::CreateNetwork(_) | Action::RepairNetwork(_) | Action::RemoveNetwork { .. } => {
                Object::Network
            }
            Action::CreateVolume(_) | Action::RemoveVolume { .. } => Object::Volume,
            Action::RemoveLeftover(leftover) => Object::Leftover(leftover),
            Action::SweepStore => Object::Store,
            Action::Conclude { .. } => Object::Rollout,
            Action::CreateContainer(_)
            | Action::UpdateContainer(_)
            | Action::StartContainer { .. }
            | Action::StartBeside { .. }
            | Action::AwaitStable { .. }
            | Action::TakeOver { .. }
            | Action::Watch { .. }
            | Action::Admit { .. }
            | Action::Drain { .. }
            | Action::HoldPorts { .. }
            | Action::ReleasePorts { .. }
            | Action::AdoptContainer { .. }
            | Action::AwaitContainer { .. }
            | Action::StopContainer { .. }
            | Action::SignalContainer { .. }
            | Action::PauseContainer { .. }
            | Action::UnpauseContainer { .. }
            | Action::RemoveContainer { .. } => Object::Container,
        }
    }

    /// Whether it waits for something that happens by itself, and does little else.
    pub fn waits(&self) -> bool {
        matches!(
            self,
            Action::AwaitContainer { .. }
                | Action::AwaitStable { .. }
                | Action::Watch { .. }
                | Action::Admit { .. }
                | Action::Drain { .. }
                | Action::ReleasePorts { .. }
        )
    }

    /// Name of the thing it is done to.
    pub fn target(&self) -> String {
        match self {
            Action::PullImage { reference, .. } => reference.clone(),
            Action::CreateNetwork(record) | Action::RepairNetwork(record) => record.name.clone(),
            Action::CreateVolume(record) => record.name.clone(),
            Action::CreateContainer(record) | Action::UpdateContainer(record) => {
                record.name.clone()
            }
            Action::RemoveNetwork { name }
            | Action::RemoveVolume { name }
            | Action::StartContainer { name }
            | Action::StartBeside { name }
            | Action::AwaitStable { name, .. }
            | Action::TakeOver { name, .. }
            | Action::Watch { name, .. }
            | Action::Admit { name, .. }
            | Action::Drain { name, .. }
            | Action::HoldPorts { name, .. }
            | Action::ReleasePorts { name, .. }
            | Action::AdoptContainer { name }
            | Action::AwaitContainer { name, .. }
            | Action::StopContainer { name, .. }
            | Action::SignalContainer { name, .. }
            | Action::PauseContainer { name }
            | Action::UnpauseContainer { name }
            | Action::RemoveContainer { name } => name.clone(),
            Action::RemoveLeftover(leftover) => leftover.name().to_string(),
            Action::UntagImage { name, .. } => name.clone(),
            Action::RemoveImage { id, names } => names.first().unwrap_or(id).clone(),
            Action::SweepStore => "images".to_string(),
            Action::Conclude { service, .. } => service.clone(),
        }
    }
}

/// What an action is done to: things of different kinds may have the same name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Object<'a> {
    /// An image.
    Image,
    /// A network.
    Network,
    /// A volume.
    Volume,
    /// A container.
    Container,
    /// The rollout of a service.
    Rollout,
    /// What a crash left half made.
    Leftover(&'a Leftover),
    /// The image store.
    Store,
}

/// A duration as seconds in JSON.
pub(crate) mod seconds {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(d: &Option<Duration>, s: S) -> Result<S::Ok, S::Error> {
        match d {
            Some(d) => s.serialize_some(&d.as_secs_f64()),
            None => s.serialize_none(),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        d: D,
    ) -> Result<Option<Duration>, D::Error> {
        Ok(Option::<f64>::deserialize(d)?.map(Duration::from_secs_f64))
    }
}
