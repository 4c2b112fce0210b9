//! What confines a container beyond its capabilities.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Everything of `security_opt`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecurityOptions {
    /// Programs cannot gain rights when they are executed.
    pub no_new_privileges: bool,
    /// System calls.
    pub seccomp: Seccomp,
    /// `AppArmor`; `None` leaves it to the host.
    pub apparmor: Option<Listed<AppArmor>>,
    /// Labels of `SELinux`.
    pub selinux: Vec<Listed<SelinuxLabel>>,
    /// The paths of `/proc` and `/sys` that are hidden else are seen.
    pub unconfined_paths: bool,
}

/// An option with its place in the list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed<T> {
    /// Counted from 0.
    pub index: usize,
    /// What it says.
    pub value: T,
}

/// Which system calls are allowed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Seccomp {
    /// Those of berth's own list.
    #[default]
    Builtin,
    /// All.
    Unconfined,
    /// Those of a profile, a file of the host, absolute.
    Profile(PathBuf),
}

/// The profile of `AppArmor`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AppArmor {
    /// None.
    Unconfined,
    /// One the host has loaded, by name.
    Profile(String),
}

/// One part of a label of `SELinux`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SelinuxLabel {
    /// No confinement.
    Disable,
    /// The user.
    User(String),
    /// The role.
    Role(String),
    /// The type.
    Type(String),
    /// The level.
    Level(String),
}
