//! Addresses and id ranges that two stacks must not take at the same moment.
//!
//! The planner chooses them from what it observed; two planners at once may choose the same. A
//! claim is a symbolic link named for the thing and leading to its container: symlink(2) makes
//! one or says that there is one. A claim whose container is gone is taken over.

use std::fs::{self, DirBuilder};
use std::io;
use std::net::IpAddr;
use std::os::unix::fs::{DirBuilderExt, symlink};
use std::path::{Path, PathBuf};

use berth_planner::observed::ContainerRecord;

use super::{StepError, quota};
use crate::paths::Roots;

/// Takes everything the record names, or nothing.
pub(super) fn take(roots: &Roots, record: &ContainerRecord) -> Result<(), StepError> {
    let wanted = wanted(roots, record);
    let unlink = |taken: &[PathBuf]| taken.iter().for_each(|taken| drop(fs::remove_file(taken)));
    for (index, claim) in wanted.iter().enumerate() {
        if let Err(error) = take_one(roots, claim, &record.name) {
            unlink(&wanted[..index]);
            return Err(error);
        }
    }
    let unused = record.layer_project.map_or(Ok(()), |project| quota::check_unused(roots, project));
    unused.inspect_err(|_| unlink(&wanted))
}

/// Takes what `after` names and `before` does not, or nothing.
pub(super) fn take_more(
    roots: &Roots,
    before: &ContainerRecord,
    after: &ContainerRecord,
) -> Result<(), StepError> {
    let more = wanted_beyond(roots, after, before);
    for (index, claim) in more.iter().enumerate() {
        take_one(roots, claim, &after.name)
            .inspect_err(|_| more[..index].iter().for_each(|claim| drop(fs::remove_file(claim))))?;
    }
    Ok(())
}

/// Gives back what `before` has and `after` does not.
pub(super) fn release_rest(roots: &Roots, before: &ContainerRecord, after: &ContainerRecord) {
    release_these(roots, &before.name, wanted_beyond(roots, before, after));
}

fn wanted_beyond(roots: &Roots, one: &ContainerRecord, other: &ContainerRecord) -> Vec<PathBuf> {
    let kept = wanted(roots, other);
    wanted(roots, one).into_iter().filter(|claim| !kept.contains(claim)).collect()
}

/// Gives back what `record` has.
pub(super) fn release(roots: &Roots, record: &ContainerRecord) {
    release_these(roots, &record.name, wanted(roots, record));
}

fn release_these(roots: &Roots, name: &str, claims: Vec<PathBuf>) {
    for claim in claims {
        if fs::read_link(&claim).is_ok_and(|owner| owner == Path::new(name)) {
            give_back(roots, &claim);
        }
    }
}

/// Gives back what containers that are not there have left.
pub(super) fn sweep(roots: &Roots) {
    let networks = fs::read_dir(roots.state.join("networks")).into_iter().flatten().flatten();
    let addresses = networks.map(|network| network.path().join("addresses"));
    let folders = [roots.state.join("ids"), quotas(roots)].into_iter().chain(addresses);
    for claim in folders.flat_map(fs::read_dir).flatten().flatten().map(|entry| entry.path()) {
        let owner = fs::read_link(&claim).unwrap_or_default();
        if !roots.container(&owner.to_string_lossy()).exists() {
            give_back(roots, &claim);
        }
    }
}

fn give_back(roots: &Roots, claim: &Path) {
    let name = claim.file_name().and_then(|name| name.to_str());
    if claim.parent() == Some(&quotas(roots))
        && let Some(project) = name.and_then(|name| name.parse().ok())
    {
        quota::forget(roots, project);
    }
    let _ = fs::remove_file(claim);
}

/// Where quota projects are claimed.
fn quotas(roots: &Roots) -> PathBuf {
    roots.state.join("quotas")
}

fn wanted(roots: &Roots, record: &ContainerRecord) -> Vec<PathBuf> {
    // Who shares the ids of another container has none of its own.
    let own = record.id_base.filter(|_| record.spec.kin().is_empty());
    let ids = own.map(|base| roots.state.join("ids").join(base.to_string()));
    let project = record.layer_project.map(|project| quotas(roots).join(project.to_string()));
    let addresses = record.addresses.iter().flat_map(|(network, addresses)| {
        let v4 = addresses.ipv4.map(IpAddr::from);
        let v6 = addresses.ipv6.map(IpAddr::from);
        let folder = roots.network(network).join("addresses");
        v4.into_iter().chain(v6).map(move |address| folder.join(address.to_string()))
    });
    ids.into_iter().chain(project).chain(addresses).collect()
}

fn take_one(roots: &Roots, claim: &Path, owner: &str) -> Result<(), StepError> {
    let refused = |e| StepError::refused("claim", claim, e);
    loop {
        match symlink(owner, claim) {
            Ok(()) => return Ok(()),
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                let folder = claim.parent().unwrap_or(claim);
                private_folders(folder).map_err(refused)?;
            }
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                let holder = fs::read_link(claim).map_err(refused)?;
                let holder = holder.to_string_lossy();
                if holder != owner && roots.container(&holder).exists() {
                    let what = claim.file_name().unwrap_or_default().to_string_lossy();
                    return Err(StepError::Stale(format!("`{holder}` has taken {what}")));
                }
                fs::remove_file(claim).map_err(refused)?;
            }
            Err(e) => return Err(refused(e)),
        }
    }
}

/// Makes a folder and those above it for us alone, whatever the umask is.
pub(super) fn private_folders(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(name: &str) -> ContainerRecord {
        let text = r#"{"name":"","project":"p","service":"s","number":1,"oneoff":false,
            "image_id":"","addresses":{},"id_base":1879048192,"depends_on":{},
            "working_dir":"/","config_files":[]}"#;
        let mut value: serde_json::Value = serde_json::from_str(text).unwrap();
        value["name"] = name.into();
        value["spec"] =
            serde_json::to_value(berth_planner::desired::ContainerSpec::default()).unwrap();
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn a_claim_is_exclusive_while_its_container_is_there() {
        let root = std::env::temp_dir().join(format!("berth-claims-{}", std::process::id()));
        let roots = Roots::below(&root);
        fs::create_dir_all(roots.container("a")).unwrap();
        take(&roots, &record("a")).unwrap();
        assert!(take(&roots, &record("b")).unwrap_err().is_stale());
        fs::remove_dir_all(roots.container("a")).unwrap();
        take(&roots, &record("b")).unwrap();
        release(&roots, &record("b"));
        let claims = || fs::read_dir(roots.state.join("ids")).unwrap().count();
        assert_eq!(claims(), 0);
        take(&roots, &record("gone")).unwrap();
        sweep(&roots);
        assert_eq!(claims(), 0);
        fs::remove_dir_all(root).unwrap();
    }
}
