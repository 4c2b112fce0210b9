//! Docker's `config.json` and credential helpers, read as they are and only when a registry asks.
//! `keep` writes them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use base64::Engine as _;
use serde::Deserialize;
use tokio::io::AsyncWriteExt;

use super::super::reference::DEFAULT_DOMAIN;
use super::auth::AuthorityError;

/// Docker keeps the Hub's credentials under the address of its first version.
const HUB_KEY: &str = "https://index.docker.io/v1/";
const HELPER_TIMEOUT: Duration = Duration::from_secs(30);

/// Where the credentials of one registry may be.
pub(super) struct Credentials {
    registry: String,
    pub(super) file: Option<PathBuf>,
    /// Used in place of whatever is kept.
    given: Option<Login>,
}

/// Who asks.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Login {
    Password {
        user: String,
        password: String,
    },
    /// Exchanged for a token at the token service.
    Identity(String),
    /// Sent to the registry as it is.
    Token(String),
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Config {
    auths: BTreeMap<String, Auth>,
    cred_helpers: BTreeMap<String, String>,
    creds_store: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Auth {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
    registrytoken: Option<String>,
}

impl Credentials {
    /// `folder` holds `config.json`; `None` is where Docker keeps it.
    pub(super) fn new(registry: &str, folder: Option<PathBuf>) -> Credentials {
        let variable = |name| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
        let folder = folder
            .or_else(|| variable("DOCKER_CONFIG"))
            .or_else(|| variable("HOME").map(|home| home.join(".docker")));
        Credentials {
            registry: registry.to_owned(),
            file: folder.map(|folder| folder.join("config.json")),
            given: None,
        }
    }

    /// With what is to be used in place of whatever is kept.
    pub(super) fn or_given(self, given: Option<Login>) -> Credentials {
        Credentials { given, ..self }
    }

    /// Whether these must be shown, not only if somebody may see them.
    pub(super) fn are_given(&self) -> bool {
        self.given.is_some()
    }

    /// Under which name they are kept.
    pub(super) fn key(&self) -> &str {
        if self.registry == DEFAULT_DOMAIN { HUB_KEY } else { &self.registry }
    }

    pub(super) fn failed(&self, file: &Path, why: String) -> AuthorityError {
        AuthorityError::Credentials { path: file.display().to_string(), why }
    }

    /// Who asks this registry; `None` is nobody in particular.
    pub(super) async fn find(&self) -> Result<Option<Login>, AuthorityError> {
        if let Some(given) = &self.given {
            return Ok(Some(given.clone()));
        }
        let Some(file) = &self.file else { return Ok(None) };
        let failed = |why: String| self.failed(file, why);
        let config: Config = match std::fs::read(file) {
            Ok(text) => serde_json::from_slice(&text).map_err(|e| failed(e.to_string()))?,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(failed(e.to_string())),
        };
        let key = self.key();
        if let Some(helper) = config.cred_helpers.get(key).or(config.creds_store.as_ref())
            && let Some(login) = ask_helper(helper, key).await.map_err(failed)?
        {
            return Ok(Some(login));
        }
        let matching = config.auths.iter().find(|(name, _)| host_of(name) == host_of(key));
        matching.map_or(Ok(None), |(_, auth)| read_auth(auth).map_err(failed))
    }
}

/// `https://host:port/path` and `host:port` are the same registry; the Hub has several names.
pub(super) fn host_of(key: &str) -> &str {
    let rest = key.split_once("://").map_or(key, |(_, rest)| rest);
    match rest.split('/').next().unwrap_or(rest) {
        "index.docker.io" | "registry-1.docker.io" => DEFAULT_DOMAIN,
        host => host,
    }
}

fn read_auth(auth: &Auth) -> Result<Option<Login>, String> {
    let text = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    if let Some(token) = text(&auth.registrytoken) {
        return Ok(Some(Login::Token(token)));
    }
    if let Some(token) = text(&auth.identitytoken) {
        return Ok(Some(Login::Identity(token)));
    }
    if let Some(encoded) = text(&auth.auth) {
        let bytes = base64::engine::general_purpose::STANDARD.decode(encoded.trim());
        let decoded = bytes.ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let decoded = decoded.ok_or("its `auth` is not base64")?;
        let (user, password) =
            decoded.split_once(':').ok_or("its `auth` is not `user:password`")?;
        let password = password.trim_end_matches('\0').to_owned();
        return Ok(Some(Login::Password { user: user.to_owned(), password }));
    }
    let pair = text(&auth.username).zip(text(&auth.password));
    Ok(pair.map(|(user, password)| Login::Password { user, password }))
}

/// Runs `docker-credential-NAME get`; `None` when it knows nothing of the registry.
async fn ask_helper(name: &str, key: &str) -> Result<Option<Login>, String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Answer {
        username: String,
        secret: String,
    }
    let Some(output) = run_helper(name, "get", key).await? else { return Ok(None) };
    let answer: Answer =
        serde_json::from_slice(&output).map_err(|e| format!("`docker-credential-{name}`: {e}"))?;
    Ok(Some(match answer.username.as_str() {
        "<token>" => Login::Identity(answer.secret),
        _ => Login::Password { user: answer.username, password: answer.secret },
    }))
}

