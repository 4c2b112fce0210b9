//! `berth image save`, `berth save`.

use std::path::{Path, PathBuf};

use berth_runtime::host::Host;
use clap::Args;

use super::image::would;
use crate::failure::{Exit, Failure};
use crate::session::Session;
use crate::sink;

/// Arguments of `image save`.
#[derive(Debug, Args)]
pub(crate) struct SaveArgs {
    /// Their names or ids; a name without a tag saves every tag of it
    #[arg(required = true)]
    images: Vec<String>,
    /// Write to this file instead of standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Writes images as an archive that `load` and other tools read.
pub(crate) fn run(session: &Session, host: &Host, args: &SaveArgs) -> Result<Exit, Failure> {
    if session.global.dry_run {
        would(session, [format!("save {}{}", args.images.join(", "), to(args.output.as_deref()))]);
        return Ok(Exit::Done);
    }
    sink::write(args.output.as_deref(), |out| Ok(host.store().save(&args.images, out)?))?;
    Ok(Exit::Done)
}

/// ` to FILE`, unless it is standard output.
pub(super) fn to(output: Option<&Path>) -> String {
    output.map(|path| format!(" to {}", path.display())).unwrap_or_default()
}
