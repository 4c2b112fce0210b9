//! Ports and names of a replica pass from the container that serves to the one beside it.
//!
//! The new container's monitor asks the old one's for the sockets that reserve the ports: they are the
//! same sockets afterwards, so nobody else can have a port in between, and who waits at one that listens
//! is not lost. Then it leads the ports to its own container in one transaction, and only then tells the
//! other, which gives up what it has. Killed at any point, the two leave ports that lead to one of them.

use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use berth_network::firewall::{self, Published};
use berth_planner::desired::PortSpec;

use super::client::is_monitored;
use super::keep::{Monitor, read_bundle, read_status};
use super::life::Running;
use super::ports::{Reserved, reserve_free};
use super::protocol::{Reply, Request, line};
use super::update::write;
use super::{SOCKET, names, network};
use crate::bundle::{Bundle, Phase};
use crate::container::{Channel, Packet, make_room};
use crate::host::state::mark_served;

/// How long the other monitor may take for an answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Bytes of its answer: every port of a host, of each protocol.
const LONGEST: usize = 1 << 25;

impl Monitor {
    /// Takes ports and names over from the container of that name.
    ///
    /// # Errors
    /// With words: it serves already, or the host refuses some of it. Then the other serves on, as far
    /// as the host lets it.
    pub(super) fn take_over(&mut self, from: &str) -> Result<(), String> {
        if !self.status.beside {
            return Err("it serves already".to_owned());
        }
        let runs = |running: &mut Running| !running.stopping;
        if self.status.phase != Phase::Running || !self.running().is_some_and(runs) {
            return Err("it does not run".to_owned());
        }
        let run_dir = self.bundle.run_dir.with_file_name(from);
        let (old, ports) = Old::ask(&run_dir).map_err(|e| format!("ask `{from}`: {e}"))?;
        let before = old_ports(&run_dir, &ports.ports);
        let bundle = Bundle { beside: false, ..self.bundle.clone() };
        let (of_host, own) = network::own_ports(&bundle);
        self.reserved = ports;
        let turned = self.reserved.turn_into((&of_host, &own), &bundle.run_dir);
        if let Err(why) = turned.and_then(|()| self.serve_instead(&bundle, &before)) {
            self.stay_beside();
            return Err(why);
        }
        self.bundle = bundle;
        self.status.beside = false;
        // Without the mark it would be one that has to show first that it is good.
        let _ = mark_served(&self.bundle.state_dir);
        self.status.published = self.reserved.ports.clone();
        self.tell();
        // Gone meanwhile, it has given up all there was.
        let _ = old.map_or(Ok(()), Old::taken);
        Ok(())
    }

    /// New names before old ones go, and the ports last: from then on it is true.
    fn serve_instead(&mut self, bundle: &Bundle, before: &[Published]) -> Result<(), String> {
        let wanted = network::published(bundle, &self.reserved.ports)?;
        write(bundle)?;
        names::write(bundle).map_err(|e| format!("write names: {e}"))?;
        self.relay.follow(bundle, &self.reserved).map_err(|e| format!("start a relay: {e}"))?;
        lead(before, &wanted, &bundle.name).map_err(|e| e.to_string())
    }

    fn stay_beside(&mut self) {
        self.relay.end();
        self.reserved = Reserved::default();
        let _ = self.relay.follow(&self.bundle, &self.reserved);
        names::rest(&self.bundle);
        // It counts at the next start, and that is not before it is told to take over once more.
        let _ = write(&self.bundle);
    }

    /// Hands a client, the monitor of another container, the sockets that reserve its ports.
    pub(super) fn hand_over(&mut self, client: u64) {
        let ports = &self.reserved.ports;
        let sockets: Vec<(usize, &OwnedFd)> = self.reserved.by_port().collect();
        let places = sockets.iter().map(|(place, _)| *place).collect();
        let reply = Reply::Ports { ports: ports.clone(), sockets: places };
        let sockets: Vec<&OwnedFd> = sockets.into_iter().map(|(_, socket)| socket).collect();
        self.server.hand_over(client, &reply, &sockets);
    }

    /// Another container has its ports and names now.
    pub(super) fn give_up(&mut self) -> Result<(), String> {
        self.bundle.beside = true;
        self.status.beside = true;
        self.relay.end();
        self.reserved = Reserved::default();
        let _ = self.relay.follow(&self.bundle, &self.reserved);
        self.status.published.clear();
        names::rest(&self.bundle);
        self.tell();
        write(&self.bundle)
    }
}

