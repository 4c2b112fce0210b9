//! One request to a registry: authorised, repeated when that can help, and explained when not.

use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use reqwest::header::{
    ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RANGE,
    WWW_AUTHENTICATE,
};
use reqwest::{Method, Response, StatusCode, Url};
use tokio::sync::Mutex;

use super::super::StoreError;
use super::super::digest::Digest;
use super::super::document::{self, Descriptor};
use super::super::reference::Reference;
use super::Purpose;
use super::auth::{self, Authority};
use super::busy;
use super::error::{Failure, RegistryError};
use super::http::reason;
use super::redirect::{self, MAX_REDIRECTS};
use super::retry::{self, Retry};

const MAX_MESSAGE: u64 = 16 << 10;

/// A registry, for one repository.
pub(super) struct Client {
    pub(super) http: reqwest::Client,
    /// For hosts that it sends us on to.
    pub(super) elsewhere: reqwest::Client,
    pub(super) base: Url,
    pub(super) registry: String,
    pub(super) reference: Reference,
    pub(super) retry: Retry,
    pub(super) purpose: Purpose,
    pub(super) authority: Authority,
    /// What the last accepted request was authorised with.
    pub(super) authorization: Mutex<Option<HeaderValue>>,
    /// Asked before the registry itself.
    pub(super) mirrors: Vec<Mirror>,
}

/// Another place that may have what the registry has.
pub(super) struct Mirror {
    pub(super) client: Client,
    /// It failed in a way that does not pass, and is left alone from then on.
    pub(super) off: AtomicBool,
}

/// A request, as often as it has to be made.
pub(super) struct Ask {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Client {
    /// Whether a mirror is asked before the registry itself.
    pub(super) fn asks_mirrors(&self) -> bool {
        self.mirrors.iter().any(|mirror| !mirror.off.load(Ordering::Relaxed))
    }

    /// From now on the registry itself is asked: what a mirror sends is no good.
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
        let bytes = self.body("manifest", response, document::MAX_MANIFEST).await?;
        let found = Digest::of(&bytes);
        for expected in [digest, promised.as_ref()].into_iter().flatten() {
            check("manifest", expected, &found)?;
        }
        document::check_media_type(&bytes, content_type.as_deref())?;
        Ok(bytes)
    }

    /// The digest of a tag: the registry or a mirror says it when asked for the head alone, or it
    /// is that of the document.
    pub(super) async fn digest(&self, tag: Option<&str>) -> Result<Digest, StoreError> {
        match self.head(tag).await? {
            Some(digest) => Ok(digest),
            None => Ok(Digest::of(&self.manifest(None, tag).await?)),
        }
    }

