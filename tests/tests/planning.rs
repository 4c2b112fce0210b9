//! What was planned is what is done, or nothing is; and planning changes nothing.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::thread::sleep;
use std::time::Duration;

use berth_tests::command::Finished;
use berth_tests::machine::Place;
use berth_tests::{Running, TestHost, images, skipped};

const SHOP: &str = "
services:
  db:
    image: busybox:1
    command: [sleep, '100000']
    stop_grace_period: 1s
    environment: { DB_PASSWORD: 'hunter2', LEVEL: '1' }
    configs: [settings]
    volumes: [data:/data]
  web:
    image: busybox:1
    command: [sleep, '100000']
    stop_grace_period: 1s
    environment: { TAG: \"${TAG:-one}\" }
    depends_on: [db]
    ports: ['127.0.0.1:8080:80']
    secrets: [token]
configs:
  settings: { file: settings.conf }
secrets:
  token: { file: token.txt }
volumes:
  data: {}
";

/// The shop, not up yet.
fn shop() -> TestHost {
    let host = TestHost::with("compose.yaml", SHOP);
    host.write("settings.conf", "port = 1\n");
    host.write("token.txt", "s3cr3t-token\n");
    host
}

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

/// The jail, and whether it can be made here.
fn jail(host: &TestHost) -> Option<&'static str> {
    let jail = env!("CARGO_BIN_EXE_berth-jail");
    if host.shell(&format!("{jail} true")).code == 77 {
        skipped("this kernel has no Landlock");
        return None;
    }
    Some(jail)
}

/// Every file and folder of berth and of the project: kind, mode, owner, size, times and content.
fn everything(host: &TestHost) -> String {
    let line = "find /var/lib/berth /run/berth . -printf '%p %y %m %U %G %s %T@ %C@\\n' 2>/dev/null \
        | sort; find /var/lib/berth /run/berth . -type f -exec sha256sum {} + 2>/dev/null | sort";
    host.shell(line).stdout
}

/// What programs that watch the kernel say of links, addresses, routes and packet rules.
struct Watch<'a> {
    host: &'a TestHost,
    watchers: [Running; 2],
    marks: u32,
}

