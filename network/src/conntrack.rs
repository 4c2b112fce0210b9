//! What the kernel knows of flows: who is still connected to a container, and which flows are to
//! be led anew.
//!
//! The kernel decides where a flow leads at its first packet and remembers that. For TCP a new
//! connection is a new flow; a client of UDP that sends on from the same port stays with whom it
//! found first, or with nobody, until the kernel forgets its flow.
//!
//! The numbers are those of `linux/netfilter/nfnetlink_conntrack.h`.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use berth_schema::stack::Protocol;

use crate::error::{NetError, Result, refused};
use crate::firewall::Published;
use crate::netlink::{self, Channel, Message, Refusal, attributes};
use crate::nft::{Attributes, message};

const SUBSYSTEM: u16 = 1;
const NEW: u16 = 0;
const GET: u16 = 1;
const DELETE: u16 = 2;
const NLM_F_DUMP: u16 = 0x300;
/// Netfilter's header before the attributes.
const PREFIX: usize = 4;

const ORIGINAL: u16 = 1;
const REPLY: u16 = 2;
const STATUS: u16 = 3;
const PROTOCOL_INFO: u16 = 4;
const ID: u16 = 12;
const ZONE: u16 = 18;
const FILTER: u16 = 25;
/// In the status: the destination was translated.
const TRANSLATED: u32 = 0x20;

/// Requests that go to the kernel together.
const TOGETHER: usize = 128;
/// Between two looks at who is still connected: short first.
const PAUSES: [Duration; 2] = [Duration::from_millis(20), Duration::from_millis(200)];

/// A flow, as whoever began it sees it and as whoever answers does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flow {
    /// Transport.
    pub protocol: Protocol,
    /// Who began it.
    pub from: SocketAddr,
    /// Whom that one asked for.
    pub to: SocketAddr,
    /// Who answers.
    pub target: SocketAddr,
    /// It was led to somebody else than was asked for, as by a published port.
    pub translated: bool,
    /// It has not ended; a flow of UDP never does.
    pub open: bool,
    /// What the kernel knows it by: kinds and values of attributes.
    key: Vec<(u16, Vec<u8>)>,
}

/// All flows that `target` answers, by whatever way they came.
///
/// Those between containers of one network are only seen where bridged frames pass the packet
/// rules.
///
/// # Errors
/// The kernel does not tell (no `nf_conntrack_netlink`, no permission).
pub fn flows_to(target: IpAddr) -> Result<Vec<Flow>> {
    const SOURCE: u32 = 1;
    let (kind, octets) = match target {
        IpAddr::V4(address) => (1, address.octets().to_vec()),
        IpAddr::V6(address) => (3, address.octets().to_vec()),
    };
    let address = Attributes::default().bytes(kind, &octets);
    // Kernels before 5.8 do not know the filter, and tell of all.
    let body = Attributes::default()
        .nest(REPLY, &Attributes::default().nest(1, &address))
        .nest(FILTER, &Attributes::default().bytes(2, &SOURCE.to_ne_bytes()));
    read(target.is_ipv4(), &body, |flow| flow.target.ip() == target)
}

/// Waits until nobody is connected to any of `targets` any more, for `patience` at most. Gives how
/// many connections are left: none, or those that would be cut now.
///
/// Connections are those of TCP and SCTP that have not ended. Only looking tells, now and again:
/// the kernel sends word of the end of a flow only if somebody listened at its beginning.
///
/// # Errors
/// As [`flows_to`].
pub fn drain(targets: &[IpAddr], patience: Duration) -> Result<usize> {
    let end = Instant::now() + patience;
    let mut pauses = PAUSES.into_iter();
    let mut pause = PAUSES[1];
    loop {
        let left = connected(targets)?;
        let rest = end.saturating_duration_since(Instant::now());
        if left == 0 || rest.is_zero() {
            return Ok(left);
        }
        pause = pauses.next().unwrap_or(pause);
        thread::sleep(pause.min(rest));
    }
}

