//! The running process: wires everything together, reacts to signals, and ends in order. The only file that knows every
//! module.

mod drain;
mod maintain;
mod persist;
mod process;
mod reading;
mod signals;
mod systemd;
mod takeover;

use std::{collections::BTreeMap, fmt, io, path::PathBuf, sync::Arc, time::SystemTime};

use arc_swap::ArcSwap;
use futures_util::{StreamExt, stream::FuturesUnordered};
use parking_lot::Mutex;
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, sleep},
};

pub use self::process::try_build;
use self::{
    maintain::maintain,
    persist::{Saver, StateDir},
    process::{files, keep_memory_private, process, start_logs},
    reading::{Read, Reader},
    signals::Signals,
    systemd::{notify, reloading},
    takeover::Takeover,
};
use crate::{
    admin::{self, Admin, Readiness},
    build::{Built, Process, State, build},
    config::{Config, Diagnostics, Watched},
    gateway::Gateway,
    inherited::Inherited,
    limit::KeyHasher,
    reload::{
        self, Doors, Opening, Outcome, ReloadHandle, Reloader, Source, log_warnings, resolve,
    },
    server::{Crowd, Worker},
    telemetry::{AccessGuard, LogGuard, logs},
    watch,
};

/// Reloads that may be asked for while one runs; more have to wait to ask.
const MOST_RELOADS: usize = 8;

/// Why the gateway did not come up.
#[derive(Debug)]
pub enum StartError {
    /// The configuration has mistakes.
    Mistakes(Diagnostics),
    /// Something else is in the way.
    Other(String),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::Mistakes(diagnostics) => f.write_str(&diagnostics.render(false)),
            StartError::Other(why) => f.write_str(why),
        }
    }
}

impl From<String> for StartError {
    fn from(why: String) -> Self {
        StartError::Other(why)
    }
}

/// How the gateway ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// Drained; so many connections with a request in flight had to be cut.
    Drained {
        /// Connections that were cut.
        cut: usize,
    },
    /// A second signal did not wait for the drain.
    AtOnce,
    /// A worker's thread ended by itself; the others were drained.
    Broken,
}

/// What a command wants to say or do once the gateway serves.
pub type OnReady = Box<dyn FnOnce(&Ready) + Send>;

/// Where the gateway serves.
#[derive(Debug)]
pub struct Ready {
    /// Listeners, with the ports that the system chose.
    pub listeners: Vec<std::net::SocketAddr>,
    /// The admin listener.
    pub admin: Option<std::net::SocketAddr>,
}

/// Runs the gateway until a signal ends it.
///
/// # Errors
/// Nothing was bound, or all of it was let go again.
pub fn run(source: Source, on_ready: OnReady) -> Result<Ended, StartError> {
    let inherited = Inherited::take()?;
    let config = source.load().map_err(StartError::Mistakes)?;
    let logs = start_logs(&config.log)?;
    if let Source::File(path) = &source {
        let path = std::path::absolute(path).unwrap_or_else(|_| path.clone());
        tracing::info!("configuration read from {}", path.display());
    }
    // Blocking threads take turns: one is kept from look to look at the files, of more each would wait longer and ends.
    // Otherwise all that ever looked names up at once would be kept for good.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .thread_keep_alive(watch::LOOK * 3 / 2)
        .build()
        .map_err(|error| format!("cannot start the control thread's runtime ({error})"))?;
    let ended = runtime.block_on(async {
        let app = App::start(source, config, inherited, &logs).await?;
        on_ready(&app.ready);
        Ok(app.serve().await)
    });
    // A lookup that hangs must not keep the process from ending.
    runtime.shutdown_background();
    drop(logs);
    ended
}

struct App {
    reloader: Reloader,
    readiness: Arc<Readiness>,
    admin: Arc<Admin>,
    asked: mpsc::Receiver<oneshot::Sender<Outcome>>,
    access: AccessGuard,
    /// There is a `state_dir`.
    saver: Option<Arc<Mutex<Saver>>>,
    log_level: logs::LogControl,
    signals: Signals,
    reader: Reader,
    /// The process that is to take over, while it starts.
    takeover: Option<Takeover>,
    ready: Ready,
}

