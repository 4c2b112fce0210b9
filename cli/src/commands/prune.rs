//! `prune` of containers, networks, volumes, images, and of all of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use berth_planner::generation::{Keeper, Kept};
use berth_planner::images::{Images, StoredImage};
use berth_planner::observed::Observed;
use berth_planner::prune::{
    LabelFilter, Prune, Reach, Thing, ThingKind, prunable, removal, spared,
};
use berth_planner::room::{Found, Usage};
use berth_runtime::host::Asked;
use berth_runtime::host::Host;
use clap::Args;
use jiff::Timestamp;
use serde::Serialize;

use super::image::short;
use crate::args::Format;
use crate::failure::{Exit, Failure};
use crate::flow::{self, Manner};
use crate::session::Session;
use crate::ui::{Table, safe};
use crate::values::{amount, moment};

/// Arguments of every `prune`.
#[derive(Debug, Args)]
struct Ways {
    /// Do not ask
    #[arg(short, long)]
    force: bool,
    /// How to print what went, or with `--dry-run` what would go
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// Arguments of `container prune` and `network prune`.
#[derive(Debug, Args)]
pub(crate) struct PruneArgs {
    /// Only what fits: `until=24h`, `label=KEY[=VALUE]`, `label!=KEY[=VALUE]`; may be repeated
    #[arg(long, value_name = "FILTER", value_parser = filter)]
    filter: Vec<Filter>,
    #[command(flatten)]
    ways: Ways,
}

/// Arguments of `image prune`.
#[derive(Debug, Args)]
pub(crate) struct ImagePruneArgs {
    /// All images that no container uses, not only those without a tag
    #[arg(short, long)]
    all: bool,
    /// Only what fits: `until=24h`, `label=KEY[=VALUE]`, `label!=KEY[=VALUE]`; may be repeated.
    /// `dangling=false` is the same as --all
    #[arg(long, value_name = "FILTER", value_parser = filter)]
    filter: Vec<Filter>,
    #[command(flatten)]
    ways: Ways,
}

/// Arguments of `volume prune`.
#[derive(Debug, Args)]
pub(crate) struct VolumePruneArgs {
    /// Also volumes with a name, with their data
    #[arg(short, long)]
    all: bool,
    /// Only what fits: `label=KEY[=VALUE]`, `label!=KEY[=VALUE]`; may be repeated
    #[arg(long, value_name = "FILTER", value_parser = filter)]
    filter: Vec<Filter>,
    #[command(flatten)]
    ways: Ways,
}

/// Arguments of `system prune`.
#[derive(Debug, Args)]
pub(crate) struct SystemPruneArgs {
    /// All images that no container uses, not only those without a tag
    #[arg(short, long)]
    all: bool,
    /// Also anonymous volumes with their data
    #[arg(long)]
    volumes: bool,
    /// Only what fits: `until=24h` (not with --volumes), `label=KEY[=VALUE]`,
    /// `label!=KEY[=VALUE]`; may be repeated
    #[arg(long, value_name = "FILTER", value_parser = filter)]
    filter: Vec<Filter>,
    #[command(flatten)]
    ways: Ways,
}

/// A condition as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Filter {
    Until(i64),
    Label(LabelFilter),
    Dangling(bool),
}

fn filter(text: &str) -> Result<Filter, String> {
    let wrong = || format!("`{text}` is no filter: write `until=24h`, `label=KEY` or `label!=KEY`");
    let (key, value) = text.split_once('=').ok_or_else(wrong)?;
    match key {
        "until" => Ok(Filter::Until(moment::point(value, Timestamp::now())?.as_second())),
        "label" => Ok(Filter::Label(LabelFilter::new(value, true))),
        "label!" => Ok(Filter::Label(LabelFilter::new(value, false))),
        "dangling" => flag(value).map(Filter::Dangling).ok_or_else(wrong),
        _ => Err(wrong()),
    }
}

