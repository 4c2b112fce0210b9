//! Which generation is gone back to, and which are no longer kept.

use thiserror::Error;

use std::collections::{BTreeMap, BTreeSet};

use super::{Generation, IMAGES_OF, KEPT, Part, Standing, spec_digest};
use crate::observed::{ContainerRecord, ObservedContainer};

/// Why there is none to go back to.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NoTarget {
    /// Nothing was ever applied, or it was forgotten.
    #[error("project `{0}` has no history")]
    Nothing(String),
    /// There is no such generation any more, or there never was.
    #[error("`{project}` has no generation {number}")]
    #[allow(missing_docs, reason = "the text says what the fields are")]
    Unknown { project: String, number: u64 },
    /// Nothing before the newest one was good and other than it.
    #[error("`{0}` has no stable generation before the one that is applied")]
    NoneBefore(String),
}

/// A generation by its number. `all` are by number.
///
/// # Errors
/// When there is none.
pub fn numbered<'a>(
    project: &str,
    all: &'a [Generation],
    number: u64,
) -> Result<&'a Generation, NoTarget> {
    let found = all.iter().find(|generation| generation.number == number);
    found.ok_or_else(|| NoTarget::Unknown { project: project.to_owned(), number })
}

/// The generation that a rollback without a number leads to: the last that was good before the one that is
/// applied. After a rollback that is the one before where it led; after a run that was cut off before
/// it left a generation, the newest good one. `all` are by number.
///
/// # Errors
/// When there is none.
pub fn target<'a>(
    project: &str,
    all: &'a [Generation],
    is_applied: bool,
) -> Result<&'a Generation, NoTarget> {
    let newest = all.last().ok_or_else(|| NoTarget::Nothing(project.to_owned()))?;
    if !is_applied && newest.standing == Standing::Stable {
        return Ok(newest);
    }
    let end = origin(newest, all);
    // What was taken back for contents of files that are not kept would be made with these again.
    let is_over = newest.standing == Standing::Failed
        && (newest.rejected.is_empty() || newest.rollback.is_some());
    let other = |one: &&Generation| {
        one.number < end
            && one.standing == Standing::Stable
            && (is_over || !one.made_of.is_like(&newest.made_of))
    };
    all.iter().rev().find(other).ok_or_else(|| NoTarget::NoneBefore(project.to_owned()))
}

/// Below which number the way back goes on: that of the first generation that this one is a way back
/// to, however often. One that failed is tried once more.
fn origin(generation: &Generation, all: &[Generation]) -> u64 {
    if let (Some(rollback), Standing::Failed) = (generation.rollback, generation.standing) {
        return rollback.to + 1;
    }
    let mut number = generation.number;
    // A way back leads to a lower number, so this ends.
    while let Some(rollback) = all
        .iter()
        .find(|one| one.number == number)
        .and_then(|one| one.rollback)
        .filter(|rollback| rollback.to < number)
    {
        number = rollback.to;
    }
    number
}

/// Whether the containers of a generation are as it has them. A service without containers says nothing.
pub fn is_applied(
    generation: &Generation,
    containers: &BTreeMap<String, ObservedContainer>,
) -> bool {
    let own = containers.values().map(|container| &container.record);
    let mut own = own.filter(|record| record.project == generation.project && !record.oneoff);
    own.all(|record| {
        generation.made_of.services.get(&record.service).is_none_or(|part| is_of(record, part))
    })
}

/// What a run that did not cover all services leaves as it was: the last generation that has those of the
/// others as their containers are, which a run that failed may not have come to. `all` are by number.
pub fn base<'a>(
    all: &'a [Generation],
    containers: &BTreeMap<String, ObservedContainer>,
    covered: &BTreeSet<&str>,
) -> Option<&'a Generation> {
    let newest = all.last()?;
    let own = containers.values().map(|container| &container.record).filter(|record| {
        record.project == newest.project
            && !record.oneoff
            && !covered.contains(record.service.as_str())
            && newest.made_of.services.contains_key(&record.service)
    });
    let own: Vec<&ContainerRecord> = own.collect();
    let has = |one: &&Generation| {
        let part = |record: &ContainerRecord| one.made_of.services.get(&record.service);
        own.iter().all(|record| part(record).is_some_and(|part| is_of(record, part)))
    };
    all.iter().rev().find(has).or(Some(newest))
}

/// Whether a container is as a generation has its service; what prepares one has a description of its own.
fn is_of(record: &ContainerRecord, part: &Part) -> bool {
    let is_image = part.id.as_ref().is_none_or(|id| *id == record.image_id);
    record.init.is_some() || part.spec == spec_digest(&record.spec) && is_image
}

