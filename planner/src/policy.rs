//! The policy gate: what a stack is given beyond the defaults, and whether it may have it.
//!
//! Everything is judged on the final model (merged, extended, interpolated, profiles applied) and
//! on resolved paths: what the links of this host lead to comes in as [`Facts`]. How a privilege
//! is spelt does not matter.
//!
//! Reading order: `cases` (the table of decisions), `rows` (which attributes make a case),
//! `paths` (what a host path is), `consent` (who said yes to what), and here the judgement.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use berth_schema::stack::{Place, Service, Stack};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::cdi::CdiHook;
use crate::desired::{ContainerSpec, Desired, ServiceSpec};
use crate::observed::Observed;
use crate::resolve::hex;

mod cases;
mod consent;
mod files;
mod host_file;
mod others;
mod paths;
mod resources;
mod rights;
mod rows;

pub use cases::{Case, Decision, Level, Severity};
pub use consent::{Consent, Source, Subjects};
pub use host_file::{BadPolicy, HostConsent, HostPolicy, Security, Userns};
pub use paths::{Kind, Node, PathFact};
pub(crate) use rows::given;
pub use rows::{wanted, wanted_devices};

/// Who wrote the files of a stack.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// Whoever runs the command named them.
    #[default]
    Operator,
    /// They come from a repository or another host: held to `guarded` at least.
    Delegated,
}

impl Origin {
    /// The level that counts when `asked` was asked for.
    pub fn held(self, asked: Level) -> Level {
        match self {
            Origin::Operator => asked,
            Origin::Delegated => asked.max(Level::Guarded),
        }
    }
}

/// What of the host decides a judgement. The runtime looks, nobody decides there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// What the paths of [`wanted`] lead to.
    pub paths: BTreeMap<PathBuf, PathFact>,
    /// The project's folder without links; nothing in it is foreign.
    pub project: PathBuf,
    /// Folders of our own state.
    pub own: Vec<PathBuf>,
    /// Home directories of people.
    pub homes: BTreeSet<PathBuf>,
    /// Hard limits of processes of this host; one without an end is not in it.
    pub hard_limits: BTreeMap<String, u64>,
    /// Devices that the paths of [`wanted_devices`] are or hold, by path.
    pub devices: BTreeMap<PathBuf, BTreeSet<Node>>,
    /// User ids that services run as in their containers, by service, where the image is here to
    /// tell.
    pub uids: BTreeMap<String, u32>,
    /// Hooks that devices come with, by the whole name of the device.
    pub device_hooks: BTreeMap<String, Vec<CdiHook>>,
    /// Registries that are asked without TLS.
    pub insecure: BTreeSet<String>,
    /// Variables of the host that the files read.
    pub variables: BTreeSet<String>,
    /// Those of them that the host's policy lets every stack read.
    pub open_variables: BTreeSet<String>,
    /// Files that were read for the stack and not named by the operator.
    pub files: BTreeSet<PathBuf>,
    /// What the host's policy says of user namespaces.
    pub userns: Userns,
    /// The host's entry of the stack does without signatures.
    pub unsigned: bool,
}

impl Facts {
    /// Whether a path without links is of the project.
    fn is_project(&self, path: &Path) -> bool {
        // Every path begins with the empty one, and what holds the host is nobody's project.
        !self.project.as_os_str().is_empty()
            && path.starts_with(&self.project)
            && paths::around(&self.project, self).is_none()
    }
}

/// A container that is judged: a service, or one of it with the words of `run`.
#[derive(Debug, Clone)]
pub struct Subject<'a> {
    /// The service.
    pub name: &'a str,
    /// What the files say of it.
    pub service: &'a Service,
    /// What it comes to.
    pub spec: Cow<'a, ContainerSpec>,
    /// The digest of its image is known from the lock.
    pub locked: bool,
}

