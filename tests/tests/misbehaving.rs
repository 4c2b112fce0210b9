//! A registry that stalls, breaks off, lies, is busy or sends us elsewhere: the right image or a
//! clear error, nothing half made, and no credential where it does not belong.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use berth_tests::front::{Act, Answer, Front};
use berth_tests::http::Asked;
use berth_tests::registry::{self, ADDRESS, GUARDED, Image, OPEN, Registry};
use berth_tests::{Finished, TestHost};
use insta::assert_snapshot;

/// Where berth asks.
const FRONT: &str = "127.0.0.1:5001";
const IMAGE: &str = "127.0.0.1:5001/team/noise:1";
/// Another host.
const ELSEWHERE: &str = "127.0.0.2:5002";
const BYTES: usize = 1 << 20;
/// Nobody waits for minutes here.
const SETTINGS: &str = r#"{"stall_timeout": 0.5, "attempts": 3, "longest_wait": 2}"#;

/// A registry with an image of two layers, and a front before it.
struct Site<'a> {
    host: &'a TestHost,
    registry: Registry<'a>,
    front: Front,
    image: Image,
}

fn with_site(test: impl FnOnce(&Site<'_>)) {
    if !registry::is_here() {
        return;
    }
    let host = TestHost::bare();
    host.write("registries.json", SETTINGS);
    let registry = Registry::start(&host, OPEN);
    let image = registry.push_noise("team/noise:1", &[1, 2], BYTES);
    let front = Front::start(&host, FRONT, ADDRESS);
    let site = Site { host: &host, registry, front, image };
    test(&site);
    let Site { registry, front, .. } = site;
    drop(front);
    registry.end();
}

impl Site<'_> {
    fn berth(&self, words: &str) -> Finished {
        let places = "BERTH_REGISTRIES=registries.json HOME=$PWD/home";
        self.host.shell(&format!("{places} $berth {words}"))
    }

    fn pull(&self, root: &str) -> Finished {
        self.berth(&format!("--root {root} image pull {IMAGE}"))
    }

    /// The pull works, whatever stood in its way, and its layers are those that were pushed.
    #[track_caller]
    fn pulls(&self, root: &str) {
        self.pull(root).succeeds();
        self.is_whole(root);
        for (n, seed) in [1, 2].into_iter().enumerate() {
            let find = format!("find {root}/lib/images/layers -name noise-{n}");
            let file = self.host.shell(&find).stdout;
            let bytes = std::fs::read(self.host.project(file.trim())).expect("the file of noise");
            assert!(bytes == registry::noise(seed, BYTES), "layer {n} is another");
        }
    }

    /// The pull fails and leaves nothing that anybody sees; gives its one problem.
    #[track_caller]
    fn fails(&self, root: &str) -> String {
        let pull = self.pull(root);
        let told = pull.fails_with(1).stderr;
        self.is_whole(root);
        self.berth(&format!("--root {root} image ls -q")).succeeds().stdout_is("");
        let places =
            format!("ls {root}/lib/images/layers {root}/lib/images/images {root}/lib/images/refs");
        let left = self.host.shell(&format!("({places}) 2>/dev/null | grep -v : ")).stdout;
        assert_eq!(left.trim(), "", "something is visible");
        let mut problems = told.lines().filter_map(|line| line.strip_prefix("error: "));
        let problem = problems.next().unwrap_or_default().to_owned();
        assert_eq!(problems.next(), None, "more than one problem");
        problem.trim_start_matches(&format!("image `{IMAGE}`: ")).to_owned()
    }

    #[track_caller]
    fn is_whole(&self, root: &str) {
        self.berth(&format!("--root {root} doctor --check-store")).succeeds();
    }

    fn layer(&self, n: usize) -> String {
        self.image.layers[n].clone()
    }

    /// What is done with the answers about layer 0 is `act`; nothing is done with others.
    fn on_layer(&self, act: impl Fn(&Asked) -> Act + Send + Sync + 'static) {
        let layer = self.layer(0);
        self.front.log().clear();
        self.front.follow(move |asked| match asked.path.ends_with(&layer) {
            true => act(asked),
            false => Act::Pass,
        });
    }
}

