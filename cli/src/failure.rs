//! How a command ends: the exit codes, and what is said when it did not go well.

use std::collections::BTreeSet;
use std::io;

use miette::Severity;

/// How a command ends that did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done, or nothing to do.
    Done,
    /// `plan --detailed-exitcode`: there is something to do; `outdated --exit-code`: an image has moved on.
    Changes,
    /// `check`: the files are not in order, and that has been told.
    Invalid,
    /// What a container ended with: `run`, `exec`, `attach`, `wait`, and `up` that ends with one. `doctor`
    /// ends with 1 so when something is wrong.
    Container(i32),
    /// Ended by a signal of the user.
    Signal(i32),
}

impl Exit {
    /// The number the shell sees.
    pub(crate) fn code(self) -> u8 {
        match self {
            Exit::Done => 0,
            Exit::Changes => 2,
            Exit::Invalid => 65,
            Exit::Container(code) => u8::try_from(code).unwrap_or(255),
            Exit::Signal(number) => u8::try_from(128 + number).unwrap_or(255),
        }
    }
}

/// Why a command failed. Each kind has its exit code.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The words of the command line make no sense together.
    #[error("{message}")]
    Usage {
        /// What is wrong.
        message: String,
        /// The next move.
        help: Option<String>,
    },
    /// The host refused, and nothing was changed.
    #[error("{message}")]
    Refused {
        /// What was refused.
        message: String,
        /// The next move.
        help: Option<String>,
    },
    /// Problems of the files, already worded with their places.
    #[error("the stack cannot be used as it is written: {}", problems(.0))]
    Invalid(Vec<miette::Report>),
    /// Some steps were done, some not.
    #[error("{failed} of {steps} steps failed{}", not_tried(*.skipped))]
    Partial {
        /// Steps that failed.
        failed: usize,
        /// Steps not tried because of these.
        skipped: usize,
        /// Steps of the plan.
        steps: usize,
        /// What failed, one text per step.
        causes: Vec<String>,
        /// Nothing was done before the failure.
        untouched: bool,
        /// 125, 126 or 127, when the program of a container was not started.
        start: Option<u8>,
    },
    /// Steps were done, and then no plan could be made of the rest.
    #[error("{done} steps were done, and the rest was not tried")]
    CutShort {
        /// Steps done.
        done: usize,
        /// Why it did not go on.
        causes: Vec<String>,
    },
    /// Everything was done, but a service is not as it should be.
    #[error("done, but not everything is healthy")]
    Unhealthy {
        /// What is not, one text per service.
        causes: Vec<String>,
    },
    /// A rollout failed, and services are what they were before it.
    #[error("rolled back: {}", .serving.join("; "))]
    RolledBack {
        /// What failed, one text per step.
        causes: Vec<String>,
        /// What serves now, one text per service.
        serving: Vec<String>,
        /// These services.
        services: BTreeSet<String>,
        /// Nothing else failed, and nothing else was to go back.
        all: bool,
        /// The command that tries just this again.
        again: String,
    },
    /// Just this was tried before and taken back; nothing was changed, or all else was.
    #[error("just this was rejected before: {}{}", .tries.join("; "), beside(.kept))]
    Rejected {
        /// Why it was, one text per step that failed then.
        causes: Vec<String>,
        /// What was tried, one text per service.
        tries: Vec<String>,
        /// These services.
        services: Vec<String>,
        /// As what they stay where the rest was done, one text per service.
        kept: Vec<String>,
    },
    /// What forbids a plan; nothing was changed.
    #[error("this cannot be done")]
    Forbidden(Vec<String>),
    /// The policy does not let the stack have this; nothing was touched.
    #[error("the policy `{level}` stops this stack: {}", denials(*.count))]
    Denied {
        /// The policy.
        level: String,
        /// How many grants.
        count: usize,
        /// What it may not have, already worded with the places.
        reports: Vec<miette::Report>,
        /// The next move.
        help: String,
    },
    /// The lock is not of these files.
    #[error("`{file}` does not fit the files")]
    LockDiffers {
        /// The lock.
        file: String,
        /// How they differ, one text each.
        causes: Vec<String>,
    },
    /// Registries did not give what was to be locked; nothing was written.
    #[error("nothing was locked")]
    NotLocked(Vec<String>),
    /// Some registries could not be asked; what the others said was told.
    #[error("not every registry could be asked")]
    Unasked(Vec<String>),
    /// Some things could not be shown; the others were.
    #[error("not everything that was asked for could be shown")]
    Unshown(Vec<String>),
    /// The host changed under the plan again and again.
    #[error("the host changed while it was worked on, {attempts} times in a row")]
    Stale {
        /// How often it was tried.
        attempts: u32,
        /// What was not as expected at last.
        causes: Vec<String>,
    },
    /// What a saved plan rests on is not as it was; nothing was changed.
    #[error("the plan in `{file}` is stale")]
    Moved {
        /// The file.
        file: String,
        /// What moved, one text each.
        causes: Vec<String>,
    },
    /// Some steps of a saved plan were done, some not.
    #[error("{partial}")]
    PartOfPlan {
        /// The file.
        file: String,
        /// What was not done.
        partial: Box<Failure>,
    },
    /// A file is no saved plan of this host.
    #[error("`{file}` cannot be used: {why}")]
    BadPlan {
        /// The file.
        file: String,
        /// What is wrong with it.
        why: String,
    },
    /// Nobody could be asked.
    #[error("{message}")]
    Unconfirmed {
        /// What would have been asked.
        message: String,
        /// What says yes beforehand.
        flag: &'static str,
    },
    /// Another run works on this project.
    #[error("{} is locked by {holder}", locked(.project))]
    Locked {
        /// The project.
        project: String,
        /// Who holds it.
        holder: String,
    },
    /// `run` or `exec` could not start the process: 125, 126 or 127.
    #[error("{message}")]
    NotStarted {
        /// 125 berth failed, 126 not executable, 127 not found.
        code: u8,
        /// What happened.
        message: String,
    },
    /// Output cannot be written; a closed pipe ends us silently.
    #[error("write output: {0}")]
    Output(#[from] io::Error),
}