impl<'a> Subject<'a> {
    /// A service of the stack as it is.
    pub fn of(stack: &'a Stack, name: &'a str, wanted: &'a ServiceSpec) -> Option<Subject<'a>> {
        let service = stack.services.get(name)?;
        let (spec, locked) = (Cow::Borrowed(&wanted.container), wanted.locked.is_some());
        Some(Subject { name, service, spec, locked })
    }
}

/// What a judgement looks at.
#[derive(Debug, Clone, Copy)]
pub struct Scene<'a> {
    /// The final model.
    pub stack: &'a Stack,
    /// What it comes to on this host.
    pub desired: &'a Desired,
    /// What the host has.
    pub observed: &'a Observed,
    /// What its paths lead to.
    pub facts: &'a Facts,
}

/// Whether a grant is there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// No container of the service has it.
    New,
    /// A container of the service has it.
    Kept,
}

impl Standing {
    /// As people read it.
    pub fn word(self) -> &'static str {
        match self {
            Standing::New => "new",
            Standing::Kept => "kept",
        }
    }
}

/// One privilege beyond the defaults.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Grant {
    /// Row of the table, `G-PRIV`.
    pub id: &'static str,
    /// Which cell of the row.
    #[serde(skip)]
    pub case: Case,
    /// Who gets it; `None` is the whole stack.
    pub service: Option<String>,
    /// Path of the attribute in the model, or as [`Places`](berth_schema::Places) has it of what
    /// the files read; one of the command line begins with `--`.
    pub path: String,
    /// Where it is written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<Place>,
    /// What it hands over, in plain words.
    pub what: String,
    /// Which of the things of its kind: a resolved path, a capability, a key.
    pub object: String,
    /// How far it goes, where one may have more or less of it: `ro`, `rw`, `rwm`.
    #[serde(skip)]
    pub scope: &'static str,
    /// How much it is.
    pub severity: Severity,
    /// Whether it is there already.
    pub standing: Standing,
    /// What the policy says.
    pub decision: Decision,
    /// Where somebody said yes to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub consent: Option<String>,
    /// Tells it from every other: what a consent is remembered by.
    pub digest: String,
}

impl Grant {
    /// Whether the stack must not run with it.
    pub fn is_denied(&self) -> bool {
        match self.decision {
            Decision::Allowed | Decision::Shown => false,
            Decision::Consent => self.consent.is_none(),
            Decision::Refused => true,
        }
    }

    /// Whether nothing can be changed with it.
    pub fn is_read_only(&self) -> bool {
        matches!(self.scope, "ro" | "r")
    }

    /// Whether nobody would have to say yes to the same, read-only.
    pub fn is_harmless_to_read(&self) -> bool {
        self.case == Case::HostRoot
            && !self.is_read_only()
            && paths::is_public(Path::new(&self.object))
    }

    /// Whether people are told of it.
    pub fn is_shown(&self) -> bool {
        self.decision != Decision::Allowed
    }
}

