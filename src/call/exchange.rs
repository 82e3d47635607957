//! An exchange: a request as it was received, and notes on what happens to it.
//!
//! [`Facts::begin`] counts the request as in flight on its route; the drop of
//! the last reference to the exchange ends it, and emits its access line and
//! its metrics (`emitted`). All attempts at a server, the response body and the
//! guards of layers share one exchange, so that it ends exactly once, however
//! the request ended.
//!
//! Everything but the notes is fixed from the beginning.

use std::{
    cell::RefCell,
    net::IpAddr,
    sync::{Arc, OnceLock, atomic::Ordering::Relaxed},
    time::Duration,
};

use http::{HeaderMap, HeaderName, HeaderValue};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::{
    choices::LineChoices,
    facts::{Facts, Nearest},
    grpc::{self, Grpc},
    limit_text::LimitText,
    progress::{Flag, Holds, Progress, Tried},
    query::LoggedQuery,
    target::Target,
    trace::Trace,
};
use crate::{
    body::{BodyObserver, Held},
    error::Fault,
    identity::Identified,
    message::{FieldName, Headers, Interim, Origin, RequestHead},
    policy::{Cors, HopsField, LimitHeaders, Refusal},
    telemetry::{AccessLog, FixedFields, RouteMetrics},
};

/// A request and everything that is known of it. It ends when its last
/// reference is dropped.
#[derive(Debug)]
pub struct Exchange {
    /// The request's head as received, but for its target.
    pub request: Box<RequestHead>,
    /// The target as received, and its parts.
    pub target: Target,
    /// The host that the request asks for, in lower case and without its port;
    /// empty if it names none.
    pub host: Arc<str>,
    /// Set for a gRPC call.
    pub grpc: Option<Grpc>,
    /// The way to send interim responses; `None` if the client cannot take
    /// them.
    pub interim: Option<Interim>,
    /// The connection that it came by.
    pub origin: Arc<Origin>,
    /// The client.
    pub client: Client,
    /// The client as its credentials identify it; empty before that, and for
    /// requests without credentials.
    pub identified: OnceLock<Arc<Identified>>,
    /// Its identity in logs and problem bodies.
    pub id: RequestId,
    /// When its first byte was seen.
    pub started: Instant,
    /// The route that takes it.
    pub route: Arc<RouteTag>,
    /// The trace that it belongs to; `None` if the gateway has no traces.
    pub trace: Option<Trace>,
    /// Parameters of the match, with their escapes.
    pub parameters: Vec<(Arc<str>, Box<str>)>,
    /// Notes that are emitted at the end, and on which nothing is decided.
    ///
    /// One thread serves a request, and the lock is never waited for. It is
    /// here because the futures and bodies that hold an exchange have to be
    /// `Send`; taking and releasing it is one atomic exchange each.
    pub facts: Mutex<Facts>,
    /// Set once a server is sent the request and may act on it. Until then its
    /// tokens can be returned.
    pub is_sent: Flag,
    /// State that the attempts share.
    pub progress: Progress,
}

/// The client of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Client {
    /// The address that keys and logs use.
    pub ip: IpAddr,
    /// The account of the peer of earlier hops, which is passed on; `None`
    /// unless the peer is a trusted proxy.
    pub chain: Option<Chain>,
}

/// The account of a trusted proxy of the hops that a request came through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chain {
    /// The field that lists the hops; the other one is not believed. `None` if
    /// a field with one address names the client, and none of the two is.
    pub by: Option<HopsField>,
    /// How many hops, counted from the peer, lead to the client, at most 64; 0
    /// if the peer is the client.
    pub walked: u8,
}

/// A route as logs, metrics and response header fields name it.
#[derive(Debug)]
pub struct RouteTag {
    /// Its name; `None` for requests that no route matched.
    pub name: Option<Arc<str>>,
    /// The names of its limits, each followed by those of its tiers.
    pub limits: Vec<Arc<str>>,
    /// Texts about these limits, in the order of the names. Limits beyond its
    /// end have none, and responses are written without them.
    pub limit_texts: Box<[LimitText]>,
    /// The response header fields that describe the limit nearest to
    /// exhaustion.
    pub limit_headers: LimitHeaders,
    /// The origins whose pages may read its responses; `None` if the service
    /// says that itself.
    pub cors: Option<Box<Cors>>,
    /// Fields and bodies of its own for refusals; `None` for those of the
    /// gateway.
    pub refusal: Option<Box<Refusal>>,
    /// Its metrics.
    pub metrics: Arc<RouteMetrics>,
    /// How access lines are written; `None` if they are switched off.
    pub access: Option<RouteLines>,
    /// Facts about it that spans show; `None` if the gateway has no traces.
    pub traced: Option<Box<TracedRoute>>,
}

impl RouteTag {
    /// A route that is counted by `metrics` and appears in no log: that of
    /// requests which the gateway itself makes beside those of clients.
    pub fn aside(name: Option<Arc<str>>, metrics: Arc<RouteMetrics>) -> Self {
        Self {
            name,
            limits: Vec::new(),
            limit_texts: [].into(),
            limit_headers: LimitHeaders::Off,
            cors: None,
            refusal: None,
            metrics,
            access: None,
            traced: None,
        }
    }
}

/// How the access lines of a route are written.
#[derive(Debug)]
pub struct RouteLines {
    /// Takes the lines.
    pub log: AccessLog,
    /// The name of the route; `None` for requests that no route matched.
    pub route: Option<FixedFields>,
    /// The names of its limits, in the order of [`RouteTag::limits`].
    pub limits: Box<[FixedFields]>,
    /// How the query is shown.
    pub query: LoggedQuery,
    /// The choices of the configuration; `None` if it makes none.
    pub choices: Option<Arc<LineChoices>>,
}

