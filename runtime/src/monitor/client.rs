//! The other end of a monitor's socket, for commands.
//!
//! Every function fails when there is no monitor, or when it dies before it has answered: then
//! [`super::kill_unmonitored`] or an adoption is what helps.

use std::io::{self, Error, ErrorKind};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use rustix::fs::{CWD, FlockOperation, Mode, OFlags, flock, openat};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

use super::protocol::{self, Frame, Reply, Request};
use super::{LOCK, SOCKET, UPKEEP, WIRING};
use crate::bundle::{Cgroup, Restart, Status, Upkeep, Wiring};
use crate::record::{self, Durability};

/// How long a monitor that is alive may take to answer what it can answer at once.
const PATIENCE: Duration = Duration::from_secs(10);

/// Whether the container of this run folder has a monitor that lives.
pub fn is_monitored(run_dir: &Path) -> bool {
    is_monitored_at(CWD, run_dir)
}

/// As [`is_monitored`], the path as seen from another folder.
pub(crate) fn is_monitored_at(folder: impl AsFd, run_dir: &Path) -> bool {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    match openat(folder, run_dir.join(LOCK), flags, Mode::empty()) {
        // Only a monitor holds it exclusively; two of us may ask at the same time.
        Ok(file) => flock(&file, FlockOperation::NonBlockingLockShared).is_err(),
        Err(_) => false,
    }
}

/// The status as the monitor has it.
///
/// # Errors
/// There is no monitor, or it does not answer.
pub async fn status(run_dir: &Path) -> io::Result<Status> {
    match Connection::ask(run_dir, &Request::Status).await?.1 {
        Reply::Status(status) => Ok(*status),
        other => Err(unexpected(&other)),
    }
}

/// The status now and at every change.
///
/// # Errors
/// There is no monitor, or it does not answer.
pub async fn subscribe(run_dir: &Path) -> io::Result<Updates> {
    let (connection, reply) = Connection::ask(run_dir, &Request::Subscribe).await?;
    match reply {
        Reply::Status(status) => Ok(Updates { first: Some(*status), connection }),
        other => Err(unexpected(&other)),
    }
}

/// Changes of a status, see [`subscribe`].
pub struct Updates {
    first: Option<Status>,
    connection: Connection,
}

impl Updates {
    /// The next status. `None` when the monitor is gone: if the last one was not `Exited`, it was
    /// killed.
    pub async fn next(&mut self) -> Option<Status> {
        if let Some(first) = self.first.take() {
            return Some(first);
        }
        match self.connection.reply().await {
            Ok(Reply::Status(status)) => Some(*status),
            Ok(_) | Err(_) => None,
        }
    }
}

/// Ends the container for good and waits until it has ended and its monitor too.
///
/// `grace` is the time until SIGKILL; `None` takes the container's own. `hold` notes that the user
/// wants it to stay stopped.
///
/// # Errors
/// There is no monitor, or it died before the container had ended; `TimedOut` when it hangs.
pub async fn stop(run_dir: &Path, grace: Option<Duration>, hold: bool) -> io::Result<Status> {
    // The end may take as long as it likes, so a monitor that hangs is found out before.
    status(run_dir).await?;
    let grace_ms = grace.map(|grace| u64::try_from(grace.as_millis()).unwrap_or(u64::MAX));
    let mut connection = Connection::open(run_dir).await?;
    connection.send(&Request::Stop { grace_ms, hold }).await?;
    let status = match connection.reply().await? {
        Reply::Status(status) => *status,
        other => return Err(unexpected(&other)),
    };
    // The monitor's last descriptor closes when it is gone, its lock before.
    connection.end().await?;
    Ok(status)
}

/// Sends signal `number` to the container's first process.
///
/// # Errors
/// There is no monitor, the container does not run, or there is no such signal.
pub async fn signal(run_dir: &Path, number: i32) -> io::Result<()> {
    done(Connection::ask(run_dir, &Request::Signal { number }).await?.1)
}

