//! What happens to other things, and what that does to a container.

use std::collections::BTreeMap;
use std::path::Path;

use berth_schema::stack::OnChange;

use super::Judge;
use crate::bound;
use crate::cause::{Cause, FieldChange};
use crate::desired::{ContainerSpec, DependencySpec, ServiceSpec, SourceSpec};
use crate::hidden;
use crate::observed::ObservedContainer;
use crate::up::{is_active, resources};

impl Judge<'_, '_> {
    /// Whether its image reference, which is the same, means another image now.
    pub(super) fn moved(
        &self,
        name: &str,
        want: &ContainerSpec,
        have: &ObservedContainer,
    ) -> Option<Cause> {
        let record = &have.record;
        if record.spec.image != want.image || record.image_id.is_empty() {
            return None;
        }
        let image = self.survey.observed.images.get(&self.survey.image(name, want));
        let other = image.map(|image| image.id.clone()).filter(|id| *id != record.image_id);
        match self.survey.locked(name) {
            None => {
                let before = record.image_id.clone();
                other.map(|after| Cause::ImageMoved { before, after })
            }
            Some(digest) => {
                // What is not here was not what it was made from, unless that is written down.
                let unknown = image.is_none() && record.locked.as_deref() != Some(digest);
                let (image, digest) = (want.image.clone(), digest.to_owned());
                (unknown || other.is_some()).then_some(Cause::ImageLocked { image, digest })
            }
        }
    }

    /// Images it mounts or its `pre_start` runs whose references mean other images now.
    pub(super) fn mounts_moved(
        &self,
        want: &ContainerSpec,
        have: &ObservedContainer,
    ) -> Option<Cause> {
        want.other_images().find_map(|reference| {
            let before = have.record.borrowed.images.get(reference)?.clone();
            let after = self.survey.observed.images.get(reference)?.id.clone();
            (before != after).then_some(Cause::ImageMoved { before, after })
        })
    }

    /// Why a mount of it has to be made once more: it shows another file than the one that counts, and only
    /// a start mounts that. What the container writes would be in a file that nobody finds.
    pub(super) fn remount(
        &self,
        service: &ServiceSpec,
        (have, in_scope): (&ObservedContainer, bool),
        changes: &[FieldChange],
    ) -> Option<Cause> {
        let spec = &service.container;
        if !in_scope || service.goes_back || spec.on_change == OnChange::None {
            return None;
        }
        let known = &have.record.spec.bound_files.0;
        let is_edited = |path: &Path| {
            let mut files = changes.iter().filter_map(|change| hidden::bound_file(&change.path));
            // Of what was never read nobody knows that the other file holds the same.
            let is_new = spec.bound_files.0.contains_key(path) && !known.contains_key(path);
            is_new || files.any(|file| Path::new(file) == path)
        };
        // A file elsewhere on the host is others', and they know of mounts.
        let says_what = matches!(spec.on_change, OnChange::Signal(_) | OnChange::Restart);
        let is_ours =
            |path: &Path| says_what || bound::is_below(path, &self.survey.desired.working_dir);
        let is_lost = |path: &Path| is_ours(path) && bound::is_writable(spec, path);
        let path = have.swapped.iter().find(|path| is_lost(path) || is_edited(path))?;
        Some(Cause::FileReplaced { path: path.clone() })
    }

    /// Why it has to be made anew for what happens to other things.
    pub(super) fn dragged(&self, have: &ObservedContainer) -> Vec<Cause> {
        let spec = &have.record.spec;
        let mut causes = Vec::new();
        for (network, addresses) in &have.record.addresses {
            let Some(fate) = self.networks.get(network.as_str()) else { continue };
            if fate.makes() || !resources::has(&fate.record, addresses) {
                causes.push(Cause::NetworkReplaced { network: network.clone() });
            }
        }
        for mount in spec.mounts.values() {
            if let SourceSpec::Volume { name, .. } = &mount.source
                && let Some(fate) = self.volumes.get(name.as_str())
                && fate.fate == resources::Fate::Create
            {
                causes.push(Cause::VolumeReplaced { volume: name.clone() });
            }
        }
        for parent in spec.parents() {
            let ids = spec.kin().contains(parent);
            if self.renewed.get(parent) == Some(&true) && (is_active(have) || ids)
                || ids && self.has_other_ids(parent, have)
            {
                causes.push(Cause::NamespaceParentReplaced { container: parent.to_string() });
            }
        }
        for from in &spec.volumes_from {
            if self.renewed.get(&from.container) == Some(&true) {
                causes.push(Cause::VolumesReplaced { container: from.container.clone() });
            }
        }
        causes.sort();
        causes.dedup();
        causes
    }

    /// Why it has to end and begin again, as it is.
    pub(super) fn shaken(
        &self,
        depends_on: &BTreeMap<String, DependencySpec>,
        have: &ObservedContainer,
    ) -> Vec<Cause> {
        let restarts = depends_on
            .iter()
            .filter(|(on, dependency)| dependency.restart && self.restarted.contains(on.as_str()));
        let mut causes: Vec<Cause> =
            restarts.map(|(on, _)| Cause::DependencyRestart { service: on.clone() }).collect();
        for network in have.record.spec.networks.keys() {
            let fate = self.networks.get(network.as_str()).map(|network| network.fate);
            if fate == Some(resources::Fate::Reconnect) {
                causes.push(Cause::NetworkReplaced { network: network.clone() });
            }
        }
        for parent in have.record.spec.parents() {
            if self.renewed.contains_key(parent) {
                causes.push(Cause::NamespaceParentReplaced { container: parent.to_string() });
            }
        }
        causes
    }

    /// Whether a container that is to share the ids of `parent` was made when these were others.
    fn has_other_ids(&self, parent: &str, have: &ObservedContainer) -> bool {
        let record = &have.record;
        let parent = self.survey.observed.containers.get(parent);
        record.spec.userns && parent.is_some_and(|other| other.record.id_base != record.id_base)
    }
}
