//! The words on a monitor's socket: JSON lines, and frames once a client is attached.
//!
//! A client sends one [`Request`] as a line and gets one [`Reply`] as a line. After
//! [`Request::Subscribe`] a further line comes with each change. After [`Request::Attach`] both
//! sides send [`Frame`]s.

use serde::{Deserialize, Serialize};

use berth_planner::desired::PortSpec;

use crate::bundle::{Cgroup, Restart, Status};

/// Bytes of the longest line and of the longest frame's content.
pub(super) const LONGEST: usize = 64 * 1024;

/// What a client asks for. A monitor of another version refuses what it does not know, to the last
/// field: it would be done by half.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "request", deny_unknown_fields)]
pub enum Request {
    /// The status, once.
    Status,
    /// The status now and at each change.
    Subscribe,
    /// End the container for good. The answer comes when it has ended; the monitor ends then.
    Stop {
        /// Milliseconds until SIGKILL; `None` takes the container's own.
        grace_ms: Option<u64>,
        /// The user wants it to stay stopped.
        hold: bool,
    },
    /// Send a signal to the container's first process.
    Signal {
        /// Its number.
        number: i32,
    },
    /// Output from now on, and input.
    Attach,
    /// Stop all its processes where they are, until this connection says [`Request::Thaw`] or
    /// ends. They stand a moment after the answer.
    Freeze,
    /// Let them run on. Refused when they did before, because the container was to end.
    Thaw,
    /// Stop all its processes where they are, until [`Request::Unpause`], its end, or a signal
    /// that ends it. It stays so when this connection ends, and under a new monitor.
    Pause,
    /// Let a paused one run on.
    Unpause,
    /// Other limits, another restart policy, other links, names and ports, another upkeep from now
    /// on. They are in the kernel and written down, or nothing of them is.
    Update {
        /// The limits; where the group is, and its devices, stay.
        cgroup: Box<Cgroup>,
        /// When it is started again.
        restart: Restart,
        /// Other links, names and ports as well, as a fresh start would have them: those in
        /// `wiring.json`. They may be longer than a line.
        #[serde(default)]
        rewire: bool,
        /// Another upkeep as well: that in `upkeep.json`. A monitor of before refuses it.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        keep: bool,
    },
    /// Take ports and names over from another container of this host, for which it was started beside.
    TakeOver {
        /// Its name.
        from: String,
    },
    /// The sockets that reserve its ports, for the monitor of the container that takes over. They
    /// follow the answer.
    HandOver,
    /// That has taken over: it serves no more.
    Taken,
    /// Size of the terminal.
    Resize {
        /// Lines.
        rows: u16,
        /// Characters in a line.
        columns: u16,
    },
}

/// What the monitor answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "reply")]
pub enum Reply {
    /// The status.
    Status(Box<Status>),
    /// It is done.
    Done,
    /// Ports that are reserved; their sockets follow.
    Ports {
        /// All of them.
        ports: Vec<PortSpec>,
        /// For each socket the place of its port.
        sockets: Vec<usize>,
    },
    /// Frames follow.
    Attached {
        /// The container has a terminal: its output is one stream.
        tty: bool,
    },
    /// It cannot be done.
    Refused {
        /// Why.
        reason: String,
    },
}

/// A message to or from an attached client: a byte for the kind, four for the length (the highest
/// first), the content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// Bytes for the standard input; none: the input ends here.
    Input(Vec<u8>),
    /// Bytes of the standard output, or of the terminal.
    Stdout(Vec<u8>),
    /// Bytes of the standard error.
    Stderr(Vec<u8>),
    /// The container has ended with this status and is not started again. Always the last.
    Exit(i32),
}

impl Frame {
    /// Appends the bytes that stand for it.
    pub(super) fn append(&self, out: &mut Vec<u8>) {
        match self {
            Frame::Input(bytes) => append(out, 0, bytes),
            Frame::Stdout(bytes) => append(out, 1, bytes),
            Frame::Stderr(bytes) => append(out, 2, bytes),
            Frame::Exit(code) => append(out, 3, &code.to_be_bytes()),
        }
    }

    /// Takes the first whole frame from `buffer`. `Ok(None)` while it is not all there.
    ///
    /// # Errors
    /// With words, when these bytes are no frame.
    pub(super) fn take(buffer: &mut Vec<u8>) -> Result<Option<Frame>, String> {
        let Some((head, rest)) = buffer.split_at_checked(5) else { return Ok(None) };
        let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
        if length > LONGEST {
            return Err(format!("a frame of {length} bytes is too long"));
        }
        let Some(content) = rest.get(..length) else { return Ok(None) };
        let frame = match head[0] {
            0 => Frame::Input(content.to_vec()),
            1 => Frame::Stdout(content.to_vec()),
            2 => Frame::Stderr(content.to_vec()),
            3 => Frame::Exit(i32::from_be_bytes(
                content.try_into().map_err(|_| "an exit status has four bytes".to_owned())?,
            )),
            kind => return Err(format!("there is no frame of kind {kind}")),
        };
        buffer.drain(..5 + length);
        Ok(Some(frame))
    }
}

/// Appends output that may be longer than a frame.
pub(super) fn append_output(out: &mut Vec<u8>, stderr: bool, bytes: &[u8]) {
    for part in bytes.chunks(LONGEST) {
        append(out, 1 + u8::from(stderr), part);
    }
}

fn append(out: &mut Vec<u8>, kind: u8, content: &[u8]) {
    let length = u32::try_from(content.len()).unwrap_or(u32::MAX);
    out.push(kind);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(content);
}

/// A value as a line.
pub(super) fn line<T: Serialize>(value: &T) -> Vec<u8> {
    // Plain data always has a JSON form.
    let mut line = serde_json::to_vec(value).unwrap_or_default();
    line.push(b'\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_back_whole_from_pieces() {
        let frames = [
            Frame::Stdout(b"out".to_vec()),
            Frame::Stderr(vec![]),
            Frame::Exit(-1),
            Frame::Input(b"x".to_vec()),
        ];
        let mut bytes = Vec::new();
        frames.iter().for_each(|frame| frame.append(&mut bytes));
        let mut buffer = Vec::new();
        let mut back = Vec::new();
        for byte in bytes {
            buffer.push(byte);
            back.extend(Frame::take(&mut buffer).unwrap());
        }
        assert_eq!(back, frames);
        assert!(buffer.is_empty());
    }

    #[test]
    fn what_is_no_frame_is_refused_before_it_is_kept() {
        assert!(Frame::take(&mut vec![1, 0xff, 0, 0, 0]).is_err());
        assert!(Frame::take(&mut vec![9, 0, 0, 0, 0]).is_err());
        assert!(Frame::take(&mut vec![3, 0, 0, 0, 1, 7]).is_err());
    }

    #[test]
    fn requests_read_as_plain_json() {
        let stop = Request::Stop { grace_ms: None, hold: true };
        assert_eq!(line(&stop), b"{\"request\":\"stop\",\"grace_ms\":null,\"hold\":true}\n");
        let refused = Reply::Refused { reason: "no".into() };
        assert_eq!(line(&refused), b"{\"reply\":\"refused\",\"reason\":\"no\"}\n");
    }
}
