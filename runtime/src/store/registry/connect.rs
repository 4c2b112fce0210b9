//! Finds out how a registry and its mirrors are spoken to.

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use reqwest::Url;
use tokio::sync::Mutex;

use super::super::StoreError;
use super::super::reference::{DEFAULT_DOMAIN, Reference};
use super::auth::Authority;
use super::client::{Client, Mirror};
use super::credentials::Credentials;
use super::error::RegistryError;
use super::http::{Manner, http_client, is_loopback, reason};
use super::retry::Retry;
use super::settings::{Settings, Trust};
use super::{Access, PullOptions, Purpose};

/// No byte for so long is a broken connection.
const STALL_TIMEOUT: Duration = Duration::from_secs(30);
/// So long may a piece take on its way out, and a registry to look at all of them.
const UPLOAD_TIMEOUT: Duration = Duration::from_secs(300);

impl Client {
    /// Finds out how the registry is spoken to. No credentials are looked at yet.
    pub(super) async fn connect(
        reference: &Reference,
        options: &PullOptions,
    ) -> Result<Client, StoreError> {
        Client::connect_to(reference, &options.access(), Purpose::Pull).await
    }

    /// As [`Client::connect`], for pulling or pushing.
    pub(super) async fn connect_to(
        reference: &Reference,
        access: &Access,
        purpose: Purpose,
    ) -> Result<Client, StoreError> {
        let settings = match access.settings.clone() {
            Some(settings) => settings,
            None => Settings::of_this_host()?,
        };
        let mut client = Client::of_registry(reference, access, purpose, &settings).await?;
        if client.purpose == Purpose::Pull {
            for base in settings.mirrors_of(reference.domain()) {
                let mirror = Client::of_mirror(base, reference, access, &settings)?;
                client.mirrors.push(Mirror { client: mirror, off: AtomicBool::new(false) });
            }
        }
        Ok(client)
    }

    /// The registry itself.
    async fn of_registry(
        reference: &Reference,
        access: &Access,
        purpose: Purpose,
        settings: &Settings,
    ) -> Result<Client, StoreError> {
        let registry = reference.domain().to_owned();
        let host = if registry == DEFAULT_DOMAIN { "registry-1.docker.io" } else { &registry };
        let url = |scheme: &str| {
            Url::parse(&format!("{scheme}://{host}/v2/"))
                .map_err(|_| RegistryError::Name(registry.clone()))
        };
        let secure = url("https")?;
        let loopback = secure.host_str().is_some_and(is_loopback);
        let bare = secure.host_str().unwrap_or_default();
        let mut insecure = access.insecure.iter().chain(&settings.insecure);
        let listed = insecure.any(|name| *name == registry || name == bare);
        let patience = purpose.patience(settings);
        let plain = loopback || listed;
        let Trust { trusted, identity } = settings.trust_of(&registry)?;
        let manner = Manner { patience, plain, trusted, identity };
        let http = http_client(&manner)?;
        // A registry that may be spoken to in plain is still asked for TLS first, as Docker does.
        let hello = if plain { http.get(secure.clone()).send().await.err() } else { None };
        // What went wrong once they had shaken hands is no reason to speak in plain.
        let base = match hello.filter(reqwest::Error::is_connect).map(|error| reason(&error)) {
            None => secure,
            Some(why) if is_of_tls(&why) => {
                let reference = reference.to_string();
                return Err(RegistryError::Unreachable { registry, reference, why }.into());
            }
            Some(_) => url("http")?,
        };
        let credentials = Credentials::new(&registry, access.docker_config.clone());
        let credentials = credentials.or_given(access.login.clone());
        let scopes = purpose.scopes(reference.path());
        let elsewhere = http_client(&manner.of_others())?;
        let ways = (http.clone(), elsewhere.clone());
        let authority = Authority::new(ways.0, ways.1, base.clone(), scopes, credentials);
        Ok(Client {
            http,
            elsewhere,
            base,
            registry,
            reference: reference.clone(),
            retry: settings.retry(access.retry),
            purpose,
            authority,
            authorization: Mutex::new(None),
            mirrors: Vec::new(),
        })
    }

    /// A mirror, which is asked once and gets its own credentials only.
    fn of_mirror(
        base: Url,
        reference: &Reference,
        access: &Access,
        settings: &Settings,
    ) -> Result<Client, StoreError> {
        let host = base.host_str().unwrap_or_default();
        let registry = base.port().map_or(host.to_owned(), |port| format!("{host}:{port}"));
        let Trust { trusted, identity } = settings.trust_of(&registry)?;
        let patience = Purpose::Pull.patience(settings);
        let manner = Manner { patience, plain: base.scheme() == "http", trusted, identity };
        let credentials = Credentials::new(&registry, access.docker_config.clone());
        let scopes = Purpose::Pull.scopes(reference.path());
        let (http, elsewhere) = (http_client(&manner)?, http_client(&manner.of_others())?);
        let ways = (http.clone(), elsewhere.clone());
        Ok(Client {
            authority: Authority::new(ways.0, ways.1, base.clone(), scopes, credentials),
            http,
            elsewhere,
            base,
            registry,
            reference: reference.clone(),
            retry: Retry { attempts: 1, ..access.retry },
            purpose: Purpose::Pull,
            authorization: Mutex::new(None),
            mirrors: Vec::new(),
        })
    }
}

/// Whether the other side speaks TLS, and something about it is wrong.
fn is_of_tls(why: &str) -> bool {
    let why = why.to_ascii_lowercase();
    why.contains("certificate") || why.contains("fatal alert")
}

impl Purpose {
    fn patience(&self, settings: &Settings) -> Duration {
        match self {
            Purpose::Pull | Purpose::Login => settings.stall_timeout.unwrap_or(STALL_TIMEOUT),
            Purpose::Push { .. } => UPLOAD_TIMEOUT,
        }
    }

    /// What a token has to be good for.
    fn scopes(&self, path: &str) -> Vec<String> {
        match self {
            Purpose::Login => Vec::new(),
            Purpose::Pull => vec![format!("repository:{path}:pull")],
            Purpose::Push { sources } => {
                let sources = sources.iter().map(|source| format!("repository:{source}:pull"));
                std::iter::once(format!("repository:{path}:pull,push")).chain(sources).collect()
            }
        }
    }
}
