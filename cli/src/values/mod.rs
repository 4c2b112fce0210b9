//! Words of the command line that stand for values, and values as words for people.

pub(crate) mod amount;
pub(crate) mod keys;
pub(crate) mod moment;
pub(crate) mod pairs;
pub(crate) mod pattern;
pub(crate) mod signal;
