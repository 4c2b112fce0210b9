//! `berth analyze`.

use std::collections::BTreeMap;
use std::time::Duration;

use berth_planner::ran::{self, Counts, End, Fate, Link, Ran};
use clap::{Args, Subcommand};
use serde::Serialize;

use crate::failure::{Exit, Failure};
use crate::flow;
use crate::project::unknown_service;
use crate::session::Session;
use crate::values::moment::precise;

/// How steps are shown.
type Lines = fn(&[Link]) -> Vec<String>;

/// The commands about the last run.
#[derive(Debug, Subcommand)]
pub(crate) enum AnalyzeCommand {
    /// List the steps of the last run by how long they took
    Blame(BlameArgs),
    /// Show which steps waited for which and made the last run as slow as it was
    CriticalChain(ChainArgs),
}

/// Arguments of `analyze blame`.
#[derive(Debug, Args)]
pub(crate) struct BlameArgs {
    /// Print it as JSON
    #[arg(long)]
    json: bool,
}

/// Arguments of `analyze critical-chain`.
#[derive(Debug, Args)]
pub(crate) struct ChainArgs {
    /// What made this service as slow as it was, or kept it from being started
    service: Option<String>,
    /// Print it as JSON
    #[arg(long)]
    json: bool,
}

/// The JSON form.
#[derive(Debug, Serialize)]
struct Shown<'a> {
    format: &'static str,
    stack: &'a str,
    run: Run<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    service: Option<&'a str>,
    /// Of `blame` what took longest first, of `critical-chain` what ended last.
    steps: Vec<Row<'a>>,
}

/// The run.
#[derive(Debug, Serialize)]
struct Run<'a> {
    began: &'a str,
    command: &'a str,
    end: End,
    seconds: f64,
    steps: Counts,
}

/// A step; times are in seconds since the start of the command.
#[derive(Debug, Serialize)]
struct Row<'a> {
    step: &'a str,
    gate: bool,
    causes: &'a [String],
    /// `done`, `failed`, `open` or `not_tried`.
    end: &'static str,
    error: Option<&'a str>,
    began: Option<f64>,
    ended: Option<f64>,
    queued: f64,
    took: Option<f64>,
}

/// Tells what took how long in the last run that changed something of the stack.
pub(crate) fn run(session: &Session, command: &AnalyzeCommand) -> Result<Exit, Failure> {
    let project = session.project()?.name;
    let host = flow::open_to_look(session)?;
    let ran = match host.ran(&project)? {
        Some(Ok(ran)) => ran,
        Some(Err(at)) => {
            let message = format!("the last run of project `{project}`, of {at}, kept no times");
            return Err(Failure::refused(message)
                .with_help("it was of an older version; the next `berth up` keeps them"));
        }
        None => {
            let message = format!("no run of project `{project}` is written down");
            return Err(Failure::refused(message).with_help("`berth up` writes one"));
        }
    };
    let (service, json) = match command {
        AnalyzeCommand::Blame(args) => (None, args.json),
        AnalyzeCommand::CriticalChain(args) => (args.service.as_deref(), args.json),
    };
    let (links, lines): (Vec<Link>, Lines) = match command {
        AnalyzeCommand::Blame(_) => (ran::blame(&ran), blame),
        AnalyzeCommand::CriticalChain(_) => {
            let containers = host.list_containers()?.into_values();
            let of = containers.map(|have| (have.record.name, have.record.service)).collect();
            (chain(&ran, service, &of)?, chain_lines)
        }
    };
    if json {
        let steps = links.iter().map(row).collect();
        let run = about(&ran);
        let format = "berth.analyze/1";
        session.ui.json(&Shown { format, stack: &project, run, service, steps })?;
    } else {
        session.ui.list([heading(&ran)].into_iter().chain(lines(&links)))?;
    }
    Ok(Exit::Done)
}

fn chain(
    ran: &Ran,
    service: Option<&str>,
    of: &BTreeMap<String, String>,
) -> Result<Vec<Link>, Failure> {
    if let Some(chain) = ran::chain(ran, service, of) {
        return Ok(chain);
    }
    let Some(service) = service else { return Ok(Vec::new()) };
    if of.values().any(|known| known == service) {
        let message = format!("nothing was done to service `{service}` in the last run");
        return Err(Failure::refused(message).with_help("`berth analyze blame` lists what was"));
    }
    Err(unknown_service(service, of.values().map(String::as_str).chain(ran::services(ran, of))))
}

