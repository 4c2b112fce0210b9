//! Layers as lines: on a terminal as many as fit into it, in a log one for each change.

use std::time::{Duration, Instant};

use berth_runtime::store::LayerPhase;

use super::{Count, Layer, Layers, is_moving};
use crate::values::amount;

/// The widest state, `Already exists`.
const STATE: usize = 14;
/// In front of the line of a layer.
const INDENT: &str = "     ";

/// How far an image is, then its layers: no more than `rows` lines, the first one of at most
/// `first` characters and the others of `columns`. Empty before anything is known.
pub(crate) fn block(
    layers: &Layers,
    now: Instant,
    first: usize,
    columns: usize,
    rows: usize,
) -> Vec<String> {
    let mut lines: Vec<String> = head(layers, now, first).into_iter().collect();
    let room = rows.saturating_sub(1);
    let all = &layers.layers;
    if lines.is_empty() || room == 0 {
        return lines;
    }
    let shown = if all.len() <= room { (0..all.len()).collect() } else { choose(all, room - 1) };
    lines.extend(shown.iter().map(|place| row(&all[*place], now, columns)));
    if shown.len() < all.len() {
        lines.push(fit(&folded(all, &shown), columns));
    }
    lines
}

/// Room for each of those who need so much: all of it if there is enough, else nobody gets less
/// than his part for another's sake.
pub(crate) fn share(room: usize, needs: &[usize]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..needs.len()).collect();
    order.sort_by_key(|place| needs[*place]);
    let (mut given, mut left) = (vec![0; needs.len()], room);
    for (turn, place) in order.iter().enumerate() {
        given[*place] = needs[*place].min(left / (order.len() - turn));
        left -= given[*place];
    }
    given
}

/// The first of the texts that fits, else the beginning of the last.
fn first_that_fits(texts: &[String], columns: usize) -> String {
    let fits = |text: &&String| text.chars().count() <= columns;
    match texts.iter().find(fits) {
        Some(text) => text.clone(),
        None => fit(texts.last().map_or("", String::as_str), columns),
    }
}

/// `text`, cut off where the line ends.
pub(crate) fn fit(text: &str, columns: usize) -> String {
    if text.chars().count() <= columns {
        return text.to_owned();
    }
    let kept: String = text.chars().take(columns.saturating_sub(1)).collect();
    if columns == 0 { kept } else { kept + "…" }
}

/// `12.1MB of 80.0MB  10.2MB/s  eta 6s  2 of 5 layers`.
fn head(layers: &Layers, now: Instant, columns: usize) -> Option<String> {
    if let Some(whole) = &layers.whole
        && let Some(text) = retrying(&whole.phase, whole.since, now)
        && layers.layers.iter().all(|layer| layer.since <= whole.since)
    {
        return Some(fit(&text, columns));
    }
    let count = layers.count(now)?;
    let mut texts = amounts(&count);
    if !layers.layers.is_empty() {
        let ready = format!("{} of {} layers", layers.ready(), layers.layers.len());
        texts.insert(0, format!("{}  {ready}", texts[0]));
    }
    Some(first_that_fits(&texts, columns))
}

/// The line of one layer.
fn row(layer: &Layer, now: Instant, columns: usize) -> String {
    let name = layer.name();
    if let Some(text) = retrying(&layer.phase, layer.since, now) {
        return fit(&format!("{INDENT}{name}  {text}"), columns);
    }
    let start = format!("{INDENT}{name}  {:STATE$}", words(layer));
    let mut texts: Vec<String> = Vec::new();
    if is_moving(&layer.phase) {
        texts = amounts(&layer.count(now)).iter().map(|t| format!("{start}  {t}")).collect();
    }
    texts.push(start.trim_end().to_owned());
    first_that_fits(&texts, columns)
}

/// Done, total, speed and time left: all of it, then less and less.
fn amounts(count: &Count) -> Vec<String> {
    let done = amount::bytes(count.done);
    let short = match count.total {
        0 => done,
        total => format!("{done} of {}", amount::bytes(total)),
    };
    let speed = count.per_second.map(|rate| format!("{short}  {}/s", amount::bytes(rate)));
    let eta = count.eta.map(clock);
    let full = speed.as_ref().zip(eta).map(|(speed, eta)| format!("{speed}  eta {eta}"));
    let percent = (count.done * 100).checked_div(count.total).map(|share| format!("{share}%"));
    [full, speed, Some(short), percent].into_iter().flatten().collect()
}

/// `6s`, `1m05s`, `2h10m`.
fn clock(time: Duration) -> String {
    let seconds = time.as_secs();
    let (minutes, hours) = (seconds / 60, seconds / 3600);
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{minutes}m{:02}s", seconds % 60),
        _ => format!("{hours}h{:02}m", minutes % 60),
    }
}

