//! Requests in flight by key: the counter behind a limit with `in_flight`.
//!
//! A key has an entry only while it has requests in flight, so that memory is
//! bounded by these requests, and by `max_keys`. Nothing is forgotten while it
//! is held: no entry makes room for another one, and neither a reload nor an
//! operator changes a count. A permit is a guard, given back exactly once, on
//! drop.
//!
//! # Why no key has more than it may
//!
//! A key's count is one number under one lock. It is compared with the
//! allowance of the asking request and raised within the same lock, so that two
//! requests never take the last permit. The allowance is not kept here: a reload
//! changes the numbers of requests that come, and never those that are held. A
//! key that holds more than a new, smaller number gets none until it is below.
//!
//! # Keys beyond `max_keys`
//!
//! A key that finds no room counts in the overflow of its shard, together with
//! all other such keys there. It gets no more than its own allowance, as it sees
//! the requests of the others as its own. While an overflow holds any request,
//! new keys of that shard join it even if there is room again: so all requests
//! of one key are always in one count, and a release finds the count by the key
//! alone.
//!
//! # Cost
//!
//! A permit costs a look-up under a lock that is held for some 50 nanoseconds,
//! and so does its return. Keys of different shards never wait for each other.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use crossbeam_utils::CachePadded;
use parking_lot::Mutex;

use super::temporary::{Temporaries, Temporary, TemporaryError};
use super::top::ByItself;
use super::{Key, Now, Standing};

/// Locks of one limit: with more of them, workers meet less often, and a limit
/// takes more memory.
const SHARDS: usize = 16;
/// Entries for which a shard keeps room when its keys are gone. More are given
/// back, as they come from an unusual crowd of keys.
const ROOM_KEPT: usize = 256;

/// The requests in flight of one limit, by key. Shared by all workers, and kept
/// over reloads.
#[derive(Debug)]
pub struct KeysInFlight {
    /// Most keys with an entry; a reload may change it.
    max_keys: AtomicUsize,
    /// Keys with an entry.
    keys: CachePadded<AtomicUsize>,
    /// Requests that were counted in an overflow, ever.
    overflowed: AtomicU64,
    /// Allowances that some keys have for a while.
    temporaries: Temporaries<NonZeroU32>,
    shards: [CachePadded<Mutex<KeyShard>>; SHARDS],
}

/// The keys whose hashes end alike.
#[derive(Debug, Default)]
struct KeyShard {
    /// Requests in flight of each key, at least one.
    held: HashMap<u64, u32, ByItself>,
    /// Requests in flight of all keys that found no room.
    overflow: u32,
}

impl KeysInFlight {
    /// A counter without any request, for at most `max_keys` keys at once.
    pub fn new(max_keys: NonZeroUsize) -> Self {
        Self {
            max_keys: AtomicUsize::new(max_keys.get()),
            keys: CachePadded::default(),
            overflowed: AtomicU64::new(0),
            temporaries: Temporaries::default(),
            shards: Default::default(),
        }
    }

    /// Changes the most keys with an entry. Those that have one keep it.
    pub fn set_max_keys(&self, max_keys: NonZeroUsize) {
        self.max_keys.store(max_keys.get(), Relaxed);
    }

    /// One more request in flight of `key`, which may have `most`.
    ///
    /// # Errors
    /// Fails if the key has as many requests in flight already. Nothing was
    /// changed then.
    #[inline]
    pub fn acquire(
        self: &Arc<Self>,
        key: Key,
        most: NonZeroU32,
    ) -> Result<(KeyPermit, Standing), Standing> {
        let held = self.raise(key, most)?;
        let permit = KeyPermit {
            counter: Some(Arc::clone(self)),
            key,
        };
        Ok((permit, Standing::in_flight(most, held)))
    }

    /// How `key` stands under an allowance of `most`. It may be out of date at
    /// once.
    pub fn standing(&self, key: Key, most: NonZeroU32) -> Standing {
        Standing::in_flight(most, self.held(key))
    }

    /// Requests in flight of `key`; of a key without room, those of all such
    /// keys of its shard.
    pub fn held(&self, key: Key) -> u32 {
        let shard = self.shard(key).lock();
        match shard.held.get(&key.hash()) {
            Some(held) => *held,
            None => shard.overflow,
        }
    }

    /// Counts of the moment, and the sum of requests that found no room.
    ///
    /// The shards are read one after the other.
    pub fn stats(&self) -> InFlightStats {
        let mut held = 0;
        for shard in &self.shards {
            let shard = shard.lock();
            let of_keys = shard.held.values().map(|held| u64::from(*held));
            held += of_keys.sum::<u64>() + u64::from(shard.overflow);
        }
        InFlightStats {
            keys: self.keys.load(Relaxed),
            held,
            overflowed: self.overflowed.load(Relaxed),
        }
    }

