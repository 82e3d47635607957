//! Listeners over reloads: sockets and TLS are prepared first, since they can
//! fail; then listeners open, change and close.
//!
//! A listener is known by its configured address ([`ListenerKey`]). One that stays keeps its
//! sockets and connections, and new connections get the new settings. Each
//! worker has a socket of its own for every address (`SO_REUSEPORT`), so that
//! the kernel spreads connections over workers.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::{SocketAddr, TcpListener},
    sync::Arc,
};

use parking_lot::Mutex;

use super::Files;
use crate::{
    config::Config,
    inherited::Inherited,
    limit::AddressBans,
    policy::{self, ListenerKey},
    server::{AllConnections, DualStack, Listener, ListenerSettings, Sockets, Worker, bind},
    telemetry::{FixedFields, Metrics},
    tls::{AlpnProtocol, ServerTls},
};

/// Least number of connections that a client may have if the configuration has
/// no number: a browser opens six for a site.
const LEAST_PER_CLIENT: usize = 10;

/// Listeners that are ready to be opened. Everything that can fail is done;
/// dropping it closes the new sockets.
#[derive(Debug)]
pub struct Opening {
    /// The settings of all listeners of the configuration.
    settings: Vec<(ListenerKey, ListenerSettings)>,
    /// The sockets of new listeners.
    bound: Vec<Bound>,
}

impl Opening {
    /// The same listeners, which close connections of addresses that `bans`
    /// refuse.
    #[must_use]
    pub fn closing(mut self, bans: &Arc<[AddressBans]>) -> Self {
        for (_, settings) in &mut self.settings {
            settings.bans = Arc::clone(bans);
        }
        self
    }

    /// The addresses of the new listeners, with the ports that the system
    /// chose.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.bound.iter().map(|bound| bound.sockets.local).collect()
    }
}

/// The sockets of a new listener.
#[derive(Debug)]
struct Bound {
    key: ListenerKey,
    sockets: Sockets,
}

/// The open listeners. Shared with the admin listener, which shows them.
pub type Listeners = Arc<Mutex<BTreeMap<ListenerKey, Arc<Listener>>>>;

/// The open listeners and their sockets, as reloads change them.
#[derive(Debug)]
pub struct OpenListeners {
    /// The open listeners.
    pub by_key: Listeners,
    /// Copies of the sockets of open listeners, for a process that takes over.
    pub sockets: BTreeMap<ListenerKey, Vec<TcpListener>>,
    /// The connections of all listeners, bounded by the limit on open files.
    connections: Arc<AllConnections>,
    /// The numbers of open files that the system allows.
    files: Files,
    /// The number of workers, each of which has a socket of its own.
    workers: usize,
    /// Where listeners count.
    metrics: Arc<Metrics>,
}

impl OpenListeners {
    /// No listener is open yet. `workers` is the number of threads that will
    /// serve them, and `files` bounds their connections.
    pub fn new(files: Files, workers: usize, metrics: Arc<Metrics>) -> Self {
        Self {
            by_key: Listeners::default(),
            sockets: BTreeMap::new(),
            connections: AllConnections::new(files.clients),
            files,
            workers,
            metrics,
        }
    }

    /// Prepares all listeners of `config`: builds their TLS, and binds the
    /// sockets of those that are not open and were not inherited.
    ///
    /// # Errors
    /// Says which listener cannot be opened, by which key, and why. Nothing is
    /// open then.
    pub fn bind_new(&self, config: &Config, inherited: &mut Inherited) -> Result<Opening, String> {
        let mut all = Vec::new();
        let mut bound = Vec::new();
        self.files.warn_of_pools(config);
        for (index, listener) in config.listeners.iter().enumerate() {
            let (key, address) = (listener.key(), listener.bind);
            let open = self.by_key.lock().get(&key).cloned();
            let mut settings = settings(config, listener, open.as_deref(), self.files)?;
            let local = match open {
                Some(open) => open.local,
                None => {
                    let sockets = self.sockets_for(config, address, inherited);
                    let sockets = sockets.map_err(|error| {
                        cannot_listen(&format!("listeners[{index}].bind"), address, &error)
                    })?;
                    let local = sockets.local;
                    let key = key.clone();
                    bound.push(Bound { key, sockets });
                    local
                }
            };
            if listener.name.is_none() {
                settings.fields = Arc::new(FixedFields::listener(local.to_string().into()));
            }
            all.push((key, settings));
        }
        Ok(Opening {
            settings: all,
            bound,
        })
    }

