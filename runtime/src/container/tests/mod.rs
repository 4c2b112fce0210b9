//! Containers really started: as root, each in a process of its own.

mod fixture;
mod start;

use fixture::{Box, alone};
