//! Hooks of a file that describes devices: programs that run at the start and the end of a
//! container, as the OCI runtime specification has them (`config.md`, "POSIX-platform Hooks").

use serde::{Deserialize, Serialize};

use super::{LONGEST, MOST, first_line, path_of, variables};

/// Seconds that a hook may take at most, and what it gets without a limit of its own.
const LONGEST_RUN: u64 = 120;
const USUAL_RUN: u64 = 60;

/// When a hook runs, and where: in the order of a container's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Moment {
    /// On the host, when the container has its mounts; the old name of the next.
    Prestart,
    /// On the host, when the container has its mounts.
    CreateRuntime,
    /// A program of the host in the container's namespaces, before its root is the only one.
    CreateContainer,
    /// A program of the container, as its own is.
    StartContainer,
    /// On the host, when its program runs.
    Poststart,
    /// On the host, when it has ended.
    Poststop,
}

impl Moment {
    /// Its name in files.
    pub fn word(self) -> &'static str {
        match self {
            Moment::Prestart => "prestart",
            Moment::CreateRuntime => "createRuntime",
            Moment::CreateContainer => "createContainer",
            Moment::StartContainer => "startContainer",
            Moment::Poststart => "poststart",
            Moment::Poststop => "poststop",
        }
    }

    /// Whether its program is one of the host.
    pub fn is_of_the_host(self) -> bool {
        self != Moment::StartContainer
    }

    /// Whether it has the rights of the host's root, not those of the container: without a user
    /// namespace one that runs before the container's root is the only one has them too.
    pub fn has_the_host(self, userns: bool) -> bool {
        match self {
            Moment::StartContainer => false,
            Moment::CreateContainer => !userns,
            _ => true,
        }
    }
}

/// A program that runs once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CdiHook {
    /// When.
    pub moment: Moment,
    /// The program.
    pub path: String,
    /// Its arguments, the first of which is what it is called.
    pub args: Vec<String>,
    /// Its variables, complete.
    pub env: Vec<String>,
    /// Seconds it may take.
    pub seconds: u64,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct RawHook {
    hook_name: String,
    pub(super) path: String,
    #[serde(default)]
    args: Vec<String>,
    #[serde(default)]
    env: Vec<String>,
    timeout: Option<u64>,
}

impl RawHook {
    pub(super) fn checked(&self) -> Result<CdiHook, String> {
        let name =
            serde::de::value::StrDeserializer::<serde::de::value::Error>::new(&self.hook_name);
        let Ok(moment) = Moment::deserialize(name) else {
            return Err(format!("`{}` is no time for a hook", first_line(&self.hook_name)));
        };
        let odd = |word: &&String| word.len() > LONGEST || word.contains('\0');
        if self.args.len() > MOST || self.args.iter().any(|word| odd(&word)) {
            return Err(format!("its hook `{}` has too long arguments", first_line(&self.path)));
        }
        let path = path_of(&self.path)?;
        let args = if self.args.is_empty() { vec![path.clone()] } else { self.args.clone() };
        match self.timeout.unwrap_or(USUAL_RUN) {
            seconds @ 1..=LONGEST_RUN => {
                Ok(CdiHook { moment, path, args, env: variables(&self.env)?, seconds })
            }
            other => Err(format!(
                "its hook `{path}` may take {other} s, and 1 to {LONGEST_RUN} can be had"
            )),
        }
    }
}
