//! The start. Everything that can fail comes before the first connection is
//! accepted.
//!
//! The order is that of cost and of consequences: signals and the state
//! directory first, then the build, which finds nearly every mistake; sockets
//! after it, so that a configuration that cannot run takes no address; the
//! workers last.
//!
//! # Order and consequences
//!
//! * Signals are registered first, so that a SIGTERM during the start is not
//!   lost.
//! * The state directory gives the seed of the hasher, which the build needs,
//!   and is found unusable before anything listens.
//! * The build comes before the sockets. Debts that were saved are restored
//!   into the tables that it has made, before the first request.
//! * Listening sockets are bound, or taken over from the process before or from
//!   systemd. A socket of the process before that no listener wants is closed
//!   then; one of systemd that the configuration does not name is an error.
//! * The admin listener starts before the listeners of clients, and is not
//!   ready yet.
//! * Names are resolved, workers started, and connections to the store made,
//!   each for a bounded time.
//! * The listeners open. The readiness and the message to systemd, or to the
//!   process before, come last.
//!
//! An error at any step returns, and dropping the parts that were made closes
//! their sockets and ends their threads.

use std::{io, sync::Arc, time::SystemTime};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio::{sync::mpsc, time::Instant};

use super::{
    outcome::{Ready, StartError},
    persist::{Saver, StateDir},
    process::{files, keep_memory_private, start_access_log, worker_count},
    reading::Reader,
    serve::App,
    signals::Signals,
    takeover,
};
use crate::{
    acme::Acme,
    admin::{Admin, AdminContext, Readiness, ViewRoom},
    build::{Built, Process, State, build},
    config::{Config, Watched},
    gateway::Gateway,
    inherited::Inherited,
    limit::KeyHasher,
    reload::{
        self, ConfigSource, OpenListeners, Opening, ReloadHandle, Reloader, log_notes,
        log_warnings, resolve,
    },
    server::Worker,
    telemetry::{LogGuard, Metrics},
};

/// Reload requests that may wait while a reload runs; further callers wait to
/// send theirs.
const MOST_RELOADS: usize = 8;

/// Starts all parts that `config` describes. When this returns, the gateway
/// serves.
///
/// Runs on the control thread, and blocks it while it builds: nothing else runs
/// there yet. `inherited` is emptied. The metric of the load's duration begins
/// here and ends when the listeners are open.
///
/// # Errors
/// The first step that failed, as a sentence for people. Dropping the parts
/// that were started ends them.
pub(super) async fn start(
    source: ConfigSource,
    config: Config,
    mut inherited: Inherited,
    logs: &LogGuard,
) -> Result<App, StartError> {
    let started = Instant::now();
    let signals = Signals::new().map_err(|error| format!("cannot listen to signals ({error})"))?;
    let state_dir = config.server.state_dir.as_deref();
    let acme = Arc::new(Acme::new(state_dir));
    let state_dir = state_dir.map(StateDir::open).transpose()?;
    let workers = worker_count(&config.server);
    let metrics = Metrics::new(workers);
    let (access, access_guard) = start_access_log(&config.log, workers, &metrics)?;
    let process = Process {
        workers,
        metrics: Arc::clone(&metrics),
        access,
        hasher: hasher(state_dir.as_ref()),
        buffers: Arc::default(),
        challenges: acme.http_challenges(),
    };
    logs.control().count_dropped(&metrics.dropped());
    let config = Arc::new(config);
    let built = build(Arc::clone(&config), None, &process).map_err(|error| error.to_string())?;
    let saver = state_dir.map(|dir| saver(dir, &built.state, &metrics));
    let mut reloader = new_reloader(process, built, config.watched.clone(), acme);
    let bans = reloader.state.load().address_bans();
    let opening = reloader
        .listeners
        .bind_new(&config, &mut inherited)?
        .closing(&bans);
    let (reload, reload_requests) = mpsc::channel(MOST_RELOADS);
    let admin = new_admin(&reloader, &config, ReloadHandle(reload));
    let admin_bind = config.admin.as_ref().map(|admin| admin.bind);
    let admin_socket = admin_bind.and_then(|bind| inherited.admin(bind));
    inherited.finish()?;
    let ready = Ready {
        listeners: opening.addresses(),
        admin: admin.start(admin_socket)?,
    };
    open(&mut reloader, opening).await?;
    log_warnings(&config.warnings);
    keep_memory_private(&config);
    metrics.loaded(SystemTime::now(), started.elapsed());
    admin.readiness().set_ready(true);
    takeover::tell_ready(&mut inherited, reloader.listeners.paths());
    Ok(App {
        reloader,
        admin,
        reload_requests,
        access: access_guard,
        saver,
        log_control: logs.control(),
        signals,
        reader: Reader::new(source),
        takeover: None,
        ready,
    })
}

