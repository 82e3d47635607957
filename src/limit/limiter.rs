//! One limit: a quota over a table of buckets.
//!
//! Every operation begins on the core that its handle holds, and follows to the
//! core that took over where a reload has moved the bucket: handles from before
//! and after a reload never disagree about a key.

use std::num::NonZeroUsize;
use std::sync::Arc;

use super::core::Core;
use super::gcra::rescaled;
use super::table::Read;
use super::temporary::{GivenQuota, Temporary, TemporaryError};
use super::{Gcra, Key, LimiterError, Now, Standing};
use crate::policy::Quota;

/// A named limit, shared by all workers. A clone is another handle to the same
/// buckets, and costs two counts of references.
///
/// # Memory
///
/// A limit reserves address space for all of its keys when it is made, and
/// occupies memory only where keys have come: 16 bytes for a slot and two for
/// its class, at two to four slots for each key of `max_keys`. It never grows
/// beyond that. Keys that come when it is full replace keys whose buckets are
/// full again, or else share the overflow bucket.
///
/// # Reloads
///
/// [`Limiter::reconfigured`] makes a handle with another quota or another bound
/// to the same buckets. Handles from before go on to work, and count in the
/// same buckets under the newest quota.
///
/// ```
/// use std::{num::NonZeroUsize, time::Duration};
/// use tidegate::limit::{Ask, Clock, KeyHasher, Limiter, decide};
/// use tidegate::policy::{Quota, Rate};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let a_second = |count: u32| {
///     let rate = Rate { count, period: Duration::from_secs(1) };
///     Quota::new(rate, rate.default_burst())
/// };
/// let room = NonZeroUsize::new(1000).ok_or("zero")?;
/// let before = Limiter::new("per-client", a_second(10)?, room)?;
/// let (now, key) = (Clock.now(), KeyHasher::new().key("per-client").finish());
/// let _taken = decide(now, &[Ask::new(&before, key, 5)]).expect("a full bucket");
///
/// // Half of the bucket is used, and stays used under the new quota.
/// let after = before.reconfigured(a_second(100)?, room, now)?;
/// assert_eq!(after.standing(now, key, None).remaining, 50);
/// assert_eq!(before.standing(now, key, None).remaining, 50);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Limiter {
    pub(super) name: Arc<str>,
    pub(super) core: Arc<Core>,
}

impl Limiter {
    /// A limit all of whose buckets are full. It holds at most `max_keys` keys
    /// at once, at up to 72 bytes each, which are taken only as keys come.
    ///
    /// # Errors
    /// [`LimiterError::TooManyKeys`] if there is no memory for so many keys.
    pub fn new(
        name: impl Into<Arc<str>>,
        quota: Quota,
        max_keys: NonZeroUsize,
    ) -> Result<Self, LimiterError> {
        Ok(Self {
            name: name.into(),
            core: Arc::new(Core::new(quota, max_keys, Arc::default())?),
        })
    }

    /// The name, which identifies the limit over reloads.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether both are handles of one limit, perhaps with different quotas.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.core.lineage, &other.core.lineage)
    }

    /// The quota of this handle. After a reload the quota of the newest handle
    /// counts.
    pub fn gcra(&self) -> &Gcra {
        &self.core.gcra
    }

    /// Prepares a quota that single keys have instead of the limit's own, for
    /// [`Ask::quota`](super::Ask::quota). Equal quotas are one, for the limit's
    /// life and over reloads: a configuration may name the same one for any
    /// number of keys, and be read again any number of times.
    ///
    /// # Errors
    /// [`LimiterError::TooManyQuotas`] if the limit has seen 65,535 different
    /// ones.
    pub fn key_quota(&self, quota: Quota) -> Result<Gcra, LimiterError> {
        self.core.lineage.classes.register(quota.into())
    }

    /// Counts since the limit was first made, and the keys that are held now.
    pub fn stats(&self) -> Stats {
        let core = self.core.newest();
        Stats {
            keys: core.table.keys(),
            max_bytes: core.table.bytes(),
            evictions_idle: core.lineage.evictions_idle(),
            evictions_overflow: core.lineage.evictions_overflow(),
        }
    }

    /// Counts a request to the overflow bucket of a limit whose buckets are
    /// kept elsewhere.
    pub fn note_overflow(&self) {
        self.core.lineage.note_overflow();
    }

    /// Whether there is a bucket for `key`. A key without one has a full
    /// bucket.
    pub fn holds(&self, key: Key) -> bool {
        held(self.core.newest(), key).is_some()
    }

    /// The state of the bucket of `key` under `quota`, by default the limit's
    /// own. A debt that is still measured by another quota is converted for the
    /// result, and in the table at the next decision. Takes nothing; the result
    /// may be out of date at once.
    pub fn standing(&self, now: Now, key: Key, quota: Option<&Gcra>) -> Standing {
        let core = self.core.newest();
        let gcra = quota.unwrap_or(&core.gcra);
        let tat = held(core, key).map_or(0, |held| {
            rescaled(held.tat, now, held.gcra.fill(), gcra.fill())
        });
        gcra.standing(now, tat)
    }

    /// Fills the bucket of `key`. Returns whether there was one. A request in
    /// flight that is refunded later may still return the tokens that it took
    /// before, as far as others have taken some since.
    pub fn forget(&self, key: Key) -> bool {
        self.core
            .follow(|core| core.shift(key, |_, _| Some(0)))
            .is_ok_and(|filled| filled.is_some())
    }
}

