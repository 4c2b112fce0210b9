//! Graphs read back from the text that was drawn.

use std::collections::BTreeSet;

/// What a drawing says: labels of its boxes, and its arrows, each with whether it is dashed.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Read {
    pub labels: Vec<String>,
    pub arrows: BTreeSet<(usize, usize, bool)>,
}

impl Read {
    fn node(&mut self, key: &str, label: String) {
        assert_eq!(key, format!("n{}", self.labels.len()), "boxes have their order");
        self.labels.push(label);
    }

    fn arrow(&mut self, from: &str, to: &str, dashed: bool) {
        let number = |key: &str| key.strip_prefix('n').unwrap().parse::<usize>().unwrap();
        let (from, to) = (number(from), number(to));
        assert!(from.max(to) < self.labels.len(), "arrows lead between boxes");
        assert!(self.arrows.insert((from, to, dashed)), "an arrow is drawn once");
    }
}

/// A text in the language of Graphviz.
pub fn dot(text: &str) -> Read {
    let mut read = Read::default();
    let lines = text.lines().filter(|line| !line.starts_with("//"));
    let lines: Vec<&str> = lines.collect();
    let [first, _, _, body @ .., last] = lines.as_slice() else { panic!("no graph:\n{text}") };
    assert_eq!((*first, *last), ("digraph {", "}"));
    for line in body {
        let line = line.trim().strip_suffix(';').expect("a statement has an end");
        match line.split_once(" -> ") {
            Some((from, rest)) if !from.contains('[') => {
                let (to, how) = rest.split_once(" [").unwrap_or((rest, ""));
                read.arrow(from, to, how.contains("style=dashed"));
            }
            _ => {
                let (key, rest) = line.split_once(" [label=\"").unwrap();
                let mut label = String::new();
                let mut chars = rest.chars();
                loop {
                    match chars.next().expect("a label has an end") {
                        '\\' => label.extend(chars.next()),
                        '"' => break,
                        c => label.push(c),
                    }
                }
                read.node(key, label.replace("&amp;", "&"));
            }
        }
    }
    read
}

/// A text in the language of Mermaid.
pub fn mermaid(text: &str) -> Read {
    let mut read = Read::default();
    let mut lines = text.lines().filter(|line| !line.starts_with("%%"));
    assert_eq!(lines.next(), Some("flowchart LR"));
    for line in lines {
        let words: Vec<&str> = line.trim().splitn(3, ' ').collect();
        match words.as_slice() {
            [from, how, to] if how.starts_with("--") || how.starts_with("-.") => {
                read.arrow(from, to, how.starts_with("-."));
            }
            _ => {
                let (key, rest) = line.trim().split_once("[\"").unwrap();
                read.node(key, decoded(rest.strip_suffix("\"]").unwrap()));
            }
        }
    }
    read
}

/// Text with `#CODE;` read.
fn decoded(text: &str) -> String {
    let mut parts = text.split('#');
    let mut whole = parts.next().unwrap().to_owned();
    for part in parts {
        let (code, rest) = part.split_once(';').unwrap();
        whole.push(char::from_u32(code.parse().unwrap()).unwrap());
        whole.push_str(rest);
    }
    whole
}
