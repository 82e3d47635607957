//! The responses of the gateway itself: one exhaustive match from error to
//! status, problem body and fields.
//!
//! # Two forms
//!
//! A request gets a problem body, and a gRPC call gets a status in the head,
//! since its client does not read bodies of other media types. Both have the
//! same `X-Request-Id` and `Retry-After`, and both come from one function,
//! `shape`, so that they cannot disagree about the blame.
//!
//! # Which status
//!
//! * 308: the listener redirects to https, without a body.
//! * 4xx: the client can change something, or has to wait (429).
//! * 502: a server was tried, and gave no usable response.
//! * 503: the gateway or the upstream is full, or no server or no store is
//!   there; the same request may succeed soon.
//! * 504: a timeout of the route has passed.
//! * 508 and 500: a request goes round in a circle, or a layer has panicked.
//!
//! The fields of limits are added by the caller, as they depend on the route.

use std::time::Duration;

use http::{StatusCode, header};

use super::{last_hop, problem::ProblemBody};
use crate::{
    body::Body,
    call::{LimitText, REQUEST_ID_HEADER, grpc},
    duration::whole_seconds,
    error::{Error, ServiceResponse},
    http1,
    message::{Fields, Hangup, Response},
};

/// Registered problem types of draft-ietf-httpapi-ratelimit-headers-11.
///
/// This one says that the client has used up a quota.
const QUOTA_EXCEEDED: &str = "https://iana.org/assignments/http-problem-types#quota-exceeded";
/// The gateway, an upstream or the store can do less for a time, whatever the
/// client did.
const REDUCED_CAPACITY: &str =
    "https://iana.org/assignments/http-problem-types#temporary-reduced-capacity";
/// The type of problems that their status describes well enough (RFC 9457,
/// 4.2.1).
const BLANK: &str = "about:blank";

/// The gRPC status of a limit that is reached.
const RESOURCE_EXHAUSTED: u8 = 8;

/// The fields that each problem has, up to the value of the last one, which is
/// [`REQUEST_ID`].
const PROBLEM_LINES: &[u8] =
    b"content-type: application/problem+json\r\ncache-control: no-store\r\nx-request-id: ";

/// As [`PROBLEM_LINES`], for a body of another type.
const OWN_LINES: &[u8] = b"cache-control: no-store\r\nx-request-id: ";

/// The name of [`REQUEST_ID_HEADER`] as it stands before its value.
const REQUEST_ID: &[u8] = b"x-request-id: ";

/// The name of `Retry-After` as it stands before its value.
const RETRY_AFTER: &[u8] = b"retry-after: ";

/// Bytes that the fields of a refusal usually take, reserved at once: those of
/// a limit are added to its own.
const ROOM: usize = 320;

/// The `Retry-After` of a gateway or an upstream that is full. It is unknown
/// how long that lasts, but at once is too soon.
const SOON: Duration = Duration::from_secs(1);

/// The response to a request that failed with `error`: a problem body (RFC
/// 9457) that names the `route`, if one was found, and the request.
///
/// It is never cached. `Retry-After` stands in it if the error says when, or at
/// least that, it is worth to try again. `text` is that of the limit that alone
/// has refused the request; `None` for all other errors.
pub(super) fn to_request(
    error: &Error,
    route: Option<&str>,
    text: Option<&LimitText>,
    request_id: &[u8],
) -> Response {
    if let Error::RefusedByService { response } = error {
        return of_service(response, request_id);
    }
    let (status, kind, retry_after) = shape(error);
    let problem = ProblemBody {
        kind,
        status,
        error,
        route,
        request_id,
    };
    let body = Body::written(|out| match text {
        Some(text) => problem.write_by(text, out),
        None => problem.write(out),
    });
    let mut response = begin(error, status, body);
    let fields = &mut response.fields;
    oblige(fields, error);
    finish(fields, PROBLEM_LINES, request_id, retry_after);
    response
}

/// The redirect to the same URL under https: a 308, so that the method and the
/// body stay (RFC 9110, 15.4.9).
pub(super) fn to_https(location: &[u8], request_id: &[u8]) -> Response {
    let mut response = Response::new(StatusCode::PERMANENT_REDIRECT, Body::empty());
    let fields = &mut response.fields;
    fields.push(header::LOCATION.as_str(), location);
    finish(fields, REQUEST_ID, request_id, None);
    response
}

/// The response to a request that failed with `error`, with a `body` of the
/// route's own of this content type in the place of a problem body.
pub(super) fn with_body(
    error: &Error,
    content_type: &str,
    body: Body,
    request_id: &[u8],
) -> Response {
    let (status, _, retry_after) = shape(error);
    let mut response = begin(error, status, body);
    let fields = &mut response.fields;
    oblige(fields, error);
    fields.push(header::CONTENT_TYPE.as_str(), content_type.as_bytes());
    finish(fields, OWN_LINES, request_id, retry_after);
    response
}

