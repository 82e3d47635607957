//! Numbers that live elsewhere and are only looked at when somebody scrapes:
//! filled in by the admin listener.

use std::{sync::Arc, time::Duration};

/// The state of the gateway at one moment.
#[derive(Debug, Default)]
pub struct Observed {
    /// Routes that serve.
    pub routes: Vec<RouteGauges>,
    /// Limits of those routes.
    pub limits: Vec<LimitGauges>,
    /// Upstreams of those routes.
    pub upstreams: Vec<UpstreamGauges>,
    /// Open listeners.
    pub listeners: Vec<ListenerGauges>,
    /// Bytes of bodies that are buffered.
    pub buffered: u64,
    /// Bytes by which HTTP/2 windows have grown.
    pub grown_windows: u64,
}

/// The state of one route.
#[derive(Debug)]
pub struct RouteGauges {
    /// Name of the route.
    pub route: Arc<str>,
    /// Requests that hold a place under the cap; without one, those whose
    /// exchange has not ended. `None` when nothing counts them.
    pub in_flight: Option<u64>,
    /// Requests that hold a place and whose client has left; `None` without a
    /// cap.
    pub abandoned: Option<u64>,
    /// Requests that wait for a place; `None` without a cap.
    pub queued: Option<u64>,
    /// The cap as it is now; `None` without one.
    pub concurrency_limit: Option<u64>,
}

/// The state of one limit.
#[derive(Debug)]
pub struct LimitGauges {
    /// Name of the limit.
    pub limit: Arc<str>,
    /// Keys in its table, or in the store and known here.
    pub keys: u64,
    /// Keys that made room because their bucket was full again, ever.
    pub evicted_idle: u64,
    /// Strangers sent to the shared bucket of a full table, ever.
    pub evicted_overflow: u64,
}

/// The state of one upstream.
#[derive(Debug)]
pub struct UpstreamGauges {
    /// Name of the upstream.
    pub upstream: Arc<str>,
    /// Its cap over all routes; `None` without one.
    pub cap: Option<CapGauges>,
    /// Connections by state.
    pub connections: Vec<(&'static str, u64)>,
    /// Servers, and whether each is sent requests.
    pub servers: Vec<(Arc<str>, bool)>,
    /// Servers, and how often each was ejected, ever.
    pub ejections: Vec<(Arc<str>, u64)>,
}

/// The state of a cap that several routes share.
#[derive(Debug, Clone, Copy)]
pub struct CapGauges {
    /// Requests that hold a place and whose client waits.
    pub in_flight: u64,
    /// Requests that hold a place and whose client has left.
    pub abandoned: u64,
    /// Requests that wait for one.
    pub queued: u64,
    /// Places in all, as it is now.
    pub limit: u64,
}

/// The state of one listener.
#[derive(Debug)]
pub struct ListenerGauges {
    /// Its address.
    pub listener: Arc<str>,
    /// Connections of clients that are open.
    pub connections: u64,
    /// TLS handshakes that are worked on; `None` without TLS.
    pub handshaking: Option<u64>,
    /// Certificates by name, and when each ends to be valid, since the Unix
    /// epoch.
    pub certificates: Vec<(Box<str>, Duration)>,
}
