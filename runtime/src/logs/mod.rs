//! What containers wrote: kept by the monitor, read by everybody else.
//!
//! A container's output is in `logs/` of its durable folder: `current`, and behind it `current.1`,
//! `current.2`, … as it was rotated. The format is lines that `grep` and `tail` understand:
//!
//! ```text
//! 2026-11-21T10:00:00.123456789Z stdout F a whole line
//! 2026-11-21T10:00:00.123456789Z stderr P the first part of a line that goes on
//! ```
//!
//! Reading order: [`format`](self) (a line and its text), [`writer`] (the monitor's side), [`forward`]
//! (besides to the journal or a syslog server), [`reader`] and [`follow`] (the other side), [`merge`]
//! and [`sanitize`] for who shows them.

mod follow;
mod format;
mod forward;
mod merge;
mod reader;
mod sanitize;
mod splitter;
#[cfg(test)]
pub(crate) mod testing;
mod writer;

pub use follow::Follow;
pub use format::{LogLine, Stream};
pub use forward::Forward;
pub(crate) use forward::{JOURNAL, LOCAL as LOCAL_SYSLOG};
pub use merge::{Merge, merge};
pub use reader::{Lines, LogQuery, read};
pub use sanitize::sanitize;
pub use writer::Writer;

/// Name of the file that is written now.
const CURRENT: &str = "current";

/// Bytes of a line that are kept together.
pub const MAX_LINE: usize = 64 * 1024;
/// How many of the last lines are told of what failed.
pub const LAST_LINES: usize = 20;

/// Name of the file that was rotated `n` times; 0 is the one that is written now.
fn file_name(n: u32) -> String {
    if n == 0 { CURRENT.to_owned() } else { format!("{CURRENT}.{n}") }
}
