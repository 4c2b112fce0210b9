//! Where lines go besides the files.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use berth_schema::stack::SyslogFormat;
use serde::{Deserialize, Serialize};

/// Where lines go besides the files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forward {
    /// Who gets them.
    pub to: Destination,
    /// Bytes that wait before lines are dropped; `None` holds the container's output back.
    pub drop_over: Option<u64>,
}

/// Who gets the lines of a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Destination {
    /// The journal of systemd on this host.
    Journal {
        /// What every line is sent with.
        fields: BTreeMap<String, String>,
    },
    /// A syslog server.
    Syslog {
        /// Where it is; what comes first is tried first.
        peers: Vec<Peer>,
        /// 0…23.
        facility: u8,
        /// The form of the lines.
        format: SyslogFormat,
        /// Name of this host.
        hostname: String,
        /// What stands before the text.
        tag: String,
    },
}

/// A socket that lines are sent to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Peer {
    /// A datagram socket of this host.
    Unixgram(PathBuf),
    /// A stream socket of this host.
    Unix(PathBuf),
    /// Datagrams.
    Udp(SocketAddr),
    /// A stream.
    Tcp(SocketAddr),
}
