//! Resource limits by the names of Compose.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use rustix::process::{Resource, Rlimit};
use rustix::thread::CapabilitySet;

use super::error::SetupError;

const NAMES: [(&str, Resource); 16] = [
    ("as", Resource::As),
    ("core", Resource::Core),
    ("cpu", Resource::Cpu),
    ("data", Resource::Data),
    ("fsize", Resource::Fsize),
    ("locks", Resource::Locks),
    ("memlock", Resource::Memlock),
    ("msgqueue", Resource::Msgqueue),
    ("nice", Resource::Nice),
    ("nofile", Resource::Nofile),
    ("nproc", Resource::Nproc),
    ("rss", Resource::Rss),
    ("rtprio", Resource::Rtprio),
    ("rttime", Resource::Rttime),
    ("sigpending", Resource::Sigpending),
    ("stack", Resource::Stack),
];

/// How many files this process could open before it raised that.
static OPEN_FILES: OnceLock<Rlimit> = OnceLock::new();

/// Makes room for `files` open files beside the usual ones, as far as the limit can be raised. What
/// is started from here gets the limit of before; so that it finds free numbers below that, those
/// files have to be moved above the number this gives, if it gives one.
pub(crate) fn make_room(files: usize) -> Option<i32> {
    const OTHERS: u64 = 512;
    let limit = rustix::process::getrlimit(Resource::Nofile);
    let files = u64::try_from(files).unwrap_or(u64::MAX);
    let before = OPEN_FILES.get().copied().unwrap_or(limit);
    let soft = before.current.filter(|soft| *soft < files.saturating_add(OTHERS))?;
    let wanted = soft.saturating_add(files);
    let current = Some(limit.maximum.map_or(wanted, |hard| wanted.min(hard)));
    rustix::process::setrlimit(Resource::Nofile, Rlimit { current, ..limit }).ok()?;
    OPEN_FILES.get_or_init(|| before);
    i32::try_from(soft).ok()
}

/// Limits to set on a new process.
#[derive(Debug, Default)]
pub(crate) struct Limits(Vec<(Resource, Rlimit)>);

impl Limits {
    /// Those that were asked for.
    pub(super) fn asked(&self) -> impl Iterator<Item = (Resource, Rlimit)> {
        self.0.iter().copied()
    }

    /// Each limit, and whether it was asked for. No core is dumped unless asked for, and files are
    /// opened as many as before this process raised that for itself.
    pub(crate) fn all(&self) -> impl Iterator<Item = (Resource, Rlimit, bool)> {
        let core = self.0.iter().all(|(resource, _)| *resource != Resource::Core);
        let hard = rustix::process::getrlimit(Resource::Core).maximum;
        let none = Rlimit { current: Some(0), maximum: hard };
        let asked = self.0.iter().map(|(resource, limit)| (*resource, *limit, true));
        let files = self.0.iter().all(|(resource, _)| *resource != Resource::Nofile);
        let before =
            OPEN_FILES.get().filter(|_| files).map(|limit| (Resource::Nofile, *limit, false));
        core.then_some((Resource::Core, none, false)).into_iter().chain(before).chain(asked)
    }
}

/// Reads `nofile: (1024, 4096)`; `u64::MAX` is no limit.
pub(crate) fn parse(limits: &BTreeMap<String, (u64, u64)>) -> Result<Limits, SetupError> {
    let read = |(name, (soft, hard)): (&String, &(u64, u64))| {
        let known = NAMES.iter().find(|(known, _)| known == name);
        let (_, resource) =
            known.ok_or_else(|| SetupError::refused("set rlimit", name, "no such limit"))?;
        let number = |n: &u64| (*n != u64::MAX).then_some(*n);
        Ok((*resource, Rlimit { current: number(soft), maximum: number(hard) }))
    };
    Ok(Limits(limits.iter().map(read).collect::<Result<_, SetupError>>()?))
}

/// Hard limits of our own process by the names of Compose; one without an end is left out.
pub fn host_limits() -> BTreeMap<String, u64> {
    let hard = |(name, resource): &(&str, Resource)| {
        Some(((*name).to_owned(), rustix::process::getrlimit(*resource).maximum?))
    };
    NAMES.iter().filter_map(hard).collect()
}

/// What a process that we start as root cannot go beyond, by the names of Compose. Empty when
/// limits can be raised, and when we are not root, whose limits are others; a limit without an
/// end is left out.
pub fn hard_limits() -> BTreeMap<String, u64> {
    let may_raise = rustix::thread::capabilities(None)
        .is_ok_and(|sets| sets.effective.contains(CapabilitySet::SYS_RESOURCE));
    if may_raise || !rustix::process::geteuid().is_root() {
        return BTreeMap::new();
    }
    let most = |(name, resource): &(&str, Resource)| {
        Some(((*name).to_owned(), rustix::process::getrlimit(*resource).maximum?))
    };
    NAMES.iter().filter_map(most).collect()
}

/// The most that a dumped core can have here.
pub(crate) fn most_core() -> u64 {
    rustix::process::getrlimit(Resource::Core).maximum.unwrap_or(u64::MAX)
}

/// A limit as `/proc/PID/limits` has it, whose lines stand in the order of the kernel's numbers.
pub(super) fn listed(text: &str, resource: Resource) -> Option<Rlimit> {
    let line = text.lines().nth(1 + resource as usize)?;
    let mut numbers = line.get(26..)?.split_whitespace().map(|word| match word {
        "unlimited" => Some(None),
        number => number.parse().ok().map(Some),
    });
    Some(Rlimit { current: numbers.next()??, maximum: numbers.next()?? })
}

/// The name of a limit.
pub(crate) fn name(resource: Resource) -> &'static str {
    NAMES.iter().find(|(_, known)| *known == resource).map_or("?", |(name, _)| name)
}
