//! Work under way: one line per object on a terminal, one line per event elsewhere.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use berth_runtime::store::LayerEvent;
use indicatif::{ProgressBar, ProgressStyle as BarStyle};
use serde::Serialize;

use super::{Ui, safe, sanitize};
use crate::args::ProgressStyle;
use crate::layers::{Layers, News, Told, block, fit, share};
use crate::terminal;

/// Rows and columns of a terminal that does not say.
const USUAL: (u16, u16) = (24, 80);
/// Characters in front of and behind the name of an object.
const AROUND: usize = 5;
/// Characters that a long name leaves for what happens.
const SPARED: usize = 16;

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
    /// What it consists of, while it is on its way.
    layers: Option<Layers>,
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
    #[serde(skip_serializing_if = "Option::is_none")]
    msg: Option<&'a str>,
    #[serde(flatten)]
    layer: Option<ImageLayer<'a>>,
}

/// What happened to a layer, for programs.
#[derive(Debug, Serialize)]
struct ImageLayer<'a> {
    image: Option<&'a str>,
    #[serde(flatten)]
    told: Told<'a>,
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

    /// Something happened to one of its layers. A terminal shows it with the next
    /// [`Progress::tick`], a log each change of state, a program that and some of the counts.
    pub(crate) fn layer(&mut self, object: &str, event: &LayerEvent) {
        if self.ui.hides_layers() {
            return;
        }
        self.object(object);
        let now = Instant::now();
        let Some(known) = self.objects.get_mut(object) else { return };
        let layers = known.layers.get_or_insert_default();
        let news = layers.take(event, now);
        match self.style {
            ProgressStyle::Json if news != News::Little => {
                self.events += 1;
                let image = object.strip_prefix("Image ");
                let layer = layers.told(event, now).map(|told| ImageLayer { image, told });
                self.ui.event(&Event { layer, ..Event::new(self.events, "layer", object) });
            }
            ProgressStyle::Plain | ProgressStyle::Auto if news == News::State => {
                self.ui.say(&format!(" {}  {}", safe(object), safe(&layers.line(event))));
            }
            _ => {}
        }
    }

    /// It is done: `Created`.
    pub(crate) fn done(&mut self, object: &str, done: &str) {
        let layers = self.objects.get(object).and_then(|known| known.layers.as_ref());
        let missing = layers.map(Layers::missing).unwrap_or_default();
        missing.iter().for_each(|event| self.layer(object, event));
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
        let (rows, columns) = terminal::size_of_errors().unwrap_or(USUAL);
        let (rows, columns) = (usize::from(rows), usize::from(columns).saturating_sub(1));
        let layers = self.objects.values().filter_map(|object| object.layers.as_ref());
        let needs: Vec<usize> = layers.map(Layers::lines).collect();
        let others = self.objects.len() - needs.len();
        let mut room = share(rows.saturating_sub(others + 1), &needs).into_iter();
        let now = Instant::now();
        for (name, object) in &self.objects {
            let Some(bar) = &object.bar else { continue };
            if let Some(layers) = &object.layers {
                let prefix = short(name, columns);
                let first = columns.saturating_sub(prefix.chars().count() + AROUND);
                let rows = room.next().unwrap_or_default().max(1);
                let lines = block(layers, now, first, columns, rows);
                if bar.prefix() != prefix {
                    bar.set_prefix(prefix);
                }
                if !lines.is_empty() {
                    bar.set_message(safe(&lines.join("\n")).into_owned());
                }
            }
            bar.tick();
        }
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
        let since = Instant::now();
        self.objects.insert(object.to_owned(), Object { bar, since, layers: None });
        Duration::ZERO
    }

    fn draw(&self, object: &str, text: &str) {
        if let Some(bar) = self.objects.get(object).and_then(|known| known.bar.as_ref()) {
            bar.set_message(safe(text).into_owned());
        }
    }

    fn close(&mut self, object: &str, mark: &str, text: &str, took: Duration) {
        let Some(known) = self.objects.get_mut(object) else { return };
        known.layers = None;
        let Some(bar) = &known.bar else { return };
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
                let msg = Some(text);
                self.ui.event(&Event { msg, ..Event::new(self.events, kind, object) });
            }
            ProgressStyle::Quiet => {}
            ProgressStyle::Auto | ProgressStyle::Plain | ProgressStyle::Tty => {
                let took = took.map(|t| format!("  {}", seconds(t))).unwrap_or_default();
                self.ui.say(&format!(" {}  {}{took}", safe(object), safe(text)));
            }
        }
    }
}

impl<'a> Event<'a> {
    fn new(seq: u64, kind: &'a str, addr: &'a str) -> Event<'a> {
        Event {
            v: 1,
            seq,
            ts: jiff::Timestamp::now().to_string(),
            kind,
            addr,
            msg: None,
            layer: None,
        }
    }
}

impl Ui {
    fn event(&self, event: &Event<'_>) {
        if let Ok(line) = serde_json::to_string(event) {
            self.say(&sanitize::json(&line));
        }
    }
}

/// The name of an object; of a long one the end, so that it leaves room for what happens.
fn short(object: &str, columns: usize) -> String {
    let object = safe(object);
    let most = columns.saturating_sub(AROUND + SPARED);
    let Some((kind, name)) = object.split_once(' ') else { return fit(&object, most) };
    let (has, room) = (name.chars().count(), most.saturating_sub(kind.chars().count() + 1));
    if has <= room {
        return object.into_owned();
    }
    let end: String = name.chars().skip(has + 1 - room.max(1)).collect();
    format!("{kind} …{end}")
}

/// `0.31s`.
fn seconds(duration: Duration) -> String {
    format!("{:.2}s", duration.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_long_name_the_end_is_shown() {
        let name = "Image registry.example.org:5000/shop/web:1";
        assert_eq!(short(name, 79), name);
        assert_eq!(short(name, 49), "Image …e.org:5000/shop/web:1");
        assert_eq!(short(name, 39), "Image …/shop/web:1");
        assert_eq!(short(name, 10), "Image …");
    }
}
