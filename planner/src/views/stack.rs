//! A stack as a picture of what hangs together: who needs whom, and what they have in common.

use std::collections::{BTreeMap, BTreeSet};

use berth_schema::stack::{
    Condition, Dependency, IpcMode, MountSource, NetworkMode, PidMode, Service, Stack,
    VolumesSource,
};

use super::drawing::{Drawing, Language, Shape, Spot, Stroke, visible};
use super::ops::state;
use crate::order::Order;

/// What a service is tied to, and how.
#[derive(Debug, PartialEq, Eq)]
struct Tie<'a> {
    way: Way,
    to: &'a str,
    /// It is a container by its name on the host, not a service.
    outside: bool,
    /// What else is to be said: a condition, a path in the container.
    remark: String,
}

impl Tie<'_> {
    /// The other thing as the file has it.
    fn name(&self) -> String {
        if self.outside { format!("container:{}", self.to) } else { self.to.to_owned() }
    }
}

/// How a service is tied to another thing. In this order they are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Way {
    After,
    Link,
    SharesNetwork,
    SharesProcesses,
    SharesMemory,
    VolumesFrom,
    Network,
    Volume,
    Config,
    Secret,
}

impl Way {
    const ALL: [Way; 10] = [
        Way::After,
        Way::Link,
        Way::SharesNetwork,
        Way::SharesProcesses,
        Way::SharesMemory,
        Way::VolumesFrom,
        Way::Network,
        Way::Volume,
        Way::Config,
        Way::Secret,
    ];

    /// What stands before the things in a text.
    fn word(self) -> &'static str {
        match self {
            Way::After => "after",
            Way::Link => "links to",
            Way::SharesNetwork => "in the network of",
            Way::SharesProcesses => "among the processes of",
            Way::SharesMemory => "with the memory of",
            Way::VolumesFrom => "with the volumes of",
            Way::Network => "networks",
            Way::Volume => "volumes",
            Way::Config => "configs",
            Way::Secret => "secrets",
        }
    }

    /// What stands at an arrow, before the remark.
    fn label(self) -> &'static str {
        match self {
            Way::After | Way::Network | Way::Volume | Way::Config | Way::Secret => "",
            Way::Link => "link",
            Way::SharesNetwork => "network",
            Way::SharesProcesses => "processes",
            Way::SharesMemory => "memory",
            Way::VolumesFrom => "volumes",
        }
    }

    /// The shape of what it leads to, and what that is called when it is no service.
    fn shape(self) -> (Shape, &'static str) {
        match self {
            Way::Network => (Shape::Round, "network "),
            Way::Volume => (Shape::Store, "volume "),
            Way::Config => (Shape::Sheet, "config "),
            Way::Secret => (Shape::Sheet, "secret "),
            Way::After
            | Way::Link
            | Way::SharesNetwork
            | Way::SharesProcesses
            | Way::SharesMemory
            | Way::VolumesFrom => (Shape::Box, ""),
        }
    }
}

/// The stack as a graph: services, networks, named volumes, configs and secrets, and an arrow from
/// each service to what it needs or has.
pub fn graph(stack: &Stack, language: Language) -> String {
    let mut drawing =
        Drawing::new("an arrow leads from a service to what it needs: dashed to what it only has");
    let mut spots: BTreeMap<(&str, &str), Spot> = BTreeMap::new();
    for (name, service) in &stack.services {
        let label = format!("{name}: {}", made_from(service));
        spots.insert(("", name), drawing.node(label, Shape::Box));
    }
    for (name, service) in &stack.services {
        let from = spots[&("", name.as_str())];
        for tie in ties(service) {
            let (shape, kind) = tie.way.shape();
            let kind = if tie.outside { "container " } else { kind };
            let to = *spots
                .entry((kind, tie.to))
                .or_insert_with(|| drawing.node(format!("{kind}{}", tie.to), shape));
            let stroke = if shape == Shape::Box { Stroke::Solid } else { Stroke::Dashed };
            let words = [tie.way.label(), tie.remark.as_str()];
            let words: Vec<&str> = words.into_iter().filter(|word| !word.is_empty()).collect();
            drawing.edge(from, to, stroke, words.join(" "));
        }
    }
    drawing.text(language)
}

/// The stack for people: services by levels, each of which begins when those above are as they are
/// waited for, with what they are tied to.
pub fn text(stack: &Stack) -> String {
    let mut levels: BTreeMap<usize, Vec<&str>> = BTreeMap::new();
    for (name, level) in levels_of(stack) {
        levels.entry(level).or_default().push(name);
    }
    let wide = stack.services.keys().map(|name| name.chars().count()).max().unwrap_or(0);
    let digits = levels.len().to_string().len();
    let mut lines = vec![stack.name.clone()];
    for (level, names) in levels {
        for (at, name) in names.into_iter().enumerate() {
            let service = &stack.services[name];
            let number = if at == 0 { (level + 1).to_string() } else { String::new() };
            let made_from = visible(&made_from(service));
            lines.push(format!("{number:>digits$}  {name:wide$}  {made_from}"));
            let indent = " ".repeat(digits + wide + 4);
            let relations = relations(service);
            lines.extend(relations.iter().map(|line| format!("{indent}  {}", visible(line))));
        }
    }
    lines.join("\n") + "\n"
}

