//! Broken files: every problem of each in one run, with place, words and advice.

mod files;
mod relations;
mod text;
mod values;
