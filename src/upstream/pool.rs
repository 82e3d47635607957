//! Connections to one server: kept per worker, counted over all of them.
//!
//! Each worker keeps its idle connections in a lane of its own and takes the one used last, so that reuse touches nothing
//! that another worker touches. What all share is the count of open connections. Only when that is at its bound does a
//! worker look into the others' lanes, or wait. Those who wait stand in line: while somebody does, nobody takes a connection, or
//! a stream of one, without waiting, and only the first in line looks for what is freed.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{
    sync::{Mutex as Line, MutexGuard, Notify, futures::Notified},
    time::Instant,
};

use super::{address::Addresses, connection::Connection};
use crate::{
    policy,
    runtime::{PerWorker, timer::timeout},
};

/// The connections of one server.
#[derive(Debug)]
pub(super) struct Pool {
    pub(super) settings: policy::Pool,
    /// Those of the server: a connection is not used again to one that it no longer has.
    pub(super) addresses: Arc<Addresses>,
    lanes: PerWorker<Lane>,
    idle: AtomicUsize,
    open: Arc<Open>,
}

/// One worker's idle connections. Each is boxed once and stays where it is while it is lent and given back.
type Lane = Mutex<Vec<Box<Connection>>>;

/// How many connections are open, and who waits for one.
#[derive(Debug, Default)]
struct Open {
    count: AtomicUsize,
    waiting: AtomicUsize,
    /// Held by the first of those that wait; hands itself on in the order of their coming.
    line: Line<()>,
    /// Tells the first that something was freed since it looked.
    freed: Notify,
}

/// A place among `max_connections`, given back when dropped.
#[derive(Debug)]
pub(super) struct OpenSlot(Arc<Open>);

impl Drop for OpenSlot {
    fn drop(&mut self) {
        self.0.count.fetch_sub(1, Ordering::Release);
        self.0.tell_first();
    }
}

impl Open {
    fn is_waited_for(&self) -> bool {
        self.waiting.load(Ordering::Acquire) > 0
    }

    fn tell_first(&self) {
        if self.is_waited_for() {
            self.freed.notify_one();
        }
    }
}

/// What [`Pool::take`] found.
#[derive(Debug)]
pub(super) enum Place {
    /// A kept connection.
    Kept(Lease),
    /// Leave to open one.
    Free(OpenSlot),
}

/// A connection in use; dropped without [`end`](Lease::end), it closes.
#[derive(Debug)]
pub(super) struct Lease {
    pub(super) connection: Box<Connection>,
    pool: Arc<Pool>,
    /// It served a request before.
    pub(super) is_reused: bool,
}

impl Lease {
    pub(super) fn new(connection: Connection, pool: &Arc<Pool>) -> Self {
        Self {
            connection: Box::new(connection),
            pool: Arc::clone(pool),
            is_reused: false,
        }
    }

    /// Ends an exchange, `now`. The connection is kept only if both sides are exactly at the end of their message, of which the
    /// caller knows whether it `may_go_on`: bytes beyond the answer were not asked for and must never be taken for
    /// somebody else's.
    pub(super) fn end(self, may_go_on: bool, now: Instant) {
        if may_go_on && self.connection.input.is_empty() {
            self.give_back(now);
        }
    }

    /// Keeps the connection for the next request, if there is room and it is not too old.
    fn give_back(self, now: Instant) {
        let Self {
            mut connection,
            pool,
            ..
        } = self;
        if !is_within(connection.opened, pool.settings.max_lifetime, now) || !pool.has_room() {
            return;
        }
        connection.rested = now;
        pool.lanes.of(connection.home).lock().push(connection);
        pool.open.tell_first();
    }
}

impl Pool {
    pub(super) fn new(settings: policy::Pool, addresses: Arc<Addresses>, workers: usize) -> Self {
        Self {
            settings,
            addresses,
            lanes: PerWorker::workers_only(workers, |_| Lane::default()),
            idle: AtomicUsize::new(0),
            open: Arc::default(),
        }
    }

