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
    // Which files are read the stack says.
    let written = bound::written(stack, &BTreeMap::new());
    let counted = bound::counted(stack, &written).into_iter();
    let bound_files = counted.map(|path| (path, stamp.clone())).collect();
    let inputs = Inputs { written, bound_files, ..Inputs::default() };
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

/// Binds of services of the shop: service, path, read-only.
type Binds<'a> = [(&'a str, &'a str, bool)];

/// The shop with these alone, of which `app` says this.
fn shop_of(on_change: OnChange, binds: &Binds<'_>) -> Stack {
    let mut stack = shop_with(on_change, true);
    let mount = stack.services.get_mut("app").unwrap().volumes.pop().unwrap();
    for (number, (service, path, read_only)) in binds.iter().enumerate() {
        let (target, read_only) = (format!("/mnt/{number}"), *read_only);
        let mut mount = Mount { target, read_only, ..mount.clone() };
        if let MountSource::Bind { path: own, .. } = &mut mount.source {
            *own = (*path).into();
        }
        stack.services.get_mut(*service).unwrap().volumes.push(mount);
    }
    stack
}

/// The services of a stack for which the content of a file counts.
fn counting(stack: &Stack, path: &str) -> String {
    let desired = holding(stack, ONE);
    let has = |service: &&String| {
        desired.services[*service].container.bound_files.0.contains_key(Path::new(path))
    };
    desired.services.keys().filter(has).cloned().collect::<Vec<_>>().join(" ")
}

#[test]
fn a_file_of_others_counts_for_who_says_what_a_change_does() {
    let counts =
        |on_change, binds: &Binds<'_>| !counting(&shop_of(on_change, binds), binds[0].1).is_empty();
    assert!(counts(OnChange::Replace, &[("app", PATH, true)]));
    assert!(!counts(OnChange::None, &[("app", PATH, true)]));
    for path in ["/var/log/auth.log", "/srv/shop/../other/app.conf"] {
        assert!(!counts(OnChange::Replace, &[("app", path, true)]), "{path}");
        assert!(counts(OnChange::Restart, &[("app", path, true)]), "{path}");
    }
}

#[test]
fn what_a_service_may_write_counts_by_default_for_none_of_them() {
    let counts = |path: &str, more: (&str, &str, bool)| {
        let stack = shop_of(OnChange::Replace, &[("app", path, true), more]);
        !counting(&stack, path).is_empty()
    };
    let log = "/srv/shop/logs/access.log";
    assert!(!counts(log, ("web", log, false)));
    assert!(counts(log, ("web", log, true)));
    assert!(!counts(log, ("web", "/srv/shop/logs", false)));
    assert!(!counts(log, ("web", "/srv/shop/conf/../logs", false)));
    assert!(counts(log, ("web", "/srv/shop/conf", false)));
    // The whole project is mounted to work on it, and what a service mounts of it for itself is its own.
    assert!(counts(PATH, ("web", "/srv/shop", false)));
    assert!(counts(PATH, ("web", "/srv", false)));
    assert!(!counts(PATH, ("app", "/srv/shop", false)));
}

#[test]
fn a_file_that_counts_for_one_who_says_so_counts_for_no_other() {
    let mut stack = shop_of(
        OnChange::Restart,
        &[("app", PATH, true), ("db", PATH, false), ("web", PATH, true)],
    );
    assert_eq!(counting(&stack, PATH), "app");
    stack.services.get_mut("db").unwrap().volumes.pop();
    assert_eq!(counting(&stack, PATH), "app web");
}

#[test]
fn what_a_service_writes_that_is_left_out_of_the_run_does_not_count() {
    let log = "/srv/shop/logs/access.log";
    let binds = [("app", log, true), ("web", "/srv/shop/logs", false)];
    let mut stack = shop_of(OnChange::Replace, &binds);
    let mut host = FakeHost::new();
    let plan = plan_of(&stack, ONE, &host);
    host.apply_all(&plan, 7);
    let counted = |stack: &Stack| {
        let written = bound::written(stack, &host.observed.containers);
        bound::counted(stack, &written).contains(Path::new(log))
    };
    stack.services.remove("web");
    assert!(!counted(&stack));
    let other = Stack { name: "other".into(), ..stack.clone() };
    assert!(counted(&other), "containers of another project are none of this one");
    // Of one that is in the run its description counts, not what its container was made from.
    let mut web = service("nginx:1.27");
    web.volumes.clear();
    stack.services.insert("web".into(), web);
    assert!(counted(&stack));
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
fn a_file_that_was_never_read_before_is_another_one_where_another_is_mounted() {
    let from_none = |on_change: OnChange, swapped| {
        let mut host = up_with_file(&shop_with(OnChange::None, true));
        swap(&mut host, swapped);
        let stack = shop_with(on_change, true);
        let plan = plan_of(&stack, TWO, &host);
        host.apply_all(&plan, 1);
        swap(&mut host, false);
        assert!(plan_of(&stack, TWO, &host).is_empty());
        plan.to_string()
    };
    assert_snapshot!(from_none(OnChange::Replace, true), @r#"
    replace  app-1  /srv/shop/app.conf is another file than the one it has mounted
                    on_change "none" → —
    Plan: 1 replace, 5 unchanged
    "#);
    assert_snapshot!(from_none(OnChange::Restart, true), @r#"
    restart  app-1  only its record
                    /srv/shop/app.conf is another file than the one it has mounted
                    on_change "none" → "restart"
    Plan: 1 restart, 5 unchanged
    "#);
    assert_snapshot!(from_none(OnChange::Replace, false), @r#"
    update  app-1  only its record
                   on_change "none" → —
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