/// Runs `docker-credential-NAME VERB` and gives what it answers; `None` when it knows nothing of
/// the registry.
pub(super) async fn run_helper(
    name: &str,
    verb: &str,
    input: &str,
) -> Result<Option<Vec<u8>>, String> {
    if !name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.')) {
        return Err(format!("credential helper `{}` is not a name", name.escape_debug()));
    }
    let program = format!("docker-credential-{name}");
    let failed = |e: std::io::Error| format!("`{program}`: {e}");
    let mut child = tokio::process::Command::new(&program)
        .arg(verb)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(failed)?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(input.as_bytes()).await.map_err(failed)?;
    }
    let output = tokio::time::timeout(HELPER_TIMEOUT, child.wait_with_output()).await;
    let output =
        output.map_err(|_| format!("`{program}` did not answer in 30 s"))?.map_err(failed)?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stdout);
        // The helpers say this, on standard output, for a registry they do not know.
        if said.contains("credentials not found") {
            return Ok(None);
        }
        return Err(format!(
            "`{program}` ended with {}: {}",
            output.status,
            said.trim().escape_debug()
        ));
    }
    Ok(Some(output.stdout))
}

#[cfg(test)]
mod tests {
    use super::super::super::test_images::Scratch;
    use super::*;

    async fn find(registry: &str, config: &str) -> Result<Option<Login>, AuthorityError> {
        let scratch = Scratch::new("credentials");
        std::fs::write(scratch.path().join("config.json"), config).unwrap();
        Credentials::new(registry, Some(scratch.path().to_owned())).find().await
    }

    fn password(user: &str, password: &str) -> Option<Login> {
        Some(Login::Password { user: user.into(), password: password.into() })
    }

    #[tokio::test]
    async fn credentials_are_found_by_the_registrys_host_alone() {
        let config = r#"{"auths":{"https://index.docker.io/v1/":{"auth":"dTpwOnE="},
            "localhost:5000":{"username":"a","password":"b"},"https://ghcr.io/x":{"identitytoken":"t"}}}"#;
        assert!(find("docker.io", config).await.unwrap() == password("u", "p:q"));
        assert!(find("localhost:5000", config).await.unwrap() == password("a", "b"));
        assert!(find("ghcr.io", config).await.unwrap() == Some(Login::Identity("t".into())));
        assert!(find("localhost:5001", config).await.unwrap().is_none());
        assert!(find("evil-ghcr.io", config).await.unwrap().is_none());
    }

    #[tokio::test]
    async fn a_damaged_file_or_helper_is_named() {
        for (config, why) in [
            ("{", "EOF"),
            (r#"{"auths":{"x.y":{"auth":"!"}}}"#, "not base64"),
            (r#"{"credsStore":"../x"}"#, "is not a name"),
            (r#"{"credHelpers":{"x.y":"berth-has-none"}}"#, "docker-credential-berth-has-none"),
        ] {
            match find("x.y", config).await {
                Err(AuthorityError::Credentials { why: found, .. }) => {
                    assert!(found.contains(why), "{found}")
                }
                _ => panic!("{config} was accepted"),
            }
        }
    }
}