    /// The inherited sockets for `address`, or new ones.
    fn sockets_for(
        &self,
        config: &Config,
        address: SocketAddr,
        inherited: &mut Inherited,
    ) -> io::Result<Sockets> {
        let inherited = inherited.listener(address);
        match inherited.first() {
            Some(first) => Ok(Sockets {
                local: first.local_addr()?,
                sockets: one_each(inherited, self.workers)?,
            }),
            None => bind(address, self.workers, dual_stack(config, address)),
        }
    }

    /// Opens new listeners on `workers`, and applies their new settings to
    /// those that stay. Returns when every worker has been sent its new
    /// sockets.
    pub async fn open(&mut self, opening: Opening, workers: &[Worker]) {
        let Opening { settings, bound } = opening;
        for (key, settings) in &settings {
            let open = self.by_key.lock().get(key).cloned();
            if let Some(listener) = open {
                listener.reconfigure(settings.clone());
            }
        }
        for Bound { key, sockets } in bound {
            let Some((_, settings)) = settings.iter().find(|(of, _)| *of == key) else {
                continue;
            };
            let Sockets { local, sockets } = sockets;
            let listener = Listener::new(
                local,
                settings.clone(),
                Arc::clone(&self.connections),
                Arc::clone(&self.metrics),
            );
            tracing::info!(address = %local, listener = %listener.name(), "listening");
            self.by_key
                .lock()
                .insert(key.clone(), Arc::clone(&listener));
            let copies: io::Result<_> = sockets.iter().map(TcpListener::try_clone).collect();
            // Without copies, a process that takes over binds the address
            // itself, or reports that it cannot.
            self.sockets.insert(key, copies.unwrap_or_default());
            // A process with more workers hands over more sockets than there
            // are workers. Each has a queue to be served.
            for (worker, socket) in workers.iter().cycle().zip(sockets) {
                worker.listen(socket, Arc::clone(&listener)).await;
            }
        }
    }

    /// Closes the listeners that `config` no longer has. Their connections
    /// drain: a request that has begun is finished.
    pub(super) fn close_gone(&mut self, config: &Config) {
        let mut configured = BTreeSet::new();
        for listener in &config.listeners {
            configured.insert(listener.key());
        }
        // The copies close first: a socket that is open anywhere still takes
        // connections, which nobody would serve.
        self.sockets.retain(|key, _| configured.contains(key));
        self.by_key.lock().retain(|key, listener| {
            let stays = configured.contains(key);
            if !stays {
                tracing::info!(address = %listener.local, listener = %listener.name(), "listener closes; its connections drain");
                listener.close();
            }
            stays
        });
    }
}

/// At least one socket for each worker: if fewer were inherited, workers share
/// them. `sockets` is not empty.
fn one_each(mut sockets: Vec<TcpListener>, workers: usize) -> io::Result<Vec<TcpListener>> {
    for index in 0..workers.saturating_sub(sockets.len()) {
        sockets.push(sockets[index].try_clone()?);
    }
    Ok(sockets)
}

