//! The endpoints of the admin listener, and the responses to calls of anything
//! else.
//!
//! One table lists them for people (`GET /`) and for the dispatch of calls. A
//! call is looked up first, then its caller is checked, then its method; an
//! unknown path is reported only to callers that pass the check.

use std::fmt::Display;

use http::{HeaderValue, Method, Request, StatusCode, header};
use http_body::Body;
use http_body_util::BodyExt as _;

use super::{
    acme_view,
    context::AdminContext,
    guard::{Caller, Denial, Rules, Sight, changes},
    limit_keys::{self, KeyCall},
    observed, reloading,
    response::{AdminResponse, json, problem, text, view, with_type},
    views,
};
use crate::telemetry::metrics::Format;

/// All endpoints, in the order in which `GET /` lists them.
const ENDPOINTS: [Endpoint; 14] = [
    Endpoint {
        method: "GET",
        path: "/",
        call: CallKind::Index,
        about: "this list",
    },
    Endpoint {
        method: "GET",
        path: "/metrics",
        call: CallKind::Metrics,
        about: "metrics, for Prometheus",
    },
    Endpoint {
        method: "GET",
        path: "/livez",
        call: CallKind::Livez,
        about: "200 while the process runs",
    },
    Endpoint {
        method: "GET",
        path: "/readyz",
        call: CallKind::Readyz,
        about: "200 while new requests are welcome, 503 before and after",
    },
    Endpoint {
        method: "GET",
        path: "/config",
        call: CallKind::Config,
        about: "the running configuration, without secrets",
    },
    Endpoint {
        method: "GET",
        path: "/routes",
        call: CallKind::Routes,
        about: "routes, with requests in flight and waiting",
    },
    Endpoint {
        method: "GET",
        path: "/upstreams",
        call: CallKind::Upstreams,
        about: "upstreams, their servers and connections",
    },
    Endpoint {
        method: "GET",
        path: "/limits",
        call: CallKind::Limits,
        about: "limits, and how many keys they hold",
    },
    Endpoint {
        method: "GET",
        path: TOP,
        call: CallKind::Top,
        about: "keys that ask most of a limit; ?n=20",
    },
    Endpoint {
        method: "GET",
        path: KEYS,
        call: CallKind::Keys,
        about: "one key: what is left; ?key=VALUE for each part, or ?hash=",
    },
    Endpoint {
        method: "PUT",
        path: KEYS,
        call: CallKind::Keys,
        about: "other numbers for a while: {\"rate\", \"burst\", \"ttl\"}",
    },
    Endpoint {
        method: "DELETE",
        path: KEYS,
        call: CallKind::Keys,
        about: "a full bucket again; ends other numbers",
    },
    Endpoint {
        method: "GET",
        path: "/acme",
        call: CallKind::Acme,
        about: "certificates that are ordered: state, next attempt, last problem",
    },
    Endpoint {
        method: "POST",
        path: "/reload",
        call: CallKind::Reload,
        about: "reads the configuration again and says what changed",
    },
];

/// The path of the heaviest keys of a limit.
const TOP: &str = "/limits/NAME/top";
/// The path of single keys of a limit.
const KEYS: &str = "/limits/NAME/keys";

/// A line of the list. An endpoint that is called with several methods has a
/// line for each.
struct Endpoint {
    /// The method of the call.
    method: &'static str,
    /// The path, with `NAME` for the name of a limit.
    path: &'static str,
    /// The call that a request to this path is.
    call: CallKind,
    /// A description for the list.
    about: &'static str,
}

/// The kinds of calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CallKind {
    /// The list of all endpoints.
    Index,
    /// The metrics, in the format that the scraper prefers.
    Metrics,
    /// Whether the process runs.
    Livez,
    /// Whether new requests are accepted.
    Readyz,
    /// The running configuration.
    Config,
    /// The routes and their present state.
    Routes,
    /// The upstreams and the present state of their servers.
    Upstreams,
    /// The limits and the number of their keys.
    Limits,
    /// The heaviest keys of a limit.
    Top,
    /// One key of a limit, to be read or changed.
    Keys,
    /// The certificates that are ordered.
    Acme,
    /// A reload of the configuration.
    Reload,
}

