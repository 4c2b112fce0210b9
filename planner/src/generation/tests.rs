//! What a generation is made of.

use berth_schema::stack::{self, Condition, Deploy, Service};

use super::*;
use crate::action::Action;
use crate::desired::{Content, DependencySpec, FileSpec, ServiceSpec};
use crate::observed::ObservedImage;
use crate::plan::{Step, StepId};
use crate::prune::tests::container;
use crate::rollout::{Order, Rollout, choose};

fn service(image: &str, level: &str) -> ServiceSpec {
    let environment = [("LEVEL".to_owned(), Some(level.to_owned()))].into();
    let secret = FileSpec {
        target: "/run/secrets/token".into(),
        uid: 0,
        gid: 0,
        mode: 0o444,
        secret: true,
        digest: "sha256:5ec".into(),
        content: Content::default(),
    };
    ServiceSpec {
        replicas: 1,
        container: ContainerSpec {
            image: image.into(),
            environment,
            files: vec![secret],
            ..ContainerSpec::default()
        },
        pull_policy: berth_schema::stack::PullPolicy::Missing,
        locked: None,
        pinned: None,
        container_name: None,
        no_userns: None,
        no_effect: vec![],
        rollout: None,
        order: None,
        rollback: None,
        deadline: None,
        goes_back: false,
        depends_on: BTreeMap::new(),
        attach: true,
        pre_start: vec![],
    }
}

/// Services `web` and `db` with this variable.
fn desired(level: &str) -> Desired {
    let services = [("db", "pg:17"), ("web", "app:1")];
    Desired {
        project: "shop".into(),
        services: services.map(|(name, image)| (name.to_owned(), service(image, level))).into(),
        sources: [("/srv/a.conf".into(), Content::default())].into(),
        ..Desired::default()
    }
}

/// Their containers, made as `desired` says.
fn containers(desired: &Desired) -> BTreeMap<String, ObservedContainer> {
    let made = desired.services.iter().map(|(name, service)| {
        let mut made = container(&format!("shop-{name}-1"), &format!("sha256:{name}"));
        made.record.service.clone_from(name);
        made.record.spec = service.container.clone();
        (made.record.name.clone(), made)
    });
    made.collect()
}

#[test]
fn it_has_the_images_of_containers_and_digests_of_secrets_and_files() {
    let desired = desired("1");
    let made = MadeOf::of(&desired, &containers(&desired), &["web"].into());
    assert_eq!(made.services.keys().collect::<Vec<_>>(), ["web"]);
    assert_eq!(made.services["web"].needed(), Some("sha256:web"));
    assert_eq!(made.services["web"].secrets["/run/secrets/token"], "sha256:5ec");
    assert_eq!(made.contents.keys().collect::<Vec<_>>(), [std::path::Path::new("/srv/a.conf")]);
    assert_eq!(made.images().collect::<Vec<_>>(), ["sha256:web"]);
    let text = serde_json::to_string(&made).unwrap();
    assert_eq!(serde_json::from_str::<MadeOf>(&text).unwrap(), made);
}

#[test]
fn what_was_not_touched_is_as_before() {
    let (one, two) = (desired("1"), desired("2"));
    let before = MadeOf::of(&one, &containers(&one), &["db", "web"].into());
    let covered = ["web"].into();
    let after = MadeOf::of(&two, &containers(&two), &covered).beside(&before, &covered);
    assert_eq!(after.services["db"], before.services["db"]);
    assert_ne!(after.services["web"].spec, before.services["web"].spec);
    let mut same = before.clone();
    same.services.get_mut("web").unwrap().digests.push("app@sha256:1".into());
    assert!(before.is_like(&same));
    same.services.get_mut("web").unwrap().id = None;
    assert!(!before.is_like(&same));
}

#[test]
fn a_container_that_was_kept_as_it_was_is_not_applied() {
    let (one, two) = (desired("1"), desired("2"));
    let mut mixed = containers(&one);
    assert_eq!(applied(&one, &mixed, &["db", "web"].into()), ["db", "web"].into());
    mixed.insert("shop-web-1".into(), containers(&two)["shop-web-1"].clone());
    assert_eq!(applied(&two, &mixed, &["db", "web"].into()), ["web"].into());
}

#[test]
fn what_a_run_did_not_cover_is_what_its_containers_are() {
    let (one, two, three) = (desired("1"), desired("2"), desired("3"));
    let of = |number, desired: &Desired| Generation {
        number,
        project: "shop".into(),
        made_of: MadeOf::of(desired, &containers(desired), &["db", "web"].into()),
        ..Generation::default()
    };
    // The second failed before it came to `web`.
    let all = [of(1, &one), of(2, &two)];
    let mut now = containers(&three);
    let mut put = |of: &Desired| {
        now.insert("shop-web-1".into(), containers(of)["shop-web-1"].clone());
        [base(&all, &now, &["db"].into()).unwrap().number, u64::from(is_applied(&all[1], &now))]
    };
    assert_eq!(put(&one), [1, 0]);
    assert_eq!(put(&two), [2, 0], "`db` is another now");
    assert_eq!(put(&three), [2, 0], "none has it so");
    assert!(is_applied(&all[1], &containers(&two)));
    let mut other_image = containers(&two);
    other_image.get_mut("shop-db-1").unwrap().record.image_id = "sha256:moved".into();
    assert!(!is_applied(&all[1], &other_image));
    assert_eq!(base(&[], &now, &["db"].into()), None);
}

