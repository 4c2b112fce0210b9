//! What the containers on the same networks are called, read again when a record has changed.
//!
//! A look at the time of each folder is all that a question costs while nothing changes, and one
//! changed record is read, not all of them.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, Metadata};
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use berth_network::dns::{Answer, ResolvConf, Transport, Zone, answer};
use ipnet::{Ipv4Net, Ipv6Net};

use crate::bundle::{Bundle, NameLink, NameRecord, Network};
use crate::record;
use crate::sabotage::defence;

/// A folder that changed less than this ago may change again without a new time.
const SETTLED: Duration = Duration::from_millis(50);

/// The names on a container's networks.
pub(super) struct Names {
    /// By network.
    folders: BTreeMap<String, Folder>,
    /// Without names, but with what is known from the start.
    empty: Zone,
    zone: Zone,
    links: Vec<NameLink>,
    seed: u64,
}

/// The records of a network, as they were when they were read.
struct Folder {
    path: PathBuf,
    changed: Option<SystemTime>,
    records: BTreeMap<OsString, (Stamp, Option<NameRecord>)>,
}

/// What tells a file from the one that was in its place before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    file: (u64, u64),
    length: u64,
    changed: (i64, i64),
}

impl From<Metadata> for Stamp {
    fn from(meta: Metadata) -> Stamp {
        Stamp {
            file: (meta.dev(), meta.ino()),
            length: meta.len(),
            changed: (meta.ctime(), meta.ctime_nsec()),
        }
    }
}

impl Names {
    /// The names that a container of this bundle knows. `seed` begins the order of addresses.
    pub(super) fn new(bundle: &Bundle, seed: u64) -> Names {
        let mut empty = Zone::new();
        let links = match &bundle.network {
            Network::Own(links) => links.as_slice(),
            Network::Host | Network::Container(_) => &[],
        };
        for link in links {
            let v4 = link.ipv4.and_then(|(ip, length)| Ipv4Net::new(ip, length).ok());
            let v6 = link.ipv6.and_then(|(ip, length)| Ipv6Net::new(ip, length).ok());
            v4.into_iter().for_each(|net| empty.own(net.trunc().into()));
            v6.into_iter().for_each(|net| empty.own(net.trunc().into()));
        }
        let dns = &bundle.dns;
        empty.host(dns.host.iter().copied());
        let options = ResolvConf { options: dns.options.clone(), ..ResolvConf::default() };
        // A bundle without options is of a container with `ndots:0`.
        empty.searched(&dns.search, !dns.options.is_empty() && options.searches_first());
        // A server of the file is asked from the container's own network, which leads nowhere.
        if dns.internal && dns.servers.is_empty() {
            defence!("dns.internal", empty.close(), ());
        }
        let networks = defence!(
            "dns.own_networks",
            dns.networks.clone(),
            crate::sabotage::naive::all_names(&dns.networks)
        );
        let folder = |path| Folder { path, changed: None, records: BTreeMap::new() };
        let folders = networks.into_iter().map(|(name, path)| (name, folder(path))).collect();
        Names { folders, zone: empty.clone(), empty, links: dns.links.clone(), seed }
    }

    /// Where the order of addresses has come to.
    pub(super) fn seed(&self) -> u64 {
        self.seed
    }

    /// What becomes of a question, after a [`Names::refresh`] that came after it.
    pub(super) fn answer(&mut self, question: &[u8], transport: Transport) -> Answer {
        self.seed = self.seed.wrapping_add(1);
        answer(question, &self.zone, transport, self.seed)
    }

    /// Sees what has changed until now.
    pub(super) fn refresh(&mut self) {
        let mut changed = false;
        for folder in self.folders.values_mut() {
            changed |= folder.refresh();
        }
        if changed {
            self.rebuild();
        }
    }

    fn rebuild(&mut self) {
        self.zone = self.empty.clone();
        for (network, folder) in &self.folders {
            for record in folder.records.values().filter_map(|(_, record)| record.as_ref()) {
                let mut names = record.names.clone();
                names.extend(self.links.iter().flat_map(|link| link.names_for(&record.names)));
                let v4 = record.ipv4.map(IpAddr::V4);
                let addresses = v4.into_iter().chain(record.ipv6.map(IpAddr::V6));
                self.zone.add(network, &names, addresses);
            }
        }
    }
}

