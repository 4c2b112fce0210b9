//! Decides what must happen on the host. Does nothing itself.
//!
//! Architecture invariant: synchronous, no I/O. No clock, environment, randomness or file is
//! read here, so any decision can be tested by writing down two states and the plan that
//! should come out.
//!
//! Reading order: [`desired`] (what the files ask for), [`observed`] (what the host has),
//! [`action`] (the smallest changes), `plan` (the graph of them with causes), `walk` (their
//! order in parallel).

pub mod action;
pub mod desired;
pub mod observed;
