//! What outlives a reload, by name: buckets, caps, retry budgets, upstreams.

use std::sync::Arc;

use super::{
    concurrency::{ConcurrencyLimits, ConcurrencyView},
    named::Named,
};
use crate::{
    config::Config,
    gateway::UnknownProxies,
    layer::{Budget, Copies, Memory, Overrides},
    limit::{KeyHasher, Limiter, Top},
    store::{SharedLimit, Store},
    telemetry::{AccessLog, Metrics},
    upstream::Upstream,
};

/// The state of a running gateway, as of one configuration.
#[derive(Debug)]
pub struct State {
    /// What it was built from.
    pub config: Arc<Config>,
    /// Of limits, their tiers and candidates.
    pub(super) limits: Named<Limiter>,
    /// Of the same.
    pub(super) tops: Named<Arc<Top>>,
    /// Makes the keys of their buckets.
    pub(super) hasher: KeyHasher,
    pub(super) overrides: Named<Arc<Overrides>>,
    /// Where shared limits are counted, and what this gateway knows of each and
    /// of its tiers.
    pub(super) store: Option<Arc<Store>>,
    pub(super) shared: Named<Arc<SharedLimit>>,
    pub(super) concurrency: ConcurrencyLimits,
    pub(super) budgets: Named<Arc<Budget>>,
    pub(super) copies: Named<Arc<Copies>>,
    pub(super) upstreams: Named<Arc<Upstream>>,
    /// Peers that the log has told of as proxies that nobody named.
    pub(super) unknown_proxies: Arc<UnknownProxies>,
    pub(super) buffers: Arc<Memory>,
}

/// What the process gives to every generation.
#[derive(Debug, Clone)]
pub struct Process {
    /// Worker threads.
    pub workers: usize,
    /// Where things are counted.
    pub metrics: Arc<Metrics>,
    /// Where access lines go, when they are wanted.
    pub access: AccessLog,
    /// Makes the keys of buckets; another one would lose them all.
    pub hasher: KeyHasher,
    /// The memory for bodies that are buffered.
    pub buffers: Arc<Memory>,
}

impl State {
    /// Limits by name, with their tiers (`LIMIT/56`) and candidates
    /// (`LIMIT/candidate`).
    pub fn limits(&self) -> impl Iterator<Item = (&Arc<str>, &Limiter)> {
        self.limits.iter()
    }

    /// Buckets in the store that this gateway knows, of the shared limit or
    /// tier of this name; none of a local one.
    pub fn known_in_store(&self, name: &str) -> usize {
        self.shared.get(name).map_or(0, |limit| limit.keys())
    }

    /// The store of shared limits.
    pub fn store(&self) -> Option<&Arc<Store>> {
        self.store.as_ref()
    }

    /// Concurrency limits by the name of their route.
    pub fn route_concurrency(&self) -> impl Iterator<Item = (&Arc<str>, ConcurrencyView)> {
        self.concurrency
            .routes
            .iter()
            .map(|(name, limit)| (name, ConcurrencyView::of(limit)))
    }

    /// Concurrency limits by the name of their upstream.
    pub fn upstream_concurrency(&self) -> impl Iterator<Item = (&Arc<str>, ConcurrencyView)> {
        self.concurrency
            .upstreams
            .iter()
            .map(|(name, limit)| (name, ConcurrencyView::of(limit)))
    }

    /// Begins to check the servers of this configuration, and ends the checks
    /// of `before` that are not its own.
    pub fn take_over_checks(&self, before: Option<&Self>) {
        for (name, upstream) in before.into_iter().flat_map(|before| &before.upstreams) {
            if !self
                .upstreams
                .get(name)
                .is_some_and(|kept| Arc::ptr_eq(kept, upstream))
            {
                upstream.stop_checks();
            }
        }
        self.upstreams
            .values()
            .for_each(|upstream| upstream.start_checks());
    }

    /// Bytes of bodies that are buffered now.
    pub fn buffered(&self) -> usize {
        self.buffers.taken()
    }

    /// Upstreams by name.
    pub fn upstreams(&self) -> impl Iterator<Item = (&Arc<str>, &Arc<Upstream>)> {
        self.upstreams.iter()
    }
}
