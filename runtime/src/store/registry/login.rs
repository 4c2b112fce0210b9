//! Logging in to a registry and out again.

use std::path::PathBuf;

use super::super::StoreError;
use super::super::reference::{DEFAULT_DOMAIN, Reference};
use super::auth::AuthorityError;
use super::client::Client;
use super::credentials::{Credentials, Login, host_of};
use super::error::RegistryError;
use super::keep::Kept;
use super::settings::Settings;
use super::{Access, Purpose, Retry};

/// How a login is done.
#[derive(Debug, Clone, Default)]
pub struct LoginOptions {
    /// Registries (`host` or `host:port`) that may be spoken to without TLS.
    pub insecure: Vec<String>,
    /// When a request is made again.
    pub retry: Retry,
    /// Folder of Docker's `config.json`; `None` is `$DOCKER_CONFIG`, else `~/.docker`.
    pub docker_config: Option<PathBuf>,
    /// Insecure registries and trust; `None` is what this host's files say.
    pub settings: Option<Settings>,
}

/// A login that the registry has accepted, and that is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoggedIn {
    /// The registry as image names have it.
    pub registry: String,
    /// Where it is kept.
    pub kept: Kept,
    /// Whether the registry wanted to know at all who asks.
    pub was_asked: bool,
}

/// Shows the user and password to the registry (`""` is Docker Hub) and keeps them if it accepts
/// them.
///
/// # Errors
/// [`StoreError::Registry`] when it does not, cannot be reached, or they cannot be kept. Nothing
/// is kept then.
pub async fn login(
    registry: &str,
    user: &str,
    password: &str,
    options: &LoginOptions,
) -> Result<LoggedIn, StoreError> {
    let registry = name_of(registry)?;
    let login = Login::Password { user: user.to_owned(), password: password.to_owned() };
    let access = Access {
        insecure: options.insecure.clone(),
        retry: options.retry,
        docker_config: options.docker_config.clone(),
        login: Some(login),
        settings: options.settings.clone(),
    };
    let was_asked = greet(&registry, &access).await.map_err(|e| explained(&registry, e))?;
    let credentials = Credentials::new(&registry, options.docker_config.clone());
    let kept = credentials.keep(user, password).await.map_err(|e| unkept(&registry, e))?;
    Ok(LoggedIn { registry, kept, was_asked })
}

/// Forgets the login for the registry; gives its name, and whether there was one.
///
/// # Errors
/// [`StoreError::Registry`] when Docker's `config.json` or its credential helper cannot be used.
pub async fn logout(registry: &str, options: &LoginOptions) -> Result<(String, bool), StoreError> {
    let registry = name_of(registry)?;
    let credentials = Credentials::new(&registry, options.docker_config.clone());
    let known = credentials.forget().await.map_err(|e| unkept(&registry, e))?;
    Ok((registry, known))
}

/// `https://ghcr.io/` and `ghcr.io` are the same registry; the Hub has several names.
fn name_of(text: &str) -> Result<String, RegistryError> {
    let host = host_of(text);
    if host.is_empty() || host == DEFAULT_DOMAIN {
        return Ok(DEFAULT_DOMAIN.to_owned());
    }
    match Reference::parse(&format!("{host}/a")) {
        Ok(reference) if reference.domain() == host => Ok(host.to_owned()),
        _ => Err(RegistryError::Name(text.chars().take(200).collect())),
    }
}

async fn greet(registry: &str, access: &Access) -> Result<bool, StoreError> {
    let any = Reference::parse(&format!("{registry}/login"))?;
    Client::connect_to(&any, access, Purpose::Login).await?.greet().await
}

/// In the words of a login, which is about no image.
fn explained(registry: &str, error: StoreError) -> StoreError {
    let why = match error {
        StoreError::Registry(RegistryError::Status { status: 401 | 403, message, .. }) => {
            format!("it does not accept this user and password{message}")
        }
        StoreError::Registry(RegistryError::Status { status, message, .. }) => {
            format!("it answered {status}{message}")
        }
        StoreError::Registry(
            RegistryError::Unreachable { why, .. }
            | RegistryError::Broken { why, .. }
            | RegistryError::Challenge { why, .. },
        ) => why,
        other => return other,
    };
    RegistryError::Login { registry: registry.to_owned(), why }.into()
}

