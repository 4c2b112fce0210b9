//! Image references as Docker writes and completes them.
//!
//! `redis` is `docker.io/library/redis:latest`; what stands before the first slash is a registry
//! only if it has a dot or a colon, an upper-case letter, or is `localhost`. With both tag and
//! digest, both are kept and the digest wins.

use std::fmt;
use std::str::FromStr;

use super::digest::{Digest, NotADigest, is_hex_digest};

/// The registry that a reference without one means.
pub const DEFAULT_DOMAIN: &str = "docker.io";
const DEFAULT_TAG: &str = "latest";
const MAX_NAME: usize = 255;
const MAX_TAG: usize = 128;

/// A complete reference: it always has a tag or a digest.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reference {
    domain: String,
    path: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

/// Why a text is not an image reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum ReferenceError {
    #[error("an image reference is empty")]
    Empty,
    #[error("image reference `{0}` has an upper-case letter in its name, which must be lower-case")]
    UpperCase(String),
    #[error(
        "image reference `{0}` is an image id; write `sha256:` before it, or a name with letters beyond f"
    )]
    Id(String),
    #[error("image reference `{text}` has an invalid {part} `{value}`")]
    Invalid { text: String, part: &'static str, value: String },
    #[error("image reference `{text}`: {source}")]
    Digest { text: String, source: NotADigest },
    #[error("the name in image reference `{0}` is longer than 255 bytes")]
    TooLong(String),
}

impl Reference {
    /// Reads a reference as a user writes it and completes it.
    ///
    /// # Errors
    /// [`ReferenceError`] names the part that is not in Docker's grammar.
    pub fn parse(text: &str) -> Result<Reference, ReferenceError> {
        let shown = || text.chars().take(300).collect::<String>().escape_debug().to_string();
        if text.is_empty() {
            return Err(ReferenceError::Empty);
        }
        if is_hex_digest(text) {
            return Err(ReferenceError::Id(shown()));
        }
        let (rest, digest) = match text.split_once('@') {
            None => (text, None),
            Some((rest, digest)) => {
                let digest = Digest::parse(digest)
                    .map_err(|source| ReferenceError::Digest { text: shown(), source })?;
                (rest, Some(digest))
            }
        };
        let (domain, rest) = split_domain(rest);
        let (path, tag) = match rest.rsplit_once(':') {
            Some((path, tag)) if !tag.contains('/') => (path, Some(tag)),
            _ => (rest, None),
        };
        let path = if domain == DEFAULT_DOMAIN && !path.contains('/') && !path.is_empty() {
            format!("library/{path}")
        } else {
            path.to_owned()
        };
        let invalid = |part, value: &str| {
            let value = value.chars().take(300).collect::<String>().escape_debug().to_string();
            ReferenceError::Invalid { text: shown(), part, value }
        };
        if !is_domain(domain) {
            return Err(invalid("registry", domain));
        }
        if path.bytes().any(|b| b.is_ascii_uppercase()) {
            return Err(ReferenceError::UpperCase(shown()));
        }
        if !path.split('/').all(is_component) {
            return Err(invalid("name", &path));
        }
        if domain.len() + 1 + path.len() > MAX_NAME {
            return Err(ReferenceError::TooLong(shown()));
        }
        if let Some(tag) = tag.filter(|tag| !is_tag(tag)) {
            return Err(invalid("tag", tag));
        }
        let tag = tag.map(str::to_owned);
        let tag = if digest.is_none() { tag.or(Some(DEFAULT_TAG.into())) } else { tag };
        Ok(Reference { domain: domain.to_owned(), path, tag, digest })
    }

    /// The registry, `docker.io` when none was written.
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// The repository within the registry, `library/redis`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The tag; `None` only beside a digest.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest, which wins over the tag.
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// Whether this is the reserved `localhost/host`, the root made of the host's own programs.
    pub fn is_host(&self) -> bool {
        self.domain == "localhost" && self.path == "host" && self.tag() == Some(DEFAULT_TAG)
    }

    /// The same repository by digest alone.
    #[must_use]
    pub fn with_digest(&self, digest: &Digest) -> Reference {
        Reference { tag: None, digest: Some(digest.clone()), ..self.clone() }
    }

    /// The whole of it: `docker.io/library/redis:latest`.
    pub fn canonical(&self) -> String {
        format!("{}/{}{}", self.domain, self.path, self.suffix())
    }

    /// The repository as people write it: `redis`, `ghcr.io/a/b`.
    pub fn familiar_name(&self) -> String {
        if self.domain != DEFAULT_DOMAIN {
            return format!("{}/{}", self.domain, self.path);
        }
        match self.path.strip_prefix("library/") {
            Some(short) if !short.contains('/') => short.to_owned(),
            _ => self.path.clone(),
        }
    }

    fn suffix(&self) -> String {
        let tag = self.tag.iter().map(|tag| format!(":{tag}"));
        let digest = self.digest.iter().map(|digest| format!("@{digest}"));
        tag.chain(digest).collect()
    }
}

impl fmt::Display for Reference {
    /// As people write it, with the tag: `redis:latest`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.familiar_name(), self.suffix())
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Reference, ReferenceError> {
        Reference::parse(text)
    }
}

fn split_domain(text: &str) -> (&str, &str) {
    match text.split_once('/') {
        Some(("index.docker.io", rest)) => (DEFAULT_DOMAIN, rest),
        Some((first, rest))
            if first == "localhost"
                || first.contains(['.', ':'])
                || first.bytes().any(|b| b.is_ascii_uppercase()) =>
        {
            (first, rest)
        }
        _ => (DEFAULT_DOMAIN, text),
    }
}

