//! The cap itself: how many are in flight, and whose turn it is when a place becomes free.
//!
//! One atomic counts who is in flight and has a bit for "somebody waits". While that bit is off, coming in and leaving
//! touch nothing else. While it is on, nobody comes in but through the line, and whoever leaves hands the place on.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{sync::oneshot, time::Instant};

use super::{
    adaptive::Bounds,
    meter::{Meter, Outcome},
    queue::{Line, Turn},
    wait::{Queued, Waiter},
};
use crate::{
    call::Deadline,
    error::{CapName, Error, Failed},
    message::Response,
};

/// What a cap is set to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CapSettings {
    /// Requests in flight.
    pub bound: Bound,
    /// Requests that may wait.
    pub queue: usize,
    /// How long they may.
    pub queue_timeout: Duration,
}

/// How many a cap admits at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    /// So many, at least 1.
    Fixed(usize),
    /// As many as the measured latency shows to be good, within bounds.
    Adaptive(Bounds),
}

/// A cap on requests in flight, shared by all workers; outlives reloads.
#[derive(Debug)]
pub struct Cap {
    name: CapName,
    /// [`ONE`] for each in flight, and [`WAITING`].
    state: AtomicUsize,
    max: AtomicUsize,
    /// Of those in flight, how many have no client any more.
    abandoned: AtomicUsize,
    /// Present once the cap was adaptive.
    meter: OnceLock<Box<Meter>>,
    queue: AtomicUsize,
    /// In milliseconds.
    queue_timeout: AtomicU64,
    /// The length of the line, to be read without its lock.
    queued: AtomicUsize,
    /// Locked only while the cap is reached, and never while somebody is woken. [`WAITING`] is changed under it.
    line: Mutex<Line<Waiter>>,
}

/// The line is not empty.
const WAITING: usize = 1;
/// One in flight.
const ONE: usize = 2;

/// A place in flight, given back when dropped.
#[derive(Debug)]
pub struct Permit {
    cap: Arc<Cap>,
    /// Since when it is held, while it is to be measured how long an answer's head takes.
    since: Option<Instant>,
}

impl Permit {
    /// For a place that was counted already, at `now`.
    pub(super) fn new(cap: Arc<Cap>, now: Instant) -> Self {
        let since = cap.meter().map(|_| now);
        Self { cap, since }
    }

    /// Whether it is measured how long an answer's head takes.
    pub fn is_measured(&self) -> bool {
        self.since.is_some()
    }

    /// The answer's head is here, or will never be. Of a request that was tried more than once, `last` is how long the last
    /// attempt took: those before it, and the back-off in between, are nothing that this answer had to wait for.
    pub fn answered(&mut self, answer: &Result<Response, Failed>, last: Option<Duration>) {
        if let Some(since) = self.since.take() {
            self.cap
                .measured(Outcome::of(answer), last.unwrap_or_else(|| since.elapsed()));
        }
    }

    /// The client has left, and a server works on.
    pub(super) fn abandon(mut self) -> Abandoned {
        self.left();
        self.cap.abandoned.fetch_add(1, Ordering::Relaxed);
        Abandoned(self)
    }

