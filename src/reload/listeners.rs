//! Listeners over reloads: sockets and TLS are prepared first, since they can
//! fail; then listeners open, change and close.
//!
//! A listener is known by its configured address ([`ListenerKey`]). One that stays keeps its
//! sockets and connections, and new connections get the new settings. Each
//! worker has a socket of its own for every address (`SO_REUSEPORT`), so that
//! the kernel spreads connections over workers; of a socket in the file system,
//! it has a copy.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    path::Path,
    sync::Arc,
};

use parking_lot::Mutex;

use super::{
    Files,
    sockets::{
        HeldSockets, bind_file, cannot_listen, ports_of_both, sockets_for, warn_of_one_family,
    },
};
use crate::{
    config::Config,
    inherited::{Inherited, Served},
    limit::AddressBans,
    policy::{self, ListenAddress, ListenerKey},
    server::{AllConnections, Listener, ListenerSettings, LockWait, SocketFile, Sockets, Worker},
    telemetry::{FixedFields, Metrics},
    tls::{AlpnProtocol, Obtained, ServerTls},
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

    /// The addresses of the new listeners but those in the file system, with the
    /// ports that the system chose.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        let locals = self.bound.iter().map(|bound| &bound.sockets.local);
        locals.filter_map(ListenAddress::ip).collect()
    }
}

/// The sockets of a new listener.
#[derive(Debug)]
struct Bound {
    key: ListenerKey,
    sockets: Sockets,
    /// Whether they are systemd's.
    is_activated: bool,
}

/// The open listeners. Shared with the admin listener, which shows them.
pub type Listeners = Arc<Mutex<BTreeMap<ListenerKey, Arc<Listener>>>>;

/// The open listeners and their sockets, as reloads change them.
#[derive(Debug)]
pub struct OpenListeners {
    /// The open listeners.
    pub by_key: Listeners,
    /// Copies of the sockets of open listeners, for a process that takes over.
    pub sockets: BTreeMap<ListenerKey, HeldSockets>,
    /// The connections of all listeners, bounded by the limit on open files.
    connections: Arc<AllConnections>,
    /// The numbers of open files that the system allows.
    files: Files,
    /// The number of workers, each of which has a socket of its own.
    workers: usize,
    /// Where listeners count.
    metrics: Arc<Metrics>,
    /// Certificates that come while the gateway serves.
    obtained: Arc<Obtained>,
}

