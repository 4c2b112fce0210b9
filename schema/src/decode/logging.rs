//! How output is kept.

use super::grammar::listed;
use super::read::{Reader, text_map};
use crate::stack::{LogDriver, Logging};
use crate::tree::Node;
use crate::value::{self, Bad};
use crate::walk::loose;

const DRIVERS: [(&str, LogDriver); 10] = [
    ("json-file", LogDriver::JsonFile),
    ("local", LogDriver::Local),
    ("none", LogDriver::None),
    ("journald", LogDriver::Journald),
    ("syslog", LogDriver::Syslog),
    ("gelf", LogDriver::Gelf),
    ("fluentd", LogDriver::Fluentd),
    ("awslogs", LogDriver::Awslogs),
    ("gcplogs", LogDriver::Gcplogs),
    ("splunk", LogDriver::Splunk),
];
/// Options that other runtimes have for files, and that change nothing about berth's.
const WITHOUT_EFFECT: [&str; 8] =
    ["compress", "env", "env-regex", "labels", "labels-regex", "max-buffer-size", "mode", "tag"];

impl Reader<'_> {
    pub(super) fn logging(&mut self, node: &Node) -> Logging {
        let logging = self.get(node, "logging", |reader, node| {
            let driver = reader.get(node, "driver", Self::log_driver).unwrap_or_default();
            let mut logging = Logging { driver, ..Logging::default() };
            match driver {
                LogDriver::Local | LogDriver::JsonFile => reader.log_files(node, &mut logging),
                LogDriver::Journald | LogDriver::Syslog => reader.forwarding(node, &mut logging),
                LogDriver::None => reader.no_log(node),
                _ => logging.options = text_map(node, "options"),
            }
            Some(logging)
        });
        logging.unwrap_or_default()
    }

    fn log_driver(&mut self, node: &Node) -> Option<LogDriver> {
        let name = node.as_text().filter(|name| !name.is_empty())?;
        let known = DRIVERS.iter().find(|(other, _)| *other == name).map(|(_, driver)| *driver);
        match known {
            Some(
                LogDriver::Local
                | LogDriver::JsonFile
                | LogDriver::None
                | LogDriver::Journald
                | LogDriver::Syslog,
            ) => {}
            Some(_) => {
                let help = "use json-file, local, none, journald or syslog";
                self.not_yet(node, &format!("the log driver `{name}`"), help);
            }
            None => self.unknown_driver(node, name),
        }
        known
    }

    fn unknown_driver(&mut self, node: &Node, name: &str) {
        let names = DRIVERS.map(|(name, _)| name);
        let help = match value::nearest(name, names) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("use {}", listed(&names[..5])),
        };
        self.bad(node, Bad { why: "is not a log driver".into(), help: Some(help) });
    }

    /// Options of files.
    fn log_files(&mut self, node: &Node, logging: &mut Logging) {
        self.entries(node, "options", |reader, name, option| {
            let text = loose(&option.value)?;
            match name {
                "max-size" => reader.max_size(option, &text, logging),
                "max-file" => reader.max_files(option, &text, logging),
                _ => reader.other_option(name, option),
            }
            Some(())
        });
    }

    pub(super) fn max_size(&mut self, option: &Node, text: &str, logging: &mut Logging) {
        match value::size(text) {
            Ok(size) if size > 0 => logging.max_size = size.unsigned_abs(),
            Ok(_) => {}
            Err(reason) => self.bad(option, reason),
        }
    }

    pub(super) fn max_files(&mut self, option: &Node, text: &str, logging: &mut Logging) {
        match text.parse() {
            Ok(files @ 1..) => logging.max_files = files,
            _ => self.refuse(option, "is not a number of files", "write 1 or more"),
        }
    }

    fn other_option(&mut self, name: &str, option: &Node) {
        if WITHOUT_EFFECT.contains(&name) {
            return self.inert(option, "has no effect on berth's logs", None);
        }
        let known = WITHOUT_EFFECT.into_iter().chain(["max-file", "max-size"]);
        let help = match value::nearest(name, known) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "there are max-size and max-file".to_owned(),
        };
        self.wrong(option, "logs in files have no such option", help);
    }

    fn no_log(&mut self, node: &Node) {
        self.entries(node, "options", |reader, _, option| {
            reader.inert(option, "has no effect: nothing is kept", None);
            Some(())
        });
    }
}
