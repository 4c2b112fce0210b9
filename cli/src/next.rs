//! The next move as words of the command line.

use std::ffi::OsString;

use clap::CommandFactory;

use crate::args::Cli;

/// Options of `plan` that say how it is shown, and nothing of what is done.
const OF_PLAN: [&str; 3] = ["--detailed-exitcode", "--down", "--dry-run"];

/// What does that which `plan`, called with these words, shows as text.
pub(crate) fn of_plan(words: impl IntoIterator<Item = OsString>) -> String {
    let words: Vec<String> =
        words.into_iter().map(|word| word.to_string_lossy().into_owned()).collect();
    let Some(at) = command(&words) else { return "berth up".to_owned() };
    let (before, after) = (&words[1..at], &words[at + 1..]);
    let does = if after.iter().any(|word| word == "--down") { "down" } else { "up" };
    let said = kept(before).chain([does]).chain(kept(after));
    let said: Vec<String> = said.map(quoted).collect();
    format!("berth {}", said.join(" "))
}

/// Those of the words that what does it has too.
fn kept(words: &[String]) -> impl Iterator<Item = &str> {
    words.iter().map(String::as_str).filter(|word| !OF_PLAN.contains(word))
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
            ("berth plan --down -v -t 5", "berth down -v -t 5"),
            ("berth --dry-run plan web", "berth up web"),
            ("berth plan --dry-run", "berth up"),
            ("berth plan --down db", "berth down db"),
            ("berth plan --allow all", "berth up --allow all"),
        ] {
            assert_eq!(of_plan(said.split(' ').map(OsString::from)), does);
        }
        let spaced = ["berth", "-f", "my stack's.yaml", "plan"].map(OsString::from);
        assert_eq!(of_plan(spaced), r"berth -f 'my stack'\''s.yaml' up");
    }
}
