//! Prints lines of containers, each with the name of its container in front.

use berth_runtime::logs::{LogLine, Stream};

use crate::failure::Failure;
use crate::follow::Event;
use crate::ui::{Paint, Prefixes, Ui, safe};

/// How lines are printed.
#[derive(Debug)]
pub(crate) struct Printer<'a> {
    ui: &'a Ui,
    paint: Paint,
    prefixes: Option<Prefixes>,
    /// The name of the last line and what stood before it: most lines have that of the one before.
    last: (String, String),
    timestamps: bool,
    raw: bool,
}

impl<'a> Printer<'a> {
    /// Prints on `ui`, with or without colours, names and times.
    pub(crate) fn new(ui: &'a Ui, colours: bool, names: bool, timestamps: bool) -> Printer<'a> {
        Printer {
            ui,
            paint: if colours { ui.out() } else { Paint::off() },
            prefixes: names.then(Prefixes::default),
            last: <_>::default(),
            timestamps,
            raw: false,
        }
    }

    /// The same, with or without making what containers wrote safe for a terminal.
    pub(crate) fn raw(self, raw: bool) -> Printer<'a> {
        Printer { raw, ..self }
    }

    /// Makes room for a name.
    pub(crate) fn know(&mut self, label: &str) {
        if let Some(prefixes) = &mut self.prefixes {
            prefixes.add(label);
            self.last = <_>::default();
        }
    }

    /// Prints a line, at the latest with the next [`Printer::flush`].
    pub(crate) fn line(&mut self, label: &str, line: &LogLine) -> Result<(), Failure> {
        match line.stream {
            Stream::Hook => self.prefix(&format!("{label} ->")),
            Stream::Stdout | Stream::Stderr | Stream::Notice => self.prefix(label),
        };
        let timed = self.timestamps.then(|| format!("{}{:.9} ", self.last.1, line.time));
        let prefix = timed.as_ref().unwrap_or(&self.last.1);
        match self.raw {
            true => self.ui.raw_output(prefix, &line.text),
            false => self.ui.output(prefix, &line.text),
        }
    }

    /// Prints what happened to a container.
    pub(crate) fn event(&mut self, event: &Event) -> Result<(), Failure> {
        match event {
            Event::Line(source, line) => self.line(&source.label, line),
            Event::Restarting(source, code) => {
                self.note(&format!("{} exited with code {code} (restarting)", source.label))
            }
            Event::Ended(source, Some(code)) => {
                self.note(&format!("{} exited with code {code}", source.label))
            }
            Event::Ended(source, None) => {
                let label = &source.label;
                self.note(&format!("{label} is not watched any more: its exit code is not known"))
            }
            Event::Unreadable(source, why) => {
                self.ui.warn(&format!("the output of `{}` cannot be read: {why}", source.name));
                Ok(())
            }
        }
    }

    /// Sends out what was printed.
    pub(crate) fn flush(&self) -> Result<(), Failure> {
        self.ui.flush()
    }

    fn note(&self, text: &str) -> Result<(), Failure> {
        self.ui.flush()?;
        self.ui.note(&safe(text));
        Ok(())
    }

    /// Works out what stands before a line of `label`.
    fn prefix(&mut self, label: &str) {
        let Some(prefixes) = &mut self.prefixes else { return };
        if self.last.0 != label {
            self.last = (label.to_owned(), prefixes.of(label, self.paint));
        }
    }
}
