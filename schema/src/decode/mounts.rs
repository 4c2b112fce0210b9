//! Volumes and what is mounted into a container.

use super::read::{Reader, flag, number, text, text_map};
use crate::stack::{Mount, MountSource, Tmpfs, Volume};
use crate::tree::Node;
use crate::value::{self, Bad, bad};

/// Mounts in the order they are made: by target.
pub(crate) fn mounts(items: &[Node]) -> Vec<&Node> {
    let mut items: Vec<&Node> = items.iter().collect();
    items.sort_by_key(|item| item.get_text("target").unwrap_or_default());
    items
}

impl Reader<'_> {
    pub(super) fn volumes(&mut self, node: &Node, path: &str) -> Vec<Mount> {
        let items = mounts(node.get("volumes").map(Node::items).unwrap_or_default());
        let mut list = Vec::with_capacity(items.len());
        for item in items {
            list.extend(self.mount(item, &format!("{path}.volumes")));
        }
        list
    }

    pub(super) fn mount(&mut self, node: &Node, path: &str) -> Option<Mount> {
        for name in ["source", "target"] {
            if let Some(value) = node.get(name).filter(|value| is_windows_path(value)) {
                let why =
                    "is read as a path of Windows: one letter stands before its colon".to_owned();
                let help = "give the volume a longer name, or use the long form (`type:`, `source:`, `target:`)";
                self.bad(value, path, Bad { why, help: Some(help.into()) });
                return None;
            }
        }
        let target = self.container_path(node.get("target").unwrap_or(node), path)?;
        let read_only = flag(node, "read_only").unwrap_or_default();
        let volume = node.get("volume");
        let nocopy = volume.and_then(|volume| flag(volume, "nocopy")).unwrap_or_default();
        let subpath = volume.and_then(|volume| text(volume, "subpath"));
        let source = text(node, "source");
        let source = match (node.get_text("type")?, source) {
            ("volume", Some(name)) => MountSource::Volume { name, nocopy, subpath },
            ("volume", None) => MountSource::Anonymous { nocopy },
            ("bind", Some(path)) => {
                let bind = node.get("bind");
                let create = bind.and_then(|bind| flag(bind, "create_host_path"));
                let propagation = bind.and_then(|bind| text(bind, "propagation"));
                MountSource::Bind {
                    path: path.into(),
                    create_host_path: create.unwrap_or(true),
                    propagation,
                }
            }
            ("tmpfs", _) => {
                let options = node.get("tmpfs");
                MountSource::Tmpfs(Tmpfs {
                    target: target.clone(),
                    size: options.and_then(|node| number(node, "size")),
                    mode: options.and_then(|node| number(node, "mode")),
                    options: Vec::new(),
                })
            }
            (kind, _) => {
                let help = "use a volume, a bind mount or a tmpfs";
                self.not_yet(node.get("type")?, path, &format!("a mount of type `{kind}`"), help);
                return None;
            }
        };
        Some(Mount { target, source, read_only })
    }

    pub(super) fn container_path(&mut self, node: &Node, path: &str) -> Option<String> {
        match node.as_text() {
            Some(text) if text.starts_with('/') => Some(value::clean_path(text)),
            Some(_) => {
                let why = "is not an absolute path in the container".to_owned();
                self.bad(node, path, Bad { why, help: Some("start it with `/`".into()) });
                None
            }
            None => {
                let why = "the mount has no target".to_owned();
                self.bad(node, path, Bad { why, help: Some("add `target:`".into()) });
                None
            }
        }
    }

    pub(super) fn tmpfs(&mut self, node: &Node, path: &str) -> Option<Tmpfs> {
        let text = node.as_text()?;
        let (target, options) = text.split_once(':').unwrap_or((text, ""));
        let target = self.container_path(&Node::text(node.span, target), path)?;
        let mut tmpfs = Tmpfs { target, size: None, mode: None, options: Vec::new() };
        for option in options.split(',').filter(|option| !option.is_empty()) {
            let result = match option.split_once('=') {
                Some(("size", size)) => {
                    value::size(size).map(|size| tmpfs.size = u64::try_from(size).ok())
                }
                Some(("mode", mode)) => match u32::from_str_radix(mode, 8) {
                    Ok(mode) => {
                        tmpfs.mode = Some(mode);
                        Ok(())
                    }
                    Err(_) => bad("has a mode that is not octal", "write it like `mode=1777`"),
                },
                _ => {
                    tmpfs.options.push(option.to_owned());
                    Ok(())
                }
            };
            if let Err(reason) = result {
                self.bad(node, path, reason);
            }
        }
        Some(tmpfs)
    }

    pub(super) fn volume(&mut self, key: &str, node: &Node) -> Volume {
        let driver = text(node, "driver");
        if let Some(driver) = driver.as_deref().filter(|driver| *driver != "local") {
            let at = node.get("driver").unwrap_or(node);
            self.not_yet(
                at,
                &format!("volumes.{key}"),
                &format!("the volume driver `{driver}`"),
                "use local",
            );
        }
        Volume {
            name: text(node, "name").unwrap_or_default(),
            external: flag(node, "external").unwrap_or_default(),
            driver,
            driver_opts: text_map(node.get("driver_opts")),
            labels: text_map(node.get("labels")),
        }
    }
}

fn is_windows_path(node: &Node) -> bool {
    let bytes = node.as_text().unwrap_or_default().as_bytes();
    matches!(bytes, [letter, b':', b'/' | b'\\', ..] if letter.is_ascii_alphabetic())
}
