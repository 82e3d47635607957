//! Limits of a configuration: their buckets, which outlive it, and how each
//! route applies them.
//!
//! A limit keeps its buckets over a reload as long as its key stays the same.
//! New numbers (rate, burst, the number of keys) apply to them at once: a key
//! keeps the share of its burst that it has used.
//!
//! # Names
//!
//! A limit, each of its tiers and its candidate have buckets of their own, and
//! each of them is found by its own name: `LIMIT`, `LIMIT/PREFIX`,
//! `LIMIT/candidate`. A change to a tier's prefix length thus gives another
//! name and fresh buckets.
//!
//! # Order
//!
//! `limits` first makes the buckets of new limits and all overrides, and then
//! applies the new numbers. A reload that fails in the first part leaves the
//! running buckets as they were.

use std::sync::Arc;

use super::{
    error::BuildError,
    named::Named,
    state::{Process, State},
    store,
};
use crate::{
    config::Config,
    layer::{Buckets, Overrides, RateLimitLayer, RouteLimit},
    limit::{Clock, KeyHasher, Limiter, LimiterError, Top},
    policy::{self, KeyPart, Missing},
};

/// Buckets of limits, their tiers and their candidates, and the exceptions of
/// limits that have some; by name. A tier is named `LIMIT/PREFIX`, a candidate
/// `LIMIT/candidate`.
pub(super) type Limits = (Named<Limiter>, Named<Arc<Overrides>>);

/// The limits of `config`, with the buckets of those before it. Everything that
/// can fail is done first: new numbers take effect at once on buckets in use.
///
/// # Errors
/// [`BuildError::Limit`] if the buckets of a limit cannot be made, such as more
/// keys than fit into memory.
///
/// A limit counts as the same one if its name and the parts of its key are
/// equal. Otherwise its buckets begin full, as old ones would be under keys
/// that no request makes any more. Limits that are gone are left out here;
/// their buckets are freed with the generation that holds them.
pub(super) fn limits(
    config: &Config,
    earlier: Option<&State>,
    hasher: &KeyHasher,
) -> Result<Limits, BuildError> {
    let (mut bases, mut overrides) = (Vec::new(), Named::new());
    for limit in &config.limits {
        // Buckets of another kind of key are other buckets: nothing of theirs
        // can be carried over.
        let same_key = |earlier: &&State| {
            earlier
                .config
                .limits
                .iter()
                .any(|before| before.name == limit.name && before.key == limit.key)
        };
        let earlier = earlier.filter(same_key);
        for (name, quota) in buckets(limit) {
            let base = match earlier.and_then(|earlier| earlier.limits.get(name)) {
                None => Limiter::new(Arc::clone(name), quota, limit.max_keys)
                    .map_err(|cause| failed(name, cause))?,
                Some(before) => before.clone(),
            };
            if *name == limit.name {
                let built = Overrides::build(limit, &base, &hasher.key(name))
                    .map_err(|cause| failed(name, cause))?;
                if let Some(built) = built {
                    overrides.insert(Arc::clone(name), Arc::new(built));
                }
            }
            bases.push((limit, name, quota, base));
        }
    }
    let now = Clock.now();
    let mut limits = Named::new();
    for (limit, name, quota, base) in bases {
        let limiter = base
            .reconfigured(quota, limit.max_keys, now)
            .map_err(|cause| failed(name, cause))?;
        limits.insert(Arc::clone(name), limiter);
    }
    Ok((limits, overrides))
}

/// The heaviest keys of each limit and tier. Their counts are kept as long as
/// the buckets are.
///
/// Each is made for `workers` threads, which count on their own. A limit whose
/// buckets began anew has an empty list, since its keys are other ones.
pub(super) fn tops(
    limits: &Named<Limiter>,
    earlier: Option<&State>,
    workers: usize,
) -> Named<Arc<Top>> {
    let top = |(name, limiter): (&Arc<str>, &Limiter)| {
        let same = |earlier: &&State| {
            earlier
                .limits
                .get(name)
                .is_some_and(|before| before.is_same(limiter))
        };
        let before = earlier
            .filter(same)
            .and_then(|earlier| earlier.tops.get(name))
            .cloned();
        (
            Arc::clone(name),
            before.unwrap_or_else(|| Arc::new(Top::new(workers))),
        )
    };
    limits.iter().map(top).collect()
}

