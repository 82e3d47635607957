//! Facts: notes on the course of a request, taken as it happens and emitted at
//! the end. Nothing is decided on them, so that a fact may be added or left out
//! without any effect but on access lines and metrics.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;

use super::grpc::Grpc;
use crate::{
    error::Fault,
    limit::{Key, Standing},
    runtime::worker,
    telemetry::{FixedFields, RouteMetrics},
};

/// The notes on one exchange.
#[derive(Debug, Default)]
pub struct Facts {
    /// The status of the response; `None` while there is none.
    pub status: Option<u16>,
    /// How a gRPC call ended, by its head or its trailers.
    pub grpc_status: Option<u8>,
    /// Why the gateway responded by itself.
    pub reason: Option<&'static str>,
    /// The identity that did not accept the credentials of the request, or could
    /// not judge them.
    pub unidentified_by: Option<Arc<str>>,
    /// Why the response body broke off.
    pub broke: Option<Fault>,
    /// Whether the whole response reached the client.
    pub delivered: bool,
    /// The decision of the route's limits, as it is emitted.
    pub limits: LimitFacts,
    /// The tokens that the request has used in the end, under the first limit
    /// that knows its cost only then.
    pub cost: Option<u64>,
    /// The server of the last attempt, and its upstream.
    pub server: Option<Arc<FixedFields>>,
    /// The upstream that had no server for an attempt.
    pub unserved: Option<Arc<str>>,
    /// The number of attempts.
    pub attempts: u32,
    /// Why a failed attempt was not retried.
    pub not_retried: Option<&'static str>,
    /// Time for which the request waited for tokens of its limits.
    pub delay: Option<Duration>,
    /// Time in the queues of concurrency limits.
    pub queue: Option<Duration>,
    /// How long the last attempt took, to its response head or to its failure.
    pub upstream: Option<Duration>,
    /// Bytes of the request body.
    pub bytes_in: u64,
    /// Bytes of the response body.
    pub bytes_out: u64,
    /// Facts that only some configurations ask for; `None` for others.
    pub chosen: Option<Box<ChosenFacts>>,
}

/// Facts for access lines that have more than their own fields.
#[derive(Debug, Default)]
pub struct ChosenFacts {
    /// Values of the response, each with the index of the field among those
    /// that were chosen, in the order of the indices.
    pub fields: Vec<(usize, Box<[u8]>)>,
    /// The keys of the request as hashes, each with the index of the limit's or
    /// tier's name among the names of the route's limits.
    pub keys: Vec<(usize, u64)>,
}

/// A decision by the limits of a route, as it is emitted. Each limit has a bit,
/// the first one the lowest.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LimitFacts {
    /// Limits that admitted the request.
    pub admitted: u64,
    /// Limits that refused it.
    pub refused: u64,
    /// Limits in shadow mode that would have refused it.
    pub shadow_refused: u64,
    /// Limits whose candidates would have refused it.
    pub candidate_refused: u64,
    /// The bucket that refused it longest or, of an admitted request, is
    /// nearest to exhaustion.
    pub nearest: Option<Nearest>,
}

/// A bucket as fields of a response and the access line describe it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Nearest {
    /// Index of the limit's or tier's name among the names of the route's
    /// limits.
    pub limit: usize,
    /// The bucket.
    pub key: Key,
    /// How it stands after the request.
    pub standing: Standing,
}

/// Status and reason of a request that the end of the process cut before its
/// response.
const CUT: u16 = 503;
const DRAINING: &str = "draining";

/// NGINX's status for a client that left before its response.
const CLIENT_GONE: u16 = 499;

impl Facts {
    /// The notes on an exchange that begins, which is counted as in flight on
    /// its route. The drop of the exchange ends the count.
    pub fn begin(route: &RouteMetrics) -> Mutex<Self> {
        route.began();
        Mutex::default()
    }

    /// Notes how a gRPC call ended, where its head or its trailers say so.
    pub fn note_call(&mut self, call: Option<Grpc>, status: Option<&[u8]>) {
        if let (Some(_), Some(status)) = (call, status) {
            self.grpc_status = std::str::from_utf8(status)
                .ok()
                .and_then(|status| status.parse().ok());
        }
    }

    /// Settles status and reason once nothing more will be noted. Returns the
    /// status.
    pub(super) fn settle(&mut self) -> u16 {
        match (self.status, self.broke) {
            // The status was sent, and the body after it broke off.
            (Some(status), Some(fault)) if fault != Fault::ClientGone => {
                self.reason = Some(fault.reason());
                status
            }
            (Some(status), _) if self.delivered => status,
            (status, _) if worker::is_cut() => {
                self.reason = Some(DRAINING);
                status.unwrap_or(CUT)
            }
            // Most endless streams end like this: the client has seen enough.
            (status, _) => {
                self.reason = Some(Fault::ClientGone.reason());
                status.unwrap_or(CLIENT_GONE)
            }
        }
    }
}
