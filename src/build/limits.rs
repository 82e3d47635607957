//! Limits of a configuration: their buckets, which outlive it, and how each
//! route applies them.
//!
//! A limit keeps its buckets over a reload as long as its key stays the same.
//! New numbers (rate, burst, the number of keys) apply to them at once: a key
//! keeps the share of its burst that it has used, and its requests in flight.
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

use http::header::{CONTENT_ENCODING, CONTENT_TYPE};

use super::{
    charged,
    error::BuildError,
    named::Named,
    state::{Process, State},
    store,
};
use crate::{
    call::LimitText,
    config::Config,
    layer::{Buckets, Counter, Overrides, RateLimitLayer, RouteLimit, RouteLimitState},
    limit::{Bans, Clock, KeyHasher, KeysInFlight, Limiter, LimiterError, Now, Top},
    policy::{self, Allowance, CostSource, KeyPart, Missing},
};

/// The state of the limits of a configuration. Limits, their tiers
/// (`LIMIT/PREFIX`) and their candidates (`LIMIT/candidate`) have counters by
/// these names.
#[derive(Default)]
pub(super) struct Limits {
    /// The buckets of rates.
    pub(super) limiters: Named<Limiter>,
    /// The requests in flight of caps.
    pub(super) in_flight: Named<Arc<KeysInFlight>>,
    /// The exceptions of limits that have some, by the names of the limits.
    pub(super) overrides: Named<Arc<Overrides>>,
}

/// A counter that gets its new numbers once nothing can fail any more.
struct Prepared<'c> {
    limit: &'c policy::Limit,
    /// The name of the limit, or of the tier or candidate of it.
    name: &'c Arc<str>,
    allowance: Allowance,
    counter: Counter,
}

/// The limits of `config`, with the counters of those before it. Everything that
/// can fail is done first: new numbers take effect at once on buckets in use.
///
/// A limit counts as the same one if its name, its kind and the parts of its key
/// are equal. Otherwise it begins anew, as its keys or their counts mean
/// something else. Limits that are gone are left out here; their counters are
/// freed with the generation and the requests that hold them.
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
    let mut limits = Limits::default();
    for limit in &config.limits {
        let earlier = earlier.filter(|earlier| has_same_key(&earlier.config, limit));
        for (name, allowance) in counted(limit) {
            let counter = counter(limit, name, allowance, earlier)?;
            if *name == limit.name {
                let built = Overrides::build(limit, &counter, &hasher.key(name))
                    .map_err(|cause| failed(name, cause))?;
                if let Some(built) = built {
                    limits.overrides.insert(Arc::clone(name), Arc::new(built));
                }
            }
            prepared.push(Prepared {
                limit,
                name,
                allowance,
                counter,
            });
        }
    }
    let now = Clock.now();
    for one in prepared {
        limits.renew(one, now)?;
    }
    Ok(limits)
}

/// The counter of a limit, tier or candidate: that of `earlier`, or a new one.
///
/// # Errors
/// [`BuildError::Limit`] if the buckets cannot be made.
fn counter(
    limit: &policy::Limit,
    name: &Arc<str>,
    allowance: Allowance,
    earlier: Option<&State>,
) -> Result<Counter, BuildError> {
    Ok(match allowance {
        Allowance::Rate(quota) => {
            let before = earlier.and_then(|earlier| earlier.limits.get(name));
            let new = || Limiter::new(Arc::clone(name), quota, limit.max_keys);
            let limiter = before.map_or_else(new, |before| Ok(before.clone()));
            Counter::Tokens(limiter.map_err(|cause| failed(name, cause))?)
        }
        Allowance::InFlight(_) => {
            let before = earlier.and_then(|earlier| earlier.in_flight.get(name));
            let new = || Arc::new(KeysInFlight::new(limit.max_keys));
            Counter::InFlight(before.map_or_else(new, Arc::clone))
        }
    })
}

impl Limits {
    /// Adds a counter, which takes its new numbers.
    ///
    /// # Errors
    /// [`BuildError::Limit`] if the buckets cannot be made.
    fn renew(&mut self, prepared: Prepared<'_>, now: Now) -> Result<(), BuildError> {
        let Prepared {
            limit,
            name,
            allowance,
            counter,
        } = prepared;
        match (counter, allowance) {
            (Counter::Tokens(limiter), Allowance::Rate(quota)) => {
                let limiter = limiter
                    .reconfigured(quota, limit.max_keys, now)
                    .map_err(|cause| failed(name, cause))?;
                self.limiters.insert(Arc::clone(name), limiter);
            }
            (Counter::InFlight(in_flight), _) => {
                in_flight.set_max_keys(limit.max_keys);
                self.in_flight.insert(Arc::clone(name), in_flight);
            }
            // A counter is of the kind of its allowance.
            (Counter::Tokens(_), Allowance::InFlight(_)) => {}
        }
        Ok(())
    }
}

/// Whether an earlier configuration has this limit with the same parts of its
/// key. Buckets of another kind of key are other buckets: nothing of theirs can
/// be carried over.
fn has_same_key(earlier: &Config, limit: &policy::Limit) -> bool {
    find(earlier, &limit.name).is_some_and(|before| before.key == limit.key)
}

