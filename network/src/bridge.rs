//! A network as the host has it: a bridge with addresses, and our mark on it.
//!
//! The mark is the link's alias, `berth:NETWORK DIGEST`: whose it is, and from which record it
//! was made; ` @REALM` follows where the name of the link does not tell of which state it is. The link is switched on last, so a bridge of ours that is up is whole. The kernel
//! takes no alias for a link that is not there yet, so until it has one a bridge is in another link
//! [`group`]: one that a crash left half made is seen as ours at any moment.

use berth_planner::observed::{NetworkRecord, Subnet};
use futures_util::TryStreamExt;
use ipnet::IpNet;
use netlink_packet_route::address::AddressHeaderFlags;
use netlink_packet_route::link::{BridgeStpState, InfoBridge, LinkAttribute, LinkMessage};
use rtnetlink::{Handle, LinkBridge, LinkUnspec};
use sha2::{Digest, Sha256};
use std::fs;

use crate::endpoint::mac_of;
use crate::error::{NetError, Result, refused};
use crate::group::{self, HALF_MADE, HALF_MADE_ONCE};
use crate::links::Link;
use crate::sysctl;

/// What an alias of ours begins with.
pub(crate) const MARK: &str = "berth:";
/// Stands in a mark before the realm, where there is one.
const OF_REALM: &str = " @";
/// Bytes an alias may have.
const ALIAS_MAX: usize = 255;

/// A bridge of ours on the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bridge {
    /// Link name.
    pub name: String,
    /// Name of the network; empty when it was cut off before it had a mark.
    pub network: String,
    /// Whose it is, where its name does not tell.
    pub realm: Option<String>,
    /// Its mark as it stands, to compare with [`mark`].
    pub mark: String,
    /// Its link group, to compare with [`group::of`].
    pub group: u32,
    /// It is switched on, so it was finished.
    pub up: bool,
    /// Its addresses with their prefix lengths.
    pub addresses: Vec<IpNet>,
}

impl Bridge {
    /// Whether it is whole and made from just this record.
    #[must_use]
    pub fn is_as(&self, record: &NetworkRecord) -> bool {
        self.up
            && self.name == record.bridge
            && self.mark == mark(record)
            && addresses(record).all(|address| self.addresses.contains(&address))
    }
}

/// Opens a netlink connection in the calling thread's namespace, served by the current tokio
/// runtime until the last handle is dropped.
///
/// # Errors
/// The kernel gives no socket.
pub fn open() -> Result<Handle> {
    let (connection, handle, _) =
        rtnetlink::new_connection().map_err(refused("open socket", "NETLINK_ROUTE"))?;
    tokio::spawn(connection);
    Ok(handle)
}

/// The mark of a network made from `record`: the alias of its bridge.
#[must_use]
pub fn mark(record: &NetworkRecord) -> String {
    // A record is strings, numbers and lists of them; it always has a JSON form.
    // What only people read of it may change while the bridge stays.
    let mut plain = record.clone();
    plain.spec.labels.clear();
    plain.spec.shared = false;
    let text = serde_json::to_vec(&plain).unwrap_or_default();
    let digest = Sha256::digest(&text);
    let digest: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    let realm = record.realm.iter().map(|realm| format!("{OF_REALM}{realm}"));
    format!("{MARK}{} {digest}{}", record.name, realm.collect::<String>())
}

/// Makes the bridge of a network, with its mark and its addresses, and switches it on.
///
/// Gives the settings of the host that were off and had to be switched on (forwarding), so that
/// the user can be told; they stay on. A failure takes the link away again.
///
/// # Errors
/// A link of that name is there already (the plan was stale), or the kernel refuses a request.
pub async fn create(netlink: &Handle, record: &NetworkRecord) -> Result<Vec<String>> {
    let alias = mark(record);
    if alias.len() > ALIAS_MAX {
        return Err(NetError::Invalid(format!("network name `{}` is too long", record.name)));
    }
    netlink
        .link()
        .add(link(record))
        .execute()
        .await
        .map_err(answered("add bridge", &record.bridge))?;
    match finish(netlink, record, alias).await {
        Ok(switched_on) => Ok(switched_on),
        Err(error) => {
            // The first error is the one to tell; what could not be removed is observed later.
            let _ = remove(netlink, &record.bridge).await;
            Err(error)
        }
    }
}

