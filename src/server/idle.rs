//! Which connections idle, and since when: with all places taken, a new connection closes the one that has idled longest.
//!
//! A connection notes in a cell of its own that it begins to idle and that it goes on, which costs a request two stores.
//! Only a worker that needs a place looks through the cells, and takes note of several, so that a look is shared by as
//! many closes.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{
            AtomicU64, AtomicUsize,
            Ordering::{Relaxed, SeqCst},
        },
    },
};

use parking_lot::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Door;

/// In place of a time: the connection works.
const BUSY: u64 = u64::MAX;
/// In place of a time: the connection was chosen to make room.
const CHOSEN: u64 = u64::MAX - 1;
/// Connections that one look notes down: a look at 100,000 cells takes about a millisecond.
const NOTED: usize = 256;

/// An open connection as others see it.
#[derive(Debug)]
pub(super) struct Seat {
    /// Since when it idles, in microseconds of its door, or one of the two words above.
    since: AtomicU64,
    /// Its index on the roll; only changed under the roll's lock.
    at: AtomicUsize,
    /// Cancelled when the connection is to end: its door drains, or it was chosen to make room.
    pub(super) drain: CancellationToken,
    door: Arc<Door>,
}

impl Seat {
    /// A connection that works; its token is its own, so that looking at it touches nothing that another one touches.
    pub(super) fn new(door: Arc<Door>) -> Arc<Self> {
        let drain = door.drain.child_token();
        Arc::new(Self {
            since: AtomicU64::new(BUSY),
            at: AtomicUsize::new(0),
            drain,
            door,
        })
    }

    /// Its door.
    pub(super) fn door(&self) -> &Arc<Door> {
        &self.door
    }

    /// The connection idles since `now`.
    pub(super) fn rest(&self, now: Instant) {
        // Of this store and the look at who waits, and of the wait that begins and the look for who idles, one pair must
        // see the other: both are sequentially consistent.
        self.since.store(self.door.micros(now), SeqCst);
        self.door.one_idles();
    }

    /// The connection works again. If it was chosen in this moment, another one has to make room: what the client has
    /// sent is still answered.
    pub(super) fn rise(&self) {
        if self.since.swap(BUSY, SeqCst) == CHOSEN {
            self.door.one_idles();
        }
    }

    /// Whether the connection was chosen to make room, and has nothing to do.
    pub(super) fn is_chosen(&self) -> bool {
        self.since.load(SeqCst) == CHOSEN
    }

    /// Chooses it to make room, if it has idled since then all the time.
    fn choose(&self, since: u64) -> bool {
        let is_chosen = self
            .since
            .compare_exchange(since, CHOSEN, SeqCst, Relaxed)
            .is_ok();
        if is_chosen {
            self.drain.cancel();
        }
        is_chosen
    }
}

/// The connections of one door on one worker.
#[derive(Debug, Default)]
pub(super) struct Roll(Mutex<Vec<Arc<Seat>>>);

impl Roll {
    pub(super) fn enter(&self, seat: &Arc<Seat>) {
        let mut seats = self.0.lock();
        seat.at.store(seats.len(), Relaxed);
        seats.push(Arc::clone(seat));
    }

    pub(super) fn leave(&self, seat: &Seat) {
        let mut seats = self.0.lock();
        let at = seat.at.load(Relaxed);
        seats.swap_remove(at);
        if let Some(moved) = seats.get(at) {
            moved.at.store(at, Relaxed);
        }
    }
}

/// The connections of one door.
#[derive(Debug, Default)]
pub(super) struct Rolls {
    /// One for each worker.
    rolls: Mutex<Vec<Arc<Roll>>>,
    /// Those that had idled longest at the last look, the first one longest.
    oldest: Mutex<VecDeque<(u64, Arc<Seat>)>>,
}

impl Rolls {
    /// A roll for another worker.
    pub(super) fn another(&self) -> Arc<Roll> {
        let roll = Arc::new(Roll::default());
        self.rolls.lock().push(Arc::clone(&roll));
        roll
    }

    /// Chooses the connection that has idled longest to make room; false when none idles.
    pub(super) fn choose(&self) -> bool {
        let mut oldest = self.oldest.lock();
        for has_looked in [false, true] {
            // A connection that began to idle after a look has idled less than all that the look found.
            while let Some((since, seat)) = oldest.pop_front() {
                if seat.choose(since) {
                    return true;
                }
            }
            if !has_looked {
                *oldest = self.look();
            }
        }
        false
    }

    fn look(&self) -> VecDeque<(u64, Arc<Seat>)> {
        let mut idle = Vec::new();
        for roll in self.rolls.lock().iter() {
            let seats = roll.0.lock();
            let since = seats
                .iter()
                .map(|seat| (seat.since.load(SeqCst), seat))
                .filter(|(since, _)| *since < CHOSEN);
            idle.extend(since.map(|(since, seat)| (since, Arc::clone(seat))));
        }
        if idle.len() > NOTED {
            idle.select_nth_unstable_by_key(NOTED, |(since, _)| *since);
            idle.truncate(NOTED);
        }
        idle.sort_unstable_by_key(|(since, _)| *since);
        idle.into()
    }
}
