//! `berth push` and `berth image push`.

use std::collections::BTreeSet;
use std::sync::Arc;

use berth_runtime::host::Host;
use berth_runtime::store::PushOptions;
use berth_schema::config::Switches;
use berth_schema::stack::Stack;
use clap::Args;

use super::image::would;
use super::pull::selected;
use crate::failure::{Exit, Failure, tried};
use crate::flow;
use crate::layers::watched;
use crate::session::Session;
use crate::signals::Signals;
use crate::ui::safe;

/// Arguments of `push`.
#[derive(Debug, Args)]
pub(crate) struct PushArgs {
    /// Only these services; without names, those that have a `build`
    services: Vec<String>,
    /// Also what the named services depend on
    #[arg(long)]
    include_deps: bool,
    /// End well even if an image could not be pushed
    #[arg(long)]
    ignore_push_failures: bool,
    /// Show no progress
    #[arg(short, long)]
    quiet: bool,
}

/// Arguments of `image push`.
#[derive(Debug, Args)]
pub(crate) struct ImagePushArgs {
    /// The images
    #[arg(required = true)]
    references: Vec<String>,
    /// Show no progress
    #[arg(short, long)]
    quiet: bool,
}

/// Sends the images of services to their registries.
pub(crate) async fn run(session: &Session, args: &PushArgs) -> Result<Exit, Failure> {
    let options = session.options(&args.services);
    let stack = session.load_for_show(&options, Switches::default())?;
    let images = images(session, &stack, args)?;
    let host = flow::open(session)?;
    let (pushed, causes) = match push_all(session, &host, &images, args.quiet).await? {
        Ended::Interrupted(number) => return Ok(Exit::Signal(number)),
        Ended::Tried { pushed, causes } => (pushed, causes),
    };
    if args.ignore_push_failures {
        causes.iter().for_each(|cause| session.ui.warn(cause));
        return Ok(Exit::Done);
    }
    tried(pushed, causes)
}

/// Sends images to their registries.
pub(crate) async fn run_images(session: &Session, args: &ImagePushArgs) -> Result<Exit, Failure> {
    let host = flow::open(session)?;
    match push_all(session, &host, &args.references, args.quiet).await? {
        Ended::Interrupted(number) => Ok(Exit::Signal(number)),
        Ended::Tried { pushed, causes } => tried(pushed, causes),
    }
}

/// What came of it.
enum Ended {
    Interrupted(i32),
    Tried { pushed: usize, causes: Vec<String> },
}

/// The images of the chosen services, each once. One that is only used here is nobody's to push,
/// unless it is asked for by the service's name.
fn images(session: &Session, stack: &Stack, args: &PushArgs) -> Result<Vec<String>, Failure> {
    let chosen = selected(stack, &args.services, args.include_deps)?;
    let mut images = BTreeSet::new();
    for (name, service) in stack.services.iter().filter(|(name, _)| chosen.contains(*name)) {
        let named = args.services.contains(name);
        match &service.image {
            Some(image) if named || service.build.is_some() => drop(images.insert(image.clone())),
            None if named => {
                let message =
                    format!("service `{name}` has no `image`, so it has no name to push to");
                return Err(
                    Failure::refused(message).with_help("give it one: `image: REGISTRY/NAME:TAG`")
                );
            }
            _ => session.ui.note(&safe(&format!(
                " {name} is left out: it has no `build` (name it to push its image)"
            ))),
        }
    }
    Ok(images.into_iter().collect())
}

async fn push_all(
    session: &Session,
    host: &Arc<Host>,
    images: &[String],
    quiet: bool,
) -> Result<Ended, Failure> {
    if session.global.dry_run {
        would(session, images.iter().map(|image| format!("push {image}")));
        return Ok(Ended::Tried { pushed: images.len(), causes: Vec::new() });
    }
    let mut signals = Signals::listen()?;
    let mut progress = if quiet { session.ui.no_progress() } else { session.ui.progress() };
    let (mut pushed, mut causes) = (0, Vec::new());
    let options = PushOptions::default();
    for image in images {
        let object = format!("Image {image}");
        progress.begin(&object, "Pushing");
        let push = |tell| host.store().push(image, &options, tell);
        let sent = match watched(&mut progress, &object, signals.next(), push).await {
            Ok(sent) => sent,
            Err(number) => {
                progress.finish();
                return Ok(Ended::Interrupted(number));
            }
        };
        match sent {
            Ok(sent) => {
                pushed += 1;
                progress.done(&object, &format!("Pushed {}", sent.digest));
            }
            Err(error) => {
                progress.failed(&object, &error.to_string());
                causes.push(format!("image `{image}`: {error}"));
            }
        }
    }
    progress.finish();
    Ok(Ended::Tried { pushed, causes })
}
