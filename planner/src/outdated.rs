//! What is behind: whether a tag has moved, and which tags have come since.

use std::collections::BTreeSet;

use serde::Serialize;

/// How the image somebody has stands to what its registry has under the name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// It is the same.
    Current,
    /// The name means another image now.
    Moved,
    /// There is nothing here to compare with.
    Absent,
    /// What is here came from elsewhere, so nobody knows what its registry called it.
    Unknown,
}

/// What a service has of an image: digests by which its registry knew it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Have {
    /// What its containers run: of each image that one of them was made from.
    pub running: Vec<BTreeSet<String>>,
    /// What the lock says.
    pub locked: Option<String>,
    /// What the store has under the name, if it has anything.
    pub local: Option<BTreeSet<String>>,
}

impl Have {
    /// What counts: what runs, else what would be taken; of each image.
    fn images(&self) -> Vec<BTreeSet<String>> {
        if !self.running.is_empty() {
            return self.running.clone();
        }
        let locked = self.locked.clone().map(|digest| BTreeSet::from([digest]));
        locked.or_else(|| self.local.clone()).into_iter().collect()
    }

    /// How it stands to what the registry has: an old replica, or an old lock, is behind for all.
    pub fn standing(&self, now: &str) -> Standing {
        let images = self.images();
        let same = |image: &BTreeSet<String>| image.contains(now);
        if images.is_empty() {
            Standing::Absent
        } else if self.behind(now).is_some() {
            Standing::Moved
        } else if images.iter().all(same) {
            Standing::Current
        } else {
            Standing::Unknown
        }
    }

    /// The digest to show beside what the registry has: the one that is behind, if one is.
    pub fn shown(&self, now: Option<&str>) -> Option<String> {
        let images = self.images();
        let same = now.filter(|now| images.iter().any(|image| image.contains(*now)));
        now.and_then(|now| self.behind(now))
            .or_else(|| same.map(str::to_owned))
            .or_else(|| images.iter().find_map(|image| image.first().cloned()))
    }

    /// A digest that the registry does not mean any more.
    fn behind(&self, now: &str) -> Option<String> {
        let images = self.images();
        let mut old = images.iter().filter(|image| !image.contains(now));
        let locked = || self.locked.clone().filter(|locked| locked != now);
        old.find_map(|image| image.first().cloned()).or_else(locked)
    }
}

/// Numbers of more digits than these are dates and builds, and mean nothing to the others.
const MOST_DIGITS: usize = 5;

/// The newest of `tags` that is written like `tag` with larger numbers: `1.29` for `1.27`,
/// `17.2-alpine` for `17.1-alpine`.
pub fn newer(tag: &str, tags: &BTreeSet<String>) -> Option<String> {
    let (words, numbers) = parts(tag)?;
    let same = |other: &&String| {
        parts(other).is_some_and(|(others, theirs)| others == words && theirs > numbers)
    };
    let newest = tags.iter().filter(same).max_by_key(|other| parts(other).map(|(_, n)| n));
    newest.cloned()
}

/// What stands around the numbers of a tag, and the numbers; `None` without a number to compare.
fn parts(tag: &str) -> Option<(Vec<&str>, Vec<u64>)> {
    let digit = |c: char| c.is_ascii_digit();
    let words = tag.split(digit).filter(|word| !word.is_empty()).collect();
    let numbers = tag.split(|c| !digit(c)).filter(|number| !number.is_empty());
    let numbers: Option<Vec<u64>> =
        numbers.map(|n| n.parse().ok().filter(|_| n.len() <= MOST_DIGITS)).collect();
    Some((words, numbers.filter(|numbers| !numbers.is_empty())?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(items: &[&str]) -> BTreeSet<String> {
        items.iter().map(|item| (*item).to_owned()).collect()
    }

    #[test]
    fn what_runs_counts_before_the_lock_and_that_before_what_is_here() {
        let have = |running: Option<&[&str]>, locked: Option<&str>, local: Option<&[&str]>| Have {
            running: running.map(set).into_iter().collect(),
            locked: locked.map(str::to_owned),
            local: local.map(set),
        };
        let table = [
            (have(None, None, None), Standing::Absent),
            (have(None, None, Some(&["a", "b"])), Standing::Current),
            (have(None, None, Some(&["b"])), Standing::Moved),
            (have(None, None, Some(&[])), Standing::Unknown),
            (have(None, Some("a"), Some(&["b"])), Standing::Current),
            (have(None, Some("b"), Some(&["a"])), Standing::Moved),
            (have(Some(&["a"]), None, Some(&["b"])), Standing::Current),
            (have(Some(&["b"]), None, Some(&["a"])), Standing::Moved),
            (have(Some(&["b"]), Some("a"), None), Standing::Moved),
            (have(Some(&["a"]), Some("b"), None), Standing::Moved),
            (have(Some(&[]), Some("a"), None), Standing::Unknown),
        ];
        for (have, standing) in table {
            assert_eq!(have.standing("a"), standing, "{have:?}");
        }
    }

    #[test]
    fn one_old_replica_is_behind_for_all_and_what_is_behind_is_shown() {
        let have = |running: &[&[&str]], locked: Option<&str>| Have {
            running: running.iter().map(|image| set(image)).collect(),
            locked: locked.map(str::to_owned),
            local: None,
        };
        let table = [
            (have(&[&["a"], &["b"]], None), Standing::Moved, Some("b")),
            (have(&[&["a", "A"], &["a"]], None), Standing::Current, Some("a")),
            (have(&[&["a"], &[]], None), Standing::Unknown, Some("a")),
            (have(&[&["b"], &[]], None), Standing::Moved, Some("b")),
            (have(&[&["a"]], Some("c")), Standing::Moved, Some("c")),
            (have(&[&["0", "a"]], None), Standing::Current, Some("a")),
            (have(&[&[]], None), Standing::Unknown, None),
        ];
        for (have, standing, shown) in table {
            assert_eq!(have.standing("a"), standing, "{have:?}");
            assert_eq!(have.shown(Some("a")).as_deref(), shown, "{have:?}");
        }
        assert_eq!(have(&[&["b"]], Some("c")).shown(None).as_deref(), Some("b"));
    }

    #[test]
    fn a_newer_tag_is_one_of_the_same_shape() {
        let tags = set(&[
            "1",
            "1.9",
            "1.27",
            "1.27.1",
            "1.28",
            "1.30",
            "1.31-alpine",
            "1.28-alpine",
            "2.0-rc1",
            "20250101",
            "latest",
            "v1.30",
            "bookworm",
            "1_40",
        ]);
        let newer = |tag: &str| newer(tag, &tags).unwrap_or_default();
        assert_eq!(newer("1.27"), "1.30");
        assert_eq!(newer("1.28-alpine"), "1.31-alpine");
        assert_eq!(newer("v1.29"), "v1.30");
        for newest in ["1.30", "1", "latest", "bookworm", "v1.30", "20250101", "17"] {
            assert_eq!(newer(newest), "", "{newest}");
        }
    }
}
