//! Debian's registry with a token service: who may, who may not, and what is said to whom.

use berth_tests::front::{Act, Answer, Front};
use berth_tests::registry::{self, ADDRESS, OPEN, Registry};
use berth_tests::tokens::{IDENTITY, Tokens};
use berth_tests::{Finished, TestHost};
use insta::assert_snapshot;

const SERVICE: &str = "127.0.0.1:5003";
const FRONT: &str = "127.0.0.1:5001";
const USER: &str = "dXNlcjpzZWNyZXQ=";
const WRONG: &str = "dXNlcjp3cm9uZw==";

struct Site<'a> {
    host: &'a TestHost,
    tokens: Tokens,
    layers: Vec<String>,
}

/// A registry that wants tokens, with `open/noise:1` and `closed/noise:1`.
fn with_tokens(test: impl FnOnce(&Site<'_>)) {
    if !registry::is_here() {
        return;
    }
    let host = TestHost::bare();
    host.write("registries.json", r#"{"attempts": 3, "longest_wait": 1}"#);
    let registry = Registry::start(&host, OPEN);
    let layers = registry.push_noise("open/noise:1", &[1, 2, 3], 300_000).layers;
    registry.push_noise("closed/noise:1", &[1, 2, 3], 300_000);
    let tokens = Tokens::start(&host, SERVICE);
    let registry = registry.guarded_by(&tokens.config());
    let site = Site { host: &host, tokens, layers };
    test(&site);
    drop(site);
    registry.end();
}

impl Site<'_> {
    fn berth(&self, words: &str) -> Finished {
        let places = "BERTH_REGISTRIES=registries.json HOME=$PWD/home PATH=$PWD/bin:$PATH";
        self.host.shell(&format!("{places} $berth {words}"))
    }

    fn config(&self, registry: &str, auth: &str) {
        let config = format!(r#"{{"auths": {{"{registry}": {auth}}}}}"#);
        self.host.write("home/.docker/config.json", &config);
    }

    /// How the token service was asked: method, who, and for what.
    fn asked(&self) -> Vec<String> {
        let line = |asked: berth_tests::http::Asked| {
            let body = String::from_utf8_lossy(&asked.body).into_owned();
            format!("{} {} [{}] {body}", asked.method, asked.path, asked.header("authorization"))
                .trim()
                .to_owned()
        };
        let lines = self.tokens.log().of("/token").into_iter().map(line).collect();
        self.tokens.log().clear();
        lines
    }
}

#[test]
fn everybody_may_pull_what_is_open_and_nothing_else() {
    with_tokens(|site| {
        site.berth(&format!("image pull {ADDRESS}/open/noise:1")).succeeds();
        assert_snapshot!(site.asked().join("\n"), @"GET /token?service=berth-tests&scope=repository%3Aopen%2Fnoise%3Apull []");
        let refused = site.berth(&format!("image pull {ADDRESS}/closed/noise:1")).fails_with(1);
        refused.stderr_has("answered 401").stderr_has("`auths` in Docker's `config.json`");
        assert_eq!(site.asked().len(), 1);
    });
}

#[test]
fn a_user_may_pull_and_push_and_a_wrong_password_ends_it() {
    with_tokens(|site| {
        let closed = format!("{ADDRESS}/closed/noise:1");
        site.config(ADDRESS, &format!(r#"{{"auth": "{WRONG}"}}"#));
        let refused = site.berth(&format!("image pull {closed}")).fails_with(1);
        refused.stderr_has("incorrect username or password").stderr_has("check the credentials");
        assert_eq!(site.asked().len(), 1);
        site.config(ADDRESS, &format!(r#"{{"auth": "{USER}"}}"#));
        site.berth(&format!("image pull {closed}")).succeeds();
        assert_snapshot!(site.asked().join("\n"), @"GET /token?service=berth-tests&scope=repository%3Aclosed%2Fnoise%3Apull [Basic dXNlcjpzZWNyZXQ=]");
        site.berth(&format!("image push {closed}")).succeeds();
        let asked = site.asked().join("\n");
        assert!(asked.contains("scope=repository%3Aclosed%2Fnoise%3Apull%2Cpush"), "{asked}");
        site.config(ADDRESS, "{}");
        site.berth(&format!("image push {closed}")).fails_with(1).stderr_has("`berth login`");
        let login = format!("login -u user -p wrong {ADDRESS}");
        site.berth(&login).fails_with(1).stderr_has("does not accept this user and password");
        site.berth(&login.replace("wrong", "secret")).succeeds();
        site.berth(&format!("--root other image pull {closed}")).succeeds();
    });
}

/// Answers with an identity token, as the helpers of cloud registries do.
const HELPER: &str = r#"#!/bin/sh
[ "$1" = get ] || exit 1
cat >asked
echo '{"ServerURL":"x","Username":"<token>","Secret":"the-identity-of-user"}'
"#;

#[test]
fn an_identity_token_is_exchanged_and_never_shown_to_the_registry() {
    with_tokens(|site| {
        let closed = format!("{ADDRESS}/closed/noise:1");
        site.config(ADDRESS, &format!(r#"{{"identitytoken": "{IDENTITY}"}}"#));
        site.berth(&format!("image pull {closed}")).succeeds();
        let form = "POST /token [] grant_type=refresh_token&service=berth-tests&client_id=berth&\
                    scope=repository%3Aclosed%2Fnoise%3Apull&refresh_token=the-identity-of-user";
        assert_eq!(site.asked(), [form]);
        site.host.shell("mkdir -p bin home/.docker").succeeds();
        site.host.write("bin/docker-credential-cloud", HELPER);
        site.host.shell("chmod +x bin/docker-credential-cloud").succeeds();
        let config = format!(r#"{{"credHelpers": {{"{ADDRESS}": "cloud"}}}}"#);
        site.host.write("home/.docker/config.json", &config);
        site.berth(&format!("--root other image pull {closed}")).succeeds();
        site.host.shell("cat asked").stdout_is(ADDRESS);
        assert_eq!(site.asked(), [form]);
        site.config(ADDRESS, r#"{"identitytoken": "revoked"}"#);
        let refused = site.berth(&format!("--root third image pull {closed}")).fails_with(1);
        refused.stderr_has("incorrect username or password");
        assert_eq!(site.asked().len(), 1);
    });
}

#[test]
fn a_token_that_ends_in_the_middle_of_a_pull_is_renewed() {
    with_tokens(|site| {
        let front = Front::start(site.host, FRONT, ADDRESS);
        let challenge = site.tokens.challenge();
        let first = std::sync::Mutex::new(None);
        // The first token is good for one blob.
        front.follow(move |asked| {
            let given = asked.header("authorization").to_owned();
            if !asked.path.contains("/blobs/") {
                return Act::Pass;
            }
            let mut first = first.lock().unwrap();
            match first.as_ref() {
                None => {
                    *first = Some(given);
                    Act::Pass
                }
                Some(ended) if *ended == given => {
                    Act::Say(Answer::of(401, "").header("www-authenticate", &challenge))
                }
                Some(_) => Act::Pass,
            }
        });
        site.config(FRONT, &format!(r#"{{"auth": "{USER}"}}"#));
        site.berth(&format!("image pull {FRONT}/closed/noise:1")).succeeds();
        assert_eq!(site.asked().len(), 2, "one token, and one more for all layers");
        for layer in &site.layers {
            assert!(front.log().served(layer) > 0);
        }
        drop(front);
    });
}

#[test]
fn a_token_service_that_fails_is_told_and_asked_no_more_than_it_may_be() {
    with_tokens(|site| {
        let pull = format!("image pull {ADDRESS}/open/noise:1");
        site.tokens.say(Some((500, "")));
        site.berth(&pull).fails_with(1).stderr_has("answered 500");
        assert_eq!(site.asked().len(), 3);
        site.tokens.say(Some((200, "{}")));
        site.berth(&pull).fails_with(1).stderr_has("its token service gave no token");
        site.tokens.say(Some((200, r#"{"token": "what the registry does not take"}"#)));
        site.berth(&pull).fails_with(1).stderr_has("answered 401");
        site.tokens.say(None);
        site.berth(&pull).succeeds();
    });
}
