//! What a lock means for a stack: which images it has to name, what goes into it, and which image
//! a service gets.
//!
//! A name here is the whole name of an image, `docker.io/library/nginx:1.27`. An image as the
//! files write it has one unless it needs no lock: a digest, or the host's own programs.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use berth_schema::lockfile::{Lock, LockedImage};
use berth_schema::stack::Stack;
use serde::{Deserialize, Serialize};

use crate::desired::{Desired, ServiceSpec, SourceSpec};

/// The whole names of images by what the files call them.
pub type Names = BTreeMap<String, String>;

/// An image that a stack uses.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Need {
    /// Who uses it.
    pub services: BTreeSet<String>,
    /// What it has to run on.
    pub platforms: BTreeSet<String>,
    /// Everybody who uses it can build it, so a registry need not have it.
    pub buildable: bool,
}

/// The images of a stack by name. `here` is the platform of services that name none.
pub fn needs(stack: &Stack, names: &Names, here: &str) -> BTreeMap<String, Need> {
    let mut needs: BTreeMap<String, Need> = BTreeMap::new();
    for (service, said) in &stack.services {
        let own = said.image.iter().map(|image| (image, said.build.is_some()));
        let others = said.other_images().map(|image| (image, false));
        for (image, buildable) in own.chain(others) {
            let Some(name) = names.get(image) else { continue };
            let first = Need { buildable: true, ..Need::default() };
            let need = needs.entry(name.clone()).or_insert(first);
            need.services.insert(service.clone());
            need.buildable &= buildable;
            let platform = said.platform.as_ref().filter(|at| at.architecture.is_some());
            need.platforms.insert(platform.map_or(here.to_owned(), ToString::to_string));
        }
    }
    needs
}

/// Names that registries have to be asked for: those without an entry, and with `update` those
/// with one, of these services (none: of all).
pub fn to_ask(
    needs: &BTreeMap<String, Need>,
    lock: &Lock,
    services: &[String],
    update: bool,
) -> BTreeSet<String> {
    let chosen = |need: &Need| {
        services.is_empty() || services.iter().any(|name| need.services.contains(name))
    };
    let open = |name: &String| update || !lock.images.contains_key(name);
    let asked = needs.iter().filter(|(name, need)| chosen(need) && open(name));
    asked.map(|(name, _)| name.clone()).collect()
}

/// What happens to an entry of a lock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "change")]
#[allow(missing_docs, reason = "the text says what the fields are")]
pub enum LockChange {
    /// It is new.
    Added { image: String, digest: String },
    /// The name means another image now.
    Moved { image: String, before: String, after: String },
    /// Nobody uses it any more.
    Gone { image: String },
}

impl fmt::Display for LockChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LockChange::Added { image, digest } => write!(f, "{image} is {digest}"),
            LockChange::Moved { image, before, after } => {
                write!(f, "{image} moved: {before} → {after}")
            }
            LockChange::Gone { image } => write!(f, "{image} is in use no more"),
        }
    }
}

/// The lock after these answers of registries, and how it differs. What is used by nobody goes;
/// an entry that says the same stays as it is, with its time.
pub fn relock(
    needs: &BTreeMap<String, Need>,
    lock: &Lock,
    answers: BTreeMap<String, LockedImage>,
) -> (Lock, Vec<LockChange>) {
    let mut changes = Vec::new();
    let mut next = lock.clone();
    next.images.retain(|image, _| {
        let used = needs.contains_key(image);
        if !used {
            changes.push(LockChange::Gone { image: image.clone() });
        }
        used
    });
    for (image, answer) in answers {
        let after = answer.digest.clone();
        match next.images.get(&image).map(|entry| entry.digest.clone()) {
            Some(before) if before == after => continue,
            Some(before) => {
                changes.push(LockChange::Moved { image: image.clone(), before, after });
            }
            None => changes.push(LockChange::Added { image: image.clone(), digest: after }),
        }
        next.images.insert(image, answer);
    }
    (next, changes)
}

