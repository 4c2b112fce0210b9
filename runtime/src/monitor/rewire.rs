//! Other links, names and ports for a container that runs.
//!
//! What is new comes before what is old goes: a link, then the way out, the ports, the names, and
//! last the links that are not wanted any more. Each step looks at what there is, so the way there
//! can be begun again from anywhere, and the way back is the same with the ends exchanged.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::keep::Monitor;
use super::update::write;
use super::{names, network};
use crate::bundle::{Bundle, Link, Network, Wiring, links};
use crate::host::etc;
use berth_network::endpoint;
use berth_network::error::NetError;
use berth_network::firewall::{self, Published};
use berth_planner::desired::PortSpec;

/// Bytes of the largest file of names that is changed in place.
const NAMES_MAX: u64 = 1 << 20;

impl Monitor {
    /// What `wanted` means for this container, if that is another wiring than it has.
    pub(super) fn other_wiring(&self, wanted: Wiring) -> Option<Wiring> {
        let wanted = wanted.fitted(links(&self.bundle.network));
        (wanted != Wiring::of(&self.bundle)).then_some(wanted)
    }

    /// Gives the container another wiring. The bundle says already that it is under way, and is
    /// written once more by the caller.
    ///
    /// # Errors
    /// With words: everything is as before, as far as the host lets it.
    pub(super) fn rewire(&mut self, wanted: Wiring) -> Result<(), String> {
        let before = self.bundle.clone();
        let after = wanted.in_place(&before);
        let had = self.reserved.ports.iter().cloned();
        let had = had.partition(|port| port.published.is_some());
        let wanted = network::own_ports(&after);
        if self.relay.serves(&before, self.reserved.given_up(&wanted.0)) {
            // It has these sockets as well, and then nobody else can have the port.
            self.relay.end();
        }
        let turned = match self.reserve_instead(&wanted, &after) {
            Ok(()) => {
                self.turn(&before, &after).inspect_err(|_| self.go_back(&after, &before, &had))
            }
            Err(refused) => {
                self.serve_what_is_left(&before);
                Err(refused)
            }
        };
        if turned.is_ok() {
            self.bundle = after;
        }
        self.status.published = self.reserved.ports.clone();
        self.tell();
        turned
    }

    /// Takes a change back that a monitor before this one had begun.
    pub(super) fn take_back_wiring(&mut self) {
        let Some(begun) = self.bundle.rewiring.take() else { return };
        let (before, after) = (self.bundle.clone(), begun.in_place(&self.bundle));
        self.go_back(&after, &before, &network::own_ports(&before));
        self.status.published = self.reserved.ports.clone();
        self.tell();
        let _ = write(&self.bundle);
    }

    /// What the host refuses of this as well is missing, and the next plan repeats all.
    fn go_back(&mut self, from: &Bundle, to: &Bundle, ports: &(Vec<PortSpec>, Vec<PortSpec>)) {
        // It may have been told of sockets that are to be given up again.
        self.relay.end();
        let _ = self.reserve_instead(ports, to);
        if self.turn(from, to).is_err() {
            self.serve_what_is_left(to);
        }
    }

    /// After a refusal: sockets that were bound anew do not listen yet, and a port that was given up
    /// meanwhile may be lost to somebody who was faster.
    fn serve_what_is_left(&mut self, bundle: &Bundle) {
        if let Ok(published) = network::published(bundle, &self.reserved.ports) {
            let _ = lead(&published, bundle, bundle);
        }
        let _ = self.relay.follow(bundle, &self.reserved);
    }

    fn reserve_instead(
        &mut self,
        (at_host, own): &(Vec<PortSpec>, Vec<PortSpec>),
        bundle: &Bundle,
    ) -> Result<(), String> {
        self.reserved.turn_into((at_host, own), &bundle.run_dir)
    }

    /// From the connection of `from` to that of `to`, with the reserved ports published.
    fn turn(&mut self, from: &Bundle, to: &Bundle) -> Result<(), String> {
        let own = matches!(to.network, Network::Own(_));
        let published = network::published(to, &self.reserved.ports)?;
        let netns = self.running().map(|running| running.netns.try_clone()).transpose();
        let netns = netns.map_err(|e| format!("duplicate a descriptor: {e}"))?;
        if let Some(netns) = netns.as_ref().filter(|_| own) {
            attach(netns.as_fd(), from, to).map_err(|e| e.to_string())?;
        }
        lead(&published, from, to).map_err(|e| e.to_string())?;
        self.relay.follow(to, &self.reserved).map_err(|e| format!("start a relay: {e}"))?;
        rewrite_names(from, to)?;
        match &netns {
            Some(_) => names::write(to).map_err(|e| format!("write names: {e}"))?,
            // Between two starts they are its own as well.
            None => names::rest(to),
        }
        if let Some(resolver) = self.running().and_then(|running| running.resolver.as_mut()) {
            resolver.renew(to);
        }
        names::remove_but(from, to);
        if let Some(netns) = netns.as_ref().filter(|_| own) {
            detach(netns.as_fd(), from, to).map_err(|e| e.to_string())?;
        }
        Ok(())
    }
}

/// Whether one link can be taken for the other, but for names and the way out.
fn same(one: &Link, other: &Link) -> bool {
    let plain = |link: &Link| Link {
        gateways: vec![],
        names: vec![],
        // It says of the network where ports lead, and bundles of before do not have it.
        internal: false,
        ..link.clone()
    };
    plain(one) == plain(other)
}

