//! Another content of a config or secret, and what its service says happens then.

use super::*;

/// The shop, of which `app` has a config and a secret of these contents.
fn shop_with(on_change: OnChange, (config, secret): (&str, &str)) -> Stack {
    let mut stack = shop();
    let object = |name: &str, content: &str| FileObject {
        name: name.into(),
        content: FileContent::Inline(content.into()),
        ..FileObject::default()
    };
    stack.configs.insert("settings".into(), object("settings", config));
    stack.secrets.insert("token".into(), object("token", secret));
    let mount = |source: &str, target: &str| FileMount {
        source: source.into(),
        target: target.into(),
        uid: None,
        gid: None,
        mode: None,
    };
    let app = stack.services.get_mut("app").unwrap();
    app.configs.push(mount("settings", "/settings"));
    app.secrets.push(mount("token", "/run/secrets/token"));
    app.berth.on_change = on_change;
    stack
}

fn edited(on_change: OnChange) -> Plan {
    let host = up_with(&shop_with(on_change.clone(), ("one", "one")));
    plan(&shop_with(on_change, ("two", "two")), &host)
}

#[test]
fn another_content_takes_effect_as_the_service_says() {
    assert_snapshot!(steps(&edited(OnChange::None)), @"0 update_container shop-app-1 ←");
    let hup = OnChange::Signal("SIGHUP".into());
    assert_snapshot!(steps(&edited(hup)), @"0 update_container shop-app-1 ←");
    assert_snapshot!(steps(&edited(OnChange::Restart)), @"
    0 stop_container shop-app-1 ←
    1 update_container shop-app-1 ← 0
    2 start_container shop-app-1 ← 1
    ");
    assert_snapshot!(steps(&edited(OnChange::Replace)), @"
    0 stop_container shop-app-1 ←
    1 remove_container shop-app-1 ← 0
    2 create_container shop-app-1 ← 1
    3 start_container shop-app-1 ← 2
    ");
}

#[test]
fn a_page_and_the_classes_tell_them_apart() {
    for (on_change, class) in [
        (OnChange::None, "live"),
        (OnChange::Signal("SIGHUP".into()), "live"),
        (OnChange::Restart, "restart"),
        (OnChange::Replace, "replace"),
    ] {
        let plan = edited(on_change.clone());
        let json = serde_json::to_value(&plan).unwrap();
        let steps = json["steps"].as_array().unwrap();
        let changes = steps.iter().filter_map(|step| step["changes"].as_array()).flatten();
        let told: Vec<&str> = changes.map(|one| one["class"].as_str().unwrap()).collect();
        assert_eq!(told, [class; 2], "{on_change:?} {plan}");
    }
    assert_snapshot!(edited(OnChange::None), @"
    update  app-1  configs./settings.content sha256:7692c3ad3540 → sha256:3fc4ccfe7458
                   secrets./run/secrets/token.content (hidden) → (hidden)
    Plan: 1 update, 5 unchanged
    ");
    assert_snapshot!(edited(OnChange::Restart), @"
    restart  app-1  configs./settings.content sha256:7692c3ad3540 → sha256:3fc4ccfe7458
                    secrets./run/secrets/token.content (hidden) → (hidden)
    Plan: 1 restart, 5 unchanged
    ");
}

#[test]
fn what_differs_beside_the_content_takes_effect_as_it_does() {
    let host = up_with(&shop_with(OnChange::None, ("one", "one")));
    let of = |change: fn(&mut Service)| {
        let mut stack = shop_with(OnChange::None, ("two", "one"));
        change(stack.services.get_mut("app").unwrap());
        plan(&stack, &host).to_string()
    };
    let live = of(|app| drop(app.labels.insert("tier".into(), "web".into())));
    assert!(live.starts_with("update   app-1") || live.starts_with("update  app-1"), "{live}");
    for change in [
        |app: &mut Service| app.configs[0].target = "/elsewhere".into(),
        |app: &mut Service| app.configs[0].mode = Some(0o400),
        |app: &mut Service| app.secrets.clear(),
        |app: &mut Service| app.user = Some("1000".into()),
        |app: &mut Service| app.berth.on_change = OnChange::Replace,
    ] {
        let text = of(change);
        assert!(text.starts_with("replace  app-1"), "{text}");
    }
}

#[test]
fn what_happens_on_a_change_is_itself_only_noted() {
    let host = up_with(&shop_with(OnChange::Replace, ("one", "one")));
    assert_snapshot!(plan(&shop_with(OnChange::None, ("one", "one")), &host), @r#"
    update  app-1  only its record
                   on_change — → "none"
    Plan: 1 update, 5 unchanged
    "#);
}

#[test]
fn one_that_does_not_run_has_the_content_before_it_starts() {
    for on_change in [OnChange::None, OnChange::Restart] {
        let mut host = up_with(&shop_with(on_change.clone(), ("one", "one")));
        let app = host.observed.containers.get_mut("shop-app-1").unwrap();
        app.state = ContainerState::Exited { exit_code: 1, finished_at: 0 };
        app.monitored = false;
        assert_eq!(
            steps(&plan(&shop_with(on_change, ("two", "one")), &host)).trim(),
            "0 update_container shop-app-1 ←\n1 start_container shop-app-1 ← 0"
        );
    }
}

#[test]
fn a_content_that_drifted_is_written_again() {
    let drifted = |on_change: OnChange| {
        let stack = shop_with(on_change, ("one", "one"));
        let mut host = up_with(&stack);
        host.observed.containers.get_mut("shop-app-1").unwrap().content_moved = true;
        let plan = plan(&stack, &host);
        host.apply_all(&plan, 1);
        assert!(self::plan(&stack, &host).is_empty());
        plan
    };
    assert_snapshot!(drifted(OnChange::None), @"
    update  app-1  drift: a config or secret has another content
    Plan: 1 update, 5 unchanged
    ");
    assert_snapshot!(drifted(OnChange::Restart), @"
    restart  app-1  drift: a config or secret has another content
    Plan: 1 restart, 5 unchanged
    ");
}
