//! Builds the gateway that serves from a configuration, and carries over the
//! state of the one before it.
//!
//! This runs once for each reload, on the control thread;
//! [`gateway`](crate::gateway) is the part that runs for each request. A
//! configuration comes in here as [`policies`](crate::policy), and leaves as
//! layers, tables and upstreams: no code that serves requests sees it.
//!
//! # State
//!
//! Everything that counts or remembers is carried over by its name ([`State`]):
//! buckets, concurrency limits with the requests in flight and in their queues,
//! retry budgets, upstreams with their connections and their health. A reload
//! therefore returns no token, admits no burst and closes no connection. State
//! of a kind that cannot be carried over, such as buckets whose key is another
//! one now, begins anew.
//!
//! # Order
//!
//! Steps that can fail come first: the tables, which compile regular
//! expressions, and upstreams, which read certificates. Steps that take effect
//! at once on state in use (new numbers for a limit or a concurrency limit)
//! come last, so that a configuration that cannot be built changes nothing.
//!
//! # Workers
//!
//! The routes are built once for each worker. Their tables and all state are
//! shared by reference; the stacks of layers are not, so that counting
//! references touches no memory that another worker touches.

mod concurrency;
mod destinations;
mod error;
mod keys;
mod limits;
mod named;
mod report;
mod saved;
mod state;
mod store;

use std::sync::Arc;

use http::Method;

use self::{concurrency::ConcurrencyLimits, destinations::ways, named::Named};
pub use self::{
    concurrency::ConcurrencyView,
    error::BuildError,
    keys::{KeyState, KnownKey, OneLimit},
    report::{Change, Report},
    saved::Persisted,
    state::{Process, State},
};
use crate::{
    call::{RouteTag, query::LoggedQuery},
    config::Config,
    gateway::{Disguises, Layers, Route, Routes, Snapshot, Target, Trust, table::Table},
    layer::{Budget, BufferLayer, BufferPolicy, Copies, Respond, TotalTimeoutLayer},
    policy,
    runtime::PerWorker,
    upstream::Upstream,
};

/// A generation that is ready to serve.
#[derive(Debug)]
pub struct Built {
    /// The state that the next generation keeps.
    pub state: State,
    /// The routes that requests are matched against.
    pub snapshot: Snapshot,
    /// The differences to the generation before it.
    pub report: Report,
}

/// Builds the generation that `config` describes; `earlier` is the state of the
/// one that serves now, `None` at the start of the process.
///
/// Blocks to compile regular expressions and to read certificates, so that it
/// must not run on a worker.
///
/// # Errors
/// The parts cannot be built of the configuration ([`BuildError`]). Nothing has
/// changed then, and the earlier generation goes on to serve.
pub fn build(
    config: Arc<Config>,
    earlier: Option<&State>,
    process: &Process,
) -> Result<Built, BuildError> {
    let table = Arc::new(Table::build(
        config.routes.iter().map(|route| &route.matches),
    )?);
    let disguises = Arc::new(Disguises::build(&config.routes, &config.upstreams)?);
    let upstreams = upstreams(&config, earlier, process)?;
    let budgets = budgets(&config, earlier, process);
    let concurrency = ConcurrencyLimits::new(&config, earlier.map(|earlier| &earlier.concurrency));
    let (limits, overrides) = limits::limits(&config, earlier, &process.hasher)?;
    process.buffers.set_bound(config.server.max_buffered);
    let report = report(&config, earlier);
    let store = store::store(&config, earlier, process);
    let shared = store::limits(&config, &limits, earlier);
    let (tops, hasher) = (
        limits::tops(&limits, earlier, process.workers),
        process.hasher,
    );
    let copies = copies_of(&config, earlier);
    let unknown_proxies = earlier
        .map(|earlier| Arc::clone(&earlier.unknown_proxies))
        .unwrap_or_default();
    let state = State {
        config,
        limits,
        tops,
        hasher,
        overrides,
        store,
        shared,
        concurrency,
        budgets,
        copies,
        upstreams,
        unknown_proxies,
        buffers: Arc::clone(&process.buffers),
    };
    let workers = PerWorker::workers_only(process.workers, |_| {
        routes(&state, &table, &disguises, process)
    });
    Ok(Built {
        snapshot: Snapshot { workers },
        state,
        report,
    })
}

/// The differences between `config` and the configuration before it.
///
/// At the start of the process, everything is new.
fn report(config: &Config, earlier: Option<&State>) -> Report {
    let before = earlier.map(|earlier| &*earlier.config);
    Report {
        limits: Report::compare(
            before
                .into_iter()
                .flat_map(|config| config.limits.iter().map(|limit| (&limit.name, &**limit))),
            config.limits.iter().map(|limit| (&limit.name, &**limit)),
        ),
        upstreams: Report::compare(
            before.into_iter().flat_map(|config| {
                config
                    .upstreams
                    .iter()
                    .map(|upstream| (&upstream.name, &**upstream))
            }),
            config
                .upstreams
                .iter()
                .map(|upstream| (&upstream.name, &**upstream)),
        ),
        routes: Report::compare(
            before
                .into_iter()
                .flat_map(|config| config.routes.iter().map(|route| (&route.name, &**route))),
            config.routes.iter().map(|route| (&route.name, &**route)),
        ),
    }
}

/// The retry budget of each route, with the counts of the one before it.
///
/// Every route has one, also without retries. New numbers of a budget in use
/// take effect here.
fn budgets(config: &Config, earlier: Option<&State>, process: &Process) -> Named<Arc<Budget>> {
    let budget = |route: &Arc<policy::Route>| {
        let (share, floor) = (route.retry.budget, route.retry.budget_min);
        let budget = match earlier.and_then(|earlier| earlier.budgets.get(&route.name)) {
            None => Arc::new(Budget::new(share, floor, process.workers)),
            Some(budget) => {
                budget.reconfigure(share, floor);
                Arc::clone(budget)
            }
        };
        (Arc::clone(&route.name), budget)
    };
    config.routes.iter().map(budget).collect()
}

