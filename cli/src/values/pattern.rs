//! Patterns of names, as `--filter reference=` takes them.

/// Whether `text` fits `pattern`: `*` and `?` stand for letters of one part between slashes,
/// `[a-z]` and `[^a-z]` for one letter, `\` before a letter for itself.
pub(crate) fn fits(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) =
        (pattern.chars().collect(), text.chars().collect());
    // The place behind the last `*`, and where it was tried last: only that one can take more.
    let (mut p, mut t, mut star) = (0, 0, None);
    loop {
        if p < pattern.len() && pattern[p] == '*' {
            star = Some((p + 1, t));
            p += 1;
            continue;
        }
        if p == pattern.len() && t == text.len() {
            return true;
        }
        if let Some(next) = text.get(t).and_then(|letter| one(&pattern, p, *letter)) {
            (p, t) = (next, t + 1);
            continue;
        }
        match star {
            Some((after, from)) if from < text.len() && text[from] != '/' => {
                star = Some((after, from + 1));
                (p, t) = (after, from + 1);
            }
            _ => return false,
        }
    }
}

/// Where the pattern goes on behind one letter, if that fits.
fn one(pattern: &[char], at: usize, letter: char) -> Option<usize> {
    match *pattern.get(at)? {
        '?' => (letter != '/').then_some(at + 1),
        '\\' => (*pattern.get(at + 1)? == letter).then_some(at + 2),
        '[' => class(pattern, at + 1, letter),
        other => (other == letter).then_some(at + 1),
    }
}

fn class(pattern: &[char], mut at: usize, letter: char) -> Option<usize> {
    let negated = *pattern.get(at)? == '^';
    at += usize::from(negated);
    let first = at;
    let mut found = false;
    while at == first || *pattern.get(at)? != ']' {
        let low = *pattern.get(at)?;
        let is_range = pattern.get(at + 1) == Some(&'-') && pattern.get(at + 2) != Some(&']');
        let high = if is_range { *pattern.get(at + 2)? } else { low };
        found |= (low..=high).contains(&letter);
        at += if is_range { 3 } else { 1 };
    }
    (found != negated).then_some(at + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_fit_as_go_fits_paths() {
        for (pattern, text) in [
            ("busy*:1", "busybox:1"),
            ("*", "redis:7"),
            ("a/*:1", "a/b:1"),
            ("*/*", "a/b:1"),
            ("r[a-f]dis", "redis"),
            ("r[^x]dis", "redis"),
            ("?edis", "redis"),
            ("\\*a", "*a"),
            ("a*b*c", "axbxbc"),
            ("", ""),
        ] {
            assert!(fits(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [
            ("*", "a/b:1"),
            ("busy", "busybox"),
            ("a?b", "a/b"),
            ("[a-c]x", "dx"),
            ("[a-c", "a"),
            ("a*b", "axxc"),
            ("", "a"),
        ] {
            assert!(!fits(pattern, text), "{pattern} {text}");
        }
    }
}
