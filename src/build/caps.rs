//! The caps of a generation: carried over by name, and how a route stands under them.

use std::sync::Arc;

use super::named::Named;
use crate::{
    config::Config,
    error::CapName,
    layer::{
        Bound, Bounds, Cap, CapPolicy, CapSettings, ConcurrencyLayer, FairBy, Priority, Standing,
    },
    limit::KeyHasher,
    policy,
};

/// What there is to say of a cap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CapView {
    /// Places in all, as it is now.
    pub limit: usize,
    /// Requests that hold one and whose client waits.
    pub in_flight: usize,
    /// Requests that hold one and whose client has left: a server works on them.
    pub abandoned: usize,
    /// Requests that wait for one.
    pub queued: usize,
}

impl CapView {
    pub(super) fn of(cap: &Cap) -> Self {
        let abandoned = cap.abandoned();
        Self {
            limit: cap.max(),
            in_flight: cap.in_flight().saturating_sub(abandoned),
            abandoned,
            queued: cap.queued(),
        }
    }
}

/// All caps, by the names of what they are set on.
#[derive(Debug)]
pub(super) struct Caps {
    pub(super) routes: Named<Arc<Cap>>,
    pub(super) upstreams: Named<Arc<Cap>>,
}

impl Caps {
    /// Those of `config`. Caps that were there before take their new numbers at once.
    pub(super) fn new(config: &Config, before: Option<&Self>) -> Self {
        let routes = config
            .routes
            .iter()
            .map(|route| (&route.name, route.concurrency.as_ref()));
        let upstreams = config
            .upstreams
            .iter()
            .map(|upstream| (&upstream.name, upstream.concurrency.as_ref()));
        Self {
            routes: carried_over(routes, before.map(|caps| &caps.routes), CapName::Route),
            upstreams: carried_over(
                upstreams,
                before.map(|caps| &caps.upstreams),
                CapName::Upstream,
            ),
        }
    }

    /// What a route passes of its own.
    pub(super) fn of_route(&self, route: &policy::Route, hasher: &KeyHasher) -> ConcurrencyLayer {
        // All that wait under a route's cap are of one priority.
        layer(
            self.routes.get(&route.name),
            route.concurrency.as_ref(),
            route,
            &route.name,
            Priority::Normal,
            hasher,
        )
    }

    /// What a route passes together with the other routes to an upstream.
    pub(super) fn of_upstream(
        &self,
        upstream: &policy::Upstream,
        route: &policy::Route,
        hasher: &KeyHasher,
    ) -> ConcurrencyLayer {
        let priority = match route.priority {
            policy::Priority::High => Priority::High,
            policy::Priority::Normal => Priority::Normal,
            policy::Priority::Low => Priority::Low,
        };
        let bounds = upstream.concurrency.as_ref();
        layer(
            self.upstreams.get(&upstream.name),
            bounds,
            route,
            &upstream.name,
            priority,
            hasher,
        )
    }

    /// What copies for an upstream pass: its cap, if a place is free at once.
    pub(super) fn of_copies(&self, upstream: &str) -> ConcurrencyLayer {
        let policy = |cap: &Arc<Cap>| {
            Arc::new(CapPolicy {
                cap: Arc::clone(cap),
                linger: None,
                line: None,
            })
        };
        ConcurrencyLayer {
            policy: self.upstreams.get(upstream).map(policy),
        }
    }
}

fn carried_over<'a>(
    capped: impl Iterator<Item = (&'a Arc<str>, Option<&'a policy::Concurrency>)>,
    before: Option<&Named<Arc<Cap>>>,
    named: fn(Arc<str>) -> CapName,
) -> Named<Arc<Cap>> {
    let cap = |(name, bounds): (&Arc<str>, Option<&policy::Concurrency>)| {
        let settings = settings(bounds?);
        let cap = match before.and_then(|caps| caps.get(name)) {
            None => Arc::new(Cap::new(named(Arc::clone(name)), settings)),
            Some(cap) => {
                cap.reconfigure(settings);
                Arc::clone(cap)
            }
        };
        Some((Arc::clone(name), cap))
    };
    capped.filter_map(cap).collect()
}

fn settings(bounds: &policy::Concurrency) -> CapSettings {
    let bound = match bounds.bound {
        policy::Bound::Fixed(max) => Bound::Fixed(max.get()),
        policy::Bound::Adaptive { min, max } => Bound::Adaptive(Bounds {
            min: min.get(),
            max: max.get(),
        }),
    };
    CapSettings {
        bound,
        queue: bounds.queue,
        queue_timeout: bounds.queue_timeout,
    }
}

/// The keys of all routes under one cap begin alike: a tenant is one tenant, by whatever route he comes.
fn layer(
    cap: Option<&Arc<Cap>>,
    bounds: Option<&policy::Concurrency>,
    route: &policy::Route,
    name: &str,
    priority: Priority,
    hasher: &KeyHasher,
) -> ConcurrencyLayer {
    let policy = |(cap, bounds): (&Arc<Cap>, &policy::Concurrency)| {
        let fair_by = FairBy {
            begun: hasher.key(name),
            parts: bounds.fair_by.clone(),
        };
        // No longer than a client that waits has it tried.
        let linger = Some(route.timeouts.attempt);
        Arc::new(CapPolicy {
            cap: Arc::clone(cap),
            linger,
            line: Some(Standing { priority, fair_by }),
        })
    };
    ConcurrencyLayer {
        policy: cap.zip(bounds).map(policy),
    }
}
