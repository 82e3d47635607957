//! Mirror: sends a copy of some requests to another upstream and discards its
//! response.
//!
//! The original is neither delayed nor failed: a task of its own sends the
//! copy, once the original's body, which is kept as it passes, is complete.
//! Copies are bounded in number, size and time; one that does not fit is
//! dropped and counted. A copy is charged to no rate limit and has no access
//! line. It takes a permit of the other upstream's concurrency limit if one is
//! free at once, and is dropped otherwise.
//!
//! The layer refuses nothing. It holds up to `retry.buffer` bytes of a body
//! until the copy is sent. tower has no such layer.
//!
//! # Outcomes of a copy
//!
//! Each request that is drawn is counted with one outcome: `busy` if 128 copies
//! of the route are in flight already, `body` if its body is too long or broke
//! off, `cap` if the other upstream's concurrency limit had no permit,
//! `success` if a response came, and `failure` for all else, a timeout
//! included.
//!
//! # Cancellation
//!
//! A copy belongs to its task and not to the request, so that a client that
//! leaves after its body was read does not cancel it. If the client leaves
//! before that, the body is dropped unread and no copy is made. A copy has no
//! client and no deadline; its timeout bounds it.
//!
//! # Bounds
//!
//! The copies in flight are counted from the draw, and so include those whose
//! original is still arriving. The memory that they hold is at most their
//! number times the buffer of a body.

mod tee;

use std::{
    panic::AssertUnwindSafe,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures_util::FutureExt;
use http_body_util::BodyExt;
use rand::RngExt;
use tokio::time::{Instant, timeout};
use tokio_util::task::TaskTracker;
use tower::{Layer, Service, ServiceExt};

use self::tee::Tee;
use crate::{
    body::Body,
    call::{Call, Exchange, Facts, Flag, Progress, RouteTag, Trace},
    error::{Error, Failed},
    message::{FieldName, Response},
    telemetry::RouteMetrics,
};

/// Copies of one route at a time. With a body of 64 KiB each they take 8 MiB.
const MOST_IN_FLIGHT: u32 = 128;
/// Bytes of a response that are read to keep its connection. If it has more,
/// the connection is closed.
///
/// A response that is left unread would make the connection useless for the
/// pool, and a new connection costs more than reading a megabyte at most.
const MOST_READ: usize = 1 << 20;

/// The copies of one route, over all workers and reloads.
#[derive(Debug, Default)]
pub struct Copies {
    /// At most 128. Incremented by the draw, decremented by the drop of the
    /// guard.
    in_flight: AtomicU32,
    /// The tasks that send copies. Each ends with its thread, at the latest.
    tasks: TaskTracker,
}

impl Copies {
    /// Copies that are being sent, or whose original has not arrived
    /// completely.
    pub fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Counts one more copy; `None` if as many as may be are in flight.
    ///
    /// A loop of compare and exchange, so that two workers cannot both take the
    /// last one.
    fn enter(self: &Arc<Self>) -> Option<CopyInFlight> {
        let next = |n| (n < MOST_IN_FLIGHT).then_some(n + 1);
        let entered = self
            .in_flight
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, next);
        entered.ok().map(|_| CopyInFlight(Arc::clone(self)))
    }
}

/// Counts one copy. The count is decremented on drop.
#[derive(Debug)]
struct CopyInFlight(Arc<Copies>);

impl Drop for CopyInFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The copies that a route makes, and where they go.
#[derive(Debug)]
pub struct CopyPolicy<M> {
    /// How many of a hundred requests are copied. From 0 (none) to 100 (all).
    /// Each request is drawn by itself.
    pub percent: u8,
    /// Bytes of a body. A request with a longer one is not copied.
    pub buffer: usize,
    /// Longest time for a copy, its response included. It begins when the body
    /// is complete, and not with the request.
    pub timeout: Duration,
    /// The route of copies in logs and metrics, where it never appears.
    pub tag: Arc<RouteTag>,
    /// Where copies are counted.
    pub metrics: Arc<RouteMetrics>,
    /// The route's copies.
    pub copies: Arc<Copies>,
    /// Sends to the other upstream.
    pub send: M,
}

/// Adds [`Mirror`].
///
/// It belongs inside of all layers that refuse, so that only requests which are
/// sent are copied, and outside of retries, so that each is copied once.
#[derive(Debug)]
pub struct MirrorLayer<M> {
    /// The copies.
    pub policy: Arc<CopyPolicy<M>>,
}

// A derived impl would require `M: Clone`.
impl<M> Clone for MirrorLayer<M> {
    fn clone(&self) -> Self {
        Self {
            policy: Arc::clone(&self.policy),
        }
    }
}

impl<S, M> Layer<S> for MirrorLayer<M> {
    type Service = Mirror<S, M>;

