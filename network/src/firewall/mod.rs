//! The packet rules of our networks: one table of our own, and nobody else's touched.
//!
//! The table (`inet berth`) is made once and holds a few rules, whatever the number of
//! networks and ports: a network is elements of sets, a published port is one element of a map.
//! Each change is one transaction that happens whole or not at all, so two commands at the same
//! time cannot mix, and a port that is taken is refused by the kernel itself.
//!
//! An accept here never overrules a drop in a table of the host's owner.

mod elements;
mod routes;
mod rules;
mod sets;

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use berth_planner::bridge::GatewayMode;
use berth_planner::observed::NetworkRecord;
use berth_schema::stack::Protocol;
use ipnet::IpNet;

use crate::conntrack;
use crate::error::{NetError, Result};
use crate::nft::{Batch, Element, Table, Tables};
use elements::{held_of, network_of, published_of, weighted_of};
pub use rules::NOT_RELAYED;
pub(crate) use rules::{LET_THROUGH, TABLE};

pub use routes::{Held, Routes, Share, Weighted, change, hold, publish, release, unpublish, weigh};
pub use rules::REVISION;

/// A network as the packet rules know it.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Network {
    /// Name, for whoever lists the rules.
    pub name: String,
    /// Link name of its bridge.
    pub bridge: String,
    /// Whose it is, where the name of the link does not tell.
    pub realm: Option<String>,
    /// Its subnets, in order.
    pub subnets: Vec<IpNet>,
    /// No way out, and no way in by published ports.
    pub internal: bool,
    /// Containers on it do not reach each other.
    pub apart: bool,
    /// What leaves keeps its address, in these families.
    pub unmasked: Families,
    /// Opened ports are reached at the containers' own addresses, in these families.
    pub routed: Families,
    /// So is every port, but not from other networks.
    pub unprotected: Families,
    /// Links of the host by which opened ports are reached at the containers' own addresses.
    pub trusted: Vec<String>,
}

/// IPv4, IPv6, both or none of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Families {
    /// IPv4.
    pub ipv4: bool,
    /// IPv6.
    pub ipv6: bool,
}

impl From<&NetworkRecord> for Network {
    fn from(record: &NetworkRecord) -> Self {
        let mut subnets: Vec<IpNet> = record.subnets.iter().map(|s| s.net.trunc()).collect();
        subnets.sort();
        let options = &record.spec.bridge;
        let mode = |mode| Families {
            ipv4: options.gateway_mode_ipv4 == mode,
            ipv6: options.gateway_mode_ipv6 == mode,
        };
        let unmasked = match options.masquerade {
            true => mode(GatewayMode::Routed),
            false => Families { ipv4: true, ipv6: true },
        };
        Network {
            name: record.name.clone(),
            bridge: record.bridge.clone(),
            realm: record.realm.clone(),
            subnets,
            internal: record.spec.internal,
            apart: !options.icc,
            unmasked,
            routed: mode(GatewayMode::Routed),
            unprotected: mode(GatewayMode::NatUnprotected),
            trusted: options.trusted.clone(),
        }
    }
}

/// A port of the host that leads to a container; or a container's own, opened where it is: then
/// `host` and `port` are the `target` itself.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Published {
    /// Who publishes it: the container's name.
    pub owner: String,
    /// Address of the host; `None` is every address of the target's family.
    pub host: Option<IpAddr>,
    /// Port of the host.
    pub port: u16,
    /// Transport.
    pub protocol: Protocol,
    /// Where it leads.
    pub target: SocketAddr,
}

impl Published {
    /// A container's own port is opened, and none of the host leads there.
    #[must_use]
    pub fn is_own(&self) -> bool {
        self.host == Some(self.target.ip()) && self.port == self.target.port()
    }
}

impl fmt::Display for Published {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let protocol = match self.protocol {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
            Protocol::Sctp => "sctp",
        };
        match self.host {
            Some(host) => write!(f, "{}/{protocol}", SocketAddr::new(host, self.port)),
            None => write!(f, "{}/{protocol}", self.port),
        }
    }
}

/// What stands in place of our table.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Base {
    /// Nothing.
    #[default]
    Absent,
    /// The rules this program makes.
    Current,
    /// Rules of an older version, or somebody took some away; [`replace`] puts them right.
    Different,
    /// Rules of a newer version of this program, to be left alone: it is at work here as well.
    Newer,
}

/// What there is of our packet rules.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Observed {
    /// The table and its rules.
    pub base: Base,
    /// Networks, by bridge.
    pub networks: Vec<Network>,
    /// Published ports, in order.
    pub published: Vec<Published>,
    /// What is done to them besides.
    pub routes: Routes,
}

impl Observed {
    /// Whether the rules for this network are in place.
    #[must_use]
    pub fn covers(&self, record: &NetworkRecord) -> bool {
        match self.base {
            Base::Absent | Base::Different => false,
            Base::Current => self.networks.contains(&Network::from(record)),
            // Newer rules may say the same in another way.
            Base::Newer => self.networks.iter().any(|network| network.bridge == record.bridge),
        }
    }
}

