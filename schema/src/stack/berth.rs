//! What berth adds to the specification, below `x-berth`.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::words::on_change;

/// Everything `x-berth` of a service says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Berth {
    /// How it is found out from outside whether the service can be used.
    pub ready: Option<Ready>,
    /// How long it may take to become good.
    pub deadline: Option<Duration>,
    /// What happens when it is unhealthy.
    pub on_unhealthy: OnUnhealthy,
    /// What happens when a config or secret has another content.
    pub on_change: OnChange,
    /// Whose files those in binds are.
    pub owner: Owner,
    /// All capabilities and no masks, within its user namespace.
    pub contained: bool,
}

/// A probe that needs nothing in the image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ready {
    /// What is looked at.
    pub sign: ReadySign,
    /// Time between two looks; default 1 s.
    pub interval: Option<Duration>,
    /// How long one look may take; default 5 s.
    pub timeout: Option<Duration>,
    /// Time in which failures do not count; default 0 s.
    pub start_period: Option<Duration>,
    /// Failures in a row after which it is unhealthy; default 30.
    pub retries: Option<u32>,
}

/// What shows that a service can be used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReadySign {
    /// A port takes connections.
    Tcp(u16),
    /// A page answers.
    Http {
        /// Port in the container.
        port: u16,
        /// Path with query, starts with `/`.
        path: String,
        /// The status it answers with; `None` is any of 200…399.
        status: Option<u16>,
    },
    /// A line of its output matches this regular expression; it counts until the container ends.
    Log(String),
}

/// What happens to a container that is unhealthy.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnUnhealthy {
    /// It is shown, no more.
    #[default]
    None,
    /// It is restarted.
    Restart,
}

/// What happens to a container when one of its configs, secrets or mounted files has another content. As text it is as
/// in the file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum OnChange {
    /// It sees the new content.
    None,
    /// It sees the new content, and its first process gets this signal.
    Signal(String),
    /// It ends, and starts with the new content.
    Restart,
    /// Another one is made.
    #[default]
    Replace,
}

impl OnChange {
    /// Whether it is the usual one.
    pub fn is_usual(&self) -> bool {
        *self == OnChange::Replace
    }
}

impl From<OnChange> for String {
    fn from(on_change: OnChange) -> String {
        match on_change {
            OnChange::None => "none".to_owned(),
            OnChange::Signal(name) => format!("signal:{name}"),
            OnChange::Restart => "restart".to_owned(),
            OnChange::Replace => "replace".to_owned(),
        }
    }
}

impl TryFrom<String> for OnChange {
    type Error = String;

    fn try_from(text: String) -> Result<OnChange, String> {
        on_change(&text).map_err(|bad| format!("`{text}` {}", bad.why))
    }
}

/// Whose files those in binds are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Owner {
    /// Owners on disk are those the container sees.
    #[default]
    Container,
    /// The container's user is the user of the host who runs the stack.
    Host,
}