impl CallKind {
    /// True for calls that may name any host: probes and scrapers reach a pod
    /// by whatever name they have for it, and nothing in these responses is
    /// secret.
    fn is_for_probes(self) -> bool {
        matches!(self, CallKind::Metrics | CallKind::Livez | CallKind::Readyz)
    }

    /// True for the methods that the call can be made with.
    fn takes(self, method: &Method) -> bool {
        match self {
            CallKind::Reload => *method == Method::POST,
            CallKind::Keys if matches!(*method, Method::PUT | Method::DELETE) => true,
            // hyper leaves the body out of a response to HEAD.
            _ => matches!(*method, Method::GET | Method::HEAD),
        }
    }

    /// The value of `Allow`.
    fn methods(self) -> &'static str {
        match self {
            CallKind::Reload => "POST",
            CallKind::Keys => "GET, HEAD, PUT, DELETE",
            _ => "GET, HEAD",
        }
    }
}

/// A path that is an endpoint.
struct FoundEndpoint<'a> {
    call: CallKind,
    /// The name of the limit in the path, still percent-encoded; empty for
    /// calls without one.
    limit: &'a str,
}

/// The endpoint at a path; `None` if there is none. The name of a limit may
/// contain slashes, so it is everything between the fixed ends of the path.
fn find(path: &str) -> Option<FoundEndpoint<'_>> {
    if let Some(rest) = path.strip_prefix("/limits/") {
        if let Some(limit) = rest.strip_suffix("/top") {
            return Some(FoundEndpoint {
                call: CallKind::Top,
                limit,
            });
        }
        if let Some(limit) = rest.strip_suffix("/keys") {
            return Some(FoundEndpoint {
                call: CallKind::Keys,
                limit,
            });
        }
    }
    let endpoint = ENDPOINTS.iter().find(|endpoint| endpoint.path == path)?;
    Some(FoundEndpoint {
        call: endpoint.call,
        limit: "",
    })
}

/// Responds to one call, and logs it if it may change something.
pub(super) async fn respond<B>(
    context: &AdminContext,
    caller: Caller,
    request: Request<B>,
) -> AdminResponse
where
    B: Body<Error: Display>,
{
    let (head, body) = request.into_parts();
    let request = Request::from_parts(head, ());
    let path = request.uri().path();
    let found = find(path);
    let call = found.as_ref().map(|found| found.call);
    let response = match (check(context, caller, &request, call), found) {
        (Err(refusal), _) => refused(&refusal),
        (Ok(_), None) => missing(path),
        (Ok(_), Some(found)) if !found.call.takes(request.method()) => not_allowed(found.call),
        (Ok(sight), Some(found)) => carry_out(context, found, caller, sight, &request, body).await,
    };
    if changes(request.method()) {
        log_change(caller, &request, response.status());
    }
    response
}

/// Checks the caller. Returns how much of the values of keys it may see.
fn check(
    context: &AdminContext,
    caller: Caller,
    request: &Request<()>,
    call: Option<CallKind>,
) -> Result<Sight, Denial> {
    let settings = context.settings.load();
    let Some(settings) = &**settings else {
        return Err(Denial::Off);
    };
    let local = caller.local;
    let rules = Rules { local, settings };
    rules.check(request, call.is_some_and(CallKind::is_for_probes))?;
    Ok(rules.sight(request.headers()))
}

