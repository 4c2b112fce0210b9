//! A moment of fuzzing on every run: the seeds, then a fixed number of changed ones from a fixed
//! start, so that a failure comes again. `schema/fuzz` does the same without an end.

use std::fs;
use std::panic::catch_unwind;
use std::path::Path;

use crate::fuzzing::{TARGETS, Target};

/// What changed texts are made of besides pieces of the seeds.
const WORDS: [&str; 64] = [
    "services:",
    "image: i",
    "extends: ",
    "<<: *a",
    "&a ",
    "*a",
    "!reset ",
    "!override ",
    "!!str ",
    "!!int ",
    "null",
    "~",
    "[]",
    "{}",
    "[",
    "]",
    "{",
    "}",
    "- ",
    ": ",
    "? ",
    "|\n",
    ">-\n",
    "\"",
    "'",
    "#",
    "---\n",
    "...\n",
    "\t",
    "  ",
    "\n",
    "\r\n",
    "\u{feff}",
    "\0",
    "é",
    "🦀",
    "${",
    "}",
    "${A:-",
    "${A:?",
    "$$",
    "$HOME",
    "0x1",
    "1e999",
    "-1",
    "99999999999999999999",
    "8080:80",
    "1-65535",
    "/tcp",
    "[::1]:80:80",
    "./a:/b:ro",
    "10m",
    "1h30m",
    "x-a: ",
    "include:\n",
    "depends_on: [",
    "ports: [",
    "volumes: [",
    "networks: ",
    "profiles: [",
    "env_file: .env",
    "#=== .env\n",
    "#=== b.yaml\n",
    "#=== compose.override.yaml\n",
];

/// A fixed row of numbers that look random (SplitMix64).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, most: usize) -> usize {
        (self.next() % most.max(1) as u64) as usize
    }

    /// A piece of `bytes`, mostly a short one.
    fn piece(&mut self, bytes: &[u8]) -> std::ops::Range<usize> {
        let start = self.below(bytes.len() + 1);
        let longest = if self.below(4) == 0 { bytes.len() } else { 12 };
        start..(start + self.below(longest + 1)).min(bytes.len())
    }

    /// A line of `bytes` with its end.
    fn line(&mut self, bytes: &[u8]) -> std::ops::Range<usize> {
        let at = self.below(bytes.len());
        let start = bytes[..at].iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let end = bytes[at..].iter().position(|byte| *byte == b'\n');
        start..end.map_or(bytes.len(), |end| at + end + 1)
    }

    /// Changes `bytes` in one place. `other` is another seed.
    fn change(&mut self, bytes: &mut Vec<u8>, other: &[u8]) {
        let word = WORDS[self.below(WORDS.len())].as_bytes();
        match self.below(10) {
            0 => drop(bytes.drain(self.piece(bytes))),
            1 => drop(bytes.splice(self.piece(bytes), word.iter().copied())),
            2 => drop(bytes.splice(self.piece(bytes), other[self.piece(other)].to_vec())),
            3 => drop(bytes.drain(self.line(bytes))),
            4 => {
                let line = other[self.line(other)].to_vec();
                let at = self.line(bytes).start;
                bytes.splice(at..at, line);
            }
            5 => {
                // The same again, a few times.
                let piece = self.piece(bytes);
                let again = bytes[piece.clone()].repeat(1 + self.below(20));
                bytes.splice(piece.end..piece.end, again);
            }
            6 => {
                let at = self.line(bytes).start;
                bytes.splice(at..at, b"    "[..1 + self.below(4)].to_vec());
            }
            7 => bytes.truncate(self.below(bytes.len() + 1)),
            8 => {
                let at = self.below(bytes.len());
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << self.below(8);
                }
            }
            _ => {
                let at = self.below(bytes.len() + 1);
                bytes.splice(at..at, word.iter().copied());
            }
        }
        bytes.truncate(4000);
    }
}

/// The seeds of a target in a fixed order; trees are read from whole projects.
fn seeds(target: &str) -> Vec<Vec<u8>> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = match target {
        "yaml" | "config_roundtrip" => "load",
        other => other,
    };
    let mut paths: Vec<_> = fs::read_dir(here.join("fuzz/seeds").join(folder))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
}

fn try_out((name, body): Target, bytes: &[u8]) {
    if catch_unwind(|| body(bytes)).is_err() {
        let text = String::from_utf8_lossy(bytes);
        panic!("`{name}` breaks a law, the reason is above, with this text:\n{text}\n{text:?}");
    }
}

fn a_moment(target: Target, rounds: usize) {
    let seeds = seeds(target.0);
    seeds.iter().for_each(|seed| try_out(target, seed));
    let mut numbers = Numbers(7);
    for _ in 0..rounds {
        let mut bytes = seeds[numbers.below(seeds.len())].clone();
        for _ in 0..1 + numbers.below(6) {
            let other = &seeds[numbers.below(seeds.len())];
            numbers.change(&mut bytes, other);
        }
        try_out(target, &bytes);
    }
}

/// How many rounds; more with `BERTH_FUZZ_ROUNDS`.
fn rounds(usual: usize) -> usize {
    let asked = std::env::var("BERTH_FUZZ_ROUNDS").ok();
    asked.and_then(|rounds| rounds.parse().ok()).unwrap_or(usual)
}

#[test]
fn any_project_loads_the_same_twice_or_is_told_where_it_is_wrong() {
    a_moment(TARGETS[0], rounds(600));
}

#[test]
fn any_yaml_is_a_tree_whose_values_stand_in_the_text() {
    a_moment(TARGETS[1], rounds(3000));
}

#[test]
fn any_text_is_filled_with_variables_or_refused() {
    a_moment(TARGETS[2], rounds(5000));
}

#[test]
fn any_environment_file_is_read_or_told_line_by_line() {
    a_moment(TARGETS[3], rounds(5000));
}

#[test]
fn whatever_config_prints_loads_to_the_same() {
    a_moment(TARGETS[4], rounds(1000));
}

#[test]
fn any_short_form_is_expanded_or_explained() {
    a_moment(TARGETS[5], rounds(2000));
}