/// Every grant of these containers, the weightiest first, with the decision of `level` for files
/// of this `origin`.
pub fn grants(
    scene: &Scene<'_>,
    subjects: &[Subject<'_>],
    (level, origin): (Level, Origin),
    consents: &[Consent],
) -> Vec<Grant> {
    let found = rows::all(scene, subjects, |_| true);
    judged(scene, found, origin.held(level), consents)
}

fn judged(
    scene: &Scene<'_>,
    found: Vec<rows::Found>,
    level: Level,
    consents: &[Consent],
) -> Vec<Grant> {
    let kept = kept(scene);
    let mut grants: BTreeMap<String, Grant> = BTreeMap::new();
    for found in found {
        let grant = grant(scene, found, level, consents, &kept);
        // Two ways to the same thing count as the weightier one.
        let known = grants.get(&grant.digest).is_some_and(|known| known.decision >= grant.decision);
        if !known {
            grants.insert(grant.digest.clone(), grant);
        }
    }
    let mut grants: Vec<Grant> = grants.into_values().collect();
    grants.sort_by(|a, b| {
        let order = |grant: &Grant| (std::cmp::Reverse(grant.severity), grant.id);
        order(a).cmp(&order(b)).then_with(|| (&a.service, &a.object).cmp(&(&b.service, &b.object)))
    });
    grants
}

fn grant(
    scene: &Scene<'_>,
    found: rows::Found,
    level: Level,
    consents: &[Consent],
    kept: &BTreeMap<&str, BTreeSet<&str>>,
) -> Grant {
    let rows::Found { case, service, path, object, scope, what } = found;
    let digest = digest(&scene.desired.project, service.as_deref(), case.id(), &object, scope);
    let has = |service: &str| kept.get(service).is_some_and(|of| of.contains(digest.as_str()));
    let is_kept = match &service {
        Some(service) => has(service),
        None => kept.keys().any(|service| has(service)),
    };
    let decision = case.decision(level);
    // Nobody is shown where the others are written, and there are some of every service.
    let is_placed = decision != Decision::Allowed && !path.starts_with("--");
    let mut grant = Grant {
        id: case.id(),
        case,
        place: if is_placed { scene.stack.places.find(&path) } else { None },
        path,
        service,
        what,
        object,
        scope,
        severity: case.severity(),
        standing: if is_kept { Standing::Kept } else { Standing::New },
        decision,
        consent: None,
        digest,
    };
    if grant.decision == Decision::Consent {
        let given = consents.iter().find(|consent| consent.covers(&grant, &scene.desired.project));
        grant.consent = given.map(|consent| consent.source.to_string());
    }
    grant
}

/// What tells a grant from every other: project, service, row, object and how far it goes.
fn digest(project: &str, service: Option<&str>, id: &str, object: &str, scope: &str) -> String {
    let text = [project, service.unwrap_or("*"), id, object, scope].join("\0");
    hex(&Sha256::digest(text)[..16])
}

/// Grants that the services' containers were made with.
fn kept<'a>(scene: &Scene<'a>) -> BTreeMap<&'a str, BTreeSet<&'a str>> {
    let mut kept: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for container in scene.observed.containers.values() {
        let record = &container.record;
        if record.project == scene.desired.project && !record.oneoff {
            let of_service = kept.entry(&record.service).or_default();
            of_service.extend(record.grants.iter().map(String::as_str));
        }
    }
    kept
}

/// What the judgement leaves with the containers it was about: the grants of each service, and
/// what each host path led to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Judged {
    /// Digests of grants by service; those of the whole stack are with every service.
    pub grants: BTreeMap<String, BTreeSet<String>>,
    /// What paths led to, without links.
    pub paths: BTreeMap<PathBuf, PathBuf>,
}

impl Judged {
    /// Of these grants, for the services of a stack.
    pub fn of(grants: &[Grant], desired: &Desired, facts: &Facts) -> Judged {
        let services = desired.services.keys().map(|name| (name.clone(), BTreeSet::new()));
        let mut of_services: BTreeMap<String, BTreeSet<String>> = services.collect();
        for grant in grants {
            let own: Vec<&mut BTreeSet<String>> = match &grant.service {
                Some(name) => of_services.get_mut(name).into_iter().collect(),
                None => of_services.values_mut().collect(),
            };
            for digests in own {
                digests.insert(grant.digest.clone());
            }
        }
        let paths = facts.paths.iter().map(|(path, fact)| (path.clone(), fact.real.clone()));
        Judged { grants: of_services, paths: paths.collect() }
    }
}

/// Makes what is asked for as tight as `level` wants it: under `strict` no program gains rights
/// when it is executed, and no capability is there that was not added.
pub fn tighten(desired: &mut Desired, level: Level) {
    if level != Level::Strict {
        return;
    }
    for service in desired.services.values_mut() {
        let spec = &mut service.container;
        spec.security.no_new_privileges = true;
        if !spec.cap_drop.iter().any(|cap| cap == "ALL") {
            spec.cap_drop.push("ALL".to_owned());
        }
    }
}

#[cfg(test)]
mod tests;
