//! `berth cp`.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::path::PathBuf;

use berth_planner::observed::{ContainerState, ObservedContainer};
use berth_runtime::host::{CopyError, CopyOptions, Host, HostEnd, Lock, Packed};
use clap::Args;

use crate::failure::{Exit, Failure};
use crate::project::Project;
use crate::session::Session;
use crate::{flow, pick};

/// Arguments of `cp`.
#[derive(Debug, Args)]
pub(crate) struct CpArgs {
    /// What is copied: `SERVICE:PATH`, a path, or `-` for a tar stream
    #[arg(value_name = "FROM")]
    from: String,
    /// Where to: a path, `SERVICE:PATH`, or `-` for a tar stream
    #[arg(value_name = "TO")]
    to: String,
    /// Also containers that `run` made
    #[arg(long)]
    all: bool,
    /// Into a container: give everything to its user; out of it: keep owners and set-id bits
    #[arg(short, long)]
    archive: bool,
    /// Copy what a link leads to instead of the link
    #[arg(short = 'L', long)]
    follow_link: bool,
    /// Number of the container, when the service has several
    #[arg(long, default_value_t = 0, hide_default_value = true)]
    index: u32,
}

/// One end of a copy.
#[derive(Debug, PartialEq, Eq)]
enum End<'a> {
    /// A path in containers of a service.
    Service(&'a str, &'a str),
    /// On this host.
    Host(HostEnd),
}

/// `SERVICE:PATH`, unless it is a path for certain.
fn end(text: &str) -> End<'_> {
    match text.split_once(':') {
        _ if text == "-" => End::Host(HostEnd::Stream),
        Some((service, path)) if !text.starts_with(['/', '.']) => End::Service(service, path),
        _ => End::Host(HostEnd::Path(PathBuf::from(text))),
    }
}

/// Copies files into containers or out of one. Called while we have one thread, because whoever
/// enters a container must.
pub(crate) fn run(session: &Session, args: &CpArgs) -> Result<Exit, Failure> {
    let options = CopyOptions { archive: args.archive, follow: args.follow_link };
    match (end(&args.from), end(&args.to)) {
        (End::Service(service, path), End::Host(to)) => {
            if to == HostEnd::Stream && std::io::stdout().is_terminal() {
                return Err(Failure::usage("a tar stream is nothing for a terminal"));
            }
            out(session, args, (service, path), &to, options)
        }
        (End::Host(from), End::Service(service, path)) => {
            into(session, args, &from, (service, path), options)
        }
        (End::Service(..), End::Service(..)) => Err(Failure::usage(
            "copying from service to service is not possible: copy to the host between",
        )),
        (End::Host(_), End::Host(_)) => {
            Err(Failure::usage("one of the two must be `SERVICE:PATH`"))
        }
    }
}

fn out(
    session: &Session,
    args: &CpArgs,
    (service, path): (&str, &str),
    to: &HostEnd,
    options: CopyOptions,
) -> Result<Exit, Failure> {
    let (project, host) = (session.project()?, flow::open(session)?);
    let all = host.list_containers()?;
    let chosen = chosen(&all, &project, service, args)?;
    let Some(container) = chosen.first() else { return Ok(Exit::Done) };
    let name = &container.record.name;
    if session.global.dry_run {
        session.ui.note(&format!("would copy {name}:{path} to {}", args.to));
        return Ok(Exit::Done);
    }
    let (container, _lock) = settled(session, &host, &project, container)?;
    tell(session, host.copy_out(&container, path, to, options).map_err(failed)?);
    session.ui.note(&format!("copied {name}:{path} to {}", args.to));
    Ok(Exit::Done)
}

fn into(
    session: &Session,
    args: &CpArgs,
    from: &HostEnd,
    (service, path): (&str, &str),
    options: CopyOptions,
) -> Result<Exit, Failure> {
    let (project, host) = (session.project()?, flow::open(session)?);
    let all = host.list_containers()?;
    let chosen = chosen(&all, &project, service, args)?;
    if *from == HostEnd::Stream && chosen.len() > 1 {
        let message =
            format!("`{service}` has {} containers, and the stream comes once", chosen.len());
        return Err(Failure::usage(message).with_help("`--index 1` names one of them"));
    }
    for container in chosen {
        let name = &container.record.name;
        if session.global.dry_run {
            session.ui.note(&format!("would copy {} to {name}:{path}", args.from));
            continue;
        }
        let (container, _lock) = settled(session, &host, &project, container)?;
        tell(session, host.copy_in(from, &container, path, options).map_err(failed)?);
        session.ui.note(&format!("copied {} to {name}:{path}", args.from));
    }
    Ok(Exit::Done)
}

/// The container of the number that is asked for, or all of the service.
fn chosen<'a>(
    all: &'a BTreeMap<String, ObservedContainer>,
    project: &Project,
    service: &str,
    args: &CpArgs,
) -> Result<Vec<&'a ObservedContainer>, Failure> {
    let ours = |c: &&ObservedContainer| {
        let record = &c.record;
        record.project == project.name && record.service == service && record.oneoff
    };
    let of_run: Vec<_> =
        all.values().filter(|_| args.all && args.index == 0).filter(ours).collect();
    match pick::each(all.values(), project, service, args.index) {
        Ok(mut chosen) => {
            chosen.extend(of_run);
            Ok(chosen)
        }
        Err(_) if !of_run.is_empty() => Ok(of_run),
        Err(failure) => Err(failure),
    }
}

/// The container as it is, and stays: nobody may start one that does not run while its files are
/// in our hands.
fn settled(
    session: &Session,
    host: &Host,
    project: &Project,
    container: &ObservedContainer,
) -> Result<(ObservedContainer, Option<Lock>), Failure> {
    let runs = |it: &ObservedContainer| matches!(it.state, ContainerState::Running { .. });
    if runs(container) {
        return Ok((container.clone(), None));
    }
    // On this very thread: a second one would keep us out of the container.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    let lock = runtime.block_on(flow::lock(session, host, &project.name))?;
    // Whoever had the lock may have started it, or have made it anew.
    let name = &container.record.name;
    let Some(now) = host.list_containers()?.remove(name) else {
        return Err(Failure::refused(format!("`{name}` has just been removed")));
    };
    let lock = (!runs(&now)).then_some(lock);
    Ok((now, lock))
}

fn tell(session: &Session, packed: Packed) {
    if packed.left_out > 0 {
        let n = packed.left_out;
        session.ui.note(&format!("{n} left out: device nodes, sockets, what is the kernel's"));
    }
    if packed.shrunk > 0 {
        session.ui.warn(&format!("{} became shorter while read, and end in zeros", packed.shrunk));
    }
}

fn failed(error: CopyError) -> Failure {
    Failure::refused(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_with_a_colon_is_one_when_it_begins_as_one() {
        assert_eq!(end("web:/a:b"), End::Service("web", "/a:b"));
        assert_eq!(end("./web:/a"), End::Host(HostEnd::Path("./web:/a".into())));
        assert_eq!(end("/web:a"), End::Host(HostEnd::Path("/web:a".into())));
        assert_eq!(end("-"), End::Host(HostEnd::Stream));
        assert_eq!(end("file"), End::Host(HostEnd::Path("file".into())));
    }
}
