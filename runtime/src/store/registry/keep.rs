//! Keeps and forgets credentials where Docker does: with the credential helper that its
//! `config.json` names, else in that file. Whatever else the file says stays.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, chown};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use serde::Serialize;
use serde_json::{Value, json};

use super::auth::AuthorityError;
use super::credentials::{Credentials, host_of, run_helper};
use crate::record::{self, Durability};

/// Where credentials are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kept {
    /// In this file, readable by its owner alone, but not encrypted.
    File(PathBuf),
    /// With the program `docker-credential-NAME`.
    Helper(String),
}

impl Credentials {
    /// Keeps a user and password for the registry, in place of what was kept.
    pub(super) async fn keep(&self, user: &str, password: &str) -> Result<Kept, AuthorityError> {
        let file = self.place()?;
        let failed = |why: String| self.failed(file, why);
        let mut config = read(file).map_err(failed)?;
        let key = self.key();
        let helper = self.helper(&config);
        let auth = match &helper {
            Some(helper) => {
                let login = json!({"ServerURL": key, "Username": user, "Secret": password});
                let told = run_helper(helper, "store", &login.to_string()).await;
                told.map_err(failed)?;
                json!({})
            }
            None => {
                let text = format!("{user}:{password}");
                json!({"auth": base64::engine::general_purpose::STANDARD.encode(text)})
            }
        };
        let unusable = || "its `auths` is not a map".to_owned();
        let auths = config.as_object_mut().map(|config| config.entry("auths").or_insert(json!({})));
        let auths = auths.and_then(Value::as_object_mut);
        let auths = auths.ok_or_else(unusable).map_err(failed)?;
        // An older entry under another spelling would be found first.
        auths.retain(|name, _| host_of(name) != host_of(key));
        auths.insert(key.to_owned(), auth);
        write(file, &config).map_err(|e| failed(e.to_string()))?;
        Ok(helper.map_or_else(|| Kept::File(file.to_owned()), Kept::Helper))
    }

    /// Forgets what is kept for the registry; whether anything was.
    pub(super) async fn forget(&self) -> Result<bool, AuthorityError> {
        let known = self.find().await?.is_some();
        let file = self.place()?;
        let failed = |why: String| self.failed(file, why);
        let mut config = read(file).map_err(failed)?;
        let key = self.key();
        if let Some(helper) = self.helper(&config).filter(|_| known) {
            run_helper(&helper, "erase", key).await.map_err(failed)?;
        }
        let Some(auths) = config.get_mut("auths").and_then(Value::as_object_mut) else {
            return Ok(known);
        };
        let before = auths.len();
        auths.retain(|name, _| host_of(name) != host_of(key));
        if auths.len() == before {
            return Ok(known);
        }
        write(file, &config).map_err(|e| failed(e.to_string()))?;
        Ok(true)
    }

    fn place(&self) -> Result<&Path, AuthorityError> {
        self.file.as_deref().ok_or_else(|| AuthorityError::Credentials {
            path: "config.json".to_owned(),
            why: "neither `DOCKER_CONFIG` nor `HOME` says where it is".to_owned(),
        })
    }

    /// The helper that keeps this registry's credentials.
    fn helper(&self, config: &Value) -> Option<String> {
        let own = config["credHelpers"].get(self.key());
        let helper = own.or(config.get("credsStore")).and_then(Value::as_str);
        helper.filter(|name| !name.is_empty()).map(str::to_owned)
    }
}

fn read(file: &Path) -> Result<Value, String> {
    let config = match fs::read(file) {
        Ok(text) => serde_json::from_slice(&text).map_err(|e| e.to_string())?,
        Err(e) if e.kind() == io::ErrorKind::NotFound => json!({}),
        Err(e) => return Err(e.to_string()),
    };
    if config.is_object() { Ok(config) } else { Err("it is not a map".to_owned()) }
}

/// Writes the file anew for its owner alone. A link stays one, and another's file stays his.
fn write(file: &Path, config: &Value) -> io::Result<()> {
    let file = fs::canonicalize(file).unwrap_or_else(|_| file.to_owned());
    if let Some(folder) = file.parent() {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    let before = file.metadata().ok();
    let mut text = Vec::new();
    let indented = serde_json::ser::PrettyFormatter::with_indent(b"\t");
    config.serialize(&mut serde_json::Serializer::with_formatter(&mut text, indented))?;
    text.push(b'\n');
    record::write_bytes(&file, &text, 0o600, Durability::Durable)?;
    match before {
        Some(before) => chown(&file, Some(before.uid()), Some(before.gid())),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::super::super::test_images::Scratch;
    use super::super::credentials::Login;
    use super::*;

    fn password(user: &str, password: &str) -> Option<Login> {
        Some(Login::Password { user: user.into(), password: password.into() })
    }

    #[tokio::test]
    async fn what_is_kept_is_found_and_can_be_forgotten_and_the_rest_stays() {
        let scratch = Scratch::new("keep");
        let folder = scratch.path().join("docker");
        let kept = |registry: &str| Credentials::new(registry, Some(folder.clone()));
        assert!(!kept("x.y").forget().await.unwrap());
        kept("x.y").keep("u", "p:q").await.unwrap();
        let file = folder.join("config.json");
        let mut config = read(&file).unwrap();
        assert_eq!(config, json!({"auths": {"x.y": {"auth": "dTpwOnE="}}}));
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        config["proxies"] = json!({"default": {"httpProxy": "http://p"}});
        config["auths"]["https://x.y/v1/"] = json!({"auth": "b2xkOm9sZA=="});
        config["auths"]["z"] = json!({"auth": "Yg=="});
        write(&file, &config).unwrap();
        kept("x.y").keep("u", "new").await.unwrap();
        kept("docker.io").keep("hub", "secret").await.unwrap();
        assert!(kept("x.y").find().await.unwrap() == password("u", "new"));
        assert!(kept("docker.io").find().await.unwrap() == password("hub", "secret"));
        assert!(kept("x.y").forget().await.unwrap());
        assert!(kept("x.y").find().await.unwrap().is_none());
        let config = read(&file).unwrap();
        let mut names: Vec<&String> = config["auths"].as_object().unwrap().keys().collect();
        names.sort();
        assert_eq!(names, ["https://index.docker.io/v1/", "z"]);
        assert_eq!(config["proxies"]["default"]["httpProxy"], "http://p");
    }

    #[tokio::test]
    async fn a_file_that_is_a_link_stays_one_and_a_damaged_one_is_left_alone() {
        let scratch = Scratch::new("keep");
        let (real, folder) = (scratch.path().join("real.json"), scratch.path().join("docker"));
        fs::create_dir(&folder).unwrap();
        fs::write(&real, "{}").unwrap();
        let link = folder.join("config.json");
        std::os::unix::fs::symlink(&real, &link).unwrap();
        let credentials = Credentials::new("x.y", Some(folder));
        credentials.keep("u", "p").await.unwrap();
        assert!(link.symlink_metadata().unwrap().is_symlink());
        for damaged in ["{", "[]", r#"{"auths": 1}"#] {
            fs::write(&real, damaged).unwrap();
            assert!(credentials.keep("u", "p").await.is_err(), "{damaged}");
            assert_eq!(fs::read_to_string(&real).unwrap(), damaged);
        }
    }
}
