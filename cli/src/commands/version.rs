//! `berth version`.

use clap::Args;
use serde_json::json;

use crate::args::Format;
use crate::failure::{Exit, Failure};
use crate::ui::Ui;

/// Arguments of `version`.
#[derive(Debug, Args)]
pub(crate) struct VersionArgs {
    /// Print the number only
    #[arg(long)]
    short: bool,
    /// How to print it
    #[arg(short, long, value_enum, default_value_t)]
    format: Format,
}

/// Prints the version.
pub(crate) fn run(ui: &Ui, args: &VersionArgs) -> Result<Exit, Failure> {
    let version = env!("CARGO_PKG_VERSION");
    match (args.short, args.format) {
        (true, _) => ui.data(version)?,
        (false, Format::Json) => ui.data(&json!({ "version": version }).to_string())?,
        (false, Format::Table) => ui.data(&format!("berth {version}"))?,
    }
    Ok(Exit::Done)
}
