//! Works out the [`Bundle`] of a container: its record with the image's defaults folded in,
//! names of users resolved, networks looked up. Done at each start, so that a reboot, which
//! empties `/run`, needs nothing else.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;

use berth_planner::desired::ContainerSpec;
use berth_planner::observed::ContainerRecord;
use berth_schema::stack::LogDriver;

use super::grounds::Held;
use super::view::ImageView;
use super::{StepError, Stored, etc, names as host_names, network, quota};
use crate::bundle::{Bundle, BundleMount, Cgroup, Log, Rootfs, Wiring};
use crate::paths::Roots;
use crate::record::{self, Durability};
use crate::sabotage::defence;
use crate::store::{ImageConfig, Store};

mod devices;
mod forward;
mod life;
mod limits;
mod mounts;
mod names;
mod process;
mod runtime;
mod upkeep;

pub(super) use devices::nodes as device_nodes;
pub(super) use life::{restart, signal_number};
pub(super) use limits::{cgroup, without_devices};
pub(super) use mounts::all_mounts;
pub(super) use upkeep::other_upkeep;

/// The ids of every container, if each had the same.
#[cfg(feature = "sabotage")]
const ONE_RANGE: u32 = 0x7000_0000;
/// Bytes of `/dev/shm` when the file gives none.
const SHM: u64 = 64 << 20;

/// Works out the bundle of the container `name` and writes it and its `/etc` files into the run
/// folder.
///
/// One that is started `beside` another serves nobody yet.
///
/// Binds are held to what `held` says of this run, else to where they led when they were judged.
pub(super) fn bundle(
    roots: &Roots,
    store: &Store,
    name: &str,
    held: &Held,
    beside: bool,
) -> Result<Bundle, StepError> {
    let bundle = prepared(roots, store, name, held, Purpose::Start)?;
    let bundle = Bundle { beside, ..bundle };
    record::write(&bundle.run_dir.join("bundle.json"), &bundle, Durability::Volatile)
        .map_err(|e| StepError::refused("prepare container", name, e))?;
    Ok(bundle)
}

/// The bundle of the container `name` without what only a program needs and what may not be there
/// now: devices, limits, a place to send the log to. Nobody is to start it.
pub(super) fn to_reach(roots: &Roots, store: &Store, name: &str) -> Result<Bundle, StepError> {
    prepared(roots, store, name, &Held::new(), Purpose::Reach)
}

fn prepared(
    roots: &Roots,
    store: &Store,
    name: &str,
    held: &Held,
    purpose: Purpose,
) -> Result<Bundle, StepError> {
    let stored = Stored::read(roots, name)
        .map_err(|e| StepError::refused("read container", name, e))?
        .ok_or_else(|| StepError::Stale(format!("container `{name}` is not there")))?;
    let created = DirBuilder::new().recursive(true).mode(0o700).create(roots.container_run(name));
    created.map_err(|e| StepError::refused("prepare container", name, e))?;
    let image = Image::open(store, &stored.record)?;
    Preparation { roots, stored: &stored, image: &image, store, held, purpose }.bundle()
}

/// What a bundle is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    /// The container is started.
    Start,
    /// Its files are reached while it does not run.
    Reach,
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

/// Links, names and ports of a container as `wanted` has them, where that may be another wiring
/// than it has: by its description, or as a change of it was cut short.
pub(super) fn wiring(
    roots: &Roots,
    stored: &Stored,
    wanted: &ContainerRecord,
) -> Result<Option<Wiring>, StepError> {
    let of = |record: &ContainerRecord| {
        let ContainerSpec { networks, ports, dns, dns_search, dns_opt, extra_hosts, links, .. } =
            record.spec.clone();
        let names = (dns, dns_search, dns_opt, extra_hosts, links);
        (networks, ports, names, record.addresses.clone())
    };
    if of(&stored.record) == of(wanted) && !stored.updating {
        return Ok(None);
    }
    let network = network::connection(roots, wanted, &stored.id)?;
    let dns = host_names::dns(roots, wanted, &network)?;
    Ok(Some(Wiring { network, dns, ports: wanted.spec.ports.clone() }))
}

struct Preparation<'a> {
    roots: &'a Roots,
    stored: &'a Stored,
    image: &'a Image,
    store: &'a Store,
    held: &'a Held,
    purpose: Purpose,
}

