//! An exchange: a request as it was received, and notes on what happens to it.

use std::{sync::Arc, time::Duration};

use http::{HeaderMap, HeaderValue};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::{Client, Facts, Flag, Head, Holds, Nearest, RequestId, RouteTag, grpc};
use crate::{
    body::{BodyObserver, Held},
    error::Fault,
    message::Origin,
};

/// A request and what is known of it.
///
/// All but the notes is fixed from the beginning, and shared by all attempts.
#[derive(Debug)]
pub struct Exchange {
    /// The request's head.
    pub request: Head,
    /// The connection that it came by.
    pub origin: Arc<Origin>,
    /// The client.
    pub client: Client,
    /// Its identity in logs and problem bodies.
    pub id: RequestId,
    /// When its first byte was seen.
    pub started: Instant,
    /// The route that takes it.
    pub route: Arc<RouteTag>,
    /// Parameters of the match, with their escapes.
    pub parameters: Vec<(Arc<str>, Box<str>)>,
    /// Notes on what happens to it.
    ///
    /// One thread serves a request, and the lock is never waited for. It is
    /// here because the futures and bodies that hold an exchange have to be
    /// `Send`; taking and releasing it is one atomic exchange each.
    pub facts: Mutex<Facts>,
    /// Set once a server is sent the request and may act on it.
    pub is_sent: Flag,
}

/// The beginning of an [`Exchange`], whose fields have the same meanings.
#[derive(Debug)]
#[expect(missing_docs, reason = "the fields of an exchange")]
pub struct Known {
    pub request: Head,
    pub origin: Arc<Origin>,
    pub client: Client,
    pub id: RequestId,
    pub started: Instant,
    pub route: Arc<RouteTag>,
    pub parameters: Vec<(Arc<str>, Box<str>)>,
}

impl Exchange {
    /// Begins an exchange.
    // Inlined everywhere, as `known` is large and would be moved once more.
    #[inline(always)]
    pub fn begin(known: Known) -> Arc<Self> {
        let Known {
            request,
            origin,
            client,
            id,
            started,
            route,
            parameters,
        } = known;
        route.metrics.began();
        let (facts, is_sent) = (Mutex::default(), Flag::default());
        Arc::new(Self {
            request,
            origin,
            client,
            id,
            started,
            route,
            parameters,
            facts,
            is_sent,
        })
    }

    /// The servers that were tried, a bit for each index.
    pub fn tried(&self) -> u64 {
        self.facts.lock().tried
    }

    /// Notes that an attempt at a server begins.
    pub fn try_server(&self, index: usize, upstream: &Arc<str>, url: &Arc<str>) {
        let mut facts = self.facts.lock();
        facts.attempts += 1;
        if index < 64 {
            facts.tried |= 1 << index;
        }
        facts.server = Some((Arc::clone(upstream), Arc::clone(url)));
    }

    /// Notes that an upstream has no server for an attempt.
    pub fn no_server(&self, upstream: &Arc<str>) {
        self.facts.lock().unserved = Some(Arc::clone(upstream));
    }

    /// Notes that the client has left and a server works on, for as long as
    /// `holds` lives.
    pub fn abandon(&self, holds: &Arc<Holds>) {
        self.facts.lock().abandoned = Arc::downgrade(holds);
    }

    /// Holds a guard for as long as a server works on although the client has
    /// left. The guard is made only if one does.
    pub fn outlive<G: Held + 'static>(&self, guard: impl FnOnce() -> G) {
        let holds = self.facts.lock().abandoned.upgrade();
        if let Some(holds) = holds {
            holds.add(guard());
        }
    }

    /// Notes why a failed attempt was not retried.
    pub fn not_retried(&self, reason: &'static str) {
        self.facts.lock().not_retried = Some(reason);
    }

    /// Notes how long the last attempt took, to its response head or to its
    /// failure.
    pub fn sent(&self, took: Duration) {
        self.facts.lock().upstream = Some(took);
    }

    /// How long the last attempt took that reached a server; `None` if there
    /// was only one attempt.
    pub fn last_of_several(&self) -> Option<Duration> {
        let facts = self.facts.lock();
        facts.upstream.filter(|_| facts.attempts > 1)
    }

    /// Adds a wait in the queue of a concurrency limit. A request may pass two
    /// of them.
    pub fn queued(&self, waited: Duration) {
        let mut facts = self.facts.lock();
        facts.queue = Some(facts.queue.unwrap_or_default() + waited);
    }

    /// Notes the response, and its reason if the gateway made it. Returns the
    /// limit that is nearest to exhaustion.
    pub fn answered(&self, status: u16, reason: Option<&'static str>) -> Option<Nearest> {
        let mut facts = self.facts.lock();
        facts.status = Some(status);
        facts.reason = reason;
        facts.limits.nearest
    }
}

/// Observes the response body.
impl BodyObserver for Exchange {
    fn ended(&self, bytes: u64, delivered: bool) {
        let mut facts = self.facts.lock();
        facts.bytes_out = bytes;
        facts.delivered = delivered;
    }

    fn broke(&self, fault: &Fault) {
        self.facts.lock().broke = Some(*fault);
    }

    fn received(&self, bytes: u64) {
        self.facts.lock().bytes_in += bytes;
    }

    fn trailed(&self, trailers: &HeaderMap) {
        self.facts.lock().note_call(
            self.request.grpc,
            trailers.get(&grpc::STATUS).map(HeaderValue::as_bytes),
        );
    }
}

/// Observes the request body.
#[derive(Debug)]
pub struct RequestBodyObserver(pub Arc<Exchange>);

impl BodyObserver for RequestBodyObserver {
    fn ended(&self, bytes: u64, _: bool) {
        self.0.facts.lock().bytes_in += bytes;
    }

    fn broke(&self, _: &Fault) {}
}
