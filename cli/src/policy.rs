//! The policy gate of a run: what is judged, who is asked, and what is remembered. What is
//! decided, the planner decides.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use berth_planner::cdi::CdiHook;
use berth_planner::desired::Desired;
use berth_planner::observed::{HostFacts, Observed};
use berth_planner::policy::{
    self, Case, Consent, Decision, Facts, Grant, HostPolicy, Level, Origin, Scene, Source, Subject,
    Subjects, Userns,
};
use berth_planner::up::{self as whole, UpOptions};
use berth_planner::{resolve, run as once, text};
use berth_runtime::host::{self, Host};
use berth_runtime::paths::Roots;
use berth_runtime::record::{self, Durability};
use berth_runtime::store::insecure_registries;
use berth_schema::checked::Remark;
use berth_schema::problem::Code;
use berth_schema::stack::{Device, Stack};
use clap::Args;
use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::flow::Look;
use crate::images::Aim;
use crate::session::Session;
use crate::ui::safe;

mod host_file;

pub(crate) use host_file::{HostFile, Unusable};

/// Consents of earlier runs, beside the lock of the project.
const REMEMBERED: &str = "consents.json";

/// What a stack may have.
#[derive(Debug, Clone, Default, Args, Serialize, Deserialize)]
pub(crate) struct PolicyArgs {
    /// How much the stack may have: default, guarded or strict
    #[arg(long, value_name = "LEVEL", env = "BERTH_POLICY", hide_env = true)]
    pub(crate) policy: Option<Level>,
    /// Consent to what a service is given, `G-SOCK:web`, or to `all` that the stack asks for now;
    /// it is remembered for this stack; may be repeated
    #[arg(
        long,
        value_name = "GRANT:SERVICE",
        env = "BERTH_ALLOW",
        hide_env = true,
        value_delimiter = ','
    )]
    pub(crate) allow: Vec<Subjects>,
    /// What somebody said yes to when this run asked, by digest.
    #[arg(skip)]
    #[serde(skip)]
    pub(crate) answered: Vec<String>,
}

/// A consent that was given in an earlier run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Remembered {
    digest: String,
    grant: String,
    service: Option<String>,
    object: String,
    /// Folder of the project, without links: another one of the same name is another stack.
    #[serde(default)]
    folder: PathBuf,
    /// When, for people.
    at: String,
}

/// What the policy says to a run. Without a judgement: nothing.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ruling {
    level: Level,
    userns: Userns,
    grants: Vec<Grant>,
    facts: Facts,
    /// Folders of other stacks of this name that were consented to the same, by digest.
    elsewhere: BTreeMap<String, PathBuf>,
}

impl Ruling {
    /// Before anything was judged: what the host says of every container.
    pub(crate) fn before(file: &HostFile, asked: Option<Level>) -> Ruling {
        let userns = file.policy.security.userns;
        Ruling { level: file.held(asked), userns, ..Ruling::default() }
    }

    /// The host as containers may use it.
    pub(crate) fn host(&self, observed: &Observed) -> HostFacts {
        let userns = observed.host.userns && self.userns != Userns::Off;
        HostFacts { userns, ..observed.host.clone() }
    }

    /// Makes what is asked for what the policy lets through.
    pub(crate) fn apply(&self, desired: &mut Desired) {
        policy::tighten(desired, self.level);
        desired.judged = policy::Judged::of(&self.grants, desired, &self.facts);
    }

    /// Everything that is given beyond the defaults.
    pub(crate) fn grants(&self) -> &[Grant] {
        &self.grants
    }

    /// What paths were judged to lead to.
    pub(crate) fn facts(&self) -> &Facts {
        &self.facts
    }

    /// What the stack may not have, if there is anything.
    ///
    /// # Errors
    /// All of it at once, each with its place and the next move.
    pub(crate) fn check(&self, stack: &Stack) -> Result<(), Failure> {
        let denied: Vec<&Grant> = self.grants.iter().filter(|grant| grant.is_denied()).collect();
        if denied.is_empty() {
            return Ok(());
        }
        let remark = |grant: &&Grant| {
            let mut remark = remark(stack, grant, self.level);
            if let Some(other) = self.elsewhere.get(&grant.digest) {
                let other = other.display();
                remark.message += &format!(" (given so far to the stack in `{other}`)");
            }
            remark
        };
        let (placed, loose): (Vec<Remark>, Vec<Remark>) =
            denied.iter().map(remark).partition(|remark| !remark.path.starts_with("--"));
        let placed = stack.places.problems(placed).into_iter().map(miette::Report::new);
        let loose = loose.into_iter().map(|remark| {
            miette::miette!(help = remark.help.unwrap_or_default(), "{}", remark.message)
        });
        Err(Failure::Denied {
            level: self.level.to_string(),
            count: denied.len(),
            reports: placed.chain(loose).collect(),
            help: next_move(&stack.name, &denied),
        })
    }
}

