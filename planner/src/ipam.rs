//! Subnets for networks, addresses for containers, ranges of ids for user namespaces.
//!
//! Always the lowest that is free, so the same state gives the same choice.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use sha2::{Digest, Sha256};

use crate::desired::{EndpointSpec, NetworkSpec, PoolSpec};
use crate::observed::{Addresses, NetworkRecord, Subnet};
use crate::problem::PlanProblem;
use crate::resolve::hex;

/// Link name of a network's bridge: 15 bytes, the same for the same name in the same realm (see
/// [`HostFacts::realm`](crate::observed::HostFacts::realm)).
pub fn bridge_name(realm: &str, network: &str) -> String {
    let digest = Sha256::new().chain_update(realm).chain_update(network).finalize();
    format!("br-{}", hex(&digest[..6]))
}

/// Subnets that are in use, each with who uses it.
#[derive(Debug, Default)]
pub(crate) struct Subnets {
    taken: Vec<(IpNet, String)>,
    /// Parts of the subnets of links of the host that networks give addresses from: the link, the
    /// part, and the network.
    shared: Vec<(String, IpNet, String)>,
}

impl Subnets {
    pub(crate) fn take(&mut self, net: IpNet, owner: String) {
        self.taken.push((net, owner));
    }

    /// Marks where a network beside a link of the host gives addresses from.
    pub(crate) fn share(&mut self, network: &str, spec: &NetworkSpec) {
        let Some(parent) = spec.parent() else { return };
        let parts = spec.pools.iter().map(|pool| pool.range());
        self.shared.extend(parts.map(|part| (parent.to_owned(), part, network.to_owned())));
    }

    fn overlapping(&self, net: &IpNet) -> Option<&str> {
        self.taken.iter().find(|(taken, _)| overlap(taken, net)).map(|(_, owner)| owner.as_str())
    }

    /// The subnets of a new network, IPv4 first; they count as taken from here on.
    pub(crate) fn choose(
        &mut self,
        network: &str,
        spec: &NetworkSpec,
    ) -> Result<Vec<Subnet>, Vec<PlanProblem>> {
        let mut problems = Vec::new();
        let mut subnets = Vec::new();
        if let Some(parent) = spec.parent() {
            return self.beside(network, spec, parent);
        }
        for pool in &spec.pools {
            match self.asked(network, pool) {
                Ok(subnet) => subnets.push(subnet),
                Err(problem) => problems.push(problem),
            }
        }
        let has_v4 = spec.pools.iter().any(|pool| is_v4(&pool.subnet));
        if !spec.without_ipv4 && !has_v4 {
            match self.free_v4() {
                Some(net) => subnets.push(self.first_is_gateway(network, net)),
                None => problems.push(PlanProblem::PoolsExhausted {
                    network: network.to_string(),
                    takers: self.takers(),
                }),
            }
        }
        let has_v6 = spec.pools.iter().any(|pool| !is_v4(&pool.subnet));
        if spec.enable_ipv6 && !has_v6 {
            let net = self.free_v6(network);
            subnets.push(self.first_is_gateway(network, net));
        }
        subnets.sort_by_key(|subnet| !is_v4(&subnet.net));
        if problems.is_empty() { Ok(subnets) } else { Err(problems) }
    }

    /// The subnets that a link of the host leads to. Its own route is no reason against them, and
    /// neither is another network there that gives other addresses.
    fn beside(
        &mut self,
        network: &str,
        spec: &NetworkSpec,
        parent: &str,
    ) -> Result<Vec<Subnet>, Vec<PlanProblem>> {
        let mut problems = Vec::new();
        let mut subnets = Vec::new();
        for pool in &spec.pools {
            let part = pool.range();
            let same = |(link, theirs, _): &&(String, IpNet, String)| {
                link == parent && overlap(theirs, &part)
            };
            if let Some((_, _, other)) = self.shared.iter().find(same) {
                problems.push(PlanProblem::RangeOverlap {
                    network: network.to_string(),
                    range: part,
                    other: other.clone(),
                });
                continue;
            }
            match self.with_gateway(network, pool) {
                Ok(subnet) => subnets.push(subnet),
                Err(problem) => problems.push(problem),
            }
        }
        self.share(network, spec);
        subnets.sort_by_key(|subnet| !is_v4(&subnet.net));
        if problems.is_empty() { Ok(subnets) } else { Err(problems) }
    }