    fn layer(&self, inner: S) -> Self::Service {
        Mirror {
            inner,
            policy: Arc::clone(&self.policy),
        }
    }
}

/// Copies some requests.
#[derive(Debug)]
pub struct Mirror<S, M> {
    inner: S,
    policy: Arc<CopyPolicy<M>>,
}

impl<S: Clone, M> Clone for Mirror<S, M> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            policy: Arc::clone(&self.policy),
        }
    }
}

impl<S, M> Service<Call> for Mirror<S, M>
where
    S: Service<Call>,
    M: Service<Call, Response = Response, Error = Failed> + Clone + Send + Sync + 'static,
    M::Future: Send,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    #[inline(never)]
    fn call(&mut self, mut call: Call) -> Self::Future {
        self.policy.copy(&mut call);
        self.inner.call(call)
    }
}

impl<M> CopyPolicy<M>
where
    M: Service<Call, Response = Response, Error = Failed> + Clone + Send + Sync + 'static,
    M::Future: Send,
{
    /// Copies a request, if it is drawn and there is room: at once if its body
    /// is in memory, and otherwise once the body has passed.
    ///
    /// Called before the inner service, so that no byte of the body has gone
    /// on. The cheap checks come first: most routes copy few of their requests.
    fn copy(self: &Arc<Self>, call: &mut Call) {
        if rand::rng().random_range(0..100) >= self.percent {
            return;
        }
        let Some(in_flight) = self.copies.enter() else {
            return self.count("busy");
        };
        if call
            .body
            .length()
            .is_some_and(|length| length > self.buffer as u64)
        {
            return self.count("body");
        }
        let exchange = duplicate(&call.exchange, &self.tag);
        if let Some(whole) = call.body.as_whole() {
            return self.start(exchange, whole, in_flight);
        }
        let policy = Arc::clone(self);
        let send = move |whole: Option<Bytes>| match whole {
            Some(whole) => policy.start(exchange, whole, in_flight),
            None => policy.count("body"),
        };
        Tee::around(&mut call.body, self.buffer, Box::new(send));
    }

    /// Has a task send a copy and count its outcome. The task ends with the
    /// timeout at the latest, and a panic in it is a failure of the copy.
    fn start(self: &Arc<Self>, exchange: Arc<Exchange>, whole: Bytes, in_flight: CopyInFlight) {
        let (policy, tasks) = (Arc::clone(self), in_flight.0.tasks.clone());
        tasks.spawn(async move {
            let _in_flight = in_flight;
            let sent = AssertUnwindSafe(policy.send(exchange, whole)).catch_unwind();
            let outcome = timeout(policy.timeout, sent).await;
            policy.count(match outcome {
                Ok(Ok(Ok(()))) => "success",
                Ok(Ok(Err(failed))) if matches!(failed.error, Error::ConcurrencyLimited { .. }) => {
                    "cap"
                }
                _ => "failure",
            });
        });
    }

    /// Sends a copy, and reads its response so that the connection can be used
    /// again.
    ///
    /// # Errors
    ///
    /// The copy was refused, or no response came.
    async fn send(&self, exchange: Arc<Exchange>, whole: Bytes) -> Result<(), Failed> {
        // A copy has no client that could leave, and no deadline: its timeout
        // bounds it.
        let call = Call::new(exchange, Body::whole(whole), Instant::now());
        let mut response = self.send.clone().oneshot(call).await?;
        let mut read = 0;
        while let Some(Ok(frame)) = response.body.frame().await {
            read += frame.data_ref().map_or(0, Bytes::len);
            if read > MOST_READ {
                break;
            }
        }
        Ok(())
    }

    /// Adds to the metric of copies.
    fn count(&self, outcome: &'static str) {
        self.metrics.mirrored(outcome);
    }
}

/// The same request as an exchange of its own, so that notes on the copy do not
/// mix with those on the original.
///
/// The copy keeps the id of the request, by which the logs of both servers can
/// be joined. It asks for no upgrade, and passes no interim response to the
/// client.
fn duplicate(of: &Exchange, tag: &Arc<RouteTag>) -> Arc<Exchange> {
    let mut request = of.request.clone();
    request.upgrade = None;
    // The body is complete, so that no leave to send it has to be waited for.
    request
        .headers
        .retain(|field| field.field != FieldName::Expect);
    Arc::new(Exchange {
        request,
        target: of.target.clone(),
        host: Arc::clone(&of.host),
        grpc: of.grpc,
        interim: None,
        origin: Arc::clone(&of.origin),
        client: of.client,
        identified: of.identified.clone(),
        id: of.id.clone(),
        started: of.started,
        facts: Facts::begin(&tag.metrics),
        route: Arc::clone(tag),
        trace: of.trace.as_ref().map(Trace::aside),
        parameters: of.parameters.clone(),
        is_sent: Flag::default(),
        progress: Progress::default(),
    })
}