/// How many connections of TCP and SCTP to `targets` have not ended.
///
/// # Errors
/// As [`flows_to`].
pub fn connected(targets: &[IpAddr]) -> Result<usize> {
    let mut count = 0;
    for target in targets {
        let flows = flows_to(*target)?;
        count += flows.iter().filter(|f| f.open && f.protocol != Protocol::Udp).count();
    }
    Ok(count)
}

/// Lets the kernel forget where the UDP clients of these ports were led, so that what they send
/// next is led anew. Gives how many flows that were.
///
/// To be called after a port has got another target, or its first, or none any more: see
/// [`firewall::change`](crate::firewall::change), which does.
///
/// # Errors
/// As [`flows_to`], or the kernel refuses.
pub fn forget<'a>(ports: impl IntoIterator<Item = &'a Published>) -> Result<usize> {
    forget_if(ports, |_| true)
}

/// The same for those clients alone that came while the ports led nowhere, as where the rules were
/// gone for a while. All others go on as they are, with what the container sends them unasked.
///
/// # Errors
/// As [`forget`].
pub fn forget_unled<'a>(ports: impl IntoIterator<Item = &'a Published>) -> Result<usize> {
    forget_if(ports, |flow| !flow.translated)
}

fn forget_if<'a>(
    ports: impl IntoIterator<Item = &'a Published>,
    concerns: impl Fn(&Flow) -> bool,
) -> Result<usize> {
    let mut families: BTreeMap<bool, BTreeMap<u16, Vec<&Published>>> = BTreeMap::new();
    for port in ports.into_iter().filter(|port| port.protocol == Protocol::Udp) {
        let ports = families.entry(port.target.is_ipv4()).or_default();
        ports.entry(port.port).or_default().push(port);
    }
    let mut local = BTreeMap::new();
    let mut count = 0;
    for (is_ipv4, ports) in families {
        let is_of_any = |flow: &Flow| {
            let asked = ports.get(&flow.to.port()).filter(|_| concerns(flow));
            asked.is_some_and(|ports| ports.iter().any(|port| is_of(flow, port, &mut local)))
        };
        let flows = read(is_ipv4, &of_clients(ports.keys()), is_of_any)?;
        count += flows.len();
        flows.chunks(TOGETHER).try_for_each(|flows| delete(is_ipv4, flows))?;
    }
    Ok(count)
}

/// Leaves out of a list, in the kernel, what clients of UDP have not asked for: other protocols,
/// and other ports if it is about one.
fn of_clients<'a>(mut ports: impl ExactSizeIterator<Item = &'a u16>) -> Attributes {
    const PROTOCOL: u32 = 1 << 3;
    const DESTINATION_PORT: u32 = 1 << 5;
    let udp = Attributes::default().bytes(1, &[17]);
    let (transport, filter) = match (ports.len(), ports.next()) {
        (1, Some(port)) => (udp.bytes(3, &port.to_be_bytes()), PROTOCOL | DESTINATION_PORT),
        _ => (udp, PROTOCOL),
    };
    Attributes::default()
        .nest(ORIGINAL, &Attributes::default().nest(2, &transport))
        .nest(FILTER, &Attributes::default().bytes(1, &filter.to_ne_bytes()))
}

/// Whether a flow is one of clients of this port: of those that were led by it, or of those that
/// came before it was there, and asked for an address of this host.
fn is_of(flow: &Flow, port: &Published, local: &mut BTreeMap<IpAddr, bool>) -> bool {
    let asked = flow.protocol == port.protocol
        && flow.to.port() == port.port
        && port.host.is_none_or(|host| host == flow.to.ip());
    // Only an address of this host can be bound to.
    let mut is_local =
        |ip| *local.entry(ip).or_insert_with(|| UdpSocket::bind(SocketAddr::new(ip, 0)).is_ok());
    asked
        && match flow.translated {
            true => flow.target == port.target,
            false => is_local(flow.to.ip()),
        }
}

