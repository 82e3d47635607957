//! What the server hands to the gateway, and what it takes from a listener's settings.

use std::{sync::Arc, time::Duration};

use http::Version;
use tokio::time::Instant;

use super::idle::Seat;
use crate::{
    error::Error,
    http1::HeadLimits,
    message::{Origin, Request},
};

/// What a connection may do; from its listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// Bounds on a request's head.
    pub head: HeadLimits,
    /// Longest wait for a whole head.
    pub headers_timeout: Duration,
    /// Longest silence between requests.
    pub keep_alive: Duration,
    /// HTTP/2 is spoken with those who begin with its preface.
    pub http2: bool,
}

/// On what terms a connection is served, whichever protocol it speaks.
pub(super) struct Terms<S> {
    /// Answers its requests.
    pub(super) service: S,
    /// What it may do.
    pub(super) limits: ConnectionLimits,
    /// Its ends.
    pub(super) origin: Arc<Origin>,
    /// Its place among all connections, and its word to end with what is in flight.
    pub(super) seat: Arc<Seat>,
}

/// What the server hands to the gateway.
#[derive(Debug)]
pub enum Arrival {
    /// A request whose head could be read.
    Request(Request),
    /// Something that is not a request, to be answered; the connection closes after it.
    Refused {
        /// What is wrong with it.
        error: Error,
        /// When its first byte was seen.
        started: Instant,
        /// What it was to be.
        version: Version,
        /// The connection that it came by.
        origin: Arc<Origin>,
    },
}
