//! Reload: read, check and build everything new, then one swap, then drain what is gone. The old stays on any error.
//!
//! Runs on the control thread, one at a time. Requests keep the snapshot that they began with.

mod doors;
mod files;

use std::{
    collections::BTreeMap,
    fmt, io,
    net::SocketAddr,
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio::{
    net::TcpListener,
    sync::{mpsc, oneshot},
    time::{Instant, timeout},
};

use self::doors::{Bound, one_each};
pub use self::{doors::Opening, files::Files};
use crate::{
    build::{BuildError, Process, Report, State, build},
    config::{self, Config, Diagnostics, Watched},
    gateway::Snapshot,
    inherited::Inherited,
    server::{AllConnections, Listener, Worker, bind},
    telemetry::metrics::{Kept, Reload as Told},
};

/// Longest wait of a start or a reload for the names of new upstreams; a name that takes longer is looked up again later.
pub const NAMES: Duration = Duration::from_secs(2);
/// Longest wait for connections to the store; where they take longer, requests go by `on_error` until then.
const WARM_UP: Duration = Duration::from_secs(2);

/// Where the configuration comes from.
#[derive(Debug, Clone)]
pub enum Source {
    /// A file.
    File(PathBuf),
    /// A text in memory, for commands that need no file.
    Text {
        /// What diagnostics call it.
        name: &'static str,
        /// TOML.
        text: String,
    },
}

impl Source {
    /// Reads and checks it.
    ///
    /// # Errors
    /// All mistakes.
    pub fn load(&self) -> Result<Config, Diagnostics> {
        let environment = config::process_environment();
        match self {
            Source::File(path) => config::load(path, &environment),
            Source::Text { name, text } => config::parse(name, text, &environment),
        }
    }
}

/// What a reload came to.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// Everything serves by the new configuration.
    Done {
        /// What changed.
        report: Report,
        /// The sections of the file that are another.
        sections: Vec<&'static str>,
        /// What takes effect only with a restart.
        notes: Vec<String>,
        /// Settings of the configuration that are surely not meant.
        warnings: Arc<Diagnostics>,
    },
    /// The configuration is the same; so are its warnings, though not their places.
    Unchanged {
        /// As above.
        warnings: Arc<Diagnostics>,
    },
    /// It cannot be used; nothing changed.
    Failed(Failure),
}

/// Why a configuration cannot be used.
#[derive(Debug, Clone)]
pub enum Failure {
    /// It has mistakes.
    Mistakes(Arc<Diagnostics>),
    /// It is sound but cannot be built here and now.
    Impossible(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Mistakes(diagnostics) => f.write_str(diagnostics.render(false).trim_end()),
            Failure::Impossible(why) => f.write_str(why),
        }
    }
}

impl From<BuildError> for Failure {
    fn from(error: BuildError) -> Self {
        Failure::Impossible(error.to_string())
    }
}

/// A way to ask for a reload, for the admin listener.
#[derive(Debug, Clone)]
pub struct ReloadHandle(pub(crate) mpsc::Sender<oneshot::Sender<Outcome>>);

impl ReloadHandle {
    /// Reloads and waits for the outcome; `None` when the process is ending.
    pub async fn reload(&self) -> Option<Outcome> {
        let (reply, outcome) = oneshot::channel();
        self.0.send(reply).await.ok()?;
        outcome.await.ok()
    }
}

/// Open listeners by the address that is configured.
pub type Listeners = Arc<Mutex<BTreeMap<SocketAddr, Arc<Listener>>>>;

/// Everything that a reload touches.
#[derive(Debug)]
pub struct Reloader {
    /// What the process gives to every generation.
    pub process: Process,
    /// What outlives reloads.
    pub state: Arc<ArcSwap<State>>,
    /// What requests are matched on.
    pub routes: Arc<ArcSwap<Snapshot>>,
    /// Open listeners.
    pub listeners: Listeners,
    /// Their sockets once more, to be handed to a process that takes over.
    pub sockets: BTreeMap<SocketAddr, Vec<std::net::TcpListener>>,
    /// Those who serve them.
    pub workers: Vec<Worker>,
    /// All connections of clients, bounded by the file limit.
    pub connections: Arc<AllConnections>,
    /// The number of them that the system allows, and of all others.
    pub files: Files,
    /// What the last reload bound for the admin listener, to be taken by whoever serves it; `None` when it stays where
    /// it is, or is off.
    pub admin: Option<TcpListener>,
    /// What was read last, whether it serves or failed.
    pub watched: Watched,
}

impl Reloader {
    /// Reloads by what has been read of its [`Source`] since `started`, and tells of it in log and metrics. `None` when it could
    /// not be read in time.
    pub async fn reload(
        &mut self,
        read: Option<Result<Config, Diagnostics>>,
        started: Instant,
    ) -> Outcome {
        let outcome = match read {
            None => {
                let why =
                    "the files cannot be read: the file system where they are does not answer";
                Outcome::Failed(Failure::Impossible(why.to_owned()))
            }
            Some(Err(mistakes)) => {
                self.watched = mistakes.watched.clone();
                Outcome::Failed(Failure::Mistakes(Arc::new(mistakes)))
            }
            Some(Ok(config)) => {
                self.watched = config.watched.clone();
                self.apply(config).await
            }
        };
        self.tell(&outcome, started.elapsed());
        outcome
    }

