//! Times and numbers that contradict each other, so that one of them never
//! counts: a wait that a timeout always cuts, a retry for which no time is
//! left, more idle connections than there can be.
//!
//! Values that a route inherits from `[defaults]` are not reported, because
//! other routes may need them. Of an upstream, a wait is compared with the
//! longest timeout among its routes.
//!
//! A wait that equals its bound is not reported, as both end at the same
//! moment.

use std::time::Duration;

use super::super::checks::GivenKey;
use crate::config::{
    configuration::Config,
    field::{Given, Nested},
    problem::{Code, Problems},
    units,
    wire::{
        routes::{self as wire, Concurrency},
        upstreams,
    },
};
use crate::policy::{Action, Failures, Pool, Route, Upstream};

/// Warnings about one route.
pub(super) fn of_route(
    table: &wire::Route,
    route: &Route,
    config: &Config,
    problems: &mut Problems,
) {
    priority(table, route, config, problems);
    if let Some(cap) = &route.concurrency {
        queue(&table.concurrency, cap.queue, problems);
        wait_of_route(table, cap.queue_timeout, route, problems);
    }
    exchange(table, route, problems);
    retries(table, route, problems);
}

/// A priority in a queue that none of the route's upstreams has.
///
/// Priorities order the requests in the queue of an upstream's concurrency
/// limit. One upstream of the route with a queue is enough, since a split may
/// lead to several.
fn priority(table: &wire::Route, route: &Route, config: &Config, problems: &mut Problems) {
    let upstreams = config.upstreams.iter();
    let upstreams = upstreams.filter(|upstream| route.leads_to(&upstream.name));
    let mut caps = upstreams.filter_map(|upstream| upstream.concurrency.as_ref());
    if !table.priority.is_own() || caps.any(|cap| cap.queue > 0) {
        return;
    }
    let message = "`priority` is about the queue of the upstream's cap, and there is none";
    let help =
        "add `concurrency = { max = ..., queue = ... }` to the upstream, or leave `priority` out";
    problems.warn(Code::NoEffect, table.priority.at(), message, help);
}

/// Keys about a queue that is not there.
///
/// `queue` is the number of requests that may wait; with 0 there is none, and
/// the keys about waiting are about nothing.
fn queue(entry: &Nested<Concurrency>, queue: usize, problems: &mut Problems) {
    let Some(concurrency) = entry.value().filter(|_| queue == 0) else {
        return;
    };
    let keys = [
        GivenKey::own("queue_timeout", &concurrency.queue_timeout),
        GivenKey::own("fair_by", &concurrency.fair_by),
    ];
    for GivenKey { name, at } in keys.into_iter().flatten() {
        let message = format!("`{name}` is about a queue, and there is none");
        let help = "add `queue`, the number of requests that may wait";
        problems.warn(Code::NoEffect, at, message, help);
    }
}

/// A wait in a route's queue that its total timeout cuts short. An inherited
/// wait is not reported on a route that has its own total: the routes with the
/// inherited total need it.
fn wait_of_route(table: &wire::Route, wait: Duration, route: &Route, problems: &mut Problems) {
    let Some(concurrency) = table.concurrency.value() else {
        return;
    };
    let timeouts = table.timeouts.value();
    let has_own_total = timeouts.is_some_and(|timeouts| timeouts.total.is_own());
    let key = &concurrency.queue_timeout;
    let is_meant = key.is_own() || key.is_present() && !has_own_total;
    if is_meant && wait > route.timeouts.total {
        let (name, total) = (&route.name, units::duration_text(route.timeouts.total));
        let message =
            format!("nobody waits so long: `timeouts.total` of the route `{name}` is {total}");
        let help = format!("lower `queue_timeout` below {total}, or raise `total` in `timeouts`");
        problems.warn(Code::NoEffect, key.at(), message, help);
    }
}

