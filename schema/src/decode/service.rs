//! One service.

use super::grammar::platform;
use super::lifecycle::environment;
use super::models::extensions;
use super::read::{Reader, command, flag, is_on, text, text_map, texts};
use crate::stack::Service;
use crate::tree::Node;
use crate::value::{self, Bad, bad};

impl Reader<'_> {
    pub(super) fn service(&mut self, node: &Node) -> Service {
        let mut service = Service::default();
        self.programs(node, &mut service);
        self.metadata(node, &mut service);
        self.namespaces(node, &mut service);
        self.networking(node, &mut service);
        self.storage(node, &mut service);
        self.mounted_files(node, &mut service);
        self.resources(node, &mut service);
        self.all_devices(node, &mut service);
        service.deploy = self.get(node, "deploy", |r, node| Some(Box::new(r.deploy(node))));
        self.lifecycle(node, &mut service);
        service.cap_add = self.list(node, "cap_add", Self::capability);
        service.cap_drop = self.list(node, "cap_drop", Self::capability);
        service.security = self.security(node);
        service.build = self.get(node, "build", |r, node| Some(Box::new(r.build(node))));
        service.watch = self.watches(node);
        service.models = self.service_models(node);
        service.berth =
            self.get(node, "x-berth", |r, node| Some(r.berth(node))).unwrap_or_default();
        service
    }

    /// What runs, and as whom.
    fn programs(&mut self, node: &Node, service: &mut Service) {
        self.read(node, "image", value::image_reference);
        service.image = text(node, "image");
        service.platform = self.read(node, "platform", platform);
        service.command = command(node, "command");
        service.entrypoint = command(node, "entrypoint");
        service.environment = environment(node);
        service.user = text(node, "user");
        service.group_add = texts(node, "group_add");
        service.working_dir = text(node, "working_dir");
        service.init = flag(node, "init");
        service.tty = is_on(node, "tty");
        service.stdin_open = is_on(node, "stdin_open");
        service.privileged = is_on(node, "privileged");
        service.runtime = text(node, "runtime");
        service.use_api_socket = is_on(node, "use_api_socket");
    }

    /// What is kept with it, and how.
    fn metadata(&mut self, node: &Node, service: &mut Service) {
        service.labels = text_map(node, "labels");
        service.annotations = text_map(node, "annotations");
        service.extensions = extensions(node);
        service.logging = self.logging(node);
        service.sysctls = text_map(node, "sysctls");
        service.cgroup_parent = self.read(node, "cgroup_parent", cgroup_parent).flatten();
    }
}

/// A cgroup below the root of each hierarchy, without slashes around it. The slice `a-b.slice` is
/// where systemd has it: `a.slice/a-b.slice` (systemd.slice(5)).
fn cgroup_parent(text: &str) -> Result<Option<String>, Bad> {
    const HELP: &str = "write a path like `/batch/nightly`, or a slice like `batch.slice`";
    let names: Vec<&str> = text.split('/').filter(|name| !name.is_empty()).collect();
    if names.iter().any(|name| matches!(*name, "." | "..")) {
        return bad("is not a plain path: it has `.` or `..`", HELP);
    }
    if names.iter().any(|name| name.len() > 255 || name.contains(char::is_control)) {
        return bad("is not the name of a cgroup", HELP);
    }
    Ok(match names.as_slice() {
        [] | ["-.slice"] => None,
        [slice] if slice.ends_with(".slice") => Some(slices(slice)),
        names => Some(names.join("/")),
    })
}

fn slices(slice: &str) -> String {
    let stem = slice.trim_end_matches(".slice");
    let dashes = stem.match_indices('-').map(|(at, _)| &stem[..at]);
    let above: Vec<String> = dashes.map(|stem| format!("{stem}.slice/")).collect();
    above.concat() + slice
}
