//! How a saved plan is named on the command line, and what may stand beside it.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::parser::ValueSource;
use clap::{ArgMatches, Command, CommandFactory};

use crate::args::Cli;
use crate::failure::Failure;

/// What a saved plan's name ends with.
const ENDING: &str = ".plan";

/// Options that change nothing of a plan: how it is shown, what is followed afterwards, and where
/// the state is, whose key tells whether the plan is its own.
const BESIDE: [&str; 23] = [
    "abort_on_container_exit",
    "abort_on_container_failure",
    "ansi",
    "attach",
    "attach_dependencies",
    "detach",
    "detailed_exitcode",
    "exit_code_from",
    "json",
    "lock_timeout",
    "no_attach",
    "no_color",
    "no_log_prefix",
    "parallel",
    "progress",
    "quiet_pull",
    "root",
    "services",
    "timestamps",
    "version",
    "wait",
    "wait_timeout",
    "yes",
];

/// The saved plan among these words, if there is one. A word that ends in `.plan` always is: a
/// service of such a name cannot be named to `up` and `plan`.
///
/// # Errors
/// It stands alone.
pub(crate) fn named(words: &[String]) -> Result<Option<&str>, Failure> {
    let Some(file) = words.iter().find(|word| word.ends_with(ENDING)) else { return Ok(None) };
    match words {
        [_] => Ok(Some(file)),
        _ => Err(Failure::usage(format!("`{file}` is a saved plan, which stands alone"))
            .with_help(
                "name the services when the plan is made: `berth plan SERVICE -o FILE.plan`",
            )),
    }
}

/// A file to save a plan in, called so that it is known for one.
pub(crate) fn file_name(text: &str) -> Result<PathBuf, String> {
    match text.strip_suffix(ENDING) {
        Some(stem) if !stem.is_empty() && !stem.ends_with('/') => Ok(text.into()),
        _ => Err(format!("`up` knows a saved plan by its name: call it `NAME{ENDING}`")),
    }
}

/// Refuses what contradicts a saved plan, whose words were said when it was made. What variables of
/// the environment say is not meant for it, and does not count.
pub(crate) fn check(command: &str, file: &str) -> Result<(), Failure> {
    check_words(command, file, std::env::args_os())
}

fn check_words(
    command: &str,
    file: &str,
    words: impl IntoIterator<Item = OsString>,
) -> Result<(), Failure> {
    let mut cli = Cli::command();
    cli.build();
    // They were taken once already.
    let Ok(all) = cli.clone().try_get_matches_from(words) else { return Ok(()) };
    let said = contradiction(&cli, &all).or_else(|| {
        let (name, below) = all.subcommand()?;
        contradiction(cli.find_subcommand(name)?, below)
    });
    let Some(option) = said else { return Ok(()) };
    let failure = Failure::usage(format!("`{option}` does not go with a saved plan"));
    Err(failure.with_help(match option.as_str() {
        "--dry-run" => format!("`berth plan {file}` shows it, and whether it still holds"),
        "--output" => format!("make it anew: `berth plan -o {file}`"),
        _ if command == "up" => {
            format!("it has what it was made with; `berth plan {option} … -o {file}` makes it anew")
        }
        _ => "it has what it was made with; make it anew with that".to_owned(),
    }))
}

/// An option on the command line that is not of those which may stand here.
fn contradiction(command: &Command, matches: &ArgMatches) -> Option<String> {
    let said = |id: &str| {
        matches!(matches.try_contains_id(id), Ok(true))
            && matches.value_source(id) == Some(ValueSource::CommandLine)
    };
    let options = command.get_arguments().filter(|arg| !BESIDE.contains(&arg.get_id().as_str()));
    let mut said = options.filter(|arg| said(arg.get_id().as_str()));
    said.next().map(|arg| match arg.get_long() {
        Some(long) => format!("--{long}"),
        None => arg.get_id().to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(words: &str) -> Option<String> {
        let words: Vec<&str> = words.split(' ').collect();
        let command = if words.contains(&"up") { "up" } else { "plan" };
        let words = words.iter().map(OsString::from);
        check_words(command, "shop.plan", words).err().map(|failure| failure.to_string())
    }

    #[test]
    fn what_was_said_when_it_was_made_is_refused_beside_it() {
        for option in [
            "--force-recreate",
            "--no-deps",
            "--scale web=2",
            "--allow all",
            "--pull never",
            "--locked",
            "--dry-run",
            "--profile x",
            "--env-file x",
            "--no-start",
            "--all-resources",
            "--project-directory x",
            "-t 3",
            "--remove-orphans",
            "--policy strict",
        ] {
            let told = refusal(&format!("berth up shop.plan {option}"));
            assert!(told.is_some_and(|text| text.contains("does not go with")), "{option}");
        }
        for words in ["berth -f x up shop.plan", "berth -p x up shop.plan"] {
            assert!(refusal(words).is_some(), "{words}");
        }
        assert!(refusal("berth plan --down shop.plan").is_some());
        assert!(refusal("berth plan -o other.plan shop.plan").is_some());
    }

    #[test]
    fn what_changes_nothing_of_the_plan_may_stand_beside_it() {
        for words in [
            "berth up -d shop.plan",
            "berth --progress plain --ansi never --root x --parallel 2 up shop.plan --wait -y",
            "berth up shop.plan --exit-code-from web --no-color --timestamps --lock-timeout 1m",
            "berth plan --json --detailed-exitcode shop.plan",
        ] {
            assert_eq!(refusal(words), None, "{words}");
        }
    }

    #[test]
    fn a_saved_plan_stands_alone_and_is_called_so() {
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(named(&words("a/shop.plan")).unwrap(), Some("a/shop.plan"));
        assert_eq!(named(&words("web db")).unwrap(), None);
        assert!(named(&words("web shop.plan")).is_err());
        assert!(file_name("a/b.plan").is_ok());
        assert!(
            [".plan", "a/.plan", "plan.json", ""].into_iter().all(|name| file_name(name).is_err())
        );
    }
}
