//! `berth export`.

use std::path::PathBuf;

use berth_runtime::host::Packed;
use clap::Args;

use super::image::would;
use super::save::to;
use crate::failure::{Exit, Failure};
use crate::session::Session;
use crate::{flow, pick, sink};

/// Arguments of `export`.
#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// The service
    service: String,
    /// Write to this file instead of standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Number of the container, when the service has several
    #[arg(long, default_value_t = 0, hide_default_value = true)]
    index: u32,
}

/// Writes the files of a container, without its mounts, as an archive.
pub(crate) fn run(session: &Session, args: &ExportArgs) -> Result<Exit, Failure> {
    let project = session.project()?;
    let host = flow::open(session)?;
    let all = host.list_containers()?;
    let container = pick::any(all.values(), &project, &args.service, args.index)?;
    if session.global.dry_run {
        let what = format!("export {}{}", container.record.name, to(args.output.as_deref()));
        would(session, [what]);
        return Ok(Exit::Done);
    }
    let mut packed = Packed::default();
    sink::write(args.output.as_deref(), |out| {
        packed = host.export(&container.record.name, out)?;
        Ok(())
    })?;
    tell(session, packed);
    Ok(Exit::Done)
}

/// Tells what is not in the archive as it was in the container.
pub(super) fn tell(session: &Session, packed: Packed) {
    let files = |n: u64| if n == 1 { "1 file".to_owned() } else { format!("{n} files") };
    if packed.left_out > 0 {
        let n = files(packed.left_out);
        session.ui.note(&format!("{n} left out: device nodes, sockets, names with `.wh.`"));
    }
    if packed.shrunk > 0 {
        let n = files(packed.shrunk);
        session.ui.warn(&format!("{n} became shorter while read, and end in zeros"));
    }
}
