//! The mounts of a description: opened by the parent, which may map ids, and put in place by the
//! child, inside its root.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{CWD, FileType, Mode, OFlags, fstat, openat};
use rustix::io::Errno;

use super::error::{Context, SetupError};
use super::inside::{self, Kind};
use super::rootfs::{self, Scratch};
use super::{devices, fs, idmap};
use crate::bundle::{BindOwner, Bundle, BundleMount, BundleSource, Judged};
use crate::host::path_of;
use crate::sabotage::{defence, place};
use crate::sys::{self, MountAttr};

/// Unattached mounts in the order they travel to the child: the state folder, the layers, a
/// ready sysfs and procfs if there are, the nodes of devices if there are, the binds.
#[derive(Debug)]
pub(crate) struct Trees {
    /// The folder with `upper` and `work`.
    pub(crate) state: OwnedFd,
    /// The layers, the top one first.
    pub(crate) lowers: Vec<OwnedFd>,
    /// A sysfs of the joined network namespace.
    pub(crate) sysfs: Option<OwnedFd>,
    /// A procfs of the host.
    pub(crate) proc: Option<OwnedFd>,
    /// The nodes of the description's devices, by their places in it.
    pub(crate) nodes: Option<OwnedFd>,
    /// One for each bind of the description, and one for each layer of an image in it.
    pub(crate) binds: Vec<OwnedFd>,
}

/// Which of the mounts that are not always there are.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct With {
    /// [`Trees::sysfs`].
    pub(crate) sysfs: bool,
    /// [`Trees::proc`].
    pub(crate) proc: bool,
}

impl Trees {
    /// Copies every mount the container needs; `userns` maps the ids.
    pub(crate) fn open(
        bundle: &Bundle,
        userns: Option<BorrowedFd<'_>>,
        sysfs: Option<OwnedFd>,
        proc: Option<OwnedFd>,
    ) -> Result<Trees, SetupError> {
        let state = layer(rootfs::state_of(&bundle.rootfs)?, userns, 0)?;
        let read_only = u64::from(fs::RDONLY.bits());
        let lowers = bundle.rootfs.lowers.iter().map(|path| layer(path, userns, read_only));
        let lowers = lowers.collect::<Result<_, _>>()?;
        let owned = owner_of(bundle).map(|owner| idmap::of_owner(&owner, bundle.id_base));
        let owned = owned.transpose()?;
        let mut binds = Vec::new();
        for mount in &bundle.mounts {
            match &mount.source {
                BundleSource::Bind { owner, .. } => {
                    let owned = owned.as_ref().filter(|_| owner.is_some()).map(AsFd::as_fd);
                    binds.push(bind(mount, owned.or(userns), bundle.privileged)?);
                }
                BundleSource::Image { lowers, .. } => {
                    for path in lowers {
                        binds.push(layer(path, userns, read_only)?);
                    }
                }
                BundleSource::Tmpfs { .. } => {}
            }
        }
        Ok(Trees { state, lowers, sysfs, proc, nodes: devices::nodes(bundle)?, binds })
    }

    /// As one row of descriptors.
    pub(crate) fn into_fds(self) -> Vec<OwnedFd> {
        let first = std::iter::once(self.state);
        let kernels = self.sysfs.into_iter().chain(self.proc).chain(self.nodes);
        first.chain(self.lowers).chain(kernels).chain(self.binds).collect()
    }

