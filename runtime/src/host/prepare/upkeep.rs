//! What changes in a container that runs beside its limits and its network.

use berth_planner::observed::ContainerRecord;

use super::{life, log, process, shm_size};
use crate::bundle::{Settings, Upkeep};
use crate::host::{StepError, Stored};
use crate::store::{ImageConfig, Store};

/// The upkeep of a container as `wanted` has it, where that may be another than it has: by its
/// description, or as a change of it was cut short.
pub(in crate::host) fn other_upkeep(
    store: &Store,
    stored: &Stored,
    wanted: &ContainerRecord,
) -> Result<Option<Upkeep>, StepError> {
    let image = store
        .config(&stored.record.image_id)
        .map_err(|e| StepError::failed("read image", &wanted.spec.image, e))?;
    let (before, after) = (upkeep(&stored.record, &image)?, upkeep(wanted, &image)?);
    Ok((before != after || stored.updating).then_some(after))
}

fn upkeep(record: &ContainerRecord, image: &ImageConfig) -> Result<Upkeep, StepError> {
    let spec = &record.spec;
    let tmpfs = spec.tmpfs.iter().filter_map(|tmpfs| Some((tmpfs.target.clone(), tmpfs.size?)));
    Ok(Upkeep {
        health: life::probe(spec.healthcheck.as_ref(), image.healthcheck.as_ref()),
        ready: spec.ready.as_ref().map(life::ready),
        restart_unhealthy: spec.restart_unhealthy,
        pre_stop: life::hooks(spec).pre_stop,
        pace: life::pace(spec.restart_pace),
        log: log(spec),
        stop_signal: life::stop_signal(record, image)?,
        stop_grace_ms: life::stop_grace(spec),
        settings: Settings {
            rlimits: process::rlimits(spec),
            oom_score_adj: spec.limits.oom_score_adj,
            sysctls: spec.sysctls.clone(),
            shm_size: shm_size(spec),
            tmpfs: tmpfs.collect(),
        },
    })
}
