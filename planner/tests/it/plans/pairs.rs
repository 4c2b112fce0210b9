//! Two containers of one replica: the one that serves, and the one that is to take over.

use super::*;

/// The shop, with a web front that is replaced by one that starts first, of this image.
fn rolling(image: &str) -> Stack {
    let mut stack = shop();
    let update = Some(Rollout { order: Some(RolloutOrder::StartFirst), ..Rollout::default() });
    let web = stack.services.get_mut("web").unwrap();
    web.deploy = Some(Box::new(Deploy { update, ..Deploy::default() }));
    web.image = Some(image.into());
    stack
}

/// A host on which the new container of `web` runs, after a run that was killed before it took over.
fn stuck() -> FakeHost {
    let mut host = up_with(&rolling("nginx:1.27"));
    host.observed.images.insert("nginx:2".into(), host.observed.images["nginx:1.27"].clone());
    let plan = plan(&rolling("nginx:2"), &host);
    let gate = plan.steps.iter().position(|s| s.action.verb() == "prove_container").unwrap();
    host.apply(&plan, 7, Some(Break::Dies(gate)));
    assert!(host.observed.containers["shop-web-1-b"].beside);
    host
}

/// The same after `stop`, or after a reboot.
fn all_ended(state: ContainerState) -> FakeHost {
    let mut host = stuck();
    for container in host.observed.containers.values_mut() {
        (container.state, container.monitored) = (state, false);
        container.beside = false;
    }
    host
}

const EXITED: ContainerState = ContainerState::Exited { exit_code: 143, finished_at: 0 };

