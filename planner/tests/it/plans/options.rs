//! What `up` does as it is asked: scale, orphans, services by name.

use super::*;

#[test]
fn scaling_down_removes_the_highest_numbers() {
    let mut stack = with([("app", service("app:1"))]);
    stack.services.get_mut("app").unwrap().replicas = 12;
    let host = up_with(&stack);
    let scale = BTreeMap::from([("app".to_string(), 9)]);
    let options = UpOptions { scale, ..UpOptions::default() };
    assert_snapshot!(plan_with(&stack, &host, &options), @"
    remove  app-12
    remove  app-11
    remove  app-10
    Plan: 3 remove, 10 unchanged
    ");
}

#[test]
fn orphans_stay_with_a_warning_unless_they_are_to_go() {
    let mut stack = shop();
    let host = up_with(&stack);
    stack.services.remove("web");
    assert_snapshot!(plan(&stack, &host), @"
    warning: container `shop-web-1` is an orphan: service `web` is not in the stack (`--remove-orphans` removes it)
    nothing to do
    ");
    let options = UpOptions { remove_orphans: true, ..UpOptions::default() };
    assert_snapshot!(plan_with(&stack, &host, &options), @"
    remove  web-1  orphan: its service is not in the stack
    Plan: 1 remove, 5 unchanged
    ");
    stack.inactive = vec!["web".into()];
    assert!(plan_with(&stack, &host, &options).is_empty());
}

/// A stack of the same project as the shop, of another file beside it.
fn beside() -> Stack {
    let mut stack = with([("jobs", service("jobs:1"))]);
    stack.files = vec!["/srv/shop/jobs.yaml".into()];
    stack
}

#[test]
fn what_other_files_of_the_project_made_is_no_orphan() {
    let mut host = up_with(&shop());
    let first = plan(&beside(), &host);
    assert_snapshot!(first, @r"
    pull    image jobs:1
    create  jobs-1        jobs:1
    warning: container `shop-app-1` is of other files of this project (/srv/shop/shop.yaml) and stays (`berth -p shop down app` removes it)
    warning: container `shop-db-1` is of other files of this project (/srv/shop/shop.yaml) and stays (`berth -p shop down db` removes it)
    warning: container `shop-web-1` is of other files of this project (/srv/shop/shop.yaml) and stays (`berth -p shop down web` removes it)
    Plan: 1 create, 1 pull, 1 unchanged
    ");
    host.apply_all(&first, 3);

    let options = UpOptions { remove_orphans: true, ..UpOptions::default() };
    assert_snapshot!(plan_with(&shop(), &host, &options), @r"
    warning: container `shop-jobs-1` is of other files of this project (/srv/shop/jobs.yaml) and stays (`berth -p shop down jobs` removes it)
    nothing to do
    ");
    let known = Some(Known::of(&desired(&shop())));
    let down_options = DownOptions { known, remove_orphans: true, ..DownOptions::default() };
    assert_snapshot!(down("shop", &host.observed, &down_options).unwrap(), @r"
    remove  web-1
    remove  app-1
    remove  db-1
    remove  network shop_back
    warning: container `shop-jobs-1` is of other files of this project (/srv/shop/jobs.yaml) and stays (`berth -p shop down jobs` removes it)
    warning: network `shop_default` stays: container `shop-jobs-1` is on it
    Plan: 4 remove
    ");

    // A file that is gone says nothing any more.
    host.observed.gone.insert("/srv/shop/jobs.yaml".into());
    assert_snapshot!(plan_with(&shop(), &host, &options), @r"
    remove  jobs-1  orphan: its service is not in the stack
    Plan: 1 remove, 6 unchanged
    ");
}

#[test]
fn what_a_smaller_set_of_the_same_files_made_is_an_orphan() {
    let mut stack = shop();
    let host = up_with(&stack);
    stack.files.push("/srv/shop/compose.override.yaml".into());
    stack.services.remove("web");
    let options = UpOptions { remove_orphans: true, ..UpOptions::default() };
    assert_snapshot!(plan_with(&stack, &host, &options), @r"
    remove  web-1  orphan: its service is not in the stack
    Plan: 1 remove, 5 unchanged
    ");
}

#[test]
fn a_network_that_other_files_use_too_is_not_made_anew_below_them() {
    let mut host = up_with(&beside());
    let mut stack = shop();
    stack.networks.get_mut("default").unwrap().internal = true;
    let plan = |host: &FakeHost| {
        let options = UpOptions { remove_orphans: true, ..UpOptions::default() };
        up(&desired(&stack), &host.observed, &options, &stack.places)
    };
    assert_snapshot!(plan(&host).unwrap_err(), @"network `shop_default` has changed and has to be made anew, but container `shop-jobs-1` (project `shop`) is on it: remove that container first");
    host.observed.gone.insert("/srv/shop/jobs.yaml".into());
    assert!(plan(&host).is_ok());
}

#[test]
fn a_network_of_orphans_goes_with_them() {
    let mut stack = shop();
    let host = up_with(&stack);
    stack.services.remove("web");
    stack.services.get_mut("app").unwrap().networks.remove("default");
    stack.networks.remove("default");
    let options = UpOptions { remove_orphans: true, ..UpOptions::default() };
    let plan = plan_with(&stack, &host, &options);
    assert_snapshot!(plan, @"
    update  app-1                 networks.shop_default on → —
    remove  web-1                 orphan: its service is not in the stack
    remove  network shop_default  not in the stack
    Plan: 1 update, 2 remove, 3 unchanged
    ");
    assert_snapshot!(steps(&plan), @"
    0 update_container shop-app-1 ←
    1 stop_container shop-web-1 ←
    2 remove_container shop-web-1 ← 1
    3 remove_network shop_default ← 0,2
    ");
}

#[test]
fn named_services_come_with_what_they_depend_on() {
    let host = FakeHost::new();
    let options = UpOptions { services: vec!["app".into()], ..UpOptions::default() };
    assert_snapshot!(plan_with(&shop(), &host, &options), @"
    pull    image app:1
    pull    image postgres:17
    create  network shop_back     172.19.0.0/16
    create  network shop_default  172.20.0.0/16
    create  volume shop_data
    create  db-1                  postgres:17
    create  app-1                 app:1
    Plan: 5 create, 2 pull
    ");
    let options = UpOptions { no_deps: true, ..options };
    assert_snapshot!(plan_with(&shop(), &host, &options), @"
    pull    image app:1
    create  network shop_back     172.19.0.0/16
    create  network shop_default  172.20.0.0/16
    create  app-1                 app:1
    Plan: 3 create, 1 pull
    ");
}

#[test]
fn force_recreate_replaces_the_named_and_no_recreate_nothing() {
    let mut stack = shop();
    let host = up_with(&stack);
    let services = vec!["app".to_string()];
    let options = UpOptions { services, force_recreate: true, ..UpOptions::default() };
    assert_snapshot!(plan_with(&stack, &host, &options), @"
    replace  app-1
    Plan: 1 replace, 5 unchanged
    ");
    stack.services.get_mut("app").unwrap().tty = true;
    let options = UpOptions { no_recreate: true, ..UpOptions::default() };
    assert!(plan_with(&stack, &host, &options).is_empty());
}

#[test]
fn no_start_creates_and_starts_nothing() {
    let options = UpOptions { no_start: true, ..UpOptions::default() };
    let mut host = FakeHost::new();
    let created = plan_with(&shop(), &host, &options);
    assert!(!created.steps.iter().any(|step| step.action.verb() == "start_container"));
    host.apply_all(&created, 1);
    assert!(plan_with(&shop(), &host, &options).is_empty());
    assert_snapshot!(plan(&shop(), &host), @"
    start  db-1   not started yet
    start  app-1  not started yet
    start  web-1  not started yet
    Plan: 3 start, 3 unchanged
    ");
}

#[test]
fn who_is_left_out_follows_as_it_was_made() {
    let restart = Dependency { restart: true, ..dependency(Condition::ServiceStarted) };
    let mut app = service("app:1");
    app.depends_on = [("db".to_owned(), restart.clone())].into();
    let mut side = service("side:1");
    side.depends_on = [("db".to_owned(), dependency(Condition::ServiceStarted))].into();
    (side.network_mode, side.networks) = (Some(NetworkMode::Service("db".into())), BTreeMap::new());
    let mut web = service("web:1");
    web.depends_on = [("app".to_owned(), restart)].into();
    let mut stays = service("stays:1");
    stays.depends_on = [("db".to_owned(), dependency(Condition::ServiceStarted))].into();
    let parts = [("db", service("db:1")), ("app", app), ("side", side), ("web", web)];
    let stack = with(parts.into_iter().chain([("stays", stays)]).collect::<Vec<_>>());
    let host = up_with(&stack);
    let mut named = stack.clone();
    named.services.retain(|name, _| name == "db");
    named.inactive = ["app", "side", "web", "stays"].map(str::to_owned).into();
    let options = UpOptions { services: vec!["db".into()], ..UpOptions::default() };
    assert!(plan_with(&named, &host, &options).is_empty());
    named.services.get_mut("db").unwrap().tty = true;
    assert_snapshot!(plan_with(&named, &host, &options), @r"
    restart  side-1  shares a namespace of `shop-db-1`, which is made anew
    restart  web-1   `app` restarts
    restart  app-1   `db` restarts
    replace  db-1    tty false → true
    Plan: 1 replace, 3 restart, 1 unchanged
    ");
    assert_snapshot!(steps(&plan_with(&named, &host, &options)), @r"
    0 stop_container shop-side-1 ←
    1 stop_container shop-web-1 ←
    2 stop_container shop-app-1 ← 1
    3 stop_container shop-db-1 ← 0,2
    4 remove_container shop-db-1 ← 3
    5 create_container shop-db-1 ← 4
    6 start_container shop-db-1 ← 0,5
    7 start_container shop-app-1 ← 2,6
    8 start_container shop-side-1 ← 0,6
    9 start_container shop-web-1 ← 1,7
    ");
    // Of what is not in the files nobody knows what becomes of it.
    named.inactive.clear();
    let alone = plan_with(&named, &host, &options);
    assert!(!alone.to_string().contains("restart"), "{alone}");
}
