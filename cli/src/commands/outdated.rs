//! `berth outdated`.

use std::collections::{BTreeMap, BTreeSet};

use berth_planner::lock::{self, Names};
use berth_planner::observed::Observed;
use berth_planner::outdated::{Have, Standing, newer};
use berth_runtime::host::Asked;
use berth_runtime::host::Host;
use berth_runtime::store::{ImageEntry, Look, PullOptions, Reference, StoreError};
use berth_schema::lockfile::Lock;
use berth_schema::stack::Stack;
use clap::Args;
use jiff::Timestamp;
use serde::Serialize;

use super::image::short;
use crate::asking::ask_all;
use crate::failure::{Exit, Failure};
use crate::flow;
use crate::form::{Form, Listed};
use crate::locking::{LockFile, here, names};
use crate::project::{containers, unknown_service};
use crate::session::Session;
use crate::ui::{Table, safe};
use crate::values::moment::rough;

/// Arguments of `outdated`.
#[derive(Debug, Args)]
pub(crate) struct OutdatedArgs {
    /// Only the images of these services
    services: Vec<String>,
    /// Also look for newer tags of the same shape (`1.28` for `1.27`)
    #[arg(long)]
    tags: bool,
    /// `table`, `json`, or a template in Go's words: `{{.Service}}`, `table {{.Service}}\t{{.Image}}`
    #[arg(long, value_name = "FORMAT", default_value = "table", hide_default_value = true)]
    format: Form,
    /// End with 2 when an image has moved
    #[arg(long)]
    exit_code: bool,
}

/// The image of a service, and what its registry has.
#[derive(Debug, Serialize)]
struct Row {
    service: String,
    image: String,
    /// Digests of what its containers run, together.
    running: Option<BTreeSet<String>>,
    /// Digest in the lock.
    locked: Option<String>,
    /// Digests of what the store has under the name.
    local: Option<BTreeSet<String>>,
    /// Digest of what the registry has under the name.
    now: Option<String>,
    /// How they stand to each other; nothing when the registry could not be asked.
    standing: Option<Standing>,
    /// When the image that is here was made, in seconds since the epoch.
    created: Option<i64>,
    /// The newest tag of the same shape.
    newer: Option<String>,
    /// Why the registry could not be asked.
    error: Option<String>,
    /// What people are shown of what is here.
    #[serde(skip)]
    shown: Option<String>,
    /// It is built here, so a registry need not have it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    built: bool,
}

impl Listed for Row {}

/// What a registry answered.
struct Answer {
    digest: String,
    newer: Option<String>,
}

/// Tells which images have moved on in their registries.
pub(crate) async fn run(session: &Session, args: &OutdatedArgs) -> Result<Exit, Failure> {
    let stack = chosen(session.all_services()?, &args.services)?;
    let lock = LockFile::of(session, &stack).read()?.unwrap_or_default();
    let names = names(&stack)?;
    let host = flow::open(session)?;
    let observed = host.observe(&Asked::default()).await?;
    let tags = args.tags;
    let asked: BTreeSet<String> = names.values().cloned().collect();
    let answers = ask_all(asked, |name| async move { ask(&name, tags).await }).await;
    let look = Site { host: &host, observed: &observed, stack: &stack, lock: &lock };
    let rows = look.rows(&names, &answers)?;
    session.ui.rows(&args.format, &rows, || table(&rows))?;
    let failed = |built: bool| -> BTreeMap<&str, &str> {
        let of_kind = rows.iter().filter(|row| row.built == built);
        of_kind.filter_map(|row| Some((row.image.as_str(), row.error.as_deref()?))).collect()
    };
    for (image, why) in failed(true) {
        session.ui.note(&safe(&format!(" {image} is built here: {why}")));
    }
    let failed = failed(false);
    if !failed.is_empty() {
        let cause = |(image, why): (&&str, &&str)| format!("image `{image}`: {why}");
        return Err(Failure::Unasked(failed.iter().map(cause).collect()));
    }
    let moved = rows.iter().any(|row| row.standing == Some(Standing::Moved));
    Ok(if args.exit_code && moved { Exit::Changes } else { Exit::Done })
}

