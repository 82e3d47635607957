//! The loop of the control thread, from the start to the end of the process.
//!
//! One event is handled at a time, so that reloads, takeovers and the end never
//! interleave. Nothing in the loop waits for a request, a disk or a name server
//! without a bound.
//!
//! # Events
//!
//! * A signal: ends the loop, begins a reload, or starts a process that takes
//!   over.
//! * A changed file or a call of the admin listener: begins to read the
//!   configuration, on another thread. While a new process starts, changed files
//!   are its own affair.
//! * A configuration that was read: is built and applied here, at once.
//! * A process that takes over: serves, upon which this one drains, or has
//!   failed, upon which this one goes on.
//! * The end of a worker: ends the process.
//!
//! All sources that `next` waits for are cancel safe: an event that was not
//! taken stays with its source.

use std::sync::Arc;

use arc_swap::ArcSwap;
use futures_util::{StreamExt, stream::FuturesUnordered};
use parking_lot::Mutex;
use sd_notify::NotifyState;
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
    time::sleep,
};

use super::{
    maintain::maintain,
    outcome::{Ended, Ready},
    persist::{self, Saver},
    process::keep_memory_private,
    reading::{ReadOutcome, Reader},
    signals::{Signal, Signals},
    systemd::{notify, reloading},
    takeover::{self, Successor, Takeover},
};
use crate::{
    admin::Admin,
    build::State,
    reload::{HeldSockets, Outcome, Reloader},
    server::Worker,
    telemetry::{AccessGuard, LogControl},
};

/// A gateway that serves, as its control thread sees it.
pub(super) struct App {
    /// The running parts, and the means to replace them.
    pub(super) reloader: Reloader,
    /// The admin listener.
    pub(super) admin: Admin,
    /// Reload requests of the admin listener, each with the sender for its
    /// outcome.
    pub(super) reload_requests: mpsc::Receiver<oneshot::Sender<Outcome>>,
    /// Ends the access log.
    pub(super) access: AccessGuard,
    /// Writes the state that outlives the process; `None` without a
    /// `state_dir`.
    pub(super) saver: Option<Arc<Mutex<Saver>>>,
    /// Changes the level of the log after a reload.
    pub(super) log_control: LogControl,
    /// The signals of the process.
    pub(super) signals: Signals,
    /// Reads and watches the configuration.
    pub(super) reader: Reader,
    /// The process that is to take over, while it starts.
    pub(super) takeover: Option<Takeover>,
    /// The addresses, for the caller of `run`.
    pub(super) ready: Ready,
}

/// An event that the control thread reacts to.
enum Event {
    /// A signal.
    Signal(Signal),
    /// Files have changed, or the admin listener asks for a reload and waits
    /// for its outcome.
    Reload(Option<oneshot::Sender<Outcome>>),
    /// The configuration was read, or could not be.
    Read(Box<ReadOutcome>),
    /// The new process serves; or it failed, for this reason.
    Upgraded(Result<Successor, String>),
    /// The thread of a worker has ended, which no worker does by itself.
    WorkerDied,
}

/// Why the loop ended.
enum LoopEnd {
    /// A signal to end.
    Stopped,
    /// This process has taken over.
    TakenOver(Successor),
    /// A worker has died. The process ends, because its connections and its
    /// share of the sockets' queues are lost, and a supervisor starts another.
    Broken,
}

impl App {
    /// Serves until the end, and drains.
    pub(super) async fn serve(mut self) -> Ended {
        let maintenance = tokio::spawn(maintain(Arc::clone(&self.reloader.state)));
        let saving = self.saver.clone().map(|saver| {
            let state = Arc::clone(&self.reloader.state);
            tokio::spawn(save_often(saver, state))
        });
        let ordering = tokio::spawn(self.reloader.acme.run());
        self.reader.watch(&self.reloader.watched);
        let end = self.run().await;
        maintenance.abort();
        // A process that takes over makes the orders from now on.
        ordering.abort();
        saving.inspect(JoinHandle::abort);
        match end {
            LoopEnd::Stopped => self.drain(None).await,
            LoopEnd::TakenOver(Successor { process, served }) => {
                self.reloader.listeners.leave_files(&served);
                // The files in the state directory belong to the new process
                // now.
                self.saver = None;
                self.drain(Some(process)).await
            }
            LoopEnd::Broken => {
                self.drain(None).await;
                Ended::Broken
            }
        }
    }

