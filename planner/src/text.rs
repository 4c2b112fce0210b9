//! A plan for people: one line for each thing, with the reason.

use std::collections::BTreeMap;
use std::fmt;

use berth_schema::stack::Protocol;
use serde::Serialize;

use crate::action::{Action, Object};
use crate::cause::{Cause, FieldChange, Sort};
use crate::class::Class;
use crate::desired::PortSpec;
use crate::observed::Leftover;
use crate::plan::{Plan, Step};
use crate::policy::{Decision, Grant};

/// What happens to a thing. Decides the colour of its line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// It is made.
    Create,
    /// It is removed and made anew.
    Replace,
    /// It ends and begins again.
    Restart,
    /// It is made, runs to its end, and goes.
    Run,
    /// It begins.
    Start,
    /// It is put right without touching what runs.
    Repair,
    /// It gets other limits and runs on.
    Update,
    /// An image comes.
    Pull,
    /// It ends.
    Stop,
    /// It gets a signal.
    Signal,
    /// It stands still.
    Pause,
    /// It runs on.
    Unpause,
    /// It goes.
    Remove,
}

impl Kind {
    /// The word at the beginning of a line.
    pub fn word(self) -> &'static str {
        match self {
            Kind::Create => "create",
            Kind::Replace => "replace",
            Kind::Restart => "restart",
            Kind::Run => "run",
            Kind::Start => "start",
            Kind::Repair => "repair",
            Kind::Update => "update",
            Kind::Pull => "pull",
            Kind::Stop => "stop",
            Kind::Signal => "signal",
            Kind::Pause => "pause",
            Kind::Unpause => "unpause",
            Kind::Remove => "remove",
        }
    }
}

/// A line of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// What happens.
    pub kind: Kind,
    /// To what: `network shop_back`, `web-1`.
    pub subject: String,
    /// Why and what differs, one remark each. Ports open to everybody begin with `PUBLIC`.
    pub notes: Vec<String>,
    /// Ports open to everybody (`8080/tcp`).
    pub public: Vec<String>,
}

/// How many things of each kind.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Things by what happens to them.
    #[serde(flatten)]
    pub counts: BTreeMap<Kind, usize>,
    /// Things that stay as they are.
    pub unchanged: usize,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.counts.is_empty() {
            return f.write_str("nothing to do");
        }
        let mut parts: Vec<String> =
            self.counts.iter().map(|(kind, count)| format!("{count} {}", kind.word())).collect();
        if self.unchanged > 0 {
            parts.push(format!("{} unchanged", self.unchanged));
        }
        write!(f, "Plan: {}", parts.join(", "))
    }
}

impl Plan {
    /// The lines of the text form, without the warnings and the summary.
    pub fn lines(&self) -> Vec<Line> {
        self.things().iter().filter_map(|steps| self.line(steps)).collect()
    }

    /// The steps of each thing, waits left out; things in the order of their first steps.
    pub(crate) fn things(&self) -> Vec<Vec<&Step>> {
        let mut things: Vec<Vec<&Step>> = Vec::new();
        let mut known: BTreeMap<(u8, String), usize> = BTreeMap::new();
        for step in self.steps.iter().filter(|step| is_shown(&step.action)) {
            let key = (group(&step.action), step.action.target());
            let at = *known.entry(key).or_insert_with(|| {
                things.push(Vec::new());
                things.len() - 1
            });
            things[at].push(step);
        }
        things
    }

    /// How many things of each kind.
    pub fn summary(&self) -> Summary {
        let mut counts = BTreeMap::new();
        for line in self.lines() {
            *counts.entry(line.kind).or_default() += 1;
        }
        Summary { counts, unchanged: self.unchanged }
    }

