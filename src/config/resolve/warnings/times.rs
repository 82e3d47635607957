//! Times and numbers that contradict each other, so that one of them never
//! counts.

use std::{sync::Arc, time::Duration};

use super::super::super::{
    configuration::Config,
    field::{Field, Given},
    problem::{Code, Problems},
    source::Span,
    syntax::header::RetryReason,
    units,
    wire::{
        File,
        routes::{self as wire, Concurrency},
        syntaxes::PositiveDuration,
        text::Text,
        upstreams,
    },
};
use crate::policy::{Action, Pool, Route, Upstream};

/// Reports a key that changes nothing.
fn no_effect(at: Span, message: String, help: impl Into<String>, problems: &mut Problems) {
    problems.warn(Code::NoEffect, at, message, help);
}

pub(super) fn of_route(
    table: &wire::Route,
    route: &Route,
    config: &Config,
    problems: &mut Problems,
) {
    waits(table, route, problems);
    whole(&table.timeouts, route, problems);
    retries(table, route, problems);
    queue(
        &table.concurrency,
        route.concurrency.as_ref().map(|cap| cap.queue),
        problems,
    );
    turns(table, route, config, problems);
}

/// A turn in a queue that none of the route's upstreams has.
fn turns(table: &wire::Route, route: &Route, config: &Config, problems: &mut Problems) {
    let has_a_queue = |upstream: &Arc<Upstream>| {
        route.leads_to(&upstream.name)
            && upstream
                .concurrency
                .as_ref()
                .is_some_and(|cap| cap.queue > 0)
    };
    if table.priority.is_own() && !config.upstreams.iter().any(has_a_queue) {
        let message =
            "`priority` is about the queue of the upstream's cap, and there is none".to_owned();
        let help = "add `concurrency = { max = ..., queue = ... }` to the upstream, or leave `priority` out";
        no_effect(table.priority.at(), message, help, problems);
    }
}

/// A wait in a route's queue that its total timeout cuts short. Inherited
/// values are not reported, as other routes may need them.
fn waits(table: &wire::Route, route: &Route, problems: &mut Problems) {
    let (Some(cap), Some(concurrency)) = (&route.concurrency, table.concurrency.value()) else {
        return;
    };
    let total = route.timeouts.total;
    let has_own_total = table
        .timeouts
        .value()
        .is_some_and(|timeouts| timeouts.total.is_own());
    let is_own = concurrency.queue_timeout.is_own() || !has_own_total;
    if concurrency.queue_timeout.is_present() && is_own && cap.queue_timeout > total {
        let total = units::duration_text(total);
        let message = format!(
            "nobody waits so long: `timeouts.total` of the route `{}` is {total}",
            route.name
        );
        let help = format!("lower `queue_timeout` below {total}, or raise `total` in `timeouts`");
        let at = concurrency.queue_timeout.at();
        no_effect(at, message, help, problems);
    }
}

/// Times within the bound on the whole exchange that are longer than it.
fn whole(entry: &Option<Field<wire::Timeouts>>, route: &Route, problems: &mut Problems) {
    let (Some(body), Some(timeouts)) = (route.timeouts.body, entry.value()) else {
        return;
    };
    if !timeouts.body.is_own() {
        return;
    }
    let times = [
        ("total", timeouts.total.own(), timeouts.total.at()),
        ("attempt", timeouts.attempt.own(), timeouts.attempt.at()),
        ("idle", timeouts.idle.own(), timeouts.idle.at()),
    ];
    let is_longer =
        |time: &Option<&Text<PositiveDuration>>| time.is_some_and(|time| time.value > body);
    if let Some((key, _, at)) = times.into_iter().find(|(_, time, _)| is_longer(time)) {
        let body = units::duration_text(body);
        let message =
            format!("nothing takes so long: `body`, the bound on the whole exchange, is {body}");
        no_effect(
            at,
            message,
            format!("lower `{key}` below {body}, or raise `body`"),
            problems,
        );
    }
}

