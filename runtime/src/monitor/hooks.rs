//! Hooks: commands that are run in a container after its start and before its end, one by one.
//!
//! The monitor runs them, so `post_start` also follows a restart by policy, and `pre_stop` is run
//! whoever stops the container. What a hook writes goes to the log of the container. One that is
//! under way is in the status, so a new monitor waits for it, and for those after it.

use std::fs::File;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use super::errand::{Errand, Tokens};
use super::events::Happening;
use super::keep::Monitor;
use super::life::{KILLED, Life};
use super::poll::{PollSet, Token};
use super::{HOOK_STEP, StartFailure, clock};
use crate::bundle::{Bundle, HookError, HookStage, HookStatus, Status};
use crate::container::{ExecSpec, SetupError, Stdio, Target};
use crate::logs::{LAST_LINES, sanitize};

/// Time for all of `post_start`: the specification names none, and every wait has an end.
const POST_START: Duration = Duration::from_secs(10 * 60);
/// The part of the grace period that `pre_stop` leaves for the process itself, at most.
const FOR_THE_PROCESS: Duration = Duration::from_secs(2);
/// Bytes kept of what a hook wrote last.
const TAIL: usize = 4096;

/// The hooks of one stage, as far as they have not been run.
pub(super) struct Hooks {
    stage: HookStage,
    index: usize,
    until: Instant,
    run: Option<Errand>,
    /// What the one that runs wrote last.
    tail: Vec<u8>,
}

impl Hooks {
    pub(super) fn poll<'a>(&'a self, set: &mut PollSet<'a>, frozen: bool) {
        match &self.run {
            Some(run) => {
                run.poll(set, Tokens { exit: Token::HookExit, news: Token::HookOutput });
                set.until((!frozen).then(|| run.due(self.until)));
            }
            None if !frozen => set.until(Some(Instant::now())),
            None => {}
        }
    }

    /// Gives them as much more time as the container stood still.
    pub(super) fn prolong(&mut self, by: Duration) {
        self.until += by;
        self.run.iter_mut().for_each(|run| run.prolong(by));
    }

    /// Takes a new end, if it is earlier.
    fn hurry(&mut self, until: Instant) {
        self.until = self.until.min(until);
    }

    fn status(&self) -> HookStatus {
        let target = self.run.as_ref().map(|run| run.target);
        HookStatus {
            stage: self.stage,
            index: self.index,
            pid: target.map_or(0, |target| target.pid),
            pid_start: target.map_or(0, |target| target.start),
            until_ms: clock::written(self.until),
        }
    }

    fn keep_tail(&mut self, text: &[u8]) {
        self.tail.extend_from_slice(text);
        let excess = self.tail.len().saturating_sub(TAIL);
        self.tail.drain(..excess);
    }
}

/// The commands of a stage.
fn commands(bundle: &Bundle, stage: HookStage) -> &[ExecSpec] {
    match stage {
        HookStage::PostStart => &bundle.hooks.post_start,
        HookStage::PreStop => &bundle.hooks.pre_stop,
    }
}

/// What of a grace period `pre_stop` may take: the process gets a fifth of it, or two seconds.
pub(super) fn share(grace: Duration) -> Duration {
    grace.saturating_sub((grace / 5).min(FOR_THE_PROCESS))
}

/// The last lines of what a hook wrote, safe to be shown.
fn last_lines(tail: &[u8]) -> String {
    let text = tail.strip_suffix(b"\n").unwrap_or(tail);
    let lines: Vec<&[u8]> = text.split(|byte| *byte == b'\n').collect();
    let last = &lines[lines.len().saturating_sub(LAST_LINES)..];
    last.iter().map(|line| sanitize(line, false)).collect::<Vec<_>>().join("\n")
}

/// What is told of a hook that failed.
fn why(code: i32, timed_out: bool, tail: &[u8]) -> String {
    let what = match (timed_out, code) {
        (true, _) => "took too long and was killed".to_owned(),
        (false, -1) => "ended while nobody looked".to_owned(),
        (false, code) => format!("exited with {code}"),
    };
    match tail.is_empty() {
        true => what,
        false => format!("{what}; its last lines:\n{}", last_lines(tail)),
    }
}

impl HookError {
    /// The failure of a start that this is.
    fn of_start(&self) -> StartFailure {
        let object = format!("{}[{}]", self.stage.name(), self.index);
        StartFailure {
            exit_code: self.exit_code,
            ..StartFailure::new(HOOK_STEP, object, &self.why)
        }
    }
}

impl Monitor {
    /// Begins with `post_start`, if there is any.
    pub(super) fn begin_post_start(&mut self, now: Instant) {
        self.status.hook_error = None;
        self.begin_stage(HookStage::PostStart, now + POST_START);
    }

    /// Begins with `pre_stop` in place of the stop signal. Whether there is any.
    pub(super) fn begin_pre_stop(&mut self, until: Instant) -> bool {
        self.give_up_post_start("it was stopped meanwhile");
        self.begin_stage(HookStage::PreStop, until)
    }

