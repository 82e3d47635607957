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

mod charged;
mod concurrency;
mod destinations;
mod error;
mod identities;
mod keys;
mod limits;
mod lines;
mod named;
mod report;
mod saved;
mod state;
mod store;
mod traces;

use std::sync::Arc;

use http::Method;

use self::{concurrency::ConcurrencyLimits, destinations::ways, lines::AccessLines, named::Named};
pub use self::{
    concurrency::ConcurrencyView,
    error::BuildError,
    keys::{KeyState, KnownKey, OneLimit, ResetOutcome},
    report::{Change, Report},
    saved::Persisted,
    state::{Process, State},
};
use crate::{
    call::RouteTag,
    config::Config,
    gateway::{Disguises, Layers, Route, RouteTarget, Routes, Snapshot, Trust, table::RouteTable},
    layer::{
        Budget, BufferLayer, BufferPolicy, Copies, LimitReport, RateLimitLayer, Respond,
        TotalTimeoutLayer,
    },
    policy,
    upstream::CurrentUpstream,
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
    let table = Arc::new(RouteTable::build(
        config.routes.iter().map(|route| &route.matches),
    )?);
    let disguises = Arc::new(Disguises::build(&config.routes, &config.upstreams)?);
    let upstreams = upstreams(&config, earlier, process)?;
    let budgets = budgets(&config, earlier, process);
    let concurrency = ConcurrencyLimits::new(&config, earlier.map(|earlier| &earlier.concurrency));
    let limits = limits::limits(&config, earlier, &process.hasher)?;
    process.buffers.set_bound(config.server.max_buffered);
    let before = earlier.map(|earlier| &*earlier.config);
    let report = Report::between(before, &config);
    let store = store::store(&config, earlier, process);
    let shared = store::limits(&config, &limits.limiters, earlier);
    let tops = limits::tops(&limits, earlier, process.workers);
    let bans = limits::bans(&config, earlier);
    let copies = copies(&config, earlier);
    let exporter = traces::exporter(&config, earlier, process)?;
    let identities::Identities { by_name, checks } =
        identities::identities(&config, earlier, process)?;
    let unknown_proxies = earlier
        .map(|earlier| Arc::clone(&earlier.unknown_proxies))
        .unwrap_or_default();
    let state = State {
        config,
        limits: limits.limiters,
        in_flight: limits.in_flight,
        tops,
        bans,
        hasher: process.hasher,
        identities: by_name,
        checks,
        overrides: limits.overrides,
        store,
        shared,
        concurrency,
        budgets,
        copies,
        exporter,
        upstreams,
        unknown_proxies,
        buffers: Arc::clone(&process.buffers),
    };
    let snapshot = Snapshot::new(process.workers, || {
        routes(&state, &table, &disguises, process)
    });
    Ok(Built {
        snapshot,
        state,
        report,
    })
}

/// The retry budget of each route, with the counts of the one before it.
///
/// Every route has one, also without retries. New numbers of a budget in use
/// take effect here.
fn budgets(config: &Config, earlier: Option<&State>, process: &Process) -> Named<Arc<Budget>> {
    let mut budgets = Named::new();
    for route in &config.routes {
        let share = route.retry.budget;
        let floor = route.retry.budget_min;
        let budget = match earlier.and_then(|earlier| earlier.budgets.get(&route.name)) {
            None => Arc::new(Budget::new(share, floor, process.workers)),
            Some(budget) => {
                budget.reconfigure(share, floor);
                Arc::clone(budget)
            }
        };
        budgets.insert(Arc::clone(&route.name), budget);
    }
    budgets
}

/// The copies of each route with a mirror, those in flight included.
fn copies(config: &Config, earlier: Option<&State>) -> Named<Arc<Copies>> {
    let mut copies = Named::new();
    for route in &config.routes {
        if route.mirror.is_none() {
            continue;
        }
        let before = earlier.and_then(|earlier| earlier.copies.get(&route.name));
        copies.insert(Arc::clone(&route.name), before.cloned().unwrap_or_default());
    }
    copies
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
) -> Result<Named<Arc<CurrentUpstream>>, BuildError> {
    let mut upstreams = Named::new();
    for policy in config.called() {
        let name = &policy.name;
        let before = earlier.and_then(|earlier| earlier.upstreams.get(name));
        let upstream = match before {
            Some(before) if before.implements(policy) => Arc::clone(before),
            _ => {
                let metrics = process.metrics.upstream(name);
                let before = before.map(Arc::as_ref);
                let built =
                    CurrentUpstream::new(Arc::clone(policy), before, process.workers, metrics)
                        .map_err(|why| BuildError::Tls {
                            name: Arc::clone(name),
                            why,
                        })?;
                Arc::new(built)
            }
        };
        upstreams.insert(Arc::clone(name), upstream);
    }
    Ok(upstreams)
}

