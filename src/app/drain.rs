//! The end in order: not ready, stop accepting, finish what is in flight, cut the rest, write the last lines.

use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::{App, Ended, systemd::notify};
use crate::server::Worker;

/// Longest wait for those who read the logs, once all is over.
const LAST_LINES: Duration = Duration::from_secs(1);

impl App {
    /// Not ready, stop accepting, finish what is in flight, cut the rest.
    pub(super) async fn drain(mut self) -> Ended {
        let shutdown = self.reloader.state.load().config.shutdown.clone();
        notify(&[sd_notify::NotifyState::Stopping]);
        self.readiness.set_ready(false);
        self.refuse_reloads();
        tracing::info!(drain = ?shutdown.drain, delay = ?shutdown.delay, "draining");
        let doors: Vec<_> = self.reloader.doors.lock().values().cloned().collect();
        let workers = std::mem::take(&mut self.reloader.workers);
        let drained = async {
            sleep(shutdown.delay).await;
            for door in doors {
                door.drain.cancel();
            }
            let idle = futures_util::future::join_all(workers.iter().map(Worker::idle));
            timeout(shutdown.drain, idle).await.is_ok()
        };
        let is_done = tokio::select! {
            is_done = drained => Some(is_done),
            () = self.signals.stop() => None,
        };
        let cut: usize = workers.iter().map(Worker::connections).sum();
        match is_done {
            Some(true) => tracing::info!("drained"),
            Some(false) => {
                tracing::warn!(cut, "the drain took too long: {cut} connections with requests in flight are cut")
            }
            None => tracing::warn!(cut, "stopped at once by a second signal: {cut} connections are cut"),
        }
        for worker in workers {
            let _ = timeout(LAST_LINES, worker.cut()).await;
        }
        if let Some(saver) = &self.saver {
            super::persist::save(saver, self.reloader.state.load_full()).await;
        }
        self.end_logs().await;
        if is_done.is_some() { Ended::Drained { cut } } else { Ended::AtOnce }
    }

    /// Who waits for a reload is told that there is none any more.
    fn refuse_reloads(&mut self) {
        self.asked.close();
        while let Ok(reply) = self.asked.try_recv() {
            drop(reply);
        }
    }

    async fn end_logs(self) {
        let access = self.access;
        let left = tokio::task::spawn_blocking(move || access.flush(LAST_LINES)).await.unwrap_or_default();
        if left > 0 {
            tracing::warn!(left, "access lines were not read in time and are lost");
        }
    }
}
