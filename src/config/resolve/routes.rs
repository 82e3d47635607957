//! `[[routes]]`: which requests go where, and under which policies.
//!
//! A route is deserialized with the values that it inherits from `[defaults]`.
//! Where an inherited value contradicts one of the route's own, the own value
//! wins silently; only what a route says itself can be a mistake of the route.
//!
//! # Order within a route
//!
//! 1. `match`, because everything behind it may ask for a parameter of the
//!    path.
//! 2. The action: one of `upstream`, `respond`, `redirect` and `quota`.
//! 3. `mirror` and `limits`, which name things that are defined elsewhere.
//! 4. Changes to messages, concurrency, timeouts and retries, which depend on
//!    no other section.
//!
//! Each step is done whether or not those before it had a mistake. A route is
//! built at the end, and only if all of them succeeded.
//!
//! The module looks at one route alone. Pairs of routes with one name, or of
//! which one hides the other, are found by the parent module.

use super::{
    checks::{GivenKey, exclude},
    concurrency::concurrency,
    cors, destinations, identities, matches,
    references::{Definitions, RouteContext},
    refusal::{self, KnownBodies},
    transform,
};
use crate::config::{
    field::{Field, Given, Nested, section},
    include::Loading,
    problem::{Code, Problems},
    source::Span,
    units,
    wire::routes as wire,
};
use crate::policy::{Action, Retry, Route, Timeouts};

/// One route. `bodies` are those of refusals that were read before. Its path is
/// resolved first: names, templates and keys may ask for
/// parameters of it.
///
/// `None` if the route has a mistake, in a value of its own or in one that it
/// inherits. A limit that is named and unknown is reported, and does not keep
/// the route from being built.
pub(super) fn route(
    field: &Field<wire::Route>,
    names: &Definitions<'_>,
    bodies: &mut KnownBodies,
    loading: &mut Loading<'_>,
) -> Option<Route> {
    let route = field.value()?;
    let refusal = refusal::refusal(&route.refusal, bodies, loading);
    let problems = &mut loading.problems;
    let matches = matches::matches(&route.r#match, problems);
    let path = matches.as_ref().map(|matches| &matches.path);
    let mut context = RouteContext::new(names, path, problems);
    let action = action(route, field.at(), &mut context);
    let mirror = destinations::mirror(route, &mut context);
    context.check_listeners(route);
    context.check_limits(route);
    let identify = identities::of_route(route, &mut context);
    let request = transform::request(&route.request, &mut context);
    let response = transform::response(&route.response, &mut context);
    let limit_headers = response.as_ref().map(|response| response.limit_headers);
    let cors = cors::cors(route, limit_headers.unwrap_or_default(), problems);
    let at = route.concurrency.at();
    let concurrency = route
        .concurrency
        .if_given(|cap| concurrency(cap, at, problems));
    let timeouts = timeouts(&route.timeouts, problems);
    let retry = retry(&route.retry, problems);
    Some(Route {
        name: route.name.read()?,
        matches: matches?,
        action: action?,
        mirror: mirror?,
        limits: route.limits.read()?,
        identify: identify?,
        priority: route.priority.value?,
        grpc: route.grpc.value?,
        concurrency: concurrency?,
        timeouts: timeouts?,
        retry: retry?,
        request: request?,
        response: response?,
        cors: cors?,
        refusal: refusal?,
    })
}

/// The one of four keys that says where requests go.
///
/// `at` is the place of the route. A route without a name that could be shown
/// is reported there, others at their name.
///
/// A route without an action is not reported while a part of the file could not
/// be read: the missing key may stand in that part.
fn action(route: &wire::Route, at: Span, context: &mut RouteContext<'_>) -> Option<Action> {
    let is_report = route.quota.value == Some(true);
    let quota = GivenKey::given("quota", &route.quota);
    let keys = [
        GivenKey::given("upstream", &route.upstream),
        GivenKey::given("respond", &route.respond),
        GivenKey::given("redirect", &route.redirect),
        quota.filter(|_| is_report),
    ];
    let reason = ": a request goes one way";
    let help = "keep one of upstream, respond, redirect and quota";
    if exclude(&keys, reason, help, context.problems) {
        return None;
    }
    if let Some(upstream) = &route.upstream {
        return destinations::upstream(upstream, context);
    }
    if let Some(respond) = &route.respond {
        return self::respond(respond.value()?, context.problems);
    }
    if let Some(redirect) = &route.redirect {
        return self::redirect(redirect.value()?, context);
    }
    if is_report {
        return report(route, context.problems);
    }
    route.quota.value?;
    if !context.problems.incomplete {
        let name = route.name.given().map_or("", |name| &name.text);
        let at = if name.is_empty() { at } else { route.name.at() };
        let message = format!("the route `{name}` does nothing: it has no upstream");
        let help = "add `upstream = \"NAME\"`, or `respond`, `redirect` or `quota`";
        context.problems.error(Code::MissingKey, at, message, help);
    }
    None
}

/// The state of the route's limits, for the client that asks.
fn report(route: &wire::Route, problems: &mut Problems) -> Option<Action> {
    if route.limits.elements().is_empty() && !route.limits.is_broken() {
        let message = "a route with `quota = true` tells of its limits, and has none";
        let help = "add `limits = [\"NAME\"]` with those that clients may ask about";
        problems.error(Code::MissingKey, route.quota.at(), message, help);
    }
    Some(Action::Report)
}

/// A response that the gateway makes itself.
///
/// Statuses 204, 205 and 304 have no content (RFC 9110, sections 15.3.5, 15.3.6
/// and 15.4.5), so that a body beside them is a mistake.
fn respond(respond: &wire::Respond, problems: &mut Problems) -> Option<Action> {
    let status = respond.status.read()?;
    let body = respond.body.read()?;
    if !body.is_empty() && matches!(status.as_u16(), 204 | 205 | 304) {
        let message = format!("an answer with status {status} has no body");
        let help = "leave `body` out, or choose another status";
        problems.error(Code::Conflict, respond.body.at(), message, help);
    }
    Some(Action::Respond {
        status,
        body: body.into(),
        headers: respond.headers.read().unwrap_or_default(),
    })
}

/// A redirection. Only statuses with which clients follow `Location` are
/// accepted (RFC 9110, section 15.4).
///
/// The target is a template, in which `{host}` and `{path}` are known to each
/// route, beside the parameters of its own path.
fn redirect(redirect: &wire::Redirection, context: &mut RouteContext<'_>) -> Option<Action> {
    let to = &redirect.to.value()?.value;
    context.check_template("to", to, redirect.to.at(), &["host", "path"]);
    let status = redirect.status.read()?;
    if !matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308) {
        let message = format!("{} is not a status that redirects", status.as_u16());
        let help = "write 301, 302, 303, 307 or 308";
        let at = redirect.status.at();
        context.problems.error(Code::BadValue, at, message, help);
    }
    let to = to.clone();
    Some(Action::Redirect { to, status })
}