    fn asked(&mut self, network: &str, pool: &PoolSpec) -> Result<Subnet, PlanProblem> {
        if let Some(other) = self.overlapping(&pool.subnet) {
            return Err(PlanProblem::SubnetOverlap {
                network: network.to_string(),
                subnet: pool.subnet,
                other: other.to_string(),
            });
        }
        self.with_gateway(network, pool)
    }

    fn with_gateway(&mut self, network: &str, pool: &PoolSpec) -> Result<Subnet, PlanProblem> {
        match pool.gateway {
            Some(gateway) if !pool.subnet.contains(&gateway) => Err(PlanProblem::GatewayOutside {
                network: network.to_string(),
                gateway: gateway.to_string(),
                subnet: pool.subnet,
            }),
            Some(gateway) => {
                self.take(pool.subnet, format!("network `{network}`"));
                Ok(Subnet { net: pool.subnet, gateway })
            }
            None => Ok(self.first_is_gateway(network, pool.subnet)),
        }
    }

    fn first_is_gateway(&mut self, network: &str, net: IpNet) -> Subnet {
        self.take(net, format!("network `{network}`"));
        Subnet { net, gateway: address(net, number(net.network()) + 1) }
    }

    fn free_v4(&self) -> Option<IpNet> {
        pools_v4().find(|net| self.overlapping(net).is_none())
    }

    /// Who has addresses of the pools: the first few, who takes the most first.
    fn takers(&self) -> String {
        const TOLD: usize = 4;
        let in_pools = |net: &IpNet| pools_v4().any(|pool| overlap(&pool, net));
        let mut takers: Vec<_> = self.taken.iter().filter(|(net, _)| in_pools(net)).collect();
        takers.sort_by_key(|(net, _)| net.prefix_len());
        let mut told: Vec<String> =
            takers.iter().take(TOLD).map(|(_, owner)| owner.clone()).collect();
        if takers.len() > TOLD {
            told.push(format!("{} more", takers.len() - TOLD));
        }
        told.join(", ")
    }

    /// A unique local /64 made from the network's name.
    fn free_v6(&self, network: &str) -> IpNet {
        let hash = Sha256::digest(network);
        let mut bytes = [0; 16];
        bytes[0] = 0xfd;
        bytes[1..6].copy_from_slice(&hash[..5]);
        let base = u128::from_be_bytes(bytes);
        // There are fewer subnets on a host than numbers here, so one is free.
        let candidates = (0..=u128::from(u16::MAX)).map(|part| base | part << 64);
        let mut nets = candidates.map(|bits| IpNet::V6(Ipv6Net::new_assert(bits.into(), 64)));
        nets.find(|net| self.overlapping(net).is_none())
            .unwrap_or_else(|| IpNet::V6(Ipv6Net::new_assert(base.into(), 64)))
    }
}

/// Docker's default pools, its default bridge's left out.
fn pools_v4() -> impl Iterator<Item = IpNet> {
    let large = (18..=31).map(|second| (Ipv4Addr::new(172, second, 0, 0), 16));
    let small = (0..16).map(|part| (Ipv4Addr::new(192, 168, part * 16, 0), 20));
    let pools = large.chain(small).filter_map(|(base, prefix)| Ipv4Net::new(base, prefix).ok());
    pools.map(IpNet::V4)
}

fn is_v4(net: &IpNet) -> bool {
    matches!(net, IpNet::V4(_))
}

/// Whether two subnets have an address in common.
pub(crate) fn overlap(a: &IpNet, b: &IpNet) -> bool {
    a.contains(&b.network()) || b.contains(&a.network())
}

/// An address as a number, to count with.
fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(u32::from(v4)),
        IpAddr::V6(v6) => u128::from(v6),
    }
}