/// A route as spans show it.
#[derive(Debug)]
pub struct TracedRoute {
    /// The paths that it takes, as a template (`http.route`).
    pub path: Option<Arc<str>>,
    /// How the query is shown: never in full.
    pub query: LoggedQuery,
}

impl Exchange {
    /// Whether the client is the other end of the connection, without a trusted
    /// proxy in between.
    pub fn is_direct(&self) -> bool {
        self.client.ip == self.origin.peer.ip().to_canonical()
    }

    /// The servers that attempts went to so far.
    pub fn tried(&self) -> Tried {
        Tried(self.progress.tried.load(Relaxed))
    }

    /// Notes that an attempt begins at a server, which has this `index` in its
    /// upstream.
    pub fn try_server(&self, index: usize, server: &Arc<FixedFields>) {
        // No attempt runs beside another one of the same request.
        let tried = self.tried().and(index);
        self.progress.tried.store(tried.0, Relaxed);
        let mut facts = self.facts.lock();
        facts.attempts += 1;
        facts.server = Some(Arc::clone(server));
    }

    /// Notes that an upstream has no server for an attempt.
    pub fn no_server(&self, upstream: &Arc<str>) {
        self.facts.lock().unserved = Some(Arc::clone(upstream));
    }

    /// Says that the client has left and that a server works on, for as long as
    /// `holds` lives. Called while the future of the request is dropped, before
    /// its layers drop their guards.
    pub fn abandon(&self, holds: &Arc<Holds>) {
        *self.progress.abandoned.lock() = Arc::downgrade(holds);
    }

    /// Holds a guard for as long as a server works on although the client has
    /// left. The guard is made only if one does.
    pub fn outlive<G: Held + 'static>(&self, guard: impl FnOnce() -> G) {
        let holds = self.progress.abandoned.lock().upgrade();
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

    /// Adds a wait in the queue of a concurrency limit. A request may pass two
    /// of them.
    pub fn queued(&self, waited: Duration) {
        let mut facts = self.facts.lock();
        facts.queue = Some(facts.queue.unwrap_or_default() + waited);
    }

    /// Notes the response, and its reason if the gateway made it. Returns the
    /// limit that is nearest to exhaustion.
    pub fn responded(&self, status: u16, reason: Option<&'static str>) -> Option<Nearest> {
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
            self.grpc,
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

/// The header that carries the identity of a request, in and out.
pub const REQUEST_ID_HEADER: HeaderName = HeaderName::from_static("x-request-id");

/// Bytes of the longest identity that is accepted from a client.
const LONGEST: usize = 128;

/// The identity of a request in logs, problem bodies and `X-Request-Id`: the
/// client's own if it is presentable, otherwise a new one. Presentable are 1 to
/// 128 letters, digits and `-_.:/+=@`, so that it needs no escape anywhere.
#[derive(Debug, Clone)]
pub struct RequestId(IdForm);

/// The two origins of an identity. New ones need no allocation.
#[derive(Debug, Clone)]
enum IdForm {
    Given(Box<str>),
    Made([u8; 32]),
}

impl RequestId {
    /// A new one: 64 random bits of the thread and a count, in hexadecimal
    /// digits. It is unique, and takes no random numbers for each request.
    pub fn made() -> Self {
        thread_local! {
            static LAST: RefCell<[u8; 32]> = RefCell::new(first_id());
        }
        let digits = LAST.with_borrow_mut(|last| {
            count_up(&mut last[16..]);
            *last
        });
        Self(IdForm::Made(digits))
    }

    /// The client's if it sent a presentable one, otherwise a new one.
    pub fn of(headers: &Headers) -> Self {
        let given = headers
            .known(FieldName::XRequestId)
            .next()
            .and_then(|value| std::str::from_utf8(value).ok())
            .filter(|value| is_presentable(value));
        match given {
            Some(value) => Self(IdForm::Given(value.into())),
            None => Self::made(),
        }
    }

    /// As it is written.
    pub fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            IdForm::Given(text) => text.as_bytes(),
            IdForm::Made(digits) => digits,
        }
    }
}

/// Whether an identity from a client can be written to logs, fields and JSON
/// without an escape, and is not too long.
fn is_presentable(value: &str) -> bool {
    (1..=LONGEST).contains(&value.len())
        && value
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.:/+=@".contains(&byte))
}

/// The first identity that a thread makes. Its count begins anywhere below
/// 2^32.
fn first_id() -> [u8; 32] {
    let (thread, count): (u64, u32) = (rand::random(), rand::random());
    let text = format!("{thread:016x}{count:016x}");
    text.as_bytes().try_into().unwrap_or([b'0'; 32])
}

/// Adds 1 to a number in hexadecimal digits, of which usually one changes. The
/// largest number is followed by 0.
fn count_up(digits: &mut [u8]) {
    for digit in digits.iter_mut().rev() {
        *digit = match *digit {
            b'9' => b'a',
            b'f' => b'0',
            other => other + 1,
        };
        if *digit != b'0' {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identities_of_a_thread_are_counted_in_hexadecimal_digits() {
        for (before, next) in [("00", "01"), ("09", "0a"), ("1f", "20"), ("9ff", "a00")] {
            let mut digits = before.as_bytes().to_vec();
            count_up(&mut digits);
            assert_eq!(digits, next.as_bytes());
        }
        let mut last = *b"ff";
        count_up(&mut last);
        assert_eq!(&last, b"00");
    }
}
