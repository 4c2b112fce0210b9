//! Where lines go besides the log, with what they are marked with.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use berth_schema::stack::{Chosen, ForwardTo, Forwarding, Syslog, SyslogAddress, TagPart};
use regex::Regex;

use super::Preparation;
use crate::bundle::{Destination, Forward, Peer, Process};
use crate::host::StepError;
use crate::logs::{JOURNAL, LOCAL_SYSLOG};
use crate::store;

/// Longest name of a field in the journal (systemd.journal-fields(7)).
const FIELD: usize = 64;
/// Digits of an id where it is short.
const SHORT: usize = 12;

type Values = BTreeMap<String, String>;

impl Preparation<'_> {
    pub(super) fn forward(&self, process: &Process) -> Result<Option<Forward>, StepError> {
        let Some(forwarding) = &self.spec().logging.forwarding else { return Ok(None) };
        let extra = self.extra(forwarding, process)?;
        let tag = self.tag(&forwarding.tag, process, &extra);
        let to = match &forwarding.to {
            ForwardTo::Journal => {
                has_one(&[JOURNAL], "this host has no journal: there is no such socket")?;
                Destination::Journal { fields: self.fields(tag, extra) }
            }
            ForwardTo::Syslog(Syslog { address, facility, format }) => Destination::Syslog {
                peers: peers(address)?,
                facility: *facility,
                format: *format,
                hostname: host_name(),
                tag: one_line(&tag),
            },
        };
        Ok(Some(Forward { to, drop_over: forwarding.drop_over }))
    }

    /// The chosen labels and variables.
    fn extra(&self, forwarding: &Forwarding, process: &Process) -> Result<Values, StepError> {
        let variables = process.env.iter().filter_map(|line| line.split_once('='));
        let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let mut extra = self.choose(&forwarding.labels, &self.labels())?;
        extra.extend(self.choose(&forwarding.env, &variables.collect())?);
        Ok(extra)
    }

    fn choose(&self, chosen: &Chosen, from: &Values) -> Result<Values, StepError> {
        let pattern = chosen.pattern.as_deref().map(Regex::new).transpose();
        let bad = |e| StepError::failed("prepare the log of", &self.record().name, e);
        let pattern = pattern.map_err(bad)?;
        let wanted = |name: &String| {
            chosen.names.contains(name) || pattern.as_ref().is_some_and(|p| p.is_match(name))
        };
        let wanted = from.iter().filter(|(name, _)| wanted(name));
        Ok(wanted.map(|(name, value)| (name.clone(), value.clone())).collect())
    }

    /// Labels of the image, of the file, and those that Compose gives.
    fn labels(&self) -> Values {
        let (record, spec) = (self.record(), self.spec());
        let own = [
            ("project", record.project.clone()),
            ("service", record.service.clone()),
            ("container-number", record.number.to_string()),
            ("oneoff", if record.oneoff { "True" } else { "False" }.to_owned()),
        ];
        let own = own.map(|(name, value)| (format!("com.docker.compose.{name}"), value));
        let mut labels = self.image.config.labels.clone();
        labels.extend(spec.labels.clone());
        labels.extend(own);
        labels
    }

    fn tag(&self, parts: &[TagPart], process: &Process, extra: &Values) -> String {
        let (record, id) = (self.record(), &self.stored.id);
        let image = &record.image_id;
        let bare = image.split_once(':').map_or(image.as_str(), |(_, digits)| digits);
        let of = |part: &TagPart| match part {
            TagPart::Text(text) => text.clone(),
            TagPart::Id => short(id),
            TagPart::FullId => id.clone(),
            TagPart::Name => record.name.clone(),
            TagPart::ImageName => record.spec.image.clone(),
            TagPart::ImageId => short(bare),
            TagPart::ImageFullId => image.clone(),
            TagPart::DaemonName => "berth".to_owned(),
            TagPart::Hostname => host_name(),
            TagPart::Command => process.argv.join(" "),
            TagPart::Extra => go_map(extra),
            TagPart::ExtraOf(name) => extra.get(name).cloned().unwrap_or_default(),
        };
        parts.iter().map(of).collect()
    }

    /// What every line is sent to the journal with. What the container brings along does not
    /// replace what it is.
    fn fields(&self, tag: String, extra: Values) -> Values {
        let (record, id) = (self.record(), &self.stored.id);
        let mut fields = Values::new();
        for (name, value) in extra {
            fields.extend(field_name(&name).map(|name| (name, value)));
        }
        let own = [
            ("CONTAINER_ID", short(id)),
            ("CONTAINER_ID_FULL", id.clone()),
            ("CONTAINER_NAME", record.name.clone()),
            ("CONTAINER_TAG", tag.clone()),
            ("IMAGE_NAME", record.spec.image.clone()),
            ("SYSLOG_IDENTIFIER", tag),
        ];
        fields.extend(own.map(|(name, value)| (name.to_owned(), value)));
        for of_the_line in ["MESSAGE", "PRIORITY", "SYSLOG_TIMESTAMP", "CONTAINER_PARTIAL_MESSAGE"]
        {
            fields.remove(of_the_line);
        }
        fields
    }
}