/// A truth value as Go reads it.
pub(super) fn flag(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// Removes containers that do not run.
pub(crate) async fn containers(session: &Session, args: &PruneArgs) -> Result<Exit, Failure> {
    let prune = Prune { containers: true, ..Prune::default() };
    run(session, prune, &args.filter, &args.ways).await
}

/// Removes networks that no container is on.
pub(crate) async fn networks(session: &Session, args: &PruneArgs) -> Result<Exit, Failure> {
    let prune = Prune { networks: true, ..Prune::default() };
    run(session, prune, &args.filter, &args.ways).await
}

/// Removes volumes that no container has.
pub(crate) async fn volumes(session: &Session, args: &VolumePruneArgs) -> Result<Exit, Failure> {
    let prune = Prune { volumes: Some(reach(args.all)), ..Prune::default() };
    run(session, prune, &args.filter, &args.ways).await
}

/// Removes images that no container was made from.
pub(crate) async fn images(session: &Session, args: &ImagePruneArgs) -> Result<Exit, Failure> {
    let all = args.filter.iter().rev().find_map(|filter| match filter {
        Filter::Dangling(only) => Some(!only),
        _ => None,
    });
    let images = Some(reach(args.all || all.unwrap_or(false)));
    let prune = Prune { images, unfinished: true, ..Prune::default() };
    run(session, prune, &args.filter, &args.ways).await
}

/// Removes all of that, but no volume with a name.
pub(crate) async fn system(session: &Session, args: &SystemPruneArgs) -> Result<Exit, Failure> {
    let prune = Prune {
        containers: true,
        networks: true,
        volumes: args.volumes.then_some(Reach::Nameless),
        images: Some(reach(args.all)),
        unfinished: true,
        ..Prune::default()
    };
    run(session, prune, &args.filter, &args.ways).await
}

fn reach(all: bool) -> Reach {
    if all { Reach::Named } else { Reach::Nameless }
}

/// The host as it is looked at for room.
pub(super) struct Seen {
    observed: Observed,
    images: Images,
    usage: Usage,
    kept: Kept,
}

impl Seen {
    pub(super) async fn look(host: &Host) -> Result<Seen, Failure> {
        Ok(Seen {
            observed: host.observe(&Asked::default()).await?,
            images: host.store().images()?,
            usage: host.usage()?,
            kept: host.kept_images()?,
        })
    }

    pub(super) fn found(&self) -> Found<'_> {
        Found {
            observed: &self.observed,
            images: &self.images,
            usage: &self.usage,
            kept: &self.kept,
        }
    }
}

async fn run(
    session: &Session,
    prune: Prune,
    filters: &[Filter],
    args: &Ways,
) -> Result<Exit, Failure> {
    let prune = with_filters(prune, filters)?;
    let host = flow::open(session)?;
    let seen = Seen::look(&host).await?;
    let chosen = prunable(&seen.found(), &prune);
    tell_spared(session, &spared(&seen.found(), &prune));
    if session.global.dry_run {
        return dry_run(session, &chosen, args.format);
    }
    if chosen.is_empty() {
        session.ui.note("nothing to remove");
        return told(session, &[], args.format);
    }
    if !args.force {
        match ask(session, &chosen) {
            Some(true) => {}
            Some(false) => return Ok(Exit::Done),
            None => {
                let message = format!("this removes {}", summary(&chosen));
                return Err(Failure::Unconfirmed { message, flag: "--force" });
            }
        }
    }
    let projects = chosen.iter().filter_map(|thing| thing.project.clone()).collect();
    let plan = |observed: &Observed| {
        // Somebody may have been asked since it was looked at.
        let (images, kept) = (host.store().images()?, host.kept_images()?);
        let found = Found { observed, images: &images, usage: &seen.usage, kept: &kept };
        Ok(removal(&chosen, &prune, &found))
    };
    let change = flow::change_across(session, &host, &projects, plan, Manner::Usual).await;
    let whole = change.as_ref().is_ok_and(|change| change.interrupted.is_none());
    let gone = gone(&host, chosen, whole).await?;
    told(session, &gone, args.format)?;
    change.map(|change| change.exit())
}

