//! The host's own policy, `/etc/berth/policy.json`: a floor, what is required, and consents. It
//! is never read from a repository.

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use super::consent::row;
use super::{Case, Consent, Level, Source, Subjects};

/// What the file says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HostPolicy {
    /// The level that no run goes below.
    pub policy: Level,
    /// What containers have to have.
    pub security: Security,
    /// Variables of the host that every stack may read.
    pub variables: BTreeSet<String>,
    /// Consents.
    pub consents: Vec<HostConsent>,
}

/// What containers have to have.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Security {
    /// User namespaces.
    pub userns: Userns,
}

/// Whether containers have user namespaces of their own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Userns {
    /// Where it can be.
    #[default]
    Auto,
    /// No container runs without.
    Require,
    /// None has one.
    Off,
}

/// A consent of the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostConsent {
    /// The project.
    pub stack: String,
    /// The service, or the project's name for what is handed to all of it.
    pub service: String,
    /// Row of the table, `G-SOCK`.
    #[serde(deserialize_with = "known_row")]
    pub grant: String,
    /// The path, for what is one; links in it are followed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
    /// Which of the things of its kind, for what is no path: a capability, a device with its
    /// numbers, a profile with its digest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
    /// Only to reading it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub read_only: bool,
}

fn known_row<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let word = String::deserialize(from)?;
    match row(&word) {
        Some(_) => Ok(word),
        None => Err(D::Error::custom(format!("`{word}` is no grant"))),
    }
}

/// What is wrong with the text of a host's policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadPolicy {
    /// In words.
    pub why: String,
    /// Line and column, from 1, where it was noticed.
    pub at: Option<(usize, usize)>,
}

impl BadPolicy {
    fn of(error: serde_json::Error) -> BadPolicy {
        let at = (error.line(), error.column().max(1));
        let told = error.to_string();
        // The place is told by itself.
        let why = told.rsplit_once(" at line ").map_or(told.as_str(), |(why, _)| why).to_owned();
        BadPolicy { why, at: Some(at).filter(|(line, _)| *line > 0) }
    }
}

impl HostPolicy {
    /// Reads the file.
    ///
    /// # Errors
    /// What is wrong with the text, and where.
    pub fn parse(text: &[u8]) -> Result<HostPolicy, BadPolicy> {
        let policy: HostPolicy = serde_json::from_slice(text).map_err(BadPolicy::of)?;
        match policy.consents.iter().find(|one| one.path.is_some() && one.object.is_some()) {
            Some(both) => {
                let why = format!("a consent to `{}` has `path` and `object`", both.grant);
                Err(BadPolicy { why, at: None })
            }
            None => Ok(policy),
        }
    }

    /// Paths of the consents, to be resolved like those of stacks.
    pub fn paths(&self) -> impl Iterator<Item = &PathBuf> {
        self.consents.iter().filter_map(|consent| consent.path.as_ref())
    }

    /// Its consents; `real` tells what a path leads to, `file` where they were read.
    pub fn consents(&self, real: impl Fn(&PathBuf) -> PathBuf, file: &str) -> Vec<Consent> {
        let consent = |consent: &HostConsent| {
            let id = row(&consent.grant)?.to_owned();
            let path = consent.path.as_ref().map(|path| real(path).display().to_string());
            let object = path.or_else(|| consent.object.clone());
            let (stack, service) = (consent.stack.clone(), consent.service.clone());
            let to = Subjects::Host { stack, id, service, object, read_only: consent.read_only };
            Some(Consent { to, source: Source::File(file.to_owned()) })
        };
        self.consents.iter().filter_map(consent).collect()
    }

    /// The text of a consent to one grant, for people to put into the file.
    pub fn line(stack: &str, grant: &super::Grant) -> String {
        let is_device = matches!(grant.case, Case::Device | Case::HostDevice);
        let is_path = grant.object.starts_with('/') && !is_device;
        let is_other = !is_path && !grant.object.is_empty();
        let consent = HostConsent {
            stack: stack.to_owned(),
            service: grant.service.clone().unwrap_or_else(|| stack.to_owned()),
            grant: grant.id.to_owned(),
            path: is_path.then(|| PathBuf::from(&grant.object)),
            object: is_other.then(|| grant.object.clone()),
            read_only: grant.is_read_only(),
        };
        serde_json::to_string(&consent).unwrap_or_default()
    }
}
