//! Ports and mounts given as words, read exactly as a Compose file reads them.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use berth_planner::desired::{MountSpec, PortSpec};
use berth_planner::observed::{HostFacts, Observed};
use berth_schema::stack::Stack;
use berth_schema::{LoadOptions, Source};
use serde_json::json;

use crate::failure::Failure;
use crate::project::{desired, invalid};

/// Name of the words in messages.
const NAME: &str = "<command line>";

/// What the words say.
#[derive(Debug, Default)]
pub(crate) struct Extra {
    /// Published ports.
    pub(crate) ports: Vec<PortSpec>,
    /// Mounts by target.
    pub(crate) mounts: BTreeMap<String, MountSpec>,
    /// Variables of files.
    pub(crate) environment: BTreeMap<String, Option<String>>,
}

/// A Compose file that is not on the disk.
struct Words(String);

impl Source for Words {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        if path.ends_with(NAME) {
            return Ok(self.0.clone().into_bytes());
        }
        // A file of variables.
        std::fs::read(path)
    }

    fn exists(&self, path: &Path) -> bool {
        path.ends_with(NAME) || path.exists()
    }
}

/// Reads `ports`, `volumes` and files of variables as if a service of `stack` had them.
pub(crate) fn parse(
    stack: &Stack,
    ports: &[String],
    volumes: &[String],
    env_files: &[PathBuf],
) -> Result<Extra, Failure> {
    if ports.is_empty() && volumes.is_empty() && env_files.is_empty() {
        return Ok(Extra::default());
    }
    let named: BTreeMap<&String, _> = stack
        .volumes
        .iter()
        .map(|(key, volume)| (key, json!({ "name": volume.name, "external": true })))
        .collect();
    let service = json!({
        "image": "localhost/host",
        "ports": ports,
        "volumes": volumes,
        "env_file": env_files,
    });
    let text = json!({ "services": { "run": service }, "volumes": named }).to_string();
    let options = LoadOptions {
        files: vec![PathBuf::from(NAME)],
        working_dir: stack.working_dir.clone(),
        project_directory: Some(stack.working_dir.clone()),
        project_name: Some(stack.name.clone()),
        ..LoadOptions::default()
    };
    // What the words hold has been interpolated by the shell.
    let loaded = berth_schema::load(&options, &Words(text.replace('$', "$$"))).map_err(invalid)?;
    let mut made =
        desired(&loaded.stack, &HostFacts::default(), &Observed::default(), &BTreeMap::new())?;
    let service = made.services.remove("run");
    Ok(service.map_or_else(Extra::default, |service| Extra {
        ports: service.container.ports,
        mounts: service.container.mounts,
        environment: service.container.environment,
    }))
}

#[cfg(test)]
mod tests {
    use berth_planner::desired::SourceSpec;
    use berth_schema::stack::Volume;

    use super::*;

    fn stack() -> Stack {
        let mut stack =
            Stack { name: "shop".into(), working_dir: "/srv/shop".into(), ..Stack::default() };
        let data = Volume { name: "shop_data".into(), ..Volume::default() };
        stack.volumes.insert("data".into(), data);
        stack
    }

    #[test]
    fn words_are_read_as_a_compose_file_reads_them() {
        let words = |list: &[&str]| list.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>();
        let extra = parse(
            &stack(),
            &words(&["127.0.0.1:8080:80"]),
            &words(&["./x:/x:ro", "data:/data"]),
            &[],
        )
        .unwrap();
        assert_eq!(extra.ports[0].published, Some((8080, 8080)));
        assert_eq!(extra.ports[0].target, 80);
        assert!(extra.mounts["/x"].read_only);
        let SourceSpec::Volume { name, .. } = &extra.mounts["/data"].source else {
            panic!("{:?}", extra.mounts["/data"]);
        };
        assert_eq!(name, "shop_data");
    }

    #[test]
    fn what_is_no_port_is_a_problem_of_the_words() {
        let failure = parse(&stack(), &["x:y".into()], &[], &[]).unwrap_err();
        assert_eq!(failure.code(), 65);
    }
}
