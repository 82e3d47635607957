//! `[upstreams.NAME.health_check]`: how servers are checked.
//!
//! The three kinds of checks share a table. A key that another kind has is a
//! mistake, as its author expects it to have an effect.

use super::checks::GivenKey;
use crate::config::{
    field::Given,
    problem::{Code, Problem, Problems},
    source::Span,
    wire::upstreams::{self as wire, CheckKind as Choice},
};
use crate::policy::{
    CheckFields, CheckKind, GrpcCheck, HealthCheck, HttpCheck, Protocol, UpstreamServer,
};

/// The checks of the servers of an upstream, which speaks this protocol. `at`
/// is the place of the table. `servers` is empty if one of them is wrong.
pub(super) fn check(
    check: &wire::HealthCheck,
    at: Span,
    protocol: Protocol,
    servers: &[UpstreamServer],
    problems: &mut Problems,
) -> Option<HealthCheck> {
    let kind = check.kind.value?;
    other_keys(check, kind, problems);
    if kind == Choice::Grpc && protocol == Protocol::Http1 {
        needs_http2(check, at, servers, problems);
    }
    if let Some(GivenKey { at, .. }) = GivenKey::given("port", &check.port)
        && let Some(socket) = servers.iter().find(|server| server.is_socket())
    {
        let message = format!(
            "{} has no other port: it is a socket of this machine",
            socket.url
        );
        let help = "leave `port` out, or make the sockets an upstream of their own";
        problems.error(Code::Conflict, at, message, help);
    }
    let fields = || {
        Some(CheckFields {
            host: check.host.optional()?,
            headers: check.headers.optional()?.unwrap_or_default(),
        })
    };
    Some(HealthCheck {
        kind: match kind {
            Choice::Http => CheckKind::Http(HttpCheck {
                method: method(check, problems)?,
                path: path(check, at, problems)?,
                statuses: check.statuses.read()?.into_iter().collect(),
                fields: fields()?,
            }),
            Choice::Grpc => CheckKind::Grpc(GrpcCheck {
                service: check.service.optional()?.unwrap_or_default(),
                fields: fields()?,
            }),
            Choice::Tcp => CheckKind::Tcp,
        },
        port: check.port.optional()?,
        interval: check.interval.read()?,
        timeout: check.timeout.read()?,
        healthy_after: check.healthy_after.read()?,
        unhealthy_after: check.unhealthy_after.read()?,
    })
}

/// Reports keys that checks of this kind do not have.
fn other_keys(check: &wire::HealthCheck, kind: Choice, problems: &mut Problems) {
    const HTTP: &[Choice] = &[Choice::Http];
    const REQUESTS: &[Choice] = &[Choice::Http, Choice::Grpc];
    let keys = [
        (GivenKey::given("path", &check.path), HTTP),
        (GivenKey::given("method", &check.method), HTTP),
        (GivenKey::given("statuses", &check.statuses), HTTP),
        (GivenKey::given("service", &check.service), &[Choice::Grpc]),
        (GivenKey::given("host", &check.host), REQUESTS),
        (GivenKey::given("headers", &check.headers), REQUESTS),
    ];
    for (key, kinds) in keys {
        if let Some(GivenKey { name, at }) = key.filter(|_| !kinds.contains(&kind)) {
            let (word, about) = match kind {
                Choice::Http => ("http", "asks for a path"),
                Choice::Grpc => ("grpc", "calls grpc.health.v1.Health/Check"),
                Choice::Tcp => ("tcp", "only connects"),
            };
            let message = format!("`{name}` has no effect with `kind = \"{word}\"`");
            let help = format!("leave `{name}` out, or choose another kind: this one {about}");
            problems.error(Code::Conflict, at, message, help);
        }
    }
}

/// The path, without which there is nothing to request.
fn path(check: &wire::HealthCheck, at: Span, problems: &mut Problems) -> Option<String> {
    if !check.path.is_present() && !problems.incomplete {
        let problem = Problem::new(Code::MissingKey, at, "`path` is missing".to_owned());
        let help = "add `path = \"/healthz\"`: path and query of the request; or choose \
            `kind = \"tcp\"`, which only connects";
        problems.report(problem.label("here").help(help));
    }
    check.path.read()
}

/// The method. CONNECT asks for a tunnel, and its response would be the
/// beginning of one.
fn method(check: &wire::HealthCheck, problems: &mut Problems) -> Option<http::Method> {
    let method = check.method.read()?;
    if method == http::Method::CONNECT {
        let message = "`method` cannot be `CONNECT`: it asks for a tunnel";
        let help = "write \"GET\", or \"HEAD\"; `kind = \"tcp\"` only connects";
        problems.error(Code::BadValue, check.method.at(), message, help);
        return None;
    }
    Some(method)
}

/// Reports servers that would have to agree on HTTP/2 inside of TLS, and are
/// never offered it.
fn needs_http2(
    check: &wire::HealthCheck,
    at: Span,
    servers: &[UpstreamServer],
    problems: &mut Problems,
) {
    if servers.iter().any(|server| server.secure_as.is_some()) {
        let message = "gRPC needs HTTP/2, which is not offered to these servers";
        let help = "add `protocol = \"http2\"` to the upstream, or \"auto\"";
        problems.error(Code::Conflict, check.kind.place(at), message, help);
    }
}