/// The address of that number in the family of `net`.
fn address(net: IpNet, number: u128) -> IpAddr {
    match net {
        IpNet::V4(_) => IpAddr::V4(Ipv4Addr::from(u32::try_from(number).unwrap_or(u32::MAX))),
        IpNet::V6(_) => IpAddr::V6(Ipv6Addr::from(number)),
    }
}

/// Who asks for addresses, and what for.
pub(crate) struct Request<'a> {
    pub(crate) container: &'a str,
    pub(crate) endpoint: &'a EndpointSpec,
    /// What it had before, taken again when that is possible.
    pub(crate) before: Option<Addresses>,
}

/// The addresses of one network.
#[derive(Debug)]
pub(crate) struct AddressBook {
    network: String,
    subnets: Vec<Range>,
    /// Addresses somebody keeps, and who.
    taken: BTreeMap<IpAddr, String>,
    /// Addresses somebody gives up or gets again. Chosen for nobody else, so that no two
    /// records ever have the same one, but whoever names one gets it.
    leaving: BTreeMap<IpAddr, String>,
}

#[derive(Debug)]
struct Range {
    net: IpNet,
    next: u128,
    last: u128,
}

impl AddressBook {
    pub(crate) fn new(record: &NetworkRecord) -> AddressBook {
        let mut taken = BTreeMap::new();
        let mut subnets = Vec::new();
        for subnet in &record.subnets {
            taken.insert(subnet.gateway, "the gateway".to_string());
            let pool = record.spec.pools.iter().find(|pool| pool.subnet == subnet.net);
            for reserved in pool.iter().flat_map(|pool| &pool.reserved) {
                taken.insert(*reserved, "reserved by the file".to_string());
            }
            let range = pool.and_then(|pool| pool.ip_range).unwrap_or(subnet.net);
            subnets.push(Range {
                net: subnet.net,
                next: number(range.network()).max(number(subnet.net.network()) + 1),
                last: last_usable(subnet.net).min(number(range.broadcast())),
            });
        }
        AddressBook { network: record.name.clone(), subnets, taken, leaving: BTreeMap::new() }
    }

    /// Marks what a container has and keeps.
    pub(crate) fn occupy(&mut self, addresses: &Addresses, container: &str) {
        for address in addresses.iter() {
            self.taken.insert(address, format!("taken by `{container}`"));
        }
    }

    /// Marks what a container has that goes or is made anew.
    pub(crate) fn leave(&mut self, addresses: &Addresses, container: &str) {
        self.leaving.extend(addresses.iter().map(|address| (address, container.to_string())));
    }

    /// Addresses for all who ask, by container: fixed ones before any other is chosen.
    pub(crate) fn give<'a>(
        &mut self,
        requests: &[Request<'a>],
    ) -> Vec<(&'a str, Result<Addresses, PlanProblem>)> {
        let reserved: Vec<_> = requests.iter().map(|request| self.reserve(request)).collect();
        let given = requests.iter().zip(reserved).map(|(request, reserved)| {
            (request.container, reserved.and_then(|()| self.assign(request)))
        });
        given.collect()
    }

    /// Keeps the fixed addresses of an endpoint for it.
    fn reserve(&mut self, request: &Request) -> Result<(), PlanProblem> {
        for address in fixed(request.endpoint) {
            let inside = self.subnets.iter().any(|range| range.net.contains(&address));
            let reason = match (inside, self.taken.get(&address)) {
                (false, _) => "outside of its subnets".to_string(),
                (true, Some(owner)) => owner.clone(),
                (true, None) => {
                    self.taken.insert(address, format!("taken by `{}`", request.container));
                    continue;
                }
            };
            return Err(PlanProblem::Address {
                network: self.network.clone(),
                container: request.container.to_string(),
                address: address.to_string(),
                reason,
            });
        }
        Ok(())
    }

