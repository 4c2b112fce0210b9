//! What a stack is given beyond the defaults is shown, and held back until somebody says yes.

use std::os::unix::fs::symlink;

use berth_tests::TestHost;
use berth_tests::images::on_path;
use berth_tests::machine::Place;
use nix::sys::signal::Signal;

const SLEEP: &str = "image: busybox:1, command: [sleep, '100000'], stop_grace_period: 0s";

/// A machine with a stack of one service `web` that has this too.
fn with(more: &str) -> TestHost {
    TestHost::with("compose.yaml", &format!("services:\n  web: {{ {SLEEP}, {more} }}\n")).gated()
}

/// What `web` sees of itself.
#[track_caller]
fn status(host: &TestHost, field: &str) -> String {
    let status = host.berth("exec -T web cat /proc/1/status").succeeds().stdout;
    let line = status.lines().find(|line| line.starts_with(&format!("{field}:")));
    line.unwrap_or_default().split_whitespace().nth(1).unwrap_or_default().to_owned()
}

#[test]
fn what_is_not_consented_to_is_told_at_once_and_nothing_is_touched() {
    let host = TestHost::with(
        "compose.yaml",
        "services:
  web:
    image: never.example/pulled:1
    pull_policy: always
    privileged: true
    volumes:
      - /etc/shadow:/shadow:ro
  db:
    image: never.example/pulled:1
    volumes: [/var:/v]
",
    )
    .gated();
    for command in ["up -d", "create", "run web", "plan", "--dry-run up", "scale web=2"] {
        let mut refused = host.berth(command).fails_with(9);
        for part in ["compose.yaml:5:17", "compose.yaml:7:9", "G-PRIV needs consent"] {
            refused = refused.stderr_has(part);
        }
        if command != "run web" && command != "scale web=2" {
            refused = refused
                .stderr_has("compose.yaml:10:15")
                .stderr_has("--allow G-BIND-ROOT:db --allow G-BIND-ROOT:web --allow G-PRIV:web");
        }
        assert!(!refused.stderr.contains("Pulling"), "{refused}");
    }
    host.shell("find /var/lib/berth /run/berth -type f").stdout_is("");
}

#[test]
fn a_consent_is_given_once_and_kept_with_the_stack() {
    let host = with("privileged: true");
    host.berth("up -d").fails_with(9);
    host.berth("up -d --allow G-PRIV:other").fails_with(9);
    host.berth("up -d --allow G-PRIV:web")
        .succeeds()
        .stderr_has("critical  new  web  G-PRIV")
        .stderr_has("consented by --allow");
    assert_eq!(status(&host, "CapEff"), status(&host, "CapBnd"));
    assert_ne!(status(&host, "CapEff"), "00000000800405fb");
    host.berth("plan").succeeds().stdout_has("kept").stdout_has("consented in an earlier run");
    host.berth("down").succeeds();
    host.berth("up -d").succeeds();
    host.edit("compose.yaml", "privileged: true", "privileged: true, volumes: [/boot:/b]");
    let refused = host.berth("up -d").fails_with(9).stderr_has("G-BIND-ROOT needs consent");
    assert!(!refused.stderr.contains("G-PRIV needs"), "{refused}");
    let mode = host.shell("stat -c %a:%u /var/lib/berth/projects/stack/consents.json");
    mode.stdout_is("600:0");
}

#[test]
fn a_consent_is_not_that_of_a_stack_of_the_same_name_elsewhere() {
    let host = with("privileged: true");
    host.berth("up -d --allow G-PRIV:web").succeeds();
    host.berth("down").succeeds();
    host.shell("mkdir more && cp compose.yaml more").succeeds();
    let there = format!("`{}`", std::fs::canonicalize(host.project(".")).unwrap().display());
    let other = |words: &str| host.shell(&format!("cd more && $berth -p stack {words}"));
    let refused = other("up -d").fails_with(9).stderr_has("G-PRIV needs consent");
    // Its line may be broken within the path.
    assert!(refused.stderr.replace("\n  │ ", "").contains(&there), "{refused}");
    other("up -d --allow G-PRIV:web").succeeds();
    other("down").succeeds();
    other("up -d").succeeds();
    other("down").succeeds();
    host.berth("up -d").succeeds();
}

