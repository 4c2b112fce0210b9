//! A pull that is killed, at any moment, or that finds the disk full: the store stays consistent
//! and the next pull goes on or starts over.

use std::thread::sleep;
use std::time::{Duration, Instant};

use berth_tests::TestHost;
use berth_tests::command::Running;
use berth_tests::front::Front;
use berth_tests::machine::Place;
use berth_tests::registry::{self, ADDRESS, Image, OPEN, Random, Registry};
use nix::sys::signal::Signal;

const FRONT: &str = "127.0.0.1:5001";
const IMAGE: &str = "127.0.0.1:5001/team/noise:1";
const BYTES: usize = 2 << 20;
const SEEDS: [u64; 3] = [11, 12, 13];
/// Moments at which a pull is killed.
const POINTS: u64 = 50;
/// Some pulls are faster than their moment: so many are begun at most.
const MOST: u64 = 90;

/// A registry with an image of three layers, and a front before it.
fn with_image(test: impl FnOnce(&TestHost, &Front, &Image)) {
    if !registry::is_here() {
        return;
    }
    let host = TestHost::bare();
    let registry = Registry::start(&host, OPEN);
    let image = registry.push_noise("team/noise:1", &SEEDS, BYTES);
    let front = Front::start(&host, FRONT, ADDRESS);
    test(&host, &front, &image);
    drop(front);
    registry.end();
}

/// Starts a pull; the shell is replaced by berth, so that a signal reaches it.
fn start_pull(host: &TestHost, root: &str) -> Running {
    host.start_shell(Place::Inside, &format!("exec $berth --root {root} image pull {IMAGE}"))
}

/// The layers of the store are those that were pushed.
#[track_caller]
fn has_layers(host: &TestHost, root: &str, when: &str) {
    let layers = host.machine().path(host.project(&format!("{root}/lib/images/layers")));
    let mut found = 0;
    for layer in std::fs::read_dir(&layers).expect("layers").flatten() {
        for (n, seed) in SEEDS.into_iter().enumerate() {
            let file = layer.path().join(format!("diff/noise-{n}"));
            if let Ok(bytes) = std::fs::read(file) {
                assert!(bytes == registry::noise(seed, BYTES), "layer {n} is another, {when}");
                found += 1;
            }
        }
    }
    assert_eq!(found, SEEDS.len(), "{when}");
}

/// When a pull is killed.
#[derive(Debug, Clone, Copy)]
enum Point {
    /// So long after so many bytes of bodies have been sent, and no more are.
    Bytes(usize, Duration),
    /// So long after its start.
    Time(Duration),
    /// So long after its last byte: while things get their names.
    End(Duration),
}

impl Point {
    fn choose(random: &mut Random, n: u64, all: u64, whole: Duration) -> Point {
        let millis = |random: &mut Random, most| Duration::from_millis(random.below(most));
        match n % 5 {
            0..=2 => {
                let bytes = usize::try_from(random.below(all)).expect("64 bits");
                Point::Bytes(bytes, millis(random, 30))
            }
            3 => Point::Time(Duration::from_micros(random.below(whole.as_micros() as u64))),
            _ => Point::End(millis(random, 20)),
        }
    }

    /// Waits for it; false when the pull was faster.
    fn wait(self, front: &Front, pull: &Running, all: u64) -> bool {
        // Until then it is a shell, which may be slow to become a pull.
        let _ = pull.pid();
        let end = Instant::now() + Duration::from_secs(20);
        let runs = || pull.running().is_some() && Instant::now() < end;
        match self {
            Point::Time(after) => sleep(after),
            Point::Bytes(_, after) => {
                while runs() && !front.holds() {
                    sleep(Duration::from_micros(500));
                }
                sleep(after);
            }
            Point::End(after) => {
                while runs() && front.log().served("/blobs/") < all {
                    sleep(Duration::from_micros(500));
                }
                sleep(after);
            }
        }
        pull.running().is_some()
    }
}

