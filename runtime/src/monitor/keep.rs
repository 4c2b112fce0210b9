//! A monitor's loop: one wait, and who serves what has come.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use berth_planner::observed::Health;
use rustix::fs::{FlockOperation, flock};

use super::backoff::Backoff;
use super::events::{Events, Happening};
use super::frozen::Frozen;
use super::life::{Life, Running};
use super::output::Output;
use super::poll::{PollSet, Token};
use super::ports::Reserved;
use super::relay::Relay;
use super::sentry::Sentry;
use super::server::{Server, Wish};
use super::{BUNDLE, LOCK, STATUS, StartFailure, Step, protocol};
use crate::bundle::{Bundle, Phase, Status};
use crate::container::cgroup::{Group, Quarters};
use crate::container::{Target, lost};
use crate::record::{self, Durability};

/// Attempts to get the lock: somebody may just be looking whether it is held.
const LOCK_ATTEMPTS: u32 = 50;
const LOCK_PAUSE: Duration = Duration::from_millis(4);
/// Between two attempts to write a status for which there was no room.
const STATUS_PAUSE: Duration = Duration::from_secs(1);
/// Until the next look for the end of a process that did not end when it was killed.
const AGAIN: Duration = Duration::from_millis(200);

/// How a monitor comes to its container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// It starts it.
    Start,
    /// The one before was killed.
    Adopt,
}

/// The monitor of one container.
pub(super) struct Monitor {
    pub(super) bundle: Bundle,
    /// Its cgroup.
    pub(super) group: Group,
    /// Where it lives itself, if not where the command was that started it.
    pub(super) quarters: Option<Quarters>,
    pub(super) status: Status,
    pub(super) output: Output,
    pub(super) server: Server,
    pub(super) events: Events,
    pub(super) sentry: Sentry,
    pub(super) reserved: Reserved,
    /// Serves those of them that the kernel cannot translate.
    pub(super) relay: Relay,
    pub(super) backoff: Backoff,
    pub(super) life: Life,
    /// Its processes stand still for clients.
    pub(super) frozen: Option<Frozen>,
    /// The user has stopped it, or sent what stops it: it is not started again.
    pub(super) stopped: bool,
    /// The status could not be written and is tried again then.
    pub(super) unwritten: Option<Instant>,
    /// Held for life.
    pub(super) lock: Option<File>,
    /// Who asked for it and has no answer yet.
    pub(super) reply: Option<File>,
}

/// A monitor's whole life. The reply (a line of JSON: a status, or a [`StartFailure`]) is given
/// when the container runs, or does not.
pub(crate) fn run(run_dir: &Path, mode: Mode, reply: File, quarters: Option<Quarters>) {
    let mut monitor = match Monitor::open(run_dir, quarters) {
        Ok(monitor) => monitor,
        Err(failure) => return answer(reply, Err(&failure)),
    };
    monitor.reply = Some(reply);
    let begun = match mode {
        Mode::Start => monitor.begin(),
        Mode::Adopt => monitor.adopt(),
    };
    match begun {
        Ok(()) if monitor.is_in_post_start() => {}
        Ok(()) => monitor.answer(None),
        Err(failure) => return monitor.answer(Some(failure)),
    }
    monitor.sentry.begin(&monitor.bundle, Instant::now());
    if let Err(error) = monitor.keep() {
        // Without a wait there is no monitor: the container runs on and can be adopted.
        monitor.status.error = Some(format!("its monitor ended: {error}"));
        // Nobody is left to try again.
        let _ = monitor.write_status();
    }
}

/// Who asked may be gone; the container runs all the same.
fn answer(mut reply: File, answer: Result<&Status, &StartFailure>) {
    let _ = reply.write_all(&protocol::line(&answer));
}

/// Takes the lock of a run folder.
///
/// # Errors
/// A monitor has it.
pub(super) fn lock(run_dir: &Path) -> Result<File, StartFailure> {
    let path = run_dir.join(LOCK);
    let mut options = OpenOptions::new();
    options.create(true).truncate(false).write(true).mode(0o600).custom_flags(libc::O_NOFOLLOW);
    let file = options.open(&path).step("open", path.display())?;
    for _ in 0..LOCK_ATTEMPTS {
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() {
            return Ok(file);
        }
        std::thread::sleep(LOCK_PAUSE);
    }
    Err(StartFailure::new(super::LOCK_STEP, path.display(), "the container has a monitor already"))
}