/// `app:1`, `app:1 ×3`.
fn made_from(service: &Service) -> String {
    let image = service.image.as_deref().unwrap_or("built");
    match service.replicas {
        1 => image.to_owned(),
        many => format!("{image} ×{many}"),
    }
}

/// One line for each way in which it is tied to something.
fn relations(service: &Service) -> Vec<String> {
    let ties = ties(service);
    let told = Way::ALL.into_iter().filter_map(|way| {
        let of_way = ties.iter().filter(|tie| tie.way == way);
        let things: Vec<String> = of_way
            .map(|tie| match tie.remark.as_str() {
                "" => tie.name(),
                remark => format!("{} ({remark})", tie.name()),
            })
            .collect();
        (!things.is_empty()).then(|| format!("{} {}", way.word(), things.join(", ")))
    });
    told.collect()
}

/// How far from the first each service is: one behind the last that it needs.
fn levels_of(stack: &Stack) -> BTreeMap<&str, usize> {
    let needs = stack.services.iter().map(|(name, service)| {
        let ties = ties(service);
        let needed = ties.iter().filter(|tie| tie.way < Way::Network && !tie.outside);
        let needed = needed.map(|tie| tie.to);
        let known = needed.filter_map(|to| stack.services.get_key_value(to));
        (name.as_str(), known.map(|(to, _)| to.as_str()).collect::<BTreeSet<&str>>())
    });
    let order = Order::of(needs.collect());
    let mut levels: BTreeMap<&str, usize> = BTreeMap::new();
    for name in order.names() {
        let last = order.needs(name).filter_map(|on| levels.get(on)).max();
        let level = last.map_or(0, |last| last + 1);
        levels.insert(name, level);
    }
    levels
}

/// All that a service is tied to.
fn ties(service: &Service) -> Vec<Tie<'_>> {
    let mut ties: Vec<Tie> = Vec::new();
    let plain = |way, to| Tie { way, to, outside: false, remark: String::new() };
    let beyond = |way, to| Tie { outside: true, ..plain(way, to) };
    ties.extend(service.links.iter().map(|link| plain(Way::Link, link.name.as_str())));
    match &service.network_mode {
        Some(NetworkMode::Service(to)) => ties.push(plain(Way::SharesNetwork, to)),
        Some(NetworkMode::Container(to)) => ties.push(beyond(Way::SharesNetwork, to)),
        Some(NetworkMode::None | NetworkMode::Host) | None => {}
    }
    match &service.pid {
        PidMode::Service(to) => ties.push(plain(Way::SharesProcesses, to)),
        PidMode::Container(to) => ties.push(beyond(Way::SharesProcesses, to)),
        PidMode::Private | PidMode::Host => {}
    }
    match &service.ipc {
        IpcMode::Service(to) => ties.push(plain(Way::SharesMemory, to)),
        IpcMode::Container(to) => ties.push(beyond(Way::SharesMemory, to)),
        IpcMode::Private | IpcMode::Shareable | IpcMode::None | IpcMode::Host => {}
    }
    ties.extend(service.volumes_from.iter().map(|from| {
        let (to, outside) = match &from.source {
            VolumesSource::Service(to) => (to, false),
            VolumesSource::Container(to) => (to, true),
        };
        let remark = if from.read_only { "read-only".to_owned() } else { String::new() };
        Tie { way: Way::VolumesFrom, to, outside, remark }
    }));
    // What shares something with another waits for its start, and but for volumes restarts with it,
    // whether the file says so or not.
    let implied = |to: &String, on: &Dependency| {
        let follows = |tie: &Tie| on.restart == (tie.way != Way::VolumesFrom);
        on.condition == Condition::ServiceStarted
            && on.required
            && ties.iter().any(|tie| tie.to == to && !tie.outside && follows(tie))
    };
    let waits = service.depends_on.iter().filter(|(to, dependency)| !implied(to, dependency));
    let waits = waits.map(|(to, on)| Tie { remark: needed(on), ..plain(Way::After, to) });
    let waits: Vec<Tie> = waits.collect();
    ties.extend(waits);
    ties.extend(service.networks.keys().map(|to| plain(Way::Network, to)));
    ties.extend(service.volumes.iter().filter_map(|mount| match &mount.source {
        MountSource::Volume { name, .. } => {
            let access = if mount.read_only { ", read-only" } else { "" };
            let remark = format!("{}{access}", mount.target);
            Some(Tie { remark, ..plain(Way::Volume, name) })
        }
        MountSource::Anonymous { .. }
        | MountSource::Bind { .. }
        | MountSource::Tmpfs(_)
        | MountSource::Image { .. } => None,
    }));
    let files = service.configs.iter().map(|file| (Way::Config, file));
    let files = files.chain(service.secrets.iter().map(|file| (Way::Secret, file)));
    ties.extend(files.map(|(way, file)| plain(way, file.source.as_str())));
    ties
}

/// `healthy, restart`.
fn needed(dependency: &Dependency) -> String {
    let mut words = vec![state(dependency.condition)];
    words.extend(dependency.restart.then_some("restart"));
    words.extend((!dependency.required).then_some("optional"));
    words.join(", ")
}
