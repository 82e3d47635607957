//! The gauges of a scrape: every metric that is a state and not a count.
//!
//! They are read from the running parts at the moment of the scrape, in one
//! pass over the configuration that serves.
//!
//! # Consistency
//!
//! Requests go on while the numbers are read, and each number is an atomic or a
//! sum of them: two gauges of one scrape may be some requests apart. Where one
//! is the difference of two others, it is never below zero.
//!
//! # Cost and bounds
//!
//! A scrape runs on the control thread. Its cost grows with the number of
//! routes, limits, servers, workers and certificates, and not with the number
//! of requests or connections. Names come from the configuration and its
//! certificates, so that no client can add a time series.

use std::{collections::BTreeMap, sync::Arc, time::SystemTime};

use super::context::AdminContext;
use crate::{
    acme::{Acme, AcmeDomain, AcmeState},
    build::{ConcurrencyView, State},
    config::Config,
    http2::windows,
    identity::{Authenticator, KeySource, SignatureChecks},
    limit::{BanStats, InFlightStats, Stats, TokenQueueStats},
    policy::{KeyedCertificate, ListenerKey},
    server::Listener,
    telemetry::metrics::{
        BanGauges, CapGauges, DomainGauges, IdentityCounts, KeySourceGauges, LimitGauges,
        ListenerGauges, Metrics, Observed, OrderGauges, RouteGauges, SignatureGauges,
        UpstreamGauges, WaitGauges,
    },
    upstream::CurrentUpstream,
};

/// Reads all gauges.
///
/// All gauges but those of listeners and orders are of one configuration. A
/// listener that a reload is just removing may still be among them.
pub(super) fn observe(context: &AdminContext) -> Observed {
    let state = &**context.state.load();
    let (listeners, metrics) = (&context.listeners, &*context.metrics);
    let mut limits = Vec::new();
    for (name, limiter) in state.limits() {
        limits.push(limit(name, limiter.stats(), state.known_in_store(name)));
    }
    for (name, counter) in state.in_flight() {
        limits.push(in_flight(name, counter.stats()));
    }
    let bans: BTreeMap<_, _> = state.bans().collect();
    let queues: BTreeMap<_, _> = state.token_queues().collect();
    for of in &mut limits {
        let (bans, queues) = (bans.get(&of.limit), queues.get(&of.limit));
        of.bans = bans.map(|bans| ban_gauges(bans.stats()));
        of.waits = queues.map(|queues| wait_gauges(queues.stats()));
    }
    Observed {
        routes: routes(state, metrics),
        limits,
        identities: identities(state),
        signatures: state.signature_checks().map(|checks| signatures(checks)),
        upstreams: upstreams(state),
        buffered: state.buffered() as u64,
        grown_windows: windows::grown() as u64,
        listeners: listeners
            .lock()
            .iter()
            .map(|(key, listener)| listener_gauges(listener, key, state, &context.acme))
            .collect(),
        orders: orders(context.acme.state()),
    }
}

/// The numbers about bans as metrics have them.
fn ban_gauges(stats: BanStats) -> BanGauges {
    BanGauges {
        banned: stats.banned as u64,
        begun: stats.begun,
        refused: stats.refused,
        untracked: stats.untracked,
    }
}

/// The numbers about waits for tokens as metrics have them.
fn wait_gauges(stats: TokenQueueStats) -> WaitGauges {
    WaitGauges {
        waiting: stats.waiting as u64,
        admitted: stats.admitted,
        refused: stats.refused,
        left: stats.left,
        full: stats.full,
    }
}

/// The gauges of each route. Requests in flight are those that hold a permit of
/// the route's concurrency limit; the others wait for one, or are about to be
/// refused.
///
/// A route without a concurrency limit shows the exchanges that have not ended,
/// and has no other gauge.
fn routes(state: &State, metrics: &Metrics) -> Vec<RouteGauges> {
    let caps: BTreeMap<_, _> = state.route_concurrency().collect();
    let mut routes = Vec::with_capacity(state.config.routes.len());
    for route in &state.config.routes {
        let cap = caps.get(&route.name);
        routes.push(RouteGauges {
            route: Arc::clone(&route.name),
            in_flight: Some(match cap {
                Some(cap) => cap.in_flight as u64,
                None => metrics.route(&route.name).in_flight(),
            }),
            abandoned: cap.map(|cap| cap.abandoned as u64),
            queued: cap.map(|cap| cap.queued as u64),
            concurrency_limit: cap.map(|cap| cap.limit as u64),
        });
    }
    routes
}

/// The gauges of a listener, with the expiry of its certificates.
///
/// `key` is its identity in the configuration, by which its certificates are
/// found; none are shown for a listener that the configuration does not have
/// any more. Expiry is the time since the beginning of 1970, and 0 for a
/// certificate that expired before.
fn listener_gauges(
    listener: &Listener,
    key: &ListenerKey,
    state: &State,
    acme: &Acme,
) -> ListenerGauges {
    let mut certificates = BTreeMap::new();
    for certificate in served(key, &state.config, acme) {
        let expires = certificate
            .expires
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        // Several certificates may have one name (RSA and ECDSA). The gauge
        // shows the first that expires.
        let first = certificates
            .entry(certificate.name().into())
            .or_insert(expires);
        *first = expires.min(*first);
    }
    ListenerGauges {
        listener: listener.name(),
        connections: listener.open() as u64,
        handshaking: listener.handshaking().map(|count| count as u64),
        certificates: certificates.into_iter().collect(),
    }
}

