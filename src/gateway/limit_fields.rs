//! The fields of a response that describe its limits: `RateLimit-Policy` and
//! `RateLimit` of draft-ietf-httpapi-ratelimit-headers-11, and `X-RateLimit-*`
//! for older clients.
//!
//! Only the limit nearest to exhaustion is described. The fields by which a
//! backend describes limits of its own are never taken away: the lists of the
//! draft get one member more, and the older fields, which hold one number each,
//! keep the tighter one.
//!
//! # Use
//!
//! The gateway calls this after the route's stack has returned, for responses
//! of servers and for its own. Nothing here decides anything: the state that is
//! described is that of the bucket after this request, and another request may
//! have changed it since.
//!
//! # Numbers
//!
//! All times are whole seconds, rounded up, so that a client that waits as long
//! as a field says does not come too early. All counts are whole tokens, which
//! `cost` may make more than one for each request.
//!
//! The fields are written as bytes into the head of the response. Nothing is
//! parsed but one field of a backend, and a value there that is no number is
//! left alone, as it cannot be compared.

use std::time::Duration;

use http::HeaderName;
use memchr::memmem;

use crate::{
    call::{LimitText, Nearest, RouteTag},
    duration::whole_seconds,
    error::Error,
    http1::{self, Fields},
    limit::Standing,
    policy::LimitHeaders,
};

/// The quota of a limit, in the draft: `"NAME";q=BURST;w=SECONDS`.
static POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
/// The unit of a quota of requests in flight, in the draft. It has no window, as
/// permits do not come back with time.
const CONCURRENT: &[u8] = b";qu=\"concurrent-requests\"";
/// The state of a limit, in the draft: `"NAME";r=TOKENS;t=SECONDS`.
static LIMIT: HeaderName = HeaderName::from_static("ratelimit");
/// The tokens of a full bucket, for older clients.
static X_LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
/// The whole tokens that are left, for older clients.
static X_REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
/// The seconds until the bucket is full, for older clients. Some services write
/// a point in time there; a number of seconds needs no common clock.
static X_RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");

/// Writes the fields that describe the limit nearest to exhaustion.
///
/// A limit that the tag of the route does not name is left out.
pub(super) fn describe_nearest(fields: &mut Fields, route: &RouteTag, nearest: &Nearest) {
    if let Some(name) = route.limits.get(nearest.limit) {
        let limit = (&**name, route.limit_texts.get(nearest.limit));
        describe(fields, route.limit_headers, limit, &nearest.standing);
    }
}

/// Writes the header fields that describe the limit called `name`, whose bucket
/// is in this `state` after the request. `headers` are the kinds of fields that
/// the route wants.
///
/// The quota is the burst, and its window is the time in which an empty bucket
/// fills. A backend may list a limit of the same name. The gateway's member is
/// then called `gateway:NAME`, since two members of one name mean nothing to a
/// client.
///
/// `t` is the time until one token more is there, and is absent while the
/// bucket is full, and where none comes at any time. A cap on requests in flight
/// has neither `w` nor `t`, and is not described to older clients; a quota of 0
/// has neither as well. `X-RateLimit-Reset` is the time until all of them are
/// there.
///
/// All but two numbers is the same for nearly all responses under one limit,
/// and is rendered once if there is a `text` to keep it.
pub(super) fn describe(
    fields: &mut Fields,
    headers: LimitHeaders,
    (name, text): (&str, Option<&LimitText>),
    state: &Standing,
) {
    if headers.has_draft() {
        match text {
            Some(text) if text.tells(state) && !is_listed(fields, name) => {
                let lines = text
                    .fields
                    .get_or_init(|| render(name, text.is_in_bytes, state));
                fields.push_limits(|out| {
                    out.extend_from_slice(lines);
                    write_rest(out, state);
                });
            }
            _ => {
                let is_in_bytes = text.is_some_and(|text| text.is_in_bytes);
                describe_anew(fields, name, is_in_bytes, state);
            }
        }
    }
    // The older fields know only rates.
    if headers.has_x_ratelimit() && !state.is_in_flight() {
        describe_as_before(fields, state);
    }
}

/// Writes the fields of the draft beside those of a backend that lists the same
/// limit, or for a bucket under another quota than the limit's.
#[cold]
fn describe_anew(fields: &mut Fields, name: &str, is_in_bytes: bool, state: &Standing) {
    let mark = if is_listed(fields, name) {
        "gateway:"
    } else {
        ""
    };
    fields.push_limits(|out| {
        write_lines(out, (mark, name), is_in_bytes, state);
        write_rest(out, state);
    });
}

/// The lines of the draft up to the tokens that are left.
#[cold]
fn render(name: &str, is_in_bytes: bool, state: &Standing) -> Box<[u8]> {
    let mut lines = Vec::new();
    write_lines(&mut lines, ("", name), is_in_bytes, state);
    lines.into()
}

