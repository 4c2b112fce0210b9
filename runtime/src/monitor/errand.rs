//! A process of the file's that its monitor runs in the container: a hook or a probe.
//!
//! Nothing of it can hold the monitor up. It shares namespaces with processes that may stop it on its
//! way to its program, and may then hang in the kernel: its start has an end, and one that does not
//! even end when it is killed is left behind and told.

use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::PollFlags;

use super::life::exit_code;
use super::poll::{PollSet, Token};
use crate::bundle::Bundle;
use crate::container::{self, ExecSpec, SetupError, Starting, Stdio, Target, lost};
use crate::sys;

/// How long it may take to its program.
const START: Duration = Duration::from_secs(15);
/// How long it may take to its end when it was killed.
const END: Duration = Duration::from_secs(5);

/// The same, where everything else has ended.
const MOMENT: Duration = Duration::from_secs(1);

/// Whose descriptors these are: the end of the process, and what it says on its way.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tokens {
    pub(super) exit: Token,
    pub(super) news: Token,
}

/// A process that was begun.
pub(super) struct Errand {
    pub(super) target: Target,
    pidfd: OwnedFd,
    way: Way,
    killed: Option<Instant>,
    /// It did not come to its program, or not to its end.
    hangs: bool,
    /// Its exit status, once it was heard.
    code: Option<i32>,
}

/// How far it has come.
enum Way {
    /// To its program, for so long at most.
    Begun(Starting, Instant),
    Runs,
    /// There is no program, and why.
    Failed(SetupError),
}

impl Errand {
    /// Begins one, which executes nothing before it is [let go](Errand::let_go).
    ///
    /// # Errors
    /// As [`container::begin`].
    pub(super) fn begin(
        target: &Target,
        bundle: &Bundle,
        command: &ExecSpec,
        stdio: Stdio<'_>,
        now: Instant,
    ) -> Result<Errand, SetupError> {
        let starting = container::begin(target, bundle, command, stdio)?;
        let (pid, pidfd) = (starting.pid(), starting.handle()?);
        // Unknown when it has ended already; it is our child, so that does not matter.
        let target = Target::of(pid).unwrap_or(Target { pid, start: 0 });
        let way = Way::Begun(starting, now + START);
        Ok(Errand { target, pidfd, way, killed: None, hangs: false, code: None })
    }

    /// One that a monitor before this one has begun.
    pub(super) fn found(target: Target, pidfd: OwnedFd) -> Errand {
        Errand { target, pidfd, way: Way::Runs, killed: None, hangs: false, code: None }
    }

    /// Lets it go on to its program.
    pub(super) fn let_go(&mut self) {
        if let Way::Begun(starting, _) = &self.way {
            // One that has failed meanwhile says so.
            let _ = starting.let_go();
        }
    }

    pub(super) fn poll<'a>(&'a self, set: &mut PollSet<'a>, tokens: Tokens) {
        set.read(tokens.exit, &self.pidfd);
        if let Way::Begun(starting, _) = &self.way {
            set.add_borrowed(tokens.news, starting.news(), PollFlags::IN);
        }
    }

    /// When there is something to be done about it that is to be over by `deadline`.
    pub(super) fn due(&self, deadline: Instant) -> Instant {
        match (&self.way, self.killed) {
            (_, Some(killed)) => killed + END,
            (Way::Begun(_, until), None) => deadline.min(*until),
            (Way::Runs | Way::Failed(_), None) => deadline,
        }
    }

    /// Kills one that takes too long, to its program or to `deadline`.
    pub(super) fn turn(&mut self, now: Instant, deadline: Instant) {
        if self.killed.is_some() || self.due(deadline) > now {
            return;
        }
        if let Way::Begun(..) = self.way {
            let why = "it did not come to its program and was killed";
            self.way = Way::Failed(SetupError::refused("start", "process", why));
            self.hangs = true;
        }
        self.kill(now);
    }

    /// Whether it does not end although it was killed.
    pub(super) fn is_stuck(&mut self, now: Instant) -> bool {
        let stuck = self.killed.is_some_and(|killed| killed + END <= now);
        self.hangs |= stuck;
        stuck
    }

    /// Whether it was hindered from its program or its end.
    pub(super) fn hangs(&self) -> bool {
        self.hangs
    }

    /// Gives it as much more time as it stood still.
    pub(super) fn prolong(&mut self, by: Duration) {
        if let Way::Begun(_, until) = &mut self.way {
            *until += by;
        }
        self.killed = self.killed.map(|killed| killed + by);
    }

    /// Hears what it says on its way.
    pub(super) fn hear(&mut self) {
        let Way::Begun(starting, _) = &mut self.way else { return };
        match starting.hear() {
            Ok(false) => {}
            Ok(true) => self.way = Way::Runs,
            Err(error) => self.way = Way::Failed(error),
        }
    }

    pub(super) fn is_killed(&self) -> bool {
        self.killed.is_some()
    }

    /// Kills it; its end is heard like any other.
    pub(super) fn kill(&mut self, now: Instant) {
        // It may have ended by itself.
        let _ = sys::pidfd_send_signal(self.pidfd.as_fd(), libc::SIGKILL);
        self.killed.get_or_insert(now);
    }

    /// Why there was no program, when it has ended.
    pub(super) fn failure(&mut self) -> Option<SetupError> {
        self.hear();
        match &self.way {
            Way::Failed(error) => Some(error.clone()),
            Way::Begun(..) | Way::Runs => None,
        }
    }

    /// Its exit status. It has ended.
    pub(super) fn exit_code(&mut self) -> i32 {
        *self.code.get_or_insert_with(|| exit_code(&self.target, &self.pidfd))
    }

    /// Kills it and waits for its end, for a moment. Its exit status, -1 when it does not end.
    pub(super) fn end(mut self) -> i32 {
        self.kill(Instant::now());
        match has_ended(&self.pidfd, Instant::now() + MOMENT) {
            true => self.exit_code(),
            false => {
                lost::remember(self.pidfd);
                -1
            }
        }
    }

    /// It is over, or nobody waits for it any more. Whether it was hindered from its end.
    pub(super) fn over(self) -> bool {
        if self.code.is_none() {
            lost::remember(self.pidfd);
        }
        self.hangs
    }

    /// Waits for it no more.
    pub(super) fn leave_behind(self) -> Stuck {
        // Nobody may look at it again.
        if let Ok(pidfd) = self.pidfd.try_clone() {
            lost::remember(pidfd);
        }
        Stuck { target: self.target, pidfd: self.pidfd }
    }
}

/// A process that does not end although it was killed. Until it does, no other is begun: they
/// would heap up.
pub(super) struct Stuck {
    target: Target,
    pidfd: OwnedFd,
}

impl Stuck {
    /// Reaps it, if the kernel has let it end.
    pub(super) fn is_gone(&self) -> bool {
        let gone = has_ended(&self.pidfd, Instant::now());
        if gone {
            exit_code(&self.target, &self.pidfd);
        }
        gone
    }
}

fn has_ended(pidfd: &OwnedFd, until: Instant) -> bool {
    loop {
        let mut set = PollSet::default();
        set.read(Token::Exit, pidfd);
        set.until(Some(until));
        match set.wait().map(|ready| !ready.is_empty()) {
            Ok(true) => return true,
            // A signal may have come.
            Ok(false) if Instant::now() < until => {}
            Ok(false) | Err(_) => return false,
        }
    }
}
