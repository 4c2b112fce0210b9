//! Containers really started: as root, each in a process of its own.

mod controls;
mod fixture;
mod joins;
mod mounts;
mod start;

use fixture::{Ended, Sandbox, alone, ended};
