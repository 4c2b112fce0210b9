//! What happens to the layers of an image on their way, as events that carry counts.
//!
//! They are told from where the bytes are counted and by nobody else, so speed and time left can
//! be reckoned from them alone.

use std::io::{self, Read};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::document::Descriptor;

/// Between two events that tell nothing but a count.
const PACE: Duration = Duration::from_millis(100);

/// Something happened to a layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerEvent {
    /// The layer's digest, `sha256:…`; `None` for what belongs to the whole image or archive.
    pub layer: Option<String>,
    /// Bytes so far.
    pub done: u64,
    /// Bytes in all; 0 when nobody knows.
    pub total: u64,
    /// What is being done.
    pub phase: LayerPhase,
}

/// What is being done with a layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LayerPhase {
    /// Others come first, or another berth makes it.
    Waiting,
    /// It was there before.
    Exists,
    /// The registry took it over from another of its repositories.
    Mounted,
    /// An archive is read.
    Reading,
    /// Fetched, checked and unpacked at once.
    Downloading,
    /// It was made here and is packed for the registry.
    Packing,
    /// Packed.
    Packed,
    /// On its way to the registry.
    Uploading,
    /// It has come, and is still unpacked.
    Unpacking,
    /// It failed for a reason that may pass, and goes on from here.
    Retrying {
        /// The reason in a few words: `429 Too Many Requests`.
        why: String,
        /// How long until then.
        wait: Duration,
    },
    /// Unpacked and right, or the registry has it.
    Done,
}

/// Told about everything that happens; called from several threads.
pub type LayerProgress = Arc<dyn Fn(LayerEvent) + Send + Sync>;

impl LayerEvent {
    pub(super) fn of(layer: &Descriptor, done: u64, phase: LayerPhase) -> LayerEvent {
        LayerEvent { layer: Some(layer.digest.to_string()), done, total: layer.size, phase }
    }

    /// About the image or archive as a whole.
    pub(super) fn whole(done: u64, total: u64, phase: LayerPhase) -> LayerEvent {
        LayerEvent { layer: None, done, total, phase }
    }
}

/// Whether it is time for an event that tells nothing but a count.
pub(super) struct Pace(Option<Instant>);

impl Pace {
    pub(super) fn new() -> Pace {
        Pace(None)
    }

    pub(super) fn is_due(&mut self) -> bool {
        let due = self.0.is_none_or(|last| last.elapsed() >= PACE);
        if due {
            self.0 = Some(Instant::now());
        }
        due
    }
}

/// What is read through it is told.
pub struct Counted<'a, R> {
    inner: R,
    event: LayerEvent,
    pace: Pace,
    progress: &'a LayerProgress,
}

impl<'a, R: Read> Counted<'a, R> {
    /// An archive of so many bytes; 0 when nobody knows.
    pub fn whole(inner: R, total: u64, progress: &'a LayerProgress) -> Counted<'a, R> {
        Counted::new(inner, LayerEvent::whole(0, total, LayerPhase::Reading), progress)
    }

    pub(super) fn new(inner: R, event: LayerEvent, progress: &'a LayerProgress) -> Counted<'a, R> {
        Counted { inner, event, pace: Pace::new(), progress }
    }
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buf)?;
        self.event.done += n as u64;
        if n == 0 || self.pace.is_due() {
            (self.progress)(self.event.clone());
        }
        Ok(n)
    }
}
