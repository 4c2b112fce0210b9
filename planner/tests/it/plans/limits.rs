//! Limits that somebody else has set in the kernel.

use super::*;
use berth_planner::views::page::{Page, page};

/// The stack on a host on which somebody has set limits of `app`.
fn drifted(stack: &Stack) -> FakeHost {
    let mut host = up_with(stack);
    let limit = |attribute: &str, file: &str, [set, seen]: [&str; 2]| MovedLimit {
        attribute: attribute.into(),
        file: file.into(),
        set: set.into(),
        seen: seen.into(),
    };
    host.observed.containers.get_mut("shop-app-1").unwrap().moved_limits = vec![
        limit("mem_limit", "memory.max", ["67108864", "max"]),
        limit("pids_limit", "pids.max", ["2048", "10"]),
    ];
    host
}

#[test]
fn they_are_put_back_in_the_container_that_runs() {
    let stack = shop();
    let mut host = drifted(&stack);
    let plan = plan(&stack, &host);
    assert_snapshot!(steps(&plan), @"0 update_container shop-app-1 ←");
    let (files, next) = (&[][..], Some("berth up"));
    let shown =
        page(&Page { plan: &plan, observed: &host.observed, files, generation: None, next });
    assert_snapshot!(shown, @r"
    Stack shop: 3 containers run
    Drifted since it was applied:
      update  app-1  drift: mem_limit: memory.max is max, not 67108864
                     drift: pids_limit: pids.max is 10, not 2048
    Plan: 1 update, 5 unchanged
    Next: berth up
    ");
    host.apply_all(&plan, 1);
    assert!(self::plan(&stack, &host).is_empty());
}

#[test]
fn beside_an_edit_they_are_told_and_put_back_with_it() {
    let host = drifted(&shop());
    let mut stack = shop();
    stack.services.get_mut("app").unwrap().labels.insert("tier".into(), "web".into());
    assert_snapshot!(plan(&stack, &host), @r#"
    update  app-1  drift: mem_limit: memory.max is max, not 67108864
                   drift: pids_limit: pids.max is 10, not 2048
                   labels.tier — → "web"
    Plan: 1 update, 5 unchanged
    "#);
}

#[test]
fn one_that_starts_again_or_is_made_anew_gets_its_limits_by_that() {
    let mut host = drifted(&shop());
    host.observed.containers.get_mut("shop-app-1").unwrap().hook_failed = true;
    let restarted = plan(&shop(), &host);
    assert_snapshot!(steps(&restarted), @"
    0 stop_container shop-app-1 ←
    1 start_container shop-app-1 ← 0
    ");
    host.observed.containers.get_mut("shop-app-1").unwrap().hook_failed = false;
    host.apply_all(&restarted, 1);
    let left = plan(&shop(), &host);
    assert!(left.is_empty(), "{left}");

    let host = drifted(&shop());
    let mut stack = shop();
    stack.services.get_mut("app").unwrap().hostname = Some("other".into());
    let text = plan(&stack, &host).to_string();
    assert!(text.contains("replace  app-1") && !text.contains("mem_limit"), "{text}");
}
