//! The parts of the process that the endpoints read or change.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use arc_swap::ArcSwap;

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
}
