//! `berth check`.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use berth_planner::observed::HostFacts;
use berth_planner::policy::Grant;
use berth_planner::resolve::{self, Inputs, ResolveProblem};
use berth_planner::text;
use berth_planner::unfit::{self, AppArmor, Unfit};
use berth_runtime::host;
use berth_schema::checked::{self, Checked, Remark};
use berth_schema::problem::{Code, Mark, Problem, Problems};
use berth_schema::reference::{self, Class};
use berth_schema::stack::{Service, Stack};
use clap::{Args, ValueEnum};
use serde::Serialize;

use crate::failure::{Exit, Failure};
use crate::policy::{self, HostFile, Unusable};
use crate::project::{invalid, invoker};
use crate::session::Session;
use crate::source::Disk;
use crate::ui::safe;

/// Arguments of `check`.
#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// Only these services and what they depend on
    services: Vec<String>,
    /// Count warnings as errors
    #[arg(long)]
    strict: bool,
    /// How to print it
    #[arg(long, value_enum, default_value_t)]
    format: ReportFormat,
}

/// How problems are printed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum ReportFormat {
    /// Each with its place in the text
    #[default]
    Text,
    /// As one list for programs
    Json,
}

/// A problem for programs.
#[derive(Debug, Serialize)]
struct Row {
    code: Option<&'static str>,
    severity: &'static str,
    message: String,
    file: Option<String>,
    line: Option<usize>,
    column: Option<usize>,
    end_line: Option<usize>,
    end_column: Option<usize>,
    help: Option<String>,
    labels: Vec<Mark>,
}

/// Tells everything that is wrong, and touches nothing.
pub(crate) fn run(session: &Session, args: &CheckArgs) -> Result<Exit, Failure> {
    let options = session.options(&args.services);
    let mut checked = checked::check(&options, &Disk::new(&options));
    let (unseen, grants) = match checked.stack.clone() {
        Some(stack) => judge(session, &stack, &mut checked),
        None => (Vec::new(), Vec::new()),
    };
    let stack = checked.stack.take();
    let problems = checked.problems();
    let errors: Vec<_> = problems.iter().filter(|problem| problem.is_error()).cloned().collect();
    let (count, failure) = (errors.len(), invalid(Problems(errors)));
    if matches!(failure, Failure::Refused { .. }) {
        return Err(failure);
    }
    match args.format {
        ReportFormat::Text => {
            tell(session, stack.as_ref(), &problems, &unseen)?;
            for line in text::grants(&grants) {
                session.ui.data(&safe(&line))?;
            }
        }
        ReportFormat::Json => {
            let rows = problems.iter().map(row).chain(unseen.iter().map(|text| note(text)));
            let shown = grants.iter().filter(|grant| grant.is_shown());
            session.ui.json(&rows.chain(shown.map(of_grant)).collect::<Vec<_>>())?;
        }
    }
    let fine = count == 0 && (problems.is_empty() || !args.strict);
    Ok(if fine { Exit::Done } else { Exit::Invalid })
}