    /// Out of the row that [`Trees::into_fds`] made for this description.
    pub(crate) fn from_fds(
        bundle: &Bundle,
        with: With,
        fds: Vec<OwnedFd>,
    ) -> Result<Trees, SetupError> {
        let layers = bundle.rootfs.lowers.len();
        let binds: usize = bundle.mounts.iter().map(trees_of).sum();
        let with_nodes = !bundle.devices.is_empty();
        let kernels = [with.sysfs, with.proc, with_nodes].iter().filter(|with| **with).count();
        if fds.len() != 1 + layers + kernels + binds {
            return Err(SetupError::refused(
                "receive mounts",
                &bundle.name,
                "their number is wrong",
            ));
        }
        let mut fds = fds.into_iter();
        let mut next = || fds.next().ok_or(Errno::BADF).step("receive mounts", "");
        Ok(Trees {
            state: next()?,
            lowers: (0..layers).map(|_| next()).collect::<Result<_, _>>()?,
            sysfs: if with.sysfs { Some(next()?) } else { None },
            proc: if with.proc { Some(next()?) } else { None },
            nodes: if with_nodes { Some(next()?) } else { None },
            binds: fds.collect(),
        })
    }
}

/// A copy of a layer's mount, without what is mounted below it.
fn layer(
    path: &std::path::Path,
    userns: Option<BorrowedFd<'_>>,
    set: u64,
) -> Result<OwnedFd, SetupError> {
    let object = path.display();
    let tree = fs::copy_of_path(path).step("open layer", object)?;
    let propagation = libc::MS_PRIVATE;
    let attr = MountAttr { set, propagation, idmap: userns, recursive: false };
    sys::mount_setattr(tree.as_fd(), &attr).step("map ids of layer", path.display())?;
    Ok(tree)
}

/// How many unattached mounts a mount is made of.
fn trees_of(mount: &BundleMount) -> usize {
    match &mount.source {
        BundleSource::Bind { .. } => 1,
        BundleSource::Image { lowers, .. } => lowers.len(),
        BundleSource::Tmpfs { .. } => 0,
    }
}

/// Whose the files of its binds are, if somebody's of the host: they are one user's.
fn owner_of(bundle: &Bundle) -> Option<BindOwner> {
    bundle.mounts.iter().find_map(|mount| match &mount.source {
        BundleSource::Bind { owner, .. } => *owner,
        BundleSource::Image { .. } | BundleSource::Tmpfs { .. } => None,
    })
}

/// A copy of the host's mount with the attributes it will have, so that it is never seen without.
fn bind(
    mount: &BundleMount,
    userns: Option<BorrowedFd<'_>>,
    privileged: bool,
) -> Result<OwnedFd, SetupError> {
    let BundleSource::Bind {
        path,
        below,
        idmap,
        recursive,
        writable_below,
        propagation,
        dev,
        owner,
        judged,
    } = &mount.source
    else {
        return Err(SetupError::refused("bind", &mount.target, "it is not a bind"));
    };
    let object = path.display();
    let source = open_source(path, below.as_deref(), judged.as_ref())?;
    refuse_private(&source, propagation.as_deref(), path)?;
    let tree = fs::copy_of(&source, *recursive).step("bind", &object)?;
    spread(&tree, *recursive, propagation.as_deref()).step("set propagation of bind", &object)?;
    let mut attr = MountAttr { recursive: *recursive, ..MountAttr::default() };
    if !privileged {
        attr.set |= u64::from(fs::NOSUID.bits());
        if !dev {
            attr.set |= u64::from(fs::NODEV.bits());
        }
    }
    if mount.read_only && !writable_below {
        attr.set |= u64::from(fs::RDONLY.bits());
    }
    sys::mount_setattr(tree.as_fd(), &attr).step("set attributes of bind", &object)?;
    if mount.read_only && *writable_below {
        fs::set(&tree, fs::RDONLY, false).step("make read-only", &object)?;
    }
    if let Some(userns) = userns.filter(|_| *idmap || owner.is_some()) {
        let attr = MountAttr { idmap: Some(userns), recursive: *recursive, ..MountAttr::default() };
        sys::mount_setattr(tree.as_fd(), &attr).step("map ids of bind", &object)?;
    }
    Ok(tree)
}

