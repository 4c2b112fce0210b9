//! What a generation is made of.

use super::*;
use crate::desired::{Content, FileSpec, ServiceSpec};
use crate::observed::ObservedImage;
use crate::prune::tests::container;

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
fn the_same_description_and_image_is_known_for_what_was_taken_back() {
    let one = desired("1");
    let taken_back = Generation {
        number: 7,
        rejected: ["web".to_owned()].into(),
        made_of: MadeOf::of(&one, &containers(&one), &["db", "web"].into()),
        ..Generation::default()
    };
    let image = |id: &str| {
        let image = ObservedImage { id: id.into(), pulled_at: 0, repo_digests: vec![] };
        let images = ["app:1", "pg:17"].map(|name| (name.to_owned(), image.clone())).into();
        Observed { images, ..Observed::default() }
    };
    let told = |desired: &Desired, id: &str| {
        rejected(std::slice::from_ref(&taken_back), (desired, &image(id)), &["db", "web"].into())
    };
    let web = Rejected { service: "web".into(), generation: 7 };
    assert_eq!(told(&one, "sha256:web"), [web]);
    assert_eq!(told(&one, "sha256:other"), []);
    assert_eq!(told(&desired("2"), "sha256:web"), []);
    assert_eq!(rejected(&[], (&one, &image("sha256:web")), &["web"].into()), []);
}
