//! The options of the log drivers `journald` and `syslog`.
//!
//! They are Docker's (docs.docker.com, "Configure logging drivers"), but for what a tag may hold:
//! of the template language, the fields of a container.

use super::grammar::{choice, listed};
use super::read::Reader;
use crate::amounts;
use crate::stack::{
    Chosen, ForwardTo, Forwarding, LogDriver, Logging, Syslog, SyslogAddress, SyslogFormat, TagPart,
};
use crate::tree::{Node, Value};
use crate::value::{self, Bad, bad};
use crate::walk::loose;

/// Options of both.
const OPTIONS: [&str; 11] = [
    "cache-compress",
    "cache-disabled",
    "cache-max-file",
    "cache-max-size",
    "env",
    "env-regex",
    "labels",
    "labels-regex",
    "max-buffer-size",
    "mode",
    "tag",
];
/// Those of `syslog` alone.
const OF_SYSLOG: [&str; 3] = ["syslog-address", "syslog-facility", "syslog-format"];
/// Bytes that wait where nothing else is said.
const BUFFER: u64 = 1 << 20;
/// Port of syslog where the address has none.
const PORT: u16 = 514;
/// RFC 5424 table 1, by number; the names are those of syslog.conf(5).
const FACILITIES: [(&str, u8); 20] = [
    ("kern", 0),
    ("user", 1),
    ("mail", 2),
    ("daemon", 3),
    ("auth", 4),
    ("syslog", 5),
    ("lpr", 6),
    ("news", 7),
    ("uucp", 8),
    ("cron", 9),
    ("authpriv", 10),
    ("ftp", 11),
    ("local0", 16),
    ("local1", 17),
    ("local2", 18),
    ("local3", 19),
    ("local4", 20),
    ("local5", 21),
    ("local6", 22),
    ("local7", 23),
];
const FORMATS: [(&str, SyslogFormat); 3] = [
    ("rfc3164", SyslogFormat::Rfc3164),
    ("rfc5424", SyslogFormat::Rfc5424),
    ("rfc5424micro", SyslogFormat::Rfc5424micro),
];
/// Fields of a tag.
const FIELDS: [(&str, TagPart); 10] = [
    (".ID", TagPart::Id),
    (".FullID", TagPart::FullId),
    (".Name", TagPart::Name),
    (".ImageName", TagPart::ImageName),
    (".ImageID", TagPart::ImageId),
    (".ImageFullID", TagPart::ImageFullId),
    (".DaemonName", TagPart::DaemonName),
    (".Hostname", TagPart::Hostname),
    (".Command", TagPart::Command),
    (".ExtraAttributes nil", TagPart::Extra),
];

/// What is written, before it is known whether it goes together.
struct Draft {
    forwarding: Forwarding,
    syslog: Syslog,
    drops: bool,
    buffer: Option<u64>,
}

