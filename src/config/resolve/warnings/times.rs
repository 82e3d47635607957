//! Times and numbers that contradict each other, so that one of them never counts.

use std::{sync::Arc, time::Duration};

use super::super::{
    super::{
        Config,
        problem::{Code, Problem, Problems},
        tree::Node,
        units,
    },
    reader::Reader,
};
use crate::policy::{Action, Route, Upstream};

/// Reports `key` of a table as one that changes nothing.
fn no_effect(table: Reader<'_>, key: &str, message: String, help: String, problems: &mut Problems) {
    problems.report(Problem::warning(Code::NoEffect, table.place(key), message).help(help));
}

pub(super) fn of_route(
    reader: Reader<'_>,
    route: &Route,
    config: &Config,
    problems: &mut Problems,
) {
    waits(reader, route, problems);
    whole(reader, route, problems);
    retries(reader, route, problems);
    queue(
        reader.table("concurrency"),
        route.concurrency.as_ref().map(|cap| cap.queue),
        problems,
    );
    turns(reader, route, config, problems);
}

/// A turn in a queue that none of the route's upstreams has.
fn turns(reader: Reader<'_>, route: &Route, config: &Config, problems: &mut Problems) {
    let has_a_queue = |upstream: &Arc<Upstream>| {
        route.leads_to(&upstream.name)
            && upstream
                .concurrency
                .as_ref()
                .is_some_and(|cap| cap.queue > 0)
    };
    if reader.own("priority").is_some() && !config.upstreams.iter().any(has_a_queue) {
        let message =
            "`priority` is about the queue of the upstream's cap, and there is none".to_owned();
        let help = "add `concurrency = { max = ..., queue = ... }` to the upstream, or leave `priority` out".to_owned();
        no_effect(reader, "priority", message, help, problems);
    }
}

/// A wait in a route's queue that its total timeout cuts short. What is inherited is meant for other routes.
fn waits(reader: Reader<'_>, route: &Route, problems: &mut Problems) {
    let Some(cap) = &route.concurrency else {
        return;
    };
    let (concurrency, total) = (reader.table("concurrency"), route.timeouts.total);
    let is_own = concurrency.own("queue_timeout").is_some()
        || reader.table("timeouts").own("total").is_none();
    if concurrency.given("queue_timeout").is_some() && is_own && cap.queue_timeout > total {
        let total = units::duration_text(total);
        let message = format!(
            "nobody waits so long: `timeouts.total` of the route `{}` is {total}",
            route.name
        );
        let problem = Problem::warning(Code::NoEffect, concurrency.place("queue_timeout"), message);
        problems.report(problem.help(format!(
            "lower `queue_timeout` below {total}, or raise `total` in `timeouts`"
        )));
    }
}

/// Times within the bound on the whole exchange that are longer than it.
fn whole(reader: Reader<'_>, route: &Route, problems: &mut Problems) {
    let Some(body) = route.timeouts.body else {
        return;
    };
    let timeouts = reader.table("timeouts");
    let is_own = |key| timeouts.own(key).is_some() && timeouts.own("body").is_some();
    let times = [
        ("total", route.timeouts.total),
        ("attempt", route.timeouts.attempt),
        ("idle", route.timeouts.idle),
    ];
    if let Some((key, _)) = times
        .into_iter()
        .find(|(key, time)| is_own(key) && *time > body)
    {
        let body = units::duration_text(body);
        let message =
            format!("nothing takes so long: `body`, the bound on the whole exchange, is {body}");
        no_effect(
            timeouts,
            key,
            message,
            format!("lower `{key}` below {body}, or raise `body`"),
            problems,
        );
    }
}

/// Retries that cannot come.
fn retries(reader: Reader<'_>, route: &Route, problems: &mut Problems) {
    let retry = reader.table("retry");
    if matches!(
        route.action,
        Action::Respond { .. } | Action::Redirect { .. }
    ) {
        if let Some(entry) = reader.entry("retry").filter(|entry| !entry.inherited) {
            let message = "a route that answers by itself has nothing to try again";
            problems.report(
                Problem::warning(Code::NoEffect, entry.node.span, message)
                    .help("leave `retry` out"),
            );
        }
        return;
    }
    if route.retry.attempts.get() == 1 && retry.own("attempts").is_some() {
        let others = [
            "on",
            "methods",
            "backoff",
            "max_backoff",
            "budget",
            "budget_min",
            "buffer",
        ];
        if let Some(key) = others.into_iter().find(|key| retry.own(key).is_some()) {
            let message = format!("`{key}` is about retries, and `attempts = 1` makes none");
            no_effect(
                retry,
                key,
                message,
                "raise `attempts`, which counts the first try, too".to_owned(),
                problems,
            );
        }
        return;
    }
    let (total, attempt) = (route.timeouts.total, route.timeouts.attempt);
    let on_timeout = retry
        .items("on")
        .iter()
        .find(|node| node.text() == Some("timeout"));
    if let Some(node) = on_timeout.filter(|_| retry.own("on").is_some() && attempt >= total) {
        let attempt = units::duration_text(attempt);
        let message = format!(
            "no time is left for another try: one attempt may take {attempt}, all of `timeouts.total`"
        );
        let problem = Problem::warning(Code::NoEffect, node.span, message);
        problems.report(problem.help("set `attempt` in `timeouts` to less than half of `total`"));
    }
    if retry.own("backoff").is_some() && route.retry.backoff > total {
        let total = units::duration_text(total);
        let message = format!(
            "nobody waits so long for a retry: `timeouts.total` of the route `{}` is {total}",
            route.name
        );
        no_effect(
            retry,
            "backoff",
            message,
            format!("lower `backoff` well below {total}"),
            problems,
        );
    }
}

