//! One layer: fetched from where it stopped last time, unpacked while it comes.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use reqwest::StatusCode;
use reqwest::header::CONTENT_RANGE;
use tokio::sync::mpsc::{Receiver, Sender, channel};

use super::super::StoreError;
use super::super::document::Descriptor;
use super::super::ingest::{Claim, Made};
use super::super::progress::{LayerEvent, LayerPhase, LayerProgress, Pace};
use super::super::unpack::{Limits, UnpackError};
use super::client::Client;
use super::error::RegistryError;
use super::http::reason;

/// Pieces of the body between the network and the unpacking.
const PIECES: usize = 16;
/// An event for every so many bytes.
const EVENT_BYTES: u64 = 256 << 10;
/// Progress that makes up for one failure.
const FORGIVEN: u64 = 1 << 20;

/// Fetches, checks and unpacks a layer.
///
/// # Errors
/// From the network: what came is kept for the next time. From the content: it is thrown away,
/// and fetched once more from the start if a part of it was from an earlier time.
pub(super) async fn make_layer(
    client: &Client,
    claim: Claim,
    layer: &Descriptor,
    limits: Limits,
    progress: &LayerProgress,
) -> Result<Made, StoreError> {
    let claim = Arc::new(claim);
    let path = claim.adopt(layer)?;
    loop {
        let (sender, receiver) = channel(PIECES);
        let source = Part::open(&path, layer.size, receiver)?;
        let start = source.stored;
        let from_mirror = client.asks_mirrors();
        let unpacking = tokio::task::spawn_blocking({
            let (claim, layer) = (Arc::clone(&claim), layer.clone());
            move || claim.unpack(source, &layer, limits)
        });
        let fetched = fetch(client, layer, start, sender, progress).await;
        if fetched.is_ok() {
            progress(LayerEvent::of(layer, layer.size, LayerPhase::Unpacking));
        }
        let unpacked = unpacking.await.map_err(|_| StoreError::Stopped)?;
        match (fetched, unpacked) {
            (Err(network), Err(_)) => return Err(network),
            (_, Ok(_)) => break,
            (Ok(()), Err(content)) => {
                let _ = std::fs::remove_file(&path);
                if is_of_host(&content) {
                    return Err(content);
                }
                client.leave_mirrors();
                if !from_mirror && start == 0 {
                    let why = format!("{content}; nothing of it is kept");
                    return Err(client.unfit(why).into());
                }
                tracing::debug!(%content, "an earlier pull or a mirror was wrong; from the start");
            }
        }
    }
    progress(LayerEvent::of(layer, layer.size, LayerPhase::Done));
    // The unpacking has ended, and with it the other handle.
    let claim = Arc::into_inner(claim).ok_or(StoreError::Stopped)?;
    Ok(claim.into_made(&layer.digest))
}

/// Whether it was this host and not the content that failed.
fn is_of_host(error: &StoreError) -> bool {
    use io::ErrorKind::{InvalidData, InvalidInput, Other, UnexpectedEof};
    match error {
        StoreError::Host { .. } => true,
        StoreError::Layer { source: UnpackError::Host { .. }, .. } => true,
        StoreError::Layer { source: UnpackError::Read(e), .. } => {
            !matches!(e.kind(), InvalidData | InvalidInput | Other | UnexpectedEof)
        }
        _ => false,
    }
}

