//! The state and the tokens of one bucket that a gateway knows and holds:
//! arithmetic only.
//!
//! # Why tokens taken ahead keep the merged stream conforming
//!
//! GCRA places the tokens of a bucket on a time line, each a slot as long as
//! the emission interval *T*: a request at *t* gets the slot that begins at
//! `max(t, TAT)`, and the TAT moves behind it. With a bucket of *B* tokens a
//! slot may be used by a request that comes at most *(B - 1) T* before it
//! begins, and never by one that comes after. So the slots used by the requests
//! of any window `[a, b]` begin within `[a, b + (B - 1) T]`; as slots do not
//! overlap, these are at most *B + (b - a) / T*. Nothing in this asks **who**
//! uses a slot. The store hands out slots of one time line to all gateways; a
//! gateway that holds some in advance runs GCRA within them, and the merged
//! stream conforms as long as each slot is used neither too early nor after its
//! beginning.
//!
//! It follows that each leased token has an expiry of its own. One expiry for
//! all of a lease, at the time when the whole of it would be back in the
//! bucket, is not enough: just before that moment the bucket has all but the
//! last of them again, for others to take, while the gateway still holds every
//! one.
//!
//! # Two clocks
//!
//! The store counts on its own clock and returns distances from its present,
//! which was between the sending of the call and the receiving of its reply.
//! Tokens that must not be used too late count from the sending, and a refusal
//! that must not end too early counts from the receiving. The two clocks only
//! have to run at the same speed, and only for the life of a lease.

use std::time::Duration;

use crate::limit::Gcra;

/// The reply of the store about one bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reply {
    /// Whether the tokens were there. They are taken then, unless the question
    /// was only a look.
    pub(super) admitted: bool,
    /// The debt before, in nanoseconds.
    pub(super) before: u64,
    /// The debt after; the difference is what was taken.
    pub(super) after: u64,
    /// How far returned tokens have moved the time line of the bucket, in
    /// nanoseconds.
    pub(super) moved: u64,
    /// The store's clock, in microseconds.
    pub(super) at: u64,
}

/// The moments at which a call was sent and its answer received, on this
/// process's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Trip {
    /// Nanoseconds of this process's clock, before the call was sent.
    pub(super) sent: u64,
    /// Nanoseconds of this process's clock, after its reply was received.
    pub(super) received: u64,
}

/// The part of a bucket's time line that a request has used, on this process's
/// clock, counted from the sending.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ShareSlot {
    /// The beginning of the slot, in nanoseconds.
    pub(super) from: u64,
    /// The end of the slot, in nanoseconds.
    pub(super) until: u64,
    /// The lease that it belongs to; 0 for none that is held. The times alone
    /// do not tell: counted from their sendings, those of two leases may
    /// overlap.
    pub(super) lease: u64,
    /// How far the lease had moved up when the slot was used.
    pub(super) moved: u64,
    /// The moment at which the store gave it, on its own clock in microseconds;
    /// 0 if it was taken from a lease.
    pub(super) since: u64,
    /// How far it reached from then, and how far the bucket's time line had
    /// moved, in nanoseconds.
    pub(super) reach: u64,
}

impl ShareSlot {
    /// A slot of no length.
    pub(super) const fn empty(now: u64) -> Self {
        Self {
            from: now,
            until: now,
            lease: 0,
            moved: 0,
            since: 0,
            reach: 0,
        }
    }

    /// The last part of the slot, of at most this length.
    pub(super) fn last(self, length: u64) -> Self {
        Self {
            from: self.from.max(self.until.saturating_sub(length)),
            ..self
        }
    }

    /// The length of the part that has not begun at `now`, if the slot moved up
    /// by at most `moved`.
    pub(super) fn rest(self, now: u64, moved: u64) -> u64 {
        self.until
            .saturating_sub(moved)
            .saturating_sub(self.from.saturating_sub(moved).max(now))
    }
}

/// The decision about a request that is possible without a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Local {
    /// Its tokens were held here.
    Taken(ShareSlot),
    /// It is refused, and has to wait for this long.
    Refused(Duration),
    /// There is no room for its key: it shares the overflow bucket with others.
    Overflow,
    /// Only the store knows; `ahead` more tokens would be welcome.
    Ask {
        /// Tokens for a lease.
        ahead: u32,
    },
}

