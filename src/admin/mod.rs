//! The admin listener: metrics, health, views of what runs, reload. Built on hyper, as speed is not the point here.
//!
//! `connections` accepts and bounds them, `guard` refuses who must not come in, `endpoints` answers; `observed`,
//! `views` and `limit_keys` look at what runs.

mod answer;
mod connections;
mod endpoints;
mod guard;
mod limit_keys;
mod observed;
mod reloading;
mod views;

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    config::model,
    gateway::State,
    reload::{Doors, ReloadHandle, bind_admin},
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
    listening: Mutex<Option<Listening>>,
    /// Every task that the listeners run.
    tasks: TaskTracker,
}

/// The socket that is open now.
#[derive(Debug)]
struct Listening {
    local: SocketAddr,
    stop: CancellationToken,
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
            tasks: TaskTracker::new(),
        }
    }
}

/// Opens the listener, if it is on.
///
/// # Errors
/// Says which address cannot be listened on.
pub async fn start(admin: &Arc<Admin>) -> Result<Option<SocketAddr>, String> {
    let bind = Option::as_ref(&admin.settings.load()).map(|settings| settings.bind);
    match bind {
        Some(bind) => Ok(Some(open(admin, bind, bind_admin(bind).await?))),
        None => Ok(None),
    }
}

/// Applies other settings: hosts and token at once. Another address comes as the listener that is `bound` to it, which
/// opens before the old one closes.
pub fn reconfigure(admin: &Arc<Admin>, settings: Option<&model::Admin>, bound: Option<TcpListener>) {
    admin.settings.store(Arc::new(settings.cloned()));
    match (settings, bound) {
        (None, _) => close(admin.listening.lock().take()),
        (Some(settings), Some(listener)) => {
            open(admin, settings.bind, listener);
        }
        (Some(_), None) => {}
    }
}

fn open(admin: &Arc<Admin>, bind: SocketAddr, listener: TcpListener) -> SocketAddr {
    let local = listener.local_addr().unwrap_or(bind);
    let stop = CancellationToken::new();
    admin.tasks.spawn(connections::accept(listener, Arc::clone(admin), stop.clone()));
    tracing::info!(address = %local, "admin listening");
    close(admin.listening.lock().replace(Listening { local, stop }));
    local
}

fn close(listening: Option<Listening>) {
    if let Some(Listening { local, stop }) = listening {
        tracing::info!(address = %local, "admin listener closes");
        stop.cancel();
    }
}
