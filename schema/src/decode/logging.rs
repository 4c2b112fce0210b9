//! How output is kept.

use super::read::Reader;
use crate::problem::{Code, Finding};
use crate::stack::Logging;
use crate::tree::Node;
use crate::value::{self, Bad};

impl Reader<'_> {
    pub(super) fn logging(&mut self, node: &Node, path: &str) -> Logging {
        let mut logging = Logging::default();
        let Some(node) = node.get("logging") else {
            return logging;
        };
        let path = format!("{path}.logging");
        if let Some(driver) = node.get("driver") {
            match driver.as_text() {
                Some(name @ ("json-file" | "local" | "none")) => logging.driver = name.into(),
                Some("") | None => {}
                Some(other) => {
                    let what = format!("the log driver `{other}`");
                    self.not_yet(driver, &path, &what, "use json-file, local or none");
                }
            }
        }
        for (name, option) in
            node.get("options").and_then(Node::as_map).iter().flat_map(|map| map.iter())
        {
            let Some(text) = option.as_text() else {
                continue;
            };
            let path = format!("{path}.options.{name}");
            match name {
                "max-size" => match value::size(text) {
                    Ok(size) if size > 0 => logging.max_size = size as u64,
                    Ok(_) => {}
                    Err(reason) => self.bad(option, &path, reason),
                },
                "max-file" => match text.parse() {
                    Ok(files @ 1..) => logging.max_files = files,
                    _ => self.bad(
                        option,
                        &path,
                        Bad { why: "is not a number of files".into(), help: None },
                    ),
                },
                _ => {
                    let message = format!("`{path}` has no effect on berth's logs");
                    self.found.push(Finding::at(
                        Code::Inert,
                        option.span,
                        "no effect here",
                        message,
                    ));
                }
            }
        }
        logging
    }
}
