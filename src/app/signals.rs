//! Signals, and what they ask for.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::Event;

/// The signals that the process reacts to.
pub(super) struct Signals {
    reload: Signal,
    terminate: Signal,
    interrupt: Signal,
    upgrade: Signal,
}

impl Signals {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            reload: signal(SignalKind::hangup())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            upgrade: signal(SignalKind::user_defined2())?,
        })
    }

    pub(super) async fn next(&mut self) -> Event {
        tokio::select! {
            _ = self.terminate.recv() => Event::Stop,
            _ = self.interrupt.recv() => Event::Stop,
            _ = self.reload.recv() => Event::Reload(None),
            _ = self.upgrade.recv() => Event::Upgrade,
        }
    }

    /// Waits for a signal that ends the process.
    pub(super) async fn stop(&mut self) {
        while !matches!(self.next().await, Event::Stop) {}
    }
}
