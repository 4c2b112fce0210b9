//! Ways round the policy: what a stack has by others, by links, by files of variables, and by
//! changing after somebody said yes, is judged like what it asks for itself.

use std::fs;
use std::os::unix::fs::symlink;

use berth_tests::TestHost;

const SLEEP: &str = "image: busybox:1, command: [sleep, '100000'], stop_grace_period: 0s";

/// A machine with a stack of one service `web` that has this too; `HERE` is the project's folder.
fn with(more: &str) -> TestHost {
    let host = gated(&format!("services:\n  web: {{ {SLEEP}, {more} }}\n"));
    if more.contains("HERE") {
        host.edit("compose.yaml", "HERE/", &host.project("").display().to_string());
    }
    host
}

fn gated(text: &str) -> TestHost {
    TestHost::with("compose.yaml", text).gated()
}

/// Makes a link of the project lead elsewhere.
fn point(host: &TestHost, link: &str, to: &str) {
    let link = host.project(link);
    if link.is_symlink() {
        fs::remove_file(&link).expect("the link goes");
    }
    symlink(to, link).expect("the link is made");
}

#[test]
fn what_another_service_has_is_consented_to_for_each_that_gets_it() {
    for way in ["volumes_from: [holder]", "pid: 'service:holder'"] {
        let host = gated(&format!(
            "services:\n  web: {{ {SLEEP}, {way} }}\n  holder: {{ {SLEEP}, volumes: ['/etc:/e:ro'] }}\n"
        ));
        host.berth("up -d --allow G-BIND-ROOT:holder")
            .fails_with(9)
            .stderr_has("`web` is given /etc, read-only")
            .stderr_has("compose.yaml:2:");
        host.berth("up -d --allow G-BIND-ROOT:holder --allow G-BIND-ROOT:web").succeeds();
    }
}

#[test]
fn what_a_container_of_another_stack_has_is_judged_with_it() {
    let host = with("init: true");
    host.write(
        "other/compose.yaml",
        &format!("services:\n  holder: {{ {SLEEP}, volumes: ['/etc:/e:ro'] }}\n"),
    );
    let theirs = |words: &str| host.berth(&format!("-f other/compose.yaml -p theirs {words}"));
    theirs("up -d --allow all").succeeds();
    for (way, also) in [
        ("pid: 'container:theirs-holder-1'", Some("G-BIND-ROOT:web")),
        ("network_mode: 'container:theirs-holder-1'", None),
        ("volumes_from: ['container:theirs-holder-1']", Some("G-BIND-ROOT:web")),
    ] {
        let text = format!("services:\n  web: {{ {SLEEP}, {way} }}\n");
        host.write("compose.yaml", &text);
        let refused = host.berth("up -d --policy guarded").fails_with(9);
        let refused =
            refused.stderr_has("which is not of this stack").stderr_has("compose.yaml:2:");
        if let Some(also) = also {
            refused.stderr_has("/etc, read-only");
            host.berth("up -d --allow G-NS-PEER:web").fails_with(9).stderr_has(also);
        } else {
            host.berth("up -d").fails_with(9).stderr_has("G-NS-PEER:web");
        }
    }
    theirs("down").succeeds();
}

#[test]
fn a_file_of_the_host_as_a_secret_or_config_is_told_and_held_back_from_guarded_stacks() {
    for kind in ["secrets", "configs"] {
        for path in ["/etc/shadow", "./own"] {
            let host = gated(&format!(
                "services:\n  web: {{ {SLEEP}, {kind}: [s] }}\n{kind}:\n  s: {{ file: {path} }}\n"
            ));
            point(&host, "own", "/etc/shadow");
            host.berth("plan").succeeds().stdout_has("what is in /etc/shadow, outside the project");
            host.berth("plan --policy guarded")
                .fails_with(9)
                .stderr_has("what is in /etc/shadow")
                .stderr_has("compose.yaml:4:");
        }
    }
}

#[test]
fn every_variable_of_the_caller_is_told_whatever_file_asks_for_it() {
    let host = gated(
        "services:\n  web: { image: localhost/host, command: [echo, $COMPOSE_SECRET], env_file: own.env, secrets: [s] }\n  off: { image: a, profiles: [x], command: $IDLE }\nsecrets: { s: { environment: IN_SECRET } }\n",
    );
    host.write("own.env", "BARE\nX=${FILLED}\n");
    let set = "COMPOSE_SECRET=a IN_SECRET=b BARE=c FILLED=d IDLE=e";
    let plan = |words: &str| host.shell(&format!("{set} $berth plan {words}"));
    let places = [
        ("BARE", "own.env:1:1"),
        ("COMPOSE_SECRET", "compose.yaml:2:49"),
        ("FILLED", "own.env:2:3"),
        ("IN_SECRET", "compose.yaml:4:"),
    ];
    let mut shown = plan("").succeeds().stdout_lacks("IDLE");
    for (name, place) in places {
        shown = shown.stdout_has(&format!("the variable {name} of the host  ({place}"));
    }
    let mut refused = plan("--policy guarded").fails_with(9);
    for (name, place) in places {
        refused = refused.stderr_has(place).stderr_has(&format!("the variable {name} of the host"));
    }
    let check = host.shell(&format!("{set} $berth check")).succeeds();
    check.stdout_has("the variable IN_SECRET of the host");
}

