//! What happens when a source file changes.

use super::read::{Reader, is_on, texts};
use crate::stack::{Watch, WatchAction};
use crate::tree::Node;

impl Reader<'_> {
    pub(super) fn watches(&mut self, node: &Node) -> Vec<Watch> {
        let watches = self.get(node, "develop", |reader, develop| {
            Some(reader.list(develop, "watch", Self::watch))
        });
        watches.unwrap_or_default()
    }

    fn watch(&mut self, node: &Node) -> Option<Watch> {
        Some(Watch {
            path: node.get_text("path")?.into(),
            action: self.watch_action(node)?,
            ignore: texts(node, "ignore"),
            include: texts(node, "include"),
            initial_sync: is_on(node, "initial_sync"),
        })
    }

    /// An action with what it needs; a missing target is noted where the text is read.
    fn watch_action(&mut self, node: &Node) -> Option<WatchAction> {
        let target = || node.get_text("target").map(str::to_owned);
        match node.get_text("action")? {
            "rebuild" => Some(WatchAction::Rebuild),
            "restart" => Some(WatchAction::Restart),
            "sync" => Some(WatchAction::Sync { target: target()? }),
            "sync+restart" => Some(WatchAction::SyncRestart { target: target()? }),
            "sync+exec" => {
                let hook = self.get(node, "exec", Self::hook)?;
                Some(WatchAction::SyncExec { target: target()?, hook })
            }
            _ => None,
        }
    }
}
