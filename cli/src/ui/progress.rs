//! Work under way: one line per object on a terminal, one line per event elsewhere.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle as BarStyle};
use serde::Serialize;

use super::{Ui, safe, sanitize};
use crate::args::ProgressStyle;

/// What happens to the objects of a plan.
#[derive(Debug)]
pub(crate) struct Progress<'a> {
    ui: &'a Ui,
    style: ProgressStyle,
    objects: BTreeMap<String, Object>,
    events: u64,
}

/// One object: its line on the terminal, and since when it is worked on.
#[derive(Debug)]
struct Object {
    bar: Option<ProgressBar>,
    since: Instant,
}

/// One event as `--progress json` writes it.
#[derive(Debug, Serialize)]
struct Event<'a> {
    v: u32,
    seq: u64,
    ts: String,
    #[serde(rename = "type")]
    kind: &'a str,
    addr: &'a str,
    msg: &'a str,
}

impl<'a> Progress<'a> {
    pub(super) fn new(ui: &'a Ui, style: ProgressStyle) -> Progress<'a> {
        Progress { ui, style, objects: BTreeMap::new(), events: 0 }
    }

    /// `object` is worked on: `Creating`.
    pub(crate) fn begin(&mut self, object: &str, doing: &str) {
        self.object(object);
        if let Some(known) = self.objects.get_mut(object) {
            known.since = Instant::now();
        }
        match self.style {
            ProgressStyle::Tty => self.draw(object, doing),
            _ => self.event("op.start", object, doing, None),
        }
    }

    /// How far it is: `12.1 MB of 80 MB`. Only a terminal shows this.
    pub(crate) fn detail(&mut self, object: &str, text: &str) {
        self.object(object);
        match self.style {
            ProgressStyle::Tty => self.draw(object, text),
            ProgressStyle::Json => self.event("op.progress", object, text, None),
            _ => {}
        }
    }

    /// It is done: `Created`.
    pub(crate) fn done(&mut self, object: &str, done: &str) {
        let took = self.object(object);
        match self.style {
            ProgressStyle::Tty => self.close(object, &self.ui.err().green("✔"), done, took),
            _ => self.event("op.done", object, done, Some(took)),
        }
    }

    /// It failed.
    pub(crate) fn failed(&mut self, object: &str, why: &str) {
        let took = self.object(object);
        match self.style {
            ProgressStyle::Tty => self.close(object, &self.ui.err().red("✘"), why, took),
            _ => self.event("op.failed", object, why, Some(took)),
        }
    }

    /// It was not tried, because something before it failed.
    pub(crate) fn skipped(&mut self, object: &str, why: &str) {
        match self.style {
            ProgressStyle::Tty => {}
            _ => self.event("op.skipped", object, why, None),
        }
    }

    /// Redraws what moves.
    pub(crate) fn tick(&self) {
        self.objects.values().filter_map(|object| object.bar.as_ref()).for_each(ProgressBar::tick);
    }

    /// Whether [`Progress::tick`] does anything.
    pub(crate) fn moves(&self) -> bool {
        self.style == ProgressStyle::Tty
    }

    /// Leaves the lines as they are.
    pub(crate) fn finish(mut self) {
        for object in self.objects.values_mut() {
            if let Some(bar) = object.bar.take_if(|bar| !bar.is_finished()) {
                bar.abandon();
            }
        }
        self.ui.leave_bars();
    }

    /// The time since work on `object` began.
    fn object(&mut self, object: &str) -> Duration {
        if let Some(known) = self.objects.get(object) {
            return known.since.elapsed();
        }
        let bar = (self.style == ProgressStyle::Tty).then(|| {
            let bar = self.ui.bars().add(ProgressBar::new_spinner());
            if let Ok(style) = BarStyle::with_template(" {spinner} {prefix}  {msg}") {
                bar.set_style(style.tick_chars("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏ "));
            }
            bar.set_prefix(safe(object).into_owned());
            bar
        });
        self.objects.insert(object.to_owned(), Object { bar, since: Instant::now() });
        Duration::ZERO
    }

    fn draw(&self, object: &str, text: &str) {
        if let Some(bar) = self.objects.get(object).and_then(|known| known.bar.as_ref()) {
            bar.set_message(safe(text).into_owned());
        }
    }

    fn close(&self, object: &str, mark: &str, text: &str, took: Duration) {
        let Some(bar) = self.objects.get(object).and_then(|known| known.bar.as_ref()) else {
            return;
        };
        if let Ok(style) = BarStyle::with_template(&format!(" {mark} {{prefix}}  {{msg}}")) {
            bar.set_style(style);
        }
        let took = self.ui.err().dim(&seconds(took));
        bar.set_message(format!("{}  {took}", safe(text)));
        bar.tick();
    }

    fn event(&mut self, kind: &str, object: &str, text: &str, took: Option<Duration>) {
        self.events += 1;
        match self.style {
            ProgressStyle::Json => {
                let event = Event {
                    v: 1,
                    seq: self.events,
                    ts: jiff::Timestamp::now().to_string(),
                    kind,
                    addr: object,
                    msg: text,
                };
                if let Ok(line) = serde_json::to_string(&event) {
                    self.ui.say(&sanitize::json(&line));
                }
            }
            ProgressStyle::Quiet => {}
            ProgressStyle::Auto | ProgressStyle::Plain | ProgressStyle::Tty => {
                let took = took.map(|t| format!("  {}", seconds(t))).unwrap_or_default();
                self.ui.say(&format!(" {}  {}{took}", safe(object), safe(text)));
            }
        }
    }
}

/// `0.31s`.
fn seconds(duration: Duration) -> String {
    format!("{:.2}s", duration.as_secs_f64())
}