/// Puts back what was taken from a bridge of this record that is there: settings, addresses, and
/// that it is switched on. Containers stay connected. Gives what was not as it has to be, in words.
///
/// # Errors
/// The kernel refuses a request.
pub async fn restore(
    netlink: &Handle,
    record: &NetworkRecord,
    bridge: &Bridge,
) -> Result<Vec<String>> {
    let mut restored = settle(record)?;
    let index = index_of(netlink, &record.bridge).await?;
    for address in addresses(record).filter(|address| !bridge.addresses.contains(address)) {
        add_address(netlink, index, address).await?;
        restored.push(format!("address {address}"));
    }
    if !bridge.up {
        switch_on(netlink, &record.bridge).await?;
        restored.push(format!("link {}", record.bridge));
    }
    restored.extend(forwarding(record)?);
    Ok(restored)
}

/// Takes a bridge away. Links in it stay, without a way out.
///
/// # Errors
/// It is not there, or the kernel refuses.
pub async fn remove(netlink: &Handle, bridge: &str) -> Result<()> {
    netlink
        .link()
        .del_with_message(LinkUnspec::new_with_name(bridge).build())
        .execute()
        .await
        .map_err(answered("delete bridge", bridge))
}

/// Those of these links that are bridges with our mark, by name.
#[must_use]
pub fn among(links: &[Link]) -> Vec<Bridge> {
    let mut bridges: Vec<Bridge> = links.iter().filter_map(ours).collect();
    bridges.sort_by(|a, b| a.name.cmp(&b.name));
    bridges
}

async fn finish(netlink: &Handle, record: &NetworkRecord, alias: String) -> Result<Vec<String>> {
    let bridge = &record.bridge;
    let change = |message| netlink.link().change(message).execute();
    let whole = LinkAttribute::Group(group::of(record.spec.internal));
    change(LinkUnspec::new_with_name(bridge).alias(alias).append_extra_attribute(whole).build())
        .await
        .map_err(answered("set alias of", bridge))?;
    settle(record)?;
    let index = index_of(netlink, bridge).await?;
    for address in addresses(record) {
        add_address(netlink, index, address).await?;
    }
    switch_on(netlink, bridge).await?;
    forwarding(record)
}

/// Writes the settings of a bridge that are not as they have to be, and gives which.
fn settle(record: &NetworkRecord) -> Result<Vec<String>> {
    let bridge = &record.bridge;
    // Lets the host's own 127.0.0.1 reach a container by a published port. The packet rules
    // keep everybody else out.
    let mut wanted = vec![
        (format!("ipv4/conf/{bridge}/route_localnet"), "1"),
        (format!("ipv6/conf/{bridge}/accept_ra"), "0"),
        // What is forwarded asks for neighbours under the link-local address, and not at all while
        // the kernel still looks whether somebody else has that one: a second or two. Nobody has.
        (format!("ipv6/conf/{bridge}/accept_dad"), "0"),
    ];
    if !has_ipv6(record) {
        wanted.push((format!("ipv6/conf/{bridge}/disable_ipv6"), "1"));
    }
    let mut written = Vec::new();
    for (key, value) in wanted {
        // A kernel without IPv6 has none of its settings.
        let is = sysctl::get_ipv6(&key)?;
        if !is.is_empty() && is != value {
            sysctl::set(&key, value)?;
            written.push(format!("net.{}", key.replace('/', ".")));
        }
    }
    Ok(written)
}

async fn add_address(netlink: &Handle, index: u32, address: IpNet) -> Result<()> {
    let mut request = netlink.address().add(index, address.addr(), address.prefix_len());
    if address.addr().is_ipv6() {
        request.message_mut().header.flags |= AddressHeaderFlags::Nodad;
    }
    request.execute().await.map_err(answered("add address", address.to_string()))
}

async fn switch_on(netlink: &Handle, bridge: &str) -> Result<()> {
    let change = LinkUnspec::new_with_name(bridge).up().build();
    netlink.link().change(change).execute().await.map_err(answered("set up", bridge))
}

