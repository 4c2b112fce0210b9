//! The completed tree → the typed [`Stack`] with the place of every value.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use crate::problem::{Code, Finding};
use crate::project::Model;
use crate::stack::{
    Condition, Dependency, Document, FileContent, FileMount, FileObject, Healthcheck, IpamPool,
    Limits, Logging, Mount, MountSource, Network, Port, Protocol, RestartPolicy, Service,
    ServiceNetwork, Stack, Tmpfs, Volume,
};
use crate::tree::{Node, Value};
use crate::value::{self, Bad, bad};
use crate::walk::loose;
use crate::words::{
    CAPABILITIES, container_name, cpuset, mac_address, pull_policy, restart, signal, subnet,
};

/// Makes the stack; values that cannot work are noted.
pub(crate) fn stack(model: Model, found: &mut Vec<Finding>) -> Stack {
    let Model { name, directory, files: paths, tree, places, inactive, raw } = model;
    let mut reader = Reader { found };
    let services = reader.services(&tree);
    let networks = entries(&tree, "networks", |key, node| reader.network(key, node));
    let volumes = entries(&tree, "volumes", |key, node| reader.volume(key, node));
    let configs = entries(&tree, "configs", |_, node| reader.file_object(node));
    let secrets = entries(&tree, "secrets", |_, node| reader.file_object(node));
    Stack {
        name,
        working_dir: directory,
        files: paths,
        services,
        networks,
        volumes,
        configs,
        secrets,
        inactive,
        places,
        document: Document::new(tree, raw),
    }
}

fn entries<T>(
    tree: &Node,
    section: &str,
    mut make: impl FnMut(&str, &Node) -> T,
) -> BTreeMap<String, T> {
    let map = tree.get(section).and_then(Node::as_map);
    map.iter()
        .flat_map(|map| map.iter())
        .map(|(key, node)| (key.to_owned(), make(key, node)))
        .collect()
}

/// Mounts in the order they are made: by target.
pub(crate) fn mounts(items: &[Node]) -> Vec<&Node> {
    let mut items: Vec<&Node> = items.iter().collect();
    items.sort_by_key(|item| item.get_text("target").unwrap_or_default());
    items
}

fn text(node: &Node, name: &str) -> Option<String> {
    node.get(name).and_then(|node| loose(&node.value)).filter(|text| !text.is_empty())
}

fn texts(node: &Node, name: &str) -> Vec<String> {
    let items = node.get(name).map(Node::items).unwrap_or_default();
    items.iter().filter_map(|item| loose(&item.value)).collect()
}

fn command(node: &Node, name: &str) -> Option<Vec<String>> {
    node.get(name).filter(|node| !node.is_null()).map(|_| texts(node, name))
}

fn flag(node: &Node, name: &str) -> Option<bool> {
    match node.get(name)?.value {
        Value::Bool(value) => Some(value),
        _ => None,
    }
}

fn int<T: TryFrom<i128>>(node: &Node) -> Option<T> {
    match &node.value {
        Value::Int(value) => T::try_from(*value).ok(),
        Value::Text(text) => text.parse().ok().and_then(|value: i128| T::try_from(value).ok()),
        _ => None,
    }
}

fn number<T: TryFrom<i128>>(node: &Node, name: &str) -> Option<T> {
    node.get(name).and_then(int)
}

fn text_map(node: Option<&Node>) -> BTreeMap<String, String> {
    let map = node.and_then(Node::as_map);
    let entries = map.iter().flat_map(|map| map.iter());
    entries.map(|(key, value)| (key.to_owned(), loose(&value.value).unwrap_or_default())).collect()
}

fn time(node: &Node, name: &str) -> Option<Duration> {
    value::duration(node.get_text(name)?).ok()
}

struct Reader<'a> {
    found: &'a mut Vec<Finding>,
}

