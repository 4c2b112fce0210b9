//! Command lines that a shell would read differently.

use super::health::SHELL_WORDS;
use super::{doubtful, items, says_something};
use crate::problem::Finding;
use crate::tree::Node;

/// Notes words that are meant for a shell where no shell reads them.
pub(super) fn check(name: &str, service: &Node, found: &mut Vec<Finding>) {
    for attribute in ["entrypoint", "command"] {
        if attribute == "command" && says_something(service, "entrypoint").is_some() {
            // The entry point may be a shell that takes the command as its line.
            continue;
        }
        let words = items(service, attribute);
        let is_line = words.iter().any(|word| word.as_text() == Some("-c"));
        let word = words
            .iter()
            .skip(1)
            .find(|word| word.as_text().is_some_and(|word| SHELL_WORDS.contains(&word)));
        if let (Some(word), false) = (word, is_line) {
            let shown = word.as_text().unwrap_or_default();
            found.push(doubtful(
                word.span,
                "no shell reads this",
                format!(
                    "`services.{name}.{attribute}`: `{shown}` is passed to the program as a word"
                ),
                "write `[\"sh\", \"-c\", \"the whole line\"]` where a shell is wanted",
            ));
        }
    }
}
