//! The canonical form of a stack, kept beside the typed one.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::text::Span;
use crate::tree::{Map, Node, Tag, Value};

/// The canonical form of a stack, with everything the files say in it.
#[derive(Clone, Default)]
pub struct Document {
    tree: Option<Arc<Node>>,
    raw: bool,
}

impl Document {
    pub(crate) fn new(tree: Arc<Node>, raw: bool) -> Document {
        Document { tree: Some(tree), raw }
    }

    /// Whether variables are still in the texts.
    pub(crate) fn is_raw(&self) -> bool {
        self.raw
    }

    pub(crate) fn tree(&self) -> &Node {
        static EMPTY: Node = Node {
            span: Span { file: 0, start: 0, end: 0 },
            tag: Tag::None,
            value: Value::Map(Map(BTreeMap::new())),
        };
        self.tree.as_deref().unwrap_or(&EMPTY)
    }
}

/// Places are no part of what a stack says, so two documents are always equal where the typed
/// fields are compared too.
impl PartialEq for Document {
    fn eq(&self, _: &Document) -> bool {
        true
    }
}

impl fmt::Debug for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Document")
    }
}
