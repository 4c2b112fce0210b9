//! `berth.lock`: the digest of each image of a stack, as text and as a value.
//!
//! The text is YAML in a fixed order, so that a change of one image is a change of its lines.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use crate::Problems;
use crate::problem::{self, Code, Finding};
use crate::text::{self, Files, Span};
use crate::tree::{Node, Value};
use crate::yaml;

/// Its name, beside the first Compose file.
pub const FILE_NAME: &str = "berth.lock";
const VERSION: i128 = 1;
const HEADER: &str = "# Written by `berth lock`: the images of this stack. Keep it with the \
                      Compose file;\n# `berth lock --update` asks the registries again.\n";
const ANEW: &str = "take it from version control, or remove it and run `berth lock`";

/// What the images of a stack are, by their whole name (`docker.io/library/nginx:1.27`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lock {
    /// The images.
    pub images: BTreeMap<String, LockedImage>,
}

/// What the registry had under a name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LockedImage {
    /// What a pull asks for: that of the index, if there is one.
    pub digest: String,
    /// When the registry was asked, `2026-11-21T17:00:00Z`.
    pub resolved: String,
    /// The image of each platform (`linux/arm64/v8`).
    pub platforms: BTreeMap<String, String>,
}

impl Lock {
    /// Reads the text of the file at `path`, which only names it.
    ///
    /// # Errors
    /// All that is wrong with it, with its places; of one that a newer berth wrote that alone.
    pub fn parse(path: &Path, bytes: &[u8]) -> Result<Lock, Problems> {
        let mut reader = Reader { files: Files::default(), found: Vec::new() };
        let lock = reader.read(path, bytes);
        problem::conclude(reader.found, &reader.files)?;
        Ok(lock.unwrap_or_default())
    }

    /// The text: the same lock gives the same bytes.
    pub fn to_text(&self) -> String {
        let mut text = format!("{HEADER}version: {VERSION}\n");
        if self.images.is_empty() {
            return text + "images: {}\n";
        }
        text += "images:\n";
        for (name, image) in &self.images {
            // Only an address of IPv6 means something else to YAML.
            let quote = if name.starts_with('[') { "\"" } else { "" };
            let LockedImage { digest, resolved, platforms } = image;
            let _ = writeln!(text, "  {quote}{name}{quote}:\n    digest: {digest}");
            let _ = writeln!(text, "    resolved: \"{resolved}\"");
            if !platforms.is_empty() {
                text += "    platforms:\n";
            }
            for (platform, digest) in platforms {
                let _ = writeln!(text, "      {platform}: {digest}");
            }
        }
        text
    }
}

struct Reader {
    files: Files,
    found: Vec<Finding>,
}

impl Reader {
    fn read(&mut self, path: &Path, bytes: &[u8]) -> Option<Lock> {
        let text = match text::decode(bytes) {
            Ok(text) => text,
            Err(broken) => {
                let start = u32::try_from(broken.at).unwrap_or(u32::MAX);
                let file = self.files.add(path.to_owned(), broken.text);
                let span = Span { file, start, end: start.saturating_add(1) };
                let message = format!("`{}` {}", path.display(), broken.why);
                let finding = Finding::at(Code::Syntax, span, "from here on", message);
                self.found.push(finding.help(ANEW));
                return None;
            }
        };
        let file = self.files.add(path.to_owned(), text);
        let documents = yaml::parse(&self.files, file, &mut self.found);
        if self.found.iter().any(Finding::is_error) {
            return None;
        }
        let Some(tree) = documents.into_iter().next() else {
            let message = format!("`{}` is empty", path.display());
            let span = Span { file, start: 0, end: 0 };
            let finding = Finding::at(Code::Missing, span, "nothing is here", message);
            self.found.push(finding.help(ANEW));
            return None;
        };
        self.version(&tree)?;
        let images = self.entries(&tree, "images")?;
        let images = images.iter().filter_map(|(name, node)| {
            let image = self.image(name, node)?;
            Some((name.clone(), image))
        });
        Some(Lock { images: images.collect() })
    }

    /// Whether this berth knows what the rest means.
    fn version(&mut self, tree: &Node) -> Option<()> {
        let node = tree.get("version");
        match node.map(|node| &node.value) {
            Some(Value::Int(VERSION)) => Some(()),
            Some(Value::Int(newer)) if *newer > VERSION => {
                let message = format!(
                    "the lock is of version {newer}, and this berth knows version {VERSION}"
                );
                let next = "use the berth that wrote it, or remove it and run `berth lock`";
                self.wrong(node.unwrap_or(tree), Code::BadValue, message, next)
            }
            Some(_) => {
                let message = format!("`version` is not {VERSION}");
                self.wrong(node.unwrap_or(tree), Code::BadValue, message, ANEW)
            }
            None => {
                let message = "a lock begins with its `version`".to_owned();
                self.wrong(tree, Code::Missing, message, ANEW)
            }
        }
    }

    fn image(&mut self, name: &str, node: &Node) -> Option<LockedImage> {
        let digest = self.digest(node, name, "digest");
        let resolved = match node.get("resolved") {
            None => Some(String::new()),
            Some(time) => match time.as_text() {
                Some(text) if !text.contains(['"', '\\', '\n']) => Some(text.to_owned()),
                _ => {
                    let message = format!("`resolved` of `{name}` is not a time");
                    self.wrong(time, Code::WrongType, message, ANEW)
                }
            },
        };
        let mut platforms = BTreeMap::new();
        if node.get("platforms").is_some() {
            for (platform, _) in self.entries(node, "platforms")? {
                let listed = node.get("platforms").unwrap_or(node);
                let digest = self.digest(listed, name, &platform)?;
                platforms.insert(platform, digest);
            }
        }
        Some(LockedImage { digest: digest?, resolved: resolved?, platforms })
    }

