//! What the administrator of this host says about registries.
//!
//! `/etc/berth/registries.json` (`BERTH_REGISTRIES` names another file):
//!
//! ```json
//! {
//!   "mirrors": { "docker.io": ["https://mirror.example", "http://10.0.0.5:5000"] },
//!   "insecure": ["registry.test:5000"],
//!   "stall_timeout": 30, "attempts": 5, "longest_wait": 30
//! }
//! ```
//!
//! A mirror is asked before its registry, with its own credentials only; what it does not have
//! comes from the next one. A connection on which nothing comes for `stall_timeout` seconds is
//! given up; a request is made `attempts` times, with at most `longest_wait` seconds in between.
//! `certs.d/HOST[:PORT]` below `/etc/berth`, `/etc/docker` or `/etc/containers` holds authorities
//! (`*.crt`) that are trusted for that registry alone, and the certificate (`NAME.cert` with
//! `NAME.key`) by which it knows us.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::{Certificate, Identity, Url};
use serde::Deserialize;

use super::super::places;
use super::error::RegistryError;
use super::retry::Retry;

const FILE: &str = "/etc/berth/registries.json";
const CERTIFICATES: [&str; 3] =
    ["/etc/berth/certs.d", "/etc/docker/certs.d", "/etc/containers/certs.d"];

/// How registries are reached from this host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// For each registry where else its images are, the first to be asked first.
    pub mirrors: BTreeMap<String, Vec<String>>,
    /// Registries (`host` or `host:port`) that may be spoken to without TLS.
    pub insecure: Vec<String>,
    /// Folders with a folder of authorities for each registry.
    pub certificates: Vec<PathBuf>,
    /// No byte for so long is a broken connection; `None` is half a minute.
    pub stall_timeout: Option<Duration>,
    /// Tries of a request in all.
    pub attempts: Option<u32>,
    /// No wait between them is longer.
    pub longest_wait: Option<Duration>,
}

/// What `certs.d` has for a registry.
#[derive(Default)]
pub(super) struct Trust {
    /// Authorities.
    pub(super) trusted: Vec<Certificate>,
    /// Our own certificate.
    pub(super) identity: Option<Identity>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Written {
    mirrors: BTreeMap<String, Vec<String>>,
    insecure: Vec<String>,
    stall_timeout: Option<f64>,
    attempts: Option<u32>,
    longest_wait: Option<f64>,
}

/// Registries that the administrator of this host lets be spoken to without TLS.
///
/// # Errors
/// What is wrong with the file that says so.
pub fn insecure_registries() -> Result<Vec<String>, RegistryError> {
    Ok(Settings::of_this_host()?.insecure)
}

impl Settings {
    /// Those of this host. A host without the file has no mirrors.
    pub(super) fn of_this_host() -> Result<Settings, RegistryError> {
        let named = std::env::var_os("BERTH_REGISTRIES").filter(|name| !name.is_empty());
        let mut settings = Settings::read(Path::new(named.as_deref().unwrap_or(FILE.as_ref())))?;
        settings.certificates = CERTIFICATES.map(PathBuf::from).into();
        Ok(settings)
    }

    fn read(file: &Path) -> Result<Settings, RegistryError> {
        let failed =
            |why: String| RegistryError::Settings { path: file.display().to_string(), why };
        let written: Written = match fs::read(file) {
            Ok(text) => serde_json::from_slice(&text).map_err(|e| failed(e.to_string()))?,
            Err(e) if e.kind() == io::ErrorKind::NotFound => Written::default(),
            Err(e) => return Err(failed(e.to_string())),
        };
        for mirror in written.mirrors.values().flatten() {
            address(mirror).ok_or_else(|| {
                failed(format!(
                    "mirror `{}` is not an `https://` or `http://` address",
                    mirror.escape_debug()
                ))
            })?;
        }
        if written.attempts.is_some_and(|attempts| !(1..=100).contains(&attempts)) {
            return Err(failed("`attempts` is not a number from 1 to 100".to_owned()));
        }
        let seconds = |name: &str, written: Option<f64>| match written {
            None => Ok(None),
            Some(seconds) if (0.1..=3600.0).contains(&seconds) => {
                Ok(Some(Duration::from_secs_f64(seconds)))
            }
            Some(_) => Err(failed(format!("`{name}` is not a number of seconds from 0.1 to 3600"))),
        };
        Ok(Settings {
            stall_timeout: seconds("stall_timeout", written.stall_timeout)?,
            longest_wait: seconds("longest_wait", written.longest_wait)?,
            attempts: written.attempts,
            mirrors: written.mirrors,
            insecure: written.insecure,
            certificates: Vec::new(),
        })
    }

