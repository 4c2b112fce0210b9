//! A container's way onto its networks: veth pairs, addresses, routes, in its own namespace.
//!
//! Each pair is made by one message, the far end already inside the container: moving a link
//! between namespaces costs ten times as much as making it. Nothing here is ever undone link by
//! link either, for the same reason: when the last descriptor of the namespace is closed, the
//! kernel takes the far ends away and the host's ends with them. The names of the host's ends
//! are new for each start, so a start never waits for the links of the one before.
//!
//! Call these from a single-threaded process, or from a thread that does nothing else.

mod live;

use std::fs::File;
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::thread;
use std::time::Duration;

use berth_schema::stack::Way;
use ipnet::IpNet;
use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE, NLM_F_REQUEST, NetlinkHeader,
    NetlinkMessage,
};
use netlink_packet_route::address::{AddressHeaderFlags, AddressMessage, AddressScope};
use netlink_packet_route::link::{
    InfoBridgePort, InfoData, InfoKind, InfoPortData, InfoPortKind, InfoVeth, LinkAttribute,
    LinkMessage,
};
use netlink_packet_route::neighbour::{
    NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
};
use netlink_packet_route::route::{RouteMessage, RouteScope};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use rtnetlink::{
    AddressMessageBuilder, LinkMessageBuilder, LinkUnspec, LinkVeth, RouteMessageBuilder,
};
use rustix::net::netdevice::name_to_index;

use crate::error::{NetError, Result, refused};
use crate::netlink::{self, Channel, Message};
use crate::{beside, netns, sysctl};

pub use live::{detach, has, lead_out};

/// How often a link is asked for again while what refuses it goes by itself, and how long after.
pub(crate) const ATTEMPTS: u32 = 50;
pub(crate) const PAUSE: Duration = Duration::from_millis(20);
/// How long a link is given to become ready, at most 10 ms.
const SETTLE_ATTEMPTS: usize = 50;
const SETTLE_PAUSE: Duration = Duration::from_micros(200);
const CREATE: u16 = NLM_F_CREATE | NLM_F_EXCL;
const REPLACE: u16 = NLM_F_CREATE | NLM_F_REPLACE;

/// A link of a container into a bridge.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LinkSpec {
    /// Link name of the bridge on the host, or of the link that it stands beside.
    pub bridge: String,
    /// How it stands beside that; `None` is a link into a bridge.
    pub beside: Option<Way>,
    /// Name inside the container (`eth0`).
    pub name: String,
    /// Hardware address; `None` takes one made from the first address, or the kernel's choice.
    pub mac: Option<[u8; 6]>,
    /// Addresses with the prefix length of their subnet.
    pub addresses: Vec<IpNet>,
    /// Settings below `/proc/sys/net` by their path, `ipv4/conf/eth0/log_martians`.
    pub sysctls: Vec<(String, String)>,
    /// Next hops of the default routes, when this link has them: at most one per family, and
    /// `0.0.0.0` or `::` for the link itself.
    pub gateways: Vec<IpAddr>,
    /// Bytes of the largest packet; `None` leaves 1500.
    pub mtu: Option<u32>,
    /// Nothing goes to or comes from another link like it, but by the packet rules.
    pub apart: bool,
}

