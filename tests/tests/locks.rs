//! A lock keeps a stack on its images, whatever tags mean; without one, policies say when a tag
//! is looked at.

use berth_tests::command::Running;
use berth_tests::registry::{self, OPEN, Registry};
use berth_tests::{TestHost, images};

const STACK: &str = "
services:
  web:
    image: 127.0.0.1:5000/shop/app:1
    command: [sleep, '100000']
";

/// A registry on the machine's loopback with `shop/app:1`, and a stack of it. The test is given
/// the registry, which logs every request.
fn with_app(test: impl FnOnce(&TestHost, &Running)) {
    if !registry::is_here() {
        return;
    }
    let host = TestHost::bare();
    let registry = Registry::start(&host, OPEN);
    publish(&host, "one");
    host.write("compose.yaml", STACK);
    test(&host, registry.server());
    registry.end();
}

/// Lets `shop/app:1` mean an image whose variable VERSION is this.
fn publish(host: &TestHost, version: &str) {
    publish_as(host, "127.0.0.1:5000/shop/app:1", version);
}

/// Makes an image in a store apart, and pushes it.
fn publish_as(host: &TestHost, name: &str, version: &str) {
    let archive = images::busybox();
    let line = format!(
        "tar -xOf {} layer.tar \
         | $berth --root maker image import -c 'ENV PATH=/bin VERSION={version}' - {name} \
         && $berth --root maker image push -q {name}",
        archive.display()
    );
    host.shell(&line).succeeds();
}

/// How often the registry was asked for something of `shop/app` in this way.
fn asked(server: &Running, method: &str) -> usize {
    server.said().matches(&format!("\"{method} /v2/shop/app/")).count()
}

/// The version that runs.
fn version(host: &TestHost) -> String {
    host.berth("exec -T web sh -c 'echo $VERSION'").succeeds().stdout.trim().to_owned()
}

/// The digest in the lock.
fn locked(host: &TestHost) -> String {
    locked_in(&host.shell("cat berth.lock").succeeds().stdout)
}

/// The first digest in the text of a lock.
fn locked_in(text: &str) -> String {
    let line = text.lines().find_map(|line| line.trim().strip_prefix("digest: "));
    line.unwrap_or_else(|| panic!("no digest in {text}")).to_owned()
}

#[test]
fn a_lock_keeps_the_image_until_it_is_updated() {
    with_app(|host, _| {
        host.berth("lock").succeeds().stdout_has("127.0.0.1:5000/shop/app:1 is sha256:");
        let (text, first) = (host.shell("cat berth.lock").stdout, locked(host));
        assert!(text.contains("version: 1\n") && text.contains("linux/"), "{text}");
        host.berth("lock").succeeds().stdout_is("");
        host.berth("lock --check").succeeds();
        host.berth("up -d").succeeds();
        assert_eq!(version(host), "one");

        publish(host, "two");
        let before = host.pid_of("web");
        host.berth("lock").succeeds().stdout_is("");
        host.berth("up -d --pull always").succeeds();
        assert_eq!((host.pid_of("web"), version(host)), (before, "one".into()));
        let told = format!("127.0.0.1:5000/shop/app:1 moved: {first} → sha256:");
        host.berth("--dry-run lock --update").succeeds().stdout_has(&told);
        assert_eq!(host.shell("cat berth.lock").stdout, text);
        let json = host.berth("lock --update --format json").succeeds().json();
        assert_eq!((&json["change"], &json["before"]), (&"moved".into(), &first.clone().into()));

        let second = locked(host);
        let short = &second[..19];
        let reason = format!("image 127.0.0.1:5000/shop/app:1 moves to {short} (berth.lock)");
        host.berth("plan --detailed-exitcode").fails_with(2).stdout_has(&reason);
        let planned = host.berth("plan --locked").succeeds().stdout_has(&reason);
        assert!(!planned.stderr.contains("looked at"), "{}", planned.stderr);
        host.berth("up -d --locked").succeeds();
        assert_eq!(version(host), "two");
        // The other image is here still, and another host gets it by its digest.
        host.write("berth.lock", &text);
        host.berth("up -d").succeeds();
        assert_eq!(version(host), "one");
        host.berth("--root other pull").succeeds();
        host.berth("--root other image ls --format json").succeeds().stdout_has(&first);
        // No locked pull has moved the tag, by which other stacks go.
        host.shell("rm berth.lock").succeeds();
        host.berth("up -d").succeeds().stderr_has("nothing to do");
    });
}

