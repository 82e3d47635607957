//! Limits as a route applies them: the policy of each, and the state behind it.
//!
//! These are made anew by each reload, from policies and limiters that `build`
//! keeps. Several routes may apply one limit: they share its buckets, and differ
//! in the index of its name only.

use std::sync::Arc;

use super::overrides::Overrides;
use crate::{
    limit::{KeyBuilder, Limiter, Top},
    policy::{Cost, Limit},
    store::{NameHasher, SharedLimit},
};

/// One limit of a route.
#[derive(Debug, Clone)]
pub struct RouteLimit {
    pub(super) policy: Arc<Limit>,
    /// Index of its name among the names of the route's limits. The names of
    /// its tiers follow.
    pub(super) name: usize,
    pub(super) own: Buckets,
    /// In the order of the policy's tiers.
    pub(super) tiers: Box<[Buckets]>,
    pub(super) candidate: Option<Limiter>,
    pub(super) overrides: Option<Arc<Overrides>>,
    /// A request takes a fixed number of tokens from one local bucket, under
    /// the limit's own quota, or is refused.
    pub(super) is_plain: bool,
}

/// The buckets of a limit or of one of its tiers.
#[derive(Debug, Clone)]
pub struct Buckets {
    /// The buckets of this gateway.
    pub limiter: Limiter,
    /// Counts the heaviest keys.
    pub top: Arc<Top>,
    /// A key that has begun with the name of the limit or tier.
    pub begun: KeyBuilder,
    /// The buckets in the store, if several gateways share them.
    pub shared: Option<SharedBuckets>,
}

/// Buckets in the store.
#[derive(Debug, Clone)]
pub struct SharedBuckets {
    /// The share of them that this gateway holds.
    pub limit: Arc<SharedLimit>,
    /// A name that has begun with that of the limit or tier.
    pub begun: KeyBuilder<NameHasher>,
}

impl RouteLimit {
    /// Joins `policy` with the state that it names. `name` is the index of its
    /// name among the names of the route's limits, each of which is followed by
    /// those of its tiers; `tiers` are in the order of the policy.
    pub fn new(
        policy: Arc<Limit>,
        name: usize,
        own: Buckets,
        tiers: Box<[Buckets]>,
        candidate: Option<Limiter>,
        overrides: Option<Arc<Overrides>>,
    ) -> Self {
        let is_plain = matches!(policy.cost, Cost::Fixed(_))
            && !policy.shadow
            && policy.count.is_none()
            && candidate.is_none()
            && overrides.is_none()
            && own.shared.is_none()
            && tiers.is_empty();
        Self {
            policy,
            name,
            own,
            tiers,
            candidate,
            overrides,
            is_plain,
        }
    }

    /// Whether its buckets are in the store.
    pub(super) fn is_shared(&self) -> bool {
        self.own.shared.is_some()
    }
}
