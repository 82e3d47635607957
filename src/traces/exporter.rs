//! The exporter: a bounded queue of finished spans, and the thread that sends
//! them to the collector.
//!
//! Workers put the spans of a request into the queue and never wait. If it is
//! full, they drop them. The thread gathers spans for a second, or until there
//! are [`BATCH`] requests, and sends them as one request (OTLP/HTTP). A failure
//! that may pass is followed by another attempt, until `timeout`; then the spans
//! are lost. Meanwhile the queue fills.
//!
//! # The end
//!
//! [`Exporter::flush`] has the thread send what is queued without further
//! waits. An exporter that a reload has replaced does the same by itself, once
//! the last request that began with it has ended.

use std::{io, sync::Arc, thread, time::Duration};

use parking_lot::Mutex;
use tokio::{
    sync::{Notify, mpsc, watch},
    time::{Instant, sleep, timeout},
};

use super::{
    client::CollectorClient,
    environment,
    otlp::{EncodedSpan, SpanOrigin, rejected},
};
use crate::{policy::TraceExport, telemetry::TraceMetrics};

/// Requests whose spans may wait for the collector. The exporters of
/// OpenTelemetry keep as many spans.
pub const MOST_QUEUED: usize = 2048;
/// Requests whose spans are sent at once: some 300 KiB, or 5 MiB if all fields
/// are long.
const BATCH: usize = 512;
/// Time in which spans gather for a batch: nobody looks at a trace sooner.
const GATHER: Duration = Duration::from_secs(1);
/// Shortest time between two lines in the log about lost spans.
const SPACING: Duration = Duration::from_secs(60);

/// Takes the spans of finished requests for one collector.
#[derive(Debug)]
pub struct Exporter {
    policy: TraceExport,
    queue: mpsc::Sender<Vec<EncodedSpan>>,
    /// Wakes the thread when a batch is full.
    is_full: Arc<Notify>,
    /// Set at the end of the process. Dropped with the exporter, which ends the
    /// thread, too.
    is_ending: watch::Sender<bool>,
    /// Its sender is dropped when the thread ends.
    ended: Mutex<watch::Receiver<()>>,
    metrics: Arc<TraceMetrics>,
}

impl Exporter {
    /// Starts the thread that sends spans as `policy` says.
    ///
    /// Blocks to read the certificates that the system trusts, for a collector
    /// with `https`.
    ///
    /// # Errors
    /// The text says what cannot be built.
    pub fn start(policy: TraceExport, metrics: Arc<TraceMetrics>) -> Result<Self, String> {
        let client = CollectorClient::new(&policy)?;
        let attributes = environment::attributes(policy.service_name.as_deref());
        let attributes = attributes.iter().map(|(key, value)| (&**key, &**value));
        let (queue, spans) = mpsc::channel(MOST_QUEUED);
        let (is_ending, ending) = watch::channel(false);
        let (end, ended) = watch::channel(());
        let is_full = Arc::<Notify>::default();
        let exporting = Exporting {
            spans,
            is_full: Arc::clone(&is_full),
            ending,
            origin: SpanOrigin::new(attributes),
            client,
            losses: Losses::default(),
            metrics: Arc::clone(&metrics),
        };
        let cannot = |error: io::Error| format!("cannot start the thread for traces ({error})");
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(cannot)?;
        let run = move || {
            runtime.block_on(exporting.run());
            // A lookup that hangs must not keep the thread.
            runtime.shutdown_background();
            drop(end);
        };
        let thread = thread::Builder::new().name("traces".into());
        thread.spawn(run).map_err(cannot)?;
        Ok(Self {
            policy,
            queue,
            is_full,
            is_ending,
            ended: Mutex::new(ended),
            metrics,
        })
    }

    /// Whether a reload to this policy can keep it.
    pub fn implements(&self, policy: &TraceExport) -> bool {
        self.policy == *policy
    }

    /// Puts the spans of one request into the queue, or drops and counts them.
    pub fn offer(&self, spans: Vec<EncodedSpan>) {
        if let Err(refused) = self.queue.try_send(spans) {
            let spans = refused.into_inner();
            return self.metrics.not_queued(spans.len());
        }
        if self.queue.max_capacity() - self.queue.capacity() >= BATCH {
            self.is_full.notify_one();
        }
    }

    /// Sends the spans that wait, for at most `longest`, and takes no more.
    /// Returns whether that was enough time.
    pub async fn flush(&self, longest: Duration) -> bool {
        self.is_ending.send_replace(true);
        let mut ended = self.ended.lock().clone();
        // The change is that the sender is gone.
        timeout(longest, ended.changed()).await.is_ok()
    }
}

/// The work of the thread.
struct Exporting {
    spans: mpsc::Receiver<Vec<EncodedSpan>>,
    is_full: Arc<Notify>,
    ending: watch::Receiver<bool>,
    origin: SpanOrigin,
    client: CollectorClient,
    losses: Losses,
    metrics: Arc<TraceMetrics>,
}

impl Exporting {
    /// Exports until the end of the process, or until nobody is left who could
    /// send spans; then what is queued.
    async fn run(mut self) {
        let mut is_ending = false;
        loop {
            let mut batch = tokio::select! {
                first = self.spans.recv() => match first {
                    Some(first) => first,
                    None => return,
                },
                // The exporter was dropped, or the process ends.
                _ = self.ending.wait_for(|is_ending| *is_ending), if !is_ending => {
                    is_ending = true;
                    self.spans.close();
                    continue;
                }
            };
            if !is_ending && self.spans.len() < BATCH {
                tokio::select! {
                    () = sleep(GATHER) => {}
                    () = self.is_full.notified() => {}
                    _ = self.ending.wait_for(|is_ending| *is_ending) => {
                        is_ending = true;
                        self.spans.close();
                    }
                }
            }
            for _ in 1..BATCH {
                let Ok(more) = self.spans.try_recv() else {
                    break;
                };
                batch.extend(more);
            }
            self.export(batch).await;
        }
    }

