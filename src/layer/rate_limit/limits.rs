//! Limits as a route applies them: the policy of each, and the state behind it.
//!
//! These are made anew by each reload, from policies and limiters that `build`
//! keeps. Several routes may apply one limit: they share its buckets, and
//! differ in the index of its name only.
//!
//! # Concurrency
//!
//! Everything here is read only once it is built. The mutable state is in the
//! limiters, which workers change by atomics, in the list of the heaviest keys,
//! and in the shares of limits in the store. A request that is in flight across
//! a reload keeps the limits that it was decided by, until its tokens are
//! settled.

use std::{net::IpAddr, sync::Arc};

use super::{key, overrides::Overrides};
use crate::{
    call::Exchange,
    limit::{Key, KeyBuilder, Limiter, Top},
    policy::{Cost, KeyPart, Limit},
    store::{NameHasher, SharedLimit},
};

/// One limit of a route.
///
/// A clone has the same buckets.
#[derive(Debug, Clone)]
pub struct RouteLimit {
    /// The policy from the configuration: key, cost, tiers, and what follows a
    /// refusal.
    pub(super) policy: Arc<Limit>,
    /// Index of its name among the names of the route's limits. The names of
    /// its tiers follow.
    pub(super) name: usize,
    /// The buckets under the quota of the limit itself.
    pub(super) own: Buckets,
    /// How the key of the own bucket is found.
    form: KeyForm,
    /// In the order of the policy's tiers. Empty for most limits.
    pub(super) tiers: Box<[Buckets]>,
    /// The buckets of another quota that is tried out beside the limit's own;
    /// it refuses nothing. `None` if there is none.
    pub(super) candidate: Option<Limiter>,
    /// Quotas of single keys from the configuration; `None` if it has none.
    pub(super) overrides: Option<Arc<Overrides>>,
    /// A request takes a fixed number of tokens from one local bucket, under
    /// the limit's own quota, or is refused. Computed once, so that a request
    /// asks one flag instead of seven. Temporary quotas of operators are not in
    /// it, since they come and go between reloads.
    pub(super) is_plain: bool,
}

/// How a request's key is found. The two forms that most limits have take the
/// least work: one is known before, and the other hashes four bytes.
#[derive(Debug, Clone)]
enum KeyForm {
    /// The limit counts everybody together.
    Everybody(Key),
    /// The address of the client is the only part. The builder has begun with
    /// an IPv4 address; others are found as all parts are.
    Address(KeyBuilder),
    /// The parts are found one by one.
    Parts,
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
        let form = match *policy.key {
            [] => KeyForm::Everybody(own.begun.clone().finish()),
            [KeyPart::ClientIp { .. }] => KeyForm::Address(own.begun.clone().before_v4()),
            _ => KeyForm::Parts,
        };
        Self {
            policy,
            name,
            own,
            form,
            tiers,
            candidate,
            overrides,
            is_plain,
        }
    }

    /// The key of the request's own bucket; `None` if the request lacks a part
    /// of it.
    #[inline]
    pub(super) fn key(&self, exchange: &Exchange) -> Option<Key> {
        match (&self.form, exchange.client.ip) {
            (KeyForm::Everybody(key), _) => Some(*key),
            (KeyForm::Address(begun), IpAddr::V4(address)) => {
                Some(begun.clone().finish_v4(address))
            }
            _ => self.whole_key(exchange),
        }
    }

    /// The key, found part by part.
    #[inline(never)]
    fn whole_key(&self, exchange: &Exchange) -> Option<Key> {
        key::whole(&self.own.begun, &self.policy, exchange).map(KeyBuilder::finish)
    }

    /// Whether its buckets are in the store.
    pub(super) fn is_shared(&self) -> bool {
        self.own.shared.is_some()
    }
}