impl Preparation<'_> {
    fn record(&self) -> &ContainerRecord {
        &self.stored.record
    }

    fn spec(&self) -> &ContainerSpec {
        &self.stored.record.spec
    }

    fn devices(&self) -> Result<devices::Given, StepError> {
        match self.purpose {
            Purpose::Start => devices::given(self.record()),
            Purpose::Reach => Ok(devices::Given::default()),
        }
    }

    fn cgroup(&self) -> Result<Cgroup, StepError> {
        let record = self.record();
        match self.purpose {
            Purpose::Start => limits::cgroup(self.roots, record),
            Purpose::Reach => {
                let path = self.roots.cgroup_of(&record.name, &record.spec);
                Ok(Cgroup { path, ..Cgroup::default() })
            }
        }
    }

    fn bundle(&self) -> Result<Bundle, StepError> {
        let (record, spec) = (self.record(), self.spec());
        let state_dir = self.roots.container(&record.name);
        let run_dir = self.roots.container_run(&record.name);
        if self.purpose == Purpose::Start {
            quota::renew(self.roots, record)?;
        }
        let hostname = names::hostname(self.roots, self.stored)?;
        let network = network::connection(self.roots, record, &self.stored.id)?;
        let dns = host_names::dns(self.roots, record, &network)?;
        let etc = etc::write(self.roots, record, &hostname, &network, &dns)?;
        let given = self.devices()?;
        let mut process = self.process(&hostname)?;
        process.env.retain(|line| !given.env.iter().any(|own| same_variable(own, line)));
        process.env.extend(given.env);
        process.groups.extend(given.groups);
        let forward = match self.purpose {
            Purpose::Start => self.forward(&process)?,
            Purpose::Reach => None,
        };
        let mut mounts = self.mounts(&process)?;
        mounts.extend(etc);
        mounts.extend(given.mounts);
        mounts.sort_by(|a, b| a.target.cmp(&b.target));
        Ok(Bundle {
            changing: None,
            settling: None,
            rewiring: None,
            name: record.name.clone(),
            id: self.stored.id.clone(),
            project: record.project.clone(),
            service: record.service.clone(),
            image: spec.image.clone(),
            oneoff: record.oneoff,
            process,
            runtime: self.runtime()?,
            annotations: spec.annotations.clone(),
            held: false,
            beside: false,
            init: spec.init.unwrap_or(false),
            rootfs: Rootfs {
                lowers: self.image.layers.clone(),
                upper: state_dir.join("upper"),
                work: state_dir.join("work"),
            },
            mounts,
            devices: given.nodes,
            device_hooks: given.hooks,
            read_only: spec.read_only,
            shm_size: shm_size(spec),
            hostname,
            id_base: defence!("ids.range", record.id_base, record.id_base.map(|_| ONE_RANGE)),
            privileged: spec.privileged,
            contained: spec.contained,
            unconfined_paths: spec.security.unconfined_paths,
            pid: spec.pid.clone(),
            ipc: spec.ipc.clone(),
            host_names: spec.host_names,
            domainname: spec.domainname.clone(),
            sysctls: spec.sysctls.clone(),
            cgroup: Cgroup { devices: given.rules, ..self.cgroup()? },
            network,
            dns,
            ports: spec.ports.clone(),
            health: life::probe(spec.healthcheck.as_ref(), self.image.config.healthcheck.as_ref()),
            restart: life::restart(spec.restart),
            pace: life::pace(spec.restart_pace),
            ready: spec.ready.as_ref().map(life::ready),
            restart_unhealthy: spec.restart_unhealthy,
            hooks: life::hooks(spec),
            log: log(spec),
            forward,
            tty: spec.tty,
            stdin_open: spec.stdin_open,
            stop_signal: life::stop_signal(record, &self.image.config)?,
            stop_grace_ms: life::stop_grace(spec),
            remove_on_exit: false,
            await_client: record.oneoff && (spec.tty || spec.stdin_open),
            state_dir,
            run_dir,
        })
    }
}

fn shm_size(spec: &ContainerSpec) -> u64 {
    spec.shm_size.unwrap_or(SHM)
}

fn log(spec: &ContainerSpec) -> Log {
    let logging = &spec.logging;
    Log {
        none: logging.driver == LogDriver::None
            || logging.forwarding.as_ref().is_some_and(|to| to.no_files),
        max_size: logging.max_size,
        max_files: logging.max_files,
    }
}

fn same_variable(one: &str, other: &str) -> bool {
    let name =
        |line: &str| line.split_once('=').map_or(line.to_owned(), |(name, _)| name.to_owned());
    name(one) == name(other)
}
