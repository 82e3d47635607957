//! An access line as one JSON object.
//!
//! The names and the order of the fields are part of the interface, and the
//! reference lists them. Absent fields are left out rather than written as
//! `null`. Every value is written after the constant text before it, which has
//! the key, its colon and an opening quote, and at times the end of the value
//! before.
//!
//! # Cost
//!
//! A line is the most frequent work besides forwarding: it is written into the
//! buffer of the worker without an allocation of its own, and no serialiser
//! goes over it. Words of the program and names of the configuration need no
//! escape, and are copied as they are. Text that a client chose goes through
//! `escape`.

use std::sync::Arc;

use super::{
    dates::DateCache,
    escape::escape,
    line::{ExtraFields, LONG, LONGEST_FIELD, Line, SHORT},
    pen::Pen,
    value,
};

/// The text around the time, which begins a line.
pub(super) const AROUND_TIME: [&str; 2] = [r#"{"time":""#, r#"","request_id":""#];

/// Writes the object and the end of its line. At most 56 KiB, when every byte
/// of every text has to be escaped. `dates` has the text of [`AROUND_TIME`].
#[inline(never)]
pub(super) fn write<'a>(line: &Line<'_>, dates: &mut DateCache, mut pen: Pen<'a>) -> Pen<'a> {
    dates.write(line.time, &mut pen);
    connection(line, &mut pen);
    request(line, &mut pen);
    verdict(line, &mut pen);
    forwarding(line, &mut pen);
    cost(line, &mut pen);
    pen
}

/// The identity of the request, and the fields of the connection it came on, up
/// to the opening quote of the protocol.
#[inline(always)]
fn connection(line: &Line<'_>, pen: &mut Pen<'_>) {
    pen.text(line.request_id);
    line.listener.write_json(listener_field, pen);
    value::client(line, pen);
    pen.constant(br#"","peer":""#);
    pen.text(line.peer.as_bytes());
}

/// The fields of the request.
#[inline(always)]
fn request(line: &Line<'_>, pen: &mut Pen<'_>) {
    match (line.protocol, line.method) {
        ("HTTP/1.1", Some("GET")) => pen.constant(br#"","protocol":"HTTP/1.1","method":"GET""#),
        (protocol, method) => {
            pen.constant(br#"","protocol":""#);
            pen.text(protocol.as_bytes());
            pen.constant(b"\"");
            bytes(br#","method":""#, method.map(str::as_bytes), SHORT, pen);
        }
    }
    bytes(br#","host":""#, line.host, SHORT, pen);
    bytes(br#","path":""#, line.path, LONG, pen);
    bytes(br#","query":""#, line.query, LONG, pen);
}

/// The fields of the decision about the request: its route, status and limit.
#[inline(always)]
fn verdict(line: &Line<'_>, pen: &mut Pen<'_>) {
    match line.route {
        Some(route) => route.write_json(route_fields, pen),
        None => pen.constant(br#","status":"#),
    }
    value::status(line.status, pen);
    if let Some(status) = line.grpc_status {
        pen.constant(br#","grpc_status":"#);
        value::integer(status.into(), pen);
    }
    plain(br#","reason":""#, line.reason, pen);
    if let Some(identity) = line.identity {
        plain(br#","identity":""#, Some(identity), pen);
        bytes(br#","plan":""#, line.plan.map(str::as_bytes), SHORT, pen);
    }
    if let Some(limit) = &line.limit {
        limit.name.write_json(limit_fields, pen);
        value::integer(limit.remaining, pen);
        pen.constant(br#","key":""#);
        value::hex(limit.key, pen);
        pen.constant(b"\"");
    } else {
        plain(br#","limit":""#, line.refused_by, pen);
    }
    if let Some(cost) = line.cost {
        pen.constant(br#","cost":"#);
        value::integer(cost, pen);
    }
    plain(br#","shadow":""#, line.shadow, pen);
}

/// The fields of the attempts.
///
/// A request that the gateway refused has none of them.
#[inline(always)]
fn forwarding(line: &Line<'_>, pen: &mut Pen<'_>) {
    match line.server {
        Some(server) => server.write_json(server_fields, pen),
        None => plain(br#","upstream":""#, line.unserved, pen),
    }
    if let Some(attempts) = line.attempts {
        pen.constant(br#","attempts":"#);
        value::integer(attempts.into(), pen);
    }
    plain(br#","not_retried":""#, line.not_retried, pen);
}

/// The fields of time and size, the client's software, and the end of the line.
///
/// `delay_ms`, `queue_ms` and `upstream_ms` are absent if the request has
/// neither waited nor been sent; `duration_ms` and the sizes are always there.
#[inline(always)]
fn cost(line: &Line<'_>, pen: &mut Pen<'_>) {
    if let Some(delay) = line.delay {
        pen.constant(br#","delay_ms":"#);
        value::millis(delay, pen);
    }
    if let Some(queue) = line.queue {
        pen.constant(br#","queue_ms":"#);
        value::millis(queue, pen);
    }
    if let Some(upstream) = line.upstream_time {
        pen.constant(br#","upstream_ms":"#);
        value::millis(upstream, pen);
    }
    pen.constant(br#","duration_ms":"#);
    value::millis(line.duration, pen);
    // Nearly no request has a body.
    if line.bytes_in == 0 {
        pen.constant(br#","bytes_in":0,"bytes_out":"#);
    } else {
        pen.constant(br#","bytes_in":"#);
        value::integer(line.bytes_in, pen);
        pen.constant(br#","bytes_out":"#);
    }
    value::integer(line.bytes_out, pen);
    if let Some(trace_id) = line.trace_id {
        pen.constant(br#","trace_id":""#);
        pen.text(trace_id);
        pen.constant(b"\"");
    }
    if let Some(agent) = line.user_agent {
        pen.constant(br#","user_agent":""#);
        escape(agent, LONG, pen);
        pen.constant(b"\"");
    }
    if let Some(fields) = line.extra {
        *pen = extra(fields, pen.lend());
    }
    pen.constant(b"}\n");
}

/// Writes the fields that the configuration has chosen.
#[inline(never)]
fn extra<'a>(extra: &ExtraFields<'_>, mut pen: Pen<'a>) -> Pen<'a> {
    for (index, (limit, key)) in extra.keys.iter().enumerate() {
        pen.text(if index == 0 {
            br#","keys":{""#
        } else {
            br#",""#
        });
        pen.text(limit.name().as_bytes());
        pen.constant(br#"":""#);
        value::hex(*key, &mut pen);
        pen.constant(b"\"");
    }
    if !extra.keys.is_empty() {
        pen.constant(b"}");
    }
    for (name, value) in &extra.fields {
        pen.constant(br#",""#);
        pen.text(name.as_bytes());
        pen.constant(br#"":""#);
        escape(value, LONGEST_FIELD, &mut pen);
        pen.constant(b"\"");
    }
    if let Some(share) = extra.sample {
        pen.constant(br#","sample":"#);
        pen.text(share.as_bytes());
    }
    pen
}

/// Spells the field of a listener, after an identity and before a client.
fn listener_field<'a>(values: &[Arc<str>], mut pen: Pen<'a>) -> Pen<'a> {
    pen.constant(b"\"");
    fixed([br#","listener":""#], values, &mut pen);
    pen.constant(br#","client":""#);
    pen
}

/// Spells the field of a route, and the key of its status.
fn route_fields<'a>(values: &[Arc<str>], mut pen: Pen<'a>) -> Pen<'a> {
    fixed([br#","route":""#], values, &mut pen);
    pen.constant(br#","status":"#);
    pen
}

/// Spells the field of a limit, and the key of its tokens.
fn limit_fields<'a>(values: &[Arc<str>], mut pen: Pen<'a>) -> Pen<'a> {
    fixed([br#","limit":""#], values, &mut pen);
    pen.constant(br#","remaining":"#);
    pen
}

/// Spells the fields of a server.
fn server_fields<'a>(values: &[Arc<str>], mut pen: Pen<'a>) -> Pen<'a> {
    fixed([br#","upstream":""#, br#","server":""#], values, &mut pen);
    pen
}

/// Writes fields with values from the configuration. `before` has the text
/// before each.
fn fixed<const N: usize>(before: [&[u8]; N], values: &[Arc<str>], pen: &mut Pen<'_>) {
    for (before, value) in before.into_iter().zip(values) {
        pen.text(before);
        pen.text(value.as_bytes());
        pen.constant(b"\"");
    }
}

/// Writes a value that needs no escapes: a word of the gateway or a name from
/// the configuration. `before` is the whole text before it, with its opening
/// quote.
#[inline(always)]
fn plain<const N: usize>(before: &[u8; N], value: Option<&str>, pen: &mut Pen<'_>) {
    let Some(value) = value else { return };
    pen.constant(before);
    pen.text(value.as_bytes());
    pen.constant(b"\"");
}

/// Writes a value that a client chose.
///
/// Absent values leave no trace. Longer ones are cut after `longest` bytes.
#[inline(always)]
fn bytes<const N: usize>(
    before: &[u8; N],
    value: Option<&[u8]>,
    longest: usize,
    pen: &mut Pen<'_>,
) {
    let Some(value) = value else { return };
    pen.constant(before);
    escape(value, longest, pen);
    pen.constant(b"\"");
}
