//! How the gateway finds out that a server of an upstream is unhealthy: by
//! active checks, and by counting the failures of requests.
//!
//! Both feed `upstream::health`, which knows for each server whether it may get
//! requests. A server that is down by its checks comes back by its checks. An
//! ejected one comes back at the latest when its time is over. If no healthy
//! server is left, an ejected one gets requests all the same; a server that is
//! down never does.

use std::{
    num::{NonZeroU16, NonZeroU32},
    time::Duration,
};

use http::{HeaderName, HeaderValue, Method};

use super::{Failures, StatusSet};

/// `[upstreams.NAME.health_check]`: how the gateway asks each server at an
/// interval whether it is well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthCheck {
    /// The question, and the answer that passes.
    pub kind: CheckKind,
    /// Another port of the server's address that is asked; `None` for the port
    /// of its URL.
    pub port: Option<NonZeroU16>,
    /// The time between two checks of a server. Each interval is made up to a
    /// tenth longer or shorter, so that the checks of many servers and gateways
    /// do not coincide. Above zero.
    pub interval: Duration,
    /// The longest time for one check, including connecting and the TLS
    /// handshake. A check that takes longer has failed. Above zero.
    pub timeout: Duration,
    /// Consecutive passed checks after which a server that is down comes back.
    pub healthy_after: NonZeroU32,
    /// Consecutive failed checks after which a server is down.
    pub unhealthy_after: NonZeroU32,
}

/// The question of a health check, and the answer that passes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CheckKind {
    /// A request in the upstream's protocol.
    Http(HttpCheck),
    /// A call of `grpc.health.v1.Health/Check`, which has to say `SERVING`.
    Grpc(GrpcCheck),
    /// A connection, with the TLS handshake if the server speaks TLS.
    Tcp,
}

/// A check by a request without a body, of which the status decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpCheck {
    /// Any method but CONNECT.
    pub method: Method,
    /// The path and query that are requested, valid in a request line.
    pub path: String,
    /// The statuses that pass, at least one.
    pub statuses: StatusSet,
    /// The fields of the request.
    pub fields: CheckFields,
}

/// A check by a gRPC call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrpcCheck {
    /// The service that is asked about; empty for the server as a whole.
    pub service: Box<str>,
    /// The fields of the call.
    pub fields: CheckFields,
}

/// The fields of a check's request, besides those that every check has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckFields {
    /// The host, perhaps with a port, that is asked for; `None` for the
    /// server's own.
    pub host: Option<Box<str>>,
    /// Further fields, which replace the usual ones of the same name.
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

/// `[upstreams.NAME.ejection]`: when a server that fails requests stops
/// receiving them, and for how long.
///
/// The terms are those of Envoy's outlier detection by consecutive failures.
/// `on` says what a failure is; any other complete response starts the count
/// again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ejection {
    /// The failures that count, at least one.
    pub on: Failures,
    /// Consecutive failures that eject a server.
    pub consecutive_failures: NonZeroU32,
    /// The length of the first ejection; each further one is twice as long.
    /// Above zero.
    pub base: Duration,
    /// The longest ejection, at least `base`.
    pub max: Duration,
    /// Percentage of the servers, 0 to 100, that may be ejected or cooling down
    /// at once. One of several always may, unless this is 0.
    pub max_percent: u8,
}
