//! `pre_start`: what its containers are made from.

use berth_schema::stack::{Healthcheck, InitStep, OnChange, RestartPolicy, Service};

use crate::desired::{ContainerSpec, InitSpec, RestartPace, SourceSpec};

/// The containers that run before a service of this description, in order. Each is the service's
/// container with the step's own words, on its networks, but under no name there, and without what
/// is for a program that stays.
pub(super) fn steps(service: &Service, container: &ContainerSpec) -> Vec<InitSpec> {
    let made = |step: &InitStep| InitSpec {
        container: spec(step, container),
        per_replica: step.per_replica,
    };
    service.pre_start.iter().map(made).collect()
}

fn spec(step: &InitStep, service: &ContainerSpec) -> ContainerSpec {
    let mut spec = service.clone();
    spec.image = step.image.clone().unwrap_or(spec.image);
    spec.environment.extend(step.environment.clone());
    (spec.command, spec.entrypoint) = (step.command.clone(), None);
    spec.user = step.user.clone().or(spec.user);
    spec.working_dir = step.working_dir.clone().or(spec.working_dir);
    // All capabilities reach no further than those the service could have.
    spec.privileged = step.privileged && !service.contained;
    spec.contained = step.privileged && service.contained;
    spec.userns = spec.userns && !spec.privileged;
    spec.mounts.retain(|_, mount| !matches!(mount.source, SourceSpec::Anonymous { .. }));
    (spec.ports, spec.expose) = (Vec::new(), Vec::new());
    spec.healthcheck = Some(Healthcheck { disable: true, ..Healthcheck::default() });
    (spec.ready, spec.restart_unhealthy) = (None, false);
    spec.on_change = OnChange::default();
    (spec.restart, spec.restart_pace) = (RestartPolicy::No, RestartPace::default());
    (spec.post_start, spec.pre_stop, spec.pre_start) = (Vec::new(), Vec::new(), Vec::new());
    (spec.tty, spec.stdin_open) = (false, false);
    for endpoint in spec.networks.values_mut() {
        endpoint.aliases.clear();
        // A fixed address is the service's own container's.
        endpoint.without_fixed_addresses();
    }
    spec
}
