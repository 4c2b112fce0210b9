//! Who only looks changes nothing: no file, no link, no rule.

#[path = "planning/shop.rs"]
mod shop;

use std::thread::sleep;
use std::time::Duration;

use berth_tests::machine::Place;
use berth_tests::{Running, TestHost, images, skipped};
use shop::{SHOP, shop};

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
