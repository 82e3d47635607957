//! Why a body broke off after the response had begun, when no other response
//! can be given any more.
//!
//! The status that the client got stays. HTTP/1 closes the connection and
//! HTTP/2 resets the stream, so that the client can tell a cut body from a
//! whole one (RFC 9112, 8; RFC 9113, 8.1).

use std::time::Duration;

use thiserror::Error as ThisError;

use super::Error;

/// Why a body broke off that was already flowing. Small and `Copy`, since every
/// frame of a body may carry one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ThisError)]
pub enum Fault {
    /// The client closed its connection.
    #[error("the client went away")]
    ClientGone,
    /// The client sent nothing of the request body for this long.
    #[error("the client sent nothing for {0:?}")]
    ClientSilent(Duration),
    /// The request body is not what its head announced.
    #[error("the request body is malformed: {0}")]
    ClientMalformed(&'static str),
    /// The request body is longer than this many bytes, which is what the route
    /// accepts.
    #[error("the request body is longer than {0} bytes")]
    TooLarge(u64),
    /// The upstream broke off the response body, or it is not what its head
    /// announced. The text says what happened.
    #[error("the upstream broke off: {0}")]
    UpstreamCut(&'static str),
    /// No byte moved in either direction for this long.
    #[error("nothing moved for {0:?}")]
    Idle(Duration),
    /// The whole exchange took longer than `timeouts.body`.
    #[error("the exchange passed its bound")]
    OutOfTime,
}

impl Fault {
    /// The `reason` in the access line.
    pub fn reason(self) -> &'static str {
        match self {
            Fault::ClientGone => "client_gone",
            Fault::ClientSilent(_) => "slow_body",
            Fault::ClientMalformed(_) => "malformed",
            Fault::TooLarge(_) => "body_too_large",
            Fault::UpstreamCut(_) => "upstream_cut",
            Fault::Idle(_) => "idle_timeout",
            Fault::OutOfTime => "body_timeout",
        }
    }
}

/// The error of a request whose body broke off before its response began, so
/// that there still is a response.
impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::ClientSilent(after) => Error::SlowBody { after },
            Fault::ClientMalformed(what) => Error::Malformed(what),
            Fault::TooLarge(limit) => Error::BodyTooLarge { limit },
            Fault::Idle(after) => Error::AttemptTimeout { after },
            Fault::OutOfTime => Error::BodyTimeout,
            Fault::ClientGone | Fault::UpstreamCut(_) => Error::ClientGone,
        }
    }
}