impl Reader<'_> {
    /// Reads the options of a driver that forwards.
    pub(super) fn forwarding(&mut self, node: &Node, logging: &mut Logging) {
        let mut draft = Draft {
            forwarding: Forwarding {
                to: ForwardTo::Journal,
                tag: vec![TagPart::Id],
                drop_over: None,
                no_files: false,
                labels: Chosen::default(),
                env: Chosen::default(),
            },
            syslog: Syslog { facility: 3, ..Syslog::default() },
            drops: false,
            buffer: None,
        };
        let is_syslog = logging.driver == LogDriver::Syslog;
        self.entries(node, "options", |reader, name, option| {
            let text = loose(&option.value)?;
            match name {
                "syslog-address" | "syslog-facility" | "syslog-format" if is_syslog => {
                    reader.syslog(name, option, &text, &mut draft.syslog);
                }
                _ => reader.forward_option(name, option, &text, logging, &mut draft),
            }
            Some(())
        });
        if let (Some(_), false) = (draft.buffer, draft.drops) {
            let options = node.get("options").unwrap_or(node);
            let at = options.get("max-buffer-size").unwrap_or(options);
            let help = "write `mode: non-blocking` beside it";
            self.wrong(at, "`max-buffer-size` without `mode: non-blocking`", help.into());
        }
        if is_syslog {
            draft.forwarding.to = ForwardTo::Syslog(draft.syslog);
        }
        draft.forwarding.drop_over = draft.drops.then(|| draft.buffer.unwrap_or(BUFFER));
        logging.forwarding = Some(Box::new(draft.forwarding));
    }

    fn syslog(&mut self, name: &str, option: &Node, text: &str, syslog: &mut Syslog) {
        let read = match name {
            "syslog-address" => address(text).map(|address| syslog.address = address),
            "syslog-facility" => facility(text).map(|facility| syslog.facility = facility),
            _ => choice(text, "a format", &FORMATS).map(|format| syslog.format = format),
        };
        if let Err(reason) = read {
            self.bad(option, reason);
        }
    }

    fn forward_option(
        &mut self,
        name: &str,
        option: &Node,
        text: &str,
        logging: &mut Logging,
        draft: &mut Draft,
    ) {
        let forwarding = &mut draft.forwarding;
        let read = match name {
            "cache-max-size" => return self.max_size(option, text, logging),
            "cache-max-file" => return self.max_files(option, text, logging),
            "cache-disabled" => switch(text).map(|on| forwarding.no_files = on),
            "cache-compress" => {
                return self.inert(option, "has no effect on berth's logs", None);
            }
            "mode" => choice(text, "a mode", &[("blocking", false), ("non-blocking", true)])
                .map(|drops| draft.drops = drops),
            "max-buffer-size" => buffer(text).map(|bytes| draft.buffer = Some(bytes)),
            "tag" => tag(text).map(|tag| forwarding.tag = tag),
            "labels" => names(text).map(|names| forwarding.labels.names = names),
            "env" => names(text).map(|names| forwarding.env.names = names),
            "labels-regex" => pattern(text).map(|p| forwarding.labels.pattern = Some(p)),
            "env-regex" => pattern(text).map(|p| forwarding.env.pattern = Some(p)),
            _ => return self.no_such_option(name, option, logging.driver),
        };
        if let Err(reason) = read {
            self.bad(option, reason);
        }
    }

    fn no_such_option(&mut self, name: &str, option: &Node, driver: LogDriver) {
        let (what, more): (_, &[&str]) = match driver {
            LogDriver::Syslog => ("syslog", &OF_SYSLOG),
            _ => ("journald", &[]),
        };
        if name.starts_with("syslog-tls") && driver == LogDriver::Syslog {
            let why = "berth does not speak TLS with a syslog server";
            let help = "forward to a syslog server on this host, and let it use TLS";
            return self.wrong(option, why, help.into());
        }
        let cached = ["max-size", "max-file"].contains(&name).then(|| format!("cache-{name}"));
        let known: Vec<&str> = OPTIONS.iter().chain(more).copied().collect();
        let near = cached.as_deref().or_else(|| value::nearest(name, known.iter().copied()));
        let help = match near {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("there are {}", listed(&known).replace(" or ", " and ")),
        };
        self.wrong(option, &format!("the log driver `{what}` has no such option"), help);
    }
}

fn switch(text: &str) -> Result<bool, Bad> {
    match value::boolean(text) {
        Some((on, _)) => Ok(on),
        None => bad("is not `true` or `false`", ""),
    }
}

fn buffer(text: &str) -> Result<u64, Bad> {
    match value::size(text)? {
        bytes @ 1.. => Ok(bytes.unsigned_abs()),
        _ => bad("leaves room for nothing", "write it like `4m`"),
    }
}

fn names(text: &str) -> Result<Vec<String>, Bad> {
    let names: Vec<&str> = text.split(',').map(str::trim).collect();
    match names.iter().all(|name| !name.is_empty()) {
        true => Ok(names.into_iter().map(str::to_owned).collect()),
        false => bad("has an empty name", "write them like `one,two`"),
    }
}

