//! Why a service, or a container of it, stays as it is.

use std::collections::{BTreeMap, BTreeSet};

use super::why::Scene;
use crate::action::Action;
use crate::cause::short_digest;
use crate::desired::ServiceSpec;
use crate::diff;
use crate::observed::{ContainerState, Health, ObservedContainer};

/// The containers of a service that no step of the plan is about (those in `touched` are not), with
/// what was compared; and what is to be said when it has none at all.
pub(super) fn lines(service: &str, scene: &Scene, touched: &BTreeSet<&str>) -> Vec<String> {
    let project = &scene.plan.project;
    let all = scene.observed.containers.values();
    let own = all.filter(|have| {
        let record = &have.record;
        record.project == *project && record.service == service && !record.oneoff
    });
    let staying = own.filter(|have| !touched.contains(have.record.name.as_str()));
    let mut alike: BTreeMap<Vec<String>, Vec<&str>> = BTreeMap::new();
    for have in staying {
        let name = have.record.name.as_str();
        let short = name.strip_prefix(project.as_str()).and_then(|name| name.strip_prefix('-'));
        alike.entry(reasons(service, scene, have)).or_default().push(short.unwrap_or(name));
    }
    let mut lines = Vec::new();
    if alike.is_empty() && touched.is_empty() {
        lines.push(format!("nothing to do for {service}"));
        lines.push(format!("  {}", absent(service, scene)));
    }
    for (reasons, names) in alike {
        lines.push(format!("keep {}", names.join(", ")));
        lines.extend(reasons);
    }
    lines
}

/// Why there is no container and none is made.
fn absent(service: &str, scene: &Scene) -> &'static str {
    let Some(desired) = scene.desired else { return "it has no container" };
    match desired.services.get(service) {
        Some(ServiceSpec { replicas: 0, .. }) => "no container of it is wanted",
        Some(_) => "it has no container, and this plan is not about it",
        None => "its profiles switch it off",
    }
}

fn reasons(service: &str, scene: &Scene, have: &ObservedContainer) -> Vec<String> {
    let mut reasons = vec![format!("  it {}", state(have))];
    let Some(wanted) = scene.desired.and_then(|desired| desired.services.get(service)) else {
        return reasons;
    };
    let (spec, record) = (&wanted.container, &have.record);
    let changes = diff::containers(service, &record.spec, spec, scene.places);
    match changes.is_empty() {
        true => reasons.push("  its description is the one that was applied".to_owned()),
        false => {
            reasons.push("  its description differs, and this plan leaves that".to_owned());
            reasons.extend(changes.iter().map(|change| format!("    {change}")));
        }
    }
    if let Some(image) = scene.observed.images.get(&wanted.image()) {
        let (name, id) = (&spec.image, short_digest(&image.id));
        reasons.push(match image.id == record.image_id {
            true => format!("  {name} is still the image it was made from ({id})"),
            false => format!("  {name} means another image now ({id}), and this plan leaves that"),
        });
    }
    for (on, dependency) in &wanted.depends_on {
        if !dependency.restart && is_renewed(on, scene) {
            reasons.push(format!(
                "  `{on}` begins anew; who is to follow says `depends_on.{on}.restart: true`"
            ));
        }
    }
    reasons
}

/// What a container does.
fn state(have: &ObservedContainer) -> String {
    match (have.state, have.health) {
        (ContainerState::Created, _) => "was not started".to_owned(),
        (ContainerState::Running { .. }, _) if have.paused => "is paused".to_owned(),
        (ContainerState::Running { .. }, Health::None) => "runs".to_owned(),
        (ContainerState::Running { .. }, Health::Starting) => {
            "runs and is not healthy yet".to_owned()
        }
        (ContainerState::Running { .. }, Health::Healthy) => "runs and is healthy".to_owned(),
        (ContainerState::Running { .. }, Health::Unhealthy) => "runs and is unhealthy".to_owned(),
        (ContainerState::Restarting { exit_code }, _) => {
            format!("exited with {exit_code} and is started again by its monitor")
        }
        (ContainerState::Exited { exit_code, .. }, _) => format!("exited with {exit_code}"),
        (ContainerState::Broken, _) => "is half made".to_owned(),
    }
}

/// Whether a container of a service that is there ends and begins again.
fn is_renewed(service: &str, scene: &Scene) -> bool {
    scene.plan.steps.iter().any(|step| match &step.action {
        Action::StopContainer { name, .. } | Action::RemoveContainer { name } => {
            let have = scene.observed.containers.get(name);
            have.is_some_and(|have| have.record.service == service && !have.record.oneoff)
                && starts(name, scene)
        }
        _ => false,
    })
}

fn starts(container: &str, scene: &Scene) -> bool {
    scene.plan.steps.iter().any(|step| match &step.action {
        Action::StartContainer { name } | Action::TakeOver { from: name, .. } => name == container,
        _ => false,
    })
}
