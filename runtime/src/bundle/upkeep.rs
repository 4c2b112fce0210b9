//! What of a container beside its limits and its network can change while it runs.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Bundle, BundleSource, Hooks, Log, Pace, Probe, Ready};
use crate::container::ExecSpec;

/// What its monitor does about a container, and what the kernel has for its processes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upkeep {
    /// The probe.
    pub health: Option<Probe>,
    /// What else shows that it can be used.
    pub ready: Option<Ready>,
    /// It is started again when it is unhealthy.
    pub restart_unhealthy: bool,
    /// Commands run in it before its end.
    pub pre_stop: Vec<ExecSpec>,
    /// How restarts follow each other.
    pub pace: Pace,
    /// How output is kept.
    pub log: Log,
    /// Number of the signal that asks it to end.
    pub stop_signal: i32,
    /// Milliseconds between that signal and SIGKILL.
    pub stop_grace_ms: u64,
    /// What the kernel has.
    pub settings: Settings,
}

/// What the kernel has for the processes of a container, their network and their memory.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// `nofile` and so on: soft and hard; `u64::MAX` is unlimited.
    pub rlimits: BTreeMap<String, (u64, u64)>,
    /// −1000…1000.
    pub oom_score_adj: Option<i32>,
    /// Kernel settings.
    pub sysctls: BTreeMap<String, String>,
    /// Bytes of `/dev/shm`.
    pub shm_size: u64,
    /// Bytes of other memory it has mounted, by target, where that has a limit.
    pub tmpfs: BTreeMap<String, u64>,
}

impl Upkeep {
    /// The bundle with this in place of its own.
    #[must_use]
    pub fn in_place(self, bundle: &Bundle) -> Bundle {
        let after = self.settings.in_place(bundle);
        Bundle {
            health: self.health,
            ready: self.ready,
            restart_unhealthy: self.restart_unhealthy,
            hooks: Hooks { pre_stop: self.pre_stop, ..after.hooks.clone() },
            pace: self.pace,
            log: self.log,
            stop_signal: self.stop_signal,
            stop_grace_ms: self.stop_grace_ms,
            settling: None,
            ..after
        }
    }
}

impl Settings {
    /// Those of a bundle.
    pub fn of(bundle: &Bundle) -> Settings {
        let tmpfs = bundle.mounts.iter().filter_map(|mount| match &mount.source {
            BundleSource::Tmpfs { size, .. } => Some((mount.target.clone(), (*size)?)),
            BundleSource::Bind { .. } | BundleSource::Image { .. } => None,
        });
        Settings {
            rlimits: bundle.process.rlimits.clone(),
            oom_score_adj: bundle.process.oom_score_adj,
            sysctls: bundle.sysctls.clone(),
            shm_size: bundle.shm_size,
            tmpfs: tmpfs.collect(),
        }
    }

    /// The bundle with these in place of its own.
    #[must_use]
    pub fn in_place(&self, bundle: &Bundle) -> Bundle {
        let mut after = bundle.clone();
        after.process.rlimits.clone_from(&self.rlimits);
        after.process.oom_score_adj = self.oom_score_adj;
        after.sysctls.clone_from(&self.sysctls);
        after.shm_size = self.shm_size;
        for mount in &mut after.mounts {
            let wanted = self.tmpfs.get(&mount.target).copied();
            if let (BundleSource::Tmpfs { size, .. }, Some(bytes)) = (&mut mount.source, wanted) {
                *size = Some(bytes);
            }
        }
        after
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::BundleMount;

    #[test]
    fn settings_put_in_place_are_those_of_the_bundle() {
        let tmpfs = BundleSource::Tmpfs { size: Some(1), mode: 0o1777, options: vec![] };
        let mount = BundleMount { target: "/run".into(), source: tmpfs, read_only: false };
        let bundle = Bundle { mounts: vec![mount], ..Bundle::default() };
        let settings = Settings {
            rlimits: [("nofile".to_owned(), (1, 2))].into(),
            oom_score_adj: Some(5),
            sysctls: [("net.core.somaxconn".to_owned(), "9".to_owned())].into(),
            shm_size: 7,
            tmpfs: [("/run".to_owned(), 3)].into(),
        };
        assert_eq!(Settings::of(&settings.in_place(&bundle)), settings);
        assert_ne!(Settings::of(&bundle), settings);
    }
}
