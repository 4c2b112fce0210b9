//! What was applied is remembered, told, and gone back to, also when nothing of it is left elsewhere.

use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

use berth_tests::{TestHost, images};
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use serde_json::Value;

const SHOP: &str = "
services:
  web:
    image: app:1
    command: [sleep, '100000']
    stop_grace_period: 1s
    env_file: app.env
    environment: { API_TOKEN: hunter2 }
    configs: [settings]
    secrets: [token]
  idle:
    image: busybox:1
    command: [sleep, '100000']
    stop_grace_period: 1s
configs:
  settings: { file: settings.conf }
secrets:
  token: { file: token.txt }
";

/// The shop, not up yet.
fn shop() -> TestHost {
    let host = TestHost::with("compose.yaml", SHOP);
    host.write("app.env", "LEVEL=1\n");
    host.write("settings.conf", "port = 1\n");
    host.write("token.txt", "s3cr3t-token\n");
    host.berth("image tag busybox:1 app:1").succeeds();
    host
}

/// Gives `app:1` another image, in which `/version` says so.
#[track_caller]
fn next_image(host: &TestHost, version: u32) {
    host.berth(&format!("-p stack exec -T web sh -c 'echo {version} >/version'")).succeeds();
    host.berth("-p stack commit web app:1").succeeds();
}

#[track_caller]
fn numbers(host: &TestHost) -> Vec<u64> {
    let listed = host.berth("-p stack history -q").succeeds().stdout;
    listed.lines().map(|line| line.parse().expect("a number")).collect()
}

/// The history as a program gets it, the newest first.
#[track_caller]
fn history(host: &TestHost) -> Vec<Value> {
    let listed = host.berth("-p stack history --format json").succeeds().stdout;
    listed.lines().map(|line| serde_json::from_str(line).expect("a row")).collect()
}

/// What is in the container of `web`: a variable, a config, a secret, and a file of its image.
#[track_caller]
fn inside(host: &TestHost) -> String {
    let look = "echo $LEVEL; cat /settings /run/secrets/token; cat /version 2>/dev/null || echo 1";
    host.berth(&format!("-p stack exec -T web sh -c '{look}'")).succeeds().stdout.replace('\n', ",")
}

