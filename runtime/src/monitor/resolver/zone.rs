//! What the containers on the same networks are called, read again when a record has changed.

use std::collections::BTreeMap;
use std::fs;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use berth_network::dns::{Answer, Transport, Zone, answer};
use ipnet::{Ipv4Net, Ipv6Net};

use crate::bundle::{Bundle, NameLink, NameRecord, Network};
use crate::record;

/// A folder that changed less than this ago may change again without a new time.
const SETTLED: Duration = Duration::from_millis(50);

/// The names on a container's networks.
pub(super) struct Names {
    folders: BTreeMap<PathBuf, Option<SystemTime>>,
    /// Without names, but with what is known from the start.
    empty: Zone,
    zone: Zone,
    links: Vec<NameLink>,
    seed: u64,
}

impl Names {
    pub(super) fn new(bundle: &Bundle) -> Names {
        let mut empty = Zone::new(bundle.dns.internal);
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
        let folders = bundle.dns.networks.values().map(|folder| (folder.clone(), None)).collect();
        let links = bundle.dns.links.clone();
        Names { folders, zone: empty.clone(), empty, links, seed: 0 }
    }

    /// What becomes of a question.
    pub(super) fn answer(&mut self, question: &[u8], transport: Transport) -> Answer {
        self.refresh();
        self.seed = self.seed.wrapping_add(1);
        answer(question, &self.zone, transport, self.seed)
    }

    fn refresh(&mut self) {
        let mut changed = false;
        for (folder, seen) in &mut self.folders {
            // Asked before the records are read: what changes meanwhile is seen the next time.
            let time = fs::metadata(folder).and_then(|meta| meta.modified()).ok();
            changed |= *seen != time || time.is_none();
            let settled = |t: &SystemTime| t.elapsed().is_ok_and(|age| age > SETTLED);
            *seen = time.filter(settled);
        }
        if !changed {
            return;
        }
        self.zone = self.empty.clone();
        for folder in self.folders.keys() {
            // No folder, no names.
            let entries = fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
            for entry in entries.filter(|e| !e.file_name().as_encoded_bytes().starts_with(b".")) {
                if let Ok(Some(record)) = record::read::<NameRecord>(&entry.path()) {
                    let v4 = record.ipv4.map(IpAddr::V4);
                    let mut names = record.names;
                    let here: Vec<String> =
                        self.links.iter().flat_map(|link| link.names_for(&names)).collect();
                    names.extend(here);
                    self.zone.add(&names, v4.into_iter().chain(record.ipv6.map(IpAddr::V6)));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logs::testing::Folder;
    use crate::record::Durability;

    fn question(name: &str) -> Vec<u8> {
        let mut message = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0".to_vec();
        message.push(u8::try_from(name.len()).unwrap());
        message.extend_from_slice(name.as_bytes());
        message.extend_from_slice(b"\0\0\x01\0\x01");
        message
    }

    /// The last byte of the address, if there is one.
    fn ask(names: &mut Names, name: &str) -> Option<u8> {
        let Answer::Reply(reply) = names.answer(&question(name), Transport::Udp) else {
            panic!("a name without a dot is always answered")
        };
        (reply[7] == 1).then(|| reply[reply.len() - 1])
    }

    fn put(dir: &Folder, container: &str, name: &str, last: u8) {
        let record = NameRecord {
            ipv4: Some([10, 0, 0, last].into()),
            ipv6: None,
            names: vec![name.to_owned()],
        };
        record::write(&dir.path().join(container), &record, Durability::Volatile).unwrap();
    }

    #[test]
    fn records_are_seen_as_they_come_and_go() {
        let dir = Folder::new();
        let mut bundle = Bundle::default();
        bundle.dns.networks.insert("n".into(), dir.path().to_owned());
        let mut names = Names::new(&bundle);
        assert_eq!(ask(&mut names, "web"), None);
        put(&dir, "shop-web-1", "web", 2);
        assert_eq!(ask(&mut names, "web"), Some(2));
        put(&dir, "shop-web-1", "web", 3);
        assert_eq!(ask(&mut names, "web"), Some(3));
        fs::remove_file(dir.path().join("shop-web-1")).unwrap();
        assert_eq!(ask(&mut names, "web"), None);
        put(&dir, ".half.new", "web", 4);
        assert_eq!(ask(&mut names, "web"), None);
    }
}