/// Gives the container other limits and another restart policy, other links, names and ports, and
/// another upkeep; it runs on.
///
/// # Errors
/// There is no monitor, or the host refuses some of it; everything is as before then.
pub async fn update(
    run_dir: &Path,
    (cgroup, restart): (Cgroup, Restart),
    wiring: Option<Wiring>,
    upkeep: Option<Upkeep>,
) -> io::Result<()> {
    if let Some(wiring) = &wiring {
        record::write(&run_dir.join(WIRING), wiring, Durability::Volatile)?;
    }
    if let Some(upkeep) = &upkeep {
        record::write(&run_dir.join(UPKEEP), upkeep, Durability::Volatile)?;
    }
    let (rewire, keep) = (wiring.is_some(), upkeep.is_some());
    let request = Request::Update { cgroup: Box::new(cgroup), restart, rewire, keep };
    done(Connection::ask(run_dir, &request).await?.1)
}

/// Gives a container that runs beside another ports and names of that one.
///
/// # Errors
/// There is no monitor, it serves already, or the host refuses; the other one serves then.
pub async fn take_over(run_dir: &Path, from: &str) -> io::Result<()> {
    let request = Request::TakeOver { from: from.to_owned() };
    done(Connection::ask(run_dir, &request).await?.1)
}

/// Stops all processes of the container where they are, until [`Frozen::thaw`], or until the value
/// or the whole of us is gone. They stand a moment after this returns.
///
/// # Errors
/// There is no monitor, or the container does not run, or is to end.
pub async fn freeze(run_dir: &Path) -> io::Result<Frozen> {
    let (connection, reply) = Connection::ask(run_dir, &Request::Freeze).await?;
    done(reply).map(|()| Frozen { connection })
}

/// Stops all processes of the container where they are, until [`unpause`] or its end.
///
/// # Errors
/// There is no monitor, or the container does not run, is paused, or is to end.
pub async fn pause(run_dir: &Path) -> io::Result<()> {
    done(Connection::ask(run_dir, &Request::Pause).await?.1)
}

/// Lets a paused container run on.
///
/// # Errors
/// There is no monitor, or the container is not paused.
pub async fn unpause(run_dir: &Path) -> io::Result<()> {
    done(Connection::ask(run_dir, &Request::Unpause).await?.1)
}

/// A container that stands still, see [`freeze`].
pub struct Frozen {
    connection: Connection,
}

impl Frozen {
    /// Lets its processes run on.
    ///
    /// # Errors
    /// They may have run before: the container was to end, or its monitor is gone.
    pub async fn thaw(mut self) -> io::Result<()> {
        done(within(self.connection.request(&Request::Thaw)).await?)
    }
}

/// Tells the container's terminal its size.
///
/// # Errors
/// There is no monitor, or the container has no terminal.
pub async fn resize(run_dir: &Path, rows: u16, columns: u16) -> io::Result<()> {
    done(Connection::ask(run_dir, &Request::Resize { rows, columns }).await?.1)
}

/// Attaches to the container's output, from now on, and to its input.
///
/// # Errors
/// There is no monitor, or it does not answer.
pub async fn attach(run_dir: &Path) -> io::Result<Attached> {
    let (connection, reply) = Connection::ask(run_dir, &Request::Attach).await?;
    let Reply::Attached { tty } = reply else { return Err(unexpected(&reply)) };
    Ok(Attached {
        tty,
        output: AttachedOutput { buffer: Vec::new(), reader: connection.reader },
        input: AttachedInput { writer: connection.writer },
    })
}

/// An attached client's two directions.
pub struct Attached {
    /// The container has a terminal.
    pub tty: bool,
    /// What it writes.
    pub output: AttachedOutput,
    /// What it reads.
    pub input: AttachedInput,
}

/// What an attached container writes.
pub struct AttachedOutput {
    buffer: Vec<u8>,
    reader: BufReader<OwnedReadHalf>,
}