/// Switches the loopback link of `netns` on and makes `links` in it, up, with addresses and
/// routes.
///
/// A failure in the middle leaves what was made before it; closing the namespace removes that.
///
/// # Errors
/// A bridge is missing, a name in the namespace is taken, or the kernel refuses a request.
pub fn connect(netns: BorrowedFd<'_>, links: &[LinkSpec]) -> Result<()> {
    let mut host = Requests::open()?;
    let mut settling = Vec::new();
    let before = netns::inside(netns, settings_of_new_links)?;
    for link in links {
        netns::inside(netns, || set_for_new_links(&settings_of(link)))?;
        let bridge = host.index_of(&link.bridge)?;
        if let Some(way) = link.beside {
            host.stand(link, || standing(bridge, link, way, netns))?;
            continue;
        }
        let near = near_end_name()?;
        // A packet to a published port that leads back into the bridge never leaves it where frames
        // have rules: there these keep containers apart, and a port that is apart would lose it.
        let apart = link.apart && !sysctl::frames_have_rules(&link.bridge);
        host.plug(&near, apart, || veth(&near, bridge, link, netns))?;
        settling.push((near, link));
    }
    let mut inner = netns::inside(netns, || {
        set_for_new_links(&before)?;
        // Some of them count only for a link that is still off.
        let settings = links.iter().flat_map(|link| &link.sysctls);
        settings.into_iter().try_for_each(|(key, value)| sysctl::set(key, value))?;
        Requests::open()
    })?;
    inner.add("set up", "lo", 0, up("lo"));
    for link in links {
        configure(&mut inner, link)?;
    }
    inner.send()?;
    for (near, link) in settling {
        if host.settle(&near)?
            && let Some(mac) = mac(link)
        {
            let index = host.index_of(&near)?;
            host.add("set forwarding entry of", &near, REPLACE, forwarding_entry(index, mac));
            host.send()?;
        }
        // With the first of its ports, the bridge gets a carrier too.
        host.settle(&link.bridge)?;
    }
    Ok(())
}

/// Switches `links` of `netns` off, and takes those away that stand beside a link of the host,
/// before its last descriptor is closed.
///
/// The kernel takes its time to clean a namespace up. Until then what is left of the container
/// would still answer for its address, perhaps instead of the one that was just started there.
/// A connection that nobody has any more and whose end cannot be told keeps the namespace, and so
/// the link, for a minute: here it gives up after one try (`tcp_orphan_retries`, tcp(7)).
///
/// # Errors
/// The namespace cannot be entered, a link is not there, or the kernel refuses.
pub fn disconnect(netns: BorrowedFd<'_>, links: &[LinkSpec]) -> Result<()> {
    let mut inner = netns::inside(netns, || {
        // Where it cannot be set, the kernel only takes longer.
        let _ = sysctl::set("ipv4/tcp_orphan_retries", "1");
        Requests::open()
    })?;
    for link in links {
        let named = LinkUnspec::new_with_name(&link.name);
        match link.beside {
            // What it stands beside may be wanted by somebody whom it excludes.
            Some(_) => {
                inner.add(
                    "delete link",
                    &link.name,
                    0,
                    RouteNetlinkMessage::DelLink(named.build()),
                );
            }
            None => {
                let down = named.down().build();
                inner.add("set down", &link.name, 0, RouteNetlinkMessage::NewLink(down));
            }
        }
    }
    inner.send()
}

/// Switches the loopback link of `netns` on: the network of a container without networks.
///
/// # Errors
/// The namespace cannot be entered, or the kernel refuses.
pub fn loopback_up(netns: BorrowedFd<'_>) -> Result<()> {
    connect(netns, &[])
}

/// The hardware address of whoever has this address on one of our networks.
///
/// It is the same after each restart, so neighbours need not unlearn the old one.
#[must_use]
pub fn mac_of(address: IpAddr) -> [u8; 6] {
    let [a, b, c, d] = match address {
        IpAddr::V4(address) => address.octets(),
        // On a network of 64 bits those of hosts differ in the second half.
        IpAddr::V6(address) => {
            let half = address.to_bits();
            ((half ^ half >> 32) as u32).to_be_bytes()
        }
    };
    [0x02, 0x42, a, b, c, d]
}

/// Settings that a link is born with. Changed at a link that is there, the second one waits for the
/// kernel's lock of all links, and not asleep.
const OF_NEW_LINKS: [&str; 4] = [
    "ipv6/conf/default/accept_ra",
    "ipv6/conf/default/disable_ipv6",
    "ipv6/conf/default/accept_redirects",
    "ipv4/conf/default/accept_redirects",
];

