//! Bridges, veth pairs, addresses, routes, packet rules and names, by netlink alone.
//!
//! Architecture invariant: knows networks, links and ports, never stacks or containers. It makes
//! what it is told to make, or fails because it is there already; it decides nothing. No program
//! is run, and no table, chain, rule or link that is not ours is touched.
//!
//! Two kinds of callers, two kinds of functions: [`bridge`] is async, for the command that walks
//! a plan; everything else is synchronous and waits for nothing, for the small single-threaded
//! process that starts and keeps one container.
//!
//! Reading order: [`bridge`] (a network), [`endpoint`] (a container on it), [`firewall`] (who
//! reaches whom), [`group`] (how its rules know a bridge), [`foreign`] (what the rules of others
//! say to that), [`listening`] (who has the ports), [`dns`] (by which name), [`notices`] (what
//! others take away), [`wall`] (what holds then), then what they stand on: `nft`, `netlink`,
//! [`netns`].

pub mod beside;
pub mod bridge;
pub mod conntrack;
pub mod dns;
pub mod endpoint;
pub mod error;
pub mod firewall;
pub mod foreign;
pub mod group;
pub mod links;
pub mod listening;
mod netlink;
pub mod netns;
mod nft;
pub mod notices;
#[cfg(feature = "sabotage")]
pub mod sabotage;
mod sysctl;
pub mod wall;

pub use error::NetError;
