//! What an image says about the containers made from it.
//!
//! Labels and annotations are data for people: nothing here acts on them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::digest::Digest;

/// Defaults of containers made from an image.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ImageConfig {
    /// Program and its first arguments.
    pub entrypoint: Option<Vec<String>>,
    /// Further arguments, or the program when there is no entrypoint.
    pub cmd: Option<Vec<String>>,
    /// `KEY=value`.
    pub env: Vec<String>,
    /// `user`, `user:group`, by name or number; `None` is root.
    pub user: Option<String>,
    /// Working directory; `None` is `/`.
    pub working_dir: Option<String>,
    /// Paths that become anonymous volumes.
    pub volumes: BTreeSet<String>,
    /// `80/tcp`.
    pub exposed_ports: BTreeSet<String>,
    /// The probe.
    pub healthcheck: Option<ImageHealthcheck>,
    /// `SIGTERM` or a number.
    pub stop_signal: Option<String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Shell of `CMD-SHELL` probes and shell form commands.
    pub shell: Option<Vec<String>>,
    /// As Go names it: `amd64`.
    pub architecture: String,
    /// As Go names it: `linux`.
    pub os: String,
}

/// A probe as the image describes it; `None` leaves the default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ImageHealthcheck {
    /// `NONE`, `CMD` with arguments, or `CMD-SHELL` with a line; empty inherits.
    pub test: Vec<String>,
    /// Between probes.
    pub interval: Option<Duration>,
    /// Until a probe counts as failed.
    pub timeout: Option<Duration>,
    /// In which failures do not count.
    pub start_period: Option<Duration>,
    /// Between probes in the start period.
    pub start_interval: Option<Duration>,
    /// Failures in a row that make it unhealthy.
    pub retries: Option<u32>,
}

/// An image's config document, as far as berth reads it.
#[derive(Debug)]
pub(super) struct ConfigDocument {
    pub(super) config: ImageConfig,
    /// Seconds since the epoch.
    pub(super) created: Option<i64>,
    /// Layers, the bottom one first.
    pub(super) diff_ids: Vec<Digest>,
}

/// Reads a config document, Docker's or OCI's.
pub(super) fn parse(bytes: &[u8]) -> Result<ConfigDocument, serde_json::Error> {
    let document: wire::Document = serde_json::from_slice(bytes)?;
    let config = document.config.unwrap_or_default();
    let text = |text: Option<String>| text.filter(|text| !text.is_empty());
    let words = |words: Option<Vec<String>>| words.filter(|words| !words.is_empty());
    Ok(ConfigDocument {
        config: ImageConfig {
            entrypoint: words(config.entrypoint),
            cmd: words(config.cmd),
            env: config.env.unwrap_or_default(),
            user: text(config.user),
            working_dir: text(config.working_dir),
            volumes: config.volumes.unwrap_or_default().into_keys().collect(),
            exposed_ports: config.exposed_ports.unwrap_or_default().into_keys().collect(),
            healthcheck: config.healthcheck.map(healthcheck),
            stop_signal: text(config.stop_signal),
            labels: config.labels.unwrap_or_default(),
            shell: words(config.shell),
            architecture: document.architecture,
            os: document.os,
        },
        created: document
            .created
            .and_then(|at| at.parse::<jiff::Timestamp>().ok())
            .map(|at| at.as_second()),
        diff_ids: document.rootfs.diff_ids.unwrap_or_default(),
    })
}

/// Docker writes durations in nanoseconds, and 0 where the default is meant.
fn healthcheck(wire: wire::Healthcheck) -> ImageHealthcheck {
    let duration =
        |nanos: Option<i64>| nanos.and_then(|n| u64::try_from(n).ok()).filter(|&n| n > 0);
    let duration = |nanos| duration(nanos).map(Duration::from_nanos);
    ImageHealthcheck {
        test: wire.test.unwrap_or_default(),
        interval: duration(wire.interval),
        timeout: duration(wire.timeout),
        start_period: duration(wire.start_period),
        start_interval: duration(wire.start_interval),
        retries: wire.retries.and_then(|n| u32::try_from(n).ok()).filter(|&n| n > 0),
    }
}

/// The document as it is written, where every list may also be `null`.
mod wire {
    use super::{BTreeMap, Deserialize, Digest};

    #[derive(Deserialize)]
    pub(super) struct Document {
        #[serde(default)]
        pub(super) architecture: String,
        #[serde(default)]
        pub(super) os: String,
        pub(super) created: Option<String>,
        pub(super) config: Option<Config>,
        pub(super) rootfs: Rootfs,
    }

    #[derive(Deserialize)]
    pub(super) struct Rootfs {
        pub(super) diff_ids: Option<Vec<Digest>>,
    }

    type Set = Option<BTreeMap<String, serde_json::Value>>;

    #[derive(Default, Deserialize)]
    #[serde(rename_all = "PascalCase")]
    pub(super) struct Config {
        pub(super) entrypoint: Option<Vec<String>>,
        pub(super) cmd: Option<Vec<String>>,
        pub(super) env: Option<Vec<String>>,
        pub(super) user: Option<String>,
        pub(super) working_dir: Option<String>,
        pub(super) volumes: Set,
        pub(super) exposed_ports: Set,
        pub(super) healthcheck: Option<Healthcheck>,
        pub(super) stop_signal: Option<String>,
        pub(super) labels: Option<BTreeMap<String, String>>,
        pub(super) shell: Option<Vec<String>>,
    }

    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    pub(super) struct Healthcheck {
        pub(super) test: Option<Vec<String>>,
        pub(super) interval: Option<i64>,
        pub(super) timeout: Option<i64>,
        pub(super) start_period: Option<i64>,
        pub(super) start_interval: Option<i64>,
        pub(super) retries: Option<i64>,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_docker_config_is_read_with_its_nulls_and_nanoseconds() {
        let document = parse(
            br#"{"architecture":"amd64","os":"linux","created":"2024-05-01T10:00:00.5Z",
            "config":{"Env":["A=b"],"Cmd":null,"Entrypoint":["/run"],"User":"","Volumes":{"/data":{}},
            "ExposedPorts":{"80/tcp":{}},"Labels":null,"StopSignal":"SIGQUIT",
            "Healthcheck":{"Test":["CMD-SHELL","true"],"Interval":5000000000,"Timeout":0,"Retries":3}},
            "rootfs":{"type":"layers","diff_ids":[]}}"#,
        )
        .unwrap();
        let config = document.config;
        assert_eq!(document.created, Some(1_714_557_600));
        assert_eq!(config.entrypoint, Some(vec!["/run".to_owned()]));
        assert_eq!(config.cmd, None);
        assert_eq!(config.user, None);
        assert!(config.volumes.contains("/data") && config.exposed_ports.contains("80/tcp"));
        let health = config.healthcheck.unwrap();
        assert_eq!(health.interval, Some(Duration::from_secs(5)));
        assert_eq!((health.timeout, health.retries), (None, Some(3)));
    }

    #[test]
    fn an_artifact_without_layers_is_not_an_image_config() {
        assert!(parse(b"{}").is_err());
    }
}