/// Adds what only this host can tell. Gives what could not be looked at, and what the stack is
/// given beyond the defaults.
fn judge(session: &Session, stack: &Stack, checked: &mut Checked) -> (Vec<String>, Vec<Grant>) {
    let root = rustix::process::geteuid().is_root();
    let (inputs, mut unseen) = read(session, stack, root);
    let (userns, platform) = (host::userns(&session.roots()), Some(host::platform()));
    let facts = HostFacts { userns, platform, selinux: host::selinux(), ..HostFacts::default() };
    let inputs = Inputs { invoker: invoker(&stack.working_dir), ..inputs };
    let desired = resolve::resolve(stack, &inputs, &facts);
    let file = HostFile::read(&session.roots()).unwrap_or_else(|unusable| {
        of_policy(checked, &mut unseen, unusable, root);
        HostFile::default()
    });
    let grants = match &desired {
        Ok(desired) => policy::listed(session, stack, desired, (facts.clone(), &file)),
        Err(_) => Vec::new(),
    };
    let problems = desired.err().unwrap_or_default();
    checked.add(problems.iter().filter_map(of_resolving).collect());
    let storage = host::storage(&session.roots());
    let (runtimes, sctp) = (unfit::runtimes(stack), unfit::wants_sctp(stack));
    let abilities = host::abilities(&unfit::must_exist(stack), &runtimes, storage, sctp);
    // What berth does not do yet is refused anyway.
    let later = |unfit: &Unfit| {
        reference::describe(&unfit.path).is_some_and(|found| found.class == Class::Later)
    };
    let unfit = unfit::unfit(stack, &abilities).into_iter().filter(|unfit| !later(unfit));
    checked.add(unfit.map(of_host).collect());
    let asks = |service: &Service| unfit::profile_of(&service.security).is_some();
    if abilities.modules.apparmor == AppArmor::Unseen && stack.services.values().any(asks) {
        unseen
            .push("whether AppArmor has the profiles of `security_opt`: only root can tell".into());
    }
    if !root && stack.services.values().any(|service| !service.ulimits.is_empty()) {
        unseen.push("whether this host can raise `ulimits`: only root can tell".to_owned());
    }
    (unseen, grants)
}

/// Tells that the host's own policy cannot be used, so that nothing would be started.
fn of_policy(checked: &mut Checked, unseen: &mut Vec<String>, unusable: Unusable, root: bool) {
    let Unusable { path, why, text, closed } = unusable;
    if closed && !root {
        unseen.push(format!("`{}`: only root can read it", path.display()));
        return;
    }
    let message = format!("the host's policy `{}` {why}", path.display());
    let help = Some(Unusable::HELP.to_owned());
    let remark =
        Remark { code: Code::HostLacks, warning: false, path: String::new(), message, help };
    checked.add_elsewhere(&path, text, remark);
}

/// The files of configs and secrets. One that is closed to us, but not to root, is no problem of
/// the files.
fn read(session: &Session, stack: &Stack, root: bool) -> (Inputs, Vec<String>) {
    let (mut inputs, mut unseen) = (Inputs::default(), BTreeSet::new());
    for path in resolve::wanted(stack) {
        match fs::read(&path) {
            Ok(bytes) => drop(inputs.files.insert(path, bytes)),
            Err(e) if e.kind() == ErrorKind::PermissionDenied && !root => {
                unseen.insert(format!("`{}`: only root can read it", shown(session, &path)));
                inputs.files.insert(path, Vec::new());
            }
            Err(e) => drop(inputs.unreadable.insert(path, e.to_string())),
        }
    }
    inputs.devices = host::devices(&resolve::wanted_devices(stack));
    inputs.unmapped = host::unmapped(&resolve::bind_sources(stack));
    if resolve::wants_cdi(stack) {
        inputs.cdi = host::cdi();
    }
    (inputs, unseen.into_iter().collect())
}

fn of_resolving(problem: &ResolveProblem) -> Option<Remark> {
    let code = match problem {
        // The loader has told it, with its places; what does not fit is told below.
        ResolveProblem::Dangling { .. }
        | ResolveProblem::External { .. }
        | ResolveProblem::Unfit { .. } => return None,
        ResolveProblem::Unreadable { .. } => Code::Unreadable,
        ResolveProblem::VariableMissing { .. } => Code::RequiredVariable,
        ResolveProblem::NoParent { .. } => Code::UnknownService,
        ResolveProblem::NotShareable { .. } => Code::Conflict,
        ResolveProblem::Platform { .. }
        | ResolveProblem::Contained { .. }
        | ResolveProblem::NoSource { .. }
        | ResolveProblem::Device { .. }
        | ResolveProblem::NoOwner { .. }
        | ResolveProblem::UnmappedOwner { .. }
        | ResolveProblem::Relabel { .. } => Code::HostLacks,
        ResolveProblem::Pool { .. }
        | ResolveProblem::Profile { .. }
        | ResolveProblem::Target { .. }
        | ResolveProblem::OwnCgroup { .. }
        | ResolveProblem::HostImage { .. }
        | ResolveProblem::NoVolumes { .. }
        | ResolveProblem::Mac { .. }
        | ResolveProblem::Runtime { .. }
        | ResolveProblem::BeyondRuntime { .. }
        | ResolveProblem::DriverOption { .. }
        | ResolveProblem::Backing { .. } => Code::BadValue,
    };
    let message = problem.to_string();
    Some(Remark { code, warning: false, path: problem.path(), message, help: None })
}

