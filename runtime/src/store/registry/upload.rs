//! One blob on its way to a registry: not sent if it is there, taken over from another repository
//! if that has it, else sent whole or in pieces, and gone on with where a connection broke.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{CONTENT_RANGE, CONTENT_TYPE, LOCATION, RANGE};
use reqwest::{Method, Response, StatusCode, Url};

use super::super::StoreError;
use super::super::digest::Digest;
use super::super::document::Descriptor;
use super::super::progress::{LayerEvent, LayerPhase, LayerProgress};
use super::client::{Ask, Client};
use super::error::{Failure, RegistryError};

const BYTES: &str = "application/octet-stream";
/// A registry that wants less at a time than this wants nothing.
const LEAST_CHUNK: u64 = 64 << 10;
/// No registry may have us hold more than this.
const MOST_CHUNK: u64 = 64 << 20;

/// A blob that the registry shall have.
#[derive(Debug, Clone)]
pub(super) struct Source {
    pub(super) blob: Descriptor,
    /// `None` when its bytes are not here.
    pub(super) path: Option<PathBuf>,
    /// A repository of the registry that has it, as far as we know.
    pub(super) elsewhere: Option<String>,
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// The registry has it.
    There,
    /// It has not, and neither have we.
    Absent,
}

/// Failures in a row without the registry getting any further.
struct Tries<'a> {
    client: &'a Client,
    failures: u32,
    furthest: u64,
}

/// An upload that the registry has begun.
struct Session {
    location: Url,
    at: u64,
    chunk: u64,
}

/// Sees to it that the registry has the blob.
///
/// # Errors
/// When the registry does not take it, as often as it was asked.
pub(super) async fn bring(
    client: &Client,
    source: &Source,
    chunk: u64,
    progress: &LayerProgress,
) -> Result<Ended, StoreError> {
    let upload = Upload { client, source, chunk, progress };
    let mut tries = Tries { client, failures: 0, furthest: 0 };
    loop {
        match upload.run(&mut tries).await {
            Ok(ended) => return Ok(ended),
            Err(failure) => {
                let (why, wait) = tries.again(failure)?;
                upload.tell(tries.furthest, LayerPhase::Retrying { why, wait });
                tokio::time::sleep(wait).await;
            }
        }
    }
}

struct Upload<'a> {
    client: &'a Client,
    source: &'a Source,
    chunk: u64,
    progress: &'a LayerProgress,
}

