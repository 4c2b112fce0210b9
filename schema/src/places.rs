//! Where each value of the completed tree was written.

use crate::decode::mounts;
use crate::stack::{Place, Places};
use crate::text::Files;
use crate::trail::Trail;
use crate::tree::{Node, Value};

/// The place of every value, in the order of the tree.
pub(crate) fn places(tree: &Node, files: &Files) -> Places {
    let mut list = Vec::new();
    record_places(tree, &mut Trail::default(), files, &mut list);
    // Nearly sorted already, so the map is built in one go.
    Places(list.into_iter().collect())
}

fn record_places(node: &Node, path: &mut Trail, files: &Files, list: &mut Vec<(String, Place)>) {
    match &node.value {
        Value::Map(map) => {
            for (name, entry) in map.0.iter().filter(|(name, _)| !name.starts_with('\0')) {
                let inner =
                    matches!(entry.node.value, Value::Map(_) | Value::List(_) | Value::Null);
                let span = if inner { entry.key } else { entry.node.span };
                path.below(name, |path| {
                    list.extend(files.place(span).map(|place| (path.as_str().to_owned(), place)));
                    record_places(&entry.node, path, files, list);
                });
            }
        }
        Value::List(items) => {
            let order: Vec<&Node> = if path.as_str().ends_with(".volumes") {
                mounts(items)
            } else {
                items.iter().collect()
            };
            for (index, item) in order.into_iter().enumerate() {
                path.item(index, |path| {
                    let place = files.place(item.span);
                    list.extend(place.map(|place| (path.as_str().to_owned(), place)));
                    record_places(item, path, files, list);
                });
            }
        }
        Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Text(_) => {}
    }
}