impl Failure {
    /// A usage error without a hint.
    pub(crate) fn usage(message: impl Into<String>) -> Failure {
        Failure::Usage { message: message.into(), help: None }
    }

    /// A refusal that changed nothing.
    pub(crate) fn refused(message: impl ToString) -> Failure {
        Failure::Refused { message: message.to_string(), help: None }
    }

    /// The same with the next move.
    pub(crate) fn with_help(self, next: impl Into<String>) -> Failure {
        match self {
            Failure::Usage { message, .. } => Failure::Usage { message, help: Some(next.into()) },
            Failure::Refused { message, .. } => {
                Failure::Refused { message, help: Some(next.into()) }
            }
            other => other,
        }
    }

    /// The same where it is not `up` that tries once more what was rolled back.
    pub(crate) fn tried_again_by(self, command: &str) -> Failure {
        match self {
            Failure::RolledBack { causes, serving, services, all, .. } => {
                Failure::RolledBack { causes, serving, services, all, again: command.to_owned() }
            }
            other => other,
        }
    }

    /// As `run` and `exec` tell it: by the code of a process that was not started.
    pub(crate) fn of_a_start(self) -> Failure {
        match self {
            Failure::Partial { causes, start, .. } => {
                Failure::NotStarted { code: start.unwrap_or(125), message: causes.join("\n") }
            }
            Failure::CutShort { causes, .. } | Failure::Unhealthy { causes } => {
                Failure::NotStarted { code: 125, message: causes.join("\n") }
            }
            before @ (Failure::Refused { .. } | Failure::NotLocked(_) | Failure::Stale { .. }) => {
                let said = [before.to_string()].into_iter().chain(before.causes().iter().cloned());
                let said = said.chain(before.help()).collect::<Vec<_>>();
                Failure::NotStarted { code: 125, message: said.join("\n") }
            }
            other => other,
        }
    }

    /// Whether something was done before it.
    pub(crate) fn is_half_done(&self) -> bool {
        match self {
            Failure::Partial { untouched, .. } => !untouched,
            Failure::PartOfPlan { partial, .. } => partial.is_half_done(),
            Failure::CutShort { .. } | Failure::Unhealthy { .. } => true,
            Failure::Rejected { kept, .. } => !kept.is_empty(),
            _ => false,
        }
    }

