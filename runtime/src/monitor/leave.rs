//! What is taken away when a container has ended for good, by its monitor or in its place.

use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::events::{Events, Happening};
use super::keep::{Monitor, lock, read_bundle, read_status};
use super::life::exit_code;
use super::output::Output;
use super::poll::{PollSet, Token};
use super::server::Server;
use super::{SOCKET, STATUS, clock, names, network};
use crate::bundle::{Bundle, Phase, Status};
use crate::container::cgroup::{Group, Quarters};
use crate::container::{self, Target};
use crate::record::{self, Durability};
use crate::sys;

impl Monitor {
    /// Takes everything away, says the last word and lets the lock go. The container has ended.
    /// What its log server has not taken yet comes last: nobody waits for that, and the next
    /// start may be under way meanwhile.
    pub(super) fn leave(&mut self) {
        self.status.phase = Phase::Exited;
        self.status.pid = 0;
        self.status.pid_start = 0;
        self.relay.end();
        if let Err(reason) = take_away(&self.bundle, &self.group, &self.status) {
            self.status.error.get_or_insert(reason);
        }
        self.reserved = super::ports::Reserved::default();
        // It is over, also where /run has no room to say so.
        let _ = self.write_status();
        if self.bundle.remove_on_exit {
            // What cannot be removed is a leftover that the next plan sees.
            let _ = fs::remove_dir_all(&self.bundle.run_dir);
        }
        // Before anybody may count on everything being gone.
        self.sentry.end();
        self.quarters.iter().for_each(Quarters::leave);
        self.lock = None;
        self.server.finish(&self.status);
        self.output.finish();
    }
}

/// Takes away what the kernel does not: packet rules, names, cgroup, socket, FIFOs.
///
/// # Errors
/// What could not be taken away, in words; everything else is gone.
fn take_away(bundle: &Bundle, group: &Group, status: &Status) -> Result<(), String> {
    names::rest(bundle);
    container::forget(bundle);
    let unpublished = network::unpublish(bundle, &status.published);
    let removed = group.remove();
    Output::remove(&bundle.run_dir);
    // The socket may have gone with an earlier attempt.
    let _ = fs::remove_file(bundle.run_dir.join(SOCKET));
    unpublished.and(removed.map_err(|error| error.to_string()))
}

/// Ends a container whose monitor was killed, and does what the monitor would have done then.
/// A container that has ended already is only cleaned up after.
///
/// Blocks for up to `grace` and a little more.
///
/// # Errors
/// It has a monitor, or it could not be ended.
pub fn kill_unmonitored(run_dir: &Path, grace: Duration) -> io::Result<()> {
    let _lock = lock(run_dir).map_err(io::Error::other)?;
    let bundle = read_bundle(run_dir).map_err(io::Error::other)?;
    let Some(mut status) = read_status(run_dir).map_err(io::Error::other)? else {
        return Ok(());
    };
    if status.phase == Phase::Exited {
        return Ok(());
    }
    // Held open over the end: with its last opener a FIFO forgets what is in it.
    let mut output = Output::open(&bundle)?;
    let group = Group::find(&bundle.cgroup.path).map_err(io::Error::other)?;
    let code = end(&bundle, &group, &status, grace)?;
    output.drain(&mut Server::listen(run_dir)?);
    let events = Events::of(&bundle);
    events.add(Happening::Stop);
    events.add(Happening::Die { exit_code: code });
    status.exit_code = code;
    status.finished_ms = Timestamp::now().as_millisecond();
    status.phase = Phase::Exited;
    take_away(&bundle, &group, &status).map_err(io::Error::other)?;
    status.pid = 0;
    status.pid_start = 0;
    status.stop = None;
    record::write(&run_dir.join(STATUS), &status, Durability::Volatile)?;
    output.finish();
    Ok(())
}

/// Ends its processes: the first by its signal, what is left by SIGKILL. A stop that was under way
/// goes on for as long as it has left.
fn end(bundle: &Bundle, group: &Group, status: &Status, grace: Duration) -> io::Result<i32> {
    let begun = status.stop.filter(|_| status.phase == Phase::Stopping);
    let grace = begun.map_or(grace, |stop| grace.min(clock::left(stop.kill_at_ms)));
    let asked = begun.is_some_and(|stop| stop.asked);
    let process =
        Target::from_status(status).and_then(|target| Some((target, target.open().ok()?)));
    if let Some((_, pidfd)) = &process {
        if group.is_frozen() {
            // It could not heed its signal.
            group.thaw().map_err(io::Error::other)?;
        }
        if !grace.is_zero() && !asked {
            sys::pidfd_send_signal(pidfd.as_fd(), bundle.stop_signal)?;
        }
        let mut set = PollSet::default();
        set.read(Token::Exit, pidfd);
        set.until(Instant::now().checked_add(grace));
        if set.wait()?.is_empty() {
            sys::pidfd_send_signal(pidfd.as_fd(), libc::SIGKILL)?;
        }
    }
    if group.exists() {
        group.kill_all().map_err(io::Error::other)?;
    }
    match process {
        Some((target, pidfd)) => {
            let mut set = PollSet::default();
            set.read(Token::Exit, &pidfd);
            set.until(Some(Instant::now() + Duration::from_secs(10)));
            match set.wait()?.is_empty() {
                true => Err(io::Error::other("its process does not end")),
                false => Ok(exit_code(&target, &pidfd)),
            }
        }
        None => Ok(-1),
    }
}
