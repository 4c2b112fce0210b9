//! Problems of several files: parts, extended services, environment files.

use insta::assert_snapshot;

use crate::LoadOptions;
use crate::tests::{brief, load_all, options};

#[test]
fn problems_in_other_files_name_those_files() {
    let files = [
        (
            "compose.yaml",
            "include: [part.yaml]\nservices:\n  web:\n    extends: {file: base.yaml, service: bse}\n  app:\n    extends: {file: base.yaml, service: base}\n    ports: [\"x\"]\n",
        ),
        ("part.yaml", "services:\n  db: {image: pg, tty: 7}\n"),
        ("base.yaml", "services:\n  base: {image: a, imag: b}\n"),
    ];
    assert_snapshot!(brief(&files), @r#"
    compose.yaml:4:41 berth::unknown_service
      there is no service `bse` in `base.yaml` to extend
      → did you mean `base`?
    compose.yaml:7:13 berth::bad_value
      `services.app.ports.0`: `x` is not a port
      → ports are 1 to 65535; a range is written `8000-8010`
    base.yaml:2:20 berth::unknown_key
      `services.base`: a service has no attribute `imag`
      → did you mean `image`?
    part.yaml:2:24 berth::wrong_type
      `services.db.tty` must be true or false, and this is a number
    "#);
}

#[test]
fn files_that_are_not_there() {
    let files = [(
        "compose.yaml",
        "include: [gone.yaml]\nservices:\n  web:\n    image: a\n    env_file: [gone.env]\n    label_file: gone.labels\n  app:\n    extends: {file: gone-too.yaml, service: a}\n",
    )];
    assert_snapshot!(brief(&files), @r#"
    compose.yaml:1:11 berth::unreadable
      the file `gone.yaml` does not exist
      → create it, or correct the path
    compose.yaml:5:16 berth::unreadable
      the environment file `gone.env` does not exist
      → create it, or write `{ path: gone.env, required: false }` if the service can do without
    compose.yaml:6:17 berth::unreadable
      the label file `gone.labels` does not exist
      → create it, or take the line away
    compose.yaml:8:21 berth::unreadable
      the file `gone-too.yaml` does not exist
      → create it, or correct the path
    "#);
}

#[test]
fn broken_lines_of_environment_files() {
    let files = [
        (
            "compose.yaml",
            "services:\n  web:\n    image: a\n    env_file: [a.env, {path: b.env, format: raw}, {path: a.env, format: new}]\n",
        ),
        (".env", "OK=1\nNOT OK=2\n"),
        ("a.env", "A=1\nB=\"open\n"),
        ("b.env", "no name=1\n"),
    ];
    assert_snapshot!(brief(&files), @r#"
    .env:2:1 berth::env_file
      `NOT OK` is no name of a variable: it has a space in it
      → write one `NAME=value` in each line
    compose.yaml:4:73 berth::bad_value
      `new` is not a format of an environment file
      → write `raw`, or take the key away
    a.env:2:3 berth::env_file
      a quote is opened and never closed
      → close it where the value ends; a value in quotes may have several lines
    b.env:1:1 berth::env_file
      `no name` is no name of a variable
      → write one `NAME=value` in each line
    "#);
}

#[test]
fn services_that_extend_each_other_in_a_circle() {
    let files = [
        (
            "compose.yaml",
            "services:\n  a: {image: i, extends: b}\n  b: {extends: {service: a}}\n  c: {extends: {file: c.yaml, service: d}}\n",
        ),
        ("c.yaml", "services:\n  d: {extends: {file: ./c.yaml, service: d}}\n"),
    ];
    assert_snapshot!(brief(&files), @r#"
    compose.yaml:2:26 berth::cycle
      services extend each other in a circle: a → b → a
      → move what they share into a service that extends nothing
    c.yaml:2:16 berth::cycle
      services extend each other in a circle: d → d
      → move what they share into a service that extends nothing
    "#);
}

#[test]
fn files_that_include_each_other() {
    let files = [
        ("compose.yaml", "include: [a.yaml]\nservices: {w: {image: i}}\n"),
        ("a.yaml", "include: [b.yaml]\n"),
        ("b.yaml", "include: [a.yaml]\nservices: {x: {image: I}}\n"),
    ];
    assert_snapshot!(brief(&files), @r"
    b.yaml:1:11 berth::cycle
      files include each other in a circle: a.yaml → b.yaml → a.yaml
      → take it out of the list
    b.yaml:2:23 berth::bad_value
      `services.x.image`: `I` has upper case letters in its name
      → a reference is `[HOST[:PORT]/]name[:tag][@sha256:…]`, the name in lower case
    ");
}

#[test]
fn every_path_of_a_part_is_checked() {
    let files = [
        (
            "compose.yaml",
            "include:\n  - path: [a.yaml, b.yaml]\n  - path: [c.yaml, \"oci://r.io/x\"]\n",
        ),
        ("a.yaml", "services: {w: {image: i}}\n"),
        ("b.yaml", "include:\n  - path: [c.yaml, b.yaml]\n"),
        ("c.yaml", "services: {x: {image: i}}\n"),
    ];
    assert_snapshot!(brief(&files), @"
    compose.yaml:3:20 berth::not_yet
      files from elsewhere are not included
      → fetch the files and include them by path
    b.yaml:2:20 berth::cycle
      files include each other in a circle: b.yaml → b.yaml
      → take it out of the list
    ");
}

#[test]
fn remote_parts_are_refused() {
    let files = [(
        "compose.yaml",
        "include: [\"https://example.com/a.git\", \"oci://r.io/x\"]\nservices:\n  w: {image: i, extends: {file: \"git@example.com:a/b\", service: s}}\n",
    )];
    assert_snapshot!(brief(&files), @r#"
    compose.yaml:1:11 berth::not_yet
      files from elsewhere are not included
      → fetch the files and include them by path
    compose.yaml:1:40 berth::not_yet
      files from elsewhere are not included
      → fetch the files and include them by path
    compose.yaml:3:33 berth::not_yet
      services of files from elsewhere are not extended
      → fetch the file and name it by path
    "#);
}

#[test]
fn a_file_from_elsewhere_is_refused_by_name() {
    for file in ["https://example.com/compose.yaml", "git@example.com:a/b.git", "oci://r.io/x"] {
        let options = LoadOptions { files: vec![file.into()], ..options() };
        let told = load_all(&[], &options).unwrap_err();
        assert_eq!(told.to_string(), format!("`{file}` is no file of this host"));
        assert_eq!(told.0[0].advice(), Some("fetch it, and name the file by its path"));
    }
    let extends = "services:\n  w: {extends: {file: 'https://example.com/a.yaml', service: s}}\n";
    assert_snapshot!(brief(&[("compose.yaml", extends)]), @"
    compose.yaml:2:23 berth::not_yet
      services of files from elsewhere are not extended
      → fetch the file and name it by path
    ");
}

#[test]
fn parts_that_include_each_other_by_a_detour_are_a_circle() {
    let files = [
        ("compose.yaml", "include: [sub/../part.yaml]\n"),
        ("part.yaml", "include: [./sub/../compose.yaml]\nservices: {a: {image: i}}\n"),
    ];
    assert_snapshot!(brief(&files), @"
    part.yaml:1:11 berth::cycle
      files include each other in a circle: compose.yaml → part.yaml → compose.yaml
      → take it out of the list
    ");
}
