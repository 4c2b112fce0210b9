//! Prints lines of containers, each with the name of its container in front.

use berth_runtime::logs::LogLine;

use crate::failure::Failure;
use crate::follow::Event;
use crate::ui::{Paint, Prefixes, Ui, safe};

/// How lines are printed.
#[derive(Debug)]
pub(crate) struct Printer<'a> {
    ui: &'a Ui,
    paint: Paint,
    prefixes: Option<Prefixes>,
    timestamps: bool,
}

impl<'a> Printer<'a> {
    /// Prints on `ui`, with or without colours, names and times.
    pub(crate) fn new(ui: &'a Ui, colours: bool, names: bool, timestamps: bool) -> Printer<'a> {
        Printer {
            ui,
            paint: if colours { ui.out() } else { Paint::off() },
            prefixes: names.then(Prefixes::default),
            timestamps,
        }
    }

    /// Makes room for a name.
    pub(crate) fn know(&mut self, label: &str) {
        if let Some(prefixes) = &mut self.prefixes {
            prefixes.add(label);
        }
    }

    /// Prints a line, at the latest with the next [`Printer::flush`].
    pub(crate) fn line(&mut self, label: &str, line: &LogLine) -> Result<(), Failure> {
        let mut prefix = self.prefix(label);
        if self.timestamps {
            prefix.push_str(&format!("{:.9} ", line.time));
        }
        self.ui.output(&prefix, &line.text)
    }

    /// Prints what happened to a container.
    pub(crate) fn event(&mut self, event: &Event) -> Result<(), Failure> {
        match event {
            Event::Line(source, line) => self.line(&source.label, line),
            Event::Restarting(source, code) => {
                self.note(&format!("{} exited with code {code} (restarting)", source.label))
            }
            Event::Ended(source, code) => {
                self.note(&format!("{} exited with code {code}", source.label))
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

    fn prefix(&mut self, label: &str) -> String {
        match &mut self.prefixes {
            Some(prefixes) => prefixes.of(label, self.paint),
            None => String::new(),
        }
    }
}
