//! What `plan --diff` prints.

use berth_planner::views::diff;

use super::views::{changed, told};
use super::*;

#[test]
fn a_difference_has_what_is_around_it_and_its_place() {
    let (host, stack) = changed();
    let plan = plan(&stack, &host);
    assert_snapshot!(diff::diff(&plan, &host.observed, &stack.places), @r#"
    replace db-1
    --- services.db (applied)
    +++ services.db (wanted)
    @@ -1,8 +1,10 @@
     environment:
    +  MODE: "fast"  # shop.yaml:9:13
     healthcheck: {}
     image: "postgres:17"
     ipc: "private"
     limits:
    +  memory: "1 GiB"
     logging:
       driver: "local"
       max_size: 10485760
    "#);
}

#[test]
fn what_a_plan_hides_is_hidden_in_a_difference_also_where_nothing_differs() {
    let mut stack = shop();
    let app = stack.services.get_mut("app").unwrap();
    app.environment.insert("URL".into(), Some("db://shop:hunter2@db/shop".into()));
    app.environment.insert("API_TOKEN".into(), Some("hunter3".into()));
    app.environment.insert("A_FLAG".into(), None);
    app.command = Some(vec!["serve".into(), "--password=hunter4".into()]);
    let created = plan(&stack, &FakeHost::new());
    let host = up_with(&stack);
    let app = stack.services.get_mut("app").unwrap();
    app.environment.insert("DB_PASSWORD".into(), Some("hunter5".into()));
    app.environment.insert("B_FLAG".into(), Some("1".into()));
    app.command = Some(vec!["serve".into(), "--password=hunter6".into()]);
    let changed = plan(&stack, &host);
    let text = diff::diff(&changed, &host.observed, &stack.places);
    assert_snapshot!(text, @r#"
    replace app-1
    --- services.app (applied)
    +++ services.app (wanted)
    @@ -1,4 +1,4 @@
    -command: (hidden)
    +command: (hidden)
     depends_on:
       db:
         condition: "service_healthy"
    @@ -6,7 +6,8 @@
     environment:
       API_TOKEN: (hidden)
       A_FLAG: (unset)
    +  B_FLAG: "1"
    -  DB_PASSWORD: (hidden)
    +  DB_PASSWORD: (hidden)
       LOG: "info"
       URL: (hidden)
     image: "app:1"
    "#);
    let first = diff::diff(&created, &Observed::default(), &stack.places);
    assert!(!(text + &first).contains("hunter"), "{first}");
    assert_snapshot!(first.lines().filter(|line| line.contains("(hidden)")).collect::<Vec<_>>().join("\n"), @r"
    +command: (hidden)
    +  API_TOKEN: (hidden)
    +  DB_PASSWORD: (hidden)
    +  URL: (hidden)
    ");
}

#[test]
fn what_is_made_has_no_other_side_and_what_goes_neither() {
    let stack = with([("job", service("job:1"))]);
    let created = plan(&stack, &FakeHost::new());
    assert_snapshot!(diff::diff(&created, &Observed::default(), &stack.places), @r#"
    create network shop_default
    create job-1
    --- /dev/null
    +++ services.job (wanted)
    @@ -0,0 +1,13 @@
    +image: "job:1"
    +ipc: "private"
    +logging:
    +  driver: "local"
    +  max_size: 10485760
    +  max_files: 3
    +network_mode: "bridge"
    +networks:
    +  shop_default: {}
    +pid: "private"
    +restart: "no"
    +userns: true
    +uts: "private"
    "#);
    assert_snapshot!(told("job", &stack, &FakeHost::new(), &created), @r"
    create job-1
      ← missing
    pull image job:1
      ← missing
    create network shop_default
      ← missing
    steps (2 of 4)
      2 create job-1
      3 start job-1
    ");
    let host = up_with(&stack);
    let gone = down("shop", &host.observed, &DownOptions::default()).unwrap();
    assert_snapshot!(diff::diff(&gone, &host.observed, &stack.places), @r#"
    remove job-1: as asked
    --- services.job (applied)
    +++ /dev/null
    @@ -1,13 +0,0 @@
    -image: "job:1"
    -ipc: "private"
    -logging:
    -  driver: "local"
    -  max_size: 10485760
    -  max_files: 3
    -network_mode: "bridge"
    -networks:
    -  shop_default: {}
    -pid: "private"
    -restart: "no"
    -userns: true
    -uts: "private"
    remove network shop_default: as asked
    "#);
}

#[test]
fn containers_that_differ_alike_are_one_difference() {
    let mut job = service("job:1");
    job.replicas = 3;
    job.command = Some(vec!["a".into(), "b".into(), "c".into()]);
    let mut stack = with([("job", job)]);
    let mut host = up_with(&stack);
    stack.services.get_mut("job").unwrap().command =
        Some(["a", "x", "y", "c"].map(String::from).to_vec());
    stack.places.insert("services.job.command", place(4, 14));
    host.observed.images.get_mut("job:1").unwrap().id = "sha256:abcdef0123456789".into();
    assert_snapshot!(diff::diff(&plan(&stack, &host), &host.observed, &stack.places), @r#"
    replace job-1, job-2, job-3: image 1 → abcdef012345
    --- services.job (applied)
    +++ services.job (wanted)
    @@ -1,6 +1,7 @@
     command:
       - "a"
    -  - "b"
    +  - "x"  # shop.yaml:4:14
    +  - "y"
       - "c"
     image: "job:1"
     ipc: "private"
    "#);
}

#[test]
fn a_container_that_takes_over_is_one_difference_to_the_one_before() {
    let mut stack = shop();
    let update = Some(Rollout { order: Some(RolloutOrder::StartFirst), ..Rollout::default() });
    let app = stack.services.get_mut("app").unwrap();
    app.deploy = Some(Box::new(Deploy { update, ..Deploy::default() }));
    let host = up_with(&stack);
    let app = stack.services.get_mut("app").unwrap();
    app.environment.insert("LOG".into(), Some("debug".into()));
    let plan = plan(&stack, &host);
    assert_snapshot!(diff::diff(&plan, &host.observed, &stack.places), @r#"
    replace app-1-b: start-first as the file says: no gap; takes over from `shop-app-1`
    --- services.app (applied)
    +++ services.app (wanted)
    @@ -4,7 +4,7 @@ depends_on.db
         required: true
     environment:
       DB_PASSWORD: (hidden)
    -  LOG: "info"
    +  LOG: "debug"
     image: "app:1"
     ipc: "private"
     logging:
    "#);
}

#[test]
fn a_label_called_content_is_shown_whole() {
    let mut stack = shop();
    let host = up_with(&stack);
    let text = "a text of more than nineteen letters";
    let app = stack.services.get_mut("app").unwrap();
    app.labels.insert("page.content".into(), text.into());
    let plan = plan(&stack, &host);
    assert!(diff::diff(&plan, &host.observed, &stack.places).contains(text));
    assert!(plan.to_string().contains(text), "{plan}");
}