#[test]
fn a_rollback_brings_everything_back_though_the_files_are_gone() {
    let host = shop();
    host.berth("up -d").succeeds();
    let idle = host.pid_of("idle");
    host.edit("app.env", "LEVEL=1", "LEVEL=2");
    host.edit("settings.conf", "1", "2");
    host.edit("compose.yaml", "hunter2", "hunter3");
    host.berth("up -d").succeeds();
    next_image(&host, 3);
    host.write("compose.yaml", &SHOP.replace("hunter2", "hunter3").replace("services:", "services:\n  more: { image: 'busybox:1', command: [sleep, '100000'], stop_grace_period: 1s }"));
    host.berth("up -d").succeeds();
    assert_eq!(inside(&host), "2,port = 2,s3cr3t-token,3,");

    assert_eq!(numbers(&host), [3, 2, 1]);
    host.berth("history")
        .succeeds()
        .stdout_has("GENERATION   APPLIED")
        .stdout_has("create web-1")
        .stdout_has("replace web-1")
        .stdout_has("app:1 (");
    let rows = history(&host);
    assert_eq!(rows[0]["Number"], 3);
    assert_eq!(rows[0]["Result"], "stable");
    assert_ne!(rows[0]["Images"]["web"], rows[2]["Images"]["web"]);
    assert_eq!(rows[0]["Images"]["idle"], rows[2]["Images"]["idle"]);
    host.berth("diff 1 3")
        .succeeds()
        .stdout_has("--- services.web (generation 1)\n+++ services.web (generation 3)\n@@ ")
        .stdout_has("-  LEVEL: \"1\"\n+  LEVEL: \"2\"\n")
        .stdout_has("-  API_TOKEN: (hidden)\n+  API_TOKEN: (hidden)\n")
        .stdout_has("-x-image: \"sha256:")
        .stdout_has("-x-content: \"sha256:")
        .stdout_has("--- /dev/null\n+++ services.more (generation 3)\n")
        .stdout_lacks("hunter")
        .stdout_lacks("services.idle");
    host.berth("diff 3").succeeds().stdout_is("");
    assert_eq!(host.berth("diff 2").stdout, host.berth("diff 2 3").stdout);

    // Neither secrets nor anything for others to read is in it.
    host.shell("grep -r s3cr3t-token /var/lib/berth/projects").fails_with(1);
    host.shell("find /var/lib/berth/projects/stack/generations -perm /077")
        .succeeds()
        .stdout_is("");

    host.shell("rm compose.yaml app.env settings.conf").succeeds();
    host.write("token.txt", "new-token\n");
    host.berth("--dry-run rollback 1").succeeds().stdout_has("replace").stdout_has("web-1");
    assert_eq!(numbers(&host), [3, 2, 1]);
    host.berth("rollback 1")
        .succeeds()
        .stderr_has("`stack` is the project that was applied from here")
        .stderr_has("from generation 3 to 1")
        .stderr_has("the secret at `/run/secrets/token` of `web` stays what it is now");
    assert_eq!(inside(&host), "1,port = 1,new-token,1,");
    assert_eq!(host.pid_of("idle"), idle, "what is the same is not touched");
    host.berth("-p stack ps -a").succeeds().stdout_lacks("more-1");
    host.berth("history").succeeds().stdout_has("rollback of 3 to 1").stdout_has("rolled back");
    host.berth("rollback").fails_with(1).stderr_has("no stable generation before");
    host.berth("rollback 9").fails_with(1).stderr_has("no generation 9").stderr_has("history");
    host.berth("rollback 2").succeeds();
    assert_eq!(inside(&host), "2,port = 2,new-token,1,");
    assert_eq!(numbers(&host), [5, 4, 3, 2, 1]);
    host.berth("rollback 5").succeeds().stderr_has("nothing to do");
    assert_eq!(numbers(&host), [5, 4, 3, 2, 1]);

    host.berth("-p stack down").succeeds();
    host.berth("-p stack rollback 5").succeeds();
    assert_eq!(inside(&host), "2,port = 2,new-token,1,");
    fs::remove_file(host.project("token.txt")).unwrap();
    host.berth("-p stack rollback 1").fails_with(65).stderr_has("token.txt");
    host.berth("-p stack down -v -y").succeeds();
    host.berth("-p stack rollback").fails_with(1).stderr_has("has no history");
}

