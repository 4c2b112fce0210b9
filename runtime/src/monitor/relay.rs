//! What reaches a published port where the kernel cannot translate is carried by a relay, see
//! [`crate::relay`]: here is who starts it, and for which sockets.
//!
//! Out of an internal network nobody gets by a relay: the packet rules mark what comes from there to
//! the host, and the sockets do not take it.
//!
//! The sockets that reserve such ports listen, and all of them are in one set of epoll(7): the
//! monitor has one descriptor to wait for, however many ports there are. It never accepts or reads
//! anything itself: with the first client it starts the relay, hands it the sockets, and looks at
//! the set again when the relay has ended.

use std::io::{self, Seek, SeekFrom, Write};
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use berth_network::firewall::NOT_RELAYED;
use berth_planner::desired::PortSpec;
use berth_schema::stack::Protocol;
use libc::{
    BPF_ABS, BPF_JEQ, BPF_JMP, BPF_K, BPF_LD, BPF_RET, BPF_W, SKF_AD_MARK, SKF_AD_OFF, sock_filter,
};
use rustix::event::epoll;
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::net::sockopt::Timeout;
use rustix::net::{listen, sockopt};
use rustix::process::{Pid, PidfdFlags, WaitId, WaitIdOptions, pidfd_open, waitid};

use super::network;
use super::poll::{PollSet, Token};
use super::ports::Reserved;
use crate::bundle::Bundle;
use crate::container::{Channel, lost};
use crate::relay::{NUMBER, WORD, Way};
use crate::sabotage;
use crate::sys;

/// Connections that wait in the kernel for a relay.
const BACKLOG: i32 = 1024;
/// Until the next relay, when one has failed.
const AGAIN: Duration = Duration::from_secs(1);
/// How long a relay may take to its end when it was killed, and to hear what it is told.
const END: Duration = Duration::from_millis(500);

/// The ports that a relay is needed for.
#[derive(Default)]
pub(super) struct Relay {
    /// Readable when somebody is at one of them; `None` when there are none.
    set: Option<OwnedFd>,
    process: Option<Process>,
    /// After a failure, nobody is served before.
    again: Option<Instant>,
}

struct Process {
    pidfd: OwnedFd,
    channel: Channel,
}

impl Relay {
    /// Opens the ports that need one; to be called again when the ports have changed. A relay that
    /// runs goes on with those that stay.
    ///
    /// # Errors
    /// What the kernel answers; then none of them is served.
    pub(super) fn follow(&mut self, bundle: &Bundle, reserved: &Reserved) -> io::Result<()> {
        self.set = None;
        let doors = doors(bundle, reserved);
        if doors.is_empty() {
            self.end();
            return Ok(());
        }
        let set = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        for (way, socket) in &doors {
            sys::attach_filter(socket.as_fd(), &not_marked(NOT_RELAYED))?;
            if way.protocol == Protocol::Tcp {
                // Connections that are still closing are no reason to refuse; beside a socket that
                // listens nobody can bind all the same.
                sockopt::set_socket_reuseaddr(socket, true)?;
                listen(socket, BACKLOG)?;
            }
            epoll::add(&set, socket, epoll::EventData::new_u64(0), epoll::EventFlags::IN)?;
        }
        self.set = Some(set);
        // Without it the next client starts another one.
        self.process = self.process.take().and_then(|process| process.told(&doors).ok());
        Ok(())
    }

    /// Whether a relay runs that has one of these sockets.
    pub(super) fn serves<'a>(
        &self,
        bundle: &Bundle,
        mut sockets: impl Iterator<Item = (&'a PortSpec, SocketAddr)>,
    ) -> bool {
        let door = |(spec, host): (&PortSpec, SocketAddr)| {
            network::relayed(bundle, spec, host.ip()).is_some()
        };
        self.process.is_some() && sockets.any(door)
    }

    /// Adds what to wait for: a client, or the end of the relay that serves them.
    pub(super) fn poll<'a>(&'a self, set: &mut PollSet<'a>, now: Instant) {
        match (&self.process, &self.set, self.again.filter(|at| *at > now)) {
            (Some(process), ..) => set.read(Token::RelayExit, &process.pidfd),
            (None, Some(_), Some(again)) => set.until(Some(again)),
            (None, Some(clients), None) => set.read(Token::Relay, clients),
            (None, None, _) => {}
        }
    }

    /// Somebody is there: starts a relay.
    pub(super) fn start(&mut self, bundle: &Bundle, reserved: &Reserved, now: Instant) {
        match begin(&bundle.name, &doors(bundle, reserved)) {
            Ok(process) => self.process = Some(process),
            // Who is there waits; perhaps there is memory for it later.
            Err(_) => self.again = Some(now + AGAIN),
        }
    }

    /// It has ended: for want of clients, or because it failed.
    pub(super) fn ended(&mut self, now: Instant) {
        let Some(process) = self.process.take() else { return };
        let status = waitid(WaitId::PidFd(process.pidfd.as_fd()), WaitIdOptions::EXITED);
        let well = status.is_ok_and(|s| s.is_some_and(|s| s.exit_status() == Some(0)));
        self.again = (!well).then(|| now + AGAIN);
    }

    /// Ends it, and takes it away.
    pub(super) fn end(&mut self) {
        if let Some(process) = self.process.take() {
            process.end();
        }
    }
}

