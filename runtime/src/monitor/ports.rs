//! Host ports of a container: reserved by sockets that are bound, so that no other program can take
//! them while packets to them are sent to the container. Only those that a relay serves listen.

use std::fmt;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::path::Path;

use berth_network::listening;
use berth_planner::desired::PortSpec;
use berth_schema::stack::Protocol;
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SocketFlags, SocketType, bind, getsockname, ipproto, socket_with, sockopt,
};

use crate::bundle::{Phase, Status};
use crate::container::make_room;
use crate::sabotage::without;
use crate::{holders, record};

/// Attempts at a port that is free for both families.
const ATTEMPTS: u32 = 64;

/// Host ports that are ours for as long as this lives.
#[derive(Debug, Default)]
pub(super) struct Reserved {
    /// Each with the place of its port in `ports`.
    sockets: Vec<(usize, OwnedFd)>,
    /// What was reserved, each with one port.
    pub(super) ports: Vec<PortSpec>,
}

impl Reserved {
    /// Each socket, with the port it is of and where it is bound.
    pub(super) fn sockets(&self) -> impl Iterator<Item = (&PortSpec, SocketAddr, &OwnedFd)> {
        self.sockets.iter().filter_map(|(index, socket)| {
            let address = getsockname(socket).ok()?;
            Some((self.ports.get(*index)?, SocketAddr::try_from(address).ok()?, socket))
        })
    }

    /// Takes what another has reserved along.
    pub(super) fn add(&mut self, other: Reserved) {
        let before = self.ports.len();
        self.ports.extend(other.ports);
        self.sockets.extend(other.sockets.into_iter().map(|(at, socket)| (at + before, socket)));
    }
}

/// A port that could not be reserved.
#[derive(Debug)]
pub(super) struct Taken {
    /// `8080/tcp`, or the range, with the address if there is one.
    pub(super) port: String,
    /// The kernel's answer.
    errno: Errno,
    /// Who has it, where that could be found.
    owner: Option<String>,
}

impl fmt::Display for Taken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.owner, self.errno) {
            (Some(owner), _) => write!(f, "it is {owner}"),
            (None, Errno::ADDRINUSE) => f.write_str("it is taken by another program"),
            (None, Errno::ADDRNOTAVAIL) => f.write_str("the host does not have this address"),
            (None, errno) => write!(f, "{errno}"),
        }
    }
}

/// Reserves a port for each of `wanted`: where the file leaves the choice, what it was in `last` if
/// that is free, else the first that is free of its range, or any.
///
/// # Errors
/// [`Taken`] for the first that cannot be had; nothing is reserved then.
pub(super) fn reserve(
    wanted: &[PortSpec],
    mut last: Vec<PortSpec>,
    run_dir: &Path,
) -> Result<Reserved, Taken> {
    let above = room_for(wanted);
    // Nor is a port chosen that the file gives to another.
    last.retain(|had| !wanted.iter().any(|spec| is_one(spec) && spec.published == had.published));
    let mut reserved = Reserved::default();
    for spec in wanted {
        let had = last.iter().position(|had| had.target == spec.target && fits(had, spec));
        let again =
            had.map(|index| PortSpec { published: last.remove(index).published, ..spec.clone() });
        let again = again.and_then(|again| reserve_alone(&again, run_dir, above).ok());
        reserved.add(again.map_or_else(|| reserve_alone(spec, run_dir, above), Ok)?);
    }
    Ok(reserved)
}

/// Whether the file says which port it is.
fn is_one(spec: &PortSpec) -> bool {
    spec.published.is_some_and(|(first, last)| first == last)
}

/// A socket for each family.
fn room_for(wanted: &[PortSpec]) -> Option<i32> {
    make_room(2 * wanted.len())
}

fn reserve_alone(spec: &PortSpec, run_dir: &Path, above: Option<i32>) -> Result<Reserved, Taken> {
    let apart = |(sockets, port): (Vec<OwnedFd>, u16)| match above {
        Some(above) => Ok((moved(&sockets, above).map_err(|errno| (errno, None))?, port)),
        None => Ok((sockets, port)),
    };
    let (sockets, port) = reserve_one(spec).and_then(apart).map_err(|(errno, port)| Taken {
        port: name(spec),
        errno,
        owner: port
            .filter(|_| errno == Errno::ADDRINUSE)
            .and_then(|p| owner(p, spec.protocol, run_dir)),
    })?;
    Ok(Reserved {
        sockets: sockets.into_iter().map(|socket| (0, socket)).collect(),
        ports: vec![PortSpec { published: Some((port, port)), ..spec.clone() }],
    })
}

