//! What outlives a reload, by name: buckets, caps, retry budgets, upstreams.

use std::{collections::BTreeMap, sync::Arc};

use super::caps::{CapView, Caps};
use crate::{
    config::model::Config,
    layer::Budget,
    limit::{KeyHasher, Limiter},
    telemetry::{AccessLog, Metrics},
    upstream::Upstream,
};

/// Things with a name.
pub(super) type Named<T> = BTreeMap<Arc<str>, T>;

/// The state of a running gateway, as of one configuration.
#[derive(Debug)]
pub struct State {
    /// What it was built from.
    pub config: Arc<Config>,
    pub(super) limits: Named<Limiter>,
    pub(super) caps: Caps,
    pub(super) budgets: Named<Arc<Budget>>,
    pub(super) upstreams: Named<Arc<Upstream>>,
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
}

impl State {
    /// Limits by name.
    pub fn limits(&self) -> impl Iterator<Item = (&Arc<str>, &Limiter)> {
        self.limits.iter()
    }

    /// Caps by the name of their route.
    pub fn caps(&self) -> impl Iterator<Item = (&Arc<str>, CapView)> {
        self.caps.routes.iter().map(|(name, cap)| (name, CapView::of(cap)))
    }

    /// Caps by the name of their upstream.
    pub fn upstream_caps(&self) -> impl Iterator<Item = (&Arc<str>, CapView)> {
        self.caps.upstreams.iter().map(|(name, cap)| (name, CapView::of(cap)))
    }

    /// Upstreams by name.
    pub fn upstreams(&self) -> impl Iterator<Item = (&Arc<str>, &Arc<Upstream>)> {
        self.upstreams.iter()
    }
}