#[test]
fn what_changes_nothing_is_no_generation_and_what_failed_is_gone_back_from() {
    let text = "
services:
  db:
    image: busybox:1
    command: [sleep, '100000']
    stop_grace_period: 1s
    healthcheck: { test: [CMD, 'true'], interval: 100ms, retries: 1 }
  web:
    image: busybox:1
    command: [sleep, '100000']
    stop_grace_period: 1s
    environment: { V: one }
    depends_on: { db: { condition: service_healthy } }
";
    let host = TestHost::with("compose.yaml", text);
    host.berth("--dry-run up -d").succeeds();
    host.berth("history").succeeds().stdout_lacks("create");
    host.berth("up -d").succeeds();
    let folder = host.machine().path("/var/lib/berth/projects/stack/generations");
    let seen = || {
        (numbers(&host), fs::metadata(folder.join("1/record.json")).unwrap().modified().unwrap())
    };
    let first = seen();
    host.berth("up -d").succeeds().stderr_has("nothing to do");
    host.berth("plan").succeeds();
    assert_eq!(seen(), first);
    // The same once more, after a run that is no `up`: a stop is no edit.
    for words in
        ["stop", "up -d", "restart web", "up -d", "up -d --force-recreate web", "down", "up -d"]
    {
        host.berth(words).succeeds();
        assert_eq!(numbers(&host), [1], "{words}");
    }

    host.edit("compose.yaml", "'true'", "'false'");
    // A check alone changes while `db` runs on, healthy until it says otherwise.
    host.edit("compose.yaml", "  db:\n", "  db:\n    environment: { V: zero }\n");
    host.edit("compose.yaml", "one", "two");
    let failed = host.berth("up -d");
    assert!(matches!(failed.code, 3 | 5), "{failed}");
    assert_eq!(numbers(&host), [2, 1]);
    let rows = history(&host);
    assert_eq!(rows[0]["Result"], "failed");
    assert!(rows[0]["Why"].to_string().contains("stack-db-1"), "{}", rows[0]);
    assert_ne!(host.berth("up -d").code, 0);
    assert_eq!(numbers(&host), [2, 1]);
    host.berth("rollback --wait").succeeds().stderr_has("from generation 2 to 1");
    host.berth("history").succeeds().stdout_has("rollback of 2 to 1");
    host.edit("compose.yaml", "'false'", "'true'");
    host.edit("compose.yaml", "    environment: { V: zero }\n", "");
    host.edit("compose.yaml", "two", "one");
    host.berth("plan --detailed-exitcode").fails_with(0);
    host.berth("up -d").succeeds();
    assert_eq!(numbers(&host), [3, 2, 1]);

    host.edit("compose.yaml", "'true'", "'false'");
    host.edit("compose.yaml", "  db:\n", "  db:\n    environment: { V: zero }\n");
    host.edit("compose.yaml", "service_healthy", "service_started");
    host.berth("up -d --wait").fails_with(5);
    let rows = history(&host);
    assert_eq!((&rows[0]["Number"], &rows[0]["Result"]), (&4.into(), &"failed".into()));

    host.berth("history --forget").succeeds().stderr_has("4 generations forgotten");
    host.berth("history -q").succeeds().stdout_is("");
    host.pid_of("web");
}

#[test]
fn one_service_alone_and_a_number_of_containers_are_what_was_applied() {
    let text = "
services:
  db: { image: 'busybox:1', command: [sleep, '100000'], stop_grace_period: 1s, environment: { V: one } }
  web: { image: 'busybox:1', command: [sleep, '100000'], stop_grace_period: 1s, environment: { V: one } }
";
    let host = TestHost::with("compose.yaml", text);
    let value = |service: &str| {
        host.berth(&format!("exec -T {service} sh -c 'echo $V'"))
            .succeeds()
            .stdout
            .trim()
            .to_owned()
    };
    host.berth("up -d").succeeds();
    host.write("compose.yaml", &text.replace("one", "two"));
    host.berth("up -d web").succeeds();
    host.berth("diff 1 2").succeeds().stdout_has("services.web").stdout_lacks("services.db");
    host.berth("up -d --scale web=2").succeeds();
    host.berth("diff 2 3").succeeds().stdout_has("services.db").stdout_has("+scale: 2");
    host.write("compose.yaml", &text.replace("one", "three"));
    host.berth("up -d --no-recreate").succeeds();
    host.berth("diff 3").succeeds().stdout_lacks("three");

    host.berth("rollback 2").succeeds();
    assert_eq!((value("db"), value("web")), ("one".into(), "two".into()));
    host.berth("ps").succeeds().stdout_lacks("web-2");
    host.berth("rollback 3").succeeds();
    assert_eq!((value("db"), value("web")), ("two".into(), "two".into()));
    host.berth("ps").succeeds().stdout_has("web-2");

    // A saved plan is a run as others are.
    let before = numbers(&host).len();
    host.berth("plan -o next.plan").succeeds();
    host.berth("up -d next.plan").succeeds();
    assert_eq!(numbers(&host).len(), before + 1);
    assert_eq!((value("db"), value("web")), ("three".into(), "three".into()));
}

/// The numbers that the plan tells are those that the run leaves.
#[track_caller]
fn leads(host: &TestHost, to: u64) {
    let now = numbers(host)[0];
    let told = host.berth("plan --json").succeeds().json()["generation"].clone();
    assert_eq!(told, serde_json::json!({ "now": now, "after": to }));
    host.berth("up -d").succeeds();
    assert_eq!(numbers(host)[0], to);
}

