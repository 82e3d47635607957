//! Other numbers for the same buckets.
//!
//! # What concurrent requests see
//!
//! Buckets are moved one by one, in milliseconds, while requests go on; the moment a key's bucket is moved is the moment
//! its numbers change, for handles of before and after alike, since those of before follow. The order is: name the
//! successor, close the old table to new keys (strangers go to the successor from then on), and only then move bucket
//! by bucket, each locked from its last reading in the old table until it stands in the new one. So every token ever
//! taken is either in what is moved or taken from the successor; none is admitted twice.

use std::cmp::Reverse;
use std::sync::Arc;

use super::bucket::rescaled;
use super::core::Core;
use super::table::{Bucket, Insert, OVERFLOW, Read};
use super::{Key, Limiter, Now, Settings, SettingsError};

impl Limiter {
    /// The same limit with other numbers: it keeps its keys, and of each bucket the share that is used. Who was
    /// exhausted stays exhausted, at the new pace. Where fewer keys are held from now on, those deepest in debt stay.
    ///
    /// **The change is live, also for handles that exist, when this returns**; on an error nothing has changed. Call it
    /// last, after everything else that a reload may fail at. With unchanged numbers it only clones the handle.
    pub fn reconfigured(&self, settings: &Settings, now: Now) -> Result<Self, SettingsError> {
        let _one_at_a_time = self.core.lineage.reload.lock();
        let mut old = &self.core;
        while let Some(next) = old.next.get() {
            old = next;
        }
        if old.settings == *settings {
            return Ok(Self {
                name: self.name.clone(),
                core: Arc::clone(old),
            });
        }
        let new = Arc::new(Core::new(settings, Arc::clone(&old.lineage))?);
        let new = Arc::clone(old.next.get_or_init(|| new));
        move_all(old, &new, now);
        Ok(Self {
            name: self.name.clone(),
            core: new,
        })
    }
}

/// Moves every bucket of `old`, in the order of the slots unless not all of them fit.
fn move_all(old: &Core, new: &Core, now: Now) {
    old.table.close();
    if old.table.keys() > new.settings.max_keys.get() {
        let mut debtors: Vec<_> = old
            .table
            .indices()
            .filter_map(|slot| Some((Reverse(old.table.held(slot)?.1), slot)))
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

/// Brings one bucket into `new`. A key for which there is no room is a stranger there, and shares its overflow bucket.
///
/// Numbers of its own that a key has are not those of the limit, which change here: see `others`.
fn carry(old: &Core, new: &Core, now: Now, Bucket { key, tat, class }: Bucket) {
    let tat = if class == 0 {
        rescaled(tat, now, old.quota.pace().fill(), new.quota.pace().fill())
    } else {
        tat
    };
    if tat <= now.as_nanos() {
        return; // full: as good as unknown
    }
    if key == OVERFLOW || new.table.insert(key, now, tat, class) == Insert::Exists {
        add_debt(new, key, now, tat - now.as_nanos());
    }
}

/// Charges a bucket that is there already with the debt of the one that moves in.
fn add_debt(new: &Core, key: Key, now: Now, debt: u64) {
    while let Some(slot) = new.table.find(key) {
        if let Read::Tat(seen) = new.table.read(slot, key)
            && new.table.replace(
                slot,
                key,
                seen,
                seen.max(now.as_nanos()).saturating_add(debt),
            )
        {
            return;
        }
    }
}
