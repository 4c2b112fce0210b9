//! Limits written to a group: all of them when it is new, the differing ones while it is in use.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use super::settings::{self, Setting, Weight};
use super::{Group, Version, device, put};
use crate::bundle::Cgroup;
use crate::container::error::{Context, SetupError};

/// Which device nodes work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Devices {
    /// The default ones and those of the description.
    Listed,
    /// The same where the host can keep to it. For a user namespace: it cannot make nodes, and
    /// its mounts have none but the listed ones.
    ListedIfPossible,
    /// As on the host.
    All,
}

impl Group {
    /// Writes the limits. A limit that was asked for and cannot be kept is an error; what only
    /// shares or protects is left out with a warning.
    pub(crate) fn set_limits(
        &self,
        limits: &Cgroup,
        devices: Devices,
    ) -> Result<Vec<String>, SetupError> {
        if limits.cpu_rt_runtime.is_some() {
            self.make_room_for_real_time(limits)?;
        }
        let mut warnings = Warnings::default();
        for setting in self.settings(limits) {
            let text = setting.line();
            warnings.note(&setting, self.set(&setting, &text)?);
        }
        let devices = self.keep_to_devices(devices, &limits.devices)?;
        Ok(warnings.told().into_iter().chain(devices).collect())
    }

    /// Writes the device rules; a warning when there are none and it may be so.
    fn keep_to_devices(
        &self,
        devices: Devices,
        further: &[String],
    ) -> Result<Option<String>, SetupError> {
        if devices == Devices::All {
            return Ok(None);
        }
        match self.limit_devices(further)? {
            // The node alone says nothing of what may be done with it.
            Some(why) if devices == Devices::Listed || device::narrow(further)? => Err(why),
            why => Ok(why.map(|why| format!("nothing but its mounts limits devices: {why}"))),
        }
    }

    /// Changes the limits of a group in use from those of `before` to those of `after`, and those
    /// that somebody else has set meanwhile. Devices stay as they are.
    ///
    /// When the kernel refuses one, those that were changed already are put back.
    pub(crate) fn change_limits(&self, before: &Cgroup, after: &Cgroup) -> Result<(), SetupError> {
        let was = self.as_seen(self.settings(before));
        self.refuse_less_than_used(&was, after)?;
        if after.cpu_rt_runtime.is_some() {
            self.make_room_for_real_time(after)?;
        }
        if let Some(unified) = &self.unified {
            let needed = self.controllers_of(after);
            unified.pass_on(&needed).step("pass controllers on to", unified.folder.display())?;
        }
        let shall = self.settings(after);
        let grows = grows(&was, &shall);
        let changed = changes(&was, &shall, grows).iter().try_for_each(|it| self.change(it));
        changed.inspect_err(|_| {
            for change in changes(&shall, &was, !grows) {
                // It was accepted before; if not now, the first error says what matters.
                let _ = self.change(&change);
            }
        })
    }

