//! Hosts with what their store has, and what is to be pruned there.

use std::collections::{BTreeMap, BTreeSet};

use berth_planner::generation::{Keeper, Kept};
use berth_planner::images::{Images, StoredImage};
use berth_planner::observed::Observed;
use berth_planner::prune::{LabelFilter, Prune, Reach};
use berth_planner::room::{ContainerUsage, Unfinished, Usage};
use proptest::prelude::*;

use super::world::{Drawing, drawings};

/// A host, its store, what all of it takes, and what ways back need.
#[derive(Debug, Clone)]
pub struct Site {
    pub observed: Observed,
    pub images: Images,
    pub usage: Usage,
    pub kept: Kept,
}

/// An image, but for its id: its names, layers, age, label, and whose way back needs it.
#[derive(Debug, Clone)]
struct Picture {
    tags: u8,
    digest: bool,
    layers: u8,
    made: Option<i64>,
    labelled: bool,
    keeper: Option<bool>,
}

/// The drawing of a site, before it is one.
#[derive(Debug, Clone)]
pub struct DrawnSite {
    drawing: Drawing,
    pictures: Vec<Picture>,
    /// Layers that are in the store, whoever has them.
    loose: u8,
    unfinished: Vec<(bool, bool)>,
    ages: Vec<i64>,
}

pub fn sites() -> impl Strategy<Value = DrawnSite> {
    let age = || prop::option::of(0..10i64);
    let keeper = prop::option::weighted(0.3, any::<bool>());
    let picture = (0..4u8, any::<bool>(), any::<u8>(), age(), any::<bool>(), keeper).prop_map(
        |(tags, digest, layers, made, labelled, keeper)| Picture {
            tags,
            digest,
            layers,
            made,
            labelled,
            keeper,
        },
    );
    let pictures = prop::collection::vec(picture, 1..8);
    let unfinished = prop::collection::vec((any::<bool>(), prop::bool::weighted(0.2)), 0..3);
    let ages = prop::collection::vec(0..10i64, 1..5);
    (drawings(), pictures, any::<u8>(), unfinished, ages).prop_map(
        |(drawing, pictures, loose, unfinished, ages)| DrawnSite {
            drawing,
            pictures,
            loose,
            unfinished,
            ages,
        },
    )
}

impl DrawnSite {
    pub fn site(&self) -> Site {
        let mut observed = self.drawing.world().observed;
        let ages = &self.ages;
        for (at, have) in observed.containers.values_mut().enumerate() {
            have.created_at = ages[at % ages.len()];
            if at % 3 == 0 {
                have.record.spec.labels.insert("tier".into(), "a".into());
            }
        }
        let ids = observed.containers.values().flat_map(|have| {
            let record = &have.record;
            record.borrowed.images.values().chain([&record.image_id]).cloned()
        });
        let loose = (0..3).map(|number| format!("sha256:loose{number}"));
        let ids: BTreeSet<String> = ids.filter(|id| !id.is_empty()).chain(loose).collect();
        let mut site = Site {
            images: Images::new(),
            usage: self.usage(&observed),
            kept: Kept::new(),
            observed,
        };
        for (at, id) in ids.into_iter().enumerate() {
            let picture = &self.pictures[at % self.pictures.len()];
            if let Some(own) = picture.keeper {
                let project = if own { "shop" } else { "other" }.to_owned();
                site.kept.insert(id.clone(), vec![Keeper { project, generation: 1 }]);
            }
            site.images.insert(id.clone(), picture.image(at, id));
        }
        for layer in site.images.values().flat_map(|image| &image.parts) {
            site.usage.parts.entry(layer.clone()).or_insert_with(|| weight(layer));
        }
        site
    }

    fn usage(&self, observed: &Observed) -> Usage {
        let parts = layers(self.loose).into_iter();
        let unfinished = self.unfinished.iter().enumerate().map(|(at, (image, busy))| {
            let folder = if *image { "images" } else { "containers" };
            (format!("{folder}/tmp{at}"), Unfinished { bytes: 1 << (40 + at), busy: *busy })
        });
        let volumes = observed.volumes.keys().enumerate();
        let containers = observed.containers.keys().enumerate();
        let takes = |at: usize| ContainerUsage { files: 3 * at as u64, logs: 1000 };
        let ages = self.ages.iter().cycle().skip(1);
        Usage {
            total: 0,
            parts: parts.map(|layer| (layer.clone(), weight(&layer))).collect(),
            containers: containers.map(|(at, name)| (name.clone(), takes(at))).collect(),
            volumes: volumes.map(|(at, name)| (name.clone(), 7 << at)).collect(),
            unfinished: unfinished.collect(),
            networks: observed.networks.keys().cloned().zip(ages.copied()).collect(),
        }
    }
}

impl Picture {
    fn image(&self, at: usize, id: String) -> StoredImage {
        let repository = |tag: u8| format!("app{}", tag / 2);
        let tags = (0..self.tags).map(|tag| format!("{}:{at}-{tag}", repository(tag)));
        let label = self.labelled.then(|| ("tier".to_owned(), "a".to_owned()));
        StoredImage {
            id,
            tags: tags.collect(),
            digests: self.digest.then(|| format!("app0@sha256:{at}")).into_iter().collect(),
            created: self.made,
            size: 0,
            labels: BTreeMap::from_iter(label),
            parts: layers(self.layers),
        }
    }
}

fn layers(bits: u8) -> Vec<String> {
    (0..8).filter(|at| bits & 1 << at != 0).map(|at| format!("layers/{at}")).collect()
}

/// Each layer has a bit of its own, so that a sum tells which of them it is of.
fn weight(layer: &str) -> u64 {
    let at: u32 = layer.trim_start_matches("layers/").parse().unwrap();
    1 << (20 + at)
}

/// What is to be pruned: of one kind, of several, or of all.
pub fn asked() -> impl Strategy<Value = Prune> {
    let reach = || prop::option::of(prop_oneof![Just(Reach::Nameless), Just(Reach::Named)]);
    let filter = prop_oneof![
        Just("tier"),
        Just("tier=b"),
        Just("com.docker.compose.project=shop"),
        Just("com.docker.compose.project=other"),
    ];
    let labels = prop_oneof![
        3 => Just(Vec::new()),
        1 => prop::collection::vec((filter, any::<bool>()), 1..3),
    ];
    let until = prop::option::weighted(0.3, 0..10i64);
    (any::<[bool; 3]>(), reach(), reach(), until, labels).prop_map(
        |([containers, networks, unfinished], volumes, images, until, labels)| Prune {
            containers,
            networks,
            volumes,
            images,
            unfinished,
            until,
            labels: labels.iter().map(|(text, wanted)| LabelFilter::new(text, *wanted)).collect(),
        },
    )
}
