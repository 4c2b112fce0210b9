//! The servers that are asked for names that are not of the stack.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::SystemTime;

use berth_network::dns::ResolvConf;

use crate::bundle::Dns;

const PORT: u16 = 53;

/// Servers of the file, or those the host uses now.
pub(super) enum Servers {
    /// Given by the file. None: nothing is asked.
    Fixed(Vec<SocketAddr>),
    /// Read from the host's file, and again when it has changed.
    Host { path: PathBuf, changed: Option<SystemTime>, servers: Vec<SocketAddr> },
}

impl Servers {
    pub(super) fn new(dns: &Dns) -> Servers {
        if dns.internal {
            Servers::Fixed(Vec::new())
        } else if dns.servers.is_empty() {
            Servers::of_file("/etc/resolv.conf".into())
        } else {
            Servers::Fixed(addresses(&dns.servers))
        }
    }

    fn of_file(path: PathBuf) -> Servers {
        Servers::Host { path, changed: None, servers: Vec::new() }
    }

    /// The servers now.
    pub(super) fn current(&mut self) -> &[SocketAddr] {
        match self {
            Servers::Fixed(servers) => servers,
            Servers::Host { path, changed, servers } => {
                let now = fs::metadata(&path).and_then(|meta| meta.modified()).ok();
                if now.is_none() || now != *changed {
                    let text = fs::read_to_string(path).unwrap_or_default();
                    *servers = addresses(&ResolvConf::parse(&text).servers());
                    *changed = now;
                }
                servers
            }
        }
    }
}

fn addresses(servers: &[IpAddr]) -> Vec<SocketAddr> {
    servers.iter().map(|ip| SocketAddr::new(*ip, PORT)).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::logs::testing::Folder;

    #[test]
    fn a_change_of_the_hosts_file_is_noticed() {
        let dir = Folder::new();
        let path = dir.path().join("resolv.conf");
        let mut servers = Servers::of_file(path.clone());
        assert_eq!(servers.current(), ["127.0.0.1:53".parse().unwrap()]);

        fs::write(&path, "nameserver 192.0.2.1\n").unwrap();
        assert_eq!(servers.current(), ["192.0.2.1:53".parse().unwrap()]);

        fs::write(&path, "nameserver 192.0.2.2\nnameserver ::1\n").unwrap();
        let later = SystemTime::now() + Duration::from_secs(5);
        fs::File::options().write(true).open(&path).unwrap().set_modified(later).unwrap();
        assert_eq!(
            servers.current(),
            ["192.0.2.2:53".parse().unwrap(), "[::1]:53".parse().unwrap()]
        );
    }

    #[test]
    fn a_container_of_internal_networks_asks_nobody() {
        let dns =
            Dns { internal: true, servers: vec!["192.0.2.1".parse().unwrap()], ..Dns::default() };
        assert_eq!(Servers::new(&dns).current(), []);
    }
}