/// The generations whose images stay: the newest, and so many good ones, first those that rollbacks one
/// after the other lead to. How many, the newest says. `all` are by number.
pub fn ways(all: &[Generation]) -> Vec<&Generation> {
    let Some(newest) = all.last() else { return Vec::new() };
    let most = newest.history.unwrap_or(IMAGES_OF);
    let mut ways = vec![newest];
    let mut good = usize::from(newest.standing == Standing::Stable);
    let end = origin(newest, all);
    let (before, ahead): (Vec<_>, Vec<_>) = all.iter().rev().partition(|one| one.number < end);
    for one in before.into_iter().chain(ahead).filter(|one| one.standing == Standing::Stable) {
        if good < most && !ways.iter().any(|way| way.made_of.is_like(&one.made_of)) {
            ways.push(one);
            good += 1;
        }
    }
    ways
}

/// Numbers of those that are too old to be kept; what ways back lead to is, and what says last that a
/// service was rejected. How many are, the newest says.
pub fn surplus(all: &[Generation]) -> Vec<u64> {
    let kept = all.last().and_then(|newest| newest.history).unwrap_or(KEPT);
    let over = all.len().saturating_sub(kept);
    let refusing = refusing(all);
    let ways: Vec<u64> = ways(all).iter().map(|generation| generation.number).collect();
    let old = all.iter().map(|generation| generation.number);
    old.filter(|number| !ways.contains(number) && !refusing.contains(number)).take(over).collect()
}

