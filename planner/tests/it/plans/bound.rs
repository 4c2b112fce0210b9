//! Regular files of the host that are mounted: another content, and another file at the path.

use std::path::Path;

use berth_planner::bound::{self, Stamp};

use super::*;

const PATH: &str = "/srv/shop/app.conf";

/// The shop, of which `app` has a file mounted.
fn shop_with(on_change: OnChange, read_only: bool) -> Stack {
    let mut stack = shop();
    let source = MountSource::Bind {
        path: PATH.into(),
        create_host_path: false,
        propagation: None,
        recursive: Recursive::default(),
        selinux: None,
    };
    let app = stack.services.get_mut("app").unwrap();
    app.volumes.push(Mount { target: "/etc/app.conf".into(), source, read_only });
    app.berth.on_change = on_change;
    stack
}

/// What the stack asks for when this is in the file.
fn holding(stack: &Stack, content: &str) -> Desired {
    let stamp = Stamp {
        object: (1, 2),
        size: 3,
        modified: 4,
        changed: 5,
        read: 6,
        content: content.into(),
    };
    let mut inputs = Inputs::default();
    // Which files are read the stack says.
    inputs.bound_files.extend(bound::counted(stack).into_iter().map(|path| (path, stamp.clone())));
    let facts = HostFacts { userns: true, ..HostFacts::default() };
    resolve(stack, &inputs, &facts).unwrap()
}

fn plan_of(stack: &Stack, content: &str, host: &FakeHost) -> Plan {
    let desired = holding(stack, content);
    let plan = up(&desired, &host.observed, &UpOptions::default(), &stack.places).unwrap();
    judge(&plan, Some(&desired), &host.observed);
    plan
}

const ONE: &str = "sha256:1111111111111111";
const TWO: &str = "sha256:2222222222222222";

fn up_with_file(stack: &Stack) -> FakeHost {
    let mut host = FakeHost::new();
    let plan = plan_of(stack, ONE, &host);
    host.apply_all(&plan, 7);
    assert!(plan_of(stack, ONE, &host).is_empty());
    host
}

/// The plan for another content, which leaves nothing to do; `swapped` if it is in another file.
fn edited(on_change: OnChange, read_only: bool, swapped: bool) -> String {
    let stack = shop_with(on_change, read_only);
    let mut host = up_with_file(&stack);
    swap(&mut host, swapped);
    let plan = plan_of(&stack, TWO, &host);
    host.apply_all(&plan, 1);
    if !plan.is_empty() {
        swap(&mut host, false);
    }
    let left = plan_of(&stack, TWO, &host);
    assert!(left.is_empty(), "{left}");
    plan.to_string()
}

fn swap(host: &mut FakeHost, swapped: bool) {
    let app = host.observed.containers.get_mut("shop-app-1").unwrap();
    app.swapped = swapped.then(|| PATH.into()).into_iter().collect();
}

