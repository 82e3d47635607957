//! Permits: guards that count requests in flight under a limit.
//!
//! A permit is made by `try_acquire`, or by a wait in the queue when a slot is
//! handed to the request whose turn it is. The limit counts the slot before the
//! permit exists, until the permit is dropped; the drop serves the queue.
//!
//! A permit measures at most one outcome. The first of two events takes it: the
//! response head or a failure, or the client's leaving.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{adaptive::LoadOutcome, limit::ConcurrencyLimit};
use crate::{
    body::{Body, SharedCount},
    error::Failed,
    message::Response,
};

/// One request in flight under a concurrency limit. The permit is given back on
/// drop.
#[derive(Debug)]
pub struct Permit {
    /// The limit that counts the request; `None` once the body of its response
    /// holds the slot.
    limit: Option<Arc<ConcurrencyLimit>>,
    /// When the permit was given, while the time to the response head is to be
    /// measured.
    since: Option<Instant>,
}

impl ConcurrencyLimit {
    /// A permit, if one is free and no request waits for it. `now` is the last
    /// look at the clock.
    ///
    /// Does not wait, and never overtakes a request in the queue. The time to
    /// the response head is measured from `now`.
    pub fn try_acquire(self: &Arc<Self>, now: Instant) -> Option<Permit> {
        self.take_slot().then(|| Permit::new(Arc::clone(self), now))
    }
}

impl Permit {
    /// The permit of a request that `limit` counts already.
    pub(super) fn new(limit: Arc<ConcurrencyLimit>, now: Instant) -> Self {
        let since = limit.is_adaptive().then_some(now);
        let limit = Some(limit);
        Self { limit, since }
    }

    /// Whether the time to the response head is measured.
    pub fn is_measured(&self) -> bool {
        self.since.is_some()
    }

    /// Notes that the response head has arrived, or never will. `last_attempt`
    /// is how long the last attempt took at a request that was tried more than
    /// once: the attempts before it, and the waits in between, say nothing of
    /// this response.
    ///
    /// Does nothing from the second call on, or if the limit is fixed.
    pub fn responded(&mut self, result: &Result<Response, Failed>, last_attempt: Option<Duration>) {
        if let Some(since) = self.since.take() {
            let time = last_attempt.unwrap_or_else(|| since.elapsed());
            self.measured(LoadOutcome::of(result), time);
        }
    }

    /// Has `body` hold the slot to its end. The response head was noted before.
    pub(super) fn held_by(mut self, body: &mut Body) {
        if let Some(limit) = self.limit.take() {
            body.hold_count(limit, 0);
        }
    }

    /// Holds the permit for a server that works on although the client has
    /// left.
    pub(super) fn abandon(mut self) -> AbandonedPermit {
        self.client_left();
        if let Some(limit) = &self.limit {
            limit.count_abandoned();
        }
        AbandonedPermit(self)
    }

    /// Notes that the client has left before the response, unless the response
    /// head was noted.
    fn client_left(&mut self) {
        if let Some(since) = self.since.take() {
            self.measured(LoadOutcome::Abandoned, since.elapsed());
        }
    }

    /// Tells the limit how long the request took.
    fn measured(&self, outcome: LoadOutcome, time: Duration) {
        if let Some(limit) = &self.limit {
            limit.measured(outcome, time);
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.client_left();
        if let Some(limit) = &self.limit {
            limit.release_slot();
        }
    }
}

impl SharedCount for ConcurrencyLimit {
    fn end_one(&self, _: u64) {
        self.release_slot();
    }
}

/// The permit of a request whose client has left and on which a server works.
///
/// It counts as in flight, and also as abandoned, until the server has ended or
/// the longest time for it has passed.
#[derive(Debug)]
pub(super) struct AbandonedPermit(Permit);

impl Drop for AbandonedPermit {
    fn drop(&mut self) {
        if let Some(limit) = &self.0.limit {
            limit.uncount_abandoned();
        }
    }
}
