//! The loader as its callers see it: texts in, a stack or a report out.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use insta::assert_snapshot;
use miette::{GraphicalReportHandler, GraphicalTheme};

use crate::problem::Code;
use crate::{LoadOptions, Loaded, Problem, Problems, Source, Stack, load};

mod bounds;
mod broken;
mod editor;
mod fuzz;
mod laws;
mod loading;
mod merging;
mod model;
mod rules;
mod text;
mod traps;

/// Files below `/p`, by name.
struct Texts(BTreeMap<PathBuf, String>);

impl Source for Texts {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        match self.0.get(path) {
            Some(text) => Ok(text.clone().into_bytes()),
            None => Err(io::Error::new(io::ErrorKind::NotFound, "no such file")),
        }
    }

    fn exists(&self, path: &Path) -> bool {
        self.0.contains_key(path)
    }
}

fn options() -> LoadOptions {
    let environment = [("HOME", "/home/me"), ("TAG", "1.27")];
    LoadOptions {
        working_dir: "/p".into(),
        environment: environment.map(|(k, v)| (k.to_owned(), v.to_owned())).into(),
        ..LoadOptions::default()
    }
}

fn texts(files: &[(&str, &str)]) -> Texts {
    let files = files.iter().map(|(name, text)| (Path::new("/p").join(name), (*text).to_owned()));
    Texts(files.collect())
}

fn load_all(files: &[(&str, &str)], options: &LoadOptions) -> Result<Loaded, Problems> {
    load(options, &texts(files))
}

fn stack_of(text: &str) -> Stack {
    match load_all(&[("compose.yaml", text)], &options()) {
        Ok(loaded) => loaded.stack,
        Err(problems) => panic!("{problems}"),
    }
}

/// The whole report of what is wrong, as people see it.
fn report(files: &[(&str, &str)]) -> String {
    let Err(problems) = load_all(files, &options()) else {
        panic!("loads");
    };
    let handler = GraphicalReportHandler::new_themed(GraphicalTheme::unicode_nocolor())
        .with_width(100)
        .with_links(false);
    let mut text = String::new();
    for problem in &problems.0 {
        handler.render_report(&mut text, problem).unwrap();
        text.push('\n');
    }
    text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
}

/// Place, code, words and advice of each problem.
fn brief(files: &[(&str, &str)]) -> String {
    let Err(problems) = load_all(files, &options()) else {
        return "loads".into();
    };
    lines(&problems.0)
}

fn lines(problems: &[Problem]) -> String {
    let mut text = String::new();
    for problem in problems {
        let place = problem.place().map_or("-".into(), |place| format!("{place}"));
        let code = problem.problem_code().map_or("-", Code::as_str);
        text += &format!("{place} {code}\n  {problem}\n");
        if let Some(advice) = problem.advice() {
            text += &format!("  → {advice}\n");
        }
    }
    text
}

fn problems(text: &str) -> String {
    brief(&[("compose.yaml", text)])
}

#[test]
fn a_small_file_becomes_a_typed_stack() {
    let stack = stack_of(
        r#"
services:
  web:
    image: nginx:${TAG}
    command: nginx -g "daemon off;"
    environment: { LOG: info, N: 1, HOME: }
    ports: ["8080:80", "127.0.0.1:9000-9001:9000-9001/udp"]
    volumes: ["data:/data", "./src:/app:ro"]
    depends_on: { db: { condition: service_healthy } }
  db:
    image: pg
    healthcheck: { test: pg_isready, interval: 1m30s, retries: 5 }
    deploy: { resources: { limits: { cpus: "0.5", memory: 512m } } }
volumes: { data: }
"#,
    );
    let web = &stack.services["web"];
    assert_eq!(stack.name, "p");
    assert_eq!(web.image.as_deref(), Some("nginx:1.27"));
    assert_eq!(web.command.as_deref().unwrap(), ["nginx", "-g", "daemon off;"]);
    assert_eq!(web.environment["N"].as_deref(), Some("1"));
    assert_eq!(web.environment["HOME"].as_deref(), Some("/home/me"));
    assert_eq!(web.ports.len(), 3);
    assert_eq!(web.ports[0].published, Some((8080, 8080)));
    assert_eq!(stack.volumes["data"].name, "p_data");
    assert_eq!(stack.networks["default"].name, "p_default");
    assert_eq!(stack.services["db"].limits.cpu_micros, Some(500_000));
    assert_eq!(stack.services["db"].limits.memory, Some(512 << 20));
    let place = |path: &str| stack.places.find(path).unwrap().to_string();
    assert_eq!(place("services.web.environment.LOG"), "compose.yaml:6:25");
    assert_eq!(place("services.web.ports.0"), "compose.yaml:7:13");
    assert_eq!(place("services.web.volumes.0"), "compose.yaml:8:29", "mounts stand by target");
}

#[test]
fn all_problems_of_a_file_come_at_once() {
    let text = "\
services:
  web:
    imge: nginx
    image: Nginx
    ports: [\"80800:80\"]
    depends_on: [databse]
  database:
    image: pg
    tty: [1]
";
    assert_snapshot!(report(&[("compose.yaml", text)]), @r#"
    berth::unknown_key

      × `services.web`: a service has no attribute `imge`
       ╭─[compose.yaml:3:5]
     2 │   web:
     3 │     imge: nginx
       ·     ──┬─
       ·       ╰── unknown
     4 │     image: Nginx
       ╰────
      help: did you mean `image`?

    berth::bad_value

      × `services.web.image`: `Nginx` has upper case letters in its name
       ╭─[compose.yaml:4:12]
     3 │     imge: nginx
     4 │     image: Nginx
       ·            ──┬──
       ·              ╰── cannot work
     5 │     ports: ["80800:80"]
       ╰────
      help: a reference is `[HOST[:PORT]/]name[:tag][@sha256:…]`, the name in lower case

    berth::bad_value

      × `services.web.ports.0`: `80800:80` is no port: ports are 1 to 65535
       ╭─[compose.yaml:5:13]
     4 │     image: Nginx
     5 │     ports: ["80800:80"]
       ·             ─────┬────
       ·                  ╰── cannot work
     6 │     depends_on: [databse]
       ╰────
      help: ports are 1 to 65535; a range is written `8000-8010`

    berth::unknown_dependency

      × `web` depends on `databse`, which is not in the stack
       ╭─[compose.yaml:6:18]
     5 │     ports: ["80800:80"]
     6 │     depends_on: [databse]
       ·                  ───┬───
       ·                     ╰── no service of this name
     7 │   database:
       ╰────
      help: did you mean `database`?

    berth::wrong_type

      × `services.database.tty` must be true or false, and this is a list
       ╭─[compose.yaml:9:10]
     8 │     image: pg
     9 │     tty: [1]
       ·          ─┬─
       ·           ╰── not true or false
       ╰────
    "#);
}

#[test]
fn a_circle_of_dependencies_names_its_whole_path() {
    let text = "\
services:
  a: { image: i, depends_on: [b] }
  b: { image: i, depends_on: [c] }
  c: { image: i, depends_on: [a] }
";
    assert_snapshot!(problems(text), @r#"
    compose.yaml:4:31 berth::cycle
      services depend on each other in a circle: a → b → c → a
      → take one of these dependencies away
    "#);
}
