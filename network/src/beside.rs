//! Networks beside a link of the host: macvlan and ipvlan.
//!
//! The link is the host's own and stays as it is, but for two that are made when they are
//! missing: a VLAN (`eth0.10`), and for a network without a parent one that leads nowhere
//! (a dummy). These bear our mark as their alias, and until they have it are in the link group of
//! half made bridges.

use std::collections::BTreeSet;

use berth_schema::stack::{Beside, IpvlanFlag, IpvlanMode, MacvlanMode, Way};
use netlink_packet_route::link::{
    IpVlanFlags, IpVlanMode, LinkAttribute, LinkMessage, MacVlanMode,
};
use rtnetlink::{Handle, LinkDummy, LinkIpVlan, LinkMacVlan, LinkUnspec, LinkVlan};

use crate::bridge::{answered, index_of, remove};
use crate::endpoint;
use crate::error::{NetError, Result};
use crate::group::HALF_MADE;
use crate::links::Link;

/// What the alias of a link of ours begins with; the rest is chosen by who made it.
const MARK: &str = "berth-link:";

/// The links of the host that such networks have to do with.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Links {
    /// Made by us, with the rest of their marks; it is empty for one that was cut off.
    pub ours: Vec<(String, String)>,
    /// Those of the asked ones that are there.
    pub there: BTreeSet<String>,
}

/// Those of these links that are ours, and which of `asked` are there.
#[must_use]
pub fn among(links: &[Link], asked: &BTreeSet<String>) -> Links {
    let mut own: Vec<(String, String)> = links.iter().filter_map(ours).collect();
    own.sort();
    let names = links.iter().flat_map(Link::names);
    Links { ours: own, there: names.filter(|name| asked.contains(*name)).cloned().collect() }
}

/// Makes what is missing of the link that a network stands beside, `own` when that is to be one
/// that leads nowhere, and tries whether something can stand there. A failure takes away what was
/// made.
///
/// # Errors
/// There is no such link, or the kernel refuses.
pub async fn create(netlink: &Handle, beside: &Beside, own: &str, id: &str) -> Result<()> {
    let parent = beside.parent.as_deref().unwrap_or(own);
    let made = make(netlink, beside, parent).await?;
    let outcome = match made {
        true => finish(netlink, parent, id).await,
        false => Ok(()),
    };
    let outcome = match outcome {
        Ok(()) => stands(netlink, parent, beside.way).await,
        failed => failed,
    };
    if outcome.is_err() && made {
        // The first error is the one to tell; what could not be removed is observed later.
        let _ = remove(netlink, parent).await;
    }
    outcome
}

/// Makes the link if it has to be made, in the group of half made ones, and says whether it was.
async fn make(netlink: &Handle, beside: &Beside, parent: &str) -> Result<bool> {
    let half_made = LinkAttribute::Group(HALF_MADE);
    let link = match (&beside.parent, beside.vlan()) {
        (None, _) => LinkDummy::new(parent).append_extra_attribute(half_made).build(),
        (Some(_), vlan) => match (index_of(netlink, parent).await, vlan) {
            (Ok(_), _) => return Ok(false),
            (Err(error), Some((base, number))) if error.is_missing() => {
                let base = index_of(netlink, base).await.map_err(|error| no_parent(error, base))?;
                let vlan = LinkVlan::new(parent, base, number);
                vlan.append_extra_attribute(half_made).build()
            }
            (Err(error), _) => return Err(no_parent(error, parent)),
        },
    };
    let added = netlink.link().add(link).execute().await;
    added.map_err(|error| unknown(answered("add link", parent)(error)))?;
    Ok(true)
}

async fn finish(netlink: &Handle, name: &str, id: &str) -> Result<()> {
    let change = |message| netlink.link().change(message).execute();
    let whole = LinkAttribute::Group(0);
    let mark = LinkUnspec::new_with_name(name).alias(format!("{MARK}{id}"));
    change(mark.append_extra_attribute(whole).build())
        .await
        .map_err(answered("set alias of", name))?;
    // The host itself has no addresses on it.
    crate::sysctl::set_ipv6(&format!("ipv6/conf/{name}/disable_ipv6"), "1")?;
    change(LinkUnspec::new_with_name(name).up().build()).await.map_err(answered("set up", name))
}

