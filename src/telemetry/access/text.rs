//! An access line for people: the fields of the JSON object as `key=value`, the
//! most important ones first.
//!
//! The format is that of logfmt: a value is bare if it cannot be misread, and
//! otherwise between quotes with the escapes of JSON.
//!
//! The order differs from that of the JSON object: a person reads status,
//! method and path first, and the long fields of the client last. The names are
//! the same, so that a search works on both.

use std::{fmt::Write, sync::Arc, time::Duration};

use super::{
    dates::DateCache,
    escape::{escape, is_bare},
    line::{ExtraFields, LONG, LONGEST_FIELD, Line, SHORT},
    pen::Pen,
    value,
};

/// The text around the time, which begins a line.
pub(super) const AROUND_TIME: [&str; 2] = ["time=", " status="];

/// Writes the pairs and the end of their line. `dates` has the text of
/// [`AROUND_TIME`].
#[inline(never)]
pub(super) fn write<'a>(line: &Line<'_>, dates: &mut DateCache, mut pen: Pen<'a>) -> Pen<'a> {
    dates.write(line.time, &mut pen);
    value::status(line.status, &mut pen);
    request(line, &mut pen);
    verdict(line, &mut pen);
    forwarding(line, &mut pen);
    connection(line, &mut pen);
    if let Some(extra) = line.extra {
        keys(extra, &mut pen);
        fields(extra, &mut pen);
        text(" sample=", extra.sample, &mut pen);
    }
    pen.constant(b"\n");
    pen
}

/// Writes the keys of all limits as one value: `LIMIT:HASH,LIMIT:HASH`.
fn keys(extra: &ExtraFields<'_>, pen: &mut Pen<'_>) {
    let mut keys = String::new();
    for (limit, key) in &extra.keys {
        let comma = if keys.is_empty() { "" } else { "," };
        let _ = write!(keys, "{comma}{}:{key:016x}", limit.name());
    }
    let keys = Some(keys.as_bytes()).filter(|keys| !keys.is_empty());
    bytes(" keys=", keys, usize::MAX, pen);
}

/// Writes the fields of messages that the configuration has chosen.
pub(super) fn fields(extra: &ExtraFields<'_>, pen: &mut Pen<'_>) {
    for (name, value) in &extra.fields {
        pen.constant(b" ");
        pen.text(name.as_bytes());
        bytes("=", Some(value), LONGEST_FIELD, pen);
    }
}

/// The fields that say what was asked for, and how long it took.
fn request(line: &Line<'_>, pen: &mut Pen<'_>) {
    text(" method=", line.method, pen);
    bytes(" host=", line.host, SHORT, pen);
    bytes(" path=", line.path, LONG, pen);
    bytes(" query=", line.query, LONG, pen);
    millis(" duration_ms=", Some(line.duration), pen);
}

/// The fields of the decision: the route and the limit.
fn verdict(line: &Line<'_>, pen: &mut Pen<'_>) {
    if let Some(route) = line.route {
        route.write_text(route_field, pen);
    }
    number(" grpc_status=", line.grpc_status, pen);
    text(" reason=", line.reason, pen);
    text(" identity=", line.identity, pen);
    text(" plan=", line.plan, pen);
    if let Some(limit) = &line.limit {
        limit.name.write_text(limit_fields, pen);
        value::integer(limit.remaining, pen);
        pen.constant(b" key=");
        value::hex(limit.key, pen);
    } else {
        text(" limit=", line.refused_by, pen);
    }
    number(" cost=", line.cost, pen);
    text(" shadow=", line.shadow, pen);
}

/// The fields of the attempts.
fn forwarding(line: &Line<'_>, pen: &mut Pen<'_>) {
    match line.server {
        Some(server) => server.write_text(server_fields, pen),
        None => text(" upstream=", line.unserved, pen),
    }
    number(" attempts=", line.attempts, pen);
    text(" not_retried=", line.not_retried, pen);
    millis(" delay_ms=", line.delay, pen);
    millis(" queue_ms=", line.queue, pen);
    millis(" upstream_ms=", line.upstream_time, pen);
}

/// The fields of the connection and the client.
fn connection(line: &Line<'_>, pen: &mut Pen<'_>) {
    number(" bytes_in=", Some(line.bytes_in), pen);
    number(" bytes_out=", Some(line.bytes_out), pen);
    pen.constant(b" client=");
    value::client(line, pen);
    pen.constant(b" peer=");
    pen.text(line.peer.as_bytes());
    line.listener.write_text(listener_field, pen);
    text(" protocol=", Some(line.protocol), pen);
    bytes(" request_id=", Some(line.request_id), SHORT, pen);
    bytes(" trace_id=", line.trace_id, SHORT, pen);
    bytes(" user_agent=", line.user_agent, LONG, pen);
}

/// Spells the field of a listener.
fn listener_field<'a>(values: &[Arc<str>], mut pen: Pen<'a>) -> Pen<'a> {
    pairs([" listener="], values, &mut pen);
    pen
}

/// Spells the field of a route.
fn route_field<'a>(values: &[Arc<str>], mut pen: Pen<'a>) -> Pen<'a> {
    pairs([" route="], values, &mut pen);
    pen
}

/// Spells the field of a limit, and the key of its tokens.
fn limit_fields<'a>(values: &[Arc<str>], mut pen: Pen<'a>) -> Pen<'a> {
    pairs([" limit="], values, &mut pen);
    pen.constant(b" remaining=");
    pen
}

/// Spells the fields of a server.
fn server_fields<'a>(values: &[Arc<str>], mut pen: Pen<'a>) -> Pen<'a> {
    pairs([" upstream=", " server="], values, &mut pen);
    pen
}

/// Writes pairs of these keys and the values from the configuration.
fn pairs<const N: usize>(keys: [&str; N], values: &[Arc<str>], pen: &mut Pen<'_>) {
    for (key, value) in keys.into_iter().zip(values) {
        text(key, Some(value), pen);
    }
}

/// Writes a word of the gateway or a name from the configuration.
///
/// Such a value is nearly always bare, and is looked at like any other one.
fn text(before: &str, value: Option<&str>, pen: &mut Pen<'_>) {
    bytes(before, value.map(str::as_bytes), SHORT, pen);
}

/// Writes a value if there is one, in quotes if it could be misread withpen.
/// Of a longer value, the first `longest` bytes are written.
pub(super) fn bytes(before: &str, value: Option<&[u8]>, longest: usize, pen: &mut Pen<'_>) {
    let Some(value) = value else { return };
    pen.text(before.as_bytes());
    if value.len() <= longest && is_bare(value) {
        pen.text(value);
    } else {
        pen.constant(b"\"");
        escape(value, longest, pen);
        pen.constant(b"\"");
    }
}

/// Writes a number if there is one.
fn number(before: &str, value: Option<impl Into<u64>>, pen: &mut Pen<'_>) {
    let Some(value) = value else { return };
    pen.text(before.as_bytes());
    value::integer(value.into(), pen);
}

/// Writes a duration in milliseconds if there is one.
fn millis(before: &str, value: Option<Duration>, pen: &mut Pen<'_>) {
    let Some(value) = value else { return };
    pen.text(before.as_bytes());
    value::millis(value, pen);
}