    /// The controllers that these limits are set with, whether they are here or not.
    pub(super) fn controllers_of(&self, limits: &Cgroup) -> BTreeSet<&'static str> {
        let settings = self.settings(limits).into_iter();
        let asked = settings.filter(|setting| setting.weight != Weight::Silent);
        asked.map(|setting| setting.controller).collect()
    }

    fn settings(&self, limits: &Cgroup) -> Vec<Setting> {
        settings::settings(limits, |name| self.controller(name).map(|(_, version)| version))
    }

    fn change(&self, change: &Change<'_>) -> Result<(), SetupError> {
        let setting = change.setting;
        // What is counted in a period is lifted while that changes; it follows in the list.
        let lifted = match setting.file {
            settings::PERIOD_V1 => Some((settings::QUOTA_V1, "-1")),
            settings::RT_PERIOD => Some((settings::RT_RUNTIME, "0")),
            _ => None,
        };
        if let (Some((file, text)), Some((folder, _))) = (lifted, self.controller("cpu")) {
            let file = folder.join(file);
            put(&file, text).step("set limit", format!("{} = {text}", file.display()))?;
        }
        let text = match (&change.shall, setting.reset_line()) {
            (Some(text), _) => text.clone(),
            (None, Some(text)) => text,
            (None, None) => self.of_parent(setting)?,
        };
        self.set(setting, &text).map(drop)
    }

    fn of_parent(&self, setting: &Setting) -> Result<String, SetupError> {
        let (folder, _) = self.needed(setting)?;
        let file = folder.parent().unwrap_or(folder).join(setting.file);
        let text = fs::read_to_string(&file).step("read", file.display())?;
        Ok(text.trim().to_owned())
    }

    /// Writes one setting. `false`: this host does not have it, and it is left out.
    fn set(&self, setting: &Setting, text: &str) -> Result<bool, SetupError> {
        let folder = match (self.controller(setting.controller), setting.weight) {
            (Some((folder, _)), _) => folder,
            (None, Weight::Must) => self.needed(setting)?.0,
            (None, Weight::May | Weight::Silent) => return Ok(false),
        };
        match (put(&folder.join(setting.file), text), setting.weight) {
            (Err(error), Weight::May | Weight::Silent) if is_unknown(&error) => Ok(false),
            (written, _) => {
                written.map(|()| true).map_err(|error| explained(folder, setting, text, &error))
            }
        }
    }

    /// v2 would end processes until the rest fits; v1 refuses by itself. What is swapped out to make room
    /// is nobody's wish, and may not fit either.
    fn refuse_less_than_used(&self, was: &[Setting], after: &Cgroup) -> Result<(), SetupError> {
        let (Some((_, Version::V2)), Some(limit)) = (self.controller("memory"), after.memory)
        else {
            return Ok(());
        };
        let had = was.iter().find(|setting| setting.file == "memory.max");
        let had = had.and_then(|setting| setting.value.parse::<u64>().ok());
        if had.is_some_and(|had| limit >= had) {
            return Ok(());
        }
        match self.memory_held() {
            Some(used) if used > limit => {
                let reason = format!(
                    "the container uses {used} bytes now, and would be killed; \
                     `berth up --force-recreate` starts it anew with that limit"
                );
                Err(SetupError::refused("set limit", format!("mem_limit = {limit}"), reason))
            }
            _ => Ok(()),
        }
    }

    /// Puts the rules in force, or says why this host cannot. An error where some of them are.
    fn limit_devices(&self, further: &[String]) -> Result<Option<SetupError>, SetupError> {
        if let Some((folder, Version::V1)) = self.controller("devices") {
            let rules = device::legacy_rules(further)?;
            let denied = put(&folder.join("devices.deny"), "a");
            if let Err(why) = denied.step("deny devices", folder.display()) {
                return Ok(Some(why));
            }
            let allow = folder.join("devices.allow");
            let file = File::options().write(true).open(&allow).step("open", allow.display())?;
            let mut rules = rules.iter();
            let allowed = rules
                .try_for_each(|rule| (&file).write_all(rule.as_bytes()).step("allow device", rule));
            return allowed.map(|()| None);
        }
        match &self.unified {
            Some(unified) => Ok(device::attach(unified, &device::rules(further)).err()),
            None => Ok(Some(SetupError::refused(
                "set device rules",
                &self.path,
                "this host has neither the devices controller nor cgroup v2",
            ))),
        }
    }

    fn needed(&self, setting: &Setting) -> Result<(&Path, Version), SetupError> {
        self.controller(setting.controller).ok_or_else(|| {
            let reason = match self.withheld(setting.controller) {
                Some(folder) => format!(
                    "cgroup `{}` does not pass the `{}` controller on to those below it, as one \
                     with processes of its own cannot",
                    folder.display(),
                    setting.controller
                ),
                None => format!("this host has no `{}` cgroup controller", setting.controller),
            };
            SetupError::refused("set limit", setting.attribute, reason)
        })
    }

    /// The group above that does not pass on a controller it has.
    fn withheld(&self, controller: &str) -> Option<PathBuf> {
        let unified = self.unified.as_ref()?;
        let has = |folder: &Path| {
            let file = folder.join("cgroup.controllers");
            super::words(&file).iter().any(|name| name == controller)
        };
        let above = unified.folder.ancestors().skip(1);
        above
            .take_while(|folder| folder.starts_with(&unified.mount))
            .find(|f| has(f))
            .map(Into::into)
    }
}

/// Limits that are not in force, by attribute. One file of several is enough.
#[derive(Debug, Default)]
struct Warnings {
    unknown: BTreeSet<&'static str>,
    set: BTreeSet<&'static str>,
}

