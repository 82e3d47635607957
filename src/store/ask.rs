//! A question to a shared limit.

use std::{sync::Arc, time::Duration};

use smallvec::SmallVec;

use super::{
    SharedLimit,
    name::Name,
    share::{Local, ShareSlot},
};
use crate::limit::{self, Gcra, Key, Now, Standing};

/// One question to a shared limit: whether a bucket has enough tokens.
#[derive(Debug, Clone)]
pub struct SharedAsk {
    /// The limit.
    pub limit: Arc<SharedLimit>,
    /// The bucket in the store.
    pub name: Name,
    /// The bucket in this gateway, for decisions without the store.
    pub key: Key,
    /// Tokens; 0 is always admitted, and more than the burst never.
    pub cost: u32,
    /// The quota of the key; `None` for that of the limit.
    pub quota: Option<Gcra>,
    /// Whether most of the tokens come back, because most responses of the
    /// route do not count. Then nothing is leased: tokens that are held here
    /// could not go back to the store.
    pub is_returned: bool,
}

/// Questions to the limits that decide together. Two fit without an allocation.
pub type Asks = SmallVec<[SharedAsk; 2]>;

impl SharedAsk {
    /// The quota that applies.
    pub(super) fn gcra(&self) -> &Gcra {
        self.quota.as_ref().unwrap_or(self.limit.limiter.gcra())
    }

    /// The key of the bucket in the store.
    pub(super) fn store_key(&self) -> String {
        self.name.key(self.limit.limiter.name())
    }

    /// The same question to this gateway alone.
    pub(super) fn alone(&self) -> limit::Ask<'_> {
        limit::Ask {
            limiter: &self.limit.limiter,
            key: self.key,
            cost: self.cost,
            quota: self.quota.as_ref(),
        }
    }

    /// The state of the bucket of this gateway alone.
    pub(super) fn alone_standing(&self, now: Now) -> Standing {
        let limiter = &self.limit.limiter;
        limiter.standing(now, self.key, self.quota.as_ref())
    }

    /// The state of the bucket, as far as this gateway knows it.
    pub(super) fn standing(&self, now: u64) -> Standing {
        let (remaining, reset) = self.limit.ledger.standing(now, self.name, *self.gcra());
        Standing::known(self.gcra(), remaining, reset)
    }

    /// Turns to the bucket that all keys without a slot share, because there is
    /// no room for this key. It has the quota of the limit. A key that may take
    /// more at once takes all of it, as in a full table of this gateway.
    pub(super) fn turn_to_overflow(&mut self) {
        if self.quota.take().is_some() {
            let burst = self.limit.limiter.gcra().burst().max(1);
            self.cost = self.cost.min(burst);
        }
        self.name = Name::OVERFLOW;
        self.limit.limiter.note_overflow();
    }

    /// Takes the tokens from those that are held here, or says why not. With
    /// `keep` nothing is taken. `most_ahead` bounds the lease that a call would
    /// ask for.
    pub(super) fn take(&self, now: u64, most_ahead: u32, keep: bool) -> Local {
        let gcra = *self.gcra();
        match self.cost {
            0 => Local::Taken(ShareSlot::empty(now)),
            cost if gcra.weight(cost) > gcra.fill() => Local::Refused(Duration::MAX),
            cost => self
                .limit
                .ledger
                .take(now, self.name, gcra, cost, most_ahead, keep),
        }
    }
}
