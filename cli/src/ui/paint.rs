//! Colours, or none.

/// Paints text if the place it goes to shows colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Paint {
    on: bool,
}

impl Paint {
    /// Paints if `on`.
    pub(crate) fn when(on: bool) -> Paint {
        Paint { on }
    }

    /// Paints.
    #[cfg(test)]
    pub(crate) fn on() -> Paint {
        Paint { on: true }
    }

    /// Leaves text as it is.
    pub(crate) fn off() -> Paint {
        Paint { on: false }
    }

    /// Whether it paints.
    pub(crate) fn is_on(self) -> bool {
        self.on
    }

    /// `text` with the parameters of `ESC [ … m` around it.
    pub(crate) fn sgr(self, parameters: &str, text: &str) -> String {
        if self.on { format!("\u{1b}[{parameters}m{text}\u{1b}[0m") } else { text.to_owned() }
    }

    /// Good.
    pub(crate) fn green(self, text: &str) -> String {
        self.sgr("32", text)
    }

    /// Worth a look.
    pub(crate) fn yellow(self, text: &str) -> String {
        self.sgr("33", text)
    }

    /// Bad, or lost for good.
    pub(crate) fn red(self, text: &str) -> String {
        self.sgr("31", text)
    }

    /// A name in a sentence.
    pub(crate) fn bold(self, text: &str) -> String {
        self.sgr("1", text)
    }

    /// Less important.
    pub(crate) fn dim(self, text: &str) -> String {
        self.sgr("2", text)
    }
}