impl Warnings {
    fn note(&mut self, setting: &Setting, set: bool) {
        match (set, setting.weight) {
            (true, _) => drop(self.set.insert(setting.attribute)),
            (false, Weight::Silent) => {}
            (false, Weight::Must | Weight::May) => drop(self.unknown.insert(setting.attribute)),
        }
    }

    fn told(&self) -> Vec<String> {
        let told = self.unknown.difference(&self.set);
        told.map(|name| format!("`{name}` is not in force: this host does not have it")).collect()
    }
}

/// A file that changes.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Change<'a> {
    setting: &'a Setting,
    /// What it shall say; `None` is what it says in a new group.
    shall: Option<String>,
}

/// What has to be written, in the order in which the kernel takes it.
fn changes<'a>(was: &'a [Setting], shall: &'a [Setting], grows: bool) -> Vec<Change<'a>> {
    let of = |all: &[Setting], place: &Setting| {
        all.iter().find(|one| one.same_place(place)).map(Setting::line)
    };
    let differs = |file: &str| {
        let old = was.iter().find(|one| one.file == file).map(Setting::line);
        let new = shall.iter().find(|one| one.file == file).map(Setting::line);
        old != new
    };
    let gone = was.iter().filter(|old| of(shall, old).is_none());
    let mut all: Vec<Change<'a>> = gone.map(|setting| Change { setting, shall: None }).collect();
    for setting in shall {
        let lifted = match setting.file {
            settings::QUOTA_V1 => differs(settings::PERIOD_V1),
            settings::RT_RUNTIME => differs(settings::RT_PERIOD),
            _ => false,
        };
        let line = setting.line();
        if lifted || of(was, setting).as_ref() != Some(&line) {
            all.push(Change { setting, shall: Some(line) });
        }
    }
    // Memory and swap together are never less than memory, not even between two writes.
    if grows {
        all.sort_by_key(|change| change.setting.file != settings::SWAP_V1);
    }
    all
}

/// Whether there is more memory and swap together than before.
fn grows(was: &[Setting], shall: &[Setting]) -> bool {
    let end = |all: &[Setting]| {
        let total = all.iter().find(|setting| setting.file == settings::SWAP_V1);
        total.and_then(|setting| setting.value.parse().ok()).unwrap_or(u64::MAX)
    };
    end(shall) > end(was)
}

/// The kernel does not know the file, or the device has no such setting.
fn is_unknown(error: &io::Error) -> bool {
    error.kind() == ErrorKind::NotFound || error.raw_os_error() == Some(libc::EOPNOTSUPP)
}

