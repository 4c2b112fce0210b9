//! What a container shares with the host or with another container.

use super::grammar::choice;
use super::read::Reader;
use crate::problem::{Code, Finding};
use crate::resources::is_bridged;
use crate::stack::{CgroupMode, IpcMode, NetworkMode, PidMode, Service, UsernsMode, UtsMode};
use crate::tree::Node;
use crate::value::{Bad, bad};

/// `service:NAME` or `container:NAME`, or else a word.
enum Shared<'t> {
    Service(&'t str),
    Container(&'t str),
    Word(&'t str),
}

fn shared(text: &str) -> Shared<'_> {
    match text.split_once(':') {
        Some(("service", name)) if !name.is_empty() => Shared::Service(name),
        Some(("container", name)) if !name.is_empty() => Shared::Container(name),
        _ => Shared::Word(text),
    }
}

impl Reader<'_> {
    pub(super) fn namespaces(&mut self, node: &Node, service: &mut Service) {
        service.network_mode = self.network_mode(node);
        service.userns_mode = self.read(node, "userns_mode", userns).unwrap_or_default();
        service.cgroup = self.read(node, "cgroup", cgroup);
        service.ipc = self.read(node, "ipc", ipc).unwrap_or_default();
        service.pid = self.read(node, "pid", pid).unwrap_or_default();
        service.uts = self.read(node, "uts", uts).unwrap_or_default();
    }

    /// How a service is connected; `None` when by its networks, also by the default one alone.
    fn network_mode(&mut self, node: &Node) -> Option<NetworkMode> {
        if is_bridged(node) {
            return None;
        }
        let mode = self.read(node, "network_mode", network)?;
        if matches!(mode, NetworkMode::Host | NetworkMode::None)
            && let Some(ports) = node.get("ports").filter(|ports| !ports.items().is_empty())
            && let Some(at) = node.get("network_mode")
        {
            let word = at.as_text().unwrap_or_default();
            let help = match mode {
                NetworkMode::Host => "with `host` the ports are open already: take `ports` away",
                _ => "nobody reaches a service without a network: take one of both away",
            };
            let message = format!("`{}` publishes ports and has `network_mode: {word}`", self.path);
            self.found.push(
                Finding::at(Code::Conflict, ports.span, "these ports", message)
                    .also(at.span, "this mode")
                    .help(help),
            );
        }
        Some(mode)
    }
}

fn network(text: &str) -> Result<NetworkMode, Bad> {
    match shared(text) {
        Shared::Service(name) => Ok(NetworkMode::Service(name.to_owned())),
        Shared::Container(name) => Ok(NetworkMode::Container(name.to_owned())),
        Shared::Word("none") => Ok(NetworkMode::None),
        Shared::Word("host") => Ok(NetworkMode::Host),
        Shared::Word(_) => {
            bad("is not a network mode here", "use bridge, none, host, service:NAME or `networks:`")
        }
    }
}

fn pid(text: &str) -> Result<PidMode, Bad> {
    match shared(text) {
        Shared::Service(name) => Ok(PidMode::Service(name.to_owned())),
        Shared::Container(name) => Ok(PidMode::Container(name.to_owned())),
        Shared::Word("" | "private") => Ok(PidMode::Private),
        Shared::Word("host") => Ok(PidMode::Host),
        Shared::Word(_) => {
            bad("is not a process namespace", "write host, service:NAME or container:NAME")
        }
    }
}

fn ipc(text: &str) -> Result<IpcMode, Bad> {
    match shared(text) {
        Shared::Service(name) => Ok(IpcMode::Service(name.to_owned())),
        Shared::Container(name) => Ok(IpcMode::Container(name.to_owned())),
        Shared::Word("" | "private") => Ok(IpcMode::Private),
        Shared::Word("shareable") => Ok(IpcMode::Shareable),
        Shared::Word("none") => Ok(IpcMode::None),
        Shared::Word("host") => Ok(IpcMode::Host),
        Shared::Word(_) => bad(
            "is not an IPC namespace",
            "write private, shareable, none, host, service:NAME or container:NAME",
        ),
    }
}

fn uts(text: &str) -> Result<UtsMode, Bad> {
    let words = [("host", UtsMode::Host), ("private", UtsMode::Private)];
    choice(text, "a UTS namespace", &words)
}

fn cgroup(text: &str) -> Result<CgroupMode, Bad> {
    let words = [("host", CgroupMode::Host), ("private", CgroupMode::Private)];
    choice(text, "a cgroup namespace", &words)
}

fn userns(text: &str) -> Result<UsernsMode, Bad> {
    match text {
        "" | "private" | "auto" => Ok(UsernsMode::Private),
        "host" => Ok(UsernsMode::Host),
        _ => bad(
            "is not a user namespace here",
            "write `host` for the ids of the host; take it away for ids of its own",
        ),
    }
}