fn of_host(unfit: Unfit) -> Remark {
    let Unfit { path, fails, why, .. } = unfit;
    let (code, message) = match fails {
        true => (Code::HostLacks, format!("`{path}` cannot be met, and `up` fails: {why}")),
        false => (Code::Inert, format!("`{path}` has no effect on this host: {why}")),
    };
    Remark { code, warning: !fails, path, message, help: None }
}

fn tell(
    session: &Session,
    stack: Option<&Stack>,
    problems: &[Problem],
    unseen: &[String],
) -> Result<(), Failure> {
    for problem in problems {
        session.ui.problem(problem)?;
    }
    for unseen in unseen {
        session.ui.data(&format!("not looked at: {}", safe(unseen)))?;
    }
    let errors = problems.iter().filter(|problem| problem.is_error()).count();
    let warnings = problems.len() - errors;
    let last = match stack {
        Some(stack) if problems.is_empty() => in_order(session, stack),
        _ => count(errors, warnings),
    };
    session.ui.data(&safe(&last))
}

/// `compose.yaml: 3 services, no problems`.
fn in_order(session: &Session, stack: &Stack) -> String {
    let files: Vec<String> = stack.files.iter().map(|file| shown(session, file)).collect();
    let services = match stack.services.len() {
        1 => "1 service".to_owned(),
        many => format!("{many} services"),
    };
    let off = match stack.inactive.len() {
        0 => String::new(),
        many => format!(" ({many} more switched off)"),
    };
    format!("{}: {services}{off}, no problems", files.join(", "))
}

fn shown(session: &Session, path: &Path) -> String {
    path.strip_prefix(&session.working_dir).unwrap_or(path).display().to_string()
}

/// `2 errors, 3 warnings`.
fn count(errors: usize, warnings: usize) -> String {
    let of = |count: usize, what: &str| match count {
        0 => None,
        1 => Some(format!("1 {what}")),
        many => Some(format!("{many} {what}s")),
    };
    let parts: Vec<String> =
        [of(errors, "error"), of(warnings, "warning")].into_iter().flatten().collect();
    parts.join(", ")
}

fn row(problem: &Problem) -> Row {
    let labels = problem.marks();
    let first = labels.first();
    Row {
        code: problem.problem_code().map(Code::as_str),
        severity: if problem.is_error() { "error" } else { "warning" },
        message: problem.to_string(),
        file: first.map(|mark| mark.file.clone()),
        line: first.map(|mark| mark.line),
        column: first.map(|mark| mark.column),
        end_line: first.map(|mark| mark.end_line),
        end_column: first.map(|mark| mark.end_column),
        help: problem.advice().map(str::to_owned),
        labels,
    }
}

fn note(text: &str) -> Row {
    Row {
        code: None,
        severity: "note",
        message: format!("not looked at: {text}"),
        file: None,
        line: None,
        column: None,
        end_line: None,
        end_column: None,
        help: None,
        labels: Vec::new(),
    }
}

/// A grant as a row, at its place.
fn of_grant(grant: &Grant) -> Row {
    let place = grant.place.as_ref();
    let whom = grant.service.as_deref().unwrap_or("the stack");
    Row {
        code: Some(grant.id),
        severity: "grant",
        message: format!("`{whom}` is given {}", grant.what),
        file: place.map(|place| place.file.display().to_string()),
        line: place.map(|place| place.line as usize),
        column: place.map(|place| place.column as usize),
        ..note("")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_there_is_is_counted() {
        assert_eq!(count(2, 3), "2 errors, 3 warnings");
        assert_eq!(count(1, 0), "1 error");
        assert_eq!(count(0, 1), "1 warning");
    }
}
