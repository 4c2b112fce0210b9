//! Whose a container is that no service of a stack explains: a service that left the files, or other
//! files of the same project.

use std::collections::BTreeSet;

use crate::observed::{ContainerRecord, Observed};

/// The files among those that a container was made from which the stack does not have, and which
/// are still there: it is theirs. A set of files that grew, or was moved, has none.
pub(crate) fn other_files<'a>(
    record: &'a ContainerRecord,
    files: &BTreeSet<String>,
    observed: &Observed,
) -> Vec<&'a str> {
    let other = |file: &&String| !files.contains(*file) && !observed.gone.contains(*file);
    record.config_files.iter().filter(other).map(String::as_str).collect()
}

/// What people should know of such a container that stays.
pub(crate) fn notice(record: &ContainerRecord, other_files: &[&str]) -> String {
    let ContainerRecord { name, service, project, .. } = record;
    match other_files {
        [] => format!(
            "container `{name}` is an orphan: service `{service}` is not in the stack \
             (`--remove-orphans` removes it)"
        ),
        files => format!(
            "container `{name}` is of other files of this project ({}) and stays \
             (`berth -p {project} down {service}` removes it)",
            files.join(", ")
        ),
    }
}
