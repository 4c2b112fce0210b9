//! `berth ports`.

use std::net::{IpAddr, SocketAddr};

use berth_network::firewall::Published;
use berth_network::foreign::{Answer, Obstacle, Scope, Way};
use berth_network::listening::{self, Socket};
use berth_planner::desired::PortSpec;
use berth_planner::observed::{ContainerState, ObservedContainer};
use berth_runtime::host::Asked;
use berth_schema::stack::Protocol;
use clap::Args;
use serde::Serialize;

use crate::failure::{Exit, Failure};
use crate::flow;
use crate::form::{Form, Listed};
use crate::ports::{self, Families, PUBLIC, Place};
use crate::project::{check_services, containers};
use crate::reach::{self, Grounds, State};
use crate::rows;
use crate::session::Session;
use crate::ui::Table;

/// Arguments of `ports`.
#[derive(Debug, Args)]
pub(crate) struct PortsArgs {
    /// Only these services
    services: Vec<String>,
    /// The ports of every project of this host
    #[arg(short, long, conflicts_with = "services")]
    all: bool,
    /// Also ports that containers listen on for those on their networks alone
    #[arg(short, long)]
    listening: bool,
    /// `table`, `json`, or a template in Go's words: `{{.Name}}`, `table {{.Name}}\t{{.State}}`
    #[arg(long, value_name = "FORMAT", default_value = "table", hide_default_value = true)]
    format: Form,
}

/// A port: where it is, who reaches it, and whether something is in the way.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Row {
    project: String,
    service: String,
    name: String,
    /// Address of the host, or the container's own; empty when it is not published.
    #[serde(rename = "URL")]
    url: String,
    published_port: u16,
    target_port: u16,
    protocol: &'static str,
    /// `public`, `address`, `host`, `routed` when it is at the container's own address, or
    /// `networks` when it is not published.
    open_to: &'static str,
    /// Links by which it is meant to be reached, or the networks it is for.
    links: Vec<String>,
    /// `open`, `partly`, `unclear`, `blocked`, `unreachable`, `silent`, `stopped`, `internal`,
    /// `relayed` or `missing`.
    state: &'static str,
    /// What makes it so.
    details: Vec<String>,
    /// The rules of others that are in the way.
    obstacles: Vec<InTheWay>,
}

impl Listed for Row {}

/// A rule of others in the way of packets from a link.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct InTheWay {
    link: Option<String>,
    rule: String,
    obstacle: Obstacle,
}

/// Tells who reaches which port.
pub(crate) async fn run(session: &Session, args: &PortsArgs) -> Result<Exit, Failure> {
    let host = flow::open_to_look(session)?;
    let observed = host.observe(&Asked::default()).await?;
    let shown: Vec<&ObservedContainer> = if args.all {
        observed.containers.values().collect()
    } else {
        let project = session.project()?;
        check_services(&project, &observed, &args.services)?;
        containers(&observed, &project.name, &args.services)
    };
    let grounds = Grounds::gather().map_err(Failure::refused)?;
    let rows: Vec<Row> =
        shown.into_iter().flat_map(|container| of(container, &grounds, args.listening)).collect();
    session.ui.rows(&args.format, &rows, || table(&rows))?;
    if let Some(unsaid) = grounds.unsaid() {
        session.ui.note(&format!("note: {unsaid}: they may block more than is told here"));
    }
    Ok(Exit::Done)
}

/// The rows of a container.
fn of(container: &ObservedContainer, grounds: &Grounds, listening: bool) -> Vec<Row> {
    let sockets = match container.state {
        // Whoever has ended meanwhile is not asked.
        ContainerState::Running { pid, .. } => listening::of_process(pid).ok(),
        _ => None,
    };
    let is_up = rows::is_up(container.state);
    let ports = if is_up { &container.published } else { &container.record.spec.ports };
    let families = Families::of(&container.record);
    let mut rows = Vec::new();
    for port in ports {
        match is_up {
            true => rows.extend(
                ports::places(&container.record, port, &grounds.ours.published)
                    .into_iter()
                    .map(|place| published(container, port, &place, grounds, sockets.as_deref())),
            ),
            false => rows.extend(
                ports::addresses(port, families)
                    .into_iter()
                    .map(|address| stopped(container, port, address)),
            ),
        }
    }
    if listening && has_own_network(container) {
        rows.extend(unpublished(container, sockets.as_deref().unwrap_or_default()));
    }
    rows
}

fn row(container: &ObservedContainer, port: &PortSpec, at: Option<SocketAddr>) -> Row {
    let record = &container.record;
    Row {
        project: record.project.clone(),
        service: record.service.clone(),
        name: record.name.clone(),
        url: at.map(|at| at.ip().to_string()).unwrap_or_default(),
        published_port: at.map_or(0, |at| at.port()),
        target_port: port.target,
        protocol: ports::protocol(port.protocol),
        open_to: match Scope::of(port.host_ip) {
            Scope::Public => "public",
            Scope::Host => "host",
            Scope::Address(_) => "address",
        },
        links: Vec::new(),
        state: State::Open.word(),
        details: Vec::new(),
        obstacles: Vec::new(),
    }
}

