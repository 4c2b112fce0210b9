//! How output is kept.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// How output is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Logging {
    /// Where it goes.
    pub driver: LogDriver,
    /// Size in bytes at which a file is rotated.
    pub max_size: u64,
    /// How many files are kept.
    pub max_files: u32,
    /// Where lines go besides the files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forwarding: Option<Box<Forwarding>>,
    /// Options of the drivers that berth does not have.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub options: BTreeMap<String, String>,
}

/// Where output goes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogDriver {
    /// Files beside the container's state.
    #[default]
    Local,
    /// The same; people know it under this name.
    JsonFile,
    /// Nowhere.
    None,
    /// The journal of systemd.
    Journald,
    /// A syslog server.
    Syslog,
    /// A Graylog server.
    Gelf,
    /// A fluentd server.
    Fluentd,
    /// Amazon `CloudWatch`.
    Awslogs,
    /// Google Cloud.
    Gcplogs,
    /// A Splunk server.
    Splunk,
}

/// What the drivers `journald` and `syslog` are told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forwarding {
    /// Who gets the lines.
    pub to: ForwardTo,
    /// What the lines are marked with.
    pub tag: Vec<TagPart>,
    /// Bytes that wait for the destination before lines are dropped (`mode: non-blocking`); without
    /// it, the container waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drop_over: Option<u64>,
    /// No files are kept besides (`cache-disabled`).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub no_files: bool,
    /// Labels that go along.
    #[serde(default, skip_serializing_if = "Chosen::is_empty")]
    pub labels: Chosen,
    /// Variables that go along.
    #[serde(default, skip_serializing_if = "Chosen::is_empty")]
    pub env: Chosen,
}

/// Who gets the lines of a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ForwardTo {
    /// The journal of systemd on this host.
    Journal,
    /// A syslog server.
    Syslog(Syslog),
}

/// A syslog server and how it is spoken to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Syslog {
    /// Where it is.
    pub address: SyslogAddress,
    /// 0…23, RFC 5424 section 6.2.1.
    pub facility: u8,
    /// The form of its lines.
    pub format: SyslogFormat,
}

/// Where a syslog server is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SyslogAddress {
    /// `/dev/log`, or where else this host has it.
    #[default]
    Local,
    /// A stream socket.
    Unix(PathBuf),
    /// A datagram socket.
    Unixgram(PathBuf),
    /// Host (a name or an address) and port.
    Udp(String, u16),
    /// Host (a name or an address) and port.
    Tcp(String, u16),
}

/// The form of lines for a syslog server.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SyslogFormat {
    /// RFC 3164 without the name of the host, as a local server takes it.
    #[default]
    Unix,
    /// RFC 3164.
    Rfc3164,
    /// RFC 5424, times in seconds.
    Rfc5424,
    /// RFC 5424, times in microseconds.
    Rfc5424micro,
}

/// Which labels or variables are chosen.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chosen {
    /// Those of these names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<String>,
    /// Those whose name this regular expression finds something in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pattern: Option<String>,
}

impl Chosen {
    /// Nothing is chosen.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty() && self.pattern.is_none()
    }
}

/// A part of what the lines of a container are marked with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TagPart {
    /// Itself.
    Text(String),
    /// The first 12 digits of the container's id.
    Id,
    /// All of the id.
    FullId,
    /// The container's name.
    Name,
    /// The image as the file has it.
    ImageName,
    /// The first 12 digits of the image's id.
    ImageId,
    /// All of that id, `sha256:…`.
    ImageFullId,
    /// `berth`.
    DaemonName,
    /// Name of the host.
    Hostname,
    /// What runs in the container.
    Command,
    /// All chosen labels and variables.
    Extra,
    /// One of them.
    ExtraOf(String),
}

impl Default for Logging {
    fn default() -> Self {
        Logging {
            driver: LogDriver::Local,
            max_size: 10 << 20,
            max_files: 3,
            forwarding: None,
            options: BTreeMap::new(),
        }
    }
}
