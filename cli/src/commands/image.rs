//! `berth image`: its commands, and `load` and `pull`.

use std::convert::Infallible;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use berth_runtime::host::Host;
use berth_runtime::store::{
    ImageEntry, LayerProgress, Platform, PullOptions, Reference, StoreError,
};
use clap::{Args, Subcommand};

use super::history::{self, HistoryArgs};
use super::image_ls::{self, LsArgs};
use super::image_rm::{self, RmArgs};
use super::import::{self, ImportArgs};
use super::inspect::{self, InspectArgs};
use super::prune::{self, ImagePruneArgs};
use super::push::{self, ImagePushArgs};
use super::save::{self, SaveArgs};
use super::tag::{self, TagArgs};
use crate::failure::{Exit, Failure, tried};
use crate::flow;
use crate::layers::watched;
use crate::session::Session;
use crate::signals::Signals;
use crate::ui::{Progress, safe};

/// The commands about images.
#[derive(Debug, Subcommand)]
pub(crate) enum ImageCommand {
    /// Load images from an archive: of `docker save`, or an OCI layout (a folder or a tar)
    Load(LoadArgs),
    /// Write images as an archive that `load`, Docker and other tools read
    Save(SaveArgs),
    /// Make an image of one layer from a flat archive, as `export` writes one
    Import(ImportArgs),
    /// List the steps an image was made in
    History(HistoryArgs),
    /// Get images from their registries
    Pull(PullArgs),
    /// Send images to their registries
    Push(ImagePushArgs),
    /// List the images in the store
    #[command(alias = "list")]
    Ls(LsArgs),
    /// Take names away from images, and with its last name the image
    #[command(alias = "remove")]
    Rm(RmArgs),
    /// Give an image a further name
    Tag(TagArgs),
    /// Remove images without a tag that no container was made from
    Prune(ImagePruneArgs),
    /// Print what images say about their containers
    Inspect(InspectArgs),
}

/// Arguments of `image load`.
#[derive(Debug, Args)]
pub(crate) struct LoadArgs {
    /// The archives; none or `-` reads standard input
    paths: Vec<PathBuf>,
    /// Read this archive
    #[arg(short, long, value_name = "FILE", conflicts_with = "paths")]
    input: Option<PathBuf>,
    /// Print ids only
    #[arg(short, long)]
    quiet: bool,
}

/// Arguments of `image pull`.
#[derive(Debug, Args)]
pub(crate) struct PullArgs {
    /// The images
    #[arg(required = true)]
    references: Vec<String>,
    /// The machine they are for, `linux/arm64`; this one without it
    #[arg(long, value_name = "PLATFORM", value_parser = berth_schema::platform)]
    platform: Option<berth_schema::stack::Platform>,
    /// Show no progress; print the names in full
    #[arg(short, long)]
    quiet: bool,
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Failure {
        match error {
            StoreError::Output(error) => Failure::Output(error),
            other => Failure::refused(other),
        }
    }
}

/// Runs one of them.
pub(crate) async fn run(session: &Session, command: &ImageCommand) -> Result<Exit, Failure> {
    let host = match command {
        ImageCommand::Ls(_)
        | ImageCommand::Inspect(_)
        | ImageCommand::History(_)
        | ImageCommand::Save(_) => flow::open_to_look(session)?,
        _ => flow::open(session)?,
    };
    match command {
        ImageCommand::Load(args) => load(session, &host, args).await,
        ImageCommand::Import(args) => import::run(session, &host, args).await,
        ImageCommand::Save(args) => save::run(session, &host, args),
        ImageCommand::History(args) => history::run(session, &host, args),
        ImageCommand::Pull(args) => pull(session, &host, args).await,
        ImageCommand::Push(args) => push::run_images(session, args).await,
        ImageCommand::Ls(args) => image_ls::run(session, &host, args),
        ImageCommand::Rm(args) => image_rm::run(session, &host, args).await,
        ImageCommand::Tag(args) => tag::run(session, &host, args),
        ImageCommand::Prune(args) => prune::images(session, args).await,
        ImageCommand::Inspect(args) => inspect::run(session, &host, args),
    }
}

async fn load(session: &Session, host: &Arc<Host>, args: &LoadArgs) -> Result<Exit, Failure> {
    let mut paths: Vec<PathBuf> = args.input.iter().chain(&args.paths).cloned().collect();
    if paths.is_empty() {
        paths.push("-".into());
    }
    if session.global.dry_run {
        would(session, paths.iter().map(|path| format!("load {}", path.display())));
        return Ok(Exit::Done);
    }
    let progress = if args.quiet { session.ui.no_progress() } else { session.ui.progress() };
    let mut reading = Reading { progress, what: "Loading" };
    let (mut all, mut ended) = (Vec::new(), Ok(Exit::Done));
    for path in paths {
        let store = host.store().clone();
        let from = path.clone();
        let loaded = reading.show(&path, move |tell| match from.to_str() {
            Some("-") => store.load_stream_telling(io::stdin(), &tell),
            _ => store.load_telling(&from, &tell),
        });
        match loaded.await {
            Ok(loaded) => all.extend(loaded),
            Err(failure) => {
                ended = Err(failure);
                break;
            }
        }
    }
    reading.progress.finish();
    for image in all {
        let names = match image.references.is_empty() {
            true => vec![image.id.clone()],
            false => image.references,
        };
        match args.quiet {
            true => session.ui.list([image.id])?,
            false => {
                session.ui.list(names.iter().map(|name| format!("Loaded image: {name}")))?;
            }
        }
    }
    ended
}

