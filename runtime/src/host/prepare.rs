//! Works out the [`Bundle`] of a container: its record with the image's defaults folded in,
//! names of users resolved, networks looked up. Done at each start, so that a reboot, which
//! empties `/run`, needs nothing else.

use std::collections::BTreeMap;
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;

use berth_planner::desired::{ContainerSpec, MountSpec, SourceSpec};
use berth_planner::observed::ContainerRecord;
use berth_schema::stack::{Healthcheck, LogDriver, RestartPolicy, Tmpfs};

use super::view::ImageView;
use super::{StepError, Stored, etc, network, perform, volume};
use crate::bundle::{
    Bundle, BundleMount, BundleSource, Cgroup, Log, Probe, Process, Restart, Rootfs,
};
use crate::container::{ALL_CAPABILITIES, DEFAULT_CAPABILITIES, users};
use crate::paths::Roots;
use crate::record::{self, Durability};
use crate::store::{ImageConfig, ImageHealthcheck, Store};

/// Processes a container may have when the file gives no limit.
const PIDS: i64 = 2048;
/// Bytes of `/dev/shm` when the file gives none.
const SHM: u64 = 64 << 20;
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Works out the bundle of the container `name` and writes it and its `/etc` files into the run
/// folder.
pub(super) fn bundle(roots: &Roots, store: &Store, name: &str) -> Result<Bundle, StepError> {
    let stored = Stored::read(roots, name)
        .map_err(|e| StepError::refused("read container", name, e))?
        .ok_or_else(|| StepError::Stale(format!("container `{name}` is not there")))?;
    let run_dir = roots.container_run(name);
    let refused = |e| StepError::refused("prepare container", name, e);
    DirBuilder::new().recursive(true).mode(0o700).create(&run_dir).map_err(refused)?;
    let image = Image::open(store, &stored.record)?;
    let bundle = Preparation { roots, stored: &stored, image: &image }.bundle()?;
    record::write(&run_dir.join("bundle.json"), &bundle, Durability::Volatile).map_err(refused)?;
    Ok(bundle)
}

/// The image of a container: its defaults, its layers and its files.
struct Image {
    config: ImageConfig,
    layers: Vec<PathBuf>,
    extra: Vec<BundleMount>,
    view: ImageView,
}

impl Image {
    fn open(store: &Store, record: &ContainerRecord) -> Result<Image, StepError> {
        let failed = |e: &dyn std::fmt::Display| {
            StepError::failed("read image", &record.spec.image, e.to_string())
        };
        let layers = store.layers(&record.image_id).map_err(|e| failed(&e))?;
        Ok(Image {
            config: store.config(&record.image_id).map_err(|e| failed(&e))?,
            extra: store.extra_mounts(&record.image_id).map_err(|e| failed(&e))?,
            view: ImageView::open(&layers).map_err(|e| failed(&e))?,
            layers,
        })
    }
}

struct Preparation<'a> {
    roots: &'a Roots,
    stored: &'a Stored,
    image: &'a Image,
}