#[test]
fn an_edit_in_place_takes_effect_as_the_service_says() {
    assert_snapshot!(edited(OnChange::Replace, true, false), @"
    replace  app-1  bound_files./srv/shop/app.conf.content sha256:111111111111 → sha256:222222222222
    Plan: 1 replace, 5 unchanged
    ");
    assert_snapshot!(edited(OnChange::Restart, true, false), @"
    restart  app-1  bound_files./srv/shop/app.conf.content sha256:111111111111 → sha256:222222222222
    Plan: 1 restart, 5 unchanged
    ");
    assert_snapshot!(edited(OnChange::Signal("SIGHUP".into()), true, false), @"
    update  app-1  bound_files./srv/shop/app.conf.content sha256:111111111111 → sha256:222222222222
    Plan: 1 update, 5 unchanged
    ");
    assert_snapshot!(edited(OnChange::None, true, false), @"nothing to do");
}

#[test]
fn a_file_of_others_counts_for_who_says_what_a_change_does() {
    let counted = |on_change, path: &str, more: &[(&str, &str, &str, bool)]| {
        let mut stack = shop_with(on_change, true);
        let mount = stack.services["app"].volumes[0].clone();
        let bind = |path: &str, read_only| {
            let mut mount = Mount { read_only, ..mount.clone() };
            if let MountSource::Bind { path: own, .. } = &mut mount.source {
                *own = path.into();
            }
            mount
        };
        stack.services.get_mut("app").unwrap().volumes = vec![bind(path, true)];
        for (service, target, path, read_only) in more {
            let mount = Mount { target: (*target).into(), ..bind(path, *read_only) };
            stack.services.get_mut(*service).unwrap().volumes.push(mount);
        }
        bound::counted(&stack).contains(Path::new(path))
    };
    assert!(counted(OnChange::Replace, PATH, &[]));
    assert!(!counted(OnChange::Replace, "/var/log/auth.log", &[]));
    assert!(counted(OnChange::Restart, "/var/log/auth.log", &[]));
    assert!(!counted(OnChange::None, PATH, &[]));
    // The log of another service, and a file in a folder that it may write itself.
    let log = "/srv/shop/access.log";
    assert!(!counted(OnChange::Replace, log, &[("web", "/log", log, false)]));
    assert!(counted(OnChange::Replace, log, &[("web", "/log", log, true)]));
    assert!(!counted(OnChange::Replace, PATH, &[("app", "/app", "/srv/shop", false)]));
    assert!(counted(OnChange::Replace, PATH, &[("web", "/app", "/srv/shop", false)]));
}

#[test]
fn another_file_at_the_path_is_mounted_by_a_start() {
    assert_snapshot!(edited(OnChange::Replace, true, true), @"
    replace  app-1  /srv/shop/app.conf is another file than the one it has mounted
                    bound_files./srv/shop/app.conf.content sha256:111111111111 → sha256:222222222222
    Plan: 1 replace, 5 unchanged
    ");
    assert_snapshot!(edited(OnChange::Restart, true, true), @"
    restart  app-1  /srv/shop/app.conf is another file than the one it has mounted
                    bound_files./srv/shop/app.conf.content sha256:111111111111 → sha256:222222222222
    Plan: 1 restart, 5 unchanged
    ");
    assert_snapshot!(edited(OnChange::Signal("SIGHUP".into()), true, true), @"
    restart  app-1  /srv/shop/app.conf is another file than the one it has mounted
                    bound_files./srv/shop/app.conf.content sha256:111111111111 → sha256:222222222222
    Plan: 1 restart, 5 unchanged
    ");
}

#[test]
fn one_that_shall_not_be_touched_runs_on_and_the_plan_says_what_it_sees() {
    let stack = shop_with(OnChange::None, true);
    let mut host = up_with_file(&stack);
    swap(&mut host, true);
    let plan = plan_of(&stack, ONE, &host);
    assert!(plan.steps.is_empty());
    assert_snapshot!(plan.warnings.join("\n"), @"shop-app-1: `/srv/shop/app.conf` was replaced by another file, and it sees the old one until it is started again: `x-berth.on_change` is `none`");
}

#[test]
fn what_a_container_writes_is_its_own_unless_the_service_says_what_happens_then() {
    assert_snapshot!(edited(OnChange::Replace, false, false), @"nothing to do");
    assert_snapshot!(edited(OnChange::Restart, false, false), @"
    restart  app-1  bound_files./srv/shop/app.conf.content sha256:111111111111 → sha256:222222222222
    Plan: 1 restart, 5 unchanged
    ");
    // In another file nobody would find it.
    assert_snapshot!(edited(OnChange::Replace, false, true), @"
    replace  app-1  /srv/shop/app.conf is another file than the one it has mounted
    Plan: 1 replace, 5 unchanged
    ");
    for (on_change, read_only, line) in [
        (OnChange::Restart, false, "restart"),
        (OnChange::Replace, false, "replace"),
        (OnChange::Replace, true, "nothing"),
        (OnChange::Restart, true, "nothing"),
    ] {
        let stack = shop_with(on_change, read_only);
        let mut host = up_with_file(&stack);
        swap(&mut host, true);
        let plan = plan_of(&stack, ONE, &host).to_string();
        assert_eq!(plan.split_whitespace().next(), Some(line), "{plan}");
    }
}

#[test]
fn a_file_that_was_never_read_before_is_no_change() {
    let stack = shop_with(OnChange::Replace, true);
    let mut host = up_with_file(&stack);
    let app = host.observed.containers.get_mut("shop-app-1").unwrap();
    assert!(app.record.spec.bound_files.0.remove(Path::new(PATH)).is_some());
    let mut stack = stack;
    assert!(plan_of(&stack, TWO, &host).is_empty());
    // And none beside others.
    stack.services.get_mut("app").unwrap().labels.insert("tier".into(), "web".into());
    assert_snapshot!(plan_of(&stack, TWO, &host), @r#"
    update  app-1  only its record
                   labels.tier — → "web"
    Plan: 1 update, 5 unchanged
    "#);
}

#[test]
fn a_content_with_the_name_of_a_secret_is_not_shown() {
    let change = |path: &str| {
        let mut stack = shop_with(OnChange::Replace, true);
        let app = stack.services.get_mut("app").unwrap();
        if let MountSource::Bind { path: own, .. } = &mut app.volumes[0].source {
            *own = path.into();
        }
        let mut host = FakeHost::new();
        let made = plan_of(&stack, ONE, &host);
        host.apply_all(&made, 7);
        plan_of(&stack, TWO, &host).to_string()
    };
    assert!(change("/srv/shop/server.key").contains("(hidden) → (hidden)"));
    assert!(
        change("/srv/shop/keys/app.conf").contains("sha256:111111111111 → sha256:222222222222")
    );
}