    async fn apply(&mut self, config: Config) -> Outcome {
        let before = self.state.load_full();
        let sections = before.config.changed_sections(&config);
        if sections.is_empty() {
            return Outcome::Unchanged {
                warnings: config.warnings,
            };
        }
        let config = Arc::new(config);
        // What can fail: sockets first, as other processes have a say in them.
        let opening = self.bind_new(&config, &mut Inherited::default());
        let (opening, admin) = match (opening, bind_new_admin(&before.config, &config)) {
            (Ok(opening), Ok(admin)) => (opening, admin),
            (Err(why), _) | (_, Err(why)) => return Outcome::Failed(Failure::Impossible(why)),
        };
        let built = match build(Arc::clone(&config), Some(&before), &self.process) {
            Ok(built) => built,
            Err(error) => return Outcome::Failed(error.into()),
        };
        resolve(&built.state, NAMES).await;
        self.warm_up(&built.state).await;
        self.routes.store(Arc::new(built.snapshot));
        built.state.take_over_checks(Some(&before));
        self.state.store(Arc::new(built.state));
        self.admin = admin;
        self.open(opening).await;
        self.close_gone(&config);
        self.forget_gone(&config);
        let warnings = Arc::clone(&config.warnings);
        Outcome::Done {
            report: built.report,
            sections,
            notes: notes(&before.config, &config),
            warnings,
        }
    }

    /// Has every worker connect to the store, so that the first requests need not wait for that; for a bounded time.
    pub async fn warm_up(&self, state: &State) {
        let Some(store) = state.store() else { return };
        let warm = self.workers.iter().map(|worker| async {
            let (done, is_warm) = oneshot::channel::<()>();
            let store = Arc::clone(store);
            let connect = async move {
                store.warm_up().await;
                drop(done);
            };
            worker.run(connect).await;
            let _ = is_warm.await;
        });
        let _ = timeout(WARM_UP, futures_util::future::join_all(warm)).await;
    }

    /// Does what can fail for listeners: builds their TLS, and binds those that are not open yet, but for those whose
    /// sockets were handed over.
    ///
    /// # Errors
    /// Says which cannot be opened, by which key, and why.
    pub fn bind_new(&self, config: &Config, inherited: &mut Inherited) -> Result<Opening, String> {
        let (mut settings, mut bound) = (Vec::new(), Vec::new());
        self.files.warn_of_pools(config);
        for (index, listener) in config.listeners.iter().enumerate() {
            let open = self.listeners.lock().get(&listener.bind).cloned();
            let wanted = doors::settings(config, listener, open.as_deref(), self.files)?;
            settings.push((listener.bind, wanted));
            if open.is_some() {
                continue;
            }
            let failed =
                |error| cannot_listen(&format!("listeners[{index}].bind"), listener.bind, &error);
            let (address, claimed) = (listener.bind, inherited.listener(listener.bind));
            let (local, sockets) = match claimed.first() {
                Some(first) => {
                    let local = first.local_addr().map_err(failed)?;
                    (
                        local,
                        one_each(claimed, self.process.workers).map_err(failed)?,
                    )
                }
                None => bind(
                    address,
                    self.process.workers,
                    has_v4_beside(config, address),
                )
                .map_err(failed)?,
            };
            bound.push(Bound {
                address,
                local,
                sockets,
            });
        }
        Ok(Opening { settings, bound })
    }

    /// Opens what was bound, and tells those that stay what holds now.
    pub async fn open(&mut self, Opening { settings, bound }: Opening) {
        for (address, settings) in &settings {
            let open = self.listeners.lock().get(address).cloned();
            if let Some(listener) = open {
                listener.reconfigure(settings.clone());
            }
        }
        for Bound {
            address,
            local,
            sockets,
        } in bound
        {
            let Some((_, settings)) = settings.iter().find(|(of, _)| *of == address) else {
                continue;
            };
            let metrics = Arc::clone(&self.process.metrics);
            let connections = Arc::clone(&self.connections);
            let listener = Listener::new(
                local.to_string().into(),
                settings.clone(),
                connections,
                metrics,
            );
            self.listeners.lock().insert(address, Arc::clone(&listener));
            tracing::info!(address = %local, "listening");
            let again = sockets
                .iter()
                .map(std::net::TcpListener::try_clone)
                .collect::<io::Result<_>>();
            // Without, the next process binds the address by itself, or cannot and says so.
            self.sockets.insert(address, again.unwrap_or_default());
            // More sockets than workers were handed over by a process that had more: each has a queue to be served.
            for (worker, socket) in self.workers.iter().cycle().zip(sockets) {
                worker.listen(socket, Arc::clone(&listener)).await;
            }
        }
    }

