//! What happens to a request, noted as it happens and told at the end.

use std::{
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use super::Grpc;
use super::Holds;
use crate::{
    error::Fault,
    limit::{Key, Standing},
    runtime::worker,
};

/// Something that happens once, without a lock.
#[derive(Debug, Default)]
pub struct Flag(AtomicBool);

impl Flag {
    /// It has happened.
    pub fn set(&self) {
        self.0.store(true, Relaxed);
    }

    /// Whether it has.
    pub fn is_set(&self) -> bool {
        self.0.load(Relaxed)
    }
}

/// Notes on one exchange.
#[derive(Debug, Default)]
pub struct Facts {
    /// Status of the answer; `None` while there is none.
    pub status: Option<u16>,
    /// How a gRPC call ended, by its head or its trailers.
    pub grpc_status: Option<u8>,
    /// Why the gateway answered by itself.
    pub reason: Option<&'static str>,
    /// Why the answer's body broke off.
    pub broke: Option<Fault>,
    /// The whole answer reached the client.
    pub delivered: bool,
    /// The decision of the route's limits, as it is emitted.
    pub limits: LimitFacts,
    /// Upstream and server of the last attempt.
    pub server: Option<(Arc<str>, Arc<str>)>,
    /// Upstream that had no server for it.
    pub unserved: Option<Arc<str>>,
    /// Attempts made.
    pub attempts: u32,
    /// Servers tried, a bit each.
    pub tried: u64,
    /// The client has left while a server works on, for as long as this lives.
    pub abandoned: Weak<Holds>,
    /// Why a failure was not tried again.
    pub not_retried: Option<&'static str>,
    /// Time spent waiting for places under caps.
    pub queue: Option<Duration>,
    /// Time that the last attempt took to its answer's head.
    pub upstream: Option<Duration>,
    /// Bytes of the request's body.
    pub bytes_in: u64,
    /// Bytes of the answer's body.
    pub bytes_out: u64,
}

/// A decision by the limits of a route, as it is emitted. Each limit has a bit, the first one the lowest.
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
    /// The bucket that refused it longest or, of an admitted request, is nearest to exhaustion.
    pub nearest: Option<Nearest>,
}

/// A bucket as fields of a response and the access line describe it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Nearest {
    /// Index of the limit's or tier's name among the names of the route's limits.
    pub limit: usize,
    /// The bucket.
    pub key: Key,
    /// How it stands after the request.
    pub standing: Standing,
}

/// What is told of a request that the end of the process has cut before its answer, and why.
const CUT: u16 = 503;
const DRAINING: &str = "draining";

/// NGINX's status for a client that left before its answer.
const CLIENT_GONE: u16 = 499;

impl Facts {
    /// Notes how a gRPC call ended, where its head or its trailers say so.
    pub fn note_call(&mut self, call: Option<Grpc>, status: Option<&[u8]>) {
        if let (Some(_), Some(status)) = (call, status) {
            self.grpc_status = std::str::from_utf8(status)
                .ok()
                .and_then(|status| status.parse().ok());
        }
    }

    /// The status that is told, once nothing more will happen; settles the reason too.
    pub(super) fn ended(&mut self) -> u16 {
        match (self.status, self.broke) {
            // The status went out; the body after it broke off.
            (Some(status), Some(fault)) if fault != Fault::ClientGone => {
                self.reason = Some(fault.reason());
                status
            }
            (Some(status), _) if self.delivered => status,
            (status, _) if worker::is_cut() => {
                self.reason = Some(DRAINING);
                status.unwrap_or(CUT)
            }
            // Most streams end so: the client has what it wants.
            (status, _) => {
                self.reason = Some(Fault::ClientGone.reason());
                status.unwrap_or(CLIENT_GONE)
            }
        }
    }
}
