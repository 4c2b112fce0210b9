//! What a container shares with the host or with another container.

use serde::{Deserialize, Serialize};

/// How a service is connected when `networks` does not say it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NetworkMode {
    /// Loopback only.
    None,
    /// The host's own network.
    Host,
    /// The network of a service of the stack.
    Service(String),
    /// The network of a container by name.
    Container(String),
}

/// Whose processes a container sees.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PidMode {
    /// Its own.
    #[default]
    Private,
    /// All of the host.
    Host,
    /// Those of a service of the stack.
    Service(String),
    /// Those of a container by name.
    Container(String),
}

/// Whose shared memory and message queues a container uses.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IpcMode {
    /// Its own, nobody else's.
    #[default]
    Private,
    /// Its own, and others may use it too.
    Shareable,
    /// Its own, without `/dev/shm`.
    None,
    /// The host's.
    Host,
    /// Those of a service of the stack.
    Service(String),
    /// Those of a container by name.
    Container(String),
}

/// Whose host name a container has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UtsMode {
    /// Its own.
    #[default]
    Private,
    /// The host's.
    Host,
}

/// Which cgroups a container sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CgroupMode {
    /// Its own as the root.
    Private,
    /// All of the host.
    Host,
}

/// Whose user ids a container has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UsernsMode {
    /// Its own, where the host and the rest of the service allow it.
    #[default]
    Private,
    /// The host's.
    Host,
}