impl Process {
    /// Of a child that was just started, which has the other end of the channel.
    fn of(mut child: Child, channel: Channel) -> io::Result<Process> {
        match pidfd_open(Pid::from_child(&child), PidfdFlags::empty()) {
            Ok(pidfd) => Ok(Process { pidfd, channel }),
            Err(errno) => {
                let _ = child.kill();
                let _ = child.wait();
                Err(errno.into())
            }
        }
    }

    /// Tells it what to serve. One that was not told all of it would wait for the rest: it ends.
    fn told(self, doors: &[(Way, &OwnedFd)]) -> io::Result<Process> {
        match hand_over(&self.channel, doors) {
            Ok(()) => Ok(self),
            Err(error) => {
                self.end();
                Err(error)
            }
        }
    }

    fn end(self) {
        // It may have ended by itself.
        let _ = sys::pidfd_send_signal(self.pidfd.as_fd(), libc::SIGKILL);
        let mut set = PollSet::default();
        set.read(Token::RelayExit, &self.pidfd);
        set.until(Some(Instant::now() + END));
        // Who does not end now is waited for later.
        let _ = set.wait();
        lost::remember(self.pidfd);
        lost::reap();
    }
}

/// The sockets that a relay is needed for, each with its way.
fn doors<'a>(bundle: &Bundle, reserved: &'a Reserved) -> Vec<(Way, &'a OwnedFd)> {
    let doors = reserved.sockets().filter_map(|(spec, host, socket)| {
        let target = network::relayed(bundle, spec, host.ip())?;
        let target = SocketAddr::new(target, spec.target);
        Some((Way { protocol: spec.protocol, host, target }, socket))
    });
    doors.collect()
}

/// Lets in what does not bear this mark (`SKF_AD_MARK`, socket(7) and the kernel's
/// `networking/filter.rst`).
fn not_marked(mark: u32) -> [sock_filter; 4] {
    let step = |code, k, jt, jf| sock_filter { code: code as u16, jt, jf, k };
    [
        step(BPF_LD | BPF_W | BPF_ABS, (SKF_AD_OFF + SKF_AD_MARK) as u32, 0, 0),
        step(BPF_JMP | BPF_JEQ | BPF_K, mark, 0, 1),
        step(BPF_RET | BPF_K, 0, 0, 0),
        step(BPF_RET | BPF_K, u32::MAX, 0, 0),
    ]
}

fn begin(name: &str, doors: &[(Way, &OwnedFd)]) -> io::Result<Process> {
    let (ours, theirs) = Channel::pair()?;
    // Nobody who takes nothing keeps its monitor from its work.
    sockopt::set_socket_timeout(ours.as_fd(), Timeout::Send, Some(END))?;
    let mut command = Command::new("/proc/self/exe");
    command
        .arg0("berth")
        .args([WORD, name])
        .env_clear()
        .envs(sabotage::passed_on())
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    sys::pass_as(&mut command, theirs.into_fd(), NUMBER);
    let child = command.spawn()?;
    drop(command); // and with it the other end of the channel
    Process::of(child, ours)?.told(doors)
}

fn hand_over(channel: &Channel, doors: &[(Way, &OwnedFd)]) -> io::Result<()> {
    let ways: Vec<Way> = doors.iter().map(|(way, _)| *way).collect();
    let list = serde_json::to_vec(&ways).map_err(io::Error::other)?;
    let mut file = std::fs::File::from(memfd_create("ports", MemfdFlags::CLOEXEC)?);
    file.write_all(&list)?;
    file.seek(SeekFrom::Start(0))?;
    let sockets = doors.iter().map(|(_, socket)| socket.as_fd());
    let fds: Vec<BorrowedFd<'_>> = [file.as_fd()].into_iter().chain(sockets).collect();
    channel.send_fds(&fds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_cannot_be_told_what_to_serve_does_not_stay() {
        let (ours, theirs) = Channel::pair().unwrap();
        drop(theirs);
        let child = Command::new("sleep").arg("1000").spawn().unwrap();
        let pid = Pid::from_child(&child);
        let refused = Process::of(child, ours).unwrap().told(&[]);
        assert!(refused.is_err_and(|e| e.kind() == io::ErrorKind::BrokenPipe));
        assert!(rustix::process::test_kill_process(pid).is_err(), "it runs");
    }
}