    /// The digest under a key of what is said about image `name`.
    fn digest(&mut self, node: &Node, name: &str, key: &str) -> Option<String> {
        let Some(value) = node.get(key) else {
            let message = format!("image `{name}` has no `{key}`");
            return self.wrong(node, Code::Missing, message, ANEW);
        };
        match value.as_text() {
            Some(text) if is_digest(text) => Some(text.to_owned()),
            _ => {
                let message = format!("`{key}` of `{name}` is not a digest");
                let next = "a digest is `sha256:` and 64 hexadecimal digits; run `berth lock` anew";
                self.wrong(value, Code::BadValue, message, next)
            }
        }
    }

    fn entries(&mut self, node: &Node, key: &str) -> Option<BTreeMap<String, Node>> {
        let below = node.get(key).unwrap_or(node);
        match below.as_map().filter(|_| node.get(key).is_some()) {
            Some(map) => Some(map.iter().map(|(k, node)| (k.to_owned(), node.clone())).collect()),
            None => {
                let message = format!("`{key}` is not a map");
                self.wrong(below, Code::WrongType, message, ANEW)
            }
        }
    }

    fn wrong<T>(&mut self, node: &Node, code: Code, message: String, next: &str) -> Option<T> {
        self.found.push(Finding::at(code, node.span, "here", message).help(next));
        None
    }
}

fn is_digest(text: &str) -> bool {
    let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    text.strip_prefix("sha256:").is_some_and(|hash| hash.len() == 64 && hash.bytes().all(hex))
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;

    fn digest(letter: &str) -> String {
        format!("sha256:{}", letter.repeat(64))
    }

    fn lock() -> Lock {
        let image = |letter: &str, platforms: &[(&str, &str)]| LockedImage {
            digest: digest(letter),
            resolved: "2026-11-21T17:00:00Z".into(),
            platforms: platforms.iter().map(|(p, l)| ((*p).to_owned(), digest(l))).collect(),
        };
        let nginx = image("a", &[("linux/arm64/v8", "c"), ("linux/amd64", "b")]);
        let images = [
            ("docker.io/library/nginx:1.27".to_owned(), nginx),
            ("[::1]:5000/app:1".to_owned(), image("d", &[])),
        ];
        Lock { images: images.into() }
    }

    fn problems(text: &str) -> String {
        Lock::parse(Path::new("berth.lock"), text.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn what_is_written_is_sorted_and_means_the_same_when_it_is_read() {
        let text = lock().to_text();
        let short = "abcd".chars().fold(text.clone(), |text, letter| {
            text.replace(&digest(&letter.to_string()), &format!("sha256:{letter}…"))
        });
        assert_snapshot!(short, @r#"
        # Written by `berth lock`: the images of this stack. Keep it with the Compose file;
        # `berth lock --update` asks the registries again.
        version: 1
        images:
          "[::1]:5000/app:1":
            digest: sha256:d…
            resolved: "2026-11-21T17:00:00Z"
          docker.io/library/nginx:1.27:
            digest: sha256:a…
            resolved: "2026-11-21T17:00:00Z"
            platforms:
              linux/amd64: sha256:b…
              linux/arm64/v8: sha256:c…
        "#);
        assert_eq!(Lock::parse(Path::new("berth.lock"), text.as_bytes()).unwrap(), lock());
        let empty = Lock::default();
        let text = empty.to_text();
        assert_eq!(Lock::parse(Path::new("berth.lock"), text.as_bytes()).unwrap(), empty);
    }

    #[test]
    fn a_lock_that_cannot_be_read_is_told_with_its_place() {
        let good = lock().to_text();
        let cases = [
            String::new(),
            "images: {}\n".to_owned(),
            good.replace("version: 1", "version: 2").replace("digest", "hash"),
            good.replace("version: 1", "version: one"),
            "version: 1\nimages: [a]\n".to_owned(),
            good.replace(&digest("a"), "sha256:12"),
            good.replace(&digest("c"), "12"),
            good.replace("    digest", "  \tdigest"),
            good.replace("images:\n", "<<<<<<< HEAD\nimages:\n"),
        ];
        let told = cases.map(|text| problems(&text)).join("\n");
        assert_snapshot!(told, @"
        berth.lock:1:1: `berth.lock` is empty
        berth.lock:1:1: a lock begins with its `version`
        berth.lock:3:10: the lock is of version 2, and this berth knows version 1
        berth.lock:3:10: `version` is not 1
        berth.lock:2:9: `images` is not a map
        berth.lock:9:13: `digest` of `docker.io/library/nginx:1.27` is not a digest
        berth.lock:13:23: `linux/arm64/v8` of `docker.io/library/nginx:1.27` is not a digest
        berth.lock:6:3: a tab stands in the indentation, and YAML allows spaces only
        berth.lock:4:1: a merge of git left its conflict in this file
        ");
        let bytes = b"version: 1\n# \xff\n";
        let told = Lock::parse(Path::new("berth.lock"), bytes).unwrap_err().to_string();
        assert_snapshot!(told, @"berth.lock:2:3: `berth.lock` is not UTF-8 throughout");
    }
}
