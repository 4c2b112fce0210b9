//! Containers as `ps` shows them, to people and to programs.

use std::collections::BTreeMap;

use berth_planner::desired::{PortSpec, SourceSpec};
use berth_planner::observed::{ContainerState, Health, ObservedContainer};
use berth_runtime::bundle::Bundle;
use berth_runtime::paths::Roots;
use berth_runtime::record;
use serde::Serialize;

use crate::form::Listed;
use crate::ports::{self, Families};
use crate::values::moment;

/// A container, with the names that `docker compose ps --format json` uses.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Row {
    pub(crate) annotations: BTreeMap<String, String>,
    pub(crate) command: String,
    pub(crate) created_at: String,
    pub(crate) exit_code: i32,
    pub(crate) health: &'static str,
    #[serde(rename = "ID")]
    pub(crate) id: String,
    pub(crate) image: String,
    pub(crate) labels: String,
    pub(crate) local_volumes: String,
    pub(crate) mounts: String,
    pub(crate) name: String,
    pub(crate) names: String,
    pub(crate) networks: String,
    #[serde(rename = "OOMKilled")]
    pub(crate) oom_killed: bool,
    pub(crate) ports: String,
    pub(crate) project: String,
    pub(crate) publishers: Vec<Publisher>,
    pub(crate) running_for: String,
    /// `berth`, or the program that made it.
    pub(crate) runtime: String,
    pub(crate) service: String,
    pub(crate) size: String,
    pub(crate) state: &'static str,
    pub(crate) status: String,
}

/// A published port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Publisher {
    #[serde(rename = "URL")]
    url: String,
    target_port: u16,
    published_port: u16,
    protocol: &'static str,
    /// On every address of the host.
    public: bool,
}

impl Listed for Row {
    const ID: &'static str = "CONTAINER ID";
}

impl Row {
    /// The row of a container, seen at `now` (seconds since the epoch).
    pub(crate) fn of(container: &ObservedContainer, argv: &[String], now: i64) -> Row {
        let record = &container.record;
        let mounts: Vec<String> = record
            .spec
            .mounts
            .iter()
            .map(|(target, mount)| match &mount.source {
                SourceSpec::Volume { name, .. } => name.clone(),
                SourceSpec::Anonymous { .. } => target.clone(),
                SourceSpec::Image { reference, .. } => reference.clone(),
                SourceSpec::Bind { path, .. } => path.display().to_string(),
            })
            .collect();
        // What has ended publishes nothing.
        let (expose, published): (&[String], &[PortSpec]) = match is_up(container.state) {
            true => (&record.spec.expose, &container.published),
            false => (&[], &[]),
        };
        let families = Families::of(record);
        let volumes = record.spec.mounts.values();
        let volumes = volumes.filter(|mount| matches!(mount.source, SourceSpec::Volume { .. }));
        Row {
            annotations: record.spec.annotations.clone(),
            command: format!("\"{}\"", argv.join(" ")),
            created_at: moment::rfc3339(container.created_at),
            exit_code: exit_code(container.state),
            health: health(container.health),
            id: container.id.clone(),
            image: record.spec.image.clone(),
            labels: labels(&record.spec.labels),
            local_volumes: volumes.count().to_string(),
            mounts: mounts.join(","),
            name: record.name.clone(),
            names: record.name.clone(),
            networks: record.spec.networks.keys().cloned().collect::<Vec<_>>().join(","),
            oom_killed: container.oom_killed,
            ports: ports::cell(expose, published, families),
            project: record.project.clone(),
            publishers: published.iter().flat_map(|port| publishers(port, families)).collect(),
            running_for: format!("{} ago", moment::rough(now - container.created_at)),
            runtime: record.spec.runtime.clone().unwrap_or_else(|| "berth".to_owned()),
            service: record.service.clone(),
            size: "0B".to_owned(),
            state: state(container),
            status: status(container, now),
        }
    }

    /// The row with what is too long for a screen cut short.
    pub(crate) fn short(mut self) -> Row {
        self.id.truncate(12);
        let argv: String = self.command.trim_matches('"').to_owned();
        if argv.chars().count() > 20 {
            let head: String = argv.chars().take(19).collect();
            self.command = format!("\"{head}…\"");
        }
        self
    }
}

/// What a container runs: as its bundle says when it was started, else as its file says.
pub(crate) fn argv(roots: &Roots, container: &ObservedContainer) -> Vec<String> {
    let path = roots.container_run(&container.record.name).join("bundle.json");
    if let Ok(Some(bundle)) = record::read::<Bundle>(&path) {
        return bundle.process.argv;
    }
    let spec = &container.record.spec;
    let entrypoint = spec.entrypoint.clone().unwrap_or_default();
    entrypoint.into_iter().chain(spec.command.clone().unwrap_or_default()).collect()
}

