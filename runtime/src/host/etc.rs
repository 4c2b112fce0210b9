//! The files of `/etc` that belong to the container and not to its image: `hosts`, `hostname`
//! and `resolv.conf`.

use std::fmt::Write;
use std::fs::{self, DirBuilder};
use std::net::IpAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use berth_planner::desired::NetworkMode;
use berth_planner::observed::ContainerRecord;

use super::StepError;
use super::owners::Owners;
use crate::bundle::{BundleMount, BundleSource, Dns, Link, Network};
use crate::paths::Roots;
use crate::record::{self, Durability};

/// Where the monitor answers, in every network namespace of its own.
const RESOLVER: &str = "127.0.0.11";

/// Writes the files into the run folder and gives their mounts.
pub(super) fn write(
    roots: &Roots,
    container: &ContainerRecord,
    hostname: &str,
    network: &Network,
    dns: &Dns,
) -> Result<Vec<BundleMount>, StepError> {
    // Who shares a network namespace shares the names in it.
    let owner = match &container.spec.network_mode {
        NetworkMode::Container(other) => other,
        _ => &container.name,
    };
    let dir = roots.container_run(&container.name).join("etc");
    let refused = |e| StepError::refused("write the names of", &container.name, e);
    DirBuilder::new().recursive(true).mode(0o755).create(&dir).map_err(refused)?;
    let owners = Owners::below(&dir, container.id_base);
    let file = |name: &str, text: &str| {
        let path = dir.join(name);
        record::write_bytes(&path, text.as_bytes(), 0o644, Durability::Volatile)
            .and_then(|()| owners.give(&path, 0, 0))
            .map_err(refused)
    };
    file("hostname", &format!("{hostname}\n"))?;
    if *owner == container.name {
        let full = match &container.spec.domainname {
            Some(domain) => format!("{hostname}.{domain} {hostname}"),
            None => hostname.to_owned(),
        };
        file("hosts", &hosts(&full, network, dns))?;
        file("resolv.conf", &resolv_conf(&container.spec.network_mode, dns))?;
    }
    let shared = roots.container_run(owner).join("etc");
    let mount = |name: &str, dir: &Path| BundleMount {
        target: format!("/etc/{name}"),
        source: source(&dir.join(name), owners.mapped),
        read_only: container.spec.read_only,
    };
    Ok(vec![mount("hostname", &dir), mount("hosts", &shared), mount("resolv.conf", &shared)])
}

fn source(path: &Path, idmap: bool) -> BundleSource {
    BundleSource::Bind {
        path: path.to_owned(),
        below: None,
        idmap,
        owner: None,
        recursive: false,
        writable_below: false,
        propagation: None,
        dev: false,
        judged: None,
    }
}

/// hosts(5): loopback, the container's own addresses, and what the file adds.
fn hosts(hostname: &str, network: &Network, dns: &Dns) -> String {
    let mut text = String::from(
        "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n\
         fe00::\tip6-localnet\nff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n",
    );
    let links: &[Link] = if let Network::Own(links) = network { links } else { &[] };
    let addresses = links.iter().flat_map(|link| {
        let v4 = link.ipv4.map(|(address, _)| IpAddr::V4(address));
        v4.into_iter().chain(link.ipv6.map(|(address, _)| IpAddr::V6(address)))
    });
    for address in addresses {
        let _ = writeln!(text, "{address}\t{hostname}");
    }
    if links.is_empty() {
        let _ = writeln!(text, "127.0.1.1\t{hostname}");
    }
    for (name, address) in &dns.hosts {
        let _ = writeln!(text, "{address}\t{name}");
    }
    text
}

/// resolv.conf(5): our resolver where there is one, else the host's file as it is.
fn resolv_conf(mode: &NetworkMode, dns: &Dns) -> String {
    if *mode == NetworkMode::Host {
        return fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    }
    let mut text = String::new();
    if !dns.networks.is_empty() {
        let _ = writeln!(text, "nameserver {RESOLVER}");
    }
    if !dns.search.is_empty() {
        let _ = writeln!(text, "search {}", dns.search.join(" "));
    }
    let options = if dns.options.is_empty() { "ndots:0".to_owned() } else { dns.options.join(" ") };
    let _ = writeln!(text, "options {options}");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_on_a_network_asks_our_resolver() {
        let dns = Dns {
            networks: [("shop_back".to_owned(), "/x".into())].into(),
            search: vec!["example.org".to_owned()],
            ..Dns::default()
        };
        let text = resolv_conf(&NetworkMode::Bridge, &dns);
        assert_eq!(text, "nameserver 127.0.0.11\nsearch example.org\noptions ndots:0\n");
    }
}
