//! What goes from the store and what stays, against a model and after every possible cut.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::time::Duration;

use berth_planner::action::Action;
use berth_planner::desired::ContainerSpec;
use berth_planner::images::{Named, remove_image, users};
use berth_planner::observed::{ContainerRecord, ContainerState, Observed, ObservedContainer};
use berth_planner::prune::{Prune, Reach, prunable, removal};
use berth_planner::room::{Found, Unfinished, Usage};
use proptest::prelude::*;

use super::test_images::{Archive, Scratch, docker_archive};
use super::*;

/// Layers of the images of the test; most are shared.
const IMAGES: [&[u8]; 5] = [&[0, 1], &[0, 2], &[3], &[1, 3, 4], &[4, 0]];
const TAGS: [&str; 4] = ["a:1", "a:2", "b:1", "c:5000/d:1"];

struct Site {
    scratch: Scratch,
    store: Store,
    /// Names of containers, each with the image it was made from.
    containers: BTreeMap<String, String>,
}

impl Site {
    fn new() -> Site {
        let scratch = Scratch::new("garbage");
        let store = Store::open(scratch.path().join("images"));
        Site { scratch, store, containers: BTreeMap::new() }
    }

    fn load(&self, image: usize, tag: &str) -> String {
        let layers: Vec<Vec<u8>> = IMAGES[image].iter().map(|n| layer(*n)).collect();
        let archive = docker_archive(&[tag], &layers);
        self.store.load_stream(archive.as_slice()).unwrap().remove(0).id
    }

    fn observed(&self) -> Observed {
        let container = |(name, image): (&String, &String)| (name.clone(), made_of(name, image));
        Observed {
            containers: self.containers.iter().map(container).collect(),
            ..Observed::default()
        }
    }

    /// Does a plan as the host does it, up to `limit` files.
    fn perform(&self, plan: &berth_planner::Plan, mut limit: usize) {
        for step in &plan.steps {
            let alone = self.store.alone(Duration::ZERO).unwrap();
            let removals = match &step.action {
                Action::UntagImage { name, id } => return alone.untag(name, id).unwrap(),
                Action::RemoveImage { id, names } => alone.removals(id, names).unwrap(),
                Action::SweepStore => alone.strays().unwrap(),
                other => panic!("{other:?}"),
            };
            let some: Vec<PathBuf> = removals.into_iter().take(limit).collect();
            limit -= some.len();
            alone.remove_all(some).unwrap();
        }
    }

    fn prune(&self, reach: Reach, limit: usize) {
        let prune = Prune { images: Some(reach), unfinished: true, ..Prune::default() };
        let (observed, images) = (self.observed(), self.store.images().unwrap());
        let begun = places::entries(&self.store.places.making()).unwrap();
        let begun = begun.iter().map(|file| file.file_name().into_string().unwrap());
        let unfinished =
            begun.map(|name| (format!("images/making/{name}"), Unfinished::default())).collect();
        let usage = Usage { parts: self.parts(), unfinished, ..Usage::default() };
        let kept = Default::default();
        let found = Found { observed: &observed, images: &images, usage: &usage, kept: &kept };
        let chosen = prunable(&found, &prune);
        self.perform(&removal(&chosen, &prune, &found), limit);
    }

    /// As `image rm`; whether it was allowed.
    fn remove(&self, tag: &str, force: bool) -> bool {
        let images = self.store.images().unwrap();
        let Some(image) = images.values().find(|image| image.tags.iter().any(|t| t == tag)) else {
            return false;
        };
        let observed = self.observed();
        let users = users(&observed.containers);
        let users = users.get(image.id.as_str()).cloned().unwrap_or_default();
        let plan = remove_image(image, &Named::Name(tag.to_owned()), (&users, None), force);
        plan.map(|plan| self.perform(&plan, usize::MAX)).is_ok()
    }

    fn parts(&self) -> BTreeMap<String, u64> {
        let root = self.scratch.path().join("images");
        let mut parts = BTreeMap::new();
        for folder in ["images", "layers", "blobs/sha256"] {
            for file in places::entries(&root.join(folder)).unwrap() {
                let name = file.file_name().into_string().unwrap();
                parts.insert(format!("{folder}/{name}"), 1);
            }
        }
        parts
    }

    /// An image is there to the last file.
    fn is_whole(&self, id: &str, image: usize) {
        let layers = self.store.layers(id).unwrap();
        let mut expected: Vec<u8> = IMAGES[image].to_vec();
        expected.reverse();
        assert_eq!(layers.len(), expected.len());
        for (layer, n) in layers.iter().zip(expected) {
            for file in 0..3 {
                let text = fs::read_to_string(layer.join(format!("file{file}"))).unwrap();
                assert_eq!(text, format!("{n}"));
            }
        }
        let mut saved = Vec::new();
        self.store.save(&[id.to_owned()], &mut saved).unwrap();
    }

