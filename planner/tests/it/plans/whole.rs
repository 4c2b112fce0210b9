//! What comes up from nothing, and how it reads.

use super::*;

#[test]
fn an_empty_host_gets_everything() {
    assert_snapshot!(plan(&shop(), &FakeHost::new()), @"
    pull    image app:1
    pull    image nginx:1.27
    pull    image postgres:17
    create  network shop_back     172.19.0.0/16
    create  network shop_default  172.20.0.0/16
    create  volume shop_data
    create  db-1                  postgres:17
    create  app-1                 app:1
    create  web-1                 nginx:1.27
                                  PUBLIC 8080:80/tcp
    Plan: 6 create, 3 pull
    ");
}

#[test]
fn gates_stand_between_the_starts_and_creates_do_not_wait_for_them() {
    assert_snapshot!(steps(&plan(&shop(), &FakeHost::new())), @"
    0 pull_image app:1 ←
    1 pull_image nginx:1.27 ←
    2 pull_image postgres:17 ←
    3 create_network shop_back ← 0,1,2
    4 create_network shop_default ← 0,1,2
    5 create_volume shop_data ← 0,1,2
    6 create_container shop-db-1 ← 2,3,5
    7 start_container shop-db-1 ← 6
    8 create_container shop-app-1 ← 0,3,4
    9 create_container shop-web-1 ← 1,4
    10 await_container shop-db-1 ← 7
    11 start_container shop-app-1 ← 8,10
    12 start_container shop-web-1 ← 9,11
    ");
}

#[test]
fn a_stack_that_is_up_has_nothing_to_do() {
    let host = up_with(&shop());
    assert_snapshot!(plan(&shop(), &host), @"nothing to do");
}

#[test]
fn passwords_are_hidden() {
    let host = up_with(&shop());
    let mut stack = shop();
    let app = stack.services.get_mut("app").unwrap();
    app.environment.insert("DB_PASSWORD".into(), Some("two".into()));
    app.environment.insert("URL".into(), Some("postgres://me:two@db/shop".into()));
    let plan = plan(&stack, &host);
    assert_snapshot!(plan, @"
    replace  app-1  environment.DB_PASSWORD (hidden) → (hidden)
                    environment.URL — → (hidden)
    Plan: 1 replace, 5 unchanged
    ");
    let json = serde_json::to_string(&plan).unwrap();
    assert!(!json.contains("two") && !json.contains("one\""), "{json}");
}

#[test]
fn the_json_form_names_things_and_holds_no_descriptions() {
    let host = up_with(&shop());
    let mut stack = shop();
    let app = stack.services.get_mut("app").unwrap();
    app.environment.insert("LOG".into(), Some("debug".into()));
    let json = serde_json::to_string_pretty(&plan(&stack, &host)).unwrap();
    assert_snapshot!(json, @r#"
    {
      "format": "berth.plan/1",
      "stack": "shop",
      "summary": {
        "replace": 1,
        "unchanged": 5
      },
      "steps": [
        {
          "id": 0,
          "action": "stop_container",
          "target": "shop-app-1",
          "causes": [
            {
              "cause": "changed",
              "sort": "edit"
            }
          ],
          "after": []
        },
        {
          "id": 1,
          "action": "remove_container",
          "target": "shop-app-1",
          "causes": [
            {
              "cause": "changed",
              "sort": "edit"
            }
          ],
          "after": [
            0
          ]
        },
        {
          "id": 2,
          "action": "create_container",
          "target": "shop-app-1",
          "causes": [
            {
              "cause": "changed",
              "sort": "edit"
            }
          ],
          "changes": [
            {
              "path": "environment.LOG",
              "before": "\"info\"",
              "after": "\"debug\"",
              "class": "replace",
              "sensitive": false
            }
          ],
          "after": [
            1
          ]
        },
        {
          "id": 3,
          "action": "start_container",
          "target": "shop-app-1",
          "causes": [
            {
              "cause": "changed",
              "sort": "edit"
            }
          ],
          "after": [
            2
          ]
        }
      ],
      "warnings": [],
      "grants": []
    }
    "#);
}

#[test]
fn images_are_pulled_first_when_their_policy_says_so() {
    let mut stack = shop();
    let host = up_with(&stack);
    stack.services.get_mut("app").unwrap().pull_policy = PullPolicy::Always;
    stack.services.get_mut("db").unwrap().pull_policy = PullPolicy::Every(3600);
    stack.services.get_mut("web").unwrap().image = Some("localhost/host".into());
    stack.services.get_mut("web").unwrap().pull_policy = PullPolicy::Always;
    let desired = desired(&stack);
    let pulls = |options: &UpOptions, now| {
        pulls(&desired, &up::covered(&desired, options).unwrap(), &host.observed, now, false)
    };
    assert_snapshot!(pulls(&UpOptions::default(), 3599), @"
    pull  image app:1
    Plan: 1 pull
    ");
    assert_snapshot!(pulls(&UpOptions::default(), 3600), @"
    pull  image app:1
    pull  image postgres:17
    Plan: 2 pull
    ");
    let services = vec!["app".to_owned()];
    let named = UpOptions { services, ..UpOptions::default() };
    assert_eq!(pulls(&named, 3600).steps.len(), 2, "what it depends on is pulled too");
    assert_snapshot!(pulls(&UpOptions { no_deps: true, ..named }, 3600), @"
    pull  image app:1
    Plan: 1 pull
    ");
    let once = |no_deps| {
        let options = RunOptions { service: "app".into(), no_deps, ..RunOptions::default() };
        run::covered(&desired, &options).unwrap()
    };
    assert_eq!([once(false), once(true)], [["app", "db"].into(), ["app"].into()]);
}

#[test]
fn the_host_image_is_never_pulled() {
    let stack = with([("app", service("localhost/host"))]);
    let plan = up(&desired(&stack), &Observed::default(), &UpOptions::default(), &stack.places);
    assert_snapshot!(plan.unwrap(), @"
    create  network shop_default  172.18.0.0/16
    create  app-1                 localhost/host
    Plan: 2 create
    ");
}

#[test]
fn two_hundred_services_come_up_and_stay_as_they_are() {
    let stack = many(200);
    let host = up_with(&stack);
    let desired: Desired = desired(&stack);
    let begin = Instant::now();
    let plan = up(&desired, &host.observed, &UpOptions::default(), &stack.places).unwrap();
    eprintln!("nothing to do for 200 containers: planned in {:?}", begin.elapsed());
    assert!(plan.is_empty());
    assert_eq!(plan.unchanged, 201);
}

fn many(count: usize) -> Stack {
    let mut stack = with([("s0", service("app:1"))]);
    for number in 1..count {
        let mut service = service("app:1");
        let on = format!("s{}", number / 2);
        service.depends_on.insert(on, dependency(Condition::ServiceStarted));
        service.environment.insert("NUMBER".into(), Some(number.to_string()));
        stack.services.insert(format!("s{number}"), service);
    }
    stack.services.get_mut("s1").unwrap().depends_on.clear();
    stack
}
