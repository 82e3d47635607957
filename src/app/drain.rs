//! The end in order: report not ready, stop accepting, finish requests in
//! flight, cut the rest, save, send the last spans, write the last lines.
//!
//! Every wait has a bound: `shutdown.delay` before accepting stops,
//! `shutdown.drain` for requests in flight, and a second each for a worker that
//! is cut and for the reader of the access log, and two for the collector of
//! traces. A second signal ends the first two at once.
//!
//! # Not ready before not accepting
//!
//! A load balancer learns from the readiness probe that this gateway goes away,
//! and takes a while for that. During `shutdown.delay` the gateway reports not
//! ready and still accepts, so that no connection is refused in the meantime.
//!
//! # The state
//!
//! Buckets are saved after the last request, so that nothing that it took is
//! missing. After a takeover nothing is saved: the files belong to the
//! successor.

use std::{sync::Arc, time::Duration};

use sd_notify::NotifyState;
use tokio::{
    task::spawn_blocking,
    time::{sleep, timeout},
};

use super::{outcome::Ended, serve::App, systemd::notify};
use crate::{
    duration, policy,
    server::{Listener, Worker},
};

/// Longest wait for the readers of the logs after everything else has ended,
/// and for a worker whose connections are cut.
const LAST_LINES: Duration = Duration::from_secs(1);

/// Longest wait for the collector of traces after the last request: one more
/// round trip than a connection over TLS takes to a distant one.
const LAST_SPANS: Duration = Duration::from_secs(2);

/// How a drain ended.
///
/// The first two end with exit status 0, the third with 1.
#[derive(Debug, Clone, Copy)]
enum Drain {
    /// No connection was left.
    Complete,
    /// The time was over while connections were left.
    OutOfTime,
    /// A second signal ended it.
    Interrupted,
}

impl App {
    /// Drains and ends. With a `successor`, the id of the process that has
    /// taken over, the service goes on there: `delay` is skipped and the admin
    /// listener closes at once, because no load balancer has to learn that the
    /// address goes away.
    pub(super) async fn drain(mut self, successor: Option<u32>) -> Ended {
        let mut shutdown = self.reloader.state.load().config.shutdown.clone();
        if let Some(process) = successor {
            notify(&[NotifyState::MainPid(process)]);
            shutdown.delay = Duration::ZERO;
            self.admin.stop();
            tracing::info!(process, "a new process has taken over");
        } else {
            // A process that still starts would find nobody to report to.
            self.takeover = None;
            notify(&[NotifyState::Stopping]);
        }
        self.admin.readiness().set_ready(false);
        self.refuse_reloads();
        let workers = std::mem::take(&mut self.reloader.workers);
        let drain = self.finish_requests(&shutdown, &workers).await;
        let cut = workers.iter().map(Worker::connections).sum();
        report(drain, cut);
        for worker in workers {
            let _ = timeout(LAST_LINES, worker.cut()).await;
        }
        self.save().await;
        self.end_traces().await;
        self.end_logs().await;
        match drain {
            Drain::Complete | Drain::OutOfTime => Ended::Drained { cut },
            Drain::Interrupted => Ended::AtOnce,
        }
    }

    /// Stops accepting after `shutdown.delay`, and waits until the workers have
    /// no connections, at most for `shutdown.drain`. A stop signal ends both
    /// waits.
    ///
    /// The delay and the drain are two waits one after the other, so that both
    /// together bound the time. A connection without a request closes within
    /// half of `shutdown.drain`, and one with a request after its response.
    async fn finish_requests(&mut self, shutdown: &policy::Shutdown, workers: &[Worker]) -> Drain {
        let drain = duration::text(shutdown.drain);
        let delay = duration::text(shutdown.delay);
        tracing::info!(%drain, %delay, "draining");
        let listeners: Vec<Arc<Listener>> = self
            .reloader
            .listeners
            .by_key
            .lock()
            .values()
            .cloned()
            .collect();
        let sockets = &mut self.reloader.listeners.sockets;
        let finished = async {
            sleep(shutdown.delay).await;
            // The copies come first: a socket that is open anywhere still takes
            // connections, which nobody would serve.
            sockets.clear();
            for listener in listeners {
                listener.begin_drain(shutdown.drain);
            }
            let idle = futures_util::future::join_all(workers.iter().map(Worker::idle));
            timeout(shutdown.drain, idle).await.is_ok()
        };
        tokio::select! {
            is_complete = finished => if is_complete { Drain::Complete } else { Drain::OutOfTime },
            () = self.signals.stop() => Drain::Interrupted,
        }
    }

    /// Drops the requests for reloads, whose callers are told that the process
    /// ends.
    fn refuse_reloads(&mut self) {
        self.reload_requests.close();
        while let Ok(reply) = self.reload_requests.try_recv() {
            drop(reply);
        }
    }

    /// Sends the spans that are still in memory, for at most two seconds.
    async fn end_traces(&self) {
        if let Some(exporter) = self.reloader.state.load_full().exporter()
            && !exporter.flush(LAST_SPANS).await
        {
            tracing::warn!("the last spans were not taken in time and are lost");
        }
    }

    /// Writes the access lines that are still in memory, for at most a second.
    /// On the blocking pool, since stdout may block.
    async fn end_logs(self) {
        let access = self.access;
        let flushed = spawn_blocking(move || access.flush(LAST_LINES)).await;
        let left = flushed.unwrap_or_default();
        if left > 0 {
            tracing::warn!(left, "access lines were not read in time and are lost");
        }
    }
}

/// Logs how the drain ended. `cut` is the number of connections that are cut.
fn report(drain: Drain, cut: usize) {
    match drain {
        Drain::Complete => tracing::info!("drained"),
        Drain::OutOfTime => tracing::warn!(
            cut,
            "the drain took too long: {cut} connections with requests in flight are cut"
        ),
        Drain::Interrupted => tracing::warn!(
            cut,
            "stopped at once by a second signal: {cut} connections are cut"
        ),
    }
}
