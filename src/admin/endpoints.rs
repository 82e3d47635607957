//! What the admin listener offers, and what is said of calls to anything else.

use std::net::SocketAddr;

use http::{HeaderValue, Method, Request, StatusCode, header};

use super::{
    Admin,
    answer::{Answer, json, problem, text, with_type},
    guard::{Refusal, Rules, changes},
    observed, reloading, views,
};
use crate::telemetry::metrics::Format;

/// The two ends of a connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Caller {
    pub(super) peer: SocketAddr,
    pub(super) local: SocketAddr,
}

/// Everything there is, in the order in which `GET /` lists it.
const ENDPOINTS: [Endpoint; 9] = [
    Endpoint { path: "/", call: Call::Index, about: "this list" },
    Endpoint { path: "/metrics", call: Call::Metrics, about: "metrics, for Prometheus" },
    Endpoint { path: "/livez", call: Call::Livez, about: "200 while the process runs" },
    Endpoint { path: "/readyz", call: Call::Readyz, about: "200 while new requests are welcome, 503 before and after" },
    Endpoint { path: "/config", call: Call::Config, about: "the running configuration, without secrets" },
    Endpoint { path: "/routes", call: Call::Routes, about: "routes, with requests in flight and waiting" },
    Endpoint { path: "/upstreams", call: Call::Upstreams, about: "upstreams, their servers and connections" },
    Endpoint { path: "/limits", call: Call::Limits, about: "limits, and how many keys they hold" },
    Endpoint { path: "/reload", call: Call::Reload, about: "reads the configuration again and says what changed" },
];

struct Endpoint {
    path: &'static str,
    call: Call,
    about: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Call {
    Index,
    Metrics,
    Livez,
    Readyz,
    Config,
    Routes,
    Upstreams,
    Limits,
    Reload,
}

impl Call {
    /// Probes and scrapers reach a pod by whatever name they have for it, and nothing here is secret.
    fn is_for_probes(self) -> bool {
        matches!(self, Call::Metrics | Call::Livez | Call::Readyz)
    }

    fn takes(self, method: &Method) -> bool {
        match self {
            Call::Reload => *method == Method::POST,
            // The server leaves the body of an answer to HEAD out.
            _ => matches!(*method, Method::GET | Method::HEAD),
        }
    }

    /// For `Allow`.
    fn methods(self) -> &'static str {
        if self == Call::Reload { "POST" } else { "GET, HEAD" }
    }
}

/// Answers one call.
pub(super) async fn answer<B>(admin: &Admin, caller: Caller, request: &Request<B>) -> Answer {
    let call = ENDPOINTS.iter().find(|endpoint| endpoint.path == request.uri().path()).map(|endpoint| endpoint.call);
    let answer = match check(admin, caller, request, call) {
        Err(refusal) => refused(&refusal),
        Ok(()) => match call {
            None => missing(request.uri().path()),
            Some(call) if !call.takes(request.method()) => not_allowed(call),
            Some(call) => call_of(admin, call, request).await,
        },
    };
    if changes(request.method()) {
        tell(caller, request, answer.status());
    }
    answer
}

fn check<B>(admin: &Admin, caller: Caller, request: &Request<B>, call: Option<Call>) -> Result<(), Refusal> {
    let settings = admin.settings.load();
    let Some(settings) = &**settings else { return Err(Refusal::Off) };
    let rules = Rules {
        local: caller.local,
        hosts: &settings.hosts,
        token: settings.token.as_ref().map(|token| token.0.as_str()),
    };
    rules.check(request, call.is_some_and(Call::is_for_probes))
}

async fn call_of<B>(admin: &Admin, call: Call, request: &Request<B>) -> Answer {
    match call {
        Call::Index => text(index()),
        Call::Metrics => metrics(admin, request),
        Call::Livez => text("ok\n"),
        Call::Readyz if admin.readiness.is_ready() => text("ok\n"),
        Call::Readyz => problem(StatusCode::SERVICE_UNAVAILABLE, "the gateway is starting or draining"),
        Call::Config => json(StatusCode::OK, &admin.state.load().config.shown()),
        Call::Routes => json(StatusCode::OK, &views::routes(&admin.state.load())),
        Call::Upstreams => json(StatusCode::OK, &views::upstreams(&admin.state.load())),
        Call::Limits => json(StatusCode::OK, &views::limits(&admin.state.load())),
        Call::Reload => reloading::reload(&admin.reload).await,
    }
}

fn index() -> String {
    let line = |endpoint: &Endpoint| {
        let method = if endpoint.call == Call::Reload { "POST" } else { "GET" };
        format!("{method:4} {:10}  {}\n", endpoint.path, endpoint.about)
    };
    ENDPOINTS.iter().map(line).collect()
}

fn metrics<B>(admin: &Admin, request: &Request<B>) -> Answer {
    let accept: Vec<_> =
        request.headers().get_all(header::ACCEPT).iter().filter_map(|accept| accept.to_str().ok()).collect();
    let format = Format::negotiate(Some(&accept.join(",")));
    let text = admin.metrics.render(format, &observed::observe(&admin.state.load(), &admin.doors, &admin.metrics));
    with_type(format.content_type(), StatusCode::OK, text.into())
}

fn refused(refusal: &Refusal) -> Answer {
    let mut answer = problem(refusal.status(), &refusal.detail());
    if let Some(challenge) = refusal.challenge() {
        answer.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
    }
    answer
}

fn missing(path: &str) -> Answer {
    problem(StatusCode::NOT_FOUND, &format!("there is no {path} here; GET / lists what there is"))
}

fn not_allowed(call: Call) -> Answer {
    let detail = format!("this is called with {}", call.methods());
    let mut answer = problem(StatusCode::METHOD_NOT_ALLOWED, &detail);
    answer.headers_mut().insert(header::ALLOW, HeaderValue::from_static(call.methods()));
    answer
}

/// Who changed something, or tried to, is in the log.
fn tell<B>(caller: Caller, request: &Request<B>, status: StatusCode) {
    let (peer, method, path, status) = (caller.peer, request.method(), request.uri().path(), status.as_u16());
    if matches!(status, 401 | 403 | 421) {
        tracing::warn!(%peer, %method, path, status, "admin call refused");
    } else {
        tracing::info!(%peer, %method, path, status, "admin call");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_names_every_endpoint_once() {
        let list = index();
        for endpoint in &ENDPOINTS {
            assert_eq!(list.lines().filter(|line| line.contains(&format!(" {} ", endpoint.path))).count(), 1, "{list}");
        }
    }

    #[test]
    fn what_changes_something_is_never_open_to_any_host() {
        let open: Vec<_> = ENDPOINTS.iter().filter(|endpoint| endpoint.call.is_for_probes()).collect();
        assert!(open.iter().all(|endpoint| endpoint.call.takes(&Method::GET) && !endpoint.call.takes(&Method::POST)));
        assert_eq!(open.iter().map(|endpoint| endpoint.path).collect::<Vec<_>>(), ["/metrics", "/livez", "/readyz"]);
    }

    #[test]
    fn a_method_that_is_not_taken_is_told_which_are() {
        let answer = not_allowed(Call::Reload);
        assert_eq!((answer.status().as_u16(), &answer.headers()[header::ALLOW]), (405, &"POST".parse().unwrap()));
    }
}