    /// Shortens `pre_stop`, if it is under way.
    pub(super) fn hurry_hooks(&mut self, until: Instant) {
        let hooks = self.running().and_then(|running| running.hooks.as_mut());
        if let Some(hooks) = hooks.filter(|hooks| hooks.stage == HookStage::PreStop) {
            hooks.hurry(until);
        }
    }

    fn begin_stage(&mut self, stage: HookStage, until: Instant) -> bool {
        if commands(&self.bundle, stage).is_empty() {
            return false;
        }
        let hooks = Hooks { stage, index: 0, until, run: None, tail: Vec::new() };
        // Written down before it begins: a new monitor runs it if this one does not come to it.
        self.status.hook = Some(hooks.status());
        let Life::Running(running) = &mut self.life else { return false };
        running.hooks = Some(hooks);
        true
    }

    /// Goes on with hooks that a killed monitor had begun. Whether there are any of that stage.
    pub(super) fn resume_hooks(&mut self, last: &Status, stage: HookStage, now: Instant) -> bool {
        let Some(hook) = last.hook.filter(|hook| hook.stage == stage) else { return false };
        if hook.index >= commands(&self.bundle, stage).len() {
            return false;
        }
        let left = clock::left(hook.until_ms).min(POST_START);
        let target = Target { pid: hook.pid, start: hook.pid_start };
        let run = (hook.pid > 0).then(|| target.open().ok());
        let missed = matches!(run, Some(None));
        let run = run.flatten().map(|pidfd| Errand::found(target, pidfd));
        let until = now + left;
        let hooks = Hooks { stage, index: hook.index, until, run, tail: Vec::new() };
        let Life::Running(running) = &mut self.life else { return false };
        running.hooks = Some(hooks);
        // What it wrote meanwhile is read where that can be; without it, its end is what counts.
        let _ = self.output.open_hooks();
        if missed {
            self.hook_ended(-1, None, now);
        }
        true
    }

    /// Whether the answer to a start waits for hooks.
    pub(super) fn is_in_post_start(&mut self) -> bool {
        let hooks = self.running().and_then(|running| running.hooks.as_ref());
        hooks.is_some_and(|hooks| hooks.stage == HookStage::PostStart)
    }

    /// Starts the hook whose turn it is, and kills one that takes too long.
    pub(super) fn tick_hooks(&mut self, now: Instant) {
        if self.frozen.is_some() {
            return;
        }
        let Life::Running(running) = &mut self.life else { return };
        let target = running.target;
        let Some(hooks) = &mut running.hooks else { return };
        match &mut hooks.run {
            Some(run) => {
                run.turn(now, hooks.until);
                if run.is_stuck(now) {
                    let why = "it was killed and does not end".to_owned();
                    self.hook_ended(124, Some(why), now);
                }
            }
            None if hooks.until <= now => {
                let why = "there was no time left for it".to_owned();
                self.hook_ended(124, Some(why), now);
            }
            None => self.begin_hook(target, now),
        }
    }

    /// Begins the hook whose turn it is. It executes nothing before it is written down that it has
    /// begun: then it is waited for, whoever is the monitor, and never run again.
    fn begin_hook(&mut self, container: Target, now: Instant) {
        let Life::Running(running) = &mut self.life else { return };
        let Some(hooks) = &mut running.hooks else { return };
        let Some(command) = commands(&self.bundle, hooks.stage).get(hooks.index) else { return };
        let begun = self
            .output
            .open_hooks()
            .map_err(|error| SetupError::refused("open", "the output of hooks", error))
            .and_then(|output| begin(&container, &self.bundle, command, &output, now));
        match begun {
            Ok(run) => hooks.run = Some(run),
            Err(error) => {
                return self.hook_ended(error.exit_code, Some(error.to_string()), now);
            }
        }
        hooks.tail.clear();
        self.status.hook = Some(hooks.status());
        let written = self.write_status();
        let Some(hooks) = self.running().and_then(|running| running.hooks.as_mut()) else { return };
        match (written, &mut hooks.run) {
            (Ok(()), Some(run)) => run.let_go(),
            (Err(error), run) => {
                run.take().map(Errand::end);
                let why = format!("it was not run, as that cannot be written down: {error}");
                self.hook_ended(125, Some(why), now);
            }
            (Ok(()), None) => {}
        }
    }

    /// Serves a hook that has written or ended.
    pub(super) fn serve_hook(&mut self, token: Token, now: Instant) {
        let text = self.output.read_hooks(now);
        let Some(hooks) = self.running().and_then(|running| running.hooks.as_mut()) else { return };
        hooks.keep_tail(&text);
        let Some(run) = hooks.run.as_mut() else { return };
        if token != Token::HookExit {
            return run.hear();
        }
        let (failure, code, timed_out) = (run.failure(), run.exit_code(), run.is_killed());
        if code == KILLED && !timed_out && self.running().is_some_and(|r| r.is_ending()) {
            // Who ended it is the end of the container, which is told next, and for both.
            return;
        }
        let Some(hooks) = self.running().and_then(|running| running.hooks.as_mut()) else { return };
        let (code, why) = match failure {
            Some(error) if timed_out => (124, Some(error.to_string())),
            Some(error) => (error.exit_code, Some(error.to_string())),
            None if timed_out || code != 0 => (code, Some(why(code, timed_out, &hooks.tail))),
            None => (0, None),
        };
        self.hook_ended(if timed_out && code == 0 { 124 } else { code }, why, now);
    }