/// The heaviest keys of each limit and tier. Their counts are kept as long as
/// the counters are.
///
/// Each is made for `workers` threads, which count on their own. A limit that
/// began anew has an empty list, since its keys are other ones.
pub(super) fn tops(limits: &Limits, earlier: Option<&State>, workers: usize) -> Named<Arc<Top>> {
    let mut tops = Named::new();
    let is_same = |name: &str, limiter: &Limiter| {
        let before = earlier.and_then(|earlier| earlier.limits.get(name));
        before.is_some_and(|before| before.is_same(limiter))
    };
    let is_one = |name: &str, in_flight: &Arc<KeysInFlight>| {
        let before = earlier.and_then(|earlier| earlier.in_flight.get(name));
        before.is_some_and(|before| Arc::ptr_eq(before, in_flight))
    };
    let limiters = limits.limiters.iter();
    let limiters = limiters.map(|(name, limiter)| (name, is_same(name, limiter)));
    let in_flight = limits.in_flight.iter();
    let in_flight = in_flight.map(|(name, counter)| (name, is_one(name, counter)));
    for (name, is_kept) in limiters.chain(in_flight) {
        let kept = earlier.filter(|_| is_kept);
        let kept = kept.and_then(|earlier| earlier.tops.get(name));
        let new = || Arc::new(Top::new(workers));
        tops.insert(Arc::clone(name), kept.map_or_else(new, Arc::clone));
    }
    tops
}

/// The bans of the limits that have some. They are kept as long as the key of
/// the limit and its `ban` are there, whatever its numbers. A limit that goes
/// into shadow mode, or comes from there, begins anew: nobody is banned by the
/// one, and counts of the other have refused nobody.
pub(super) fn bans(config: &Config, earlier: Option<&State>) -> Named<Arc<Bans>> {
    let mut bans = Named::new();
    for limit in &config.limits {
        if limit.ban.is_none() {
            continue;
        }
        let is_same =
            |before: &Arc<policy::Limit>| before.key == limit.key && before.shadow == limit.shadow;
        let kept =
            earlier.filter(|earlier| find(&earlier.config, &limit.name).is_some_and(is_same));
        let kept = kept.and_then(|earlier| earlier.bans.get(&limit.name));
        bans.insert(Arc::clone(&limit.name), kept.cloned().unwrap_or_default());
    }
    bans
}

/// The error of a limit whose buckets cannot be made.
fn failed(name: &Arc<str>, cause: LimiterError) -> BuildError {
    BuildError::Limit {
        name: Arc::clone(name),
        cause,
    }
}

/// Everything about a limit that has counters: itself, its tiers, its candidate.
///
/// The limit itself comes first, then its tiers in their order, then the
/// candidate.
fn counted(limit: &policy::Limit) -> Vec<(&Arc<str>, Allowance)> {
    let mut counted = vec![(&limit.name, limit.allowance)];
    for tier in &limit.tiers {
        counted.push((&tier.name, tier.allowance));
    }
    if let Some(candidate) = &limit.candidate {
        counted.push((&candidate.name, candidate.allowance));
    }
    counted
}

/// The names under which a route's limits decide, each followed by its tiers;
/// then those of limits on wrong credentials that are not among them.
///
/// The position of a name is the number by which requests note the limit, so
/// that the order must be that of `layer`. Candidates refuse nobody and have no
/// name here.
pub(super) fn names(route: &policy::Route, config: &Config) -> Vec<Arc<str>> {
    let mut names = Vec::new();
    for limit in of_route(route, config).chain(charged::charged(route, config)) {
        names.extend(limit.deciding().cloned());
    }
    names
}

/// The texts about a route's limits, in the order of their names.
pub(super) fn texts(route: &policy::Route, config: &Config) -> Box<[LimitText]> {
    let mut texts = Vec::new();
    for limit in of_route(route, config).chain(charged::charged(route, config)) {
        let is_in_bytes = limit.cost.is_in_bytes();
        texts.push(LimitText::new(limit.allowance, is_in_bytes));
        let tiers = limit.tiers.iter();
        texts.extend(tiers.map(|tier| LimitText::new(tier.allowance, is_in_bytes)));
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
    let changes = changes_late(route, &state.config).then(|| route.response.headers.clone());
    // A permit is held no longer for a client that has left than for one that
    // waits.
    let log = &state.config.log;
    RateLimitLayer::new(limits, state.store.clone(), route.timeouts.attempt)
        .with_changes(changes)
        .noting_keys(log.access && log.keys)
}

/// Whether the changes of a route in responses are made only after its limits
/// have read them, because a cost is found in a field that they concern.
pub(super) fn changes_late(route: &policy::Route, config: &Config) -> bool {
    let changes = &route.response.headers;
    of_route(route, config)
        .filter_map(|limit| limit.cost.in_the_end())
        .any(|cost| match &cost.source {
            CostSource::ResponseHeader(name) | CostSource::ResponseTrailer(name) => {
                changes.concerns(name)
            }
            CostSource::ResponseJson(_) => {
                changes.concerns(&CONTENT_TYPE) || changes.concerns(&CONTENT_ENCODING)
            }
            CostSource::RequestBytes | CostSource::ResponseBytes | CostSource::Bytes => false,
        })
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
/// `None` if the state lacks the counters of the limit or of one of its tiers. A
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
        tiers.push(buckets_of(&tier.name, limit, state, process)?);
    }
    let candidate = match &limit.candidate {
        Some(candidate) => state.counter(&candidate.name),
        None => None,
    };
    let state = RouteLimitState {
        own: buckets_of(&limit.name, limit, state, process)?,
        tiers: tiers.into(),
        candidate,
        overrides: state.overrides.get(&limit.name).cloned(),
        bans: state.bans.get(&limit.name).cloned(),
    };
    Some(RouteLimit::new(Arc::clone(limit), name, state))
}

/// The buckets of the limit, or of its tier, of this name, as one route uses
/// them.
fn buckets_of(
    name: &Arc<str>,
    limit: &policy::Limit,
    state: &State,
    process: &Process,
) -> Option<Buckets> {
    Some(Buckets {
        counter: state.counter(name)?,
        top: state.tops.get(name)?.clone(),
        begun: process.hasher.key(name),
        shared: store::buckets(name, state),
        shared_cap: store::cap(name, limit, state),
    })
}
