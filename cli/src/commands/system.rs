//! `berth system df|prune`.

use std::collections::BTreeMap;

use berth_planner::images::StoredImage;
use berth_planner::observed::{ObservedContainer, ObservedVolume};
use berth_planner::prune::mounts;
use berth_planner::room::{Found, Room, image_rooms, rooms};
use clap::{Args, Subcommand};
use serde::Serialize;
use serde_json::{Value, json};

use super::image::{short, split};
use super::prune::{self, Seen, SystemPruneArgs};
use crate::args::Format;
use crate::failure::{Exit, Failure};
use crate::session::Session;
use crate::ui::Table;
use crate::values::{amount, moment};
use crate::{flow, rows};

/// The commands about this host as a whole.
#[derive(Debug, Subcommand)]
pub(crate) enum SystemCommand {
    /// Tell what takes room on the disk, and how much of it could be had back
    Df(DfArgs),
    /// Remove what nobody needs: stopped containers, their networks, images without a tag
    Prune(SystemPruneArgs),
}

/// Arguments of `system df`.
#[derive(Debug, Args)]
pub(crate) struct DfArgs {
    /// Each image, container and volume
    #[arg(short, long)]
    verbose: bool,
    /// How to print it
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// A kind of things, with the names that `docker system df --format json` uses; sizes are bytes.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Row {
    r#type: &'static str,
    total_count: usize,
    active: usize,
    size: u64,
    reclaimable: u64,
}

/// Runs one of them.
pub(crate) async fn run(session: &Session, command: &SystemCommand) -> Result<Exit, Failure> {
    match command {
        SystemCommand::Df(args) => df(session, args).await,
        SystemCommand::Prune(args) => prune::system(session, args).await,
    }
}

async fn df(session: &Session, args: &DfArgs) -> Result<Exit, Failure> {
    let host = flow::open_to_look(session)?;
    let seen = Seen::look(&host).await?;
    let found = seen.found();
    match (args.verbose, args.format) {
        (true, Format::Table) => verbose(session, &found)?,
        (true, Format::Json) => session.ui.json(&details(&found))?,
        (false, Format::Table) => session.ui.table(&table(&rooms(&found)))?,
        (false, Format::Json) => {
            let rows: Vec<Row> = rooms(&found).iter().map(row).collect();
            session.ui.json_lines(&rows)?;
        }
    }
    Ok(Exit::Done)
}

fn row(room: &Room) -> Row {
    Row {
        r#type: room.kind,
        total_count: room.total,
        active: room.active,
        size: room.bytes,
        reclaimable: room.reclaimable,
    }
}

fn table(rooms: &[Room]) -> Table {
    let mut table = Table::new(["TYPE", "TOTAL", "ACTIVE", "SIZE", "RECLAIMABLE"]);
    for room in rooms {
        table.row([
            room.kind.to_owned(),
            room.total.to_string(),
            room.active.to_string(),
            amount::bytes(room.bytes),
            reclaimable(room),
        ]);
    }
    let total: u64 = rooms.iter().map(|room| room.bytes).sum();
    let back: u64 = rooms.iter().map(|room| room.reclaimable).sum();
    let (total, back) = (amount::bytes(total), amount::bytes(back));
    table.row(["Total".to_owned(), String::new(), String::new(), total, back]);
    table
}

/// `1.2MB (30%)`; without a share when there is nothing.
fn reclaimable(room: &Room) -> String {
    let bytes = amount::bytes(room.reclaimable);
    match (room.reclaimable * 100).checked_div(room.bytes) {
        Some(share) => format!("{bytes} ({share}%)"),
        None => bytes,
    }
}

/// Each thing in a table of its kind, as `docker system df -v`.
fn verbose(session: &Session, found: &Found<'_>) -> Result<(), Failure> {
    let now = jiff::Timestamp::now().as_second();
    session.ui.data("Images space usage:\n")?;
    session.ui.table(&image_table(found, now))?;
    session.ui.data("\nContainers space usage:\n")?;
    session.ui.table(&container_table(found, now))?;
    session.ui.data("\nLocal Volumes space usage:\n")?;
    let mut volumes = Table::new(["VOLUME NAME", "LINKS", "SIZE"]);
    for (name, links, bytes) in volume_rows(found) {
        volumes.row([name, links.to_string(), amount::bytes(bytes)]);
    }
    session.ui.table(&volumes)?;
    session.ui.data("\nUnfinished work:\n")?;
    let mut unfinished = Table::new(["PLACE", "AT WORK", "SIZE"]);
    for (place, what) in &found.usage.unfinished {
        let busy = if what.busy { "yes" } else { "no" };
        unfinished.row([place.clone(), busy.to_owned(), amount::bytes(what.bytes)]);
    }
    session.ui.table(&unfinished)
}

