//! Reads the configuration beside everything else, so that a file system that
//! hangs delays no signal, probe or scrape.
//!
//! There is at most one reading at a time, and at most one thread that a
//! reading has lost to a file system that hangs: the next reading waits for
//! that thread instead of starting another one. Reloads that are asked for
//! during a reading become one further reading after it, because the file may
//! have changed since.

use std::{future::pending, time::Duration};

use tokio::{
    sync::oneshot,
    task::{JoinHandle, spawn_blocking},
    time::{Instant, timeout_at},
};

use crate::{
    config::{Config, Diagnostics, Watched},
    reload::{ConfigSource, Outcome},
    watch,
};

/// Longest time for reading the files. Local ones take milliseconds.
const LONGEST: Duration = Duration::from_secs(10);

/// A reading on the blocking pool.
type Load = JoinHandle<Result<Config, Diagnostics>>;

/// The outcome of one reading.
pub(super) struct ReadOutcome {
    /// The configuration or its mistakes; `None` if reading took too long.
    pub(super) loaded: Option<Result<Config, Diagnostics>>,
    /// The beginning of the reading.
    pub(super) since: Instant,
    /// The sender for the outcome, if a caller waits for it.
    pub(super) reply: Option<oneshot::Sender<Outcome>>,
    /// Another reload was asked for during the reading.
    pub(super) is_wanted_again: bool,
}

/// Reads the configuration for reloads, one at a time, and watches its files in
/// between.
pub(super) struct Reader {
    /// The configuration's source, which each reading reads as a whole.
    source: ConfigSource,
    /// The reading that is under way.
    reading: Option<Reading>,
    /// A load that took too long and keeps its thread. The next reading waits
    /// for its end, so that no second thread is lost.
    stuck: Option<Load>,
    /// The task that waits for a change of the files.
    watcher: Option<JoinHandle<()>>,
}

/// A reading that is under way, and what is known about its caller.
struct Reading {
    /// The reading itself.
    load: Load,
    /// The beginning, from which its time is counted.
    since: Instant,
    /// The sender for the outcome, if a caller waits for it.
    reply: Option<oneshot::Sender<Outcome>>,
    /// Whether another reload was asked for since.
    is_wanted_again: bool,
}

impl Reader {
    /// Reads `source`. Nothing is read or watched yet.
    pub(super) fn new(source: ConfigSource) -> Self {
        Self {
            source,
            reading: None,
            stuck: None,
            watcher: None,
        }
    }

    /// Whether a reading is under way.
    pub(super) fn is_busy(&self) -> bool {
        self.reading.is_some()
    }

    /// Begins to read, or during a reading, notes that another one is wanted;
    /// `reply` is dropped then. A thread that an earlier reading has lost is
    /// waited for first, and its result is followed by a fresh reading.
    pub(super) fn begin(&mut self, reply: Option<oneshot::Sender<Outcome>>) {
        if let Some(reading) = &mut self.reading {
            reading.is_wanted_again = true;
            return;
        }
        let stuck = self.stuck.take().filter(|stuck| !stuck.is_finished());
        let is_wanted_again = stuck.is_some();
        let source = self.source.clone();
        let load = stuck.unwrap_or_else(|| spawn_blocking(move || source.load()));
        self.reading = Some(Reading {
            load,
            since: Instant::now(),
            reply,
            is_wanted_again,
        });
    }

    /// Waits for the end of the reading, for ever if there is none. Cancel
    /// safe: the reading continues, and the next call waits for it.
    pub(super) async fn read(&mut self) -> ReadOutcome {
        let Some(reading) = &mut self.reading else {
            return pending().await;
        };
        let ended = timeout_at(reading.since + LONGEST, &mut reading.load).await;
        let Some(reading) = self.reading.take() else {
            return pending().await;
        };
        let Reading {
            load,
            since,
            reply,
            is_wanted_again,
        } = reading;
        let loaded = match ended {
            Ok(loaded) => loaded.ok(),
            Err(_) => {
                self.stuck = Some(load);
                None
            }
        };
        let is_wanted_again = is_wanted_again && loaded.is_some();
        ReadOutcome {
            loaded,
            since,
            reply,
            is_wanted_again,
        }
    }

    /// Watches the files that were read last, in place of those that were
    /// watched before. Does nothing for a text in memory, or while a reading is
    /// lost.
    pub(super) fn watch(&mut self, watched: &Watched) {
        if let (ConfigSource::File(_), None) = (&self.source, &self.stuck) {
            let watcher = tokio::spawn(watch::changed(watched.clone()));
            if let Some(earlier) = self.watcher.replace(watcher) {
                earlier.abort();
            }
        }
    }

    /// Waits until a watched file has changed; for ever if none is watched.
    /// Cancel safe.
    pub(super) async fn changed(&mut self) {
        let Some(watcher) = &mut self.watcher else {
            return pending().await;
        };
        let _ = watcher.await;
        self.watcher = None;
    }
}
