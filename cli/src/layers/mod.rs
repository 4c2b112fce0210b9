//! How far the layers of an image are: what is known of each, and of all together.
//!
//! Reading order: here what is known, [`rate`] speed and time left, [`lines`] how a terminal and
//! a log show it, [`watch`] work while it is shown.

mod lines;
mod rate;
mod watch;

use std::time::{Duration, Instant};

use berth_runtime::store::{LayerEvent, LayerPhase};
use serde::Serialize;

pub(crate) use lines::{block, fit, share};
use rate::{Rate, eta};
pub(crate) use watch::{REDRAW, watched};

/// Between two counts of one layer for a program.
const PACE: Duration = Duration::from_millis(500);

/// The layers of one image, in the order in which they were first heard of.
#[derive(Debug, Default)]
pub(crate) struct Layers {
    layers: Vec<Layer>,
    /// What was told last of the image or archive as a whole.
    whole: Option<Layer>,
    /// What has moved while we looked.
    moved: u64,
    rate: Rate,
}

/// One layer.
#[derive(Debug)]
struct Layer {
    /// `sha256:…`; empty for the whole.
    digest: String,
    phase: LayerPhase,
    /// Nothing was told of it yet.
    fresh: bool,
    /// The phase in which it last moved.
    way: Option<LayerPhase>,
    since: Instant,
    done: u64,
    total: u64,
    rate: Rate,
    /// When a program was last told of it.
    told: Instant,
}

/// What an event changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum News {
    /// A layer is in another state.
    State,
    /// Only a count, and it is time to tell a program.
    Count,
    /// Only a count.
    Little,
}

/// A layer as `--progress json` tells it.
#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct Told<'a> {
    layer: Option<&'a str>,
    state: &'static str,
    current: u64,
    total: Option<u64>,
    bytes_per_second: Option<u64>,
    eta_seconds: Option<u64>,
    reason: Option<&'a str>,
    retry_seconds: Option<f64>,
}

/// How far something is.
#[derive(Debug, Clone, Copy)]
struct Count {
    done: u64,
    total: u64,
    per_second: Option<u64>,
    eta: Option<Duration>,
}

impl Layers {
    /// Takes in what happened.
    pub(crate) fn take(&mut self, event: &LayerEvent, now: Instant) -> News {
        let Some(digest) = &event.layer else {
            let whole = self.whole.get_or_insert_with(|| Layer::new(String::new(), event, now));
            return whole.take(event, now).0;
        };
        let place = match self.layers.iter().position(|layer| layer.digest == *digest) {
            Some(place) => place,
            None => {
                self.layers.push(Layer::new(digest.clone(), event, now));
                self.layers.len() - 1
            }
        };
        let (news, moved) = self.layers[place].take(event, now);
        self.moved += moved;
        self.rate.note(now, self.moved);
        news
    }

    /// All is done: the events of layers whose last one was lost.
    pub(crate) fn missing(&self) -> Vec<LayerEvent> {
        let open = self.layers.iter().filter(|layer| layer.moves());
        let done = |layer: &Layer| LayerEvent {
            layer: Some(layer.digest.clone()),
            done: layer.total,
            total: layer.total,
            phase: LayerPhase::Done,
        };
        open.map(done).collect()
    }

    /// What `event` was about, for a program.
    pub(crate) fn told<'a>(&'a self, event: &'a LayerEvent, now: Instant) -> Option<Told<'a>> {
        let layer = match &event.layer {
            Some(digest) => self.layers.iter().find(|layer| layer.digest == *digest),
            None => self.whole.as_ref(),
        }?;
        let count = layer.count(now);
        let (reason, wait) = match &event.phase {
            LayerPhase::Retrying { why, wait } => (Some(why.as_str()), Some(wait.as_secs_f64())),
            _ => (None, None),
        };
        Some(Told {
            layer: event.layer.as_deref(),
            state: state(&layer.phase),
            current: count.done,
            total: (count.total > 0).then_some(count.total),
            bytes_per_second: count.per_second,
            eta_seconds: count.eta.map(|eta| eta.as_secs()),
            reason,
            retry_seconds: wait.map(|seconds| (seconds * 1000.0).round() / 1000.0),
        })
    }