/// The stack with these services alone.
fn chosen(mut stack: Stack, services: &[String]) -> Result<Stack, Failure> {
    if let Some(name) = services.iter().find(|name| !stack.services.contains_key(*name)) {
        return Err(unknown_service(name, stack.services.keys().map(String::as_str)));
    }
    if !services.is_empty() {
        stack.services.retain(|name, _| services.contains(name));
    }
    Ok(stack)
}

async fn ask(name: &str, tags: bool) -> Result<Answer, StoreError> {
    let look = Look::at(name, &PullOptions::default()).await?;
    let digest = look.digest().await?;
    let reference = Reference::parse(name)?;
    let newer = match reference.tag().filter(|_| tags) {
        Some(tag) => newer(tag, &look.tags().await?),
        None => None,
    };
    Ok(Answer { digest, newer })
}

/// What there is on this side.
struct Site<'a> {
    host: &'a Host,
    observed: &'a Observed,
    stack: &'a Stack,
    lock: &'a Lock,
}

impl Site<'_> {
    fn rows(
        &self,
        names: &Names,
        answers: &BTreeMap<String, Result<Answer, String>>,
    ) -> Result<Vec<Row>, Failure> {
        let mut rows = Vec::new();
        let needs = lock::needs(self.stack, names, &here());
        for (service, said) in &self.stack.services {
            let Some(image) = &said.image else { continue };
            let Some(name) = names.get(image) else { continue };
            let (have, created) = self.have(service, image, name).map_err(Failure::refused)?;
            let answer = answers.get(name);
            let good = answer.and_then(|answer| answer.as_ref().ok());
            rows.push(Row {
                service: service.clone(),
                image: image.clone(),
                now: good.map(|answer| answer.digest.clone()),
                standing: good.map(|answer| have.standing(&answer.digest)),
                newer: good.and_then(|answer| answer.newer.clone()),
                error: answer.and_then(|answer| answer.as_ref().err().cloned()),
                shown: have.shown(good.map(|answer| answer.digest.as_str())),
                running: (!have.running.is_empty())
                    .then(|| have.running.iter().flatten().cloned().collect()),
                locked: have.locked,
                local: have.local,
                created,
                built: needs.get(name).is_some_and(|need| need.buildable),
            });
        }
        Ok(rows)
    }

    /// What a service has, and when that was made.
    fn have(
        &self,
        service: &str,
        image: &str,
        name: &str,
    ) -> Result<(Have, Option<i64>), StoreError> {
        let store = self.host.store();
        let own = containers(self.observed, &self.stack.name, &[service.to_owned()]);
        let ids: BTreeSet<&str> = own
            .iter()
            .filter(|have| !have.record.oneoff && have.record.spec.image == image)
            .map(|have| have.record.image_id.as_str())
            .collect();
        let running: Result<_, StoreError> = ids.iter().map(|id| store.digests(id, name)).collect();
        let entry = store.resolve(name)?;
        let local = match &entry {
            Some(ImageEntry { id, .. }) => Some(store.digests(id, name)?),
            None => None,
        };
        let made = match ids.first() {
            Some(id) => store.resolve(id)?,
            None => entry,
        };
        let have = Have {
            running: running?,
            locked: self.lock.images.get(name).map(|image| image.digest.clone()),
            local,
        };
        Ok((have, made.and_then(|entry| entry.created)))
    }
}

fn table(rows: &[Row]) -> Table {
    let now = Timestamp::now().as_second();
    let cell = |digest: Option<&String>| digest.map_or("-".to_owned(), |digest| short(digest));
    let newer = rows.iter().any(|row| row.newer.is_some());
    let mut table = Table::new([
        "SERVICE",
        "IMAGE",
        "HAVE",
        "NOW",
        "STATUS",
        "AGE",
        if newer { "NEWER" } else { "" },
    ]);
    for row in rows {
        let status = match row.standing {
            Some(Standing::Current) => "current",
            Some(Standing::Moved) => "moved",
            Some(Standing::Absent) => "not here",
            Some(Standing::Unknown) => "unknown",
            None if row.built => "built here",
            None => "failed",
        };
        table.row([
            row.service.clone(),
            row.image.clone(),
            cell(row.shown.as_ref()),
            cell(row.now.as_ref()),
            status.to_owned(),
            row.created.map_or("-".to_owned(), |made| rough(now - made)),
            row.newer.clone().unwrap_or_default(),
        ]);
    }
    table
}
