//! The admin listener: metrics, health, views of the running gateway, reload.
//!
//! It is built on hyper and tower-http, as speed does not matter here, and runs
//! on the control thread, so that a scrape or a slow caller takes nothing from
//! requests.
//!
//! * `connections` accepts and bounds connections, and has the layers around
//!   every call.
//! * `guard` refuses callers: web pages of other sites, and changes without the
//!   token.
//! * `endpoints` has the list of calls, and responds.
//! * `observed`, `views` and `limit_keys` read the state of the gateway;
//!   `reloading` changes it.
//!
//! # Trust
//!
//! The listener shows much and can reload, so by default it is on the loopback
//! interface. Anybody who reaches its address can read everything but secrets:
//! values of keys in the configuration, passwords and the contents of key files
//! are never shown. Calls that change something need the token if one is
//! configured, and each of them is logged with the caller.

mod acme_view;
mod connections;
mod context;
mod endpoints;
mod guard;
mod key_view;
mod limit_keys;
mod observed;
mod reloading;
mod response;
mod views;

use std::{
    net::SocketAddr,
    os::fd::{AsFd, OwnedFd},
    sync::Arc,
};

use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use self::context::{AdminContext, Readiness, ViewRoom};
use crate::{policy, reload::bind_admin};

/// The admin listener, open or not. Reloads switch it on and off and move it.
#[derive(Debug)]
pub struct Admin {
    /// The parts of the process that the endpoints use.
    context: Arc<AdminContext>,
    /// The open socket; `None` while the listener is off.
    listening: Mutex<Option<Listening>>,
    /// Every task of the listener and its connections.
    tasks: TaskTracker,
}

/// The socket that is open now.
#[derive(Debug)]
struct Listening {
    /// The address, with the port that the system chose.
    local: SocketAddr,
    /// Ends accepting, and connections after their present call.
    stop: CancellationToken,
    /// A copy of the socket for a process that takes over.
    socket: Option<OwnedFd>,
}

impl Admin {
    /// An admin listener that is not yet open.
    pub fn new(context: AdminContext) -> Self {
        Self {
            context: Arc::new(context),
            listening: Mutex::default(),
            tasks: TaskTracker::new(),
        }
    }

    /// The response of `/readyz`.
    pub fn readiness(&self) -> &Readiness {
        &self.context.readiness
    }

    /// Opens the listener if it is on, with the socket that was `inherited` if
    /// there is one. Returns its address; `None` if it is off.
    ///
    /// # Errors
    /// The system refuses the address. The text is a sentence for people.
    pub fn start(
        &self,
        inherited: Option<std::net::TcpListener>,
    ) -> Result<Option<SocketAddr>, String> {
        let settings = self.context.settings.load();
        let Some(settings) = &**settings else {
            return Ok(None);
        };
        let bind = settings.bind;
        let listener = match inherited {
            Some(socket) => TcpListener::from_std(socket)
                .map_err(|error| format!("cannot listen on {bind} ({error})"))?,
            None => bind_admin(&self.context.state.load().config, bind)?,
        };
        Ok(Some(self.open(bind, listener)))
    }

    /// A copy of the listener's socket for a process that takes over; `None` if
    /// the listener is off.
    pub fn socket(&self) -> Option<OwnedFd> {
        let listening = self.listening.lock();
        listening.as_ref()?.socket.as_ref()?.try_clone().ok()
    }

    /// Closes the listener, because another process responds there or a reload
    /// has switched it off. Connections finish their present call.
    pub fn stop(&self) {
        close(self.listening.lock().take());
    }

    /// Applies other settings. Hosts and token change at once, also for open
    /// connections. A new address comes as the listener that is `bound` to it,
    /// which opens before the old one closes.
    pub fn reconfigure(&self, settings: Option<&policy::Admin>, bound: Option<TcpListener>) {
        self.context.settings.store(Arc::new(settings.cloned()));
        match (settings, bound) {
            (None, _) => self.stop(),
            (Some(settings), Some(listener)) => {
                self.open(settings.bind, listener);
            }
            (Some(_), None) => {}
        }
    }

    /// Accepts on `listener`, and closes the socket that was open before.
    fn open(&self, bind: SocketAddr, listener: TcpListener) -> SocketAddr {
        let local = listener.local_addr().unwrap_or(bind);
        let stop = CancellationToken::new();
        let socket = listener.as_fd().try_clone_to_owned().ok();
        self.tasks.spawn(connections::accept(
            listener,
            Arc::clone(&self.context),
            self.tasks.clone(),
            stop.clone(),
        ));
        tracing::info!(address = %local, "admin listening");
        close(self.listening.lock().replace(Listening {
            local,
            stop,
            socket,
        }));
        local
    }
}

/// Ends a socket that was open.
fn close(listening: Option<Listening>) {
    if let Some(Listening { local, stop, .. }) = listening {
        tracing::info!(address = %local, "admin listener closes");
        stop.cancel();
    }
}
