//! Changes of an image's config, written as lines of a Dockerfile: `CMD`, `ENTRYPOINT`, `ENV`,
//! `EXPOSE`, `HEALTHCHECK`, `LABEL`, `ONBUILD`, `STOPSIGNAL`, `USER`, `VOLUME`, `WORKDIR`.
//!
//! Reading order: here what a line says, `words` how it is cut, `apply` what becomes of a config.

mod apply;
mod words;

use serde_json::{Value, json};

pub(super) use apply::apply;
pub use words::Word;
use words::{duration, split};

/// One change of an image's config.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Arguments, or the program.
    Cmd(Command),
    /// The program; what was `CMD` before goes with the old one.
    Entrypoint(Command),
    /// Variables; the words still have their variables in them.
    Env(Vec<(Word, Word)>),
    /// Takes a variable away.
    DropEnv(String),
    /// Ports, `80` or `80/udp` or `8000-8010`.
    Expose(Vec<Word>),
    /// Labels.
    Label(Vec<(Word, Word)>),
    /// A line for builds on this image.
    Onbuild(String),
    /// Who runs it.
    User(Word),
    /// Paths that become volumes.
    Volume(Vec<Word>),
    /// Where it runs; a relative path goes on from the old one.
    Workdir(Word),
    /// The probe, as the config document has it.
    Healthcheck(Value),
    /// What asks it to stop.
    StopSignal(Word),
}

/// What to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Words as they are.
    Exec(Vec<String>),
    /// A line for the image's shell.
    Shell(String),
}

/// A line that is no change of a config.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("change `{line}`: {problem}")]
pub struct ChangeError {
    /// The line.
    pub line: String,
    /// What is wrong with it, and what may be written.
    pub problem: String,
}

impl Change {
    /// Reads one line.
    ///
    /// # Errors
    /// [`ChangeError`] tells what is wrong with it.
    pub fn parse(line: &str) -> Result<Change, ChangeError> {
        parse(line.trim()).map_err(|problem| ChangeError { line: line.trim().to_owned(), problem })
    }
}

