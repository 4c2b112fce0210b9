//! What goes and what stays, on a host of a few things.

use super::*;
use crate::desired::{ContainerSpec, MountSpec, NetworkSpec, SourceSpec, VolumeSpec};
use crate::images::{Images, StoredImage};
use crate::observed::*;
use crate::room::{ContainerUsage, Unfinished, Usage, rooms};

/// A container of project `shop` that has ended.
pub(crate) fn container(name: &str, image_id: &str) -> ObservedContainer {
    let source = SourceSpec::Volume { name: "shop_data".into(), nocopy: false, subpath: None };
    let mounts = [("/data".to_owned(), MountSpec { source, read_only: false })].into();
    let networks = [("shop_default".to_owned(), Default::default())].into();
    let record = ContainerRecord {
        name: name.into(),
        project: "shop".into(),
        service: "web".into(),
        number: 1,
        succession: 0,
        oneoff: false,
        init: None,
        prepared: false,
        spec: ContainerSpec { mounts, networks, ..ContainerSpec::default() },
        image_id: image_id.into(),
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
        created_at: 100,
        state: ContainerState::Exited { exit_code: 0, finished_at: 0 },
        ..ObservedContainer::made(record)
    }
}

/// `shop-web-1` from image `a` with a network and volumes named and anonymous; images `b`
/// (tagged, shares a layer with `a`) and `c` (nameless).
struct Site {
    observed: Observed,
    images: Images,
    usage: Usage,
    kept: Kept,
}

impl Site {
    fn new() -> Site {
        let mut site = Site {
            observed: Observed::default(),
            images: Images::new(),
            usage: Usage { total: 10_000, ..Usage::default() },
            kept: Kept::new(),
        };
        site.observed.containers.insert("shop-web-1".into(), container("shop-web-1", "a"));
        let usage = ContainerUsage { files: 10, logs: 5 };
        site.usage.containers.insert("shop-web-1".into(), usage);
        for (name, owner) in [("shop_data", None), ("shop_old", None), ("anon", Some("shop-web-1"))]
        {
            let record = VolumeRecord {
                name: name.into(),
                project: "shop".into(),
                spec: VolumeSpec::default(),
                container: owner.map(str::to_owned),
            };
            site.observed.volumes.insert(name.into(), ObservedVolume { record });
            site.usage.volumes.insert(name.into(), 100);
        }
        let spec = NetworkSpec::default();
        let record = NetworkRecord {
            name: "shop_default".into(),
            project: "shop".into(),
            spec,
            bridge: "br".into(),
            realm: None,
            subnets: vec![],
        };
        let network = ObservedNetwork { record, bridge_up: true, rules_present: true };
        site.observed.networks.insert("shop_default".into(), network);
        for (id, tags, parts) in [
            ("a", vec!["a:1"], vec!["layers/1", "layers/2"]),
            ("b", vec!["b:1"], vec!["layers/2", "layers/3"]),
            ("c", vec![], vec!["layers/3", "layers/4"]),
        ] {
            let image = StoredImage {
                id: id.into(),
                tags: tags.into_iter().map(str::to_owned).collect(),
                created: Some(50),
                parts: parts.into_iter().map(str::to_owned).collect(),
                ..StoredImage::default()
            };
            site.images.insert(id.into(), image);
        }
        for n in 1..=5 {
            site.usage.parts.insert(format!("layers/{n}"), 1000);
        }
        site
    }

    fn found(&self) -> Found<'_> {
        Found {
            observed: &self.observed,
            images: &self.images,
            usage: &self.usage,
            kept: &self.kept,
        }
    }

    fn told(&self, prune: &Prune) -> String {
        let line = |t: &Thing| format!("{:?} {} {}", t.kind, t.name, t.bytes);
        prunable(&self.found(), prune).iter().map(line).collect::<Vec<_>>().join("\n")
    }
}

fn images(reach: Reach) -> Prune {
    Prune { images: Some(reach), ..Prune::default() }
}

fn system(reach: Reach) -> Prune {
    Prune {
        containers: true,
        networks: true,
        volumes: Some(Reach::Nameless),
        images: Some(reach),
        unfinished: true,
        ..Prune::default()
    }
}

#[test]
fn images_that_a_container_was_made_from_stay() {
    let site = Site::new();
    assert_eq!(site.told(&images(Reach::Nameless)), "Image c 1000");
    // Layer 3 goes with the last of the two that have it, layer 2 stays with `a`.
    assert_eq!(site.told(&images(Reach::Named)), "Image b 0\nImage c 2000");
}

