//! `berth events`.

use std::collections::BTreeMap;

use berth_runtime::monitor::events::{Event, Happening};
use berth_runtime::monitor::watch::Watch;
use clap::Args;
use jiff::Timestamp;
use serde::Serialize;

use crate::failure::{Exit, Failure};
use crate::session::Session;
use crate::signals::Signals;
use crate::ui::safe;
use crate::values::moment;
use crate::{flow, wording};

/// Arguments of `events`.
#[derive(Debug, Args)]
pub(crate) struct EventsArgs {
    /// Only these services
    services: Vec<String>,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
    /// Also what happened since then: `10m`, `2026-01-31T08:00:00Z`, seconds since 1970
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Only what happens until then
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Only what fits: `event=die`, `container=NAME`, `service=NAME`, `image=NAME`; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = filter)]
    filter: Vec<(Key, String)>,
}

/// What a filter looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Event,
    Container,
    Service,
    Image,
    Type,
}

fn filter(text: &str) -> Result<(Key, String), String> {
    let (key, value) =
        text.split_once('=').ok_or_else(|| format!("`{text}` is no filter: write `event=die`"))?;
    let key = match key {
        "event" => Key::Event,
        "container" => Key::Container,
        "service" => Key::Service,
        "image" => Key::Image,
        "type" => Key::Type,
        other => {
            return Err(format!(
                "there is no filter `{other}`: event, container, service, image, type"
            ));
        }
    };
    Ok((key, value.to_owned()))
}

/// Prints what happened to the containers of the project, and goes on with what happens.
pub(crate) async fn run(session: &Session, args: &EventsArgs) -> Result<Exit, Failure> {
    let now = Timestamp::now();
    let point = |text: &Option<String>| text.as_deref().map(|t| moment::point(t, now)).transpose();
    let (since, until) = (point(&args.since), point(&args.until));
    let (since, until) =
        (since.map_err(Failure::usage)?.unwrap_or(now), until.map_err(Failure::usage)?);
    let project = session.project()?;
    let host = flow::open_to_look(session)?;
    let unreadable = |e| Failure::refused(format!("read the events of `{}`: {e}", project.name));
    let mut watch =
        Watch::open(host.roots(), &project.name, args.since.is_some()).map_err(unreadable)?;
    let mut signals = Signals::listen()?;
    let end = tokio::time::sleep(until.map_or(FAR, |until| left(until, now)));
    tokio::pin!(end);
    loop {
        // Asked before reading: what was written before the end is read after it.
        let over = end.is_elapsed();
        for event in watch.read().map_err(unreadable)? {
            let in_time = event.time >= since && until.is_none_or(|until| event.time <= until);
            if in_time && is_wanted(args, &event) {
                show(session, args, &event)?;
            }
        }
        if over {
            return Ok(Exit::Done);
        }
        tokio::select! {
            changed = watch.changed() => changed.map_err(unreadable)?,
            number = signals.next() => return Ok(Exit::Signal(number)),
            () = &mut end, if until.is_some() => {}
        }
    }
}

/// Without an end: nobody waits so long.
const FAR: std::time::Duration = std::time::Duration::from_secs(1 << 30);

fn left(until: Timestamp, now: Timestamp) -> std::time::Duration {
    until.duration_since(now).try_into().unwrap_or_default()
}

/// Filters with one key are alternatives, those with different keys hold together. As in Docker,
/// containers of `run` are not told of, unless asked for by name.
fn is_wanted(args: &EventsArgs, event: &Event) -> bool {
    let of_service = args.services.is_empty() || args.services.contains(&event.service);
    let mut asked: BTreeMap<Key, bool> = BTreeMap::new();
    for (key, value) in &args.filter {
        *asked.entry(*key).or_default() |= fits(*key, value, event);
    }
    let by_name = asked.get(&Key::Container) == Some(&true);
    of_service && (!event.oneoff || by_name) && asked.values().all(|fits| *fits)
}

fn fits(key: Key, value: &str, event: &Event) -> bool {
    match key {
        // `health_status` also stands for `health_status: healthy`.
        Key::Event => {
            let action = wording::action(&event.what);
            action == value || action.split(": ").next() == Some(value)
        }
        Key::Container => {
            event.container == value || (value.len() >= 12 && event.id.starts_with(value))
        }
        Key::Service => event.service == value,
        Key::Image => event.image == value,
        Key::Type => value == kind(event),
    }
}

/// What it happened to.
fn kind(event: &Event) -> &'static str {
    match event.what {
        Happening::NetworkRepair { .. } => "network",
        _ => "container",
    }
}

/// What that is known by: a network by its name.
fn id(event: &Event) -> &str {
    match &event.what {
        Happening::NetworkRepair { network, .. } => network,
        _ => &event.id,
    }
}

/// An event with the names that `docker compose events --json` uses.
#[derive(Debug, Serialize)]
struct Row<'a> {
    action: String,
    attributes: BTreeMap<&'static str, String>,
    id: &'a str,
    service: &'a str,
    time: String,
    #[serde(rename = "type")]
    kind: &'static str,
}