/// The status of the response to `error`, and the seconds of its `Retry-After`;
/// `None` if it has no such field.
pub(super) fn told(error: &Error) -> (StatusCode, Option<u64>) {
    let (status, _, retry_after) = shape(error);
    (status, retry_after.map(retry_seconds))
}

/// Adds the fields that a response with its status has to have.
fn oblige(fields: &mut Fields, error: &Error) {
    if matches!(error, Error::TraceNotAllowed) {
        // A 405 has to list the allowed methods (RFC 9110, 15.5.6), whether or
        // not the service behind supports them.
        fields.push(header::ALLOW.as_str(), last_hop::METHODS.as_bytes());
    }
    challenge(error, fields);
}

/// The response of a service that authenticates clients, as the client gets it.
/// Without a word of the service about caching it is not cached.
fn of_service(of: &ServiceResponse, request_id: &[u8]) -> Response {
    let body = match http1::has_no_body(of.status) {
        true => Body::absent(),
        false => Body::whole(of.body.clone()),
    };
    let mut response = Response::new(of.status, body);
    let fields = &mut response.fields;
    fields.push_lines(|out| out.extend_from_slice(&of.lines));
    if fields.get(&header::CACHE_CONTROL).is_none() {
        fields.push(header::CACHE_CONTROL.as_str(), b"no-store");
    }
    fields.remove(&REQUEST_ID_HEADER);
    finish(fields, REQUEST_ID, request_id, None);
    response
}

/// Adds the ways to authenticate to a 401 (RFC 9110, 11.6.1), and to a 403 of a
/// client that has a token without the right scope (RFC 6750, 3.1).
fn challenge(error: &Error, fields: &mut Fields) {
    let name = header::WWW_AUTHENTICATE;
    match error {
        Error::Unauthenticated {
            challenges,
            rejected,
        } => {
            for challenge in &**challenges {
                let mut value = challenge.to_string();
                if let Some(why) = rejected.filter(|_| value.starts_with("Bearer")) {
                    value.push_str(", error=\"invalid_token\", error_description=\"");
                    value.push_str(why);
                    value.push('"');
                }
                fields.push(name.as_str(), value.as_bytes());
            }
        }
        Error::Forbidden { claim } if &**claim == "scope" => {
            fields.push(name.as_str(), b"Bearer error=\"insufficient_scope\"");
        }
        _ => {}
    }
}

/// The response to a gRPC call that failed with `error`: status 200, with the
/// gRPC status in a head without a body ("trailers-only" in the protocol). The
/// detail of a problem body becomes the `grpc-message`.
pub(super) fn to_call(error: &Error, request_id: &[u8]) -> Response {
    let (status, _, retry_after) = shape(error);
    // Independent of the status that the limit has for other requests.
    let code = if matches!(error, Error::RateLimited { .. } | Error::Banned { .. }) {
        RESOURCE_EXHAUSTED
    } else {
        grpc::code_of(status)
    };
    let mut response = begin(error, StatusCode::OK, Body::absent());
    let fields = &mut response.fields;
    fields.push(header::CONTENT_TYPE.as_str(), b"application/grpc");
    fields.push_number(grpc::STATUS.as_str(), code.into());
    fields.push("grpc-message", grpc::message(&error.to_string()).as_bytes());
    // Clients of gRPC obey this field instead of `Retry-After` (gRFC A6); a
    // negative time keeps them from trying again.
    if let Some(after) = retry_after {
        fields.push_number(grpc::PUSHBACK.as_str(), whole_millis(after));
    } else if matches!(error, Error::RateLimited { .. }) {
        fields.push(grpc::PUSHBACK.as_str(), b"-1");
    }
    finish(fields, REQUEST_ID, request_id, retry_after);
    response
}

/// A response with this status that ends its connection where the error says
/// so: after bytes that are not a request, nobody can say where the next one
/// begins.
///
/// Malformed bytes are responded to and end the connection, and so may a ban; a
/// client that has left is not written to any more. All other responses leave
/// the connection open.
fn begin(error: &Error, status: StatusCode, body: Body) -> Response {
    let hangup = match error {
        Error::Malformed(_) => Some(Hangup::AfterResponse),
        Error::Banned { closes: true, .. } => Some(Hangup::OfConnection),
        Error::ClientGone => Some(Hangup::AtOnce),
        _ => None,
    };
    Response {
        status,
        reason: None,
        fields: Fields::with_capacity(ROOM),
        body,
        hangup,
    }
}

/// Adds the fields that problems and gRPC statuses have in common. `before` has
/// all that stands before the id of the request.
///
/// `retry_after` is `None` where a later attempt would fail in the same way, or
/// where nothing is known.
fn finish(fields: &mut Fields, before: &[u8], request_id: &[u8], retry_after: Option<Duration>) {
    fields.push_lines(|out| {
        out.extend_from_slice(before);
        out.extend_from_slice(request_id);
        out.extend_from_slice(b"\r\n");
        if let Some(after) = retry_after {
            out.extend_from_slice(RETRY_AFTER);
            http1::write_number(out, retry_seconds(after));
            out.extend_from_slice(b"\r\n");
        }
    });
}

