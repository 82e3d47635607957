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
use crate::{error::Fault, runtime::worker};

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
    /// Limits that admitted it, a bit each in the route's order.
    pub admitted: u64,
    /// Limits that refused it.
    pub refused: u64,
    /// Limits in shadow mode that would have refused it.
    pub shadow_refused: u64,
    /// Limits whose numbers on trial would have refused it.
    pub candidate_refused: u64,
    /// The limit that refused or is nearest to it.
    pub limit: Option<Nearest>,
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

/// A limit as an access line names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Nearest {
    /// Which of the route's limits.
    pub index: usize,
    /// Requests that its bucket would still admit.
    pub remaining: u32,
    /// Tokens in a full bucket.
    pub burst: u32,
    /// Time in which an empty bucket fills.
    pub fill: Duration,
    /// Time until it would admit one more.
    pub next: Duration,
    /// Time until the bucket is full.
    pub reset: Duration,
    /// A keyed hash of the key.
    pub key: u64,
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