/// One denial with its next move.
fn remark(stack: &Stack, grant: &Grant, level: Level) -> Remark {
    let whom = grant.service.as_ref().map_or("the stack".to_owned(), |name| format!("`{name}`"));
    let (verdict, help) = match grant.decision {
        Decision::Consent => {
            let first = match grant.is_harmless_to_read() {
                true => "read-only (`:ro`) it needs none; else ",
                false => "",
            };
            let file = HostPolicy::line(&stack.name, grant);
            let help = format!(
                "{first}`--allow {}` says yes for this stack, and so does the line {file} among \
                 the `consents` of the host's policy",
                flag(&stack.name, grant)
            );
            ("needs consent", help)
        }
        _ => ("is refused", refusal(grant, level)),
    };
    Remark {
        code: Code::Denied,
        warning: false,
        path: grant.path.clone(),
        message: format!("{whom} is given {}: {} {verdict}", grant.what, grant.id),
        help: Some(help),
    }
}

/// What to do about a grant that nobody can consent to.
fn refusal(grant: &Grant, level: Level) -> String {
    match grant.case {
        Case::Root => "set `user` to a number that is not 0".to_owned(),
        Case::NoLimit if grant.object == "memory" => "set `mem_limit`".to_owned(),
        Case::NoLimit => "give it a `size`".to_owned(),
        Case::Unpinned => "`berth lock` pins it, and so does a digest in `image`".to_owned(),
        Case::Taken => {
            "say `external: true` if that one is meant, or choose another name".to_owned()
        }
        Case::UsernsRequired | Case::NoUserns => {
            "take away what excludes a user namespace; the host's policy wants one".to_owned()
        }
        case if case.decision(Level::Default) < Decision::Refused => {
            format!("take it away; under the policy `{level}` nobody can consent to it")
        }
        _ => "take it away; nobody can consent to it".to_owned(),
    }
}

/// `G-SOCK:web`.
fn flag(project: &str, grant: &Grant) -> String {
    format!("{}:{}", grant.id, grant.service.as_deref().unwrap_or(project))
}

/// What lets the user go on in one step.
fn next_move(project: &str, denied: &[&Grant]) -> String {
    if denied.iter().any(|grant| grant.decision == Decision::Refused) {
        return "take away what is refused".to_owned();
    }
    let flags: BTreeSet<String> =
        denied.iter().map(|grant| format!("--allow {}", flag(project, grant))).collect();
    let flags = Vec::from_iter(flags).join(" ");
    format!("run it again with `{flags}`: it is remembered for this stack")
}

/// Judges what `aim` comes to. Looks at the host and changes nothing.
pub(crate) fn judge(
    session: &Session,
    (host, roots): (Option<&Host>, &Roots),
    (stack, desired, observed): (&Stack, &Desired, &Observed),
    aim: Aim<'_>,
    args: &PolicyArgs,
    file: &HostFile,
) -> Result<Ruling, Failure> {
    let mut ruling = Ruling::before(file, args.policy);
    let subjects = subjects(stack, desired, aim)?;
    let mut wanted = policy::wanted(stack, desired, observed, &subjects);
    let files = read_for(session, stack);
    wanted.extend(files.iter().cloned());
    let mut facts = host::grounds(roots, &stack.working_dir, &wanted);
    facts.files = files;
    facts.devices = host::nodes(&policy::wanted_devices(&subjects));
    facts.userns = ruling.userns;
    facts.variables = variables(session, stack);
    facts.open_variables = file.policy.variables.clone();
    facts.device_hooks = device_hooks(stack, desired);
    facts.insecure = insecure_registries().unwrap_or_default().into_iter().collect();
    if let (Some(host), Level::Strict) = (host, ruling.level) {
        facts.uids = uids(host, desired, &subjects);
    }
    let (before, elsewhere) =
        remembered(roots, &stack.name).into_iter().partition(|one| one.folder == facts.project);
    ruling.elsewhere = others(elsewhere);
    let consents = consents(before, args, file);
    let scene = Scene { stack, desired, observed, facts: &facts };
    ruling.grants = policy::grants(&scene, &subjects, (ruling.level, Origin::Operator), &consents);
    ruling.facts = facts;
    Ok(ruling)
}

