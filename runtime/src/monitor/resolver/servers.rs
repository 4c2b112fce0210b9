//! The servers that are asked for names that are not of the stack, and from where.
//!
//! Those of the host are asked from the host's network, since they may listen on its loopback
//! (systemd-resolved, dnsmasq); those that the file gives from the container's: they may be a
//! container on one of its networks, or be behind its own tunnel.

use std::fs;
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use berth_network::dns::{NameServer, ResolvConf, SERVER};
use rustix::net::netdevice::name_to_index;
use rustix::net::{AddressFamily, SocketType, socket};

use super::zone::Stamp;
use crate::bundle::Dns;
use crate::sabotage::defence;

const PORT: u16 = 53;
/// A file that changed less than this ago may change again without a new time.
const SETTLED: Duration = Duration::from_millis(50);
/// How long a server that answered when another did not is asked before that one.
const PREFERENCE: Duration = Duration::from_secs(30);

/// Servers of the file, or those the host uses now.
pub(super) struct Servers {
    source: Source,
    /// Answered when one before it did not; until when that counts.
    preferred: Option<(SocketAddr, Instant)>,
}

enum Source {
    /// Given by the file. None: nothing is asked.
    Fixed(Vec<SocketAddr>),
    /// Read from the host's file, and again when it has changed.
    Host { path: PathBuf, seen: Option<Stamp>, servers: Vec<SocketAddr> },
}

impl Servers {
    pub(super) fn new(dns: &Dns) -> Servers {
        let source = if !dns.servers.is_empty() {
            // Our own address would ask itself.
            let others = dns.servers.iter().filter(|server| **server != IpAddr::V4(SERVER));
            Source::Fixed(others.map(|server| SocketAddr::new(*server, PORT)).collect())
        } else if defence!("dns.internal", dns.internal, false) {
            Source::Fixed(Vec::new())
        } else {
            Source::Host { path: "/etc/resolv.conf".into(), seen: None, servers: Vec::new() }
        };
        Servers { source, preferred: None }
    }

    /// Whether they are asked from the container's network, not the host's.
    pub(super) fn are_inside(&self) -> bool {
        matches!(self.source, Source::Fixed(_))
    }

    /// The servers now, in the order in which they are asked.
    pub(super) fn current(&mut self, now: Instant) -> Vec<SocketAddr> {
        let mut servers = self.source.current().to_vec();
        let preferred = self.preferred.filter(|(_, until)| *until > now);
        if let Some(at) = preferred.and_then(|(it, _)| servers.iter().position(|s| *s == it)) {
            servers[..=at].rotate_right(1);
        }
        servers
    }

    /// This one answered when another did not.
    pub(super) fn prefer(&mut self, server: SocketAddr, now: Instant) {
        if self.preferred.is_none_or(|(it, until)| it != server || until <= now) {
            self.preferred = Some((server, now + PREFERENCE));
        }
    }
}

impl Source {
    fn current(&mut self) -> &[SocketAddr] {
        match self {
            Source::Fixed(servers) => servers,
            Source::Host { path, seen, servers } => {
                let meta = fs::metadata(&path).ok();
                let settled = |time: SystemTime| time.elapsed().is_ok_and(|age| age > SETTLED);
                let settled =
                    meta.as_ref().and_then(|meta| meta.modified().ok()).is_some_and(settled);
                let now = meta.map(Stamp::from);
                if now.is_none() || now != *seen {
                    match fs::read_to_string(path) {
                        Ok(text) => *servers = addresses(&ResolvConf::parse(&text).servers()),
                        // Somebody is about to put another in its place; until then it counts.
                        Err(_) if !servers.is_empty() => {}
                        Err(_) => *servers = addresses(&ResolvConf::default().servers()),
                    }
                    *seen = now.filter(|_| settled);
                }
                servers
            }
        }
    }
}

/// Where they are, as the host has its links.
fn addresses(servers: &[NameServer]) -> Vec<SocketAddr> {
    servers.iter().filter_map(address).collect()
}

