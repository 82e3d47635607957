//! What the admin listener offers, and what is said of calls to anything else.

use std::{fmt::Display, net::SocketAddr};

use http::{HeaderValue, Method, Request, StatusCode, header};
use http_body::Body;
use http_body_util::BodyExt as _;

use super::{
    Admin,
    answer::{Answer, json, problem, text, with_type},
    guard::{Refusal, Rules, Sight, changes},
    limit_keys, observed, reloading, views,
};
use crate::telemetry::metrics::Format;

/// The two ends of a connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Caller {
    pub(super) peer: SocketAddr,
    pub(super) local: SocketAddr,
}

/// Everything there is, in the order in which `GET /` lists it.
const ENDPOINTS: [Endpoint; 13] = [
    Endpoint {
        method: "GET",
        path: "/",
        call: Call::Index,
        about: "this list",
    },
    Endpoint {
        method: "GET",
        path: "/metrics",
        call: Call::Metrics,
        about: "metrics, for Prometheus",
    },
    Endpoint {
        method: "GET",
        path: "/livez",
        call: Call::Livez,
        about: "200 while the process runs",
    },
    Endpoint {
        method: "GET",
        path: "/readyz",
        call: Call::Readyz,
        about: "200 while new requests are welcome, 503 before and after",
    },
    Endpoint {
        method: "GET",
        path: "/config",
        call: Call::Config,
        about: "the running configuration, without secrets",
    },
    Endpoint {
        method: "GET",
        path: "/routes",
        call: Call::Routes,
        about: "routes, with requests in flight and waiting",
    },
    Endpoint {
        method: "GET",
        path: "/upstreams",
        call: Call::Upstreams,
        about: "upstreams, their servers and connections",
    },
    Endpoint {
        method: "GET",
        path: "/limits",
        call: Call::Limits,
        about: "limits, and how many keys they hold",
    },
    Endpoint {
        method: "GET",
        path: TOP,
        call: Call::Top,
        about: "keys that ask most of a limit; ?n=20",
    },
    Endpoint {
        method: "GET",
        path: KEYS,
        call: Call::Keys,
        about: "one key: what is left; ?key=VALUE for each part, or ?hash=",
    },
    Endpoint {
        method: "PUT",
        path: KEYS,
        call: Call::Keys,
        about: "other numbers for a while: {\"rate\", \"burst\", \"ttl\"}",
    },
    Endpoint {
        method: "DELETE",
        path: KEYS,
        call: Call::Keys,
        about: "a full bucket again; ends other numbers",
    },
    Endpoint {
        method: "POST",
        path: "/reload",
        call: Call::Reload,
        about: "reads the configuration again and says what changed",
    },
];

const TOP: &str = "/limits/NAME/top";
const KEYS: &str = "/limits/NAME/keys";

struct Endpoint {
    /// The one that it is about.
    method: &'static str,
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
    Top,
    Keys,
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
            Call::Keys if matches!(*method, Method::PUT | Method::DELETE) => true,
            // The server leaves the body of an answer to HEAD out.
            _ => matches!(*method, Method::GET | Method::HEAD),
        }
    }

    /// For `Allow`.
    fn methods(self) -> &'static str {
        match self {
            Call::Reload => "POST",
            Call::Keys => "GET, HEAD, PUT, DELETE",
            _ => "GET, HEAD",
        }
    }
}

/// The call that a path is, and the name of a limit in it.
fn find(path: &str) -> Option<(Call, &str)> {
    let of_limit = |end| {
        path.strip_prefix("/limits/")
            .and_then(|path| path.strip_suffix(end))
    };
    match (of_limit("/top"), of_limit("/keys")) {
        (Some(name), _) => Some((Call::Top, name)),
        (_, Some(name)) => Some((Call::Keys, name)),
        _ => ENDPOINTS
            .iter()
            .find(|endpoint| endpoint.path == path)
            .map(|endpoint| (endpoint.call, "")),
    }
}

/// Answers one call.
pub(super) async fn answer<B>(admin: &Admin, caller: Caller, request: Request<B>) -> Answer
where
    B: Body<Error: Display>,
{
    let (head, body) = request.into_parts();
    let request = Request::from_parts(head, ());
    let path = request.uri().path();
    let found = find(path);
    let answer = match check(admin, caller, &request, found.map(|(call, _)| call)) {
        Err(refusal) => refused(&refusal),
        Ok(sight) => match found {
            None => missing(path),
            Some((call, _)) if !call.takes(request.method()) => not_allowed(call),
            Some((Call::Keys, name)) => match body.collect().await {
                Ok(body) => keys(admin, (caller, sight), (&request, name), &body.to_bytes()).await,
                Err(error) => problem(
                    StatusCode::BAD_REQUEST,
                    &format!("the body cannot be read: {error}"),
                ),
            },
            Some((Call::Top, name)) => {
                let query = request.uri().query().unwrap_or_default();
                limit_keys::top(
                    &admin.state.load_full(),
                    sight,
                    &limit_keys::name(name),
                    query,
                )
                .await
            }
            Some((call, _)) => call_of(admin, call, &request).await,
        },
    };
    if changes(request.method()) {
        tell(caller, &request, answer.status());
    }
    answer
}

