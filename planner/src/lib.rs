//! Decides what must happen on the host. Does nothing itself.
//!
//! Architecture invariant: synchronous, no I/O. No clock, environment, randomness or file is
//! read here, so any decision can be tested by writing down two states and the plan that
//! should come out.
//!
//! Reading order: [`desired`] (what the files ask for), [`resolve`] (how they come to it),
//! [`observed`] (what the host has), [`action`] (the smallest changes), [`plan`] (the graph of
//! them with [`cause`]s), [`up`] and [`down`] (how it is made), [`walk`] (its order in parallel).
//! [`text`] and [`views`] show a plan to people. Images: [`pull`] (which are fetched first), [`lock`] (which digest they have to have),
//! [`outdated`] (what is behind). Saved plans: [`basis`] (what one rests on). History: [`generation`] (what was applied). Runs: [`ran`] (what took how long), [`ready`] (what a stack that is up is to reach). Rights: [`policy`] (what a stack is given beyond the defaults).

pub mod action;
pub mod backing;
pub mod basis;
pub mod bound;
pub mod bridge;
pub mod cause;
pub mod cdi;
pub mod class;
pub mod desired;
mod diff;
pub mod down;
mod gate;
pub mod generation;
pub mod hidden;
pub mod hold;
pub mod images;
pub mod ipam;
pub mod lifecycle;
pub mod links;
pub mod lock;
pub mod loss;
pub mod observed;
mod order;
mod orphan;
pub mod outdated;
pub mod pause;
pub mod plan;
pub mod policy;
pub mod problem;
pub mod prune;
mod publish;
pub mod pull;
pub mod ran;
pub mod ready;
pub mod remove;
pub mod resolve;
pub mod rollback;
pub mod rollout;
pub mod room;
pub mod run;
pub mod seccomp;
pub mod text;
pub mod unfit;
pub mod up;
pub mod views;
pub mod walk;

pub use down::{DownOptions, Known, down};
pub use lifecycle::{RestartOptions, RmOptions, kill, restart, rm, start, stop};
pub use plan::{Plan, Step, StepId};
pub use problem::{PlanProblem, PlanProblems};
pub use pull::pulls;
pub use remove::{remove_container, remove_volumes};
pub use resolve::{Inputs, ResolveProblem, resolve};
pub use run::{RunOptions, run};
pub use up::{UpOptions, up};
pub use walk::Walk;