impl AttachedOutput {
    /// The next piece of output. [`Frame::Exit`] is the last; `None` without it means that the
    /// monitor died, or that it dropped us because we read too slowly.
    ///
    /// # Errors
    /// What the socket answers.
    pub async fn next(&mut self) -> io::Result<Option<Frame>> {
        loop {
            match Frame::take(&mut self.buffer).map_err(Error::other)? {
                Some(frame) => return Ok(Some(frame)),
                None if self.reader.read_buf(&mut self.buffer).await? == 0 => return Ok(None),
                None => {}
            }
        }
    }
}

/// What an attached container reads.
pub struct AttachedInput {
    writer: OwnedWriteHalf,
}

impl AttachedInput {
    /// Sends bytes to its standard input. They are dropped when its input is not kept open.
    ///
    /// # Errors
    /// What the socket answers.
    pub async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        for part in bytes.chunks(protocol::LONGEST) {
            self.send(Frame::Input(part.to_vec())).await?;
        }
        Ok(())
    }

    /// Ends its standard input.
    ///
    /// # Errors
    /// What the socket answers.
    pub async fn end(&mut self) -> io::Result<()> {
        self.send(Frame::Input(Vec::new())).await
    }

    async fn send(&mut self, frame: Frame) -> io::Result<()> {
        let mut bytes = Vec::new();
        frame.append(&mut bytes);
        self.writer.write_all(&bytes).await
    }
}

struct Connection {
    reader: BufReader<OwnedReadHalf>,
    writer: OwnedWriteHalf,
}

impl Connection {
    /// Connects by a descriptor of the folder: its path may be longer than a socket's may.
    async fn open(run_dir: &Path) -> io::Result<Connection> {
        let dir = std::fs::OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_PATH | libc::O_DIRECTORY)
            .open(run_dir)?;
        let path = format!("/proc/self/fd/{}/{SOCKET}", dir.as_raw_fd());
        let (reader, writer) = UnixStream::connect(path).await?.into_split();
        Ok(Connection { reader: BufReader::new(reader), writer })
    }

    /// Connects, asks, and gives the first answer.
    async fn ask(run_dir: &Path, request: &Request) -> io::Result<(Connection, Reply)> {
        let asked = async {
            let mut connection = Connection::open(run_dir).await?;
            let reply = connection.request(request).await?;
            Ok((connection, reply))
        };
        within(asked).await
    }

    async fn request(&mut self, request: &Request) -> io::Result<Reply> {
        self.send(request).await?;
        self.reply().await
    }

    async fn send(&mut self, request: &Request) -> io::Result<()> {
        self.writer.write_all(&protocol::line(request)).await
    }

    async fn reply(&mut self) -> io::Result<Reply> {
        let mut line = Vec::new();
        if self.reader.read_until(b'\n', &mut line).await? == 0 {
            return Err(Error::new(ErrorKind::UnexpectedEof, "the monitor is gone"));
        }
        serde_json::from_slice(&line).map_err(Error::other)
    }

    /// Waits until the monitor has closed the connection.
    async fn end(&mut self) -> io::Result<()> {
        let mut rest = [0; 64];
        loop {
            match self.reader.read(&mut rest).await {
                Ok(0) => return Ok(()),
                Ok(_) => {}
                Err(e) if e.kind() == ErrorKind::ConnectionReset => return Ok(()),
                Err(e) => return Err(e),
            }
        }
    }
}

/// What a monitor that is alive answers at once.
async fn within<T>(answer: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    tokio::time::timeout(PATIENCE, answer).await.map_err(|_| ErrorKind::TimedOut)?
}

fn done(reply: Reply) -> io::Result<()> {
    match reply {
        Reply::Done => Ok(()),
        other => Err(unexpected(&other)),
    }
}

fn unexpected(reply: &Reply) -> Error {
    match reply {
        Reply::Refused { reason } => Error::other(reason.clone()),
        Reply::Status(_) | Reply::Done | Reply::Ports { .. } | Reply::Attached { .. } => {
            Error::other("the monitor gave an answer to something else")
        }
    }
}
