//! The names of a container, one file per network for the resolvers of others: with its addresses
//! while it runs.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;

use crate::bundle::{Bundle, Link, NameRecord, Network};
use crate::record::{self, Durability};
use crate::sabotage::defence;

/// Writes the records of a container that is about to run.
///
/// # Errors
/// What the host answers.
pub(super) fn write(bundle: &Bundle) -> io::Result<()> {
    for (path, link) in records(bundle) {
        let record = NameRecord {
            ipv4: link.ipv4.map(|(address, _)| address),
            ipv6: link.ipv6.map(|(address, _)| address),
            names: link.names.clone(),
        };
        match record::write(&path, &record, Durability::Volatile) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                let dir = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
                DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
                record::write(&path, &record, Durability::Volatile)?;
            }
            other => other?,
        }
    }
    Ok(())
}

/// Takes the addresses out of the records of a container that does not run. The names stay its
/// own, so that nobody asks other servers for them.
pub(super) fn rest(bundle: &Bundle) {
    for (path, link) in records(bundle) {
        let record = NameRecord { ipv4: None, ipv6: None, names: link.names.clone() };
        let kept = defence!(
            "dns.kept_names",
            record::write(&path, &record, Durability::Volatile),
            Err(std::io::Error::other(format!("{record:?} is let go")))
        );
        if kept.is_err() {
            // Rather no record than a wrong one. It may have gone with its network.
            let _ = fs::remove_file(path);
        }
    }
}

/// Removes the records that a container had on networks it has left.
pub(super) fn remove_but(before: &Bundle, now: &Bundle) {
    let kept: Vec<PathBuf> = records(now).into_iter().map(|(path, _)| path).collect();
    for (path, _) in records(before).into_iter().filter(|(path, _)| !kept.contains(path)) {
        // As above.
        let _ = fs::remove_file(path);
    }
}

fn records(bundle: &Bundle) -> Vec<(PathBuf, &Link)> {
    let links = match &bundle.network {
        Network::Own(links) => links.as_slice(),
        Network::Host | Network::Container(_) => &[],
    };
    let folder = |link: &Link| bundle.dns.networks.get(&link.network);
    links.iter().filter_map(|link| Some((folder(link)?.join(&bundle.name), link))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logs::testing::Folder;

    #[test]
    fn a_record_comes_and_goes_with_the_container() {
        let dir = Folder::new();
        let link = Link {
            network: "shop_default".into(),
            bridge: "br".into(),
            name: "eth0".into(),
            ipv4: Some(("10.1.0.2".parse().unwrap(), 24)),
            names: vec!["shop-web-1".into(), "web".into()],
            ..Link::default()
        };
        let mut bundle = Bundle {
            name: "shop-web-1".into(),
            network: Network::Own(vec![link]),
            ..Bundle::default()
        };
        let folder = dir.path().join("names/shop_default");
        bundle.dns.networks.insert("shop_default".into(), folder.clone());

        write(&bundle).unwrap();
        let record: NameRecord = record::read(&folder.join("shop-web-1")).unwrap().unwrap();
        assert_eq!(record.names, ["shop-web-1", "web"]);
        assert_eq!(record.ipv4, Some("10.1.0.2".parse().unwrap()));
        rest(&bundle);
        let record: NameRecord = record::read(&folder.join("shop-web-1")).unwrap().unwrap();
        assert_eq!(record, NameRecord { ipv4: None, ipv6: None, names: record.names.clone() });
        assert_eq!(record.names, ["shop-web-1", "web"]);
        fs::remove_dir_all(&folder).unwrap();
        rest(&bundle);
        assert!(!folder.exists(), "the network is gone");
    }
}