fn short(id: &str) -> String {
    id.get(..SHORT).unwrap_or(id).to_owned()
}

/// The name of a label as the journal takes names: capital letters, digits and underscores.
fn field_name(name: &str) -> Option<String> {
    let name = name.trim_start_matches(|c: char| !c.is_ascii_alphabetic()).chars();
    let letter = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
    let name: String = name.map(letter).collect();
    (1..=FIELD).contains(&name.len()).then_some(name)
}

/// As Go prints a map, which is what people's parsers of tags read.
fn go_map(values: &Values) -> String {
    let pairs: Vec<String> = values.iter().map(|(name, value)| format!("{name}:{value}")).collect();
    format!("map[{}]", pairs.join(" "))
}

/// A newline in a label or an argument must not begin a message of its own.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '_' } else { c }).collect()
}

/// A destination on this host that is not there at the start is a mistake; later it may go away and
/// come back.
fn has_one(paths: &[&str], why: &str) -> Result<(), StepError> {
    match paths.iter().any(|path| Path::new(path).exists()) {
        true => Ok(()),
        false => Err(StepError::failed("send the log to", paths[0], why)),
    }
}

fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

fn peers(address: &SyslogAddress) -> Result<Vec<Peer>, StepError> {
    Ok(match address {
        SyslogAddress::Local => {
            has_one(&LOCAL_SYSLOG, "this host has no syslog server: there is no such socket")?;
            let paths = LOCAL_SYSLOG.map(PathBuf::from);
            paths.into_iter().flat_map(|p| [Peer::Unixgram(p.clone()), Peer::Unix(p)]).collect()
        }
        SyslogAddress::Unix(path) => vec![Peer::Unix(path.clone())],
        SyslogAddress::Unixgram(path) => vec![Peer::Unixgram(path.clone())],
        SyslogAddress::Udp(host, port) => {
            addresses(host)?.into_iter().map(|ip| Peer::Udp(SocketAddr::new(ip, *port))).collect()
        }
        SyslogAddress::Tcp(host, port) => {
            addresses(host)?.into_iter().map(|ip| Peer::Tcp(SocketAddr::new(ip, *port))).collect()
        }
    })
}

/// Looked up at each start: the monitor waits for nobody's name server.
fn addresses(host: &str) -> Result<Vec<IpAddr>, StepError> {
    if let Ok(address) = host.parse() {
        return Ok(vec![address]);
    }
    let failed = |why: &str| StepError::failed("find the syslog server", host, why);
    let runtime = tokio::runtime::Handle::try_current().map_err(|e| failed(&e.to_string()))?;
    runtime.block_on(store::addresses(host)).map_err(|why| failed(&why))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_as_the_journal_takes_them() {
        assert_eq!(field_name("com.example.Tier").as_deref(), Some("COM_EXAMPLE_TIER"));
        assert_eq!(field_name("_HOSTNAME").as_deref(), Some("HOSTNAME"));
        assert_eq!((field_name("42"), field_name(&"x".repeat(65))), (None, None));
    }

    #[test]
    fn what_a_container_brings_along_makes_no_line_of_its_own() {
        assert_eq!(one_line("a\n<0>forged\x1b[2J"), "a_<0>forged_[2J");
    }

    #[test]
    fn a_map_is_printed_as_go_does() {
        let values = [("b", "2"), ("a", "1")].map(|(k, v)| (k.to_owned(), v.to_owned()));
        assert_eq!(go_map(&BTreeMap::from(values)), "map[a:1 b:2]");
    }
}