/// `Retrying in 2s: 429 Too Many Requests`.
fn retrying(phase: &LayerPhase, since: Instant, now: Instant) -> Option<String> {
    let LayerPhase::Retrying { why, wait } = phase else { return None };
    let left = (since + *wait).saturating_duration_since(now).as_millis().div_ceil(1000);
    Some(match left {
        0 => format!("Retrying: {why}"),
        seconds => format!("Retrying in {seconds}s: {why}"),
    })
}

fn words(layer: &Layer) -> &'static str {
    match &layer.phase {
        LayerPhase::Waiting => "Waiting",
        LayerPhase::Exists => "Already exists",
        LayerPhase::Mounted => "Taken over",
        LayerPhase::Reading => "Loading",
        LayerPhase::Downloading => "Downloading",
        LayerPhase::Packing => "Packing",
        LayerPhase::Packed => "Packed",
        LayerPhase::Uploading => "Pushing",
        LayerPhase::Unpacking => "Extracting",
        LayerPhase::Retrying { .. } => "Retrying",
        LayerPhase::Done => match layer.way {
            Some(LayerPhase::Uploading) => "Pushed",
            Some(LayerPhase::Reading) => "Loaded",
            _ => "Pull complete",
        },
    }
}

/// A change in a log: `a1b2c3d4e5f6 Downloading 12.1MB`.
pub(super) fn logged(layer: &Layer) -> String {
    let text = match retrying(&layer.phase, layer.since, layer.since) {
        Some(text) => text,
        None => words(layer).to_owned(),
    };
    let starts = matches!(layer.phase, LayerPhase::Downloading | LayerPhase::Uploading);
    let size = match starts && layer.total > 0 {
        true => format!(" {}", amount::bytes(layer.total)),
        false => String::new(),
    };
    format!("{} {text}{size}", layer.name()).trim_start().to_owned()
}

/// The places of as many layers as there is room for: first what moves, then what waits, then
/// what is there; in their order.
fn choose(layers: &[Layer], room: usize) -> Vec<usize> {
    let rank = |layer: &Layer| match () {
        () if layer.moves() => 0,
        () if !layer.is_ready() => 1,
        () => 2,
    };
    let mut places: Vec<usize> = (0..layers.len()).collect();
    places.sort_by_key(|place| rank(&layers[*place]));
    places.truncate(room);
    places.sort_unstable();
    places
}