/// A link without IPv6 addresses speaks no IPv6 at all; none believes an advertisement of a router or
/// its word of a better way, which any neighbour could send.
fn settings_of(link: &LinkSpec) -> [String; 4] {
    let speaks = link.addresses.iter().any(|a| matches!(a, IpNet::V6(_)));
    let mute = if speaks { "0" } else { "1" };
    #[cfg(feature = "sabotage")]
    if crate::sabotage::is_removed("net.deaf") {
        return ["1", mute, "1", "1"].map(str::to_owned);
    }
    ["0", mute, "0", "0"].map(str::to_owned)
}

/// What they are; empty on a kernel without IPv6.
fn settings_of_new_links() -> Result<[String; 4]> {
    let mut values = <[String; 4]>::default();
    for (value, key) in values.iter_mut().zip(OF_NEW_LINKS) {
        *value = sysctl::get_ipv6(key)?;
    }
    Ok(values)
}

fn set_for_new_links(values: &[String; 4]) -> Result<()> {
    OF_NEW_LINKS.iter().zip(values).try_for_each(|(key, value)| sysctl::set_ipv6(key, value))
}

fn configure(inner: &mut Requests, link: &LinkSpec) -> Result<()> {
    let index = inner.index_of(&link.name)?;
    inner.add("set up", &link.name, 0, up(&link.name));
    for address in &link.addresses {
        let step = RouteNetlinkMessage::NewAddress(address_message(index, *address));
        inner.add("add address", &address.to_string(), CREATE, step);
    }
    for gateway in &link.gateways {
        let step = RouteNetlinkMessage::NewRoute(default_route(index, *gateway));
        inner.add("add default route via", &gateway.to_string(), CREATE, step);
    }
    Ok(())
}

/// A link beside another of the host, at once in `netns`.
fn standing(parent: u32, link: &LinkSpec, way: Way, netns: BorrowedFd<'_>) -> RouteNetlinkMessage {
    let mut message = beside::beside(&link.name, parent, way);
    message.attributes.push(LinkAttribute::NetNsFd(netns.as_raw_fd()));
    if let Some(mac) = mac(link) {
        message.attributes.push(LinkAttribute::Address(mac.to_vec()));
    }
    if let Some(mtu) = link.mtu {
        message.attributes.push(LinkAttribute::Mtu(mtu));
    }
    RouteNetlinkMessage::NewLink(message)
}

/// Both ends in one message: the near one in the bridge and up, the far one in `netns`.
fn veth(near: &str, bridge: u32, link: &LinkSpec, netns: BorrowedFd<'_>) -> RouteNetlinkMessage {
    let mut far = LinkMessageBuilder::<LinkUnspec>::default()
        .name(link.name.clone())
        .setns_by_fd(netns.as_raw_fd());
    let mut near = LinkMessageBuilder::<LinkVeth>::new_with_info_kind(InfoKind::Veth)
        .name(near.to_owned())
        .controller(bridge)
        .up();
    if let Some(mac) = mac(link) {
        far = far.address(mac.to_vec());
    }
    if let Some(mtu) = link.mtu {
        (far, near) = (far.mtu(mtu), near.mtu(mtu));
    }
    let data = InfoData::Veth(InfoVeth::Peer(far.build()));
    RouteNetlinkMessage::NewLink(near.set_info_data(data).build())
}

fn mac(link: &LinkSpec) -> Option<[u8; 6]> {
    if link.beside.is_some_and(Way::shares_hardware) {
        return None;
    }
    let from_address = || link.addresses.first().map(|first| mac_of(first.addr()));
    link.mac.or_else(from_address)
}

/// Lets a frame leave by the port it came from: a container that calls its own published port,
/// where bridged frames pass the host's packet rules. The bridge gives no frame of a port that is
/// apart to another such.
fn port(near: &str, apart: bool) -> RouteNetlinkMessage {
    let mut settings = vec![InfoBridgePort::HairpinMode(true)];
    settings.extend(apart.then_some(InfoBridgePort::Isolated(true)));
    RouteNetlinkMessage::NewLink(
        LinkUnspec::new_with_name(near)
            .set_port_kind(InfoPortKind::Bridge)
            .set_port_data(InfoPortData::BridgePort(settings))
            .build(),
    )
}