/// Tells which images stay, and what for.
fn tell_spared(session: &Session, spared: &[(&StoredImage, &Keeper)]) {
    for (image, keeper) in spared {
        let name = image.names().into_iter().next().unwrap_or_else(|| short(&image.id));
        let Keeper { project, generation } = keeper;
        session.ui.note(&safe(&format!(
            "image `{name}` stays: it is needed to go back to generation {generation} of `{project}`"
        )));
    }
}

fn with_filters(mut prune: Prune, filters: &[Filter]) -> Result<Prune, Failure> {
    for filter in filters {
        match filter {
            Filter::Until(_) if prune.volumes.is_some() => {
                let message = "`until` is no filter of volumes: it is not known how old data is";
                return Err(Failure::usage(message));
            }
            Filter::Until(until) => {
                prune.until = Some(prune.until.map_or(*until, |other| other.min(*until)));
            }
            Filter::Label(label) => prune.labels.push(label.clone()),
            Filter::Dangling(_) if prune.images.is_some() && !prune.containers => {}
            Filter::Dangling(_) => {
                return Err(Failure::usage("`dangling` is a filter of `image prune`"));
            }
        }
    }
    Ok(prune)
}

/// What is gone. What was unfinished has no name to look for: it goes last.
async fn gone(host: &Arc<Host>, mut chosen: Vec<Thing>, all: bool) -> Result<Vec<Thing>, Failure> {
    let observed = host.observe(&Asked::default()).await?;
    let images = host.store().images()?;
    chosen.retain(|thing| !match thing.kind {
        ThingKind::Container => observed.containers.contains_key(&thing.name),
        ThingKind::Network => observed.networks.contains_key(&thing.name),
        ThingKind::Volume => observed.volumes.contains_key(&thing.name),
        ThingKind::Image => images.contains_key(&thing.name),
        ThingKind::Unfinished => !all,
    });
    Ok(chosen)
}

