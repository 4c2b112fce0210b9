//! Images by what keeps them, and what `image rm` takes away.

use std::collections::{BTreeMap, BTreeSet};

use crate::action::Action;
use crate::cause::Cause;
use crate::generation::Keeper;
use crate::observed::{ContainerState, ObservedContainer};
use crate::plan::{Draft, Plan};
use crate::problem::{PlanProblem, PlanProblems};

/// An image in the store with all its names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StoredImage {
    /// Digest of its config, `sha256:…`.
    pub id: String,
    /// Names with a tag, as people write them: `redis:7`.
    pub tags: Vec<String>,
    /// Names by the digest of a registry alone: `redis@sha256:…`.
    pub digests: Vec<String>,
    /// Seconds since the epoch when it was made, if it says so.
    pub created: Option<i64>,
    /// Bytes of its layers, unpacked.
    pub size: u64,
    /// What it says about itself.
    pub labels: BTreeMap<String, String>,
    /// What it is made of in the store, by path there; images share these.
    pub parts: Vec<String>,
}

impl StoredImage {
    /// All its names, those with a tag first.
    pub fn names(&self) -> Vec<String> {
        self.tags.iter().chain(&self.digests).cloned().collect()
    }
}

/// All images of the store by id.
pub type Images = BTreeMap<String, StoredImage>;

/// What keeps images beside their names, by image id.
///
/// Containers of every stack, running or not, are one of the two lists of roots. What a stack was
/// last made of, and what these mount, is in the records of its containers. The other list is what a way
/// back needs ([`keeper`](crate::generation::keeper)): every removal but a forced one respects both.
pub fn users(
    containers: &BTreeMap<String, ObservedContainer>,
) -> BTreeMap<&str, Vec<&ObservedContainer>> {
    let mut users: BTreeMap<&str, Vec<&ObservedContainer>> = BTreeMap::new();
    for container in containers.values() {
        let record = &container.record;
        let all: BTreeSet<&str> = record.borrowed.images.values().map(String::as_str).collect();
        for image in all.into_iter().chain([record.image_id.as_str()]) {
            let users = users.entry(image).or_default();
            if users.last().is_none_or(|last| last.record.name != record.name) {
                users.push(container);
            }
        }
    }
    users
}

/// How the user named the image that is to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Named {
    /// By one of its names.
    Name(String),
    /// By its id.
    Id,
}

impl Named {
    fn text(&self, image: &StoredImage) -> String {
        match self {
            Named::Name(name) => name.clone(),
            Named::Id => image.id.clone(),
        }
    }
}

/// Takes a name from an image, and with its last name the image.
///
/// With `force` an image that a container was made from loses its names and stays; without, it
/// is refused.
///
/// # Errors
/// When a container or a way back needs it, or an id stands for several tags; all can be forced.
pub fn remove_image(
    image: &StoredImage,
    named: &Named,
    (users, keeper): (&[&ObservedContainer], Option<&Keeper>),
    force: bool,
) -> Result<Plan, PlanProblems> {
    let going = match named {
        Named::Name(name) => going_with(image, name),
        Named::Id => image.names(),
    };
    let last = going.len() == image.names().len();
    let mut problems = PlanProblems::default();
    if last && !force {
        if let Some(user) = users.first() {
            problems.add(in_use(image, named, user));
        } else if let Some(keeper) = keeper {
            problems.add(PlanProblem::ImageKept {
                image: named.text(image),
                project: keeper.project.clone(),
                generation: keeper.generation,
            });
        } else if *named == Named::Id && image.tags.len() > 1 {
            let tags = image.tags.join("`, `");
            problems.add(PlanProblem::ManyTags { image: image.id.clone(), tags });
        }
    }
    // Nothing is left to take but what the container needs.
    if let (true, Some(user)) = (going.is_empty(), users.first()) {
        problems.add(in_use(image, named, user));
    }
    problems.none()?;
    let mut draft = Draft::default();
    if last && users.is_empty() {
        let remove = Action::RemoveImage { id: image.id.clone(), names: going };
        draft.add(remove, vec![Cause::Requested]);
    } else {
        for name in going {
            let untag = Action::UntagImage { name, id: image.id.clone() };
            draft.add(untag, vec![Cause::Requested]);
        }
    }
    Ok(draft.finish(""))
}

