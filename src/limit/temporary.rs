//! Allowances that single keys have for a while: an operator's answer to one
//! client, until it expires.
//!
//! Requests read a map that is replaced as a whole; while it is empty they only
//! read one flag. An allowance that has expired does not count from that moment on,
//! whether or not the key is asked for. [`Temporaries::sweep`] frees its entry.
//!
//! Each change copies the map of at most [`MOST_TEMPORARY`] entries. Changes
//! come from people and from the sweep, so that requests gain more from a map
//! without a lock than changes lose. The allowances survive reloads and are not
//! saved: a restart forgets them.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use thiserror::Error;

use super::{Gcra, Key, LimiterError, Now};
use crate::policy::Quota;

/// Keys of one limit that can have a temporary allowance at once; some 100 bytes
/// each.
pub(super) const MOST_TEMPORARY: usize = 10_000;

/// An allowance that one key has for a while: a [`GivenQuota`], or a number of
/// requests in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Temporary<G> {
    /// The allowance.
    pub given: G,
    /// The moment from which it no longer counts.
    pub until: Now,
}

/// A quota that an operator gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GivenQuota {
    /// The quota as it was given.
    pub quota: Quota,
    /// The same quota, prepared for [`super::Ask::quota`].
    pub gcra: Gcra,
}

/// Why a key was not given a temporary quota.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum TemporaryError {
    /// The limit has seen too many different quotas.
    #[error(transparent)]
    Quota(#[from] LimiterError),
    /// The limit counts requests in flight and was given a rate, or the other
    /// way round.
    #[error("the limit is of another kind: a rate has `rate` and `burst`, and a cap `in_flight`")]
    OtherKind,
    /// 10,000 keys of the limit have one.
    #[error(
        "{MOST_TEMPORARY} keys of this limit have numbers of their own for a while; end some, or wait"
    )]
    Full,
}

/// The keys of a limit with a temporary allowance. Shared by all handles of the
/// limit, so that a reload keeps them.
#[derive(Debug)]
pub(super) struct Temporaries<G> {
    /// Whether the map has an entry; requests look no further while it has
    /// none.
    any: AtomicBool,
    map: ArcSwap<HashMap<Key, Temporary<G>>>,
    /// Serialises changes; requests never touch it.
    change: Mutex<()>,
}

impl<G> Default for Temporaries<G> {
    fn default() -> Self {
        Self {
            any: AtomicBool::new(false),
            map: ArcSwap::default(),
            change: Mutex::default(),
        }
    }
}

impl<G: Copy> Temporaries<G> {
    /// The allowance of `key` that counts at `now`. One relaxed load while no key
    /// has one.
    #[inline]
    pub(super) fn get(&self, now: Now, key: Key) -> Option<Temporary<G>> {
        // Relaxed: a request that is under way while one is given may still
        // go by the old one.
        if self.is_any() {
            self.find(now, key)
        } else {
            None
        }
    }

    /// Looks the key up in the map.
    #[cold]
    fn find(&self, now: Now, key: Key) -> Option<Temporary<G>> {
        self.map
            .load()
            .get(&key)
            .copied()
            .filter(|given| now < given.until)
    }

    /// Whether the map has an entry, which may have expired.
    #[inline]
    pub(super) fn is_any(&self) -> bool {
        self.any.load(Ordering::Relaxed)
    }

    /// Gives `key` an allowance in place of any that it has.
    ///
    /// # Errors
    /// [`TemporaryError::Full`] if too many keys have one.
    pub(super) fn set(
        &self,
        now: Now,
        key: Key,
        given: Temporary<G>,
    ) -> Result<(), TemporaryError> {
        let _one_at_a_time = self.change.lock();
        let mut map = self.unexpired(now);
        if map.len() >= MOST_TEMPORARY && !map.contains_key(&key) {
            return Err(TemporaryError::Full);
        }
        map.insert(key, given);
        self.replace(map);
        Ok(())
    }

    /// Ends the allowance of `key`. Returns whether it had one.
    pub(super) fn end(&self, now: Now, key: Key) -> bool {
        let _one_at_a_time = self.change.lock();
        let mut map = self.unexpired(now);
        let had_one = map.remove(&key).is_some();
        self.replace(map);
        had_one
    }

    /// Keys that have one at `now`.
    pub(super) fn count(&self, now: Now) -> usize {
        let map = self.map.load();
        map.values().filter(|given| now < given.until).count()
    }

    /// Frees the entries that have expired, and returns their number.
    pub(super) fn sweep(&self, now: Now) -> usize {
        let held = self.map.load().len();
        if held == self.count(now) {
            return 0;
        }
        let _one_at_a_time = self.change.lock();
        let map = self.unexpired(now);
        let left = map.len();
        self.replace(map);
        held.saturating_sub(left)
    }

    /// A copy of the entries that have not expired.
    fn unexpired(&self, now: Now) -> HashMap<Key, Temporary<G>> {
        let mut map = HashMap::clone(&self.map.load());
        map.retain(|_, given| now < given.until);
        map
    }

    /// Replaces the map. The caller holds the lock since it took the copy that
    /// the new map is made of.
    fn replace(&self, map: HashMap<Key, Temporary<G>>) {
        self.any.store(!map.is_empty(), Ordering::Relaxed);
        self.map.store(Arc::new(map));
    }
}

#[cfg(test)]
impl Temporaries<GivenQuota> {
    /// Gives `many` keys a quota until `until`; one by one would take a while.
    pub(super) fn fill(&self, many: usize, limiter: &super::Limiter, until: Now) {
        let rate = crate::policy::Rate {
            count: 1,
            period: std::time::Duration::from_secs(1),
        };
        let quota = Quota::new(rate, std::num::NonZeroU32::MIN).unwrap();
        let given = GivenQuota {
            quota,
            gcra: limiter.key_quota(quota).unwrap(),
        };
        let given = Temporary { given, until };
        let key = |n: usize| {
            let mut builder = super::KeyHasher::with_seed([1, 2]).key("test");
            let number = super::KeyValue::Text(n.to_be_bytes().to_vec().into());
            builder.add(&crate::policy::KeyPart::Path, &number);
            builder.finish()
        };
        self.map.store(
            (0..many)
                .map(|n| (key(n), given))
                .collect::<HashMap<_, _>>()
                .into(),
        );
        self.any.store(true, Ordering::Relaxed);
    }
}