/// The copies of each route with a mirror, those in flight included.
fn copies_of(config: &Config, earlier: Option<&State>) -> Named<Arc<Copies>> {
    let mirrored = config.routes.iter().filter(|route| route.mirror.is_some());
    let known = |name| {
        earlier
            .and_then(|earlier| earlier.copies.get(name))
            .cloned()
    };
    mirrored
        .map(|route| {
            (
                Arc::clone(&route.name),
                known(&route.name).unwrap_or_default(),
            )
        })
        .collect()
}

/// The upstreams of `config`: those that are configured as before are kept as
/// they are, and others take over the servers that they have in common with the
/// upstream of the same name before them.
///
/// # Errors
/// [`BuildError::Tls`].
fn upstreams(
    config: &Config,
    earlier: Option<&State>,
    process: &Process,
) -> Result<Named<Arc<Upstream>>, BuildError> {
    let upstream = |policy: &Arc<policy::Upstream>| {
        let name = &policy.name;
        let before = earlier.and_then(|earlier| earlier.upstreams.get(name));
        let built = match before.filter(|before| before.implements(policy)) {
            Some(kept) => Arc::clone(kept),
            None => {
                let metrics = process.metrics.upstream(name);
                let before = before.map(|before| &**before);
                let built = Upstream::new(Arc::clone(policy), before, process.workers, metrics)
                    .map_err(|why| BuildError::Tls {
                        name: Arc::clone(name),
                        why,
                    })?;
                Arc::new(built)
            }
        };
        Ok((Arc::clone(name), built))
    };
    config.upstreams.iter().map(upstream).collect()
}

/// The routes as one worker uses them.
///
/// Called once for each worker. The table and the disguises are shared; tags
/// and stacks are made anew, so that their counts of references are the
/// worker's own.
fn routes(
    state: &State,
    table: &Arc<Table>,
    disguises: &Arc<Disguises>,
    process: &Process,
) -> Routes {
    let access = state.config.log.access.then(|| process.access.clone());
    let tag = |route: &policy::Route| {
        Arc::new(RouteTag {
            name: Some(Arc::clone(&route.name)),
            limits: limits::names(route, &state.config),
            limit_headers: route.response.limit_headers,
            metrics: process.metrics.route(&route.name),
            access: access.clone(),
            query: LoggedQuery::new(
                state.config.log.query,
                limits::query_keys(route, &state.config),
            ),
        })
    };
    let route = |route: &Arc<policy::Route>| Route {
        tag: tag(route),
        stack: layers(route, state, process).stack(),
        max_body: route.request.max_body,
        max_call_body: route.request.max_call_body,
        callees: if route.grpc {
            callees(route, state)
        } else {
            [].into()
        },
        kept: route.request.keep_headers.clone().into(),
        forwards: matches!(
            route.action,
            policy::Action::Forward(_) | policy::Action::Split(_)
        ),
        takes_trace: route.matches.methods.contains(&Method::TRACE),
    };
    let routes: Vec<_> = state.config.routes.iter().map(route).collect();
    Routes {
        table: Arc::clone(table),
        disguises: Arc::clone(disguises),
        takes_calls: routes.iter().any(Route::takes_calls),
        routes,
        trust: Arc::new(Trust::new(
            &state.config.client_ip.trusted_proxies,
            state.config.client_ip.header,
            Arc::clone(&state.unknown_proxies),
        )),
        unmatched: Arc::new(RouteTag {
            name: None,
            limits: Vec::new(),
            limit_headers: policy::LimitHeaders::default(),
            metrics: process.metrics.unmatched(),
            access: access.clone(),
            query: LoggedQuery::new(state.config.log.query, [].into()),
        }),
    }
}

/// The upstreams that the gRPC calls of a route may be sent to.
fn callees(route: &policy::Route, state: &State) -> Box<[Arc<Upstream>]> {
    route
        .upstreams()
        .filter_map(|name| state.upstreams.get(name).cloned())
        .collect()
}

/// The layers of a route. A policy that the route does without is no layer.
fn layers(route: &policy::Route, state: &State, process: &Process) -> Layers {
    Layers {
        rate_limit: limits::layer(route, state, process),
        total_timeout: TotalTimeoutLayer::new(route.timeouts),
        buffer: buffers(route, process),
        concurrency: state.concurrency.of_route(route, &process.hasher),
        target: target(route, state, process),
    }
}

/// The buffers of a route's bodies, if it has any.
///
/// Both sizes are in bytes, and 0 lets bodies of that direction stream. `None`
/// if both are 0. The memory is that of the process, which bounds the sum over
/// all routes.
fn buffers(route: &policy::Route, process: &Process) -> Option<BufferLayer> {
    let (request, response) = (route.request.buffer, route.response.buffer);
    let policy = BufferPolicy {
        request,
        response,
        memory: Arc::clone(&process.buffers),
    };
    let policy = Arc::new(policy);
    (request > 0 || response > 0).then_some(BufferLayer { policy })
}

/// The innermost part of a route: its upstreams, or its own response.
fn target(route: &policy::Route, state: &State, process: &Process) -> Target {
    let mut ways = ways(route, state, process);
    // A route without an upstream responds by itself.
    if ways.is_empty() {
        return Target::Respond(Respond::new(&route.action, &route.response.headers));
    }
    let first = ways.remove(0);
    Target::Upstreams {
        first,
        others: ways,
    }
}
