//! Gauges: numbers that live in the running parts, and are read only when
//! somebody scrapes.
//!
//! The admin listener fills in an [`Observed`] for each scrape from the
//! snapshot that serves. Removed routes have no gauges, even while requests
//! still run on them.

use std::{sync::Arc, time::Duration};

/// The state of the gateway at the moment of a scrape.
#[derive(Debug, Default)]
pub struct Observed {
    /// The routes of the current table.
    pub routes: Vec<RouteGauges>,
    /// The limits of these routes.
    pub limits: Vec<LimitGauges>,
    /// The identities of these routes.
    pub identities: Vec<IdentityCounts>,
    /// The checks of signatures; `None` if no identity has tokens.
    pub signatures: Option<SignatureGauges>,
    /// The upstreams of these routes.
    pub upstreams: Vec<UpstreamGauges>,
    /// The open listeners.
    pub listeners: Vec<ListenerGauges>,
    /// The certificates that the gateway orders itself.
    pub orders: OrderGauges,
    /// Bytes of bodies that are buffered in memory.
    pub buffered: u64,
    /// Bytes by which HTTP/2 windows have grown above their initial size.
    pub grown_windows: u64,
}

/// The state of certificates that the gateway orders itself.
#[derive(Debug, Default)]
pub struct OrderGauges {
    /// Orders since the start, by outcome.
    pub outcomes: Vec<(&'static str, u64)>,
    /// The domains of the configuration.
    pub domains: Vec<DomainGauges>,
}

/// The state of a domain that a certificate is ordered for.
#[derive(Debug)]
pub struct DomainGauges {
    /// The domain.
    pub domain: Box<str>,
    /// Whether it has a certificate that is shown.
    pub has_certificate: bool,
    /// When it is looked at next, since the Unix epoch.
    pub next_attempt: Duration,
    /// Attempts in a row that failed.
    pub failures: u64,
}

/// The state of one route.
#[derive(Debug)]
pub struct RouteGauges {
    /// Name of the route.
    pub route: Arc<str>,
    /// Requests that hold a permit of the route's concurrency limit and whose
    /// client is still connected. Without a limit, the exchanges that have not
    /// ended. `None` if nothing counts them.
    pub in_flight: Option<u64>,
    /// Requests that hold a permit although their client has left; `None`
    /// without a concurrency limit.
    pub abandoned: Option<u64>,
    /// Requests that wait for a permit; `None` without a concurrency limit.
    pub queued: Option<u64>,
    /// The present limit; `None` without one.
    pub concurrency_limit: Option<u64>,
}

/// The state of one limit.
#[derive(Debug)]
pub struct LimitGauges {
    /// Name of the limit.
    pub limit: Arc<str>,
    /// Buckets in its table; of a shared limit also those in the store that
    /// this gateway knows.
    pub keys: u64,
    /// Requests in flight; `None` for a rate.
    pub in_flight: Option<u64>,
    /// New keys that replaced a key whose bucket was full, since the start.
    pub evicted_idle: u64,
    /// New keys that found no free slot and share the overflow bucket, since
    /// the start.
    pub evicted_overflow: u64,
    /// Its bans; `None` of a limit that bans nobody.
    pub bans: Option<BanGauges>,
    /// The requests that wait for its tokens; `None` of a limit without a
    /// delay.
    pub waits: Option<WaitGauges>,
}

/// The waits for tokens of one limit; all but the first number are since the
/// start.
#[derive(Debug)]
pub struct WaitGauges {
    /// Requests that wait now.
    pub waiting: u64,
    /// Requests that were admitted after a wait.
    pub admitted: u64,
    /// Requests that were refused after a wait.
    pub refused: u64,
    /// Requests whose clients left during the wait.
    pub left: u64,
    /// Requests that could not wait, as too many waited.
    pub full: u64,
}

/// The bans of one limit; all but the first number are since the start.
#[derive(Debug)]
pub struct BanGauges {
    /// Keys that are banned now.
    pub banned: u64,
    /// Bans that have begun, or would have in shadow mode.
    pub begun: u64,
    /// Requests and connections that a ban refused.
    pub refused: u64,
    /// Refusals that the full table had no room to count.
    pub untracked: u64,
}

/// The credentials that one identity was asked about, since the start.
#[derive(Debug)]
pub struct IdentityCounts {
    /// Name of the identity.
    pub identity: Arc<str>,
    /// Credentials, by their outcome.
    pub outcomes: Vec<(&'static str, u64)>,
    /// The keys at a URL; `None` for other identities.
    pub keys: Option<KeySourceGauges>,
}

/// The keys that an identity has from a URL.
#[derive(Debug, Clone, Copy)]
pub struct KeySourceGauges {
    /// Fetches that gave a set, since the start.
    pub fetched: u64,
    /// Fetches that did not, since the start.
    pub failed: u64,
    /// The time since a set came.
    pub age: Duration,
    /// The time for which fetches have failed; zero if the last one did not.
    pub failing_for: Duration,
}

/// The checks of signatures.
#[derive(Debug, Clone, Copy)]
pub struct SignatureGauges {
    /// Checks since the start.
    pub done: u64,
    /// The time that they took.
    pub took: Duration,
    /// Tokens that found no slot in the queue, since the start.
    pub refused: u64,
    /// Tokens that wait.
    pub waiting: u64,
}

/// The state of one upstream.
#[derive(Debug)]
pub struct UpstreamGauges {
    /// Name of the upstream.
    pub upstream: Arc<str>,
    /// The concurrency limit over all of its routes; `None` without one.
    pub cap: Option<CapGauges>,
    /// Open connections by their state, `idle` or `active`.
    pub connections: Vec<(&'static str, u64)>,
    /// The servers, and whether each gets requests.
    pub servers: Vec<(Arc<str>, bool)>,
    /// The servers, and how often each was ejected since the start.
    pub ejections: Vec<(Arc<str>, u64)>,
}

/// The state of a concurrency limit that several routes share.
#[derive(Debug, Clone, Copy)]
pub struct CapGauges {
    /// Requests that hold a permit and whose client is still connected.
    pub in_flight: u64,
    /// Requests that hold a permit although their client has left.
    pub abandoned: u64,
    /// Requests that wait for a permit.
    pub queued: u64,
    /// The present number of permits.
    pub limit: u64,
}

/// The state of one listener.
#[derive(Debug)]
pub struct ListenerGauges {
    /// Its address.
    pub listener: Arc<str>,
    /// Connections of clients that are open.
    pub connections: u64,
    /// TLS handshakes in progress; `None` without TLS.
    pub handshaking: Option<u64>,
    /// The certificates by name, and the end of the validity of each since the
    /// Unix epoch.
    pub certificates: Vec<(Box<str>, Duration)>,
}
