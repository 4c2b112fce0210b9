//! How much one load may read and hold, whatever its files say.
//!
//! A short text can stand for very much: aliases, services that extend each other, parts that
//! include parts, ranges of ports, variables made of variables. Each of them has an end that no
//! real project comes near, so a load takes seconds at most, and says what it stopped at.

/// Largest file that is read, in MiB.
pub(crate) const LARGEST: usize = 16;
/// Largest file that is read, in bytes. A [`Source`](crate::Source) need not read more than one
/// byte beyond.
pub const LARGEST_FILE: usize = LARGEST << 20;
/// Most that all files of a project may come to, in MiB.
pub(crate) const MOST_TEXT: usize = 256;
/// Most values of a project; those of a service count again in each service that extends it.
pub(crate) const MOST_VALUES: usize = 2_000_000;
/// Most parts that are included, those of the parts too.
pub(crate) const MOST_PARTS: usize = 1000;
/// How deep parts may include parts.
pub(crate) const DEEPEST_PARTS: usize = 50;
/// Most entries that the short forms of one file may stand for.
pub(crate) const MOST_ENTRIES: usize = 100_000;
/// Most bytes that filling in variables may produce for one file.
pub(crate) const MOST_FILLED: usize = 64 << 20;
/// Most problems that are shown.
pub(crate) const MOST_PROBLEMS: usize = 200;

/// What a load has used so far.
#[derive(Debug, Default)]
pub(crate) struct Budget {
    text: usize,
    values: usize,
    parts: usize,
    told: bool,
}

impl Budget {
    /// Uses some bytes of text; the reason once there are too many.
    pub fn text(&mut self, bytes: usize) -> Result<(), String> {
        self.text += bytes;
        match self.text > MOST_TEXT << 20 {
            true => Err(format!("the files of the project come to more than {MOST_TEXT} MiB")),
            false => Ok(()),
        }
    }

    /// Uses some values; the reason once there are too many.
    pub fn values(&mut self, values: usize) -> Result<(), String> {
        self.values = self.values.saturating_add(values);
        match self.values > MOST_VALUES {
            true => Err(format!(
                "the project holds more than {MOST_VALUES} values once all is extended and included"
            )),
            false => Ok(()),
        }
    }

    /// Uses one part; the reason once there are too many.
    pub fn part(&mut self) -> Result<(), String> {
        self.parts += 1;
        match self.parts > MOST_PARTS {
            true => Err(format!("more than {MOST_PARTS} parts are included")),
            false => Ok(()),
        }
    }

    /// Whether this is the first time that a limit is passed: one report is enough.
    pub fn is_first(&mut self) -> bool {
        !std::mem::replace(&mut self.told, true)
    }
}