/// Timeouts of a route. An attempt takes no longer than all of them together:
/// without a value of its own it takes as long, and a longer one that is
/// inherited is cut, so that a route with a short total does not have to repeat
/// a timeout that it never reaches.
///
/// A longer attempt that the route gives itself is a mistake, as its author
/// expects it to have an effect.
fn timeouts(entry: &Nested<wire::Timeouts>, problems: &mut Problems) -> Option<Timeouts> {
    let timeouts = section(entry)?;
    let total = timeouts.total.read()?;
    let attempt = timeouts.attempt.optional()?.unwrap_or(total);
    if attempt > total && timeouts.attempt.is_own() {
        let (attempt, total) = (units::duration_text(attempt), units::duration_text(total));
        let message = format!("an attempt of {attempt} never fits into the total of {total}");
        let help = format!("lower `attempt`, or set `total` to {attempt} or more");
        problems.error(Code::Conflict, timeouts.attempt.at(), message, help);
    }
    Some(Timeouts {
        total,
        attempt: attempt.min(total),
        idle: timeouts.idle.read()?,
        tunnel: timeouts.tunnel.read()?,
        body: timeouts.body.read()?,
    })
}

/// When and how often a request is tried again. The default of `max_backoff`
/// gives way to a longer `backoff`.
///
/// The wait before a retry begins with `backoff` and doubles up to
/// `max_backoff`, so that the second is never below the first in the result.
fn retry(entry: &Nested<wire::Retry>, problems: &mut Problems) -> Option<Retry> {
    let retry = section(entry)?;
    let (backoff, max_backoff) = (retry.backoff.read()?, retry.max_backoff.read()?);
    if backoff > max_backoff && retry.max_backoff.is_own() {
        let backoff = units::duration_text(backoff);
        let message = format!("`max_backoff` is below `backoff`, which is {backoff}");
        let help = "the wait begins with `backoff` and doubles up to `max_backoff`";
        problems.error(Code::Conflict, retry.max_backoff.at(), message, help);
    }
    Some(Retry {
        attempts: retry.attempts.read()?,
        on: retry.on.read()?.into_iter().collect(),
        methods: retry.methods.read()?,
        backoff,
        max_backoff: max_backoff.max(backoff),
        budget: retry.budget.read()?,
        budget_min: retry.budget_min.read()?,
        buffer: retry.buffer.read()?,
    })
}