fn in_use(image: &StoredImage, named: &Named, user: &ObservedContainer) -> PlanProblem {
    let running = matches!(user.state, ContainerState::Running { .. });
    PlanProblem::ImageInUse {
        image: named.text(image),
        state: if running { "running" } else { "stopped" },
        container: user.record.name.clone(),
    }
}

/// The name, and with the last tag of a repository the digests of that repository.
fn going_with(image: &StoredImage, name: &str) -> Vec<String> {
    let mut going = vec![name.to_owned()];
    if let Some(of) = repository(name).filter(|_| image.tags.iter().any(|tag| tag == name)) {
        let others = image.tags.iter().filter(|tag| *tag != name);
        if !others.filter_map(|tag| repository(tag)).any(|other| other == of) {
            let digests = image.digests.iter();
            going.extend(digests.filter(|digest| repository(digest) == Some(of)).cloned());
        }
    }
    going
}

/// What stands before the tag or digest of a complete name.
fn repository(name: &str) -> Option<&str> {
    let name = name.split_once('@').map_or(name, |(name, _)| name);
    match name.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => Some(repository),
        _ => Some(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observed::Health;
    use crate::prune::tests::container;

    fn image(tags: &[&str], digests: &[&str]) -> StoredImage {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        StoredImage {
            id: "sha256:1".into(),
            tags: owned(tags),
            digests: owned(digests),
            ..StoredImage::default()
        }
    }

    fn told(image: &StoredImage, named: &str, used: bool, force: bool) -> String {
        let named = match named {
            "id" => Named::Id,
            name => Named::Name(name.to_owned()),
        };
        let mut user = container("web-1", "sha256:1");
        (user.state, user.health) =
            (ContainerState::Running { pid: 1, started_at: 0 }, Health::None);
        let users: Vec<&ObservedContainer> = used.then_some(&user).into_iter().collect();
        match remove_image(image, &named, (&users, None), force) {
            Err(problems) => problems.to_string(),
            Ok(plan) => {
                let line = |step: &crate::plan::Step| match &step.action {
                    Action::RemoveImage { id, names } => format!("delete {id} {names:?}"),
                    Action::UntagImage { name, .. } => format!("untag {name}"),
                    other => format!("{other:?}"),
                };
                plan.steps.iter().map(line).collect::<Vec<_>>().join("; ")
            }
        }
    }

    #[test]
    fn one_of_several_names_goes_and_the_last_one_takes_the_image() {
        let two = image(&["a:1", "a:2"], &["a@sha256:9"]);
        assert_eq!(told(&two, "a:1", false, false), "untag a:1");
        assert_eq!(told(&two, "a:1", true, false), "untag a:1");
        let one = image(&["a:1"], &["a@sha256:9"]);
        assert_eq!(told(&one, "a:1", false, false), r#"delete sha256:1 ["a:1", "a@sha256:9"]"#);
        let elsewhere = image(&["a:1", "b:5000/a:1"], &["a@sha256:9"]);
        assert_eq!(told(&elsewhere, "a:1", false, false), "untag a:1; untag a@sha256:9");
        assert_eq!(told(&elsewhere, "b:5000/a:1", false, false), "untag b:5000/a:1");
    }

    #[test]
    fn what_a_container_needs_stays_and_by_force_it_loses_its_names() {
        let one = image(&["a:1"], &[]);
        insta::assert_snapshot!(told(&one, "a:1", true, false), @"image `a:1` is in use: the running container `web-1` was made from it");
        assert_eq!(told(&one, "a:1", true, true), "untag a:1");
        assert_eq!(told(&one, "id", true, true), "untag a:1");
        assert!(told(&image(&[], &[]), "id", true, true).contains("in use"));
    }

    #[test]
    fn an_id_with_several_tags_has_to_be_forced() {
        let two = image(&["a:1", "b:1"], &[]);
        insta::assert_snapshot!(told(&two, "id", false, false), @"image `sha256:1` has several tags (`a:1`, `b:1`), so its id alone does not say which is to go");
        assert_eq!(told(&two, "id", false, true), r#"delete sha256:1 ["a:1", "b:1"]"#);
        assert_eq!(told(&image(&[], &[]), "id", false, false), "delete sha256:1 []");
    }
}
