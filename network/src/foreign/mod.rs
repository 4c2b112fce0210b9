//! Packet rules of others on this host, read and never changed, and what they do to a packet.
//!
//! An accept of ours never overrules a drop of theirs, so who wants to know whether a published
//! port can be reached has to read them: [`read`] gives those of nftables, what `iptables-nft` keeps
//! there included, and [`judge`] follows one packet, described by [`Story`],
//! through them. Everything read is data: bounded, never run, and what is not understood is told
//! as such, never guessed. [`reach`] asks that for every way to a published port, [`within`] and
//! [`outward`] for what containers open themselves.

mod dump;
mod evaluate;
mod expression;
mod inside;
mod packet;
mod reach;
mod register;
mod ruleset;
mod sets;
mod story;
mod text;
mod xtables;

pub use dump::read;
pub use inside::{outward, within};
pub use reach::{Scope, Way, reach};
pub use ruleset::{Hook, Ruleset};
pub use story::{Answer, Obstacle, ObstacleRule, Reason, Story, judge};

#[cfg(test)]
mod tests;