    /// The addresses of an endpoint: fixed ones, then those it had, then the lowest free.
    fn assign(&mut self, request: &Request) -> Result<Addresses, PlanProblem> {
        let mut given =
            Addresses { ipv4: request.endpoint.ipv4_address, ipv6: request.endpoint.ipv6_address };
        for v4 in [true, false] {
            let has = self.subnets.iter().any(|range| is_v4(&range.net) == v4);
            if !has || if v4 { given.ipv4.is_some() } else { given.ipv6.is_some() } {
                continue;
            }
            let before = request.before.and_then(|before| match v4 {
                true => before.ipv4.map(IpAddr::V4),
                false => before.ipv6.map(IpAddr::V6),
            });
            let address = before
                .filter(|address| self.is_free(*address, request.container))
                .or_else(|| self.lowest(v4))
                .ok_or_else(|| PlanProblem::AddressesExhausted {
                    network: self.network.clone(),
                    family: if v4 { "IPv4" } else { "IPv6" },
                    container: request.container.to_string(),
                })?;
            self.taken.insert(address, format!("taken by `{}`", request.container));
            match address {
                IpAddr::V4(v4) => given.ipv4 = Some(v4),
                IpAddr::V6(v6) => given.ipv6 = Some(v6),
            }
        }
        Ok(given)
    }

    fn is_free(&self, address: IpAddr, container: &str) -> bool {
        self.subnets.iter().any(|range| range.net.contains(&address))
            && !self.taken.contains_key(&address)
            && self.leaving.get(&address).is_none_or(|owner| owner == container)
    }

    /// The lowest free address of a family, of its first subnet that has one.
    fn lowest(&mut self, v4: bool) -> Option<IpAddr> {
        for range in self.subnets.iter_mut().filter(|range| is_v4(&range.net) == v4) {
            while range.next <= range.last {
                let candidate = address(range.net, range.next);
                range.next += 1;
                if !self.taken.contains_key(&candidate) && !self.leaving.contains_key(&candidate) {
                    return Some(candidate);
                }
            }
        }
        None
    }
}

fn fixed(endpoint: &EndpointSpec) -> impl Iterator<Item = IpAddr> {
    let v4 = endpoint.ipv4_address.map(IpAddr::V4);
    v4.into_iter().chain(endpoint.ipv6_address.map(IpAddr::V6))
}

/// The last address a host may have; an IPv4 subnet's own last one is its broadcast address.
fn last_usable(net: IpNet) -> u128 {
    let last = number(net.broadcast());
    match net {
        IpNet::V4(net) if net.prefix_len() < 31 => last - 1,
        IpNet::V4(_) | IpNet::V6(_) => last,
    }
}

/// Ranges of ids, each told by its first one.
#[derive(Debug)]
pub(crate) struct IdRanges {
    taken: BTreeSet<u32>,
    next: u32,
    /// Where the last one starts.
    last: u32,
    /// Ids in each.
    size: u32,
}

/// Ids in a range.
const ID_RANGE: u32 = 65_536;
/// First id ever given: the base systemd-nspawn leaves to other container managers.
const FIRST_ID: u32 = 1_879_048_192;
/// No id is above this one: many programs count ids as signed numbers.
const LAST_ID: u32 = (1 << 31) - 1;

/// Quota projects of writable layers. Others count from 1, as Docker does.
pub const LAYER_PROJECTS: RangeInclusive<u32> = 0x6265_0000..=0x6265_ffff;

impl IdRanges {
    /// All ranges of 65 536 ids for user namespaces but those that start at one of `taken`.
    pub(crate) fn of_users(taken: BTreeSet<u32>) -> IdRanges {
        IdRanges { taken, next: FIRST_ID, last: LAST_ID - (ID_RANGE - 1), size: ID_RANGE }
    }

    /// All quota projects but those `taken`.
    pub(crate) fn of_projects(taken: BTreeSet<u32>) -> IdRanges {
        IdRanges { taken, next: *LAYER_PROJECTS.start(), last: *LAYER_PROJECTS.end(), size: 1 }
    }

    /// The lowest free range.
    pub(crate) fn take(&mut self) -> Option<u32> {
        while self.next <= self.last {
            let candidate = self.next;
            self.next += self.size;
            if !self.taken.contains(&candidate) {
                return Some(candidate);
            }
        }
        None
    }
}