/// The status, the problem type and the time of `Retry-After` for each error.
/// The match is exhaustive: a new error does not compile without its response.
///
/// The statuses of a limit are configured; all others
/// are fixed. `Retry-After` comes with the error of a limit or of the
/// store, and is one second for a concurrency limit, a pool and an upstream
/// without a healthy server.
fn shape(error: &Error) -> (StatusCode, &'static str, Option<Duration>) {
    match error {
        Error::Malformed(_) | Error::AmbiguousPath(_) => (StatusCode::BAD_REQUEST, BLANK, None),
        Error::Misdirected => (StatusCode::MISDIRECTED_REQUEST, BLANK, None),
        Error::HttpsOnly { .. } => (StatusCode::PERMANENT_REDIRECT, BLANK, None),
        Error::NoRoute => (StatusCode::NOT_FOUND, BLANK, None),
        Error::TraceNotAllowed => (StatusCode::METHOD_NOT_ALLOWED, BLANK, None),
        Error::Loop { .. } => (StatusCode::LOOP_DETECTED, BLANK, None),
        Error::SlowHead { .. } | Error::SlowBody { .. } => {
            (StatusCode::REQUEST_TIMEOUT, BLANK, None)
        }
        Error::BodyTooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, BLANK, None),
        Error::TargetTooLong { .. } => (StatusCode::URI_TOO_LONG, BLANK, None),
        Error::HeadTooLarge { .. } | Error::TooManyHeaders { .. } => {
            (StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, BLANK, None)
        }
        Error::Unauthenticated { .. } => (StatusCode::UNAUTHORIZED, BLANK, None),
        Error::RefusedByService { response } => (response.status, BLANK, None),
        Error::Forbidden { .. } => (StatusCode::FORBIDDEN, BLANK, None),
        Error::IdentityUnavailable { retry_after } => {
            (StatusCode::SERVICE_UNAVAILABLE, BLANK, Some(*retry_after))
        }
        Error::RateLimited { status, .. } | Error::Banned { status, .. } => {
            (*status, QUOTA_EXCEEDED, comes_again(error))
        }
        Error::KeyMissing { status, .. } => (*status, BLANK, None),
        Error::StoreUnavailable { retry_after } => (
            StatusCode::SERVICE_UNAVAILABLE,
            REDUCED_CAPACITY,
            Some(*retry_after),
        ),
        Error::ConcurrencyLimited { .. }
        | Error::QueueTimeout { .. }
        | Error::PoolTimeout { .. } => (
            StatusCode::SERVICE_UNAVAILABLE,
            REDUCED_CAPACITY,
            Some(SOON),
        ),
        Error::NoHealthyServer { .. } => (StatusCode::SERVICE_UNAVAILABLE, BLANK, Some(SOON)),
        Error::TotalTimeout { .. } | Error::AttemptTimeout { .. } | Error::BodyTimeout => {
            (StatusCode::GATEWAY_TIMEOUT, BLANK, None)
        }
        Error::ConnectFailed { .. }
        | Error::Stale { .. }
        | Error::Reset { .. }
        | Error::Unprocessed { .. }
        | Error::BadResponse { .. } => (StatusCode::BAD_GATEWAY, BLANK, None),
        // No client is left to read it; the status is for the logs.
        Error::ClientGone => (
            StatusCode::from_u16(499).unwrap_or(StatusCode::BAD_REQUEST),
            BLANK,
            None,
        ),
        Error::Panicked => (StatusCode::INTERNAL_SERVER_ERROR, BLANK, None),
    }
}

/// When a request that a limit refuses could be admitted, from now; `None` for
/// never.
fn comes_again(error: &Error) -> Option<Duration> {
    match error {
        Error::RateLimited { retry_after, .. } | Error::Banned { retry_after, .. } => {
            Some(*retry_after).filter(|after| *after < Duration::MAX)
        }
        _ => None,
    }
}

/// The seconds of `Retry-After`; at least 1, since 0 would mean "at once".
///
/// Parts of a second are rounded up, so that a client that obeys is not too
/// early.
fn retry_seconds(after: Duration) -> u64 {
    whole_seconds(after).max(1)
}

/// Whole milliseconds, rounded up so that a client which waits that long is
/// admitted; at least 1, since 0 would mean "at once".
///
/// The largest number is that of a signed 32-bit integer, since clients read
/// the field as one.
fn whole_millis(after: Duration) -> u64 {
    u64::try_from(after.as_nanos().div_ceil(1_000_000))
        .unwrap_or(u64::MAX)
        .clamp(1, i32::MAX as u64)
}

#[cfg(test)]
mod tests;
