//! `berth create`.

use clap::Args;

use super::up::{Shape, UpArgs};
use crate::failure::{Exit, Failure};
use crate::session::Session;

/// Arguments of `create`.
#[derive(Debug, Args)]
pub(crate) struct CreateArgs {
    /// Only these services and what they depend on
    services: Vec<String>,
    /// What is to be the same for `create`, `plan` and `up`
    #[command(flatten)]
    shape: Shape,
    /// Show images without their layers while they are pulled
    #[arg(long)]
    quiet_pull: bool,
    /// Ask nothing: data that --renew-anon-volumes takes goes, and what needs consent is refused
    #[arg(short, long)]
    yes: bool,
}

/// Makes everything and starts nothing.
pub(crate) async fn run(session: &Session, args: CreateArgs) -> Result<Exit, Failure> {
    if args.quiet_pull {
        session.ui.hide_layers();
    }
    super::up::run_files(session, &UpArgs::of_create(args.services, args.shape, args.yes)).await
}