#[test]
fn a_file_that_leads_out_of_the_project_is_told_where_it_is_asked_for() {
    let host = with("env_file: linked.env");
    host.write("../out.env", "A=1");
    point(&host, "linked.env", "../out.env");
    host.berth("plan --policy guarded")
        .fails_with(9)
        .stderr_has("/out.env, outside the project")
        .stderr_has("compose.yaml:2:");
    host.berth("check").succeeds().stdout_has("/out.env, outside the project");
    fs::remove_file(host.project("../out.env")).unwrap();
}

#[test]
fn all_devices_are_held_back_as_devices_and_as_a_bind() {
    for (way, row) in [
        ("devices: ['/dev:/dev/all']", "G-DEV:web"),
        ("devices: [HERE/all:/dev/all]", "G-DEV:web"),
        ("volumes: ['/dev:/all']", "G-BIND-ROOT:web"),
        ("volumes: ['./all:/all']", "G-BIND-ROOT:web"),
    ] {
        let host = with(way);
        point(&host, "all", "/dev");
        host.berth("up -d").fails_with(9).stderr_has(row).stderr_has("compose.yaml:2:");
    }
}

#[test]
fn a_consent_to_a_device_is_not_to_what_its_link_leads_to_later() {
    let host = with("devices: [HERE/node:/dev/mine:r]");
    point(&host, "node", "/dev/null");
    host.berth("up -d").fails_with(9).stderr_has("the device /dev/null (r)");
    host.berth("up -d --allow G-DEV:web").succeeds();
    host.berth("exec -T web stat -c %t:%T /dev/mine").succeeds().stdout_is("1:3");
    let before = host.pid_of("web");
    point(&host, "node", "/dev/zero");
    host.berth("restart web").fails_with(1).stderr_has("leads to `/dev/zero` now");
    assert_eq!(host.pid_of("web"), before);
    host.berth("up -d").fails_with(9).stderr_has("the device /dev/zero (r)");
    host.berth("up -d --allow G-DEV:web").succeeds();
    host.berth("exec -T web stat -c %t:%T /dev/mine").succeeds().stdout_is("1:5");
}

#[test]
fn a_consent_is_to_the_bind_as_it_was_and_a_wider_one_asks_again() {
    let host = with("volumes: ['/etc/apt:/a:ro']");
    host.berth("up -d --allow G-BIND-ROOT:web").succeeds();
    host.berth("up -d").succeeds();
    for (from, to, what) in [
        (":ro", "", "/etc/apt: what the host itself lives of"),
        ("/etc/apt:/a", "/etc:/a:ro", "/etc, read-only"),
        ("/etc:/a:ro", "./apt:/a:ro", "/etc/ssl"),
    ] {
        point(&host, "apt", "/etc/ssl");
        host.edit("compose.yaml", from, to);
        host.berth("up -d").fails_with(9).stderr_has(what).stderr_has("G-BIND-ROOT:web");
    }
    host.edit("compose.yaml", "./apt:/a:ro", "/etc/apt:/elsewhere:ro");
    host.berth("up -d").succeeds();
}

#[test]
fn a_release_that_moves_is_a_new_container_and_no_restart_takes_it_unjudged() {
    let host = with("volumes: ['./cur:/app']");
    host.write("releases/1/version", "one");
    host.write("releases/2/version", "two");
    point(&host, "cur", "releases/1");
    host.berth("up -d").succeeds();
    let before = host.pid_of("web");
    point(&host, "cur", "releases/2");
    host.berth("restart").fails_with(1).stderr_has("`berth up` does, and makes the container anew");
    assert_eq!(host.pid_of("web"), before, "what runs is not stopped");
    host.berth("plan").succeeds().stdout_has("replace").stdout_has("/releases/2, not to");
    host.berth("up -d").succeeds();
    host.berth("exec -T web cat /app/version").succeeds().stdout_is("two");
    host.berth("plan").succeeds().stdout_has("nothing to do");
    host.berth("restart").succeeds();
}

#[test]
fn a_limit_that_is_changed_while_it_runs_keeps_what_was_consented_to_meanwhile() {
    let host = with("mem_limit: 64m");
    host.berth("up -d").succeeds();
    let before = host.pid_of("web");
    host.edit("compose.yaml", "mem_limit: 64m", "mem_limit: 96m, x-note: $NOTE");
    host.shell("NOTE=x $berth up -d").succeeds();
    assert_eq!(host.pid_of("web"), before);
    host.shell("NOTE=x $berth plan").succeeds().stdout_has("kept  (all)  G-ENV");
}

#[test]
fn under_strict_a_name_is_root_where_its_image_says_so_or_nobody_knows() {
    let host = with("init: true");
    host.berth("up -d").succeeds();
    let lines = "nobody:x:0:0::/:/bin/sh\\napp:x:7:7::/:/bin/sh";
    host.berth(&format!("exec -T web sh -c 'mkdir -p /etc; echo -e \"{lines}\" >/etc/passwd'"))
        .succeeds();
    host.berth("commit web mine:1").succeeds();
    host.berth("down").succeeds();
    for (image, user, what) in [
        ("mine:1", "nobody", Some("its image calls it nobody")),
        ("mine:1", "app", None),
        ("mine:1", "'0'", Some("user 0 of the container")),
        ("never.example/pulled:1", "nobody", Some("whoever nobody is in its image")),
        ("never.example/pulled:1", "'7'", None),
    ] {
        host.write(
            "compose.yaml",
            &format!("services: {{ web: {{ image: '{image}', user: {user} }} }}\n"),
        );
        let refused = host.berth("plan --policy strict").fails_with(9);
        match what {
            Some(what) => drop(refused.stderr_has(what).stderr_has("G-ROOT is refused")),
            None => assert!(!refused.stderr.contains("G-ROOT"), "{refused}"),
        }
    }
}