fn explained(folder: &Path, setting: &Setting, text: &str, error: &io::Error) -> SetupError {
    let object = format!("{} = {}", folder.join(setting.file).display(), text.trim());
    let reason = match error.raw_os_error() {
        Some(libc::EINVAL) => "the kernel refuses this value (EINVAL)",
        Some(libc::EBUSY) if setting.controller == "memory" => {
            "the container uses more than that now (EBUSY); `berth up --force-recreate` starts it \
             anew with that limit"
        }
        Some(libc::ENODEV) => "limits are for whole disks, and this is none (ENODEV)",
        _ => return SetupError::kernel("set limit", object, error),
    };
    SetupError::refused("set limit", object, reason)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container::cgroup::Hierarchies;

    fn written(before: &Cgroup, after: &Cgroup) -> String {
        let of = |limits| settings::settings(limits, |_| Some(Version::V1));
        let (was, shall) = (of(before), of(after));
        let line = |change: &Change<'_>| {
            let text = change.shall.clone().or(change.setting.reset_line());
            format!("{} = {}", change.setting.file, text.unwrap_or("that of the parent".into()))
        };
        let all = changes(&was, &shall, grows(&was, &shall));
        all.iter().map(line).collect::<Vec<_>>().join("\n")
    }

    fn memory(bytes: Option<u64>) -> Cgroup {
        Cgroup { memory: bytes, pids: 10, ..Cgroup::default() }
    }

    #[test]
    fn swap_goes_before_memory_when_they_grow_and_after_it_when_they_shrink() {
        let (small, large) = (memory(Some(64 << 20)), memory(Some(128 << 20)));
        insta::assert_snapshot!(written(&small, &large), @r"
        memory.memsw.limit_in_bytes = 268435456
        memory.limit_in_bytes = 134217728
        ");
        insta::assert_snapshot!(written(&large, &small), @r"
        memory.limit_in_bytes = 67108864
        memory.memsw.limit_in_bytes = 134217728
        ");
        insta::assert_snapshot!(written(&small, &memory(None)), @r"
        memory.memsw.limit_in_bytes = -1
        memory.limit_in_bytes = -1
        ");
    }

    #[test]
    fn what_differs_is_written_and_what_is_gone_is_taken_back() {
        let io = |rate| crate::bundle::BlockLimits {
            read_bytes: [("8:0".to_owned(), rate)].into(),
            ..Default::default()
        };
        let before = Cgroup { cpuset: Some("0".into()), io: io(5), ..memory(None) };
        let mut after = Cgroup { io: io(6), cpu_shares: Some(3), ..memory(None) };
        insta::assert_snapshot!(written(&before, &after), @r"
        cpuset.cpus = that of the parent
        cpu.shares = 3
        blkio.throttle.read_bps_device = 8:0 6
        ");
        assert_eq!(written(&after, &after), "");
        after.io = Default::default();
        let before = Cgroup { io: io(5), ..after.clone() };
        assert_eq!(written(&before, &after), "blkio.throttle.read_bps_device = 8:0 0");
    }

    #[test]
    fn a_quota_is_written_again_after_its_period() {
        let cpu = |micros, period| Cgroup {
            cpu_micros: Some(micros),
            cpu_period: Some(period),
            ..memory(None)
        };
        insta::assert_snapshot!(written(&cpu(500_000, 100_000), &cpu(1_000_000, 50_000)), @r"
        cpu.cfs_period_us = 50000
        cpu.cfs_quota_us = 50000
        ");
    }

    #[test]
    fn what_somebody_else_has_set_is_written_again_and_nothing_more() {
        let folder = std::env::temp_dir().join(format!("berth-limits-{}", std::process::id()));
        let group = Hierarchies::parse("1 1 0:1 / / rw - cgroup2 cgroup2 rw", &folder).group("x");
        let limits = Cgroup { cpuset: Some("0,1".into()), ..memory(Some(64 << 20)) };
        let write = |file: &str, text: &str| fs::write(folder.join("x").join(file), text).unwrap();
        fs::create_dir_all(folder.join("x")).unwrap();
        write("cgroup.controllers", "memory pids cpuset");
        let files = [
            ("memory.max", "68157440"),
            ("memory.swap.max", "67108864"),
            ("cpuset.cpus", "0-1"),
            ("pids.max", "99"),
        ];
        files.iter().for_each(|(file, text)| write(file, text));
        group.change_limits(&limits, &limits).unwrap();
        let read =
            |(file, _): (&str, &str)| fs::read_to_string(folder.join("x").join(file)).unwrap();
        let now = files.map(read);
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!(now, ["67108864", "67108864", "0-1", "10"]);
    }

    #[test]
    fn device_rules_that_cannot_be_kept_are_told_and_those_that_narrow_are_refused() {
        let name = format!("berth-devices-{}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        let hierarchies =
            Hierarchies::parse("1 1 0:1 / /devices rw - cgroup cgroup rw,devices", &folder);
        let group = hierarchies.group("x");
        let at = folder.join("devices/x");
        fs::create_dir_all(&at).unwrap();
        let (open, narrow) = (["c 10:229 rwm".to_owned()], ["c 10:229 r".to_owned()]);
        let kept = |devices, rules: &[String]| group.keep_to_devices(devices, rules);

        let told = kept(Devices::ListedIfPossible, &open).unwrap().unwrap();
        assert!(told.contains("deny devices"), "{told}");
        assert!(kept(Devices::ListedIfPossible, &narrow).is_err());
        assert!(kept(Devices::Listed, &open).is_err());
        assert_eq!(kept(Devices::All, &narrow), Ok(None));

        // Everything is denied, and nothing can be allowed again.
        fs::write(at.join("devices.deny"), "").unwrap();
        assert!(kept(Devices::ListedIfPossible, &open).is_err());
        fs::write(at.join("devices.allow"), "").unwrap();
        assert_eq!(kept(Devices::ListedIfPossible, &narrow), Ok(None));
        let allowed = fs::read_to_string(at.join("devices.allow")).unwrap();
        fs::remove_dir_all(&folder).unwrap();
        assert!(allowed.ends_with("c 10:229 r"), "{allowed}");
    }
}
