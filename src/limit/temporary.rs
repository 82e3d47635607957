//! Other numbers for single keys, for a while: what somebody on call gives to one client until it is over.
//!
//! Requests read a map that is replaced as a whole, and while there is none of them only one flag. What has expired does
//! not count from that moment on, whether or not anybody asks; it is cleared away when [`Limiter::sweep`] passes.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use thiserror::Error;

use super::{Key, Limiter, Now, Quota, Rate, SettingsError};

/// Keys of one limit that can have numbers for a while at once; some 100 bytes each.
pub(super) const MOST_TEMPORARY: usize = 10_000;

/// Other numbers for one key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Temporary {
    /// As it was given.
    pub rate: Rate,
    /// The same numbers, for [`super::Ask::quota`].
    pub quota: Quota,
    /// From then on they do not count any more.
    pub until: Now,
}

/// Why a key was not given other numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum TemporaryError {
    /// No quota can be made of them, or the limit has seen too many different ones.
    #[error(transparent)]
    Numbers(#[from] SettingsError),
    /// Too many keys have some.
    #[error(
        "{MOST_TEMPORARY} keys of this limit have numbers of their own for a while; end some, or wait"
    )]
    Full,
}

/// The keys that have some. Shared by all handles of a limit, so that a reload changes nothing about them.
#[derive(Debug, Default)]
pub(super) struct Temporaries {
    /// Whether there are any: all that a request looks at when there are none.
    any: AtomicBool,
    map: ArcSwap<HashMap<Key, Temporary>>,
    /// One change at a time; requests never touch it.
    change: Mutex<()>,
}

impl Temporaries {
    /// Those of `key` that count at `now`.
    #[inline]
    fn get(&self, now: Now, key: Key) -> Option<Temporary> {
        // Relaxed: a request that is on its way while numbers are given may still go by the old ones.
        if self.any.load(Ordering::Relaxed) {
            self.find(now, key)
        } else {
            None
        }
    }

    #[cold]
    fn find(&self, now: Now, key: Key) -> Option<Temporary> {
        self.map
            .load()
            .get(&key)
            .copied()
            .filter(|given| now < given.until)
    }

    /// Replaces the map by what `change` makes of those that still count; keeps it on an error.
    fn change<T, E>(
        &self,
        now: Now,
        change: impl FnOnce(&mut HashMap<Key, Temporary>) -> Result<T, E>,
    ) -> Result<T, E> {
        let _one_at_a_time = self.change.lock();
        let mut map: HashMap<_, _> = self
            .map
            .load()
            .iter()
            .map(|(key, given)| (*key, *given))
            .collect();
        map.retain(|_, given| now < given.until);
        let done = change(&mut map)?;
        self.any.store(!map.is_empty(), Ordering::Relaxed);
        self.map.store(map.into());
        Ok(done)
    }
}

impl Limiter {
    /// Other numbers for `key` until then, over reloads too; in place of others that it had for a while. Its bucket
    /// keeps the share that is used.
    ///
    /// # Errors
    /// Numbers that cannot work, or no room; nothing has changed then.
    pub fn set_temporary(
        &self,
        now: Now,
        key: Key,
        rate: Rate,
        burst: std::num::NonZeroU32,
        until: Now,
    ) -> Result<Temporary, TemporaryError> {
        self.core.lineage.temporaries.change(now, |map| {
            if map.len() >= MOST_TEMPORARY && !map.contains_key(&key) {
                return Err(TemporaryError::Full);
            }
            let given = Temporary {
                rate,
                quota: self.other_quota(rate, burst)?,
                until,
            };
            map.insert(key, given);
            Ok(given)
        })
    }

    /// Whether any key has numbers for a while: a hint that costs next to nothing.
    #[inline]
    pub fn has_temporaries(&self) -> bool {
        self.core.lineage.temporaries.any.load(Ordering::Relaxed)
    }

    /// The numbers that `key` has for a while, if it has any now.
    #[inline]
    pub fn temporary(&self, now: Now, key: Key) -> Option<Temporary> {
        self.core.lineage.temporaries.get(now, key)
    }

    /// Ends the numbers that `key` has for a while; says whether it had any.
    pub fn end_temporary(&self, now: Now, key: Key) -> bool {
        let ended = self
            .core
            .lineage
            .temporaries
            .change(now, |map| Ok::<_, Never>(map.remove(&key).is_some()));
        ended.unwrap_or_default()
    }

    /// Keys that have numbers for a while at `now`.
    pub fn temporaries(&self, now: Now) -> usize {
        self.core
            .lineage
            .temporaries
            .map
            .load()
            .values()
            .filter(|given| now < given.until)
            .count()
    }

    /// Clears away what has expired, if anything has; tells how much that was. For about once a second.
    pub fn sweep(&self, now: Now) -> usize {
        let temporaries = &self.core.lineage.temporaries;
        let held = temporaries.map.load().len();
        if held == self.temporaries(now) {
            return 0;
        }
        let left = temporaries.change(now, |map| Ok::<_, Never>(map.len()));
        held.saturating_sub(left.unwrap_or(held))
    }
}

/// An error that cannot come about.
enum Never {}

#[cfg(test)]
impl Temporaries {
    /// With so many keys, all of them until then; one by one would take a while.
    pub(super) fn fill(&self, many: usize, limiter: &Limiter, until: Now) {
        let rate = Rate {
            count: std::num::NonZeroU32::MIN,
            period: std::time::Duration::from_secs(1),
        };
        let quota = limiter
            .other_quota(rate, std::num::NonZeroU32::MIN)
            .unwrap();
        let one = |n: usize| {
            (
                super::KeyHasher::with_seed([1, 2])
                    .key("test")
                    .path(&n.to_be_bytes())
                    .finish(),
                Temporary { rate, quota, until },
            )
        };
        self.map
            .store((0..many).map(one).collect::<HashMap<_, _>>().into());
        self.any.store(true, Ordering::Relaxed);
    }
}
