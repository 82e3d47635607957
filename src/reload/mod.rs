//! Reloads: everything new is read, checked and built, then swapped in at once,
//! then whatever is gone drains. After any error the old configuration stays.
//!
//! Reloads run on the control thread, one at a time. A request keeps the
//! snapshot of the routes that it began with.
//!
//! # Order
//!
//! 1. The sections of the file are compared. If none changed, only step 7
//!    follows.
//! 2. New sockets are bound and TLS is built. Of the steps that can fail these
//!    come first, as they depend on other processes.
//! 3. [`build`](crate::build) makes the new state from the configuration and
//!    the state of the previous one.
//! 4. Names of new servers are resolved, connections to the store are opened,
//!    each for a bounded time, and certificates that were ordered before are
//!    read. These steps cannot fail: slower names are resolved later.
//! 5. The new snapshot takes the place of the old one. From here on nothing can
//!    fail.
//! 6. Listeners open, change and close, and the metrics of removed items are
//!    dropped.
//! 7. Sockets whose file another process has removed are bound again.
//!
//! Up to step 5 an error leaves the running configuration untouched; sockets
//! that were bound for it close when they are dropped.
//!
//! # Callers
//!
//! `app::serve` reads the file on another thread, because a file system may
//! hang, and then calls [`Reloader::reload`] with the result. The admin
//! listener asks for a reload through a [`ReloadHandle`].

mod files;
mod listeners;
mod outcome;
mod sockets;

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwap;
use tokio::{
    net::TcpListener,
    sync::oneshot,
    time::{Instant, timeout},
};

pub use self::{
    files::Files,
    listeners::{Listeners, OpenListeners, Opening},
    outcome::{ConfigSource, Outcome, ReloadFailure, ReloadHandle},
    sockets::{HeldSockets, bind_admin},
};
use self::{outcome::notes, sockets::bind_new_admin};
use crate::{
    acme::Acme,
    build::{Process, State, build},
    config::{Config, Diagnostics, Watched},
    gateway::Snapshot,
    inherited::Inherited,
    server::Worker,
    telemetry::metrics::{KeptNames, Reload as ReloadResult},
};

/// Longest time that a start or a reload waits for the names of new upstreams.
/// Slower names are resolved again later.
pub const NAMES: Duration = Duration::from_secs(2);
/// Longest wait for connections to the store. If they take longer, `on_error`
/// applies to requests meanwhile.
const WARM_UP: Duration = Duration::from_secs(2);

/// Everything that a reload changes. Owned by the control thread.
#[derive(Debug)]
pub struct Reloader {
    /// The parts of the process that outlive every configuration.
    pub process: Process,
    /// The state of the configuration that serves, from which a reload takes
    /// over what is kept.
    pub state: Arc<ArcSwap<State>>,
    /// The snapshot of the routes for new requests. Workers look at it for each
    /// request.
    pub routes: Arc<Snapshot>,
    /// The open listeners and their sockets.
    pub listeners: OpenListeners,
    /// The certificates that the gateway orders itself.
    pub acme: Arc<Acme>,
    /// The workers that serve the listeners. Their number never changes.
    pub workers: Vec<Worker>,
    /// The new socket of the admin listener after a reload, to be taken by the
    /// task that serves it; `None` if its address did not change, or it is off.
    pub admin: Option<TcpListener>,
    /// The files that were read last, whether their configuration serves or
    /// failed: a repair of any of them causes the next reload.
    pub watched: Watched,
}

impl Reloader {
    /// Applies the configuration that was `read` from its [`ConfigSource`] since
    /// `started`, and logs and counts the outcome. `read` is `None` if the
    /// files could not be read in time.
    ///
    /// Must not be cancelled: a future that is dropped after the swap leaves
    /// listeners of the old configuration open.
    pub async fn reload(
        &mut self,
        read: Option<Result<Config, Diagnostics>>,
        started: Instant,
    ) -> Outcome {
        let outcome = match read {
            None => {
                let why =
                    "the files cannot be read: the file system where they are does not answer";
                Outcome::Failed(ReloadFailure::Impossible(why.to_owned()))
            }
            Some(Err(mistakes)) => {
                self.watched = mistakes.watched.clone();
                Outcome::Failed(ReloadFailure::Mistakes(Arc::new(mistakes)))
            }
            Some(Ok(config)) => {
                self.watched = config.watched.clone();
                self.apply(config).await.unwrap_or_else(Outcome::Failed)
            }
        };
        self.report(&outcome, started.elapsed());
        outcome
    }