/// The last line, in the words of `docker system prune`.
fn told(session: &Session, gone: &[Thing], format: Format) -> Result<Exit, Failure> {
    let freed = amount::bytes(gone.iter().map(|thing| thing.bytes).sum());
    match format {
        Format::Json => session.ui.json_lines(&gone.iter().map(row).collect::<Vec<_>>())?,
        Format::Table => session.ui.data(&format!("Total reclaimed space: {freed}"))?,
    }
    Ok(Exit::Done)
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Row {
    kind: &'static str,
    name: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    names: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    project: Option<String>,
    size: u64,
}

fn row(thing: &Thing) -> Row {
    Row {
        kind: word(thing.kind),
        name: thing.name.clone(),
        names: thing.names.clone(),
        project: thing.project.clone(),
        size: thing.bytes,
    }
}

fn dry_run(session: &Session, chosen: &[Thing], format: Format) -> Result<Exit, Failure> {
    match format {
        Format::Json => session.ui.json_lines(&chosen.iter().map(row).collect::<Vec<_>>())?,
        Format::Table if chosen.is_empty() => session.ui.data("nothing to remove")?,
        Format::Table => {
            session.ui.table(&table(chosen))?;
            session.ui.data(&format!("This would remove {}", summary(chosen)))?;
        }
    }
    Ok(Exit::Done)
}

/// Shows what goes and asks. `None` when nobody can be asked.
fn ask(session: &Session, chosen: &[Thing]) -> Option<bool> {
    if !session.ui.can_ask() {
        return None;
    }
    table(chosen).lines().iter().for_each(|line| session.ui.note(line));
    let lost = named(chosen, ThingKind::Volume);
    if !lost.is_empty() {
        session.ui.warn(&format!("the data is lost of {lost}"));
    }
    session.ui.confirm(&format!("remove {}?", summary(chosen)))
}

fn named(chosen: &[Thing], kind: ThingKind) -> String {
    let of_kind = chosen.iter().filter(|thing| thing.kind == kind);
    of_kind.map(|thing| format!("`{}`", thing.name)).collect::<Vec<_>>().join(", ")
}

fn table(chosen: &[Thing]) -> Table {
    let mut table = Table::new(["KIND", "NAME", "SIZE"]);
    for thing in chosen {
        let mut names = thing.names.iter().cloned();
        let name = match thing.kind {
            ThingKind::Image => names.next().unwrap_or_else(|| short(&thing.name)),
            _ => thing.name.clone(),
        };
        table.row([word(thing.kind).to_owned(), name, amount::bytes(thing.bytes)]);
        // Whoever is asked sees each name that goes.
        names.for_each(|more| table.row([String::new(), more, String::new()]));
    }
    table
}

/// `2 containers, 1 image: 12.3MB`.
fn summary(chosen: &[Thing]) -> String {
    let mut counts: BTreeMap<ThingKind, usize> = BTreeMap::new();
    for thing in chosen {
        *counts.entry(thing.kind).or_default() += 1;
    }
    let bytes: u64 = chosen.iter().map(|thing| thing.bytes).sum();
    let part = |(kind, count): (&ThingKind, &usize)| match (kind, count) {
        (ThingKind::Unfinished, _) => "unfinished work".to_owned(),
        (ThingKind::Volume, 1) => "1 volume with its data".to_owned(),
        (ThingKind::Volume, count) => format!("{count} volumes with their data"),
        (kind, 1) => format!("1 {}", word(*kind)),
        (kind, count) => format!("{count} {}s", word(*kind)),
    };
    let parts: Vec<String> = counts.iter().map(part).collect();
    safe(&format!("{}: {}", parts.join(", "), amount::bytes(bytes))).into()
}

fn word(kind: ThingKind) -> &'static str {
    match kind {
        ThingKind::Container => "container",
        ThingKind::Network => "network",
        ThingKind::Volume => "volume",
        ThingKind::Image => "image",
        ThingKind::Unfinished => "unfinished",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn thing(kind: ThingKind, name: &str, bytes: u64) -> Thing {
        Thing { kind, name: name.into(), project: None, names: vec![], bytes }
    }

    #[test]
    fn a_filter_is_one_of_four() {
        assert_eq!(filter("until=1136073600"), Ok(Filter::Until(1_136_073_600)));
        assert_eq!(filter("label=a=b"), Ok(Filter::Label(LabelFilter::new("a=b", true))));
        assert_eq!(filter("label!=a"), Ok(Filter::Label(LabelFilter::new("a", false))));
        assert_eq!(filter("dangling=false"), Ok(Filter::Dangling(false)));
        for wrong in ["", "bogus=1", "until", "dangling=maybe", "until=sometime"] {
            assert!(filter(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn filters_that_a_kind_does_not_know_are_refused() {
        let volumes = Prune { volumes: Some(Reach::Nameless), ..Prune::default() };
        assert_eq!(with_filters(volumes, &[Filter::Until(1)]).unwrap_err().code(), 64);
        let all = Prune { containers: true, images: Some(Reach::Nameless), ..Prune::default() };
        assert_eq!(with_filters(all.clone(), &[Filter::Dangling(true)]).unwrap_err().code(), 64);
        let both = with_filters(all, &[Filter::Until(5), Filter::Until(3)]).unwrap();
        assert_eq!(both.until, Some(3));
    }

    #[test]
    fn a_summary_counts_and_names_data() {
        let chosen = [
            thing(ThingKind::Container, "a", 10),
            thing(ThingKind::Container, "b", 20),
            thing(ThingKind::Volume, "v", 70),
            Thing {
                names: vec!["app:1".into(), "app:2".into()],
                ..thing(ThingKind::Image, "sha256:0", 0)
            },
            thing(ThingKind::Unfinished, "unfinished work", 0),
        ];
        assert_eq!(
            summary(&chosen),
            "2 containers, 1 volume with its data, 1 image, unfinished work: 100B"
        );
        insta::assert_snapshot!(table(&chosen).lines().join("\n"), @r"
        KIND         NAME              SIZE
        container    a                 10B
        container    b                 20B
        volume       v                 70B
        image        app:1             0B
                     app:2
        unfinished   unfinished work   0B
        ");
    }
}
