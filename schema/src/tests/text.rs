//! Texts that are no YAML, or another YAML than Compose files are written in.

use super::*;

#[test]
fn signs_that_stand_alone() {
    let files = [
        ("compose.yaml", "x-a: ]\n"),
        ("b.yaml", "x-a: [b}\n"),
        ("c.yaml", "x-a: ,b\n"),
        ("d.yaml", "x-a: >b\n"),
        ("e.yaml", "x-a: !b!c d\n"),
        ("f.yaml", "x-a: b:\n"),
        ("g.yaml", "x-a: \"\\x4\"\n"),
        ("h.yaml", "x-a: b\n  # c\n  d\n"),
        ("i.yaml", "x-a: b\n\u{feff}x-b: c\n"),
    ];
    let names = files.map(|(name, _)| name.into());
    let options = LoadOptions { files: names.to_vec(), ..options() };
    let Err(problems) = load_all(&files, &options) else { panic!("loads") };
    assert_snapshot!(lines(&problems.0), @r#"
    compose.yaml:1:6 berth::syntax
      this `]` closes nothing
      → take it away, or put the whole value in quotes
    b.yaml:1:8 berth::syntax
      `[` is closed by `}`
      → write `]`
    c.yaml:1:6 berth::syntax
      a value cannot start with `,`
      → write it in quotes: `x-a: ",b"`
    d.yaml:1:6 berth::syntax
      `>` starts a text that stands in the lines below, and `b` is behind it
      → write it in quotes: `x-a: ">b"`
    e.yaml:1:6 berth::syntax
      the tag `!b!c` is declared nowhere
      → Compose knows `!reset` and `!override`; for a text that starts with `!`, write it in quotes: `x-a: "!b!c d"`
    f.yaml:1:6 berth::syntax
      the value of `x-a` ends with a colon
      → write it in quotes: `x-a: "b:"`
    g.yaml:1:6 berth::syntax
      a `\x`, `\u` or `\U` in double quotes names no character
      → single quotes keep backslashes as they are: `'\x4'`
    h.yaml:2:3 berth::syntax
      a comment stands in a text that goes on in the next line
      → move the comment above the text, or indent the next line as its key is
    i.yaml:2:1 berth::syntax
      an invisible mark stands here that belongs to the start of files
      → delete the character before this place; files that were joined often hold it
    "#);
}

#[test]
fn lines_with_a_percent_sign() {
    assert_snapshot!(problems("%YAML 1.2\n---\nx-a: 1\n"), @r#"
    compose.yaml:1:1 berth::syntax
      Compose files are YAML 1.1, and this asks for 1.2
      → take the line away
    "#);
    assert_snapshot!(problems("%FOO\n---\nx-a: 1\n"), @r#"
    compose.yaml:1:1 berth::syntax
      there is no directive `%FOO`
      → take the line away
    "#);
    assert_snapshot!(problems("%YAML 2.0\n---\nx-a: 1\n"), @r#"
    compose.yaml:1:1 berth::syntax
      Compose files are YAML 1.1, and this asks for 2.0
      → take the line away
    "#);
    assert_eq!(problems("%YAML 1.1\n---\nservices: { a: { image: b } }\n"), "loads");
}

#[test]
fn tabs_in_the_indentation() {
    assert_snapshot!(problems("\tservices:\n  a: { image: b }\n"), @r#"
    compose.yaml:1:1 berth::syntax
      a tab stands in the indentation, and YAML allows spaces only
      → put spaces in the place of every tab; two for each level are usual
    "#);
    assert_snapshot!(problems("services:\n  a:\n  \timage: b\n"), @r#"
    compose.yaml:3:3 berth::syntax
      a tab stands in the indentation, and YAML allows spaces only
      → put spaces in the place of every tab; two for each level are usual
    "#);
}

#[test]
fn a_dash_without_a_space_below_one_with() {
    let text = "services:\n  a:\n    image: b\n    ports:\n      - 80:80\n      -81:81\n";
    assert_snapshot!(problems(text), @r#"
    compose.yaml:6:7 berth::syntax
      there is no space behind the dash
      → write `- 81:81`
    "#);
}

#[test]
fn expressions_that_are_none() {
    let text = "services:\n  a:\n    image: \"b:${X:-\\n}\"\n    command: [a, \"${A/b/c}\"]\n";
    assert_snapshot!(problems(text), @r"
    compose.yaml:3:15 berth::interpolation
      `${X:-` is never closed
      → close it with `}`, or write `$$` where a dollar sign is meant
    compose.yaml:4:19 berth::interpolation
      `${A/b/c}` is not a variable
      → write `${NAME}` or `${NAME:-default}`, and `$$` where a dollar sign is meant
    ");
}

/// The environment of the only service, after `files` and with variables of the process.
fn environment(text: &str, files: &[(&str, &str)], process: &[(&str, &str)]) -> String {
    let mut all = vec![("compose.yaml", text)];
    all.extend(files);
    let process = process.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let options = LoadOptions { environment: process.collect(), ..options() };
    let stack = load_all(&all, &options).unwrap().stack;
    let service = stack.services.values().next().unwrap();
    let show = |(name, value): (&String, &Option<String>)| {
        format!("{name}={} ", value.as_deref().unwrap_or("-"))
    };
    service.environment.iter().map(show).collect::<String>().trim_end().to_owned()
}

#[test]
fn environment_files_see_the_project_then_the_service_then_the_lines_above() {
    let text = "services: { a: { image: b, env_file: [x.env, y.env], environment: { O: own } } }\n";
    let files = [("x.env", "A=x\nO=file\nB=$O-$S\n"), ("y.env", "A=y$A\nC=$A\nS=file\nD=$S\n")];
    assert_eq!(
        environment(text, &files, &[("S", "shell")]),
        "A=yx B=own-shell C=yx D=shell O=own S=file"
    );
}

#[test]
fn dot_env_is_switched_off_by_a_variable_or_by_itself() {
    let text = "services: { a: { image: b, environment: { T: } } }\n";
    let told =
        |dotenv: &str, process: &[(&str, &str)]| environment(text, &[(".env", dotenv)], process);
    assert_eq!(told("T=1\n", &[]), "T=1");
    assert_eq!(told("T=1\n", &[("COMPOSE_DISABLE_ENV_FILE", "t")]), "T=-");
    assert_eq!(told("T=1\n", &[("COMPOSE_DISABLE_ENV_FILE", "")]), "T=1");
    assert_eq!(told("T=1\nCOMPOSE_DISABLE_ENV_FILE=1\n", &[]), "T=-");
}
