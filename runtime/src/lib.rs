//! Observes and performs: image store, registry client, volumes, containers, monitors.
//!
//! Architecture invariant: nothing here decides. There is no `ensure_x`: an action creates, or
//! fails because its target is already there, and then the plan was stale.
//!
//! Reading order: [`paths`] (where things are), [`record`] (how they are written), [`bundle`]
//! (all a container's start needs), then the rooms.

pub mod apply;
pub mod bundle;
pub mod container;
mod holders;
pub mod host;
pub mod logs;
mod meter;
pub mod monitor;
pub mod paths;
pub mod record;
pub mod relay;
mod sabotage;
mod small;
pub mod starter;
pub mod store;
pub mod sys;

#[cfg(feature = "sabotage")]
pub use sabotage::ask as sabotaged;
