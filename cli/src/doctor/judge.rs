//! Says what the facts mean for berth, and what to do about them.

use serde::Serialize;

use super::facts::Facts;
use super::network;
use crate::values::amount;

/// How a check came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Verdict {
    /// As it should be.
    Ok,
    /// Works, but not all of it.
    Warn,
    /// berth cannot do its work like this.
    Fail,
}

/// One line of the answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    /// What was looked at.
    pub(crate) check: &'static str,
    /// How it came out.
    pub(crate) verdict: Verdict,
    /// What was found.
    pub(crate) found: String,
    /// The next move, when there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next: Option<String>,
}

/// Capabilities without which nothing works, by their bit (capabilities(7)).
const NEEDED: [(u32, &str); 9] = [
    (0, "CAP_CHOWN"),
    (1, "CAP_DAC_OVERRIDE"),
    (5, "CAP_KILL"),
    (6, "CAP_SETGID"),
    (7, "CAP_SETUID"),
    (12, "CAP_NET_ADMIN"),
    (18, "CAP_SYS_CHROOT"),
    (21, "CAP_SYS_ADMIN"),
    (27, "CAP_MKNOD"),
];
const CAP_SYS_RESOURCE: u32 = 24;

/// Controllers that limits of a service need.
const CONTROLLERS: [(&str, &str); 4] =
    [("memory", "memory"), ("cpu", "cpus"), ("cpuset", "cpuset"), ("pids", "pids")];

/// Every check, in the order of reading.
pub(crate) fn judge(facts: &Facts) -> Vec<Finding> {
    let checks: [fn(&Facts) -> Finding; 13] = [
        kernel,
        privileges,
        resource,
        chroot,
        cgroups,
        user_namespaces,
        mapped_mounts,
        overlay,
        seccomp,
        firewall,
        bridge_filter,
        resolver,
        state,
    ];
    let mut findings: Vec<Finding> = checks.iter().map(|check| check(facts)).collect();
    findings.extend(network::judge(&facts.network));
    findings
}

pub(super) fn ok(check: &'static str, found: impl Into<String>) -> Finding {
    Finding { check, verdict: Verdict::Ok, found: found.into(), next: None }
}

pub(super) fn warn(
    check: &'static str,
    found: impl Into<String>,
    next: impl Into<String>,
) -> Finding {
    Finding { check, verdict: Verdict::Warn, found: found.into(), next: Some(next.into()) }
}

pub(super) fn fail(
    check: &'static str,
    found: impl Into<String>,
    next: impl Into<String>,
) -> Finding {
    Finding { check, verdict: Verdict::Fail, found: found.into(), next: Some(next.into()) }
}

/// 5.12 brought mapped mounts, 5.19 mapped mounts below an overlay.
fn kernel(facts: &Facts) -> Finding {
    let mut parts = facts.kernel.split(['.', '-']).map(|part| part.parse::<u32>().unwrap_or(0));
    let version = (parts.next().unwrap_or(0), parts.next().unwrap_or(0));
    let found = format!("Linux {}", facts.kernel);
    match version {
        (0..5, _) | (5, 0..12) => fail("kernel", found, "use Linux 5.12 or newer"),
        (5, 12..19) => warn(
            "kernel",
            format!("{found}: no overlay with mapped ids"),
            "use Linux 5.19 or newer; until then containers run without a user namespace",
        ),
        _ => ok("kernel", found),
    }
}

fn privileges(facts: &Facts) -> Finding {
    if !facts.root {
        return fail("privileges", "not root", "run berth as root (`sudo berth …`)");
    }
    let missing: Vec<&str> = NEEDED
        .iter()
        .filter(|(bit, _)| facts.capabilities & (1 << bit) == 0)
        .map(|(_, name)| *name)
        .collect();
    if missing.is_empty() {
        return ok("privileges", "root with the capabilities that are needed");
    }
    let next = "start the program that starts berth with these capabilities";
    fail("privileges", format!("root without {}", missing.join(", ")), next)
}

fn resource(facts: &Facts) -> Finding {
    if facts.capabilities & (1 << CAP_SYS_RESOURCE) != 0 {
        return ok("limits of processes", "can be raised (CAP_SYS_RESOURCE)");
    }
    warn(
        "limits of processes",
        "root without CAP_SYS_RESOURCE: hard limits cannot be raised",
        "a service whose `ulimits` are above those of this shell does not start",
    )
}

