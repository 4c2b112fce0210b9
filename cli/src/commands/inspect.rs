//! `berth image inspect`.

use berth_planner::images::Images;
use berth_runtime::host::Host;
use berth_runtime::store::Inspected;
use clap::Args;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::image::{find, split};
use crate::failure::{Exit, Failure};
use crate::inspected::{self, Format};
use crate::session::Session;
use crate::values::moment;

/// Arguments of `image inspect`.
#[derive(Debug, Args)]
pub(crate) struct InspectArgs {
    /// Their names, or ids (at least four digits)
    #[arg(required = true)]
    references: Vec<String>,
    #[command(flatten)]
    format: Format,
}

/// An image, with the names that `docker image inspect` uses, in its order.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Row {
    id: String,
    repo_tags: Vec<String>,
    repo_digests: Vec<String>,
    parent: &'static str,
    comment: String,
    created: Option<String>,
    docker_version: String,
    author: String,
    architecture: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    variant: Option<String>,
    os: String,
    size: u64,
    graph_driver: Value,
    #[serde(rename = "RootFS")]
    root_fs: Value,
    metadata: Value,
    config: Value,
}

/// Prints all that is known of images; what is not there is told, and the others are printed.
pub(crate) fn run(session: &Session, host: &Host, args: &InspectArgs) -> Result<Exit, Failure> {
    let printer = args.format.printer()?;
    let images = host.store().images()?;
    let (mut rows, mut causes) = (Vec::new(), Vec::new());
    for text in &args.references {
        match look(host, &images, text) {
            Ok(row) => rows.push(row),
            Err(failure) => causes.push(failure),
        }
    }
    printer.print(session, &rows, fields)?;
    match causes.len() {
        0 => Ok(Exit::Done),
        1 => Err(causes.remove(0)),
        _ => Err(Failure::Unshown(causes.iter().map(ToString::to_string).collect())),
    }
}

/// What a template is filled with: also what Docker has as an empty text there and leaves out when
/// it prints all.
fn fields(row: &Row) -> Result<Value, Failure> {
    let mut value = inspected::value(row)?;
    let put = |map: &mut Value, key: &str| {
        if let Some(map) = map.as_object_mut() {
            map.entry(key).or_insert("".into());
        }
    };
    put(&mut value, "Variant");
    put(&mut value["Config"], "StopSignal");
    Ok(value)
}

fn look(host: &Host, images: &Images, text: &str) -> Result<Row, Failure> {
    let entry = find(host, text)?;
    let inspected = host.store().inspect(&entry.id)?;
    let image = images.get(&entry.id);
    let text_of = |key: &str| inspected.document[key].as_str().unwrap_or_default().to_owned();
    let names = |names: Option<&Vec<String>>| names.cloned().unwrap_or_default();
    let (mut digests, mut tags) =
        (names(image.map(|image| &image.digests)), names(image.map(|image| &image.tags)));
    if tags.is_empty() {
        tags.extend(entry.reference);
    }
    // A name with both is known by its digest.
    for name in tags.extract_if(.., |name| name.contains('@')) {
        if let Some((name, digest)) = name.split_once('@') {
            digests.push(format!("{}@{digest}", split(name).0));
        }
    }
    digests.sort();
    digests.dedup();
    Ok(Row {
        id: entry.id,
        repo_tags: tags,
        repo_digests: digests,
        parent: "",
        comment: comment(&inspected.document),
        created: inspected.document["created"].as_str().map(str::to_owned),
        docker_version: text_of("docker_version"),
        author: text_of("author"),
        architecture: text_of("architecture"),
        variant: inspected.document["variant"].as_str().map(str::to_owned),
        os: text_of("os"),
        size: inspected.size,
        graph_driver: driver(&inspected),
        root_fs: json!({ "Type": "layers", "Layers": inspected.diff_ids }),
        metadata: json!({ "LastTagTime": inspected.named_at.map(moment::rfc3339) }),
        config: config(&inspected.document),
    })
}

/// What was said with the last step of its making.
fn comment(document: &Value) -> String {
    let last = document["history"].as_array().and_then(|steps| steps.last());
    last.and_then(|step| step["comment"].as_str()).unwrap_or_default().to_owned()
}

/// Where its layers are.
fn driver(inspected: &Inspected) -> Value {
    let mut folders: Vec<String> =
        inspected.layers.iter().rev().map(|layer| layer.display().to_string()).collect();
    let top = if folders.is_empty() { String::new() } else { folders.remove(0) };
    let mut data = Map::new();
    if !folders.is_empty() {
        data.insert("LowerDir".into(), folders.join(":").into());
    }
    data.insert("UpperDir".into(), top.into());
    json!({ "Name": "overlay", "Data": data })
}

/// What it says about its containers, with what Docker always shows.
fn config(document: &Value) -> Value {
    let mut config = document["config"].as_object().cloned().unwrap_or_default();
    for (key, nothing) in [
        ("Cmd", Value::Null),
        ("Entrypoint", Value::Null),
        ("Env", Value::Null),
        ("Labels", Value::Null),
        ("OnBuild", Value::Null),
        ("User", "".into()),
        ("Volumes", Value::Null),
        ("WorkingDir", "".into()),
    ] {
        config.entry(key).or_insert(nothing);
    }
    config.sort_keys();
    config.into()
}
