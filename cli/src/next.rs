//! The next move as words of the command line.

use std::ffi::OsString;

use clap::CommandFactory;

use crate::args::Cli;

/// Options of `plan` that say how it is shown, and nothing of what is done.
const OF_PLAN: [&str; 2] = ["--detailed-exitcode", "--down"];

/// What does that which `plan`, called with these words, shows as text.
pub(crate) fn of_plan(words: impl IntoIterator<Item = OsString>) -> String {
    let words: Vec<String> =
        words.into_iter().map(|word| word.to_string_lossy().into_owned()).collect();
    let Some(at) = command(&words) else { return "berth up".to_owned() };
    let (before, after) = (&words[1..at], &words[at + 1..]);
    let does = if after.iter().any(|word| word == "--down") { "down" } else { "up" };
    let kept = after.iter().filter(|word| !OF_PLAN.contains(&word.as_str()));
    let kept = before
        .iter()
        .map(|word| quoted(word))
        .chain([does.to_owned()])
        .chain(kept.map(|word| quoted(word)));
    format!("berth {}", Vec::from_iter(kept).join(" "))
}

/// Which of the words is the command: another one may be the value of an option.
fn command(words: &[String]) -> Option<usize> {
    let is_command = |at: &usize| {
        let matches = Cli::command().try_get_matches_from(&words[..=*at]);
        matches.is_ok_and(|matches| matches.subcommand_name() == Some("plan"))
    };
    let named = words.iter().enumerate().filter(|(_, word)| *word == "plan");
    named.map(|(at, _)| at).find(is_command)
}

/// A word as a shell takes it.
pub(crate) fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@%+".contains(c);
    match !word.is_empty() && word.chars().all(plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', "'\\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_a_plan_are_those_that_do_it() {
        for (said, does) in [
            ("/usr/bin/berth plan", "berth up"),
            (
                "berth -f a.yaml -p plan plan --detailed-exitcode web",
                "berth -f a.yaml -p plan up web",
            ),
            ("berth plan plan --scale web=2", "berth up plan --scale web=2"),
            ("berth plan --down -v", "berth down -v"),
        ] {
            assert_eq!(of_plan(said.split(' ').map(OsString::from)), does);
        }
        let spaced = ["berth", "-f", "my stack's.yaml", "plan"].map(OsString::from);
        assert_eq!(of_plan(spaced), r"berth -f 'my stack'\''s.yaml' up");
    }
}