/// Leads ports that led as in `before` to where `wanted` says, in one transaction. What a run that was
/// killed has done of it is left as it is.
fn lead(
    before: &[Published],
    wanted: &[Published],
    name: &str,
) -> Result<(), berth_network::error::NetError> {
    let there = firewall::observe()?.published;
    let targets: Vec<_> = wanted.iter().map(|port| port.target.ip()).collect();
    let own = |port: &&Published| port.owner == name && targets.contains(&port.target.ip());
    let goes = there.iter().filter(|port| before.contains(port) || own(port));
    let goes: Vec<Published> = goes.filter(|port| !wanted.contains(port)).cloned().collect();
    let comes = wanted.iter().filter(|port| !there.contains(port));
    let comes: Vec<Published> = comes.cloned().collect();
    firewall::change(&goes, &comes)
}

/// Where the ports of the other lead.
fn old_ports(run_dir: &Path, ports: &[PortSpec]) -> Vec<Published> {
    let bundle = read_bundle(run_dir).ok();
    let led = bundle.and_then(|bundle| network::published(&bundle, ports).ok());
    led.unwrap_or_default()
}

/// The monitor of the container that serves until now.
struct Old(UnixStream);

impl Old {
    /// Gets what reserves its ports. One whose monitor was killed has its ports written down, and
    /// nothing reserves them any more: those that are still free are reserved anew.
    fn ask(run_dir: &Path) -> io::Result<(Option<Old>, Reserved)> {
        let stream = match connect(run_dir) {
            Ok(stream) => stream,
            Err(e) if is_monitored(run_dir) => return Err(e),
            Err(_) => {
                let status = read_status(run_dir).map_err(io::Error::other)?;
                let ports = status.map(|status| status.published).unwrap_or_default();
                let mut reserved = reserve_free(&ports, run_dir);
                // What somebody else has by now leads to the container all the same.
                let taken = |port: &PortSpec| !reserved.ports.contains(port);
                let taken = ports.into_iter().filter(taken).collect();
                reserved.add(Reserved::of(taken, Vec::new()));
                return Ok((None, reserved));
            }
        };
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let mut old = Old(stream);
        match old.request(&Request::HandOver)? {
            Reply::Ports { ports, sockets } => {
                let fds = old.sockets(sockets.len())?;
                let sockets = sockets.into_iter().zip(fds).collect();
                Ok((Some(old), Reserved::of(ports, sockets)))
            }
            Reply::Refused { reason } => Err(io::Error::other(reason)),
            Reply::Status(_) | Reply::Done | Reply::Attached { .. } => {
                Err(io::ErrorKind::InvalidData.into())
            }
        }
    }

    fn sockets(&self, count: usize) -> io::Result<Vec<OwnedFd>> {
        let above = make_room(2 * count);
        let channel = Channel::from_fd(self.0.try_clone()?.into());
        let mut fds = Vec::new();
        loop {
            let Packet::Fds(some, more) = channel.receive()? else {
                return Err(io::ErrorKind::UnexpectedEof.into());
            };
            fds.extend(some);
            if !more {
                break;
            }
        }
        match above {
            Some(above) => Ok(super::ports::moved(&fds, above)?),
            None => Ok(fds),
        }
    }

    /// Tells it that it serves no more, and waits until that is so.
    fn taken(mut self) -> io::Result<()> {
        self.request(&Request::Taken).map(drop)
    }

    fn request(&mut self, request: &Request) -> io::Result<Reply> {
        self.0.write_all(&line(request))?;
        // What follows the line belongs to descriptors, so not a byte too many is read.
        let mut answer = Vec::new();
        let mut byte = [0];
        while answer.last() != Some(&b'\n') && answer.len() < LONGEST {
            self.0.read_exact(&mut byte)?;
            answer.extend(byte);
        }
        serde_json::from_slice(&answer).map_err(io::Error::other)
    }
}

/// Connects by a descriptor of the folder: its path may be longer than a socket's may.
fn connect(run_dir: &Path) -> io::Result<UnixStream> {
    let dir = std::fs::OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_PATH | libc::O_DIRECTORY)
        .open(run_dir)?;
    UnixStream::connect(format!("/proc/self/fd/{}/{SOCKET}", dir.as_raw_fd()))
}