/// What the control thread reacts to.
enum Event {
    /// A signal to end.
    Stop,
    /// Somebody asks for a reload, and perhaps waits for its outcome; or the files are not what was read.
    Reload(Option<oneshot::Sender<Outcome>>),
    /// A signal to have a new process take over.
    Upgrade,
    /// What came of it: the new process's id.
    Upgraded(Result<u32, String>),
    /// The configuration was read, or could not be.
    Read(Box<Read>),
    /// A worker's thread has ended, which none does by itself.
    WorkerDied,
}

impl App {
    async fn start(
        source: Source,
        config: Config,
        mut inherited: Inherited,
        logs: &LogGuard,
    ) -> Result<Self, StartError> {
        let started = Instant::now();
        let signals =
            Signals::new().map_err(|error| format!("cannot listen to signals ({error})"))?;
        let kept = config
            .server
            .state_dir
            .as_deref()
            .map(StateDir::open)
            .transpose()?;
        let (state_dir, hasher) = kept.map_or_else(
            || (None, KeyHasher::new()),
            |(dir, hasher)| (Some(dir), hasher),
        );
        let (process, access) = process(&config, hasher)?;
        logs.control().count_dropped(&process.metrics.dropped());
        let watched = config.watched.clone();
        let config = Arc::new(config);
        let built =
            build(Arc::clone(&config), None, &process).map_err(|error| error.to_string())?;
        let saver = state_dir.map(|dir| {
            dir.restore(&built.state);
            Arc::new(Mutex::new(Saver::new(dir, Arc::clone(&process.metrics))))
        });
        let reader = Reader::new(source);
        let mut reloader = reloader(process, built, watched);
        let opening = reloader.bind_new(&config, &mut inherited)?;
        let listeners = opening.addresses();
        let (ask, asked) = mpsc::channel(MOST_RELOADS);
        let admin = Arc::new(admin(&reloader, &config, ReloadHandle(ask)));
        let admin_socket = config
            .admin
            .as_ref()
            .and_then(|admin| inherited.admin(admin.bind));
        inherited.finish()?;
        let admin_address = admin::start(&admin, admin_socket)?;
        open(&mut reloader, opening).await?;
        log_warnings(&config.warnings);
        keep_memory_private(&config);
        reloader
            .process
            .metrics
            .loaded(SystemTime::now(), started.elapsed());
        admin.readiness.set_ready(true);
        takeover::tell_ready(&mut inherited);
        let ready = Ready {
            listeners,
            admin: admin_address,
        };
        Ok(Self {
            reloader,
            readiness: Arc::clone(&admin.readiness),
            admin,
            asked,
            access,
            saver,
            log_level: logs.control(),
            signals,
            reader,
            takeover: None,
            ready,
        })
    }

    /// Serves until the end.
    async fn serve(mut self) -> Ended {
        let maintenance = tokio::spawn(maintain(Arc::clone(&self.reloader.state)));
        let saving = self
            .saver
            .clone()
            .map(|saver| tokio::spawn(save_often(saver, Arc::clone(&self.reloader.state))));
        self.reader.watch(&self.reloader.watched);
        let mut successor = None;
        let is_whole = loop {
            match self.next().await {
                Event::Stop => break true,
                Event::Upgrade => {
                    // What the new process begins with.
                    self.save().await;
                    self.upgrade();
                }
                Event::Upgraded(Ok(process)) => {
                    successor = Some(process);
                    // Its files now.
                    self.saver = None;
                    break true;
                }
                Event::Upgraded(Err(why)) => {
                    tracing::error!("no new process takes over, this one goes on: {why}")
                }
                Event::Reload(reply) => self.begin_reload(reply),
                Event::Read(read) => self.reload(*read).await,
                Event::WorkerDied => {
                    tracing::error!("a worker thread has ended; stopping");
                    break false;
                }
            }
        };
        maintenance.abort();
        saving.inspect(tokio::task::JoinHandle::abort);
        let ended = self.drain(successor).await;
        if is_whole { ended } else { Ended::Broken }
    }

    /// Writes down what outlives the process.
    async fn save(&self) {
        if let Some(saver) = &self.saver {
            persist::save(saver, self.reloader.state.load_full()).await;
        }
    }

