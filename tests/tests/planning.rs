//! What was planned is what is done, or nothing is.

#[path = "planning/shop.rs"]
mod shop;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use berth_tests::command::Finished;
use berth_tests::machine::Place;
use berth_tests::{TestHost, images};
use shop::{SHOP, shop};

#[track_caller]
fn stale(host: &TestHost, words: &str) -> Finished {
    host.berth(words).fails_with(4).stderr_has("the plan in `shop.plan` is stale")
}

#[test]
fn a_saved_plan_is_done_once_and_is_stale_then() {
    let host = shop();
    host.berth("plan -o shop.plan")
        .succeeds()
        .stdout_has("create")
        .stderr_has("`berth up shop.plan` does exactly this until 2");
    assert_eq!(fs::metadata(host.project("shop.plan")).unwrap().mode() & 0o7777, 0o600);
    host.berth("plan shop.plan").succeeds().stdout_has("create").stderr_has("it still holds");
    host.berth("plan --detailed-exitcode shop.plan").fails_with(2);
    // Wherever it is called from, and whatever the environment chooses there.
    host.shell("cd / && COMPOSE_FILE=/no/such/file $berth up -d $OLDPWD/shop.plan").succeeds();
    host.berth("plan --detailed-exitcode").fails_with(0);
    stale(&host, "up -d shop.plan").stderr_has("another run changed something");
    stale(&host, "plan shop.plan").stderr_has("container `stack-web-1` has come");
    let shown = host.berth("plan --json shop.plan").fails_with(4).json();
    assert_eq!(shown["holds"], false);
    assert_eq!(shown["plan"]["format"], "berth.plan/1");

    host.berth("plan -o shop.plan").succeeds();
    host.berth("up -d shop.plan").succeeds().stderr_has("nothing to do");
}

#[test]
fn every_thing_that_moves_makes_it_stale_and_is_named() {
    let host = shop();
    host.berth("up -d").succeeds();
    host.edit("compose.yaml", "LEVEL: '1'", "LEVEL: '2'");
    let pid = host.pid_of("web");
    let saved = |words: &str| {
        host.berth(&format!("plan {words} -o shop.plan")).succeeds();
        host.berth("plan shop.plan").succeeds();
    };

    saved("");
    host.edit("compose.yaml", "LEVEL: '2'", "LEVEL: '3'");
    stale(&host, "up -d shop.plan")
        .stderr_has("`services.db.environment.LEVEL` is not what it was (compose.yaml:7:");
    host.edit("compose.yaml", "LEVEL: '3'", "LEVEL: '2'");
    host.berth("plan shop.plan").succeeds();

    host.write("settings.conf", "port = 2\n");
    stale(&host, "up -d shop.plan").stderr_has("`services.db.configs");
    host.write("settings.conf", "port = 1\n");
    host.write("token.txt", "other\n");
    stale(&host, "up -d shop.plan").stderr_has("`services.web.secrets").stderr_has("content");
    host.write("token.txt", "s3cr3t-token\n");
    host.shell("TAG=two $berth up -d shop.plan").fails_with(4).stderr_has("environment.TAG");
    host.write(".env", "TAG=two\n");
    stale(&host, "up -d shop.plan").stderr_has("environment.TAG");
    fs::remove_file(host.project(".env")).unwrap();

    // A line that moved is no change.
    host.edit("compose.yaml", "services:", "# a remark\nservices:");
    host.berth("plan shop.plan").succeeds();

    host.shell("tar -c compose.yaml | $berth image import - busybox:1").succeeds();
    stale(&host, "up -d shop.plan").stderr_has("image `busybox:1` is another one now");
    host.load(&images::busybox());
    host.berth("plan shop.plan").succeeds();

    host.edit("compose.yaml", "hunter2", "hunter3");
    host.write("token.txt", "t0ken2\n");
    saved("");
    let text = fs::read_to_string(host.project("shop.plan")).unwrap();
    assert!(text.contains("environment.DB_PASSWORD"), "{text}");
    for secret in ["hunter", "t0ken2", "s3cr3t"] {
        assert!(!text.contains(secret), "{secret} is in the saved plan");
    }

    host.kill("KILL", host.monitor_of("db"));
    stale(&host, "up -d shop.plan").stderr_has("container `stack-db-1` was running and is");
    assert_eq!(host.pid_of("web"), pid, "nothing was touched");
    host.berth("up -d").succeeds();

    saved("--force-recreate web");
    host.berth("restart db").succeeds();
    stale(&host, "up -d shop.plan").stderr_has("another run changed something");
    saved("--force-recreate web");
    host.berth("rm -sf web").succeeds();
    stale(&host, "up -d shop.plan").stderr_has("container `stack-web-1` is gone");
    saved("");
    host.write("compose.yaml", &format!("name: other\n{SHOP}"));
    stale(&host, "up -d shop.plan").stderr_has("called `stack` and is called `other` now");
}