/// What the run came to, in one line.
fn heading(ran: &Ran) -> String {
    let Counts { done, failed, open, not_tried } = ran.counts();
    let mut parts = vec![format!("{done} of {} steps done", done + failed + open + not_tried)];
    let more = [(failed, "failed"), (open, "cut off"), (not_tried, "not tried")];
    parts.extend(more.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")));
    let end = match ran.end() {
        End::Done | End::Failed => "",
        End::Interrupted => ", interrupted",
        End::CutOff => ", killed",
    };
    let (at, command) = (&ran.at, &ran.command);
    format!("{command} ({at}): {} in {}{end}", parts.join(", "), precise(ran.last))
}

fn blame(links: &[Link]) -> Vec<String> {
    let line = |link: &Link| {
        let took = link.took.map(precise).unwrap_or_default();
        format!("{took:>10}  {}{}", link.what, remarks(link))
    };
    links.iter().map(line).collect()
}

fn chain_lines(links: &[Link]) -> Vec<String> {
    let mut lines = vec!["After `@` is when it ended, after `+` how long it took.".to_owned()];
    for (depth, link) in links.iter().enumerate() {
        let branch = match depth {
            0 => String::new(),
            depth => format!("{}└─", "  ".repeat(depth - 1)),
        };
        let times = match (link.ended(), link.took) {
            (Some(ended), Some(took)) => format!(" @{} +{}", precise(ended), precise(took)),
            _ => String::new(),
        };
        lines.push(format!("{branch}{}{times}{}", link.what, remarks(link)));
    }
    lines
}

/// What there is to say of a step besides its time.
fn remarks(link: &Link) -> String {
    let mut remarks = Vec::new();
    match &link.fate {
        Fate::Done => {}
        Fate::Failed(why) => remarks.push(format!("failed: {why}")),
        Fate::Open => remarks.push("cut off".to_owned()),
        Fate::NotTried => remarks.push("not tried".to_owned()),
    }
    if link.gate {
        remarks.extend(link.causes.iter().cloned());
    }
    if link.queued >= Duration::from_millis(1) {
        remarks.push(format!("{} in the queue", precise(link.queued)));
    }
    match remarks.is_empty() {
        true => String::new(),
        false => format!("  {}", remarks.join(", ")),
    }
}

fn about(ran: &Ran) -> Run<'_> {
    Run {
        began: &ran.at,
        command: &ran.command,
        end: ran.end(),
        seconds: ran.last.as_secs_f64(),
        steps: ran.counts(),
    }
}

fn row(link: &Link) -> Row<'_> {
    let seconds = |time: Option<Duration>| time.map(|time| time.as_secs_f64());
    let (end, error) = match &link.fate {
        Fate::Done => ("done", None),
        Fate::Failed(why) => ("failed", Some(why.as_str())),
        Fate::Open => ("open", None),
        Fate::NotTried => ("not_tried", None),
    };
    Row {
        step: &link.what,
        gate: link.gate,
        causes: &link.causes,
        end,
        error,
        began: seconds(link.began),
        ended: seconds(link.ended()),
        queued: link.queued.as_secs_f64(),
        took: seconds(link.took),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(what: &str, began: u64, took: u64) -> Link {
        Link {
            what: what.into(),
            gate: what.starts_with("await"),
            causes: vec!["`web` waits for it".into()],
            fate: Fate::Done,
            began: Some(Duration::from_millis(began)),
            queued: Duration::ZERO,
            took: Some(Duration::from_millis(took)),
        }
    }

    #[test]
    fn a_chain_leads_down_with_times_and_gates_say_why() {
        let mut open = link("await db-1 (healthy)", 115, 3000);
        open.fate = Fate::Failed("is unhealthy".into());
        let mut start = link("start web-1", 0, 0);
        (start.fate, start.began, start.took) = (Fate::NotTried, None, None);
        let mut create = link("create db-1", 100, 5);
        create.queued = Duration::from_millis(10);
        let lines = chain_lines(&[start, open, create]).join("\n");
        insta::assert_snapshot!(lines, @r"
        After `@` is when it ended, after `+` how long it took.
        start web-1  not tried
        └─await db-1 (healthy) @3.115s +3.000s  failed: is unhealthy, `web` waits for it
          └─create db-1 @115ms +5.0ms  10ms in the queue
        ");
    }

    #[test]
    fn times_stand_before_the_steps_of_blame() {
        let lines = blame(&[link("await db-1 (healthy)", 115, 3000), link("create db-1", 100, 5)]);
        let expected =
            ["    3.000s  await db-1 (healthy)  `web` waits for it", "     5.0ms  create db-1"];
        assert_eq!(lines, expected);
    }
}