    /// What steps on one thing come to, in one line.
    pub(crate) fn line(&self, steps: &[&Step]) -> Option<Line> {
        let first = steps.first()?;
        let kind = kind(steps);
        let mut notes = Vec::new();
        let mut public = Vec::new();
        for step in steps {
            match &step.action {
                Action::CreateNetwork(record) => {
                    notes.extend(record.subnets.iter().map(|subnet| subnet.net.to_string()));
                }
                Action::CreateContainer(record) => {
                    let told = matches!(kind, Kind::Create | Kind::Run);
                    let moved = step.changes.iter().any(|change| change.path == "ports");
                    notes.extend(told.then(|| record.spec.image.clone()));
                    let owner = record.spec.owner.filter(|_| told);
                    notes.extend(owner.map(|owner| {
                        format!(
                            "files in binds are those of {}:{} on the host",
                            owner.uid, owner.gid
                        )
                    }));
                    let ports = &record.spec.ports;
                    let shown = ports.iter().filter(|p| told || (moved && is_public(p)));
                    notes.extend(shown.map(marked));
                    public.extend(ports.iter().filter(|p| is_public(p)).map(port));
                }
                Action::UpdateContainer(_) => {
                    let meta = |change: &FieldChange| change.class == Some(Class::Meta);
                    let drifted = step.causes.iter().any(|cause| cause.sort() == Sort::Drift);
                    let edited = !step.changes.is_empty() && !drifted;
                    let only = edited && step.changes.iter().all(meta);
                    notes.extend(only.then(|| "only its record".to_owned()));
                }
                Action::SignalContainer { signal, .. } => notes.push(signal.clone()),
                _ => {}
            }
        }
        let mut causes: Vec<&Cause> = Vec::new();
        for cause in steps.iter().flat_map(|step| &step.causes) {
            if !causes.contains(&cause) {
                causes.push(cause);
            }
        }
        let changes = steps.iter().flat_map(|step| &step.changes);
        let changes: Vec<String> = changes.map(ToString::to_string).collect();
        let told = causes.into_iter().filter(|cause| is_told(cause, !changes.is_empty()));
        notes.extend(told.map(ToString::to_string));
        notes.extend(changes);
        Some(Line { kind, subject: self.subject(&first.action), notes, public })
    }