/// Sends the bytes from `at` on, over as many connections as it takes. A receiver that went away
/// has its own reason and is no error here.
async fn fetch(
    client: &Client,
    layer: &Descriptor,
    mut at: u64,
    sender: Sender<Vec<u8>>,
    progress: &LayerProgress,
) -> Result<(), StoreError> {
    let mut failures = 0;
    let mut told = at;
    let mut since = at;
    let mut pace = Pace::new();
    // Some registries cannot go on in the middle, and say so in odd ways.
    let mut whole = false;
    while at < layer.size {
        let mut response = match client.blob(layer, if whole { 0 } else { at }).await {
            Err(error) if !whole && at > 0 && is_no_range(&error) => {
                whole = true;
                continue;
            }
            response => response?,
        };
        progress(LayerEvent::of(layer, at, LayerPhase::Downloading));
        // A registry that cannot go on from there sends all of it: the start is skipped.
        let mut skip = if response.status() == StatusCode::PARTIAL_CONTENT { 0 } else { at };
        let mut why = "it ended too early".to_owned();
        if skip == 0 && at > 0 && !starts_at(&response, at) {
            if whole {
                let why = "a part of a layer where all of it was asked for";
                return Err(client.unfit(why.into()).into());
            }
            whole = true;
            continue;
        }
        loop {
            let piece = match response.chunk().await {
                Ok(Some(piece)) => piece,
                Ok(None) => break,
                Err(error) => {
                    why = reason(&error);
                    break;
                }
            };
            let skipped = piece.len().min(usize::try_from(skip).unwrap_or(usize::MAX));
            skip -= skipped as u64;
            let piece = &piece[skipped..];
            at += piece.len() as u64;
            if at > layer.size {
                let why = format!("a layer that is larger than its {} bytes", layer.size);
                return Err(client.unfit(why).into());
            }
            if !piece.is_empty() && sender.send(piece.to_vec()).await.is_err() {
                return Ok(());
            }
            if at - told >= EVENT_BYTES || pace.is_due() {
                told = at;
                progress(LayerEvent::of(layer, at, LayerPhase::Downloading));
            }
        }
        if at < layer.size {
            failures = if at - since >= FORGIVEN { 1 } else { failures + 1 };
            client.leave_mirrors();
            since = at;
            if failures >= client.retry().attempts {
                return Err(client.broken(why).into());
            }
            let wait = client.retry().pause(failures, None);
            progress(LayerEvent::of(layer, at, LayerPhase::Retrying { why, wait }));
            tokio::time::sleep(wait).await;
        }
    }
    Ok(())
}

/// Whether the registry does not have what begins in the middle.
fn is_no_range(error: &StoreError) -> bool {
    matches!(error, StoreError::Registry(RegistryError::Status { status: 416, .. }))
}

/// Whether a partial answer begins where it should (`bytes FROM-TO/SIZE`).
fn starts_at(response: &reqwest::Response, at: u64) -> bool {
    let range = response.headers().get(CONTENT_RANGE).and_then(|value| value.to_str().ok());
    let from = range.and_then(|text| text.strip_prefix("bytes ")?.split('-').next());
    from.and_then(|from| from.parse().ok()) == Some(at)
}

/// The layer's bytes: first those that an earlier pull left, then those that come, which are
/// added to the file.
struct Part {
    path: PathBuf,
    file: File,
    stored: u64,
    unread: u64,
    came: u64,
    promised: u64,
    receiver: Receiver<Vec<u8>>,
    piece: io::Cursor<Vec<u8>>,
}

impl Part {
    fn open(path: &Path, promised: u64, receiver: Receiver<Vec<u8>>) -> Result<Part, StoreError> {
        let file = OpenOptions::new().read(true).append(true).create(true).open(path);
        let file = file.map_err(StoreError::host("open", path))?;
        let mut stored = file.metadata().map_err(StoreError::host("stat", path))?.len();
        if stored > promised {
            file.set_len(0).map_err(StoreError::host("truncate", path))?;
            stored = 0;
        }
        let piece = io::Cursor::default();
        let path = path.to_owned();
        Ok(Part { path, file, stored, unread: stored, came: stored, promised, receiver, piece })
    }
}

impl Part {
    /// Which step on which file the host refused: the reader's own error would only say why.
    fn refused(&self, error: &io::Error) -> io::Error {
        let text = format!("write `{}`: {error}", self.path.display());
        io::Error::new(error.kind(), text)
    }
}

impl Read for Part {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.unread > 0 {
            let want = buf.len().min(usize::try_from(self.unread).unwrap_or(usize::MAX));
            let n = self.file.read(&mut buf[..want])?;
            self.unread -= n as u64;
            return if n == 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(n) };
        }
        if self.piece.position() >= self.piece.get_ref().len() as u64 {
            let Some(piece) = self.receiver.blocking_recv() else {
                let whole = self.came == self.promised;
                return if whole { Ok(0) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
            };
            self.file.write_all(&piece).map_err(|e| self.refused(&e))?;
            self.came += piece.len() as u64;
            self.piece = io::Cursor::new(piece);
        }
        self.piece.read(buf)
    }
}
