//! Who has the ports of the host: its sockets, as the kernel lists them (sock_diag(7)), or where it
//! does not, as the tables in `/proc/net` do (proc_pid_net(5)).

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use berth_schema::stack::Protocol;

use crate::netlink::{Channel, Message, attributes, interrupted, refusal};

const NETLINK_SOCK_DIAG: isize = 4;
const SOCK_DIAG_BY_FAMILY: u16 = 20;
/// States of a socket, as bits: closed (bound only, all of UDP), listening, and, since Linux 6.8,
/// bound without listening.
const STATES: u32 = 1 << 7 | 1 << 10 | 1 << 13;
/// An attribute of an answer: whether an IPv6 socket takes no IPv4.
const V6_ONLY: u16 = 11;
/// Bytes of `struct inet_diag_msg`.
const ANSWER: usize = 72;
const FAMILIES: [u8; 2] = [libc::AF_INET as u8, libc::AF_INET6 as u8];
const ATTEMPTS: usize = 5;

/// A socket that has a port and is no mere connection.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Socket {
    /// Transport.
    pub protocol: Protocol,
    /// Port of the host.
    pub port: u16,
    /// Address of the host; an unspecified one is all of its family.
    pub address: IpAddr,
    /// On `::`, and takes IPv4 as well.
    pub both: bool,
    /// Its number, by which a process that holds it is known.
    pub inode: u64,
}

/// The sockets on ports that are `wanted`, in order, each once.
///
/// # Errors
/// Neither the kernel nor `/proc` tells.
pub fn sockets(wanted: impl Fn(Protocol, u16) -> bool) -> io::Result<Vec<Socket>> {
    let mut found = Vec::new();
    for protocol in [Protocol::Tcp, Protocol::Udp, Protocol::Sctp] {
        for family in FAMILIES {
            let sockets = match dump(protocol, family) {
                Ok(sockets) => sockets,
                // A kernel without sock_diag, or without this part of it.
                Err(_) => table("/proc/net", protocol, family)?,
            };
            found.extend(sockets.into_iter().filter(|s| wanted(s.protocol, s.port)));
        }
    }
    found.sort();
    found.dedup();
    Ok(found)
}

/// Sockets that listen in the network namespace of a process, in order, each once.
///
/// # Errors
/// The process ended, or `/proc` does not tell.
pub fn of_process(pid: i32) -> io::Result<Vec<Socket>> {
    let folder = format!("/proc/{pid}/net");
    // Without it a table that is not there would mean that nothing listens.
    fs::metadata(&folder)?;
    let mut found = Vec::new();
    for protocol in [Protocol::Tcp, Protocol::Udp, Protocol::Sctp] {
        for family in FAMILIES {
            found.extend(table(&folder, protocol, family)?);
        }
    }
    found.sort();
    found.dedup();
    Ok(found)
}

/// How many connections of TCP others have to what listens in the network namespace of a process,
/// those from the same namespace left out. Also those that the packet rules do not see, as between
/// containers of one network.
///
/// # Errors
/// The process ended, or `/proc` does not tell.
pub fn clients_of(pid: i32) -> io::Result<usize> {
    let folder = format!("/proc/{pid}/net");
    fs::metadata(&folder)?;
    let texts = ["tcp", "tcp6"].map(|name| fs::read_to_string(format!("{folder}/{name}")));
    let texts: Vec<String> = texts.into_iter().filter_map(Result::ok).collect();
    let rows = || texts.iter().flat_map(|text| text.lines().skip(1)).filter_map(ends_of);
    let listening: BTreeSet<u16> =
        rows().filter(|(state, ..)| *state == "0A").map(|(_, local, _)| local.1).collect();
    let own: BTreeSet<IpAddr> = rows().map(|(_, local, _)| local.0).collect();
    let of_clients = rows().filter(|(state, local, peer)| {
        let elsewhere = !peer.0.is_loopback() && !own.contains(&peer.0);
        *state == "01" && listening.contains(&local.1) && elsewhere
    });
    Ok(of_clients.count())
}

type End = (IpAddr, u16);

/// State of a row of a table of TCP, with its own end and the other.
fn ends_of(row: &str) -> Option<(&str, End, End)> {
    let mut fields = row.split_whitespace().skip(1);
    let (local, peer, state) = (fields.next()?, fields.next()?, fields.next()?);
    Some((state, end_of(local)?, end_of(peer)?))
}

fn end_of(text: &str) -> Option<End> {
    let (address, port) = text.rsplit_once(':')?;
    Some((address_of(address)?.to_canonical(), u16::from_str_radix(port, 16).ok()?))
}