    /// All there is belongs to an image.
    fn has_no_strays(&self) {
        let images = self.store.images().unwrap();
        let needed: BTreeSet<String> =
            images.values().flat_map(|image| image.parts.iter().cloned()).collect();
        let parts: BTreeSet<String> = self.parts().into_keys().collect();
        assert_eq!(parts, needed);
        assert!(places::entries(&self.store.places.making()).unwrap().is_empty());
    }
}

fn layer(n: u8) -> Vec<u8> {
    let text = n.to_string();
    let archive = Archive::default().file("file0", &text).file("file1", &text);
    archive.file("file2", &text).end()
}

fn made_of(name: &str, image: &str) -> ObservedContainer {
    let record = ContainerRecord {
        name: name.into(),
        project: "shop".into(),
        service: "web".into(),
        number: 1,
        succession: 0,
        oneoff: false,
        init: None,
        prepared: false,
        spec: ContainerSpec::default(),
        image_id: image.into(),
        borrowed: Default::default(),
        addresses: BTreeMap::new(),
        id_base: None,
        layer_project: None,
        depends_on: BTreeMap::new(),
        working_dir: String::new(),
        config_files: vec![],
        grants: Default::default(),
        judged: Default::default(),
        locked: None,
    };
    ObservedContainer {
        state: ContainerState::Exited { exit_code: 0, finished_at: 0 },
        ..ObservedContainer::made(record)
    }
}

#[derive(Debug, Clone)]
enum Word {
    Load(usize, usize),
    Tag(usize, usize),
    Remove(usize, bool),
    Create(usize),
    RemoveContainer(usize),
    Prune(bool),
    /// A prune that is killed after so many files, and a pull that was killed before.
    Cut(bool, usize),
}

fn word() -> impl Strategy<Value = Word> {
    let (image, tag) = (0..IMAGES.len(), 0..TAGS.len());
    prop_oneof![
        4 => (image, tag.clone()).prop_map(|(i, t)| Word::Load(i, t)),
        2 => (tag.clone(), tag.clone()).prop_map(|(a, b)| Word::Tag(a, b)),
        3 => (tag.clone(), any::<bool>()).prop_map(|(t, f)| Word::Remove(t, f)),
        3 => tag.clone().prop_map(Word::Create),
        2 => tag.prop_map(Word::RemoveContainer),
        2 => any::<bool>().prop_map(Word::Prune),
        1 => (any::<bool>(), 0..12usize).prop_map(|(all, n)| Word::Cut(all, n)),
    ]
}

/// What should be there: written down without the store and without the planner.
#[derive(Default)]
struct Model {
    ids: BTreeMap<usize, String>,
    tags: BTreeMap<&'static str, usize>,
    containers: BTreeMap<String, usize>,
    there: BTreeSet<usize>,
}

impl Model {
    fn in_use(&self, image: usize) -> bool {
        self.containers.values().any(|used| *used == image)
    }

    fn tagged(&self, image: usize) -> bool {
        self.tags.values().any(|tagged| *tagged == image)
    }

    fn remove(&mut self, tag: &str, force: bool) -> bool {
        let Some(image) = self.tags.get(tag).copied() else { return false };
        let last = self.tags.values().filter(|tagged| **tagged == image).count() == 1;
        if last && self.in_use(image) && !force {
            return false;
        }
        self.tags.remove(tag);
        if last && !self.in_use(image) {
            self.there.remove(&image);
        }
        true
    }

    fn prune(&mut self, all: bool) {
        let going =
            |model: &Model, image: usize| !model.in_use(image) && (all || !model.tagged(image));
        let gone: Vec<usize> = self.there.iter().copied().filter(|i| going(self, *i)).collect();
        for image in gone {
            self.there.remove(&image);
            self.tags.retain(|_, tagged| *tagged != image);
        }
    }
}

