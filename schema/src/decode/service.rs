//! One service.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::lifecycle::depends_on;
use super::limits::ulimits;
use super::read::{Reader, command, entries, flag, number, text, text_map, texts, time};
use crate::stack::Service;
use crate::tree::Node;
use crate::value::{self, Bad};
use crate::walk::loose;
use crate::words::{CAPABILITIES, container_name, pull_policy, signal};

impl Reader<'_> {
    pub(super) fn services(&mut self, tree: &Node) -> BTreeMap<String, Service> {
        entries(tree, "services", |name, node| self.service(&format!("services.{name}"), node))
    }

    pub(super) fn service(&mut self, path: &str, node: &Node) -> Service {
        self.read(node, "image", path, value::image_reference);
        Service {
            image: text(node, "image"),
            command: command(node, "command"),
            entrypoint: command(node, "entrypoint"),
            environment: environment(node),
            ports: self.list(node, path, "ports", Self::port),
            expose: texts(node, "expose"),
            volumes: self.volumes(node, path),
            networks: self.networks(node, path),
            network_mode: self.network_mode(node, path),
            depends_on: depends_on(node),
            healthcheck: node.get("healthcheck").map(|node| self.healthcheck(node)),
            restart: self.restart(node, path),
            labels: text_map(node.get("labels")),
            user: text(node, "user"),
            group_add: texts(node, "group_add"),
            working_dir: text(node, "working_dir"),
            hostname: text(node, "hostname"),
            container_name: self.read(node, "container_name", path, container_name),
            stop_signal: self.read(node, "stop_signal", path, signal),
            stop_grace_period: time(node, "stop_grace_period"),
            configs: self.list(node, path, "configs", |r, item, path| r.file_mount(item, path, "")),
            secrets: self.list(node, path, "secrets", |r, item, path| {
                r.file_mount(item, path, "/run/secrets")
            }),
            tmpfs: self.list(node, path, "tmpfs", Self::tmpfs),
            read_only: flag(node, "read_only").unwrap_or_default(),
            init: flag(node, "init"),
            tty: flag(node, "tty").unwrap_or_default(),
            stdin_open: flag(node, "stdin_open").unwrap_or_default(),
            privileged: flag(node, "privileged").unwrap_or_default(),
            cap_add: self.list(node, path, "cap_add", Self::capability),
            cap_drop: self.list(node, path, "cap_drop", Self::capability),
            userns_mode: text(node, "userns_mode"),
            extra_hosts: self.list(node, path, "extra_hosts", Self::extra_host),
            dns: self.list(node, path, "dns", Self::address),
            dns_search: texts(node, "dns_search"),
            dns_opt: texts(node, "dns_opt"),
            limits: self.limits(node, path),
            shm_size: number(node, "shm_size"),
            ulimits: ulimits(node),
            sysctls: text_map(node.get("sysctls")),
            logging: self.logging(node, path),
            pull_policy: self.read(node, "pull_policy", path, pull_policy).unwrap_or_default(),
            replicas: self.replicas(node, path),
            attach: flag(node, "attach").unwrap_or(true),
            profiles: texts(node, "profiles"),
        }
    }

    pub(super) fn capability(&mut self, node: &Node, path: &str) -> Option<String> {
        let name = node.as_text()?.to_ascii_uppercase();
        let name = name.strip_prefix("CAP_").unwrap_or(&name).to_owned();
        if name == "ALL" || CAPABILITIES.contains(&name.as_str()) {
            return Some(name);
        }
        let near = value::nearest(&name, CAPABILITIES);
        let help = near.map(|near| format!("did you mean `{near}`?"));
        self.bad(node, path, Bad { why: "is not a capability".into(), help });
        None
    }

    pub(super) fn extra_host(&mut self, node: &Node, path: &str) -> Option<(String, String)> {
        let (name, address) = node.as_text()?.split_once('=')?;
        if address != "host-gateway" && address.parse::<IpAddr>().is_err() {
            let help = Some("write an IPv4 or IPv6 address, or `host-gateway`".to_owned());
            self.bad(node, path, Bad { why: "does not end in an address".into(), help });
            return None;
        }
        Some((name.to_owned(), address.to_owned()))
    }

    pub(super) fn address(&mut self, node: &Node, path: &str) -> Option<IpAddr> {
        let address = node.as_text()?.parse().ok();
        if address.is_none() {
            self.bad(node, path, Bad { why: "is not an address".into(), help: None });
        }
        address
    }
}

fn environment(node: &Node) -> BTreeMap<String, Option<String>> {
    let map = node.get("environment").and_then(Node::as_map);
    let entries = map.iter().flat_map(|map| map.iter());
    entries.map(|(name, value)| (name.to_owned(), loose(&value.value))).collect()
}
