//! Configs and secrets.

use std::path::PathBuf;

use super::grammar::choice;
use super::read::{Reader, is_on, text, text_map};
use crate::stack::{FileContent, FileMount, FileObject, Service, TemplateDriver};
use crate::tree::Node;
use crate::value::{self, Bad, bad};

impl Reader<'_> {
    pub(super) fn mounted_files(&mut self, node: &Node, service: &mut Service) {
        service.configs = self.list(node, "configs", |r, item| r.file_mount(item, ""));
        service.secrets = self.list(node, "secrets", |r, item| r.file_mount(item, "/run/secrets"));
    }

    fn file_mount(&mut self, node: &Node, folder: &str) -> Option<FileMount> {
        let target = crate::short::file_target(node, folder)?;
        Some(FileMount {
            source: text(node, "source")?,
            target: value::clean_path(&target),
            uid: self.parse(node, "uid", "a number"),
            gid: self.parse(node, "gid", "a number"),
            mode: self.read(node, "mode", octal),
        })
    }

    pub(super) fn file_object(&mut self, node: &Node) -> FileObject {
        FileObject {
            name: text(node, "name").unwrap_or_default(),
            content: content(node),
            labels: text_map(node, "labels"),
            driver: text(node, "driver"),
            driver_opts: text_map(node, "driver_opts"),
            template: self.read(node, "template_driver", |text| {
                choice(text, "a template driver", &[("golang", TemplateDriver::Golang)])
            }),
        }
    }
}

fn content(node: &Node) -> FileContent {
    let value = |name: &str| node.get(name).and_then(Node::as_text);
    if is_on(node, "external") {
        return FileContent::External;
    }
    match (value("file"), value("environment"), value("content")) {
        (Some(file), ..) => FileContent::File(PathBuf::from(file)),
        (_, Some(name), _) => FileContent::Environment(
            name.to_owned(),
            value(crate::resources::VALUE).map(str::to_owned),
        ),
        (.., content) => FileContent::Inline(content.unwrap_or_default().to_owned()),
    }
}

/// The mode of a file in octal.
pub(super) fn octal(text: &str) -> Result<u32, Bad> {
    u32::from_str_radix(text, 8).or_else(|_| bad("is not a mode", "write it in octal: `0440`"))
}