impl Upload<'_> {
    async fn run(&self, tries: &mut Tries<'_>) -> Result<Ended, Failure> {
        let blob = &self.source.blob;
        if self.exists().await? {
            self.tell(blob.size, LayerPhase::Exists);
            return Ok(Ended::There);
        }
        if self.source.path.is_none() && self.source.elsewhere.is_none() {
            return Ok(Ended::Absent);
        }
        let Some(mut session) = self.begin().await? else {
            self.tell(blob.size, LayerPhase::Mounted);
            return Ok(Ended::There);
        };
        let Some(path) = &self.source.path else { return Ok(Ended::Absent) };
        let file = File::open(path).map_err(StoreError::host("open", path))?;
        let file = Arc::new(file);
        self.tell(0, LayerPhase::Uploading);
        if blob.size <= session.chunk {
            let bytes = self.read(&file, 0, blob.size).await?;
            self.finish(&session, bytes).await?;
        } else {
            self.send_chunks(&file, &mut session, tries).await?;
            self.finish(&session, Vec::new()).await?;
        }
        self.tell(blob.size, LayerPhase::Done);
        Ok(Ended::There)
    }

    async fn exists(&self) -> Result<bool, Failure> {
        let path = format!("blobs/{}", self.source.blob.digest);
        let response = self.client.ask(&self.client.ask_for(Method::HEAD, &path)?).await?;
        if response.status() == StatusCode::NOT_FOUND {
            return Ok(false);
        }
        self.client.judge(response).await.map(|_| true)
    }

    /// Begins an upload; `None` when the registry took the blob over from its other repository.
    async fn begin(&self) -> Result<Option<Session>, Failure> {
        let mut ask = self.client.ask_for(Method::POST, "blobs/uploads/")?;
        if let Some(elsewhere) = &self.source.elsewhere {
            let mut query = ask.url.query_pairs_mut();
            query.append_pair("mount", &self.source.blob.digest.to_string());
            query.append_pair("from", elsewhere);
        }
        let response = self.client.judge(self.client.ask(&ask).await?).await?;
        if response.status() == StatusCode::CREATED && self.source.elsewhere.is_some() {
            return Ok(None);
        }
        let least = header(&response, "oci-chunk-min-length").and_then(|text| text.parse().ok());
        let chunk = self.chunk.max(least.unwrap_or(0)).min(MOST_CHUNK);
        Ok(Some(Session { location: self.location(&response)?, at: 0, chunk }))
    }

    /// Sends the blob a piece at a time.
    async fn send_chunks(
        &self,
        file: &Arc<File>,
        session: &mut Session,
        tries: &mut Tries<'_>,
    ) -> Result<(), Failure> {
        let size = self.source.blob.size;
        while session.at < size {
            let length = session.chunk.min(size - session.at);
            let bytes = self.read(file, session.at, length).await?;
            match self.send_chunk(session, bytes).await {
                Ok(()) => {
                    tries.came_to(session.at);
                    self.tell(session.at, LayerPhase::Uploading);
                }
                Err(failure) => {
                    let (why, wait) = tries.again(failure)?;
                    self.tell(session.at, LayerPhase::Retrying { why, wait });
                    tokio::time::sleep(wait).await;
                    self.find_place(session).await?;
                }
            }
        }
        Ok(())
    }

    async fn send_chunk(&self, session: &mut Session, bytes: Vec<u8>) -> Result<(), Failure> {
        let end = session.at + bytes.len() as u64;
        let range = format!("{}-{}", session.at, end - 1);
        let ask = Ask::new(Method::PATCH, session.location.clone())
            .with(CONTENT_TYPE, BYTES)
            .with(CONTENT_RANGE, &range)
            .with_body(bytes);
        let response = self.client.ask(&ask).await?;
        let status = response.status();
        if status == StatusCode::PAYLOAD_TOO_LARGE && session.chunk > LEAST_CHUNK {
            session.chunk = (session.chunk / 2).max(LEAST_CHUNK);
            let why = "it takes less at a time than it is sent".to_owned();
            return Err(Failure::Passing(self.client.not_taken(why), None));
        }
        let response = self.judge_part(response).await?;
        session.location = self.location(&response)?;
        session.at = end;
        Ok(())
    }

    /// Asks how far the upload has come. If that cannot be told, it is begun anew.
    async fn find_place(&self, session: &mut Session) -> Result<(), Failure> {
        let ask = Ask::new(Method::GET, session.location.clone());
        let response = self.judge_part(self.client.ask(&ask).await?).await?;
        let range = header(&response, RANGE.as_str()).unwrap_or_default();
        let last = range.strip_prefix("bytes=").unwrap_or(&range).strip_prefix("0-");
        session.at = match last.and_then(|last| last.parse::<u64>().ok()) {
            // This is also how registries write that they have nothing.
            None | Some(0) => 0,
            Some(last) if last < self.source.blob.size => last + 1,
            Some(_) => {
                let why = "it says it has more of a layer than there is".to_owned();
                return Err(Failure::Passing(self.client.not_taken(why), None));
            }
        };
        session.location = self.location(&response).unwrap_or(session.location.clone());
        Ok(())
    }

    /// Sends the last of the bytes; the registry compares all of them with the digest.
    async fn finish(&self, session: &Session, bytes: Vec<u8>) -> Result<(), Failure> {
        let digest = &self.source.blob.digest;
        let mut url = session.location.clone();
        url.query_pairs_mut().append_pair("digest", &digest.to_string());
        let ask = Ask::new(Method::PUT, url).with(CONTENT_TYPE, BYTES).with_body(bytes);
        let response = self.judge_part(self.client.ask(&ask).await?).await?;
        check_digest("layer", &response, digest)
    }

    /// An upload that the registry has forgotten, or sees at another place, can be begun anew.
    async fn judge_part(&self, response: Response) -> Result<Response, Failure> {
        let lost = [StatusCode::NOT_FOUND, StatusCode::RANGE_NOT_SATISFIABLE];
        let lost = lost.contains(&response.status());
        match self.client.judge(response).await {
            Err(Failure::Final(StoreError::Registry(error @ RegistryError::Status { .. })))
                if lost =>
            {
                Err(Failure::Passing(error, None))
            }
            judged => judged,
        }
    }

    /// Where an upload goes on. It may be on another host, which then gets no credentials, but
    /// never in plain where the registry is not.
    fn location(&self, response: &Response) -> Result<Url, Failure> {
        let text = header(response, LOCATION.as_str()).unwrap_or_default();
        let shown: String = text.chars().take(200).collect();
        let refused = |why: &str| {
            let why = format!("it sends the upload to `{}`, {why}", shown.escape_debug());
            Failure::Final(self.client.not_taken(why).into())
        };
        let url = response.url().join(&text).ok().filter(|url| url.has_host() && !text.is_empty());
        let url = url.ok_or_else(|| refused("which is no address"))?;
        if response.url().scheme() == "https" && url.scheme() != "https" {
            return Err(refused(
                "away from HTTPS; a proxy before it has to send `X-Forwarded-Proto`",
            ));
        }
        Ok(url)
    }

    async fn read(&self, file: &Arc<File>, at: u64, length: u64) -> Result<Vec<u8>, Failure> {
        let file = Arc::clone(file);
        let read = tokio::task::spawn_blocking(move || {
            let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
            file.read_exact_at(&mut bytes, at).map(|()| bytes)
        });
        let path = self.source.path.clone().unwrap_or_default();
        let read = read.await.map_err(|_| StoreError::Stopped)?;
        Ok(read.map_err(StoreError::host("read", &path))?)
    }

    fn tell(&self, done: u64, phase: LayerPhase) {
        (self.progress)(LayerEvent::of(&self.source.blob, done, phase));
    }
}

