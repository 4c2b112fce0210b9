//! What a lock says is the image a service gets, whatever its tag means.

use berth_planner::lock::{Names, Pins};
use berth_planner::observed::ObservedImage;
use berth_planner::pull::{Fetch, PullOptions, Source, fetches};
use berth_planner::up::covered;
use berth_planner::{Plan, UpOptions, pulls, up};
use berth_schema::lockfile::{Lock, LockedImage};
use berth_schema::stack::{InitStep, PullPolicy, Stack};
use insta::assert_snapshot;

use crate::host::FakeHost;
use crate::stacks::{desired as resolved, service, with};

fn digest(letter: &str) -> String {
    format!("sha256:{}", letter.repeat(64))
}

fn stack() -> Stack {
    with([("db", service("pg:17")), ("web", service("nginx:1"))])
}

/// What a stack wants when the lock has these images.
fn desired(stack: &Stack, locked: &[(&str, &str)]) -> berth_planner::desired::Desired {
    let name = |image: &str| format!("docker.io/library/{image}");
    let images = stack.services.values().flat_map(|s| {
        s.image.iter().chain(s.pre_start.iter().filter_map(|step| step.image.as_ref()))
    });
    let names: Names = images.map(|image| (image.clone(), name(image))).collect();
    let entry = |letter: &str| LockedImage { digest: digest(letter), ..LockedImage::default() };
    let images = locked.iter().map(|(image, letter)| (name(image), entry(letter))).collect();
    let mut desired = resolved(stack);
    Pins::of(&names, &Lock { images }).pin(&mut desired);
    desired
}

fn plan(stack: &Stack, host: &FakeHost, locked: &[(&str, &str)]) -> Plan {
    up(&desired(stack, locked), &host.observed, &UpOptions::default(), &stack.places).unwrap()
}

/// Brings the stack up and gives the plan; then nothing is left to do.
fn brought_up(stack: &Stack, host: &mut FakeHost, locked: &[(&str, &str)]) -> String {
    let made = plan(stack, host, locked);
    host.apply_all(&made, 1);
    for container in host.observed.containers.values_mut() {
        container.monitored = true;
    }
    let left = plan(stack, host, locked);
    assert!(left.is_empty(), "{left}");
    made.to_string()
}