    /// Counts one more request of `key`. Returns the requests in flight with it.
    ///
    /// # Errors
    /// Fails with the present state if the key has `most` already.
    #[inline]
    fn raise(&self, key: Key, most: NonZeroU32) -> Result<u32, Standing> {
        let mut shard = self.shard(key).lock();
        let shard = &mut *shard;
        let count = match shard.held.entry(key.hash()) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) if shard.overflow == 0 && self.take_room() => {
                entry.insert(1);
                return Ok(1);
            }
            Entry::Vacant(_) => {
                self.overflowed.fetch_add(1, Relaxed);
                &mut shard.overflow
            }
        };
        if *count >= most.get() {
            return Err(Standing::in_flight(most, *count));
        }
        *count += 1;
        Ok(*count)
    }

    /// Counts one request of `key` less.
    #[inline]
    fn lower(&self, key: Key) {
        let mut shard = self.shard(key).lock();
        let shard = &mut *shard;
        match shard.held.entry(key.hash()) {
            Entry::Occupied(mut entry) if *entry.get() > 1 => *entry.get_mut() -= 1,
            Entry::Occupied(entry) => {
                entry.remove();
                self.keys.fetch_sub(1, Relaxed);
                shard.shrink();
            }
            Entry::Vacant(_) => shard.overflow = shard.overflow.saturating_sub(1),
        }
    }

    /// Takes the room for one more key, if there is any.
    fn take_room(&self) -> bool {
        // Two threads may both find the last room taken that one of them is
        // about to leave. Their keys share a count then, which admits less and
        // never more.
        let has_room = self.keys.fetch_add(1, Relaxed) < self.max_keys.load(Relaxed);
        if !has_room {
            self.keys.fetch_sub(1, Relaxed);
        }
        has_room
    }

    /// The shard of `key`.
    #[inline]
    fn shard(&self, key: Key) -> &Mutex<KeyShard> {
        // The map of a shard uses the lowest and the highest bits of the hash.
        &self.shards[(key.hash() >> 32) as usize % SHARDS]
    }
}

/// Allowances that single keys have for a while.
impl KeysInFlight {
    /// Lets `key` have `most` requests in flight until the moment `until`, in
    /// place of any temporary allowance it has. Reloads keep it.
    ///
    /// # Errors
    /// Fails if there is no room; nothing has changed then.
    pub fn set_temporary(
        &self,
        now: Now,
        key: Key,
        most: NonZeroU32,
        until: Now,
    ) -> Result<(), TemporaryError> {
        let given = Temporary { given: most, until };
        self.temporaries.set(now, key, given)
    }

    /// The temporary allowance of `key`, if it has one at `now`.
    #[inline]
    pub fn temporary(&self, now: Now, key: Key) -> Option<Temporary<NonZeroU32>> {
        self.temporaries.get(now, key)
    }

    /// Whether any key has a temporary allowance. A hint, as that of
    /// [`Limiter::has_temporaries`](super::Limiter::has_temporaries).
    #[inline]
    pub fn has_temporaries(&self) -> bool {
        self.temporaries.is_any()
    }

    /// Ends the temporary allowance of `key`. Returns whether it had one.
    pub fn end_temporary(&self, now: Now, key: Key) -> bool {
        self.temporaries.end(now, key)
    }

    /// The number of keys that have a temporary allowance at `now`.
    pub fn temporaries(&self, now: Now) -> usize {
        self.temporaries.count(now)
    }

    /// Frees the entries of temporary allowances that have expired, and returns
    /// their number. To be called about once a second.
    pub fn sweep(&self, now: Now) -> usize {
        self.temporaries.sweep(now)
    }
}

impl KeyShard {
    /// Gives memory back that an unusual number of keys has taken.
    #[inline]
    fn shrink(&mut self) {
        let (held, room) = (self.held.len(), self.held.capacity());
        if room > ROOM_KEPT && held < room / 8 {
            self.held.shrink_to(room / 4);
        }
    }
}

/// The right of one request of a key to be in flight. Given back on drop.
#[derive(Debug)]
pub struct KeyPermit {
    /// `None` once somebody else gives it back.
    counter: Option<Arc<KeysInFlight>>,
    key: Key,
}

impl KeyPermit {
    /// Its counter and its key, for one who gives it back with
    /// [`KeysInFlight::give_back`].
    #[inline]
    pub fn into_parts(mut self) -> (Option<Arc<KeysInFlight>>, Key) {
        (self.counter.take(), self.key)
    }
}

impl KeysInFlight {
    /// Gives back a permit that was taken apart, of the key with this hash.
    #[inline]
    pub fn give_back(&self, hash: u64) {
        self.lower(Key::from_raw(hash));
    }
}

impl Drop for KeyPermit {
    #[inline]
    fn drop(&mut self) {
        if let Some(counter) = &self.counter {
            counter.lower(self.key);
        }
    }
}

/// Counts of one limit of requests in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InFlightStats {
    /// Keys that have requests in flight, without those that found no room.
    pub keys: usize,
    /// Requests in flight.
    pub held: u64,
    /// Requests that found no room and were counted together, ever.
    pub overflowed: u64,
}

#[cfg(test)]
impl KeysInFlight {
    /// Entries for which the shards have room.
    pub(super) fn room(&self) -> usize {
        let capacity = |shard: &CachePadded<Mutex<KeyShard>>| shard.lock().held.capacity();
        self.shards.iter().map(capacity).sum()
    }
}
