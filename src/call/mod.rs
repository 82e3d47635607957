//! One request on its way through a route's stack, as the gateway, its layers and upstreams share it.
//!
//! What is known of a request never changes while it is worked on and is shared by all attempts: an [`Exchange`]. What
//! happens to it is noted there too and told once, when the last holder lets go: an access line and its metrics appear
//! exactly once, however the exchange ended.

mod client;
mod deadline;
mod facts;
pub mod forwarded;
pub mod grpc;
mod holds;
mod max_forwards;
pub mod query;
mod request_id;
mod target;

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use http::{HeaderMap, HeaderName, Method, Version};
use parking_lot::Mutex;
use tokio::time::Instant;

pub use self::{
    client::{Chain, Client},
    deadline::{Deadline, Uploading},
    facts::{Facts, Flag, LimitFacts, Nearest},
    grpc::Grpc,
    holds::Holds,
    max_forwards::{HEADER as MAX_FORWARDS_HEADER, max_forwards},
    request_id::{HEADER as REQUEST_ID_HEADER, RequestId},
    target::Target,
};
use crate::{
    body::{Body, Held, Witness},
    duration,
    error::Fault,
    message::{Interim, Origin},
    policy::LimitHeaders,
    telemetry::{AccessLog, Decision, Line, RouteMetrics},
};

/// Stands for the method and the path of what could not be read. No path is like that, and a line leaves them out.
pub const UNREADABLE: &str = "-";

/// A request inside the stack: what is shared by its attempts, and what is used up by one.
#[derive(Debug)]
pub struct Call {
    /// What is known of the request.
    pub exchange: Arc<Exchange>,
    /// Its body.
    pub body: Body,
    /// When its answer's head must have begun; `None` outside of the deadline layer.
    pub deadline: Option<Deadline>,
    /// Set when its body comes in pieces: what takes the deadline's place.
    pub uploading: Option<Arc<Uploading>>,
    /// Not by a kept connection: the last one turned out to be closed.
    pub fresh: bool,
    /// When this attempt begins, as of the last look at the clock.
    pub now: Instant,
    /// When this attempt is given up for the server's slowness; `None` when that would not be the server's fault.
    pub patience: Option<Instant>,
    /// How long the permits that the request has are held, at most, for a server that works on when the client has left;
    /// `None` when it has none.
    pub linger: Option<Duration>,
}

/// A request as it is written to a server.
#[derive(Debug)]
pub struct Outgoing {
    /// What is known of the request.
    pub call: Arc<Exchange>,
    /// Request line and fields, without the framing and the empty line.
    pub head: Vec<u8>,
    /// `head` has a `Host` already; otherwise the server's own is added.
    pub has_host: bool,
    /// An empty body is announced with a length of 0.
    pub names_length: bool,
    /// The body.
    pub body: Body,
    /// Trailers that the body may have: announced, and of no field that somebody else decides.
    pub trailers: Box<[HeaderName]>,
    /// They go to servers of HTTP/1, too.
    pub trailers_to_http1: bool,
    /// Not by a kept connection.
    pub fresh: bool,
    /// When this attempt begins, as of the last look at the clock.
    pub now: Instant,
    /// When this attempt is given up for the server's slowness.
    pub patience: Option<Instant>,
    /// How long permits are held for a server that works on when the client has left; `None` without a cap.
    pub linger: Option<Duration>,
    /// Hash of what the request is told apart by, where servers are chosen by that.
    pub key: Option<u64>,
}

/// What is known of a request.
#[derive(Debug)]
pub struct Exchange {
    /// The request's head.
    pub request: Head,
    /// The connection that it came by.
    pub origin: Arc<Origin>,
    /// Who asks.
    pub client: Client,
    /// Its identity in logs and problem bodies.
    pub id: RequestId,
    /// When its first byte was seen.
    pub started: Instant,
    /// The route that takes it.
    pub route: Arc<RouteTag>,
    /// Parameters of the match, escapes kept.
    pub parameters: Vec<(Arc<str>, Box<str>)>,
    /// What happens to it.
    pub facts: Mutex<Facts>,
    /// A server is being sent the request, or was: it may act on it.
    pub is_sent: Flag,
}