/// Carries out a call that the caller may make.
async fn carry_out<B>(
    context: &AdminContext,
    found: FoundEndpoint<'_>,
    caller: Caller,
    sight: Sight,
    request: &Request<()>,
    body: B,
) -> AdminResponse
where
    B: Body<Error: Display>,
{
    let name = limit_keys::name(found.limit);
    let query = request.uri().query().unwrap_or_default();
    let (room, state) = (&context.views, || context.state.load_full());
    match found.call {
        CallKind::Index => text(index()),
        CallKind::Metrics => metrics(context, request),
        CallKind::Livez => well(),
        CallKind::Readyz if context.readiness.is_ready() => well(),
        CallKind::Readyz => problem(
            StatusCode::SERVICE_UNAVAILABLE,
            "the gateway is starting or draining",
        ),
        CallKind::Config => view(room, state, |state| state.config.shown()).await,
        CallKind::Routes => view(room, state, views::routes).await,
        CallKind::Upstreams => view(room, state, views::upstreams).await,
        CallKind::Limits => view(room, state, views::limits).await,
        CallKind::Acme => json(StatusCode::OK, &acme_view::domains(&context.acme.state())),
        CallKind::Reload => reloading::reload(&context.reload).await,
        CallKind::Top => limit_keys::top(&context.state.load_full(), sight, &name, query).await,
        CallKind::Keys => match body.collect().await {
            Ok(body) => {
                let call = KeyCall {
                    caller,
                    sight,
                    method: request.method(),
                    name: &name,
                    query,
                    body: &body.to_bytes(),
                };
                limit_keys::keys(&context.state.load_full(), call).await
            }
            Err(error) => problem(
                StatusCode::BAD_REQUEST,
                &format!("the body cannot be read: {error}"),
            ),
        },
    }
}

/// The response of a healthy process.
fn well() -> AdminResponse {
    json(StatusCode::OK, &serde_json::json!({ "status": "ok" }))
}

/// The list of all endpoints as text.
fn index() -> String {
    let mut list = String::new();
    for endpoint in &ENDPOINTS {
        let Endpoint {
            method,
            path,
            about,
            ..
        } = endpoint;
        list += &format!("{method:6} {path:17}  {about}\n");
    }
    list
}

/// All metrics, in the format that the scraper prefers.
fn metrics(context: &AdminContext, request: &Request<()>) -> AdminResponse {
    let accept: Vec<_> = request
        .headers()
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|accept| accept.to_str().ok())
        .collect();
    let format = Format::negotiate(Some(&accept.join(",")));
    let observed = observed::observe(context);
    let text = context.metrics.render(format, &observed);
    with_type(format.content_type(), StatusCode::OK, text.into())
}

/// The response to a caller that is refused.
fn refused(refusal: &Denial) -> AdminResponse {
    let mut response = problem(refusal.status(), &refusal.detail());
    if let Some(challenge) = refusal.challenge() {
        response.headers_mut().insert(
            header::WWW_AUTHENTICATE,
            HeaderValue::from_static(challenge),
        );
    }
    response
}

/// 404 for a path that is no endpoint.
fn missing(path: &str) -> AdminResponse {
    problem(
        StatusCode::NOT_FOUND,
        &format!("there is no {path} here; GET / lists what there is"),
    )
}

/// 405 for a method that the endpoint does not have.
fn not_allowed(call: CallKind) -> AdminResponse {
    let detail = format!("this is called with {}", call.methods());
    let mut response = problem(StatusCode::METHOD_NOT_ALLOWED, &detail);
    response
        .headers_mut()
        .insert(header::ALLOW, HeaderValue::from_static(call.methods()));
    response
}

/// Logs every call that changes something, and every attempt. Values of keys in
/// the query are left out, as they may be credentials.
fn log_change(caller: Caller, request: &Request<()>, status: StatusCode) {
    let peer = caller.peer;
    let method = request.method();
    let path = request.uri().path();
    let status = status.as_u16();
    if matches!(status, 401 | 403 | 421) {
        tracing::warn!(%peer, %method, path, status, "admin call refused");
    } else {
        tracing::info!(%peer, %method, path, status, "admin call");
    }
}

#[cfg(test)]
mod tests;
