//! How connections to registries are made: by which names, certificates and proxies, and which
//! redirects are followed.

use std::error::Error as _;
use std::net::IpAddr;
use std::time::Duration;

use reqwest::Certificate;
use reqwest::redirect::Policy;

use super::error::RegistryError;
use super::resolver::Resolver;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
const MAX_REDIRECTS: usize = 5;

/// How connections are made.
pub(super) struct Manner {
    pub(super) patience: Duration,
    /// Not through a proxy.
    pub(super) direct: bool,
    /// It may go without TLS.
    pub(super) plain: bool,
    /// Authorities beyond those of the host.
    pub(super) trusted: Vec<Certificate>,
}

pub(super) fn http_client(
    redirects: Policy,
    manner: &Manner,
) -> Result<reqwest::Client, RegistryError> {
    // An error only says that another part of this program was first.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = |redirects: Policy| {
        let builder = reqwest::Client::builder()
            .user_agent(concat!("berth/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(manner.patience)
            .redirect(redirects)
            .referer(false)
            .dns_resolver(Resolver::of_this_host());
        if manner.direct { builder.no_proxy() } else { builder }
    };
    match builder(redirects).tls_certs_merge(manner.trusted.clone()).build() {
        // A host without CA certificates can still use its own registry, in plain or by its own.
        Err(_) if manner.plain || !manner.trusted.is_empty() => {
            let bare = builder(Policy::none()).tls_certs_only(manner.trusted.clone()).build();
            bare.map_err(|e| RegistryError::Tls(reason(&e)))
        }
        built => built.map_err(|e| RegistryError::Tls(reason(&e))),
    }
}

/// Redirects lose the authorisation at another host (the HTTP client sees to that) and never
/// lead from TLS to plain.
pub(super) fn follow(attempt: reqwest::redirect::Attempt<'_>) -> reqwest::redirect::Action {
    let from_tls = attempt.previous().last().is_some_and(|url| url.scheme() == "https");
    if attempt.previous().len() > MAX_REDIRECTS {
        attempt.error("it redirects more than five times")
    } else if from_tls && attempt.url().scheme() != "https" {
        attempt.error("it redirects from HTTPS to plain HTTP")
    } else {
        attempt.follow()
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