/// What is mounted is what the policy judged, also if somebody has put another thing at its path.
fn refuse_swapped(
    source: &OwnedFd,
    path: &std::path::Path,
    judged: &Judged,
) -> Result<(), SetupError> {
    let now = path_of(source).unwrap_or_default();
    let found = fstat(source).step("bind", path.display())?;
    let same = judged.object.is_none_or(|object| object == (found.st_dev, found.st_ino));
    if now == judged.real && same {
        return Ok(());
    }
    let was = match now == judged.real {
        true => "it is another thing than the one that was judged".to_owned(),
        false => format!("it leads to `{}` now, not to `{}`", now.display(), judged.real.display()),
    };
    let reason = format!("{was}: `berth up` judges it anew");
    Err(SetupError::refused("bind", path.display(), reason))
}

/// Opens what is to be bound: a path of the host, or a part of it, which cannot lead out of it.
fn open_source(
    path: &std::path::Path,
    below: Option<&str>,
    judged: Option<&Judged>,
) -> Result<OwnedFd, SetupError> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let source = openat(CWD, path, flags, Mode::empty()).step("bind", path.display())?;
    if let Some(judged) = judged {
        refuse_swapped(&source, path, judged)?;
    }
    match below {
        None => Ok(source),
        Some(below) => {
            let object = || path.join(below).display().to_string();
            inside::beneath(source.as_fd(), below).map_err(|errno| match errno {
                Errno::XDEV => SetupError::refused("bind", object(), "it leads out of the volume"),
                other => SetupError::kernel("bind", object(), &other.into()),
            })
        }
    }
}

/// How mounts made later come and go between a copy and what it was copied from (mount(8)): a word
/// without `r` leaves the mounts below receiving.
fn spread(tree: &OwnedFd, recursive: bool, word: Option<&str>) -> std::io::Result<()> {
    let set = |propagation, recursive| {
        let attr = MountAttr { propagation, recursive, ..MountAttr::default() };
        sys::mount_setattr(tree.as_fd(), &attr)
    };
    match word {
        None | Some("rprivate") => set(libc::MS_PRIVATE, recursive),
        Some("private") => {
            set(libc::MS_SLAVE, recursive)?;
            set(libc::MS_PRIVATE, false)
        }
        Some("slave" | "rslave") => set(libc::MS_SLAVE, recursive),
        Some("shared" | "rshared") => set(libc::MS_SHARED, recursive),
        Some(other) => Err(std::io::Error::other(format!("unknown propagation `{other}`"))),
    }
}

/// Mounts can only travel between this bind and a mount that the host shares.
fn refuse_private(
    source: &OwnedFd,
    propagation: Option<&str>,
    path: &std::path::Path,
) -> Result<(), SetupError> {
    const STEP: &str = "set propagation of bind";
    let accepted: &[&str] = match propagation {
        Some("shared" | "rshared") => &["shared:"],
        Some("slave" | "rslave") => &["shared:", "master:"],
        _ => return Ok(()),
    };
    let (flags, mask) = (rustix::fs::AtFlags::EMPTY_PATH, rustix::fs::StatxFlags::MNT_ID);
    let id = rustix::fs::statx(source, "", flags, mask).step(STEP, path.display())?.stx_mnt_id;
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").step(STEP, path.display())?;
    let id = id.to_string();
    let line = mounts.lines().find(|line| line.split(' ').next() == Some(&id)).unwrap_or_default();
    if line
        .split(' ')
        .skip(6)
        .take_while(|field| *field != "-")
        .any(|field| accepted.iter().any(|accepted| field.starts_with(accepted)))
    {
        return Ok(());
    }
    let reason = format!(
        "`{}` needs a source on a shared mount of the host (`mount --make-rshared`)",
        propagation.unwrap_or_default()
    );
    Err(SetupError::refused(STEP, path.display(), reason))
}

/// Puts the device nodes in place. `nodes` is attached.
pub(crate) fn put_nodes(
    root: BorrowedFd<'_>,
    dev: BorrowedFd<'_>,
    bundle: &Bundle,
    nodes: &OwnedFd,
) -> Result<(), SetupError> {
    let kernels = Kernels { root, dev };
    for (index, device) in bundle.devices.iter().enumerate() {
        let target = &device.target;
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let node = openat(nodes, index.to_string(), flags, Mode::empty()).step("mount", target)?;
        let node = fs::copy_of(&node, false).step("mount", target)?;
        let place = inside::make(root, target, Kind::File)?;
        kernels.refuse(&place, bundle.privileged, true, target)?;
        fs::put_on(&node, &place).step("mount", target)?;
    }
    Ok(())
}

