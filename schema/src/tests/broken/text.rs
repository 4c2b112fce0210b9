//! What is no Compose file, or no YAML at all.

use insta::assert_snapshot;

use crate::tests::{brief, problems, report};

#[test]
fn not_yaml_at_all() {
    let text = "\
services:
  web:
    image: \"nginx
    ports: [80
";
    assert_snapshot!(problems(text), @r#"
    compose.yaml:3:12 berth::syntax
      this quote is never closed
      → close it with `"`
    "#);
}

#[test]
fn tabs_are_explained() {
    let text = "\
services:
\tweb:
\t\timage: nginx
";
    assert_snapshot!(problems(text), @r"
    compose.yaml:2:1 berth::syntax
      a tab stands in the indentation, and YAML allows spaces only
      → put spaces in the place of every tab; two for each level are usual
    ");
}

#[test]
fn an_empty_file_is_an_error() {
    let text = "\
# nothing
";
    assert_snapshot!(problems(text), @r#"
    compose.yaml:1:1 berth::wrong_type
      the Compose file is empty
      → start with `services:` and the services below it
    "#);
}

#[test]
fn a_list_is_no_compose_file() {
    let text = "\
- services
";
    assert_snapshot!(problems(text), @r#"
    compose.yaml:1:3 berth::wrong_type
      a Compose file is a map, and this is a list
      → start with `services:` and the services below it
    "#);
}

#[test]
fn a_space_in_a_port_makes_a_map_of_it() {
    let text = "\
services:
  web:
    image: nginx
    ports:
      - 8080: 80
      - 9000: \"90\" # the other
      - 127.0.0.1:70: 7
      - {7: 8, 1: 2}
";
    assert_snapshot!(problems(text), @r#"
    compose.yaml:5:9 berth::unknown_key
      `services.web.ports.0`: a port has no attribute `8080`
      → take the space behind the colon away: `- "8080:80"`
    compose.yaml:6:9 berth::unknown_key
      `services.web.ports.1`: a port has no attribute `9000`
      → take the space behind the colon away: `- "9000:90"`
    compose.yaml:7:9 berth::unknown_key
      `services.web.ports.2`: a port has no attribute `127.0.0.1:70`
      → take the space behind the colon away: `- "127.0.0.1:70:7"`
    compose.yaml:8:10 berth::unknown_key
      `services.web.ports.3`: a port has no attribute `7`
      → a port has app_protocol, host_ip, mode, name, protocol, published, target
    compose.yaml:8:16 berth::unknown_key
      `services.web.ports.3`: a port has no attribute `1`
      → a port has app_protocol, host_ip, mode, name, protocol, published, target
    "#);
}

#[test]
fn keys_that_are_not_text() {
    let text = "\
services:
  1: {image: a}
  web:
    image: nginx
    labels: {true: x, 2001-12-14: y}
    ? {a: b}
    : c
";
    assert_snapshot!(problems(text), @r#"
    compose.yaml:2:3 berth::key_not_text
      the key `1` is a number, keys are text
      → write it in quotes: `"1":`
    compose.yaml:5:14 berth::key_not_text
      the key `true` is a boolean, keys are text
      → write it in quotes: `"true":`
    compose.yaml:5:23 berth::key_not_text
      the key `2001-12-14` is a date, keys are text
      → write it in quotes: `"2001-12-14":`
    compose.yaml:6:7 berth::key_not_text
      a key is a map, keys are text
      → fill a template `{{ … }}` in first, or put the value in quotes
    "#);
}

#[test]
fn duplicate_keys_show_both_places() {
    let text = "\
services:
  web:
    image: a
    image: b
    environment: {A: 1, \"A\": 2}
  web:
    image: c
";
    assert_snapshot!(problems(text), @r#"
    compose.yaml:4:5 berth::duplicate_key
      the key `image` stands twice in one map
      → keep one of them
    compose.yaml:5:25 berth::duplicate_key
      the key `A` stands twice in one map
      → keep one of them
    compose.yaml:6:3 berth::duplicate_key
      the key `web` stands twice in one map
      → keep one of them
    "#);
}

#[test]
fn a_duplicate_key_is_shown_with_its_first_place() {
    let text = "services:\n  web:\n    image: a\n    tty: true\n    image: b\n";
    assert_snapshot!(report(&[("compose.yaml", text)]), @r#"
    berth::duplicate_key

      × the key `image` stands twice in one map
       ╭─[compose.yaml:3:5]
     2 │   web:
     3 │     image: a
       ·     ──┬──
       ·       ╰── first here
     4 │     tty: true
     5 │     image: b
       ·     ──┬──
       ·       ╰── again here
       ╰────
      help: keep one of them
    "#);
}

#[test]
fn an_alias_cannot_hold_itself() {
    let text = "\
x-a: &a {b: *a}
services:
  web: {image: nginx, <<: [1]}
  db:
    <<: text
    image: pg
";
    assert_snapshot!(problems(text), @r"
    compose.yaml:1:13 berth::cycle
      this alias stands inside the value it refers to
      → write the value out here
    compose.yaml:3:28 berth::wrong_type
      `<<` merges maps, and this is a number
      → write `<<: *anchor` with the anchor on a map
    compose.yaml:5:9 berth::wrong_type
      `<<` merges maps, and this is text
      → write `<<: *anchor` with the anchor on a map
    ");
}

#[test]
fn signs_that_stand_alone_are_no_words_of_the_parser() {
    for (text, message) in [
        ("%YAML 1.1\n", "no document follows this directive"),
        ("\"\n", "this quote is never closed"),
        ("services:\n  a: &a *a\n", "an alias cannot have an anchor of its own"),
    ] {
        let told = brief(&[("compose.yaml", text)]);
        assert!(told.contains(message), "{told}");
    }
}

#[test]
fn of_a_very_long_line_the_place_is_shown() {
    let long = "v".repeat(3000);
    let text = format!("services: {{a: {{image: i, x-a: {long}, prots: [1], x-b: {long}}}}}\n");
    assert_snapshot!(report(&[("compose.yaml", &text)]), @r"
    berth::unknown_key

      × `services.a`: a service has no attribute `prots`
       ╭─[compose.yaml:1:3033]
     1 │ vvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvv, prots: [1], x-b: vvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvv
       ·                                                   ──┬──
       ·                                                     ╰── unknown
       ╰────
      help: did you mean `ports`?
    ");
    let apart = format!(
        "services: {{a: {{image: i, network_mode: host, x-a: {long}, networks: [x]}}}}\nnetworks: {{x: }}\n"
    );
    assert_snapshot!(report(&[("compose.yaml", &apart)]), @r"
    berth::conflict

      × `a` has `network_mode` and `networks`, and only one of them can be
       ╭─[compose.yaml:1:40]
     1 │ services: {a: {image: i, network_mode: host, x-a: vvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvv
       ·                                        ──┬─
       ·                                          ╰── this
       ╰────
       ╭─[compose.yaml:1:3063]
     1 │ vvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvv, networks: [x]}}
       ·                                                   ─┬─
       ·                                                    ╰── and this
       ╰────
      help: keep one of them
    ");
}