impl<'a> Watch<'a> {
    fn begin(host: &'a TestHost) -> Watch<'a> {
        let start = |line: &str| host.start_shell(Place::Inside, line);
        let watchers = [
            start("exec stdbuf -oL nft monitor"),
            start("exec stdbuf -oL ip -o monitor link address route rule"),
        ];
        let mut watch = Watch { host, watchers, marks: 0 };
        watch.mark();
        watch
    }

    /// Changes something until both have seen it, and gives what they have said up to there.
    fn mark(&mut self) -> [String; 2] {
        self.marks += 1;
        let name = format!("mark{}", self.marks);
        let line = format!(
            "nft add table inet {name}; nft delete table inet {name}; \
             ip link add {name} type bridge; ip link delete {name}"
        );
        let [nft, links] = &self.watchers;
        let table = format!("delete table inet {name}");
        self.host.eventually("both watch", || {
            self.host.shell(&line).succeeds();
            sleep(Duration::from_millis(20));
            let link = |line: &str| line.contains("Deleted") && line.contains(&name);
            nft.said().contains(&table) && links.said().lines().any(link)
        });
        [nft.said(), links.said()]
    }

    /// What they say of `run`, their marks aside.
    fn during(&mut self, run: impl FnOnce()) -> String {
        let before = self.mark();
        run();
        let after = self.mark();
        let marks: Vec<String> = (1..=self.marks).map(|n| format!("mark{n}")).collect();
        let new = before.iter().zip(&after).flat_map(|(before, after)| {
            after.get(before.len()..).unwrap_or_default().lines().map(str::to_owned)
        });
        let by_nft = |line: &str| line.starts_with("# new generation") && line.ends_with("(nft)");
        // The kernel says again what links are when something behind them has settled.
        let again = |line: &str| line.contains("LOWER_UP") && !line.contains("Deleted");
        let other = new.filter(|line| !marks.iter().any(|mark| line.contains(mark.as_str())));
        Vec::from_iter(other.filter(|line| !by_nft(line) && !again(line))).join("\n")
    }

    fn end(self) {
        for watcher in self.watchers {
            watcher.signal(nix::sys::signal::Signal::SIGKILL);
            watcher.ends();
        }
    }
}

/// What only looks, each with its exit status if that is the same at any time: all kinds of `plan`, dry
/// runs of what changes, and readers of all that berth has.
const LOOKS: [(&str, i32); 48] = [
    ("plan", 0),
    ("plan --json", 0),
    ("plan --ops", 0),
    ("plan --graph dot", 0),
    ("plan --graph mermaid", 0),
    ("plan --diff", 0),
    ("plan --why web", 0),
    ("plan --detailed-exitcode", 2),
    ("plan --down --volumes", 0),
    ("plan --down --diff", 0),
    ("plan --force-recreate --pull never --remove-orphans", -1),
    ("plan --policy strict --no-deps web", -1),
    ("plan --scale db=3 --renew-anon-volumes", 0),
    ("plan --locked", 1),
    ("plan shop.plan", -1),
    ("plan --json shop.plan", -1),
    ("--dry-run up -d", 0),
    ("--dry-run up shop.plan", 64),
    ("--dry-run down -v", 0),
    ("--dry-run restart", 0),
    ("--dry-run stop", 0),
    ("--dry-run start", -1),
    ("--dry-run create", 0),
    ("--dry-run rm -sf", 0),
    ("--dry-run scale db=2", 0),
    ("--dry-run kill", -1),
    ("--dry-run run -T --name one db true", -1),
    ("--dry-run up -d --force-recreate --allow all", 0),
    ("check", 0),
    ("config", 0),
    ("graph", 0),
    ("explain services.db.image", 0),
    ("ps -a", 0),
    ("ls -a", 0),
    ("images", 0),
    ("image ls", 0),
    ("image inspect busybox:1", -1),
    ("volume ls", 0),
    ("volume inspect stack_data", -1),
    ("network ls", 0),
    ("network inspect stack_default", -1),
    ("port web 80", -1),
    ("ports", 0),
    ("top", -1),
    ("diff db", -1),
    ("logs --tail 5", -1),
    ("system df", 0),
    ("version", 0),
];

/// Runs what only looks, free and in the jail, and nothing is another than before.
fn looks_change_nothing(host: &TestHost, jail: &str, when: &str) {
    let mut seen = everything(host);
    host.eventually("it rests", || {
        let before = std::mem::replace(&mut seen, everything(host));
        sleep(Duration::from_millis(100));
        // The kernel tells of an address once more when it is sure that nobody else has it.
        let unsure = host.shell("ip -o address show tentative").succeeds().stdout;
        before == seen && unsure.is_empty()
    });
    let ledger = host.ledger();
    let mut watch = Watch::begin(host);
    let mut wrong = Vec::new();
    let said = watch.during(|| {
        for (words, code) in LOOKS {
            let free = host.berth(words);
            let jailed = host.shell(&format!("{jail} $berth {words}"));
            // Those tell how long ago something was, or what a program says meanwhile.
            let tells = ["ps", "top", "image ls", "images", "logs", "events"];
            let tells_time = tells.iter().any(|command| words.starts_with(command));
            if code >= 0 && free.code != code
                || jailed.code != free.code
                || !tells_time && jailed.stdout != free.stdout
            {
                wrong.push(format!("in the jail {jailed}\nfree {free}"));
            }
            assert_eq!(everything(host), seen, "{when}: `{words}` changed files");
        }
    });
    assert!(wrong.is_empty(), "{when}:\n{}", wrong.join("\n"));
    assert_eq!(said, "", "{when}: the network was changed");
    watch.end();
    let left = host.ledger().since(&ledger, &[]);
    assert!(left.is_empty(), "{when}:\n{left}");
}

#[test]
fn the_jail_holds() {
    let host = shop();
    let Some(jail) = jail(&host) else { return };
    for line in
        ["touch x", "mkdir x", "rm compose.yaml", "chmod 600 compose.yaml", "mv token.txt y"]
    {
        assert_ne!(host.shell(&format!("{jail} {line}")).code, 0, "{line}");
    }
    assert_ne!(host.shell(&format!("{jail} sh -c 'echo >>compose.yaml'")).code, 0);
    assert_ne!(host.shell(&format!("{jail} flock . true")).code, 0);
    assert_ne!(host.shell(&format!("{jail} $berth up -d")).code, 0);
    assert!(!host.machine().path("/var/lib/berth/containers/stack-db-1").exists());
    host.shell(&format!("{jail} cat compose.yaml")).succeeds().stdout_has("services");
    let mut watch = Watch::begin(&host);
    let said = watch.during(|| {
        host.shell(&format!("{jail} ip link add seen type bridge; ip link delete seen")).succeeds();
    });
    watch.end();
    assert!(said.contains("seen"), "what the jail lets through is watched: {said}");
}

#[test]
fn planning_changes_nothing_on_a_host_that_has_never_seen_berth() {
    let host = TestHost::bare();
    host.write("compose.yaml", SHOP);
    host.write("settings.conf", "port = 1\n");
    host.write("token.txt", "s3cr3t-token\n");
    let Some(jail) = jail(&host) else { return };
    looks_change_nothing(&host, jail, "without an image");
    for folder in ["/var/lib/berth", "/run/berth"] {
        assert!(!host.machine().path(folder).exists(), "{folder} was made by looking");
    }
    host.shell(&format!("{jail} $berth --root /tmp/nowhere/else plan")).succeeds();
    host.load(&images::busybox());
    looks_change_nothing(&host, jail, "before the first up");
}

#[test]
fn planning_changes_nothing_whatever_there_is_to_do() {
    let host = shop();
    let Some(jail) = jail(&host) else { return };
    host.berth("up -d").succeeds();
    host.edit("compose.yaml", "LEVEL: '1'", "LEVEL: '2'");
    host.berth("plan -o shop.plan").succeeds();
    host.shell(&format!("{jail} $berth plan shop.plan")).succeeds().stderr_has("it still holds");
    looks_change_nothing(&host, jail, "after an edit");
    host.edit("compose.yaml", "'127.0.0.1:8080:80'", "'127.0.0.1:8081:80'");
    host.edit("compose.yaml", "  data: {}", "  data: { labels: { a: b } }");
    host.write("settings.conf", "port = 2\n");
    host.write("token.txt", "other\n");
    looks_change_nothing(&host, jail, "after changes of contents, ports and volumes");
    host.kill("KILL", host.monitor_of("db"));
    host.kill("KILL", host.monitor_of("web"));
    host.kill("KILL", host.pid_of("web").pid);
    host.shell("mkdir -p /var/lib/berth/containers/stack-half-1 /var/lib/berth/trash/x").succeeds();
    looks_change_nothing(&host, jail, "after a crash");
    host.edit("compose.yaml", "  web:\n", "  other:\n");
    looks_change_nothing(&host, jail, "with an orphan");
    host.berth("up -d --remove-orphans").succeeds();
}