fn show(session: &Session, args: &EventsArgs, event: &Event) -> Result<(), Failure> {
    let (action, attributes) = (wording::action(&event.what), attributes(event));
    if args.json {
        let time = event.time.to_string();
        let (id, service, kind) = (id(event), event.service.as_str(), kind(event));
        return session.ui.json_lines(&[Row { action, attributes, id, service, time, kind }]);
    }
    session.ui.data(&safe(&line(event, &action, &attributes)))
}

/// `2026-01-31 08:00:00.000000 container start ID (image=web:1, name=shop-web-1)`, in UTC.
fn line(event: &Event, action: &str, attributes: &BTreeMap<&'static str, String>) -> String {
    let pairs: Vec<String> =
        attributes.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let time = event.time.strftime("%Y-%m-%d %H:%M:%S.%6f");
    format!("{time} {} {action} {} ({})", kind(event), id(event), pairs.join(", "))
}

fn attributes(event: &Event) -> BTreeMap<&'static str, String> {
    if let Happening::NetworkRepair { network, restored } = &event.what {
        let restored = restored.join("; ");
        return BTreeMap::from([("name", network.clone()), ("restored", restored)]);
    }
    let mut attributes =
        BTreeMap::from([("image", event.image.clone()), ("name", event.container.clone())]);
    match &event.what {
        Happening::Die { exit_code } => drop(attributes.insert("exitCode", exit_code.to_string())),
        Happening::Kill { signal } => drop(attributes.insert("signal", signal.to_string())),
        Happening::Restart { restarts, why } => {
            attributes.insert("restartCount", restarts.to_string());
            attributes.extend(why.clone().map(|why| ("reason", why)));
        }
        Happening::ExecCreate { exec, .. } | Happening::ExecStart { exec, .. } => {
            attributes.insert("execID", exec.clone());
        }
        Happening::ExecDie { exec, exit_code } => {
            attributes.insert("execID", exec.clone());
            attributes.insert("exitCode", exit_code.to_string());
        }
        Happening::Hook { hook, exit_code } => {
            attributes.insert("hook", hook.clone());
            attributes.insert("exitCode", exit_code.to_string());
        }
        Happening::Hang { process } => drop(attributes.insert("process", process.clone())),
        Happening::Create
        | Happening::Destroy
        | Happening::Start
        | Happening::Adopt
        | Happening::Attach
        | Happening::Oom
        | Happening::HealthStatus { .. }
        | Happening::Stop
        | Happening::Pause
        | Happening::Unpause
        | Happening::Update
        | Happening::NetworkRepair { .. } => {}
    }
    attributes
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::{Cli, Command};

    fn args(words: &[&str]) -> EventsArgs {
        let words = ["berth", "events"].iter().chain(words);
        match Cli::try_parse_from(words).unwrap().command {
            Command::Events(args) => args,
            other => panic!("not `events`: {other:?}"),
        }
    }

    fn event(what: Happening) -> Event {
        Event {
            time: Timestamp::UNIX_EPOCH,
            container: "shop-web-1".into(),
            service: "web".into(),
            id: "0123456789abcdef".into(),
            image: "web:1".into(),
            oneoff: false,
            what,
        }
    }

    #[test]
    fn a_line_is_as_docker_compose_has_it() {
        let event = event(Happening::Die { exit_code: 3 });
        let line = line(&event, &wording::action(&event.what), &attributes(&event));
        insta::assert_snapshot!(line, @"1970-01-01 00:00:00.000000 container die 0123456789abcdef (exitCode=3, image=web:1, name=shop-web-1)");
    }

    #[test]
    fn a_network_is_told_of_by_its_name() {
        let what = Happening::NetworkRepair {
            network: "shop_default".into(),
            restored: vec!["packet rules".into(), "port 80/tcp".into()],
        };
        let event = Event { container: String::new(), ..event(what) };
        let line = line(&event, &wording::action(&event.what), &attributes(&event));
        insta::assert_snapshot!(line, @"1970-01-01 00:00:00.000000 network repair shop_default (name=shop_default, restored=packet rules; port 80/tcp)");
        assert!(is_wanted(&args(&["--filter", "type=network"]), &event));
    }

    #[test]
    fn filters_of_one_key_are_alternatives() {
        let health = berth_planner::observed::Health::Healthy;
        let [die, healthy] =
            [Happening::Die { exit_code: 0 }, Happening::HealthStatus { health }].map(event);
        let both = args(&["--filter", "event=die", "--filter", "event=health_status"]);
        assert!(is_wanted(&both, &die) && is_wanted(&both, &healthy));
        let one = args(&["--filter", "event=die", "--filter", "container=shop-web-1"]);
        assert!(is_wanted(&one, &die) && !is_wanted(&one, &healthy));
        assert!(!is_wanted(&args(&["db"]), &die) && is_wanted(&args(&["web", "db"]), &die));
        let mut of_run = event(Happening::Stop);
        of_run.oneoff = true;
        assert!(!is_wanted(&args(&[]), &of_run));
        assert!(Cli::try_parse_from(["berth", "events", "--filter", "colour=red"]).is_err());
    }
}
