//! How connections to registries are made: by which names, certificates and proxies.

use std::error::Error as _;
use std::net::IpAddr;
use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Certificate, Identity, Proxy};

use super::error::RegistryError;
use super::proxies::Proxies;
use super::resolver::Resolver;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);

/// How connections are made.
pub(super) struct Manner {
    pub(super) patience: Duration,
    /// It may go without TLS.
    pub(super) plain: bool,
    /// Authorities beyond those of the host.
    pub(super) trusted: Vec<Certificate>,
    /// Who we are, for a registry that wants a certificate.
    pub(super) identity: Option<Identity>,
}

impl Manner {
    /// Another host that the registry sends us to gets nothing of what is meant for the registry.
    pub(super) fn of_others(&self) -> Manner {
        Manner { patience: self.patience, plain: true, trusted: Vec::new(), identity: None }
    }
}

/// A client that follows no redirect: `redirect` does.
pub(super) fn http_client(manner: &Manner) -> Result<reqwest::Client, RegistryError> {
    // An error only says that another part of this program was first.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let proxies = Proxies::of_environment()?;
    let builder = || {
        let proxies = proxies.clone();
        let builder = reqwest::Client::builder()
            .user_agent(concat!("berth/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(manner.patience)
            .redirect(Policy::none())
            .referer(false)
            .no_proxy()
            .proxy(Proxy::custom(move |url| proxies.of(url)))
            .dns_resolver(Resolver::of_this_host());
        match &manner.identity {
            Some(identity) => builder.identity(identity.clone()),
            None => builder,
        }
    };
    match builder().tls_certs_merge(manner.trusted.clone()).build() {
        // A host without CA certificates can still use its own registry, in plain or by its own.
        Err(_) if manner.plain || !manner.trusted.is_empty() => {
            let bare = builder().tls_certs_only(manner.trusted.clone()).build();
            bare.map_err(|e| RegistryError::Tls(reason(&e)))
        }
        built => built.map_err(|e| RegistryError::Tls(reason(&e))),
    }
}

/// Whether a host of a URL is this machine.
pub(super) fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    match address.parse::<IpAddr>() {
        Ok(address) => address.is_loopback(),
        Err(_) => host == "localhost" || host.ends_with(".localhost"),
    }
}

/// What is behind an error of the HTTP client, whose own words only repeat the URL.
pub(super) fn reason(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "it did not answer in time".into();
    }
    let mut text = String::new();
    let mut source = error.source();
    while let Some(cause) = source {
        text = cause.to_string();
        source = cause.source();
    }
    if text.is_empty() { error.to_string() } else { text }
}
