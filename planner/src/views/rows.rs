//! Two descriptions side by side as rows of text like YAML, each one's own or both's.

use berth_schema::stack::{Place, Places};
use serde_json::Value;

use crate::diff;
use crate::hidden::{self, HIDDEN};

/// Whose a row is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Both,
    Before,
    After,
}

/// A row of the text.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) side: Side,
    /// How many keys are around it.
    pub(super) depth: usize,
    /// Key and value.
    pub(super) text: String,
    /// Where the file has what differs.
    pub(super) place: Option<Place>,
}

/// Where a description is in the files.
#[derive(Debug, Clone, Copy)]
pub(super) struct Source<'a> {
    /// Its path: `services.web`.
    pub(super) root: Option<&'a str>,
    pub(super) places: &'a Places,
}

/// The rows of two descriptions, one of which may not be there.
pub(super) fn rows(before: Option<&Value>, after: Option<&Value>, source: Source) -> Vec<Row> {
    let whole = before.is_none() || after.is_none();
    let mut writer = Writer { source, whole, gone: false, rows: Vec::new() };
    let nothing = Value::Object(serde_json::Map::new());
    writer.fields("", (before.unwrap_or(&nothing), after.unwrap_or(&nothing)), 0);
    writer.rows
}

struct Writer<'a> {
    source: Source<'a>,
    /// One of the descriptions is not there.
    whole: bool,
    /// Nothing stands in place of what was.
    gone: bool,
    rows: Vec<Row>,
}

impl Writer<'_> {
    /// What is below a value of each side.
    fn fields(&mut self, path: &str, (before, after): (&Value, &Value), depth: usize) {
        let (Some(old), Some(new)) = (before.as_object(), after.as_object()) else { return };
        let mut keys: Vec<&String> = old.keys().chain(new.keys()).collect();
        keys.sort();
        keys.dedup();
        for key in keys {
            let below = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            self.field(&below, key, (old.get(key), new.get(key)), depth);
        }
    }

    fn field(
        &mut self,
        path: &str,
        key: &str,
        sides: (Option<&Value>, Option<&Value>),
        depth: usize,
    ) {
        match sides {
            (Some(before), Some(after)) if before == after => {
                self.one(Side::Both, path, (key, before), depth);
            }
            (Some(before @ Value::Object(_)), Some(after @ Value::Object(_))) => {
                self.row(Side::Both, path, format!("{}:", name(key)), depth);
                self.fields(path, (before, after), depth + 1);
            }
            (Some(Value::Array(before)), Some(Value::Array(after)))
                if !hidden::is_sensitive((path, key), sides.0, sides.1) =>
            {
                self.row(Side::Both, path, format!("{}:", name(key)), depth);
                self.items(path, before, after, depth + 1);
            }
            (before, after) => self.both(path, key, (before, after), depth),
        }
    }

    /// A field whose values have nothing in common.
    fn both(
        &mut self,
        path: &str,
        key: &str,
        sides: (Option<&Value>, Option<&Value>),
        depth: usize,
    ) {
        let sensitive = hidden::is_sensitive((path, key), sides.0, sides.1);
        self.gone = !self.whole && sides.1.is_none_or(Value::is_null);
        for (side, value) in [(Side::Before, sides.0), (Side::After, sides.1)] {
            let Some(value) = value.filter(|value| !value.is_null() || is_variable(path)) else {
                continue;
            };
            match sensitive && !value.is_null() && !self.whole {
                true => self.row(side, path, format!("{}: {HIDDEN}", name(key)), depth),
                // Beside another value also what says nothing tells something.
                false if !self.whole && !is_tree(value) => {
                    self.leaf(side, path, (key, value), depth);
                }
                false => self.one(side, path, (key, value), depth),
            }
        }
    }

    /// A field of one side, or the same on both. What says nothing is left out.
    fn one(&mut self, side: Side, path: &str, (key, value): (&str, &Value), depth: usize) {
        if !(diff::says(value) || value.is_null() && is_variable(path)) {
            return;
        }
        match value {
            value if !value.is_object() && hidden::is_sensitive((path, key), Some(value), None) => {
                self.row(side, path, format!("{}: {HIDDEN}", name(key)), depth);
            }
            Value::Object(fields) => {
                let heading = self.rows.len();
                self.row(side, path, format!("{}:", name(key)), depth);
                for (below, value) in fields {
                    self.one(side, &format!("{path}.{below}"), (below, value), depth + 1);
                }
                if self.rows.len() == heading + 1 {
                    // That it is there is all there is to say; limits always are.
                    self.rows.truncate(heading);
                    if path != "limits" {
                        self.row(side, path, format!("{}: {{}}", name(key)), depth);
                    }
                }
            }
            Value::Array(items) => {
                self.row(side, path, format!("{}:", name(key)), depth);
                for item in items {
                    self.row(side, path, format!("- {item}"), depth + 1);
                }
            }
            value => self.leaf(side, path, (key, value), depth),
        }
    }

    fn leaf(&mut self, side: Side, path: &str, (key, value): (&str, &Value), depth: usize) {
        let shown = diff::shown(path, Some(value), false).unwrap_or_else(|| "null".to_owned());
        self.row(side, path, format!("{}: {shown}", name(key)), depth);
    }

    /// Items of two lists: what both begin and end with is theirs together.
    fn items(&mut self, path: &str, before: &[Value], after: &[Value], depth: usize) {
        let first = before.iter().zip(after).take_while(|(old, new)| old == new).count();
        let (old, new) = (&before[first..], &after[first..]);
        let last = old.iter().rev().zip(new.iter().rev()).take_while(|(old, new)| old == new);
        let last = last.count();
        self.gone = new.len() == last;
        let parts = [
            (Side::Both, &before[..first]),
            (Side::Before, &old[..old.len() - last]),
            (Side::After, &new[..new.len() - last]),
            (Side::Both, &old[old.len() - last..]),
        ];
        for (side, items) in parts {
            items.iter().for_each(|item| self.row(side, path, format!("- {item}"), depth));
        }
    }

    fn row(&mut self, side: Side, path: &str, text: String, depth: usize) {
        let told = side == Side::After || side == Side::Before && self.gone;
        let place = self.source.root.filter(|_| told).and_then(|root| match self.whole {
            true => diff::exact_place(root, path, self.source.places),
            false => diff::place(root, path, self.source.places),
        });
        // A value in one place, as of a list, has it at its first row.
        let last = self.rows.iter().rev().find_map(|row| row.place.as_ref());
        let place = place.filter(|place| last != Some(place));
        self.rows.push(Row { side, depth, text, place });
    }
}

/// A variable without a value is there; a field that is `null` is not.
fn is_variable(path: &str) -> bool {
    path.starts_with("environment.")
}

fn is_tree(value: &Value) -> bool {
    value.is_object() || value.is_array()
}

/// A key as YAML has it.
fn name(key: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./@".contains(c);
    match key.chars().all(plain) && !key.is_empty() {
        true => key.to_owned(),
        false => Value::from(key).to_string(),
    }
}
