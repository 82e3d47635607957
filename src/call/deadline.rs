//! Deadlines: the time by which the response to a request must have begun.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use crate::{body::Flow, error::Error};

/// The end of the time that a route gives a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadline {
    /// When it is.
    pub at: Instant,
    /// The configured length, for the error.
    pub total: Duration,
}

impl Deadline {
    /// The deadline so long after the request's begin.
    pub fn after(started: Instant, total: Duration) -> Self {
        let at = started + total;
        Self { at, total }
    }

    /// The error of a request that has passed its deadline.
    pub fn error(&self) -> Error {
        Error::TotalTimeout { after: self.total }
    }
}

/// The deadlines of a request whose body comes in pieces. Services respond
/// to an upload once they have it: the time that a route gives them stands still
/// while the body flows, whose pace has bounds of its own.
#[derive(Debug)]
pub struct Uploading {
    /// When the body flows.
    pub flow: Arc<Flow>,
    /// The time that the route gives, as if the body took none.
    pub of_route: Deadline,
    /// The time that the client itself gives (`grpc-timeout`): it does not
    /// stand still.
    pub of_client: Option<Deadline>,
}

impl Uploading {
    /// The deadline that comes first, as of now; `None` while only the pace of
    /// the body bounds it.
    pub fn deadline(&self) -> Option<Deadline> {
        let Deadline { at, total } = self.of_route;
        let of_route = self.flow.passed().map(|flowed| Deadline {
            at: at + flowed,
            total,
        });
        of_route
            .into_iter()
            .chain(self.of_client)
            .min_by_key(|deadline| deadline.at)
    }
}
