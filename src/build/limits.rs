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
    call::LimitText,
    config::Config,
    layer::{Buckets, Overrides, RateLimitLayer, RouteLimit},
    limit::{Clock, KeyHasher, Limiter, LimiterError, Top},
    policy::{self, KeyPart, Missing},
};

/// The state of the limits of a configuration.
pub(super) struct Limits {
    /// The buckets of limits, of their tiers (`LIMIT/PREFIX`) and of their
    /// candidates (`LIMIT/candidate`), by these names.
    pub(super) limiters: Named<Limiter>,
    /// The exceptions of limits that have some, by the names of the limits.
    pub(super) overrides: Named<Arc<Overrides>>,
}

/// Buckets that get their new numbers once nothing can fail any more.
struct Prepared<'c> {
    limit: &'c policy::Limit,
    /// The name of the limit, or of the tier or candidate of it.
    name: &'c Arc<str>,
    quota: policy::Quota,
    limiter: Limiter,
}

/// The limits of `config`, with the buckets of those before it. Everything that
/// can fail is done first: new numbers take effect at once on buckets in use.
///
/// A limit counts as the same one if its name and the parts of its key are
/// equal. Otherwise its buckets begin full, as old ones would be under keys
/// that no request makes any more. Limits that are gone are left out here;
/// their buckets are freed with the generation that holds them.
///
/// # Errors
/// [`BuildError::Limit`] if the buckets of a limit cannot be made, such as more
/// keys than fit into memory.
pub(super) fn limits(
    config: &Config,
    earlier: Option<&State>,
    hasher: &KeyHasher,
) -> Result<Limits, BuildError> {
    let mut prepared = Vec::new();
    let mut overrides = Named::new();
    for limit in &config.limits {
        let earlier = earlier.filter(|earlier| has_same_key(&earlier.config, limit));
        for (name, quota) in buckets(limit) {
            let limiter = match earlier.and_then(|earlier| earlier.limits.get(name)) {
                None => Limiter::new(Arc::clone(name), quota, limit.max_keys)
                    .map_err(|cause| failed(name, cause))?,
                Some(before) => before.clone(),
            };
            if *name == limit.name {
                let built = Overrides::build(limit, &limiter, &hasher.key(name))
                    .map_err(|cause| failed(name, cause))?;
                if let Some(built) = built {
                    overrides.insert(Arc::clone(name), Arc::new(built));
                }
            }
            prepared.push(Prepared {
                limit,
                name,
                quota,
                limiter,
            });
        }
    }
    let now = Clock.now();
    let mut limiters = Named::new();
    for Prepared {
        limit,
        name,
        quota,
        limiter,
    } in prepared
    {
        let limiter = limiter
            .reconfigured(quota, limit.max_keys, now)
            .map_err(|cause| failed(name, cause))?;
        limiters.insert(Arc::clone(name), limiter);
    }
    Ok(Limits {
        limiters,
        overrides,
    })
}

/// Whether an earlier configuration has this limit with the same parts of its
/// key. Buckets of another kind of key are other buckets: nothing of theirs can
/// be carried over.
fn has_same_key(earlier: &Config, limit: &policy::Limit) -> bool {
    find(earlier, &limit.name).is_some_and(|before| before.key == limit.key)
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
    let mut tops = Named::new();
    for (name, limiter) in limits {
        let top = match earlier.and_then(|earlier| kept_top(earlier, name, limiter)) {
            Some(top) => Arc::clone(top),
            None => Arc::new(Top::new(workers)),
        };
        tops.insert(Arc::clone(name), top);
    }
    tops
}

/// The heaviest keys that an earlier state has of these buckets; `None` if they
/// are new since.
fn kept_top<'s>(earlier: &'s State, name: &str, limiter: &Limiter) -> Option<&'s Arc<Top>> {
    if !earlier.limits.get(name)?.is_same(limiter) {
        return None;
    }
    earlier.tops.get(name)
}

