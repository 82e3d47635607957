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

use std::{
    net::{IpAddr, Ipv4Addr},
    num::NonZeroU32,
    sync::Arc,
};

use super::{key, overrides::Overrides};
use crate::{
    call::Exchange,
    limit::{Bans, Gcra, Key, KeyBuilder, KeysInFlight, Limiter, LimiterError, Now, Top},
    policy::{Allowance, Cost, KeyPart, Limit},
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
    /// Counts for another allowance that is tried out beside the limit's own;
    /// it refuses nothing. `None` if there is none.
    pub(super) candidate: Option<Counter>,
    /// Allowances of single keys from the configuration; `None` if it has none.
    pub(super) overrides: Option<Arc<Overrides>>,
    /// Keys that are refused for a while; `None` if the limit bans none.
    pub(super) bans: Option<Arc<Bans>>,
    /// A request takes a fixed number of tokens from one local bucket, or one
    /// local permit, under the limit's own allowance, or is refused at once.
    /// Computed once, so that a request asks one flag instead of eight.
    /// Temporary quotas of operators are not in it, since they come and go
    /// between reloads.
    pub(super) is_plain: bool,
    /// Each request has the same parts of a key for this limit as for the first
    /// one of the route. Their hash is made once then.
    pub(super) has_parts_of_first: bool,
}

/// How a request's key is found. The two forms that most limits have take the
/// least work: one is known before, and the other hashes four bytes.
#[derive(Debug, Clone)]
enum KeyForm {
    /// The limit counts everybody together: the hash of no parts.
    Everybody(u64),
    /// The address of the client is the only part. The builder has begun with
    /// an IPv4 network, whose bits are in the mask; IPv6 networks are found as
    /// all parts are.
    Address { begun: KeyBuilder, mask: u32 },
    /// The parts are found one by one.
    Parts,
}

/// The buckets of a limit or of one of its tiers, or its requests in flight.
#[derive(Debug, Clone)]
pub struct Buckets {
    /// Counts for this gateway.
    pub counter: Counter,
    /// Counts the heaviest keys.
    pub top: Arc<Top>,
    /// A key that has begun with the name of the limit or tier.
    pub begun: KeyBuilder,
    /// The buckets in the store, if several gateways share them.
    pub shared: Option<SharedBuckets>,
    /// The requests in flight over all gateways, if these share a cap.
    pub shared_cap: Option<SharedCap>,
}

/// A cap that several gateways share.
#[derive(Debug, Clone)]
pub struct SharedCap {
    /// The name of the limit or tier.
    pub limit: Arc<str>,
    /// A name that has begun with that of the limit or tier.
    pub begun: KeyBuilder<NameHasher>,
}

/// Counts what the keys of a limit have used.
#[derive(Debug, Clone)]
pub enum Counter {
    /// Tokens of a rate.
    Tokens(Limiter),
    /// Requests in flight.
    InFlight(Arc<KeysInFlight>),
}

/// An allowance as it is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum KeyAllowance {
    /// A quota of the limiter.
    Quota(Gcra),
    /// A number of requests in flight.
    InFlight(NonZeroU32),
}

impl Counter {
    /// The buckets of a rate.
    #[inline]
    pub(super) fn limiter(&self) -> Option<&Limiter> {
        match self {
            Self::Tokens(limiter) => Some(limiter),
            Self::InFlight(_) => None,
        }
    }

    /// The requests in flight of a cap.
    pub(super) fn in_flight(&self) -> Option<&Arc<KeysInFlight>> {
        match self {
            Self::Tokens(_) => None,
            Self::InFlight(in_flight) => Some(in_flight),
        }
    }

    /// Prepares an allowance of single keys.
    ///
    /// # Errors
    /// Fails if single keys of the limit have had too many different quotas.
    pub(super) fn prepare(&self, allowance: Allowance) -> Result<KeyAllowance, LimiterError> {
        match (allowance, self) {
            (Allowance::InFlight(most), _) => Ok(KeyAllowance::InFlight(most)),
            (Allowance::Rate(quota), Self::Tokens(limiter)) => {
                limiter.key_quota(quota).map(KeyAllowance::Quota)
            }
            // A limit is of one kind.
            (Allowance::Rate(quota), Self::InFlight(_)) => Ok(KeyAllowance::Quota(quota.into())),
        }
    }

    /// Whether `key` is counted now. A key that is not has used nothing.
    pub fn holds(&self, key: Key) -> bool {
        match self {
            Self::Tokens(limiter) => limiter.holds(key),
            Self::InFlight(in_flight) => in_flight.held(key) > 0,
        }
    }