fn unkept(registry: &str, error: AuthorityError) -> StoreError {
    let (registry, error) = (registry.to_owned(), error);
    match error {
        AuthorityError::Credentials { path, why } => {
            RegistryError::Credentials { registry, path, why }.into()
        }
        AuthorityError::Unreachable(why) | AuthorityError::Challenge(why) => {
            RegistryError::Login { registry, why }.into()
        }
        AuthorityError::Refused(status, _) => {
            RegistryError::Login { registry, why: format!("it answered {status}") }.into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::test_images::Scratch;
    use super::super::scripted::{Registry, Reply};
    use super::*;

    fn options(scratch: &Scratch) -> LoginOptions {
        let (first, longest) =
            (std::time::Duration::from_millis(1), std::time::Duration::from_millis(2));
        LoginOptions {
            docker_config: Some(scratch.path().to_owned()),
            retry: Retry { attempts: 2, first, longest },
            ..LoginOptions::default()
        }
    }

    #[test]
    fn a_registry_is_known_by_its_host() {
        for (text, name) in [
            ("", "docker.io"),
            ("https://index.docker.io/v1/", "docker.io"),
            ("https://ghcr.io", "ghcr.io"),
            ("localhost:5000/", "localhost:5000"),
        ] {
            assert_eq!(name_of(text).unwrap(), name);
        }
        for text in ["redis", "a b.c", "../x", "x.y:port"] {
            assert!(name_of(text).is_err(), "{text}");
        }
    }

    #[tokio::test]
    async fn a_password_is_kept_when_the_registry_accepts_it_and_only_then() {
        let scratch = Scratch::new("login");
        let file = scratch.path().join("config.json");
        let registry = Registry::start(|request| {
            let given = request.headers.get("authorization").map(String::as_str);
            match given {
                Some("Basic dTpw") => Reply::of(200, b"{}"),
                _ => Reply::of(401, br#"{"errors":[{"message":"who are you"}]}"#)
                    .header("WWW-Authenticate", "Basic realm=\"x\""),
            }
        });
        let address = registry.address.to_string();
        let refused = login(&address, "u", "wrong", &options(&scratch)).await.unwrap_err();
        let expected = format!(
            "cannot log in to registry `{address}`: it does not accept this user and password: who are you"
        );
        assert_eq!(refused.to_string(), expected);
        assert!(!file.exists());
        let done = login(&address, "u", "p", &options(&scratch)).await.unwrap();
        let kept = Kept::File(file.clone());
        assert_eq!(done, LoggedIn { registry: address.clone(), kept, was_asked: true });
        assert!(registry.requests("").iter().all(|request| request.path == "/v2/"));
        assert!(logout(&address, &options(&scratch)).await.unwrap().1);
        assert!(!logout(&address, &options(&scratch)).await.unwrap().1);
    }

    #[tokio::test]
    async fn a_token_service_on_another_site_is_not_shown_the_password() {
        let scratch = Scratch::new("login");
        let elsewhere = Registry::start(|_| Reply::of(200, br#"{"token":"t"}"#));
        let realm = format!("http://localhost:{}/token", elsewhere.address.port());
        let registry = Registry::start(move |_| {
            Reply::of(401, b"").header("WWW-Authenticate", &format!(r#"Bearer realm="{realm}""#))
        });
        let address = registry.address.to_string();
        let error = login(&address, "u", "p", &options(&scratch)).await.unwrap_err().to_string();
        assert!(error.contains("on another site"), "{error}");
        assert!(elsewhere.requests("").is_empty());
    }

    #[tokio::test]
    async fn a_registry_for_everybody_takes_any_login() {
        let scratch = Scratch::new("login");
        let registry = Registry::start(|_| Reply::of(200, b"{}"));
        let done = login(&registry.address.to_string(), "u", "p", &options(&scratch)).await;
        assert!(!done.unwrap().was_asked);
        let dead = Registry::start(|_| Reply::of(500, b""));
        let error = login(&dead.address.to_string(), "u", "p", &options(&scratch)).await;
        assert!(error.unwrap_err().to_string().ends_with("it answered 500"));
    }
}
