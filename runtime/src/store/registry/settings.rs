//! What the administrator of this host says about registries.
//!
//! `/etc/berth/registries.json` (`BERTH_REGISTRIES` names another file):
//!
//! ```json
//! {
//!   "mirrors": { "docker.io": ["https://mirror.example", "http://10.0.0.5:5000"] },
//!   "insecure": ["registry.test:5000"]
//! }
//! ```
//!
//! A mirror is asked before its registry, with its own credentials only; what it does not have
//! comes from the next one. `certs.d/HOST[:PORT]` below `/etc/berth`, `/etc/docker` or
//! `/etc/containers` holds authorities (`*.crt`) that are trusted for that registry alone.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use reqwest::{Certificate, Url};
use serde::Deserialize;

use super::super::places;
use super::error::RegistryError;

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
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Written {
    mirrors: BTreeMap<String, Vec<String>>,
    insecure: Vec<String>,
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
        Ok(Settings { mirrors: written.mirrors, insecure: written.insecure, ..Settings::default() })
    }

    /// The mirrors of a registry, each as the address that its requests begin with.
    pub(super) fn mirrors_of(&self, registry: &str) -> Vec<Url> {
        self.mirrors.get(registry).into_iter().flatten().filter_map(|text| address(text)).collect()
    }

    /// The authorities for a registry.
    pub(super) fn certificates_of(
        &self,
        registry: &str,
    ) -> Result<Vec<Certificate>, RegistryError> {
        let mut found = Vec::new();
        for folder in self.certificates.iter().map(|folder| folder.join(registry)) {
            let failed = |path: &Path, why: String| RegistryError::Settings {
                path: path.display().to_string(),
                why,
            };
            let entries = places::entries(&folder).map_err(|e| failed(&folder, e.to_string()))?;
            let mut files: Vec<PathBuf> = entries.iter().map(fs::DirEntry::path).collect();
            files.sort();
            for file in files {
                match file.extension().and_then(|kind| kind.to_str()) {
                    Some("crt") => {
                        let text = fs::read(&file).map_err(|e| failed(&file, e.to_string()))?;
                        let certificates = Certificate::from_pem_bundle(&text)
                            .map_err(|_| failed(&file, "it holds no certificate".to_owned()))?;
                        found.extend(certificates);
                    }
                    Some("cert" | "key") => {
                        let why = "berth does not show certificates of its own to registries yet";
                        return Err(failed(&file, why.to_owned()));
                    }
                    _ => {}
                }
            }
        }
        Ok(found)
    }
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
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }
}