    /// The digest of a tag by the head of its manifest; `None` when that does not tell.
    pub(super) async fn head(&self, tag: Option<&str>) -> Result<Option<Digest>, StoreError> {
        let path = format!("manifests/{}", tag.unwrap_or("latest"));
        match self.fetch(Method::HEAD, &path, None).await {
            Ok(response) => Ok(promised(&response)),
            // Some know no heads; of others the whole answer tells what went wrong. Whoever has
            // had enough of us is not asked for more.
            Err(StoreError::Registry(RegistryError::Status { status, .. }))
                if status == 501 || (400..500).contains(&status) && status != 429 =>
            {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// A blob that is read whole, checked.
    pub(super) async fn small_blob(
        &self,
        blob: &Descriptor,
        max: u64,
    ) -> Result<Vec<u8>, StoreError> {
        let response = self.get(&format!("blobs/{}", blob.digest), None).await?;
        let bytes = self.body("config", response, blob.size.min(max)).await?;
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

    /// The error for what is not taken from it.
    pub(super) fn unfit(&self, why: String) -> RegistryError {
        let (registry, reference) = (self.registry.clone(), self.reference.to_string());
        RegistryError::Unfit { registry, reference, why }
    }

    /// The error for a body that broke off.
    pub(super) fn broken(&self, why: String) -> RegistryError {
        let (registry, reference) = (self.registry.clone(), self.reference.to_string());
        RegistryError::Broken { registry, reference, why }
    }

    /// From a mirror if one has it, else from the registry.
    async fn get(&self, path: &str, from: Option<u64>) -> Result<Response, StoreError> {
        self.fetch(Method::GET, path, from).await
    }

    async fn fetch(
        &self,
        method: Method,
        path: &str,
        from: Option<u64>,
    ) -> Result<Response, StoreError> {
        for mirror in self.mirrors.iter().filter(|mirror| !mirror.off.load(Ordering::Relaxed)) {
            match mirror.client.fetch_here(method.clone(), path, from).await {
                Ok(response) => return Ok(response),
                Err(error) => {
                    tracing::debug!(%error, "the next mirror is asked");
                    mirror.off.store(!is_absent(&error), Ordering::Relaxed);
                }
            }
        }
        self.fetch_here(method, path, from).await
    }

    async fn fetch_here(
        &self,
        method: Method,
        path: &str,
        from: Option<u64>,
    ) -> Result<Response, StoreError> {
        let mut ask = self.ask_for(method, path)?;
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
                Err(Failure::Passing(error, wanted)) if self.retry.is_over(attempt, wanted) => {
                    return Err(error.into());
                }
                Err(Failure::Passing(error, wanted)) => {
                    let wait = self.retry.pause(attempt, wanted);
                    tracing::debug!(%error, attempt, ?wait, ?wanted, "asking the registry again");
                    retry::told(&error, wait);
                    tokio::time::sleep(wait).await;
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
        // Neither is what another host wants to know.
        let ours = ours && response.url().origin() == self.base.origin();
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
            *held = fresh.map_err(|e| self.unauthorized(e))?;
            if held.is_none() {
                return Ok(response);
            }
        }
        let fresh = held.clone();
        drop(held);
        self.send(ask, fresh.as_ref()).await
    }

    /// Sends the request, and sends it on where the answer says so.
    async fn send(
        &self,
        ask: &Ask,
        authorization: Option<&HeaderValue>,
    ) -> Result<Response, Failure> {
        let mut url = ask.url.clone();
        let (registry, reference) = (self.registry.clone(), self.reference.to_string());
        for _ in 0..=MAX_REDIRECTS {
            let ours = url.origin() == self.base.origin();
            let response = self.send_to(url, ask, authorization.filter(|_| ours)).await?;
            match redirect::next(&response, &ask.method) {
                Ok(None) => return Ok(response),
                Ok(Some(next)) => url = next,
                Err(why) => {
                    return Err(RegistryError::Astray { registry, reference, why }.into());
                }
            }
        }
        let why = format!("more than {MAX_REDIRECTS} times");
        Err(RegistryError::Astray { registry, reference, why }.into())
    }

    async fn send_to(
        &self,
        url: Url,
        ask: &Ask,
        authorization: Option<&HeaderValue>,
    ) -> Result<Response, Failure> {
        let ours = url.origin() == self.base.origin();
        let http = if ours { &self.http } else { &self.elsewhere };
        let mut request = http.request(ask.method.clone(), url).headers(ask.headers.clone());
        if ask.method != Method::GET && ask.method != Method::HEAD {
            request = request.body(ask.body.clone());
        }
        if let Some(authorization) = authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        request.send().await.map_err(|error| Failure::Passing(self.unreachable(&error), None))
    }

    /// Tells what was asked for from what passes and from what does not.
    pub(super) async fn judge(&self, response: Response) -> Result<Response, Failure> {
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let now = jiff::Timestamp::now();
        let wanted = busy::wanted(response.headers(), now);
        let limit = busy::limit(response.headers()).map(|limit| format!("; {limit}"));
        let is_part = response.url().path().contains("/blobs/");
        let bytes = self.body("answer", response, MAX_MESSAGE).await.unwrap_or_default();
        let moment = wanted.map(|wanted| busy::moment(wanted, now));
        let next = match status {
            StatusCode::NOT_FOUND if is_part && self.purpose == Purpose::Pull => {
                "it lacks a part of the image, which has to be pushed there again".to_owned()
            }
            status => self.next_move(status, moment),
        };
        let error = RegistryError::Status {
            registry: self.registry.clone(),
            reference: self.reference.to_string(),
            status: status.as_u16(),
            message: auth::error_message(&bytes)
                .map(|text| format!(": {text}"))
                .unwrap_or_default()
                + &limit.unwrap_or_default(),
            next,
        };
        let passes = matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS)
            || status.is_server_error() && status != StatusCode::NOT_IMPLEMENTED;
        Err(if passes { Failure::Passing(error, wanted) } else { Failure::Final(error.into()) })
    }

    /// What somebody can do about a status; `moment` is when the registry wants to be asked again.
    fn next_move(&self, status: StatusCode, moment: Option<String>) -> String {
        let words = match (status, moment) {
            (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, _)
                if self.purpose != Purpose::Pull =>
            {
                "log in with `berth login` as somebody who may push to it"
            }
            (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, _) => {
                "check that the image exists and that `auths` in Docker's `config.json` may read it"
            }
            (StatusCode::NOT_FOUND, _) => "check the name and the tag",
            (StatusCode::TOO_MANY_REQUESTS, Some(moment)) => {
                return format!("try again {moment}, or log in for a higher limit");
            }
            (StatusCode::TOO_MANY_REQUESTS, None) => {
                "try again in some minutes, or log in for a higher limit"
            }
            (status, Some(moment)) if status.is_server_error() => {
                return format!("try again {moment}");
            }
            (status, None) if status.is_server_error() => "try again later",
            _ => "this is not an answer of a registry for images",
        };
        words.to_owned()
    }

    /// Reads a body of at most `max` bytes.
    pub(super) async fn body(
        &self,
        what: &str,
        mut response: Response,
        max: u64,
    ) -> Result<Vec<u8>, StoreError> {
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|e| self.broken(reason(&e)))? {
            bytes.extend_from_slice(&chunk);
            if bytes.len() as u64 > max {
                let why = format!("a {what} that is larger than the {max} bytes it may have");
                return Err(self.unfit(why).into());
            }
        }
        Ok(bytes)
    }

    fn unauthorized(&self, error: auth::AuthorityError) -> Failure {
        Failure::from_authority(error, self.registry.clone(), self.reference.to_string())
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
