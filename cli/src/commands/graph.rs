//! `berth graph`.

use berth_planner::views::{Language, stack};
use berth_schema::config::Switches;
use clap::{Args, ValueEnum};

use crate::failure::{Exit, Failure};
use crate::session::Session;
use crate::ui::safe;

/// Arguments of `graph`.
#[derive(Debug, Args)]
pub(crate) struct GraphArgs {
    /// Only these services and what they depend on
    services: Vec<String>,
    /// How to print it
    #[arg(long, value_enum, default_value_t)]
    format: GraphFormat,
}

/// How a stack is drawn.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum GraphFormat {
    /// For people, in the order of the starts
    #[default]
    Text,
    /// The language of Graphviz
    Dot,
    /// The language of Mermaid
    Mermaid,
}

/// Shows who needs whom in the files, and what they have in common. The host is not asked.
pub(crate) fn run(session: &Session, args: &GraphArgs) -> Result<Exit, Failure> {
    let options = session.options(&args.services);
    let shown = session.load_for_show(&options, Switches::default())?;
    let text = match args.format {
        GraphFormat::Text => stack::text(&shown),
        GraphFormat::Dot => stack::graph(&shown, Language::Dot),
        GraphFormat::Mermaid => stack::graph(&shown, Language::Mermaid),
    };
    session.ui.raw(&safe(&text))?;
    Ok(Exit::Done)
}
