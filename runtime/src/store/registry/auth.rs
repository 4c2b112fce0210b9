//! The right to ask: what a registry demands, and the header that satisfies it.
//!
//! Credentials go to the registry they are for, and to a token service only if it is on the
//! registry's own site; redirects of token services are not followed. The scope asked for is what
//! is wanted here, whatever the registry suggests.

use std::collections::BTreeMap;
use std::time::Duration;

use reqwest::header::HeaderValue;
use reqwest::{Response, Url};
use serde::Deserialize;

use super::credentials::{Credentials, Login};
use super::http::{is_loopback, reason};

const MAX_ANSWER: usize = 1 << 20;
/// So long may a token service take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Gives the header for requests to one repository of one registry.
pub(super) struct Authority {
    http: reqwest::Client,
    elsewhere: reqwest::Client,
    registry: Url,
    scopes: Vec<String>,
    credentials: Credentials,
}

/// Why there is no header.
#[derive(Debug)]
pub(super) enum AuthorityError {
    Unreachable(String),
    Refused(u16, Option<String>),
    Challenge(String),
    Credentials { path: String, why: String },
}

/// One way in which the registry wants to be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Challenge {
    /// Lower-case.
    pub(super) scheme: String,
    pub(super) parameters: BTreeMap<String, String>,
}

impl Authority {
    /// `http` must not follow redirects: what is said to a token service stays there. One on another
    /// site is asked by `elsewhere`, which has no certificate and no authorities of the registry.
    pub(super) fn new(
        http: reqwest::Client,
        elsewhere: reqwest::Client,
        registry: Url,
        scopes: Vec<String>,
        credentials: Credentials,
    ) -> Authority {
        Authority { http, elsewhere, registry, scopes, credentials }
    }

    /// The header that answers one of the challenges; `None` when only credentials would and
    /// there are none.
    pub(super) async fn authorize(
        &self,
        challenges: &[Challenge],
    ) -> Result<Option<HeaderValue>, AuthorityError> {
        let login = self.credentials.find().await?;
        let find = |scheme: &str| challenges.iter().find(|challenge| challenge.scheme == scheme);
        if let Some(Login::Token(token)) = &login {
            return bearer(token).map(Some);
        }
        if let Some(challenge) = find("bearer") {
            return self.token(challenge, login.as_ref()).await.map(Some);
        }
        match (find("basic"), login) {
            (Some(_), Some(Login::Password { user, password })) => {
                basic(&user, &password).map(Some)
            }
            (Some(_), _) => Ok(None),
            (None, _) => {
                let schemes: Vec<&str> = challenges.iter().map(|c| c.scheme.as_str()).collect();
                let schemes =
                    if schemes.is_empty() { "nothing".into() } else { schemes.join(", ") };
                Err(AuthorityError::Challenge(format!("it offers {schemes}")))
            }
        }
    }

    async fn token(
        &self,
        challenge: &Challenge,
        login: Option<&Login>,
    ) -> Result<HeaderValue, AuthorityError> {
        let realm = challenge.parameters.get("realm").map(String::as_str).unwrap_or_default();
        let mut realm = self.check_realm(realm)?;
        let service = challenge.parameters.get("service").map(String::as_str).unwrap_or_default();
        let near = same_site(&self.registry, &realm);
        if !near && self.credentials.are_given() {
            let why = format!("its token service `{realm}` is on another site, which is not told");
            return Err(AuthorityError::Challenge(why));
        }
        let login = login.filter(|_| near);
        let http = if near { &self.http } else { &self.elsewhere };
        let request = match login {
            Some(Login::Identity(token)) => {
                let mut form =
                    Url::parse("form:").map_err(|e| AuthorityError::Challenge(e.to_string()))?;
                form.query_pairs_mut()
                    .append_pair("grant_type", "refresh_token")
                    .append_pair("service", service)
                    .append_pair("client_id", "berth")
                    .append_pair("scope", &self.scopes.join(" "))
                    .append_pair("refresh_token", token);
                let body = form.query().unwrap_or_default().to_owned();
                let form_type = "application/x-www-form-urlencoded";
                http.post(realm).header(reqwest::header::CONTENT_TYPE, form_type).body(body)
            }
            Some(Login::Password { .. } | Login::Token(_)) | None => {
                let mut query = realm.query_pairs_mut();
                if !service.is_empty() {
                    query.append_pair("service", service);
                }
                for scope in &self.scopes {
                    query.append_pair("scope", scope);
                }
                drop(query);
                let request = http.get(realm);
                match login {
                    Some(Login::Password { user, password }) => {
                        request.basic_auth(user, Some(password))
                    }
                    _ => request,
                }
            }
        };
        let request = request.timeout(PATIENCE);
        let response = request.send().await.map_err(|e| AuthorityError::Unreachable(reason(&e)))?;
        read_token(response).await
    }