/// A time that is longer than `body`, the bound on the whole exchange. Only the
/// first of them is reported.
///
/// Reported only if the route gives both values itself: with an inherited one,
/// other routes may need the longer time.
fn exchange(table: &wire::Route, route: &Route, problems: &mut Problems) {
    let (Some(body), Some(keys)) = (route.timeouts.body, table.timeouts.value()) else {
        return;
    };
    let times = &route.timeouts;
    let longer = [
        GivenKey::own("total", &keys.total).filter(|_| times.total > body),
        GivenKey::own("attempt", &keys.attempt).filter(|_| times.attempt > body),
        GivenKey::own("idle", &keys.idle).filter(|_| times.idle > body),
    ];
    let first = longer.into_iter().flatten().next();
    if let Some(GivenKey { name, at }) = first.filter(|_| keys.body.is_own()) {
        let body = units::duration_text(body);
        let message =
            format!("nothing takes so long: `body`, the bound on the whole exchange, is {body}");
        let help = format!("lower `{name}` below {body}, or raise `body`");
        problems.warn(Code::NoEffect, at, message, help);
    }
}

/// Retries that never happen: on a route without an upstream, with a single
/// attempt, or after a wait that the total timeout cuts.
///
/// Each kind is looked for in turn, and the first two end the search: on a
/// route without retries, nothing else about them matters.
fn retries(table: &wire::Route, route: &Route, problems: &mut Problems) {
    if let Action::Respond { .. } | Action::Redirect { .. } | Action::Report = route.action {
        if table.retry.is_own() {
            let message = "a route that answers by itself has nothing to try again";
            let help = "leave `retry` out";
            problems.warn(Code::NoEffect, table.retry.at(), message, help);
        }
        return;
    }
    let Some(retry) = table.retry.value() else {
        return;
    };
    if route.retry.attempts.get() == 1 && retry.attempts.is_own() {
        if let Some(GivenKey { name, at }) = about_retries(retry) {
            let message = format!("`{name}` is about retries, and `attempts = 1` makes none");
            let help = "raise `attempts`, which counts the first try, too";
            problems.warn(Code::NoEffect, at, message, help);
        }
        return;
    }
    after_timeouts(retry, route, problems);
    if retry.backoff.is_own() && route.retry.backoff > route.timeouts.total {
        let (name, total) = (&route.name, units::duration_text(route.timeouts.total));
        let message = format!(
            "nobody waits so long for a retry: `timeouts.total` of the route `{name}` is {total}"
        );
        let help = format!("lower `backoff` well below {total}");
        problems.warn(Code::NoEffect, retry.backoff.at(), message, help);
    }
}

/// The first of the route's own keys that says how retries are made.
fn about_retries(retry: &wire::Retry) -> Option<GivenKey> {
    let keys = [
        GivenKey::own("on", &retry.on),
        GivenKey::own("methods", &retry.methods),
        GivenKey::own("backoff", &retry.backoff),
        GivenKey::own("max_backoff", &retry.max_backoff),
        GivenKey::own("budget", &retry.budget),
        GivenKey::own("budget_min", &retry.budget_min),
        GivenKey::own("buffer", &retry.buffer),
    ];
    keys.into_iter().flatten().next()
}

/// A retry after a timeout for which no time is left. An attempt that is not
/// bounded by itself may take all of the total, and its timeout ends the
/// request.
///
/// Only a list of reasons that the route gives itself is looked at.
fn after_timeouts(retry: &wire::Retry, route: &Route, problems: &mut Problems) {
    if route.timeouts.attempt < route.timeouts.total || !retry.on.is_own() {
        return;
    }
    let mut reasons = retry.on.elements().iter();
    let is_timeout = |on: Failures| on.timeout;
    if let Some(reason) = reasons.find(|reason| reason.read().is_some_and(is_timeout)) {
        let attempt = units::duration_text(route.timeouts.attempt);
        let message = format!(
            "no time is left for another try: one attempt may take {attempt}, all of `timeouts.total`"
        );
        let help = "set `attempt` in `timeouts` to less than half of `total`";
        problems.warn(Code::NoEffect, reason.at(), message, help);
    }
}

