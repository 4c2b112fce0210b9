//! Port 53 of the resolver's address, led to where it really listens.

use std::net::Ipv4Addr;
use std::os::fd::BorrowedFd;

use crate::error::Result;
use crate::nft::{BaseChain, Batch, Family, Hook, Rule, Table};

/// The address every container asks for names.
pub const SERVER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 11);

const PORT: u16 = 53;
const TCP: u8 = 6;
const UDP: u8 = 17;
const TABLE: Table = Table { family: Family::Ip, name: "berth" };
const ASKING: BaseChain =
    BaseChain { name: "asking", kind: "nat", hook: Hook::Output, priority: -100 };

/// Leads port 53 of [`SERVER`] to these ports of it, in `netns`, and no longer to where it led
/// before. Answers come from port 53 again, since the kernel translates a flow in both directions.
///
/// # Errors
/// The kernel refuses; then everything is as before.
pub fn redirect(netns: BorrowedFd<'_>, udp_port: u16, tcp_port: u16) -> Result<()> {
    let mut batch = Batch::new(TABLE);
    // Deleting needs something to delete.
    batch.add_table("", false);
    batch.delete_table();
    batch.add_table("names", true);
    batch.add_base_chain(ASKING);
    for (protocol, port) in [(UDP, udp_port), (TCP, tcp_port)] {
        let rule = Rule::new("names are asked here")
            .if_to_ipv4(SERVER.octets())
            .if_to_port(protocol, PORT)
            .destination_ipv4(SERVER.octets(), port);
        batch.add_rule(ASKING.name, rule);
    }
    Ok(batch.commit_inside(netns)?)
}