/// The error of a limit whose buckets cannot be made.
fn failed(name: &Arc<str>, cause: LimiterError) -> BuildError {
    BuildError::Limit {
        name: Arc::clone(name),
        cause,
    }
}

/// Everything about a limit that has buckets: itself, its tiers, its candidate.
///
/// The limit itself comes first, then its tiers in their order, then the
/// candidate.
fn buckets(limit: &policy::Limit) -> impl Iterator<Item = (&Arc<str>, policy::Quota)> {
    let own = (&limit.name, limit.quota);
    let tiers = limit.tiers.iter().map(|tier| (&tier.name, tier.quota));
    std::iter::once(own).chain(tiers).chain(
        limit
            .candidate
            .as_ref()
            .map(|candidate| (&candidate.name, candidate.quota)),
    )
}

/// The names under which a route's limits decide, each followed by its tiers.
///
/// The position of a name is the number by which requests note the limit, so
/// that the order must be that of `layer`. Candidates refuse nobody and have no
/// name here.
pub(super) fn names(route: &policy::Route, config: &Config) -> Vec<Arc<str>> {
    let with_tiers = |limit: &Arc<policy::Limit>| {
        let tiers = limit.tiers.iter().map(|tier| Arc::clone(&tier.name));
        std::iter::once(Arc::clone(&limit.name))
            .chain(tiers)
            .collect::<Vec<_>>()
    };
    of_route(route, config).flat_map(with_tiers).collect()
}

/// The query parameters that keys of a route's limits are made of.
///
/// An access line that masks its query hides the values of these, since they
/// say who the client is. Parts that stand in for missing ones are among them.
/// A name may occur twice.
pub(super) fn query_keys(route: &policy::Route, config: &Config) -> Arc<[Box<str>]> {
    let mut names = Vec::new();
    for limit in of_route(route, config) {
        let stand_in = match &limit.missing {
            Missing::Use(part) => Some(part),
            Missing::Skip | Missing::Refuse => None,
        };
        for part in limit.key.iter().chain(stand_in) {
            if let KeyPart::Query(name) = part {
                names.push(name.clone());
            }
        }
    }
    names.into()
}

/// How a route applies its limits.
///
/// The limits decide in the order of the route, and the first name of each is
/// at the index that `names` gives it. Every worker has a layer of its own over
/// shared buckets.
pub(super) fn layer(route: &policy::Route, state: &State, process: &Process) -> RateLimitLayer {
    let mut name = 0;
    let limits = of_route(route, &state.config).filter_map(|limit| {
        let built = route_limit(limit, name, state, process);
        name += 1 + limit.tiers.len();
        built
    });
    RateLimitLayer::new(limits, state.store.clone())
}

/// The limits that a route names, in its order.
///
/// A name that the configuration does not have is left out; its checks exclude
/// that.
fn of_route<'c>(
    route: &'c policy::Route,
    config: &'c Config,
) -> impl Iterator<Item = &'c Arc<policy::Limit>> {
    // The configuration keeps limits in the order of their names.
    let find = |name: &Arc<str>| {
        config
            .limits
            .binary_search_by(|limit| limit.name.cmp(name))
            .ok()
    };
    route
        .limits
        .iter()
        .filter_map(move |name| config.limits.get(find(name)?))
}

/// Joins a limit with its state. `name` is the index of its name among those of
/// the route's limits.
///
/// `None` if the state lacks the buckets of the limit or of one of its tiers. A
/// missing candidate only is not compared. The hashers of keys have already
/// taken the name in, so that a request hashes its own parts alone.
fn route_limit(
    limit: &Arc<policy::Limit>,
    name: usize,
    state: &State,
    process: &Process,
) -> Option<RouteLimit> {
    let buckets = |name: &Arc<str>| {
        Some(Buckets {
            limiter: state.limits.get(name)?.clone(),
            top: state.tops.get(name)?.clone(),
            begun: process.hasher.key(name),
            shared: store::buckets(name, state),
        })
    };
    let tiers = limit.tiers.iter().map(|tier| buckets(&tier.name));
    let candidate = limit.candidate.as_ref();
    Some(RouteLimit::new(
        Arc::clone(limit),
        name,
        buckets(&limit.name)?,
        tiers.collect::<Option<_>>()?,
        candidate.and_then(|candidate| state.limits.get(&candidate.name).cloned()),
        state.overrides.get(&limit.name).cloned(),
    ))
}