/// Warnings about one upstream, in the light of all routes that lead to it.
///
/// The longest timeouts of all routes count, as a wait is of use if one of them
/// lets it end. Without a route there is no timeout to compare with; the
/// upstream is reported as unused then.
pub(super) fn of_upstream(
    table: &upstreams::Upstream,
    upstream: &Upstream,
    config: &Config,
    problems: &mut Problems,
) {
    let routes = config.routes.iter();
    let routes = routes.filter(|route| route.leads_to(&upstream.name));
    let total = routes.clone().map(|route| route.timeouts.total).max();
    let attempt = routes.map(|route| route.timeouts.attempt).max();
    if let (Some(concurrency), Some(cap)) = (table.concurrency.value(), &upstream.concurrency) {
        let key = GivenKey::given("queue_timeout", &concurrency.queue_timeout);
        wait_of_upstream(key, cap.queue_timeout, "total", total, problems);
        queue(&table.concurrency, cap.queue, problems);
    }
    if let Some(table) = table.pool.value() {
        let pool = &upstream.pool;
        let connect = GivenKey::given("connect_timeout", &table.connect_timeout);
        wait_of_upstream(connect, pool.connect_timeout, "attempt", attempt, problems);
        let wait = GivenKey::given("wait_timeout", &table.wait_timeout);
        wait_of_upstream(wait, pool.wait_timeout, "attempt", attempt, problems);
        connections(table, pool, problems);
    }
    checks(&table.health_check, upstream, problems);
}

/// A wait for something that no request to the upstream lives for. `longest` is
/// the longest timeout called `bound` among its routes.
///
/// `key` is `None` if the file does not have it. `longest` is `None` if no
/// route leads to the upstream. Nothing is reported in both cases.
fn wait_of_upstream(
    key: Option<GivenKey>,
    wait: Duration,
    bound: &str,
    longest: Option<Duration>,
    problems: &mut Problems,
) {
    let longest = longest.filter(|longest| wait > *longest);
    if let (Some(GivenKey { name, at }), Some(longest)) = (key, longest) {
        let longest = units::duration_text(longest);
        let message = format!(
            "nobody waits so long: the longest `timeouts.{bound}` of its routes is {longest}"
        );
        let help = format!("lower `{name}` below {longest}, or raise `{bound}`");
        problems.warn(Code::NoEffect, at, message, help);
    }
}

/// A bound on idle connections above the bound on all of them, or an idle time
/// above the life of a connection.
///
/// Only values that the file has are reported: nobody wrote a default.
fn connections(table: &upstreams::Pool, pool: &Pool, problems: &mut Problems) {
    let most = pool.max_connections;
    // As the file has it: the policy holds no more than there can be.
    let max_idle = table.max_idle.given();
    if max_idle.is_some_and(|max_idle| max_idle.value > most.get()) {
        let message = format!("no more than `max_connections`, which is {most}, can idle");
        let help = "lower it, or raise `max_connections`";
        problems.warn(Code::NoEffect, table.max_idle.at(), message, help);
    }
    if table.idle_timeout.is_present() && pool.idle_timeout > pool.max_lifetime {
        let longest = units::duration_text(pool.max_lifetime);
        let message = format!("no connection lives so long: `max_lifetime` is {longest}");
        let help = "lower it, or raise `max_lifetime`";
        problems.warn(Code::NoEffect, table.idle_timeout.at(), message, help);
    }
}

/// Checks that may take longer than the time between them. The interval begins
/// when a check is over, so that a server that hangs is checked less often than
/// a healthy one.
fn checks(entry: &Nested<upstreams::HealthCheck>, upstream: &Upstream, problems: &mut Problems) {
    let (Some(table), Some(check)) = (entry.value(), &upstream.health_check) else {
        return;
    };
    if check.timeout > check.interval {
        let timeout = units::duration_text(check.timeout);
        let interval = units::duration_text(check.interval);
        let message = format!(
            "a server that does not answer is checked less often than `interval` says: one check may take {timeout}, the interval is {interval}"
        );
        let at = table.timeout.place(table.interval.at());
        let help = "set `timeout` to no more than `interval`";
        problems.warn(Code::NoEffect, at, message, help);
    }
}
