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
/// Where questions get another port: after all rules that the container may have of its own, which
/// see port 53 and may lead it elsewhere.
const ASKING: BaseChain =
    BaseChain { name: "asking", kind: "filter", hook: Hook::Output, priority: 300 };
/// Where answers get theirs back: before all such rules, and before the kernel knows their flow
/// (`raw`), if they make it track flows: it sees the same two ends in both directions.
const ANSWERING: BaseChain =
    BaseChain { name: "answering", kind: "filter", hook: Hook::Output, priority: -300 };

/// Leads port 53 of [`SERVER`] to these ports of it, in `netns`, and no longer to where it led
/// before. Answers come from port 53 again, and so does the word that nobody listens there.
///
/// Each packet is rewritten by itself. A translated flow would make the kernel track all flows of
/// the container, which costs every packet of it more than all rules of the host do.
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
    batch.add_base_chain(ANSWERING);
    for (protocol, port) in [(UDP, udp_port), (TCP, tcp_port)] {
        let asking = Rule::new("names are asked here")
            .if_to_loopback_link()
            .if_to_ipv4(SERVER.octets())
            .if_to_port(protocol, PORT)
            .set_to_port(protocol, port);
        batch.add_rule(ASKING.name, asking);
        let answering = Rule::new("answered from where they were asked")
            .if_to_loopback_link()
            .if_from_ipv4(SERVER.octets())
            .if_from_port(protocol, port)
            .set_from_port(protocol, PORT);
        batch.add_rule(ANSWERING.name, answering);
    }
    let refusing = Rule::new("nobody answers where they were asked")
        .if_to_loopback_link()
        .if_from_ipv4(SERVER.octets())
        .if_unreachable_udp_port(udp_port)
        .set_unreachable_port(PORT);
    batch.add_rule(ANSWERING.name, refusing);
    Ok(batch.commit_inside(netns)?)
}