/// One word as Docker has it.
pub(crate) fn state(container: &ObservedContainer) -> &'static str {
    match container.state {
        ContainerState::Running { .. } if container.paused => "paused",
        ContainerState::Created => "created",
        ContainerState::Running { .. } => "running",
        ContainerState::Restarting { .. } => "restarting",
        ContainerState::Exited { .. } => "exited",
        ContainerState::Broken => "dead",
    }
}

/// Whether `ps` shows it without `-a`.
pub(crate) fn is_up(state: ContainerState) -> bool {
    matches!(state, ContainerState::Running { .. } | ContainerState::Restarting { .. })
}

/// The name of a container in front of its lines: without the project.
pub(crate) fn label(container: &ObservedContainer) -> String {
    let record = &container.record;
    let prefix = format!("{}-", record.project);
    record.name.strip_prefix(&prefix).unwrap_or(&record.name).to_owned()
}

fn exit_code(state: ContainerState) -> i32 {
    match state {
        ContainerState::Exited { exit_code, .. } | ContainerState::Restarting { exit_code } => {
            exit_code
        }
        ContainerState::Created | ContainerState::Running { .. } | ContainerState::Broken => 0,
    }
}

fn health(health: Health) -> &'static str {
    match health {
        Health::None => "",
        Health::Starting => "starting",
        Health::Healthy => "healthy",
        Health::Unhealthy => "unhealthy",
    }
}

fn status(container: &ObservedContainer, now: i64) -> String {
    match container.state {
        ContainerState::Created => "Created".into(),
        ContainerState::Running { started_at, .. } => {
            let mut notes = Vec::new();
            match container.health {
                Health::None => {}
                Health::Starting => notes.push("health: starting"),
                Health::Healthy => notes.push("healthy"),
                Health::Unhealthy => notes.push("unhealthy"),
            }
            notes.extend(part(container));
            if container.paused {
                notes.push("Paused");
            }
            if container.hook_failed {
                notes.push("post_start failed");
            }
            if container.left_behind {
                notes.push("in a network or memory that has ended");
            }
            if container.unplugged.is_some() {
                notes.push("has lost a network");
            }
            if !container.monitored {
                notes.push("no monitor");
            }
            let notes = notes.iter().map(|note| format!(" ({note})")).collect::<String>();
            format!("Up {}{notes}", moment::rough(now - started_at))
        }
        ContainerState::Restarting { exit_code } => {
            format!("Restarting ({exit_code}){}{}", part_noted(container), out_of_memory(container))
        }
        // It was never started.
        ContainerState::Exited { exit_code, finished_at: 0 } => format!("Exited ({exit_code})"),
        ContainerState::Exited { exit_code, finished_at } => {
            let ago = moment::rough(now - finished_at);
            let part = part_noted(container);
            format!("Exited ({exit_code}) {ago} ago{part}{}", out_of_memory(container))
        }
        ContainerState::Broken => "Broken: half made, removed by the next `up` or `down`".into(),
    }
}

/// What of its replica it is, if that has another container.
fn part(container: &ObservedContainer) -> Option<&'static str> {
    let new = container.record.succession > 0 && !container.served;
    match (container.beside, is_up(container.state)) {
        (true, _) => Some("not serving"),
        (false, false) if new => Some("never served"),
        (false, _) => None,
    }
}

fn part_noted(container: &ObservedContainer) -> String {
    part(container).map(|part| format!(" ({part})")).unwrap_or_default()
}

/// What stands behind the end of a container that lost a process for lack of memory.
fn out_of_memory(container: &ObservedContainer) -> &'static str {
    if container.oom_killed { ", out of memory" } else { "" }
}

fn labels(labels: &BTreeMap<String, String>) -> String {
    labels.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",")
}

