//! Replacements in which the new container starts first.

use super::*;

/// The shop, with a web front that is replaced by one that starts first.
fn rolling() -> Stack {
    let mut stack = shop();
    let update = Some(Rollout { order: Some(RolloutOrder::StartFirst), ..Rollout::default() });
    let web = stack.services.get_mut("web").unwrap();
    web.deploy = Some(Box::new(Deploy { update, ..Deploy::default() }));
    stack
}

/// The steps of a plan, each with those it waits for.
fn steps(plan: &Plan) -> String {
    let words = |step: &Step| format!("{} {}", step.action.verb(), step.action.target());
    let lines = plan.steps.iter().map(|step| {
        let after: Vec<String> =
            step.after.iter().map(|id| words(&plan.steps[id.index()])).collect();
        format!("{} ← {}", words(step), after.join(", ")).trim_end().to_owned()
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn edited(image: &str) -> Stack {
    let mut stack = rolling();
    stack.services.get_mut("web").unwrap().image = Some(image.into());
    stack
}

#[test]
fn the_new_container_takes_over_before_the_old_one_stops() {
    let mut host = up_with(&rolling());
    host.observed.images.insert("nginx:2".into(), host.observed.images["nginx:1.27"].clone());
    let stack = edited("nginx:2");

    let first = plan(&stack, &host);
    assert_snapshot!(first, @r#"
    create  web-1-b  nginx:2
                     PUBLIC 8080:80/tcp
                     takes over from `shop-web-1`
                     start-first as the file says: no gap
                     image "nginx:1.27" → "nginx:2"
    remove  web-1    another takes its place
    Plan: 1 create, 1 remove, 5 unchanged
    "#);
    assert_snapshot!(steps(&first), @r"
    create_container shop-web-1-b ←
    launch_container shop-web-1-b ← create_container shop-web-1-b
    prove_container shop-web-1-b ← launch_container shop-web-1-b
    promote_container shop-web-1-b ← prove_container shop-web-1-b
    drain_container shop-web-1 ← promote_container shop-web-1-b
    stop_container shop-web-1 ← drain_container shop-web-1
    conclude_rollout web ←
    remove_container shop-web-1 ← promote_container shop-web-1-b, stop_container shop-web-1, conclude_rollout web
    ");
    host.apply_all(&first, 7);
    assert!(plan(&stack, &host).is_empty());

    // The next one has the name that is free again.
    let names = |plan: &Plan| plan.lines().iter().map(|l| l.subject.clone()).collect::<Vec<_>>();
    let mut again = edited("nginx:2");
    again.services.get_mut("web").unwrap().environment.insert("A".into(), Some("b".into()));
    assert_eq!(names(&plan(&again, &host)), ["web-1", "web-1-b"]);
}

#[test]
fn what_restarts_with_a_service_runs_until_the_new_container_serves() {
    let followed = |mut stack: Stack| {
        let mut watcher = stack.services["web"].clone();
        (watcher.ports, watcher.deploy) = (Vec::new(), None);
        let on = Dependency { restart: true, ..dependency(Condition::ServiceStarted) };
        watcher.depends_on = BTreeMap::from([("web".into(), on)]);
        stack.services.insert("watcher".into(), watcher);
        stack
    };
    let mut host = up_with(&followed(rolling()));
    host.observed.images.insert("nginx:2".into(), host.observed.images["nginx:1.27"].clone());

    let plan = plan(&followed(edited("nginx:2")), &host);
    let of_watcher: Vec<String> = steps(&plan)
        .lines()
        .filter(|l| l.contains("container shop-watcher-1 ←"))
        .map(str::to_owned)
        .collect();
    assert_snapshot!(of_watcher.join("\n"), @r"
    stop_container shop-watcher-1 ← promote_container shop-web-1-b
    remove_container shop-watcher-1 ← stop_container shop-watcher-1
    create_container shop-watcher-1 ← remove_container shop-watcher-1
    start_container shop-watcher-1 ← promote_container shop-web-1-b, create_container shop-watcher-1
    ");
}

#[test]
fn replicas_take_over_one_after_the_other_and_the_old_ones_go_when_all_have() {
    let three = |mut stack: Stack| {
        let web = stack.services.get_mut("web").unwrap();
        (web.replicas, web.ports) = (3, Vec::new());
        stack
    };
    let mut host = up_with(&three(rolling()));
    host.observed.images.insert("nginx:2".into(), host.observed.images["nginx:1.27"].clone());

    let plan = plan(&three(edited("nginx:2")), &host);
    assert_snapshot!(steps(&plan), @r"
    create_container shop-web-1-b ←
    launch_container shop-web-1-b ← create_container shop-web-1-b
    prove_container shop-web-1-b ← launch_container shop-web-1-b
    promote_container shop-web-1-b ← prove_container shop-web-1-b
    drain_container shop-web-1 ← promote_container shop-web-1-b
    stop_container shop-web-1 ← drain_container shop-web-1
    create_container shop-web-2-b ←
    create_container shop-web-3-b ←
    admit_container shop-web-2-b ←
    launch_container shop-web-2-b ← create_container shop-web-2-b, admit_container shop-web-2-b
    prove_container shop-web-2-b ← launch_container shop-web-2-b
    promote_container shop-web-2-b ← prove_container shop-web-2-b
    drain_container shop-web-2 ← promote_container shop-web-2-b
    stop_container shop-web-2 ← drain_container shop-web-2
    admit_container shop-web-3-b ←
    launch_container shop-web-3-b ← create_container shop-web-3-b, admit_container shop-web-3-b
    prove_container shop-web-3-b ← launch_container shop-web-3-b
    promote_container shop-web-3-b ← prove_container shop-web-3-b
    drain_container shop-web-3 ← promote_container shop-web-3-b
    stop_container shop-web-3 ← drain_container shop-web-3
    conclude_rollout web ←
    remove_container shop-web-1 ← promote_container shop-web-1-b, stop_container shop-web-1, conclude_rollout web
    remove_container shop-web-2 ← promote_container shop-web-2-b, stop_container shop-web-2, conclude_rollout web
    remove_container shop-web-3 ← promote_container shop-web-3-b, stop_container shop-web-3, conclude_rollout web
    ");
}

#[test]
fn a_new_container_that_is_good_is_kept_and_one_that_is_not_is_made_anew() {
    let mut host = up_with(&rolling());
    host.observed.images.insert("nginx:2".into(), host.observed.images["nginx:1.27"].clone());
    let stack = edited("nginx:2");
    let first = plan(&stack, &host);
    let stable = first.steps.iter().position(|s| s.action.verb() == "prove_container").unwrap();
    host.apply(&first, 7, Some(Break::Dies(stable)));

    assert_snapshot!(steps(&plan(&stack, &host)), @r"
    prove_container shop-web-1-b ←
    promote_container shop-web-1-b ← prove_container shop-web-1-b
    drain_container shop-web-1 ← promote_container shop-web-1-b
    stop_container shop-web-1 ← drain_container shop-web-1
    conclude_rollout web ←
    remove_container shop-web-1 ← promote_container shop-web-1-b, stop_container shop-web-1, conclude_rollout web
    ");
    host.observed.containers.get_mut("shop-web-1-b").unwrap().restarts = 1;
    assert_snapshot!(plan(&stack, &host), @r#"
    replace  web-1-b  takes over from `shop-web-1`
                      start-first as the file says: no gap
                      image "nginx:1.27" → "nginx:2"
    remove   web-1    another takes its place
    Plan: 1 replace, 1 remove, 5 unchanged
    "#);
    // What is as the file has it again serves on, and the attempt goes.
    assert_snapshot!(plan(&rolling(), &host), @r"
    remove  web-1-b  another takes its place
    Plan: 1 remove, 6 unchanged
    ");
}

#[test]
fn one_that_has_to_stop_first_says_why() {
    let host = up_with(&rolling());
    let mut stack = rolling();
    stack.networks.get_mut("default").unwrap().internal = true;
    assert_snapshot!(plan(&stack, &host), @r"
    replace  web-1                 network `shop_default` is made anew
                                   stops first: a network it is on is made anew
                                   gap expected, new connections to 8080/tcp held
    replace  app-1                 network `shop_default` is made anew
    replace  network shop_default  172.20.0.0/16
                                   internal false → true
    Plan: 3 replace, 3 unchanged
    ");
}

#[test]
fn what_can_never_run_twice_is_refused() {
    let refusal = |edit: fn(&mut Service)| {
        let mut stack = rolling();
        edit(stack.services.get_mut("web").unwrap());
        let host = FakeHost::new();
        let options = UpOptions::default();
        up(&desired(&stack), &host.observed, &options, &Places::default()).unwrap_err().to_string()
    };
    let name = refusal(|web| web.container_name = Some("front".into()));
    assert_snapshot!(name, @"service `web` cannot be replaced `start-first`: there can be only one of the name `front`; write `order: stop-first`");
    let address = refusal(|web| {
        let on = web.networks.get_mut("default").unwrap();
        on.mac_address = Some("02:00:00:00:00:01".into());
    });
    assert_snapshot!(address, @"service `web` cannot be replaced `start-first`: both would have the same address on network `shop_default`; write `order: stop-first`");
    let host = refusal(|web| {
        (web.network_mode, web.ports) = (Some(NetworkMode::Host), Vec::new());
        web.networks.clear();
    });
    assert_snapshot!(host, @"service `web` cannot be replaced `start-first`: both would listen on the same ports of the host's network; write `order: stop-first`");
}