/// A mount of the description, not put in place yet.
#[derive(Debug)]
pub(crate) struct Prepared<'a> {
    mount: &'a BundleMount,
    tree: OwnedFd,
    kind: Kind,
}

/// Prepares the description's mounts.
pub(crate) fn prepare<'a>(
    scratch: &Scratch,
    bundle: &'a Bundle,
    binds: Vec<OwnedFd>,
) -> Result<Vec<Prepared<'a>>, SetupError> {
    let mut binds = binds.into_iter();
    let mut all = Vec::with_capacity(bundle.mounts.len());
    for (index, mount) in bundle.mounts.iter().enumerate() {
        let target = &mount.target;
        let (tree, kind) = match &mount.source {
            BundleSource::Bind { path, .. } => {
                let tree = binds.next().ok_or(Errno::BADF).step("bind", target)?;
                let kind = kind_of(&tree).step("bind", path.display())?;
                (tree, kind)
            }
            BundleSource::Image { lowers, below } => {
                let layers: Vec<OwnedFd> = binds.by_ref().take(lowers.len()).collect();
                let tree = image(scratch, index, &layers, below.as_deref())?;
                let kind = kind_of(&tree).step("mount image", target)?;
                (tree, kind)
            }
            BundleSource::Tmpfs { size, mode, options } => {
                (tmpfs(target, *size, *mode, options, mount.read_only)?, Kind::Folder)
            }
        };
        all.push(Prepared { mount, tree, kind });
    }
    Ok(all)
}

/// Takes out the first mount that others receive mounts from, and what is to be put in place after
/// it: a copy of it in a namespace with another owner would only receive them.
pub(crate) fn from_shared_on<'a>(all: &mut Vec<Prepared<'a>>) -> Vec<Prepared<'a>> {
    let is_shared = |prepared: &Prepared<'_>| match &prepared.mount.source {
        BundleSource::Bind { propagation, .. } => {
            matches!(propagation.as_deref(), Some("shared" | "rshared"))
        }
        BundleSource::Image { .. } | BundleSource::Tmpfs { .. } => false,
    };
    let first = all.iter().position(is_shared).unwrap_or(all.len());
    all.split_off(first)
}

/// Puts mounts in place, in their order.
pub(crate) fn put_all(
    root: BorrowedFd<'_>,
    dev: BorrowedFd<'_>,
    bundle: &Bundle,
    mounts: Vec<Prepared<'_>>,
) -> Result<(), SetupError> {
    let kernels = Kernels { root, dev };
    for Prepared { mount, tree, kind } in mounts {
        let target = &mount.target;
        let is_node = matches!(mount.source, BundleSource::Bind { dev: true, .. });
        let place =
            defence!("mount.beneath", inside::make(root, target, kind)?, by_text(target, kind)?);
        defence!(
            "mount.kernel_files",
            kernels.refuse(&place, bundle.privileged, is_node, target)?,
            ()
        );
        place!("mount.resolved");
        let again = defence!("mount.once", place, by_text(target, kind)?);
        fs::put_on(&tree, &again).step("mount", target)?;
    }
    Ok(())
}

pub(super) fn kind_of(tree: &OwnedFd) -> Result<Kind, Errno> {
    let is_folder = FileType::from_raw_mode(fstat(tree)?.st_mode).is_dir();
    Ok(if is_folder { Kind::Folder } else { Kind::File })
}

