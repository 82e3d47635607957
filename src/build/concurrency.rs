//! The concurrency limits of a generation: carried over by name, and applied to
//! each route.
//!
//! Requests in flight hold permits of the limit itself, so that a limit which
//! is carried over counts them on. A limit that is gone from the configuration
//! lives until its last permit is dropped.
//!
//! # Two kinds
//!
//! A route may have a limit of its own, and an upstream may have one that all
//! routes to it share. A route and an upstream of one name are distinct, as
//! they are kept in two maps. Both kinds are the same type; they differ in
//! whether the priority of routes counts in the queue.
//!
//! # Reload
//!
//! New numbers take effect when this module runs. A limit that is lower than
//! the number of requests in flight cancels none of them: no permit is handed
//! out until enough have come back. A queue that has become shorter keeps the
//! requests that already wait.

use std::sync::Arc;

use super::named::Named;
use crate::{
    config::Config,
    error::LimitOwner,
    layer::{ConcurrencyLayer, ConcurrencyLimit, FairBy, Queueing},
    limit::KeyHasher,
    policy::{Concurrency, Priority, Route, Upstream},
};

/// The state of a concurrency limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConcurrencyView {
    /// Requests that may be in flight now.
    pub limit: usize,
    /// Requests in flight whose client waits.
    pub in_flight: usize,
    /// Requests in flight whose client has left and on which a server works.
    pub abandoned: usize,
    /// Requests in the queue.
    pub queued: usize,
}

impl ConcurrencyView {
    /// The state of `limit` now. The numbers are read one after the other, so
    /// that they may be a request apart.
    ///
    /// `in_flight` and `abandoned` do not overlap: their sum is the number of
    /// permits that are held. The difference is bounded at zero, since the two
    /// counts are not read together.
    pub(super) fn of(limit: &ConcurrencyLimit) -> Self {
        let abandoned = limit.abandoned();
        Self {
            limit: limit.max(),
            in_flight: limit.in_flight().saturating_sub(abandoned),
            abandoned,
            queued: limit.queued(),
        }
    }
}

/// All concurrency limits, by the names of the routes and upstreams that they
/// are set on.
#[derive(Debug)]
pub(super) struct ConcurrencyLimits {
    /// By the names of their routes.
    pub(super) routes: Named<Arc<ConcurrencyLimit>>,
    /// By the names of their upstreams.
    pub(super) upstreams: Named<Arc<ConcurrencyLimit>>,
}

impl ConcurrencyLimits {
    /// The limits of `config`. Those that were there before take their new
    /// numbers at once.
    ///
    /// `before` is `None` at the start of the process. Limits that `config`
    /// lacks are not taken over.
    pub(super) fn new(config: &Config, before: Option<&Self>) -> Self {
        let mut routes = Named::new();
        for route in &config.routes {
            if let Some(settings) = &route.concurrency {
                let name = Arc::clone(&route.name);
                let before = before.and_then(|limits| limits.routes.get(&name));
                let owner = LimitOwner::Route(Arc::clone(&name));
                routes.insert(name, carried_over(before, owner, settings));
            }
        }
        let mut upstreams = Named::new();
        for upstream in config.called() {
            if let Some(settings) = &upstream.concurrency {
                let name = Arc::clone(&upstream.name);
                let before = before.and_then(|limits| limits.upstreams.get(&name));
                let owner = LimitOwner::Upstream(Arc::clone(&name));
                upstreams.insert(name, carried_over(before, owner, settings));
            }
        }
        Self { routes, upstreams }
    }

    /// The limit that a route has for itself; `None` if it has none. All
    /// requests in its queue are of one priority.
    pub(super) fn of_route(&self, route: &Route, hasher: &KeyHasher) -> Option<ConcurrencyLayer> {
        layer(
            self.routes.get(&route.name),
            route.concurrency.as_ref(),
            route,
            hasher,
            Priority::Normal,
        )
    }

    /// The limit that a route shares with all other routes to an upstream;
    /// `None` if the upstream has none.
    pub(super) fn of_upstream(
        &self,
        upstream: &Upstream,
        route: &Route,
        hasher: &KeyHasher,
    ) -> Option<ConcurrencyLayer> {
        layer(
            self.upstreams.get(&upstream.name),
            upstream.concurrency.as_ref(),
            route,
            hasher,
            route.priority,
        )
    }

    /// The limit of an upstream as copies of requests pass it: they do not wait
    /// for a permit.
    ///
    /// A copy that finds no free permit is dropped, and one that holds a permit
    /// returns it when it ends, without a time of grace for abandoned work.
    /// `None` if the upstream has no limit.
    pub(super) fn of_copies(&self, upstream: &str) -> Option<ConcurrencyLayer> {
        let limit = Arc::clone(self.upstreams.get(upstream)?);
        Some(ConcurrencyLayer::new(limit, None, None))
    }
}

/// The limit that was there before, with its new numbers, or else a new one.
///
/// `owner` is the name that errors and fields of responses show for the limit.
fn carried_over(
    before: Option<&Arc<ConcurrencyLimit>>,
    owner: LimitOwner,
    settings: &Concurrency,
) -> Arc<ConcurrencyLimit> {
    match before {
        None => Arc::new(ConcurrencyLimit::new(owner, settings)),
        Some(limit) => {
            limit.reconfigure(settings);
            Arc::clone(limit)
        }
    }
}

/// The layer that applies `limit` to a route; `None` without a limit.
///
/// Both are there or both are absent, since the limits are made from the same
/// settings. `priority` is that of the route in the queue. A permit of a
/// request whose client has left is held for `attempt` at most.
fn layer(
    limit: Option<&Arc<ConcurrencyLimit>>,
    settings: Option<&Concurrency>,
    route: &Route,
    hasher: &KeyHasher,
    priority: Priority,
) -> Option<ConcurrencyLayer> {
    let limit = limit?;
    let settings = settings?;
    let fair_by = FairBy {
        // The keys of all routes under one limit begin alike, so that a tenant
        // is the same one by whatever route it comes.
        begun: hasher.key(limit.owner().name()),
        parts: settings.fair_by.clone(),
    };
    // A permit is held no longer for a client that has left than for one that
    // waits.
    let abandoned_timeout = Some(route.timeouts.attempt);
    Some(ConcurrencyLayer::new(
        Arc::clone(limit),
        abandoned_timeout,
        Some(Queueing { priority, fair_by }),
    ))
}
