//! A conversation with a container over its monitor: input, output, signals, size, and its end.

use std::io::{self, Read, Write};
use std::path::Path;

use berth_runtime::monitor::Frame;
use berth_runtime::monitor::client::{self, AttachedInput};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot};

use crate::failure::Failure;
use crate::signals::Signals;
use crate::terminal::{self, Raw};
use crate::values::keys::{Keys, Listener};

/// Bytes of input carried at once.
const PIECE: usize = 16 << 10;

/// What a conversation has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ways {
    /// The container has a terminal, shown on ours.
    pub(crate) tty: bool,
    /// Our standard input goes to the container.
    pub(crate) input: bool,
    /// Signals go to the container; else they end the conversation.
    pub(crate) signals: bool,
    /// What is typed on a terminal to leave.
    pub(crate) keys: Keys,
}

/// How a conversation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Parted {
    /// The container has ended with this status.
    Ended(i32),
    /// The user has left; the container runs on.
    Left,
    /// A signal ended it; the container runs on.
    Signal(i32),
}

/// What is said when the user has left.
pub(crate) fn farewell(name: &str) -> String {
    format!("detached: `{name}` runs on")
}

/// Talks until the container has ended or the user leaves.
pub(crate) async fn converse(run_dir: &Path, ways: &Ways) -> Result<Parted, Failure> {
    let refused = |e: io::Error| Failure::refused(format!("attach to the container: {e}"));
    let client::Attached { tty, mut output, input } =
        client::attach(run_dir).await.map_err(refused)?;
    let on_terminal = tty && ways.tty && terminal::is_interactive();
    let _raw = match on_terminal {
        true => Some(Raw::enter().map_err(refused)?),
        false => None,
    };
    let mut signals = Signals::listen()?;
    let mut resized = signal(SignalKind::window_change()).map_err(refused)?;
    if on_terminal {
        tell_size(run_dir).await;
    }
    let listener = on_terminal.then(|| Listener::new(ways.keys.clone()));
    let (leave, left) = oneshot::channel();
    // Dropped, it would tell the monitor that we are gone.
    let mut unused = Some(input);
    let input = ways.input.then(|| unused.take()).flatten();
    let mut may_leave = input.is_some();
    let _input = input.map(|input| Input::carry(input, listener, leave));
    tokio::pin!(left);
    loop {
        tokio::select! {
            told = &mut left, if may_leave => match told {
                Ok(()) => return Ok(Parted::Left),
                // The container takes no more input, which is no reason to leave.
                Err(_) => may_leave = false,
            },
            frame = output.next() => match frame.map_err(refused)? {
                Some(Frame::Stdout(bytes)) => write(&mut io::stdout().lock(), &bytes)?,
                Some(Frame::Stderr(bytes)) => write(&mut io::stderr().lock(), &bytes)?,
                Some(Frame::Exit(code)) => {
                    // Its end is the end of the monitor, after which the container can be removed.
                    while let Ok(Some(_)) = output.next().await {}
                    return Ok(Parted::Ended(code));
                }
                Some(Frame::Input(_)) => {}
                None => return Err(Failure::refused("the monitor of the container is gone")),
            },
            number = signals.next() => {
                if !ways.signals {
                    return Ok(Parted::Signal(number));
                }
                // One that has just ended needs no signal.
                let _ = client::signal(run_dir, number).await;
            }
            _ = resized.recv(), if on_terminal => tell_size(run_dir).await,
        }
    }
}

/// The size of our terminal. A program that draws is told twice, of another size first, so that it
/// draws all of it anew for somebody who has just come.
pub(crate) async fn redraw(run_dir: &Path) {
    if let Some((rows, columns)) = terminal::size() {
        let _ = client::resize(run_dir, rows.saturating_add(1), columns).await;
        let _ = client::resize(run_dir, rows, columns).await;
    }
}

async fn tell_size(run_dir: &Path) {
    if let Some((rows, columns)) = terminal::size() {
        let _ = client::resize(run_dir, rows, columns).await;
    }
}

fn write(to: &mut impl Write, bytes: &[u8]) -> Result<(), Failure> {
    to.write_all(bytes)?;
    to.flush()?;
    Ok(())
}

/// Carries our standard input to a container for as long as it lives.
struct Input(tokio::task::JoinHandle<()>);

impl Input {
    /// Standard input is read by a thread of its own, which ends with the program: a read(2)
    /// that waits for a key cannot be taken back.
    fn carry(
        mut to: AttachedInput,
        mut listener: Option<Listener>,
        leave: oneshot::Sender<()>,
    ) -> Input {
        let (sender, mut pieces) = mpsc::channel::<Vec<u8>>(4);
        std::thread::spawn(move || {
            let mut piece = vec![0; PIECE];
            while let Ok(length @ 1..) = io::stdin().lock().read(&mut piece) {
                if sender.blocking_send(piece[..length].to_vec()).is_err() {
                    break;
                }
            }
        });
        Input(tokio::spawn(async move {
            while let Some(mut piece) = pieces.recv().await {
                let mut leaves = false;
                if let Some(listener) = &mut listener {
                    (piece, leaves) = listener.hear(&piece);
                }
                if !piece.is_empty() && to.write(&piece).await.is_err() {
                    return;
                }
                if leaves {
                    let _ = leave.send(());
                    std::future::pending::<()>().await;
                    return;
                }
            }
            // The container may have ended already.
            let _ = to.end().await;
            // A closed connection would mean that we are gone; it stays until this is aborted.
            std::future::pending::<()>().await;
        }))
    }
}

impl Drop for Input {
    fn drop(&mut self) {
        self.0.abort();
    }
}