/// Retries that cannot come.
fn retries(table: &wire::Route, route: &Route, problems: &mut Problems) {
    if matches!(
        route.action,
        Action::Respond { .. } | Action::Redirect { .. }
    ) {
        if table.retry.is_own() {
            let message = "a route that answers by itself has nothing to try again".to_owned();
            let at = table.retry.at();
            no_effect(at, message, "leave `retry` out", problems);
        }
        return;
    }
    let Some(retry) = table.retry.value() else {
        return;
    };
    if route.retry.attempts.get() == 1 && retry.attempts.is_own() {
        if let Some((key, at)) = about_retries(retry) {
            let message = format!("`{key}` is about retries, and `attempts = 1` makes none");
            let help = "raise `attempts`, which counts the first try, too";
            no_effect(at, message, help, problems);
        }
        return;
    }
    after_timeouts(retry, route, problems);
    let total = route.timeouts.total;
    if retry.backoff.is_own() && route.retry.backoff > total {
        let total = units::duration_text(total);
        let message = format!(
            "nobody waits so long for a retry: `timeouts.total` of the route `{}` is {total}",
            route.name
        );
        let help = format!("lower `backoff` well below {total}");
        no_effect(retry.backoff.at(), message, help, problems);
    }
}

/// The first key of the route's own that says how retries are made.
fn about_retries(retry: &wire::Retry) -> Option<(&'static str, Span)> {
    let keys = [
        ("on", retry.on.is_own(), retry.on.at()),
        ("methods", retry.methods.is_own(), retry.methods.at()),
        ("backoff", retry.backoff.is_own(), retry.backoff.at()),
        (
            "max_backoff",
            retry.max_backoff.is_own(),
            retry.max_backoff.at(),
        ),
        ("budget", retry.budget.is_own(), retry.budget.at()),
        (
            "budget_min",
            retry.budget_min.is_own(),
            retry.budget_min.at(),
        ),
        ("buffer", retry.buffer.is_own(), retry.buffer.at()),
    ];
    let own = keys.into_iter().find(|(_, is_own, _)| *is_own);
    own.map(|(key, _, at)| (key, at))
}

/// A retry after a timeout for which no time is left.
fn after_timeouts(retry: &wire::Retry, route: &Route, problems: &mut Problems) {
    let (total, attempt) = (route.timeouts.total, route.timeouts.attempt);
    if attempt < total {
        return;
    }
    let is_timeout = |reason: &Field<Text<_>>| reason.read() == Some(RetryReason::Timeout);
    let reasons = retry.on.own().map_or(&[][..], |reasons| &reasons.0);
    if let Some(reason) = reasons.iter().find(|reason| is_timeout(reason)) {
        let attempt = units::duration_text(attempt);
        let message = format!(
            "no time is left for another try: one attempt may take {attempt}, all of `timeouts.total`"
        );
        let help = "set `attempt` in `timeouts` to less than half of `total`";
        no_effect(reason.at(), message, help, problems);
    }
}

/// Settings of a queue that is not there.
fn queue(entry: &Option<Field<Concurrency>>, queue: Option<usize>, problems: &mut Problems) {
    let (Some(concurrency), Some(0)) = (entry.value(), queue) else {
        return;
    };
    let keys = [
        (
            "queue_timeout",
            concurrency.queue_timeout.is_own(),
            concurrency.queue_timeout.at(),
        ),
        (
            "fair_by",
            concurrency.fair_by.is_own(),
            concurrency.fair_by.at(),
        ),
    ];
    for (key, _, at) in keys.into_iter().filter(|(_, is_own, _)| *is_own) {
        let message = format!("`{key}` is about a queue, and there is none");
        let help = "add `queue`, the number of requests that may wait";
        no_effect(at, message, help, problems);
    }
}

