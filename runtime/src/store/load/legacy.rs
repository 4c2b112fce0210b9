//! Archives of a Docker before 1.10: a folder for each layer, each with its parent and its config.
//!
//! ```text
//! repositories             {"busybox": {"1": "HEX"}}
//! HEX/{VERSION,json,layer.tar}
//! ```
//!
//! Such an image has no config document of its own, so one is written from the top layer's, with
//! the digests of the layers as they are.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufReader};

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::super::digest::{Digest, HashingWriter};
use super::super::document::{self, Descriptor, Manifest};
use super::super::reference::Reference;
use super::super::{StoreError, plain};
use super::archive::Archive;
use super::{Planned, describe_layer, parse_config};

const MAX_LAYERS: usize = 500;
/// What a layer's `json` has of its own, and an image has not (Docker Image Specification v1).
const OF_THE_LAYER: [&str; 8] =
    ["id", "parent", "parent_id", "layer_id", "Size", "throwaway", "container", "container_config"];

type Repositories = BTreeMap<String, BTreeMap<String, String>>;

/// A layer's `json`, as far as it is needed beside the whole.
#[derive(Deserialize)]
struct LayerJson {
    parent: Option<String>,
    created: Option<String>,
    author: Option<String>,
    comment: Option<String>,
    container_config: Option<ContainerConfig>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ContainerConfig {
    cmd: Option<Vec<String>>,
}

/// Every image that `repositories` names.
pub(super) fn plan(archive: &Archive) -> Result<Vec<Planned>, StoreError> {
    let bytes = archive.read("repositories", document::MAX_MANIFEST)?;
    let repositories: Repositories = parse(archive, "repositories", &bytes)?;
    let mut images: BTreeMap<String, BTreeSet<Reference>> = BTreeMap::new();
    for (repository, tags) in repositories {
        for (tag, top) in tags {
            let name = Reference::parse(&format!("{repository}:{tag}"))?;
            images.entry(top).or_default().insert(name);
        }
    }
    images.into_iter().map(|(top, names)| image(archive, &top, names)).collect()
}

fn image(archive: &Archive, top: &str, names: BTreeSet<Reference>) -> Result<Planned, StoreError> {
    let (mut layers, mut paths, mut diff_ids, mut history) = (vec![], vec![], vec![], vec![]);
    let chain = chain(archive, top)?;
    for (id, json) in chain.iter().rev() {
        let path = format!("{id}/layer.tar");
        let diff_id = diff_id(archive, &path)?;
        layers.push(describe_layer(archive, &path, &diff_id)?);
        paths.push(path);
        diff_ids.push(diff_id);
        history.push(history_entry(json));
    }
    let config_bytes = config(archive, top, &diff_ids, &history)?;
    let config = parse_config(&config_bytes)?;
    let descriptor = Descriptor {
        media_type: document::OCI_CONFIG.into(),
        digest: Digest::of(&config_bytes),
        size: config_bytes.len() as u64,
        platform: None,
        annotations: None,
    };
    let manifest = Manifest { config: descriptor, layers };
    let manifest_bytes = manifest.to_json().into_bytes();
    Ok(Planned { manifest_bytes, manifest, config_bytes, config, paths, names })
}

/// The layers from the top one down to the one without a parent.
fn chain(archive: &Archive, top: &str) -> Result<Vec<(String, LayerJson)>, StoreError> {
    let mut chain = Vec::new();
    let mut next = Some(top.to_owned());
    while let Some(id) = next {
        if chain.len() == MAX_LAYERS {
            return Err(archive.problem("an image in it has more than 500 layers, or goes round"));
        }
        let name = format!("{id}/json");
        let bytes = archive.read(&name, document::MAX_CONFIG)?;
        let json: LayerJson = parse(archive, &name, &bytes)?;
        next = json.parent.clone().filter(|parent| !parent.is_empty());
        chain.push((id, json));
    }
    Ok(chain)
}

/// The digest of the layer without its compression.
fn diff_id(archive: &Archive, path: &str) -> Result<Digest, StoreError> {
    let mut hashing = HashingWriter::new(io::sink());
    let content = BufReader::new(archive.content(path)?.0);
    plain::copy_plain(content, &mut hashing).map_err(|e| archive.problem(&e.to_string()))?;
    Ok(hashing.finish().0)
}

fn history_entry(json: &LayerJson) -> Value {
    let command = json.container_config.as_ref().and_then(|config| config.cmd.as_ref());
    let mut entry = Map::new();
    for (key, text) in [
        ("created", json.created.clone()),
        ("author", json.author.clone()),
        ("created_by", command.map(|words| words.join(" "))),
        ("comment", json.comment.clone()),
    ] {
        if let Some(text) = text.filter(|text| !text.is_empty()) {
            entry.insert(key.to_owned(), text.into());
        }
    }
    entry.into()
}

fn config(
    archive: &Archive,
    top: &str,
    diff_ids: &[Digest],
    history: &[Value],
) -> Result<Vec<u8>, StoreError> {
    let name = format!("{top}/json");
    let bytes = archive.read(&name, document::MAX_CONFIG)?;
    let mut document: Map<String, Value> = parse(archive, &name, &bytes)?;
    document.retain(|key, _| !OF_THE_LAYER.contains(&key.as_str()));
    document.insert("rootfs".into(), json!({ "type": "layers", "diff_ids": diff_ids }));
    document.insert("history".into(), history.into());
    Ok(Value::from(document).to_string().into_bytes())
}

fn parse<'a, T: Deserialize<'a>>(
    archive: &Archive,
    name: &str,
    bytes: &'a [u8],
) -> Result<T, StoreError> {
    serde_json::from_slice(bytes)
        .map_err(|e| archive.problem(&format!("its `{}` is not valid: {e}", name.escape_debug())))
}

#[cfg(test)]
mod tests {
    use super::super::super::Store;
    use super::super::super::test_images::{Archive as Written, Scratch, gzip};