fn chroot(facts: &Facts) -> Finding {
    if facts.chroot {
        let next = "start berth outside of it: a container could reach the files around the chroot";
        return fail("root file system", "berth was started inside a chroot", next);
    }
    ok("root file system", "a mount of its own")
}

fn cgroups(facts: &Facts) -> Finding {
    let v2 = facts.cgroup_v2.clone().unwrap_or_default();
    let version = match (facts.cgroup_v1.is_empty(), facts.cgroup_v2.is_some()) {
        (true, true) => "v2",
        (false, true) => "v1 and v2 (hybrid)",
        (false, false) => "v1",
        (true, false) => {
            let next = "mount a cgroup file system at /sys/fs/cgroup";
            return fail("cgroups", "none mounted", next);
        }
    };
    let has = |name: &str| v2.contains(name) || facts.cgroup_v1.contains(name);
    let (there, missing): (Vec<_>, Vec<_>) = CONTROLLERS.iter().partition(|(name, _)| has(name));
    let names =
        |list: &[&(&str, &str)]| list.iter().map(|(n, _)| *n).collect::<Vec<_>>().join(", ");
    if missing.is_empty() {
        return ok("cgroups", format!("{version}: {}", names(&there)));
    }
    let next = format!("limits that need them are not enforced here: {}", names(&missing));
    warn("cgroups", format!("{version} without {}", names(&missing)), next)
}

fn user_namespaces(facts: &Facts) -> Finding {
    match facts.max_user_namespaces {
        Some(0) => warn(
            "user namespaces",
            "switched off",
            "`sysctl user.max_user_namespaces=15000`; until then containers run as the host's users",
        ),
        Some(_) => ok("user namespaces", "on"),
        None => warn(
            "user namespaces",
            "not in this kernel",
            "containers run as the host's users; use a kernel with CONFIG_USER_NS",
        ),
    }
}

fn mapped_mounts(facts: &Facts) -> Finding {
    match facts.mapped_mounts {
        true => ok("mapped mounts", "files keep their owners on disk"),
        false => warn(
            "mapped mounts",
            "the file system of the state folder cannot map ids",
            "containers run without a user namespace; `--root` on ext4, xfs or btrfs changes that",
        ),
    }
}

fn overlay(facts: &Facts) -> Finding {
    if !facts.overlay {
        return fail("overlay", "not in this kernel", "use a kernel with CONFIG_OVERLAY_FS");
    }
    if facts.state.on_overlay {
        let found = format!("{} is on an overlay itself", facts.state.path.display());
        return fail("overlay", found, "put the state on another file system with `--root`");
    }
    ok("overlay", "known to the kernel")
}

fn seccomp(facts: &Facts) -> Finding {
    if facts.seccomp {
        return ok("seccomp", "system calls can be filtered");
    }
    fail("seccomp", "not in this kernel", "use a kernel with CONFIG_SECCOMP_FILTER")
}

fn firewall(facts: &Facts) -> Finding {
    match &facts.firewall {
        Ok(()) => ok("nf_tables", "answers"),
        Err(why) => fail(
            "nf_tables",
            why.clone(),
            "load the module `nf_tables`; without it no network can be made",
        ),
    }
}

fn bridge_filter(facts: &Facts) -> Finding {
    match facts.br_netfilter {
        Some(true) => warn(
            "br_netfilter",
            "on: traffic inside a network passes the host's forward rules",
            "`sysctl net.bridge.bridge-nf-call-iptables=0` unless something here needs it",
        ),
        Some(false) => ok("br_netfilter", "loaded, not filtering"),
        None => ok("br_netfilter", "not loaded"),
    }
}

fn resolver(facts: &Facts) -> Finding {
    match &facts.name_servers {
        Some(servers) if !servers.is_empty() => {
            let list: Vec<String> = servers.iter().map(ToString::to_string).collect();
            ok("name servers", list.join(", "))
        }
        _ => warn(
            "name servers",
            "/etc/resolv.conf names none",
            "containers find each other, and no name outside; add a `nameserver` line",
        ),
    }
}

