//! `berth port`.

use berth_network::firewall;
use berth_planner::desired::PortSpec;
use clap::Args;

use crate::failure::{Exit, Failure};
use crate::session::Session;
use crate::{flow, pick, ports};

/// Arguments of `port`.
#[derive(Debug, Args)]
pub(crate) struct PortArgs {
    /// The service
    service: String,
    /// Port in the container, `80` or `80/udp`
    private_port: String,
    /// Number of the container, when the service has several
    #[arg(long, default_value_t = 0, hide_default_value = true)]
    index: u32,
    /// tcp or udp
    #[arg(long, default_value = "tcp", value_parser = ["tcp", "udp", "sctp"])]
    protocol: String,
}

/// Prints where a port of a service is reached: on the host, or at the container's own address.
pub(crate) async fn run(session: &Session, args: &PortArgs) -> Result<Exit, Failure> {
    let (port, protocol) = private_port(&args.private_port, &args.protocol)?;
    let project = session.project()?;
    let host = flow::open_to_look(session)?;
    let all = host.list_containers()?;
    let container = pick::running(all.values(), &project, &args.service, args.index)?;
    let matches =
        |spec: &&PortSpec| spec.target == port && ports::protocol(spec.protocol) == protocol;
    let found: Vec<&PortSpec> = container.published.iter().filter(matches).collect();
    if found.is_empty() {
        let name = &container.record.name;
        return Err(Failure::refused(format!(
            "no port {port}/{protocol} of `{name}` is published"
        )));
    }
    let rules = firewall::observe().map_err(Failure::refused)?.published;
    for spec in found {
        for place in ports::places(&container.record, spec, &rules) {
            let at = place.at.ok_or_else(|| closed(&container.record.name, spec))?;
            session.ui.data(&at.to_string())?;
        }
    }
    Ok(Exit::Done)
}

/// At the container's own address, which only the rules that open it there tell.
fn closed(name: &str, port: &PortSpec) -> Failure {
    let (port, protocol) = (port.target, ports::protocol(port.protocol));
    Failure::refused(format!(
        "the rules that open port {port}/{protocol} of `{name}` are missing; `berth up` makes them \
         again"
    ))
}

fn private_port(text: &str, protocol: &str) -> Result<(u16, String), Failure> {
    let (number, protocol) = text.split_once('/').unwrap_or((text, protocol));
    let number = number.parse().map_err(|_| Failure::usage(format!("`{text}` is no port")))?;
    Ok((number, protocol.to_owned()))
}