fn dump(protocol: Protocol, family: u8) -> io::Result<Vec<Socket>> {
    let mut channel = Channel::open(NETLINK_SOCK_DIAG)?;
    for _ in 0..ATTEMPTS {
        let request = request(number(protocol), family, channel.number());
        let answers = channel.exchange(&request)?;
        if let Some(refusal) = refusal(&answers) {
            return Err(refusal.errno);
        }
        if !interrupted(&answers) {
            return Ok(answers.iter().filter_map(|answer| read(protocol, answer)).collect());
        }
    }
    Err(io::ErrorKind::Interrupted.into())
}

/// `struct nlmsghdr` and `struct inet_diag_req_v2`.
fn request(protocol: u8, family: u8, sequence: u32) -> Vec<u8> {
    const LENGTH: u32 = 16 + 56;
    let flags = (libc::NLM_F_REQUEST | libc::NLM_F_DUMP) as u16;
    let mut bytes = Vec::with_capacity(LENGTH as usize);
    bytes.extend(LENGTH.to_ne_bytes());
    bytes.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    bytes.extend(sequence.to_ne_bytes());
    bytes.extend([0; 4]);
    bytes.extend([family, protocol, 0, 0]);
    bytes.extend(STATES.to_ne_bytes());
    // No address and no port: all of them.
    bytes.resize(LENGTH as usize, 0);
    bytes
}

fn read(protocol: Protocol, answer: &Message) -> Option<Socket> {
    let head = answer.payload.get(..ANSWER).filter(|_| answer.kind == SOCK_DIAG_BY_FAMILY)?;
    let port = u16::from_be_bytes([head[4], head[5]]);
    let source = head.get(8..24)?;
    let address = match i32::from(head[0]) {
        libc::AF_INET => IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(&source[..4]).ok()?)),
        libc::AF_INET6 => IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(source).ok()?)),
        _ => return None,
    };
    let inode = u32::from_ne_bytes(head.get(68..72)?.try_into().ok()?);
    let only = attributes(&answer.payload[ANSWER..])
        .find_map(|(kind, value)| (kind == V6_ONLY).then(|| value.first() == Some(&1)));
    Some(Socket {
        protocol,
        port,
        address: address.to_canonical(),
        both: address == IpAddr::V6(Ipv6Addr::UNSPECIFIED) && only != Some(true),
        inode: inode.into(),
    })
    .filter(|socket| socket.port != 0)
}

fn number(protocol: Protocol) -> u8 {
    match protocol {
        Protocol::Tcp => 6,
        Protocol::Udp => 17,
        Protocol::Sctp => 132,
    }
}

/// The same of `/proc/net`; a protocol or a family that the kernel does not have has no table.
fn table(folder: &str, protocol: Protocol, family: u8) -> io::Result<Vec<Socket>> {
    let v6 = i32::from(family) == libc::AF_INET6;
    let name = match protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
        // Its table has both families, with several addresses in a row.
        Protocol::Sctp if v6 => return Ok(Vec::new()),
        Protocol::Sctp => "sctp/eps",
    };
    let path = format!("{folder}/{name}{}", if v6 { "6" } else { "" });
    let text = match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        text => text?,
    };
    let rows = text.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
    Ok(match protocol {
        Protocol::Tcp | Protocol::Udp => rows.filter_map(|row| row_of(protocol, &row)).collect(),
        Protocol::Sctp => rows.flat_map(|row| sctp_row(&row)).collect(),
    })
}

fn row_of(protocol: Protocol, row: &[&str]) -> Option<Socket> {
    let (local, state, inode) = (row.get(1)?, row.get(3)?, row.get(9)?);
    // 0A is listening, 07 is closed: all of UDP.
    if !matches!(*state, "0A" | "07") {
        return None;
    }
    let (address, port) = local.rsplit_once(':')?;
    let address = address_of(address)?;
    Some(Socket {
        protocol,
        port: u16::from_str_radix(port, 16).ok()?,
        // The table does not say whether it takes IPv4; most do.
        both: address == IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        address: address.to_canonical(),
        inode: inode.parse().ok()?,
    })
}

fn address_of(text: &str) -> Option<IpAddr> {
    let word = |text: &str| u32::from_str_radix(text, 16).ok().map(u32::to_ne_bytes);
    if text.len() == 8 {
        return Some(IpAddr::V4(Ipv4Addr::from(word(text)?)));
    }
    let mut octets = [0; 16];
    for (index, place) in octets.chunks_exact_mut(4).enumerate() {
        place.copy_from_slice(&word(text.get(index * 8..index * 8 + 8)?)?);
    }
    Some(IpAddr::V6(Ipv6Addr::from(octets)))
}