impl Preparation<'_> {
    fn record(&self) -> &ContainerRecord {
        &self.stored.record
    }

    fn spec(&self) -> &ContainerSpec {
        &self.stored.record.spec
    }

    fn bundle(&self) -> Result<Bundle, StepError> {
        let (record, spec) = (self.record(), self.spec());
        let state_dir = self.roots.container(&record.name);
        let run_dir = self.roots.container_run(&record.name);
        let hostname = spec.hostname.clone().unwrap_or_else(|| self.stored.id[..12].to_owned());
        let network = network::connection(self.roots, record, &self.stored.id)?;
        let dns = network::dns(self.roots, record, &network)?;
        let etc = etc::write(self.roots, record, &hostname, &network, &dns)?;
        let mut mounts = self.mounts()?;
        mounts.extend(etc);
        mounts.sort_by(|a, b| a.target.cmp(&b.target));
        Ok(Bundle {
            name: record.name.clone(),
            id: self.stored.id.clone(),
            project: record.project.clone(),
            service: record.service.clone(),
            process: self.process(&hostname)?,
            init: spec.init.unwrap_or(false),
            rootfs: Rootfs {
                lowers: self.image.layers.clone(),
                upper: state_dir.join("upper"),
                work: state_dir.join("work"),
            },
            mounts,
            read_only: spec.read_only,
            shm_size: spec.shm_size.unwrap_or(SHM),
            hostname,
            id_base: record.id_base,
            privileged: spec.privileged,
            sysctls: spec.sysctls.clone(),
            cgroup: cgroup(self.roots.cgroup(&record.name), record),
            network,
            dns,
            ports: spec.ports.clone(),
            health: probe(spec.healthcheck.as_ref(), self.image.config.healthcheck.as_ref()),
            restart: restart(spec.restart),
            log: Log {
                none: spec.logging.driver == LogDriver::None,
                max_size: spec.logging.max_size,
                max_files: spec.logging.max_files,
            },
            tty: spec.tty,
            stdin_open: spec.stdin_open,
            stop_signal: self.stop_signal()?,
            stop_grace_ms: spec.stop_grace_period.map_or(10_000, |grace| grace.as_millis() as u64),
            remove_on_exit: false,
            await_client: record.oneoff && (spec.tty || spec.stdin_open),
            state_dir,
            run_dir,
        })
    }

    fn process(&self, hostname: &str) -> Result<Process, StepError> {
        let (spec, config) = (self.spec(), &self.image.config);
        let name = &self.record().name;
        let user = spec.user.as_deref().or(config.user.as_deref()).unwrap_or_default();
        let read = |path: &str| self.image.view.read_text(path);
        let ids = users::resolve(&read, user, &spec.group_add)
            .map_err(|e| StepError::failed("resolve the user of", name, e))?;
        let argv = argv(spec, config);
        if argv.is_empty() {
            let why = "neither the file nor the image says what to run";
            return Err(StepError::failed("prepare container", name, why));
        }
        let cwd = spec.working_dir.clone().or_else(|| config.working_dir.clone());
        Ok(Process {
            argv,
            env: environment(spec, config, hostname, ids.home.as_deref().unwrap_or("/")),
            cwd: cwd.filter(|cwd| !cwd.is_empty()).unwrap_or_else(|| "/".to_owned()),
            uid: ids.uid,
            gid: ids.gid,
            groups: ids.groups,
            capabilities: capabilities(spec),
            no_new_privs: false,
            rlimits: rlimits(spec),
            oom_score_adj: spec.limits.oom_score_adj,
        })
    }

    /// Every mount but those of `/etc`, whatever their order.
    fn mounts(&self) -> Result<Vec<BundleMount>, StepError> {
        let mut mounts = self.image.extra.clone();
        for (target, mount) in all_mounts(&self.image.config, self.spec()) {
            mounts.push(self.mount(&target, &mount)?);
        }
        for tmpfs in &self.spec().tmpfs {
            mounts.push(tmpfs_mount(tmpfs));
        }
        for (index, file) in self.spec().files.iter().enumerate() {
            let dir = perform::files_dir(self.roots, &self.record().name, file.secret);
            mounts.push(self.bind(&file.target, dir.join(index.to_string()), true));
        }
        Ok(mounts)
    }

    fn mount(&self, target: &str, mount: &MountSpec) -> Result<BundleMount, StepError> {
        let path = match &mount.source {
            SourceSpec::Volume { name, subpath, .. } => {
                let data = volume::data(self.roots, name)?;
                subpath.as_ref().map_or(Ok(data.clone()), |below| volume::below(&data, below))?
            }
            SourceSpec::Anonymous { .. } => {
                volume::data(self.roots, &volume::anonymous_name(&self.record().name, target))?
            }
            SourceSpec::Bind { path, .. } => path.clone(),
        };
        let mut bind = self.bind(target, path, mount.read_only);
        if let (
            SourceSpec::Bind { propagation: asked, .. },
            BundleSource::Bind { propagation, .. },
        ) = (&mount.source, &mut bind.source)
        {
            propagation.clone_from(asked);
        }
        Ok(bind)
    }

    fn bind(&self, target: &str, path: PathBuf, read_only: bool) -> BundleMount {
        let source = BundleSource::Bind {
            path,
            idmap: self.record().id_base.is_some(),
            recursive: true,
            propagation: None,
            dev: false,
        };
        BundleMount { target: target.to_owned(), source, read_only }
    }

    fn stop_signal(&self) -> Result<i32, StepError> {
        let asked = self.spec().stop_signal.as_deref();
        let name = asked.or(self.image.config.stop_signal.as_deref()).unwrap_or("SIGTERM");
        signal_number(name).ok_or_else(|| {
            let why = format!("there is no signal `{name}`");
            StepError::failed("prepare container", &self.record().name, why)
        })
    }
}