/// What an [`Exchange`] begins with; its fields have the same meanings.
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

/// A request's head.
#[derive(Debug, Clone)]
pub struct Head {
    /// The method.
    pub method: Method,
    /// The target as received, and its parts.
    pub target: Target,
    /// HTTP/1.0, HTTP/1.1 or HTTP/2.
    pub version: Version,
    /// Every header line.
    pub headers: HeaderMap,
    /// The host that is asked for, lower case, without its port; empty when none is named.
    pub host: Box<str>,
    /// `Connection` names fields that end here.
    pub names_hops: bool,
    /// Names of its fields hold `_`, which services that know CGI or WSGI take for `-`.
    pub has_underscores: bool,
    /// It has a `Via`: it has passed a proxy.
    pub has_via: bool,
    /// Where interim answers go.
    pub interim: Option<Interim>,
    /// The protocols that the client would switch to, as an `Upgrade` field lists them.
    pub upgrade: Option<Box<[u8]>>,
    /// Set when it is a gRPC call.
    pub grpc: Option<Grpc>,
}

/// What logs and metrics call a route.
#[derive(Debug)]
pub struct RouteTag {
    /// Its name; `None` where no route matched.
    pub name: Option<Arc<str>>,
    /// The names of its limits, each followed by those of its tiers.
    pub limits: Vec<Arc<str>>,
    /// The response header fields that describe the limit nearest to exhaustion.
    pub limit_headers: LimitHeaders,
    /// Its cells.
    pub metrics: Arc<RouteMetrics>,
    /// Where access lines go; `None` when they are switched off.
    pub access: Option<AccessLog>,
    /// How access lines show the query.
    pub query: query::LoggedQuery,
}

impl Exchange {
    /// A request that begins to be worked on.
    // Everywhere: what is known is large, and would be moved once more.
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

    /// Servers that were tried already, a bit each.
    pub fn tried(&self) -> u64 {
        self.facts.lock().tried
    }

    /// Notes that a server is tried.
    pub fn try_server(&self, index: usize, upstream: &Arc<str>, url: &Arc<str>) {
        let mut facts = self.facts.lock();
        facts.attempts += 1;
        if index < 64 {
            facts.tried |= 1 << index;
        }
        facts.server = Some((Arc::clone(upstream), Arc::clone(url)));
    }

    /// Notes that an upstream has no server to try.
    pub fn no_server(&self, upstream: &Arc<str>) {
        self.facts.lock().unserved = Some(Arc::clone(upstream));
    }

    /// Notes that the client has left while a server works on: for as long as `holds` lives.
    pub fn abandon(&self, holds: &Arc<Holds>) {
        self.facts.lock().abandoned = Arc::downgrade(holds);
    }

    /// Has `guard` held for as long as a server works on, if one does though the client has left; otherwise it is never
    /// made.
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

    /// Notes how long an attempt took.
    pub fn sent(&self, took: Duration) {
        self.facts.lock().upstream = Some(took);
    }

    /// How long the last attempt took that reached a server, of a request that was tried more than once.
    pub fn last_of_several(&self) -> Option<Duration> {
        let facts = self.facts.lock();
        facts.upstream.filter(|_| facts.attempts > 1)
    }

    /// Notes a wait for a place under a cap; a request may pass two.
    pub fn queued(&self, waited: Duration) {
        let mut facts = self.facts.lock();
        facts.queue = Some(facts.queue.unwrap_or_default() + waited);
    }

    /// Notes the answer that is given, and why when the gateway made it. Tells which limit is nearest.
    pub fn answered(&self, status: u16, reason: Option<&'static str>) -> Option<Nearest> {
        let mut facts = self.facts.lock();
        facts.status = Some(status);
        facts.reason = reason;
        facts.limits.nearest
    }