/// The routes as one worker uses them.
///
/// Called once for each worker. The table and the disguises are shared; tags
/// and stacks are made anew, so that their counts of references are the
/// worker's own.
fn routes(
    state: &State,
    table: &Arc<RouteTable>,
    disguises: &Arc<Disguises>,
    process: &Process,
) -> Routes {
    let config = &state.config;
    let tracer = traces::tracer(state).map(Arc::new);
    let mut routes = Vec::with_capacity(config.routes.len());
    let lines = AccessLines::new(config, process);
    for policy in &config.routes {
        routes.push(route(policy, &lines, state, process));
    }
    Routes {
        table: Arc::clone(table),
        disguises: Arc::clone(disguises),
        challenges: Arc::clone(&process.challenges),
        takes_calls: routes.iter().any(Route::takes_calls),
        tracer,
        answers_preflights: routes.iter().any(|route| route.tag.cors.is_some()),
        routes,
        trust: Arc::new(Trust::new(
            &config.client_ip.trusted_proxies,
            config.client_ip.header.clone(),
            Arc::clone(&state.unknown_proxies),
        )),
        unmatched: Arc::new(RouteTag {
            access: lines.of_others(),
            traced: traces::route(None, lines::credentials(config).into(), config),
            ..RouteTag::aside(None, process.metrics.unmatched())
        }),
    }
}

/// A route as one worker uses it: its stack of layers, and the questions that
/// are asked before a request enters it.
fn route(
    route: &policy::Route,
    lines: &AccessLines<'_>,
    state: &State,
    process: &Process,
) -> Route {
    Route {
        tag: Arc::new(tag(route, lines, &state.config, process)),
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
    }
}

/// The name of a route, and everything by which its requests are counted and
/// logged.
fn tag(
    route: &policy::Route,
    lines: &AccessLines<'_>,
    config: &Config,
    process: &Process,
) -> RouteTag {
    let limits = limits::names(route, config);
    let secrets = lines::query_secrets(route, config);
    RouteTag {
        traced: traces::route(Some(&route.matches.path), secrets.into(), config),
        access: lines.of_route(route, &limits),
        name: Some(Arc::clone(&route.name)),
        limits,
        limit_texts: limits::texts(route, config),
        limit_headers: route.response.limit_headers,
        cors: route.cors.clone().map(Box::new),
        refusal: route.refusal.clone().map(Box::new),
        metrics: process.metrics.route(&route.name),
    }
}

/// The upstreams that the gRPC calls of a route may be sent to.
fn callees(route: &policy::Route, state: &State) -> Box<[Arc<CurrentUpstream>]> {
    route
        .upstreams()
        .filter_map(|name| state.upstreams.get(name).cloned())
        .collect()
}

/// The layers of a route. A policy that the route does without is no layer.
fn layers(route: &policy::Route, state: &State, process: &Process) -> Layers {
    Layers {
        identify: identities::layer(route, state, process),
        rate_limit: match route.action {
            // It tells their state, and takes nothing.
            policy::Action::Report => RateLimitLayer::new([], None, route.timeouts.attempt),
            _ => limits::layer(route, state, process),
        },
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
    let request = route.request.buffer;
    let response = route.response.buffer;
    if request == 0 && response == 0 {
        return None;
    }
    let policy = BufferPolicy {
        request,
        response,
        memory: Arc::clone(&process.buffers),
    };
    Some(BufferLayer {
        policy: Arc::new(policy),
    })
}

/// The innermost part of a route: its upstreams, or its own response.
fn target(route: &policy::Route, state: &State, process: &Process) -> RouteTarget {
    if let policy::Action::Report = route.action {
        let limits = limits::layer(route, state, process);
        return RouteTarget::Report(LimitReport::new(limits, &route.response.headers));
    }
    let mut ways = ways(route, state, process);
    // A route without an upstream responds by itself.
    if ways.is_empty() {
        return RouteTarget::Respond(Respond::new(&route.action, &route.response.headers));
    }
    let first = ways.remove(0);
    RouteTarget::Upstreams {
        first,
        others: ways,
    }
}