/// The certificates of the listener that the configuration has by this key, also
/// those that were ordered; none if it has no such listener, or one without TLS.
fn served(key: &ListenerKey, config: &Config, acme: &Acme) -> Vec<KeyedCertificate> {
    let mut listeners = config.listeners.iter();
    let listener = listeners.find(|listener| listener.key() == *key);
    let Some(tls) = listener.and_then(|listener| listener.tls.as_ref()) else {
        return Vec::new();
    };
    let mut served = tls.certificates.clone();
    let ordered = tls.acme.iter().flat_map(|acme| acme.domains.iter());
    served.extend(ordered.filter_map(|domain| acme.obtained().get(domain)));
    served
}

/// The gauges of certificates that are ordered.
fn orders(state: AcmeState) -> OrderGauges {
    let since_1970 = |at: SystemTime| at.duration_since(SystemTime::UNIX_EPOCH);
    let domain = |of: AcmeDomain| DomainGauges {
        has_certificate: of.expires.is_some(),
        next_attempt: since_1970(of.next).unwrap_or_default(),
        failures: of.failures.into(),
        domain: of.domain,
    };
    OrderGauges {
        outcomes: state.outcomes,
        domains: state.domains.into_iter().map(domain).collect(),
    }
}

/// The counters of each identity.
fn identities(state: &State) -> Vec<IdentityCounts> {
    let counts = |(name, of): (&Arc<str>, &Arc<Authenticator>)| IdentityCounts {
        identity: Arc::clone(name),
        outcomes: of.counts.by_outcome().into(),
        keys: of.source().map(|source| keys(source)),
    };
    state.identities().map(counts).collect()
}

/// The gauges of a cap on the requests in flight of each key.
fn in_flight(name: &Arc<str>, stats: InFlightStats) -> LimitGauges {
    LimitGauges {
        limit: Arc::clone(name),
        keys: stats.keys as u64,
        in_flight: Some(stats.held),
        evicted_idle: 0,
        evicted_overflow: stats.overflowed,
        bans: None,
        waits: None,
    }
}

/// The gauges of keys at a URL.
fn keys(source: &KeySource) -> KeySourceGauges {
    let counts = source.counts();
    KeySourceGauges {
        fetched: counts.fetched,
        failed: counts.failed,
        age: counts.age,
        failing_for: counts.failing_for,
    }
}

/// The gauges of the checks of signatures.
fn signatures(checks: &SignatureChecks) -> SignatureGauges {
    let counts = checks.counts();
    SignatureGauges {
        done: counts.done,
        took: counts.took,
        refused: counts.refused,
        waiting: counts.waiting,
    }
}

/// The gauges of a limit; `in_store` is the number of its keys that this
/// gateway knows in the store.
///
/// Both counts of evictions are totals since the limit was made, and only grow.
fn limit(name: &Arc<str>, stats: Stats, in_store: usize) -> LimitGauges {
    LimitGauges {
        limit: Arc::clone(name),
        keys: (stats.keys + in_store) as u64,
        in_flight: None,
        evicted_idle: stats.evictions_idle,
        evicted_overflow: stats.evictions_overflow,
        bans: None,
        waits: None,
    }
}

/// The gauges of each upstream.
///
/// An upstream without a concurrency limit has no gauges of one.
fn upstreams(state: &State) -> Vec<UpstreamGauges> {
    let caps: BTreeMap<_, _> = state.upstream_concurrency().collect();
    state
        .upstreams()
        .map(|(name, of)| upstream(name, of, caps.get(name).map(gauges)))
        .collect()
}

/// The gauges of a concurrency limit.
///
/// All four are numbers of requests. The limit is the present one, which moves
/// if it is adaptive.
fn gauges(cap: &ConcurrencyView) -> CapGauges {
    let ConcurrencyView {
        limit,
        in_flight,
        abandoned,
        queued,
    } = *cap;
    CapGauges {
        in_flight: in_flight as u64,
        abandoned: abandoned as u64,
        queued: queued as u64,
        limit: limit as u64,
    }
}

/// The gauges of an upstream: its connections, and the state of each server.
///
/// A connection is idle or active. The two numbers of a server are read one
/// after the other, so that the difference is bounded at zero.
fn upstream(name: &Arc<str>, upstream: &CurrentUpstream, cap: Option<CapGauges>) -> UpstreamGauges {
    let mut open = 0;
    let mut idle = 0;
    let mut ejections = Vec::new();
    let mut servers = Vec::new();
    for server in upstream.servers() {
        open += server.open;
        idle += server.idle;
        ejections.push((Arc::clone(&server.url), server.health.ejections));
        servers.push((server.url, server.up));
    }
    UpstreamGauges {
        upstream: Arc::clone(name),
        cap,
        connections: vec![
            ("idle", idle as u64),
            ("active", open.saturating_sub(idle) as u64),
        ],
        ejections,
        servers,
    }
}