#[test]
fn a_plan_tells_the_generation_that_it_leads_to() {
    let text = "
services:
  db: { image: 'busybox:1', command: [sleep, '100000'], stop_grace_period: 1s }
  web: { image: 'app:1', command: [sleep, '100000'], stop_grace_period: 1s, networks: [front] }
networks:
  front: {}
";
    let host = TestHost::with("compose.yaml", text);
    host.berth("image tag busybox:1 app:1").succeeds();
    host.berth("up -d").succeeds();
    leads(&host, 1);
    // What is put right is what it was.
    host.berth("kill db").succeeds();
    leads(&host, 1);
    host.berth("down").succeeds();
    leads(&host, 1);
    host.berth("up -d --scale db=2").succeeds();
    leads(&host, 3);

    let edit = |from: &str, to: &str| host.edit("compose.yaml", from, to);
    edit("front: {}", "front: { labels: { tier: web } }");
    leads(&host, 4);
    edit("networks: [front] }", "networks: [front], depends_on: [db] }");
    leads(&host, 5);
    next_image(&host, 2);
    leads(&host, 6);
    // No step is for that, but what is done leaves it.
    edit("depends_on: [db] }", "depends_on: [db], pull_policy: missing }");
    leads(&host, 6);
    host.berth("kill db").succeeds();
    leads(&host, 7);
    edit("tier: web", "tier: db");
    leads(&host, 8);
}

#[test]
fn images_of_the_last_generations_outlive_a_prune() {
    let host = shop();
    host.berth("up -d").succeeds();
    for version in 2..=4 {
        next_image(&host, version);
        host.berth("up -d").succeeds();
    }
    // The first of the four is nobody's way back any more, but `busybox:1` is in use.
    host.berth("image tag busybox:1 keep:1").succeeds();
    host.berth("image prune -af")
        .succeeds()
        .stderr_has("is needed to go back to generation 2 of `stack`")
        .stderr_has("is needed to go back to generation 3 of `stack`");
    let rows = history(&host);
    let image = |number: usize| {
        let text = rows[4 - number]["Images"]["web"].as_str().unwrap();
        text.split_once('@').unwrap().1.to_owned()
    };
    host.berth(&format!("image rm {}", image(2)))
        .fails_with(1)
        .stderr_has("is needed to go back to generation 2 of `stack`")
        .stderr_has("--force");
    host.berth("rollback 2").succeeds();
    assert_eq!(inside(&host), "1,port = 1,s3cr3t-token,2,");
    host.berth(&format!("image rm --force {}", image(3))).succeeds();
    host.berth("rollback 3")
        .fails_with(1)
        .stderr_has("that `web` had in generation 3 is not here any more")
        .stderr_has("berth image load");

    // What is down needs no way back.
    host.berth("down").succeeds();
    let pruned = host.berth("image prune -af").succeeds();
    assert!(!pruned.stderr.contains("is needed to go back"), "{pruned}");
    host.berth("rollback 2").fails_with(1).stderr_has("is not here any more");
    host.load(&images::busybox());
}

