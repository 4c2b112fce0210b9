//! `berth attach`.

use clap::Args;

use crate::attached::{self, Parted, Ways};
use crate::failure::{Exit, Failure};
use crate::session::Session;
use crate::values::keys::{self, Keys};
use crate::{flow, pick};

/// Arguments of `attach`.
#[derive(Debug, Args)]
pub(crate) struct AttachArgs {
    /// The service
    service: String,
    /// What is typed on a terminal to leave: `ctrl-p,ctrl-q`
    #[arg(long, value_name = "KEYS", default_value = keys::USUAL, hide_default_value = true)]
    detach_keys: Keys,
    /// Number of the container, when the service has several
    #[arg(long, default_value_t = 0, hide_default_value = true)]
    index: u32,
    /// Do not pass on what is typed
    #[arg(long)]
    no_stdin: bool,
    /// Pass signals on; `--sig-proxy=false` lets them end us alone
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value_t = true, default_missing_value = "true", action = clap::ArgAction::Set, hide_default_value = true)]
    sig_proxy: bool,
}

/// Shows the output of a running container from now on, and types into it.
pub(crate) async fn run(session: &Session, args: &AttachArgs) -> Result<Exit, Failure> {
    let project = session.project()?;
    let host = flow::open(session)?;
    let all = host.list_containers()?;
    let container = pick::running(all.values(), &project, &args.service, args.index)?;
    let name = &container.record.name;
    if container.paused {
        return Err(Failure::refused(format!("`{name}` is paused"))
            .with_help(format!("`berth unpause {}` lets it run on", args.service)));
    }
    if session.global.dry_run {
        session.ui.note(&format!("would attach to `{name}`"));
        return Ok(Exit::Done);
    }
    let run_dir = host.roots().container_run(name);
    let spec = &container.record.spec;
    let ways = Ways {
        tty: spec.tty,
        input: spec.stdin_open && !args.no_stdin,
        signals: args.sig_proxy,
        keys: args.detach_keys.clone(),
    };
    if spec.tty {
        attached::redraw(&run_dir).await;
    }
    match attached::converse(&run_dir, &ways).await? {
        Parted::Ended(code) => Ok(Exit::Container(code)),
        Parted::Signal(number) => Ok(Exit::Signal(number)),
        Parted::Left => {
            session.ui.note(&attached::farewell(name));
            Ok(Exit::Done)
        }
    }
}
