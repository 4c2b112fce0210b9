//! Paths in the container that nothing can be mounted at, or nothing starts in.

use super::{bad, items};
use crate::problem::Finding;
use crate::tree::Node;
use crate::value;

pub(super) fn check(name: &str, service: &Node, found: &mut Vec<Finding>) {
    let path = format!("services.{name}");
    for (index, mount) in items(service, "volumes").iter().enumerate() {
        if let Some(target) = mount.get("target") {
            place(&format!("{path}.volumes.{index}"), target, target, found);
        }
    }
    for (index, mount) in items(service, "tmpfs").iter().enumerate() {
        let text = mount.as_text().unwrap_or_default();
        let target = text.split(':').next().unwrap_or_default();
        let target = Node::text(mount.span, value::clean_path(target));
        place(&format!("{path}.tmpfs.{index}"), &target, mount, found);
    }
    if let Some(directory) = service.get("working_dir")
        && directory.as_text().is_some_and(|text| !text.is_empty() && !text.starts_with('/'))
    {
        let text = directory.as_text().unwrap_or_default();
        let help = format!("write `/{}`", text.trim_start_matches("./"));
        let path = format!("{path}.working_dir");
        found.push(bad(directory, &path, "is not an absolute path in the container", help));
    }
}

fn place(path: &str, target: &Node, at: &Node, found: &mut Vec<Finding>) {
    match target.as_text() {
        Some("/") => {
            let help = "name a folder below it: the root is the image's";
            found.push(bad(at, path, "is the root of the container", help));
        }
        Some("/proc") => {
            let help = "choose another target";
            found.push(bad(at, path, "belongs to the kernel", help));
        }
        _ => {}
    }
}