impl Reader<'_> {
    fn bad(&mut self, node: &Node, path: &str, reason: Bad) {
        let shown = loose(&node.value).map_or(String::new(), |text| format!("`{text}` "));
        let message = format!("`{path}`: {shown}{}", reason.why);
        self.found.push(
            Finding::at(Code::BadValue, node.span, "cannot work", message).maybe_help(reason.help),
        );
    }

    fn not_yet(&mut self, node: &Node, path: &str, what: &str, help: &str) {
        let message = format!(
            "`{path}`: {what} is part of the Compose Specification, but berth does not do it yet"
        );
        self.found.push(Finding::at(Code::NotYet, node.span, "not done yet", message).help(help));
    }

    /// Reads the value under a name with a function that can refuse it.
    fn read<T>(
        &mut self,
        node: &Node,
        name: &str,
        path: &str,
        read: impl FnOnce(&str) -> Result<T, Bad>,
    ) -> Option<T> {
        let value = node.get(name).filter(|value| !value.is_null())?;
        let text = loose(&value.value)?;
        match read(&text) {
            Ok(read) => Some(read),
            Err(reason) => {
                self.bad(value, &format!("{path}.{name}"), reason);
                None
            }
        }
    }

    fn parse<T: FromStr>(&mut self, node: &Node, name: &str, path: &str, what: &str) -> Option<T> {
        self.read(node, name, path, |text| {
            text.parse().or_else(|_| bad(format!("is not {what}"), ""))
        })
    }

    fn services(&mut self, tree: &Node) -> BTreeMap<String, Service> {
        entries(tree, "services", |name, node| self.service(&format!("services.{name}"), node))
    }

    fn service(&mut self, path: &str, node: &Node) -> Service {
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

    fn list<T>(
        &mut self,
        node: &Node,
        path: &str,
        name: &str,
        mut read: impl FnMut(&mut Self, &Node, &str) -> Option<T>,
    ) -> Vec<T> {
        let items = node.get(name).map(Node::items).unwrap_or_default();
        let mut list = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            list.extend(read(self, item, &format!("{path}.{name}.{index}")));
        }
        list
    }

    fn port(&mut self, node: &Node, path: &str) -> Option<Port> {
        let host_ip = self.parse(node, "host_ip", path, "an address");
        let protocol = self.read(node, "protocol", path, |text| match text {
            "tcp" => Ok(Protocol::Tcp),
            "udp" => Ok(Protocol::Udp),
            "sctp" => Ok(Protocol::Sctp),
            _ => bad("is not a protocol", "protocols are tcp, udp and sctp"),
        });
        let published = match node.get_text("published") {
            None | Some("0") => None,
            Some(text) => value::port_range(text).ok(),
        };
        let target = number(node, "target")?;
        Some(Port { target, published, host_ip, protocol: protocol.unwrap_or(Protocol::Tcp) })
    }

    fn volumes(&mut self, node: &Node, path: &str) -> Vec<Mount> {
        let items = mounts(node.get("volumes").map(Node::items).unwrap_or_default());
        let mut list = Vec::with_capacity(items.len());
        for item in items {
            list.extend(self.mount(item, &format!("{path}.volumes")));
        }
        list
    }

    fn mount(&mut self, node: &Node, path: &str) -> Option<Mount> {
        for name in ["source", "target"] {
            if let Some(value) = node.get(name).filter(|value| is_windows_path(value)) {
                let why =
                    "is read as a path of Windows: one letter stands before its colon".to_owned();
                let help = "give the volume a longer name, or use the long form (`type:`, `source:`, `target:`)";
                self.bad(value, path, Bad { why, help: Some(help.into()) });
                return None;
            }
        }
        let target = self.container_path(node.get("target").unwrap_or(node), path)?;
        let read_only = flag(node, "read_only").unwrap_or_default();
        let volume = node.get("volume");
        let nocopy = volume.and_then(|volume| flag(volume, "nocopy")).unwrap_or_default();
        let subpath = volume.and_then(|volume| text(volume, "subpath"));
        let source = text(node, "source");
        let source = match (node.get_text("type")?, source) {
            ("volume", Some(name)) => MountSource::Volume { name, nocopy, subpath },
            ("volume", None) => MountSource::Anonymous { nocopy },
            ("bind", Some(path)) => {
                let bind = node.get("bind");
                let create = bind.and_then(|bind| flag(bind, "create_host_path"));
                let propagation = bind.and_then(|bind| text(bind, "propagation"));
                MountSource::Bind {
                    path: path.into(),
                    create_host_path: create.unwrap_or(true),
                    propagation,
                }
            }
            ("tmpfs", _) => {
                let options = node.get("tmpfs");
                MountSource::Tmpfs(Tmpfs {
                    target: target.clone(),
                    size: options.and_then(|node| number(node, "size")),
                    mode: options.and_then(|node| number(node, "mode")),
                    options: Vec::new(),
                })
            }
            (kind, _) => {
                let help = "use a volume, a bind mount or a tmpfs";
                self.not_yet(node.get("type")?, path, &format!("a mount of type `{kind}`"), help);
                return None;
            }
        };
        Some(Mount { target, source, read_only })
    }

    fn container_path(&mut self, node: &Node, path: &str) -> Option<String> {
        match node.as_text() {
            Some(text) if text.starts_with('/') => Some(value::clean_path(text)),
            Some(_) => {
                let why = "is not an absolute path in the container".to_owned();
                self.bad(node, path, Bad { why, help: Some("start it with `/`".into()) });
                None
            }
            None => {
                let why = "the mount has no target".to_owned();
                self.bad(node, path, Bad { why, help: Some("add `target:`".into()) });
                None
            }
        }
    }

    fn tmpfs(&mut self, node: &Node, path: &str) -> Option<Tmpfs> {
        let text = node.as_text()?;
        let (target, options) = text.split_once(':').unwrap_or((text, ""));
        let target = self.container_path(&Node::text(node.span, target), path)?;
        let mut tmpfs = Tmpfs { target, size: None, mode: None, options: Vec::new() };
        for option in options.split(',').filter(|option| !option.is_empty()) {
            let result = match option.split_once('=') {
                Some(("size", size)) => {
                    value::size(size).map(|size| tmpfs.size = u64::try_from(size).ok())
                }
                Some(("mode", mode)) => match u32::from_str_radix(mode, 8) {
                    Ok(mode) => {
                        tmpfs.mode = Some(mode);
                        Ok(())
                    }
                    Err(_) => bad("has a mode that is not octal", "write it like `mode=1777`"),
                },
                _ => {
                    tmpfs.options.push(option.to_owned());
                    Ok(())
                }
            };
            if let Err(reason) = result {
                self.bad(node, path, reason);
            }
        }
        Some(tmpfs)
    }

    fn networks(&mut self, node: &Node, path: &str) -> BTreeMap<String, ServiceNetwork> {
        entries(node, "networks", |key, node| {
            let path = format!("{path}.networks.{key}");
            ServiceNetwork {
                aliases: texts(node, "aliases"),
                ipv4_address: self.parse(node, "ipv4_address", &path, "an IPv4 address"),
                ipv6_address: self.parse(node, "ipv6_address", &path, "an IPv6 address"),
                priority: number(node, "priority").unwrap_or_default(),
                gw_priority: number(node, "gw_priority").unwrap_or_default(),
                mac_address: self.read(node, "mac_address", &path, mac_address),
            }
        })
    }

    fn network_mode(&mut self, node: &Node, path: &str) -> Option<String> {
        let mode = self.read(node, "network_mode", path, |text| match text.split_once(':') {
            None if matches!(text, "none" | "host") => Ok(text.to_owned()),
            Some(("service" | "container", name)) if !name.is_empty() => Ok(text.to_owned()),
            _ => bad("is not a network mode here", "use none, host, service:NAME or `networks:`"),
        })?;
        if let (true, Some(ports)) = (mode == "host" || mode == "none", node.get("ports"))
            && !ports.items().is_empty()
        {
            let message = format!("`{path}` publishes ports and has `network_mode: {mode}`");
            let at = node.get("network_mode").map_or(node.span, |node| node.span);
            self.found.push(
                Finding::at(Code::Conflict, ports.span, "these ports", message)
                    .also(at, "this mode")
                    .help("with `host` the ports are open already: take `ports` away"),
            );
        }
        Some(mode)
    }

    fn healthcheck(&mut self, node: &Node) -> Healthcheck {
        let test = command(node, "test").filter(|test| !test.is_empty());
        let none = test.as_ref().is_some_and(|test| test[0] == "NONE");
        Healthcheck {
            test,
            interval: time(node, "interval"),
            timeout: time(node, "timeout"),
            start_period: time(node, "start_period"),
            start_interval: time(node, "start_interval"),
            retries: number(node, "retries"),
            disable: none || flag(node, "disable").unwrap_or_default(),
        }
    }

    fn restart(&mut self, node: &Node, path: &str) -> RestartPolicy {
        if let Some(policy) = node.at(&["deploy", "restart_policy"]) {
            let attempts = number(policy, "max_attempts").unwrap_or_default();
            return match policy.get_text("condition") {
                Some("none") => RestartPolicy::No,
                Some("on-failure") => RestartPolicy::OnFailure(attempts),
                Some("unless-stopped") => RestartPolicy::UnlessStopped,
                _ => RestartPolicy::Always,
            };
        }
        self.read(node, "restart", path, restart).unwrap_or_default()
    }

    fn capability(&mut self, node: &Node, path: &str) -> Option<String> {
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

    fn extra_host(&mut self, node: &Node, path: &str) -> Option<(String, String)> {
        let (name, address) = node.as_text()?.split_once('=')?;
        if address != "host-gateway" && address.parse::<IpAddr>().is_err() {
            let help = Some("write an IPv4 or IPv6 address, or `host-gateway`".to_owned());
            self.bad(node, path, Bad { why: "does not end in an address".into(), help });
            return None;
        }
        Some((name.to_owned(), address.to_owned()))
    }

    fn address(&mut self, node: &Node, path: &str) -> Option<IpAddr> {
        let address = node.as_text()?.parse().ok();
        if address.is_none() {
            self.bad(node, path, Bad { why: "is not an address".into(), help: None });
        }
        address
    }

    fn limits(&mut self, node: &Node, path: &str) -> Limits {
        let limits = node.at(&["deploy", "resources", "limits"]);
        let reserved = node.at(&["deploy", "resources", "reservations"]);
        let either = |name: &str, group: Option<&Node>, inner: &str| -> Option<Node> {
            node.get(name).or_else(|| group?.get(inner)).cloned()
        };
        let cpus = match either("cpus", limits, "cpus").map(|node| node.value) {
            Some(Value::Float(cpus)) if cpus > 0.0 => Some((cpus * 1e6).round() as u64),
            _ => cpu_quota(node),
        };
        let positive = |value: Option<u64>| value.filter(|value| *value > 0);
        let memory = positive(either("mem_limit", limits, "memory").as_ref().and_then(int));
        let memory_swap: Option<i64> = number(node, "memswap_limit").filter(|swap| *swap != 0);
        if let (Some(swap), Some(at)) = (memory_swap, node.get("memswap_limit"))
            && swap > 0
            && memory.is_none_or(|memory| (swap as u64) < memory)
        {
            let why =
                "is memory and swap together, and there is less of it than `mem_limit`".to_owned();
            let help = Some("set `mem_limit` to no more than it".to_owned());
            self.bad(at, &format!("{path}.memswap_limit"), Bad { why, help });
        }
        Limits {
            memory,
            memory_swap,
            memory_reservation: positive(
                either("mem_reservation", reserved, "memory").as_ref().and_then(int),
            ),
            cpu_micros: cpus,
            cpu_shares: number(node, "cpu_shares").filter(|shares: &u64| *shares > 0),
            cpuset: self.read(node, "cpuset", path, cpuset),
            pids: either("pids_limit", limits, "pids")
                .as_ref()
                .and_then(int)
                .filter(|pids| *pids != 0),
            oom_score_adj: number(node, "oom_score_adj"),
        }
    }

    fn logging(&mut self, node: &Node, path: &str) -> Logging {
        let mut logging = Logging::default();
        let Some(node) = node.get("logging") else {
            return logging;
        };
        let path = format!("{path}.logging");
        if let Some(driver) = node.get("driver") {
            match driver.as_text() {
                Some(name @ ("json-file" | "local" | "none")) => logging.driver = name.into(),
                Some("") | None => {}
                Some(other) => {
                    let what = format!("the log driver `{other}`");
                    self.not_yet(driver, &path, &what, "use json-file, local or none");
                }
            }
        }
        for (name, option) in
            node.get("options").and_then(Node::as_map).iter().flat_map(|map| map.iter())
        {
            let Some(text) = option.as_text() else {
                continue;
            };
            let path = format!("{path}.options.{name}");
            match name {
                "max-size" => match value::size(text) {
                    Ok(size) if size > 0 => logging.max_size = size as u64,
                    Ok(_) => {}
                    Err(reason) => self.bad(option, &path, reason),
                },
                "max-file" => match text.parse() {
                    Ok(files @ 1..) => logging.max_files = files,
                    _ => self.bad(
                        option,
                        &path,
                        Bad { why: "is not a number of files".into(), help: None },
                    ),
                },
                _ => {
                    let message = format!("`{path}` has no effect on berth's logs");
                    self.found.push(Finding::at(
                        Code::Inert,
                        option.span,
                        "no effect here",
                        message,
                    ));
                }
            }
        }
        logging
    }

    fn replicas(&mut self, node: &Node, path: &str) -> u32 {
        if let Some(mode) = node.at(&["deploy", "mode"])
            && !matches!(mode.as_text(), Some("replicated" | "global"))
        {
            let help = Some("write `replicated`, or take it away".to_owned());
            self.bad(
                mode,
                &format!("{path}.deploy.mode"),
                Bad { why: "is not a mode here".into(), help },
            );
        }
        let count = node.at(&["deploy", "replicas"]).or_else(|| node.get("scale"));
        count.map_or(1, |count| int(count).unwrap_or(u32::MAX))
    }

    fn file_mount(&mut self, node: &Node, path: &str, folder: &str) -> Option<FileMount> {
        let target = crate::short::file_target(node, folder)?;
        let octal = |text: &str| u32::from_str_radix(text, 8).or_else(|_| bad("is not a mode", ""));
        Some(FileMount {
            source: text(node, "source")?,
            target: value::clean_path(&target),
            uid: self.parse(node, "uid", path, "a number"),
            gid: self.parse(node, "gid", path, "a number"),
            mode: self.read(node, "mode", path, octal),
        })
    }

    fn network(&mut self, key: &str, node: &Node) -> Network {
        let path = format!("networks.{key}");
        let driver = text(node, "driver");
        if let Some(driver) =
            driver.as_deref().filter(|driver| *driver != "bridge" && *driver != "default")
        {
            let at = node.get("driver").unwrap_or(node);
            self.not_yet(at, &path, &format!("the network driver `{driver}`"), "use bridge");
        }
        let pools = node.at(&["ipam", "config"]).map(Node::items).unwrap_or_default();
        Network {
            name: text(node, "name").unwrap_or_default(),
            external: flag(node, "external").unwrap_or_default(),
            internal: flag(node, "internal").unwrap_or_default(),
            driver,
            driver_opts: text_map(node.get("driver_opts")),
            enable_ipv6: flag(node, "enable_ipv6").unwrap_or_default(),
            ipam: pools
                .iter()
                .enumerate()
                .map(|(index, pool)| self.pool(pool, &format!("{path}.ipam.config.{index}")))
                .collect(),
            labels: text_map(node.get("labels")),
        }
    }

    fn pool(&mut self, node: &Node, path: &str) -> IpamPool {
        let mut aux_addresses = BTreeMap::new();
        for (name, address) in
            node.get("aux_addresses").and_then(Node::as_map).iter().flat_map(|map| map.iter())
        {
            match self.address(address, &format!("{path}.aux_addresses.{name}")) {
                Some(parsed) => aux_addresses.insert(name.to_owned(), parsed),
                None => None,
            };
        }
        IpamPool {
            subnet: self.read(node, "subnet", path, subnet),
            ip_range: self.read(node, "ip_range", path, subnet),
            gateway: self.parse(node, "gateway", path, "an address"),
            aux_addresses,
        }
    }

    fn volume(&mut self, key: &str, node: &Node) -> Volume {
        let driver = text(node, "driver");
        if let Some(driver) = driver.as_deref().filter(|driver| *driver != "local") {
            let at = node.get("driver").unwrap_or(node);
            self.not_yet(
                at,
                &format!("volumes.{key}"),
                &format!("the volume driver `{driver}`"),
                "use local",
            );
        }
        Volume {
            name: text(node, "name").unwrap_or_default(),
            external: flag(node, "external").unwrap_or_default(),
            driver,
            driver_opts: text_map(node.get("driver_opts")),
            labels: text_map(node.get("labels")),
        }
    }

    fn file_object(&mut self, node: &Node) -> FileObject {
        let value = |name: &str| node.get(name).and_then(Node::as_text);
        let content = match (value("file"), value("environment"), value("content")) {
            (Some(file), ..) => FileContent::File(PathBuf::from(file)),
            (_, Some(name), _) => FileContent::Environment(
                name.to_owned(),
                value(crate::resources::VALUE).map(str::to_owned),
            ),
            (.., content) => FileContent::Inline(content.unwrap_or_default().to_owned()),
        };
        FileObject { name: text(node, "name").unwrap_or_default(), content }
    }
}

