//! When containers are pulled, started, probed and started again, and how many there are.

use std::collections::BTreeMap;
use std::time::Duration;

use super::read::{Reader, command, flag, int, is_on, text, texts, time};
use crate::problem::{Code, Finding};
use crate::stack::{
    Condition, Dependency, Healthcheck, Hook, InitStep, Provider, PullPolicy, RestartCondition,
    RestartPolicy, Service,
};
use crate::tree::{Node, Value};
use crate::value;
use crate::walk::loose;
use crate::words::{container_name, pull_policy, restart, signal};

impl Reader<'_> {
    pub(super) fn lifecycle(&mut self, node: &Node, service: &mut Service) {
        service.container_name = self.read(node, "container_name", container_name);
        service.depends_on = self.depends_on(node);
        service.healthcheck = self.get(node, "healthcheck", |r, node| Some(r.healthcheck(node)));
        service.restart = self.restart(node, service);
        service.stop_signal = self.read(node, "stop_signal", signal);
        service.stop_grace_period = time(node, "stop_grace_period");
        service.pull_refresh_after = self.read(node, "pull_refresh_after", value::duration);
        service.pull_policy = self.pull_policy(node, service.pull_refresh_after);
        service.replicas = self.replicas(node);
        service.attach = flag(node, "attach").unwrap_or(true);
        service.profiles = texts(node, "profiles");
        service.pre_start = self.list(node, "pre_start", |_, item| Some(init_step(item)));
        service.post_start = self.list(node, "post_start", Self::hook);
        service.pre_stop = self.list(node, "pre_stop", Self::hook);
        service.provider = self.get(node, "provider", |_, node| provider(node));
    }

    /// When the image is pulled; `refresh` has its time beside it.
    fn pull_policy(&mut self, node: &Node, after: Option<Duration>) -> PullPolicy {
        let refresh = node.get_text("pull_policy") == Some("refresh");
        match (refresh, after) {
            (true, Some(after)) => return PullPolicy::Every(after.as_secs()),
            (true, None) => {
                // One that cannot be read has been told.
                if node.get("pull_refresh_after").is_none() {
                    self.get(node, "pull_policy", |reader, node| {
                        let help = "add it (`pull_refresh_after: 12h`), or write every_DURATION";
                        reader.refuse(node, "needs `pull_refresh_after` beside it", help);
                        None::<PullPolicy>
                    });
                }
                return PullPolicy::default();
            }
            (false, Some(_)) => {
                self.get(node, "pull_refresh_after", |reader, node| {
                    let help = "write `pull_policy: refresh`";
                    reader.inert(node, "counts only with another `pull_policy`", Some(help));
                    None::<PullPolicy>
                });
            }
            (false, None) => {}
        }
        self.read(node, "pull_policy", pull_policy).unwrap_or_default()
    }

    fn depends_on(&mut self, node: &Node) -> BTreeMap<String, Dependency> {
        self.entries(node, "depends_on", |_, _, node| {
            Some(Dependency {
                condition: match node.get_text("condition") {
                    Some("service_healthy") => Condition::ServiceHealthy,
                    Some("service_completed_successfully") => {
                        Condition::ServiceCompletedSuccessfully
                    }
                    _ => Condition::ServiceStarted,
                },
                restart: is_on(node, "restart"),
                required: flag(node, "required").unwrap_or(true),
            })
        })
    }

    fn healthcheck(&mut self, node: &Node) -> Healthcheck {
        let test = command(node, "test").filter(|test| !test.is_empty());
        if let (Some(test), Some(at)) = (&test, node.get("test")) {
            self.below("test", |reader| reader.probe(at, test));
        }
        let none = test.as_ref().is_some_and(|test| test[0] == "NONE");
        Healthcheck {
            test,
            interval: self.probe_time(node, "interval"),
            timeout: self.probe_time(node, "timeout"),
            start_period: time(node, "start_period"),
            start_interval: self.probe_time(node, "start_interval"),
            retries: self.within(node, "retries", 0..=u32::MAX, " tries"),
            disable: none || is_on(node, "disable"),
        }
    }

    /// What a probe runs.
    fn probe(&mut self, at: &Node, test: &[String]) {
        match (test[0].as_str(), &test[1..]) {
            ("CMD", program) if program.first().is_none_or(String::is_empty) => {
                let help = "write `[CMD, PROGRAM, ARGUMENT, …]`";
                self.refuse(at, "the probe names no program", help);
            }
            ("CMD-SHELL", lines) if lines.first().is_none_or(String::is_empty) => {
                self.refuse(at, "the probe has no line for the shell", "write `test: LINE`");
            }
            ("CMD-SHELL", [line, _, ..]) => self.inert(
                at,
                &format!("runs only `{line}` in the shell; the words after it have no effect"),
                Some("write the whole line as one text, or start the list with `CMD`"),
            ),
            ("NONE", [_, ..]) => {
                self.inert(at, "starts with NONE; the words after it have no effect", None);
            }
            _ => {}
        }
    }

    /// A time between or for probes; 0 is the default.
    pub(super) fn probe_time(&mut self, node: &Node, name: &str) -> Option<Duration> {
        let asked = time(node, name)?;
        if !asked.is_zero() && asked < Duration::from_millis(1) {
            self.get(node, name, |reader, at| {
                reader.refuse(at, "is below 1ms", "a probe has a millisecond at least");
                Some(())
            });
        }
        Some(asked)
    }

    fn restart(&mut self, node: &Node, service: &Service) -> RestartPolicy {
        let own = self.read(node, "restart", restart).unwrap_or_default();
        let Some(rule) = service.deploy.as_ref().and_then(|deploy| deploy.restart) else {
            return own;
        };
        match rule.condition {
            RestartCondition::None => RestartPolicy::No,
            RestartCondition::OnFailure => {
                RestartPolicy::OnFailure(rule.max_attempts.unwrap_or_default())
            }
            RestartCondition::UnlessStopped => RestartPolicy::UnlessStopped,
            RestartCondition::Any => RestartPolicy::Always,
        }
    }

    fn replicas(&mut self, node: &Node) -> u32 {
        let global = node.at(&["deploy", "mode"]).filter(|mode| mode.as_text() == Some("global"));
        let count = node.at(&["deploy", "replicas"]).or_else(|| node.get("scale"));
        if let (Some(mode), Some(count)) = (global, count)
            && int::<i64>(count).is_some_and(|count| count > 1)
        {
            let message =
                format!("`{}` has one container for each host, and more of them", self.path);
            self.found.push(
                Finding::at(Code::Conflict, count.span, "so many", message)
                    .also(mode.span, "one for each host")
                    .help("write `mode: replicated`, or take the number away"),
            );
        }
        count.map_or(1, |count| int(count).unwrap_or(u32::MAX))
    }

    /// A command run in the container.
    pub(super) fn hook(&mut self, node: &Node) -> Option<Hook> {
        let command = texts(node, "command");
        if command.is_empty() {
            let at = node.get("command").unwrap_or(node);
            self.refuse(at, "the hook names no program", "add `command: [PROGRAM, ARGUMENT, …]`");
            return None;
        }
        Some(Hook {
            command,
            environment: environment(node),
            user: text(node, "user"),
            working_dir: text(node, "working_dir"),
            privileged: is_on(node, "privileged"),
        })
    }
}

fn init_step(node: &Node) -> InitStep {
    InitStep {
        image: text(node, "image"),
        command: command(node, "command"),
        environment: environment(node),
        user: text(node, "user"),
        working_dir: text(node, "working_dir"),
        privileged: is_on(node, "privileged"),
        per_replica: is_on(node, "per_replica"),
    }
}

fn provider(node: &Node) -> Option<Provider> {
    let mut options: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let given = node.get("options").and_then(Node::as_map);
    for (name, values) in given.iter().flat_map(|map| map.iter()) {
        let values = match &values.value {
            Value::List(items) => items.iter().filter_map(|item| loose(&item.value)).collect(),
            other => loose(other).into_iter().collect(),
        };
        options.insert(name.to_owned(), values);
    }
    Some(Provider { kind: text(node, "type")?, options })
}

/// Variables; `None` takes the image's away.
pub(super) fn environment(node: &Node) -> BTreeMap<String, Option<String>> {
    let map = node.get("environment").and_then(Node::as_map);
    let entries = map.iter().flat_map(|map| map.iter());
    entries.map(|(name, value)| (name.to_owned(), loose(&value.value))).collect()
}