    /// Exports a batch, and counts its spans.
    async fn export(&mut self, batch: Vec<EncodedSpan>) {
        let count = batch.len();
        let body = self.origin.request(&batch);
        drop(batch);
        let cause = match self.client.send(body.into()).await {
            Ok(response) => {
                let refused = rejected(&response).min(count as u64) as usize;
                self.metrics.exported(count - refused);
                self.metrics.not_exported(refused);
                (refused > 0).then(|| "the collector refused some of them".to_owned())
            }
            Err(fault) => {
                self.metrics.not_exported(count);
                Some(fault.to_string())
            }
        };
        self.losses.tell(cause, self.metrics.lost(), Instant::now());
    }
}

/// Spans that were lost, of which the log tells.
#[derive(Debug, Default)]
struct Losses {
    /// Whether the last export failed.
    is_failing: bool,
    /// Why an export failed whose losses are not told yet.
    cause: Option<String>,
    /// The time of the last line about losses.
    told_at: Option<Instant>,
    /// The losses until then.
    told: u64,
}

impl Losses {
    /// Tells the log of losses, at once and then once a minute, and of their
    /// end. `cause` is that of an export that failed, and `lost` the number of
    /// all spans that were lost so far.
    fn tell(&mut self, cause: Option<String>, lost: u64, now: Instant) {
        let was_failing = std::mem::replace(&mut self.is_failing, cause.is_some());
        if was_failing && !self.is_failing {
            tracing::info!("spans are exported again");
        }
        self.cause = cause.or(self.cause.take());
        if let Some((more, cause)) = self.due(lost, now) {
            match cause {
                Some(cause) => tracing::warn!(lost = more, "spans cannot be exported: {cause}"),
                None => tracing::warn!(
                    lost = more,
                    "the collector takes fewer spans than there are; lower `sample` of `[traces]`"
                ),
            }
        }
    }

    /// The number of losses that are to be told now, and why an export failed
    /// among them; without a failed export, the queue was full.
    fn due(&mut self, lost: u64, now: Instant) -> Option<(u64, Option<String>)> {
        let is_due = self.told_at.is_none_or(|told_at| now >= told_at + SPACING);
        if lost == self.told || !is_due {
            return None;
        }
        let more = lost - std::mem::replace(&mut self.told, lost);
        self.told_at = Some(now);
        Some((more, self.cause.take()))
    }
}

#[cfg(test)]
mod tests {
    use std::{net::TcpListener, time::SystemTime};

    use super::*;
    use crate::{
        policy::UpstreamServer,
        traces::otlp::{SpanHead, SpanKind},
    };

    fn span() -> EncodedSpan {
        EncodedSpan::new(&SpanHead {
            trace_id: 1,
            span_id: 1,
            parent: None,
            flags: 1,
            state: "",
            name: "GET",
            kind: SpanKind::Server,
            begun: SystemTime::UNIX_EPOCH,
            ended: SystemTime::UNIX_EPOCH,
            error: None,
        })
    }

    fn export(listener: &TcpListener) -> TraceExport {
        let address = listener.local_addr().unwrap();
        TraceExport {
            collector: UpstreamServer::at(&format!("http://{address}")),
            target: "/v1/traces".into(),
            service_name: None,
            headers: Vec::new(),
            timeout: Duration::from_secs(600),
        }
    }

    /// The collector takes connections and never reads.
    #[tokio::test]
    async fn a_full_queue_drops_spans_and_the_end_does_not_wait_for_the_collector() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let metrics = Arc::<TraceMetrics>::default();
        let exporter = Exporter::start(export(&listener), Arc::clone(&metrics)).unwrap();
        let offered = MOST_QUEUED + BATCH + 100;
        for _ in 0..offered {
            exporter.offer(vec![span(), span()]);
        }
        // A batch may have left the queue meanwhile.
        assert!((200..=2 * (BATCH as u64 + 100)).contains(&metrics.lost()));
        let begun = Instant::now();
        assert!(!exporter.flush(Duration::from_millis(10)).await);
        assert!(begun.elapsed() < Duration::from_secs(60));
    }

    #[test]
    fn losses_are_told_at_once_and_then_once_a_minute() {
        let now = Instant::now();
        let mut losses = Losses::default();
        assert_eq!(losses.due(5, now), Some((5, None)));
        assert_eq!(losses.due(9, now + SPACING / 2), None);
        assert_eq!(losses.due(12, now + SPACING), Some((7, None)));
        assert_eq!(losses.due(12, now + 3 * SPACING), None);
    }

    #[test]
    fn losses_of_an_outage_are_told_with_its_cause_after_its_end() {
        let now = Instant::now();
        let mut losses = Losses::default();
        let outage = || Some("refused".to_owned());
        losses.tell(outage(), 5, now);
        losses.tell(outage(), 9, now + SPACING / 3);
        losses.tell(None, 9, now + SPACING / 2);
        assert_eq!(losses.due(9, now + SPACING), Some((4, outage())));
        assert_eq!(losses.due(20, now + 2 * SPACING), Some((11, None)));
    }
}