fn publishers(port: &PortSpec, families: Families) -> Vec<Publisher> {
    let publisher = |address: std::net::IpAddr| Publisher {
        url: address.to_string(),
        target_port: port.target,
        published_port: port.published.map_or(0, |(first, _)| first),
        protocol: ports::protocol(port.protocol),
        public: ports::is_public(port),
    };
    ports::addresses(port, families).into_iter().map(publisher).collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use berth_planner::observed::{Addresses, ContainerRecord};
    use berth_schema::stack::Protocol;

    use super::*;

    /// A container as `observe` gives it.
    pub(crate) fn container(name: &str, state: ContainerState) -> ObservedContainer {
        let (project, rest) = name.split_once('-').unwrap();
        let (service, number) = rest.rsplit_once('-').unwrap();
        let record = ContainerRecord {
            name: name.into(),
            project: project.into(),
            service: service.into(),
            number: number.parse().unwrap(),
            succession: 0,
            oneoff: false,
            init: None,
            prepared: false,
            spec: Default::default(),
            image_id: String::new(),
            borrowed: Default::default(),
            locked: None,
            addresses: BTreeMap::new(),
            id_base: None,
            layer_project: None,
            depends_on: BTreeMap::new(),
            working_dir: "/srv".into(),
            config_files: vec![],
            grants: Default::default(),
            judged: Default::default(),
        };
        ObservedContainer {
            id: "0123456789abcdef".repeat(4),
            created_at: 1000,
            state,
            monitored: true,
            ..ObservedContainer::made(record)
        }
    }

    fn status_of(state: ContainerState, health: Health, monitored: bool) -> String {
        let mut container = container("shop-web-1", state);
        container.health = health;
        container.monitored = monitored;
        status(&container, 2000)
    }

    #[test]
    fn a_status_says_what_docker_would_say() {
        let running = ContainerState::Running { pid: 7, started_at: 1880 };
        let exited = ContainerState::Exited { exit_code: 137, finished_at: 1995 };
        let said = [
            status_of(running, Health::None, true),
            status_of(running, Health::Starting, true),
            status_of(running, Health::Healthy, false),
            status_of(exited, Health::Unhealthy, false),
            status_of(ContainerState::Restarting { exit_code: 1 }, Health::None, true),
            status_of(ContainerState::Created, Health::None, false),
            status_of(
                ContainerState::Exited { exit_code: 127, finished_at: 0 },
                Health::None,
                false,
            ),
        ];
        insta::assert_snapshot!(said.join("\n"), @r"
        Up 2 minutes
        Up 2 minutes (health: starting)
        Up 2 minutes (healthy) (no monitor)
        Exited (137) 5 seconds ago
        Restarting (1)
        Created
        Exited (127)
        ");
    }

    #[test]
    fn of_two_of_a_replica_the_one_that_does_not_serve_says_so() {
        let mut new = container("shop-web-1", ContainerState::Running { pid: 7, started_at: 1880 });
        (new.record.succession, new.beside, new.health) = (1, true, Health::Starting);
        assert_eq!(status(&new, 2000), "Up 2 minutes (health: starting) (not serving)");
        new.state = ContainerState::Restarting { exit_code: 1 };
        assert_eq!(status(&new, 2000), "Restarting (1) (not serving)");
        new.state = ContainerState::Exited { exit_code: 143, finished_at: 1995 };
        new.beside = false;
        assert_eq!(status(&new, 2000), "Exited (143) 5 seconds ago (never served)");
        new.served = true;
        assert_eq!(status(&new, 2000), "Exited (143) 5 seconds ago");
    }

    #[test]
    fn a_container_that_ended_for_lack_of_memory_says_so() {
        let exited = ContainerState::Exited { exit_code: 137, finished_at: 1997 };
        let mut hog = container("shop-hog-1", exited);
        hog.oom_killed = true;
        let row = Row::of(&hog, &[], 2000);
        assert_eq!(row.status, "Exited (137) 3 seconds ago, out of memory");
        assert_eq!(serde_json::to_value(&row).unwrap()["OOMKilled"], true);
        hog.state = ContainerState::Restarting { exit_code: 137 };
        assert_eq!(Row::of(&hog, &[], 2000).status, "Restarting (137), out of memory");
    }

    #[test]
    fn a_public_port_is_marked_for_people_and_for_programs() {
        let up = ContainerState::Running { pid: 7, started_at: 0 };
        let mut web = container("shop-web-1", up);
        let v4 = Addresses { ipv4: Some([172, 18, 0, 2].into()), ipv6: None };
        web.record.addresses.insert("shop_default".into(), v4);
        web.published = vec![PortSpec {
            host_ip: None,
            published: Some((8080, 8080)),
            target: 80,
            protocol: Protocol::Tcp,
        }];
        let row = Row::of(&web, &["nginx".into(), "-g".into(), "daemon off;".into()], 2000).short();
        assert!(row.ports.starts_with("0.0.0.0:8080->80/tcp") && row.ports.ends_with(" PUBLIC"));
        assert_eq!(row.command, "\"nginx -g daemon off;\"");
        assert_eq!(row.id, "0123456789ab");
        let json = serde_json::to_value(&row).unwrap();
        assert_eq!(json["Publishers"][0]["URL"], "0.0.0.0");
        assert_eq!(json["Publishers"][0]["Public"], true);
        web.state = ContainerState::Exited { exit_code: 0, finished_at: 0 };
        assert_eq!(Row::of(&web, &[], 2000).ports, "");
    }

    #[test]
    fn a_long_command_is_cut_for_people() {
        let web = container("shop-web-1", ContainerState::Created);
        let argv = ["/docker-entrypoint.sh".into(), "nginx".into()];
        assert_eq!(Row::of(&web, &argv, 0).short().command, "\"/docker-entrypoint.…\"");
    }

    #[test]
    fn a_label_is_the_name_without_the_project() {
        assert_eq!(label(&container("shop-web-2", ContainerState::Created)), "web-2");
        let mut named = container("shop-web-1", ContainerState::Created);
        named.record.name = "front".into();
        assert_eq!(label(&named), "front");
    }
}
