//! A container that failed, with what it wrote last.

use crate::host::{StepError, Stored};
use crate::logs::{self, LAST_LINES, LogLine, LogQuery, Stream, sanitize};
use crate::paths::Roots;

/// The error for a container that did not become what others need; for one of `pre_start` with the
/// last lines it wrote.
pub(super) fn not_ready(roots: &Roots, name: &str, why: String) -> StepError {
    let record = Stored::read(roots, name).ok().flatten().map(|stored| stored.record);
    let init = record.and_then(|record| Some((record.init?, record.service)));
    let Some((step, service)) = init else {
        return StepError::NotReady { name: name.to_owned(), why };
    };
    let why = with_last_lines(roots, name, why);
    let step = step.saturating_sub(1);
    StepError::InitFailed { name: name.to_owned(), step, service, why }
}

/// The error for a container that is not good enough to take over from another.
pub(super) fn not_stable(roots: &Roots, name: &str, why: String) -> StepError {
    let why = with_last_lines(roots, name, why);
    StepError::NotReady { name: name.to_owned(), why }
}

fn with_last_lines(roots: &Roots, name: &str, why: String) -> String {
    let lines = last_lines(roots, name);
    match lines.is_empty() {
        true => why,
        false => format!("{why}; its last lines:\n{}", lines.join("\n")),
    }
}

/// What it wrote last, safe to be shown. A log that cannot be read has nothing.
fn last_lines(roots: &Roots, name: &str) -> Vec<String> {
    let query = LogQuery { tail: Some(LAST_LINES), ..LogQuery::default() };
    let lines = logs::read(&roots.container(name).join("logs"), &query);
    let own = |line: &LogLine| line.stream != Stream::Notice;
    let lines = lines.into_iter().flatten().map_while(Result::ok).filter(own);
    lines.map(|line| sanitize(&line.text, false)).collect()
}