    /// Leave to open a connection, if there is any.
    pub(super) fn slot(&self) -> Option<OpenSlot> {
        let max = self.settings.max_connections.get();
        let taken = self
            .open
            .count
            .fetch_update(Ordering::AcqRel, Ordering::Relaxed, |n| {
                (n < max).then_some(n + 1)
            });
        taken.ok().map(|_| OpenSlot(Arc::clone(&self.open)))
    }

    /// Whether somebody waits for a connection, or a stream of one: whoever comes now stands behind.
    pub(super) fn is_waited_for(&self) -> bool {
        self.open.is_waited_for()
    }

    /// Stands in line for a connection, or a stream of one. Ready for the first, who looks for itself then.
    pub(super) async fn line_up(&self) -> First<'_> {
        let waiting = Waiting::new(&self.open);
        First {
            _line: self.open.line.lock().await,
            waiting,
        }
    }

    /// Has the first in line look again: there may be a stream that is free.
    pub(super) fn tell_first(&self) {
        self.open.tell_first();
    }

    /// A kept connection of this worker: the way of most requests. None while others wait for one.
    pub(super) fn kept(
        self: &Arc<Self>,
        worker: usize,
        fresh: bool,
        now: Instant,
    ) -> Option<Lease> {
        if fresh || self.is_waited_for() {
            None
        } else {
            self.pop(worker, now)
        }
    }

    /// Finds a kept connection or leave to open one, waiting for either at most `wait_timeout`.
    ///
    /// # Errors
    /// `None` when the wait was in vain.
    pub(super) async fn take(self: &Arc<Self>, worker: usize, fresh: bool) -> Option<Place> {
        let at_once = if self.is_waited_for() {
            None
        } else {
            self.try_take(worker, fresh)
        };
        match at_once {
            None => self.wait(worker, fresh).await,
            place => place,
        }
    }

    /// Connections that are open, and those of them that are idle.
    pub(super) fn counts(&self) -> (usize, usize) {
        (
            self.open.count.load(Ordering::Relaxed),
            self.idle.load(Ordering::Relaxed),
        )
    }

    /// Closes kept connections that are too old, or that their server has closed.
    pub(super) fn sweep(&self) {
        let now = Instant::now();
        for lane in self.lanes.iter() {
            let mut lane = lane.lock();
            let before = lane.len();
            lane.retain_mut(|connection| self.is_fresh(connection, now) && connection.is_quiet());
            self.idle.fetch_sub(before - lane.len(), Ordering::Relaxed);
        }
    }

    fn try_take(self: &Arc<Self>, worker: usize, fresh: bool) -> Option<Place> {
        let kept = if fresh {
            None
        } else {
            self.pop(worker, Instant::now())
        };
        kept.map(Place::Kept)
            .or_else(|| self.slot().map(Place::Free))
            .or_else(|| self.steal(worker, fresh))
    }

    async fn wait(self: &Arc<Self>, worker: usize, fresh: bool) -> Option<Place> {
        let place = async {
            let first = self.line_up().await;
            loop {
                if let Some(place) = self.try_take(worker, fresh) {
                    return place;
                }
                first.freed().await;
            }
        };
        timeout(self.settings.wait_timeout, place).await.ok()
    }

    /// The connection of this lane that was used last and can still be used.
    fn pop(self: &Arc<Self>, worker: usize, now: Instant) -> Option<Lease> {
        let mut lane = self.lanes.of(worker).lock();
        while let Some(mut connection) = lane.pop() {
            self.idle.fetch_sub(1, Ordering::Relaxed);
            if self.is_fresh(&connection, now) && connection.is_quiet() {
                return Some(Lease {
                    connection,
                    pool: Arc::clone(self),
                    is_reused: true,
                });
            }
        }
        None
    }

    /// When all places are taken: a connection that idles elsewhere is used from here, or closed to make room.
    fn steal(self: &Arc<Self>, worker: usize, fresh: bool) -> Option<Place> {
        let others = self
            .lanes
            .iter()
            .enumerate()
            .filter(|(lane, _)| fresh || *lane != worker);
        let now = Instant::now();
        let lease = others
            .into_iter()
            .find_map(|(lane, _)| self.pop(lane, now))?;
        if fresh {
            drop(lease);
            return self.slot().map(Place::Free);
        }
        Some(Place::Kept(lease))
    }

    fn is_fresh(&self, connection: &Connection, now: Instant) -> bool {
        is_within(connection.rested, self.settings.idle_timeout, now)
            && is_within(connection.opened, self.settings.max_lifetime, now)
            && self.addresses.have(&connection.peer)
    }

    fn has_room(&self) -> bool {
        let max = self.settings.max_idle;
        self.idle
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| {
                (n < max).then_some(n + 1)
            })
            .is_ok()
    }
}