/// For each service the number of the last one that it was rejected in.
fn refusing(all: &[Generation]) -> BTreeSet<u64> {
    let rejected =
        all.iter().flat_map(|one| one.rejected.iter().map(move |name| (name, one.number)));
    rejected.collect::<BTreeMap<_, _>>().into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generation::{Kept, MadeOf, Part, Rollback, keep_images};

    /// `1a 2b! 3a<2-1`: number, content, whether it failed (`!`) or was left (`~`), and from where
    /// to where it led.
    fn history(text: &str) -> Vec<Generation> {
        let one = |word: &str| {
            let (word, back) = word.split_once('<').map_or((word, None), |(w, b)| (w, Some(b)));
            let number: String = word.chars().take_while(char::is_ascii_digit).collect();
            let rest = &word[number.len()..];
            let rollback = back
                .and_then(|back| back.split_once('-'))
                .map(|(of, to)| Rollback { of: of.parse().unwrap(), to: to.parse().unwrap() });
            let part = Part { id: Some(rest[..1].to_owned()), ..Part::default() };
            Generation {
                project: "shop".into(),
                number: number.parse().unwrap(),
                standing: match &rest[1..] {
                    "!" => Standing::Failed,
                    "~" => Standing::RolledBack,
                    _ => Standing::Stable,
                },
                rollback,
                made_of: MadeOf {
                    services: [("web".to_owned(), part)].into(),
                    ..MadeOf::default()
                },
                ..Generation::default()
            }
        };
        text.split_whitespace().map(one).collect()
    }

    fn back(text: &str) -> String {
        match target("shop", &history(text), true) {
            Ok(generation) => generation.number.to_string(),
            Err(why) => why.to_string(),
        }
    }

    #[test]
    fn the_way_back_leads_to_the_last_good_one_and_then_further() {
        assert_eq!(back("1a 2b 3c"), "2");
        assert_eq!(back("1a 2b! 3c!"), "1");
        assert_eq!(back("1a 2b 3c~ 4b<3-2"), "1");
        assert_eq!(back("1a 2b 3c 4d~ 5b<4-2"), "1");
        assert_eq!(
            back("1a 2b~ 3a<2-1"),
            "`shop` has no stable generation before the one that is applied"
        );
        assert_eq!(back("1a 2b~ 3a<2-1 4c"), "3");
        assert_eq!(
            back("1a 2b~ 3a<2-1 4c~ 5a<4-3"),
            "`shop` has no stable generation before the one that is applied"
        );
        assert_eq!(back("1a 2b 3c 4b!<3-2"), "2");
        // Going forward again by number, and back from there.
        assert_eq!(back("1a 2b 3c~ 4b~<3-2 5c<4-3"), "2");
    }

    #[test]
    fn what_was_taken_back_for_a_file_leads_to_none_that_differs_in_no_more() {
        let back = |text: &str| {
            let mut all = history(text);
            all.last_mut().unwrap().rejected = ["web".to_owned()].into();
            target("shop", &all, true).map(|generation| generation.number).ok()
        };
        assert_eq!(back("1a 2a!"), None);
        assert_eq!(back("1b 2a 3a!"), Some(1));
        assert_eq!(back("1a 2b!"), Some(1));
        assert_eq!(back("1a 2b 3c 4b!<3-2"), Some(2), "the way back is tried once more");
    }

    #[test]
    fn where_the_newest_is_not_applied_any_more_the_way_leads_back_to_it() {
        let back = |text: &str| target("shop", &history(text), false).unwrap().number;
        assert_eq!(back("1a"), 1);
        assert_eq!(back("1a 2b"), 2);
        assert_eq!(back("1a 2b!"), 1);
    }

    #[test]
    fn what_is_not_there_is_told() {
        assert_eq!(back(""), "project `shop` has no history");
        assert_eq!(back("1a"), "`shop` has no stable generation before the one that is applied");
        let asked = numbered("shop", &history("2a 3b"), 1).unwrap_err();
        assert_eq!(asked.to_string(), "`shop` has no generation 1");
        assert_eq!(numbered("shop", &history("2a 3b"), 3).unwrap().number, 3);
    }

    #[test]
    fn images_of_the_last_good_ones_are_kept() {
        let kept = |text: &str| {
            let mut kept = Kept::new();
            keep_images(&mut kept, &history(text));
            kept
        };
        let ids = |text: &str| kept(text).into_keys().collect::<String>();
        assert_eq!(ids("1a 2b 3c 4d"), "bcd");
        assert_eq!(ids("1a 2b! 3c~ 4d 5e!"), "ade");
        assert_eq!(ids("1a 2b 3c 4d!"), "abcd", "three good ones beside one that failed");
        assert_eq!(
            ids("1a 2b 3c 4d 5e~ 6d~<5-4 7b<6-2"),
            "abd",
            "where rollbacks lead, then others"
        );
        assert_eq!(ids("1a 2b 3c 4b 5c"), "abc", "what is there twice counts once");
        assert_eq!(kept("1a 2b 3a")["a"][0].generation, 3);
    }

    #[test]
    fn as_many_are_kept_with_their_images_as_the_newest_says() {
        let mut all = history("1a 2b 3c! 4d 5e");
        let kept = |all: &[Generation]| {
            let mut kept = Kept::new();
            keep_images(&mut kept, all);
            (surplus(all), kept.into_keys().collect::<String>())
        };
        all[0].history = Some(1);
        assert_eq!(kept(&all), (vec![], "bde".to_owned()));
        all[4].history = Some(4);
        assert_eq!(kept(&all), (vec![3], "abde".to_owned()));
        all[4].history = Some(2);
        assert_eq!(kept(&all), (vec![1, 2, 3], "de".to_owned()));
        all[4].history = Some(1);
        assert_eq!(kept(&all), (vec![1, 2, 3, 4], "e".to_owned()));
    }

    #[test]
    fn one_that_failed_takes_nobody_the_only_way_back() {
        for (text, most, gone, left, way) in [
            ("1a 2b!", 1, vec![], "ab", 1),
            ("1a 2b! 3c!", 1, vec![2], "ac", 1),
            ("1a 2b 3c!", 1, vec![1], "bc", 2),
            ("1a 2b 3c 4d!", 2, vec![1], "bcd", 3),
        ] {
            let mut all = history(text);
            all.last_mut().unwrap().history = Some(most);
            let mut kept = Kept::new();
            keep_images(&mut kept, &all);
            assert_eq!(
                (surplus(&all), kept.into_keys().collect::<String>()),
                (gone.clone(), left.into())
            );
            all.retain(|one| !gone.contains(&one.number));
            assert_eq!(target("shop", &all, true).unwrap().number, way, "{text}");
        }
    }

    #[test]
    fn the_oldest_go_when_there_are_too_many() {
        let many: Vec<String> = (1..=KEPT + 2).map(|number| format!("{number}a")).collect();
        assert_eq!(surplus(&history(&many.join(" "))), [1, 2]);
        assert!(surplus(&history("1a 2b")).is_empty());
        let failed = |number| format!("{number}c!");
        let many: Vec<String> = (3..=KEPT + 3).map(failed).collect();
        let many = format!("1a 2b {}", many.join(" "));
        assert_eq!(surplus(&history(&many)), [3, 4, 5], "what failed pushes out no way back");
    }

    #[test]
    fn what_says_last_that_a_service_was_rejected_is_kept() {
        let mut all = history("1a 2b! 3c! 4d 5e");
        all[4].history = Some(1);
        assert_eq!(surplus(&all), [1, 2, 3, 4]);
        for rejecting in [1, 2] {
            all[rejecting].rejected = ["web".to_owned()].into();
        }
        assert_eq!(surplus(&all), [1, 2, 4]);
    }
}
