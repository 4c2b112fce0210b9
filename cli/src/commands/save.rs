//! `berth image save`, `berth save`.

use std::path::PathBuf;

use berth_runtime::host::Host;
use clap::Args;

use crate::failure::{Exit, Failure};
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
pub(crate) fn run(host: &Host, args: &SaveArgs) -> Result<Exit, Failure> {
    sink::write(args.output.as_deref(), |out| Ok(host.store().save(&args.images, out)?))?;
    Ok(Exit::Done)
}