/// One bucket as this gateway sees it. Losing it loses no exactness: tokens
/// that were held count as used, and the store is asked again.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct BucketShare {
    /// The quota under which all of it was learnt; `None` before the first
    /// reply. With another quota, it is forgotten.
    gcra: Option<Gcra>,
    /// The number of the lease: the moment of its sending, or the next number
    /// if that is taken.
    lease: u64,
    /// How far slots of the lease have moved up, in all.
    moved: u64,
    /// The part of the time line before this, of what was handed to this
    /// gateway, is used.
    head: u64,
    /// The end of the part that was handed to this gateway. Counted from the
    /// sending.
    tail: u64,
    /// The time from the sending to the reply.
    late: u64,
    /// The store's TAT as last heard, counted from the receiving.
    tat: u64,
    /// The moment at which the store was last asked.
    asked: u64,
    /// Tokens that were used here since.
    used: u32,
    /// Nanoseconds that are owed and that the store has not been told of.
    owed: u64,
    /// Whether a call tells the store of others at present.
    is_paying: bool,
}

impl BucketShare {
    /// A share that the store is about to be asked for: it counts as in debt
    /// until the reply comes, or for a second.
    pub(super) fn expected(gcra: Gcra, now: u64) -> Self {
        Self {
            gcra: Some(gcra),
            tat: now.saturating_add(MOMENT),
            ..Self::default()
        }
    }

    /// Whether the store holds something of it, as far as is known here.
    pub(super) fn is_in_debt(&self, now: u64) -> bool {
        self.tat.max(self.tail) > now
    }

    /// Takes `cost` tokens if they are held here; with `keep` it only looks.
    /// `most_ahead` bounds the lease that a call would ask for.
    pub(super) fn take(
        &mut self,
        now: u64,
        gcra: Gcra,
        cost: u32,
        most_ahead: u32,
        keep: bool,
    ) -> Local {
        self.turn_to(gcra);
        let from = self.head.max(now);
        let until = from.saturating_add(gcra.weight(cost));
        let is_held = until <= self.tail;
        // Tokens that are not held here come after everything that the store
        // has given away.
        let end = if is_held {
            until.saturating_add(self.late)
        } else {
            self.tat.max(now) + gcra.weight(cost)
        };
        let early = end.saturating_sub(now).saturating_sub(gcra.fill());
        // The reply of the store is believed for a moment only: a bucket may
        // be filled there without the knowledge of every gateway.
        if early > 0 && (is_held || self.is_hot(now)) {
            return Local::Refused(Duration::from_nanos(early));
        }
        if !is_held {
            return Local::Ask {
                ahead: self.ahead(now, gcra, most_ahead),
            };
        }
        if !keep {
            self.head = until;
            self.used = self.used.saturating_add(cost);
        }
        Local::Taken(ShareSlot {
            from,
            until,
            lease: self.lease,
            moved: self.moved,
            since: 0,
            reach: 0,
        })
    }

    /// Forgets everything that was learnt under another quota than `gcra`,
    /// except for the number of the lease, whose slots may yet come back.
    fn turn_to(&mut self, gcra: Gcra) {
        if self.gcra.is_some_and(|known| known.has_numbers_of(&gcra)) {
            return;
        }
        *self = Self {
            gcra: Some(gcra),
            lease: self.lease,
            is_paying: self.is_paying,
            ..Self::default()
        };
    }

    /// The number of tokens to take ahead: none for a cold key. Tokens that
    /// come back within a second anyway are taken freely. From slower buckets
    /// it is twice the number that was used last, so that a client that leaves
    /// ties up few.
    fn ahead(&self, now: u64, gcra: Gcra, most: u32) -> u32 {
        if self.is_hot(now) {
            most.min(self.used.saturating_mul(2).max(gcra.tokens(MOMENT)))
        } else {
            0
        }
    }

    /// Whether the store was asked within the last second.
    fn is_hot(&self, now: u64) -> bool {
        self.asked > 0 && now.saturating_sub(self.asked) <= MOMENT
    }