    fn close_gone(&mut self, config: &Config) {
        // First: a socket that is open somewhere still takes connections, which nobody would serve.
        self.sockets.retain(|address, _| {
            config
                .listeners
                .iter()
                .any(|listener| listener.bind == *address)
        });
        self.listeners.lock().retain(|address, listener| {
            let stays = config
                .listeners
                .iter()
                .any(|listener| listener.bind == *address);
            if !stays {
                tracing::info!(address = %listener.name, "listener closes; its connections drain");
                listener.drain.cancel();
            }
            stays
        });
    }

    /// Drops the series of what is gone.
    fn forget_gone(&self, config: &Config) {
        let listeners: Vec<_> = self
            .listeners
            .lock()
            .values()
            .map(|listener| Arc::clone(&listener.name))
            .collect();
        let kept = Kept {
            routes: config.routes.iter().map(|route| &*route.name).collect(),
            limits: config
                .limits
                .iter()
                .flat_map(|limit| limit.deciding())
                .collect(),
            upstreams: config
                .upstreams
                .iter()
                .map(|upstream| &*upstream.name)
                .collect(),
            listeners: listeners.iter().map(|name| &**name).collect(),
        };
        self.process.metrics.retain(&kept);
    }

    fn tell(&self, outcome: &Outcome, took: Duration) {
        let told = match outcome {
            Outcome::Done {
                report,
                sections,
                notes,
                warnings,
            } => {
                let changed = sections.join(", ");
                tracing::info!(
                    took_ms = took.as_millis() as u64,
                    "configuration reloaded: {report}; sections that changed: {changed}"
                );
                for note in notes {
                    tracing::warn!("{note}");
                }
                log_warnings(warnings);
                Told::Success
            }
            Outcome::Unchanged { .. } => {
                tracing::info!("configuration unchanged");
                Told::Unchanged
            }
            Outcome::Failed(failure) => {
                tracing::error!(
                    "configuration not reloaded, the one before still serves:\n{failure}"
                );
                Told::Failure
            }
        };
        self.process.metrics.reloaded(told, SystemTime::now(), took);
    }
}

/// Whether a socket on `address` has to leave IPv4 to another one: the system gives an IPv6 address that stands for all
/// also the IPv4 connections to its port, unless it is told not to.
fn has_v4_beside(config: &Config, address: SocketAddr) -> bool {
    let admin = config.admin.as_ref().map(|admin| admin.bind);
    let mut others = config
        .listeners
        .iter()
        .map(|listener| listener.bind)
        .chain(admin);
    address.is_ipv6()
        && address.port() != 0
        && others.any(|other| other.is_ipv4() && other.port() == address.port())
}

/// Binds the admin listener where its address has changed.
fn bind_new_admin(before: &Config, after: &Config) -> Result<Option<TcpListener>, String> {
    let [was, bind] = [before, after].map(|config| config.admin.as_ref().map(|admin| admin.bind));
    match bind {
        Some(address) if was != bind => bind_admin(after, address).map(Some),
        _ => Ok(None),
    }
}

/// Binds the admin listener of `config` to `address`.
///
/// # Errors
/// Says that it cannot be bound, by which key, and why.
pub fn bind_admin(config: &Config, address: SocketAddr) -> Result<TcpListener, String> {
    let bound = bind(address, 1, has_v4_beside(config, address));
    let listening = bound.and_then(|(_, sockets)| {
        sockets
            .into_iter()
            .next()
            .ok_or(io::ErrorKind::NotFound.into())
    });
    listening
        .and_then(TcpListener::from_std)
        .map_err(|error| cannot_listen("admin.bind", address, &error))
}

/// Why an address cannot be listened on.
fn cannot_listen(key: &str, address: SocketAddr, error: &io::Error) -> String {
    let hint = match error.kind() {
        io::ErrorKind::AddrInUse => ": another process listens there",
        io::ErrorKind::PermissionDenied => ": ports below 1024 need CAP_NET_BIND_SERVICE",
        io::ErrorKind::AddrNotAvailable => ": this machine has no such address",
        _ => "",
    };
    format!("cannot listen on {address} (key {key}){hint} ({error})")
}

/// Looks the names of upstreams up whose time has come, each for a bounded time; the log says what changed.
pub async fn resolve(state: &State, patience: Duration) {
    let lookups = state
        .upstreams()
        .flat_map(|(_, upstream)| upstream.resolve());
    let _ = timeout(patience, futures_util::future::join_all(lookups)).await;
}

/// Logs what a configuration says and surely does not mean, a line for each.
pub fn log_warnings(warnings: &Diagnostics) {
    warnings
        .lines()
        .for_each(|warning| tracing::warn!("{warning}"));
}

/// What a reload cannot change.
fn notes(before: &Config, after: &Config) -> Vec<String> {
    let mut notes = Vec::new();
    if before.server.workers != after.server.workers {
        notes.push("[server] workers changed: it takes effect with a restart".to_owned());
    }
    if before.server.state_dir != after.server.state_dir {
        notes.push("[server] state_dir changed: it takes effect with a restart".to_owned());
    }
    if before.log.format != after.log.format {
        notes.push("[log] format changed: it takes effect with a restart".to_owned());
    }
    notes
}
