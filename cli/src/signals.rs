//! What the user tells a running command: SIGINT (Ctrl-C), SIGTERM, SIGHUP.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::failure::Failure;

/// The signals that end a command, one after the other.
#[derive(Debug)]
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

/// Whether these signals are ours to hear: they never again end us by themselves.
static HEARD: AtomicBool = AtomicBool::new(false);

impl Signals {
    /// Those that come from now on, if they do not end us by themselves any more.
    pub(crate) fn listen_on() -> Result<Option<Signals>, Failure> {
        HEARD.load(Ordering::Relaxed).then(Signals::listen).transpose()
    }

    /// From now on these signals are ours to hear.
    pub(crate) fn listen() -> Result<Signals, Failure> {
        HEARD.store(true, Ordering::Relaxed);
        let on =
            |kind| signal(kind).map_err(|e| Failure::refused(format!("listen for signals: {e}")));
        Ok(Signals {
            interrupt: on(SignalKind::interrupt())?,
            terminate: on(SignalKind::terminate())?,
            hangup: on(SignalKind::hangup())?,
        })
    }

    /// The number of one that has come already.
    pub(crate) async fn heard(&mut self) -> Option<i32> {
        tokio::select! {
            biased;
            number = self.next() => Some(number),
            () = std::future::ready(()) => None,
        }
    }

    /// Waits for the next one and gives its number.
    pub(crate) async fn next(&mut self) -> i32 {
        tokio::select! {
            _ = self.interrupt.recv() => 2,
            _ = self.terminate.recv() => 15,
            _ = self.hangup.recv() => 1,
        }
    }
}
