//! `berth image tag`.

use berth_runtime::host::Host;
use clap::Args;

use super::image::find;
use crate::failure::{Exit, Failure};
use crate::session::Session;
use crate::ui::safe;

/// Arguments of `image tag`.
#[derive(Debug, Args)]
pub(crate) struct TagArgs {
    /// A name of the image, or its id (at least four digits)
    image: String,
    /// The further name, `NAME[:TAG]`
    name: String,
}

/// Gives an image a further name; one that another image has is taken from it.
pub(crate) fn run(session: &Session, host: &Host, args: &TagArgs) -> Result<Exit, Failure> {
    let entry = find(host, &args.image)?;
    if session.global.dry_run {
        session.ui.note(&safe(&format!("would name {} {}", entry.id, args.name)));
        return Ok(Exit::Done);
    }
    // The host's own image has no id until it is used, and no other name ever.
    let image = if entry.reference.is_some() { &args.image } else { &entry.id };
    host.store().tag(image, &args.name)?;
    Ok(Exit::Done)
}
