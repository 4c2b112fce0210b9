//! What runs in a container: its command, environment, user and rights.

use std::collections::BTreeMap;

use berth_planner::desired::ContainerSpec;

use super::Preparation;
use crate::bundle::Process;
use crate::container::{ALL_CAPABILITIES, DEFAULT_CAPABILITIES, users};
use crate::host::StepError;
use crate::store::ImageConfig;

const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

impl Preparation<'_> {
    pub(super) fn process(&self, hostname: &str) -> Result<Process, StepError> {
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
            no_new_privs: spec.security.no_new_privileges,
            seccomp: spec.security.seccomp.clone(),
            keeps_project: spec.storage_size.is_some() && self.record().id_base.is_none(),
            apparmor: spec.security.apparmor.clone(),
            rlimits: rlimits(spec),
            oom_score_adj: spec.limits.oom_score_adj,
        })
    }
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
    if spec.privileged || spec.contained || spec.cap_add.iter().any(|cap| cap == "ALL") {
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

pub(super) fn rlimits(spec: &ContainerSpec) -> BTreeMap<String, (u64, u64)> {
    let limit = |value: i64| u64::try_from(value).unwrap_or(u64::MAX);
    let asked = spec.ulimits.iter();
    asked.map(|(name, (soft, hard))| (name.clone(), (limit(*soft), limit(*hard)))).collect()
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
    fn dropping_all_and_adding_one_leaves_that_one() {
        let spec = ContainerSpec {
            cap_drop: vec!["ALL".to_owned()],
            cap_add: vec!["NET_RAW".to_owned()],
            ..ContainerSpec::default()
        };
        assert_eq!(capabilities(&spec), ["NET_RAW"]);
    }
}