#[test]
fn what_a_container_keeps_goes_with_it_but_never_a_volume_with_a_name() {
    let site = Site::new();
    insta::assert_snapshot!(site.told(&system(Reach::Named)), @r"
    Container shop-web-1 15
    Network shop_default 0
    Volume anon 100
    Image a 1000
    Image b 1000
    Image c 2000
    Unfinished unfinished work 1000
    ");
    let prune = system(Reach::Named);
    let chosen = prunable(&site.found(), &prune);
    let plan = removal(&chosen, &prune, &site.found());
    let line = |step: &crate::plan::Step| {
        let after: Vec<String> = step.after.iter().map(ToString::to_string).collect();
        format!("{} {} {} ← {}", step.id, step.action.verb(), step.action.target(), after.join(","))
            .trim_end()
            .to_owned()
    };
    let steps: Vec<String> = plan.steps.iter().map(line).collect();
    insta::assert_snapshot!(steps.join("\n"), @r"
    0 remove_container shop-web-1 ←
    1 remove_network shop_default ← 0
    2 remove_volume anon ← 0
    3 remove_image a:1 ← 0
    4 remove_image b:1 ← 3
    5 remove_image c ← 4
    6 sweep_store images ← 5
    ");
}

#[test]
fn a_running_container_keeps_all_it_has() {
    let mut site = Site::new();
    let web = site.observed.containers.get_mut("shop-web-1").unwrap();
    web.state = ContainerState::Running { pid: 1, started_at: 0 };
    insta::assert_snapshot!(site.told(&Prune { volumes: Some(Reach::Named), ..system(Reach::Named) }), @r"
    Volume shop_old 100
    Image b 0
    Image c 2000
    Unfinished unfinished work 1000
    ");
}

#[test]
fn what_has_come_since_the_plan_was_shown_stays() {
    let mut site = Site::new();
    let prune = images(Reach::Named);
    let chosen = prunable(&site.found(), &prune);
    let c = site.images.get_mut("c").unwrap();
    c.tags.push("new:1".into());
    site.images.insert("d".into(), StoredImage { id: "d".into(), ..StoredImage::default() });
    site.observed.containers.insert("shop-web-2".into(), container("shop-web-2", "b"));
    assert!(removal(&chosen, &prune, &site.found()).is_empty());
}

#[test]
fn a_prune_of_images_touches_the_image_store_alone() {
    let mut site = Site::new();
    site.observed.leftovers.insert(Leftover::Folder("trash/1".into()));
    let idle = Unfinished { bytes: 9, busy: false };
    site.usage.unfinished.insert("trash/1".into(), idle);
    let prune = Prune { unfinished: true, ..images(Reach::Nameless) };
    assert_eq!(site.told(&prune), "Image c 1000\nUnfinished unfinished work 1000");
    let chosen = prunable(&site.found(), &prune);
    let plan = removal(&chosen, &prune, &site.found());
    let verbs: Vec<&str> = plan.steps.iter().map(|step| step.action.verb()).collect();
    assert_eq!(verbs, ["remove_image", "sweep_store"]);
    let everything = system(Reach::Nameless);
    assert!(site.told(&everything).ends_with("Unfinished unfinished work 1009"));
    let chosen = prunable(&site.found(), &everything);
    let plan = removal(&chosen, &everything, &site.found());
    assert!(plan.steps.iter().any(|step| step.action.verb() == "remove_leftover"));
}

#[test]
fn filters_must_all_hold() {
    let mut site = Site::new();
    let label = |text, wanted| Prune {
        labels: vec![LabelFilter::new(text, wanted)],
        ..system(Reach::Named)
    };
    let c = site.images.get_mut("c").unwrap();
    c.labels = [("keep".to_owned(), "yes".to_owned())].into();
    assert_eq!(site.told(&label("keep=yes", true)), "Image c 1000");
    assert_eq!(site.told(&label("keep=no", true)), "");
    assert!(!site.told(&label("keep", false)).contains("Image c"));
    let until = |until| Prune { until: Some(until), ..images(Reach::Named) };
    assert_eq!(site.told(&until(49)), "");
    assert_eq!(site.told(&until(50)), "Image b 0\nImage c 2000");
}

#[test]
fn all_rows_together_are_all_there_is_and_reclaimable_is_what_prune_frees() {
    let mut site = Site::new();
    let busy = Unfinished { bytes: 7, busy: true };
    site.usage.unfinished.insert("images/making/1".into(), busy);
    let rooms = rooms(&site.found());
    assert_eq!(rooms.iter().map(|room| room.bytes).sum::<u64>(), 10_000);
    let line = |r: &crate::room::Room| {
        format!("{} {} {} {} {}", r.kind, r.total, r.active, r.bytes, r.reclaimable)
    };
    insta::assert_snapshot!(rooms.iter().map(line).collect::<Vec<_>>().join("\n"), @r"
    Images 3 1 4000 2000
    Containers 1 0 10 10
    Local Volumes 3 2 300 100
    Logs 1 0 5 5
    Unfinished 2 1 1007 0
    Records 1 1 4678 0
    ");
    // One that runs in its network keeps the container and its logs.
    let mut sharing = container("shop-app-1", "a");
    sharing.record.spec.network_mode = crate::desired::NetworkMode::Container("shop-web-1".into());
    sharing.state = ContainerState::Running { pid: 1, started_at: 0 };
    site.observed.containers.insert("shop-app-1".into(), sharing);
    let told: Vec<String> = crate::room::rooms(&site.found()).iter().map(line).collect();
    assert_eq!([&told[1], &told[3]], ["Containers 2 1 10 0", "Logs 1 0 5 0"]);
}

#[test]
fn what_a_way_back_needs_stays_as_long_as_its_project_is_up() {
    let mut site = Site::new();
    let keeper = |project: &str| Keeper { project: project.to_owned(), generation: 2 };
    let all = Prune { images: Some(Reach::Named), ..Prune::default() };
    site.kept.insert("b".into(), vec![keeper("other"), keeper("shop")]);
    site.kept.insert("c".into(), vec![keeper("other")]);
    assert!(!site.told(&all).contains("Image b") && site.told(&all).contains("Image c"));
    let spared: Vec<_> = spared(&site.found(), &all);
    assert_eq!(spared.len(), 1);
    assert_eq!((spared[0].0.id.as_str(), spared[0].1), ("b", &keeper("shop")));

    // Its last container goes too.
    let with_containers = Prune { containers: true, ..all };
    assert!(site.told(&with_containers).contains("Image b"));
}
