//! One container of a service, for commands that are about one.

use std::cmp::Reverse;

use berth_planner::observed::{ContainerState, ObservedContainer};

use crate::failure::Failure;
use crate::project::Project;

/// The running container number `index` of a service; 0 picks the first that runs.
pub(crate) fn running<'a>(
    containers: impl Iterator<Item = &'a ObservedContainer>,
    project: &Project,
    service: &str,
    index: u32,
) -> Result<&'a ObservedContainer, Failure> {
    let candidates = candidates(containers, project, service, index)?;
    let runs = |c: &&&ObservedContainer| matches!(c.state, ContainerState::Running { .. });
    candidates.iter().find(runs).copied().ok_or_else(|| {
        let message = format!("service `{service}` is not running");
        Failure::refused(message).with_help(format!("`berth start {service}` starts it"))
    })
}

/// The container number `index` of a service, running or not; 0 picks the first.
pub(crate) fn any<'a>(
    containers: impl Iterator<Item = &'a ObservedContainer>,
    project: &Project,
    service: &str,
    index: u32,
) -> Result<&'a ObservedContainer, Failure> {
    let candidates = candidates(containers, project, service, index)?;
    let whole = |c: &&&ObservedContainer| c.state != ContainerState::Broken;
    candidates.iter().find(whole).copied().ok_or_else(|| {
        let message = format!("the container of service `{service}` is half made");
        Failure::refused(message).with_help("`berth up -d` makes it anew")
    })
}

/// The container number `index` of a service, running or not; 0 picks all.
pub(crate) fn each<'a>(
    containers: impl Iterator<Item = &'a ObservedContainer>,
    project: &Project,
    service: &str,
    index: u32,
) -> Result<Vec<&'a ObservedContainer>, Failure> {
    candidates(containers, project, service, index)
}

/// At least one, in the order of their numbers; of two of one number first the one that serves.
fn candidates<'a>(
    containers: impl Iterator<Item = &'a ObservedContainer>,
    project: &Project,
    service: &str,
    index: u32,
) -> Result<Vec<&'a ObservedContainer>, Failure> {
    let mut of_service: Vec<_> = containers
        .filter(|c| c.record.project == project.name && c.record.service == service)
        .filter(|c| !c.record.oneoff)
        .collect();
    of_service.sort_by_key(|c| (c.record.number, Reverse(c.rank())));
    if of_service.is_empty() {
        project.check_name(service)?;
        let message = format!("service `{service}` of `{}` has no container", project.name);
        return Err(Failure::refused(message).with_help("`berth up -d` makes one"));
    }
    let wanted = |c: &&ObservedContainer| index == 0 || c.record.number == index;
    let candidates: Vec<_> = of_service.into_iter().filter(wanted).collect();
    if candidates.is_empty() {
        return Err(Failure::refused(format!("service `{service}` has no container {index}")));
    }
    Ok(candidates)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows::tests::container;

    fn all() -> Vec<ObservedContainer> {
        let up = ContainerState::Running { pid: 1, started_at: 0 };
        let down = ContainerState::Exited { exit_code: 0, finished_at: 0 };
        vec![
            container("a-web-10", up),
            container("a-web-2", up),
            container("a-web-1", down),
            container("b-web-1", up),
            container("a-job-1", down),
        ]
    }

    fn picked(service: &str, index: u32) -> Result<String, String> {
        let all = all();
        let project = Project { name: "a".into(), stack: None };
        running(all.iter(), &project, service, index)
            .map(|c| c.record.name.clone())
            .map_err(|e| e.to_string())
    }

    #[test]
    fn the_first_that_runs_is_picked_in_the_order_of_numbers() {
        assert_eq!(picked("web", 0).unwrap(), "a-web-2");
        assert_eq!(picked("web", 10).unwrap(), "a-web-10");
    }

    #[test]
    fn a_stopped_container_is_picked_where_that_is_enough() {
        let all = all();
        let project = Project { name: "a".into(), stack: None };
        let picked = any(all.iter(), &project, "web", 0).map(|c| c.record.name.as_str());
        assert_eq!(picked.unwrap(), "a-web-1");
    }

    #[test]
    fn of_two_of_a_replica_the_one_that_serves_is_picked_whatever_its_name() {
        let up = ContainerState::Running { pid: 1, started_at: 0 };
        let down = ContainerState::Exited { exit_code: 0, finished_at: 0 };
        let pair = |old: ContainerState, new: ContainerState, beside: bool| {
            let mut all = [container("a-web-1", new), container("a-web-1", old)];
            all[1].record.name = "a-web-1-b".into();
            (all[0].record.succession, all[0].beside) = (2, beside);
            (all[1].record.succession, all[1].served) = (1, true);
            all[1].beside = new == up && !beside;
            let project = Project { name: "a".into(), stack: None };
            any(all.iter(), &project, "web", 1).map(|c| c.record.name.clone()).unwrap()
        };
        assert_eq!(pair(up, up, true), "a-web-1-b");
        assert_eq!(pair(up, down, false), "a-web-1-b");
        assert_eq!(pair(down, down, false), "a-web-1-b");
        assert_eq!(pair(up, up, false), "a-web-1");
    }

    #[test]
    fn what_cannot_be_picked_says_why() {
        assert_eq!(picked("web", 1).unwrap_err(), "service `web` is not running");
        assert_eq!(picked("web", 3).unwrap_err(), "service `web` has no container 3");
        assert_eq!(picked("job", 0).unwrap_err(), "service `job` is not running");
        assert_eq!(picked("db", 0).unwrap_err(), "service `db` of `a` has no container");
    }
}
