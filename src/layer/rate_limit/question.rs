//! The questions that one request puts to the limits of its route: which
//! buckets, how many tokens, which quota.
//!
//! A question refers to its limit by index and to its bucket by [`Bucket`], in
//! 16 bytes without a reference. So a list of questions may travel with a
//! request beyond the decision, be settled on another worker, and outlive a
//! reload: the limits that the indices lead to travel with it.
//!
//! Questions are sorted into lists by what their answers are used for, since
//! each list decides in another way (see [`Questions`]).

use smallvec::SmallVec;

use super::limits::{Buckets, RouteLimit};
use crate::limit::{self, Gcra, Key, Limiter};

/// One bucket that is asked for tokens. Kept small: the questions of a request
/// are moved about with it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Question {
    /// The key of the bucket in its limiter.
    pub(super) key: Key,
    /// Tokens. 0 takes none and is always admitted.
    pub(super) cost: u32,
    /// Index of the limit among the route's limits, of which there are at most
    /// 64.
    limit: u8,
    /// Which of the limit's buckets it is.
    pub(super) bucket: Bucket,
}

/// Which bucket of a limit is asked, and under which quota.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bucket {
    /// The limit's own, under its own quota.
    Own,
    /// The limit's own, under a quota of the key: an index into
    /// [`Questions::quotas`].
    OwnUnder(u8),
    /// That of the tier with this index. The key has fewer bits of the client's
    /// address.
    Tier(u8),
    /// That of the candidate, which never refuses.
    Candidate,
}

/// Questions whose answers are used in the same way.
pub(super) type List = SmallVec<[Question; 4]>;

/// All questions of one request.
#[derive(Debug, Default)]
pub(super) struct Questions {
    /// To buckets of this gateway that can refuse; they decide together.
    pub(super) live: List,
    /// To buckets of this gateway in shadow mode, each for itself.
    pub(super) shadow: SmallVec<[Question; 1]>,
    /// To the buckets of candidates, each for itself.
    pub(super) candidates: SmallVec<[Question; 1]>,
    /// To buckets in the store.
    pub(super) shared: SharedQuestions,
    /// Quotas of single keys, from overrides and from operators.
    pub(super) quotas: Quotas,
}

/// Questions to the store.
#[derive(Debug, Default)]
pub(super) struct SharedQuestions {
    /// To buckets that can refuse; they decide together.
    pub(super) live: SmallVec<[Question; 2]>,
    /// To buckets in shadow mode, each for itself.
    pub(super) shadow: SmallVec<[Question; 1]>,
}

impl SharedQuestions {
    /// Whether nothing is to be asked of the store.
    pub(super) fn is_empty(&self) -> bool {
        self.live.is_empty() && self.shadow.is_empty()
    }
}

/// Quotas that single keys of one request have.
///
/// Most requests have none. A question refers to its quota by index, so that it
/// stays small and can be copied.
pub(super) type Quotas = SmallVec<[Gcra; 1]>;

impl Question {
    /// A question to the own bucket of the limit with this index.
    pub(super) fn new(index: usize, key: Key, cost: u32) -> Self {
        Self {
            key,
            cost,
            limit: index as u8, // at most 64
            bucket: Bucket::Own,
        }
    }

    /// The same question to another bucket of the limit.
    pub(super) fn with(self, bucket: Bucket) -> Self {
        Self { bucket, ..self }
    }

    /// The question to the bucket `key` of the tier with this index.
    pub(super) fn of_tier(self, index: usize, key: Key) -> Self {
        Self {
            key,
            bucket: Bucket::Tier(index as u8), // at most 64, as limits
            ..self
        }
    }

    /// The limit that is asked.
    #[inline]
    pub(super) fn limit<'a>(&self, limits: &'a [RouteLimit]) -> &'a RouteLimit {
        &limits[usize::from(self.limit)]
    }

    /// The bucket's limiter.
    #[inline]
    pub(super) fn limiter<'a>(&self, limits: &'a [RouteLimit]) -> &'a Limiter {
        let limit = self.limit(limits);
        match self.bucket {
            Bucket::Own | Bucket::OwnUnder(_) => &limit.own.limiter,
            Bucket::Tier(index) => &limit.tiers[usize::from(index)].limiter,
            Bucket::Candidate => limit.candidate.as_ref().unwrap_or(&limit.own.limiter),
        }
    }

    /// The buckets that it is one of; `None` for those of a candidate, which
    /// are neither counted nor shared.
    pub(super) fn buckets<'a>(&self, limits: &'a [RouteLimit]) -> Option<&'a Buckets> {
        let limit = self.limit(limits);
        match self.bucket {
            Bucket::Own | Bucket::OwnUnder(_) => Some(&limit.own),
            Bucket::Tier(index) => limit.tiers.get(usize::from(index)),
            Bucket::Candidate => None,
        }
    }

    /// Bits of an IPv6 address in the key of a tier.
    pub(super) fn prefix(&self, limits: &[RouteLimit]) -> Option<u8> {
        match self.bucket {
            Bucket::Tier(index) => {
                let tiers = &self.limit(limits).policy.tiers;
                tiers.get(usize::from(index)).map(|tier| tier.prefix)
            }
            _ => None,
        }
    }

    /// The question as the limiter is asked it. `quotas` are those of the
    /// request.
    #[inline]
    pub(super) fn ask<'a>(&self, limits: &'a [RouteLimit], quotas: &'a [Gcra]) -> limit::Ask<'a> {
        limit::Ask {
            limiter: self.limiter(limits),
            key: self.key,
            cost: self.cost,
            quota: self.quota(quotas),
        }
    }

    /// The quota that counts instead of the limiter's own.
    #[inline]
    pub(super) fn quota<'a>(&self, quotas: &'a [Gcra]) -> Option<&'a Gcra> {
        match self.bucket {
            Bucket::OwnUnder(index) => quotas.get(usize::from(index)),
            _ => None,
        }
    }

    /// Index of the limit's or tier's name among the names of the route's
    /// limits.
    #[inline]
    pub(super) fn name(&self, limits: &[RouteLimit]) -> usize {
        let own = self.limit(limits).name;
        match self.bucket {
            Bucket::Tier(index) => own + 1 + usize::from(index),
            _ => own,
        }
    }

    /// Whether its tokens come back when the response has a status that does
    /// not count.
    pub(super) fn counts_responses(&self, limits: &[RouteLimit]) -> bool {
        self.limit(limits).policy.count.is_some()
    }

    /// Whether the bucket can refuse a request.
    pub(super) fn is_live(&self, limits: &[RouteLimit]) -> bool {
        self.bucket != Bucket::Candidate && !self.limit(limits).policy.shadow
    }
}