fn image_table(found: &Found<'_>, now: i64) -> Table {
    let mut table = Table::new([
        "REPOSITORY",
        "TAG",
        "IMAGE ID",
        "CREATED",
        "SIZE",
        "SHARED SIZE",
        "UNIQUE SIZE",
        "CONTAINERS",
    ]);
    let rooms = image_rooms(found);
    for image in found.images.values() {
        let (repository, tag) = shown(image);
        let room = rooms.get(image.id.as_str()).copied().unwrap_or_default();
        let created = image.created.map(|at| format!("{} ago", moment::rough(now - at)));
        table.row([
            repository,
            tag,
            short(&image.id),
            created.unwrap_or_default(),
            amount::bytes(room.shared + room.unique),
            amount::bytes(room.shared),
            amount::bytes(room.unique),
            room.containers.to_string(),
        ]);
    }
    table
}

/// Repository and tag of its first name.
fn shown(image: &StoredImage) -> (String, String) {
    let name = image.tags.first().or(image.digests.first());
    name.map_or_else(|| ("<none>".into(), "<none>".into()), |name| split(name))
}

fn container_table(found: &Found<'_>, now: i64) -> Table {
    let mut table = Table::new([
        "CONTAINER ID",
        "IMAGE",
        "VOLUMES",
        "SIZE",
        "LOGS",
        "CREATED",
        "STATUS",
        "NAMES",
    ]);
    for (name, container) in &found.observed.containers {
        let usage = found.usage.containers.get(name).copied().unwrap_or_default();
        table.row([
            short(&container.id),
            container.record.spec.image.clone(),
            mounts(container, found.observed).count().to_string(),
            amount::bytes(usage.files),
            amount::bytes(usage.logs),
            format!("{} ago", moment::rough(now - container.created_at)),
            rows::state(container).to_owned(),
            name.clone(),
        ]);
    }
    table
}

/// Name, containers that have it, bytes.
fn volume_rows(found: &Found<'_>) -> Vec<(String, usize, u64)> {
    let mut links: BTreeMap<&str, usize> = BTreeMap::new();
    for container in found.observed.containers.values() {
        for volume in mounts(container, found.observed) {
            *links.entry(volume).or_default() += 1;
        }
    }
    let row = |(name, _): (&String, &ObservedVolume)| {
        let bytes = found.usage.volumes.get(name).copied().unwrap_or(0);
        (name.clone(), links.get(name.as_str()).copied().unwrap_or(0), bytes)
    };
    found.observed.volumes.iter().map(row).collect()
}

/// The same for programs.
fn details(found: &Found<'_>) -> Value {
    let rooms = image_rooms(found);
    let image = |image: &StoredImage| {
        let room = rooms.get(image.id.as_str()).copied().unwrap_or_default();
        let (repository, tag) = shown(image);
        json!({
            "ID": image.id, "Repository": repository, "Tag": tag,
            "CreatedAt": image.created.map(moment::rfc3339), "Containers": room.containers,
            "Size": room.shared + room.unique, "SharedSize": room.shared, "UniqueSize": room.unique,
        })
    };
    let container = |(name, container): (&String, &ObservedContainer)| {
        let usage = found.usage.containers.get(name).copied().unwrap_or_default();
        json!({
            "ID": container.id, "Names": name, "Image": container.record.spec.image,
            "LocalVolumes": mounts(container, found.observed).count(), "Size": usage.files,
            "LogSize": usage.logs, "CreatedAt": moment::rfc3339(container.created_at),
            "State": rows::state(container),
        })
    };
    let volume = |(name, links, bytes): (String, usize, u64)| json!({ "Name": name, "Links": links, "Size": bytes });
    let unfinished = found.usage.unfinished.iter();
    json!({
        "Images": found.images.values().map(image).collect::<Vec<_>>(),
        "Containers": found.observed.containers.iter().map(container).collect::<Vec<_>>(),
        "Volumes": volume_rows(found).into_iter().map(volume).collect::<Vec<_>>(),
        "Unfinished": unfinished
            .map(|(place, what)| json!({ "Place": place, "Busy": what.busy, "Size": what.bytes }))
            .collect::<Vec<_>>(),
        "Total": found.usage.total,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_a_share_where_there_is_something() {
        let room =
            |kind, bytes, reclaimable| Room { kind, total: 2, active: 1, bytes, reclaimable };
        let rooms = [room("Images", 3_000_000, 1_000_000), room("Local Volumes", 0, 0)];
        insta::assert_snapshot!(table(&rooms).lines().join("\n"), @r"
        TYPE            TOTAL   ACTIVE   SIZE     RECLAIMABLE
        Images          2       1        3.00MB   1.00MB (33%)
        Local Volumes   2       1        0B       0B
        Total                            3.00MB   1.00MB
        ");
    }
}
