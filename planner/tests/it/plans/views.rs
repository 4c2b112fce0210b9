//! What `plan --ops`, `--graph`, `--diff` and `--why` print, and `graph`.

use berth_planner::views::page::{Page, page};
use berth_planner::views::why::{Scene, why};
use berth_planner::views::{Language, graph, ops, stack as whole};

use super::*;

/// The shop on a host where it is up, with a data store that restarts its application.
pub(super) fn changed() -> (FakeHost, Stack) {
    let mut stack = shop();
    let app = stack.services.get_mut("app").unwrap();
    app.depends_on.get_mut("db").unwrap().restart = true;
    let host = up_with(&stack);
    let db = stack.services.get_mut("db").unwrap();
    db.environment.insert("MODE".into(), Some("fast".into()));
    db.limits.memory = Some(1 << 30);
    stack.places.insert("services.db.environment.MODE", place(9, 13));
    (host, stack)
}

pub(super) fn told(service: &str, stack: &Stack, host: &FakeHost, plan: &Plan) -> String {
    let desired = desired(stack);
    let (observed, places) = (&host.observed, &stack.places);
    why(service, &Scene { plan, desired: Some(&desired), observed, places })
}

#[test]
fn operations_have_numbers_and_what_they_wait_for() {
    let (mut host, stack) = changed();
    host.observed.leftovers.insert(Leftover::Cgroup("berth/x".into()));
    let plan = plan(&stack, &host);
    assert_snapshot!(ops::ops(&plan), @r"
    0  remove cgroup berth/x                      left half made by a crash
    1  stop app-1             after the end of 0  `db` restarts
    2  stop db-1              after 1             changed
    3  remove db-1            after 2             changed
    4  create db-1            after 3             changed
    5  start db-1             after 4             changed
    6  await db-1 (healthy)   after 5             `app` waits for it
    7  start app-1            after 1, 6          `db` restarts
    Plan: 1 replace, 1 restart, 1 remove, 4 unchanged
    ");
    assert_snapshot!(ops::ops(&Plan::default()), @"nothing to do");
}

#[test]
fn a_graph_tells_the_two_kinds_of_waiting_apart() {
    let (mut host, stack) = changed();
    host.observed.leftovers.insert(Leftover::Cgroup("berth/x".into()));
    let plan = plan(&stack, &host);
    assert_snapshot!(graph::graph(&plan, Language::Dot), @r#"
    // an arrow leads from a step to one that waits for its success, a dashed one for its end
    digraph {
      rankdir=LR;
      node [shape=box];
      n0 [label="0 remove cgroup berth/x"];
      n1 [label="1 stop app-1"];
      n2 [label="2 stop db-1"];
      n3 [label="3 remove db-1"];
      n4 [label="4 create db-1"];
      n5 [label="5 start db-1"];
      n6 [label="6 await db-1 (healthy)"];
      n7 [label="7 start app-1"];
      n0 -> n1 [style=dashed, label="ended"];
      n1 -> n2;
      n2 -> n3;
      n3 -> n4;
      n4 -> n5;
      n5 -> n6;
      n1 -> n7;
      n6 -> n7;
    }
    "#);
    assert_snapshot!(graph::graph(&plan, Language::Mermaid), @r#"
    %% an arrow leads from a step to one that waits for its success, a dashed one for its end
    flowchart LR
      n0["0 remove cgroup berth/x"]
      n1["1 stop app-1"]
      n2["2 stop db-1"]
      n3["3 remove db-1"]
      n4["4 create db-1"]
      n5["5 start db-1"]
      n6["6 await db-1 (healthy)"]
      n7["7 start app-1"]
      n0 -.->|"ended"| n1
      n1 --> n2
      n2 --> n3
      n3 --> n4
      n4 --> n5
      n5 --> n6
      n1 --> n7
      n6 --> n7
    "#);
}

#[test]
fn a_cause_is_followed_to_where_it_comes_from() {
    let (host, stack) = changed();
    let plan = plan(&stack, &host);
    assert_snapshot!(told("app", &stack, &host, &plan), @r#"
    restart app-1
      ← follows: `db` restarts
        replace db-1
          ← edit: changed
            environment.MODE — → "fast" (shop.yaml:9:13): replace
            limits.memory — → "1 GiB": live
    steps (2 of 7)
      0 stop app-1
      6 start app-1
    "#);
    assert_snapshot!(told("db", &stack, &host, &plan), @r#"
    replace db-1
      ← edit: changed
        environment.MODE — → "fast" (shop.yaml:9:13): replace
        limits.memory — → "1 GiB": live
    steps (5 of 7)
      1 stop db-1
      2 remove db-1
      3 create db-1
      4 start db-1
      5 await db-1 (healthy)
    "#);
    assert_snapshot!(told("web", &stack, &host, &plan), @r"
    keep web-1
      it runs
      its description is the one that was applied
      nginx:1.27 is still the image it was made from (1.27)
      `app` begins anew; who is to follow says `depends_on.app.restart: true`
    ");
}

#[test]
fn a_chain_through_a_network_ends_at_its_field() {
    let host = up_with(&shop());
    let mut stack = shop();
    stack.networks.get_mut("back").unwrap().internal = true;
    stack.places.insert("networks.back", place(29, 3));
    stack.places.insert("networks.back.internal", place(30, 15));
    assert_snapshot!(told("app", &stack, &host, &plan(&stack, &host)), @r"
    replace app-1
      ← follows: network `shop_back` is made anew
        replace network shop_back
          ← edit: changed
            internal false → true (shop.yaml:30:15)
    steps (4 of 11)
      0 stop app-1
      3 remove app-1
      8 create app-1
      10 start app-1
    ");
}

#[test]
fn what_stays_is_told_with_what_was_compared() {
    let mut host = up_with(&shop());
    let mut stack = shop();
    let db = stack.services.get_mut("db").unwrap();
    db.image = Some("postgres:18".into());
    let options = UpOptions { no_recreate: true, ..UpOptions::default() };
    let keeping = plan_with(&stack, &host, &options);
    assert_snapshot!(told("db", &stack, &host, &keeping), @r#"
    keep db-1
      it runs and is healthy
      its description differs, and this plan leaves that
        image "postgres:17" → "postgres:18"
    "#);
    let replacing = plan(&stack, &host);
    assert_snapshot!(told("app", &stack, &host, &replacing), @r"
    keep app-1
      it runs
      its description is the one that was applied
      app:1 is still the image it was made from (1)
      `db` begins anew; who is to follow says `depends_on.db.restart: true`
    ");
    stack.services.get_mut("web").unwrap().replicas = 0;
    stack.inactive.push("debug".into());
    host.observed.containers.remove("shop-web-1");
    assert_snapshot!(told("web", &stack, &host, &plan(&stack, &host)), @r"
    nothing to do for web
      no container of it is wanted
    ");
    assert_snapshot!(told("debug", &stack, &host, &plan(&stack, &host)), @r"
    nothing to do for debug
      its profiles switch it off
    ");
    let scene =
        Scene { plan: &keeping, desired: None, observed: &host.observed, places: &stack.places };
    assert_snapshot!(why("cache", &scene), @r"
    nothing to do for cache
      it has no container
    ");
}

#[test]
fn what_drifted_is_told_apart_from_what_was_edited() {
    let mut host = up_with(&shop());
    let mut stack = shop();
    stack.services.get_mut("app").unwrap().labels.insert("tier".into(), "web".into());
    host.observed.images.get_mut("app:1").unwrap().id = "sha256:abcdef0123456789".into();
    let web = host.observed.containers.get_mut("shop-web-1").unwrap();
    web.state = ContainerState::Exited { exit_code: 3, finished_at: 0 };
    let plan = plan(&stack, &host);
    assert_snapshot!(told("app", &stack, &host, &plan), @r#"
    replace app-1
      ← edit: changed
        labels.tier — → "web": meta
      ← drift: image 1 → abcdef012345
    steps (4 of 5)
      0 stop app-1
      1 remove app-1
      2 create app-1
      3 start app-1
    "#);
    assert_snapshot!(told("web", &stack, &host, &plan), @r"
    start web-1
      ← drift: exited with 3
    steps (1 of 5)
      4 start web-1
    ");
}

#[test]
fn a_stack_is_shown_in_the_order_of_its_starts() {
    let mut stack = shop();
    let mut probe = service("probe:1");
    probe.networks.clear();
    probe.network_mode = Some(NetworkMode::Service("app".into()));
    probe.pid = PidMode::Container("elsewhere".into());
    stack.services.insert("probe".into(), probe);
    let web = stack.services.get_mut("web").unwrap();
    web.replicas = 2;
    web.depends_on.get_mut("app").unwrap().required = false;
    let secret = FileMount {
        source: "key".into(),
        target: "/run/secrets/key".into(),
        uid: None,
        gid: None,
        mode: None,
    };
    web.secrets.push(secret);
    assert_snapshot!(whole::text(&stack), @r"
    shop
    1  db     postgres:17
                networks back
                volumes data (/data)
    2  app    app:1
                after db (healthy)
                networks back, default
    3  probe  probe:1
                in the network of app
                among the processes of container:elsewhere
       web    nginx:1.27 ×2
                after app (started, optional)
                networks default
                secrets key
    ");
    assert_snapshot!(whole::graph(&stack, Language::Dot), @r#"
    // an arrow leads from a service to what it needs: dashed to what it only has
    digraph {
      rankdir=LR;
      node [shape=box];
      n0 [label="app: app:1"];
      n1 [label="db: postgres:17"];
      n2 [label="probe: probe:1"];
      n3 [label="web: nginx:1.27 ×2"];
      n4 [label="network back", shape=ellipse];
      n5 [label="network default", shape=ellipse];
      n6 [label="volume data", shape=cylinder];
      n7 [label="container elsewhere"];
      n8 [label="secret key", shape=note];
      n0 -> n1 [label="healthy"];
      n0 -> n4 [style=dashed];
      n0 -> n5 [style=dashed];
      n1 -> n4 [style=dashed];
      n1 -> n6 [style=dashed, label="/data"];
      n2 -> n0 [label="network"];
      n2 -> n7 [label="processes"];
      n3 -> n0 [label="started, optional"];
      n3 -> n5 [style=dashed];
      n3 -> n8 [style=dashed];
    }
    "#);
    assert_snapshot!(whole::graph(&stack, Language::Mermaid), @r#"
    %% an arrow leads from a service to what it needs: dashed to what it only has
    flowchart LR
      n0["app: app:1"]
      n1["db: postgres:17"]
      n2["probe: probe:1"]
      n3["web: nginx:1.27 ×2"]
      n4(["network back"])
      n5(["network default"])
      n6[("volume data")]
      n7["container elsewhere"]
      n8>"secret key"]
      n0 -->|"healthy"| n1
      n0 -.-> n4
      n0 -.-> n5
      n1 -.-> n4
      n1 -.->|"/data"| n6
      n2 -->|"network"| n0
      n2 -->|"processes"| n7
      n3 -->|"started, optional"| n0
      n3 -.-> n5
      n3 -.-> n8
    "#);
}

#[test]
fn what_a_file_says_of_a_dependency_is_shown_also_where_something_is_shared() {
    let told = |on: Option<Dependency>| {
        let mut stack = shop();
        let mut probe = service("probe:1");
        (probe.networks, probe.network_mode) =
            (Default::default(), Some(NetworkMode::Service("app".into())));
        probe.depends_on.extend(on.map(|on| ("app".to_owned(), on)));
        stack.services.insert("probe".into(), probe);
        let text = whole::text(&stack);
        let lines = text.lines().filter(|line| line.contains("after app")).map(str::trim);
        lines.collect::<Vec<_>>().join(", ")
    };
    let started = |restart, required| {
        Some(Dependency { restart, required, ..dependency(Condition::ServiceStarted) })
    };
    let of_web = "after app (started)";
    assert_eq!(told(None), of_web);
    assert_eq!(told(started(true, true)), of_web);
    assert_eq!(
        told(started(true, false)),
        format!("after app (started, restart, optional), {of_web}")
    );
    assert_eq!(told(started(false, true)), format!("after app (started), {of_web}"));
}

#[test]
fn a_page_tells_edits_and_drift_apart_and_what_they_cost() {
    let (mut host, mut stack) = changed();
    stack.services.get_mut("app").unwrap().labels.insert("tier".into(), "web".into());
    host.observed.images.get_mut("app:1").unwrap().id = "sha256:abcdef0123456789".into();
    let web = host.observed.containers.get_mut("shop-web-1").unwrap();
    web.state = ContainerState::Exited { exit_code: 3, finished_at: 0 };
    stack.services.insert("mail".into(), service("mail:1"));
    let plan = plan(&stack, &host);
    let files = ["compose.yaml".to_owned(), ".env".to_owned()];
    let shown = |generation, next| {
        page(&Page { plan: &plan, observed: &host.observed, files: &files, generation, next })
    };
    assert_snapshot!(shown(Some((17, 18)), Some("berth up")), @r#"
    Stack shop: 2 of 3 containers run, generation 17 → 18; compose.yaml, .env
    Not on this host yet:
      pull     image mail:1
      create   mail-1        mail:1
    Edited since it was applied:
      replace  app-1         drift: image 1 → abcdef012345
                             labels.tier — → "web"
      replace  db-1          environment.MODE — → "fast" (shop.yaml:9:13)
                             limits.memory — → "1 GiB"
    Drifted since it was applied:
      start    web-1         exited with 3
    Plan: 1 create, 2 replace, 1 start, 1 pull, 3 unchanged
    Longest gap: app-1, up to 20s to stop, until db-1 is healthy, then its start
    No volume is lost
    Next: berth up
    "#);
    let text = shown(None, None);
    assert!(!text.contains("generation") && !text.contains("Next"), "{text}");
}

#[test]
fn a_page_names_what_is_lost_and_says_when_nothing_is_to_do() {
    let host = up_with(&shop());
    let options = DownOptions { volumes: true, ..DownOptions::default() };
    let gone = down("shop", &host.observed, &options).unwrap();
    let shown = |plan: &Plan| {
        let (files, next) = (&[][..], Some("berth down -v"));
        page(&Page { plan, observed: &host.observed, files, generation: Some((3, 3)), next })
    };
    assert_snapshot!(shown(&gone), @r"
    Stack shop: 3 containers run, generation 3
    As asked:
      remove  web-1
      remove  app-1
      remove  db-1
      remove  network shop_back
      remove  network shop_default
      remove  volume shop_data
    Plan: 6 remove
    Lost for good: volume shop_data
    Next: berth down -v
    ");
    assert_snapshot!(shown(&plan(&shop(), &host)), @r"
    Stack shop: 3 containers run, generation 3
    nothing to do
    ");
}
