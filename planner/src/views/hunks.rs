//! Rows of two descriptions as a unified diff, which other programs colour and read.

use std::fmt::Write;

use super::rows::{Row, Side};

/// Rows shown around what differs.
const AROUND: usize = 3;

/// The hunks, each with the keys around it behind its numbers; nothing when nothing differs.
pub(super) fn hunks(rows: &[Row]) -> String {
    let mut text = String::new();
    let mut at = 0;
    // How many rows of each side come before `at`.
    let mut passed = (0, 0);
    for (first, last) in ranges(rows) {
        count(&rows[at..first], &mut passed);
        let start = passed;
        count(&rows[first..=last], &mut passed);
        at = last + 1;
        let range = |start: usize, end: usize| match end - start {
            // An empty range is named by the row before it.
            0 => format!("{start},0"),
            1 => format!("{}", start + 1),
            rows => format!("{},{rows}", start + 1),
        };
        let (before, after) = (range(start.0, passed.0), range(start.1, passed.1));
        let heading = format!("@@ -{before} +{after} @@ {}", around(rows, first));
        text.push_str(heading.trim_end());
        text.push('\n');
        rows[first..=last].iter().for_each(|row| write(row, &mut text));
    }
    text
}

/// First and last rows of the hunks.
fn ranges(rows: &[Row]) -> Vec<(usize, usize)> {
    let mut ranges: Vec<(usize, usize)> = Vec::new();
    let differ = rows.iter().enumerate().filter(|(_, row)| row.side != Side::Both);
    for (at, _) in differ {
        let (first, last) = (at.saturating_sub(AROUND), (at + AROUND).min(rows.len() - 1));
        match ranges.last_mut() {
            Some(range) if first <= range.1 + 1 => range.1 = last,
            _ => ranges.push((first, last)),
        }
    }
    ranges
}

fn count(rows: &[Row], (before, after): &mut (usize, usize)) {
    for row in rows {
        *before += usize::from(row.side != Side::After);
        *after += usize::from(row.side != Side::Before);
    }
}

/// The keys around a row: `networks.shop_back`.
fn around(rows: &[Row], at: usize) -> String {
    let mut depth = rows[at].depth;
    let mut keys = Vec::new();
    for row in rows[..at].iter().rev() {
        if row.depth < depth {
            depth = row.depth;
            keys.push(row.text.trim_end_matches(':'));
        }
    }
    keys.reverse();
    keys.join(".")
}

fn write(row: &Row, text: &mut String) {
    let sign = match row.side {
        Side::Both => ' ',
        Side::Before => '-',
        Side::After => '+',
    };
    let _ = write!(text, "{sign}{}{}", "  ".repeat(row.depth), row.text);
    if let Some(place) = &row.place {
        let _ = write!(text, "  # {place}");
    }
    text.push('\n');
}
