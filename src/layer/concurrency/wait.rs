//! A wait in the line: between somebody who waits on one thread, and whoever hands a place on, on another.

use std::{sync::Arc, time::Duration};

use tokio::{sync::oneshot, time::Instant};

use super::{
    cap::{Cap, Permit},
    queue::Place,
};
use crate::{
    call::Deadline,
    error::{Error, Failed},
    runtime::timer,
};

/// How long those wait besides who notice late that their time is over: the process was stopped or kept waiting, and the
/// permit may be held by a worker that has not come yet to the response that frees it.
const OTHER_WORKERS: Duration = Duration::from_millis(50);

/// Somebody in the line, as the line knows him. Dropped, it tells him that he has lost his place.
#[derive(Debug)]
pub(super) struct Waiter {
    /// The request's deadline: from then on a turn is of no use to him. Not the end of the queue's time, which counts when he
    /// has noticed it himself: a loop that was late has seen by then whether a place is free.
    pub(super) deadline: Option<Instant>,
    /// Tells him that a place is his.
    pub(super) granted: oneshot::Sender<()>,
}

impl Waiter {
    pub(super) fn new(deadline: Option<Instant>) -> (Self, oneshot::Receiver<()>) {
        let (granted, told) = oneshot::channel();
        (Self { deadline, granted }, told)
    }

    pub(super) fn is_late(&self, now: Instant) -> bool {
        self.deadline.is_some_and(|deadline| deadline <= now)
    }
}

/// A place in the line, left when dropped.
#[derive(Debug)]
pub struct Queued {
    cap: Arc<Cap>,
    place: Place,
    granted: oneshot::Receiver<()>,
    end: Instant,
    /// Set when the request's deadline comes before the end of the queue's time.
    deadline: Option<Deadline>,
    after: Duration,
    /// What was granted has been taken, or will never be: nothing is left to give back.
    is_settled: bool,
}

impl Queued {
    pub(super) fn new(
        cap: Arc<Cap>,
        place: Place,
        granted: oneshot::Receiver<()>,
        end: Instant,
        deadline: Option<Deadline>,
        after: Duration,
    ) -> Self {
        Self {
            cap,
            place,
            granted,
            end,
            deadline,
            after,
            is_settled: false,
        }
    }

    /// Waits for a place in flight, no longer than the queue's timeout and the request's deadline.
    ///
    /// # Errors
    /// That time is over, or the place in the line had to be given up.
    pub async fn enter(mut self) -> Result<Permit, Failed> {
        let mut granted = timer::timeout_at(self.end, &mut self.granted).await;
        if granted.is_err() && self.deadline.is_none() && self.end.elapsed() > timer::LATE {
            granted = timer::timeout(OTHER_WORKERS, &mut self.granted).await;
        }
        match granted {
            Ok(Ok(())) => {
                self.is_settled = true;
                Ok(Permit::new(Arc::clone(&self.cap), Instant::now()))
            }
            Ok(Err(_)) if Instant::now() < self.end => Err(self.cap.reached()),
            Ok(Err(_)) | Err(_) => Err(self.too_late()),
        }
    }

    fn too_late(&self) -> Failed {
        Failed::unseen(match self.deadline {
            Some(deadline) => deadline.error(),
            None => Error::QueueTimeout {
                cap: self.cap.name().clone(),
                max: self.cap.max(),
                after: self.after,
            },
        })
    }
}

impl Drop for Queued {
    fn drop(&mut self) {
        if self.is_settled || self.cap.leave_line(self.place) {
            return;
        }
        // The turn came first. Closed, the channel holds the place by now or never will: whoever hands it on then keeps it.
        self.granted.close();
        if self.granted.try_recv().is_ok() {
            self.cap.leave();
        }
    }
}