    /// Whether any key has a temporary allowance, which is a hint.
    #[inline]
    pub(super) fn has_temporaries(&self) -> bool {
        match self {
            Self::Tokens(limiter) => limiter.has_temporaries(),
            Self::InFlight(in_flight) => in_flight.has_temporaries(),
        }
    }

    /// The temporary allowance of `key`, if it has one at `now`.
    pub(super) fn temporary(&self, now: Now, key: Key) -> Option<KeyAllowance> {
        match self {
            Self::Tokens(limiter) => {
                let given = limiter.temporary(now, key)?;
                Some(KeyAllowance::Quota(given.given.gcra))
            }
            Self::InFlight(in_flight) => {
                let given = in_flight.temporary(now, key)?;
                Some(KeyAllowance::InFlight(given.given))
            }
        }
    }
}

/// The state behind one limit of a route.
#[derive(Debug, Clone)]
pub struct RouteLimitState {
    /// The buckets of the limit itself.
    pub own: Buckets,
    /// Those of its tiers, in the order of the policy.
    pub tiers: Box<[Buckets]>,
    /// Counts for its candidate.
    pub candidate: Option<Counter>,
    /// Allowances of single keys from the configuration.
    pub overrides: Option<Arc<Overrides>>,
    /// Keys that are refused for a while.
    pub bans: Option<Arc<Bans>>,
}

/// The state of a limit that has nothing but its own buckets.
impl From<Buckets> for RouteLimitState {
    fn from(own: Buckets) -> Self {
        Self {
            own,
            tiers: [].into(),
            candidate: None,
            overrides: None,
            bans: None,
        }
    }
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
    /// those of its tiers.
    pub fn new(policy: Arc<Limit>, name: usize, state: RouteLimitState) -> Self {
        let RouteLimitState {
            own,
            tiers,
            candidate,
            overrides,
            bans,
        } = state;
        let is_plain = matches!(policy.cost, Cost::Fixed(_))
            && !policy.shadow
            && policy.count.is_none()
            && candidate.is_none()
            && overrides.is_none()
            && bans.is_none()
            && policy.delay.is_none()
            && own.shared.is_none()
            && own.shared_cap.is_none()
            && tiers.is_empty();
        let form = match *policy.key {
            [] => KeyForm::Everybody(own.begun.parts()),
            [KeyPart::ClientIp(prefixes)] => KeyForm::Address {
                begun: own.begun.clone().before_v4(prefixes.v4),
                mask: u32::MAX.unbounded_shl(32 - u32::from(prefixes.v4.min(32))),
            },
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
            bans,
            is_plain,
            has_parts_of_first: false,
        }
    }

    /// The key of the request's own bucket; `None` if the request lacks a part
    /// of it.
    #[inline]
    pub(super) fn key(&self, exchange: &Exchange) -> Option<Key> {
        Some(self.key_of(self.parts(exchange)?))
    }

    /// The key of the own bucket with this hash of the parts.
    #[inline]
    pub(super) fn key_of(&self, parts: u64) -> Key {
        self.own.begun.of_parts(parts)
    }

    /// The hash of the parts of the request's key; `None` if it lacks one.
    #[inline]
    pub(super) fn parts(&self, exchange: &Exchange) -> Option<u64> {
        match (&self.form, exchange.client.ip) {
            (KeyForm::Everybody(parts), _) => Some(*parts),
            (KeyForm::Address { begun, mask }, IpAddr::V4(address)) => {
                let network = Ipv4Addr::from_bits(address.to_bits() & mask);
                Some(begun.parts_v4(network))
            }
            _ => self.all_parts(exchange),
        }
    }

    /// The hash of the parts, found one by one.
    #[inline(never)]
    fn all_parts(&self, exchange: &Exchange) -> Option<u64> {
        key::whole(&self.own.begun, &self.policy, exchange).map(|whole| whole.parts())
    }

    /// Whether each request has the same parts of a key for both limits.
    pub(super) fn has_parts_of(&self, other: &Self) -> bool {
        (&self.policy.key, &self.policy.missing) == (&other.policy.key, &other.policy.missing)
    }

    /// Whether it counts requests in flight, and not tokens.
    #[inline]
    pub(super) fn is_in_flight(&self) -> bool {
        self.own.counter.in_flight().is_some()
    }

    /// Whether the store counts for it.
    pub(super) fn is_shared(&self) -> bool {
        self.own.shared.is_some() || self.own.shared_cap.is_some()
    }
}