    fn left(&mut self) {
        if let Some(since) = self.since.take() {
            self.cap.measured(Outcome::Abandoned, since.elapsed());
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.left();
        self.cap.leave();
    }
}

/// A permit that is held for a server that works on a request whose client has left.
#[derive(Debug)]
pub(super) struct Abandoned(Permit);

impl Drop for Abandoned {
    fn drop(&mut self) {
        self.0.cap.abandoned.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Cap {
    /// A cap under which nobody is yet.
    pub fn new(name: CapName, settings: CapSettings) -> Self {
        let cap = Self {
            name,
            state: AtomicUsize::new(0),
            max: AtomicUsize::new(0),
            abandoned: AtomicUsize::new(0),
            meter: OnceLock::new(),
            queue: AtomicUsize::new(0),
            queue_timeout: AtomicU64::new(0),
            queued: AtomicUsize::new(0),
            line: Mutex::new(Line::new()),
        };
        cap.reconfigure(settings);
        cap
    }

    /// Changes the numbers. Who is in flight or waits stays; a lower cap is reached as they leave.
    pub fn reconfigure(&self, settings: CapSettings) {
        self.queue.store(settings.queue, Ordering::Relaxed);
        let millis = u64::try_from(settings.queue_timeout.as_millis()).unwrap_or(u64::MAX);
        self.queue_timeout.store(millis, Ordering::Relaxed);
        self.bound(settings.bound);
        // Who joined the line by the old number is looked at here; who joins from here on sees the new one.
        self.serve();
    }

    fn bound(&self, bound: Bound) {
        match (bound, self.meter.get()) {
            (Bound::Fixed(max), None) => self.max.store(max.max(1), Ordering::Relaxed),
            (Bound::Fixed(max), Some(meter)) => meter.switch_off(max.max(1), &self.max),
            (Bound::Adaptive(bounds), Some(meter)) => meter.switch_on(bounds, None, &self.max),
            (Bound::Adaptive(bounds), None) => {
                // 0 is a new cap's: it begins at its least. What was fixed until now is a better guess.
                let before = Some(self.max()).filter(|max| *max > 0);
                let meter = self.meter.get_or_init(|| Box::new(Meter::new(bounds)));
                meter.switch_on(bounds, before, &self.max);
            }
        }
    }

    fn meter(&self) -> Option<&Meter> {
        self.meter
            .get()
            .map(|meter| &**meter)
            .filter(|meter| meter.is_on())
    }

    fn measured(&self, outcome: Outcome, time: Duration) {
        let now = Instant::now();
        let moved = self
            .meter()
            .is_some_and(|meter| meter.measured(outcome, time, now, &self.max));
        if moved {
            self.serve();
        }
    }

    /// Whose it is.
    pub fn name(&self) -> &CapName {
        &self.name
    }

    /// Places in all.
    pub fn max(&self) -> usize {
        self.max.load(Ordering::Relaxed)
    }

    /// Requests in flight; above [`max`](Self::max) for a while after that was lowered.
    pub fn in_flight(&self) -> usize {
        self.state.load(Ordering::Acquire) / ONE
    }

    /// Requests in flight whose client has left, and on which a server works.
    pub fn abandoned(&self) -> usize {
        self.abandoned.load(Ordering::Relaxed)
    }

    /// Requests that wait.
    pub fn queued(&self) -> usize {
        self.queued.load(Ordering::Relaxed)
    }

    /// A place, if one is free and nobody waits for it. `now` is the last look at the clock.
    pub fn try_enter(self: &Arc<Self>, now: Instant) -> Option<Permit> {
        let max = self.max.load(Ordering::Relaxed);
        let mut state = self.state.load(Ordering::Relaxed);
        while state & WAITING == 0 && state / ONE < max {
            match self.state.compare_exchange_weak(
                state,
                state + ONE,
                Ordering::AcqRel,
                Ordering::Relaxed,
            ) {
                Ok(_) => {
                    self.saw(state / ONE + 1);
                    return Some(Permit::new(Arc::clone(self), now));
                }
                Err(now) => state = now,
            }
        }
        None
    }

    /// A place in the line, if that has room; whoever has to give up theirs for it hears of it.
    ///
    /// # Errors
    /// The line is full, and nobody gives up a place in it for this one.
    pub fn line_up(
        self: &Arc<Self>,
        turn: Turn,
        deadline: Option<Deadline>,
    ) -> Result<Queued, Failed> {
        let bound = self.queue.load(Ordering::Relaxed);
        if bound == 0 {
            return Err(self.reached());
        }
        let after = Duration::from_millis(self.queue_timeout.load(Ordering::Relaxed));
        let now = Instant::now();
        let useful_until = deadline.map(|deadline| deadline.at);
        let deadline = deadline.filter(|deadline| deadline.at < now + after);
        let end = deadline.map_or(now + after, |deadline| deadline.at);
        let mut granted = None;
        let join = || {
            let (waiter, told) = Waiter::new(useful_until);
            granted = Some(told);
            waiter
        };
        let mut line = self.line.lock();
        let joined = line.join(turn, bound, join);
        // From here on everybody who leaves takes the lock; who left before is seen below.
        if joined.is_some() {
            self.state.fetch_or(WAITING, Ordering::AcqRel);
        }
        let seated = self.seat(&mut line, now);
        drop(line);
        self.wake(seated);
        match (joined, granted) {
            (Some((place, _displaced)), Some(granted)) => Ok(Queued::new(
                Arc::clone(self),
                place,
                granted,
                end,
                deadline,
                after,
            )),
            _ => Err(self.reached()),
        }
    }

    /// Leaves the line without having had a turn; false when the turn came first.
    pub(super) fn leave_line(&self, place: super::queue::Place) -> bool {
        let mut line = self.line.lock();
        let left = line.leave(place);
        let seated = self.seat(&mut line, Instant::now());
        drop(line);
        self.wake(seated);
        left.is_some()
    }

    /// Gives a place back.
    pub(super) fn leave(&self) {
        if self.state.fetch_sub(ONE, Ordering::AcqRel) & WAITING != 0 {
            self.serve();
        }
    }

    pub(super) fn reached(&self) -> Failed {
        Failed::unseen(Error::CapReached {
            cap: self.name.clone(),
            max: self.max(),
            queue: self.queue.load(Ordering::Relaxed),
        })
    }

    /// Hands free places to those whose turn it is.
    fn serve(&self) {
        let seated = self.seat(&mut self.line.lock(), Instant::now());
        self.wake(seated);
    }

    /// Takes those out of the line for whom there are places, and takes the places. Nobody comes in by another way
    /// meanwhile: while the line is not empty, [`WAITING`] is set.
    fn seat(&self, line: &mut Line<Waiter>, now: Instant) -> Seated {
        let mut seated = Seated::default();
        while line.len() > 0 && self.in_flight() < self.max() {
            let Some(waiter) = line.next(|waiter| waiter.is_late(now), &mut seated.late) else {
                break;
            };
            self.saw(self.state.fetch_add(ONE, Ordering::AcqRel) / ONE + 1);
            seated.next.push(waiter.granted);
        }
        self.queued.store(line.len(), Ordering::Relaxed);
        if line.len() == 0 {
            self.state.fetch_and(!WAITING, Ordering::AcqRel);
        }
        seated
    }

    fn saw(&self, in_flight: usize) {
        if let Some(meter) = self.meter() {
            meter.saw(in_flight);
        }
    }

    /// Tells them, outside of the lock: waking crosses threads. Who has left in between never took the place.
    fn wake(&self, mut seated: Seated) {
        let mut unwanted = 0;
        loop {
            for granted in seated.next.drain(..) {
                unwanted += usize::from(granted.send(()).is_err());
            }
            if unwanted == 0 {
                return;
            }
            self.state.fetch_sub(unwanted * ONE, Ordering::AcqRel);
            unwanted = 0;
            seated = self.seat(&mut self.line.lock(), Instant::now());
        }
    }
}

/// Taken out of the line, and not told yet.
#[derive(Debug, Default)]
struct Seated {
    next: smallvec::SmallVec<[oneshot::Sender<()>; 2]>,
    /// Dropped unserved; their own timers tell them why.
    late: Vec<Waiter>,
}
