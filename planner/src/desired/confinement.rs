//! What confines a container and what it shares with others.

use serde::{Deserialize, Serialize};

use crate::seccomp::Profile;

/// What a container's root may do unless the stack says otherwise.
///
/// Docker's set without `AUDIT_WRITE`, `MKNOD` and `NET_RAW`: `ping` and low ports work through
/// settings of the container's own network namespace.
pub const DEFAULT_CAPABILITIES: [&str; 11] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

/// What confines a container beyond its capabilities.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Security {
    /// Programs cannot gain rights when they are executed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub no_new_privileges: bool,
    /// Which system calls pass.
    #[serde(default, skip_serializing_if = "Seccomp::is_builtin")]
    pub seccomp: Seccomp,
    /// The profile of AppArmor it is under, by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub apparmor: Option<String>,
    /// Nothing of `/proc` and `/sys` is hidden or write-protected.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unconfined_paths: bool,
}

impl Security {
    /// Whether the description says nothing of it.
    pub(crate) fn is_usual(&self) -> bool {
        *self == Security::default()
    }

    /// As the file would say it; a profile by its digest.
    pub(crate) fn words(&self) -> Vec<String> {
        let profile = match &self.seccomp {
            Seccomp::Builtin => None,
            Seccomp::Unconfined => Some("seccomp=unconfined".to_owned()),
            Seccomp::Profile { digest, .. } => {
                let short: String = digest.chars().take("sha256:".len() + 12).collect();
                Some(format!("seccomp={short}"))
            }
        };
        let flag = |on: bool, word: &str| on.then(|| word.to_owned());
        let all = [
            flag(self.no_new_privileges, "no-new-privileges:true"),
            profile,
            self.apparmor.as_ref().map(|name| format!("apparmor={name}")),
            flag(self.unconfined_paths, "systempaths=unconfined"),
        ];
        all.into_iter().flatten().collect()
    }
}

/// Which system calls pass.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Seccomp {
    /// Those of berth's own list.
    #[default]
    Builtin,
    /// All.
    Unconfined,
    /// Those of a profile.
    Profile {
        /// SHA-256 of its text, `sha256:…`.
        digest: String,
        /// What it says.
        profile: Box<Profile>,
    },
}

impl Seccomp {
    fn is_builtin(&self) -> bool {
        *self == Seccomp::Builtin
    }
}

/// Whose processes a container sees.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PidSpace {
    /// Its own.
    #[default]
    Own,
    /// All of the host.
    Host,
    /// Those of the named container.
    Container(String),
}

impl PidSpace {
    /// Whether the description says nothing of it.
    pub(crate) fn is_own(&self) -> bool {
        *self == PidSpace::Own
    }
}

/// Whose shared memory and message queues a container uses.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IpcSpace {
    /// Its own, nobody else's.
    #[default]
    Own,
    /// Its own, and other containers may use it too.
    Shareable,
    /// Its own, without `/dev/shm`.
    None,
    /// The host's.
    Host,
    /// Those of the named container.
    Container(String),
}

impl IpcSpace {
    /// Whether the description says nothing of it.
    pub(crate) fn is_own(&self) -> bool {
        *self == IpcSpace::Own
    }

    /// Whether another container may use it too.
    pub fn is_open(&self) -> bool {
        match self {
            IpcSpace::Own | IpcSpace::None => false,
            IpcSpace::Shareable | IpcSpace::Host | IpcSpace::Container(_) => true,
        }
    }
}