/// Generation `number` of both services, of which `web` was taken back unless it was good.
fn tried(number: u64, desired: &Desired, good: bool) -> Generation {
    Generation {
        number,
        rejected: (!good).then(|| "web".to_owned()).into_iter().collect(),
        made_of: MadeOf::of(desired, &containers(desired), &["db", "web"].into()),
        ..Generation::default()
    }
}

/// A host that has images of these ids for `web` and `db`.
fn with_images(web: &str, db: &str) -> Observed {
    let image = |id: &str| ObservedImage { id: id.into(), pulled_at: 0, repo_digests: vec![] };
    let images = [("app:1", web), ("pg:17", db)].map(|(name, id)| (name.to_owned(), image(id)));
    Observed { images: images.into(), ..Observed::default() }
}

const IMAGES: (&str, &str) = ("sha256:web", "sha256:db");

fn told(all: &[Generation], desired: &Desired, (web, db): (&str, &str)) -> Vec<u64> {
    let observed = with_images(web, db);
    let told = rejected(all, (desired, &observed), &["db", "web"].into());
    assert!(told.iter().all(|one| one.service == "web"), "{told:?}");
    told.iter().map(|one| one.generation).collect()
}

#[test]
fn the_same_description_and_image_is_known_for_what_was_taken_back() {
    let one = desired("1");
    let all = [tried(7, &one, false)];
    assert_eq!(told(&all, &one, IMAGES), [7]);
    assert_eq!(told(&all, &one, ("sha256:other", "sha256:db")), [0; 0]);
    assert_eq!(told(&all, &desired("2"), IMAGES), [0; 0]);
    assert_eq!(told(&[], &one, IMAGES), [0; 0]);
    let observed = with_images(IMAGES.0, IMAGES.1);
    assert_eq!(rejected(&all, (&one, &observed), &["db"].into()), [], "`web` is not made");
}

#[test]
fn the_last_time_it_was_tried_counts() {
    let (one, two) = (desired("1"), desired("2"));
    let all = [tried(1, &one, false), tried(2, &two, false), tried(3, &one, true)];
    assert_eq!(told(&all, &one, IMAGES), [0; 0]);
    assert_eq!(told(&all, &two, IMAGES), [2]);
    assert_eq!(told(&all[..2], &one, IMAGES), [1]);
}

#[test]
fn another_manner_or_another_dependency_is_another_try() {
    let mut one = desired("1");
    let on =
        DependencySpec { condition: Condition::ServiceStarted, restart: false, required: true };
    one.services.get_mut("web").unwrap().depends_on.insert("db".into(), on);
    let all = [tried(7, &one, false)];
    assert_eq!(told(&all, &one, IMAGES), [7]);
    assert_eq!(told(&all, &one, ("sha256:web", "sha256:other")), [0; 0]);

    let mut longer = one.clone();
    longer.services.get_mut("web").unwrap().deadline = Some(std::time::Duration::from_secs(9));
    assert_eq!(told(&all, &longer, IMAGES), [0; 0]);
    let mut fewer = one.clone();
    fewer.services.get_mut("web").unwrap().replicas = 5;
    assert_eq!(told(&all, &fewer, IMAGES), [7], "so many of the same");
    let mut mended = one.clone();
    mended.services.get_mut("db").unwrap().container.command = Some(vec!["migrate".into()]);
    assert_eq!(told(&all, &mended, IMAGES), [0; 0]);
}

#[test]
fn an_order_that_was_chosen_for_a_run_is_no_other_try() {
    for of_file in [None, Some(stack::Rollout::default())] {
        let mut plain = desired("1");
        let deploy = of_file.map(|update| Deploy { update: Some(update), ..Deploy::default() });
        let service = Service { deploy: deploy.map(Box::new), ..Service::default() };
        plain.services.get_mut("web").unwrap().rollout = Rollout::of(&service);
        let mut auto = plain.clone();
        choose(&mut auto, Order::StartFirst, &BTreeMap::new());
        assert_ne!(auto.services["web"].rollout, plain.services["web"].rollout);
        assert_eq!(told(&[tried(7, &auto, false)], &plain, IMAGES), [7]);
        assert_eq!(told(&[tried(7, &plain, false)], &auto, IMAGES), [7]);
    }
}

#[test]
fn what_a_plan_makes_as_wanted_is_made() {
    let one = desired("1");
    let record = |name: &str| {
        let mut record = containers(&one)[&format!("shop-{name}-1")].record.clone();
        record.project = "shop".into();
        record
    };
    let older = desired("0").services["db"].container.clone();
    let records = [
        record("web"),
        ContainerRecord { spec: older, ..record("db") },
        ContainerRecord { oneoff: true, ..record("db") },
        ContainerRecord { init: Some(1), ..record("db") },
        ContainerRecord { project: "other".into(), ..record("db") },
    ];
    let step = |(id, record): (u32, &ContainerRecord)| Step {
        id: StepId(id),
        action: Action::CreateContainer(Box::new(record.clone())),
        causes: vec![],
        changes: vec![],
        after: vec![],
        after_tried: vec![],
    };
    let plan = Plan {
        project: "shop".into(),
        steps: (0..).zip(&records).map(step).collect(),
        ..Plan::default()
    };
    assert_eq!(made(&plan, &one), ["web"].into());
}