/// The files of an image, or a part of them: links in it mean what they mean in the image.
pub(super) fn image(
    scratch: &Scratch,
    index: usize,
    layers: &[impl AsFd],
    below: Option<&str>,
) -> Result<OwnedFd, SetupError> {
    const STEP: &str = "mount image";
    let root = scratch.image(index, layers)?;
    let part = match below {
        Some(below) => inside::open(root.as_fd(), below, OFlags::PATH).step(STEP, below)?,
        None => root,
    };
    let tree = fs::copy_of(&part, false).step(STEP, below.unwrap_or("/"))?;
    let attr = fs::RDONLY | fs::NOSUID | fs::NODEV;
    fs::set(&tree, attr, false).step(STEP, below.unwrap_or("/"))?;
    Ok(tree)
}

/// Where a program would mount that joins the target to the root.
#[cfg(feature = "sabotage")]
fn by_text(target: &str, kind: Kind) -> Result<OwnedFd, SetupError> {
    crate::sabotage::naive::target(target, kind).step("open mount target", target)
}

/// What no mount of a description may cover.
struct Kernels<'a> {
    root: BorrowedFd<'a>,
    dev: BorrowedFd<'a>,
}

impl Kernels<'_> {
    /// The root itself, the kernel's file systems, and `/dev` but for the nodes that were asked for
    /// and the shared memory, which is a mount of its own.
    fn refuse(
        &self,
        place: &OwnedFd,
        privileged: bool,
        is_node: bool,
        target: &str,
    ) -> Result<(), SetupError> {
        let stat = |fd| fstat(fd).step("mount", target);
        let (root, dev, at) = (stat(self.root)?, stat(self.dev)?, stat(place.as_fd())?);
        if (root.st_dev, root.st_ino) == (at.st_dev, at.st_ino) {
            return Err(SetupError::refused("mount", target, "the root cannot be covered"));
        }
        if privileged {
            return Ok(());
        }
        let of_kernel = is_the_kernels(place).step("mount", target)?;
        if of_kernel || (dev.st_dev == at.st_dev && !is_node) {
            let reason = "nothing can be mounted in `/proc`, `/sys` or `/dev` of an unprivileged \
                          container";
            return Err(SetupError::refused("mount", target, reason));
        }
        Ok(())
    }
}

/// It lies on a file system of the kernel's, or covers such a place already, as `/sys/fs/cgroup` of
/// a host with several hierarchies.
fn is_the_kernels(place: &OwnedFd) -> Result<bool, rustix::io::Errno> {
    if inside::is_kernel_file_system(place.as_fd())? {
        return Ok(true);
    }
    match openat(place, "..", OFlags::PATH | OFlags::CLOEXEC, Mode::empty()) {
        Ok(above) => inside::is_kernel_file_system(above.as_fd()),
        Err(rustix::io::Errno::NOTDIR) => Ok(false),
        Err(error) => Err(error),
    }
}

fn tmpfs(
    target: &str,
    size: Option<u64>,
    mode: u32,
    options: &[String],
    read_only: bool,
) -> Result<OwnedFd, SetupError> {
    let mut attr = fs::NOSUID | fs::NODEV | fs::NOEXEC;
    if read_only {
        attr |= fs::RDONLY;
    }
    let mut settings = vec![format!("mode={mode:o}")];
    settings.extend(size.map(|bytes| format!("size={bytes}")));
    for option in options {
        match option.as_str() {
            "exec" => attr.remove(fs::NOEXEC),
            "suid" => attr.remove(fs::NOSUID),
            "dev" => attr.remove(fs::NODEV),
            "noatime" => attr.insert(fs::NOATIME),
            "nodiratime" => attr.insert(fs::NODIRATIME),
            "strictatime" => attr.insert(fs::STRICTATIME),
            "atime" | "defaults" | "diratime" | "relatime" => {}
            "noexec" | "nosuid" | "nodev" | "rw" => {}
            "ro" => attr |= fs::RDONLY,
            other => settings.push(other.to_owned()),
        }
    }
    let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
    let made = fs::new("tmpfs", &settings, attr);
    made.map_err(|error| SetupError { object: format!("{target} ({})", error.object), ..error })
}