fn is_windows_path(node: &Node) -> bool {
    let bytes = node.as_text().unwrap_or_default().as_bytes();
    matches!(bytes, [letter, b':', b'/' | b'\\', ..] if letter.is_ascii_alphabetic())
}

fn environment(node: &Node) -> BTreeMap<String, Option<String>> {
    let map = node.get("environment").and_then(Node::as_map);
    let entries = map.iter().flat_map(|map| map.iter());
    entries.map(|(name, value)| (name.to_owned(), loose(&value.value))).collect()
}

fn depends_on(node: &Node) -> BTreeMap<String, Dependency> {
    entries(node, "depends_on", |_, node| Dependency {
        condition: match node.get_text("condition") {
            Some("service_healthy") => Condition::ServiceHealthy,
            Some("service_completed_successfully") => Condition::ServiceCompletedSuccessfully,
            _ => Condition::ServiceStarted,
        },
        restart: flag(node, "restart").unwrap_or_default(),
        required: flag(node, "required").unwrap_or(true),
    })
}

fn ulimits(node: &Node) -> BTreeMap<String, (i64, i64)> {
    let limit = |node: &Node, name| number(node, name).unwrap_or(-1);
    entries(node, "ulimits", |_, node| match int(node) {
        Some(both) => (both, both),
        None => (limit(node, "soft"), limit(node, "hard")),
    })
}

fn cpu_quota(node: &Node) -> Option<u64> {
    let quota: u64 = number(node, "cpu_quota").filter(|quota| *quota > 0)?;
    let period: u64 = number(node, "cpu_period").filter(|period| *period > 0).unwrap_or(100_000);
    Some(quota.saturating_mul(1_000_000) / period)
}
