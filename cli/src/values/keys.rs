//! The keys by which a user leaves a container that runs on.

use std::str::FromStr;

/// What is typed to leave, `ctrl-p,ctrl-q` unless told otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Keys(Vec<u8>);

/// As Docker has it.
pub(crate) const USUAL: &str = "ctrl-p,ctrl-q";

impl FromStr for Keys {
    type Err = String;

    /// Keys behind each other with commas between: a character, `ctrl-` with a letter or one of
    /// `@ [ \ ] ^ _`, or `DEL`. Nothing means the usual ones.
    fn from_str(text: &str) -> Result<Keys, String> {
        let text = if text.is_empty() { USUAL } else { text };
        text.split(',').map(key).collect::<Result<_, _>>().map(Keys)
    }
}

fn key(text: &str) -> Result<u8, String> {
    let wrong = || format!("`{text}` is no key: write `a`, `ctrl-a`, `ctrl-@` or `DEL`");
    if text.eq_ignore_ascii_case("del") {
        return Ok(0x7f);
    }
    let held = text.strip_prefix("ctrl-");
    match (held.unwrap_or(text).as_bytes(), held.is_some()) {
        ([byte], false) if byte.is_ascii() => Ok(*byte),
        ([byte @ (b'@'..=b'_' | b'a'..=b'z')], true) => Ok(byte & 0x1f),
        _ => Err(wrong()),
    }
}

/// Looks for the keys in what is typed.
#[derive(Debug)]
pub(crate) struct Listener {
    keys: Keys,
    /// So many of them were typed and are held back.
    held: usize,
}

impl Listener {
    /// One that has heard nothing.
    pub(crate) fn new(keys: Keys) -> Listener {
        Listener { keys, held: 0 }
    }

    /// What of `typed` is for the container, and whether the user leaves. The first keys are held
    /// back until it is clear what they mean.
    pub(crate) fn hear(&mut self, typed: &[u8]) -> (Vec<u8>, bool) {
        let Keys(keys) = &self.keys;
        let mut through = Vec::with_capacity(typed.len());
        for byte in typed {
            if *byte != keys[self.held] {
                through.extend_from_slice(&keys[..self.held]);
                self.held = 0;
            }
            if *byte == keys[self.held] {
                self.held += 1;
            } else {
                through.push(*byte);
            }
            if self.held == keys.len() {
                return (through, true);
            }
        }
        (through, false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(keys: &str, pieces: &[&[u8]]) -> (Vec<u8>, bool) {
        let mut listener = Listener::new(keys.parse().unwrap());
        let mut through = Vec::new();
        for piece in pieces {
            let (more, leaves) = listener.hear(piece);
            through.extend(more);
            if leaves {
                return (through, true);
            }
        }
        (through, false)
    }

    #[test]
    fn the_usual_keys_leave_in_one_piece_or_in_two() {
        assert_eq!(heard("", &[b"ls\x10\x11more"]), (b"ls".to_vec(), true));
        assert_eq!(heard(USUAL, &[b"ls\x10", b"\x11"]), (b"ls".to_vec(), true));
    }

    #[test]
    fn keys_that_mean_something_else_get_through() {
        assert_eq!(heard("", &[b"\x10a"]), (b"\x10a".to_vec(), false));
        assert_eq!(heard("", &[b"\x10", b"\x10", b"\x11"]), (b"\x10".to_vec(), true));
        assert_eq!(heard("", &[b"\x11\x10"]), (b"\x11".to_vec(), false));
    }

    #[test]
    fn keys_are_written_as_in_docker() {
        let keys = |text: &str| text.parse::<Keys>().map(|Keys(bytes)| bytes);
        assert_eq!(keys("ctrl-@,ctrl-a,ctrl-z").unwrap(), [0, 1, 26]);
        assert_eq!(keys("ctrl-[,ctrl-\\,ctrl-],ctrl-^,ctrl-_").unwrap(), [27, 28, 29, 30, 31]);
        assert_eq!(keys("a,B,DEL").unwrap(), [b'a', b'B', 0x7f]);
        for wrong in ["ctrl-", "ctrl-p,", "ctrl-1", "ctrl-pq", "ab", ",", "é"] {
            assert!(keys(wrong).is_err(), "{wrong}");
        }
    }
}