    /// A token service is reached by TLS, or in plain where the registry itself is and it is on
    /// the same host or this machine.
    fn check_realm(&self, text: &str) -> Result<Url, AuthorityError> {
        let realm = Url::parse(text).ok().filter(|url| url.has_host());
        let allowed = realm.filter(|realm| match realm.scheme() {
            "https" => true,
            "http" => {
                let plain_too = self.registry.scheme() == "http";
                let near = realm.host_str() == self.registry.host_str()
                    || realm.host_str().is_some_and(is_loopback);
                plain_too && near
            }
            _ => false,
        });
        let shown: String = text.chars().take(200).collect();
        allowed.ok_or_else(|| {
            AuthorityError::Challenge(format!(
                "its token service `{}` is not one",
                shown.escape_debug()
            ))
        })
    }
}

async fn read_token(mut response: Response) -> Result<HeaderValue, AuthorityError> {
    #[derive(Deserialize)]
    struct Answer {
        token: Option<String>,
        access_token: Option<String>,
    }
    let status = response.status();
    let mut bytes = Vec::new();
    while let Some(chunk) =
        response.chunk().await.map_err(|e| AuthorityError::Unreachable(reason(&e)))?
    {
        bytes.extend_from_slice(&chunk);
        if bytes.len() > MAX_ANSWER {
            return Err(AuthorityError::Challenge("its token is larger than 1 MiB".into()));
        }
    }
    if !status.is_success() {
        return Err(AuthorityError::Refused(status.as_u16(), error_message(&bytes)));
    }
    let answer: Option<Answer> = serde_json::from_slice(&bytes).ok();
    let token = answer.and_then(|answer| answer.token.or(answer.access_token));
    let none = || AuthorityError::Challenge("its token service gave no token".into());
    bearer(&token.filter(|token| !token.is_empty()).ok_or_else(none)?)
}

fn bearer(token: &str) -> Result<HeaderValue, AuthorityError> {
    header(&format!("Bearer {token}"))
}

fn basic(user: &str, password: &str) -> Result<HeaderValue, AuthorityError> {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
    header(&format!("Basic {text}"))
}

fn header(text: &str) -> Result<HeaderValue, AuthorityError> {
    let mut value = HeaderValue::from_str(text)
        .map_err(|_| AuthorityError::Challenge("its token is not text".into()))?;
    value.set_sensitive(true);
    Ok(value)
}

/// The same host, or hosts of one domain (`registry.gitlab.com` and `gitlab.com`).
fn same_site(registry: &Url, realm: &Url) -> bool {
    let (Some(a), Some(b)) = (registry.host_str(), realm.host_str()) else { return false };
    let domain = |host: &str| {
        let is_name = host.bytes().any(|b| b.is_ascii_alphabetic()) && !host.starts_with('[');
        let mut labels = host.rsplit('.');
        is_name.then(|| Some(format!("{1}.{0}", labels.next()?, labels.next()?))).flatten()
    };
    a == b || domain(a).is_some_and(|site| domain(b) == Some(site))
}

