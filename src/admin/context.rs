//! The parts of the process that the endpoints read or change.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use arc_swap::ArcSwap;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{
    acme::Acme,
    build::State,
    policy,
    reload::{Listeners, ReloadHandle},
    telemetry::Metrics,
};

/// Whether `/readyz` responds that new requests are welcome. Load balancers and
/// orchestrators poll it.
#[derive(Debug, Default)]
pub struct Readiness(AtomicBool);

impl Readiness {
    /// Sets the response of `/readyz` from now on.
    pub fn set_ready(&self, is_ready: bool) {
        self.0.store(is_ready, Ordering::Release);
    }

    /// Returns true between the start and the drain.
    pub fn is_ready(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// Views that are made at the same time. A view of thousands of routes takes a
/// processor for a while, and keeps the state of its configuration.
const MOST_VIEWS: usize = 2;

/// Room for views that are made now; further ones wait. Connections are bounded,
/// and so are the calls that wait.
#[derive(Debug, Clone)]
pub struct ViewRoom(Arc<Semaphore>);

impl Default for ViewRoom {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MOST_VIEWS)))
    }
}

impl ViewRoom {
    /// Waits for room for one view, which is held until the permit is dropped.
    /// Dropping the future gives up the place in the queue.
    pub(super) async fn one(&self) -> Option<OwnedSemaphorePermit> {
        // An error is a semaphore that was closed, which none does.
        Arc::clone(&self.0).acquire_owned().await.ok()
    }

    /// Views that may begin now.
    #[cfg(test)]
    pub(super) fn left(&self) -> usize {
        self.0.available_permits()
    }
}

/// The parts of the process that the endpoints read or change, shared by all
/// calls. Values that a reload replaces are behind a pointer, so that each call
/// sees one configuration as a whole.
#[derive(Debug)]
pub struct AdminContext {
    /// `[admin]`; `None` while the listener is off.
    pub settings: ArcSwap<Option<policy::Admin>>,
    /// The counters of the process.
    pub metrics: Arc<Metrics>,
    /// The state of the configuration that serves.
    pub state: Arc<ArcSwap<State>>,
    /// The open listeners for clients.
    pub listeners: Listeners,
    /// The certificates that the gateway orders itself.
    pub acme: Arc<Acme>,
    /// Asks the control thread for a reload.
    pub reload: ReloadHandle,
    /// The response of `/readyz`.
    pub readiness: Readiness,
    /// Bounds the views that are made at the same time.
    pub views: ViewRoom,
}