pub(super) fn of_upstreams(file: &File, config: &Config, problems: &mut Problems) {
    for (entry, upstream) in file.upstreams.elements().iter().zip(&config.upstreams) {
        let Some(table) = entry.section.value() else {
            continue;
        };
        let routes = || {
            config
                .routes
                .iter()
                .filter(|route| route.leads_to(&upstream.name))
        };
        let longest_total = routes().map(|route| route.timeouts.total).max();
        let longest_attempt = routes().map(|route| route.timeouts.attempt).max();
        if let (Some(concurrency), Some(cap)) = (table.concurrency.value(), &upstream.concurrency) {
            Wait {
                key: "queue_timeout",
                at: concurrency
                    .queue_timeout
                    .entry()
                    .map(|_| concurrency.queue_timeout.at()),
                wait: cap.queue_timeout,
                bound: "total",
            }
            .check(longest_total, problems);
            queue(&table.concurrency, Some(cap.queue), problems);
        }
        if let Some(pool) = table.pool.value() {
            waits_of_pool(pool, &upstream.pool, longest_attempt, problems);
            connections(pool, &upstream.pool, problems);
        }
        checks(&table.health_check, upstream, problems);
    }
}

/// A wait for something that a request to an upstream may not live for.
struct Wait {
    key: &'static str,
    /// Where it is given, if it is.
    at: Option<Span>,
    wait: Duration,
    /// The timeout that bounds it.
    bound: &'static str,
}

impl Wait {
    /// `longest`: the longest of these timeouts among the upstream's routes.
    fn check(self, longest: Option<Duration>, problems: &mut Problems) {
        let longest = longest.filter(|longest| self.wait > *longest);
        let (Some(at), Some(longest)) = (self.at, longest) else {
            return;
        };
        let (key, bound) = (self.key, self.bound);
        let longest = units::duration_text(longest);
        let message = format!(
            "nobody waits so long: the longest `timeouts.{bound}` of its routes is {longest}"
        );
        let help = format!("lower `{key}` below {longest}, or raise `{bound}`");
        no_effect(at, message, help, problems);
    }
}

fn waits_of_pool(
    table: &upstreams::Pool,
    pool: &Pool,
    longest: Option<Duration>,
    problems: &mut Problems,
) {
    let connect = &table.connect_timeout;
    Wait {
        key: "connect_timeout",
        at: connect.entry().map(|_| connect.at()),
        wait: pool.connect_timeout,
        bound: "attempt",
    }
    .check(longest, problems);
    let wait = &table.wait_timeout;
    Wait {
        key: "wait_timeout",
        at: wait.entry().map(|_| wait.at()),
        wait: pool.wait_timeout,
        bound: "attempt",
    }
    .check(longest, problems);
}

fn connections(table: &upstreams::Pool, pool: &Pool, problems: &mut Problems) {
    // As the file has it: the policy holds no more than there can be.
    let max_idle = table.max_idle.given().map(|max_idle| max_idle.0);
    if max_idle.is_some_and(|max_idle| max_idle > pool.max_connections.get()) {
        let message = format!(
            "no more than `max_connections`, which is {}, can idle",
            pool.max_connections
        );
        let at = table.max_idle.at();
        no_effect(
            at,
            message,
            "lower it, or raise `max_connections`",
            problems,
        );
    }
    if table.idle_timeout.is_present() && pool.idle_timeout > pool.max_lifetime {
        let longest = units::duration_text(pool.max_lifetime);
        let message = format!("no connection lives so long: `max_lifetime` is {longest}");
        let at = table.idle_timeout.at();
        no_effect(at, message, "lower it, or raise `max_lifetime`", problems);
    }
}

/// Checks that may take longer than the time between them.
fn checks(
    entry: &Option<Field<upstreams::HealthCheck>>,
    upstream: &Upstream,
    problems: &mut Problems,
) {
    let (Some(table), Some(check)) = (entry.value(), &upstream.health_check) else {
        return;
    };
    if check.timeout <= check.interval {
        return;
    }
    let at = match table.timeout.is_present() {
        true => table.timeout.at(),
        false => table.interval.at(),
    };
    let (timeout, interval) = (
        units::duration_text(check.timeout),
        units::duration_text(check.interval),
    );
    let message = format!(
        "a server that does not answer is checked less often than `interval` says: one check may take {timeout}, the interval is {interval}"
    );
    no_effect(
        at,
        message,
        "set `timeout` to no more than `interval`",
        problems,
    );
}