/// Host name, IPv4 address or `[IPv6]`, each with an optional port.
fn is_domain(domain: &str) -> bool {
    let is_port = |port: &str| !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
    if let Some(rest) = domain.strip_prefix('[') {
        let Some((address, port)) = rest.split_once(']') else { return false };
        let port_fits = port.is_empty() || port.strip_prefix(':').is_some_and(is_port);
        return port_fits && address.parse::<std::net::Ipv6Addr>().is_ok();
    }
    let (host, port_fits) = match domain.split_once(':') {
        Some((host, port)) => (host, is_port(port)),
        None => (domain, true),
    };
    port_fits && host.split('.').all(is_host_label)
}

fn is_host_label(label: &str) -> bool {
    !label.is_empty()
        && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        && !label.starts_with('-')
        && !label.ends_with('-')
}

/// Lower-case letters and digits, parted by one `.`, one or two `_`, or any number of `-`.
fn is_component(component: &str) -> bool {
    let alphanumeric = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = component.as_bytes();
    let ends = bytes.first().zip(bytes.last());
    ends.is_some_and(|(&first, &last)| alphanumeric(first) && alphanumeric(last))
        && bytes.split(|&b| alphanumeric(b)).all(|separator| {
            matches!(separator, b"" | b"." | b"_" | b"__") || separator.iter().all(|&b| b == b'-')
        })
}

fn is_tag(tag: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    tag.len() <= MAX_TAG
        && tag.bytes().next().is_some_and(word)
        && tag.bytes().all(|b| word(b) || matches!(b, b'.' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHA: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn references_are_completed_as_docker_does() {
        let table = [
            ("redis", "docker.io/library/redis:latest", "redis:latest"),
            ("redis:7", "docker.io/library/redis:7", "redis:7"),
            ("library/redis", "docker.io/library/redis:latest", "redis:latest"),
            ("docker.io/redis", "docker.io/library/redis:latest", "redis:latest"),
            ("index.docker.io/a/b:1", "docker.io/a/b:1", "a/b:1"),
            ("a/b", "docker.io/a/b:latest", "a/b:latest"),
            ("ghcr.io/a/b/c", "ghcr.io/a/b/c:latest", "ghcr.io/a/b/c:latest"),
            ("localhost/host", "localhost/host:latest", "localhost/host:latest"),
            ("localhost:5000/x", "localhost:5000/x:latest", "localhost:5000/x:latest"),
            ("127.0.0.1:5000/a/b:t", "127.0.0.1:5000/a/b:t", "127.0.0.1:5000/a/b:t"),
            ("[::1]:5000/a", "[::1]:5000/a:latest", "[::1]:5000/a:latest"),
            ("Host/a", "Host/a:latest", "Host/a:latest"),
            ("x/a__b.c---d/e_f", "docker.io/x/a__b.c---d/e_f:latest", "x/a__b.c---d/e_f:latest"),
        ];
        for (text, canonical, familiar) in table {
            let reference = Reference::parse(text).unwrap();
            assert_eq!(reference.canonical(), canonical, "{text}");
            assert_eq!(reference.to_string(), familiar, "{text}");
            assert_eq!(Reference::parse(canonical).unwrap(), reference, "{text}");
            assert_eq!(Reference::parse(familiar).unwrap(), reference, "{text}");
        }
    }

    #[test]
    fn tag_and_digest_are_both_kept() {
        let both = Reference::parse(&format!("redis:7@{SHA}")).unwrap();
        assert_eq!(both.canonical(), format!("docker.io/library/redis:7@{SHA}"));
        let digest = Reference::parse(&format!("host:5000/a/b@{SHA}")).unwrap();
        assert_eq!(digest.tag(), None);
        assert_eq!(digest.canonical(), format!("host:5000/a/b@{SHA}"));
    }

    #[test]
    fn what_is_not_in_the_grammar_is_refused_with_its_part() {
        let long = "a".repeat(300);
        for (text, message) in [
            ("", "an image reference is empty"),
            (&SHA[7..], "is an image id"),
            ("Redis", "upper-case letter"),
            ("redis:", "invalid tag ``"),
            ("redis:a b", "invalid tag `a b`"),
            ("redis:.a", "invalid tag"),
            ("a//b", "invalid name `a//b`"),
            ("/a", "invalid name"),
            ("a/", "invalid name"),
            ("a..b/c", "invalid registry `a..b`"),
            ("a___b", "invalid name"),
            ("-a", "invalid name"),
            ("host.x:/a", "invalid registry"),
            ("host.x:5000/", "invalid name"),
            ("a__b.c/d", "invalid registry"),
            ("[::1/a", "invalid registry"),
            ("a\u{1b}b", "invalid name `library/a\\u{1b}b`"),
            ("ünïcode", "invalid name"),
            ("a@sha256:12", "is not a digest"),
            (&long, "longer than 255 bytes"),
        ] {
            let found = Reference::parse(text).map(|r| r.canonical());
            let error = found.expect_err(text).to_string();
            assert!(error.contains(message), "{text}: {error}");
        }
    }

    #[test]
    fn only_the_reserved_name_is_the_host() {
        assert!(Reference::parse("localhost/host").unwrap().is_host());
        assert!(Reference::parse("localhost/host:latest").unwrap().is_host());
        assert!(!Reference::parse("localhost/host:1").unwrap().is_host());
        assert!(!Reference::parse("localhost:80/host").unwrap().is_host());
        assert!(!Reference::parse("host").unwrap().is_host());
    }
}
