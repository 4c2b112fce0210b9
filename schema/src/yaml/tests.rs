//! What a text becomes, value by value.

use super::*;

fn read(text: &str) -> (Vec<Node>, Vec<Finding>) {
    let mut files = Files::default();
    let file = files.add("a.yaml".into(), text);
    let mut found = Vec::new();
    let nodes = parse(&files, file, &mut found);
    (nodes, found)
}

#[test]
fn values_know_their_bytes() {
    let text = "a:\n  b: [x, 'yé', {c: 1}]\nz: 2\n";
    let (documents, found) = read(text);
    assert!(found.is_empty(), "{found:?}");
    let slice = |node: &Node| &text[node.span.start as usize..node.span.end as usize];
    let list = documents[0].at(&["a", "b"]).unwrap();
    assert_eq!(slice(list), "[x, 'yé', {c: 1}]");
    assert_eq!(slice(&list.items()[1]), "'yé'");
    assert_eq!(slice(list.items()[2].get("c").unwrap()), "1");
    assert_eq!(slice(documents[0].get("a").unwrap()), "b: [x, 'yé', {c: 1}]");
}

#[test]
fn local_keys_win_over_merged_ones_and_the_first_map_wins() {
    let (documents, found) =
        read("a: &a {k: 1, l: 1}\nb: &b {k: 2, m: 2}\nc: {<<: [*a, *b], l: 3}\n");
    assert!(found.is_empty());
    let c = documents[0].get("c").unwrap();
    let int = |name| c.get(name).map(|node| node.value.clone());
    assert_eq!(int("k"), Some(Value::Int(1)));
    assert_eq!(int("l"), Some(Value::Int(3)));
    assert_eq!(int("m"), Some(Value::Int(2)));
}

#[test]
fn an_alias_bomb_stops_at_the_limit() {
    let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x]\n");
    for level in 1..10 {
        let items = vec![format!("*a{}", level - 1); 9].join(", ");
        text += &format!("a{level}: &a{level} [{items}]\n");
    }
    let (_, found) = read(&text);
    assert_eq!(found.len(), 1);
}

#[test]
fn deep_nesting_by_aliases_stops_at_the_limit() {
    let mut text = format!("a0: &a0 {}x{}\n", "[".repeat(100), "]".repeat(100));
    for level in 1..10 {
        let (open, close) = ("[".repeat(100), "]".repeat(100));
        text += &format!("a{level}: &a{level} {open}*a{}{close}\n", level - 1);
    }
    let (_, found) = read(&text);
    assert_eq!(found.len(), 1);
}

#[test]
fn an_anchor_inside_itself_is_a_problem_and_no_loop() {
    let (_, found) = read("a: &a {b: *a}\n");
    assert_eq!(found.len(), 1);
}

#[test]
fn several_documents_are_kept_apart() {
    let (documents, found) = read("a: 1\n---\nb: 2\n");
    assert!(found.is_empty());
    assert_eq!(documents.len(), 2);
}

/// Each value of a map as its text, by name.
fn texts(text: &str) -> String {
    let (documents, found) = read(text);
    assert!(!found.iter().any(Finding::is_error), "{found:?}");
    let map = documents[0].as_map().unwrap();
    map.iter().map(|(name, node)| format!("{name}={:?} ", node.value)).collect()
}

#[test]
fn what_other_parsers_take_is_taken() {
    assert_eq!(texts("a: \"x\"#c\nb: y#c\n"), "a=Text(\"x\") b=Text(\"y#c\") ");
    assert_eq!(texts("a: |#c\n  x\nb: [y]#c\n").split(' ').next(), Some("a=Text(\"x\\n\")"));
    assert_eq!(texts("a: \"x\ny\n\n  z\"\n"), "a=Text(\"x y\\nz\") ");
    assert_eq!(texts("a: 'it''s\n\tso'\n"), "a=Text(\"it's so\") ");
    assert_eq!(texts("a: &x k\n*x: v\n"), "a=Text(\"k\") k=Text(\"v\") ");
}

#[test]
fn places_behind_such_a_text_are_right() {
    let text = "a: \"x\"#c\nb: \"y\n z\"\nc: d\n";
    let (documents, _) = read(text);
    let slice = |name| {
        let span = documents[0].get(name).unwrap().span;
        &text[span.start as usize..span.end as usize]
    };
    assert_eq!((slice("a"), slice("b"), slice("c")), ("\"x\"", "\"y\n z\"", "d"));
}

#[test]
fn a_quote_that_is_left_open_is_not_closed_by_the_next_one() {
    let (_, found) = read("a:\n  b: \"x\n  c: \"y\"\n");
    assert_eq!(found.len(), 1);
    assert!(format!("{found:?}").contains("this quote is never closed"), "{found:?}");
}

#[test]
fn unknown_tags_make_text_and_a_reset_map_is_not_merged() {
    assert_eq!(texts("a: !foo 1\nb: !foo\nc: 1\n"), "a=Text(\"1\") b=Text(\"\") c=Int(1) ");
    let (documents, _) = read("a: {<<: !reset {b: 1}, c: 2}\n");
    assert_eq!(documents[0].get("a").unwrap().as_map().unwrap().0.len(), 1);
}
