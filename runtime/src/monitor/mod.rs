//! One monitor per container: the parent of its first process, for as long as it lives.
//!
//! A monitor is a single thread that waits in one poll(2): for the end of the container, for its
//! output, for names it asks for, for clients, for the next probe. It starts the container again
//! where the file says so, writes `status.json` at each change, takes everything away when the
//! container has ended for good, and ends itself.
//!
//! Architecture invariant: nothing is lost with a monitor but its own memory. The container and
//! its published ports live on, its output waits in the FIFOs, and a new monitor goes on from
//! `bundle.json` and `status.json`.

pub mod client;
mod protocol;

pub use protocol::Frame;

/// Locked exclusively for as long as a monitor lives.
const LOCK: &str = "lock";
/// The control socket.
const SOCKET: &str = "sock";