/// Saves what outlives the process to `dir`, of which `state` is restored first.
fn saver(dir: StateDir, state: &State, metrics: &Arc<Metrics>) -> Arc<Mutex<Saver>> {
    dir.restore(state);
    Arc::new(Mutex::new(Saver::new(dir, Arc::clone(metrics))))
}

/// Makes the keys of buckets: with the seed that outlives the process, where
/// there is a folder for it.
fn hasher(dir: Option<&StateDir>) -> KeyHasher {
    dir.map_or_else(KeyHasher::new, StateDir::hasher)
}

/// A reloader of the parts that were built. Nothing is open yet.
///
/// It has the first snapshot and state, but neither sockets, workers nor an
/// admin listener. The limit on open files is raised here, before the number of
/// connections is derived from it.
fn new_reloader(process: Process, built: Built, watched: Watched, acme: Arc<Acme>) -> Reloader {
    let metrics = Arc::clone(&process.metrics);
    Reloader {
        listeners: OpenListeners::new(files(), process.workers, metrics, acme.obtained()),
        acme,
        process,
        state: Arc::new(ArcSwap::from_pointee(built.state)),
        routes: Arc::new(built.snapshot),
        workers: Vec::new(),
        admin: None,
        watched,
    }
}

/// The admin listener, which is not bound yet.
///
/// It shares state, listeners and metrics with the reloader, and so always
/// shows the present ones.
fn new_admin(reloader: &Reloader, config: &Config, reload: ReloadHandle) -> Admin {
    Admin::new(AdminContext {
        settings: ArcSwap::from_pointee(config.admin.clone()),
        metrics: Arc::clone(&reloader.process.metrics),
        state: Arc::clone(&reloader.state),
        listeners: Arc::clone(&reloader.listeners.by_key),
        acme: Arc::clone(&reloader.acme),
        reload,
        readiness: Readiness::default(),
        views: ViewRoom::default(),
    })
}

/// Opens the listeners that were bound, after the names of servers were
/// resolved and the workers have started.
///
/// Certificates that were ordered before are read first, so that handshakes find
/// them. Names are awaited for at most `reload::NAMES`; slower ones are resolved
/// later. Checks of health begin at the end, when requests may come.
///
/// # Errors
/// The system gives the process no further thread.
async fn open(reloader: &mut Reloader, opening: Opening) -> Result<(), StartError> {
    let config = Arc::clone(&reloader.state.load().config);
    reloader.acme.follow(&config.listeners).await;
    resolve(&reloader.state.load(), reload::NAMES).await;
    reloader.workers = start_workers(reloader)?;
    reloader.warm_up(&reloader.state.load_full()).await;
    reloader.listeners.open(opening, &reloader.workers).await;
    // Sockets of the process before may have lost their file while it served.
    log_notes(&reloader.listeners.bind_lost(&reloader.workers).await);
    reloader.state.load().take_over_checks(None);
    reloader.state.load().start_fetching();
    Ok(())
}

/// Starts the threads of all workers. They serve no socket yet.
///
/// `index` is the number of the worker in `runtime::worker`, from 0.
///
/// # Errors
/// The system gives the process no further thread. The workers that were
/// started end when they are dropped.
fn start_workers(reloader: &Reloader) -> Result<Vec<Worker>, StartError> {
    let mut workers = Vec::new();
    for index in 0..reloader.process.workers {
        let metrics = Arc::clone(&reloader.process.metrics);
        let gateway = Gateway::new(Arc::clone(&reloader.routes), index, metrics);
        workers.push(Worker::start(index, gateway).map_err(cannot_start)?);
    }
    Ok(workers)
}

fn cannot_start(error: io::Error) -> StartError {
    StartError::Other(format!("cannot start the workers ({error})"))
}