#[test]
fn it_is_made_from_the_words_it_was_saved_with() {
    let host = shop();
    host.write("more.yaml", "services: { extra: { image: 'busybox:1', command: [sleep, '1000'], stop_grace_period: 1s, profiles: [more] } }\n");
    host.shell("COMPOSE_PROFILES=more $berth -f compose.yaml -f more.yaml plan --scale db=2 --no-deps -t 1 -o up.plan extra db")
        .succeeds();
    host.berth("up -d up.plan").succeeds();
    host.berth("-p stack ps")
        .succeeds()
        .stdout_has("extra-1")
        .stdout_has("db-2")
        .stdout_lacks("web");
    for option in ["--force-recreate", "--scale db=1", "--dry-run", "--profile more", "--no-start"]
    {
        host.berth(&format!("up up.plan {option}"))
            .fails_with(64)
            .stderr_has("does not go with a saved plan")
            .stderr_has("berth plan");
    }
    host.berth("-f more.yaml up -d up.plan").fails_with(64);
    host.berth("up -d up.plan web").fails_with(64).stderr_has("stands alone");
    host.berth("plan -o shop.json").fails_with(64).stderr_has("call it `NAME.plan`");
    host.berth("plan --down -o down.plan").fails_with(64);
    host.berth("--dry-run plan -o dry.plan").fails_with(64).stderr_has("nothing is saved");
    // To others it is the name of a service.
    host.berth("create up.plan").fails_with(1).stderr_has("no such service: `up.plan`");
    host.berth("scale up.plan=2").fails_with(1).stderr_has("no such service: `up.plan`");
    host.shell("$berth -f - plan -o in.plan <compose.yaml")
        .fails_with(64)
        .stderr_has("standard input");
}

#[test]
fn what_only_a_pull_can_tell_is_in_no_saved_plan() {
    let host = shop();
    host.berth("plan --pull always -o shop.plan").fails_with(1).stderr_has("--pull missing");
    assert!(!host.project("shop.plan").exists());
    host.berth("plan --pull never -o shop.plan").succeeds();
}

#[test]
fn an_image_that_is_not_here_is_in_no_saved_plan_unless_it_is_pinned() {
    let host = shop();
    host.edit(
        "compose.yaml",
        "  web:\n    image: busybox:1",
        "  web:\n    image: never.example/web:1",
    );
    host.berth("plan -o shop.plan")
        .fails_with(1)
        .stderr_has("image `never.example/web:1` is not here, and nobody knows what its pull")
        .stderr_has("`berth pull`, then plan again; or `berth lock` pins it");
    assert!(!host.project("shop.plan").exists());
    let digest = "0".repeat(64);
    host.edit("compose.yaml", "never.example/web:1", &format!("never.example/web@sha256:{digest}"));
    host.berth("plan -o shop.plan").succeeds();
}

#[test]
fn an_image_that_moved_while_the_plan_was_done_changes_nothing_of_it() {
    let host = shop();
    host.write("compose.yaml", &SHOP.replace(
        "    depends_on: [db]\n",
        "    depends_on: [db]\n    pre_start: [{ command: [sh, -c, 'while ! test -e /w/go; do sleep 0.1; done'] }]\n    volumes: ['./w:/w']\n",
    ));
    host.shell("mkdir w").succeeds();
    host.berth("plan -o shop.plan").succeeds();
    let run = host.start_berth("up -d shop.plan");
    host.eventually("the step of `web` runs", || {
        host.berth("ps -a").stdout.contains("web-pre_start-1")
            && host.status("stack-web-pre_start-1")["phase"] == "running"
    });
    host.shell("tar -c compose.yaml | $berth image import - busybox:1").succeeds();
    host.write("w/go", "");
    // In the other image there is no program at all.
    run.ends().succeeds();
    host.eventually("it runs", || host.status("stack-web-1")["phase"] == "running");
    host.load(&images::busybox());
}