fn speak(site: &mut Site, model: &mut Model, word: &Word) {
    match word {
        Word::Load(image, tag) => {
            model.ids.insert(*image, site.load(*image, TAGS[*tag]));
            model.tags.insert(TAGS[*tag], *image);
            model.there.insert(*image);
        }
        Word::Tag(from, to) => {
            let tagged = site.store.tag(TAGS[*from], TAGS[*to]).is_ok();
            let image = model.tags.get(TAGS[*from]).copied();
            assert_eq!(tagged, image.is_some());
            image.map(|image| model.tags.insert(TAGS[*to], image));
        }
        Word::Remove(tag, force) => {
            let removed = site.remove(TAGS[*tag], *force);
            assert_eq!(removed, model.remove(TAGS[*tag], *force), "remove {}", TAGS[*tag]);
        }
        Word::Create(tag) => {
            if let Some(image) = model.tags.get(TAGS[*tag]).copied() {
                let name = format!("web-{tag}");
                site.containers.insert(name.clone(), model.ids[&image].clone());
                model.containers.insert(name, image);
            }
        }
        Word::RemoveContainer(n) => {
            site.containers.remove(&format!("web-{n}"));
            model.containers.remove(&format!("web-{n}"));
        }
        Word::Prune(all) => {
            site.prune(if *all { Reach::Named } else { Reach::Nameless }, usize::MAX);
            model.prune(*all);
            site.has_no_strays();
        }
        Word::Cut(all, files) => {
            let making = site.store.places.making().join(Digest::of(&layer(9)).hex());
            fs::create_dir_all(making.join("layer/diff")).unwrap();
            let reach = if *all { Reach::Named } else { Reach::Nameless };
            site.prune(reach, *files);
            // The next one goes on from there.
            site.prune(reach, usize::MAX);
            model.prune(*all);
            site.has_no_strays();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_a_root_needs_stays_and_all_else_goes(words in prop::collection::vec(word(), 1..24)) {
        let (mut site, mut model) = (Site::new(), Model::default());
        for word in &words {
            speak(&mut site, &mut model, word);
            let there: BTreeSet<&String> = model.there.iter().map(|i| &model.ids[i]).collect();
            let images = site.store.images().unwrap();
            prop_assert_eq!(images.keys().collect::<BTreeSet<_>>(), there, "after {:?}", word);
            for tag in TAGS {
                let means = site.store.resolve(tag).unwrap().map(|entry| entry.id);
                let meant = model.tags.get(tag).map(|image| model.ids[image].clone());
                prop_assert_eq!(means, meant, "{} after {:?}", tag, word);
            }
        }
        for image in &model.there {
            site.is_whole(&model.ids[image], *image);
        }
    }
}

#[test]
fn a_removal_cut_anywhere_leaves_the_others_whole_and_is_gone_on_with() {
    let files = {
        let site = Site::new();
        let id = site.load(0, "a:1");
        site.load(1, "b:1");
        site.store.alone(Duration::ZERO).unwrap().removals(&id, &["a:1".to_owned()]).unwrap().len()
    };
    assert_eq!(files, 7, "name, record, layer's record, layer, three blobs");
    for cut in 0..=files {
        let site = Site::new();
        let id = site.load(0, "a:1");
        let other = site.load(1, "b:1");
        site.prune_one(&id, cut);
        site.is_whole(&other, 1);
        match site.store.resolve("a:1").unwrap() {
            Some(_) => assert_eq!(cut, 0, "a name that is left means a whole image"),
            None => assert!(cut > 0),
        }
        if cut < 2 {
            site.is_whole(&id, 0);
        }
        // A pull of the same image over what is left makes it whole.
        assert_eq!(site.load(0, "a:1"), id);
        site.is_whole(&id, 0);
        site.prune_one(&id, cut);
        site.prune(Reach::Nameless, usize::MAX);
        if cut > 0 {
            site.has_no_strays();
            assert_eq!(site.store.images().unwrap().len(), 1);
        }
        site.is_whole(&other, 1);
    }
}

impl Site {
    fn prune_one(&self, id: &str, cut: usize) {
        let alone = self.store.alone(Duration::ZERO).unwrap();
        let removals = alone.removals(id, &["a:1".to_owned()]).unwrap();
        alone.remove_all(removals.into_iter().take(cut).collect()).unwrap();
    }
}

#[test]
fn a_layer_half_removed_is_not_taken_for_a_whole_one() {
    let site = Site::new();
    let id = site.load(2, "a:1");
    let layer = site.store.layers(&id).unwrap().remove(0);
    let alone = site.store.alone(Duration::ZERO).unwrap();
    let removals = alone.removals(&id, &["a:1".to_owned()]).unwrap();
    let until_layer = removals.iter().position(|path| layer.starts_with(path)).unwrap();
    alone.remove_all(removals.into_iter().take(until_layer).collect()).unwrap();
    drop(alone);
    fs::remove_file(layer.join("file1")).unwrap();
    assert_eq!(site.load(2, "a:1"), id);
    site.is_whole(&id, 2);
}

#[test]
fn an_image_that_got_another_name_meanwhile_is_not_removed() {
    let site = Site::new();
    let id = site.load(0, "a:1");
    site.store.tag("a:1", "b:1").unwrap();
    let alone = site.store.alone(Duration::ZERO).unwrap();
    assert!(matches!(alone.remove(&id, &["a:1".to_owned()]), Err(StoreError::Moved(_))));
    assert!(matches!(alone.untag("c:1", &id), Err(StoreError::Moved(_))));
    drop(alone);
    site.is_whole(&id, 0);
}

#[test]
fn names_of_images_that_are_lost_are_swept() {
    let site = Site::new();
    let id = site.load(0, "a:1");
    let record = site.store.places.image(&Digest::parse(&id).unwrap());
    // What a power cut may leave of a file that was not settled.
    fs::write(&record, b"").unwrap();
    let beside = site.store.places.refs().join(".x.1.new");
    fs::write(&beside, b"{").unwrap();
    site.store.alone(Duration::ZERO).unwrap().sweep().unwrap();
    site.has_no_strays();
    assert!(site.parts().is_empty() && site.store.names().unwrap().is_empty());
    assert!(!beside.exists());
}