/// Hooks that the devices of these services come with.
fn device_hooks(stack: &Stack, desired: &Desired) -> BTreeMap<String, Vec<CdiHook>> {
    if !resolve::wants_cdi(stack) {
        return BTreeMap::new();
    }
    let library = host::cdi();
    let devices = desired.services.values().flat_map(|service| &service.container.devices);
    let named = devices.filter_map(|device| match device {
        Device::Cdi { vendor, class, name } => Some(format!("{vendor}/{class}={name}")),
        Device::Node { .. } => None,
    });
    named.filter_map(|name| Some((name.clone(), library.edits(&[name]).ok()?.hooks))).collect()
}

/// What all services of a stack are given beyond the defaults, under the host's own policy. What
/// cannot be looked at is taken for what it is called.
pub(crate) fn listed(
    session: &Session,
    stack: &Stack,
    desired: &Desired,
    (host, file): (HostFacts, &HostFile),
) -> Vec<Grant> {
    let roots = session.roots();
    let observed = Observed { host, ..Observed::default() };
    let options = UpOptions::default();
    let (aim, args) = (Aim::Up(&options), PolicyArgs::default());
    let over = (stack, desired, &observed);
    let ruling = judge(session, (None, &roots), over, aim, &args, file);
    ruling.map(|ruling| ruling.grants).unwrap_or_default()
}

/// The containers that an aim makes.
fn subjects<'a>(
    stack: &'a Stack,
    desired: &'a Desired,
    aim: Aim<'_>,
) -> Result<Vec<Subject<'a>>, Failure> {
    let covered = match aim {
        Aim::Up(options) => whole::covered(desired, options)?,
        Aim::Once(options) => once::covered(desired, options)?,
    };
    let names = stack.services.keys().filter(|name| covered.contains(name.as_str()));
    let mut subjects: Vec<Subject<'a>> =
        names.filter_map(|name| Subject::of(stack, name, desired.services.get(name)?)).collect();
    if let Aim::Once(options) = aim {
        let own = once::description(desired, options)?;
        if let Some(subject) = subjects.iter_mut().find(|subject| subject.name == options.service) {
            subject.spec = Cow::Owned(own);
        }
    }
    Ok(subjects)
}

/// Files that were read for the stack, but that nobody named: included, extended, environment.
fn read_for(session: &Session, stack: &Stack) -> BTreeSet<PathBuf> {
    let named = session.global.files.iter().chain(&session.global.env_file);
    let lists = session.environment.get("COMPOSE_ENV_FILES").map_or("", String::as_str);
    let listed = lists.split(',').filter(|name| !name.is_empty()).map(PathBuf::from);
    let named: BTreeSet<PathBuf> =
        named.cloned().chain(listed).map(|path| session.working_dir.join(path)).collect();
    let chosen =
        !session.global.files.is_empty() || session.environment.contains_key("COMPOSE_FILE");
    let read = stack.places.files_read().into_iter().map(|path| session.working_dir.join(path));
    read.filter(|path| !path.ends_with("-"))
        .filter(|path| !(named.contains(path) || chosen && stack.files.contains(path)))
        .collect()
}

/// Variables of the host that the files read. The name of the project is one of the stack.
fn variables(session: &Session, stack: &Stack) -> BTreeSet<String> {
    let of_host =
        |name: &String| session.environment.contains_key(name) && name != "COMPOSE_PROJECT_NAME";
    stack.places.variables().into_iter().filter(of_host).collect()
}

/// Ids of the users that containers run as, where their images are here.
fn uids(host: &Host, desired: &Desired, subjects: &[Subject<'_>]) -> BTreeMap<String, u32> {
    let uid = |subject: &Subject<'_>| {
        let image = desired.services.get(subject.name)?.image();
        Some((subject.name.to_owned(), host.uid_in(&image, subject.spec.user.as_deref())?))
    };
    subjects.iter().filter_map(uid).collect()
}