    /// What there is to say before the failure itself, one text each.
    pub(crate) fn causes(&self) -> &[String] {
        match self {
            Failure::Partial { causes, .. }
            | Failure::CutShort { causes, .. }
            | Failure::Unhealthy { causes }
            | Failure::RolledBack { causes, .. }
            | Failure::Rejected { causes, .. }
            | Failure::Stale { causes, .. }
            | Failure::Moved { causes, .. }
            | Failure::LockDiffers { causes, .. }
            | Failure::NotLocked(causes)
            | Failure::Unasked(causes)
            | Failure::Unshown(causes)
            | Failure::Forbidden(causes) => causes,
            Failure::PartOfPlan { partial, .. } => partial.causes(),
            _ => &[],
        }
    }

    /// The number the shell sees.
    pub(crate) fn code(&self) -> u8 {
        match self {
            Failure::Usage { .. } => 64,
            Failure::Refused { .. } => 1,
            Failure::Invalid(_) | Failure::BadPlan { .. } => 65,
            Failure::PartOfPlan { partial, .. } => partial.code(),
            Failure::Partial { untouched: true, .. } => 1,
            Failure::Partial { .. } | Failure::CutShort { .. } => 3,
            Failure::Stale { .. } | Failure::Moved { .. } => 4,
            Failure::Unhealthy { .. } => 5,
            Failure::RolledBack { all: true, .. } => 6,
            Failure::RolledBack { all: false, .. } => 3,
            Failure::Forbidden(_)
            | Failure::LockDiffers { .. }
            | Failure::NotLocked(_)
            | Failure::Unasked(_)
            | Failure::Unshown(_) => 1,
            Failure::Unconfirmed { .. } => 7,
            Failure::Locked { .. } => 8,
            Failure::Denied { .. } | Failure::Rejected { .. } => 9,
            Failure::NotStarted { code, .. } => *code,
            Failure::Output(e) if e.kind() == io::ErrorKind::BrokenPipe => 141,
            Failure::Output(_) => 1,
        }
    }

    /// The next move, if there is one to name.
    pub(crate) fn help(&self) -> Option<String> {
        match self {
            Failure::Usage { help, .. } | Failure::Refused { help, .. } => help.clone(),
            Failure::Invalid(_)
            | Failure::Forbidden(_)
            | Failure::Unasked(_)
            | Failure::Unshown(_)
            | Failure::NotStarted { .. }
            | Failure::Output(_) => None,
            Failure::Denied { help, .. } => Some(help.clone()),
            Failure::LockDiffers { .. } => Some("`berth lock` brings it up to date".to_owned()),
            Failure::NotLocked(_) => {
                Some("mend it, or name the services to lock the images of".to_owned())
            }
            Failure::Unhealthy { .. } => Some("`berth ps` and `berth logs` show more".to_owned()),
            Failure::RolledBack { again, .. } => {
                Some(format!("mend what failed; `{again}` tries just this again"))
            }
            Failure::Rejected { services, .. } => Some(format!(
                "change {}, or what it depends on; `berth up --retry` tries just this again",
                quoted(services)
            )),
            Failure::Partial { .. } | Failure::CutShort { .. } => {
                Some("run the same command again: it goes on from here".to_owned())
            }
            Failure::Moved { file, .. } => Some(format!(
                "nothing was changed; look at what is to be done now with `berth plan`, and save it \
                 anew: `berth plan -o {file}`"
            )),
            Failure::PartOfPlan { file, .. } => {
                Some(format!("`berth up` goes on from here; the plan in `{file}` is used up"))
            }
            Failure::BadPlan { .. } => {
                Some("make it on this host: `berth plan -o FILE.plan`".to_owned())
            }
            Failure::Stale { .. } => Some(
                "something else changes this host; run the command again when it rests".to_owned(),
            ),
            Failure::Unconfirmed { flag, .. } => {
                Some(format!("pass `{flag}` to do it without a question"))
            }
            Failure::Locked { .. } => {
                Some("run it again when that run is done, or with `--lock-timeout 10m`".to_owned())
            }
        }
    }
}

/// ``web` or `api``.
fn quoted(services: &[String]) -> String {
    services.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(" or ")
}

