//! What berth adds to the specification.

use super::grammar::listed;
use super::read::{Reader, int, number, text, time};
use crate::problem::{Code, Finding};
use crate::stack::{Berth, OnUnhealthy, Owner, Ready, ReadySign};
use crate::tree::Node;
use crate::words::on_change;

/// The signs of readiness; one of them is given.
const SIGNS: [&str; 3] = ["tcp", "http", "log"];

impl Reader<'_> {
    pub(super) fn berth(&mut self, node: &Node) -> Berth {
        Berth {
            ready: self.get(node, "ready", Self::ready),
            deadline: self.probe_time(node, "deadline"),
            on_change: self.read(node, "on_change", on_change).unwrap_or_default(),
            on_unhealthy: match node.get_text("on_unhealthy") {
                Some("restart") => OnUnhealthy::Restart,
                _ => OnUnhealthy::None,
            },
            owner: match node.get_text("owner") {
                Some("host") => Owner::Host,
                _ => Owner::Container,
            },
            contained: node.get_text("privileged") == Some("contained"),
        }
    }

    fn ready(&mut self, node: &Node) -> Option<Ready> {
        let given: Vec<(&str, &Node)> = SIGNS
            .iter()
            .filter_map(|name| Some((*name, node.get(name).filter(|sign| !sign.is_null())?)))
            .collect();
        let [(kind, sign)] = given[..] else {
            self.not_one_sign(node, &given);
            return None;
        };
        Some(Ready {
            sign: self.below(kind, |reader| reader.sign(kind, sign))?,
            interval: self.probe_time(node, "interval"),
            timeout: self.probe_time(node, "timeout"),
            start_period: time(node, "start_period"),
            retries: self.within(node, "retries", 1..=u32::MAX, " looks"),
        })
    }

    fn not_one_sign(&mut self, node: &Node, given: &[(&str, &Node)]) {
        let path = &self.path;
        let help = format!("write one of {}", listed(&SIGNS));
        let finding = match given {
            [(_, first), (name, second), ..] => {
                let message = format!("`{path}` can have one sign, and `{name}` is another");
                Finding::at(Code::Conflict, second.span, "this", message)
                    .also(first.span, "and this")
            }
            _ => {
                let message = format!("`{path}` has no sign to wait for");
                Finding::at(Code::BadValue, node.span, "no sign", message)
            }
        };
        self.found.push(finding.help(help));
    }

    fn sign(&mut self, kind: &str, node: &Node) -> Option<ReadySign> {
        match kind {
            "tcp" => int(node).map(ReadySign::Tcp),
            "log" => node.as_text().map(|pattern| ReadySign::Log(pattern.to_owned())),
            _ => {
                let path = text(node, "path").unwrap_or_else(|| "/".to_owned());
                let is_plain = |c: char| c.is_ascii_graphic();
                if !path.starts_with('/') || !path.chars().all(is_plain) {
                    let at = node.get("path").unwrap_or(node);
                    let help = "it starts with `/` and has no spaces, like `/health`";
                    self.below("path", |reader| reader.refuse(at, "is no path of a page", help));
                    return None;
                }
                let port = number(node, "port").unwrap_or(80);
                Some(ReadySign::Http { port, path, status: number(node, "status") })
            }
        }
    }
}