fn state(facts: &Facts) -> Finding {
    let path = facts.state.path.display();
    let free = facts.state.free.unwrap_or(0);
    match facts.state.owner {
        Some((uid, _)) if uid != 0 => {
            let next = format!("`chown root {path}`: who owns it owns the containers");
            fail("state", format!("{path} belongs to user {uid}"), next)
        }
        Some((_, mode)) if mode & 0o022 != 0 => {
            let next = format!("`chmod go-w {path}`");
            fail("state", format!("{path} is writable for others (mode {mode:04o})"), next)
        }
        _ if free < 1 << 30 => {
            let found = format!("{path} has {} left", amount::bytes(free));
            warn("state", found, "remove images that nothing uses: `berth image rm`")
        }
        None => ok("state", format!("{path} is made when it is needed")),
        Some(_) => ok("state", format!("{path}, {} free", amount::bytes(free))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::facts::State;

    fn healthy() -> Facts {
        Facts {
            kernel: "6.1.0-18-amd64".into(),
            root: true,
            capabilities: u64::MAX,
            cgroup_v2: Some(["memory", "cpu", "cpuset", "pids"].map(str::to_owned).into()),
            max_user_namespaces: Some(15_000),
            overlay: true,
            seccomp: true,
            network: network::tests::bare(),
            name_servers: Some(vec!["10.0.0.1".parse().unwrap()]),
            state: State {
                path: "/var/lib/berth".into(),
                owner: Some((0, 0o700)),
                free: Some(20 << 30),
                on_overlay: false,
            },
            firewall: Ok(()),
            mapped_mounts: true,
            cgroup_v1: Default::default(),
            chroot: false,
            br_netfilter: None,
        }
    }

    fn told(facts: &Facts) -> String {
        let bad = judge(facts).into_iter().filter(|f| f.verdict != Verdict::Ok);
        bad.map(|f| format!("{:?} {}: {}\n", f.verdict, f.check, f.found)).collect()
    }

    #[test]
    fn a_good_host_has_nothing_to_mend() {
        assert_eq!(told(&healthy()), "");
    }

    #[test]
    fn every_trap_is_told_with_a_next_move() {
        let mut facts = healthy();
        facts.kernel = "5.15.0".into();
        facts.capabilities &= !(1 << CAP_SYS_RESOURCE) & !(1 << 12);
        facts.chroot = true;
        facts.cgroup_v1 = ["cpu", "cpuset", "pids"].map(str::to_owned).into();
        facts.cgroup_v2 = Some(Default::default());
        facts.max_user_namespaces = Some(0);
        facts.mapped_mounts = false;
        facts.state.on_overlay = true;
        facts.state.owner = Some((0, 0o777));
        facts.seccomp = false;
        facts.firewall = Err("netlink: EPROTONOSUPPORT".into());
        facts.br_netfilter = Some(true);
        facts.name_servers = Some(vec![]);
        insta::assert_snapshot!(told(&facts), @r"
        Warn kernel: Linux 5.15.0: no overlay with mapped ids
        Fail privileges: root without CAP_NET_ADMIN
        Warn limits of processes: root without CAP_SYS_RESOURCE: hard limits cannot be raised
        Fail root file system: berth was started inside a chroot
        Warn cgroups: v1 and v2 (hybrid) without memory
        Warn user namespaces: switched off
        Warn mapped mounts: the file system of the state folder cannot map ids
        Fail overlay: /var/lib/berth is on an overlay itself
        Fail seccomp: not in this kernel
        Fail nf_tables: netlink: EPROTONOSUPPORT
        Warn br_netfilter: on: traffic inside a network passes the host's forward rules
        Warn name servers: /etc/resolv.conf names none
        Fail state: /var/lib/berth is writable for others (mode 0777)
        ");
        let next = judge(&facts).into_iter().filter(|f| f.verdict != Verdict::Ok);
        assert!(next.into_iter().all(|f| f.next.is_some()));
    }

    #[test]
    fn an_old_kernel_fails() {
        let mut facts = healthy();
        facts.kernel = "4.19.0-20-amd64".into();
        assert!(told(&facts).starts_with("Fail kernel"));
    }
}