#[test]
fn what_breaks_off_is_gone_on_with_and_no_byte_is_fetched_twice() {
    with_site(|site| {
        type Break = fn(usize) -> Act;
        let breaks: [(&str, Break); 3] =
            [("cut", Act::Cut), ("reset", Act::Reset), ("stall", Act::Stall)];
        for (root, broken) in breaks {
            site.on_layer(move |asked| match asked.nth {
                1 => broken(400_000),
                2 => broken(200_000),
                _ => Act::Pass,
            });
            site.pulls(root);
            let asked = site.front.log().of(&site.layer(0));
            let ranges: Vec<&str> = asked.iter().map(|asked| asked.header("range")).collect();
            let served: u64 = asked.iter().map(|asked| asked.served).sum();
            if root == "reset" {
                // The kernel throws away what was not read yet.
                assert!(ranges[1].starts_with("bytes="), "{ranges:?}");
            } else {
                assert_eq!(ranges, ["", "bytes=400000-", "bytes=600000-"], "{root}");
                assert_eq!(served, site.image.sizes[0], "{root}");
            }
        }
    });
}

#[test]
fn a_registry_that_cannot_go_on_in_the_middle_sends_all_of_it() {
    with_site(|site| {
        let from_zero = || Answer::of(206, vec![0; 10]).header("content-range", "bytes 0-9/10");
        let odd = [
            ("whole", Act::Whole),
            ("refused", Act::Say(Answer::of(416, ""))),
            ("another", Act::Say(from_zero())),
        ];
        for (root, odd) in odd {
            site.on_layer(move |asked| match asked.nth {
                1 => Act::Cut(300_000),
                2 => odd.clone(),
                _ => Act::Pass,
            });
            site.pulls(root);
        }
    });
}

#[test]
fn wrong_bytes_are_refused_and_are_not_in_the_way_of_the_next_pull() {
    with_site(|site| {
        site.on_layer(|_| Act::Flip(500_000));
        assert_snapshot!(anonymous(site, &site.fails("a")), @"registry `127.0.0.1:5001` sent for `127.0.0.1:5001/team/noise:1` what berth does not take: layer DIGEST: corrupt gzip stream does not have a matching checksum; nothing of it is kept");
        site.on_layer(|_| Act::Pass);
        site.pulls("a");
        // Wrong bytes before a break: what goes on from them cannot be right.
        let bad = std::fs::read(site.registry.blob(&site.layer(0))).unwrap();
        let mut bad = bad[..300_000].to_vec();
        bad[10_000] ^= 1;
        let size = site.image.sizes[0];
        site.on_layer(move |asked| match asked.nth {
            1 => Act::Say(Answer::of(200, bad.clone()).header("x-size", &size.to_string())),
            _ => Act::Pass,
        });
        let first = site.pull("b");
        if first.code != 0 {
            site.is_whole("b");
            site.pulls("b");
        }
        // A length that is not that of what comes.
        site.on_layer(|asked| if asked.nth == 1 { Act::Longer(1000) } else { Act::Pass });
        site.pulls("c");
        let more = std::fs::read(site.registry.blob(&site.layer(0))).unwrap();
        let more = [more, vec![0; 10]].concat();
        site.on_layer(move |_| Act::Say(Answer::of(200, more.clone())));
        assert_snapshot!(anonymous(site, &site.fails("d")), @"registry `127.0.0.1:5001` sent for `127.0.0.1:5001/team/noise:1` what berth does not take: a layer that is larger than its 1049823 bytes");
    });
}

/// The text without the digests, which are others wherever the compression is another.
fn anonymous(site: &Site<'_>, text: &str) -> String {
    let named = text.replace(&site.layer(0), "LAYER");
    let mut parts = named.split("sha256:");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| format!("{text}DIGEST{}", part.get(64..).unwrap_or_default()))
}

