//! The file of a saved plan: one line of JSON, and one with the seal over its bytes.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use berth_planner::basis::Basis;
use berth_runtime::record::{self, Durability};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::inputs::Inputs;
use super::key::Key;
use crate::failure::Failure;

/// How every saved plan begins, of whatever version.
const BEGINS: &str = "{\"format\":\"berth.saved-plan/";
/// The version that is written and read.
const VERSION: &str = "1";
/// Bytes that a saved plan may have: ten times one of two thousand services.
const LARGEST: u64 = 128 << 20;

const NONE: &str = "it is no saved plan of berth";
const CUT_OFF: &str = "it is cut off";
const CHANGED: &str = "it was changed after it was saved";
pub(super) const ELSEWHERE: &str = "it was made on another host, or for another state of berth";

/// A saved plan.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Saved {
    /// The project it is for.
    pub(crate) project: String,
    pub(super) created: Timestamp,
    pub(super) expires: Timestamp,
    /// Tells whose key it was made with.
    pub(super) host: String,
    pub(crate) inputs: Inputs,
    pub(super) basis: Basis,
    /// The plan in its JSON form, for people and programs.
    pub(super) plan: Value,
    /// The plan in its text form.
    pub(super) shown: Vec<String>,
}

/// With the version in front.
#[derive(Serialize)]
struct Versioned<'a> {
    format: String,
    #[serde(flatten)]
    saved: &'a Saved,
}

/// The last line.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Seal {
    seal: String,
}

impl Saved {
    /// Writes it whole, mode 0600.
    pub(super) fn write(&self, path: &Path, key: &Key) -> Result<(), Failure> {
        let put = || -> io::Result<()> {
            let format = format!("berth.saved-plan/{VERSION}");
            let mut bytes = serde_json::to_vec(&Versioned { format, saved: self })?;
            bytes.push(b'\n');
            let seal = Seal { seal: key.seal(&bytes) };
            bytes.extend(serde_json::to_vec(&seal)?);
            bytes.push(b'\n');
            if bytes.len() as u64 > LARGEST {
                return Err(io::Error::other("it is too large for a saved plan"));
            }
            record::write_bytes(path, &bytes, 0o600, Durability::Durable)
        };
        put().map_err(|e| Failure::refused(format!("write `{}`: {e}", path.display())))
    }

    /// Reads the one at `path`, which people call `name`.
    pub(super) fn read(path: &Path, name: &str, key: Option<&Key>) -> Result<Saved, Failure> {
        let bytes = bytes(path).map_err(|e| refused(name, &e.to_string()))?;
        parse(&bytes, key).map_err(|why| refused(name, &why))
    }
}

/// A file that is no plan to go by.
pub(super) fn refused(name: &str, why: &str) -> Failure {
    Failure::BadPlan { file: name.to_owned(), why: why.to_owned() }
}

/// What is in a file, and not too much of it.
fn bytes(path: &Path) -> io::Result<Vec<u8>> {
    let found = fs::metadata(path)?;
    if !found.is_file() {
        return Err(io::Error::other("it is not a file"));
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(LARGEST + 1).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > LARGEST {
        true => Err(io::Error::other("it is too large for a saved plan")),
        false => Ok(bytes),
    }
}

/// A saved plan from its bytes. Nothing in it counts before its seal was looked at.
fn parse(bytes: &[u8], key: Option<&Key>) -> Result<Saved, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| NONE.to_owned())?;
    let rest = text.strip_prefix(BEGINS).ok_or_else(|| NONE.to_owned())?;
    let version = rest.split('"').next().unwrap_or_default();
    if version != VERSION {
        let version: String = version.chars().take(20).collect();
        return Err(format!(
            "its format is `{version}`, and this version of berth reads {VERSION}"
        ));
    }
    let (line, seal) = text
        .strip_suffix('\n')
        .and_then(|text| text.rsplit_once('\n'))
        .ok_or_else(|| CUT_OFF.to_owned())?;
    let sealed = &bytes[..=line.len()];
    let seal: Seal = serde_json::from_str(seal).map_err(|_| CHANGED.to_owned())?;
    let Some(key) = key else { return Err(ELSEWHERE.to_owned()) };
    if !key.verifies(sealed, &seal.seal) {
        return Err(match host(line) {
            Some(host) if host != key.host() => ELSEWHERE.to_owned(),
            _ => CHANGED.to_owned(),
        });
    }
    let mut all: Value = serde_json::from_str(line).map_err(|e| e.to_string())?;
    all.as_object_mut().map(|fields| fields.shift_remove("format"));
    serde_json::from_value(all).map_err(|e| e.to_string())
}

