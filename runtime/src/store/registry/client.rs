//! One request to a registry: authorised, repeated when that can help, and explained when not.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{
    ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RANGE, RETRY_AFTER,
    WWW_AUTHENTICATE,
};
use reqwest::redirect::Policy;
use reqwest::{Method, Response, StatusCode, Url};
use tokio::sync::Mutex;

use super::super::StoreError;
use super::super::digest::Digest;
use super::super::document::{self, Descriptor};
use super::super::reference::{DEFAULT_DOMAIN, Reference};
use super::auth::{self, Authority};
use super::credentials::Credentials;
use super::http::{Manner, follow, http_client, is_loopback, reason};
use super::settings::Settings;
use super::{Access, PullOptions, Purpose, Retry};

/// No byte for so long is a broken connection.
const STALL_TIMEOUT: Duration = Duration::from_secs(30);
/// So long may a piece take on its way out, and a registry to look at all of them.
const UPLOAD_TIMEOUT: Duration = Duration::from_secs(300);
const MAX_MESSAGE: u64 = 16 << 10;

/// Why a registry did not give what it was asked for.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum RegistryError {
    #[error(
        "cannot reach registry `{registry}` for `{reference}`: {why}; check its name and this machine's network"
    )]
    Unreachable { registry: String, reference: String, why: String },
    #[error("registry `{registry}` answered {status} for `{reference}`{message}; {next}")]
    Status { registry: String, reference: String, status: u16, message: String, next: &'static str },
    #[error(
        "registry `{registry}` broke off while sending `{reference}`: {why}; run this again to go on from there"
    )]
    Broken { registry: String, reference: String, why: String },
    #[error("registry `{registry}` did not take `{reference}`: {why}")]
    NotTaken { registry: String, reference: String, why: String },
    #[error(
        "registry `{registry}` wants to be asked for `{reference}` in a way berth does not know: {why}"
    )]
    Challenge { registry: String, reference: String, why: String },
    #[error("credentials for registry `{registry}` in `{path}`: {why}")]
    Credentials { registry: String, path: String, why: String },
    #[error(
        "cannot set up TLS: {0}; are the host's CA certificates installed (`ca-certificates`)?"
    )]
    Tls(String),
    #[error("cannot log in to registry `{registry}`: {why}")]
    Login { registry: String, why: String },
    #[error("settings for registries in `{path}`: {why}")]
    Settings { path: String, why: String },
    #[error("`{0}` is not the name of a registry")]
    Name(String),
}

/// A registry, for one repository.
pub(super) struct Client {
    http: reqwest::Client,
    base: Url,
    registry: String,
    reference: Reference,
    retry: Retry,
    purpose: Purpose,
    authority: Authority,
    /// What the last accepted request was authorised with.
    authorization: Mutex<Option<HeaderValue>>,
    /// Asked before the registry itself.
    mirrors: Vec<Mirror>,
}

/// Another place that may have what the registry has.
struct Mirror {
    client: Client,
    /// It failed in a way that does not pass, and is left alone from then on.
    off: AtomicBool,
}