#[test]
fn an_image_that_is_mounted_is_locked_and_pulled_too() {
    with_app(|host, _| {
        let stack = "
services:
  web:
    image: localhost/host
    command: [sleep, '100000']
    volumes: [{ type: image, source: '127.0.0.1:5000/shop/app:1', target: /app }]
";
        host.write("compose.yaml", stack);
        host.berth("lock").succeeds().stdout_has("127.0.0.1:5000/shop/app:1 is sha256:");
        host.berth("lock --check").succeeds();
        let first = locked(host);
        host.berth("pull").succeeds();
        host.berth("image ls --digests").succeeds().stdout_has(&first);

        publish(host, "two");
        host.berth("up -d").succeeds();
        host.berth("image prune -af").succeeds();
        host.berth("image ls --digests").succeeds().stdout_has(&first);
        host.berth("lock --update").succeeds().stdout_has(&format!("moved: {first} →"));
        host.berth("plan").succeeds().stdout_has(&locked(host));
    });
}

#[test]
fn what_is_not_in_the_lock_is_told_and_with_locked_refused_before_anything_is_touched() {
    with_app(|host, server| {
        host.berth("up -d --locked").fails_with(1).stderr_has("there is no `berth.lock`");
        host.berth("lock --check").fails_with(1).stderr_has("`berth lock` makes it");
        host.berth("lock").succeeds();
        let text = host.shell("cat berth.lock").stdout;
        let gone = text.replace("shop/app:1", "shop/gone:1");
        host.write("berth.lock", &gone);
        for command in [
            "up -d --locked",
            "plan --locked",
            "pull --locked",
            "create --locked",
            "run --locked web true",
            "lock --check",
        ] {
            host.berth(command)
                .fails_with(1)
                .stderr_has("image `127.0.0.1:5000/shop/app:1` of `web` has no entry in the lock")
                .stderr_has(
                    "the lock has image `127.0.0.1:5000/shop/gone:1`, which no service uses",
                )
                .stderr_has("`berth.lock` does not fit the files");
        }
        host.berth("plan").succeeds().stderr_has("so the tag counts; `berth lock` adds it");
        // A digest that the registry does not have is not made up for by the tag.
        let other = format!("sha256:{}", "0".repeat(64));
        host.write("berth.lock", &text.replace(&locked_in(&text), &other));
        host.berth("up -d --locked").fails_with(1).stderr_has("404");
        host.berth("up -d").fails_with(1).stderr_has("404");
        host.berth("ps -aq").succeeds().stdout_is("");
        host.berth("network ls -q").succeeds().stdout_is("");
        host.berth("image ls -q").succeeds().stdout_is("");
        host.write("berth.lock", &text.replace("version: 1", "version: 2"));
        host.berth("up -d").fails_with(65).stderr_has("berth.lock:3:10").stderr_has("version 2");
        // A lock needs no registry to be looked at, and its images none when they are here.
        host.write("berth.lock", &text);
        host.berth("up -d --locked").succeeds();
        host.berth("down").succeeds();
        server.signal(nix::sys::signal::Signal::SIGKILL);
        host.eventually("the registry is gone", || server.running().is_none());
        host.berth("lock --check").succeeds();
        host.berth("up -d --locked").succeeds();
        host.berth("lock --update").fails_with(1).stderr_has("cannot reach registry");
        assert_eq!(host.shell("cat berth.lock").stdout, text);
    });
}