/// How files and lock differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Difference {
    /// An image has no entry.
    Without {
        /// Its name.
        image: String,
        /// Who uses it.
        services: BTreeSet<String>,
    },
    /// An entry is of an image that nobody uses.
    Unused {
        /// Its name.
        image: String,
    },
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Difference::Without { image, services } => {
                let who: Vec<String> = services.iter().map(|name| format!("`{name}`")).collect();
                write!(f, "image `{image}` of {} has no entry in the lock", who.join(", "))
            }
            Difference::Unused { image } => {
                write!(f, "the lock has image `{image}`, which no service uses")
            }
        }
    }
}

/// Where files and lock differ, entries that are missing first.
pub fn differences(needs: &BTreeMap<String, Need>, lock: &Lock) -> Vec<Difference> {
    let open =
        needs.iter().filter(|(name, need)| !need.buildable && !lock.images.contains_key(*name));
    let without = open.map(|(name, need)| Difference::Without {
        image: name.clone(),
        services: need.services.clone(),
    });
    let unused = lock.images.keys().filter(|name| !needs.contains_key(*name));
    without.chain(unused.map(|image| Difference::Unused { image: image.clone() })).collect()
}

/// The digests that a lock gives to images, by what the files call them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pins(BTreeMap<String, String>);

impl Pins {
    /// Those of a stack's images that have an entry.
    pub fn of(names: &Names, lock: &Lock) -> Pins {
        let entry = |name: &String| lock.images.get(name).map(|image| image.digest.clone());
        Pins(names.iter().filter_map(|(image, name)| Some((image.clone(), entry(name)?))).collect())
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes over what others say of images that have no digest here.
    pub fn keep(&mut self, others: &Pins) {
        for (image, digest) in &others.0 {
            self.0.entry(image.clone()).or_insert_with(|| digest.clone());
        }
    }

    /// The digest of an image as the files write it.
    pub fn digest(&self, image: &str) -> Option<String> {
        self.0.get(image).cloned()
    }

    /// What the store is asked about besides the images as the files write them.
    pub fn references(&self) -> impl Iterator<Item = String> {
        self.0.iter().map(|(image, digest)| reference(image, digest))
    }

    /// What is mounted, and steps of `pre_start` with an image of their own, get it by its digest,
    /// as if the file had it.
    fn pin_others(&self, service: &mut ServiceSpec) {
        let (container, inits) = (&mut service.container, &mut service.pre_start);
        let steps = inits.iter_mut().map(|init| &mut init.container);
        for mount in steps.chain([&mut *container]).flat_map(|spec| spec.mounts.values_mut()) {
            if let SourceSpec::Image { reference: mounted, .. } = &mut mount.source
                && let Some(digest) = self.0.get(mounted)
            {
                *mounted = reference(mounted, digest);
            }
        }
        for (step, init) in container.pre_start.iter_mut().zip(inits) {
            let own = step.image.as_ref().filter(|image| **image != container.image);
            if let Some(pinned) = own.and_then(|image| Some(reference(image, self.0.get(image)?))) {
                init.container.image.clone_from(&pinned);
                step.image = Some(pinned);
            }
        }
    }

    /// Says of each service which image it gets.
    pub fn pin(&self, desired: &mut Desired) {
        for service in desired.services.values_mut() {
            service.locked = self.0.get(&service.container.image).cloned();
            self.pin_others(service);
        }
    }
}

/// An image that counts only with this digest.
pub fn reference(image: &str, digest: &str) -> String {
    format!("{image}@{digest}")
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::path::Path;

    use berth_schema::stack::Service;
    use berth_schema::{LoadOptions, Source, config};
    use insta::assert_snapshot;

    use super::*;

    /// A Compose file that is the same wherever it is read.
    struct Text(&'static str);

    impl Source for Text {
        fn read(&self, _: &Path) -> io::Result<Vec<u8>> {
            Ok(self.0.as_bytes().to_vec())
        }

        fn exists(&self, path: &Path) -> bool {
            path == Path::new("/compose.yaml")
        }
    }

    fn stack(services: &[(&str, &str)]) -> Stack {
        let service = |image: &str| Service { image: Some(image.into()), ..Service::default() };
        let services = services.iter().map(|(name, image)| ((*name).into(), service(image)));
        Stack { services: services.collect(), ..Stack::default() }
    }

    fn names() -> Names {
        let name = |image: &str| (image.to_owned(), format!("docker.io/library/{image}"));
        ["nginx:1", "pg:17", "app:1"].map(name).into()
    }

    fn entry(digest: &str) -> LockedImage {
        LockedImage { digest: digest.into(), ..LockedImage::default() }
    }

    fn lock(entries: &[(&str, &str)]) -> Lock {
        let name = |image: &str| format!("docker.io/library/{image}");
        Lock { images: entries.iter().map(|(image, d)| (name(image), entry(d))).collect() }
    }

    fn told<T: ToString>(items: &[T]) -> String {
        items.iter().map(|item| item.to_string() + "\n").collect()
    }

    #[test]
    fn what_only_builds_or_has_a_digest_needs_no_entry() {
        let text = "services:
  web: { image: 'nginx:1' }
  front: { image: 'nginx:1', platform: linux/arm64 }
  app: { image: 'app:1', build: . }
  made: { build: . }
  pinned: { image: 'nginx@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855' }
";
        let options = LoadOptions {
            files: vec!["/compose.yaml".into()],
            working_dir: "/".into(),
            project_name: Some("shop".into()),
            ..LoadOptions::default()
        };
        let stack = config::load(&options, &Text(text)).unwrap().stack;
        let needs = needs(&stack, &names(), "linux/amd64");
        let nginx = &needs["docker.io/library/nginx:1"];
        assert_eq!(nginx.services, ["front", "web"].map(String::from).into());
        assert_eq!(nginx.platforms, ["linux/amd64", "linux/arm64"].map(String::from).into());
        assert!(needs["docker.io/library/app:1"].buildable && !nginx.buildable);
        assert_eq!(needs.len(), 2);
        assert_snapshot!(told(&differences(&needs, &lock(&[("pg:17", "a")]))), @"
        image `docker.io/library/nginx:1` of `front`, `web` has no entry in the lock
        the lock has image `docker.io/library/pg:17`, which no service uses
        ");
    }

    #[test]
    fn only_missing_entries_are_asked_for_unless_all_are_to_be_new() {
        let needs = needs(&stack(&[("web", "nginx:1"), ("db", "pg:17")]), &names(), "linux/amd64");
        let lock = lock(&[("nginx:1", "a"), ("old:1", "b")]);
        let ask = |services: &[&str], update| {
            let services: Vec<String> = services.iter().map(|name| (*name).to_owned()).collect();
            let names: Vec<String> = to_ask(&needs, &lock, &services, update).into_iter().collect();
            names.join(" ").replace("docker.io/library/", "")
        };
        assert_eq!([ask(&[], false), ask(&[], true)], ["pg:17", "nginx:1 pg:17"]);
        assert_eq!([ask(&["web"], false), ask(&["web"], true)], ["", "nginx:1"]);
    }

    #[test]
    fn a_lock_is_changed_no_more_than_the_files_and_the_registries_ask_for() {
        let needs = needs(&stack(&[("web", "nginx:1"), ("db", "pg:17")]), &names(), "linux/amd64");
        let mut before = lock(&[("nginx:1", "a"), ("old:1", "b")]);
        let resolved = || "long ago".to_owned();
        before.images.values_mut().for_each(|entry| entry.resolved = resolved());
        let answers = |nginx: &str| lock(&[("nginx:1", nginx), ("pg:17", "c")]).images;
        let (after, changes) = relock(&needs, &before, answers("a"));
        assert_snapshot!(told(&changes), @"
        docker.io/library/old:1 is in use no more
        docker.io/library/pg:17 is c
        ");
        assert_eq!(after.images["docker.io/library/nginx:1"].resolved, resolved());
        assert_eq!(after.images.len(), 2);
        let (again, changes) = relock(&needs, &after, answers("d"));
        assert_snapshot!(told(&changes), @"docker.io/library/nginx:1 moved: a → d");
        assert_eq!(relock(&needs, &again, BTreeMap::new()), (again.clone(), vec![]));
        assert!(differences(&needs, &again).is_empty());
    }
}