/// The same sockets under numbers from there on.
fn moved(sockets: &[OwnedFd], above: i32) -> Result<Vec<OwnedFd>, Errno> {
    sockets.iter().map(|socket| rustix::io::fcntl_dupfd_cloexec(socket, above)).collect()
}

/// Reserves those of `wanted` that are still free. One without a port of the host needs none.
pub(super) fn reserve_free(wanted: &[PortSpec], run_dir: &Path) -> Reserved {
    let above = room_for(wanted);
    let each = wanted.iter().filter_map(|spec| match spec.published {
        Some(_) => reserve_alone(spec, run_dir, above).ok(),
        None => Some(Reserved { ports: vec![spec.clone()], ..Reserved::default() }),
    });
    each.fold(Reserved::default(), |mut all, one| {
        all.add(one);
        all
    })
}

impl Reserved {
    /// Has `wanted` instead, in their order, and after them `own`, which need none of the host. A
    /// port that fits one of them stays as it is, with another target maybe; all others are given
    /// up first, as a new one may be the same on another address.
    ///
    /// # Errors
    /// With words: one cannot be had. What was there is reserved again then.
    pub(super) fn turn_into(
        &mut self,
        (wanted, own): (&[PortSpec], &[PortSpec]),
        run_dir: &Path,
    ) -> Result<(), String> {
        let before = self.ports.clone();
        let above = make_room(2 * wanted.len().max(before.len()));
        let mut here = self.apart();
        let kept: Vec<_> = wanted.iter().map(|spec| take_fitting(&mut here, spec)).collect();
        drop(here);
        let mut refused = None;
        for (spec, kept) in wanted.iter().zip(kept) {
            match kept {
                Some((has, sockets)) => {
                    self.put(PortSpec { published: has.published, ..spec.clone() }, sockets);
                }
                None if refused.is_some() => {}
                None => match reserve_alone(spec, run_dir, above) {
                    Ok(new) => self.add(new),
                    Err(taken) => refused = Some(taken),
                },
            }
        }
        let Some(taken) = refused else {
            self.ports.extend_from_slice(own);
            return Ok(());
        };
        // Those that were given up for it are taken again where nobody else was faster: when what
        // came in their place is gone.
        let mut here = self.apart();
        let kept: Vec<_> = before.iter().map(|spec| take_fitting(&mut here, spec)).collect();
        drop(here);
        for (spec, kept) in before.into_iter().zip(kept) {
            match kept {
                Some((_, sockets)) => self.put(spec, sockets),
                None if spec.published.is_none() => self.put(spec, Vec::new()),
                None => self.add(reserve_alone(&spec, run_dir, above).unwrap_or_default()),
            }
        }
        Err(format!("reserve port `{}`: {taken}", taken.port))
    }

    /// The sockets that are given up when this turns into `wanted`, with their ports.
    pub(super) fn given_up<'a>(
        &'a self,
        wanted: &[PortSpec],
    ) -> impl Iterator<Item = (&'a PortSpec, SocketAddr)> {
        let mut here: Vec<_> = self.ports.iter().cloned().map(|port| (port, Vec::new())).collect();
        for spec in wanted {
            take_fitting(&mut here, spec);
        }
        let goes = move |port: &PortSpec| here.iter().any(|(gone, _)| gone == port);
        let sockets = self.sockets().map(|(port, address, _)| (port, address));
        sockets.filter(move |(port, _)| goes(port))
    }

    /// Everything, each port with its sockets; nothing is left.
    fn apart(&mut self) -> Vec<(PortSpec, Vec<OwnedFd>)> {
        let ports = std::mem::take(&mut self.ports).into_iter();
        let mut parts: Vec<_> = ports.map(|port| (port, Vec::new())).collect();
        for (index, socket) in std::mem::take(&mut self.sockets) {
            if let Some((_, sockets)) = parts.get_mut(index) {
                sockets.push(socket);
            }
        }
        parts
    }

    fn put(&mut self, port: PortSpec, sockets: Vec<OwnedFd>) {
        let index = self.ports.len();
        self.sockets.extend(sockets.into_iter().map(|socket| (index, socket)));
        self.ports.push(port);
    }
}

