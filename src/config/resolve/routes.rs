//! `[[routes]]`.

use super::{
    super::{
        field::{Field, Given, section},
        problem::{Code, Problem, Problems},
        source::Span,
        syntax::header::RetryReason,
        units,
        wire::routes as wire,
    },
    concurrency::concurrency,
    destinations, matches,
    references::Names,
    transform,
};
use crate::policy::{Action, PathPattern, Retry, RetryOn, Route, Timeouts};

pub(super) fn route(
    field: &Field<wire::Route>,
    names: &Names<'_>,
    problems: &mut Problems,
) -> Option<Route> {
    let route = field.value()?;
    let at = field.at();
    let matches = matches::matches(&route.r#match, problems);
    let path = matches.as_ref().map(|matches| &matches.path);
    let action = action(route, at, path, names, problems);
    let mirror = destinations::mirror(route, path, names, problems);
    names.check_limits(route, path, problems);
    let concurrency = concurrency(&route.concurrency, problems);
    let timeouts = timeouts(&route.timeouts, problems);
    let retry = retry(&route.retry, problems);
    let request = transform::request(&route.request, path, problems);
    let response = transform::response(&route.response, problems);
    Some(Route {
        name: route.name.read()?,
        matches: matches?,
        action: action?,
        mirror: mirror?,
        limits: route.limits.read()?,
        priority: route.priority.value?,
        grpc: route.grpc.value?,
        concurrency: concurrency?,
        timeouts: timeouts?,
        retry: retry?,
        request: request?,
        response: response?,
    })
}

/// One of the keys that say where requests go, and where it stands.
struct Way<'a> {
    key: &'a str,
    at: Span,
}

fn action(
    route: &wire::Route,
    at: Span,
    path: Option<&PathPattern>,
    names: &Names<'_>,
    problems: &mut Problems,
) -> Option<Action> {
    let places = [
        (
            "upstream",
            route.upstream.as_ref().map(|field| field.place(at)),
        ),
        (
            "respond",
            route.respond.as_ref().map(|field| field.place(at)),
        ),
        (
            "redirect",
            route.redirect.as_ref().map(|field| field.place(at)),
        ),
    ];
    let given: Vec<_> = places
        .into_iter()
        .filter_map(|(key, at)| Some(Way { key, at: at? }))
        .collect();
    if let [one, two, ..] = given.as_slice() {
        let message = format!(
            "`{}` and `{}` exclude each other: a request goes one way",
            one.key, two.key
        );
        let problem = Problem::new(Code::Conflict, two.at, message).also(one.at, "the other");
        problems.report(problem.help("keep one of upstream, respond and redirect"));
        return None;
    }
    if let Some(upstream) = &route.upstream {
        return destinations::upstream(upstream, path, names, problems);
    }
    if let Some(respond) = &route.respond {
        return self::respond(respond.value()?, problems);
    }
    if let Some(redirect) = &route.redirect {
        return self::redirect(redirect.value()?, path, problems);
    }
    no_action(route, at, problems);
    None
}

fn no_action(route: &wire::Route, at: Span, problems: &mut Problems) {
    if problems.incomplete {
        return;
    }
    let name = route.name.given().map_or("", |name| &name.text);
    let at = match name {
        "" => at,
        _ => route.name.place(at),
    };
    problems.error(
        Code::MissingKey,
        at,
        format!("the route `{name}` does nothing: it has no upstream"),
        "add `upstream = \"NAME\"`, or `respond` or `redirect`",
    );
}

fn respond(respond: &wire::Respond, problems: &mut Problems) -> Option<Action> {
    let status = respond.status.read()?;
    let body = respond.body.read()?;
    if !body.is_empty() && matches!(status.as_u16(), 204 | 205 | 304) {
        problems.error(
            Code::Conflict,
            respond.body.at(),
            format!("an answer with status {status} has no body"),
            "leave `body` out, or choose another status",
        );
    }
    Some(Action::Respond {
        status,
        body: body.into(),
        headers: respond.headers.read().unwrap_or_default(),
    })
}

fn redirect(
    redirect: &wire::Redirection,
    path: Option<&PathPattern>,
    problems: &mut Problems,
) -> Option<Action> {
    let to = redirect.to.value()?;
    let at = redirect.to.at();
    let template = transform::Template {
        key: "to",
        text: &to.text,
        at,
        built_in: &["host", "path"],
    };
    template.check(path, problems);
    let status = redirect.status.read()?;
    if !matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308) {
        let message = format!("{} is not a status that redirects", status.as_u16());
        problems.error(
            Code::BadValue,
            redirect.status.place(at),
            message,
            "write 301, 302, 303, 307 or 308",
        );
    }
    Some(Action::Redirect {
        to: to.text.clone(),
        status,
    })
}

fn timeouts(entry: &Option<Field<wire::Timeouts>>, problems: &mut Problems) -> Option<Timeouts> {
    let field = section(entry);
    let timeouts = field.value()?;
    let total = timeouts.total.read()?;
    let attempt = match &timeouts.attempt {
        Some(attempt) => attempt.read()?,
        None => total,
    };
    // Inherited, it is cut: a route with a short total should not have to
    // repeat what it never reaches.
    if attempt > total && timeouts.attempt.is_own() {
        let (attempt, total) = (units::duration_text(attempt), units::duration_text(total));
        let message = format!("an attempt of {attempt} never fits into the total of {total}");
        let at = timeouts.attempt.at();
        problems.error(
            Code::Conflict,
            at,
            message,
            format!("lower `attempt`, or set `total` to {attempt} or more"),
        );
    }
    Some(Timeouts {
        total,
        attempt: attempt.min(total),
        idle: timeouts.idle.read()?,
        tunnel: timeouts.tunnel.read()?,
        body: timeouts.body.read()?,
    })
}

fn retry(entry: &Option<Field<wire::Retry>>, problems: &mut Problems) -> Option<Retry> {
    let field = section(entry);
    let retry = field.value()?;
    let (backoff, max_backoff) = (retry.backoff.read()?, retry.max_backoff.read()?);
    if backoff > max_backoff && retry.max_backoff.is_own() {
        let message = format!(
            "`max_backoff` is below `backoff`, which is {}",
            units::duration_text(backoff)
        );
        let at = retry.max_backoff.at();
        problems.error(
            Code::Conflict,
            at,
            message,
            "the wait begins with `backoff` and doubles up to `max_backoff`",
        );
    }
    Some(Retry {
        attempts: retry.attempts.read()?,
        on: retry_on(&retry.on.read()?),
        methods: retry.methods.read()?,
        backoff,
        max_backoff: max_backoff.max(backoff),
        budget: retry.budget.read()?,
        budget_min: retry.budget_min.read()?,
        buffer: retry.buffer.read()?,
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