    fn archive(bottom: &[u8], top_parent: &str) -> Vec<u8> {
        let layer = Written::default().file("file", "top").end();
        let json = |text: String| text.into_bytes();
        let member = |archive: Written, name: &str, content: &[u8]| {
            archive.member(name, b'0', "", 0o644, content)
        };
        let mut archive = Written::default();
        for (id, parent, layer) in [("aa", "", bottom), ("bb", top_parent, layer.as_slice())] {
            let about = json(format!(
                r#"{{"id":"{id}","parent":"{parent}","created":"2015-01-02T03:04:05Z","architecture":"amd64",
                "os":"linux","config":{{"Cmd":["/run"]}},"container_config":{{"Cmd":["sh","-c","{id}"]}}}}"#
            ));
            archive = member(archive, &format!("{id}/VERSION"), b"1.0");
            archive = member(archive, &format!("{id}/json"), &about);
            archive = member(archive, &format!("{id}/layer.tar"), layer);
        }
        member(archive, "repositories", br#"{"old":{"1":"bb","2":"bb"}}"#).end()
    }

    #[test]
    fn an_archive_of_an_old_docker_is_loaded_with_its_layers_and_names() {
        let bottom = Written::default().file("file", "bottom").file("below", "below").end();
        for bottom in [bottom.clone(), gzip(&bottom)] {
            let scratch = Scratch::new("legacy");
            let store = Store::open(scratch.path());
            let loaded = store.load_stream(archive(&bottom, "aa").as_slice()).unwrap();
            assert_eq!(loaded[0].references, ["old:1", "old:2"]);
            let layers = store.layers(&loaded[0].id).unwrap();
            assert_eq!(std::fs::read_to_string(layers[0].join("file")).unwrap(), "top");
            assert_eq!(std::fs::read_to_string(layers[1].join("below")).unwrap(), "below");
            let config = store.config(&loaded[0].id).unwrap();
            assert_eq!((config.cmd, config.os.as_str()), (Some(vec!["/run".to_owned()]), "linux"));
        }
    }

    #[test]
    fn layers_that_are_their_own_parents_are_refused() {
        let scratch = Scratch::new("legacy");
        let store = Store::open(scratch.path());
        let refused = store.load_stream(archive(&Written::default().end(), "bb").as_slice());
        assert!(refused.unwrap_err().to_string().contains("goes round"));
        assert_eq!(store.list().unwrap(), []);
    }
}