/// The mounts of the description and, where it has none, the volumes its image declares.
pub(super) fn all_mounts(
    config: &ImageConfig,
    spec: &ContainerSpec,
) -> BTreeMap<String, MountSpec> {
    let mut mounts = spec.mounts.clone();
    for target in &config.volumes {
        if !spec.tmpfs.iter().any(|tmpfs| tmpfs.target == *target) {
            let source = SourceSpec::Anonymous { nocopy: false };
            mounts.entry(target.clone()).or_insert(MountSpec { source, read_only: false });
        }
    }
    mounts
}

/// An entrypoint of the file drops the image's command as well (Compose Specification,
/// `entrypoint`).
fn argv(spec: &ContainerSpec, config: &ImageConfig) -> Vec<String> {
    let (entrypoint, default) = match &spec.entrypoint {
        Some(own) => (own.clone(), Vec::new()),
        None => {
            (config.entrypoint.clone().unwrap_or_default(), config.cmd.clone().unwrap_or_default())
        }
    };
    let command = spec.command.clone().unwrap_or(default);
    entrypoint.into_iter().chain(command).collect()
}

fn environment(
    spec: &ContainerSpec,
    config: &ImageConfig,
    hostname: &str,
    home: &str,
) -> Vec<String> {
    let mut variables = BTreeMap::new();
    let mut set = |line: &str| {
        let (key, value) = line.split_once('=').unwrap_or((line, ""));
        variables.insert(key.to_owned(), value.to_owned());
    };
    set(PATH);
    set(&format!("HOSTNAME={hostname}"));
    set(&format!("HOME={home}"));
    if spec.tty {
        set("TERM=xterm");
    }
    config.env.iter().for_each(|line| set(line));
    for (key, value) in &spec.environment {
        match value {
            Some(value) => variables.insert(key.clone(), value.clone()),
            None => variables.remove(key),
        };
    }
    variables.into_iter().map(|(key, value)| format!("{key}={value}")).collect()
}

fn capabilities(spec: &ContainerSpec) -> Vec<String> {
    let all = || ALL_CAPABILITIES.iter().map(|name| (*name).to_owned());
    if spec.privileged || spec.cap_add.iter().any(|cap| cap == "ALL") {
        return all().filter(|cap| !spec.cap_drop.contains(cap)).collect();
    }
    let drops_all = spec.cap_drop.iter().any(|cap| cap == "ALL");
    let kept = DEFAULT_CAPABILITIES.iter().map(|name| (*name).to_owned());
    let mut caps: Vec<String> =
        kept.filter(|cap| !drops_all && !spec.cap_drop.contains(cap)).collect();
    caps.extend(spec.cap_add.iter().cloned());
    caps.sort();
    caps.dedup();
    caps
}

fn rlimits(spec: &ContainerSpec) -> BTreeMap<String, (u64, u64)> {
    let limit = |value: i64| u64::try_from(value).unwrap_or(u64::MAX);
    let asked = spec.ulimits.iter();
    asked.map(|(name, (soft, hard))| (name.clone(), (limit(*soft), limit(*hard)))).collect()
}

fn cgroup(path: String, record: &ContainerRecord) -> Cgroup {
    let limits = &record.spec.limits;
    Cgroup {
        path,
        memory: limits.memory,
        memory_swap: limits.memory_swap,
        memory_reservation: limits.memory_reservation,
        cpu_micros: limits.cpu_micros,
        cpu_shares: limits.cpu_shares,
        cpuset: limits.cpuset.clone(),
        pids: limits.pids.unwrap_or(PIDS),
        devices: Vec::new(),
    }
}

fn tmpfs_mount(tmpfs: &Tmpfs) -> BundleMount {
    let read_only = tmpfs.options.iter().any(|option| option == "ro");
    let source = BundleSource::Tmpfs {
        size: tmpfs.size,
        mode: tmpfs.mode.unwrap_or(0o1777),
        options: tmpfs.options.iter().filter(|o| *o != "ro" && *o != "rw").cloned().collect(),
    };
    BundleMount { target: tmpfs.target.clone(), source, read_only }
}