    /// Takes over the reply of the store to a request for `cost` tokens and
    /// some ahead. Returns the slot of the request.
    pub(super) fn learn(&mut self, gcra: Gcra, cost: u32, reply: Reply, trip: Trip) -> ShareSlot {
        self.turn_to(gcra);
        let from = trip.sent.saturating_add(reply.before);
        let tail = trip.sent.saturating_add(reply.after).max(from);
        let until = if reply.admitted {
            from.saturating_add(gcra.weight(cost)).min(tail)
        } else {
            from
        };
        let tat = trip.received.saturating_add(reply.after);
        self.used = if reply.admitted { cost } else { 0 };
        self.asked = trip.sent.max(1);
        let reach = reply
            .before
            .saturating_add(until - from)
            .saturating_add(reply.moved);
        let mut slot = ShareSlot {
            from,
            until,
            lease: 0,
            moved: 0,
            since: reply.at,
            reach,
        };
        // Two replies may cross: the longer share is kept, the other one's
        // tokens are lost.
        if tail - until >= self.tail.saturating_sub(self.head.max(trip.sent)) {
            self.lease = trip.sent.max(self.lease.saturating_add(1));
            slot.lease = self.lease;
            self.moved = 0;
            (self.head, self.tail, self.tat) = (until, tail, tat);
            self.late = trip.received.saturating_sub(trip.sent);
        } else {
            self.tat = self.tat.max(tat);
        }
        slot
    }

    /// Takes a slot back for others to use. Returns its part that came back, in
    /// nanoseconds; `None` if it does not belong to the lease that is held now.
    ///
    /// All later slots of the lease move up by the part that comes back. None
    /// of them is used after its beginning because of that: of a slot that has
    /// begun only the rest comes back, and the distance that it has moved up
    /// itself is counted in. Slots of an earlier lease do not come back: those
    /// between it and this one may be held elsewhere, still to be used, and
    /// would move up too.
    pub(super) fn give_back(&mut self, now: u64, slot: ShareSlot) -> Option<u64> {
        let is_held = slot.lease > 0 && slot.lease == self.lease;
        is_held.then(|| {
            let back = slot.rest(now, self.moved.saturating_sub(slot.moved));
            self.head = self.head.saturating_sub(back);
            self.moved = self.moved.saturating_add(back);
            back
        })
    }

    /// Notes that `back` nanoseconds are on their way back to the store, which
    /// is asked again before a request is refused. Tokens that come back count
    /// from the sending, the TAT from the reply.
    pub(super) fn returned(&mut self, back: u64) {
        self.tat = self.tat.saturating_sub(back.saturating_add(self.late));
        self.asked = 0;
    }

    /// Takes `nanos` of the time line, whether they are there or not: those that
    /// are held here first, and the rest beyond everything that was given.
    /// Returns how many the store is to be told of now; 0 if none are left, or
    /// if a call is in flight after which the next one takes them along.
    pub(super) fn owe(&mut self, now: u64, gcra: Gcra, nanos: u64) -> u64 {
        self.turn_to(gcra);
        let held = self.held(now).min(nanos);
        self.head = self.head.max(now) + held;
        let rest = nanos - held;
        self.tat = self.tat.max(now).saturating_add(rest);
        self.owed = self.owed.saturating_add(rest);
        if self.is_paying {
            0
        } else {
            self.next_to_pay()
        }
    }

    /// Ends a call that told the store what is owed, all but `unpaid`. Returns
    /// what the next one tells; 0 for no call.
    pub(super) fn paid(&mut self, unpaid: u64) -> u64 {
        self.owed = self.owed.saturating_add(unpaid);
        self.is_paying = false;
        if unpaid > 0 { 0 } else { self.next_to_pay() }
    }

    /// Takes out what is owed, for a call.
    fn next_to_pay(&mut self) -> u64 {
        self.is_paying = self.owed > 0;
        std::mem::take(&mut self.owed)
    }

    /// Whole tokens that this gateway could admit, and nanoseconds until the
    /// bucket is full, as far as is known here.
    pub(super) fn standing(&self, now: u64, gcra: Gcra) -> (u32, u64) {
        let debt = self.tat.saturating_sub(now);
        (gcra.left(debt.saturating_sub(self.held(now))), debt)
    }

    /// Nanoseconds of the time line that are held and have not begun.
    pub(super) fn held(&self, now: u64) -> u64 {
        self.tail.saturating_sub(self.head.max(now))
    }
}

/// A second, in nanoseconds. A key that was asked for within this time is hot.
/// Of an empty bucket's future no more is reserved than comes back in it, so
/// that a gateway keeps others waiting no longer.
pub(super) const MOMENT: u64 = 1_000_000_000;
