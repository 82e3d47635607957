//! Slots for look-ups of names, and the request for a look before the next
//! regular one.
//!
//! The system's resolver blocks a thread for as long as it takes, which is many
//! times as long for a name whose name server is silent as for others. So the
//! look-ups of all upstreams together are bounded, and those of names that
//! failed last time have a smaller share: however many of them there are, other
//! names do not wait for them.
//!
//! # The request for a look
//!
//! A worker that finds an address dead must not look up the name by itself, as
//! look-ups block. It wakes the control thread through one `Notify`, which
//! keeps a single wake-up: requests that come together cause one look.

use std::{future::Future, pin::pin, time::Duration};

use tokio::{
    sync::{Notify, Semaphore},
    time::timeout,
};

/// The time after which a look-up counts as failed, though it goes on: as long
/// as resolvers wait for one name server.
const OVERDUE: Duration = Duration::from_secs(5);

/// The most look-ups at once in the whole process, each of which blocks a
/// thread.
const MOST_LOOKUPS: usize = 16;
/// The most of them for names whose last look-up failed or that have no address
/// yet, so that these keep no other name waiting.
const MOST_UNLUCKY: usize = 12;

/// The slots for look-ups.
pub(super) static SLOTS: LookupSlots = LookupSlots::new();
/// Wakes the control thread before its next regular look.
static LOOK_REQUESTED: Notify = Notify::const_new();

/// Slots for look-ups, shared by all upstreams, as the resolver and its threads
/// are the machine's.
///
/// Waiting look-ups are served in the order in which they came, as tokio's
/// semaphores are fair.
#[derive(Debug)]
pub(super) struct LookupSlots {
    all: Semaphore,
    unlucky: Semaphore,
}

impl LookupSlots {
    const fn new() -> Self {
        Self {
            all: Semaphore::const_new(MOST_LOOKUPS),
            unlucky: Semaphore::const_new(MOST_UNLUCKY),
        }
    }

    /// Runs `lookup` once there is a slot for it, which is held to its end.
    /// Calls `late` if it takes longer than [`OVERDUE`]. `is_unlucky` says that
    /// the name's last look-up failed, or that it has no address yet.
    ///
    /// Cancel safe: a dropped future releases its slot.
    pub(super) async fn run<T>(
        &self,
        is_unlucky: bool,
        lookup: impl Future<Output = T>,
        late: impl FnOnce(),
    ) -> T {
        // Neither semaphore is ever closed.
        let _unlucky = if is_unlucky {
            self.unlucky.acquire().await.ok()
        } else {
            None
        };
        let _slot = self.all.acquire().await;
        let mut lookup = pin!(lookup);
        match timeout(OVERDUE, &mut lookup).await {
            Ok(found) => found,
            Err(_) => {
                late();
                lookup.await
            }
        }
    }
}

/// Waits until the control thread should look at names and servers before its
/// next regular look.
pub(super) async fn look_requested() {
    LOOK_REQUESTED.notified().await;
}

/// Has the control thread look at names and servers before its next regular
/// look.
///
/// Cheap enough for the path of requests that fail.
pub(super) fn request_a_look() {
    LOOK_REQUESTED.notify_one();
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::{StreamExt, stream::FuturesUnordered};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn names_that_are_never_answered_keep_no_other_waiting_and_count_as_failed() {
        let (slots, late) = (LookupSlots::new(), AtomicUsize::new(0));
        let silent = |is_unlucky| {
            slots.run(is_unlucky, std::future::pending::<()>(), || {
                late.fetch_add(1, Ordering::Relaxed);
            })
        };
        let mut all: FuturesUnordered<_> = (0..600).map(|_| silent(true)).collect();
        let found = tokio::time::timeout(Duration::from_secs(60), async {
            tokio::select! {
                _ = all.next() => unreachable!("they are never answered"),
                found = async {
                    // Those begin first.
                    tokio::time::sleep(Duration::from_secs(6)).await;
                    slots.run(false, std::future::ready(7), || {}).await
                } => found,
            }
        });
        assert_eq!(found.await, Ok(7));
        assert_eq!(
            late.load(Ordering::Relaxed),
            MOST_UNLUCKY,
            "no more were begun"
        );
    }
}
