//! What happens to a service whose new containers do not become good, and in which order its
//! containers are replaced.

use berth_tests::TestHost;
use berth_tests::machine::Place;

const JOURNAL: &str = "/var/lib/berth/projects/stack/journal.ndjson";

/// Three that answer, how they are replaced, and one that asks them.
fn host_with(update: &str) -> TestHost {
    let stack = format!(
        "
services:
  web:
    image: localhost/host
    command: [sh, /srv/web.sh, '8001']
    volumes: ['.:/srv:ro', './shared:/shared']
    deploy:
      replicas: 3
      update_config: {{ {update} }}
    x-berth: {{ ready: {{ tcp: 8000, interval: 50ms, retries: 100 }} }}
  other:
    image: localhost/host
    command: [sleep, '100000']
    volumes: ['.:/srv:ro']
"
    );
    let files = [
        ("web.sh", include_str!("rollouts/web.sh")),
        ("version.py", include_str!("rolling/version.py")),
        ("hammer.py", include_str!("live_network/hammer.py")),
    ];
    TestHost::serving(&stack, "web", &files)
}

fn change(host: &TestHost, to: &str) {
    change_from(host, "'8001'", to);
}

fn change_from(host: &TestHost, from: &str, to: &str) {
    host.edit("compose.yaml", from, to);
}