    fn write_line(&self, facts: &Facts, status: u16, duration: Duration) {
        let Some(access) = &self.route.access else {
            return;
        };
        let (head, limit) = (&self.request, facts.limits.nearest.as_ref());
        let query = head
            .target
            .query()
            .and_then(|query| self.route.query.shown(query));
        access.write(&Line {
            time: SystemTime::now(),
            request_id: self.id.as_bytes(),
            listener: &self.origin.listener,
            client: self.client.ip,
            peer: self.origin.peer,
            peer_ip: &self.origin.peer_ip,
            protocol: match head.version {
                Version::HTTP_10 => "HTTP/1.0",
                Version::HTTP_2 => "HTTP/2",
                _ => "HTTP/1.1",
            },
            method: Some(head.method.as_str()).filter(|method| *method != UNREADABLE),
            host: Some(head.host.as_bytes()).filter(|host| !host.is_empty()),
            path: Some(head.target.path()).filter(|path| *path != UNREADABLE.as_bytes()),
            query: query.as_deref(),
            route: self.route.name.as_deref(),
            status,
            grpc_status: facts.grpc_status,
            reason: facts.reason,
            limit: limit
                .and_then(|limit| self.route.limits.get(limit.limit))
                .map(|name| &**name),
            remaining: limit.map(|limit| u64::from(limit.standing.remaining)),
            key: limit.map(|limit| limit.key.hash()),
            shadow: self
                .route
                .limits
                .get(facts.limits.shadow_refused.trailing_zeros() as usize)
                .map(|name| &**name),
            upstream: facts
                .server
                .as_ref()
                .map(|(upstream, _)| upstream)
                .or(facts.unserved.as_ref())
                .map(|name| &**name),
            server: facts.server.as_ref().map(|(_, server)| &**server),
            attempts: Some(facts.attempts).filter(|attempts| *attempts > 0),
            not_retried: facts.not_retried,
            queue: facts.queue,
            upstream_time: facts.upstream,
            duration,
            bytes_in: facts.bytes_in,
            bytes_out: facts.bytes_out,
            user_agent: head
                .headers
                .get(http::header::USER_AGENT)
                .map(|value| value.as_bytes()),
        });
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let duration = self.started.elapsed();
        let status = self.facts.get_mut().ended();
        let told = self.facts.lock();
        self.route.metrics.record(|cells| {
            cells.request(&self.request.method, status, duration);
            cells.call(self.request.grpc.map(|_| told.grpc_status));
            if let Some(reason) = told.reason {
                cells.refusal(reason);
            }
            for (index, limit) in self.route.limits.iter().enumerate() {
                if told.limits.admitted & (1 << index) != 0 {
                    cells.decision(limit, Decision::Allowed);
                } else if told.limits.refused & (1 << index) != 0 {
                    cells.decision(limit, Decision::Refused);
                }
                if told.limits.shadow_refused & (1 << index) != 0 {
                    cells.decision(limit, Decision::ShadowRefused);
                }
                if told.limits.candidate_refused & (1 << index) != 0 {
                    cells.decision(limit, Decision::CandidateRefused);
                }
            }
        });
        self.route.metrics.ended();
        if let Some(Fault::Idle(after)) = told.broke
            && self.route.metrics.is_first_silence()
        {
            warn_of_silence(self.route.name.as_deref().unwrap_or_default(), after);
        }
        self.write_line(&told, status, duration);
    }
}

/// Says, once for each route, why answers break off that pause for longer than they may.
fn warn_of_silence(route: &str, after: Duration) {
    tracing::warn!(
        route,
        "an answer was cut because nothing moved for {}; if its service pauses for longer, raise `timeouts.idle` of the \
         route (for upgraded connections, gRPC and streams of events: `timeouts.tunnel`)",
        duration::text(after)
    );
}

/// Listens to the response's body.
impl Witness for Exchange {
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
            trailers.get(&grpc::STATUS).map(http::HeaderValue::as_bytes),
        );
    }
}

/// Listens to the request's body.
#[derive(Debug)]
pub struct Incoming(pub Arc<Exchange>);

impl Witness for Incoming {
    fn ended(&self, bytes: u64, _: bool) {
        self.0.facts.lock().bytes_in += bytes;
    }

    fn broke(&self, _: &Fault) {}
}
