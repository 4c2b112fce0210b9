//! Names inside containers.
//!
//! Every container asks [`SERVER`], as it would under Docker. Whoever keeps the container
//! listens on high ports of that address in the container's namespace, and [`redirect`] leads
//! port 53 there, so that a name server in the container can still have port 53 of its own.
//!
//! Nothing here sends or waits: [`answer`] says what becomes of a message, and for what another
//! server has to be asked, [`outgoing`], [`fit`] and [`returning`] make and check the messages.
//! Nothing is remembered between questions, so nothing that a server says is believed later.

mod forward;
mod query;
mod redirect;
mod resolv;
#[cfg(test)]
mod tests;
mod zone;

pub use forward::{Fit, Secret, fit, is_refusal, is_truncated, outgoing, returning};
pub use query::{Transport, UDP_MAX};
pub use redirect::{SERVER, redirect};
pub use resolv::{NameServer, ResolvConf};
pub use zone::{Answer, Zone, answer, failure};