    /// Steps 1 to 7 of the [module](self).
    ///
    /// # Errors
    /// The configuration cannot be used. Nothing has changed then.
    async fn apply(&mut self, config: Config) -> Result<Outcome, ReloadFailure> {
        let before = self.state.load_full();
        let sections = before.config.changed_sections(&config);
        if sections.is_empty() {
            return Ok(Outcome::Unchanged {
                notes: self.listeners.bind_lost(&self.workers).await,
                warnings: config.warnings,
            });
        }
        let config = Arc::new(config);
        // Steps that can fail come first, and of these the sockets, which
        // depend on other processes.
        self.acme.check(&config.listeners)?;
        let mut inherited = Inherited::default();
        let opening = self.listeners.bind_new(&config, &mut inherited)?;
        let admin = bind_new_admin(&before.config, &config)?;
        let built = build(Arc::clone(&config), Some(&before), &self.process)?;
        let opening = opening.closing(&built.state.address_bans());
        resolve(&built.state, NAMES).await;
        self.warm_up(&built.state).await;
        self.acme.follow(&config.listeners).await;
        self.routes.replace(built.snapshot);
        built.state.take_over_checks(Some(&before));
        built.state.start_fetching();
        self.state.store(Arc::new(built.state));
        self.admin = admin;
        self.listeners.open(opening, &self.workers).await;
        self.listeners.close_gone(&config);
        self.forget_gone(&config);
        let mut notes = notes(&before.config, &config);
        notes.extend(self.listeners.bind_lost(&self.workers).await);
        let warnings = Arc::clone(&config.warnings);
        Ok(Outcome::Done {
            report: built.report,
            sections,
            notes,
            warnings,
        })
    }

    /// Makes every worker connect to the store, so that the first requests need
    /// not wait for it. Waits at most two seconds; connecting continues after
    /// that. Does nothing without a store.
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

    /// Removes the metrics of routes, limits, upstreams and listeners that are
    /// gone.
    fn forget_gone(&self, config: &Config) {
        let mut kept = KeptNames::default();
        for route in &config.routes {
            kept.routes.insert(&route.name);
        }
        for limit in &config.limits {
            kept.limits.extend(limit.deciding().map(Arc::as_ref));
        }
        for upstream in config.called() {
            kept.upstreams.insert(&upstream.name);
        }
        let open = self.listeners.by_key.lock();
        let names: Vec<_> = open.values().map(|listener| listener.name()).collect();
        drop(open);
        kept.listeners.extend(names.iter().map(Arc::as_ref));
        self.process.metrics.retain(&kept);
    }

    /// Logs and counts a reload. `took` includes the reading of the files.
    fn report(&self, outcome: &Outcome, took: Duration) {
        let result = match outcome {
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
                log_notes(notes);
                log_warnings(warnings);
                ReloadResult::Success
            }
            Outcome::Unchanged { notes, .. } => {
                tracing::info!("configuration unchanged");
                log_notes(notes);
                ReloadResult::Unchanged
            }
            Outcome::Failed(failure) => {
                tracing::error!(
                    "configuration not reloaded, the previous configuration stays in use:\n{failure}"
                );
                ReloadResult::Failure
            }
        };
        self.process
            .metrics
            .reloaded(result, SystemTime::now(), took);
    }
}

/// Resolves the names of upstreams that are due, for at most `max_wait`.
/// Look-ups that take longer continue in the background. Changes are logged.
pub async fn resolve(state: &State, max_wait: Duration) {
    let mut lookups = Vec::new();
    for (_, upstream) in state.upstreams() {
        lookups.extend(upstream.resolve());
    }
    let _ = timeout(max_wait, futures_util::future::join_all(lookups)).await;
}

/// Logs what a start or a reload has found, one line for each.
pub fn log_notes(notes: &[String]) {
    for note in notes {
        tracing::warn!("{note}");
    }
}

/// Logs the settings of a configuration that are surely not intended, one line
/// for each.
pub fn log_warnings(warnings: &Diagnostics) {
    for warning in warnings.lines() {
        tracing::warn!("{warning}");
    }
}