/// Reads a `WWW-Authenticate` header, which may hold several challenges.
pub(super) fn challenges(header: &str) -> Vec<Challenge> {
    let mut found: Vec<Challenge> = Vec::new();
    let mut rest = header.trim_start();
    while !rest.is_empty() {
        let end =
            rest.find(|c: char| !(c.is_ascii_alphanumeric() || "-._~+/!#$%&'*^`|".contains(c)));
        let (word, after) = rest.split_at(end.unwrap_or(rest.len()));
        if let Some(value) = after.trim_start().strip_prefix('=').filter(|_| !word.is_empty()) {
            let (value, after) = parameter(value.trim_start());
            if let Some(challenge) = found.last_mut() {
                challenge.parameters.insert(word.to_ascii_lowercase(), value);
            }
            rest = after;
        } else if word.is_empty() {
            rest = after.get(1..).unwrap_or_default();
        } else {
            found
                .push(Challenge { scheme: word.to_ascii_lowercase(), parameters: BTreeMap::new() });
            rest = after;
        }
        rest = rest.trim_start_matches([' ', '\t', ',']);
    }
    found
}

/// A value, quoted or not, and what follows it.
fn parameter(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([',', ' ', '\t']).unwrap_or(text.len());
        return (text[..end].to_owned(), &text[end..]);
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, c)) = characters.next() {
        match c {
            '"' => return (value, &quoted[at + 1..]),
            '\\' => value.extend(characters.next().map(|(_, c)| c)),
            c => value.push(c),
        }
    }
    (value, "")
}

/// What a registry or token service says about an error, for people.
pub(super) fn error_message(bytes: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Answer {
        errors: Option<Vec<Problem>>,
        details: Option<String>,
        message: Option<String>,
    }
    #[derive(Deserialize)]
    struct Problem {
        message: Option<String>,
        code: Option<String>,
    }
    let answer: Answer = serde_json::from_slice(bytes).ok()?;
    let listed = answer.errors.and_then(|errors| errors.into_iter().next());
    let listed =
        listed.and_then(|problem| problem.message.filter(|m| !m.is_empty()).or(problem.code));
    let text = listed.or(answer.details).or(answer.message)?;
    Some(text.chars().take(300).collect::<String>().escape_debug().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_are_read_with_quotes_and_commas() {
        let header = r#"Basic realm="a, \"b\"", Bearer realm="https://auth.x/token?a=b,c",service=x.y , scope="repository:a/b:pull,push""#;
        let found = challenges(header);
        assert_eq!(found.len(), 2);
        assert_eq!(
            (found[0].scheme.as_str(), found[0].parameters["realm"].as_str()),
            ("basic", r#"a, "b""#)
        );
        let bearer = &found[1].parameters;
        assert_eq!(bearer["realm"], "https://auth.x/token?a=b,c");
        assert_eq!(
            (bearer["service"].as_str(), bearer["scope"].as_str()),
            ("x.y", "repository:a/b:pull,push")
        );
        assert_eq!(challenges("Negotiate")[0].scheme, "negotiate");
        for odd in ["", ",,,", "=", "\"", "a=b", "Bearer realm=\"", "Bearer \u{e9}=\u{e9}"] {
            let _ = challenges(odd);
        }
    }

    #[test]
    fn credentials_stay_on_the_site_of_their_registry() {
        let site = |a: &str, b: &str| same_site(&Url::parse(a).unwrap(), &Url::parse(b).unwrap());
        assert!(site("https://registry-1.docker.io/v2/", "https://auth.docker.io/token"));
        assert!(site("https://registry.gitlab.com/", "https://gitlab.com/jwt"));
        assert!(site("http://127.0.0.1:5000/", "http://127.0.0.1:5001/token"));
        assert!(!site("https://registry.example.com/", "https://evil.net/token"));
        assert!(!site("https://10.0.0.1/", "https://11.0.0.1/"));
        assert!(!site("https://localhost/", "https://com/"));
    }
}