/// The bridge, still off: no spanning tree, no guessing who wants multicast, and an address
/// that does not change when containers come and go.
fn link(record: &NetworkRecord) -> LinkMessage {
    let mut bridge = LinkBridge::new(&record.bridge)
        .down()
        .append_extra_attribute(LinkAttribute::Group(HALF_MADE))
        .append_info_data(InfoBridge::StpState(BridgeStpState::Disabled))
        .append_info_data(InfoBridge::MulticastSnooping(false));
    // IPv4 comes first.
    if let Some(subnet) = record.subnets.first() {
        bridge = bridge.address(mac_of(subnet.gateway).to_vec());
    }
    if !record.spec.bridge.icc && sysctl::bridged_frames_have_rules() {
        bridge = bridge
            .append_info_data(InfoBridge::NfCallIpTables(true))
            .append_info_data(InfoBridge::NfCallIp6Tables(true));
    }
    if let Some(mtu) = record.spec.bridge.mtu {
        bridge = bridge.mtu(mtu);
    }
    bridge.build()
}

/// Switches forwarding on where it is off, for a network that leads out.
fn forwarding(record: &NetworkRecord) -> Result<Vec<String>> {
    let mut switched_on = Vec::new();
    if record.spec.internal {
        return Ok(switched_on);
    }
    if sysctl::switch_on("ipv4/ip_forward")? {
        switched_on.push("net.ipv4.ip_forward".to_owned());
    }
    if has_ipv6(record) {
        keep_router_advertisements()?;
        if sysctl::switch_on("ipv6/conf/all/forwarding")? {
            switched_on.push("net.ipv6.conf.all.forwarding".to_owned());
        }
    }
    Ok(switched_on)
}

/// Links that listen to routers stop doing so on a host that forwards, and the host would lose
/// its own way out, unless they are told to go on (2).
fn keep_router_advertisements() -> Result<()> {
    let dir = "/proc/sys/net/ipv6/conf";
    for entry in fs::read_dir(dir).map_err(refused("list", dir))? {
        let name = entry.map_err(refused("list", dir))?.file_name();
        let key = format!("ipv6/conf/{}/accept_ra", name.to_string_lossy());
        let listens = fs::read_to_string(format!("/proc/sys/net/{key}"));
        if listens.is_ok_and(|value| value.trim() == "1") {
            sysctl::set_ipv6(&key, "2")?;
        }
    }
    Ok(())
}

pub(crate) async fn index_of(netlink: &Handle, name: &str) -> Result<u32> {
    let found: Vec<LinkMessage> = netlink
        .link()
        .get()
        .match_name(name)
        .execute()
        .try_collect()
        .await
        .map_err(answered("find link", name))?;
    let missing = || std::io::Error::from_raw_os_error(libc::ENODEV);
    found.first().map(|link| link.header.index).ok_or_else(|| refused("find link", name)(missing()))
}

fn addresses(record: &NetworkRecord) -> impl Iterator<Item = IpNet> {
    let has = |s: &&Subnet| record.spec.bridge.has_address(s.gateway.is_ipv4());
    let own = record.subnets.iter().filter(has);
    own.filter_map(|s| IpNet::new(s.gateway, s.net.prefix_len()).ok())
}

fn has_ipv6(record: &NetworkRecord) -> bool {
    addresses(record).any(|address| address.addr().is_ipv6())
}

fn ours(link: &Link) -> Option<Bridge> {
    let (network, realm) = match &link.alias {
        Some(mark) => {
            let text = mark.strip_prefix(MARK)?;
            let (text, realm) = match text.rsplit_once(OF_REALM) {
                Some((text, realm)) => (text, Some(realm.to_owned())),
                None => (text, None),
            };
            (text.rsplit_once(' ')?.0.to_owned(), realm)
        }
        None if link.group == HALF_MADE => (String::new(), None),
        None if link.group == HALF_MADE_ONCE && !link.up => (String::new(), None),
        None => return None,
    };
    (link.kind == "bridge").then(|| Bridge {
        name: link.name.clone(),
        network,
        realm,
        mark: link.alias.clone().unwrap_or_default(),
        group: link.group,
        up: link.up,
        addresses: link.addresses.clone(),
    })
}

/// Turns rtnetlink's error into ours, with what was asked.
pub(crate) fn answered(
    step: &'static str,
    object: impl Into<String>,
) -> impl FnOnce(rtnetlink::Error) -> NetError {
    let object = object.into();
    move |error| {
        let source = match error {
            rtnetlink::Error::NetlinkError(message) => message.to_io(),
            other => std::io::Error::other(other.to_string()),
        };
        NetError::Refused { step, object, source, detail: None }
    }
}