/// The probe of the file over that of the image, with Docker's defaults.
fn probe(asked: Option<&Healthcheck>, image: Option<&ImageHealthcheck>) -> Option<Probe> {
    let (no_own, no_image) = (Healthcheck::default(), ImageHealthcheck::default());
    let (asked, image) = (asked.unwrap_or(&no_own), image.unwrap_or(&no_image));
    if asked.disable {
        return None;
    }
    let argv = match asked.test.as_ref().unwrap_or(&image.test).split_first()? {
        (kind, [line]) if kind == "CMD-SHELL" => {
            vec!["/bin/sh".to_owned(), "-c".to_owned(), line.clone()]
        }
        (kind, argv) if kind == "CMD" && !argv.is_empty() => argv.to_vec(),
        _ => return None,
    };
    let time = |own: Option<std::time::Duration>, of_image: Option<std::time::Duration>, ms| {
        own.or(of_image).map_or(ms, |d| d.as_millis() as u64)
    };
    Some(Probe {
        argv,
        interval_ms: time(asked.interval, image.interval, 30_000),
        timeout_ms: time(asked.timeout, image.timeout, 30_000),
        start_period_ms: time(asked.start_period, image.start_period, 0),
        start_interval_ms: time(asked.start_interval, image.start_interval, 5_000),
        retries: asked.retries.or(image.retries).unwrap_or(3).max(1),
    })
}

fn restart(policy: RestartPolicy) -> Restart {
    match policy {
        RestartPolicy::No => Restart::No,
        RestartPolicy::Always | RestartPolicy::UnlessStopped => Restart::Always,
        RestartPolicy::OnFailure(times) => Restart::OnFailure(times),
    }
}

/// The number of a signal by name (`SIGTERM`, `TERM`, `15`, `SIGRTMIN+3`); `None` without one.
pub(super) fn signal_number(name: &str) -> Option<i32> {
    let name = name.to_ascii_uppercase();
    let name = name.strip_prefix("SIG").unwrap_or(&name);
    if let Ok(number) = name.parse::<i32>() {
        return (1..=libc::SIGRTMAX()).contains(&number).then_some(number);
    }
    let real_time = |rest: &str| if rest.is_empty() { Some(0) } else { rest.parse().ok() };
    if let Some(rest) = name.strip_prefix("RTMIN") {
        return real_time(rest).map(|n: i32| libc::SIGRTMIN() + n);
    }
    if let Some(rest) = name.strip_prefix("RTMAX") {
        return real_time(rest).map(|n: i32| libc::SIGRTMAX() + n);
    }
    format!("SIG{name}").parse::<nix::sys::signal::Signal>().ok().map(|signal| signal as i32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entrypoint_of_the_file_drops_the_command_of_the_image() {
        let config = ImageConfig {
            entrypoint: Some(vec!["/entry".to_owned()]),
            cmd: Some(vec!["serve".to_owned()]),
            ..ImageConfig::default()
        };
        let mut spec = ContainerSpec::default();
        assert_eq!(argv(&spec, &config), ["/entry", "serve"]);
        spec.entrypoint = Some(vec!["/mine".to_owned()]);
        assert_eq!(argv(&spec, &config), ["/mine"]);
        spec.command = Some(vec!["now".to_owned()]);
        assert_eq!(argv(&spec, &config), ["/mine", "now"]);
    }

    #[test]
    fn signals_go_by_name_number_and_real_time_offset() {
        assert_eq!(signal_number("SIGTERM"), Some(15));
        assert_eq!(signal_number("kill"), Some(9));
        assert_eq!(signal_number("3"), Some(3));
        assert_eq!(signal_number("SIGRTMIN+3"), Some(libc::SIGRTMIN() + 3));
        assert_eq!(signal_number("SIGNONE"), None);
        assert_eq!(signal_number("0"), None);
    }

    #[test]
    fn dropping_all_and_adding_one_leaves_that_one() {
        let spec = ContainerSpec {
            cap_drop: vec!["ALL".to_owned()],
            cap_add: vec!["NET_RAW".to_owned()],
            ..ContainerSpec::default()
        };
        assert_eq!(capabilities(&spec), ["NET_RAW"]);
    }
}
