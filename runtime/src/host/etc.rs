//! The files of `/etc` that belong to the container and not to its image: `hosts`, `hostname`
//! and `resolv.conf`.

use std::fmt::Write;
use std::fs::{self, DirBuilder};
use std::net::IpAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use berth_network::dns::{ResolvConf, SERVER};
use berth_planner::desired::{ContainerSpec, NetworkMode};
use berth_planner::observed::ContainerRecord;

use super::StepError;
use super::names::RESOLV_CONF;
use super::owners::Owners;
use crate::bundle::{Bundle, BundleMount, BundleSource, Dns, Link, Network};
use crate::paths::Roots;
use crate::record::{self, Durability};

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
        let full = full_name(hostname, container.spec.domainname.as_deref());
        file("hosts", &hosts(&full, network, dns))?;
        file("resolv.conf", &resolv_conf(&container.spec, dns))?;
    }
    let shared = roots.container_run(owner).join("etc");
    let mount = |name: &str, dir: &Path| BundleMount {
        target: format!("/etc/{name}"),
        source: source(&dir.join(name), owners.mapped),
        read_only: container.spec.read_only,
    };
    Ok(vec![mount("hostname", &dir), mount("hosts", &shared), mount("resolv.conf", &shared)])
}

/// The files that tell names and change with a container's wiring, with their texts. One that
/// shares another's network has none of its own, and in the host's the servers are the host's.
pub(crate) fn texts(bundle: &Bundle) -> Vec<(&'static str, String)> {
    let Bundle { network, dns, hostname, domainname, .. } = bundle;
    let hosts = || ("hosts", hosts(&full_name(hostname, domainname.as_deref()), network, dns));
    match network {
        Network::Container(_) => Vec::new(),
        Network::Host => vec![hosts()],
        Network::Own(_) => vec![hosts(), ("resolv.conf", ours(dns))],
    }
}

fn full_name(hostname: &str, domainname: Option<&str>) -> String {
    match domainname {
        Some(domain) => format!("{hostname}.{domain} {hostname}"),
        None => hostname.to_owned(),
    }
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
         fe00::\tip6-localnet\nff00::\tip6-mcastprefix\nff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n",
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

/// resolv.conf(5): our resolver where there is one, in the host's network what the host has.
fn resolv_conf(spec: &ContainerSpec, dns: &Dns) -> String {
    if spec.network_mode == NetworkMode::Host {
        return hosts_own(&fs::read_to_string(RESOLV_CONF).unwrap_or_default(), spec);
    }
    ours(dns)
}

/// That of a container with a network namespace of its own.
fn ours(dns: &Dns) -> String {
    let nameservers = match dns.networks.is_empty() {
        true => Vec::new(),
        false => vec![IpAddr::V4(SERVER).into()],
    };
    let (search, options) = (dns.search.clone(), dns.options.clone());
    ResolvConf { nameservers, search, options }.to_string()
}

/// The host's file, as it stands or with what the Compose file says instead.
fn hosts_own(text: &str, spec: &ContainerSpec) -> String {
    if spec.dns.is_empty() && spec.dns_search.is_empty() && spec.dns_opt.is_empty() {
        return text.to_owned();
    }
    let mut conf = ResolvConf::parse(text);
    if !spec.dns.is_empty() {
        conf.nameservers = spec.dns.iter().map(|server| (*server).into()).collect();
    }
    if !spec.dns_search.is_empty() {
        conf.search = spec.dns_search.iter().filter(|domain| *domain != ".").cloned().collect();
    }
    if !spec.dns_opt.is_empty() {
        conf.options = spec.dns_opt.clone();
    }
    conf.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_on_a_network_asks_our_resolver() {
        let dns = Dns {
            networks: [("shop_back".to_owned(), "/x".into())].into(),
            search: vec!["example.org".to_owned()],
            options: vec!["ndots:0".to_owned()],
            ..Dns::default()
        };
        let text = resolv_conf(&ContainerSpec::default(), &dns);
        assert_eq!(text, "nameserver 127.0.0.11\nsearch example.org\noptions ndots:0\n");
    }

    #[test]
    fn a_container_in_the_hosts_network_has_the_hosts_servers_or_those_of_the_file() {
        let host = "# made by hand\nnameserver 192.0.2.1\nsearch corp.example\n";
        let mut spec = ContainerSpec::default();
        assert_eq!(hosts_own(host, &spec), host);
        spec.dns = vec!["192.0.2.2".parse().unwrap()];
        spec.dns_opt = vec!["timeout:1".to_owned()];
        assert_eq!(
            hosts_own(host, &spec),
            "nameserver 192.0.2.2\nsearch corp.example\noptions timeout:1\n"
        );
        spec.dns_search = vec![".".to_owned()];
        assert_eq!(hosts_own(host, &spec), "nameserver 192.0.2.2\noptions timeout:1\n");
    }
}
