//! The names in front of merged output lines: `web-1  | text`, padded to the widest, each
//! container in a colour of its own.

use super::paint::Paint;

/// Colours in the order they are given out; then the same again in bold.
const COLOURS: [&str; 10] = ["36", "33", "32", "35", "34", "36;1", "33;1", "32;1", "35;1", "34;1"];

/// Gives each container its prefix.
#[derive(Debug, Default)]
pub(crate) struct Prefixes {
    names: Vec<String>,
    width: usize,
}

impl Prefixes {
    /// Makes room for `name`, so that lines printed from now on line up with it.
    pub(crate) fn add(&mut self, name: &str) {
        self.index(name);
    }

    /// The prefix of `name`: `web-1  | `.
    pub(crate) fn of(&mut self, name: &str, paint: Paint) -> String {
        let index = self.index(name);
        let padded = format!("{name:width$}  |", width = self.width);
        format!("{} ", paint.sgr(COLOURS[index % COLOURS.len()], &padded))
    }

    fn index(&mut self, name: &str) -> usize {
        if let Some(index) = self.names.iter().position(|known| known == name) {
            return index;
        }
        self.names.push(name.to_owned());
        self.width = self.width.max(name.chars().count());
        self.names.len() - 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_are_padded_to_the_widest_name() {
        let mut prefixes = Prefixes::default();
        prefixes.add("web-1");
        prefixes.add("database-1");
        assert_eq!(prefixes.of("web-1", Paint::off()), "web-1       | ");
        assert_eq!(prefixes.of("database-1", Paint::off()), "database-1  | ");
    }

    #[test]
    fn colours_go_round_and_come_back_in_bold() {
        let mut prefixes = Prefixes::default();
        let coloured: Vec<String> =
            (0..11).map(|i| prefixes.of(&format!("s{i}"), Paint::on())).collect();
        assert!(coloured[0].starts_with("\x1b[36ms0  |\x1b[0m"), "{:?}", coloured[0]);
        assert!(coloured[4].starts_with("\x1b[34m"));
        assert!(coloured[5].starts_with("\x1b[36;1m"));
        assert!(coloured[10].starts_with("\x1b[36m"));
    }

    #[test]
    fn a_container_keeps_its_colour() {
        let mut prefixes = Prefixes::default();
        let first = prefixes.of("a", Paint::on());
        prefixes.of("b", Paint::on());
        assert_eq!(prefixes.of("a", Paint::on()), first);
    }
}