    /// Handles events until one of them ends the process.
    ///
    /// An event is handled to its end before the next one is awaited. A reload
    /// takes as long as the build, and at most a few seconds more for names and
    /// the store.
    async fn run(&mut self) -> LoopEnd {
        loop {
            match self.next().await {
                Event::Signal(Signal::Stop) => return LoopEnd::Stopped,
                Event::Signal(Signal::Reload) => self.begin_reload(None),
                Event::Signal(Signal::Upgrade) => {
                    // The new process starts with the state that is saved here.
                    self.save().await;
                    self.upgrade();
                }
                Event::Reload(reply) => self.begin_reload(reply),
                Event::Read(read) => self.reload(*read).await,
                Event::Upgraded(Ok(successor)) => return LoopEnd::TakenOver(successor),
                Event::Upgraded(Err(why)) => {
                    tracing::error!("no new process takes over, this one goes on: {why}");
                }
                Event::WorkerDied => {
                    tracing::error!("a worker thread has ended; stopping");
                    return LoopEnd::Broken;
                }
            }
        }
    }

    /// Waits for the next event. Requests of the admin listener for a reload
    /// stay in their channel during a reading, so that each gets the outcome of
    /// a reading that began after it.
    async fn next(&mut self) -> Event {
        let is_reading = self.reader.is_busy();
        // A process that starts has read the same change, and opens its sockets.
        let is_followed = self.takeover.is_some();
        let reader = &mut self.reader;
        let files = async {
            if is_reading {
                return Event::Read(Box::new(reader.read().await));
            }
            if is_followed {
                return std::future::pending().await;
            }
            reader.changed().await;
            Event::Reload(None)
        };
        tokio::select! {
            signal = self.signals.next() => Event::Signal(signal),
            outcome = takeover::outcome(&mut self.takeover) => Event::Upgraded(outcome),
            Some(reply) = self.reload_requests.recv(), if !is_reading => Event::Reload(Some(reply)),
            event = files => event,
            () = one_ended(&self.reloader.workers) => Event::WorkerDied,
        }
    }

    /// Saves the state that outlives the process; does nothing without a
    /// `state_dir`.
    pub(super) async fn save(&self) {
        if let Some(saver) = &self.saver {
            persist::save(saver, self.reloader.state.load_full()).await;
        }
    }

    /// Begins to read the configuration, and tells systemd so.
    ///
    /// The outcome comes as `Event::Read`. systemd is told `RELOADING=1` with
    /// the time of the clock that it demands.
    fn begin_reload(&mut self, reply: Option<oneshot::Sender<Outcome>>) {
        notify(&reloading());
        self.reader.begin(reply);
    }

    /// Applies a configuration that was read, and reports the outcome to
    /// systemd and the caller. The file is watched again afterwards, whether
    /// the reload succeeded or not.
    ///
    /// The level of the log and the admin listener change only after a success.
    /// A level that cannot be changed is logged, and the reload counts as done.
    async fn reload(&mut self, read: ReadOutcome) {
        let outcome = self.reloader.reload(read.loaded, read.since).await;
        if let Outcome::Done { .. } = outcome {
            let config = Arc::clone(&self.reloader.state.load().config);
            keep_memory_private(&config);
            if let Err(error) = self.log_control.set_level(config.log.level) {
                tracing::warn!(%error, "the log level stays as it was");
            }
            let bound = self.reloader.admin.take();
            self.admin.reconfigure(config.admin.as_ref(), bound);
        }
        notify(&[NotifyState::Ready]);
        if let Some(reply) = read.reply {
            // The caller may have left since.
            let _ = reply.send(outcome);
        }
        if read.is_wanted_again {
            self.begin_reload(None);
        } else {
            self.reader.watch(&self.reloader.watched);
        }
    }

    /// Starts the process that is to take over, unless one starts already.
    ///
    /// The sockets are copies: both processes accept until this one drains.
    fn upgrade(&mut self) {
        if self.takeover.is_some() {
            tracing::warn!("a new process starts already");
            return;
        }
        let held = self.reloader.listeners.sockets.values();
        let sockets = held.flat_map(HeldSockets::named);
        match Takeover::start(sockets, self.admin.socket()) {
            Ok(takeover) => {
                tracing::info!(process = takeover.id(), "a new process starts");
                self.takeover = Some(takeover);
            }
            Err(why) => tracing::error!("no new process takes over, this one goes on: {why}"),
        }
    }
}

/// Waits until the thread of a worker has ended.
async fn one_ended(workers: &[Worker]) {
    let mut all: FuturesUnordered<_> = workers.iter().map(Worker::ended).collect();
    all.next().await;
}

/// Saves the state that outlives the process, again and again.
async fn save_often(saver: Arc<Mutex<Saver>>, state: Arc<ArcSwap<State>>) {
    let mut pause = persist::PAUSE;
    loop {
        sleep(pause).await;
        pause = persist::save(&saver, state.load_full()).await;
    }
}
