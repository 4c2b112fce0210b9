//! Ways to look at a plan and at a stack, for people and for programs that draw: plain text made of
//! plain values, byte for byte the same for the same input.
//!
//! [`page`] is what `plan` shows, [`ops`] has the steps by number, [`graph`] draws them, [`diff`] sets
//! what was applied beside what is wanted, [`models`] one model beside another, [`why`] tells all
//! there is about one service, and [`stack`] shows the file itself. No value that a plan hides is in
//! any of them.

mod drawing;
mod hunks;
mod rows;
mod staying;

pub mod diff;
pub mod graph;
pub mod models;
pub mod ops;
pub mod page;
pub mod stack;
pub mod why;

pub use drawing::Language;