fn pattern(text: &str) -> Result<String, Bad> {
    amounts::pattern(&Value::Text(text.to_owned())).map(|_| text.to_owned())
}

fn facility(text: &str) -> Result<u8, Bad> {
    match text.parse::<u8>() {
        Ok(number @ 0..=23) => Ok(number),
        _ => choice(text, "a facility", &FACILITIES),
    }
}

fn address(text: &str) -> Result<SyslogAddress, Bad> {
    const HELP: &str = "write it like `udp://192.0.2.7:514`, `tcp://logs.example.com` or \
                        `unixgram:///dev/log`";
    let Some((scheme, rest)) = text.split_once("://") else {
        return if text.is_empty() { Ok(SyslogAddress::Local) } else { bad("has no scheme", HELP) };
    };
    match scheme {
        "unix" | "unixgram" if !rest.starts_with('/') => bad("has no absolute path", HELP),
        "unix" => Ok(SyslogAddress::Unix(rest.into())),
        "unixgram" => Ok(SyslogAddress::Unixgram(rest.into())),
        "udp" => host_and_port(rest, HELP).map(|(host, port)| SyslogAddress::Udp(host, port)),
        "tcp" => host_and_port(rest, HELP).map(|(host, port)| SyslogAddress::Tcp(host, port)),
        "tcp+tls" => bad(
            "asks for TLS, which berth does not speak with a syslog server",
            "forward to a syslog server on this host, and let it use TLS",
        ),
        _ => bad(format!("has the scheme `{scheme}`"), HELP),
    }
}

/// `host`, `host:port`, `[address]:port`.
fn host_and_port(text: &str, help: &str) -> Result<(String, u16), Bad> {
    let text = text.strip_suffix('/').unwrap_or(text);
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, port)) => (host, port.strip_prefix(':')),
        None => match text.rsplit_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let is_host = |c: char| c.is_ascii_alphanumeric() || ".-_:".contains(c);
    if host.is_empty() || !host.chars().all(is_host) {
        return bad("names no host", help);
    }
    match port.map_or(Ok(PORT), str::parse) {
        Ok(port @ 1..) => Ok((host.to_owned(), port)),
        _ => bad("has no port of 1 to 65535", help),
    }
}

/// Text with fields in `{{…}}`.
fn tag(mut text: &str) -> Result<Vec<TagPart>, Bad> {
    let mut parts = Vec::new();
    while let Some((before, rest)) = text.split_once("{{") {
        let Some((inside, after)) = rest.split_once("}}") else {
            return bad("has a `{{` without its `}}`", "write it like `{{.Name}}/{{.ID}}`");
        };
        if !before.is_empty() {
            parts.push(TagPart::Text(before.to_owned()));
        }
        parts.push(field(inside.trim())?);
        text = after;
    }
    if !text.is_empty() {
        parts.push(TagPart::Text(text.to_owned()));
    }
    // As Docker has it: no template is the default one.
    Ok(if parts.is_empty() { vec![TagPart::Id] } else { parts })
}

fn field(text: &str) -> Result<TagPart, Bad> {
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if let Some((_, part)) = FIELDS.iter().find(|(name, _)| *name == words) {
        return Ok(part.clone());
    }
    let one = words.strip_prefix("(.ExtraAttributes nil).");
    if let Some(name) = one.filter(|name| value::is_name(name)) {
        return Ok(TagPart::ExtraOf(name.to_owned()));
    }
    let fields = FIELDS.each_ref().map(|(name, _)| *name);
    let help = match value::nearest(&words, fields) {
        Some(near) => format!("did you mean `{{{{{near}}}}}`?"),
        None => format!("there are {}", listed(&fields).replace(" or ", " and ")),
    };
    Err(Bad { why: format!("has `{{{{{text}}}}}`, which is no field of a tag"), help: Some(help) })
}