/// Whether `now` is less than `time` after `since`; an end beyond what the clock can tell never comes.
fn is_within(since: Instant, time: Duration, now: Instant) -> bool {
    since.checked_add(time).is_none_or(|end| now < end)
}

/// The first in line for a connection; the next one is when this is dropped.
pub(super) struct First<'a> {
    _line: MutexGuard<'a, ()>,
    waiting: Waiting<'a>,
}

impl First<'_> {
    /// Ready when something was freed since the last time. Looked for before, as it may have been freed before this one came.
    pub(super) fn freed(&self) -> Notified<'_> {
        self.waiting.0.freed.notified()
    }
}

/// One that waits for a connection; leaves the count when dropped, having hurried or given up.
struct Waiting<'a>(&'a Open);

impl<'a> Waiting<'a> {
    fn new(open: &'a Open) -> Self {
        open.waiting.fetch_add(1, Ordering::AcqRel);
        Self(open)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use std::{num::NonZeroUsize, pin::pin, task::Poll};

    use futures_util::poll;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn pool() -> Arc<Pool> {
        let settings = policy::Pool {
            max_connections: NonZeroUsize::MIN,
            max_idle: 1,
            idle_timeout: SECOND,
            max_lifetime: SECOND,
            connect_timeout: SECOND,
            wait_timeout: SECOND,
        };
        Arc::new(Pool::new(
            settings,
            Arc::new(Addresses::new("127.0.0.1".into(), 80)),
            1,
        ))
    }

    fn is_served(polled: Poll<Option<Place>>) -> bool {
        matches!(polled, Poll::Ready(Some(_)))
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_for_a_connection_is_served_before_who_comes_later() {
        let pool = pool();
        let held = pool.take(0, false).await;
        let (mut first, mut second) = (pin!(pool.take(0, false)), pin!(pool.take(0, true)));
        assert!(poll!(&mut first).is_pending() && poll!(&mut second).is_pending());
        drop(held);
        // The place is free, and the first has not yet been woken.
        let mut late = pin!(pool.take(0, false));
        assert!(poll!(&mut late).is_pending());
        let Poll::Ready(Some(place)) = poll!(&mut first) else {
            panic!("it is the first one's turn")
        };
        assert!(poll!(&mut late).is_pending() && poll!(&mut second).is_pending());
        drop(place);
        assert!(poll!(&mut late).is_pending() && is_served(poll!(&mut second)));
        assert!(is_served(poll!(&mut late)));
        assert!(pool.take(0, false).await.is_some(), "nobody waits any more");
    }

    #[tokio::test(start_paused = true)]
    async fn who_gives_up_or_leaves_hands_its_turn_on() {
        let pool = pool();
        let held = pool.take(0, false).await;
        let mut first = Box::pin(pool.take(0, false));
        assert!(poll!(&mut first).is_pending());
        let mut second = pin!(pool.take(0, false));
        assert!(poll!(&mut second).is_pending());
        drop(held);
        drop(first);
        assert!(is_served(poll!(&mut second)));
        let _again = pool.take(0, false).await;
        assert!(pool.take(0, false).await.is_none(), "after `wait_timeout`");
    }
}