/// Reads the description of a container.
pub(super) fn read_bundle(run_dir: &Path) -> Result<Bundle, StartFailure> {
    let path = run_dir.join(BUNDLE);
    let bundle = record::read(&path).step("read", path.display())?;
    bundle.ok_or_else(|| StartFailure::new("read", path.display(), "there is no such file"))
}

/// Reads what the last monitor wrote, if one did on this boot.
pub(super) fn read_status(run_dir: &Path) -> Result<Option<Status>, StartFailure> {
    let path = run_dir.join(STATUS);
    let status: Option<Status> = record::read(&path).step("read", path.display())?;
    let boot = boot_id()?;
    Ok(status.filter(|status| status.boot_id == boot))
}

/// What is known of the health of a container that has just begun.
pub(super) fn first_health(bundle: &Bundle) -> Health {
    match bundle.health.is_some() || bundle.ready.is_some() {
        true => Health::Starting,
        false => Health::None,
    }
}

fn boot_id() -> Result<String, StartFailure> {
    let path = "/proc/sys/kernel/random/boot_id";
    Ok(std::fs::read_to_string(path).step("read", path)?.trim().to_owned())
}

impl Monitor {
    /// A monitor that is ready to start or adopt.
    fn open(run_dir: &Path, quarters: Option<Quarters>) -> Result<Monitor, StartFailure> {
        let lock = lock(run_dir)?;
        let bundle = read_bundle(run_dir)?;
        let own = i32::try_from(std::process::id()).unwrap_or_default();
        let health = first_health(&bundle);
        let status = Status {
            boot_id: boot_id()?,
            monitor: own,
            monitor_start: Target::of(own).map(|own| own.start).unwrap_or_default(),
            health,
            ..Status::default()
        };
        Ok(Monitor {
            group: Group::find(&bundle.cgroup.path)?,
            quarters,
            output: Output::open(&bundle).step("open the output of", &bundle.name)?,
            server: Server::listen(run_dir).step("listen for clients of", &bundle.name)?,
            events: Events::of(&bundle),
            sentry: Sentry::of(&bundle),
            reserved: Reserved::default(),
            relay: Relay::default(),
            backoff: Backoff::new(bundle.restart, bundle.pace),
            life: Life::Ended,
            frozen: None,
            stopped: false,
            unwritten: None,
            lock: Some(lock),
            reply: None,
            status,
            bundle,
        })
    }

    /// Serves until the container has ended for good and everything is taken away.
    fn keep(&mut self) -> io::Result<()> {
        loop {
            self.tick(Instant::now());
            if matches!(self.life, Life::Ended) {
                self.leave();
                return Ok(());
            }
            for token in self.wait()? {
                self.serve(token);
            }
        }
    }

    fn wait(&self) -> io::Result<Vec<Token>> {
        let now = Instant::now();
        let mut set = PollSet::default();
        self.output.poll(&mut set, self.server.is_behind(), now);
        self.server.poll(&mut set, self.output.input_full());
        self.relay.poll(&mut set, now);
        self.sentry.poll(&mut set);
        set.until(self.unwritten);
        set.until(lost::reap().then(|| now + AGAIN));
        set.until(self.frozen.as_ref().and_then(Frozen::again));
        match &self.life {
            Life::Running(running) => running.poll(&mut set, self.frozen.is_some()),
            Life::Waiting { until } => set.until(Some(*until)),
            Life::Lingering | Life::Ended => {}
        }
        set.wait()
    }

    fn serve(&mut self, token: Token) {
        let now = Instant::now();
        match token {
            Token::Output(index) => self.output.read(index, &mut self.server, now),
            Token::Input => self.output.write_input(),
            Token::Forward => self.output.forward(),
            Token::Listener => self.server.accept(),
            Token::Client(id) => {
                for wish in self.server.serve(id, &self.status, self.bundle.tty) {
                    self.grant(wish);
                }
            }
            Token::Sentry => self.sentry.serve(now),
            Token::Exit => self.ended(now),
            Token::ProbeExit | Token::ProbeOutput | Token::Look => self.serve_check(token, now),
            Token::HookExit | Token::HookOutput => self.serve_hook(token, now),
            Token::Relay => self.relay.start(&self.bundle, &self.reserved, now),
            Token::RelayExit => self.relay.ended(now),
            Token::Resolver(index) => {
                if let Some(resolver) = self.running().and_then(|r| r.resolver.as_mut()) {
                    resolver.serve(index, now);
                }
            }
        }
    }

