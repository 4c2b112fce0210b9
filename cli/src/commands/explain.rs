//! `berth explain`.

use berth_planner::class;
use berth_schema::config::Switches;
use berth_schema::explain::{self, Attribute, Explanation, Origin, Unexplained, Variable, Way};
use clap::{Args, ValueEnum};
use serde::Serialize;
use serde_json::Value;

use crate::failure::{Exit, Failure};
use crate::project::invalid;
use crate::secrets;
use crate::session::Session;
use crate::source::Disk;
use crate::ui::{Table, safe};

/// Arguments of `explain`.
#[derive(Debug, Args)]
pub(crate) struct ExplainArgs {
    /// Path of a value: `web.image`, `web.ports[0]`, `networks.front`, or a service
    #[arg(value_name = "SERVICE.PATH")]
    path: String,
    /// How to print it
    #[arg(long, value_enum, default_value_t)]
    format: ExplainFormat,
    /// Show values whose names sound like secrets
    #[arg(long)]
    show_secrets: bool,
}

/// How an explanation is printed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum ExplainFormat {
    /// For people
    #[default]
    Text,
    /// For programs
    Json,
}

/// An explanation for programs.
#[derive(Serialize)]
struct Told<'a> {
    #[serde(flatten)]
    told: &'a Explanation,
    /// What becomes of a container when the value changes.
    changed: Option<&'static str>,
}

/// Tells what a value is, where it came from, and what it went over.
pub(crate) fn run(session: &Session, args: &ExplainArgs) -> Result<Exit, Failure> {
    let switches = Switches { all_resources: session.global.all_resources, ..Switches::default() };
    let options = session.options(&[]);
    let mut told =
        explain::explain(&options, switches, &Disk::new(&options), &args.path).map_err(failure)?;
    if !args.show_secrets {
        secrets::hide(&mut told);
    }
    match args.format {
        ExplainFormat::Json => {
            session.ui.json(&Told { changed: when_changed(&told), told: &told })?;
        }
        ExplainFormat::Text => {
            for line in lines(&told) {
                session.ui.data(safe(&line).trim_end())?;
            }
        }
    }
    Ok(Exit::Done)
}

fn failure(why: Unexplained) -> Failure {
    match why {
        Unexplained::Files(problems) => invalid(problems),
        Unexplained::Path { message, help } => Failure::Refused { message, help },
    }
}

fn lines(told: &Explanation) -> Vec<String> {
    let mut lines = vec![match &told.value {
        None => format!("{} is not set", told.path),
        Some(Value::Object(_) | Value::Array(_)) => told.path.clone(),
        Some(value) => format!("{} = {value}", told.path),
    }];
    let mut rows: Vec<[String; 3]> = Vec::new();
    if let Some(from) = &told.from {
        origin("from", from, false, &mut rows);
    }
    rows.extend(told.variables.iter().map(variable));
    let earlier = if told.from.is_some() { "over" } else { "written" };
    for over in &told.over {
        origin(earlier, over, true, &mut rows);
    }
    let word = |name: &str, text: &str| [name.to_owned(), text.to_owned(), String::new()];
    rows.extend(told.rule.iter().map(|rule| word("why", rule)));
    if let Some(attribute) = &told.attribute {
        rows.extend(about(attribute).map(|text| word("is", &text)));
        if told.value.is_none() && !attribute.normal.is_empty() {
            rows.push(word("default", attribute.normal));
        }
    }
    rows.extend(when_changed(told).map(|text| word("changed", text)));
    let width =
        rows.iter().filter(|row| !row[2].is_empty()).map(|row| row[1].chars().count()).max();
    let width = width.unwrap_or(0);
    lines.extend(
        rows.iter().map(|[name, place, text]| format!("  {name:9}  {place:width$}  {text}")),
    );
    if !told.values.is_empty() {
        lines.push(String::new());
        let mut table = Table::new(["PATH", "VALUE", "PLACE", "HOW"]);
        for below in &told.values {
            let place = below.place.as_ref().map(ToString::to_string).unwrap_or_default();
            table.row([below.path.clone(), below.value.to_string(), place, below.how.clone()]);
        }
        lines.extend(table.lines());
    }
    lines
}

/// What becomes of a container when an attribute that berth does changes.
fn when_changed(told: &Explanation) -> Option<&'static str> {
    let attribute = told.attribute.as_ref().filter(|attribute| attribute.class == "done")?;
    class::when_changed(&attribute.path)
}

/// What an attribute is for, and whether it does that here.
fn about(attribute: &Attribute) -> Option<String> {
    let does = match (attribute.class, attribute.why) {
        ("later", _) => "berth does not do it yet".to_owned(),
        (_, Some(why)) => format!("no effect: {why}"),
        _ => String::new(),
    };
    let parts = [attribute.says.trim_end_matches('.'), does.as_str()];
    let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    (!parts.is_empty()).then(|| parts.join("; "))
}

/// Where a value is written, and a line for each step of its way that has a place of its own.
fn origin(name: &str, origin: &Origin, with_value: bool, rows: &mut Vec<[String; 3]>) {
    let mut text = match (&origin.line, &origin.value) {
        (Some(line), _) => line.clone(),
        (None, Some(value)) if with_value || origin.place.is_some() => value.to_string(),
        _ => String::new(),
    };
    let (placed, others): (Vec<_>, Vec<_>) =
        origin.ways.iter().partition(|way| way.place.is_some());
    let others: Vec<&str> = others.iter().map(|way| way.what.as_str()).collect();
    match &origin.place {
        Some(place) => {
            if !others.is_empty() {
                text += &format!("  ({})", others.join(", "));
            }
            rows.push([name.to_owned(), place.to_string(), text]);
        }
        None => rows.push([name.to_owned(), others.join(", "), String::new()]),
    }
    rows.extend(placed.into_iter().map(step));
}

fn step(way: &Way) -> [String; 3] {
    let place = way.place.as_ref().map(ToString::to_string).unwrap_or_default();
    [String::new(), place, format!("({})", way.what)]
}

fn variable(variable: &Variable) -> [String; 3] {
    let Variable { name, value, default: _, from, place } = variable;
    let text = match value {
        Some(value) => format!("{name} = {value:?}"),
        None => name.clone(),
    };
    match place {
        Some(place) => ["variable".to_owned(), place.to_string(), text],
        None => ["variable".to_owned(), text, from.clone()],
    }
}
