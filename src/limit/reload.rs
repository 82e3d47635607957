//! Another quota, or room for more or fewer keys, for the same buckets.
//!
//! # Concurrent requests
//!
//! Buckets are moved one by one, in milliseconds, while requests go on. A key's
//! quota changes at the moment its bucket is moved, for handles from before and
//! after the reload alike, since the former follow. The order is: name the
//! successor, close the old table to new keys (which go to the successor from
//! then on), and only then move bucket by bucket, each locked from its last
//! reading in the old table until it stands in the new one. So every token ever
//! taken is either in a bucket that is moved or taken from the successor; none
//! is admitted twice.

use std::cmp::Reverse;
use std::num::NonZeroUsize;
use std::sync::Arc;

use super::core::Core;
use super::gcra::rescaled;
use super::table::{Bucket, Insert, OVERFLOW, Read};
use super::{Key, Limiter, LimiterError, Now};
use crate::policy::Quota;

impl Limiter {
    /// The same limit with another quota or bound: it keeps its keys, and of
    /// each bucket the share that is used. An exhausted key stays exhausted, at
    /// the new rate. If fewer keys are held from now on, those deepest in debt
    /// stay.
    ///
    /// **The change is live, also for existing handles, when this returns**; on
    /// an error nothing has changed. Call it last, after everything else that a
    /// reload may fail at. With an unchanged quota and bound it only clones the
    /// handle.
    ///
    /// # Errors
    /// Fails if there is no memory for so many keys.
    pub fn reconfigured(
        &self,
        quota: Quota,
        max_keys: NonZeroUsize,
        now: Now,
    ) -> Result<Self, LimiterError> {
        let _one_at_a_time = self.core.lineage.reload.lock();
        let mut old = &self.core;
        while let Some(next) = old.next.get() {
            old = next;
        }
        if old.quota == quota && old.max_keys == max_keys {
            return Ok(Self {
                name: self.name.clone(),
                core: Arc::clone(old),
            });
        }
        let new = Arc::new(Core::new(quota, max_keys, Arc::clone(&old.lineage))?);
        let new = Arc::clone(old.next.get_or_init(|| new));
        move_all(old, &new, now);
        new.lineage.queues.stir_all();
        Ok(Self {
            name: self.name.clone(),
            core: new,
        })
    }
}

/// Moves every bucket of `old`: in the order of the slots if all of them fit,
/// else the deepest in debt first.
fn move_all(old: &Core, new: &Core, now: Now) {
    old.table.close();
    if old.table.keys() > new.max_keys.get() {
        let mut debtors: Vec<_> = old
            .table
            .indices()
            .filter_map(|slot| Some((Reverse(old.table.held(slot)?.tat), slot)))
            .collect();
        debtors.sort_unstable();
        for (_, slot) in debtors {
            old.table
                .hand_over(slot, |bucket| carry(old, new, now, bucket));
        }
    }
    for slot in old.table.indices() {
        old.table
            .hand_over(slot, |bucket| carry(old, new, now, bucket));
    }
}

/// Brings one bucket into `new`. A key for which there is no room shares the
/// overflow bucket there.
///
/// The debt of a key with a quota of its own stays as it is: only the limit's
/// quota changes here, see `classes`.
fn carry(old: &Core, new: &Core, now: Now, Bucket { key, tat, class }: Bucket) {
    let tat = if class == 0 {
        rescaled(tat, now, old.gcra.fill(), new.gcra.fill())
    } else {
        tat
    };
    if tat <= now.as_nanos() {
        return; // a full bucket is as good as an unknown key
    }
    if key == OVERFLOW || new.table.insert(key, now, tat, class) == Insert::Exists {
        add_debt(new, key, now, tat - now.as_nanos());
    }
}

/// Adds the debt of a bucket that moves in to the bucket that the key has
/// already.
fn add_debt(new: &Core, key: Key, now: Now, debt: u64) {
    while let Some(slot) = new.table.find(key) {
        let Read::Tat(seen) = new.table.read(slot, key) else {
            continue;
        };
        let next = seen.max(now.as_nanos()).saturating_add(debt);
        if new.table.replace(slot, key, seen, next) {
            return;
        }
    }
}
