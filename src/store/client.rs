//! The store's client of one worker: its connection, its batches, and the
//! number of its requests that wait.
//!
//! Nothing here belongs to another worker, so that no response has to wake
//! another thread.

use std::{
    mem,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
};

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use super::{batch::Batches, connection::StoreConnection};

/// Requests of one worker that may wait for the store at once; further ones are
/// decided by `on_error`.
const MOST_IN_FLIGHT: usize = 1024;

/// The client of one worker.
#[derive(Debug)]
pub(super) struct StoreClient {
    /// The connection, or its absence; requests wait for its changes.
    pub(super) link: watch::Sender<Link>,
    /// Calls about hot keys that are in flight.
    pub(super) batches: Batches,
    /// The task that makes the connection; it ends with the store.
    pub(super) task: Mutex<Option<AbortOnDropHandle<()>>>,
    /// Requests that wait for the store.
    in_flight: AtomicUsize,
}

/// The state of the connection.
#[derive(Debug, Clone)]
pub(super) enum Link {
    /// There is none, and none is being made.
    Down,
    /// A connection is being made. That of a cluster from before, if there was
    /// one, serves meanwhile.
    Making(Option<StoreConnection>),
    /// The connection, and the generation of the circuit in which it was made.
    Up(StoreConnection, u64),
}

impl Link {
    /// Notes that a connection is being made; in a cluster the old one serves
    /// meanwhile. Returns false if one is being made already.
    pub(super) fn begin(&mut self, is_cluster: bool) -> bool {
        if matches!(self, Self::Making(_)) {
            return false;
        }
        *self = match mem::replace(self, Self::Down) {
            Self::Up(connection, _) if is_cluster => Self::Making(Some(connection)),
            _ => Self::Making(None),
        };
        true
    }

    /// Drops the connection, which is broken. Returns false if there is none,
    /// or if another one is being made.
    pub(super) fn end(&mut self) -> bool {
        let was_up = matches!(self, Self::Up(..));
        if was_up {
            *self = Self::Down;
        }
        was_up
    }
}

impl Default for StoreClient {
    fn default() -> Self {
        Self {
            link: watch::Sender::new(Link::Down),
            batches: Batches::default(),
            task: Mutex::default(),
            in_flight: AtomicUsize::new(0),
        }
    }
}

impl StoreClient {
    /// True if there is a connection, though another one may be in the making.
    pub(super) fn is_connected(&self) -> bool {
        matches!(*self.link.borrow(), Link::Up(..) | Link::Making(Some(_)))
    }

    /// The permit to wait for the store, unless too many requests do.
    pub(super) fn permit(&self) -> Option<WaitingRequest<'_>> {
        let is_free = self.in_flight.fetch_add(1, Relaxed) < MOST_IN_FLIGHT;
        let permit = WaitingRequest(&self.in_flight);
        is_free.then_some(permit)
    }
}

/// Counts one request that waits; the count is decremented on drop.
#[derive(Debug)]
pub(super) struct WaitingRequest<'a>(&'a AtomicUsize);

impl Drop for WaitingRequest<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}