/// Takes the first port from `here` that `wanted` can have.
fn take_fitting(
    here: &mut Vec<(PortSpec, Vec<OwnedFd>)>,
    wanted: &PortSpec,
) -> Option<(PortSpec, Vec<OwnedFd>)> {
    let index = here.iter().position(|(has, _)| fits(has, wanted))?;
    Some(here.remove(index))
}

/// Whether a port that was reserved is one that `wanted` can have.
fn fits(has: &PortSpec, wanted: &PortSpec) -> bool {
    let (Some((port, _)), true) = (has.published, has.protocol == wanted.protocol) else {
        return false;
    };
    let in_range = |(first, last): (u16, u16)| (first..=last).contains(&port);
    has.host_ip == wanted.host_ip && wanted.published.is_none_or(in_range)
}

/// As people write it.
fn name(spec: &PortSpec) -> String {
    let address = match spec.host_ip {
        Some(IpAddr::V6(ip)) => format!("[{ip}]:"),
        Some(IpAddr::V4(ip)) => format!("{ip}:"),
        None => String::new(),
    };
    let ports = match spec.published {
        Some((first, last)) if first == last => first.to_string(),
        Some((first, last)) => format!("{first}-{last}"),
        None => "any".to_owned(),
    };
    format!("{address}{ports}/{}", protocol_name(spec.protocol))
}

fn protocol_name(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
        Protocol::Sctp => "sctp",
    }
}

fn reserve_one(spec: &PortSpec) -> Result<(Vec<OwnedFd>, u16), (Errno, Option<u16>)> {
    let addresses = match spec.host_ip {
        Some(ip) => vec![ip],
        None => vec![IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)],
    };
    match spec.published {
        Some((first, last)) => {
            let mut refusal = Errno::ADDRINUSE;
            for port in first..=last {
                match bind_all(&addresses, port, spec.protocol) {
                    Ok(sockets) => return Ok((sockets, port)),
                    Err(errno) => refusal = errno,
                }
            }
            Err((refusal, Some(first)))
        }
        None => {
            for _ in 0..ATTEMPTS {
                let first = bind_one(addresses[0], 0, spec.protocol).map_err(|e| (e, None))?;
                let port = port_of(&first).map_err(|e| (e, None))?;
                if let Ok(mut sockets) = bind_all(&addresses[1..], port, spec.protocol) {
                    sockets.push(first);
                    return Ok((sockets, port));
                }
            }
            Err((Errno::ADDRINUSE, None))
        }
    }
}