/// Writes `RateLimit-Policy`, and `RateLimit` up to the number of tokens that
/// are left. Bytes have the unit `content-bytes` of the draft; a quota without a
/// unit counts requests.
fn write_lines(out: &mut Vec<u8>, name: (&str, &str), is_in_bytes: bool, state: &Standing) {
    out.extend_from_slice(POLICY.as_str().as_bytes());
    out.extend_from_slice(b": ");
    write_name(out, name);
    write_parameter(out, b";q=", state.burst.into());
    if state.is_in_flight() {
        out.extend_from_slice(CONCURRENT);
    } else if state.burst > 0 {
        write_parameter(out, b";w=", window(state));
    }
    if is_in_bytes {
        out.extend_from_slice(b";qu=\"content-bytes\"");
    }
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(LIMIT.as_str().as_bytes());
    out.extend_from_slice(b": ");
    write_name(out, name);
    out.extend_from_slice(b";r=");
}

/// Writes the rest of `RateLimit`, which is another one for each response.
#[inline]
fn write_rest(out: &mut Vec<u8>, state: &Standing) {
    http1::write_number(out, state.remaining.into());
    // A full bucket has no more to come, and one that admits nothing neither.
    if !state.next().is_zero() && state.next() < Duration::MAX {
        write_parameter(out, b";t=", whole_seconds(state.next()));
    }
    out.extend_from_slice(b"\r\n");
}

/// Writes `X-RateLimit-*`, unless a backend has written a tighter limit there.
///
/// A field that the backend wrote is replaced only together with the other two,
/// so that the three never describe different limits.
fn describe_as_before(fields: &mut Fields, state: &Standing) {
    if is_tighter(fields, state.remaining) {
        return;
    }
    let comes = state.reset() < Duration::MAX;
    for (name, value) in [
        (&X_LIMIT, Some(state.burst.into())),
        (&X_REMAINING, Some(state.remaining.into())),
        (&X_RESET, comes.then(|| whole_seconds(state.reset()))),
    ] {
        fields.remove(name);
        if let Some(value) = value {
            fields.push_number(name.as_str(), value);
        }
    }
}

/// Writes the header fields that describe the concurrency limit that refused a
/// request. Returns false, and writes nothing, if the error is another one.
///
/// The quota is the number of requests that may be in flight, with the unit
/// `concurrent-requests` of the draft and without a window, as permits do not
/// come back with time. The older fields know only rates and are not written.
pub(super) fn describe_concurrency(
    fields: &mut Fields,
    headers: LimitHeaders,
    error: &Error,
) -> bool {
    let (Error::ConcurrencyLimited { owner, max, .. } | Error::QueueTimeout { owner, max, .. }) =
        error
    else {
        return false;
    };
    if headers.has_draft() {
        fields.push_with(POLICY.as_str(), |out| {
            write_name(out, ("", owner.name()));
            write_parameter(out, b";q=", *max as u64);
            out.extend_from_slice(CONCURRENT);
        });
        fields.push_with(LIMIT.as_str(), |out| {
            write_name(out, ("", owner.name()));
            write_parameter(out, b";r=", 0);
        });
    }
    true
}

/// The name of a member of the lists (RFC 9651, 3.1). Names of limits need no
/// escape.
///
/// `mark` stands before the name within the quotes; it is empty or `gateway:`.
fn write_name(out: &mut Vec<u8>, (mark, name): (&str, &str)) {
    out.push(b'"');
    out.extend_from_slice(mark.as_bytes());
    out.extend_from_slice(name.as_bytes());
    out.push(b'"');
}

/// One parameter of a member; `key` has its signs before and behind it.
fn write_parameter(out: &mut Vec<u8>, key: &[u8; 3], value: u64) {
    out.extend_from_slice(key);
    http1::write_number(out, value);
}

/// Whether a backend lists a limit of this name, too. Two members of one name
/// could not be told apart.
///
/// The search is for the quoted name anywhere in the value. A parameter with
/// the same text is taken for a member, too; the mark that follows from it is
/// harmless.
#[inline]
fn is_listed(fields: &Fields, name: &str) -> bool {
    fields.has_limits() && is_among_limits(fields, name)
}

/// Looks for the name in the fields of a backend that has some.
#[cold]
fn is_among_limits(fields: &Fields, name: &str) -> bool {
    let quoted = format!("\"{name}\"");
    let mut lists = fields.all(&POLICY).chain(fields.all(&LIMIT));
    lists.any(|list| memmem::find(list, quoted.as_bytes()).is_some())
}

/// Whether a backend's own field says that no more than `remaining` are left,
/// or has a value that is no number.
///
/// A tie counts as tighter: the backend's fields are then left as they are. A
/// response without the field has nothing that could be tighter.
fn is_tighter(fields: &Fields, remaining: u32) -> bool {
    fields.get(&X_REMAINING).is_some_and(|said| {
        let said = std::str::from_utf8(said)
            .ok()
            .and_then(|said| said.trim().parse::<u64>().ok());
        said.is_none_or(|said| said <= remaining.into())
    })
}

/// Whole seconds in which an empty bucket fills; at least 1, since a window of 0
/// seconds would describe a limit without a rate.
fn window(state: &Standing) -> u64 {
    whole_seconds(state.window()).max(1)
}

#[cfg(test)]
mod tests;