#[test]
fn restart_takes_the_one_that_serves_and_leaves_the_other_beside_it() {
    let host = stuck();
    let web = RestartOptions { services: vec!["web".into()], ..RestartOptions::default() };
    let restarting = restart("shop", &host.observed, &web).unwrap();
    assert_snapshot!(steps(&restarting), @r"
    0 stop_container shop-web-1 ←
    1 start_container shop-web-1 ← 0
    ");
    assert_snapshot!(restarting.warnings.join("\n"), @r"container `shop-web-1-b` is left as it is, another one serves in its place: `berth up` replaces that one, or removes this one");
    let mut host = host;
    host.apply_all(&restarting, 3);
    assert!(host.observed.containers["shop-web-1-b"].beside);
}

#[test]
fn what_stopped_starts_as_what_served_and_never_both() {
    for state in [EXITED, ContainerState::Created] {
        let mut host = all_ended(state);
        let web = ["web".to_owned()];
        let starting = start("shop", &host.observed, &web).unwrap();
        assert_eq!(steps(&starting), "0 start_container shop-web-1 ←");
        host.apply_all(&starting, 3);
        assert!(start("shop", &host.observed, &web).unwrap().is_empty());
    }
}

#[test]
fn one_that_has_taken_over_is_the_one_that_starts() {
    let mut host = up_with(&rolling("nginx:1.27"));
    host.observed.images.insert("nginx:2".into(), host.observed.images["nginx:1.27"].clone());
    let plan = plan(&rolling("nginx:2"), &host);
    let drain = plan.steps.iter().position(|s| s.action.verb() == "drain_container").unwrap();
    host.apply(&plan, 7, Some(Break::Dies(drain)));

    let stopping = stop("shop", &host.observed, &[], None).unwrap();
    host.apply_all(&stopping, 7);
    let starting = start("shop", &host.observed, &["web".into()]).unwrap();
    assert_snapshot!(steps(&starting), @"0 start_container shop-web-1-b ←");
}

#[test]
fn what_never_took_over_goes_when_the_other_one_has_ended_too() {
    let host = all_ended(EXITED);
    assert_snapshot!(plan(&rolling("nginx:1.27"), &host), @r"
    start   db-1     exited with 143
    remove  web-1-b  another takes its place
    start   app-1    exited with 143
    start   web-1    exited with 143
    Plan: 3 start, 1 remove, 3 unchanged
    ");
    assert_snapshot!(plan(&rolling("nginx:2"), &host), @r#"
    start    db-1     exited with 143
    replace  web-1    image "nginx:1.27" → "nginx:2"
    start    app-1    exited with 143
    remove   web-1-b  another takes its place
    Plan: 1 replace, 2 start, 1 remove, 3 unchanged
    "#);
}

#[test]
fn a_network_without_room_for_two_says_that_the_old_one_stops_first() {
    let small = |image: &str| {
        let mut stack = rolling(image);
        let pool = IpamPool { subnet: Some("10.9.0.0/29".into()), ..IpamPool::default() };
        stack.networks.get_mut("default").unwrap().ipam = vec![pool];
        let web = stack.services.get_mut("web").unwrap();
        (web.replicas, web.ports) = (3, Vec::new());
        stack
    };
    let mut host = up_with(&small("nginx:1.27"));
    host.observed.images.insert("nginx:2".into(), host.observed.images["nginx:1.27"].clone());
    // One address is left for three.
    let plan = plan(&small("nginx:2"), &host);
    assert_snapshot!(plan, @r#"
    create   web-1-b  nginx:2
                      takes over from `shop-web-1`
                      start-first as the file says: no gap
                      image "nginx:1.27" → "nginx:2"
    remove   web-1    another takes its place
    replace  web-2    stops first: a network it is on has no address for another one
                      gap expected, no TCP port to hold
                      image "nginx:1.27" → "nginx:2"
    replace  web-3    stops first: a network it is on has no address for another one
                      gap expected, no TCP port to hold
                      image "nginx:1.27" → "nginx:2"
    Plan: 1 create, 2 replace, 1 remove, 5 unchanged
    "#);
    host.apply_all(&plan, 5);
}

#[test]
fn a_run_that_is_broken_off_while_it_drains_drains_in_the_next_one() {
    let mut host = up_with(&rolling("nginx:1.27"));
    host.observed.images.insert("nginx:2".into(), host.observed.images["nginx:1.27"].clone());
    let stack = rolling("nginx:2");
    let first = plan(&stack, &host);
    let drain = first.steps.iter().position(|s| s.action.verb() == "drain_container").unwrap();
    host.apply(&first, 7, Some(Break::Dies(drain)));
    assert_snapshot!(steps(&plan(&stack, &host)), @r"
    0 prove_container shop-web-1-b ←
    1 drain_container shop-web-1 ←
    2 stop_container shop-web-1 ← 1
    3 conclude_rollout web ←  ended 0
    4 remove_container shop-web-1 ← 0,2,3
    ");
}

#[test]
fn a_new_one_whose_monitor_was_killed_gets_another_and_is_asked_again() {
    let mut host = stuck();
    host.observed.containers.get_mut("shop-web-1-b").unwrap().monitored = false;
    let plan = plan(&rolling("nginx:2"), &host);
    assert_snapshot!(steps(&plan), @r"
    0 adopt_container shop-web-1-b ←
    1 prove_container shop-web-1-b ← 0
    2 promote_container shop-web-1-b ← 1
    3 drain_container shop-web-1 ← 2
    4 stop_container shop-web-1 ← 3
    5 conclude_rollout web ←  ended 2
    6 remove_container shop-web-1 ← 2,4,5
    ");
    host.apply_all(&plan, 3);
}

#[test]
fn one_that_is_kept_takes_a_port_over_when_its_owner_has_given_it_up() {
    let mut host = up_with(&rolling("nginx:1.27"));
    host.observed.images.insert("nginx:2".into(), host.observed.images["nginx:1.27"].clone());
    let moved = || {
        let mut stack = rolling("nginx:2");
        stack.services.get_mut("web").unwrap().ports.push(port(9090, 90));
        stack
    };
    let first = plan(&moved(), &host);
    let gate = first.steps.iter().position(|s| s.action.verb() == "prove_container").unwrap();
    host.apply(&first, 7, Some(Break::Dies(gate)));
    // Another service gets the port meanwhile, and gives it up again.
    let mut other = host.observed.containers["shop-web-1"].clone();
    let record = &mut other.record;
    (record.name, record.service) = ("shop-old-1".into(), "old".into());
    record.addresses.clear();
    record.spec.networks.clear();
    record.spec.ports = host.observed.containers["shop-web-1-b"].record.spec.ports[1..].to_vec();
    other.published = record.spec.ports.clone();
    host.observed.containers.insert("shop-old-1".into(), other);
    let options = UpOptions { remove_orphans: true, ..UpOptions::default() };
    assert_snapshot!(steps(&plan_with(&moved(), &host, &options)), @r"
    0 prove_container shop-web-1-b ←
    1 stop_container shop-old-1 ←
    2 promote_container shop-web-1-b ← 0,1
    3 drain_container shop-web-1 ← 2
    4 stop_container shop-web-1 ← 3
    5 remove_container shop-old-1 ← 1
    6 conclude_rollout web ←  ended 2
    7 remove_container shop-web-1 ← 2,4,6
    ");
}

#[test]
fn one_that_was_not_good_stays_stopped_until_the_next_attempt() {
    let mut host = up_with(&rolling("nginx:1.27"));
    host.observed.images.insert("nginx:2".into(), host.observed.images["nginx:1.27"].clone());
    let first = plan(&rolling("nginx:2"), &host);
    let gate = first.steps.iter().position(|s| s.action.verb() == "prove_container").unwrap();
    host.apply(&first, 7, Some(Break::Fails(gate)));
    let web = RestartOptions { services: vec!["web".into()], ..RestartOptions::default() };
    assert_snapshot!(restart("shop", &host.observed, &web).unwrap(), @r"
    restart  web-1
    warning: container `shop-web-1-b` is left as it is, another one serves in its place: `berth up` replaces that one, or removes this one
    Plan: 1 restart
    ");
    assert!(start("shop", &host.observed, &[]).unwrap().is_empty());
    assert_snapshot!(plan(&rolling("nginx:2"), &host), @r#"
    replace  web-1-b  takes over from `shop-web-1`
                      start-first as the file says: no gap
                      image "nginx:1.27" → "nginx:2"
    remove   web-1    another takes its place
    Plan: 1 replace, 1 remove, 5 unchanged
    "#);
}

#[test]
fn one_whose_pre_start_has_not_run_does_not_take_over() {
    let mut host = stuck();
    let mut stack = rolling("nginx:2");
    let step = InitStep {
        image: None,
        command: None,
        environment: BTreeMap::new(),
        user: None,
        working_dir: None,
        privileged: false,
        per_replica: false,
    };
    stack.services.get_mut("web").unwrap().pre_start = vec![step];
    let new = host.observed.containers.get_mut("shop-web-1-b").unwrap();
    new.record.spec = desired(&stack).services["web"].container.clone();
    assert!(new.record.is_unprepared());
    let next = plan(&stack, &host);
    assert_snapshot!(next, @r#"
    run      web-pre_start-1  nginx:2
                              `web` waits for it
    replace  web-1-b          takes over from `shop-web-1`
                              start-first as the file says: no gap
                              image "nginx:1.27" → "nginx:2"
                              pre_start — → [{"image":null,"command":null,"environment":{},"user":null,"working_dir":null,"privileged":false,"per_replica":false}]
    remove   web-1            another takes its place
    Plan: 1 replace, 1 run, 1 remove, 5 unchanged
    "#);
    host.apply_all(&next, 3);
    assert!(plan(&stack, &host).is_empty());
}

#[test]
fn half_made_is_never_the_one_that_counts() {
    let mut host = all_ended(ContainerState::Created);
    for (name, state) in
        [("shop-web-1", ContainerState::Created), ("shop-web-1-b", ContainerState::Broken)]
    {
        let have = host.observed.containers.get_mut(name).unwrap();
        (have.served, have.state) = (false, state);
    }
    let one = start("shop", &host.observed, &["web".to_owned()]).unwrap();
    assert_eq!(steps(&one), "0 start_container shop-web-1 ←");
}