#[test]
fn a_plan_that_is_refused_leaves_nothing_and_remembers_nothing() {
    let web = "image: busybox:1, command: [sleep, '1000'], network_mode: none, pid: host";
    let web =
        format!("services: {{ web: {{ {web}, environment: {{ TAG: \"${{TAG:-one}}\" }} }} }}");
    let host = TestHost::with("compose.yaml", &web).gated();
    host.berth("plan --allow all -o shop.plan").succeeds();
    host.shell("TAG=two $berth up -d shop.plan").fails_with(4).stderr_has("environment.TAG");
    let project = host.machine().path("/var/lib/berth/projects/stack");
    assert!(!project.exists(), "nobody was here");

    // It holds until its first step, which finds that somebody was quicker.
    let store = host.start_shell(
        Place::Inside,
        "exec flock -F /var/lib/berth/images/lock sh -c 'echo held; exec sleep 100'",
    );
    store.prints("held");
    let run = host.start_berth("up -d shop.plan");
    host.eventually("it has begun", || project.join("journal.ndjson").exists());
    host.shell("mkdir /var/lib/berth/containers/stack-web-1").succeeds();
    store.signal(nix::sys::signal::Signal::SIGKILL);
    store.ends();
    run.ends().fails_with(4).stderr_has("`stack-web-1` is already there");
    assert!(!project.join("consents.json").exists());
    host.berth("up -d").fails_with(9);
    host.berth("up -d --allow all").succeeds();
}

#[test]
fn where_it_is_called_from_moves_nothing_and_standard_input_is_read_once() {
    let host = shop();
    host.edit("compose.yaml", "TAG: \"${TAG:-one}\"", "TAG: \"${PWD}\"");
    host.shell("cd $PWD && $berth plan -o shop.plan").succeeds();
    host.shell("dir=$PWD; cd / && $berth plan $dir/shop.plan").succeeds().stderr_has("still holds");
    host.shell("dir=$PWD; cd / && $berth up -d $dir/shop.plan").succeeds();
    for line in [
        "COMPOSE_FILE=- $berth plan -o in.plan <compose.yaml",
        "echo COMPOSE_FILE=compose.yaml:- >.env; echo 'services: {}' | $berth plan -o in.plan; code=$?; rm .env; exit $code",
        "$berth -f /dev/stdin plan -o in.plan <compose.yaml",
    ] {
        host.shell(line).fails_with(64).stderr_has("standard input");
    }
    assert!(!host.project("in.plan").exists());
}

#[test]
fn its_time_is_over_after_a_while() {
    let host = shop();
    host.berth("plan -o shop.plan --good-for 0s").succeeds();
    stale(&host, "up -d shop.plan").stderr_has("it was good until");
    assert!(!host.machine().path("/run/berth/containers/stack-db-1").exists());
}

#[test]
fn a_file_that_is_no_plan_of_this_host_is_refused() {
    let host = shop();
    host.berth("plan -o shop.plan").succeeds();
    let whole = fs::read_to_string(host.project("shop.plan")).unwrap();
    for secret in ["hunter2", "s3cr3t-token", "port = 1"] {
        assert!(!whole.contains(secret), "{secret} is in the saved plan");
    }
    let refused = |text: &str, why: &str| {
        host.write("bad.plan", text);
        for command in ["up -d bad.plan", "plan bad.plan"] {
            host.berth(command)
                .fails_with(65)
                .stderr_has("`bad.plan` cannot be used")
                .stderr_has(why)
                .stderr_has("berth plan -o");
        }
    };
    refused("", "no saved plan");
    refused(SHOP, "no saved plan");
    refused(&whole[..whole.len() / 2], "cut off");
    refused(&whole.replace("\"project\":\"stack\"", "\"project\":\"other\""), "changed");
    refused(&whole.replace("saved-plan/1", "saved-plan/9"), "its format is `9`");
    host.shell("truncate -s 1G bad.plan").succeeds();
    host.berth("up -d bad.plan").fails_with(65).stderr_has("too large");
    host.berth("up -d missing.plan").fails_with(65).stderr_has("No such file");
    host.shell("rm bad.plan; mkfifo bad.plan").succeeds();
    host.berth("up -d bad.plan").fails_with(65).stderr_has("not a file");

    // Another state of berth is as another host.
    host.berth("--root other up -d shop.plan").fails_with(65).stderr_has("made on another host");
    host.shell("rm -r other").succeeds();
    fs::set_permissions(
        host.machine().path("/var/lib/berth/plan.key"),
        fs::Permissions::from_mode(0o644),
    )
    .unwrap();
    host.berth("up -d shop.plan").fails_with(1).stderr_has("only root can read");
    host.shell("rm /var/lib/berth/plan.key").succeeds();
    host.berth("up -d shop.plan").fails_with(65).stderr_has("made on another host");
    host.berth("ps -a").succeeds().stdout_lacks("stack-");
}

