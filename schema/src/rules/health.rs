//! Health checks that say nothing, or not what they seem to.

use super::{doubtful, items};
use crate::problem::{Code, Finding};
use crate::tree::{Node, Value};

/// Words that mean something to a shell and nothing to a program.
pub(super) const SHELL_WORDS: [&str; 7] = ["&&", "||", "|", ">", ">>", "2>&1", ";"];

/// Where the health check of a service is switched off.
pub(super) fn switched_off(service: &Node) -> Option<&Node> {
    let check = service.get("healthcheck")?;
    let disable = check.get("disable").filter(|node| node.value == Value::Bool(true));
    let none = items(check, "test").first().filter(|word| word.as_text() == Some("NONE"));
    disable.or(none)
}

pub(super) fn check(name: &str, service: &Node, found: &mut Vec<Finding>) {
    let Some(check) = service.get("healthcheck") else {
        return;
    };
    let path = format!("services.{name}.healthcheck");
    test(&path, check, found);
    times(&path, check, found);
    if let (Some(disable), Some(test)) = (
        check.get("disable").filter(|node| node.value == Value::Bool(true)),
        check.get("test").filter(|test| !test.items().is_empty()),
    ) && items(check, "test").first().and_then(Node::as_text) != Some("NONE")
    {
        let message = format!("`{path}` is switched off, so its `test` says nothing");
        found.push(
            Finding::at(Code::Doubtful, disable.span, "switched off", message)
                .also(test.span, "not run")
                .help("take one of them away"),
        );
    }
}

fn test(path: &str, check: &Node, found: &mut Vec<Finding>) {
    let Some(test) = check.get("test") else {
        return;
    };
    let path = format!("{path}.test");
    let words: Vec<&str> = test.items().iter().filter_map(Node::as_text).collect();
    match words[..] {
        ["CMD", line] if line.contains(' ') => {
            let message = format!("`{path}` runs a program whose name is `{line}`");
            let help = "write each word as an item of its own, or use `CMD-SHELL`";
            found.push(doubtful(test.items()[1].span, "one word", message, help));
        }
        ["CMD", ..] => {
            let word = test
                .items()
                .iter()
                .find(|word| word.as_text().is_some_and(|word| SHELL_WORDS.contains(&word)));
            if let Some(word) = word {
                let shown = word.as_text().unwrap_or_default();
                let message = format!("`{path}`: `{shown}` is passed to the program as a word");
                let help = "use `CMD-SHELL` with one line where a shell is wanted";
                found.push(doubtful(word.span, "no shell reads this", message, help));
            }
        }
        _ => {}
    }
}

fn times(path: &str, check: &Node, found: &mut Vec<Finding>) {
    if let Some(quick) = check.get("start_interval")
        && check.get("start_period").is_none()
    {
        let message = format!("`{path}.start_interval` counts during `start_period`, which is 0");
        let help = "add `start_period:`, like `start_period: 30s`";
        found.push(doubtful(quick.span, "never used", message, help));
    }
}