impl Folder {
    /// Reads what is new. Whether anything is different.
    fn refresh(&mut self) -> bool {
        // Asked before the records are read: what changes meanwhile is seen the next time.
        let time = fs::metadata(&self.path).and_then(|meta| meta.modified()).ok();
        if time.is_some() && self.changed == time {
            return false;
        }
        let settled = |t: &SystemTime| t.elapsed().is_ok_and(|age| age > SETTLED);
        self.changed = time.filter(settled);
        let mut before = std::mem::take(&mut self.records);
        let mut different = false;
        // No folder, no names.
        let entries = fs::read_dir(&self.path).into_iter().flatten().filter_map(Result::ok);
        for entry in entries {
            let name = entry.file_name();
            if name.as_encoded_bytes().starts_with(b".") {
                continue;
            }
            let Ok(stamp) = entry.metadata().map(Stamp::from) else { continue };
            let known = before.remove(&name).filter(|(seen, _)| *seen == stamp);
            let (stamp, record) = known.unwrap_or_else(|| {
                different = true;
                (stamp, record::read(&entry.path()).ok().flatten())
            });
            self.records.insert(name, (stamp, record));
        }
        different || !before.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logs::testing::Folder as TestFolder;
    use crate::record::Durability;

    fn question(name: &str) -> Vec<u8> {
        let mut message = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0".to_vec();
        for label in name.split('.') {
            message.push(u8::try_from(label.len()).unwrap());
            message.extend_from_slice(label.as_bytes());
        }
        message.extend_from_slice(b"\0\0\x01\0\x01");
        message
    }

    /// The last byte of the address, if there is one.
    fn ask(names: &mut Names, name: &str) -> Option<u8> {
        names.refresh();
        let Answer::Reply(reply) = names.answer(&question(name), Transport::Udp) else {
            panic!("{name} went to another server")
        };
        (reply[7] == 1).then(|| reply[reply.len() - 1])
    }

    fn put(dir: &TestFolder, container: &str, name: &str, last: impl Into<Option<u8>>) {
        let record = NameRecord {
            ipv4: last.into().map(|last| [10, 0, 0, last].into()),
            ipv6: None,
            names: vec![name.to_owned()],
        };
        record::write(&dir.path().join(container), &record, Durability::Volatile).unwrap();
    }

    fn names(dir: &TestFolder) -> Names {
        let mut bundle = Bundle::default();
        bundle.dns.networks.insert("n".into(), dir.path().to_owned());
        Names::new(&bundle, 0)
    }

    #[test]
    fn records_are_seen_as_they_come_and_go() {
        let dir = TestFolder::new();
        let mut names = names(&dir);
        assert_eq!(ask(&mut names, "web"), None);
        put(&dir, "shop-web-1", "web", 2);
        assert_eq!(ask(&mut names, "web"), Some(2));
        assert_eq!(ask(&mut names, "web.n"), Some(2));
        put(&dir, "shop-web-1", "web", 3);
        assert_eq!(ask(&mut names, "web"), Some(3));
        fs::remove_file(dir.path().join("shop-web-1")).unwrap();
        assert_eq!(ask(&mut names, "web"), None);
        put(&dir, ".half.new", "web", 4);
        assert_eq!(ask(&mut names, "web"), None);
    }

    #[test]
    fn a_name_with_dots_stays_here_while_its_container_does_not_run() {
        let dir = TestFolder::new();
        let mut names = names(&dir);
        put(&dir, "shop-web-1", "api.example", 2);
        assert_eq!(ask(&mut names, "api.example"), Some(2));
        put(&dir, "shop-web-1", "api.example", None);
        assert_eq!(ask(&mut names, "api.example"), None);
    }

    #[test]
    fn only_the_record_that_changed_is_read() {
        let dir = TestFolder::new();
        let mut names = names(&dir);
        put(&dir, "shop-db-1", "db", 2);
        put(&dir, "shop-web-1", "web", 2);
        assert_eq!(ask(&mut names, "db"), Some(2));
        // Nobody writes into a record; so this shows whether it is read again.
        let stamp = names.folders["n"].records[&OsString::from("shop-db-1")].0;
        fs::write(dir.path().join("shop-db-1"), "{}").unwrap();
        let folder = names.folders.get_mut("n").unwrap();
        let now = fs::metadata(dir.path().join("shop-db-1")).unwrap().into();
        assert_ne!(stamp, now);
        folder.records.get_mut(&OsString::from("shop-db-1")).unwrap().0 = now;
        put(&dir, "shop-web-1", "web", 3);
        assert_eq!(ask(&mut names, "web"), Some(3));
        assert_eq!(ask(&mut names, "db"), Some(2));
    }
}
