//! A token service, as registries with `auth: token` want one: it knows who may do what and signs
//! that, and the registry trusts its certificate.

use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use crate::host::TestHost;
use crate::http::{self, Asked, Log, Server};

/// What the registry and its tokens call themselves.
const SERVICE: &str = "berth-tests";
/// The refresh token that is taken for `user`'s.
pub const IDENTITY: &str = "the-identity-of-user";

/// The service.
pub struct Tokens {
    server: Server,
    address: String,
    answers: Arc<Mutex<Option<(u16, &'static str)>>>,
}

impl Tokens {
    /// Makes a key in the project's folder and listens at `address` of the machine.
    ///
    /// `user` with the password `secret` may pull and push, everybody may pull from `open/`.
    ///
    /// # Panics
    /// When `openssl` does not make a key.
    pub fn start(host: &TestHost, address: &str) -> Tokens {
        let [key, certificate] = ["token.key", "token.crt"].map(|name| host.project(name));
        let made = Command::new("openssl")
            .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30"])
            .args(["-subj", "/CN=tokens", "-keyout"])
            .arg(&key)
            .arg("-out")
            .arg(&certificate)
            .output()
            .expect("openssl");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let pem = std::fs::read_to_string(&certificate).unwrap();
        let der: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
        let answers = Arc::new(Mutex::new(None));
        let told = Arc::clone(&answers);
        let server = http::serve(host, address, move |asked, _, stream| {
            let said: Option<(u16, &'static str)> = *told.lock().unwrap();
            let (status, body) = match said {
                Some((status, body)) => (status, body.to_owned()),
                None => answer(asked, |claims| sign(&key, &der, claims)),
            };
            let head = format!(
                "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\n\
                 connection: close\r\ncontent-length: {}\r\n\r\n",
                body.len()
            );
            let _ = stream.write_all(format!("{head}{body}").as_bytes());
        });
        Tokens { server, address: address.to_owned(), answers }
    }

    /// What it was asked.
    pub fn log(&self) -> &Log {
        &self.server.log
    }

    /// How the registry's configuration speaks of it.
    pub fn config(&self) -> String {
        format!(
            "auth: {{ token: {{ realm: 'http://{}/token', service: {SERVICE}, issuer: {SERVICE}, \
             rootcertbundle: token.crt }} }}\n",
            self.address
        )
    }

    /// What a registry says to who has no token.
    pub fn challenge(&self) -> String {
        format!("Bearer realm=\"http://{}/token\",service=\"{SERVICE}\"", self.address)
    }

    /// From now on it answers this and nothing else; `None` does its work again.
    pub fn say(&self, answer: Option<(u16, &'static str)>) {
        *self.answers.lock().unwrap() = answer;
    }
}

/// Who asks, by the request.
fn who(asked: &Asked, form: &str) -> Result<Option<&'static str>, ()> {
    if asked.method == "POST" {
        let known = value(form, "refresh_token").is_some_and(|token| token == IDENTITY);
        return if known { Ok(Some("user")) } else { Err(()) };
    }
    match asked.header("authorization").strip_prefix("Basic ") {
        None => Ok(None),
        Some(login) if STANDARD.decode(login).is_ok_and(|login| login == b"user:secret") => {
            Ok(Some("user"))
        }
        Some(_) => Err(()),
    }
}

fn answer(asked: &Asked, sign: impl Fn(&Value) -> String) -> (u16, String) {
    let body = String::from_utf8_lossy(&asked.body).into_owned();
    let query = asked.path.split_once('?').map_or("", |(_, query)| query);
    let form = if asked.method == "POST" { &*body } else { query };
    let Ok(user) = who(asked, form) else {
        return (401, json!({"details": "incorrect username or password"}).to_string());
    };
    let scopes = form.split('&').filter_map(|pair| pair.strip_prefix("scope="));
    let scopes: Vec<String> =
        scopes.flat_map(|s| decode(s).split(' ').map(str::to_owned).collect::<Vec<_>>()).collect();
    let access: Vec<Value> = scopes.iter().filter_map(|scope| grant(scope, user)).collect();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs();
    let claims = json!({
        "iss": SERVICE, "sub": user.unwrap_or_default(), "aud": SERVICE,
        "nbf": now - 60, "iat": now, "exp": now + 60, "jti": asked.nth.to_string(), "access": access,
    });
    (200, json!({"token": sign(&claims), "expires_in": 60}).to_string())
}

/// What of `repository:NAME:ACTIONS` is granted.
fn grant(scope: &str, user: Option<&str>) -> Option<Value> {
    let mut parts = scope.splitn(3, ':');
    let (kind, name, actions) = (parts.next()?, parts.next()?, parts.next()?);
    let may = |action: &&str| user.is_some() || (*action == "pull" && name.starts_with("open/"));
    let actions: Vec<&str> = actions.split(',').filter(may).collect();
    Some(json!({"type": kind, "name": name, "actions": actions}))
}

/// A value of a query or form.
fn value(form: &str, key: &str) -> Option<String> {
    let mut pairs = form.split('&').filter_map(|pair| pair.split_once('='));
    pairs.find(|(name, _)| *name == key).map(|(_, value)| decode(value))
}

/// Text without its per cent signs.
fn decode(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let hex = after.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        match (byte, hex.and_then(|hex| u8::from_str_radix(hex, 16).ok())) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            (b'+', _) => {
                bytes.push(b' ');
                rest = after;
            }
            _ => {
                bytes.push(byte);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The claims as a JSON Web Token, RS256, with the certificate in its head.
fn sign(key: &std::path::Path, certificate: &str, claims: &Value) -> String {
    let head = json!({"typ": "JWT", "alg": "RS256", "x5c": [certificate]}).to_string();
    let text =
        format!("{}.{}", URL_SAFE_NO_PAD.encode(head), URL_SAFE_NO_PAD.encode(claims.to_string()));
    let mut openssl = Command::new("openssl")
        .args(["dgst", "-sha256", "-sign"])
        .arg(key)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("openssl");
    openssl.stdin.take().expect("piped").write_all(text.as_bytes()).unwrap();
    let signed = openssl.wait_with_output().unwrap();
    assert!(signed.status.success(), "openssl does not sign");
    format!("{text}.{}", URL_SAFE_NO_PAD.encode(signed.stdout))
}