    /// Name of what a step is about, without the project's name before a container's.
    pub(crate) fn subject(&self, action: &Action) -> String {
        let target = action.target();
        match action.object() {
            Object::Image => format!("image {target}"),
            Object::Store => "unfinished work".to_string(),
            Object::Network => format!("network {target}"),
            Object::Volume => format!("volume {target}"),
            Object::Leftover(leftover) => format!("{} {target}", leftover_word(leftover)),
            Object::Rollout => format!("rollout of {target}"),
            Object::Container => {
                let short = target.strip_prefix(&self.project).and_then(|t| t.strip_prefix('-'));
                short.unwrap_or(&target).to_string()
            }
        }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        columns(&self.lines()).iter().try_for_each(|line| writeln!(f, "{line}"))?;
        for note in &self.notes {
            writeln!(f, "note: {note}")?;
        }
        for warning in &self.warnings {
            writeln!(f, "warning: {warning}")?;
        }
        writeln!(f, "{}", self.summary())?;
        grants(&self.grants).iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}

/// Lines of a plan in columns; each has a row for each of its notes.
pub(crate) fn columns(lines: &[Line]) -> Vec<String> {
    let wide = lines.iter().map(|line| line.kind.word().len()).max().unwrap_or(0);
    let long = lines.iter().map(|line| line.subject.chars().count()).max().unwrap_or(0);
    let indent = " ".repeat(wide + long + 4);
    let text = lines.iter().map(|line| {
        let text = format!("{:wide$}  {:long$}", line.kind.word(), line.subject);
        let notes = line.notes.join(&format!("\n{indent}"));
        format!("{text}  {notes}").trim_end().to_owned()
    });
    text.collect()
}

/// What is given beyond the defaults, one line each below a heading; nothing when it is nothing.
pub fn grants(grants: &[Grant]) -> Vec<String> {
    let shown: Vec<&Grant> = grants.iter().filter(|grant| grant.is_shown()).collect();
    let mut lines = Vec::new();
    if shown.is_empty() {
        return lines;
    }
    let wide = |text: fn(&Grant) -> &str| {
        shown.iter().map(|grant| text(grant).chars().count()).max().unwrap_or(0)
    };
    let (severity, standing) = (wide(|g| g.severity.word()), wide(|g| g.standing.word()));
    let (service, id) = (wide(of_whom), wide(|g| g.id));
    lines.push("Grants:".to_owned());
    for grant in shown {
        let (weight, is, name) = (grant.severity.word(), grant.standing.word(), of_whom(grant));
        let mut line = format!("  {weight:severity$}  {is:standing$}  {name:service$}  ");
        line.push_str(&format!("{:id$}  {}", grant.id, grant.what));
        if let Some(source) = &grant.consent {
            line.push_str(&format!(", consented {source}"));
        } else if grant.is_denied() {
            line.push_str(match grant.decision {
                Decision::Refused => ", refused",
                _ => ", needs consent",
            });
        }
        if let Some(place) = &grant.place {
            line.push_str(&format!("  ({place})"));
        }
        lines.push(line);
    }
    lines
}

/// The service, or that it is all of them.
fn of_whom(grant: &Grant) -> &str {
    grant.service.as_deref().unwrap_or("(all)")
}

/// A wait is not a change, so people do not see it, nor that others wait.
fn is_shown(action: &Action) -> bool {
    !action.waits() && !matches!(action, Action::Conclude { .. } | Action::HoldPorts { .. })
}

/// The order in which things are shown, and what tells those of one name apart.
fn group(action: &Action) -> u8 {
    match action.object() {
        Object::Leftover(Leftover::Cgroup(_)) => 0,
        Object::Leftover(Leftover::Bridge(_)) => 1,
        Object::Leftover(Leftover::PortRules(_)) => 2,
        Object::Leftover(Leftover::Folder(_)) => 3,
        Object::Image => 4,
        Object::Network => 5,
        Object::Volume => 6,
        Object::Container => 7,
        Object::Store => 8,
        Object::Rollout => 9,
    }
}

/// What all steps on one thing come to.
fn kind(steps: &[&Step]) -> Kind {
    let (mut made, mut gone, mut starts, mut stops, mut other) = (false, false, false, false, None);
    for step in steps {
        match &step.action {
            Action::CreateContainer(record) if record.init.is_some() => return Kind::Run,
            Action::CreateNetwork(_) | Action::CreateVolume(_) | Action::CreateContainer(_) => {
                made = true;
            }
            Action::RemoveNetwork { .. }
            | Action::RemoveVolume { .. }
            | Action::RemoveContainer { .. }
            | Action::RemoveLeftover(_)
            | Action::UntagImage { .. }
            | Action::RemoveImage { .. }
            | Action::SweepStore => gone = true,
            Action::StartContainer { .. } | Action::StartBeside { .. } => starts = true,
            Action::StopContainer { .. } => stops = true,
            Action::PullImage { .. } => other = Some(Kind::Pull),
            Action::RepairNetwork(_) | Action::AdoptContainer { .. } => other = Some(Kind::Repair),
            Action::UpdateContainer(_) => other = Some(Kind::Update),
            Action::SignalContainer { .. } => other = Some(Kind::Signal),
            Action::PauseContainer { .. } => other = Some(Kind::Pause),
            Action::UnpauseContainer { .. } => other = Some(Kind::Unpause),
            Action::TakeOver { .. } => other = Some(Kind::Update),
            Action::AwaitContainer { .. }
            | Action::AwaitStable { .. }
            | Action::Watch { .. }
            | Action::Admit { .. }
            | Action::Conclude { .. }
            | Action::Drain { .. }
            | Action::HoldPorts { .. }
            | Action::ReleasePorts { .. } => {}
        }
    }
    match (gone, made, stops, starts) {
        (true, true, _, _) => Kind::Replace,
        (false, true, _, _) => Kind::Create,
        (true, false, _, _) => Kind::Remove,
        (false, false, true, true) => Kind::Restart,
        (false, false, true, false) => Kind::Stop,
        (false, false, false, true) => Kind::Start,
        (false, false, false, false) => other.unwrap_or(Kind::Repair),
    }
}

/// Whether a cause says more than the line it stands on.
fn is_told(cause: &Cause, with_changes: bool) -> bool {
    match cause {
        Cause::Missing | Cause::Scale | Cause::Requested | Cause::Unused => false,
        Cause::Changed | Cause::ContentChanged => !with_changes,
        Cause::ImageMoved { .. }
        | Cause::ImageLocked { .. }
        | Cause::Locked { .. }
        | Cause::Orphan
        | Cause::NotInStack
        | Cause::Drift { .. }
        | Cause::LimitMoved(_)
        | Cause::Unplugged { .. }
        | Cause::DependencyRestart { .. }
        | Cause::NetworkReplaced { .. }
        | Cause::VolumeReplaced { .. }
        | Cause::NamespaceParentReplaced { .. }
        | Cause::VolumesReplaced { .. }
        | Cause::PathMoved { .. }
        | Cause::FileReplaced { .. }
        | Cause::Exchanged
        | Cause::CrashLeftover
        | Cause::Exited { .. }
        | Cause::HookFailed
        | Cause::Unprepared
        | Cause::Held
        | Cause::NeverStarted
        | Cause::TakesOver { .. }
        | Cause::Superseded
        | Cause::StopsFirst { .. }
        | Cause::Order { .. }
        | Cause::NotKept { .. }
        | Cause::RollsBack
        | Cause::NeededBy { .. } => true,
    }
}

fn leftover_word(leftover: &Leftover) -> &'static str {
    match leftover {
        Leftover::Cgroup(_) => "cgroup",
        Leftover::Bridge(_) => "bridge",
        Leftover::PortRules(_) => "port rules",
        Leftover::Folder(_) => "folder",
    }
}

