//! Small grammars of single values that several modules read.

use std::collections::BTreeMap;

use crate::stack::Platform;
use crate::value::{self, Bad, bad};

/// One of some words.
pub(super) fn choice<T: Copy>(text: &str, what: &str, words: &[(&str, T)]) -> Result<T, Bad> {
    if let Some((_, value)) = words.iter().find(|(word, _)| *word == text) {
        return Ok(*value);
    }
    let names: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
    let help = match value::nearest(text, names.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("write {}", listed(&names)),
    };
    Err(Bad { why: format!("is not {what}"), help: Some(help) })
}

/// `a, b or c`.
pub(super) fn listed(names: &[&str]) -> String {
    match names {
        [] => String::new(),
        [only] => (*only).to_owned(),
        [all @ .., last] => format!("{} or {last}", all.join(", ")),
    }
}

/// `KEY=VALUE,KEY=VALUE`.
pub(super) fn settings(text: &str) -> Result<BTreeMap<String, String>, Bad> {
    let pair = |part: &str| match part.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => {
            Ok((key.trim().to_owned(), value.trim().to_owned()))
        }
        _ => {
            bad(format!("has the part `{part}`, which sets nothing"), "write `KEY=VALUE,KEY=VALUE`")
        }
    };
    text.split(',').map(pair).collect()
}

/// `OS[/ARCHITECTURE[/VARIANT]]`, or a processor alone.
pub(crate) fn platform(text: &str) -> Result<Platform, Bad> {
    const HELP: &str = "write it like `linux/amd64` or `linux/arm64/v8`";
    let is_word = |word: &&str| {
        let ok = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        !word.is_empty() && word.bytes().all(ok)
    };
    let lower = text.to_ascii_lowercase();
    let parts: Vec<&str> = lower.split('/').collect();
    if parts.len() > 3 || !parts.iter().all(is_word) {
        return bad("is not a platform", HELP);
    }
    let (os, processor, variant) = match parts[..] {
        [os, processor, variant] => (os, Some(processor), Some(variant)),
        [os, processor] => (os, Some(processor), None),
        [only] if SYSTEMS.contains(&only) => (only, None, None),
        [only] if processor_of(only).1.is_some() || PROCESSORS.contains(&processor_of(only).0) => {
            ("linux", Some(only), None)
        }
        _ => return bad("is neither an operating system nor a processor", HELP),
    };
    if !SYSTEMS.contains(&os) {
        return bad(format!("has the operating system `{os}`, which is none"), HELP);
    }
    let (architecture, own) = processor.map_or((None, None), |name| {
        let (name, variant) = processor_of(name);
        (Some(name.to_owned()), variant)
    });
    let variant = variant.or(own).map(str::to_owned);
    // The only variant of arm64 that anybody has is the one that is left out.
    let variant = variant.filter(|v| architecture.as_deref() != Some("arm64") || v != "v8");
    Ok(Platform { os: os.to_owned(), architecture, variant })
}

const SYSTEMS: [&str; 5] = ["darwin", "freebsd", "linux", "wasi", "windows"];
const PROCESSORS: [&str; 13] = [
    "386", "amd64", "arm", "arm64", "loong64", "mips", "mips64", "mips64le", "mipsle", "ppc64le",
    "riscv64", "s390x", "wasm",
];

/// A processor under its usual name, with the variant that another name says.
fn processor_of(name: &str) -> (&str, Option<&'static str>) {
    match name {
        "x86_64" | "x86-64" => ("amd64", None),
        "i386" | "i486" | "i586" | "i686" => ("386", None),
        "aarch64" => ("arm64", None),
        "armhf" => ("arm", Some("v7")),
        "armel" => ("arm", Some("v6")),
        other => (other, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn platforms_have_one_name_each() {
        for (text, shown) in [
            ("linux", "linux"),
            ("linux/amd64", "linux/amd64"),
            ("Linux/x86_64", "linux/amd64"),
            ("arm64", "linux/arm64"),
            ("linux/arm64/v8", "linux/arm64"),
            ("linux/arm/v7", "linux/arm/v7"),
            ("armhf", "linux/arm/v7"),
            ("windows/amd64", "windows/amd64"),
        ] {
            assert_eq!(platform(text).unwrap().to_string(), shown, "{text}");
        }
        for wrong in ["", "linux/", "a/b/c/d", "lin ux", "linus/amd64", "amd"] {
            assert!(platform(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn settings_are_pairs() {
        assert_eq!(settings("type=local, src=a=b").unwrap()["src"], "a=b");
        assert!(settings("type=local,src").is_err());
    }
}