#[test]
fn as_many_generations_are_kept_with_their_images_as_the_file_says() {
    let host = shop();
    let history = |from: &str, to: &str| host.edit("compose.yaml", from, to);
    history("services:\n", "x-berth: { history: 501 }\nservices:\n");
    host.berth("up -d")
        .fails_with(65)
        .stderr_has("compose.yaml:2:21")
        .stderr_has("`501` is not between 1 and 500")
        .stderr_has("─┬─");
    history("501", "5");
    host.berth("up -d").succeeds();
    for version in 2..=6 {
        next_image(&host, version);
        host.berth("up -d").succeeds();
    }
    assert_eq!(numbers(&host), [6, 5, 4, 3, 2]);
    host.berth("image prune -af")
        .succeeds()
        .stderr_has("is needed to go back to generation 2 of `stack`")
        .stderr_has("is needed to go back to generation 3 of `stack`");
    host.berth("rollback 2").succeeds().stderr_has("from generation 6 to 2");
    assert_eq!(inside(&host), "1,port = 1,s3cr3t-token,2,");
    assert_eq!(numbers(&host), [7, 6, 5, 4, 3]);

    // Another number alone counts at once, and touches nothing.
    let web = host.pid_of("web");
    history("history: 5", "history: 2");
    host.berth("--dry-run up -d").succeeds();
    assert_eq!(numbers(&host), [7, 6, 5, 4, 3]);
    host.edit("compose.yaml", "  idle:\n", "  idle:\n    environment: { V: one }\n");
    host.berth("up -d idle").succeeds();
    assert_eq!(numbers(&host), [8, 7]);
    history("history: 2", "history: 1");
    host.berth("up -d idle").succeeds().stderr_has("nothing to do");
    assert_eq!(numbers(&host), [8]);
    assert_eq!(host.pid_of("web"), web);
    host.berth("rollback").fails_with(1).stderr_has("no stable generation before");
    let pruned = host.berth("image prune -af").succeeds();
    assert!(!pruned.stderr.contains("is needed to go back"), "{pruned}");
}

#[test]
fn a_rollback_does_not_forget_what_an_older_file_would_not_keep() {
    let host = shop();
    host.edit("compose.yaml", "services:\n", "x-berth: { history: 1 }\nservices:\n");
    host.berth("up -d").succeeds();
    host.edit("compose.yaml", "history: 1", "history: 9");
    host.edit("compose.yaml", "hunter2", "hunter3");
    host.berth("up -d").succeeds();
    host.edit("compose.yaml", "hunter3", "hunter4");
    host.berth("up -d").succeeds();
    host.berth("rollback 1").succeeds();
    assert_eq!(numbers(&host), [4, 3, 2, 1]);
}