/// The settings of `listener`, within the limit on open files. `open` is the
/// listener, if it is already open: its TLS keeps the keys of its session
/// tickets.
///
/// # Errors
/// Says why its TLS cannot be built.
fn settings(
    config: &Config,
    listener: &policy::Listener,
    open: Option<&Listener>,
    files: Files,
) -> Result<ListenerSettings, String> {
    let max_connections = files.max_connections(listener);
    let max_per_client = match config.server.max_connections_per_client {
        Some(most) => most.into(),
        None => share_of_a_client(max_connections),
    };
    let tls = match &listener.tls {
        Some(tls) => {
            let earlier = open.and_then(Listener::tls);
            let tls = ServerTls::new(tls, offered(listener), earlier.as_ref())
                .map_err(|why| format!("cannot speak TLS on {}: {why}", listener.bind))?;
            Some(tls)
        }
        None => None,
    };
    let name = listener.name.clone().unwrap_or_default();
    Ok(ListenerSettings {
        fields: Arc::new(FixedFields::listener(name)),
        policy: listener.clone(),
        max_connections,
        max_per_client,
        trusted: config.client_ip.trusted_proxies.as_slice().into(),
        tls,
        bans: Arc::default(),
    })
}

/// Connections of one client if the configuration has no number: a tenth, so
/// that no client can use all slots alone.
fn share_of_a_client(max_connections: usize) -> usize {
    max_connections.div_ceil(10).max(LEAST_PER_CLIENT)
}

/// The versions of HTTP that are offered to clients by ALPN, the preferred one
/// first.
fn offered(listener: &policy::Listener) -> &'static [AlpnProtocol] {
    if listener.limits.http2 {
        &[AlpnProtocol::Http2, AlpnProtocol::Http1]
    } else {
        &[AlpnProtocol::Http1]
    }
}

/// Whether a socket on `address` also takes IPv4 connections. The unspecified
/// IPv6 address does, unless another listener has an IPv4 address with the same
/// port.
fn dual_stack(config: &Config, address: SocketAddr) -> DualStack {
    if !address.is_ipv6() || address.port() == 0 {
        return DualStack::On;
    }
    let mut others = Vec::new();
    for listener in &config.listeners {
        others.push(listener.bind);
    }
    if let Some(admin) = &config.admin {
        others.push(admin.bind);
    }
    for other in others {
        if other.is_ipv4() && other.port() == address.port() {
            return DualStack::Off;
        }
    }
    DualStack::On
}

/// Binds the admin listener if its address has changed; `None` if it has not,
/// or if the admin listener is off.
///
/// # Errors
/// As [`bind_admin`].
pub(super) fn bind_new_admin(
    before: &Config,
    after: &Config,
) -> Result<Option<tokio::net::TcpListener>, String> {
    match (&before.admin, &after.admin) {
        (_, None) => Ok(None),
        (Some(before), Some(after)) if before.bind == after.bind => Ok(None),
        (_, Some(admin)) => bind_admin(after, admin.bind).map(Some),
    }
}

/// Binds the admin listener of `config` to `address`.
///
/// # Errors
/// Says that the address cannot be bound, by which key, and why.
pub fn bind_admin(config: &Config, address: SocketAddr) -> Result<tokio::net::TcpListener, String> {
    admin_socket(config, address).map_err(|error| cannot_listen("admin.bind", address, &error))
}

fn admin_socket(config: &Config, address: SocketAddr) -> io::Result<tokio::net::TcpListener> {
    let mut bound = bind(address, 1, dual_stack(config, address))?;
    let socket = bound.sockets.pop().ok_or(io::ErrorKind::NotFound)?;
    tokio::net::TcpListener::from_std(socket)
}

/// The message about an address that cannot be bound, with a hint for the
/// common reasons.
fn cannot_listen(key: &str, address: SocketAddr, error: &io::Error) -> String {
    let hint = match error.kind() {
        io::ErrorKind::AddrInUse => ": another process listens there",
        io::ErrorKind::PermissionDenied => ": ports below 1024 need CAP_NET_BIND_SERVICE",
        io::ErrorKind::AddrNotAvailable => ": this machine has no such address",
        _ => "",
    };
    format!("cannot listen on {address} (key {key}){hint} ({error})")
}
