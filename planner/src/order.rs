//! The order of services: what others depend on comes first.

use std::collections::{BTreeMap, BTreeSet};

/// Services with their dependencies, in an order that exists even if records of different
/// times depend on each other in a circle: a dependency that would close one does not count.
#[derive(Debug, Default)]
pub(crate) struct Order<'a> {
    names: Vec<&'a str>,
    rank: BTreeMap<&'a str, usize>,
    needs: BTreeMap<&'a str, BTreeSet<&'a str>>,
}

impl<'a> Order<'a> {
    /// From what each service needs. Names that are only needed do not count.
    pub(crate) fn of(needs: BTreeMap<&'a str, BTreeSet<&'a str>>) -> Order<'a> {
        let mut order = Order { needs, ..Order::default() };
        let all: Vec<&str> = order.needs.keys().copied().collect();
        let mut seen = BTreeSet::new();
        for name in all {
            order.visit(name, &mut seen);
        }
        order
    }

    /// Depth first, with a stack of our own: a chain may be long.
    fn visit(&mut self, name: &'a str, seen: &mut BTreeSet<&'a str>) {
        if !seen.insert(name) {
            return;
        }
        let mut path = vec![(name, self.dependencies(name).into_iter())];
        while let Some((_, rest)) = path.last_mut() {
            match rest.next() {
                Some(next) if self.needs.contains_key(next) && seen.insert(next) => {
                    path.push((next, self.dependencies(next).into_iter()));
                }
                Some(_) => {}
                None => {
                    if let Some((done, _)) = path.pop() {
                        self.rank.insert(done, self.names.len());
                        self.names.push(done);
                    }
                }
            }
        }
    }

    fn dependencies(&self, name: &str) -> BTreeSet<&'a str> {
        self.needs.get(name).cloned().unwrap_or_default()
    }

    /// All services, dependencies first.
    pub(crate) fn names(&self) -> &[&'a str] {
        &self.names
    }

    /// What a service needs, as far as it comes before it.
    pub(crate) fn needs(&self, name: &str) -> impl Iterator<Item = &'a str> {
        let own = self.rank.get(name).copied().unwrap_or(0);
        let needs = self.needs.get(name).into_iter().flatten().copied();
        needs.filter(move |other| self.rank.get(other).is_some_and(|rank| *rank < own))
    }

    /// What a service needs; of those that do not count, what they need in their place.
    pub(crate) fn needs_over(
        &self,
        name: &str,
        counts: impl Fn(&str) -> bool,
    ) -> BTreeSet<&'a str> {
        let (mut found, mut seen) = (BTreeSet::new(), BTreeSet::new());
        let mut open: Vec<&str> = self.needs(name).collect();
        while let Some(on) = open.pop() {
            if counts(on) {
                found.insert(on);
            } else if seen.insert(on) {
                open.extend(self.needs(on));
            }
        }
        found
    }

    /// Those services and all they need, directly or not.
    pub(crate) fn closure(&self, roots: impl IntoIterator<Item = &'a str>) -> BTreeSet<&'a str> {
        let mut all = BTreeSet::new();
        let mut open: Vec<&str> = roots.into_iter().collect();
        while let Some(name) = open.pop() {
            if all.insert(name) {
                open.extend(self.needs(name));
            }
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(needs: &'static [(&str, &[&str])]) -> Order<'static> {
        Order::of(needs.iter().map(|(name, on)| (*name, on.iter().copied().collect())).collect())
    }

    #[test]
    fn dependencies_come_first() {
        let order =
            order(&[("app", &["db", "cache"]), ("cache", &[]), ("db", &[]), ("web", &["app"])]);
        assert_eq!(order.names(), ["cache", "db", "app", "web"]);
        assert_eq!(order.closure(["app"]).into_iter().collect::<Vec<_>>(), ["app", "cache", "db"]);
    }

    #[test]
    fn what_does_not_count_hands_on_what_it_needs() {
        let order = order(&[
            ("app", &["migrate", "cache"]),
            ("cache", &[]),
            ("db", &["disk"]),
            ("disk", &[]),
            ("migrate", &["db"]),
        ]);
        let over = order.needs_over("app", |name| name != "migrate");
        assert_eq!(over.into_iter().collect::<Vec<_>>(), ["cache", "db"]);
    }

    #[test]
    fn a_circle_is_cut_where_it_would_close() {
        let order = order(&[("a", &["b"]), ("b", &["c"]), ("c", &["a"])]);
        assert_eq!(order.names(), ["c", "b", "a"]);
        assert_eq!(order.needs("c").count(), 0);
        assert_eq!(order.needs("a").collect::<Vec<_>>(), ["b"]);
    }
}
