//! What this host can and cannot do, read from `/proc` and `/sys` without changing anything.
//!
//! [`facts`] looks, [`judge`] says what it means; so every verdict is tested on written facts.

mod advice;
mod facts;
mod judge;
mod network;
mod store;
mod traffic;

pub(crate) use facts::Facts;
pub(crate) use judge::{Finding, Verdict, judge};
pub(crate) use store::judge_store;
pub(crate) use traffic::hindrances;
