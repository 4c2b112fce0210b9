//! `berth image import`.

use std::fs::File;
use std::io;

use berth_runtime::host::Host;
use berth_runtime::store::About;
use clap::Args;

use super::commit::changes;
use crate::failure::{Exit, Failure};
use crate::session::Session;

/// Arguments of `image import`.
#[derive(Debug, Args)]
pub(crate) struct ImportArgs {
    /// The archive, plain or compressed; `-` reads standard input
    file: String,
    /// Name of the new image; without one it is known by its id
    #[arg(value_name = "REPOSITORY[:TAG]")]
    reference: Option<String>,
    /// Give it a config by a line of a Dockerfile, as `CMD ["/run"]`
    #[arg(short, long = "change", value_name = "LINE")]
    changes: Vec<String>,
    /// What was done
    #[arg(short, long)]
    message: Option<String>,
}

/// Makes an image of one layer from a flat archive.
pub(crate) fn run(session: &Session, host: &Host, args: &ImportArgs) -> Result<Exit, Failure> {
    let about = About {
        reference: args.reference.clone(),
        author: None,
        message: Some(args.message.clone().unwrap_or(format!("Imported from {}", args.file))),
        created_by: "berth image import".to_owned(),
        changes: changes(&args.changes)?,
    };
    let id = match args.file.as_str() {
        "-" => host.store().import(io::stdin().lock(), &about)?,
        path if path.starts_with("http://") || path.starts_with("https://") => {
            let help = format!("`curl -fsSL {path} | berth image import - …` does");
            return Err(
                Failure::usage("an archive is not fetched from the network").with_help(help)
            );
        }
        path => {
            let file =
                File::open(path).map_err(|e| Failure::refused(format!("open `{path}`: {e}")))?;
            host.store().import(file, &about)?
        }
    };
    session.ui.list([id])?;
    Ok(Exit::Done)
}
