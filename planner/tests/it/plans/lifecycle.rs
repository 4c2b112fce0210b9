//! Down, start, stop, restart, kill, rm and run.

use berth_planner::desired::{MountSpec, SourceSpec};

use super::*;

#[test]
fn down_stops_dependents_first_and_keeps_volumes() {
    let host = up_with(&shop());
    let plan = down("shop", &host.observed, &DownOptions::default()).unwrap();
    assert_snapshot!(steps(&plan), @"
    0 stop_container shop-web-1 ←
    1 stop_container shop-app-1 ←  ended 0
    2 stop_container shop-db-1 ←  ended 1
    3 remove_container shop-app-1 ← 1
    4 remove_container shop-db-1 ← 2
    5 remove_container shop-web-1 ← 0
    6 remove_network shop_back ← 3,4
    7 remove_network shop_default ← 3,5
    ");
    assert_snapshot!(plan, @"
    remove  web-1
    remove  app-1
    remove  db-1
    remove  network shop_back
    remove  network shop_default
    Plan: 5 remove
    ");
    let options = DownOptions { volumes: true, ..DownOptions::default() };
    let plan = down("shop", &host.observed, &options).unwrap();
    assert!(plan.to_string().contains("remove  volume shop_data"), "{plan}");
}

#[test]
fn down_keeps_what_others_use_and_says_so() {
    let mut host = up_with(&shop());
    let mut foreign = host.observed.containers["shop-db-1"].clone();
    (foreign.record.project, foreign.record.name) = ("other".into(), "other-db-1".into());
    host.observed.containers.insert("other-db-1".into(), foreign);
    let options = DownOptions { volumes: true, ..DownOptions::default() };
    assert_snapshot!(down("shop", &host.observed, &options).unwrap(), @r"
    remove  web-1
    remove  app-1
    remove  db-1
    remove  network shop_default
    warning: network `shop_back` stays: container `other-db-1` of project `other` is on it
    warning: volume `shop_data` stays: container `other-db-1` has it
    Plan: 4 remove
    ");
}

#[test]
fn down_of_one_service_removes_what_only_it_used() {
    let host = up_with(&shop());
    let services = vec!["db".to_string()];
    let known = Some(Known::of(&desired(&shop())));
    let options = DownOptions { services, known, volumes: true, ..DownOptions::default() };
    assert_snapshot!(down("shop", &host.observed, &options).unwrap(), @"
    remove  db-1
    remove  volume shop_data
    warning: network `shop_back` stays: container `shop-app-1` is on it
    Plan: 2 remove
    ");
    let options = DownOptions { services: vec!["dbb".into()], ..options };
    let refused = down("shop", &host.observed, &options).unwrap_err();
    assert_snapshot!(refused, @"no such service: `dbb`");
}

#[test]
fn start_stop_restart_and_kill_need_no_file() {
    let mut stack = shop();
    let app = stack.services.get_mut("app").unwrap();
    app.depends_on.get_mut("db").unwrap().restart = true;
    let mut host = up_with(&stack);
    let db = vec!["db".to_string()];
    let options = RestartOptions { services: db.clone(), ..RestartOptions::default() };
    assert_snapshot!(steps(&restart("shop", &host.observed, &options).unwrap()), @"
    0 stop_container shop-app-1 ←
    1 stop_container shop-db-1 ←  ended 0
    2 start_container shop-db-1 ← 1
    3 await_container shop-db-1 ← 2
    4 start_container shop-app-1 ← 0,3
    ");
    assert_snapshot!(kill("shop", &host.observed, &db, "SIGHUP").unwrap(), @"
    signal  db-1  SIGHUP
    Plan: 1 signal
    ");
    let stopping = stop("shop", &host.observed, &[], Some(Duration::from_secs(3))).unwrap();
    assert_snapshot!(steps(&stopping), @"
    0 stop_container shop-web-1 ←
    1 stop_container shop-app-1 ←  ended 0
    2 stop_container shop-db-1 ←  ended 1
    ");
    host.apply_all(&stopping, 3);
    assert!(host.observed.containers.values().all(|container| container.held));
    assert!(stop("shop", &host.observed, &[], None).unwrap().is_empty());
    let starting = start("shop", &host.observed, &[]).unwrap();
    assert_snapshot!(steps(&starting), @"
    0 start_container shop-db-1 ←
    1 await_container shop-db-1 ← 0
    2 start_container shop-app-1 ← 1
    3 start_container shop-web-1 ← 2
    ");
    let refused = start("shop", &host.observed, &["nobody".into()]).unwrap_err();
    assert_snapshot!(refused, @"service `nobody` has no container: `berth up` makes one");
}

#[test]
fn rm_removes_what_does_not_run() {
    let mut host = up_with(&shop());
    let exited = ContainerState::Exited { exit_code: 0, finished_at: 0 };
    host.observed.containers.get_mut("shop-web-1").unwrap().state = exited;
    assert_snapshot!(rm("shop", &host.observed, &RmOptions::default()).unwrap(), @"
    remove  web-1
    Plan: 1 remove, 2 unchanged
    ");
    let options = RmOptions { stop: true, ..RmOptions::default() };
    assert_snapshot!(rm("shop", &host.observed, &options).unwrap(), @"
    remove  app-1
    remove  db-1
    remove  web-1
    Plan: 3 remove
    ");
}

#[test]
fn run_starts_what_its_service_needs_and_one_container_with_its_own_words() {
    let mut host = FakeHost::new();
    let options = RunOptions {
        service: "app".into(),
        slug: "0123456789ab".into(),
        command: Some(vec!["migrate".into()]),
        ..RunOptions::default()
    };
    let plan_of_run = run(&desired(&shop()), &host.observed, &options, &Places::default()).unwrap();
    judge(&plan_of_run, Some(&desired(&shop())), &host.observed);
    assert_snapshot!(steps(&plan_of_run), @"
    0 pull_image app:1 ←
    1 pull_image postgres:17 ←
    2 create_network shop_back ← 0,1
    3 create_network shop_default ← 0,1
    4 create_volume shop_data ← 0,1
    5 create_container shop-db-1 ← 1,2,4
    6 start_container shop-db-1 ← 5
    7 create_container shop-app-run-0123456789ab ← 0,2,3
    8 await_container shop-db-1 ← 6
    9 start_container shop-app-run-0123456789ab ← 7,8
    ");
    host.apply_all(&plan_of_run, 5);
    assert_snapshot!(plan(&shop(), &host), @"
    pull    image nginx:1.27
    create  app-1             app:1
    create  web-1             nginx:1.27
                              PUBLIC 8080:80/tcp
    Plan: 2 create, 1 pull, 4 unchanged
    ");
    let gone = down("shop", &host.observed, &DownOptions::default()).unwrap();
    assert!(gone.to_string().contains("app-run-0123456789ab"), "{gone}");
}

#[test]
fn over_a_migration_that_has_ended_the_dependents_of_it_stop_first() {
    let mut stack = shop();
    let mut app = stack.services.remove("app").unwrap();
    let mut migrate = app.clone();
    migrate.replicas = 1;
    let done = dependency(Condition::ServiceCompletedSuccessfully);
    app.depends_on = [("migrate".to_owned(), done)].into();
    stack.services.extend([("app".to_owned(), app), ("migrate".to_owned(), migrate)]);
    let host = up_with(&stack);
    assert_snapshot!(steps(&stop("shop", &host.observed, &[], None).unwrap()), @"
    0 stop_container shop-web-1 ←
    1 stop_container shop-app-1 ←  ended 0
    2 stop_container shop-db-1 ←  ended 1
    ");
}

#[test]
fn over_one_that_stays_the_dependents_of_it_stop_first() {
    let host = up_with(&shop());
    let services = vec!["db".to_owned(), "web".to_owned()];
    let known = Some(Known::of(&desired(&shop())));
    let of_down = DownOptions { services: services.clone(), known, ..DownOptions::default() };
    let of_rm = RmOptions { services: services.clone(), stop: true, ..RmOptions::default() };
    let of_restart = RestartOptions { services: services.clone(), ..RestartOptions::default() };
    for plan in [
        down("shop", &host.observed, &of_down),
        rm("shop", &host.observed, &of_rm),
        restart("shop", &host.observed, &of_restart),
        stop("shop", &host.observed, &services, None),
        stop_all_but_runs("shop", &host.observed, &services, None),
    ] {
        let plan = steps(&plan.unwrap());
        let stops = "0 stop_container shop-web-1 ←\n1 stop_container shop-db-1 ←  ended 0";
        assert!(plan.starts_with(stops), "{plan}");
    }
}

#[test]
fn an_orphan_that_stays_keeps_the_order_of_those_that_go() {
    let mut stack = shop();
    let host = up_with(&stack);
    stack.services.remove("app");
    stack.services.get_mut("web").unwrap().depends_on.clear();
    let known = Some(Known::of(&desired(&stack)));
    let options = DownOptions { known, ..DownOptions::default() };
    assert_snapshot!(steps(&down("shop", &host.observed, &options).unwrap()), @"
    0 stop_container shop-web-1 ←
    1 stop_container shop-db-1 ←  ended 0
    2 remove_container shop-db-1 ← 1
    3 remove_container shop-web-1 ← 0
    ");
}

#[test]
fn rm_keeps_a_volume_without_a_name_that_somebody_else_has_too() {
    let mut stack = shop();
    let app = stack.services.get_mut("app").unwrap();
    let source = MountSource::Anonymous { nocopy: false, labels: BTreeMap::new() };
    app.volumes.push(Mount { target: "/cache".into(), source, read_only: false });
    let mut host = up_with(&stack);
    let (volume, _) =
        host.observed.volumes.iter().find(|(_, v)| v.record.container.is_some()).unwrap();
    let source = SourceSpec::Volume { name: volume.clone(), nocopy: false, subpath: None };
    let mount = MountSpec { source, read_only: false };
    let web = host.observed.containers.get_mut("shop-web-1").unwrap();
    web.record.borrowed.mounts = [("/cache".to_owned(), mount)].into();
    let services = vec!["app".to_owned()];
    let options = RmOptions { services, stop: true, volumes: true, grace: None };
    assert_snapshot!(rm("shop", &host.observed, &options).unwrap(), @r"
    remove  app-1
    warning: volume `shop-app-1-cache` stays: container `shop-web-1` has it
    Plan: 1 remove
    ");
}

#[test]
fn start_after_a_reboot_puts_the_networks_right_before() {
    let mut host = up_with(&shop());
    for container in host.observed.containers.values_mut() {
        (container.state, container.monitored) = (ContainerState::Created, false);
    }
    for network in host.observed.networks.values_mut() {
        (network.bridge_up, network.rules_present) = (false, false);
    }
    let starting = start("shop", &host.observed, &[]).unwrap();
    assert_snapshot!(steps(&starting), @"
    0 repair_network shop_back ←
    1 repair_network shop_default ←
    2 start_container shop-db-1 ← 0
    3 await_container shop-db-1 ← 2
    4 start_container shop-app-1 ← 0,1,3
    5 start_container shop-web-1 ← 1,4
    ");
    host.apply_all(&starting, 9);
    host.observed.containers.get_mut("shop-app-1").unwrap().state = ContainerState::Broken;
    host.drop_network("shop_default").unwrap();
    let options = RestartOptions::default();
    assert_snapshot!(restart("shop", &host.observed, &options).unwrap_err(), @"
    network `shop_default` of container `shop-app-1` does not exist any more: `berth up` makes both anew
    network `shop_default` of container `shop-web-1` does not exist any more: `berth up` makes both anew
    container `shop-app-1` is half made: `berth up` makes it anew
    ");
}

#[test]
fn pause_touches_what_runs_and_up_lets_it_run_on() {
    let mut host = up_with(&shop());
    let stands = pause("shop", &host.observed, &["db".into()]).unwrap();
    assert_snapshot!(stands, @"
    pause  db-1
    Plan: 1 pause
    ");
    host.apply_all(&stands, 1);
    let again = pause("shop", &host.observed, &["db".into()]).unwrap();
    assert!(again.is_empty(), "{again}");
    assert_snapshot!(unpause("shop", &host.observed, &[]).unwrap(), @"
    unpause  db-1
    Plan: 1 unpause, 2 unchanged
    ");
    assert_snapshot!(start("shop", &host.observed, &[]).unwrap(), @"
    unpause  db-1  drift: it is paused
    Plan: 1 unpause, 2 unchanged
    ");
    let container = host.observed.containers.get_mut("shop-db-1").unwrap();
    container.monitored = false;
    let adopted = plan(&shop(), &host);
    assert_snapshot!(steps(&adopted), @"
    0 adopt_container shop-db-1 ←
    1 unpause_container shop-db-1 ← 0
    ");
    host.apply_all(&adopted, 1);
    assert!(plan(&shop(), &host).is_empty());
}

/// The shop with `web` in the network of `app`.
fn sharing() -> Stack {
    let mut stack = shop();
    let web = stack.services.get_mut("web").unwrap();
    web.ports.clear();
    web.networks.clear();
    web.network_mode = Some(NetworkMode::Service("app".into()));
    stack
}

#[test]
fn who_shares_a_network_goes_along_when_its_owner_starts_or_restarts() {
    let mut host = up_with(&sharing());
    let app = vec!["app".to_string()];
    let options = RestartOptions { services: app.clone(), no_deps: true, grace: None };
    assert_snapshot!(steps(&restart("shop", &host.observed, &options).unwrap()), @"
    0 stop_container shop-web-1 ←
    1 stop_container shop-app-1 ←  ended 0
    2 start_container shop-app-1 ← 1
    3 start_container shop-web-1 ← 0,2
    ");
    let stopping = stop("shop", &host.observed, &app, None).unwrap();
    host.apply_all(&stopping, 3);
    let starting = start("shop", &host.observed, &app).unwrap();
    assert_snapshot!(steps(&starting), @"
    0 stop_container shop-web-1 ←
    1 start_container shop-app-1 ←
    2 start_container shop-web-1 ← 0,1
    ");
    host.apply_all(&starting, 3);
    assert!(start("shop", &host.observed, &[]).unwrap().is_empty());
}

#[test]
fn over_one_that_has_ended_nobody_is_restarted_along() {
    let mut stack = sharing();
    let mut late = service("late:1");
    let on = Dependency { restart: true, ..dependency(Condition::ServiceStarted) };
    late.depends_on.insert("web".into(), on);
    stack.services.insert("late".to_owned(), late);
    let mut host = up_with(&stack);
    host.observed.containers.get_mut("shop-web-1").unwrap().state =
        ContainerState::Exited { exit_code: 0, finished_at: 0 };
    let services = vec!["app".to_owned()];
    let options = RestartOptions { services, ..RestartOptions::default() };
    assert_snapshot!(restart("shop", &host.observed, &options).unwrap(), @r"
    restart  app-1
    Plan: 1 restart
    ");
}

#[test]
fn one_that_was_left_in_a_network_that_has_ended_is_restarted() {
    let stack = sharing();
    let mut host = up_with(&stack);
    host.observed.containers.get_mut("shop-web-1").unwrap().left_behind = true;
    assert_snapshot!(plan(&stack, &host), @"
    restart  web-1  drift: it is in a network or memory that has ended
    Plan: 1 restart, 5 unchanged
    ");
}

#[test]
fn one_that_lost_a_link_is_restarted_with_those_who_share_it() {
    let stack = sharing();
    let mut host = up_with(&stack);
    let app = host.observed.containers.get_mut("shop-app-1").unwrap();
    app.unplugged = Some("shop_back".to_owned());
    assert_snapshot!(plan(&stack, &host), @r"
    restart  web-1  shares a namespace of `shop-app-1`, which is made anew
    restart  app-1  drift: its link to network `shop_back` is gone
    Plan: 2 restart, 4 unchanged
    ");
}

#[test]
fn what_a_check_said_of_the_life_before_lets_nobody_begin() {
    let mut host = up_with(&shop());
    host.observed.containers.get_mut("shop-app-1").unwrap().state =
        ContainerState::Exited { exit_code: 1, finished_at: 0 };
    let db = host.observed.containers.get_mut("shop-db-1").unwrap();
    (db.state, db.health) = (ContainerState::Restarting { exit_code: 1 }, Health::Healthy);
    assert_snapshot!(steps(&plan(&shop(), &host)), @"
    0 await_container shop-db-1 ←
    1 start_container shop-app-1 ← 0
    ");
}

#[test]
fn what_up_made_stops_and_containers_of_run_go_on() {
    let mut host = up_with(&shop());
    let mut job = host.observed.containers["shop-db-1"].clone();
    (job.record.oneoff, job.record.name) = (true, "shop-db-run-1".into());
    host.observed.containers.insert("shop-db-run-1".into(), job);
    let all = stop("shop", &host.observed, &[], None).unwrap();
    assert!(all.to_string().contains("db-run-1"), "{all}");
    let ours = stop_all_but_runs("shop", &host.observed, &[], None).unwrap();
    assert!(!ours.to_string().contains("db-run-1"), "{ours}");
    assert_eq!(ours.steps.len(), 3);
}