#[test]
fn a_run_killed_while_it_writes_leaves_no_half_generation() {
    let host = shop();
    let journal = host.machine().path("/var/lib/berth/projects/stack/journal.ndjson");
    let mut recorded = 0;
    for round in 0..12 {
        host.write("app.env", &format!("LEVEL={round}\n"));
        let _ = fs::remove_file(&journal);
        let up = host.start_berth("up -d");
        let end = Instant::now() + Duration::from_secs(30);
        let _ = up.pid();
        let is_over = || fs::read_to_string(&journal).unwrap_or_default().contains("\"end\"");
        while !is_over() && up.running().is_some() {
            assert!(Instant::now() < end, "the run does not end");
            sleep(Duration::from_micros(100));
        }
        sleep(Duration::from_micros(300 * round));
        if let Some(pid) = up.running() {
            let _ = nix::sys::signal::kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        drop(up.ends());
        // What is listed is whole.
        let listed = numbers(&host);
        let numbered: Vec<u64> = (1..=listed.len() as u64).rev().collect();
        assert_eq!(listed, numbered, "round {round}");
        listed.iter().for_each(|number| drop(host.berth(&format!("diff {number}")).succeeds()));
        // What was not written is with the next run, though nothing is left to do.
        host.berth("up -d").succeeds();
        recorded += 1;
        assert_eq!(numbers(&host).len(), recorded, "round {round}");
        let hidden = "ls -A /var/lib/berth/projects/stack/generations | grep '^[.]'";
        host.shell(hidden).fails_with(1);
    }
    host.berth("rollback 3").succeeds();
    assert!(inside(&host).starts_with("2,"), "{}", inside(&host));
}

#[test]
fn two_runs_at_once_have_numbers_of_their_own() {
    let file = |which: &str| SHOP.replace("hunter2", which);
    let host = shop();
    host.write("one.yaml", &file("one"));
    host.write("two.yaml", &file("two"));
    for round in 0..6 {
        let runs = ["-p stack -f one.yaml up -d", "-p stack -f two.yaml up -d"];
        let ended = runs.map(|words| host.start_berth(words)).map(|run| run.ends());
        for run in ended {
            assert!(matches!(run.code, 0 | 8), "round {round}: {run}");
            assert!(!run.stderr.contains("not in the history"), "{run}");
        }
    }
    let listed = numbers(&host);
    assert_eq!(listed, (1..=listed.len() as u64).rev().collect::<Vec<_>>());
    assert!(listed.len() > 1);
}

#[test]
fn after_a_run_that_was_cut_off_the_way_leads_back_to_the_last_good_one() {
    let host = shop();
    host.berth("up -d").succeeds();
    host.write("app.env", "LEVEL=2\n");
    host.berth("up -d").succeeds();
    // The third stays at a gate that does not open.
    host.write("app.env", "LEVEL=3\n");
    let never = "    healthcheck: { test: [CMD, 'false'], interval: 50ms, retries: 1000000 }\n";
    let gate = "  idle:\n    depends_on: { web: { condition: service_healthy } }\n";
    host.edit("compose.yaml", "    secrets: [token]\n", &format!("    secrets: [token]\n{never}"));
    host.edit("compose.yaml", "  idle:\n", gate);
    host.berth("stop idle").succeeds();
    let up = host.start_berth("up -d");
    let third = "-p stack exec -T web sh -c 'test $LEVEL = 3'";
    host.eventually("the new one runs", || host.berth(third).code == 0);
    up.signal(Signal::SIGKILL);
    up.ends();
    assert_eq!(numbers(&host), [2, 1]);
    host.berth("rollback").succeeds().stderr_has("generation 2 as it was");
    assert!(inside(&host).starts_with("2,"), "{}", inside(&host));
    host.berth("rollback").succeeds().stderr_has("from generation 2 to 1");
    assert!(inside(&host).starts_with("1,"), "{}", inside(&host));
}

#[test]
fn a_history_that_cannot_be_read_stops_nothing_and_can_be_forgotten() {
    let host = shop();
    host.berth("up -d").succeeds();
    host.shell("echo '{' >/var/lib/berth/projects/stack/generations/1/record.json").succeeds();
    host.berth("image prune -f")
        .fails_with(1)
        .stderr_has("generations/1/record.json")
        .stderr_has("`berth -p stack history --forget`");
    host.write("app.env", "LEVEL=2\n");
    for words in ["plan", "up -d"] {
        host.berth(words)
            .succeeds()
            .stderr_has("the history does not say what was rejected before")
            .stderr_has("generations/1/record.json")
            .stderr_has("`berth -p stack history --forget`");
    }
    assert!(inside(&host).starts_with("2,"), "{}", inside(&host));
    host.berth("down").succeeds();
    host.berth("history --forget").succeeds().stderr_has("1 generations forgotten");
    host.berth("image prune -f").succeeds();
    host.berth("history --forget --quiet").fails_with(64);
}

#[test]
fn what_a_command_was_given_is_nowhere_written_down() {
    let host = shop();
    host.berth("up -d").succeeds();
    host.berth("run --rm -T -e API=hunter4 web echo hunter5").succeeds();
    host.berth("run --rm -T -v /tmp:/mnt/hunter6 web true").succeeds();
    host.shell("cat /var/lib/berth/projects/stack/journal.ndjson")
        .succeeds()
        .stdout_has("run --rm");
    host.shell("grep -rE 'hunter[456]' /var/lib/berth/projects").fails_with(1);
}

#[test]
fn a_rollback_is_judged_as_any_other_run() {
    let text = "
services:
  web:
    image: busybox:1
    command: [sleep, '100000']
    stop_grace_period: 1s
    privileged: true
";
    let host = TestHost::with("compose.yaml", text).gated();
    host.berth("up -d --allow all").succeeds();
    host.edit("compose.yaml", "    privileged: true\n", "");
    host.berth("up -d").succeeds();
    // It was consented to, and that is remembered.
    host.berth("rollback").succeeds();
    host.berth("up -d").succeeds();
    host.shell("rm /var/lib/berth/projects/stack/consents.json").succeeds();
    host.berth("rollback 1").fails_with(9).stderr_has("--allow");
    host.berth("rollback 1 --allow all").succeeds();
}