#[test]
fn a_saved_plan_that_fails_half_way_is_used_up() {
    let host = shop();
    host.edit("compose.yaml", "depends_on: [db]", "command: [no-such-program]");
    host.edit(
        "compose.yaml",
        "    command: [sleep, '100000']\n    stop_grace_period: 1s\n    environment: { TAG",
        "    environment: { TAG",
    );
    host.berth("plan -o shop.plan").succeeds();
    host.berth("up -d shop.plan").fails_with(3).stderr_has("the plan in `shop.plan` is used up");
    stale(&host, "up -d shop.plan");
    host.edit("compose.yaml", "[no-such-program]", "[sleep, '1000']");
    host.berth("up -d").succeeds();
}

#[test]
fn consents_of_a_saved_plan_are_remembered_when_it_is_done() {
    let host = shop().gated();
    host.edit("compose.yaml", "secrets: [token]", "secrets: [token]\n    pid: host");
    host.berth("plan -o shop.plan").fails_with(9);
    assert!(!host.project("shop.plan").exists());
    host.berth("plan --allow all -o shop.plan").succeeds();
    assert!(!host.machine().path("/var/lib/berth/projects/stack/consents.json").exists());
    host.berth("up -d shop.plan").succeeds();
    host.berth("up -d").succeeds().stderr_has("nothing to do");
}

#[test]
fn two_that_do_one_saved_plan_at_once_do_it_once() {
    let host = shop();
    host.berth("plan -o shop.plan").succeeds();
    let runs = [host.start_berth("up -d shop.plan"), host.start_berth("up -d shop.plan")];
    let mut codes = runs.map(|run| run.ends().code);
    codes.sort_unstable();
    assert_eq!(codes, [0, 4]);
}

#[test]
fn a_lock_that_another_run_holds_is_told_with_its_holder() {
    let host = shop();
    host.berth("plan -o shop.plan").succeeds();
    let holder = host.start_shell(
        Place::Inside,
        "mkdir -p /var/lib/berth/projects/stack; exec flock -F /var/lib/berth/projects/stack/lock \
         sh -c 'echo held; exec sleep 50'",
    );
    holder.prints("held");
    let waiting = [host.start_berth("up -d"), host.start_berth("up -d shop.plan")];
    // Who only looks waits for nobody.
    host.berth("plan").succeeds();
    host.berth("plan shop.plan").succeeds();
    for run in waiting {
        run.ends().fails_with(8).stderr_has("locked by");
    }
    holder.signal(nix::sys::signal::Signal::SIGKILL);
    holder.ends();
}

#[test]
fn a_plan_of_down_takes_no_words_that_down_has_not() {
    let web = "services: { web: { image: 'busybox:1', command: [sleep, '100000'] } }";
    let host = TestHost::with("compose.yaml", web);
    host.berth("up -d").succeeds();
    for words in [
        "--force-recreate",
        "--scale web=2",
        "--pull always",
        "--no-deps",
        "--locked",
        "--order auto",
    ] {
        host.berth(&format!("plan --down {words}")).fails_with(64).stderr_has("--down");
    }
    host.berth("plan --down -t 3 web").succeeds().stdout_has("berth down -t 3 web");
    host.berth("--dry-run plan --down")
        .succeeds()
        .stdout_has("berth down")
        .stdout_lacks("--dry-run");
    host.berth("down -t 3 web").succeeds();
}
