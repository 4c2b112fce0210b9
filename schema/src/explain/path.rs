//! From the words of a path to the value they mean.

use super::layers::Step;
use super::{Unexplained, rules};
use crate::project::Model;
use crate::tree::{Node, Value};
use crate::value;

/// The value that `path` means and its whole path. No value for an attribute that is not set, and
/// for what is `written` in a file and not in the model.
pub(crate) fn find<'m>(
    model: &'m Model,
    path: &str,
    written: impl Fn(&[Step]) -> bool,
) -> Result<(Vec<Step>, Option<&'m Node>), Unexplained> {
    let mut steps = Vec::new();
    let mut node: &Node = &model.tree;
    let mut rest = path.trim_start_matches('.');
    if let Some(services) = service(model, rest) {
        steps.push(Step::Key("services".into()));
        node = services;
    }
    while !rest.is_empty() {
        let Some((step, next, left)) = descend(&steps, node, rest) else {
            let words = rest.split(['.', '[', ']']).filter(|word| !word.is_empty());
            let words: Vec<String> = words.map(str::to_owned).collect();
            let mut further = steps.clone();
            further.extend(words.iter().cloned().map(Step::Key));
            let word = words.first().map_or("", String::as_str);
            if shown(&steps) == "services" && model.inactive.iter().any(|name| name == word) {
                return Err(mistake(model, &steps, node, word));
            }
            let possible = rules::names(&steps).contains(&word) && rules::known(&further).is_some();
            return match possible || written(&further) {
                true => Ok((further, None)),
                false => Err(mistake(model, &steps, node, word)),
            };
        };
        steps.push(step);
        (node, rest) = (next, left);
    }
    Ok((steps, Some(node)))
}

/// The services, if the path starts with the name of one and with no section of the file.
fn service<'m>(model: &'m Model, path: &str) -> Option<&'m Node> {
    if take_key(&model.tree, path).is_some() {
        return None;
    }
    let first = path.split(['.', '[']).next().unwrap_or_default();
    let is_section = rules::names(&[]).contains(&first) && first != path;
    let services = model.tree.get("services");
    services.filter(|_| !is_section)
}

fn descend<'n, 'p>(
    steps: &[Step],
    node: &'n Node,
    rest: &'p str,
) -> Option<(Step, &'n Node, &'p str)> {
    match &node.value {
        Value::Map(_) => {
            take_key(node, rest).map(|(name, node, left)| (Step::Key(name.to_owned()), node, left))
        }
        Value::List(items) => take_item(steps, items, rest),
        _ => None,
    }
}

/// The longest key of the map that `path` starts with: names may hold dots.
fn take_key<'n, 'p>(node: &'n Node, path: &'p str) -> Option<(&'n str, &'n Node, &'p str)> {
    let fits = |name: &str| {
        let quoted = path.strip_prefix('[').and_then(|path| path.strip_prefix(name));
        match quoted.and_then(|left| left.strip_prefix(']')) {
            Some(left) => Some(left),
            None => path.strip_prefix(name),
        }
        .filter(|left| left.is_empty() || left.starts_with(['.', '[']))
        .map(|left| left.strip_prefix('.').unwrap_or(left))
    };
    let map = node.as_map()?;
    map.iter()
        .filter(|(name, _)| !name.starts_with('\0'))
        .filter_map(|(name, node)| Some((name, node, fits(name)?)))
        .max_by_key(|(name, ..)| name.len())
}

fn take_item<'n, 'p>(
    steps: &[Step],
    items: &'n [Node],
    path: &'p str,
) -> Option<(Step, &'n Node, &'p str)> {
    let (word, left) = match path.strip_prefix('[') {
        Some(inside) => inside.split_once(']')?,
        None => path.split_at(path.find(['.', '[']).unwrap_or(path.len())),
    };
    let left = left.strip_prefix('.').unwrap_or(left);
    let numbered = word.parse().ok().filter(|at: &usize| *at < items.len());
    let index = numbered.or_else(|| items.iter().position(|item| is_called(item, word)))?;
    Some((item(steps, index, &items[index]), &items[index], left))
}

/// Whether people would call an entry of a list so.
fn is_called(item: &Node, word: &str) -> bool {
    let is = |node: &Node| crate::walk::loose(&node.value).as_deref() == Some(word);
    let of = |name| item.get(name).is_some_and(is);
    is(item) || ["target", "published", "source", "path"].into_iter().any(of)
}

fn item(steps: &[Step], index: usize, node: &Node) -> Step {
    let key_of = rules::known(steps).and_then(|known| known.key_of());
    let none: fn(&Node) -> Option<String> = |_| None;
    let key_of = key_of.unwrap_or(none);
    Step::Item { index, span: node.span, key: key_of(node), key_of }
}

/// Paths and values right below a value.
pub(crate) fn children<'n>(steps: &[Step], node: &'n Node) -> Vec<(Vec<Step>, &'n Node)> {
    let below = |step| steps.iter().cloned().chain([step]).collect();
    match &node.value {
        Value::Map(map) => map
            .iter()
            .filter(|(name, _)| !name.starts_with('\0'))
            .map(|(name, node)| (below(Step::Key(name.to_owned())), node))
            .collect(),
        Value::List(items) => items
            .iter()
            .enumerate()
            .map(|(index, node)| (below(item(steps, index, node)), node))
            .collect(),
        _ => Vec::new(),
    }
}

/// `services.web.ports[0].target`.
pub(crate) fn shown(steps: &[Step]) -> String {
    let mut path = String::new();
    for step in steps {
        match step {
            Step::Key(name) if path.is_empty() => path.push_str(name),
            Step::Key(name) => {
                path.push('.');
                path.push_str(name);
            }
            Step::Item { index, .. } => path += &format!("[{index}]"),
        }
    }
    path
}

/// Why there is no such value, with the next move.
fn mistake(model: &Model, steps: &[Step], node: &Node, word: &str) -> Unexplained {
    let here = names(node);
    let off = model.inactive.iter().any(|name| name == word);
    let all = match here.len() {
        1..20 => Some(format!("there are {}", here.join(", "))),
        _ => None,
    };
    let near = value::nearest(word, here.iter().copied().chain(rules::names(steps)));
    let near = near.map(|near| format!("did you mean `{near}`?"));
    let around = shown(steps);
    let (message, help) = match &node.value {
        _ if around == "services" && off => (
            format!("service `{word}` is switched off by its profiles"),
            Some("switch it on with `--profile`".to_owned()),
        ),
        _ if around == "services" => (format!("no such service: `{word}`"), near.or(all)),
        _ if around.is_empty() => (format!("the files have no `{word}`"), near.or(all)),
        Value::List(items) => {
            let help = match items.len() {
                0 => "the list is empty".to_owned(),
                1 => "it has one entry: [0]".to_owned(),
                many => format!("it has the entries [0] to [{}]", many - 1),
            };
            (format!("`{around}` has no entry `{word}`"), Some(help))
        }
        Value::Map(_) => (format!("`{around}` has no `{word}`"), near.or(all)),
        _ => (format!("`{around}` has nothing below it"), None),
    };
    Unexplained::Path { message, help }
}

fn names(node: &Node) -> Vec<&str> {
    let names = node.as_map().into_iter().flat_map(|map| map.iter()).map(|(name, _)| name);
    names.filter(|name| !name.starts_with('\0')).collect()
}