/// Whose key a plan says it was made with.
fn host(line: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Host {
        host: String,
    }
    serde_json::from_str::<Host>(line).ok().map(|found| found.host)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::Session;

    fn saved(key: &Key) -> Vec<u8> {
        let session = Session::new(crate::args::Global::default()).unwrap();
        let shape = crate::commands::up::Shape::default();
        let saved = Saved {
            project: "shop".into(),
            created: Timestamp::UNIX_EPOCH,
            expires: Timestamp::MAX,
            host: key.host(),
            inputs: Inputs::of(&session, &["web".into()], &shape),
            basis: Basis::default(),
            plan: serde_json::json!({ "steps": [] }),
            shown: vec!["nothing to do".into()],
        };
        let path = std::env::temp_dir().join(format!("berth-saved-{}.plan", std::process::id()));
        saved.write(&path, key).unwrap();
        let bytes = fs::read(&path).unwrap();
        fs::remove_file(&path).unwrap();
        bytes
    }

    fn why(bytes: &[u8], key: &Key) -> String {
        parse(bytes, Some(key)).map_or_else(|why| why, |saved| format!("read {}", saved.project))
    }

    #[test]
    fn a_plan_is_read_as_it_was_written() {
        let key = Key::of_bytes([1; 32]);
        assert_eq!(why(&saved(&key), &key), "read shop");
    }

    #[test]
    fn no_byte_of_it_can_be_changed_and_none_be_missing() {
        let key = Key::of_bytes([1; 32]);
        let whole = saved(&key);
        for cut in 0..whole.len() {
            let told = why(&whole[..cut], &key);
            assert!(
                [NONE, CUT_OFF, CHANGED].contains(&told.as_str()) || told.contains("format"),
                "{cut}: {told}"
            );
        }
        for at in 0..whole.len() {
            let mut other = whole.clone();
            other[at] ^= 1;
            assert!(!why(&other, &key).starts_with("read"), "byte {at}");
        }
        let mut longer = whole.clone();
        longer.extend_from_slice(b"{}\n");
        assert!(!why(&longer, &key).starts_with("read"));
    }

    #[test]
    fn a_plan_of_another_host_or_version_is_told_from_one_that_was_changed() {
        let (key, other) = (Key::of_bytes([1; 32]), Key::of_bytes([2; 32]));
        assert_eq!(why(&saved(&other), &key), ELSEWHERE);
        assert_eq!(parse(&saved(&other), None).err().as_deref(), Some(ELSEWHERE));
        let next = String::from_utf8(saved(&key)).unwrap().replace("saved-plan/1", "saved-plan/2");
        assert_eq!(
            why(next.as_bytes(), &key),
            "its format is `2`, and this version of berth reads 1"
        );
        for hostile in
            [&b"services: {}\n"[..], b"", b"\xff\xfe", b"{\"format\":\"berth.plan/1\"}\n"]
        {
            assert_eq!(why(hostile, &key), NONE);
        }
        let deep = format!("{BEGINS}1\",\"plan\":{}\n{{\"seal\":\"\"}}\n", "[".repeat(1 << 20));
        assert_eq!(why(deep.as_bytes(), &key), CHANGED);
    }

    #[test]
    fn what_is_no_file_is_not_read() {
        for path in ["/dev/zero", "/", "/dev/null"] {
            assert_eq!(bytes(Path::new(path)).unwrap_err().to_string(), "it is not a file");
        }
    }
}