/// What each replica answers, in order.
fn versions(host: &TestHost) -> String {
    let ask = "for n in 1 2 3; do curl -sS --max-time 5 http://stack-web-$n:8000/; done";
    let answers = host.berth(&format!("exec -T other sh -c '{ask}'"));
    answers.stdout.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Names of the containers of `web`.
fn containers(host: &TestHost) -> String {
    let listed = host.berth("ps -a --format {{.Names}} web").succeeds().stdout;
    let mut names: Vec<&str> = listed.lines().filter_map(|n| n.strip_prefix("stack-")).collect();
    names.sort();
    names.join(" ")
}

/// The newest generation, how it stands, and what of it was taken back.
#[track_caller]
fn taken_back(host: &TestHost) -> String {
    let folder = "/var/lib/berth/projects/stack/generations";
    let newest = format!("cat {folder}/$(ls {folder} | sort -n | tail -n 1)/record.json");
    let newest = host.shell(&newest).succeeds().stdout;
    let newest: serde_json::Value = serde_json::from_str(&newest).expect("a generation");
    let words = newest["standing"].as_str().expect("how it stands");
    format!("{} {words} {}", newest["number"], newest["rejected"])
}

/// The place of a line of the journal that has both words.
#[track_caller]
fn at(journal: &str, what: &str, step: &str) -> usize {
    let found = journal.lines().position(|line| line.contains(what) && line.contains(step));
    found.unwrap_or_else(|| panic!("no {what} of {step} in\n{journal}"))
}

#[test]
fn a_version_that_fails_at_the_second_of_three_is_rolled_back_and_no_request_fails() {
    let host = host_with("order: start-first, failure_action: rollback");
    let hammer = host.start_berth("exec -T other python3 /srv/hammer.py web 8000 1000");
    // It reads the file that is changed next.
    hammer.prints("begins");
    change(&host, "'8002', second");

    host.berth("up -d")
        .fails_with(6)
        .stderr_has("`stack-web-2-b` exited (3); its last lines:")
        .stderr_has("no table called orders")
        .stderr_has("rolled back: `web` is 3 containers of image `localhost/host` as before");
    assert_eq!(versions(&host), "8001 8001 8001");
    assert_eq!(containers(&host), "web-1 web-2 web-3");
    assert_eq!(taken_back(&host), "2 failed [\"web\"]");
    host.berth("history").succeeds().stdout_has("failed");
    host.write("done", "");
    let ended = hammer.ends().succeeds();
    let counts: Vec<u32> = ended.stdout.split_whitespace().map(|n| n.parse().unwrap()).collect();
    assert!(counts[0] > 0 && counts[2] == 0, "{counts:?} {}", ended.stderr);

    // What names another service only leaves it so.
    host.berth("up -d other").succeeds();
    assert_eq!(taken_back(&host), "2 failed [\"web\"]");
    // The third attempt at a start of it finds all there is.
    host.berth("up -d --retry").succeeds();
    assert_eq!(versions(&host), "8002 8002 8002");
    assert_eq!(taken_back(&host), "2 stable null");
    host.berth("plan --detailed-exitcode").fails_with(0);
}

#[test]
fn one_that_stops_first_is_kept_and_starts_again_when_the_new_one_fails() {
    let host = host_with("order: stop-first, failure_action: rollback");
    let before = host.shell("cat /run/berth/containers/stack-web-2/bundle.json").stdout;
    change(&host, "'8002', second");

    host.berth("up -d").fails_with(6).stderr_has("no table called orders");
    assert_eq!(versions(&host), "8001 8001 8001");
    assert_eq!(containers(&host), "web-1 web-2 web-3");
    let id =
        |bundle: &str| serde_json::from_str::<serde_json::Value>(bundle).unwrap()["id"].clone();
    let after = host.shell("cat /run/berth/containers/stack-web-2/bundle.json").stdout;
    assert_eq!(id(&before), id(&after), "it is the same container");
}

#[test]
fn one_that_ends_while_it_is_watched_is_rolled_back() {
    let host = host_with("order: start-first, failure_action: rollback, monitor: 20s");
    host.edit("compose.yaml", "    deploy:", "    restart: always\n    deploy:");
    host.berth("up -d").succeeds();
    change(&host, "'8002', loop");

    host.berth("up -d")
        .fails_with(6)
        .stderr_has("`stack-web-1-b` exited (4)")
        .stderr_has("out of orders");
    assert_eq!(versions(&host), "8001 8001 8001");
}

#[test]
fn a_failure_leaves_the_rest_on_the_version_before() {
    let host = host_with("order: start-first");
    change(&host, "'8002', second");

    host.berth("up -d").fails_with(3).stderr_has("no table called orders");
    assert_eq!(versions(&host), "8002 8001 8001");
    assert_eq!(containers(&host), "web-1 web-1-b web-2 web-2-b web-3 web-3-b");

    host.berth("up -d").succeeds();
    assert_eq!(versions(&host), "8002 8002 8002");
    assert_eq!(containers(&host), "web-1-b web-2-b web-3-b");
}

#[test]
fn a_failure_that_may_be_does_not_keep_the_others_from_their_turn() {
    for (round, may) in ["failure_action: continue", "max_failure_ratio: 0.4"].iter().enumerate() {
        let host = host_with(&format!("order: start-first, {may}"));
        change(&host, "'8002', second");

        host.berth("up -d").fails_with(5).stderr_has("no table called orders");
        assert_eq!(versions(&host), "8002 8001 8002", "{round}");
        assert_eq!(containers(&host), "web-1-b web-2 web-2-b web-3-b");
    }
}

#[test]
fn two_at_a_time_are_replaced_together_and_the_next_when_both_are_good() {
    for order in ["start-first", "stop-first"] {
        let host = host_with(&format!("order: {order}, parallelism: 2, delay: 100ms, monitor: 0s"));
        host.edit("compose.yaml", "replicas: 3", "replicas: 4");
        host.berth("up -d").succeeds();
        change(&host, "'8002', pairs");

        host.berth("up -d").succeeds();
        let journal = host.shell(&format!("cat {JOURNAL}")).stdout;
        let (begins, good, new) = match order {
            "start-first" => ("launch_container", "promote_container", "-b"),
            _ => ("stop_container", "prove_container", ""),
        };
        for first in [1, 2] {
            for next in [3, 4] {
                let good = at(&journal, "done", &format!("{good} stack-web-{first}{new}\""));
                let begins = at(&journal, "start", &format!("{begins} stack-web-{next}{new}\""));
                assert!(good < begins, "{next} before {first} is good\n{journal}");
            }
        }
        assert_eq!(versions(&host), "8002 8002 8002");
    }
}

#[test]
fn what_was_rejected_is_not_tried_again_unless_asked_for() {
    let host = host_with("order: start-first, failure_action: rollback");
    host.berth("plan").succeeds().stdout_has("Stack stack: 4 containers run, generation 1; ");
    change(&host, "'8002', second");
    host.berth("plan").succeeds().stdout_has(", generation 1 → 2; ");
    host.berth("up -d").fails_with(6).stderr_has("`berth up --retry` tries just this again");
    let pids = || ["web", "other"].map(|service| host.pid_of(service));
    let (before, journal) = (pids(), host.shell(&format!("cat {JOURNAL}")).stdout);

    // Said before anything is touched, by `up`, and by `plan` beside what it would be.
    for words in
        ["up -d", "up -d web", "up -d --scale web=4", "--dry-run up -d", "create", "plan -o x.plan"]
    {
        host.berth(words)
            .fails_with(9)
            .stderr_has("no table called orders")
            .stderr_has("just this was rejected before: `web` in generation 2, tried at 2")
            .stderr_has("help: change `web`, or what it depends on; `berth up --retry` tries");
    }
    for words in ["plan", "plan --detailed-exitcode", "plan --json"] {
        host.berth(words)
            .fails_with(9)
            .stdout_has("web-1-b")
            .stdout_lacks("Next:")
            .stderr_has("just this was rejected before: `web` in generation 2");
    }
    host.shell("ls x.plan").fails_with(2);
    assert_eq!(pids(), before);
    assert_eq!(host.shell(&format!("cat {JOURNAL}")).stdout, journal, "no step was begun");
    // What makes nothing of it is not held up.
    host.berth("up -d other").succeeds();
    host.berth("up -d --no-recreate").succeeds();

    // Another description is another try, and so is another manner.
    change_from(&host, "'8002', second", "'8003'");
    host.berth("up -d").succeeds();
    assert_eq!(versions(&host), "8003 8003 8003");
    change_from(&host, "'8003'", "'8002', second");
    host.berth("up -d").fails_with(9).stderr_has("`web` in generation 2");
    host.berth("plan --retry --detailed-exitcode")
        .fails_with(2)
        .stdout_has("Next: berth up --retry");
    host.edit("compose.yaml", "failure_action: rollback", "failure_action: pause");
    host.berth("plan --detailed-exitcode").fails_with(2);
    host.edit("compose.yaml", "failure_action: pause", "failure_action: rollback");

    // The third attempt at a start of it finds all there is: from then on it was good.
    host.berth("up -d --retry").succeeds();
    assert_eq!(versions(&host), "8002 8002 8002");
    change_from(&host, "'8002', second", "'8001'");
    host.berth("up -d").succeeds();
    change_from(&host, "'8001'", "'8002', second");
    host.berth("plan --detailed-exitcode").fails_with(2);
}

#[test]
fn a_rollback_that_is_killed_is_no_dead_end() {
    let host = host_with("order: start-first, failure_action: rollback");
    change(&host, "'8002', second");
    let seen = format!("grep -q 'start.*launch_container stack-web-1\"' {JOURNAL} 2>/dev/null");
    let up = format!(
        "rm -f {JOURNAL}; $berth up -d & pid=$!; \
         while [ -e /proc/$pid/exe ]; do {seen} && kill -9 $pid && break; done; wait $pid"
    );
    host.start_shell(Place::Inside, &up).ends().fails_with(137);
    assert!(!versions(&host).is_empty(), "nobody answers");

    host.berth("up -d").succeeds();
    assert_eq!(versions(&host), "8002 8002 8002");
    host.berth("plan --detailed-exitcode").fails_with(0);
}

#[test]
fn one_that_never_becomes_good_is_given_up_at_its_deadline() {
    let host = host_with("order: start-first, failure_action: rollback");
    host.edit("compose.yaml", "retries: 100 } }", "retries: 100000 }, deadline: 2s }");
    change(&host, "'8002', deaf");

    host.berth("up -d").fails_with(6).stderr_has("`stack-web-1-b` is not healthy after 2 s");
    assert_eq!(versions(&host), "8001 8001 8001");
    assert_eq!(containers(&host), "web-1 web-2 web-3");
}

#[test]
fn an_order_that_the_file_does_not_say_is_chosen_and_told() {
    let text = "
services:
  web: { image: 'busybox:1', command: [sleep, '100000'], restart: always, stop_grace_period: 0s, environment: { A: one } }
  db: { image: 'busybox:1', command: [sleep, '100000'], restart: always, stop_grace_period: 0s, environment: { A: one }, volumes: ['data:/data'] }
volumes: { data: {} }
";
    let host = TestHost::with("compose.yaml", text);
    host.berth("up -d --order auto").succeeds();
    host.write("compose.yaml", &text.replace("A: one", "A: two"));
    host.berth("plan").succeeds().stdout_lacks("-first");
    host.berth("plan --order auto -o order.plan")
        .succeeds()
        .stdout_has("start-first, as nothing stands in the way: no gap")
        .stdout_has("stop-first, as both would write to volume `stack_data`: gap expected");
    // What was looked at is what is done.
    host.berth("up -d order.plan").succeeds();
    let names = host.berth("ps -a --format {{.Names}}").succeeds().stdout;
    let mut names: Vec<&str> = names.lines().collect();
    names.sort();
    assert_eq!(names, ["stack-db-1", "stack-web-1-b"]);
    host.berth("plan --order auto --detailed-exitcode").fails_with(0);
    host.berth("plan --detailed-exitcode").fails_with(0);

    host.write("compose.yaml", &text.replace("A: one", "A: three"));
    host.berth("plan --order auto").succeeds().stdout_has("Next: berth up --order auto");
    host.berth("up -d --order stop-first").succeeds();
    host.berth("plan --detailed-exitcode").fails_with(0);
    host.berth("up -d --order sideways").fails_with(64).stderr_has("`sideways` is no order");
}