/// Tells the bridge where this address is from now on; it may remember another port, from the
/// start before.
fn forwarding_entry(index: u32, mac: [u8; 6]) -> RouteNetlinkMessage {
    let mut entry = NeighbourMessage::default();
    entry.header.family = AddressFamily::Bridge;
    entry.header.ifindex = index;
    entry.header.state = NeighbourState::Reachable;
    entry.header.flags = NeighbourFlags::Controller;
    entry.attributes.push(NeighbourAttribute::LinkLayerAddress(mac.to_vec()));
    RouteNetlinkMessage::NewNeighbour(entry)
}

fn up(name: &str) -> RouteNetlinkMessage {
    let message: LinkMessage = LinkUnspec::new_with_name(name).up().build();
    RouteNetlinkMessage::NewLink(message)
}

/// The message that adds an address. An IPv6 one can be used at once: nobody else is given it.
pub(crate) fn address_message(index: u32, address: IpNet) -> AddressMessage {
    match address {
        IpNet::V4(a) => {
            let mut message = AddressMessageBuilder::<Ipv4Addr>::new()
                .index(index)
                .address(a.addr(), a.prefix_len())
                .build();
            if a.addr().is_link_local() {
                message.header.scope = AddressScope::Link;
            }
            message
        }
        IpNet::V6(a) => {
            let mut message = AddressMessageBuilder::<Ipv6Addr>::new()
                .index(index)
                .address(a.addr(), a.prefix_len())
                .build();
            message.header.flags |= AddressHeaderFlags::Nodad;
            message
        }
    }
}

/// A gateway that is no address stands for the link itself.
fn default_route(index: u32, gateway: IpAddr) -> RouteMessage {
    match gateway {
        IpAddr::V4(gateway) if gateway.is_unspecified() => RouteMessageBuilder::<Ipv4Addr>::new()
            .scope(RouteScope::Link)
            .output_interface(index)
            .build(),
        IpAddr::V6(gateway) if gateway.is_unspecified() => {
            RouteMessageBuilder::<Ipv6Addr>::new().output_interface(index).build()
        }
        IpAddr::V4(gateway) => {
            RouteMessageBuilder::<Ipv4Addr>::new().gateway(gateway).output_interface(index).build()
        }
        IpAddr::V6(gateway) => {
            RouteMessageBuilder::<Ipv6Addr>::new().gateway(gateway).output_interface(index).build()
        }
    }
}

/// Whether a link is the host's end of one that leads to a container, by its name.
#[must_use]
pub fn is_near_end(name: &str) -> bool {
    let random = name.strip_prefix("bv").unwrap_or_default();
    random.len() == 12 && random.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// A name for the host's end that no other start has: 48 random bits.
pub(crate) fn near_end_name() -> Result<String> {
    let mut bytes = [0; 6];
    File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(&mut bytes))
        .map_err(refused("read", "/dev/urandom"))?;
    Ok(bytes.iter().fold("bv".to_owned(), |name, byte| format!("{name}{byte:02x}")))
}

/// Whether this is the description of a link that carries packets.
fn is_operational(message: &Message) -> bool {
    const LINK_HEADER: usize = 16;
    const OPERATIONAL_STATE: u16 = 16;
    const UP: u8 = 6;
    let attributes = message.payload.get(LINK_HEADER..).map(netlink::attributes);
    attributes.into_iter().flatten().any(|found| found == (OPERATIONAL_STATE, &[UP][..]))
}

/// Requests that go to the kernel together.
struct Requests {
    channel: Channel,
    bytes: Vec<u8>,
    steps: Vec<(u32, &'static str, String)>,
}

impl Requests {
    fn open() -> Result<Self> {
        let channel = Channel::open(netlink_sys::protocols::NETLINK_ROUTE)
            .map_err(refused("open socket", "NETLINK_ROUTE"))?;
        Ok(Requests { channel, bytes: Vec::new(), steps: Vec::new() })
    }

