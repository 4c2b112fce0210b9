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

    /// What another process had reserved: `sockets` with the places of their ports.
    pub(super) fn of(ports: Vec<PortSpec>, sockets: Vec<(usize, OwnedFd)>) -> Reserved {
        Reserved { sockets, ports }
    }

    /// Each socket with the place of its port.
    pub(super) fn by_port(&self) -> impl Iterator<Item = (usize, &OwnedFd)> {
        self.sockets.iter().map(|(place, socket)| (*place, socket))
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
pub(super) fn moved(sockets: &[OwnedFd], above: i32) -> Result<Vec<OwnedFd>, Errno> {
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
#[path = "ports_tests.rs"]
mod tests;
