//! The families of routes and limits.
//!
//! Counters are sums over the cells of the workers. They survive a reload, by
//! the name of the route; those of a route that a reload has removed are
//! dropped with it (`Metrics::retain`). Gauges come from an `Observed`, which
//! has the routes and limits of the present table.
//!
//! A counter appears with its first event. A query must therefore treat an
//! absent counter as 0, and `rate()` of Prometheus does not see that first
//! event, since the series begins with it.
//!
//! All label values are names from the configuration or words of the program,
//! except for the method and the status, whose number of values the cells
//! bound. No label holds a path, a host or a key: one client could create any
//! number of time series with those.

use std::sync::Arc;

use super::super::{
    costs::CostTokens,
    exposition::{Exposition, FamilyType},
    observed::Observed,
    route::{Decision, RouteCells},
};

/// Routes by name, each with the sum of its cells.
///
/// Sorted by name, as the handles are kept in a `BTreeMap`, so that two scrapes
/// list the routes alike.
pub(super) type RouteTotals = [(Arc<str>, RouteCells)];

/// Counters of requests by their route.
///
/// Writes `tidegate_requests`, `tidegate_request_duration_seconds`,
/// `tidegate_refusals` and `tidegate_grpc_calls`, in this order. The label
/// `status` is `other` for a key without a status of its own.
///
/// A refusal is counted twice, with different meanings: as a request with its
/// status, and under the reason for which the gateway responded by itself.
pub(super) fn requests(routes: &RouteTotals, to: &mut Exposition) {
    let help = "Requests whose exchange ended.";
    let mut family = to.family(FamilyType::Counter, "tidegate_requests", help);
    for (route, cells) in routes {
        for (key, count) in &cells.requests {
            let status = key
                .status()
                .map_or("other".into(), |status| status.to_string());
            let labels = [
                ("route", &**route),
                ("method", key.method()),
                ("status", &status),
            ];
            family.count(&labels, *count);
        }
    }
    let help = "Time from a request's first byte to the end of its exchange.";
    let mut family = to.family(
        FamilyType::Histogram,
        "tidegate_request_duration_seconds",
        help,
    );
    for (route, cells) in routes {
        family.histogram(&[("route", route)], &cells.durations);
    }
    let help = "Requests the gateway itself answered, by reason.";
    let mut family = to.family(FamilyType::Counter, "tidegate_refusals", help);
    for (route, cells) in routes {
        family.tally(("route", route), "reason", &cells.refusals);
    }
    let help = "gRPC calls that ended, by their status.";
    let mut family = to.family(FamilyType::Counter, "tidegate_grpc_calls", help);
    for (route, cells) in routes {
        family.tally(("route", route), "grpc_status", &cells.calls);
    }
}

/// Counters of retries, copies and dropped fields by their route.
///
/// Each family has a second label besides `route`: the outcome of a retry or of
/// a copy, or the reason for which a field was not passed on.
pub(super) fn forwarding(routes: &RouteTotals, to: &mut Exposition) {
    let help = "Retries made, and those not made, by outcome.";
    let mut family = to.family(FamilyType::Counter, "tidegate_retries", help);
    for (route, cells) in routes {
        family.tally(("route", route), "outcome", &cells.retries);
    }
    let help = "Copies of requests, by outcome.";
    let mut family = to.family(FamilyType::Counter, "tidegate_mirrored", help);
    for (route, cells) in routes {
        family.tally(("route", route), "outcome", &cells.mirrored);
    }
    let help = "Fields of requests that were not passed on, by reason.";
    let mut family = to.family(FamilyType::Counter, "tidegate_request_fields_dropped", help);
    for (route, cells) in routes {
        family.tally(("route", route), "reason", &cells.dropped);
    }
}