/// Settings of a queue that is not there.
fn queue(concurrency: Reader<'_>, queue: Option<usize>, problems: &mut Problems) {
    if queue != Some(0) {
        return;
    }
    for key in ["queue_timeout", "fair_by"]
        .into_iter()
        .filter(|key| concurrency.own(key).is_some())
    {
        let message = format!("`{key}` is about a queue, and there is none");
        no_effect(
            concurrency,
            key,
            message,
            "add `queue`, the number of requests that may wait".to_owned(),
            problems,
        );
    }
}

pub(super) fn of_upstreams(root: &Reader<'_>, config: &Config, problems: &mut Problems) {
    for ((_, reader), upstream) in root.named("upstreams").into_iter().zip(&config.upstreams) {
        let routes = || {
            config
                .routes
                .iter()
                .filter(|route| route.leads_to(&upstream.name))
        };
        let total = routes().map(|route| route.timeouts.total).max();
        let attempt = routes().map(|route| route.timeouts.attempt).max();
        let (concurrency, pool) = (reader.table("concurrency"), reader.table("pool"));
        if let Some(cap) = &upstream.concurrency {
            too_long(
                (concurrency, "queue_timeout", cap.queue_timeout),
                ("total", total),
                problems,
            );
            queue(concurrency, Some(cap.queue), problems);
        }
        too_long(
            (pool, "connect_timeout", upstream.pool.connect_timeout),
            ("attempt", attempt),
            problems,
        );
        too_long(
            (pool, "wait_timeout", upstream.pool.wait_timeout),
            ("attempt", attempt),
            problems,
        );
        connections(pool, upstream, problems);
        checks(reader, upstream, problems);
    }
}

/// A wait for something that a request to the upstream does not live for, whatever its route.
fn too_long(
    (table, key, wait): (Reader<'_>, &str, Duration),
    (bound, longest): (&str, Option<Duration>),
    problems: &mut Problems,
) {
    let Some(longest) = longest.filter(|longest| wait > *longest && table.given(key).is_some())
    else {
        return;
    };
    let longest = units::duration_text(longest);
    let message =
        format!("nobody waits so long: the longest `timeouts.{bound}` of its routes is {longest}");
    no_effect(
        table,
        key,
        message,
        format!("lower `{key}` below {longest}, or raise `{bound}`"),
        problems,
    );
}

fn connections(pool: Reader<'_>, upstream: &Upstream, problems: &mut Problems) {
    let settings = &upstream.pool;
    // As the file has it: the model holds no more than there can be.
    let max_idle = pool.given("max_idle").and_then(|_| pool.count("max_idle"));
    if max_idle.is_some_and(|max_idle| max_idle > settings.max_connections.get()) {
        let message = format!(
            "no more than `max_connections`, which is {}, can idle",
            settings.max_connections
        );
        no_effect(
            pool,
            "max_idle",
            message,
            "lower it, or raise `max_connections`".to_owned(),
            problems,
        );
    }
    if pool.given("idle_timeout").is_some() && settings.idle_timeout > settings.max_lifetime {
        let longest = units::duration_text(settings.max_lifetime);
        let message = format!("no connection lives so long: `max_lifetime` is {longest}");
        no_effect(
            pool,
            "idle_timeout",
            message,
            "lower it, or raise `max_lifetime`".to_owned(),
            problems,
        );
    }
}

/// Checks that may take longer than the time between them.
fn checks(reader: Reader<'_>, upstream: &Upstream, problems: &mut Problems) {
    let Some(check) = upstream
        .health_check
        .as_ref()
        .filter(|check| check.timeout > check.interval)
    else {
        return;
    };
    let table = reader.table("health_check");
    let key = if table
        .given("timeout")
        .is_some_and(|node: &Node| !node.is_broken())
    {
        "timeout"
    } else {
        "interval"
    };
    let (timeout, interval) = (
        units::duration_text(check.timeout),
        units::duration_text(check.interval),
    );
    let message = format!(
        "a server that does not answer is checked less often than `interval` says: one check may take {timeout}, the interval is {interval}"
    );
    no_effect(
        table,
        key,
        message,
        "set `timeout` to no more than `interval`".to_owned(),
        problems,
    );
}