    /// One line for a log: `a1b2c3d4e5f6 Downloading 12.1MB`.
    pub(crate) fn line(&self, event: &LayerEvent) -> String {
        let layer = match &event.layer {
            Some(digest) => self.layers.iter().find(|layer| layer.digest == *digest),
            None => self.whole.as_ref(),
        };
        layer.map(lines::logged).unwrap_or_default()
    }

    /// All layers together. `None` before anything is known of them.
    fn count(&self, now: Instant) -> Option<Count> {
        if self.layers.is_empty() {
            return self.whole.as_ref().filter(|whole| whole.moves()).map(|whole| whole.count(now));
        }
        let done = self.layers.iter().map(|layer| layer.done).sum();
        let total = self.layers.iter().map(|layer| layer.total).sum::<u64>();
        let moves = self.layers.iter().any(Layer::moves);
        let per_second = self.rate.per_second(now).filter(|_| moves);
        let left = total.saturating_sub(done);
        let eta = eta(left, per_second).filter(|_| left > 0);
        Some(Count { done, total, per_second, eta })
    }

    /// Lines that show all of it.
    pub(crate) fn lines(&self) -> usize {
        self.layers.len() + 1
    }

    fn ready(&self) -> usize {
        self.layers.iter().filter(|layer| layer.is_ready()).count()
    }
}

impl Layer {
    fn new(digest: String, event: &LayerEvent, now: Instant) -> Layer {
        Layer {
            digest,
            phase: event.phase.clone(),
            fresh: true,
            way: None,
            since: now,
            done: 0,
            total: event.total,
            rate: Rate::default(),
            told: now,
        }
    }

    /// Takes in what happened; gives how much has moved.
    fn take(&mut self, event: &LayerEvent, now: Instant) -> (News, u64) {
        let retries = matches!(event.phase, LayerPhase::Retrying { .. });
        let entered = std::mem::take(&mut self.fresh) || retries || event.phase != self.phase;
        let moved = match self.way {
            Some(_) if !retries => event.done.saturating_sub(self.done),
            _ => 0,
        };
        if !(retries && event.done < self.done) {
            self.done = event.done;
        }
        self.total = self.total.max(event.total);
        if entered {
            self.phase = event.phase.clone();
            self.since = now;
        }
        if is_moving(&event.phase) {
            self.way = Some(event.phase.clone());
            self.rate.note(now, self.done);
        }
        let news = match entered {
            true => News::State,
            false if now.saturating_duration_since(self.told) >= PACE => News::Count,
            false => News::Little,
        };
        if news != News::Little {
            self.told = now;
        }
        (news, moved)
    }

    fn count(&self, now: Instant) -> Count {
        let per_second = self.rate.per_second(now).filter(|_| is_moving(&self.phase));
        let left = self.total.saturating_sub(self.done);
        let eta = eta(left, per_second).filter(|_| left > 0);
        Count { done: self.done, total: self.total, per_second, eta }
    }

    fn is_ready(&self) -> bool {
        let (here, packed) = (LayerPhase::Done, LayerPhase::Packed);
        [LayerPhase::Exists, LayerPhase::Mounted, packed, here].contains(&self.phase)
    }

    /// Whether something is done with it now.
    fn moves(&self) -> bool {
        is_moving(&self.phase)
            || matches!(self.phase, LayerPhase::Unpacking | LayerPhase::Retrying { .. })
    }

    fn name(&self) -> String {
        self.digest.rsplit(':').next().unwrap_or_default().chars().take(12).collect()
    }
}

fn is_moving(phase: &LayerPhase) -> bool {
    matches!(phase, LayerPhase::Reading | LayerPhase::Downloading | LayerPhase::Uploading)
}

/// A state in the words for programs; they stay as they are.
fn state(phase: &LayerPhase) -> &'static str {
    match phase {
        LayerPhase::Waiting => "waiting",
        LayerPhase::Exists => "already_exists",
        LayerPhase::Mounted => "mounted",
        LayerPhase::Reading => "reading",
        LayerPhase::Downloading => "downloading",
        LayerPhase::Packing => "packing",
        LayerPhase::Packed => "packed",
        LayerPhase::Uploading => "uploading",
        LayerPhase::Unpacking => "extracting",
        LayerPhase::Retrying { .. } => "retrying",
        LayerPhase::Done => "complete",
    }
}