/// Gauges of the concurrency limit of each route.
///
/// A gauge that a route has none of is left out, rather than written as 0: a
/// route without a concurrency limit has neither queue nor abandoned requests.
/// The values are read one after the other while requests begin and end, so
/// that their sum may be off by the requests of that moment.
pub(super) fn route_gauges(observed: &Observed, to: &mut Exposition) {
    let help = "Requests that hold a place under the cap; without a cap, those whose exchange has not ended.";
    let mut family = to.family(FamilyType::Gauge, "tidegate_in_flight", help);
    for of in &observed.routes {
        family.gauge(&[("route", &of.route)], of.in_flight);
    }
    let help = "Requests that hold a place under the cap while a server works on, though their client has left.";
    let mut family = to.family(FamilyType::Gauge, "tidegate_abandoned", help);
    for of in &observed.routes {
        family.gauge(&[("route", &of.route)], of.abandoned);
    }
    let mut family = to.family(
        FamilyType::Gauge,
        "tidegate_queued",
        "Requests that wait for a place under the cap.",
    );
    for of in &observed.routes {
        family.gauge(&[("route", &of.route)], of.queued);
    }
    let help = "Requests the cap admits at once, as it is now.";
    let mut family = to.family(FamilyType::Gauge, "tidegate_concurrency_limit", help);
    for of in &observed.routes {
        family.gauge(&[("route", &of.route)], of.concurrency_limit);
    }
}

/// Counters of identities.
///
/// Neither the ids of clients nor their plans are labels: both come from
/// outside of the configuration.
pub(super) fn identities(observed: &Observed, to: &mut Exposition) {
    let help = "Credentials of requests, by the identity that was asked and by outcome.";
    let mut family = to.family(FamilyType::Counter, "tidegate_credentials", help);
    for of in &observed.identities {
        for (outcome, count) in &of.outcomes {
            family.count(&[("identity", &of.identity), ("outcome", outcome)], *count);
        }
    }
}

/// Fetches of signing keys, and checks of signatures.
pub(super) fn tokens(observed: &Observed, to: &mut Exposition) {
    let sources = observed.identities.iter();
    let sources: Vec<_> = sources
        .filter_map(|of| Some((&*of.identity, of.keys?)))
        .collect();
    let help = "Fetches of the signing keys of identities, by outcome.";
    let mut family = to.family(FamilyType::Counter, "tidegate_key_fetches", help);
    for (identity, keys) in &sources {
        for (outcome, count) in [("fetched", keys.fetched), ("failed", keys.failed)] {
            family.count(&[("identity", identity), ("outcome", outcome)], count);
        }
    }
    let help = "Time since signing keys were fetched.";
    let mut family = to.family(FamilyType::Gauge, "tidegate_key_age_seconds", help);
    for (identity, keys) in &sources {
        family.sample(&[("identity", identity)], keys.age.as_secs_f64());
    }
    let help = "Time for which fetches of signing keys have failed.";
    let mut family = to.family(
        FamilyType::Gauge,
        "tidegate_key_fetches_failing_seconds",
        help,
    );
    for (identity, keys) in &sources {
        family.sample(&[("identity", identity)], keys.failing_for.as_secs_f64());
    }
    let Some(signatures) = observed.signatures else {
        return;
    };
    let help = "Signatures of tokens that were checked.";
    let mut family = to.family(FamilyType::Counter, "tidegate_signature_checks", help);
    family.count(&[], signatures.done);
    let help = "Time that checks of signatures took.";
    let mut family = to.family(
        FamilyType::Counter,
        "tidegate_signature_check_seconds",
        help,
    );
    family.sample(&[], signatures.took.as_secs_f64());
    let help = "Tokens that found no slot in the queue for checks of signatures.";
    let mut family = to.family(
        FamilyType::Counter,
        "tidegate_signature_checks_refused",
        help,
    );
    family.count(&[], signatures.refused);
    let help = "Tokens that wait for a check of their signature.";
    let mut family = to.family(FamilyType::Gauge, "tidegate_signature_checks_waiting", help);
    family.sample(&[], signatures.waiting);
}