/// The flows that are wanted; no others are kept, as there may be very many.
fn read(
    is_ipv4: bool,
    body: &Attributes,
    mut is_wanted: impl FnMut(&Flow) -> bool,
) -> Result<Vec<Flow>> {
    let (mut flows, mut refusal) = (Vec::new(), None);
    let each = |answer: Message| {
        let told = answer.kind == (SUBSYSTEM << 8) | NEW;
        let told = answer.payload.get(PREFIX..).filter(|_| told).and_then(flow);
        flows.extend(told.filter(|flow| is_wanted(flow)));
        refusal = refusal.take().or_else(|| netlink::refusal(&[answer]));
    };
    let request = request(GET, NLM_F_DUMP, is_ipv4, 1, body);
    open("read")?.exchange_each(&request, each).map_err(refused("read", OBJECT))?;
    refusal.map_or(Ok(flows), |refusal| Err(told("read", refusal)))
}

/// Those that have ended meanwhile are gone as well.
fn delete(is_ipv4: bool, flows: &[Flow]) -> Result<()> {
    let mut bytes = Vec::new();
    for (number, flow) in (1..).zip(flows) {
        let nested = |kind| if kind == REPLY { kind | 0x8000 } else { kind };
        let body = flow
            .key
            .iter()
            .fold(Attributes::default(), |body, (kind, value)| body.bytes(nested(*kind), value));
        bytes.extend(request(DELETE, 0, is_ipv4, number, &body));
    }
    let answers = open("delete")?.exchange(&bytes).map_err(refused("delete", OBJECT))?;
    let refusals = answers.chunks(1).filter_map(netlink::refusal);
    let refusal = refusals.into_iter().find(|r| r.errno.raw_os_error() != Some(libc::ENOENT));
    refusal.map_or(Ok(()), |refusal| Err(told("delete", refusal)))
}

const OBJECT: &str = "tracked flows";

fn request(kind: u16, flags: u16, is_ipv4: bool, number: u32, body: &Attributes) -> Vec<u8> {
    let family = if is_ipv4 { libc::AF_INET } else { libc::AF_INET6 };
    let family = u8::try_from(family).unwrap_or_default();
    let mut bytes = Vec::new();
    message(&mut bytes, (SUBSYSTEM << 8) | kind, flags, number, (family, 0), body);
    bytes
}

fn open(step: &'static str) -> Result<Channel> {
    Channel::open(netlink_sys::protocols::NETLINK_NETFILTER).map_err(refused(step, OBJECT))
}

fn told(step: &'static str, refusal: Refusal) -> NetError {
    let Refusal { errno: source, detail, .. } = refusal;
    NetError::Refused { step, object: OBJECT.to_owned(), source, detail }
}

fn field(bytes: &[u8], wanted: u16) -> Option<&[u8]> {
    attributes(bytes).find(|(kind, _)| *kind == wanted).map(|(_, value)| value)
}

fn flow(bytes: &[u8]) -> Option<Flow> {
    let (protocol, from, to) = tuple(field(bytes, ORIGINAL)?)?;
    let (_, target, _) = tuple(field(bytes, REPLY)?)?;
    let status = field(bytes, STATUS).and_then(|status| <[u8; 4]>::try_from(status).ok());
    let translated = status.is_some_and(|s| u32::from_be_bytes(s) & TRANSLATED != 0);
    let known = |kind| field(bytes, kind).map(|value| (kind, value.to_vec()));
    let key = [REPLY, ID, ZONE].into_iter().filter_map(known).collect();
    let open = is_open(protocol, field(bytes, PROTOCOL_INFO).unwrap_or_default());
    Some(Flow { protocol, from, to, target, translated, open, key })
}

/// Source and destination.
fn tuple(bytes: &[u8]) -> Option<(Protocol, SocketAddr, SocketAddr)> {
    let (ip, transport) = (field(bytes, 1)?, field(bytes, 2)?);
    let protocol = match field(transport, 1)? {
        [6] => Protocol::Tcp,
        [17] => Protocol::Udp,
        [132] => Protocol::Sctp,
        _ => return None,
    };
    let port = |kind| Some(u16::from_be_bytes(field(transport, kind)?.try_into().ok()?));
    let v4 = |kind| Some(IpAddr::from(<[u8; 4]>::try_from(field(ip, kind)?).ok()?));
    let v6 = |kind| Some(IpAddr::from(<[u8; 16]>::try_from(field(ip, kind)?).ok()?));
    let source = v4(1).or_else(|| v6(3))?;
    let destination = v4(2).or_else(|| v6(4))?;
    Some((protocol, SocketAddr::new(source, port(2)?), SocketAddr::new(destination, port(3)?)))
}