impl Tries<'_> {
    fn came_to(&mut self, at: u64) {
        if at > self.furthest {
            self.furthest = at;
            self.failures = 0;
        }
    }

    /// Why there is a next try, if there is one, and how long to wait before it.
    fn again(&mut self, failure: Failure) -> Result<(String, Duration), StoreError> {
        let (error, wanted) = match failure {
            Failure::Final(error) => return Err(error),
            Failure::Passing(error, wanted) => (error, wanted),
        };
        self.failures += 1;
        if self.client.retry().is_over(self.failures, wanted) {
            return Err(error.into());
        }
        tracing::debug!(%error, failures = self.failures, "sending to the registry again");
        Ok((error.brief(), self.client.retry().pause(self.failures, wanted)))
    }
}

/// The registry must call what it took by the digest it was sent under.
pub(super) fn check_digest(
    what: &'static str,
    response: &Response,
    expected: &Digest,
) -> Result<(), Failure> {
    let told = header(response, "docker-content-digest");
    match told.and_then(|text| Digest::parse(&text).ok()) {
        Some(found) if found != *expected => {
            let expected = expected.clone();
            Err(Failure::Final(StoreError::Digest { what, expected, found }))
        }
        _ => Ok(()),
    }
}

fn header(response: &Response, name: &str) -> Option<String> {
    response.headers().get(name)?.to_str().ok().map(str::to_owned)
}