/// Tries whether something can stand beside the link: another kind there, a link that cannot, or
/// a kernel without it are told when the network is made, not when its first container starts.
async fn stands(netlink: &Handle, parent: &str, way: Way) -> Result<()> {
    let index = index_of(netlink, parent).await?;
    let name = endpoint::near_end_name()?;
    let mut attempts = endpoint::ATTEMPTS;
    loop {
        let added = netlink.link().add(beside(&name, index, way)).execute().await;
        match added.map_err(answered("add a link beside", parent)) {
            Err(error) if is_taken(&error) && attempts > 0 => {
                attempts -= 1;
                tokio::time::sleep(endpoint::PAUSE).await;
            }
            added => {
                added.map_err(unknown)?;
                return remove(netlink, &name).await;
            }
        }
    }
}

/// The module of a kind of link is about to be there.
pub(crate) fn is_loading(error: &NetError) -> bool {
    error.errno() == Some(libc::EOPNOTSUPP)
}

/// Somebody stands there whom this excludes. It may have ended: after a crash the kernel takes a
/// namespace and its links away in the background.
pub(crate) fn is_taken(error: &NetError) -> bool {
    matches!(error.errno(), Some(libc::EBUSY | libc::EINVAL))
}

/// The link of a container, or one to try, beside that of this index.
pub(crate) fn beside(name: &str, parent: u32, way: Way) -> LinkMessage {
    match way {
        Way::Macvlan(mode) => LinkMacVlan::new(name, parent, macvlan(mode)).build(),
        Way::Ipvlan(mode, flag) => {
            LinkIpVlan::new(name, parent, ipvlan(mode)).flag(ipvlan_flags(flag)).build()
        }
    }
}

/// A kernel that does not know a kind of link says so in few words.
pub(crate) fn unknown(error: NetError) -> NetError {
    match error.errno() {
        Some(libc::EOPNOTSUPP) => NetError::Invalid(format!(
            "{error}: the kernel of this host has no such links (its modules macvlan, ipvlan, \
             8021q and dummy make them): install them, or use the driver `bridge`"
        )),
        Some(libc::EBUSY) => NetError::Invalid(format!(
            "{error}: something else stands on that link already, which excludes this: macvlan, \
             ipvlan and a bridge cannot share one; name another `parent`"
        )),
        Some(libc::EINVAL) => NetError::Invalid(format!(
            "{error}: somebody has that link alone (macvlan in mode `passthru`), or it is none that \
             carries frames; name another `parent`"
        )),
        _ => error,
    }
}

fn no_parent(error: NetError, name: &str) -> NetError {
    match error.is_missing() {
        true => NetError::Invalid(format!(
            "this host has no link `{name}`: `parent` is to be one that `ip link` lists, or \
             `LINK.NUMBER` for a VLAN on one"
        )),
        false => error,
    }
}

fn macvlan(mode: MacvlanMode) -> MacVlanMode {
    match mode {
        MacvlanMode::Bridge => MacVlanMode::Bridge,
        MacvlanMode::Vepa => MacVlanMode::Vepa,
        MacvlanMode::Passthru => MacVlanMode::Passthrough,
        MacvlanMode::Private => MacVlanMode::Private,
    }
}

fn ipvlan(mode: IpvlanMode) -> IpVlanMode {
    match mode {
        IpvlanMode::L2 => IpVlanMode::L2,
        IpvlanMode::L3 => IpVlanMode::L3,
        IpvlanMode::L3s => IpVlanMode::L3S,
    }
}

fn ipvlan_flags(flag: IpvlanFlag) -> IpVlanFlags {
    match flag {
        IpvlanFlag::Bridge => IpVlanFlags::empty(),
        IpvlanFlag::Private => IpVlanFlags::Private,
        IpvlanFlag::Vepa => IpVlanFlags::Vepa,
    }
}

/// Its name and the rest of its mark.
fn ours(link: &Link) -> Option<(String, String)> {
    if !matches!(link.kind.as_str(), "dummy" | "vlan") {
        return None;
    }
    let mark = match &link.alias {
        Some(alias) => alias.strip_prefix(MARK)?,
        None if link.group == HALF_MADE => "",
        None => return None,
    };
    Some((link.name.clone(), mark.to_owned()))
}