    /// When a request is made again: as the caller says, but for what is set here.
    pub(super) fn retry(&self, retry: Retry) -> Retry {
        Retry {
            attempts: self.attempts.unwrap_or(retry.attempts),
            longest: self.longest_wait.unwrap_or(retry.longest),
            ..retry
        }
    }

    /// The mirrors of a registry, each as the address that its requests begin with.
    pub(super) fn mirrors_of(&self, registry: &str) -> Vec<Url> {
        self.mirrors.get(registry).into_iter().flatten().filter_map(|text| address(text)).collect()
    }

    /// The authorities for a registry, and who we are to it.
    pub(super) fn trust_of(&self, registry: &str) -> Result<Trust, RegistryError> {
        let mut trust = Trust::default();
        for folder in self.certificates.iter().map(|folder| folder.join(registry)) {
            let entries = places::entries(&folder).map_err(|e| wrong(&folder, &e.to_string()))?;
            let mut files: Vec<PathBuf> = entries.iter().map(fs::DirEntry::path).collect();
            files.sort();
            for file in files {
                match file.extension().and_then(|kind| kind.to_str()) {
                    Some("crt") => {
                        let certificates = Certificate::from_pem_bundle(&read_file(&file)?)
                            .map_err(|_| wrong(&file, "it holds no certificate"))?;
                        trust.trusted.extend(certificates);
                    }
                    Some("cert") if trust.identity.is_none() => {
                        trust.identity = Some(identity(&file)?);
                    }
                    Some("key") if !file.with_extension("cert").exists() => {
                        return Err(wrong(&file, "there is no `.cert` beside it"));
                    }
                    _ => {}
                }
            }
        }
        Ok(trust)
    }
}

/// Our certificate with the key beside it.
fn identity(certificate: &Path) -> Result<Identity, RegistryError> {
    let key = certificate.with_extension("key");
    if !key.exists() {
        return Err(wrong(certificate, "there is no `.key` beside it"));
    }
    let mut pem = read_file(certificate)?;
    pem.push(b'\n');
    pem.extend(read_file(&key)?);
    Identity::from_pem(&pem)
        .map_err(|_| wrong(certificate, "it and the `.key` beside it are no certificate and key"))
}

fn read_file(file: &Path) -> Result<Vec<u8>, RegistryError> {
    fs::read(file).map_err(|e| wrong(file, &e.to_string()))
}

fn wrong(path: &Path, why: &str) -> RegistryError {
    RegistryError::Settings { path: path.display().to_string(), why: why.to_owned() }
}

/// `https://mirror.example/path` as the address of its requests, `https://mirror.example/path/v2/`.
fn address(text: &str) -> Option<Url> {
    let url = Url::parse(&format!("{}/v2/", text.trim_end_matches('/'))).ok()?;
    let known = matches!(url.scheme(), "http" | "https") && url.has_host();
    (known && url.username().is_empty() && url.query().is_none()).then_some(url)
}

#[cfg(test)]
mod tests {
    use super::super::super::test_images::Scratch;
    use super::*;

    fn read(text: &str) -> Result<Settings, String> {
        let scratch = Scratch::new("settings");
        let file = scratch.path().join("registries.json");
        fs::write(&file, text).unwrap();
        Settings::read(&file).map_err(|e| e.to_string().replace(&*file.to_string_lossy(), "FILE"))
    }

    #[test]
    fn mirrors_are_addresses_in_the_order_they_are_asked() {
        let settings =
            read(r#"{"mirrors": {"docker.io": ["https://a.b/hub/", "http://c:5000"]}}"#).unwrap();
        let found: Vec<String> =
            settings.mirrors_of("docker.io").iter().map(Url::to_string).collect();
        assert_eq!(found, ["https://a.b/hub/v2/", "http://c:5000/v2/"]);
        assert!(settings.mirrors_of("ghcr.io").is_empty());
        let missing = Settings::read(Path::new("/nonexistent/registries.json"));
        assert_eq!(missing.unwrap(), Settings::default());
    }

    #[test]
    fn a_mistake_in_the_file_is_named() {
        for (text, why) in [
            ("{", "`FILE`: EOF"),
            (r#"{"mirror": {}}"#, "unknown field `mirror`"),
            (
                r#"{"mirrors": {"docker.io": ["mirror.example"]}}"#,
                "mirror `mirror.example` is not an",
            ),
            (r#"{"mirrors": {"docker.io": ["https://u:p@m"]}}"#, "is not an `https://`"),
            (r#"{"attempts": 0}"#, "`attempts` is not a number from 1"),
            (r#"{"stall_timeout": 0}"#, "`stall_timeout` is not a number of seconds"),
            (r#"{"longest_wait": 1e99}"#, "`longest_wait` is not a number of seconds"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }
}