/// The error of a limit whose buckets cannot be made.
fn failed(name: &Arc<str>, cause: LimiterError) -> BuildError {
    BuildError::Limit {
        name: Arc::clone(name),
        cause,
    }
}

/// Everything about a limit of a rate that has buckets: itself, its tiers, its
/// candidate.
///
/// The limit itself comes first, then its tiers in their order, then the
/// candidate.
fn buckets(limit: &policy::Limit) -> Vec<(&Arc<str>, policy::Quota)> {
    let mut all = vec![(&limit.name, limit.allowance)];
    for tier in &limit.tiers {
        all.push((&tier.name, tier.allowance));
    }
    if let Some(candidate) = &limit.candidate {
        all.push((&candidate.name, candidate.allowance));
    }
    let mut buckets = Vec::new();
    for (name, allowance) in all {
        buckets.extend(allowance.rate().map(|quota| (name, quota)));
    }
    buckets
}

/// The names under which a route's limits decide, each followed by its tiers.
///
/// The position of a name is the number by which requests note the limit, so
/// that the order must be that of `layer`. Candidates refuse nobody and have no
/// name here.
pub(super) fn names(route: &policy::Route, config: &Config) -> Vec<Arc<str>> {
    let mut names = Vec::new();
    for limit in of_route(route, config) {
        names.extend(limit.deciding().cloned());
    }
    names
}

/// The texts about a route's limits, in the order of their names.
pub(super) fn texts(route: &policy::Route, config: &Config) -> Box<[LimitText]> {
    let mut texts = Vec::new();
    for limit in of_route(route, config) {
        texts.push(LimitText::new(limit.allowance));
        let tiers = limit.tiers.iter();
        texts.extend(tiers.map(|tier| LimitText::new(tier.allowance)));
    }
    texts.into()
}

/// The query parameters that keys of a route's limits are made of.
///
/// An access line that masks its query hides the values of these, since they
/// say who the client is. Parts that stand in for missing ones are among them.
/// A name may occur twice.
pub(super) fn query_keys(route: &policy::Route, config: &Config) -> Vec<Box<str>> {
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
    names
}

/// How a route applies its limits.
///
/// The limits decide in the order of the route, and the first name of each is
/// at the index that `names` gives it. Every worker has a layer of its own over
/// shared buckets.
pub(super) fn layer(route: &policy::Route, state: &State, process: &Process) -> RateLimitLayer {
    let mut limits = Vec::new();
    let mut name = 0;
    for limit in of_route(route, &state.config) {
        limits.extend(route_limit(limit, name, state, process));
        name += 1 + limit.tiers.len();
    }
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
    route.limits.iter().filter_map(|name| find(config, name))
}

/// The limit of this name. The configuration keeps limits in the order of their
/// names, so that this is a binary search.
fn find<'c>(config: &'c Config, name: &Arc<str>) -> Option<&'c Arc<policy::Limit>> {
    let index = config
        .limits
        .binary_search_by_key(&name, |limit| &limit.name)
        .ok()?;
    config.limits.get(index)
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
    let mut tiers = Vec::with_capacity(limit.tiers.len());
    for tier in &limit.tiers {
        tiers.push(buckets_of(&tier.name, state, process)?);
    }
    let candidate = match &limit.candidate {
        Some(candidate) => state.limits.get(&candidate.name).cloned(),
        None => None,
    };
    Some(RouteLimit::new(
        Arc::clone(limit),
        name,
        buckets_of(&limit.name, state, process)?,
        tiers.into(),
        candidate,
        state.overrides.get(&limit.name).cloned(),
    ))
}

/// The buckets of the limit or tier of this name, as one route uses them.
fn buckets_of(name: &Arc<str>, state: &State, process: &Process) -> Option<Buckets> {
    Some(Buckets {
        limiter: state.limits.get(name)?.clone(),
        top: state.tops.get(name)?.clone(),
        begun: process.hasher.key(name),
        shared: store::buckets(name, state),
    })
}