fn stopped(container: &ObservedContainer, port: &PortSpec, address: IpAddr) -> Row {
    let state = rows::state(container);
    let details = vec![format!("the container is {state}")];
    // 0: nobody knows before it starts.
    let at = SocketAddr::new(address, port.published.map_or(0, |(first, _)| first));
    Row { state: "stopped", details, ..row(container, port, Some(at)) }
}

fn published(
    container: &ObservedContainer,
    port: &PortSpec,
    place: &Place<'_>,
    grounds: &Grounds,
    sockets: Option<&[Socket]>,
) -> Row {
    let mut row = row(container, port, place.at);
    if place.rule.map_or(port.published.is_none(), Published::is_own) {
        row.open_to = "routed";
    }
    let Some(rule) = place.rule else {
        if place.at.is_some_and(|at| is_relayed(container, at.ip())) {
            let details =
                vec!["by a relay: rules of the host for input count, not looked at".to_owned()];
            return Row { state: "relayed", details, ..row };
        }
        let details = vec!["the rules that lead it to the container are missing".to_owned()];
        return Row { state: "missing", details, ..row };
    };
    let ways = grounds.ways(rule);
    let links = ways.iter().filter_map(|way| way.link.clone()).collect();
    let internal = grounds.network_of(rule).filter(|network| network.internal);
    if let Some(network) = internal {
        let details = vec![format!("network {} is internal: nobody gets in", network.name)];
        return Row { state: "internal", details, links, ..row };
    }
    let (mut state, mut details) = grounds.state(rule, &ways);
    let at = (rule.target.ip(), rule.target.port());
    if let Some(why) = sockets.and_then(|sockets| reach::silence(sockets, rule.protocol, at)) {
        state = state.min(State::Silent);
        details.push(why);
    }
    let obstacles = ways.iter().filter_map(in_the_way).collect();
    Row { state: state.word(), details, obstacles, links, ..row }
}

/// Whether the container has no address in the family that is asked: then packets end at a relay
/// on this host.
fn is_relayed(container: &ObservedContainer, address: IpAddr) -> bool {
    let mut own = container.record.addresses.values().flat_map(|on| on.iter());
    !own.any(|own| own.is_ipv4() == address.is_ipv4())
}

fn in_the_way(way: &Way) -> Option<InTheWay> {
    match &way.answer {
        Answer::Passes => None,
        Answer::Blocked(by) | Answer::Partly(by) | Answer::Unclear(by) => {
            Some(InTheWay { link: way.link.clone(), rule: by.to_string(), obstacle: by.clone() })
        }
    }
}

fn has_own_network(container: &ObservedContainer) -> bool {
    !container.record.addresses.is_empty()
}

/// What a container listens on beside its published ports, its loopback left out.
fn unpublished(container: &ObservedContainer, sockets: &[Socket]) -> Vec<Row> {
    let is_published = |protocol: Protocol, port: u16| {
        container.published.iter().any(|p| (p.protocol, p.target) == (protocol, port))
    };
    let mut ports: Vec<(u16, Protocol)> = sockets
        .iter()
        .filter(|s| !s.address.is_loopback() && !is_published(s.protocol, s.port))
        .map(|s| (s.port, s.protocol))
        .collect();
    ports.sort();
    ports.dedup();
    let spec = |(target, protocol)| PortSpec { host_ip: None, published: None, target, protocol };
    let row = |port| Row {
        open_to: "networks",
        links: container.record.addresses.keys().cloned().collect(),
        ..row(container, &spec(port), None)
    };
    ports.into_iter().map(row).collect()
}

fn table(rows: &[Row]) -> Table {
    let mut table = Table::new(["NAME", "HOST", "TARGET", "OPEN TO", "STATE"]);
    for row in rows {
        let host: Option<IpAddr> = row.url.parse().ok();
        let host = host.map(|address| SocketAddr::new(address, row.published_port).to_string());
        table.row([
            row.name.clone(),
            host.unwrap_or_else(|| "-".to_owned()),
            format!("{}/{}", row.target_port, row.protocol),
            open_to(row),
            if row.details.is_empty() { row.state.to_owned() } else { row.details.join("; ") },
        ]);
    }
    table
}

fn open_to(row: &Row) -> String {
    let links = match row.links.is_empty() {
        true => String::new(),
        false => format!(" ({})", row.links.join(", ")),
    };
    match row.open_to {
        "public" => format!("{PUBLIC}{links}"),
        "host" => "this host".to_owned(),
        "routed" => format!("who has a route{links}"),
        "networks" => format!("containers{links}"),
        _ => format!("{}{links}", row.url),
    }
}
