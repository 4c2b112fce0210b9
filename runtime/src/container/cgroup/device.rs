//! Device rules: everything is denied but these.

/// The nodes every container has: null, zero, full, random, urandom, tty, ptmx, terminals.
const DEFAULT: [&str; 8] = [
    "c 1:3 rwm",
    "c 1:5 rwm",
    "c 1:7 rwm",
    "c 1:8 rwm",
    "c 1:9 rwm",
    "c 5:0 rwm",
    "c 5:2 rwm",
    "c 136:* rwm",
];

/// The default rules and further ones.
pub(super) fn rules(further: &[String]) -> Vec<String> {
    DEFAULT.iter().map(ToString::to_string).chain(further.iter().cloned()).collect()
}