impl OpenListeners {
    /// No listener is open yet. `workers` is the number of threads that will
    /// serve them, and `files` bounds their connections.
    pub fn new(
        files: Files,
        workers: usize,
        metrics: Arc<Metrics>,
        obtained: Arc<Obtained>,
    ) -> Self {
        Self {
            by_key: Listeners::default(),
            sockets: BTreeMap::new(),
            connections: AllConnections::new(files.clients),
            files,
            workers,
            metrics,
            obtained,
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
        let mut wait = LockWait::default();
        self.files.warn_of_pools(config);
        let both = |listener: &policy::Listener| inherited.has(&listener.bind);
        let handed = config.listeners.iter().filter(|listener| both(listener));
        let open: Vec<_> = self
            .by_key
            .lock()
            .keys()
            .map(|key| key.bind.clone())
            .collect();
        let holds = ports_of_both(handed.map(|listener| &listener.bind).chain(&open));
        for (index, listener) in config.listeners.iter().enumerate() {
            let key = listener.key();
            let open = self.by_key.lock().get(&key).cloned();
            let obtained = &self.obtained;
            let mut settings = settings(config, listener, open.as_deref(), self.files, obtained)?;
            let local = match open {
                Some(open) => open.local.clone(),
                None => {
                    let claimed = inherited.listener(&listener.bind);
                    let is_activated = claimed.as_ref().is_some_and(|one| one.is_activated);
                    let sockets =
                        sockets_for(config, listener, self.workers, claimed, &holds, &mut wait);
                    let sockets = sockets.map_err(|why| {
                        cannot_listen(&format!("listeners[{index}].bind"), &listener.bind, &why)
                    })?;
                    let local = sockets.local.clone();
                    let key = key.clone();
                    bound.push(Bound {
                        key,
                        sockets,
                        is_activated,
                    });
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

    /// Opens new listeners on `workers`, and applies their new settings to
    /// those that stay. Returns when every worker has been sent its new
    /// sockets.
    pub async fn open(&mut self, opening: Opening, workers: &[Worker]) {
        let Opening { settings, bound } = opening;
        for (key, settings) in &settings {
            let open = self.by_key.lock().get(key).cloned();
            if let Some(listener) = open {
                self.change_mode(key, settings.policy.mode);
                listener.reconfigure(settings.clone());
            }
        }
        for bound in bound {
            let settings = settings.iter().find(|(key, _)| *key == bound.key);
            if let Some((_, settings)) = settings {
                self.open_one(bound, settings.clone(), workers).await;
            }
        }
    }

    /// Opens a listener on `workers`. One that was open at this address closes.
    async fn open_one(&mut self, bound: Bound, settings: ListenerSettings, workers: &[Worker]) {
        let Bound {
            key,
            mut sockets,
            is_activated,
        } = bound;
        // Not before: a process that does not come up removes no file of the one
        // before.
        sockets.file.iter_mut().for_each(SocketFile::own);
        let mode = settings.policy.mode;
        let held = HeldSockets::of(&mut sockets, is_activated);
        let Sockets { local, sockets, .. } = sockets;
        let listener = Listener::new(
            local.clone(),
            settings,
            Arc::clone(&self.connections),
            Arc::clone(&self.metrics),
        );
        tracing::info!(address = %local, listener = %listener.name(), "listening");
        self.sockets.insert(key.clone(), held);
        // The socket may be one of the process before, which had another mode.
        self.change_mode(&key, mode);
        let earlier = self.by_key.lock().insert(key, Arc::clone(&listener));
        earlier.iter().for_each(|earlier| earlier.close());
        // A process with more workers hands over more sockets than there
        // are workers. Each has a queue to be served.
        for (worker, socket) in workers.iter().cycle().zip(sockets) {
            worker.listen(socket, Arc::clone(&listener)).await;
        }
    }

    /// Changes who may connect to an open socket in the file system.
    fn change_mode(&self, key: &ListenerKey, mode: u32) {
        let held = self.sockets.get(key);
        let Some(file) = held.and_then(|held| held.file.as_ref()) else {
            return;
        };
        if let Err(error) = file.set_mode(mode) {
            tracing::warn!(address = %key.bind, %error, "the mode of the socket stays as it was");
        }
    }

    /// The paths of open sockets in the file system.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.sockets.keys().filter_map(|key| match &key.bind {
            ListenAddress::Unix(path) => Some(&**path),
            ListenAddress::Ip(_) => None,
        })
    }

    /// Leaves the files of sockets to the process that has taken over, as far as
    /// it listens there. The others are removed when their listeners close.
    pub fn leave_files(&mut self, served: &Served) {
        self.sockets
            .values_mut()
            .for_each(|held| held.leave(served));
    }

    /// Binds sockets again whose file another process has removed or replaced:
    /// no client could connect to them. Returns a sentence for each, on what was
    /// done or has to be done.
    pub async fn bind_lost(&mut self, workers: &[Worker]) -> Vec<String> {
        let mut notes = Vec::new();
        let mut wait = LockWait::default();
        for (key, file) in self.lost() {
            let Some(open) = self.by_key.lock().get(&key).cloned() else {
                continue;
            };
            let settings = ListenerSettings::clone(&open.settings());
            notes.push(match bind_file(&file, settings.policy.mode, self.workers, &mut wait) {
                Ok(sockets) => {
                    let is_activated = false;
                    let bound = Bound { key, sockets, is_activated };
                    self.open_one(bound, settings, workers).await;
                    format!("another process had removed the file of {}: the socket is bound again", open.local)
                }
                Err(why) => format!(
                    "no client can connect to {}, as its file was removed or replaced: {why}; mend this, and reload",
                    open.local
                ),
            });
        }
        notes
    }

    /// The listeners that have lost the file of their socket, with its path.
    fn lost(&self) -> Vec<(ListenerKey, Arc<Path>)> {
        let files = self
            .sockets
            .iter()
            .filter_map(|(key, held)| Some((key, held.file.as_ref()?)));
        files
            .filter(|(_, file)| file.is_lost())
            .map(|(key, file)| (key.clone(), Arc::clone(file.path())))
            .collect()
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
                warn_of_one_family(config, &key.bind);
            }
            stays
        });
    }
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
    obtained: &Arc<Obtained>,
) -> Result<ListenerSettings, String> {
    let max_connections = files.max_connections(listener);
    let max_per_client = match config.server.max_connections_per_client {
        Some(most) => most.into(),
        None => share_of_a_client(max_connections),
    };
    let tls = match &listener.tls {
        Some(tls) => {
            let earlier = open.and_then(Listener::tls);
            let tls = ServerTls::new(tls, offered(listener), earlier.as_ref(), obtained)
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