/// Counters and gauges of limits.
///
/// A decision is counted by its limit and its route, since several routes may
/// share a limit. Keys and evictions belong to the limit alone, as its table
/// does.
///
/// The counts of a decision are stored in the order of `Decision::LABELS`, and
/// zipping both gives each count its label.
pub(super) fn limits(routes: &RouteTotals, observed: &Observed, to: &mut Exposition) {
    let mut family = to.family(
        FamilyType::Counter,
        "tidegate_limit_decisions",
        "Decisions of limits about requests.",
    );
    for (route, cells) in routes {
        for (limit, counts) in &cells.decisions {
            for (decision, count) in Decision::LABELS.iter().zip(counts) {
                family.count(
                    &[("limit", limit), ("route", route), ("decision", decision)],
                    *count,
                );
            }
        }
    }
    let help = "Tokens of requests whose cost is known in the end: reserved, used, and owed (used beyond the reserve).";
    let mut family = to.family(FamilyType::Counter, "tidegate_limit_cost_tokens", help);
    for (route, cells) in routes {
        for (limit, tokens) in &cells.costs.0 {
            for (kind, count) in CostTokens::LABELS.iter().zip(tokens.0) {
                family.count(&[("limit", limit), ("route", route), ("kind", kind)], count);
            }
        }
    }
    let help = "Costs that stayed unknown in the end, and counted as the reserve, by reason.";
    let mut family = to.family(FamilyType::Counter, "tidegate_limit_costs_unknown", help);
    for (route, cells) in routes {
        family.tally(("route", route), "reason", &cells.unknown_costs);
    }
    let mut family = to.family(
        FamilyType::Gauge,
        "tidegate_limit_keys",
        "Keys a limit holds a bucket for.",
    );
    for of in &observed.limits {
        family.sample(&[("limit", &of.limit)], of.keys);
    }
    let help = "Requests in flight under a limit with in_flight.";
    let mut family = to.family(FamilyType::Gauge, "tidegate_limit_in_flight", help);
    for of in &observed.limits {
        family.gauge(&[("limit", &of.limit)], of.in_flight);
    }
    let help = "Keys that made room (idle), and keys a full table had none for (overflow).";
    let mut family = to.family(FamilyType::Counter, "tidegate_limit_evictions", help);
    for of in &observed.limits {
        family.count(&[("limit", &of.limit), ("kind", "idle")], of.evicted_idle);
        family.count(
            &[("limit", &of.limit), ("kind", "overflow")],
            of.evicted_overflow,
        );
    }
    bans(observed, to);
    waits(observed, to);
}

/// Gauges and counters of limits that ban keys.
fn bans(observed: &Observed, to: &mut Exposition) {
    let help = "Keys that are banned.";
    let mut family = to.family(FamilyType::Gauge, "tidegate_limit_banned_keys", help);
    for of in &observed.limits {
        let banned = of.bans.as_ref().map(|bans| bans.banned);
        family.gauge(&[("limit", &of.limit)], banned);
    }
    let help = "Bans: begun, what they refused, and refusals that were not counted for one.";
    let mut family = to.family(FamilyType::Counter, "tidegate_limit_bans", help);
    for of in &observed.limits {
        let Some(bans) = &of.bans else { continue };
        for (event, count) in [
            ("begun", bans.begun),
            ("refused", bans.refused),
            ("untracked", bans.untracked),
        ] {
            family.count(&[("limit", &of.limit), ("event", event)], count);
        }
    }
}

/// Gauges and counters of limits whose requests may wait for their tokens.
fn waits(observed: &Observed, to: &mut Exposition) {
    let help = "Requests that wait for their tokens.";
    let mut family = to.family(FamilyType::Gauge, "tidegate_limit_waiting", help);
    for of in &observed.limits {
        let waiting = of.waits.as_ref().map(|waits| waits.waiting);
        family.gauge(&[("limit", &of.limit)], waiting);
    }
    let help = "Waits for tokens, by how they ended; full: too many waited.";
    let mut family = to.family(FamilyType::Counter, "tidegate_limit_waits", help);
    for of in &observed.limits {
        let Some(waits) = &of.waits else { continue };
        for (outcome, count) in [
            ("admitted", waits.admitted),
            ("refused", waits.refused),
            ("left", waits.left),
            ("full", waits.full),
        ] {
            family.count(&[("limit", &of.limit), ("outcome", outcome)], count);
        }
    }
}