/// ``; `web` stays 1 container of image `app:1`, and the rest was done``, if anything stays.
fn beside(kept: &[String]) -> String {
    match kept {
        [] => String::new(),
        kept => format!("; {}, and the rest was done", kept.join(", ")),
    }
}

/// `it may not have 2 of its grants`.
fn denials(count: usize) -> String {
    match count {
        1 => "it may not have one of its grants".to_owned(),
        count => format!("it may not have {count} of its grants"),
    }
}

/// What a lock is of; what is not a project is the host itself.
pub(crate) fn locked(project: &str) -> String {
    if project.starts_with('_') { "this host".into() } else { format!("project `{project}`") }
}

/// `, 2 were not tried`, if there are any.
fn not_tried(skipped: usize) -> String {
    match skipped {
        0 => String::new(),
        1 => ", 1 was not tried".to_owned(),
        many => format!(", {many} were not tried"),
    }
}

/// How many there are, warnings left out.
fn problems(reports: &[miette::Report]) -> String {
    let is_error = |report: &&miette::Report| report.severity() != Some(Severity::Warning);
    match reports.iter().filter(is_error).count() {
        1 => "1 problem".to_owned(),
        count => format!("{count} problems"),
    }
}

/// How work on several things ends: `causes` says of each that failed why.
pub(crate) fn tried(done: usize, mut causes: Vec<String>) -> Result<Exit, Failure> {
    match (done, causes.len()) {
        (_, 0) => Ok(Exit::Done),
        (0, 1) => Err(Failure::refused(causes.remove(0))),
        (_, failed) => Err(Failure::Partial {
            failed,
            skipped: 0,
            steps: done + failed,
            causes,
            untouched: done == 0,
            start: None,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_end_has_the_documented_code() {
        let codes = [
            Exit::Done.code(),
            Exit::Changes.code(),
            Exit::Invalid.code(),
            Exit::Container(7).code(),
            Exit::Container(-1).code(),
            Exit::Signal(2).code(),
        ];
        assert_eq!(codes, [0, 2, 65, 7, 255, 130]);
    }

    #[test]
    fn every_failure_has_the_documented_code() {
        let partial = |untouched| Failure::Partial {
            failed: 1,
            skipped: 2,
            steps: 4,
            causes: vec![],
            untouched,
            start: None,
        };
        let rolled_back = |all| {
            let (causes, serving, services) = (vec![], vec![], [].into());
            Failure::RolledBack { causes, serving, services, all, again: String::new() }
        };
        let denied =
            Failure::Denied { level: "x".into(), count: 1, reports: vec![], help: "x".into() };
        let failures = [
            (Failure::usage("x"), 64),
            (Failure::refused("x"), 1),
            (Failure::Invalid(vec![]), 65),
            (partial(true), 1),
            (partial(false), 3),
            (Failure::Stale { attempts: 3, causes: vec![] }, 4),
            (Failure::Moved { file: "x".into(), causes: vec![] }, 4),
            (Failure::PartOfPlan { file: "x".into(), partial: partial(false).into() }, 3),
            (Failure::BadPlan { file: "x".into(), why: "x".into() }, 65),
            (Failure::Unhealthy { causes: vec![] }, 5),
            (rolled_back(true), 6),
            (rolled_back(false), 3),
            (
                Failure::Rejected { causes: vec![], tries: vec![], services: vec![], kept: vec![] },
                9,
            ),
            (Failure::Forbidden(vec![]), 1),
            (Failure::LockDiffers { file: "berth.lock".into(), causes: vec![] }, 1),
            (Failure::NotLocked(vec![]), 1),
            (Failure::Unasked(vec![]), 1),
            (Failure::Unshown(vec![]), 1),
            (Failure::Unconfirmed { message: "x".into(), flag: "--yes" }, 7),
            (Failure::Locked { project: "a".into(), holder: "b".into() }, 8),
            (denied, 9),
            (Failure::NotStarted { code: 127, message: "x".into() }, 127),
            (Failure::Output(io::ErrorKind::BrokenPipe.into()), 141),
            (Failure::Output(io::ErrorKind::StorageFull.into()), 1),
        ];
        for (failure, code) in failures {
            assert_eq!(failure.code(), code, "{failure:?}");
        }
    }
}
