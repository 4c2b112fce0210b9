//! The steps of `pre_start` among the others.

use super::*;

pub(super) fn step(image: Option<&str>) -> InitStep {
    InitStep {
        image: image.map(Into::into),
        command: Some(vec!["prepare".into()]),
        environment: BTreeMap::new(),
        user: None,
        working_dir: None,
        privileged: false,
        per_replica: false,
    }
}

fn app(replicas: u32) -> Stack {
    let mut app = service("app:1");
    app.replicas = replicas;
    app.pre_start = vec![step(None), step(Some("tool:1"))];
    app.environment.insert("LOG".into(), Some("info".into()));
    with([("app", app)])
}

#[test]
fn steps_run_one_after_the_other_before_a_container_is_made() {
    let made = plan(&app(1), &FakeHost::new());
    assert_snapshot!(made, @"
    pull    image app:1
    pull    image tool:1
    create  network shop_default  172.19.0.0/16
    run     app-pre_start-1       app:1
                                  `app` waits for it
    run     app-pre_start-2       tool:1
                                  `app` waits for it
    create  app-1                 app:1
    Plan: 2 create, 2 run, 2 pull
    ");
    let order: Vec<String> = steps(&made).lines().map(|line| line[2..].trim().to_owned()).collect();
    let at = |what: &str| order.iter().position(|line| line.starts_with(what)).unwrap();
    let first = at("await_container shop-app-pre_start-1");
    assert!(first < at("start_container shop-app-pre_start-2"), "{order:?}");
    let last = at("await_container shop-app-pre_start-2");
    assert!(last < at("create_container shop-app-1"), "{order:?}");
}

#[test]
fn a_replica_that_joins_finds_its_service_prepared() {
    let host = up_with(&app(1));
    assert!(plan(&app(1), &host).is_empty());
    assert_snapshot!(plan(&app(2), &host), @"
    create  app-2  app:1
    Plan: 1 create, 2 unchanged
    ");
}

#[test]
fn an_image_of_a_step_that_moved_makes_all_run_again() {
    let mut host = up_with(&app(1));
    let have = host.observed.containers.get_mut("shop-app-1").unwrap();
    have.record.borrowed.images.insert("tool:1".into(), "sha256:0".into());
    let told = plan(&app(1), &host).to_string();
    assert!(told.contains("run") && told.contains("replace  app-1"), "{told}");
    assert!(told.contains("Plan: 1 replace, 2 run"), "{told}");
}