/// A request, as often as it has to be made.
pub(super) struct Ask {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// An answer that is not what was asked for.
pub(super) enum Failure {
    /// Waiting and asking again may help.
    Passing(RegistryError, Option<Duration>),
    Final(StoreError),
}

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
        let patience = purpose.patience();
        let plain = loopback || listed;
        let trusted = settings.certificates_of(&registry)?;
        let manner = Manner { patience, direct: loopback, plain, trusted };
        let http = http_client(Policy::custom(follow), &manner)?;
        // A registry that may be spoken to in plain is still asked for TLS first, as Docker does.
        let hello = if plain { http.get(secure.clone()).send().await.err() } else { None };
        let base = match hello.map(|error| reason(&error)) {
            None => secure,
            Some(why) if why.contains("certificate") => {
                let reference = reference.to_string();
                return Err(RegistryError::Unreachable { registry, reference, why }.into());
            }
            Some(_) => url("http")?,
        };
        let strict = http_client(Policy::none(), &Manner { patience: STALL_TIMEOUT, ..manner })?;
        let credentials = Credentials::new(&registry, access.docker_config.clone());
        let credentials = credentials.or_given(access.login.clone());
        let scopes = purpose.scopes(reference.path());
        let authority = Authority::new(strict, base.clone(), scopes, credentials);
        Ok(Client {
            http,
            base,
            registry,
            reference: reference.clone(),
            retry: access.retry,
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
        let manner = Manner {
            patience: STALL_TIMEOUT,
            direct: is_loopback(host),
            plain: base.scheme() == "http",
            trusted: settings.certificates_of(&registry)?,
        };
        let credentials = Credentials::new(&registry, access.docker_config.clone());
        let scopes = Purpose::Pull.scopes(reference.path());
        let strict = http_client(Policy::none(), &manner)?;
        Ok(Client {
            http: http_client(Policy::custom(follow), &manner)?,
            authority: Authority::new(strict, base.clone(), scopes, credentials),
            base,
            registry,
            reference: reference.clone(),
            retry: Retry { attempts: 1, ..access.retry },
            purpose: Purpose::Pull,
            authorization: Mutex::new(None),
            mirrors: Vec::new(),
        })
    }

    /// From now on the registry itself is asked: what a mirror sends breaks off.
    pub(super) fn leave_mirrors(&self) {
        self.mirrors.iter().for_each(|mirror| mirror.off.store(true, Ordering::Relaxed));
    }

    /// `https` or `http`.
    #[cfg(test)]
    pub(super) fn scheme(&self) -> &str {
        self.base.scheme()
    }

    pub(super) fn retry(&self) -> Retry {
        self.retry
    }

    /// Asks for nothing in particular; whether the registry wanted to know who asks.
    pub(super) async fn greet(&self) -> Result<bool, StoreError> {
        self.persist(&Ask::new(Method::GET, self.base.clone())).await?;
        Ok(self.authorization.lock().await.is_some())
    }

    /// The document of a digest, checked against it, or of a tag.
    pub(super) async fn manifest(
        &self,
        digest: Option<&Digest>,
        tag: Option<&str>,
    ) -> Result<Vec<u8>, StoreError> {
        let name = match (digest, tag) {
            (Some(digest), _) => digest.to_string(),
            (None, tag) => tag.unwrap_or("latest").to_owned(),
        };
        let response = self.get(&format!("manifests/{name}"), None).await?;
        let promised = promised(&response);
        let content_type = header(&response, CONTENT_TYPE.as_str()).map(str::to_owned);
        let bytes = self.body(response, document::MAX_MANIFEST).await?;
        let found = Digest::of(&bytes);
        for expected in [digest, promised.as_ref()].into_iter().flatten() {
            check("manifest", expected, &found)?;
        }
        document::check_media_type(&bytes, content_type.as_deref())?;
        Ok(bytes)
    }

    /// The digest of a tag: the registry says it when asked for the head alone, or it is that of
    /// the document.
    pub(super) async fn digest(&self, tag: Option<&str>) -> Result<Digest, StoreError> {
        let head = self.ask_for(Method::HEAD, &format!("manifests/{}", tag.unwrap_or("latest")))?;
        if let Ok(response) = self.ask(&head).await
            && response.status().is_success()
            && let Some(digest) = promised(&response)
        {
            return Ok(digest);
        }
        // What went wrong is told by the whole answer.
        Ok(Digest::of(&self.manifest(None, tag).await?))
    }

    /// A blob that is read whole, checked.
    pub(super) async fn small_blob(
        &self,
        blob: &Descriptor,
        max: u64,
    ) -> Result<Vec<u8>, StoreError> {
        let response = self.get(&format!("blobs/{}", blob.digest), None).await?;
        let bytes = self.body(response, blob.size.min(max)).await?;
        check("config", &blob.digest, &Digest::of(&bytes))?;
        Ok(bytes)
    }

    /// A blob from byte `from` on, if the registry can do that; else all of it.
    pub(super) async fn blob(&self, blob: &Descriptor, from: u64) -> Result<Response, StoreError> {
        self.get(&format!("blobs/{}", blob.digest), (from > 0).then_some(from)).await
    }

    /// The error for what the registry should have taken.
    pub(super) fn not_taken(&self, why: String) -> RegistryError {
        let (registry, reference) = (self.registry.clone(), self.reference.to_string());
        RegistryError::NotTaken { registry, reference, why }
    }

    /// The error for a body that broke off.
    pub(super) fn broken(&self, why: String) -> RegistryError {
        let (registry, reference) = (self.registry.clone(), self.reference.to_string());
        RegistryError::Broken { registry, reference, why }
    }

    /// From a mirror if one has it, else from the registry.
    async fn get(&self, path: &str, from: Option<u64>) -> Result<Response, StoreError> {
        for mirror in self.mirrors.iter().filter(|mirror| !mirror.off.load(Ordering::Relaxed)) {
            match mirror.client.get_here(path, from).await {
                Ok(response) => return Ok(response),
                Err(error) => {
                    tracing::debug!(%error, "the next mirror is asked");
                    mirror.off.store(!is_absent(&error), Ordering::Relaxed);
                }
            }
        }
        self.get_here(path, from).await
    }

    async fn get_here(&self, path: &str, from: Option<u64>) -> Result<Response, StoreError> {
        let mut ask = self.ask_for(Method::GET, path)?;
        if let Some(from) = from {
            ask = ask.with(RANGE, &format!("bytes={from}-"));
        }
        self.persist(&ask).await
    }

    /// A request about something of the repository.
    pub(super) fn ask_for(&self, method: Method, path: &str) -> Result<Ask, StoreError> {
        let path = format!("{}/{path}", self.reference.path());
        let url = self.base.join(&path).map_err(|_| RegistryError::Name(self.registry.clone()))?;
        Ok(Ask::new(method, url).with(ACCEPT, document::ACCEPT))
    }

    /// Makes a request until it is answered, as often as that may help.
    pub(super) async fn persist(&self, ask: &Ask) -> Result<Response, StoreError> {
        let mut attempt = 1;
        loop {
            let answered = match self.ask(ask).await {
                Ok(response) => self.judge(response).await,
                Err(failure) => Err(failure),
            };
            match answered {
                Ok(response) => return Ok(response),
                Err(Failure::Final(error)) => return Err(error),
                Err(Failure::Passing(error, _)) if attempt >= self.retry.attempts => {
                    return Err(error.into());
                }
                Err(Failure::Passing(error, wanted)) => {
                    tracing::debug!(%error, attempt, "asking the registry again");
                    tokio::time::sleep(self.retry.pause(attempt, wanted)).await;
                    attempt += 1;
                }
            }
        }
    }

    /// One request; a second one when the first was told to authorise itself. Any answer counts.
    pub(super) async fn ask(&self, ask: &Ask) -> Result<Response, Failure> {
        // What the registry is to be told is nobody else's business.
        let ours = ask.url.origin() == self.base.origin();
        let used = self.authorization.lock().await.clone().filter(|_| ours);
        let response = self.send(ask, used.as_ref()).await?;
        if response.status() != StatusCode::UNAUTHORIZED || !ours {
            return Ok(response);
        }
        let mut held = self.authorization.lock().await;
        if *held == used {
            let challenges = response.headers().get_all(WWW_AUTHENTICATE);
            let challenges: Vec<_> = challenges
                .iter()
                .filter_map(|value| value.to_str().ok())
                .flat_map(auth::challenges)
                .collect();
            let fresh = self.authority.authorize(&challenges).await;
            *held = fresh.map_err(|e| Failure::from_authority(e, self))?;
            if held.is_none() {
                return Ok(response);
            }
        }
        let fresh = held.clone();
        drop(held);
        self.send(ask, fresh.as_ref()).await
    }

    async fn send(
        &self,
        ask: &Ask,
        authorization: Option<&HeaderValue>,
    ) -> Result<Response, Failure> {
        let mut request = self.http.request(ask.method.clone(), ask.url.clone());
        request = request.headers(ask.headers.clone());
        if ask.method != Method::GET && ask.method != Method::HEAD {
            request = request.body(ask.body.clone());
        }
        if let Some(authorization) = authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        request.send().await.map_err(|error| {
            let is_redirect = error.is_redirect();
            let error = self.unreachable(&error);
            if is_redirect { Failure::Final(error.into()) } else { Failure::Passing(error, None) }
        })
    }

    /// Tells what was asked for from what passes and from what does not.
    pub(super) async fn judge(&self, response: Response) -> Result<Response, Failure> {
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let wanted = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        let wanted = wanted.and_then(|text| text.parse().ok()).map(Duration::from_secs);
        let bytes = self.body(response, MAX_MESSAGE).await.unwrap_or_default();
        let next = match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN if self.purpose != Purpose::Pull => {
                "log in with `berth login` as somebody who may push to it"
            }
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                "check that the image exists and that `auths` in Docker's `config.json` may read it"
            }
            StatusCode::NOT_FOUND => "check the name and the tag",
            StatusCode::TOO_MANY_REQUESTS => "wait, or log in for a higher limit",
            status if status.is_server_error() => "try again later",
            _ => "this is not an answer of a registry for images",
        };
        let error = RegistryError::Status {
            registry: self.registry.clone(),
            reference: self.reference.to_string(),
            status: status.as_u16(),
            message: auth::error_message(&bytes)
                .map(|text| format!(": {text}"))
                .unwrap_or_default(),
            next,
        };
        let passes = matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS)
            || status.is_server_error();
        Err(if passes { Failure::Passing(error, wanted) } else { Failure::Final(error.into()) })
    }

    /// Reads a body of at most `max` bytes.
    async fn body(&self, mut response: Response, max: u64) -> Result<Vec<u8>, StoreError> {
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|e| self.broken(reason(&e)))? {
            bytes.extend_from_slice(&chunk);
            if bytes.len() as u64 > max {
                return Err(self
                    .broken(format!("it is larger than the {max} bytes it may have"))
                    .into());
            }
        }
        Ok(bytes)
    }

    fn unreachable(&self, error: &reqwest::Error) -> RegistryError {
        let (registry, reference) = (self.registry.clone(), self.reference.to_string());
        RegistryError::Unreachable { registry, reference, why: reason(error) }
    }
}