fn parse(line: &str) -> Result<Change, String> {
    let (name, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let rest = rest.trim();
    let name = name.to_ascii_uppercase();
    if rest.is_empty() && !name.is_empty() {
        return Err(format!("`{name}` needs a value after it"));
    }
    Ok(match name.as_str() {
        "CMD" => Change::Cmd(command(rest)),
        "ENTRYPOINT" => Change::Entrypoint(command(rest)),
        "ENV" => Change::Env(pairs(rest)?),
        "LABEL" => Change::Label(pairs(rest)?),
        "EXPOSE" => Change::Expose(split(rest)?),
        "ONBUILD" => Change::Onbuild(onbuild(rest)?),
        "USER" => Change::User(one(rest)?),
        "STOPSIGNAL" => Change::StopSignal(one(rest)?),
        "WORKDIR" => Change::Workdir(Word::of(rest)?),
        "VOLUME" => Change::Volume(match list(rest) {
            Some(paths) => paths.into_iter().map(Word::literal).collect(),
            None => split(rest)?,
        }),
        "HEALTHCHECK" => Change::Healthcheck(healthcheck(rest)?),
        _ => {
            return Err("it has to begin with CMD, ENTRYPOINT, ENV, EXPOSE, HEALTHCHECK, LABEL, \
                        ONBUILD, STOPSIGNAL, USER, VOLUME or WORKDIR"
                .to_owned());
        }
    })
}

/// A list in JSON is the words themselves; anything else is a line for the shell.
fn command(text: &str) -> Command {
    list(text).map_or_else(|| Command::Shell(text.to_owned()), Command::Exec)
}

fn list(text: &str) -> Option<Vec<String>> {
    text.starts_with('[').then(|| serde_json::from_str(text).ok()).flatten()
}

fn one(text: &str) -> Result<Word, String> {
    match <[Word; 1]>::try_from(split(text)?) {
        Ok([word]) => Ok(word),
        Err(_) => Err("one word is expected".to_owned()),
    }
}

/// `A=b C="d e"`, or in the old form `A b c`, which is one pair.
fn pairs(text: &str) -> Result<Vec<(Word, Word)>, String> {
    let words = split(text)?;
    if words.first().is_some_and(|word| word.clone().pair().is_none()) {
        let (name, value) = text
            .split_once(char::is_whitespace)
            .ok_or_else(|| format!("`{text}` has no value; write `{text}=VALUE`"))?;
        return Ok(vec![(Word::of(name)?, Word::of(value.trim())?)]);
    }
    let pair = |word: Word| word.pair().ok_or("every word has to be NAME=VALUE".to_owned());
    words.into_iter().map(pair).collect()
}

fn onbuild(text: &str) -> Result<String, String> {
    let name = text.split_whitespace().next().unwrap_or_default().to_ascii_uppercase();
    match name.as_str() {
        "ONBUILD" | "FROM" | "MAINTAINER" => Err(format!("`ONBUILD {name}` is not allowed")),
        _ => Ok(text.to_owned()),
    }
}

/// `[--interval=30s] [--timeout=…] [--start-period=…] [--start-interval=…] [--retries=3] CMD …`
fn healthcheck(text: &str) -> Result<Value, String> {
    let mut probe = json!({});
    let mut rest = text;
    while rest.starts_with("--") {
        let (flag, after) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
        let (name, value) =
            flag.split_once('=').ok_or_else(|| format!("`{flag}` needs a value after `=`"))?;
        let key = match name {
            "--interval" => "Interval",
            "--timeout" => "Timeout",
            "--start-period" => "StartPeriod",
            "--start-interval" => "StartInterval",
            "--retries" => "Retries",
            _ => return Err(format!("`{name}` is no option of HEALTHCHECK")),
        };
        probe[key] = match key {
            "Retries" => {
                value.parse::<u32>().map_err(|_| format!("`{value}` is no number"))?.into()
            }
            _ => duration(value)?.into(),
        };
        rest = after.trim_start();
    }
    let (kind, command) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    probe["Test"] = match (kind.to_ascii_uppercase().as_str(), command.trim()) {
        ("NONE", "") if text == rest => json!(["NONE"]),
        ("CMD", command) if !command.is_empty() => match list(command) {
            Some(words) => Value::from_iter(std::iter::once("CMD".to_owned()).chain(words)),
            None => json!(["CMD-SHELL", command]),
        },
        _ => return Err("NONE, or CMD with a command is expected".to_owned()),
    };
    Ok(probe)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(line: &str) -> String {
        Change::parse(line).unwrap_err().to_string()
    }

    #[test]
    fn what_cannot_be_a_change_says_what_can() {
        assert!(problem("RUN true").contains("has to begin with CMD, ENTRYPOINT"));
        assert_eq!(problem("ENV A"), "change `ENV A`: `A` has no value; write `A=VALUE`");
        assert_eq!(problem("ENV A=b C"), "change `ENV A=b C`: every word has to be NAME=VALUE");
        assert_eq!(problem("USER"), "change `USER`: `USER` needs a value after it");
        assert_eq!(problem("USER a b"), "change `USER a b`: one word is expected");
        assert_eq!(problem("ENV A='b"), "change `ENV A='b`: a quote is never closed");
        assert!(problem("HEALTHCHECK --every=1s CMD a").contains("no option of HEALTHCHECK"));
        assert!(problem("HEALTHCHECK --interval=1 CMD a").contains("no duration"));
        assert!(problem("HEALTHCHECK true").contains("NONE, or CMD"));
        assert!(problem("ONBUILD FROM a").contains("not allowed"));
    }

    #[test]
    fn a_probe_is_written_in_nanoseconds() {
        let line = "HEALTHCHECK --interval=1m30s --retries=4 CMD curl -f x || exit 1";
        let Change::Healthcheck(probe) = Change::parse(line).unwrap() else { panic!("no probe") };
        let wanted = json!({
            "Interval": 90_000_000_000_u64, "Retries": 4, "Test": ["CMD-SHELL", "curl -f x || exit 1"]
        });
        assert_eq!(probe, wanted);
        let none = Change::Healthcheck(json!({"Test": ["NONE"]}));
        assert_eq!(Change::parse("healthcheck NONE"), Ok(none));
    }
}
