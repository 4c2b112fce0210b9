//! The only place that prints: data to standard output, everything else to standard error.
//!
//! Text that others wrote is made safe by [`sanitize`] before it gets here or in here; each
//! function says which.

mod paint;
mod prefix;
mod progress;
mod sanitize;
mod table;

use std::io::{self, BufWriter, IsTerminal, Stdout, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use berth_runtime::logs::sanitize as container_text;
use indicatif::{MultiProgress, ProgressDrawTarget};
use serde::Serialize;
use serde_json::json;

pub(crate) use paint::Paint;
pub(crate) use prefix::Prefixes;
pub(crate) use progress::Progress;
pub(crate) use sanitize::plain as safe;
pub(crate) use table::Table;

use crate::args::{Ansi, ProgressStyle};
use crate::failure::Failure;
use crate::form::{self, Form, Listed};

/// Pictures of progress in a second.
const PICTURES: u8 = 10;

/// What we talk to and how.
#[derive(Debug)]
pub(crate) struct Ui {
    out_terminal: bool,
    err_terminal: bool,
    out: Paint,
    err: Paint,
    progress: ProgressStyle,
    /// Lines of progress on the terminal, while there are any.
    bars: Mutex<Option<MultiProgress>>,
    /// Layers of images are not shown.
    hides_layers: AtomicBool,
    /// Standard output, buffered until [`Ui::flush`] or the next of our own data.
    stdout: Mutex<BufWriter<Stdout>>,
}

impl Ui {
    /// Looks at the two outputs and at what the user asked for.
    pub(crate) fn new(ansi: Ansi, progress: ProgressStyle) -> Ui {
        let out_terminal = io::stdout().is_terminal();
        let err_terminal = io::stderr().is_terminal();
        let colours = |terminal: bool| match ansi {
            Ansi::Never => false,
            Ansi::Always => true,
            Ansi::Auto => terminal && colours_wanted(),
        };
        let redraw = err_terminal && ansi != Ansi::Never && !is_dumb();
        let progress = match progress {
            ProgressStyle::Auto if redraw => ProgressStyle::Tty,
            ProgressStyle::Auto => ProgressStyle::Plain,
            ProgressStyle::Tty if !redraw => ProgressStyle::Plain,
            chosen => chosen,
        };
        Ui {
            out_terminal,
            err_terminal,
            out: Paint::when(colours(out_terminal)),
            err: Paint::when(colours(err_terminal)),
            progress,
            bars: Mutex::new(None),
            hides_layers: AtomicBool::new(false),
            stdout: Mutex::new(BufWriter::with_capacity(64 << 10, io::stdout())),
        }
    }

    /// Colours of standard output.
    pub(crate) fn out(&self) -> Paint {
        self.out
    }

    /// Colours of standard error.
    pub(crate) fn err(&self) -> Paint {
        self.err
    }

    /// Whether what is printed can be replaced by what is printed next.
    pub(crate) fn redraws(&self) -> bool {
        self.out_terminal && !is_dumb()
    }

    /// Prints data that is safe, and a newline.
    pub(crate) fn data(&self, text: &str) -> Result<(), Failure> {
        self.write(&[text.as_bytes(), b"\n"])?;
        self.flush()
    }

    /// Prints what is our own as it is, without a newline.
    pub(crate) fn raw(&self, text: &str) -> Result<(), Failure> {
        self.write(&[text.as_bytes()])?;
        self.flush()
    }

    /// Prints a text that is whole, without a newline. Into a file or pipe it goes as it is.
    pub(crate) fn document(&self, text: &str) -> Result<(), Failure> {
        match self.out_terminal {
            true => self.write(&[safe(text).as_bytes()])?,
            false => self.write(&[text.as_bytes()])?,
        }
        self.flush()
    }

    /// Sends out what [`Ui::output`] has kept back.
    pub(crate) fn flush(&self) -> Result<(), Failure> {
        Ok(self.stdout.lock().unwrap_or_else(PoisonError::into_inner).flush()?)
    }

    fn write(&self, parts: &[&[u8]]) -> Result<(), Failure> {
        let mut out = self.stdout.lock().unwrap_or_else(PoisonError::into_inner);
        for part in parts {
            out.write_all(part)?;
        }
        Ok(())
    }

    /// Prints data of others, one item a line.
    pub(crate) fn list<S: AsRef<str>>(
        &self,
        items: impl IntoIterator<Item = S>,
    ) -> Result<(), Failure> {
        for item in items {
            self.data(&safe(item.as_ref()))?;
        }
        Ok(())
    }

    /// Prints a table.
    pub(crate) fn table(&self, table: &Table) -> Result<(), Failure> {
        self.data(&table.lines().join("\n"))
    }

    /// Prints a value as JSON over several lines.
    pub(crate) fn json<T: Serialize>(&self, value: &T) -> Result<(), Failure> {
        let text = serde_json::to_string_pretty(value).map_err(io::Error::from)?;
        self.data(&sanitize::json(&text))
    }

    /// Prints values as JSON, one a line.
    pub(crate) fn json_lines<T: Serialize>(&self, values: &[T]) -> Result<(), Failure> {
        for value in values {
            let text = serde_json::to_string(value).map_err(io::Error::from)?;
            self.data(&sanitize::json(&text))?;
        }
        Ok(())
    }

    /// Prints `table`, or `values` as JSON, one a line, or what a template makes of them.
    pub(crate) fn rows<T: Listed>(
        &self,
        form: &Form,
        values: &[T],
        table: impl FnOnce() -> Table,
    ) -> Result<(), Failure> {
        let wrong = |why| Failure::usage(format!("`--format`: {why}"));
        match form {
            Form::Table => self.table(&table()),
            Form::Json => self.json_lines(values),
            Form::Lines(template) => self.list(form::filled(template, values).map_err(wrong)?),
            Form::Columns(template) => self.table(&form::columns(template, values).map_err(wrong)?),
        }
    }

    /// Prints one line of a container's output, at the latest with the next [`Ui::flush`]. Into a
    /// file or pipe it goes as it is.
    pub(crate) fn output(&self, prefix: &str, text: &[u8]) -> Result<(), Failure> {
        if !self.out_terminal {
            return self.raw_output(prefix, text);
        }
        let text = container_text(text, self.out.is_on());
        self.write(&[prefix.as_bytes(), text.as_bytes(), b"\n"])
    }

    /// Prints one line of a container's output as it is, wherever it goes.
    pub(crate) fn raw_output(&self, prefix: &str, text: &[u8]) -> Result<(), Failure> {
        self.write(&[prefix.as_bytes(), text, b"\n"])
    }

    /// Tells something that is safe already.
    pub(crate) fn note(&self, text: &str) {
        if self.progress != ProgressStyle::Quiet {
            self.tell("note", text.trim(), text);
        }
    }

    /// Tells something that is safe already, and that a question needs: nothing hides it.
    pub(crate) fn ahead(&self, text: &str) {
        self.tell("note", text.trim(), text);
    }

    /// Tells something that needs a look.
    pub(crate) fn warn(&self, text: &str) {
        let shown = format!("{} {}", self.err.yellow("warning:"), safe(text));
        self.tell("warning", text, &shown);
    }

    /// Tells a problem with its place in the text, on standard error.
    pub(crate) fn report(&self, report: &miette::Report) {
        let shown = rendered(report.as_ref(), self.err);
        self.tell("problem", &shown, &shown);
    }

    /// Prints a problem with its place in the text as data, and an empty line.
    pub(crate) fn problem(&self, problem: &dyn miette::Diagnostic) -> Result<(), Failure> {
        self.data(&(rendered(problem, self.out) + "\n"))
    }

    /// Tells how a command failed.
    pub(crate) fn failure(&self, failure: &Failure) {
        if matches!(failure, Failure::Output(e) if e.kind() == io::ErrorKind::BrokenPipe) {
            return;
        }
        if let Failure::Invalid(reports) | Failure::Denied { reports, .. } = failure {
            for report in reports {
                self.report(report);
                self.space();
            }
        }
        for cause in failure.causes() {
            let shown = format!("{} {}", self.err.red("failed:"), safe(cause));
            self.tell("failed", cause, &shown);
        }
        let message = failure.to_string();
        self.tell("error", &message, &format!("{} {}", self.err.red("error:"), safe(&message)));
        if let Some(help) = failure.help() {
            let shown = format!("  {} {}", self.err.sgr("36", "help:"), safe(&help));
            self.tell("help", &help, &shown);
        }
    }

    /// An empty line for people.
    fn space(&self) {
        if self.progress != ProgressStyle::Json {
            self.say("");
        }
    }

    /// Tells people `shown`; with `--progress json`, programs that `text` is of this kind.
    fn tell(&self, kind: &str, text: &str, shown: &str) {
        match self.progress {
            ProgressStyle::Json => {
                let line = json!({ "v": 1, "type": kind, "msg": text }).to_string();
                self.say(&sanitize::json(&line));
            }
            _ => self.say(shown),
        }
    }

    /// Whether there is somebody to ask.
    pub(crate) fn can_ask(&self) -> bool {
        io::stdin().is_terminal() && self.err_terminal
    }

    /// Asks a question that is answered by `y`. `None` when nobody can be asked.
    pub(crate) fn confirm(&self, question: &str) -> Option<bool> {
        if !self.can_ask() {
            return None;
        }
        let mut err = io::stderr().lock();
        let _ = write!(err, "{} [y/N] ", safe(question));
        let _ = err.flush();
        let mut answer = String::new();
        io::stdin().read_line(&mut answer).ok()?;
        Some(matches!(answer.trim(), "y" | "Y" | "yes"))
    }

    /// Starts to show work.
    pub(crate) fn progress(&self) -> Progress<'_> {
        Progress::new(self, self.progress)
    }

    /// Shows no work.
    pub(crate) fn no_progress(&self) -> Progress<'_> {
        Progress::new(self, ProgressStyle::Quiet)
    }

    /// Starts to show work between lines of output, where nothing can be redrawn.
    pub(crate) fn progress_in_lines(&self) -> Progress<'_> {
        let style = match self.progress {
            ProgressStyle::Tty => ProgressStyle::Plain,
            other => other,
        };
        Progress::new(self, style)
    }

    /// From now on images are shown without their layers.
    pub(crate) fn hide_layers(&self) {
        self.hides_layers.store(true, Ordering::Relaxed);
    }

    fn hides_layers(&self) -> bool {
        self.hides_layers.load(Ordering::Relaxed)
    }

    /// The lines of progress, made when they are first needed.
    fn bars(&self) -> MultiProgress {
        let mut bars = self.bars.lock().unwrap_or_else(PoisonError::into_inner);
        let target = || ProgressDrawTarget::stderr_with_hz(PICTURES);
        bars.get_or_insert_with(|| MultiProgress::with_draw_target(target())).clone()
    }

    /// The lines of progress stay where they are; what comes now goes below them.
    fn leave_bars(&self) {
        self.bars.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// One text to standard error, above the lines of progress if there are any. Standard error
    /// that is gone is no reason to stop working.
    fn say(&self, text: &str) {
        let write = || {
            let _ = writeln!(io::stderr().lock(), "{text}");
        };
        match self.bars.lock().unwrap_or_else(PoisonError::into_inner).as_ref() {
            Some(bars) => bars.suspend(write),
            None => write(),
        }
    }
}

/// A problem as people read it.
fn rendered(problem: &dyn miette::Diagnostic, paint: Paint) -> String {
    let theme = if paint.is_on() {
        miette::GraphicalTheme::unicode()
    } else {
        miette::GraphicalTheme::unicode_nocolor()
    };
    let handler = miette::GraphicalReportHandler::new_themed(theme);
    let mut text = String::new();
    if handler.render_report(&mut text, problem).is_err() {
        text = problem.to_string();
    }
    sanitize::line_by_line(&text, paint.is_on()).trim_end().to_owned()
}

/// `NO_COLOR` (any value) and a dumb terminal switch colours off.
fn colours_wanted() -> bool {
    let no_colour = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    !no_colour && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// Whether nobody knows how to move the terminal's cursor.
fn is_dumb() -> bool {
    std::env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb")
}