#[test]
fn a_consent_to_the_words_of_a_command_is_over_with_it() {
    let host = with("init: true");
    let words = "run --rm -T -v /etc:/e:ro";
    host.berth(&format!("{words} --allow G-BIND-ROOT:web web true")).succeeds();
    host.berth(&format!("{words} web true")).fails_with(9).stderr_has("G-BIND-ROOT:web");
    host.edit("compose.yaml", "init: true", "volumes: ['/etc:/x:ro']");
    host.berth("up -d").fails_with(9).stderr_has("G-BIND-ROOT:web");
}

#[test]
fn an_ordinary_stack_needs_no_word_and_shows_no_grants() {
    let host = with("volumes: ['./src:/src', '/etc/localtime:/etc/localtime:ro', 'data:/d']");
    host.write("src/file", "own");
    host.edit("compose.yaml", "services:", "volumes: { data: {} }\nservices:");
    host.berth("plan").succeeds().stdout_lacks("Grants");
    let up = host.berth("up -d").succeeds();
    assert!(!up.stderr.contains("Grants"), "{up}");
    host.berth("exec -T web cat /src/file").succeeds().stdout_is("own");
    host.berth("check").succeeds().stdout_lacks("Grants");
    assert_eq!(status(&host, "NoNewPrivs"), "0");
    let plan = host.berth("plan --json").succeeds().json();
    assert_eq!(plan["grants"], serde_json::json!([]));
}

#[test]
fn a_port_open_to_all_is_shown_by_default_and_held_back_by_stricter_policies() {
    let host = with("ports: ['8080:80']");
    host.berth("plan").succeeds().stdout_has("medium  new  web  G-PUBLIC  PUBLIC 8080:80/tcp");
    host.berth("check").succeeds().stdout_has("G-PUBLIC");
    let rows = host.berth("check --format json").succeeds().json();
    assert_eq!((rows[0]["code"].as_str(), rows[0]["line"].as_u64()), (Some("G-PUBLIC"), Some(2)));
    for words in ["--policy guarded", "--policy strict"] {
        host.berth(&format!("up -d {words}")).fails_with(9).stderr_has("G-PUBLIC needs consent");
    }
    host.shell("BERTH_POLICY=guarded $berth up -d").fails_with(9);
    host.shell("BERTH_POLICY=no-such $berth up -d").fails_with(64);
    host.berth("up -d --policy guarded --allow public:web").succeeds();
    host.berth("ps").succeeds().stdout_has("PUBLIC");
}

#[test]
fn strict_leaves_nothing_but_the_program() {
    let host =
        TestHost::with("compose.yaml", "services:\n  web: { image: localhost/host }\n").gated();
    host.berth("up -d --policy strict")
        .fails_with(9)
        .stderr_has("set `user` to a number that is not 0")
        .stderr_has("set `mem_limit`");
    let web = "services:
  web:
    image: localhost/host
    command: [sleep, '100000']
    user: '1000'
    mem_limit: 64m
    read_only: true
";
    host.write("compose.yaml", web);
    host.berth("up -d --policy strict").succeeds();
    assert_eq!(status(&host, "CapBnd"), "0000000000000000");
    assert_eq!(status(&host, "NoNewPrivs"), "1");
}

#[test]
fn a_link_is_judged_as_what_it_leads_to() {
    let host = with("volumes: ['./data:/data']");
    symlink("/etc", host.project("data")).unwrap();
    host.berth("up -d").fails_with(9).stderr_has("is given /etc: what the host itself lives of");
    std::fs::remove_file(host.project("data")).unwrap();
    host.write("real/file", "own");
    symlink("real", host.project("data")).unwrap();
    host.berth("up -d").succeeds();
    host.berth("exec -T web cat /data/file").succeeds().stdout_is("own");
}

