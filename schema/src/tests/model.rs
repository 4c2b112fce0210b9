//! The typed model: what each attribute becomes, in its short and its long form, and what is
//! refused because it cannot work.

use std::path::Path;

use super::{Texts, lines, load_all, options};
use crate::problem::Code;
use crate::stack::Service;
use crate::{Stack, config};

mod berth;
mod build;
mod deploy;
mod devices;
mod extensions;
mod files;
mod hooks;
mod limits;
mod logging;
mod mounts;
mod namespaces;
mod networks;
mod security;

/// The model of a file, also of what berth does not do yet.
fn shown(text: &str) -> Stack {
    let files = [(Path::new("/p/compose.yaml").to_owned(), text.to_owned())];
    match config::load(&options(), &Texts(files.into())) {
        Ok(loaded) => loaded.stack,
        Err(problems) => panic!("{problems}"),
    }
}

/// The service that has these attributes and an image.
fn service(attributes: &str) -> Service {
    let secrets = "secrets: {s: {file: s}, t: {file: t}}\n";
    let mut text =
        format!("{secrets}services:\n  other: {{image: i, build: .}}\n  web:\n    image: i\n");
    for line in attributes.lines() {
        text += &format!("    {line}\n");
    }
    let mut stack = shown(&text);
    stack.services.remove("web").expect("the service is there")
}

/// What is wrong with these attributes, but for what berth does not do yet.
fn refused(attributes: &str) -> String {
    let mut text = String::from("services:\n  web:\n    image: i\n");
    for line in attributes.lines() {
        text += &format!("    {line}\n");
    }
    refused_file(&text)
}

/// What is wrong with a file, but for what berth does not do yet.
fn refused_file(text: &str) -> String {
    let Err(mut problems) = load_all(&[("compose.yaml", text)], &options()) else {
        return "loads".into();
    };
    problems.0.retain(|problem| problem.problem_code() != Some(Code::NotYet));
    lines(&problems.0)
}
