//! The link groups of our bridges, by which packet rules know them.
//!
//! A group is a number at a link (`group` in ip-link(8)) that nobody but the host's owner sets. To
//! compare it costs a packet next to nothing, where the name of a link is copied, hashed and looked
//! up in a set. So each packet is asked for groups, and the first of a flow for names.
//!
//! A group is no proof: bridges of older versions have none, and the owner may set another. What
//! goes by it alone has to be closed without: a packet to such a bridge lacks the mark that the
//! second wall asks for. [`restore`] puts it right, before the rules and whenever somebody looks.

use netlink_sys::protocols::NETLINK_ROUTE;

use crate::bridge::MARK;
use crate::error::{Result, refused};
use crate::firewall::Network;
use crate::netlink::{Channel, attributes, refusal};
use crate::nft::Attributes;

/// The group of our bridges.
pub const BRIDGES: u32 = u32::from_be_bytes(*b"bert");
/// The group of those of internal networks: the same but for the last bit.
pub const INTERNAL: u32 = BRIDGES | 1;
/// The bits that both have in common.
pub(crate) const EITHER: u32 = !1;
/// The group of bridges that have no alias yet.
pub const HALF_MADE: u32 = u32::from_be_bytes(*b"berh");
/// The same in versions that knew no other group: a bridge without an alias there was never finished.
pub(crate) const HALF_MADE_ONCE: u32 = BRIDGES;

const GET_LINK: u16 = 18;
const SET_LINK: u16 = 19;
/// `struct ifinfomsg`
const HEADER: usize = 16;
const NAME: u16 = libc::IFLA_IFNAME;
const ALIAS: u16 = libc::IFLA_IFALIAS;
const GROUP: u16 = libc::IFLA_GROUP;

/// The group that the bridge of a network is in.
#[must_use]
pub fn of(internal: bool) -> u32 {
    if internal { INTERNAL } else { BRIDGES }
}

/// Whether it is one of our bridges'.
pub(crate) fn is_ours(group: u32) -> bool {
    group & EITHER == BRIDGES & EITHER
}

/// Puts the bridges of these networks into their groups. Gives those that were not; one that is not
/// there, or has not our mark, is passed over.
///
/// # Errors
/// The kernel refuses.
pub fn restore<'a>(networks: impl IntoIterator<Item = &'a Network>) -> Result<Vec<String>> {
    let failed = || refused("open socket", "NETLINK_ROUTE");
    let mut channel = Channel::open(NETLINK_ROUTE).map_err(failed())?;
    let mut restored = Vec::new();
    for network in networks {
        let (name, wanted) = (&network.bridge, of(network.internal));
        let outcome = match look(&mut channel, name) {
            Ok(Some((index, group))) if group != wanted => put(&mut channel, name, index, wanted),
            Ok(_) => continue,
            Err(error) => Err(error),
        };
        match outcome {
            Ok(()) => restored.push(name.clone()),
            Err(error) if error.is_missing() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(restored)
}

/// Number and group of a bridge with our mark.
fn look(channel: &mut Channel, name: &str) -> Result<Option<(u32, u32)>> {
    let asked = Attributes::default().text(NAME, name);
    let answers = ask(channel, GET_LINK, 0, &asked).map_err(refused("find link", name))?;
    Ok(answers.iter().find_map(|body| group_of(body)))
}

fn group_of(body: &[u8]) -> Option<(u32, u32)> {
    let list = body.get(HEADER..)?;
    let found = |wanted| attributes(list).find(|(kind, _)| *kind == wanted).map(|(_, value)| value);
    let is_ours = found(ALIAS)?.starts_with(MARK.as_bytes());
    is_ours.then_some((word(body.get(4..8)?)?, word(found(GROUP)?)?))
}

/// By its number: with a name that is gone, older kernels would do it to a whole group.
fn put(channel: &mut Channel, name: &str, index: u32, group: u32) -> Result<()> {
    let wanted = Attributes::default().bytes(GROUP, &group.to_ne_bytes());
    ask(channel, SET_LINK, index, &wanted).map(|_| ()).map_err(refused("set group of", name))
}

/// The bodies of all that is answered.
fn ask(
    channel: &mut Channel,
    kind: u16,
    index: u32,
    asked: &Attributes,
) -> std::io::Result<Vec<Vec<u8>>> {
    let flags = (libc::NLM_F_REQUEST | libc::NLM_F_ACK) as u16;
    let len = u32::try_from(16 + HEADER + asked.as_bytes().len()).unwrap_or(u32::MAX);
    let mut request = len.to_ne_bytes().to_vec();
    request.extend(kind.to_ne_bytes());
    request.extend(flags.to_ne_bytes());
    request.extend(channel.number().to_ne_bytes());
    // The sender, then family and kind of the link.
    request.extend([0; 8]);
    request.extend(index.to_ne_bytes());
    request.extend([0; 8]);
    request.extend(asked.as_bytes());
    let answers = channel.exchange(&request)?;
    match refusal(&answers) {
        Some(refusal) => Err(refusal.errno),
        None => Ok(answers.into_iter().map(|message| message.payload).collect()),
    }
}

fn word(bytes: &[u8]) -> Option<u32> {
    bytes.try_into().ok().map(u32::from_ne_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_half_made_bridge_is_in_neither_group() {
        assert!(is_ours(of(false)) && is_ours(of(true)));
        assert!(!is_ours(HALF_MADE) && !is_ours(0) && !is_ours(BRIDGES + 2));
    }
}