#[test]
fn a_socket_of_an_engine_is_known_whatever_it_is_called() {
    let host = with("volumes: ['./harmless:/s']");
    if !on_path("perl") {
        return berth_tests::skipped("`perl` is missing");
    }
    let listen = "use IO::Socket::UNIX; my $s = IO::Socket::UNIX->new(Local => $ARGV[0], Listen => 1) or die; sleep 60";
    let engine =
        host.start_shell(Place::Inside, &format!("exec perl -e '{listen}' $PWD/docker.sock"));
    host.eventually("the socket is there", || host.project("docker.sock").exists());
    std::fs::hard_link(host.project("docker.sock"), host.project("harmless")).unwrap();
    host.berth("up -d").fails_with(9).stderr_has("the socket of docker").stderr_has("G-SOCK:web");
    engine.signal(Signal::SIGKILL);
    engine.ends();
    // Nobody listens any more, but it is still a socket of that name.
    host.edit("compose.yaml", "./harmless", "./docker.sock");
    host.berth("up -d").fails_with(9).stderr_has("G-SOCK:web");
}

#[test]
fn a_volume_that_is_a_bind_is_judged_as_one() {
    let host = with("volumes: ['data:/data']");
    let volumes = |device: &str| {
        let options = format!("{{ type: none, o: bind, device: {device} }}");
        format!(
            "services:\n  web: {{ {SLEEP}, volumes: ['data:/data'] }}\nvolumes: {{ data: {{ driver_opts: {options} }} }}\n"
        )
    };
    host.write("compose.yaml", &volumes("/etc"));
    host.berth("up -d").fails_with(9).stderr_has("G-BIND-HIDDEN").stderr_has("compose.yaml:3:");
    host.write("compose.yaml", &volumes("/var/lib/berth"));
    for words in ["", "--allow G-BIND-ROOT:web --allow G-BIND-HIDDEN:web"] {
        host.berth(&format!("up -d {words}")).fails_with(9).stderr_has("nobody can consent");
    }
}

#[test]
fn the_words_of_run_are_judged_too() {
    let host = with("init: true");
    host.berth("run --rm -T -v /etc:/e web true").fails_with(9).stderr_has("G-BIND-ROOT:web");
    host.berth("run --rm -T --policy guarded --cap-add CAP_NET_ADMIN web true")
        .fails_with(9)
        .stderr_has("G-CAP-NET needs consent");
    host.berth("run --rm -T --cap-add NET_ADMIN web true").succeeds();
}

#[test]
fn what_was_swapped_after_the_judgement_is_not_mounted() {
    for (swap, why) in [
        ("rm -r /p/data && ln -s /etc /p/data", "it leads to `/etc` now"),
        ("mv /p/data /p/old && mkdir /p/data", "it is another thing than the one that was judged"),
    ] {
        let host = TestHost::with(
            "compose.yaml",
            &format!(
                "services:
  first: {{ image: 'busybox:1', command: ['sh', '-c', '{swap}'], volumes: ['.:/p'] }}
  web: {{ {SLEEP}, volumes: ['./data:/data'], depends_on: {{ first: {{ condition: service_completed_successfully }} }} }}
"
            ),
        ).gated();
        host.write("data/file", "own");
        host.berth("up -d").fails_with(3).stderr_has(why).stderr_has("judges it anew");
        assert!(host.status("stack-web-1")["pid"].as_i64().unwrap_or(0) <= 0);
    }
}

#[test]
fn a_link_made_while_it_ran_is_not_followed_by_a_restart_but_a_file_written_anew_is_taken() {
    let host = with("volumes: ['./data:/data', './conf:/conf']");
    host.write("data/file", "own");
    host.write("conf", "old");
    host.berth("up -d").succeeds();
    host.write("conf.new", "new");
    std::fs::rename(host.project("conf.new"), host.project("conf")).unwrap();
    host.berth("restart web").succeeds();
    host.berth("exec -T web cat /conf").succeeds().stdout_is("new");
    std::fs::rename(host.project("data"), host.project("away")).unwrap();
    symlink("/etc", host.project("data")).unwrap();
    let refused = host.berth("restart web");
    assert_ne!(refused.code, 0, "{refused}");
    refused.stderr_has("leads to `/etc` now");
    host.berth("exec -T web cat /data/file").succeeds().stdout_is("own");
}