    fn add(&mut self, step: &'static str, object: &str, flags: u16, what: RouteNetlinkMessage) {
        let number = self.channel.number();
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST | NLM_F_ACK | flags;
        header.sequence_number = number;
        let mut message = NetlinkMessage::new(header, what.into());
        message.finalize();
        let at = self.bytes.len();
        self.bytes.resize(at + message.buffer_len().next_multiple_of(4), 0);
        message.serialize(&mut self.bytes[at..]);
        self.steps.push((number, step, object.to_owned()));
    }

    /// Makes a link into a bridge.
    ///
    /// The first of a host makes the kernel load its module, and a second one that comes while it
    /// is loading finds nobody who knows such links: that one waits a moment.
    fn plug(
        &mut self,
        name: &str,
        apart: bool,
        link: impl Fn() -> RouteNetlinkMessage,
    ) -> Result<()> {
        self.once_it_goes(beside::is_loading, |requests| {
            requests.add("add link", name, CREATE, link());
            requests.add("set port", name, 0, port(name, apart));
        })
    }

    /// Makes a link beside one of the host.
    fn stand(&mut self, link: &LinkSpec, message: impl Fn() -> RouteNetlinkMessage) -> Result<()> {
        let added = self.once_it_goes(
            |error| beside::is_loading(error) || beside::is_taken(error),
            |requests| {
                requests.add("add a link beside", &link.bridge, CREATE, message());
            },
        );
        added.map_err(beside::unknown)
    }

    fn once_it_goes(
        &mut self,
        goes_by_itself: fn(&NetError) -> bool,
        ask: impl Fn(&mut Requests),
    ) -> Result<()> {
        let mut attempts = ATTEMPTS;
        loop {
            ask(self);
            match self.send() {
                Err(error) if goes_by_itself(&error) && attempts > 0 => {
                    attempts -= 1;
                    thread::sleep(PAUSE);
                }
                sent => return sent,
            }
        }
    }

    /// Sends all; the first refusal is the error.
    fn send(&mut self) -> Result<()> {
        self.send_for_answers().map(|_| ())
    }

    fn send_for_answers(&mut self) -> Result<Vec<Message>> {
        let bytes = std::mem::take(&mut self.bytes);
        let steps = std::mem::take(&mut self.steps);
        let answers =
            self.channel.exchange(&bytes).map_err(refused("send", "link and address requests"))?;
        let Some(refusal) = netlink::refusal(&answers) else {
            return Ok(answers);
        };
        let (step, object) = steps
            .into_iter()
            .find(|(number, ..)| *number == refusal.sequence)
            .map_or(("send", "request".to_owned()), |(_, step, object)| (step, object));
        Err(NetError::Refused { step, object, source: refusal.errno, detail: refusal.detail })
    }

    /// Lets the kernel notice that the link has a carrier.
    ///
    /// It does so in the background, and until then a bridge drops what comes from or goes to the
    /// link; whoever connects at once would wait a second for TCP to try again. Asking for the
    /// link hurries it (since 6.8; before, a moment is waited). A link that is still not ready
    /// then will be soon, so that is no error but `false`.
    fn settle(&mut self, name: &str) -> Result<bool> {
        for _ in 0..SETTLE_ATTEMPTS {
            let message = RouteNetlinkMessage::GetLink(LinkUnspec::new_with_name(name).build());
            self.add("look at link", name, 0, message);
            let answers = self.send_for_answers()?;
            if answers.iter().any(is_operational) {
                return Ok(true);
            }
            thread::sleep(SETTLE_PAUSE);
        }
        Ok(false)
    }

    fn index_of(&self, name: &str) -> Result<u32> {
        name_to_index(&self.channel, name).map_err(refused("find link", name))
    }
}
