//! The end in order: not ready, stop accepting, finish what is in flight, cut the rest, write the last lines.

use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::{App, Ended, systemd::notify};
use crate::{admin, duration, server::Worker};

/// Longest wait for those who read the logs, once all is over.
const LAST_LINES: Duration = Duration::from_secs(1);

impl App {
    /// Not ready, stop accepting, finish what is in flight, cut the rest.
    /// Where a `successor` has taken over, the service goes on: what remains here is to finish.
    pub(super) async fn drain(mut self, successor: Option<u32>) -> Ended {
        let mut shutdown = self.reloader.state.load().config.shutdown.clone();
        match successor {
            Some(process) => {
                notify(&[sd_notify::NotifyState::MainPid(process)]);
                // Nobody has to learn that this address goes away: it stays.
                shutdown.delay = Duration::ZERO;
                admin::stop(&self.admin);
                tracing::info!(process, "a new process has taken over");
            }
            None => {
                // One that is still starting would be left alone with nobody to tell.
                self.takeover = None;
                notify(&[sd_notify::NotifyState::Stopping]);
            }
        }
        self.readiness.set_ready(false);
        self.refuse_reloads();
        let [drain, delay] = [shutdown.drain, shutdown.delay].map(duration::text);
        tracing::info!(%drain, %delay, "draining");
        let doors: Vec<_> = self.reloader.doors.lock().values().cloned().collect();
        let workers = std::mem::take(&mut self.reloader.workers);
        let drained = async {
            sleep(shutdown.delay).await;
            // First: a socket that is open somewhere still takes connections, which nobody would serve.
            self.reloader.sockets.clear();
            for door in doors {
                door.begin_drain(shutdown.drain);
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
                tracing::warn!(
                    cut,
                    "the drain took too long: {cut} connections with requests in flight are cut"
                )
            }
            None => tracing::warn!(
                cut,
                "stopped at once by a second signal: {cut} connections are cut"
            ),
        }
        for worker in workers {
            let _ = timeout(LAST_LINES, worker.cut()).await;
        }
        self.save().await;
        self.end_logs().await;
        if is_done.is_some() {
            Ended::Drained { cut }
        } else {
            Ended::AtOnce
        }
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
        let left = tokio::task::spawn_blocking(move || access.flush(LAST_LINES))
            .await
            .unwrap_or_default();
        if left > 0 {
            tracing::warn!(left, "access lines were not read in time and are lost");
        }
    }
}
