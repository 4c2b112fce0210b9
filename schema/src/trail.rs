//! The dotted path of the value at hand, built while walking and never copied.

use std::fmt::{self, Write as _};

/// `services.web.ports.0`.
#[derive(Debug, Default)]
pub struct Trail(String);

impl Trail {
    /// Goes one name deeper and gives the length to come [`back_to`](Self::back_to).
    pub fn push(&mut self, name: &str) -> usize {
        let length = self.0.len();
        if length > 0 {
            self.0.push('.');
        }
        self.0.push_str(name);
        length
    }

    /// Comes back from what [`push`](Self::push) entered.
    pub fn back_to(&mut self, length: usize) {
        self.0.truncate(length);
    }

    /// Does `work` below `name`.
    pub fn below<T>(&mut self, name: &str, work: impl FnOnce(&mut Self) -> T) -> T {
        let length = self.push(name);
        let result = work(self);
        self.back_to(length);
        result
    }

    /// Does `work` at an index.
    pub fn item<T>(&mut self, index: usize, work: impl FnOnce(&mut Self) -> T) -> T {
        let length = self.push_index(index);
        let result = work(self);
        self.back_to(length);
        result
    }

    /// Goes to an index, like [`push`](Self::push).
    pub fn push_index(&mut self, index: usize) -> usize {
        let length = self.push("");
        // Writing to a text cannot fail.
        let _ = write!(self.0, "{index}");
        length
    }

    /// Whether it stands at the top.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The path as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Trail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
