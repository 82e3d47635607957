//! The store of a configuration, and the limits that are in it.
//!
//! The store is built without waiting for it: its connections are made by
//! requests, and while it is out of reach, shared limits decide as the
//! configuration says. A reload that changes nothing about the store keeps its
//! connections and the batches in flight.

use std::sync::Arc;

use super::{
    named::Named,
    state::{Process, State},
};
use crate::{
    config::Config,
    layer::{SharedBuckets, SharedCap},
    limit::{KeyBuilder, Limiter},
    policy::Limit,
    store::{NameHasher, SharedLimit, Store},
};

/// The store, with the connections of the one before it if nothing about it has
/// changed.
///
/// `None` if the configuration has no store. Any difference in its settings,
/// such as an address, a password or a timeout, makes a new one; requests in
/// flight end with the store that they began with.
pub(super) fn store(
    config: &Config,
    earlier: Option<&State>,
    process: &Process,
) -> Option<Arc<Store>> {
    let settings = config.store.as_ref()?;
    let before = earlier.and_then(|earlier| earlier.store.as_ref());
    Some(match before {
        Some(before) if before.settings() == settings => Arc::clone(before),
        before => {
            let caps = before.map(|before| Arc::clone(before.caps()));
            let (workers, metrics) = (process.workers, process.metrics.store());
            Store::new(settings.clone(), workers, metrics, caps.unwrap_or_default())
        }
    })
}

/// The shared ones among the limits and their tiers, with what is known of
/// their buckets.
///
/// A limit that was shared before hands its knowledge to the new one of the
/// same name, unless another `max_keys` needs a table of another size.
/// Candidates are always local.
pub(super) fn limits(
    config: &Config,
    limiters: &Named<Limiter>,
    earlier: Option<&State>,
) -> Named<Arc<SharedLimit>> {
    let mut limits = Named::new();
    for limit in config.limits.iter().filter(|limit| limit.shared) {
        for name in limit.deciding() {
            let Some(limiter) = limiters.get(name) else {
                continue;
            };
            let before = earlier.and_then(|earlier| earlier.shared.get(name));
            let shared = SharedLimit::new(limiter.clone(), limit.max_keys, before.map(Arc::as_ref));
            limits.insert(Arc::clone(name), Arc::new(shared));
        }
    }
    limits
}

/// The requests in flight, over all gateways, of the limit or tier of this name,
/// which is a cap; `None` for a local one.
pub(super) fn cap(name: &Arc<str>, limit: &Limit, state: &State) -> Option<SharedCap> {
    let is_shared = limit.shared && limit.allowance.in_flight().is_some() && state.store.is_some();
    is_shared.then(|| SharedCap {
        limit: Arc::clone(name),
        begun: KeyBuilder::over(NameHasher::new(), name),
    })
}

/// The buckets in the store of the limit or tier of this name; `None` for a
/// local one.
///
/// The name of a bucket in the store is hashed without the secret of the
/// process, as several gateways must find the same one.
pub(super) fn buckets(name: &str, state: &State) -> Option<SharedBuckets> {
    let limit = state.shared.get(name).filter(|_| state.store.is_some())?;
    Some(SharedBuckets {
        limit: Arc::clone(limit),
        begun: KeyBuilder::over(NameHasher::new(), name),
    })
}
