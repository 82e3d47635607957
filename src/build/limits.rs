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
    limit::{Clock, KeyHasher, Limiter, Quota, Rate, Settings, SettingsError, Top},
    policy,
};

/// Buckets of limits, their tiers and their candidates, and the exceptions of limits that have some; by name.
pub(super) type Limits = (Named<Limiter>, Named<Arc<Overrides>>);

/// Says whether limits can be built from all numbers there are.
pub(super) fn check(config: &Config) -> Result<(), BuildError> {
    for limit in &config.limits {
        let others = limit
            .overrides
            .iter()
            .filter_map(|one| one.numbers)
            .chain(limit.stand_ins);
        for numbers in others.chain(buckets(limit).map(|(_, numbers)| numbers)) {
            Quota::new(rate(numbers.rate), numbers.burst)
                .map_err(|cause| failed(&limit.name, cause))?;
        }
    }
    Ok(())
}

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
        for (name, numbers) in buckets(limit) {
            let settings = settings(limit, numbers);
            let base = match earlier.and_then(|earlier| earlier.limits.get(name)) {
                None => Limiter::new(Arc::clone(name), &settings)
                    .map_err(|cause| failed(name, cause))?,
                Some(before) => before.clone(),
            };
            if *name == limit.name && (!limit.overrides.is_empty() || limit.stand_ins.is_some()) {
                let built =
                    exceptions(limit, &base, hasher).map_err(|cause| failed(name, cause))?;
                overrides.insert(Arc::clone(name), Arc::new(built));
            }
            bases.push((name, base, settings));
        }
    }
    let now = Clock.now();
    let live = |(name, base, settings): (&Arc<str>, Limiter, Settings)| {
        let limiter = base
            .reconfigured(&settings, now)
            .map_err(|cause| failed(name, cause))?;
        Ok((Arc::clone(name), limiter))
    };
    Ok((
        bases
            .into_iter()
            .map(live)
            .collect::<Result<_, BuildError>>()?,
        overrides,
    ))
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

fn failed(name: &Arc<str>, cause: SettingsError) -> BuildError {
    BuildError::Limit {
        name: Arc::clone(name),
        cause,
    }
}

/// Everything about a limit that has buckets: itself, its tiers, its candidate.
fn buckets(limit: &policy::Limit) -> impl Iterator<Item = (&Arc<str>, policy::Numbers)> {
    let own = (&limit.name, limit.numbers());
    let tiers = limit.tiers.iter().map(|tier| (&tier.name, tier.numbers));
    std::iter::once(own).chain(tiers).chain(
        limit
            .candidate
            .as_ref()
            .map(|candidate| (&candidate.name, candidate.numbers)),
    )
}

fn settings(limit: &policy::Limit, numbers: policy::Numbers) -> Settings {
    Settings {
        rate: rate(numbers.rate),
        burst: numbers.burst,
        max_keys: limit.max_keys,
    }
}

pub(super) fn rate(rate: policy::Rate) -> Rate {
    Rate {
        count: rate.count,
        period: rate.period,
    }
}

fn exceptions(
    limit: &policy::Limit,
    limiter: &Limiter,
    hasher: &KeyHasher,
) -> Result<Overrides, SettingsError> {
    let (begun, parts) = (hasher.key(&limit.name), key(limit));
    let mut overrides = Overrides::default();
    let quota = |numbers: policy::Numbers| limiter.other_quota(rate(numbers.rate), numbers.burst);
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
            one.numbers.map(quota).transpose()?,
        );
    }
    if let Some(numbers) = limit.stand_ins {
        overrides.set_stand_ins(quota(numbers)?);
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::config::{Environment, parse};

    proptest! {
        /// What the configuration lets through must not fail when it is built: then it would be too late for a diagnostic.
        #[test]
        fn limits_that_are_sound_can_be_built(
            count in 1..=u32::MAX,
            seconds in 1..=365 * 24 * 60 * 60_u64,
            burst in prop_oneof![1..=200_u32, 1..=u32::MAX],
            small in 0..2_u32,
        ) {
            let count = if small == 0 { count } else { count % 10 + 1 };
            let text = format!(
                "[limits.l]\nrate = '{count}/{seconds}s'\nburst = {burst}\n[[routes]]\nname = 'r'\nrespond = {{}}\n"
            );
            if let Ok(config) = parse("test.toml", &text, &Environment::new()) {
                prop_assert!(check(&config).is_ok(), "{text}");
            }
        }
    }
}
