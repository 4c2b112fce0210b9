//! `berth image ls`.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use berth_planner::images::{Images, StoredImage, users};
use berth_planner::prune::LabelFilter;
use berth_runtime::host::Host;
use berth_runtime::store::ImageEntry;
use clap::Args;
use jiff::Timestamp;
use serde::Serialize;

use super::image::{find, short, split};
use super::prune::flag;
use crate::failure::{Exit, Failure};
use crate::form::{Form, Listed};
use crate::session::Session;
use crate::ui::Table;
use crate::values::{amount, moment, pattern};

/// Arguments of `image ls`.
#[derive(Debug, Args)]
pub(crate) struct LsArgs {
    /// Only those with this name, `NAME[:TAG]`; `*` and `?` stand for letters
    reference: Option<String>,
    /// Also earlier images of this host's own programs, which are made anew when it changes
    #[arg(short, long)]
    all: bool,
    /// With the digests of registries
    #[arg(long)]
    digests: bool,
    /// Only what fits: `dangling=true`, `label=KEY[=VALUE]`, `before=IMAGE`, `since=IMAGE`,
    /// `until=24h`, `reference=PATTERN`; may be repeated
    #[arg(long, value_name = "FILTER", value_parser = filter)]
    filter: Vec<Filter>,
    /// `table`, `json`, or a template in Go's words: `{{.Repository}}`, `table {{.Repository}}\t{{.Size}}`
    #[arg(long, value_name = "FORMAT", default_value = "table", hide_default_value = true)]
    format: Form,
    /// Print whole ids
    #[arg(long)]
    no_trunc: bool,
    /// Print ids only
    #[arg(short, long)]
    quiet: bool,
}

#[derive(Debug, Clone)]
enum Filter {
    Dangling(bool),
    Label(LabelFilter),
    Before(String),
    Since(String),
    Until(i64),
    Reference(String),
}

fn filter(text: &str) -> Result<Filter, String> {
    let wrong = || {
        format!(
            "`{text}` is no filter: write `dangling=true`, `label=KEY`, `before=IMAGE`, \
             `since=IMAGE`, `until=24h` or `reference=PATTERN`"
        )
    };
    let (key, value) = text.split_once('=').ok_or_else(wrong)?;
    match key {
        "dangling" => flag(value).map(Filter::Dangling).ok_or_else(wrong),
        "label" => Ok(Filter::Label(LabelFilter::new(value, true))),
        "label!" => Ok(Filter::Label(LabelFilter::new(value, false))),
        "before" => Ok(Filter::Before(value.to_owned())),
        "since" => Ok(Filter::Since(value.to_owned())),
        "until" => Ok(Filter::Until(moment::point(value, Timestamp::now())?.as_second())),
        "reference" => Ok(Filter::Reference(value.to_owned())),
        _ => Err(wrong()),
    }
}

/// What an image must be to be listed.
#[derive(Default)]
struct Wanted {
    dangling: Option<bool>,
    labels: Vec<LabelFilter>,
    before: Option<i64>,
    since: Option<i64>,
    references: Vec<String>,
}

impl Wanted {
    fn of(host: &Host, args: &LsArgs) -> Result<Wanted, Failure> {
        let mut wanted = Wanted::default();
        wanted.references.extend(args.reference.clone());
        let made = |text: &String| Ok::<_, Failure>(find(host, text)?.created.unwrap_or(i64::MIN));
        for filter in &args.filter {
            match filter {
                Filter::Dangling(dangling) => wanted.dangling = Some(*dangling),
                Filter::Label(label) => wanted.labels.push(label.clone()),
                Filter::Before(image) => wanted.before = Some(made(image)?),
                Filter::Since(image) => wanted.since = Some(made(image)?),
                Filter::Until(until) => wanted.before = Some(*until),
                Filter::Reference(reference) => wanted.references.push(reference.clone()),
            }
        }
        Ok(wanted)
    }

    fn fits(&self, image: &StoredImage, entry: &ImageEntry) -> bool {
        let created = image.created.unwrap_or(i64::MIN);
        let named = self.references.is_empty()
            || entry.reference.as_ref().is_some_and(|name| {
                let (repository, _) = split(name);
                let fits = |wanted: &String| {
                    pattern::fits(wanted, name) || pattern::fits(wanted, &repository)
                };
                self.references.iter().any(fits)
            });
        named
            && self.dangling.is_none_or(|dangling| dangling == image.tags.is_empty())
            && self.labels.iter().all(|label| label.fits(&image.labels))
            && self.before.is_none_or(|before| created < before)
            && self.since.is_none_or(|since| created > since)
    }
}

