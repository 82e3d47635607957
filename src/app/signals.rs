//! The signals that the process reacts to. Of several signals of one kind that
//! arrive before the control thread looks, one is seen, as always with Unix
//! signals.

use std::io;

use tokio::signal::unix::{self, SignalKind, signal};

/// A request by signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Signal {
    /// SIGTERM or SIGINT: drain and end.
    Stop,
    /// SIGHUP: read the configuration again.
    Reload,
    /// SIGUSR2: start a new process that takes over.
    Upgrade,
}

/// The handlers of these signals.
pub(super) struct Signals {
    /// SIGHUP.
    reload: unix::Signal,
    /// SIGTERM.
    terminate: unix::Signal,
    /// SIGINT.
    interrupt: unix::Signal,
    /// SIGUSR2.
    upgrade: unix::Signal,
}

impl Signals {
    /// Installs the handlers. From now on the signals do not end the process by
    /// themselves.
    ///
    /// # Errors
    /// The system refuses a handler.
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            reload: signal(SignalKind::hangup())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            upgrade: signal(SignalKind::user_defined2())?,
        })
    }

    /// Waits for the next signal. Cancel safe.
    pub(super) async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.terminate.recv() => Signal::Stop,
            _ = self.interrupt.recv() => Signal::Stop,
            _ = self.reload.recv() => Signal::Reload,
            _ = self.upgrade.recv() => Signal::Upgrade,
        }
    }

    /// Waits for a signal that ends the process, and ignores the others.
    pub(super) async fn stop(&mut self) {
        while self.next().await != Signal::Stop {}
    }
}
