//! What a program without a defence would do in its place.

use std::collections::BTreeMap;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, IntoRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;

use crate::container::{Kind, open_in_root};

/// Opens a path by its text, whatever lies on the way.
pub(crate) fn open(path: impl AsRef<Path>, flags: OFlags) -> Result<OwnedFd, Errno> {
    openat(CWD, path.as_ref(), flags | OFlags::CLOEXEC, Mode::empty())
}

/// Joins a path of a container to its root as text, and opens that.
pub(crate) fn joined(root: BorrowedFd<'_>, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
    use std::os::fd::AsRawFd;

    let root = format!("/proc/self/fd/{}", root.as_raw_fd());
    open(Path::new(&root).join(path.strip_prefix("/").unwrap_or(path)), flags)
}

/// Sets a kernel setting by its path.
pub(crate) fn set(path: &str, value: &str) -> std::io::Result<()> {
    std::fs::write(format!("/proc/sys/{path}"), value)
}

/// The image's own `/dev/null`, whatever it is.
pub(crate) fn own_null(root: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    use rustix::mount::{OpenTreeFlags, open_tree};

    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::AT_EMPTY_PATH;
    let bare = open_tree(root, "", flags | OpenTreeFlags::OPEN_TREE_CLOEXEC)?;
    let own = open_in_root(bare.as_fd(), "dev/null", OFlags::PATH);
    // The last descriptor of a tree that is mounted nowhere takes it apart.
    let _ = bare.into_raw_fd();
    own
}

/// Leaves a folder of the host open in this process and in those it starts.
pub(crate) fn leave_open() {
    if let Ok(fd) = openat(CWD, "/", OFlags::PATH | OFlags::DIRECTORY, Mode::empty()) {
        let _ = fd.into_raw_fd();
    }
}

/// Joins the target to the root as text, makes what is missing, and follows every link. The root is
/// where [`crate::container`] puts its pieces together.
pub(crate) fn target(target: &str, kind: Kind) -> Result<OwnedFd, Errno> {
    let path = format!("/proc/root{target}");
    let path = Path::new(&path);
    let folder = if kind == Kind::Folder { Some(path) } else { path.parent() };
    let _ = std::fs::create_dir_all(folder.unwrap_or(path));
    if kind == Kind::File {
        let _ = std::fs::File::options().create(true).append(true).open(path);
    }
    open(path, OFlags::PATH)
}

/// Opens a name in a folder, and follows a link there as the container would.
pub(crate) fn follow(parent: BorrowedFd<'_>, name: &str) -> Result<OwnedFd, Errno> {
    open_in_root(parent, name, OFlags::PATH | OFlags::DIRECTORY)
}

/// Reads a file of a root to its end, whatever it is and however long.
pub(crate) fn read(root: BorrowedFd<'_>, path: &str) -> std::io::Result<Option<String>> {
    let mut bytes = Vec::new();
    std::fs::File::from(open_in_root(root, path, OFlags::RDONLY)?).read_to_end(&mut bytes)?;
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}

/// Listens under a name that everybody on the same network finds.
pub(crate) fn listen_in_abstract() {
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::{SocketAddr, UnixListener};

    let name = format!("berth-{}", std::process::id());
    let listener = SocketAddr::from_abstract_name(name).and_then(|at| UnixListener::bind_addr(&at));
    let _ = listener.map(IntoRawFd::into_raw_fd);
}

/// Listens for clients on a port of every address.
pub(crate) fn listen_on_port() {
    if let Ok(listener) = std::net::TcpListener::bind("0.0.0.0:0") {
        let _ = listener.into_raw_fd();
    }
}

/// Opens the firewall of the host's owner.
pub(crate) fn accept_in_theirs() {
    let chains =
        ["inet filter input", "inet filter forward", "ip filter INPUT", "ip filter FORWARD"];
    for chain in chains {
        let words = ["insert", "rule"].into_iter().chain(chain.split(' ')).chain(["accept"]);
        let _ = std::process::Command::new("nft")
            .args(words)
            .stderr(std::process::Stdio::null())
            .status();
    }
}

/// The network of a process, looked up before others of its namespaces.
static NETWORK: std::sync::OnceLock<OwnedFd> = std::sync::OnceLock::new();

/// Looks up the network of a process, to be entered later.
pub(crate) fn keep_network(pid: i32) {
    if let Ok(fd) = open(format!("/proc/{pid}/ns/net"), OFlags::RDONLY) {
        let _ = NETWORK.set(fd);
    }
}

/// Enters the network that was looked up.
pub(crate) fn enter_network() {
    let kind = Some(rustix::thread::LinkNameSpaceType::Network);
    if let Some(fd) = NETWORK.get() {
        let _ = rustix::thread::move_into_link_name_space(fd.as_fd(), kind);
    }
}

/// Asks the container's `ps` about its processes, with the rights of this program.
pub(crate) fn run_ps(pid: &i32) {
    let program = format!("/proc/{pid}/root/bin/ps");
    let _ = std::process::Command::new(program).stdout(std::process::Stdio::null()).status();
}

/// The folders of names of every network there is.
pub(crate) fn all_names(own: &BTreeMap<String, PathBuf>) -> BTreeMap<String, PathBuf> {
    let above = own.values().next().and_then(|path| path.parent());
    let all = above.and_then(|above| std::fs::read_dir(above).ok()).into_iter().flatten().flatten();
    all.map(|entry| (entry.file_name().display().to_string(), entry.path())).collect()
}

/// Waits for the question of a connection before the next one is served.
pub(crate) fn await_question(socket: &std::net::TcpStream) {
    let _ = socket.peek(&mut [0]);
}

/// Reads the name of a question and follows its pointers wherever they lead.
pub(crate) fn read_name(message: &[u8]) {
    let mut at = 12;
    while let Some(length) = message.get(at).map(|length| usize::from(*length))
        && length != 0
    {
        at = match length >= 0xc0 {
            true => (length & 0x3f) << 8 | usize::from(message[at + 1]),
            false => at + 1 + length,
        };
    }
}