/// Lists images by each of their names, the last made first.
pub(crate) fn run(session: &Session, host: &Host, args: &LsArgs) -> Result<Exit, Failure> {
    let wanted = Wanted::of(host, args)?;
    let images = host.store().images()?;
    let mut entries = host.store().list()?;
    entries.retain(|entry| {
        let image = images.get(&entry.id);
        let outdated = |image: &StoredImage| image.names().is_empty() && entry.reference.is_some();
        image.is_some_and(|i| (args.all || !outdated(i)) && wanted.fits(i, entry))
    });
    entries.sort_by_key(|entry| Reverse(entry.created));
    let id = |entry: &ImageEntry| match args.no_trunc {
        true => entry.id.clone(),
        false => short(&entry.id),
    };
    if args.quiet {
        let mut told = BTreeSet::new();
        session.ui.list(entries.iter().map(id).filter(|id| told.insert(id.clone())))?;
        return Ok(Exit::Done);
    }
    let rows = rows(host, &images, &entries)?;
    session.ui.rows(&args.format, &rows, || match args.digests {
        true => with_digests(&entries, id),
        false => table(&entries, id),
    })?;
    Ok(Exit::Done)
}

/// An image, with the names that `docker image ls --format json` uses; sizes are bytes.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Row {
    containers: usize,
    created_at: Option<String>,
    digest: String,
    digests: Vec<String>,
    #[serde(rename = "ID")]
    id: String,
    pulled_at: String,
    repository: String,
    size: u64,
    tag: String,
}

impl Listed for Row {
    const ID: &'static str = "IMAGE ID";
}

fn rows(host: &Host, images: &Images, entries: &[ImageEntry]) -> Result<Vec<Row>, Failure> {
    let containers = host.list_containers()?;
    let users = users(&containers);
    let row = |entry: &ImageEntry| {
        let (repository, tag) = names(entry);
        let digests = images.get(&entry.id).map_or(&entry.digests, |image| &image.digests);
        Row {
            containers: users.get(entry.id.as_str()).map_or(0, Vec::len),
            created_at: entry.created.map(moment::rfc3339),
            digest: digest(entry),
            digests: digests.to_vec(),
            id: entry.id.clone(),
            pulled_at: moment::rfc3339(entry.pulled_at),
            repository,
            size: entry.size,
            tag,
        }
    };
    Ok(entries.iter().map(row).collect())
}

fn table(entries: &[ImageEntry], id: impl Fn(&ImageEntry) -> String) -> Table {
    let mut table = Table::new(["REPOSITORY", "TAG", "IMAGE ID", "CREATED", "SIZE"]);
    for entry in entries {
        let (repository, tag) = names(entry);
        table.row([repository, tag, id(entry), created(entry), amount::bytes(entry.size)]);
    }
    table
}

fn with_digests(entries: &[ImageEntry], id: impl Fn(&ImageEntry) -> String) -> Table {
    let mut table = Table::new(["REPOSITORY", "TAG", "DIGEST", "IMAGE ID", "CREATED", "SIZE"]);
    for entry in entries {
        let (repository, tag) = names(entry);
        let size = amount::bytes(entry.size);
        table.row([repository, tag, digest(entry), id(entry), created(entry), size]);
    }
    table
}

fn created(entry: &ImageEntry) -> String {
    let now = Timestamp::now().as_second();
    entry.created.map_or_else(String::new, |at| format!("{} ago", moment::rough(now - at)))
}

/// What the registry calls it.
fn digest(entry: &ImageEntry) -> String {
    let digest = entry.digests.first().and_then(|digest| digest.split_once('@'));
    digest.map_or_else(|| "<none>".to_owned(), |(_, digest)| digest.to_owned())
}

fn names(entry: &ImageEntry) -> (String, String) {
    let reference = entry.reference.as_deref().or(entry.digests.first().map(String::as_str));
    reference.map_or_else(|| ("<none>".into(), "<none>".into()), split)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fits(wanted: &Wanted, tags: &[&str], created: i64) -> bool {
        let image = StoredImage {
            tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
            created: Some(created),
            ..StoredImage::default()
        };
        let entry = ImageEntry {
            id: String::new(),
            reference: tags.first().map(|tag| (*tag).to_owned()),
            digests: vec![],
            size: 0,
            pulled_at: 0,
            created: Some(created),
        };
        wanted.fits(&image, &entry)
    }

    #[test]
    fn an_image_is_listed_when_it_fits_all_filters() {
        let named = |text: &str| Wanted { references: vec![text.into()], ..Wanted::default() };
        assert!(fits(&named("redis"), &["redis:7"], 0));
        assert!(fits(&named("re*:7"), &["redis:7"], 0));
        assert!(!fits(&named("redis:6"), &["redis:7"], 0));
        assert!(!fits(&named("*"), &[], 0));
        let dangling = Wanted { dangling: Some(true), ..Wanted::default() };
        assert!(fits(&dangling, &[], 0) && !fits(&dangling, &["a:1"], 0));
        let between = Wanted { before: Some(10), since: Some(5), ..Wanted::default() };
        assert_eq!(
            [5, 6, 9, 10].map(|at| fits(&between, &["a:1"], at)),
            [false, true, true, false]
        );
    }

    #[test]
    fn what_is_no_filter_is_refused() {
        for text in ["bogus=1", "dangling=maybe", "dangling", "until=x"] {
            assert!(filter(text).is_err(), "{text}");
        }
    }
}
