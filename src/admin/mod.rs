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
    os::fd::{AsFd, OwnedFd},
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
    build::State,
    policy,
    reload::{Listeners, ReloadHandle, bind_admin},
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
    pub settings: ArcSwap<Option<policy::Admin>>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// What runs.
    pub state: Arc<ArcSwap<State>>,
    /// Open listeners.
    pub listeners: Listeners,
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
    /// The socket once more, to be handed to a process that takes over.
    socket: Option<OwnedFd>,
}

impl Admin {
    /// An admin listener that is not yet open.
    pub fn new(
        settings: Option<policy::Admin>,
        metrics: Arc<Metrics>,
        state: Arc<ArcSwap<State>>,
        listeners: Listeners,
        reload: ReloadHandle,
    ) -> Self {
        Self {
            settings: ArcSwap::from_pointee(settings),
            metrics,
            state,
            listeners,
            reload,
            readiness: Arc::default(),
            listening: Mutex::default(),
            tasks: TaskTracker::new(),
        }
    }
}

/// Opens the listener, if it is on; by the socket that was `inherited`, if there is one.
///
/// # Errors
/// Says which address cannot be listened on.
pub fn start(
    admin: &Arc<Admin>,
    inherited: Option<std::net::TcpListener>,
) -> Result<Option<SocketAddr>, String> {
    let bind = Option::as_ref(&admin.settings.load()).map(|settings| settings.bind);
    let Some(bind) = bind else { return Ok(None) };
    let listener = match inherited {
        Some(socket) => TcpListener::from_std(socket)
            .map_err(|error| format!("cannot listen on {bind} ({error})"))?,
        None => bind_admin(&admin.state.load().config, bind)?,
    };
    Ok(Some(open(admin, bind, listener)))
}

/// The listener's socket for a process that takes over.
pub fn socket(admin: &Admin) -> Option<OwnedFd> {
    admin
        .listening
        .lock()
        .as_ref()
        .and_then(|listening| listening.socket.as_ref()?.try_clone().ok())
}

/// Closes the listener: another process answers there.
pub fn stop(admin: &Admin) {
    close(admin.listening.lock().take());
}

/// Applies other settings: hosts and token at once. Another address comes as the listener that is `bound` to it, which
/// opens before the old one closes.
pub fn reconfigure(
    admin: &Arc<Admin>,
    settings: Option<&policy::Admin>,
    bound: Option<TcpListener>,
) {
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
    let socket = listener.as_fd().try_clone_to_owned().ok();
    admin.tasks.spawn(connections::accept(
        listener,
        Arc::clone(admin),
        stop.clone(),
    ));
    tracing::info!(address = %local, "admin listening");
    close(admin.listening.lock().replace(Listening {
        local,
        stop,
        socket,
    }));
    local
}

fn close(listening: Option<Listening>) {
    if let Some(Listening { local, stop, .. }) = listening {
        tracing::info!(address = %local, "admin listener closes");
        stop.cancel();
    }
}
