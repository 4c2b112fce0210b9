//! What a decision about containers has to know of how it comes out.

use std::collections::{BTreeMap, BTreeSet};

use super::{Change, Fate};
use crate::up::{Survey, is_active};

/// Containers that do not change as they would, because others could not have what they need, and
/// those that others follow though they are decided later.
#[derive(Default)]
pub(super) struct Yielding {
    /// Those that are made anew if they change.
    pub(super) exchanged: BTreeSet<String>,
    /// Those that stop first, as there is no address for another one beside them.
    pub(super) crowded: BTreeSet<String>,
    /// Those that go before volumes they have, each with the container whose volumes these are.
    pub(super) outlived: BTreeMap<String, String>,
    /// Those that begin again, and whether they are made anew. Who names them by `container:` need
    /// not depend on them, and is decided before.
    pub(super) later: BTreeMap<String, bool>,
}

impl Yielding {
    /// Whether any of these was not known to.
    pub(super) fn outlives(&mut self, outlived: &[(&str, &str)]) -> bool {
        let known = self.outlived.len();
        let outlived = outlived.iter().map(|(name, owner)| (name.to_string(), owner.to_string()));
        self.outlived.extend(outlived);
        self.outlived.len() > known
    }

    /// Whether any that begins again after somebody who shares with it was decided was not known to.
    pub(super) fn follows(&mut self, survey: &Survey, changes: &[Change]) -> bool {
        let begin: BTreeMap<&str, (usize, bool)> = changes
            .iter()
            .enumerate()
            .filter_map(|(at, change)| {
                Some((change.name.as_str(), (at, renews(change.verdict.fate)?)))
            })
            .collect();
        if begin.is_empty() {
            return false;
        }
        let known = changes.iter().enumerate().filter_map(|(at, change)| {
            let spec = change.becomes()?;
            let lenders = spec.volumes_from.iter().map(|from| from.container.as_str());
            Some((Some(at), spec.parents().into_iter().chain(lenders).collect::<Vec<_>>()))
        });
        // Those of services that are left out are told only when they follow.
        let left_out = survey.desired.inactive.iter().filter_map(|name| survey.own.get(&**name));
        let left_out = left_out.flatten().filter(|have| is_active(have));
        let left_out =
            left_out.map(|have| (None, have.record.spec.parents().into_iter().collect()));
        let mut is_new = false;
        for (at, owners) in known.chain(left_out) {
            for owner in owners {
                let Some((_, anew)) = begin.get(owner).filter(|(later, _)| Some(*later) > at)
                else {
                    continue;
                };
                if self.later.get(owner).is_none_or(|known| *anew && !known) {
                    self.later.insert(owner.to_owned(), *anew);
                    is_new = true;
                }
            }
        }
        is_new
    }
}

/// Whether a container begins again by that, with namespaces of its own: made anew or as it is.
pub(super) fn renews(fate: Fate) -> Option<bool> {
    match fate {
        Fate::Keep | Fate::Adopt | Fate::Unpause | Fate::Remove => None,
        Fate::Start | Fate::Restart => Some(false),
        Fate::Create | Fate::Replace => Some(true),
    }
}
