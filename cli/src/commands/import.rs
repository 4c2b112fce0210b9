//! `berth image import`.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use berth_runtime::host::Host;
use berth_runtime::store::{About, Counted};
use clap::Args;

use super::commit::changes;
use super::image::{Reading, would};
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
    /// Show no progress
    #[arg(short, long)]
    quiet: bool,
}

/// Makes an image of one layer from a flat archive.
pub(crate) async fn run(
    session: &Session,
    host: &Host,
    args: &ImportArgs,
) -> Result<Exit, Failure> {
    let about = About {
        reference: args.reference.clone(),
        author: None,
        message: Some(args.message.clone().unwrap_or(format!("Imported from {}", args.file))),
        created_by: "berth image import".to_owned(),
        changes: changes(&args.changes)?,
    };
    let (archive, size): (Box<dyn Read + Send>, u64) = match args.file.as_str() {
        "-" => (Box::new(io::stdin()), 0),
        path if path.starts_with("http://") || path.starts_with("https://") => {
            let help = format!("`curl -fsSL {path} | berth image import - …` does");
            return Err(
                Failure::usage("an archive is not fetched from the network").with_help(help)
            );
        }
        path => {
            let file =
                File::open(path).map_err(|e| Failure::refused(format!("open `{path}`: {e}")))?;
            let size = file.metadata().map_or(0, |there| there.len());
            (Box::new(file), size)
        }
    };
    if session.global.dry_run {
        let name = args.reference.as_ref().map(|name| format!(" as {name}")).unwrap_or_default();
        would(session, [format!("import {}{name}", args.file)]);
        return Ok(Exit::Done);
    }
    let store = host.store().clone();
    let progress = if args.quiet { session.ui.no_progress() } else { session.ui.progress() };
    let mut reading = Reading { progress, what: "Importing" };
    let id = reading.show(Path::new(&args.file), move |tell| {
        store.import(Counted::whole(archive, size, &tell), &about)
    });
    let id = id.await?;
    reading.progress.finish();
    session.ui.list([id])?;
    Ok(Exit::Done)
}