/// The links of `one` that `other` has not.
fn only<'a>(one: &'a Bundle, other: &'a Bundle) -> impl Iterator<Item = &'a Link> {
    let has = |link: &Link| links(&other.network).iter().any(|other| same(link, other));
    links(&one.network).iter().filter(move |link| !has(link))
}

/// Makes the links that are new, and leads out where `to` does. One that is to be another under
/// the same name, or on the same address, goes before.
fn attach(netns: BorrowedFd<'_>, from: &Bundle, to: &Bundle) -> Result<(), NetError> {
    for link in only(to, from) {
        let network = |old: &&Link| old.name == link.name || old.network == link.network;
        let rivals: Vec<&Link> = only(from, to).filter(network).collect();
        for rival in &rivals {
            if endpoint::has(netns, &rival.name)? {
                endpoint::detach(netns, &rival.name)?;
            }
        }
        // Without a rival it is there already only on a way back.
        if endpoint::has(netns, &link.name)? {
            continue;
        }
        let quiet = Link { gateways: vec![], ..link.clone() };
        endpoint::connect(netns, &[network::spec(&quiet)])?;
    }
    let ways = |bundle: &Bundle| -> Vec<(String, IpAddr)> {
        let all = links(&bundle.network).iter();
        all.flat_map(|l| l.gateways.iter().map(|gateway| (l.name.clone(), *gateway))).collect()
    };
    let (old, new) = (ways(from), ways(to));
    if old == new && only(from, to).next().is_none() && only(to, from).next().is_none() {
        return Ok(());
    }
    let new: Vec<(&str, IpAddr)> = new.iter().map(|(link, to)| (link.as_str(), *to)).collect();
    endpoint::lead_out(netns, &new)
}

/// Takes the links away that `to` has not.
fn detach(netns: BorrowedFd<'_>, from: &Bundle, to: &Bundle) -> Result<(), NetError> {
    for link in only(from, to) {
        let taken = links(&to.network).iter().any(|new| new.name == link.name);
        if !taken && endpoint::has(netns, &link.name)? {
            endpoint::detach(netns, &link.name)?;
        }
    }
    Ok(())
}

/// Publishes just `wanted` for the container, in one transaction.
fn lead(wanted: &[Published], from: &Bundle, to: &Bundle) -> Result<(), NetError> {
    if links(&from.network).is_empty() && links(&to.network).is_empty() {
        return Ok(());
    }
    let address = |link: &Link| {
        let v4 = link.ipv4.map(|(ip, _)| IpAddr::V4(ip));
        [v4, link.ipv6.map(|(ip, _)| IpAddr::V6(ip))].into_iter().flatten()
    };
    let all = links(&from.network).iter().chain(links(&to.network));
    let addresses: BTreeSet<IpAddr> = all.flat_map(address).collect();
    // Another state on this host may have a container of the same name.
    let ours = |port: &Published| port.owner == to.name && addresses.contains(&port.target.ip());
    let there: Vec<Published> = firewall::observe()?.published.into_iter().filter(ours).collect();
    let but = |some: &[Published], others: &[Published]| -> Vec<Published> {
        some.iter().filter(|port| !others.contains(port)).cloned().collect()
    };
    firewall::change(&but(&there, wanted), &but(wanted, &there))
}

/// Puts what `to` says into the container's `hosts` and `resolv.conf`. They are mounted in it, so
/// they stay the files they are; lines that the container added stay too.
fn rewrite_names(from: &Bundle, to: &Bundle) -> Result<(), String> {
    let (old, new) = (etc::texts(from), etc::texts(to));
    for ((name, old), (_, new)) in old.iter().zip(&new) {
        let path = to.run_dir.join("etc").join(name);
        if old != new {
            rewrite(&path, old, new).map_err(|e| format!("write `{}`: {e}", path.display()))?;
        }
    }
    Ok(())
}

fn rewrite(path: &Path, old: &str, new: &str) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let mut file = options.read(true).write(true).custom_flags(libc::O_NOFOLLOW).open(path)?;
    let mut text = String::new();
    if Read::by_ref(&mut file).take(NAMES_MAX + 1).read_to_string(&mut text)? as u64 > NAMES_MAX {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    write_over(file, &changed(&text, old, new))
}

/// One write, so that a reader rarely meets a part of it.
fn write_over(mut file: File, text: &str) -> io::Result<()> {
    io::Seek::rewind(&mut file)?;
    file.write_all(text.as_bytes())?;
    file.set_len(text.len() as u64)
}

/// `text` with the lines that only `old` has taken away and those that only `new` has added.
fn changed(text: &str, old: &str, new: &str) -> String {
    if text == old {
        return new.to_owned();
    }
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<BTreeSet<_>>();
    let (before, after, there) = (lines(old), lines(new), lines(text));
    let stays = |line: &&str| after.contains(*line) || !before.contains(*line);
    let kept = text.lines().filter(stays);
    let added = new.lines().filter(|line| !there.contains(*line));
    kept.chain(added).map(|line| format!("{line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_the_container_added_stay() {
        let (old, new) = ("a\nb\n", "a\nc\n");
        assert_eq!(changed(old, old, new), new);
        assert_eq!(changed("a\nb\nmine\n", old, new), "a\nmine\nc\n");
        assert_eq!(changed("mine\n", old, new), "mine\na\nc\n");
        assert_eq!(changed("a\nmine\nc\n", new, old), "a\nmine\nb\n");
    }
}