fn is_open(protocol: Protocol, info: &[u8]) -> bool {
    let state = |kind| match field(info, kind).and_then(|of| field(of, 1)) {
        Some([state]) => *state,
        _ => 0,
    };
    match protocol {
        // TIME_WAIT and CLOSE.
        Protocol::Tcp => !matches!(state(1), 7 | 8),
        // CLOSED.
        Protocol::Sctp => state(3) != 1,
        Protocol::Udp => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tuple_of(source: [u8; 4], destination: [u8; 4], ports: (u16, u16)) -> Attributes {
        let ip = Attributes::default().bytes(1, &source).bytes(2, &destination);
        let transport = Attributes::default()
            .bytes(1, &[17])
            .bytes(2, &ports.0.to_be_bytes())
            .bytes(3, &ports.1.to_be_bytes());
        Attributes::default().nest(1, &ip).nest(2, &transport)
    }

    fn example(translated: bool, target: [u8; 4]) -> Flow {
        let status: u32 = if translated { TRANSLATED } else { 0 };
        let all = Attributes::default()
            .nest(ORIGINAL, &tuple_of([10, 9, 9, 9], [127, 0, 0, 1], (4000, 53)))
            .nest(REPLY, &tuple_of(target, [10, 9, 9, 9], (5353, 4000)))
            .number(STATUS, status)
            .number(ID, 7);
        flow(all.as_bytes()).unwrap()
    }

    fn port(host: Option<&str>, target: &str) -> Published {
        Published {
            owner: "dns-1".into(),
            host: host.map(|host| host.parse().unwrap()),
            port: 53,
            protocol: Protocol::Udp,
            target: target.parse().unwrap(),
        }
    }

    #[test]
    fn a_flow_has_two_ends_and_who_answers() {
        let flow = example(true, [10, 0, 0, 2]);

        assert_eq!(flow.from, "10.9.9.9:4000".parse().unwrap());
        assert_eq!(flow.to, "127.0.0.1:53".parse().unwrap());
        assert_eq!(flow.target, "10.0.0.2:5353".parse().unwrap());
        assert!(flow.translated && flow.open);
        assert_eq!(flow.key.iter().map(|(kind, _)| *kind).collect::<Vec<_>>(), [REPLY, ID]);
    }

    #[test]
    fn only_clients_of_a_port_are_led_anew() {
        let mut local = BTreeMap::new();
        let mut is_of = |flow: &Flow, port: &Published| is_of(flow, port, &mut local);
        let led = example(true, [10, 0, 0, 2]);
        let early = example(false, [127, 0, 0, 1]);

        assert!(is_of(&led, &port(None, "10.0.0.2:5353")));
        assert!(is_of(&led, &port(Some("127.0.0.1"), "10.0.0.2:5353")));
        assert!(!is_of(&led, &port(Some("127.0.0.2"), "10.0.0.2:5353")));
        assert!(!is_of(&led, &port(None, "10.0.0.3:5353")));
        assert!(is_of(&early, &port(None, "10.0.0.3:5353")));
        // Somebody of this host who asks a server elsewhere.
        let out = Flow { to: "192.0.2.1:53".parse().unwrap(), ..early };
        assert!(!is_of(&out, &port(None, "10.0.0.3:5353")));
    }

    #[test]
    fn cut_off_bytes_are_no_flow_and_do_no_harm() {
        let all = Attributes::default()
            .nest(ORIGINAL, &tuple_of([10, 9, 9, 9], [127, 0, 0, 1], (4000, 53)))
            .nest(REPLY, &tuple_of([10, 0, 0, 2], [10, 9, 9, 9], (5353, 4000)));
        let whole = all.as_bytes();
        assert!((0..whole.len()).all(|len| flow(&whole[..len]).is_none()));
    }
}