#[test]
fn a_locked_image_is_pulled_by_its_digest_and_a_moved_lock_replaces_its_containers_only() {
    let (stack, mut host) = (stack(), FakeHost::new());
    assert_snapshot!(brought_up(&stack, &mut host, &[("nginx:1", "a")]), @"
    pull    image nginx:1         sha256:aaaaaaaaaaaa (berth.lock)
    pull    image pg:17
    create  network shop_default  172.19.0.0/16
    create  db-1                  pg:17
    create  web-1                 nginx:1
    Plan: 3 create, 2 pull
    ");
    assert_snapshot!(brought_up(&stack, &mut host, &[("nginx:1", "b")]), @"
    pull     image nginx:1  sha256:bbbbbbbbbbbb (berth.lock)
    replace  web-1          image nginx:1 moves to sha256:bbbbbbbbbbbb (berth.lock)
    Plan: 1 replace, 1 pull, 2 unchanged
    ");
    // What the tag means here makes no difference.
    host.observed.images.get_mut("nginx:1").unwrap().id = "sha256:other".into();
    assert!(plan(&stack, &host, &[("nginx:1", "b")]).is_empty());
    // The old image is here still.
    assert_snapshot!(brought_up(&stack, &mut host, &[("nginx:1", "a")]), @"
    replace  web-1  image nginx:1 moves to sha256:aaaaaaaaaaaa (berth.lock)
    Plan: 1 replace, 2 unchanged
    ");
    assert_snapshot!(brought_up(&stack, &mut host, &[]), @"
    replace  web-1  image aaaaaaaaaaaa → other
    Plan: 1 replace, 2 unchanged
    ");
}

#[test]
fn a_lock_that_names_what_runs_replaces_nothing() {
    let (stack, mut host) = (stack(), FakeHost::new());
    brought_up(&stack, &mut host, &[]);
    let image = ObservedImage { repo_digests: vec![], ..host.observed.images["nginx:1"].clone() };
    host.observed.images.insert(format!("nginx:1@{}", digest("a")), image);
    assert!(plan(&stack, &host, &[("nginx:1", "a")]).is_empty());
    // A container knows its digest, also when the name is gone.
    let (stack, mut host) = (self::stack(), FakeHost::new());
    brought_up(&stack, &mut host, &[("nginx:1", "a")]);
    host.observed.images.clear();
    assert!(plan(&stack, &host, &[("nginx:1", "a")]).is_empty());
    assert_snapshot!(plan(&stack, &host, &[("nginx:1", "b")]), @"
    pull     image nginx:1  sha256:bbbbbbbbbbbb (berth.lock)
    replace  web-1          image nginx:1 moves to sha256:bbbbbbbbbbbb (berth.lock)
    Plan: 1 replace, 1 pull, 2 unchanged
    ");
}

#[test]
fn a_locked_image_is_pulled_once_whatever_its_policy() {
    let (mut stack, mut host) = (stack(), FakeHost::new());
    stack.services.get_mut("web").unwrap().pull_policy = PullPolicy::Always;
    let due = |stack: &Stack, host: &FakeHost, all| {
        let desired = desired(stack, &[("nginx:1", "a"), ("pg:17", "b")]);
        let covered = covered(&desired, &UpOptions::default()).unwrap();
        pulls(&desired, &covered, &host.observed, 0, all)
    };
    assert_snapshot!(due(&stack, &host, false), @"
    pull  image nginx:1  sha256:aaaaaaaaaaaa (berth.lock)
    Plan: 1 pull
    ");
    assert_snapshot!(due(&stack, &host, true), @"
    pull  image nginx:1  sha256:aaaaaaaaaaaa (berth.lock)
    pull  image pg:17    sha256:bbbbbbbbbbbb (berth.lock)
    Plan: 2 pull
    ");
    brought_up(&stack, &mut host, &[("nginx:1", "a"), ("pg:17", "b")]);
    assert!(due(&stack, &host, true).is_empty());
    stack.services.get_mut("db").unwrap().pull_policy = PullPolicy::Never;
    assert_eq!(due(&stack, &FakeHost::new(), true).steps.len(), 1);
}

#[test]
fn pull_leaves_out_what_the_file_or_the_words_say() {
    let names =
        ["always", "both", "built", "foreign", "here", "host", "locked", "never", "own", "plain"];
    let mut host = FakeHost::new();
    let here = ObservedImage { id: "sha256:1".into(), pulled_at: 0, repo_digests: vec![] };
    for image in ["here:1".to_owned(), "plain:1".into(), format!("locked:1@{}", digest("a"))] {
        host.observed.images.insert(image, here.clone());
    }
    let others = |name: &str| match name {
        "plain" => ["step:1".to_owned(), format!("locked:1@{}", digest("a"))].into(),
        _ => Vec::new(),
    };
    let source = |name: &str| Source {
        image: match name {
            "built" => None,
            "host" => Some("localhost/host".into()),
            other => Some(format!("{other}:1")),
        },
        build: ["both", "built", "own"].contains(&name),
        policy: match name {
            "here" => Some("if_not_present".into()),
            "own" => Some("build".into()),
            "always" | "never" => Some(name.into()),
            _ => None,
        },
        locked: (name == "locked").then(|| digest("a")),
        foreign: name == "foreign",
        others: others(name),
    };
    let sources = names.map(|name| (name.to_owned(), source(name))).into();
    let told = |options: PullOptions| {
        let (plan, left_out) = fetches("shop", &sources, &host.observed, &options);
        let left_out: String =
            left_out.iter().map(|(name, why)| format!("{name}: {why}\n")).collect();
        format!("{plan}{left_out}")
    };
    assert_snapshot!(told(PullOptions::default()), @"
    pull  image always:1
    pull  image both:1
    pull  image plain:1
    pull  image step:1
    Plan: 4 pull
    built: it has no `image` to pull, it is built
    foreign: it is for a platform that this host does not run
    here: its image is here
    host: `localhost/host` is this host itself
    locked: the image that the lock names is here
    never: its `pull_policy` is `never`
    own: its `pull_policy` is `build`
    ");
    let missing = PullOptions { policy: Some(Fetch::Missing), ignore_buildable: true };
    assert_snapshot!(told(missing), @"
    pull  image always:1
    pull  image never:1
    pull  image step:1
    Plan: 3 pull
    both: it can be built
    built: it has no `image` to pull, it is built
    foreign: it is for a platform that this host does not run
    here: its image is here
    host: `localhost/host` is this host itself
    locked: the image that the lock names is here
    own: it can be built
    plain: its image is here
    ");
    let always = PullOptions { policy: Some(Fetch::Always), ignore_buildable: false };
    assert_snapshot!(told(always), @"
    pull  image always:1
    pull  image both:1
    pull  image here:1
    pull  image never:1
    pull  image own:1
    pull  image plain:1
    pull  image step:1
    Plan: 7 pull
    built: it has no `image` to pull, it is built
    foreign: it is for a platform that this host does not run
    host: `localhost/host` is this host itself
    locked: the image that the lock names is here
    ");
}

#[test]
fn the_image_of_a_step_is_locked_as_that_of_its_service_is() {
    let mut stack = stack();
    let step = InitStep {
        image: Some("tool:1".into()),
        command: None,
        environment: Default::default(),
        user: None,
        working_dir: None,
        privileged: false,
        per_replica: false,
    };
    stack.services.get_mut("web").unwrap().pre_start = vec![step];
    let desired = desired(&stack, &[("nginx:1", "a"), ("tool:1", "b")]);
    let web = &desired.services["web"];
    assert_eq!(web.container.image, "nginx:1");
    let pinned = format!("tool:1@{}", digest("b"));
    assert_eq!(web.pre_start[0].container.image, pinned);
    assert_eq!(web.container.pre_start[0].image, Some(pinned));
}
