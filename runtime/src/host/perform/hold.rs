//! Ports at which new connections wait while a container is replaced.

use std::net::IpAddr;
use std::time::Duration;

use berth_network::error::NetError;
use berth_network::firewall::{self, Held};
use berth_network::{conntrack, listening};
use berth_planner::hold::HeldPort;
use berth_planner::observed::{Addresses, Health};
use berth_schema::stack::Protocol;
use tokio::time::{Instant, sleep, timeout_at};

use super::super::{Host, StepError, Stored};
use super::blocking;
use crate::bundle::{Phase, Status};
use crate::monitor::client;

/// Between two looks at what listens, of which nobody sends word.
const PAUSE: Duration = Duration::from_millis(5);

/// Lets new connections wait for `limit` at most, and those that are there come to their end.
pub(super) async fn hold(
    host: &Host,
    name: &str,
    ports: &[HeldPort],
    (limit, drain): (Duration, Duration),
) -> Result<(), StepError> {
    let stored = Stored::read(&host.roots, name)
        .map_err(|e| StepError::refused("read container", name, e))?
        .ok_or_else(|| StepError::Stale(format!("container `{name}` is not there")))?;
    let targets: Vec<IpAddr> = stored.record.addresses.values().flat_map(Addresses::iter).collect();
    there(firewall::hold(&held(name, ports, limit)))
        .map_err(|e| StepError::failed("hold the ports of", name, e))?;
    blocking(move || {
        // Where the kernel does not tell, they are cut as they would be without a look.
        let _ = conntrack::drain(&targets, drain);
        Ok(())
    })
    .await
}

/// Lets new connections in again: when somebody serves, nobody will, or `patience` is over.
pub(super) async fn release(
    host: &Host,
    name: &str,
    ports: &[HeldPort],
    patience: Duration,
) -> Result<(), StepError> {
    serves(host, name, ports, Instant::now() + patience).await;
    there(firewall::release(&held(name, ports, patience)))
        .map_err(|e| StepError::failed("release the ports of", name, e))
}

fn held(owner: &str, ports: &[HeldPort], left: Duration) -> Vec<Held> {
    let held = |port: &HeldPort| {
        let owner = owner.to_owned();
        Held { owner, host: port.host_ip, port: port.port, left }
    };
    ports.iter().map(held).collect()
}

/// Where somebody has flushed the table, nobody waits.
fn there(done: Result<(), NetError>) -> Result<(), NetError> {
    match done {
        Err(error) if error.is_missing() => Ok(()),
        done => done,
    }
}

/// Waits until clients can be let in: it is healthy, or where nothing checks it, something listens
/// behind each port; or it is not going to be, or the time is over.
async fn serves(host: &Host, name: &str, ports: &[HeldPort], until: Instant) {
    let Ok(mut updates) = client::subscribe(&host.roots.container_run(name)).await else { return };
    while let Ok(Some(status)) = timeout_at(until, updates.next()).await {
        match sign(&status) {
            Sign::Good | Sign::Bad => return,
            Sign::Wait => {}
            Sign::Look => return listens(status.pid, ports, until).await,
        }
    }
}

/// What a status says of whether it serves.
#[derive(Debug, PartialEq, Eq)]
enum Sign {
    Good,
    Bad,
    /// Another one will say.
    Wait,
    /// None will: what listens has to be looked at.
    Look,
}

fn sign(status: &Status) -> Sign {
    match (status.phase, status.health) {
        (Phase::Exited | Phase::Waiting | Phase::Stopping, _) => Sign::Bad,
        (Phase::Running, Health::Healthy) => Sign::Good,
        (Phase::Running, Health::Unhealthy) => Sign::Bad,
        (Phase::Running, Health::None) => Sign::Look,
        (Phase::Running, Health::Starting) | (Phase::Starting, _) => Sign::Wait,
    }
}

/// Waits until something listens behind each of the ports. One that ended listens no more, and then its
/// clients need not wait.
async fn listens(pid: i32, ports: &[HeldPort], until: Instant) {
    while Instant::now() < until {
        let looked = blocking(move || {
            listening::of_process(pid)
                .map_err(|e| StepError::refused("look at", pid.to_string(), e))
        });
        let Ok(sockets) = looked.await else { return };
        let reached = |at: IpAddr| !at.to_canonical().is_loopback();
        let behind = |port: &HeldPort| {
            let mut own = sockets.iter().filter(|socket| socket.port == port.target);
            own.any(|socket| socket.protocol == Protocol::Tcp && reached(socket.address))
        };
        if ports.iter().all(behind) {
            return;
        }
        sleep(PAUSE).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_are_let_in_where_it_is_well_or_will_not_be() {
        let status = |phase, health| Status { phase, health, ..Status::default() };
        for (phase, health, wanted) in [
            (Phase::Starting, Health::None, Sign::Wait),
            (Phase::Running, Health::Starting, Sign::Wait),
            (Phase::Running, Health::Healthy, Sign::Good),
            (Phase::Running, Health::Unhealthy, Sign::Bad),
            (Phase::Running, Health::None, Sign::Look),
            (Phase::Waiting, Health::None, Sign::Bad),
            (Phase::Exited, Health::Healthy, Sign::Bad),
        ] {
            assert_eq!(sign(&status(phase, health)), wanted, "{phase:?} {health:?}");
        }
    }
}
