//! What a run comes to, beside the newest generation: the same, the same once more, or another. A plan is
//! asked the same before it is done.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use berth_planner::desired::Desired;
use berth_planner::generation::{self, Generation, MadeOf, Part, applied, digest_of};
use berth_planner::observed::ObservedContainer;
use berth_planner::up::{UpOptions, covered};
use berth_runtime::host::Host;
use berth_schema::stack::{FileContent, Stack};

use super::{End, Run, Standing, document};
use crate::failure::Failure;
use crate::session::Session;

/// What a run is about.
pub(super) struct Outcome<'a> {
    pub(super) session: &'a Session,
    pub(super) host: &'a Host,
    pub(super) run: &'a Run<'a>,
    pub(super) desired: &'a Desired,
}

/// How that stands to the newest generation.
pub(super) enum Entry<'a> {
    /// Nothing is there to be remembered.
    Nothing,
    /// It is that one: nothing was done since.
    Same(&'a Generation),
    /// It is that one once more, with these services; `taken_back` if it was.
    Again { newest: &'a Generation, end: End, taken_back: bool, services: BTreeMap<String, Part> },
    /// It is another.
    New { number: u64, end: End, content: Box<Content> },
}

/// What is written of a generation besides what became of it.
pub(super) struct Content {
    pub(super) made_of: MadeOf,
    /// The text of its model.
    pub(super) model: String,
    /// The contents of its files.
    pub(super) contents: BTreeMap<PathBuf, Vec<u8>>,
}

impl<'a> Outcome<'a> {
    /// What is remembered of a run that ends so and leaves these containers; `run` is the last one that
    /// did anything.
    ///
    /// # Errors
    /// What there is of the history, or of the containers, cannot be read.
    pub(super) fn entry<'g>(
        &self,
        newest: Option<&'g Generation>,
        (end, run): (End, Option<&String>),
        containers: impl FnOnce() -> Result<BTreeMap<String, ObservedContainer>, Failure>,
    ) -> Result<Entry<'g>, Failure> {
        let project = &self.desired.project;
        let mut covered = covered(self.desired, self.run.options)?;
        covered.retain(|service| !self.run.kept.contains(*service));
        let is_touched = |service: &String| covered.contains(service.as_str());
        let is_known = |newest: &Generation| {
            newest.run.as_ref() == run && !newest.rejected.iter().any(is_touched)
        };
        if let Some(newest) = newest.filter(|newest| end.idle && is_known(newest)) {
            return Ok(Entry::Same(newest));
        }
        let containers = containers()?;
        let tried = match end.standing {
            Standing::Stable => applied(self.desired, &containers, &covered),
            Standing::Failed | Standing::RolledBack => covered,
        };
        let taken_back = !end.rejected.is_empty();
        if newest.is_none() && containers.values().all(|one| one.record.project != *project) {
            return Ok(Entry::Nothing);
        }
        let content = self.content(&containers, (&tried, &end.rejected))?;
        let made_of = &content.made_of;
        let end = end.beside(newest, (made_of, &tried));
        // What was taken back for the files that it mounts is not what serves with others of them.
        let bound =
            |of: &MadeOf, service: &String| of.services.get(service).map(|p| p.bound.clone());
        let same_files = |newest: &Generation| {
            let now = end.rejected.iter().filter(|_| taken_back);
            let mut rejected = newest.rejected.iter().chain(now);
            rejected.all(|service| bound(&newest.made_of, service) == bound(made_of, service))
        };
        let is_again = |newest: &&Generation| newest.made_of.is_like(made_of) && same_files(newest);
        if let Some(newest) = newest.filter(is_again) {
            let services = content.made_of.services;
            return Ok(Entry::Again { newest, end, taken_back, services });
        }
        let number = newest.map_or(1, |newest| newest.number + 1);
        Ok(Entry::New { number, end, content: Box::new(content) })
    }

    /// What is applied now, the text of its model, and the contents of its files.
    fn content(
        &self,
        containers: &BTreeMap<String, ObservedContainer>,
        (services, rejected): (&BTreeSet<&'a str>, &BTreeSet<String>),
    ) -> Result<Content, Failure> {
        let Outcome { host, run, desired, .. } = *self;
        // When services are named, the others are not even in what is desired.
        let whole = run.options.services.is_empty() && services.len() == desired.services.len();
        let all = match whole {
            true => Vec::new(),
            false => host.generations(&desired.project)?,
        };
        let before = generation::base(&all, containers, services);
        let needed = self.needed(services, before)?;
        let mut made_of = MadeOf::of(desired, containers, services);
        made_of.pins = run.pins.clone();
        made_of.variables = variables(run.stack);
        // No container is left of what was taken back.
        for name in rejected {
            let (part, service) = (made_of.services.get_mut(name), desired.services.get(name));
            if let (Some(part), Some(service)) = (part, service) {
                part.id = host.store().resolve(&service.image())?.map(|entry| entry.id);
            }
        }
        for part in made_of.services.values_mut() {
            let entry = part.id.as_ref().map(|id| host.store().resolve(id)).transpose()?.flatten();
            part.digests = entry.map(|entry| entry.digests).unwrap_or_default();
        }
        let mut contents: BTreeMap<PathBuf, Vec<u8>> =
            desired.sources.iter().map(|(path, of)| (path.clone(), of.0.to_vec())).collect();
        let document = before.map(|before| document(self.session, host, before)).transpose()?;
        if let Some(before) = before {
            made_of = made_of.beside(&before.made_of, services);
            for (path, bytes) in host.contents_of(before)? {
                contents.entry(path).or_insert(bytes);
            }
        }
        let document = run.stack.document.over(document.as_ref(), &needed, &run.options.scale);
        let model = document.to_yaml();
        made_of.model = digest_of(model.as_bytes());
        Ok(Content { made_of, model, contents })
    }

    /// Services with what they depend on and was never applied, as after `up --no-deps`: without that
    /// their model would not load.
    fn needed(
        &self,
        services: &BTreeSet<&'a str>,
        before: Option<&Generation>,
    ) -> Result<BTreeSet<&'a str>, Failure> {
        if services.is_empty() {
            return Ok(BTreeSet::new());
        }
        let names = services.iter().map(|name| (*name).to_owned()).collect();
        let all = covered(self.desired, &UpOptions { services: names, ..UpOptions::default() })?;
        let applied =
            |name: &str| before.is_some_and(|before| before.made_of.services.contains_key(name));
        Ok(all.into_iter().filter(|name| services.contains(name) || !applied(name)).collect())
    }
}

/// The variables that configs are made from; those of secrets are not written down.
fn variables(stack: &Stack) -> BTreeMap<String, String> {
    let of_configs = stack.configs.values().filter_map(|object| match &object.content {
        FileContent::Environment(name, Some(value)) => Some((name.clone(), value.clone())),
        FileContent::Environment(_, None)
        | FileContent::File(_)
        | FileContent::Inline(_)
        | FileContent::External => None,
    });
    of_configs.collect()
}