/// Whether a port is published on all addresses of the host.
pub fn is_public(port: &PortSpec) -> bool {
    port.host_ip.is_none_or(|ip| ip.is_unspecified())
}

/// A published port with a mark when everybody can reach it.
fn marked(published: &PortSpec) -> String {
    let mark = if is_public(published) { "PUBLIC " } else { "" };
    format!("{mark}{}", port(published))
}

/// A published port as people write it: `127.0.0.1:8080:80/tcp`.
pub fn port(port: &PortSpec) -> String {
    let ip = match port.host_ip {
        Some(std::net::IpAddr::V6(ip)) => format!("[{ip}]:"),
        Some(std::net::IpAddr::V4(ip)) => format!("{ip}:"),
        None => String::new(),
    };
    let published = match port.published {
        None => String::new(),
        Some((first, last)) if first == last => format!("{first}:"),
        Some((first, last)) => format!("{first}-{last}:"),
    };
    format!("{ip}{published}{}/{}", port.target, protocol(port.protocol))
}

/// The host's side of a published port as people write it: `127.0.0.1:8080/tcp`.
pub fn host_port(port: &PortSpec) -> String {
    let ip = match port.host_ip {
        Some(std::net::IpAddr::V6(ip)) => format!("[{ip}]:"),
        Some(std::net::IpAddr::V4(ip)) => format!("{ip}:"),
        None => String::new(),
    };
    let published = match port.published {
        None => "any".to_owned(),
        Some((first, last)) if first == last => first.to_string(),
        Some((first, last)) => format!("{first}-{last}"),
    };
    format!("{ip}{published}/{}", protocol(port.protocol))
}

/// A transport in lower case.
pub fn protocol(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
        Protocol::Sctp => "sctp",
    }
}