#[test]
fn a_pull_killed_at_any_moment_leaves_a_store_that_is_whole_and_the_next_one_ends_it() {
    with_image(|host, front, image| {
        let seed = std::env::var("BERTH_SEED").ok().and_then(|seed| seed.parse().ok());
        let seed = seed.unwrap_or_else(|| u64::from(std::process::id()));
        eprintln!("BERTH_SEED={seed}");
        let mut random = Random::new(seed);
        let pull = start_pull(host, "measured");
        let _ = pull.pid();
        let begun = Instant::now();
        pull.ends().succeeds();
        let whole = begun.elapsed();
        let all = front.log().served("/blobs/");
        let layers: u64 = image.sizes.iter().sum();
        assert!(all >= layers);
        let (mut killed, mut again, mut resumed, mut n) = (0, 0, 0, 0);
        while killed < POINTS {
            n += 1;
            assert!(
                n <= MOST,
                "BERTH_SEED={seed}: only {killed} of {MOST} pulls were killed in time"
            );
            let point = Point::choose(&mut random, n, all, whole);
            let when = format!("BERTH_SEED={seed}, point {n}: {point:?}");
            front.log().clear();
            front.hold_after(match point {
                Point::Bytes(bytes, _) => Some(bytes),
                _ => None,
            });
            let root = format!("r{n}");
            let pull = start_pull(host, &root);
            let in_time = point.wait(front, &pull, all) && kill(&pull);
            front.hold_after(None);
            let ended = pull.ends();
            if !in_time || ended.code == 0 {
                ended.succeeds();
                std::fs::remove_dir_all(host.project(&root)).expect("its store");
                continue;
            }
            killed += 1;
            let check = host.berth(&format!("--root {root} doctor --check-store --format json"));
            assert_eq!(check.code, 0, "{when}: {check}");
            let told = check.json();
            assert_eq!(
                told["store"]["broken"].as_array().map(Vec::len),
                Some(0),
                "{when}: {check}"
            );
            assert_eq!(told["store"]["making"], 0, "{when}: {check}");
            // An image has a name only when all of it is there.
            let named = host.project(&format!("{root}/lib/images/refs")).exists();
            if named {
                has_layers(host, &root, &when);
            }
            let pull = start_pull(host, &root).ends();
            assert_eq!(pull.code, 0, "{when}: {pull}");
            has_layers(host, &root, &when);
            let served: u64 = image.layers.iter().map(|layer| front.log().served(layer)).sum();
            again += served.saturating_sub(layers);
            let asked = image.layers.iter().flat_map(|layer| front.log().of(layer));
            resumed += asked.filter(|asked| !asked.header("range").is_empty()).count();
            std::fs::remove_dir_all(host.project(&root)).unwrap();
        }
        host.shell("rm -rf measured").succeeds();
        eprintln!(
            "{killed} of {n} pulls were killed; {resumed} layers went on in the middle; {again} bytes \
             were sent again, {} % of {}",
            again * 100 / (layers * POINTS),
            layers * POINTS
        );
        // What is on the wire or in memory is lost with a kill, and these layers are small. That
        // what was written is never fetched again is shown where a pull is interrupted.
        assert!(resumed > 0, "no pull went on in the middle of a layer");
    });
}

/// False when it has just ended by itself.
fn kill(pull: &Running) -> bool {
    let kill = |pid| nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), Signal::SIGKILL);
    pull.running().is_some_and(|pid| kill(pid).is_ok())
}

#[test]
fn a_full_disk_is_named_nothing_is_half_made_and_room_is_all_it_takes() {
    with_image(|host, _, image| {
        // Room for a part of the first layer, for some of the unpacked ones, and for nearly all.
        for (n, kilobytes) in [1000, 5000, 9000, 12_000].into_iter().enumerate() {
            let root = format!("small{n}");
            let mount = format!("mkdir {root}; mount -t tmpfs -o size={kilobytes}k small {root}");
            host.shell(&mount).succeeds();
            let pull = host.berth(&format!("--root {root} image pull {IMAGE}")).fails_with(1);
            assert!(pull.stderr.contains("No space left on device (os error 28)"), "{pull}");
            assert!(
                pull.stderr.contains("write") || pull.stderr.contains("mkdir"),
                "no step: {pull}"
            );
            let named = image.layers.iter().any(|layer| pull.stderr.contains(&layer[7..]));
            let in_store = pull.stderr.contains("/images/making/");
            assert!(named || in_store || pull.stderr.contains("sha256:"), "no object: {pull}");
            host.berth(&format!("--root {root} doctor --check-store")).succeeds();
            host.berth(&format!("--root {root} image ls -q")).succeeds().stdout_is("");
            host.shell(&format!("mount -o remount,size=100m {root}")).succeeds();
            host.berth(&format!("--root {root} image pull {IMAGE}")).succeeds();
            has_layers(host, &root, &root);
            host.berth(&format!("--root {root} doctor --check-store")).succeeds();
            host.shell(&format!("umount {root}; rmdir {root}")).succeeds();
        }
    });
}