#[test]
fn outdated_says_what_moved_and_asks_for_heads_only() {
    with_app(|host, server| {
        host.berth("outdated").succeeds().stdout_has("not here");
        host.berth("up -d").succeeds();
        host.berth("outdated --exit-code").succeeds().stdout_has("current");
        publish(host, "two");
        let asked = |method: &str| asked(server, method);
        let (heads, gets) = (asked("HEAD"), asked("GET"));
        host.berth("outdated --exit-code").fails_with(2).stdout_has("moved");
        host.eventually("the head is logged", || asked("HEAD") > heads);
        assert_eq!((asked("HEAD"), asked("GET")), (heads + 1, gets));
        host.berth("pull").succeeds();
        let json = host.berth("outdated --format json").succeeds().json();
        assert_eq!(
            (&json["standing"], &json["locked"]),
            (&"moved".into(), &serde_json::Value::Null)
        );
        assert_eq!((&json["local"][0], &json["service"]), (&json["now"], &"web".into()));
        // A new replica beside the old one does not make the old one new.
        host.berth("up -d --scale web=2 --no-recreate").succeeds();
        host.berth("outdated --exit-code").fails_with(2).stdout_has("moved");
        host.berth("up -d").succeeds();
        host.berth("outdated --exit-code").succeeds();
        publish_as(host, "127.0.0.1:5000/shop/app:3", "three");
        host.berth("outdated --tags --format json").succeeds().stdout_has(r#""newer":"3""#);
        // One registry that is away does not hide the others.
        host.write("compose.yaml", &format!("{STACK}  far: {{ image: '127.0.0.1:9/far' }}\n"));
        host.berth("outdated")
            .fails_with(1)
            .stdout_has("current")
            .stdout_has("failed")
            .stderr_has("cannot reach registry `127.0.0.1:9`");
        host.berth("outdated web").succeeds();
        host.berth("outdated webb").fails_with(1).stderr_has("did you mean `web`?");
    });
}

#[test]
fn a_policy_says_when_a_tag_is_looked_at_again() {
    with_app(|host, server| {
        let policy = |policy: &str| {
            host.write("compose.yaml", &format!("{STACK}    pull_policy: {policy}\n"));
        };
        policy("never");
        host.write("more.yaml", "services: { also: { image: 'other:2', pull_policy: never } }\n");
        host.berth("-f compose.yaml -f more.yaml up -d")
            .fails_with(1)
            .stderr_has("image `127.0.0.1:5000/shop/app:1` of service `web` is not here")
            .stderr_has("image `other:2` of service `also` is not here");
        host.berth("network ls -q").succeeds().stdout_is("");
        host.berth("run --pull never web true").fails_with(125).stderr_has("is not here");
        host.berth("pull").succeeds().stderr_has("web is left out: its `pull_policy` is `never`");
        host.berth("up -d --pull missing").succeeds();
        publish(host, "two");
        policy("missing");
        host.berth("up -d").succeeds();
        assert_eq!(version(host), "one");
        policy("every_1w2d3h4m5s");
        host.berth("up -d").succeeds();
        assert_eq!(version(host), "one");
        let name = "/var/lib/berth/images/refs/127.0.0.1:5000/shop/app/_tags/1";
        let age = |seconds: i64| {
            let moved = format!(
                "sed -i 's/\"pulled_at\": [0-9]*/\"pulled_at\": '$(($(date +%s) - {seconds}))'/' {name}"
            );
            host.shell(&moved).succeeds();
        };
        age(788_645 - 3600);
        host.berth("up -d").succeeds();
        assert_eq!(version(host), "one");
        age(788_645);
        host.berth("up -d").succeeds();
        assert_eq!(version(host), "two");
        publish(host, "three");
        host.berth("up -d").succeeds();
        assert_eq!(version(host), "two");
        policy("always");
        host.berth("plan").succeeds().stderr_has("shop/app:1` is looked at first; if it moved");
        host.berth("up -d --pull missing").succeeds();
        assert_eq!(version(host), "two");
        host.berth("--dry-run up -d")
            .succeeds()
            .stdout_is("nothing to do")
            .stderr_has("shop/app:1` is looked at first; if it moved");
        host.berth("pull").succeeds();
        host.berth("plan").succeeds().stdout_has("replace  web-1  image ");
        host.berth("up -d").succeeds();
        assert_eq!(version(host), "three");
        // What has not moved costs a head each time.
        let (heads, gets) = (asked(server, "HEAD"), asked(server, "GET"));
        host.berth("up -d").succeeds();
        host.eventually("the head is logged", || asked(server, "HEAD") > heads);
        assert_eq!(asked(server, "GET"), gets);
        publish(host, "four");
        host.berth("run --rm --pull always web sh -c 'echo $VERSION'")
            .succeeds()
            .stdout_has("four");
        policy("daily");
        age(86_400);
        host.berth("up -d").succeeds();
        assert_eq!(version(host), "four");
        policy("build");
        host.berth("up -d").fails_with(65).stderr_has("needs a builder");
        host.berth("up -d --pull sometimes").fails_with(64).stderr_has("is not a pull policy");
    });
}

#[test]
fn what_is_done_without_dependencies_does_not_pull_them() {
    with_app(|host, _| {
        let more =
            "    depends_on: [far]\n  far: { image: '127.0.0.1:9/far:1', pull_policy: always }\n";
        host.write("compose.yaml", &format!("{STACK}{more}"));
        host.berth("up -d --no-deps web").succeeds();
        let said = host.berth("run --rm --no-deps --pull always web sh -c 'echo $VERSION'");
        said.succeeds().stdout_has("one");
        host.berth("up -d web").fails_with(1).stderr_has("127.0.0.1:9/far:1");
    });
}

#[test]
fn pull_leaves_out_what_it_need_not_fetch_and_says_so() {
    with_app(|host, _| {
        let more = "  made: { build: . }\n  both: { image: '127.0.0.1:5000/shop/both', build: . }\n  \
                    gone: { image: '127.0.0.1:5000/shop/gone', depends_on: [web] }\n  \
                    kept: { image: '127.0.0.1:5000/shop/app:1', pull_policy: missing }\n";
        host.write("compose.yaml", &format!("{STACK}{more}"));
        host.berth("pull --ignore-buildable --ignore-pull-failures")
            .succeeds()
            .stderr_has("made is left out: it has no `image` to pull, it is built")
            .stderr_has("both is left out: it can be built")
            .stderr_has("warning: cannot pull image `127.0.0.1:5000/shop/gone`");
        host.berth("pull kept").succeeds().stderr_has("kept is left out: its image is here");
        host.berth("pull --policy missing web").succeeds().stderr_has("web is left out");
        host.berth("pull -q web").succeeds().stdout_is("");
        host.berth("pull gone").fails_with(1).stderr_has("manifest unknown");
        host.berth("image rm 127.0.0.1:5000/shop/app:1").succeeds();
        host.berth("pull --include-deps --ignore-pull-failures gone").succeeds();
        host.berth("image ls").succeeds().stdout_has("shop/app");
        host.berth("lock")
            .fails_with(1)
            .stderr_has("image of `gone`")
            .stderr_has("nothing was locked");
        host.berth("lock web kept both")
            .succeeds()
            .stdout_has("shop/app:1 is sha256:")
            .stderr_has("shop/both:latest is left out, it is built here");
        host.write(
            "compose.yaml",
            &format!("{STACK}  both: {{ image: '127.0.0.1:5000/shop/both', build: . }}\n"),
        );
        host.berth("outdated")
            .succeeds()
            .stdout_has("built here")
            .stderr_has("127.0.0.1:5000/shop/both is built here: ");
        let pulled = host.berth("pull --ignore-buildable").succeeds();
        assert!(!pulled.stderr.contains("the tag counts"), "{}", pulled.stderr);
    });
}