/// `… 12 more: 8 there, 3 moving, 1 waiting`.
fn folded(layers: &[Layer], shown: &[usize]) -> String {
    let hidden = || (0..layers.len()).filter(|place| !shown.contains(place)).map(|p| &layers[p]);
    let ready = hidden().filter(|layer| layer.is_ready()).count();
    let moving = hidden().filter(|layer| layer.moves()).count();
    let all = hidden().count();
    let parts = [(ready, "complete"), (moving, "moving"), (all - ready - moving, "waiting")];
    let parts = parts.iter().filter(|(n, _)| *n > 0).map(|(n, word)| format!("{n} {word}"));
    format!("{INDENT}… {all} more: {}", parts.collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use berth_runtime::store::LayerEvent;

    use super::*;

    fn event(digit: char, done: u64, phase: LayerPhase) -> LayerEvent {
        let layer = Some(format!("sha256:{}", digit.to_string().repeat(64)));
        LayerEvent { layer, done: done * 1_000_000, total: 80_000_000, phase }
    }

    /// A pull two seconds after its beginning.
    fn pulling() -> (Layers, Instant) {
        let start = Instant::now();
        let mut layers = Layers::default();
        let retrying = LayerPhase::Retrying {
            why: "429 Too Many Requests".to_owned(),
            wait: Duration::from_millis(2900),
        };
        for (at, event) in [
            (0, event('a', 80, LayerPhase::Exists)),
            (0, event('b', 0, LayerPhase::Waiting)),
            (0, event('c', 0, LayerPhase::Waiting)),
            (0, event('d', 0, LayerPhase::Waiting)),
            (0, event('e', 0, LayerPhase::Waiting)),
            (0, event('b', 0, LayerPhase::Downloading)),
            (0, event('c', 10, LayerPhase::Downloading)),
            (0, event('d', 0, LayerPhase::Downloading)),
            (1000, event('b', 20, LayerPhase::Downloading)),
            (1000, event('d', 80, LayerPhase::Downloading)),
            (1000, event('d', 80, LayerPhase::Unpacking)),
            (2000, event('b', 40, LayerPhase::Downloading)),
            (2000, event('c', 0, retrying)),
        ] {
            layers.take(&event, start + Duration::from_millis(at));
        }
        (layers, start + Duration::from_millis(2000))
    }

    fn shown(columns: usize, rows: usize) -> String {
        let (layers, now) = pulling();
        let lines = block(&layers, now, columns - 10, columns, rows);
        assert!(lines.iter().all(|line| line.chars().count() <= columns), "{lines:#?}");
        assert!(lines.len() <= rows);
        lines.join("\n")
    }

    #[test]
    fn a_wide_terminal_shows_all_of_it() {
        insta::assert_snapshot!(shown(200, 24), @r"
        210MB of 400MB  60.0MB/s  eta 4s  1 of 5 layers
             aaaaaaaaaaaa  Already exists
             bbbbbbbbbbbb  Downloading     40.0MB of 80.0MB  20.0MB/s  eta 2s
             cccccccccccc  Retrying in 3s: 429 Too Many Requests
             dddddddddddd  Extracting
             eeeeeeeeeeee  Waiting
        ");
    }

    #[test]
    fn eighty_columns_have_room_for_a_layer() {
        insta::assert_snapshot!(shown(80, 24), @r"
        210MB of 400MB  60.0MB/s  eta 4s  1 of 5 layers
             aaaaaaaaaaaa  Already exists
             bbbbbbbbbbbb  Downloading     40.0MB of 80.0MB  20.0MB/s  eta 2s
             cccccccccccc  Retrying in 3s: 429 Too Many Requests
             dddddddddddd  Extracting
             eeeeeeeeeeee  Waiting
        ");
    }

    #[test]
    fn forty_columns_show_what_is_done_and_nothing_wraps() {
        insta::assert_snapshot!(shown(40, 24), @r"
        210MB of 400MB  60.0MB/s
             aaaaaaaaaaaa  Already exists
             bbbbbbbbbbbb  Downloading     50%
             cccccccccccc  Retrying in 3s: 429 …
             dddddddddddd  Extracting
             eeeeeeeeeeee  Waiting
        ");
    }

    #[test]
    fn layers_for_which_there_is_no_room_are_counted() {
        insta::assert_snapshot!(shown(80, 4), @r"
        210MB of 400MB  60.0MB/s  eta 4s  1 of 5 layers
             bbbbbbbbbbbb  Downloading     40.0MB of 80.0MB  20.0MB/s  eta 2s
             cccccccccccc  Retrying in 3s: 429 Too Many Requests
             … 3 more: 1 complete, 1 moving, 1 waiting
        ");
        assert_eq!(shown(80, 1).lines().count(), 1);
        assert_eq!(shown(80, 2).lines().count(), 2);
    }

    #[test]
    fn room_is_shared_and_what_one_leaves_is_for_the_others() {
        assert_eq!(share(20, &[5, 2, 9]), [5, 2, 9]);
        assert_eq!(share(12, &[31, 2, 2]), [8, 2, 2]);
        assert_eq!(share(10, &[31, 31, 2]), [4, 4, 2]);
        assert_eq!(share(1, &[31, 31]), [0, 1]);
        assert_eq!(share(5, &[]), Vec::<usize>::new());
    }

    #[test]
    fn a_log_has_one_line_for_each_change() {
        let now = Instant::now();
        let mut layers = Layers::default();
        let wait = Duration::from_secs(2);
        let retrying = LayerPhase::Retrying { why: "it ended too early".to_owned(), wait };
        let mut log = Vec::new();
        for event in [
            event('a', 0, LayerPhase::Waiting),
            event('a', 0, LayerPhase::Downloading),
            event('a', 1, LayerPhase::Downloading),
            event('a', 2, LayerPhase::Downloading),
            event('a', 2, retrying.clone()),
            event('a', 2, retrying),
            event('a', 2, LayerPhase::Downloading),
            event('a', 80, LayerPhase::Unpacking),
            event('a', 80, LayerPhase::Done),
        ] {
            if layers.take(&event, now) == super::super::News::State {
                log.push(layers.line(&event));
            }
        }
        insta::assert_snapshot!(log.join("\n"), @r"
        aaaaaaaaaaaa Waiting
        aaaaaaaaaaaa Downloading 80.0MB
        aaaaaaaaaaaa Retrying in 2s: it ended too early
        aaaaaaaaaaaa Retrying in 2s: it ended too early
        aaaaaaaaaaaa Downloading 80.0MB
        aaaaaaaaaaaa Extracting
        aaaaaaaaaaaa Pull complete
        ");
    }

    #[test]
    fn the_request_for_the_image_itself_may_be_made_again() {
        let now = Instant::now();
        let mut layers = Layers::default();
        let wait = Duration::from_secs(2);
        let phase = LayerPhase::Retrying { why: "503 Service Unavailable".to_owned(), wait };
        layers.take(&LayerEvent { layer: None, done: 0, total: 0, phase }, now);
        let lines = |after| block(&layers, now + Duration::from_secs(after), 60, 80, 9).join("\n");
        assert_eq!(lines(1), "Retrying in 1s: 503 Service Unavailable");
        assert_eq!(lines(3), "Retrying: 503 Service Unavailable");
    }

    #[test]
    fn times_are_short() {
        let told = [0, 59, 60, 65, 3599, 3600, 7800].map(|s| clock(Duration::from_secs(s)));
        assert_eq!(told.join(" "), "0s 59s 1m00s 1m05s 59m59s 1h00m 2h10m");
    }
}