    async fn next(&mut self) -> Event {
        let is_reading = self.reader.is_busy();
        let reader = &mut self.reader;
        let files = async {
            if is_reading {
                return Event::Read(Box::new(reader.read().await));
            }
            reader.changed().await;
            Event::Reload(None)
        };
        tokio::select! {
            event = self.signals.next() => event,
            outcome = takeover::outcome(&mut self.takeover) => Event::Upgraded(outcome),
            Some(reply) = self.asked.recv(), if !is_reading => Event::Reload(Some(reply)),
            event = files => event,
            () = one_ended(&self.reloader.workers) => Event::WorkerDied,
        }
    }

    fn begin_reload(&mut self, reply: Option<oneshot::Sender<Outcome>>) {
        notify(&reloading());
        self.reader.begin(reply);
    }

    async fn reload(
        &mut self,
        Read {
            loaded,
            since,
            reply,
            is_wanted_again,
        }: Read,
    ) {
        let outcome = self.reloader.reload(loaded, since).await;
        if let Outcome::Done { .. } = outcome {
            let config = Arc::clone(&self.reloader.state.load().config);
            keep_memory_private(&config);
            if let Err(error) = self.log_level.set_level(config.log.level) {
                tracing::warn!(%error, "the log level stays as it was");
            }
            admin::reconfigure(
                &self.admin,
                config.admin.as_ref(),
                self.reloader.admin.take(),
            );
        }
        notify(&[sd_notify::NotifyState::Ready]);
        if let Some(reply) = reply {
            // The caller may have left since.
            let _ = reply.send(outcome);
        }
        if is_wanted_again {
            self.begin_reload(None);
        } else {
            self.reader.watch(&self.reloader.watched);
        }
    }
}

/// What a reload touches, as long as nothing is open.
fn reloader(process: Process, built: Built, watched: Watched) -> Reloader {
    let files = files();
    Reloader {
        process,
        state: Arc::new(ArcSwap::from_pointee(built.state)),
        routes: Arc::new(ArcSwap::from_pointee(built.snapshot)),
        doors: Doors::default(),
        sockets: BTreeMap::new(),
        workers: Vec::new(),
        crowd: Crowd::new(files.clients),
        files,
        admin: None,
        watched,
    }
}

/// What can fail is behind: names, workers, and then whoever connects.
async fn open(reloader: &mut Reloader, opening: Opening) -> Result<(), StartError> {
    resolve(&reloader.state.load(), reload::NAMES).await;
    reloader.workers = start_workers(reloader)?;
    reloader.warm_up(&reloader.state.load_full()).await;
    reloader.open(opening).await;
    reloader.state.load().take_over_checks(None);
    Ok(())
}

/// Waits until a worker's thread has ended.
async fn one_ended(workers: &[Worker]) {
    let mut all: FuturesUnordered<_> = workers.iter().map(Worker::ended).collect();
    all.next().await;
}

fn start_workers(reloader: &Reloader) -> Result<Vec<Worker>, StartError> {
    let start = |index| {
        let metrics = Arc::clone(&reloader.process.metrics);
        Worker::start(
            index,
            Gateway::new(Arc::clone(&reloader.routes), index, metrics),
        )
    };
    let workers = (0..reloader.process.workers)
        .map(start)
        .collect::<io::Result<_>>();
    workers.map_err(|error| StartError::Other(format!("cannot start the workers ({error})")))
}

fn admin(reloader: &Reloader, config: &Config, reload: ReloadHandle) -> Admin {
    Admin::new(
        config.admin.clone(),
        Arc::clone(&reloader.process.metrics),
        Arc::clone(&reloader.state),
        Arc::clone(&reloader.doors),
        reload,
    )
}

/// Writes what is to outlive the process.
async fn save_often(saver: Arc<Mutex<Saver>>, state: Arc<ArcSwap<State>>) {
    let mut pause = persist::PAUSE;
    loop {
        sleep(pause).await;
        pause = persist::save(&saver, state.load_full()).await;
    }
}

/// The configuration files that are looked for, in this order, when none is named.
pub fn default_files() -> [PathBuf; 2] {
    [
        "./tidegate.toml".into(),
        "/etc/tidegate/tidegate.toml".into(),
    ]
}
