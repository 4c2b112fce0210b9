//! Volumes and what is mounted into a container.

use super::grammar::choice;
use super::read::{Reader, flag, is_on, text, text_map};
use crate::stack::{
    Mount, MountSource, Propagation, Recursive, Relabel, Service, Volume, VolumesFrom,
    VolumesSource,
};
use crate::tree::Node;
use crate::value::{self, Bad, bad};

/// Mounts in the order they are made: by target.
pub(crate) fn mounts(items: &[Node]) -> Vec<&Node> {
    numbered(items).into_iter().map(|(_, item)| item).collect()
}

/// Mounts by target, each with the number it has in the text.
fn numbered(items: &[Node]) -> Vec<(usize, &Node)> {
    let mut items: Vec<(usize, &Node)> = items.iter().enumerate().collect();
    items.sort_by_key(|(_, item)| item.get_text("target").unwrap_or_default());
    items
}

impl Reader<'_> {
    pub(super) fn storage(&mut self, node: &Node, service: &mut Service) {
        service.volumes = self.mounts(node);
        service.tmpfs = self.list(node, "tmpfs", Self::tmpfs);
        service.volumes_from = self.each(node, "volumes_from", volumes_from);
        service.storage_size = self.storage_size(node);
        service.read_only = is_on(node, "read_only");
    }

    fn mounts(&mut self, node: &Node) -> Vec<Mount> {
        let items = numbered(node.get("volumes").map(Node::items).unwrap_or_default());
        self.below("volumes", |reader| {
            let mut list = Vec::with_capacity(items.len());
            for (index, item) in items {
                let length = reader.path.push_index(index);
                list.extend(reader.mount(item));
                reader.path.back_to(length);
            }
            list
        })
    }

    fn mount(&mut self, node: &Node) -> Option<Mount> {
        for name in ["source", "target"] {
            if let Some(value) = node.get(name).filter(|value| is_windows_path(value)) {
                match name {
                    "source" => self.refuse(
                        value,
                        "is a path of Windows, and this host has no drives",
                        "write a path of this host, or one that starts with `./`",
                    ),
                    _ => self.refuse(
                        value,
                        "is read as a path of Windows: one letter stands before its colon",
                        "give the volume a longer name, or use the long form (`type:`, `source:`, `target:`)",
                    ),
                }
                return None;
            }
        }
        let target = self.container_path(node.get("target").unwrap_or(node))?;
        let read_only = is_on(node, "read_only");
        let source = match (node.get_text("type")?, text(node, "source")) {
            ("volume", name) => self.volume_mount(node, name)?,
            ("bind", Some(path)) => self.bind_mount(node, path, read_only),
            ("tmpfs", _) => MountSource::Tmpfs(self.tmpfs_mount(node, &target, read_only)),
            ("image", Some(reference)) => self.image_mount(node, reference),
            ("image", None) => {
                self.refuse(node, "the mount names no image", "add `source:` with an image");
                return None;
            }
            (kind, _) => {
                let help = "use a volume, a bind mount or a tmpfs";
                self.not_yet(node.get("type")?, &format!("a mount of type `{kind}`"), help);
                return None;
            }
        };
        Some(Mount { target, source, read_only })
    }

    fn volume_mount(&mut self, node: &Node, name: Option<String>) -> Option<MountSource> {
        let volume = node.get("volume");
        let nocopy = volume.is_some_and(|volume| is_on(volume, "nocopy"));
        let labels = volume.map(|volume| text_map(volume, "labels")).unwrap_or_default();
        let subpath = self.subpath(node, "volume");
        let Some(name) = name else {
            return Some(MountSource::Anonymous { nocopy, labels });
        };
        if let (false, Some(at)) = (labels.is_empty(), node.at(&["volume", "labels"])) {
            let why = "labels of a named volume stand where the volume is described";
            self.wrong(at, why, format!("write them below `volumes:` → `{name}:` → `labels:`"));
        }
        Some(MountSource::Volume { name, nocopy, subpath })
    }

    fn bind_mount(&mut self, node: &Node, path: String, read_only: bool) -> MountSource {
        let create = node.get("bind").and_then(|bind| flag(bind, "create_host_path"));
        let mut source = MountSource::Bind {
            path: path.into(),
            create_host_path: create.unwrap_or(true),
            propagation: None,
            recursive: Recursive::Enabled,
            selinux: None,
        };
        self.get(node, "bind", |reader, bind| {
            if let MountSource::Bind { propagation, recursive, selinux, .. } = &mut source {
                *propagation = reader.read(bind, "propagation", propagation_of);
                *recursive = reader.read(bind, "recursive", recursive_of).unwrap_or_default();
                *selinux = reader.read(bind, "selinux", relabel);
            }
            Some(())
        });
        if let (MountSource::Bind { recursive, propagation, .. }, Some(at)) =
            (&source, node.at(&["bind", "recursive"]))
        {
            self.recursive_fits(at, *recursive, *propagation, read_only);
        }
        source
    }

    /// Words about what is not writable need something that is not writable.
    fn recursive_fits(
        &mut self,
        at: &Node,
        recursive: Recursive,
        propagation: Option<Propagation>,
        read_only: bool,
    ) {
        let of_read_only = matches!(recursive, Recursive::Writable | Recursive::ReadOnly);
        if of_read_only && !read_only {
            let help = "add `read_only: true` to the mount, or take `recursive` away";
            self.refuse(at, "is for a mount that is read-only", help);
        }
        let private = matches!(propagation, None | Some(Propagation::RPrivate));
        if recursive == Recursive::ReadOnly && !private {
            let help = "take `propagation` away: what is mounted later would be writable";
            self.refuse(at, "holds only with the propagation `rprivate`", help);
        }
    }

    fn image_mount(&mut self, node: &Node, reference: String) -> MountSource {
        self.read(node, "source", value::image_reference);
        MountSource::Image { reference, subpath: self.subpath(node, "image") }
    }

    /// A folder of what is mounted.
    fn subpath(&mut self, node: &Node, part: &str) -> Option<String> {
        self.get(node, part, |reader, part| {
            reader.read(part, "subpath", |path| {
                let clean = value::clean_path(path);
                if path.starts_with('/') || clean == ".." || clean.starts_with("../") {
                    return bad("does not stay inside", "write a path without `/` at its start");
                }
                Ok(path.to_owned())
            })
        })
        .filter(|path| !path.is_empty())
    }

    /// The absolute path in the container that a text says.
    pub(super) fn container_path(&mut self, node: &Node) -> Option<String> {
        match node.as_text() {
            Some(text) if text.starts_with('/') => Some(value::clean_path(text)),
            Some(_) => {
                let why = "is not an absolute path in the container";
                self.refuse(node, why, "start it with `/`");
                None
            }
            None => {
                self.refuse(node, "the mount has no target", "add `target:`");
                None
            }
        }
    }

    /// The one option that storage of the kernel's overlay has.
    fn storage_size(&mut self, node: &Node) -> Option<u64> {
        let options = self.entries(node, "storage_opt", |reader, key, value| {
            if key == "size" {
                return reader.value(value, value::size);
            }
            reader.wrong(value, "no storage here has this option", "there is `size`".to_owned());
            None
        });
        options.get("size").and_then(|size| u64::try_from(*size).ok())
    }

    pub(super) fn volume(&mut self, node: &Node) -> Volume {
        let driver = text(node, "driver");
        if let Some(name) = driver.as_deref().filter(|driver| *driver != "local") {
            let at = node.get("driver").unwrap_or(node);
            self.not_yet(at, &format!("the volume driver `{name}`"), "use local");
        }
        Volume {
            name: text(node, "name").unwrap_or_default(),
            external: is_on(node, "external"),
            driver,
            driver_opts: text_map(node, "driver_opts"),
            labels: text_map(node, "labels"),
        }
    }
}

