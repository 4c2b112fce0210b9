//! What is done to containers that run: pause, kill, run, exec, attach, events, stats.

use std::time::{Duration, Instant};

use berth_tests::TestHost;
use berth_tests::machine::Place;
use nix::sys::signal::Signal;

const STACK: &str = "
services:
  web:
    image: busybox:1
    command: [sh, -c, 'i=0; while true; do i=$$((i+1)); echo $$i >/tmp/ticks; sleep 0.05; done']
    stop_grace_period: 1s
  deaf:
    image: busybox:1
    command: [sh, -c, \"trap '' TERM; while true; do sleep 0.1; done\"]
    stop_grace_period: 1s
";

fn host() -> TestHost {
    let host = TestHost::with("compose.yaml", STACK);
    host.berth("up -d").succeeds();
    host
}

/// The state letters of all processes in a container's cgroup (proc_pid_stat(5)).
fn states(host: &TestHost, container: &str) -> Vec<String> {
    let line = format!(
        "for f in /sys/fs/cgroup/*/berth*/{container}/cgroup.procs \
         /sys/fs/cgroup/berth*/{container}/cgroup.procs; do cat $f 2>/dev/null; done | sort -u | \
         while read p; do cut -d')' -f2 /proc/$p/stat | cut -c2; done"
    );
    host.shell(&line).stdout.lines().map(str::to_owned).collect()
}

fn ticks(host: &TestHost) -> String {
    let pid = host.pid_of("web").pid;
    host.shell(&format!("cat /proc/{pid}/root/tmp/ticks")).stdout
}

#[test]
fn a_paused_container_stands_still_after_the_command_has_ended() {
    let host = host();
    host.eventually("it counts", || !ticks(&host).is_empty());
    host.berth("pause web").succeeds();
    let before = ticks(&host);
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(ticks(&host), before);
    let rows = host.berth("ps --format json --status paused").succeeds().stdout;
    assert!(rows.contains("\"State\":\"paused\"") && rows.contains("(Paused)"), "{rows}");
    host.berth("ps --status running").succeeds().stdout_lacks("web-1");
    host.berth("exec -T web true").fails_with(1).stderr_has("paused");
    host.berth("pause web").succeeds();

    host.berth("unpause web").succeeds();
    host.eventually("it counts on", || ticks(&host) != before);
    host.berth("ps").succeeds().stdout_lacks("Paused");
    host.berth("unpause web").succeeds();
}

#[test]
fn a_paused_container_stays_so_under_a_new_monitor_and_up_lets_it_run_on() {
    let host = host();
    host.eventually("it counts", || !ticks(&host).is_empty());
    let pid = host.pid_of("web");
    host.berth("pause").succeeds();
    host.kill("KILL", host.monitor_of("web"));
    host.berth("unpause deaf").succeeds();
    let before = ticks(&host);
    host.berth("plan").succeeds().stdout_has("it is paused");
    host.berth("pause web").succeeds();
    assert_eq!(ticks(&host), before);
    host.berth("up -d").succeeds();
    host.eventually("it counts on", || ticks(&host) != before);
    assert_eq!(host.pid_of("web"), pid);
    host.berth("plan").succeeds().stdout_has("nothing to do");
}

#[test]
fn a_paused_container_is_stopped_and_killed_within_its_grace() {
    let host = host();
    for (service, words) in [("web", "stop web"), ("deaf", "stop deaf"), ("web", "kill web")] {
        host.berth("up -d").succeeds();
        host.berth(&format!("pause {service}")).succeeds();
        let begun = Instant::now();
        host.berth(words).succeeds();
        host.eventually("it has ended", || {
            host.status(&format!("stack-{service}-1"))["phase"] == "exited"
        });
        let took = begun.elapsed();
        assert!(took < Duration::from_secs(1 + 2), "`{words}` took {took:?}");
        assert_eq!(states(&host, &format!("stack-{service}-1")), Vec::<String>::new());
    }
    host.berth("up -d").succeeds();
    host.berth("pause").succeeds();
    let begun = Instant::now();
    host.berth("down").succeeds();
    assert!(begun.elapsed() < Duration::from_secs(1 + 2), "{:?}", begun.elapsed());
}

const TALKER: &str = "
services:
  shell:
    image: busybox:1
    command: [sh]
    tty: true
    stdin_open: true
    stop_grace_period: 1s
  lines:
    image: busybox:1
    command: [sh, -c, 'trap \"echo heard; exit 7\" INT; sleep 1000 & wait']
    stop_grace_period: 1s
";

/// A line for a shell that types `typed` into a terminal on which `words` runs.
fn on_terminal(typed: &str, words: &str) -> String {
    format!(
        "({typed}) | script -qec \"stty cols 91 rows 33; $berth {words}; echo status=\\$?; stty -a\" /dev/null"
    )
}

#[test]
fn a_user_who_attaches_types_reads_and_leaves_with_the_keys() {
    let host = TestHost::with("compose.yaml", TALKER);
    host.berth("up -d").succeeds();
    let pid = host.pid_of("shell");
    let typed =
        "sleep 0.5; printf 'stty size\\necho si''de\\n'; sleep 0.5; printf '\\020\\021'; sleep 0.5";
    let seen = host.shell(&on_terminal(typed, "attach shell")).succeeds();
    assert!(seen.stdout.contains("33 91") && seen.stdout.contains("side"), "{seen}");
    assert!(seen.stdout.contains("status=0") && seen.stdout.contains("runs on"), "{seen}");
    // The terminal is as it was: with echo, in lines, with signals.
    for mode in [" echo", "icanon", "isig"] {
        assert!(seen.stdout.contains(mode) && !seen.stdout.contains(&format!("-{mode}")), "{seen}");
    }
    let typed = "sleep 0.5; printf 'a\\001b'; sleep 0.3; printf '\\030z'; sleep 0.3";
    let words = "attach --detach-keys ctrl-x,z shell";
    host.shell(&on_terminal(typed, words)).succeeds().stdout_has("status=0");
    assert_eq!(host.pid_of("shell"), pid);
    host.berth("attach --detach-keys nonsense shell").fails_with(64).stderr_has("ctrl-a");
    host.berth("--dry-run attach shell").succeeds();
}

#[test]
fn an_attached_end_and_signals_are_the_containers() {
    let host = TestHost::with("compose.yaml", TALKER);
    host.berth("up -d").succeeds();
    let line = "exec $berth attach --sig-proxy=false lines";
    let client = host.start_shell(Place::Inside, line);
    host.eventually("it is attached", || {
        host.berth("events --since 1m --until 0s").stdout.contains("attach")
    });
    client.signal(Signal::SIGINT);
    client.ends().fails_with(130);
    let clients =
        [1, 2].map(|_| host.start_shell(Place::Inside, "exec $berth attach --no-stdin lines"));
    host.eventually("both are attached", || {
        host.berth("events --since 1m --until 0s lines").stdout.matches(" attach ").count() == 3
    });
    clients[0].signal(Signal::SIGINT);
    for client in clients {
        client.ends().fails_with(7).stdout_has("heard");
    }
    host.berth("attach lines").fails_with(1).stderr_has("is not running");
}

#[test]
fn five_hundred_clients_that_come_and_go_leave_nothing_with_the_monitor() {
    let host = TestHost::with("compose.yaml", TALKER);
    host.berth("up -d lines").succeeds();
    let monitor = host.monitor_of("lines");
    let count = || {
        let line = format!("ls /proc/{monitor}/fd | wc -l; ls /proc/{monitor}/task | wc -l");
        host.shell(&line).succeeds().stdout
    };
    let before = count();
    let socket = "/run/berth/containers/stack-lines-1/sock";
    // Half of them close one direction only, and go a moment later.
    let clients = format!(
        "import socket\nfor n in range(500):\n s = socket.socket(socket.AF_UNIX)\n \
         s.connect('{socket}')\n s.sendall(b'{{\"request\":\"attach\"}}\\n')\n s.recv(10)\n \
         (s.shutdown(socket.SHUT_WR) if n % 2 else None)\n s.close()\n"
    );
    host.write("clients.py", &clients);
    if host.shell("command -v python3").code != 0 {
        return berth_tests::skipped("python3 is missing: the clients are written in it");
    }
    host.shell("python3 clients.py").succeeds();
    host.eventually("they are gone", || count() == before);
    host.berth("kill -s INT lines").succeeds();
}

#[test]
fn a_process_that_its_user_has_left_runs_on_with_its_terminal() {
    let host = host();
    let typed =
        "sleep 0.5; printf 'sleep 4321 && echo\\n'; sleep 0.5; printf '\\020\\021'; sleep 0.5";
    let seen = host.shell(&on_terminal(typed, "exec web sh")).succeeds();
    assert!(seen.stdout.contains("status=0") && seen.stdout.contains("runs on"), "{seen}");
    let sleeps = || host.berth("top --format json web").stdout.contains("sleep 4321");
    assert!(sleeps());
    let keepers = || host.berth_commands().iter().filter(|c| c.contains("keep-terminal")).count();
    assert_eq!(keepers(), 1);
    host.berth("kill web").succeeds();
    host.eventually("nobody keeps the terminal of what has ended", || keepers() == 0);
}

#[test]
fn events_come_in_dockers_order_as_text_and_as_json() {
    let host = TestHost::with("compose.yaml", STACK);
    let live = host.start_shell(Place::Inside, "exec $berth events --json web");
    // The folder is there when it is watched.
    host.eventually("it is watched", || host.machine().path("/run/berth/events").exists());
    host.berth("up -d web").succeeds();
    host.berth("pause web").succeeds();
    host.berth("unpause web").succeeds();
    host.berth("exec -T web true").succeeds();
    host.berth("exec -T web sh -c 'exit 3'").fails_with(3);
    host.berth("kill -s USR2 web").succeeds();
    host.berth("kill web").succeeds();
    host.eventually("it ended by that", || host.status("stack-web-1")["phase"] == "exited");
    host.berth("start web").succeeds();
    host.berth("stop web").succeeds();
    host.berth("run --rm -T web true").succeeds();
    host.berth("down").succeeds();
    let seen = host.berth("events --json --since 10m --until 0s");
    let actions: Vec<String> = seen
        .stdout
        .lines()
        .map(|line| {
            let event: serde_json::Value = serde_json::from_str(line).expect(line);
            assert_eq!((&event["type"], &event["service"]), (&"container".into(), &"web".into()));
            assert_eq!(event["id"].as_str().map(str::len), Some(64), "{line}");
            assert_eq!(event["attributes"]["name"], "stack-web-1");
            assert_eq!(event["attributes"]["image"], "busybox:1");
            let code = event["attributes"]["exitCode"].as_str().map(|code| format!(" {code}"));
            let signal = event["attributes"]["signal"].as_str().map(|signal| format!(" {signal}"));
            format!(
                "{}{}{}",
                event["action"].as_str().unwrap(),
                code.unwrap_or_default(),
                signal.unwrap_or_default()
            )
        })
        .collect();
    insta::assert_snapshot!(actions.join("\n"), @"
    create
    start
    pause
    unpause
    exec_create: true
    exec_start: true
    exec_die 0
    exec_create: sh -c exit 3
    exec_start: sh -c exit 3
    exec_die 3
    kill 12
    kill 9
    die 137
    start
    kill 15
    kill 9
    stop
    die 143
    destroy
    ");
    live.signal(Signal::SIGINT);
    let followed = live.ends().fails_with(130).stdout;
    assert_eq!(followed, seen.stdout, "what was followed is what is kept");
    let dies =
        host.berth("events --since 10m --until 0s --filter event=die --filter event=exec_die");
    assert_eq!(dies.stdout.lines().count(), 4, "{dies}");
    let of_run = host.berth("events --since 10m --until 0s --filter container=stack-web-1 nobody");
    assert_eq!(of_run.stdout, "");
}

#[test]
fn a_kill_that_finds_nothing_to_kill_ends_well() {
    let host = TestHost::with("compose.yaml", STACK);
    host.berth("kill").succeeds().stderr_has("no container to kill");
    host.berth("up -d web").succeeds();
    host.berth("kill web").succeeds();
    host.eventually("it ended by that", || host.status("stack-web-1")["phase"] == "exited");
    host.berth("kill web").succeeds().stderr_has("no container to kill");
    host.berth("kill nobody").fails_with(1);
}

#[test]
fn stats_are_those_of_the_kernel() {
    let host = TestHost::with(
        "compose.yaml",
        "
services:
  busy:
    image: busybox:1
    command: [sh, -c, 'while true; do :; done']
    mem_limit: 64m
    stop_grace_period: 1s
  idle: { image: busybox:1, command: [sleep, '1000'], cgroup_parent: /batch/night }
  done: { image: busybox:1, command: ['true'] }
",
    );
    host.berth("up -d").succeeds();
    host.eventually("one has ended", || host.status("stack-done-1")["phase"] == "exited");
    let once = host.berth("stats --no-stream --format json -a").succeeds();
    let rows: Vec<serde_json::Value> =
        once.stdout.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let row = |name: &str| {
        rows.iter().find(|row| row["Name"] == name).unwrap_or_else(|| panic!("{once}"))
    };
    let percent = |row: &serde_json::Value| {
        row["CPUPerc"].as_str().unwrap().trim_end_matches('%').parse::<f64>().unwrap()
    };
    assert!(percent(row("stack-busy-1")) > 20.0 && percent(row("stack-idle-1")) < 5.0, "{once}");
    assert!(row("stack-busy-1")["MemUsage"].as_str().unwrap().ends_with("/ 64MiB"), "{once}");
    assert_eq!(row("stack-busy-1")["PIDs"], "1");
    assert_eq!(
        (&row("stack-done-1")["MemUsage"], &row("stack-done-1")["PIDs"]),
        (&"0B / 0B".into(), &"0".into())
    );
    host.berth("stats --no-stream busy")
        .succeeds()
        .stdout_has("MEM USAGE / LIMIT")
        .stdout_lacks("idle");
    host.berth("stats --no-stream --format '{{.Name}}={{.PIDs}}' idle")
        .succeeds()
        .stdout_is("stack-idle-1=1");
    let columns = r"stats --no-stream --format 'table {{.Name}}\t{{.PIDs}}' idle";
    host.berth(columns).succeeds().stdout_is("NAME           PIDS\nstack-idle-1   1");
    host.berth("stats --no-stream --format raw").fails_with(64).stderr_has("write `table`");
    let stream = host.start_shell(Place::Inside, "exec $berth stats --format json idle");
    host.eventually("two pictures came", || stream.said().lines().count() >= 2);
    stream.signal(Signal::SIGINT);
    stream.ends().fails_with(130);
    host.berth("stats nobody").fails_with(1);
}

#[test]
fn run_and_exec_end_with_dockers_codes() {
    let host = host();
    host.write("file.env", "FROM_FILE=yes\nLEVEL=file\n");
    // Words, status, and what is said.
    let table = [
        ("run --rm -T web sh -c 'exit 3'", 3, ""),
        ("run --rm -T web sh -c 'exit 300'", 44, ""),
        ("run --rm -T web no-such-program", 127, "no-such-program"),
        ("run --rm -T web /etc/passwd", 126, "/etc/passwd"),
        ("run --rm -T web sh -c 'sh -c \"kill -9 $$\"; kill -TERM 1; exit $?'", 0, ""),
        ("run --rm -T --init web sh -c 'kill -TERM $$'", 64, "--init"),
        ("run --rm -T -w /etc/passwd web true", 125, "/etc/passwd"),
        ("run --rm -T -u nobody-here web true", 125, "nobody-here"),
        ("run --rm -T --locked web true", 125, "lock"),
        ("run --rm -T nobody true", 1, "nobody"),
        (
            "run --rm -T -q --env-from-file file.env -e LEVEL=word web sh -c 'test $FROM_FILE$LEVEL = yesword'",
            0,
            "",
        ),
        ("exec -T web sh -c 'exit 42'", 42, ""),
        ("exec -T web no-such-program", 127, "no-such-program"),
        ("exec -T web /etc/passwd", 126, "/etc/passwd"),
        ("exec -T -w /no/folder web true", 127, "/no/folder"),
        ("exec -T -u nobody-here web true", 1, "nobody-here"),
        ("exec -T web sh -c 'kill -9 $$'", 137, ""),
        ("exec -T web sh -c 'kill -TERM $$'", 143, ""),
        ("exec -T web sh -c 'kill -INT $$'", 130, ""),
        ("exec -T web sh -c 'kill -SEGV $$'", 139, ""),
        ("exec -T --index 7 web true", 1, "no container 7"),
        ("exec -T nobody true", 1, "nobody"),
    ];
    let mut wrong = Vec::new();
    for (words, code, said) in table {
        let ended = host.berth(words);
        if ended.code != code || !ended.stderr.contains(said) {
            wrong.push(format!("wanted {code} {said:?}: {ended}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    host.berth("stop web").succeeds();
    host.berth("exec -T web true").fails_with(1).stderr_has("not running");
}

#[test]
fn a_flood_of_one_process_and_a_flood_of_processes_are_carried_without_memory() {
    let host = host();
    // The flood is read slowly, so that whoever keeps it would have to keep a lot.
    let flood = host.start_shell(
        Place::Inside,
        "$berth exec -T web sh -c 'head -c 300000000 /dev/zero' | (sleep 1; wc -c)",
    );
    let largest = || {
        let peak = |process: std::path::PathBuf| {
            let status = std::fs::read_to_string(process.join("status")).unwrap_or_default();
            let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"))?.to_owned();
            line.trim().trim_end_matches(" kB").parse::<u64>().ok()
        };
        host.berth_processes().into_iter().filter_map(peak).max().unwrap_or(0)
    };
    let mut most = 0;
    host.eventually("it is carried", || {
        most = most.max(largest());
        flood.said().contains("300000000")
    });
    flood.ends().succeeds();
    assert!(most < 8 << 10, "{most} kB");

    let before = states(&host, "stack-web-1").len();
    let many: Vec<_> = (0..60)
        .map(|n| {
            let line = format!("exec $berth exec -T web sh -c 'echo {n}; exec sleep 30'");
            host.start_shell(Place::Inside, &line)
        })
        .collect();
    let (killed, kept) = many.split_at(30);
    for client in killed.iter().chain(kept) {
        client.prints("\n");
    }
    for client in killed {
        client.signal(Signal::SIGKILL);
    }
    host.berth("stop -t 1 web").succeeds();
    for client in many {
        client.ends();
    }
    assert!(before >= 1 && states(&host, "stack-web-1").is_empty());
    assert!(!host.berth_commands().iter().any(|command| command.contains(" exec ")));
}

#[test]
fn a_container_of_run_rm_goes_with_its_end_also_when_nobody_waits() {
    let host = host();
    let name = host.berth("run -d --rm -T web sleep 100").succeeds().stdout.trim().to_owned();
    host.pid_of_container(&name);
    let typed = "sleep 0.7; printf '\\020\\021'; sleep 0.5";
    let seen = host.shell(&on_terminal(typed, "run --rm --name left web sleep 101")).succeeds();
    assert!(seen.stdout.contains("runs on"), "{seen}");
    for name in [name.as_str(), "left"] {
        let pid = host.pid_of_container(name).pid;
        host.kill("KILL", pid);
        host.eventually("it is removed", || {
            !host.machine().path(format!("/var/lib/berth/containers/{name}")).exists()
        });
    }
    let waits = || host.berth_commands().iter().any(|command| command.contains("remove-after"));
    host.eventually("nobody waits any more", || !waits());
}

#[test]
fn capabilities_of_run_are_written_as_in_the_file() {
    let host = TestHost::with("compose.yaml", STACK);
    let bounding = |flags: &str| {
        let line = format!("run --rm -T {flags} web grep CapBnd /proc/self/status");
        let told = host.berth(&line).succeeds().stdout;
        u64::from_str_radix(told.split_whitespace().last().unwrap_or_default(), 16).expect("a mask")
    };
    let usual = bounding("");
    assert_eq!(bounding("--cap-drop CAP_CHOWN --cap-drop kill"), usual & !(1 | 1 << 5));
    assert_eq!(bounding("--cap-drop all"), 0);
    assert_eq!(bounding("--cap-add net_admin --cap-add CAP_NET_RAW"), usual | 1 << 12 | 1 << 13);
    let wrong = host.berth("run --rm -T --cap-drop BOGUS web true");
    assert_ne!(wrong.code, 0);
    wrong.stderr_has("`BOGUS` is not a capability");
}