fn bind_all(addresses: &[IpAddr], port: u16, protocol: Protocol) -> Result<Vec<OwnedFd>, Errno> {
    let mut sockets = Vec::new();
    for address in addresses {
        match bind_one(*address, port, protocol) {
            Ok(socket) => sockets.push(socket),
            // A host without IPv6.
            Err(Errno::AFNOSUPPORT | Errno::ADDRNOTAVAIL) if address.is_unspecified() => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(sockets)
}

fn bind_one(address: IpAddr, port: u16, protocol: Protocol) -> Result<OwnedFd, Errno> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let (kind, transport) = match protocol {
        Protocol::Tcp => (SocketType::STREAM, ipproto::TCP),
        Protocol::Udp => (SocketType::DGRAM, ipproto::UDP),
        Protocol::Sctp => (SocketType::STREAM, ipproto::SCTP),
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(family, kind, flags, Some(transport))?;
    if address.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    without!("ports.reserved", return Ok(socket));
    let address = SocketAddr::new(address, port);
    match bind(&socket, &address) {
        Ok(()) => {}
        // Connections of an earlier listener that are still closing are no reason to refuse. With
        // reuse the kernel looks past them; without it again, nobody can bind beside us.
        Err(Errno::ADDRINUSE) if protocol == Protocol::Tcp => {
            sockopt::set_socket_reuseaddr(&socket, true)?;
            bind(&socket, &address)?;
            sockopt::set_socket_reuseaddr(&socket, false)?;
        }
        Err(errno) => return Err(errno),
    }
    Ok(socket)
}

fn port_of(socket: &OwnedFd) -> Result<u16, Errno> {
    let address = getsockname(socket)?;
    SocketAddr::try_from(address).map(|a| a.port()).map_err(|_| Errno::INVAL)
}

/// Who has a port: another container of ours, or a process.
fn owner(port: u16, protocol: Protocol, run_dir: &Path) -> Option<String> {
    container_with(port, protocol, run_dir).or_else(|| process_with(port, protocol))
}

fn container_with(port: u16, protocol: Protocol, run_dir: &Path) -> Option<String> {
    let own = run_dir.file_name()?;
    let entries = fs::read_dir(run_dir.parent()?).ok()?.filter_map(Result::ok);
    entries.filter(|entry| entry.file_name() != own).find_map(|entry| {
        let status: Status = record::read(&entry.path().join("status.json")).ok()??;
        let has = status.phase != Phase::Exited
            && status
                .published
                .iter()
                .any(|p| p.protocol == protocol && p.published == Some((port, port)));
        has.then(|| format!("published by `{}`", entry.file_name().to_string_lossy()))
    })
}

fn process_with(port: u16, protocol: Protocol) -> Option<String> {
    let sockets = listening::sockets(|p, n| (p, n) == (protocol, port)).ok()?;
    let inodes = sockets.iter().map(|socket| socket.inode).collect();
    // None of a monitor: containers were looked for before.
    let owner = holders::of(&inodes, Path::new("/")).into_values().next()?;
    Some(owner.to_string())
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, UdpSocket};

    use super::*;
    use crate::logs::testing::Folder;

    fn spec(published: Option<(u16, u16)>, protocol: Protocol) -> PortSpec {
        PortSpec { host_ip: Some(Ipv4Addr::LOCALHOST.into()), published, target: 80, protocol }
    }

    /// For the first time.
    fn reserve(wanted: &[PortSpec], run_dir: &Path) -> Result<Reserved, Taken> {
        super::reserve(wanted, Vec::new(), run_dir)
    }

    #[test]
    fn a_reserved_port_cannot_be_taken_by_others() {
        let dir = Folder::new();
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            let reserved = reserve(&[spec(None, protocol)], dir.path()).unwrap();
            let (port, _) = reserved.ports[0].published.unwrap();
            assert!(TcpListener::bind(("127.0.0.1", port)).is_err() || protocol == Protocol::Udp);
            assert!(UdpSocket::bind(("127.0.0.1", port)).is_err() || protocol == Protocol::Tcp);
            drop(reserved);
            reserve(&[spec(Some((port, port)), protocol)], dir.path()).unwrap();
        }
    }

    #[test]
    fn the_first_free_port_of_a_range_is_taken_and_a_full_range_names_the_owner() {
        let dir = Folder::new();
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        if port > u16::MAX - 20 {
            return;
        }
        let range = spec(Some((port, port + 20)), Protocol::Tcp);
        let reserved = reserve(&[range.clone(), range], dir.path()).unwrap();
        let ports: Vec<u16> = reserved.ports.iter().map(|p| p.published.unwrap().0).collect();
        assert!(ports[0] > port && ports[1] > ports[0], "{ports:?}");

        let refusal = reserve(&[spec(Some((port, port)), Protocol::Tcp)], dir.path()).unwrap_err();
        let own = format!("it is taken by process {} (", std::process::id());
        assert!(refusal.to_string().starts_with(&own), "{refusal}");
        assert_eq!(refusal.port, format!("127.0.0.1:{port}/tcp"));
    }

    #[test]
    fn ports_that_fit_stay_and_a_refusal_leaves_what_was_there() {
        let dir = Folder::new();
        let any = |target| PortSpec { target, ..spec(None, Protocol::Tcp) };
        let mut reserved = reserve(&[any(80), any(81)], dir.path()).unwrap();
        let [first, second] = [0, 1].map(|index| reserved.ports[index].clone());
        let squatter = TcpListener::bind("127.0.0.1:0").unwrap();
        let taken = squatter.local_addr().unwrap().port();

        // On all addresses what was on one, and one that somebody has.
        let wide = PortSpec { host_ip: None, ..first.clone() };
        let gone = |wanted: &[PortSpec]| -> Vec<PortSpec> {
            reserved.given_up(wanted).map(|(port, _)| port.clone()).collect()
        };
        assert_eq!(gone(&[any(82), wide.clone()]), std::slice::from_ref(&second));
        let range = Some((1, u16::MAX));
        assert_eq!(
            gone(&[PortSpec { published: range, ..wide.clone() }]),
            [first.clone(), second.clone()]
        );
        assert_eq!(gone(&[any(82), any(83)]), []);
        let wanted = [wide.clone(), spec(Some((taken, taken)), Protocol::Tcp)];
        let refusal = reserved.turn_into((&wanted, &[]), dir.path()).unwrap_err();
        assert!(
            refusal.starts_with(&format!("reserve port `127.0.0.1:{taken}/tcp`: ")),
            "{refusal}"
        );
        assert_eq!(reserved.ports, [first.clone(), second.clone()]);
        let port = |spec: &PortSpec| spec.published.unwrap().0;
        assert!(TcpListener::bind(("127.0.0.1", port(&first))).is_err());

        drop(squatter);
        let moved = PortSpec { target: 82, ..second.clone() };
        let wanted = [spec(Some((taken, taken)), Protocol::Tcp), moved.clone(), wide.clone()];
        reserved.turn_into((&wanted, &[]), dir.path()).unwrap();
        assert_eq!(reserved.ports, wanted);
        reserved.turn_into((&[any(83)], &[]), dir.path()).unwrap();
        assert_eq!(port(&reserved.ports[0]), taken, "the first that fits");
        assert!(TcpListener::bind(("127.0.0.1", port(&second))).is_ok());
    }

    #[test]
    fn a_port_of_ones_choice_stays_where_it_was_if_that_is_free() {
        let dir = Folder::new();
        // Where no other test chooses ports.
        let host_ip = Some(Ipv4Addr::new(127, 7, 7, 7).into());
        let any = |target| PortSpec { host_ip, target, ..spec(None, Protocol::Tcp) };
        let wanted = [any(80), any(80), any(81)];
        let numbers = |reserved: &Reserved| -> Vec<u16> {
            reserved.ports.iter().map(|port| port.published.unwrap().0).collect()
        };
        let reserved = reserve(&wanted, dir.path()).unwrap();
        let (before, last) = (numbers(&reserved), reserved.ports.clone());
        drop(reserved);
        let reserved = super::reserve(&wanted, last.clone(), dir.path()).unwrap();
        assert_eq!(numbers(&reserved), before);

        drop(reserved);
        let _squatter = TcpListener::bind(("127.7.7.7", before[0])).unwrap();
        let fixed = PortSpec { published: Some((before[2], before[2])), ..any(80) };
        let wanted = [&wanted[..], &[fixed]].concat();
        let now = numbers(&super::reserve(&wanted, last, dir.path()).unwrap());
        assert_eq!((now[1], now[3]), (before[1], before[2]));
        assert!(now[0] != before[0] && now[2] != before[2], "{now:?} after {before:?}");
    }

    #[test]
    fn closing_connections_do_not_keep_a_port() {
        let dir = Folder::new();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let client = std::net::TcpStream::connect(address).unwrap();
        let (server, _) = listener.accept().unwrap();
        // The side that closes first keeps the port in TIME_WAIT.
        drop(server);
        drop(client);
        drop(listener);
        let wanted = spec(Some((address.port(), address.port())), Protocol::Tcp);
        let _reserved = reserve(&[wanted], dir.path()).unwrap();
        assert!(TcpListener::bind(address).is_err());
    }

    #[test]
    fn another_container_is_named() {
        let dir = Folder::new();
        let (one, two) = (dir.path().join("shop-web-1"), dir.path().join("shop-web-2"));
        fs::create_dir(&one).unwrap();
        let reserved = reserve(&[spec(None, Protocol::Udp)], &one).unwrap();
        let wanted = reserved.ports.clone();
        let status =
            Status { phase: Phase::Running, published: wanted.clone(), ..Status::default() };
        record::write(&one.join("status.json"), &status, record::Durability::Volatile).unwrap();
        let refusal = reserve(&wanted, &two).unwrap_err();
        assert_eq!(refusal.to_string(), "it is published by `shop-web-1`");
    }

    #[test]
    fn an_address_the_host_does_not_have_is_refused() {
        let dir = Folder::new();
        let wanted = PortSpec {
            host_ip: Some(Ipv4Addr::new(192, 0, 2, 1).into()),
            ..spec(Some((8080, 8080)), Protocol::Tcp)
        };
        let refusal = reserve(&[wanted], dir.path()).unwrap_err();
        assert_eq!(refusal.port, "192.0.2.1:8080/tcp");
        assert_eq!(refusal.to_string(), "the host does not have this address");
    }
}
