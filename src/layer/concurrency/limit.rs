//! The limit itself: counts requests in flight, and hands free slots to those
//! whose turn it is.
//!
//! One atomic counts the slots in use and has a bit for "requests wait". While
//! that bit is off, taking and releasing a slot touch nothing else. While it is
//! on, slots go only to the queue, and each release serves it.

use std::{
    sync::{
        OnceLock,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use smallvec::SmallVec;
use tokio::{sync::oneshot, time::Instant};

use super::{
    adaptive::{LoadMeter, LoadOutcome},
    queue::{Queue, Room, Ticket, Turn},
};
use crate::{
    error::{Error, Failed, LimitOwner},
    policy::{self, Bound},
};

/// A bound on requests in flight, shared by all workers; outlives reloads.
///
/// ```
/// use std::{num::NonZeroUsize, sync::Arc, time::Duration};
/// use tidegate::{error::LimitOwner, layer::ConcurrencyLimit, policy};
/// use tokio::time::Instant;
///
/// let policy = policy::Concurrency {
///     bound: policy::Bound::Fixed(NonZeroUsize::MIN),
///     queue: 0,
///     queue_timeout: Duration::ZERO,
///     fair_by: Vec::new(),
/// };
/// let owner = LimitOwner::Route("orders".into());
/// let limit = Arc::new(ConcurrencyLimit::new(owner, &policy));
/// let permit = limit.try_acquire(Instant::now());
/// assert!(permit.is_some() && limit.try_acquire(Instant::now()).is_none());
/// drop(permit);
/// assert_eq!(limit.in_flight(), 0);
/// ```
#[derive(Debug)]
pub struct ConcurrencyLimit {
    /// The route or the upstream that the limit is set on.
    owner: LimitOwner,
    /// [`SLOT`] for each slot in use, and [`WAITING`].
    state: AtomicUsize,
    /// The most slots in use. Moved by reloads, and by `meter` while the limit
    /// adapts.
    max: AtomicUsize,
    /// How many of the slots in use belong to requests whose client has left.
    abandoned: AtomicUsize,
    /// Made with the first configuration that lets the limit adapt, and kept.
    meter: OnceLock<Box<LoadMeter>>,
    /// Requests that may wait; 0 refuses at once.
    max_queued: AtomicUsize,
    /// The longest wait in the queue, in milliseconds.
    queue_timeout: AtomicU64,
    /// The length of the queue, to be read without its lock.
    queued: AtomicUsize,
    /// Locked only while the limit is reached, and never while a task is woken.
    /// [`WAITING`] changes under the lock.
    queue: Mutex<Queue<Waiter>>,
}

/// Set while the queue is not empty.
const WAITING: usize = 1;
/// One slot in use.
const SLOT: usize = 2;

/// A request in the queue, as the queue knows it. Dropped, it tells the request
/// that it has lost its place.
#[derive(Debug)]
struct Waiter {
    /// The request's deadline, from which on a permit is of no use to it. The
    /// queue's timeout is not looked at here: a request that notices it late
    /// gets the permit that is free by then.
    deadline: Option<Instant>,
    /// Tells the request that it has a slot.
    granted: oneshot::Sender<()>,
}

/// A request in the queue, as the request itself knows it.
#[derive(Debug)]
pub(super) struct Joined {
    /// By which it leaves the queue.
    pub(super) ticket: Ticket,
    /// Receives a slot that is counted already. Closed without one when the
    /// request has lost its place.
    pub(super) granted: oneshot::Receiver<()>,
}

impl Waiter {
    /// Whether the request has passed its deadline.
    fn is_expired(&self, now: Instant) -> bool {
        self.deadline.is_some_and(|deadline| deadline <= now)
    }
}

/// Requests that were taken out of the queue and do not know it yet.
#[derive(Debug, Default)]
struct Dequeued {
    /// Each of these has a slot.
    granted: SmallVec<[oneshot::Sender<()>; 2]>,
    /// These have passed their deadline, and learn it from their own timer.
    expired: Vec<Waiter>,
}

impl ConcurrencyLimit {
    /// A limit under which no request is in flight yet.
    pub fn new(owner: LimitOwner, settings: &policy::Concurrency) -> Self {
        let limit = Self {
            owner,
            state: AtomicUsize::new(0),
            max: AtomicUsize::new(0),
            abandoned: AtomicUsize::new(0),
            meter: OnceLock::new(),
            max_queued: AtomicUsize::new(0),
            queue_timeout: AtomicU64::new(0),
            queued: AtomicUsize::new(0),
            queue: Mutex::new(Queue::new()),
        };
        limit.reconfigure(settings);
        limit
    }

    /// Changes the numbers. Requests that are in flight or wait stay; a lower
    /// limit is reached as they end.
    pub fn reconfigure(&self, settings: &policy::Concurrency) {
        self.max_queued.store(settings.queue, Ordering::Relaxed);
        let millis = u64::try_from(settings.queue_timeout.as_millis()).unwrap_or(u64::MAX);
        self.queue_timeout.store(millis, Ordering::Relaxed);
        self.set_bound(settings.bound);
        // Requests queued under the old limit are served now; later ones read
        // the new limit themselves.
        self.serve();
    }

    /// Applies a fixed bound, or lets the meter move the limit within bounds.
    fn set_bound(&self, bound: Bound) {
        match (bound, self.meter.get()) {
            (Bound::Fixed(max), None) => self.max.store(max.get(), Ordering::Relaxed),
            (Bound::Fixed(max), Some(meter)) => meter.switch_off(max.get(), &self.max),
            (Bound::Adaptive(bounds), Some(meter)) => meter.switch_on(bounds, None, &self.max),
            (Bound::Adaptive(bounds), None) => {
                // A new limit has 0 here and begins at its least. The number
                // that was fixed until now is a better guess.
                let before = Some(self.max()).filter(|max| *max > 0);
                let meter = self.meter.get_or_init(|| Box::new(LoadMeter::new(bounds)));
                meter.switch_on(bounds, before, &self.max);
            }
        }
    }

    /// The route or the upstream that the limit is set on.
    pub fn owner(&self) -> &LimitOwner {
        &self.owner
    }

    /// Requests that may be in flight now.
    pub fn max(&self) -> usize {
        self.max.load(Ordering::Relaxed)
    }

    /// Requests in flight. Above [`max`](Self::max) for a while after that was
    /// lowered.
    pub fn in_flight(&self) -> usize {
        self.state.load(Ordering::Acquire) / SLOT
    }

    /// Requests in flight whose client has left and on which a server works.
    pub fn abandoned(&self) -> usize {
        self.abandoned.load(Ordering::Relaxed)
    }

    /// Requests in the queue.
    pub fn queued(&self) -> usize {
        self.queued.load(Ordering::Relaxed)
    }

    /// The longest wait in the queue.
    pub(super) fn queue_timeout(&self) -> Duration {
        Duration::from_millis(self.queue_timeout.load(Ordering::Relaxed))
    }

    /// The failure of a request for which there is neither a permit nor room in
    /// the queue.
    pub(super) fn refusal(&self) -> Failed {
        Failed::unseen(Error::ConcurrencyLimited {
            owner: self.owner.clone(),
            max: self.max(),
            queue: self.max_queued.load(Ordering::Relaxed),
        })
    }

    /// Takes a slot, if one is free and no request waits for it.
    pub(super) fn take_slot(&self) -> bool {
        let max = self.max.load(Ordering::Relaxed);
        let mut state = self.state.load(Ordering::Relaxed);
        while state & WAITING == 0 && state / SLOT < max {
            match self.state.compare_exchange_weak(
                state,
                state + SLOT,
                Ordering::AcqRel,
                Ordering::Relaxed,
            ) {
                Ok(_) => {
                    self.note_peak(state / SLOT + 1);
                    return true;
                }
                Err(now) => state = now,
            }
        }
        false
    }

    /// Gives a slot back, to the queue if requests wait.
    pub(super) fn release_slot(&self) {
        if self.state.fetch_sub(SLOT, Ordering::AcqRel) & WAITING != 0 {
            self.serve();
        }
    }

    /// Counts a request in flight whose client has left.
    pub(super) fn count_abandoned(&self) {
        self.abandoned.fetch_add(1, Ordering::Relaxed);
    }

    /// Ends the count of a request whose client has left.
    pub(super) fn uncount_abandoned(&self) {
        self.abandoned.fetch_sub(1, Ordering::Relaxed);
    }

    /// Puts a request into the queue whose deadline is this; `None` if that is
    /// full and no other request leaves it for this one.
    pub(super) fn join_queue(
        &self,
        turn: Turn,
        deadline: Option<Instant>,
        now: Instant,
    ) -> Option<Joined> {
        let max_queued = self.max_queued.load(Ordering::Relaxed);
        if max_queued == 0 {
            return None;
        }
        let mut queue = self.queue.lock();
        let room = queue.make_room(turn, max_queued);
        let joined = (!matches!(room, Room::None)).then(|| {
            let (granted, receiver) = oneshot::channel();
            let ticket = queue.join(turn, Waiter { deadline, granted });
            // From here on every release takes the lock; slots that were
            // released before are found below.
            self.state.fetch_or(WAITING, Ordering::AcqRel);
            Joined {
                ticket,
                granted: receiver,
            }
        });
        let taken = self.take_from(&mut queue, now);
        drop(queue);
        // Dropped outside of the lock, the request that left the queue for this
        // one learns it.
        drop(room);
        self.grant(taken);
        joined
    }

    /// Takes a request out of the queue; false if it was taken out already,
    /// with a slot or without.
    pub(super) fn leave_queue(&self, ticket: Ticket) -> bool {
        let mut queue = self.queue.lock();
        let left = queue.leave(ticket);
        let taken = self.take_from(&mut queue, Instant::now());
        drop(queue);
        self.grant(taken);
        left.is_some()
    }

    /// Hands free slots to the requests whose turn it is.
    fn serve(&self) {
        let taken = self.take_from(&mut self.queue.lock(), Instant::now());
        self.grant(taken);
    }

    /// Takes requests out of the queue as long as slots are free, and the slots
    /// with them. No other request takes a slot meanwhile: [`WAITING`] is set
    /// while the queue is not empty.
    fn take_from(&self, queue: &mut Queue<Waiter>, now: Instant) -> Dequeued {
        let mut taken = Dequeued::default();
        while queue.len() > 0 && self.in_flight() < self.max() {
            let next = queue.next(|waiter| waiter.is_expired(now), &mut taken.expired);
            let Some(waiter) = next else {
                break;
            };
            let before = self.state.fetch_add(SLOT, Ordering::AcqRel);
            self.note_peak(before / SLOT + 1);
            taken.granted.push(waiter.granted);
        }
        self.queued.store(queue.len(), Ordering::Relaxed);
        if queue.len() == 0 {
            self.state.fetch_and(!WAITING, Ordering::AcqRel);
        }
        taken
    }

    /// Wakes the requests that got a slot. Outside of the lock, as waking
    /// crosses threads. The slot of a request that has left in between goes to
    /// the next one.
    fn grant(&self, mut taken: Dequeued) {
        loop {
            let mut unwanted = 0;
            for granted in taken.granted.drain(..) {
                unwanted += usize::from(granted.send(()).is_err());
            }
            if unwanted == 0 {
                return;
            }
            self.state.fetch_sub(unwanted * SLOT, Ordering::AcqRel);
            taken = self.take_from(&mut self.queue.lock(), Instant::now());
        }
    }

    /// The meter, while the limit adapts.
    fn adapting(&self) -> Option<&LoadMeter> {
        let meter = self.meter.get()?;
        meter.is_on().then_some(meter)
    }

    /// Whether the limit follows the measured latency.
    pub(super) fn is_adaptive(&self) -> bool {
        self.adapting().is_some()
    }

    /// Tells the meter how many requests are in flight: a limit that was not
    /// reached says nothing about the upstream.
    fn note_peak(&self, in_flight: usize) {
        if let Some(meter) = self.adapting() {
            meter.note_peak(in_flight);
        }
    }

    /// Takes the outcome of a request into account, `time` after it got its
    /// permit.
    pub(super) fn measured(&self, outcome: LoadOutcome, time: Duration) {
        let now = Instant::now();
        let has_moved = self
            .adapting()
            .is_some_and(|meter| meter.measured(outcome, time, now, &self.max));
        if has_moved {
            self.serve();
        }
    }
}