/// A server on a link that is not there is not reached.
fn address(server: &NameServer) -> Option<SocketAddr> {
    match (server.address, &server.link) {
        (IpAddr::V6(ip), Some(link)) => {
            let any = socket(AddressFamily::INET6, SocketType::DGRAM, None).ok()?;
            let scope = name_to_index(&any, link).ok()?;
            Some(SocketAddrV6::new(ip, PORT, 0, scope).into())
        }
        (ip, _) => Some(SocketAddr::new(ip, PORT)),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::logs::testing::Folder;

    fn of_file(path: &Path) -> Servers {
        let source = Source::Host { path: path.to_owned(), seen: None, servers: Vec::new() };
        Servers { source, preferred: None }
    }

    fn current(servers: &mut Servers) -> String {
        let all = servers.current(Instant::now());
        all.iter().map(|server| server.ip().to_string()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_change_of_the_hosts_file_is_noticed() {
        let dir = Folder::new();
        let path = dir.path().join("resolv.conf");
        let mut servers = of_file(&path);
        assert_eq!(current(&mut servers), "127.0.0.1");

        fs::write(&path, "nameserver 192.0.2.1\n").unwrap();
        assert_eq!(current(&mut servers), "192.0.2.1");
        fs::write(&path, "nameserver 192.0.2.2\nnameserver ::1\n").unwrap();
        assert_eq!(current(&mut servers), "192.0.2.2 ::1");
    }

    #[test]
    fn a_link_that_leads_to_another_file_is_followed_whatever_its_time() {
        let dir = Folder::new();
        let (stub, other) = (dir.path().join("stub"), dir.path().join("other"));
        fs::write(&stub, "nameserver 127.0.0.53\n").unwrap();
        fs::write(&other, "nameserver 127.0.0.54\n").unwrap();
        let long_ago = SystemTime::now() - Duration::from_secs(3600);
        for file in [&stub, &other] {
            fs::File::options().write(true).open(file).unwrap().set_modified(long_ago).unwrap();
        }
        let path = dir.path().join("resolv.conf");
        std::os::unix::fs::symlink("stub", &path).unwrap();
        let mut servers = of_file(&path);
        assert_eq!(current(&mut servers), "127.0.0.53");
        fs::remove_file(&path).unwrap();
        assert_eq!(current(&mut servers), "127.0.0.53", "gone for a moment");
        std::os::unix::fs::symlink("other", &path).unwrap();
        assert_eq!(current(&mut servers), "127.0.0.54");
        fs::rename(&stub, &other).unwrap();
        assert_eq!(current(&mut servers), "127.0.0.53");
    }

    #[test]
    fn a_server_on_a_link_is_asked_there() {
        let dir = Folder::new();
        let path = dir.path().join("resolv.conf");
        fs::write(&path, "nameserver fe80::1%lo\nnameserver fe80::2%nowhere0\n").unwrap();
        let all = of_file(&path).current(Instant::now());
        assert!(matches!(all[..], [SocketAddr::V6(lo)] if lo.scope_id() == 1), "{all:?}");
    }

    #[test]
    fn who_answered_when_another_did_not_is_asked_first_for_a_while() {
        let dns = Dns {
            servers: ["192.0.2.1", "192.0.2.2", "192.0.2.3"].map(|ip| ip.parse().unwrap()).into(),
            ..Dns::default()
        };
        let mut servers = Servers::new(&dns);
        let now = Instant::now();
        servers.prefer("192.0.2.3:53".parse().unwrap(), now);
        assert_eq!(current(&mut servers), "192.0.2.3 192.0.2.1 192.0.2.2");
        let later = servers.current(now + PREFERENCE);
        assert_eq!(later[0], "192.0.2.1:53".parse().unwrap());
    }

    #[test]
    fn a_container_of_internal_networks_asks_no_server_of_the_host() {
        let mut dns = Dns { internal: true, ..Dns::default() };
        assert_eq!(current(&mut Servers::new(&dns)), "");
        dns.servers = vec!["10.0.0.53".parse().unwrap(), SERVER.into()];
        let mut servers = Servers::new(&dns);
        assert!(servers.are_inside());
        assert_eq!(current(&mut servers), "10.0.0.53", "and nobody itself");
    }
}
