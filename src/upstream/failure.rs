//! Failures of an exchange with a server, before the head of its response.
//!
//! Both protocols fail in these ways, and each way is translated twice: into
//! the error that the layers and the client get ([`Failure::into_failed`]), and
//! into the failure that counts against the server ([`Failure::of_server`]).
//! The former decides about retries: `Failed::unseen` means that no server can
//! have processed the request.

use std::sync::Arc;

use super::health::Failing;
use crate::error::{Error, Failed, Fault};

/// Why an exchange brought no response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    /// A reused connection turned out to be closed.
    Stale {
        /// Whether any byte of the request was written.
        written: bool,
    },
    /// The connection or the stream broke before the response's head was
    /// complete.
    Reset {
        /// Whether any byte of the response arrived.
        is_begun: bool,
    },
    /// The server refused the stream, or closed the connection, before it
    /// processed the request.
    Unprocessed,
    /// The request's header list exceeds the limit that the server announced.
    HeadTooLarge {
        /// The server's limit, in bytes as RFC 9113 (6.5.2) counts them.
        limit: usize,
    },
    /// The server sent something else than a response; the text says what is
    /// wrong, beginning with `it`.
    BadResponse(&'static str),
    /// The request's body failed on the client's side.
    Client(Fault),
}

impl Failure {
    /// The failure as the layers and the client get it, which says whether a
    /// server may have processed the request.
    pub(super) fn into_failed(self, upstream: &Arc<str>) -> Failed {
        let upstream = Arc::clone(upstream);
        match self {
            Failure::Stale { written: true } => Failed::from(Error::Stale { upstream }),
            Failure::Stale { written: false } => Failed::unseen(Error::Stale { upstream }),
            Failure::Reset { is_begun } => Failed::from(Error::Reset { upstream, is_begun }),
            Failure::Unprocessed => Failed::unseen(Error::Unprocessed { upstream }),
            Failure::HeadTooLarge { limit } => Failed::from(Error::HeadTooLarge { limit }),
            Failure::BadResponse(what) => Failed::from(Error::BadResponse { upstream, what }),
            Failure::Client(fault) => Failed::from(Error::from(fault)),
        }
    }

    /// The failure that counts against the server, if any. Failures of the
    /// client do not, and neither does an idle connection that the server had
    /// closed.
    pub(super) fn of_server(&self) -> Option<Failing> {
        match self {
            Failure::Reset { .. } => Some(Failing::Reset),
            Failure::BadResponse(_) => Some(Failing::BadResponse),
            Failure::Client(Fault::Idle(_)) => Some(Failing::Timeout),
            Failure::Client(_)
            | Failure::HeadTooLarge { .. }
            | Failure::Stale { .. }
            | Failure::Unprocessed => None,
        }
    }
}