#[test]
fn a_busy_registry_is_left_alone_for_as_long_as_it_wants() {
    with_site(|site| {
        let busy = |status: u16, after: &str| {
            Act::Say(Answer::of(status, "").header("retry-after", after))
        };
        let seconds = busy(429, "1");
        site.on_layer(move |asked| if asked.nth == 1 { seconds.clone() } else { Act::Pass });
        site.pulls("a");
        assert_eq!(site.front.log().of(&site.layer(0)).len(), 2);
        let date = "LC_ALL=C date -u -d '+1 second' '+%a, %d %b %Y %H:%M:%S GMT'";
        let date = site.host.shell(date).stdout.trim().to_owned();
        let dated = busy(503, &date);
        site.on_layer(move |asked| if asked.nth == 1 { dated.clone() } else { Act::Pass });
        let debug = "BERTH_LOG=berth_runtime=debug BERTH_REGISTRIES=registries.json HOME=$PWD/home";
        let told =
            site.host.shell(&format!("{debug} $berth --root b image pull {IMAGE}")).succeeds();
        assert!(told.stderr.contains("asking the registry again"), "{told}");
        let recorded = told.stderr.contains("wanted") && told.stderr.contains("Some(");
        assert!(recorded, "no wait was recorded: {told}");
        assert_eq!(site.front.log().of(&site.layer(0)).len(), 2);
        for status in [500, 502, 503] {
            site.on_layer(move |asked| match asked.nth {
                1 | 2 => Act::Say(Answer::of(status, "")),
                _ => Act::Pass,
            });
            site.pulls(&format!("s{status}"));
            assert_eq!(site.front.log().of(&site.layer(0)).len(), 3);
        }
    });
}

#[test]
fn a_limit_that_does_not_end_is_told_with_its_size_and_the_time_to_try_again() {
    with_site(|site| {
        let limit = |after: &str| {
            let body = r#"{"errors":[{"code":"TOOMANYREQUESTS","message":"pull rate limit"}]}"#;
            let answer = Answer::of(429, body).header("ratelimit-limit", "100;w=21600");
            if after.is_empty() { answer } else { answer.header("retry-after", after) }
        };
        let short = limit("");
        site.front.log().clear();
        site.front.follow(move |_| Act::Say(short.clone()));
        assert_snapshot!(site.fails("a"), @"registry `127.0.0.1:5001` answered 429 for `127.0.0.1:5001/team/noise:1`: pull rate limit; its limit is 100 requests in 6 h; try again in some minutes, or log in for a higher limit");
        assert_eq!(site.front.log().of("/manifests/").len(), 3);
        // An hour is more than anybody waits: it is asked once.
        let long = limit("3600");
        site.front.log().clear();
        site.front.follow(move |_| Act::Say(long.clone()));
        let told = site.fails("a");
        assert!(
            told.contains("its limit is 100 requests in 6 h; try again in 3600 s, at 20"),
            "{told}"
        );
        assert_eq!(site.front.log().of("/manifests/").len(), 1);
    });
}

#[test]
fn what_stays_broken_ends_with_one_clear_problem() {
    with_site(|site| {
        site.on_layer(|_| Act::Stall(1000));
        assert_snapshot!(site.fails("stalls"), @"registry `127.0.0.1:5001` broke off while sending `127.0.0.1:5001/team/noise:1`: it did not answer in time; run this again to go on from there");
        site.on_layer(|_| Act::Cut(0));
        assert_snapshot!(site.fails("cuts"), @"registry `127.0.0.1:5001` broke off while sending `127.0.0.1:5001/team/noise:1`: end of file before message length reached; run this again to go on from there");
        site.on_layer(|_| Act::Say(Answer::of(500, "oh")));
        assert_snapshot!(site.fails("fails"), @"registry `127.0.0.1:5001` answered 500 for `127.0.0.1:5001/team/noise:1`; try again later");
        site.on_layer(|_| Act::Say(Answer::of(404, "")));
        assert_snapshot!(site.fails("lacks"), @"registry `127.0.0.1:5001` answered 404 for `127.0.0.1:5001/team/noise:1`; it lacks a part of the image, which has to be pushed there again");
        site.on_layer(|_| Act::Pass);
        for root in ["stalls", "cuts", "fails", "lacks"] {
            site.pulls(root);
        }
    });
}