fn sctp_row(row: &[&str]) -> Vec<Socket> {
    let number = |at: usize| row.get(at).and_then(|text| text.parse::<u64>().ok());
    let (Some(port), Some(inode)) = (number(5).and_then(|p| u16::try_from(p).ok()), number(7))
    else {
        return Vec::new();
    };
    let addresses = row.iter().skip(8).filter_map(|text| text.parse::<IpAddr>().ok());
    let socket = |address: IpAddr| Socket {
        protocol: Protocol::Sctp,
        port,
        address: address.to_canonical(),
        both: address == IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        inode,
    };
    addresses.map(socket).collect()
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, UdpSocket};

    use super::*;

    #[test]
    fn what_listens_is_found_both_ways_with_its_address() {
        let one = TcpListener::bind("127.0.0.1:0").unwrap();
        let tcp = one.local_addr().unwrap().port();
        let two = UdpSocket::bind("127.0.0.1:0").unwrap();
        let udp = two.local_addr().unwrap().port();
        let of = |found: Vec<Socket>, protocol, port| {
            let mut all = found.into_iter().filter(|s| (s.protocol, s.port) == (protocol, port));
            all.next().unwrap()
        };
        let family = libc::AF_INET as u8;
        for (protocol, port) in [(Protocol::Tcp, tcp), (Protocol::Udp, udp)] {
            let listed = of(table("/proc/net", protocol, family).unwrap(), protocol, port);
            assert_eq!(listed.address, Ipv4Addr::LOCALHOST);
            let wanted = |p, n| (p, n) == (protocol, port);
            assert_eq!(sockets(wanted).unwrap(), [listed]);
        }
    }

    #[test]
    fn a_listener_on_all_of_ipv6_tells_whether_it_takes_ipv4() {
        let Ok(all) = TcpListener::bind("[::]:0") else { return };
        let port = all.local_addr().unwrap().port();
        let found = sockets(|protocol, p| (protocol, p) == (Protocol::Tcp, port)).unwrap();
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].both && found[0].address.is_ipv6());
    }

    #[test]
    fn connections_hold_no_port() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let client = std::net::TcpStream::connect(address).unwrap();
        let own = client.local_addr().unwrap().port();
        assert_eq!(sockets(|protocol, p| (protocol, p) == (Protocol::Tcp, own)).unwrap(), []);
    }

    #[test]
    fn only_who_came_from_elsewhere_to_what_listens_is_a_client() {
        let row = |local, peer, state| {
            ends_of(&format!("0: {local} {peer} {state} 0:0 00:0 0 0 0 7 1"))
                .map(|(state, local, peer)| (state.to_owned(), local.1, peer.0))
        };
        let (state, port, peer) = row("0500A8C0:1F40", "0600A8C0:D431", "01").unwrap();
        assert_eq!((state.as_str(), port, peer), ("01", 8000, "192.168.0.6".parse().unwrap()));
        let mapped = "0000000000000000FFFF00000600A8C0:D431";
        let (_, _, peer) = row("0500A8C0:1F40", mapped, "01").unwrap();
        assert_eq!(peer, "192.168.0.6".parse::<IpAddr>().unwrap());

        // Both ends are here.
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let _client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let before = clients_of(std::process::id() as i32).unwrap();
        let _other = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        assert_eq!(clients_of(std::process::id() as i32).unwrap(), before);
        assert!(clients_of(-1).is_err());
    }

    #[test]
    fn rows_of_the_tables_are_read_and_cut_ones_do_no_harm() {
        let row = "0: 00000000000000000000000001000000:1F90 00:0 0A 0:0 00:0 0 0 0 4711 1";
        let row: Vec<&str> = row.split_whitespace().collect();
        let socket = row_of(Protocol::Tcp, &row).unwrap();
        assert_eq!((socket.address, socket.port), ("::1".parse().unwrap(), 8080));
        for len in 0..row.len() {
            let _ = row_of(Protocol::Tcp, &row[..len]);
            let _ = sctp_row(&row[..len]);
        }
        let eps = "ffff 0 2 10 29 5000 0 2463 0.0.0.0 10.1.0.1";
        let found = sctp_row(&eps.split_whitespace().collect::<Vec<_>>());
        assert_eq!(found.len(), 2);
        assert_eq!((found[1].port, found[1].inode), (5000, 2463));
    }
}
