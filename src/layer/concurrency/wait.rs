//! A wait in the queue: between the request, which waits on one thread, and the
//! release of a permit on another.
//!
//! A slot changes hands through a one-shot channel. The thread that releases a
//! slot counts it for the next request first and sends then, so that no third
//! request can take it in between. If the receiver is gone, the sender keeps the
//! slot and serves the next request; if the receiver is dropped with a slot in
//! the channel, the drop of [`Queued`] gives it back. So a slot is never lost,
//! whenever a client leaves.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{
    limit::{ConcurrencyLimit, Joined},
    permit::Permit,
    queue::Turn,
};
use crate::{
    call::Deadline,
    error::{Error, Failed},
    runtime::timer,
};

/// How much longer a request waits that notices late that its time is over. The
/// process was stopped or the machine was busy then, and the response that
/// frees a permit may wait for another worker to look at its sockets.
const OTHER_WORKERS: Duration = Duration::from_millis(50);

/// A request in the queue of a concurrency limit. It leaves the queue on drop.
#[derive(Debug)]
pub struct Queued {
    /// The limit whose queue it is.
    limit: Arc<ConcurrencyLimit>,
    /// The request's place in the queue, and the channel by which it gets a slot.
    joined: Joined,
    /// The end of the wait.
    end: Instant,
    /// Set if the request's deadline comes before the end of the queue's
    /// timeout.
    deadline: Option<Deadline>,
    /// The queue's timeout.
    timeout: Duration,
    /// Whether the slot was taken, so that there is nothing left to give back.
    is_settled: bool,
}

impl ConcurrencyLimit {
    /// Puts a request into the queue. If the queue is full, another one may
    /// have to leave it: see [`Turn`] for whose.
    ///
    /// # Errors
    /// [`Error::ConcurrencyLimited`] if the queue is full and none leaves it for this
    /// request.
    pub fn enqueue(
        self: &Arc<Self>,
        turn: Turn,
        deadline: Option<Deadline>,
    ) -> Result<Queued, Failed> {
        let timeout = self.queue_timeout();
        let now = Instant::now();
        let joined = self
            .join_queue(turn, deadline.map(|deadline| deadline.at), now)
            .ok_or_else(|| self.refusal())?;
        let deadline = deadline.filter(|deadline| deadline.at < now + timeout);
        Ok(Queued {
            limit: Arc::clone(self),
            joined,
            end: deadline.map_or(now + timeout, |deadline| deadline.at),
            deadline,
            timeout,
            is_settled: false,
        })
    }
}

impl Queued {
    /// Waits for a permit, no longer than the queue's timeout and the request's
    /// deadline.
    ///
    /// # Errors
    /// [`Error::QueueTimeout`] or [`Error::TotalTimeout`] if that time is over,
    /// [`Error::ConcurrencyLimited`] if the request had to leave the queue for another
    /// one.
    pub async fn acquire(mut self) -> Result<Permit, Failed> {
        let mut granted = timer::timeout_at(self.end, &mut self.joined.granted).await;
        if granted.is_err() && self.deadline.is_none() && self.end.elapsed() > timer::LATE {
            granted = timer::timeout(OTHER_WORKERS, &mut self.joined.granted).await;
        }
        match granted {
            Ok(Ok(())) => {
                self.is_settled = true;
                Ok(Permit::new(Arc::clone(&self.limit), Instant::now()))
            }
            Ok(Err(_)) if Instant::now() < self.end => Err(self.limit.refusal()),
            Ok(Err(_)) | Err(_) => Err(self.timed_out()),
        }
    }

    /// The failure of a request that has waited for as long as it may.
    fn timed_out(&self) -> Failed {
        Failed::unseen(match self.deadline {
            Some(deadline) => deadline.error(),
            None => Error::QueueTimeout {
                owner: self.limit.owner().clone(),
                max: self.limit.max(),
                after: self.timeout,
            },
        })
    }
}

impl Drop for Queued {
    fn drop(&mut self) {
        if self.is_settled || self.limit.leave_queue(self.joined.ticket) {
            return;
        }
        // The limit has taken the request out of the queue. Once the channel is
        // closed, it holds the slot or never will; a grant that fails leaves
        // the slot with the limit.
        self.joined.granted.close();
        if self.joined.granted.try_recv().is_ok() {
            self.limit.release_slot();
        }
    }
}