    /// A hook is over: the next one, or what comes after all of them. After a failure `post_start`
    /// ends, and `pre_stop` goes on: what is to be stopped is stopped.
    fn hook_ended(&mut self, code: i32, failure: Option<String>, now: Instant) {
        let failure = failure.or_else(|| (code != 0).then(|| why(code, false, &[])));
        let Some(hooks) = self.running().and_then(|running| running.hooks.as_mut()) else { return };
        let (stage, index) = (hooks.stage, hooks.index);
        let hung = hooks.run.take().is_some_and(Errand::over);
        hooks.index += 1;
        let done = hooks.index;
        let status = hooks.status();
        let hook = format!("{}[{index}]", stage.name());
        if hung {
            self.events.add(Happening::Hang { process: hook.clone() });
        }
        self.events.add(Happening::Hook { hook, exit_code: code });
        let failed = failure.map(|why| HookError { stage, index, exit_code: code, why });
        let ends = failed.is_some() && stage == HookStage::PostStart;
        self.status.hook_error = failed.or(self.status.hook_error.take());
        if ends || done >= commands(&self.bundle, stage).len() {
            self.stage_ended(stage, now);
        } else {
            self.status.hook = Some(status);
            self.note_status();
        }
    }

    fn stage_ended(&mut self, stage: HookStage, now: Instant) {
        self.status.hook = None;
        self.output.close_hooks();
        if let Some(running) = self.running() {
            running.hooks = None;
        }
        match stage {
            HookStage::PostStart => {
                let failed = self.status.hook_error.as_ref().map(HookError::of_start);
                self.tell();
                self.answer(failed);
            }
            HookStage::PreStop => {
                self.tell();
                self.ask_to_end(now);
            }
        }
    }

    /// Kills what of `post_start` runs, and leaves the rest.
    fn give_up_post_start(&mut self, reason: &str) {
        if self.is_in_post_start()
            && let Some(running) = self.running()
        {
            let hooks = running.hooks.take();
            self.abandon_hooks(hooks, reason);
        }
    }

    /// The container has ended or is to end: its hooks do, too.
    pub(super) fn abandon_hooks(&mut self, hooks: Option<Hooks>, reason: &str) {
        let Some(mut hooks) = hooks else { return };
        let code = hooks.run.take().map_or(-1, Errand::end);
        let text = self.output.read_hooks(Instant::now());
        hooks.keep_tail(&text);
        self.output.close_hooks();
        self.status.hook = None;
        let (stage, index) = (hooks.stage, hooks.index);
        let hook = format!("{}[{index}]", stage.name());
        self.events.add(Happening::Hook { hook, exit_code: code });
        let why = match hooks.tail.is_empty() {
            true => reason.to_owned(),
            false => format!("{reason}; its last lines:\n{}", last_lines(&hooks.tail)),
        };
        let error = HookError { stage, index, exit_code: code, why };
        let failure = error.of_start();
        self.status.hook_error = Some(error);
        if stage == HookStage::PostStart {
            self.answer(Some(failure));
        }
    }
}

/// Begins a hook with its output into `output`.
fn begin(
    target: &Target,
    bundle: &Bundle,
    command: &ExecSpec,
    output: &File,
    now: Instant,
) -> Result<Errand, SetupError> {
    let null = File::open("/dev/null").map_err(|e| SetupError::refused("open", "/dev/null", e))?;
    let stdio =
        Stdio::Files { stdin: null.as_fd(), stdout: output.as_fd(), stderr: output.as_fd() };
    Errand::begin(target, bundle, command, stdio, now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_keeps_a_part_of_the_grace_period() {
        let seconds = Duration::from_secs_f64;
        assert_eq!(share(seconds(10.0)), seconds(8.0));
        assert_eq!(share(seconds(60.0)), seconds(58.0));
        assert_eq!(share(seconds(1.0)), seconds(0.8));
        assert_eq!(share(Duration::ZERO), Duration::ZERO);
    }

    #[test]
    fn a_failure_tells_the_last_twenty_lines() {
        let text: String = (1..=22).map(|n| format!("line {n}\n")).collect();
        let told = why(3, false, text.as_bytes());
        assert!(told.starts_with("exited with 3; its last lines:\nline 3\n"), "{told}");
        assert!(told.ends_with("\nline 22"), "{told}");
        assert_eq!(why(137, true, b""), "took too long and was killed");
        assert_eq!(
            why(1, false, b"\x1b]0;title\x07"),
            "exited with 1; its last lines:\n\\x1b]0;title\\x07"
        );
    }
}
