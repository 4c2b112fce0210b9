//! What the planner promises, tried from outside: plans as text, and laws that hold for every
//! stack on a host that is a plain value.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod checker;
mod commands;
mod drawings;
mod files;
mod host;
mod laws;
mod locks;
mod plans;
mod resolving;
mod rolling;
mod stacks;
mod unfit;
mod ways_back;