fn is_windows_path(node: &Node) -> bool {
    let bytes = node.as_text().unwrap_or_default().as_bytes();
    matches!(bytes, [letter, b':', b'/' | b'\\', ..] if letter.is_ascii_alphabetic())
}

fn propagation_of(text: &str) -> Result<Propagation, Bad> {
    let words = [
        Propagation::Private,
        Propagation::RPrivate,
        Propagation::Shared,
        Propagation::RShared,
        Propagation::Slave,
        Propagation::RSlave,
    ];
    choice(text, "a propagation", &words.map(|word| (word.as_str(), word)))
}

fn recursive_of(text: &str) -> Result<Recursive, Bad> {
    let words = [
        ("enabled", Recursive::Enabled),
        ("disabled", Recursive::Disabled),
        ("writable", Recursive::Writable),
        ("readonly", Recursive::ReadOnly),
    ];
    choice(text, "known here", &words)
}

fn relabel(text: &str) -> Result<Relabel, Bad> {
    choice(text, "a way to label", &[("z", Relabel::Shared), ("Z", Relabel::Private)])
}

/// `SERVICE[:ro]` or `container:NAME[:ro]`.
fn volumes_from(text: &str) -> Result<VolumesFrom, Bad> {
    const HELP: &str = "write `SERVICE[:ro]` or `container:NAME[:ro]`";
    let (container, rest) = match text.strip_prefix("container:") {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (name, mode) = rest.split_once(':').unwrap_or((rest, "rw"));
    let read_only = match mode {
        "rw" => false,
        "ro" => true,
        _ => return bad(format!("ends in `{mode}`, which is neither `ro` nor `rw`"), HELP),
    };
    if name.is_empty() {
        return bad("names nobody", HELP);
    }
    let name = name.to_owned();
    let source =
        if container { VolumesSource::Container(name) } else { VolumesSource::Service(name) };
    Ok(VolumesFrom { source, read_only })
}