/// Whether the kernel knows every part of our rules. They are put into a table that is never
/// there: the last step of the transaction cannot be done, so nothing of it is.
///
/// # Errors
/// The kernel refuses one of the other steps, which is named.
pub fn probe() -> Result<()> {
    let mut batch = Batch::new(Table { name: "berth_probe", ..TABLE });
    rules::add(&mut batch, true);
    let key = vec![0];
    let last = batch.add_element("no such set", &Element { key, ..Element::default() });
    match batch.commit() {
        Err(failure) if failure.step != Some(last) => Err(failure.error),
        _ => Ok(()),
    }
}

/// Makes the table, empty of networks and ports. Gives whether it was this call that made it:
/// another command may have been faster, and then all is well too.
///
/// # Errors
/// The kernel refuses (no nf_tables, no permission).
pub fn create() -> Result<bool> {
    let mut batch = Batch::new(TABLE);
    rules::add(&mut batch, true);
    match batch.commit().map_err(NetError::from) {
        Ok(()) => Ok(true),
        Err(error) if error.already_exists() => Ok(false),
        Err(error) => Err(error),
    }
}

/// Makes the table anew with just these networks, ports and routes, in one transaction: no packet ever
/// meets half of it. Clients of UDP that began while there were no rules are led from now on.
///
/// # Errors
/// The kernel refuses; then everything is as before.
pub fn replace(networks: &[Network], published: &[Published], routes: &Routes) -> Result<()> {
    replace_by(Batch::new(TABLE), networks, published, routes)
}

/// The same, unless anybody has changed any rule since `generation`: then it gives `false`, and
/// nothing has happened.
///
/// # Errors
/// The kernel refuses; then everything is as before.
pub fn replace_after(
    generation: u32,
    networks: &[Network],
    published: &[Published],
    routes: &Routes,
) -> Result<bool> {
    unless_outrun(replace_by(Batch::after(TABLE, generation), networks, published, routes))
}

/// Whether a transaction of [`Batch::after`] has happened.
fn unless_outrun(outcome: Result<()>) -> Result<bool> {
    match outcome {
        Err(error) if error.errno() == Some(libc::ERESTART) => Ok(false),
        outcome => outcome.map(|()| true),
    }
}

/// The number of the last change of any rule, for [`replace_after`] and [`remove_after`].
///
/// # Errors
/// The kernel refuses to tell.
pub fn generation() -> Result<u32> {
    Tables::open(TABLE)?.generation()
}

fn replace_by(
    mut batch: Batch,
    networks: &[Network],
    published: &[Published],
    routes: &Routes,
) -> Result<()> {
    // Deleting needs something to delete.
    batch.add_table("", false);
    batch.delete_table();
    rules::add(&mut batch, true);
    for network in networks {
        for (set, element) in elements::of_network(network)? {
            batch.add_element(set, &element);
        }
    }
    for port in published {
        let (map, element) = elements::of_published(port)?;
        batch.add_element(map, &element);
    }
    for (set, element) in routes::all(routes)? {
        batch.add_element(set, &element);
    }
    batch.commit()?;
    // It has happened. Where the kernel does not let go of flows, they end when they fall silent.
    let _ = conntrack::forget_unled(published);
    Ok(())
}

/// Takes the table away with everything in it.
///
/// # Errors
/// It is not there, or the kernel refuses.
pub fn remove() -> Result<()> {
    remove_by(Batch::new(TABLE))
}

/// The same, unless anybody has changed any rule since `generation`: then it gives `false`, and
/// nothing has happened.
///
/// # Errors
/// As [`remove`].
pub fn remove_after(generation: u32) -> Result<bool> {
    unless_outrun(remove_by(Batch::after(TABLE, generation)))
}

fn remove_by(mut batch: Batch) -> Result<()> {
    batch.delete_table();
    Ok(batch.commit()?)
}

/// Adds the rules of a network to the table.
///
/// # Errors
/// They are there already, or the table is not, or the kernel refuses.
pub fn add_network(network: &Network) -> Result<()> {
    let mut batch = Batch::new(TABLE);
    for (set, element) in elements::of_network(network)? {
        batch.add_element(set, &element);
    }
    Ok(batch.commit()?)
}

/// Takes the rules of a network away.
///
/// # Errors
/// Some of them are not there, or the kernel refuses.
pub fn remove_network(network: &Network) -> Result<()> {
    let mut batch = Batch::new(TABLE);
    for (set, element) in elements::of_network(network)? {
        batch.delete_element(set, &element);
    }
    Ok(batch.commit()?)
}

/// What there is, as far as this program knows the sets it is in.
///
/// # Errors
/// The kernel refuses to tell.
pub fn observe() -> Result<Observed> {
    let mut tables = Tables::open(TABLE)?;
    let Some(comment) = tables.comment()? else {
        return Ok(Observed::default());
    };
    let base = rules::judge(&comment, tables.rules()?);
    let networks = network_of(&mut tables)?;
    let published = published_of(&mut tables)?;
    let routes = Routes { weighted: weighted_of(&mut tables)?, held: held_of(&mut tables)? };
    // A set that is not there is empty, and so are all of them when the table went meanwhile.
    match tables.comment()? {
        Some(_) => Ok(Observed { base, networks, published, routes }),
        None => Ok(Observed::default()),
    }
}
