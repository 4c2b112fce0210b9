//! `berth scale`.

use clap::Args;

use super::up::UpArgs;
use crate::failure::{Exit, Failure};
use crate::policy::PolicyArgs;
use crate::session::Session;
use crate::values::pairs;

/// Arguments of `scale`.
#[derive(Debug, Args)]
pub(crate) struct ScaleArgs {
    /// How many containers of which services
    #[arg(required = true, value_name = "SERVICE=NUMBER", value_parser = pairs::scale)]
    scale: Vec<(String, u32)>,
    /// Do not touch what the named services depend on
    #[arg(long)]
    no_deps: bool,
    /// Try once more what was rejected
    #[arg(long)]
    retry: bool,
    /// What the stack may have.
    #[command(flatten)]
    policy: PolicyArgs,
}

/// Makes a service so many containers.
pub(crate) async fn run(session: &Session, args: ScaleArgs) -> Result<Exit, Failure> {
    let numbers = args.scale.iter().map(|(service, number)| format!(" {service}={number}"));
    let no_deps = if args.no_deps { " --no-deps" } else { "" };
    let again = format!("berth scale --retry{no_deps}{}", numbers.collect::<String>());
    let args = UpArgs::of_scale(args.scale, (args.no_deps, args.retry), args.policy);
    let scaled = super::up::run_files(session, &args).await;
    scaled.map_err(|failure| failure.tried_again_by(&again))
}
