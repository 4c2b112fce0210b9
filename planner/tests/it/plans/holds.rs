//! New connections wait while a container is replaced by one that starts later.

use super::*;

/// The shop, with what is done to its web front.
fn edited(edit: impl Fn(&mut Service)) -> Stack {
    let mut stack = shop();
    edit(stack.services.get_mut("web").unwrap());
    stack
}

fn changed(web: &mut Service) {
    web.environment.insert("A".into(), Some("b".into()));
}

/// The line of the front in the plan, and its steps, each with those it waits for.
fn told(before: &Stack, after: &Stack) -> String {
    let host = up_with(before);
    let plan = plan(after, &host);
    let words = |step: &Step| format!("{} {}", step.action.verb(), step.action.target());
    let lines = plan.steps.iter().map(|step| {
        let ids = step.after.iter().chain(&step.after_tried);
        let after: Vec<String> = ids.map(|id| words(&plan.steps[id.index()])).collect();
        format!("{} ← {}", words(step), after.join(", ")).trim_end().to_owned()
    });
    let lines: Vec<String> = lines.collect();
    format!("{plan}{}", lines.join("\n"))
}

#[test]
fn ports_are_held_from_right_before_the_stop_until_the_new_one_serves() {
    assert_snapshot!(told(&shop(), &edited(changed)), @r#"
    replace  web-1  stop-first by default: gap expected, new connections to 8080/tcp held
                    environment.A — → "b"
    Plan: 1 replace, 5 unchanged
    hold_container shop-web-1 ←
    stop_container shop-web-1 ← hold_container shop-web-1
    remove_container shop-web-1 ← stop_container shop-web-1
    create_container shop-web-1 ← remove_container shop-web-1
    start_container shop-web-1 ← create_container shop-web-1
    release_container shop-web-1 ← hold_container shop-web-1, start_container shop-web-1
    "#);
}

#[test]
fn a_port_is_held_only_if_the_new_one_has_it_too() {
    let both = edited(|web| web.ports.push(port(9090, 90)));
    assert_snapshot!(told(&both, &edited(|web| {
        changed(web);
        web.ports.push(port(9091, 90));
    })), @r#"
    replace  web-1  PUBLIC 8080:80/tcp
                    PUBLIC 9091:90/tcp
                    stop-first by default: gap expected, new connections to 8080/tcp held
                    environment.A — → "b"
                    ports ["8080:80/tcp","9090:90/tcp"] → ["8080:80/tcp","9091:90/tcp"]
    Plan: 1 replace, 5 unchanged
    hold_container shop-web-1 ←
    stop_container shop-web-1 ← hold_container shop-web-1
    remove_container shop-web-1 ← stop_container shop-web-1
    create_container shop-web-1 ← remove_container shop-web-1
    start_container shop-web-1 ← create_container shop-web-1
    release_container shop-web-1 ← hold_container shop-web-1, start_container shop-web-1
    "#);
    assert_snapshot!(told(&shop(), &edited(|web| {
        changed(web);
        web.ports = vec![port(8081, 80)];
    })), @r#"
    replace  web-1  PUBLIC 8081:80/tcp
                    stop-first by default: gap expected, its TCP ports change
                    environment.A — → "b"
                    ports ["8080:80/tcp"] → ["8081:80/tcp"]
    Plan: 1 replace, 5 unchanged
    stop_container shop-web-1 ←
    remove_container shop-web-1 ← stop_container shop-web-1
    create_container shop-web-1 ← remove_container shop-web-1
    start_container shop-web-1 ← create_container shop-web-1
    "#);
}

#[test]
fn what_restarts_with_another_is_held_too() {
    let follows = || {
        edited(|web| {
            let on = Dependency { restart: true, ..dependency(Condition::ServiceStarted) };
            web.depends_on.insert("app".into(), on);
        })
    };
    let mut after = follows();
    changed(after.services.get_mut("app").unwrap());
    assert_snapshot!(told(&follows(), &after), @r#"
    restart  web-1  `app` restarts
    replace  app-1  environment.A — → "b"
    Plan: 1 replace, 1 restart, 4 unchanged
    hold_container shop-web-1 ←
    stop_container shop-web-1 ← hold_container shop-web-1
    stop_container shop-app-1 ← stop_container shop-web-1
    remove_container shop-app-1 ← stop_container shop-app-1
    create_container shop-app-1 ← remove_container shop-app-1
    start_container shop-app-1 ← create_container shop-app-1
    start_container shop-web-1 ← stop_container shop-web-1, start_container shop-app-1
    release_container shop-web-1 ← hold_container shop-web-1, start_container shop-web-1
    "#);
}

#[test]
fn without_a_port_only_who_asked_for_an_order_is_told_of_the_gap() {
    let bare = |order| {
        move |web: &mut Service| {
            web.ports.clear();
            let update = Some(Rollout { order, ..Rollout::default() });
            web.deploy = Some(Box::new(Deploy { update, ..Deploy::default() }));
        }
    };
    let before = edited(bare(None));
    let line = |order| {
        let after = edited(|web| {
            bare(order)(web);
            changed(web);
        });
        plan(&after, &up_with(&before)).to_string()
    };
    assert_snapshot!(line(None), @r#"
    replace  web-1  environment.A — → "b"
    Plan: 1 replace, 5 unchanged
    "#);
    assert_snapshot!(line(Some(RolloutOrder::StopFirst)), @r#"
    replace  web-1  stop-first as the file says: gap expected, no TCP port to hold
                    environment.A — → "b"
    Plan: 1 replace, 5 unchanged
    "#);
}
