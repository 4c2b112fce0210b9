//! Names inside containers.
//!
//! Every container asks [`SERVER`], as it would under Docker. Whoever keeps the container
//! listens on high ports of that address in the container's namespace, and [`redirect`] leads
//! port 53 there, so that a name server in the container can still have port 53 of its own.

mod redirect;

pub use redirect::{SERVER, redirect};
