//! Limits of a configuration: their buckets, which outlive it, and how each route applies them.

use std::sync::Arc;

use super::{
    BuildError,
    key_part::key_part,
    named::Named,
    state::{Process, State},
    store,
};
use crate::{
    config::Config,
    layer::{
        Cost, KeyPart, LimitPolicy, Missing, Overrides, Pattern, RateLimitLayer, Statuses, Tier,
    },
    limit::{Clock, KeyHasher, Limiter, LimiterError, Top},
    policy,
};

/// Buckets of limits, their tiers and their candidates, and the exceptions of limits that have some; by name.
pub(super) type Limits = (Named<Limiter>, Named<Arc<Overrides>>);

/// The limits of `config`, with the buckets of those before it. Other numbers take effect at once, when all else is done.
pub(super) fn limits(
    config: &Config,
    earlier: Option<&State>,
    hasher: &KeyHasher,
) -> Result<Limits, BuildError> {
    let (mut bases, mut overrides) = (Vec::new(), Named::new());
    for limit in &config.limits {
        // Buckets of another kind of key are other buckets: nothing of theirs can be carried over.
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
            if *name == limit.name && (!limit.overrides.is_empty() || limit.stand_ins.is_some()) {
                let built =
                    exceptions(limit, &base, hasher).map_err(|cause| failed(name, cause))?;
                overrides.insert(Arc::clone(name), Arc::new(built));
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

/// Who asks most of each limit and tier. What is known stays as long as the buckets do.
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

fn failed(name: &Arc<str>, cause: LimiterError) -> BuildError {
    BuildError::Limit {
        name: Arc::clone(name),
        cause,
    }
}

/// Everything about a limit that has buckets: itself, its tiers, its candidate.
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

fn exceptions(
    limit: &policy::Limit,
    limiter: &Limiter,
    hasher: &KeyHasher,
) -> Result<Overrides, LimiterError> {
    let (begun, parts) = (hasher.key(&limit.name), key(limit));
    let mut overrides = Overrides::default();
    for one in &limit.overrides {
        let patterns: Vec<Vec<_>> = one
            .matches
            .iter()
            .map(|values| values.iter().map(pattern).collect())
            .collect();
        overrides.push(
            &begun,
            &parts,
            &patterns,
            one.quota
                .map(|quota| limiter.key_quota(quota))
                .transpose()?,
        );
    }
    if let Some(quota) = limit.stand_ins {
        overrides.set_stand_ins(limiter.key_quota(quota)?);
    }
    Ok(overrides)
}

fn pattern(pattern: &policy::ValuePattern) -> Pattern {
    match pattern {
        policy::ValuePattern::Any => Pattern::Any,
        policy::ValuePattern::Text(text) => Pattern::Text(text.clone()),
        policy::ValuePattern::Network(network) => Pattern::Network(*network),
    }
}

/// The names under which a route's limits decide, each followed by its tiers.
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
pub(super) fn query_keys(route: &policy::Route, config: &Config) -> Arc<[Box<str>]> {
    let of_limit = |limit: &'_ Arc<policy::Limit>| {
        let stand_in = if let policy::Missing::Use(part) = &limit.missing {
            Some(part.clone())
        } else {
            None
        };
        limit
            .key
            .iter()
            .cloned()
            .chain(stand_in)
            .collect::<Vec<_>>()
    };
    let name = |part| {
        if let policy::KeyPart::Query(name) = part {
            Some(name)
        } else {
            None
        }
    };
    of_route(route, config)
        .flat_map(of_limit)
        .filter_map(name)
        .collect()
}

/// How a route applies its limits.
pub(super) fn layer(route: &policy::Route, state: &State, process: &Process) -> RateLimitLayer {
    let mut name = 0;
    let policies = of_route(route, &state.config).filter_map(|limit| {
        let policy = policy(limit, name, state, process);
        name += 1 + limit.tiers.len();
        policy
    });
    RateLimitLayer::new(policies, state.store.clone())
}

fn of_route<'c>(
    route: &'c policy::Route,
    config: &'c Config,
) -> impl Iterator<Item = &'c Arc<policy::Limit>> {
    // In name order, as the model has them.
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

fn policy(
    limit: &policy::Limit,
    name: usize,
    state: &State,
    process: &Process,
) -> Option<LimitPolicy> {
    let tier = |tier: &policy::Tier| {
        let limiter = state.limits.get(&tier.name)?.clone();
        let top = state.tops.get(&tier.name)?.clone();
        Some(Tier {
            limiter,
            top,
            begun: process.hasher.key(&tier.name),
            prefix: tier.prefix,
        })
    };
    Some(LimitPolicy {
        limiter: state.limits.get(&limit.name)?.clone(),
        top: state.tops.get(&limit.name)?.clone(),
        name,
        begun: process.hasher.key(&limit.name),
        key: key(limit),
        missing: match &limit.missing {
            policy::Missing::Use(part) => Missing::Use(key_part(part)),
            policy::Missing::Skip => Missing::Skip,
            policy::Missing::Refuse => Missing::Refuse,
        },
        status: limit.status,
        cost: match &limit.cost {
            policy::Cost::Fixed(cost) => Cost::Fixed(*cost),
            policy::Cost::Header { name, default, max } => Cost::Header {
                name: name.clone(),
                default: *default,
                max: *max,
            },
        },
        shadow: limit.shadow,
        candidate: limit
            .candidate
            .as_ref()
            .and_then(|candidate| state.limits.get(&candidate.name))
            .cloned(),
        count: limit
            .count
            .as_ref()
            .map(|count| Statuses::new(count.iter().map(|range| (range.first, range.last)))),
        overrides: state.overrides.get(&limit.name).cloned(),
        tiers: limit.tiers.iter().map(tier).collect::<Option<_>>()?,
        shared: store::policy(limit, state),
    })
}

fn key(limit: &policy::Limit) -> Vec<KeyPart> {
    limit.key.iter().map(key_part).collect()
}