/// Folders by what was consented to there; of a consent of before they were remembered, none.
fn others(elsewhere: Vec<Remembered>) -> BTreeMap<String, PathBuf> {
    let known = elsewhere.into_iter().filter(|one| !one.folder.as_os_str().is_empty());
    known.map(|one| (one.digest, one.folder)).collect()
}

fn consents(before: Vec<Remembered>, args: &PolicyArgs, file: &HostFile) -> Vec<Consent> {
    let flags = args.allow.iter().cloned().map(|to| Consent { to, source: Source::Flag });
    let before = before
        .into_iter()
        .map(|one| Consent { to: Subjects::One(one.digest), source: Source::Before });
    let of_file = file.policy.consents(|path| host::real(path), &file.path.display().to_string());
    let answered = args.answered.iter().cloned();
    let answered =
        answered.map(|digest| Consent { to: Subjects::One(digest), source: Source::Answer });
    of_file.into_iter().chain(before).chain(flags).chain(answered).collect()
}

fn remembered(roots: &Roots, project: &str) -> Vec<Remembered> {
    let path = roots.project(project).join(REMEMBERED);
    record::read(&path).ok().flatten().unwrap_or_default()
}

/// Asks on a terminal, if `asks`, for what the policy does not let through by itself. Gives the digests of
/// what was said yes to; the look lets go of the lock meanwhile.
///
/// # Errors
/// [`Failure::Denied`] when something of it may not be.
pub(crate) fn ask(
    session: &Session,
    stack: &Stack,
    ruling: &Ruling,
    (mut look, asks): (Look, bool),
) -> Result<(Look, Vec<String>), Failure> {
    let Err(failure) = ruling.check(stack) else { return Ok((look, Vec::new())) };
    let open: Vec<Grant> =
        ruling.grants.iter().filter(|grant| grant.is_denied()).cloned().collect();
    let refused = open.iter().any(|grant| grant.decision == Decision::Refused);
    if refused || !asks || session.global.dry_run || !session.ui.can_ask() {
        return Err(failure);
    }
    // An answer may take long.
    look.let_go();
    text::grants(&open).iter().for_each(|line| session.ui.note(&safe(line)));
    let later = if open.iter().all(is_of_command) { "" } else { ", now and later" };
    let question = format!("let `{}` have this{later}?", stack.name);
    match session.ui.confirm(&question) {
        Some(true) => Ok((look, open.into_iter().map(|grant| grant.digest).collect())),
        _ => Err(failure),
    }
}

/// Remembers what this run consented to, by its words or by an answer; the caller has the lock of
/// the project.
pub(crate) fn remember(host: &Host, stack: &Stack, ruling: &Ruling) -> Result<(), Failure> {
    let given = ruling.grants.iter().filter(|grant| {
        let sources = [Source::Flag, Source::Answer].map(|source| source.to_string());
        let said = grant.consent.as_ref().is_some_and(|source| sources.contains(source));
        said && !is_of_command(grant)
    });
    write(host, (&stack.name, &ruling.facts.project), &Vec::from_iter(given))
}

/// Whether the words of one command ask for a grant, and not the files of the stack: what is
/// consented to then is over with that command.
fn is_of_command(grant: &Grant) -> bool {
    grant.service.is_some() && grant.path.starts_with("--")
}

/// Under the lock of the project.
fn write(host: &Host, (project, folder): (&str, &Path), given: &[&Grant]) -> Result<(), Failure> {
    if given.is_empty() {
        return Ok(());
    }
    let mut all = remembered(host.roots(), project);
    let now = jiff::Timestamp::now().to_string();
    for grant in given {
        if all
            .iter()
            .all(|known| (&known.digest, known.folder.as_path()) != (&grant.digest, folder))
        {
            all.push(Remembered {
                digest: grant.digest.clone(),
                grant: grant.id.to_owned(),
                service: grant.service.clone(),
                object: grant.object.clone(),
                folder: folder.to_owned(),
                at: now.clone(),
            });
        }
    }
    let path = host.roots().project(project).join(REMEMBERED);
    record::write(&path, &all, Durability::Durable)
        .map_err(|e| Failure::refused(format!("remember consents in `{}`: {e}", path.display())))
}

/// Tells what the containers of a change are given. Public ports were told with the containers.
pub(crate) fn tell(session: &Session, grants: &[Grant]) {
    let others: Vec<Grant> =
        grants.iter().filter(|grant| grant.case != Case::Public).cloned().collect();
    text::grants(&others).iter().for_each(|line| session.ui.note(&safe(line)));
}