    fn grant(&mut self, wish: Wish) {
        match wish {
            Wish::Stop { grace, hold } => self.stop(grace, hold),
            Wish::Signal { client, number } => {
                let sent = self.signal(number);
                self.server.answer(client, sent);
            }
            Wish::Freeze { client } => {
                let frozen = self.freeze(client);
                self.server.answer(client, frozen);
            }
            Wish::Thaw { client } => {
                let thawed = self.thaw(client);
                self.server.answer(client, thawed);
            }
            Wish::Pause { client } => {
                let paused = self.pause();
                self.server.answer(client, paused);
            }
            Wish::Unpause { client } => {
                let unpaused = self.unpause();
                self.server.answer(client, unpaused);
            }
            Wish::Update { client, cgroup, restart, rewire, keep } => {
                let updated = self.update((*cgroup, restart), rewire, keep);
                self.server.answer(client, updated);
            }
            Wish::TakeOver { client, from } => {
                let taken = self.take_over(&from);
                self.server.answer(client, taken);
            }
            Wish::HandOver { client } => self.hand_over(client),
            Wish::GiveUp { client } => {
                let given_up = self.give_up();
                self.server.answer(client, given_up);
            }
            Wish::Resize { client, rows, columns } => {
                let resized = self.output.resize(rows, columns);
                self.server.answer(client, resized);
            }
            Wish::Attached => {
                self.events.add(Happening::Attach);
                self.output.open_gate();
            }
            Wish::Input(bytes) => self.output.type_in(&bytes),
        }
    }

    fn tick(&mut self, now: Instant) {
        self.output.tick(now);
        self.server.tick(now);
        self.sentry.tick(now);
        self.tick_frozen(now);
        if self.unwritten.is_some_and(|at| at <= now) {
            self.note_status();
        }
        match &mut self.life {
            Life::Running(running) => {
                if let Some(resolver) = &mut running.resolver {
                    resolver.tick(now);
                }
                self.tick_stop(now);
                self.tick_hooks(now);
                self.tick_checks(now);
            }
            Life::Waiting { until } if *until <= now => self.restart(),
            Life::Lingering if self.output.gate().is_none() => {
                self.output.drain(&mut self.server);
                self.life = Life::Ended;
            }
            Life::Waiting { .. } | Life::Lingering | Life::Ended => {}
        }
    }

    /// Tells who asked for it what came of that, once.
    pub(super) fn answer(&mut self, failure: Option<StartFailure>) {
        if let Some(reply) = self.reply.take() {
            answer(reply, failure.as_ref().map_or(Ok(&self.status), Err));
        }
    }

    pub(super) fn running(&mut self) -> Option<&mut Running> {
        match &mut self.life {
            Life::Running(running) => Some(running),
            Life::Waiting { .. } | Life::Lingering | Life::Ended => None,
        }
    }

    /// Moves to a phase, and tells.
    pub(super) fn enter(&mut self, phase: Phase) {
        self.status.phase = phase;
        self.tell();
    }

    /// Writes the status down and tells subscribers.
    pub(super) fn tell(&mut self) {
        self.note_status();
        self.server.announce(&self.status);
    }

    /// Writes the status down, now or when `/run` has room for it; subscribers hear it all the
    /// same.
    pub(super) fn note_status(&mut self) {
        let written = self.write_status();
        self.unwritten = written.is_err().then(|| Instant::now() + STATUS_PAUSE);
    }

    pub(super) fn write_status(&self) -> io::Result<()> {
        record::write(&self.bundle.run_dir.join(STATUS), &self.status, Durability::Volatile)
    }

    /// The kernel killed processes for memory since the process started.
    pub(super) fn note_oom(&mut self, kills: u64) {
        self.status.oom_killed = kills > 0;
        if kills > 0 {
            self.events.add(Happening::Oom);
        }
    }
}
