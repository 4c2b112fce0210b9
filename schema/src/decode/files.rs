//! Configs and secrets.

use std::path::PathBuf;

use super::read::{Reader, text};
use crate::stack::{FileContent, FileMount, FileObject};
use crate::tree::Node;
use crate::value::{self, bad};

impl Reader<'_> {
    pub(super) fn file_mount(
        &mut self,
        node: &Node,
        path: &str,
        folder: &str,
    ) -> Option<FileMount> {
        let target = crate::short::file_target(node, folder)?;
        let octal = |text: &str| u32::from_str_radix(text, 8).or_else(|_| bad("is not a mode", ""));
        Some(FileMount {
            source: text(node, "source")?,
            target: value::clean_path(&target),
            uid: self.parse(node, "uid", path, "a number"),
            gid: self.parse(node, "gid", path, "a number"),
            mode: self.read(node, "mode", path, octal),
        })
    }

    pub(super) fn file_object(&mut self, node: &Node) -> FileObject {
        let value = |name: &str| node.get(name).and_then(Node::as_text);
        let content = match (value("file"), value("environment"), value("content")) {
            (Some(file), ..) => FileContent::File(PathBuf::from(file)),
            (_, Some(name), _) => FileContent::Environment(
                name.to_owned(),
                value(crate::resources::VALUE).map(str::to_owned),
            ),
            (.., content) => FileContent::Inline(content.unwrap_or_default().to_owned()),
        };
        FileObject { name: text(node, "name").unwrap_or_default(), content }
    }
}