/// Archives that are read, and how that is shown.
pub(super) struct Reading<'a> {
    pub(super) progress: Progress<'a>,
    /// `Loading`
    pub(super) what: &'static str,
}

impl Reading<'_> {
    /// Does `work` on the archive at `path`. A signal ends the program as it would without.
    pub(super) async fn show<T: Send + 'static>(
        &mut self,
        path: &Path,
        work: impl FnOnce(LayerProgress) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, Failure> {
        let object = format!("Archive {}", path.display());
        self.progress.begin(&object, self.what);
        let work = |tell| tokio::task::spawn_blocking(move || work(tell));
        let never = std::future::pending::<Infallible>();
        let Ok(read) = watched(&mut self.progress, &object, never, work).await;
        let read = read.map_err(Failure::refused)?;
        match &read {
            Ok(_) => self.progress.done(&object, "Loaded"),
            Err(error) => self.progress.failed(&object, &error.to_string()),
        }
        Ok(read?)
    }
}

/// Tells what a dry run leaves undone.
pub(super) fn would(session: &Session, what: impl IntoIterator<Item = String>) {
    what.into_iter().for_each(|what| session.ui.note(&safe(&format!("would {what}"))));
}

async fn pull(session: &Session, host: &Arc<Host>, args: &PullArgs) -> Result<Exit, Failure> {
    if session.global.dry_run {
        would(session, args.references.iter().map(|reference| format!("pull {reference}")));
        return Ok(Exit::Done);
    }
    let mut signals = Signals::listen()?;
    let mut progress = if args.quiet { session.ui.no_progress() } else { session.ui.progress() };
    let (mut pulled, mut causes) = (0, Vec::new());
    let platform = args.platform.clone().map(|wanted| Platform {
        os: wanted.os,
        architecture: wanted.architecture.unwrap_or_else(|| Platform::host().architecture),
        variant: wanted.variant,
    });
    let options = PullOptions { platform, ..PullOptions::default() };
    for reference in &args.references {
        let object = format!("Image {reference}");
        progress.begin(&object, "Pulling");
        let pull = |tell| host.store().pull(reference, &options, tell);
        match watched(&mut progress, &object, signals.next(), pull).await {
            Ok(Ok(_)) => {
                pulled += 1;
                progress.done(&object, "Pulled");
                if args.quiet {
                    session.ui.list([whole(reference)])?;
                }
            }
            Ok(Err(error)) => {
                progress.failed(&object, &error.to_string());
                causes.push(format!("image `{reference}`: {error}"));
            }
            Err(number) => {
                progress.finish();
                return Ok(Exit::Signal(number));
            }
        }
    }
    progress.finish();
    tried(pulled, causes)
}

/// A name with everything that people leave out, as `docker pull -q` prints it.
fn whole(reference: &str) -> String {
    Reference::parse(reference).map_or_else(|_| reference.to_owned(), |name| name.canonical())
}

/// An image by its name, or by the beginning of its id.
pub(super) fn find(host: &Host, text: &str) -> Result<ImageEntry, Failure> {
    let by_name = host.store().resolve(text);
    if let Ok(Some(entry)) = by_name {
        return Ok(entry);
    }
    match host.store().find(text)? {
        Some(entry) => Ok(entry),
        None => {
            by_name?;
            Err(Failure::refused(StoreError::Missing(text.to_owned())))
        }
    }
}

/// Repository and tag of a reference as people write it.
pub(super) fn split(reference: &str) -> (String, String) {
    if let Some((name, _)) = reference.split_once('@') {
        let (repository, _) = split(name);
        return (repository, "<none>".to_owned());
    }
    match reference.rsplit_once(':') {
        // A colon before a slash belongs to the registry's port.
        Some((repository, tag)) if !tag.contains('/') => (repository.to_owned(), tag.to_owned()),
        _ => (reference.to_owned(), "latest".to_owned()),
    }
}

/// The first twelve digits of an id.
pub(super) fn short(id: &str) -> String {
    id.strip_prefix("sha256:").unwrap_or(id).chars().take(12).collect()
}

/// Bytes of an image's layers; 0 when it is not in the store any more.
pub(super) fn size_of(host: &Host, id: &str) -> u64 {
    host.store().resolve(id).ok().flatten().map_or(0, |entry| entry.size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_has_a_repository_and_a_tag() {
        let told = |reference| {
            let (repository, tag) = split(reference);
            format!("{repository} {tag}")
        };
        assert_eq!(told("redis:7"), "redis 7");
        assert_eq!(told("redis"), "redis latest");
        assert_eq!(told("localhost:5000/app"), "localhost:5000/app latest");
        assert_eq!(told("localhost:5000/app:1"), "localhost:5000/app 1");
        assert_eq!(told("redis@sha256:00"), "redis <none>");
        assert_eq!(told("redis:7@sha256:00"), "redis <none>");
    }

    #[test]
    fn a_short_id_has_twelve_digits() {
        assert_eq!(short("sha256:0123456789abcdef"), "0123456789ab");
    }
}