/// Berth with its state elsewhere, and the host's policy beside it.
struct Elsewhere(TestHost);

impl Elsewhere {
    fn with(compose: &str, policy: &str) -> Elsewhere {
        let host = TestHost::with("compose.yaml", compose).gated();
        host.write("policy.json", policy);
        host.shell("mkdir -m 755 /var/lib/else && cp policy.json /var/lib/else/policy.json")
            .succeeds();
        Elsewhere(host)
    }

    fn berth(&self, words: &str) -> berth_tests::Finished {
        self.0.berth(&format!("--root /var/lib/else {words}"))
    }
}

impl Drop for Elsewhere {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.berth("down -t 0");
            self.0.shell("rm -r /var/lib/else");
        }
    }
}

const PLAIN: &str = "services:\n  web: { image: localhost/host, command: [sleep, '100000'], stop_grace_period: 0s, ports: ['8080:80'] }\n";

#[test]
fn the_hosts_policy_is_a_floor_that_no_flag_goes_below() {
    let host = Elsewhere::with(PLAIN, r#"{"policy":"guarded"}"#);
    for words in ["up -d", "up -d --policy default"] {
        host.berth(words).fails_with(9).stderr_has("the policy `guarded`");
    }
    host.0.write(
        "policy.json",
        r#"{"policy":"guarded","consents":[{"stack":"stack","service":"web","grant":"G-PUBLIC"}]}"#,
    );
    host.0.shell("cp policy.json /var/lib/else/policy.json").succeeds();
    host.berth("up -d").succeeds();
    host.berth("plan").succeeds().stdout_has("consented in /var/lib/else/policy.json");
}

#[test]
fn the_hosts_policy_may_require_or_forbid_user_namespaces() {
    let text = PLAIN.replace("ports: ['8080:80']", "network_mode: host");
    let host = Elsewhere::with(&text, r#"{"security":{"userns":"require"}}"#);
    host.berth("up -d").fails_with(9).stderr_has("G-USERNS is refused");
    host.0.write("compose.yaml", PLAIN);
    host.berth("up -d").succeeds();
    let map = host.berth("exec -T web cat /proc/self/uid_map").succeeds().stdout;
    assert_ne!(map.split_whitespace().nth(1), Some("0"), "{map}");
    host.0
        .shell("echo '{\"security\":{\"userns\":\"off\"}}' >/var/lib/else/policy.json")
        .succeeds();
    host.berth("up -d").succeeds().stderr_has("G-USERNS");
    let map = host.berth("exec -T web cat /proc/self/uid_map").succeeds().stdout;
    assert_eq!(map.split_whitespace().nth(1), Some("0"), "{map}");
}

#[test]
fn a_policy_that_others_could_have_written_is_not_used() {
    let host = Elsewhere::with(PLAIN, "{}");
    let file = "/var/lib/else/policy.json";
    for spoil in ["chmod 666", "chmod 620", "chown 1000"] {
        host.0.shell(&format!("{spoil} {file}")).succeeds();
        for command in ["up -d", "plan", "run web"] {
            host.berth(command).fails_with(1).stderr_has("is not used");
        }
        host.berth("check").fails_with(65).stdout_has("is not used");
        host.0.shell(&format!("chmod 644 {file} && chown 0 {file}")).succeeds();
    }
    host.0.shell(&format!("mv {file} {file}.real && ln -s {file}.real {file}")).succeeds();
    host.berth("plan").fails_with(1).stderr_has("is not used");
    host.0.shell(&format!("rm {file} && echo '{{\"polcy\":1}}' >{file}")).succeeds();
    let place = format!("`{file}:1:8` is wrong: unknown field `polcy`");
    host.berth("plan").fails_with(1).stderr_has(&place);
    host.berth("check").fails_with(65).stdout_has("policy.json:1:8").stdout_has("1 error");
    let rows = host.berth("check --format json").fails_with(65).json();
    assert_eq!((rows[0]["file"].as_str(), rows[0]["line"].as_u64()), (Some(file), Some(1)));
}

#[test]
fn variables_and_files_from_outside_are_listed_and_held_back_from_guarded_stacks() {
    let host = TestHost::with(
        "compose.yaml",
        "services:\n  web: { image: localhost/host, command: ['true', '$CANARY'], environment: [OTHER], env_file: ../out.env }\n",
    ).gated();
    host.write("../out.env", "A=1");
    let plan = |words: &str| host.shell(&format!("CANARY=x OTHER=y $berth plan {words}"));
    plan("")
        .succeeds()
        .stdout_has("the variable CANARY of the host")
        .stdout_has("the variable OTHER of the host")
        .stdout_has("/out.env, outside the project");
    plan("--policy guarded").fails_with(9).stderr_has("CANARY").stderr_has("/out.env");
    std::fs::remove_file(host.project("../out.env")).unwrap();
}

#[test]
fn a_link_beside_the_compose_file_is_a_file_from_where_it_leads() {
    let host = with("env_file: [linked.env, own.env]");
    host.write("../out.env", "A=1");
    host.write("own.env", "B=1");
    symlink("../out.env", host.project("linked.env")).unwrap();
    let plan = host.berth("plan").succeeds().stdout_has("/out.env, outside the project");
    plan.stdout_lacks("own.env");
    host.berth("plan --policy guarded").fails_with(9).stderr_has("/out.env");
    std::fs::remove_file(host.project("../out.env")).unwrap();
}

#[test]
fn on_a_terminal_up_asks_once() {
    let host = with("privileged: true");
    let ask = |answer: &str, words: &str| {
        let line =
            format!("(sleep 1; echo {answer}) | script -qec \"$berth up -d {words}\" /dev/null");
        host.shell(&line)
    };
    if !on_path("script") {
        return berth_tests::skipped("`script` is missing");
    }
    assert_eq!(ask("n", "").code, 9);
    assert_eq!(ask("y", "--yes").code, 9, "--yes consents to nothing");
    let yes = ask("y", "");
    assert_eq!(yes.code, 0, "{yes}");
    assert!(yes.stdout.contains("let `stack` have this, now and later? [y/N]"), "{yes}");
    host.berth("down").succeeds();
    host.berth("up -d").succeeds();
}

#[test]
fn what_happened_while_somebody_was_asked_is_judged_as_well() {
    if !on_path("script") {
        return berth_tests::skipped("`script` is missing");
    }
    let host = with("privileged: true, volumes: ['data:/data']");
    host.edit("compose.yaml", "services:", "volumes: { data: { name: shared } }\nservices:");
    host.write("other/compose.yaml", &format!(
        "name: other\nvolumes: {{ data: {{ name: shared }} }}\nservices:\n  db: {{ {SLEEP}, volumes: ['data:/d'] }}\n"
    ));
    let asked = host.start_shell(
        Place::Inside,
        "mkfifo answer; exec 3<>answer; exec script -qec \"$berth up -d\" /dev/null <answer",
    );
    asked.prints("let `stack` have this, now and later? [y/N]");
    host.shell("cd other && $berth up -d").succeeds();
    host.shell("echo y >answer").succeeds();
    let refused = asked.ends().fails_with(9);
    assert!(refused.stdout.contains("G-XSTACK"), "{refused}");
    host.berth("ps -a").stdout_lacks("stack-web");
    // What was said yes to was not made use of, so nobody knows of it.
    assert!(!host.machine().path("/var/lib/berth/projects/stack/consents.json").exists());
    host.shell("cd other && $berth down -v -y").succeeds();
}