#[test]
fn manifests_that_lie_or_are_no_images_are_refused() {
    with_site(|site| {
        let wanted = |name: &str, act: Act| {
            let name = name.to_owned();
            site.front.follow(move |asked| match asked.path.contains(&name) {
                true => act.clone(),
                false => Act::Pass,
            });
        };
        let json =
            |text: &str| Act::Say(Answer::of(200, text).header("content-type", "application/json"));
        wanted(
            "/manifests/1",
            Act::Header("docker-content-digest", format!("sha256:{}", "0".repeat(64))),
        );
        let told = site.fails("header");
        assert!(
            told.contains("the manifest has digest sha256:") && told.contains("was promised"),
            "{told}"
        );
        let large = format!(r#"{{"schemaVersion":2,"pad":"{}"}}"#, "x".repeat(4 << 20));
        wanted("/manifests/1", json(&large));
        assert_snapshot!(site.fails("large"), @"registry `127.0.0.1:5001` sent for `127.0.0.1:5001/team/noise:1` what berth does not take: a manifest that is larger than the 4194304 bytes it may have");
        wanted("/manifests/1", json(r#"{"schemaVersion":2,"manifests":[],"layers":[]}"#));
        assert_snapshot!(site.fails("both"), @"the manifest has both `layers` and `manifests`, so it can be read two ways");
        wanted("/manifests/1", json(r#"{"schemaVersion":1,"fsLayers":[{"blobSum":"x"}]}"#));
        assert_snapshot!(site.fails("old"), @"the manifest is of schema 1, which is no longer in use; push the image again with a current tool");
        wanted("/manifests/1", json("<html>captive portal</html>"));
        assert_snapshot!(site.fails("portal"), @"the manifest is not valid: expected value at line 1 column 1");
        // An index whose child has other bytes than it says.
        let digest = format!("sha256:{}", "1".repeat(64));
        let child = format!(
            r#"{{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"{digest}","size":9,"platform":{{"os":"linux","architecture":"{}"}}}}"#,
            if cfg!(target_arch = "x86_64") { "amd64" } else { "arm64" }
        );
        let index = format!(r#"{{"schemaVersion":2,"manifests":[{child}]}}"#);
        let manifest = site.image.manifest.clone();
        let kind = "application/vnd.docker.distribution.manifest.v2+json";
        site.front.follow(move |asked| match asked.path.rsplit('/').next().unwrap_or_default() {
            "1" => Act::Say(Answer::of(200, index.clone())),
            child if *child == digest => {
                Act::Say(Answer::of(200, manifest.clone()).header("content-type", kind))
            }
            _ => Act::Pass,
        });
        let told = site.fails("child");
        assert!(told.contains("the manifest has digest sha256:"), "{told}");
        // A config that is another.
        let config = site.image.config.clone();
        site.front.follow(move |asked| match asked.path.ends_with(&config) {
            true => Act::Flip(20),
            false => Act::Pass,
        });
        let told = site.fails("config");
        assert!(told.contains("the config has digest sha256:"), "{told}");
    });
}

/// Logs in and has the registry want that.
fn guarded(test: impl FnOnce(&Site<'_>)) {
    if !registry::is_here() {
        return;
    }
    let host = TestHost::bare();
    host.write("registries.json", SETTINGS);
    let registry = Registry::start(&host, OPEN);
    let image = registry.push_noise("team/noise:1", &[1, 2], BYTES);
    let registry = registry.guarded_by(GUARDED);
    let front = Front::start(&host, FRONT, ADDRESS);
    let config = r#"{"auths": {"127.0.0.1:5001": {"auth": "dXNlcjpzZWNyZXQ="}}}"#;
    host.write("home/.docker/config.json", config);
    let site = Site { host: &host, registry, front, image };
    test(&site);
    let Site { registry, front, .. } = site;
    drop(front);
    registry.end();
}

#[test]
fn another_host_gets_the_request_and_no_credential() {
    guarded(|site| {
        let layers = site.image.layers.clone();
        let files: Vec<_> =
            layers.iter().map(|layer| std::fs::read(site.registry.blob(layer)).unwrap()).collect();
        let elsewhere = Front::start(site.host, ELSEWHERE, ADDRESS);
        let there = layers.clone();
        elsewhere.follow(move |asked| {
            let n = there.iter().position(|layer| asked.path.ends_with(layer)).unwrap_or(0);
            let wanted = asked.header("range").trim_start_matches("bytes=").trim_end_matches('-');
            let from: usize = wanted.parse().unwrap_or(0);
            let range = format!("bytes {from}-{}/{}", files[n].len() - 1, files[n].len());
            let status = if from > 0 { 206 } else { 200 };
            let answer = Answer::of(status, &files[n][from..]).header("content-range", &range);
            match (n, asked.nth) {
                // It also wants to know who asks, which is not its business.
                (1, 1) => {
                    let who = "Basic realm=\"give it to me\"";
                    Act::Say(Answer::of(401, "").header("www-authenticate", who))
                }
                _ => Act::Say(answer),
            }
        });
        let told = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&told);
        site.front.follow(move |asked| {
            let is_layer = layers.iter().any(|layer| asked.path.ends_with(layer));
            if !is_layer || asked.header("authorization").is_empty() {
                return Act::Pass;
            }
            count.fetch_add(1, Ordering::Relaxed);
            let to = format!("http://{ELSEWHERE}{}", asked.path);
            let answer = Answer::of(307, "").header("location", &to);
            Act::Say(answer.header("set-cookie", "session=secret"))
        });
        let refused = site.fails("a");
        assert!(refused.contains("answered 401"), "{refused}");
        site.pulls("a");
        assert!(told.load(Ordering::Relaxed) >= 2);
        let asked = elsewhere.log().of("");
        assert!(asked.len() >= 3);
        for request in asked {
            for secret in ["authorization", "cookie", "proxy-authorization", "referer"] {
                assert_eq!(request.header(secret), "", "{request:?}");
            }
        }
        assert!(
            site.front
                .log()
                .of("")
                .iter()
                .any(|asked| asked.header("authorization") == "Basic dXNlcjpzZWNyZXQ=")
        );
    });
}

#[test]
fn redirects_that_lead_nowhere_are_not_followed() {
    with_site(|site| {
        let to = |place: &str| {
            let answer = Answer::of(307, "").header("location", place);
            site.on_layer(move |_| Act::Say(answer.clone()));
        };
        to(&format!("http://{FRONT}/v2/team/noise/blobs/{}", site.layer(0)));
        assert_snapshot!(site.fails("loop"), @"registry `127.0.0.1:5001` sends the request for `127.0.0.1:5001/team/noise:1` on more than 5 times; it is not followed");
        assert_eq!(site.front.log().of(&site.layer(0)).len(), 6);
        to("file:///etc/passwd");
        assert_snapshot!(site.fails("file"), @"registry `127.0.0.1:5001` sends the request for `127.0.0.1:5001/team/noise:1` on to `file:///etc/passwd`, which is no address of a registry; it is not followed");
        to("http://");
        assert_snapshot!(site.fails("nowhere"), @"registry `127.0.0.1:5001` sends the request for `127.0.0.1:5001/team/noise:1` on to `http://`, which is no address; it is not followed");
        to("http://127.0.0.1:1/x");
        let told = site.fails("dead");
        assert!(told.contains("cannot reach registry"), "{told}");
    });
}

#[test]
fn many_pulls_of_one_image_at_once_fetch_each_layer_once() {
    with_site(|site| {
        let places = "BERTH_REGISTRIES=registries.json HOME=$PWD/home";
        let pulls = format!(
            "for n in 1 2 3 4 5 6 7 8 9 10; do {places} $berth --root many image pull -q {IMAGE} & pids=\"$pids $!\"; done; \
             for pid in $pids; do wait $pid || exit 1; done"
        );
        let pulls = pulls.replace("pull -q", "pull");
        site.host.shell(&pulls).succeeds();
        for layer in &site.image.layers {
            assert_eq!(site.front.log().of(layer).len(), 1, "{layer} was fetched again");
        }
        site.pulls("many");
    });
}

#[test]
fn an_interrupted_pull_says_so_and_the_next_one_goes_on() {
    with_site(|site| {
        site.on_layer(|asked| if asked.nth == 1 { Act::Stall(600_000) } else { Act::Pass });
        let patient = r#"{"stall_timeout": 60}"#;
        site.host.write("registries.json", patient);
        let line =
            format!("BERTH_REGISTRIES=registries.json exec $berth --root a image pull {IMAGE}");
        let running = site.host.start_shell(berth_tests::machine::Place::Inside, &line);
        let layer = site.layer(0);
        site.host.eventually("the layer stalls", || site.front.log().served(&layer) >= 600_000);
        let part = "find a/lib/images/making -name 'blob.*' -size +585k | grep -q .";
        site.host.eventually("its bytes are kept", || site.host.shell(part).code == 0);
        running.signal(nix::sys::signal::Signal::SIGINT);
        assert_eq!(running.ends().code, 130);
        site.berth("--root a image ls -q").succeeds().stdout_is("");
        site.host.write("registries.json", SETTINGS);
        site.pulls("a");
        let asked = site.front.log().of(&layer);
        assert_eq!(asked[1].header("range"), "bytes=600000-");
    });
}