async fn keys(
    admin: &Admin,
    caller: (Caller, Sight),
    (request, name): (&Request<()>, &str),
    body: &[u8],
) -> Answer {
    let (state, name) = (admin.state.load_full(), limit_keys::name(name));
    let query = request.uri().query().unwrap_or_default();
    limit_keys::keys(&state, caller, request.method(), (&name, query), body).await
}

fn check<B>(
    admin: &Admin,
    caller: Caller,
    request: &Request<B>,
    call: Option<Call>,
) -> Result<Sight, Refusal> {
    let settings = admin.settings.load();
    let Some(settings) = &**settings else {
        return Err(Refusal::Off);
    };
    let rules = Rules {
        local: caller.local,
        hosts: &settings.hosts,
        token: settings.token.as_ref().map(|token| token.0.as_str()),
    };
    rules.check(request, call.is_some_and(Call::is_for_probes))?;
    Ok(rules.sight(request.headers()))
}

async fn call_of<B>(admin: &Admin, call: Call, request: &Request<B>) -> Answer {
    match call {
        Call::Index => text(index()),
        Call::Metrics => metrics(admin, request),
        Call::Livez => well(),
        Call::Readyz if admin.readiness.is_ready() => well(),
        Call::Readyz => problem(
            StatusCode::SERVICE_UNAVAILABLE,
            "the gateway is starting or draining",
        ),
        Call::Config => json(StatusCode::OK, &admin.state.load().config.shown()),
        Call::Routes => json(StatusCode::OK, &views::routes(&admin.state.load())),
        Call::Upstreams => json(StatusCode::OK, &views::upstreams(&admin.state.load())),
        Call::Limits => json(StatusCode::OK, &views::limits(&admin.state.load())),
        Call::Reload => reloading::reload(&admin.reload).await,
        // These have a name in their path.
        Call::Top | Call::Keys => missing(request.uri().path()),
    }
}

fn well() -> Answer {
    json(StatusCode::OK, &serde_json::json!({ "status": "ok" }))
}

fn index() -> String {
    let line = |Endpoint {
                    method,
                    path,
                    about,
                    ..
                }: &Endpoint| format!("{method:6} {path:17}  {about}\n");
    ENDPOINTS.iter().map(line).collect()
}

fn metrics<B>(admin: &Admin, request: &Request<B>) -> Answer {
    let accept: Vec<_> = request
        .headers()
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|accept| accept.to_str().ok())
        .collect();
    let format = Format::negotiate(Some(&accept.join(",")));
    let text = admin.metrics.render(
        format,
        &observed::observe(&admin.state.load(), &admin.listeners, &admin.metrics),
    );
    with_type(format.content_type(), StatusCode::OK, text.into())
}

fn refused(refusal: &Refusal) -> Answer {
    let mut answer = problem(refusal.status(), &refusal.detail());
    if let Some(challenge) = refusal.challenge() {
        answer.headers_mut().insert(
            header::WWW_AUTHENTICATE,
            HeaderValue::from_static(challenge),
        );
    }
    answer
}

fn missing(path: &str) -> Answer {
    problem(
        StatusCode::NOT_FOUND,
        &format!("there is no {path} here; GET / lists what there is"),
    )
}

fn not_allowed(call: Call) -> Answer {
    let detail = format!("this is called with {}", call.methods());
    let mut answer = problem(StatusCode::METHOD_NOT_ALLOWED, &detail);
    answer
        .headers_mut()
        .insert(header::ALLOW, HeaderValue::from_static(call.methods()));
    answer
}

/// Who changed something, or tried to, is in the log.
fn tell<B>(caller: Caller, request: &Request<B>, status: StatusCode) {
    let (peer, method, path, status) = (
        caller.peer,
        request.method(),
        request.uri().path(),
        status.as_u16(),
    );
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
        for Endpoint {
            method, path, call, ..
        } in &ENDPOINTS
        {
            let is_it = |line: &&str| line.split_whitespace().take(2).eq([*method, *path]);
            assert_eq!(list.lines().filter(is_it).count(), 1, "{list}");
            assert_eq!(
                find(&path.replace("NAME", "a b/56")).map(|(call, _)| call),
                Some(*call)
            );
            assert!(call.takes(&method.parse().unwrap()) && call.methods().contains(method));
        }
    }

    #[test]
    fn what_changes_something_is_never_open_to_any_host() {
        let open: Vec<_> = ENDPOINTS
            .iter()
            .filter(|endpoint| endpoint.call.is_for_probes())
            .collect();
        assert!(open.iter().all(
            |endpoint| endpoint.call.takes(&Method::GET) && !endpoint.call.takes(&Method::POST)
        ));
        assert_eq!(
            open.iter()
                .map(|endpoint| endpoint.path)
                .collect::<Vec<_>>(),
            ["/metrics", "/livez", "/readyz"]
        );
    }

    #[test]
    fn a_method_that_is_not_taken_is_told_which_are() {
        let answer = not_allowed(Call::Reload);
        assert_eq!(
            (answer.status().as_u16(), &answer.headers()[header::ALLOW]),
            (405, &"POST".parse().unwrap())
        );
    }
}