impl Ask {
    pub(super) fn new(method: Method, url: Url) -> Ask {
        Ask { method, url, headers: HeaderMap::new(), body: Bytes::new() }
    }

    /// With a header; a value that is none is left out.
    #[must_use]
    pub(super) fn with(mut self, name: HeaderName, value: &str) -> Ask {
        self.headers.extend(HeaderValue::from_str(value).ok().map(|value| (name, value)));
        self
    }

    #[must_use]
    pub(super) fn with_body(self, body: Vec<u8>) -> Ask {
        Ask { body: body.into(), ..self }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Failure {
        Failure::Final(error)
    }
}

impl Purpose {
    fn patience(&self) -> Duration {
        match self {
            Purpose::Pull | Purpose::Login => STALL_TIMEOUT,
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

impl Failure {
    fn from_authority(error: auth::AuthorityError, client: &Client) -> Failure {
        let (registry, reference) = (client.registry.clone(), client.reference.to_string());
        match error {
            auth::AuthorityError::Unreachable(why) => {
                Failure::Passing(RegistryError::Unreachable { registry, reference, why }, None)
            }
            auth::AuthorityError::Refused(status, message) => {
                let next = "check the credentials in Docker's `config.json`";
                let message = message.map(|text| format!(": {text}")).unwrap_or_default();
                let error = RegistryError::Status { registry, reference, status, message, next };
                if status >= 500 || status == 429 {
                    Failure::Passing(error, None)
                } else {
                    Failure::Final(error.into())
                }
            }
            auth::AuthorityError::Challenge(why) => {
                Failure::Final(RegistryError::Challenge { registry, reference, why }.into())
            }
            auth::AuthorityError::Credentials { path, why } => {
                Failure::Final(RegistryError::Credentials { registry, path, why }.into())
            }
        }
    }
}

impl Retry {
    /// Half of the wait is fixed and half by chance, so that many do not ask at one moment.
    pub(super) fn pause(&self, attempt: u32, wanted: Option<Duration>) -> Duration {
        use std::hash::{BuildHasher, RandomState};
        let doubled = self.first.saturating_mul(1 << attempt.saturating_sub(1).min(16));
        let chance = RandomState::new().hash_one(attempt) % 1000;
        let by_chance = doubled / 2 + (doubled / 2).mul_f64(chance as f64 / 1000.0);
        wanted.unwrap_or_default().max(by_chance).min(self.longest)
    }
}

/// Whether a mirror only does not have this one thing.
fn is_absent(error: &StoreError) -> bool {
    matches!(error, StoreError::Registry(RegistryError::Status { status: 404, .. }))
}

fn header<'r>(response: &'r Response, name: &str) -> Option<&'r str> {
    response.headers().get(name).and_then(|value| value.to_str().ok())
}

/// The digest that a registry says a document has.
fn promised(response: &Response) -> Option<Digest> {
    header(response, "docker-content-digest").and_then(|text| Digest::parse(text).ok())
}

fn check(what: &'static str, expected: &Digest, found: &Digest) -> Result<(), StoreError> {
    if expected == found {
        return Ok(());
    }
    Err(StoreError::Digest { what, expected: expected.clone(), found: found.clone() })
}