/// Requests that wait for tokens.
impl Limiter {
    /// The queues of its keys, which reloads keep.
    pub fn queues(&self) -> &Arc<super::TokenQueues> {
        &self.core.lineage.queues
    }
}

/// Quotas that single keys have for a while.
impl Limiter {
    /// Gives `key` another quota until the moment `until`, in place of any
    /// temporary one it has. The quota survives reloads, and the bucket keeps
    /// the share that is used.
    ///
    /// # Errors
    /// Fails if there is no room; nothing has changed then.
    pub fn set_temporary(
        &self,
        now: Now,
        key: Key,
        quota: Quota,
        until: Now,
    ) -> Result<Temporary<GivenQuota>, TemporaryError> {
        let gcra = self.key_quota(quota)?;
        let given = GivenQuota { quota, gcra };
        let given = Temporary { given, until };
        self.core.lineage.temporaries.set(now, key, given)?;
        self.core.lineage.queues.stir(key);
        Ok(given)
    }

    /// Whether any key has a temporary quota. A hint that costs one relaxed
    /// load; an expired quota may still count.
    #[inline]
    pub fn has_temporaries(&self) -> bool {
        self.core.lineage.temporaries.is_any()
    }

    /// The temporary quota of `key`, if it has one at `now`.
    #[inline]
    pub fn temporary(&self, now: Now, key: Key) -> Option<Temporary<GivenQuota>> {
        self.core.lineage.temporaries.get(now, key)
    }

    /// Ends the temporary quota of `key`. Returns whether it had one.
    pub fn end_temporary(&self, now: Now, key: Key) -> bool {
        let had_one = self.core.lineage.temporaries.end(now, key);
        self.core.lineage.queues.stir(key);
        had_one
    }

    /// The number of keys that have a temporary quota at `now`.
    pub fn temporaries(&self, now: Now) -> usize {
        self.core.lineage.temporaries.count(now)
    }

    /// Frees the entries of temporary quotas that have expired, and returns
    /// their number. To be called about once a second.
    pub fn sweep(&self, now: Now) -> usize {
        self.core.lineage.temporaries.sweep(now)
    }
}

/// The bucket of a key that is in the table.
#[derive(Debug, Clone, Copy)]
pub(super) struct HeldBucket {
    pub(super) tat: u64,
    /// The quota by which the TAT is measured.
    pub(super) gcra: Gcra,
}

/// The bucket of a key; `None` if the table does not hold the key.
pub(super) fn held(core: &Core, key: Key) -> Option<HeldBucket> {
    let slot = core.table.find(key)?;
    match core.table.read(slot, key) {
        Read::Tat(tat) => Some(HeldBucket {
            tat,
            gcra: core.gcra_of(core.table.class(slot)),
        }),
        Read::Changed | Read::Moved => None,
    }
}

/// Counters of one limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stats {
    /// Keys that the table holds.
    pub keys: usize,
    /// Most bytes that the table can come to occupy.
    pub max_bytes: usize,
    /// Keys that made room for others, their buckets being full again.
    pub evictions_idle: u64,
    /// Requests whose keys found no slot in a full table and went to the
    /// overflow bucket.
    pub evictions_overflow: u64,
}
