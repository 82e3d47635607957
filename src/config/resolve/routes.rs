//! `[[routes]]`.

use http::StatusCode;

use super::{
    super::{
        problem::{Code, Problem, Problems},
        syntax::{self, header, header::RetryReason},
        units,
    },
    concurrency::concurrency,
    destinations, matches,
    reader::Reader,
    references::Names,
    transform,
};
use crate::policy::{Action, PathPattern, Priority, Retry, RetryOn, Route, Timeouts};

const ACTIONS: [&str; 3] = ["upstream", "respond", "redirect"];

pub(super) fn route(
    route: Reader<'_>,
    names: &Names<'_>,
    problems: &mut Problems,
) -> Option<Route> {
    let matches = matches::matches(route.table("match"), problems);
    let path = matches.as_ref().map(|matches| &matches.path);
    let action = action(route, path, names, problems);
    let mirror = destinations::mirror(route, path, names, problems);
    names.check_limits(route, path, problems);
    let concurrency = concurrency(route, problems);
    let timeouts = timeouts(route.table("timeouts"), problems);
    let retry = retry(route.table("retry"), problems);
    let request = transform::request(route.table("request"), path, problems);
    let response = transform::response(route.table("response"), problems);
    Some(Route {
        name: route.parsed("name", syntax::name)?,
        matches: matches?,
        action: action?,
        mirror: mirror?,
        limits: route.list("limits", syntax::name),
        priority: match route.text("priority")? {
            "high" => Priority::High,
            "low" => Priority::Low,
            _ => Priority::Normal,
        },
        grpc: route.flag("grpc")?,
        concurrency: concurrency?,
        timeouts: timeouts?,
        retry: retry?,
        request: request?,
        response: response?,
    })
}

fn action(
    route: Reader<'_>,
    path: Option<&PathPattern>,
    names: &Names<'_>,
    problems: &mut Problems,
) -> Option<Action> {
    let given: Vec<_> = ACTIONS
        .into_iter()
        .filter(|key| route.entry(key).is_some())
        .collect();
    match given.as_slice() {
        [] => {
            no_action(route, problems);
            None
        }
        ["upstream"] => destinations::upstream(route, path, names, problems),
        ["respond"] => respond(route.table("respond"), problems),
        ["redirect"] => redirect(route.table("redirect"), path, problems),
        [one, two, ..] => {
            let message = format!("`{one}` and `{two}` exclude each other: a request goes one way");
            let problem = Problem::new(Code::Conflict, route.place(two), message)
                .also(route.place(one), "the other");
            problems.report(problem.help("keep one of upstream, respond and redirect"));
            None
        }
        [_] => None,
    }
}

fn no_action(route: Reader<'_>, problems: &mut Problems) {
    if problems.incomplete {
        return;
    }
    let name = route.text("name").unwrap_or_default();
    let at = if route.given("name").is_some() {
        route.place("name")
    } else {
        route.at
    };
    let problem = Problem::new(
        Code::MissingKey,
        at,
        format!("the route `{name}` does nothing: it has no upstream"),
    );
    problems.report(problem.help("add `upstream = \"NAME\"`, or `respond` or `redirect`"));
}

fn respond(respond: Reader<'_>, problems: &mut Problems) -> Option<Action> {
    let status = status(respond)?;
    let body = respond.text("body")?.to_owned();
    if !body.is_empty() && matches!(status.as_u16(), 204 | 205 | 304) {
        let problem = Problem::new(
            Code::Conflict,
            respond.place("body"),
            format!("an answer with status {status} has no body"),
        );
        problems.report(problem.help("leave `body` out, or choose another status"));
    }
    let headers = respond.pairs("headers", header::changeable, header::value);
    Some(Action::Respond {
        status,
        body: body.into(),
        headers: headers
            .into_iter()
            .map(|(name, value, _)| (name, value))
            .collect(),
    })
}

fn redirect(
    redirect: Reader<'_>,
    path: Option<&PathPattern>,
    problems: &mut Problems,
) -> Option<Action> {
    transform::check_places(redirect, "to", path, &["host", "path"], problems);
    let status = status(redirect)?;
    if !matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308) {
        let message = format!("{} is not a status that redirects", status.as_u16());
        let problem = Problem::new(Code::BadValue, redirect.place("status"), message);
        problems.report(problem.help("write 301, 302, 303, 307 or 308"));
    }
    Some(Action::Redirect {
        to: redirect.text("to")?.to_owned(),
        status,
    })
}

fn status(reader: Reader<'_>) -> Option<StatusCode> {
    StatusCode::from_u16(u16::try_from(reader.whole("status")?).ok()?).ok()
}

fn timeouts(timeouts: Reader<'_>, problems: &mut Problems) -> Option<Timeouts> {
    let total = timeouts.parsed("total", units::duration)?;
    let attempt = match timeouts.entry("attempt") {
        Some(_) => timeouts.parsed("attempt", units::duration)?,
        None => total,
    };
    // Inherited, it is cut: a route with a short total should not have to repeat what it never reaches.
    if attempt > total && timeouts.own("attempt").is_some() {
        let (attempt, total) = (units::duration_text(attempt), units::duration_text(total));
        let message = format!("an attempt of {attempt} never fits into the total of {total}");
        let problem = Problem::new(Code::Conflict, timeouts.place("attempt"), message);
        problems.report(problem.help(format!(
            "lower `attempt`, or set `total` to {attempt} or more"
        )));
    }
    Some(Timeouts {
        total,
        attempt: attempt.min(total),
        idle: timeouts.parsed("idle", units::duration)?,
        tunnel: timeouts.parsed("tunnel", units::duration)?,
        body: timeouts.unless_off("body", units::duration)?,
    })
}

fn retry(retry: Reader<'_>, problems: &mut Problems) -> Option<Retry> {
    let backoff = retry.parsed("backoff", units::duration)?;
    let max_backoff = retry.parsed("max_backoff", units::duration)?;
    if backoff > max_backoff && retry.own("max_backoff").is_some() {
        let message = format!(
            "`max_backoff` is below `backoff`, which is {}",
            units::duration_text(backoff)
        );
        let problem = Problem::new(Code::Conflict, retry.place("max_backoff"), message);
        problems
            .report(problem.help("the wait begins with `backoff` and doubles up to `max_backoff`"));
    }
    Some(Retry {
        attempts: retry.at_least_one_u32("attempts")?,
        on: retry_on(&retry.list("on", header::retry_reason)),
        methods: retry.list("methods", header::method),
        backoff,
        max_backoff: max_backoff.max(backoff),
        budget: retry.parsed("budget", units::percent)?,
        budget_min: u32::try_from(retry.whole("budget_min")?).ok()?,
        buffer: usize::try_from(retry.parsed("buffer", units::size)?).ok()?,
    })
}

fn retry_on(reasons: &[RetryReason]) -> RetryOn {
    let mut on = RetryOn::default();
    for reason in reasons {
        match reason {
            RetryReason::Connect => on.connect = true,
            RetryReason::Reset => on.reset = true,
            RetryReason::Timeout => on.timeout = true,
            RetryReason::Status(status) => on.statuses.push(*status),
        }
    }
    on
}
